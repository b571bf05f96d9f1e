/* SPDX-License-Identifier: BSD-2-Clause */
/* The calls of one load: see record.h. */
#include "tests/bench/record.h"

#include <stdlib.h>
#include <string.h>

#define CALLS_MAX 128
#define OUT_MAX 1024 /* what a call gives back, at most */
#define NO_CALL (-1)

/* Those that a load may make. */
#define FUNCTIONS(X) \
    X(C_GetAttributeValue) \
    X(C_CreateObject) \
    X(C_DestroyObject) \
    X(C_EncryptInit) \
    X(C_Encrypt) \
    X(C_DecryptInit) \
    X(C_Decrypt) \
    X(C_SignInit) \
    X(C_Sign) \
    X(C_GenerateKey) \
    X(C_WrapKey) \
    X(C_UnwrapKey) \
    X(C_DeriveKey)

enum function {
#define NUMBER(name) FN_##name,
    FUNCTIONS(NUMBER)
#undef NUMBER
};

static const char *const names[] = {
#define NAME(name) #name,
    FUNCTIONS(NAME)
#undef NAME
};

/* An object: the token's own, or what an earlier call made. */
struct object {
    int made_by; /* index of the call; NO_CALL: handle */
    CK_OBJECT_HANDLE handle;
};

struct call {
    enum function function;
    CK_SESSION_HANDLE session;
    CK_RV rv;
    CK_MECHANISM mechanism;
    CK_ATTRIBUTE *attrs;
    CK_ULONG attr_count;
    struct object key, other;
    CK_BYTE *in;
    CK_ULONG in_len, out_len;
    CK_OBJECT_HANDLE made; /* then, and again each time that it is played */
    int left_out;          /* it is not played (record_move) */
};

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST ours;
static int recording;
static size_t count;
static struct call calls[CALLS_MAX];

__attribute__((noreturn)) static void die(const char *what, unsigned long number)
{
    fprintf(stderr, "bare loop: %s (0x%lx) is not known in tests/bench/record.c\n", what, number);
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
        die("memory for a load of so many bytes", len);
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
        die("parameters of a mechanism", from->mechanism);
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
    for (size_t i = count; i-- > 0;) {
        if (calls[i].made == handle && handle != CK_INVALID_HANDLE) {
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
        if (count == CALLS_MAX) {
            die("a load of so many calls", count);
        }
        call = &calls[count];
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
    count += (size_t)recording;
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
    if (recording && (call->out_len = *len) > OUT_MAX) {
        die("room for a result", *len);
    }
}

static CK_RV get_attributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attrs,
                            CK_ULONG n)
{
    struct call *call = begin(FN_C_GetAttributeValue, session);

    given(call, NULL, object, attrs, n);
    return finish(call, real->C_GetAttributeValue(session, object, attrs, n), NULL);
}

static CK_RV create(CK_SESSION_HANDLE session, CK_ATTRIBUTE *attrs, CK_ULONG n,
                    CK_OBJECT_HANDLE *made)
{
    struct call *call = begin(FN_C_CreateObject, session);

    given(call, NULL, CK_INVALID_HANDLE, attrs, n);
    return finish(call, real->C_CreateObject(session, attrs, n, made), made);
}

static CK_RV destroy(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    struct call *call = begin(FN_C_DestroyObject, session);

    given(call, NULL, object, NULL, 0);
    return finish(call, real->C_DestroyObject(session, object), NULL);
}

/* C_EncryptInit and its like, and what comes after. */
#define STARTS(mine, name) \
    static CK_RV mine(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key) \
    { \
        struct call *call = begin(FN_##name, session); \
        given(call, mechanism, key, NULL, 0); \
        return finish(call, real->name(session, mechanism, key), NULL); \
    }
#define ENDS(mine, name) \
    static CK_RV mine(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, \
                      CK_ULONG *out_len) \
    { \
        struct call *call = begin(FN_##name, session); \
        data(call, in, len); \
        room(call, out_len); \
        return finish(call, real->name(session, in, len, out, out_len), NULL); \
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
    return finish(call, real->C_GenerateKey(session, mechanism, attrs, n, made), made);
}

static CK_RV wrap(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping,
                  CK_OBJECT_HANDLE key, CK_BYTE *out, CK_ULONG *len)
{
    struct call *call = begin(FN_C_WrapKey, session);

    given(call, mechanism, wrapping, NULL, 0);
    call->other = object_of(key);
    room(call, len);
    return finish(call, real->C_WrapKey(session, mechanism, wrapping, key, out, len), NULL);
}

static CK_RV unwrap(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                    CK_BYTE *in, CK_ULONG len, CK_ATTRIBUTE *attrs, CK_ULONG n,
                    CK_OBJECT_HANDLE *made)
{
    struct call *call = begin(FN_C_UnwrapKey, session);

    given(call, mechanism, key, attrs, n);
    data(call, in, len);
    return finish(call, real->C_UnwrapKey(session, mechanism, key, in, len, attrs, n, made), made);
}

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                    CK_ATTRIBUTE *attrs, CK_ULONG n, CK_OBJECT_HANDLE *made)
{
    struct call *call = begin(FN_C_DeriveKey, session);

    given(call, mechanism, key, attrs, n);
    return finish(call, real->C_DeriveKey(session, mechanism, key, attrs, n, made), made);
}

CK_FUNCTION_LIST *record_in_front_of(CK_FUNCTION_LIST *functions)
{
    real = functions;
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

static void free_parameters(CK_MECHANISM *mechanism)
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
    free_parameters(&call->mechanism);
    for (CK_ULONG i = 0; i < call->attr_count; i++) {
        free(call->attrs[i].pValue);
    }
    free(call->attrs);
    free(call->in);
}

void record_begin(void)
{
    for (size_t i = 0; i < count; i++) {
        free_call(&calls[i]);
    }
    count = 0;
    recording = 1;
}

void record_end(void)
{
    recording = 0;
}

/* ---- Playing ---- */

static CK_OBJECT_HANDLE now(struct object object)
{
    return object.made_by == NO_CALL ? object.handle : calls[object.made_by].made;
}

static CK_RV make(struct call *call)
{
    static CK_BYTE out[OUT_MAX];
    CK_ULONG len = call->out_len;
    CK_SESSION_HANDLE s = call->session;

    switch (call->function) {
    case FN_C_GetAttributeValue: {
        CK_ULONG lens[4];
        CK_RV rv;

        for (CK_ULONG i = 0; i < call->attr_count && i < 4; i++) {
            lens[i] = call->attrs[i].ulValueLen;
        }
        rv = real->C_GetAttributeValue(s, now(call->key), call->attrs, call->attr_count);
        for (CK_ULONG i = 0; i < call->attr_count && i < 4; i++) {
            call->attrs[i].ulValueLen = lens[i];
        }
        return rv;
    }
    case FN_C_CreateObject:
        return real->C_CreateObject(s, call->attrs, call->attr_count, &call->made);
    case FN_C_DestroyObject:
        return real->C_DestroyObject(s, now(call->key));
    case FN_C_EncryptInit:
        return real->C_EncryptInit(s, &call->mechanism, now(call->key));
    case FN_C_Encrypt:
        return real->C_Encrypt(s, call->in, call->in_len, out, &len);
    case FN_C_DecryptInit:
        return real->C_DecryptInit(s, &call->mechanism, now(call->key));
    case FN_C_Decrypt:
        return real->C_Decrypt(s, call->in, call->in_len, out, &len);
    case FN_C_SignInit:
        return real->C_SignInit(s, &call->mechanism, now(call->key));
    case FN_C_Sign:
        return real->C_Sign(s, call->in, call->in_len, out, &len);
    case FN_C_GenerateKey:
        return real->C_GenerateKey(s, &call->mechanism, call->attrs, call->attr_count, &call->made);
    case FN_C_WrapKey:
        return real->C_WrapKey(s, &call->mechanism, now(call->key), now(call->other), out, &len);
    case FN_C_UnwrapKey:
        return real->C_UnwrapKey(s, &call->mechanism, now(call->key), call->in, call->in_len,
                                 call->attrs, call->attr_count, &call->made);
    case FN_C_DeriveKey:
        return real->C_DeriveKey(s, &call->mechanism, now(call->key), call->attrs, call->attr_count,
                                 &call->made);
    }
    return CKR_FUNCTION_NOT_SUPPORTED;
}

CK_RV record_play(const char **which)
{
    for (size_t i = 0; i < count; i++) {
        CK_RV rv = calls[i].left_out ? calls[i].rv : make(&calls[i]);

        if (rv != calls[i].rv) {
            if (which) {
                *which = names[calls[i].function];
            }
            return rv == CKR_OK ? CKR_GENERAL_ERROR : rv;
        }
    }
    return CKR_OK;
}

size_t record_count(void)
{
    size_t played = 0;

    for (size_t i = 0; i < count; i++) {
        played += !calls[i].left_out;
    }
    return played;
}

/* ---- Through another module ---- */

/* The token's object there that has the class and label which this handle has here. */
static CK_OBJECT_HANDLE find_there(CK_SESSION_HANDLE here, CK_OBJECT_HANDLE handle,
                                   CK_FUNCTION_LIST *to, CK_SESSION_HANDLE there)
{
    CK_OBJECT_CLASS class;
    CK_BYTE label[OUT_MAX];
    CK_ATTRIBUTE attrs[] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_LABEL, label, sizeof(label)}};
    CK_OBJECT_HANDLE found[2];
    CK_ULONG n = 0;
    CK_RV rv = real->C_GetAttributeValue(here, handle, attrs, 2);

    if (rv == CKR_OK && (rv = to->C_FindObjectsInit(there, attrs, 2)) == CKR_OK) {
        rv = to->C_FindObjects(there, found, 2, &n);
        (void)to->C_FindObjectsFinal(there);
    }
    if (rv != CKR_OK || n != 1) {
        fprintf(stderr, "bare loop: 0x%lx: a key is not, or not once, in the other module\n", rv);
        exit(70);
    }
    return found[0];
}

static void move(struct object *object, CK_SESSION_HANDLE here, CK_FUNCTION_LIST *to,
                 CK_SESSION_HANDLE there)
{
    if (object->made_by == NO_CALL && object->handle != CK_INVALID_HANDLE) {
        object->handle = find_there(here, object->handle, to, there);
    }
}

/* A call that the other module does not carry: a key is generated where one would be derived, and
 * an operation that does not begin does not go on. */
static void do_without(size_t i)
{
    struct call *call = &calls[i];

    if (call->made != CK_INVALID_HANDLE) {
        free_parameters(&call->mechanism);
        call->function = FN_C_GenerateKey;
        call->mechanism = (CK_MECHANISM){CKM_AES_KEY_GEN, NULL, 0};
        return;
    }
    call->left_out = 1;
    if (i + 1 < count && (call->function == FN_C_EncryptInit ||
                          call->function == FN_C_DecryptInit || call->function == FN_C_SignInit)) {
        calls[i + 1].left_out = 1;
    }
}

unsigned record_move(CK_FUNCTION_LIST *to, CK_SESSION_HANDLE there)
{
    unsigned changed = 0;

    for (size_t i = 0; i < count; i++) {
        move(&calls[i].key, calls[i].session, to, there);
        move(&calls[i].other, calls[i].session, to, there);
        calls[i].session = there;
    }
    real = to;
    for (size_t i = 0; i < count; i++) {
        if (!calls[i].left_out && make(&calls[i]) == CKR_MECHANISM_INVALID) {
            do_without(i);
            if (!calls[i].left_out) {
                (void)make(&calls[i]);
            }
            changed++;
        }
    }
    return changed;
}

static const char *mechanism_name(CK_MECHANISM_TYPE type)
{
    static const struct {
        CK_MECHANISM_TYPE type;
        const char *name;
    } known[] = {
        {CKM_RSA_PKCS_OAEP, "RSA_PKCS_OAEP"},
        {CKM_SHA256_RSA_PKCS_PSS, "SHA256_RSA_PKCS_PSS"},
        {CKM_RSA_PKCS, "RSA_PKCS"},
        {CKM_ECDH1_DERIVE, "ECDH1_DERIVE"},
        {CKM_ECDSA, "ECDSA"},
        {CKM_AES_ECB_ENCRYPT_DATA, "AES_ECB_ENCRYPT_DATA"},
        {CKM_AES_GCM, "AES_GCM"},
        {CKM_AES_CMAC, "AES_CMAC"},
        {CKM_AES_KEY_GEN, "AES_KEY_GEN"},
        {CKM_DES2_KEY_GEN, "DES2_KEY_GEN"},
        {CKM_DES3_ECB, "DES3_ECB"},
        {CKM_AES_KEY_WRAP, "AES_KEY_WRAP"},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].type == type) {
            return known[i].name;
        }
    }
    die("name of a mechanism", type);
}

void record_print(FILE *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct call *call = &calls[i];

        if (call->left_out) {
            continue;
        }
        fputs(names[call->function], out);
        if (call->function >= FN_C_GenerateKey || call->function == FN_C_EncryptInit ||
            call->function == FN_C_DecryptInit || call->function == FN_C_SignInit) {
            fprintf(out, " %s", mechanism_name(call->mechanism.mechanism));
        }
        if (call->attr_count > 0) {
            fprintf(out, " %lu attributes", call->attr_count);
        }
        fputc('\n', out);
    }
}
