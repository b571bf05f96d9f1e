/* SPDX-License-Identifier: BSD-2-Clause */
/* A PKCS#11 module in this process. */
#ifndef KL_PKCS11_MODULE_H
#define KL_PKCS11_MODULE_H

#include <p11-kit/pkcs11.h>

#include "proto/err.h"

struct kl_module;

/* Loads a PKCS#11 module through p11-kit and calls C_Initialize (CKF_OS_LOCKING_OK). Never fork
 * afterwards. KL_ERR_MODULE names the path. init_reserved: the module's own parameter string
 * for CK_C_INITIALIZE_ARGS.pReserved; NULL or "": none. */
enum kl_rc kl_module_load(const char *path, const char *init_reserved, struct kl_module **out,
                          struct kl_err *err) KL_MUST_CHECK;
/* The same over a function list that is already there (tests); borrowed. */
enum kl_rc kl_module_wrap(CK_FUNCTION_LIST *functions, struct kl_module **out,
                          struct kl_err *err) KL_MUST_CHECK;
void kl_module_free(struct kl_module *module); /* C_Finalize and unload; takes NULL */

/* For the other files of this room. */
CK_FUNCTION_LIST *kl_module_functions(const struct kl_module *module);

#endif
