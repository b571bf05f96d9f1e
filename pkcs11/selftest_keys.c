/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The self-test of our token keys themselves, and of the session copies that are used in their
 * place: their values are asked for, they are made to decrypt, and copies of them are asked for
 * that may do more. What a try makes is a session object, gone again at once; none changes a token
 * object, so whether CKA_MODIFIABLE of those binds is not tried.
 */
#include "pkcs11/suite.h"

#include <openssl/rsa.h>
#include <stdio.h>

#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "proto/pubkey.h"
#include "proto/secret.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A key on the token, or the session copy of it that is used. */
struct object {
    const char *what; /* in words */
    CK_OBJECT_HANDLE handle;
    int decrypts; /* 1: it is there for that */
};

/* What one is made to decrypt by a mechanism that it must not decrypt by. */
struct text {
    const char *name;
    CK_MECHANISM mechanism;
    const uint8_t *data;
    size_t len;
};

/* ---- The tries ---- */

static void check_secret(struct kl_loader *loader, const struct object *object)
{
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        const char *name;
    } values[] = {
        {CKA_VALUE, "CKA_VALUE"},
        {CKA_PRIVATE_EXPONENT, "CKA_PRIVATE_EXPONENT"},
        {CKA_PRIME_1, "CKA_PRIME_1"},
        {CKA_PRIME_2, "CKA_PRIME_2"},
        {CKA_EXPONENT_1, "CKA_EXPONENT_1"},
        {CKA_EXPONENT_2, "CKA_EXPONENT_2"},
        {CKA_COEFFICIENT, "CKA_COEFFICIENT"},
    };
    char where[KL_WEAK_WHERE_MAX];
    uint8_t value[KL_RSA_MAX];
    int read = 0;

    for (size_t i = 0; !read && i < COUNT(values); i++) {
        CK_ATTRIBUTE attr = {values[i].type, value, sizeof(value)};

        read = kl_session_functions(loader->session)
                       ->C_GetAttributeValue(kl_session_handle(loader->session), object->handle,
                                             &attr, 1) == CKR_OK &&
               attr.ulValueLen > 0 && attr.ulValueLen != CK_UNAVAILABLE_INFORMATION;
        if (read) {
            (void)snprintf(where, sizeof(where),
                           "CKA_SENSITIVE of %s does not keep its %s from being read", object->what,
                           values[i].name);
            kl_weakness_add(&loader->weak, KL_WEAK_SENSITIVE, where);
        }
    }
    kl_wipe(value, sizeof(value));
}

static void check_decrypt(struct kl_loader *loader, const struct object *object,
                          const struct text *text)
{
    CK_FUNCTION_LIST *f = kl_session_functions(loader->session);
    CK_SESSION_HANDLE s = kl_session_handle(loader->session);
    CK_MECHANISM mechanism = text->mechanism;
    char where[KL_WEAK_WHERE_MAX];
    uint8_t out[KL_RSA_MAX];
    CK_ULONG len = sizeof(out);

    if (f->C_DecryptInit(s, &mechanism, object->handle) == CKR_OK &&
        f->C_Decrypt(s, (CK_BYTE_PTR)text->data, (CK_ULONG)text->len, out, &len) == CKR_OK) {
        (void)snprintf(where, sizeof(where),
                       "CKA_DECRYPT of %s does not keep it from decrypting by %s", object->what,
                       text->name);
        kl_weakness_add(&loader->weak, KL_WEAK_USAGE, where);
    }
    kl_wipe(out, sizeof(out));
}

/* A module may also make a copy that is no more than the key. */
static void check_copy(struct kl_loader *loader, const struct object *object,
                       const struct kl_demand *more)
{
    CK_BBOOL no = CK_FALSE, value = (CK_BBOOL)more->value;
    CK_ATTRIBUTE attrs[] = {{CKA_TOKEN, &no, sizeof(no)}, {more->type, &value, sizeof(value)}};
    CK_OBJECT_HANDLE copy = CK_INVALID_HANDLE;
    struct kl_err ignored = KL_ERR_INIT;
    char where[KL_WEAK_WHERE_MAX];

    if (kl_session_functions(loader->session)
            ->C_CopyObject(kl_session_handle(loader->session), object->handle, attrs, COUNT(attrs),
                           &copy) != CKR_OK) {
        return;
    }
    if (kl_object_demand(loader->session, copy, more, 1, "copy", &ignored) != KL_ERR_KEY) {
        (void)snprintf(where, sizeof(where), "%s can be copied with %s %s", object->what,
                       more->name, more->value ? "true" : "false");
        kl_weakness_add(&loader->weak, KL_WEAK_COPY_LIMITS, where);
    }
    kl_op_destroy(loader->session, &copy);
}

/* Of a copy that is as the key is, and made for this. */
static void check_change(struct kl_loader *loader, const struct object *object,
                         const struct kl_demand *more)
{
    CK_FUNCTION_LIST *f = kl_session_functions(loader->session);
    CK_SESSION_HANDLE s = kl_session_handle(loader->session);
    CK_BBOOL no = CK_FALSE, value = (CK_BBOOL)more->value;
    CK_ATTRIBUTE token = {CKA_TOKEN, &no, sizeof(no)}, change = {more->type, &value, sizeof(value)};
    CK_OBJECT_HANDLE copy = CK_INVALID_HANDLE;
    struct kl_err ignored = KL_ERR_INIT;
    char where[KL_WEAK_WHERE_MAX];

    if (f->C_CopyObject(s, object->handle, &token, 1, &copy) != CKR_OK) {
        return;
    }
    if (f->C_SetAttributeValue(s, copy, &change, 1) == CKR_OK &&
        kl_object_demand(loader->session, copy, more, 1, "copy", &ignored) != KL_ERR_KEY) {
        (void)snprintf(where, sizeof(where),
                       "CKA_MODIFIABLE of a copy of %s does not keep its %s from being changed",
                       object->what, more->name);
        kl_weakness_add(&loader->weak, KL_WEAK_MODIFIABLE, where);
    }
    kl_op_destroy(loader->session, &copy);
}

static void check_object(struct kl_loader *loader, const struct object *object,
                         const struct text *texts, size_t count)
{
    static const struct kl_demand more[] = {
        KL_DEMAND_BOOL(CKA_DECRYPT, 1),
        KL_DEMAND_BOOL(CKA_EXTRACTABLE, 1),
        KL_DEMAND_BOOL(CKA_SENSITIVE, 0),
    };
    const size_t first = object->decrypts ? 1 : 0;

    check_secret(loader, object);
    for (size_t i = 0; i < count; i++) {
        check_decrypt(loader, object, &texts[i]);
    }
    for (size_t i = first; i < COUNT(more); i++) {
        check_copy(loader, object, &more[i]);
    }
    check_change(loader, object, &more[first]);
}

/* The key on the token, and the copy where it is another object. */
static void check_key(struct kl_loader *loader, CK_OBJECT_HANDLE token_key, CK_OBJECT_HANDLE used,
                      const char *names[2], int decrypts, const struct text *texts, size_t count)
{
    const struct object key = {names[0], token_key, decrypts};
    const struct object copy = {names[1], used, decrypts};

    check_object(loader, &key, texts, count);
    if (used != token_key) {
        check_object(loader, &copy, texts, count);
    }
}

/* ---- The keys ---- */

/* RSAES-PKCS1-v1_5, which no key of ours is for. */
static enum kl_rc encrypt_pkcs1(EVP_PKEY *key, uint8_t out[KL_RSA_MAX], size_t *len,
                                struct kl_err *err)
{
    static const uint8_t known[] = "keyloader self-test";
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    enum kl_rc rc = KL_OK;

    kl_err_openssl_clear();
    *len = KL_RSA_MAX;
    if (!ctx || EVP_PKEY_encrypt_init(ctx) <= 0 ||
        EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) <= 0 ||
        EVP_PKEY_encrypt(ctx, out, len, known, sizeof(known)) <= 0) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_PKEY_encrypt", "self-test");
    }
    EVP_PKEY_CTX_free(ctx);
    return rc;
}

static enum kl_rc check_work(struct kl_loader *loader, const struct kl_work *work,
                             struct kl_err *err)
{
    static const char *names[] = {"the work key", "the work key's session copy"};
    static const uint8_t rnd1[KL_RND1_LEN];
    CK_RSA_PKCS_OAEP_PARAMS params = kl_op_oaep_params(work->oaep_hash);
    uint8_t oaep[KL_RSA_MAX], pkcs1[KL_RSA_MAX];
    struct text texts[] = {
        {"CKM_RSA_PKCS_OAEP", {CKM_RSA_PKCS_OAEP, &params, sizeof(params)}, oaep, 0},
        {"CKM_RSA_PKCS", {CKM_RSA_PKCS, NULL, 0}, pkcs1, 0},
        {"CKM_RSA_X_509", {CKM_RSA_X_509, NULL, 0}, pkcs1, 0},
    };
    size_t count = 0;
    enum kl_rc rc = KL_OK;

    if (work->suite->unwraps) {
        if ((rc = kl_rsa_oaep_encrypt(work->public_key, work->oaep_hash, rnd1, sizeof(rnd1), oaep,
                                      &texts[0].len, err)) != KL_OK ||
            (rc = encrypt_pkcs1(work->public_key, pkcs1, &texts[1].len, err)) != KL_OK) {
            return rc;
        }
        texts[2].len = texts[1].len;
        count = COUNT(texts);
    }
    check_key(loader, work->token_key, work->handle, names, work->suite->id == KL_SUITE_CLASSIC,
              texts, count);
    return KL_OK;
}

/* With the cryptogram of a TMK that is nobody's. */
static enum kl_rc check_storage(struct kl_loader *loader, struct kl_err *err)
{
    static const char *names[] = {"the storage key", "the storage key's session copy"};
    CK_OBJECT_HANDLE tmk = CK_INVALID_HANDLE;
    uint8_t cryptogram[KL_CTMK_LEN_MAX], iv[16] = {0};
    size_t len = 0;
    enum kl_rc rc = kl_op_generate_tmk(loader->session, KL_ALG_AES256, &tmk, err);

    if (rc == KL_OK) {
        rc = kl_op_wrap(loader->session, loader->storage_key, tmk, cryptogram, &len, err);
    }
    kl_op_destroy(loader->session, &tmk);
    if (rc == KL_OK) {
        const struct text texts[] = {
            {"CKM_AES_KEY_WRAP", {CKM_AES_KEY_WRAP, NULL, 0}, cryptogram, len},
            {"CKM_AES_ECB", {CKM_AES_ECB, NULL, 0}, cryptogram, len - len % 16},
            {"CKM_AES_CBC", {CKM_AES_CBC, iv, sizeof(iv)}, cryptogram, len - len % 16},
        };
        check_key(loader, loader->storage_token_key, loader->storage_key, names, 0, texts,
                  COUNT(texts));
    }
    return rc;
}

static enum kl_rc check_audit(struct kl_loader *loader, struct kl_err *err)
{
    struct object audit = {.what = "the audit key"};
    size_t count = 0;
    enum kl_rc rc = KL_OK;

    if (loader->audit_key) {
        rc = kl_object_find(loader->session, CKO_PRIVATE_KEY, loader->audit_key, &audit.handle, 1,
                            &count, err);
    }
    if (rc == KL_OK && count > 0) {
        check_secret(loader, &audit);
    }
    return rc;
}

enum kl_rc kl_loader_selftest_keys(struct kl_loader *loader, struct kl_err *err)
{
    static const char *binding[] = {"the binding key", "the binding key's session copy"};
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; rc == KL_OK && i < loader->work_count; i++) {
        rc = check_work(loader, &loader->work[i], err);
    }
    if (rc == KL_OK) {
        rc = check_storage(loader, err);
    }
    if (rc == KL_OK) {
        check_key(loader, loader->binding_token_key, loader->binding_key, binding, 0, NULL, 0);
        rc = check_audit(loader, err);
    }
    return rc;
}
