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
    KL_SUITE_CLASSIC = 2,
    KL_SUITE_HARDENED_EC = 3,
};
#define KL_SUITE_COUNT 3
const char *kl_suite_name(unsigned suite); /* "hardened-rsa", ...; NULL if unknown */
/* The kind of work key that a suite needs. */
enum kl_key_type kl_suite_key_type(enum kl_suite suite);
/* The suite of that name; 0 if there is none. */
unsigned kl_suite_by_name(const char *name);

/* What a key derived from Rnd1 is for; each has one use on each side. */
enum kl_purpose {
    KL_PURPOSE_WRAP,  /* K_wrap: AES key wrap of the TMK */
    KL_PURPOSE_NONCE, /* K_nonce: AES-256-GCM of Rnd2 */
    KL_PURPOSE_ACK,   /* K_ack: AES-CMAC in Loaded (terminal to loader) */
    KL_PURPOSE_DONE,  /* K_done: AES-CMAC in Done (loader to terminal) */
    KL_PURPOSE_KEYS,  /* K_keys: AES-CMAC in WorkingKeys, and in MasterKey of classic (loader to
                         terminal) */
};
#define KL_PURPOSE_COUNT \
    5 /* in hardened loads: the first four; in classic and sign-ins: the last \
         three */

/* label = SHA-256("keyloader/1 " + purpose + NUL + T0), purpose one of "wrap", "nonce", "ack",
 * "done", "keys". The key itself is AES-ECB(Rnd1, label), 32 bytes (CKM_AES_ECB_ENCRYPT_DATA).
 * In a sign-in the session key stands for Rnd1, and SHA-256(SignIn) for T0. */
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

/* ---- hardened-ec: ECIES ---- */

/* The label that turns the ECDH secret into K_ecies, the AES-256 key that wraps Rnd1 (RFC 3394):
 * SHA-256("keyloader/1 ecies" + NUL + T0 + the ephemeral point, uncompressed). The secret itself is
 * the trailing 32 bytes of the shared X coordinate, used as an AES-256 key that only derives. */
#define KL_ECDH_LEN 32                                    /* bytes of the secret that are used */
#define KL_C_RND1_EC_LEN (KL_RND1_LEN + KL_WRAP_OVERHEAD) /* Rnd1 under K_ecies */
enum kl_rc kl_suite_ecies_label(const uint8_t t0[KL_HASH_LEN], const uint8_t *point,
                                size_t point_len, uint8_t label[KL_HASH_LEN],
                                struct kl_err *err) KL_MUST_CHECK;

/* ---- Sign-in ---- */

/* The session key's algorithm under a TMK of that one. Under an AES TMK it is of a length that no
 * working key has, AES-192 under AES-128 and AES-128 otherwise, so that AES key wrap tells the one
 * from the other. Under a TDES TMK, where nothing tells them apart, it is AES-128 and not drawn:
 * the TDES-ECB decryption of what kl_suite_session_input gives. */
enum kl_alg kl_suite_session_alg(enum kl_alg tmk);
/* The bytes of cSession then: 32 or 24; under TDES KL_SESSION_INPUT_LEN. */
size_t kl_suite_c_session_len(enum kl_alg tmk);
/* cSession under a TDES TMK, which nobody chooses: the first bytes of
 * SHA-256("keyloader/1 session" + NUL + T0). */
#define KL_SESSION_INPUT_LEN 16
enum kl_rc kl_suite_session_input(const uint8_t t0[KL_HASH_LEN], uint8_t out[KL_SESSION_INPUT_LEN],
                                  struct kl_err *err) KL_MUST_CHECK;

/* ---- Terminal certificates ---- */

/* Bytes that Randoms.signature covers: "keyloader/1 randoms" + NUL + T0 + the DER of the Randoms
 * message without its signature (unsigned_der, at most 1024 bytes). Returns the length. */
#define KL_PROOF_INPUT_MAX 1280
size_t kl_suite_proof_input(const uint8_t t0[KL_HASH_LEN], const uint8_t *unsigned_der, size_t len,
                            uint8_t out[KL_PROOF_INPUT_MAX]);

#endif
