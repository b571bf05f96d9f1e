/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderd.conf: what keyloaderd and keyloaderctl are told, from one table (config.c). Once
 * loaded it is never changed.
 */
#ifndef KL_DAEMON_CONFIG_H
#define KL_DAEMON_CONFIG_H

#include <stdint.h>
#include <stdio.h>

#include "conf/ini.h"
#include "pkcs11/hsm.h"
#include "proto/err.h"

#define KL_CONFIG_PATH "/etc/keyloader/keyloaderd.conf"

/* What shows that a terminal is one of ours. */
enum kl_terminal_auth {
    KL_TERMINAL_REGISTERED,  /* that it is registered and armed */
    KL_TERMINAL_CERTIFICATE, /* and a certificate of its own */
};

struct kl_config {
    /* [listen] */
    char *address; /* numeric IPv4 or IPv6 */
    uint64_t port; /* 0 = any, printed in the log */
    /* [hsm] */
    char *module;        /* path of the PKCS#11 module; "" = module-path of the token URI */
    char *init_reserved; /* "" = none */
    char *token;         /* RFC 7512 URI */
    char *pin_source;    /* see kl_pin_read; "" = pin-source of the token URI, else prompt */
    char *work_key;      /* label that keyloaderctl takes where none is given */
    char *storage_key;   /* label */
    char *binding_key;   /* label */
    uint64_t workers;
    uint64_t recycle_after; /* loads, then the worker is replaced */
    uint64_t job_timeout;   /* seconds */
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
    uint64_t kcv_length;       /* bytes, 3 or 4 */
    /* [limits] */
    uint64_t connections, connections_per_address;
    uint64_t message_size;      /* bytes a peer may send in one message */
    uint64_t handshake_timeout; /* seconds from accept to the end */
    uint64_t idle_timeout;      /* seconds between two messages */
    uint64_t queue;             /* jobs waiting for an HSM worker */
    uint64_t retry_after;       /* seconds told to a terminal that meets a full queue */
    uint64_t drain_timeout;     /* seconds that SIGTERM waits for loads under way */
    /* [log] */
    uint64_t log_level;  /* enum kl_log_level */
    uint64_t log_target; /* enum kl_log_target */
};

/* Loads and validates as a whole. KL_ERR_CONFIG "FILE:LINE: ...", KL_ERR_NO_FILE. */
enum kl_rc kl_config_load(const char *path, struct kl_config *out,
                          struct kl_err *err) KL_MUST_CHECK;
void kl_config_wipe(struct kl_config *config);

/* Every key with its default and meaning, as a file one can start from. */
void kl_config_print_help(FILE *out);

/* Where the token is; borrows from config. */
struct kl_hsm_where kl_config_hsm(const struct kl_config *config);

#endif
