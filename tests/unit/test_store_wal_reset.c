/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A pass that begins when another program has just moved the whole WAL, and under which that
 * program commits and so begins the WAL anew: SQLite before 3.51.3 then takes what is committed
 * next for moved, and loses it (sqlite.org/wal.html, "The WAL-Reset Bug"). SQLite's calls of its
 * VFS are where the other program gets its turn.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "daemon/store/store_check.h"
#include "tests/support/proc.h"
#include "tests/unit/store_fixture.h"

#define CHECKPOINTER 1 /* SQLite's lock of those who move the WAL */
#define RECORDS 24     /* in a transaction: some pages of the WAL */
#define COMMITS 400    /* twice what makes the WAL begin anew */

enum turn { NOBODY, TO_MOVE, TO_COMMIT, HAD };

static sqlite3_vfs *below, ours;
static sqlite3_io_methods methods;
static int (*lock_below)(sqlite3_file *, int, int, int);
static int (*unfetch_below)(sqlite3_file *, sqlite3_int64, void *);

static struct kl_store *other; /* of the other program */
static _Atomic enum turn turn;
static pthread_t self;

/* Who makes the pass under which it happens, and when the other program moves the WAL. */
enum way {
    BY_COMMIT,       /* keyloaderctl, within a commit; as the pass locks out others */
    BY_THREAD,       /* the daemon's thread; as the pass locks out others */
    BY_THREAD_EARLY, /* the daemon's thread; before it does anything */
    WAYS,
};
static enum way way;

/* Also of the thread that makes a pass: it has an error of its own. */
static void commit_by(struct kl_store *by, const char *serial)
{
    struct kl_terminal terminal = {.alg = KL_ALG_TDES3, .created = 1};
    char text[KL_AUDIT_DETAIL_MAX] = "";
    struct kl_err why = KL_ERR_INIT;
    enum kl_rc rc = kl_store_begin(by, &why);

    memset(text, 'x', sizeof(text) - 1);
    for (int i = 0; i < RECORDS && rc == KL_OK; i++) {
        rc = kl_store_audit(by, 1, "store-recovered", "", text, &why);
    }
    snprintf(terminal.serial, sizeof(terminal.serial), "%s", serial);
    rc = rc == KL_OK ? kl_store_terminal_add(by, &terminal, &why) : rc;
    rc = rc == KL_OK ? kl_store_commit(by, &why) : rc;
    ck_assert_msg(rc == KL_OK, "%s: %s", serial, why.text);
}

static void no_finding(enum kl_rc kind, const char *text, void *arg)
{
    (void)kind;
    (void)arg;
    ck_abort_msg("%s", text);
}

static int on_lock(sqlite3_file *file, int at, int count, int flags)
{
    int begins = flags == (SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE) && at == CHECKPOINTER;
    int aside = !pthread_equal(pthread_self(), self);

    if (turn == TO_MOVE && aside == (way != BY_COMMIT) && (begins || way == BY_THREAD_EARLY)) {
        turn = NOBODY; /* what it does is no pass of ours */
        commit_by(other, "MOVED");
        ck_assert_int_eq(sqlite3_wal_checkpoint_v2(other->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL,
                                                   NULL),
                         SQLITE_OK);
        turn = TO_COMMIT;
    }
    return lock_below(file, at, count, flags);
}

/* Once a pass has read how much is in the WAL, and before it looks how much of it is moved. */
static int on_unfetch(sqlite3_file *file, sqlite3_int64 at, void *page)
{
    if (turn == TO_COMMIT) {
        turn = NOBODY;
        commit_by(other, "OTHER");
        turn = HAD;
    }
    return unfetch_below(file, at, page);
}

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    int code = below->xOpen(below, name, file, flags, out);

    (void)vfs;
    if (code == SQLITE_OK && (flags & SQLITE_OPEN_MAIN_DB)) {
        if (lock_below == NULL) {
            methods = *file->pMethods;
            lock_below = methods.xShmLock;
            unfetch_below = methods.xUnfetch;
            methods.xShmLock = on_lock;
            methods.xUnfetch = on_unfetch;
        }
        file->pMethods = &methods;
    }
    return code;
}

static void begin(void)
{
    below = sqlite3_vfs_find(NULL);
    ours = *below;
    ours.zName = "turns";
    ours.xOpen = on_open;
    ck_assert_int_eq(sqlite3_vfs_register(&ours, 1), SQLITE_OK);
    setup();
    OK(kl_store_open(path, KL_STORE_WRITE, &other, &err));
}

static void end(void)
{
    kl_store_free(other);
    teardown();
}

/* What was committed is there, and all fits together. Read anew, as who committed it has it in
 * memory. */
static void expect_all(int count)
{
    struct kl_check check = {.tell = no_finding};
    char serial[16];

    kl_store_free(other);
    other = NULL;
    reopen(KL_STORE_READ);
    OK(get(store, "MOVED"));
    OK(get(store, "OTHER"));
    for (int i = 0; i < count; i++) {
        snprintf(serial, sizeof(serial), "T%d", i);
        OK(get(store, serial));
    }
    OK(kl_store_check(store, &check, &err));
}

START_TEST(begins_anew_under_a_pass)
{
    time_t deadline = time(NULL) + proc_seconds(30);
    char serial[16];
    int count = 0;

    self = pthread_self();
    way = (enum way)_i;
    if (way != BY_COMMIT) {
        OK(kl_store_wal_aside(store, &err));
    }
    turn = TO_MOVE;
    for (int more = COMMITS; more > 0; more -= turn == HAD) {
        ck_assert_msg(count < 2 * COMMITS, "the other one had no turn");
        snprintf(serial, sizeof(serial), "T%d", count++);
        commit_by(store, serial);
        while (turn == NOBODY || turn == TO_COMMIT) {
            ck_assert_msg(time(NULL) < deadline, "the other one does not get on");
            usleep(1000);
        }
    }
    expect_all(count);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_wal_reset");
    TCase *tcase = tcase_create("reset");

    tcase_set_timeout(tcase, proc_seconds(60));
    tcase_add_checked_fixture(tcase, begin, end);
    tcase_add_loop_test(tcase, begins_anew_under_a_pass, 0, WAYS);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
