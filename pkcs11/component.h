/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Key components: a key as the exclusive-or of two or three values, each known to one custodian
 * alone (ANSI X9.24-1, PCI PIN v3.1 requirement 6: none tells anything of the key). Values stand in
 * struct kl_secret only.
 */
#ifndef KL_PKCS11_COMPONENT_H
#define KL_PKCS11_COMPONENT_H

#include <stddef.h>
#include <stdint.h>

#include "pkcs11/token.h"
#include "proto/alg.h"
#include "proto/err.h"
#include "proto/secret.h"

#define KL_COMPONENTS_MIN 2
#define KL_COMPONENTS_MAX 3

/* What TDES values must be like. */
enum kl_parity {
    KL_PARITY_ODD,    /* every byte of a component: FIPS 46-3 */
    KL_PARITY_IGNORE, /* whatever it is */
};

/* KCVs of 3 or 4 bytes in hex, any case, nothing around it. KL_ERR_INPUT. */
enum kl_rc kl_kcv_parse(const char *text, uint8_t kcv[KL_KCV_LEN_MAX], size_t *len,
                        struct kl_err *err) KL_MUST_CHECK;

/* One component of a key of that algorithm, from what a custodian typed: its bytes in hex, of any
 * case, spaces anywhere between two of them. KL_ERR_INPUT: not that, not of the key's length, all
 * zero (parity bits aside), or not of odd parity. The text is never quoted. The caller frees with
 * kl_secret_free. */
enum kl_rc kl_component_parse(const struct kl_alg_info *info, enum kl_parity parity,
                              struct kl_secret *text, struct kl_secret **out,
                              struct kl_err *err) KL_MUST_CHECK;

/* The key that count components make (KL_COMPONENTS_MIN to _MAX, each of the key's length). TDES
 * parity bits, which the sum of an even number of components has wrong, are set odd. KL_ERR_INPUT:
 * two are equal, or the sum is zero (as if one were missing), or a TDES key of which two parts are
 * equal: single DES, or, for tdes3, 2-key TDES. The caller frees. */
enum kl_rc kl_components_sum(const struct kl_alg_info *info, struct kl_secret *const *components,
                             size_t count, struct kl_secret **out,
                             struct kl_err *err) KL_MUST_CHECK;

/* The KCV of such a value, computed by the token with a session key. */
enum kl_rc kl_component_kcv(struct kl_session *session, const struct kl_alg_info *info,
                            struct kl_secret *value, size_t kcv_len, uint8_t *kcv,
                            struct kl_err *err) KL_MUST_CHECK;

#endif
