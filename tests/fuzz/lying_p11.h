/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A PKCS#11 function list in front of SoftHSM's that fails, or gives other bytes, lengths and
 * handles than the token has given, at the call that a script says. One for each process.
 */
#ifndef KL_TESTS_FUZZ_LYING_P11_H
#define KL_TESTS_FUZZ_LYING_P11_H

#include <p11-kit/pkcs11.h>

#include "tests/fuzz/input.h"

CK_FUNCTION_LIST *lying_p11(void);

/* From now on up to two calls go wrong as the script says; NULL: none does. */
void lying_p11_begin(struct script *script);
/* 1 if one has: failed, or lied. */
int lying_p11_did(void);
/* Ends what is under way in the session of the last call, and forgets every session object. */
void lying_p11_settle(void);

#endif
