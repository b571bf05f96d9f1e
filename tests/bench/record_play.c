/* SPDX-License-Identifier: BSD-2-Clause */
/* The calls of one load, made again and told: see record.h. */
#include <stdlib.h>
#include <string.h>

#include "tests/bench/record_impl.h"

static const char *const names[] = {
#define NAME(name) #name,
    FUNCTIONS(NAME)
#undef NAME
};

/* ---- Playing ---- */

static CK_OBJECT_HANDLE now(struct object object)
{
    return object.made_by == NO_CALL ? object.handle : record.calls[object.made_by].made;
}

static CK_RV make(struct call *call)
{
    static CK_BYTE out[RECORD_OUT_MAX];
    CK_ULONG len = call->out_len;
    CK_SESSION_HANDLE s = call->session;

    switch (call->function) {
    case FN_C_GetAttributeValue: { /* which writes lengths into what it is given */
        CK_ATTRIBUTE asked[RECORD_ATTRS_MAX];

        memcpy(asked, call->attrs, call->attr_count * sizeof(asked[0]));
        return record.real->C_GetAttributeValue(s, now(call->key), asked, call->attr_count);
    }
    case FN_C_CreateObject:
        return record.real->C_CreateObject(s, call->attrs, call->attr_count, &call->made);
    case FN_C_DestroyObject:
        return record.real->C_DestroyObject(s, now(call->key));
    case FN_C_EncryptInit:
        return record.real->C_EncryptInit(s, &call->mechanism, now(call->key));
    case FN_C_Encrypt:
        return record.real->C_Encrypt(s, call->in, call->in_len, out, &len);
    case FN_C_DecryptInit:
        return record.real->C_DecryptInit(s, &call->mechanism, now(call->key));
    case FN_C_Decrypt:
        return record.real->C_Decrypt(s, call->in, call->in_len, out, &len);
    case FN_C_SignInit:
        return record.real->C_SignInit(s, &call->mechanism, now(call->key));
    case FN_C_Sign:
        return record.real->C_Sign(s, call->in, call->in_len, out, &len);
    case FN_C_GenerateKey:
        return record.real->C_GenerateKey(s, &call->mechanism, call->attrs, call->attr_count,
                                          &call->made);
    case FN_C_WrapKey:
        return record.real->C_WrapKey(s, &call->mechanism, now(call->key), now(call->other), out,
                                      &len);
    case FN_C_UnwrapKey:
        return record.real->C_UnwrapKey(s, &call->mechanism, now(call->key), call->in, call->in_len,
                                        call->attrs, call->attr_count, &call->made);
    case FN_C_DeriveKey:
        return record.real->C_DeriveKey(s, &call->mechanism, now(call->key), call->attrs,
                                        call->attr_count, &call->made);
    }
    return CKR_FUNCTION_NOT_SUPPORTED;
}

CK_RV record_play(const char **which)
{
    for (size_t i = 0; i < record.count; i++) {
        struct call *call = &record.calls[i];
        CK_RV rv = call->left_out ? call->rv : make(call);

        if (rv != call->rv) {
            if (which) {
                *which = names[call->function];
            }
            return rv == CKR_OK ? CKR_GENERAL_ERROR : rv;
        }
    }
    return CKR_OK;
}

size_t record_count(void)
{
    size_t played = 0;

    for (size_t i = 0; i < record.count; i++) {
        played += !record.calls[i].left_out;
    }
    return played;
}

/* ---- Through another module ---- */

/* The token's object there that has the class and label which this handle has here. */
static CK_OBJECT_HANDLE find_there(CK_SESSION_HANDLE here, CK_OBJECT_HANDLE handle,
                                   CK_FUNCTION_LIST *to, CK_SESSION_HANDLE there)
{
    CK_OBJECT_CLASS class;
    CK_BYTE label[RECORD_OUT_MAX];
    CK_ATTRIBUTE attrs[] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_LABEL, label, sizeof(label)}};
    CK_OBJECT_HANDLE found[2];
    CK_ULONG n = 0;
    CK_RV rv = record.real->C_GetAttributeValue(here, handle, attrs, 2);

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
    struct call *call = &record.calls[i];

    if (call->made != CK_INVALID_HANDLE) {
        record_free_parameters(&call->mechanism);
        call->function = FN_C_GenerateKey;
        call->mechanism = (CK_MECHANISM){CKM_AES_KEY_GEN, NULL, 0};
        return;
    }
    call->left_out = 1;
    if (i + 1 < record.count &&
        (call->function == FN_C_EncryptInit || call->function == FN_C_DecryptInit ||
         call->function == FN_C_SignInit)) {
        record.calls[i + 1].left_out = 1;
    }
}

unsigned record_move(CK_FUNCTION_LIST *to, CK_SESSION_HANDLE there)
{
    unsigned changed = 0;

    for (size_t i = 0; i < record.count; i++) {
        struct call *call = &record.calls[i];

        move(&call->key, call->session, to, there);
        move(&call->other, call->session, to, there);
        call->session = there;
    }
    record.real = to;
    for (size_t i = 0; i < record.count; i++) {
        struct call *call = &record.calls[i];

        if (!call->left_out && make(call) == CKR_MECHANISM_INVALID) {
            do_without(i);
            if (!call->left_out) {
                (void)make(call);
            }
            changed++;
        }
    }
    return changed;
}

/* ---- Telling ---- */

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
    record_die("name of a mechanism", type);
}

void record_print(FILE *out)
{
    for (size_t i = 0; i < record.count; i++) {
        const struct call *call = &record.calls[i];

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
