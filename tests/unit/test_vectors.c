/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loads among the vectors of docs/protocol.md: every value follows from the others as the
 * document says, and no byte of them could be another; terminal-sim accepts them; and the document
 * is what the program writes. Sign-ins are test_vectors_signin.c's, the loader's part
 * test_vectors_hsm.c's.
 */
#include <check.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "proto/cert.h"
#include "terminal-sim/auth.h"
#include "terminal-sim/candidate.h"
#include "terminal-sim/judge.h"
#include "terminal-sim/suite.h"
#include "tests/support/lab.h"
#include "tests/support/suite.h"
#include "tests/support/vectors.h"

#define NOW 1767225600 /* 2026-01-01 */
#define NO_BYTES ((struct kl_bytes){NULL, 0})

static struct kl_err err = KL_ERR_INIT;

static int suite_of(int i)
{
    return (int)vec_expected[i].suite;
}

/* ---- What must hold between the values of a load ---- */

static int check_transcript(struct vec_set *set, int i)
{
    static const char *const hashes[] = {"t0", "t1", "t2"};
    const struct kl_bytes parts[] = {vec_bytes(set, "hello"), vec_bytes(set, "certificate"),
                                     vec_bytes(set, "randoms"), vec_bytes(set, "master_key")};
    uint8_t hash[32];

    (void)i;
    for (size_t n = 0; n < 3; n++) {
        vec_digest(EVP_sha256(), parts, n + 2, hash);
        if (!vec_is(set, hashes[n], hash, 32)) {
            return 0;
        }
    }
    return 1;
}

static int check_keys(struct vec_set *set, int i)
{
    static const char *const hardened[] = {"ack", "done", "wrap", "nonce"};
    static const char *const classic[] = {"ack", "done", "keys"};
    const char *const *purposes = suite_of(i) == KL_SUITE_CLASSIC ? classic : hardened;
    struct kl_bytes rnd1 = vec_bytes(set, "rnd1"), t0 = vec_bytes(set, "t0");

    for (size_t n = 0; n < (suite_of(i) == KL_SUITE_CLASSIC ? 3 : 4); n++) {
        if (!vec_check_key(set, purposes[n], rnd1, t0, NO_BYTES)) {
            return 0;
        }
    }
    return rnd1.len == 32;
}

static int check_coding(struct vec_set *set, int i)
{
    static const struct {
        const char *name;
        enum kl_msg_type type;
    } messages[] = {
        {"hello", KL_MSG_HELLO},     {"certificate", KL_MSG_CERTIFICATE},
        {"randoms", KL_MSG_RANDOMS}, {"master_key", KL_MSG_MASTER_KEY},
        {"loaded", KL_MSG_LOADED},   {"done_active", KL_MSG_DONE},
        {"done_drop", KL_MSG_DONE},  {"confirm", KL_MSG_CONFIRM},
    };

    (void)i;
    for (size_t n = 0; n < sizeof(messages) / sizeof(messages[0]); n++) {
        if (!vec_coding(set, messages[n].name, messages[n].type)) {
            return 0;
        }
    }
    return 1;
}

static int check_randoms(struct vec_set *set, const struct kl_randoms *randoms, int i)
{
    int ok = (int)randoms->suite == suite_of(i) &&
             vec_is(set, "c_rnd1", randoms->c_rnd1, randoms->c_rnd1_len);

    if (suite_of(i) != KL_SUITE_CLASSIC) {
        ok = ok && vec_is(set, "iv", randoms->iv, 12) && vec_is(set, "c_rnd2", randoms->c_rnd2, 48);
    }
    if (suite_of(i) == KL_SUITE_HARDENED_EC) {
        ok = ok && vec_is(set, "point", randoms->point, randoms->point_len);
    }
    return ok && (vec_expected[i].has_proof ? vec_is(set, "proof", randoms->sig, randoms->sig_len)
                                            : randoms->sig_len == 0);
}

static int check_tbs(struct vec_set *set, const struct kl_master_key *msg, const char *serial,
                     int i)
{
    const struct kl_tbs *tbs = &msg->tbs;
    int ok = vec_is(set, "tbs", msg->tbs_der.data, msg->tbs_der.len) &&
             vec_is(set, "signature", msg->sig, msg->sig_len) && vec_is(set, "t1", tbs->t1, 32) &&
             strcmp(tbs->serial, serial) == 0 && tbs->usage == KL_USAGE_KEK &&
             tbs->alg == vec_expected[i].alg && tbs->version == vec_expected[i].version &&
             tbs->kcv_method == kl_alg_info(vec_expected[i].alg)->kcv_method &&
             vec_is(set, "kcv", tbs->kcv, tbs->kcv_len);

    if (suite_of(i) == KL_SUITE_CLASSIC) {
        return ok && tbs->ctmk_len == 0 && vec_is(set, "tbs_mac", msg->mac, 16);
    }
    return ok && vec_is(set, "rnd2", tbs->rnd2, 32) &&
           vec_is(set, "ctmk", tbs->ctmk, tbs->ctmk_len);
}

static int check_fields(struct vec_set *set, int i)
{
    struct kl_msg hello, certificate, randoms, master_key;

    if (!vec_decode(set, "hello", &hello) || !vec_decode(set, "certificate", &certificate) ||
        !vec_decode(set, "randoms", &randoms) || !vec_decode(set, "master_key", &master_key)) {
        return 0;
    }
    return hello.u.hello.version == 1 &&
           memchr(hello.u.hello.suites, suite_of(i), hello.u.hello.suite_count) != NULL &&
           memchr(hello.u.hello.algs, vec_expected[i].alg, hello.u.hello.alg_count) != NULL &&
           certificate.u.certificate.suite == suite_of(i) &&
           certificate.u.certificate.oaep_hash == vec_expected[i].oaep_hash &&
           (certificate.u.certificate.crl.len > 0) == vec_expected[i].has_crl &&
           vec_is(set, "nonce", certificate.u.certificate.nonce, 32) &&
           check_randoms(set, &randoms.u.randoms, i) &&
           check_tbs(set, &master_key.u.master_key, hello.u.hello.serial, i);
}

static int check_answers(struct vec_set *set, int i)
{
    struct kl_msg hello, loaded, active, drop, confirm;

    if (!vec_decode(set, "hello", &hello) || !vec_decode(set, "loaded", &loaded) ||
        !vec_decode(set, "done_active", &active) || !vec_decode(set, "done_drop", &drop) ||
        !vec_decode(set, "confirm", &confirm)) {
        return 0;
    }
    return vec_is(set, "kcv", loaded.u.loaded.kcv, loaded.u.loaded.kcv_len) &&
           vec_is(set, "loaded_mac", loaded.u.loaded.mac, 16) &&
           active.u.done.verdict == KL_VERDICT_ACTIVE &&
           active.u.done.tmk_version == vec_expected[i].version &&
           vec_is(set, "done_active_mac", active.u.done.mac, 16) &&
           drop.u.done.verdict == KL_VERDICT_DROP &&
           drop.u.done.tmk_version == vec_expected[i].version &&
           vec_is(set, "done_drop_mac", drop.u.done.mac, 16) && confirm.u.confirm.version == 1 &&
           strcmp(confirm.u.confirm.serial, hello.u.hello.serial) == 0 &&
           strcmp(confirm.u.confirm.pinpad_serial, hello.u.hello.pinpad_serial) == 0 &&
           confirm.u.confirm.tmk_version == vec_expected[i].version &&
           vec_is(set, "kcv", confirm.u.confirm.loaded.kcv, confirm.u.confirm.loaded.kcv_len) &&
           vec_is(set, "loaded_mac", confirm.u.confirm.loaded.mac, 16);
}

static int check_macs(struct vec_set *set, int i)
{
    (void)i;
    return vec_check_loaded_mac(set, "kcv") &&
           vec_check_done_mac(set, "done_active", KL_VERDICT_ACTIVE) &&
           vec_check_done_mac(set, "done_drop", KL_VERDICT_DROP);
}

static int check_tmk(struct vec_set *set, int i)
{
    const char *wrap = suite_of(i) == KL_SUITE_CLASSIC ? "rnd1" : "k_wrap";
    uint8_t tmk[64], block[16];
    size_t len = vec_open(KL_ALG_AES256, vec_get(set, wrap)->data, vec_bytes(set, "ctmk"), tmk);

    if (len != kl_alg_info(vec_expected[i].alg)->key_len || !vec_is(set, "tmk", tmk, len)) {
        return 0;
    }
    vec_kcv(vec_expected[i].alg, tmk, block);
    return vec_is(set, "kcv", block, vec_get(set, "kcv")->len);
}

static int check_rnd2(struct vec_set *set, int i)
{
    EVP_CIPHER_CTX *ctx;
    uint8_t c_rnd2[48], rnd2[32];
    int len = 0, ok;

    if (suite_of(i) == KL_SUITE_CLASSIC) {
        return 1;
    }
    ctx = EVP_CIPHER_CTX_new();
    memcpy(c_rnd2, vec_get(set, "c_rnd2")->data, 48);
    ok = EVP_DecryptInit_ex2(ctx, EVP_aes_256_gcm(), vec_get(set, "k_nonce")->data,
                             vec_get(set, "iv")->data, NULL) &&
         EVP_DecryptUpdate(ctx, NULL, &len, vec_get(set, "t0")->data, 32) &&
         EVP_DecryptUpdate(ctx, rnd2, &len, c_rnd2, 32) &&
         EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, c_rnd2 + 32) &&
         EVP_DecryptFinal_ex(ctx, rnd2 + len, &len) == 1 && vec_is(set, "rnd2", rnd2, 32);
    EVP_CIPHER_CTX_free(ctx);
    return ok;
}

/* RFC 8017, 7.1.2, by hand: EM = 00 || seed masked || (lHash || 00... || 01 || M) masked. */
static int check_oaep(struct vec_set *set, int i)
{
    const EVP_MD *md = vec_expected[i].oaep_hash == KL_OAEP_SHA1 ? EVP_sha1() : EVP_sha256();
    size_t hash_len = (size_t)EVP_MD_get_size(md), k = vec_get(set, "c_rnd1")->len;
    size_t len = suite_of(i) == KL_SUITE_CLASSIC ? 64 : 32;
    uint8_t em[KL_RSA_MAX], wanted[KL_RSA_MAX] = {0}, *seed = em + 1, *db = seed + hash_len;
    size_t db_len = k - 1 - hash_len;

    if (!vec_raw_rsa(vec_keys[i], 1, vec_bytes(set, "c_rnd1"), em)) {
        return 0;
    }
    vec_mgf1_xor(md, (struct kl_bytes){db, db_len}, seed, hash_len);
    vec_mgf1_xor(md, (struct kl_bytes){seed, hash_len}, db, db_len);
    vec_digest(md, NULL, 0, wanted);
    wanted[db_len - len - 1] = 1;
    memcpy(wanted + db_len - len, vec_get(set, "rnd1")->data, 32);
    memcpy(wanted + db_len - len + 32, vec_get(set, "rnd2")->data, len - 32);
    return em[0] == 0 && vec_is(set, "oaep_seed", seed, hash_len) &&
           memcmp(db, wanted, db_len) == 0;
}

/* RFC 8017, 9.1.2, by hand: EM = (00... || 01 || salt) masked || H || bc. */
static int check_pss(struct vec_set *set, int i)
{
    static const uint8_t zeros[8];
    struct kl_bytes sig = vec_bytes(set, "signature"), tbs = vec_bytes(set, "tbs");
    uint8_t em[KL_RSA_MAX], m_hash[32], h[32], wanted[KL_RSA_MAX] = {0};
    size_t db_len = sig.len - 33;
    const struct kl_bytes parts[] = {{zeros, 8}, {m_hash, 32}, vec_bytes(set, "pss_salt")};

    if (!vec_raw_rsa(vec_keys[i], 0, sig, em)) {
        return 0;
    }
    vec_digest(EVP_sha256(), &tbs, 1, m_hash);
    vec_digest(EVP_sha256(), parts, 3, h);
    vec_mgf1_xor(EVP_sha256(), (struct kl_bytes){em + db_len, 32}, em, db_len);
    em[0] &= 0x7f; /* emBits is one less than the modulus has */
    wanted[db_len - 33] = 1;
    memcpy(wanted + db_len - 32, parts[2].data, 32);
    return memcmp(em, wanted, db_len) == 0 && memcmp(em + db_len, h, 32) == 0 &&
           em[sig.len - 1] == 0xbc;
}

/* PKCS #1 v1.5, 8.1, by hand: 00 || 01 || ff... || 00 || Ctmk || Rnd2'. */
static int check_recovery(struct vec_set *set, int i)
{
    struct kl_bytes sig = vec_bytes(set, "signature"), ctmk = vec_bytes(set, "ctmk");
    size_t len = ctmk.len + 32, at = sig.len - len;
    uint8_t em[KL_RSA_MAX], wanted[KL_RSA_MAX], mac[16];

    memset(wanted, 0xff, sizeof(wanted));
    wanted[0] = 0;
    wanted[1] = 1;
    wanted[at - 1] = 0;
    memcpy(wanted + at, ctmk.data, ctmk.len);
    memcpy(wanted + at + ctmk.len, vec_get(set, "rnd2")->data, 32);
    vec_cmac(vec_bytes(set, "k_keys"), vec_bytes(set, "tbs"), mac);
    return vec_raw_rsa(vec_keys[i], 0, sig, em) && memcmp(em, wanted, sig.len) == 0 &&
           vec_is(set, "recovered", em + at, len) && vec_is(set, "tbs_mac", mac, 16);
}

/* The loader's side of what the ephemeral key did on the terminal's. */
static int check_ecies(struct vec_set *set, int i)
{
    struct kl_bytes point = vec_bytes(set, "point");
    uint8_t x[KL_EC_FIELD_MAX], rnd1[64], again[KL_EC_POINT_MAX];
    size_t len = vec_ecdh(vec_keys[i], point, x);

    return len > 0 && vec_is(set, "ecdh_x", x, len) && vec_is(set, "z", x + len - 32, 32) &&
           vec_check_key(set, "ecies", vec_bytes(set, "z"), vec_bytes(set, "t0"), point) &&
           vec_open(KL_ALG_AES256, vec_get(set, "k_ecies")->data, vec_bytes(set, "c_rnd1"), rnd1) ==
               32 &&
           vec_is(set, "rnd1", rnd1, 32) &&
           vec_is(set, "point", again,
                  vec_multiply(vec_keys[i], vec_bytes(set, "ephemeral"), again));
}

static int check_signature(struct vec_set *set, int i)
{
    if (suite_of(i) == KL_SUITE_HARDENED_RSA) {
        return check_pss(set, i);
    }
    if (suite_of(i) == KL_SUITE_CLASSIC) {
        return check_recovery(set, i);
    }
    return vec_check_ecdsa(vec_keys[i],
                           EVP_PKEY_get_bits(vec_keys[i]) == 521 ? EVP_sha512() : EVP_sha256(),
                           vec_bytes(set, "signature"), vec_bytes(set, "ecdsa_k"),
                           vec_bytes(set, "tbs"));
}

static int check_c_rnd1(struct vec_set *set, int i)
{
    return suite_of(i) == KL_SUITE_HARDENED_EC ? check_ecies(set, i) : check_oaep(set, i);
}

/* The anchor in Hello is the root's, and the only one. */
static int check_anchor(struct vec_set *set, int i)
{
    struct kl_bytes root = vec_bytes(&vec_roots[vec_expected[i].root], "root");
    const uint8_t *at = root.data;
    uint8_t hash[32], *spki = NULL;
    struct kl_msg hello;
    X509 *cert;
    int len;

    if (suite_of(i) != KL_SUITE_HARDENED_EC) {
        return 1;
    }
    cert = d2i_X509(NULL, &at, (long)root.len);
    len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki);
    vec_digest(EVP_sha256(), &(struct kl_bytes){spki, (size_t)len}, 1, hash);
    OPENSSL_free(spki);
    X509_free(cert);
    return vec_is(set, "anchor", hash, 32) && vec_decode(set, "hello", &hello) &&
           hello.u.hello.anchor_count == 1 && memcmp(hello.u.hello.anchors[0], hash, 32) == 0;
}

/* The DER of Randoms without its last field, a signature of 64 bytes, by hand: what is left has 128
 * to 255 bytes, so its length takes one byte less. */
static size_t strip_proof(struct kl_bytes randoms, uint8_t out[512])
{
    size_t left = randoms.len - 4 - 66;

    ck_assert(randoms.data[0] == 0xa2 && randoms.data[1] == 0x82 && left >= 128 && left < 256);
    memcpy(out, (const uint8_t[]){0xa2, 0x81, (uint8_t)left}, 3);
    memcpy(out + 3, randoms.data + 4, left);
    return 3 + left;
}

static int check_proof(struct vec_set *set, int i)
{
    uint8_t input[600] = "keyloader/1 randoms"; /* and its NUL */
    size_t len;

    if (!vec_expected[i].has_proof) {
        return 1;
    }
    memcpy(input + 20, vec_get(set, "t0")->data, 32);
    len = 52 + strip_proof(vec_bytes(set, "randoms"), input + 52);
    return vec_is(set, "proof_input", input, len) &&
           vec_check_ecdsa(vec_device, EVP_sha256(), vec_bytes(set, "proof"),
                           vec_bytes(set, "proof_k"), vec_bytes(set, "proof_input"));
}

static const vec_check checks[] = {
    check_transcript, check_keys,   check_coding, check_fields, check_answers,
    check_macs,       check_tmk,    check_rnd2,   check_anchor, check_proof,
    check_signature,  check_c_rnd1, NULL};

START_TEST(test_values)
{
    vec_all_hold(&vec_loads[_i], _i, checks);
}
END_TEST

START_TEST(test_every_byte_counts)
{
    vec_every_byte_counts(&vec_loads[_i], _i, checks);
}
END_TEST

/* ---- The terminal ---- */

static int verifies(int i, time_t now, struct kl_auth_work *work)
{
    struct kl_bytes der = vec_bytes(&vec_roots[vec_expected[i].root], "root");
    STACK_OF(X509) *roots = sk_X509_new_null();
    X509 *root = NULL;
    struct kl_msg msg;
    int ok = kl_cert_from_der(der.data, der.len, &root, &err) == KL_OK &&
             sk_X509_push(roots, root) > 0 && vec_decode(&vec_loads[i], "certificate", &msg) &&
             kl_auth_verify(&msg.u.certificate, roots, now, work, &err) == KL_OK;

    sk_X509_free(roots);
    X509_free(root);
    return ok;
}

START_TEST(test_terminal_accepts)
{
    struct vec_set *set = &vec_loads[_i];
    const struct kl_terminal_suite *suite = kl_terminal_suite_of(vec_expected[_i].suite);
    struct kl_candidate candidate = {.version = vec_expected[_i].version,
                                     .alg = vec_expected[_i].alg};
    struct kl_auth_work work = {0};
    struct kl_msg hello, master_key, done;
    enum kl_verdict verdict;

    ck_assert_msg(verifies(_i, NOW, &work), "%s", err.text);
    ck_assert_int_eq(work.has_crl, vec_expected[_i].has_crl);
    ck_assert(EVP_PKEY_eq(kl_pubkey_evp(work.key), vec_keys[_i]) == 1);
    ck_assert(vec_decode(set, "hello", &hello) && vec_decode(set, "master_key", &master_key));
    const struct kl_judge judge = {.t1 = vec_get(set, "t1")->data,
                                   .rnd2 = vec_get(set, "rnd2")->data,
                                   .serial = hello.u.hello.serial,
                                   .algs = &vec_expected[_i].alg,
                                   .alg_count = 1,
                                   .work_type = kl_pubkey_is(work.key),
                                   .work_bits = kl_pubkey_bits(work.key),
                                   .version_floor = vec_expected[_i].version - 1};
    ck_assert_msg(suite->verify(&work, &master_key.u.master_key, &err) == KL_OK, "%s", err.text);
    /* In classic the signature gives them back. */
    ck_assert(vec_is(set, "ctmk", master_key.u.master_key.tbs.ctmk,
                     master_key.u.master_key.tbs.ctmk_len));
    ck_assert(vec_is(set, "rnd2", master_key.u.master_key.tbs.rnd2, 32));
    ck_assert_msg(kl_judge_tbs(&judge, &master_key.u.master_key.tbs, &err) == KL_OK, "%s",
                  err.text);
    ck_assert(kl_judge_kcv(&master_key.u.master_key.tbs, vec_get(set, "kcv")->data, &err) == KL_OK);
    memcpy(candidate.active_mac, vec_get(set, "done_active_mac")->data, 16);
    memcpy(candidate.drop_mac, vec_get(set, "done_drop_mac")->data, 16);
    ck_assert(vec_decode(set, "done_active", &done) &&
              kl_candidate_judge(&candidate, &done.u.done, &verdict, &err) == KL_OK &&
              verdict == KL_VERDICT_ACTIVE);
    ck_assert(vec_decode(set, "done_drop", &done) &&
              kl_candidate_judge(&candidate, &done.u.done, &verdict, &err) == KL_OK &&
              verdict == KL_VERDICT_DROP);
    kl_pubkey_free(work.key);
}
END_TEST

/* Every byte of the certificates and of the CRL counts, and so does the time. */
START_TEST(test_certificates)
{
    static const int loads[] = {0, 5};
    struct kl_auth_work work = {0};
    int i = loads[_i];
    struct vec_value *values[] = {vec_get(&vec_loads[i], "certificate"),
                                  vec_get(&vec_roots[vec_expected[i].root], "root")};
    struct kl_msg msg;

    ck_assert(vec_decode(&vec_loads[i], "certificate", &msg));
    size_t from[] = {(size_t)(msg.u.certificate.chain[0].data - values[0]->data), 0};
    for (size_t v = 0; v < 2; v++) {
        for (size_t at = from[v]; at < values[v]->len; at++) {
            values[v]->data[at] ^= (uint8_t)(1 << at % 8);
            ck_assert_msg(!verifies(i, NOW, &work), "byte %zu of %s", at, values[v]->name);
            values[v]->data[at] ^= (uint8_t)(1 << at % 8);
        }
    }
    ck_assert(!verifies(i, 1577836799 /* 2019-12-31 */, &work));
    ck_assert(!verifies(i, 4733510401 /* 2120-01-01 */, &work));
    ck_assert_msg(verifies(i, NOW, &work), "%s", err.text);
    kl_pubkey_free(work.key);
}
END_TEST

/* Whether the certificate wants a CRL is not the stapler's to say. */
START_TEST(test_crl_is_needed)
{
    struct kl_bytes der = vec_bytes(&vec_roots[1], "root");
    STACK_OF(X509) *roots = sk_X509_new_null();
    struct kl_auth_work work;
    struct kl_msg msg;
    X509 *root = NULL;

    ck_assert(kl_cert_from_der(der.data, der.len, &root, &err) == KL_OK);
    ck_assert(sk_X509_push(roots, root) > 0 && vec_decode(&vec_loads[5], "certificate", &msg));
    msg.u.certificate.crl = NO_BYTES;
    ck_assert(kl_auth_verify(&msg.u.certificate, roots, NOW, &work, &err) == KL_ERR_CERT);
    sk_X509_free(roots);
    X509_free(root);
}
END_TEST

/* The terminal's certificate is the root's, and of its serial; the proof is its key's. */
START_TEST(test_terminal_is_proved)
{
    struct vec_set *set = &vec_loads[5];
    struct kl_bytes der = vec_bytes(&vec_roots[1], "root"), in = vec_bytes(set, "proof_input"),
                    sig = vec_bytes(set, "proof");
    char serial[KL_SERIAL_MAX + 1], scope[KL_CRL_SCOPE_TEXT];
    uint8_t unsigned_der[KL_MSG_MAX], again[KL_PROOF_INPUT_MAX];
    X509 *root = NULL, *cert = NULL;
    struct kl_msg hello, randoms;
    size_t len;

    ck_assert(kl_cert_from_der(der.data, der.len, &root, &err) == KL_OK);
    ck_assert(vec_decode(set, "hello", &hello) && hello.u.hello.chain_count == 1);
    der = hello.u.hello.chain[0];
    ck_assert(kl_cert_from_der(der.data, der.len, &cert, &err) == KL_OK);
    ck_assert(X509_verify(cert, X509_get0_pubkey(root)) == 1);
    ck_assert(EVP_PKEY_eq(X509_get0_pubkey(cert), vec_device) == 1);
    ck_assert(kl_cert_terminal_serial(X509_get_subject_name(cert), serial, &err) == KL_OK);
    ck_assert_str_eq(serial, hello.u.hello.serial);
    ck_assert(kl_cert_crl_scope(cert, scope, &err) == KL_OK);
    ck_assert_str_eq(scope, KL_CRL_SCOPE_TERMINAL);
    ck_assert(kl_pubkey_verify(vec_device, sig.data, sig.len, in.data, in.len, &err) == KL_OK);
    /* The input as both our sides make it. */
    ck_assert(vec_decode(set, "randoms", &randoms));
    randoms.u.randoms.sig_len = 0;
    ck_assert(kl_msg_encode(&randoms, unsigned_der, &len, &err) == KL_OK);
    len = kl_suite_proof_input(vec_get(set, "t0")->data, unsigned_der, len, again);
    ck_assert(vec_is(set, "proof_input", again, len));
    X509_free(cert);
    X509_free(root);
}
END_TEST

/* ---- The program that writes the section ---- */

static int vectors(const char *option, const char *path)
{
    char data[PATH_MAX];
    const char *argv[] = {lab_built("tests/tools/vectors"), "--data", data, option, path, NULL};
    extern char **environ;
    int status = -1;
    pid_t pid;

    snprintf(data, sizeof(data), "%s", vec_in_tree("tests/data"));
    ck_assert_int_eq(posix_spawn(&pid, argv[0], NULL, NULL, (char **)argv, environ), 0);
    ck_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

START_TEST(test_document_is_current)
{
    char path[PATH_MAX], dir[PATH_MAX], *text, *digit;
    const char *tmp = getenv("TMPDIR");
    size_t len;

    snprintf(path, sizeof(path), "%s", vec_in_tree("docs/protocol.md"));
    ck_assert_int_eq(vectors("--check", path), 0);
    text = file_read(path, &len);
    digit = strstr(text, "\nt2 = ") + 6;
    snprintf(dir, sizeof(dir), "%s/kl-vectors-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert(mkdtemp(dir) != NULL);
    file_path(path, dir, "protocol.md");
    *digit = *digit == '0' ? '1' : '0';
    file_write(path, text, len, 0600);
    ck_assert_int_eq(vectors("--check", path), 1);
    ck_assert_int_eq(vectors("--update", path), 0);
    ck_assert_int_eq(vectors("--check", path), 0);
    free(text);
    file_remove_tree(dir);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("vectors");
    TCase *tc = tcase_create("document");

    tcase_add_unchecked_fixture(tc, vec_setup, vec_teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_values, 0, VEC_LOADS);
    tcase_add_loop_test(tc, test_every_byte_counts, 0, VEC_LOADS);
    tcase_add_loop_test(tc, test_terminal_accepts, 0, VEC_LOADS);
    tcase_add_loop_test(tc, test_certificates, 0, 2);
    tcase_add_test(tc, test_crl_is_needed);
    tcase_add_test(tc, test_terminal_is_proved);
    tcase_add_test(tc, test_document_is_current);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return test_run(suite());
}
