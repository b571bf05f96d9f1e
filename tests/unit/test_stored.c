/* SPDX-License-Identifier: BSD-2-Clause */
/* pkcs11/stored: stored keys opened, checked, and put under another storage key, in the token. */
#include "pkcs11/stored.h"

#include <check.h>

#include "pkcs11/keys.h"
#include "pkcs11/ops.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

#define OWNER "T-1"

static struct kl_err err = KL_ERR_INIT;
static CK_OBJECT_HANDLE storage, next, binding;

static void setup(void)
{
    p11_open();
    p11_make_store_keys();
    ck_ok(kl_storage_key_generate(hsm.session, "next", &err));
    ck_ok(kl_storage_key_find(hsm.session, p11_config.storage_key, &storage, &err));
    ck_ok(kl_storage_key_find(hsm.session, "next", &next, &err));
    ck_ok(kl_binding_key_find(hsm.session, p11_config.binding_key, &binding, &err));
}

static void teardown(void)
{
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
    p11_close();
}

static struct kl_binding_of of(const struct kl_stored_key *key)
{
    return (struct kl_binding_of){KL_BINDING_TMK, OWNER, 7, key};
}

static struct kl_stored_key a_key(int i)
{
    return p11_stored_key((enum kl_alg)(i + 1), NULL, KL_BINDING_TMK, OWNER, 7);
}

static enum kl_rc check(const struct kl_stored_key *key, CK_OBJECT_HANDLE under)
{
    const struct kl_binding_of what = of(key);

    return kl_stored_key_check(hsm.session, under, binding, &what, &err);
}

/* The same key, known by its KCV of 4 bytes and by what it is under either key. */
START_TEST(rewrapped)
{
    struct kl_stored_key key = a_key(_i), fresh = {0}, back, direct;
    struct kl_binding_of what = of(&key);

    ck_ok(check(&key, storage));
    ck_ok(kl_stored_key_rewrap(hsm.session, storage, next, binding, &what, &fresh, &err));
    ck_assert_int_eq(fresh.alg, key.alg);
    ck_assert_uint_eq(fresh.cryptogram_len, key.cryptogram_len);
    ck_assert_mem_ne(fresh.cryptogram, key.cryptogram, key.cryptogram_len);
    ck_assert_mem_ne(fresh.binding, key.binding, KL_MAC_LEN);
    ck_ok(check(&fresh, next));
    ck_rc(check(&fresh, storage), KL_ERR_STORE);
    ck_rc(check(&key, next), KL_ERR_STORE);
    ck_ok(kl_stored_key_under(hsm.session, storage, next, &key, &direct, &err));
    ck_assert_mem_eq(direct.cryptogram, fresh.cryptogram, fresh.cryptogram_len);
    what = of(&fresh);
    ck_ok(kl_stored_key_rewrap(hsm.session, next, storage, binding, &what, &fresh, &err));
    back = fresh; /* in place */
    ck_assert_mem_eq(back.cryptogram, key.cryptogram, key.cryptogram_len);
    ck_assert_mem_eq(back.binding, key.binding, KL_MAC_LEN);
}
END_TEST

/* Whatever is not as it was stored stays where it is. */
START_TEST(refused)
{
    struct kl_stored_key key = a_key(2), out = {0}, none = {0};
    struct kl_binding_of what = of(&key);

    switch (_i) {
    case 0:
        what.serial = "T-2";
        break;
    case 1:
        what.version = 8;
        break;
    case 2:
        what.kind = KL_BINDING_PIK;
        break;
    case 3: /* bound, but of another KCV */
        key.kcv[1] ^= 1;
        p11_bind(&key, KL_BINDING_TMK, OWNER, 7);
        break;
    case 4: /* bound, but no cryptogram of the storage key's */
        key.cryptogram[9] ^= 1;
        p11_bind(&key, KL_BINDING_TMK, OWNER, 7);
        break;
    default:
        key.binding[15] ^= 1;
        break;
    }
    ck_rc(kl_stored_key_rewrap(hsm.session, storage, next, binding, &what, &out, &err),
          KL_ERR_STORE);
    ck_assert_mem_eq(&out, &none, sizeof(out));
    ck_rc(kl_stored_key_check(hsm.session, storage, binding, &what, &err), KL_ERR_STORE);
    ck_says(what.serial);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stored keys");
    TCase *tcase = tcase_create("stored");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, rewrapped, 0, KL_ALG_COUNT);
    tcase_add_loop_test(tcase, refused, 0, 6);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
