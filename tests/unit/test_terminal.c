/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The terminal's state machine against a key loader made of nothing but OpenSSL: its labels,
 * transcripts and MACs are computed here from the words of the protocol, not by proto/. Each test
 * spoils one thing and expects the terminal to notice, keep its old TMK, and say no more than
 * "refused" to the peer.
 */
#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/cli.h"
#include "terminal-sim/judge.h"
#include "terminal-sim/load.h"
#include "terminal-sim/terminal.h"
#include "tests/support/hsm.h"

#define SERIAL "T-0001"
#define PINPAD "P-0001"
#define PIN "1234567"
#define DAY (24 * 3600)

static EVP_PKEY *root_key, *other_key, *work_key; /* made once for the run */
static X509 *root, *other_root;
static X509 *work; /* as it should be */
static const uint8_t tmk_bytes[32] = {0xca, 0x5d, 0x92, 0x59, 0x8d, 0xca, 0x48, 0xce,
                                      0x8a, 0x4c, 0x76, 0x36, 0x1a, 0x92, 0x69, 0xe9,
                                      0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};

/* ---- Certificates ---- */

struct profile { /* of an AcquireWCRT; what is 0 or NULL is as it should be */
    const char *eku, *key_usage;
    long from_days, to_days;
};

static void add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ck_assert_ptr_nonnull(ext);
    ck_assert_int_eq(X509_add_ext(cert, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

static X509 *new_cert(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                      const struct profile *profile)
{
    X509 *cert = X509_new();
    X509_NAME *subject = X509_get_subject_name(cert);
    long to = profile && profile->to_days ? profile->to_days : 30;

    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), issuer ? 2 : 1);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
    X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject);
    X509_gmtime_adj(X509_getm_notBefore(cert), profile ? profile->from_days * DAY : -DAY);
    X509_gmtime_adj(X509_getm_notAfter(cert), to * DAY);
    X509_set_pubkey(cert, key);
    if (!issuer) {
        add_ext(cert, cert, NID_basic_constraints, "critical,CA:TRUE");
        add_ext(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign");
        add_ext(cert, cert, NID_subject_key_identifier, "hash");
    } else {
        add_ext(cert, issuer, NID_basic_constraints, "critical,CA:FALSE");
        add_ext(cert, issuer, NID_key_usage,
                profile && profile->key_usage ? profile->key_usage
                                              : "critical,digitalSignature,keyEncipherment");
        add_ext(cert, issuer, NID_ext_key_usage,
                profile && profile->eku ? profile->eku : "critical," KL_OID_EKU_LOADER);
        add_ext(cert, issuer, NID_subject_key_identifier, "hash");
        add_ext(cert, issuer, NID_authority_key_identifier, "keyid:always");
    }
    ck_assert_int_gt(X509_sign(cert, issuer_key, EVP_sha256()), 0);
    return cert;
}

static void make_keys(void)
{
    if (root_key) /* by the test case before */
        return;
    root_key = EVP_RSA_gen(2048);
    other_key = EVP_RSA_gen(2048);
    work_key = EVP_RSA_gen(2048);
    root = new_cert("Root", root_key, NULL, root_key, NULL);
    other_root = new_cert("Root", other_key, NULL, other_key, NULL);
    work = new_cert("Loader", work_key, root, root_key, NULL);
}

static void free_keys(void)
{
    X509_free(work);
    X509_free(other_root);
    X509_free(root);
    EVP_PKEY_free(work_key);
    EVP_PKEY_free(other_key);
    EVP_PKEY_free(root_key);
}

/* ---- The loader ---- */

struct loader {
    uint8_t told[4 * KL_MSG_MAX]; /* Hello, Certificate, Randoms, MasterKey, end to end */
    size_t told_len;
    uint8_t t0[32], t1[32], t2[32];
    uint8_t rnd1[32], rnd2[32];
    X509 *work;         /* sent */
    EVP_PKEY *sign_key; /* signs tbs */
    enum kl_alg alg;
    uint32_t version;
    size_t kcv_len;
    uint8_t kcv[4];
    void (*spoil_certificate)(struct kl_certificate *);
    void (*spoil_tbs)(struct loader *, struct kl_tbs *);               /* before it is signed */
    void (*spoil_master_key)(struct loader *, struct kl_master_key *); /* after */
};

static void loader_init(struct loader *loader)
{
    memset(loader, 0, sizeof(*loader));
    loader->work = work;
    loader->sign_key = work_key;
    loader->alg = KL_ALG_TDES2;
    loader->version = 1;
    loader->kcv_len = 3;
}

static void hear(struct loader *loader, const uint8_t *der, size_t len, uint8_t hash[32])
{
    memcpy(loader->told + loader->told_len, der, len);
    loader->told_len += len;
    if (hash)
        SHA256(loader->told, loader->told_len, hash);
}

static void aes_ecb(const uint8_t *key, const uint8_t *in, size_t len, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n;

    ck_assert(EVP_EncryptInit(ctx, EVP_aes_256_ecb(), key, NULL));
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    ck_assert(EVP_EncryptUpdate(ctx, out, &n, in, (int)len));
    EVP_CIPHER_CTX_free(ctx);
}

static void derive(const struct loader *loader, const char *purpose, uint8_t key[32])
{
    uint8_t in[64], label[32];
    size_t len = (size_t)snprintf((char *)in, sizeof(in), "keyloader/1 %s", purpose) + 1;

    memcpy(in + len, loader->t0, 32);
    SHA256(in, len + 32, label);
    aes_ecb(loader->rnd1, label, 32, key);
}

static void cmac(const char *cipher, const uint8_t *key, size_t key_len, const uint8_t *in,
                 size_t len, uint8_t out[16])
{
    size_t n;

    ck_assert(EVP_Q_mac(NULL, "CMAC", NULL, cipher, NULL, key, key_len, in, len, out, 16, &n));
}

static void compute_kcv(enum kl_alg alg, uint8_t kcv[4])
{
    static const uint8_t zeros[16];
    uint8_t out[16];
    EVP_CIPHER_CTX *ctx;
    int n;

    if (kl_alg_info(alg)->is_aes) {
        cmac("AES-128-CBC", tmk_bytes, 16, zeros, 16, out);
    } else {
        ctx = EVP_CIPHER_CTX_new();
        ck_assert(EVP_EncryptInit(ctx, alg == KL_ALG_TDES2 ? EVP_des_ede_ecb() : EVP_des_ede3_ecb(),
                                  tmk_bytes, NULL));
        EVP_CIPHER_CTX_set_padding(ctx, 0);
        ck_assert(EVP_EncryptUpdate(ctx, out, &n, zeros, 8));
        EVP_CIPHER_CTX_free(ctx);
    }
    memcpy(kcv, out, 4);
}

static void encode(const struct kl_msg *msg, uint8_t *out, size_t *len)
{
    struct kl_err err = KL_ERR_INIT;

    ck_assert_msg(kl_msg_encode(msg, out, len, &err) == KL_OK, "%s", err.text);
}

/* Hello in, Certificate out. */
static void say_certificate(struct loader *loader, const uint8_t *hello, size_t hello_len,
                            uint8_t *out, size_t *out_len)
{
    struct kl_msg msg = {.type = KL_MSG_CERTIFICATE};
    struct kl_certificate *certificate = &msg.u.certificate;
    uint8_t *der = NULL;
    int len = i2d_X509(loader->work, &der);

    hear(loader, hello, hello_len, NULL);
    certificate->suite = KL_SUITE_HARDENED_RSA;
    certificate->oaep_hash = KL_OAEP_SHA1;
    RAND_bytes(certificate->nonce, 32);
    certificate->chain_count = 1;
    certificate->chain[0] = (struct kl_bytes){der, (size_t)len};
    if (loader->spoil_certificate)
        loader->spoil_certificate(certificate);
    encode(&msg, out, out_len);
    hear(loader, out, *out_len, loader->t0);
    OPENSSL_free(der);
}

/* S6. */
static void open_randoms(struct loader *loader, const struct kl_randoms *randoms)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(work_key, NULL);
    EVP_CIPHER_CTX *gcm = EVP_CIPHER_CTX_new();
    uint8_t key[32], plain[256];
    size_t len = sizeof(plain);
    int n;

    ck_assert_int_eq(EVP_PKEY_decrypt_init(ctx), 1);
    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING);
    ck_assert_int_eq(EVP_PKEY_decrypt(ctx, plain, &len, randoms->c_rnd1, randoms->c_rnd1_len), 1);
    ck_assert_uint_eq(len, 32);
    memcpy(loader->rnd1, plain, 32);
    derive(loader, "nonce", key);
    ck_assert(EVP_DecryptInit(gcm, EVP_aes_256_gcm(), key, randoms->iv));
    ck_assert(EVP_DecryptUpdate(gcm, NULL, &n, loader->t0, 32));
    ck_assert(EVP_DecryptUpdate(gcm, loader->rnd2, &n, randoms->c_rnd2, 32));
    EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_SET_TAG, 16, (void *)(randoms->c_rnd2 + 32));
    ck_assert_msg(EVP_DecryptFinal(gcm, plain, &n), "Rnd2 does not open");
    EVP_CIPHER_CTX_free(gcm);
    EVP_PKEY_CTX_free(ctx);
}

static void wrap_tmk(const struct loader *loader, struct kl_tbs *tbs)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t key[32];
    int n;

    derive(loader, "wrap", key);
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    ck_assert(EVP_EncryptInit(ctx, EVP_aes_256_wrap(), key, NULL));
    ck_assert(
        EVP_EncryptUpdate(ctx, tbs->ctmk, &n, tmk_bytes, (int)kl_alg_info(loader->alg)->key_len));
    tbs->ctmk_len = (size_t)n;
    EVP_CIPHER_CTX_free(ctx);
}

static void sign(EVP_PKEY *key, const uint8_t *in, size_t len, int salt, struct kl_master_key *msg)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx;

    msg->sig_len = sizeof(msg->sig);
    ck_assert_int_eq(EVP_DigestSignInit(md, &ctx, EVP_sha256(), NULL, key), 1);
    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING);
    EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, salt);
    ck_assert_int_eq(EVP_DigestSign(md, msg->sig, &msg->sig_len, in, len), 1);
    EVP_MD_CTX_free(md);
}

/* Randoms in, MasterKey out (S6, S7). */
static void say_master_key(struct loader *loader, const uint8_t *in, size_t in_len, uint8_t *out,
                           size_t *out_len)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg randoms, msg = {.type = KL_MSG_MASTER_KEY};
    struct kl_tbs *tbs = &msg.u.master_key.tbs;
    uint8_t der[KL_TBS_MAX];
    size_t len;

    ck_assert_msg(kl_msg_decode(in, in_len, &randoms, &err) == KL_OK, "%s", err.text);
    ck_assert_int_eq(randoms.type, KL_MSG_RANDOMS);
    hear(loader, in, in_len, loader->t1);
    open_randoms(loader, &randoms.u.randoms);
    memcpy(tbs->t1, loader->t1, 32);
    memcpy(tbs->rnd2, loader->rnd2, 32);
    wrap_tmk(loader, tbs);
    strcpy(tbs->serial, SERIAL);
    tbs->usage = KL_USAGE_KEK;
    tbs->alg = (uint8_t)loader->alg;
    tbs->version = loader->version;
    tbs->kcv_method = (uint8_t)kl_alg_info(loader->alg)->kcv_method;
    tbs->kcv_len = loader->kcv_len;
    compute_kcv(loader->alg, loader->kcv);
    memcpy(tbs->kcv, loader->kcv, loader->kcv_len);
    if (loader->spoil_tbs)
        loader->spoil_tbs(loader, tbs);
    ck_assert_msg(kl_tbs_encode(tbs, der, &len, &err) == KL_OK, "%s", err.text);
    msg.u.master_key.tbs_der = (struct kl_bytes){der, len};
    sign(loader->sign_key, der, len, 32, &msg.u.master_key);
    if (loader->spoil_master_key)
        loader->spoil_master_key(loader, &msg.u.master_key);
    encode(&msg, out, out_len);
    hear(loader, out, *out_len, loader->t2);
}

static void ack_mac(const struct loader *loader, uint8_t mac[16])
{
    uint8_t key[32], in[32 + 1 + 4];

    derive(loader, "ack", key);
    memcpy(in, loader->t2, 32);
    in[32] = 1;
    memcpy(in + 33, loader->kcv, loader->kcv_len);
    cmac("AES-256-CBC", key, 32, in, 33 + loader->kcv_len, mac);
}

static void say_done(const struct loader *loader, enum kl_verdict verdict, struct kl_msg *msg)
{
    uint8_t key[32], in[33];

    derive(loader, "done", key);
    memcpy(in, loader->t2, 32);
    in[32] = (uint8_t)verdict;
    memset(msg, 0, sizeof(*msg));
    msg->type = KL_MSG_DONE;
    msg->u.done.verdict = (uint8_t)verdict;
    msg->u.done.tmk_version = loader->version;
    cmac("AES-256-CBC", key, 32, in, 33, msg->u.done.mac);
}

/* ---- The terminal under test ---- */

enum { MEMORY, TOKEN, PAD_KINDS };

struct bench {
    int kind;
    char dir[PATH_MAX]; /* the test's own */
    char home[PATH_MAX + 8];
    struct kl_terminal_home *home_open;
    struct kl_pinpad *pad;
    struct kl_terminal_params params;
    struct kl_terminal_load *load;
    struct loader loader;
    uint8_t buf[KL_MSG_MAX]; /* what goes back and forth */
    size_t len;
    struct kl_err err;
    int keep_fails;
    char traced[2048];
};

static enum kl_rc keep(void *arg, const struct kl_candidate *candidate, struct kl_err *err)
{
    struct bench *b = arg;

    if (b->keep_fails)
        return kl_err_set(err, KL_ERR_IO, "disk full");
    return kl_terminal_keep(b->home_open, candidate, err);
}

static void trace(void *arg, const char *line)
{
    struct bench *b = arg;

    strncat(b->traced, line, sizeof(b->traced) - strlen(b->traced) - 2);
    strcat(b->traced, "\n");
}

#define ok(b, call) ck_assert_msg((call) == KL_OK, "%s", (b)->err.text)

static void write_file(const char *dir, const char *name, const char *text, char path[PATH_MAX])
{
    struct kl_err err = KL_ERR_INIT;

    ck_assert_int_lt(snprintf(path, PATH_MAX, "%s/%s", dir, name), PATH_MAX);
    ck_assert_int_eq(kl_file_write(path, text, strlen(text), 0600, 1, &err), KL_OK);
}

static void bench_open(struct bench *b)
{
    ok(b, kl_terminal_open(b->home, 1, &b->home_open, &b->err));
    ok(b, kl_terminal_open_pinpad(b->home_open, &b->pad, &b->err));
    b->params.serial = kl_terminal_serial(b->home_open);
    b->params.pinpad_serial = kl_terminal_pinpad_serial(b->home_open);
    b->params.root = kl_terminal_root(b->home_open);
    b->params.pad = b->pad;
}

static void bench_close(struct bench *b)
{
    kl_terminal_load_free(b->load);
    kl_pinpad_free(b->pad);
    kl_terminal_free(b->home_open);
    b->load = NULL;
    b->pad = NULL;
    b->home_open = NULL;
}

/* The process dies and starts again. */
static void restart(struct bench *b)
{
    bench_close(b);
    bench_open(b);
    ok(b, kl_terminal_recover(b->home_open, b->pad, &b->err));
}

static void bench_init(struct bench *b, int kind)
{
    char root_path[PATH_MAX], pin_path[PATH_MAX], so_path[PATH_MAX];
    struct kl_terminal_setup setup = {.dir = b->home, .serial = SERIAL, .pinpad_serial = PINPAD};
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    long pem_len;

    memset(b, 0, sizeof(*b));
    b->kind = kind;
    test_softhsm_dir(b->dir, NULL, NULL);
    snprintf(b->home, sizeof(b->home), "%s/term", b->dir);
    PEM_write_bio_X509(bio, root);
    BIO_write(bio, "", 1);
    pem_len = BIO_get_mem_data(bio, &pem);
    ck_assert_int_gt(pem_len, 1);
    write_file(b->dir, "root.pem", pem, root_path);
    BIO_free(bio);
    write_file(b->dir, "pin", PIN "\n", pin_path);
    write_file(b->dir, "so", TEST_SO_PIN "\n", so_path);
    setup.root = root_path;
    setup.kind = kind == TOKEN ? KL_PINPAD_TOKEN : KL_PINPAD_MEMORY;
    if (kind == TOKEN) {
        setup.module = test_softhsm_path();
        setup.pin_source = pin_path;
        setup.so_pin_source = so_path;
    }
    ok(b, kl_terminal_init(&setup, &b->err));
    ck_assert_int_eq(kl_terminal_init(&setup, &b->err), KL_ERR_EXISTS);
    bench_open(b);
    b->params.algs[0] = KL_ALG_TDES2;
    b->params.algs[1] = KL_ALG_TDES3;
    b->params.algs[2] = KL_ALG_AES128;
    b->params.alg_count = 3;
    b->params.now = time(NULL);
    b->params.keep = keep;
    b->params.trace = trace;
    b->params.arg = b;
    loader_init(&b->loader);
}

static void bench_end(struct bench *b)
{
    bench_close(b);
    test_rm_rf(b->dir);
}

/* The PIN pad holds exactly these; versions ascend. */
static void expect_tmks(struct bench *b, size_t count, uint32_t version0,
                        enum kl_pinpad_state state0, uint32_t version1, enum kl_pinpad_state state1)
{
    struct kl_pinpad_tmk tmks[KL_PINPAD_TMK_MAX];
    size_t n;

    ok(b, kl_pinpad_list(b->pad, tmks, &n, &b->err));
    ck_assert_uint_eq(n, count);
    if (n > 0) {
        ck_assert_uint_eq(tmks[0].version, version0);
        ck_assert_int_eq(tmks[0].state, state0);
    }
    if (n > 1) {
        ck_assert_uint_eq(tmks[1].version, version1);
        ck_assert_int_eq(tmks[1].state, state1);
    }
}

static size_t candidates(struct bench *b)
{
    const struct kl_candidate *list;

    return kl_terminal_candidates(b->home_open, &list);
}

static enum kl_rc step(struct bench *b)
{
    uint8_t in[KL_MSG_MAX];
    size_t len = b->len;

    memcpy(in, b->buf, len);
    return kl_terminal_step(b->load, in, len, b->buf, &b->len, &b->err);
}

static void begin(struct bench *b)
{
    kl_terminal_load_free(b->load);
    b->load = NULL;
    b->loader.told_len = 0;
    ok(b, kl_terminal_load_new(&b->params, &b->load, &b->err));
    ok(b, kl_terminal_hello(b->load, b->buf, &b->len, &b->err));
}

static void to_certificate(struct bench *b)
{
    uint8_t out[KL_MSG_MAX];
    size_t len;

    begin(b);
    say_certificate(&b->loader, b->buf, b->len, out, &len);
    memcpy(b->buf, out, len);
    b->len = len;
}

static void to_master_key(struct bench *b)
{
    uint8_t out[KL_MSG_MAX];
    size_t len;

    to_certificate(b);
    ok(b, step(b));
    say_master_key(&b->loader, b->buf, b->len, out, &len);
    memcpy(b->buf, out, len);
    b->len = len;
}

/* Up to Loaded, which is checked as a loader would. */
static void to_loaded(struct bench *b)
{
    struct kl_msg msg;
    uint8_t mac[16];

    to_master_key(b);
    ok(b, step(b));
    ok(b, kl_msg_decode(b->buf, b->len, &msg, &b->err));
    ck_assert_int_eq(msg.type, KL_MSG_LOADED);
    ck_assert_uint_eq(msg.u.loaded.kcv_len, b->loader.kcv_len);
    ck_assert_mem_eq(msg.u.loaded.kcv, b->loader.kcv, b->loader.kcv_len);
    ack_mac(&b->loader, mac);
    ck_assert_mem_eq(msg.u.loaded.mac, mac, 16);
}

static enum kl_rc give(struct bench *b, const struct kl_msg *msg)
{
    encode(msg, b->buf, &b->len);
    return step(b);
}

static void settle(struct bench *b)
{
    ok(b, kl_terminal_settle(b->home_open, b->pad, kl_terminal_candidate(b->load)->version,
                             kl_terminal_verdict(b->load), &b->err));
}

static void whole_load(struct bench *b)
{
    struct kl_msg done;

    to_loaded(b);
    say_done(&b->loader, KL_VERDICT_ACTIVE, &done);
    ok(b, give(b, &done));
    ck_assert_uint_eq(b->len, 0);
    settle(b);
}

/* The step that was just due fails so, tells the peer no more than `reason`, and is the last. */
static void expect_refusal(struct bench *b, enum kl_rc want, uint32_t reason)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg;
    size_t len;
    enum kl_rc rc = step(b);

    ck_assert_msg(rc == want, "%s: %s", kl_rc_name(rc), b->err.text);
    ck_assert_uint_gt(b->len, 0);
    ck_assert_int_eq(kl_msg_decode(b->buf, b->len, &msg, &err), KL_OK);
    ck_assert_int_eq(msg.type, KL_MSG_FAILED);
    ck_assert_uint_eq(msg.u.failed.reason, reason);
    ck_assert_int_eq(kl_terminal_step(b->load, b->buf, b->len, b->buf, &len, &err),
                     KL_ERR_INTERNAL);
    ck_assert_uint_eq(len, 0);
    ck_assert_int_eq(kl_terminal_has_candidate(b->load), 0);
}

/* ---- Good loads ---- */

START_TEST(test_load)
{
    struct bench b;

    bench_init(&b, _i);
    whole_load(&b);
    expect_tmks(&b, 1, 1, KL_PINPAD_ACTIVE, 0, 0);
    ck_assert_uint_eq(candidates(&b), 0);
    ck_assert_ptr_nonnull(strstr(b.traced, "S4 verified AcquireWCRT subject=\"CN=Loader\""));
    ck_assert_ptr_nonnull(strstr(b.traced, "S5 C_rnd1_rnd2"));
    ck_assert_ptr_nonnull(strstr(b.traced, "S8 C_ctmk_rnd2"));
    ck_assert_ptr_nonnull(strstr(b.traced, "S9 TMK written"));
    b.loader.version = 2;
    b.loader.alg = KL_ALG_TDES3;
    b.loader.kcv_len = 4;
    whole_load(&b);
    expect_tmks(&b, 1, 2, KL_PINPAD_ACTIVE, 0, 0);
    if (b.kind == TOKEN) {
        restart(&b);
        expect_tmks(&b, 1, 2, KL_PINPAD_ACTIVE, 0, 0);
    }
    bench_end(&b);
}
END_TEST

START_TEST(test_randoms_are_fresh)
{
    struct bench b;
    uint8_t rnd1[32], rnd2[32];

    bench_init(&b, _i);
    to_master_key(&b);
    memcpy(rnd1, b.loader.rnd1, 32);
    memcpy(rnd2, b.loader.rnd2, 32);
    to_master_key(&b);
    ck_assert_mem_ne(rnd1, b.loader.rnd1, 32);
    ck_assert_mem_ne(rnd2, b.loader.rnd2, 32);
    bench_end(&b);
}
END_TEST

/* ---- Certificate ---- */

static void bad_suite(struct kl_certificate *c)
{
    c->suite = 2;
}

START_TEST(test_certificate_suite)
{
    struct bench b;

    bench_init(&b, MEMORY);
    b.loader.spoil_certificate = bad_suite;
    to_certificate(&b);
    expect_refusal(&b, KL_ERR_UNSUPPORTED, KL_WIRE_REFUSED);
    bench_end(&b);
}
END_TEST

/* A value that no encoder of ours would write: patched into the bytes before the nonce. */
START_TEST(test_certificate_oaep_hash)
{
    static const uint8_t before_nonce[] = {0x02, 0x01, KL_OAEP_SHA1, 0x04, 0x20};
    struct bench b;
    uint8_t *at;

    bench_init(&b, MEMORY);
    to_certificate(&b);
    at = memmem(b.buf, b.len, before_nonce, sizeof(before_nonce));
    ck_assert_ptr_nonnull(at);
    at[2] = 3;
    expect_refusal(&b, KL_ERR_PROTOCOL, KL_WIRE_PROTOCOL);
    bench_end(&b);
}
END_TEST

/* Nonce and chain are bound by T0: a changed one gives the loader other keys. */
START_TEST(test_certificate_nonce_is_bound)
{
    struct bench b;
    uint8_t out[KL_MSG_MAX];
    struct kl_msg msg;
    EVP_CIPHER_CTX *gcm = EVP_CIPHER_CTX_new();
    uint8_t key[32], plain[32];
    size_t len;
    int n;

    bench_init(&b, MEMORY);
    begin(&b);
    say_certificate(&b.loader, b.buf, b.len, out, &len);
    ok(&b, kl_msg_decode(out, len, &msg, &b.err));
    msg.u.certificate.nonce[0] ^= 1;
    ok(&b, give(&b, &msg));
    ok(&b, kl_msg_decode(b.buf, b.len, &msg, &b.err));
    derive(&b.loader, "nonce", key);
    EVP_DecryptInit(gcm, EVP_aes_256_gcm(), key, msg.u.randoms.iv);
    EVP_DecryptUpdate(gcm, NULL, &n, b.loader.t0, 32);
    EVP_DecryptUpdate(gcm, plain, &n, msg.u.randoms.c_rnd2, 32);
    EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_SET_TAG, 16, msg.u.randoms.c_rnd2 + 32);
    ck_assert_int_le(EVP_DecryptFinal(gcm, plain, &n), 0);
    EVP_CIPHER_CTX_free(gcm);
    bench_end(&b);
}
END_TEST

static const struct profile bad_profiles[] = {
    {.from_days = -10, .to_days = -1}, /* expired */
    {.from_days = 1, .to_days = 10},   /* not yet valid */
    {.from_days = -1, .eku = "critical," KL_OID_EKU_TERMINAL},
    {.from_days = -1, .eku = KL_OID_EKU_LOADER}, /* not critical */
    {.from_days = -1, .eku = "critical,serverAuth"},
    {.from_days = -1, .eku = "critical," KL_OID_EKU_LOADER ",serverAuth"},
    {.from_days = -1, .key_usage = "critical,digitalSignature"},
};

START_TEST(test_certificate_profile)
{
    struct bench b;

    bench_init(&b, MEMORY);
    b.loader.work = new_cert("Loader", work_key, root, root_key, &bad_profiles[_i]);
    to_certificate(&b);
    expect_refusal(&b, KL_ERR_CERT, KL_WIRE_REFUSED);
    X509_free(b.loader.work);
    bench_end(&b);
}
END_TEST

START_TEST(test_certificate_wrong_root)
{
    struct bench b;

    bench_init(&b, MEMORY);
    b.loader.work = new_cert("Loader", work_key, other_root, other_key, NULL);
    to_certificate(&b);
    expect_refusal(&b, KL_ERR_CERT, KL_WIRE_REFUSED);
    X509_free(b.loader.work);
    bench_end(&b);
}
END_TEST

START_TEST(test_certificate_clock)
{
    struct bench b;

    bench_init(&b, MEMORY);
    b.params.now += 40 * DAY;
    to_certificate(&b);
    expect_refusal(&b, KL_ERR_CERT, KL_WIRE_REFUSED);
    bench_end(&b);
}
END_TEST

/* ---- MasterKey: signed, but wrong ---- */

static void tbs_t1(struct loader *l, struct kl_tbs *t)
{
    (void)l;
    t->t1[31] ^= 1;
}
static void tbs_rnd2(struct loader *l, struct kl_tbs *t)
{
    (void)l;
    t->rnd2[31] ^= 1;
}
static void tbs_ctmk(struct loader *l, struct kl_tbs *t)
{
    (void)l;
    t->ctmk[0] ^= 1;
}
static void tbs_ctmk_long(struct loader *l, struct kl_tbs *t)
{
    (void)l;
    t->ctmk_len += 8;
}
static void tbs_serial(struct loader *l, struct kl_tbs *t)
{
    (void)l;
    strcpy(t->serial, "T-0002");
}
static void tbs_alg(struct loader *l, struct kl_tbs *t)
{
    (void)l;
    t->alg = KL_ALG_AES192; /* not offered */
    t->kcv_method = KL_KCV_AES_CMAC;
    t->ctmk_len = 32;
}
static void tbs_kcv_method(struct loader *l, struct kl_tbs *t)
{
    (void)l;
    t->kcv_method = KL_KCV_AES_CMAC;
}
static void tbs_kcv(struct loader *l, struct kl_tbs *t)
{
    (void)l;
    t->kcv[2] ^= 1;
}

static const struct {
    void (*spoil)(struct loader *, struct kl_tbs *);
    const char *text; /* of our own log */
} bad_tbs[] = {
    {tbs_t1, "T1"},
    {tbs_rnd2, "Rnd2'"},
    {tbs_ctmk, "unwrap"},
    {tbs_ctmk_long, "Ctmk has"},
    {tbs_serial, "T-0002"},
    {tbs_alg, "not offered"},
    {tbs_kcv_method, "KCV method"},
    {tbs_kcv, "KCV is"},
};
#define BAD_TBS ((int)(sizeof(bad_tbs) / sizeof(bad_tbs[0])))

START_TEST(test_master_key_field)
{
    struct bench b;

    bench_init(&b, _i / BAD_TBS);
    whole_load(&b);
    b.loader.version = 2;
    b.loader.spoil_tbs = bad_tbs[_i % BAD_TBS].spoil;
    to_master_key(&b);
    expect_refusal(&b, KL_ERR_VERIFY, KL_WIRE_REFUSED);
    ck_assert_msg(strstr(b.err.text, bad_tbs[_i % BAD_TBS].text), "%s", b.err.text);
    expect_tmks(&b, 1, 1, KL_PINPAD_ACTIVE, 0, 0);
    ck_assert_uint_eq(candidates(&b), 0);
    bench_end(&b);
}
END_TEST

/* Values that decoding refuses already: the judgement does not rely on it. */
START_TEST(test_judge_unknown)
{
    static const enum kl_alg algs[] = {KL_ALG_TDES2};
    const uint8_t zeros[32] = {0};
    const struct kl_judge judge = {zeros, zeros, SERIAL, algs, 1, KL_KEY_RSA, 2048, 0};
    struct kl_tbs tbs = {.serial = SERIAL,
                         .usage = KL_USAGE_KEK,
                         .alg = KL_ALG_TDES2,
                         .ctmk_len = 24,
                         .version = 1,
                         .kcv_method = KL_KCV_TDES_ZEROS,
                         .kcv_len = 3};
    struct kl_err err = KL_ERR_INIT;

    ck_assert_int_eq(kl_judge_tbs(&judge, &tbs, &err), KL_OK);
    tbs.usage = 2;
    ck_assert_int_eq(kl_judge_tbs(&judge, &tbs, &err), KL_ERR_VERIFY);
    ck_assert_ptr_nonnull(strstr(err.text, "usage"));
    tbs.usage = KL_USAGE_KEK;
    tbs.alg = 9;
    ck_assert_int_eq(kl_judge_tbs(&judge, &tbs, &err), KL_ERR_VERIFY);
    ck_assert_ptr_nonnull(strstr(err.text, "not offered"));
}
END_TEST

START_TEST(test_master_key_strength)
{
    struct bench b;

    bench_init(&b, MEMORY);
    b.loader.alg = KL_ALG_AES128; /* offered, but not under RSA-2048 */
    to_master_key(&b);
    expect_refusal(&b, KL_ERR_STRENGTH, KL_WIRE_REFUSED);
    expect_tmks(&b, 0, 0, 0, 0, 0);
    bench_end(&b);
}
END_TEST

START_TEST(test_master_key_rollback)
{
    struct bench b;

    bench_init(&b, MEMORY);
    b.loader.version = 5;
    whole_load(&b);
    b.loader.version = (uint32_t)_i; /* 4 or 5 */
    to_master_key(&b);
    expect_refusal(&b, KL_ERR_VERIFY, KL_WIRE_REFUSED);
    ck_assert_ptr_nonnull(strstr(b.err.text, "rollback"));
    expect_tmks(&b, 1, 5, KL_PINPAD_ACTIVE, 0, 0);
    bench_end(&b);
}
END_TEST

/* ---- MasterKey: not signed by AcquireWCRT_Prk over these bytes ---- */

static void sig_bit(struct loader *l, struct kl_master_key *m)
{
    (void)l;
    m->sig[m->sig_len - 1] ^= 1;
}
static void sig_long(struct loader *l, struct kl_master_key *m)
{
    (void)l;
    m->sig_len += 128; /* as of a larger key */
}
static void sig_other_key(struct loader *l, struct kl_master_key *m)
{
    (void)l;
    sign(other_key, m->tbs_der.data, m->tbs_der.len, 32, m);
}
static void sig_salt(struct loader *l, struct kl_master_key *m)
{
    (void)l;
    sign(work_key, m->tbs_der.data, m->tbs_der.len, 0, m);
}
static void sig_other_tbs(struct loader *l, struct kl_master_key *m)
{
    (void)l;
    m->tbs.version++; /* encoded anew after signing */
    static uint8_t der[KL_TBS_MAX];
    struct kl_err err = KL_ERR_INIT;
    size_t len;

    ck_assert_int_eq(kl_tbs_encode(&m->tbs, der, &len, &err), KL_OK);
    m->tbs_der = (struct kl_bytes){der, len};
}

START_TEST(test_master_key_signature)
{
    static void (*const spoil[])(struct loader *,
                                 struct kl_master_key *) = {sig_bit, sig_long, sig_other_key,
                                                            sig_salt, sig_other_tbs};
    struct bench b;

    bench_init(&b, MEMORY);
    b.loader.spoil_master_key = spoil[_i];
    to_master_key(&b);
    expect_refusal(&b, KL_ERR_VERIFY, KL_WIRE_REFUSED);
    ck_assert_ptr_nonnull(strstr(b.err.text, "signature"));
    expect_tmks(&b, 0, 0, 0, 0, 0);
    bench_end(&b);
}
END_TEST

/* A recorded loader: its Certificate and MasterKey of an earlier load, to a new Hello. */
START_TEST(test_loader_replayed)
{
    struct bench b;
    uint8_t certificate[KL_MSG_MAX], master_key[KL_MSG_MAX];
    size_t certificate_len, master_key_len;

    bench_init(&b, MEMORY);
    to_certificate(&b);
    certificate_len = b.len;
    memcpy(certificate, b.buf, b.len);
    ok(&b, step(&b));
    say_master_key(&b.loader, b.buf, b.len, master_key, &master_key_len);
    begin(&b);
    memcpy(b.buf, certificate, certificate_len);
    b.len = certificate_len;
    ok(&b, step(&b));
    memcpy(b.buf, master_key, master_key_len);
    b.len = master_key_len;
    expect_refusal(&b, KL_ERR_VERIFY, KL_WIRE_REFUSED);
    expect_tmks(&b, 0, 0, 0, 0, 0);
    bench_end(&b);
}
END_TEST

/* ---- Order and form ---- */

START_TEST(test_out_of_order)
{
    struct bench b;
    struct kl_msg done;

    bench_init(&b, MEMORY);
    to_certificate(&b);
    say_done(&b.loader, KL_VERDICT_ACTIVE, &done);
    encode(&done, b.buf, &b.len);
    expect_refusal(&b, KL_ERR_PROTOCOL, KL_WIRE_PROTOCOL);
    to_certificate(&b);
    ok(&b, step(&b));
    encode(&done, b.buf, &b.len);
    expect_refusal(&b, KL_ERR_PROTOCOL, KL_WIRE_PROTOCOL);
    bench_end(&b);
}
END_TEST

START_TEST(test_form)
{
    struct bench b;

    bench_init(&b, MEMORY);
    to_certificate(&b);
    b.buf[b.len++] = 0; /* a byte behind the message */
    expect_refusal(&b, KL_ERR_PROTOCOL, KL_WIRE_PROTOCOL);
    to_master_key(&b);
    b.len--;
    expect_refusal(&b, KL_ERR_PROTOCOL, KL_WIRE_PROTOCOL);
    bench_end(&b);
}
END_TEST

START_TEST(test_error)
{
    static const struct {
        uint32_t wire;
        enum kl_rc rc;
    } cases[] = {{KL_WIRE_BUSY, KL_ERR_BUSY},       {KL_WIRE_INTERNAL, KL_ERR_BUSY},
                 {KL_WIRE_TIMEOUT, KL_ERR_TIMEOUT}, {KL_WIRE_REFUSED, KL_ERR_PEER},
                 {KL_WIRE_PROTOCOL, KL_ERR_PEER},   {77, KL_ERR_PEER}};
    struct kl_msg msg = {.type = KL_MSG_ERROR};
    struct bench b;

    bench_init(&b, MEMORY);
    begin(&b);
    msg.u.error.code = cases[_i].wire;
    msg.u.error.retry_after = 7;
    strcpy(msg.u.error.text, "not now");
    ck_assert_int_eq(give(&b, &msg), cases[_i].rc);
    ck_assert_uint_eq(b.len, 0); /* no Failed in answer to an Error */
    ck_assert_ptr_nonnull(strstr(b.err.text, "not now"));
    ck_assert_ptr_nonnull(strstr(b.err.text, "7 s"));
    bench_end(&b);
}
END_TEST

/* ---- Done ---- */

static void done_mac(struct kl_msg *m)
{
    m->u.done.mac[0] ^= 1;
}
static void done_verdict(struct kl_msg *m) /* the MAC is that of ACTIVE */
{
    m->u.done.verdict = KL_VERDICT_DROP;
}
static void done_version(struct kl_msg *m)
{
    m->u.done.tmk_version++;
}
static void done_error(struct kl_msg *m)
{
    memset(m, 0, sizeof(*m));
    m->type = KL_MSG_ERROR;
    m->u.error.code = KL_WIRE_REFUSED;
    strcpy(m->u.error.text, "refused");
}

/* Nothing but a good MAC moves a candidate, in the load and in a Confirm alike. */
START_TEST(test_done_spoilt)
{
    static void (*const spoil[])(struct kl_msg *) = {done_mac, done_verdict, done_version,
                                                     done_error};
    const struct kl_candidate *list;
    struct kl_msg done;
    struct bench b;
    int kind = _i / 4;

    bench_init(&b, kind);
    whole_load(&b);
    b.loader.version = 2;
    to_loaded(&b);
    say_done(&b.loader, KL_VERDICT_ACTIVE, &done);
    spoil[_i % 4](&done);
    ck_assert_int_eq(give(&b, &done), _i % 4 == 3 ? KL_ERR_PEER : KL_ERR_VERIFY);
    ck_assert_uint_eq(b.len, 0);
    expect_tmks(&b, 2, 1, KL_PINPAD_ACTIVE, 2, KL_PINPAD_UNCONFIRMED);
    if (kind == TOKEN)
        restart(&b);
    ck_assert_uint_eq(kl_terminal_candidates(b.home_open, &list), 1);
    kl_terminal_load_free(b.load);
    ok(&b, kl_terminal_load_new(&b.params, &b.load, &b.err));
    ok(&b, kl_terminal_confirm(b.load, &list[0], b.buf, &b.len, &b.err));
    ck_assert_int_eq(give(&b, &done), _i % 4 == 3 ? KL_ERR_PEER : KL_ERR_VERIFY);
    ck_assert_uint_eq(b.len, 0);
    expect_tmks(&b, 2, 1, KL_PINPAD_ACTIVE, 2, KL_PINPAD_UNCONFIRMED);
    bench_end(&b);
}
END_TEST

START_TEST(test_done_drop)
{
    struct kl_msg done;
    struct bench b;

    bench_init(&b, _i);
    whole_load(&b);
    b.loader.version = 2;
    to_loaded(&b);
    say_done(&b.loader, KL_VERDICT_DROP, &done);
    ok(&b, give(&b, &done));
    ck_assert_int_eq(kl_terminal_verdict(b.load), KL_VERDICT_DROP);
    settle(&b);
    expect_tmks(&b, 1, 1, KL_PINPAD_ACTIVE, 0, 0);
    ck_assert_uint_eq(candidates(&b), 0);
    bench_end(&b);
}
END_TEST

/* ---- Death at every step ---- */

/* Redelivers the only candidate, checks Confirm as a loader would, answers with `verdict`. */
static void confirm(struct bench *b, enum kl_verdict verdict)
{
    const struct kl_candidate *list;
    struct kl_msg msg;
    uint8_t mac[16];

    ck_assert_uint_eq(kl_terminal_candidates(b->home_open, &list), 1);
    kl_terminal_load_free(b->load);
    b->load = NULL;
    ok(b, kl_terminal_load_new(&b->params, &b->load, &b->err));
    ok(b, kl_terminal_confirm(b->load, &list[0], b->buf, &b->len, &b->err));
    ok(b, kl_msg_decode(b->buf, b->len, &msg, &b->err));
    ck_assert_int_eq(msg.type, KL_MSG_CONFIRM);
    ck_assert_str_eq(msg.u.confirm.serial, SERIAL);
    ck_assert_str_eq(msg.u.confirm.pinpad_serial, PINPAD);
    ck_assert_uint_eq(msg.u.confirm.tmk_version, b->loader.version);
    ack_mac(&b->loader, mac);
    ck_assert_mem_eq(msg.u.confirm.loaded.mac, mac, 16);
    say_done(&b->loader, verdict, &msg);
    ok(b, give(b, &msg));
    ck_assert_uint_eq(b->len, 0);
}

START_TEST(test_restart_before_loaded)
{
    struct bench b;

    bench_init(&b, TOKEN);
    whole_load(&b);
    b.loader.version = 2;
    to_certificate(&b);
    restart(&b);
    expect_tmks(&b, 1, 1, KL_PINPAD_ACTIVE, 0, 0);
    to_master_key(&b);
    restart(&b);
    expect_tmks(&b, 1, 1, KL_PINPAD_ACTIVE, 0, 0);
    whole_load(&b);
    expect_tmks(&b, 1, 2, KL_PINPAD_ACTIVE, 0, 0);
    bench_end(&b);
}
END_TEST

/* Between the token object and the candidate file. */
START_TEST(test_restart_before_record)
{
    char path[PATH_MAX + 32];
    struct bench b;

    bench_init(&b, TOKEN);
    whole_load(&b);
    b.loader.version = 2;
    to_loaded(&b);
    snprintf(path, sizeof(path), "%s/candidate", b.home);
    ck_assert_int_eq(unlink(path), 0);
    restart(&b);
    expect_tmks(&b, 1, 1, KL_PINPAD_ACTIVE, 0, 0);
    bench_end(&b);
}
END_TEST

START_TEST(test_record_is_private)
{
    char path[PATH_MAX + 32];
    struct stat st;
    struct bench b;

    bench_init(&b, MEMORY);
    to_loaded(&b);
    snprintf(path, sizeof(path), "%s/candidate", b.home);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    bench_end(&b);
}
END_TEST

START_TEST(test_record_fails)
{
    struct bench b;

    bench_init(&b, _i);
    b.keep_fails = 1;
    to_master_key(&b);
    expect_refusal(&b, KL_ERR_IO, KL_WIRE_REFUSED);
    expect_tmks(&b, 0, 0, 0, 0, 0);
    bench_end(&b);
}
END_TEST

START_TEST(test_restart_after_loaded)
{
    enum kl_verdict verdict = _i ? KL_VERDICT_DROP : KL_VERDICT_ACTIVE;
    struct bench b;

    bench_init(&b, TOKEN);
    whole_load(&b);
    b.loader.version = 2;
    to_loaded(&b);
    restart(&b);
    expect_tmks(&b, 2, 1, KL_PINPAD_ACTIVE, 2, KL_PINPAD_UNCONFIRMED);
    confirm(&b, verdict);
    restart(&b); /* the verdict is forgotten, nothing else */
    confirm(&b, verdict);
    settle(&b);
    restart(&b);
    expect_tmks(&b, 1, _i ? 1 : 2, KL_PINPAD_ACTIVE, 0, 0);
    ck_assert_uint_eq(candidates(&b), 0);
    bench_end(&b);
}
END_TEST

/* Within the settlement: relabelled only (0), old one destroyed, too (1). */
START_TEST(test_restart_in_settlement)
{
    struct bench b;

    bench_init(&b, TOKEN);
    whole_load(&b);
    b.loader.version = 2;
    to_loaded(&b);
    ok(&b, kl_pinpad_activate(b.pad, 2, &b.err));
    if (_i == 1)
        ok(&b, kl_pinpad_destroy(b.pad, 1, &b.err));
    restart(&b);
    expect_tmks(&b, 1, 2, KL_PINPAD_ACTIVE, 0, 0);
    ck_assert_uint_eq(candidates(&b), 0);
    bench_end(&b);
}
END_TEST

/* DROP: destroyed in the pad, but still on record. */
START_TEST(test_restart_in_drop)
{
    struct bench b;

    bench_init(&b, TOKEN);
    whole_load(&b);
    b.loader.version = 2;
    to_loaded(&b);
    ok(&b, kl_pinpad_destroy(b.pad, 2, &b.err));
    restart(&b);
    confirm(&b, KL_VERDICT_DROP);
    settle(&b);
    expect_tmks(&b, 1, 1, KL_PINPAD_ACTIVE, 0, 0);
    ck_assert_uint_eq(candidates(&b), 0);
    bench_end(&b);
}
END_TEST

/* A memory pad loses its key: ACTIVE then is bad news, said once. */
START_TEST(test_confirmed_key_missing)
{
    struct bench b;

    bench_init(&b, MEMORY);
    to_loaded(&b);
    restart(&b);
    confirm(&b, KL_VERDICT_ACTIVE);
    ck_assert_int_eq(kl_terminal_settle(b.home_open, b.pad, 1, KL_VERDICT_ACTIVE, &b.err),
                     KL_ERR_KEY);
    ck_assert_uint_eq(candidates(&b), 0);
    bench_end(&b);
}
END_TEST

/* A candidate that nobody settled, and a fresh load beside it. */
START_TEST(test_abandoned)
{
    struct bench b;

    bench_init(&b, _i);
    whole_load(&b);
    b.loader.version = 2;
    to_loaded(&b);
    b.loader.version = 3;
    to_loaded(&b);
    ck_assert_uint_eq(candidates(&b), 2);
    if (b.kind == TOKEN)
        restart(&b);
    ck_assert_uint_eq(candidates(&b), 2);
    b.loader.version = 4;
    whole_load(&b);
    expect_tmks(&b, 1, 4, KL_PINPAD_ACTIVE, 0, 0);
    ck_assert_uint_eq(candidates(&b), 0);
    bench_end(&b);
}
END_TEST

/* Every place taken: no more loads, and nothing is lost. */
START_TEST(test_full)
{
    struct bench b;
    uint32_t version;

    bench_init(&b, MEMORY);
    whole_load(&b);
    for (version = 2; version <= KL_PINPAD_TMK_MAX; version++) {
        b.loader.version = version;
        to_loaded(&b);
    }
    kl_terminal_load_free(b.load);
    b.load = NULL;
    ok(&b, kl_terminal_load_new(&b.params, &b.load, &b.err));
    ck_assert_int_eq(kl_terminal_hello(b.load, b.buf, &b.len, &b.err), KL_ERR_REFUSED);
    bench_end(&b);
}
END_TEST

/* ---- The folder ---- */

START_TEST(test_record_damaged)
{
    static const char *const bad[] = {
        "1 tdes2 CA3F9B\n",
        "0 tdes2 CA3F9B 00112233445566778899AABBCCDDEEFF 00112233445566778899AABBCCDDEEFF "
        "00112233445566778899AABBCCDDEEFF\n",
        "1 des CA3F9B 00112233445566778899AABBCCDDEEFF 00112233445566778899AABBCCDDEEFF "
        "00112233445566778899AABBCCDDEEFF\n",
        "1 tdes2 CA3F 00112233445566778899AABBCCDDEEFF 00112233445566778899AABBCCDDEEFF "
        "00112233445566778899AABBCCDDEEFF\n",
        "1 tdes2 CA3F9B 00112233445566778899AABBCCDDEE 00112233445566778899AABBCCDDEEFF "
        "00112233445566778899AABBCCDDEEFF\n",
        "1 tdes2 CA3F9B 00112233445566778899AABBCCDDEEFF 00112233445566778899AABBCCDDEEFF "
        "00112233445566778899AABBCCDDEEFF 00\n",
    };
    struct kl_terminal_home *home;
    char path[PATH_MAX];
    struct bench b;

    bench_init(&b, MEMORY);
    kl_terminal_free(b.home_open);
    b.home_open = NULL;
    write_file(b.home, "candidate", bad[_i], path);
    ck_assert_int_eq(kl_terminal_open(b.home, 1, &home, &b.err), KL_ERR_INPUT);
    ck_assert_ptr_nonnull(strstr(b.err.text, path));
    bench_end(&b);
}
END_TEST

START_TEST(test_one_at_a_time)
{
    struct kl_terminal_home *second;
    struct bench b;

    bench_init(&b, MEMORY);
    ck_assert_int_eq(kl_terminal_open(b.home, 1, &second, &b.err), KL_ERR_BUSY);
    ok(&b, kl_terminal_open(b.home, 0, &second, &b.err)); /* `pinpad show` may look */
    kl_terminal_free(second);
    bench_end(&b);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("terminal");
    TCase *tc = tcase_create("load");

    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_keys, NULL);
    tcase_add_loop_test(tc, test_load, 0, PAD_KINDS);
    tcase_add_loop_test(tc, test_randoms_are_fresh, 0, PAD_KINDS);
    tcase_add_test(tc, test_certificate_suite);
    tcase_add_test(tc, test_certificate_oaep_hash);
    tcase_add_test(tc, test_judge_unknown);
    tcase_add_test(tc, test_certificate_nonce_is_bound);
    tcase_add_loop_test(tc, test_certificate_profile, 0,
                        (int)(sizeof(bad_profiles) / sizeof(bad_profiles[0])));
    tcase_add_test(tc, test_certificate_wrong_root);
    tcase_add_test(tc, test_certificate_clock);
    tcase_add_loop_test(tc, test_master_key_field, 0, BAD_TBS * PAD_KINDS);
    tcase_add_test(tc, test_master_key_strength);
    tcase_add_loop_test(tc, test_master_key_rollback, 4, 6);
    tcase_add_loop_test(tc, test_master_key_signature, 0, 5);
    tcase_add_test(tc, test_loader_replayed);
    tcase_add_test(tc, test_out_of_order);
    tcase_add_test(tc, test_form);
    tcase_add_loop_test(tc, test_error, 0, 6);
    tcase_add_loop_test(tc, test_done_spoilt, 0, 4 * PAD_KINDS);
    tcase_add_loop_test(tc, test_done_drop, 0, PAD_KINDS);
    suite_add_tcase(s, tc);

    tc = tcase_create("restart");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_keys, NULL);
    tcase_add_test(tc, test_restart_before_loaded);
    tcase_add_test(tc, test_restart_before_record);
    tcase_add_test(tc, test_record_is_private);
    tcase_add_loop_test(tc, test_record_fails, 0, PAD_KINDS);
    tcase_add_loop_test(tc, test_restart_after_loaded, 0, 2);
    tcase_add_loop_test(tc, test_restart_in_settlement, 0, 2);
    tcase_add_test(tc, test_restart_in_drop);
    tcase_add_test(tc, test_confirmed_key_missing);
    tcase_add_loop_test(tc, test_abandoned, 0, PAD_KINDS);
    tcase_add_test(tc, test_full);
    tcase_add_loop_test(tc, test_record_damaged, 0, 6);
    tcase_add_test(tc, test_one_at_a_time);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *runner;
    int failed;

    runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    free_keys();
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
