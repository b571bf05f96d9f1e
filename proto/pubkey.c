/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Public keys, over OpenSSL: what one is, and the forms of points and signatures. A key from
 * outside is measured before it is used: curves and sizes other than ours never reach a primitive.
 */
#include "proto/pubkey.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/objects.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <string.h>

#include "proto/digest.h"

#define RSA_EXPONENT 65537

/* ---- What a key is ---- */

static enum kl_rc rsa_type(const EVP_PKEY *key, unsigned *bits, struct kl_err *err)
{
    int size = EVP_PKEY_get_bits(key);
    uint64_t exponent =
        0; /* stays so if it is longer; a longer buffer would be filled up by bytes */
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_uint64(OSSL_PKEY_PARAM_RSA_E, &exponent),
        OSSL_PARAM_construct_end(),
    };

    if (size < 0 || !kl_rsa_bits_ok((unsigned)size)) {
        return kl_err_set(err, KL_ERR_CERT,
                          "public key is RSA of %d bits: must have 2048, 3072 or 4096", size);
    }
    if (!EVP_PKEY_get_params(key, params) || exponent != RSA_EXPONENT) {
        kl_err_openssl_clear();
        return kl_err_set(err, KL_ERR_CERT, "public key's RSA exponent is not %d", RSA_EXPONENT);
    }
    *bits = (unsigned)size;
    return KL_OK;
}

/* The point as it is written, if that is uncompressed and none at infinity. */
static int read_point(const EVP_PKEY *key, const struct kl_curve *curve,
                      uint8_t point[KL_EC_POINT_MAX])
{
    char form[32] = "";
    size_t n = 0;

    return EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, form,
                                          sizeof(form), NULL) == 1 &&
           strcmp(form, OSSL_PKEY_EC_POINT_CONVERSION_FORMAT_UNCOMPRESSED) == 0 &&
           EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, KL_EC_POINT_MAX,
                                           &n) == 1 &&
           n == curve->point_len;
}

static enum kl_rc ec_type(const EVP_PKEY *key, unsigned *bits, uint8_t point[KL_EC_POINT_MAX],
                          struct kl_err *err)
{
    char group[64] = "";
    const struct kl_curve *curve = NULL;
    int spelt_out = 1; /* parameters instead of a name: RFC 5480 forbids them */

    if (EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group),
                                       NULL) == 1) {
        curve = kl_curve_by_nid(OBJ_txt2nid(group));
    }
    if (!EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &spelt_out) ||
        spelt_out || !curve) {
        kl_err_openssl_clear();
        return kl_err_set(err, KL_ERR_CERT,
                          "public key is EC on %s: must be on P-256, P-384 or P-521, by name",
                          spelt_out || group[0] == '\0' ? "a curve of its own" : group);
    }
    if (!read_point(key, curve, point)) {
        kl_err_openssl_clear();
        return kl_err_set(err, KL_ERR_CERT, "public key's point is not written uncompressed");
    }
    *bits = curve->bits;
    return KL_OK;
}

/* kl_pubkey_type, and of a key on a curve the point. */
static enum kl_rc measure(const EVP_PKEY *key, enum kl_key_type *type, unsigned *bits,
                          uint8_t point[KL_EC_POINT_MAX], struct kl_err *err)
{
    const char *name = EVP_PKEY_get0_type_name(key);
    int is_rsa = EVP_PKEY_is_a(key, "RSA");
    enum kl_rc rc;

    kl_err_openssl_clear();
    if (is_rsa) {
        rc = rsa_type(key, bits, err);
    } else if (EVP_PKEY_is_a(key, "EC")) {
        rc = ec_type(key, bits, point, err);
    } else {
        rc = kl_err_set(err, KL_ERR_CERT, "public key is %s: must be RSA or EC",
                        name ? name : "of an unknown type");
    }
    if (rc == KL_OK) {
        *type = is_rsa ? KL_KEY_RSA : KL_KEY_EC;
    }
    return rc;
}

enum kl_rc kl_pubkey_type(const EVP_PKEY *key, enum kl_key_type *type, unsigned *bits,
                          struct kl_err *err)
{
    uint8_t point[KL_EC_POINT_MAX];

    return measure(key, type, bits, point, err);
}

enum kl_rc kl_pubkey_hash(const EVP_PKEY *key, uint8_t out[KL_HASH_LEN], struct kl_err *err)
{
    unsigned char *der = NULL;
    enum kl_rc rc;
    int len;

    kl_err_openssl_clear();
    len = i2d_PUBKEY(key, &der);
    rc = len > 0
             ? kl_digest_of("SHA256", der, (size_t)len, out, NULL, err)
             : kl_err_openssl(err, KL_ERR_INTERNAL, "i2d_PUBKEY", "fingerprint of a public key");
    OPENSSL_free(der);
    return rc;
}

/* ---- RSA ---- */

/* A key that is not ours makes a signature that does not verify. */
static enum kl_rc for_verify(enum kl_rc rc, struct kl_err *err)
{
    return rc == KL_OK || rc == KL_ERR_MEMORY ? rc : (err->rc = KL_ERR_VERIFY);
}

enum kl_rc kl_rsa_recover(EVP_PKEY *key, const uint8_t *sig, size_t sig_len, uint8_t *out,
                          size_t capacity, size_t *len, struct kl_err *err)
{
    uint8_t block[KL_RSA_MAX];
    size_t n = sizeof(block);
    EVP_PKEY_CTX *ctx = NULL;
    enum kl_key_type type;
    unsigned bits;
    enum kl_rc rc = for_verify(kl_pubkey_type(key, &type, &bits, err), err);

    if (rc != KL_OK) {
        return rc;
    }
    if (type != KL_KEY_RSA || sig_len != bits / 8) {
        return kl_err_set(
            err, KL_ERR_VERIFY,
            "signature with recovery has %zu bytes: must be an RSA key's, and as long "
            "as its modulus",
            sig_len);
    }
    kl_err_openssl_clear();
    ctx = EVP_PKEY_CTX_new(key, NULL);
    if (!ctx || EVP_PKEY_verify_recover_init(ctx) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) != 1 ||
        EVP_PKEY_verify_recover(ctx, block, &n, sig, sig_len) != 1) {
        rc = kl_err_openssl(err, KL_ERR_VERIFY, "EVP_PKEY_verify_recover",
                            "RSA signature holds no block of type 1");
    } else if (n > capacity) {
        rc = kl_err_set(err, KL_ERR_VERIFY,
                        "RSA signature holds %zu bytes: %zu are the most that are expected", n,
                        capacity);
    } else {
        memcpy(out, block, n);
        *len = n;
    }
    EVP_PKEY_CTX_free(ctx);
    return rc;
}

/* ---- EC ---- */

/* 1 if r (or s) may be half of a signature on that curve, as far as its size tells. Neither way of
 * reading one gives a negative number. */
static int half_ok(const struct kl_curve *curve, const BIGNUM *half)
{
    return !BN_is_zero(half) && (unsigned)BN_num_bits(half) <= curve->bits;
}

static enum kl_rc no_signature(struct kl_err *err)
{
    return kl_err_openssl(err, KL_ERR_VERIFY, "ECDSA_SIG", "not an ECDSA signature of the curve");
}

enum kl_rc kl_ecdsa_to_der(const struct kl_curve *curve, const uint8_t *raw, size_t raw_len,
                           uint8_t *der, size_t *der_len, struct kl_err *err)
{
    ECDSA_SIG *sig = NULL;
    BIGNUM *r = NULL, *s = NULL;
    unsigned char *p = der;
    enum kl_rc rc = KL_OK;
    int len;

    if (raw_len != 2 * curve->field_len) {
        return kl_err_set(err, KL_ERR_VERIFY, "ECDSA signature has %zu bytes: must have %zu on %s",
                          raw_len, 2 * curve->field_len, curve->name);
    }
    kl_err_openssl_clear();
    sig = ECDSA_SIG_new();
    r = BN_bin2bn(raw, (int)curve->field_len, NULL);
    s = BN_bin2bn(raw + curve->field_len, (int)curve->field_len, NULL);
    if (!sig || !r || !s || !half_ok(curve, r) || !half_ok(curve, s) ||
        ECDSA_SIG_set0(sig, r, s) != 1) {
        rc = no_signature(err);
        goto out;
    }
    r = s = NULL;
    len = i2d_ECDSA_SIG(sig, NULL);
    if (len <= 0 || len > KL_ECDSA_DER_MAX || i2d_ECDSA_SIG(sig, &p) != len) {
        rc = no_signature(err);
        goto out;
    }
    *der_len = (size_t)len;
out:
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return rc;
}

enum kl_rc kl_ecdsa_from_der(const struct kl_curve *curve, const uint8_t *der, size_t der_len,
                             uint8_t *raw, size_t *raw_len, struct kl_err *err)
{
    const int half = (int)curve->field_len;
    const unsigned char *p = der;
    unsigned char *again = NULL;
    const BIGNUM *r, *s;
    ECDSA_SIG *sig;
    enum kl_rc rc = KL_OK;
    int len;

    if (der_len == 0 || der_len > KL_ECDSA_DER_MAX) {
        return kl_err_set(err, KL_ERR_VERIFY, "ECDSA signature has %zu bytes: must have 1 to %d",
                          der_len, KL_ECDSA_DER_MAX);
    }
    kl_err_openssl_clear();
    sig = d2i_ECDSA_SIG(NULL, &p, (long)der_len);
    if (!sig) {
        return no_signature(err);
    }
    len = i2d_ECDSA_SIG(sig, &again);
    r = ECDSA_SIG_get0_r(sig);
    s = ECDSA_SIG_get0_s(sig);
    if (len < 0 || (size_t)len != der_len || memcmp(again, der, der_len) != 0 ||
        !half_ok(curve, r) || !half_ok(curve, s) || BN_bn2binpad(r, raw, half) != half ||
        BN_bn2binpad(s, raw + half, half) != half) {
        rc = no_signature(err);
    } else {
        *raw_len = 2 * curve->field_len;
    }
    OPENSSL_free(again);
    ECDSA_SIG_free(sig);
    return rc;
}

/* The group of a curve, made once: making one costs ten times what checking a point does. */
static const EC_GROUP *group_of(const struct kl_curve *curve)
{
    static _Atomic(EC_GROUP *) kept[3];
    _Atomic(EC_GROUP *) *slot = &kept[curve->bits == 256 ? 0 : curve->bits == 384 ? 1 : 2];
    EC_GROUP *group = atomic_load_explicit(slot, memory_order_acquire), *first = NULL;

    if (group) {
        return group;
    }
    group = EC_GROUP_new_by_curve_name(curve->nid);
    if (group && !atomic_compare_exchange_strong(slot, &first, group)) {
        EC_GROUP_free(group); /* another thread was faster */
        group = first;
    }
    return group;
}

enum kl_rc kl_ec_point_check(const struct kl_curve *curve, const uint8_t *point, size_t len,
                             struct kl_err *err)
{
    const EC_GROUP *group;
    EC_POINT *parsed = NULL;
    enum kl_rc rc = KL_OK;

    /* Infinity has another form. All three curves have cofactor 1: what is on one, is of its order.
     */
    if (len != curve->point_len || point[0] != POINT_CONVERSION_UNCOMPRESSED) {
        return kl_err_set(err, KL_ERR_VERIFY,
                          "EC point is not an uncompressed one of %zu bytes, as on %s",
                          curve->point_len, curve->name);
    }
    kl_err_openssl_clear();
    group = group_of(curve);
    parsed = group ? EC_POINT_new(group) : NULL;
    if (!parsed) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "EC_POINT_new", "no %s", curve->name);
    }
    /* This also sees to it that coordinates are below the prime, and the point lies on the curve.
     */
    if (EC_POINT_oct2point(group, parsed, point, len, NULL) != 1) {
        rc = kl_err_openssl(err, KL_ERR_VERIFY, "EC_POINT_oct2point", "EC point is not on %s",
                            curve->name);
    }
    EC_POINT_free(parsed);
    return rc;
}

enum kl_rc kl_ec_from_point(const struct kl_curve *curve, const uint8_t *point, size_t len,
                            EVP_PKEY **out, struct kl_err *err)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)curve->group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (uint8_t *)point, len),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *ctx;
    EVP_PKEY *key = NULL;
    enum kl_rc rc = kl_ec_point_check(curve, point, len, err);

    if (rc != KL_OK) {
        return rc;
    }
    kl_err_openssl_clear();
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        rc = kl_err_openssl(err, KL_ERR_VERIFY, "EVP_PKEY_fromdata",
                            "EC point makes no public key on %s", curve->name);
    } else {
        *out = key;
    }
    EVP_PKEY_CTX_free(ctx);
    return rc;
}

enum kl_rc kl_ec_to_point(const EVP_PKEY *key, uint8_t *out, size_t *len, struct kl_err *err)
{
    uint8_t point[KL_EC_POINT_MAX];
    enum kl_key_type type;
    unsigned bits;
    enum kl_rc rc = for_verify(measure(key, &type, &bits, point, err), err);

    if (rc != KL_OK) {
        return rc;
    }
    if (type != KL_KEY_EC) {
        return kl_err_set(err, KL_ERR_VERIFY, "public key is RSA: must be EC");
    }
    *len = kl_curve_by_bits(bits)->point_len;
    memcpy(out, point, *len);
    return KL_OK;
}
