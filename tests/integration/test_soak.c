/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A daemon under mixed load for as long as it is told, while it is reloaded, attacked, loses its
 * HSM, its workers and itself. After every round the PIN pads' TMKs are compared with the store,
 * and memory and descriptors are written down.
 *
 *   KL_SOAK_SECONDS=N   how long (default: one round of each kind); make soak SOAK_SECONDS=N
 *   KL_SOAK_RATE=R      loads and sign-ins a second (default 20)
 *   KL_SOAK_OUT=FILE    the samples, as CSV
 */
#include <check.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/cli.h"
#include "daemon/store/store.h"
#include "proto/clock.h"
#include "tests/support/fault.h"
#include "tests/support/knob.h"
#include "tests/support/lab_trust.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"

#define WORKERS 2
#define SHORT_ROUND_S 3
#define LONG_ROUND_S 30
/* Of a long soak, each with a store of its own: check's clock ends at 2^31 us. */
#define PART_S 1800
#define ATTACKED "ATTACKED" /* the terminal that attacks are made with */
#define RECYCLE "20000"     /* jobs; more than a worker does between two restarts */

static struct lab lab;
static struct fault fault;
static unsigned round_seconds = SHORT_ROUND_S, rate = 20;
static FILE *samples;
static char csv[PATH_MAX], root[PATH_MAX];
static struct {
    unsigned rounds, restarts;
    uint64_t loads, sign_ins, failed, in_doubt;
} total;

static void found(void)
{
    lab_found(&lab, 2048);
    lab_certify(&lab, "acquire-ec", "hardened-ec", "p256", "ca");
}

static void abandon(void)
{
    lab_abandon(&lab);
}

/* ---- What happens to the daemon ---- */

static void nothing(void)
{
}

static void reloads(void)
{
    for (int i = 0; i < 3; i++) {
        kill(lab.daemon.pid, SIGHUP);
        proc_sleep_ms(300);
    }
}

static void hsm_lost(void)
{
    fault_set(&fault, "* always absent\n");
    proc_sleep_ms(1000);
    fault_set(&fault, "");
}

static void hsm_ill(void)
{
    fault_set(&fault, "C_UnwrapKey chance:30 rv:CKR_DEVICE_ERROR\nC_Sign chance:10 lost\n");
    proc_sleep_ms(1000);
    fault_set(&fault, "");
}

static void hsm_slow(void)
{
    fault_set(&fault, "* always delay:5-20\n");
    proc_sleep_ms(1000);
    fault_set(&fault, "");
}

static void worker_killed(void)
{
    pid_t workers[WORKERS + 2];

    if (proc_children(lab.daemon.pid, workers, WORKERS + 2) > 0) {
        kill(workers[0], SIGKILL); /* our daemon's child, in a lab of our own */
    }
}

/* Every known attack, or some of them in a short soak: none may be broken. */
static void attacked(void)
{
    const char *argv[PROC_ARGS] = {
        lab_built("bin/terminal-sim"), "attack", "--loader", NULL, "--terminal", NULL};
    char to[32], dir[PATH_MAX];
    struct proc proc;
    size_t n = 6;

    lab_arm(&lab, ATTACKED, 100);
    snprintf(to, sizeof(to), "127.0.0.1:%u", lab.port);
    argv[3] = to;
    argv[5] = lab_terminal_file(&lab, ATTACKED, ".", dir);
    if (round_seconds == SHORT_ROUND_S) {
        argv[n++] = "ack-forged";
        argv[n++] = "done-forged";
        argv[n++] = "edit-randoms";
    } else {
        argv[n++] = "--all";
    }
    lab_terminal_spawn(&lab, ATTACKED, &proc, argv);
    ck_assert_int_eq(proc_wait(&proc, 200), 0);
    unlink(proc.out);
    unlink(proc.err);
}

/* At the same port, as terminals know it. */
static void start_again(void)
{
    char port[8];

    snprintf(port, sizeof(port), "%u", lab.port);
    lab_set(&lab, "listen", "port", port);
    lab_start(&lab);
    total.restarts++;
}

static void restarted(void)
{
    lab_stop(&lab);
    start_again();
}

static void killed(void)
{
    lab_kill(&lab);
    start_again();
}

static const struct happening {
    const char *name;
    void (*happens)(void);
    int is_gentle; /* no load may fail because of it */
    int is_end;    /* of the process: seldom in a long soak, whose memory is to be seen */
} happenings[] = {
    {"nothing", nothing, 1, 0},
    {"reloads", reloads, 1, 0},
    {"hsm-slow", hsm_slow, 1, 0},
    {"attacks", attacked, 0, 0},
    {"worker-killed", worker_killed, 0, 0},
    {"nothing", nothing, 1, 0},
    {"hsm-ill", hsm_ill, 0, 0},
    {"hsm-lost", hsm_lost, 0, 0},
    {"restart", restarted, 0, 1},
    {"daemon-killed", killed, 0, 1},
};
#define HAPPENINGS (sizeof(happenings) / sizeof(happenings[0]))
#define CYCLES_A_LIFE 4 /* of a process, in a long soak */

/* ---- Terminals ---- */

static unsigned terminals(void)
{
    return rate * round_seconds * 3 / 2; /* each loads once a round; sign-ins come on top */
}

static const char *const whose[] = {"--serial-prefix", "SOAK", "--algorithm", "tdes2"};

static void add(const char **argv, size_t *n, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_lt(*n, PROC_ARGS - 1);
        argv[(*n)++] = words[i];
    }
    argv[*n] = NULL;
}
#define ADD(...) \
    add(argv, &n, (const char *const[]){__VA_ARGS__}, \
        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* terminal-sim fleet; what follows are the words of ADD(). */
static size_t fleet(const char **argv, char count[16])
{
    size_t n = 0;

    snprintf(count, 16, "%u", terminals());
    ADD(lab_built("bin/terminal-sim"), "fleet", "--terminals", count);
    add(argv, &n, whose, sizeof(whose) / sizeof(whose[0]));
    return n;
}

static void write_csv(const char *file)
{
    const char *argv[PROC_ARGS];
    char count[16];
    struct proc proc;
    size_t n = fleet(argv, count);

    ADD("--write-csv", file);
    proc_spawn(&proc, lab.logs, NULL, argv);
    ck_assert_int_eq(proc_wait(&proc, 60), 0);
}

static void fleet_start(struct proc *proc, int gentle, const char *kcv)
{
    const char *argv[PROC_ARGS];
    char count[16], to[32], pace[16], seconds[16];
    size_t n = fleet(argv, count);

    snprintf(to, sizeof(to), "127.0.0.1:%u", lab.port);
    snprintf(pace, sizeof(pace), "%u", rate);
    snprintf(seconds, sizeof(seconds), "%us", round_seconds);
    ADD("--connect", to, "--root", root, "--suite", "hardened-rsa=1,hardened-ec=1", "--kcv-out",
        kcv, "--rate", pace, "--duration", seconds, "--sign-in", "30", "--retry", "50", "--json",
        "--timeout", "60");
    if (!gentle) {
        ADD("--allow", "busy,timeout,connect,reset");
    }
    proc_spawn(proc, lab.logs, NULL, argv);
}

static uint64_t number_of(json_t *report, const char *group, const char *name)
{
    json_t *value = json_object_get(json_object_get(report, group), name);

    ck_assert_msg(json_is_integer(value), "the fleet's report has no %s.%s", group, name);
    return (uint64_t)json_integer_value(value);
}

static void count_loads(const struct proc *proc)
{
    char *text = file_read(proc->out, NULL);
    json_t *report = json_loads(text, 0, NULL);

    ck_assert_msg(report != NULL, "no JSON in %s", proc->out);
    ck_assert_msg(number_of(report, "loads", "good") > 0, "no load went well: %s", proc->out);
    total.loads += number_of(report, "loads", "good");
    total.sign_ins += number_of(report, "sign-ins", "good");
    total.failed += number_of(report, "loads", "failed") + number_of(report, "sign-ins", "failed");
    json_decref(report);
    free(text);
}

/* Every TMK that a PIN pad uses is the store's active one; one in doubt, the store has. */
static void prove(const char *file)
{
    char *text = file_read(file, NULL), *save = NULL, *line = strtok_r(text, "\n", &save);
    struct kl_store *store = NULL;
    struct kl_err err = KL_ERR_INIT;

    ck_assert_msg(line != NULL && strcmp(line, "serial,state,version,algorithm,kcv") == 0, "%s",
                  file);
    ck_assert_msg(kl_store_open(lab.store, KL_STORE_READ, &store, &err) == KL_OK, "%s", err.text);
    while ((line = strtok_r(NULL, "\n", &save)) != NULL) {
        char serial[64], state[16], alg[16], kcv[16], stored[KL_KCV_TEXT];
        struct kl_tmk row;
        unsigned version;
        ck_assert_int_eq(sscanf(line, "%63[^,],%15[^,],%u,%15[^,],%15s", serial, state, &version,
                                alg, kcv),
                         5);
        ck_assert_msg(kl_store_tmk_get(store, serial, version, &row, &err) == KL_OK, "%s: %s", line,
                      err.text);
        kl_kcv_format(row.kcv, row.kcv_len, stored);
        ck_assert_msg(strcmp(kcv, stored) == 0, "%s: the store has KCV %s", line, stored);
        if (strcmp(state, "active") == 0) {
            ck_assert_msg(row.state == KL_TMK_ACTIVE, "%s: in the store it is %s", line,
                          kl_tmk_state_name(row.state));
        } else {
            total.in_doubt++;
        }
    }
    kl_store_free(store);
    free(text);
}

/* ---- What grows ---- */

static unsigned long rss_kib(pid_t pid)
{
    char path[64];
    unsigned long kib = 0;
    char *text;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    text = file_read(path, NULL);
    if (strstr(text, "VmRSS:") != NULL) {
        kib = strtoul(strstr(text, "VmRSS:") + 6, NULL, 10);
    }
    free(text);
    return kib;
}

/* The present process, as of its third round: before, it takes what it needs. */
static struct {
    pid_t pid;
    unsigned rounds, descriptors;
    unsigned long rss;
} settled;

static void sample(const char *name)
{
    pid_t pid = lab.daemon.pid, workers[2 * WORKERS] = {0};
    size_t count = proc_children(pid, workers, 2 * WORKERS);
    unsigned open_now = proc_descriptors(pid);
    unsigned long rss = rss_kib(pid);

    if (settled.pid != pid) {
        memset(&settled, 0, sizeof(settled));
        settled.pid = pid;
    }
    if (++settled.rounds == 3) {
        settled.descriptors = open_now;
        settled.rss = rss;
    }
    /* Peers that were cut off are still being closed. */
    for (int tries = 0;
         settled.rounds > 3 && open_now > settled.descriptors && tries < proc_seconds(10) * 10;
         tries++) {
        proc_sleep_ms(100);
        open_now = proc_descriptors(pid);
    }
    fprintf(samples, "%lld,%u,%s,%d,%llu,%llu,%llu,%lu,%u", (long long)kl_clock_us() / 1000000,
            total.rounds, name, (int)pid, (unsigned long long)total.loads,
            (unsigned long long)total.sign_ins, (unsigned long long)total.failed, rss, open_now);
    for (size_t i = 0; i < count; i++) {
        fprintf(samples, ",%d,%lu", (int)workers[i], rss_kib(workers[i]));
    }
    fputc('\n', samples);
    fflush(samples);
    if (settled.rounds > 3) {
        ck_assert_msg(open_now <= settled.descriptors + WORKERS,
                      "descriptors: %u, after %u in its third round", open_now,
                      settled.descriptors);
    }
    if (settled.rounds > 10) {
        ck_assert_msg(rss < settled.rss + settled.rss / 4,
                      "memory: %lu KiB, after %lu KiB in its third round", rss, settled.rss);
    }
}

/* ---- The whole ---- */

static void soak_round(const struct happening *happening)
{
    char kcv[PATH_MAX];
    struct proc proc;
    int status;

    free(lab_ctl(&lab, "terminal", "arm-all", "--prefix", "SOAK", "--attempts", "100", NULL));
    fleet_start(&proc, happening->is_gentle, file_path(kcv, lab.run, "kcv.csv"));
    proc_sleep_ms((int)round_seconds * 300);
    happening->happens();
    status = proc_wait(&proc, (int)round_seconds * 2 + 120);
    if (status != 0) { /* its report is too long for a message of check's */
        printf("%s%s", file_read(proc.out, NULL), file_read(proc.err, NULL));
        ck_abort_msg("%s: the fleet ended with status %d", happening->name, status);
    }
    count_loads(&proc);
    prove(kcv);
    total.rounds++;
    sample(happening->name);
    unlink(proc.out);
    unlink(proc.err);
    ck_assert_int_eq(lab_ctl_status(&lab, "audit", "verify", "--store", lab.store, NULL), 0);
}

static void begin(int part)
{
    const char *out = getenv("KL_SOAK_OUT");
    char idle[16], name[16];

    snprintf(idle, sizeof(idle), "%ds", proc_seconds(2));
    snprintf(name, sizeof(name), "soak-%d", part);
    fault_begin(&fault, &lab, name);
    lab_set(&lab, "hsm", "workers", "2");
    lab_set(&lab, "hsm", "recycle-after", RECYCLE);
    lab_set(&lab, "audit", "checkpoint-every", "100");
    lab_set(&lab, "limits", "connections-per-address", "100");
    lab_set(&lab, "limits", "idle-timeout", idle);   /* attacks wait for it */
    lab_set(&lab, "policy", "host-fallback", "yes"); /* SoftHSM cannot wrap under a TDES key */
    lab_terminal(&lab, ATTACKED, "tdes2");
    write_csv(file_path(csv, lab.run, "terminals.csv"));
    free(lab_ctl(&lab, "terminal", "import", csv, NULL));
    samples = fopen(out != NULL && *out != '\0' ? out : file_path(csv, lab.run, "soak.csv"),
                    part == 0 ? "w" : "a");
    ck_assert_ptr_nonnull(samples);
    fputs("seconds,round,happening,pid,loads,sign-ins,failed,rss-kib,descriptors,worker,"
          "worker-rss-kib,worker,worker-rss-kib\n",
          samples);
    lab_start(&lab);
}

START_TEST(soak)
{
    unsigned long all = knob("KL_SOAK_SECONDS", 0);
    unsigned long left = all - (unsigned long)_i * PART_S, seconds = left < PART_S ? left : PART_S;
    int64_t end = kl_clock_us() + (int64_t)seconds * 1000000;
    unsigned cycles = 0;

    if (seconds > 0) {
        round_seconds = LONG_ROUND_S;
    }
    rate = (unsigned)knob("KL_SOAK_RATE", rate);
    file_path(root, lab.dir, "root.pem");
    begin(_i);
    do {
        for (size_t i = 0; i < HAPPENINGS && (seconds == 0 || kl_clock_us() < end); i++) {
            if (!happenings[i].is_end || seconds == 0 || cycles % CYCLES_A_LIFE == 3) {
                soak_round(&happenings[i]);
            }
        }
        cycles++;
    } while (kl_clock_us() < end);
    fclose(samples);
    printf("soak: %u rounds, %u restarts, %llu loads, %llu sign-ins, %llu failed, %llu in doubt\n",
           total.rounds, total.restarts, (unsigned long long)total.loads,
           (unsigned long long)total.sign_ins, (unsigned long long)total.failed,
           (unsigned long long)total.in_doubt);
    lab_agree(&lab, ATTACKED);
    lab_end(&lab);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("soak");
    TCase *tc = tcase_create("soak");
    unsigned long seconds = knob("KL_SOAK_SECONDS", 0);

    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_set_timeout(tc, 300 + (double)PART_S * 2);
    tcase_add_loop_test(tc, soak, 0, seconds == 0 ? 1 : (int)((seconds + PART_S - 1) / PART_S));
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
