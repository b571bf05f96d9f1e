/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rogue loader (terminal-sim/attack/rogue.h) as the tests of a terminal use it: with keys made
 * once, for the terminal FAKE_SERIAL, and with failures that are the test's own (ck_abort_msg).
 */
#ifndef KL_TESTS_SUPPORT_FAKELOADER_H
#define KL_TESTS_SUPPORT_FAKELOADER_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

#include "terminal-sim/attack/rogue.h"

#define FAKE_SERIAL "T-0001" /* of the terminal that the tests have */

/* Made once, by fake_make_keys. */
extern EVP_PKEY *fake_root_key, *fake_other_key, *fake_work_key, *fake_ec_key; /* EC: P-256 */
extern X509 *root, *fake_other_root;
extern X509 *work, *fake_ec_work; /* AcquireWCRT as it should be, of either key */

X509 *fake_new_cert(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                    const struct kl_rogue_profile *profile);
X509_CRL *fake_new_crl(X509 *issuer, EVP_PKEY *issuer_key,
                       const struct kl_rogue_crl_profile *profile);
void fake_make_keys(void);
void fake_free_keys(void);
void fake_loader_init(struct kl_rogue *loader);
/* Makes it a loader of hardened-ec on that key and certificate. */
void fake_loader_ec(struct kl_rogue *loader, EVP_PKEY *key, X509 *cert);
void fake_derive(const struct kl_rogue *loader, const char *purpose, uint8_t key[32]);
void fake_encode(const struct kl_msg *msg, uint8_t *out, size_t *len);
void fake_say_certificate(struct kl_rogue *loader, const uint8_t *hello, size_t hello_len,
                          uint8_t *out, size_t *out_len);
void fake_sign(EVP_PKEY *key, const uint8_t *in, size_t len, int salt, struct kl_master_key *msg);
void fake_say_master_key(struct kl_rogue *loader, const uint8_t *in, size_t in_len, uint8_t *out,
                         size_t *out_len);
/* SignIn in, WorkingKeys out. */
void fake_say_keys(struct kl_rogue *loader, const uint8_t *in, size_t in_len, uint8_t *out,
                   size_t *out_len);
/* What the loader would recompute of a MAC or a PIN block; fake_block is ECB. */
void fake_retail_mac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len,
                     uint8_t mac[8]);
void fake_cmac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len, uint8_t mac[16]);
void fake_block(enum kl_alg alg, int encrypt, const uint8_t *key, const uint8_t *in, size_t len,
                uint8_t *out);
void fake_ack_mac(const struct kl_rogue *loader, uint8_t mac[16]);
void fake_say_done(const struct kl_rogue *loader, enum kl_verdict verdict, struct kl_msg *msg);

#endif
