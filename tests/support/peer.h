/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A peer of the daemon over a raw socket, for messages that no terminal would send. Failures are
 * the test's own (ck_abort_msg).
 */
#ifndef KL_TESTS_SUPPORT_PEER_H
#define KL_TESTS_SUPPORT_PEER_H

#include <stddef.h>
#include <stdint.h>

#include "proto/frame.h"
#include "proto/message.h"

#define PEER_CLOSED (-1)

/* A connection to 127.0.0.1:port; the caller closes it. */
int peer_dial(uint16_t port);
void peer_say(int fd, const void *data, size_t len);
size_t peer_frame_of(const struct kl_msg *msg, uint8_t out[KL_FRAME_MAX]);
void peer_say_msg(int fd, const struct kl_msg *msg);
/* Reads len bytes; 0 if the daemon closes first. */
int peer_hear_bytes(int fd, uint8_t *out, size_t len);
/* The daemon's next message into *out (borrowing from a static buffer): its type, or PEER_CLOSED.
 */
int peer_hear(int fd, struct kl_msg *out);
/* The daemon answers Error with that code, and closes; fd is closed as well. */
void peer_expect_error(int fd, unsigned code);

#endif
