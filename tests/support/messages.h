/* SPDX-License-Identifier: BSD-2-Clause */
/* One well-formed sample of every message, for tests that need something to send or to break. */
#ifndef KL_TESTS_SUPPORT_MESSAGES_H
#define KL_TESTS_SUPPORT_MESSAGES_H

#include "proto/message.h"

/* Every byte of a field differs from its neighbours. Slices point to static storage. */
void test_sample(enum kl_msg_type type, struct kl_msg *out);

#endif
