/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * acquire-ca revoke, crl, list and show: what is revoked stays so and reaches the CRL of its scope,
 * numbers never come twice, and OpenSSL's own verification agrees.
 */
#include <check.h>
#include <jansson.h>
#include <limits.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ca/crl.h"
#include "ca/home.h"
#include "ca/profile.h"
#include "ca/revoked.h"
#include "proto/cert.h"
#include "tests/support/cahome.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"

#define DAY 86400
#define OK(call) ck_assert_msg((call) == KL_OK, "%s", err.text)

#define REVOKE(rc, words, serial, ...) \
    CA_RUN(rc, words, "revoke", "--dir", ca_home, serial, ##__VA_ARGS__)
#define CRL(rc, words, scope, out, ...) \
    CA_RUN(rc, words, "crl", "--dir", ca_home, "--scope", scope, "--out", out, ##__VA_ARGS__)

/* A fresh leaf: "loader", or the terminal of that serial. */
static X509 *leaf_of(const char *serial, const char *const more)
{
    const char *csr = ca_path("leaf.csr"), *out = ca_path("leaf.pem");
    EVP_PKEY *key = ca_key("P-256");
    char subject[128];

    snprintf(subject, sizeof subject, serial ? "/CN=T/serialNumber=%s" : "/CN=Loader", serial);
    ca_request_file(csr, key, subject);
    EVP_PKEY_free(key);
    if (serial) {
        CA_RUN(KL_OK, NULL, "terminal", "sign", csr, "--dir", ca_home, "--serial", serial, "--out",
               out, "--days", "10", "--force", more);
    } else {
        CA_RUN(KL_OK, NULL, "sign", "--csr", csr, "--dir", ca_home, "--out", out, "--days", "10",
               "--force", more);
    }
    return ca_load_cert(out);
}

static X509 *load_root(void)
{
    char path[PATH_MAX];
    return ca_load_cert(file_path(path, ca_home, "root.pem"));
}

static long number_of(const X509_CRL *crl)
{
    ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    long value = ASN1_INTEGER_get(number);

    ASN1_INTEGER_free(number);
    return value;
}

static int listed(X509_CRL *crl)
{
    STACK_OF(X509_REVOKED) *list = X509_CRL_get_REVOKED(crl);
    return list ? sk_X509_REVOKED_num(list) : 0;
}

static int reason_of(X509_CRL *crl, X509 *cert)
{
    X509_REVOKED *entry = NULL;
    ck_assert_int_eq(X509_CRL_get0_by_cert(crl, &entry, cert), 1);
    ASN1_ENUMERATED *reason = X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, NULL, NULL);
    int code = reason ? (int)ASN1_ENUMERATED_get(reason) : -1;
    ASN1_ENUMERATED_free(reason);
    return code;
}

/* What OpenSSL says of the chain leaf, root, with a CRL for the leaf: X509_V_OK or why not. */
static int openssl_verdict(X509 *leaf, X509 *root, X509_CRL *crl)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int verdict;

    ck_assert(X509_STORE_add_cert(store, root) == 1 && X509_STORE_add_crl(store, crl) == 1);
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
    ck_assert_int_eq(X509_STORE_CTX_init(ctx, store, leaf, NULL), 1);
    /* our own extended key usages are critical, and not for OpenSSL to know */
    X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_IGNORE_CRITICAL);
    X509_verify_cert(ctx);
    verdict = X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return verdict;
}

/* ---- CRLs ---- */

static const char *const kinds[] = {"rsa-2048", "p-256", "p-384", "p-521"};
#define KINDS (sizeof kinds / sizeof kinds[0])

/* _i: kind of root key, twice: in a file, in a token. */
START_TEST(crl_of_each_root)
{
    struct kl_err err = KL_ERR_INIT;

    ca_found(kinds[_i / 2], _i % 2);
    X509 *root = load_root();
    X509 *good = leaf_of(NULL, NULL), *bad = leaf_of(NULL, NULL), *till = leaf_of("SN-1", NULL);
    REVOKE(KL_OK, "make and install a new CRL", ca_serial(bad), "--reason", "superseded");
    REVOKE(KL_OK, NULL, ca_serial(till));
    CRL(KL_OK, NULL, "loader", ca_path("l.crl"));
    CRL(KL_OK, NULL, "terminal", ca_path("t.crl"), "--days", "7");
    X509_CRL *l = ca_load_crl(ca_path("l.crl")), *t = ca_load_crl(ca_path("t.crl"));
    time_t now = time(NULL);

    OK(kl_crl_verify(l, root, KL_CRL_SCOPE_LOADER, now, &err));
    OK(kl_crl_verify(t, root, KL_CRL_SCOPE_TERMINAL, now, &err));
    ck_assert_int_eq(kl_crl_verify(l, root, KL_CRL_SCOPE_TERMINAL, now, &err), KL_ERR_CERT);
    OK(kl_crl_verify(l, root, KL_CRL_SCOPE_LOADER, now + 89 * DAY, &err));
    ck_assert_int_eq(kl_crl_verify(l, root, KL_CRL_SCOPE_LOADER, now + 91 * DAY, &err),
                     KL_ERR_CERT);
    OK(kl_crl_verify(t, root, KL_CRL_SCOPE_TERMINAL, now + 6 * DAY, &err));
    ck_assert_int_eq(kl_crl_verify(t, root, KL_CRL_SCOPE_TERMINAL, now + 8 * DAY, &err),
                     KL_ERR_CERT);

    ck_assert_int_eq(X509_CRL_get_version(l), X509_CRL_VERSION_2);
    ck_assert_int_eq(X509_CRL_get_signature_nid(l), X509_get_signature_nid(root));
    int at = X509_CRL_get_ext_by_NID(l, NID_issuing_distribution_point, -1);
    ck_assert(at >= 0 && X509_EXTENSION_get_critical(X509_CRL_get_ext(l, at)));
    ck_assert_int_ge(X509_CRL_get_ext_by_NID(l, NID_authority_key_identifier, -1), 0);
    ck_assert_int_eq(X509_CRL_get_ext_count(l), 3);
    ck_assert_int_eq(number_of(l), 1);
    ck_assert_int_eq(number_of(t), 2);

    ck_assert_int_eq(listed(l), 1);
    ck_assert_int_eq(listed(t), 1);
    ck_assert_int_eq(reason_of(l, bad), CRL_REASON_SUPERSEDED);
    ck_assert_int_eq(reason_of(t, till), -1); /* unspecified is left out */

    ck_assert_int_eq(openssl_verdict(good, root, l), X509_V_OK);
    ck_assert_int_eq(openssl_verdict(bad, root, l), X509_V_ERR_CERT_REVOKED);
    ck_assert_int_eq(openssl_verdict(till, root, t), X509_V_ERR_CERT_REVOKED);
    ck_assert_int_eq(openssl_verdict(good, root, t), X509_V_ERR_DIFFERENT_CRL_SCOPE);
    X509_CRL_free(l);
    X509_CRL_free(t);
    X509_free(till);
    X509_free(bad);
    X509_free(good);
    X509_free(root);
}
END_TEST

/* As the loader's and the terminal's checks see it. */
START_TEST(chains_with_crl)
{
    struct kl_err err = KL_ERR_INIT;
    STACK_OF(X509) *chain = sk_X509_new_null(), *roots = sk_X509_new_null();

    ca_found("p-256", 0);
    sk_X509_push(roots, load_root());
    X509 *good = leaf_of(NULL, NULL), *bad = leaf_of(NULL, NULL);
    X509 *here = leaf_of("SN-1", NULL), *gone = leaf_of("SN-2", NULL);
    REVOKE(KL_OK, NULL, ca_serial(bad));
    REVOKE(KL_OK, NULL, ca_serial(gone));
    CRL(KL_OK, NULL, "loader", ca_path("l.crl"));
    CRL(KL_OK, NULL, "terminal", ca_path("t.crl"));
    X509_CRL *l = ca_load_crl(ca_path("l.crl")), *t = ca_load_crl(ca_path("t.crl"));
    time_t now = time(NULL);

    sk_X509_push(chain, good);
    OK(kl_cert_verify_loader(chain, roots, l, now, NULL, &err));
    ck_assert_int_eq(kl_cert_verify_loader(chain, roots, t, now, NULL, &err), KL_ERR_CERT);
    ck_assert_int_eq(kl_cert_verify_loader(chain, roots, NULL, now, NULL, &err), KL_ERR_CERT);
    sk_X509_set(chain, 0, bad);
    ck_assert_int_eq(kl_cert_verify_loader(chain, roots, l, now, NULL, &err), KL_ERR_REVOKED);
    sk_X509_set(chain, 0, here);
    OK(kl_cert_verify_terminal(chain, roots, t, now, "SN-1", &err));
    sk_X509_set(chain, 0, gone);
    ck_assert_int_eq(kl_cert_verify_terminal(chain, roots, t, now, "SN-2", &err), KL_ERR_REVOKED);
    X509_CRL_free(l);
    X509_CRL_free(t);
    X509_free(gone);
    X509_free(here);
    X509_free(bad);
    X509_free(good);
    sk_X509_free(chain);
    sk_X509_pop_free(roots, X509_free);
}
END_TEST

/* An expired certificate leaves the CRL; a root that is not valid signs none. */
START_TEST(crl_times)
{
    struct kl_err err = KL_ERR_INIT;
    X509_CRL *crl = NULL;

    ca_found("p-256", 0);
    int64_t now = (int64_t)time(NULL);                     /* when the root is valid */
    X509 *root = load_root(), *leaf = leaf_of(NULL, NULL); /* of 10 days */
    REVOKE(KL_OK, NULL, ca_serial(leaf));
    static const struct {
        int days, listed;
    } cases[] = {{0, 1}, {9, 1}, {11, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        OK(kl_profile_crl(ca_home, kl_leaf(KL_LEAF_LOADER), root, 1, 1, now + cases[i].days * DAY,
                          &crl, &err));
        ck_assert_int_eq(listed(crl), cases[i].listed);
        X509_CRL_free(crl);
        crl = NULL;
    }
    ck_assert_int_eq(kl_profile_crl(ca_home, kl_leaf(KL_LEAF_LOADER), root, 1, 1, now + 100 * DAY,
                                    &crl, &err),
                     KL_ERR_REFUSED);
    ck_assert_ptr_null(crl);
    X509_free(leaf);
    X509_free(root);
}
END_TEST

/* So many revoked certificates like that one. */
static void revoke_many(X509 *cert, int count)
{
    static const char text[] = "2026-01-31T12:34:56Z unspecified\n";
    char name[96], path[PATH_MAX];

    for (int i = 0; i < count; i++) {
        ASN1_INTEGER *serial = X509_get_serialNumber(cert);
        ck_assert_int_eq(ASN1_INTEGER_set_uint64(serial, (uint64_t)(1 + i) << 40), 1);
        ck_assert_int_gt(i2d_re_X509_tbs(cert, NULL), 0);
        snprintf(name, sizeof name, "issued/%s.pem", ca_serial(cert));
        FILE *f = fopen(file_path(path, ca_home, name), "we");
        ck_assert(f && PEM_write_X509(f, cert) == 1 && fclose(f) == 0);
        snprintf(name, sizeof name, "revoked/%s", ca_serial(cert));
        file_write(file_path(path, ca_home, name), text, sizeof text - 1, 0644);
    }
}

/* One that its readers would refuse is not handed out, and takes no number. */
START_TEST(crl_too_large)
{
    struct kl_err err = KL_ERR_INIT;
    uint32_t number = 0;

    ca_found("p-256", 0);
    X509 *loader = leaf_of(NULL, NULL), *terminal = leaf_of("SN-1", NULL);
    revoke_many(loader, KL_CRL_MAX / 23); /* 23 to 36 bytes each */
    CRL(KL_ERR_REFUSED, "more than its readers take", "loader", ca_path("l.crl"));
    CRL(KL_OK, NULL, "terminal", ca_path("t.crl"));
    revoke_many(terminal, KL_CRL_MAX / 23); /* which is nothing to the other scope */
    CRL(KL_OK, NULL, "terminal", ca_path("u.crl"));
    OK(kl_crlnumber_next(ca_home, &number, &err));
    ck_assert_uint_eq(number, 3);
    X509_free(terminal);
    X509_free(loader);
}
END_TEST

START_TEST(crl_arguments)
{
    ca_found("p-256", 0);
    CRL(KL_ERR_USAGE, "--scope: loader or terminal", "all", ca_path("x.crl"));
    CRL(KL_ERR_USAGE, "--days", "loader", ca_path("x.crl"), "--days", "367");
    CRL(KL_ERR_USAGE, "--days", "loader", ca_path("x.crl"), "--days", "0");
    CRL(KL_ERR_EXISTS, NULL, "loader", ca_path("pin"));
    CRL(KL_ERR_USAGE, NULL, "loader", "-", "--json");
    CRL(KL_ERR_USAGE, "operand", "loader", ca_path("x.crl"), "more");
    CA_RUN(KL_ERR_USAGE, "--scope is missing", "crl", "--dir", ca_home, "--out", "-");
    CA_RUN(KL_ERR_USAGE, "--out is missing", "crl", "--dir", ca_home, "--scope", "loader");
    file_write(ca_path("wrong"), "twelve-bytez", 12, 0600);
    char source[PATH_MAX + 8];
    snprintf(source, sizeof source, "file:%s", ca_path("wrong"));
    CRL(KL_ERR_PIN, NULL, "loader", ca_path("x.crl"), "--pin-source", source);
    ck_assert_int_ne(access(ca_path("x.crl"), F_OK), 0);

    CRL(KL_OK, NULL, "loader", ca_path("x.crl"), "--json"); /* none of those took a number */
    json_t *report = json_loads(ca_out, 0, NULL);
    ck_assert_int_eq(json_integer_value(json_object_get(report, "number")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(report, "revoked")), 0);
    ck_assert_str_eq(json_string_value(json_object_get(report, "scope")), "loader");
    json_decref(report);
    CRL(KL_OK, NULL, "loader", "-");
    ck_assert_int_eq(strncmp(ca_out, "-----BEGIN X509 CRL-----", 24), 0);
    ck_assert_str_eq(strstr(ca_out, "-----END"), "-----END X509 CRL-----\n");
}
END_TEST

/* ---- Numbers ---- */

START_TEST(numbers)
{
    struct kl_err err = KL_ERR_INIT;
    uint32_t number = 0;
    char path[PATH_MAX];

    ck_assert_int_eq(kl_crlnumber_next(ca_home, &number, &err), KL_ERR_NO_FILE);
    ca_found("p-256", 0);
    OK(kl_crlnumber_next(ca_home, &number, &err));
    ck_assert_uint_eq(number, 1);
    CRL(KL_OK, NULL, "loader", ca_path("a.crl"));
    X509_CRL *crl = ca_load_crl(ca_path("a.crl"));
    ck_assert_int_eq(kl_crlnumber_take(ca_home, 1, crl, &err), KL_ERR_BUSY);
    ck_assert_ptr_nonnull(strstr(err.text, "run this one again"));
    OK(kl_crlnumber_take(ca_home, 9, crl, &err)); /* as if a crash kept it from being handed out */
    OK(kl_crlnumber_next(ca_home, &number, &err));
    ck_assert_uint_eq(number, 10);
    /* a crash before the last step of writing leaves such a file, which is no number */
    file_write(file_path(path, ca_home, "crls/0000000077.pem.Ab12Cd"), "x", 1, 0644);
    CRL(KL_OK, NULL, "terminal", ca_path("b.crl"));
    X509_CRL_free(crl);
    crl = ca_load_crl(ca_path("b.crl"));
    ck_assert_int_eq(number_of(crl), 10);

    file_write(file_path(path, ca_home, "crls/12.pem"), "x", 1, 0644);
    ck_assert_int_eq(kl_crlnumber_next(ca_home, &number, &err), KL_ERR_INPUT);
    unlink(path);
    OK(kl_crlnumber_take(ca_home, UINT32_MAX, crl, &err));
    ck_assert_int_eq(kl_crlnumber_next(ca_home, &number, &err), KL_ERR_REFUSED);
    X509_CRL_free(crl);
}
END_TEST

/* Killed anywhere, `crl` never makes two CRLs of one number, nor hands out one that is not kept;
 * what was revoked before it began is on every CRL. */
#define KILLS 12
START_TEST(killed_crl)
{
    long last = 0;

    ca_found("p-256", 0);
    X509 *leaf = leaf_of(NULL, NULL);
    REVOKE(KL_OK, NULL, ca_serial(leaf));
    for (int i = 0; i < KILLS; i++) {
        const char *out = ca_path("k.crl");
        pid_t pid = fork();
        if (pid == 0) {
            CRL(KL_OK, NULL, "loader", out, "--force");
            _exit(0);
        }
        ck_assert_int_gt(pid, 0);
        if (i < KILLS - 1) { /* the last one may end */
            proc_sleep_ms(20 * i);
            kill(pid, SIGKILL);
        }
        waitpid(pid, NULL, 0);
        if (access(out, F_OK) != 0) {
            continue;
        }
        X509_CRL *crl = ca_load_crl(out);
        char name[64], path[PATH_MAX];
        snprintf(name, sizeof name, "crls/%010ld.pem", number_of(crl));
        X509_CRL *kept = ca_load_crl(file_path(path, ca_home, name));
        ck_assert_int_eq(X509_CRL_match(crl, kept), 0);
        ck_assert_int_eq(listed(crl), 1);
        ck_assert_int_gt(number_of(crl), last);
        last = number_of(crl);
        X509_CRL_free(kept);
        X509_CRL_free(crl);
        unlink(out);
    }
    ck_assert_int_gt(last, 0);
    CRL(KL_OK, NULL, "loader", ca_path("end.crl"));
    X509_CRL *crl = ca_load_crl(ca_path("end.crl"));
    ck_assert_int_gt(number_of(crl), last);
    X509_CRL_free(crl);
    X509_free(leaf);
}
END_TEST

/* ---- revoke ---- */

START_TEST(revoke_again)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_revocation first = {0}, later = {0};
    char serial[64];
    int found = 0;

    ca_found("p-256", 0);
    X509 *leaf = leaf_of("SN-1", NULL);
    snprintf(serial, sizeof serial, "%s", ca_serial(leaf));
    OK(kl_revoked_find(ca_home, serial, &first, &found, &err));
    ck_assert_int_eq(found, 0);
    const struct kl_revocation wanted = {1700000000, "superseded"};
    OK(kl_revoked_add(ca_home, serial, &wanted, &first, &found, &err));
    ck_assert_int_eq(found, 0);

    REVOKE(KL_OK, "it was revoked before, as superseded", serial, "--reason",
           "cessationOfOperation");
    ck_assert_ptr_null(strstr(ca_err, "new CRL"));
    REVOKE(KL_OK, NULL, serial, "--reason", "superseded");
    ck_assert_str_eq(ca_err, "");
    OK(kl_revoked_find(ca_home, serial, &later, &found, &err));
    ck_assert_int_eq(found, 1);
    ck_assert_int_eq(later.time, 1700000000);
    ck_assert_str_eq(later.reason, "superseded");
    for (char *p = serial; *p; p++) {
        *p = (char)(*p >= 'A' && *p <= 'F' ? *p + 32 : *p);
    }
    REVOKE(KL_OK, "that stands", serial); /* in lower case it is the same */
    X509_free(leaf);
}
END_TEST

START_TEST(revoke_refused)
{
    ca_found("p-256", 0);
    X509 *leaf = leaf_of(NULL, NULL);
    REVOKE(KL_ERR_REFUSED, "a root cannot revoke itself", "root");
    REVOKE(KL_ERR_NOT_FOUND, NULL, "0123");
    REVOKE(KL_ERR_INPUT, "neither a serial number", "../root");
    REVOKE(KL_ERR_USAGE, "--reason: keyCompromise", ca_serial(leaf), "--reason", "whim");
    REVOKE(KL_ERR_USAGE, "operand", ca_serial(leaf), ca_serial(leaf));
    CA_RUN(KL_ERR_USAGE, "SERIAL is missing", "revoke", "--dir", ca_home);
    CRL(KL_OK, NULL, "loader", ca_path("l.crl"));
    X509_CRL *crl = ca_load_crl(ca_path("l.crl"));
    ck_assert_int_eq(listed(crl), 0);
    X509_CRL_free(crl);
    X509_free(leaf);
}
END_TEST

/* A compromised key gets no certificate any more, under whichever reason came first. */
START_TEST(revoke_compromised)
{
    ca_found("p-256", 0);
    X509 *leaf = leaf_of("SN-1", NULL);
    const char *csr = ca_path("leaf.csr"), *out = ca_path("again.pem");

    REVOKE(KL_OK, NULL, ca_serial(leaf), "--reason", "superseded");
    CA_RUN(KL_OK, NULL, "terminal", "sign", csr, "--dir", ca_home, "--serial", "SN-1", "--out",
           out);
    REVOKE(KL_OK, NULL, ca_serial(leaf), "--reason", "keyCompromise");
    CA_RUN(KL_ERR_REFUSED, "revoked as compromised", "terminal", "sign", csr, "--dir", ca_home,
           "--serial", "SN-1", "--out", out, "--force");
    X509_free(leaf);
}
END_TEST

START_TEST(revoke_without_crl)
{
    ca_found("p-256", 0);
    X509 *leaf = leaf_of(NULL, "--no-crl");
    REVOKE(KL_OK, "signed with --no-crl", ca_serial(leaf));
    CRL(KL_OK, NULL, "loader", ca_path("l.crl"));
    X509_CRL *crl = ca_load_crl(ca_path("l.crl"));
    ck_assert_int_eq(listed(crl), 1);
    X509_CRL_free(crl);
    X509_free(leaf);
}
END_TEST

/* A revocation that cannot be read stops every CRL: none may go out without it. What a crash left
 * beside it does not. */
START_TEST(damaged_revocation)
{
    static const char *const bad[] = {
        "",
        "2026-01-31T12:34:56Z superseded",
        "2026-01-31T12:34:56Z superseded\n\n",
        "2026-01-31T12:34:56Z whim\n",
        "2026-01-31 superseded\n",
        "superseded\n",
    };
    char path[PATH_MAX], name[96];

    ca_found("p-256", 0);
    X509 *leaf = leaf_of(NULL, NULL);
    REVOKE(KL_OK, NULL, ca_serial(leaf));
    snprintf(name, sizeof name, "revoked/%s", ca_serial(leaf));
    file_path(path, ca_home, name);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        file_write(path, bad[i], strlen(bad[i]), 0644);
        CRL(KL_ERR_INPUT, "is damaged", "loader", ca_path("x.crl"));
        CRL(KL_ERR_INPUT, "is damaged", "terminal", ca_path("x.crl"));
        CA_RUN(KL_ERR_INPUT, "is damaged", "list", "--dir", ca_home);
        REVOKE(KL_ERR_INPUT, "is damaged", ca_serial(leaf));
    }
    unlink(path);
    file_mkdir(path);
    CRL(KL_ERR_NO_FILE, NULL, "loader", ca_path("x.crl"));
    rmdir(path);
    file_write(path, "2026-01-31T12:34:56Z superseded\n", 32, 0644);
    snprintf(name, sizeof name, "revoked/%s.Ab12Cd", ca_serial(leaf));
    file_write(file_path(path, ca_home, name), "", 0, 0644);
    CRL(KL_OK, NULL, "loader", ca_path("x.crl"));

    /* revoked, but its certificate is lost: when does it expire, which scope is it? */
    snprintf(name, sizeof name, "issued/%s.pem", ca_serial(leaf));
    unlink(file_path(path, ca_home, name));
    CRL(KL_ERR_NOT_FOUND, "revoked certificate", "loader", ca_path("y.crl"));
    ck_assert_int_ne(access(ca_path("y.crl"), F_OK), 0);
    X509_free(leaf);
}
END_TEST

/* Without the folder nothing can be said of any certificate. */
START_TEST(lost_folder)
{
    char path[PATH_MAX];

    ca_found("p-256", 0);
    X509 *leaf = leaf_of(NULL, NULL);
    ck_assert_int_eq(rmdir(file_path(path, ca_home, "revoked")), 0);
    CA_RUN(KL_ERR_NO_FILE, NULL, "list", "--dir", ca_home);
    CA_RUN(KL_ERR_NO_FILE, NULL, "show", "--dir", ca_home, ca_serial(leaf));
    CRL(KL_ERR_NO_FILE, NULL, "loader", ca_path("x.crl"));
    REVOKE(KL_ERR_NO_FILE, NULL, ca_serial(leaf));
    X509_free(leaf);
}
END_TEST

/* ---- list, show ---- */

static const char *field(const json_t *list, const char *serial, const char *key)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        if (strcmp(json_string_value(json_object_get(one, "serial")), serial) == 0) {
            const char *value = json_string_value(json_object_get(one, key));
            return value ? value : "";
        }
    }
    return "not listed";
}

START_TEST(listing)
{
    struct kl_err err = KL_ERR_INIT;
    char loader_serial[64], terminal_serial[64], old_serial[64];

    ca_found("p-256", 0);
    X509 *loader = leaf_of(NULL, NULL), *terminal = leaf_of("SN-1", NULL);
    snprintf(loader_serial, sizeof loader_serial, "%s", ca_serial(loader));
    snprintf(terminal_serial, sizeof terminal_serial, "%s", ca_serial(terminal));
    X509 *old = X509_dup(loader); /* as the years would leave it */
    ASN1_INTEGER_set(X509_get_serialNumber(old), 4711);
    X509_gmtime_adj(X509_getm_notBefore(old), -9 * DAY);
    X509_gmtime_adj(X509_getm_notAfter(old), -DAY);
    ck_assert_int_gt(i2d_re_X509_tbs(old, NULL), 0); /* else it encodes as it was */
    OK(kl_home_record(ca_home, old, &err));
    snprintf(old_serial, sizeof old_serial, "%s", ca_serial(old));
    REVOKE(KL_OK, NULL, terminal_serial, "--reason", "keyCompromise");

    CA_RUN(KL_OK, NULL, "list", "--dir", ca_home, "--json");
    json_t *list = json_loads(ca_out, 0, NULL);
    ck_assert_uint_eq(json_array_size(list), 3);
    ck_assert_str_eq(field(list, loader_serial, "kind"), "loader");
    ck_assert_str_eq(field(list, loader_serial, "status"), "valid");
    ck_assert_str_eq(field(list, loader_serial, "reason"), "");
    ck_assert_str_eq(field(list, terminal_serial, "kind"), "terminal");
    ck_assert_str_eq(field(list, terminal_serial, "status"), "revoked");
    ck_assert_str_eq(field(list, terminal_serial, "reason"), "keyCompromise");
    ck_assert_uint_eq(strlen(field(list, terminal_serial, "revoked_at")), 20);
    ck_assert_str_eq(field(list, old_serial, "status"), "expired");
    json_decref(list);

    CA_RUN(KL_OK, NULL, "list", "--dir", ca_home);
    const char *line = strstr(ca_out, terminal_serial);
    ck_assert(line && strstr(line, "terminal") && strstr(line, "revoked"));
    CA_RUN(KL_OK, NULL, "show", "--dir", ca_home, terminal_serial);
    ck_assert(strstr(ca_out, "kind: terminal\n") && strstr(ca_out, "status: revoked\n"));
    CA_RUN(KL_OK, NULL, "show", "--dir", ca_home, "root");
    ck_assert(strstr(ca_out, "kind: root\n") && strstr(ca_out, "status: valid\n"));
    X509_free(old);
    X509_free(terminal);
    X509_free(loader);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ca_revoke");
    TCase *tc = tcase_create("revoke");

    tcase_add_checked_fixture(tc, ca_begin, ca_end);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, crl_of_each_root, 0, 2 * KINDS);
    tcase_add_test(tc, chains_with_crl);
    tcase_add_test(tc, crl_times);
    tcase_add_test(tc, crl_too_large);
    tcase_add_test(tc, crl_arguments);
    tcase_add_test(tc, numbers);
    tcase_add_test(tc, killed_crl);
    tcase_add_test(tc, revoke_again);
    tcase_add_test(tc, revoke_refused);
    tcase_add_test(tc, revoke_compromised);
    tcase_add_test(tc, revoke_without_crl);
    tcase_add_test(tc, damaged_revocation);
    tcase_add_test(tc, lost_folder);
    tcase_add_test(tc, listing);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
