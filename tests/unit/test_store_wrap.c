/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Storage keys by generation: who may use a store under which key, its cryptograms row by row, and
 * a rotation that is begun, cut off, gone on with and ended. The cryptograms here are none.
 */
#include "daemon/store/store_wrap.h"

#include "tests/unit/store_fixture.h"

static struct kl_wrap_state state(void)
{
    struct kl_wrap_state out;

    OK(kl_store_wrap_state(store, &out, &err));
    return out;
}

static struct kl_tmk a_tmk_of(const char *serial, uint32_t version, enum kl_tmk_state tmk_state,
                              uint8_t seed)
{
    struct kl_tmk tmk = a_tmk(serial, version);

    tmk.state = tmk_state;
    tmk.cryptogram[0] = seed;
    tmk.activated = tmk_state == KL_TMK_PENDING ? 0 : 1;
    return tmk;
}

static void add_tmk(const char *serial, uint32_t version, enum kl_tmk_state tmk_state, uint8_t seed)
{
    struct kl_tmk tmk = a_tmk_of(serial, version, tmk_state, seed);

    OK(kl_store_tmk_add(store, &tmk, &err));
}

static struct kl_stored_key a_key(uint8_t seed)
{
    struct kl_tmk tmk = a_tmk_of("A", 1, KL_TMK_ACTIVE, seed);

    return kl_tmk_key(&tmk);
}

/* Three terminals: TMKs, one of them destroyed; a waiting import; working keys. Rows: 5. */
static void populate(void)
{
    struct kl_working working = {.serial = "A",
                                 .tmk_version = 2,
                                 .pik = a_key(20),
                                 .mak = a_key(21)};
    struct kl_import import = {.serial = "C", .key = a_key(30), .origin = "components"};

    OK(kl_store_begin(store, &err));
    OK(add_terminal(store, "A"));
    OK(add_terminal(store, "B"));
    OK(add_terminal(store, "C"));
    OK(kl_store_wrap_adopt(store, "one", &err));
    add_tmk("A", 1, KL_TMK_SUPERSEDED, 1);
    add_tmk("A", 2, KL_TMK_ACTIVE, 2);
    add_tmk("B", 1, KL_TMK_PENDING, 3);
    add_tmk("B", 2, KL_TMK_PENDING, 4);
    OK(kl_store_tmk_set_state(store, "B", 2, KL_TMK_DESTROYED, 0, 0, &err));
    OK(kl_store_working_put(store, &working, &err));
    OK(kl_store_import_put(store, &import, &err));
    OK(kl_store_commit(store, &err));
}

static uint64_t count(uint32_t generation)
{
    uint64_t out;

    OK(kl_store_wrapped_count(store, generation, &out, &err));
    return out;
}

/* ---- Who may use it ---- */

START_TEST(the_label)
{
    ck_assert_uint_eq(state().generation, 1);
    ck_assert_str_eq(state().label, "");
    OK(kl_store_wrap_check(store, "any", &err)); /* nobody has said yet */
    OK(kl_store_wrap_start(store, "one", &err));
    ck_assert_str_eq(state().label, "one");
    OK(kl_store_wrap_start(store, "one", &err));
    FAILS(kl_store_wrap_start(store, "two", &err), KL_ERR_CONFIG);
    SAYS("\"one\"");
    FAILS(kl_store_wrap_check(store, "two", &err), KL_ERR_CONFIG);
    reopen(KL_STORE_READ);
    OK(kl_store_wrap_check(store, "one", &err));
    OK(kl_store_wrap_start(store, "one", &err)); /* which needs no writing */
}
END_TEST

START_TEST(nobody_in_the_middle)
{
    populate();
    OK(kl_store_begin(store, &err));
    FAILS(kl_store_rotation_begin(store, "one", "one", &err), KL_ERR_REFUSED);
    OK(kl_store_rotation_begin(store, "one", "two", &err));
    OK(kl_store_rotation_begin(store, "one", "two", &err)); /* goes on */
    FAILS(kl_store_rotation_begin(store, "one", "three", &err), KL_ERR_REFUSED);
    OK(kl_store_commit(store, &err));
    reopen(KL_STORE_WRITE);
    FAILS(kl_store_wrap_check(store, "one", &err), KL_ERR_STORE);
    FAILS(kl_store_wrap_check(store, "two", &err), KL_ERR_STORE);
    SAYS("rotate-key --to two");
    OK(kl_store_begin(store, &err));
    FAILS(kl_store_wrap_adopt(store, "one", &err), KL_ERR_STORE);
    FAILS(kl_store_rotation_end(store, &err), KL_ERR_STORE);
    SAYS("5 rows");
}
END_TEST

/* ---- Rows ---- */

START_TEST(every_row_once)
{
    static const struct {
        enum kl_binding_kind kind;
        const char *serial;
        uint32_t version;
    } expected[] = {{KL_BINDING_TMK, "A", 1},
                    {KL_BINDING_TMK, "A", 2},
                    {KL_BINDING_TMK, "B", 1},
                    {KL_BINDING_PIK, "A", 2},
                    {KL_BINDING_IMPORT, "C", 0}};
    struct kl_wrapped rows[5], *last = NULL;
    size_t n = 1, at = 0;

    populate();
    ck_assert_uint_eq(count(0), 5);
    ck_assert_uint_eq(count(1), 5);
    ck_assert_uint_eq(count(2), 0);
    /* _i + 1 at a time */
    for (; n > 0; at += n) {
        OK(kl_store_wrapped(store, 1, last, rows, (size_t)_i + 1, &n, &err));
        for (size_t i = 0; i < n; i++) {
            ck_assert_uint_lt(at + i, 5);
            ck_assert_int_eq(rows[i].kind, expected[at + i].kind);
            ck_assert_str_eq(rows[i].serial, expected[at + i].serial);
            ck_assert_uint_eq(rows[i].version, expected[at + i].version);
            ck_assert_uint_eq(rows[i].count, rows[i].kind == KL_BINDING_PIK ? 2 : 1);
        }
        last = n > 0 ? &rows[n - 1] : NULL;
    }
    ck_assert_uint_eq(at, 5);
    ck_assert_int_eq(kl_wrapped_kind(&(struct kl_wrapped){.kind = KL_BINDING_PIK}, 1),
                     KL_BINDING_MAK);
}
END_TEST

/* ---- Rotation ---- */

static struct kl_wrapped turned(const struct kl_wrapped *row)
{
    struct kl_wrapped out = *row;

    for (size_t i = 0; i < out.count; i++) {
        out.keys[i].cryptogram[1] ^= 0xff;
        out.keys[i].binding[0] ^= 0xff;
    }
    return out;
}

/* At most max rows. */
static void turn(size_t max)
{
    struct kl_wrapped rows[8], after;
    size_t n = 0;
    int done = 0;

    OK(kl_store_wrapped(store, 1, NULL, rows, max, &n, &err));
    OK(kl_store_begin(store, &err));
    for (size_t i = 0; i < n; i++) {
        after = turned(&rows[i]);
        OK(kl_store_rotation_put(store, &rows[i], &after, &done, &err));
        ck_assert(done);
        OK(kl_store_rotation_put(store, &rows[i], &after, &done, &err));
        ck_assert(!done); /* it is no longer what it was */
    }
    OK(kl_store_commit(store, &err));
}

START_TEST(from_one_to_two)
{
    struct kl_stored_key key = a_key(2);
    struct kl_wrap_needs needs;
    struct kl_holder holder;
    struct kl_working working;
    uint32_t retired[4];
    uint8_t digest[KL_HASH_LEN];
    size_t n = 9;

    populate();
    OK(kl_store_begin(store, &err));
    OK(kl_store_rotation_begin(store, "one", "two", &err));
    OK(kl_store_commit(store, &err));
    turn(2);
    reopen(KL_STORE_WRITE); /* cut off */
    ck_assert_uint_eq(count(1), 3);
    ck_assert_uint_eq(count(2), 2);
    OK(kl_store_wrap_needs(store, "two", &needs, &err));
    ck_assert(needs.rotating && needs.known && needs.live == 2);
    turn(8);
    OK(kl_store_begin(store, &err));
    OK(kl_store_rotation_end(store, &err));
    FAILS(kl_store_rotation_end(store, &err), KL_ERR_INTERNAL);
    OK(kl_store_commit(store, &err));
    ck_assert_uint_eq(state().generation, 2);
    ck_assert_str_eq(state().label, "two");
    OK(kl_store_wrap_check(store, "two", &err));
    FAILS(kl_store_wrap_check(store, "one", &err), KL_ERR_CONFIG);
    ck_assert_uint_eq(count(2), 5);
    OK(kl_store_working_get(store, "A", &working, &err));
    ck_assert_uint_eq(working.mak.cryptogram[1], 0xc7 ^ 0xff);

    /* A live key is known by its new cryptogram, a destroyed one by its old. */
    FAILS(kl_store_key_holder(store, "C", 1, key.cryptogram, key.cryptogram_len, &holder, &err),
          KL_ERR_NOT_FOUND);
    key.cryptogram[1] ^= 0xff;
    OK(kl_store_key_holder(store, "C", 1, key.cryptogram, key.cryptogram_len, &holder, &err));
    ck_assert_str_eq(holder.serial, "A");
    key = a_key(4);
    OK(kl_store_key_digest(&key, digest, &err));
    OK(kl_store_digest_holder(store, "A", digest, &holder, &err));
    ck_assert_str_eq(holder.serial, "B");
    ck_assert_uint_eq(holder.version, 2);
    FAILS(kl_store_digest_holder(store, "B", digest, &holder, &err), KL_ERR_NOT_FOUND);

    OK(kl_store_wrap_retired(store, retired, 4, &n, &err));
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(retired[0], 1);
    OK(kl_store_wrap_needs(store, "one", &needs, &err));
    ck_assert(!needs.rotating && needs.live == 0 && needs.digests == 1);
    ck_assert(needs.known && !needs.current);
    OK(kl_store_wrap_needs(store, "two", &needs, &err));
    ck_assert(!needs.rotating && needs.live == 5 && needs.digests == 0);
    ck_assert(needs.known && needs.current);
    OK(kl_store_wrap_needs(store, "three", &needs, &err));
    ck_assert(!needs.rotating && needs.live == 0 && needs.digests == 0);
    ck_assert(!needs.known && !needs.current);

    /* What comes from now on is under the new one; and nobody goes back. */
    OK(kl_store_begin(store, &err));
    add_tmk("C", 1, KL_TMK_PENDING, 50);
    ck_assert_uint_eq(count(2), 6);
    FAILS(kl_store_rotation_begin(store, "two", "one", &err), KL_ERR_REFUSED);
    SAYS("was once");
    OK(kl_store_rotation_begin(store, "two", "three", &err));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("storage keys by generation");
    TCase *tcase = group(suite, "wrap");

    tcase_add_test(tcase, the_label);
    tcase_add_test(tcase, nobody_in_the_middle);
    tcase_add_loop_test(tcase, every_row_once, 0, 5);
    tcase_add_test(tcase, from_one_to_two);
    return test_run(suite);
}
