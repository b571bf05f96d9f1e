/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sign-ins among the vectors of docs/protocol.md: every value follows from the others as the
 * document says, and no byte of them could be another; and the terminal simulator's PIN pad, with
 * the TMK of the load before, makes the same of them.
 */
#include <check.h>
#include <openssl/evp.h>
#include <string.h>

#include "terminal-sim/ack.h"
#include "terminal-sim/pinpad/pinpad.h"
#include "tests/support/suite.h"
#include "tests/support/vectors.h"

static struct kl_err err = KL_ERR_INIT;

#define ok(call) ck_assert_msg((call) == KL_OK, "%s: %s", #call, err.text)

/* What a sign-in comes after. */
static const struct vec_expected *load_of(int i)
{
    return &vec_expected[vec_expected_sign_ins[i].load];
}

static struct vec_set *load_values(int i)
{
    return &vec_loads[vec_expected_sign_ins[i].load];
}

static int is_field62(int i)
{
    return vec_expected_sign_ins[i].format == KL_FORMAT_FIELD62;
}

/* ---- What must hold between the values of a sign-in ---- */

static int check_transcript(struct vec_set *set, int i)
{
    const struct kl_bytes parts[] = {vec_bytes(set, "sign_in"), vec_bytes(set, "working_keys")};
    uint8_t hash[32];

    (void)i;
    vec_digest(EVP_sha256(), parts, 1, hash);
    if (!vec_is(set, "t0", hash, 32)) {
        return 0;
    }
    vec_digest(EVP_sha256(), parts, 2, hash);
    return vec_is(set, "t2", hash, 32);
}

static int check_keys(struct vec_set *set, int i)
{
    static const char *const purposes[] = {"keys", "ack", "done"};

    for (size_t n = 0; n < 3; n++) {
        if (!vec_check_key(set, purposes[n], vec_bytes(set, "session_key"), vec_bytes(set, "t0"),
                           (struct kl_bytes){NULL, 0})) {
            return 0;
        }
    }
    return kl_alg_info(load_of(i)->alg)->is_aes
               ? vec_get(set, "session_key")->len == (load_of(i)->alg == KL_ALG_AES128 ? 24 : 16)
               : vec_is_session_input(vec_bytes(set, "c_session"), vec_bytes(set, "t0"));
}

static int check_coding(struct vec_set *set, int i)
{
    (void)i;
    return vec_coding(set, "sign_in", KL_MSG_SIGN_IN) &&
           vec_coding(set, "working_keys", KL_MSG_WORKING_KEYS) &&
           vec_coding(set, "loaded", KL_MSG_LOADED) && vec_coding(set, "done", KL_MSG_DONE);
}

/* SignIn is the terminal's that has done the load, and for the TMK that it has got. */
static int check_sign_in(struct vec_set *set, int i)
{
    struct kl_msg msg, hello;
    const struct kl_sign_in *sign_in = &msg.u.sign_in;

    return vec_decode(set, "sign_in", &msg) && vec_decode(load_values(i), "hello", &hello) &&
           sign_in->version == 1 && strcmp(sign_in->serial, hello.u.hello.serial) == 0 &&
           strcmp(sign_in->pinpad_serial, hello.u.hello.pinpad_serial) == 0 &&
           sign_in->tmk_version == load_of(i)->version &&
           sign_in->format == vec_expected_sign_ins[i].format &&
           vec_is(set, "nonce", sign_in->nonce, 32) &&
           vec_is(load_values(i), "tmk", vec_get(set, "tmk")->data, vec_get(set, "tmk")->len);
}

static int check_working_keys(struct vec_set *set, int i)
{
    struct kl_msg msg;
    const struct kl_working_keys *keys = &msg.u.working_keys;

    if (!vec_decode(set, "working_keys", &msg) || keys->tmk_version != load_of(i)->version ||
        keys->alg != load_of(i)->alg ||
        !vec_is(set, "c_session", keys->c_session, keys->c_session_len) ||
        !vec_is(set, "body", keys->body_der.data, keys->body_der.len) ||
        !vec_is(set, "keys_mac", keys->mac, 16) || keys->has_field62 != is_field62(i)) {
        return 0;
    }
    if (is_field62(i)) {
        return vec_is(set, "field62", keys->field62, 40);
    }
    return vec_is(set, "c_pik", keys->pik.data, keys->pik.len) &&
           vec_is(set, "pik_kcv", keys->pik.kcv, keys->pik.kcv_len) &&
           vec_is(set, "c_mak", keys->mak.data, keys->mak.len) &&
           vec_is(set, "mak_kcv", keys->mak.kcv, keys->mak.kcv_len);
}

/* The 40 bytes, piece by piece. */
static int check_field62(struct vec_set *set, int i)
{
    static const struct {
        const char *name;
        size_t at, len;
    } pieces[] = {{"c_pik", 0, 16}, {"pik_kcv", 16, 4}, {"c_mak", 20, 8}, {"mak_kcv", 36, 4}};
    static const uint8_t zeros[8];

    for (size_t n = 0; is_field62(i) && n < 4; n++) {
        if (!vec_is(set, pieces[n].name, vec_get(set, "field62")->data + pieces[n].at,
                    pieces[n].len)) {
            return 0;
        }
    }
    return !is_field62(i) || memcmp(vec_get(set, "field62")->data + 28, zeros, 8) == 0;
}

/* A key under the TMK, in clear, and its KCV; one of 8 bytes stands for itself twice. */
static int check_key(struct vec_set *set, int i, const char *wrapped, const char *clear,
                     const char *kcv)
{
    uint8_t key[64], block[16];
    size_t len = vec_open(load_of(i)->alg, vec_get(set, "tmk")->data, vec_bytes(set, wrapped), key);

    if (len == 0 || !vec_is(set, clear, key, len)) {
        return 0;
    }
    if (len == 8) {
        memcpy(key + 8, key, 8);
    }
    vec_kcv(load_of(i)->alg, key, block);
    return !kcv || vec_is(set, kcv, block, vec_get(set, kcv)->len);
}

static int check_under_tmk(struct vec_set *set, int i)
{
    return check_key(set, i, "c_session", "session_key", NULL) &&
           check_key(set, i, "c_pik", "pik", "pik_kcv") &&
           check_key(set, i, "c_mak", "mak", "mak_kcv") && vec_get(set, "pik")->len == 16 &&
           vec_get(set, "mak")->len == (is_field62(i) ? 8 : 16);
}

static int check_answers(struct vec_set *set, int i)
{
    struct kl_msg loaded, done;

    return vec_decode(set, "loaded", &loaded) && vec_decode(set, "done", &done) &&
           vec_is(set, "pik_kcv", loaded.u.loaded.kcv, loaded.u.loaded.kcv_len) &&
           vec_is(set, "loaded_mac", loaded.u.loaded.mac, 16) &&
           done.u.done.verdict == KL_VERDICT_ACTIVE &&
           done.u.done.tmk_version == load_of(i)->version &&
           vec_is(set, "done_mac", done.u.done.mac, 16);
}

static int check_macs(struct vec_set *set, int i)
{
    const struct kl_bytes parts[] = {vec_bytes(set, "sign_in"), vec_bytes(set, "body")};
    uint8_t hash[32], mac[16];

    (void)i;
    vec_digest(EVP_sha256(), parts, 2, hash);
    vec_cmac(vec_bytes(set, "k_keys"), (struct kl_bytes){hash, 32}, mac);
    return vec_is(set, "keys_input", hash, 32) && vec_is(set, "keys_mac", mac, 16) &&
           vec_check_loaded_mac(set, "pik_kcv") &&
           vec_check_done_mac(set, "done", KL_VERDICT_ACTIVE);
}

static const vec_check checks[] = {check_transcript,   check_keys,
                                   check_coding,       check_sign_in,
                                   check_working_keys, check_field62,
                                   check_under_tmk,    check_answers,
                                   check_macs,         NULL};

START_TEST(test_values)
{
    vec_all_hold(&vec_sign_ins[_i], _i, checks);
}
END_TEST

START_TEST(test_every_byte_counts)
{
    vec_every_byte_counts(&vec_sign_ins[_i], _i, checks);
}
END_TEST

/* The example in section 6.11 of the document. */
START_TEST(test_field62_is_the_example)
{
    static const char example[] = "AA3A8E0552E755BDA9D6A7B8B636717408D7B4FBEEB761A274A250BF"
                                  "00000000000000006FB23EAD";
    uint8_t bytes[40];
    size_t len = 0;

    ck_assert(OPENSSL_hexstr2buf_ex(bytes, sizeof(bytes), &len, example, '\0') == 1);
    ck_assert(vec_is(&vec_sign_ins[2], "field62", bytes, len));
}
END_TEST

/* ---- The terminal ---- */

static const uint8_t any_hash[32] = {0x5a};

/* K_wrap of a load into that pad, which only the loader and the pad have: here the test is the
 * loader. */
static void start_load(struct kl_pinpad *pad, uint8_t k_wrap[32])
{
    uint8_t c_rnd1[KL_RSA_MAX], em[KL_RSA_MAX], *db = em + 21, label[32];
    struct kl_pubkey *work = NULL;
    size_t len = 0;

    ok(kl_pubkey_new(vec_keys[0], &work, &err));
    ok(kl_pinpad_start_rsa(pad, work, KL_OAEP_SHA1, any_hash, c_rnd1, &len, &err));
    ck_assert(vec_raw_rsa(vec_keys[0], 1, (struct kl_bytes){c_rnd1, len}, em));
    vec_mgf1_xor(EVP_sha1(), (struct kl_bytes){db, len - 21}, em + 1, 20);
    vec_mgf1_xor(EVP_sha1(), (struct kl_bytes){em + 1, 20}, db, len - 21);
    vec_derive("wrap", (struct kl_bytes){em + len - 32, 32}, (struct kl_bytes){any_hash, 32},
               (struct kl_bytes){NULL, 0}, label, k_wrap);
    kl_pubkey_free(work);
}

/* A PIN pad that has the TMK of the sign-in in use. */
static struct kl_pinpad *pad_with_tmk(struct vec_set *set, int i)
{
    struct kl_pinpad_tmk tmk = {.version = load_of(i)->version,
                                .alg = load_of(i)->alg,
                                .kcv_len = vec_get(load_values(i), "kcv")->len};
    struct kl_pinpad *pad = NULL;
    uint8_t k_wrap[32], ctmk[64];
    size_t len;

    ok(kl_pinpad_memory_new(&pad, &err));
    start_load(pad, k_wrap);
    len = vec_pass("AES256-WRAP", 1, k_wrap, vec_bytes(set, "tmk"), ctmk);
    memcpy(tmk.kcv, vec_get(load_values(i), "kcv")->data, tmk.kcv_len);
    ok(kl_pinpad_keep(pad, &tmk, ctmk, len, &err));
    kl_pinpad_end(pad);
    return pad;
}

static void check_pad_kcv(struct kl_pinpad *pad, struct vec_set *set, int i, const char *wrapped,
                          const char *expected)
{
    const struct vec_value *value = vec_get(set, wrapped);
    size_t kcv_len = vec_get(set, expected)->len;
    uint8_t twice[64], kcv[KL_KCV_LEN_MAX];

    /* The MAK of field 62: in ECB the same block twice. */
    memcpy(twice, value->data, value->len);
    memcpy(twice + value->len, value->data, value->len);
    ok(kl_pinpad_working_kcv(pad, load_of(i)->version, load_of(i)->alg, twice,
                             value->len == 8 ? 16 : value->len, kcv_len, kcv, &err));
    ck_assert(vec_is(set, expected, kcv, kcv_len));
}

START_TEST(test_terminal_accepts)
{
    struct vec_set *set = &vec_sign_ins[_i];
    struct kl_pinpad *pad = pad_with_tmk(set, _i);
    struct kl_bytes c_session = vec_bytes(set, "c_session"), kcv = vec_bytes(set, "pik_kcv");
    const uint8_t *t2 = vec_get(set, "t2")->data;
    struct kl_loaded loaded = {0};
    uint8_t mac[16];

    ok(kl_pinpad_start_session(pad, load_of(_i)->version, vec_get(set, "t0")->data, c_session.data,
                               c_session.len, &err));
    ok(kl_pinpad_mac(pad, KL_PURPOSE_KEYS, vec_get(set, "keys_input")->data, 32, mac, &err));
    ck_assert(vec_is(set, "keys_mac", mac, 16));
    check_pad_kcv(pad, set, _i, "c_pik", "pik_kcv");
    check_pad_kcv(pad, set, _i, "c_mak", "mak_kcv");
    ok(kl_ack_loaded(pad, t2, kcv.data, kcv.len, &loaded, &err));
    ck_assert(vec_is(set, "loaded_mac", loaded.mac, 16));
    ok(kl_ack_done_mac(pad, t2, KL_VERDICT_ACTIVE, mac, &err));
    ck_assert(vec_is(set, "done_mac", mac, 16));
    kl_pinpad_free(pad);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("vectors: sign-in");
    TCase *tc = tcase_create("sign-in");

    tcase_add_unchecked_fixture(tc, vec_setup, vec_teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_values, 0, VEC_SIGN_INS);
    tcase_add_loop_test(tc, test_every_byte_counts, 0, VEC_SIGN_INS);
    tcase_add_test(tc, test_field62_is_the_example);
    tcase_add_loop_test(tc, test_terminal_accepts, 0, VEC_SIGN_INS);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return test_run(suite());
}
