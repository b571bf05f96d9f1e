/* SPDX-License-Identifier: BSD-2-Clause */
/* The token objects of a PIN pad: what they are called, and finding them. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "conf/cli.h"
#include "pkcs11/rv.h"
#include "terminal-sim/pinpad/pinpad_token.h"

/* Objects looked at in one search: ours, and room for what kills in the middle of a load have left
 * without a label (SoftHSM 2.6.1 writes an object's attributes one by one). */
#define SEARCH_MAX 512
#define PARTS_MAX 5

static const char *const kinds[] = {
    [KL_PAD_IS_TMK] = "tmk",
    [KL_PAD_IS_PIK] = "pik",
    [KL_PAD_IS_MAK] = "mak",
    [KL_PAD_IS_CHAIN] = "chain",
};
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

void kl_pad_label_format(const struct kl_pad_label *label, char out[KL_PAD_LABEL_MAX])
{
    char kcv[KL_KCV_TEXT], number[16] = "";

    kl_kcv_format(label->kcv, label->kcv_len, kcv);
    if (label->kind != KL_PAD_IS_TMK) {
        snprintf(number, sizeof(number), "%u/", (unsigned)label->number);
    }
    snprintf(out, KL_PAD_LABEL_MAX, "%s/%s%u/%s/%s", kinds[label->kind], number,
             (unsigned)label->tmk_version, kl_alg_info(label->alg)->name, kcv);
}

struct kl_pad_label kl_pad_label_of_tmk(const struct kl_pinpad_tmk *tmk)
{
    struct kl_pad_label label = {.kind = KL_PAD_IS_TMK,
                                 .tmk_version = tmk->version,
                                 .alg = tmk->alg,
                                 .kcv_len = tmk->kcv_len};

    memcpy(label.kcv, tmk->kcv, sizeof(label.kcv));
    return label;
}

struct kl_pad_label kl_pad_label_of_pair(const struct kl_pinpad_pair *pair, enum kl_pad_kind kind)
{
    struct kl_pad_label label = {.kind = kind,
                                 .number = pair->number,
                                 .tmk_version = pair->tmk_version,
                                 .alg = kind == KL_PAD_IS_CHAIN ? KL_ALG_TDES2 : pair->alg,
                                 .kcv_len = pair->kcv_len};

    memcpy(label.kcv, kind == KL_PAD_IS_PIK ? pair->pik_kcv : pair->mak_kcv, sizeof(label.kcv));
    return label;
}

static int parse_number(const char *text, uint32_t *out)
{
    struct kl_err ignored = KL_ERR_INIT;
    uint64_t number;

    if (kl_parse_number(text, 1, KL_VERSION_MAX, &number, &ignored)) {
        return 0;
    }
    *out = (uint32_t)number;
    return 1;
}

/* 1 if text is one of ours. What kl_pad_label_format would write differently is not. */
static int parse_label(const char *text, struct kl_pad_label *out)
{
    struct kl_pad_label label = {0};
    char copy[KL_PAD_LABEL_MAX], again[KL_PAD_LABEL_MAX], *save = NULL;
    const char *part[PARTS_MAX];
    const struct kl_alg_info *info;
    size_t n = 0, kind = 0, at = 1;

    snprintf(copy, sizeof(copy), "%s", text);
    while (n < PARTS_MAX && (part[n] = strtok_r(n ? NULL : copy, "/", &save))) {
        n++;
    }
    while (n > 0 && kind < KIND_COUNT && strcmp(part[0], kinds[kind]) != 0) {
        kind++;
    }
    if (n == 0 || kind == KIND_COUNT || n != (kind == KL_PAD_IS_TMK ? PARTS_MAX - 1 : PARTS_MAX)) {
        return 0;
    }
    label.kind = (enum kl_pad_kind)kind;
    if (label.kind != KL_PAD_IS_TMK && !parse_number(part[at++], &label.number)) {
        return 0;
    }
    info = kl_alg_by_name(part[at + 1]);
    if (!info || !parse_number(part[at], &label.tmk_version) ||
        !OPENSSL_hexstr2buf_ex(label.kcv, sizeof(label.kcv), &label.kcv_len, part[at + 2], '\0') ||
        label.kcv_len < KL_KCV_LEN_MIN) {
        return 0;
    }
    label.alg = info->alg;
    kl_pad_label_format(&label, again);
    if (strcmp(again, text) != 0) {
        return 0;
    }
    *out = label;
    return 1;
}

/* ---- Finding ---- */

/* Handles of every secret key that the token keeps. */
static enum kl_rc search(struct kl_token_pad *self, CK_OBJECT_HANDLE out[SEARCH_MAX],
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
    rv = p11->C_FindObjects(session, out, SEARCH_MAX, count);
    end = p11->C_FindObjectsFinal(session);
    if (rv == CKR_OK) {
        rv = end;
    }
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_FindObjects", "the PIN pad's token cannot be searched");
    }
    if (*count == SEARCH_MAX) {
        return kl_err_set(err, KL_ERR_KEY,
                          "the PIN pad's token holds too many keys; it should hold only its own");
    }
    return KL_OK;
}

/* *ours 1: the object is one of ours, as *out. Not one is what has another label, or none that can
 * be read, as a crash may leave it. That a key may be passed over so, or by the token's own search,
 * is for the record to notice: there it is missing. */
static enum kl_rc read_label(struct kl_token_pad *self, CK_OBJECT_HANDLE object,
                             struct kl_pad_label *out, int *ours, struct kl_err *err)
{
    char label[KL_PAD_LABEL_MAX];
    CK_ATTRIBUTE attr = {CKA_LABEL, label, sizeof(label) - 1};
    CK_RV rv = kl_session_functions(self->session)
                   ->C_GetAttributeValue(kl_session_handle(self->session), object, &attr, 1);

    *ours = 0;
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
        *ours = parse_label(label, out);
    }
    return KL_OK;
}

enum kl_rc kl_pad_objects(struct kl_token_pad *self, struct kl_pad_object out[KL_PAD_OBJECTS_MAX],
                          size_t *count, struct kl_err *err)
{
    CK_OBJECT_HANDLE handles[SEARCH_MAX];
    struct kl_pad_label label;
    CK_ULONG found = 0;
    size_t n = 0;
    int ours = 0;
    enum kl_rc rc = search(self, handles, &found, err);

    for (CK_ULONG i = 0; !rc && i < found; i++) {
        rc = read_label(self, handles[i], &label, &ours, err);
        if (rc || !ours) {
            continue;
        }
        if (n == KL_PAD_OBJECTS_MAX) {
            return kl_err_set(err, KL_ERR_KEY, "the PIN pad holds more than %d keys",
                              KL_PAD_OBJECTS_MAX);
        }
        out[n++] = (struct kl_pad_object){handles[i], label};
    }
    if (!rc) {
        *count = n;
    }
    return rc;
}

enum kl_rc kl_pad_object_find(struct kl_token_pad *self, const struct kl_pad_label *label,
                              CK_OBJECT_HANDLE *out, struct kl_err *err)
{
    struct kl_pad_object objects[KL_PAD_OBJECTS_MAX];
    char wanted[KL_PAD_LABEL_MAX], found[KL_PAD_LABEL_MAX];
    size_t count = 0;
    enum kl_rc rc = kl_pad_objects(self, objects, &count, err);

    kl_pad_label_format(label, wanted);
    for (size_t i = 0; !rc && i < count; i++) {
        kl_pad_label_format(&objects[i].label, found);
        if (strcmp(found, wanted) == 0) {
            *out = objects[i].handle;
            return KL_OK;
        }
    }
    return rc ? rc : kl_err_set(err, KL_ERR_KEY, "key \"%s\" has gone from the PIN pad", wanted);
}

enum kl_rc kl_pad_object_destroy(struct kl_token_pad *self, const struct kl_pad_object *object,
                                 struct kl_err *err)
{
    char label[KL_PAD_LABEL_MAX];
    CK_RV rv = kl_session_functions(self->session)
                   ->C_DestroyObject(kl_session_handle(self->session), object->handle);

    if (rv == CKR_OK) {
        return KL_OK;
    }
    kl_pad_label_format(&object->label, label);
    return kl_rv_err(err, rv, "C_DestroyObject", "key \"%s\" cannot be destroyed", label);
}
