/* SPDX-License-Identifier: BSD-2-Clause */
/* The rogue loader's arithmetic, in OpenSSL alone. */
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "terminal-sim/attack/rogue.h"

static const uint8_t tmk_bytes[32] = {0xca, 0x5d, 0x92, 0x59, 0x8d, 0xca, 0x48, 0xce,
                                      0x8a, 0x4c, 0x76, 0x36, 0x1a, 0x92, 0x69, 0xe9,
                                      0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};

const uint8_t *kl_rogue_tmk(void)
{
    return tmk_bytes;
}

int kl_rogue_block(enum kl_alg alg, int encrypt, const uint8_t *key, const uint8_t *in, size_t len,
                   uint8_t *out)
{
    static const char *const names[] = {[KL_ALG_TDES2] = "DES-EDE-ECB",
                                        [KL_ALG_TDES3] = "DES-EDE3-ECB",
                                        [KL_ALG_AES128] = "AES-128-ECB",
                                        [KL_ALG_AES192] = "AES-192-ECB",
                                        [KL_ALG_AES256] = "AES-256-ECB"};
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, names[alg], NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n, done = cipher && ctx && EVP_CipherInit(ctx, cipher, key, NULL, encrypt) &&
                  EVP_CIPHER_CTX_set_padding(ctx, 0) &&
                  EVP_CipherUpdate(ctx, out, &n, in, (int)len);

    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    return done;
}

int kl_rogue_cmac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len,
                  uint8_t mac[16])
{
    const char *cipher = key_len == 16   ? "AES-128-CBC"
                         : key_len == 24 ? "AES-192-CBC"
                                         : "AES-256-CBC";
    size_t n;

    return EVP_Q_mac(NULL, "CMAC", NULL, cipher, NULL, key, key_len, in, len, mac, 16, &n) != NULL;
}

int kl_rogue_derive(const struct kl_rogue *loader, const char *purpose, uint8_t key[32])
{
    uint8_t in[64], label[32];
    size_t len = (size_t)snprintf((char *)in, sizeof(in), "keyloader/1 %s", purpose) + 1;

    memcpy(in + len, loader->t0, 32);
    SHA256(in, len + 32, label);
    return kl_rogue_block(loader->session_len == 16   ? KL_ALG_AES128
                          : loader->session_len == 24 ? KL_ALG_AES192
                                                      : KL_ALG_AES256,
                          1, loader->rnd1, label, 32, key);
}

int kl_rogue_kcv(enum kl_alg alg, const uint8_t *key, uint8_t kcv[4])
{
    static const uint8_t zeros[16];
    uint8_t out[16] = {0};
    int done = kl_alg_info(alg)->is_aes
                   ? kl_rogue_cmac(key, kl_alg_info(alg)->key_len, zeros, 16, out)
                   : kl_rogue_block(alg, 1, key, zeros, 8, out);

    memcpy(kcv, out, 4);
    return done;
}

size_t kl_rogue_key_wrap(int wrap, const uint8_t *kek, size_t kek_len, const uint8_t *in,
                         size_t len, uint8_t *out)
{
    const EVP_CIPHER *cipher = kek_len == 16   ? EVP_aes_128_wrap()
                               : kek_len == 24 ? EVP_aes_192_wrap()
                                               : EVP_aes_256_wrap();
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;

    if (ctx) {
        EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    }
    if (!ctx || !EVP_CipherInit(ctx, cipher, kek, NULL, wrap) ||
        !EVP_CipherUpdate(ctx, out, &n, in, (int)len)) {
        n = 0;
    }
    EVP_CIPHER_CTX_free(ctx);
    return n > 0 ? (size_t)n : 0;
}

/* Of EC keys as r || s, in place. */
static int raw_ecdsa(EVP_PKEY *key, struct kl_master_key *msg)
{
    const uint8_t *at = msg->sig;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)msg->sig_len);
    int half = (EVP_PKEY_get_bits(key) + 7) / 8;
    int done = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), msg->sig, half) == half &&
               BN_bn2binpad(ECDSA_SIG_get0_s(sig), msg->sig + half, half) == half;

    msg->sig_len = (size_t)half * 2;
    ECDSA_SIG_free(sig);
    return done;
}

int kl_rogue_sign(EVP_PKEY *key, const uint8_t *in, size_t len, int salt, struct kl_master_key *msg)
{
    const EVP_MD *md = EVP_PKEY_get_bits(key) == 384   ? EVP_sha384()
                       : EVP_PKEY_get_bits(key) == 521 ? EVP_sha512()
                                                       : EVP_sha256();
    int is_rsa = EVP_PKEY_is_a(key, "RSA"), done;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx;

    msg->sig_len = sizeof(msg->sig);
    done = ctx && EVP_DigestSignInit(ctx, &pctx, md, NULL, key) == 1 &&
           (!is_rsa || (EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) > 0 &&
                        EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, salt) > 0)) &&
           EVP_DigestSign(ctx, msg->sig, &msg->sig_len, in, len) == 1 &&
           (is_rsa || raw_ecdsa(key, msg));
    EVP_MD_CTX_free(ctx);
    return done;
}
