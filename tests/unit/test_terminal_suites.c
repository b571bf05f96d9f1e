/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every suite on the terminal's side against the fake loader, the choice between them, the roots
 * and CRLs of S4, and the terminal's own certificate.
 */
#include <check.h>
#include <string.h>

#include "proto/cert.h"
#include "tests/support/stand.h"
#include "tests/support/suite.h"

static void offer_all(struct stand *b)
{
    b->params.suites[0] = KL_SUITE_HARDENED_EC;
    b->params.suites[1] = KL_SUITE_HARDENED_RSA;
    b->params.suites[2] = KL_SUITE_CLASSIC;
    b->params.suite_count = 3;
    b->params.algs[3] = KL_ALG_AES192;
    b->params.algs[4] = KL_ALG_AES256;
    b->params.alg_count = 5;
}

/* ---- Good loads ---- */

static const struct {
    enum kl_suite suite;
    const char *curve; /* NULL: RSA-2048 */
    enum kl_alg alg;
    enum kl_rc rc; /* of S8: may that key carry that TMK? */
} loads[] = {
    {KL_SUITE_HARDENED_RSA, NULL, KL_ALG_TDES2, KL_OK},
    {KL_SUITE_HARDENED_RSA, NULL, KL_ALG_AES128, KL_ERR_STRENGTH},
    {KL_SUITE_CLASSIC, NULL, KL_ALG_TDES2, KL_OK},
    {KL_SUITE_CLASSIC, NULL, KL_ALG_TDES3, KL_OK},
    {KL_SUITE_CLASSIC, NULL, KL_ALG_AES128, KL_ERR_STRENGTH},
    {KL_SUITE_HARDENED_EC, "P-256", KL_ALG_TDES2, KL_OK},
    {KL_SUITE_HARDENED_EC, "P-256", KL_ALG_TDES3, KL_OK},
    {KL_SUITE_HARDENED_EC, "P-256", KL_ALG_AES128, KL_OK},
    {KL_SUITE_HARDENED_EC, "P-256", KL_ALG_AES192, KL_ERR_STRENGTH},
    {KL_SUITE_HARDENED_EC, "P-384", KL_ALG_AES192, KL_OK},
    {KL_SUITE_HARDENED_EC, "P-384", KL_ALG_AES256, KL_ERR_STRENGTH},
    {KL_SUITE_HARDENED_EC, "P-521", KL_ALG_TDES2, KL_OK},
    {KL_SUITE_HARDENED_EC, "P-521", KL_ALG_AES256, KL_OK},
};
#define LOADS ((int)(sizeof(loads) / sizeof(loads[0])))

static void choose(struct stand *b, enum kl_suite suite, const char *curve, EVP_PKEY **key,
                   X509 **cert)
{
    *key = NULL;
    *cert = NULL;
    if (curve) {
        *key = EVP_EC_gen(curve);
        *cert = fake_new_cert("Loader EC", *key, root, fake_root_key, NULL);
        fake_loader_ec(&b->loader, *key, *cert);
    } else if (suite == KL_SUITE_CLASSIC) {
        b->loader.suite = KL_SUITE_CLASSIC;
    }
}

START_TEST(test_load)
{
    int i = _i % LOADS;
    struct stand b;
    EVP_PKEY *key;
    X509 *cert;
    char word[64];

    stand_init(&b, _i / LOADS);
    offer_all(&b);
    choose(&b, loads[i].suite, loads[i].curve, &key, &cert);
    b.loader.alg = loads[i].alg;
    if (loads[i].rc) {
        stand_to_master_key(&b);
        stand_expect_refusal(&b, loads[i].rc, KL_WIRE_REFUSED);
        stand_expect_tmks(&b, 0, 0, 0, 0, 0);
    } else {
        stand_whole_load(&b);
        stand_expect_tmks(&b, 1, 1, KL_TERMINAL_ACTIVE, 0, 0);
        snprintf(word, sizeof(word), "suite=%s", kl_suite_name(loads[i].suite));
        ck_assert_ptr_nonnull(strstr(b.traced, word));
        ck_assert_ptr_nonnull(strstr(b.traced, "anchor=\"CN=Root\" crl=none"));
        ck_assert_uint_eq(kl_terminal_load_facts(b.load)->suite, loads[i].suite);
        ck_assert_str_eq(kl_terminal_load_facts(b.load)->anchor, "CN=Root");
        b.loader.version = 2; /* and a second one, with fresh randoms */
        stand_whole_load(&b);
        stand_expect_tmks(&b, 1, 2, KL_TERMINAL_ACTIVE, 0, 0);
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    stand_end(&b);
}
END_TEST

/* An ephemeral key and Rnd1 serve one load. */
START_TEST(test_randoms_are_fresh)
{
    uint8_t rnd1[2][32], rnd2[2][32];
    struct stand b;
    EVP_PKEY *key;
    X509 *cert;

    stand_init(&b, _i / 2);
    offer_all(&b);
    choose(&b, KL_SUITE_CLASSIC, _i % 2 ? "P-256" : NULL, &key, &cert);
    for (int i = 0; i < 2; i++) {
        stand_to_master_key(&b);
        memcpy(rnd1[i], b.loader.rnd1, 32);
        memcpy(rnd2[i], b.loader.rnd2, 32);
    }
    ck_assert_mem_ne(rnd1[0], rnd1[1], 32);
    ck_assert_mem_ne(rnd2[0], rnd2[1], 32);
    X509_free(cert);
    EVP_PKEY_free(key);
    stand_end(&b);
}
END_TEST

/* ---- The choice of a suite ---- */

START_TEST(test_not_offered)
{
    static const struct {
        enum kl_suite offered, chosen;
    } cases[] = {{KL_SUITE_HARDENED_EC, KL_SUITE_HARDENED_RSA},
                 {KL_SUITE_HARDENED_RSA, KL_SUITE_CLASSIC},
                 {KL_SUITE_HARDENED_RSA, KL_SUITE_HARDENED_EC},
                 {KL_SUITE_CLASSIC, KL_SUITE_HARDENED_RSA}};
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    b.params.suites[0] = (uint8_t)cases[_i].offered;
    b.params.suite_count = 1;
    if (cases[_i].chosen == KL_SUITE_HARDENED_EC) {
        fake_loader_ec(&b.loader, fake_ec_key, fake_ec_work);
    }
    b.loader.suite = cases[_i].chosen;
    stand_to_certificate(&b);
    stand_expect_refusal(&b, KL_ERR_UNSUPPORTED, KL_WIRE_REFUSED);
    ck_assert_ptr_nonnull(strstr(b.err.text, "not offered"));
    stand_end(&b);
}
END_TEST

/* A suite that is not the certificate's key's. */
START_TEST(test_key_type)
{
    static const enum kl_suite with_ec[] = {KL_SUITE_HARDENED_RSA, KL_SUITE_CLASSIC};
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    offer_all(&b);
    if (_i < 2) {
        fake_loader_ec(&b.loader, fake_ec_key, fake_ec_work);
        b.loader.suite = with_ec[_i];
    } else {
        b.loader.suite = KL_SUITE_HARDENED_EC;
    }
    stand_to_certificate(&b);
    stand_expect_refusal(&b, KL_ERR_CERT, KL_WIRE_REFUSED);
    ck_assert_msg(strstr(b.err.text, "chose"), "%s", b.err.text);
    stand_end(&b);
}
END_TEST

START_TEST(test_bad_offer)
{
    struct kl_terminal_load *load = NULL;
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    b.params.suite_count = 0;
    ck_assert_int_eq(kl_terminal_load_new(&b.params, &load, &b.err), KL_ERR_INPUT);
    b.params.suite_count = 1;
    b.params.suites[0] = 9;
    ck_assert_int_eq(kl_terminal_load_new(&b.params, &load, &b.err), KL_ERR_INPUT);
    ck_assert_ptr_nonnull(strstr(b.err.text, "unknown"));
    stand_end(&b);
}
END_TEST

/* ---- Signatures ---- */

static void first_byte(struct kl_rogue *l, struct kl_master_key *m)
{
    (void)l;
    m->sig[0] ^= 1;
}
static void last_byte(struct kl_rogue *l, struct kl_master_key *m)
{
    (void)l;
    m->sig[m->sig_len - 1] ^= 1;
}
static void halves_swapped(struct kl_rogue *l, struct kl_master_key *m)
{
    uint8_t half[KL_EC_FIELD_MAX];
    size_t len = m->sig_len / 2;

    (void)l;
    memcpy(half, m->sig, len);
    memmove(m->sig, m->sig + len, len);
    memcpy(m->sig + len, half, len);
}
static void other_key(struct kl_rogue *l, struct kl_master_key *m)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");

    (void)l;
    fake_sign(key, m->tbs_der.data, m->tbs_der.len, 32, m);
    EVP_PKEY_free(key);
}
static void encode_anew(struct kl_master_key *m)
{
    static uint8_t der[KL_TBS_MAX];
    struct kl_err err = KL_ERR_INIT;
    size_t len;

    ck_assert_int_eq(kl_tbs_encode(&m->tbs, der, &len, &err), KL_OK);
    m->tbs_der = (struct kl_bytes){der, len};
}
static void version_after(struct kl_rogue *l, struct kl_master_key *m)
{
    (void)l;
    m->tbs.version++;
    encode_anew(m);
}

START_TEST(test_ec_signature)
{
    static void (*const spoil[])(struct kl_rogue *,
                                 struct kl_master_key *) = {first_byte, last_byte, halves_swapped,
                                                            other_key, version_after};
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    fake_loader_ec(&b.loader, fake_ec_key, fake_ec_work);
    b.loader.spoil_master_key = spoil[_i];
    stand_to_master_key(&b);
    stand_expect_refusal(&b, KL_ERR_VERIFY, KL_WIRE_REFUSED);
    ck_assert_msg(strstr(b.err.text, "signature"), "%s", b.err.text);
    stand_expect_tmks(&b, 0, 0, 0, 0, 0);
    stand_end(&b);
}
END_TEST

/* classic: what comes back has exactly the length of Ctmk and Rnd2'. */
START_TEST(test_classic_length)
{
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    offer_all(&b);
    b.loader.suite = KL_SUITE_CLASSIC;
    b.loader.classic_delta = _i;
    stand_to_master_key(&b);
    stand_expect_refusal(&b, KL_ERR_VERIFY, KL_WIRE_REFUSED);
    ck_assert_msg(strstr(b.err.text, "gives"), "%s", b.err.text);
    stand_end(&b);
}
END_TEST

static void classic_rnd2(struct kl_rogue *l, struct kl_tbs *t)
{
    (void)l;
    t->rnd2[0] ^= 1;
}
static void classic_ctmk(struct kl_rogue *l, struct kl_tbs *t)
{
    (void)l;
    t->ctmk[3] ^= 1;
}
static void classic_serial(struct kl_rogue *l, struct kl_tbs *t)
{
    (void)l;
    strcpy(t->serial, "T-0002");
}
static void classic_kcv(struct kl_rogue *l, struct kl_tbs *t)
{
    (void)l;
    t->kcv[0] ^= 1;
}

static void classic_alg(struct kl_rogue *l, struct kl_tbs *t)
{
    (void)l;
    t->alg = KL_ALG_TDES3;
}

static const struct {
    void (*tbs)(struct kl_rogue *, struct kl_tbs *);
    void (*master_key)(struct kl_rogue *, struct kl_master_key *);
    const char *text;
} classic[] = {
    {NULL, first_byte, "signature"}, {NULL, last_byte, "signature"},
    {classic_alg, NULL, "gives"},    {classic_rnd2, NULL, "Rnd2'"},
    {classic_ctmk, NULL, "unwrap"},  {classic_serial, NULL, "T-0002"},
    {classic_kcv, NULL, "KCV is"},
};

START_TEST(test_classic_spoilt)
{
    int count = (int)(sizeof(classic) / sizeof(classic[0])), i = _i % count;
    struct stand b;

    stand_init(&b, _i / count);
    offer_all(&b);
    b.loader.suite = KL_SUITE_CLASSIC;
    b.loader.spoil_tbs = classic[i].tbs;
    b.loader.spoil_master_key = classic[i].master_key;
    stand_to_master_key(&b);
    stand_expect_refusal(&b, KL_ERR_VERIFY, KL_WIRE_REFUSED);
    ck_assert_msg(strstr(b.err.text, classic[i].text), "%s", b.err.text);
    stand_expect_tmks(&b, 0, 0, 0, 0, 0);
    stand_end(&b);
}
END_TEST

/* ---- classic: what somebody in between changes after the loader has made the MAC ---- */

static void highest_version(struct kl_rogue *l, struct kl_master_key *m)
{
    (void)l;
    m->tbs.version = KL_VERSION_MAX;
    encode_anew(m);
}
static void alg_after(struct kl_rogue *l, struct kl_master_key *m)
{
    (void)l;
    m->tbs.alg = KL_ALG_TDES3;
    encode_anew(m);
}
static void kcv_after(struct kl_rogue *l, struct kl_master_key *m)
{
    (void)l;
    m->tbs.kcv[0] ^= 1;
    encode_anew(m);
}
/* Still the TMK's own, only shorter. */
static void kcv_cut(struct kl_rogue *l, struct kl_master_key *m)
{
    (void)l;
    m->tbs.kcv[--m->tbs.kcv_len] = 0;
    encode_anew(m);
}
static void kcv_method_after(struct kl_rogue *l, struct kl_master_key *m)
{
    (void)l;
    m->tbs.kcv_method = KL_KCV_AES_CMAC;
    encode_anew(m);
}
static void serial_after(struct kl_rogue *l, struct kl_master_key *m)
{
    (void)l;
    strcpy(m->tbs.serial, "T-0002");
    encode_anew(m);
}
static void t1_after(struct kl_rogue *l, struct kl_master_key *m)
{
    (void)l;
    m->tbs.t1[31] ^= 1;
    encode_anew(m);
}
static void mac_first(struct kl_rogue *l, struct kl_master_key *m)
{
    (void)l;
    m->mac[0] ^= 1;
}
static void mac_last(struct kl_rogue *l, struct kl_master_key *m)
{
    (void)l;
    m->mac[15] ^= 1;
}
static void mac_zero(struct kl_rogue *l, struct kl_master_key *m)
{
    (void)l;
    memset(m->mac, 0, sizeof(m->mac));
}
/* By another key of this load. */
static void mac_by_done(struct kl_rogue *l, struct kl_master_key *m)
{
    uint8_t key[32];

    fake_derive(l, "done", key);
    fake_cmac(key, 32, m->tbs_der.data, m->tbs_der.len, m->mac);
}
/* By K_keys as it would be had another Hello been said; T1 is the terminal's. */
static void mac_of_other_t0(struct kl_rogue *l, struct kl_master_key *m)
{
    uint8_t key[32];

    l->t0[0] ^= 1;
    fake_derive(l, "keys", key);
    l->t0[0] ^= 1;
    fake_cmac(key, 32, m->tbs_der.data, m->tbs_der.len, m->mac);
}

static void (*const rewritten[])(struct kl_rogue *, struct kl_master_key *) = {
    highest_version,  version_after, alg_after,       kcv_after, kcv_cut,
    kcv_method_after, serial_after,  t1_after,        mac_first, mac_last,
    mac_zero,         mac_by_done,   mac_of_other_t0,
};
#define REWRITTEN ((int)(sizeof(rewritten) / sizeof(rewritten[0])))

/* A terminal of classic with a TMK in use, and its loader about to send the next. */
static void begin_classic(struct stand *b, int kind)
{
    stand_init(b, kind);
    offer_all(b);
    b->loader.suite = KL_SUITE_CLASSIC;
    b->loader.kcv_len = 4;
    stand_whole_load(b);
    b->loader.version = 2;
}

/* Nothing of the load that was refused is left, and nothing of it is in the way of another. */
static void expect_unharmed(struct stand *b)
{
    stand_expect_tmks(b, 1, 1, KL_TERMINAL_ACTIVE, 0, 0);
    ck_assert_uint_eq(stand_candidates(b), 0);
    if (b->kind == STAND_TOKEN) { /* what is in memory dies with it */
        stand_restart(b);
        stand_expect_tmks(b, 1, 1, KL_TERMINAL_ACTIVE, 0, 0);
    }
    b->loader.spoil_master_key = NULL;
    stand_whole_load(b);
    stand_expect_tmks(b, 1, 2, KL_TERMINAL_ACTIVE, 0, 0);
}

START_TEST(test_classic_rewritten)
{
    struct stand b;

    begin_classic(&b, _i / REWRITTEN);
    b.loader.spoil_master_key = rewritten[_i % REWRITTEN];
    stand_to_master_key(&b);
    stand_expect_refusal(&b, KL_ERR_VERIFY, KL_WIRE_REFUSED);
    ck_assert_msg(strstr(b.err.text, "MasterKey's MAC is wrong"), "%s", b.err.text);
    expect_unharmed(&b);
    stand_end(&b);
}
END_TEST

/* Two that no encoder of ours makes: another usage, and no MAC. */
START_TEST(test_classic_malformed)
{
    uint8_t *serial;
    struct stand b;

    begin_classic(&b, _i / 2);
    stand_to_master_key(&b);
    if (_i % 2 == 0) {
        serial = memmem(b.buf, b.len, FAKE_SERIAL, strlen(FAKE_SERIAL));
        ck_assert_ptr_nonnull(serial);
        serial[strlen(FAKE_SERIAL) + 2] = 2; /* 02 01 usage */
    } else {
        ck_assert_uint_eq(b.buf[1], 0x82);
        ck_assert_uint_ge(b.buf[3], 2 + KL_MAC_LEN);
        b.buf[3] -= 2 + KL_MAC_LEN;
        b.len -= 2 + KL_MAC_LEN;
    }
    stand_expect_refusal(&b, KL_ERR_PROTOCOL, KL_WIRE_PROTOCOL);
    ck_assert_msg(strstr(b.err.text, _i % 2 == 0 ? "usage is 2" : "mac must be there"), "%s",
                  b.err.text);
    expect_unharmed(&b);
    stand_end(&b);
}
END_TEST

/* ---- Roots ---- */

START_TEST(test_anchors)
{
    STACK_OF(X509) *both = sk_X509_new_null();
    uint8_t want[KL_HASH_LEN];
    struct kl_msg msg;
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    sk_X509_push(both, fake_other_root);
    sk_X509_push(both, root);
    b.params.roots = both;
    stand_begin(&b);
    stand_ok(&b, kl_msg_decode(b.buf, b.len, &msg, &b.err));
    ck_assert_uint_eq(msg.u.hello.anchor_count, 2);
    stand_ok(&b, kl_pubkey_hash(fake_other_key, want, &b.err));
    ck_assert_mem_eq(msg.u.hello.anchors[0], want, KL_HASH_LEN);
    stand_ok(&b, kl_pubkey_hash(fake_root_key, want, &b.err));
    ck_assert_mem_eq(msg.u.hello.anchors[1], want, KL_HASH_LEN);
    stand_whole_load(&b); /* either root will do */
    b.loader.work = fake_new_cert("Loader", fake_work_key, fake_other_root, fake_other_key, NULL);
    b.loader.version = 2;
    stand_whole_load(&b);
    stand_expect_tmks(&b, 1, 2, KL_TERMINAL_ACTIVE, 0, 0);
    X509_free(b.loader.work);
    sk_X509_pop(both); /* the one is taken off: its certificates are refused */
    b.loader.work = work;
    b.loader.version = 3;
    stand_to_certificate(&b);
    stand_expect_refusal(&b, KL_ERR_CERT, KL_WIRE_REFUSED);
    sk_X509_free(both);
    stand_end(&b);
}
END_TEST

/* ---- CRLs ---- */

enum crl_signer { OF_ROOT, OF_OTHER_ROOT };
static const struct {
    const char *name;
    int needed;  /* the certificate names a CRL */
    int stapled; /* 1: one of ours as below; 2: bytes that are none */
    int revoked; /* it lists AcquireWCRT */
    enum crl_signer signer;
    struct kl_rogue_crl_profile crl;
    enum kl_rc rc;
} crls[] = {
    {"none needed", 0, 0, 0, OF_ROOT, {0}, KL_OK},
    {"good", 1, 1, 0, OF_ROOT, {0}, KL_OK},
    {"good, not asked for", 0, 1, 0, OF_ROOT, {0}, KL_OK},
    {"missing", 1, 0, 0, OF_ROOT, {0}, KL_ERR_CERT},
    {"revoked", 1, 1, 1, OF_ROOT, {0}, KL_ERR_REVOKED},
    {"revoked, not asked for", 0, 1, 1, OF_ROOT, {0}, KL_ERR_REVOKED},
    {"stale", 1, 1, 0, OF_ROOT, {.from_days = -9, .to_days = -1}, KL_ERR_CERT},
    {"from the future", 1, 1, 0, OF_ROOT, {.from_days = 1}, KL_ERR_CERT},
    {"of the terminals", 1, 1, 0, OF_ROOT, {.scope = KL_CRL_SCOPE_TERMINAL}, KL_ERR_CERT},
    {"of another root", 1, 1, 0, OF_OTHER_ROOT, {0}, KL_ERR_CERT},
    {"no CRL", 1, 2, 0, OF_ROOT, {0}, KL_ERR_CERT},
};
#define CRLS ((int)(sizeof(crls) / sizeof(crls[0])))

static void no_crl(struct kl_certificate *c)
{
    static const uint8_t sequence[] = {0x30, 0x03, 0x02, 0x01, 0x05};

    c->crl = (struct kl_bytes){sequence, sizeof(sequence)};
}

START_TEST(test_crl)
{
    const struct kl_rogue_profile profile = {.crl_scope =
                                                 crls[_i].needed ? KL_CRL_SCOPE_LOADER : NULL};
    struct kl_rogue_crl_profile crl = crls[_i].crl;
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    b.loader.work = fake_new_cert("Loader", fake_work_key, root, fake_root_key, &profile);
    crl.revoked = crls[_i].revoked ? b.loader.work : NULL;
    if (crls[_i].stapled == 1 && crls[_i].signer == OF_ROOT) {
        b.loader.crl = fake_new_crl(root, fake_root_key, &crl);
    } else if (crls[_i].stapled == 1) {
        b.loader.crl = fake_new_crl(fake_other_root, fake_other_key, &crl);
    } else if (crls[_i].stapled == 2) {
        b.loader.spoil_certificate = no_crl;
    }
    if (crls[_i].rc == KL_OK) {
        stand_whole_load(&b);
        ck_assert_ptr_nonnull(strstr(b.traced, crls[_i].stapled ? "crl=stapled" : "crl=none"));
        ck_assert_int_eq(kl_terminal_load_facts(b.load)->has_crl, crls[_i].stapled == 1);
    } else {
        stand_to_certificate(&b);
        stand_expect_refusal(&b, crls[_i].rc, KL_WIRE_REFUSED);
    }
    X509_CRL_free(b.loader.crl);
    X509_free(b.loader.work);
    stand_end(&b);
}
END_TEST

/* A terminal's certificate under the same root makes nobody a loader, whatever its key. */
START_TEST(test_wrong_eku)
{
    const struct kl_rogue_profile profile = {.eku = "critical," KL_OID_EKU_TERMINAL};
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    b.loader.work = fake_new_cert("Loader", fake_ec_key, root, fake_root_key, &profile);
    fake_loader_ec(&b.loader, fake_ec_key, b.loader.work);
    stand_to_certificate(&b);
    stand_expect_refusal(&b, KL_ERR_CERT, KL_WIRE_REFUSED);
    X509_free(b.loader.work);
    stand_end(&b);
}
END_TEST

/* ---- The terminal's own certificate ---- */

static const struct {
    enum kl_key_type type;
    unsigned bits;
} device_keys[] = {{KL_KEY_EC, 256}, {KL_KEY_EC, 521}, {KL_KEY_RSA, 2048}};
#define DEVICE_KEYS ((int)(sizeof(device_keys) / sizeof(device_keys[0])))

START_TEST(test_device_signs)
{
    static const struct kl_rogue_profile profile = {.eku = "critical," KL_OID_EKU_TERMINAL};
    int i = _i % DEVICE_KEYS;
    EVP_PKEY *device = NULL;
    char proof[32];
    uint8_t *der = NULL;
    struct kl_msg msg;
    struct stand b;
    X509 *cert;
    int len;

    stand_init(&b, _i / DEVICE_KEYS);
    stand_ok(&b, kl_pinpad_device_generate(b.pad, device_keys[i].type, device_keys[i].bits, 0,
                                           &device, &b.err));
    cert = fake_new_cert(FAKE_SERIAL, device, root, fake_root_key, &profile);
    len = i2d_X509(cert, &der);
    b.params.chain[0] = (struct kl_bytes){der, (size_t)len};
    b.params.chain_count = 1;
    b.loader.device = device; /* checks the signature over Randoms */
    stand_begin(&b);
    stand_ok(&b, kl_msg_decode(b.buf, b.len, &msg, &b.err));
    ck_assert_uint_eq(msg.u.hello.chain_count, 1);
    ck_assert_mem_eq(msg.u.hello.chain[0].data, der, (size_t)len);
    stand_whole_load(&b);
    snprintf(proof, sizeof(proof), "proof=%d bytes",
             device_keys[i].type == KL_KEY_EC
                 ? 2 * (int)kl_curve_by_bits(device_keys[i].bits)->field_len
                 : (int)device_keys[i].bits / 8);
    ck_assert_ptr_nonnull(strstr(b.traced, proof));
    if (device_keys[i].bits == 256) {
        fake_loader_ec(&b.loader, fake_ec_key, fake_ec_work);
        b.loader.version = 2;
        stand_whole_load(&b); /* in the other suites likewise */
    }
    OPENSSL_free(der);
    X509_free(cert);
    EVP_PKEY_free(device);
    stand_end(&b);
}
END_TEST

/* A certificate whose key the PIN pad lacks: the load ends, with the reason. */
START_TEST(test_device_missing)
{
    static const struct kl_rogue_profile profile = {.eku = "critical," KL_OID_EKU_TERMINAL};
    uint8_t *der = NULL;
    struct stand b;
    X509 *cert;
    int len;

    stand_init(&b, _i);
    cert = fake_new_cert(FAKE_SERIAL, fake_ec_key, root, fake_root_key, &profile);
    len = i2d_X509(cert, &der);
    b.params.chain[0] = (struct kl_bytes){der, (size_t)len};
    b.params.chain_count = 1;
    stand_to_certificate(&b);
    stand_expect_refusal(&b, KL_ERR_NOT_FOUND, KL_WIRE_REFUSED);
    ck_assert_ptr_nonnull(strstr(b.err.text, "device key"));
    OPENSSL_free(der);
    X509_free(cert);
    stand_end(&b);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("terminal-suites");
    TCase *tc = tcase_create("suites");

    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, fake_make_keys, fake_free_keys);
    tcase_add_loop_test(tc, test_load, 0, LOADS * STAND_KINDS);
    tcase_add_loop_test(tc, test_randoms_are_fresh, 0, 2 * STAND_KINDS);
    tcase_add_loop_test(tc, test_not_offered, 0, 4);
    tcase_add_loop_test(tc, test_key_type, 0, 3);
    tcase_add_test(tc, test_bad_offer);
    tcase_add_loop_test(tc, test_ec_signature, 0, 5);
    tcase_add_loop_test(tc, test_classic_length, -1, 0);
    tcase_add_loop_test(tc, test_classic_length, 1, 3);
    tcase_add_loop_test(tc, test_classic_spoilt, 0,
                        STAND_KINDS * (int)(sizeof(classic) / sizeof(classic[0])));
    tcase_add_loop_test(tc, test_classic_rewritten, 0, STAND_KINDS * REWRITTEN);
    tcase_add_loop_test(tc, test_classic_malformed, 0, 2 * STAND_KINDS);
    tcase_add_test(tc, test_anchors);
    tcase_add_loop_test(tc, test_crl, 0, CRLS);
    tcase_add_test(tc, test_wrong_eku);
    tcase_add_loop_test(tc, test_device_signs, 0, DEVICE_KEYS * STAND_KINDS);
    tcase_add_loop_test(tc, test_device_missing, 0, STAND_KINDS);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return test_run(suite());
}
