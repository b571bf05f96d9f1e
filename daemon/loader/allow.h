/* SPDX-License-Identifier: BSD-2-Clause */
/* Networks that may connect: [listen] allow. */
#ifndef KL_DAEMON_LOADER_ALLOW_H
#define KL_DAEMON_LOADER_ALLOW_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"

struct sockaddr;

#define KL_ALLOW_MAX 64

struct kl_allow {
    size_t count; /* 0 = everybody */
    struct {
        uint8_t address[16]; /* IPv4 as mapped IPv6 (RFC 4291, 2.5.5.2) */
        unsigned bits;       /* of those 128 */
    } net[KL_ALLOW_MAX];
};

/* ADDRESS/BITS or ADDRESS, numeric, parted by commas, with blanks around them; "" for everybody.
 * Bits of the address beyond BITS must be zero. KL_ERR_CONFIG names the one that is wrong. */
enum kl_rc kl_allow_parse(const char *text, struct kl_allow *out, struct kl_err *err) KL_MUST_CHECK;

/* 1 if the peer is in one of them. An IPv4 peer of an IPv6 socket is its IPv4 address. */
int kl_allow_has(const struct kl_allow *allow, const struct sockaddr *peer);

/* The address as 16 bytes, IPv4 mapped. */
void kl_allow_address(const struct sockaddr *peer, uint8_t out[16]);

#endif
