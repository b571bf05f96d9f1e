/* SPDX-License-Identifier: BSD-2-Clause */
/* The PIN pad in memory: working keys and the device key. */
#include <openssl/rsa.h>
#include <string.h>

#include "pkcs11/x509sign.h"
#include "proto/cert.h"
#include "proto/pubkey.h"
#include "terminal-sim/pinpad/pinpad_memory.h"

#define DES_LEN 8

/* ---- Working keys ---- */

/* A key under the TMK into out, which holds KL_MEMORY_KEY_LEN bytes of the secret heap. */
static enum kl_rc open_under(struct kl_memory_pad *self, const struct kl_pinpad_tmk *tmk,
                             const uint8_t *wrapped, size_t len, uint8_t *out, struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(tmk->alg);
    const uint8_t *key = kl_memory_tmk(self, tmk);

    return info->is_aes ? kl_memory_unwrap(key, info->key_len, wrapped, len, out, err)
                        : kl_memory_ecb(kl_memory_ecb_of(tmk->alg), 0, key, wrapped, len, out, err);
}

enum kl_rc kl_memory_start_session(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                                   const struct kl_pinpad_labels *labels, const uint8_t *c_session,
                                   size_t len, struct kl_err *err)
{
    struct kl_memory_pad *self = kl_memory_of(pad);
    struct kl_secret *session = NULL;
    enum kl_rc rc = kl_secret_new(KL_MEMORY_KEY_LEN, &session, err);

    if (!rc) {
        rc = open_under(self, tmk, c_session, len, kl_secret_data(session), err);
    }
    if (!rc) {
        rc = kl_memory_derive(self, KL_PURPOSE_ACK, KL_PURPOSE_KEYS, kl_secret_data(session),
                              kl_alg_info(kl_suite_session_alg(tmk->alg))->key_len, labels, err);
    }
    kl_secret_free(session);
    return rc;
}

enum kl_rc kl_memory_working_kcv(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                                 enum kl_alg alg, const uint8_t *wrapped, size_t len,
                                 size_t kcv_len, uint8_t *kcv, struct kl_err *err)
{
    struct kl_secret *key = NULL;
    enum kl_rc rc = kl_secret_new(KL_MEMORY_KEY_LEN, &key, err);

    if (!rc) {
        rc = open_under(kl_memory_of(pad), tmk, wrapped, len, kl_secret_data(key), err);
    }
    if (!rc) {
        rc = kl_memory_compute_kcv(alg, kl_secret_data(key), kcv_len, kcv, err);
    }
    kl_secret_free(key);
    return rc;
}

enum kl_rc kl_memory_highest_pair(struct kl_pinpad *pad, uint32_t *number, struct kl_err *err)
{
    const struct kl_memory_pad *self = kl_memory_of(pad);
    uint32_t highest = 0;

    (void)err;
    for (size_t i = 0; i < KL_MEMORY_PAIRS; i++) {
        highest = self->pairs[i].number > highest ? self->pairs[i].number : highest;
    }
    *number = highest;
    return KL_OK;
}

static void forget_pair(struct kl_memory_pad *self, size_t i)
{
    kl_memory_key_drop(self, KL_MEMORY_PAIR_SLOT(i, 0));
    kl_memory_key_drop(self, KL_MEMORY_PAIR_SLOT(i, 1));
    memset(&self->pairs[i], 0, sizeof(self->pairs[i]));
}

static enum kl_rc keep_key(struct kl_memory_pad *self, const struct kl_pinpad_tmk *tmk,
                           const struct kl_bytes *wrapped, size_t slot, struct kl_err *err)
{
    uint8_t *key = NULL;
    enum kl_rc rc = kl_memory_key_new(self, slot, &key, err);

    return rc ? rc : open_under(self, tmk, wrapped->data, wrapped->len, key, err);
}

enum kl_rc kl_memory_keep_pair(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                               const struct kl_pinpad_pair *pair, const struct kl_bytes *pik,
                               const struct kl_bytes *mak, struct kl_err *err)
{
    struct kl_memory_pad *self = kl_memory_of(pad);
    size_t i = 0;
    enum kl_rc rc;

    while (i < KL_MEMORY_PAIRS && self->pairs[i].number) {
        i++;
    }
    if (i == KL_MEMORY_PAIRS) {
        return kl_err_set(err, KL_ERR_REFUSED, "the PIN pad is full of working keys");
    }
    rc = keep_key(self, tmk, pik, KL_MEMORY_PAIR_SLOT(i, 0), err);
    if (!rc) {
        rc = keep_key(self, tmk, mak, KL_MEMORY_PAIR_SLOT(i, 1), err);
    }
    if (rc) {
        forget_pair(self, i);
        return rc;
    }
    self->pairs[i] = *pair;
    return KL_OK;
}

static int same_pair(const struct kl_pinpad_pair *a, const struct kl_pinpad_pair *b)
{
    return a->number && a->number == b->number && a->tmk_version == b->tmk_version &&
           a->alg == b->alg && a->kcv_len == b->kcv_len &&
           memcmp(a->pik_kcv, b->pik_kcv, a->kcv_len) == 0 &&
           memcmp(a->mak_kcv, b->mak_kcv, a->kcv_len) == 0;
}

/* KL_MEMORY_PAIRS: it is not there. */
static size_t index_of(const struct kl_memory_pad *self, const struct kl_pinpad_pair *pair)
{
    size_t i = 0;

    while (i < KL_MEMORY_PAIRS && !same_pair(&self->pairs[i], pair)) {
        i++;
    }
    return i;
}

static enum kl_rc find(struct kl_memory_pad *self, const struct kl_pinpad_pair *pair, int mak,
                       const uint8_t **key, struct kl_err *err)
{
    size_t i = index_of(self, pair);

    if (i == KL_MEMORY_PAIRS) {
        return kl_err_set(err, KL_ERR_KEY, "the PIN pad does not hold working keys number %u",
                          (unsigned)pair->number);
    }
    *key = kl_secret_data(self->keys[KL_MEMORY_PAIR_SLOT(i, mak)]);
    return KL_OK;
}

enum kl_rc kl_memory_has_pair(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair, int *yes,
                              struct kl_err *err)
{
    (void)err;
    *yes = index_of(kl_memory_of(pad), pair) < KL_MEMORY_PAIRS;
    return KL_OK;
}

enum kl_rc kl_memory_prune(struct kl_pinpad *pad, uint32_t keep, struct kl_err *err)
{
    struct kl_memory_pad *self = kl_memory_of(pad);

    (void)err;
    for (size_t i = 0; i < KL_MEMORY_PAIRS; i++) {
        if (self->pairs[i].number != keep) {
            forget_pair(self, i);
        }
    }
    return KL_OK;
}

enum kl_rc kl_memory_encrypt(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair, int mak,
                             const uint8_t *in, uint8_t *out, struct kl_err *err)
{
    const uint8_t *key = NULL;
    enum kl_rc rc = find(kl_memory_of(pad), pair, mak, &key, err);

    return rc ? rc
              : kl_memory_ecb(kl_memory_ecb_of(pair->alg), 1, key, in,
                              kl_alg_info(pair->alg)->is_aes ? 16 : DES_LEN, out, err);
}

enum kl_rc kl_memory_chain(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                           const uint8_t *in, size_t len, uint8_t *chain, struct kl_err *err)
{
    struct kl_secret *twice = NULL; /* K1 || K1: DES under K1, by TDES */
    const uint8_t *key = NULL;
    enum kl_rc rc = find(kl_memory_of(pad), pair, 1, &key, err);

    if (!rc) {
        rc = kl_secret_new((size_t)2 * DES_LEN, &twice, err);
    }
    if (!rc) {
        memcpy(kl_secret_data(twice), key, DES_LEN);
        memcpy(kl_secret_data(twice) + DES_LEN, key, DES_LEN);
    }
    for (; !rc && len > 0; in += DES_LEN, len -= DES_LEN) {
        for (size_t i = 0; i < DES_LEN; i++) {
            chain[i] ^= in[i];
        }
        rc = kl_memory_ecb(kl_memory_ecb_of(KL_ALG_TDES2), 1, kl_secret_data(twice), chain, DES_LEN,
                           chain, err);
    }
    kl_secret_free(twice);
    return rc;
}

enum kl_rc kl_memory_cmac_message(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                                  const uint8_t *in, size_t len, uint8_t *mac, struct kl_err *err)
{
    const uint8_t *key = NULL;
    enum kl_rc rc = find(kl_memory_of(pad), pair, 1, &key, err);

    return rc ? rc : kl_memory_cmac(key, kl_alg_info(pair->alg)->key_len, in, len, mac, err);
}

/* ---- Device key ---- */

static enum kl_rc need_device(const struct kl_memory_pad *self, struct kl_err *err)
{
    return self->device ? KL_OK
                        : kl_err_set(err, KL_ERR_NOT_FOUND,
                                     "the PIN pad has no device key; make one by "
                                     "'device-key generate'");
}

enum kl_rc kl_memory_device_generate(struct kl_pinpad *pad, enum kl_key_type type, unsigned bits,
                                     EVP_PKEY **out, struct kl_err *err)
{
    struct kl_memory_pad *self = kl_memory_of(pad);
    const struct kl_curve *curve = type == KL_KEY_EC ? kl_curve_by_bits(bits) : NULL;

    self->device = curve                ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", curve->group)
                   : type == KL_KEY_RSA ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits)
                                        : NULL;
    if (!self->device) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_PKEY_Q_keygen", "no device key");
    }
    return kl_memory_device_public(pad, out, err);
}

enum kl_rc kl_memory_device_destroy(struct kl_pinpad *pad, struct kl_err *err)
{
    struct kl_memory_pad *self = kl_memory_of(pad);

    (void)err;
    EVP_PKEY_free(self->device);
    self->device = NULL;
    return KL_OK;
}

enum kl_rc kl_memory_device_public(struct kl_pinpad *pad, EVP_PKEY **out, struct kl_err *err)
{
    struct kl_memory_pad *self = kl_memory_of(pad);
    enum kl_rc rc = need_device(self, err);

    if (!rc && !EVP_PKEY_up_ref(self->device)) {
        rc = kl_err_openssl(err, KL_ERR_MEMORY, "EVP_PKEY_up_ref", "device key");
    }
    if (!rc) {
        *out = self->device;
    }
    return rc;
}

enum kl_rc kl_memory_device_request(struct kl_pinpad *pad, X509_REQ *req, struct kl_err *err)
{
    struct kl_memory_pad *self = kl_memory_of(pad);
    struct kl_signer *signer = NULL;
    enum kl_rc rc = need_device(self, err);

    if (!rc) {
        rc = kl_signer_pkey(KL_PAIR_DEVICE, self->device, &signer, err);
    }
    if (!rc) {
        rc = kl_sign_request(signer, req, err);
    }
    kl_signer_free(signer);
    return rc;
}

/* The signature that OpenSSL makes; of EC keys in DER. */
static enum kl_rc sign(EVP_PKEY *key, const struct kl_curve *curve, const uint8_t *in, size_t len,
                       uint8_t out[KL_SIG_MAX], size_t *out_len, struct kl_err *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL; /* ctx's */
    int ok;

    *out_len = KL_SIG_MAX;
    ok = ctx && EVP_DigestSignInit_ex(ctx, &pctx, curve ? curve->hash : "SHA256", NULL, NULL, key,
                                      NULL) == 1;
    if (ok && !curve) {
        ok = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, KL_HASH_LEN) == 1;
    }
    ok = ok && EVP_DigestSign(ctx, out, out_len, in, len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok ? KL_OK
              : kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_DigestSign",
                               "the device key cannot sign");
}

enum kl_rc kl_memory_device_sign(struct kl_pinpad *pad, const uint8_t *in, size_t len, uint8_t *sig,
                                 size_t *sig_len, struct kl_err *err)
{
    struct kl_memory_pad *self = kl_memory_of(pad);
    const struct kl_curve *curve;
    uint8_t made[KL_SIG_MAX];
    enum kl_key_type type;
    unsigned bits;
    size_t n;
    enum kl_rc rc;

    if (self->signer) {
        return kl_pinpad_device_sign(self->signer, in, len, sig, sig_len, err);
    }
    rc = need_device(self, err);
    if (!rc) {
        rc = kl_pubkey_type(self->device, &type, &bits, err);
    }
    if (rc) {
        return rc;
    }
    curve = type == KL_KEY_EC ? kl_curve_by_bits(bits) : NULL;
    rc = sign(self->device, curve, in, len, made, &n, err);
    if (!rc && curve) {
        rc = kl_ecdsa_from_der(curve, made, n, sig, sig_len, err);
    } else if (!rc) {
        memcpy(sig, made, n);
        *sig_len = n;
    }
    return rc;
}
