/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A PKCS#11 module that passes every call on to another one, unless its rules say otherwise: what
 * an HSM does when it is ill, for tests and for QA. docs/fault-injection.md shows its use.
 *
 *   KL_FAULT_MODULE=PATH   the real module
 *   KL_FAULT_RULES=PATH    the rules; read again whenever the file changes, also in a process that
 *                          has it loaded already. No file: no rules
 *   KL_FAULT_LOG=PATH      a line "C_Sign 0x0" is appended for each call that `log` is asked for,
 *                          and "C_Sign begins" before one that is made to wait
 *   KL_FAULT_COUNT=PATH    calls are counted there, over all processes; without it each counts
 *                          its own
 *
 * Two HSMs of one daemon are two sections with different init-reserved, which this module reads:
 * "rules=PATH softhsm2=PATH", each of which may be left out: rules instead of KL_FAULT_RULES, and
 * SOFTHSM2_CONF for the real module. The paths have no spaces. What follows them is passed on.
 *
 * A rule is a line of three words; '#' begins a comment. The first that applies counts (`log` does
 * not end the search).
 *
 *   FUNCTION  C_Sign or another of the PKCS#11 v2.40 functions, or * for all
 *   WHEN      always, nth:N (the Nth call of FUNCTION), from:N, every:N, chance:PERCENT
 *   WHAT      rv:CKR_DEVICE_ERROR, rv:0x30   returns that, and does nothing
 *             delay:MS, delay:MS-MS          waits so long (or some time between), then goes on
 *             hang                           never returns
 *             crash                          the process dies of SIGSEGV
 *             absent                         the token is not there: no slot has one, sessions are
 *                                            gone (CKR_DEVICE_REMOVED); only with *
 *             lost                           C_CloseAllSessions behind the caller's back, which
 *                                            logs out, then goes on
 *             log                            writes to KL_FAULT_LOG
 *
 * A file that is no such rules ends the process, with a line on stderr that says which and why: a
 * test with a wrong rule must not pass.
 */
#ifndef KL_TESTS_TOOLS_FAULT_P11_H
#define KL_TESTS_TOOLS_FAULT_P11_H

#define FAULT_RULES_MAX 64

/* X(name, parameters, arguments): all of CK_FUNCTION_LIST but C_GetFunctionList, and the two
 * that the module has of its own, C_Initialize and C_GetSlotList. */
#define FAULT_FUNCTIONS(X) \
    X(C_Finalize, (void *a), (a)) \
    X(C_GetInfo, (CK_INFO * a), (a)) \
    X(C_GetSlotInfo, (CK_SLOT_ID a, CK_SLOT_INFO * b), (a, b)) \
    X(C_GetTokenInfo, (CK_SLOT_ID a, CK_TOKEN_INFO * b), (a, b)) \
    X(C_GetMechanismList, (CK_SLOT_ID a, CK_MECHANISM_TYPE * b, CK_ULONG * c), (a, b, c)) \
    X(C_GetMechanismInfo, (CK_SLOT_ID a, CK_MECHANISM_TYPE b, CK_MECHANISM_INFO * c), (a, b, c)) \
    X(C_InitToken, (CK_SLOT_ID a, CK_BYTE * b, CK_ULONG c, CK_BYTE * d), (a, b, c, d)) \
    X(C_InitPIN, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c), (a, b, c)) \
    X(C_SetPIN, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c, CK_BYTE * d, CK_ULONG e), \
      (a, b, c, d, e)) \
    X(C_OpenSession, (CK_SLOT_ID a, CK_FLAGS b, void *c, CK_NOTIFY d, CK_SESSION_HANDLE *e), \
      (a, b, c, d, e)) \
    X(C_CloseSession, (CK_SESSION_HANDLE a), (a)) \
    X(C_CloseAllSessions, (CK_SLOT_ID a), (a)) \
    X(C_GetSessionInfo, (CK_SESSION_HANDLE a, CK_SESSION_INFO * b), (a, b)) \
    X(C_GetOperationState, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG * c), (a, b, c)) \
    X(C_SetOperationState, \
      (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c, CK_OBJECT_HANDLE d, CK_OBJECT_HANDLE e), \
      (a, b, c, d, e)) \
    X(C_Login, (CK_SESSION_HANDLE a, CK_USER_TYPE b, CK_BYTE * c, CK_ULONG d), (a, b, c, d)) \
    X(C_Logout, (CK_SESSION_HANDLE a), (a)) \
    X(C_CreateObject, (CK_SESSION_HANDLE a, CK_ATTRIBUTE * b, CK_ULONG c, CK_OBJECT_HANDLE * d), \
      (a, b, c, d)) \
    X(C_CopyObject, \
      (CK_SESSION_HANDLE a, CK_OBJECT_HANDLE b, CK_ATTRIBUTE * c, CK_ULONG d, \
       CK_OBJECT_HANDLE * e), \
      (a, b, c, d, e)) \
    X(C_DestroyObject, (CK_SESSION_HANDLE a, CK_OBJECT_HANDLE b), (a, b)) \
    X(C_GetObjectSize, (CK_SESSION_HANDLE a, CK_OBJECT_HANDLE b, CK_ULONG * c), (a, b, c)) \
    X(C_GetAttributeValue, \
      (CK_SESSION_HANDLE a, CK_OBJECT_HANDLE b, CK_ATTRIBUTE * c, CK_ULONG d), (a, b, c, d)) \
    X(C_SetAttributeValue, \
      (CK_SESSION_HANDLE a, CK_OBJECT_HANDLE b, CK_ATTRIBUTE * c, CK_ULONG d), (a, b, c, d)) \
    X(C_FindObjectsInit, (CK_SESSION_HANDLE a, CK_ATTRIBUTE * b, CK_ULONG c), (a, b, c)) \
    X(C_FindObjects, (CK_SESSION_HANDLE a, CK_OBJECT_HANDLE * b, CK_ULONG c, CK_ULONG * d), \
      (a, b, c, d)) \
    X(C_FindObjectsFinal, (CK_SESSION_HANDLE a), (a)) \
    X(C_EncryptInit, (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_OBJECT_HANDLE c), (a, b, c)) \
    X(C_Encrypt, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c, CK_BYTE * d, CK_ULONG * e), \
      (a, b, c, d, e)) \
    X(C_EncryptUpdate, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c, CK_BYTE * d, CK_ULONG * e), \
      (a, b, c, d, e)) \
    X(C_EncryptFinal, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG * c), (a, b, c)) \
    X(C_DecryptInit, (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_OBJECT_HANDLE c), (a, b, c)) \
    X(C_Decrypt, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c, CK_BYTE * d, CK_ULONG * e), \
      (a, b, c, d, e)) \
    X(C_DecryptUpdate, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c, CK_BYTE * d, CK_ULONG * e), \
      (a, b, c, d, e)) \
    X(C_DecryptFinal, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG * c), (a, b, c)) \
    X(C_DigestInit, (CK_SESSION_HANDLE a, CK_MECHANISM * b), (a, b)) \
    X(C_Digest, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c, CK_BYTE * d, CK_ULONG * e), \
      (a, b, c, d, e)) \
    X(C_DigestUpdate, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c), (a, b, c)) \
    X(C_DigestKey, (CK_SESSION_HANDLE a, CK_OBJECT_HANDLE b), (a, b)) \
    X(C_DigestFinal, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG * c), (a, b, c)) \
    X(C_SignInit, (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_OBJECT_HANDLE c), (a, b, c)) \
    X(C_Sign, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c, CK_BYTE * d, CK_ULONG * e), \
      (a, b, c, d, e)) \
    X(C_SignUpdate, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c), (a, b, c)) \
    X(C_SignFinal, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG * c), (a, b, c)) \
    X(C_SignRecoverInit, (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_OBJECT_HANDLE c), (a, b, c)) \
    X(C_SignRecover, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c, CK_BYTE * d, CK_ULONG * e), \
      (a, b, c, d, e)) \
    X(C_VerifyInit, (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_OBJECT_HANDLE c), (a, b, c)) \
    X(C_Verify, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c, CK_BYTE * d, CK_ULONG e), \
      (a, b, c, d, e)) \
    X(C_VerifyUpdate, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c), (a, b, c)) \
    X(C_VerifyFinal, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c), (a, b, c)) \
    X(C_VerifyRecoverInit, (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_OBJECT_HANDLE c), (a, b, c)) \
    X(C_VerifyRecover, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c, CK_BYTE * d, CK_ULONG * e), \
      (a, b, c, d, e)) \
    X(C_DigestEncryptUpdate, \
      (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c, CK_BYTE * d, CK_ULONG * e), (a, b, c, d, e)) \
    X(C_DecryptDigestUpdate, \
      (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c, CK_BYTE * d, CK_ULONG * e), (a, b, c, d, e)) \
    X(C_SignEncryptUpdate, \
      (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c, CK_BYTE * d, CK_ULONG * e), (a, b, c, d, e)) \
    X(C_DecryptVerifyUpdate, \
      (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c, CK_BYTE * d, CK_ULONG * e), (a, b, c, d, e)) \
    X(C_GenerateKey, \
      (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_ATTRIBUTE * c, CK_ULONG d, CK_OBJECT_HANDLE * e), \
      (a, b, c, d, e)) \
    X(C_GenerateKeyPair, \
      (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_ATTRIBUTE * c, CK_ULONG d, CK_ATTRIBUTE * e, \
       CK_ULONG f, CK_OBJECT_HANDLE * g, CK_OBJECT_HANDLE * h), \
      (a, b, c, d, e, f, g, h)) \
    X(C_WrapKey, \
      (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_OBJECT_HANDLE c, CK_OBJECT_HANDLE d, CK_BYTE * e, \
       CK_ULONG * f), \
      (a, b, c, d, e, f)) \
    X(C_UnwrapKey, \
      (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_OBJECT_HANDLE c, CK_BYTE * d, CK_ULONG e, \
       CK_ATTRIBUTE * f, CK_ULONG g, CK_OBJECT_HANDLE * h), \
      (a, b, c, d, e, f, g, h)) \
    X(C_DeriveKey, \
      (CK_SESSION_HANDLE a, CK_MECHANISM * b, CK_OBJECT_HANDLE c, CK_ATTRIBUTE * d, CK_ULONG e, \
       CK_OBJECT_HANDLE * f), \
      (a, b, c, d, e, f)) \
    X(C_SeedRandom, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c), (a, b, c)) \
    X(C_GenerateRandom, (CK_SESSION_HANDLE a, CK_BYTE * b, CK_ULONG c), (a, b, c)) \
    X(C_GetFunctionStatus, (CK_SESSION_HANDLE a), (a)) \
    X(C_CancelFunction, (CK_SESSION_HANDLE a), (a)) \
    X(C_WaitForSlotEvent, (CK_FLAGS a, CK_SLOT_ID * b, void *c), (a, b, c))

#endif
