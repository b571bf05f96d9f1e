/* SPDX-License-Identifier: BSD-2-Clause */
/* The loader's half of every suite and of a sign-in, in OpenSSL, for tests of a terminal. */
#include "tests/support/fakeloader.h"

#include <check.h>
#include <openssl/ec.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "proto/cert.h"
#include "proto/pubkey.h"

EVP_PKEY *fake_root_key, *fake_other_key, *fake_work_key, *fake_ec_key; /* made once for the run */
X509 *root, *fake_other_root;
X509 *work, *fake_ec_work; /* as it should be */
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
    char uri[128];

    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), issuer ? 2 : 1);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
    X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject);
    X509_gmtime_adj(X509_getm_notBefore(cert),
                    profile && profile->from_days ? profile->from_days * FAKE_DAY : -FAKE_DAY);
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
                : EVP_PKEY_is_a(key, "EC")    ? "critical,digitalSignature,keyAgreement"
                                              : "critical,digitalSignature,keyEncipherment");
        add_ext(cert, issuer, NID_ext_key_usage,
                profile && profile->eku ? profile->eku : "critical," KL_OID_EKU_LOADER);
        add_ext(cert, issuer, NID_subject_key_identifier, "hash");
        add_ext(cert, issuer, NID_authority_key_identifier, "keyid:always");
        if (profile && profile->crl_scope) {
            snprintf(uri, sizeof(uri), "URI:%s", profile->crl_scope);
            add_ext(cert, issuer, NID_crl_distribution_points, uri);
        }
    }
    ck_assert_int_gt(X509_sign(cert, issuer_key, EVP_sha256()), 0);
    return cert;
}

X509_CRL *fake_new_crl(X509 *issuer, EVP_PKEY *issuer_key, const struct fake_crl *profile)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *time = ASN1_TIME_new();
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    char scope[160];
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    X509_CRL_set_version(crl, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer));
    X509_gmtime_adj(time, (profile->from_days ? profile->from_days : -1) * FAKE_DAY);
    X509_CRL_set1_lastUpdate(crl, time);
    X509_gmtime_adj(time, (profile->to_days ? profile->to_days : 7) * FAKE_DAY);
    X509_CRL_set1_nextUpdate(crl, time);
    if (profile->revoked) {
        X509_REVOKED *revoked = X509_REVOKED_new();

        X509_REVOKED_set_serialNumber(revoked,
                                      (ASN1_INTEGER *)X509_get0_serialNumber(profile->revoked));
        X509_gmtime_adj(time, -FAKE_DAY);
        X509_REVOKED_set_revocationDate(revoked, time);
        X509_CRL_add0_revoked(crl, revoked);
    }
    X509V3_set_ctx(&ctx, issuer, NULL, NULL, crl, 0);
    snprintf(scope, sizeof(scope), "critical,fullname:URI:%s",
             profile->scope ? profile->scope : KL_CRL_SCOPE_LOADER);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, NID_issuing_distribution_point, scope);
    ck_assert_ptr_nonnull(ext);
    X509_CRL_add_ext(crl, ext, -1);
    X509_EXTENSION_free(ext);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
    ck_assert_ptr_nonnull(ext);
    X509_CRL_add_ext(crl, ext, -1);
    X509_EXTENSION_free(ext);
    ASN1_INTEGER_set(number, 1);
    X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, 0);
    X509_CRL_sort(crl);
    ck_assert_int_gt(X509_CRL_sign(crl, issuer_key, EVP_sha256()), 0);
    ASN1_INTEGER_free(number);
    ASN1_TIME_free(time);
    return crl;
}

void fake_make_keys(void)
{
    if (fake_root_key) { /* by the test case before */
        return;
    }
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

/* ---- The loader ---- */

void fake_loader_init(struct fake_loader *loader)
{
    memset(loader, 0, sizeof(*loader));
    loader->suite = KL_SUITE_HARDENED_RSA;
    loader->work = work;
    loader->work_key = loader->sign_key = fake_work_key;
    loader->alg = KL_ALG_TDES2;
    loader->version = 1;
    loader->kcv_len = 3;
}

void fake_loader_ec(struct fake_loader *loader, EVP_PKEY *key, X509 *cert)
{
    loader->suite = KL_SUITE_HARDENED_EC;
    loader->work = cert;
    loader->work_key = loader->sign_key = key;
}

void fake_loader_classic(struct fake_loader *loader)
{
    loader->suite = KL_SUITE_CLASSIC;
}

static void hear(struct fake_loader *loader, const uint8_t *der, size_t len, uint8_t hash[32])
{
    memcpy(loader->told + loader->told_len, der, len);
    loader->told_len += len;
    if (hash) {
        SHA256(loader->told, loader->told_len, hash);
    }
}

/* ---- Ciphers ---- */

void fake_block(enum kl_alg alg, int encrypt, const uint8_t *key, const uint8_t *in, size_t len,
                uint8_t *out)
{
    static const char *const names[] = {[KL_ALG_TDES2] = "DES-EDE-ECB",
                                        [KL_ALG_TDES3] = "DES-EDE3-ECB",
                                        [KL_ALG_AES128] = "AES-128-ECB",
                                        [KL_ALG_AES192] = "AES-192-ECB",
                                        [KL_ALG_AES256] = "AES-256-ECB"};
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, names[alg], NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n;

    ck_assert(EVP_CipherInit(ctx, cipher, key, NULL, encrypt));
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    ck_assert(EVP_CipherUpdate(ctx, out, &n, in, (int)len));
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
}

void fake_cmac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len, uint8_t mac[16])
{
    const char *cipher = key_len == 16   ? "AES-128-CBC"
                         : key_len == 24 ? "AES-192-CBC"
                                         : "AES-256-CBC";
    size_t n;

    ck_assert(EVP_Q_mac(NULL, "CMAC", NULL, cipher, NULL, key, key_len, in, len, mac, 16, &n));
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

void fake_derive(const struct fake_loader *loader, const char *purpose, uint8_t key[32])
{
    uint8_t in[64], label[32];
    size_t len = (size_t)snprintf((char *)in, sizeof(in), "keyloader/1 %s", purpose) + 1;

    memcpy(in + len, loader->t0, 32);
    SHA256(in, len + 32, label);
    fake_block(loader->session_len == 16   ? KL_ALG_AES128
               : loader->session_len == 24 ? KL_ALG_AES192
                                           : KL_ALG_AES256,
               1, loader->rnd1, label, 32, key);
}

static void compute_kcv(enum kl_alg alg, const uint8_t *key, uint8_t kcv[4])
{
    static const uint8_t zeros[16];
    uint8_t out[16];

    if (kl_alg_info(alg)->is_aes) {
        fake_cmac(key, kl_alg_info(alg)->key_len, zeros, 16, out);
    } else {
        fake_block(alg, 1, key, zeros, 8, out);
    }
    memcpy(kcv, out, 4);
}

/* RFC 3394. */
static size_t key_wrap(int wrap, const uint8_t *kek, size_t kek_len, const uint8_t *in, size_t len,
                       uint8_t *out)
{
    const EVP_CIPHER *cipher = kek_len == 16   ? EVP_aes_128_wrap()
                               : kek_len == 24 ? EVP_aes_192_wrap()
                                               : EVP_aes_256_wrap();
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n;

    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    ck_assert(EVP_CipherInit(ctx, cipher, kek, NULL, wrap));
    ck_assert(EVP_CipherUpdate(ctx, out, &n, in, (int)len));
    EVP_CIPHER_CTX_free(ctx);
    return (size_t)n;
}

/* ---- S3 to S7 ---- */

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
    uint8_t *der = NULL, *crl = NULL;
    int len = i2d_X509(loader->work, &der);

    hear(loader, hello, hello_len, NULL);
    certificate->suite = (uint8_t)loader->suite;
    certificate->oaep_hash = KL_OAEP_SHA1;
    RAND_bytes(certificate->nonce, 32);
    certificate->chain_count = 1;
    certificate->chain[0] = (struct kl_bytes){der, (size_t)len};
    if (loader->crl) {
        len = i2d_X509_CRL(loader->crl, &crl);
        certificate->crl = (struct kl_bytes){crl, (size_t)len};
    }
    if (loader->spoil_certificate) {
        loader->spoil_certificate(certificate);
    }
    fake_encode(&msg, out, out_len);
    hear(loader, out, *out_len, loader->t0);
    OPENSSL_free(crl);
    OPENSSL_free(der);
}

static void open_oaep(const struct fake_loader *loader, const struct kl_randoms *randoms,
                      uint8_t *out, size_t want)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(loader->work_key, NULL);
    uint8_t plain[512];
    size_t len = sizeof(plain);

    ck_assert_int_eq(EVP_PKEY_decrypt_init(ctx), 1);
    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING);
    ck_assert_int_eq(EVP_PKEY_decrypt(ctx, plain, &len, randoms->c_rnd1, randoms->c_rnd1_len), 1);
    ck_assert_uint_eq(len, want);
    memcpy(out, plain, len);
    EVP_PKEY_CTX_free(ctx);
}

/* ECIES by the words of the protocol. */
static void open_ecies(struct fake_loader *loader, const struct kl_randoms *randoms)
{
    EVP_PKEY *peer = EVP_PKEY_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(loader->work_key, NULL);
    uint8_t shared[66], in[256] = "keyloader/1 ecies", label[32], key[32];
    size_t len = sizeof(shared), prefix = sizeof("keyloader/1 ecies");

    ck_assert_int_eq(EVP_PKEY_copy_parameters(peer, loader->work_key), 1);
    ck_assert_int_eq(EVP_PKEY_set1_encoded_public_key(peer, randoms->point, randoms->point_len), 1);
    ck_assert_int_eq(EVP_PKEY_derive_init(ctx), 1);
    ck_assert_int_eq(EVP_PKEY_derive_set_peer(ctx, peer), 1);
    ck_assert_int_eq(EVP_PKEY_derive(ctx, shared, &len), 1);
    memcpy(in + prefix, loader->t0, 32);
    memcpy(in + prefix + 32, randoms->point, randoms->point_len);
    SHA256(in, prefix + 32 + randoms->point_len, label);
    fake_block(KL_ALG_AES256, 1, shared + len - 32, label, 32, key);
    ck_assert_uint_eq(randoms->c_rnd1_len, 40);
    ck_assert_uint_eq(key_wrap(0, key, 32, randoms->c_rnd1, 40, loader->rnd1), 32);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
}

/* S6. */
static void open_randoms(struct fake_loader *loader, const struct kl_randoms *randoms)
{
    EVP_CIPHER_CTX *gcm;
    uint8_t key[32], plain[64];
    int n;

    ck_assert_int_eq(randoms->suite, loader->suite);
    if (loader->suite == KL_SUITE_CLASSIC) {
        open_oaep(loader, randoms, plain, 64);
        memcpy(loader->rnd1, plain, 32);
        memcpy(loader->rnd2, plain + 32, 32);
        return;
    }
    if (loader->suite == KL_SUITE_HARDENED_EC) {
        open_ecies(loader, randoms);
    } else {
        open_oaep(loader, randoms, loader->rnd1, 32);
    }
    gcm = EVP_CIPHER_CTX_new();
    fake_derive(loader, "nonce", key);
    ck_assert(EVP_DecryptInit(gcm, EVP_aes_256_gcm(), key, randoms->iv));
    ck_assert(EVP_DecryptUpdate(gcm, NULL, &n, loader->t0, 32));
    ck_assert(EVP_DecryptUpdate(gcm, loader->rnd2, &n, randoms->c_rnd2, 32));
    EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_SET_TAG, 16, (void *)(randoms->c_rnd2 + 32));
    ck_assert_msg(EVP_DecryptFinal(gcm, plain, &n), "Rnd2 does not open");
    EVP_CIPHER_CTX_free(gcm);
}

/* The device key's signature: over a prefix, T0 and Randoms as it was without it. */
static void check_proof(const struct fake_loader *loader, const struct kl_msg *randoms)
{
    static const char prefix[] = "keyloader/1 randoms";
    struct kl_msg unsigned_msg = *randoms;
    uint8_t der[KL_MSG_MAX], in[KL_MSG_MAX];
    struct kl_err err = KL_ERR_INIT;
    size_t len;

    if (!loader->device) {
        ck_assert_uint_eq(randoms->u.randoms.sig_len, 0);
        return;
    }
    unsigned_msg.u.randoms.sig_len = 0;
    memset(unsigned_msg.u.randoms.sig, 0, sizeof(unsigned_msg.u.randoms.sig));
    fake_encode(&unsigned_msg, der, &len);
    memcpy(in, prefix, sizeof(prefix));
    memcpy(in + sizeof(prefix), loader->t0, 32);
    memcpy(in + sizeof(prefix) + 32, der, len);
    ck_assert_msg(kl_pubkey_verify(loader->device, randoms->u.randoms.sig,
                                   randoms->u.randoms.sig_len, in, sizeof(prefix) + 32 + len,
                                   &err) == KL_OK,
                  "%s", err.text);
}

static void wrap_tmk(const struct fake_loader *loader, struct kl_tbs *tbs)
{
    uint8_t key[32];

    if (loader->suite == KL_SUITE_CLASSIC) {
        memcpy(key, loader->rnd1, 32);
    } else {
        fake_derive(loader, "wrap", key);
    }
    tbs->ctmk_len = key_wrap(1, key, 32, tmk_bytes, kl_alg_info(loader->alg)->key_len, tbs->ctmk);
}

/* Of EC keys as r || s, in place. */
static void raw_ecdsa(EVP_PKEY *key, struct kl_master_key *msg)
{
    const uint8_t *at = msg->sig;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)msg->sig_len);
    int half = (EVP_PKEY_get_bits(key) + 7) / 8;

    ck_assert_ptr_nonnull(sig);
    BN_bn2binpad(ECDSA_SIG_get0_r(sig), msg->sig, half);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), msg->sig + half, half);
    msg->sig_len = (size_t)half * 2;
    ECDSA_SIG_free(sig);
}

void fake_sign(EVP_PKEY *key, const uint8_t *in, size_t len, int salt, struct kl_master_key *msg)
{
    const EVP_MD *md = EVP_PKEY_get_bits(key) == 384   ? EVP_sha384()
                       : EVP_PKEY_get_bits(key) == 521 ? EVP_sha512()
                                                       : EVP_sha256();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx;

    msg->sig_len = sizeof(msg->sig);
    ck_assert_int_eq(EVP_DigestSignInit(ctx, &pctx, md, NULL, key), 1);
    if (EVP_PKEY_is_a(key, "RSA")) {
        EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, salt);
    }
    ck_assert_int_eq(EVP_DigestSign(ctx, msg->sig, &msg->sig_len, in, len), 1);
    if (EVP_PKEY_is_a(key, "EC")) {
        raw_ecdsa(key, msg);
    }
    EVP_MD_CTX_free(ctx);
}

/* classic: Ctmk || Rnd2' go into a signature with message recovery, and out of tbs. */
static void sign_classic(const struct fake_loader *loader, struct kl_master_key *msg)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(loader->sign_key, NULL);
    uint8_t block[128] = {0};
    size_t len = msg->tbs.ctmk_len + 32;

    memcpy(block, msg->tbs.ctmk, msg->tbs.ctmk_len);
    memcpy(block + msg->tbs.ctmk_len, msg->tbs.rnd2, 32);
    len += (size_t)loader->classic_delta;
    msg->sig_len = sizeof(msg->sig);
    ck_assert_int_eq(EVP_PKEY_sign_init(ctx), 1);
    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING);
    ck_assert_int_eq(EVP_PKEY_sign(ctx, msg->sig, &msg->sig_len, block, len), 1);
    EVP_PKEY_CTX_free(ctx);
    memset(msg->tbs.ctmk, 0, sizeof(msg->tbs.ctmk));
    memset(msg->tbs.rnd2, 0, sizeof(msg->tbs.rnd2));
    msg->tbs.ctmk_len = 0;
}

/* Randoms in, MasterKey out (S6, S7). */
void fake_say_master_key(struct fake_loader *loader, const uint8_t *in, size_t in_len, uint8_t *out,
                         size_t *out_len)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg randoms, msg = {.type = KL_MSG_MASTER_KEY};
    struct kl_tbs *tbs = &msg.u.master_key.tbs;
    uint8_t der[KL_TBS_MAX], key[32];
    size_t len;

    ck_assert_msg(kl_msg_decode(in, in_len, &randoms, &err) == KL_OK, "%s", err.text);
    ck_assert_int_eq(randoms.type, KL_MSG_RANDOMS);
    hear(loader, in, in_len, loader->t1);
    check_proof(loader, &randoms);
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
    compute_kcv(loader->alg, tmk_bytes, loader->kcv);
    memcpy(tbs->kcv, loader->kcv, loader->kcv_len);
    if (loader->spoil_tbs) {
        loader->spoil_tbs(loader, tbs);
    }
    if (loader->suite == KL_SUITE_CLASSIC) {
        sign_classic(loader, &msg.u.master_key);
    }
    ck_assert_msg(kl_tbs_encode(tbs, der, &len, &err) == KL_OK, "%s", err.text);
    msg.u.master_key.tbs_der = (struct kl_bytes){der, len};
    if (loader->suite == KL_SUITE_CLASSIC) {
        fake_derive(loader, "keys", key);
        fake_cmac(key, 32, der, len, msg.u.master_key.mac);
    } else {
        fake_sign(loader->sign_key, der, len, 32, &msg.u.master_key);
    }
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
    fake_cmac(key, 32, in, 33 + loader->kcv_len, mac);
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
    fake_cmac(key, 32, in, 33, msg->u.done.mac);
}

/* ---- Sign-in ---- */

/* Under the TMK: RFC 3394 or TDES-ECB. */
static size_t under_tmk(const struct fake_loader *loader, const uint8_t *key, size_t len,
                        uint8_t *out)
{
    const struct kl_alg_info *info = kl_alg_info(loader->alg);

    if (info->is_aes) {
        return key_wrap(1, tmk_bytes, info->key_len, key, len, out);
    }
    fake_block(loader->alg, 1, tmk_bytes, key, len, out);
    return len;
}

/* AES: drawn, of a length that no working key has. TDES: the hash, deciphered. */
static void put_session(struct fake_loader *loader, struct kl_working_keys *keys)
{
    static const char label[] = "keyloader/1 session"; /* and its NUL */
    uint8_t in[sizeof(label) + 32], hash[32];

    loader->session_len = loader->alg == KL_ALG_AES128 ? 24 : 16;
    if (kl_alg_info(loader->alg)->is_aes) {
        RAND_bytes(loader->rnd1, (int)loader->session_len);
        keys->c_session_len = under_tmk(loader, loader->rnd1, loader->session_len, keys->c_session);
        return;
    }
    memcpy(in, label, sizeof(label));
    memcpy(in + sizeof(label), loader->t0, 32);
    SHA256(in, sizeof(in), hash);
    fake_block(loader->alg, 0, tmk_bytes, hash, 16, loader->rnd1);
    memcpy(keys->c_session, hash, 16);
    keys->c_session_len = 16;
}

static void put_keys(struct fake_loader *loader, struct kl_working_keys *keys)
{
    size_t len = kl_alg_info(loader->alg)->key_len;

    RAND_bytes(loader->pik, 32);
    RAND_bytes(loader->mak, 32);
    if (loader->fixed_pik) {
        memcpy(loader->pik, loader->fixed_pik, len);
    }
    if (loader->fixed_mak) {
        memcpy(loader->mak, loader->fixed_mak, len);
    }
    loader->keys_alg = loader->alg;
    keys->pik.len = under_tmk(loader, loader->pik, len, keys->pik.data);
    keys->mak.len = under_tmk(loader, loader->mak, len, keys->mak.data);
    keys->pik.kcv_len = keys->mak.kcv_len = loader->kcv_len;
    compute_kcv(loader->alg, loader->pik, loader->kcv);
    memcpy(keys->pik.kcv, loader->kcv, loader->kcv_len);
    compute_kcv(loader->alg, loader->mak, keys->mak.kcv);
    memset(keys->mak.kcv + loader->kcv_len, 0, 4 - loader->kcv_len);
}

/* PIK (16), KCV (4), MAK (8), zeros (8), KCV (4). */
static void put_field62(struct fake_loader *loader, struct kl_working_keys *keys)
{
    RAND_bytes(loader->pik, 16);
    RAND_bytes(loader->mak, 8);
    memcpy(loader->mak + 8, loader->mak, 8);
    loader->keys_alg = KL_ALG_TDES2;
    loader->kcv_len = 4;
    keys->has_field62 = 1;
    under_tmk(loader, loader->pik, 16, keys->field62);
    compute_kcv(KL_ALG_TDES2, loader->pik, keys->field62 + 16);
    under_tmk(loader, loader->mak, 8, keys->field62 + 20);
    compute_kcv(KL_ALG_TDES2, loader->mak, keys->field62 + 36);
    memcpy(loader->kcv, keys->field62 + 16, 4);
}

void fake_say_keys(struct fake_loader *loader, const uint8_t *in, size_t in_len, uint8_t *out,
                   size_t *out_len)
{
    struct kl_msg sign_in, msg = {.type = KL_MSG_WORKING_KEYS};
    struct kl_working_keys *keys = &msg.u.working_keys;
    uint8_t body[KL_KEYS_BODY_MAX], hash_in[KL_MSG_MAX], hash[32], key[32];
    struct kl_err err = KL_ERR_INIT;
    size_t len;

    ck_assert_msg(kl_msg_decode(in, in_len, &sign_in, &err) == KL_OK, "%s", err.text);
    ck_assert_int_eq(sign_in.type, KL_MSG_SIGN_IN);
    ck_assert_uint_eq(sign_in.u.sign_in.tmk_version, loader->version);
    loader->told_len = 0;
    hear(loader, in, in_len, loader->t0);
    keys->tmk_version = loader->version;
    keys->alg = (uint8_t)loader->alg;
    put_session(loader, keys);
    if (sign_in.u.sign_in.format == KL_FORMAT_FIELD62) {
        put_field62(loader, keys);
    } else {
        put_keys(loader, keys);
    }
    if (loader->spoil_keys) {
        loader->spoil_keys(loader, keys);
    }
    ck_assert_msg(kl_keys_body_encode(keys, body, &len, &err) == KL_OK, "%s", err.text);
    keys->body_der = (struct kl_bytes){body, len};
    memcpy(hash_in, in, in_len);
    memcpy(hash_in + in_len, body, len);
    SHA256(hash_in, in_len + len, hash);
    fake_derive(loader, "keys", key);
    fake_cmac(key, 32, hash, 32, keys->mac);
    if (loader->spoil_keys_after) {
        loader->spoil_keys_after(loader, keys);
        ck_assert_msg(kl_keys_body_encode(keys, body, &len, &err) == KL_OK, "%s", err.text);
        keys->body_der = (struct kl_bytes){body, len};
    }
    fake_encode(&msg, out, out_len);
    hear(loader, out, *out_len, loader->t2);
}
