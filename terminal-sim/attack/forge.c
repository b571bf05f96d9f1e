/* SPDX-License-Identifier: BSD-2-Clause */
/* See forge.h. */
#include "terminal-sim/attack/forge.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <string.h>

#include "proto/cert.h"
#include "proto/pubkey.h"
#include "terminal-sim/attack/field.h"
#include "terminal-sim/attack/rogue.h"

static enum kl_rc failed(struct kl_err *err)
{
    return kl_err_openssl(err, KL_ERR_INTERNAL, "OpenSSL", "C_rnd1_rnd2 cannot be forged");
}

static enum kl_rc work_key(const struct kl_kept *kept, struct kl_msg *msg, EVP_PKEY **out,
                           struct kl_err *err)
{
    const struct kl_tampered_message *certificate = &kept->of[KL_MSG_CERTIFICATE];
    X509 *cert = NULL;
    enum kl_rc rc = kl_msg_decode(certificate->der, certificate->len, msg, err);

    if (!rc) {
        rc = kl_cert_from_der(msg->u.certificate.chain[0].data, msg->u.certificate.chain[0].len,
                              &cert, err);
    }
    if (!rc) {
        *out = X509_get_pubkey(cert);
        rc = *out ? KL_OK : failed(err);
    }
    X509_free(cert);
    return rc;
}

/* ECIES with an ephemeral key, by the words of docs/protocol.md. */
static enum kl_rc encrypt_ec(EVP_PKEY *work, const uint8_t t0[KL_HASH_LEN], const uint8_t *rnd1,
                             size_t rnd1_len, struct kl_randoms *out, struct kl_err *err)
{
    EVP_PKEY *ephemeral = NULL;
    EVP_PKEY_CTX *ctx = NULL;
    uint8_t shared[KL_EC_FIELD_MAX], label[KL_HASH_LEN], key[KL_HASH_LEN];
    size_t n = sizeof(shared);
    int bits = EVP_PKEY_get_bits(work);
    enum kl_rc rc = KL_OK;

    if (rnd1_len < 16 || rnd1_len % 8 || rnd1_len + KL_WRAP_OVERHEAD > sizeof(out->c_rnd1)) {
        return kl_err_set(err, KL_ERR_INPUT, "AES key wrap takes no Rnd1 of %zu bytes", rnd1_len);
    }
    ephemeral = EVP_EC_gen(bits == 384 ? "P-384" : bits == 521 ? "P-521" : "P-256");
    ctx = ephemeral ? EVP_PKEY_CTX_new(ephemeral, NULL) : NULL;
    if (!ctx || EVP_PKEY_derive_init(ctx) != 1 || EVP_PKEY_derive_set_peer(ctx, work) != 1 ||
        EVP_PKEY_derive(ctx, shared, &n) != 1 || n < KL_ECDH_LEN) {
        rc = failed(err);
    }
    if (!rc) {
        rc = kl_ec_to_point(ephemeral, out->point, &out->point_len, err);
    }
    if (!rc) {
        rc = kl_suite_ecies_label(t0, out->point, out->point_len, label, err);
    }
    if (!rc &&
        (!kl_rogue_block(KL_ALG_AES256, 1, shared + n - KL_ECDH_LEN, label, KL_HASH_LEN, key) ||
         !(out->c_rnd1_len =
               kl_rogue_key_wrap(1, key, sizeof(key), rnd1, rnd1_len, out->c_rnd1)))) {
        rc = failed(err);
    }
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(ephemeral);
    return rc;
}

/* K_nonce of that Rnd1, or of none where no AES key has its length. */
static enum kl_rc encrypt_rnd2(const uint8_t t0[KL_HASH_LEN], const uint8_t *rnd1, size_t rnd1_len,
                               struct kl_randoms *out, struct kl_err *err)
{
    static const uint8_t rnd2[KL_RND2_LEN];
    EVP_CIPHER_CTX *gcm = EVP_CIPHER_CTX_new();
    const enum kl_alg alg = rnd1_len == 16   ? KL_ALG_AES128
                            : rnd1_len == 24 ? KL_ALG_AES192
                                             : KL_ALG_AES256;
    uint8_t base[KL_RND1_LEN] = {0}, label[KL_HASH_LEN], key[KL_HASH_LEN];
    int n;
    enum kl_rc rc = kl_suite_label(KL_PURPOSE_NONCE, t0, label, err);

    memcpy(base, rnd1, rnd1_len < sizeof(base) ? rnd1_len : sizeof(base));
    if (!rc && (!gcm || RAND_bytes(out->iv, KL_GCM_IV_LEN) != 1 ||
                !kl_rogue_block(alg, 1, base, label, KL_HASH_LEN, key) ||
                !EVP_EncryptInit(gcm, EVP_aes_256_gcm(), key, out->iv) ||
                !EVP_EncryptUpdate(gcm, NULL, &n, t0, KL_HASH_LEN) ||
                !EVP_EncryptUpdate(gcm, out->c_rnd2, &n, rnd2, KL_RND2_LEN) ||
                !EVP_EncryptFinal(gcm, out->c_rnd2 + n, &n) ||
                EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_GET_TAG, KL_GCM_TAG_LEN,
                                    out->c_rnd2 + KL_RND2_LEN) <= 0)) {
        rc = failed(err);
    }
    EVP_CIPHER_CTX_free(gcm);
    return rc;
}

static enum kl_rc sign(struct kl_pinpad *signer, const uint8_t t0[KL_HASH_LEN], struct kl_msg *msg,
                       struct kl_err *err)
{
    struct kl_randoms *randoms = &msg->u.randoms;
    uint8_t der[KL_MSG_MAX], in[KL_PROOF_INPUT_MAX];
    size_t len;
    enum kl_rc rc;

    randoms->sig_len = 0;
    memset(randoms->sig, 0, sizeof(randoms->sig));
    rc = kl_msg_encode(msg, der, &len, err);
    if (!rc) {
        len = kl_suite_proof_input(t0, der, len, in);
        rc = kl_pinpad_device_sign(signer, in, len, randoms->sig, &randoms->sig_len, err);
    }
    return rc;
}

/* Also what hardened-ec has no message for: a wrapped Rnd1 of another length. */
static enum kl_rc encode(struct kl_msg *msg, uint8_t *der, size_t *len, struct kl_err *err)
{
    struct kl_randoms *randoms = &msg->u.randoms;
    size_t c_rnd1_len = randoms->c_rnd1_len;
    enum kl_rc rc;

    if (randoms->suite == KL_SUITE_HARDENED_EC) {
        randoms->c_rnd1_len = KL_C_RND1_EC_LEN;
    }
    rc = kl_msg_encode(msg, der, len, err);
    return rc ? rc : kl_field_set(der, len, "cRnd1", randoms->c_rnd1, c_rnd1_len, err);
}

enum kl_rc kl_forge_randoms(const struct kl_kept *kept, const uint8_t *rnd1, size_t rnd1_len,
                            struct kl_pinpad *signer, uint8_t *der, size_t *len, struct kl_err *err)
{
    const struct kl_tampered_message *hello = &kept->of[KL_MSG_HELLO],
                                     *certificate = &kept->of[KL_MSG_CERTIFICATE];
    struct kl_msg shown, msg;
    struct kl_randoms *randoms = &msg.u.randoms;
    uint8_t said[2 * KL_MSG_MAX], t0[KL_HASH_LEN];
    EVP_PKEY *work = NULL;
    int was_signed;
    enum kl_rc rc = kl_msg_decode(der, *len, &msg, err);

    if (!rc && msg.type != KL_MSG_RANDOMS) {
        rc = kl_err_set(err, KL_ERR_INPUT, "this is no Randoms");
    }
    if (!rc) {
        rc = work_key(kept, &shown, &work, err);
    }
    if (rc) {
        return rc;
    }
    was_signed = randoms->sig_len > 0;
    memcpy(said, hello->der, hello->len);
    memcpy(said + hello->len, certificate->der, certificate->len);
    SHA256(said, hello->len + certificate->len, t0);
    if (randoms->suite == KL_SUITE_HARDENED_EC) {
        rc = encrypt_ec(work, t0, rnd1, rnd1_len, randoms, err);
    } else {
        rc = kl_rsa_oaep_encrypt(work, (enum kl_oaep_hash)shown.u.certificate.oaep_hash, rnd1,
                                 rnd1_len, randoms->c_rnd1, &randoms->c_rnd1_len, err);
    }
    if (!rc && randoms->suite != KL_SUITE_CLASSIC) {
        rc = encrypt_rnd2(t0, rnd1, rnd1_len, randoms, err);
    }
    if (!rc && was_signed) {
        rc = sign(signer, t0, &msg, err);
    }
    EVP_PKEY_free(work);
    return rc ? rc : encode(&msg, der, len, err);
}
