/* SPDX-License-Identifier: BSD-2-Clause */
/* A token that fails or lies when a script says so: see lying_p11.h. */
#include "tests/fuzz/lying_p11.h"

#include <string.h>

#include "tests/support/fake_p11.h"
#include "tests/support/hsm.h"

static CK_FUNCTION_LIST *under; /* fake_p11's */
static CK_FUNCTION_LIST list;
static struct script *script;
static unsigned calls, lie_at[2];
static int did;
static CK_SESSION_HANDLE last;

void lying_p11_begin(struct script *from)
{
    script = from;
    calls = 0;
    did = 0;
    lie_at[0] = from ? script_byte(from) : 0;
    lie_at[1] = from ? script_byte(from) : 0;
}

int lying_p11_did(void)
{
    return did;
}

/* Counts a call; 1 if it is one that goes wrong: *rv is what it returns instead of being made, or
 * CKR_OK if it is made and its result is another. */
static int goes_wrong(CK_SESSION_HANDLE session, CK_RV *rv)
{
    static const CK_RV rvs[] = {CKR_OK,
                                CKR_GENERAL_ERROR,
                                CKR_DEVICE_ERROR,
                                CKR_SESSION_HANDLE_INVALID,
                                CKR_ENCRYPTED_DATA_INVALID,
                                CKR_WRAPPED_KEY_INVALID,
                                CKR_FUNCTION_FAILED,
                                CKR_BUFFER_TOO_SMALL,
                                CKR_KEY_HANDLE_INVALID,
                                CKR_USER_NOT_LOGGED_IN,
                                CKR_MECHANISM_INVALID,
                                CKR_VENDOR_DEFINED + 7};

    last = session;
    *rv = CKR_OK;
    calls++;
    if (!script || (calls != lie_at[0] && calls != lie_at[1])) {
        return 0;
    }
    did = 1;
    *rv = rvs[script_below(script, sizeof(rvs) / sizeof(rvs[0]))];
    return 1;
}

/* Other bytes than the token gave, in the same buffer; and another length, beyond it if so. */
static void lie(uint8_t *out, CK_ULONG room, CK_ULONG *len)
{
    CK_ULONG given = *len <= room ? *len : room;

    *len = script_edit(script, out, given, room);
    if (script_below(script, 8) == 7) {
        *len = room + 1 + script_byte(script);
    }
}

/* Of no object: with that of another one, the job would end by destroying it, a key of the next
 * input's. */
static void other_handle(CK_OBJECT_HANDLE *handle)
{
    *handle = script_below(script, 2) ? 0x10000000UL + script_byte(script) : CK_INVALID_HANDLE;
}

#define PASS(name, params, args) \
    static CK_RV l_##name params \
    { \
        CK_RV rv; \
        return goes_wrong(s, &rv) && rv != CKR_OK ? rv : under->name args; \
    }

#define GIVES_BYTES(name, params, args, out, len) \
    static CK_RV l_##name params \
    { \
        CK_RV rv; \
        int wrong = goes_wrong(s, &rv); \
        CK_ULONG room = *(len); \
        if (rv != CKR_OK) \
            return rv; \
        rv = under->name args; \
        if (wrong && rv == CKR_OK && (out) != NULL) \
            lie(out, room, len); \
        return rv; \
    }

#define GIVES_HANDLE(name, params, args, out) \
    static CK_RV l_##name params \
    { \
        CK_RV rv; \
        int wrong = goes_wrong(s, &rv); \
        if (rv != CKR_OK) \
            return rv; \
        rv = under->name args; \
        if (wrong && rv == CKR_OK) \
            other_handle(out); \
        return rv; \
    }

typedef unsigned char *bytes;
#define MECHANISM CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE k

PASS(C_EncryptInit, (MECHANISM), (s, m, k))
PASS(C_DecryptInit, (MECHANISM), (s, m, k))
PASS(C_SignInit, (MECHANISM), (s, m, k))
PASS(C_DestroyObject, (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE k), (s, k))
PASS(C_FindObjectsInit, (CK_SESSION_HANDLE s, CK_ATTRIBUTE *a, CK_ULONG n), (s, a, n))
PASS(C_FindObjectsFinal, (CK_SESSION_HANDLE s), (s))
GIVES_BYTES(C_Encrypt, (CK_SESSION_HANDLE s, bytes in, CK_ULONG n, bytes out, CK_ULONG *len),
            (s, in, n, out, len), out, len)
GIVES_BYTES(C_Decrypt, (CK_SESSION_HANDLE s, bytes in, CK_ULONG n, bytes out, CK_ULONG *len),
            (s, in, n, out, len), out, len)
GIVES_BYTES(C_Sign, (CK_SESSION_HANDLE s, bytes in, CK_ULONG n, bytes out, CK_ULONG *len),
            (s, in, n, out, len), out, len)
GIVES_BYTES(C_WrapKey, (MECHANISM, CK_OBJECT_HANDLE t, bytes out, CK_ULONG *len),
            (s, m, k, t, out, len), out, len)
GIVES_HANDLE(C_UnwrapKey,
             (MECHANISM, bytes in, CK_ULONG n, CK_ATTRIBUTE *a, CK_ULONG c, CK_OBJECT_HANDLE *out),
             (s, m, k, in, n, a, c, out), out)
GIVES_HANDLE(C_DeriveKey, (MECHANISM, CK_ATTRIBUTE *a, CK_ULONG c, CK_OBJECT_HANDLE *out),
             (s, m, k, a, c, out), out)
GIVES_HANDLE(C_GenerateKey,
             (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_ATTRIBUTE *a, CK_ULONG c,
              CK_OBJECT_HANDLE *out),
             (s, m, a, c, out), out)
GIVES_HANDLE(C_CreateObject,
             (CK_SESSION_HANDLE s, CK_ATTRIBUTE *a, CK_ULONG c, CK_OBJECT_HANDLE *out),
             (s, a, c, out), out)

static CK_RV l_C_GenerateRandom(CK_SESSION_HANDLE s, bytes out, CK_ULONG len)
{
    CK_RV rv;
    int wrong = goes_wrong(s, &rv);

    if (rv != CKR_OK) {
        return rv;
    }
    rv = under->C_GenerateRandom(s, out, len);
    if (wrong && rv == CKR_OK) {
        memset(out, script_byte(script), len);
    }
    return rv;
}

static CK_RV l_C_FindObjects(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *out, CK_ULONG max,
                             CK_ULONG *count)
{
    CK_RV rv;
    int wrong = goes_wrong(s, &rv);

    if (rv != CKR_OK) {
        return rv;
    }
    rv = under->C_FindObjects(s, out, max, count);
    if (wrong && rv == CKR_OK) {
        *count = script_below(script, 4) <= max ? script_below(script, 2) : max;
        other_handle(out);
    }
    return rv;
}

static CK_RV l_C_GetAttributeValue(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE k, CK_ATTRIBUTE *a,
                                   CK_ULONG n)
{
    CK_RV rv;
    int wrong = goes_wrong(s, &rv);
    CK_ULONG room = n > 0 ? a[0].ulValueLen : 0;

    if (rv != CKR_OK) {
        return rv;
    }
    rv = under->C_GetAttributeValue(s, k, a, n);
    if (wrong && rv == CKR_OK && n > 0 && a[0].pValue) {
        lie(a[0].pValue, room, &a[0].ulValueLen);
    }
    return rv;
}

CK_FUNCTION_LIST *lying_p11(void)
{
    under = fake_p11(test_softhsm_path());
    list = *under;
#define LIES(name) list.name = l_##name
    LIES(C_EncryptInit);
    LIES(C_DecryptInit);
    LIES(C_SignInit);
    LIES(C_DestroyObject);
    LIES(C_FindObjectsInit);
    LIES(C_FindObjects);
    LIES(C_FindObjectsFinal);
    LIES(C_Encrypt);
    LIES(C_Decrypt);
    LIES(C_Sign);
    LIES(C_WrapKey);
    LIES(C_UnwrapKey);
    LIES(C_DeriveKey);
    LIES(C_GenerateKey);
    LIES(C_CreateObject);
    LIES(C_GenerateRandom);
    LIES(C_GetAttributeValue);
    return &list;
}

void lying_p11_settle(void)
{
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE query = {CKA_TOKEN, &no, sizeof(no)};
    CK_OBJECT_HANDLE handles[64];
    CK_ULONG count = 0, len;
    uint8_t in[16] = {0}, out[1024];

    /* Each ends an operation of its kind, if one is active: well or not. */
    (void)under->C_Encrypt(last, in, sizeof(in), out, (len = sizeof(out), &len));
    (void)under->C_Decrypt(last, in, sizeof(in), out, (len = sizeof(out), &len));
    (void)under->C_Sign(last, in, sizeof(in), out, (len = sizeof(out), &len));
    (void)under->C_FindObjectsFinal(last);
    require(under->C_FindObjectsInit(last, &query, 1) == CKR_OK);
    require(under->C_FindObjects(last, handles, 64, &count) == CKR_OK);
    require(under->C_FindObjectsFinal(last) == CKR_OK);
    for (CK_ULONG i = 0; i < count; i++) {
        require(under->C_DestroyObject(last, handles[i]) == CKR_OK);
    }
}
