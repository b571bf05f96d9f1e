/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The SQLite store: files and modes, foreign and damaged files, transactions, two connections,
 * full disks and read-only directories, and what a power cut would leave.
 */
#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conf/cli.h"
#include "daemon/store_sqlite.h"
#include "tests/support/hsm.h"

#define NOBODY 65534

static char dir[64], path[80];
static struct kl_store *store;
static struct kl_err err;

#define OK(call) ck_assert_msg((call) == KL_OK, "%s: %s", #call, err.text)
#define FAILS(call, want) \
    do { \
        enum kl_rc rc_ = (call); \
        ck_assert_msg(rc_ == (want), "%s: %s (%s)", #call, kl_rc_name(rc_), err.text); \
    } while (0)
#define SAYS(text_) ck_assert_msg(strstr(err.text, (text_)) != NULL, "says: %s", err.text)

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/kl-store-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/store.db", dir);
    OK(kl_store_open(path, KL_STORE_CREATE, &store, &err));
}

static void teardown(void)
{
    kl_store_free(store);
    test_rm_rf(dir);
}

static struct kl_terminal a_terminal(const char *serial)
{
    struct kl_terminal t = {
        .alg = KL_ALG_TDES3, .created = 17, .armed_until = 5, .attempts_left = 4, .blocked = 1};

    snprintf(t.serial, sizeof(t.serial), "%s", serial);
    snprintf(t.pinpad_serial, sizeof(t.pinpad_serial), "P-%.20s", serial);
    return t;
}

static struct kl_tmk a_tmk(const char *serial, uint32_t version)
{
    struct kl_tmk t = {.version = version,
                       .state = KL_TMK_PENDING,
                       .alg = KL_ALG_TDES3,
                       .kcv_len = 4,
                       .cryptogram_len = 32,
                       .created = 1,
                       .expires = 2};

    snprintf(t.serial, sizeof(t.serial), "%s", serial);
    memset(t.kcv, 0xa1, 4);
    memset(t.cryptogram, 0xc7, 32);
    memset(t.ack_mac, 0xa2, KL_MAC_LEN);
    memset(t.active_mac, 0xa3, KL_MAC_LEN);
    memset(t.drop_mac, 0xa4, KL_MAC_LEN);
    return t;
}

static enum kl_rc add_terminal(struct kl_store *s, const char *serial)
{
    struct kl_terminal t = a_terminal(serial);

    return kl_store_terminal_add(s, &t, &err);
}

static void add_committed(const char *serial)
{
    OK(kl_store_begin(store, &err));
    OK(add_terminal(store, serial));
    OK(kl_store_commit(store, &err));
}

static enum kl_rc get(struct kl_store *s, const char *serial)
{
    struct kl_terminal t;

    return kl_store_terminal_get(s, serial, &t, &err);
}

static void reopen(enum kl_store_mode mode)
{
    kl_store_free(store);
    store = NULL;
    OK(kl_store_open(path, mode, &store, &err));
}

static void raw(const char *sql)
{
    char *text = NULL;

    sqlite3_exec(store->db, sql, NULL, NULL, &text);
    ck_assert_msg(text == NULL, "%s: %s", sql, text);
}

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
    FAILS(add_terminal(store, "B"), KL_ERR_STORE);
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
    FAILS(kl_store_open(name, KL_STORE_READ, &other, &err), KL_ERR_STORE);
    SAYS("there is no store yet");
    FAILS(kl_store_open(name, KL_STORE_WRITE, &other, &err), KL_ERR_STORE);
    snprintf(name, sizeof(name), "%s/no/such.db", dir);
    FAILS(kl_store_open(name, KL_STORE_CREATE, &other, &err), KL_ERR_STORE);
    SAYS(name);
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

    raw("PRAGMA user_version = 2");
    FAILS(kl_store_open(path, KL_STORE_WRITE, &other, &err), KL_ERR_STORE);
    SAYS("schema version 2");
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
        {"PRAGMA busy_timeout", "5000"}, {"PRAGMA user_version", "1"},
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
    static const char *const bad[] = {"kcv = x'01'", "ack_mac = x'01'", "state = 9", "alg = 6",
                                      "cryptogram = zeroblob(41)"};

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
    for (off_t page = 1; page < 20; page++)
        ck_assert_int_eq(pwrite(fd, junk, sizeof(junk), page * 4096), (ssize_t)sizeof(junk));
    close(fd);
    rc = kl_store_open(path, KL_STORE_WRITE, &other, &err);
    if (rc == KL_OK)
        rc = kl_store_terminal_get(other, "A", &t, &err);
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
            kl_store_claim(mine, &err) != KL_OK)
            _exit(1);
        raise(SIGKILL);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    OK(kl_store_claim(store, &err));
}
END_TEST

/* ---- Transactions ---- */

START_TEST(transactions)
{
    FAILS(add_terminal(store, "A"), KL_ERR_STORE); /* never by itself */
    OK(kl_store_begin(store, &err));
    OK(add_terminal(store, "A"));
    kl_store_rollback(store);
    FAILS(get(store, "A"), KL_ERR_NOT_FOUND);
    FAILS(kl_store_commit(store, &err), KL_ERR_STORE);
    FAILS(kl_store_savepoint(store, &err), KL_ERR_STORE);
    OK(kl_store_begin(store, &err));
    OK(add_terminal(store, "A"));
    kl_store_free(store); /* undoes what is open */
    OK(kl_store_open(path, KL_STORE_WRITE, &store, &err));
    FAILS(get(store, "A"), KL_ERR_NOT_FOUND);
}
END_TEST

START_TEST(savepoints)
{
    OK(kl_store_begin(store, &err));
    OK(kl_store_savepoint(store, &err));
    OK(add_terminal(store, "A"));
    OK(kl_store_release(store, &err));
    OK(kl_store_savepoint(store, &err));
    OK(add_terminal(store, "B"));
    OK(kl_store_undo(store, &err));
    OK(kl_store_savepoint(store, &err)); /* the undone one is gone: this is a new one */
    OK(add_terminal(store, "C"));
    OK(kl_store_release(store, &err));
    FAILS(kl_store_release(store, &err), KL_ERR_STORE);
    OK(kl_store_commit(store, &err));
    reopen(KL_STORE_WRITE);
    OK(get(store, "A"));
    FAILS(get(store, "B"), KL_ERR_NOT_FOUND);
    OK(get(store, "C"));
}
END_TEST

/* Killed right after commit has returned, and with a transaction open. */
START_TEST(kill_keeps_what_was_committed)
{
    pid_t child = fork();
    int status;

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct kl_store *mine = NULL;

        if (kl_store_open(path, KL_STORE_WRITE, &mine, &err) != KL_OK ||
            kl_store_begin(mine, &err) != KL_OK || add_terminal(mine, "A") != KL_OK ||
            kl_store_commit(mine, &err) != KL_OK || kl_store_begin(mine, &err) != KL_OK ||
            add_terminal(mine, "B") != KL_OK)
            _exit(1);
        raise(SIGKILL);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    reopen(KL_STORE_WRITE);
    OK(get(store, "A"));
    FAILS(get(store, "B"), KL_ERR_NOT_FOUND);
    add_committed("B"); /* and its lock is gone */
}
END_TEST

START_TEST(two_connections)
{
    struct kl_store *other = NULL;
    struct timespec before, after;

    OK(kl_store_open(path, KL_STORE_WRITE, &other, &err));
    OK(kl_store_begin(store, &err));
    OK(add_terminal(store, "A"));
    FAILS(get(other, "A"),
          KL_ERR_NOT_FOUND); /* readers wait for nobody and see what is committed */
    sqlite3_busy_timeout(other->db, 100);
    clock_gettime(CLOCK_MONOTONIC, &before);
    FAILS(kl_store_begin(other, &err), KL_ERR_BUSY);
    clock_gettime(CLOCK_MONOTONIC, &after);
    ck_assert_int_lt(after.tv_sec - before.tv_sec, 3);
    SAYS("another program");
    OK(kl_store_commit(store, &err));
    OK(get(other, "A"));
    OK(kl_store_begin(other, &err));
    FAILS(add_terminal(other, "A"), KL_ERR_EXISTS);
    OK(add_terminal(other, "B")); /* the failure undid itself alone */
    OK(kl_store_commit(other, &err));
    OK(get(store, "B"));
    kl_store_free(other);
}
END_TEST

/* ---- Rows ---- */

static enum kl_rc nth_terminal(const struct kl_terminal *t, void *arg, struct kl_err *e)
{
    int *n = arg;

    ck_assert_int_eq(t->serial[0], 'A' + *n);
    ++*n;
    return *n == 3 ? kl_err_set(e, KL_ERR_REFUSED, "enough") : KL_OK;
}

START_TEST(terminals)
{
    struct kl_terminal want = a_terminal("A"), got;
    int n = 0;

    OK(kl_store_begin(store, &err));
    OK(add_terminal(store, "D"));
    OK(add_terminal(store, "C"));
    OK(add_terminal(store, "B"));
    OK(kl_store_terminal_add(store, &want, &err));
    OK(kl_store_terminal_get(store, "A", &got, &err));
    ck_assert_mem_eq(&got, &want, sizeof(got));
    want.alg = KL_ALG_AES128;
    want.blocked = 0;
    want.armed_until = 0;
    want.attempts_left = 0;
    want.pinpad_serial[0] = '\0';
    OK(kl_store_terminal_update(store, &want, &err));
    OK(kl_store_terminal_get(store, "A", &got, &err));
    ck_assert_str_eq(got.pinpad_serial, "");
    ck_assert_int_eq(got.alg, KL_ALG_AES128);
    ck_assert_int_eq(got.blocked, 0);
    ck_assert_int_eq(got.created, 17);
    snprintf(want.serial, sizeof(want.serial), "Z");
    FAILS(kl_store_terminal_update(store, &want, &err), KL_ERR_NOT_FOUND);
    FAILS(kl_store_terminal_each(store, nth_terminal, &n, &err), KL_ERR_REFUSED);
    ck_assert_int_eq(n, 3);
    FAILS(get(store, "A' OR '1'='1"), KL_ERR_NOT_FOUND);
}
END_TEST

static enum kl_rc count_tmk(const struct kl_tmk *tmk, void *arg, struct kl_err *e)
{
    struct kl_tmk ignored;

    /* Reading more within an iteration is allowed. */
    OK(kl_store_tmk_get(store, tmk->serial, tmk->version, &ignored, e));
    ++*(int *)arg;
    return KL_OK;
}

static int tmk_count(const char *serial, enum kl_tmk_state state)
{
    int n = 0;

    OK(kl_store_tmk_each(store, serial, state, count_tmk, &n, &err));
    return n;
}

START_TEST(tmks)
{
    struct kl_tmk want, got, few[2];
    uint32_t last = 99;
    size_t n;

    OK(kl_store_begin(store, &err));
    want = a_tmk("A", 1);
    FAILS(kl_store_tmk_add(store, &want, &err), KL_ERR_NOT_FOUND); /* of no terminal */
    OK(add_terminal(store, "A"));
    OK(add_terminal(store, "B"));
    OK(kl_store_tmk_last_version(store, "A", &last, &err));
    ck_assert_uint_eq(last, 0);
    for (uint32_t v = 1; v <= 3; v++) {
        want = a_tmk("A", v);
        want.expires = 10 + v;
        OK(kl_store_tmk_add(store, &want, &err));
    }
    OK(kl_store_tmk_get(store, "A", 3, &got, &err));
    ck_assert_mem_eq(&got, &want, sizeof(got));
    FAILS(kl_store_tmk_add(store, &want, &err), KL_ERR_EXISTS);
    FAILS(kl_store_tmk_get(store, "B", 3, &got, &err), KL_ERR_NOT_FOUND);
    FAILS(kl_store_tmk_set_state(store, "B", 3, KL_TMK_ACTIVE, 5, &err), KL_ERR_NOT_FOUND);
    want = a_tmk("B", 7);
    OK(kl_store_tmk_add(store, &want, &err));
    OK(kl_store_tmk_last_version(store, "B", &last, &err));
    ck_assert_uint_eq(last, 7);
    OK(kl_store_tmk_set_state(store, "A", 1, KL_TMK_ACTIVE, 5, &err));
    OK(kl_store_tmk_get(store, "A", 1, &got, &err));
    ck_assert_int_eq(got.activated, 5);
    ck_assert_int_eq(tmk_count(NULL, 0), 4);
    ck_assert_int_eq(tmk_count("A", 0), 3);
    ck_assert_int_eq(tmk_count("A", KL_TMK_PENDING), 2);
    ck_assert_int_eq(tmk_count(NULL, KL_TMK_PENDING), 3);
    ck_assert_int_eq(tmk_count("C", 0), 0);
    OK(kl_store_tmk_expired(store, 12, few, 2, &n, &err)); /* B's 7 and A's 2; 1 is active */
    ck_assert_uint_eq(n, 2);
    ck_assert_uint_eq(few[0].version, 7);
    ck_assert_uint_eq(few[1].version, 2);
    OK(kl_store_tmk_expired(store, 13, few, 1, &n, &err));
    ck_assert_uint_eq(n, 1);
    OK(kl_store_tmk_expired(store, 1, few, 2, &n, &err));
    ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(never_two_active)
{
    struct kl_tmk one = a_tmk("A", 1), two = a_tmk("A", 2);

    OK(kl_store_begin(store, &err));
    OK(add_terminal(store, "A"));
    OK(kl_store_tmk_add(store, &one, &err));
    OK(kl_store_tmk_add(store, &two, &err));
    OK(kl_store_tmk_set_state(store, "A", 1, KL_TMK_ACTIVE, 5, &err));
    FAILS(kl_store_tmk_set_state(store, "A", 2, KL_TMK_ACTIVE, 5, &err), KL_ERR_STORE);
    SAYS("rules");
}
END_TEST

static int file_has(const char *name, int byte, size_t times)
{
    char *text = NULL, needle[64];
    size_t len;
    int found;

    if (access(name, F_OK) != 0)
        return 0;
    memset(needle, byte, times);
    OK(kl_file_read(name, 10 << 20, &text, &len, &err));
    found = memmem(text, len, needle, times) != NULL;
    free(text);
    return found;
}

/* Out of the row, and out of the file once the write-ahead log has been folded in. */
START_TEST(destroyed_is_gone)
{
    struct kl_tmk tmk = a_tmk("A", 1), got;
    char wal[100];

    add_committed("A");
    OK(kl_store_begin(store, &err));
    OK(kl_store_tmk_add(store, &tmk, &err));
    OK(kl_store_commit(store, &err));
    reopen(KL_STORE_WRITE);
    ck_assert(file_has(path, 0xc7, 32));
    OK(kl_store_begin(store, &err));
    OK(kl_store_tmk_set_state(store, "A", 1, _i ? KL_TMK_EXPIRED : KL_TMK_DESTROYED, 0, &err));
    OK(kl_store_commit(store, &err));
    OK(kl_store_tmk_get(store, "A", 1, &got, &err));
    ck_assert_uint_eq(got.cryptogram_len, 0);
    ck_assert_mem_eq(got.drop_mac, tmk.drop_mac, KL_MAC_LEN); /* Confirm must still be answered */
    reopen(KL_STORE_READ);
    snprintf(wal, sizeof(wal), "%s-wal", path);
    ck_assert(!file_has(path, 0xc7, 8));
    ck_assert(!file_has(wal, 0xc7, 8));
}
END_TEST

static enum kl_rc collect_audit(const struct kl_audit *record, void *arg, struct kl_err *e)
{
    char *all = arg;
    size_t used = strlen(all);

    (void)e;
    snprintf(all + used, 100 - used, "%d:%s ", (int)record->id, record->event);
    return KL_OK;
}

START_TEST(audit)
{
    char all[100] = "", big[2000], sql[64];
    char *text = NULL;

    memset(big, 'x', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    OK(kl_store_begin(store, &err));
    OK(kl_store_audit(store, 1, "one", "A", "", &err));
    OK(kl_store_audit(store, 2, "two", "", "a=b", &err));
    OK(kl_store_audit(store, 3, "three", big, big, &err)); /* cut, not refused, not overrun */
    OK(kl_store_commit(store, &err));
    OK(kl_store_audit_each(store, 0, collect_audit, all, &err));
    ck_assert_str_eq(all, "1:one 2:two 3:three ");
    all[0] = '\0';
    OK(kl_store_audit_each(store, 2, collect_audit, all, &err));
    ck_assert_str_eq(all, "2:two 3:three ");
    for (int i = 0; i < 2; i++) {
        snprintf(sql, sizeof(sql), "%s", i ? "DELETE FROM audit" : "UPDATE audit SET serial = 'B'");
        ck_assert_int_ne(sqlite3_exec(store->db, sql, NULL, NULL, &text), SQLITE_OK);
        ck_assert_ptr_nonnull(strstr(text, "audit records are never"));
        sqlite3_free(text);
    }
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
    if (rc == KL_OK)
        rc = kl_store_commit(store, &err);
    else
        kl_store_rollback(store);
    FAILS(rc, KL_ERR_STORE);
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
    if (geteuid() != 0)
        return;
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
    opened = kl_store_open(path, KL_STORE_WRITE, &other, &err);
    kl_store_free(other);
    become_ourselves();
    ck_assert_int_eq(made, KL_ERR_STORE);
    ck_assert_int_eq(opened, KL_ERR_STORE);
    SAYS(dir);
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
    ck_assert_int_eq(rc, KL_ERR_STORE);
    SAYS("read-only");
    OK(kl_store_open(path, KL_STORE_READ, &store, &err));
    OK(get(store, "A"));
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
        {SQLITE_FULL, KL_ERR_STORE, "full"},
        {SQLITE_READONLY_DIRECTORY, KL_ERR_STORE, "read-only"},
        {SQLITE_CANTOPEN_ISDIR, KL_ERR_STORE, "cannot be opened"},
        {SQLITE_PERM, KL_ERR_STORE, "cannot be opened"},
        {SQLITE_NOTADB, KL_ERR_STORE, "not a keyloader store"},
        {SQLITE_CORRUPT_VTAB, KL_ERR_STORE, "damaged"},
        {SQLITE_IOERR_FSYNC, KL_ERR_STORE, "disk failed"},
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

static TCase *group(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 30);
    suite_add_tcase(suite, tcase);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("store");
    TCase *files = group(suite, "files"), *work = group(suite, "transactions");
    TCase *rows = group(suite, "rows"), *trouble = group(suite, "trouble");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(files, modes);
    tcase_add_test(files, umask_is_not_trusted);
    tcase_add_loop_test(files, open_to_others, 0, 4);
    tcase_add_test(files, not_there);
    tcase_add_test(files, not_a_store);
    tcase_add_test(files, empty_file);
    tcase_add_test(files, foreign_database);
    tcase_add_test(files, newer_schema);
    tcase_add_loop_test(files, settings, 0, 6);
    tcase_add_loop_test(files, damaged_rows, 0, 5);
    tcase_add_test(files, damaged_page);
    tcase_add_test(work, claim);
    tcase_add_test(work, claim_ends_with_the_process);
    tcase_add_test(work, transactions);
    tcase_add_test(work, savepoints);
    tcase_add_test(work, kill_keeps_what_was_committed);
    tcase_add_test(work, two_connections);
    tcase_add_test(rows, terminals);
    tcase_add_test(rows, tmks);
    tcase_add_test(rows, never_two_active);
    tcase_add_loop_test(rows, destroyed_is_gone, 0, 2);
    tcase_add_test(rows, audit);
    tcase_add_test(trouble, full_disk);
    tcase_add_test(trouble, nothing_after_the_undoing);
    tcase_add_test(trouble, file_size_limit);
    tcase_add_test(trouble, read_only_directory);
    tcase_add_test(trouble, read_only_file);
    tcase_add_test(trouble, error_mapping);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
