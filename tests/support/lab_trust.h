/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * More of lab.h, for tests of trust: CAs whose keys a test can sign with, certificates and CRLs
 * that acquire-ca would never make, a man in the middle who edits messages, and what the loader has
 * made of it. Failures are the test's own (ck_abort_msg).
 */
#ifndef KL_TESTS_SUPPORT_LAB_TRUST_H
#define KL_TESTS_SUPPORT_LAB_TRUST_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "proto/message.h"
#include "terminal-sim/attack/rogue.h"
#include "tests/support/lab.h"

/* ---- CAs ---- */

/* As lab_found_ca, but its key (of that kind, as for acquire-ca) is in a file. Every such CA has
 * the same name: what tells them apart is their keys alone. */
void lab_found_file_ca(struct lab *lab, const char *name, const char *key);
/* DIR/NAME's root.pem into path; returns it. */
char *lab_ca_root(const struct lab *lab, const char *name, char path[PATH_MAX]);
/* A whole centre: a file CA "ca", with CRLs of both scopes, is the root of both sides; work key
 * LAB_WORK_KEY of that suite and kind; the loader wants terminals' certificates. */
void lab_found_trust(struct lab *lab, const char *ca_key, const char *suite, const char *key);
/* Runs `acquire-ca ARGS... --dir HOME` (NULL-terminated); which must end with status 0. */
void lab_ca(struct lab *lab, const char *name, ...) __attribute__((sentinel));
void lab_revoke(struct lab *lab, const char *ca, const X509 *cert);

/* A file CA's own certificate and key. */
struct lab_issuer {
    X509 *root;
    EVP_PKEY *key;
};
void lab_issuer_open(const struct lab *lab, const char *name, struct lab_issuer *out);
void lab_issuer_close(struct lab_issuer *issuer);
/* A certificate of the serial's terminal, otherwise as the profile says (eku and
 * key_usage NULL: a terminal's). The caller frees. */
X509 *lab_terminal_cert(const struct lab_issuer *issuer, const char *serial, EVP_PKEY *key,
                        const struct kl_rogue_profile *profile);

/* ---- Files ---- */

X509 *lab_read_cert(const char *path);               /* the first; the caller frees */
void lab_write_cert(const char *path, X509 *cert);   /* PEM */
void lab_write_crl(const char *path, X509_CRL *crl); /* PEM */
/* A file in the terminal's folder: "root.pem", "device.pem". Returns path. */
char *lab_terminal_file(const struct lab *lab, const char *serial, const char *name,
                        char path[PATH_MAX]);
/* Copies a file, or a terminal with its PIN pad: the copy says it is `to`. */
void lab_copy_file(const char *from, const char *to);
void lab_clone_terminal(struct lab *lab, const char *from, const char *to);

/* ---- A man in the middle ---- */

/* Called for every message that passes, in the relay's thread, where nothing may be asserted:
 * returns 1 if it has changed msg, which is encoded again then. der: as it came. What msg is made
 * to borrow must last. */
struct lab_mitm {
    int (*edit)(struct kl_msg *msg, const uint8_t *der, size_t len, void *arg);
    void *arg;
    unsigned edits, failures; /* messages changed; those that could not be encoded again */
};
/* A load through it; it must have made at least `edits` changes. Its exit status; what the terminal
 * said on stderr goes into *said (malloc'ed), unless NULL. extra: as for lab_load_start. */
int lab_mitm_load(struct lab *lab, const char *serial, const char *const *extra,
                  struct lab_mitm *mitm, unsigned edits, char **said);

/* ---- What the loader says ---- */

/* How many alarms of that serial (and rc name, unless NULL) the audit trail has. */
unsigned lab_alarms(struct lab *lab, const char *serial, const char *reason);
/* Waits until that is at least `count`; fails the test if it does not come to that. */
void lab_await_alarm(struct lab *lab, const char *serial, const char *reason, unsigned count);
/* Attempts left of its arming; 0 = not armed. */
unsigned lab_attempts(struct lab *lab, const char *serial);

#endif
