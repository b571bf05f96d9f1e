/* SPDX-License-Identifier: BSD-2-Clause */
/* Daemon, fleet and bare loop: see rig.h. */
#include "tests/bench/rig.h"

#include <check.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "terminal-sim/fleet/fleet.h"

#define START_SECONDS 120
#define OPERATOR_SECONDS 600
#define FLEET_SECONDS 900
#define BARE_SECONDS 300

const struct kind kinds[KIND_COUNT] = {
    [KIND_RSA2048] = {"rsa2048", "hardened-rsa", "rsa-2048", "tdes2", 0},
    [KIND_CLASSIC] = {"classic", "classic", "rsa-2048", "tdes2", 0},
    [KIND_RSA3072] = {"rsa3072", "hardened-rsa", "rsa-3072", "aes128", 0},
    [KIND_P256] = {"p256", "hardened-ec", "p-256", "aes128", 1},
    [KIND_P521] = {"p521", "hardened-ec", "p-521", "aes128", 1},
};

/* Each kind's chain is in a directory of its own, so that a daemon serves it alone. The first rig
 * of a kind makes its key. */
static void serve(struct lab *lab, const struct kind *kind)
{
    char path[PATH_MAX], chain[PATH_MAX + 64], name[64];

    snprintf(name, sizeof(name), "work-%s", kind->name);
    file_mkdir(file_path(path, lab->dir, name));
    lab_set(lab, "certificates", "work", path);
    lab_set(lab, "hsm", "work-key", kind->name);
    lab_set(lab, "policy", "suites", kind->suite);
    proc_text(chain, sizeof(chain), "%s/%s.pem", path, kind->name);
    if (access(chain, F_OK) != 0) {
        lab_certify(lab, kind->name, kind->suite, kind->key, "ca");
    }
}

void rig_found(struct lab *lab)
{
    lab_lay_out(lab);
    lab_found_ca(lab, "ca");
    lab_publish_crl(lab, "ca", "loader");
}

void rig_begin(struct rig *rig, struct fault *fault, const struct lab *founded, const char *name,
               const struct kind *kind, unsigned workers, unsigned terminals)
{
    char count[16];

    if (terminals > KL_FLEET_TERMINALS_MAX) { /* then a fleet ends early, when all have loaded */
        terminals = KL_FLEET_TERMINALS_MAX;
    }
    *rig = (struct rig){
        .lab = *founded, .kind = kind, .workers = workers, .terminals = terminals, .armed = ""};
    if (fault) {
        fault_begin(fault, &rig->lab, name);
    } else {
        lab_begin(&rig->lab, name);
    }
    serve(&rig->lab, kind);
    snprintf(count, sizeof(count), "%u", workers);
    lab_set(&rig->lab, "hsm", "workers", count);
    lab_set(&rig->lab, "log", "level", "info");
}

/* keyloaderctl may be at it for minutes, if there are a million terminals. */
static void operator_done(struct proc *proc)
{
    int status = proc_wait(proc, OPERATOR_SECONDS);

    ck_assert_msg(status == 0, "keyloaderctl: status %d: %.500s", status,
                  file_read(proc->err, NULL));
}

void rig_register(struct rig *rig)
{
    char csv[PATH_MAX], count[16];
    struct proc proc;

    file_path(csv, rig->lab.run, "fleet.csv");
    snprintf(count, sizeof(count), "%u", rig->terminals);
    proc_spawn(&proc, rig->lab.logs, rig->lab.env,
               (const char *const[]){lab_built("bin/terminal-sim"), "fleet", "--write-csv", csv,
                                     "--terminals", count, "--algorithm", rig->kind->alg, NULL});
    ck_assert_int_eq(proc_wait(&proc, FLEET_SECONDS), 0);
    lab_ctl_start(&rig->lab, &proc, "terminal", "import", csv, NULL);
    operator_done(&proc);
}

void rig_wait(struct rig *rig)
{
    for (int tries = 0; lab_log_count(&rig->lab, "event=worker-ready") < rig->workers; tries++) {
        ck_assert_msg(tries < START_SECONDS * 20, "not all of %u workers have started; see %s",
                      rig->workers, rig->lab.daemon.err);
        proc_sleep_ms(50);
    }
}

void rig_start(struct rig *rig)
{
    lab_start(&rig->lab);
    rig_wait(rig);
}

void rig_end(struct rig *rig)
{
    lab_end(&rig->lab);
}

/* ---- Fleets ---- */

void rig_arm(struct rig *rig)
{
    struct proc operator;
    char prefix[64];

    proc_text(prefix, sizeof(prefix), "--prefix=%s", rig->armed);
    lab_ctl_start(&rig->lab, &operator, "terminal", "arm-all", "--for", "1d", "--attempts", "100",
                  rig->armed[0] ? prefix : NULL, NULL);
    operator_done(&operator);
    rig->used = 0;
}

/* Of so many terminals, after the first `skip`. */
__attribute__((format(printf, 5, 0))) static void fleet_start(struct rig *rig, struct proc *proc,
                                                              unsigned skip, unsigned terminals,
                                                              const char *line, va_list args)
{
    char words[1024], address[32], root[PATH_MAX], first[16], count[16];
    const char *argv[PROC_ARGS] = {lab_built("bin/terminal-sim"), "fleet", "--json", "--connect",
                                   address, "--root", file_path(root, rig->lab.dir, "root.pem"),
                                   "--first", first, "--terminals", count, "--suite",
                                   rig->kind->suite, "--algorithm", rig->kind->alg,
                                   /* so that no limit for one address is in the way */
                                   "--source", "127.0.0.0/8"};
    char *rest = words, *word;
    size_t n = 17;

    snprintf(address, sizeof(address), "127.0.0.1:%u", rig->lab.port);
    snprintf(first, sizeof(first), "%u", 1 + skip);
    snprintf(count, sizeof(count), "%u", terminals);
    ck_assert_uint_lt((size_t)vsnprintf(words, sizeof(words), line, args), sizeof(words));
    while ((word = strsep(&rest, " ")) != NULL) {
        ck_assert_uint_lt(n, PROC_ARGS - 1);
        argv[n++] = word;
    }
    argv[n] = NULL;
    proc_spawn(proc, rig->lab.logs, rig->lab.env, argv);
}

__attribute__((format(printf, 4, 0))) static void fleet_start_next(struct rig *rig,
                                                                   struct proc *proc,
                                                                   unsigned terminals,
                                                                   const char *line, va_list args)
{
    ck_assert_uint_le(rig->used + terminals, rig->terminals);
    fleet_start(rig, proc, rig->used, terminals, line, args);
    rig->used += terminals;
}

void rig_fleet_start(struct rig *rig, struct proc *proc, unsigned terminals, const char *line, ...)
{
    va_list args;

    va_start(args, line);
    fleet_start_next(rig, proc, terminals, line, args);
    va_end(args);
}

/* What went wrong, by kind; malloc'ed. libcheck ends the program at a message that is too long. */
static char *failures(const json_t *report)
{
    char *text = json_dumps(json_object_get(report, "errors"), JSON_COMPACT);

    ck_assert_ptr_nonnull(text);
    text[strnlen(text, 1000)] = '\0';
    return text;
}

json_t *rig_fleet_end(struct proc *proc)
{
    int status = proc_wait(proc, FLEET_SECONDS);
    char *text = file_read(proc->out, NULL), *said = file_read(proc->err, NULL);
    json_error_t error;
    json_t *report = json_loads(text, 0, &error);

    ck_assert_msg(report != NULL, "the fleet's report: %s: %.500s", error.text, said);
    ck_assert_msg(status == 0, "the fleet's status is %d: %.500s%s", status, said,
                  failures(report));
    unlink(proc->out);
    unlink(proc->err);
    free(said);
    free(text);
    return report;
}

json_t *rig_fleet(struct rig *rig, const char *line, ...)
{
    struct proc proc;
    va_list args;

    rig_arm(rig);
    va_start(args, line);
    fleet_start_next(rig, &proc, rig->terminals, line, args);
    va_end(args);
    return rig_fleet_end(&proc);
}

json_t *rig_fleet_next(struct rig *rig, unsigned terminals, const char *line, ...)
{
    struct proc proc;
    va_list args;

    va_start(args, line);
    fleet_start_next(rig, &proc, terminals, line, args);
    va_end(args);
    return rig_fleet_end(&proc);
}

/* ---- Silent connections ---- */

#define IDLE_SPARE 512       /* descriptors for all else, and for loads */
#define IDLE_PER_SECOND 1000 /* connections that come so fast at the least */

unsigned rig_idle_max(unsigned wanted)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max == RLIM_INFINITY ||
        limit.rlim_max >= wanted + IDLE_SPARE) {
        return wanted;
    }
    return limit.rlim_max > IDLE_SPARE ? (unsigned)limit.rlim_max - IDLE_SPARE : 0;
}

void rig_keep_idle(struct rig *rig)
{
    lab_set(&rig->lab, "limits", "connections", "100000");
    lab_set(&rig->lab, "limits", "idle-timeout", "1h");
    lab_set(&rig->lab, "limits", "handshake-timeout", "1h");
}

/* The daemon's descriptors tell how many it has. */
void rig_idle(struct rig *rig, struct proc *proc, unsigned more, unsigned all)
{
    rig_arm(rig);
    rig_fleet_start(rig, proc, rig->terminals, "--idle %u --duration 1h --allow connect", more);
    for (unsigned tries = 0; proc_descriptors(rig->lab.daemon.pid) < all; tries++) {
        ck_assert_msg(tries < more / IDLE_PER_SECOND * 20 + 1200,
                      "not all idle terminals connected");
        proc_sleep_ms(50);
    }
}

/* ---- Reports ---- */

double rig_number(const json_t *report, const char *path)
{
    char copy[128], *rest = copy, *name;
    const json_t *at = report;

    snprintf(copy, sizeof(copy), "%s", path);
    while ((name = strsep(&rest, "/")) != NULL) {
        at = json_object_get(at, name);
    }
    return json_number_value(at);
}

double rig_rate(struct rig *rig, double seconds)
{
    json_t *report = rig_fleet(rig, "--concurrency %u --duration %.0fms",
                               RIG_IN_FLIGHT * rig->workers, seconds * 1000);
    double rate = rig_number(report, "loads/good-per-second");

    json_decref(report);
    return rate;
}

/* ---- What it costs ---- */

/* CPU seconds of a thread: nanoseconds from schedstat, since stat counts in hundredths of a second.
 */
static double thread_cpu(pid_t pid, const char *thread)
{
    char path[64], *text;
    double seconds;

    snprintf(path, sizeof(path), "/proc/%d/task/%.12s/schedstat", (int)pid, thread);
    text = file_read(path, NULL);
    seconds = strtod(text, NULL) / 1e9;
    free(text);
    return seconds;
}

/* Of all threads that the process has now. */
static double cpu_of(pid_t pid)
{
    char path[64];
    struct dirent *entry;
    double sum = 0;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    dir = opendir(path);
    ck_assert_msg(dir != NULL, "%s is gone", path);
    while ((entry = readdir(dir)) != NULL) {
        sum += entry->d_name[0] != '.' ? thread_cpu(pid, entry->d_name) : 0;
    }
    closedir(dir);
    return sum;
}

double rig_loop_cpu(const struct rig *rig)
{
    char thread[16];

    snprintf(thread, sizeof(thread), "%d", (int)rig->lab.daemon.pid); /* the first one */
    return thread_cpu(rig->lab.daemon.pid, thread);
}

/* Fields 16 and 17 of stat: what children took that have been waited for. */
static double gone_cpu(pid_t pid)
{
    char path[64], *text, *at;
    unsigned long user = 0, system = 0;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    text = file_read(path, NULL);
    at = strrchr(text, ')');
    ck_assert(at != NULL &&
              sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %lu %lu", &user,
                     &system) == 2);
    free(text);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

double rig_cpu_of_all(const struct rig *rig)
{
    struct usage usage = rig_usage(rig);

    return usage.daemon + usage.workers + gone_cpu(rig->lab.daemon.pid);
}

struct usage rig_usage(const struct rig *rig)
{
    pid_t workers[256];
    size_t count = proc_children(rig->lab.daemon.pid, workers, 256);
    struct usage usage = {.daemon = cpu_of(rig->lab.daemon.pid)};

    for (size_t i = 0; i < count; i++) {
        usage.workers += cpu_of(workers[i]);
    }
    return usage;
}

/* Sum of the lines of a file in /proc/PID that begin with that word, in bytes. */
static double bytes_of(pid_t pid, const char *file, const char *word)
{
    char path[64], *text, *rest, *line;
    double sum = 0;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    rest = text = file_read(path, NULL);
    while ((line = strsep(&rest, "\n")) != NULL) {
        if (strncmp(line, word, strlen(word)) == 0 && strchr(line, ':') != NULL) {
            sum += strtod(strchr(line, ':') + 1, NULL) * 1024;
        }
    }
    free(text);
    ck_assert_msg(sum > 0, "%s has no %s", path, word);
    return sum;
}

double rig_private(pid_t pid)
{
    return bytes_of(pid, "smaps_rollup", "Private_");
}

/* ---- The bare loop ---- */

static struct bare loop(const struct rig *rig, const char *module, const char *through,
                        const char *alg, const char *more_env, unsigned processes, double seconds)
{
    char pin[PATH_MAX], conf[PATH_MAX + 64], count[16], ms[24];
    const char *env[] = {conf, more_env, NULL};
    struct bare bare;
    struct proc proc;
    json_t *said;

    snprintf(conf, sizeof(conf), "SOFTHSM2_CONF=%s/hsm/softhsm2.conf", rig->lab.dir);
    snprintf(count, sizeof(count), "%u", processes);
    snprintf(ms, sizeof(ms), "%.0f", seconds * 1000);
    proc_spawn(&proc, rig->lab.logs, env,
               (const char *const[]){lab_built("tests/bench/bare"), module, "pkcs11:token=loader",
                                     file_path(pin, rig->lab.dir, "loader.pin"), rig->kind->name,
                                     alg, count, ms, through, NULL});
    int status = proc_wait(&proc, BARE_SECONDS);
    char *text = file_read(proc.out, NULL);
    said = json_loads(text, 0, NULL);
    ck_assert_msg(status == 0 && said != NULL, "the bare loop: status %d: %.500s", status,
                  file_read(proc.err, NULL));
    bare = (struct bare){rig_number(said, "loads-per-second"), rig_number(said, "cpu-us-per-load"),
                         rig_number(said, "calls-per-load"), rig_number(said, "calls-not-carried")};
    json_decref(said);
    free(text);
    return bare;
}

struct bare rig_bare_through(const struct rig *rig, const char *module, const char *env,
                             unsigned processes, double seconds)
{
    return loop(rig, rig->lab.module, module, rig->kind->alg, env, processes, seconds);
}

struct bare rig_bare(const struct rig *rig, unsigned processes, double seconds)
{
    return rig_bare_through(rig, NULL, NULL, processes, seconds);
}

struct bare rig_sign(const struct rig *rig, const char *module, const char *env, unsigned processes,
                     double seconds)
{
    return loop(rig, module, NULL, "sign", env, processes, seconds);
}
