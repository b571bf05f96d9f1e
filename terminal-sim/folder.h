/* SPDX-License-Identifier: BSD-2-Clause */
/* The files of a terminal's folder: names, configuration table. */
#ifndef KL_TERMINAL_SIM_FOLDER_H
#define KL_TERMINAL_SIM_FOLDER_H

#include <limits.h>
#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/message.h"

#define KL_FOLDER_CONF "terminal.conf"
#define KL_FOLDER_ROOT "root.pem"
#define KL_FOLDER_DEVICE "device.pem"
#define KL_FOLDER_RECORD "record"

struct kl_folder_conf {
    char *serial, *pinpad_serial;
    uint64_t kind;                                     /* enum kl_pinpad_kind */
    char *module, *init_reserved, *token, *pin_source; /* "" for kind memory */
};

/* DIR/NAME. KL_ERR_INPUT if that is too long. */
enum kl_rc kl_folder_path(const char *dir, const char *name, char out[PATH_MAX],
                          struct kl_err *err) KL_MUST_CHECK;

enum kl_rc kl_folder_load_conf(const char *path, struct kl_folder_conf *out,
                               struct kl_err *err) KL_MUST_CHECK;
void kl_folder_wipe_conf(struct kl_folder_conf *conf);

/* Roots: 1 to KL_ANCHOR_MAX AcquireRCRTs, no two of one key; whoever loads a stack frees it with
 * sk_X509_pop_free. */
enum kl_rc kl_folder_load_roots(const char *dir, STACK_OF(X509) * *out,
                                struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_folder_save_roots(const char *dir, STACK_OF(X509) * roots,
                                struct kl_err *err) KL_MUST_CHECK;
/* Adds what the PEM file at path holds to roots. KL_ERR_CERT for what can be no AcquireRCRT,
 * KL_ERR_EXISTS for a key that is there already, KL_ERR_REFUSED for one too many. On failure roots
 * may have some of them. */
enum kl_rc kl_folder_add_roots(STACK_OF(X509) * roots, const char *path,
                               struct kl_err *err) KL_MUST_CHECK;

/* The terminal's own chain, leaf first; count 0 = there is no such file. */
struct kl_folder_chain {
    size_t count;
    struct kl_bytes der[KL_CHAIN_MAX]; /* owned */
};
enum kl_rc kl_folder_load_chain(const char *dir, struct kl_folder_chain *out,
                                struct kl_err *err) KL_MUST_CHECK;
void kl_folder_wipe_chain(struct kl_folder_chain *chain);

/* PEM of a stack of certificates into DIR/NAME. */
enum kl_rc kl_folder_save_pem(const char *dir, const char *name, STACK_OF(X509) * certs,
                              struct kl_err *err) KL_MUST_CHECK;

#endif
