/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which holder a public key belongs to: keys are unique to one device and one use (PCI PIN v3.1
 * requirements 19 and 20-1), so a key that was certified for one terminal is never certified for
 * another or for a loader, nor the other way round, and one that leaked for nobody. Kept in
 * DIR/keys by the key's SHA-256 fingerprint, for ever: expiry and revocation set no key free.
 */
#ifndef KL_CA_CLAIMS_H
#define KL_CA_CLAIMS_H

#include <openssl/evp.h>

#include "proto/err.h"

/* Binds key to its holder, durably: a loader (serial NULL) or the terminal of that serial. KL_OK if
 * it is that holder's already; KL_ERR_REFUSED if it is somebody else's, or compromised. */
enum kl_rc kl_claim_key(const char *dir, const EVP_PKEY *key, const char *serial,
                        struct kl_err *err) KL_MUST_CHECK;

/* Marks key as compromised, durably: kl_claim_key refuses it from then on. Idempotent. */
enum kl_rc kl_claim_compromised(const char *dir, const EVP_PKEY *key,
                                struct kl_err *err) KL_MUST_CHECK;

#endif
