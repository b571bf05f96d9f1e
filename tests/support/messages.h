/* SPDX-License-Identifier: BSD-2-Clause */
/* Well-formed samples of every message, for tests that need something to send or to break. */
#ifndef KL_TESTS_SUPPORT_MESSAGES_H
#define KL_TESTS_SUPPORT_MESSAGES_H

#include "proto/message.h"

/* A value of enum kl_msg_type is the plain sample of that type: hardened-rsa, nothing that could be
 * left out, working keys as PIK and MAK under an AES-128 TMK. These are the other shapes. */
enum test_sample {
    TEST_HELLO_FULL = KL_MSG_TYPE_COUNT, /* with two anchors and a chain of two */
    TEST_HELLO_CHAIN,                    /* with a chain only */
    TEST_CERTIFICATE_CRL,
    TEST_RANDOMS_SIGNED, /* hardened-rsa */
    TEST_RANDOMS_CLASSIC,
    TEST_RANDOMS_EC,
    TEST_RANDOMS_EC_SIGNED,
    TEST_MASTER_KEY_CLASSIC,
    TEST_MASTER_KEY_EC,
    TEST_KEYS_TDES,
    TEST_KEYS_FIELD62,
};
#define TEST_SAMPLE_COUNT (TEST_KEYS_FIELD62 + 1)

/* Every byte of a field differs from its neighbours. Slices point to static storage, which the
 * next sample overwrites. */
void test_sample(unsigned sample, struct kl_msg *out);

/* Makes tbs_der or body_der anew after a change of the fields. */
void test_sample_seal(struct kl_msg *msg);

#endif
