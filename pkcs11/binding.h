/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * To whom a stored key belongs. RFC 3394 keeps a key secret and whole, but does not say whose it
 * is, and the store is a file: so each cryptogram in it has a binding beside it, an AES-CMAC under
 * a key that never leaves the HSM, over owner, version and role (PCI PIN v3.1, 18-3 and 30-1).
 * Whoever can write the store, and no more, cannot move a key to another terminal, version or role.
 */
#ifndef KL_PKCS11_BINDING_H
#define KL_PKCS11_BINDING_H

#include <p11-kit/pkcs11.h>
#include <stddef.h>
#include <stdint.h>

#include "pkcs11/loader.h"
#include "pkcs11/token.h"
#include "proto/err.h"
#include "proto/message.h"

/* 1 if it is of a known algorithm and has cryptogram and KCV of the right lengths. */
int kl_stored_key_whole(const struct kl_stored_key *key);

/* What the stored key is to its owner. */
enum kl_binding_kind {
    KL_BINDING_TMK = 1,
    KL_BINDING_PIK = 2,
    KL_BINDING_MAK = 3,
    KL_BINDING_IMPORT = 4, /* a TMK that waits for its load */
};

/* All borrowed. */
struct kl_binding_of {
    enum kl_binding_kind kind;
    const char *serial;              /* of the terminal */
    uint32_t version;                /* of the TMK, which for PIK and MAK is the one that they went
                                        out under; 0 for KL_BINDING_IMPORT */
    const struct kl_stored_key *key; /* alg, KCV and cryptogram */
};

#define KL_BINDING_PREFIX "keyloader/1 stored" /* with its NUL */
#define KL_BINDING_INPUT_MAX \
    (sizeof(KL_BINDING_PREFIX) + 8 + KL_KCV_LEN_MAX + KL_CTMK_LEN_MAX + KL_SERIAL_MAX)

/* What the MAC is computed over; every length stands before what it is the length of, and the
 * serial takes the rest:
 *
 *   bytes
 *      19   "keyloader/1 stored" NUL
 *       1   kind
 *       4   version, big-endian
 *       1   algorithm (enum kl_alg)
 *       1   length of the KCV, then the KCV
 *       1   length of the cryptogram, then the cryptogram
 *    1-32   serial
 *
 * *len is how many bytes. KL_ERR_INTERNAL: a length, the kind, the version or the serial is out of
 * bounds. */
enum kl_rc kl_binding_input(const struct kl_binding_of *what, uint8_t out[KL_BINDING_INPUT_MAX],
                            size_t *len, struct kl_err *err) KL_MUST_CHECK;

/* The binding of a key that is about to be stored, by the binding key. HSM trouble by kl_rv_err. */
enum kl_rc kl_binding_compute(struct kl_session *session, CK_OBJECT_HANDLE binding_key,
                              const struct kl_binding_of *what, uint8_t mac[KL_MAC_LEN],
                              struct kl_err *err) KL_MUST_CHECK;

/* Is what->key->binding the right one? Compares in constant time. KL_ERR_STORE if not: the text
 * says whose key it is. */
enum kl_rc kl_binding_verify(struct kl_session *session, CK_OBJECT_HANDLE binding_key,
                             const struct kl_binding_of *what, struct kl_err *err) KL_MUST_CHECK;

#endif
