/* SPDX-License-Identifier: BSD-2-Clause */
/* The loader's half of hardened-rsa, in OpenSSL, for tests of a terminal. */
#include "tests/support/fakeloader.h"

#include <check.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "proto/cert.h"

EVP_PKEY *fake_root_key, *fake_other_key, *fake_work_key; /* made once for the run */
X509 *root, *fake_other_root;
X509 *work; /* as it should be */
static const uint8_t tmk_bytes[32] = {0xca, 0x5d, 0x92, 0x59, 0x8d, 0xca, 0x48, 0xce,
                                      0x8a, 0x4c, 0x76, 0x36, 0x1a, 0x92, 0x69, 0xe9,
                                      0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};

/* ---- Certificates ---- */

static void add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ck_assert_ptr_nonnull(ext);
    ck_assert_int_eq(X509_add_ext(cert, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

X509 *fake_new_cert(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                    const struct fake_profile *profile)
{
    X509 *cert = X509_new();
    X509_NAME *subject = X509_get_subject_name(cert);
    long to = profile && profile->to_days ? profile->to_days : 30;

    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), issuer ? 2 : 1);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
    X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject);
    X509_gmtime_adj(X509_getm_notBefore(cert), profile ? profile->from_days * FAKE_DAY : -FAKE_DAY);
    X509_gmtime_adj(X509_getm_notAfter(cert), to * FAKE_DAY);
    X509_set_pubkey(cert, key);
    if (!issuer) {
        add_ext(cert, cert, NID_basic_constraints, "critical,CA:TRUE");
        add_ext(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign");
        add_ext(cert, cert, NID_subject_key_identifier, "hash");
    } else {
        add_ext(cert, issuer, NID_basic_constraints, "critical,CA:FALSE");
        add_ext(cert, issuer, NID_key_usage,
                profile && profile->key_usage ? profile->key_usage
                                              : "critical,digitalSignature,keyEncipherment");
        add_ext(cert, issuer, NID_ext_key_usage,
                profile && profile->eku ? profile->eku : "critical," KL_OID_EKU_LOADER);
        add_ext(cert, issuer, NID_subject_key_identifier, "hash");
        add_ext(cert, issuer, NID_authority_key_identifier, "keyid:always");
    }
    ck_assert_int_gt(X509_sign(cert, issuer_key, EVP_sha256()), 0);
    return cert;
}

void fake_make_keys(void)
{
    if (fake_root_key) { /* by the test case before */
        return;
    }
    fake_root_key = EVP_RSA_gen(2048);
    fake_other_key = EVP_RSA_gen(2048);
    fake_work_key = EVP_RSA_gen(2048);
    root = fake_new_cert("Root", fake_root_key, NULL, fake_root_key, NULL);
    fake_other_root = fake_new_cert("Root", fake_other_key, NULL, fake_other_key, NULL);
    work = fake_new_cert("Loader", fake_work_key, root, fake_root_key, NULL);
}

void fake_free_keys(void)
{
    X509_free(work);
    X509_free(fake_other_root);
    X509_free(root);
    EVP_PKEY_free(fake_work_key);
    EVP_PKEY_free(fake_other_key);
    EVP_PKEY_free(fake_root_key);
}

/* ---- The loader ---- */

void fake_loader_init(struct fake_loader *loader)
{
    memset(loader, 0, sizeof(*loader));
    loader->work = work;
    loader->sign_key = fake_work_key;
    loader->alg = KL_ALG_TDES2;
    loader->version = 1;
    loader->kcv_len = 3;
}

static void hear(struct fake_loader *loader, const uint8_t *der, size_t len, uint8_t hash[32])
{
    memcpy(loader->told + loader->told_len, der, len);
    loader->told_len += len;
    if (hash) {
        SHA256(loader->told, loader->told_len, hash);
    }
}

static void aes_ecb(const uint8_t *key, const uint8_t *in, size_t len, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n;

    ck_assert(EVP_EncryptInit(ctx, EVP_aes_256_ecb(), key, NULL));
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    ck_assert(EVP_EncryptUpdate(ctx, out, &n, in, (int)len));
    EVP_CIPHER_CTX_free(ctx);
}

void fake_derive(const struct fake_loader *loader, const char *purpose, uint8_t key[32])
{
    uint8_t in[64], label[32];
    size_t len = (size_t)snprintf((char *)in, sizeof(in), "keyloader/1 %s", purpose) + 1;

    memcpy(in + len, loader->t0, 32);
    SHA256(in, len + 32, label);
    aes_ecb(loader->rnd1, label, 32, key);
}

static void cmac(const char *cipher, const uint8_t *key, size_t key_len, const uint8_t *in,
                 size_t len, uint8_t out[16])
{
    size_t n;

    ck_assert(EVP_Q_mac(NULL, "CMAC", NULL, cipher, NULL, key, key_len, in, len, out, 16, &n));
}

static void compute_kcv(enum kl_alg alg, uint8_t kcv[4])
{
    static const uint8_t zeros[16];
    uint8_t out[16];
    EVP_CIPHER_CTX *ctx;
    int n;

    if (kl_alg_info(alg)->is_aes) {
        cmac("AES-128-CBC", tmk_bytes, 16, zeros, 16, out);
    } else {
        ctx = EVP_CIPHER_CTX_new();
        ck_assert(EVP_EncryptInit(ctx, alg == KL_ALG_TDES2 ? EVP_des_ede_ecb() : EVP_des_ede3_ecb(),
                                  tmk_bytes, NULL));
        EVP_CIPHER_CTX_set_padding(ctx, 0);
        ck_assert(EVP_EncryptUpdate(ctx, out, &n, zeros, 8));
        EVP_CIPHER_CTX_free(ctx);
    }
    memcpy(kcv, out, 4);
}

void fake_encode(const struct kl_msg *msg, uint8_t *out, size_t *len)
{
    struct kl_err err = KL_ERR_INIT;

    ck_assert_msg(kl_msg_encode(msg, out, len, &err) == KL_OK, "%s", err.text);
}

/* Hello in, Certificate out. */
void fake_say_certificate(struct fake_loader *loader, const uint8_t *hello, size_t hello_len,
                          uint8_t *out, size_t *out_len)
{
    struct kl_msg msg = {.type = KL_MSG_CERTIFICATE};
    struct kl_certificate *certificate = &msg.u.certificate;
    uint8_t *der = NULL;
    int len = i2d_X509(loader->work, &der);

    hear(loader, hello, hello_len, NULL);
    certificate->suite = KL_SUITE_HARDENED_RSA;
    certificate->oaep_hash = KL_OAEP_SHA1;
    RAND_bytes(certificate->nonce, 32);
    certificate->chain_count = 1;
    certificate->chain[0] = (struct kl_bytes){der, (size_t)len};
    if (loader->spoil_certificate) {
        loader->spoil_certificate(certificate);
    }
    fake_encode(&msg, out, out_len);
    hear(loader, out, *out_len, loader->t0);
    OPENSSL_free(der);
}

/* S6. */
static void open_randoms(struct fake_loader *loader, const struct kl_randoms *randoms)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(fake_work_key, NULL);
    EVP_CIPHER_CTX *gcm = EVP_CIPHER_CTX_new();
    uint8_t key[32], plain[256];
    size_t len = sizeof(plain);
    int n;

    ck_assert_int_eq(EVP_PKEY_decrypt_init(ctx), 1);
    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING);
    ck_assert_int_eq(EVP_PKEY_decrypt(ctx, plain, &len, randoms->c_rnd1, randoms->c_rnd1_len), 1);
    ck_assert_uint_eq(len, 32);
    memcpy(loader->rnd1, plain, 32);
    fake_derive(loader, "nonce", key);
    ck_assert(EVP_DecryptInit(gcm, EVP_aes_256_gcm(), key, randoms->iv));
    ck_assert(EVP_DecryptUpdate(gcm, NULL, &n, loader->t0, 32));
    ck_assert(EVP_DecryptUpdate(gcm, loader->rnd2, &n, randoms->c_rnd2, 32));
    EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_SET_TAG, 16, (void *)(randoms->c_rnd2 + 32));
    ck_assert_msg(EVP_DecryptFinal(gcm, plain, &n), "Rnd2 does not open");
    EVP_CIPHER_CTX_free(gcm);
    EVP_PKEY_CTX_free(ctx);
}

static void wrap_tmk(const struct fake_loader *loader, struct kl_tbs *tbs)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t key[32];
    int n;

    fake_derive(loader, "wrap", key);
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    ck_assert(EVP_EncryptInit(ctx, EVP_aes_256_wrap(), key, NULL));
    ck_assert(
        EVP_EncryptUpdate(ctx, tbs->ctmk, &n, tmk_bytes, (int)kl_alg_info(loader->alg)->key_len));
    tbs->ctmk_len = (size_t)n;
    EVP_CIPHER_CTX_free(ctx);
}

void fake_sign(EVP_PKEY *key, const uint8_t *in, size_t len, int salt, struct kl_master_key *msg)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx;

    msg->sig_len = sizeof(msg->sig);
    ck_assert_int_eq(EVP_DigestSignInit(md, &ctx, EVP_sha256(), NULL, key), 1);
    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING);
    EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, salt);
    ck_assert_int_eq(EVP_DigestSign(md, msg->sig, &msg->sig_len, in, len), 1);
    EVP_MD_CTX_free(md);
}

/* Randoms in, MasterKey out (S6, S7). */
void fake_say_master_key(struct fake_loader *loader, const uint8_t *in, size_t in_len, uint8_t *out,
                         size_t *out_len)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg randoms, msg = {.type = KL_MSG_MASTER_KEY};
    struct kl_tbs *tbs = &msg.u.master_key.tbs;
    uint8_t der[KL_TBS_MAX];
    size_t len;

    ck_assert_msg(kl_msg_decode(in, in_len, &randoms, &err) == KL_OK, "%s", err.text);
    ck_assert_int_eq(randoms.type, KL_MSG_RANDOMS);
    hear(loader, in, in_len, loader->t1);
    open_randoms(loader, &randoms.u.randoms);
    memcpy(tbs->t1, loader->t1, 32);
    memcpy(tbs->rnd2, loader->rnd2, 32);
    wrap_tmk(loader, tbs);
    strcpy(tbs->serial, FAKE_SERIAL);
    tbs->usage = KL_USAGE_KEK;
    tbs->alg = (uint8_t)loader->alg;
    tbs->version = loader->version;
    tbs->kcv_method = (uint8_t)kl_alg_info(loader->alg)->kcv_method;
    tbs->kcv_len = loader->kcv_len;
    compute_kcv(loader->alg, loader->kcv);
    memcpy(tbs->kcv, loader->kcv, loader->kcv_len);
    if (loader->spoil_tbs) {
        loader->spoil_tbs(loader, tbs);
    }
    ck_assert_msg(kl_tbs_encode(tbs, der, &len, &err) == KL_OK, "%s", err.text);
    msg.u.master_key.tbs_der = (struct kl_bytes){der, len};
    fake_sign(loader->sign_key, der, len, 32, &msg.u.master_key);
    if (loader->spoil_master_key) {
        loader->spoil_master_key(loader, &msg.u.master_key);
    }
    fake_encode(&msg, out, out_len);
    hear(loader, out, *out_len, loader->t2);
}

void fake_ack_mac(const struct fake_loader *loader, uint8_t mac[16])
{
    uint8_t key[32], in[32 + 1 + 4];

    fake_derive(loader, "ack", key);
    memcpy(in, loader->t2, 32);
    in[32] = 1;
    memcpy(in + 33, loader->kcv, loader->kcv_len);
    cmac("AES-256-CBC", key, 32, in, 33 + loader->kcv_len, mac);
}

void fake_say_done(const struct fake_loader *loader, enum kl_verdict verdict, struct kl_msg *msg)
{
    uint8_t key[32], in[33];

    fake_derive(loader, "done", key);
    memcpy(in, loader->t2, 32);
    in[32] = (uint8_t)verdict;
    memset(msg, 0, sizeof(*msg));
    msg->type = KL_MSG_DONE;
    msg->u.done.verdict = (uint8_t)verdict;
    msg->u.done.tmk_version = loader->version;
    cmac("AES-256-CBC", key, 32, in, 33, msg->u.done.mac);
}
