/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hardened-ec on the loader's side: Rnd1 by ECIES, that is by AES key wrap under a key that ECDH
 * with the terminal's ephemeral key gives inside the HSM; the rest as in hardened-rsa, with ECDSA.
 * Two private operations a load: the ECDH and the signature.
 */
#include "pkcs11/suite.h"

#include <openssl/ec.h>
#include <string.h>

#include "proto/pubkey.h"

static int choose(struct kl_work *work, unsigned nth)
{
    static const enum kl_point_form forms[] = {KL_POINT_RAW, KL_POINT_DER};

    if (nth >= 2) {
        return 0;
    }
    work->oaep_hash = KL_OAEP_SHA1;
    work->point_form = forms[nth];
    return 1;
}

/* K_ecies by a private key of this token and somebody's point. The label names the ephemeral one of
 * the two points. */
static enum kl_rc derive_ecies(struct kl_loader *loader, const struct kl_work *work,
                               CK_OBJECT_HANDLE private_key, const uint8_t *point, size_t point_len,
                               const uint8_t label[KL_HASH_LEN], enum kl_key_use use,
                               CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    CK_OBJECT_HANDLE secret = CK_INVALID_HANDLE;
    enum kl_rc rc = kl_op_ecdh(loader->session, private_key, kl_curve_by_bits(work->bits),
                               work->point_form, point, point_len, &secret, err);

    if (rc == KL_OK) {
        rc = kl_op_derive(loader->session, secret, label, use, out, err);
    }
    kl_op_destroy(loader->session, &secret);
    return rc;
}

static enum kl_rc recover(struct kl_loader *loader, const struct kl_work *work,
                          const struct kl_randoms *randoms, const uint8_t t0[KL_HASH_LEN],
                          struct kl_load_keys *keys, uint8_t rnd2[KL_RND2_LEN], struct kl_err *err)
{
    CK_OBJECT_HANDLE ecies = CK_INVALID_HANDLE;
    uint8_t label[KL_HASH_LEN];
    enum kl_rc rc = kl_suite_ecies_label(t0, randoms->point, randoms->point_len, label, err);

    if (rc == KL_OK) {
        rc = derive_ecies(loader, work, work->handle, randoms->point, randoms->point_len, label,
                          KL_USE_UNWRAP, &ecies, err);
    }
    if (rc == KL_OK) {
        rc = kl_op_unwrap_base(loader->session, ecies, KL_RND1_LEN, randoms->c_rnd1,
                               randoms->c_rnd1_len, &keys->rnd1, err);
    }
    kl_op_destroy(loader->session, &ecies);
    return rc != KL_OK ? rc : kl_hardened_recover(loader, randoms, t0, keys, rnd2, err);
}

static enum kl_rc sign(struct kl_loader *loader, const struct kl_work *work,
                       const struct kl_tbs *tbs, struct kl_bytes tbs_der, uint8_t sig[KL_SIG_MAX],
                       size_t *sig_len, struct kl_err *err)
{
    (void)tbs;
    return kl_op_sign_ecdsa(loader->session, work->handle, kl_curve_by_bits(work->bits),
                            tbs_der.data, tbs_der.len, sig, KL_SIG_MAX, sig_len, err);
}

/* ---- The terminal, for the self-test ---- */

/* The shared X coordinate by OpenSSL; the secret is its tail. */
static enum kl_rc known_secret(EVP_PKEY *ephemeral, const struct kl_work *work,
                               uint8_t secret[KL_ECDH_LEN], struct kl_err *err)
{
    uint8_t x[KL_EC_FIELD_MAX];
    size_t len = sizeof(x);
    enum kl_rc rc = KL_OK;
    EVP_PKEY_CTX *ctx;

    kl_err_openssl_clear();
    ctx = EVP_PKEY_CTX_new(ephemeral, NULL);
    if (!ctx || EVP_PKEY_derive_init(ctx) != 1 ||
        EVP_PKEY_derive_set_peer(ctx, work->public_key) != 1 ||
        EVP_PKEY_derive(ctx, x, &len) != 1 || len < KL_ECDH_LEN) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_PKEY_derive", "known answer");
    } else {
        memcpy(secret, x + len - KL_ECDH_LEN, KL_ECDH_LEN);
    }
    EVP_PKEY_CTX_free(ctx);
    return rc;
}

static enum kl_rc enclose_known(const struct kl_work *work, const uint8_t t0[KL_HASH_LEN],
                                const uint8_t rnd1[KL_RND1_LEN], const uint8_t rnd2[KL_RND2_LEN],
                                struct kl_randoms *out, struct kl_err *err)
{
    const struct kl_curve *curve = kl_curve_by_bits(work->bits);
    uint8_t secret[KL_ECDH_LEN], label[KL_HASH_LEN], ecies[KL_HASH_LEN];
    EVP_PKEY *ephemeral = NULL;
    enum kl_rc rc;

    kl_err_openssl_clear();
    ephemeral = EVP_EC_gen(curve->group);
    if (!ephemeral) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_EC_gen", "known answer");
    }
    if ((rc = kl_ec_to_point(ephemeral, out->point, &out->point_len, err)) == KL_OK &&
        (rc = known_secret(ephemeral, work, secret, err)) == KL_OK &&
        (rc = kl_suite_ecies_label(t0, out->point, out->point_len, label, err)) == KL_OK &&
        (rc = kl_known_encrypt("AES-256-ECB", secret, label, sizeof(label), ecies, err)) == KL_OK &&
        (rc = kl_known_encrypt("AES-256-WRAP", ecies, rnd1, KL_RND1_LEN, out->c_rnd1, err)) ==
            KL_OK) {
        out->c_rnd1_len = KL_C_RND1_EC_LEN;
        rc = kl_hardened_enclose_known(t0, rnd1, rnd2, out, err);
    }
    EVP_PKEY_free(ephemeral);
    return rc;
}

static enum kl_rc enclose(struct kl_loader *loader, const struct kl_work *work,
                          const uint8_t t0[KL_HASH_LEN], struct kl_self_pad *pad,
                          struct kl_randoms *out, struct kl_err *err)
{
    CK_OBJECT_HANDLE ephemeral = CK_INVALID_HANDLE, ecies = CK_INVALID_HANDLE;
    uint8_t label[KL_HASH_LEN], theirs[KL_EC_POINT_MAX];
    size_t len = 0;
    enum kl_rc rc;

    if ((rc = kl_ec_to_point(work->public_key, theirs, &len, err)) == KL_OK &&
        (rc = kl_op_generate_ephemeral(loader->session, kl_curve_by_bits(work->bits), &ephemeral,
                                       out->point, &out->point_len, err)) == KL_OK &&
        (rc = kl_suite_ecies_label(t0, out->point, out->point_len, label, err)) == KL_OK &&
        (rc = derive_ecies(loader, work, ephemeral, theirs, len, label, KL_USE_WRAP, &ecies,
                           err)) == KL_OK &&
        (rc = kl_op_generate_rnd1(loader->session, &pad->rnd1, err)) == KL_OK) {
        rc = kl_op_wrap(loader->session, ecies, pad->rnd1, out->c_rnd1, &out->c_rnd1_len, err);
    }
    kl_op_destroy(loader->session, &ecies);
    kl_op_destroy(loader->session, &ephemeral);
    return rc != KL_OK ? rc : kl_hardened_enclose(loader, t0, pad, out, err);
}

const struct kl_suite_loader kl_suite_loader_hardened_ec = {
    .id = KL_SUITE_HARDENED_EC,
    .choose = choose,
    .recover = recover,
    .sign = sign,
    .enclose_known = enclose_known,
    .enclose = enclose,
    .open = kl_hardened_open,
};
