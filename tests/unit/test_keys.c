/* SPDX-License-Identifier: BSD-2-Clause */
/* pkcs11/keys: key pairs, how they are made, and which are refused. */
#include "pkcs11/keys.h"

#include <check.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <string.h>

#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "pkcs11/tmpl.h"
#include "proto/pubkey.h"
#include "tests/support/fake_p11.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

static struct kl_err err = KL_ERR_INIT;

static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

static CK_OBJECT_HANDLE find(CK_OBJECT_CLASS class, const char *name)
{
    CK_ATTRIBUTE query[] = {{CKA_CLASS, &class, sizeof(class)},
                            {CKA_LABEL, (void *)name, strlen(name)}};
    CK_OBJECT_HANDLE handles[2] = {CK_INVALID_HANDLE, CK_INVALID_HANDLE};
    CK_ULONG count = 0;

    ck_assert_uint_eq(hsm.f->C_FindObjectsInit(hsm.s, query, 2), CKR_OK);
    ck_assert_uint_eq(hsm.f->C_FindObjects(hsm.s, handles, 2, &count), CKR_OK);
    ck_assert_uint_eq(hsm.f->C_FindObjectsFinal(hsm.s), CKR_OK);
    ck_assert_uint_le(count, 1);
    return handles[0];
}

/* Each role, as what its keys may do: nothing but this. */
static const struct {
    enum kl_pair_role role;
    enum kl_key_type type;
    unsigned bits;
    unsigned private_can, public_can;
    const char *as_another; /* says who finds it as the next role */
} roles[] = {
    {KL_PAIR_WORK, KL_KEY_RSA, 2048, KL_CAN_UNWRAP | KL_CAN_SIGN, KL_CAN_WRAP | KL_CAN_VERIFY,
     "CKA_DECRYPT is false"},
    {KL_PAIR_WORK_CLASSIC, KL_KEY_RSA, 2048, KL_CAN_DECRYPT | KL_CAN_SIGN,
     KL_CAN_ENCRYPT | KL_CAN_VERIFY, "CKA_DECRYPT is true"},
    {KL_PAIR_WORK_EC, KL_KEY_EC, 256, KL_CAN_DERIVE | KL_CAN_SIGN, KL_CAN_VERIFY,
     "CKA_DERIVE is true"},
    {KL_PAIR_WORK_EC, KL_KEY_EC, 384, KL_CAN_DERIVE | KL_CAN_SIGN, KL_CAN_VERIFY,
     "CKA_DERIVE is true"},
    {KL_PAIR_WORK_EC, KL_KEY_EC, 521, KL_CAN_DERIVE | KL_CAN_SIGN, KL_CAN_VERIFY,
     "CKA_DERIVE is true"},
    {KL_PAIR_CA, KL_KEY_RSA, 2048, KL_CAN_SIGN, KL_CAN_VERIFY, "CKA_SIGN is true"},
    {KL_PAIR_CA, KL_KEY_EC, 384, KL_CAN_SIGN, KL_CAN_VERIFY, "CKA_SIGN is true"},
    {KL_PAIR_TRANSPORT, KL_KEY_RSA, 2048, KL_CAN_UNWRAP, KL_CAN_WRAP, "CKA_SIGN is false"},
    {KL_PAIR_DEVICE, KL_KEY_RSA, 2048, KL_CAN_SIGN, KL_CAN_VERIFY, "CKA_UNWRAP is false"},
    {KL_PAIR_DEVICE, KL_KEY_EC, 256, KL_CAN_SIGN, KL_CAN_VERIFY, "CKA_UNWRAP is false"},
};
#define ROLES 10

static unsigned uses(CK_OBJECT_HANDLE key, int private)
{
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        unsigned can;
        int private;
    } flags[] = {{CKA_ENCRYPT, KL_CAN_ENCRYPT, 0}, {CKA_VERIFY, KL_CAN_VERIFY, 0},
                 {CKA_WRAP, KL_CAN_WRAP, 0},       {CKA_DECRYPT, KL_CAN_DECRYPT, 1},
                 {CKA_SIGN, KL_CAN_SIGN, 1},       {CKA_UNWRAP, KL_CAN_UNWRAP, 1},
                 {CKA_DERIVE, KL_CAN_DERIVE, 1}};
    unsigned set = 0;

    for (int i = 0; i < 7; i++) {
        if (flags[i].private == private) {
            set |= p11_flag(key, flags[i].type) ? flags[i].can : 0;
        }
    }
    return set;
}

START_TEST(pairs_are_made_by_role)
{
    enum kl_pair_role role = roles[_i].role;
    EVP_PKEY *key = NULL, *found_key = NULL;
    CK_OBJECT_HANDLE private, public, found;
    CK_BBOOL value = CK_TRUE;
    CK_ATTRIBUTE decrypt = {CKA_ENCRYPT, &value, 1};

    ck_ok(kl_pair_generate(hsm.session, role, "k", roles[_i].type, roles[_i].bits, &key, &err));
    ck_ok(kl_pair_find(hsm.session, role, "k", &found, &found_key, &err));
    ck_assert_int_eq(EVP_PKEY_eq(key, found_key), 1);
    ck_assert_int_eq(EVP_PKEY_get_bits(key), (int)roles[_i].bits);
    private = find(CKO_PRIVATE_KEY, "k");
    public = find(CKO_PUBLIC_KEY, "k");
    ck_assert_uint_eq(private, found);
    ck_assert(p11_flag(private, CKA_SENSITIVE) && p11_flag(private, CKA_PRIVATE));
    ck_assert(!p11_flag(private, CKA_EXTRACTABLE) && !p11_flag(private, CKA_SIGN_RECOVER));
    ck_assert(!p11_flag(private, CKA_MODIFIABLE) && !p11_flag(public, CKA_PRIVATE));
    ck_assert(p11_flag(private, CKA_LOCAL) && p11_flag(private, CKA_NEVER_EXTRACTABLE));
    ck_assert_uint_eq(uses(private, 1), roles[_i].private_can);
    ck_assert_uint_eq(uses(public, 0), roles[_i].public_can);
    ck_assert(!p11_flag(public, CKA_VERIFY_RECOVER) && !p11_flag(public, CKA_DERIVE));
    /* Powers cannot be added afterwards. */
    ck_assert_uint_ne(hsm.f->C_SetAttributeValue(hsm.s, private, &decrypt, 1), CKR_OK);
    /* Each role's key is refused as another. */
    EVP_PKEY_free(found_key);
    found_key = NULL;
    ck_rc(kl_pair_find(hsm.session, role == KL_PAIR_DEVICE ? KL_PAIR_WORK : role + 1, "k", &found,
                       &found_key, &err),
          KL_ERR_KEY);
    ck_says(roles[_i].as_another);
    ck_assert_ptr_null(found_key);
    ck_rc(kl_pair_generate(hsm.session, role, "k", roles[_i].type, roles[_i].bits, &found_key,
                           &err),
          KL_ERR_EXISTS);
    ck_ok(kl_pair_destroy(hsm.session, "k", &err));
    ck_assert_uint_eq(find(CKO_PRIVATE_KEY, "k"), CK_INVALID_HANDLE);
    ck_assert_uint_eq(find(CKO_PUBLIC_KEY, "k"), CK_INVALID_HANDLE);
    ck_rc(kl_pair_destroy(hsm.session, "k", &err), KL_ERR_KEY);
    EVP_PKEY_free(key);
}
END_TEST

/* What a work key may do says which suite's it is; keys that are no work key are none's. */
START_TEST(work_keys_tell_their_suite)
{
    EVP_PKEY *key = NULL;
    CK_OBJECT_HANDLE found;
    enum kl_suite suite = (enum kl_suite)0;

    for (int i = 0; i < ROLES; i++) {
        char label[8] = {'k', (char)('0' + i)};
        enum kl_rc rc = roles[i].role <= KL_PAIR_WORK_EC ? KL_OK : KL_ERR_KEY;

        ck_ok(kl_pair_generate(hsm.session, roles[i].role, label, roles[i].type, roles[i].bits,
                               &key, &err));
        EVP_PKEY_free(key);
        key = NULL;
        ck_rc(kl_pair_find_work(hsm.session, label, &suite, &found, &key, &err), rc);
        if (rc == KL_OK) {
            ck_assert_int_eq(kl_pair_role_of(suite), roles[i].role);
            ck_assert_int_eq(kl_suite_key_type(suite), roles[i].type);
        }
        EVP_PKEY_free(key);
        key = NULL;
    }
    ck_rc(kl_pair_find_work(hsm.session, "none", &suite, &found, &key, &err), KL_ERR_KEY);
    ck_says("work key \"none\"");
}
END_TEST

/* Keys of a type or size that the role, or anybody, does not have. */
START_TEST(kinds_of_keys_that_are_not_made)
{
    static const struct {
        enum kl_pair_role role;
        enum kl_key_type type;
        unsigned bits;
        const char *says;
    } bad[] = {
        {KL_PAIR_WORK, KL_KEY_EC, 256, "P-256 cannot be a work key: that must be RSA"},
        {KL_PAIR_WORK_CLASSIC, KL_KEY_EC, 521, "must be RSA"},
        {KL_PAIR_WORK_EC, KL_KEY_RSA, 3072, "RSA-3072 cannot be a work key of hardened-ec"},
        {KL_PAIR_TRANSPORT, KL_KEY_EC, 384, "must be RSA"},
        {KL_PAIR_CA, KL_KEY_EC, 224, "P-256, P-384 or P-521"},
        {KL_PAIR_CA, KL_KEY_EC, 0, "P-256, P-384 or P-521"},
        {KL_PAIR_DEVICE, KL_KEY_RSA, 1024, "2048, 3072 or 4096"},
        {KL_PAIR_DEVICE, KL_KEY_AES, 256, "EC key"},
    };
    EVP_PKEY *key = NULL;

    for (int i = 0; i < 8; i++) {
        ck_rc(kl_pair_generate(hsm.session, bad[i].role, "k", bad[i].type, bad[i].bits, &key, &err),
              KL_ERR_INPUT);
        ck_says(bad[i].says);
    }
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_GenerateKeyPair), 0);
}
END_TEST

/* Made by hand as an EC work key in all but its curve. */
START_TEST(ec_key_on_another_curve)
{
    static const uint8_t secp256k1[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a};
    CK_MECHANISM mechanism = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE public[] = {{CKA_TOKEN, (void *)&yes, 1},
                             {CKA_LABEL, (char[]){"k"}, 1},
                             {CKA_EC_PARAMS, (void *)secp256k1, sizeof(secp256k1)}};
    CK_ATTRIBUTE private[] = {
        {CKA_TOKEN, (void *)&yes, 1},      {CKA_PRIVATE, (void *)&yes, 1},
        {CKA_LABEL, (char[]){"k"}, 1},     {CKA_SENSITIVE, (void *)&yes, 1},
        {CKA_EXTRACTABLE, (void *)&no, 1}, {CKA_DERIVE, (void *)&yes, 1},
        {CKA_SIGN, (void *)&yes, 1},       {CKA_UNWRAP, (void *)&no, 1},
        {CKA_DECRYPT, (void *)&no, 1},     {CKA_SIGN_RECOVER, (void *)&no, 1},
    };
    CK_OBJECT_HANDLE handles[2], found;
    EVP_PKEY *key = NULL;

    ck_assert_uint_eq(hsm.f->C_GenerateKeyPair(hsm.s, &mechanism, public, 3, private, 10,
                                               &handles[0], &handles[1]),
                      CKR_OK);
    ck_rc(kl_pair_find(hsm.session, KL_PAIR_WORK_EC, "k", &found, &key, &err), KL_ERR_KEY);
    ck_says("CKA_EC_PARAMS");
}
END_TEST

/* CKA_EC_POINT as modules have it, and as none should. */
START_TEST(points_in_either_form)
{
    static const struct {
        size_t skip, len; /* of the DER, from its beginning; len 0 = to its end */
        int at, add;      /* a byte that is changed */
        enum kl_rc rc;
    } points[] = {
        {0, 0, -1, 0, KL_OK},       /* in an OCTET STRING */
        {2, 0, -1, 0, KL_OK},       /* bare */
        {0, 66, -1, 0, KL_ERR_KEY}, /* cut */
        {2, 64, -1, 0, KL_ERR_KEY}, /* cut */
        {1, 0, -1, 0, KL_ERR_KEY},  /* without its tag */
        {0, 0, 0, 1, KL_ERR_KEY},   /* another tag */
        {0, 0, 1, -1, KL_ERR_KEY},  /* another length */
        {0, 0, 2, -1, KL_ERR_KEY},  /* compressed, by its first byte */
        {0, 0, 66, 1, KL_ERR_KEY},  /* not on the curve */
        {2, 33, -1, 0, KL_ERR_KEY}, /* as long as a compressed one */
    };
    const struct kl_curve *curve = kl_curve_by_bits(256);
    uint8_t point[KL_EC_POINT_MAX], der[KL_EC_POINT_DER_MAX];
    CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    CK_KEY_TYPE type = CKK_EC;
    CK_ATTRIBUTE attrs[] = {
        {CKA_CLASS, &class, sizeof(class)},
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, (void *)&no, 1},
        {CKA_PRIVATE, (void *)&no, 1},
        {CKA_EC_PARAMS, (void *)curve->oid, curve->oid_len},
        {CKA_EC_POINT, der + points[_i].skip, 0},
    };
    CK_OBJECT_HANDLE handle;
    EVP_PKEY *key = EVP_EC_gen("P-256"), *same = NULL;
    size_t len = 0;

    ck_ok(kl_ec_to_point(key, point, &len, &err));
    ck_assert_uint_eq(kl_ec_point_der(point, len, der), 67);
    if (points[_i].at >= 0) {
        der[points[_i].at] = (uint8_t)(der[points[_i].at] + points[_i].add);
    }
    attrs[5].ulValueLen = points[_i].len ? points[_i].len : 67 - points[_i].skip;
    ck_assert_uint_eq(hsm.f->C_CreateObject(hsm.s, attrs, 6, &handle), CKR_OK);
    ck_rc(kl_object_ec_public(hsm.session, handle, &same, &err), points[_i].rc);
    if (points[_i].rc == KL_OK) {
        ck_assert_int_eq(EVP_PKEY_eq(key, same), 1);
    }
    EVP_PKEY_free(same);
    EVP_PKEY_free(key);
}
END_TEST

/* P-521's length takes two bytes. */
START_TEST(the_longest_point_in_der)
{
    uint8_t point[KL_EC_POINT_MAX] = {4}, der[KL_EC_POINT_DER_MAX];

    ck_assert_uint_eq(kl_ec_point_der(point, sizeof(point), der), KL_EC_POINT_DER_MAX);
    ck_assert_mem_eq(der, "\x04\x81\x85\x04", 4);
}
END_TEST

/* An EC private key without its point has it from its public half. */
START_TEST(ec_key_without_its_public_half)
{
    EVP_PKEY *key = NULL, *same = NULL;
    CK_OBJECT_HANDLE found;

    ck_ok(kl_pair_generate(hsm.session, KL_PAIR_WORK_EC, "k", KL_KEY_EC, 256, &key, &err));
    ck_assert_uint_eq(hsm.f->C_DestroyObject(hsm.s, find(CKO_PUBLIC_KEY, "k")), CKR_OK);
    if (kl_pair_find(hsm.session, KL_PAIR_WORK_EC, "k", &found, &same, &err) == KL_OK) {
        ck_assert_int_eq(EVP_PKEY_eq(key, same), 1);
    } else {
        ck_assert_int_eq(err.rc, KL_ERR_KEY);
        ck_says("public half");
    }
    EVP_PKEY_free(same);
    EVP_PKEY_free(key);
}
END_TEST

/* CKA_ALLOWED_MECHANISMS binds on SoftHSM: a work key does no PKCS#1 v1.5, either way. */
START_TEST(work_key_has_two_mechanisms)
{
    CK_MECHANISM pkcs1 = {CKM_RSA_PKCS, NULL, 0};
    uint8_t sig[KL_RSA_MAX], in[256] = {1};
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_ATTRIBUTE attrs[] = {{CKA_CLASS, &class, sizeof(class)},
                            {CKA_KEY_TYPE, &type, sizeof(type)}};
    CK_OBJECT_HANDLE key, out;
    EVP_PKEY *public = NULL;
    size_t len = 0;

    ck_ok(kl_pair_generate(hsm.session, KL_PAIR_WORK, "k", KL_KEY_RSA, 2048, &public, &err));
    key = find(CKO_PRIVATE_KEY, "k");
    EVP_PKEY_free(public);
    ck_ok(kl_op_sign_pss(hsm.session, key, in, 32, sig, sizeof(sig), &len, &err));
    ck_assert_uint_eq(len, 256);
    ck_rc(kl_op_sign_pkcs1(hsm.session, key, in, 32, sig, sizeof(sig), &len, &err),
          KL_ERR_HSM_LACKS);
    ck_assert_uint_eq(hsm.f->C_SignInit(hsm.s, &pkcs1, key), CKR_MECHANISM_INVALID);
    ck_assert_uint_eq(hsm.f->C_UnwrapKey(hsm.s, &pkcs1, key, in, 256, attrs, 2, &out),
                      CKR_MECHANISM_INVALID);
}
END_TEST

START_TEST(allowed_mechanisms_are_optional_the_rest_is_not)
{
    EVP_PKEY *key = NULL;

    fake_p11_fail(FAKE_C_GenerateKeyPair, 1, CKR_ATTRIBUTE_TYPE_INVALID);
    ck_ok(kl_pair_generate(hsm.session, KL_PAIR_WORK, "k", KL_KEY_RSA, 2048, &key, &err));
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_GenerateKeyPair), 2);
    EVP_PKEY_free(key);
    fake_p11_reset();
    fake_p11_fail(FAKE_C_GenerateKeyPair, 1, CKR_TEMPLATE_INCONSISTENT);
    ck_rc(kl_pair_generate(hsm.session, KL_PAIR_WORK, "k2", KL_KEY_RSA, 2048, &key, &err),
          KL_ERR_HSM);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_GenerateKeyPair), 1);
    fake_p11_reset();
    fake_p11_fail(FAKE_C_GenerateKeyPair, 0, CKR_ATTRIBUTE_TYPE_INVALID);
    ck_rc(kl_pair_generate(hsm.session, KL_PAIR_WORK, "k2", KL_KEY_RSA, 2048, &key, &err),
          KL_ERR_HSM_LACKS);
}
END_TEST

/* Of two keys of one name it might be the wrong one; and one that stays is not called destroyed. */
START_TEST(a_pair_that_is_not_destroyed)
{
    CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    CK_KEY_TYPE type = CKK_RSA;
    uint8_t modulus[256] = {0xc1, [255] = 1}, exponent[] = {1, 0, 1};
    CK_ATTRIBUTE twin[] = {
        {CKA_CLASS, &class, sizeof(class)},      {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, (void *)&yes, sizeof(yes)},  {CKA_LABEL, (void *)"k", 1},
        {CKA_MODULUS, modulus, sizeof(modulus)}, {CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent)},
    };
    CK_OBJECT_HANDLE handle;
    EVP_PKEY *public;

    ck_ok(kl_pair_generate(hsm.session, KL_PAIR_WORK, "k", KL_KEY_RSA, 2048, &public, &err));
    EVP_PKEY_free(public);
    fake_p11_fail(FAKE_C_DestroyObject, 1, CKR_DEVICE_ERROR);
    ck_rc(kl_pair_destroy(hsm.session, "k", &err), KL_ERR_TOKEN);
    ck_says("key pair \"k\"");
    fake_p11_reset();
    ck_assert_uint_eq(hsm.f->C_CreateObject(hsm.s, twin, 6, &handle), CKR_OK);
    ck_rc(kl_pair_destroy(hsm.session, "k", &err), KL_ERR_KEY);
    ck_says("several keys \"k\"");
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_DestroyObject), 0);
    ck_assert_uint_ne(find(CKO_PRIVATE_KEY, "k"), CK_INVALID_HANDLE);
    ck_assert_uint_eq(hsm.f->C_DestroyObject(hsm.s, handle), CKR_OK);
    ck_ok(kl_pair_destroy(hsm.session, "k", &err));
}
END_TEST

START_TEST(a_failed_generation_leaves_nothing)
{
    EVP_PKEY *key = NULL;

    fake_p11_fail(FAKE_C_GetAttributeValue, (unsigned)_i + 1, CKR_GENERAL_ERROR);
    ck_rc(kl_pair_generate(hsm.session, KL_PAIR_WORK, "k", KL_KEY_RSA, 2048, &key, &err),
          KL_ERR_HSM);
    ck_assert_ptr_null(key);
    ck_assert_uint_eq(find(CKO_PRIVATE_KEY, "k"), CK_INVALID_HANDLE);
    ck_assert_uint_eq(find(CKO_PUBLIC_KEY, "k"), CK_INVALID_HANDLE);
}
END_TEST

START_TEST(bad_key_requests)
{
    static const unsigned sizes[] = {0, 1024, 2047, 8192};
    EVP_PKEY *key = NULL;
    char long_label[80];

    for (int i = 0; i < 4; i++) {
        ck_rc(kl_pair_generate(hsm.session, KL_PAIR_CA, "k", KL_KEY_RSA, sizes[i], &key, &err),
              KL_ERR_INPUT);
    }
    memset(long_label, 'k', sizeof(long_label));
    long_label[65] = '\0';
    ck_rc(kl_pair_generate(hsm.session, KL_PAIR_CA, "", KL_KEY_RSA, 2048, &key, &err),
          KL_ERR_INPUT);
    ck_rc(kl_pair_generate(hsm.session, KL_PAIR_CA, long_label, KL_KEY_RSA, 2048, &key, &err),
          KL_ERR_INPUT);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_GenerateKeyPair), 0);
}
END_TEST

/* Keys whose CKA_ALLOWED_MECHANISMS were chosen by hand. */
static const struct {
    size_t count;
    enum kl_rc rc;
    CK_MECHANISM_TYPE list[20];
} work_mechanisms[] = {
    {2, KL_OK, {CKM_RSA_PKCS_OAEP, CKM_SHA256_RSA_PKCS_PSS}},
    {2, KL_OK, {CKM_SHA256_RSA_PKCS_PSS, CKM_RSA_PKCS_OAEP}},
    {0, KL_OK, {0}}, /* no bounds */
    {1, KL_ERR_KEY, {CKM_RSA_PKCS_OAEP}},
    {2, KL_ERR_KEY, {CKM_RSA_PKCS_OAEP, CKM_SHA256_RSA_PKCS}},
    {3, KL_ERR_KEY, {CKM_RSA_PKCS_OAEP, CKM_SHA256_RSA_PKCS_PSS, CKM_RSA_PKCS}},
    {17, KL_ERR_KEY, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}},
};

START_TEST(work_key_with_other_mechanisms)
{
    CK_ULONG bits = 2048;
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE public[] = {{CKA_MODULUS_BITS, &bits, sizeof(bits)},
                             {CKA_PUBLIC_EXPONENT, (uint8_t[]){1, 0, 1}, 3}};
    CK_ATTRIBUTE private[] = {
        {CKA_TOKEN, (void *)&yes, 1},
        {CKA_PRIVATE, (void *)&yes, 1},
        {CKA_LABEL, (char[]){"k"}, 1},
        {CKA_SENSITIVE, (void *)&yes, 1},
        {CKA_SIGN, (void *)&yes, 1},
        {CKA_UNWRAP, (void *)&yes, 1},
        {CKA_EXTRACTABLE, (void *)&no, 1},
        {CKA_DECRYPT, (void *)&no, 1},
        {CKA_SIGN_RECOVER, (void *)&no, 1},
        {CKA_ALLOWED_MECHANISMS, (void *)work_mechanisms[_i].list,
         work_mechanisms[_i].count * sizeof(CK_MECHANISM_TYPE)},
    };
    CK_OBJECT_HANDLE handles[2], found;
    EVP_PKEY *key = NULL;

    ck_assert_uint_eq(hsm.f->C_GenerateKeyPair(hsm.s, &mechanism, public, 2, private,
                                               work_mechanisms[_i].count ? 10 : 9, &handles[0],
                                               &handles[1]),
                      CKR_OK);
    ck_rc(kl_pair_find(hsm.session, KL_PAIR_WORK, "k", &found, &key, &err), work_mechanisms[_i].rc);
    if (work_mechanisms[_i].rc != KL_OK) {
        ck_says("work key \"k\": CKA_ALLOWED_MECHANISMS");
    }
    EVP_PKEY_free(key);
}
END_TEST

static Suite *keys_suite(void)
{
    Suite *suite = suite_create("keys");
    TCase *keys = tcase_create("keys");

    tcase_add_checked_fixture(keys, p11_open, p11_close);
    tcase_set_timeout(keys, 60);
    tcase_add_loop_test(keys, pairs_are_made_by_role, 0, ROLES);
    tcase_add_test(keys, work_keys_tell_their_suite);
    tcase_add_test(keys, kinds_of_keys_that_are_not_made);
    tcase_add_test(keys, ec_key_on_another_curve);
    tcase_add_test(keys, ec_key_without_its_public_half);
    tcase_add_loop_test(keys, points_in_either_form, 0, 10);
    tcase_add_test(keys, the_longest_point_in_der);
    tcase_add_test(keys, work_key_has_two_mechanisms);
    tcase_add_test(keys, allowed_mechanisms_are_optional_the_rest_is_not);
    tcase_add_test(keys, a_pair_that_is_not_destroyed);
    tcase_add_loop_test(keys, a_failed_generation_leaves_nothing, 0, 15);
    tcase_add_test(keys, bad_key_requests);
    tcase_add_loop_test(keys, work_key_with_other_mechanisms, 0, 7);
    suite_add_tcase(suite, keys);
    return suite;
}

int main(void)
{
    return test_run(keys_suite());
}
