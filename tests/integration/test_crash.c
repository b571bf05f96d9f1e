/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Either side is killed (SIGKILL) at every message boundary of a load and of a Confirm; after a
 * restart, store and PIN pad must agree, and no TMK may ever have been sent twice.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/message.h"
#include "tests/support/lab.h"
#include "tests/support/suite.h"

#define LOAD_MESSAGES 6
#define CONFIRM_MESSAGES 2
#define SIDES 2 /* whom to kill */
#define HOLDS 2 /* before or after the message is passed on */

static struct lab lab;

static void found(void)
{
    lab_found(&lab, 2048);
}

static void abandon(void)
{
    lab_abandon(&lab);
}

/* ---- Every MasterKey that was on the wire ---- */

struct sent {
    uint32_t version;
    uint8_t kcv[KL_KCV_LEN_MAX], ctmk[KL_CTMK_LEN_MAX];
};

struct sents {
    struct sent all[32];
    size_t count;
};

/* Adds those of a recording; fails the test at the first that has been sent before. */
static void add_sent(struct sents *sents, const char *record)
{
    size_t size, at = 0, len;
    const uint8_t *der;
    uint8_t *data = (uint8_t *)file_read(record, &size);
    while (relay_next_frame(data, size, &at, &der, &len)) {
        struct kl_msg msg;
        struct kl_err err = KL_ERR_INIT;
        ck_assert_msg(kl_msg_decode(der, len, &msg, &err) == KL_OK, "%s", err.text);
        if (msg.type != KL_MSG_MASTER_KEY) {
            continue;
        }
        const struct kl_tbs *tbs = &msg.u.master_key.tbs;
        for (size_t i = 0; i < sents->count; i++) {
            ck_assert_uint_ne(sents->all[i].version, tbs->version);
            ck_assert_mem_ne(sents->all[i].kcv, tbs->kcv, tbs->kcv_len);
            ck_assert_mem_ne(sents->all[i].ctmk, tbs->ctmk, tbs->ctmk_len);
        }
        ck_assert_uint_lt(sents->count, sizeof sents->all / sizeof sents->all[0]);
        struct sent *sent = &sents->all[sents->count++];
        sent->version = tbs->version;
        memcpy(sent->kcv, tbs->kcv, sizeof sent->kcv);
        memcpy(sent->ctmk, tbs->ctmk, sizeof sent->ctmk);
    }
    free(data);
}

/* ---- One interrupted exchange, one undisturbed ---- */

static void interrupted(const char *serial, unsigned message, int after, int kill_daemon,
                        struct sents *sents)
{
    char record[PATH_MAX];
    struct proc terminal;
    const struct relay_plan plan = {.act = after ? RELAY_HOLD_AFTER : RELAY_HOLD_BEFORE,
                                    .message = message,
                                    .record = file_path(record, lab.run, "interrupted.rec")};
    struct relay *relay = relay_start(0, lab.port, &plan);
    ck_assert_ptr_nonnull(relay);
    lab_load_start(&lab, serial, relay_port(relay), NULL, &terminal);
    ck_assert_msg(relay_wait_hold(relay, proc_seconds(20) * 1000), "message %u never came",
                  message);
    if (after) { /* the receiver may act on it, or die while it does: both are worth meeting */
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
    add_sent(sents, record);
}

static void undisturbed(const char *serial, struct sents *sents)
{
    char record[PATH_MAX];
    const struct relay_plan plan = {.record = file_path(record, lab.run, "undisturbed.rec")};
    struct relay *relay = relay_start(0, lab.port, &plan);
    ck_assert_ptr_nonnull(relay);
    ck_assert_int_eq(lab_load(&lab, serial, relay_port(relay)), 0);
    relay_stop(relay);
    add_sent(sents, record);
}

/* The PIN pad's one TMK is the store's active one. */
static void check_settled(const char *serial)
{
    struct lab_tmk pad[LAB_TMK_MAX];
    lab_agree(&lab, serial);
    size_t held = lab_pinpad(&lab, serial, pad);
    ck_assert_ptr_nonnull(lab_active(pad, held));
    ck_assert_uint_eq(held, 1);
}

static void decode_case(int i, unsigned messages, unsigned *message, int *after, int *kill_daemon)
{
    *message = (unsigned)i % messages;
    *after = (unsigned)i / messages % HOLDS;
    *kill_daemon = (unsigned)i / messages / HOLDS % SIDES;
}

/* A first load, or one that is to replace an active TMK, cut short; then whatever the terminal
 * does by itself when it is started again must bring both together. */
START_TEST(test_killed_in_a_load)
{
    struct sents sents = {.count = 0};
    unsigned message;
    int after, kill_daemon;
    char name[64];
    decode_case(_i, LOAD_MESSAGES, &message, &after, &kill_daemon);
    snprintf(name, sizeof name, "load-%u-%d-%d", message, after, kill_daemon);
    lab_begin(&lab, name);
    lab_terminal(&lab, "T1", "tdes2");
    lab_start(&lab);
    for (int had_one = 0; had_one < 2; had_one++) {
        lab_arm(&lab, "T1", 5);
        interrupted("T1", message, after, kill_daemon, &sents);
        if (kill_daemon) {
            lab_start(&lab);
        }
        lab_arm(&lab, "T1", 5);
        undisturbed("T1", &sents);
        check_settled("T1");
    }
    lab_end(&lab);
}
END_TEST

/* The terminal has an unconfirmed candidate (its Done was lost), and the Confirm is cut short. */
START_TEST(test_killed_in_a_confirm)
{
    struct sents sents = {.count = 0};
    struct lab_tmk pad[LAB_TMK_MAX];
    unsigned message;
    int after, kill_daemon;
    char name[64], record[PATH_MAX];
    decode_case(_i % (CONFIRM_MESSAGES * HOLDS * SIDES), CONFIRM_MESSAGES, &message, &after,
                &kill_daemon);
    /* Lost on the way: Done (the loader has it active) or Loaded (the loader has it pending). */
    unsigned lost = _i / (CONFIRM_MESSAGES * HOLDS * SIDES) ? KL_MSG_LOADED : 5;
    snprintf(name, sizeof name, "confirm-%u-%u-%d-%d", lost, message, after, kill_daemon);
    lab_begin(&lab, name);
    lab_terminal(&lab, "T1", "tdes2");
    lab_start(&lab);
    lab_arm(&lab, "T1", 5);
    const struct relay_plan plan = {.act = RELAY_CUT,
                                    .message = lost,
                                    .record = file_path(record, lab.run, "first.rec")};
    struct relay *relay = relay_start(0, lab.port, &plan);
    ck_assert_ptr_nonnull(relay);
    ck_assert_int_ne(lab_load(&lab, "T1", relay_port(relay)), 0);
    relay_stop(relay);
    add_sent(&sents, record);
    ck_assert_uint_eq(lab_pinpad(&lab, "T1", pad), 1);
    ck_assert_str_eq(pad[0].state, "unconfirmed");

    interrupted("T1", message, after, kill_daemon, &sents);
    if (kill_daemon) {
        lab_start(&lab);
    }
    lab_arm(&lab, "T1", 5);
    undisturbed("T1", &sents);
    check_settled("T1");
    lab_end(&lab);
}
END_TEST

/* The worker process dies with the load; the terminal is told, and the next load goes well. */
START_TEST(test_killed_worker)
{
    struct proc terminal;
    pid_t workers[8];
    const struct relay_plan plan = {.act = RELAY_HOLD_BEFORE, .message = KL_MSG_RANDOMS};
    lab_begin(&lab, "worker");
    lab_terminal(&lab, "T1", "tdes2");
    lab_start(&lab);
    lab_arm(&lab, "T1", 5);
    struct relay *relay = relay_start(0, lab.port, &plan);
    ck_assert_ptr_nonnull(relay);
    lab_load_start(&lab, "T1", relay_port(relay), NULL, &terminal);
    ck_assert(relay_wait_hold(relay, proc_seconds(20) * 1000));
    size_t count = proc_children(lab.daemon.pid, workers, 8);
    ck_assert_uint_eq(count, 1);
    kill(workers[0], SIGKILL); /* our daemon's child, in a lab of our own */
    relay_release(relay);
    (void)proc_wait(&terminal, LAB_LOAD_SECONDS);
    relay_stop(relay);
    int status = -1;
    for (int tries = 0; tries < 20 && status != 0; tries++) {
        proc_sleep_ms(200);
        lab_arm(&lab, "T1", 5);
        status = lab_load(&lab, "T1", lab.port);
    }
    ck_assert_int_eq(status, 0);
    check_settled("T1");
    lab_end(&lab);
}
END_TEST

/* Two daemons on one store would each think they know the next version. */
START_TEST(test_second_daemon)
{
    struct lab second;
    lab_begin(&lab, "second");
    lab_start(&lab);
    second = lab;
    second.daemon.pid = 0;
    ck_assert_int_ne(lab_start_fails(&second), 0);
    lab_end(&lab);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("crash");
    TCase *tcase = tcase_create("kill");
    tcase_add_unchecked_fixture(tcase, found, abandon);
    tcase_set_timeout(tcase, 90);
    tcase_add_loop_test(tcase, test_killed_in_a_load, 0, LOAD_MESSAGES * HOLDS * SIDES);
    tcase_add_loop_test(tcase, test_killed_in_a_confirm, 0, 2 * CONFIRM_MESSAGES * HOLDS * SIDES);
    tcase_add_test(tcase, test_killed_worker);
    tcase_add_test(tcase, test_second_daemon);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
