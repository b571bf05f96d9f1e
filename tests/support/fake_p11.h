/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A PKCS#11 function list under a test's control: it counts calls, returns any CK_RV at the n-th
 * call of any function, and hands all other calls to a real module, or, without one, answers
 * CKR_FUNCTION_NOT_SUPPORTED (C_Initialize and C_Finalize: CKR_OK). One for each process.
 */
#ifndef KL_TESTS_SUPPORT_FAKE_P11_H
#define KL_TESTS_SUPPORT_FAKE_P11_H

#include <p11-kit/pkcs11.h>

#include "tests/tools/p11_functions.h"

/* Each can be counted and made to fail. */
enum fake_p11_fn {
#define FAKE_P11_ENUM(name, params, args) FAKE_##name,
    P11_FUNCTIONS(FAKE_P11_ENUM)
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
const char *fake_p11_name(enum fake_p11_fn fn);

#endif
