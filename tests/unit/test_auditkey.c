/* SPDX-License-Identifier: BSD-2-Clause */
/* The audit key, in a SoftHSM: what it is, that it signs, and which keys are refused as one. */
#include <check.h>
#include <string.h>

#include "pkcs11/auditkey.h"
#include "pkcs11/keys.h"
#include "proto/pubkey.h"
#include "tests/support/hsm.h"
#include "tests/support/suite.h"

static struct test_token hsm;
static struct kl_err err;

#define OK(call) ck_assert_msg((call) == KL_OK, "%s: %s", #call, err.text)

static void setup(void)
{
    test_token_open(&hsm, NULL);
}

static void teardown(void)
{
    test_token_close(&hsm);
}

START_TEST(signs)
{
    static const uint8_t text[] = "what is signed";
    uint8_t signature[KL_AUDIT_SIGNATURE_MAX], hash[KL_HASH_LEN];
    struct kl_audit_key *key = NULL;
    EVP_PKEY *public_key = NULL;
    enum kl_key_type type;
    unsigned bits;
    size_t len;

    ck_assert_int_eq(kl_audit_key_open(hsm.session, "audit", &key, &err), KL_ERR_KEY);
    OK(kl_audit_key_generate(hsm.session, "audit", &public_key, &err));
    OK(kl_pubkey_type(public_key, &type, &bits, &err));
    ck_assert_int_eq(type, KL_KEY_EC);
    ck_assert_uint_eq(bits, 256);
    OK(kl_audit_key_open(hsm.session, "audit", &key, &err));
    ck_assert_int_eq(EVP_PKEY_eq(public_key, kl_audit_key_public(key)), 1);
    OK(kl_pubkey_hash(public_key, hash, &err));
    ck_assert_mem_eq(hash, kl_audit_key_hash(key), sizeof(hash));
    OK(kl_audit_key_sign(key, text, sizeof(text), signature, &len, &err));
    OK(kl_pubkey_verify(public_key, signature, len, text, sizeof(text), &err));
    signature[5] ^= 1;
    ck_assert_int_eq(kl_pubkey_verify(public_key, signature, len, text, sizeof(text), &err),
                     KL_ERR_VERIFY);
    kl_audit_key_close(key);
    EVP_PKEY_free(public_key);
    public_key = NULL;
    ck_assert_int_eq(kl_audit_key_generate(hsm.session, "audit", &public_key, &err), KL_ERR_EXISTS);
}
END_TEST

/* RSA, where a token has no EC. */
START_TEST(rsa)
{
    static const uint8_t text[] = "what is signed";
    uint8_t signature[KL_AUDIT_SIGNATURE_MAX];
    struct kl_audit_key *key = NULL;
    EVP_PKEY *public_key = NULL;
    size_t len;

    OK(kl_pair_generate(hsm.session, KL_PAIR_AUDIT, "audit", KL_KEY_RSA, 3072, &public_key, &err));
    OK(kl_audit_key_open(hsm.session, "audit", &key, &err));
    OK(kl_audit_key_sign(key, text, sizeof(text), signature, &len, &err));
    ck_assert_uint_eq(len, 384);
    OK(kl_pubkey_verify(public_key, signature, len, text, sizeof(text), &err));
    kl_audit_key_close(key);
    EVP_PKEY_free(public_key);
}
END_TEST

/* A work key can do more than sign: as an audit key it is refused. */
START_TEST(other_roles)
{
    struct kl_audit_key *key = NULL;
    EVP_PKEY *public_key = NULL;

    OK(kl_pair_generate(hsm.session, KL_PAIR_WORK_EC, "work", KL_KEY_EC, 256, &public_key, &err));
    ck_assert_int_eq(kl_audit_key_open(hsm.session, "work", &key, &err), KL_ERR_KEY);
    ck_assert_ptr_nonnull(strstr(err.text, "CKA_DERIVE"));
    EVP_PKEY_free(public_key);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("auditkey");
    TCase *tcase = tcase_create("auditkey");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, signs);
    tcase_add_test(tcase, rsa);
    tcase_add_test(tcase, other_roles);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
