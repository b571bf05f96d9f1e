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

struct kl_loader; /* one session and the handles of the work key and the storage key */

struct kl_loader_config {
    const char *work_key;    /* CKA_LABEL of AcquireWCRT_Prk */
    const char *storage_key; /* CKA_LABEL of the storage key */
    int strength_enforce;    /* 1: refuse a TMK stronger than the work key */
};

/* Opens a session, finds both keys, and runs the self-test: the whole loader side of the suite
 * against the work key's own public key (and the storage key's unwrap), with session keys.
 * KL_ERR_HSM_LACKS names the first operation that the token cannot do. Borrows token. */
enum kl_rc kl_loader_open(struct kl_token *token, const struct kl_loader_config *config,
                          struct kl_loader **out, struct kl_err *err) KL_MUST_CHECK;
void kl_loader_free(struct kl_loader *loader); /* takes NULL */

EVP_PKEY *kl_loader_public(const struct kl_loader *loader);      /* AcquireWCRT_Pu; borrowed */
enum kl_oaep_hash kl_loader_oaep_hash(const struct kl_loader *); /* the strongest the token does */

struct kl_load_in {
    enum kl_suite suite;
    struct kl_bytes hello;       /* exact DER; borrowed */
    struct kl_bytes certificate; /* exact DER; borrowed */
    struct kl_bytes randoms;     /* exact DER; borrowed */
    enum kl_alg alg;             /* of the TMK to generate; must be in the Hello */
    uint32_t tmk_version;
    size_t kcv_len;
};

struct kl_load_out {
    size_t master_key_len;
    uint8_t master_key[KL_MSG_MAX]; /* exact DER of the MasterKey message */
    size_t cryptogram_len;
    uint8_t cryptogram[KL_CTMK_LEN_MAX]; /* TMK under the storage key, RFC 3394 */
    size_t kcv_len;
    uint8_t kcv[KL_KCV_LEN_MAX];
    uint8_t ack_mac[KL_MAC_LEN];    /* a good Loaded.mac */
    uint8_t active_mac[KL_MAC_LEN]; /* Done.mac for KL_VERDICT_ACTIVE */
    uint8_t drop_mac[KL_MAC_LEN];   /* Done.mac for KL_VERDICT_DROP */
};

/* Runs one load. KL_ERR_VERIFY: the peer's C_rnd1_rnd2 is bad (which part is in err's text for the
 * log, never for the peer). KL_ERR_UNSUPPORTED: suite or algorithm is not in the Hello.
 * KL_ERR_STRENGTH, KL_ERR_PROTOCOL; HSM trouble by kl_rv_err. A token that
 * refuses a known answer, too (tried at most once a second), is KL_ERR_HSM, not KL_ERR_VERIFY.
 * *out is written only on success. */
enum kl_rc kl_loader_run(struct kl_loader *loader, const struct kl_load_in *in,
                         struct kl_load_out *out, struct kl_err *err) KL_MUST_CHECK;

#endif
