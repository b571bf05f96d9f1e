/* SPDX-License-Identifier: BSD-2-Clause */
/* The running hash over a session's messages, which binds every key and signature to them. */
#ifndef KL_PROTO_TRANSCRIPT_H
#define KL_PROTO_TRANSCRIPT_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/suite.h"

/* Running SHA-256 over the exact DER bytes of the messages in order. T0 is its value after
 * Certificate, T1 after Randoms, T2 after MasterKey. Not thread-safe; one per session or job. */
struct kl_transcript;
enum kl_rc kl_transcript_new(struct kl_transcript **out, struct kl_err *err) KL_MUST_CHECK;
void kl_transcript_free(struct kl_transcript *transcript); /* takes NULL */
enum kl_rc kl_transcript_add(struct kl_transcript *transcript, const uint8_t *der, size_t len,
                             struct kl_err *err) KL_MUST_CHECK;
/* The hash so far; more can be added afterwards. */
enum kl_rc kl_transcript_hash(const struct kl_transcript *transcript, uint8_t out[KL_HASH_LEN],
                              struct kl_err *err) KL_MUST_CHECK;

#endif
