/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A PKCS#11 function list under a test's control: it counts calls, returns any CK_RV at the n-th
 * call of any function, and hands all other calls to a real module, or, without one, answers
 * CKR_FUNCTION_NOT_SUPPORTED (C_Initialize and C_Finalize: CKR_OK). One for each process.
 */
#ifndef KL_TESTS_SUPPORT_FAKE_P11_H
#define KL_TESTS_SUPPORT_FAKE_P11_H

#include <p11-kit/pkcs11.h>

/* The functions that can be counted and made to fail: all that the pkcs11 room calls. */
#define FAKE_P11_LIST(X) \
    X(C_Initialize, (void *a), (a)) \
    X(C_Finalize, (void *a), (a)) \
    X(C_GetSlotList, (unsigned char a, CK_SLOT_ID *b, CK_ULONG *c), (a, b, c)) \
    X(C_GetTokenInfo, (CK_SLOT_ID a, CK_TOKEN_INFO * b), (a, b)) \
    X(C_InitToken, (CK_SLOT_ID a, unsigned char *b, CK_ULONG c, unsigned char *d), (a, b, c, d)) \
    X(C_InitPIN, (CK_SESSION_HANDLE a, unsigned char *b, CK_ULONG c), (a, b, c)) \
    X(C_OpenSession, (CK_SLOT_ID a, CK_FLAGS b, void *c, CK_NOTIFY d, CK_SESSION_HANDLE *e), \
      (a, b, c, d, e)) \
    X(C_CloseSession, (CK_SESSION_HANDLE a), (a)) \
    X(C_CloseAllSessions, (CK_SLOT_ID a), (a)) \
    X(C_Login, (CK_SESSION_HANDLE a, CK_USER_TYPE b, unsigned char *c, CK_ULONG d), (a, b, c, d)) \
    X(C_Logout, (CK_SESSION_HANDLE a), (a)) \
    X(C_CreateObject, (CK_SESSION_HANDLE a, CK_ATTRIBUTE * b, CK_ULONG c, CK_OBJECT_HANDLE * d), \
      (a, b, c, d)) \
    X(C_DestroyObject, (CK_SESSION_HANDLE a, CK_OBJECT_HANDLE b), (a, b)) \
    X(C_GetAttributeValue, \
      (CK_SESSION_HANDLE a, CK_OBJECT_HANDLE b, CK_ATTRIBUTE * c, CK_ULONG d), (a, b, c, d)) \
    X(C_FindObjectsInit, (CK_SESSION_HANDLE a, CK_ATTRIBUTE * b, CK_ULONG c), (a, b, c)) \
    X(C_FindObjects, (CK_SESSION_HANDLE a, CK_OBJECT_HANDLE * b, CK_ULONG c, CK_ULONG * d), \
      (a, b, c, d)) \
    X(C_FindObjectsFinal, (CK_SESSION_HANDLE a), (a)) \
    X(C_EncryptInit, (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_OBJECT_HANDLE c), (a, b, c)) \
    X(C_Encrypt, \
      (CK_SESSION_HANDLE a, unsigned char *b, CK_ULONG c, unsigned char *d, CK_ULONG *e), \
      (a, b, c, d, e)) \
    X(C_DecryptInit, (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_OBJECT_HANDLE c), (a, b, c)) \
    X(C_Decrypt, \
      (CK_SESSION_HANDLE a, unsigned char *b, CK_ULONG c, unsigned char *d, CK_ULONG *e), \
      (a, b, c, d, e)) \
    X(C_SignInit, (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_OBJECT_HANDLE c), (a, b, c)) \
    X(C_Sign, (CK_SESSION_HANDLE a, unsigned char *b, CK_ULONG c, unsigned char *d, CK_ULONG *e), \
      (a, b, c, d, e)) \
    X(C_GenerateKey, \
      (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_ATTRIBUTE * c, CK_ULONG d, CK_OBJECT_HANDLE * e), \
      (a, b, c, d, e)) \
    X(C_GenerateKeyPair, \
      (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_ATTRIBUTE * c, CK_ULONG d, CK_ATTRIBUTE * e, \
       CK_ULONG f, CK_OBJECT_HANDLE * g, CK_OBJECT_HANDLE * h), \
      (a, b, c, d, e, f, g, h)) \
    X(C_WrapKey, \
      (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_OBJECT_HANDLE c, CK_OBJECT_HANDLE d, \
       unsigned char *e, CK_ULONG *f), \
      (a, b, c, d, e, f)) \
    X(C_UnwrapKey, \
      (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_OBJECT_HANDLE c, unsigned char *d, CK_ULONG e, \
       CK_ATTRIBUTE *f, CK_ULONG g, CK_OBJECT_HANDLE *h), \
      (a, b, c, d, e, f, g, h)) \
    X(C_DeriveKey, \
      (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_OBJECT_HANDLE c, CK_ATTRIBUTE * d, CK_ULONG e, \
       CK_OBJECT_HANDLE * f), \
      (a, b, c, d, e, f)) \
    X(C_GenerateRandom, (CK_SESSION_HANDLE a, unsigned char *b, CK_ULONG c), (a, b, c))

enum fake_p11_fn {
#define FAKE_P11_ENUM(name, params, args) FAKE_##name,
    FAKE_P11_LIST(FAKE_P11_ENUM)
#undef FAKE_P11_ENUM
        FAKE_P11_COUNT
};

/* Starts over: nothing counted, nothing failing. module_path NULL: no real module. The list stays
 * the same, so that a test can go on with open sessions by fake_p11_reset(). */
CK_FUNCTION_LIST *fake_p11(const char *module_path);
void fake_p11_reset(void);

/* The nth call from now on (1 = the next) returns rv, without reaching the module. nth 0: every
 * call does. One for each function. */
void fake_p11_fail(enum fake_p11_fn fn, unsigned nth, CK_RV rv);

unsigned fake_p11_calls(enum fake_p11_fn fn); /* since fake_p11() or fake_p11_reset() */

#endif
