/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkcs11/loader: whole loads of every suite on a SoftHSM, the terminal's side computed by OpenSSL
 * alone (host_terminal.h); several work keys at once; imported TMKs; what a load costs.
 */
#include <check.h>
#include <openssl/ec.h>
#include <string.h>

#include "pkcs11/keys.h"
#include "pkcs11/ops.h"
#include "tests/support/fake_p11.h"
#include "tests/support/host_terminal.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"
#include "tests/support/watch.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Every kind of work key, and the strongest TMK that it may carry. */
static const struct {
    struct ht_key key;
    enum kl_alg strongest;
} kinds[] = {
    {{KL_SUITE_HARDENED_RSA, 2048}, KL_ALG_TDES3},  {{KL_SUITE_HARDENED_RSA, 3072}, KL_ALG_AES128},
    {{KL_SUITE_HARDENED_RSA, 4096}, KL_ALG_AES128}, {{KL_SUITE_CLASSIC, 2048}, KL_ALG_TDES3},
    {{KL_SUITE_CLASSIC, 3072}, KL_ALG_AES128},      {{KL_SUITE_HARDENED_EC, 256}, KL_ALG_AES128},
    {{KL_SUITE_HARDENED_EC, 384}, KL_ALG_AES192},   {{KL_SUITE_HARDENED_EC, 521}, KL_ALG_AES256},
};

static const struct ht_key one_of_each[] = {{KL_SUITE_HARDENED_RSA, 2048},
                                            {KL_SUITE_CLASSIC, 2048},
                                            {KL_SUITE_HARDENED_EC, 256}};

/* ---- Every suite, key and algorithm ---- */

/* What is too strong is refused before the private key is used. */
START_TEST(a_key_carries_what_it_is_strong_enough_for)
{
    ht_setup(kinds[_i].key);
    for (enum kl_alg alg = 1; alg <= KL_ALG_COUNT; alg++) {
        ht_messages(alg);
        fake_p11_reset();
        if (alg <= kinds[_i].strongest) {
            ck_ok(ht_run());
            ht_check_load(alg);
        } else {
            ht_refused(KL_ERR_STRENGTH);
            ck_assert_uint_eq(fake_p11_calls(FAKE_C_UnwrapKey), 0);
            ck_assert_uint_eq(fake_p11_calls(FAKE_C_DecryptInit), 0);
            ck_assert_uint_eq(fake_p11_calls(FAKE_C_DeriveKey), 0);
        }
    }
}
END_TEST

START_TEST(loads_anything_when_strength_only_warns)
{
    static const enum kl_alg algs[] = {KL_ALG_AES128, KL_ALG_AES192, KL_ALG_AES256};
    struct kl_loader_config warn = p11_config;

    ht_setup(one_of_each[_i]);
    warn.strength_enforce = 0;
    ht_open(&warn);
    ht_choose("work");
    for (size_t i = 0; i < COUNT(algs); i++) {
        ht_messages(algs[i]);
        ck_ok(ht_run());
        ht_check_load(algs[i]);
    }
}
END_TEST

START_TEST(every_load_draws_a_fresh_tmk)
{
    struct kl_load_out first;

    ht_setup(one_of_each[_i]);
    ck_ok(ht_run());
    first = term->out;
    ck_ok(ht_run());
    ck_assert_mem_ne(first.cryptogram, term->out.cryptogram, first.cryptogram_len);
}
END_TEST

/* Two operations of the work key; the rest is of session keys. */
START_TEST(a_load_costs_two_private_operations)
{
    static const struct {
        unsigned unwraps, decrypts, derives, signs, creates;
    } costs[] = {
        {1, 1, 4, 5, 0}, /* OAEP; GCM; four purposes; PSS and four CMACs, one of them the binding */
        {0, 1, 3, 6, 2}, /* OAEP by C_Decrypt; three purposes; a MAC more; Rnd1' twice */
        {1, 1, 6, 5, 0}, /* AES key wrap; GCM; ECDH, K_ecies and four purposes; ECDSA, CMACs */
    };

    ht_setup(one_of_each[_i]);
    fake_p11_reset();
    ck_ok(ht_run());
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_UnwrapKey), costs[_i].unwraps);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Decrypt), costs[_i].decrypts);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_DeriveKey), costs[_i].derives);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_SignInit), costs[_i].signs);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_CreateObject), costs[_i].creates);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_OpenSession), 0);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Login), 0);
}
END_TEST

START_TEST(softhsm_takes_oaep_with_sha1_only)
{
    ht_setup(one_of_each[_i]);
    ck_assert_int_eq(term->oaep_hash, KL_OAEP_SHA1);
}
END_TEST

/* A shared X with zeros in front keeps them: tokens that drop them would take other 32 bytes. */
START_TEST(ecdh_keeps_leading_zeros)
{
    static const unsigned sizes[] = {256, 384, 521};
    EVP_PKEY *ephemeral = NULL;
    uint8_t x[66];
    size_t len;

    ht_setup((struct ht_key){KL_SUITE_HARDENED_EC, sizes[_i]});
    for (;;) {
        char group[32];
        ck_assert(EVP_PKEY_get_group_name(term->public_key, group, sizeof(group), NULL) == 1);
        ephemeral = EVP_EC_gen(group);
        len = ht_ecdh(ephemeral, term->public_key, x);
        ck_assert_uint_eq(len, (sizes[_i] + 7) / 8);
        if (x[0] == 0 && (len != 66 || x[1] == 0)) {
            break;
        }
        EVP_PKEY_free(ephemeral);
    }
    EVP_PKEY_free(term->ephemeral);
    term->ephemeral = ephemeral;
    ht_messages(KL_ALG_TDES3);
    ck_ok(ht_run());
    ht_check_load(KL_ALG_TDES3);
}
END_TEST

/* A token that takes points only in one of the two forms that PKCS#11 allows. */
static CK_FUNCTION_LIST real;
static int takes_der;
static CK_RV takes_one_form(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                            CK_ATTRIBUTE *attrs, CK_ULONG count, CK_OBJECT_HANDLE *out)
{
    const CK_ECDH1_DERIVE_PARAMS *params = mechanism->pParameter;

    if (mechanism->mechanism == CKM_ECDH1_DERIVE &&
        (params->public_data_len == kl_curve_by_bits(384)->point_len) == takes_der) {
        return CKR_MECHANISM_PARAM_INVALID;
    }
    return real.C_DeriveKey(s, mechanism, base, attrs, count, out);
}

START_TEST(points_go_in_the_form_that_the_token_takes)
{
    ht_setup((struct ht_key){KL_SUITE_HARDENED_EC, 384});
    real = *hsm.f;
    hsm.f->C_DeriveKey = takes_one_form;
    takes_der = _i;
    ht_open(&p11_config);
    ht_choose("work");
    ht_messages(KL_ALG_AES192);
    ck_ok(ht_run());
    ht_check_load(KL_ALG_AES192);
}
END_TEST

/* ---- One use each ---- */

/* With a TMK of either kind, generated and imported. */
START_TEST(every_key_of_a_load_has_one_use)
{
    /* Rnd1', four purposes, TMK; Rnd1' twice, three purposes, TMK; EC's two besides. */
    static const unsigned keys_made[] = {6, 6, 8};
    struct kl_stored_key tmk;

    ht_setup((struct ht_key){one_of_each[_i].suite,
                             one_of_each[_i].suite == KL_SUITE_HARDENED_EC ? 256 : 3072});
    watch_keys();
    for (enum kl_alg alg = KL_ALG_TDES3; alg <= KL_ALG_AES128; alg++) {
        for (int imported = 0; imported < 2; imported++) {
            ht_messages(alg);
            if (imported) {
                tmk = p11_stored_key(alg, NULL, KL_BINDING_IMPORT, "T-0001", 0);
                term->in.tmk = &tmk;
            }
            watch_seen = 0;
            ck_ok(ht_run());
            ck_assert_uint_eq(watch_seen, keys_made[_i]);
            term->in.tmk = NULL;
        }
    }
}
END_TEST

/* ---- Several work keys ---- */

static const struct kl_loader_config several = {
    .work_keys = {{"work", 0}, {"gone", 1}, {"ec", 0}, {"classic", 1}},
    .work_key_count = 4,
    .storage_key = "storage",
    .binding_key = "binding",
    .strength_enforce = 1,
};

static void setup_several(void)
{
    ht_setup(one_of_each[0]);
    ht_make_key("ec", (struct ht_key){KL_SUITE_HARDENED_EC, 521});
    ht_make_key("classic", (struct ht_key){KL_SUITE_CLASSIC, 2048});
    ht_open(&several);
}

START_TEST(each_work_key_serves_its_suite)
{
    static const struct {
        const char *label;
        enum kl_suite suite;
        enum kl_alg alg;
    } expected[] = {{"work", KL_SUITE_HARDENED_RSA, KL_ALG_TDES2},
                    {"ec", KL_SUITE_HARDENED_EC, KL_ALG_AES256},
                    {"classic", KL_SUITE_CLASSIC, KL_ALG_TDES3}};
    struct kl_loader_key keys[KL_LOADER_KEYS_MAX];

    setup_several();
    ck_assert_uint_eq(kl_loader_keys(loader, keys), COUNT(expected));
    for (size_t i = 0; i < COUNT(expected); i++) {
        ck_assert_str_eq(keys[i].label, expected[i].label);
        ck_assert_int_eq(keys[i].suite, expected[i].suite);
        ck_assert_int_eq(keys[i].oaep_hash, KL_OAEP_SHA1);
        ht_choose(expected[i].label);
        ht_messages(expected[i].alg);
        ck_ok(ht_run());
        ht_check_load(expected[i].alg);
    }
}
END_TEST

/* Every key with every other key's messages: no key serves two suites. */
START_TEST(no_work_key_serves_another_suite)
{
    static const char *const labels[] = {"work", "ec", "classic"};

    setup_several();
    for (size_t i = 0; i < COUNT(labels); i++) {
        for (size_t j = 0; j < COUNT(labels); j++) {
            if (i == j) {
                continue;
            }
            ht_choose(labels[i]);
            ht_messages(KL_ALG_TDES2);
            term->in.work_key = labels[j];
            fake_p11_reset();
            ht_refused(KL_ERR_UNSUPPORTED);
            ck_assert_uint_eq(fake_p11_calls(FAKE_C_UnwrapKey), 0);
            ck_assert_uint_eq(fake_p11_calls(FAKE_C_DecryptInit), 0);
            ck_assert_uint_eq(fake_p11_calls(FAKE_C_DeriveKey), 0);
        }
    }
}
END_TEST

/* Not even past our own checks: a classic key does not unwrap, and so on. */
START_TEST(the_token_itself_holds_keys_to_their_suite)
{
    static const struct {
        enum kl_suite suite;
        unsigned bits;
    } table[] = {{KL_SUITE_HARDENED_RSA, 2048}, {KL_SUITE_CLASSIC, 2048}};
    CK_OBJECT_HANDLE handle, rnd1 = CK_INVALID_HANDLE;
    struct kl_secret *block = NULL;
    EVP_PKEY *key = NULL;
    enum kl_suite suite;
    uint8_t sig[KL_RSA_MAX];
    size_t len = 0;
    int classic = table[_i].suite == KL_SUITE_CLASSIC;

    ht_setup((struct ht_key){table[_i].suite, table[_i].bits});
    const struct kl_randoms *randoms = &term->msg.u.randoms;
    ck_ok(kl_pair_find_work(hsm.session, "work", &suite, &handle, &key, &err));
    EVP_PKEY_free(key);
    ck_assert_int_eq(suite, table[_i].suite);
    ck_ok(kl_secret_new(KL_RSA_MAX, &block, &err));
    ck_assert_int_eq(kl_op_unwrap_rnd1(hsm.session, handle, KL_OAEP_SHA1, randoms->c_rnd1, 256,
                                       &rnd1, &err) == KL_OK,
                     !classic);
    ck_assert_int_eq(kl_op_decrypt_oaep(hsm.session, handle, KL_OAEP_SHA1, randoms->c_rnd1, 256, 64,
                                        block, &err) == KL_OK,
                     classic);
    ck_assert_int_eq(kl_op_sign_recover(hsm.session, handle, sig, 56, sig, sizeof(sig), &len,
                                        &err) == KL_OK,
                     classic);
    ck_assert_int_eq(kl_op_sign_pss(hsm.session, handle, sig, 56, sig, sizeof(sig), &len, &err) ==
                         KL_OK,
                     !classic);
    kl_secret_free(block);
}
END_TEST

START_TEST(a_job_for_a_key_that_is_not_served)
{
    ht_setup(one_of_each[0]);
    ht_make_key("other", one_of_each[0]);
    term->in.work_key = "other";
    ck_rc(ht_run(), KL_ERR_UNAVAILABLE); /* no trouble of the HSM's */
    ck_says("\"other\"");
}
END_TEST

static void open_fails(const struct kl_loader_config *config, const char *text)
{
    struct kl_loader *none = NULL;

    ck_rc(kl_loader_open(hsm.token, config, &none, &err), KL_ERR_KEY);
    ck_assert_ptr_null(none);
    ck_says(text);
}

START_TEST(optional_keys_may_be_absent_only)
{
    struct kl_loader_config config = several;

    ht_setup(one_of_each[0]);
    config.work_keys[2].optional = 1;
    ht_open(&config); /* only "work" is there */
    config.work_keys[1].optional = 0;
    open_fails(&config, "\"gone\"");
    config.work_keys[1].optional = 1;
    ck_ok(kl_pair_destroy(hsm.session, "work", &err));
    open_fails(&config, "\"work\"");
    config.work_keys[0].optional = 1;
    open_fails(&config, "none of the work keys");
    /* There, but not as it must be. */
    EVP_PKEY *key = NULL;
    ck_ok(kl_pair_generate(hsm.session, KL_PAIR_CA, "gone", KL_KEY_RSA, 2048, &key, &err));
    EVP_PKEY_free(key);
    open_fails(&config, "\"gone\"");
}
END_TEST

START_TEST(bounds_of_the_configuration)
{
    struct kl_loader_config config = p11_config;
    char label[KL_KEY_LABEL_MAX + 2];
    struct kl_loader *none = NULL;

    ht_setup(one_of_each[2]);
    config.work_key_count = 0;
    ck_rc(kl_loader_open(hsm.token, &config, &none, &err), KL_ERR_INTERNAL);
    config.work_key_count = KL_LOADER_KEYS_MAX + 1;
    ck_rc(kl_loader_open(hsm.token, &config, &none, &err), KL_ERR_INTERNAL);
    memset(label, 'x', sizeof(label));
    label[sizeof(label) - 1] = '\0';
    config.work_key_count = 1;
    config.work_keys[0].label = label;
    open_fails(&config, "at most 64 bytes");
}
END_TEST

/* ---- Imported TMKs ---- */

/* What an import leaves in the store for the terminal. */
static struct kl_stored_key waiting(enum kl_alg alg)
{
    return p11_stored_key(alg, NULL, KL_BINDING_IMPORT, "T-0001", 0);
}

/* It arrives as it is, attempt after attempt; the KCV is computed, not believed. */
START_TEST(an_imported_tmk_arrives)
{
    static const struct ht_key keys[] = {{KL_SUITE_HARDENED_RSA, 2048},
                                         {KL_SUITE_CLASSIC, 2048},
                                         {KL_SUITE_HARDENED_EC, 521}};

    ht_setup(keys[_i]);
    for (enum kl_alg alg = 1; alg <= (_i == 2 ? KL_ALG_AES256 : KL_ALG_TDES3); alg++) {
        struct kl_stored_key tmk = waiting(alg);

        ht_messages(alg);
        term->in.tmk = &tmk;
        for (int attempt = 0; attempt < 2; attempt++) {
            ck_ok(ht_run());
            ht_check_load(alg);
            ck_assert_mem_eq(term->out.kcv, tmk.kcv, 4);
            ck_assert_uint_eq(term->out.cryptogram_len, tmk.cryptogram_len);
            ck_assert_mem_eq(term->out.cryptogram, tmk.cryptogram, tmk.cryptogram_len);
        }
        term->in.tmk = NULL;
    }
}
END_TEST

START_TEST(an_imported_tmk_is_held_to_its_strength)
{
    struct kl_stored_key tmk;

    ht_setup(one_of_each[_i]);
    tmk = waiting(KL_ALG_AES192);
    ht_messages(KL_ALG_AES192);
    term->in.tmk = &tmk;
    ht_refused(KL_ERR_STRENGTH);
}
END_TEST

/* The store's fault, not the peer's. */
START_TEST(a_bad_cryptogram_is_the_stores)
{
    struct kl_stored_key tmk;

    ht_setup(one_of_each[0]);
    tmk = waiting(KL_ALG_TDES2);
    term->in.tmk = &tmk;
    tmk.cryptogram[3] ^= 1;
    ht_refused(KL_ERR_STORE);
    ck_says("changed from outside");
    p11_bind(&tmk, KL_BINDING_IMPORT, "T-0001", 0); /* as if our own import had gone wrong */
    ht_refused(KL_ERR_STORE);
    ck_says("store's cryptogram");
    tmk = waiting(KL_ALG_TDES2);
    tmk.cryptogram_len -= 8;
    p11_bind(&tmk, KL_BINDING_IMPORT, "T-0001", 0);
    ht_refused(KL_ERR_STORE);
    tmk = waiting(KL_ALG_TDES3); /* another algorithm than the job's */
    ht_refused(KL_ERR_STORE);
    tmk.alg = KL_ALG_TDES2;
    p11_bind(&tmk, KL_BINDING_IMPORT, "T-0001", 0);
    ht_refused(KL_ERR_STORE);
    ck_says("32 bytes instead of 24");
}
END_TEST

/* A whole key, and a binding of ours; but to something else. The work key is not even asked. */
START_TEST(a_key_of_another_is_not_loaded)
{
    static const struct {
        enum kl_binding_kind kind;
        const char *serial;
        uint32_t version;
    } table[] = {
        {KL_BINDING_IMPORT, "T-0002", 0}, {KL_BINDING_TMK, "T-0001", 1},
        {KL_BINDING_TMK, "T-0002", 1},    {KL_BINDING_PIK, "T-0001", 1},
        {KL_BINDING_MAK, "T-0001", 1},    {KL_BINDING_IMPORT, "T-00010", 0},
    };
    struct kl_stored_key tmk, good;

    ht_setup(one_of_each[0]);
    tmk = p11_stored_key(KL_ALG_TDES2, NULL, table[_i].kind, table[_i].serial, table[_i].version);
    term->in.tmk = &tmk;
    fake_p11_reset();
    ht_refused(KL_ERR_STORE);
    ck_assert_str_eq(err.text, "the imported key that waits for terminal T-0001 is not as "
                               "keyloader wrote it: the store was changed from outside");
    good = waiting(KL_ALG_TDES2); /* both are whole, but neither is the other */
    memcpy(tmk.binding, good.binding, sizeof(tmk.binding));
    ht_refused(KL_ERR_STORE);
    tmk = good;
    tmk.kcv[0] ^= 1; /* a KCV of another key */
    ht_refused(KL_ERR_STORE);
    tmk.kcv[0] ^= 1;
    ck_ok(ht_run());
    ht_check_load(KL_ALG_TDES2);
}
END_TEST

START_TEST(the_work_key_does_nothing_for_a_changed_store)
{
    struct kl_stored_key tmk;

    ht_setup(one_of_each[1]);
    tmk = p11_stored_key(KL_ALG_TDES2, NULL, KL_BINDING_IMPORT, "T-0002", 0);
    term->in.tmk = &tmk;
    ht_refused(KL_ERR_STORE); /* with it goes the known answer, once a second */
    fake_p11_reset();
    ht_refused(KL_ERR_STORE);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_DecryptInit), 0);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_UnwrapKey), 0);
}
END_TEST

static Suite *loader_suite(void)
{
    Suite *suite = suite_create("loader");
    TCase *loads = tcase_create("loads"), *keys = tcase_create("work keys"),
          *imported = tcase_create("imported TMKs");
    TCase *const cases[] = {loads, keys, imported};

    for (int i = 0; i < 3; i++) {
        tcase_add_checked_fixture(cases[i], NULL, ht_teardown);
        tcase_set_timeout(cases[i], 120);
        suite_add_tcase(suite, cases[i]);
    }
    tcase_add_loop_test(loads, a_key_carries_what_it_is_strong_enough_for, 0, COUNT(kinds));
    tcase_add_loop_test(loads, loads_anything_when_strength_only_warns, 0, 3);
    tcase_add_loop_test(loads, every_load_draws_a_fresh_tmk, 0, 3);
    tcase_add_loop_test(loads, a_load_costs_two_private_operations, 0, 3);
    tcase_add_loop_test(loads, softhsm_takes_oaep_with_sha1_only, 0, 2);
    tcase_add_loop_test(loads, ecdh_keeps_leading_zeros, 0, 3);
    tcase_add_loop_test(loads, points_go_in_the_form_that_the_token_takes, 0, 2);
    tcase_add_loop_test(loads, every_key_of_a_load_has_one_use, 0, 3);
    tcase_add_test(keys, each_work_key_serves_its_suite);
    tcase_add_test(keys, no_work_key_serves_another_suite);
    tcase_add_loop_test(keys, the_token_itself_holds_keys_to_their_suite, 0, 2);
    tcase_add_test(keys, a_job_for_a_key_that_is_not_served);
    tcase_add_test(keys, optional_keys_may_be_absent_only);
    tcase_add_test(keys, bounds_of_the_configuration);
    tcase_add_loop_test(imported, an_imported_tmk_arrives, 0, 3);
    tcase_add_loop_test(imported, an_imported_tmk_is_held_to_its_strength, 0, 3);
    tcase_add_test(imported, a_bad_cryptogram_is_the_stores);
    tcase_add_loop_test(imported, a_key_of_another_is_not_loaded, 0, 6);
    tcase_add_test(imported, the_work_key_does_nothing_for_a_changed_store);
    return suite;
}

int main(void)
{
    return test_run(loader_suite());
}
