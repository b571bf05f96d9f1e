/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The SQLite store and its file: modes, foreign and damaged files, the daemon's claim, full disks
 * and read-only directories.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/store_fixture.h"

#define NOBODY 65534

/* ---- Files ---- */

START_TEST(modes)
{
    struct stat st;
    char other[100];

    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
    add_committed("A");
    snprintf(other, sizeof(other), "%s-wal", path);
    ck_assert_int_eq(stat(other, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
    reopen(KL_STORE_CREATE); /* what is there is kept */
    OK(get(store, "A"));
    reopen(KL_STORE_READ);
    OK(get(store, "A"));
    OK(kl_store_begin(store, &err));
    FAILS(add_terminal(store, "B"), KL_ERR_PERMISSION);
    SAYS("read-only");
}
END_TEST

START_TEST(umask_is_not_trusted)
{
    struct stat st;

    kl_store_free(store);
    store = NULL;
    ck_assert_int_eq(unlink(path), 0);
    umask(0);
    OK(kl_store_open(path, KL_STORE_CREATE, &store, &err));
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
}
END_TEST

START_TEST(open_to_others)
{
    static const mode_t bad[] = {0640, 0604, 0660, 0610};
    struct kl_store *other = NULL;

    ck_assert_int_eq(chmod(path, bad[_i]), 0);
    FAILS(kl_store_open(path, KL_STORE_WRITE, &other, &err), KL_ERR_STORE);
    SAYS("chmod 600");
    ck_assert_ptr_null(other);
}
END_TEST

START_TEST(not_there)
{
    struct kl_store *other = NULL;
    char name[100];

    snprintf(name, sizeof(name), "%s/none.db", dir);
    FAILS(kl_store_open(name, KL_STORE_READ, &other, &err), KL_ERR_NO_FILE);
    SAYS("there is no store yet");
    SAYS("No such file or directory");
    FAILS(kl_store_open(name, KL_STORE_WRITE, &other, &err), KL_ERR_NO_FILE);
    snprintf(name, sizeof(name), "%s/no/such.db", dir);
    FAILS(kl_store_open(name, KL_STORE_READ, &other, &err), KL_ERR_NO_FILE);
    FAILS(kl_store_open(name, KL_STORE_CREATE, &other, &err), KL_ERR_NO_FILE);
    SAYS(name);
    SAYS("No such file or directory");
    FAILS(kl_store_open(dir, KL_STORE_CREATE, &other, &err), KL_ERR_STORE);
    SAYS("regular file");
}
END_TEST

static void put_file(const char *name, const void *data, size_t len)
{
    OK(kl_file_write(name, data, len, 0600, 1, &err));
}

START_TEST(not_a_store)
{
    struct kl_store *other = NULL;
    char name[100], before[8192] = "This is a text of some length, but it is no database at all.";
    char *after = NULL;
    size_t len;

    snprintf(name, sizeof(name), "%s/text", dir);
    put_file(name, before, sizeof(before));
    for (int mode = KL_STORE_READ; mode <= KL_STORE_CREATE; mode++) {
        FAILS(kl_store_open(name, (enum kl_store_mode)mode, &other, &err), KL_ERR_STORE);
        SAYS("not a keyloader store");
    }
    OK(kl_file_read(name, 10000, &after, &len, &err)); /* and it was left alone */
    ck_assert_uint_eq(len, sizeof(before));
    ck_assert_mem_eq(after, before, len);
    free(after);
}
END_TEST

START_TEST(empty_file)
{
    struct kl_store *other = NULL;
    char name[100];

    snprintf(name, sizeof(name), "%s/empty", dir);
    put_file(name, "", 0);
    FAILS(kl_store_open(name, KL_STORE_WRITE, &other, &err), KL_ERR_STORE);
    SAYS("is empty");
    OK(kl_store_open(name, KL_STORE_CREATE, &other, &err)); /* a creation that was cut off */
    kl_store_free(other);
}
END_TEST

START_TEST(foreign_database)
{
    struct kl_store *other = NULL;

    raw("PRAGMA application_id = 12345");
    FAILS(kl_store_open(path, KL_STORE_CREATE, &other, &err), KL_ERR_STORE);
    SAYS("not a keyloader store");
}
END_TEST

START_TEST(newer_schema)
{
    struct kl_store *other = NULL;

    raw("PRAGMA user_version = 5");
    FAILS(kl_store_open(path, KL_STORE_WRITE, &other, &err), KL_ERR_STORE);
    SAYS("schema version 5");
    SAYS("newer keyloader");
}
END_TEST

START_TEST(settings)
{
    static const struct {
        const char *sql;
        const char *want;
    } rows[] = {
        {"PRAGMA journal_mode", "wal"},  {"PRAGMA synchronous", "2"},
        {"PRAGMA foreign_keys", "1"},    {"PRAGMA secure_delete", "1"},
        {"PRAGMA busy_timeout", "5000"}, {"PRAGMA user_version", "4"},
    };
    sqlite3_stmt *stmt;

    reopen(KL_STORE_WRITE);
    ck_assert_int_eq(sqlite3_prepare_v2(store->db, rows[_i].sql, -1, &stmt, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
    ck_assert_str_eq((const char *)sqlite3_column_text(stmt, 0), rows[_i].want);
    sqlite3_finalize(stmt);
}
END_TEST

/* A row that no code of ours writes: found by what reads it, not passed on. */
START_TEST(damaged_rows)
{
    struct kl_tmk tmk = a_tmk("A", 1), got;
    char sql[160];
    static const char *const bad[] = {"kcv = x'01'",
                                      "ack_mac = x'01'",
                                      "state = 9",
                                      "alg = 6",
                                      "cryptogram = zeroblob(41)",
                                      "pinpad = hex(zeroblob(17))",
                                      "binding = zeroblob(15)",
                                      "binding = x''",
                                      "cryptogram = x''"};

    add_committed("A");
    OK(kl_store_begin(store, &err));
    OK(kl_store_tmk_add(store, &tmk, &err));
    OK(kl_store_commit(store, &err));
    raw("PRAGMA ignore_check_constraints = ON");
    snprintf(sql, sizeof(sql), "UPDATE tmk SET %s", bad[_i]);
    raw(sql);
    FAILS(kl_store_tmk_get(store, "A", 1, &got, &err), KL_ERR_STORE);
    SAYS("damaged");
}
END_TEST

START_TEST(damaged_page)
{
    struct kl_store *other = NULL;
    struct kl_terminal t;
    unsigned char junk[4096];
    enum kl_rc rc;
    int fd;

    add_committed("A");
    kl_store_free(store);
    store = NULL;
    memset(junk, 0x5a, sizeof(junk));
    fd = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    for (off_t page = 1; page < 20; page++) {
        ck_assert_int_eq(pwrite(fd, junk, sizeof(junk), page * 4096), (ssize_t)sizeof(junk));
    }
    close(fd);
    rc = kl_store_open(path, KL_STORE_WRITE, &other, &err);
    if (rc == KL_OK) {
        rc = kl_store_terminal_get(other, "A", &t, &err);
    }
    FAILS(rc, KL_ERR_STORE);
    SAYS("damaged");
    kl_store_free(other);
}
END_TEST

/* ---- Claim ---- */

START_TEST(claim)
{
    struct kl_store *other = NULL;
    char lock[100];
    struct stat st;

    OK(kl_store_open(path, KL_STORE_WRITE, &other, &err));
    OK(kl_store_claim(store, &err));
    OK(kl_store_claim(store, &err)); /* ours already */
    FAILS(kl_store_claim(other, &err), KL_ERR_BUSY);
    SAYS("another daemon");
    ck_assert_ptr_null(strstr(err.text, strerror(EWOULDBLOCK))); /* which tells nobody anything */
    snprintf(lock, sizeof(lock), "%s.lock", path);
    ck_assert_int_eq(stat(lock, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
    add_committed("A"); /* an operator's own changes go on all the same */
    OK(get(other, "A"));
    kl_store_free(store);
    store = NULL;
    OK(kl_store_claim(other, &err));
    kl_store_free(other);
}
END_TEST

START_TEST(claim_ends_with_the_process)
{
    pid_t child = fork();
    int status;

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct kl_store *mine = NULL;

        if (kl_store_open(path, KL_STORE_WRITE, &mine, &err) != KL_OK ||
            kl_store_claim(mine, &err) != KL_OK) {
            _exit(1);
        }
        raise(SIGKILL);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    OK(kl_store_claim(store, &err));
}
END_TEST

/* Seen from outside, without a store of one's own and without leaving a trace. */
START_TEST(claim_is_seen)
{
    char lock[100], name[100];
    int claimed = 7;

    snprintf(lock, sizeof(lock), "%s.lock", path);
    OK(kl_store_claimed(path, &claimed, &err));
    ck_assert_int_eq(claimed, 0);
    ck_assert_int_ne(access(lock, F_OK), 0);
    OK(kl_store_claim(store, &err));
    OK(kl_store_claimed(path, &claimed, &err));
    ck_assert_int_eq(claimed, 1);
    OK(kl_store_claimed(path, &claimed, &err)); /* looking has not taken it away */
    ck_assert_int_eq(claimed, 1);
    kl_store_free(store);
    store = NULL;
    OK(kl_store_claimed(path, &claimed, &err));
    ck_assert_int_eq(claimed, 0);
    snprintf(name, sizeof(name), "%s/no/such.db", dir);
    OK(kl_store_claimed(name, &claimed, &err));
    ck_assert_int_eq(claimed, 0);
}
END_TEST

/* ---- A machine that fails ---- */

/* Adds terminals in one transaction until something fails; the store must then be as before. */
static void fill_until_failure(void)
{
    enum kl_rc rc = KL_OK;
    char serial[16];

    OK(kl_store_begin(store, &err));
    for (int i = 0; i < 100000 && rc == KL_OK; i++) {
        snprintf(serial, sizeof(serial), "F%d", i);
        rc = add_terminal(store, serial);
    }
    if (rc == KL_OK) {
        rc = kl_store_commit(store, &err);
    } else {
        kl_store_rollback(store);
    }
    FAILS(rc, KL_ERR_FULL);
}

START_TEST(full_disk)
{
    add_committed("A");
    raw("PRAGMA max_page_count = 20");
    fill_until_failure();
    SAYS("full");
    FAILS(get(store, "F0"), KL_ERR_NOT_FOUND);
    raw("PRAGMA max_page_count = 100000");
    add_committed("B");
    reopen(KL_STORE_WRITE);
    OK(get(store, "A"));
    OK(get(store, "B"));
}
END_TEST

/* After SQLite has undone a transaction by itself, nothing of it may be written any more. */
START_TEST(nothing_after_the_undoing)
{
    OK(kl_store_begin(store, &err));
    OK(add_terminal(store, "A"));
    raw("ROLLBACK"); /* as SQLite does by itself on some errors */
    FAILS(add_terminal(store, "B"), KL_ERR_STORE);
    FAILS(kl_store_savepoint(store, &err), KL_ERR_STORE);
    FAILS(kl_store_commit(store, &err), KL_ERR_STORE);
    reopen(KL_STORE_WRITE);
    FAILS(get(store, "B"), KL_ERR_NOT_FOUND);
}
END_TEST

START_TEST(file_size_limit)
{
    struct rlimit limit = {200 * 1024, RLIM_INFINITY};

    add_committed("A");
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    fill_until_failure();
    limit.rlim_cur = RLIM_INFINITY;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    reopen(KL_STORE_WRITE);
    OK(get(store, "A"));
    FAILS(get(store, "F0"), KL_ERR_NOT_FOUND);
    add_committed("B");
}
END_TEST

/* Root is not stopped by modes, so the test becomes somebody else (check forks for each test). */
static void become_nobody(void)
{
    if (geteuid() != 0) {
        return;
    }
    ck_assert_int_eq(chown(dir, NOBODY, NOBODY), 0);
    ck_assert_int_eq(chown(path, NOBODY, NOBODY), 0);
    ck_assert_int_eq(setegid(NOBODY), 0);
    ck_assert_int_eq(seteuid(NOBODY), 0);
}

static void become_ourselves(void)
{
    ck_assert_int_eq(seteuid(getuid()), 0);
    ck_assert_int_eq(setegid(getgid()), 0);
    ck_assert_int_eq(chmod(dir, 0700), 0);
}

START_TEST(read_only_directory)
{
    struct kl_store *other = NULL;
    char name[100];
    enum kl_rc made, opened;

    add_committed("A");
    kl_store_free(store);
    store = NULL;
    become_nobody();
    ck_assert_int_eq(chmod(dir, 0500), 0);
    snprintf(name, sizeof(name), "%s/new.db", dir);
    made = kl_store_open(name, KL_STORE_CREATE, &other, &err);
    SAYS("cannot be made");
    SAYS(strerror(EACCES));
    opened = kl_store_open(path, KL_STORE_WRITE, &other, &err);
    kl_store_free(other);
    become_ourselves();
    ck_assert_int_eq(made, KL_ERR_PERMISSION);
    ck_assert_int_eq(opened, KL_ERR_PERMISSION);
    SAYS(dir);
    SAYS("read-only");
    OK(kl_store_open(path, KL_STORE_WRITE, &store, &err)); /* and nothing is lost */
    OK(get(store, "A"));
    FAILS(get(store, "B"), KL_ERR_NOT_FOUND);
}
END_TEST

START_TEST(read_only_file)
{
    struct kl_store *other = NULL;
    enum kl_rc rc;

    add_committed("A");
    kl_store_free(store);
    store = NULL;
    become_nobody();
    ck_assert_int_eq(chmod(path, 0400), 0);
    rc = kl_store_open(path, KL_STORE_WRITE, &other, &err);
    kl_store_free(other);
    become_ourselves();
    ck_assert_int_eq(rc, KL_ERR_PERMISSION);
    SAYS("read-only");
    OK(kl_store_open(path, KL_STORE_READ, &store, &err));
    OK(get(store, "A"));
}
END_TEST

/* Root gives nothing away that the owner of the folder has linked there. */
START_TEST(root_gives_what_it_made)
{
    char lock[110], precious[110];
    struct stat st;

    if (geteuid() != 0) {
        return;
    }
    snprintf(lock, sizeof(lock), "%s.lock", path);
    snprintf(precious, sizeof(precious), "%s/precious", dir);
    become_nobody();
    become_ourselves();
    OK(kl_file_write(precious, "root's", 6, 0600, 0, &err));
    ck_assert_int_eq(link(precious, lock), 0);
    OK(kl_store_claim(store, &err));
    ck_assert_int_eq(stat(precious, &st), 0);
    ck_assert_uint_eq(st.st_uid, 0);
    kl_store_free(store);
    ck_assert_int_eq(unlink(lock), 0);
    OK(kl_store_open(path, KL_STORE_WRITE, &store, &err));
    OK(kl_store_claim(store, &err));
    ck_assert_int_eq(stat(lock, &st), 0);
    ck_assert_uint_eq(st.st_uid, NOBODY);
    ck_assert_uint_eq(st.st_gid, NOBODY);
}
END_TEST

/* An operator who is not the daemon's user. */
START_TEST(belongs_to_another)
{
    struct kl_store *other = NULL;
    enum kl_rc rc, behind, claimed;
    int is = 7;

    if (geteuid() != 0) {
        return; /* nobody else can be made the owner */
    }
    OK(kl_store_claim(store, &err));
    become_nobody();
    ck_assert_int_eq(seteuid(0), 0);
    ck_assert_int_eq(chown(path, 1, 1), 0);
    ck_assert_int_eq(seteuid(NOBODY), 0);
    rc = kl_store_open(path, KL_STORE_READ, &other, &err);
    SAYS(path);
    SAYS("belongs to daemon, and this runs as nobody");
    SAYS(strerror(EACCES));
    claimed = kl_store_claimed(path, &is, &err);
    SAYS(".lock");
    ck_assert_int_eq(chmod(dir, 0000), 0);
    behind = kl_store_open(path, KL_STORE_READ, &other, &err);
    SAYS("cannot be reached");
    become_ourselves();
    ck_assert_int_eq(rc, KL_ERR_PERMISSION);
    ck_assert_int_eq(claimed, KL_ERR_PERMISSION);
    ck_assert_int_eq(is, 7);
    ck_assert_int_eq(behind, KL_ERR_PERMISSION);
}
END_TEST

START_TEST(error_mapping)
{
    static const struct {
        int code;
        enum kl_rc rc;
        const char *says;
    } rows[] = {
        {SQLITE_BUSY, KL_ERR_BUSY, "another program"},
        {SQLITE_BUSY_SNAPSHOT, KL_ERR_BUSY, "another program"},
        {SQLITE_LOCKED, KL_ERR_BUSY, "another program"},
        {SQLITE_NOMEM, KL_ERR_MEMORY, "memory"},
        {SQLITE_IOERR_NOMEM, KL_ERR_MEMORY, "memory"},
        {SQLITE_FULL, KL_ERR_FULL, "full"},
        {SQLITE_READONLY_DIRECTORY, KL_ERR_PERMISSION, "read-only"},
        {SQLITE_CANTOPEN_ISDIR, KL_ERR_STORE, "cannot be opened"},
        {SQLITE_PERM, KL_ERR_PERMISSION, "cannot be opened"},
        {SQLITE_NOTADB, KL_ERR_STORE, "not a keyloader store"},
        {SQLITE_CORRUPT_VTAB, KL_ERR_STORE, "damaged"},
        {SQLITE_IOERR_FSYNC, KL_ERR_IO, "disk failed"},
        {SQLITE_CONSTRAINT_PRIMARYKEY, KL_ERR_EXISTS, "already"},
        {SQLITE_CONSTRAINT_FOREIGNKEY, KL_ERR_NOT_FOUND, "terminal"},
        {SQLITE_CONSTRAINT_UNIQUE, KL_ERR_STORE, "rules"},
        {SQLITE_CONSTRAINT_CHECK, KL_ERR_STORE, "rules"},
        {SQLITE_MISUSE, KL_ERR_STORE, "failed"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *hint = NULL;

        ck_assert_int_eq(kl_sql_rc(rows[i].code, &hint), rows[i].rc);
        ck_assert_msg(strstr(hint, rows[i].says) != NULL, "%d: %s", rows[i].code, hint);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store");
    TCase *files = group(suite, "files"), *trouble = group(suite, "trouble");

    tcase_add_test(files, modes);
    tcase_add_test(files, umask_is_not_trusted);
    tcase_add_loop_test(files, open_to_others, 0, 4);
    tcase_add_test(files, not_there);
    tcase_add_test(files, not_a_store);
    tcase_add_test(files, empty_file);
    tcase_add_test(files, foreign_database);
    tcase_add_test(files, newer_schema);
    tcase_add_loop_test(files, settings, 0, 6);
    tcase_add_loop_test(files, damaged_rows, 0, 9);
    tcase_add_test(files, damaged_page);
    tcase_add_test(files, claim);
    tcase_add_test(files, claim_ends_with_the_process);
    tcase_add_test(files, claim_is_seen);
    tcase_add_test(trouble, full_disk);
    tcase_add_test(trouble, nothing_after_the_undoing);
    tcase_add_test(trouble, file_size_limit);
    tcase_add_test(trouble, read_only_directory);
    tcase_add_test(trouble, read_only_file);
    tcase_add_test(trouble, root_gives_what_it_made);
    tcase_add_test(trouble, belongs_to_another);
    tcase_add_test(trouble, error_mapping);
    return test_run(suite);
}
