/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Framing: a 2-byte big-endian length and that many bytes of one message. Pure functions over
 * bytes; the programs do the I/O.
 */
#ifndef KL_PROTO_FRAME_H
#define KL_PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/message.h"

#define KL_FRAME_HEADER 2
#define KL_FRAME_MAX (KL_FRAME_HEADER + KL_MSG_MAX)

/* Reads the header: the length of the message that follows. KL_ERR_PROTOCOL if it is 0 or above
 * max (itself at most KL_MSG_MAX). */
enum kl_rc kl_frame_length(const uint8_t header[KL_FRAME_HEADER], size_t max, size_t *out,
                           struct kl_err *err) KL_MUST_CHECK;

/* Writes the header of a message of len bytes (1 to KL_MSG_MAX). */
void kl_frame_header(size_t len, uint8_t out[KL_FRAME_HEADER]);

/* Encodes msg with its header, ready for one write. out holds KL_FRAME_MAX bytes. */
enum kl_rc kl_frame_encode(const struct kl_msg *msg, uint8_t out[KL_FRAME_MAX], size_t *out_len,
                           struct kl_err *err) KL_MUST_CHECK;

#endif
