/* SPDX-License-Identifier: BSD-2-Clause */
/* A PKCS#11 function list under a test's control: see fake_p11.h. */
#include "tests/support/fake_p11.h"

#include <p11-kit/p11-kit.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
    CK_FUNCTION_LIST *real;
    CK_FUNCTION_LIST list;
    struct {
        unsigned calls;
        unsigned fail_at; /* counted down; 0 = not waiting */
        int always;
        CK_RV rv;
    } fn[FAKE_P11_COUNT];
} fake;

/* Counts a call; 1 if it is to fail with *rv. */
static int intercept(enum fake_p11_fn fn, CK_RV *rv)
{
    fake.fn[fn].calls++;
    *rv = fake.fn[fn].rv;
    if (fake.fn[fn].always) {
        return 1;
    }
    return fake.fn[fn].fail_at > 0 && --fake.fn[fn].fail_at == 0;
}

static CK_RV without_module(enum fake_p11_fn fn)
{
    return fn == FAKE_C_Initialize || fn == FAKE_C_Finalize ? CKR_OK : CKR_FUNCTION_NOT_SUPPORTED;
}

#define FAKE_FUNCTION(name, params, args) \
    static CK_RV fake_##name params \
    { \
        CK_RV rv; \
        if (intercept(FAKE_##name, &rv)) \
            return rv; \
        return fake.real ? fake.real->name args : without_module(FAKE_##name); \
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
P11_FUNCTIONS(FAKE_FUNCTION)
#pragma GCC diagnostic pop

CK_FUNCTION_LIST *fake_p11(const char *module_path)
{
    fake.real = NULL;
    fake_p11_reset();
    if (module_path && !(fake.real = p11_kit_module_load(module_path, P11_KIT_MODULE_UNMANAGED))) {
        fprintf(stderr, "fake module: %s cannot be loaded\n", module_path);
        exit(1);
    }
    if (fake.real) {
        fake.list = *fake.real;
    }
#define FAKE_ENTRY(name, params, args) fake.list.name = fake_##name;
    P11_FUNCTIONS(FAKE_ENTRY)
#undef FAKE_ENTRY
    return &fake.list;
}

void fake_p11_reset(void)
{
    for (int i = 0; i < FAKE_P11_COUNT; i++) {
        fake.fn[i].calls = 0;
        fake.fn[i].fail_at = 0;
        fake.fn[i].always = 0;
    }
}

void fake_p11_fail(enum fake_p11_fn fn, unsigned nth, CK_RV rv)
{
    fake.fn[fn].fail_at = nth;
    fake.fn[fn].always = nth == 0;
    fake.fn[fn].rv = rv;
}

unsigned fake_p11_calls(enum fake_p11_fn fn)
{
    return fake.fn[fn].calls;
}

const char *fake_p11_name(enum fake_p11_fn fn)
{
    static const char *const names[] = {
#define FAKE_NAME(name, params, args) #name,
        P11_FUNCTIONS(FAKE_NAME)
#undef FAKE_NAME
    };

    return names[fn];
}
