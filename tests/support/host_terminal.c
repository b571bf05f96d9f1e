/* SPDX-License-Identifier: BSD-2-Clause */
/* The terminal of OpenSSL alone: see host_terminal.h. */
#include "tests/support/host_terminal.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "pkcs11/keys.h"
#include "pkcs11/ops.h"
#include "pkcs11/rv.h"
#include "tests/support/p11.h"

struct kl_loader *loader;
struct host_terminal *term;
struct kl_err err = KL_ERR_INIT;

/* ---- Arithmetic ---- */

void ht_sha256(const struct kl_bytes *parts, size_t count, uint8_t out[32])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    ck_assert(EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1);
    for (size_t i = 0; i < count; i++) {
        ck_assert(EVP_DigestUpdate(ctx, parts[i].data, parts[i].len) == 1);
    }
    ck_assert(EVP_DigestFinal_ex(ctx, out, NULL) == 1);
    EVP_MD_CTX_free(ctx);
}

size_t ht_pass(const char *name, int encrypt, const uint8_t *key, const uint8_t *in, size_t len,
               uint8_t *out)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0, ok;

    ck_assert_msg(cipher && ctx, "%s", name);
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    ck_assert(EVP_CipherInit_ex2(ctx, cipher, key, NULL, encrypt, NULL) == 1);
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    ok = EVP_CipherUpdate(ctx, out, &n, in, (int)len);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    return ok == 1 ? (size_t)n : 0;
}

void ht_derive(const uint8_t *base, size_t base_len, const char *purpose, const uint8_t t0[32],
               uint8_t key[32])
{
    const struct kl_bytes parts[] = {{(const uint8_t *)"keyloader/1 ", 12},
                                     {(const uint8_t *)purpose, strlen(purpose) + 1},
                                     {t0, 32}};
    uint8_t label[32];

    ht_sha256(parts, 3, label);
    ck_assert_uint_eq(ht_pass(base_len == 16   ? "AES-128-ECB"
                              : base_len == 24 ? "AES-192-ECB"
                                               : "AES-256-ECB",
                              1, base, label, 32, key),
                      32);
}

static void derive(const char *purpose, uint8_t key[32])
{
    ht_derive(term->rnd1, term->rnd1_len, purpose, term->t0, key);
}

void ht_cmac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len, uint8_t mac[16])
{
    const char *cipher = key_len == 16   ? "AES-128-CBC"
                         : key_len == 24 ? "AES-192-CBC"
                                         : "AES-256-CBC";
    size_t mac_len = 0;

    ck_assert(
        EVP_Q_mac(NULL, "CMAC", NULL, cipher, NULL, key, key_len, in, len, mac, 16, &mac_len));
    ck_assert_uint_eq(mac_len, 16);
}

void ht_kcv(enum kl_alg alg, const uint8_t *key, uint8_t kcv[4])
{
    static const uint8_t zeros[16];
    uint8_t block[16];

    if (kl_alg_info(alg)->is_aes) {
        ht_cmac(key, kl_alg_info(alg)->key_len, zeros, 16, block);
    } else {
        ck_assert_uint_eq(ht_pass(alg == KL_ALG_TDES2 ? "DES-EDE-ECB" : "DES-EDE3-ECB", 1, key,
                                  zeros, 8, block),
                          8);
    }
    memcpy(kcv, block, 4);
}

size_t ht_ecdh(EVP_PKEY *own, EVP_PKEY *theirs, uint8_t x[66])
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(own, NULL);
    size_t len = 66;

    ck_assert(EVP_PKEY_derive_init(ctx) == 1);
    ck_assert(EVP_PKEY_derive_set_peer(ctx, theirs) == 1);
    ck_assert(EVP_PKEY_derive(ctx, x, &len) == 1);
    EVP_PKEY_CTX_free(ctx);
    return len;
}

/* ---- S5 ---- */

static void encrypt_oaep(const uint8_t *in, size_t len, uint8_t *out, size_t *out_len)
{
    const EVP_MD *md = term->oaep_hash == KL_OAEP_SHA1 ? EVP_sha1() : EVP_sha256();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(term->public_key, NULL);

    *out_len = KL_RSA_MAX;
    ck_assert(EVP_PKEY_encrypt_init(ctx) == 1);
    ck_assert(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1);
    ck_assert(EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) == 1);
    ck_assert(EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) == 1);
    ck_assert(EVP_PKEY_encrypt(ctx, out, out_len, in, len) == 1);
    EVP_PKEY_CTX_free(ctx);
}

static void encrypt_rnd2(uint8_t out[48])
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t key[32];
    int len = 0;

    derive("nonce", key);
    ck_assert(EVP_EncryptInit_ex2(ctx, EVP_aes_256_gcm(), key, term->iv, NULL) == 1);
    ck_assert(EVP_EncryptUpdate(ctx, NULL, &len, term->t0, 32) == 1);
    ck_assert(EVP_EncryptUpdate(ctx, out, &len, term->rnd2, 32) == 1 && len == 32);
    ck_assert(EVP_EncryptFinal_ex(ctx, out + 32, &len) == 1 && len == 0);
    ck_assert(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, out + 32) == 1);
    EVP_CIPHER_CTX_free(ctx);
}

/* K_ecies = AES-ECB(tail of X, SHA-256("keyloader/1 ecies" NUL T0 point)) */
static void enclose_ecies(struct kl_randoms *randoms)
{
    uint8_t x[66], label[32], key[32];
    size_t len;

    if (!term->ephemeral) {
        char group[32];
        ck_assert(EVP_PKEY_get_group_name(term->public_key, group, sizeof(group), NULL) == 1);
        term->ephemeral = EVP_EC_gen(group);
    }
    ck_assert(EVP_PKEY_get_octet_string_param(term->ephemeral, OSSL_PKEY_PARAM_PUB_KEY,
                                              randoms->point, sizeof(randoms->point),
                                              &randoms->point_len) == 1);
    const struct kl_bytes parts[] = {{(const uint8_t *)"keyloader/1 ecies", 18},
                                     {term->t0, 32},
                                     {randoms->point, randoms->point_len}};
    len = ht_ecdh(term->ephemeral, term->public_key, x);
    ht_sha256(parts, 3, label);
    ck_assert_uint_eq(ht_pass("AES-256-ECB", 1, x + len - 32, label, 32, key), 32);
    randoms->c_rnd1_len =
        ht_pass("AES-256-WRAP", 1, key, term->rnd1, term->rnd1_len, randoms->c_rnd1);
}

void ht_encode_hello(void)
{
    ck_ok(kl_msg_encode(&term->msg, term->hello, &term->hello_len, &err));
}

void ht_encode_randoms(void)
{
    ck_ok(kl_msg_encode(&term->msg, term->randoms, &term->randoms_len, &err));
    term->in.hello = (struct kl_bytes){term->hello, term->hello_len};
    term->in.certificate = (struct kl_bytes){term->certificate, term->certificate_len};
    term->in.randoms = (struct kl_bytes){term->randoms, term->randoms_len};
}

void ht_hello(const uint8_t *algs, size_t count)
{
    term->msg = (struct kl_msg){.type = KL_MSG_HELLO};
    struct kl_hello *hello = &term->msg.u.hello;
    hello->version = KL_PROTOCOL_VERSION;
    hello->suite_count = 1;
    hello->suites[0] = (uint8_t)term->suite;
    hello->alg_count = count;
    memcpy(hello->algs, algs, count);
    strcpy(hello->serial, "T-0001");
    strcpy(hello->pinpad_serial, "P-0001");
    ht_encode_hello();
    term->in.hello = (struct kl_bytes){term->hello, term->hello_len};
}

void ht_certificate(enum kl_suite suite, enum kl_oaep_hash hash)
{
    uint8_t *der = NULL;
    int len = i2d_PUBKEY(term->public_key, &der);

    ck_assert_int_gt(len, 0);
    term->msg = (struct kl_msg){.type = KL_MSG_CERTIFICATE};
    struct kl_certificate *certificate = &term->msg.u.certificate;
    certificate->suite = (uint8_t)suite;
    certificate->oaep_hash = (uint8_t)hash;
    memset(certificate->nonce, 0x5a, sizeof(certificate->nonce));
    certificate->chain_count = 1;
    certificate->chain[0] = (struct kl_bytes){der, (size_t)len};
    ck_ok(kl_msg_encode(&term->msg, term->certificate, &term->certificate_len, &err));
    OPENSSL_free(der);
}

void ht_randoms(size_t rnd1_len)
{
    const struct kl_bytes parts[] = {{term->hello, term->hello_len},
                                     {term->certificate, term->certificate_len}};
    struct kl_randoms *randoms = &term->msg.u.randoms;
    uint8_t block[96];

    term->rnd1_len = rnd1_len;
    ck_assert(RAND_bytes(term->rnd1, sizeof(term->rnd1)) == 1);
    ck_assert(RAND_bytes(term->rnd2, sizeof(term->rnd2)) == 1);
    ck_assert(RAND_bytes(term->iv, sizeof(term->iv)) == 1);
    ht_sha256(parts, 2, term->t0);
    term->msg = (struct kl_msg){.type = KL_MSG_RANDOMS, .u.randoms.suite = term->suite};
    if (term->suite == KL_SUITE_CLASSIC) {
        memcpy(block, term->rnd1, rnd1_len);
        memcpy(block + rnd1_len, term->rnd2, 32);
        encrypt_oaep(block, rnd1_len + 32, randoms->c_rnd1, &randoms->c_rnd1_len);
    } else {
        if (term->suite == KL_SUITE_HARDENED_EC) {
            enclose_ecies(randoms);
        } else {
            encrypt_oaep(term->rnd1, rnd1_len, randoms->c_rnd1, &randoms->c_rnd1_len);
        }
        memcpy(randoms->iv, term->iv, sizeof(term->iv));
        encrypt_rnd2(randoms->c_rnd2);
    }
    ht_encode_randoms();
}

void ht_messages(enum kl_alg alg)
{
    static const uint8_t all[] = {1, 2, 3, 4, 5};

    term->in.alg = alg;
    term->in.tmk_version = 7;
    term->in.kcv_len = 4;
    ht_hello(all, sizeof(all));
    ht_certificate(term->suite, term->oaep_hash);
    ht_randoms(32);
}

/* ---- The loader ---- */

void ht_make_key(const char *label, struct ht_key key)
{
    EVP_PKEY *public_key = NULL;

    ck_ok(kl_pair_generate(hsm.session, kl_pair_role_of(key.suite), label,
                           kl_suite_key_type(key.suite), key.bits, &public_key, &err));
    EVP_PKEY_free(public_key);
}

void ht_open(const struct kl_loader_config *config)
{
    kl_loader_free(loader);
    loader = NULL;
    ck_ok(kl_loader_open(hsm.token, config, &loader, &err));
}

void ht_choose(const char *label)
{
    struct kl_loader_key keys[KL_LOADER_KEYS_MAX];
    size_t count = kl_loader_keys(loader, keys);

    EVP_PKEY_free(term->ephemeral);
    term->ephemeral = NULL;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(keys[i].label, label) == 0) {
            term->suite = keys[i].suite;
            term->public_key = keys[i].public_key;
            term->oaep_hash = keys[i].oaep_hash;
            term->in = (struct kl_load_in){.work_key = label};
            return;
        }
    }
    ck_abort_msg("no work key %s", label);
}

void ht_setup(struct ht_key key)
{
    p11_open();
    ht_make_key("work", key);
    p11_make_store_keys();
    ht_open(&p11_config);
    term = calloc(1, sizeof(*term));
    ht_choose("work");
    ht_messages(KL_ALG_TDES2);
}

void ht_teardown(void)
{
    if (term) {
        EVP_PKEY_free(term->ephemeral);
    }
    free(term);
    kl_loader_free(loader);
    p11_close();
}

enum kl_rc ht_run(void)
{
    return kl_loader_run(loader, &term->in, &term->out, &err);
}

void ht_refused(enum kl_rc rc)
{
    struct kl_load_out untouched;

    memset(&term->out, 0xee, sizeof(term->out));
    memset(&untouched, 0xee, sizeof(untouched));
    ck_rc(ht_run(), rc);
    ck_assert_mem_eq(&term->out, &untouched, sizeof(untouched));
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
    ck_assert_int_eq(kl_rc_is_hsm_trouble(rc), 0);
}

/* ---- S8 and S9 ---- */

static void verify_pss(const struct kl_master_key *mk)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;

    ck_assert(EVP_DigestVerifyInit(ctx, &pctx, EVP_sha256(), NULL, term->public_key) == 1);
    ck_assert(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1);
    ck_assert(EVP_PKEY_CTX_set_rsa_mgf1_md(pctx, EVP_sha256()) == 1);
    ck_assert(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, 32) == 1);
    ck_assert_msg(EVP_DigestVerify(ctx, mk->sig, mk->sig_len, mk->tbs_der.data, mk->tbs_der.len) ==
                      1,
                  "PSS signature does not verify");
    EVP_MD_CTX_free(ctx);
}

static void verify_ecdsa(const struct kl_master_key *mk)
{
    int bits = EVP_PKEY_get_bits(term->public_key), half = (int)mk->sig_len / 2;
    const EVP_MD *md = bits == 256 ? EVP_sha256() : bits == 384 ? EVP_sha384() : EVP_sha512();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    ECDSA_SIG *sig = ECDSA_SIG_new();
    uint8_t *der = NULL;
    int len;

    ck_assert_int_eq(half, (bits + 7) / 8);
    ck_assert(ECDSA_SIG_set0(sig, BN_bin2bn(mk->sig, half, NULL),
                             BN_bin2bn(mk->sig + half, half, NULL)) == 1);
    len = i2d_ECDSA_SIG(sig, &der);
    ck_assert(EVP_DigestVerifyInit(ctx, NULL, md, NULL, term->public_key) == 1);
    ck_assert_msg(EVP_DigestVerify(ctx, der, (size_t)len, mk->tbs_der.data, mk->tbs_der.len) == 1,
                  "ECDSA signature does not verify");
    OPENSSL_free(der);
    ECDSA_SIG_free(sig);
    EVP_MD_CTX_free(ctx);
}

/* Fills in Ctmk and Rnd2' from the signature, which must hold just those. */
static void recover(struct kl_master_key *mk, enum kl_alg alg)
{
    static const uint8_t zeros[32];
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(term->public_key, NULL);
    uint8_t message[KL_RSA_MAX];
    size_t len = sizeof(message);

    ck_assert_uint_eq(mk->tbs.ctmk_len, 0);
    ck_assert_mem_eq(mk->tbs.rnd2, zeros, 32);
    ck_assert(EVP_PKEY_verify_recover_init(ctx) == 1);
    ck_assert(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1);
    ck_assert_msg(EVP_PKEY_verify_recover(ctx, message, &len, mk->sig, mk->sig_len) == 1,
                  "signature gives no message back");
    EVP_PKEY_CTX_free(ctx);
    ck_assert_uint_eq(len, kl_alg_info(alg)->key_len + 8 + 32);
    mk->tbs.ctmk_len = len - 32;
    memcpy(mk->tbs.ctmk, message, len - 32);
    memcpy(mk->tbs.rnd2, message + len - 32, 32);
}

/* AES-CMAC(K_keys, tbs) in classic, and nothing otherwise. */
static void check_tbs_mac(const struct kl_master_key *mk)
{
    uint8_t key[32], mac[16] = {0};

    if (term->suite == KL_SUITE_CLASSIC) {
        derive("keys", key);
        ht_cmac(key, 32, mk->tbs_der.data, mk->tbs_der.len, mac);
    }
    ck_assert_mem_eq(mk->mac, mac, 16);
}

static size_t unwrap_tmk(const struct kl_tbs *tbs, uint8_t tmk[KL_CTMK_LEN_MAX])
{
    uint8_t key[32];

    if (term->suite == KL_SUITE_CLASSIC) {
        memcpy(key, term->rnd1, 32);
    } else {
        derive("wrap", key);
    }
    return ht_pass("AES-256-WRAP", 0, key, tbs->ctmk, tbs->ctmk_len, tmk);
}

/* MAC of T2, one byte, and what follows. */
static void check_mac(const char *purpose, uint8_t byte, const uint8_t *rest, size_t rest_len,
                      const uint8_t expected[16])
{
    uint8_t key[32], input[64], mac[16];

    derive(purpose, key);
    memcpy(input, term->t2, 32);
    input[32] = byte;
    if (rest_len) {
        memcpy(input + 33, rest, rest_len);
    }
    ht_cmac(key, 32, input, 33 + rest_len, mac);
    ck_assert_mem_eq(mac, expected, 16);
}

static void check_storage(enum kl_alg alg)
{
    CK_OBJECT_HANDLE storage, tmk;
    uint8_t kcv[4];

    ck_ok(kl_storage_key_find(hsm.session, "storage", &storage, &err));
    ck_ok(kl_op_unwrap_tmk(hsm.session, storage, alg, term->out.cryptogram,
                           term->out.cryptogram_len, KL_USE_KCV, &tmk, &err));
    ck_ok(kl_op_kcv(hsm.session, tmk, alg, 4, kcv, &err));
    ck_assert_mem_eq(kcv, term->out.kcv, 4);
    kl_op_destroy(hsm.session, &tmk);
}

/* As the version of the job, of the terminal that said Hello. */
static void check_binding(enum kl_alg alg)
{
    const struct kl_load_out *out = &term->out;
    struct kl_stored_key key = {.alg = alg,
                                .cryptogram_len = out->cryptogram_len,
                                .kcv_len = out->kcv_len};

    memcpy(key.cryptogram, out->cryptogram, sizeof(key.cryptogram));
    memcpy(key.kcv, out->kcv, sizeof(key.kcv));
    p11_bind(&key, KL_BINDING_TMK, "T-0001", term->in.tmk_version);
    ck_assert_mem_eq(out->binding, key.binding, sizeof(key.binding));
}

void ht_check_load(enum kl_alg alg)
{
    const struct kl_alg_info *info = kl_alg_info(alg);
    const struct kl_load_out *out = &term->out;
    uint8_t tmk[KL_CTMK_LEN_MAX], kcv[4];
    struct kl_msg msg;
    struct kl_master_key *mk = &msg.u.master_key;
    const struct kl_tbs *tbs = &mk->tbs;
    const struct kl_bytes all[] = {{term->hello, term->hello_len},
                                   {term->certificate, term->certificate_len},
                                   {term->randoms, term->randoms_len},
                                   {out->master_key, out->master_key_len}};

    ht_sha256(all, 3, term->t1);
    ht_sha256(all, 4, term->t2);
    ck_ok(kl_msg_decode(out->master_key, out->master_key_len, &msg, &err));
    ck_assert_int_eq(msg.type, KL_MSG_MASTER_KEY);
    if (term->suite == KL_SUITE_CLASSIC) {
        recover(mk, alg);
    } else if (term->suite == KL_SUITE_HARDENED_EC) {
        verify_ecdsa(mk);
    } else {
        verify_pss(mk);
    }
    check_tbs_mac(mk);
    ck_assert_mem_eq(tbs->t1, term->t1, 32);
    ck_assert_mem_eq(tbs->rnd2, term->rnd2, 32);
    ck_assert_str_eq(tbs->serial, "T-0001");
    ck_assert_uint_eq(tbs->usage, KL_USAGE_KEK);
    ck_assert_uint_eq(tbs->alg, alg);
    ck_assert_uint_eq(tbs->version, 7);
    ck_assert_uint_eq(tbs->kcv_method, info->kcv_method);
    ck_assert_uint_eq(tbs->kcv_len, 4);
    ck_assert_uint_eq(unwrap_tmk(tbs, tmk), info->key_len);
    ht_kcv(alg, tmk, kcv);
    ck_assert_mem_eq(tbs->kcv, kcv, 4);
    ck_assert_uint_eq(out->kcv_len, 4);
    ck_assert_mem_eq(out->kcv, kcv, 4);
    check_mac("ack", 1, kcv, 4, out->ack_mac);
    check_mac("done", KL_VERDICT_ACTIVE, NULL, 0, out->active_mac);
    check_mac("done", KL_VERDICT_DROP, NULL, 0, out->drop_mac);
    check_storage(alg);
    check_binding(alg);
    ck_assert_uint_eq(test_session_objects(hsm.session), 0);
}
