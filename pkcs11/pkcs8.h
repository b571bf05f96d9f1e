/* SPDX-License-Identifier: BSD-2-Clause */
/* Private keys in encrypted files: PKCS#8 (RFC 5958), PEM, under a passphrase. */
#ifndef KL_PKCS11_PKCS8_H
#define KL_PKCS11_PKCS8_H

#include <openssl/evp.h>
#include <stddef.h>

#include "proto/err.h"
#include "proto/secret.h"

#define KL_PKCS8_FILE_MAX 65536 /* bytes */

/* KL_OK if text is one PEM block "ENCRYPTED PRIVATE KEY" and nothing else, encrypted by PBES2
 * (RFC 8018). KL_ERR_INPUT says what it is instead; of a key in clear, how to encrypt it. */
enum kl_rc kl_pkcs8_check(const char *text, size_t len, struct kl_err *err) KL_MUST_CHECK;

/* The same, decrypted: one DER value and nothing after it. KL_ERR_PIN: the passphrase does not open
 * it (or the file is damaged: nobody can tell). KL_ERR_INPUT: what it holds is no private key. Has
 * the key in clear in memory that OpenSSL wipes, so lock all memory before (kl_ceremony_lock). The
 * caller frees with EVP_PKEY_free. */
enum kl_rc kl_pkcs8_open(const char *text, size_t len, struct kl_secret *passphrase, EVP_PKEY **out,
                         struct kl_err *err) KL_MUST_CHECK;

#endif
