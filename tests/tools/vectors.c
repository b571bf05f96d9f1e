/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The test vectors of docs/protocol.md: whole loads with everything fixed that is random in life.
 * Both sides are computed here, by OpenSSL and proto/ alone, so that neither the loader's nor the
 * terminal's own code is the measure of itself; tests/unit/test_vectors.c holds them against it.
 */
#include <err.h>
#include <getopt.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "conf/certfile.h"
#include "proto/cert.h"
#include "proto/message.h"
#include "proto/suite.h"
#include "proto/transcript.h"

#define BEGIN_MARK "<!-- vectors:begin -->\n"
#define END_MARK "<!-- vectors:end -->\n"
#define HEX_WIDTH 64 /* digits in a line */
#define DOCUMENT_MAX (4 << 20)
#define PURPOSES (KL_PURPOSE_DONE + 1)

static const char *const purpose_names[PURPOSES] = {"wrap", "nonce", "ack", "done"};

/* What is chosen. Byte i of a "random" value is `first` + a number of that value's own + i. */
struct spec {
    const char *name, *title;
    const char *files; /* tests/data/vector-FILES.pem and -key.pem */
    enum kl_oaep_hash oaep_hash;
    enum kl_alg alg;
    uint32_t version;
    size_t kcv_len;
    char serial[KL_SERIAL_MAX + 1], pinpad_serial[KL_SERIAL_MAX + 1];
    size_t alg_count;
    uint8_t algs[KL_OFFER_MAX];
    uint8_t first;
    const char *tmk; /* hex */
};

static const struct spec specs[] = {
    {
        .name = "tdes2",
        .title = "RSA-2048 work key, OAEP with SHA-1, 2-key TDES TMK of version 1, KCV of 3 bytes",
        .files = "work-2048",
        .oaep_hash = KL_OAEP_SHA1,
        .alg = KL_ALG_TDES2,
        .version = 1,
        .kcv_len = 3,
        .serial = "POS-0001",
        .pinpad_serial = "PP-0001",
        .alg_count = 2,
        .algs = {KL_ALG_TDES3, KL_ALG_TDES2},
        .first = 0x00,
        .tmk = "ca5d92598dca48ce8a4c76361a9269e9",
    },
    {
        .name = "aes128",
        .title = "RSA-3072 work key, OAEP with SHA-1, AES-128 TMK of version 2, KCV of 3 bytes",
        .files = "work-3072",
        .oaep_hash = KL_OAEP_SHA1,
        .alg = KL_ALG_AES128,
        .version = 2,
        .kcv_len = 3,
        .serial = "T2.north_7",
        .pinpad_serial = "7",
        .alg_count = 1,
        .algs = {KL_ALG_AES128},
        .first = 0x08,
        /* the key of RFC 4493, section 4 */
        .tmk = "2b7e151628aed2a6abf7158809cf4f3c",
    },
    {
        .name = "tdes3",
        .title = "RSA-2048 work key, OAEP with SHA-256, 3-key TDES TMK of version 300, KCV of 4 "
                 "bytes",
        .files = "work-2048",
        .oaep_hash = KL_OAEP_SHA256,
        .alg = KL_ALG_TDES3,
        .version = 300,
        .kcv_len = 4,
        .serial = "0123456789ABCDEFabcdef-._xyzXYZ0",
        .pinpad_serial = "PIN-PAD.300",
        .alg_count = 4,
        .algs = {200 /* unknown: well-formed, never chosen */, KL_ALG_AES128, KL_ALG_TDES3,
                 KL_ALG_TDES2},
        .first = 0x10,
        .tmk = "0123456789abcdef23456789abcdef01456789abcdef0123",
    },
};

/* ---- This program runs to the end or not at all ---- */

static void need(int ok, const char *what)
{
    if (!ok) {
        errx(EX_SOFTWARE, "%s failed", what);
    }
}

static void need_rc(enum kl_rc rc, const struct kl_err *err)
{
    if (rc != KL_OK) {
        errx(EX_SOFTWARE, "%s", err->text);
    }
}

/* ---- OpenSSL with chosen randomness ---- */

/* A library context whose generator hands out what it was fed, for the seed of OAEP and the salt
 * of PSS. Everything else here is deterministic anyway. */
static OSSL_LIB_CTX *fixed_new(void)
{
    OSSL_LIB_CTX *fixed = OSSL_LIB_CTX_new();

    need(fixed && RAND_set_DRBG_type(fixed, "TEST-RAND", NULL, NULL, NULL), "RAND_set_DRBG_type");
    return fixed;
}

static void feed(EVP_RAND_CTX *generator, uint8_t *bytes, size_t len)
{
    OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_RAND_PARAM_TEST_ENTROPY, bytes,
                                                             len),
                           OSSL_PARAM_construct_end()};

    need(generator && EVP_RAND_CTX_set_params(generator, params), "EVP_RAND_CTX_set_params");
}

/* The public generator gets exactly what the operation needs; the private one gets enough for RSA
 * blinding, which leaves no trace in any result. */
static void fixed_feed(OSSL_LIB_CTX *fixed, const uint8_t *bytes, size_t len)
{
    uint8_t exact[KL_HASH_LEN], blinding[8192];

    memcpy(exact, bytes, len);
    memset(blinding, 0x5a, sizeof(blinding));
    feed(RAND_get0_public(fixed), exact, len);
    feed(RAND_get0_private(fixed), blinding, sizeof(blinding));
}

static size_t oaep(OSSL_LIB_CTX *fixed, EVP_PKEY *key, enum kl_oaep_hash hash, const uint8_t *seed,
                   size_t seed_len, const uint8_t rnd1[KL_RND1_LEN], uint8_t out[KL_RSA_MAX])
{
    const EVP_MD *md = hash == KL_OAEP_SHA256 ? EVP_sha256() : EVP_sha1();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(fixed, key, NULL);
    size_t len = KL_RSA_MAX;

    fixed_feed(fixed, seed, seed_len);
    need(ctx && EVP_PKEY_encrypt_init(ctx) == 1 &&
             EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) == 1 &&
             EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) == 1 &&
             EVP_PKEY_encrypt(ctx, out, &len, rnd1, KL_RND1_LEN) == 1,
         "RSA-OAEP");
    EVP_PKEY_CTX_free(ctx);
    return len;
}

static size_t pss(OSSL_LIB_CTX *fixed, EVP_PKEY *key, const uint8_t salt[KL_HASH_LEN],
                  const uint8_t *in, size_t in_len, uint8_t out[KL_RSA_MAX])
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx = NULL; /* md's */
    size_t len = KL_RSA_MAX;

    fixed_feed(fixed, salt, KL_HASH_LEN);
    need(md && EVP_DigestSignInit_ex(md, &ctx, "SHA256", fixed, NULL, key, NULL) == 1 &&
             EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1 &&
             EVP_DigestSign(md, out, &len, in, in_len) == 1,
         "RSASSA-PSS");
    EVP_MD_CTX_free(md);
    return len;
}

/* One pass of a cipher without padding; the number of bytes that come out. */
static size_t cipher(const EVP_CIPHER *type, const uint8_t *key, const uint8_t *in, size_t in_len,
                     uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0;

    need(ctx != NULL, "EVP_CIPHER_CTX_new");
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    need(EVP_EncryptInit_ex2(ctx, type, key, NULL, NULL) && EVP_CIPHER_CTX_set_padding(ctx, 0) &&
             EVP_EncryptUpdate(ctx, out, &len, in, (int)in_len),
         "EVP_EncryptUpdate");
    EVP_CIPHER_CTX_free(ctx);
    return (size_t)len;
}

static void gcm(const uint8_t *key, const uint8_t *iv, const uint8_t *aad, const uint8_t *in,
                uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0;

    need(ctx && EVP_EncryptInit_ex2(ctx, EVP_aes_256_gcm(), key, iv, NULL) &&
             EVP_EncryptUpdate(ctx, NULL, &len, aad, KL_HASH_LEN) &&
             EVP_EncryptUpdate(ctx, out, &len, in, KL_RND2_LEN) &&
             EVP_EncryptFinal_ex(ctx, out + len, &len) &&
             EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, KL_GCM_TAG_LEN, out + KL_RND2_LEN),
         "AES-256-GCM");
    EVP_CIPHER_CTX_free(ctx);
}

static void cmac(const char *cipher_name, const uint8_t *key, size_t key_len, const uint8_t *in,
                 size_t len, uint8_t out[KL_MAC_LEN])
{
    size_t mac_len = 0;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER,
                                                            (char *)cipher_name, 0),
                           OSSL_PARAM_construct_end()};

    need(EVP_Q_mac(NULL, "CMAC", NULL, NULL, params, key, key_len, in, len, out, KL_MAC_LEN,
                   &mac_len) != NULL &&
             mac_len == KL_MAC_LEN,
         "AES-CMAC");
}

static void kcv(const struct kl_alg_info *info, const uint8_t *tmk, uint8_t out[KL_MAC_LEN])
{
    static const uint8_t zeros[16];

    if (info->is_aes) {
        cmac("AES-128-CBC", tmk, info->key_len, zeros, sizeof(zeros), out);
    } else {
        cipher(info->alg == KL_ALG_TDES2 ? EVP_des_ede_ecb() : EVP_des_ede3_ecb(), tmk, zeros, 8,
               out);
    }
}

/* ---- Printing ---- */

static void print_value(FILE *out, const char *name, const void *value, size_t len)
{
    const uint8_t *bytes = value;

    fprintf(out, "%s =%s", name, len * 2 > HEX_WIDTH ? "\n" : " ");
    for (size_t i = 0; i < len; i++) {
        if (len * 2 > HEX_WIDTH && i % (HEX_WIDTH / 2) == 0) {
            fputs(i ? "\n  " : "  ", out);
        }
        fprintf(out, "%02x", bytes[i]);
    }
    fputc('\n', out);
}

static void print_named(FILE *out, const char *prefix, const char *name, const void *value,
                        size_t len)
{
    char full[32];

    snprintf(full, sizeof(full), "%s%s", prefix, name);
    print_value(out, full, value, len);
}

/* ---- A load ---- */

/* One load on its way; what it prints is in the order in which a terminal meets it. */
struct load {
    const struct spec *spec;
    const struct kl_alg_info *info;
    OSSL_LIB_CTX *fixed;
    EVP_PKEY *key;        /* AcquireWCRT_Prk */
    struct kl_bytes work; /* AcquireWCRT */
    FILE *out;
    struct kl_transcript *transcript;
    uint8_t rnd1[KL_RND1_LEN], rnd2[KL_RND2_LEN], t2[KL_HASH_LEN];
    uint8_t keys[PURPOSES][KL_HASH_LEN], tmk[KL_TMK_LEN_MAX];
    struct kl_loaded loaded;
};

static void choose(const struct load *load, uint8_t from, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        out[i] = (uint8_t)(load->spec->first + from + i);
    }
}

/* Encodes and prints a message; transcript_out NULL: it belongs to none. */
static void emit(struct load *load, const char *name, const struct kl_msg *msg,
                 uint8_t transcript_out[KL_HASH_LEN])
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t der[KL_MSG_MAX];
    size_t len;

    need_rc(kl_msg_encode(msg, der, &len, &err), &err);
    print_value(load->out, name, der, len);
    if (!transcript_out) {
        return;
    }
    need_rc(kl_transcript_add(load->transcript, der, len, &err), &err);
    need_rc(kl_transcript_hash(load->transcript, transcript_out, &err), &err);
}

static void do_hello(struct load *load)
{
    const struct spec *spec = load->spec;
    struct kl_msg msg = {.type = KL_MSG_HELLO};
    struct kl_hello *hello = &msg.u.hello;
    uint8_t unused[KL_HASH_LEN];

    hello->version = KL_PROTOCOL_VERSION;
    hello->suite_count = 1;
    hello->suites[0] = KL_SUITE_HARDENED_RSA;
    hello->alg_count = spec->alg_count;
    memcpy(hello->algs, spec->algs, sizeof(hello->algs));
    memcpy(hello->serial, spec->serial, sizeof(spec->serial));
    memcpy(hello->pinpad_serial, spec->pinpad_serial, sizeof(spec->pinpad_serial));
    emit(load, "hello", &msg, unused);
}

static void do_certificate(struct load *load, uint8_t t0[KL_HASH_LEN])
{
    struct kl_msg msg = {.type = KL_MSG_CERTIFICATE};
    struct kl_certificate *certificate = &msg.u.certificate;

    certificate->suite = KL_SUITE_HARDENED_RSA;
    certificate->oaep_hash = (uint8_t)load->spec->oaep_hash;
    choose(load, 0x40, certificate->nonce, KL_HASH_LEN);
    certificate->chain_count = 1;
    certificate->chain[0] = load->work;
    print_value(load->out, "nonce", certificate->nonce, KL_HASH_LEN);
    emit(load, "certificate", &msg, t0);
    print_value(load->out, "t0", t0, KL_HASH_LEN);
}

static void do_keys(struct load *load, const uint8_t t0[KL_HASH_LEN])
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t label[KL_HASH_LEN];

    choose(load, 0x00, load->rnd1, KL_RND1_LEN);
    print_value(load->out, "rnd1", load->rnd1, KL_RND1_LEN);
    for (int i = 0; i < PURPOSES; i++) {
        need_rc(kl_suite_label((enum kl_purpose)i, t0, label, &err), &err);
        cipher(EVP_aes_256_ecb(), load->rnd1, label, KL_HASH_LEN, load->keys[i]);
        print_named(load->out, "label_", purpose_names[i], label, KL_HASH_LEN);
        print_named(load->out, "k_", purpose_names[i], load->keys[i], KL_HASH_LEN);
    }
}

static void do_randoms(struct load *load, const uint8_t t0[KL_HASH_LEN], uint8_t t1[KL_HASH_LEN])
{
    struct kl_msg msg = {.type = KL_MSG_RANDOMS};
    struct kl_randoms *randoms = &msg.u.randoms;
    size_t seed_len = load->spec->oaep_hash == KL_OAEP_SHA256 ? 32 : 20;
    uint8_t seed[KL_HASH_LEN];

    choose(load, 0x20, load->rnd2, KL_RND2_LEN);
    choose(load, 0x60, randoms->iv, KL_GCM_IV_LEN);
    choose(load, 0x80, seed, seed_len);
    randoms->c_rnd1_len = oaep(load->fixed, load->key, load->spec->oaep_hash, seed, seed_len,
                               load->rnd1, randoms->c_rnd1);
    gcm(load->keys[KL_PURPOSE_NONCE], randoms->iv, t0, load->rnd2, randoms->c_rnd2);
    print_value(load->out, "oaep_seed", seed, seed_len);
    print_value(load->out, "c_rnd1", randoms->c_rnd1, randoms->c_rnd1_len);
    print_value(load->out, "rnd2", load->rnd2, KL_RND2_LEN);
    print_value(load->out, "iv", randoms->iv, KL_GCM_IV_LEN);
    print_value(load->out, "c_rnd2", randoms->c_rnd2, sizeof(randoms->c_rnd2));
    emit(load, "randoms", &msg, t1);
    print_value(load->out, "t1", t1, KL_HASH_LEN);
}

static void fill_tbs(struct load *load, const uint8_t t1[KL_HASH_LEN], struct kl_tbs *tbs)
{
    const struct spec *spec = load->spec;
    uint8_t block[KL_MAC_LEN];

    memcpy(tbs->t1, t1, KL_HASH_LEN);
    memcpy(tbs->rnd2, load->rnd2, KL_RND2_LEN);
    tbs->ctmk_len = cipher(EVP_aes_256_wrap(), load->keys[KL_PURPOSE_WRAP], load->tmk,
                           load->info->key_len, tbs->ctmk);
    memcpy(tbs->serial, spec->serial, sizeof(spec->serial));
    tbs->usage = KL_USAGE_KEK;
    tbs->alg = (uint8_t)spec->alg;
    tbs->version = spec->version;
    tbs->kcv_method = (uint8_t)load->info->kcv_method;
    kcv(load->info, load->tmk, block);
    tbs->kcv_len = spec->kcv_len;
    memcpy(tbs->kcv, block, spec->kcv_len);
}

static void do_master_key(struct load *load, const uint8_t t1[KL_HASH_LEN])
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg = {.type = KL_MSG_MASTER_KEY};
    struct kl_master_key *master_key = &msg.u.master_key;
    struct kl_tbs *tbs = &master_key->tbs;
    uint8_t der[KL_TBS_MAX], salt[KL_HASH_LEN];

    fill_tbs(load, t1, tbs);
    need_rc(kl_tbs_encode(tbs, der, &master_key->tbs_der.len, &err), &err);
    master_key->tbs_der.data = der;
    choose(load, 0xa0, salt, KL_HASH_LEN);
    master_key->sig_len =
        pss(load->fixed, load->key, salt, der, master_key->tbs_der.len, master_key->sig);
    load->loaded.kcv_len = tbs->kcv_len;
    memcpy(load->loaded.kcv, tbs->kcv, sizeof(tbs->kcv));
    print_value(load->out, "tmk", load->tmk, load->info->key_len);
    print_value(load->out, "kcv", tbs->kcv, tbs->kcv_len);
    print_value(load->out, "ctmk", tbs->ctmk, tbs->ctmk_len);
    print_value(load->out, "tbs", der, master_key->tbs_der.len);
    print_value(load->out, "pss_salt", salt, KL_HASH_LEN);
    print_value(load->out, "signature", master_key->sig, master_key->sig_len);
    emit(load, "master_key", &msg, load->t2);
    print_value(load->out, "t2", load->t2, KL_HASH_LEN);
}

static void do_loaded(struct load *load)
{
    struct kl_msg msg = {.type = KL_MSG_LOADED};
    uint8_t in[KL_ACK_INPUT_MAX];
    size_t len = kl_suite_ack_input(load->t2, load->loaded.kcv, load->loaded.kcv_len, in);

    cmac("AES-256-CBC", load->keys[KL_PURPOSE_ACK], KL_HASH_LEN, in, len, load->loaded.mac);
    print_value(load->out, "loaded_input", in, len);
    print_value(load->out, "loaded_mac", load->loaded.mac, KL_MAC_LEN);
    msg.u.loaded = load->loaded;
    emit(load, "loaded", &msg, NULL);
}

static void do_done(struct load *load, enum kl_verdict verdict, const char *name)
{
    struct kl_msg msg = {.type = KL_MSG_DONE};
    uint8_t in[KL_DONE_INPUT_LEN];

    kl_suite_done_input(load->t2, verdict, in);
    msg.u.done.verdict = (uint8_t)verdict;
    msg.u.done.tmk_version = load->spec->version;
    cmac("AES-256-CBC", load->keys[KL_PURPOSE_DONE], KL_HASH_LEN, in, sizeof(in), msg.u.done.mac);
    print_named(load->out, name, "_input", in, sizeof(in));
    print_named(load->out, name, "_mac", msg.u.done.mac, KL_MAC_LEN);
    emit(load, name, &msg, NULL);
}

static void do_confirm(struct load *load)
{
    struct kl_msg msg = {.type = KL_MSG_CONFIRM};
    struct kl_confirm *confirm = &msg.u.confirm;

    confirm->version = KL_PROTOCOL_VERSION;
    memcpy(confirm->serial, load->spec->serial, sizeof(load->spec->serial));
    memcpy(confirm->pinpad_serial, load->spec->pinpad_serial, sizeof(load->spec->pinpad_serial));
    confirm->tmk_version = load->spec->version;
    confirm->loaded = load->loaded;
    emit(load, "confirm", &msg, NULL);
}

/* ---- Files ---- */

static X509 *read_certificate(const char *dir, const char *files)
{
    struct kl_err err = KL_ERR_INIT;
    STACK_OF(X509) *chain = NULL;
    char path[4096];
    X509 *cert;

    snprintf(path, sizeof(path), "%s/vector-%s.pem", dir, files);
    need_rc(kl_cert_load_pem(path, &chain, &err), &err);
    cert = sk_X509_shift(chain);
    sk_X509_pop_free(chain, X509_free);
    return cert;
}

static EVP_PKEY *read_key(OSSL_LIB_CTX *fixed, const char *dir, const char *files)
{
    char path[4096];
    EVP_PKEY *key;
    FILE *file;

    snprintf(path, sizeof(path), "%s/vector-%s-key.pem", dir, files);
    if (!(file = fopen(path, "re"))) {
        err(EX_NOINPUT, "%s", path);
    }
    key = PEM_read_PrivateKey_ex(file, NULL, NULL, NULL, fixed, NULL);
    if (!key) {
        errx(EX_DATAERR, "%s: no private key in PEM form", path);
    }
    fclose(file);
    return key;
}

static void print_load(FILE *out, const struct spec *spec, const char *dir, OSSL_LIB_CTX *fixed)
{
    struct kl_err err = KL_ERR_INIT;
    struct load load = {.spec = spec, .info = kl_alg_info(spec->alg), .fixed = fixed, .out = out};
    X509 *cert = read_certificate(dir, spec->files);
    uint8_t *der = NULL, t0[KL_HASH_LEN], t1[KL_HASH_LEN];
    int der_len = i2d_X509(cert, &der);
    size_t tmk_len = 0;

    need(der_len > 0, "i2d_X509");
    load.work = (struct kl_bytes){der, (size_t)der_len};
    load.key = read_key(fixed, dir, spec->files);
    need(OPENSSL_hexstr2buf_ex(load.tmk, sizeof(load.tmk), &tmk_len, spec->tmk, '\0') &&
             tmk_len == load.info->key_len,
         "OPENSSL_hexstr2buf_ex");
    need_rc(kl_transcript_new(&load.transcript, &err), &err);
    fprintf(out, "\n### %s\n\n%s; serial `%s`, PIN pad `%s`.\n\n```text\n", spec->name, spec->title,
            spec->serial, spec->pinpad_serial);
    do_hello(&load);
    do_certificate(&load, t0);
    do_keys(&load, t0);
    do_randoms(&load, t0, t1);
    do_master_key(&load, t1);
    do_loaded(&load);
    do_done(&load, KL_VERDICT_ACTIVE, "done_active");
    do_done(&load, KL_VERDICT_DROP, "done_drop");
    do_confirm(&load);
    fputs("```\n", out);
    kl_transcript_free(load.transcript);
    EVP_PKEY_free(load.key);
    OPENSSL_free(der);
    X509_free(cert);
}

static void print_root(FILE *out, const char *dir)
{
    X509 *root = read_certificate(dir, "root");
    uint8_t *der = NULL;
    int len = i2d_X509(root, &der);

    need(len > 0, "i2d_X509");
    fputs("\n### root\n\nAcquireRCRT, for all of them.\n\n```text\n", out);
    print_value(out, "root", der, (size_t)len);
    fputs("```\n", out);
    OPENSSL_free(der);
    X509_free(root);
}

/* The section as it stands between the marks; the caller frees it. */
static char *make_section(const char *dir)
{
    OSSL_LIB_CTX *fixed = fixed_new();
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (!out) {
        err(EX_OSERR, "open_memstream");
    }
    print_root(out, dir);
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        print_load(out, &specs[i], dir, fixed);
    }
    fputc('\n', out);
    if (fclose(out) != 0) {
        err(EX_OSERR, "open_memstream");
    }
    OSSL_LIB_CTX_free(fixed);
    return text;
}

static char *read_document(const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = calloc(1, DOCUMENT_MAX);
    size_t len;

    if (!file) {
        err(EX_NOINPUT, "%s", path);
    }
    if (!text) {
        err(EX_OSERR, "%s", path);
    }
    len = fread(text, 1, DOCUMENT_MAX - 1, file);
    if (ferror(file) || len == DOCUMENT_MAX - 1) {
        errx(EX_IOERR, "%s: cannot be read, or is too long", path);
    }
    fclose(file);
    return text;
}

/* Where the section stands in the document: from after the first mark to the second. */
static char *find_section(char *document, const char *path, char **end)
{
    char *begin = strstr(document, BEGIN_MARK);

    *end = begin ? strstr(begin, END_MARK) : NULL;
    if (!*end) {
        errx(EX_DATAERR, "%s: lacks the lines %.*s and %.*s", path, (int)strlen(BEGIN_MARK) - 1,
             BEGIN_MARK, (int)strlen(END_MARK) - 1, END_MARK);
    }
    return begin + strlen(BEGIN_MARK);
}

static int check_document(const char *path, const char *section)
{
    char *document = read_document(path), *end;
    char *begin = find_section(document, path, &end);
    int same =
        (size_t)(end - begin) == strlen(section) && memcmp(begin, section, strlen(section)) == 0;

    if (!same) {
        warnx("%s: the vectors are not what this program computes; see --update", path);
    }
    free(document);
    return same ? 0 : 1;
}

static void update_document(const char *path, const char *section)
{
    char *document = read_document(path), *end;
    char *begin = find_section(document, path, &end);
    FILE *file = fopen(path, "we");

    if (!file) {
        err(EX_CANTCREAT, "%s", path);
    }
    fprintf(file, "%.*s%s%s", (int)(begin - document), document, section, end);
    if (fclose(file) != 0) {
        err(EX_IOERR, "%s", path);
    }
    free(document);
}

static void usage(FILE *out)
{
    fputs("usage: vectors [--data DIR] [--update FILE | --check FILE]\n"
          "Prints the test vectors of docs/protocol.md, or writes them between the marks in FILE,\n"
          "or ends with status 1 if others stand there. DIR is tests/data unless named.\n",
          out);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"data", required_argument, NULL, 'd'},
                                            {"update", required_argument, NULL, 'u'},
                                            {"check", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *dir = "tests/data", *update = NULL, *check = NULL;
    char *section;
    int status = 0;

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'd') {
            dir = optarg;
        } else if (c == 'u') {
            update = optarg;
        } else if (c == 'c') {
            check = optarg;
        } else {
            usage(c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : EX_USAGE;
        }
    }
    if (optind != argc || (update && check)) {
        usage(stderr);
        return EX_USAGE;
    }
    section = make_section(dir);
    if (update) {
        update_document(update, section);
    } else if (check) {
        status = check_document(check, section);
    } else {
        fputs(section, stdout);
    }
    free(section);
    return status;
}
