/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loader's side of a load inside the HSM: S6 and S7 as one job. Given the messages so far it
 * yields the whole MasterKey message, the TMK's cryptogram for the store, and the MACs that a
 * good Loaded and our Done must carry. No state outlives a job, and neither Rnd1', nor a key
 * derived from it, nor the TMK is ever in host memory in clear.
 */
#ifndef KL_PKCS11_LOADER_H
#define KL_PKCS11_LOADER_H

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#include "pkcs11/token.h"
#include "proto/alg.h"
#include "proto/err.h"
#include "proto/message.h"
#include "proto/suite.h"

struct kl_weaknesses;
struct kl_loader; /* one session and the handles of the work keys, storage key and binding key */

#define KL_LOADER_KEYS_MAX 16 /* work keys served at once */
#define KL_KEY_LABEL_MAX 64   /* bytes of a CKA_LABEL of ours */

struct kl_loader_want {
    const char *label; /* CKA_LABEL of an AcquireWCRT_Prk */
    int optional;      /* 1: on its way out; if it is not there, go on without */
};

struct kl_loader_config {
    struct kl_loader_want work_keys[KL_LOADER_KEYS_MAX];
    size_t work_key_count;   /* from 1 */
    const char *storage_key; /* CKA_LABEL of the storage key */
    const char *binding_key; /* and of the binding key */
    const char *audit_key; /* NULL: none. Of the audit key, whose secrecy the self-test tries if it
                              is there; the loader does not use it */
    int strength_enforce;  /* 1: refuse a TMK stronger than the work key */
    int host_fallback; /* 1: where the token cannot wrap under a TDES TMK, working keys may stand in
                          this process's locked memory while they are enciphered */
    unsigned oaep_hash; /* enum kl_oaep_hash, the only one to announce; 0: the strongest that the
                           token does */
    int session_copies; /* 1: work with session copies of the keys (pkcs11/key_copy.h) */
    unsigned accept;    /* KL_WEAK_BITs (pkcs11/weakness.h) that are no reason to refuse */
};

/* Opens a session, finds all keys, and runs the self-test: the whole loader side of each work key's
 * suite against its own public key, the storage key's unwrap, and sign-in, with session keys.
 * KL_ERR_KEY: a key is missing (all of them, if all are optional), not as it must be, or bound less
 * than it must be (a weakness that is not in accept);
 * KL_ERR_HSM_LACKS names the first operation that the token cannot do. Borrows token. */
enum kl_rc kl_loader_open(struct kl_token *token, const struct kl_loader_config *config,
                          struct kl_loader **out, struct kl_err *err) KL_MUST_CHECK;
void kl_loader_free(struct kl_loader *loader); /* takes NULL */

/* The work keys that were found, in the order wanted. */
struct kl_loader_key {
    const char *label; /* borrowed */
    enum kl_suite suite;
    enum kl_oaep_hash oaep_hash; /* as the configuration wants it; KL_OAEP_SHA1 for EC */
    EVP_PKEY *public_key;        /* AcquireWCRT_Pu; borrowed */
};
size_t kl_loader_keys(const struct kl_loader *loader, struct kl_loader_key out[KL_LOADER_KEYS_MAX]);

/* What the token does not enforce; borrowed. */
const struct kl_weaknesses *kl_loader_weaknesses(const struct kl_loader *loader);

/* kl_storage_key_check and kl_binding_key_check of the two keys (pkcs11/key_check.h). */
enum kl_rc kl_loader_check_values(struct kl_loader *loader, uint8_t storage[KL_MAC_LEN],
                                  uint8_t binding[KL_MAC_LEN], struct kl_err *err) KL_MUST_CHECK;

/* Whether the session stands, is logged in, and finds the first work key where it was: for who has
 * been idle. Cheap: no key is used. HSM trouble by kl_rv_err; KL_ERR_TOKEN: logged out; KL_ERR_KEY:
 * the key is gone or another object by now. */
enum kl_rc kl_loader_alive(struct kl_loader *loader, struct kl_err *err) KL_MUST_CHECK;

/* ---- A key as it is stored ---- */

struct kl_stored_key {
    enum kl_alg alg;
    size_t cryptogram_len;
    uint8_t cryptogram[KL_CTMK_LEN_MAX]; /* under the storage key, RFC 3394 */
    size_t kcv_len;
    uint8_t kcv[KL_KCV_LEN_MAX];
    uint8_t binding[KL_MAC_LEN]; /* to its owner: pkcs11/binding.h */
};

/* ---- A load ---- */

struct kl_load_in {
    const char *work_key;        /* its label; what the Certificate's suite is, follows */
    struct kl_bytes hello;       /* exact DER; borrowed */
    struct kl_bytes certificate; /* exact DER; borrowed */
    struct kl_bytes randoms;     /* exact DER; borrowed */
    enum kl_alg alg;             /* of the TMK; must be in the Hello */
    uint32_t tmk_version;
    size_t kcv_len;
    const struct kl_stored_key *tmk; /* the imported TMK that waits for this terminal, bound as
                                        such; borrowed. NULL: generate one */
};

struct kl_load_out {
    size_t master_key_len;
    uint8_t master_key[KL_MASTER_KEY_MAX]; /* exact DER of the MasterKey message */
    size_t cryptogram_len;
    uint8_t cryptogram[KL_CTMK_LEN_MAX]; /* TMK under the storage key, RFC 3394 */
    size_t kcv_len;
    uint8_t kcv[KL_KCV_LEN_MAX];
    uint8_t binding[KL_MAC_LEN];    /* of the three, as that version of the Hello's terminal */
    uint8_t ack_mac[KL_MAC_LEN];    /* a good Loaded.mac */
    uint8_t active_mac[KL_MAC_LEN]; /* Done.mac for KL_VERDICT_ACTIVE */
    uint8_t drop_mac[KL_MAC_LEN];   /* Done.mac for KL_VERDICT_DROP */
};

/* Runs one load. KL_ERR_UNAVAILABLE: no such work key here (any more). KL_ERR_VERIFY: the peer's
 * C_rnd1_rnd2 is bad (which part is in err's text for the log, never for the peer). KL_ERR_STORE:
 * an imported TMK's cryptogram is, or it is not bound to this terminal. KL_ERR_UNSUPPORTED: suite
 * or algorithm is not in the Hello. KL_ERR_PROTOCOL: not the messages of a load, or not of the work
 * key's suite. KL_ERR_STRENGTH; HSM trouble by kl_rv_err. A token that refuses a known answer, too
 * (tried at most once a second), is KL_ERR_HSM, neither KL_ERR_VERIFY nor KL_ERR_STORE. *out is
 * written only on success. */
enum kl_rc kl_loader_run(struct kl_loader *loader, const struct kl_load_in *in,
                         struct kl_load_out *out, struct kl_err *err) KL_MUST_CHECK;

/* ---- Sign-in: working keys under the terminal's TMK ---- */

struct kl_sign_in_in {
    struct kl_bytes sign_in; /* exact DER; borrowed */
    uint32_t tmk_version;
    const struct kl_stored_key *tmk; /* bound as that version of the terminal; its algorithm is that
                                        of PIK and MAK, too; borrowed */
    size_t kcv_len;                  /* of PIK's and MAK's; in FIELD62 it is 4 */
};

struct kl_sign_in_out {
    size_t message_len;
    uint8_t message[KL_WORKING_KEYS_MAX]; /* exact DER of the WorkingKeys message */
    struct kl_stored_key pik, mak;        /* bound; MAK of FIELD62: as the TDES2 key K || K */
    uint8_t ack_mac[KL_MAC_LEN];          /* a good Loaded.mac, over PIK's KCV */
    uint8_t active_mac[KL_MAC_LEN];       /* Done.mac for KL_VERDICT_ACTIVE */
};

/* Draws PIK and MAK. FIELD62 has a PIK of double length whatever the TMK's length is, and a MAK
 * that no token can make as a key of its own, so it always needs host_fallback. KL_ERR_UNSUPPORTED:
 * FIELD62 for an AES TMK, or host_fallback is off where it is needed (no trouble of the HSM's: the
 * next job can be served). KL_ERR_STORE: the TMK's cryptogram is bad, or it is not bound
 * to this terminal and version; a lost token as in kl_loader_run. KL_ERR_PROTOCOL: no SignIn, or
 * not for that TMK; HSM trouble by kl_rv_err. *out is written only on success. */
enum kl_rc kl_loader_sign_in(struct kl_loader *loader, const struct kl_sign_in_in *in,
                             struct kl_sign_in_out *out, struct kl_err *err) KL_MUST_CHECK;

#endif
