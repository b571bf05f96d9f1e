/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkcs11/loader's sign-in on a SoftHSM, and on one that wraps by TDES-ECB: the terminal, which
 * knows its TMK, opens what comes by OpenSSL alone.
 */
#include <check.h>
#include <openssl/rand.h>
#include <string.h>

#include "pkcs11/keys.h"
#include "pkcs11/ops.h"
#include "pkcs11/rv.h"
#include "tests/support/fake_p11.h"
#include "tests/support/host_terminal.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"
#include "tests/support/tdes_token.h"
#include "tests/support/watch.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A worked example of a Chinese network's sign-in, https://code456.com/article/3026509.html: TMK,
 * PIK and MAK, and the field 62 that brings them. */
static const uint8_t published_tmk[24] = {0xCA, 0x5D, 0x92, 0x59, 0x8D, 0xCA, 0x48, 0xCE,
                                          0x8A, 0x4C, 0x76, 0x36, 0x1A, 0x92, 0x69, 0xE9};
static const uint8_t published_pik[16] = {0x80, 0x7A, 0x23, 0xAD, 0x32, 0xB3, 0x6D, 0x45,
                                          0x7A, 0xE9, 0x1F, 0xDF, 0x92, 0x75, 0x70, 0xEA};
static const uint8_t published_mak[8] = {0x5B, 0xB5, 0xC7, 0x2C, 0xD0, 0x0B, 0x73, 0x38};
static const uint8_t published_field[KL_FIELD62_LEN] = {0x67, 0x01, 0xEA, 0xD6, 0xA9, 0xAD, 0x51,
                                                        0xE5, 0x1A, 0xA4, 0x06, 0xE2, 0xC2, 0x7F,
                                                        0xCF, 0xA9, 0x8D, 0x0A, 0x74, 0xB8, 0xB6,
                                                        0x51, 0xF9, 0xE9, 0xBA, 0xCE, 0x9A, 0xE1,
                                                        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                                        0x00, 0xAB, 0x71, 0x53, 0xCA};

static uint8_t tmk_value[32];
static struct kl_stored_key tmk;
static uint8_t sign_in[KL_MSG_MAX];
static size_t sign_in_len;
static struct kl_sign_in_in in;
static struct kl_sign_in_out out;
static struct kl_loader_config config;

/* ---- The terminal and its TMK ---- */

static void setup(void)
{
    ht_setup((struct ht_key){KL_SUITE_HARDENED_EC, 256});
    config = p11_config;
}

static void open_with(int host_fallback)
{
    config.host_fallback = host_fallback;
    ht_open(&config);
}

/* A TMK that the terminal knows, as the store has it. */
static void make_tmk(enum kl_alg alg, const uint8_t *value)
{
    memcpy(tmk_value, value, kl_alg_info(alg)->key_len);
    tmk = p11_stored_key(alg, value, KL_BINDING_TMK, "T-0001", 7);
    in.tmk = &tmk;
    in.tmk_version = 7;
    in.kcv_len = 4;
}

static void encode_sign_in(const struct kl_sign_in *message)
{
    struct kl_msg msg = {.type = KL_MSG_SIGN_IN, .u.sign_in = *message};

    ck_ok(kl_msg_encode(&msg, sign_in, &sign_in_len, &err));
    in.sign_in = (struct kl_bytes){sign_in, sign_in_len};
}

static struct kl_sign_in sample(enum kl_key_format format)
{
    struct kl_sign_in message = {
        .version = KL_PROTOCOL_VERSION,
        .serial = "T-0001",
        .pinpad_serial = "P-0001",
        .tmk_version = 7,
        .format = (uint8_t)format,
        .nonce = {1, 2, 3},
    };

    return message;
}

static void prepare(enum kl_alg alg, enum kl_key_format format)
{
    struct kl_sign_in message = sample(format);
    uint8_t value[32];

    ck_assert(RAND_bytes(value, sizeof(value)) == 1);
    make_tmk(alg, value);
    encode_sign_in(&message);
}

static enum kl_rc run(void)
{
    return kl_loader_sign_in(loader, &in, &out, &err);
}

static void refused(enum kl_rc rc)
{
    struct kl_sign_in_out untouched;

    memset(&out, 0xee, sizeof(out));
    memset(&untouched, 0xee, sizeof(untouched));
    ck_rc(run(), rc);
    ck_assert_mem_eq(&out, &untouched, sizeof(out));
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
    ck_assert_int_eq(kl_rc_is_hsm_trouble(rc), 0);
}

/* What is under the TMK, by OpenSSL. */
static void open_key(const uint8_t *data, size_t len, size_t want_len, uint8_t *key)
{
    static const char *const names[] = {"DES-EDE-ECB", "DES-EDE3-ECB", "AES-128-WRAP",
                                        "AES-192-WRAP", "AES-256-WRAP"};
    uint8_t opened[KL_CTMK_LEN_MAX];

    ck_assert_uint_eq(len, want_len + (kl_alg_info(tmk.alg)->is_aes ? 8 : 0));
    ck_assert_uint_eq(ht_pass(names[tmk.alg - 1], 0, tmk_value, data, len, opened), want_len);
    memcpy(key, opened, want_len);
}

static void check_stored(const struct kl_stored_key *stored, enum kl_binding_kind kind,
                         enum kl_alg alg, const uint8_t *key, size_t kcv_len)
{
    struct kl_stored_key bound = *stored;
    CK_OBJECT_HANDLE storage, handle;
    uint8_t expected[4], kcv[4];

    ht_kcv(alg, key, expected);
    ck_assert_int_eq(stored->alg, alg);
    ck_assert_uint_eq(stored->kcv_len, kcv_len);
    ck_assert_mem_eq(stored->kcv, expected, kcv_len);
    ck_ok(kl_storage_key_find(hsm.session, "storage", &storage, &err));
    ck_ok(kl_op_unwrap_tmk(hsm.session, storage, alg, stored->cryptogram, stored->cryptogram_len,
                           KL_USE_KCV, &handle, &err));
    ck_ok(kl_op_kcv(hsm.session, handle, alg, 4, kcv, &err));
    ck_assert_mem_eq(kcv, expected, 4);
    kl_op_destroy(hsm.session, &handle);
    p11_bind(&bound, kind, "T-0001", 7);
    ck_assert_mem_eq(stored->binding, bound.binding, sizeof(bound.binding));
}

/* The session key is as long as no working key, or nobody's choice. */
static size_t open_session(const struct kl_working_keys *keys, uint8_t session[24])
{
    static const char label[] = "keyloader/1 session"; /* and its NUL */
    size_t len = tmk.alg == KL_ALG_AES128 ? 24 : 16;
    uint8_t t0[32], due[32];

    open_key(keys->c_session, keys->c_session_len, len, session);
    if (!kl_alg_info(tmk.alg)->is_aes) {
        const struct kl_bytes parts[] = {{(const uint8_t *)label, sizeof(label)}, {t0, 32}};

        ht_sha256(&in.sign_in, 1, t0);
        ht_sha256(parts, 2, due);
        ck_assert_mem_eq(keys->c_session, due, 16);
    }
    return len;
}

static void check_macs(const struct kl_working_keys *keys, size_t kcv_len)
{
    uint8_t session[24];
    size_t len = open_session(keys, session);
    const struct kl_bytes parts[] = {in.sign_in, keys->body_der};
    const struct kl_bytes all[] = {in.sign_in, {out.message, out.message_len}};
    uint8_t t0[32], covered[32], key[32], mac[16], input[64];

    ht_sha256(&in.sign_in, 1, t0);
    ht_sha256(parts, 2, covered);
    ht_derive(session, len, "keys", t0, key);
    ht_cmac(key, 32, covered, 32, mac);
    ck_assert_mem_eq(mac, keys->mac, 16);
    ht_sha256(all, 2, input);
    input[32] = 1;
    memcpy(input + 33, out.pik.kcv, kcv_len);
    ht_derive(session, len, "ack", t0, key);
    ht_cmac(key, 32, input, 33 + kcv_len, mac);
    ck_assert_mem_eq(mac, out.ack_mac, 16);
    ht_derive(session, len, "done", t0, key);
    ht_cmac(key, 32, input, 33, mac);
    ck_assert_mem_eq(mac, out.active_mac, 16);
}

static void decode_keys(struct kl_msg *msg)
{
    const struct kl_working_keys *keys = &msg->u.working_keys;

    ck_ok(kl_msg_decode(out.message, out.message_len, msg, &err));
    ck_assert_int_eq(msg->type, KL_MSG_WORKING_KEYS);
    ck_assert_uint_eq(keys->tmk_version, 7);
    ck_assert_uint_eq(keys->alg, tmk.alg);
}

/* KL_FORMAT_KEYS: everything there is; the values of both keys. */
static void check_keys(uint8_t pik[32], uint8_t mak[32])
{
    size_t key_len = kl_alg_info(tmk.alg)->key_len;
    struct kl_msg msg;
    const struct kl_working_keys *keys = &msg.u.working_keys;

    decode_keys(&msg);
    ck_assert(!keys->has_field62);
    open_key(keys->pik.data, keys->pik.len, key_len, pik);
    open_key(keys->mak.data, keys->mak.len, key_len, mak);
    ck_assert_mem_ne(pik, mak, key_len);
    ck_assert_uint_eq(keys->pik.kcv_len, in.kcv_len);
    ck_assert_uint_eq(keys->mak.kcv_len, in.kcv_len);
    ck_assert_mem_eq(keys->pik.kcv, out.pik.kcv, in.kcv_len);
    ck_assert_mem_eq(keys->mak.kcv, out.mak.kcv, in.kcv_len);
    check_stored(&out.pik, KL_BINDING_PIK, tmk.alg, pik, in.kcv_len);
    check_stored(&out.mak, KL_BINDING_MAK, tmk.alg, mak, in.kcv_len);
    check_macs(keys, in.kcv_len);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
}

static void check_parity(const uint8_t *key, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        ck_assert_msg(__builtin_popcount(key[i]) % 2 == 1, "byte %zu: %02x", i, key[i]);
    }
}

/* ---- AES: all inside the token ---- */

START_TEST(aes_keys_stay_inside)
{
    uint8_t pik[32], mak[32], first[32];

    prepare(KL_ALG_AES128 + (enum kl_alg)_i, KL_FORMAT_KEYS);
    fake_p11_reset();
    ck_ok(run());
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_CreateObject), 0);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_GenerateRandom), 0);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Encrypt), 0);
    check_keys(first, mak);
    in.kcv_len = 3;
    ck_ok(run());
    check_keys(pik, mak);
    ck_assert_mem_ne(first, pik, 16); /* fresh each time */
}
END_TEST

START_TEST(field_62_is_not_for_aes)
{
    open_with(1);
    prepare(KL_ALG_AES128, KL_FORMAT_FIELD62);
    refused(KL_ERR_UNSUPPORTED);
}
END_TEST

/* ---- TDES, with host memory's help ---- */

START_TEST(tdes_keys_with_the_hosts_help)
{
    uint8_t pik[32], mak[32];
    size_t len;

    open_with(1);
    prepare(KL_ALG_TDES2 + (enum kl_alg)_i, KL_FORMAT_KEYS);
    ck_ok(run());
    check_keys(pik, mak);
    len = kl_alg_info(tmk.alg)->key_len;
    check_parity(pik, len);
    check_parity(mak, len);
}
END_TEST

START_TEST(tdes_keys_need_the_operators_word)
{
    prepare(KL_ALG_TDES2 + (enum kl_alg)(_i % 2), _i < 2 ? KL_FORMAT_KEYS : KL_FORMAT_FIELD62);
    fake_p11_reset();
    refused(KL_ERR_UNSUPPORTED);
    ck_says("host-fallback");
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_GenerateRandom), 0);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_UnwrapKey), 0);
}
END_TEST

/* ---- Field 62 ---- */

static CK_RV draws_published(CK_SESSION_HANDLE s, unsigned char *bytes, CK_ULONG len)
{
    (void)s;
    ck_assert_uint_eq(len, 16 + 16);
    memset(bytes, 0x3c, len);
    memcpy(bytes, published_pik, sizeof(published_pik));
    memcpy(bytes + 16, published_mak, sizeof(published_mak));
    return CKR_OK;
}

START_TEST(field_62_as_published)
{
    struct kl_sign_in message = sample(KL_FORMAT_FIELD62);
    struct kl_msg msg;
    uint8_t mak[16];

    open_with(1);
    make_tmk(KL_ALG_TDES2, published_tmk);
    encode_sign_in(&message);
    in.kcv_len = 3; /* in this format it is 4 */
    hsm.f->C_GenerateRandom = draws_published;
    ck_ok(run());
    decode_keys(&msg);
    ck_assert(msg.u.working_keys.has_field62);
    ck_assert_mem_eq(msg.u.working_keys.field62, published_field, KL_FIELD62_LEN);
    memcpy(mak, published_mak, 8);
    memcpy(mak + 8, published_mak, 8);
    check_stored(&out.pik, KL_BINDING_PIK, KL_ALG_TDES2, published_pik, 4);
    check_stored(&out.mak, KL_BINDING_MAK, KL_ALG_TDES2, mak, 4);
    check_macs(&msg.u.working_keys, 4);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
}
END_TEST

/* The layout is the same under a TMK of triple length. */
START_TEST(field_62_under_any_tdes_tmk)
{
    struct kl_msg msg;
    const uint8_t *field = msg.u.working_keys.field62;
    static const uint8_t zeros[8];
    uint8_t pik[16], mak[16], kcv[4];

    open_with(1);
    prepare(KL_ALG_TDES2 + (enum kl_alg)_i, KL_FORMAT_FIELD62);
    ck_ok(run());
    decode_keys(&msg);
    open_key(field, 16, 16, pik);
    open_key(field + 20, 8, 8, mak);
    memcpy(mak + 8, mak, 8);
    check_parity(pik, 16);
    check_parity(mak, 8);
    ht_kcv(KL_ALG_TDES2, pik, kcv);
    ck_assert_mem_eq(field + 16, kcv, 4);
    ck_assert_mem_eq(field + 28, zeros, 8);
    ht_kcv(KL_ALG_TDES2, mak, kcv);
    ck_assert_mem_eq(field + 36, kcv, 4);
    check_stored(&out.pik, KL_BINDING_PIK, KL_ALG_TDES2, pik, 4);
    check_stored(&out.mak, KL_BINDING_MAK, KL_ALG_TDES2, mak, 4);
    check_macs(&msg.u.working_keys, 4);
}
END_TEST

/* ---- A token that wraps by TDES-ECB ---- */

START_TEST(tdes_keys_inside_a_token_that_wraps)
{
    uint8_t pik[32], mak[32];

    tdes_token(&tmk, tmk_value);
    open_with(_i / 2);
    prepare(KL_ALG_TDES2 + (enum kl_alg)(_i % 2), KL_FORMAT_KEYS);
    fake_p11_reset();
    ck_ok(run());
    /* Nothing was drawn or opened for the host. */
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_GenerateRandom), 0);
    ck_assert_uint_eq(fake_p11_calls(FAKE_C_Decrypt), 0);
    check_keys(pik, mak);
}
END_TEST

/* A MAK of single length is no key of its own anywhere. */
START_TEST(field_62_needs_the_host_even_there)
{
    tdes_token(&tmk, tmk_value);
    open_with(0);
    prepare(KL_ALG_TDES2, KL_FORMAT_FIELD62);
    refused(KL_ERR_UNSUPPORTED);
    ck_says("MAK of field 62");
    open_with(1);
    ck_ok(run());
}
END_TEST

/* It says CKR_OK, but what it gives is something else: as if it could not. */
START_TEST(a_token_that_wraps_wrongly_does_not_wrap)
{
    tdes_token(&tmk, tmk_value);
    tdes_token_lies(_i == 0, _i == 1);
    open_with(0);
    prepare(KL_ALG_TDES2, KL_FORMAT_KEYS);
    refused(KL_ERR_UNSUPPORTED);
    ck_says("does not wrap and unwrap");
}
END_TEST

/* ---- One use each ---- */

/* TMK, session key, PIK, MAK, K_keys, K_ack and K_done: as many as that. TDES: the TMK in one use
 * more, and what it takes to get there: a wrappable one, a base, and two keys from it. */
START_TEST(every_key_of_a_sign_in_has_one_use)
{
    enum kl_alg alg = (enum kl_alg)(_i % KL_ALG_COUNT + 1);
    int field62 = _i / KL_ALG_COUNT;

    open_with(1);
    prepare(alg, field62 ? KL_FORMAT_FIELD62 : KL_FORMAT_KEYS);
    watch_keys();
    ck_ok(run());
    ck_assert_uint_eq(watch_seen, kl_alg_info(alg)->is_aes ? 7 : 12);
}
END_TEST

/* ---- What is refused ---- */

START_TEST(bad_jobs_are_refused)
{
    struct kl_sign_in message = sample(KL_FORMAT_KEYS);
    struct kl_sign_in_in good;

    prepare(KL_ALG_AES128, KL_FORMAT_KEYS);
    good = in;
    in.kcv_len = 2;
    refused(KL_ERR_INTERNAL);
    in.kcv_len = 5;
    refused(KL_ERR_INTERNAL);
    in = good;
    tmk.alg = 6;
    refused(KL_ERR_INTERNAL);
    tmk.alg = KL_ALG_AES128;
    in.tmk_version = 8; /* SignIn names another */
    refused(KL_ERR_PROTOCOL);
    in = good;
    in.sign_in.len--;
    refused(KL_ERR_PROTOCOL);
    in.sign_in = (struct kl_bytes){term->hello, term->hello_len};
    refused(KL_ERR_PROTOCOL);
    message.version = 2;
    encode_sign_in(&message);
    refused(KL_ERR_UNSUPPORTED);
}
END_TEST

START_TEST(a_bad_cryptogram_is_the_stores)
{
    enum kl_alg alg = _i ? KL_ALG_TDES3 : KL_ALG_AES256;
    struct kl_stored_key good;

    open_with(1);
    prepare(alg, KL_FORMAT_KEYS);
    good = tmk;
    tmk.cryptogram[9] ^= 0x80;
    refused(KL_ERR_STORE);
    ck_says("changed from outside");
    p11_bind(&tmk, KL_BINDING_TMK, "T-0001", 7); /* as if our own load had gone wrong */
    refused(KL_ERR_STORE);
    ck_says("store's cryptogram");
    tmk = good;
    tmk.cryptogram_len -= 8;
    refused(KL_ERR_STORE);
    p11_bind(&tmk, KL_BINDING_TMK, "T-0001", 7);
    refused(KL_ERR_STORE);
    tmk = good;
    ck_ok(run());
}
END_TEST

/* A whole key, and a binding of ours; but to another terminal, version or role. */
START_TEST(a_key_of_another_is_not_used)
{
    static const struct {
        enum kl_binding_kind kind;
        const char *serial;
        uint32_t version;
    } table[] = {
        {KL_BINDING_TMK, "T-0002", 7}, {KL_BINDING_TMK, "T-0001", 6},
        {KL_BINDING_TMK, "T-0001", 8}, {KL_BINDING_PIK, "T-0001", 7},
        {KL_BINDING_MAK, "T-0001", 7}, {KL_BINDING_IMPORT, "T-0001", 0},
        {KL_BINDING_TMK, "T-000", 7},
    };
    struct kl_stored_key good;

    prepare(KL_ALG_AES128, KL_FORMAT_KEYS);
    good = tmk;
    tmk = p11_stored_key(KL_ALG_AES128, NULL, table[_i].kind, table[_i].serial, table[_i].version);
    refused(KL_ERR_STORE);
    ck_assert_str_eq(err.text, "the stored key of terminal T-0001, version 7, is not as keyloader "
                               "wrote it: the store was changed from outside");
    memcpy(tmk.binding, good.binding, sizeof(tmk.binding));
    refused(KL_ERR_STORE);
    tmk = good;
    tmk.kcv[3] ^= 1;
    refused(KL_ERR_STORE);
    tmk = good;
    ck_ok(run());
}
END_TEST

/* ---- A failing HSM ---- */

START_TEST(a_token_that_refuses_everything)
{
    prepare(KL_ALG_AES128, KL_FORMAT_KEYS);
    fake_p11_fail(FAKE_C_UnwrapKey, 0, CKR_GENERAL_ERROR);
    ck_rc(run(), KL_ERR_HSM);
    ck_says("known answer");
}
END_TEST

/* The session key, PIK and MAK: a token that gives more or less than that is not believed. */
static CK_FUNCTION_LIST honest;
static int until_wrong, wrong_by;
static CK_RV wraps_to_another_length(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism,
                                     CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key,
                                     unsigned char *wrapped, CK_ULONG *len)
{
    CK_RV rv = honest.C_WrapKey(s, mechanism, kek, key, wrapped, len);

    if (rv == CKR_OK && until_wrong-- == 0) {
        *len = (CK_ULONG)((long)*len + wrong_by);
    }
    return rv;
}

START_TEST(a_wrapped_key_of_another_length)
{
    prepare(KL_ALG_AES128, KL_FORMAT_KEYS);
    honest = *hsm.f;
    hsm.f->C_WrapKey = wraps_to_another_length;
    until_wrong = _i % 3;
    wrong_by = _i < 3 ? -8 : 8;
    ck_rc(run(), KL_ERR_HSM);
    ck_says("the token wrapped a key aes");
    hsm.f->C_WrapKey = honest.C_WrapKey;
    ck_ok(run());
}
END_TEST

START_TEST(every_failing_call_is_cleaned_up)
{
    static const enum fake_p11_fn fns[] = {
        FAKE_C_UnwrapKey,      FAKE_C_GetAttributeValue, FAKE_C_DeriveKey, FAKE_C_GenerateKey,
        FAKE_C_WrapKey,        FAKE_C_EncryptInit,       FAKE_C_Encrypt,   FAKE_C_SignInit,
        FAKE_C_GenerateRandom, FAKE_C_CreateObject,      FAKE_C_Sign,      FAKE_C_DecryptInit,
        FAKE_C_Decrypt,
    };
    enum fake_p11_fn fn = fns[_i % 13];
    struct kl_sign_in_out untouched;
    unsigned calls;

    open_with(1);
    prepare(_i < 13 ? KL_ALG_AES128 : KL_ALG_TDES2, KL_FORMAT_KEYS);
    fake_p11_reset();
    ck_ok(run());
    calls = fake_p11_calls(fn);
    memset(&untouched, 0xee, sizeof(untouched));
    for (unsigned nth = 1; nth <= calls; nth++) {
        memset(&out, 0xee, sizeof(out));
        fake_p11_reset();
        fake_p11_fail(fn, nth, CKR_DEVICE_REMOVED);
        ck_rc(run(), KL_ERR_TOKEN);
        ck_assert_mem_eq(&out, &untouched, sizeof(out));
        ck_assert_uint_eq(test_session_objects(hsm.session), 0);
        open_with(1);
    }
}
END_TEST

static Suite *sign_in_suite(void)
{
    Suite *suite = suite_create("loader: sign-in");
    TCase *good = tcase_create("good"), *bad = tcase_create("bad");
    TCase *const cases[] = {good, bad};

    for (size_t i = 0; i < COUNT(cases); i++) {
        tcase_add_checked_fixture(cases[i], setup, ht_teardown);
        tcase_set_timeout(cases[i], 60);
        suite_add_tcase(suite, cases[i]);
    }
    tcase_add_loop_test(good, aes_keys_stay_inside, 0, 3);
    tcase_add_loop_test(good, tdes_keys_with_the_hosts_help, 0, 2);
    tcase_add_test(good, field_62_as_published);
    tcase_add_loop_test(good, field_62_under_any_tdes_tmk, 0, 2);
    tcase_add_loop_test(good, tdes_keys_inside_a_token_that_wraps, 0, 4);
    tcase_add_test(good, field_62_needs_the_host_even_there);
    tcase_add_loop_test(good, every_key_of_a_sign_in_has_one_use, 0, KL_ALG_COUNT + 2);
    tcase_add_test(bad, field_62_is_not_for_aes);
    tcase_add_loop_test(bad, tdes_keys_need_the_operators_word, 0, 4);
    tcase_add_loop_test(bad, a_token_that_wraps_wrongly_does_not_wrap, 0, 2);
    tcase_add_test(bad, bad_jobs_are_refused);
    tcase_add_loop_test(bad, a_bad_cryptogram_is_the_stores, 0, 2);
    tcase_add_loop_test(bad, a_key_of_another_is_not_used, 0, 7);
    tcase_add_test(bad, a_token_that_refuses_everything);
    tcase_add_loop_test(bad, a_wrapped_key_of_another_length, 0, 6);
    tcase_add_loop_test(bad, every_failing_call_is_cleaned_up, 0, 26);
    return suite;
}

int main(void)
{
    return test_run(sign_in_suite());
}
