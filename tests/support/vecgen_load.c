/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole loads of every suite, and the roots that they chain to: see vecgen.h. */
#include <openssl/x509.h>
#include <string.h>

#include "proto/transcript.h"
#include "tests/support/vecgen.h"

/* What is chosen. Each "random" value begins with `first` plus a number of its own. */
struct spec {
    const char *name, *title;
    enum kl_suite suite;
    const char *work;   /* vector-WORK.pem and -key.pem */
    const char *root;   /* named in anchors; NULL: there are none */
    const char *crl;    /* stapled; NULL: none */
    const char *device; /* the terminal's certificate and key; NULL: it has none */
    enum kl_oaep_hash oaep_hash;
    enum kl_alg alg;
    uint32_t version;
    size_t kcv_len;
    char serial[KL_SERIAL_MAX + 1], pinpad_serial[KL_SERIAL_MAX + 1];
    size_t suite_count, alg_count;
    uint8_t suites[KL_OFFER_MAX], algs[KL_OFFER_MAX];
    uint8_t first;
    const char *tmk; /* hex */
};

static const struct spec specs[] = {
    {
        .name = "tdes2",
        .title = "hardened-rsa: RSA-2048 work key, OAEP with SHA-1, 2-key TDES TMK of version 1, "
                 "KCV of 3 bytes",
        .suite = KL_SUITE_HARDENED_RSA,
        .work = "work-2048",
        .oaep_hash = KL_OAEP_SHA1,
        .alg = KL_ALG_TDES2,
        .version = 1,
        .kcv_len = 3,
        .serial = "POS-0001",
        .pinpad_serial = "PP-0001",
        .suite_count = 1,
        .suites = {KL_SUITE_HARDENED_RSA},
        .alg_count = 2,
        .algs = {KL_ALG_TDES3, KL_ALG_TDES2},
        .first = 0x00,
        .tmk = "ca5d92598dca48ce8a4c76361a9269e9",
    },
    {
        .name = "aes128",
        .title = "hardened-rsa: RSA-3072 work key, OAEP with SHA-1, AES-128 TMK of version 2, KCV "
                 "of 3 bytes",
        .suite = KL_SUITE_HARDENED_RSA,
        .work = "work-3072",
        .oaep_hash = KL_OAEP_SHA1,
        .alg = KL_ALG_AES128,
        .version = 2,
        .kcv_len = 3,
        .serial = "T2.north_7",
        .pinpad_serial = "7",
        .suite_count = 1,
        .suites = {KL_SUITE_HARDENED_RSA},
        .alg_count = 1,
        .algs = {KL_ALG_AES128},
        .first = 0x08,
        /* the key of RFC 4493, section 4 */
        .tmk = "2b7e151628aed2a6abf7158809cf4f3c",
    },
    {
        .name = "tdes3",
        .title = "hardened-rsa: RSA-2048 work key, OAEP with SHA-256, 3-key TDES TMK of version "
                 "300, KCV of 4 bytes",
        .suite = KL_SUITE_HARDENED_RSA,
        .work = "work-2048",
        .oaep_hash = KL_OAEP_SHA256,
        .alg = KL_ALG_TDES3,
        .version = 300,
        .kcv_len = 4,
        .serial = "0123456789ABCDEFabcdef-._xyzXYZ0",
        .pinpad_serial = "PIN-PAD.300",
        .suite_count = 2,
        .suites = {200 /* unknown: well-formed, never chosen */, KL_SUITE_HARDENED_RSA},
        .alg_count = 4,
        .algs = {200, KL_ALG_AES128, KL_ALG_TDES3, KL_ALG_TDES2},
        .first = 0x10,
        .tmk = "0123456789abcdef23456789abcdef01456789abcdef0123",
    },
    {
        .name = "classic",
        .title = "classic: RSA-2048 work key, OAEP with SHA-1, 2-key TDES TMK of version 5, KCV of "
                 "4 bytes",
        .suite = KL_SUITE_CLASSIC,
        .work = "work-2048",
        .oaep_hash = KL_OAEP_SHA1,
        .alg = KL_ALG_TDES2,
        .version = 5,
        .kcv_len = 4,
        .serial = "C-3",
        .pinpad_serial = "PP-C-3",
        .suite_count = 1,
        .suites = {KL_SUITE_CLASSIC},
        .alg_count = 1,
        .algs = {KL_ALG_TDES2},
        .first = 0x18,
        .tmk = "0123456789abcdeffedcba9876543210",
    },
    {
        .name = "ec-p256",
        .title = "hardened-ec: P-256 work key, AES-128 TMK of version 7, KCV of 3 bytes; the "
                 "terminal names its root",
        .suite = KL_SUITE_HARDENED_EC,
        .work = "work-p256",
        .root = "root-ec",
        .oaep_hash = KL_OAEP_SHA1,
        .alg = KL_ALG_AES128,
        .version = 7,
        .kcv_len = 3,
        .serial = "T3-0042",
        .pinpad_serial = "PP-0042",
        .suite_count = 2,
        .suites = {KL_SUITE_HARDENED_EC, KL_SUITE_HARDENED_RSA},
        .alg_count = 1,
        .algs = {KL_ALG_AES128},
        .first = 0x20,
        .tmk = "00112233445566778899aabbccddeeff",
    },
    {
        .name = "ec-p521",
        .title =
            "hardened-ec: P-521 work key with a stapled CRL, AES-256 TMK of version 65536, KCV "
            "of 3 bytes; the terminal names its root, and has a certificate and a device key "
            "on P-256",
        .suite = KL_SUITE_HARDENED_EC,
        .work = "work-p521",
        .root = "root-ec",
        .crl = "crl",
        .device = "device-p256",
        .oaep_hash = KL_OAEP_SHA1,
        .alg = KL_ALG_AES256,
        .version = 65536,
        .kcv_len = 3,
        .serial = "T4-0001",
        .pinpad_serial = "PP-4-0001",
        .suite_count = 1,
        .suites = {KL_SUITE_HARDENED_EC},
        .alg_count = 3,
        .algs = {KL_ALG_AES256, KL_ALG_AES192, KL_ALG_AES128},
        .first = 0x28,
        /* the key of NIST SP 800-38B, D.3 */
        .tmk = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
    },
};

/* One load on its way; what it prints is in the order in which a terminal meets it. */
struct load {
    const struct vg *vg;
    FILE *out;
    const struct spec *spec;
    const struct kl_alg_info *info;
    EVP_PKEY *key, *device; /* AcquireWCRT_Prk; the device key, or NULL */
    struct kl_transcript *transcript;
    uint8_t rnd1[KL_RND1_LEN], rnd2[KL_RND2_LEN];
    uint8_t t0[KL_HASH_LEN], t1[KL_HASH_LEN], t2[KL_HASH_LEN];
    uint8_t keys[KL_PURPOSE_COUNT][KL_HASH_LEN], tmk[KL_TMK_LEN_MAX];
    struct kl_loaded loaded;
};

static int is_classic(const struct load *load)
{
    return load->spec->suite == KL_SUITE_CLASSIC;
}

static void choose(const struct load *load, uint8_t from, uint8_t *out, size_t len)
{
    vg_choose((uint8_t)(load->spec->first + from), out, len);
}

/* Encodes and prints a message of the transcript, whose hash it leaves in t. */
static void emit(struct load *load, const char *name, const struct kl_msg *msg,
                 uint8_t t[KL_HASH_LEN])
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t der[KL_MSG_MAX];
    size_t len = vg_print_message(load->out, name, msg, der);

    vg_need_rc(kl_transcript_add(load->transcript, der, len, &err), &err);
    vg_need_rc(kl_transcript_hash(load->transcript, t, &err), &err);
}

/* ---- Hello and Certificate ---- */

/* SHA-256 of the root's SubjectPublicKeyInfo. */
static void hash_anchor(const struct load *load, uint8_t out[KL_HASH_LEN])
{
    struct kl_bytes der = vg_read_der(load->vg, load->spec->root);
    const uint8_t *at = der.data;
    X509 *root = d2i_X509(NULL, &at, (long)der.len);
    uint8_t *spki = NULL;
    int len = root ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(root), &spki) : 0;

    vg_need(len > 0, "i2d_X509_PUBKEY");
    vg_sha256(&(struct kl_bytes){spki, (size_t)len}, 1, out);
    OPENSSL_free(spki);
    X509_free(root);
    vg_free_der(&der);
}

static void do_hello(struct load *load)
{
    const struct spec *spec = load->spec;
    struct kl_msg msg = {.type = KL_MSG_HELLO};
    struct kl_hello *hello = &msg.u.hello;
    struct kl_bytes chain = {NULL, 0};
    uint8_t unused[KL_HASH_LEN];

    hello->version = KL_PROTOCOL_VERSION;
    hello->suite_count = spec->suite_count;
    memcpy(hello->suites, spec->suites, sizeof(hello->suites));
    hello->alg_count = spec->alg_count;
    memcpy(hello->algs, spec->algs, sizeof(hello->algs));
    memcpy(hello->serial, spec->serial, sizeof(spec->serial));
    memcpy(hello->pinpad_serial, spec->pinpad_serial, sizeof(spec->pinpad_serial));
    if (spec->root) {
        hello->anchor_count = 1;
        hash_anchor(load, hello->anchors[0]);
        vg_print(load->out, "anchor", hello->anchors[0], KL_HASH_LEN);
    }
    if (spec->device) {
        chain = vg_read_der(load->vg, spec->device);
        hello->chain_count = 1;
        hello->chain[0] = chain;
    }
    emit(load, "hello", &msg, unused);
    vg_free_der(&chain);
}

static void do_certificate(struct load *load)
{
    const struct spec *spec = load->spec;
    struct kl_msg msg = {.type = KL_MSG_CERTIFICATE};
    struct kl_certificate *certificate = &msg.u.certificate;
    struct kl_bytes work = vg_read_der(load->vg, spec->work), crl = {NULL, 0};

    if (spec->crl) {
        crl = vg_read_der(load->vg, spec->crl);
    }
    certificate->suite = (uint8_t)spec->suite;
    certificate->oaep_hash = (uint8_t)spec->oaep_hash;
    choose(load, 0x40, certificate->nonce, KL_HASH_LEN);
    certificate->chain_count = 1;
    certificate->chain[0] = work;
    certificate->crl = crl;
    vg_print(load->out, "nonce", certificate->nonce, KL_HASH_LEN);
    emit(load, "certificate", &msg, load->t0);
    vg_print(load->out, "t0", load->t0, KL_HASH_LEN);
    vg_free_der(&crl);
    vg_free_der(&work);
}

/* ---- Randoms ---- */

static void do_keys(struct load *load)
{
    choose(load, 0x00, load->rnd1, KL_RND1_LEN);
    choose(load, 0x20, load->rnd2, KL_RND2_LEN);
    vg_print(load->out, "rnd1", load->rnd1, KL_RND1_LEN);
    vg_print(load->out, "rnd2", load->rnd2, KL_RND2_LEN);
    for (int i = is_classic(load) ? KL_PURPOSE_ACK : KL_PURPOSE_WRAP;
         i <= (is_classic(load) ? KL_PURPOSE_KEYS : KL_PURPOSE_DONE); i++) {
        vg_derive(load->out, (enum kl_purpose)i, load->rnd1, KL_RND1_LEN, load->t0, load->keys[i]);
    }
}

static void do_oaep(struct load *load, struct kl_randoms *randoms)
{
    size_t seed_len = load->spec->oaep_hash == KL_OAEP_SHA256 ? 32 : 20;
    uint8_t seed[KL_HASH_LEN], both[KL_RND1_LEN + KL_RND2_LEN];

    choose(load, 0x80, seed, seed_len);
    memcpy(both, load->rnd1, KL_RND1_LEN);
    memcpy(both + KL_RND1_LEN, load->rnd2, KL_RND2_LEN);
    randoms->c_rnd1_len = vg_oaep(load->vg, load->key, load->spec->oaep_hash, seed, seed_len, both,
                                  is_classic(load) ? sizeof(both) : KL_RND1_LEN, randoms->c_rnd1);
    vg_print(load->out, "oaep_seed", seed, seed_len);
}

static void do_ecies(struct load *load, struct kl_randoms *randoms)
{
    const struct kl_curve *curve = vg_curve(load->key);
    struct kl_err err = KL_ERR_INIT;
    uint8_t scalar[KL_EC_FIELD_MAX], shared[KL_EC_POINT_MAX], label[KL_HASH_LEN], key[KL_HASH_LEN];
    const uint8_t *x = shared + 1, *z = x + curve->field_len - KL_ECDH_LEN;

    vg_choose_scalar((uint8_t)(load->spec->first + 0x80), curve, scalar);
    randoms->point_len = vg_point(curve, scalar, NULL, randoms->point);
    vg_point(curve, scalar, load->key, shared);
    vg_need_rc(kl_suite_ecies_label(load->t0, randoms->point, randoms->point_len, label, &err),
               &err);
    vg_cipher(EVP_aes_256_ecb(), z, label, KL_HASH_LEN, key);
    randoms->c_rnd1_len =
        vg_cipher(EVP_aes_256_wrap(), key, load->rnd1, KL_RND1_LEN, randoms->c_rnd1);
    vg_print(load->out, "ephemeral", scalar, curve->field_len);
    vg_print(load->out, "point", randoms->point, randoms->point_len);
    vg_print(load->out, "ecdh_x", x, curve->field_len);
    vg_print(load->out, "z", z, KL_ECDH_LEN);
    vg_print(load->out, "label_ecies", label, KL_HASH_LEN);
    vg_print(load->out, "k_ecies", key, KL_HASH_LEN);
}

/* The device key's signature over what is to be sent so far. */
static void do_proof(struct load *load, struct kl_msg *msg)
{
    struct kl_randoms *randoms = &msg->u.randoms;
    struct kl_err err = KL_ERR_INIT;
    uint8_t der[KL_MSG_MAX], in[KL_PROOF_INPUT_MAX], k[KL_EC_FIELD_MAX];
    const struct kl_curve *curve = vg_curve(load->device);
    size_t len;

    vg_need_rc(kl_msg_encode(msg, der, &len, &err), &err);
    len = kl_suite_proof_input(load->t0, der, len, in);
    vg_choose_scalar((uint8_t)(load->spec->first + 0xd0), curve, k);
    randoms->sig_len = vg_ecdsa(load->device, k, in, len, randoms->sig);
    vg_print(load->out, "proof_input", in, len);
    vg_print(load->out, "proof_k", k, curve->field_len);
    vg_print(load->out, "proof", randoms->sig, randoms->sig_len);
}

static void do_randoms(struct load *load)
{
    struct kl_msg msg = {.type = KL_MSG_RANDOMS};
    struct kl_randoms *randoms = &msg.u.randoms;

    randoms->suite = load->spec->suite;
    if (randoms->suite == KL_SUITE_HARDENED_EC) {
        do_ecies(load, randoms);
    } else {
        do_oaep(load, randoms);
    }
    vg_print(load->out, "c_rnd1", randoms->c_rnd1, randoms->c_rnd1_len);
    if (!is_classic(load)) {
        choose(load, 0x60, randoms->iv, KL_GCM_IV_LEN);
        vg_gcm(load->keys[KL_PURPOSE_NONCE], randoms->iv, load->t0, load->rnd2, randoms->c_rnd2);
        vg_print(load->out, "iv", randoms->iv, KL_GCM_IV_LEN);
        vg_print(load->out, "c_rnd2", randoms->c_rnd2, sizeof(randoms->c_rnd2));
    }
    if (load->device) {
        do_proof(load, &msg);
    }
    emit(load, "randoms", &msg, load->t1);
    vg_print(load->out, "t1", load->t1, KL_HASH_LEN);
}

/* ---- MasterKey ---- */

static void fill_tbs(struct load *load, const uint8_t *ctmk, size_t ctmk_len, struct kl_tbs *tbs)
{
    const struct spec *spec = load->spec;
    uint8_t block[KL_MAC_LEN];

    memcpy(tbs->t1, load->t1, KL_HASH_LEN);
    if (!is_classic(load)) {
        memcpy(tbs->rnd2, load->rnd2, KL_RND2_LEN);
        memcpy(tbs->ctmk, ctmk, ctmk_len);
        tbs->ctmk_len = ctmk_len;
    }
    memcpy(tbs->serial, spec->serial, sizeof(spec->serial));
    tbs->usage = KL_USAGE_KEK;
    tbs->alg = (uint8_t)spec->alg;
    tbs->version = spec->version;
    tbs->kcv_method = (uint8_t)load->info->kcv_method;
    vg_kcv(load->info, load->tmk, block);
    tbs->kcv_len = spec->kcv_len;
    memcpy(tbs->kcv, block, spec->kcv_len);
}

/* What the private key signs, and with which chosen value; and the MAC of classic. */
static void do_signature(struct load *load, const uint8_t *ctmk, size_t ctmk_len,
                         struct kl_master_key *msg)
{
    uint8_t chosen[KL_EC_FIELD_MAX], block[KL_CTMK_LEN_MAX + KL_RND2_LEN];
    struct kl_bytes tbs = msg->tbs_der;

    if (is_classic(load)) {
        memcpy(block, ctmk, ctmk_len);
        memcpy(block + ctmk_len, load->rnd2, KL_RND2_LEN);
        vg_print(load->out, "recovered", block, ctmk_len + KL_RND2_LEN);
        msg->sig_len = vg_rsa_pkcs1(load->vg, load->key, block, ctmk_len + KL_RND2_LEN, msg->sig);
    } else if (load->spec->suite == KL_SUITE_HARDENED_EC) {
        const struct kl_curve *curve = vg_curve(load->key);

        vg_choose_scalar((uint8_t)(load->spec->first + 0xa0), curve, chosen);
        msg->sig_len = vg_ecdsa(load->key, chosen, tbs.data, tbs.len, msg->sig);
        vg_print(load->out, "ecdsa_k", chosen, curve->field_len);
    } else {
        choose(load, 0xa0, chosen, KL_HASH_LEN);
        msg->sig_len = vg_pss(load->vg, load->key, chosen, tbs.data, tbs.len, msg->sig);
        vg_print(load->out, "pss_salt", chosen, KL_HASH_LEN);
    }
    vg_print(load->out, "signature", msg->sig, msg->sig_len);
    if (is_classic(load)) {
        vg_cmac(load->keys[KL_PURPOSE_KEYS], KL_HASH_LEN, tbs.data, tbs.len, msg->mac);
        vg_print(load->out, "tbs_mac", msg->mac, KL_MAC_LEN);
    }
}

static void do_master_key(struct load *load)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg = {.type = KL_MSG_MASTER_KEY};
    struct kl_master_key *master_key = &msg.u.master_key;
    struct kl_tbs *tbs = &master_key->tbs;
    uint8_t der[KL_TBS_MAX], ctmk[KL_CTMK_LEN_MAX];
    size_t ctmk_len =
        vg_cipher(EVP_aes_256_wrap(), is_classic(load) ? load->rnd1 : load->keys[KL_PURPOSE_WRAP],
                  load->tmk, load->info->key_len, ctmk);

    fill_tbs(load, ctmk, ctmk_len, tbs);
    vg_need_rc(kl_tbs_encode(tbs, der, &master_key->tbs_der.len, &err), &err);
    master_key->tbs_der.data = der;
    load->loaded.kcv_len = tbs->kcv_len;
    memcpy(load->loaded.kcv, tbs->kcv, sizeof(tbs->kcv));
    vg_print(load->out, "tmk", load->tmk, load->info->key_len);
    vg_print(load->out, "kcv", tbs->kcv, tbs->kcv_len);
    vg_print(load->out, "ctmk", ctmk, ctmk_len);
    vg_print(load->out, "tbs", der, master_key->tbs_der.len);
    do_signature(load, ctmk, ctmk_len, master_key);
    emit(load, "master_key", &msg, load->t2);
    vg_print(load->out, "t2", load->t2, KL_HASH_LEN);
}

/* ---- What follows ---- */

static void do_confirm(struct load *load)
{
    struct kl_msg msg = {.type = KL_MSG_CONFIRM};
    struct kl_confirm *confirm = &msg.u.confirm;
    uint8_t der[KL_MSG_MAX];

    confirm->version = KL_PROTOCOL_VERSION;
    memcpy(confirm->serial, load->spec->serial, sizeof(load->spec->serial));
    memcpy(confirm->pinpad_serial, load->spec->pinpad_serial, sizeof(load->spec->pinpad_serial));
    confirm->tmk_version = load->spec->version;
    confirm->loaded = load->loaded;
    vg_print_message(load->out, "confirm", &msg, der);
}

static void print_load(const struct vg *vg, const struct spec *spec)
{
    struct kl_err err = KL_ERR_INIT;
    struct load load = {.vg = vg, .out = vg->out, .spec = spec, .info = kl_alg_info(spec->alg)};

    load.key = vg_read_key(vg, spec->work);
    load.device = spec->device ? vg_read_key(vg, spec->device) : NULL;
    vg_hex(spec->tmk, load.tmk, load.info->key_len);
    vg_need_rc(kl_transcript_new(&load.transcript, &err), &err);
    vg_print_heading(vg->out, spec->name, spec->title, spec->serial, spec->pinpad_serial);
    do_hello(&load);
    do_certificate(&load);
    do_keys(&load);
    do_randoms(&load);
    do_master_key(&load);
    vg_print_loaded(vg->out, load.keys[KL_PURPOSE_ACK], load.t2, &load.loaded);
    vg_print_done(vg->out, "done_active", load.keys[KL_PURPOSE_DONE], load.t2, KL_VERDICT_ACTIVE,
                  spec->version);
    vg_print_done(vg->out, "done_drop", load.keys[KL_PURPOSE_DONE], load.t2, KL_VERDICT_DROP,
                  spec->version);
    do_confirm(&load);
    vg_print_end(vg->out);
    kl_transcript_free(load.transcript);
    EVP_PKEY_free(load.device);
    EVP_PKEY_free(load.key);
}

void vg_loads(const struct vg *vg)
{
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        print_load(vg, &specs[i]);
    }
}
