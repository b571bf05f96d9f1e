/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vectors of docs/protocol.md: every value follows from the others as the document says, and
 * no byte of them could be another; terminal-sim accepts them; and the document is what the program
 * writes. The loader's part is test_vectors_hsm.c's.
 */
#include <check.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
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

static struct kl_err err = KL_ERR_INIT;

/* ---- RSA, by RFC 8017 ---- */

/* RSA without any padding: m^d or m^e. 1, or 0 if the number is not below the modulus. */
static int raw_rsa(EVP_PKEY *key, int private, struct kl_bytes in, uint8_t *out)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    size_t len = KL_RSA_MAX;
    int ok;

    if (private) {
        ok = EVP_PKEY_decrypt_init(ctx) == 1 &&
             EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) == 1 &&
             EVP_PKEY_decrypt(ctx, out, &len, in.data, in.len) == 1;
    } else {
        ok = EVP_PKEY_encrypt_init(ctx) == 1 &&
             EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) == 1 &&
             EVP_PKEY_encrypt(ctx, out, &len, in.data, in.len) == 1;
    }
    EVP_PKEY_CTX_free(ctx);
    return ok && len == in.len;
}

/* RFC 8017, B.2.1, exclusive-ored into data. */
static void mgf1_xor(const EVP_MD *md, struct kl_bytes seed, uint8_t *data, size_t len)
{
    size_t hash_len = (size_t)EVP_MD_get_size(md);
    uint8_t mask[64];

    for (size_t i = 0; i < len; i++) {
        const uint8_t counter[4] = {0, 0, 0, (uint8_t)(i / hash_len)};
        const struct kl_bytes parts[] = {seed, {counter, sizeof(counter)}};

        if (i % hash_len == 0) {
            vec_digest(md, parts, 2, mask);
        }
        data[i] ^= mask[i % hash_len];
    }
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
    static const char *const purposes[] = {"wrap", "nonce", "ack", "done"};
    uint8_t label[32], key[32];
    char name[24];

    (void)i;
    if (vec_get(set, "rnd1")->len != 32) {
        return 0;
    }
    for (size_t n = 0; n < 4; n++) {
        const struct kl_bytes parts[] = {{(const uint8_t *)"keyloader/1 ", 12},
                                         {(const uint8_t *)purposes[n],
                                          strlen(purposes[n]) + 1}, /* with its NUL */
                                         vec_bytes(set, "t0")};

        vec_digest(EVP_sha256(), parts, 3, label);
        snprintf(name, sizeof(name), "label_%s", purposes[n]);
        if (!vec_is(set, name, label, 32)) {
            return 0;
        }
        vec_pass("AES-256-ECB", 1, vec_get(set, "rnd1")->data, (struct kl_bytes){label, 32}, key);
        snprintf(name, sizeof(name), "k_%s", purposes[n]);
        if (!vec_is(set, name, key, 32)) {
            return 0;
        }
    }
    return 1;
}

static const struct {
    const char *name;
    enum kl_msg_type type;
} messages[] = {
    {"hello", KL_MSG_HELLO},     {"certificate", KL_MSG_CERTIFICATE},
    {"randoms", KL_MSG_RANDOMS}, {"master_key", KL_MSG_MASTER_KEY},
    {"loaded", KL_MSG_LOADED},   {"done_active", KL_MSG_DONE},
    {"done_drop", KL_MSG_DONE},  {"confirm", KL_MSG_CONFIRM},
};
#define MESSAGES (sizeof(messages) / sizeof(messages[0]))

static int check_coding(struct vec_set *set, int i)
{
    uint8_t again[KL_MSG_MAX];
    struct kl_msg msg;
    size_t len;

    (void)i;
    for (size_t n = 0; n < MESSAGES; n++) {
        if (!vec_decode(set, messages[n].name, &msg) || msg.type != messages[n].type ||
            kl_msg_encode(&msg, again, &len, &err) != KL_OK ||
            !vec_is(set, messages[n].name, again, len)) {
            return 0;
        }
    }
    return 1;
}

static int check_fields(struct vec_set *set, int i)
{
    struct kl_msg hello, certificate, randoms, master_key;
    const struct kl_tbs *tbs = &master_key.u.master_key.tbs;
    const struct kl_alg_info *info = kl_alg_info(vec_expected[i].alg);

    if (!vec_decode(set, "hello", &hello) || !vec_decode(set, "certificate", &certificate) ||
        !vec_decode(set, "randoms", &randoms) || !vec_decode(set, "master_key", &master_key)) {
        return 0;
    }
    return hello.u.hello.version == 1 && hello.u.hello.suites[0] == 1 &&
           memchr(hello.u.hello.algs, tbs->alg, hello.u.hello.alg_count) != NULL &&
           certificate.u.certificate.suite == 1 &&
           certificate.u.certificate.oaep_hash == vec_expected[i].oaep_hash &&
           vec_is(set, "nonce", certificate.u.certificate.nonce, 32) &&
           vec_is(set, "c_rnd1", randoms.u.randoms.c_rnd1, randoms.u.randoms.c_rnd1_len) &&
           vec_is(set, "iv", randoms.u.randoms.iv, 12) &&
           vec_is(set, "c_rnd2", randoms.u.randoms.c_rnd2, 48) &&
           vec_is(set, "tbs", master_key.u.master_key.tbs_der.data,
                  master_key.u.master_key.tbs_der.len) &&
           vec_is(set, "signature", master_key.u.master_key.sig, master_key.u.master_key.sig_len) &&
           vec_is(set, "t1", tbs->t1, 32) && vec_is(set, "rnd2", tbs->rnd2, 32) &&
           vec_is(set, "ctmk", tbs->ctmk, tbs->ctmk_len) &&
           strcmp(tbs->serial, hello.u.hello.serial) == 0 && tbs->usage == KL_USAGE_KEK &&
           tbs->alg == vec_expected[i].alg && tbs->version == vec_expected[i].version &&
           tbs->kcv_method == info->kcv_method && vec_is(set, "kcv", tbs->kcv, tbs->kcv_len);
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

/* One MAC: that its input is T2 and these bytes, and the MAC itself. */
static int check_mac(struct vec_set *set, const char *name, const char *key, struct kl_bytes tail)
{
    char input_name[24], mac_name[24];
    uint8_t input[40], mac[16];

    memcpy(input, vec_get(set, "t2")->data, 32);
    memcpy(input + 32, tail.data, tail.len);
    vec_cmac(vec_bytes(set, key), (struct kl_bytes){input, 32 + tail.len}, mac);
    snprintf(input_name, sizeof(input_name), "%s_input", name);
    snprintf(mac_name, sizeof(mac_name), "%s_mac", name);
    return vec_is(set, input_name, input, 32 + tail.len) && vec_is(set, mac_name, mac, 16);
}

static int check_macs(struct vec_set *set, int i)
{
    static const uint8_t active[] = {1}, drop[] = {2};
    const struct vec_value *kcv = vec_get(set, "kcv");
    uint8_t ack[5] = {1};

    (void)i;
    memcpy(ack + 1, kcv->data, kcv->len);
    return check_mac(set, "loaded", "k_ack", (struct kl_bytes){ack, 1 + kcv->len}) &&
           check_mac(set, "done_active", "k_done", (struct kl_bytes){active, 1}) &&
           check_mac(set, "done_drop", "k_done", (struct kl_bytes){drop, 1});
}

static int check_tmk(struct vec_set *set, int i)
{
    uint8_t tmk[64], block[16];
    size_t len =
        vec_pass("AES256-WRAP", 0, vec_get(set, "k_wrap")->data, vec_bytes(set, "ctmk"), tmk);

    if (len != kl_alg_info(vec_expected[i].alg)->key_len || !vec_is(set, "tmk", tmk, len)) {
        return 0;
    }
    vec_kcv(vec_expected[i].alg, tmk, block);
    return vec_is(set, "kcv", block, vec_get(set, "kcv")->len);
}

static int check_rnd2(struct vec_set *set, int i)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t c_rnd2[48], rnd2[32];
    int len = 0, ok;

    (void)i;
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

/* RFC 8017, 7.1.2, by hand: EM = 00 || seed masked || (lHash || 00... || 01 || Rnd1) masked. */
static int check_oaep(struct vec_set *set, int i)
{
    const EVP_MD *md = vec_expected[i].oaep_hash == KL_OAEP_SHA1 ? EVP_sha1() : EVP_sha256();
    size_t hash_len = (size_t)EVP_MD_get_size(md), k = vec_get(set, "c_rnd1")->len;
    uint8_t em[KL_RSA_MAX], wanted[KL_RSA_MAX] = {0}, *seed = em + 1, *db = seed + hash_len;
    size_t db_len = k - 1 - hash_len;

    if (!raw_rsa(vec_keys[i], 1, vec_bytes(set, "c_rnd1"), em)) {
        return 0;
    }
    mgf1_xor(md, (struct kl_bytes){db, db_len}, seed, hash_len);
    mgf1_xor(md, (struct kl_bytes){seed, hash_len}, db, db_len);
    vec_digest(md, NULL, 0, wanted);
    wanted[db_len - 33] = 1;
    memcpy(wanted + db_len - 32, vec_get(set, "rnd1")->data, 32);
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

    if (!raw_rsa(vec_keys[i], 0, sig, em)) {
        return 0;
    }
    vec_digest(EVP_sha256(), &tbs, 1, m_hash);
    vec_digest(EVP_sha256(), parts, 3, h);
    mgf1_xor(EVP_sha256(), (struct kl_bytes){em + db_len, 32}, em, db_len);
    em[0] &= 0x7f; /* emBits is one less than the modulus has */
    wanted[db_len - 33] = 1;
    memcpy(wanted + db_len - 32, parts[2].data, 32);
    return memcmp(em, wanted, db_len) == 0 && memcmp(em + db_len, h, 32) == 0 &&
           em[sig.len - 1] == 0xbc;
}

/* Cheap ones first: a flipped byte is to be found 9,000 times. */
static int (*const checks[])(struct vec_set *set,
                             int i) = {check_transcript, check_keys, check_coding, check_fields,
                                       check_answers,    check_macs, check_tmk,    check_rnd2,
                                       check_pss,        check_oaep};
#define CHECKS (sizeof(checks) / sizeof(checks[0]))

/* How many of the checks hold before the first that does not. */
static size_t holds(struct vec_set *set, int i)
{
    size_t n = 0;

    while (n < CHECKS && checks[n](set, i)) {
        n++;
    }
    return n;
}

START_TEST(test_values)
{
    ck_assert_uint_eq(holds(&vec_loads[_i], _i), CHECKS);
}
END_TEST

START_TEST(test_every_byte_counts)
{
    struct vec_set *set = &vec_loads[_i];

    for (size_t v = 0; v < set->count; v++) {
        struct vec_value *value = &set->values[v];

        for (size_t at = 0; at < value->len; at++) {
            value->data[at] ^= (uint8_t)(1 << at % 8);
            ck_assert_msg(holds(set, _i) < CHECKS, "%s: byte %zu of %s is checked by nothing",
                          set->name, at, value->name);
            value->data[at] ^= (uint8_t)(1 << at % 8);
        }
    }
    ck_assert_uint_eq(holds(set, _i), CHECKS);
}
END_TEST

/* ---- The terminal ---- */

static X509 *parse_root(struct vec_set *set)
{
    struct kl_bytes der = vec_bytes(set, "root");
    X509 *cert = NULL;

    return kl_cert_from_der(der.data, der.len, &cert, &err) == KL_OK ? cert : NULL;
}

static int verifies(struct vec_set *set, struct vec_set *with_root, time_t now,
                    struct kl_auth_work *work)
{
    X509 *anchor = parse_root(with_root);
    struct kl_msg msg;
    int ok = anchor && vec_decode(set, "certificate", &msg) &&
             kl_auth_verify(&msg.u.certificate, anchor, now, work, &err) == KL_OK;

    X509_free(anchor);
    return ok;
}

START_TEST(test_terminal_accepts)
{
    struct vec_set *set = &vec_loads[_i];
    const struct kl_terminal_suite *suite = &kl_terminal_suite_hardened_rsa;
    struct kl_candidate candidate = {.version = vec_expected[_i].version,
                                     .alg = vec_expected[_i].alg};
    struct kl_auth_work work = {0};
    struct kl_msg hello, master_key, done;
    enum kl_verdict verdict;

    ck_assert_msg(verifies(set, &vec_root, NOW, &work), "%s", err.text);
    ck_assert(EVP_PKEY_eq(work.key, vec_keys[_i]) == 1);
    ck_assert(vec_decode(set, "hello", &hello) && vec_decode(set, "master_key", &master_key));
    const struct kl_judge judge = {.t1 = vec_get(set, "t1")->data,
                                   .rnd2 = vec_get(set, "rnd2")->data,
                                   .serial = hello.u.hello.serial,
                                   .algs = &vec_expected[_i].alg,
                                   .alg_count = 1,
                                   .work_type = work.type,
                                   .work_bits = work.bits,
                                   .version_floor = vec_expected[_i].version - 1};
    ck_assert_msg(suite->verify(&work, &master_key.u.master_key, &err) == KL_OK, "%s", err.text);
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
    EVP_PKEY_free(work.key);
}
END_TEST

/* Every byte of both certificates counts, and so does the time. */
START_TEST(test_certificates)
{
    struct kl_auth_work work = {0};
    struct vec_value *certificate = vec_get(&vec_loads[0], "certificate");
    struct vec_value *anchor = &vec_root.values[0];
    struct kl_msg msg;
    size_t cert_at;

    ck_assert_uint_eq(vec_root.count, 1);
    ck_assert(vec_decode(&vec_loads[0], "certificate", &msg));
    cert_at = certificate->len - msg.u.certificate.chain[0].len;
    for (size_t at = cert_at; at < certificate->len; at++) {
        certificate->data[at] ^= (uint8_t)(1 << at % 8);
        ck_assert_msg(!verifies(&vec_loads[0], &vec_root, NOW, &work), "byte %zu of AcquireWCRT",
                      at);
        certificate->data[at] ^= (uint8_t)(1 << at % 8);
    }
    for (size_t at = 0; at < anchor->len; at++) {
        anchor->data[at] ^= (uint8_t)(1 << at % 8);
        ck_assert_msg(!verifies(&vec_loads[0], &vec_root, NOW, &work), "byte %zu of AcquireRCRT",
                      at);
        anchor->data[at] ^= (uint8_t)(1 << at % 8);
    }
    ck_assert(!verifies(&vec_loads[0], &vec_root, 1577836799 /* 2019-12-31 */, &work));
    ck_assert(!verifies(&vec_loads[0], &vec_root, 4733510401 /* 2120-01-01 */, &work));
    ck_assert_msg(verifies(&vec_loads[0], &vec_root, NOW, &work), "%s", err.text);
    EVP_PKEY_free(work.key);
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
    tcase_add_test(tc, test_certificates);
    tcase_add_test(tc, test_document_is_current);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return test_run(suite());
}
