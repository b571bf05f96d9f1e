/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What only a terminal's PIN pad does with its token: keeping a TMK, opening keys that come under
 * one, and the block operations that PIN blocks and MACs are made of. Key objects are sensitive and
 * unextractable, and can do one thing (enum kl_pad_use).
 */
#ifndef KL_PKCS11_OPS_PINPAD_H
#define KL_PKCS11_OPS_PINPAD_H

#include <p11-kit/pkcs11.h>
#include <stddef.h>
#include <stdint.h>

#include "pkcs11/token.h"
#include "proto/alg.h"
#include "proto/err.h"

enum kl_pad_use {
    KL_PAD_TMK,     /* unwraps; a TDES one on a token that does not unwrap by TDES-ECB decrypts, too
                       (kl_pad_tdes_unwraps) */
    KL_PAD_SESSION, /* derives: a sign-in's session key */
    KL_PAD_KCV,     /* computes its KCV (kl_op_kcv) */
    KL_PAD_PIN,     /* enciphers: a PIK */
    KL_PAD_MAC, /* AES: signs (CMAC). TDES: enciphers, since PKCS#11 has no ISO 9797-1 algorithm 3
                   that tokens know */
};

struct kl_pad_key { /* of an object that is to be made */
    enum kl_alg alg;
    enum kl_pad_use use;
    int tdes_decrypts; /* KL_PAD_TMK of TDES: it needs CKA_DECRYPT */
    const char *label; /* NULL: a session object; else a token object of that CKA_LABEL, which is
                          its CKA_ID, too */
};

/* C_CreateObject from a value in locked memory (kl_alg_info(key->alg)->key_len bytes). */
enum kl_rc kl_pad_import(struct kl_session *session, const struct kl_pad_key *key,
                         const uint8_t *value, CK_OBJECT_HANDLE *out,
                         struct kl_err *err) KL_MUST_CHECK;

/* C_UnwrapKey by AES key wrap (RFC 3394). KL_ERR_VERIFY if it does not unwrap or has another length
 * than such a key. */
enum kl_rc kl_pad_unwrap(struct kl_session *session, CK_OBJECT_HANDLE kek,
                         const struct kl_pad_key *key, const uint8_t *wrapped, size_t len,
                         CK_OBJECT_HANDLE *out, struct kl_err *err) KL_MUST_CHECK;

/* Whether the token unwraps by TDES-ECB, as seen in a try with a session key, since tokens
 * advertise what they then refuse. */
enum kl_rc kl_pad_tdes_unwraps(struct kl_session *session, int *yes,
                               struct kl_err *err) KL_MUST_CHECK;

/* The key of `len` bytes of TDES-ECB under a TDES TMK. unwraps 1: by C_UnwrapKey. 0: by C_Decrypt
 * into locked memory, wiped at once, and C_CreateObject. TDES-ECB has no check value of its own:
 * the KCV must be compared. */
enum kl_rc kl_pad_open_tdes(struct kl_session *session, CK_OBJECT_HANDLE tmk, int unwraps,
                            const struct kl_pad_key *key, const uint8_t *wrapped, size_t len,
                            CK_OBJECT_HANDLE *out, struct kl_err *err) KL_MUST_CHECK;

/* One block by ECB (AES: 16 bytes, TDES: 8). */
enum kl_rc kl_pad_encrypt_block(struct kl_session *session, CK_OBJECT_HANDLE key, enum kl_alg alg,
                                const uint8_t *in, uint8_t *out, struct kl_err *err) KL_MUST_CHECK;

/* TDES-CBC over whole blocks of 8 bytes, of which only the last one matters: chain holds the iv
 * before and the last block of ciphertext after. */
enum kl_rc kl_pad_chain_tdes(struct kl_session *session, CK_OBJECT_HANDLE key, const uint8_t *in,
                             size_t len, uint8_t chain[8], struct kl_err *err) KL_MUST_CHECK;

/* *yes: whether the token holds a private key of that label, of whatever attributes. */
enum kl_rc kl_pad_has_pair(struct kl_session *session, const char *label, int *yes,
                           struct kl_err *err) KL_MUST_CHECK;

#endif
