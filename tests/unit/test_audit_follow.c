/* SPDX-License-Identifier: BSD-2-Clause */
/* Who follows the trail notices that it was rewritten, however well, and does not move on. */
#include "daemon/audit/audit_follow.h"
#include "tests/unit/audit_fixture.h"

static struct kl_audit_place place;

static void add(int count)
{
    OK(kl_store_begin(store, &err));
    add_records(count);
    OK(kl_store_commit(store, &err));
}

static void take_up(void)
{
    struct kl_checkpoint checkpoint = {.id = 0};
    struct kl_audit_state state;
    enum kl_rc rc = kl_store_checkpoint_last(store, 0, &checkpoint, &err);

    ck_assert(rc == KL_OK || rc == KL_ERR_NOT_FOUND);
    err = (struct kl_err)KL_ERR_INIT;
    OK(kl_store_audit_state(store, &state, &err));
    kl_audit_follow_begin(&state, &checkpoint, &place);
}

static enum kl_rc follow(uint64_t most)
{
    struct kl_audit_state state;

    OK(kl_store_audit_state(store, &state, &err));
    return kl_audit_follow(store, &state, &place, most, &err);
}

/* At the head, whose number is `id`. */
static void stands_at(uint64_t id)
{
    uint8_t hash[KL_HASH_LEN];
    uint64_t last;

    OK(kl_store_audit_head(store, &last, hash, &err));
    ck_assert_uint_eq(last, id);
    ck_assert_uint_eq(place.id, id);
    ck_assert_mem_eq(place.hash, hash, KL_HASH_LEN);
}

/* A checkpoint at the head; nobody here looks at its signature. */
static void add_checkpoint(void)
{
    struct kl_checkpoint checkpoint = {.time = 77, .signature_len = 64};

    OK(kl_store_audit_head(store, &checkpoint.id, checkpoint.hash, &err));
    OK(kl_store_begin(store, &err));
    OK(kl_store_checkpoint_add(store, &checkpoint, &err));
    OK(kl_store_commit(store, &err));
}

static void begin(void)
{
    setup();
    take_up();
    stands_at(0);
}

START_TEST(grows)
{
    OK(follow(10)); /* there is nothing yet */
    stands_at(0);
    add(4);
    OK(follow(10));
    stands_at(4);
    OK(follow(10));
    stands_at(4);
    add(5);
    OK(follow(2)); /* in several looks */
    ck_assert_uint_eq(place.id, 6);
    OK(follow(3));
    stands_at(9);
}
END_TEST

/* A daemon that starts again begins at the last checkpoint; without one, behind the archives. */
START_TEST(begins_again)
{
    uint64_t count;
    struct kl_checkpoint checkpoint;

    add(3);
    add_checkpoint();
    add(2);
    take_up();
    ck_assert_uint_eq(place.id, 3);
    OK(follow(10));
    stands_at(5);
    OK(kl_store_checkpoint_last(store, 0, &checkpoint, &err));
    OK(kl_store_begin(store, &err));
    OK(kl_store_audit_archived(store, &checkpoint, &count, &err));
    OK(kl_store_commit(store, &err));
    OK(follow(10)); /* records before it have left */
    stands_at(5);
    take_up();
    ck_assert_uint_eq(place.id, 3);
    OK(follow(10));
    stands_at(5);
    tamper("DELETE FROM audit_checkpoint");
    take_up();
    ck_assert_uint_eq(place.id, 3);
    OK(follow(10));
    stands_at(5);
}
END_TEST

static const struct {
    const char *sql;
    int recompute;
    const char *says;
} tamperings[] = {
    {"UPDATE audit SET detail = '' WHERE id = 3", 1, "record 4 of the audit trail is not the one"},
    {"UPDATE audit SET detail = '' WHERE id = 3; DELETE FROM audit_checkpoint", 1,
     "record 4 of the audit trail is not the one"},
    {"DELETE FROM audit WHERE id >= 4; UPDATE sqlite_sequence SET seq = 3 WHERE name = 'audit'", 0,
     "record 4 of the audit trail is not the one"},
    {"DELETE FROM audit WHERE id = 4", 0, "record 4 of the audit trail is not the one"},
    {"DELETE FROM audit", 0, "record 4 of the audit trail is not the one"},
    {"UPDATE audit_state SET archived_to = 4, archived_hash = zeroblob(32)", 0,
     "record 4 of the audit trail is not the one"},
    {"UPDATE audit SET detail = '' WHERE id = 6", 0, "record 6 of the audit trail does not follow"},
    {"UPDATE audit SET hash = zeroblob(32) WHERE id = 5", 0,
     "record 5 of the audit trail does not follow"},
    {"DELETE FROM audit WHERE id = 5", 0, "record 6 of the audit trail does not follow record 4"},
    {"UPDATE audit SET hash = x'00' WHERE id = 5", 0, "row 5 of table audit is damaged"},
};

/* Four records were seen, three more are there. */
START_TEST(tampered)
{
    struct kl_audit_place before;

    add(4);
    OK(follow(10));
    add_checkpoint();
    add(3);
    before = place;
    tamper(tamperings[_i].sql);
    if (tamperings[_i].recompute) {
        recompute();
    }
    FAILS(follow(10), KL_ERR_VERIFY);
    SAYS(tamperings[_i].says);
    ck_assert_mem_eq(&place, &before, sizeof(place));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("audit_follow");
    TCase *tc = tcase_create("audit_follow");

    tcase_add_checked_fixture(tc, begin, teardown);
    tcase_add_test(tc, grows);
    tcase_add_test(tc, begins_again);
    tcase_add_loop_test(tc, tampered, 0, (int)(sizeof(tamperings) / sizeof(tamperings[0])));
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
