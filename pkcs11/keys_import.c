/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A key pair that was made elsewhere, into the token: the same objects as kl_pair_generate makes,
 * from a private key that has proved to be sound.
 */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <string.h>

#include "pkcs11/key_policy.h"
#include "pkcs11/keys.h"
#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "pkcs11/rv.h"
#include "pkcs11/tmpl.h"
#include "proto/cert.h"
#include "proto/pubkey.h"
#include "proto/secret.h"

/* FIPS 186-5, A.1.3: |p - q| > 2^(nlen/2 - 100); nearer primes are found by Fermat's method. */
#define PRIME_DISTANCE 100

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Soundness ---- */

/* One number of a private key; the caller frees it with BN_clear_free. */
static enum kl_rc get_number(const EVP_PKEY *key, const char *name, BIGNUM **out,
                             struct kl_err *err)
{
    BIGNUM *number = BN_secure_new();

    kl_err_openssl_clear();
    if (!number) {
        return kl_err_set(err, KL_ERR_MEMORY, "private key");
    }
    if (!EVP_PKEY_get_bn_param(key, name, &number)) {
        BN_clear_free(number);
        return kl_err_openssl(err, KL_ERR_INPUT, "EVP_PKEY_get_bn_param",
                              "private key: its %s is missing", name);
    }
    *out = number;
    return KL_OK;
}

static enum kl_rc check_primes(const EVP_PKEY *key, unsigned bits, struct kl_err *err)
{
    BIGNUM *p = NULL, *q = NULL, *third = BN_secure_new(), *distance = BN_secure_new();
    enum kl_rc rc;

    if (!third || !distance) {
        rc = kl_err_set(err, KL_ERR_MEMORY, "private key");
        goto out;
    }
    if ((rc = get_number(key, OSSL_PKEY_PARAM_RSA_FACTOR1, &p, err)) != KL_OK ||
        (rc = get_number(key, OSSL_PKEY_PARAM_RSA_FACTOR2, &q, err)) != KL_OK) {
        goto out;
    }
    ERR_set_mark();
    if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_FACTOR3, &third)) {
        rc = kl_err_set(err, KL_ERR_INPUT, "private key: has more than two primes");
    } else if (!BN_sub(distance, p, q)) {
        rc = kl_err_openssl(err, KL_ERR_MEMORY, "BN_sub", "private key");
    } else if (BN_num_bits(distance) <= (int)bits / 2 - PRIME_DISTANCE) {
        rc = kl_err_set(err, KL_ERR_INPUT, "private key: its primes are too close to each other");
    }
    ERR_pop_to_mark();
out:
    BN_clear_free(distance);
    BN_clear_free(third);
    BN_clear_free(q);
    BN_clear_free(p);
    return rc;
}

/* That it is what it says, and that both halves belong together. */
static enum kl_rc check_private(EVP_PKEY *key, enum kl_key_type type, unsigned bits,
                                struct kl_err *err)
{
    EVP_PKEY_CTX *ctx;
    enum kl_rc rc = type == KL_KEY_RSA ? check_primes(key, bits, err) : KL_OK;

    if (rc != KL_OK) {
        return rc;
    }
    kl_err_openssl_clear();
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    if (!ctx) {
        return kl_err_openssl(err, KL_ERR_MEMORY, "EVP_PKEY_CTX_new_from_pkey", "private key");
    }
    if (EVP_PKEY_check(ctx) != 1) {
        rc = kl_err_openssl(err, KL_ERR_INPUT, "EVP_PKEY_check",
                            "private key: is damaged, or does not fit its public half");
    }
    EVP_PKEY_CTX_free(ctx);
    return rc;
}

/* ---- Is it there already? ---- */

static enum kl_rc find_attributes(struct kl_session *session, struct kl_tmpl *tmpl, int *found,
                                  struct kl_err *err)
{
    CK_FUNCTION_LIST *f = kl_session_functions(session);
    CK_SESSION_HANDLE s = kl_session_handle(session);
    CK_OBJECT_HANDLE handle;
    CK_ULONG count = 0;
    CK_RV rv;

    kl_tmpl_bool(tmpl, CKA_TOKEN, 1);
    rv = f->C_FindObjectsInit(s, tmpl->attrs, tmpl->count);
    if (rv == CKR_OK) {
        rv = f->C_FindObjects(s, &handle, 1, &count);
        (void)f->C_FindObjectsFinal(s);
    }
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_FindObjects", "looking for the same key");
    }
    *found = *found || count > 0;
    return KL_OK;
}

/* Either half of that RSA key, whatever its label. */
static enum kl_rc find_rsa(struct kl_session *session, const EVP_PKEY *key, int *found,
                           struct kl_err *err)
{
    uint8_t modulus[KL_RSA_MAX];
    struct kl_tmpl tmpl;
    BIGNUM *n = NULL;
    int len;
    enum kl_rc rc = get_number(key, OSSL_PKEY_PARAM_RSA_N, &n, err);

    if (rc == KL_OK) {
        len = BN_bn2bin(n, modulus); /* at most KL_RSA_MAX: kl_pubkey_type has seen it */
        kl_tmpl_init(&tmpl);
        kl_tmpl_bytes(&tmpl, CKA_MODULUS, modulus, (size_t)len);
        rc = find_attributes(session, &tmpl, found, err);
    }
    BN_clear_free(n);
    return rc;
}

/* The same of an EC key, in either form of its point. */
static enum kl_rc find_ec(struct kl_session *session, const EVP_PKEY *key, int *found,
                          struct kl_err *err)
{
    uint8_t point[KL_EC_POINT_MAX], der[KL_EC_POINT_DER_MAX];
    struct kl_tmpl bare, wrapped;
    size_t len = 0;
    enum kl_rc rc = kl_ec_to_point(key, point, &len, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_tmpl_init(&bare);
    kl_tmpl_bytes(&bare, CKA_EC_POINT, point, len);
    rc = find_attributes(session, &bare, found, err);
    if (rc == KL_OK) {
        kl_tmpl_init(&wrapped);
        kl_tmpl_bytes(&wrapped, CKA_EC_POINT, der, kl_ec_point_der(point, len, der));
        rc = find_attributes(session, &wrapped, found, err);
    }
    return rc;
}

static enum kl_rc check_new(struct kl_session *session, const EVP_PKEY *key, enum kl_key_type type,
                            struct kl_err *err)
{
    int found = 0;
    enum kl_rc rc = type == KL_KEY_RSA ? find_rsa(session, key, &found, err)
                                       : find_ec(session, key, &found, err);

    if (rc == KL_OK && found) {
        rc = kl_err_set(err, KL_ERR_EXISTS, "the token has this very key under another label");
    }
    return rc;
}

/* ---- The objects ---- */

#define PARTS_MAX 8

/* The numbers that make a key, as attributes. Private ones stand in locked memory. */
struct parts {
    size_t count, public_count; /* the first public_count are the public key */
    CK_ATTRIBUTE_TYPE type[PARTS_MAX];
    struct kl_secret *value[PARTS_MAX];
};

static void wipe_parts(struct parts *parts)
{
    for (size_t i = 0; i < parts->count; i++) {
        kl_secret_free(parts->value[i]);
    }
    parts->count = 0;
}

static enum kl_rc add_part(struct parts *parts, CK_ATTRIBUTE_TYPE type, const uint8_t *data,
                           size_t len, struct kl_err *err)
{
    struct kl_secret *value = NULL;
    enum kl_rc rc = kl_secret_new(len, &value, err);

    if (rc == KL_OK) {
        if (data) {
            memcpy(kl_secret_data(value), data, len);
        }
        kl_secret_set_len(value, len);
        parts->type[parts->count] = type;
        parts->value[parts->count++] = value;
    }
    return rc;
}

/* len 0: as long as it is. */
static enum kl_rc add_number(struct parts *parts, const EVP_PKEY *key, const char *name,
                             CK_ATTRIBUTE_TYPE type, size_t len, struct kl_err *err)
{
    BIGNUM *number = NULL;
    enum kl_rc rc = get_number(key, name, &number, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (len == 0) {
        len = (size_t)BN_num_bytes(number);
    }
    rc = add_part(parts, type, NULL, len, err);
    if (rc == KL_OK &&
        BN_bn2binpad(number, kl_secret_data(parts->value[parts->count - 1]), (int)len) < 0) {
        rc =
            kl_err_openssl(err, KL_ERR_INPUT, "BN_bn2binpad", "private key: %s is too large", name);
    }
    BN_clear_free(number);
    return rc;
}

static enum kl_rc rsa_parts(const EVP_PKEY *key, struct parts *parts, struct kl_err *err)
{
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        const char *name;
    } numbers[] = {
        {CKA_MODULUS, OSSL_PKEY_PARAM_RSA_N},
        {CKA_PUBLIC_EXPONENT, OSSL_PKEY_PARAM_RSA_E},
        {CKA_PRIVATE_EXPONENT, OSSL_PKEY_PARAM_RSA_D},
        {CKA_PRIME_1, OSSL_PKEY_PARAM_RSA_FACTOR1},
        {CKA_PRIME_2, OSSL_PKEY_PARAM_RSA_FACTOR2},
        {CKA_EXPONENT_1, OSSL_PKEY_PARAM_RSA_EXPONENT1},
        {CKA_EXPONENT_2, OSSL_PKEY_PARAM_RSA_EXPONENT2},
        {CKA_COEFFICIENT, OSSL_PKEY_PARAM_RSA_COEFFICIENT1},
    };
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; rc == KL_OK && i < COUNT(numbers); i++) {
        rc = add_number(parts, key, numbers[i].name, numbers[i].type, 0, err);
    }
    parts->public_count = 2;
    return rc;
}

static enum kl_rc ec_parts(const EVP_PKEY *key, unsigned bits, struct parts *parts,
                           struct kl_err *err)
{
    const struct kl_curve *curve = kl_curve_by_bits(bits);
    uint8_t point[KL_EC_POINT_MAX], der[KL_EC_POINT_DER_MAX];
    size_t len = 0;
    enum kl_rc rc = kl_ec_to_point(key, point, &len, err);

    if (rc != KL_OK ||
        (rc = add_part(parts, CKA_EC_PARAMS, curve->oid, curve->oid_len, err)) != KL_OK ||
        (rc = add_part(parts, CKA_EC_POINT, der, kl_ec_point_der(point, len, der), err)) != KL_OK) {
        return rc;
    }
    parts->public_count = 2;
    return add_number(parts, key, OSSL_PKEY_PARAM_PRIV_KEY, CKA_VALUE, curve->field_len, err);
}

/* A private EC key names its curve, but not its point; an RSA one has its public numbers too. */
static int belongs(const struct parts *parts, size_t i, CK_OBJECT_CLASS class)
{
    return class == CKO_PUBLIC_KEY ? i < parts->public_count : parts->type[i] != CKA_EC_POINT;
}

static void add_parts(struct kl_tmpl *tmpl, CK_OBJECT_CLASS class, enum kl_key_type type,
                      const struct parts *parts)
{
    kl_tmpl_number(tmpl, CKA_CLASS, class);
    kl_tmpl_number(tmpl, CKA_KEY_TYPE, type == KL_KEY_EC ? CKK_EC : CKK_RSA);
    for (size_t i = 0; i < parts->count; i++) {
        if (belongs(parts, i, class)) {
            kl_tmpl_bytes(tmpl, parts->type[i], kl_secret_data(parts->value[i]),
                          kl_secret_len(parts->value[i]));
        }
    }
}

static enum kl_rc create(struct kl_session *session, struct kl_tmpl *tmpl, const char *what,
                         CK_OBJECT_HANDLE *handle, struct kl_err *err)
{
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    CK_RV rv;

    do {
        rv = kl_session_functions(session)->C_CreateObject(kl_session_handle(session), tmpl->attrs,
                                                           tmpl->count, &made);
    } while (kl_mechanisms_drop(session, rv, tmpl));
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_CreateObject", "%s cannot be imported", what);
    }
    *handle = made;
    return KL_OK;
}

/* Believes what the token holds, not what it was given. */
static enum kl_rc check_imported(struct kl_session *session, enum kl_pair_role role,
                                 const char *label, const EVP_PKEY *key, struct kl_err *err)
{
    CK_OBJECT_HANDLE found;
    EVP_PKEY *held = NULL;
    enum kl_rc rc = kl_pair_find(session, role, label, &found, &held, err);

    if (rc == KL_OK && EVP_PKEY_eq(held, key) != 1) {
        kl_err_openssl_clear();
        rc = kl_err_set(err, KL_ERR_KEY, "the token shows another public key");
    }
    EVP_PKEY_free(held);
    return rc;
}

enum kl_rc kl_pair_import(struct kl_session *session, enum kl_pair_role role, const char *label,
                          EVP_PKEY *private_key, struct kl_err *err)
{
    CK_OBJECT_HANDLE private_handle = CK_INVALID_HANDLE, public_handle = CK_INVALID_HANDLE;
    const struct kl_pair_policy *policy = kl_pair_policy(role);
    const struct kl_mechanisms *mechanisms = NULL;
    struct kl_tmpl public, private, unwrap;
    struct parts parts = {0};
    enum kl_key_type type;
    char what[KL_KEY_WHAT_MAX];
    uint8_t id[KL_KEY_ID_LEN];
    unsigned bits = 0;
    enum kl_rc rc;

    if ((rc = kl_pubkey_type(private_key, &type, &bits, err)) != KL_OK) {
        return err->rc = KL_ERR_INPUT;
    }
    if ((rc = kl_pair_mechanisms(policy, type, bits, &mechanisms, err)) != KL_OK ||
        (rc = check_private(private_key, type, bits, err)) != KL_OK ||
        (rc = kl_key_check_free(session, label, err)) != KL_OK ||
        (rc = check_new(session, private_key, type, err)) != KL_OK ||
        (rc = kl_op_random(session, id, sizeof(id), err)) != KL_OK) {
        return rc;
    }
    kl_key_what(policy->name, label, what);
    rc = type == KL_KEY_RSA ? rsa_parts(private_key, &parts, err)
                            : ec_parts(private_key, bits, &parts, err);
    if (rc != KL_OK) {
        goto out;
    }
    kl_pair_public_template(&public, policy, label, id);
    add_parts(&public, CKO_PUBLIC_KEY, type, &parts);
    kl_pair_private_template(&private, policy, mechanisms, label, id, &unwrap);
    add_parts(&private, CKO_PRIVATE_KEY, type, &parts);
    if ((rc = create(session, &private, what, &private_handle, err)) == KL_OK &&
        (rc = create(session, &public, what, &public_handle, err)) == KL_OK) {
        rc = check_imported(session, role, label, private_key, err);
    }
    if (rc != KL_OK) {
        kl_op_destroy(session, &public_handle);
        kl_op_destroy(session, &private_handle);
    }
out:
    wipe_parts(&parts);
    return rc;
}
