/* SPDX-License-Identifier: BSD-2-Clause */
/* Module 101, authentication (S4): is this AcquireWCRT a key loader's of our acquirer? */
#ifndef KL_TERMINAL_SIM_AUTH_H
#define KL_TERMINAL_SIM_AUTH_H

#include <openssl/x509.h>
#include <time.h>

#include "proto/cert.h"
#include "proto/err.h"
#include "proto/message.h"

struct kl_auth_work {
    struct kl_pubkey *key; /* AcquireWCRT_Pu; owned: kl_pubkey_free */
    char subject[KL_NAME_MAX];
    char anchor[KL_NAME_MAX]; /* subject of the root that it chains to */
    int has_crl;              /* 1: a CRL was stapled, and says that it is not revoked */
};

/* Verifies the chain in msg, and the CRL that is stapled to it, against `roots` (AcquireRCRT, 1 to
 * KL_ANCHOR_MAX, the only trust anchors; borrowed) at `now`, as kl_cert_verify_loader, and extracts
 * AcquireWCRT_Pu. KL_ERR_CERT says which check failed, KL_ERR_REVOKED. */
enum kl_rc kl_auth_verify(const struct kl_certificate *msg, STACK_OF(X509) * roots, time_t now,
                          struct kl_auth_work *out, struct kl_err *err) KL_MUST_CHECK;

struct kl_auth_anchors {
    uint8_t hash[KL_ANCHOR_MAX][KL_HASH_LEN]; /* kl_pubkey_hash of each root's public key */
    size_t count;
};
/* As Hello names them. KL_ERR_INPUT unless there are 1 to KL_ANCHOR_MAX roots. */
enum kl_rc kl_auth_anchors(STACK_OF(X509) * roots, struct kl_auth_anchors *out,
                           struct kl_err *err) KL_MUST_CHECK;

/*
 * What very many terminals with the same roots need not each work out again: the hashes of those
 * roots, and how kl_auth_verify went for the same bytes (of every certificate and the CRL) at the
 * same second. Only successes are kept; a byte or a second more, and it is verified again. One
 * thread.
 */
struct kl_auth_memo;

/* Borrows `roots` (1 to KL_ANCHOR_MAX, else KL_ERR_INPUT) until kl_auth_memo_free. */
enum kl_rc kl_auth_memo_new(STACK_OF(X509) * roots, struct kl_auth_memo **out,
                            struct kl_err *err) KL_MUST_CHECK;
void kl_auth_memo_free(struct kl_auth_memo *memo); /* takes NULL */

/* As kl_auth_verify with the memo's roots. out->key is the same object for all that share a result.
 */
enum kl_rc kl_auth_verify_once(struct kl_auth_memo *memo, const struct kl_certificate *msg,
                               time_t now, struct kl_auth_work *out,
                               struct kl_err *err) KL_MUST_CHECK;

/* Of the memo's roots; borrowed. */
const struct kl_auth_anchors *kl_auth_memo_anchors(const struct kl_auth_memo *memo);

#endif
