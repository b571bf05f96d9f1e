/* SPDX-License-Identifier: BSD-2-Clause */
/* Looking at every session key: see watch.h. */
#include "tests/support/watch.h"

#include "tests/support/p11.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

unsigned watch_seen;
static CK_FUNCTION_LIST real;

static void check_template(const CK_ATTRIBUTE *attrs, CK_ULONG count)
{
    static const CK_ATTRIBUTE_TYPE named[] = {CKA_ENCRYPT,   CKA_DECRYPT,     CKA_SIGN,
                                              CKA_VERIFY,    CKA_WRAP,        CKA_UNWRAP,
                                              CKA_DERIVE,    CKA_TOKEN,       CKA_PRIVATE,
                                              CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_COPYABLE,
                                              CKA_MODIFIABLE};

    for (size_t i = 0; i < COUNT(named); i++) {
        CK_ULONG at = 0;
        while (at < count && attrs[at].type != named[i]) {
            at++;
        }
        ck_assert_msg(at < count, "template does not name attribute 0x%lx", named[i]);
    }
}

static CK_RV look_at(CK_RV rv, const CK_ATTRIBUTE *attrs, CK_ULONG count, CK_OBJECT_HANDLE handle)
{
    if (rv == CKR_OK) {
        check_template(attrs, count);
        ck_assert_msg(__builtin_popcount(p11_uses(handle)) == 1, "uses 0x%x", p11_uses(handle));
        ck_assert(p11_flag(handle, CKA_SENSITIVE) && p11_flag(handle, CKA_PRIVATE));
        ck_assert(!p11_flag(handle, CKA_TOKEN));
        ck_assert(!p11_flag(handle, CKA_COPYABLE) && !p11_flag(handle, CKA_MODIFIABLE));
        watch_seen++;
    }
    return rv;
}

static CK_RV creates(CK_SESSION_HANDLE s, CK_ATTRIBUTE *attrs, CK_ULONG count,
                     CK_OBJECT_HANDLE *out)
{
    CK_RV rv = real.C_CreateObject(s, attrs, count, out);

    return look_at(rv, attrs, count, *out);
}

static CK_RV generates(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_ATTRIBUTE *attrs,
                       CK_ULONG count, CK_OBJECT_HANDLE *out)
{
    CK_RV rv = real.C_GenerateKey(s, mechanism, attrs, count, out);

    return look_at(rv, attrs, count, *out);
}

static CK_RV derives(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                     CK_ATTRIBUTE *attrs, CK_ULONG count, CK_OBJECT_HANDLE *out)
{
    CK_RV rv = real.C_DeriveKey(s, mechanism, base, attrs, count, out);

    return look_at(rv, attrs, count, *out);
}

static CK_RV unwraps(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                     unsigned char *wrapped, CK_ULONG len, CK_ATTRIBUTE *attrs, CK_ULONG count,
                     CK_OBJECT_HANDLE *out)
{
    CK_RV rv = real.C_UnwrapKey(s, mechanism, key, wrapped, len, attrs, count, out);

    return look_at(rv, attrs, count, *out);
}

void watch_keys(void)
{
    real = *hsm.f;
    hsm.f->C_CreateObject = creates;
    hsm.f->C_GenerateKey = generates;
    hsm.f->C_DeriveKey = derives;
    hsm.f->C_UnwrapKey = unwraps;
}
