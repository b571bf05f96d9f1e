/* SPDX-License-Identifier: BSD-2-Clause */
/* PIN blocks of formats 0 and 4: see pinblock.h. */
#include "terminal-sim/pinpad/pinblock.h"

#include <string.h>

#define PAN0_DIGITS 12 /* of the PAN that format 0 uses */
#define PAN4_PLAIN 12  /* digits of a PAN that format 4 carries without counting any */

static int all_digits(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return 0;
        }
    }
    return 1;
}

enum kl_rc kl_pin_check(struct kl_secret *pin, struct kl_err *err)
{
    size_t len = kl_secret_len(pin);

    if (len < KL_PIN_MIN || len > KL_PIN_MAX ||
        !all_digits((const char *)kl_secret_data(pin), len)) {
        return kl_err_set(err, KL_ERR_INPUT, "a PIN has %d to %d digits and nothing else",
                          KL_PIN_MIN, KL_PIN_MAX);
    }
    return KL_OK;
}

enum kl_rc kl_pan_check(const char *pan, struct kl_err *err)
{
    size_t len = strlen(pan);

    if (len < KL_PAN_MIN || len > KL_PAN_MAX || !all_digits(pan, len)) {
        return kl_err_set(err, KL_ERR_INPUT, "a PAN has %d to %d digits and nothing else",
                          KL_PAN_MIN, KL_PAN_MAX);
    }
    return KL_OK;
}

/* Sets the nibble at that place, the most significant of the first byte being 0. */
static void set_nibble(uint8_t *out, size_t at, unsigned value)
{
    unsigned shift = at % 2 ? 0 : 4;

    out[at / 2] = (uint8_t)((out[at / 2] & ~(0xfU << shift)) | (value << shift));
}

/* Control nibble, length, digits. */
static void set_pin(uint8_t *out, unsigned control, struct kl_secret *pin)
{
    const uint8_t *digits = kl_secret_data(pin);
    size_t len = kl_secret_len(pin);

    set_nibble(out, 0, control);
    set_nibble(out, 1, (unsigned)len);
    for (size_t i = 0; i < len; i++) {
        set_nibble(out, 2 + i, (unsigned)(digits[i] - '0'));
    }
}

void kl_pinblock0(struct kl_secret *pin, const char *pan, uint8_t out[KL_PINBLOCK0_LEN])
{
    uint8_t account[KL_PINBLOCK0_LEN] = {0};
    size_t len = strlen(pan) - 1, used = len < PAN0_DIGITS ? len : PAN0_DIGITS;

    memset(out, 0xff, KL_PINBLOCK0_LEN);
    set_pin(out, 0, pin);
    for (size_t i = 0; i < used; i++) {
        set_nibble(account, 2 * sizeof(account) - used + i, (unsigned)(pan[len - used + i] - '0'));
    }
    for (size_t i = 0; i < KL_PINBLOCK0_LEN; i++) {
        out[i] ^= account[i];
    }
}

void kl_pinblock4_pin(struct kl_secret *pin, const uint8_t random[KL_PINBLOCK4_RANDOM],
                      uint8_t out[KL_PINBLOCK4_LEN])
{
    memset(out, 0xaa, KL_PINBLOCK4_LEN);
    set_pin(out, 4, pin);
    memcpy(out + KL_PINBLOCK4_LEN - KL_PINBLOCK4_RANDOM, random, KL_PINBLOCK4_RANDOM);
}

void kl_pinblock4_pan(const char *pan, uint8_t out[KL_PINBLOCK4_LEN])
{
    size_t len = strlen(pan), zeros = len < PAN4_PLAIN ? PAN4_PLAIN - len : 0;

    memset(out, 0, KL_PINBLOCK4_LEN);
    set_nibble(out, 0, len > PAN4_PLAIN ? (unsigned)(len - PAN4_PLAIN) : 0);
    for (size_t i = 0; i < len; i++) { /* a PAN of fewer than 12 digits has zeros before it */
        set_nibble(out, 1 + zeros + i, (unsigned)(pan[i] - '0'));
    }
}
