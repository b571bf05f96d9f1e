/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Daemon, keyloaderctl and terminal die at every commit point: at each fsync and each change of a
 * name that they make in their folders, one after the other, until none is left; by SIGKILL, and by
 * a power cut, after which the folder holds what had been synced and, at random, some of the rest
 * (tests/tools/disk_preload.h). They start again on that, and the audit of tests/support/proof.h
 * must hold. SoftHSM's files are its own matter, and stay as they are.
 *
 *   KL_CRASH_POINTS=all     every way to die at every point, instead of one drawn for each
 *   KL_CRASH_POINTS=writes  and at every write, too (make crash-points)
 *   KL_CRASH_JOBS=N         scenes at a time, each with a daemon of its own (default 1)
 *   KL_CRASH_SEED=S         of all that is drawn (default: drawn, and printed)
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/store/store.h"
#include "tests/support/disk.h"
#include "tests/support/knob.h"
#include "tests/support/lab_keys.h"
#include "tests/support/proof.h"
#include "tests/support/suite.h"

#define SERIAL "T1"
#define POINTS_MAX 400
#define WAL_SEQUENCE 12 /* offset in its header: how often it has begun anew, 4 bytes */
#define SHORTEN_MAX 50  /* sign-ins */
#define STEP 3          /* through the points of a scene that has many */
#define STEP_WRITES 41  /* the same, if each write is one */
#define WAL_PAGES 1100  /* more than it is to have: its thread gets to work at the next commit */

enum victim { DAEMON, OPERATOR, TERMINAL };
static const char *const victims[] = {"daemon", "keyloaderctl", "terminal"};

static struct lab lab;
static struct disk disk;
static struct proof proof;
static unsigned seed;

/* How they die. */
static const struct mode {
    const char *name;
    uint32_t after, cut, spread;
} modes[] = {
    {"killed-before", 0, 0, 0},    {"killed-after", 1, 0, 0},           {"cut", 0, 1, 0},
    {"cut-some-written", 0, 1, 1}, {"cut-after-some-written", 1, 1, 1},
};
#define MODES (sizeof modes / sizeof modes[0])

static uint32_t next_seed(void)
{
    return (uint32_t)rand_r(&seed) | 1;
}

static void found(void)
{
    lab_found(&lab, 2048);
    lab_set(&lab, "policy", "kcv-length", "4"); /* so that equal ones mean equal keys */
    lab_set(&lab, "policy", "host-fallback", "yes");
}

static void abandon(void)
{
    lab_abandon(&lab);
}

/* ---- What they are at when they die ---- */

static void load(const struct relay_plan *plan)
{
    struct proof_load one;

    proof_load_start(&proof, &lab, plan, &one);
    proof_load_end(&proof, &one, proc_wait(&one.terminal, LAB_LOAD_SECONDS));
}

static void arm(void)
{
    (void)lab_ctl_status(&lab, "terminal", "arm", SERIAL, "--for", "1h", "--attempts", "3", NULL);
}

static void arm_and_load(void)
{
    arm();
    load(NULL);
}

/* A load whose Loaded does not arrive, so that Confirm is due. */
static void lose_loaded(void)
{
    const struct relay_plan plan = {.act = RELAY_CUT, .message = KL_MSG_LOADED};

    arm();
    load(&plan);
}

static void just_load(void)
{
    load(NULL);
}

static int terminal_sim(const char *word)
{
    char to[32];

    snprintf(to, sizeof to, "127.0.0.1:%u", lab.port);
    return lab_terminal_sim(&lab, SERIAL, word, "--connect", to, NULL);
}

static void sign_in(void)
{
    (void)terminal_sim("sign-in");
}

/* A TMK from elsewhere, another one each time. */
static void import(void)
{
    struct lab_components parts;
    uint8_t tmk[16];

    ck_assert_int_eq(getrandom(tmk, sizeof tmk, 0), sizeof tmk);
    lab_components(&lab, kl_alg_info(KL_ALG_TDES2), tmk, &parts);
    (void)lab_ctl_status(&lab, "tmk", "import", SERIAL, "--algorithm", "tdes2", "--components", "2",
                         "--component", parts.sources[0], "--component", parts.sources[1],
                         "--component-kcv", parts.kcvs[0], "--component-kcv", parts.kcvs[1],
                         "--kcv", parts.kcv, "--replace", NULL);
}

static char *backup_path(char out[PATH_MAX])
{
    return file_path(out, lab.run, "store/backup");
}

static void backup(void)
{
    char path[PATH_MAX];

    (void)lab_ctl_status(&lab, "store", "backup", "--out", backup_path(path), "--force", NULL);
}

static void start_and_stop(void)
{
    lab_spawn(&lab);
    (void)lab_logged(&lab, "event=listening ", disk.control->stop <= disk.control->count ? 0 : 2);
    if (proc_poll(&lab.daemon) == -1) {
        kill(lab.daemon.pid, SIGTERM);
        (void)proc_wait(&lab.daemon, 60);
    }
}

/* ---- A WAL that is too long ---- */

static uint32_t wal_sequence(void)
{
    char path[PATH_MAX + 4];
    size_t len;

    snprintf(path, sizeof path, "%s-wal", lab.store);
    uint8_t *data = (uint8_t *)file_read(path, &len), *at = data + WAL_SEQUENCE;
    uint32_t sequence = len < WAL_SEQUENCE + 4 ? 0
                                               : (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
                                                     (uint32_t)at[2] << 8 | at[3];
    free(data);
    return sequence;
}

static struct kl_store *open_store(enum kl_store_mode mode)
{
    struct kl_store *store = NULL;
    struct kl_err err = KL_ERR_INIT;

    ck_assert_msg(kl_store_open(lab.store, mode, &store, &err) == KL_OK &&
                      kl_store_begin(store, &err) == KL_OK,
                  "%s", err.text);
    return store;
}

/* What another program commits while somebody reads, so that it cannot be moved at once. */
static void lengthen_wal(void)
{
    static char letter; /* another one each time: what stays the same is not written */
    char name[16], value[KL_META_MAX + 1];
    struct kl_err err = KL_ERR_INIT;
    struct kl_store *reader, *writer;

    arm();
    reader = open_store(KL_STORE_READ);
    ck_assert_int_eq(kl_store_meta_get(reader, KL_META_STORE_ID, value, &err), KL_OK);
    writer = open_store(KL_STORE_WRITE);
    letter = letter < 'z' ? (char)(letter + 1) : 'a';
    memset(value, letter, KL_META_MAX);
    value[KL_META_MAX] = '\0';
    for (int i = 0; i < WAL_PAGES; i++) {
        snprintf(name, sizeof name, "page-%d", i);
        ck_assert_int_eq(kl_store_meta_put(writer, name, value, &err), KL_OK);
    }
    ck_assert_msg(kl_store_commit(writer, &err) == KL_OK, "%s", err.text);
    kl_store_free(writer);
    kl_store_free(reader);
}

/* The load's commits and sign-ins, until the WAL has begun anew, and one more: what was in it is
 * in the file alone. */
static void shorten_wal(void)
{
    uint32_t was = wal_sequence();

    load(NULL);
    for (int i = 0; wal_sequence() == was && !disk_stopped(&disk); i++) {
        ck_assert_msg(i < SHORTEN_MAX, "the WAL does not begin anew");
        sign_in();
    }
    sign_in();
}

static const struct scene {
    const char *name;
    enum victim victim;
    void (*before)(void); /* NULL: nothing */
    void (*act)(void);
    int starts; /* the daemon is started by `act` */
    int many;   /* of what `before` wrote, and more points than there is time for */
} scenes[] = {
    {"load", DAEMON, NULL, arm_and_load, 0},
    {"load", TERMINAL, arm, just_load, 0},
    {"confirm", DAEMON, lose_loaded, just_load, 0},
    {"confirm", TERMINAL, lose_loaded, just_load, 0},
    {"sign-in", DAEMON, NULL, sign_in, 0},
    {"sign-in", TERMINAL, NULL, sign_in, 0},
    {"start", DAEMON, NULL, start_and_stop, 1},
    {"wal", DAEMON, lengthen_wal, shorten_wal, 0, 1},
    {"import", OPERATOR, NULL, import, 0},
    {"backup", OPERATOR, NULL, backup, 0},
};
#define DAEMON_LOAD 0
#define TERMINAL_LOAD 1
#define DRAWN_SCENES 8 /* those of operators take longer: with KL_CRASH_POINTS only */
#define SCENES (sizeof scenes / sizeof scenes[0])

/* ---- One death, and the audit ---- */

/* Everything that is watched is started under it. */
static void prepare(const struct scene *scene)
{
    if (scene->victim != TERMINAL) {
        if (lab.daemon.pid != 0) {
            lab_stop(&lab);
        }
        disk_fresh(&disk);
        disk_on(&disk);
    }
    if (lab.daemon.pid == 0 && !scene->starts && scene->victim != OPERATOR) {
        lab_start(&lab);
    }
    if (scene->victim == DAEMON && !scene->starts) {
        disk_off(&disk);
    }
    if (scene->before != NULL) {
        scene->before();
    }
}

/* Runs the scene with death at the plan's point; 0 if it has no such point. */
static int die_at(const struct scene *scene, const struct disk_control *plan)
{
    disk_plan(&disk, plan);
    scene->act();
    if (scene->victim != TERMINAL) {
        disk_off(&disk);
    }
    int stopped = disk_stopped(&disk);
    if (stopped && scene->victim == DAEMON && lab.daemon.pid != 0) {
        ck_assert_int_eq(proc_wait(&lab.daemon, 20), 128 + SIGKILL);
    }
    if (stopped && plan->cut) {
        disk_restore(&disk);
    }
    disk_plan(&disk, NULL);
    return stopped;
}

static void check_pairs(void)
{
    const struct lab_pair ours = lab_store_pair(&lab, SERIAL), theirs = lab_pad_pair(&lab, SERIAL);

    ck_assert_msg(theirs.in_doubt || lab_same_pair(&ours, &theirs),
                  "PIK %s in the store, %s in the PIN pad, which is sure of it", ours.pik,
                  theirs.pik);
}

/* All are started again; the audit, Confirm, and whether everything goes on. */
static void go_on(void)
{
    char path[PATH_MAX];

    if (lab.daemon.pid == 0) {
        lab_start(&lab);
    }
    proof_check(&proof, &lab, 0);
    ck_assert_int_eq(terminal_sim("confirm"), 0);
    proof_check(&proof, &lab, 1);
    check_pairs();
    if (access(backup_path(path), F_OK) == 0) { /* it is whole, or it is not there */
        free(lab_ctl(&lab, "store", "verify", path, NULL));
    }
    size_t loads = proof.count;
    arm_and_load();
    ck_assert(proof.count == loads + 1 && proof.keys[loads].done);
    sign_in();
    lab_pairs_agree(&lab, SERIAL);
}

static void watch(const struct scene *scene)
{
    char path[PATH_MAX], dir[PATH_MAX];

    if (scene->victim == TERMINAL) {
        file_path(path, lab.run, "term-" SERIAL "/terminal");
    } else {
        file_path(path, lab.run, "store");
    }
    ck_assert_ptr_nonnull(realpath(path, dir));
    disk_begin(&disk, &lab, dir);
    if (scene->victim == TERMINAL) {
        disk_on(&disk);
    }
}

static int asked(const char *what)
{
    const char *points = getenv("KL_CRASH_POINTS");

    return points != NULL && strcmp(points, what) == 0;
}

static void begin(const char *name, const struct scene *scene)
{
    lab_begin(&lab, name);
    lab_terminal(&lab, SERIAL, "tdes2");
    free(lab_ctl(&lab, "terminal", "accept-imported", SERIAL, NULL));
    proof_begin(&proof, SERIAL);
    lab_start(&lab);
    arm_and_load(); /* there is something to lose */
    ck_assert(proof.count == 1 && proof.keys[0].done);
    watch(scene);
}

/* Of a scene of many points only some, others in each run. */
static unsigned step_of(const struct scene *scene)
{
    return !scene->many ? 1 : asked("writes") ? STEP_WRITES : asked("all") ? 1 : STEP;
}

/* Dies at one point after the other; how many there are. */
static unsigned every_point(const struct scene *scene, const struct mode *only, const char *name)
{
    uint32_t kinds = DISK_SYNC | DISK_NAME | (asked("writes") ? DISK_WRITE : 0);
    unsigned deaths = 0, step = step_of(scene);

    for (unsigned point = 1 + next_seed() / 2 % step; deaths < POINTS_MAX; point += step) {
        const struct mode *mode = only != NULL ? only : &modes[next_seed() % MODES];
        const struct disk_control plan = {.kinds = kinds,
                                          .stop = point,
                                          .after = mode->after,
                                          .cut = mode->cut,
                                          .spread = mode->spread ? next_seed() : 0,
                                          .fresh = (uint32_t)scene->many};
        printf("%s: point %u, %s\n", name, point, mode->name);
        fflush(stdout);
        prepare(scene);
        int stopped = die_at(scene, &plan);
        go_on();
        if (!stopped) {
            return deaths;
        }
        deaths++;
    }
    ck_abort_msg("%s: there is no end of it", name);
    return 0;
}

START_TEST(test_every_point)
{
    int all = asked("all") || asked("writes");
    const struct scene *scene = &scenes[all ? (size_t)_i / MODES : (size_t)_i];
    const struct mode *mode = all ? &modes[(size_t)_i % MODES] : NULL;
    char name[96];
    unsigned first_seed = seed = knob_seed("KL_CRASH_SEED");

    snprintf(name, sizeof name, "%s-%s-%s", victims[scene->victim], scene->name,
             all ? mode->name : "drawn");
    begin(name, scene);
    unsigned points = every_point(scene, mode, name);
    proof_check(&proof, &lab, 1);
    proof_store(&lab);
    printf("%s: %u points, %zu TMKs sent, seed %u\n", name, points, proof.count, first_seed);
    fflush(stdout);
    ck_assert_uint_ge(points, 1); /* each scene has a commit of its own */
    disk_end(&disk);
    lab_end(&lab);
}
END_TEST

/* Would it be seen if a commit were not made durable? The power is cut after a load, by a disk
 * whose syncs do nothing; and, for comparison, by one whose syncs are what they should be. */
#define LOST_SYNCS 4
START_TEST(test_lost_sync)
{
    const struct scene *scene = &scenes[_i / 2 ? TERMINAL_LOAD : DAEMON_LOAD];
    uint32_t swallow = (uint32_t)_i % 2;
    const struct disk_control lie = {.kinds = DISK_SYNC, .swallow = swallow};
    const struct disk_control cut = {.kinds = DISK_SYNC, .swallow = swallow, .stop = 1, .cut = 1};
    char name[64], why[PROOF_TEXT] = "";

    snprintf(name, sizeof name, "lost-%s-%u", victims[scene->victim], swallow);
    begin(name, scene);
    prepare(scene);
    disk_plan(&disk, &lie);
    arm_and_load();
    ck_assert(proof.keys[proof.count - 1].done);
    ck_assert_uint_ge(disk.control->count, 2); /* pending, and active */
    ck_assert(die_at(scene, &cut));
    if (lab.daemon.pid == 0) {
        lab_start(&lab);
    }
    int holds = proof_holds(&proof, &lab, 0, why);
    ck_assert_msg(holds == !swallow, "%s", why);
    if (swallow) {
        /* The terminal's record names a TMK that it has destroyed since. */
        const char *expected = scene->victim == DAEMON ? "is not in the store" : "is missing";
        ck_assert_msg(strstr(why, expected) != NULL, "%s", why);
    }
    disk_end(&disk);
    lab_end(&lab);
}
END_TEST

/* Of the tests, every `jobs`-th from the `job`-th on. */
static int run_share(int job, int jobs)
{
    int all = asked("all") || asked("writes"), points = (int)(all ? SCENES * MODES : DRAWN_SCENES);
    Suite *suite = suite_create("crash_points");
    TCase *tcase = tcase_create("die");
    tcase_add_unchecked_fixture(tcase, found, abandon);
    tcase_set_timeout(tcase, all ? 1800 : 180);
    for (int i = job; i < points; i += jobs) {
        tcase_add_loop_test(tcase, test_every_point, i, i + 1);
    }
    for (int i = job; i < LOST_SYNCS; i += jobs) {
        tcase_add_loop_test(tcase, test_lost_sync, i, i + 1);
    }
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}

int main(void)
{
    int jobs = (int)knob("KL_CRASH_JOBS", 1), failed = 0, status;

    for (int job = 0; job < jobs; job++) {
        pid_t pid = jobs > 1 ? fork() : 0;
        if (pid == 0) {
            return run_share(job, jobs);
        }
        failed |= pid < 0;
    }
    while (wait(&status) > 0) {
        failed |= status != 0;
    }
    return failed || jobs < 1 ? EXIT_FAILURE : EXIT_SUCCESS;
}
