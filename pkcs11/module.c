/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loading a PKCS#11 module. p11-kit finds and opens the library; it is asked for the bare
 * function list ("unmanaged"), as its managed wrapper would bring its own C_Initialize arguments
 * and knows fewer mechanisms than modules do.
 */
#include "pkcs11/module.h"

#include <p11-kit/p11-kit.h>
#include <stdlib.h>

#include "pkcs11/rv.h"

struct kl_module {
    CK_FUNCTION_LIST *functions;
    int loaded;      /* by p11-kit, so to be released there */
    int initialised; /* by us, so to be finalised */
};

static enum kl_rc initialise(struct kl_module *module, const char *name, const char *init_reserved,
                             struct kl_err *err)
{
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    CK_RV rv;

    if (init_reserved && *init_reserved) {
        args.pReserved = (void *)init_reserved;
    }
    rv = module->functions->C_Initialize(&args);
    if (rv != CKR_OK) {
        (void)kl_rv_err(err, rv, "C_Initialize", "%s does not start", name);
        return err->rc = KL_ERR_MODULE;
    }
    module->initialised = 1;
    return KL_OK;
}

enum kl_rc kl_module_load(const char *path, const char *init_reserved, struct kl_module **out,
                          struct kl_err *err)
{
    struct kl_module *module = calloc(1, sizeof(*module));
    enum kl_rc rc;

    if (!module) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory for module %s", path);
    }
    module->functions = p11_kit_module_load(path, P11_KIT_MODULE_UNMANAGED);
    if (!module->functions) {
        const char *why = p11_kit_message();
        rc = kl_err_set(err, KL_ERR_MODULE, "PKCS#11 module %s cannot be loaded: %s", path,
                        why ? why : "not a PKCS#11 library");
        goto out;
    }
    module->loaded = 1;
    rc = initialise(module, path, init_reserved, err);
out:
    if (rc != KL_OK) {
        kl_module_free(module);
        return rc;
    }
    *out = module;
    return KL_OK;
}

enum kl_rc kl_module_wrap(CK_FUNCTION_LIST *functions, struct kl_module **out, struct kl_err *err)
{
    struct kl_module *module = calloc(1, sizeof(*module));
    enum kl_rc rc;

    if (!module) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory for a module");
    }
    module->functions = functions;
    rc = initialise(module, "module", NULL, err);
    if (rc != KL_OK) {
        kl_module_free(module);
        return rc;
    }
    *out = module;
    return KL_OK;
}

void kl_module_free(struct kl_module *module)
{
    if (!module) {
        return;
    }
    if (module->initialised) {
        (void)module->functions->C_Finalize(NULL);
    }
    if (module->loaded) {
        p11_kit_module_release(module->functions);
    }
    free(module);
}

CK_FUNCTION_LIST *kl_module_functions(const struct kl_module *module)
{
    return module->functions;
}
