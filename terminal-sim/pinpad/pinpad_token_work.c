/* SPDX-License-Identifier: BSD-2-Clause */
/* The PIN pad in a token: keys that come under a TMK, and the device key. */
#include <string.h>

#include "pkcs11/key_policy.h"
#include "pkcs11/keys.h"
#include "pkcs11/ops.h"
#include "pkcs11/ops_pinpad.h"
#include "pkcs11/x509sign.h"
#include "proto/cert.h"
#include "terminal-sim/pinpad/pinpad_token.h"

#define DES_LEN 8

/* ---- Keys under a TMK ---- */

static enum kl_rc open_under(struct kl_token_pad *self, const struct kl_pinpad_tmk *tmk,
                             const struct kl_pad_key *key, const uint8_t *wrapped, size_t len,
                             CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    const struct kl_pad_label label = kl_pad_label_of_tmk(tmk);
    CK_OBJECT_HANDLE kek = 0;
    int unwraps = 0;
    enum kl_rc rc = kl_pad_object_find(self, &label, &kek, err);

    if (rc) {
        return rc;
    }
    if (kl_alg_info(tmk->alg)->is_aes) {
        return kl_pad_unwrap(self->session, kek, key, wrapped, len, out, err);
    }
    rc = kl_token_pad_tdes(self, &unwraps, err);
    return rc ? rc : kl_pad_open_tdes(self->session, kek, unwraps, key, wrapped, len, out, err);
}

enum kl_rc kl_token_start_session(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                                  const struct kl_pinpad_labels *labels, const uint8_t *c_session,
                                  size_t len, struct kl_err *err)
{
    const struct kl_pad_key key = {.alg = kl_suite_session_alg(tmk->alg), .use = KL_PAD_SESSION};
    struct kl_token_pad *self = kl_token_pad_of(pad);
    CK_OBJECT_HANDLE session = 0;
    enum kl_rc rc = open_under(self, tmk, &key, c_session, len, &session, err);

    if (!rc) {
        rc = kl_token_pad_derive(self, KL_PURPOSE_ACK, KL_PURPOSE_KEYS, session, labels, err);
    }
    kl_op_destroy(self->session, &session);
    return rc;
}

enum kl_rc kl_token_working_kcv(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                                enum kl_alg alg, const uint8_t *wrapped, size_t len, size_t kcv_len,
                                uint8_t *kcv, struct kl_err *err)
{
    const struct kl_pad_key key = {.alg = alg, .use = KL_PAD_KCV};
    struct kl_token_pad *self = kl_token_pad_of(pad);
    CK_OBJECT_HANDLE object = 0;
    enum kl_rc rc = open_under(self, tmk, &key, wrapped, len, &object, err);

    if (!rc) {
        rc = kl_op_kcv(self->session, object, alg, kcv_len, kcv, err);
    }
    kl_op_destroy(self->session, &object);
    return rc;
}

enum kl_rc kl_token_highest_pair(struct kl_pinpad *pad, uint32_t *number, struct kl_err *err)
{
    struct kl_pad_object objects[KL_PAD_OBJECTS_MAX];
    uint32_t highest = 0;
    size_t count = 0;
    enum kl_rc rc = kl_pad_objects(kl_token_pad_of(pad), objects, &count, err);

    for (size_t i = 0; !rc && i < count; i++) {
        highest = objects[i].label.number > highest ? objects[i].label.number : highest;
    }
    if (!rc) {
        *number = highest;
    }
    return rc;
}

static enum kl_rc keep_one(struct kl_token_pad *self, const struct kl_pinpad_tmk *tmk,
                           const struct kl_pinpad_pair *pair, enum kl_pad_kind kind,
                           enum kl_pad_use use, const uint8_t *wrapped, size_t len,
                           struct kl_err *err)
{
    const struct kl_pad_label label = kl_pad_label_of_pair(pair, kind);
    char text[KL_PAD_LABEL_MAX];
    const struct kl_pad_key key = {.alg = label.alg, .use = use, .label = text};
    CK_OBJECT_HANDLE object = 0;

    kl_pad_label_format(&label, text);
    return open_under(self, tmk, &key, wrapped, len, &object, err);
}

enum kl_rc kl_token_keep_pair(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                              const struct kl_pinpad_pair *pair, const struct kl_bytes *pik,
                              const struct kl_bytes *mak, struct kl_err *err)
{
    struct kl_token_pad *self = kl_token_pad_of(pad);
    uint8_t twice[2 * DES_LEN];
    enum kl_rc rc = keep_one(self, tmk, pair, KL_PAD_IS_PIK, KL_PAD_PIN, pik->data, pik->len, err);

    if (!rc) {
        rc = keep_one(self, tmk, pair, KL_PAD_IS_MAK, KL_PAD_MAC, mak->data, mak->len, err);
    }
    if (!rc && !kl_alg_info(pair->alg)->is_aes) {
        /* Each block of ECB stands for itself: the first one twice is K1 || K1 under the TMK. */
        memcpy(twice, mak->data, DES_LEN);
        memcpy(twice + DES_LEN, mak->data, DES_LEN);
        rc = keep_one(self, tmk, pair, KL_PAD_IS_CHAIN, KL_PAD_MAC, twice, sizeof(twice), err);
    }
    return rc;
}

/* ---- Working keys in the token ---- */

static enum kl_rc find_key(struct kl_token_pad *self, const struct kl_pinpad_pair *pair,
                           enum kl_pad_kind kind, CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    const struct kl_pad_label label = kl_pad_label_of_pair(pair, kind);

    return kl_pad_object_find(self, &label, out, err);
}

enum kl_rc kl_token_has_pair(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair, int *yes,
                             struct kl_err *err)
{
    static const enum kl_pad_kind kinds[] = {KL_PAD_IS_PIK, KL_PAD_IS_MAK, KL_PAD_IS_CHAIN};
    struct kl_token_pad *self = kl_token_pad_of(pad);
    size_t count = kl_alg_info(pair->alg)->is_aes ? 2 : 3;
    CK_OBJECT_HANDLE object;
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; !rc && i < count; i++) {
        rc = find_key(self, pair, kinds[i], &object, err);
    }
    if (!rc || rc == KL_ERR_KEY) {
        *yes = rc == KL_OK;
        rc = KL_OK;
    }
    return rc;
}

enum kl_rc kl_token_prune(struct kl_pinpad *pad, uint32_t keep, struct kl_err *err)
{
    struct kl_token_pad *self = kl_token_pad_of(pad);
    struct kl_pad_object objects[KL_PAD_OBJECTS_MAX];
    size_t count = 0;
    enum kl_rc rc = kl_pad_objects(self, objects, &count, err);

    for (size_t i = 0; !rc && i < count; i++) {
        if (objects[i].label.kind != KL_PAD_IS_TMK && objects[i].label.number != keep) {
            rc = kl_pad_object_destroy(self, &objects[i], err);
        }
    }
    return rc;
}

enum kl_rc kl_token_encrypt(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair, int mak,
                            const uint8_t *in, uint8_t *out, struct kl_err *err)
{
    struct kl_token_pad *self = kl_token_pad_of(pad);
    CK_OBJECT_HANDLE key = 0;
    enum kl_rc rc = find_key(self, pair, mak ? KL_PAD_IS_MAK : KL_PAD_IS_PIK, &key, err);

    return rc ? rc : kl_pad_encrypt_block(self->session, key, pair->alg, in, out, err);
}

enum kl_rc kl_token_chain(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                          const uint8_t *in, size_t len, uint8_t *chain, struct kl_err *err)
{
    struct kl_token_pad *self = kl_token_pad_of(pad);
    CK_OBJECT_HANDLE key = 0;
    enum kl_rc rc = find_key(self, pair, KL_PAD_IS_CHAIN, &key, err);

    return rc ? rc : kl_pad_chain_tdes(self->session, key, in, len, chain, err);
}

enum kl_rc kl_token_cmac(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                         const uint8_t *in, size_t len, uint8_t *mac, struct kl_err *err)
{
    struct kl_token_pad *self = kl_token_pad_of(pad);
    CK_OBJECT_HANDLE key = 0;
    enum kl_rc rc = find_key(self, pair, KL_PAD_IS_MAK, &key, err);

    return rc ? rc : kl_op_cmac(self->session, key, in, len, mac, err);
}

/* ---- Device key ---- */

static enum kl_rc find_device(struct kl_token_pad *self, CK_OBJECT_HANDLE *private_key,
                              EVP_PKEY **public_key, struct kl_err *err)
{
    int there = 0;
    enum kl_rc rc = kl_pad_has_pair(self->session, KL_PAD_DEVICE_LABEL, &there, err);

    if (!rc && !there) {
        rc = kl_err_set(err, KL_ERR_NOT_FOUND,
                        "the PIN pad has no device key; make one by 'device-key generate'");
    }
    return rc ? rc
              : kl_pair_find(self->session, KL_PAIR_DEVICE, KL_PAD_DEVICE_LABEL, private_key,
                             public_key, err);
}

enum kl_rc kl_token_device_generate(struct kl_pinpad *pad, enum kl_key_type type, unsigned bits,
                                    EVP_PKEY **out, struct kl_err *err)
{
    return kl_pair_generate(kl_token_pad_of(pad)->session, KL_PAIR_DEVICE, KL_PAD_DEVICE_LABEL,
                            type, bits, out, err);
}

enum kl_rc kl_token_device_destroy(struct kl_pinpad *pad, struct kl_err *err)
{
    struct kl_session *session = kl_token_pad_of(pad)->session;
    struct kl_err taken = KL_ERR_INIT;

    if (kl_key_check_free(session, KL_PAD_DEVICE_LABEL, &taken) == KL_OK) {
        return KL_OK;
    }
    /* A half alone as well: a kill between the two leaves one. */
    return kl_pair_destroy(session, KL_PAD_DEVICE_LABEL, err);
}

enum kl_rc kl_token_device_public(struct kl_pinpad *pad, EVP_PKEY **out, struct kl_err *err)
{
    CK_OBJECT_HANDLE private_key = 0;

    return find_device(kl_token_pad_of(pad), &private_key, out, err);
}

enum kl_rc kl_token_device_request(struct kl_pinpad *pad, X509_REQ *req, struct kl_err *err)
{
    struct kl_token_pad *self = kl_token_pad_of(pad);
    struct kl_signer *signer = NULL;
    CK_OBJECT_HANDLE private_key = 0;
    EVP_PKEY *public_key = NULL;
    enum kl_rc rc = find_device(self, &private_key, &public_key, err);

    if (!rc) {
        rc = kl_signer_token(self->session, KL_PAIR_DEVICE, private_key, public_key, &signer, err);
    }
    if (!rc) {
        rc = kl_sign_request(signer, req, err);
    }
    kl_signer_free(signer);
    EVP_PKEY_free(public_key);
    return rc;
}

enum kl_rc kl_token_device_sign(struct kl_pinpad *pad, const uint8_t *in, size_t len, uint8_t *sig,
                                size_t *sig_len, struct kl_err *err)
{
    struct kl_token_pad *self = kl_token_pad_of(pad);
    CK_OBJECT_HANDLE private_key = 0;
    EVP_PKEY *public_key = NULL;
    enum kl_key_type type;
    unsigned bits;
    enum kl_rc rc = find_device(self, &private_key, &public_key, err);

    if (!rc) {
        rc = kl_pubkey_type(public_key, &type, &bits, err);
    }
    if (!rc && type == KL_KEY_EC) {
        rc = kl_op_sign_ecdsa(self->session, private_key, kl_curve_by_bits(bits), in, len, sig,
                              KL_SIG_MAX, sig_len, err);
    } else if (!rc) {
        rc = kl_op_sign_pss(self->session, private_key, in, len, sig, KL_SIG_MAX, sig_len, err);
    }
    EVP_PKEY_free(public_key);
    return rc;
}
