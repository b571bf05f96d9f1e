/* SPDX-License-Identifier: BSD-2-Clause */
/* HSM workers that hang, wear out or cannot keep up: the daemon serves on. */
#include <check.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/fault.h"
#include "tests/support/http.h"
#include "tests/support/lab.h"
#include "tests/support/lab_keys.h"
#include "tests/support/lab_trust.h"
#include "tests/support/suite.h"

static struct lab lab;
static struct fault fault;

static void found(void)
{
    lab_found(&lab, 2048);
}

static void abandon(void)
{
    lab_abandon(&lab);
}

static void begin(const char *name, const char *workers)
{
    lab_begin(&lab, name);
    lab_set(&lab, "hsm", "workers", workers);
}

/* The daemon's only worker, once it is up. */
static pid_t only_worker(void)
{
    pid_t workers[8];

    ck_assert_uint_eq(proc_children(lab.daemon.pid, workers, 8), 1);
    return workers[0];
}

/* A job that it has not read is done by the next one: the HSM has seen nothing of it. */
START_TEST(test_hung_worker_is_killed_and_replaced)
{
    begin("hang", "1");
    lab_set(&lab, "hsm", "job-timeout", "2s");
    lab_terminal(&lab, "T1", "tdes2");
    lab_arm(&lab, "T1", 1);
    lab_start(&lab);
    ck_assert_int_eq(kill(only_worker(), SIGSTOP), 0);
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    ck_assert_uint_eq(lab_log_count(&lab, "did not answer in time"), 1);
    lab_settled(&lab, "T1", 1);
    lab_end(&lab);
}
END_TEST

START_TEST(test_worn_out_workers_are_recycled)
{
    char serial[] = "T0";

    begin("recycle", "1");
    lab_set(&lab, "hsm", "recycle-after", "1");
    lab_start(&lab);
    for (int i = 1; i <= 5; i++) {
        serial[1] = (char)('0' + i);
        lab_terminal(&lab, serial, "tdes2");
        lab_arm(&lab, serial, 1);
        ck_assert_int_eq(lab_load(&lab, serial, lab.port), 0);
        lab_settled(&lab, serial, 1);
    }
    ck_assert(lab_logged(&lab, "event=worker-recycled", 10));
    ck_assert_uint_ge(lab_log_count(&lab, "event=worker-recycled"), 2);
    ck_assert_uint_eq(lab_log_count(&lab, "event=worker-lost"), 0);
    lab_end(&lab);
}
END_TEST

/* ---- A job that was sent ahead to a worker that hangs ---- */

enum { JOB_TIMEOUT_MAX = 300 }; /* seconds: whoever hangs is there until the test ends that */

/* Of so many workers one hangs in T1's load, which will be killed only after job_timeout. T2 to T7
 * are armed once. */
static void begin_hung(const char *name, const char *workers, int job_timeout, struct proc *hung)
{
    char seconds[16], serial[] = "T0";

    fault_begin(&fault, &lab, name);
    lab_set(&lab, "hsm", "workers", workers);
    snprintf(seconds, sizeof seconds, "%ds", job_timeout);
    lab_set(&lab, "hsm", "job-timeout", seconds);
    lab_terminal(&lab, "T0", "tdes2"); /* so that there is a record to sign */
    lab_start(&lab);
    lab_wait_checkpoint(&lab); /* else it would be what is sent ahead */
    for (int i = 1; i <= 7; i++) {
        serial[1] = (char)('0' + i);
        lab_terminal(&lab, serial, "tdes2");
        lab_arm(&lab, serial, 1);
    }
    fault_set(&fault, "C_UnwrapKey always log\nC_UnwrapKey always hang\n");
    lab_load_start(&lab, "T1", lab.port, NULL, hung);
    ck_assert(fault_logged(&fault, "C_UnwrapKey begins", 10));
}

static void fails(struct proc *load)
{
    ck_assert_int_ne(proc_wait(load, LAB_LOAD_SECONDS), 0);
}

/* What felled the worker may be the peer's bytes: that load fails. What came after it does not. */
START_TEST(test_job_sent_ahead_outlives_its_worker)
{
    struct proc hung, ahead;
    pid_t worker;

    begin_hung("ahead-killed", "1", JOB_TIMEOUT_MAX, &hung);
    lab_load_start(&lab, "T2", lab.port, NULL, &ahead);
    proc_sleep_ms(500); /* less than what takes it back from who takes long */
    fault_set(&fault, "");
    ck_assert_uint_eq(proc_children(lab.daemon.pid, &worker, 1), 1);
    ck_assert_int_eq(kill(worker, SIGKILL), 0);
    fails(&hung);
    ck_assert_int_eq(proc_wait(&ahead, LAB_LOAD_SECONDS), 0);
    lab_settled(&lab, "T2", 1);
    lab_end(&lab);
}
END_TEST

/* The HSM has done nothing for a terminal that has gone, so that it costs no attempt. */
START_TEST(test_job_sent_ahead_is_recalled)
{
    struct proc hung, gone;

    begin_hung("ahead-gone", "1", 3, &hung);
    lab_load_start(&lab, "T2", lab.port, NULL, &gone);
    proc_sleep_ms(500);
    proc_kill(&gone);
    fault_set(&fault, "");
    fails(&hung);
    ck_assert_int_eq(lab_load(&lab, "T2", lab.port), 0);
    lab_settled(&lab, "T2", 1);
    lab_end(&lab);
}
END_TEST

/* While another worker has enough to do: it need not wait until that one has not. */
START_TEST(test_job_sent_ahead_does_not_wait_for_who_hangs)
{
    enum { LOADS = 6 };
    struct proc hung, loads[LOADS];
    char serial[] = "T0";

    begin_hung("ahead-stuck", "2", JOB_TIMEOUT_MAX, &hung);
    fault_set(&fault, "C_UnwrapKey always delay:700\n");
    /* The first is for the other worker, the second is sent to the one that hangs. */
    for (int i = 0; i < LOADS; i++) {
        serial[1] = (char)('2' + i);
        lab_load_start(&lab, serial, lab.port, NULL, &loads[i]);
        proc_sleep_ms(150);
    }
    ck_assert_int_eq(proc_wait(&loads[1], LAB_LOAD_SECONDS), 0);
    ck_assert_int_eq(proc_poll(&loads[LOADS - 1]), -1);
    for (int i = 0; i < LOADS; i++) {
        ck_assert_int_eq(i == 1 ? 0 : proc_wait(&loads[i], LAB_LOAD_SECONDS), 0);
    }
    proc_kill(&hung);
    lab_end(&lab);
}
END_TEST

/* Loads that were told so at Hello, before a suite was chosen; the monitor is up to a second late.
 */
static void await_busy_at_hello(void)
{
    static const char series[] = "keyloader_loads_total{outcome=\"busy\",suite=\"none\"} ";
    double count = 0;

    for (int tries = 0; count == 0 && tries < proc_seconds(10) * 5; tries++) {
        char *metrics = http_get(lab_monitor_port(&lab), "/metrics"), *at = strstr(metrics, series);
        ck_assert_ptr_nonnull(at);
        count = strtod(at + strlen(series), NULL);
        free(metrics);
        proc_sleep_ms(count > 0 ? 0 : 200);
    }
    ck_assert(count >= 1);
}

START_TEST(test_full_queue_is_busy_at_once)
{
    enum { LOADS = 4 };
    struct proc loads[LOADS];
    char serial[] = "T0", patience[16];
    int busy = 0;

    begin("queue", "1");
    lab_set(&lab, "limits", "queue", "1");
    lab_set(&lab, "monitor", "listen", "127.0.0.1:0");
    snprintf(patience, sizeof patience, "%ds", proc_seconds(30));
    lab_set(&lab, "hsm", "job-timeout", patience); /* longer than the worker stands still */
    lab_terminal(&lab, "T0", "tdes2");             /* so that there is a record to sign */
    lab_start(&lab);
    lab_wait_checkpoint(&lab);
    for (int i = 0; i < LOADS; i++) {
        serial[1] = (char)('1' + i);
        lab_terminal(&lab, serial, "tdes2");
        lab_arm(&lab, serial, 1);
    }
    pid_t worker = only_worker();
    ck_assert_int_eq(kill(worker, SIGSTOP), 0);
    for (int i = 0; i < LOADS; i++) {
        serial[1] = (char)('1' + i);
        lab_load_start(&lab, serial, lab.port, NULL, &loads[i]);
    }
    /* One is with the stopped worker, one is queued: the others must be told now. */
    ck_assert(lab_logged(&lab, "rc=busy", 5));
    for (int try = 0; try < proc_seconds(100) && lab_log_count(&lab, "rc=busy") < LOADS - 2;
         try++) {
        proc_sleep_ms(100);
    }
    /* As would be one that has not been armed: who is told so costs the store nothing. */
    lab_terminal(&lab, "T9", "tdes2");
    ck_assert_int_eq(lab_load(&lab, "T9", lab.port), 75);
    ck_assert_int_eq(kill(worker, SIGCONT), 0);
    ck_assert_uint_eq(lab_alarms(&lab, "T9", "unarmed"), 0);
    await_busy_at_hello();
    for (int i = 0; i < LOADS; i++) {
        int status = proc_wait(&loads[i], LAB_LOAD_SECONDS);
        char *text = file_read(loads[i].err, NULL);
        if (status != 0) {
            ck_assert_msg(strstr(text, "busy") != NULL, "%s", text);
            busy++;
        }
        free(text);
    }
    ck_assert_int_eq(busy, LOADS - 2);
    lab_end(&lab);
}
END_TEST

/* Sign-ins, for which nobody arms a terminal, have half of the queue. */
START_TEST(test_sign_ins_leave_room_for_loads)
{
    enum { SIGN_INS = 3 };
    struct proc procs[SIGN_INS + 1];
    char serial[] = "T0", to[32];

    begin("room", "1");
    lab_set(&lab, "limits", "queue", "2");
    lab_set(&lab, "policy", "host-fallback", "yes");
    lab_start(&lab);
    for (int i = 0; i <= SIGN_INS; i++) {
        serial[1] = (char)('1' + i);
        lab_terminal(&lab, serial, "tdes2");
        lab_arm(&lab, serial, 1);
        if (i < SIGN_INS) {
            ck_assert_int_eq(lab_load(&lab, serial, lab.port), 0);
        }
    }
    snprintf(to, sizeof to, "127.0.0.1:%u", lab.port);
    lab_wait_checkpoint(&lab);
    pid_t worker = only_worker();
    ck_assert_int_eq(kill(worker, SIGSTOP), 0);
    for (int i = 0; i < SIGN_INS; i++) {
        serial[1] = (char)('1' + i);
        lab_sim_start(&lab, serial, &procs[i], "sign-in", "--connect", to, NULL);
    }
    /* One is with the stopped worker, one is queued. */
    ck_assert(lab_logged(&lab, "rc=busy", 5));
    serial[1] = (char)('1' + SIGN_INS);
    lab_load_start(&lab, serial, lab.port, NULL, &procs[SIGN_INS]);
    proc_sleep_ms(300);
    ck_assert_int_eq(kill(worker, SIGCONT), 0);
    ck_assert_int_eq(proc_wait(&procs[SIGN_INS], LAB_LOAD_SECONDS), 0);
    int busy = 0;
    for (int i = 0; i < SIGN_INS; i++) {
        busy += proc_wait(&procs[i], LAB_LOAD_SECONDS) != 0;
    }
    ck_assert_int_eq(busy, 1);
    lab_end(&lab);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("workers");
    TCase *tc = tcase_create("workers");

    tcase_set_timeout(tc, 120);
    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_add_test(tc, test_hung_worker_is_killed_and_replaced);
    tcase_add_test(tc, test_worn_out_workers_are_recycled);
    tcase_add_test(tc, test_job_sent_ahead_outlives_its_worker);
    tcase_add_test(tc, test_job_sent_ahead_is_recalled);
    tcase_add_test(tc, test_job_sent_ahead_does_not_wait_for_who_hangs);
    tcase_add_test(tc, test_full_queue_is_busy_at_once);
    tcase_add_test(tc, test_sign_ins_leave_room_for_loads);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
