/* SPDX-License-Identifier: BSD-2-Clause */
/* ISO/IEC 9797-1 padding: see mac.h. */
#include "terminal-sim/pinpad/mac.h"

#include <string.h>

size_t kl_mac_padded_len(enum kl_mac_padding method, size_t len)
{
    size_t least = method == KL_MAC_PADDING_2 || len == 0 ? len + 1 : len;

    return (least + KL_MAC_BLOCK - 1) / KL_MAC_BLOCK * KL_MAC_BLOCK;
}

void kl_mac_pad(enum kl_mac_padding method, uint8_t *buffer, size_t len)
{
    memset(buffer + len, 0, kl_mac_padded_len(method, len) - len);
    if (method == KL_MAC_PADDING_2) {
        buffer[len] = 0x80;
    }
}
