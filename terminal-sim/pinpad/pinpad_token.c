/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A PIN pad in a PKCS#11 token of its own: Rnd1 is drawn, and every key derived and used, inside
 * the token (but for classic, which gives that up); a TMK ends as an unextractable token object.
 * No object is ever modified: a token may rewrite what it keeps in place (SoftHSM 2.6.1 truncates
 * the object's file first), so that a kill in the middle would cost the key.
 */
#include "terminal-sim/pinpad/pinpad_token.h"

#include <stdlib.h>
#include <string.h>

#include "pkcs11/ops.h"
#include "pkcs11/ops_pinpad.h"
#include "proto/pubkey.h"
#include "proto/secret.h"

struct kl_token_pad *kl_token_pad_of(struct kl_pinpad *pad)
{
    return (struct kl_token_pad *)pad;
}

enum kl_rc kl_token_pad_tdes(struct kl_token_pad *self, int *unwraps, struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    if (!self->tdes_known) {
        rc = kl_pad_tdes_unwraps(self->session, &self->tdes_unwraps, err);
        self->tdes_known = rc == KL_OK;
    }
    if (!rc) {
        *unwraps = self->tdes_unwraps;
    }
    return rc;
}

enum kl_rc kl_token_pad_derive(struct kl_token_pad *self, enum kl_purpose from, enum kl_purpose to,
                               CK_OBJECT_HANDLE base, const struct kl_pinpad_labels *labels,
                               struct kl_err *err)
{
    static const enum kl_key_use use[KL_PURPOSE_COUNT] = {
        [KL_PURPOSE_WRAP] = KL_USE_UNWRAP, [KL_PURPOSE_NONCE] = KL_USE_ENCRYPT,
        [KL_PURPOSE_ACK] = KL_USE_MAC,     [KL_PURPOSE_DONE] = KL_USE_MAC,
        [KL_PURPOSE_KEYS] = KL_USE_MAC,
    };
    enum kl_rc rc = KL_OK;

    for (int i = (int)from; !rc && i <= (int)to; i++) {
        rc = kl_op_derive(self->session, base, labels->of[i], use[i], &self->keys[i], err);
    }
    return rc;
}

/* ---- The table: S5 ---- */

static void token_free(struct kl_pinpad *pad)
{
    struct kl_token_pad *self = kl_token_pad_of(pad);

    kl_hsm_free(self->hsm);
    free(self);
}

static enum kl_rc token_random(struct kl_pinpad *pad, uint8_t *out, size_t len, struct kl_err *err)
{
    return kl_op_random(kl_token_pad_of(pad)->session, out, len, err);
}

static enum kl_rc token_start_rsa(struct kl_pinpad *pad, struct kl_pubkey *work,
                                  enum kl_oaep_hash hash, const struct kl_pinpad_labels *labels,
                                  uint8_t *c_rnd1, size_t *c_rnd1_len, struct kl_err *err)
{
    struct kl_token_pad *self = kl_token_pad_of(pad);
    CK_OBJECT_HANDLE rnd1 = 0, public_key = 0;
    enum kl_rc rc = kl_op_generate_rnd1(self->session, &rnd1, err);

    if (!rc) {
        rc = kl_op_import_rsa_public(self->session, kl_pubkey_evp(work), &public_key, err);
    }
    if (!rc) {
        rc = kl_op_wrap_oaep(self->session, public_key, rnd1, hash, c_rnd1, KL_RSA_MAX, c_rnd1_len,
                             err);
        if (rc && hash == KL_OAEP_SHA256) {
            (void)kl_err_context(err,
                                 "RSA-OAEP with SHA-256, which the loader announced (for a PIN "
                                 "pad that has SHA-1 only the loader needs [policy] oaep-hash = "
                                 "sha1, or suite hardened-ec)");
        }
    }
    if (!rc) {
        rc = kl_token_pad_derive(self, KL_PURPOSE_WRAP, KL_PURPOSE_DONE, rnd1, labels, err);
    }
    kl_op_destroy(self->session, &public_key);
    kl_op_destroy(self->session, &rnd1);
    return rc;
}

/* In which form a token takes the other side's point is its own affair (PKCS#11 v2.40, 2.3.11). One
 * in the wrong form is no point to it, so that nothing wrong can come out. */
static enum kl_rc agree(struct kl_token_pad *self, CK_OBJECT_HANDLE ephemeral,
                        struct kl_pubkey *work, const struct kl_curve *curve,
                        CK_OBJECT_HANDLE *secret, struct kl_err *err)
{
    uint8_t point[KL_EC_POINT_MAX];
    size_t len;
    enum kl_rc rc = kl_ec_to_point(kl_pubkey_evp(work), point, &len, err);

    if (!rc) {
        rc = kl_op_ecdh(self->session, ephemeral, curve, KL_POINT_RAW, point, len, secret, err);
        if (rc) {
            rc = kl_op_ecdh(self->session, ephemeral, curve, KL_POINT_DER, point, len, secret, err);
        }
    }
    return rc;
}

/* Rnd1 under K_ecies. */
static enum kl_rc wrap_rnd1(struct kl_token_pad *self, CK_OBJECT_HANDLE k_ecies,
                            CK_OBJECT_HANDLE rnd1, uint8_t *c_rnd1, struct kl_err *err)
{
    uint8_t wrapped[KL_CTMK_LEN_MAX];
    size_t len;
    enum kl_rc rc = kl_op_wrap(self->session, k_ecies, rnd1, wrapped, &len, err);

    if (rc) {
        return kl_err_context(err, "Rnd1 under K_ecies");
    }
    if (len != KL_C_RND1_EC_LEN) {
        return kl_err_set(err, KL_ERR_HSM, "Rnd1 under K_ecies has %zu bytes", len);
    }
    memcpy(c_rnd1, wrapped, len);
    return KL_OK;
}

static enum kl_rc token_start_ec(struct kl_pinpad *pad, struct kl_pubkey *work,
                                 const struct kl_curve *curve, const uint8_t *t0,
                                 const struct kl_pinpad_labels *labels, uint8_t *point,
                                 size_t *point_len, uint8_t *c_rnd1, struct kl_err *err)
{
    struct kl_token_pad *self = kl_token_pad_of(pad);
    CK_OBJECT_HANDLE ephemeral = 0, secret = 0, k_ecies = 0, rnd1 = 0;
    uint8_t label[KL_HASH_LEN];
    enum kl_rc rc =
        kl_op_generate_ephemeral(self->session, curve, &ephemeral, point, point_len, err);

    if (!rc) {
        rc = kl_suite_ecies_label(t0, point, *point_len, label, err);
    }
    if (!rc) {
        rc = agree(self, ephemeral, work, curve, &secret, err);
    }
    if (!rc) {
        rc = kl_op_derive(self->session, secret, label, KL_USE_WRAP, &k_ecies, err);
    }
    if (!rc) {
        rc = kl_op_generate_rnd1(self->session, &rnd1, err);
    }
    if (!rc) {
        rc = wrap_rnd1(self, k_ecies, rnd1, c_rnd1, err);
    }
    if (!rc) {
        rc = kl_token_pad_derive(self, KL_PURPOSE_WRAP, KL_PURPOSE_DONE, rnd1, labels, err);
    }
    kl_op_destroy(self->session, &rnd1);
    kl_op_destroy(self->session, &k_ecies);
    kl_op_destroy(self->session, &secret);
    kl_op_destroy(self->session, &ephemeral);
    return rc;
}

/* The one suite in which Rnd1 is outside the token: OAEP takes one message, and it has to be Rnd1
 * and Rnd2 in a row, which no PKCS#11 call makes of a key. It stands in locked memory from its
 * drawing until it has been encrypted and imported, as two keys of one use each. */
static enum kl_rc token_start_classic(struct kl_pinpad *pad, struct kl_pubkey *work,
                                      enum kl_oaep_hash hash, const struct kl_pinpad_labels *labels,
                                      const uint8_t *rnd2, uint8_t *c_rnd1, size_t *c_rnd1_len,
                                      struct kl_err *err)
{
    struct kl_token_pad *self = kl_token_pad_of(pad);
    CK_OBJECT_HANDLE base = 0;
    struct kl_secret *both = NULL;
    enum kl_rc rc = kl_secret_new(KL_RND1_LEN + KL_RND2_LEN, &both, err);

    if (!rc) {
        rc = token_random(pad, kl_secret_data(both), KL_RND1_LEN, err);
    }
    if (!rc) {
        memcpy(kl_secret_data(both) + KL_RND1_LEN, rnd2, KL_RND2_LEN);
        rc = kl_pubkey_oaep(work, hash, kl_secret_data(both), KL_RND1_LEN + KL_RND2_LEN, c_rnd1,
                            c_rnd1_len, err);
    }
    if (!rc) {
        rc = kl_op_import_value(self->session, KL_ALG_AES256, kl_secret_data(both), KL_USE_UNWRAP,
                                &self->keys[KL_PURPOSE_WRAP], err);
    }
    if (!rc) {
        rc = kl_op_import_value(self->session, KL_ALG_AES256, kl_secret_data(both), KL_USE_DERIVE,
                                &base, err);
    }
    if (!rc) {
        rc = kl_token_pad_derive(self, KL_PURPOSE_ACK, KL_PURPOSE_KEYS, base, labels, err);
    }
    kl_secret_free(both);
    kl_op_destroy(self->session, &base);
    return rc;
}

static enum kl_rc token_seal(struct kl_pinpad *pad, const uint8_t *iv, const uint8_t *t0,
                             const uint8_t *rnd2, uint8_t *out, struct kl_err *err)
{
    struct kl_token_pad *self = kl_token_pad_of(pad);

    return kl_op_gcm_encrypt(self->session, self->keys[KL_PURPOSE_NONCE], iv, t0, KL_HASH_LEN, rnd2,
                             KL_RND2_LEN, out, err);
}

static enum kl_rc token_kcv(struct kl_pinpad *pad, enum kl_alg alg, const uint8_t *ctmk,
                            size_t ctmk_len, size_t kcv_len, uint8_t *kcv, struct kl_err *err)
{
    struct kl_token_pad *self = kl_token_pad_of(pad);
    CK_OBJECT_HANDLE tmk = 0;
    enum kl_rc rc;

    rc = kl_op_unwrap_tmk(self->session, self->keys[KL_PURPOSE_WRAP], alg, ctmk, ctmk_len,
                          KL_USE_KCV, &tmk, err);
    if (!rc) {
        rc = kl_op_kcv(self->session, tmk, alg, kcv_len, kcv, err);
    }
    kl_op_destroy(self->session, &tmk);
    return rc;
}

static enum kl_rc token_keep(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                             const uint8_t *ctmk, size_t ctmk_len, struct kl_err *err)
{
    struct kl_token_pad *self = kl_token_pad_of(pad);
    const struct kl_pad_label label = kl_pad_label_of_tmk(tmk);
    struct kl_pad_key key = {.alg = tmk->alg, .use = KL_PAD_TMK};
    CK_OBJECT_HANDLE object = 0;
    char text[KL_PAD_LABEL_MAX];
    int unwraps = 1;
    enum kl_rc rc = KL_OK;

    kl_pad_label_format(&label, text);
    key.label = text;
    if (!kl_alg_info(tmk->alg)->is_aes) {
        rc = kl_token_pad_tdes(self, &unwraps, err);
    }
    key.tdes_decrypts = !unwraps;
    return rc ? rc
              : kl_pad_unwrap(self->session, self->keys[KL_PURPOSE_WRAP], &key, ctmk, ctmk_len,
                              &object, err);
}

static enum kl_rc token_mac(struct kl_pinpad *pad, enum kl_purpose purpose, const uint8_t *in,
                            size_t len, uint8_t *mac, struct kl_err *err)
{
    struct kl_token_pad *self = kl_token_pad_of(pad);

    return kl_op_cmac(self->session, self->keys[purpose], in, len, mac, err);
}

static void token_end(struct kl_pinpad *pad)
{
    struct kl_token_pad *self = kl_token_pad_of(pad);

    for (int i = 0; i < KL_PURPOSE_COUNT; i++) {
        kl_op_destroy(self->session, &self->keys[i]);
    }
}

static enum kl_rc token_list(struct kl_pinpad *pad, struct kl_pinpad_tmk *out, size_t *count,
                             struct kl_err *err)
{
    struct kl_pad_object objects[KL_PAD_OBJECTS_MAX];
    size_t found = 0, n = 0;
    enum kl_rc rc = kl_pad_objects(kl_token_pad_of(pad), objects, &found, err);

    for (size_t i = 0; !rc && i < found; i++) {
        const struct kl_pad_label *label = &objects[i].label;

        if (label->kind != KL_PAD_IS_TMK) {
            continue;
        }
        if (n == KL_PINPAD_TMK_MAX) {
            return kl_err_set(err, KL_ERR_KEY, "the PIN pad holds more than %d TMKs",
                              KL_PINPAD_TMK_MAX);
        }
        out[n] = (struct kl_pinpad_tmk){.version = label->tmk_version,
                                        .alg = label->alg,
                                        .kcv_len = label->kcv_len};
        memcpy(out[n++].kcv, label->kcv, sizeof(label->kcv));
    }
    if (!rc) {
        *count = n;
    }
    return rc;
}

static enum kl_rc token_destroy(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                                struct kl_err *err)
{
    struct kl_token_pad *self = kl_token_pad_of(pad);
    struct kl_pad_object object = {.label = kl_pad_label_of_tmk(tmk)};
    enum kl_rc rc = kl_pad_object_find(self, &object.label, &object.handle, err);

    return rc ? rc : kl_pad_object_destroy(self, &object, err);
}

static const struct kl_pinpad_ops token_ops = {
    .kind = "token",
    .free = token_free,
    .random = token_random,
    .start_rsa = token_start_rsa,
    .start_ec = token_start_ec,
    .start_classic = token_start_classic,
    .seal = token_seal,
    .kcv = token_kcv,
    .keep = token_keep,
    .mac = token_mac,
    .end = token_end,
    .list = token_list,
    .destroy = token_destroy,
    .start_session = kl_token_start_session,
    .working_kcv = kl_token_working_kcv,
    .highest_pair = kl_token_highest_pair,
    .keep_pair = kl_token_keep_pair,
    .has_pair = kl_token_has_pair,
    .prune = kl_token_prune,
    .encrypt = kl_token_encrypt,
    .chain = kl_token_chain,
    .cmac = kl_token_cmac,
    .device_generate = kl_token_device_generate,
    .device_destroy = kl_token_device_destroy,
    .device_public = kl_token_device_public,
    .device_request = kl_token_device_request,
    .device_sign = kl_token_device_sign,
};

enum kl_rc kl_pinpad_token_open(const char *module, const char *init_reserved, const char *uri,
                                const char *pin_source, struct kl_pinpad **out, struct kl_err *err)
{
    const struct kl_hsm_where where = {
        .module = module,
        .init_reserved = init_reserved,
        .token = uri,
        .pin_source = pin_source,
        .prompt = "PIN of the PIN pad's token",
    };
    struct kl_token_pad *self = calloc(1, sizeof(*self));

    if (!self) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for a PIN pad");
    }
    self->base.ops = &token_ops;
    if (kl_hsm_open(&where, 1, &self->hsm, err) != KL_OK) {
        token_free(&self->base);
        return kl_err_context(err, "PIN pad");
    }
    self->session = kl_hsm_session(self->hsm);
    *out = &self->base;
    return KL_OK;
}
