/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A store of schema version 2 or 3 becomes one of version 4: nothing is lost, whatever happens on
 * the way, and a copy of the old one stays.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/store_old.h"

/* ---- What comes of it ---- */

struct walk {
    uint8_t before[KL_HASH_LEN];
    uint64_t last;
    struct kl_audit record;
};

static enum kl_rc walk_record(const struct kl_audit *record, void *arg, struct kl_err *e)
{
    struct walk *walk = arg;
    uint8_t hash[KL_HASH_LEN];

    ck_assert_uint_eq(record->id, walk->last + 1);
    ck_assert_int_eq(kl_audit_hash(walk->before, record, hash, e), KL_OK);
    ck_assert_mem_eq(hash, record->hash, KL_HASH_LEN);
    memcpy(walk->before, hash, KL_HASH_LEN);
    walk->last = record->id;
    walk->record = *record;
    return KL_OK;
}

static struct kl_audit check_chain(uint64_t count)
{
    struct walk walk = {.last = 0};
    char text[KL_META_MAX + 1];
    uint8_t id[KL_STORE_ID_LEN];

    OK(kl_store_meta_get(store, KL_META_STORE_ID, text, &err));
    ck_assert_uint_eq(strlen(text), 2 * sizeof(id));
    for (size_t i = 0; i < sizeof(id); i++) {
        ck_assert_int_eq(sscanf(text + 2 * i, "%2hhx", &id[i]), 1);
    }
    OK(kl_audit_genesis(id, walk.before, &err));
    OK(kl_store_audit_each(store, 0, walk_record, &walk, &err));
    ck_assert_uint_eq(walk.last, count);
    return walk.record;
}

START_TEST(nothing_is_lost)
{
    char *before, *after, name[PATH_MAX], want[80];
    struct kl_audit record;
    struct kl_terminal terminal;
    struct kl_store *old = NULL;
    struct kl_tmk tmk;
    struct stat st;

    from = 2 + _i / 2;
    make_old(NULL);
    before = DUMP(path);
    ck_assert_ptr_nonnull(strstr(before, "terminal-registered"));
    OK(kl_store_open(path, _i % 2 ? KL_STORE_CREATE : KL_STORE_WRITE, &store, &err));
    after = DUMP(path);
    ck_assert_str_eq(before, after);
    free(after);
    record = check_chain(AUDIT_ROWS + 1);
    ck_assert_str_eq(record.event, "store-migrated");
    snprintf(want, sizeof(want), "from=%d to=4 records=%d copy=store.db.schema-%d.", from,
             from == 2 ? AUDIT_ROWS : 0, from);
    ck_assert_ptr_nonnull(strstr(record.detail, want));
    snprintf(want, sizeof(want), "(%lu)", (unsigned long)geteuid());
    ck_assert_ptr_nonnull(strstr(record.actor, want));
    OK(kl_store_terminal_get(store, "T1", &terminal, &err));
    ck_assert_uint_eq(terminal.version_floor, from == 2 ? 0 : 7);

    ck_assert_int_eq(copies(name), 1);
    ck_assert_int_eq(stat(name, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
    after = DUMP(name);
    ck_assert_str_eq(before, after);
    free(after);
    FAILS(kl_store_open(name, KL_STORE_READ, &old, &err), KL_ERR_STORE);
    SAYS("keyloaderctl store migrate");

    OK(kl_store_begin(store, &err)); /* and it goes on, with all its rules */
    tmk = a_tmk("T3", 1);
    FAILS(kl_store_tmk_add(store, &tmk, &err), KL_ERR_NOT_FOUND);
    FAILS(kl_store_tmk_set_state(store, "T1", 3, KL_TMK_ACTIVE, 1, 0, &err), KL_ERR_STORE);
    FAILS(kl_store_tmk_set_state(store, "T1", 4, KL_TMK_SUPERSEDED, 1, 0, &err), KL_ERR_STORE);
    OK(kl_store_audit(store, 5, "alarm", "", "", &err));
    OK(kl_store_commit(store, &err));
    check_chain(AUDIT_ROWS + 2);
    reopen(KL_STORE_CREATE); /* once is enough */
    check_chain(AUDIT_ROWS + 2);
    ck_assert_int_eq(copies(name), 1);
    free(before);
}
END_TEST

/* The same tables, columns, indices and triggers as in one that is made anew. */
START_TEST(same_as_new)
{
    static const char columns[] =
        "SELECT m.name, c.cid, c.name, c.type, c.\"notnull\", c.dflt_value, c.pk FROM"
        " sqlite_schema m JOIN pragma_table_xinfo(m.name) c WHERE m.type = 'table'"
        " AND m.name NOT LIKE 'sqlite_%' ORDER BY 1, 2";
    static const char *const shape[] = {
        columns,
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE type != 'table' ORDER BY 1, 2",
        "SELECT name, f.* FROM sqlite_schema, pragma_foreign_key_list(name) f ORDER BY 1, 2, 3",
        "PRAGMA user_version",
        "PRAGMA application_id",
    };
    char *made = dump(path, shape, sizeof(shape) / sizeof(shape[0])), *migrated;

    from = _i;
    make_old(NULL);
    OK(kl_store_open(path, KL_STORE_WRITE, &store, &err));
    migrated = dump(path, shape, sizeof(shape) / sizeof(shape[0]));
    ck_assert_str_eq(made, migrated);
    ck_assert_ptr_nonnull(strstr(made, "audit_no_delete"));
    free(made);
    free(migrated);
}
END_TEST

START_TEST(readers_are_told)
{
    char *before, *after, name[PATH_MAX], want[32];

    from = _i;
    snprintf(want, sizeof(want), "schema version %d", from);
    make_old(NULL);
    before = DUMP(path);
    FAILS(kl_store_open(path, KL_STORE_READ, &store, &err), KL_ERR_STORE);
    SAYS(want);
    SAYS("keyloaderctl store migrate");
    after = DUMP(path);
    ck_assert_str_eq(before, after);
    ck_assert_int_eq(copies(name), 0);
    free(before);
    free(after);
}
END_TEST

START_TEST(older_still)
{
    make_old("PRAGMA user_version = 1");
    FAILS(kl_store_open(path, KL_STORE_WRITE, &store, &err), KL_ERR_STORE);
    SAYS("schema version 1");
}
END_TEST

/* The old daemon would go on as if nothing had happened. */
START_TEST(not_under_a_daemon)
{
    char name[PATH_MAX], lock[100];
    int fd;

    from = _i;
    make_old(NULL);
    snprintf(lock, sizeof(lock), "%s.lock", path);
    fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    FAILS(kl_store_open(path, KL_STORE_WRITE, &store, &err), KL_ERR_BUSY);
    SAYS("a daemon serves it");
    ck_assert_int_eq(copies(name), 0);
    close(fd);
    OK(kl_store_open(path, KL_STORE_WRITE, &store, &err));
    OK(kl_store_claim(store, &err)); /* the migration's own claim has ended */
}
END_TEST

static const struct {
    const char *sql;
    enum kl_rc rc;
    const char *says;
    int from; /* 0: version 2 */
} bad[] = {
    {"DROP TRIGGER audit_no_delete; DELETE FROM audit WHERE id = 1;", KL_ERR_VERIFY,
     "audit record 1 is missing"},
    {"DROP TRIGGER audit_no_delete; DELETE FROM audit WHERE id = 3;", KL_ERR_VERIFY,
     "audit record 3 is missing"},
    {"DROP TRIGGER audit_no_delete; DELETE FROM audit WHERE id = 4;", KL_ERR_VERIFY,
     "audit record 4 is missing"},
    {"INSERT INTO audit VALUES (5, 0, 'x', '', hex(zeroblob(241)));", KL_ERR_STORE,
     "a row of audit is damaged"},
    {"INSERT INTO audit VALUES (5, 0, 'x' || char(0), '', '');", KL_ERR_STORE,
     "a row of audit is damaged"},
    {"ALTER TABLE tmk ADD COLUMN wrap INTEGER;", KL_ERR_STORE, "duplicate column"},
    {"ALTER TABLE tmk ADD COLUMN more INTEGER;", KL_ERR_STORE, "has 19 columns", 3},
    {"PRAGMA foreign_keys = OFF; DELETE FROM tmk WHERE version = 2;", KL_ERR_VERIFY,
     "1 rows are of terminals or TMKs that are missing", 3},
    {"PRAGMA foreign_keys = OFF; DELETE FROM terminal WHERE serial = 'T1';", KL_ERR_VERIFY,
     "6 rows are of terminals or TMKs that are missing", 2},
};

/* It stays as it was, whole. */
START_TEST(refused)
{
    char *before, *after, name[PATH_MAX];

    from = bad[_i].from ? bad[_i].from : 2;
    make_old(bad[_i].sql);
    before = DUMP(path);
    FAILS(kl_store_open(path, KL_STORE_WRITE, &store, &err), bad[_i].rc);
    SAYS(bad[_i].says);
    SAYS("the store was not migrated");
    after = DUMP(path);
    ck_assert_str_eq(before, after);
    ck_assert_int_eq(copies(name), 0);
    free(before);
    free(after);
}
END_TEST

START_TEST(copy_cannot_be_made)
{
    char *before, *after;

    if (geteuid() == 0) {
        return; /* root makes it anywhere */
    }
    make_old(NULL);
    before = DUMP(path);
    ck_assert_int_eq(chmod(dir, 0500), 0);
    ck_assert_int_ne(kl_store_open(path, KL_STORE_WRITE, &store, &err), KL_OK);
    ck_assert_int_eq(chmod(dir, 0700), 0);
    after = DUMP(path);
    ck_assert_str_eq(before, after);
    free(before);
    free(after);
}
END_TEST

/* Killed at any instant, the store is old or new, and whole. */
START_TEST(killed)
{
    struct kl_store *mine = NULL;
    char *before, *after, name[PATH_MAX];
    int status, finished = 0;
    pid_t pid;

    from = _i;
    for (useconds_t wait = 0; wait < 120000 && !finished; wait += 3000) {
        make_old(NULL);
        before = DUMP(path);
        if ((pid = fork()) == 0) {
            _exit(kl_store_open(path, KL_STORE_WRITE, &mine, &err) == KL_OK ? 0 : 1);
        }
        ck_assert_int_gt(pid, 0);
        usleep(wait);
        kill(pid, SIGKILL);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        finished = WIFEXITED(status);
        ck_assert(!finished || WEXITSTATUS(status) == 0);
        OK(kl_store_open(path, KL_STORE_WRITE, &store, &err));
        after = DUMP(path);
        ck_assert_str_eq(before, after);
        check_chain(AUDIT_ROWS + 1);
        free(before);
        free(after);
        while (copies(name) > 0) {
            ck_assert_int_eq(unlink(name), 0);
        }
    }
    ck_assert(finished);
}
END_TEST

/* ---- What version 2 had not ---- */

START_TEST(floor_of_versions)
{
    uint32_t last;
    struct kl_tmk tmk = a_tmk("A", 3);
    struct kl_terminal terminal;

    add_committed("A");
    add_committed("B");
    OK(kl_store_begin(store, &err));
    OK(kl_store_tmk_add(store, &tmk, &err));
    OK(kl_store_terminal_floor(store, "A", 2, &err));
    OK(last_version("A", &last));
    ck_assert_uint_eq(last, 3);
    OK(kl_store_terminal_floor(store, "A", 10, &err));
    OK(kl_store_terminal_floor(store, "A", 9, &err)); /* never sinks */
    OK(last_version("A", &last));
    ck_assert_uint_eq(last, 10);
    OK(kl_store_terminal_get(store, "A", &terminal, &err));
    ck_assert_uint_eq(terminal.version_floor, 10);
    OK(kl_store_terminal_update(store, &terminal, &err));
    OK(last_version("B", &last));
    ck_assert_uint_eq(last, 0);
    FAILS(kl_store_terminal_floor(store, "C", 1, &err), KL_ERR_NOT_FOUND);
    OK(kl_store_commit(store, &err));
}
END_TEST

START_TEST(meta)
{
    char value[KL_META_MAX + 1], big[KL_META_MAX + 2];

    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    FAILS(kl_store_meta_put(store, "a", "1", &err), KL_ERR_STORE); /* outside of a transaction */
    OK(kl_store_begin(store, &err));
    FAILS(kl_store_meta_get(store, "a", value, &err), KL_ERR_NOT_FOUND);
    OK(kl_store_meta_put(store, "a", "1", &err));
    OK(kl_store_meta_put(store, "a", "two", &err));
    FAILS(kl_store_meta_put(store, "a", big, &err), KL_ERR_STORE);
    FAILS(kl_store_meta_put(store, "", "x", &err), KL_ERR_STORE);
    FAILS(kl_store_meta_put(store, KL_META_STORE_ID, "0", &err), KL_ERR_STORE);
    SAYS("keeps its id");
    OK(kl_store_commit(store, &err));
    OK(kl_store_meta_get(store, "a", value, &err));
    ck_assert_str_eq(value, "two");
}
END_TEST

static enum kl_rc count_request(const struct kl_request *request, void *arg, struct kl_err *e)
{
    (void)request;
    (void)e;
    (*(int *)arg)++;
    return KL_OK;
}

START_TEST(requests)
{
    struct kl_request r = {.kind = "tmk-export",
                           .params = "{\"serial\":\"T1\"}",
                           .requester_uid = 1001,
                           .requester = "alice(1001)",
                           .created = 5,
                           .expires = 6},
                      got;
    uint64_t id = 0;
    int count = 0;

    OK(kl_store_begin(store, &err));
    OK(kl_store_request_add(store, &r, &id, &err));
    ck_assert_uint_eq(id, 1);
    OK(kl_store_request_add(store, &r, &id, &err));
    ck_assert_uint_eq(id, 2);
    OK(kl_store_request_get(store, 2, &got, &err));
    ck_assert_str_eq(got.params, r.params);
    ck_assert_str_eq(got.requester, "alice(1001)");
    ck_assert_int_eq(got.state, KL_REQUEST_PENDING);
    ck_assert_int_eq(got.approver_uid, -1);
    got.state = KL_REQUEST_APPROVED;
    got.approver_uid = 1002;
    snprintf(got.approver, sizeof(got.approver), "bob(1002)");
    got.decided = 7;
    OK(kl_store_request_update(store, &got, KL_REQUEST_PENDING, &err));
    FAILS(kl_store_request_update(store, &got, KL_REQUEST_PENDING, &err), KL_ERR_NOT_FOUND);
    SAYS("no request 2 that is pending"); /* decided once only */
    OK(kl_store_request_get(store, 2, &got, &err));
    ck_assert_int_eq(got.state, KL_REQUEST_APPROVED);
    ck_assert_str_eq(got.approver, "bob(1002)");
    OK(kl_store_request_each(store, 0, 0, count_request, &count, &err));
    ck_assert_int_eq(count, 2);
    OK(kl_store_request_each(store, KL_REQUEST_PENDING, 0, count_request, &count, &err));
    ck_assert_int_eq(count, 3);
    FAILS(kl_store_request_get(store, 3, &got, &err), KL_ERR_NOT_FOUND);
    OK(kl_store_commit(store, &err));
}
END_TEST

START_TEST(actors)
{
    char big[KL_AUDIT_DETAIL_MAX + 100];
    struct kl_store *other = NULL;
    struct kl_audit record;

    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    OK(kl_store_begin(store, &err));
    OK(kl_store_audit(store, 1, "alarm", "", "", &err));
    ck_assert_str_eq(check_chain(1).actor, "");
    kl_store_set_actor(store, "alice(1001)");
    OK(kl_store_audit(store, 2, "alarm", "", "", &err));
    ck_assert_str_eq(check_chain(2).actor, "alice(1001)");
    kl_store_set_actor(store, big);
    OK(kl_store_audit(store, 3, "alarm", big, big, &err));
    record = check_chain(3);
    ck_assert_uint_eq(strlen(record.actor), KL_AUDIT_ACTOR_MAX);
    ck_assert_uint_eq(strlen(record.detail), KL_AUDIT_DETAIL_MAX);
    OK(kl_store_savepoint(store, &err)); /* what is undone leaves no gap */
    OK(kl_store_audit(store, 4, "alarm", "", "", &err));
    OK(kl_store_undo(store, &err));
    kl_store_set_actor(store, "");
    OK(kl_store_audit(store, 4, "alarm", "", "", &err));
    check_chain(4);
    kl_store_rollback(store); /* nor what is rolled back */
    OK(kl_store_begin(store, &err));
    OK(kl_store_audit(store, 4, "alarm", "", "", &err));
    OK(kl_store_commit(store, &err));
    OK(kl_store_open(path, KL_STORE_WRITE, &other, &err)); /* another program appends meanwhile */
    OK(kl_store_begin(other, &err));
    OK(kl_store_audit(other, 5, "alarm", "", "", &err));
    OK(kl_store_commit(other, &err));
    kl_store_free(other);
    OK(kl_store_begin(store, &err));
    OK(kl_store_audit(store, 6, "alarm", "", "", &err));
    OK(kl_store_audit(store, 6, "alarm", "", "", &err));
    check_chain(4);
    OK(kl_store_commit(store, &err));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store-migrate");
    TCase *old = group(suite, "from versions 2 and 3"), *fresh = group(suite, "this version");

    tcase_add_loop_test(old, nothing_is_lost, 0, 4);
    tcase_add_loop_test(old, same_as_new, 2, KL_STORE_VERSION);
    tcase_add_loop_test(old, readers_are_told, 2, KL_STORE_VERSION);
    tcase_add_test(old, older_still);
    tcase_add_loop_test(old, not_under_a_daemon, 2, KL_STORE_VERSION);
    tcase_add_loop_test(old, refused, 0, (int)(sizeof(bad) / sizeof(bad[0])));
    tcase_add_test(old, copy_cannot_be_made);
    tcase_add_loop_test(old, killed, 2, KL_STORE_VERSION);
    tcase_add_test(fresh, floor_of_versions);
    tcase_add_test(fresh, meta);
    tcase_add_test(fresh, requests);
    tcase_add_test(fresh, actors);
    return test_run(suite);
}
