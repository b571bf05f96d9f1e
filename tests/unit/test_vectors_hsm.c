/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vectors of docs/protocol.md against the loader's part, on a SoftHSM that holds the vectors'
 * work keys and TMKs; and published vectors that pin down which algorithms the document's words
 * mean.
 */
#include <check.h>
#include <openssl/evp.h>
#include <string.h>

#include "pkcs11/keys.h"
#include "pkcs11/loader.h"
#include "pkcs11/ops.h"
#include "terminal-sim/suite.h"
#include "tests/support/p11.h"
#include "tests/support/suite.h"
#include "tests/support/vectors.h"

#define NO_BYTES ((struct kl_bytes){NULL, 0})

static struct kl_err err = KL_ERR_INIT;

/* ---- The loader, on a SoftHSM ---- */

static struct kl_loader *open_loader(int i)
{
    const struct kl_loader_config config = {.work_keys = {{"work", 0}},
                                            .work_key_count = 1,
                                            .storage_key = "storage",
                                            .binding_key = "binding",
                                            .strength_enforce = 1,
                                            .host_fallback = 1};
    struct kl_loader_key keys[KL_LOADER_KEYS_MAX];
    struct kl_loader *loader = NULL;

    ck_ok(kl_pair_import(hsm.session, kl_pair_role_of(vec_expected[i].suite), "work", vec_keys[i],
                         &err));
    p11_make_store_keys();
    ck_ok(kl_loader_open(hsm.token, &config, &loader, &err));
    ck_assert_uint_eq(kl_loader_keys(loader, keys), 1);
    ck_assert_int_eq(keys[0].suite, vec_expected[i].suite);
    ck_assert_int_eq(keys[0].oaep_hash, KL_OAEP_SHA1);
    return loader;
}

/* The TMK of a load's set as the store would have it: waiting, or loaded by that version. */
static struct kl_stored_key stored_tmk(struct vec_set *set, enum kl_alg alg, uint32_t version)
{
    struct kl_bytes first = vec_bytes(set, version ? "sign_in" : "hello");
    struct kl_msg msg;

    ck_ok(kl_msg_decode(first.data, first.len, &msg, &err));
    return version ? p11_stored_key(alg, vec_get(set, "tmk")->data, KL_BINDING_TMK,
                                    msg.u.sign_in.serial, version)
                   : p11_stored_key(alg, vec_get(set, "tmk")->data, KL_BINDING_IMPORT,
                                    msg.u.hello.serial, 0);
}

static enum kl_rc run(struct kl_loader *loader, int i, const struct kl_stored_key *tmk,
                      struct kl_load_out *out)
{
    struct vec_set *set = &vec_loads[i];
    const struct kl_load_in in = {.work_key = "work",
                                  .hello = vec_bytes(set, "hello"),
                                  .certificate = vec_bytes(set, "certificate"),
                                  .randoms = vec_bytes(set, "randoms"),
                                  .alg = vec_expected[i].alg,
                                  .tmk_version = vec_expected[i].version,
                                  .kcv_len = vec_get(set, "kcv")->len,
                                  .tmk = tmk};

    return kl_loader_run(loader, &in, out, &err);
}

/* A MAC over T2 and that tail, by the document, is this. */
static void check_mac(struct kl_bytes key, const uint8_t t2[32], struct kl_bytes tail,
                      const uint8_t mac[16])
{
    uint8_t input[40], expected[16];

    memcpy(input, t2, 32);
    memcpy(input + 32, tail.data, tail.len);
    vec_cmac(key, (struct kl_bytes){input, 32 + tail.len}, expected);
    ck_assert_mem_eq(mac, expected, 16);
}

/* The MACs of a good Loaded with that KCV, and of Done, active. */
static void check_macs(struct kl_bytes k_ack, struct kl_bytes k_done, const uint8_t t2[32],
                       struct kl_bytes kcv, const uint8_t *ack_mac, const uint8_t *active_mac)
{
    uint8_t tail[5] = {1};

    memcpy(tail + 1, kcv.data, kcv.len);
    check_mac(k_ack, t2, (struct kl_bytes){tail, 1 + kcv.len}, ack_mac);
    check_mac(k_done, t2, (struct kl_bytes){tail, 1}, active_mac);
}

/* With the TMK given, only what is random in the signature is the loader's own. */
static void check_output(int i, const struct kl_load_out *out)
{
    static const uint8_t drop[] = {2};
    struct vec_set *set = &vec_loads[i];
    const struct kl_bytes parts[] = {vec_bytes(set, "hello"),
                                     vec_bytes(set, "certificate"),
                                     vec_bytes(set, "randoms"),
                                     {out->master_key, out->master_key_len}};
    struct kl_auth_work work = {0};
    struct kl_msg msg;
    struct kl_master_key *master_key = &msg.u.master_key;
    uint8_t t2[32];

    ck_ok(kl_msg_decode(out->master_key, out->master_key_len, &msg, &err));
    ck_assert(vec_is(set, "tbs", master_key->tbs_der.data, master_key->tbs_der.len));
    ck_assert(vec_is(set, "kcv", out->kcv, out->kcv_len));
    ck_ok(kl_pubkey_new(vec_keys[i], &work.key, &err));
    ck_ok(kl_terminal_suite_of(vec_expected[i].suite)->verify(&work, master_key, &err));
    kl_pubkey_free(work.key);
    ck_assert(vec_is(set, "ctmk", master_key->tbs.ctmk, master_key->tbs.ctmk_len));
    ck_assert(vec_is(set, "rnd2", master_key->tbs.rnd2, 32));
    vec_digest(EVP_sha256(), parts, 4, t2);
    check_macs(vec_bytes(set, "k_ack"), vec_bytes(set, "k_done"), t2, vec_bytes(set, "kcv"),
               out->ack_mac, out->active_mac);
    check_mac(vec_bytes(set, "k_done"), t2, (struct kl_bytes){drop, 1}, out->drop_mac);
    if (vec_expected[i].suite == KL_SUITE_CLASSIC) { /* nothing is random */
        ck_assert(vec_is(set, "master_key", out->master_key, out->master_key_len));
        ck_assert(vec_is(set, "loaded_mac", out->ack_mac, 16));
        ck_assert(vec_is(set, "done_active_mac", out->active_mac, 16));
        ck_assert(vec_is(set, "done_drop_mac", out->drop_mac, 16));
    }
}

/* SoftHSM does OAEP with SHA-1 only: the third load is none of these. */
START_TEST(test_loader_accepts)
{
    static const int loads[] = {0, 1, 3, 4, 5};
    int i = loads[_i];
    struct kl_loader *loader = open_loader(i);
    struct kl_stored_key tmk = stored_tmk(&vec_loads[i], vec_expected[i].alg, 0);
    struct kl_load_out out;

    ck_ok(run(loader, i, &tmk, &out));
    check_output(i, &out);
    kl_loader_free(loader);
}
END_TEST

/* 1 if that byte of that message is one of C_rnd1_rnd2, none of the DER around it. */
static int secret(struct vec_set *set, const char *message, size_t at)
{
    static const char *const names[] = {"c_rnd1", "iv", "c_rnd2", "point"};
    const struct vec_value *randoms = vec_get(set, "randoms");

    for (size_t v = 0; strcmp(message, "randoms") == 0 && v < set->count; v++) {
        const struct vec_value *part = &set->values[v];
        const uint8_t *from = memmem(randoms->data, randoms->len, part->data, part->len);

        for (size_t n = 0; n < 4; n++) {
            if (strcmp(part->name, names[n]) == 0 && randoms->data + at >= from &&
                randoms->data + at < from + part->len) {
                return 1;
            }
        }
    }
    return 0;
}

/* Every byte of Randoms; and of what comes before it enough to see that T0 is bound, as it is in
 * the two hardened suites. */
START_TEST(test_loader_refuses)
{
    static const int loads[] = {0, 3, 4};
    static const struct {
        const char *name;
        size_t step; /* every how manieth byte */
    } fields[] = {{"randoms", 1}, {"certificate", 29}, {"hello", 1}};
    int i = loads[_i];
    struct kl_loader *loader = open_loader(i);
    struct vec_set *set = &vec_loads[i];
    struct kl_load_out out;

    for (size_t n = 0; n < (vec_expected[i].suite == KL_SUITE_CLASSIC ? 1 : 3); n++) {
        struct vec_value *value = vec_get(set, fields[n].name);

        for (size_t at = 0; at < value->len; at += fields[n].step) {
            enum kl_rc rc;

            value->data[at] ^= 1;
            rc = run(loader, i, NULL, &out);
            value->data[at] ^= 1;
            /* Headers and choices break the protocol; all else is found by decrypting. */
            ck_assert_msg(rc == KL_ERR_VERIFY ||
                              (!secret(set, fields[n].name, at) &&
                               (rc == KL_ERR_PROTOCOL || rc == KL_ERR_UNSUPPORTED)),
                          "byte %zu of %s: %s", at, fields[n].name, kl_rc_name(rc));
        }
    }
    ck_ok(run(loader, i, NULL, &out));
    kl_loader_free(loader);
}
END_TEST

/* ---- Sign-in ---- */

/* One key out of a message: 1 if it opens under the TMK and its KCV is that. */
static int opens(struct vec_set *set, enum kl_alg alg, struct kl_bytes wrapped, struct kl_bytes kcv)
{
    uint8_t twice[16], key[64], block[16];

    if (wrapped.len == 8) {
        memcpy(twice, wrapped.data, 8);
        memcpy(twice + 8, wrapped.data, 8);
        wrapped = (struct kl_bytes){twice, 16};
    }
    if (vec_open(alg, vec_get(set, "tmk")->data, wrapped, key) != kl_alg_info(alg)->key_len) {
        return 0;
    }
    vec_kcv(alg, key, block);
    return memcmp(block, kcv.data, kcv.len) == 0;
}

/* PIK and MAK, in whichever format; PIK's KCV. */
static struct kl_bytes check_working_keys(struct vec_set *set, enum kl_alg alg,
                                          enum kl_key_format format,
                                          const struct kl_working_keys *keys)
{
    static const uint8_t zeros[8];
    const uint8_t *field = keys->field62;

    ck_assert_int_eq(keys->has_field62, format == KL_FORMAT_FIELD62);
    if (keys->has_field62) {
        ck_assert(opens(set, alg, (struct kl_bytes){field, 16}, (struct kl_bytes){field + 16, 4}));
        ck_assert(
            opens(set, alg, (struct kl_bytes){field + 20, 8}, (struct kl_bytes){field + 36, 4}));
        ck_assert_mem_eq(field + 28, zeros, 8);
        return (struct kl_bytes){field + 16, 4};
    }
    ck_assert(opens(set, alg, (struct kl_bytes){keys->pik.data, keys->pik.len},
                    (struct kl_bytes){keys->pik.kcv, keys->pik.kcv_len}));
    ck_assert(opens(set, alg, (struct kl_bytes){keys->mak.data, keys->mak.len},
                    (struct kl_bytes){keys->mak.kcv, keys->mak.kcv_len}));
    return (struct kl_bytes){keys->pik.kcv, keys->pik.kcv_len};
}

/* PIK, MAK and, under AES, the session key are the loader's own; the rest follows from them by the
 * document. */
static void check_sign_in(int i, const struct kl_sign_in_out *out)
{
    struct vec_set *set = &vec_sign_ins[i];
    const struct vec_expected *load = &vec_expected[vec_expected_sign_ins[i].load];
    struct kl_bytes parts[] = {vec_bytes(set, "sign_in"), {out->message, out->message_len}};
    struct kl_bytes session, pik_kcv, t0 = vec_bytes(set, "t0");
    uint8_t key[64], t2[32], hash[32], mac[16], label[32], k_keys[32], k_ack[32], k_done[32];
    struct kl_msg msg;
    const struct kl_working_keys *keys = &msg.u.working_keys;

    ck_ok(kl_msg_decode(out->message, out->message_len, &msg, &err));
    ck_assert_int_eq(msg.type, KL_MSG_WORKING_KEYS);
    ck_assert_uint_eq(keys->tmk_version, load->version);
    ck_assert_uint_eq(keys->alg, load->alg);
    session =
        (struct kl_bytes){key,
                          vec_open(load->alg, vec_get(set, "tmk")->data,
                                   (struct kl_bytes){keys->c_session, keys->c_session_len}, key)};
    ck_assert_uint_eq(session.len, load->alg == KL_ALG_AES128 ? 24 : 16);
    if (!kl_alg_info(load->alg)->is_aes) {
        ck_assert(
            vec_is_session_input((struct kl_bytes){keys->c_session, keys->c_session_len}, t0));
    }
    vec_derive("keys", session, t0, NO_BYTES, label, k_keys);
    vec_derive("ack", session, t0, NO_BYTES, label, k_ack);
    vec_derive("done", session, t0, NO_BYTES, label, k_done);
    vec_digest(EVP_sha256(), parts, 2, t2);
    parts[1] = keys->body_der;
    vec_digest(EVP_sha256(), parts, 2, hash);
    vec_cmac((struct kl_bytes){k_keys, 32}, (struct kl_bytes){hash, 32}, mac);
    ck_assert_mem_eq(keys->mac, mac, 16);
    pik_kcv = check_working_keys(set, load->alg, vec_expected_sign_ins[i].format, keys);
    check_macs((struct kl_bytes){k_ack, 32}, (struct kl_bytes){k_done, 32}, t2, pik_kcv,
               out->ack_mac, out->active_mac);
}

START_TEST(test_loader_signs_in)
{
    struct vec_set *set = &vec_sign_ins[_i];
    const struct vec_expected *load = &vec_expected[vec_expected_sign_ins[_i].load];
    struct kl_loader *loader = open_loader(4);
    struct kl_stored_key tmk = stored_tmk(set, load->alg, load->version);
    const struct kl_sign_in_in in = {.sign_in = vec_bytes(set, "sign_in"),
                                     .tmk_version = load->version,
                                     .tmk = &tmk,
                                     .kcv_len = vec_get(set, "pik_kcv")->len};
    struct kl_sign_in_out out;

    ck_ok(kl_loader_sign_in(loader, &in, &out, &err));
    check_sign_in(_i, &out);
    kl_loader_free(loader);
}
END_TEST

/* ---- Published vectors: which algorithms our words mean ---- */

static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t len = 0;

    ck_assert(OPENSSL_hexstr2buf_ex(out, 64, &len, hex, '\0') == 1);
    return len;
}

/* A session key on the token, with one use. */
static CK_OBJECT_HANDLE import_key(CK_KEY_TYPE type, CK_ATTRIBUTE_TYPE use, const char *hex)
{
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_OBJECT_HANDLE handle;
    uint8_t key[64];
    CK_ATTRIBUTE attrs[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, &no, sizeof(no)},       {CKA_PRIVATE, &yes, sizeof(yes)},
        {CKA_SENSITIVE, &yes, sizeof(yes)}, {CKA_EXTRACTABLE, &no, sizeof(no)},
        {use, &yes, sizeof(yes)},           {CKA_VALUE, key, from_hex(hex, key)},
    };

    ck_assert_uint_eq(hsm.f->C_CreateObject(hsm.s, attrs, 8, &handle), CKR_OK);
    return handle;
}

/* RFC 3394, 4.6: 256 bits of key data with a 256-bit KEK. */
START_TEST(test_aes_key_wrap)
{
    const char *kek = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    uint8_t key[64], data[64], wrapped[64], out[64], kcv[4], block[16];

    from_hex(kek, key);
    ck_assert_uint_eq(from_hex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f",
                               data),
                      32);
    ck_assert_uint_eq(from_hex("28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326"
                               "cbc7f0e71a99f43bfb988b9b7a02dd21",
                               wrapped),
                      40);
    ck_assert_uint_eq(vec_pass("AES256-WRAP", 1, key, (struct kl_bytes){data, 32}, out), 40);
    ck_assert_mem_eq(out, wrapped, 40);
    /* The same on the token, seen by the KCV of what comes out. */
    ck_assert_msg(kl_op_unwrap_tmk(hsm.session, import_key(CKK_AES, CKA_UNWRAP, kek), KL_ALG_AES256,
                                   wrapped, 40, KL_USE_KCV, &handle, &err) == KL_OK,
                  "%s", err.text);
    ck_assert(kl_op_kcv(hsm.session, handle, KL_ALG_AES256, 4, kcv, &err) == KL_OK);
    vec_kcv(KL_ALG_AES256, data, block);
    ck_assert_mem_eq(kcv, block, 4);
}
END_TEST

/* RFC 4493, section 4, and NIST SP 800-38B, D.1 and D.3. */
START_TEST(test_cmac)
{
    static const struct {
        const char *key, *in, *mac;
    } published[] = {
        {"2b7e151628aed2a6abf7158809cf4f3c", "", "bb1d6929e95937287fa37d129b756746"},
        {"2b7e151628aed2a6abf7158809cf4f3c", "6bc1bee22e409f96e93d7e117393172a",
         "070a16b46b4d4144f79bdd9dd04a287c"},
        {"603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
         "6bc1bee22e409f96e93d7e117393172a", "28a7023f452e8f82bd4bf28d8c37c35c"},
    };
    uint8_t key[64], in[64], mac[64], out[16];

    for (size_t n = 0; n < sizeof(published) / sizeof(published[0]); n++) {
        size_t key_len = from_hex(published[n].key, key);
        size_t in_len = published[n].in[0] ? from_hex(published[n].in, in) : 0;

        from_hex(published[n].mac, mac);
        vec_cmac((struct kl_bytes){key, key_len}, (struct kl_bytes){in, in_len}, out);
        ck_assert_mem_eq(out, mac, 16);
    }
}
END_TEST

/* In the same documents, subkey K1 turns a whole block's CMAC into one AES encryption, so the KCV
 * of a key follows from its own K1. Both keys are TMKs of the vectors. */
START_TEST(test_kcv)
{
    static const struct {
        int load;
        const char *key, *k1;
    } published[] = {
        {1, "2b7e151628aed2a6abf7158809cf4f3c", "fbeed618357133667c85e08f7236a8de"},
        {5, "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
         "cad1ed03299eedac2e9a99808621502f"},
    };
    struct vec_set *set = &vec_loads[published[_i].load];
    uint8_t key[64], k1[64], out[16], kcv[4];
    size_t len = from_hex(published[_i].key, key);

    from_hex(published[_i].k1, k1);
    vec_pass(len == 16 ? "AES-128-ECB" : "AES-256-ECB", 1, key, (struct kl_bytes){k1, 16}, out);
    ck_assert(vec_is(set, "tmk", key, len));
    ck_assert(vec_is(set, "kcv", out, 3));
    ck_ok(kl_op_kcv(hsm.session, import_key(CKK_AES, CKA_SIGN, published[_i].key),
                    vec_expected[published[_i].load].alg, 4, kcv, &err));
    ck_assert_mem_eq(kcv, out, 4);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("vectors_hsm");
    TCase *tc = tcase_create("token");

    tcase_add_unchecked_fixture(tc, vec_setup, vec_teardown);
    tcase_add_checked_fixture(tc, p11_open, p11_close);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_loader_accepts, 0, 5);
    tcase_add_loop_test(tc, test_loader_refuses, 0, 3);
    tcase_add_loop_test(tc, test_loader_signs_in, 0, VEC_SIGN_INS);
    tcase_add_test(tc, test_aes_key_wrap);
    tcase_add_test(tc, test_cmac);
    tcase_add_loop_test(tc, test_kcv, 0, 2);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return test_run(suite());
}
