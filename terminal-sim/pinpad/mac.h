/* SPDX-License-Identifier: BSD-2-Clause */
/* Padding of a message before its MAC, ISO/IEC 9797-1:2011, 6.3: what algorithm 3 needs. */
#ifndef KL_TERMINAL_SIM_PINPAD_MAC_H
#define KL_TERMINAL_SIM_PINPAD_MAC_H

#include <stddef.h>
#include <stdint.h>

#define KL_MAC_BLOCK 8

enum kl_mac_padding {
    KL_MAC_PADDING_1 = 1, /* zero bits up to a whole block; a block of them if there is nothing */
    KL_MAC_PADDING_2 = 2, /* a one bit, then as many zero bits as it takes */
};

/* Length of a message of len bytes once it is padded. */
size_t kl_mac_padded_len(enum kl_mac_padding method, size_t len);

/* Pads what stands in buffer, of len bytes; buffer holds kl_mac_padded_len. */
void kl_mac_pad(enum kl_mac_padding method, uint8_t *buffer, size_t len);

#endif
