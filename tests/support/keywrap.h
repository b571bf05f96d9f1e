/* SPDX-License-Identifier: BSD-2-Clause */
/* What the other party does with keys, by OpenSSL: key check values, and wrapping under a zone key.
 */
#ifndef KL_TESTS_SUPPORT_KEYWRAP_H
#define KL_TESTS_SUPPORT_KEYWRAP_H

#include <stddef.h>
#include <stdint.h>

#include "proto/alg.h"

/* The KCV of key, which has the algorithm's length, 4 bytes; and as hex of 6 digits. */
void keywrap_kcv(const struct kl_alg_info *info, const uint8_t *key, uint8_t kcv[KL_KCV_LEN_MAX]);
void keywrap_kcv_text(const struct kl_alg_info *info, const uint8_t *key, char out[KL_KCV_TEXT]);

/* RFC 3394, or with padding RFC 5649, of a key of len bytes. out has room for len + 16. Returns the
 * length. */
size_t keywrap_aes(const uint8_t *kek, size_t kek_len, int padded, const uint8_t *key, size_t len,
                   uint8_t *out);

/* Its reverse, without padding (RFC 3394): out gets len - 8 bytes. Fails the test if it does not
 * unwrap. */
void keywrap_aes_open(const uint8_t *kek, size_t kek_len, const uint8_t *wrapped, size_t len,
                      uint8_t *out);

/* Upper-case hex; out has room for 2 * len + 1. Returns out. */
char *keywrap_hex(const uint8_t *data, size_t len, char *out);

#endif
