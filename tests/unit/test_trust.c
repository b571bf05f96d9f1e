/* SPDX-License-Identifier: BSD-2-Clause */
/* The certificates in force: what is read, what is left out, what is refused, and who gets what. */
#include <check.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/cli.h"
#include "conf/log.h"
#include "daemon/loader/trust.h"
#include "tests/support/hsm.h"
#include "tests/support/pki.h"
#include "tests/support/suite.h"

static char dir[64], root_path[96], work_path[96], crl_path[96], troot_path[96], tcrl_path[96];
static char none[] = "";
static struct kl_config config;
static struct kl_trust *trust;
static struct kl_err err;
static struct pki rsa, ec, terminal;

static void write_pem(const char *path, BIO *bio)
{
    char *text;
    long len = BIO_get_mem_data(bio, &text);

    ck_assert_int_eq(kl_file_write(path, text, (size_t)len, 0644, 1, &err), KL_OK);
    BIO_free(bio);
}

/* Certificates, each NULL = left out. */
static void put_certs(const char *path, X509 *a, X509 *b)
{
    BIO *bio = BIO_new(BIO_s_mem());

    ck_assert(a == NULL || PEM_write_bio_X509(bio, a) == 1);
    ck_assert(b == NULL || PEM_write_bio_X509(bio, b) == 1);
    write_pem(path, bio);
}

static void put_crls(const char *path, X509_CRL *a, X509_CRL *b)
{
    BIO *bio = BIO_new(BIO_s_mem());

    ck_assert(a == NULL || PEM_write_bio_X509_CRL(bio, a) == 1);
    ck_assert(b == NULL || PEM_write_bio_X509_CRL(bio, b) == 1);
    write_pem(path, bio);
}

static void put_chain(const char *label, const struct pki *pki)
{
    char path[PATH_MAX];

    ck_assert_int_eq(kl_trust_path(&config, label, path, &err), KL_OK);
    put_certs(path, pki->leaf_cert, pki->use_inter ? pki->inter_cert : NULL);
}

/* Two acquirers' roots of the same name, a chain and a CRL under each. */
static void make(void)
{
    pki_make(&rsa);
    pki_make(&ec);
    pki_make(&terminal);
    put_certs(root_path, rsa.root_cert, ec.root_cert);
    put_crls(crl_path, rsa.leaf_crl, ec.leaf_crl);
    put_certs(troot_path, terminal.root_cert, NULL);
    put_crls(tcrl_path, terminal.leaf_crl, NULL);
    put_chain("rsa", &rsa);
    put_chain("ec", &ec);
}

static void setup(void)
{
    static const struct kl_ini_list suites = {2,
                                              {KL_SUITE_HARDENED_EC - 1,
                                               KL_SUITE_HARDENED_RSA - 1}};

    strcpy(dir, "/tmp/kl-trust-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(root_path, sizeof(root_path), "%s/root.pem", dir);
    snprintf(work_path, sizeof(work_path), "%s/work", dir);
    snprintf(crl_path, sizeof(crl_path), "%s/crl.pem", dir);
    snprintf(troot_path, sizeof(troot_path), "%s/troot.pem", dir);
    snprintf(tcrl_path, sizeof(tcrl_path), "%s/tcrl.pem", dir);
    ck_assert_int_eq(mkdir(work_path, 0755), 0);
    config = (struct kl_config){.root = root_path,
                                .work = work_path,
                                .crl = crl_path,
                                .terminal_root = troot_path,
                                .terminal_crl = tcrl_path,
                                .strength_enforce = 1,
                                .suites = suites};
    err = (struct kl_err)KL_ERR_INIT;
    trust = NULL;
    pki_plan(&rsa);
    pki_use_crl(&rsa);
    pki_plan(&ec);
    pki_use_ec(&ec, pki_keys.p256);
    pki_use_crl(&ec);
    pki_plan_terminal(&terminal);
    pki_use_crl(&terminal);
}

static void teardown(void)
{
    kl_trust_free(trust);
    pki_wipe(&rsa);
    pki_wipe(&ec);
    pki_wipe(&terminal);
    test_rm_rf(dir);
}

static enum kl_rc load(void)
{
    return kl_trust_load(&config, PKI_NOW, &trust, &err);
}

/* ---- What is read ---- */

START_TEST(both_chains)
{
    const struct kl_trust_entry *entry;
    uint8_t anchor[KL_HASH_LEN];
    uint8_t *der = NULL;
    int len;

    make();
    ck_assert_msg(load() == KL_OK, "%s", err.text);
    ck_assert_uint_eq(kl_trust_count(trust), 2);
    entry = kl_trust_at(trust, 0);
    ck_assert_str_eq(entry->label, "ec");
    ck_assert_int_eq(entry->type, KL_KEY_EC);
    ck_assert_uint_eq(entry->bits, 256);
    ck_assert_int_eq(kl_pubkey_hash(pki_keys.ec_root, anchor, &err), KL_OK);
    ck_assert_mem_eq(entry->anchor, anchor, KL_HASH_LEN);
    ck_assert(entry->from == PKI_NOW - PKI_DAY && entry->until == PKI_NOW + PKI_DAY);
    len = i2d_X509_CRL(ec.leaf_crl, &der);
    ck_assert_uint_eq(entry->crl.len, (size_t)len);
    ck_assert_mem_eq(entry->crl.data, der, (size_t)len);
    OPENSSL_free(der);
    der = NULL;
    entry = kl_trust_at(trust, 1);
    ck_assert_str_eq(entry->label, "rsa");
    len = i2d_X509(rsa.leaf_cert, &der);
    ck_assert_uint_eq(entry->chain_count, 1);
    ck_assert_uint_eq(entry->chain[0].len, (size_t)len);
    ck_assert_mem_eq(entry->chain[0].data, der, (size_t)len);
    OPENSSL_free(der);
}
END_TEST

/* A certificate that names no CRL does without one; with an intermediate, both are sent. */
START_TEST(without_crl)
{
    rsa.leaf.cdp = NULL;
    pki_use_inter(&rsa);
    make();
    config.crl = none;
    ck_assert_int_eq(unlink(crl_path), 0);
    ck_assert_int_eq(load(), KL_ERR_CERT); /* ec needs its own */
    ck_assert_ptr_nonnull(strstr(err.text, "ec.pem"));
    snprintf(root_path, sizeof(root_path), "%s/work/ec.pem", dir);
    ck_assert_int_eq(unlink(root_path), 0);
    snprintf(root_path, sizeof(root_path), "%s/root.pem", dir);
    err = (struct kl_err)KL_ERR_INIT;
    ck_assert_msg(load() == KL_OK, "%s", err.text);
    ck_assert_uint_eq(kl_trust_at(trust, 0)->chain_count, 2);
    ck_assert_uint_eq(kl_trust_at(trust, 0)->crl.len, 0);
}
END_TEST

/* A CRL of thousands of terminals, of the size that a CA makes. */
START_TEST(long_crl)
{
    struct stat st;

    terminal.crl.others = 6000;
    make();
    ck_assert_int_eq(stat(tcrl_path, &st), 0);
    ck_assert(st.st_size > KL_CRL_FILE_MAX / 4 && st.st_size <= KL_CRL_FILE_MAX);
    ck_assert_msg(load() == KL_OK, "%s", err.text);
}
END_TEST

/* ---- Who signed what ---- */

/* A key that came with the chain is asked nothing, however good what it signed: nobody has measured
 * it yet. */
START_TEST(issuer_is_a_root)
{
    make();
    ck_assert_ptr_eq(kl_trust_issuer(rsa.chain, rsa.roots), rsa.root_cert);
    ck_assert_ptr_null(kl_trust_issuer(rsa.chain, ec.roots));
    pki_wipe(&rsa);
    pki_plan(&rsa);
    pki_use_inter(&rsa);
    rsa.inter.key = rsa.leaf.signer = pki_keys.weak;
    pki_make(&rsa);
    ck_assert_int_eq(sk_X509_num(rsa.chain), 2);
    ck_assert_ptr_null(kl_trust_issuer(rsa.chain, rsa.roots));
}
END_TEST

/* ---- What time or a CRL has done ---- */

static void expire(void)
{
    rsa.leaf.to = -1;
}
static void not_yet(void)
{
    rsa.leaf.from = 10;
}
static void revoke_it(void)
{
    rsa.crl.lists_leaf = 1;
}
static void stale_crl(void)
{
    rsa.crl.to = -1;
}
static void expire_root(void)
{
    rsa.root.to = -1;
}

static const struct {
    void (*flaw)(void);
    const char *says;
    enum kl_rc rc;
} passing[] = {
    {expire, "expired", KL_ERR_CERT},       {not_yet, "not in force before", KL_ERR_CERT},
    {revoke_it, "revoked", KL_ERR_REVOKED}, {stale_crl, "expired", KL_ERR_CERT},
    {expire_root, "expired", KL_ERR_CERT},
};

START_TEST(is_left_out)
{
    passing[_i].flaw();
    make();
    ck_assert_msg(load() == KL_OK, "%s", err.text);
    ck_assert_uint_eq(kl_trust_count(trust), 1);
    ck_assert_str_eq(kl_trust_at(trust, 0)->label, "ec");
}
END_TEST

START_TEST(none_is_left)
{
    char path[PATH_MAX];

    passing[_i].flaw();
    make();
    ck_assert_int_eq(kl_trust_path(&config, "ec", path, &err), KL_OK);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(load(), passing[_i].rc);
    ck_assert_msg(strstr(err.text, passing[_i].says) != NULL, "%s", err.text);
    ck_assert_msg(strstr(err.text, "rsa.pem") != NULL, "%s", err.text);
}
END_TEST

/* That one is revoked counts for more than that the other is out of date, however they are called.
 */
START_TEST(revoked_or_out_of_date)
{
    static const char *const names[][2] = {{"a", "b"}, {"b", "a"}};
    char path[PATH_MAX], other[PATH_MAX];

    rsa.crl.lists_leaf = 1;
    ec.leaf.to = -1;
    make();
    ck_assert_int_eq(kl_trust_path(&config, "rsa", path, &err), KL_OK);
    ck_assert_int_eq(kl_trust_path(&config, names[_i][0], other, &err), KL_OK);
    ck_assert_int_eq(rename(path, other), 0);
    ck_assert_int_eq(kl_trust_path(&config, "ec", path, &err), KL_OK);
    ck_assert_int_eq(kl_trust_path(&config, names[_i][1], other, &err), KL_OK);
    ck_assert_int_eq(rename(path, other), 0);
    ck_assert_int_eq(load(), KL_ERR_REVOKED);
}
END_TEST

/* ---- What is refused ---- */

static void no_root(void)
{
    unlink(root_path);
}
static void leaf_as_root(void)
{
    put_certs(root_path, rsa.leaf_cert, NULL);
}
static void no_crl_file(void)
{
    unlink(crl_path);
}
static void crl_twice(void)
{
    put_crls(crl_path, rsa.leaf_crl, rsa.leaf_crl);
}
static void foreign_crl(void)
{
    put_certs(root_path, rsa.root_cert, NULL);
}
static void missing_crl(void)
{
    put_crls(crl_path, rsa.leaf_crl, NULL);
}
static void terminals_crl(void)
{
    put_crls(crl_path, terminal.leaf_crl, NULL);
}
static void loaders_crl(void)
{
    put_crls(tcrl_path, rsa.leaf_crl, NULL);
}
static void no_pem(void)
{
    ck_assert_int_eq(kl_file_write(crl_path, "x", 1, 0644, 1, &err), KL_OK);
}
static void nul_in_crl(void)
{
    ck_assert_int_eq(kl_file_write(crl_path, "\0\n", 2, 0644, 1, &err), KL_OK);
}
static void no_directory(void)
{
    test_rm_rf(work_path);
}
static void empty_directory(void)
{
    no_directory();
    ck_assert_int_eq(mkdir(work_path, 0755), 0);
}
static void terminals_chain(void)
{
    put_chain("rsa", &terminal);
}
static void no_certificate(void)
{
    char path[PATH_MAX];
    ck_assert_int_eq(kl_trust_path(&config, "rsa", path, &err), KL_OK);
    ck_assert_int_eq(kl_file_write(path, "x\n", 2, 0644, 1, &err), KL_OK);
}
static void work_file(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", work_path, name);
    put_certs(path, rsa.leaf_cert, NULL);
}
static void bad_label(void)
{
    work_file("a b.pem");
}
static void long_label(void)
{
    work_file("x2345678901234567890123456789012345678901234567890123456789012345.pem");
}
static void link_to_chain(void)
{
    char from[PATH_MAX];
    snprintf(from, sizeof(from), "%s/link.pem", work_path);
    ck_assert_int_eq(symlink("rsa.pem", from), 0);
}
static void too_many(void)
{
    char name[32];
    for (int i = 0; i < KL_TRUST_MAX - 1; i++) {
        snprintf(name, sizeof(name), "k%d.pem", i);
        work_file(name);
    }
}

static const struct {
    void (*flaw)(void);
    enum kl_rc rc;
    const char *says;
} faults[] = {
    {no_root, KL_ERR_NO_FILE, "root.pem"},
    {leaf_as_root, KL_ERR_CERT, "no root"},
    {no_crl_file, KL_ERR_NO_FILE, "crl install"},
    {crl_twice, KL_ERR_CERT, "twice"},
    {foreign_crl, KL_ERR_CERT, "none of the roots"},
    {missing_crl, KL_ERR_CERT, "ec.pem"},
    {terminals_crl, KL_ERR_CERT, "crl.pem"},
    {loaders_crl, KL_ERR_CERT, "tcrl.pem"},
    {no_pem, KL_ERR_CERT, "crl.pem"},
    {nul_in_crl, KL_ERR_CERT, "NUL"},
    {no_directory, KL_ERR_NO_FILE, "work"},
    {empty_directory, KL_ERR_NO_FILE, "cert install"},
    {terminals_chain, KL_ERR_CERT, "rsa.pem"},
    {no_certificate, KL_ERR_CERT, "rsa.pem"},
    {bad_label, KL_ERR_CERT, "a b.pem"},
    {long_label, KL_ERR_CERT, "name of a key"},
    {link_to_chain, KL_ERR_CERT, "not a regular file"},
    {too_many, KL_ERR_CERT, "more than 16"},
};

START_TEST(is_refused)
{
    make();
    faults[_i].flaw();
    ck_assert_msg(load() == faults[_i].rc, "%s: %s", kl_rc_name(err.rc), err.text);
    ck_assert_msg(strstr(err.text, faults[_i].says) != NULL, "%s", err.text);
    ck_assert_ptr_null(trust);
}
END_TEST

/* Temporary files of a write that was cut off, editors' copies and the like serve nobody. */
START_TEST(strays)
{
    struct kl_trust_labels labels;

    make();
    work_file("rsa.pem.AbCdEf");
    work_file("README");
    work_file(".pem");
    ck_assert_msg(load() == KL_OK, "%s", err.text);
    ck_assert_int_eq(kl_trust_labels(&config, &labels, &err), KL_OK);
    ck_assert_uint_eq(labels.count, 2);
}
END_TEST

/* ---- The HSM's keys ---- */

static struct kl_loader_key keys[3];

static void set_keys(void)
{
    keys[0] = (struct kl_loader_key){"rsa", KL_SUITE_HARDENED_RSA, KL_OAEP_SHA256, pki_keys.leaf};
    keys[1] = (struct kl_loader_key){"other", KL_SUITE_CLASSIC, KL_OAEP_SHA1, pki_keys.other};
    keys[2] = (struct kl_loader_key){"ec", KL_SUITE_HARDENED_EC, KL_OAEP_SHA1, pki_keys.p256};
}

static enum kl_rc bind(size_t count)
{
    return kl_trust_bind(trust, &config, keys, count, &err);
}

START_TEST(binding)
{
    make();
    set_keys();
    ck_assert_msg(load() == KL_OK, "%s", err.text);
    ck_assert_int_eq(bind(2), KL_ERR_KEY);
    ck_assert_ptr_nonnull(strstr(err.text, "\"ec\""));
    ck_assert_int_eq(bind(3), KL_OK);
    ck_assert_int_eq(kl_trust_at(trust, 0)->suite, KL_SUITE_HARDENED_EC);
    ck_assert_int_eq(kl_trust_at(trust, 1)->suite, KL_SUITE_HARDENED_RSA);
    ck_assert_int_eq(kl_trust_at(trust, 1)->oaep_hash, KL_OAEP_SHA256);
    keys[0].public_key = pki_keys.other;
    ck_assert_int_eq(bind(3), KL_ERR_CERT);
    ck_assert_ptr_nonnull(strstr(err.text, "rsa.pem is not the certificate"));
    set_keys();
    config.suites = (struct kl_ini_list){1, {KL_SUITE_CLASSIC - 1}};
    ck_assert_int_eq(bind(3), KL_ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.text, "[policy] suites"));
}
END_TEST

/* ---- Which chain for a terminal ---- */

static struct kl_hello hello;

static void ready(void)
{
    set_keys();
    ck_assert_msg(load() == KL_OK, "%s", err.text);
    ck_assert_msg(bind(3) == KL_OK, "%s", err.text);
    hello = (struct kl_hello){
        .suite_count = 2,
        .suites = {KL_SUITE_HARDENED_RSA, KL_SUITE_HARDENED_EC},
        .serial = "SN-1",
    };
}

static void expect(const char *label, enum kl_alg alg)
{
    const struct kl_trust_entry *entry = NULL;

    ck_assert_msg(kl_trust_pick(trust, &config, &hello, alg, PKI_NOW, &entry, &err) == KL_OK, "%s",
                  err.text);
    ck_assert_str_eq(entry->label, label);
}

static void expect_none(enum kl_rc rc, const char *says, enum kl_alg alg, time_t now)
{
    const struct kl_trust_entry *entry = NULL;

    ck_assert_int_eq(kl_trust_pick(trust, &config, &hello, alg, now, &entry, &err), rc);
    ck_assert_msg(strstr(err.text, says) != NULL, "%s", err.text);
    ck_assert_ptr_null(entry);
}

/* The loader's order counts, not the terminal's; then what the terminal has, trusts and needs. */
START_TEST(picks)
{
    make();
    ready();
    expect("ec", KL_ALG_TDES2);
    config.suites = (struct kl_ini_list){2, {KL_SUITE_HARDENED_RSA - 1, KL_SUITE_HARDENED_EC - 1}};
    expect("rsa", KL_ALG_TDES2);
    expect("ec", KL_ALG_AES128); /* RSA-2048 is too weak */
    expect_none(KL_ERR_STRENGTH, "aes192", KL_ALG_AES192, PKI_NOW);
    config.strength_enforce = 0;
    expect("rsa", KL_ALG_AES192);
    config.strength_enforce = 1;
    hello.suite_count = 1;
    expect_none(KL_ERR_STRENGTH, "RSA-2048", KL_ALG_AES128, PKI_NOW);
    hello.suites[0] = KL_SUITE_CLASSIC;
    expect_none(KL_ERR_UNSUPPORTED, "no suite in common", KL_ALG_TDES2, PKI_NOW);
    hello.suites[0] = KL_SUITE_HARDENED_EC;
    hello.anchor_count = 1;
    expect_none(KL_ERR_UNSUPPORTED, "none of the roots", KL_ALG_TDES2, PKI_NOW);
    ck_assert_int_eq(kl_pubkey_hash(pki_keys.ec_root, hello.anchors[0], &err), KL_OK);
    expect("ec", KL_ALG_TDES2);
    hello.suite_count = 2;
    hello.suites[1] = KL_SUITE_HARDENED_RSA;
    expect("ec", KL_ALG_TDES2); /* although rsa comes first, since it leads to another root */
    expect_none(KL_ERR_UNAVAILABLE, "expired", KL_ALG_TDES2, PKI_NOW + PKI_DAY + 1);
}
END_TEST

/* Rotation: of two that would do, the one that begins last. */
START_TEST(picks_the_newest)
{
    struct pki newer;

    pki_plan(&newer);
    newer.leaf.key = pki_keys.other;
    newer.leaf.from = -PKI_DAY / 2;
    pki_make(&newer);
    make();
    put_chain("other", &newer);
    set_keys();
    keys[1].suite = KL_SUITE_HARDENED_RSA;
    ck_assert_msg(load() == KL_OK, "%s", err.text);
    ck_assert_msg(bind(3) == KL_OK, "%s", err.text);
    hello = (struct kl_hello){.suite_count = 1, .suites = {KL_SUITE_HARDENED_RSA}};
    expect("other", KL_ALG_TDES2);
    pki_wipe(&newer);
}
END_TEST

/* ---- Terminals ---- */

static enum kl_rc verify_terminal(X509 *cert, const char *serial)
{
    uint8_t *der = NULL;
    int len = i2d_X509(cert, &der);
    EVP_PKEY *key = NULL;
    enum kl_rc rc;

    hello = (struct kl_hello){.chain_count = 1, .chain = {{der, (size_t)len}}};
    strcpy(hello.serial, serial);
    err = (struct kl_err)KL_ERR_INIT;
    rc = kl_trust_terminal(trust, &hello, PKI_NOW, &key, &err);
    ck_assert((rc == KL_OK) == (key != NULL));
    if (rc == KL_OK) {
        ck_assert_int_eq(EVP_PKEY_eq(key, X509_get0_pubkey(cert)), 1);
    }
    EVP_PKEY_free(key);
    OPENSSL_free(der);
    return rc;
}

START_TEST(terminals)
{
    EVP_PKEY *key = NULL;
    static const uint8_t junk[] = {0x30, 0x00};

    make();
    ck_assert_msg(load() == KL_OK, "%s", err.text);
    ck_assert(kl_trust_knows_terminals(trust));
    ck_assert_msg(verify_terminal(terminal.leaf_cert, "SN-1") == KL_OK, "%s", err.text);
    ck_assert_int_eq(verify_terminal(terminal.leaf_cert, "SN-2"), KL_ERR_CERT);
    ck_assert_int_eq(verify_terminal(rsa.leaf_cert, "SN-1"), KL_ERR_CERT);
    hello.chain_count = 0;
    ck_assert_int_eq(kl_trust_terminal(trust, &hello, PKI_NOW, &key, &err), KL_ERR_CERT);
    hello.chain_count = 1;
    hello.chain[0] = (struct kl_bytes){junk, sizeof(junk)};
    ck_assert_int_eq(kl_trust_terminal(trust, &hello, PKI_NOW, &key, &err), KL_ERR_CERT);
    ck_assert_ptr_null(key);
}
END_TEST

START_TEST(revoked_terminal)
{
    terminal.crl.lists_leaf = 1;
    make();
    ck_assert_msg(load() == KL_OK, "%s", err.text);
    ck_assert_int_eq(verify_terminal(terminal.leaf_cert, "SN-1"), KL_ERR_REVOKED);
}
END_TEST

/* Taking the CRL away does not help a terminal whose certificate names one, and an old one, which
 * is no reason not to start, lets nobody in. */
START_TEST(terminal_without_crl)
{
    terminal.crl.to = _i == 0 ? PKI_DAY : -1;
    make();
    if (_i == 0) {
        config.terminal_crl = none;
    }
    ck_assert_msg(load() == KL_OK, "%s", err.text);
    ck_assert_int_eq(verify_terminal(terminal.leaf_cert, "SN-1"), KL_ERR_CERT);
}
END_TEST

START_TEST(no_terminal_roots)
{
    make();
    config.terminal_root = config.terminal_crl = none;
    ck_assert_msg(load() == KL_OK, "%s", err.text);
    ck_assert(!kl_trust_knows_terminals(trust));
}
END_TEST

/* ---- Life ---- */

START_TEST(references)
{
    struct kl_trust *held;

    make();
    ck_assert_msg(load() == KL_OK, "%s", err.text);
    held = kl_trust_ref(trust);
    kl_trust_free(trust);
    trust = held;
    ck_assert_uint_eq(kl_trust_count(trust), 2); /* still there */
}
END_TEST

START_TEST(warnings)
{
    char path[96], *log = NULL;
    size_t len;
    int saved = dup(STDERR_FILENO);

    rsa.leaf.to = 40L * PKI_DAY;
    rsa.crl.to = rsa.root.to = ec.leaf.to = ec.crl.to = ec.root.to = 40L * PKI_DAY;
    terminal.root.to = terminal.crl.to = 40L * PKI_DAY;
    rsa.leaf.to = 29L * PKI_DAY;
    terminal.crl.to = -PKI_DAY;
    make();
    ck_assert_msg(load() == KL_OK, "%s", err.text);
    snprintf(path, sizeof(path), "%s/log", dir);
    ck_assert_ptr_nonnull(freopen(path, "w", stderr));
    kl_log_setup("test", KL_LOG_DEBUG, KL_LOG_STDERR);
    kl_trust_warn(trust, PKI_NOW);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    ck_assert_int_eq(kl_file_read(path, 65536, &log, &len, &err), KL_OK);
    ck_assert_ptr_nonnull(strstr(log, "level=warn event=certificate-expires"));
    ck_assert_ptr_nonnull(strstr(log, "CN=Loader"));
    ck_assert_ptr_nonnull(strstr(log, "days=29"));
    ck_assert_ptr_nonnull(strstr(log, "level=error event=crl-expires name=terminal"));
    ck_assert_ptr_null(strstr(log, "name=loader"));
    ck_assert_ptr_null(strstr(log, "CN=Root"));
    free(log);
}
END_TEST

#define ROWS(table) (int)(sizeof(table) / sizeof((table)[0]))

int main(void)
{
    Suite *suite = suite_create("trust");
    TCase *tc = tcase_create("trust");
    int failed;

    pki_make_keys();
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, both_chains);
    tcase_add_test(tc, without_crl);
    tcase_add_test(tc, long_crl);
    tcase_add_test(tc, issuer_is_a_root);
    tcase_add_loop_test(tc, is_left_out, 0, ROWS(passing));
    tcase_add_loop_test(tc, none_is_left, 0, ROWS(passing));
    tcase_add_loop_test(tc, revoked_or_out_of_date, 0, 2);
    tcase_add_loop_test(tc, is_refused, 0, ROWS(faults));
    tcase_add_test(tc, strays);
    tcase_add_test(tc, binding);
    tcase_add_test(tc, picks);
    tcase_add_test(tc, picks_the_newest);
    tcase_add_test(tc, terminals);
    tcase_add_test(tc, revoked_terminal);
    tcase_add_loop_test(tc, terminal_without_crl, 0, 2);
    tcase_add_test(tc, no_terminal_roots);
    tcase_add_test(tc, references);
    tcase_add_test(tc, warnings);
    suite_add_tcase(suite, tc);
    failed = test_run(suite);
    pki_free_keys();
    return failed;
}
