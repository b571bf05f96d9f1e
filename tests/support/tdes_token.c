/* SPDX-License-Identifier: BSD-2-Clause */
/* A token that wraps by TDES-ECB: see tdes_token.h. */
#include "tests/support/tdes_token.h"

#include <openssl/rand.h>

#include "pkcs11/tmpl.h"
#include "tests/support/host_terminal.h"
#include "tests/support/p11.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct { /* keys that it has made */
    CK_OBJECT_HANDLE handle;
    CK_KEY_TYPE type;
    uint8_t value[32];
    size_t len;
} known[64];
static size_t known_count;
static int wraps_wrongly, unwraps_wrongly;
static const struct kl_stored_key *stored;
static const uint8_t *stored_value;
static CK_FUNCTION_LIST before;
static struct { /* the last key of those that it wrapped by AES key wrap */
    uint8_t data[KL_CTMK_LEN_MAX];
    size_t len, at;
} travelling;

static void remember(CK_OBJECT_HANDLE handle, CK_KEY_TYPE type, const uint8_t *value, size_t len)
{
    size_t at = known_count++ % COUNT(known);

    ck_assert_uint_le(len, sizeof(known[at].value));
    known[at].handle = handle;
    known[at].type = type;
    known[at].len = len;
    memcpy(known[at].value, value, len);
}

/* COUNT(known): it is none of them. */
static size_t look_up(CK_OBJECT_HANDLE handle)
{
    size_t end = known_count < COUNT(known) ? known_count : COUNT(known);

    for (size_t i = end; i-- > 0;) {
        if (known[i].handle == handle) {
            return i;
        }
    }
    return COUNT(known);
}

static size_t find_known(CK_OBJECT_HANDLE handle)
{
    size_t at = look_up(handle);

    ck_assert_msg(at < COUNT(known), "key %lu is of no known value", handle);
    return at;
}

static const CK_ATTRIBUTE *attribute(const CK_ATTRIBUTE *attrs, CK_ULONG count,
                                     CK_ATTRIBUTE_TYPE type)
{
    for (CK_ULONG i = 0; i < count; i++) {
        if (attrs[i].type == type) {
            return &attrs[i];
        }
    }
    return NULL;
}

static CK_KEY_TYPE type_of(const CK_ATTRIBUTE *attrs, CK_ULONG count)
{
    return *(const CK_KEY_TYPE *)attribute(attrs, count, CKA_KEY_TYPE)->pValue;
}

static CK_RV creates(CK_SESSION_HANDLE s, CK_ATTRIBUTE *attrs, CK_ULONG count,
                     CK_OBJECT_HANDLE *handle)
{
    const CK_ATTRIBUTE *value = attribute(attrs, count, CKA_VALUE);
    CK_RV rv = before.C_CreateObject(s, attrs, count, handle);

    if (rv == CKR_OK && value) {
        remember(*handle, type_of(attrs, count), value->pValue, value->ulValueLen);
    }
    return rv;
}

static CK_RV generates(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_ATTRIBUTE *attrs,
                       CK_ULONG count, CK_OBJECT_HANDLE *handle)
{
    const CK_ATTRIBUTE *len = attribute(attrs, count, CKA_VALUE_LEN);
    CK_ATTRIBUTE full[32];
    uint8_t value[32];
    CK_ULONG n = 0, value_len = mechanism->mechanism == CKM_DES2_KEY_GEN ? 16 : 24;

    value_len = len ? *(CK_ULONG *)len->pValue : value_len;
    ck_assert(RAND_bytes(value, sizeof(value)) == 1);
    full[n++] = (CK_ATTRIBUTE){CKA_VALUE, value, value_len};
    for (CK_ULONG i = 0; i < count; i++) {
        if (attrs[i].type != CKA_VALUE_LEN) {
            full[n++] = attrs[i];
        }
    }
    return creates(s, full, n, handle);
}

static const char *ecb_of(size_t at)
{
    return known[at].type == CKK_DES2 ? "DES-EDE-ECB" : "DES-EDE3-ECB";
}

/* By TDES-ECB: the value goes into the template, in place of nothing. */
static CK_RV unwraps_tdes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE unwrapping,
                          const unsigned char *wrapped, CK_ULONG len, const CK_ATTRIBUTE *attrs,
                          CK_ULONG count, CK_OBJECT_HANDLE *handle)
{
    size_t kek = find_known(unwrapping);
    CK_ATTRIBUTE full[32];
    uint8_t value[32];
    CK_ULONG n = 0;

    ck_assert(p11_uses(unwrapping) == KL_CAN_UNWRAP);
    ck_assert_uint_eq(ht_pass(ecb_of(kek), 0, known[kek].value, wrapped, len, value), len);
    value[0] ^= (uint8_t)unwraps_wrongly;
    full[n++] = (CK_ATTRIBUTE){CKA_VALUE, value, len};
    for (CK_ULONG i = 0; i < count; i++) {
        if (attrs[i].type != CKA_VALUE_LEN) {
            full[n++] = attrs[i];
        }
    }
    return creates(s, full, n, handle);
}

static CK_RV unwraps(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE unwrapping,
                     unsigned char *wrapped, CK_ULONG len, CK_ATTRIBUTE *attrs, CK_ULONG count,
                     CK_OBJECT_HANDLE *handle)
{
    CK_RV rv;

    if (mechanism->mechanism == CKM_DES3_ECB) {
        return unwraps_tdes(s, unwrapping, wrapped, len, attrs, count, handle);
    }
    rv = before.C_UnwrapKey(s, mechanism, unwrapping, wrapped, len, attrs, count, handle);
    if (rv == CKR_OK && len == stored->cryptogram_len &&
        memcmp(wrapped, stored->cryptogram, len) == 0) {
        remember(*handle, type_of(attrs, count), stored_value, kl_alg_info(stored->alg)->key_len);
    } else if (rv == CKR_OK && len == travelling.len &&
               memcmp(wrapped, travelling.data, len) == 0) {
        remember(*handle, type_of(attrs, count), known[travelling.at].value,
                 known[travelling.at].len);
    }
    return rv;
}

/* By AES key wrap. */
static CK_RV wraps_aes(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping,
                       CK_OBJECT_HANDLE key, unsigned char *result, CK_ULONG *len)
{
    size_t at = look_up(key);
    CK_RV rv = before.C_WrapKey(s, mechanism, wrapping, key, result, len);

    if (rv == CKR_OK && at < COUNT(known)) {
        memcpy(travelling.data, result, *len);
        travelling.len = *len;
        travelling.at = at;
    }
    return rv;
}

static CK_RV wraps(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping,
                   CK_OBJECT_HANDLE key, unsigned char *result, CK_ULONG *len)
{
    size_t kek, at;

    if (mechanism->mechanism != CKM_DES3_ECB) {
        return wraps_aes(s, mechanism, wrapping, key, result, len);
    }
    kek = find_known(wrapping);
    at = find_known(key);
    ck_assert(p11_uses(wrapping) == KL_CAN_WRAP);
    ck_assert_uint_eq(ht_pass(ecb_of(kek), 1, known[kek].value, known[at].value, known[at].len,
                              result),
                      known[at].len);
    if (wraps_wrongly) {
        result[known[at].len - 1] ^= 1;
    }
    *len = known[at].len;
    return CKR_OK;
}

void tdes_token(const struct kl_stored_key *key, const uint8_t *value)
{
    stored = key;
    stored_value = value;
    before = *hsm.f;
    hsm.f->C_CreateObject = creates;
    hsm.f->C_GenerateKey = generates;
    hsm.f->C_UnwrapKey = unwraps;
    hsm.f->C_WrapKey = wraps;
}

void tdes_token_lies(int when_wrapping, int when_unwrapping)
{
    wraps_wrongly = when_wrapping;
    unwraps_wrongly = when_unwrapping;
}
