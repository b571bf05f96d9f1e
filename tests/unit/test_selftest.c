/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkcs11/loader's opening and self-test: keys that are missing or wrong, and tokens that lack an
 * operation, are told by name before anybody is served.
 */
#include "pkcs11/loader.h"

#include <check.h>
#include <string.h>

#include "pkcs11/binding.h"
#include "pkcs11/keys.h"
#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "pkcs11/tmpl.h"
#include "tests/support/fake_p11.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

static struct kl_loader *loader;
static struct kl_err err = KL_ERR_INIT;

static void setup(void)
{
    p11_open();
    p11_make_keys(2048);
}

static void teardown(void)
{
    kl_loader_free(loader);
    p11_close();
}

static void open_fails(enum kl_rc rc, const char *text)
{
    ck_rc(kl_loader_open(hsm.token, &p11_config, &loader, &err), rc);
    ck_assert_ptr_null(loader);
    ck_says(text);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
}

START_TEST(missing_work_key)
{
    ck_ok(kl_pair_destroy(hsm.session, "work", &err));
    open_fails(KL_ERR_KEY, "work key \"work\": not on the token");
}
END_TEST

START_TEST(missing_storage_key)
{
    CK_OBJECT_HANDLE handle;

    ck_ok(kl_storage_key_find(hsm.session, "storage", &handle, &err));
    kl_op_destroy(hsm.session, &handle);
    open_fails(KL_ERR_KEY, "storage key \"storage\": not on the token");
}
END_TEST

START_TEST(missing_binding_key)
{
    CK_OBJECT_HANDLE handle;

    ck_ok(kl_binding_key_find(hsm.session, "binding", &handle, &err));
    kl_op_destroy(hsm.session, &handle);
    open_fails(KL_ERR_KEY, "binding key \"binding\": not on the token");
}
END_TEST

/* A pair made by hand, as another program might. */
static void generate_by_hand(CK_BBOOL decrypt)
{
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ULONG bits = 2048;
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE public[] = {{CKA_TOKEN, &yes, 1},
                             {CKA_MODULUS_BITS, &bits, sizeof(bits)},
                             {CKA_PUBLIC_EXPONENT, (uint8_t[]){1, 0, 1}, 3}};
    CK_ATTRIBUTE private[] = {
        {CKA_TOKEN, &yes, 1},      {CKA_PRIVATE, &yes, 1},     {CKA_LABEL, (char[]){"work"}, 4},
        {CKA_SENSITIVE, &yes, 1},  {CKA_SIGN, &yes, 1},        {CKA_UNWRAP, &yes, 1},
        {CKA_EXTRACTABLE, &no, 1}, {CKA_DECRYPT, &decrypt, 1}, {CKA_SIGN_RECOVER, &no, 1},
        {CKA_DERIVE, &no, 1},
    };
    CK_OBJECT_HANDLE handles[2];

    ck_assert_uint_eq(hsm.f->C_GenerateKeyPair(hsm.s, &mechanism, public, 3, private, 10,
                                               &handles[0], &handles[1]),
                      CKR_OK);
}

START_TEST(work_key_that_decrypts)
{
    ck_ok(kl_pair_destroy(hsm.session, "work", &err));
    generate_by_hand(CK_TRUE);
    open_fails(KL_ERR_KEY, "CKA_DECRYPT is true, must be false");
}
END_TEST

START_TEST(work_key_without_unwrap_template)
{
    ck_ok(kl_pair_destroy(hsm.session, "work", &err));
    generate_by_hand(CK_FALSE);
    open_fails(KL_ERR_KEY, "CKA_UNWRAP_TEMPLATE does not bind");
}
END_TEST

/* A template that lacks the nth of the demands; the caller's buffers hold it. */
static void template_without(const struct kl_demands *demands, size_t nth, struct kl_tmpl *out)
{
    struct kl_demand list[KL_TMPL_MAX];
    struct kl_demands rest = {list, 0};

    for (size_t i = 0; i < demands->count; i++) {
        if (i != nth) {
            list[rest.count++] = demands->list[i];
        }
    }
    kl_tmpl_init(out);
    kl_demands_add(&rest, out);
}

/* A template with one demand too few is found out, and the attribute named. The class (0) is not
 * tried: SoftHSM unwraps nothing else by these mechanisms. */
START_TEST(work_key_whose_template_lacks_one)
{
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ULONG bits = 2048;
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE public[] = {{CKA_TOKEN, &yes, 1},
                             {CKA_MODULUS_BITS, &bits, sizeof(bits)},
                             {CKA_PUBLIC_EXPONENT, (uint8_t[]){1, 0, 1}, 3}};
    struct kl_tmpl unwrap;

    template_without(&kl_rnd1_demands, (size_t)_i, &unwrap);
    CK_ATTRIBUTE private[] = {
        {CKA_TOKEN, &yes, 1},
        {CKA_PRIVATE, &yes, 1},
        {CKA_LABEL, (char[]){"work"}, 4},
        {CKA_SENSITIVE, &yes, 1},
        {CKA_SIGN, &yes, 1},
        {CKA_UNWRAP, &yes, 1},
        {CKA_EXTRACTABLE, &no, 1},
        {CKA_DECRYPT, &no, 1},
        {CKA_SIGN_RECOVER, &no, 1},
        {CKA_DERIVE, &no, 1},
        {CKA_UNWRAP_TEMPLATE, unwrap.attrs, unwrap.count * sizeof(CK_ATTRIBUTE)},
    };
    CK_OBJECT_HANDLE handles[2];

    ck_ok(kl_pair_destroy(hsm.session, "work", &err));
    ck_assert_uint_eq(hsm.f->C_GenerateKeyPair(hsm.s, &mechanism, public, 3, private, 11,
                                               &handles[0], &handles[1]),
                      CKR_OK);
    open_fails(KL_ERR_KEY, "work key's CKA_UNWRAP_TEMPLATE does not bind");
    ck_says(kl_rnd1_demands.list[_i].name);
}
END_TEST

static void storage_key_by_hand(struct kl_tmpl *unwrap)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE handle;
    struct kl_tmpl tmpl;

    ck_ok(kl_storage_key_find(hsm.session, "storage", &handle, &err));
    kl_op_destroy(hsm.session, &handle);
    kl_tmpl_init(&tmpl);
    kl_tmpl_number(&tmpl, CKA_VALUE_LEN, 32);
    kl_tmpl_bool(&tmpl, CKA_TOKEN, 1);
    kl_tmpl_bool(&tmpl, CKA_PRIVATE, 1);
    kl_tmpl_bool(&tmpl, CKA_SENSITIVE, 1);
    kl_tmpl_bool(&tmpl, CKA_EXTRACTABLE, 0);
    kl_tmpl_bytes(&tmpl, CKA_LABEL, "storage", 7);
    kl_tmpl_can(&tmpl, CKO_SECRET_KEY, KL_CAN_WRAP | KL_CAN_UNWRAP);
    if (unwrap) {
        kl_tmpl_nested(&tmpl, CKA_UNWRAP_TEMPLATE, unwrap);
    }
    ck_assert_uint_eq(hsm.f->C_GenerateKey(hsm.s, &mechanism, tmpl.attrs, tmpl.count, &handle),
                      CKR_OK);
}

START_TEST(storage_key_without_unwrap_template)
{
    storage_key_by_hand(NULL);
    open_fails(KL_ERR_KEY, "storage key's CKA_UNWRAP_TEMPLATE does not bind");
}
END_TEST

START_TEST(storage_key_whose_template_lacks_one)
{
    struct kl_tmpl unwrap;

    template_without(&kl_tmk_demands, (size_t)_i, &unwrap);
    storage_key_by_hand(&unwrap);
    open_fails(KL_ERR_KEY, "storage key's CKA_UNWRAP_TEMPLATE does not bind");
    ck_says(kl_tmk_demands.list[_i].name);
}
END_TEST

START_TEST(two_work_keys)
{
    generate_by_hand(CK_FALSE);
    open_fails(KL_ERR_KEY, "several");
}
END_TEST

/* ---- Tokens that lack an operation, or do it wrongly ---- */

/* Another work key in place of the one that is there. */
static void replace_work_key(enum kl_suite suite, unsigned bits)
{
    EVP_PKEY *key = NULL;

    ck_ok(kl_pair_destroy(hsm.session, "work", &err));
    ck_ok(kl_pair_generate(hsm.session, kl_pair_role_of(suite), "work", kl_suite_key_type(suite),
                           bits, &key, &err));
    EVP_PKEY_free(key);
}

/* Told by name, whatever it answers. */
START_TEST(selftest_names_what_is_missing)
{
    static const struct {
        enum kl_suite suite;
        enum fake_p11_fn fn;
        CK_RV rv;
        const char *text;
    } lacks[] = {
        {1, FAKE_C_UnwrapKey, CKR_MECHANISM_INVALID, "C_UnwrapKey(CKM_RSA_PKCS_OAEP)"},
        {1, FAKE_C_DeriveKey, CKR_MECHANISM_INVALID, "C_DeriveKey(CKM_AES_ECB_ENCRYPT_DATA)"},
        {1, FAKE_C_DeriveKey, CKR_GENERAL_ERROR, "C_DeriveKey(CKM_AES_ECB_ENCRYPT_DATA)"},
        {1, FAKE_C_WrapKey, CKR_FUNCTION_FAILED, "C_WrapKey(CKM_RSA_PKCS_OAEP)"},
        {1, FAKE_C_GenerateKey, CKR_MECHANISM_INVALID, "C_GenerateKey(CKM_AES_KEY_GEN)"},
        {1, FAKE_C_Decrypt, CKR_FUNCTION_FAILED, "C_Decrypt(CKM_AES_GCM)"},
        {1, FAKE_C_EncryptInit, CKR_MECHANISM_INVALID, "C_Encrypt(CKM_AES_GCM)"},
        {1, FAKE_C_SignInit, CKR_MECHANISM_INVALID, "C_Sign(CKM_AES_CMAC)"},
        {1, FAKE_C_GenerateRandom, CKR_RANDOM_NO_RNG, "C_GenerateRandom"},
        {2, FAKE_C_DecryptInit, CKR_MECHANISM_INVALID, "C_Decrypt(CKM_RSA_PKCS_OAEP)"},
        {2, FAKE_C_CreateObject, CKR_ATTRIBUTE_VALUE_INVALID, "C_CreateObject"},
        {2, FAKE_C_SignInit, CKR_MECHANISM_INVALID, "C_Sign(CKM_AES_CMAC)"},
        {3, FAKE_C_DeriveKey, CKR_MECHANISM_INVALID, "C_DeriveKey(CKM_ECDH1_DERIVE)"},
        {3, FAKE_C_UnwrapKey, CKR_GENERAL_ERROR, "C_UnwrapKey(CKM_AES_KEY_WRAP)"},
        {3, FAKE_C_GenerateKeyPair, CKR_MECHANISM_INVALID, "CKM_EC_KEY_PAIR_GEN"},
    };

    if (lacks[_i].suite != KL_SUITE_HARDENED_RSA) {
        replace_work_key(lacks[_i].suite, lacks[_i].suite == KL_SUITE_CLASSIC ? 2048 : 256);
    }
    fake_p11_fail(lacks[_i].fn, 0, lacks[_i].rv);
    open_fails(KL_ERR_HSM_LACKS, lacks[_i].text);
    ck_assert_int_eq(strncmp(err.text, "self-test: ", 11), 0);
    ck_says("work key \"work\"");
}
END_TEST

/* The first work key is good, the last one's token calls fail: every key is tried. */
START_TEST(every_work_key_is_tried)
{
    const struct kl_loader_config both = {
        .work_keys = {{"work", 0}, {"ec", 0}},
        .work_key_count = 2,
        .storage_key = "storage",
        .binding_key = "binding",
        .strength_enforce = 1,
    };
    EVP_PKEY *key = NULL;

    ck_ok(kl_pair_generate(hsm.session, KL_PAIR_WORK_EC, "ec", KL_KEY_EC, 384, &key, &err));
    EVP_PKEY_free(key);
    ck_ok(kl_loader_open(hsm.token, &both, &loader, &err));
    kl_loader_free(loader);
    loader = NULL;
    fake_p11_fail(FAKE_C_GenerateKeyPair, 0, CKR_MECHANISM_INVALID);
    ck_rc(kl_loader_open(hsm.token, &both, &loader, &err), KL_ERR_HSM_LACKS);
    ck_says("work key \"ec\" (hardened-ec)");
}
END_TEST

/* SoftHSM does OAEP with SHA-1 only: that it takes when told to, and no other. EC keys have none.
 */
START_TEST(oaep_hash_that_is_wanted)
{
    struct kl_loader_config config = p11_config;
    struct kl_loader_key keys[KL_LOADER_KEYS_MAX];

    config.oaep_hash = KL_OAEP_SHA1;
    ck_ok(kl_loader_open(hsm.token, &config, &loader, &err));
    ck_assert_uint_eq(kl_loader_keys(loader, keys), 1);
    ck_assert_int_eq(keys[0].oaep_hash, KL_OAEP_SHA1);
    kl_loader_free(loader);
    loader = NULL;
    config.oaep_hash = KL_OAEP_SHA256;
    ck_rc(kl_loader_open(hsm.token, &config, &loader, &err), KL_ERR_HSM_LACKS);
    ck_says("RSA-OAEP with SHA-256, as [policy] oaep-hash wants it");
    replace_work_key(KL_SUITE_HARDENED_EC, 256);
    ck_ok(kl_loader_open(hsm.token, &config, &loader, &err));
}
END_TEST

/* As many loads as there are algorithms that the key is strong enough for. */
START_TEST(selftest_loads_what_the_key_carries)
{
    static const struct {
        enum kl_suite suite;
        unsigned bits, loads;
    } table[] = {{KL_SUITE_HARDENED_RSA, 2048, 2}, {KL_SUITE_CLASSIC, 2048, 2},
                 {KL_SUITE_HARDENED_RSA, 3072, 3}, {KL_SUITE_HARDENED_EC, 256, 3},
                 {KL_SUITE_HARDENED_EC, 384, 4},   {KL_SUITE_HARDENED_EC, 521, 5}};
    struct kl_loader_config warn = p11_config;
    unsigned enforced;

    replace_work_key(table[_i].suite, table[_i].bits);
    fake_p11_reset();
    ck_ok(kl_loader_open(hsm.token, &p11_config, &loader, &err));
    enforced = fake_p11_calls(FAKE_C_SignInit);
    kl_loader_free(loader);
    loader = NULL;
    warn.strength_enforce = 0;
    fake_p11_reset();
    ck_ok(kl_loader_open(hsm.token, &warn, &loader, &err));
    /* A load signs once, and MACs six times; with an AES key three KCVs more. In classic both ends
     * make the MAC of MasterKey besides. */
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_SignInit) - enforced,
                      (5 - table[_i].loads) * (table[_i].suite == KL_SUITE_CLASSIC ? 12 : 10));
}
END_TEST

static CK_FUNCTION_LIST real;

/* Flips a bit of what C_Sign gives: of MACs, or of signatures. */
static int of_signatures;
static CK_RV signs_wrongly(CK_SESSION_HANDLE s, unsigned char *in, CK_ULONG in_len,
                           unsigned char *out, CK_ULONG *len)
{
    CK_RV rv = real.C_Sign(s, in, in_len, out, len);

    if (rv == CKR_OK && (*len > KL_MAC_LEN) == of_signatures) {
        out[*len / 2] ^= 1;
    }
    return rv;
}

START_TEST(a_wrong_mac_or_signature_is_found)
{
    if (_i % 3 > 0) {
        replace_work_key(_i % 3 == 1 ? KL_SUITE_CLASSIC : KL_SUITE_HARDENED_EC,
                         _i % 3 == 1 ? 2048 : 521);
    }
    of_signatures = _i / 3;
    real = *hsm.f;
    hsm.f->C_Sign = signs_wrongly;
    open_fails(KL_ERR_HSM_LACKS, of_signatures ? "C_Sign by the work key" : "a wrong result");
}
END_TEST

/* A token whose ECDH gives something else than everybody's: here, that of another point. */
static CK_RV derives_wrongly(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                             CK_ATTRIBUTE *attrs, CK_ULONG count, CK_OBJECT_HANDLE *out)
{
    CK_ECDH1_DERIVE_PARAMS *params = mechanism->pParameter;
    CK_ECDH1_DERIVE_PARAMS other;
    CK_MECHANISM changed = {CKM_ECDH1_DERIVE, &other, sizeof(other)};
    static uint8_t point[KL_EC_POINT_MAX];
    static size_t len;

    if (mechanism->mechanism != CKM_ECDH1_DERIVE) {
        return real.C_DeriveKey(s, mechanism, base, attrs, count, out);
    }
    if (len == 0) {
        len = params->public_data_len;
        memcpy(point, params->public_data, len);
    }
    other = *params;
    other.public_data = point;
    other.public_data_len = len;
    return real.C_DeriveKey(s, &changed, base, attrs, count, out);
}

START_TEST(a_wrong_ecdh_is_found)
{
    static const unsigned sizes[] = {256, 384, 521};

    replace_work_key(KL_SUITE_HARDENED_EC, sizes[_i]);
    real = *hsm.f;
    hsm.f->C_DeriveKey = derives_wrongly;
    open_fails(KL_ERR_HSM_LACKS, "C_UnwrapKey(CKM_AES_KEY_WRAP)");
}
END_TEST

/* A key wrap that gives, a second time, what it gave the first time under the same key; but the
 * first so many are as they should be. */
static unsigned good_wraps;
static struct {
    CK_OBJECT_HANDLE kek;
    uint8_t wrapped[KL_CTMK_LEN_MAX];
    CK_ULONG len;
} given[64];
static size_t given_count;

static CK_RV wraps_once(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE kek,
                        CK_OBJECT_HANDLE key, unsigned char *out, CK_ULONG *len)
{
    CK_RV rv = real.C_WrapKey(s, mechanism, kek, key, out, len);

    if (rv != CKR_OK || mechanism->mechanism != CKM_AES_KEY_WRAP) {
        return rv;
    }
    for (size_t i = 0; i < given_count; i++) {
        if (given[i].kek == kek && given[i].len == *len) {
            if (good_wraps > 0) {
                good_wraps--;
            } else {
                memcpy(out, given[i].wrapped, *len);
            }
            return CKR_OK;
        }
    }
    good_wraps -= good_wraps > 0;
    ck_assert_uint_lt(given_count, 64);
    given[given_count].kek = kek;
    given[given_count].len = *len;
    memcpy(given[given_count++].wrapped, out, *len);
    return CKR_OK;
}

START_TEST(a_wrong_key_wrap_is_found)
{
    static const char *const texts[] = {"self-test: sign-in: ",
                                        "TMK under the storage key: CKM_AES_KEY_WRAP does not",
                                        "self-test: sign-in: CKM_AES_KEY_WRAP does not give back"};

    if (_i == 1) { /* of TMKs, two have the same length */
        replace_work_key(KL_SUITE_HARDENED_EC, 256);
    }
    if (_i == 2) { /* only the very last: MAK's, for the store */
        fake_p11_reset();
        ck_ok(kl_loader_open(hsm.token, &p11_config, &loader, &err));
        /* C_WrapKey was also called for the OAEP of each load, once by TDES-ECB, and twice to be
         * refused. */
        good_wraps = fake_p11_calls(FAKE_C_WrapKey) - 6;
        kl_loader_free(loader);
        loader = NULL;
    }
    real = *hsm.f;
    hsm.f->C_WrapKey = wraps_once;
    open_fails(KL_ERR_HSM_LACKS, texts[_i]);
}
END_TEST

/* The nth C_Decrypt, or C_Sign, from now on goes wrong by a bit. */
static unsigned until_wrong;
static CK_RV decrypts_wrongly_once(CK_SESSION_HANDLE s, unsigned char *in, CK_ULONG in_len,
                                   unsigned char *out, CK_ULONG *len)
{
    CK_RV rv = real.C_Decrypt(s, in, in_len, out, len);

    if (rv == CKR_OK && --until_wrong == 0) {
        out[*len - 1] ^= 1;
    }
    return rv;
}

static CK_RV signs_wrongly_once(CK_SESSION_HANDLE s, unsigned char *in, CK_ULONG in_len,
                                unsigned char *out, CK_ULONG *len)
{
    CK_RV rv = real.C_Sign(s, in, in_len, out, len);

    if (rv == CKR_OK && --until_wrong == 0) {
        out[0] ^= 1;
    }
    return rv;
}

/* Rnd2' first in the known answer, then in a load. (With an EC key one wrong known answer only
 * makes the other form of points be tried, so 4 is left out.) */
START_TEST(a_wrong_rnd2_is_found)
{
    static const char *const texts[] = {"a wrong result", "gives back another text"};

    if (_i / 2 > 0) {
        replace_work_key(_i / 2 == 1 ? KL_SUITE_CLASSIC : KL_SUITE_HARDENED_EC,
                         _i / 2 == 1 ? 2048 : 256);
    }
    real = *hsm.f;
    hsm.f->C_Decrypt = decrypts_wrongly_once;
    until_wrong = (unsigned)_i % 2 + 1;
    open_fails(KL_ERR_HSM_LACKS, texts[_i % 2]);
}
END_TEST

/* The last MAC of all is the sign-in's. */
START_TEST(a_wrong_mac_of_the_sign_in_is_found)
{
    fake_p11_reset();
    ck_ok(kl_loader_open(hsm.token, &p11_config, &loader, &err));
    until_wrong = fake_p11_calls(FAKE_C_Sign);
    kl_loader_free(loader);
    loader = NULL;
    real = *hsm.f;
    hsm.f->C_Sign = signs_wrongly_once;
    open_fails(KL_ERR_HSM_LACKS, "self-test: sign-in: C_Sign(CKM_AES_CMAC) gives another MAC");
}
END_TEST

/* After the known answer's MAC: the TMK's binding, the signature, Loaded's and Done's MACs. */
START_TEST(a_wrong_mac_of_a_load_is_found)
{
    static const unsigned nth[] = {4, 5};

    real = *hsm.f;
    hsm.f->C_Sign = signs_wrongly_once;
    until_wrong = nth[_i];
    open_fails(KL_ERR_HSM_LACKS, "load of a TMK tdes2: C_Sign(CKM_AES_CMAC) gives another MAC");
}
END_TEST

/* MACs under the binding key differ from call to call: nothing could ever be verified. */
static CK_RV binds_at_random(CK_SESSION_HANDLE s, unsigned char *in, CK_ULONG in_len,
                             unsigned char *out, CK_ULONG *len)
{
    static unsigned char calls;
    CK_RV rv = real.C_Sign(s, in, in_len, out, len);

    if (rv == CKR_OK && in_len > sizeof(KL_BINDING_PREFIX) &&
        memcmp(in, KL_BINDING_PREFIX, sizeof(KL_BINDING_PREFIX)) == 0) {
        out[0] = calls++;
    }
    return rv;
}

START_TEST(a_wrong_binding_is_found)
{
    real = *hsm.f;
    hsm.f->C_Sign = binds_at_random;
    open_fails(KL_ERR_HSM_LACKS, "self-test: sign-in: binding key: C_Sign(CKM_AES_CMAC) gives "
                                 "another MAC");
}
END_TEST

START_TEST(selftest_tries_a_sign_in)
{
    unsigned calls;

    fake_p11_reset();
    ck_ok(kl_loader_open(hsm.token, &p11_config, &loader, &err));
    calls = fake_p11_calls(FAKE_C_GenerateKey);
    kl_loader_free(loader);
    loader = NULL;
    fake_p11_reset();
    fake_p11_fail(FAKE_C_GenerateKey, calls, CKR_FUNCTION_FAILED); /* the last one */
    open_fails(KL_ERR_HSM_LACKS, "self-test: sign-in: ");
}
END_TEST

START_TEST(selftest_passes_on_a_lost_token)
{
    fake_p11_fail(FAKE_C_UnwrapKey, 0, CKR_DEVICE_REMOVED);
    open_fails(KL_ERR_TOKEN, "CKR_DEVICE_REMOVED");
}
END_TEST

/* The same keys on the same token, once nothing is in the way. */
START_TEST(good_token_opens)
{
    ck_ok(kl_loader_open(hsm.token, &p11_config, &loader, &err));
    struct kl_loader_key keys[KL_LOADER_KEYS_MAX];
    ck_assert_uint_eq(kl_loader_keys(loader, keys), 1);
    ck_assert_int_eq(EVP_PKEY_get_bits(keys[0].public_key), 2048);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
}
END_TEST

static Suite *selftest_suite(void)
{
    Suite *suite = suite_create("selftest");
    TCase *cases = tcase_create("open");

    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, good_token_opens);
    tcase_add_test(cases, missing_work_key);
    tcase_add_test(cases, missing_storage_key);
    tcase_add_test(cases, missing_binding_key);
    tcase_add_test(cases, work_key_that_decrypts);
    tcase_add_test(cases, work_key_without_unwrap_template);
    tcase_add_loop_test(cases, work_key_whose_template_lacks_one, 1, (int)kl_rnd1_demands.count);
    tcase_add_test(cases, storage_key_without_unwrap_template);
    tcase_add_loop_test(cases, storage_key_whose_template_lacks_one, 1, (int)kl_tmk_demands.count);
    tcase_add_test(cases, two_work_keys);
    tcase_add_test(cases, selftest_passes_on_a_lost_token);
    tcase_add_loop_test(cases, selftest_names_what_is_missing, 0, 15);
    tcase_add_test(cases, every_work_key_is_tried);
    tcase_add_test(cases, oaep_hash_that_is_wanted);
    tcase_add_loop_test(cases, selftest_loads_what_the_key_carries, 0, 6);
    tcase_add_loop_test(cases, a_wrong_mac_or_signature_is_found, 0, 6);
    tcase_add_loop_test(cases, a_wrong_ecdh_is_found, 0, 3);
    tcase_add_test(cases, selftest_tries_a_sign_in);
    tcase_add_loop_test(cases, a_wrong_key_wrap_is_found, 0, 3);
    tcase_add_loop_test(cases, a_wrong_rnd2_is_found, 0, 4);
    tcase_add_loop_test(cases, a_wrong_rnd2_is_found, 5, 6);
    tcase_add_test(cases, a_wrong_mac_of_the_sign_in_is_found);
    tcase_add_loop_test(cases, a_wrong_mac_of_a_load_is_found, 0, 2);
    tcase_add_test(cases, a_wrong_binding_is_found);
    suite_add_tcase(suite, cases);
    return suite;
}

int main(void)
{
    return test_run(selftest_suite());
}
