/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CRLs: good ones and, one flaw at a time, bad ones; what a listed certificate is worth, and one
 * that asks for a CRL and gets none.
 */
#include <check.h>
#include <limits.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/certfile.h"
#include "proto/cert.h"
#include "tests/support/pki.h"
#include "tests/support/suite.h"

/* ---- Plans ---- */

static void none(struct pki *pki)
{
    (void)pki;
}
static void not_asked_for(struct pki *pki)
{
    pki->leaf.cdp = NULL;
}
static void asked_for_critically(struct pki *pki)
{
    pki->leaf.cdp = "critical,URI:" KL_CRL_SCOPE_LOADER;
}
static void ec(struct pki *pki)
{
    pki_use_ec(pki, pki_keys.p256);
}
static void empty(struct pki *pki)
{
    pki->crl.others = 0;
}
static void number_zero(struct pki *pki)
{
    pki->crl.number = 0;
}
static void uncritical_extra(struct pki *pki)
{
    pki->crl.odd_extension = 2;
}
static void from_this_second(struct pki *pki)
{
    pki->crl.from = 0;
}
static void revoked(struct pki *pki)
{
    pki->crl.lists_leaf = 1;
}
static void revoked_not_asked_for(struct pki *pki)
{
    pki->crl.lists_leaf = 1;
    pki->leaf.cdp = NULL;
}
static void revoked_and_removed(struct pki *pki)
{
    pki->crl.lists_leaf = 2;
}
static void revoked_under_inter(struct pki *pki)
{
    pki_use_inter(pki);
    pki->crl.lists_leaf = 1;
}
static void early(struct pki *pki)
{
    pki->crl.from = 1;
}
static void outdated(struct pki *pki)
{
    pki->crl.from = -2;
    pki->crl.to = -1;
}
static void odd_time(struct pki *pki)
{
    pki->crl.odd_time = "260101000000+0100";
}
static void no_next(struct pki *pki)
{
    pki->crl.to = 0;
}
static void old_version(struct pki *pki)
{
    pki->crl.version = X509_CRL_VERSION_1;
}
static void no_number(struct pki *pki)
{
    pki->crl.number = -2;
}
static void negative_number(struct pki *pki)
{
    pki->crl.number = -1;
}
static void delta(struct pki *pki)
{
    pki->crl.delta = 2;
}
static void uncritical_delta(struct pki *pki)
{
    pki->crl.delta = 1;
}
static void critical_extra(struct pki *pki)
{
    pki->crl.odd_extension = 1;
}
static void critical_entry(struct pki *pki)
{
    pki->crl.lists_leaf = 3;
}
static void idp_none(struct pki *pki)
{
    pki->crl.idp = NULL;
}
static void idp_twice(struct pki *pki)
{
    pki->crl.twice_idp = 1;
}
static void idp_uncritical(struct pki *pki)
{
    pki->crl.idp = "fullname:URI:" KL_CRL_SCOPE_LOADER;
}
static void idp_terminal(struct pki *pki)
{
    pki->crl.idp = "critical,fullname:URI:" KL_CRL_SCOPE_TERMINAL;
}
static void idp_longer(struct pki *pki)
{
    pki->crl.idp = "critical,fullname:URI:" KL_CRL_SCOPE_LOADER "s";
}
static void idp_dns(struct pki *pki)
{
    pki->crl.idp = "critical,fullname:DNS:" KL_CRL_SCOPE_LOADER;
}
static void idp_two(struct pki *pki)
{
    pki->crl.idp = "critical,@two_names";
}
static void idp_relative(struct pki *pki)
{
    pki->crl.idp = "critical,@relative";
}
static void idp_nameless(struct pki *pki)
{
    pki->crl.idp = "critical,onlyuser:TRUE";
}
static void idp_user(struct pki *pki)
{
    pki->crl.idp = "critical,fullname:URI:" KL_CRL_SCOPE_LOADER ",onlyuser:TRUE";
}
static void idp_ca(struct pki *pki)
{
    pki->crl.idp = "critical,fullname:URI:" KL_CRL_SCOPE_LOADER ",onlyCA:TRUE";
}
static void idp_attributes(struct pki *pki)
{
    pki->crl.idp = "critical,fullname:URI:" KL_CRL_SCOPE_LOADER ",onlyAA:TRUE";
}
static void idp_indirect(struct pki *pki)
{
    pki->crl.idp = "critical,fullname:URI:" KL_CRL_SCOPE_LOADER ",indirectCRL:TRUE";
}
static void idp_reasons(struct pki *pki)
{
    pki->crl.idp = "critical,@some_reasons";
}
static void forged(struct pki *pki)
{
    pki->crl.signer = pki_keys.other;
}
static void forged_by_kind(struct pki *pki)
{
    pki->crl.signer = pki_keys.p256;
}
static void by_root_for_inter(struct pki *pki)
{
    pki_use_inter(pki);
    pki->crl.issuer = "Root";
    pki->crl.signer = pki_keys.root;
}
static void by_inter_as_root(struct pki *pki)
{
    pki_use_inter(pki);
    pki->crl.issuer = "Root";
}
static void may_not_sign(struct pki *pki)
{
    pki->root.key_usage = "critical,keyCertSign";
}
static void sha1(struct pki *pki)
{
    pki->crl.md = EVP_sha1();
}
static void ecdsa_sha1(struct pki *pki)
{
    ec(pki);
    pki->crl.md = EVP_sha1();
}
static void asks_for_terminals(struct pki *pki)
{
    pki->leaf.cdp = "URI:" KL_CRL_SCOPE_TERMINAL;
}
static void asks_for_two(struct pki *pki)
{
    pki->leaf.cdp = "two_names";
}

static const struct {
    void (*put)(struct pki *pki);
    enum kl_rc rc;
    const char *text; /* of the refusal */
} plans[] = {
    {none, KL_OK, NULL},
    {not_asked_for, KL_OK, NULL},
    {asked_for_critically, KL_OK, NULL},
    {pki_use_inter, KL_OK, NULL},
    {ec, KL_OK, NULL},
    {empty, KL_OK, NULL},
    {number_zero, KL_OK, NULL},
    {uncritical_extra, KL_OK, NULL},
    {from_this_second, KL_OK, NULL},
    {revoked, KL_ERR_REVOKED, "\"CN=Loader,O=Bank\": is revoked"},
    {revoked_not_asked_for, KL_ERR_REVOKED, "is revoked"},
    {revoked_and_removed, KL_ERR_REVOKED, "is revoked"},
    {revoked_under_inter, KL_ERR_REVOKED, "is revoked"},
    {early, KL_ERR_CERT, "\"CN=Loader,O=Bank\": CRL: is not yet in force"},
    {outdated, KL_ERR_CERT, "CRL: is out of date"},
    {odd_time, KL_ERR_CERT, "CRL: has a malformed time"},
    {no_next, KL_ERR_CERT, "CRL: has no nextUpdate"},
    {old_version, KL_ERR_CERT, "CRL: is not of version 2"},
    {no_number, KL_ERR_CERT, "CRL: has no (or no valid) crlNumber"},
    {negative_number, KL_ERR_CERT, "CRL: has no (or no valid) crlNumber"},
    {delta, KL_ERR_CERT, "CRL: is a delta CRL"},
    {uncritical_delta, KL_ERR_CERT, "CRL: is a delta CRL"},
    {critical_extra, KL_ERR_CERT, "CRL: has the critical extension 2.25.1.2.3"},
    {critical_entry, KL_ERR_CERT, "CRL: has an entry with a critical extension"},
    {idp_none, KL_ERR_CERT, "CRL: has no (or no valid) issuingDistributionPoint"},
    {idp_twice, KL_ERR_CERT, "CRL: has no (or no valid) issuingDistributionPoint"},
    {idp_uncritical, KL_ERR_CERT, "CRL: issuingDistributionPoint is not critical"},
    {idp_terminal, KL_ERR_CERT, "CRL: is for " KL_CRL_SCOPE_TERMINAL ": must be for "},
    {idp_longer, KL_ERR_CERT, "CRL: is for " KL_CRL_SCOPE_LOADER "s: must be for "},
    {idp_dns, KL_ERR_CERT, "is not one URI and nothing else"},
    {idp_two, KL_ERR_CERT, "is not one URI and nothing else"},
    {idp_relative, KL_ERR_CERT, "is not one URI and nothing else"},
    {idp_nameless, KL_ERR_CERT, "is not one URI and nothing else"},
    {idp_user, KL_ERR_CERT, "is not one URI and nothing else"},
    {idp_ca, KL_ERR_CERT, "is not one URI and nothing else"},
    {idp_attributes, KL_ERR_CERT, "is not one URI and nothing else"},
    {idp_indirect, KL_ERR_CERT, "is not one URI and nothing else"},
    {idp_reasons, KL_ERR_CERT, "is not one URI and nothing else"},
    {forged, KL_ERR_CERT, "CRL: signature does not verify"},
    {forged_by_kind, KL_ERR_CERT, "CRL: signature does not verify"},
    {by_root_for_inter, KL_ERR_CERT, "CRL: is another issuer's"},
    {by_inter_as_root, KL_ERR_CERT, "CRL: is another issuer's"},
    {may_not_sign, KL_ERR_CERT, "CRL: is of an issuer that may not sign CRLs"},
    {sha1, KL_ERR_CERT, "CRL: is signed with sha1WithRSAEncryption"},
    {ecdsa_sha1, KL_ERR_CERT, "CRL: is signed with ecdsa-with-SHA1"},
    {asks_for_terminals, KL_ERR_CERT, "is to be looked up in the CRL " KL_CRL_SCOPE_TERMINAL},
    {asks_for_two, KL_ERR_CERT, "cRLDistributionPoints is not one point"},
};

/* ---- Tests ---- */

/* As it comes out of a file or off the wire. */
static X509_CRL *reread(X509_CRL *crl)
{
    struct kl_err err = KL_ERR_INIT;
    X509_CRL *out = NULL;
    uint8_t *der = NULL;
    int len = i2d_X509_CRL(crl, &der);

    ck_assert_int_gt(len, 0);
    ck_assert_msg(kl_crl_from_der(der, (size_t)len, &out, &err) == KL_OK, "%s", err.text);
    OPENSSL_free(der);
    return out;
}

START_TEST(test_verify)
{
    struct kl_err err = KL_ERR_INIT;
    X509 *anchor = NULL;
    X509_CRL *crl;
    struct pki pki;

    pki_plan(&pki);
    pki_use_crl(&pki);
    plans[_i].put(&pki);
    pki_make(&pki);
    crl = reread(pki.leaf_crl);
    for (int i = 0; i < 2; i++) { /* the second time alike: looking up leaves it as it was */
        enum kl_rc rc = kl_cert_verify_loader(pki.chain, pki.roots, crl, PKI_NOW, &anchor, &err);

        ck_assert_msg(rc == plans[_i].rc, "%d: %s", rc, err.text);
        if (plans[_i].text) {
            ck_assert_msg(strstr(err.text, plans[_i].text), "\"%s\" lacks \"%s\"", err.text,
                          plans[_i].text);
        }
        ck_assert_ptr_eq(anchor, rc == KL_OK ? pki.root_cert : NULL);
    }
    X509_CRL_free(crl);
    pki_wipe(&pki);
}
END_TEST

/* To the very second of nextUpdate, and not a second longer. */
START_TEST(test_last_second)
{
    struct kl_err err = KL_ERR_INIT;
    struct pki pki;

    pki_plan(&pki);
    pki.crl.to = 100;
    pki_make(&pki);
    ck_assert_int_eq(kl_crl_verify(pki.leaf_crl, pki.root_cert, KL_CRL_SCOPE_LOADER, PKI_NOW + 100,
                                   &err),
                     KL_OK);
    ck_assert_int_eq(kl_crl_verify(pki.leaf_crl, pki.root_cert, KL_CRL_SCOPE_LOADER, PKI_NOW + 101,
                                   &err),
                     KL_ERR_CERT);
    pki_wipe(&pki);
}
END_TEST

START_TEST(test_missing)
{
    struct kl_err err = KL_ERR_INIT;
    struct pki pki;

    pki_plan(&pki);
    pki_use_crl(&pki);
    pki_make(&pki);
    ck_assert_int_eq(kl_cert_verify_loader(pki.chain, pki.roots, NULL, PKI_NOW, NULL, &err),
                     KL_ERR_CERT);
    ck_assert_ptr_nonnull(strstr(err.text, "\"CN=Loader,O=Bank\": needs a CRL"));
    ck_assert_ptr_nonnull(strstr(err.text, KL_CRL_SCOPE_LOADER));
    pki_wipe(&pki);
}
END_TEST

/* A terminal's, against its own scope; a CRL of the other scope is none. */
START_TEST(test_terminal)
{
    static const struct {
        int has, scope_of_loader, lists;
        enum kl_rc rc;
        const char *text;
    } rows[] = {
        {1, 0, 0, KL_OK, NULL},
        {1, 0, 1, KL_ERR_REVOKED, "is revoked"},
        {0, 0, 0, KL_ERR_CERT, "needs a CRL"},
        {1, 1, 0, KL_ERR_CERT, "CRL: is for " KL_CRL_SCOPE_LOADER},
    };
    struct kl_err err = KL_ERR_INIT;
    struct pki pki;

    pki_plan_terminal(&pki);
    pki_use_crl(&pki);
    pki.crl.lists_leaf = rows[_i].lists;
    if (rows[_i].scope_of_loader) {
        pki.crl.idp = "critical,fullname:URI:" KL_CRL_SCOPE_LOADER;
    }
    pki_make(&pki);
    ck_assert_int_eq(kl_cert_verify_terminal(pki.chain, pki.roots,
                                             rows[_i].has ? pki.leaf_crl : NULL, PKI_NOW, "SN-1",
                                             &err),
                     rows[_i].rc);
    if (rows[_i].text) {
        ck_assert_msg(strstr(err.text, rows[_i].text), "%s", err.text);
    }
    pki_wipe(&pki);
}
END_TEST

START_TEST(test_lists)
{
    struct pki pki;

    pki_plan(&pki);
    pki.crl.lists_leaf = 1;
    pki_make(&pki);
    ck_assert_int_eq(kl_crl_lists(pki.leaf_crl, pki.leaf_cert), 1);
    ck_assert_int_eq(kl_crl_lists(pki.leaf_crl, pki.inter_cert), 0);
    ck_assert_int_eq(kl_crl_lists(pki.leaf_crl, pki.root_cert), 0);
    pki_wipe(&pki);
}
END_TEST

START_TEST(test_from_der)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t *der = NULL, *copy;
    X509_CRL *crl = NULL;
    struct pki pki;
    size_t len;
    int n;

    pki_plan(&pki);
    pki_make(&pki);
    n = i2d_X509_CRL(pki.leaf_crl, &der);
    ck_assert_int_gt(n, 0);
    len = (size_t)n;
    for (size_t cut = 0; cut < len; cut++) {
        copy = malloc(cut + 1);
        memcpy(copy, der, cut);
        ck_assert_int_eq(kl_crl_from_der(copy, cut, &crl, &err), KL_ERR_CERT);
        free(copy);
    }
    copy = calloc(1, KL_CRL_FILE_MAX + 1);
    memcpy(copy, der, len);
    ck_assert_int_eq(kl_crl_from_der(copy, len + 1, &crl, &err), KL_ERR_CERT);
    ck_assert_ptr_nonnull(strstr(err.text, "1 bytes follow the CRL"));
    ck_assert_int_eq(kl_crl_from_der(copy, KL_CRL_FILE_MAX + 1, &crl, &err), KL_ERR_CERT);
    ck_assert_ptr_nonnull(strstr(err.text, "must have 1 to 1048576"));
    copy[1] = 0x80; /* 30 82 xx xx becomes indefinite length */
    memmove(copy + 2, der + 4, len - 4);
    memset(copy + len - 2, 0, 2);
    ck_assert_int_eq(kl_crl_from_der(copy, len, &crl, &err), KL_ERR_CERT);
    ck_assert_ptr_nonnull(strstr(err.text, "is not DER"));
    /* 30 82 xx xx 30 82 xx xx 02 01 01: a length of 1 in two bytes, inside what is signed. */
    memcpy(copy, der, 9);
    ck_assert(copy[3] < 0xff && copy[7] < 0xff && der[9] == 1);
    copy[3]++;
    copy[7]++;
    copy[9] = 0x81;
    memcpy(copy + 10, der + 9, len - 9);
    ck_assert_int_eq(kl_crl_from_der(copy, len + 1, &crl, &err), KL_ERR_CERT);
    ck_assert_msg(strstr(err.text, "is not DER"), "%s", err.text);
    ck_assert_ptr_null(crl);
    free(copy);
    OPENSSL_free(der);
    pki_wipe(&pki);
}
END_TEST

/* Every bit matters. */
START_TEST(test_flipped)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t *der = NULL;
    struct pki pki;
    int len;

    pki_plan(&pki);
    pki_use_ec(&pki, pki_keys.p256);
    pki_make(&pki);
    len = i2d_X509_CRL(pki.leaf_crl, &der);
    ck_assert_int_gt(len, 0);
    for (int bit = 0; bit < len * 8; bit++) {
        X509_CRL *crl = NULL;

        der[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (kl_crl_from_der(der, (size_t)len, &crl, &err) == KL_OK) {
            ck_assert_msg(kl_crl_verify(crl, pki.root_cert, KL_CRL_SCOPE_LOADER, PKI_NOW, &err) ==
                              KL_ERR_CERT,
                          "bit %d flipped, and accepted", bit);
        }
        X509_CRL_free(crl);
        der[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    OPENSSL_free(der);
    pki_wipe(&pki);
}
END_TEST

/* ---- Files ---- */

enum content { CONTENT_PEM, CONTENT_DER, CONTENT_TWO, CONTENT_CERT, CONTENT_TEXT, CONTENT_LARGE };
static const struct {
    enum content content;
    enum kl_rc rc;
    const char *text;
} files[] = {
    {CONTENT_PEM, KL_OK, NULL},
    {CONTENT_DER, KL_OK, NULL},
    {CONTENT_TWO, KL_ERR_CERT, "holds several CRLs"},
    {CONTENT_CERT, KL_ERR_CERT, "holds a \"CERTIFICATE\": only a CRL belongs here"},
    {CONTENT_TEXT, KL_ERR_CERT, "holds no CRL in PEM form"},
    {CONTENT_LARGE, KL_ERR_INPUT, ""},
};

static void write_content(FILE *file, enum content content, const struct pki *pki)
{
    switch (content) {
    case CONTENT_TWO:
        ck_assert(PEM_write_X509_CRL(file, pki->leaf_crl));
        /* fall through */
    case CONTENT_PEM:
        ck_assert(PEM_write_X509_CRL(file, pki->leaf_crl));
        break;
    case CONTENT_DER:
        ck_assert(i2d_X509_CRL_fp(file, pki->leaf_crl));
        break;
    case CONTENT_CERT:
        ck_assert(PEM_write_X509_CRL(file, pki->leaf_crl));
        ck_assert(PEM_write_X509(file, pki->root_cert));
        break;
    case CONTENT_TEXT:
        fputs("nothing of the kind\n", file);
        break;
    case CONTENT_LARGE:
        ck_assert(PEM_write_X509_CRL(file, pki->leaf_crl));
        for (int i = 0; i < KL_CRL_FILE_MAX; i++) {
            fputc('\n', file);
        }
        break;
    }
}

START_TEST(test_load)
{
    struct kl_err err = KL_ERR_INIT;
    X509_CRL *crl = NULL;
    char path[PATH_MAX];
    struct pki pki;
    FILE *file;

    pki_plan(&pki);
    pki_make(&pki);
    snprintf(path, PATH_MAX, "%s/kl-crl-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    file = fdopen(mkstemp(path), "w");
    ck_assert_ptr_nonnull(file);
    write_content(file, files[_i].content, &pki);
    fclose(file);
    ck_assert_msg(kl_crl_load(path, &crl, &err) == files[_i].rc, "%d: %s", err.rc, err.text);
    if (files[_i].rc == KL_OK) {
        X509_CRL *same = reread(pki.leaf_crl);

        ck_assert_int_eq(X509_CRL_match(crl, same), 0);
        X509_CRL_free(same);
    } else {
        ck_assert_ptr_null(crl);
        ck_assert_msg(strstr(err.text, files[_i].text), "%s", err.text);
        ck_assert_ptr_nonnull(strstr(err.text, path));
    }
    unlink(path);
    X509_CRL_free(crl);
    pki_wipe(&pki);
}
END_TEST

START_TEST(test_pem)
{
    static char large[KL_CRL_FILE_MAX + 1];
    struct kl_err err = KL_ERR_INIT;
    X509_CRL *crl = NULL;

    memset(large, '\n', sizeof(large));
    ck_assert_int_eq(kl_crl_from_pem(large, sizeof(large), &crl, &err), KL_ERR_CERT);
    ck_assert_ptr_nonnull(strstr(err.text, "is longer than 1048576 bytes"));
    ck_assert_int_eq(kl_crl_from_pem("-----BEGIN X509 CRL-----\nAAAA\n", 31, &crl, &err),
                     KL_ERR_CERT);
    ck_assert_ptr_nonnull(strstr(err.text, "PEM is damaged"));
    ck_assert_int_eq(kl_crl_load("/nonexistent/x.crl", &crl, &err), KL_ERR_NO_FILE);
    ck_assert_ptr_null(crl);
}
END_TEST

int main(void)
{
    int status;
    Suite *suite = suite_create("crl");
    TCase *tcase = tcase_create("crl");

    pki_make_keys();
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, test_verify, 0, sizeof(plans) / sizeof(plans[0]));
    tcase_add_test(tcase, test_last_second);
    tcase_add_test(tcase, test_missing);
    tcase_add_loop_test(tcase, test_terminal, 0, 4);
    tcase_add_test(tcase, test_lists);
    tcase_add_test(tcase, test_from_der);
    tcase_add_test(tcase, test_flipped);
    tcase_add_loop_test(tcase, test_load, 0, sizeof(files) / sizeof(files[0]));
    tcase_add_test(tcase, test_pem);
    suite_add_tcase(suite, tcase);
    status = test_run(suite);
    pki_free_keys();
    return status;
}
