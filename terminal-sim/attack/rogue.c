/* SPDX-License-Identifier: BSD-2-Clause */
/* The loader's half of a load, of every suite, in OpenSSL: S3, S6, S7 and Done. */
#include "terminal-sim/attack/rogue.h"

#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <string.h>

#include "proto/pubkey.h"
#include "terminal-sim/attack/field.h"

void kl_rogue_init(struct kl_rogue *loader, EVP_PKEY *work_key, X509 *work)
{
    memset(loader, 0, sizeof(*loader));
    loader->suite = KL_SUITE_HARDENED_RSA;
    loader->work = work;
    loader->work_key = loader->sign_key = work_key;
    loader->alg = KL_ALG_TDES2;
    loader->version = 1;
    loader->kcv_len = 3;
}

int kl_rogue_hear(struct kl_rogue *loader, const uint8_t *der, size_t len, uint8_t hash[32])
{
    if (len > sizeof(loader->told) - loader->told_len) {
        return 0;
    }
    memcpy(loader->told + loader->told_len, der, len);
    loader->told_len += len;
    if (hash) {
        SHA256(loader->told, loader->told_len, hash);
    }
    return 1;
}

static enum kl_rc broken(struct kl_err *err, const char *what)
{
    return kl_err_openssl(err, KL_ERR_INTERNAL, "OpenSSL", "the rogue loader: %s failed", what);
}

/* ---- S3 ---- */

enum kl_rc kl_rogue_certificate(struct kl_rogue *loader, const uint8_t *hello, size_t hello_len,
                                uint8_t *out, size_t *out_len, struct kl_err *err)
{
    struct kl_msg in, msg = {.type = KL_MSG_CERTIFICATE};
    struct kl_certificate *certificate = &msg.u.certificate;
    uint8_t *der = NULL, *crl = NULL;
    int len = i2d_X509(loader->work, &der), crl_len = 0;
    enum kl_rc rc = kl_msg_decode(hello, hello_len, &in, err);

    if (!rc && in.type != KL_MSG_HELLO) {
        rc = kl_err_set(err, KL_ERR_PROTOCOL, "the rogue loader got %s instead of Hello",
                        kl_msg_name(in.type));
    }
    if (!rc && (!kl_rogue_hear(loader, hello, hello_len, NULL) || len <= 0 ||
                RAND_bytes(certificate->nonce, 32) != 1 ||
                (loader->crl && (crl_len = i2d_X509_CRL(loader->crl, &crl)) <= 0))) {
        rc = broken(err, "Certificate");
    }
    if (!rc) {
        strcpy(loader->serial, in.u.hello.serial);
        certificate->suite = (uint8_t)loader->suite;
        certificate->oaep_hash = KL_OAEP_SHA1;
        certificate->chain_count = 1;
        certificate->chain[0] = (struct kl_bytes){der, (size_t)len};
        certificate->crl = (struct kl_bytes){crl, (size_t)crl_len};
        if (loader->spoil_certificate) {
            loader->spoil_certificate(certificate);
        }
        rc = kl_msg_encode(&msg, out, out_len, err);
    }
    if (!rc && !kl_rogue_hear(loader, out, *out_len, loader->t0)) {
        rc = broken(err, "T0");
    }
    OPENSSL_free(crl);
    OPENSSL_free(der);
    return rc;
}

/* ---- S6: each 1 if it opens ---- */

static int open_oaep(const struct kl_rogue *loader, const struct kl_randoms *randoms, uint8_t *out,
                     size_t want)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(loader->work_key, NULL);
    uint8_t plain[KL_RSA_MAX];
    size_t len = sizeof(plain);
    int good = ctx && EVP_PKEY_decrypt_init(ctx) == 1 &&
               EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) > 0 &&
               EVP_PKEY_decrypt(ctx, plain, &len, randoms->c_rnd1, randoms->c_rnd1_len) == 1 &&
               len == want;

    if (good) {
        memcpy(out, plain, len);
    }
    EVP_PKEY_CTX_free(ctx);
    return good;
}

/* ECIES by the words of the protocol. */
static int open_ecies(struct kl_rogue *loader, const struct kl_randoms *randoms)
{
    EVP_PKEY *peer = EVP_PKEY_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(loader->work_key, NULL);
    uint8_t shared[66], in[256] = "keyloader/1 ecies", label[32], key[32];
    size_t len = sizeof(shared), prefix = sizeof("keyloader/1 ecies");
    int good = peer && ctx && EVP_PKEY_copy_parameters(peer, loader->work_key) == 1 &&
               EVP_PKEY_set1_encoded_public_key(peer, randoms->point, randoms->point_len) == 1 &&
               EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, peer) == 1 &&
               EVP_PKEY_derive(ctx, shared, &len) == 1 && randoms->c_rnd1_len == KL_C_RND1_EC_LEN;

    if (good) {
        memcpy(in + prefix, loader->t0, 32);
        memcpy(in + prefix + 32, randoms->point, randoms->point_len);
        SHA256(in, prefix + 32 + randoms->point_len, label);
        good = kl_rogue_block(KL_ALG_AES256, 1, shared + len - 32, label, 32, key) &&
               kl_rogue_key_wrap(0, key, 32, randoms->c_rnd1, KL_C_RND1_EC_LEN, loader->rnd1) == 32;
    }
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    return good;
}

static int open_rnd2(struct kl_rogue *loader, const struct kl_randoms *randoms)
{
    EVP_CIPHER_CTX *gcm = EVP_CIPHER_CTX_new();
    uint8_t key[32], plain[64];
    int n, good = gcm && kl_rogue_derive(loader, "nonce", key) &&
                  EVP_DecryptInit(gcm, EVP_aes_256_gcm(), key, randoms->iv) &&
                  EVP_DecryptUpdate(gcm, NULL, &n, loader->t0, 32) &&
                  EVP_DecryptUpdate(gcm, loader->rnd2, &n, randoms->c_rnd2, 32) &&
                  EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_SET_TAG, 16,
                                      (void *)(randoms->c_rnd2 + 32)) > 0 &&
                  EVP_DecryptFinal(gcm, plain, &n) > 0;

    EVP_CIPHER_CTX_free(gcm);
    return good;
}

static int open_randoms(struct kl_rogue *loader, const struct kl_randoms *randoms)
{
    uint8_t plain[64];

    if (randoms->suite != loader->suite) {
        return 0;
    }
    if (loader->suite == KL_SUITE_CLASSIC) {
        if (!open_oaep(loader, randoms, plain, 64)) {
            return 0;
        }
        memcpy(loader->rnd1, plain, 32);
        memcpy(loader->rnd2, plain + 32, 32);
        return 1;
    }
    return (loader->suite == KL_SUITE_HARDENED_EC ? open_ecies(loader, randoms)
                                                  : open_oaep(loader, randoms, loader->rnd1, 32)) &&
           open_rnd2(loader, randoms);
}

/* The device key's signature: over a prefix, T0 and Randoms as it was without it. */
static enum kl_rc check_proof(const struct kl_rogue *loader, const struct kl_msg *randoms,
                              struct kl_err *err)
{
    static const char prefix[] = "keyloader/1 randoms";
    struct kl_msg unsigned_msg = *randoms;
    uint8_t der[KL_MSG_MAX], in[KL_MSG_MAX];
    size_t len;
    enum kl_rc rc;

    if (!loader->device) {
        return randoms->u.randoms.sig_len == 0
                   ? KL_OK
                   : kl_err_set(err, KL_ERR_VERIFY, "Randoms is signed, and nobody asked");
    }
    unsigned_msg.u.randoms.sig_len = 0;
    memset(unsigned_msg.u.randoms.sig, 0, sizeof(unsigned_msg.u.randoms.sig));
    rc = kl_msg_encode(&unsigned_msg, der, &len, err);
    if (rc) {
        return rc;
    }
    memcpy(in, prefix, sizeof(prefix));
    memcpy(in + sizeof(prefix), loader->t0, 32);
    memcpy(in + sizeof(prefix) + 32, der, len);
    return kl_pubkey_verify(loader->device, randoms->u.randoms.sig, randoms->u.randoms.sig_len, in,
                            sizeof(prefix) + 32 + len, err);
}

/* ---- S7 ---- */

static int fill_tbs(struct kl_rogue *loader, struct kl_tbs *tbs)
{
    const struct kl_alg_info *info = kl_alg_info(loader->alg);
    uint8_t key[32];

    if (loader->suite == KL_SUITE_CLASSIC) {
        memcpy(key, loader->rnd1, 32);
    } else if (!kl_rogue_derive(loader, "wrap", key)) {
        return 0;
    }
    tbs->ctmk_len = kl_rogue_key_wrap(1, key, 32, kl_rogue_tmk(), info->key_len, tbs->ctmk);
    memcpy(tbs->t1, loader->t1, 32);
    memcpy(tbs->rnd2, loader->rnd2, 32);
    strcpy(tbs->serial, loader->serial);
    tbs->usage = KL_USAGE_KEK;
    tbs->alg = (uint8_t)loader->alg;
    tbs->version = loader->version;
    tbs->kcv_method = (uint8_t)info->kcv_method;
    tbs->kcv_len = loader->kcv_len;
    if (!tbs->ctmk_len || !kl_rogue_kcv(loader->alg, kl_rogue_tmk(), loader->kcv)) {
        return 0;
    }
    memcpy(tbs->kcv, loader->kcv, loader->kcv_len);
    return 1;
}

/* classic: Ctmk || Rnd2' go into a signature with message recovery, and out of tbs. */
static int sign_classic(const struct kl_rogue *loader, struct kl_master_key *msg)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(loader->sign_key, NULL);
    uint8_t block[128] = {0};
    size_t len = msg->tbs.ctmk_len + 32;
    int done;

    memcpy(block, msg->tbs.ctmk, msg->tbs.ctmk_len);
    memcpy(block + msg->tbs.ctmk_len, msg->tbs.rnd2, 32);
    len += (size_t)loader->classic_delta;
    msg->sig_len = sizeof(msg->sig);
    done = ctx && EVP_PKEY_sign_init(ctx) == 1 &&
           EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) > 0 &&
           EVP_PKEY_sign(ctx, msg->sig, &msg->sig_len, block, len) == 1;
    EVP_PKEY_CTX_free(ctx);
    memset(msg->tbs.ctmk, 0, sizeof(msg->tbs.ctmk));
    memset(msg->tbs.rnd2, 0, sizeof(msg->tbs.rnd2));
    msg->tbs.ctmk_len = 0;
    return done;
}

static int sign_tbs(struct kl_rogue *loader, const uint8_t *der, size_t len,
                    struct kl_master_key *msg)
{
    uint8_t key[32];

    if (loader->suite == KL_SUITE_CLASSIC) {
        return kl_rogue_derive(loader, "keys", key) && kl_rogue_cmac(key, 32, der, len, msg->mac);
    }
    return kl_rogue_sign(loader->sign_key, der, len, 32, msg);
}

/* The encoder takes no tbs but that of the fields: the edited one comes in afterwards. */
static enum kl_rc put_edited(const uint8_t *der, size_t len, uint8_t *out, size_t *out_len,
                             struct kl_err *err)
{
    struct kl_span span;
    enum kl_rc rc = kl_field_find(der, len, "", &span, err);

    return rc ? rc : kl_field_set(out, out_len, "tbs", der + span.header, span.len, err);
}

static enum kl_rc say_master_key(struct kl_rogue *loader, uint8_t *out, size_t *out_len,
                                 struct kl_err *err)
{
    struct kl_msg msg = {.type = KL_MSG_MASTER_KEY};
    struct kl_tbs *tbs = &msg.u.master_key.tbs;
    uint8_t plain[KL_TBS_MAX], der[KL_TBS_MAX];
    size_t plain_len = 0, len = 0;
    enum kl_rc rc;

    if (!fill_tbs(loader, tbs)) {
        return broken(err, "tbs");
    }
    if (loader->spoil_tbs) {
        loader->spoil_tbs(loader, tbs);
    }
    if (loader->suite == KL_SUITE_CLASSIC && !sign_classic(loader, &msg.u.master_key)) {
        return broken(err, "the signature");
    }
    rc = kl_tbs_encode(tbs, plain, &plain_len, err);
    memcpy(der, plain, plain_len);
    len = plain_len;
    if (!rc && loader->edit_tbs && !loader->edit_tbs(loader->edit_arg, der, &len)) {
        rc = kl_err_set(err, KL_ERR_INTERNAL, "tbs cannot be edited so");
    }
    if (!rc) {
        msg.u.master_key.tbs_der = (struct kl_bytes){plain, plain_len};
        rc = sign_tbs(loader, der, len, &msg.u.master_key) ? KL_OK : broken(err, "the signature");
    }
    if (!rc) {
        if (loader->spoil_master_key) {
            loader->spoil_master_key(loader, &msg.u.master_key);
        }
        rc = kl_msg_encode(&msg, out, out_len, err);
    }
    if (!rc && loader->edit_tbs) {
        rc = put_edited(der, len, out, out_len, err);
    }
    return rc;
}

enum kl_rc kl_rogue_master_key(struct kl_rogue *loader, const uint8_t *in, size_t in_len,
                               uint8_t *out, size_t *out_len, struct kl_err *err)
{
    struct kl_msg randoms;
    enum kl_rc rc = kl_msg_decode(in, in_len, &randoms, err);

    if (!rc && randoms.type != KL_MSG_RANDOMS) {
        rc = kl_err_set(err, KL_ERR_PROTOCOL, "the rogue loader got %s instead of Randoms",
                        kl_msg_name(randoms.type));
    }
    if (!rc && !kl_rogue_hear(loader, in, in_len, loader->t1)) {
        rc = broken(err, "T1");
    }
    if (!rc) {
        rc = check_proof(loader, &randoms, err);
    }
    if (!rc && !open_randoms(loader, &randoms.u.randoms)) {
        rc = kl_err_openssl(err, KL_ERR_VERIFY, "EVP_PKEY_decrypt",
                            "C_rnd1_rnd2 does not open with the rogue loader's key");
    }
    if (!rc) {
        rc = say_master_key(loader, out, out_len, err);
    }
    if (!rc && !kl_rogue_hear(loader, out, *out_len, loader->t2)) {
        rc = broken(err, "T2");
    }
    return rc;
}

enum kl_rc kl_rogue_ack_mac(const struct kl_rogue *loader, uint8_t mac[16], struct kl_err *err)
{
    uint8_t key[32], in[32 + 1 + 4];

    memcpy(in, loader->t2, 32);
    in[32] = 1;
    memcpy(in + 33, loader->kcv, loader->kcv_len);
    return kl_rogue_derive(loader, "ack", key) &&
                   kl_rogue_cmac(key, 32, in, 33 + loader->kcv_len, mac)
               ? KL_OK
               : broken(err, "Loaded's MAC");
}

enum kl_rc kl_rogue_done(const struct kl_rogue *loader, enum kl_verdict verdict, struct kl_msg *msg,
                         struct kl_err *err)
{
    uint8_t key[32], in[33];

    memcpy(in, loader->t2, 32);
    in[32] = (uint8_t)verdict;
    memset(msg, 0, sizeof(*msg));
    msg->type = KL_MSG_DONE;
    msg->u.done.verdict = (uint8_t)verdict;
    msg->u.done.tmk_version = loader->version;
    return kl_rogue_derive(loader, "done", key) && kl_rogue_cmac(key, 32, in, 33, msg->u.done.mac)
               ? KL_OK
               : broken(err, "Done's MAC");
}
