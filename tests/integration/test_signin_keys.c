/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What sign-ins leave behind, between the real programs: both sides have the same PIK and MAK, and
 * what the terminal computes with them the loader's keys give as well; a sign-in that is refused,
 * tampered with, replayed, forged or cut short by a kill leaves the pair of before, and the
 * terminal does not use it where the loader may have another.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/message.h"
#include "tests/support/lab_keys.h"
#include "tests/support/suite.h"

#define EC_KEY "acquire-ec"
#define SIGN_IN_MESSAGES 4 /* SignIn 0, WorkingKeys 1, Loaded 2, Done 3 */

static struct lab lab;

static void found(void)
{
    lab_found(&lab, 2048);
    lab_certify(&lab, EC_KEY, "hardened-ec", "p-521", "ca");
}

static void abandon(void)
{
    lab_abandon(&lab);
}

static void end(void)
{
    lab_end(&lab);
}

static void begin(const char *name, const char *host_fallback)
{
    lab_begin(&lab, name);
    lab_set(&lab, "policy", "host-fallback", host_fallback);
    lab_start(&lab);
}

static void load(const char *serial, const char *suite)
{
    const char *extra[] = {"--suites", suite, NULL};
    struct proc proc;

    lab_arm(&lab, serial, 3);
    lab_load_start(&lab, serial, lab.port, extra, &proc);
    int status = proc_wait(&proc, LAB_LOAD_SECONDS);
    ck_assert_msg(status == 0, "load: status %d: %s", status, file_read(proc.err, NULL));
}

static void loaded_terminal(const char *serial, const char *alg)
{
    lab_terminal(&lab, serial, alg);
    load(serial, alg[0] == 'a' ? "hardened-ec" : "hardened-rsa");
}

/* A sign-in that must end so; and unless `says` is NULL, the daemon's log must say that. */
static void sign_in(const char *serial, uint16_t port, const char *format, int expected,
                    const char *says)
{
    struct proc proc;
    int status = lab_sign_in(&lab, serial, port, format, &proc);

    ck_assert_msg(status == expected, "sign-in: status %d, not %d: %s", status, expected,
                  file_read(proc.err, NULL));
    ck_assert_msg(!says || lab_logged(&lab, says, 5), "\"%s\" was not logged: %s", says,
                  file_read(lab.daemon.err, NULL));
}

static void sign_in_well(const char *serial, const char *format)
{
    sign_in(serial, lab.port, format, 0, NULL);
    lab_pairs_agree(&lab, serial);
}

static void refused(const char *serial, struct proc *proc, int status)
{
    char *said = file_read(proc->err, NULL);

    ck_assert_msg(status == 75 && strstr(said, "sign in again"), "%s: status %d: %s", serial,
                  status, said);
    free(said);
}

/* The terminal does not know which pair the loader has, and uses none. */
static void keys_in_doubt(const char *serial)
{
    struct proc proc;
    char path[PATH_MAX], source[PATH_MAX + 8];

    ck_assert_int_eq(lab_pad_pair(&lab, serial).in_doubt, 1);
    file_write(file_path(path, lab.run, "cardholder"), "1234\n", 5, 0600);
    snprintf(source, sizeof(source), "file:%s", path);
    refused(serial, &proc, lab_sim(&lab, serial, &proc, "mac", "--in", "/dev/null", NULL));
    refused(serial, &proc,
            lab_sim(&lab, serial, &proc, "pin-block", "--pan", "432198765432109870", "--format",
                    "4", "--pin-source", source, NULL));
}

/* ---- Keys at work ---- */

START_TEST(aes_keys_work)
{
    static const char *const algs[] = {"aes128", "aes192", "aes256"};
    struct lab_pair first, second;

    begin("aes", "no"); /* which AES does not need */
    for (int i = 0; i < 3; i++) {
        loaded_terminal(algs[i], algs[i]);
        sign_in_well(algs[i], "keys");
        lab_keys_work(&lab, algs[i]);
    }
    first = lab_store_pair(&lab, "aes256");
    sign_in_well("aes256", "keys");
    second = lab_store_pair(&lab, "aes256");
    ck_assert_str_ne(first.pik, second.pik);
    ck_assert_str_ne(first.mak, second.mak);
    lab_keys_work(&lab, "aes256");
    sign_in("aes256", lab.port, "field62", 76, NULL); /* carries TDES only */
    lab_pairs_agree(&lab, "aes256");
}
END_TEST

START_TEST(tdes_keys_work)
{
    static const char *const algs[] = {"tdes2", "tdes3"};

    begin("tdes", "yes");
    for (int i = 0; i < 2; i++) {
        loaded_terminal(algs[i], algs[i]);
        sign_in_well(algs[i], "keys");
        lab_keys_work(&lab, algs[i]);
        sign_in_well(algs[i], "field62");
        /* Its KCVs have 4 bytes, its MAK is of single length. */
        ck_assert_uint_eq(strlen(lab_store_pair(&lab, algs[i]).pik), 8);
        lab_keys_work(&lab, algs[i]);
    }
}
END_TEST

/* ---- Refusals ---- */

START_TEST(no_host_fallback)
{
    begin("no-fallback", "no");
    loaded_terminal("D", "tdes2");
    loaded_terminal("A", "aes128");
    sign_in("D", lab.port, "keys", 76, "host-fallback");
    sign_in("D", lab.port, "field62", 76, NULL);
    ck_assert_uint_eq(lab_store_pair(&lab, "D").tmk_version, 0);
    ck_assert_uint_eq(lab_pad_pair(&lab, "D").tmk_version, 0);
    sign_in_well("A", "keys"); /* the HSM worker lives on */
    lab_settled(&lab, "D", 1);
}
END_TEST

/* Copies a terminal, PIN pad and all, to where it can be put back from. */
static void copy_terminal(const char *from, const char *to)
{
    char source[PATH_MAX], target[PATH_MAX];
    const char *argv[] = {"/bin/cp", "-a", source, target, NULL};
    struct proc proc;

    snprintf(source, sizeof(source), "%.2000s/term-%s", lab.run, from);
    snprintf(target, sizeof(target), "%.2000s/term-%s", lab.run, to);
    file_remove_tree(target);
    proc_spawn(&proc, lab.logs, NULL, argv);
    ck_assert_int_eq(proc_wait(&proc, 20), 0);
}

START_TEST(only_under_the_tmk_in_use)
{
    struct proc proc;
    struct lab_pair pad;

    begin("in-use", "no");
    lab_terminal(&lab, "T", "aes128");
    sign_in("T", lab.port, "keys", 77, NULL); /* the terminal itself sees to that one */
    load("T", "hardened-ec");
    sign_in_well("T", "keys");
    copy_terminal("T", "old");

    /* Loaded again: the working keys went with the TMK, on both sides. */
    load("T", "hardened-ec");
    ck_assert_uint_eq(lab_store_pair(&lab, "T").tmk_version, 0);
    ck_assert_uint_eq(lab_pad_pair(&lab, "T").tmk_version, 0);
    ck_assert_int_ne(lab_sim(&lab, "T", &proc, "mac", "--in", "/dev/null", NULL), 0);
    copy_terminal("T", "new");
    copy_terminal("old", "T");
    sign_in("T", lab.port, "keys", 76, "superseded");
    pad = lab_pad_pair(&lab, "T");
    ck_assert_uint_eq(pad.tmk_version, 1);
    ck_assert_uint_eq(lab_store_pair(&lab, "T").tmk_version, 0);
    copy_terminal("new", "T");
    sign_in_well("T", "keys");

    /* Done is withheld: the loader has version 3 in use, the terminal does not know. */
    const struct relay_plan plan = {.act = RELAY_CUT, .message = 5};
    struct relay *relay = relay_start(0, lab.port, &plan);
    lab_arm(&lab, "T", 3);
    ck_assert_int_ne(lab_load(&lab, "T", relay_port(relay)), 0);
    relay_stop(relay);
    sign_in("T", lab.port, "keys", 76, "superseded");
    ck_assert_int_eq(lab_load(&lab, "T", lab.port), 0); /* which confirms */
    lab_settled(&lab, "T", 3);
    sign_in_well("T", "keys");
    lab_keys_work(&lab, "T");
}
END_TEST

START_TEST(not_for_everyone)
{
    char other[PATH_MAX];

    begin("everyone", "no");
    loaded_terminal("T", "aes128");
    sign_in_well("T", "keys");
    free(lab_ctl(&lab, "terminal", "block", "T", NULL));
    sign_in("T", lab.port, "keys", 76, "rc=blocked");
    lab_pairs_agree(&lab, "T");
    free(lab_ctl(&lab, "terminal", "unblock", "T", NULL));
    sign_in_well("T", "keys");

    free(lab_ctl(&lab, "terminal", "pinpad", "T", "--set", "OTHER", NULL));
    sign_in("T", lab.port, "keys", 76, "PIN pad");
    ck_assert_uint_eq(lab_store_pair(&lab, "T").tmk_version, 0);
    free(lab_ctl(&lab, "terminal", "pinpad", "T", "--set", "PT", NULL));
    sign_in_well("T", "keys");

    free(lab_ctl(&lab, "tmk", "revoke", "T", "--reason", "stolen", NULL));
    ck_assert_uint_eq(lab_store_pair(&lab, "T").tmk_version, 0);
    sign_in("T", lab.port, "keys", 76, "revoked");
    ck_assert_uint_eq(lab_store_pair(&lab, "T").tmk_version, 0);

    /* A loader that has never given this terminal a TMK. */
    lab_stop(&lab);
    snprintf(lab.store, sizeof(lab.store), "%s", file_path(other, lab.run, "store/other.db"));
    lab_set(&lab, "store", "path", lab.store);
    lab_start(&lab);
    sign_in("T", lab.port, "keys", 76, "rc=unknown-terminal");
    free(lab_ctl(&lab, "terminal", "add", "T", "--algorithm", "aes128", NULL));
    sign_in("T", lab.port, "keys", 76, "never loaded a TMK");
}
END_TEST

/* ---- A man in the middle ---- */

/* One sign-in through a relay with that plan; the frames that passed go to NAME.rec. */
static void through(const struct relay_plan *plan, const char *serial, const char *format,
                    int expected, const char *says)
{
    struct relay *relay = relay_start(0, lab.port, plan);

    ck_assert_ptr_nonnull(relay);
    sign_in(serial, relay_port(relay), format, expected, says);
    relay_stop(relay);
}

struct recording {
    uint8_t *data;
    const uint8_t *der[SIGN_IN_MESSAGES];
    size_t len[SIGN_IN_MESSAGES];
    struct kl_working_keys keys; /* decoded; borrows from data */
};

static void record(const char *serial, const char *format, struct recording *out)
{
    char path[PATH_MAX];
    const struct relay_plan plan = {.record = file_path(path, lab.run, "sign-in.rec")};
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg;
    size_t size, at = 0;

    unlink(path);
    through(&plan, serial, format, 0, NULL);
    out->data = (uint8_t *)file_read(path, &size);
    for (int i = 0; i < SIGN_IN_MESSAGES; i++) {
        ck_assert(relay_next_frame(out->data, size, &at, &out->der[i], &out->len[i]));
    }
    ck_assert_msg(kl_msg_decode(out->der[1], out->len[1], &msg, &err) == KL_OK, "%s", err.text);
    ck_assert_int_eq(msg.type, KL_MSG_WORKING_KEYS);
    out->keys = msg.u.working_keys;
}

/* Where in a WorkingKeys frame a field stands: the same in every sign-in of that kind. */
static size_t place(const struct recording *was, const uint8_t *field, size_t len)
{
    const uint8_t *at = memmem(was->der[1], was->len[1], field, len);

    ck_assert_ptr_nonnull(at);
    return (size_t)(at - was->der[1]) + 2; /* a frame's header has 2 bytes */
}

/* A byte of WorkingKeys, and what the terminal says once it has been changed. */
struct spot {
    size_t at;
    const char *says;
};

/* One bit at each spot; the terminal itself must see to it, and nobody keep anything. */
static void flip(const char *serial, const char *format, const struct spot *spots, size_t count)
{
    const struct lab_pair before = lab_store_pair(&lab, serial);

    for (size_t i = 0; i < count; i++) {
        const struct relay_plan plan = {.act = RELAY_FLIP,
                                        .message = 1,
                                        .byte = spots[i].at,
                                        .bit = 1};
        struct relay *relay = relay_start(0, lab.port, &plan);
        struct proc proc;

        ck_assert_ptr_nonnull(relay);
        ck_assert_int_eq(lab_sign_in(&lab, serial, relay_port(relay), format, &proc), 76);
        relay_stop(relay);
        char *said = file_read(proc.err, NULL);
        ck_assert_msg(strstr(said, spots[i].says) != NULL, "%zu: not \"%s\": %s", i, spots[i].says,
                      said);
        free(said);
    }
    const struct lab_pair ours = lab_store_pair(&lab, serial), theirs = lab_pad_pair(&lab, serial);
    ck_assert(lab_same_pair(&before, &ours) && lab_same_pair(&before, &theirs));
    lab_keys_work(&lab, serial); /* the old pair */
}

START_TEST(working_keys_are_tampered_with)
{
    struct recording was;

    begin("tampered", "yes");
    loaded_terminal("A", "aes128");
    record("A", "keys", &was);
    const struct kl_working_keys *keys = &was.keys;
    const struct spot spots[] = {
        {place(&was, keys->c_session, keys->c_session_len) + 5, ""}, /* it does not unwrap */
        {place(&was, keys->pik.data, keys->pik.len), "MAC is wrong"},
        {place(&was, keys->pik.kcv, keys->pik.kcv_len), "MAC is wrong"},
        {place(&was, keys->mak.data, keys->mak.len) + 7, "MAC is wrong"},
        {place(&was, keys->mak.kcv, keys->mak.kcv_len) + 1, "MAC is wrong"},
        {place(&was, keys->mac, KL_MAC_LEN) + KL_MAC_LEN - 1, "MAC is wrong"},
        {place(&was, keys->body_der.data, keys->body_der.len) + 4, "for a TMK version"},
        {place(&was, keys->body_der.data, keys->body_der.len) + 7, "WorkingKeys"},
        {5, "WorkingKeys"}, /* the message's own framing */
    };
    flip("A", "keys", spots, sizeof(spots) / sizeof(spots[0]));
    free(was.data);

    loaded_terminal("D", "tdes2");
    record("D", "field62", &was);
    const size_t start = place(&was, was.keys.field62, KL_FIELD62_LEN);
    const struct spot in_field[] = {
        {place(&was, was.keys.c_session, was.keys.c_session_len), "cSession is not this sign-in"},
        {start, "MAC is wrong"},
        {start + KL_FIELD62_LEN / 2, "MAC is wrong"},
        {start + KL_FIELD62_LEN - 1, "MAC is wrong"},
    };
    flip("D", "field62", in_field, sizeof(in_field) / sizeof(in_field[0]));
    free(was.data);
}
END_TEST

/* In the place of message `number` comes that of an earlier sign-in. */
static void replay(const struct recording *was, unsigned number, const char *says)
{
    uint8_t frame[KL_MSG_MAX + 2];
    const size_t len = was->len[number];
    const struct relay_plan plan = {.act = RELAY_REPLACE,
                                    .message = number,
                                    .data = frame,
                                    .len = len + 2};

    frame[0] = (uint8_t)(len >> 8);
    frame[1] = (uint8_t)len;
    memcpy(frame + 2, was->der[number], len);
    through(&plan, "T", "keys", 76, says);
}

START_TEST(replays_and_forgeries)
{
    struct recording was;

    begin("replays", "no");
    loaded_terminal("T", "aes128");
    record("T", "keys", &was);
    sign_in_well("T", "keys");

    replay(&was, 0, NULL); /* another SignIn than the terminal's: its WorkingKeys fit no more */
    replay(&was, 1, NULL);
    lab_pairs_agree(&lab, "T");
    replay(&was, 2, "rc=verify");
    keys_in_doubt("T"); /* the loader's Error is nobody's word */
    sign_in_well("T", "keys");
    const struct lab_pair before = lab_store_pair(&lab, "T");
    replay(&was, 3, NULL);
    /* That Done was withheld: the loader has moved on, the terminal keeps what it has, unused. */
    const struct lab_pair kept = lab_pad_pair(&lab, "T"), moved = lab_store_pair(&lab, "T");
    ck_assert(lab_same_pair(&before, &kept) && !lab_same_pair(&before, &moved));
    keys_in_doubt("T");
    sign_in_well("T", "keys");

    /* Loaded with another MAC, another KCV. */
    const struct lab_pair again = lab_store_pair(&lab, "T");
    for (unsigned i = 0; i < 2; i++) {
        const struct relay_plan plan = {.act = RELAY_FLIP,
                                        .message = 2,
                                        .byte = i == 0 ? was.len[2] + 1 : was.len[2] - 18,
                                        .bit = 3};
        through(&plan, "T", "keys", 76, NULL);
    }
    ck_assert(lab_logged(&lab, "the MAC of the sign-in's Loaded is wrong", 5));
    ck_assert(lab_logged(&lab, "KCV of the PIK is another", 5));
    const struct lab_pair ours = lab_store_pair(&lab, "T");
    ck_assert(lab_same_pair(&again, &ours));
    keys_in_doubt("T");
    sign_in_well("T", "keys");
    lab_keys_work(&lab, "T");
    char *audit = lab_ctl(&lab, "audit", "list", NULL);
    ck_assert_msg(strstr(audit, "alarm") != NULL, "%s", audit);
    free(audit);
    free(was.data);
}
END_TEST

/* The terminal gives up waiting and signs in anew; then the first Loaded, held back, comes too. */
START_TEST(loaded_is_held_back)
{
    const struct relay_plan plan = {.act = RELAY_HOLD_BEFORE, .message = 2};
    struct relay *relay;
    struct proc terminal;
    char to[32];

    begin("held-back", "no");
    loaded_terminal("T", "aes128");
    relay = relay_start(0, lab.port, &plan);
    ck_assert_ptr_nonnull(relay);
    snprintf(to, sizeof(to), "127.0.0.1:%u", relay_port(relay));
    lab_sim_start(&lab, "T", &terminal, "sign-in", "--connect", to, NULL);
    ck_assert(relay_wait_hold(relay, proc_seconds(20) * 1000));
    proc_kill(&terminal);
    sign_in_well("T", "keys");
    relay_release(relay);
    proc_sleep_ms(200); /* what the relay passes on arrives */
    relay_stop(relay);
    lab_pairs_agree(&lab, "T");
    lab_keys_work(&lab, "T");
    ck_assert(lab_logged(&lab, "a later sign-in of this terminal came first", 5));
}
END_TEST

/* ---- Kills ---- */

static void killed(unsigned message, int after, int kill_daemon)
{
    const struct lab_pair before = lab_store_pair(&lab, "T");
    const struct relay_plan plan = {.act = after ? RELAY_HOLD_AFTER : RELAY_HOLD_BEFORE,
                                    .message = message};
    struct relay *relay = relay_start(0, lab.port, &plan);
    struct proc terminal;
    char to[32];

    ck_assert_ptr_nonnull(relay);
    snprintf(to, sizeof(to), "127.0.0.1:%u", relay_port(relay));
    lab_sim_start(&lab, "T", &terminal, "sign-in", "--connect", to, NULL);
    ck_assert_msg(relay_wait_hold(relay, proc_seconds(20) * 1000), "message %u never came",
                  message);
    if (after) { /* the receiver may act on it, or die while it does */
        proc_sleep_ms(message % 2 ? 0 : 50);
    }
    if (kill_daemon) {
        lab_kill(&lab);
    } else {
        proc_kill(&terminal);
    }
    relay_release(relay);
    if (kill_daemon) {
        (void)proc_wait(&terminal, LAB_LOAD_SECONDS);
    }
    proc_sleep_ms(20); /* what the relay still passes on reaches the one that lives */
    relay_stop(relay);
    if (kill_daemon) {
        lab_start(&lab);
    }
    const struct lab_pair ours = lab_store_pair(&lab, "T"), theirs = lab_pad_pair(&lab, "T");
    /* The terminal changes last: it has the pair that the loader has, or the old one, in doubt. */
    ck_assert_msg(theirs.in_doubt ? lab_same_pair(&theirs, &before) : lab_same_pair(&theirs, &ours),
                  "message %u, after %d, daemon %d: the PIN pad has PIK %s, in doubt %d", message,
                  after, kill_daemon, theirs.pik, theirs.in_doubt);
    /* Before the terminal has WorkingKeys it is sure, with Loaded on its way it is not. */
    ck_assert_msg(theirs.in_doubt ? message + (unsigned)after >= (kill_daemon ? 1U : 2U)
                                  : message != 2 || after,
                  "message %u, after %d, daemon %d: in doubt %d", message, after, kill_daemon,
                  theirs.in_doubt);
    if (theirs.in_doubt) {
        keys_in_doubt("T");
    } else {
        lab_keys_work(&lab, "T");
    }
    /* And the loader not before it has Loaded. */
    ck_assert_msg(lab_same_pair(&ours, &before) || message == 3 || (message == 2 && after) ||
                      (message == 2 && !kill_daemon),
                  "message %u, after %d, daemon %d: the store has PIK %s", message, after,
                  kill_daemon, ours.pik);
    sign_in_well("T", "keys");
}

START_TEST(killed_in_a_sign_in)
{
    const int kill_daemon = _i;

    begin(kill_daemon ? "kill-daemon" : "kill-terminal", "no");
    loaded_terminal("T", "aes128");
    sign_in_well("T", "keys");
    for (unsigned message = 0; message < SIGN_IN_MESSAGES; message++) {
        killed(message, 0, kill_daemon);
        killed(message, 1, kill_daemon);
    }
    lab_keys_work(&lab, "T");
    lab_settled(&lab, "T", 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sign-in keys");
    TCase *tc = tcase_create("sign-in keys");

    tcase_set_timeout(tc, 120);
    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_add_checked_fixture(tc, NULL, end);
    tcase_add_test(tc, aes_keys_work);
    tcase_add_test(tc, tdes_keys_work);
    tcase_add_test(tc, no_host_fallback);
    tcase_add_test(tc, only_under_the_tmk_in_use);
    tcase_add_test(tc, not_for_everyone);
    tcase_add_test(tc, working_keys_are_tampered_with);
    tcase_add_test(tc, replays_and_forgeries);
    tcase_add_test(tc, loaded_is_held_back);
    tcase_add_loop_test(tc, killed_in_a_sign_in, 0, 2);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
