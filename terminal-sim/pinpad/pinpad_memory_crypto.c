/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What OpenSSL computes for a PIN pad in memory. Looking an algorithm up, or setting a curve up,
 * costs more than using it, and a fleet has very many pads: so that is done once for the process.
 */
#include <openssl/core_names.h>
#include <pthread.h>
#include <string.h>

#include "terminal-sim/pinpad/pinpad_memory.h"

/* Once made they are never changed, nor given back before the process ends. What could not be had
 * is NULL: whoever needs it fails. */
static struct {
    EVP_CIPHER *ecb[5], *wrap[3]; /* ecb: 2- and 3-key TDES, then AES; AES by size of the key */
    EVP_MAC *cmac;
    EVP_PKEY *curve[3]; /* parameters alone */
} tools;

static const unsigned curve_bits[] = {256, 384, 521};

static EVP_PKEY *make_curve(unsigned bits)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *made = NULL;

    if (!ctx || EVP_PKEY_paramgen_init(ctx) != 1 ||
        EVP_PKEY_CTX_set_group_name(ctx, kl_curve_by_bits(bits)->group) != 1 ||
        EVP_PKEY_paramgen(ctx, &made) != 1) {
        made = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    return made;
}

static void make_tools(void)
{
    static const char *const ecb[] = {"DES-EDE-ECB", "DES-EDE3-ECB", "AES-128-ECB", "AES-192-ECB",
                                      "AES-256-ECB"};
    static const char *const wrap[] = {"AES-128-WRAP", "AES-192-WRAP", "AES-256-WRAP"};

    for (size_t i = 0; i < 5; i++) {
        tools.ecb[i] = EVP_CIPHER_fetch(NULL, ecb[i], NULL);
    }
    for (size_t i = 0; i < 3; i++) {
        tools.wrap[i] = EVP_CIPHER_fetch(NULL, wrap[i], NULL);
        tools.curve[i] = make_curve(curve_bits[i]);
    }
    tools.cmac = EVP_MAC_fetch(NULL, "CMAC", NULL);
}

static void need_tools(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_tools);
}

/* Where a key of 16, 24 or 32 bytes has its place. */
static size_t by_size(size_t key_len)
{
    return (key_len - 16) / 8;
}

const EVP_CIPHER *kl_memory_aes_ecb(size_t key_len)
{
    need_tools();
    return tools.ecb[2 + by_size(key_len)];
}

const EVP_CIPHER *kl_memory_ecb_of(enum kl_alg alg)
{
    const struct kl_alg_info *info = kl_alg_info(alg);

    if (info->is_aes) {
        return kl_memory_aes_ecb(info->key_len);
    }
    need_tools();
    return tools.ecb[alg == KL_ALG_TDES3];
}

enum kl_rc kl_memory_ecb(const EVP_CIPHER *cipher, int encrypt, const uint8_t *key,
                         const uint8_t *in, size_t len, uint8_t *out, struct kl_err *err)
{
    EVP_CIPHER_CTX *ctx = cipher ? EVP_CIPHER_CTX_new() : NULL;
    int n, ok;

    ok = ctx && EVP_CipherInit_ex2(ctx, cipher, key, NULL, encrypt, NULL) &&
         EVP_CIPHER_CTX_set_padding(ctx, 0) && EVP_CipherUpdate(ctx, out, &n, in, (int)len) &&
         n == (int)len;
    EVP_CIPHER_CTX_free(ctx);
    return ok ? KL_OK : kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_CipherUpdate", "ECB failed");
}

enum kl_rc kl_memory_cmac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len,
                          uint8_t out[KL_MAC_LEN], struct kl_err *err)
{
    char cipher[] = "AES-256-CBC";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher,
                                                            sizeof(cipher) - 1),
                           OSSL_PARAM_construct_end()};
    EVP_MAC_CTX *ctx;
    size_t n = 0;
    int ok;

    need_tools();
    ctx = tools.cmac ? EVP_MAC_CTX_new(tools.cmac) : NULL;
    memcpy(cipher + 4, key_len == 16 ? "128" : key_len == 24 ? "192" : "256", 3);
    ok = ctx && EVP_MAC_init(ctx, key, key_len, params) && EVP_MAC_update(ctx, in, len) &&
         EVP_MAC_final(ctx, out, &n, KL_MAC_LEN) && n == KL_MAC_LEN;
    EVP_MAC_CTX_free(ctx);
    return ok ? KL_OK : kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_MAC_final", "CMAC failed");
}

/* RFC 3394 in either direction; 1 if that gave out_len bytes. */
static int key_wrap(int wrap, const uint8_t *kek, size_t kek_len, const uint8_t *in, size_t in_len,
                    uint8_t *out, size_t out_len)
{
    const EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *ctx;
    int n = 0, ok = 0;

    need_tools();
    cipher = tools.wrap[by_size(kek_len)];
    ctx = cipher ? EVP_CIPHER_CTX_new() : NULL;
    if (ctx) {
        EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
        ok = EVP_CipherInit_ex2(ctx, cipher, kek, NULL, wrap, NULL) &&
             EVP_CipherUpdate(ctx, out, &n, in, (int)in_len) && n == (int)out_len;
    }
    EVP_CIPHER_CTX_free(ctx);
    return ok;
}

enum kl_rc kl_memory_wrap(const uint8_t *kek, size_t kek_len, const uint8_t *in, size_t in_len,
                          uint8_t *out, struct kl_err *err)
{
    return key_wrap(1, kek, kek_len, in, in_len, out, in_len + KL_WRAP_OVERHEAD)
               ? KL_OK
               : kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_CipherUpdate", "cannot wrap a key");
}

enum kl_rc kl_memory_unwrap(const uint8_t *kek, size_t kek_len, const uint8_t *in, size_t in_len,
                            uint8_t *out, struct kl_err *err)
{
    return key_wrap(0, kek, kek_len, in, in_len, out, in_len - KL_WRAP_OVERHEAD)
               ? KL_OK
               : kl_err_openssl(err, KL_ERR_VERIFY, "EVP_CipherUpdate",
                                "the wrapped key does not unwrap");
}

enum kl_rc kl_memory_compute_kcv(enum kl_alg alg, const uint8_t *key, size_t kcv_len, uint8_t *kcv,
                                 struct kl_err *err)
{
    static const uint8_t zeros[16];
    const struct kl_alg_info *info = kl_alg_info(alg);
    uint8_t full[KL_MAC_LEN];
    enum kl_rc rc;

    if (info->is_aes) {
        rc = kl_memory_cmac(key, info->key_len, zeros, sizeof(zeros), full, err);
    } else {
        rc = kl_memory_ecb(kl_memory_ecb_of(alg), 1, key, zeros, 8, full, err);
    }
    if (!rc) {
        memcpy(kcv, full, kcv_len);
    }
    kl_wipe(full, sizeof(full));
    return rc;
}

/* ---- EC ---- */

static EVP_PKEY *generate(const struct kl_curve *curve)
{
    EVP_PKEY *made = NULL;
    EVP_PKEY_CTX *ctx = NULL;
    size_t i = 0;

    need_tools();
    while (curve_bits[i] != curve->bits) {
        i++;
    }
    ctx = tools.curve[i] ? EVP_PKEY_CTX_new(tools.curve[i], NULL) : NULL;
    if (!ctx || EVP_PKEY_keygen_init(ctx) != 1 || EVP_PKEY_generate(ctx, &made) != 1) {
        made = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    return made;
}

enum kl_rc kl_memory_ephemeral(const struct kl_curve *curve, EVP_PKEY **out, uint8_t *point,
                               size_t *point_len, struct kl_err *err)
{
    EVP_PKEY *key = generate(curve);

    if (!key || EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point,
                                                KL_EC_POINT_MAX, point_len) != 1) {
        EVP_PKEY_free(key);
        return kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_PKEY_generate", "no ephemeral key on %s",
                              curve->name);
    }
    *out = key;
    return KL_OK;
}

/* That the work key's point lies on its curve was seen to as it was decoded, that it is not at
 * infinity by kl_pubkey_new; of curves of prime order that is all there is to check, so not again
 * here. */
enum kl_rc kl_memory_agree(EVP_PKEY *ephemeral, const struct kl_pubkey *work,
                           struct kl_secret **out, struct kl_err *err)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(ephemeral, NULL);
    struct kl_secret *shared = NULL;
    size_t len = KL_EC_FIELD_MAX;
    enum kl_rc rc = kl_secret_new(KL_EC_FIELD_MAX, &shared, err);

    if (!rc && (!ctx || EVP_PKEY_derive_init(ctx) != 1 ||
                EVP_PKEY_derive_set_peer_ex(ctx, kl_pubkey_evp(work), 0) != 1 ||
                EVP_PKEY_derive(ctx, kl_secret_data(shared), &len) != 1 || len < KL_ECDH_LEN)) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_PKEY_derive", "ECDH with AcquireWCRT_Pu");
    }
    EVP_PKEY_CTX_free(ctx);
    if (rc) {
        kl_secret_free(shared);
        return rc;
    }
    memmove(kl_secret_data(shared), kl_secret_data(shared) + len - KL_ECDH_LEN, KL_ECDH_LEN);
    kl_secret_set_len(shared, KL_ECDH_LEN);
    *out = shared;
    return KL_OK;
}
