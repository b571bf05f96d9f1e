/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the network process and an HSM worker process say to each other: one packet a message over
 * SOCK_SEQPACKET socketpairs, one for each way, each message with a magic, a version and lengths
 * that both ends check. Both ends are the same binary on the same host, so numbers travel in host
 * order.
 *
 *   network -> worker: SETUP once, then LOAD, SIGN_IN and CHECKPOINT, of which one may wait while
 *                      another is being done, and PING
 *   worker -> network: READY or FAILED once, then a RESULT for each LOAD, KEYS for each SIGN_IN,
 *                      SIGNED for each CHECKPOINT, PONG for each PING
 */
#ifndef KL_DAEMON_HSM_JOB_H
#define KL_DAEMON_HSM_JOB_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/audit/audit_chain.h"
#include "daemon/config.h"
#include "pkcs11/key_check.h"
#include "pkcs11/loader.h"
#include "pkcs11/weakness.h"
#include "proto/err.h"

enum kl_job_kind {
    KL_JOB_SETUP = 1,
    KL_JOB_READY,
    KL_JOB_FAILED,
    KL_JOB_LOAD,
    KL_JOB_RESULT,
    KL_JOB_SIGN_IN,
    KL_JOB_KEYS,
    KL_JOB_CHECKPOINT,
    KL_JOB_SIGNED,
    KL_JOB_PING,
    KL_JOB_PONG,
};

#define KL_JOB_TEXT_MAX 1024 /* bytes of one configuration string, with NUL */
#define KL_JOB_SPKI_MAX 1024 /* bytes of DER: RSA-4096 needs 550 */

/* The work keys that a worker is to open. */
struct kl_job_want {
    char label[KL_KEY_LABEL_MAX + 1];
    uint32_t optional; /* 1: on its way out; if it is not there, go on without */
};
struct kl_job_wants {
    uint32_t count; /* from 1 */
    struct kl_job_want want[KL_LOADER_KEYS_MAX];
};

/* What a worker must know; never a PIN, only where it is. */
struct kl_job_setup {
    char module[KL_JOB_TEXT_MAX];
    char init_reserved[KL_JOB_TEXT_MAX];
    char token[KL_JOB_TEXT_MAX];
    char pin_source[KL_JOB_TEXT_MAX];
    char storage_key[KL_JOB_TEXT_MAX];
    char binding_key[KL_JOB_TEXT_MAX];
    char audit_key[KL_JOB_TEXT_MAX];
    struct kl_job_wants work_keys;
    uint32_t strength_enforce, host_fallback;
    uint32_t session_copies;
    uint32_t oaep_hash; /* enum kl_oaep_hash; 0: the strongest that the token does */
    uint32_t accept;    /* KL_WEAK_BITs */
    uint32_t log_level, log_target;
};

/* The work keys that were found, in the order wanted; what the module lets through; and check
 * values of the keys of the store, which must be the same in every HSM. */
struct kl_job_key {
    char label[KL_KEY_LABEL_MAX + 1];
    uint32_t suite;     /* enum kl_suite */
    uint32_t oaep_hash; /* enum kl_oaep_hash */
    uint32_t spki_len;
    uint8_t spki[KL_JOB_SPKI_MAX]; /* AcquireWCRT_Pu as SubjectPublicKeyInfo */
};
struct kl_job_ready {
    uint32_t count; /* from 1 */
    struct kl_job_key key[KL_LOADER_KEYS_MAX];
    uint32_t weak; /* KL_WEAK_BITs that were found, and are accepted */
    uint8_t storage_check[KL_KEY_CHECK_LEN], binding_check[KL_KEY_CHECK_LEN];
};

struct kl_job_load {
    uint64_t id;
    char work_key[KL_KEY_LABEL_MAX + 1];
    uint32_t alg, tmk_version, kcv_len;
    struct kl_stored_key tmk; /* all zero: generate the TMK */
    uint32_t hello_len, certificate_len, randoms_len;
    uint8_t bytes[3 * KL_MSG_MAX]; /* the three messages, one after another */
};

struct kl_job_sign_in {
    uint64_t id;
    uint32_t tmk_version, kcv_len;
    struct kl_stored_key tmk;
    uint32_t sign_in_len;
    uint8_t bytes[KL_MSG_MAX]; /* the SignIn message */
};

/* Which record the checkpoint covers. The worker makes what is signed of it. */
struct kl_job_checkpoint {
    uint64_t id;
    uint64_t record;
    int64_t time;
    uint8_t store_id[KL_STORE_ID_LEN];
    uint8_t hash[KL_HASH_LEN];
};
struct kl_job_signature {
    uint8_t key[KL_HASH_LEN]; /* SHA-256 of the audit key's SubjectPublicKeyInfo */
    uint32_t len;
    uint8_t bytes[KL_AUDIT_SIGNATURE_MAX];
};

/* Of a LOAD (kind RESULT), a SIGN_IN (kind KEYS) or a CHECKPOINT (kind SIGNED). A worker without
 * audit key answers the last with KL_ERR_KEY, and works on. */
struct kl_job_result {
    uint64_t id;
    uint32_t fatal; /* 1: the worker gives up after this (HSM trouble); replace it */
    struct kl_err err;
    union { /* all zero unless err.rc is KL_OK */
        struct kl_load_out load;
        struct kl_sign_in_out keys;
        struct kl_job_signature signature;
    } out;
};

struct kl_job_ping {
    uint64_t id;
};
struct kl_job_pong {
    uint64_t id;
    struct kl_err err; /* unless KL_OK, the worker gives up after this; replace it */
};

struct kl_job {
    uint32_t magic, version, kind, reserved;
    union {
        struct kl_job_setup setup;
        struct kl_job_ready ready;
        struct kl_err failed;
        struct kl_job_load load;
        struct kl_job_sign_in sign_in;
        struct kl_job_checkpoint checkpoint;
        struct kl_job_result result;
        struct kl_job_ping ping;
        struct kl_job_pong pong;
    } u;
};

/* Bytes that a message of that kind, with those lengths, takes up: what needs to be kept of it, if
 * kl_job_send would send it. 0 for a kind there is not. */
size_t kl_job_size(const struct kl_job *job);

/* Sends one message, only the bytes that it uses. fd may be non-blocking; KL_ERR_BUSY if it would
 * block, KL_ERR_CLOSED if the other end is gone. */
enum kl_rc kl_job_send(int fd, struct kl_job *job, struct kl_err *err) KL_MUST_CHECK;

/* Receives one message and checks every length, number and text in it. KL_ERR_BUSY: nothing there
 * (non-blocking fd); KL_ERR_CLOSED: the other end is gone; KL_ERR_PROTOCOL: not a message of ours.
 */
enum kl_rc kl_job_receive(int fd, struct kl_job *job, struct kl_err *err) KL_MUST_CHECK;

/* Takes the oldest message out of a worker's socket of jobs, if the worker has not read it, which
 * it never will then. 1: *id is that of the job, or 0 of what is none; 0: nothing was there. */
int kl_job_take_back(int fd, uint64_t *id);

/* Whether two tokens have the same storage and binding keys: with others, what one has wrapped the
 * other could not unwrap. KL_ERR_KEY says which differs. */
enum kl_rc kl_job_same_store_keys(const struct kl_job_ready *first,
                                  const struct kl_job_ready *other,
                                  struct kl_err *err) KL_MUST_CHECK;

/* Fills a SETUP from the configuration of one HSM and the work keys to open. KL_ERR_CONFIG if a
 * string is too long. */
enum kl_rc kl_job_from_config(const struct kl_config *config, size_t hsm,
                              const struct kl_job_wants *work_keys, struct kl_job *job,
                              struct kl_err *err) KL_MUST_CHECK;

#endif
