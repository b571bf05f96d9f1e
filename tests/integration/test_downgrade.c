/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A man in the middle who understands the protocol: he takes the better suites and algorithms out
 * of a Hello, changes who it is from, or what Certificate offers in return. Every load of his must
 * fail, and nothing that either side has in use may change.
 */
#include <check.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/pubkey.h"
#include "proto/transcript.h"
#include "tests/support/lab_trust.h"
#include "tests/support/suite.h"

#define EVERY_SUITE "hardened-ec,hardened-rsa,classic"

static struct lab lab;

/* What he has to offer: made once, in the fixture. */
#define DER_MAX 8192
struct der {
    uint8_t data[DER_MAX];
    size_t len;
};
static struct der rsa_certs[2], ec_certs[2]; /* AcquireWCRTs of one root */
static struct der terminal_crl, older_crl;
static uint8_t second_anchor[KL_HASH_LEN];

/* ---- What he does to Hello ---- */

static void offer(struct kl_hello *hello, enum kl_suite suite)
{
    hello->suite_count = 1;
    hello->suites[0] = (uint8_t)suite;
}

static void only_classic(struct kl_hello *hello)
{
    offer(hello, KL_SUITE_CLASSIC);
}

static void only_rsa(struct kl_hello *hello)
{
    offer(hello, KL_SUITE_HARDENED_RSA);
}

static void only_ec(struct kl_hello *hello)
{
    offer(hello, KL_SUITE_HARDENED_EC);
}

static void add_classic(struct kl_hello *hello)
{
    hello->suites[hello->suite_count++] = KL_SUITE_CLASSIC;
}

static void swap_suites(struct kl_hello *hello)
{
    uint8_t first = hello->suites[0];

    hello->suites[0] = hello->suites[1];
    hello->suites[1] = first;
}

static void only_tdes2(struct kl_hello *hello)
{
    hello->alg_count = 1;
    hello->algs[0] = KL_ALG_TDES2;
}

static void only_aes(struct kl_hello *hello)
{
    hello->alg_count = 1;
    hello->algs[0] = KL_ALG_AES128;
}

static void no_anchors(struct kl_hello *hello)
{
    hello->anchor_count = 0;
}

static void other_anchor(struct kl_hello *hello)
{
    hello->anchor_count = 1;
    memcpy(hello->anchors[0], second_anchor, KL_HASH_LEN);
}

static void unknown_anchor(struct kl_hello *hello)
{
    hello->anchor_count = 1;
    hello->anchors[0][0] ^= 1;
}

static void no_chain(struct kl_hello *hello)
{
    hello->chain_count = 0;
}

static void victims_serial(struct kl_hello *hello)
{
    strcpy(hello->serial, "VICTIM");
    strcpy(hello->pinpad_serial, "PVICTIM");
}

static void other_pinpad(struct kl_hello *hello)
{
    strcpy(hello->pinpad_serial, "ANOTHER");
}

/* ---- What he does to Certificate ---- */

static void say_classic(struct kl_certificate *certificate)
{
    certificate->suite = KL_SUITE_CLASSIC;
}

static void other_hash(struct kl_certificate *certificate)
{
    certificate->oaep_hash = certificate->oaep_hash == KL_OAEP_SHA1 ? KL_OAEP_SHA256 : KL_OAEP_SHA1;
}

static void other_nonce(struct kl_certificate *certificate)
{
    certificate->nonce[0] ^= 1;
}

/* The other one of two that he finds in there. */
static void other_of(struct kl_certificate *certificate, const struct der pair[2])
{
    int first = certificate->chain[0].len == pair[0].len &&
                memcmp(certificate->chain[0].data, pair[0].data, pair[0].len) == 0;

    certificate->chain[0] = (struct kl_bytes){pair[first].data, pair[first].len};
}

static void other_rsa(struct kl_certificate *certificate)
{
    other_of(certificate, rsa_certs);
}

static void other_ec(struct kl_certificate *certificate)
{
    other_of(certificate, ec_certs);
}

/* And says that it is of the suite that goes with it. */
static void rsa_for_ec(struct kl_certificate *certificate)
{
    certificate->suite = KL_SUITE_HARDENED_RSA;
    other_of(certificate, rsa_certs);
}

static void no_crl(struct kl_certificate *certificate)
{
    certificate->crl.len = 0;
}

static void crl_of_terminals(struct kl_certificate *certificate)
{
    certificate->crl = (struct kl_bytes){terminal_crl.data, terminal_crl.len};
}

static void crl_of_before(struct kl_certificate *certificate)
{
    certificate->crl = (struct kl_bytes){older_crl.data, older_crl.len};
}

/* ---- The attacks ---- */

static const struct attack {
    const char *name;
    const char *serial; /* of the terminal; "C": has a certificate */
    const char *auth;   /* what the loader wants */
    const char *offer;  /* of suites, by the terminal */
    void (*hello)(struct kl_hello *hello);
    void (*certificate)(struct kl_certificate *certificate);
    int unsign;                /* the terminal's signature is taken out of Randoms */
    int fix_t1;                /* MasterKey gets the T1 that the terminal expects */
    const char *says;          /* the terminal, on stderr */
    const char *whose, *alarm; /* the loader's alarm */
    unsigned spent;            /* attempts of that terminal */
} attacks[] = {
    /* Suites. */
    {"only-classic", "T", "registered", EVERY_SUITE, only_classic, NULL, 0, 0,
     "MasterKey's MAC is wrong", "T", "peer-refused", 1},
    {"only-classic-t1", "T", "registered", EVERY_SUITE, only_classic, NULL, 0, 1,
     "MasterKey's MAC is wrong", "T", "peer-refused", 1},
    {"only-rsa", "T", "registered", EVERY_SUITE, only_rsa, NULL, 0, 0, "answered Error refused",
     "T", "verify", 1},
    {"only-ec", "T", "registered", EVERY_SUITE, only_ec, NULL, 0, 0, "answered Error refused", "T",
     "verify", 1},
    {"add-classic", "T", "registered", "hardened-rsa", add_classic, NULL, 0, 0,
     "answered Error refused", "T", "verify", 1},
    {"classic-unoffered", "T", "registered", "hardened-rsa", only_classic, NULL, 0, 0,
     "chose suite 2, not offered", "T", "peer-refused", 0},
    {"swap-suites", "T", "registered", EVERY_SUITE, swap_suites, NULL, 0, 0,
     "answered Error refused", "T", "verify", 1},
    /* Algorithms. */
    {"only-tdes2", "T", "registered", EVERY_SUITE, only_tdes2, NULL, 0, 0, "answered Error refused",
     "T", "verify", 1},
    {"only-aes", "T", "registered", EVERY_SUITE, only_aes, NULL, 0, 0, "answered Error unsupported",
     "T", "unsupported", 0},
    /* Roots. */
    {"no-anchors", "T", "registered", EVERY_SUITE, no_anchors, NULL, 0, 0, "answered Error refused",
     "T", "verify", 1},
    {"other-anchor", "T", "registered", EVERY_SUITE, other_anchor, NULL, 0, 0,
     "answered Error refused", "T", "verify", 1},
    {"unknown-anchor", "T", "registered", EVERY_SUITE, unknown_anchor, NULL, 0, 0,
     "answered Error unsupported", "T", "unsupported", 0},
    /* Who it is. */
    {"no-chain", "C", "registered", EVERY_SUITE, no_chain, NULL, 1, 0, "answered Error refused",
     "C", "verify", 1},
    {"no-chain-signed", "C", "registered", EVERY_SUITE, no_chain, NULL, 0, 0,
     "answered Error refused", "C", "verify", 1},
    {"no-chain-needed", "C", "certificate", EVERY_SUITE, no_chain, NULL, 1, 0,
     "answered Error refused", "C", "certificate", 0},
    {"unsigned", "C", "certificate", EVERY_SUITE, NULL, NULL, 1, 0, "answered Error refused", "C",
     "verify", 0},
    {"only-rsa-signed", "C", "certificate", EVERY_SUITE, only_rsa, NULL, 0, 0,
     "answered Error refused", "C", "verify", 0},
    {"only-classic-signed", "C", "certificate", EVERY_SUITE, only_classic, NULL, 0, 1,
     "answered Error refused", "C", "verify", 0},
    {"victim", "T", "registered", EVERY_SUITE, victims_serial, NULL, 0, 0, "answered Error refused",
     "VICTIM", "verify", 1},
    {"victim-signed", "C", "certificate", EVERY_SUITE, victims_serial, NULL, 0, 0,
     "answered Error refused", "VICTIM", "certificate", 0},
    {"pinpad", "T", "registered", EVERY_SUITE, other_pinpad, NULL, 0, 0, "answered Error refused",
     "T", "refused", 0},
    /* Certificate. */
    {"say-classic-ec", "T", "registered", EVERY_SUITE, NULL, say_classic, 0, 0,
     "chose classic, but AcquireWCRT's key is P-256", "T", "peer-refused", 0},
    {"say-classic-rsa", "T", "registered", "hardened-rsa,classic", NULL, say_classic, 0, 0,
     "answered Error protocol", "T", "protocol", 0},
    {"say-classic-unoffered", "T", "registered", "hardened-rsa", NULL, say_classic, 0, 0,
     "chose suite 2, not offered", "T", "peer-refused", 0},
    {"other-hash", "T", "registered", "hardened-rsa", NULL, other_hash, 0, 0,
     "Rnd1 cannot be encrypted", "T", "peer-refused", 0},
    {"other-nonce", "T", "registered", EVERY_SUITE, NULL, other_nonce, 0, 0,
     "answered Error refused", "T", "verify", 1},
    {"other-rsa", "T", "registered", "hardened-rsa", NULL, other_rsa, 0, 0,
     "answered Error refused", "T", "verify", 1},
    {"other-ec", "T", "registered", "hardened-ec", NULL, other_ec, 0, 0, "answered Error refused",
     "T", "verify", 1},
    {"rsa-for-ec", "T", "registered", EVERY_SUITE, NULL, rsa_for_ec, 0, 0,
     "answered Error protocol", "T", "protocol", 0},
    {"other-rsa-signed", "C", "certificate", "hardened-rsa", NULL, other_rsa, 0, 0,
     "answered Error refused", "C", "verify", 0},
    {"no-crl", "T", "registered", EVERY_SUITE, NULL, no_crl, 0, 0, "CRL", "T", "peer-refused", 0},
    {"crl-of-terminals", "T", "registered", EVERY_SUITE, NULL, crl_of_terminals, 0, 0, "CRL", "T",
     "peer-refused", 0},
    {"crl-of-before", "T", "registered", EVERY_SUITE, NULL, crl_of_before, 0, 0,
     "answered Error refused", "T", "verify", 1},
};
#define ATTACKS (sizeof attacks / sizeof attacks[0])

/* "other-hash" where the PIN pad's token does either: the loader's cannot open it. */
static const struct attack other_hash_done = {
    "other-hash",
    "T",
    "registered",
    "hardened-rsa",
    NULL,
    other_hash,
    0,
    0,
    "answered Error refused",
    "T",
    "verify",
    1,
};

/* One connection of his. */
struct session {
    const struct attack *attack;
    struct kl_transcript *heard; /* as the terminal hears itself and him */
    uint8_t tbs[KL_TBS_MAX];
    unsigned trouble;
};

static void hear(struct session *session, const uint8_t *der, size_t len)
{
    struct kl_err err = KL_ERR_INIT;

    session->trouble += kl_transcript_add(session->heard, der, len, &err) != KL_OK;
}

static int fix_t1(struct session *session, struct kl_master_key *key)
{
    struct kl_err err = KL_ERR_INIT;
    size_t len = 0;

    session->trouble += kl_transcript_hash(session->heard, key->tbs.t1, &err) != KL_OK;
    session->trouble += kl_tbs_encode(&key->tbs, session->tbs, &len, &err) != KL_OK;
    key->tbs_der = (struct kl_bytes){session->tbs, len};
    return 1;
}

static int edit(struct kl_msg *msg, const uint8_t *der, size_t len, void *arg)
{
    struct session *session = arg;
    const struct attack *attack = session->attack;

    switch (msg->type) {
    case KL_MSG_HELLO:
        hear(session, der, len);
        if (attack->hello != NULL) {
            attack->hello(&msg->u.hello);
        }
        return attack->hello != NULL;
    case KL_MSG_CERTIFICATE:
        if (attack->certificate != NULL) {
            attack->certificate(&msg->u.certificate);
        } else {
            hear(session, der, len); /* only whoever changes nothing here needs T1 */
        }
        return attack->certificate != NULL;
    case KL_MSG_RANDOMS:
        hear(session, der, len);
        if (attack->unsign) {
            msg->u.randoms.sig_len = 0;
        }
        return attack->unsign;
    case KL_MSG_MASTER_KEY:
        return attack->fix_t1 && fix_t1(session, &msg->u.master_key);
    default:
        return 0;
    }
}

/* ---- The centre ---- */

/* Takes over data. */
static void keep(struct der *out, unsigned char *data, int len)
{
    ck_assert_int_gt(len, 0);
    ck_assert_int_lt(len, DER_MAX);
    memcpy(out->data, data, (size_t)len);
    out->len = (size_t)len;
    OPENSSL_free(data);
}

static void keep_cert(const char *label, struct der *out)
{
    char path[PATH_MAX];
    unsigned char *der = NULL;
    X509 *cert;
    int len;

    ck_assert_int_lt(snprintf(path, sizeof path, "%s/work/%s.pem", lab.dir, label),
                     (int)sizeof path);
    cert = lab_read_cert(path);
    len = i2d_X509(cert, &der);
    keep(out, der, len);
    X509_free(cert);
}

static void keep_crl(const char *name, struct der *out)
{
    char path[PATH_MAX];
    unsigned char *der = NULL;
    FILE *f = fopen(file_path(path, lab.dir, name), "re");
    X509_CRL *crl = PEM_read_X509_CRL(f, NULL, NULL, NULL);
    int len;

    fclose(f);
    ck_assert_ptr_nonnull(crl);
    len = i2d_X509_CRL(crl, &der);
    keep(out, der, len);
    X509_CRL_free(crl);
}

static void found_cas(void)
{
    char root_pem[PATH_MAX], path[PATH_MAX], terminal_root[PATH_MAX];
    struct kl_err err = KL_ERR_INIT;
    X509 *cert;

    lab_found_ca(&lab, "ca");
    lab_copy_file(file_path(root_pem, lab.dir, "root.pem"),
                  file_path(terminal_root, lab.dir, "terminal-root.pem"));
    lab_found_ca(&lab, "ca2");
    cert = lab_read_cert(lab_ca_root(&lab, "ca2", path));
    ck_assert_int_eq(kl_pubkey_hash(X509_get0_pubkey(cert), second_anchor, &err), KL_OK);
    X509_free(cert);
    lab_set(&lab, "certificates", "terminal-root", terminal_root);
    lab_set(&lab, "certificates", "terminal-crl", file_path(path, lab.dir, "terminal-crl.pem"));
    lab_publish_crl(&lab, "ca", "terminal");
    keep_crl("terminal-crl.pem", &terminal_crl);
    lab_publish_crl(&lab, "ca", "loader");
    keep_crl("crl.pem", &older_crl);
    lab_publish_crl(&lab, "ca", "loader");
    lab_publish_crl(&lab, "ca2", "loader");
}

static void load_once(const char *serial)
{
    lab_arm(&lab, serial, 1);
    ck_assert_int_eq(lab_load(&lab, serial, lab.port), 0);
}

static void found(void)
{
    static const char *const serials[] = {"T", "C", "VICTIM"};
    static const struct {
        const char *label, *suite, *key, *ca;
        struct der *out;
    } works[] = {
        /* The first in time, and the last by name: not taken where another EC key may be. */
        {"second", "hardened-ec", "p-256", "ca2", NULL},
        {"rsa-a", "hardened-rsa", "rsa-2048", "ca", &rsa_certs[0]},
        {"rsa-b", "hardened-rsa", "rsa-2048", "ca", &rsa_certs[1]},
        {"ec-a", "hardened-ec", "p-256", "ca", &ec_certs[0]},
        {"ec-b", "hardened-ec", "p-256", "ca", &ec_certs[1]},
        {"classic", "classic", "rsa-2048", "ca", NULL},
    };

    lab_lay_out(&lab);
    found_cas();
    for (size_t i = 0; i < sizeof works / sizeof works[0]; i++) {
        lab_certify(&lab, works[i].label, works[i].suite, works[i].key, works[i].ca);
        if (works[i].out != NULL) {
            keep_cert(works[i].label, works[i].out);
        }
    }
    lab_begin(&lab, "attacks");
    lab_set(&lab, "policy", "suites", "hardened-ec, hardened-rsa, classic");
    for (size_t i = 0; i < sizeof serials / sizeof serials[0]; i++) {
        lab_terminal(&lab, serials[i], "tdes2");
    }
    lab_device_certificate(&lab, "C", "ca");
    lab_start(&lab);
    for (size_t i = 0; i < sizeof serials / sizeof serials[0]; i++) {
        load_once(serials[i]);
    }
    lab_stop(&lab);
}

static void abandon(void)
{
    lab_abandon(&lab);
}

static void end(void)
{
    lab_end(&lab);
}

/* The TMK of the fixture's load is in use, on both sides. */
static void expect_unchanged(const char *serial)
{
    struct lab_tmk store[LAB_TMK_MAX];
    const struct lab_tmk *active = lab_active(store, lab_store(&lab, serial, store));

    ck_assert_ptr_nonnull(active);
    ck_assert_uint_eq(active->version, 1);
    lab_agree(&lab, serial);
}

START_TEST(attack)
{
    const struct attack *row =
        lab.nss && attacks[_i].certificate == other_hash ? &other_hash_done : &attacks[_i];
    const char *extra[] = {"--suites", row->offer, NULL};
    struct session session = {.attack = row};
    struct lab_mitm mitm = {.edit = edit, .arg = &session};
    struct kl_err err = KL_ERR_INIT;
    unsigned alarms;
    char *said;
    int status;

    ck_assert_int_eq(kl_transcript_new(&session.heard, &err), KL_OK);
    lab_set(&lab, "policy", "terminal-auth", row->auth);
    lab_start(&lab);
    lab_arm(&lab, row->serial, 3);
    if (strcmp(row->serial, row->whose) != 0) {
        lab_arm(&lab, row->whose, 3);
    }
    alarms = lab_alarms(&lab, row->whose, row->alarm);
    status = lab_mitm_load(&lab, row->serial, extra, &mitm, 1, &said);
    ck_assert_uint_eq(session.trouble, 0);
    ck_assert_msg(status != 0 && strstr(said, row->says) != NULL, "%s: status %d: %s\n%s",
                  row->name, status, said, file_read(lab.daemon.err, NULL));
    lab_await_alarm(&lab, row->whose, row->alarm, alarms + 1);
    ck_assert_uint_eq(lab_attempts(&lab, row->whose), 3 - row->spent);
    expect_unchanged(row->serial);
    expect_unchanged(row->whose);
    kl_transcript_free(session.heard);
    free(said);
}
END_TEST

/* It is he who makes them fail: the same man, with nothing to change. */
START_TEST(an_idle_one)
{
    static const struct attack idle = {.name = "idle"};
    struct session session = {.attack = &idle};
    struct lab_mitm mitm = {.edit = edit, .arg = &session};
    struct kl_err err = KL_ERR_INIT;

    ck_assert_int_eq(kl_transcript_new(&session.heard, &err), KL_OK);
    lab_set(&lab, "policy", "terminal-auth", "certificate");
    lab_start(&lab);
    lab_arm(&lab, "C", 1);
    ck_assert_int_eq(lab_mitm_load(&lab, "C", NULL, &mitm, 0, NULL), 0);
    ck_assert_uint_eq(mitm.edits, 0);
    lab_agree(&lab, "C");
    kl_transcript_free(session.heard);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("downgrade");
    TCase *tc = tcase_create("downgrade");

    tcase_set_timeout(tc, 180);
    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_add_checked_fixture(tc, NULL, end);
    tcase_add_loop_test(tc, attack, 0, ATTACKS);
    tcase_add_test(tc, an_idle_one);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
