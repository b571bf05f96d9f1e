/* SPDX-License-Identifier: BSD-2-Clause */
/* What recording (record.c) and playing (record_play.c) share: the calls of one load. */
#ifndef KL_TESTS_BENCH_RECORD_IMPL_H
#define KL_TESTS_BENCH_RECORD_IMPL_H

#include "tests/bench/record.h"

#define RECORD_CALLS_MAX 128
#define RECORD_OUT_MAX 1024 /* bytes that a call gives back, at most */
#define RECORD_ATTRS_MAX 4  /* that one C_GetAttributeValue asks for, at most */
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

/* An object: the token's own, or what an earlier call made. */
struct object {
    int made_by; /* index of the call; NO_CALL: handle */
    CK_OBJECT_HANDLE handle;
};

/* All that points is owned: copies of what the call was given. */
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

/* The one recording of this process. */
extern struct record {
    CK_FUNCTION_LIST *real; /* borrowed: the module's */
    size_t count;
    struct call calls[RECORD_CALLS_MAX];
} record;

/* Ends the program: something that is not known here would be left out. */
__attribute__((noreturn)) void record_die(const char *what, unsigned long number);
void record_free_parameters(CK_MECHANISM *mechanism);

#endif
