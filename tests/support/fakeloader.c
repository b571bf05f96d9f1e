/* SPDX-License-Identifier: BSD-2-Clause */
/* See fakeloader.h. */
#include "tests/support/fakeloader.h"

#include <check.h>
#include <openssl/rsa.h>
#include <string.h>

EVP_PKEY *fake_root_key, *fake_other_key, *fake_work_key, *fake_ec_key;
X509 *root, *fake_other_root;
X509 *work, *fake_ec_work;

X509 *fake_new_cert(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                    const struct kl_rogue_profile *profile)
{
    X509 *cert = kl_rogue_cert(name, key, issuer, issuer_key, profile);

    ck_assert_ptr_nonnull(cert);
    return cert;
}

X509_CRL *fake_new_crl(X509 *issuer, EVP_PKEY *issuer_key,
                       const struct kl_rogue_crl_profile *profile)
{
    X509_CRL *crl = kl_rogue_crl(issuer, issuer_key, profile);

    ck_assert_ptr_nonnull(crl);
    return crl;
}

void fake_make_keys(void)
{
    fake_root_key = EVP_RSA_gen(2048);
    fake_other_key = EVP_RSA_gen(2048);
    fake_work_key = EVP_RSA_gen(2048);
    fake_ec_key = EVP_EC_gen("P-256");
    root = fake_new_cert("Root", fake_root_key, NULL, fake_root_key, NULL);
    fake_other_root = fake_new_cert("Root", fake_other_key, NULL, fake_other_key, NULL);
    work = fake_new_cert("Loader", fake_work_key, root, fake_root_key, NULL);
    fake_ec_work = fake_new_cert("Loader EC", fake_ec_key, root, fake_root_key, NULL);
}

void fake_free_keys(void)
{
    X509_free(fake_ec_work);
    X509_free(work);
    X509_free(fake_other_root);
    X509_free(root);
    EVP_PKEY_free(fake_ec_key);
    EVP_PKEY_free(fake_work_key);
    EVP_PKEY_free(fake_other_key);
    EVP_PKEY_free(fake_root_key);
}

void fake_loader_init(struct kl_rogue *loader)
{
    kl_rogue_init(loader, fake_work_key, work);
}

void fake_loader_ec(struct kl_rogue *loader, EVP_PKEY *key, X509 *cert)
{
    loader->suite = KL_SUITE_HARDENED_EC;
    loader->work = cert;
    loader->work_key = loader->sign_key = key;
}

void fake_block(enum kl_alg alg, int encrypt, const uint8_t *key, const uint8_t *in, size_t len,
                uint8_t *out)
{
    ck_assert(kl_rogue_block(alg, encrypt, key, in, len, out));
}

void fake_cmac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len, uint8_t mac[16])
{
    ck_assert(kl_rogue_cmac(key, key_len, in, len, mac));
}

/* ISO 9797-1 algorithm 3, DES by DES: E(K1), in the end D(K2) and E(K1), or E(K3) of a 3-key one.
 */
void fake_retail_mac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len,
                     uint8_t mac[8])
{
    uint8_t keys[3][16];

    for (size_t k = 0; k < 3; k++) { /* each K || K, so that TDES does DES */
        const uint8_t *half = key + (k == 2 && key_len == 16 ? 0 : 8 * k);

        memcpy(keys[k], half, 8);
        memcpy(keys[k] + 8, half, 8);
    }
    memset(mac, 0, 8);
    for (size_t at = 0; at < len; at += 8) {
        for (size_t i = 0; i < 8; i++) {
            mac[i] ^= in[at + i];
        }
        fake_block(KL_ALG_TDES2, 1, keys[0], mac, 8, mac);
    }
    fake_block(KL_ALG_TDES2, 0, keys[1], mac, 8, mac);
    fake_block(KL_ALG_TDES2, 1, keys[2], mac, 8, mac);
}

void fake_derive(const struct kl_rogue *loader, const char *purpose, uint8_t key[32])
{
    ck_assert(kl_rogue_derive(loader, purpose, key));
}

void fake_encode(const struct kl_msg *msg, uint8_t *out, size_t *len)
{
    struct kl_err err = KL_ERR_INIT;

    ck_assert_msg(kl_msg_encode(msg, out, len, &err) == KL_OK, "%s", err.text);
}

void fake_say_certificate(struct kl_rogue *loader, const uint8_t *hello, size_t hello_len,
                          uint8_t *out, size_t *out_len)
{
    struct kl_err err = KL_ERR_INIT;

    ck_assert_msg(kl_rogue_certificate(loader, hello, hello_len, out, out_len, &err) == KL_OK, "%s",
                  err.text);
}

void fake_sign(EVP_PKEY *key, const uint8_t *in, size_t len, int salt, struct kl_master_key *msg)
{
    ck_assert(kl_rogue_sign(key, in, len, salt, msg));
}

void fake_say_master_key(struct kl_rogue *loader, const uint8_t *in, size_t in_len, uint8_t *out,
                         size_t *out_len)
{
    struct kl_err err = KL_ERR_INIT;

    ck_assert_msg(kl_rogue_master_key(loader, in, in_len, out, out_len, &err) == KL_OK, "%s",
                  err.text);
}

void fake_ack_mac(const struct kl_rogue *loader, uint8_t mac[16])
{
    struct kl_err err = KL_ERR_INIT;

    ck_assert_msg(kl_rogue_ack_mac(loader, mac, &err) == KL_OK, "%s", err.text);
}

void fake_say_done(const struct kl_rogue *loader, enum kl_verdict verdict, struct kl_msg *msg)
{
    struct kl_err err = KL_ERR_INIT;

    ck_assert_msg(kl_rogue_done(loader, verdict, msg, &err) == KL_OK, "%s", err.text);
}

void fake_say_keys(struct kl_rogue *loader, const uint8_t *in, size_t in_len, uint8_t *out,
                   size_t *out_len)
{
    struct kl_msg sign_in;
    struct kl_err err = KL_ERR_INIT;

    ck_assert_msg(kl_msg_decode(in, in_len, &sign_in, &err) == KL_OK, "%s", err.text);
    ck_assert_uint_eq(sign_in.u.sign_in.tmk_version, loader->version);
    ck_assert_msg(kl_rogue_keys(loader, in, in_len, out, out_len, &err) == KL_OK, "%s", err.text);
}
