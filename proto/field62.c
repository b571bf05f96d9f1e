/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The 40 bytes of field 62: where each part of them stands.
 */
#include "proto/field62.h"

#include <string.h>

#define PIK_AT 0
#define PIK_KCV_AT 16
#define MAK_AT 20
#define ZEROS_AT 28
#define ZEROS_LEN 8
#define MAK_KCV_AT 36

void kl_field62_format(const struct kl_field62 *in, uint8_t out[KL_FIELD62_LEN])
{
    memcpy(out + PIK_AT, in->pik, sizeof(in->pik));
    memcpy(out + PIK_KCV_AT, in->pik_kcv, sizeof(in->pik_kcv));
    memcpy(out + MAK_AT, in->mak, sizeof(in->mak));
    memset(out + ZEROS_AT, 0, ZEROS_LEN);
    memcpy(out + MAK_KCV_AT, in->mak_kcv, sizeof(in->mak_kcv));
}

enum kl_rc kl_field62_parse(const uint8_t in[KL_FIELD62_LEN], struct kl_field62 *out,
                            struct kl_err *err)
{
    static const uint8_t zeros[ZEROS_LEN];

    if (memcmp(in + ZEROS_AT, zeros, ZEROS_LEN) != 0) {
        return kl_err_set(err, KL_ERR_PROTOCOL,
                          "field 62 holds something in bytes %d to %d, which "
                          "must be zero",
                          ZEROS_AT + 1, ZEROS_AT + ZEROS_LEN);
    }
    memcpy(out->pik, in + PIK_AT, sizeof(out->pik));
    memcpy(out->pik_kcv, in + PIK_KCV_AT, sizeof(out->pik_kcv));
    memcpy(out->mak, in + MAK_AT, sizeof(out->mak));
    memcpy(out->mak_kcv, in + MAK_KCV_AT, sizeof(out->mak_kcv));
    return KL_OK;
}
