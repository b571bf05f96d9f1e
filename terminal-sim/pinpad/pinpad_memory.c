/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A PIN pad in memory: OpenSSL does the arithmetic and all keys stand in the locked, wiped heap,
 * each only for as long as there is one, so that it has room for the pads of very many terminals.
 * Its TMKs die with it.
 */
#include "terminal-sim/pinpad/pinpad_memory.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "proto/pubkey.h"

#define KEY_LEN KL_MEMORY_KEY_LEN
_Static_assert(KL_TMK_LEN_MAX <= KEY_LEN, "a TMK fits its slot");

struct kl_memory_pad *kl_memory_of(struct kl_pinpad *pad)
{
    return (struct kl_memory_pad *)pad;
}

enum kl_rc kl_memory_key_new(struct kl_memory_pad *self, size_t slot, uint8_t **key,
                             struct kl_err *err)
{
    enum kl_rc rc = self->keys[slot] ? KL_OK : kl_secret_new(KEY_LEN, &self->keys[slot], err);

    if (!rc) {
        *key = kl_secret_data(self->keys[slot]);
    }
    return rc;
}

void kl_memory_key_drop(struct kl_memory_pad *self, size_t slot)
{
    kl_secret_free(self->keys[slot]);
    self->keys[slot] = NULL;
}

/* One that this load or session has: each kind of them has others. */
static enum kl_rc session_key(struct kl_pinpad *pad, enum kl_purpose purpose, const uint8_t **key,
                              struct kl_err *err)
{
    struct kl_secret *found = kl_memory_of(pad)->keys[purpose];

    if (!found) {
        return kl_err_set(err, KL_ERR_INTERNAL, "what is under way in the PIN pad has no such key");
    }
    *key = kl_secret_data(found);
    return KL_OK;
}

static size_t index_of(struct kl_memory_pad *self, const struct kl_pinpad_tmk *tmk)
{
    size_t i = 0;

    while (!self->used[i] || self->tmks[i].version != tmk->version) {
        i++; /* pinpad.c has found it in the list */
    }
    return i;
}

uint8_t *kl_memory_tmk(struct kl_memory_pad *self, const struct kl_pinpad_tmk *tmk)
{
    return kl_secret_data(self->keys[KL_MEMORY_TMK_SLOT(index_of(self, tmk))]);
}

/* ---- The table ---- */

static void memory_free(struct kl_pinpad *pad)
{
    EVP_PKEY_free(kl_memory_of(pad)->device);
    for (size_t i = 0; i < KL_MEMORY_SLOTS; i++) {
        kl_memory_key_drop(kl_memory_of(pad), i);
    }
    free(pad);
}

static enum kl_rc memory_random(struct kl_pinpad *pad, uint8_t *out, size_t len, struct kl_err *err)
{
    (void)pad;
    if (RAND_priv_bytes(out, (int)len) != 1) {
        return kl_err_openssl(err, KL_ERR_SYSTEM, "RAND_priv_bytes", "no random bytes");
    }
    return KL_OK;
}

enum kl_rc kl_memory_derive(struct kl_memory_pad *self, enum kl_purpose from, enum kl_purpose to,
                            const uint8_t *base, size_t base_len,
                            const struct kl_pinpad_labels *labels, struct kl_err *err)
{
    const EVP_CIPHER *cipher = kl_memory_aes_ecb(base_len);
    uint8_t *key = NULL;
    enum kl_rc rc = KL_OK;

    for (size_t i = (size_t)from; !rc && i <= (size_t)to; i++) {
        rc = kl_memory_key_new(self, i, &key, err);
        if (!rc) {
            rc = kl_memory_ecb(cipher, 1, base, labels->of[i], KL_HASH_LEN, key, err);
        }
    }
    return rc;
}

/* Rnd1 || Rnd2 for classic, Rnd1 alone otherwise, in a secret that the caller frees. */
static enum kl_rc draw_rnd1(struct kl_pinpad *pad, const uint8_t *rnd2, struct kl_secret **out,
                            struct kl_err *err)
{
    struct kl_secret *rnd1 = NULL;
    enum kl_rc rc = kl_secret_new(KL_RND1_LEN + KL_RND2_LEN, &rnd1, err);

    if (!rc) {
        rc = memory_random(pad, kl_secret_data(rnd1), KL_RND1_LEN, err);
    }
    if (rc) {
        kl_secret_free(rnd1);
        return rc;
    }
    if (rnd2) {
        memcpy(kl_secret_data(rnd1) + KL_RND1_LEN, rnd2, KL_RND2_LEN);
    }
    kl_secret_set_len(rnd1, rnd2 ? KL_RND1_LEN + KL_RND2_LEN : KL_RND1_LEN);
    *out = rnd1;
    return KL_OK;
}

static enum kl_rc memory_start_rsa(struct kl_pinpad *pad, struct kl_pubkey *work,
                                   enum kl_oaep_hash hash, const struct kl_pinpad_labels *labels,
                                   uint8_t *c_rnd1, size_t *c_rnd1_len, struct kl_err *err)
{
    struct kl_secret *rnd1 = NULL;
    enum kl_rc rc = draw_rnd1(pad, NULL, &rnd1, err);

    if (!rc) {
        rc = kl_memory_derive(kl_memory_of(pad), KL_PURPOSE_WRAP, KL_PURPOSE_DONE,
                              kl_secret_data(rnd1), KL_RND1_LEN, labels, err);
    }
    if (!rc) {
        rc = kl_pubkey_oaep(work, hash, kl_secret_data(rnd1), kl_secret_len(rnd1), c_rnd1,
                            c_rnd1_len, err);
    }
    kl_secret_free(rnd1);
    return rc;
}

static enum kl_rc memory_start_classic(struct kl_pinpad *pad, struct kl_pubkey *work,
                                       enum kl_oaep_hash hash,
                                       const struct kl_pinpad_labels *labels, const uint8_t *rnd2,
                                       uint8_t *c_rnd1, size_t *c_rnd1_len, struct kl_err *err)
{
    struct kl_memory_pad *self = kl_memory_of(pad);
    struct kl_secret *rnd1 = NULL;
    uint8_t *wrap = NULL;
    enum kl_rc rc = draw_rnd1(pad, rnd2, &rnd1, err);

    if (!rc) {
        rc = kl_memory_derive(self, KL_PURPOSE_ACK, KL_PURPOSE_KEYS, kl_secret_data(rnd1),
                              KL_RND1_LEN, labels, err);
    }
    if (!rc) {
        rc = kl_memory_key_new(self, KL_PURPOSE_WRAP, &wrap, err);
    }
    if (!rc) {
        memcpy(wrap, kl_secret_data(rnd1), KL_RND1_LEN);
        rc = kl_pubkey_oaep(work, hash, kl_secret_data(rnd1), kl_secret_len(rnd1), c_rnd1,
                            c_rnd1_len, err);
    }
    kl_secret_free(rnd1);
    return rc;
}

/* Rnd1 under K_ecies, which is derived from the ECDH secret. */
static enum kl_rc wrap_ecies(struct kl_secret *secret, const uint8_t *label, struct kl_secret *rnd1,
                             uint8_t *c_rnd1, struct kl_err *err)
{
    struct kl_secret *k_ecies = NULL;
    enum kl_rc rc = kl_secret_new(KL_HASH_LEN, &k_ecies, err);

    if (!rc) {
        rc = kl_memory_ecb(kl_memory_aes_ecb(KL_HASH_LEN), 1, kl_secret_data(secret), label,
                           KL_HASH_LEN, kl_secret_data(k_ecies), err);
    }
    if (!rc) {
        rc = kl_memory_wrap(kl_secret_data(k_ecies), KL_HASH_LEN, kl_secret_data(rnd1), KL_RND1_LEN,
                            c_rnd1, err);
    }
    kl_secret_free(k_ecies);
    return rc;
}

static enum kl_rc memory_start_ec(struct kl_pinpad *pad, struct kl_pubkey *work,
                                  const struct kl_curve *curve, const uint8_t *t0,
                                  const struct kl_pinpad_labels *labels, uint8_t *point,
                                  size_t *point_len, uint8_t *c_rnd1, struct kl_err *err)
{
    EVP_PKEY *ephemeral = NULL;
    struct kl_secret *rnd1 = NULL, *secret = NULL;
    uint8_t label[KL_HASH_LEN];
    enum kl_rc rc = kl_memory_ephemeral(curve, &ephemeral, point, point_len, err);

    if (!rc) {
        rc = kl_suite_ecies_label(t0, point, *point_len, label, err);
    }
    if (!rc) {
        rc = kl_memory_agree(ephemeral, work, &secret, err);
    }
    if (!rc) {
        rc = draw_rnd1(pad, NULL, &rnd1, err);
    }
    if (!rc) {
        rc = kl_memory_derive(kl_memory_of(pad), KL_PURPOSE_WRAP, KL_PURPOSE_DONE,
                              kl_secret_data(rnd1), KL_RND1_LEN, labels, err);
    }
    if (!rc) {
        rc = wrap_ecies(secret, label, rnd1, c_rnd1, err);
    }
    kl_secret_free(rnd1);
    kl_secret_free(secret);
    EVP_PKEY_free(ephemeral);
    return rc;
}

static enum kl_rc memory_seal(struct kl_pinpad *pad, const uint8_t *iv, const uint8_t *t0,
                              const uint8_t *rnd2, uint8_t *out, struct kl_err *err)
{
    const uint8_t *key = NULL;
    EVP_CIPHER_CTX *ctx;
    int n, ok;
    enum kl_rc rc = session_key(pad, KL_PURPOSE_NONCE, &key, err);

    if (rc) {
        return rc;
    }
    ctx = EVP_CIPHER_CTX_new();
    ok = ctx && EVP_EncryptInit_ex2(ctx, EVP_aes_256_gcm(), key, iv, NULL) &&
         EVP_EncryptUpdate(ctx, NULL, &n, t0, KL_HASH_LEN) &&
         EVP_EncryptUpdate(ctx, out, &n, rnd2, KL_RND2_LEN) &&
         EVP_EncryptFinal_ex(ctx, out + n, &n) &&
         EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, KL_GCM_TAG_LEN, out + KL_RND2_LEN) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return ok ? KL_OK : kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_EncryptUpdate", "GCM failed");
}

static enum kl_rc memory_kcv(struct kl_pinpad *pad, enum kl_alg alg, const uint8_t *ctmk,
                             size_t ctmk_len, size_t kcv_len, uint8_t *kcv, struct kl_err *err)
{
    struct kl_secret *tmk = NULL;
    const uint8_t *wrap = NULL;
    enum kl_rc rc = session_key(pad, KL_PURPOSE_WRAP, &wrap, err);

    if (!rc) {
        rc = kl_secret_new(KL_TMK_LEN_MAX, &tmk, err);
    }
    if (!rc) {
        rc = kl_memory_unwrap(wrap, KEY_LEN, ctmk, ctmk_len, kl_secret_data(tmk), err);
    }
    if (!rc) {
        rc = kl_memory_compute_kcv(alg, kl_secret_data(tmk), kcv_len, kcv, err);
    }
    kl_secret_free(tmk);
    return rc;
}

static enum kl_rc memory_keep(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                              const uint8_t *ctmk, size_t ctmk_len, struct kl_err *err)
{
    struct kl_memory_pad *self = kl_memory_of(pad);
    const uint8_t *wrap = NULL;
    uint8_t *key = NULL;
    size_t i = 0;
    enum kl_rc rc = session_key(pad, KL_PURPOSE_WRAP, &wrap, err);

    while (self->used[i]) { /* pinpad.c has seen that one is free */
        i++;
    }
    if (!rc) {
        rc = kl_memory_key_new(self, KL_MEMORY_TMK_SLOT(i), &key, err);
    }
    if (!rc) {
        rc = kl_memory_unwrap(wrap, KEY_LEN, ctmk, ctmk_len, key, err);
    }
    if (rc) {
        kl_memory_key_drop(self, KL_MEMORY_TMK_SLOT(i));
        return rc;
    }
    self->tmks[i] = *tmk;
    self->used[i] = 1;
    return KL_OK;
}

static enum kl_rc memory_mac(struct kl_pinpad *pad, enum kl_purpose purpose, const uint8_t *in,
                             size_t len, uint8_t *mac, struct kl_err *err)
{
    const uint8_t *key = NULL;
    enum kl_rc rc = session_key(pad, purpose, &key, err);

    return rc ? rc : kl_memory_cmac(key, KEY_LEN, in, len, mac, err);
}

static void memory_end(struct kl_pinpad *pad)
{
    for (size_t i = 0; i < KL_PURPOSE_COUNT; i++) {
        kl_memory_key_drop(kl_memory_of(pad), i);
    }
}

static enum kl_rc memory_list(struct kl_pinpad *pad, struct kl_pinpad_tmk *out, size_t *count,
                              struct kl_err *err)
{
    struct kl_memory_pad *self = kl_memory_of(pad);
    size_t i, n = 0;

    (void)err;
    for (i = 0; i < KL_PINPAD_TMK_MAX; i++) {
        if (self->used[i]) {
            out[n++] = self->tmks[i];
        }
    }
    *count = n;
    return KL_OK;
}

static enum kl_rc memory_destroy(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                                 struct kl_err *err)
{
    struct kl_memory_pad *self = kl_memory_of(pad);
    size_t i = index_of(self, tmk);

    (void)err;
    kl_memory_key_drop(self, KL_MEMORY_TMK_SLOT(i));
    self->used[i] = 0;
    return KL_OK;
}

static const struct kl_pinpad_ops memory_ops = {
    .kind = "memory",
    .free = memory_free,
    .random = memory_random,
    .start_rsa = memory_start_rsa,
    .start_ec = memory_start_ec,
    .start_classic = memory_start_classic,
    .seal = memory_seal,
    .kcv = memory_kcv,
    .keep = memory_keep,
    .mac = memory_mac,
    .end = memory_end,
    .list = memory_list,
    .destroy = memory_destroy,
    .start_session = kl_memory_start_session,
    .working_kcv = kl_memory_working_kcv,
    .highest_pair = kl_memory_highest_pair,
    .keep_pair = kl_memory_keep_pair,
    .has_pair = kl_memory_has_pair,
    .prune = kl_memory_prune,
    .encrypt = kl_memory_encrypt,
    .chain = kl_memory_chain,
    .cmac = kl_memory_cmac_message,
    .device_generate = kl_memory_device_generate,
    .device_destroy = kl_memory_device_destroy,
    .device_public = kl_memory_device_public,
    .device_request = kl_memory_device_request,
    .device_sign = kl_memory_device_sign,
};

enum kl_rc kl_pinpad_memory_new(struct kl_pinpad **out, struct kl_err *err)
{
    struct kl_memory_pad *self = calloc(1, sizeof(*self));

    if (!self) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for a PIN pad");
    }
    self->base.ops = &memory_ops;
    *out = &self->base;
    return KL_OK;
}

enum kl_rc kl_pinpad_memory_lent(struct kl_pinpad *signer, struct kl_pinpad **out,
                                 struct kl_err *err)
{
    enum kl_rc rc = kl_pinpad_memory_new(out, err);

    if (!rc) {
        kl_memory_of(*out)->signer = signer;
    }
    return rc;
}
