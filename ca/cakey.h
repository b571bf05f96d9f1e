/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AcquireRCRT_Prk: in a PKCS#11 token (where it signs and never leaves), or, for a CA without
 * one, in an encrypted PKCS#8 file (PBES2: scrypt and AES-256-CBC).
 */
#ifndef KL_CA_CAKEY_H
#define KL_CA_CAKEY_H

#include "ca/home.h"
#include "pkcs11/hsm.h"
#include "pkcs11/x509sign.h"
#include "proto/alg.h"
#include "proto/err.h"

#define KL_CA_PASSPHRASE_MIN 12 /* bytes, of a passphrase newly chosen */

struct kl_cakey;

/* Makes a pair of that type and size where conf says; conf and dir are borrowed and must outlive
 * *out. KL_ERR_EXISTS if there is one of that label or file name: no key is ever overwritten. */
enum kl_rc kl_cakey_generate(const struct kl_ca_conf *conf, const char *dir, enum kl_key_type type,
                             unsigned bits, struct kl_cakey **out,
                             struct kl_err *err) KL_MUST_CHECK;

/* Undoes kl_cakey_generate: for an init that fails later on. Frees key. If the pair cannot be
 * removed, says so on top of what err says already. */
void kl_cakey_discard(struct kl_cakey *key, struct kl_err *err);

/* Opens the existing key and checks that it is the one that root certifies (KL_ERR_KEY). Asks for
 * the PIN or passphrase once. Keeps neither conf nor dir. */
enum kl_rc kl_cakey_open(const struct kl_ca_conf *conf, const char *dir, const X509 *root,
                         struct kl_cakey **out, struct kl_err *err) KL_MUST_CHECK;
void kl_cakey_free(struct kl_cakey *key); /* takes NULL */

/* The same by DIR/ca.conf, with a PIN source instead of the one there unless that is NULL. */
enum kl_rc kl_cakey_open_home(const char *dir, const char *pin_source, const X509 *root,
                              struct kl_cakey **out, struct kl_err *err) KL_MUST_CHECK;

struct kl_signer *kl_cakey_signer(const struct kl_cakey *key); /* borrowed */

/* Where the token of a key that is in one is; borrows from conf. */
struct kl_hsm_where kl_cakey_where(const struct kl_ca_conf *conf);

#endif
