/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A PIN pad in memory: OpenSSL does the arithmetic and all keys stand in one block of the locked,
 * wiped heap, small enough for thousands of pads in one process. Its TMKs die with it.
 */
#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "proto/rsa.h"
#include "proto/secret.h"
#include "terminal-sim/pinpad_backend.h"

#define SESSION_KEYS (KL_PURPOSE_DONE + 1)
#define KEY_LEN 32 /* AES-256; also room for the longest TMK */
_Static_assert(KL_TMK_LEN_MAX <= KEY_LEN, "a TMK fits its slot");

struct memory_pad {
    struct kl_pinpad base;
    struct kl_secret *keys; /* the load's keys by enum kl_purpose, then one slot for each TMK */
    int used[KL_PINPAD_TMK_MAX];
    struct kl_pinpad_tmk tmks[KL_PINPAD_TMK_MAX];
};

static struct memory_pad *self_of(struct kl_pinpad *pad)
{
    return (struct memory_pad *)pad;
}

static uint8_t *session_key(struct memory_pad *self, enum kl_purpose purpose)
{
    return kl_secret_data(self->keys) + (size_t)purpose * KEY_LEN;
}

static uint8_t *tmk_slot(struct memory_pad *self, size_t i)
{
    return kl_secret_data(self->keys) + (SESSION_KEYS + i) * KEY_LEN;
}

/* ---- One-shot OpenSSL operations ---- */

/* ECB without padding: in_len is a whole number of blocks. */
static enum kl_rc ecb(const EVP_CIPHER *cipher, const uint8_t *key, const uint8_t *in,
                      size_t in_len, uint8_t *out, struct kl_err *err)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n, ok;

    ok = ctx && EVP_EncryptInit_ex2(ctx, cipher, key, NULL, NULL) &&
         EVP_CIPHER_CTX_set_padding(ctx, 0) && EVP_EncryptUpdate(ctx, out, &n, in, (int)in_len) &&
         n == (int)in_len;
    EVP_CIPHER_CTX_free(ctx);
    return ok ? KL_OK : kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_EncryptUpdate", "ECB failed");
}

static enum kl_rc cmac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len,
                       uint8_t out[KL_MAC_LEN], struct kl_err *err)
{
    char cipher[] = "AES-256-CBC";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher,
                                                            sizeof(cipher) - 1),
                           OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "CMAC", NULL);
    EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
    size_t n = 0;
    int ok;

    memcpy(cipher + 4, key_len == 16 ? "128" : key_len == 24 ? "192" : "256", 3);
    ok = ctx && EVP_MAC_init(ctx, key, key_len, params) && EVP_MAC_update(ctx, in, len) &&
         EVP_MAC_final(ctx, out, &n, KL_MAC_LEN) && n == KL_MAC_LEN;
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    return ok ? KL_OK : kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_MAC_final", "CMAC failed");
}

/* RFC 3394; out holds in_len - KL_WRAP_OVERHEAD bytes. Its check value is all that says the input
 * is genuine. */
static enum kl_rc unwrap(const uint8_t *kek, const uint8_t *in, size_t in_len, uint8_t *out,
                         struct kl_err *err)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n, ok;

    if (!ctx) {
        return kl_err_openssl(err, KL_ERR_MEMORY, "EVP_CIPHER_CTX_new", "AES key unwrap");
    }
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    ok = EVP_DecryptInit_ex2(ctx, EVP_aes_256_wrap(), kek, NULL, NULL) &&
         EVP_DecryptUpdate(ctx, out, &n, in, (int)in_len) && n == (int)in_len - KL_WRAP_OVERHEAD;
    EVP_CIPHER_CTX_free(ctx);
    return ok ? KL_OK
              : kl_err_openssl(err, KL_ERR_VERIFY, "EVP_DecryptUpdate",
                               "Ctmk does not unwrap under K_wrap");
}

static enum kl_rc compute_kcv(enum kl_alg alg, const uint8_t *key, size_t kcv_len, uint8_t *kcv,
                              struct kl_err *err)
{
    static const uint8_t zeros[16];
    const struct kl_alg_info *info = kl_alg_info(alg);
    uint8_t full[KL_MAC_LEN];
    enum kl_rc rc;

    if (info->is_aes) {
        rc = cmac(key, info->key_len, zeros, sizeof(zeros), full, err);
    } else {
        rc = ecb(alg == KL_ALG_TDES2 ? EVP_des_ede_ecb() : EVP_des_ede3_ecb(), key, zeros, 8, full,
                 err);
    }
    if (!rc) {
        memcpy(kcv, full, kcv_len);
    }
    kl_wipe(full, sizeof(full));
    return rc;
}

/* ---- The table ---- */

static void memory_free(struct kl_pinpad *pad)
{
    kl_secret_free(self_of(pad)->keys);
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

static enum kl_rc memory_start(struct kl_pinpad *pad, EVP_PKEY *work, enum kl_oaep_hash hash,
                               const struct kl_pinpad_labels *labels, uint8_t *c_rnd1,
                               size_t *c_rnd1_len, struct kl_err *err)
{
    struct memory_pad *self = self_of(pad);
    struct kl_secret *rnd1 = NULL;
    int i;
    enum kl_rc rc = kl_secret_new(KL_RND1_LEN, &rnd1, err);

    if (!rc) {
        rc = memory_random(pad, kl_secret_data(rnd1), KL_RND1_LEN, err);
    }
    for (i = 0; !rc && i < SESSION_KEYS; i++) {
        rc = ecb(EVP_aes_256_ecb(), kl_secret_data(rnd1), labels->of[i], KL_HASH_LEN,
                 session_key(self, (enum kl_purpose)i), err);
    }
    if (!rc) {
        rc = kl_rsa_oaep_encrypt(work, hash, kl_secret_data(rnd1), KL_RND1_LEN, c_rnd1, c_rnd1_len,
                                 err);
        if (rc) {
            kl_err_context(err, "Rnd1 under AcquireWCRT_Pu");
        }
    }
    kl_secret_free(rnd1);
    return rc;
}

static enum kl_rc memory_seal(struct kl_pinpad *pad, const uint8_t *iv, const uint8_t *t0,
                              const uint8_t *rnd2, uint8_t *out, struct kl_err *err)
{
    uint8_t *key = session_key(self_of(pad), KL_PURPOSE_NONCE);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n, ok;

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
    enum kl_rc rc = kl_secret_new(KL_TMK_LEN_MAX, &tmk, err);

    if (!rc) {
        rc = unwrap(session_key(self_of(pad), KL_PURPOSE_WRAP), ctmk, ctmk_len, kl_secret_data(tmk),
                    err);
    }
    if (!rc) {
        rc = compute_kcv(alg, kl_secret_data(tmk), kcv_len, kcv, err);
    }
    kl_secret_free(tmk);
    return rc;
}

static enum kl_rc memory_keep(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                              const uint8_t *ctmk, size_t ctmk_len, struct kl_err *err)
{
    struct memory_pad *self = self_of(pad);
    size_t i = 0;
    enum kl_rc rc;

    while (self->used[i]) { /* pinpad.c has seen that one is free */
        i++;
    }
    rc = unwrap(session_key(self, KL_PURPOSE_WRAP), ctmk, ctmk_len, tmk_slot(self, i), err);
    if (rc) {
        kl_wipe(tmk_slot(self, i), KEY_LEN);
        return rc;
    }
    self->tmks[i] = *tmk;
    self->used[i] = 1;
    return KL_OK;
}

static enum kl_rc memory_mac(struct kl_pinpad *pad, enum kl_purpose purpose, const uint8_t *in,
                             size_t len, uint8_t *mac, struct kl_err *err)
{
    return cmac(session_key(self_of(pad), purpose), KEY_LEN, in, len, mac, err);
}

static void memory_end(struct kl_pinpad *pad)
{
    kl_wipe(session_key(self_of(pad), KL_PURPOSE_WRAP), (size_t)SESSION_KEYS * KEY_LEN);
}

static enum kl_rc memory_list(struct kl_pinpad *pad, struct kl_pinpad_tmk *out, size_t *count,
                              struct kl_err *err)
{
    struct memory_pad *self = self_of(pad);
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

static size_t slot_of(struct memory_pad *self, const struct kl_pinpad_tmk *tmk)
{
    size_t i = 0;

    while (!self->used[i] || self->tmks[i].version != tmk->version) {
        i++; /* pinpad.c has found it in the list */
    }
    return i;
}

static enum kl_rc memory_destroy(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                                 struct kl_err *err)
{
    struct memory_pad *self = self_of(pad);
    size_t i = slot_of(self, tmk);

    (void)err;
    kl_wipe(tmk_slot(self, i), KEY_LEN);
    self->used[i] = 0;
    return KL_OK;
}

static const struct kl_pinpad_ops memory_ops = {
    .kind = "memory",
    .free = memory_free,
    .random = memory_random,
    .start = memory_start,
    .seal = memory_seal,
    .kcv = memory_kcv,
    .keep = memory_keep,
    .mac = memory_mac,
    .end = memory_end,
    .list = memory_list,
    .destroy = memory_destroy,
};

enum kl_rc kl_pinpad_memory_new(struct kl_pinpad **out, struct kl_err *err)
{
    struct memory_pad *self = calloc(1, sizeof(*self));
    enum kl_rc rc;

    if (!self) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for a PIN pad");
    }
    rc = kl_secret_new((SESSION_KEYS + KL_PINPAD_TMK_MAX) * KEY_LEN, &self->keys, err);
    if (rc) {
        free(self);
        return rc;
    }
    self->base.ops = &memory_ops;
    *out = &self->base;
    return KL_OK;
}
