/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A PIN pad in a PKCS#11 token of its own: Rnd1 is drawn, and every key derived and used, inside
 * the token; a TMK ends as an unextractable token object, which tells what it is by its CKA_LABEL.
 * No object is ever modified: a token may rewrite what it keeps in place (SoftHSM 2.6.1 truncates
 * the object's file first), so that a kill in the middle would cost the key.
 */
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "conf/cli.h"
#include "pkcs11/hsm.h"
#include "pkcs11/ops.h"
#include "pkcs11/rv.h"
#include "terminal-sim/pinpad_backend.h"

#define SESSION_KEYS (KL_PURPOSE_DONE + 1)
#define LABEL_MAX 64
/* Objects looked at in one search: the TMKs, and room for what kills in the middle of a load have
 * left without a label (SoftHSM 2.6.1 writes an object's attributes one by one). */
#define OBJECTS_MAX 512

struct token_pad {
    struct kl_pinpad base;
    struct kl_hsm *hsm;
    struct kl_session *session;          /* hsm's */
    CK_OBJECT_HANDLE keys[SESSION_KEYS]; /* the load's, by enum kl_purpose; 0 = none */
};

static struct token_pad *self_of(struct kl_pinpad *pad)
{
    return (struct token_pad *)pad;
}

/* ---- "tmk/<version>/<algorithm>/<KCV>" ---- */

static void format_label(const struct kl_pinpad_tmk *tmk, char out[LABEL_MAX])
{
    char kcv[KL_KCV_TEXT];

    kl_kcv_format(tmk->kcv, tmk->kcv_len, kcv);
    snprintf(out, LABEL_MAX, "tmk/%u/%s/%s", (unsigned)tmk->version, kl_alg_info(tmk->alg)->name,
             kcv);
}

/* 1 if label is one of ours. What format_label would write differently is not. */
static int parse_label(const char *label, struct kl_pinpad_tmk *out)
{
    struct kl_pinpad_tmk tmk = {0};
    struct kl_err ignored = KL_ERR_INIT;
    char copy[LABEL_MAX], again[LABEL_MAX], *save = NULL;
    const char *part[4];
    const struct kl_alg_info *info;
    uint64_t version;
    int i;

    snprintf(copy, sizeof(copy), "%s", label);
    for (i = 0; i < 4; i++) {
        part[i] = strtok_r(i ? NULL : copy, "/", &save);
        if (!part[i]) {
            return 0;
        }
    }
    info = kl_alg_by_name(part[2]);
    if (!info || kl_parse_number(part[1], 1, KL_VERSION_MAX, &version, &ignored) ||
        !OPENSSL_hexstr2buf_ex(tmk.kcv, sizeof(tmk.kcv), &tmk.kcv_len, part[3], '\0') ||
        tmk.kcv_len < KL_KCV_LEN_MIN) {
        return 0;
    }
    tmk.alg = info->alg;
    tmk.version = (uint32_t)version;
    format_label(&tmk, again);
    if (strcmp(again, label) != 0) {
        return 0;
    }
    *out = tmk;
    return 1;
}

/* ---- Objects ---- */

/* Handles of every secret key that the token keeps. */
static enum kl_rc find_all(struct token_pad *self, CK_OBJECT_HANDLE out[OBJECTS_MAX],
                           CK_ULONG *count, struct kl_err *err)
{
    CK_FUNCTION_LIST *p11 = kl_session_functions(self->session);
    CK_SESSION_HANDLE session = kl_session_handle(self->session);
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE want[] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_TOKEN, &yes, sizeof(yes)}};
    CK_RV rv, end;

    rv = p11->C_FindObjectsInit(session, want, 2);
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_FindObjectsInit", "the PIN pad's token cannot be searched");
    }
    rv = p11->C_FindObjects(session, out, OBJECTS_MAX, count);
    end = p11->C_FindObjectsFinal(session);
    if (rv == CKR_OK) {
        rv = end;
    }
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_FindObjects", "the PIN pad's token cannot be searched");
    }
    if (*count == OBJECTS_MAX) {
        return kl_err_set(err, KL_ERR_KEY,
                          "the PIN pad's token holds too many keys; it should hold only TMKs");
    }
    return KL_OK;
}

/* *is_tmk 1: the object is a TMK, as *out. Not one is what has another label, or none that can be
 * read, as a crash may leave it. That a TMK may be passed over so, or by the token's own search, is
 * for the record to notice: there it is missing. */
static enum kl_rc read_tmk(struct token_pad *self, CK_OBJECT_HANDLE object,
                           struct kl_pinpad_tmk *out, int *is_tmk, struct kl_err *err)
{
    char label[LABEL_MAX];
    CK_ATTRIBUTE attr = {CKA_LABEL, label, sizeof(label) - 1};
    CK_RV rv = kl_session_functions(self->session)
                   ->C_GetAttributeValue(kl_session_handle(self->session), object, &attr, 1);

    *is_tmk = 0;
    switch (rv) {
    case CKR_OK:
        break;
    case CKR_BUFFER_TOO_SMALL: /* longer than any of ours */
    case CKR_ATTRIBUTE_TYPE_INVALID:
    case CKR_ATTRIBUTE_VALUE_INVALID: /* SoftHSM 2.6.1 of a label that is damaged */
    case CKR_ATTRIBUTE_SENSITIVE:
    case CKR_OBJECT_HANDLE_INVALID: /* destroyed meanwhile */
    case CKR_GENERAL_ERROR:         /* SoftHSM 2.6.1 of a label that is missing */
        return KL_OK;
    default:
        return kl_rv_err(err, rv, "C_GetAttributeValue", "the PIN pad's keys cannot be read");
    }
    if (attr.ulValueLen < sizeof(label)) {
        label[attr.ulValueLen] = '\0';
        *is_tmk = parse_label(label, out);
    }
    return KL_OK;
}

static enum kl_rc find_one(struct token_pad *self, const struct kl_pinpad_tmk *tmk,
                           CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    CK_OBJECT_HANDLE objects[OBJECTS_MAX];
    CK_ULONG i, count;
    struct kl_pinpad_tmk found;
    int is_tmk = 0;
    enum kl_rc rc = find_all(self, objects, &count, err);

    for (i = 0; !rc && i < count; i++) {
        rc = read_tmk(self, objects[i], &found, &is_tmk, err);
        if (!rc && is_tmk && found.version == tmk->version && found.alg == tmk->alg &&
            found.kcv_len == tmk->kcv_len && memcmp(found.kcv, tmk->kcv, tmk->kcv_len) == 0) {
            *out = objects[i];
            return KL_OK;
        }
    }
    if (rc) {
        return rc;
    }
    return kl_err_set(err, KL_ERR_KEY, "TMK version %u has gone from the PIN pad",
                      (unsigned)tmk->version);
}

/* ---- The table ---- */

static void token_free(struct kl_pinpad *pad)
{
    struct token_pad *self = self_of(pad);

    kl_hsm_free(self->hsm);
    free(self);
}

static enum kl_rc token_random(struct kl_pinpad *pad, uint8_t *out, size_t len, struct kl_err *err)
{
    return kl_op_random(self_of(pad)->session, out, len, err);
}

static enum kl_rc token_start(struct kl_pinpad *pad, EVP_PKEY *work, enum kl_oaep_hash hash,
                              const struct kl_pinpad_labels *labels, uint8_t *c_rnd1,
                              size_t *c_rnd1_len, struct kl_err *err)
{
    static const enum kl_key_use use[SESSION_KEYS] = {
        [KL_PURPOSE_WRAP] = KL_USE_UNWRAP,
        [KL_PURPOSE_NONCE] = KL_USE_ENCRYPT,
        [KL_PURPOSE_ACK] = KL_USE_MAC,
        [KL_PURPOSE_DONE] = KL_USE_MAC,
    };
    struct token_pad *self = self_of(pad);
    CK_OBJECT_HANDLE rnd1 = 0, public_key = 0;
    int i;
    enum kl_rc rc = kl_op_generate_rnd1(self->session, &rnd1, err);

    if (!rc) {
        rc = kl_op_import_rsa_public(self->session, work, &public_key, err);
    }
    if (!rc) {
        rc = kl_op_wrap_oaep(self->session, public_key, rnd1, hash, c_rnd1, KL_RSA_MAX, c_rnd1_len,
                             err);
    }
    for (i = 0; !rc && i < SESSION_KEYS; i++) {
        rc = kl_op_derive(self->session, rnd1, labels->of[i], use[i], &self->keys[i], err);
    }
    kl_op_destroy(self->session, &public_key);
    kl_op_destroy(self->session, &rnd1);
    return rc;
}

static enum kl_rc token_seal(struct kl_pinpad *pad, const uint8_t *iv, const uint8_t *t0,
                             const uint8_t *rnd2, uint8_t *out, struct kl_err *err)
{
    struct token_pad *self = self_of(pad);

    return kl_op_gcm_encrypt(self->session, self->keys[KL_PURPOSE_NONCE], iv, t0, KL_HASH_LEN, rnd2,
                             KL_RND2_LEN, out, err);
}

static enum kl_rc token_kcv(struct kl_pinpad *pad, enum kl_alg alg, const uint8_t *ctmk,
                            size_t ctmk_len, size_t kcv_len, uint8_t *kcv, struct kl_err *err)
{
    struct token_pad *self = self_of(pad);
    CK_OBJECT_HANDLE tmk = 0;
    enum kl_rc rc;

    rc = kl_op_unwrap_tmk(self->session, self->keys[KL_PURPOSE_WRAP], alg, ctmk, ctmk_len,
                          KL_USE_KCV, NULL, 0, &tmk, err);
    if (!rc) {
        rc = kl_op_kcv(self->session, tmk, alg, kcv_len, kcv, err);
    }
    kl_op_destroy(self->session, &tmk);
    return rc;
}

static enum kl_rc token_keep(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                             const uint8_t *ctmk, size_t ctmk_len, struct kl_err *err)
{
    struct token_pad *self = self_of(pad);
    CK_OBJECT_HANDLE object = 0;
    char label[LABEL_MAX];

    format_label(tmk, label);
    return kl_op_unwrap_tmk(self->session, self->keys[KL_PURPOSE_WRAP], tmk->alg, ctmk, ctmk_len,
                            KL_USE_UNWRAP, label, tmk->version, &object, err);
}

static enum kl_rc token_mac(struct kl_pinpad *pad, enum kl_purpose purpose, const uint8_t *in,
                            size_t len, uint8_t *mac, struct kl_err *err)
{
    struct token_pad *self = self_of(pad);

    return kl_op_cmac(self->session, self->keys[purpose], in, len, mac, err);
}

static void token_end(struct kl_pinpad *pad)
{
    struct token_pad *self = self_of(pad);
    int i;

    for (i = 0; i < SESSION_KEYS; i++) {
        kl_op_destroy(self->session, &self->keys[i]);
        self->keys[i] = 0;
    }
}

static enum kl_rc token_list(struct kl_pinpad *pad, struct kl_pinpad_tmk *out, size_t *count,
                             struct kl_err *err)
{
    struct token_pad *self = self_of(pad);
    CK_OBJECT_HANDLE objects[OBJECTS_MAX];
    CK_ULONG i, found;
    size_t n = 0;
    struct kl_pinpad_tmk tmk;
    int is_tmk = 0;
    enum kl_rc rc = find_all(self, objects, &found, err);

    for (i = 0; !rc && i < found; i++) {
        rc = read_tmk(self, objects[i], &tmk, &is_tmk, err);
        if (rc || !is_tmk) {
            continue;
        }
        if (n == KL_PINPAD_TMK_MAX) {
            return kl_err_set(err, KL_ERR_KEY, "the PIN pad holds more than %d TMKs",
                              KL_PINPAD_TMK_MAX);
        }
        out[n++] = tmk;
    }
    if (!rc) {
        *count = n;
    }
    return rc;
}

static enum kl_rc token_destroy(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                                struct kl_err *err)
{
    struct token_pad *self = self_of(pad);
    CK_OBJECT_HANDLE object;
    CK_RV rv;
    enum kl_rc rc = find_one(self, tmk, &object, err);

    if (rc) {
        return rc;
    }
    /* Not kl_op_destroy: a token object that stays must be heard of. */
    rv = kl_session_functions(self->session)
             ->C_DestroyObject(kl_session_handle(self->session), object);
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_DestroyObject", "TMK version %u cannot be destroyed",
                         (unsigned)tmk->version);
    }
    return KL_OK;
}

static const struct kl_pinpad_ops token_ops = {
    .kind = "token",
    .free = token_free,
    .random = token_random,
    .start = token_start,
    .seal = token_seal,
    .kcv = token_kcv,
    .keep = token_keep,
    .mac = token_mac,
    .end = token_end,
    .list = token_list,
    .destroy = token_destroy,
};

enum kl_rc kl_pinpad_token_open(const char *module, const char *uri, const char *pin_source,
                                struct kl_pinpad **out, struct kl_err *err)
{
    const struct kl_hsm_where where = {
        .module = module,
        .token = uri,
        .pin_source = pin_source,
        .prompt = "PIN of the PIN pad's token",
    };
    struct token_pad *self = calloc(1, sizeof(*self));

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
