/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sign-ins of the self-test: whether the token wraps and unwraps under a TDES TMK is seen in a
 * try, and what comes under an AES TMK is opened again, this token being the terminal's PIN pad
 * too.
 */
#include "pkcs11/suite.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "pkcs11/binding.h"
#include "pkcs11/ops.h"
#include "proto/secret.h"
#include "proto/transcript.h"

#define SELF "SELF-TEST" /* serial of terminal and PIN pad */

/* ---- TDES: do C_WrapKey and C_UnwrapKey do what the mechanism list says? ---- */

/* Known keys: they protect nothing. */
static const uint8_t known_tmk[] = "self-test: known TMK....";
static const uint8_t known_key[] = "self-test: known key 123";
static const uint8_t known_t0[KL_HASH_LEN] = "self-test: known T0";

/* *does: 1 if this token wraps a key under another of the same algorithm as OpenSSL does. */
static enum kl_rc try_wrap(struct kl_loader *loader, enum kl_alg alg, const uint8_t *expected,
                           int *does, struct kl_err *err)
{
    CK_OBJECT_HANDLE tmk = CK_INVALID_HANDLE, key = CK_INVALID_HANDLE;
    size_t key_len = kl_alg_info(alg)->key_len, len = 0;
    uint8_t wrapped[KL_CTMK_LEN_MAX];
    enum kl_rc rc;

    *does = 0;
    if ((rc = kl_op_import_value(loader->session, alg, known_tmk, KL_USE_WRAP, &tmk, err)) ==
            KL_OK &&
        (rc = kl_op_import_value(loader->session, alg, known_key, KL_USE_KCV, &key, err)) ==
            KL_OK &&
        (rc = kl_op_wrap_tdes(loader->session, tmk, key, wrapped, &len, err)) == KL_OK) {
        *does = len == key_len && CRYPTO_memcmp(wrapped, expected, key_len) == 0;
    }
    kl_op_destroy(loader->session, &key);
    kl_op_destroy(loader->session, &tmk);
    return rc;
}

/* A MAC by a key that is derived from it, which tells one session key from another. */
static enum kl_rc mac_by(struct kl_loader *loader, CK_OBJECT_HANDLE session,
                         uint8_t mac[KL_MAC_LEN], struct kl_err *err)
{
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    enum kl_rc rc =
        kl_loader_derive(loader, session, known_t0, KL_PURPOSE_KEYS, KL_USE_MAC, &key, err);

    if (rc == KL_OK) {
        rc = kl_op_cmac(loader->session, key, known_t0, sizeof(known_t0), mac, err);
    }
    kl_op_destroy(loader->session, &key);
    return rc;
}

/* *does: 1 if it unwraps a session key under a TMK of that algorithm so, too. */
static enum kl_rc try_unwrap(struct kl_loader *loader, enum kl_alg alg, const uint8_t *wrapped,
                             int *does, struct kl_err *err)
{
    CK_OBJECT_HANDLE tmk = CK_INVALID_HANDLE, key = CK_INVALID_HANDLE, same = CK_INVALID_HANDLE;
    uint8_t mac[KL_MAC_LEN], expected[KL_MAC_LEN];
    enum kl_rc rc;

    *does = 0;
    if ((rc = kl_op_import_value(loader->session, alg, known_tmk, KL_USE_UNWRAP, &tmk, err)) ==
            KL_OK &&
        (rc = kl_op_unwrap_base_tdes(loader->session, tmk, wrapped, &key, err)) == KL_OK &&
        (rc = kl_op_import_value(loader->session, KL_ALG_AES128, known_key, KL_USE_DERIVE, &same,
                                 err)) == KL_OK &&
        (rc = mac_by(loader, key, mac, err)) == KL_OK &&
        (rc = mac_by(loader, same, expected, err)) == KL_OK) {
        *does = CRYPTO_memcmp(mac, expected, sizeof(mac)) == 0;
    }
    kl_op_destroy(loader->session, &same);
    kl_op_destroy(loader->session, &key);
    kl_op_destroy(loader->session, &tmk);
    return rc;
}

static enum kl_rc learn_tdes(struct kl_loader *loader, struct kl_err *err)
{
    static const enum kl_alg algs[] = {KL_ALG_TDES2, KL_ALG_TDES3};
    uint8_t wrapped[KL_TMK_LEN_MAX];
    struct kl_err cannot = KL_ERR_INIT;
    enum kl_rc rc;
    int does = 1;

    for (size_t i = 0; does && i < sizeof(algs) / sizeof(algs[0]); i++) {
        rc = kl_known_encrypt(algs[i] == KL_ALG_TDES2 ? "DES-EDE-ECB" : "DES-EDE3-ECB", known_tmk,
                              known_key, kl_alg_info(algs[i])->key_len, wrapped, err);
        if (rc != KL_OK) {
            return rc;
        }
        rc = try_wrap(loader, algs[i], wrapped, &does, &cannot);
        if (rc == KL_OK && does) { /* by ECB the session key is the first 16 bytes of it */
            rc = try_unwrap(loader, algs[i], wrapped, &does, &cannot);
        }
        if (rc == KL_ERR_TOKEN || rc == KL_ERR_MEMORY) {
            *err = cannot;
            return rc;
        }
    }
    loader->wraps_tdes = does;
    return KL_OK;
}

/* ---- AES: a sign-in seen from the terminal ---- */

struct self {
    enum kl_alg alg;
    /* TMK in the loader's uses; then the PIN pad's. */
    CK_OBJECT_HANDLE tmk, pad_tmk, session, key, mac;
    struct kl_stored_key stored; /* the TMK */
    uint8_t sign_in[KL_MSG_MAX];
    size_t sign_in_len;
    uint8_t t0[KL_HASH_LEN];
    struct kl_msg msg;
    struct kl_sign_in_out out;
};

/* The TMK for the store, bound to whom the SignIn names. */
static enum kl_rc store_tmk(struct kl_loader *loader, struct self *self, struct kl_err *err)
{
    struct kl_stored_key *stored = &self->stored;
    const struct kl_binding_of what = {.kind = KL_BINDING_TMK,
                                       .serial = SELF,
                                       .version = 1,
                                       .key = stored};
    enum kl_rc rc;

    stored->alg = self->alg;
    stored->kcv_len = KL_KCV_LEN_MAX;
    if ((rc = kl_op_generate_tmk(loader->session, self->alg, &self->tmk, err)) != KL_OK ||
        (rc = kl_op_kcv(loader->session, self->tmk, self->alg, stored->kcv_len, stored->kcv,
                        err)) != KL_OK ||
        (rc = kl_op_wrap(loader->session, loader->storage_key, self->tmk, stored->cryptogram,
                         &stored->cryptogram_len, err)) != KL_OK) {
        return rc;
    }
    rc = kl_binding_compute(loader->session, loader->binding_key, &what, stored->binding, err);
    if (rc == KL_OK) {
        rc = kl_binding_verify(loader->session, loader->binding_key, &what, err);
    }
    if (rc == KL_ERR_STORE) {
        rc = kl_err_set(err, KL_ERR_HSM_LACKS,
                        "C_Sign(CKM_AES_CMAC) gives another MAC the second time");
    }
    return rc != KL_OK ? kl_err_context(err, "binding key") : KL_OK;
}

/* One TMK as two objects: one comes by way of the store, the other unwraps. */
static enum kl_rc make_tmk(struct kl_loader *loader, struct self *self, struct kl_err *err)
{
    enum kl_rc rc = store_tmk(loader, self, err);

    return rc != KL_OK ? rc
                       : kl_loader_turn_tmk(loader, self->tmk, self->alg, self->t0, KL_USE_UNWRAP,
                                            &self->pad_tmk, err);
}

static enum kl_rc make_sign_in(struct kl_loader *loader, struct self *self, struct kl_err *err)
{
    struct kl_sign_in message = {
        .version = KL_PROTOCOL_VERSION,
        .serial = SELF,
        .pinpad_serial = SELF,
        .tmk_version = 1,
        .format = KL_FORMAT_KEYS,
    };
    struct kl_transcript *transcript = NULL;
    enum kl_rc rc = kl_op_random(loader->session, message.nonce, sizeof(message.nonce), err);

    self->msg = (struct kl_msg){.type = KL_MSG_SIGN_IN, .u.sign_in = message};
    if (rc != KL_OK ||
        (rc = kl_msg_encode(&self->msg, self->sign_in, &self->sign_in_len, err)) != KL_OK ||
        (rc = kl_transcript_new(&transcript, err)) != KL_OK ||
        (rc = kl_transcript_add(transcript, self->sign_in, self->sign_in_len, err)) != KL_OK) {
        goto out;
    }
    rc = kl_transcript_hash(transcript, self->t0, err);
out:
    kl_transcript_free(transcript);
    return rc;
}

/* A working key as the terminal gets it, and as the store does. */
static enum kl_rc check_key(struct kl_loader *loader, struct self *self,
                            const struct kl_wrapped_key *wrapped,
                            const struct kl_stored_key *stored, struct kl_err *err)
{
    const struct {
        CK_OBJECT_HANDLE key;
        const uint8_t *data;
        size_t len;
    } ways[] = {{self->pad_tmk, wrapped->data, wrapped->len},
                {loader->storage_key, stored->cryptogram, stored->cryptogram_len}};
    uint8_t kcv[KL_KCV_LEN_MAX];
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; rc == KL_OK && i < 2; i++) {
        rc = kl_op_unwrap_tmk(loader->session, ways[i].key, self->alg, ways[i].data, ways[i].len,
                              KL_USE_KCV, &self->key, err);
        if (rc == KL_OK) {
            rc = kl_op_kcv(loader->session, self->key, self->alg, KL_KCV_LEN_MAX, kcv, err);
        }
        if (rc == KL_OK && (wrapped->kcv_len != sizeof(kcv) ||
                            CRYPTO_memcmp(kcv, wrapped->kcv, sizeof(kcv)) != 0)) {
            rc = kl_err_set(err, KL_ERR_HSM_LACKS,
                            "CKM_AES_KEY_WRAP does not give back the key that went in");
        }
        kl_op_destroy(loader->session, &self->key);
    }
    return rc;
}

/* The session key gives the MAC that the message has. */
static enum kl_rc check_mac(struct kl_loader *loader, struct self *self,
                            const struct kl_working_keys *keys, struct kl_err *err)
{
    size_t session_len = kl_alg_info(kl_suite_session_alg(self->alg))->key_len;
    struct kl_transcript *covered = NULL;
    uint8_t hash[KL_HASH_LEN], mac[KL_MAC_LEN];
    enum kl_rc rc;

    if ((rc = kl_op_unwrap_base(loader->session, self->pad_tmk, session_len, keys->c_session,
                                keys->c_session_len, &self->session, err)) == KL_OK &&
        (rc = kl_loader_derive(loader, self->session, self->t0, KL_PURPOSE_KEYS, KL_USE_MAC,
                               &self->mac, err)) == KL_OK &&
        (rc = kl_transcript_new(&covered, err)) == KL_OK &&
        (rc = kl_transcript_add(covered, self->sign_in, self->sign_in_len, err)) == KL_OK &&
        (rc = kl_transcript_add(covered, keys->body_der.data, keys->body_der.len, err)) == KL_OK &&
        (rc = kl_transcript_hash(covered, hash, err)) == KL_OK &&
        (rc = kl_op_cmac(loader->session, self->mac, hash, sizeof(hash), mac, err)) == KL_OK &&
        CRYPTO_memcmp(mac, keys->mac, sizeof(mac)) != 0) {
        rc = kl_err_set(err, KL_ERR_HSM_LACKS, "C_Sign(CKM_AES_CMAC) gives another MAC");
    }
    kl_transcript_free(covered);
    return rc;
}

static enum kl_rc check_working_keys(struct kl_loader *loader, struct self *self,
                                     struct kl_err *err)
{
    const struct kl_working_keys *keys = &self->msg.u.working_keys;
    enum kl_rc rc;

    if ((rc = kl_msg_decode(self->out.message, self->out.message_len, &self->msg, err)) != KL_OK ||
        (rc = check_key(loader, self, &keys->pik, &self->out.pik, err)) != KL_OK ||
        (rc = check_key(loader, self, &keys->mak, &self->out.mak, err)) != KL_OK) {
        return rc;
    }
    return check_mac(loader, self, keys, err);
}

static enum kl_rc one_sign_in(struct kl_loader *loader, enum kl_alg alg, struct kl_err *err)
{
    struct self *self = calloc(1, sizeof(*self));
    struct kl_sign_in_in in = {.tmk_version = 1, .kcv_len = KL_KCV_LEN_MAX};
    enum kl_rc rc;

    if (!self) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory");
    }
    self->alg = alg;
    if ((rc = make_sign_in(loader, self, err)) == KL_OK &&
        (rc = make_tmk(loader, self, err)) == KL_OK) {
        in.sign_in = (struct kl_bytes){self->sign_in, self->sign_in_len};
        in.tmk = &self->stored;
        rc = kl_loader_sign_in(loader, &in, &self->out, err);
    }
    if (rc == KL_OK) {
        rc = check_working_keys(loader, self, err);
    }
    kl_op_destroy(loader->session, &self->mac);
    kl_op_destroy(loader->session, &self->session);
    kl_op_destroy(loader->session, &self->pad_tmk);
    kl_op_destroy(loader->session, &self->tmk);
    kl_wipe(self, sizeof(*self));
    free(self);
    return rc;
}

enum kl_rc kl_loader_selftest_sign_in(struct kl_loader *loader, struct kl_err *err)
{
    enum kl_rc rc = learn_tdes(loader, err);

    for (unsigned alg = 1; rc == KL_OK && alg <= KL_ALG_COUNT; alg++) {
        if (kl_alg_info(alg)->is_aes) {
            rc = one_sign_in(loader, alg, err);
        }
    }
    return rc != KL_OK ? kl_err_context(err, "sign-in") : KL_OK;
}
