/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Either side is killed (SIGKILL) at every message boundary of a load and of a Confirm; after a
 * restart, the audit of tests/support/proof.h must hold.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>

#include "proto/message.h"
#include "tests/support/lab.h"
#include "tests/support/proof.h"
#include "tests/support/suite.h"

#define LOAD_MESSAGES 6
#define CONFIRM_MESSAGES 2
#define SIDES 2 /* whom to kill */
#define HOLDS 2 /* before or after the message is passed on */

static struct lab lab;
static struct proof proof;

static void found(void)
{
    lab_found(&lab, 2048);
    lab_set(&lab, "policy", "kcv-length", "4"); /* so that equal ones mean equal keys */
}

static void abandon(void)
{
    lab_abandon(&lab);
}

static void begin(const char *name)
{
    lab_begin(&lab, name);
    lab_terminal(&lab, "T1", "tdes2");
    proof_begin(&proof, "T1");
    lab_start(&lab);
    lab_arm(&lab, "T1", 5);
}

/* ---- One interrupted exchange, one undisturbed ---- */

static void interrupted(unsigned message, int after, int kill_daemon)
{
    const struct relay_plan plan = {.act = after ? RELAY_HOLD_AFTER : RELAY_HOLD_BEFORE,
                                    .message = message};
    struct proof_load load;
    int status = -1;
    proof_load_start(&proof, &lab, &plan, &load);
    ck_assert_msg(relay_wait_hold(load.relay, proc_seconds(20) * 1000), "message %u never came",
                  message);
    if (after) { /* the receiver may act on it, or die while it does: both are worth meeting */
        proc_sleep_ms(message % 2 ? 0 : 50);
    }
    if (kill_daemon) {
        lab_kill(&lab);
    } else {
        proc_kill(&load.terminal);
    }
    relay_release(load.relay);
    if (kill_daemon) {
        status = proc_wait(&load.terminal, LAB_LOAD_SECONDS);
        lab_start(&lab);
    }
    proc_sleep_ms(20); /* what the relay still passes on reaches the one that lives */
    proof_load_end(&proof, &load, status);
    proof_check(&proof, &lab, 0);
}

/* A load with that plan for the relay: its exit status. */
static int load(const struct relay_plan *plan)
{
    struct proof_load one;
    proof_load_start(&proof, &lab, plan, &one);
    int status = proc_wait(&one.terminal, LAB_LOAD_SECONDS);
    proof_load_end(&proof, &one, status);
    return status;
}

/* The PIN pad's one TMK is the store's active one. */
static void check_settled(void)
{
    struct lab_tmk pad[LAB_TMK_MAX];
    proof_check(&proof, &lab, 1);
    size_t held = lab_pinpad(&lab, "T1", pad);
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
    unsigned message;
    int after, kill_daemon;
    char name[64];
    decode_case(_i, LOAD_MESSAGES, &message, &after, &kill_daemon);
    snprintf(name, sizeof name, "load-%u-%d-%d", message, after, kill_daemon);
    begin(name);
    for (int had_one = 0; had_one < 2; had_one++) {
        lab_arm(&lab, "T1", 5);
        interrupted(message, after, kill_daemon);
        lab_arm(&lab, "T1", 5);
        ck_assert_int_eq(load(NULL), 0);
        check_settled();
    }
    lab_end(&lab);
}
END_TEST

/* The terminal has an unconfirmed candidate (its Done was lost), and the Confirm is cut short. */
START_TEST(test_killed_in_a_confirm)
{
    struct lab_tmk pad[LAB_TMK_MAX];
    unsigned message;
    int after, kill_daemon;
    char name[64];
    decode_case(_i % (CONFIRM_MESSAGES * HOLDS * SIDES), CONFIRM_MESSAGES, &message, &after,
                &kill_daemon);
    /* Lost on the way: Done (the loader has it active) or Loaded (the loader has it pending). */
    unsigned lost = _i / (CONFIRM_MESSAGES * HOLDS * SIDES) ? KL_MSG_LOADED : 5;
    const struct relay_plan plan = {.act = RELAY_CUT, .message = lost};
    snprintf(name, sizeof name, "confirm-%u-%u-%d-%d", lost, message, after, kill_daemon);
    begin(name);
    ck_assert_int_ne(load(&plan), 0);
    ck_assert_uint_eq(lab_pinpad(&lab, "T1", pad), 1);
    ck_assert_str_eq(pad[0].state, "unconfirmed");

    interrupted(message, after, kill_daemon);
    lab_arm(&lab, "T1", 5);
    ck_assert_int_eq(load(NULL), 0);
    check_settled();
    lab_end(&lab);
}
END_TEST

/* The worker process dies with the load; the terminal is told, and the next load goes well. */
START_TEST(test_killed_worker)
{
    struct proof_load one;
    pid_t workers[8];
    const struct relay_plan plan = {.act = RELAY_HOLD_BEFORE, .message = KL_MSG_RANDOMS};
    begin("worker");
    proof_load_start(&proof, &lab, &plan, &one);
    ck_assert(relay_wait_hold(one.relay, proc_seconds(20) * 1000));
    size_t count = proc_children(lab.daemon.pid, workers, 8);
    ck_assert_uint_eq(count, 1);
    kill(workers[0], SIGKILL); /* our daemon's child, in a lab of our own */
    relay_release(one.relay);
    proof_load_end(&proof, &one, proc_wait(&one.terminal, LAB_LOAD_SECONDS));
    int status = -1;
    for (int tries = 0; tries < 20 && status != 0; tries++) {
        proc_sleep_ms(200);
        lab_arm(&lab, "T1", 5);
        status = load(NULL);
    }
    ck_assert_int_eq(status, 0);
    check_settled();
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
