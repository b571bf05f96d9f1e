/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The audit trail's verifier: whatever somebody does to the store's file or to an archive is found,
 * and found where it is; and archives hold what the store held.
 */
#include <openssl/pem.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "daemon/audit/audit_archive.h"
#include "daemon/audit/audit_check.h"
#include "daemon/ctl/ctl.h"
#include "proto/pubkey.h"
#include "tests/unit/audit_fixture.h"

static EVP_PKEY *key;
static struct kl_audit_known known;
static char key_path[100], archive_path[100];

/* ---- A trail: ten records, checkpoints at 4 and 8 ---- */

static void sign(struct kl_checkpoint *checkpoint)
{
    uint8_t id[KL_STORE_ID_LEN], tbs[KL_AUDIT_TBS_LEN], der[KL_ECDSA_DER_MAX];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = sizeof(der);
    char text[KL_META_MAX + 1];

    OK(kl_store_meta_get(store, KL_META_STORE_ID, text, &err));
    ck_assert(kl_hex_parse(text, id, sizeof(id)));
    OK(kl_pubkey_hash(key, checkpoint->key, &err));
    kl_audit_tbs(id, checkpoint, tbs);
    ck_assert_int_eq(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
    ck_assert_int_eq(EVP_DigestSign(ctx, der, &len, tbs, sizeof(tbs)), 1);
    OK(kl_ecdsa_from_der(kl_curve_by_bits(256), der, len, checkpoint->signature,
                         &checkpoint->signature_len, &err));
    EVP_MD_CTX_free(ctx);
}

static void add_checkpoint(void)
{
    struct kl_checkpoint checkpoint = {.time = 77};

    OK(kl_store_audit_head(store, &checkpoint.id, checkpoint.hash, &err));
    sign(&checkpoint);
    OK(kl_store_checkpoint_add(store, &checkpoint, &err));
}

static void begin_trail(void)
{
    FILE *f;

    setup();
    key = EVP_EC_gen("P-256");
    snprintf(key_path, sizeof(key_path), "%s/key.pem", dir);
    snprintf(archive_path, sizeof(archive_path), "%s/archive", dir);
    ck_assert_ptr_nonnull(f = fopen(key_path, "w"));
    ck_assert_int_eq(PEM_write_PUBKEY(f, key), 1);
    fclose(f);
    OK(kl_store_begin(store, &err));
    add_records(4);
    add_checkpoint();
    add_records(4);
    add_checkpoint();
    add_records(2);
    OK(kl_store_commit(store, &err));
}

static void end_trail(void)
{
    kl_audit_known_wipe(&known);
    EVP_PKEY_free(key);
    teardown();
}

/* ---- Verification ---- */

struct found {
    uint64_t first; /* the first finding's record */
    int count;
    char all[4000];
};

static void on_finding(const char *source, uint64_t id, const char *what, void *arg)
{
    struct found *found = arg;
    size_t used = strlen(found->all);

    (void)source;
    if (found->count++ == 0) {
        found->first = id;
    }
    snprintf(found->all + used, sizeof(found->all) - used, "%d: %s\n", (int)id, what);
}

static struct kl_audit_result verify(const char *const *archives, int with_store,
                                     struct found *found)
{
    struct kl_audit_check *check = NULL;
    struct kl_audit_result result;

    memset(found, 0, sizeof(*found));
    for (size_t i = 0; i < known.expect_count; i++) {
        known.expect[i].seen = 0;
    }
    OK(kl_audit_check_new(&known, on_finding, found, &check, &err));
    for (; archives && *archives; archives++) {
        OK(kl_audit_archive_read(*archives, check, &err));
    }
    if (with_store) {
        OK(kl_audit_check_store(check, "store", store, &err));
    }
    kl_audit_check_end(check);
    result = *kl_audit_check_result(check);
    kl_audit_check_free(check);
    ck_assert_uint_eq(result.findings, found->count);
    return result;
}

static void whole(const char *const *archives, int with_store)
{
    struct found found;

    verify(archives, with_store, &found);
    ck_assert_msg(found.count == 0, "found:\n%s", found.all);
}

START_TEST(untouched)
{
    struct found found;
    struct kl_audit_result result;
    char head[KL_AUDIT_HEAD_TEXT];

    whole(NULL, 1);
    OK(kl_audit_known_keys(&known, key_path, &err));
    result = verify(NULL, 1, &found);
    ck_assert_msg(found.count == 0, "found:\n%s", found.all);
    ck_assert_uint_eq(result.first, 1);
    ck_assert_uint_eq(result.last, RECORDS);
    ck_assert_uint_eq(result.records, RECORDS);
    ck_assert_uint_eq(result.checkpoints, 2);
    ck_assert_uint_eq(result.signed_to, 8);
    ck_assert_int_eq(result.signed_at, 77);
    kl_audit_head_format(result.last, result.hash, head);
    OK(kl_audit_known_head(&known, head, &err));
    whole(NULL, 1);
}
END_TEST

#define AFTER_8 "DELETE FROM audit WHERE id > 8; UPDATE sqlite_sequence SET seq = 8"
#define SWAP \
    "CREATE TEMP TABLE x AS SELECT * FROM audit WHERE id IN (5, 6); DELETE FROM audit WHERE id IN" \
    " (5, 6); INSERT INTO audit SELECT 11 - id, time, event, serial, detail, actor, hash FROM x"

/* Found by the chain and the checkpoints' hashes, by anybody. */
static const struct {
    const char *sql;
    uint64_t first;
    const char *says;
} tamperings[] = {
    {"UPDATE audit SET time = time + 1 WHERE id = 5", 5, "does not match its hash"},
    {"UPDATE audit SET event = 'alarms' WHERE id = 5", 5, "does not match its hash"},
    {"UPDATE audit SET serial = 'T2' WHERE id = 5", 5, "does not match its hash"},
    {"UPDATE audit SET serial = '' WHERE id = 5", 5, "does not match its hash"},
    {"UPDATE audit SET detail = 'n=9' WHERE id = 5", 5, "does not match its hash"},
    {"UPDATE audit SET actor = 'bob(1)' WHERE id = 5", 5, "does not match its hash"},
    {"UPDATE audit SET serial = 'T', detail = '1' || detail WHERE id = 5", 5, "does not match"},
    {"UPDATE audit SET hash = zeroblob(32) WHERE id = 5", 5, "does not match its hash"},
    {"UPDATE audit SET time = 0 WHERE id = 10", 10, "does not match its hash"},
    {"UPDATE audit SET time = 0 WHERE id = 1", 1, "does not match its hash"},
    {"UPDATE audit SET detail = hex(zeroblob(500000)) WHERE id = 5", 5, "is damaged"},
    {"UPDATE audit SET detail = 'a' || char(0) || 'b' WHERE id = 5", 5, "is damaged"},
    {"UPDATE audit SET event = hex(zeroblob(17)) WHERE id = 5", 5, "is damaged"},
    {"UPDATE audit SET hash = x'00' WHERE id = 5", 5, "is damaged"},
    {"DELETE FROM audit WHERE id = 5", 5, "is missing"},
    {"DELETE FROM audit WHERE id BETWEEN 5 AND 7", 5, "and so is every one up to 7"},
    {"DELETE FROM audit WHERE id = 1", 1, "is missing"},
    {"DELETE FROM audit WHERE id = 10", 10, "the end was cut off"},
    {"DELETE FROM audit WHERE id > 8", 9, "every one up to 10: the end was cut off"},
    {"DELETE FROM audit; DELETE FROM sqlite_sequence", 4, "was covered by a checkpoint"},
    {"DELETE FROM audit WHERE id > 7; UPDATE sqlite_sequence SET seq = 7", 8,
     "was covered by a checkpoint, and is missing"},
    {SWAP, 5, "does not match its hash"},
    {"INSERT INTO audit SELECT 11, time, event, serial, detail, actor, hash FROM audit WHERE id ="
     " 5",
     11, "does not match its hash"},
    {"UPDATE audit SET id = -id WHERE id > 5; UPDATE audit SET id = 1 - id WHERE id < 0;"
     "INSERT INTO audit SELECT 6, time, event, serial, detail, actor, hash FROM audit WHERE id = 5",
     6, "does not match its hash"},
    {"UPDATE audit SET id = id + 100 WHERE id = 10", 10, "is missing"},
    {"UPDATE audit_checkpoint SET hash = zeroblob(32) WHERE id = 4", 4, "is not the record that"},
    {"UPDATE audit_checkpoint SET id = 5 WHERE id = 4", 5, "is not the record that"},
    {"UPDATE audit_checkpoint SET key = x'00' WHERE id = 4", 4, "a checkpoint that is damaged"},
    {"UPDATE meta SET value = '000102030405060708090a0b0c0d0e0f' WHERE name = 'store-id'", 0,
     "does not begin as a trail of this store"},
    {"UPDATE audit_state SET archived_hash = zeroblob(32)", 0, "does not begin as a trail"},
    {"UPDATE audit_state SET archived_to = 5", 1, "is out of its place"},
};

START_TEST(tampered)
{
    struct found found;

    tamper(tamperings[_i].sql);
    verify(NULL, 1, &found);
    ck_assert_msg(found.count > 0, "not found: %s", tamperings[_i].sql);
    ck_assert_msg(found.first == tamperings[_i].first &&
                      strstr(found.all, tamperings[_i].says) != NULL,
                  "%s: found\n%s", tamperings[_i].sql, found.all);
}
END_TEST

/* ---- By who recomputes every hash behind the change ---- */

static const struct {
    const char *sql, *then;
    int with_key, with_head;
    uint64_t first; /* where it is found; 0 with says NULL: it is not */
    const char *says;
} rewritings[] = {
    {"UPDATE audit SET detail = '' WHERE id = 3", NULL, 0, 0, 4, "is not the record that the"},
    {"UPDATE audit SET detail = '' WHERE id = 6", NULL, 0, 0, 8, "rewritten after record 4"},
    {"UPDATE audit SET detail = '' WHERE id = 6",
     "UPDATE audit_checkpoint SET hash = (SELECT hash FROM audit a WHERE a.id ="
     " audit_checkpoint.id)",
     1, 0, 8, "signature is not good"},
    /* Without the key's public half anybody's signature would do. */
    {"UPDATE audit SET detail = '' WHERE id = 6",
     "UPDATE audit_checkpoint SET hash = (SELECT hash FROM audit a WHERE a.id ="
     " audit_checkpoint.id)",
     0, 0, 0, NULL},
    {"UPDATE audit SET detail = '' WHERE id = 6", "DELETE FROM audit_checkpoint", 1, 0, 0,
     "has no good checkpoint"},
    {"UPDATE audit SET detail = '' WHERE id = 6", "DELETE FROM audit_checkpoint", 0, 1, 10,
     "another hash than the head"},
    /* Behind the last checkpoint only a head that is kept elsewhere tells. */
    {"UPDATE audit SET detail = '' WHERE id = 9", NULL, 1, 1, 10, "another hash than the head"},
    {"UPDATE audit SET detail = '' WHERE id = 9", NULL, 1, 0, 0, NULL},
    {AFTER_8, NULL, 1, 1, 10, "is the head that you expect, and is not here"},
    {AFTER_8, NULL, 1, 0, 0, NULL},
    /* The beginning, passed off as archived. */
    {"DELETE FROM audit WHERE id <= 5; UPDATE audit_state SET archived_to = 5, archived_hash ="
     " zeroblob(32); DELETE FROM audit_checkpoint WHERE id < 5",
     NULL, 1, 0, 6, "does not match its hash"},
    {"UPDATE audit_checkpoint SET time = 78 WHERE id = 4", NULL, 1, 0, 4, "signature is not good"},
    {"UPDATE audit_checkpoint SET signature = zeroblob(64) WHERE id = 4", NULL, 1, 0, 4,
     "signature is not good"},
    {"UPDATE audit_checkpoint SET key = zeroblob(32) WHERE id = 4", NULL, 1, 0, 4,
     "by a key that is not given"},
};

START_TEST(rewritten)
{
    char head[KL_AUDIT_HEAD_TEXT];
    uint8_t hash[KL_HASH_LEN];
    struct found found;
    uint64_t id;

    OK(kl_store_audit_head(store, &id, hash, &err));
    kl_audit_head_format(id, hash, head);
    if (rewritings[_i].with_head) {
        OK(kl_audit_known_head(&known, head, &err));
    }
    if (rewritings[_i].with_key) {
        OK(kl_audit_known_keys(&known, key_path, &err));
    }
    tamper(rewritings[_i].sql);
    if (strncmp(rewritings[_i].sql, "DELETE FROM audit WHERE id <= 5", 31) != 0) {
        recompute();
    }
    if (rewritings[_i].then) {
        tamper(rewritings[_i].then);
    }
    verify(NULL, 1, &found);
    if (!rewritings[_i].says) {
        ck_assert_msg(found.count == 0, "found\n%s", found.all);
        return;
    }
    ck_assert_msg(found.count > 0, "not found: %s", rewritings[_i].sql);
    ck_assert_msg(found.first == rewritings[_i].first &&
                      strstr(found.all, rewritings[_i].says) != NULL,
                  "%s: found\n%s", rewritings[_i].sql, found.all);
}
END_TEST

/* The beginning passed off as archived, with the right hash: no checkpoint vouches for it. */
START_TEST(beginning_cut_off)
{
    struct found found;

    tamper("UPDATE audit_state SET archived_to = 5, archived_hash = (SELECT hash FROM audit WHERE"
           " id = 5); DELETE FROM audit WHERE id <= 5; DELETE FROM audit_checkpoint WHERE id < 5");
    OK(kl_audit_known_keys(&known, key_path, &err));
    verify(NULL, 1, &found);
    ck_assert_uint_eq(found.first, 6);
    ck_assert_ptr_nonnull(strstr(found.all, "no checkpoint vouches"));
}
END_TEST

/* The rules that are gone tell of who took them away. */
START_TEST(rules)
{
    static const char *const changes[] = {
        "DROP TRIGGER audit_no_delete",
        "DROP TRIGGER audit_no_update",
        "DROP TRIGGER audit_state_grows",
        ("DROP TRIGGER checkpoint_no_delete; CREATE TRIGGER checkpoint_no_delete BEFORE DELETE ON"
         " audit_checkpoint WHEN 0 BEGIN SELECT 1; END"),
        "CREATE TRIGGER more AFTER INSERT ON audit BEGIN DELETE FROM tmk; END",
        "ALTER TABLE audit ADD COLUMN more TEXT",
        "ALTER TABLE audit RENAME TO audit_1; CREATE VIEW audit AS SELECT * FROM audit_1",
    };
    struct found found;

    raw(changes[_i]);
    verify(NULL, 1, &found);
    ck_assert_msg(strstr(found.all, "rules for the audit trail were changed") != NULL, "%s: %s",
                  changes[_i], found.all);
}
END_TEST

START_TEST(rules_hold)
{
    static const char *const refused[] = {
        "DELETE FROM audit WHERE id = 1",
        "DELETE FROM audit_checkpoint",
        "UPDATE audit_checkpoint SET time = 0",
        "UPDATE audit SET time = 0",
        "UPDATE audit_state SET archived_to = 5",
        ("UPDATE audit_state SET archived_to = 5, archived_hash = (SELECT hash FROM audit WHERE id"
         " = 5)"),
        "UPDATE audit_state SET archived_to = 4",
        "UPDATE audit_state SET archived_hash = zeroblob(32)",
        "DELETE FROM audit_state",
        "INSERT INTO audit_state VALUES (2, 0, zeroblob(32), 0)",
    };
    char *text = NULL;

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        ck_assert_msg(sqlite3_exec(store->db, refused[i], NULL, NULL, &text) != SQLITE_OK, "%s",
                      refused[i]);
        sqlite3_free(text);
    }
    whole(NULL, 1);
}
END_TEST

/* ---- Archives ---- */

static void archive_to(const char *name, uint64_t up_to)
{
    struct kl_checkpoint checkpoint;
    uint64_t count;

    OK(kl_store_begin(store, &err));
    OK(kl_store_checkpoint_last(store, up_to, &checkpoint, &err));
    OK(kl_audit_archive_write(store, &checkpoint, name, &err));
    OK(kl_store_audit_archived(store, &checkpoint, &count, &err));
    OK(kl_store_commit(store, &err));
}

START_TEST(archives)
{
    char second[110];
    const char *both[] = {archive_path, second, NULL}, *swapped[] = {second, archive_path, NULL};
    const char *twice[] = {archive_path, archive_path, NULL}, *last[] = {second, NULL};
    const char *one[] = {archive_path, NULL};
    struct found found;
    struct kl_audit_result result;
    struct stat st;

    snprintf(second, sizeof(second), "%s/second", dir);
    OK(kl_audit_known_keys(&known, key_path, &err));
    OK(kl_store_begin(store, &err));
    OK(kl_store_audit(store, 5, "alarm", "\xff\xfe", "\x01\"\\\n\xc3", &err)); /* byte for byte */
    add_checkpoint();
    OK(kl_store_commit(store, &err));
    archive_to(archive_path, 4);
    ck_assert_int_eq(stat(archive_path, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
    whole(NULL, 1); /* a checkpoint vouches for what is gone */
    whole(one, 1);
    archive_to(second, 0);
    whole(both, 1);
    result = verify(both, 1, &found);
    ck_assert_uint_eq(result.records, RECORDS + 1);
    ck_assert_uint_eq(result.first, 1);
    whole(last, 1);
    whole(one, 0);
    whole(last, 0);
    OK(kl_store_begin(store, &err)); /* and it goes on */
    OK(kl_store_audit(store, 6, "alarm", "", "", &err));
    OK(kl_store_commit(store, &err));
    result = verify(both, 1, &found);
    ck_assert_int_eq(found.count, 0);
    ck_assert_uint_eq(result.last, RECORDS + 2);

    verify(one, 1, &found);
    ck_assert_uint_eq(found.first, 5);
    ck_assert_ptr_nonnull(strstr(found.all, "every one up to 11: an archive is not given"));
    verify(swapped, 1, &found);
    ck_assert_ptr_nonnull(strstr(found.all, "in the order of their records"));
    verify(twice, 0, &found);
    ck_assert_uint_eq(found.first, 1);
}
END_TEST

START_TEST(archive_is_not_overwritten)
{
    struct kl_checkpoint checkpoint;

    OK(kl_store_checkpoint_last(store, 4, &checkpoint, &err));
    OK(kl_store_begin(store, &err));
    OK(kl_audit_archive_write(store, &checkpoint, archive_path, &err));
    FAILS(kl_audit_archive_write(store, &checkpoint, archive_path, &err), KL_ERR_EXISTS);
    kl_store_rollback(store);
    ck_assert_int_eq(access(archive_path, F_OK), 0);
}
END_TEST

/* The disk is full at any byte of it, or a record cannot be read: there is no archive. */
START_TEST(archive_fails)
{
    const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    struct kl_checkpoint checkpoint;
    struct stat st;

    OK(kl_store_checkpoint_last(store, 4, &checkpoint, &err));
    OK(kl_audit_archive_write(store, &checkpoint, archive_path, &err));
    ck_assert_int_eq(stat(archive_path, &st), 0);
    ck_assert_int_eq(unlink(archive_path), 0);
    signal(SIGXFSZ, SIG_IGN);
    for (off_t room = 0; room < st.st_size; room += 40) {
        const struct rlimit limit = {(rlim_t)room, RLIM_INFINITY};
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        enum kl_rc rc = kl_audit_archive_write(store, &checkpoint, archive_path, &err);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
        ck_assert_int_eq(rc, KL_ERR_IO);
        ck_assert_int_ne(access(archive_path, F_OK), 0);
    }
    tamper("UPDATE audit SET hash = x'00' WHERE id IN (3, 6)");
    FAILS(kl_audit_archive_write(store, &checkpoint, archive_path, &err), KL_ERR_VERIFY);
    SAYS("audit 3 is damaged");
    ck_assert_int_ne(access(archive_path, F_OK), 0);
}
END_TEST

/* A line of the archive (0 = the header, 1 to 4 records, 5 the checkpoint, 6 the end), edited. */
static void put_lines(const char *text, int skip, int swap)
{
    char *copy = strdup(text), *lines[10], *at = copy;
    FILE *f = fopen(archive_path, "w");
    int count = 0;

    while ((lines[count] = strsep(&at, "\n")) != NULL && *lines[count]) {
        count++;
    }
    for (int i = 0; i < count; i++) {
        int which = swap > 0 && i == swap ? i + 1 : swap > 0 && i == swap + 1 ? i - 1 : i;
        if (i != skip) {
            fprintf(f, "%s\n", lines[which]);
        }
    }
    fclose(f);
    free(copy);
}

static char *read_archive(size_t *len)
{
    char *text = NULL;

    OK(kl_file_read(archive_path, 1 << 20, &text, len, &err));
    return text;
}

START_TEST(archive_lines)
{
    const char *one[] = {archive_path, NULL};
    struct found found;
    char *text;
    size_t len;

    archive_to(archive_path, 4);
    text = read_archive(&len);
    for (int skip = 1; skip <= 6; skip++) {
        put_lines(text, skip, 0);
        verify(one, 0, &found);
        /* A checkpoint that is not there is no harm while nobody asks for signatures. */
        ck_assert_msg(skip == 5 ? found.count == 0 : found.count > 0, "line %d", skip);
        ck_assert(skip > 4 || found.first == (uint64_t)skip || skip == 4);
    }
    for (int swap = 1; swap <= 3; swap++) {
        put_lines(text, -1, swap);
        verify(one, 0, &found);
        ck_assert_msg(found.count > 0 && found.first == (uint64_t)swap, "swap %d:\n%s", swap,
                      found.all);
    }
    for (size_t cut = (size_t)(strchr(text, '\n') - text) + 1; cut < len; cut += 7) {
        OK(kl_file_write(archive_path, text, cut, 0600, 1, &err));
        verify(one, 0, &found);
        ck_assert_msg(found.count > 0, "cut at %zu of %zu", cut, len);
    }
    OK(kl_file_write(archive_path, text, len, 0600, 1, &err));
    whole(one, 0);
    free(text);
}
END_TEST

/* Every byte of it counts. */
START_TEST(archive_bytes)
{
    const char *one[] = {archive_path, NULL};
    struct kl_audit_check *check = NULL;
    struct found found = {0};
    char *text;
    size_t len;

    OK(kl_audit_known_keys(&known, key_path, &err));
    archive_to(archive_path, 4);
    text = read_archive(&len);
    for (size_t i = 0; i < len; i++) {
        char kept = text[i];
        enum kl_rc rc;

        text[i] = kept == '1' ? '2' : '1';
        OK(kl_file_write(archive_path, text, len, 0600, 1, &err));
        memset(&found, 0, sizeof(found));
        OK(kl_audit_check_new(&known, on_finding, &found, &check, &err));
        rc = kl_audit_archive_read(archive_path, check, &err);
        kl_audit_check_end(check);
        kl_audit_check_free(check);
        ck_assert_msg(rc != KL_OK || found.count > 0, "byte %zu (%c) of the archive", i, kept);
        text[i] = kept;
    }
    OK(kl_file_write(archive_path, text, len, 0600, 1, &err));
    whole(one, 0);
    free(text);
}
END_TEST

static const struct {
    const char *from, *to; /* what is put in the place of what */
    const char *says;
} forgeries[] = {
    {"\"actor\":\"\"", "\"actor\":\"\",\"more\":1", "neither a record nor a checkpoint"},
    {"\"actor\":\"\"", "\"actor\":\"\",\"actor\":\"x\"", "not a JSON object"},
    {"\"actor\":\"\"", "\"actor\":null", "neither a record nor a checkpoint"},
    {"\"actor\":\"\"", "\"actor\":\"\\u0000\"", "damaged"},
    {"\"actor\":\"\"", "\"actor\":{\"hex\":\"00\"}", "neither a record nor a checkpoint"},
    {"\"actor\":\"\"", "\"actor\":{\"hex\":\"4\"}", "neither a record nor a checkpoint"},
    {"\"actor\":\"\"", "\"actor\":{\"hex\":\"41\"}", "does not match its hash"},
    {"\"id\":2", "\"id\":2.0", "neither a record nor a checkpoint"},
    {"\"id\":2", "\"id\":99999999999999999999", "not a JSON object"},
    {"\"id\":2", "\"id\":-2", "neither a record nor a checkpoint"},
    {"{\"id\":2", "[{\"id\":2", "not a JSON object"},
    {"\"records\":4", "\"records\":5", "ends with another record"},
    {"\"end\":4", "\"end\":3", "ends with another record"},
};

START_TEST(archive_forged)
{
    const char *one[] = {archive_path, NULL};
    struct found found;
    char *text, *at, *forged;
    size_t len;

    archive_to(archive_path, 4);
    text = read_archive(&len);
    at = strstr(text, forgeries[_i].from);
    ck_assert_ptr_nonnull(at);
    ck_assert_int_ge(asprintf(&forged, "%.*s%s%s", (int)(at - text), text, forgeries[_i].to,
                              at + strlen(forgeries[_i].from)),
                     0);
    OK(kl_file_write(archive_path, forged, strlen(forged), 0600, 1, &err));
    verify(one, 0, &found);
    ck_assert_msg(strstr(found.all, forgeries[_i].says) != NULL, "%s: found\n%s", forgeries[_i].to,
                  found.all);
    free(forged);
    free(text);
}
END_TEST

START_TEST(archive_huge_line)
{
    const char *one[] = {archive_path, NULL};
    struct found found;
    FILE *f;

    archive_to(archive_path, 4);
    f = fopen(archive_path, "a");
    ck_assert_ptr_nonnull(f);
    for (int i = 0; i < 100000; i++) {
        fputs("xxxxxxxxxx", f);
    }
    fclose(f);
    verify(one, 0, &found);
    ck_assert_msg(found.count == 1 && strstr(found.all, "too long") != NULL, "%s", found.all);
}
END_TEST

START_TEST(not_an_archive)
{
    static const char *const texts[] = {"",
                                        "\n",
                                        "{}\n",
                                        "[]\n",
                                        "x",
                                        ("{\"keyloader_audit\":2,\"store_id\":\"\",\"from\":1,"
                                         "\"before\":\"\"}\n")};
    struct kl_audit_check *check = NULL;
    struct found found = {0};

    OK(kl_audit_check_new(&known, on_finding, &found, &check, &err));
    FAILS(kl_audit_archive_read(archive_path, check, &err), KL_ERR_NO_FILE);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        OK(kl_file_write(archive_path, texts[i], strlen(texts[i]), 0600, 1, &err));
        FAILS(kl_audit_archive_read(archive_path, check, &err), KL_ERR_INPUT);
        SAYS("not an archive");
    }
    kl_audit_check_free(check);
}
END_TEST

/* An archive of another store, and one whose records were moved to another store's id. */
START_TEST(spliced)
{
    const char *one[] = {archive_path, NULL};
    struct found found;

    archive_to(archive_path, 4);
    kl_store_free(store);
    store = NULL;
    ck_assert_int_eq(unlink(path), 0);
    OK(kl_store_open(path, KL_STORE_CREATE, &store, &err));
    OK(kl_store_begin(store, &err));
    add_records(3);
    OK(kl_store_commit(store, &err));
    verify(one, 1, &found);
    ck_assert_ptr_nonnull(strstr(found.all, "of another store"));
}
END_TEST

/* ---- The commands ---- */

static enum kl_rc command(const char *name, ...)
{
    struct kl_ctl ctl = {.config = {.store = path}, .json = 1, .config_path = "/nonexistent"};
    char *argv[12] = {(char *)name}, out[100];
    va_list args;
    int argc = 1;

    snprintf(out, sizeof(out), "%s/out", dir);
    ck_assert_ptr_nonnull(freopen(out, "w", stdout));
    va_start(args, name);
    while (argc < 11 && (argv[argc] = va_arg(args, char *)) != NULL) {
        argc++;
    }
    va_end(args);
    for (const struct kl_ctl_command *c = kl_ctl_audit_commands; c->group; c++) {
        if (strcmp(c->name, name) == 0) {
            optind = 0;
            return c->fn(&ctl, argc, argv, &err);
        }
    }
    ck_abort_msg("no audit %s", name);
    return KL_ERR_INTERNAL;
}

START_TEST(commands)
{
    char second[110];

    snprintf(second, sizeof(second), "%s/second", dir);
    kl_store_free(store);
    store = NULL;
    FAILS(command("verify", "--store", path, "--key", second, NULL), KL_ERR_NO_FILE);
    OK(command("head", NULL));
    OK(command("verify", "--store", path, "--key", key_path, NULL));
    FAILS(command("verify", NULL), KL_ERR_NO_FILE); /* the configuration */
    FAILS(command("verify", "--store", path, "--expect", "7", NULL), KL_ERR_USAGE);
    FAILS(command("verify", "--store", path, "--expect", "7:00", NULL), KL_ERR_USAGE);
    FAILS(command("verify", "--store", path, "--key", path, NULL), KL_ERR_INPUT);
    OK(command("archive", "--out", archive_path, "--key", key_path, NULL));
    FAILS(command("archive", "--out", second, NULL), KL_ERR_NOT_FOUND);
    SAYS("nothing to archive");
    ck_assert_int_ne(access(second, F_OK), 0);
    OK(command("verify", "--archive", archive_path, "--store", path, "--key", key_path, NULL));
    OK(kl_store_open(path, KL_STORE_WRITE, &store, &err));
    tamper("UPDATE audit SET time = 0 WHERE id = 10");
    FAILS(command("verify", "--archive", archive_path, "--store", path, NULL), KL_ERR_VERIFY);
    SAYS("record 10 does not match");
}
END_TEST

/* Records that were tampered with do not go: what is left of the proof stays where it is. */
START_TEST(tampered_is_not_archived)
{
    tamper("UPDATE audit SET detail = 'x' WHERE id = 6");
    FAILS(command("archive", "--out", archive_path, NULL), KL_ERR_VERIFY);
    SAYS("record 6 does not match");
    ck_assert_int_ne(access(archive_path, F_OK), 0);
    ck_assert_int_eq(sqlite3_exec(store->db, "SELECT 1 / (count(*) = 10) FROM audit", NULL, NULL,
                                  NULL),
                     SQLITE_OK);
}
END_TEST

static TCase *trail(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);

    tcase_add_checked_fixture(tcase, begin_trail, end_trail);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("audit-check");
    TCase *chain = trail(suite, "chain"), *files = trail(suite, "archives");

    tcase_add_test(chain, untouched);
    tcase_add_loop_test(chain, tampered, 0, (int)(sizeof(tamperings) / sizeof(tamperings[0])));
    tcase_add_loop_test(chain, rewritten, 0, (int)(sizeof(rewritings) / sizeof(rewritings[0])));
    tcase_add_test(chain, beginning_cut_off);
    tcase_add_loop_test(chain, rules, 0, 7);
    tcase_add_test(chain, rules_hold);
    tcase_add_test(files, archives);
    tcase_add_test(files, archive_is_not_overwritten);
    tcase_add_test(files, archive_fails);
    tcase_add_test(files, archive_lines);
    tcase_add_test(files, archive_bytes);
    tcase_add_loop_test(files, archive_forged, 0, (int)(sizeof(forgeries) / sizeof(forgeries[0])));
    tcase_add_test(files, archive_huge_line);
    tcase_add_test(files, not_an_archive);
    tcase_add_test(files, spliced);
    tcase_add_test(files, commands);
    tcase_add_test(files, tampered_is_not_archived);
    return test_run(suite);
}
