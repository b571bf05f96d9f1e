/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderd.conf: what keyloaderd and keyloaderctl are told, from one table (config.c). Once
 * loaded it is never changed: the daemon reads another one and swaps it for the one in force, and
 * whoever has begun something under the old one has a reference to that.
 */
#ifndef KL_DAEMON_CONFIG_H
#define KL_DAEMON_CONFIG_H

#include <stdint.h>
#include <stdio.h>

#include "conf/ini.h"
#include "daemon/loader/allow.h"
#include "daemon/process/process.h"
#include "pkcs11/hsm.h"
#include "proto/err.h"

#define KL_CONFIG_PATH "/etc/keyloader/keyloaderd.conf"

/* What shows that a terminal is one of ours. */
enum kl_terminal_auth {
    KL_TERMINAL_REGISTERED,  /* that it is registered and armed */
    KL_TERMINAL_CERTIFICATE, /* and a certificate of its own */
};

/* What takes two operators, if [control] dual-control names it. */
enum kl_dual {
    KL_DUAL_ARM_ALL,
    KL_DUAL_EXPORT,
    KL_DUAL_REVOKE,
    KL_DUAL_KEY_DELETE,
    KL_DUAL_COUNT,
};
const char *kl_dual_name(enum kl_dual dual); /* "arm-all", ... */

/* A token with the loader's keys. */
struct kl_config_hsm {
    char *module;        /* path of the PKCS#11 module; "" = module-path of the token URI */
    char *init_reserved; /* "" = none */
    char *token;         /* RFC 7512 URI; "" = there is no such HSM */
    char *pin_source;    /* see kl_pin_read; "" = pin-source of the token URI, else prompt */
    uint64_t workers;
    uint64_t session_copies;   /* 1: workers use session copies of the token's keys */
    struct kl_ini_list accept; /* item - 1 is the enum kl_weakness; the item 0 is "none" */
};
#define KL_HSM_MAX 4

struct kl_config {
    /* [listen] */
    char *address; /* numeric IPv4 or IPv6 */
    uint64_t port; /* 0 = any, printed in the log */
    char *allow_text;
    struct kl_allow allow; /* what allow_text says */
    /* [hsm], [hsm-2] to [hsm-4]: the same keys in each */
    struct kl_config_hsm hsm[KL_HSM_MAX];
    /* [hsm] alone, for all of them */
    char *work_key;         /* label that keyloaderctl takes where none is given */
    char *storage_key;      /* label */
    char *binding_key;      /* label */
    char *audit_key;        /* label */
    uint64_t recycle_after; /* loads, then the worker is replaced */
    uint64_t job_timeout;   /* seconds */
    uint64_t keep_alive;    /* seconds that a worker may be idle before it is asked; 0 = never */
    /* [certificates] */
    char *root;          /* PEM of 1 to KL_ANCHOR_MAX AcquireRCRT */
    char *work;          /* directory of LABEL.pem, chains with AcquireWCRT first */
    char *crl;           /* PEM of the roots' CRLs; "" = none */
    char *terminal_root; /* PEM of 1 to KL_ANCHOR_MAX roots of terminals; "" = none */
    char *terminal_crl;  /* PEM of their CRLs; "" = none */
    /* [store] */
    char *store;
    uint64_t candidate_lifetime; /* seconds */
    uint64_t superseded_grace;   /* seconds */
    /* [policy] */
    struct kl_ini_list suites; /* preferred first; item + 1 is the enum kl_suite */
    uint64_t terminal_auth;    /* enum kl_terminal_auth */
    uint64_t host_fallback;    /* 1: working keys under TDES may be in a worker's memory */
    uint64_t strength_enforce; /* 1 = enforce, 0 = warn */
    uint64_t oaep_hash;        /* enum kl_oaep_hash; 0: the strongest that the token does */
    uint64_t kcv_length;       /* bytes, 3 or 4 */
    /* [limits] */
    uint64_t connections, connections_per_address;
    uint64_t message_size;      /* bytes a peer may send in one message */
    uint64_t handshake_timeout; /* seconds from accept to the end */
    uint64_t idle_timeout;      /* seconds between two messages */
    uint64_t queue;             /* jobs waiting for an HSM worker */
    uint64_t retry_after;       /* seconds told to a terminal that meets a full queue */
    uint64_t drain_timeout;     /* seconds that SIGTERM waits for loads under way */
    /* [control] */
    char *control_socket;    /* "" = none */
    char *control_operators; /* group name or number; "" = none */
    char *control_auditors;
    struct kl_ini_list control_dual; /* item - 1 is the enum kl_dual; the item 0 is "none" */
    uint64_t request_lifetime;       /* seconds */
    /* [process] */
    uint64_t lock_memory; /* enum kl_lock_memory */
    /* [monitor] */
    char *monitor_listen; /* see kl_monitor_parse */
    /* [audit] */
    uint64_t checkpoint_every;    /* records */
    uint64_t checkpoint_interval; /* seconds */
    uint64_t audit_syslog;        /* 1: records go to syslog as well */
    char *syslog_socket;
    /* [log] */
    uint64_t log_level;  /* enum kl_log_level */
    uint64_t log_target; /* enum kl_log_target */
};

/* Loads and validates as a whole. KL_ERR_CONFIG "FILE:LINE: ...", KL_ERR_NO_FILE. */
enum kl_rc kl_config_load(const char *path, struct kl_config *out,
                          struct kl_err *err) KL_MUST_CHECK;
void kl_config_wipe(struct kl_config *config);

/* ---- In the daemon: loop thread only, references included ---- */

/* Loads; the caller has the one reference. */
enum kl_rc kl_config_new(const char *path, const struct kl_config **out,
                         struct kl_err *err) KL_MUST_CHECK;
const struct kl_config *kl_config_ref(
    const struct kl_config *config);                  /* of kl_config_new's alone */
void kl_config_unref(const struct kl_config *config); /* takes NULL */

/* Keys that a reload found changed and left as they were, since they need a restart. */
#define KL_CONFIG_KEYS_MAX 160
struct kl_config_kept {
    size_t count;
    const struct kl_ini_key *keys[KL_CONFIG_KEYS_MAX]; /* of static storage */
};
/* Loads again, to follow `running`; errors as kl_config_load, and KL_ERR_CONFIG if what is kept
 * and what is new do not go together. */
enum kl_rc kl_config_again(const char *path, const struct kl_config *running,
                           const struct kl_config **out, struct kl_config_kept *kept,
                           struct kl_err *err) KL_MUST_CHECK;

/* What keyloaderd needs and keyloaderctl does not: a PIN that nobody is asked for, since workers
 * have no terminal and are started again whenever one is lost; the groups of [control].
 * KL_ERR_CONFIG. */
enum kl_rc kl_config_servable(const struct kl_config *config, struct kl_err *err) KL_MUST_CHECK;

/* Every key with its default and meaning, as a file one can start from. */
void kl_config_print_help(FILE *out);

/* Whether dual-control names it. */
int kl_config_dual(const struct kl_config *config, enum kl_dual dual);

/* How many HSMs there are (from 1), and where the token of one is; borrows from config. */
size_t kl_config_hsm_count(const struct kl_config *config);
struct kl_hsm_where kl_config_hsm(const struct kl_config *config, size_t index);
/* The weaknesses of it that the operator accepts, as KL_WEAK_BITs (pkcs11/weakness.h). */
unsigned kl_config_accept(const struct kl_config *config, size_t index);
uint64_t kl_config_workers(const struct kl_config *config); /* of all of them */
/* The section of it: "hsm", "hsm-2", ...; static. */
const char *kl_config_hsm_name(size_t index);
/* Makes that HSM (1 = [hsm]) the first, for who works on one alone. KL_ERR_USAGE if there is none
 * of that number. */
enum kl_rc kl_config_choose_hsm(struct kl_config *config, unsigned number,
                                struct kl_err *err) KL_MUST_CHECK;

#endif
