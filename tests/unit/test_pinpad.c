/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PIN pads of both kinds by the same tests, against OpenSSL; and, for the token kind, that what it
 * keeps is as locked up as it must be.
 */
#include <check.h>
#include <limits.h>
#include <openssl/rsa.h>
#include <p11-kit/pkcs11.h>
#include <string.h>
#include <unistd.h>

#include "conf/cli.h"
#include "pkcs11/pin.h"
#include "pkcs11/token.h"
#include "terminal-sim/pinpad/pinpad.h"
#include "tests/support/hsm.h"
#include "tests/support/objects.h"
#include "tests/support/suite.h"

#define LABEL "P-0001"
#define PIN "1234567"

enum { MEMORY, TOKEN, PAD_KINDS };

static struct kl_pubkey *work;
static char dir[PATH_MAX], pin_path[PATH_MAX + 8];
static struct kl_err err;

#define ok(call) ck_assert_msg((call) == KL_OK, "%s", err.text)

/* ---- What the loader would do ---- */

static uint8_t rnd1[32];
static uint8_t t0[KL_HASH_LEN];

static void ecb(const EVP_CIPHER *cipher, const uint8_t *key, const uint8_t *in, int len,
                uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n;

    ck_assert(EVP_EncryptInit(ctx, cipher, key, NULL));
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    ck_assert(EVP_EncryptUpdate(ctx, out, &n, in, len));
    EVP_CIPHER_CTX_free(ctx);
}

static void derived(enum kl_purpose purpose, uint8_t key[32])
{
    uint8_t label[KL_HASH_LEN];

    ok(kl_suite_label(purpose, t0, label, &err));
    ecb(EVP_aes_256_ecb(), rnd1, label, 32, key);
}

static void cmac(const char *cipher, const uint8_t *key, size_t key_len, const uint8_t *in,
                 size_t len, uint8_t out[16])
{
    size_t n;

    ck_assert(EVP_Q_mac(NULL, "CMAC", NULL, cipher, NULL, key, key_len, in, len, out, 16, &n));
}

/* Ctmk of a TMK under K_wrap. */
static size_t wrap(const uint8_t *tmk, size_t len, uint8_t out[KL_CTMK_LEN_MAX])
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t key[32];
    int n;

    derived(KL_PURPOSE_WRAP, key);
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    ck_assert(EVP_EncryptInit(ctx, EVP_aes_256_wrap(), key, NULL));
    ck_assert(EVP_EncryptUpdate(ctx, out, &n, tmk, (int)len));
    EVP_CIPHER_CTX_free(ctx);
    return (size_t)n;
}

/* S6: Rnd1 out of C_rnd1, of so many bytes, so that the rest can be checked. */
static void open_block(const uint8_t *c_rnd1, size_t len, const EVP_MD *hash, size_t want)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(kl_pubkey_evp(work), NULL);
    uint8_t plain[256];
    size_t n = sizeof(plain);

    ck_assert_int_eq(EVP_PKEY_decrypt_init(ctx), 1);
    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING);
    EVP_PKEY_CTX_set_rsa_oaep_md(ctx, hash);
    EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, hash);
    ck_assert_int_eq(EVP_PKEY_decrypt(ctx, plain, &n, c_rnd1, len), 1);
    ck_assert_uint_eq(n, want);
    memcpy(rnd1, plain, 32);
    EVP_PKEY_CTX_free(ctx);
}

/* ---- Pads ---- */

static struct kl_pinpad *open_pad(int kind)
{
    struct kl_pinpad *pad = NULL;

    if (kind == MEMORY) {
        ok(kl_pinpad_memory_new(&pad, &err));
    } else {
        ok(kl_pinpad_token_open(test_softhsm_path(), NULL, "pkcs11:token=" LABEL, pin_path, &pad,
                                &err));
    }
    return pad;
}

static void set_up(void)
{
    test_softhsm_dir(dir, LABEL, PIN);
    snprintf(pin_path, sizeof(pin_path), "%s/pin", dir);
    ok(kl_file_write(pin_path, PIN "\n", sizeof(PIN), 0600, 1, &err));
    for (size_t i = 0; i < sizeof(t0); i++) {
        t0[i] = (uint8_t)(i * 7);
    }
}

static void tear_down(void)
{
    test_rm_rf(dir);
}

static void make_work_key(void)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);

    ok(kl_pubkey_new(key, &work, &err));
    EVP_PKEY_free(key);
}

static void free_work_key(void)
{
    kl_pubkey_free(work);
}

static void start(struct kl_pinpad *pad)
{
    uint8_t c_rnd1[KL_RSA_MAX];
    size_t len;

    ok(kl_pinpad_start_rsa(pad, work, KL_OAEP_SHA1, t0, c_rnd1, &len, &err));
    ck_assert_uint_eq(len, 256);
    open_block(c_rnd1, len, EVP_sha1(), 32);
}

/* Fixed TMKs with their KCVs. TDES: CA5D92598DCA48CE8A4C76361A9269E9 is the design's vector key.
 * AES-128: the key of RFC 4493 section 4. KCVs come from OpenSSL below. */
static const struct {
    enum kl_alg alg;
    uint8_t key[32];
} tmks[] = {
    {KL_ALG_TDES2,
     {0xca, 0x5d, 0x92, 0x59, 0x8d, 0xca, 0x48, 0xce, 0x8a, 0x4c, 0x76, 0x36, 0x1a, 0x92, 0x69,
      0xe9}},
    {KL_ALG_TDES3, {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x23, 0x45, 0x67, 0x89,
                    0xab, 0xcd, 0xef, 0x01, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23}},
    {KL_ALG_AES128,
     {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f,
      0x3c}},
    {KL_ALG_AES192, {0x8e, 0x73, 0xb0, 0xf7, 0xda, 0x0e, 0x64, 0x52, 0xc8, 0x10, 0xf3, 0x2b,
                     0x80, 0x90, 0x79, 0xe5, 0x62, 0xf8, 0xea, 0xd2, 0x52, 0x2c, 0x6b, 0x7b}},
    {KL_ALG_AES256, {0x60, 0x3d, 0xeb, 0x10, 0x15, 0xca, 0x71, 0xbe, 0x2b, 0x73, 0xae,
                     0xf0, 0x85, 0x7d, 0x77, 0x81, 0x1f, 0x35, 0x2c, 0x07, 0x3b, 0x61,
                     0x08, 0xd7, 0x2d, 0x98, 0x10, 0xa3, 0x09, 0x14, 0xdf, 0xf4}},
};
#define TMKS ((int)(sizeof(tmks) / sizeof(tmks[0])))

static void expected_kcv(int i, uint8_t kcv[16])
{
    static const char *const cipher[] = {NULL, NULL, "AES-128-CBC", "AES-192-CBC", "AES-256-CBC"};
    static const uint8_t zeros[16];

    if (cipher[i]) {
        cmac(cipher[i], tmks[i].key, kl_alg_info(tmks[i].alg)->key_len, zeros, 16, kcv);
    } else {
        ecb(tmks[i].alg == KL_ALG_TDES2 ? EVP_des_ede_ecb() : EVP_des_ede3_ecb(), tmks[i].key,
            zeros, 8, kcv);
    }
}

static void keep(struct kl_pinpad *pad, uint32_t version)
{
    struct kl_pinpad_tmk tmk = {.version = version, .alg = KL_ALG_TDES2, .kcv_len = 3};
    uint8_t ctmk[KL_CTMK_LEN_MAX], kcv[16];
    size_t len = wrap(tmks[0].key, 16, ctmk);

    expected_kcv(0, kcv);
    memcpy(tmk.kcv, kcv, 3);
    ok(kl_pinpad_keep(pad, &tmk, ctmk, len, &err));
}

/* ---- Tests ---- */

START_TEST(test_seal)
{
    struct kl_pinpad *pad = open_pad(_i);
    EVP_CIPHER_CTX *gcm = EVP_CIPHER_CTX_new();
    uint8_t iv[12] = {1}, rnd2[32] = {3}, out[48], key[32], plain[32];
    int n;

    start(pad);
    ok(kl_pinpad_seal(pad, iv, t0, rnd2, out, &err));
    derived(KL_PURPOSE_NONCE, key);
    ck_assert(EVP_DecryptInit(gcm, EVP_aes_256_gcm(), key, iv));
    ck_assert(EVP_DecryptUpdate(gcm, NULL, &n, t0, 32));
    ck_assert(EVP_DecryptUpdate(gcm, plain, &n, out, 32));
    EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_SET_TAG, 16, out + 32);
    ck_assert_int_eq(EVP_DecryptFinal(gcm, plain + 32, &n), 1);
    ck_assert_mem_eq(plain, rnd2, 32);
    EVP_CIPHER_CTX_free(gcm);
    kl_pinpad_free(pad);
}
END_TEST

START_TEST(test_mac)
{
    struct kl_pinpad *pad = open_pad(_i);
    static const enum kl_purpose purposes[] = {KL_PURPOSE_ACK, KL_PURPOSE_DONE};
    uint8_t in[33] = {7}, mac[16], want[16], key[32];
    size_t i;

    start(pad);
    for (i = 0; i < 2; i++) {
        ok(kl_pinpad_mac(pad, purposes[i], in, sizeof(in), mac, &err));
        derived(purposes[i], key);
        cmac("AES-256-CBC", key, 32, in, sizeof(in), want);
        ck_assert_mem_eq(mac, want, 16);
    }
    ck_assert_int_eq(kl_pinpad_mac(pad, KL_PURPOSE_WRAP, in, sizeof(in), mac, &err),
                     KL_ERR_INTERNAL);
    kl_pinpad_free(pad);
}
END_TEST

/* In a load K_keys is classic's alone. */
START_TEST(test_keys_mac)
{
    struct kl_pinpad *pad = open_pad(_i);
    uint8_t in[200] = {7}, rnd2[32] = {3}, c_rnd1[KL_RSA_MAX], mac[16], want[16], key[32];
    size_t len;

    start(pad);
    ck_assert_int_eq(kl_pinpad_mac(pad, KL_PURPOSE_KEYS, in, sizeof(in), mac, &err),
                     KL_ERR_INTERNAL);
    ok(kl_pinpad_start_classic(pad, work, KL_OAEP_SHA1, t0, rnd2, c_rnd1, &len, &err));
    open_block(c_rnd1, len, EVP_sha1(), 64);
    ok(kl_pinpad_mac(pad, KL_PURPOSE_KEYS, in, sizeof(in), mac, &err));
    derived(KL_PURPOSE_KEYS, key);
    cmac("AES-256-CBC", key, 32, in, sizeof(in), want);
    ck_assert_mem_eq(mac, want, 16);
    kl_pinpad_end(pad);
    ck_assert_int_eq(kl_pinpad_mac(pad, KL_PURPOSE_KEYS, in, sizeof(in), mac, &err),
                     KL_ERR_INTERNAL);
    kl_pinpad_free(pad);
}
END_TEST

START_TEST(test_kcv)
{
    struct kl_pinpad *pad = open_pad(_i / TMKS);
    uint8_t ctmk[KL_CTMK_LEN_MAX], kcv[KL_KCV_LEN_MAX], want[16];
    int t = _i % TMKS;
    size_t len, count;
    struct kl_pinpad_tmk list[KL_PINPAD_TMK_MAX];

    start(pad);
    len = wrap(tmks[t].key, kl_alg_info(tmks[t].alg)->key_len, ctmk);
    ok(kl_pinpad_kcv(pad, tmks[t].alg, ctmk, len, 4, kcv, &err));
    expected_kcv(t, want);
    ck_assert_mem_eq(kcv, want, 4);
    ctmk[len - 1] ^= 1;
    ck_assert_int_eq(kl_pinpad_kcv(pad, tmks[t].alg, ctmk, len, 4, kcv, &err), KL_ERR_VERIFY);
    ok(kl_pinpad_list(pad, list, &count, &err)); /* and nothing stayed */
    ck_assert_uint_eq(count, 0);
    kl_pinpad_free(pad);
}
END_TEST

START_TEST(test_rnd1_is_fresh)
{
    struct kl_pinpad *pad = open_pad(_i);
    uint8_t first[32];

    start(pad);
    memcpy(first, rnd1, 32);
    start(pad);
    ck_assert_mem_ne(first, rnd1, 32);
    kl_pinpad_free(pad);
}
END_TEST

START_TEST(test_life)
{
    struct kl_pinpad *pad = open_pad(_i);
    struct kl_pinpad_tmk list[KL_PINPAD_TMK_MAX],
        tmk = {.version = 7, .alg = KL_ALG_TDES2, .kcv_len = 3};
    uint8_t ctmk[KL_CTMK_LEN_MAX], want[16];
    size_t count, len;

    start(pad);
    keep(pad, 7);
    len = wrap(tmks[0].key, 16, ctmk);
    ck_assert_int_eq(kl_pinpad_keep(pad, &tmk, ctmk, len, &err), KL_ERR_EXISTS);
    keep(pad, 5);
    ck_assert_int_eq(kl_pinpad_room(pad, 7, &err), KL_ERR_EXISTS);
    ok(kl_pinpad_room(pad, 6, &err));
    if (_i == TOKEN) { /* it is the token that remembers */
        kl_pinpad_free(pad);
        pad = open_pad(_i);
    }
    ok(kl_pinpad_list(pad, list, &count, &err));
    ck_assert_uint_eq(count, 2);
    ck_assert_uint_eq(list[0].version, 5);
    ck_assert_uint_eq(list[1].version, 7);
    ck_assert_int_eq(list[1].alg, KL_ALG_TDES2);
    ck_assert_uint_eq(list[1].kcv_len, 3);
    expected_kcv(0, want);
    ck_assert_mem_eq(list[1].kcv, want, 3);
    ok(kl_pinpad_destroy(pad, 5, &err));
    ck_assert_int_eq(kl_pinpad_destroy(pad, 5, &err), KL_ERR_NOT_FOUND);
    ok(kl_pinpad_list(pad, list, &count, &err));
    ck_assert_uint_eq(count, 1);
    kl_pinpad_free(pad);
}
END_TEST

START_TEST(test_full)
{
    struct kl_pinpad *pad = open_pad(_i);
    struct kl_pinpad_tmk tmk = {.version = 99, .alg = KL_ALG_TDES2, .kcv_len = 3};
    uint8_t ctmk[KL_CTMK_LEN_MAX];
    uint32_t version;
    size_t len;

    start(pad);
    for (version = 1; version <= KL_PINPAD_TMK_MAX; version++) {
        keep(pad, version);
    }
    len = wrap(tmks[0].key, 16, ctmk);
    ck_assert_int_eq(kl_pinpad_keep(pad, &tmk, ctmk, len, &err), KL_ERR_REFUSED);
    ck_assert_int_eq(kl_pinpad_room(pad, 99, &err), KL_ERR_REFUSED);
    kl_pinpad_free(pad);
}
END_TEST

/* Outside a load there are no keys to use. */
START_TEST(test_order)
{
    struct kl_pinpad *pad = open_pad(_i);
    uint8_t buf[64] = {0}, kcv[4];

    ck_assert_int_eq(kl_pinpad_seal(pad, buf, buf, buf, buf, &err), KL_ERR_INTERNAL);
    start(pad);
    kl_pinpad_end(pad);
    ck_assert_int_eq(kl_pinpad_mac(pad, KL_PURPOSE_ACK, buf, 33, buf, &err), KL_ERR_INTERNAL);
    ck_assert_int_eq(kl_pinpad_kcv(pad, KL_ALG_TDES2, buf, 24, 3, kcv, &err), KL_ERR_INTERNAL);
    start(pad);
    ck_assert_int_eq(kl_pinpad_kcv(pad, KL_ALG_TDES2, buf, 32, 3, kcv, &err), KL_ERR_INTERNAL);
    ck_assert_int_eq(kl_pinpad_kcv(pad, KL_ALG_TDES2, buf, 24, 5, kcv, &err), KL_ERR_INTERNAL);
    kl_pinpad_free(pad);
}
END_TEST

START_TEST(test_memory_oaep_sha256)
{
    struct kl_pinpad *pad = open_pad(MEMORY);
    uint8_t c_rnd1[KL_RSA_MAX], buf[33] = {0}, mac[16], want[16], key[32];
    size_t len;

    ok(kl_pinpad_start_rsa(pad, work, KL_OAEP_SHA256, t0, c_rnd1, &len, &err));
    open_block(c_rnd1, len, EVP_sha256(), 32);
    ok(kl_pinpad_mac(pad, KL_PURPOSE_ACK, buf, 33, mac, &err));
    derived(KL_PURPOSE_ACK, key);
    cmac("AES-256-CBC", key, 32, buf, 33, want);
    ck_assert_mem_eq(mac, want, 16);
    kl_pinpad_free(pad);
}
END_TEST

/* ---- The token's objects, seen by someone who has the PIN ---- */

static void check_tmk(CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    static const CK_ATTRIBUTE_TYPE no[] = {CKA_EXTRACTABLE, CKA_WRAP,   CKA_ENCRYPT,   CKA_SIGN,
                                           CKA_VERIFY,      CKA_DERIVE, CKA_MODIFIABLE};
    /* CKA_DECRYPT: a TDES TMK, on a token that does not unwrap by TDES-ECB. */
    static const CK_ATTRIBUTE_TYPE yes[] = {CKA_TOKEN, CKA_PRIVATE, CKA_SENSITIVE, CKA_UNWRAP,
                                            CKA_DECRYPT};
    CK_BBOOL value;
    CK_BYTE key[32];
    CK_ATTRIBUTE attr = {0, &value, sizeof(value)}, secret = {CKA_VALUE, key, sizeof(key)};
    size_t i;

    for (i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        attr.type = no[i];
        ck_assert_uint_eq(p11->C_GetAttributeValue(session, object, &attr, 1), CKR_OK);
        ck_assert_msg(value == CK_FALSE, "attribute %#lx is true", no[i]);
    }
    for (i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        attr.type = yes[i];
        ck_assert_uint_eq(p11->C_GetAttributeValue(session, object, &attr, 1), CKR_OK);
        ck_assert_msg(value == CK_TRUE, "attribute %#lx is false", yes[i]);
    }
    ck_assert_uint_eq(p11->C_GetAttributeValue(session, object, &secret, 1),
                      CKR_ATTRIBUTE_SENSITIVE);
}

START_TEST(test_token_objects)
{
    struct kl_pinpad *pad = open_pad(TOKEN);
    struct kl_module *module;
    struct kl_uri *uri;
    struct kl_secret *pin;
    struct kl_token *token;
    struct kl_session *session;
    CK_FUNCTION_LIST *p11;
    CK_OBJECT_HANDLE objects[8];
    CK_ULONG count;

    start(pad);
    keep(pad, 1);
    kl_pinpad_free(pad);
    ok(kl_module_load(test_softhsm_path(), NULL, &module, &err));
    ok(kl_uri_parse("pkcs11:token=" LABEL, &uri, &err));
    ok(kl_pin_read(pin_path, "PIN", &pin, &err));
    ok(kl_token_open(module, uri, pin, 0, &token, &err));
    ok(kl_session_open(token, &session, &err));
    p11 = kl_session_functions(session);
    ck_assert_uint_eq(p11->C_FindObjectsInit(kl_session_handle(session), NULL, 0), CKR_OK);
    ck_assert_uint_eq(p11->C_FindObjects(kl_session_handle(session), objects, 8, &count), CKR_OK);
    p11->C_FindObjectsFinal(kl_session_handle(session));
    ck_assert_uint_eq(count, 1); /* nothing of the load but the TMK */
    check_tmk(p11, kl_session_handle(session), objects[0]);
    kl_session_free(session);
    kl_token_free(token);
    kl_secret_free(pin);
    kl_uri_free(uri);
    kl_module_free(module);
}
END_TEST

/* What a kill, or a disk, may leave of an object never keeps the pad from its other TMKs. */
START_TEST(test_token_object_cut)
{
    struct kl_pinpad *pad = open_pad(TOKEN);
    struct kl_pinpad_tmk list[KL_PINPAD_TMK_MAX];
    char file[PATH_MAX];
    size_t len, count;

    start(pad);
    keep(pad, 1);
    keep(pad, 2);
    kl_pinpad_free(pad);
    for (len = objects_newest(dir, file); len-- > 0;) {
        ck_assert_int_eq(truncate(file, (off_t)len), 0);
        pad = open_pad(TOKEN);
        ok(kl_pinpad_list(pad, list, &count, &err));
        ck_assert_msg(count == 1 || (count == 2 && list[1].version == 2), "cut at %zu", len);
        ck_assert_uint_eq(list[0].version, 1);
        kl_pinpad_free(pad);
    }
    ck_assert_uint_eq(count, 1); /* an empty file is nothing at all */
    pad = open_pad(TOKEN);
    start(pad);
    keep(pad, 2);
    ok(kl_pinpad_destroy(pad, 1, &err));
    kl_pinpad_free(pad);
}
END_TEST

START_TEST(test_token_wrong_pin)
{
    struct kl_pinpad *pad = NULL;

    ok(kl_file_write(pin_path, "7654321\n", 8, 0600, 1, &err));
    ck_assert_int_eq(kl_pinpad_token_open(test_softhsm_path(), NULL, "pkcs11:token=" LABEL,
                                          pin_path, &pad, &err),
                     KL_ERR_PIN);
    ck_assert_ptr_null(pad);
    ck_assert_ptr_nonnull(strstr(err.text, "PIN pad"));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("pinpad");
    TCase *tc = tcase_create("pinpad");

    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_work_key, free_work_key);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_loop_test(tc, test_seal, 0, PAD_KINDS);
    tcase_add_loop_test(tc, test_mac, 0, PAD_KINDS);
    tcase_add_loop_test(tc, test_keys_mac, 0, PAD_KINDS);
    tcase_add_loop_test(tc, test_kcv, 0, TMKS * PAD_KINDS);
    tcase_add_loop_test(tc, test_rnd1_is_fresh, 0, PAD_KINDS);
    tcase_add_loop_test(tc, test_life, 0, PAD_KINDS);
    tcase_add_loop_test(tc, test_full, 0, PAD_KINDS);
    tcase_add_loop_test(tc, test_order, 0, PAD_KINDS);
    tcase_add_test(tc, test_memory_oaep_sha256);
    tcase_add_test(tc, test_token_objects);
    tcase_add_test(tc, test_token_object_cut);
    tcase_add_test(tc, test_token_wrong_pin);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return test_run(suite());
}
