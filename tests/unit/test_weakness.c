/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Key policy that a module does not enforce: found, named, refused unless accepted; and what nobody
 * may accept. Session copies of token keys.
 */
#include "pkcs11/weakness.h"

#include <check.h>
#include <string.h>

#include "pkcs11/auditkey.h"
#include "pkcs11/keys.h"
#include "pkcs11/loader.h"
#include "pkcs11/object.h"
#include "tests/support/fake_p11.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

static struct kl_err err = KL_ERR_INIT;
static struct kl_loader *loader;
static CK_FUNCTION_LIST real;

static void setup(void)
{
    EVP_PKEY *key = NULL;

    p11_open();
    ck_ok(kl_pair_generate(hsm.session, KL_PAIR_WORK_EC, "work", KL_KEY_EC, 256, &key, &err));
    EVP_PKEY_free(key);
    p11_make_store_keys();
    real = *hsm.f;
}

static void teardown(void)
{
    *hsm.f = real;
    kl_loader_free(loader);
    p11_close();
}

static int changed; /* an attribute, as any_set lets one think */

static enum kl_rc open_accepting(unsigned accept)
{
    struct kl_loader_config config = p11_config;

    config.accept = accept;
    config.audit_key = "audit";
    changed = 0;
    return kl_loader_open(hsm.token, &config, &loader, &err);
}

/* ---- Modules that let something through ---- */

/* Mechanisms: what is asked for is done by one that the key allows. */
static CK_RV any_sign_init(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    CK_MECHANISM allowed = {CKM_ECDSA, NULL, 0};

    return real.C_SignInit(s, mechanism->mechanism == CKM_ECDSA_SHA256 ? &allowed : mechanism, key);
}

static CK_RV any_wrap(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE kek,
                      CK_OBJECT_HANDLE key, unsigned char *out, CK_ULONG *len)
{
    CK_RV rv = real.C_WrapKey(s, mechanism, kek, key, out, len);

    return rv == CKR_KEY_UNEXTRACTABLE ? CKR_OK : rv;
}

static CK_RV any_copy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attrs, CK_ULONG n,
                      CK_OBJECT_HANDLE *out)
{
    if (n > 1) { /* the tries of token keys are another weakness */
        return real.C_CopyObject(s, object, attrs, n, out);
    }
    *out = CK_INVALID_HANDLE;
    return CKR_OK;
}

static CK_RV any_set(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attrs, CK_ULONG n)
{
    (void)s, (void)object, (void)attrs, (void)n;
    changed = 1;
    return CKR_OK;
}

static CK_RV get_changed(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attrs,
                         CK_ULONG n)
{
    CK_RV rv = real.C_GetAttributeValue(s, object, attrs, n);

    if (rv == CKR_OK && changed && attrs->type == CKA_DECRYPT) {
        *(CK_BBOOL *)attrs->pValue = CK_TRUE;
    }
    return rv;
}

/* The storage key's template: what is asked against it is granted, with what it does bind. */
static CK_RV any_unwrap(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE kek,
                        unsigned char *in, CK_ULONG len, CK_ATTRIBUTE *attrs, CK_ULONG n,
                        CK_OBJECT_HANDLE *out)
{
    static CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE derive = {CKA_DERIVE, &yes, 1};
    CK_RV rv = real.C_UnwrapKey(s, mechanism, kek, in, len, attrs, n, out);

    if (rv == CKR_OK) {
        return rv;
    }
    for (CK_ULONG i = 0; i < n; i++) {
        if (attrs[i].type == CKA_DERIVE && *(CK_BBOOL *)attrs[i].pValue) {
            CK_ULONG class = CKO_SECRET_KEY, type = CKK_AES, value_len = 16;
            CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
            CK_ATTRIBUTE own[] = {{CKA_CLASS, &class, sizeof(class)},
                                  {CKA_KEY_TYPE, &type, sizeof(type)},
                                  {CKA_VALUE_LEN, &value_len, sizeof(value_len)},
                                  derive};
            return real.C_GenerateKey(s, &generate, own, 4, out);
        }
    }
    return rv;
}

/* Token keys: one that decrypts by a mechanism, whose value of a kind can be read, or of which a
 * copy is had that may do more (an object of that attribute, as SoftHSM copies nothing). */
static struct {
    CK_MECHANISM_TYPE decrypts;
    CK_ATTRIBUTE_TYPE reads, copies;
    const char *label; /* of the key that is read */
    int begun;
    unsigned copied, destroyed;
} loose;

static CK_RV loose_decrypt_init(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    loose.begun = mechanism->mechanism == loose.decrypts;
    return loose.begun ? CKR_OK : real.C_DecryptInit(s, mechanism, key);
}

static CK_RV loose_decrypt(CK_SESSION_HANDLE s, unsigned char *in, CK_ULONG len, unsigned char *out,
                           CK_ULONG *out_len)
{
    if (loose.begun) {
        loose.begun = 0;
        *out_len = 16;
        return CKR_OK;
    }
    return real.C_Decrypt(s, in, len, out, out_len);
}

static CK_RV loose_get(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attrs,
                       CK_ULONG n)
{
    char label[KL_KEY_LABEL_MAX];
    CK_ATTRIBUTE is = {CKA_LABEL, label, sizeof(label)};

    if (attrs->type == loose.reads && real.C_GetAttributeValue(s, object, &is, 1) == CKR_OK &&
        is.ulValueLen == strlen(loose.label) && memcmp(label, loose.label, is.ulValueLen) == 0) {
        attrs->ulValueLen = 16;
        return CKR_OK;
    }
    return real.C_GetAttributeValue(s, object, attrs, n);
}

static CK_RV loose_copy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attrs,
                        CK_ULONG n, CK_OBJECT_HANDLE *out)
{
    CK_ULONG class = CKO_SECRET_KEY, type = CKK_AES, value_len = 16;
    CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE own[] = {{CKA_CLASS, &class, sizeof(class)},
                          {CKA_KEY_TYPE, &type, sizeof(type)},
                          {CKA_VALUE_LEN, &value_len, sizeof(value_len)},
                          {0}};

    if (n < 2 || attrs[1].type != loose.copies) {
        return real.C_CopyObject(s, object, attrs, n, out);
    }
    loose.copied++;
    own[3] = attrs[1];
    return real.C_GenerateKey(s, &generate, own, 4, out);
}

static CK_RV loose_destroy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object)
{
    loose.destroyed++;
    return real.C_DestroyObject(s, object);
}

static void loosen(CK_MECHANISM_TYPE decrypts, CK_ATTRIBUTE_TYPE reads, const char *label,
                   CK_ATTRIBUTE_TYPE copies)
{
    memset(&loose, 0, sizeof(loose));
    loose.decrypts = decrypts;
    loose.reads = reads;
    loose.label = label;
    loose.copies = copies;
    hsm.f->C_DecryptInit = loose_decrypt_init;
    hsm.f->C_Decrypt = loose_decrypt;
    hsm.f->C_GetAttributeValue = loose_get;
    hsm.f->C_CopyObject = loose_copy;
}

#define NONE CK_UNAVAILABLE_INFORMATION

static void weaken(enum kl_weakness weakness)
{
    switch (weakness) {
    case KL_WEAK_EXTRACTABLE:
        hsm.f->C_WrapKey = any_wrap;
        break;
    case KL_WEAK_UNWRAP_TEMPLATE:
        hsm.f->C_UnwrapKey = any_unwrap;
        break;
    case KL_WEAK_ALLOWED_MECHANISMS:
        hsm.f->C_SignInit = any_sign_init;
        break;
    case KL_WEAK_COPYABLE:
        hsm.f->C_CopyObject = any_copy;
        break;
    case KL_WEAK_USAGE:
        loosen(CKM_AES_KEY_WRAP, NONE, "", NONE);
        break;
    case KL_WEAK_SENSITIVE:
        loosen(NONE, CKA_VALUE, "work", NONE);
        break;
    case KL_WEAK_COPY_LIMITS:
        loosen(NONE, NONE, "", CKA_EXTRACTABLE);
        break;
    default:
        hsm.f->C_SetAttributeValue = any_set;
        hsm.f->C_GetAttributeValue = get_changed;
    }
}

START_TEST(each_is_found_named_and_accepted)
{
    static const char *const where[] = {
        [KL_WEAK_EXTRACTABLE] = "binding key's CKA_EXTRACTABLE does not keep it from being wrapped",
        [KL_WEAK_UNWRAP_TEMPLATE] = "storage key's CKA_UNWRAP_TEMPLATE does not bind CKA_DERIVE",
        [KL_WEAK_ALLOWED_MECHANISMS] =
            "work key's CKA_ALLOWED_MECHANISMS does not keep it from CKM_ECDSA_SHA256",
        [KL_WEAK_COPYABLE] = "CKA_COPYABLE does not keep it from being copied, with CKA_DECRYPT",
        [KL_WEAK_MODIFIABLE] = "CKA_MODIFIABLE does not keep its CKA_DECRYPT from being changed",
        [KL_WEAK_USAGE] = "CKA_DECRYPT of the storage key does not keep it from decrypting by "
                          "CKM_AES_KEY_WRAP",
        [KL_WEAK_SENSITIVE] = "CKA_SENSITIVE of the work key does not keep its CKA_VALUE from "
                              "being read",
        [KL_WEAK_COPY_LIMITS] = "the storage key can be copied with CKA_EXTRACTABLE true",
    };
    const enum kl_weakness weakness = (enum kl_weakness)_i;

    weaken(weakness);
    ck_rc(open_accepting(0), KL_ERR_KEY);
    ck_says("self-test: not in [hsm] accept: ");
    ck_says(kl_weakness_name(weakness));
    ck_says(where[_i]);
    ck_rc(open_accepting(KL_WEAK_ALL & ~KL_WEAK_BIT(weakness)), KL_ERR_KEY);
    ck_ok(open_accepting(KL_WEAK_BIT(weakness)));
    ck_assert_uint_eq(kl_loader_weaknesses(loader)->found, KL_WEAK_BIT(weakness));
    ck_assert_str_eq(strstr(kl_loader_weaknesses(loader)->where[_i], where[_i]) ? "" : "no", "");
}
END_TEST

START_TEST(a_good_module_has_none)
{
    ck_ok(open_accepting(0));
    ck_assert_uint_eq(kl_loader_weaknesses(loader)->found, 0);
}
END_TEST

/* ---- Each try of the token keys ---- */

/* Opened with all accepted, it has found that one, which is said of that key. */
static void ck_finds(enum kl_weakness weakness, const char *where)
{
    const struct kl_weaknesses *weak;

    ck_ok(open_accepting(KL_WEAK_ALL));
    weak = kl_loader_weaknesses(loader);
    ck_assert_uint_eq(weak->found, KL_WEAK_BIT(weakness));
    ck_assert_msg(strstr(weak->where[weakness], where) != NULL, "\"%s\" is not in: %s", where,
                  weak->where[weakness]);
    kl_loader_free(loader);
    loader = NULL;
}

START_TEST(keys_that_decrypt)
{
    static const struct {
        CK_MECHANISM_TYPE type;
        const char *where;
    } table[] = {{CKM_AES_ECB, "the storage key does not keep it from decrypting by CKM_AES_ECB"},
                 {CKM_AES_CBC, "the storage key does not keep it from decrypting by CKM_AES_CBC"},
                 {CKM_RSA_PKCS_OAEP, "the work key does not keep it from decrypting by "
                                     "CKM_RSA_PKCS_OAEP"},
                 {CKM_RSA_PKCS, "the work key does not keep it from decrypting by CKM_RSA_PKCS"},
                 {CKM_RSA_X_509, "the work key does not keep it from decrypting by "
                                 "CKM_RSA_X_509"}};
    EVP_PKEY *key = NULL;

    ck_ok(kl_pair_destroy(hsm.session, "work", &err));
    ck_ok(kl_pair_generate(hsm.session, KL_PAIR_WORK, "work", KL_KEY_RSA, 2048, &key, &err));
    EVP_PKEY_free(key);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        loosen(table[i].type, NONE, "", NONE);
        ck_finds(KL_WEAK_USAGE, table[i].where);
    }
    loosen(NONE, CKA_PRIME_2, "work", NONE);
    ck_finds(KL_WEAK_SENSITIVE, "the work key does not keep its CKA_PRIME_2 from being read");
}
END_TEST

START_TEST(keys_that_can_be_read)
{
    static const struct {
        const char *label, *where;
    } table[] = {{"storage", "the storage key does not keep its CKA_VALUE"},
                 {"binding", "the binding key does not keep its CKA_VALUE"},
                 {"audit", "the audit key does not keep its CKA_VALUE"}};
    EVP_PKEY *key = NULL;

    ck_ok(kl_audit_key_generate(hsm.session, "audit", &key, &err));
    EVP_PKEY_free(key);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        loosen(NONE, CKA_VALUE, table[i].label, NONE);
        ck_finds(KL_WEAK_SENSITIVE, table[i].where);
    }
}
END_TEST

/* And whatever was made is gone again. */
START_TEST(keys_whose_copies_do_more)
{
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        const char *where;
    } table[] = {{CKA_DECRYPT, "the work key can be copied with CKA_DECRYPT true"},
                 {CKA_EXTRACTABLE, "the binding key can be copied with CKA_EXTRACTABLE true"},
                 {CKA_SENSITIVE, "the storage key can be copied with CKA_SENSITIVE false"}};
    unsigned destroyed;

    hsm.f->C_DestroyObject = loose_destroy;
    loosen(NONE, NONE, "", NONE);
    ck_ok(open_accepting(0));
    destroyed = loose.destroyed;
    kl_loader_free(loader);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        loosen(NONE, NONE, "", table[i].type);
        ck_finds(KL_WEAK_COPY_LIMITS, table[i].where);
        ck_assert_uint_eq(loose.copied, 3);
        ck_assert_uint_eq(loose.destroyed, destroyed + 3);
    }
}
END_TEST

/* ---- What nobody may accept ---- */

static CK_RV get_value(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attrs,
                       CK_ULONG n)
{
    return attrs->type == CKA_VALUE ? CKR_OK : real.C_GetAttributeValue(s, object, attrs, n);
}

static CK_RV encrypt_init(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    CK_RV rv = real.C_EncryptInit(s, mechanism, key);

    return mechanism->mechanism == CKM_AES_ECB ? CKR_OK : rv;
}

START_TEST(readable_or_abused_is_the_end)
{
    if (_i == 0) {
        hsm.f->C_GetAttributeValue = get_value;
    } else {
        hsm.f->C_EncryptInit = encrypt_init;
    }
    ck_rc(open_accepting(KL_WEAK_ALL), KL_ERR_HSM_LACKS);
    ck_says(_i == 0 ? "CKA_SENSITIVE of a TMK" : "CKA_ENCRYPT of the storage key");
}
END_TEST

/* ---- Session copies ---- */

/* SoftHSM copies none of our keys, as they are not CKA_MODIFIABLE; so here the copy is the key
 * itself, which a search no longer tells from a token object. */
static CK_ATTRIBUTE_TYPE spoilt;
static CK_RV copy_is_key(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attrs,
                         CK_ULONG n, CK_OBJECT_HANDLE *out)
{
    if (n != 1 || attrs->type != CKA_TOKEN) {
        return real.C_CopyObject(s, object, attrs, n, out);
    }
    *out = object | 0x40000000;
    return CKR_OK;
}

static CK_OBJECT_HANDLE original(CK_OBJECT_HANDLE object)
{
    return object & ~(CK_OBJECT_HANDLE)0x40000000;
}

static CK_RV get_of_copy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attrs,
                         CK_ULONG n)
{
    CK_RV rv = real.C_GetAttributeValue(s, original(object), attrs, n);

    if (rv == CKR_OK && original(object) != object && attrs->type == CKA_TOKEN) {
        *(CK_BBOOL *)attrs->pValue = CK_FALSE;
    }
    if (rv == CKR_OK && original(object) != object && attrs->type == spoilt) {
        *(CK_BBOOL *)attrs->pValue ^= 1;
    }
    return rv;
}

static void copying(CK_ATTRIBUTE_TYPE spoil)
{
    spoilt = spoil;
    hsm.f->C_CopyObject = copy_is_key;
    hsm.f->C_GetAttributeValue = get_of_copy;
}

static enum kl_rc open_copies(void)
{
    struct kl_loader_config config = p11_config;

    config.session_copies = 1;
    return kl_loader_open(hsm.token, &config, &loader, &err);
}

/* A copy may be made and not be used: it, too, must not be changed. */
static CK_RV set_of_copy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attrs,
                         CK_ULONG n)
{
    if (original(object) == object) {
        return real.C_SetAttributeValue(s, object, attrs, n);
    }
    spoilt = attrs->type;
    return CKR_OK;
}

START_TEST(a_copy_that_can_be_changed)
{
    copying(NONE);
    hsm.f->C_SetAttributeValue = set_of_copy;
    ck_finds(KL_WEAK_MODIFIABLE, "CKA_MODIFIABLE of a copy of the binding key does not keep its "
                                 "CKA_DECRYPT from being changed");
}
END_TEST

/* What is used in place of the key is tried as the key is. */
static CK_RV sign_init_of_copy(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return real.C_SignInit(s, mechanism, original(key));
}

static CK_RV derive_of_copy(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                            CK_ATTRIBUTE *attrs, CK_ULONG n, CK_OBJECT_HANDLE *out)
{
    return real.C_DeriveKey(s, mechanism, original(base), attrs, n, out);
}

static CK_RV wrap_of_copy(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE kek,
                          CK_OBJECT_HANDLE key, unsigned char *out, CK_ULONG *len)
{
    return real.C_WrapKey(s, mechanism, original(kek), original(key), out, len);
}

static CK_RV unwrap_of_copy(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE kek,
                            unsigned char *in, CK_ULONG len, CK_ATTRIBUTE *attrs, CK_ULONG n,
                            CK_OBJECT_HANDLE *out)
{
    return real.C_UnwrapKey(s, mechanism, original(kek), in, len, attrs, n, out);
}

/* Copies decrypt; their originals do not. */
static CK_RV decrypt_init_of_copy(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism,
                                  CK_OBJECT_HANDLE key)
{
    loose.begun = mechanism->mechanism == loose.decrypts && original(key) != key;
    return loose.begun ? CKR_OK : real.C_DecryptInit(s, mechanism, key);
}

START_TEST(a_copy_in_use_is_tried)
{
    struct kl_loader_config config = p11_config;

    loosen(CKM_AES_ECB, NONE, "", NONE);
    copying(NONE);
    hsm.f->C_DecryptInit = decrypt_init_of_copy;
    hsm.f->C_SignInit = sign_init_of_copy;
    hsm.f->C_DeriveKey = derive_of_copy;
    hsm.f->C_WrapKey = wrap_of_copy;
    hsm.f->C_UnwrapKey = unwrap_of_copy;
    config.session_copies = 1;
    ck_rc(kl_loader_open(hsm.token, &config, &loader, &err), KL_ERR_KEY);
    ck_says("not in [hsm] accept: no-usage; CKA_DECRYPT of the storage key's session copy does "
            "not keep it from decrypting by CKM_AES_ECB");
}
END_TEST

/* A copy that is less secret than the key, or may do more, is not used. */
START_TEST(a_copy_of_more_power_is_refused)
{
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        const char *says;
    } table[] = {{CKA_SENSITIVE, "storage key: CKA_SENSITIVE is false"},
                 {CKA_EXTRACTABLE, "storage key: CKA_EXTRACTABLE is true"},
                 {CKA_DECRYPT, "storage key: CKA_DECRYPT is true"},
                 {CKA_SIGN, "storage key: CKA_SIGN is true"}};

    copying(table[_i].type);
    ck_rc(open_copies(), KL_ERR_KEY);
    ck_says("session copy: ");
    ck_says(table[_i].says);
}
END_TEST

START_TEST(a_token_that_copies_nothing_says_so)
{
    ck_assert_int_ne(open_copies(), KL_OK);
    ck_says("storage key cannot be copied: [hsm] session-copies must be no: C_CopyObject");
}
END_TEST

/* ---- Names ---- */

START_TEST(names)
{
    char all[KL_WEAK_NAMES_MAX];

    kl_weakness_names(0, all);
    ck_assert_str_eq(all, "none");
    kl_weakness_names(KL_WEAK_ALL, all);
    ck_assert_str_eq(all, "no-extractable, no-unwrap-template, no-allowed-mechanisms, no-copyable, "
                          "no-modifiable, no-usage, no-sensitive, no-copy-limits");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("weakness");
    TCase *tc = tcase_create("weakness");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_loop_test(tc, each_is_found_named_and_accepted, 0, KL_WEAK_COUNT);
    tcase_add_test(tc, a_good_module_has_none);
    tcase_add_test(tc, keys_that_decrypt);
    tcase_add_test(tc, keys_that_can_be_read);
    tcase_add_test(tc, keys_whose_copies_do_more);
    tcase_add_loop_test(tc, readable_or_abused_is_the_end, 0, 2);
    tcase_add_test(tc, a_copy_that_can_be_changed);
    tcase_add_test(tc, a_copy_in_use_is_tried);
    tcase_add_loop_test(tc, a_copy_of_more_power_is_refused, 0, 4);
    tcase_add_test(tc, a_token_that_copies_nothing_says_so);
    tcase_add_test(tc, names);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
