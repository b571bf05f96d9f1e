/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The addresses that a fleet's terminals connect from, so that limits per address, and the 28,000
 * or so ports of one address, are no obstacle. Only what the host has: all of 127.0.0.0/8 for a
 * loader on loopback, else the addresses of its interfaces.
 */
#ifndef KL_TERMINAL_SIM_FLEET_FLEET_SOURCE_H
#define KL_TERMINAL_SIM_FLEET_FLEET_SOURCE_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "proto/err.h"

#define KL_FLEET_SOURCES_MAX 4096 /* addresses of interfaces */

struct kl_fleet_source {
    uint32_t first, count; /* a range within 127/8, host byte order; count 0: see `list` */
    uint32_t *list;        /* of interfaces, host byte order; owned; NULL: the system chooses */
    size_t listed;
};

/* text: "A.B.C.D" or "A.B.C.D/LEN", to connect to `to` from. KL_ERR_INPUT says what is wrong:
 * malformed, `to` is not IPv4, or there is no such address here. */
enum kl_rc kl_fleet_source_parse(const char *text, const struct sockaddr *to,
                                 struct kl_fleet_source *out, struct kl_err *err) KL_MUST_CHECK;
void kl_fleet_source_wipe(struct kl_fleet_source *source);

/* The index-th terminal's address, always the same; 0 = the system is to choose. */
int kl_fleet_source_pick(const struct kl_fleet_source *source, uint64_t index,
                         struct sockaddr_in *out);

#endif
