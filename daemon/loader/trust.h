/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The certificates in force: the work chains that this loader serves, the CRL that goes with each,
 * and the roots and CRLs that terminals' certificates are held against. Read from the configured
 * files as a whole, checked against each other and the clock, and never changed once it is in use:
 * a reload makes another one. Loop thread only, references included.
 */
#ifndef KL_DAEMON_LOADER_TRUST_H
#define KL_DAEMON_LOADER_TRUST_H

#include <openssl/x509.h>
#include <time.h>

#include "daemon/config.h"
#include "pkcs11/loader.h"
#include "proto/cert.h"
#include "proto/err.h"
#include "proto/message.h"

struct kl_trust;

#define KL_TRUST_MAX KL_LOADER_KEYS_MAX /* chains in force at once */

/* One work key and its chain. */
struct kl_trust_entry {
    char label[KL_KEY_LABEL_MAX + 1]; /* of the key in the HSM; the file is LABEL.pem */
    STACK_OF(X509) * certs;           /* AcquireWCRT first, root left out */
    size_t chain_count;
    struct kl_bytes chain[KL_CHAIN_MAX]; /* their DER */
    struct kl_bytes crl;                 /* DER of AcquireWCRT's issuer's CRL; len 0 = none */
    uint8_t anchor[KL_HASH_LEN];         /* kl_pubkey_hash of the root above it */
    enum kl_key_type type;
    unsigned bits;
    time_t from, until; /* when all of it is in force, CRL included */
    /* What the HSM says of the key, by kl_trust_bind; suite 0 before. */
    enum kl_suite suite;
    enum kl_oaep_hash oaep_hash;
};

/* Reads what config names. A chain that is not in force at `now` or whose AcquireWCRT is revoked is
 * left out with a warning; anything else that is wrong with any file, or no chain at all being
 * left, is an error that names the file: KL_ERR_REVOKED if a chain that is left out is revoked,
 * else KL_ERR_CERT; KL_ERR_NO_FILE. The caller has the one reference. */
enum kl_rc kl_trust_load(const struct kl_config *config, time_t now, struct kl_trust **out,
                         struct kl_err *err) KL_MUST_CHECK;
struct kl_trust *kl_trust_ref(struct kl_trust *trust); /* one more reference: returns trust */
void kl_trust_free(struct kl_trust *trust);            /* one less; takes NULL */

/* No chain of it serves any new session from now on: what there is, is revoked. */
void kl_trust_withdraw(struct kl_trust *trust);

size_t kl_trust_count(const struct kl_trust *trust);
const struct kl_trust_entry *kl_trust_at(const struct kl_trust *trust, size_t i); /* borrowed */

/* While nobody else has a reference: that the HSM's keys (as a worker found them) are those of the
 * chains. Each chain needs its key, of its label, and at least one a suite that config allows;
 * others are warned of. KL_ERR_CERT, KL_ERR_KEY or KL_ERR_CONFIG says what to do. Keys without a
 * chain are no concern. Safe to repeat: whether a later worker has found the same. */
enum kl_rc kl_trust_bind(struct kl_trust *trust, const struct kl_config *config,
                         const struct kl_loader_key *keys, size_t count,
                         struct kl_err *err) KL_MUST_CHECK;

/* Which chain serves this terminal: the first suite of [policy] suites that it offers and for which
 * there is a chain that is in force, leads to a root in Hello.anchors (if there are any) and whose
 * key may carry a TMK of that algorithm (unless strength-policy is warn); of several the one with
 * the latest notBefore. *out borrows from trust. KL_ERR_UNSUPPORTED: no suite or no root in common;
 * KL_ERR_STRENGTH; KL_ERR_UNAVAILABLE: what there is has expired meanwhile, or been withdrawn. */
enum kl_rc kl_trust_pick(const struct kl_trust *trust, const struct kl_config *config,
                         const struct kl_hello *hello, enum kl_alg alg, time_t now,
                         const struct kl_trust_entry **out, struct kl_err *err) KL_MUST_CHECK;

/* 1 if there are terminal roots. */
int kl_trust_knows_terminals(const struct kl_trust *trust);
/* Verifies Hello.chain by them, and that it is that serial's. *key: the device key, the caller
 * frees it with EVP_PKEY_free. KL_ERR_CERT or KL_ERR_REVOKED, also when there is no chain. */
enum kl_rc kl_trust_terminal(const struct kl_trust *trust, const struct kl_hello *hello, time_t now,
                             EVP_PKEY **key, struct kl_err *err) KL_MUST_CHECK;

/* When a certificate or CRL ends. Texts are valid for the call alone. */
enum kl_trust_kind { KL_TRUST_WORK, KL_TRUST_ROOT, KL_TRUST_TERMINAL_ROOT, KL_TRUST_CRL };
struct kl_trust_end {
    enum kl_trust_kind kind;
    const char *label; /* of its chain; "" = it belongs to none */
    const char *name;  /* its subject; of a CRL its scope */
    time_t until;
};
/* Calls fn for each. */
typedef void (*kl_trust_end_fn)(const struct kl_trust_end *end, void *arg);
void kl_trust_ends(const struct kl_trust *trust, kl_trust_end_fn fn, void *arg);
/* How many chains serve at `now`: in force, not withdrawn. */
size_t kl_trust_in_force(const struct kl_trust *trust, time_t now);

/* Logs every certificate and CRL that has expired (error) or expires within 30 days (warning). */
#define KL_TRUST_WARN_DAYS 30
void kl_trust_warn(const struct kl_trust *trust, time_t now);

/* ---- The files, for keyloaderctl as well ---- */

/* 1 if label can name a file: 1 to KL_KEY_LABEL_MAX of A-Z a-z 0-9 - . _ +, no dot first. */
int kl_trust_label_ok(const char *label);
/* config->work/LABEL.pem into out (PATH_MAX bytes). KL_ERR_INPUT: no such label can be. */
enum kl_rc kl_trust_path(const struct kl_config *config, const char *label, char *out,
                         struct kl_err *err) KL_MUST_CHECK;
/* Labels of the chains in config->work, in order; what is no LABEL.pem is left out. KL_ERR_CERT: a
 * LABEL.pem that is no regular file, a bad label, or more than KL_TRUST_MAX. KL_ERR_NO_FILE: no
 * directory. */
struct kl_trust_labels {
    size_t count;
    char label[KL_TRUST_MAX][KL_KEY_LABEL_MAX + 1];
};
enum kl_rc kl_trust_labels(const struct kl_config *config, struct kl_trust_labels *out,
                           struct kl_err *err) KL_MUST_CHECK;
/* PEM of 1 to KL_ANCHOR_MAX CRLs; path "": none. The caller frees with
 * sk_X509_CRL_pop_free(crls, X509_CRL_free). */
enum kl_rc kl_trust_crls(const char *path, STACK_OF(X509_CRL) * *out,
                         struct kl_err *err) KL_MUST_CHECK;
/* The CRL that issuer signed; NULL if there is none. Borrowed. */
X509_CRL *kl_trust_crl_of(STACK_OF(X509_CRL) * crls, const X509 *issuer);
/* The root that signed crl; NULL if none did. Borrowed. */
X509 *kl_trust_crl_issuer(const X509_CRL *crl, STACK_OF(X509) * roots);
/* The root that signed the chain's one certificate; NULL if none did, or if there is another
 * between them: CRLs are of roots alone. Borrowed. */
X509 *kl_trust_issuer(STACK_OF(X509) * chain, STACK_OF(X509) * roots);

#endif
