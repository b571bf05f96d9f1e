/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * After a full load with known keys and PINs, nothing that is left behind - logs at debug level,
 * the store and its journal, the terminal's files, tokens, core files, every byte that was on the
 * wire - holds TMK, Rnd1, any key derived from it, or a PIN, in binary, hexadecimal or base64 (at
 * any offset).
 *
 * The keys are known because both sides reach their tokens through tests/tools/proxy_p11.c.
 */
#include <check.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proto/message.h"
#include "proto/suite.h"
#include "proto/transcript.h"
#include "tests/support/lab.h"
#include "tests/support/suite.h"
#include "tests/tools/proxy_p11.h"

static struct lab lab;

static void found(void)
{
    lab_found(&lab, 3072); /* carries every algorithm that RSA may */
}

static void abandon(void)
{
    lab_abandon(&lab);
}

/* ---- Needles ---- */

enum { FORM_BINARY, FORM_LOWER, FORM_UPPER, FORM_BASE64, FORM_COUNT = FORM_BASE64 + 3 };

struct needle {
    const char *name;
    uint8_t forms[FORM_COUNT][2 * 64 + 1];
    size_t lens[FORM_COUNT];
};

struct hunt {
    struct needle needles[16];
    size_t count;
    unsigned files, hits;
    size_t bytes;
    char where[PATH_MAX + 128]; /* of the last hit */
};

static void add_needle(struct hunt *hunt, const char *name, const uint8_t *data, size_t len)
{
    static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
    ck_assert_uint_lt(hunt->count, sizeof hunt->needles / sizeof hunt->needles[0]);
    ck_assert(len >= 8 && len <= 64);
    struct needle *needle = &hunt->needles[hunt->count++];
    needle->name = name;
    memcpy(needle->forms[FORM_BINARY], data, len);
    needle->lens[FORM_BINARY] = len;
    for (size_t i = 0; i < len; i++) {
        needle->forms[FORM_LOWER][2 * i] = (uint8_t)lower[data[i] >> 4];
        needle->forms[FORM_LOWER][2 * i + 1] = (uint8_t)lower[data[i] & 15];
        needle->forms[FORM_UPPER][2 * i] = (uint8_t)upper[data[i] >> 4];
        needle->forms[FORM_UPPER][2 * i + 1] = (uint8_t)upper[data[i] & 15];
    }
    needle->lens[FORM_LOWER] = needle->lens[FORM_UPPER] = 2 * len;
    /* Base64 depends on where in a group of three bytes the value begins: whole groups only, after
     * leaving out as many bytes as complete the group before. */
    for (size_t skip = 0; skip < 3; skip++) {
        size_t whole = (len - skip) - (len - skip) % 3;
        needle->lens[FORM_BASE64 + skip] =
            (size_t)EVP_EncodeBlock(needle->forms[FORM_BASE64 + skip], data + skip, (int)whole);
    }
}

static void search(const uint8_t *data, size_t len, const char *path, struct hunt *hunt)
{
    for (size_t i = 0; i < hunt->count; i++) {
        for (int form = 0; form < FORM_COUNT; form++) {
            const struct needle *needle = &hunt->needles[i];
            if (memmem(data, len, needle->forms[form], needle->lens[form]) == NULL) {
                continue;
            }
            hunt->hits++;
            snprintf(hunt->where, sizeof hunt->where, "%s (form %d) in %s", needle->name, form,
                     path);
        }
    }
}

static void search_file(const char *path, void *arg)
{
    struct hunt *hunt = arg;
    size_t len;
    /* PINs are where their owner put them, and nowhere else. */
    if (strlen(path) > 4 && strcmp(path + strlen(path) - 4, ".pin") == 0) {
        return;
    }
    uint8_t *data = (uint8_t *)file_read(path, &len);
    hunt->files++;
    hunt->bytes += len;
    search(data, len, path, hunt);
    free(data);
}

static void add_pin(struct hunt *hunt, const char *file)
{
    char path[PATH_MAX];
    char *pin = file_read(file_path(path, lab.dir, file), NULL);
    add_needle(hunt, file, (uint8_t *)pin, strcspn(pin, "\n"));
    free(pin);
}

/* What Rnd1 becomes, from the public part of the session. */
static void add_derived(struct hunt *hunt, const char *record)
{
    static const char *const names[] = {"K_wrap", "K_nonce", "K_ack", "K_done"};
    struct kl_err err = KL_ERR_INIT;
    struct kl_transcript *transcript = NULL;
    size_t size, at = 0, len;
    const uint8_t *der;
    uint8_t t0[KL_HASH_LEN], label[KL_HASH_LEN], key[KL_HASH_LEN + 16];
    uint8_t *data = (uint8_t *)file_read(record, &size);
    ck_assert_int_eq(kl_transcript_new(&transcript, &err), KL_OK);
    for (int i = 0; i < 2; i++) { /* Hello and Certificate */
        ck_assert(relay_next_frame(data, size, &at, &der, &len));
        ck_assert_int_eq(kl_transcript_add(transcript, der, len, &err), KL_OK);
    }
    ck_assert_int_eq(kl_transcript_hash(transcript, t0, &err), KL_OK);
    kl_transcript_free(transcript);
    free(data);
    for (unsigned purpose = KL_PURPOSE_WRAP; purpose <= KL_PURPOSE_DONE; purpose++) {
        EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
        int n;
        ck_assert_int_eq(kl_suite_label((enum kl_purpose)purpose, t0, label, &err), KL_OK);
        ck_assert_int_eq(EVP_EncryptInit_ex(ctx, EVP_aes_256_ecb(), NULL, proxy_rnd1, NULL), 1);
        ck_assert_int_eq(EVP_CIPHER_CTX_set_padding(ctx, 0), 1);
        ck_assert_int_eq(EVP_EncryptUpdate(ctx, key, &n, label, sizeof label), 1);
        ck_assert_int_eq(n, KL_HASH_LEN);
        EVP_CIPHER_CTX_free(ctx);
        add_needle(hunt, names[purpose], key, KL_HASH_LEN);
    }
}

/* ---- The KCV of the fixed TMK, computed here, proves that the proxy was at work ---- */

static void expected_kcv(const char *alg, char out[7])
{
    uint8_t block[16] = {0}, full[24];
    const uint8_t *key = proxy_tmk;
    int n, is_aes = strcmp(alg, "aes128") == 0;
    size_t len = 16;
    if (is_aes) {
        EVP_MAC *mac = EVP_MAC_fetch(NULL, "CMAC", NULL);
        EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
        char name[] = "AES-128-CBC";
        OSSL_PARAM params[] = {{"cipher", OSSL_PARAM_UTF8_STRING, name, sizeof name - 1, 0},
                               {NULL, 0, NULL, 0, 0}};
        ck_assert_int_eq(EVP_MAC_init(ctx, key, len, params), 1);
        ck_assert_int_eq(EVP_MAC_update(ctx, block, sizeof block), 1);
        ck_assert_int_eq(EVP_MAC_final(ctx, full, &len, sizeof full), 1);
        EVP_MAC_CTX_free(ctx);
        EVP_MAC_free(mac);
        memcpy(block, full, sizeof block);
    } else {
        EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
        memcpy(full, key, 24);
        if (strcmp(alg, "tdes2") == 0) {
            memcpy(full + 16, key, 8);
        }
        ck_assert_int_eq(EVP_EncryptInit_ex(ctx, EVP_des_ede3_ecb(), NULL, full, NULL), 1);
        ck_assert_int_eq(EVP_CIPHER_CTX_set_padding(ctx, 0), 1);
        ck_assert_int_eq(EVP_EncryptUpdate(ctx, block, &n, block, 8), 1);
        EVP_CIPHER_CTX_free(ctx);
    }
    snprintf(out, 7, "%02X%02X%02X", block[0], block[1], block[2]);
}

START_TEST(test_nothing_leaks)
{
    static const char *const algs[] = {"tdes2", "tdes3", "aes128"};
    static const size_t lens[] = {16, 24, 16};
    const char *alg = algs[_i];
    char env[PATH_MAX + 32], record[PATH_MAX], path[PATH_MAX], kcv[7];
    struct lab_tmk store[LAB_TMK_MAX];
    struct hunt hunt = {.count = 0};
    const struct rlimit cores = {RLIM_INFINITY, RLIM_INFINITY};
    lab_begin(&lab, alg);
    (void)setrlimit(RLIMIT_CORE, &cores); /* if one crashes, let it leave what it can */
    ck_assert_int_eq(chdir(lab.run), 0);
    snprintf(env, sizeof env, "KL_PROXY_MODULE=%s", lab.module);
    lab.env[0] = env;
    lab.env[1] = "KL_PROXY_FIXED=1";
    snprintf(lab.module, sizeof lab.module, "%s", lab_built("tests/tools/proxy_p11.so"));
    lab_set(&lab, "hsm", "module", lab.module);
    lab_terminal(&lab, "T1", alg);
    lab_start(&lab);
    lab_arm(&lab, "T1", 2);
    const struct relay_plan plan = {.record = file_path(record, lab.run, "wire.rec")};
    struct relay *relay = relay_start(0, lab.port, &plan);
    ck_assert_ptr_nonnull(relay);
    ck_assert_int_eq(lab_load(&lab, "T1", relay_port(relay)), 0);
    relay_stop(relay);
    lab_settled(&lab, "T1", 1);
    ck_assert_uint_eq(lab_store(&lab, "T1", store), 1);
    expected_kcv(alg, kcv);
    ck_assert_str_eq(store[0].kcv, kcv);

    /* The end is a kill: the store's journal stays as it is, and is searched too. */
    lab_kill(&lab);
    add_needle(&hunt, "TMK", proxy_tmk, lens[_i]);
    add_needle(&hunt, "TMK's first half", proxy_tmk, 8);
    add_needle(&hunt, "Rnd1", proxy_rnd1, sizeof proxy_rnd1);
    add_derived(&hunt, record);
    add_pin(&hunt, "loader.pin");
    add_pin(&hunt, "pinpad.pin");
    add_pin(&hunt, "ca.pin");
    add_pin(&hunt, "loader-so.pin");
    file_walk(lab.dir, search_file, &hunt);
    ck_assert_msg(hunt.hits == 0, "%u hits; the last: %s", hunt.hits, hunt.where);
    ck_assert_uint_ge(hunt.files, 15);
    ck_assert_uint_ge(hunt.bytes, 50000);

    /* Would it have found one? Each needle, in each form, planted in a copy of the log. */
    size_t len;
    char *log = file_read(lab.daemon.err, &len);
    ck_assert_uint_gt(len, 100);
    for (size_t i = 0; i < hunt.count; i++) {
        for (int form = 0; form < FORM_COUNT; form++) {
            const struct needle *needle = &hunt.needles[i];
            unsigned before = hunt.hits;
            uint8_t *copy = malloc(len);
            ck_assert_ptr_nonnull(copy);
            memcpy(copy, log, len);
            memcpy(copy + len / 2, needle->forms[form], needle->lens[form]);
            file_write(file_path(path, lab.run, "planted"), copy, len, 0600);
            search_file(path, &hunt);
            ck_assert_int_eq(unlink(path), 0);
            ck_assert_msg(hunt.hits > before, "%s, form %d: planted, not found", needle->name,
                          form);
            free(copy);
        }
    }
    free(log);
    lab_end(&lab);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("secrets");
    TCase *tcase = tcase_create("hunt");
    tcase_add_unchecked_fixture(tcase, found, abandon);
    tcase_set_timeout(tcase, 90);
    tcase_add_loop_test(tcase, test_nothing_leaks, 0, 3);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
