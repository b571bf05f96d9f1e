/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The 40 bytes by which terminals that follow the Chinese acquirers' ISO 8583 profiles get their
 * working keys at sign-in (field 62): PIK of double length, MAK of single length, each under a TDES
 * TMK by TDES-ECB, each with the first 4 bytes of its KCV.
 *
 *   PIK (16) || KCV (4) || MAK (8) || zeros (8) || KCV (4)
 */
#ifndef KL_PROTO_FIELD62_H
#define KL_PROTO_FIELD62_H

#include <stdint.h>

#include "proto/err.h"
#include "proto/message.h"

struct kl_field62 {
    uint8_t pik[16]; /* under the TMK */
    uint8_t pik_kcv[4];
    uint8_t mak[8]; /* under the TMK */
    uint8_t mak_kcv[4];
};

void kl_field62_format(const struct kl_field62 *in, uint8_t out[KL_FIELD62_LEN]);
/* KL_ERR_PROTOCOL if the zeros are not. */
enum kl_rc kl_field62_parse(const uint8_t in[KL_FIELD62_LEN], struct kl_field62 *out,
                            struct kl_err *err) KL_MUST_CHECK;

#endif
