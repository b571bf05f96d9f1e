/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keys that carry TMKs, found in the token and tried with known keys before they carry any: which
 * hash the token does OAEP with, and whether its key wrap with padding is RFC 5649's.
 */
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <string.h>

#include "pkcs11/import.h"
#include "pkcs11/ops.h"
#include "pkcs11/rv.h"
#include "proto/cert.h"
#include "proto/pubkey.h"

#define PROBE_ALG KL_ALG_AES128
#define PROBE_LEN 16
#define PROBE_KEK_LEN 32
#define PROBE_WRAPPED (PROBE_LEN + KL_WRAP_OVERHEAD)
#define PROBE_HOST_BITS 2048

/* No secrets: they carry nothing but each other. */
static const uint8_t probe[PROBE_LEN] = {0x6b, 0x6c, 0x2d, 0x70, 0x72, 0x6f, 0x62, 0x65,
                                         0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77};
static const uint8_t probe_kek[PROBE_KEK_LEN] = {0x6b, 0x6c, 0x2d, 0x6b, 0x65, 0x6b};

/* The probe as a session key with that use. */
static enum kl_rc make_probe(struct kl_session *session, CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    return kl_op_import_value(session, PROBE_ALG, probe, KL_USE_KCV, out, err);
}

/* KL_OK if what is wrapped comes out from under the carrier as the probe. */
static enum kl_rc probe_in(struct kl_session *session, const struct kl_carrier *carrier,
                           const uint8_t *wrapped, size_t len, struct kl_err *err)
{
    CK_OBJECT_HANDLE known = CK_INVALID_HANDLE, got = CK_INVALID_HANDLE;
    uint8_t kcv[2][KL_KCV_LEN_MAX];
    enum kl_rc rc = kl_tmk_unwrap(session, carrier, 0, PROBE_ALG, wrapped, len, &got, err);

    if (rc == KL_OK) {
        rc = make_probe(session, &known, err);
    }
    if (rc == KL_OK) {
        rc = kl_op_kcv(session, known, PROBE_ALG, sizeof(kcv[0]), kcv[0], err);
    }
    if (rc == KL_OK) {
        rc = kl_op_kcv(session, got, PROBE_ALG, sizeof(kcv[1]), kcv[1], err);
    }
    if (rc == KL_OK && memcmp(kcv[0], kcv[1], sizeof(kcv[0])) != 0) {
        rc = kl_err_set(err, KL_ERR_HSM_LACKS, "a known key came out as another");
    }
    kl_op_destroy(session, &got);
    kl_op_destroy(session, &known);
    return rc;
}

/* 1 if a token that has failed this way may yet do it with another hash. */
static int may_do_otherwise(enum kl_rc rc)
{
    return rc == KL_ERR_HSM_LACKS || rc == KL_ERR_VERIFY || rc == KL_ERR_HSM;
}

/* ---- OAEP ---- */

static enum kl_rc probe_transport(struct kl_session *session, const struct kl_carrier *carrier,
                                  EVP_PKEY *public_key, struct kl_err *err)
{
    uint8_t wrapped[KL_RSA_MAX];
    size_t len = 0;
    enum kl_rc rc = kl_rsa_oaep_encrypt(public_key, carrier->oaep_hash, probe, sizeof(probe),
                                        wrapped, &len, err);

    return rc == KL_OK ? probe_in(session, carrier, wrapped, len, err) : rc;
}

enum kl_rc kl_carrier_transport(struct kl_session *session, const char *label,
                                struct kl_carrier *out, struct kl_err *err)
{
    struct kl_carrier carrier = {.oaep_hash = KL_OAEP_SHA256};
    EVP_PKEY *public_key = NULL;
    enum kl_rc rc =
        kl_pair_find(session, KL_PAIR_TRANSPORT, label, &carrier.handle, &public_key, err);

    if (rc == KL_OK) {
        rc = kl_pubkey_type(public_key, &carrier.type, &carrier.bits, err);
    }
    if (rc == KL_OK) {
        rc = probe_transport(session, &carrier, public_key, err);
        if (may_do_otherwise(rc)) {
            carrier.oaep_hash = KL_OAEP_SHA1;
            rc = probe_transport(session, &carrier, public_key, err);
        }
        if (may_do_otherwise(rc)) {
            err->rc = rc = KL_ERR_HSM_LACKS;
            kl_err_context(err, "the token cannot unwrap under the transport key \"%s\"", label);
        }
    }
    EVP_PKEY_free(public_key);
    if (rc == KL_OK) {
        *out = carrier;
    }
    return rc;
}

/* What OpenSSL makes of it, with the private key. */
static int opens(EVP_PKEY *key, enum kl_oaep_hash hash, const uint8_t *wrapped, size_t len)
{
    const EVP_MD *md = hash == KL_OAEP_SHA256 ? EVP_sha256() : EVP_sha1();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    uint8_t opened[KL_RSA_MAX];
    size_t n = sizeof(opened);
    int same = ctx && EVP_PKEY_decrypt_init(ctx) == 1 &&
               EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) == 1 &&
               EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) == 1 &&
               EVP_PKEY_decrypt(ctx, opened, &n, wrapped, len) == 1 && n == sizeof(probe) &&
               memcmp(opened, probe, n) == 0;

    EVP_PKEY_CTX_free(ctx);
    kl_err_openssl_clear();
    return same;
}

/* Does the token wrap by OAEP with that hash so that its receiver can read it? */
static enum kl_rc probe_host(struct kl_session *session, EVP_PKEY *pair, enum kl_oaep_hash hash,
                             struct kl_err *err)
{
    CK_OBJECT_HANDLE known = CK_INVALID_HANDLE, public_key = CK_INVALID_HANDLE;
    uint8_t wrapped[KL_RSA_MAX];
    size_t len = 0;
    enum kl_rc rc = make_probe(session, &known, err);

    if (rc == KL_OK) {
        rc = kl_op_import_rsa_public(session, pair, &public_key, err);
    }
    if (rc == KL_OK) {
        rc = kl_op_wrap_oaep(session, public_key, known, hash, wrapped, sizeof(wrapped), &len, err);
    }
    if (rc == KL_OK && !opens(pair, hash, wrapped, len)) {
        rc = kl_err_set(err, KL_ERR_HSM_LACKS, "a known key was not wrapped by OAEP as asked");
    }
    kl_op_destroy(session, &public_key);
    kl_op_destroy(session, &known);
    return rc;
}

enum kl_rc kl_carrier_host(struct kl_session *session, const EVP_PKEY *key, struct kl_carrier *out,
                           struct kl_err *err)
{
    struct kl_carrier carrier = {.oaep_hash = KL_OAEP_SHA256, .outward = 1};
    EVP_PKEY *pair = NULL;
    enum kl_rc rc = kl_pubkey_type(key, &carrier.type, &carrier.bits, err);

    if (rc == KL_OK && carrier.type != KL_KEY_RSA) {
        rc = kl_err_set(err, KL_ERR_CERT, "the host's key must be RSA");
    }
    if (rc != KL_OK) {
        return rc;
    }
    kl_err_openssl_clear();
    pair = EVP_RSA_gen(PROBE_HOST_BITS);
    if (!pair) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_RSA_gen", "a pair to try OAEP with");
    }
    rc = probe_host(session, pair, carrier.oaep_hash, err);
    if (may_do_otherwise(rc)) {
        carrier.oaep_hash = KL_OAEP_SHA1;
        rc = probe_host(session, pair, carrier.oaep_hash, err);
    }
    EVP_PKEY_free(pair);
    if (may_do_otherwise(rc)) {
        err->rc = KL_ERR_HSM_LACKS;
        return kl_err_context(err, "the token cannot wrap by RSA-OAEP");
    }
    if (rc == KL_OK) {
        rc = kl_op_import_rsa_public(session, key, &carrier.handle, err);
    }
    if (rc == KL_OK) {
        *out = carrier;
    }
    return rc;
}

/* ---- Key wrap with padding ---- */

/* RFC 5649 by OpenSSL. */
static enum kl_rc wrap_pad(uint8_t out[PROBE_WRAPPED], struct kl_err *err)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t wrapped[PROBE_WRAPPED + KL_WRAP_OVERHEAD];
    int n = 0;
    enum kl_rc rc = KL_OK;

    kl_err_openssl_clear();
    if (ctx) {
        EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    }
    if (!ctx || EVP_EncryptInit_ex(ctx, EVP_aes_256_wrap_pad(), NULL, probe_kek, NULL) != 1 ||
        EVP_EncryptUpdate(ctx, wrapped, &n, probe, sizeof(probe)) != 1 || n != PROBE_WRAPPED) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_aes_256_wrap_pad", "AES key wrap");
    } else {
        memcpy(out, wrapped, PROBE_WRAPPED);
    }
    EVP_CIPHER_CTX_free(ctx);
    return rc;
}

static enum kl_rc probe_kwp_out(struct kl_session *session, CK_OBJECT_HANDLE kek,
                                const uint8_t wrapped[PROBE_WRAPPED], struct kl_err *err)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP_PAD, NULL, 0};
    CK_OBJECT_HANDLE known = CK_INVALID_HANDLE;
    uint8_t got[2 * PROBE_WRAPPED]; /* whatever the scheme */
    CK_ULONG n = sizeof(got);
    enum kl_rc rc = make_probe(session, &known, err);
    CK_RV rv;

    if (rc == KL_OK) {
        rv = kl_session_functions(session)->C_WrapKey(kl_session_handle(session), &mechanism, kek,
                                                      known, got, &n);
        if (rv != CKR_OK) {
            rc = kl_rv_err(err, rv, "C_WrapKey(CKM_AES_KEY_WRAP_PAD)", "a known key");
        } else if (n != PROBE_WRAPPED || memcmp(got, wrapped, n) != 0) {
            rc = kl_err_set(err, KL_ERR_HSM_LACKS, "a known key was wrapped by another scheme");
        }
    }
    kl_op_destroy(session, &known);
    return rc;
}

static enum kl_rc prove_kwp(struct kl_session *session, int outward, struct kl_err *err)
{
    struct kl_carrier carrier = {.type = KL_KEY_AES, .bits = 256, .wrap = KL_WRAP_KWP};
    uint8_t wrapped[PROBE_WRAPPED];
    enum kl_rc rc = wrap_pad(wrapped, err);

    if (rc == KL_OK) {
        rc = kl_op_import_value(session, KL_ALG_AES256, probe_kek,
                                outward ? KL_USE_WRAP : KL_USE_UNWRAP, &carrier.handle, err);
    }
    if (rc == KL_OK) {
        rc = outward ? probe_kwp_out(session, carrier.handle, wrapped, err)
                     : probe_in(session, &carrier, wrapped, sizeof(wrapped), err);
    }
    if (may_do_otherwise(rc)) {
        err->rc = rc = KL_ERR_HSM_LACKS;
        kl_err_context(err, "the token's CKM_AES_KEY_WRAP_PAD is not RFC 5649: use --wrap kw");
    }
    kl_op_destroy(session, &carrier.handle);
    return rc;
}

enum kl_rc kl_carrier_zmk(struct kl_session *session, enum kl_zmk_use use, const char *label,
                          enum kl_wrap wrap, struct kl_carrier *out, struct kl_err *err)
{
    struct kl_carrier carrier = {.type = KL_KEY_AES, .wrap = wrap, .outward = use == KL_ZMK_EXPORT};
    enum kl_rc rc = kl_zmk_find(session, use, label, &carrier.handle, &carrier.bits, err);

    if (rc == KL_OK && wrap == KL_WRAP_KWP) {
        rc = prove_kwp(session, carrier.outward, err);
    }
    if (rc == KL_OK) {
        *out = carrier;
    }
    return rc;
}
