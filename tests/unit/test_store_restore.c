/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way back from a newer schema: the copy that the migration kept gets into the store's place,
 * beside which a killed daemon has left a WAL.
 */
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "daemon/store/store_check.h"
#include "daemon/store/store_restore.h"
#include "tests/unit/store_old.h"

#define SOMEBODY 65534
#define TERMINALS 300 /* registered by the newer version: several pages */

/* The rows of the fixture that pass for good: those of no live TMK. */
static const char good_rows[] = "DELETE FROM working; DELETE FROM tmk WHERE cryptogram != x''",
                  good_v3[] = "UPDATE tmk SET wrap = 1; UPDATE imported SET wrap = 1";

static char *before, kept_by_migration[PATH_MAX];

/* The newer version has worked, and was killed. */
static void migrate_and_kill(void)
{
    char serial[16], wal[100];
    struct stat st;
    int status;
    pid_t pid;

    make_old(good_rows);
    if (from == 3) {
        exec_at(path, good_v3);
    }
    before = DUMP(path);
    OK(kl_store_open(path, KL_STORE_WRITE, &store, &err));
    kl_store_free(store); /* its WAL is in the file now, and a new one begins */
    store = NULL;
    if ((pid = fork()) == 0) {
        OK(kl_store_open(path, KL_STORE_WRITE, &store, &err));
        for (int i = 0; i < TERMINALS; i++) {
            snprintf(serial, sizeof(serial), "NEW-%d", i);
            add_committed(serial);
        }
        raise(SIGKILL);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    snprintf(wal, sizeof(wal), "%s-wal", path);
    ck_assert_int_eq(stat(wal, &st), 0);
    ck_assert_int_gt(st.st_size, 0);
    ck_assert_int_eq(copies(kept_by_migration), 1);
}

/* cp KEPT STORE */
static void copy_by_hand(void)
{
    size_t len = 0;
    char *data = NULL;
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

    OK(kl_file_read(kept_by_migration, 16 << 20, &data, &len, &err));
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
    close(fd);
    free(data);
}

static int is_sound(const char *file)
{
    sqlite3_stmt *stmt = NULL;
    sqlite3 *db = NULL;
    int sound;

    ck_assert_int_eq(sqlite3_open(file, &db), SQLITE_OK);
    sound = sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &stmt, NULL) == SQLITE_OK &&
            sqlite3_step(stmt) == SQLITE_ROW &&
            strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") == 0;
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return sound;
}

static struct kl_restore work_of(const char *file)
{
    return (struct kl_restore){
        .backup = file, .path = path, .actor = "tester(1)", .now = 1700000000, .keep_schema = 1};
}

/* The store is the old one, as it was, for the old program. */
static void check_old(void)
{
    static const char *const version[] = {"PRAGMA user_version"};
    char *after = DUMP(path), want[16], *is = dump(path, version, 1);

    ck_assert_str_eq(before, after);
    snprintf(want, sizeof(want), "%d|", from);
    ck_assert_str_eq(is, want);
    ck_assert(is_sound(path));
    free(after);
    free(is);
    free(before);
}

/* The last record of the store that was left. */
static enum kl_rc check_left(const struct kl_audit *record, void *arg, struct kl_err *e)
{
    const struct kl_restore *work = arg;

    (void)e;
    ck_assert_str_eq(record->event, "store-left");
    ck_assert_str_eq(record->actor, work->actor);
    ck_assert_int_eq(record->time, work->now);
    ck_assert_ptr_nonnull(strstr(record->detail, strrchr(kept_by_migration, '/') + 1));
    ck_assert_ptr_nonnull(strstr(record->detail, strrchr(work->kept, '/') + 1));
    return KL_OK;
}

/* What the command is for. */
START_TEST(by_hand_it_is_destroyed)
{
    from = _i;
    migrate_and_kill();
    copy_by_hand();
    ck_assert(!is_sound(path));
    free(before);
}
END_TEST

START_TEST(by_the_command_it_is_back)
{
    struct kl_restore work = work_of(kept_by_migration);
    char beside[100];

    from = _i;
    migrate_and_kill();
    OK(kl_store_restore(&work, &err));
    ck_assert_int_eq(work.unrecorded, 0);
    snprintf(beside, sizeof(beside), "%s-wal", path);
    ck_assert_int_ne(access(beside, F_OK), 0);
    check_old();
    /* What was there is kept, all that the WAL had included. */
    OK(kl_store_open(work.kept, KL_STORE_READ, &store, &err));
    OK(get(store, "NEW-299"));
    OK(kl_store_audit_each(store, 1, check_left, &work, &err));
    kl_store_free(store);
    OK(kl_store_open(path, KL_STORE_WRITE, &store, &err)); /* and forward again */
    FAILS(get(store, "NEW-0"), KL_ERR_NOT_FOUND);
}
END_TEST

/* It helps also who has copied by hand already. */
START_TEST(after_the_hand)
{
    struct kl_restore work = work_of(kept_by_migration);

    from = _i;
    migrate_and_kill();
    copy_by_hand();
    OK(kl_store_restore(&work, &err));
    ck_assert_int_eq(work.unrecorded, 1);
    check_old();
}
END_TEST

/* By root, of a backup of root's: the daemon's account has to open it. */
START_TEST(whose_it_is)
{
    struct kl_restore work = work_of(kept_by_migration);
    struct stat st;
    char lock[100];

    if (geteuid() != 0) {
        return;
    }
    from = 3;
    migrate_and_kill();
    ck_assert_int_eq(unlink(path), 0);
    if (_i == 0) { /* there is what SQLite cannot write to */
        OK(kl_file_write(path, "no database", 11, 0600, 0, &err));
        ck_assert_int_eq(chown(path, SOMEBODY, SOMEBODY), 0);
    } else {
        ck_assert_int_eq(chown(dir, SOMEBODY, SOMEBODY), 0);
    }
    OK(kl_store_restore(&work, &err));
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_uid, SOMEBODY);
    ck_assert_uint_eq(st.st_gid, SOMEBODY);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    snprintf(lock, sizeof(lock), "%s.lock", path);
    ck_assert_int_eq(stat(lock, &st), 0);
    ck_assert_uint_eq(st.st_uid, SOMEBODY);
    check_old();
}
END_TEST

START_TEST(only_what_is_older)
{
    struct kl_restore work = work_of(kept_by_migration);
    struct kl_terminal terminal;

    add_committed("A");
    snprintf(kept_by_migration, sizeof(kept_by_migration), "%s/same.db", dir);
    OK(kl_store_copy(store, kept_by_migration, &err));
    add_committed("B");
    FAILS(kl_store_restore(&work, &err), KL_ERR_INPUT);
    SAYS("not of an older one");
    OK(kl_store_terminal_get(store, "B", &terminal, &err));
}
END_TEST

/* What is put there is what was looked through, whatever the backup is by then. */
static void swap_backup(uint64_t done, uint64_t total, void *arg)
{
    if (done == total) {
        (void)rename(arg, kept_by_migration);
    }
}

START_TEST(only_what_was_looked_through)
{
    struct kl_restore work = work_of(kept_by_migration);
    char other[PATH_MAX + 8];

    from = 3;
    migrate_and_kill();
    snprintf(other, sizeof(other), "%s.other", kept_by_migration);
    OK(kl_store_copy_file(&(struct kl_store_copying){.from = kept_by_migration, .path = other},
                          &err));
    exec_at(other, "UPDATE terminal SET attempts_left = 99");
    work.tell = swap_backup;
    work.arg = other;
    OK(kl_store_restore(&work, &err));
    ck_assert_int_ne(access(other, F_OK), 0);
    check_old();
}
END_TEST

/* Looked through, although it is not brought up to date for good. */
START_TEST(only_what_is_good)
{
    struct kl_restore work = work_of(kept_by_migration);
    char *after, *now;

    from = 3;
    migrate_and_kill();
    now = DUMP(path);
    exec_at(kept_by_migration, "DROP TRIGGER audit_no_delete; DELETE FROM audit WHERE id = 4");
    FAILS(kl_store_restore(&work, &err), KL_ERR_VERIFY);
    after = DUMP(path);
    ck_assert_str_eq(now, after);
    free(after);
    free(now);
    free(before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store-restore");
    TCase *cases = group(suite, "back to an older schema");

    tcase_add_loop_test(cases, by_hand_it_is_destroyed, 2, KL_STORE_VERSION);
    tcase_add_loop_test(cases, by_the_command_it_is_back, 2, KL_STORE_VERSION);
    tcase_add_loop_test(cases, after_the_hand, 2, KL_STORE_VERSION);
    tcase_add_loop_test(cases, whose_it_is, 0, 2);
    tcase_add_test(cases, only_what_is_older);
    tcase_add_test(cases, only_what_is_good);
    tcase_add_test(cases, only_what_was_looked_through);
    return test_run(suite);
}
