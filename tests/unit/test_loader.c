/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkcs11/loader: whole loads on a SoftHSM, the terminal's side computed here by
 * OpenSSL alone, from docs/protocol.md; then every bad input, and a failure of every PKCS#11 call.
 */
#include "pkcs11/loader.h"

#include <check.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pkcs11/keys.h"
#include "pkcs11/ops.h"
#include "pkcs11/rv.h"
#include "tests/support/fake_p11.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"

static struct kl_loader *loader;
static struct kl_err err = KL_ERR_INIT;

/* ---- The terminal, by OpenSSL ---- */

struct terminal {
    uint8_t rnd1[64], rnd2[32], iv[12];
    size_t rnd1_len;
    uint8_t hello[KL_MSG_MAX], certificate[KL_MSG_MAX], randoms[KL_MSG_MAX];
    size_t hello_len, certificate_len, randoms_len;
    uint8_t t0[32], t1[32], t2[32];
    struct kl_msg msg;
    struct kl_load_in in;
    struct kl_load_out out;
};

static struct terminal *term;

static void sha256(const struct kl_bytes *parts, size_t count, uint8_t out[32])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    ck_assert(EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1);
    for (size_t i = 0; i < count; i++) {
        ck_assert(EVP_DigestUpdate(ctx, parts[i].data, parts[i].len) == 1);
    }
    ck_assert(EVP_DigestFinal_ex(ctx, out, NULL) == 1);
    EVP_MD_CTX_free(ctx);
}

/* AES-ECB(Rnd1, SHA-256("keyloader/1 " purpose NUL T0)) */
static void derive(const char *purpose, uint8_t key[32])
{
    const EVP_CIPHER *cipher = term->rnd1_len == 16 ? EVP_aes_128_ecb() : EVP_aes_256_ecb();
    const struct kl_bytes parts[] = {{(const uint8_t *)"keyloader/1 ", 12},
                                     {(const uint8_t *)purpose, strlen(purpose) + 1},
                                     {term->t0, 32}};
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t label[32];
    int len = 0;

    sha256(parts, 3, label);
    ck_assert(EVP_EncryptInit_ex2(ctx, cipher, term->rnd1, NULL, NULL) == 1);
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    ck_assert(EVP_EncryptUpdate(ctx, key, &len, label, 32) == 1 && len == 32);
    EVP_CIPHER_CTX_free(ctx);
}

static void encrypt_rnd1(uint8_t *out, size_t *len)
{
    const EVP_MD *md = kl_loader_oaep_hash(loader) == KL_OAEP_SHA1 ? EVP_sha1() : EVP_sha256();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(kl_loader_public(loader), NULL);

    *len = KL_RSA_MAX;
    ck_assert(EVP_PKEY_encrypt_init(ctx) == 1);
    ck_assert(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1);
    ck_assert(EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) == 1);
    ck_assert(EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) == 1);
    ck_assert(EVP_PKEY_encrypt(ctx, out, len, term->rnd1, term->rnd1_len) == 1);
    EVP_PKEY_CTX_free(ctx);
}

static void encrypt_rnd2(uint8_t out[48])
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t key[32];
    int len = 0;

    derive("nonce", key);
    ck_assert(EVP_EncryptInit_ex2(ctx, EVP_aes_256_gcm(), key, term->iv, NULL) == 1);
    ck_assert(EVP_EncryptUpdate(ctx, NULL, &len, term->t0, 32) == 1);
    ck_assert(EVP_EncryptUpdate(ctx, out, &len, term->rnd2, 32) == 1 && len == 32);
    ck_assert(EVP_EncryptFinal_ex(ctx, out + 32, &len) == 1 && len == 0);
    ck_assert(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, out + 32) == 1);
    EVP_CIPHER_CTX_free(ctx);
}

static void cmac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len, uint8_t mac[16])
{
    const char *cipher = key_len == 16   ? "AES-128-CBC"
                         : key_len == 24 ? "AES-192-CBC"
                                         : "AES-256-CBC";
    size_t mac_len = 0;

    ck_assert(
        EVP_Q_mac(NULL, "CMAC", NULL, cipher, NULL, key, key_len, in, len, mac, 16, &mac_len));
    ck_assert_uint_eq(mac_len, 16);
}

static void tdes_zeros(const uint8_t *key, size_t key_len, uint8_t out[8])
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t full[24], zeros[8] = {0};
    int len = 0;

    memcpy(full, key, key_len);
    if (key_len == 16) {
        memcpy(full + 16, key, 8);
    }
    ck_assert(EVP_EncryptInit_ex2(ctx, EVP_des_ede3_ecb(), full, NULL, NULL) == 1);
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    ck_assert(EVP_EncryptUpdate(ctx, out, &len, zeros, 8) == 1 && len == 8);
    EVP_CIPHER_CTX_free(ctx);
}

static void refresh_t0(void)
{
    const struct kl_bytes parts[] = {{term->hello, term->hello_len},
                                     {term->certificate, term->certificate_len}};
    sha256(parts, 2, term->t0);
}

static void set_inputs(void)
{
    term->in.hello = (struct kl_bytes){term->hello, term->hello_len};
    term->in.certificate = (struct kl_bytes){term->certificate, term->certificate_len};
    term->in.randoms = (struct kl_bytes){term->randoms, term->randoms_len};
}

static void make_hello(const uint8_t *algs, size_t count)
{
    term->msg = (struct kl_msg){.type = KL_MSG_HELLO};
    struct kl_hello *hello = &term->msg.u.hello;
    hello->version = KL_PROTOCOL_VERSION;
    hello->suite_count = 1;
    hello->suites[0] = KL_SUITE_HARDENED_RSA;
    hello->alg_count = count;
    memcpy(hello->algs, algs, count);
    strcpy(hello->serial, "T-0001");
    strcpy(hello->pinpad_serial, "P-0001");
    ck_ok(kl_msg_encode(&term->msg, term->hello, &term->hello_len, &err));
}

static void make_certificate(enum kl_oaep_hash hash)
{
    uint8_t *der = NULL;
    int len = i2d_PUBKEY(kl_loader_public(loader), &der);

    ck_assert_int_gt(len, 0);
    term->msg = (struct kl_msg){.type = KL_MSG_CERTIFICATE};
    struct kl_certificate *certificate = &term->msg.u.certificate;
    certificate->suite = KL_SUITE_HARDENED_RSA;
    certificate->oaep_hash = (uint8_t)hash;
    memset(certificate->nonce, 0x5a, sizeof(certificate->nonce));
    certificate->chain_count = 1;
    certificate->chain[0] = (struct kl_bytes){der, (size_t)len};
    ck_ok(kl_msg_encode(&term->msg, term->certificate, &term->certificate_len, &err));
    OPENSSL_free(der);
}

static void encode_randoms(void)
{
    ck_ok(kl_msg_encode(&term->msg, term->randoms, &term->randoms_len, &err));
    set_inputs();
}

/* S5; leaves the Randoms in term->msg, for a test to spoil and encode again. */
static void make_randoms(size_t rnd1_len)
{
    term->rnd1_len = rnd1_len;
    ck_assert(RAND_bytes(term->rnd1, sizeof(term->rnd1)) == 1);
    ck_assert(RAND_bytes(term->rnd2, sizeof(term->rnd2)) == 1);
    ck_assert(RAND_bytes(term->iv, sizeof(term->iv)) == 1);
    refresh_t0();
    term->msg = (struct kl_msg){.type = KL_MSG_RANDOMS};
    struct kl_randoms *randoms = &term->msg.u.randoms;
    encrypt_rnd1(randoms->c_rnd1, &randoms->c_rnd1_len);
    memcpy(randoms->iv, term->iv, sizeof(term->iv));
    encrypt_rnd2(randoms->c_rnd2);
    encode_randoms();
}

static void make_messages(enum kl_alg alg)
{
    static const uint8_t all[] = {1, 2, 3, 4, 5};

    term->in = (struct kl_load_in){.suite = KL_SUITE_HARDENED_RSA,
                                   .alg = alg,
                                   .tmk_version = 7,
                                   .kcv_len = 4};
    make_hello(all, sizeof(all));
    make_certificate(kl_loader_oaep_hash(loader));
    make_randoms(32);
}

static void setup(void)
{
    p11_open();
    p11_make_keys(2048);
    ck_ok(kl_loader_open(hsm.token, &p11_config, &loader, &err));
    term = calloc(1, sizeof(*term));
    make_messages(KL_ALG_TDES2);
}

static void teardown(void)
{
    free(term);
    kl_loader_free(loader);
    p11_close();
}

static enum kl_rc run(void)
{
    return kl_loader_run(loader, &term->in, &term->out, &err);
}

/* ---- S8 and S9 by OpenSSL ---- */

static void verify_signature(const struct kl_master_key *mk)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;

    ck_assert(EVP_DigestVerifyInit(ctx, &pctx, EVP_sha256(), NULL, kl_loader_public(loader)) == 1);
    ck_assert(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1);
    ck_assert(EVP_PKEY_CTX_set_rsa_mgf1_md(pctx, EVP_sha256()) == 1);
    ck_assert(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, 32) == 1);
    ck_assert_msg(EVP_DigestVerify(ctx, mk->sig, mk->sig_len, mk->tbs_der.data, mk->tbs_der.len) ==
                      1,
                  "PSS signature does not verify");
    EVP_MD_CTX_free(ctx);
}

static size_t unwrap_tmk(const struct kl_tbs *tbs, uint8_t tmk[KL_CTMK_LEN_MAX])
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t key[32];
    int len = 0;

    derive("wrap", key);
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    ck_assert(EVP_DecryptInit_ex2(ctx, EVP_aes_256_wrap(), key, NULL, NULL) == 1);
    ck_assert(EVP_DecryptUpdate(ctx, tmk, &len, tbs->ctmk, (int)tbs->ctmk_len) == 1);
    EVP_CIPHER_CTX_free(ctx);
    return (size_t)len;
}

/* MAC of T2, one byte, and what follows. */
static void check_mac(const char *purpose, uint8_t byte, const uint8_t *rest, size_t rest_len,
                      const uint8_t expected[16])
{
    uint8_t key[32], input[64], mac[16];

    derive(purpose, key);
    memcpy(input, term->t2, 32);
    input[32] = byte;
    if (rest_len) {
        memcpy(input + 33, rest, rest_len);
    }
    cmac(key, 32, input, 33 + rest_len, mac);
    ck_assert_mem_eq(mac, expected, 16);
}

static void check_storage(enum kl_alg alg)
{
    CK_OBJECT_HANDLE storage, tmk;
    uint8_t kcv[4];

    ck_ok(kl_storage_key_find(hsm.session, "storage", &storage, &err));
    ck_ok(kl_op_unwrap_tmk(hsm.session, storage, alg, term->out.cryptogram,
                           term->out.cryptogram_len, KL_USE_KCV, NULL, 0, &tmk, &err));
    ck_ok(kl_op_kcv(hsm.session, tmk, alg, 4, kcv, &err));
    ck_assert_mem_eq(kcv, term->out.kcv, 4);
    kl_op_destroy(hsm.session, &tmk);
}

static void check_load(enum kl_alg alg)
{
    static const uint8_t zeros[16] = {0};
    const struct kl_alg_info *info = kl_alg_info(alg);
    const struct kl_load_out *out = &term->out;
    uint8_t tmk[KL_CTMK_LEN_MAX], kcv[16];
    struct kl_msg msg;
    const struct kl_tbs *tbs = &msg.u.master_key.tbs;
    const struct kl_bytes all[] = {{term->hello, term->hello_len},
                                   {term->certificate, term->certificate_len},
                                   {term->randoms, term->randoms_len},
                                   {out->master_key, out->master_key_len}};

    sha256(all, 3, term->t1);
    sha256(all, 4, term->t2);
    ck_ok(kl_msg_decode(out->master_key, out->master_key_len, &msg, &err));
    ck_assert_int_eq(msg.type, KL_MSG_MASTER_KEY);
    verify_signature(&msg.u.master_key);
    ck_assert_mem_eq(tbs->t1, term->t1, 32);
    ck_assert_mem_eq(tbs->rnd2, term->rnd2, 32);
    ck_assert_str_eq(tbs->serial, "T-0001");
    ck_assert_uint_eq(tbs->usage, KL_USAGE_KEK);
    ck_assert_uint_eq(tbs->alg, alg);
    ck_assert_uint_eq(tbs->version, 7);
    ck_assert_uint_eq(tbs->kcv_method, info->kcv_method);
    ck_assert_uint_eq(tbs->kcv_len, 4);
    ck_assert_uint_eq(unwrap_tmk(tbs, tmk), info->key_len);
    if (info->is_aes) {
        cmac(tmk, info->key_len, zeros, 16, kcv);
    } else {
        tdes_zeros(tmk, info->key_len, kcv);
    }
    ck_assert_mem_eq(tbs->kcv, kcv, 4);
    ck_assert_uint_eq(out->kcv_len, 4);
    ck_assert_mem_eq(out->kcv, kcv, 4);
    check_mac("ack", 1, kcv, 4, out->ack_mac);
    check_mac("done", KL_VERDICT_ACTIVE, NULL, 0, out->active_mac);
    check_mac("done", KL_VERDICT_DROP, NULL, 0, out->drop_mac);
    check_storage(alg);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
}

/* ---- Good loads ---- */

START_TEST(loads_tdes)
{
    static const enum kl_alg algs[] = {KL_ALG_TDES2, KL_ALG_TDES3};

    make_messages(algs[_i]);
    ck_ok(run());
    check_load(algs[_i]);
}
END_TEST

START_TEST(loads_aes_over_rsa_3072)
{
    ck_ok(kl_pair_destroy(hsm.session, "work", &err));
    kl_loader_free(loader);
    loader = NULL;
    EVP_PKEY *key = NULL;
    ck_ok(kl_pair_generate(hsm.session, KL_PAIR_WORK, "work", 3072, &key, &err));
    EVP_PKEY_free(key);
    ck_ok(kl_loader_open(hsm.token, &p11_config, &loader, &err));
    make_messages(KL_ALG_AES128);
    ck_ok(run());
    check_load(KL_ALG_AES128);
    make_messages(KL_ALG_AES256);
    ck_rc(run(), KL_ERR_STRENGTH);
}
END_TEST

START_TEST(loads_anything_when_strength_only_warns)
{
    static const enum kl_alg algs[] = {KL_ALG_AES128, KL_ALG_AES192, KL_ALG_AES256};
    struct kl_loader_config warn = p11_config;

    warn.strength_enforce = 0;
    kl_loader_free(loader);
    loader = NULL;
    ck_ok(kl_loader_open(hsm.token, &warn, &loader, &err));
    make_messages(algs[_i]);
    ck_ok(run());
    check_load(algs[_i]);
}
END_TEST

START_TEST(every_load_draws_a_fresh_tmk)
{
    struct kl_load_out first;

    ck_ok(run());
    first = term->out;
    ck_ok(run());
    ck_assert_mem_ne(first.cryptogram, term->out.cryptogram, first.cryptogram_len);
}
END_TEST

START_TEST(a_load_costs_two_private_operations)
{
    fake_p11_reset();
    ck_ok(run());
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_UnwrapKey), 1);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Decrypt), 1);  /* GCM */
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_SignInit), 4); /* PSS and three CMACs */
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_OpenSession), 0);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Login), 0);
}
END_TEST

START_TEST(softhsm_takes_oaep_with_sha1_only)
{
    ck_assert_int_eq(kl_loader_oaep_hash(loader), KL_OAEP_SHA1);
}
END_TEST

/* ---- Bad peers ---- */

static void refused(enum kl_rc rc)
{
    struct kl_load_out untouched;

    memset(&term->out, 0xee, sizeof(term->out));
    memset(&untouched, 0xee, sizeof(untouched));
    ck_rc(run(), rc);
    ck_assert_mem_eq(&term->out, &untouched, sizeof(untouched));
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
    ck_assert_int_eq(kl_rc_is_hsm_trouble(rc), 0);
}

START_TEST(flipped_bits_are_refused)
{
    struct kl_randoms *randoms = &term->msg.u.randoms;
    uint8_t *const places[] = {
        &randoms->c_rnd1[0],  &randoms->c_rnd1[255], &randoms->c_rnd2[0], &randoms->c_rnd2[31],
        &randoms->c_rnd2[32], &randoms->c_rnd2[47],  &randoms->iv[0],     &randoms->iv[11],
    };

    *places[_i] ^= 1;
    encode_randoms();
    refused(KL_ERR_VERIFY);
}
END_TEST

START_TEST(rnd1_of_no_aes_length_is_refused)
{
    static const size_t lens[] = {1, 8, 15, 31, 33};

    make_randoms(lens[_i]);
    refused(KL_ERR_VERIFY);
}
END_TEST

/* A token that knows the length of what it unwrapped (SoftHSM says 0). */
static unsigned told;
static CK_RV tells_16_bytes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE *attr, CK_ULONG n)
{
    (void)s;
    (void)o;
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(attr->type, CKA_VALUE_LEN);
    *(CK_ULONG *)attr->pValue = told++ == 0 ? 16 : 32; /* the second is the known answer's */
    return CKR_OK;
}

START_TEST(rnd1_of_16_bytes_is_refused_where_the_token_tells)
{
    CK_FUNCTION_LIST *f = kl_session_functions(hsm.session);

    make_randoms(16);
    f->C_GetAttributeValue = tells_16_bytes;
    refused(KL_ERR_VERIFY);
    ck_says("16 bytes");
}
END_TEST

START_TEST(c_rnd1_of_wrong_length_is_refused)
{
    term->msg.u.randoms.c_rnd1_len = 384; /* of an RSA-3072 key */
    encode_randoms();
    refused(KL_ERR_VERIFY);
    ck_says("c_rnd1");
}
END_TEST

/* T0 is bound: the same Randoms under another Hello are refused. */
START_TEST(another_hello_is_refused)
{
    static const uint8_t algs[] = {1, 2};

    make_hello(algs, 2);
    set_inputs();
    refused(KL_ERR_VERIFY);
}
END_TEST

START_TEST(unoffered_algorithm_is_refused)
{
    static const uint8_t algs[] = {KL_ALG_TDES3};

    make_hello(algs, 1);
    make_randoms(32);
    refused(KL_ERR_UNSUPPORTED);
}
END_TEST

START_TEST(unoffered_suite_is_refused)
{
    term->msg = (struct kl_msg){.type = KL_MSG_HELLO};
    ck_ok(kl_msg_decode(term->hello, term->hello_len, &term->msg, &err));
    term->msg.u.hello.suites[0] = 9;
    ck_ok(kl_msg_encode(&term->msg, term->hello, &term->hello_len, &err));
    make_randoms(32);
    refused(KL_ERR_UNSUPPORTED);
}
END_TEST

START_TEST(another_protocol_version_is_refused)
{
    ck_ok(kl_msg_decode(term->hello, term->hello_len, &term->msg, &err));
    term->msg.u.hello.version = 2;
    ck_ok(kl_msg_encode(&term->msg, term->hello, &term->hello_len, &err));
    make_randoms(32);
    refused(KL_ERR_UNSUPPORTED);
}
END_TEST

START_TEST(certificate_with_another_oaep_hash_is_refused)
{
    make_certificate(KL_OAEP_SHA256);
    make_randoms(32);
    refused(KL_ERR_PROTOCOL);
}
END_TEST

START_TEST(aes_over_rsa_2048_is_refused)
{
    make_messages(KL_ALG_AES128);
    fake_p11_reset();
    refused(KL_ERR_STRENGTH);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_UnwrapKey), 0);
}
END_TEST

START_TEST(messages_in_the_wrong_place_are_refused)
{
    struct kl_bytes *const places[] = {&term->in.hello, &term->in.certificate, &term->in.randoms};

    *places[_i] = _i == 0 ? term->in.certificate : term->in.hello;
    refused(KL_ERR_PROTOCOL);
}
END_TEST

START_TEST(broken_messages_are_refused)
{
    struct kl_bytes *const places[] = {&term->in.hello, &term->in.certificate, &term->in.randoms};

    places[_i]->len--;
    refused(KL_ERR_PROTOCOL);
}
END_TEST

START_TEST(jobs_out_of_bounds_are_refused)
{
    struct kl_load_in good = term->in;

    term->in.tmk_version = 0;
    refused(KL_ERR_INTERNAL);
    term->in = good;
    term->in.kcv_len = 2;
    refused(KL_ERR_INTERNAL);
    term->in = good;
    term->in.kcv_len = 5;
    refused(KL_ERR_INTERNAL);
    term->in = good;
    term->in.suite = 9;
    refused(KL_ERR_INTERNAL);
    term->in = good;
    term->in.alg = 6;
    refused(KL_ERR_INTERNAL);
}
END_TEST

/* ---- A failing HSM ---- */

/* Answers that a peer's bytes may cause, but that this token gives to everything. */
static const CK_RV lost_answers[] = {CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED, CKR_ARGUMENTS_BAD,
                                     CKR_MECHANISM_INVALID};

START_TEST(a_token_that_refuses_everything_is_no_bad_peer)
{
    fake_p11_fail(FAKE_C_UnwrapKey, 0, lost_answers[_i]);
    ck_rc(run(), KL_ERR_HSM);
    ck_assert_int_eq(err.rc, KL_ERR_HSM);
    ck_assert(kl_rc_is_hsm_trouble(err.rc));
    ck_says("known answer");
    ck_assert_uint_eq(err.native, lost_answers[_i]);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
    /* The same answer to a peer only: the next load is served. */
    kl_loader_free(loader);
    loader = NULL;
    fake_p11_reset();
    ck_ok(kl_loader_open(hsm.token, &p11_config, &loader, &err));
    fake_p11_fail(FAKE_C_UnwrapKey, 1, lost_answers[_i]);
    refused(KL_ERR_VERIFY);
    ck_assert_ptr_null(strstr(err.text, "known answer"));
    ck_ok(run());
}
END_TEST

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Bad peers in a row cost one known answer a second, and a loss in between is found out then. */
START_TEST(the_known_answer_is_tried_once_a_second)
{
    double start = seconds();
    unsigned bad = 8, extra;

    term->msg.u.randoms.c_rnd2[0] ^= 1;
    encode_randoms();
    fake_p11_reset();
    for (unsigned i = 0; i < bad; i++) {
        ck_rc(run(), KL_ERR_VERIFY);
    }
    extra = fake_p11_calls(FAKE_C_UnwrapKey) - bad;
    ck_assert_uint_ge(extra, 1);
    ck_assert_uint_le(extra, 1 + (unsigned)(seconds() - start));
    usleep(1100 * 1000);
    fake_p11_fail(FAKE_C_UnwrapKey, 0, CKR_GENERAL_ERROR);
    ck_rc(run(), KL_ERR_HSM);
}
END_TEST

/* How often these bytes are on the heap, freed memory included; 0 if that is not where malloc
 * allocates (sanitizers). */
static unsigned count_on_heap(const void *bytes, size_t len)
{
    unsigned long start = 0, end = 0;
    unsigned count = 0;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");

    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof(line), maps)) {
        if (strstr(line, "[heap]")) {
            ck_assert_int_eq(sscanf(line, "%lx-%lx", &start, &end), 2);
        }
    }
    fclose(maps);
    for (const uint8_t *p = (const uint8_t *)start;
         start && (p = memmem(p, end - (uintptr_t)p, bytes, len)); p++) {
        count++;
    }
    return count;
}

START_TEST(a_load_leaves_nothing_on_the_heap)
{
    unsigned t0_before;

    t0_before = count_on_heap(term->t0, sizeof(term->t0));
    if (t0_before == 0) {
        return;
    }
    ck_ok(run());
    ck_assert_uint_eq(count_on_heap(term->t0, sizeof(term->t0)), t0_before);
    ck_assert_uint_eq(count_on_heap(term->out.active_mac, KL_MAC_LEN), 1);
}
END_TEST

/* Each call of a load fails in turn: an error, nothing written, nothing left behind. */
START_TEST(every_failing_call_is_cleaned_up)
{
    static const enum fake_p11_fn fns[] = {
        FAKE_C_UnwrapKey, FAKE_C_GetAttributeValue, FAKE_C_DeriveKey, FAKE_C_DecryptInit,
        FAKE_C_Decrypt,   FAKE_C_GenerateKey,       FAKE_C_WrapKey,   FAKE_C_EncryptInit,
        FAKE_C_Encrypt,   FAKE_C_SignInit,          FAKE_C_Sign,
    };
    struct kl_load_out untouched;
    unsigned calls;

    fake_p11_reset();
    ck_ok(run());
    calls = fake_p11_calls(fns[_i]);
    ck_assert_uint_gt(calls, 0);
    memset(&untouched, 0xee, sizeof(untouched));
    for (unsigned nth = 1; nth <= calls; nth++) {
        memset(&term->out, 0xee, sizeof(term->out));
        fake_p11_reset();
        fake_p11_fail(fns[_i], nth, CKR_DEVICE_REMOVED);
        ck_rc(run(), KL_ERR_TOKEN);
        ck_says("CKR_DEVICE_REMOVED");
        ck_assert_mem_eq(&term->out, &untouched, sizeof(untouched));
        ck_assert_uint_eq(test_session_objects(hsm.session), 0);
        /* As a worker does: no session is used after an error of the HSM. */
        kl_loader_free(loader);
        loader = NULL;
        ck_ok(kl_loader_open(hsm.token, &p11_config, &loader, &err));
    }
}
END_TEST

static Suite *loader_suite(void)
{
    Suite *suite = suite_create("loader");
    TCase *good = tcase_create("good"), *peer = tcase_create("bad peer"),
          *bad = tcase_create("bad HSM");
    TCase *const cases[] = {good, peer, bad};

    for (int i = 0; i < 3; i++) {
        tcase_add_checked_fixture(cases[i], setup, teardown);
        tcase_set_timeout(cases[i], 60);
        suite_add_tcase(suite, cases[i]);
    }
    tcase_add_loop_test(good, loads_tdes, 0, 2);
    tcase_add_test(good, loads_aes_over_rsa_3072);
    tcase_add_loop_test(good, loads_anything_when_strength_only_warns, 0, 3);
    tcase_add_test(good, every_load_draws_a_fresh_tmk);
    tcase_add_test(good, a_load_costs_two_private_operations);
    tcase_add_test(good, softhsm_takes_oaep_with_sha1_only);
    tcase_add_loop_test(peer, flipped_bits_are_refused, 0, 8);
    tcase_add_loop_test(peer, rnd1_of_no_aes_length_is_refused, 0, 5);
    tcase_add_test(peer, rnd1_of_16_bytes_is_refused_where_the_token_tells);
    tcase_add_test(peer, c_rnd1_of_wrong_length_is_refused);
    tcase_add_test(peer, another_hello_is_refused);
    tcase_add_test(peer, unoffered_algorithm_is_refused);
    tcase_add_test(peer, unoffered_suite_is_refused);
    tcase_add_test(peer, another_protocol_version_is_refused);
    tcase_add_test(peer, certificate_with_another_oaep_hash_is_refused);
    tcase_add_test(peer, aes_over_rsa_2048_is_refused);
    tcase_add_loop_test(peer, messages_in_the_wrong_place_are_refused, 0, 3);
    tcase_add_loop_test(peer, broken_messages_are_refused, 0, 3);
    tcase_add_test(peer, jobs_out_of_bounds_are_refused);
    tcase_add_loop_test(bad, a_token_that_refuses_everything_is_no_bad_peer, 0, 4);
    tcase_add_test(bad, the_known_answer_is_tried_once_a_second);
    tcase_add_test(bad, a_load_leaves_nothing_on_the_heap);
    tcase_add_loop_test(bad, every_failing_call_is_cleaned_up, 0, 11);
    return suite;
}

int main(void)
{
    return test_run(loader_suite());
}
