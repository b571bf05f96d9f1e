/* SPDX-License-Identifier: BSD-2-Clause */
/* The calls of one load, recorded: see record.h. */
#include <stdlib.h>
#include <string.h>

#include "tests/bench/record_impl.h"

struct record record;

static CK_FUNCTION_LIST ours;
static int recording;

void record_die(const char *what, unsigned long number)
{
    fprintf(stderr, "bare loop: %s (0x%lx) is not known in tests/bench/record*.c\n", what, number);
    exit(70);
}

/* ---- Copies, which last until the recording is forgotten ---- */

static void *copy(const void *data, size_t len)
{
    void *out;

    if (!data) { /* and not an empty one: modules tell them apart */
        return NULL;
    }
    out = malloc(len > 0 ? len : 1);
    if (!out) {
        record_die("memory for a load of so many bytes", len);
    }
    memcpy(out, data, len);
    return out;
}

static void copy_mechanism(const CK_MECHANISM *from, CK_MECHANISM *to)
{
    *to = *from;
    if (from->ulParameterLen == 0) {
        return;
    }
    to->pParameter = copy(from->pParameter, from->ulParameterLen);
    switch (from->mechanism) {
    case CKM_RSA_PKCS_OAEP: {
        CK_RSA_PKCS_OAEP_PARAMS *params = to->pParameter;

        params->pSourceData = copy(params->pSourceData, params->ulSourceDataLen);
        return;
    }
    case CKM_SHA256_RSA_PKCS_PSS:
        return;
    case CKM_AES_GCM: {
        CK_GCM_PARAMS *params = to->pParameter;

        params->pIv = copy(params->pIv, params->ulIvLen);
        params->pAAD = copy(params->pAAD, params->ulAADLen);
        return;
    }
    case CKM_AES_ECB_ENCRYPT_DATA: {
        CK_KEY_DERIVATION_STRING_DATA *params = to->pParameter;

        params->pData = copy(params->pData, params->ulLen);
        return;
    }
    case CKM_ECDH1_DERIVE: {
        CK_ECDH1_DERIVE_PARAMS *params = to->pParameter;

        params->pSharedData = copy(params->pSharedData, params->ulSharedDataLen);
        params->pPublicData = copy(params->pPublicData, params->ulPublicDataLen);
        return;
    }
    default:
        record_die("parameters of a mechanism", from->mechanism);
    }
}

/* A template: no attribute here is a template itself. */
static CK_ATTRIBUTE *copy_attrs(const CK_ATTRIBUTE *attrs, CK_ULONG n)
{
    CK_ATTRIBUTE *out = copy(attrs, n * sizeof(*attrs));

    for (CK_ULONG i = 0; i < n; i++) {
        out[i].pValue = copy(attrs[i].pValue, attrs[i].ulValueLen);
    }
    return out;
}

/* The newest call that made it: handles may be used again. */
static struct object object_of(CK_OBJECT_HANDLE handle)
{
    for (size_t i = record.count; i-- > 0;) {
        if (record.calls[i].made == handle && handle != CK_INVALID_HANDLE) {
            return (struct object){(int)i, handle};
        }
    }
    return (struct object){NO_CALL, handle};
}

/* ---- Recording ---- */

static struct call ignored; /* while nothing is recorded */

static struct call *begin(enum function function, CK_SESSION_HANDLE session)
{
    struct call *call = &ignored;

    if (recording) {
        if (record.count == RECORD_CALLS_MAX) {
            record_die("a load of so many calls", record.count);
        }
        call = &record.calls[record.count];
    }
    *call = (struct call){.function = function,
                          .session = session,
                          .key.made_by = NO_CALL,
                          .other.made_by = NO_CALL,
                          .made = CK_INVALID_HANDLE};
    return call;
}

static CK_RV finish(struct call *call, CK_RV rv, const CK_OBJECT_HANDLE *made)
{
    call->rv = rv;
    if (rv == CKR_OK && made) {
        call->made = *made;
    }
    record.count += (size_t)recording;
    return rv;
}

static void given(struct call *call, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                  const CK_ATTRIBUTE *attrs, CK_ULONG n)
{
    if (!recording) {
        return;
    }
    if (mechanism) {
        copy_mechanism(mechanism, &call->mechanism);
    }
    call->key = object_of(key);
    if (attrs) {
        call->attrs = copy_attrs(attrs, n);
        call->attr_count = n;
    }
}

static void data(struct call *call, const CK_BYTE *in, CK_ULONG len)
{
    if (recording) {
        call->in = copy(in, len);
        call->in_len = len;
    }
}

static void room(struct call *call, const CK_ULONG *len)
{
    if (recording && (call->out_len = *len) > RECORD_OUT_MAX) {
        record_die("room for a result", *len);
    }
}

static CK_RV get_attributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attrs,
                            CK_ULONG n)
{
    struct call *call = begin(FN_C_GetAttributeValue, session);

    if (recording && n > RECORD_ATTRS_MAX) {
        record_die("a question for so many attributes", n);
    }
    given(call, NULL, object, attrs, n);
    return finish(call, record.real->C_GetAttributeValue(session, object, attrs, n), NULL);
}

static CK_RV create(CK_SESSION_HANDLE session, CK_ATTRIBUTE *attrs, CK_ULONG n,
                    CK_OBJECT_HANDLE *made)
{
    struct call *call = begin(FN_C_CreateObject, session);

    given(call, NULL, CK_INVALID_HANDLE, attrs, n);
    return finish(call, record.real->C_CreateObject(session, attrs, n, made), made);
}

static CK_RV destroy(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    struct call *call = begin(FN_C_DestroyObject, session);

    given(call, NULL, object, NULL, 0);
    return finish(call, record.real->C_DestroyObject(session, object), NULL);
}

/* C_EncryptInit and its like, and what comes after. */
#define STARTS(mine, name) \
    static CK_RV mine(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key) \
    { \
        struct call *call = begin(FN_##name, session); \
        given(call, mechanism, key, NULL, 0); \
        return finish(call, record.real->name(session, mechanism, key), NULL); \
    }
#define ENDS(mine, name) \
    static CK_RV mine(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, \
                      CK_ULONG *out_len) \
    { \
        struct call *call = begin(FN_##name, session); \
        data(call, in, len); \
        room(call, out_len); \
        return finish(call, record.real->name(session, in, len, out, out_len), NULL); \
    }
STARTS(encrypt_init, C_EncryptInit)
STARTS(decrypt_init, C_DecryptInit)
STARTS(sign_init, C_SignInit)
ENDS(encrypt, C_Encrypt)
ENDS(decrypt, C_Decrypt)
ENDS(sign, C_Sign)

static CK_RV generate(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *attrs,
                      CK_ULONG n, CK_OBJECT_HANDLE *made)
{
    struct call *call = begin(FN_C_GenerateKey, session);

    given(call, mechanism, CK_INVALID_HANDLE, attrs, n);
    return finish(call, record.real->C_GenerateKey(session, mechanism, attrs, n, made), made);
}

static CK_RV wrap(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping,
                  CK_OBJECT_HANDLE key, CK_BYTE *out, CK_ULONG *len)
{
    struct call *call = begin(FN_C_WrapKey, session);

    given(call, mechanism, wrapping, NULL, 0);
    call->other = object_of(key);
    room(call, len);
    return finish(call, record.real->C_WrapKey(session, mechanism, wrapping, key, out, len), NULL);
}

static CK_RV unwrap(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                    CK_BYTE *in, CK_ULONG len, CK_ATTRIBUTE *attrs, CK_ULONG n,
                    CK_OBJECT_HANDLE *made)
{
    struct call *call = begin(FN_C_UnwrapKey, session);

    given(call, mechanism, key, attrs, n);
    data(call, in, len);
    return finish(call, record.real->C_UnwrapKey(session, mechanism, key, in, len, attrs, n, made),
                  made);
}

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                    CK_ATTRIBUTE *attrs, CK_ULONG n, CK_OBJECT_HANDLE *made)
{
    struct call *call = begin(FN_C_DeriveKey, session);

    given(call, mechanism, key, attrs, n);
    return finish(call, record.real->C_DeriveKey(session, mechanism, key, attrs, n, made), made);
}

CK_FUNCTION_LIST *record_in_front_of(CK_FUNCTION_LIST *functions)
{
    record.real = functions;
    ours = *functions;
    ours.C_GetAttributeValue = get_attributes;
    ours.C_CreateObject = create;
    ours.C_DestroyObject = destroy;
    ours.C_EncryptInit = encrypt_init;
    ours.C_Encrypt = encrypt;
    ours.C_DecryptInit = decrypt_init;
    ours.C_Decrypt = decrypt;
    ours.C_SignInit = sign_init;
    ours.C_Sign = sign;
    ours.C_GenerateKey = generate;
    ours.C_WrapKey = wrap;
    ours.C_UnwrapKey = unwrap;
    ours.C_DeriveKey = derive;
    return &ours;
}

void record_free_parameters(CK_MECHANISM *mechanism)
{
    if (mechanism->ulParameterLen > 0) {
        if (mechanism->mechanism == CKM_RSA_PKCS_OAEP) {
            free(((CK_RSA_PKCS_OAEP_PARAMS *)mechanism->pParameter)->pSourceData);
        } else if (mechanism->mechanism == CKM_AES_GCM) {
            free(((CK_GCM_PARAMS *)mechanism->pParameter)->pIv);
            free(((CK_GCM_PARAMS *)mechanism->pParameter)->pAAD);
        } else if (mechanism->mechanism == CKM_AES_ECB_ENCRYPT_DATA) {
            free(((CK_KEY_DERIVATION_STRING_DATA *)mechanism->pParameter)->pData);
        } else if (mechanism->mechanism == CKM_ECDH1_DERIVE) {
            free(((CK_ECDH1_DERIVE_PARAMS *)mechanism->pParameter)->pSharedData);
            free(((CK_ECDH1_DERIVE_PARAMS *)mechanism->pParameter)->pPublicData);
        }
        free(mechanism->pParameter);
    }
}

static void free_call(struct call *call)
{
    record_free_parameters(&call->mechanism);
    for (CK_ULONG i = 0; i < call->attr_count; i++) {
        free(call->attrs[i].pValue);
    }
    free(call->attrs);
    free(call->in);
}

void record_begin(void)
{
    for (size_t i = 0; i < record.count; i++) {
        free_call(&record.calls[i]);
    }
    record.count = 0;
    recording = 1;
}

void record_end(void)
{
    recording = 0;
}
