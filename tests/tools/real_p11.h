/* SPDX-License-Identifier: BSD-2-Clause */
/* The module behind a module: what each *_p11.c here stands in front of. */
#ifndef KL_TESTS_TOOLS_REAL_P11_H
#define KL_TESTS_TOOLS_REAL_P11_H

#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The function list of the module whose path is in that environment variable, loaded for good.
 * NULL: there is none, and stderr has been told why. */
static inline CK_FUNCTION_LIST *real_p11(const char *variable)
{
    const char *path = getenv(variable);
    void *module = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    void *symbol = module != NULL ? dlsym(module, "C_GetFunctionList") : NULL;
    CK_FUNCTION_LIST *list = NULL;
    CK_C_GetFunctionList get;

    if (symbol == NULL) {
        fprintf(stderr, "%s: %s\n", variable, path != NULL ? dlerror() : "not set");
        return NULL;
    }
    memcpy(&get, &symbol, sizeof get);
    if (get(&list) != CKR_OK) {
        fprintf(stderr, "%s: %s gives no function list\n", variable, path);
        return NULL;
    }
    return list;
}

#endif
