/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loads from end to end, with the real programs: what must work, and the attacks that must not
 * (replay, another acquirer, any flipped bit).
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/message.h"
#include "tests/support/lab.h"
#include "tests/support/suite.h"

static struct lab lab;

static void found_2048(void)
{
    lab_found(&lab, 2048);
}

static void found_3072(void)
{
    lab_found(&lab, 3072);
}

static void abandon(void)
{
    lab_abandon(&lab);
}

/* ---- What must work ---- */

START_TEST(test_load_and_reload)
{
    static const char *const algs[] = {"tdes2", "tdes3"};
    struct lab_tmk store[LAB_TMK_MAX];
    char name[32];
    snprintf(name, sizeof name, "reload-%d", _i);
    lab_begin(&lab, name);
    lab_terminal(&lab, "T1", algs[_i]);
    lab_start(&lab);

    ck_assert_int_ne(lab_load(&lab, "T1", lab.port), 0); /* not armed yet */
    ck_assert_uint_eq(lab_store(&lab, "T1", store), 0);
    lab_arm(&lab, "T1", 3);
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_settled(&lab, "T1", 1);
    ck_assert_int_ne(lab_load(&lab, "T1", lab.port), 0); /* success used the arming up */
    lab_settled(&lab, "T1", 1);
    lab_arm(&lab, "T1", 1);
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_settled(&lab, "T1", 2);

    ck_assert_uint_eq(lab_store(&lab, "T1", store), 2);
    ck_assert_str_eq(store[0].state, "superseded");
    ck_assert_str_eq(store[0].alg, algs[_i]);
    ck_assert_str_ne(store[0].kcv, store[1].kcv);
    lab_end(&lab);
}
END_TEST

START_TEST(test_aes128_over_3072)
{
    struct lab_tmk store[LAB_TMK_MAX];
    lab_begin(&lab, "aes128");
    lab_terminal(&lab, "T1", "aes128");
    lab_start(&lab);
    lab_arm(&lab, "T1", 1);
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_settled(&lab, "T1", 1);
    ck_assert_uint_eq(lab_store(&lab, "T1", store), 1);
    ck_assert_str_eq(store[0].alg, "aes128");
    lab_end(&lab);
}
END_TEST

/* A TMK stronger than the key it would travel under. */
START_TEST(test_aes128_over_2048_is_refused)
{
    struct lab_tmk store[LAB_TMK_MAX];
    lab_begin(&lab, "weak");
    lab_terminal(&lab, "T1", "aes128");
    lab_start(&lab);
    lab_arm(&lab, "T1", 1);
    ck_assert_int_ne(lab_load(&lab, "T1", lab.port), 0);
    ck_assert_uint_eq(lab_store(&lab, "T1", store), 0);
    lab_end(&lab);
}
END_TEST

START_TEST(test_four_byte_kcv)
{
    struct lab_tmk store[LAB_TMK_MAX];
    lab_begin(&lab, "kcv4");
    lab_set(&lab, "policy", "kcv-length", "4");
    lab_terminal(&lab, "T1", "tdes2");
    lab_start(&lab);
    lab_arm(&lab, "T1", 1);
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_settled(&lab, "T1", 1);
    ck_assert_uint_eq(lab_store(&lab, "T1", store), 1);
    ck_assert_uint_eq(strlen(store[0].kcv), 8);
    lab_end(&lab);
}
END_TEST

/* Each attempt draws its own TMK; when one is confirmed the others go. */
START_TEST(test_every_attempt_is_fresh)
{
    struct lab_tmk store[LAB_TMK_MAX];
    const struct relay_plan plan = {.act = RELAY_CUT, .message = KL_MSG_MASTER_KEY};
    lab_begin(&lab, "fresh");
    lab_terminal(&lab, "T1", "tdes2");
    lab_start(&lab);
    lab_arm(&lab, "T1", 3);
    struct relay *relay = relay_start(0, lab.port, &plan);
    ck_assert_ptr_nonnull(relay);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_ne(lab_load(&lab, "T1", relay_port(relay)), 0);
    }
    relay_stop(relay);
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_settled(&lab, "T1", 3);
    ck_assert_uint_eq(lab_store(&lab, "T1", store), 3);
    ck_assert_str_ne(store[0].kcv, store[1].kcv);
    ck_assert_str_ne(store[1].kcv, store[2].kcv);
    ck_assert_str_ne(store[0].kcv, store[2].kcv);
    ck_assert_str_eq(store[0].state, "destroyed");
    ck_assert_str_eq(store[1].state, "destroyed");
    lab_end(&lab);
}
END_TEST

/* An arming is good for its attempts and no more. */
START_TEST(test_attempts_run_out)
{
    const struct relay_plan plan = {.act = RELAY_CUT, .message = KL_MSG_MASTER_KEY};
    lab_begin(&lab, "attempts");
    lab_terminal(&lab, "T1", "tdes2");
    lab_start(&lab);
    lab_arm(&lab, "T1", 2);
    struct relay *relay = relay_start(0, lab.port, &plan);
    ck_assert_ptr_nonnull(relay);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_ne(lab_load(&lab, "T1", relay_port(relay)), 0);
    }
    relay_stop(relay);
    ck_assert_int_ne(lab_load(&lab, "T1", lab.port), 0);
    lab_agree(&lab, "T1");
    lab_end(&lab);
}
END_TEST

/* The daemon is stopped and started again: what it holds stays. */
START_TEST(test_restart)
{
    lab_begin(&lab, "restart");
    lab_terminal(&lab, "T1", "tdes2");
    lab_terminal(&lab, "T2", "tdes3");
    lab_start(&lab);
    lab_arm(&lab, "T1", 1);
    lab_arm(&lab, "T2", 1);
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_stop(&lab);
    lab_start(&lab);
    ck_assert_int_eq(lab_load(&lab, "T2", lab.port), 0);
    lab_settled(&lab, "T1", 1);
    lab_settled(&lab, "T2", 1);
    lab_end(&lab);
}
END_TEST

/* ---- Attacks ---- */

/* Two recorded sessions against the loader, and against the terminal. */
START_TEST(test_replay_to_loader)
{
    struct lab_tmk store[LAB_TMK_MAX];
    struct proc proc;
    char record[PATH_MAX], to[32];
    lab_begin(&lab, "replay");
    lab_terminal(&lab, "T1", "tdes2");
    lab_start(&lab);
    lab_arm(&lab, "T1", 1);
    file_path(record, lab.run, "session.rec");
    lab_load_start(&lab, "T1", lab.port, (const char *const[]){"--record", record, NULL}, &proc);
    ck_assert_int_eq(proc_wait(&proc, LAB_LOAD_SECONDS), 0);
    lab_arm(&lab, "T1", 1); /* armed: so that the cryptography, not the registry, refuses */
    snprintf(to, sizeof to, "127.0.0.1:%u", lab.port);
    proc_spawn(&proc, lab.logs, NULL,
               (const char *const[]){lab_built("bin/terminal-sim"), "replay", "--connect", to,
                                     record, NULL});
    ck_assert_int_eq(proc_wait(&proc, LAB_LOAD_SECONDS), 0); /* 0: the replay was refused */
    ck_assert(lab_logged(&lab, "rc=verify", 5));
    lab_settled(&lab, "T1", 1);
    ck_assert_uint_eq(lab_store(&lab, "T1", store), 1);
    lab_end(&lab);
}
END_TEST

/* The frames of a recorded good session, in order. */
static size_t record_session(const char *serial, const char *path, uint8_t **data,
                             const uint8_t *der[KL_MSG_TYPE_COUNT], size_t len[KL_MSG_TYPE_COUNT])
{
    const struct relay_plan plan = {.act = RELAY_PASS, .record = path};
    struct relay *relay = relay_start(0, lab.port, &plan);
    size_t size, at = 0, count = 0;
    ck_assert_ptr_nonnull(relay);
    ck_assert_int_eq(lab_load(&lab, serial, relay_port(relay)), 0);
    relay_stop(relay);
    *data = (uint8_t *)file_read(path, &size);
    while (count < KL_MSG_TYPE_COUNT &&
           relay_next_frame(*data, size, &at, &der[count], &len[count])) {
        count++;
    }
    ck_assert_uint_eq(at, size);
    return count;
}

START_TEST(test_replay_to_terminal)
{
    uint8_t *data;
    const uint8_t *der[KL_MSG_TYPE_COUNT];
    size_t len[KL_MSG_TYPE_COUNT];
    char path[PATH_MAX];
    static const unsigned replayed[] = {KL_MSG_CERTIFICATE, KL_MSG_MASTER_KEY, 5 /* Done */};
    lab_begin(&lab, "replay-terminal");
    lab_terminal(&lab, "T1", "tdes2");
    lab_start(&lab);
    lab_arm(&lab, "T1", 1);
    ck_assert_uint_eq(record_session("T1", file_path(path, lab.run, "good.rec"), &data, der, len),
                      6);
    for (size_t i = 0; i < sizeof replayed / sizeof replayed[0]; i++) {
        unsigned k = replayed[i];
        const struct relay_plan plan = {.act = RELAY_REPLACE,
                                        .message = k,
                                        .data = der[k] - 2,
                                        .len = len[k] + 2};
        struct relay *relay = relay_start(0, lab.port, &plan);
        ck_assert_ptr_nonnull(relay);
        lab_arm(&lab, "T1", 1);
        ck_assert_int_ne(lab_load(&lab, "T1", relay_port(relay)), 0);
        relay_stop(relay);
        /* Nothing new is active in the PIN pad. */
        struct lab_tmk pad[LAB_TMK_MAX];
        const struct lab_tmk *active = lab_active(pad, lab_pinpad(&lab, "T1", pad));
        ck_assert(active != NULL && active->version == 1);
    }
    free(data);
    lab_end(&lab);
}
END_TEST

/* A terminal that has another acquirer's root takes nothing from this loader. */
START_TEST(test_other_acquirer)
{
    char home[PATH_MAX], pin[PATH_MAX], source[PATH_MAX + 8], root[PATH_MAX];
    struct lab_tmk list[LAB_TMK_MAX];
    struct proc proc;
    lab_begin(&lab, "other");
    file_path(home, lab.run, "other-ca");
    snprintf(source, sizeof source, "file:%s", file_path(pin, lab.dir, "ca.pin"));
    proc_spawn(&proc, lab.logs, NULL,
               (const char *const[]){lab_built("bin/acquire-ca"), "init", "--dir", home,
                                     "--subject", "/O=Another Acquirer/CN=AcquireRCRT", "--days",
                                     "365", "--key", "rsa-2048", "--pem", "--pin-source", source,
                                     NULL});
    ck_assert_int_eq(proc_wait(&proc, 60), 0);
    lab_register(&lab, "T1", "tdes2");
    lab_make_terminal(&lab, "T1", file_path(root, home, "root.pem"));
    lab_start(&lab);
    lab_arm(&lab, "T1", 1);
    ck_assert_int_ne(lab_load(&lab, "T1", lab.port), 0);
    ck_assert_uint_eq(lab_pinpad(&lab, "T1", list), 0);
    ck_assert_uint_eq(lab_store(&lab, "T1", list), 0);
    lab_end(&lab);
}
END_TEST

/* Positions worth a flip: tag, length, first, middle and last byte of every primitive field. */
struct spots {
    size_t at[512];
    size_t count;
};

static void add_spot(struct spots *spots, size_t at)
{
    if (spots->count > 0 && spots->at[spots->count - 1] == at) {
        return;
    }
    ck_assert_uint_lt(spots->count, sizeof spots->at / sizeof spots->at[0]);
    spots->at[spots->count++] = at;
}

/* One DER value at `from`: where it ends. */
static size_t visit_der(const uint8_t *der, size_t from, size_t end, struct spots *spots)
{
    size_t at = from + 1, len = der[at++];
    ck_assert_uint_le(at, end);
    if (len & 0x80) {
        size_t bytes = len & 0x7f;
        for (len = 0; bytes > 0; bytes--) {
            len = len << 8 | der[at++];
        }
    }
    ck_assert_uint_le(len, end - at);
    add_spot(spots, from);
    add_spot(spots, from + 1);
    if (der[from] & 0x20) {
        for (size_t inner = at; inner < at + len;) {
            inner = visit_der(der, inner, at + len, spots);
        }
    } else if (len > 0) {
        add_spot(spots, at);
        add_spot(spots, at + len / 2);
        add_spot(spots, at + len - 1);
    }
    return at + len;
}

static void flip_and_check(unsigned message, size_t byte, unsigned bit)
{
    const struct relay_plan plan = {.act = RELAY_FLIP,
                                    .message = message,
                                    .byte = byte,
                                    .bit = bit};
    struct lab_tmk store[LAB_TMK_MAX], pad[LAB_TMK_MAX];
    struct relay *relay = relay_start(0, lab.port, &plan);
    ck_assert_ptr_nonnull(relay);
    lab_arm(&lab, "T1", 1);
    int status = lab_load(&lab, "T1", relay_port(relay));
    /* Once the terminal holds a candidate it may have it confirmed on a second connection. */
    ck_assert_msg(status != 0 || message >= KL_MSG_LOADED,
                  "message %u, byte %zu, bit %u flipped: loaded all the same", message, byte, bit);
    relay_stop(relay);
    /* What the PIN pad has as active is a key of the store, of that version and KCV. */
    size_t held = lab_pinpad(&lab, "T1", pad), stored = lab_store(&lab, "T1", store);
    const struct lab_tmk *active = lab_active(pad, held);
    int known = 0;
    ck_assert(active != NULL);
    for (size_t i = 0; i < stored; i++) {
        known |= store[i].version == active->version && strcmp(store[i].kcv, active->kcv) == 0 &&
                 (strcmp(store[i].state, "active") == 0 || message == 5);
    }
    ck_assert_msg(known, "message %u, byte %zu, bit %u flipped: PIN pad and store differ", message,
                  byte, bit);
}

START_TEST(test_flipped_bits)
{
    uint8_t *data;
    const uint8_t *der[KL_MSG_TYPE_COUNT];
    size_t len[KL_MSG_TYPE_COUNT];
    char path[PATH_MAX], name[32];
    struct spots spots = {.count = 0};
    unsigned message = (unsigned)_i;
    snprintf(name, sizeof name, "flip-%u", message);
    lab_begin(&lab, name);
    lab_set(&lab, "limits", "idle-timeout", "1s"); /* a flipped length leaves both sides waiting */
    lab_terminal(&lab, "T1", "tdes2");
    lab_start(&lab);
    lab_arm(&lab, "T1", 1);
    size_t count = record_session("T1", file_path(path, lab.run, "good.rec"), &data, der, len);
    ck_assert_uint_eq(count, 6);
    ck_assert_uint_eq(visit_der(der[message], 0, len[message], &spots), len[message]);
    flip_and_check(message, 1, 0); /* the frame's length */
    for (size_t i = 0; i < spots.count; i++) {
        flip_and_check(message, 2 + spots.at[i], (unsigned)(i * 3 % 8));
        if (message >= KL_MSG_LOADED) { /* a candidate may be left: let it be confirmed */
            lab_arm(&lab, "T1", 1);
            (void)lab_load(&lab, "T1", lab.port);
            lab_agree(&lab, "T1");
        }
    }
    free(data);
    lab_arm(&lab, "T1", 1);
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_agree(&lab, "T1");
    lab_end(&lab);
}
END_TEST

/* Its grace is over: a superseded TMK is destroyed, and the one in use stays. */
START_TEST(test_superseded_is_destroyed)
{
    struct lab_tmk tmks[LAB_TMK_MAX];
    lab_begin(&lab, "superseded");
    lab_start(&lab);
    lab_terminal(&lab, "T1", "tdes2");
    for (int i = 0; i < 2; i++) {
        lab_arm(&lab, "T1", 1);
        ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    }
    lab_stop(&lab);
    ck_assert_uint_eq(lab_store(&lab, "T1", tmks), 2);
    ck_assert_str_eq(tmks[0].state, "superseded");
    lab_set(&lab, "store", "superseded-grace", "0");
    lab_start(&lab);
    ck_assert(lab_logged(&lab, "event=tmk-retired count=1", 5));
    ck_assert_uint_eq(lab_store(&lab, "T1", tmks), 2);
    ck_assert_str_eq(tmks[0].state, "destroyed");
    ck_assert_str_eq(tmks[1].state, "active");
    lab_settled(&lab, "T1", 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("load");
    TCase *rsa2048 = tcase_create("2048"), *rsa3072 = tcase_create("3072"),
          *attacks = tcase_create("attacks");
    tcase_add_unchecked_fixture(rsa2048, found_2048, abandon);
    tcase_set_timeout(rsa2048, 120);
    tcase_add_loop_test(rsa2048, test_load_and_reload, 0, 2);
    tcase_add_test(rsa2048, test_aes128_over_2048_is_refused);
    tcase_add_test(rsa2048, test_four_byte_kcv);
    tcase_add_test(rsa2048, test_every_attempt_is_fresh);
    tcase_add_test(rsa2048, test_attempts_run_out);
    tcase_add_test(rsa2048, test_restart);
    tcase_add_test(rsa2048, test_superseded_is_destroyed);
    suite_add_tcase(suite, rsa2048);
    tcase_add_unchecked_fixture(rsa3072, found_3072, abandon);
    tcase_set_timeout(rsa3072, 120);
    tcase_add_test(rsa3072, test_aes128_over_3072);
    suite_add_tcase(suite, rsa3072);
    tcase_add_unchecked_fixture(attacks, found_2048, abandon);
    tcase_set_timeout(attacks, 180);
    tcase_add_test(attacks, test_replay_to_loader);
    tcase_add_test(attacks, test_replay_to_terminal);
    tcase_add_test(attacks, test_other_acquirer);
    tcase_add_loop_test(attacks, test_flipped_bits, 0, 6);
    suite_add_tcase(suite, attacks);
    return test_run(suite);
}
