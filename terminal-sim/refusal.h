/* SPDX-License-Identifier: BSD-2-Clause */
/* How a load or a sign-in ends before its time: the loader's Error, and the terminal's Failed. */
#ifndef KL_TERMINAL_SIM_REFUSAL_H
#define KL_TERMINAL_SIM_REFUSAL_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/message.h"

/* The rc of an Error that the loader sent, with its text. */
enum kl_rc kl_refusal_heard(const struct kl_error_msg *msg, struct kl_err *err);

/* The message that is due, decoded, or else: KL_ERR_PROTOCOL, and what kl_refusal_heard makes of an
 * Error. Slices in *out borrow from in. */
enum kl_rc kl_refusal_or(enum kl_msg_type due, const uint8_t *in, size_t in_len, struct kl_msg *out,
                         struct kl_err *err) KL_MUST_CHECK;

/* The Failed that answers `in`, which was refused for rc: its length, or 0, since an Error is not
 * answered. */
size_t kl_refusal_answer(enum kl_rc rc, const uint8_t *in, size_t in_len, uint8_t out[KL_MSG_MAX]);

#endif
