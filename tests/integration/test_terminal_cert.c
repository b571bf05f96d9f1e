/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Certificates that must not do, on both sides of a load: what a loader that wants terminals'
 * certificates refuses, and what a terminal refuses of a loader. Nothing of it costs an attempt.
 */
#include <check.h>
#include <openssl/ecdsa.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/cert.h"
#include "proto/transcript.h"
#include "tests/support/fakeloader.h"
#include "tests/support/lab_trust.h"
#include "tests/support/suite.h"

#define TERMINAL "T"
#define OTHER "OTHER" /* another terminal, with a good certificate of its own */
#define CLONE "CLONE" /* has the device key of T */
#define ROGUE "ROGUE" /* its certificate is good, its key another */
#define DEVICE "device.pem"

static struct lab lab;
static struct lab_issuer ca, ca2; /* ca2: of nobody's terminals */
static EVP_PKEY *device_key;      /* of T; its public half */
static X509 *work_cert, *device_cert;

/* ---- The centre ---- */

static void put_device(const char *serial, X509 *cert)
{
    char path[PATH_MAX];

    lab_write_cert(lab_terminal_file(&lab, serial, DEVICE, path), cert);
}

/* Its certificate stays, its key does not. */
static void make_rogue(void)
{
    char path[PATH_MAX], kept[PATH_MAX];

    lab_terminal(&lab, ROGUE, "tdes2");
    lab_device_certificate(&lab, ROGUE, "ca");
    lab_copy_file(lab_terminal_file(&lab, ROGUE, DEVICE, path), file_path(kept, lab.dir, DEVICE));
    ck_assert_int_eq(lab_terminal_sim(&lab, ROGUE, "device-key", "generate", "--replace", NULL), 0);
    lab_copy_file(kept, path);
}

static void make_clone(void)
{
    static const struct kl_rogue_profile good = {.crl_scope = KL_CRL_SCOPE_TERMINAL};
    X509 *cert = lab_terminal_cert(&ca, CLONE, device_key, &good);

    lab_clone_terminal(&lab, TERMINAL, CLONE);
    lab_register(&lab, CLONE, "tdes2");
    put_device(CLONE, cert);
    X509_free(cert);
}

static void found(void)
{
    char path[PATH_MAX], dir[PATH_MAX];

    lab_found_trust(&lab, "p-256", "hardened-ec", "p-256");
    lab_found_file_ca(&lab, "ca2", "p-256");
    lab_issuer_open(&lab, "ca", &ca);
    lab_issuer_open(&lab, "ca2", &ca2);
    work_cert =
        lab_read_cert(file_path(path, file_path(dir, lab.dir, "work"), LAB_WORK_KEY ".pem"));
    lab_begin(&lab, "certificates");
    lab_terminal(&lab, TERMINAL, "tdes2");
    lab_device_certificate(&lab, TERMINAL, "ca");
    lab_terminal(&lab, OTHER, "tdes2");
    lab_device_certificate(&lab, OTHER, "ca");
    device_cert = lab_read_cert(lab_terminal_file(&lab, TERMINAL, DEVICE, path));
    device_key = X509_get_pubkey(device_cert);
    make_clone();
    make_rogue();
    lab_start(&lab);
    lab_arm(&lab, TERMINAL, 1);
    ck_assert_int_eq(lab_load(&lab, TERMINAL, lab.port), 0);
    lab_stop(&lab);
}

static void abandon(void)
{
    X509_free(device_cert);
    X509_free(work_cert);
    EVP_PKEY_free(device_key);
    lab_issuer_close(&ca2);
    lab_issuer_close(&ca);
    lab_abandon(&lab);
}

static void begin(void)
{
    char path[PATH_MAX];

    lab_set(&lab, "policy", "terminal-auth", "certificate");
    lab_set(&lab, "certificates", "crl", file_path(path, lab.dir, "crl.pem"));
    lab_set(&lab, "certificates", "terminal-crl", file_path(path, lab.dir, "terminal-crl.pem"));
    put_device(TERMINAL, device_cert);
}

static void end(void)
{
    lab_end(&lab);
}

/* How many TMKs the store has of a terminal, and which one is in use there; 0 = none. */
struct holdings {
    size_t count;
    unsigned active;
};

static struct holdings look(const char *serial)
{
    struct lab_tmk store[LAB_TMK_MAX];
    struct holdings out = {.count = lab_store(&lab, serial, store)};
    const struct lab_tmk *active = lab_active(store, out.count);

    out.active = active != NULL ? active->version : 0;
    return out;
}

static void expect_unchanged(const char *serial, struct holdings before)
{
    struct holdings after = look(serial);

    ck_assert_uint_eq(after.count, before.count);
    ck_assert_uint_eq(after.active, before.active);
    if (before.active != 0) {
        lab_settled(&lab, serial, before.active);
    }
    lab_agree(&lab, serial);
}

/* A load, perhaps through somebody, that must fail: what the terminal says goes to *said. */
static void must_fail(const char *serial, struct lab_mitm *mitm, char **said)
{
    struct holdings before = look(serial);
    struct proc load;
    int status;

    lab_arm(&lab, serial, 3);
    if (mitm != NULL) {
        status = lab_mitm_load(&lab, serial, NULL, mitm, 1, said);
    } else {
        lab_load_start(&lab, serial, lab.port, NULL, &load);
        status = proc_wait(&load, LAB_LOAD_SECONDS);
        *said = file_read(load.err, NULL);
    }
    ck_assert_msg(status == 76, "status %d: %s", status, *said);
    expect_unchanged(serial, before);
}

/* It is the loader that refuses: it tells the terminal nothing, its log `detail`, and raises that
 * alarm. */
static void expect_refused(const char *serial, struct lab_mitm *mitm, const char *alarm,
                           const char *detail)
{
    char *said;

    must_fail(serial, mitm, &said);
    ck_assert_msg(strstr(said, "the loader answered Error refused;") != NULL, "%s", said);
    ck_assert_msg(lab_logged(&lab, detail, 5), "\"%s\": %s", detail,
                  file_read(lab.daemon.err, NULL));
    lab_await_alarm(&lab, serial, alarm, 1);
    ck_assert_uint_eq(lab_attempts(&lab, serial), 3);
    free(said);
}

/* ---- What the loader refuses ---- */

/* T's certificate, forged: by whom, for whom, and how. */
static const struct forged {
    const char *name;
    const struct lab_issuer *issuer;
    const char *serial;
    struct kl_rogue_profile profile;
    const char *detail; /* NULL: it is good */
} forgeries[] = {
    {"good", &ca, TERMINAL, {.crl_scope = KL_CRL_SCOPE_TERMINAL}, NULL},
    {"expired",
     &ca,
     TERMINAL,
     {.crl_scope = KL_CRL_SCOPE_TERMINAL, .from_days = -10, .to_days = -1},
     "expired"},
    {"later",
     &ca,
     TERMINAL,
     {.crl_scope = KL_CRL_SCOPE_TERMINAL, .from_days = 1, .to_days = 10},
     "not yet valid"},
    {"cross-root",
     &ca2,
     TERMINAL,
     {.crl_scope = KL_CRL_SCOPE_TERMINAL},
     "the terminal's certificate"},
    {"loader-eku",
     &ca,
     TERMINAL,
     {.crl_scope = KL_CRL_SCOPE_TERMINAL, .eku = "critical," KL_OID_EKU_LOADER},
     "extendedKeyUsage is not the terminal's"},
    {"both-ekus",
     &ca,
     TERMINAL,
     {.crl_scope = KL_CRL_SCOPE_TERMINAL,
      .eku = "critical," KL_OID_EKU_TERMINAL "," KL_OID_EKU_LOADER},
     "extendedKeyUsage holds 2"},
    {"key-usage",
     &ca,
     TERMINAL,
     {.crl_scope = KL_CRL_SCOPE_TERMINAL, .key_usage = "critical,digitalSignature,keyAgreement"},
     "keyUsage"},
    {"others-serial", &ca, OTHER, {.crl_scope = KL_CRL_SCOPE_TERMINAL}, OTHER},
    {"crl-of-loaders", &ca, TERMINAL, {.crl_scope = KL_CRL_SCOPE_LOADER}, "CRL"},
};
#define FORGERIES (sizeof forgeries / sizeof forgeries[0])

START_TEST(forged)
{
    const struct forged *row = &forgeries[_i];
    X509 *cert = lab_terminal_cert(row->issuer, row->serial, device_key, &row->profile);

    put_device(TERMINAL, cert);
    lab_start(&lab);
    if (row->detail != NULL) {
        expect_refused(TERMINAL, NULL, "certificate", row->detail);
    } else { /* so that it is the flaw that is refused, and not the forgery */
        lab_arm(&lab, TERMINAL, 1);
        ck_assert_int_eq(lab_load(&lab, TERMINAL, lab.port), 0);
        lab_agree(&lab, TERMINAL);
    }
    X509_free(cert);
}
END_TEST

/* Nothing, or what is good but not this terminal's. */
START_TEST(not_its_own)
{
    static const char *const details[] = {"the terminal shows no certificate",
                                          "is terminal " OTHER "'s, not",
                                          "keyUsage is not exactly digitalSignature"};
    char path[PATH_MAX], from[PATH_MAX];

    lab_terminal_file(&lab, TERMINAL, DEVICE, path);
    if (_i == 0) {
        ck_assert_int_eq(unlink(path), 0);
    } else if (_i == 1) {
        lab_copy_file(lab_terminal_file(&lab, OTHER, DEVICE, from), path);
    } else {
        put_device(TERMINAL, work_cert);
    }
    lab_start(&lab);
    expect_refused(TERMINAL, NULL, "certificate", details[_i]);
}
END_TEST

/* The CRL that says so is read on SIGHUP. */
START_TEST(revoked)
{
    char path[PATH_MAX];
    X509 *cert;

    lab_terminal(&lab, "LOST", "tdes2");
    lab_device_certificate(&lab, "LOST", "ca");
    cert = lab_read_cert(lab_terminal_file(&lab, "LOST", DEVICE, path));
    lab_start(&lab);
    lab_arm(&lab, "LOST", 1);
    ck_assert_int_eq(lab_load(&lab, "LOST", lab.port), 0);
    lab_revoke(&lab, "ca", cert);
    lab_publish_crl(&lab, "ca", "terminal");
    kill(lab.daemon.pid, SIGHUP);
    ck_assert(lab_logged(&lab, "event=reloaded", 20));
    expect_refused("LOST", NULL, "revoked", "rc=revoked");
    lab_arm(&lab, OTHER, 1); /* the others are as good as before */
    ck_assert_int_eq(lab_load(&lab, OTHER, lab.port), 0);
    X509_free(cert);
}
END_TEST

/* Where none is needed, one that is shown must be good all the same. */
START_TEST(optional)
{
    static const struct kl_rogue_profile expired = {.crl_scope = KL_CRL_SCOPE_TERMINAL,
                                                    .from_days = -10,
                                                    .to_days = -1};
    X509 *cert = lab_terminal_cert(&ca, TERMINAL, device_key, &expired);

    lab_set(&lab, "policy", "terminal-auth", "registered");
    lab_start(&lab);
    lab_terminal(&lab, "WITHOUT", "tdes2");
    lab_arm(&lab, "WITHOUT", 1);
    ck_assert_int_eq(lab_load(&lab, "WITHOUT", lab.port), 0);
    lab_arm(&lab, TERMINAL, 1);
    ck_assert_int_eq(lab_load(&lab, TERMINAL, lab.port), 0);
    lab_agree(&lab, TERMINAL);
    expect_refused(ROGUE, NULL, "verify", "the device key's signature");
    put_device(TERMINAL, cert);
    expect_refused(TERMINAL, NULL, "certificate", "expired");
    X509_free(cert);
}
END_TEST

/* A CRL that is out of date is as good as none. */
START_TEST(terminal_crl)
{
    static const struct {
        struct kl_rogue_crl_profile crl;
        const char *detail;
    } rows[] = {
        {{.scope = KL_CRL_SCOPE_TERMINAL, .from_days = -10, .to_days = -1}, "CRL"},
        {{.scope = KL_CRL_SCOPE_TERMINAL, .from_days = 1, .to_days = 10}, "CRL"},
        {{.scope = NULL}, "CRL"}, /* none at all */
    };
    char path[PATH_MAX] = "";

    if (rows[_i].crl.scope != NULL) {
        X509_CRL *crl = fake_new_crl(ca.root, ca.key, &rows[_i].crl);

        lab_write_crl(file_path(path, lab.run, "forged-crl.pem"), crl);
        X509_CRL_free(crl);
    }
    lab_set(&lab, "certificates", "terminal-crl", path);
    lab_start(&lab);
    expect_refused(TERMINAL, NULL, "certificate", rows[_i].detail);
}
END_TEST

START_TEST(same_device_key)
{
    lab_start(&lab);
    expect_refused(CLONE, NULL, "refused", "has the device key of terminal " TERMINAL);
}
END_TEST

/* ---- The signature in Randoms ---- */

/* A man in the middle at work on it. */
struct forger {
    EVP_PKEY *key; /* signs anew with it, unless NULL: then it puts in what is here, ... */
    size_t sig_len;
    uint8_t sig[KL_SIG_MAX];
    int only_listens; /* ... or keeps here what comes by */
    struct kl_transcript *t0;
};

/* r || s, as the protocol wants it. */
static int sign(EVP_PKEY *key, const uint8_t *in, size_t len, struct kl_randoms *randoms)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t der[128];
    const uint8_t *p = der;
    size_t der_len = sizeof der;
    ECDSA_SIG *sig = NULL;
    int ok = EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
             EVP_DigestSign(ctx, der, &der_len, in, len) == 1 &&
             (sig = d2i_ECDSA_SIG(NULL, &p, (long)der_len)) != NULL &&
             BN_bn2binpad(ECDSA_SIG_get0_r(sig), randoms->sig, 32) == 32 &&
             BN_bn2binpad(ECDSA_SIG_get0_s(sig), randoms->sig + 32, 32) == 32;

    randoms->sig_len = 64;
    ECDSA_SIG_free(sig);
    EVP_MD_CTX_free(ctx);
    return ok;
}

static int sign_anew(const struct forger *forger, struct kl_msg *msg)
{
    uint8_t der[KL_MSG_MAX], t0[KL_HASH_LEN], in[KL_PROOF_INPUT_MAX];
    struct kl_err err = KL_ERR_INIT;
    size_t len;

    msg->u.randoms.sig_len = 0;
    return kl_msg_encode(msg, der, &len, &err) == KL_OK &&
           kl_transcript_hash(forger->t0, t0, &err) == KL_OK &&
           sign(forger->key, in, kl_suite_proof_input(t0, der, len, in), &msg->u.randoms);
}

static int edit_proof(struct kl_msg *msg, const uint8_t *der, size_t len, void *arg)
{
    struct forger *forger = arg;
    struct kl_randoms *randoms = &msg->u.randoms;
    struct kl_err err = KL_ERR_INIT;

    if (msg->type == KL_MSG_HELLO || msg->type == KL_MSG_CERTIFICATE) {
        (void)!kl_transcript_add(forger->t0, der, len, &err);
    }
    if (msg->type != KL_MSG_RANDOMS) {
        return 0;
    }
    if (forger->key != NULL) {
        return sign_anew(forger, msg);
    }
    if (forger->only_listens) {
        forger->sig_len = randoms->sig_len;
        memcpy(forger->sig, randoms->sig, sizeof forger->sig);
        return 0;
    }
    randoms->sig_len = forger->sig_len;
    memcpy(randoms->sig, forger->sig, sizeof forger->sig);
    return 1;
}

static void listen_in(struct forger *forger, struct lab_mitm *mitm)
{
    struct kl_err err = KL_ERR_INIT;

    kl_transcript_free(forger->t0);
    forger->t0 = NULL;
    ck_assert_int_eq(kl_transcript_new(&forger->t0, &err), KL_OK);
    *mitm = (struct lab_mitm){.edit = edit_proof, .arg = forger};
}

START_TEST(proof_by_another_key)
{
    static const struct kl_rogue_profile profile = {.crl_scope = KL_CRL_SCOPE_TERMINAL};
    struct forger forger = {.key = EVP_EC_gen("P-256")};
    X509 *cert = lab_terminal_cert(&ca, TERMINAL, forger.key, &profile);
    struct lab_mitm mitm;
    char *said;

    lab_start(&lab);
    expect_refused(ROGUE, NULL, "verify", "the device key's signature");
    listen_in(&forger, &mitm);
    expect_refused(TERMINAL, &mitm, "verify", "the device key's signature");
    /* With the certificate that goes with it the loader takes what he signs: it was the key. */
    put_device(TERMINAL, cert);
    listen_in(&forger, &mitm);
    lab_arm(&lab, TERMINAL, 1);
    ck_assert_int_eq(lab_mitm_load(&lab, TERMINAL, NULL, &mitm, 1, &said), 76);
    ck_assert_msg(strstr(said, "T1 differs") != NULL, "%s", said);
    lab_agree(&lab, TERMINAL);
    free(said);
    kl_transcript_free(forger.t0);
    X509_free(cert);
    EVP_PKEY_free(forger.key);
}
END_TEST

/* The proof of one load is none in the next. */
START_TEST(proof_of_another_load)
{
    struct forger forger = {.only_listens = 1};
    struct lab_mitm mitm;

    lab_start(&lab);
    lab_arm(&lab, TERMINAL, 1);
    listen_in(&forger, &mitm);
    ck_assert_int_eq(lab_mitm_load(&lab, TERMINAL, NULL, &mitm, 0, NULL), 0);
    ck_assert_uint_eq(forger.sig_len, 64);
    forger.only_listens = 0;
    listen_in(&forger, &mitm);
    expect_refused(TERMINAL, &mitm, "verify", "the device key's signature");
    kl_transcript_free(forger.t0);
}
END_TEST

/* ---- What the terminal refuses ---- */

/* A loader, or who poses as one, whose certificate or CRL is not as it must be. */
static const struct bad_loader {
    const char *name;
    int with_device_certificate; /* in the place of AcquireWCRT */
    int no_crl;
    const struct lab_issuer *issuer; /* of the CRL that takes the place of the loader's; or NULL */
    struct kl_rogue_crl_profile crl;
    int revoked; /* that CRL lists AcquireWCRT */
    const char *says;
} bad_loaders[] = {
    {"terminal-certificate", 1, 0, NULL, {0}, 0, "keyUsage"},
    {"terminal-certificate-and-crl", 1, 0, &ca, {.scope = KL_CRL_SCOPE_TERMINAL}, 0, "keyUsage"},
    {"revoked", 0, 0, &ca, {0}, 1, "is revoked"},
    {"stale-crl", 0, 0, &ca, {.from_days = -10, .to_days = -1}, 0, "CRL: is out of date"},
    {"later-crl", 0, 0, &ca, {.from_days = 1, .to_days = 10}, 0, "CRL: "},
    {"crl-of-another-ca", 0, 0, &ca2, {0}, 0, "CRL: "},
    {"crl-of-terminals", 0, 0, &ca, {.scope = KL_CRL_SCOPE_TERMINAL}, 0, "CRL: "},
    {"no-crl", 0, 1, NULL, {0}, 0, "CRL"},
};
#define BAD_LOADERS (sizeof bad_loaders / sizeof bad_loaders[0])

struct poser {
    struct kl_bytes cert, crl; /* data NULL: the loader's own */
    int no_crl;
};

static int edit_certificate(struct kl_msg *msg, const uint8_t *der, size_t len, void *arg)
{
    const struct poser *poser = arg;
    struct kl_certificate *certificate = &msg->u.certificate;

    (void)der;
    (void)len;
    if (msg->type != KL_MSG_CERTIFICATE) {
        return 0;
    }
    if (poser->cert.data != NULL) {
        certificate->chain[0] = poser->cert;
    }
    if (poser->crl.data != NULL || poser->no_crl) {
        certificate->crl = poser->crl;
    }
    return 1;
}

START_TEST(bad_loader)
{
    const struct bad_loader *row = &bad_loaders[_i];
    struct poser poser = {.no_crl = row->no_crl};
    struct lab_mitm mitm = {.edit = edit_certificate, .arg = &poser};
    unsigned char *cert = NULL, *crl_der = NULL;
    X509_CRL *crl = NULL;
    char *said;

    if (row->with_device_certificate) {
        poser.cert.len = (size_t)i2d_X509(device_cert, &cert);
        poser.cert.data = cert;
    }
    if (row->issuer != NULL) {
        struct kl_rogue_crl_profile profile = row->crl;

        profile.revoked = row->revoked ? work_cert : NULL;
        crl = fake_new_crl(row->issuer->root, row->issuer->key, &profile);
        poser.crl.len = (size_t)i2d_X509_CRL(crl, &crl_der);
        poser.crl.data = crl_der;
    }
    lab_start(&lab);
    must_fail(TERMINAL, &mitm, &said);
    ck_assert_msg(strstr(said, row->says) != NULL, "%s: %s", row->name, said);
    lab_await_alarm(&lab, TERMINAL, "peer-refused", 1);
    ck_assert_uint_eq(lab_attempts(&lab, TERMINAL), 3);
    OPENSSL_free(cert);
    OPENSSL_free(crl_der);
    X509_CRL_free(crl);
    free(said);
}
END_TEST

/* Such a loader does not even start. */
START_TEST(loader_with_bad_crl)
{
    static const struct {
        int none, revoked;
        struct kl_rogue_crl_profile crl;
        const char *says;
    } rows[] = {
        {0, 1, {0}, "rc=revoked"},
        {0, 0, {.from_days = -10, .to_days = -1}, "has expired"},
        {1, 0, {0}, "CRL"},
    };
    struct kl_rogue_crl_profile profile = rows[_i].crl;
    char path[PATH_MAX] = "", *log;

    if (!rows[_i].none) {
        profile.revoked = rows[_i].revoked ? work_cert : NULL;
        X509_CRL *crl = fake_new_crl(ca.root, ca.key, &profile);
        lab_write_crl(file_path(path, lab.run, "bad-crl.pem"), crl);
        X509_CRL_free(crl);
    }
    lab_set(&lab, "certificates", "crl", path);
    ck_assert_int_eq(lab_start_fails(&lab), 76);
    log = file_read(lab.daemon.err, NULL);
    ck_assert_msg(strstr(log, rows[_i].says) != NULL, "%s", log);
    free(log);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("terminal-cert");
    TCase *tc = tcase_create("terminal-cert");

    tcase_set_timeout(tc, 180);
    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_add_checked_fixture(tc, begin, end);
    tcase_add_loop_test(tc, forged, 0, FORGERIES);
    tcase_add_loop_test(tc, not_its_own, 0, 3);
    tcase_add_test(tc, revoked);
    tcase_add_test(tc, optional);
    tcase_add_loop_test(tc, terminal_crl, 0, 3);
    tcase_add_test(tc, same_device_key);
    tcase_add_test(tc, proof_by_another_key);
    tcase_add_test(tc, proof_of_another_load);
    tcase_add_loop_test(tc, bad_loader, 0, BAD_LOADERS);
    tcase_add_loop_test(tc, loader_with_bad_crl, 0, 3);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
