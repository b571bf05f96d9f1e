/* SPDX-License-Identifier: BSD-2-Clause */
/* PIN blocks and MACs with the PIN pad's working keys: see working.h. */
#include "terminal-sim/pinpad/working.h"

#include <stdlib.h>
#include <string.h>

static enum kl_rc format0(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                          struct kl_secret *pin, const char *pan, uint8_t *block, uint8_t *out,
                          struct kl_err *err)
{
    kl_pinblock0(pin, pan, block);
    return kl_pinpad_encrypt_pin(pad, pair, block, out, err);
}

/* Enciphered twice, the PAN field in between. */
static enum kl_rc format4(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                          struct kl_secret *pin, const char *pan, uint8_t *block, uint8_t *out,
                          struct kl_err *err)
{
    uint8_t random[KL_PINBLOCK4_RANDOM], account[KL_PINBLOCK4_LEN];
    enum kl_rc rc = kl_pinpad_random(pad, random, sizeof(random), err);

    if (rc) {
        return rc;
    }
    kl_pinblock4_pin(pin, random, block);
    kl_pinblock4_pan(pan, account);
    rc = kl_pinpad_encrypt_pin(pad, pair, block, block, err);
    for (size_t i = 0; i < KL_PINBLOCK4_LEN; i++) {
        block[i] ^= account[i];
    }
    return rc ? rc : kl_pinpad_encrypt_pin(pad, pair, block, out, err);
}

enum kl_rc kl_working_pin_block(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                                unsigned format, struct kl_secret *pin, const char *pan,
                                uint8_t out[KL_PINBLOCK4_LEN], size_t *len, struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(pair->alg);
    struct kl_secret *block = NULL;
    enum kl_rc rc = kl_pin_check(pin, err);

    if (!rc) {
        rc = kl_pan_check(pan, err);
    }
    if (!rc && (!info || (format != 0 && format != 4) || (format == 4) != info->is_aes)) {
        rc = kl_err_set(err, KL_ERR_UNSUPPORTED,
                        "PIN block format %u does not go with a PIK of %s: format 0 takes TDES, "
                        "format 4 takes AES",
                        format, info ? info->name : "no algorithm");
    }
    if (!rc) {
        rc = kl_secret_new(KL_PINBLOCK4_LEN, &block, err);
    }
    if (!rc) {
        rc =
            (format == 4 ? format4 : format0)(pad, pair, pin, pan, kl_secret_data(block), out, err);
    }
    if (!rc) {
        *len = format == 4 ? KL_PINBLOCK4_LEN : KL_PINBLOCK0_LEN;
    }
    kl_secret_free(block);
    return rc;
}

enum kl_rc kl_working_mac(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                          enum kl_mac_padding padding, const uint8_t *in, size_t in_len,
                          uint8_t out[KL_MAC_LEN], size_t *len, struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(pair->alg);
    size_t padded = kl_mac_padded_len(padding, in_len);
    uint8_t *buffer;
    enum kl_rc rc;

    if (info && info->is_aes) {
        *len = KL_MAC_LEN;
        return kl_pinpad_mac_message(pad, pair, in, in_len, out, err);
    }
    buffer = malloc(padded);
    if (!buffer) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for a message of %zu bytes", in_len);
    }
    memcpy(buffer, in, in_len);
    kl_mac_pad(padding, buffer, in_len);
    rc = kl_pinpad_mac_message(pad, pair, buffer, padded, out, err);
    if (!rc) {
        *len = KL_MAC_BLOCK;
    }
    free(buffer);
    return rc;
}
