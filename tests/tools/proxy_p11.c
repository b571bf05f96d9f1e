/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A PKCS#11 module that hands out another module's function list with a few entries of its own:
 * see proxy_p11.h.
 */
#include "tests/tools/proxy_p11.h"

#include <p11-kit/pkcs11.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tools/real_p11.h"

#define ATTR_MAX 32

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST ours;

static int is_true(const CK_ATTRIBUTE *template, CK_ULONG count, CK_ATTRIBUTE_TYPE type)
{
    for (CK_ULONG i = 0; i < count; i++) {
        if (template[i].type == type && template[i].ulValueLen == sizeof(CK_BBOOL)) {
            return *(const CK_BBOOL *)template[i].pValue == CK_TRUE;
        }
    }
    return 0;
}

static CK_ULONG value_len(const CK_ATTRIBUTE *template, CK_ULONG count)
{
    for (CK_ULONG i = 0; i < count; i++) {
        if (template[i].type == CKA_VALUE_LEN) {
            return *(const CK_ULONG *)template[i].pValue;
        }
    }
    return 0;
}

/* The value that a key of that mechanism and template gets; NULL: leave it to the module. */
static const uint8_t *fixed_value(CK_MECHANISM_TYPE mechanism, const CK_ATTRIBUTE *template,
                                  CK_ULONG count, CK_KEY_TYPE *type, CK_ULONG *len)
{
    if (getenv("KL_PROXY_FIXED") == NULL || is_true(template, count, CKA_TOKEN)) {
        return NULL;
    }
    switch (mechanism) {
    case CKM_DES2_KEY_GEN:
        *type = CKK_DES2;
        *len = 16;
        return proxy_tmk;
    case CKM_DES3_KEY_GEN:
        *type = CKK_DES3;
        *len = 24;
        return proxy_tmk;
    case CKM_AES_KEY_GEN:
        *type = CKK_AES;
        *len = value_len(template, count);
        if (*len == 0 || *len > sizeof proxy_tmk) {
            return NULL;
        }
        return is_true(template, count, CKA_DERIVE) ? proxy_rnd1 : proxy_tmk;
    default:
        return NULL;
    }
}

static CK_RV generate_key(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                          CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type;
    CK_ULONG len, n = 0;
    const uint8_t *value = fixed_value(mechanism->mechanism, template, count, &type, &len);
    if (value == NULL || count > ATTR_MAX - 3) {
        return real->C_GenerateKey(session, mechanism, template, count, key);
    }
    CK_ATTRIBUTE all[ATTR_MAX];
    for (CK_ULONG i = 0; i < count; i++) {
        if (template[i].type != CKA_VALUE_LEN && template[i].type != CKA_CLASS &&
            template[i].type != CKA_KEY_TYPE) {
            all[n++] = template[i];
        }
    }
    all[n++] = (CK_ATTRIBUTE){CKA_CLASS, &class, sizeof class};
    all[n++] = (CK_ATTRIBUTE){CKA_KEY_TYPE, &type, sizeof type};
    all[n++] = (CK_ATTRIBUTE){CKA_VALUE, (void *)(uintptr_t)value, len};
    return real->C_CreateObject(session, all, n, key);
}

static CK_RV generate_random(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG len)
{
    CK_RV rv = real->C_GenerateRandom(session, data, len);
    if (rv == CKR_OK && getenv("KL_PROXY_RANDOM") != NULL) {
        if (len == sizeof proxy_rnd1) {
            memcpy(data, proxy_rnd1, sizeof proxy_rnd1);
        } else if (len == 2 * sizeof proxy_rnd2) {
            memcpy(data, proxy_rnd2, sizeof proxy_rnd2);
        }
    }
    return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    if (real == NULL) {
        real = real_p11("KL_PROXY_MODULE");
        if (real == NULL) {
            return CKR_GENERAL_ERROR;
        }
        ours = *real;
        ours.C_GetFunctionList = C_GetFunctionList;
        ours.C_GenerateKey = generate_key;
        ours.C_GenerateRandom = generate_random;
    }
    *list = &ours;
    return CKR_OK;
}
