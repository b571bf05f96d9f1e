/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tests of the CA centre share: a fresh directory, requests, and acquire-ca's commands
 * called in this process. Everything here ends the test when it fails.
 */
#ifndef KL_TESTS_SUPPORT_CAHOME_H
#define KL_TESTS_SUPPORT_CAHOME_H

#include <limits.h>
#include <openssl/x509.h>

#include "proto/err.h"

/* The directory of the test, of which "home" is the CA's; a checked fixture. */
extern char ca_top[PATH_MAX], ca_home[PATH_MAX];
void ca_begin(void);
void ca_end(void);

/* "ca_top/name", static storage, good for the next 31 calls. */
const char *ca_path(const char *name);

/* A name that kl_name_parse takes. The caller frees with X509_NAME_free. */
X509_NAME *ca_name(const char *text);

/* "RSA-2048", "P-256", ...: of OpenSSL; also kinds that are refused ("RSA-1024", "P-192"). */
EVP_PKEY *ca_key(const char *kind);

/* A root certificate of kl_profile_root, signed with SHA-256. The caller frees. */
X509 *ca_root(EVP_PKEY *key, int days, int64_t now);

/* A request, unsigned; and one signed by its own key with SHA-256, in a file. */
X509_REQ *ca_request(EVP_PKEY *key, const char *subject);
void ca_sign_pss(X509_REQ *request, EVP_PKEY *key, const EVP_MD *hash, const EVP_MD *mgf);
void ca_request_file(const char *path, EVP_PKEY *key, const char *subject);

/* The last command's standard output and standard error. */
extern char *ca_out, *ca_err;

/* A command of acquire-ca (argv[0] is its name, argv ends with NULL): must end with rc, and what
 * it says, on standard error or in its err, must contain words (NULL: anything). */
void ca_must_end(enum kl_rc rc, const char *words, const char *const *argv);
#define CA_RUN(rc, words, ...) ca_must_end(rc, words, (const char *const[]){__VA_ARGS__, NULL})

/* A CA in ca_home that lasts 99 days, its key of that kind: in an encrypted file, or in a SoftHSM
 * token. */
void ca_found(const char *kind, int in_token);

/* PEM files. The caller frees. */
X509 *ca_load_cert(const char *path);
X509_CRL *ca_load_crl(const char *path);

/* The serial number in hex; static storage. */
const char *ca_serial(const X509 *cert);

#endif
