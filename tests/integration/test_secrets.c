/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * After a full load with known keys and PINs, nothing that is left behind - logs at debug level,
 * the store and its journal, the terminal's files, tokens, core files, every byte that was on the
 * wire - holds TMK, Rnd1, any key derived from it, a working key, a PIN, a component, a passphrase
 * or a private key that came in under it, in binary, hexadecimal or base64 (at any offset).
 *
 * The keys are known because both sides reach their tokens through tests/tools/proxy_p11.c, or
 * because they were made here and imported.
 */
#include <check.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proto/message.h"
#include "proto/suite.h"
#include "proto/transcript.h"
#include "tests/support/fakeloader.h"
#include "tests/support/keywrap.h"
#include "tests/support/lab_keys.h"
#include "tests/support/needle.h"
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

struct hunt {
    struct needles needles;
    unsigned files, hits;
    size_t bytes;
    const char *path;           /* that is searched */
    char where[PATH_MAX + 128]; /* of the last hit */
};

static void add_needle(struct hunt *hunt, const char *name, const uint8_t *data, size_t len)
{
    needles_add(&hunt->needles, name, data, len);
}

static void on_hit(void *arg, const struct needle *needle, int form, size_t at)
{
    struct hunt *hunt = arg;
    (void)at;
    hunt->hits++;
    snprintf(hunt->where, sizeof hunt->where, "%s (form %d) in %s", needle->name, form, hunt->path);
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
    hunt->path = path;
    needles_search(&hunt->needles, data, len, on_hit, hunt);
    free(data);
}

static void add_pin(struct hunt *hunt, const char *file)
{
    char path[PATH_MAX];
    char *pin = file_read(file_path(path, lab.dir, file), NULL);
    add_needle(hunt, file, (uint8_t *)pin, strcspn(pin, "\n"));
    free(pin);
}

/* What Rnd1 becomes (32 bytes, after Hello and Certificate: 2 messages), or the session key of a
 * sign-in (16 bytes, after SignIn: 1 message). */
static void add_derived(struct hunt *hunt, const char *record, unsigned messages,
                        const uint8_t *base, size_t base_len)
{
    static const char *const names[] = {"K_wrap", "K_nonce", "K_ack", "K_done", "K_keys"};
    struct kl_err err = KL_ERR_INIT;
    struct kl_transcript *transcript = NULL;
    size_t len;
    const uint8_t *der;
    uint8_t t0[KL_HASH_LEN], label[KL_HASH_LEN], key[KL_HASH_LEN + 16], *data;
    ck_assert_int_eq(kl_transcript_new(&transcript, &err), KL_OK);
    for (unsigned i = 0; i < messages; i++) {
        relay_frame_of(record, i, &data, &der, &len);
        ck_assert_int_eq(kl_transcript_add(transcript, der, len, &err), KL_OK);
        free(data);
    }
    ck_assert_int_eq(kl_transcript_hash(transcript, t0, &err), KL_OK);
    kl_transcript_free(transcript);
    for (unsigned purpose = 0; purpose < KL_PURPOSE_COUNT; purpose++) { /* whoever derives it */
        ck_assert_int_eq(kl_suite_label((enum kl_purpose)purpose, t0, label, &err), KL_OK);
        fake_block(base_len == 24 ? KL_ALG_AES192 : KL_ALG_AES256, 1, base, label, sizeof label,
                   key);
        add_needle(hunt, names[purpose], key, KL_HASH_LEN);
    }
}

/* Searches all that is left behind. */
static void nothing_is_found(struct hunt *hunt)
{
    char path[PATH_MAX];
    size_t len;
    file_walk(lab.dir, search_file, hunt);
    ck_assert_msg(hunt->hits == 0, "%u hits; the last: %s", hunt->hits, hunt->where);
    ck_assert_uint_ge(hunt->files, 15);
    ck_assert_uint_ge(hunt->bytes, 50000);

    /* Would it have found one? Each needle, in each form, planted in a copy of the log. */
    char *log = file_read(lab.daemon.err, &len);
    ck_assert_uint_gt(len, 300);
    for (size_t i = 0; i < hunt->needles.count; i++) {
        for (int form = 0; form < NEEDLE_FORMS; form++) {
            const struct needle *needle = &hunt->needles.all[i];
            unsigned before = hunt->hits;
            uint8_t *copy = malloc(len);
            ck_assert_ptr_nonnull(copy);
            memcpy(copy, log, len);
            memcpy(copy + len / 2, needle->forms[form], needle->lens[form]);
            file_write(file_path(path, lab.run, "planted"), copy, len, 0600);
            search_file(path, hunt);
            ck_assert_int_eq(unlink(path), 0);
            ck_assert_msg(hunt->hits > before, "%s, form %d: planted, not found", needle->name,
                          form);
            free(copy);
        }
    }
    free(log);
}

START_TEST(test_nothing_leaks)
{
    static const char *const algs[] = {"tdes2", "tdes3", "aes128"};
    static const size_t lens[] = {16, 24, 16};
    const char *alg = algs[_i];
    char env[PATH_MAX + 32], record[PATH_MAX], kcv[KL_KCV_TEXT];
    struct lab_tmk store[LAB_TMK_MAX];
    struct hunt hunt = {.hits = 0};
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
    /* Which proves that the proxy was at work. */
    keywrap_kcv_text(kl_alg_by_name(alg), proxy_tmk, kcv);
    ck_assert_str_eq(store[0].kcv, kcv);

    /* The end is a kill: the store's journal stays as it is, and is searched too. */
    lab_kill(&lab);
    add_needle(&hunt, "TMK", proxy_tmk, lens[_i]);
    add_needle(&hunt, "TMK's first half", proxy_tmk, 8);
    add_needle(&hunt, "Rnd1", proxy_rnd1, sizeof proxy_rnd1);
    add_derived(&hunt, record, 2, proxy_rnd1, sizeof proxy_rnd1);
    add_pin(&hunt, "loader.pin");
    add_pin(&hunt, "pinpad.pin");
    add_pin(&hunt, "ca.pin");
    add_pin(&hunt, "loader-so.pin");
    nothing_is_found(&hunt);
    lab_end(&lab);
}
END_TEST

/* ---- What comes from outside, and what comes of it ---- */

#define PASSPHRASE "a passphrase nobody writes down"
#define CARDHOLDER_PIN "915273846501"

/* A secret that its owner keeps in a file: its SRC. */
static void owner_file(const char *name, const char *secret, char source[PATH_MAX + 8])
{
    char path[PATH_MAX], line[80];
    snprintf(line, sizeof line, "%s\n", secret);
    file_write(file_path(path, lab.dir, name), line, strlen(line), 0600);
    snprintf(source, PATH_MAX + 8, "file:%s", path);
}

/* A work key for classic, made elsewhere, certified and served. */
static void import_work_key(EVP_PKEY *key)
{
    char file[PATH_MAX], source[PATH_MAX + 8], dir[PATH_MAX];
    FILE *f = fopen(file_path(file, lab.run, "work.p8"), "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(PEM_write_PKCS8PrivateKey(f, key, EVP_aes_256_cbc(), PASSPHRASE,
                                               strlen(PASSPHRASE), NULL, NULL),
                     1);
    ck_assert_int_eq(fclose(f), 0);
    owner_file("passphrase.pin", PASSPHRASE, source);
    free(lab_ctl(&lab, "key", "import", file, "--label", "imported", "--suite", "classic",
                 "--passphrase-source", source, NULL));
    file_mkdir(file_path(dir, lab.run, "work"));
    lab_set(&lab, "certificates", "work", dir);
    lab_certify_key(&lab, "imported", "ca");
}

static void add_private_key(struct hunt *hunt, EVP_PKEY *key)
{
    static const char *const names[] = {OSSL_PKEY_PARAM_RSA_FACTOR1, OSSL_PKEY_PARAM_RSA_D};
    uint8_t value[KL_RSA_MAX];
    for (int i = 0; i < 2; i++) {
        BIGNUM *number = NULL;
        ck_assert_int_eq(EVP_PKEY_get_bn_param(key, names[i], &number), 1);
        ck_assert_int_gt(BN_bn2bin(number, value), 64);
        add_needle(hunt, names[i], value, 64);
        BN_clear_free(number);
    }
}

static const EVP_MD *announced_hash(const char *record)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t *data;
    const uint8_t *der;
    size_t len;
    struct kl_msg msg;
    relay_frame_of(record, KL_MSG_CERTIFICATE, &data, &der, &len);
    ck_assert_int_eq(kl_msg_decode(der, len, &msg, &err), KL_OK);
    free(data);
    return msg.u.certificate.oaep_hash == KL_OAEP_SHA256 ? EVP_sha256() : EVP_sha1();
}

/* Rnd1, out of the recorded C_rnd1_rnd2 by the work key. */
static void open_rnd1(EVP_PKEY *key, const char *record, uint8_t rnd1[KL_RND1_LEN])
{
    struct kl_err err = KL_ERR_INIT;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    uint8_t *data, opened[KL_RSA_MAX];
    const uint8_t *der;
    size_t len, opened_len = sizeof opened;
    struct kl_msg msg;
    relay_frame_of(record, KL_MSG_RANDOMS, &data, &der, &len);
    ck_assert_int_eq(kl_msg_decode(der, len, &msg, &err), KL_OK);
    ck_assert_int_eq(msg.u.randoms.suite, KL_SUITE_CLASSIC);
    ck_assert_int_eq(EVP_PKEY_decrypt_init(ctx), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_oaep_md(ctx, announced_hash(record)), 1);
    ck_assert_int_eq(EVP_PKEY_decrypt(ctx, opened, &opened_len, msg.u.randoms.c_rnd1,
                                      msg.u.randoms.c_rnd1_len),
                     1);
    ck_assert_uint_eq(opened_len, KL_RND1_LEN + KL_RND2_LEN);
    memcpy(rnd1, opened, KL_RND1_LEN);
    EVP_PKEY_CTX_free(ctx);
    free(data);
}

/* PIK, MAK, session key and what comes of it. */
static void add_working_keys(struct hunt *hunt, const char *record, const uint8_t tmk[16])
{
    const struct kl_working working = lab_working(&lab, "T1");
    struct kl_err err = KL_ERR_INIT;
    uint8_t key[KL_TMK_LEN_MAX], *data;
    const uint8_t *der;
    size_t len;
    struct kl_msg msg;
    lab_clear_key(&lab, KL_ALG_AES128, working.pik.cryptogram, working.pik.cryptogram_len, key);
    add_needle(hunt, "PIK", key, 16);
    lab_clear_key(&lab, KL_ALG_AES128, working.mak.cryptogram, working.mak.cryptogram_len, key);
    add_needle(hunt, "MAK", key, 16);
    relay_frame_of(record, 1, &data, &der, &len);
    ck_assert_int_eq(kl_msg_decode(der, len, &msg, &err), KL_OK);
    keywrap_aes_open(tmk, 16, msg.u.working_keys.c_session, msg.u.working_keys.c_session_len, key);
    add_needle(hunt, "session key", key, 24);
    add_derived(hunt, record, 1, key, 24);
    free(data);
}

/* Runs terminal-sim through a recording relay; `word` is load or sign-in. */
static void recorded(const char *word, const char *name, char record[PATH_MAX])
{
    const struct relay_plan plan = {.record = file_path(record, lab.run, name)};
    struct relay *relay = relay_start(0, lab.port, &plan);
    char to[32];
    const char *suites = strcmp(word, "load") == 0 ? "--suites=classic" : "--verbose";
    ck_assert_ptr_nonnull(relay);
    snprintf(to, sizeof to, "127.0.0.1:%u", relay_port(relay));
    ck_assert_int_eq(lab_terminal_sim(&lab, "T1", word, "--connect", to, suites, NULL), 0);
    relay_stop(relay);
}

START_TEST(test_nothing_imported_leaks)
{
    char load[PATH_MAX], sign_in[PATH_MAX], source[PATH_MAX + 8];
    uint8_t tmk[16], rnd1[KL_RND1_LEN];
    struct lab_components parts;
    struct hunt hunt = {.hits = 0};
    EVP_PKEY *key = EVP_RSA_gen(3072);
    const struct kl_alg_info *aes = kl_alg_info(KL_ALG_AES128);
    lab_begin(&lab, "imported");
    lab_set(&lab, "policy", "suites", "classic");
    import_work_key(key);
    ck_assert_int_eq(getrandom(tmk, sizeof tmk, 0), sizeof tmk);
    lab_components(&lab, aes, tmk, &parts);
    lab_terminal(&lab, "T1", "aes128");
    free(lab_ctl(&lab, "terminal", "accept-imported", "T1", NULL));
    free(lab_ctl(&lab, "tmk", "import", "T1", "--algorithm", "aes128", "--components", "2",
                 "--component", parts.sources[0], "--component", parts.sources[1],
                 "--component-kcv", parts.kcvs[0], "--component-kcv", parts.kcvs[1], "--kcv",
                 parts.kcv, NULL));
    lab_start(&lab);
    lab_arm(&lab, "T1", 2);
    recorded("load", "load.rec", load);
    lab_settled(&lab, "T1", 1);
    recorded("sign-in", "sign-in.rec", sign_in);
    owner_file("cardholder.pin", CARDHOLDER_PIN, source);
    ck_assert_int_eq(lab_terminal_sim(&lab, "T1", "pin-block", "--pan", "432198765432109870",
                                      "--format", "4", "--pin-source", source, NULL),
                     0);
    lab_kill(&lab);

    open_rnd1(key, load, rnd1);
    add_needle(&hunt, "Rnd1", rnd1, sizeof rnd1);
    add_derived(&hunt, load, 2, rnd1, sizeof rnd1);
    add_working_keys(&hunt, sign_in, tmk);
    add_needle(&hunt, "TMK", tmk, sizeof tmk);
    add_needle(&hunt, "first component", parts.values[0], 16);
    add_needle(&hunt, "second component", parts.values[1], 16);
    add_needle(&hunt, "passphrase", (const uint8_t *)PASSPHRASE, strlen(PASSPHRASE));
    add_needle(&hunt, "cardholder's PIN", (const uint8_t *)CARDHOLDER_PIN, strlen(CARDHOLDER_PIN));
    add_private_key(&hunt, key);
    add_pin(&hunt, "loader.pin");
    add_pin(&hunt, "pinpad.pin");
    nothing_is_found(&hunt);
    EVP_PKEY_free(key);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("secrets");
    TCase *tcase = tcase_create("hunt");
    tcase_add_unchecked_fixture(tcase, found, abandon);
    tcase_set_timeout(tcase, 90);
    tcase_add_loop_test(tcase, test_nothing_leaks, 0, 3);
    tcase_add_test(tcase, test_nothing_imported_leaks);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
