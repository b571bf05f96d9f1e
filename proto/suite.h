/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What both sides of a suite share: its identifier, the labels that turn Rnd1 into single-use
 * keys, and the exact bytes that each MAC covers. No keys here, only public inputs.
 */
#ifndef KL_PROTO_SUITE_H
#define KL_PROTO_SUITE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/alg.h"
#include "proto/err.h"

#define KL_HASH_LEN 32 /* SHA-256 */
#define KL_RND1_LEN 32 /* an AES-256 key */
#define KL_RND2_LEN 32
#define KL_GCM_IV_LEN 12
#define KL_GCM_TAG_LEN 16
#define KL_MAC_LEN 16 /* AES-CMAC */

/* Values are those of Suite in docs/protocol.md. */
enum kl_suite {
    KL_SUITE_HARDENED_RSA = 1,
};
const char *kl_suite_name(unsigned suite); /* "hardened-rsa"; NULL if unknown */

/* What a key derived from Rnd1 is for; each has one use on each side. */
enum kl_purpose {
    KL_PURPOSE_WRAP,  /* K_wrap: AES key wrap of the TMK */
    KL_PURPOSE_NONCE, /* K_nonce: AES-256-GCM of Rnd2 */
    KL_PURPOSE_ACK,   /* K_ack: AES-CMAC in Loaded (terminal to loader) */
    KL_PURPOSE_DONE,  /* K_done: AES-CMAC in Done (loader to terminal) */
};

/* label = SHA-256("keyloader/1 " + purpose + NUL + T0), purpose one of "wrap", "nonce", "ack",
 * "done". The key itself is AES-256-ECB(Rnd1, label), 32 bytes (CKM_AES_ECB_ENCRYPT_DATA). */
enum kl_rc kl_suite_label(enum kl_purpose purpose, const uint8_t t0[KL_HASH_LEN],
                          uint8_t label[KL_HASH_LEN], struct kl_err *err) KL_MUST_CHECK;

/* Bytes that Loaded.mac covers: T2, then one byte 01, then the KCV the PIN pad computed.
 * Returns the length. */
#define KL_ACK_INPUT_MAX (KL_HASH_LEN + 1 + KL_KCV_LEN_MAX)
size_t kl_suite_ack_input(const uint8_t t2[KL_HASH_LEN], const uint8_t *kcv, size_t kcv_len,
                          uint8_t out[KL_ACK_INPUT_MAX]);

/* What the loader decided about a candidate; values are those of Verdict in docs/protocol.md. */
enum kl_verdict {
    KL_VERDICT_ACTIVE = 1, /* the candidate is the terminal's TMK now */
    KL_VERDICT_DROP = 2,   /* the candidate is void; keep the old TMK */
};
/* Bytes that Done.mac covers: T2, then one byte, the verdict. */
#define KL_DONE_INPUT_LEN (KL_HASH_LEN + 1)
void kl_suite_done_input(const uint8_t t2[KL_HASH_LEN], enum kl_verdict verdict,
                         uint8_t out[KL_DONE_INPUT_LEN]);

#endif
