/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Certificate paths: the shape of a chain, and which root it is under: of one, of another bank's,
 * of two in a rollover.
 */
#include <check.h>
#include <limits.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/cert.h"
#include "tests/support/pki.h"
#include "tests/support/suite.h"

static void assert_refused(STACK_OF(X509) * chain, STACK_OF(X509) * roots, const char *text)
{
    struct kl_err err = KL_ERR_INIT;
    X509 *anchor = NULL;

    ck_assert_msg(kl_cert_verify_loader(chain, roots, NULL, PKI_NOW, &anchor, &err) == KL_ERR_CERT,
                  "accepted: %s", text);
    ck_assert_msg(strstr(err.text, text), "\"%s\" lacks \"%s\"", err.text, text);
    ck_assert_ptr_null(anchor);
}

static void write_root(char path[PATH_MAX], X509 *root)
{
    FILE *file;

    snprintf(path, PATH_MAX, "%s/kl-cert-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    file = fdopen(mkstemp(path), "w");
    ck_assert(file && PEM_write_X509(file, root));
    fclose(file);
}

/* Another bank's root of the very same name, and the machine's own trust: neither counts. */
START_TEST(test_other_root)
{
    struct pki pki, other;
    char path[PATH_MAX];

    pki_plan(&pki);
    pki_make(&pki);
    pki_plan(&other);
    other.root.key = other.root.signer = other.inter.signer = other.leaf.signer = pki_keys.other;
    pki_make(&other);
    write_root(path, pki.root_cert);
    ck_assert_int_eq(setenv("SSL_CERT_FILE", path, 1), 0);
    assert_refused(pki.chain, other.roots, "unable to get local issuer certificate");
    assert_refused(other.chain, pki.roots, "unable to get local issuer certificate");
    unlink(path);
    pki_wipe(&other);
    pki_wipe(&pki);
}
END_TEST

START_TEST(test_chain_shape)
{
    struct pki pki;

    pki_plan(&pki);
    pki_use_inter(&pki);
    pki_make(&pki);
    sk_X509_push(pki.chain, pki.root_cert);
    assert_refused(pki.chain, pki.roots, "the root left out");
    sk_X509_pop(pki.chain);
    sk_X509_push(pki.chain, pki.inter_cert);
    assert_refused(pki.chain, pki.roots, "the root left out"); /* one twice */
    sk_X509_pop(pki.chain);
    sk_X509_pop(pki.chain);
    assert_refused(pki.chain, pki.roots, "unable to get local issuer certificate");
    sk_X509_pop(pki.chain);
    assert_refused(pki.chain, pki.roots, "chain holds 0 certificates");
    for (int i = 0; i <= KL_CHAIN_MAX; i++) {
        sk_X509_push(pki.chain, pki.leaf_cert);
    }
    assert_refused(pki.chain, pki.roots, "chain holds 5 certificates");
    pki_wipe(&pki);
}
END_TEST

START_TEST(test_root_as_leaf)
{
    struct pki pki;

    pki_plan(&pki);
    pki_make(&pki);
    sk_X509_set(pki.chain, 0, pki.root_cert);
    assert_refused(pki.chain, pki.roots, "is the root itself");
    /* A trust anchor that would pass as a leaf in all else. */
    sk_X509_set(pki.chain, 0, pki.leaf_cert);
    sk_X509_set(pki.roots, 0, pki.leaf_cert);
    assert_refused(pki.chain, pki.roots, "is the root itself");
    pki_wipe(&pki);
}
END_TEST

/* ---- Several roots ---- */

static void assert_anchor(STACK_OF(X509) * chain, STACK_OF(X509) * roots, X509 *want)
{
    struct kl_err err = KL_ERR_INIT;
    X509 *anchor = NULL;

    ck_assert_msg(kl_cert_verify_loader(chain, roots, NULL, PKI_NOW, &anchor, &err) == KL_OK, "%s",
                  err.text);
    ck_assert_ptr_eq(anchor, want);
    ck_assert_int_eq(kl_cert_verify_loader(chain, roots, NULL, PKI_NOW, NULL, &err), KL_OK);
    ck_assert_int_eq(err.rc, KL_OK); /* nothing of the roots that were tried in vain */
}

/* A rollover: roots of one name, of different keys, in either order; one of them has even expired,
 * which is nothing to what is issued under the other. */
START_TEST(test_rollover)
{
    struct pki old, fresh;

    pki_plan(&old);
    pki_make(&old);
    pki_plan(&fresh);
    pki_use_ec(&fresh, pki_keys.p256);
    pki_use_inter(&fresh);
    pki_make(&fresh);
    sk_X509_push(old.roots, fresh.root_cert);
    sk_X509_push(fresh.roots, old.root_cert);
    assert_anchor(old.chain, old.roots, old.root_cert);
    assert_anchor(old.chain, fresh.roots, old.root_cert);
    assert_anchor(fresh.chain, old.roots, fresh.root_cert);
    assert_anchor(fresh.chain, fresh.roots, fresh.root_cert);
    pki_wipe(&old);
    pki_plan(&old);
    old.root.to = -1;
    pki_make(&old);
    sk_X509_set(fresh.roots, 1, old.root_cert);
    assert_anchor(fresh.chain, fresh.roots, fresh.root_cert);
    sk_X509_push(old.roots, fresh.root_cert);
    assert_anchor(fresh.chain, old.roots, fresh.root_cert);
    /* What is under the expired one is told so, wherever that stands. */
    assert_refused(old.chain, old.roots, "\"CN=Root,O=Bank\": certificate has expired");
    assert_refused(old.chain, fresh.roots, "\"CN=Root,O=Bank\": certificate has expired");
    pki_wipe(&fresh);
    pki_wipe(&old);
}
END_TEST

/* The same key in an expired root and in the one that renews it: the names and identifiers do not
 * tell them apart. */
START_TEST(test_renewed_root)
{
    struct pki old, renewed;

    pki_plan(&old);
    old.root.to = -1;
    pki_make(&old);
    pki_plan(&renewed);
    pki_make(&renewed);
    sk_X509_push(old.roots, renewed.root_cert);
    sk_X509_push(renewed.roots, old.root_cert);
    assert_anchor(old.chain, old.roots, renewed.root_cert);
    assert_anchor(old.chain, renewed.roots, renewed.root_cert);
    pki_wipe(&renewed);
    pki_wipe(&old);
}
END_TEST

/* The new root's key certified by the old root (RFC 4210 section 4.4): who has the old root alone
 * follows the chain, and so does who has both; who has the new one alone sees one too many. */
START_TEST(test_cross_signed)
{
    struct pki old, fresh;
    struct pki_spec link;
    X509 *link_cert;

    pki_plan(&old);
    pki_make(&old);
    pki_plan(&fresh);
    fresh.root.key = fresh.root.signer = fresh.leaf.signer = pki_keys.other;
    if (_i == 1) {
        fresh.root.subject = fresh.root.issuer = fresh.leaf.issuer = "Root 2";
    }
    pki_make(&fresh);
    link = fresh.root;
    link.issuer = "Root";
    link.signer = pki_keys.root;
    link.aki = "keyid";
    link_cert = pki_issue(&link, old.root_cert);
    sk_X509_push(fresh.chain, link_cert);
    assert_refused(fresh.chain, fresh.roots, "the root left out");
    assert_anchor(fresh.chain, old.roots, old.root_cert);
    sk_X509_push(old.roots, fresh.root_cert);
    assert_anchor(fresh.chain, old.roots, old.root_cert);
    sk_X509_unshift(fresh.roots, old.root_cert);
    assert_anchor(fresh.chain, fresh.roots, old.root_cert);
    X509_free(link_cert);
    pki_wipe(&fresh);
    pki_wipe(&old);
}
END_TEST

START_TEST(test_root_counts)
{
    struct pki pki;

    pki_plan(&pki);
    pki_make(&pki);
    for (int i = 1; i < KL_ANCHOR_MAX; i++) {
        sk_X509_push(pki.roots, pki.root_cert);
    }
    assert_anchor(pki.chain, pki.roots, pki.root_cert);
    sk_X509_push(pki.roots, pki.root_cert);
    assert_refused(pki.chain, pki.roots, "there are 5 roots: must be 1 to 4");
    while (sk_X509_num(pki.roots) > 0) {
        sk_X509_pop(pki.roots);
    }
    assert_refused(pki.chain, pki.roots, "there are 0 roots");
    assert_refused(pki.chain, NULL, "there are 0 roots");
    assert_refused(NULL, pki.roots, "chain holds 0 certificates");
    pki_wipe(&pki);
}
END_TEST

int main(void)
{
    int status;
    Suite *suite = suite_create("cert_path");
    TCase *tcase = tcase_create("cert_path");

    pki_make_keys();
    tcase_add_test(tcase, test_other_root);
    tcase_add_test(tcase, test_chain_shape);
    tcase_add_test(tcase, test_root_as_leaf);
    tcase_add_test(tcase, test_rollover);
    tcase_add_test(tcase, test_renewed_root);
    tcase_add_loop_test(tcase, test_cross_signed, 0, 2);
    tcase_add_test(tcase, test_root_counts);
    suite_add_tcase(suite, tcase);
    status = test_run(suite);
    pki_free_keys();
    return status;
}
