/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The CA's directory:
 *
 *   DIR/ca.conf             where AcquireRCRT_Prk is; never a PIN
 *   DIR/root.pem            AcquireRCRT; written last by `init`, so that its presence means a CA
 *   DIR/root-key.pem        AcquireRCRT_Prk, encrypted, for a CA without a token
 *   DIR/issued/SERIAL.pem   every certificate signed, written before it is handed out
 *   DIR/keys/SHA256         who a certified public key belongs to (ca/claims.h)
 *   DIR/revoked/SERIAL      when and why a certificate was revoked (ca/revoked.h)
 *   DIR/crls/NUMBER.pem     every CRL signed, written before it is handed out: the highest number
 *                           is the last one used, so keep at least that file (ca/crl.h)
 *
 * All but ca.conf and root-key.pem is written once and never changed, whole or not at all, and
 * reaches the disk before anybody is told.
 */
#ifndef KL_CA_HOME_H
#define KL_CA_HOME_H

#include <dirent.h>
#include <limits.h>
#include <openssl/x509.h>

#include "proto/err.h"

struct kl_ca_conf {
    char *module;        /* "" = module-path of the token URI */
    char *init_reserved; /* "" = none */
    char *token;         /* RFC 7512 URI; "" = the key is in `pem` */
    char *key_label;
    char *pem;        /* file name inside DIR; "" = the key is in a token */
    char *pin_source; /* see kl_pin_read; "" = pin-source of the token URI, else prompt */
};

#define KL_HOME_ISSUED "issued"
#define KL_HOME_KEYS "keys"
#define KL_HOME_REVOKED "revoked"
#define KL_HOME_CRLS "crls"
#define KL_HOME_PEM ".pem" /* suffix of the files in issued and crls */

/* Creates DIR and its folders as needed. KL_ERR_EXISTS if there is a root.pem already. */
enum kl_rc kl_home_prepare(const char *dir, struct kl_err *err) KL_MUST_CHECK;

/* "DIR/name", bounded. */
enum kl_rc kl_home_path(const char *dir, const char *name, char out[PATH_MAX],
                        struct kl_err *err) KL_MUST_CHECK;

/* "DIR/folder/name" + suffix, bounded. */
enum kl_rc kl_home_path_in(const char *dir, const char *folder, const char *name,
                           const char *suffix, char out[PATH_MAX],
                           struct kl_err *err) KL_MUST_CHECK;

/* Calls fn for each file name in DIR/folder that filter (as scandir's) lets pass, in alphabetical
 * order, until it fails. */
typedef enum kl_rc (*kl_home_name_fn)(const char *name, void *arg, struct kl_err *err);
enum kl_rc kl_home_names(const char *dir, const char *folder,
                         int (*filter)(const struct dirent *entry), kl_home_name_fn fn, void *arg,
                         struct kl_err *err) KL_MUST_CHECK;
int kl_home_is_pem(const struct dirent *entry); /* a filter: NAME.pem */

/* Writes text as DIR/folder/name, durably, unless there is such a file: the first text stands for
 * ever. *standing, if not NULL, gets what the file says then (malloc'ed, the caller frees), or NULL
 * if it is ours. */
enum kl_rc kl_home_write_once(const char *dir, const char *folder, const char *name,
                              const char *text, char **standing, struct kl_err *err) KL_MUST_CHECK;
#define KL_HOME_TEXT_MAX 256 /* bytes of such a file */

enum kl_rc kl_home_load_conf(const char *dir, struct kl_ca_conf *out,
                             struct kl_err *err) KL_MUST_CHECK;
void kl_home_wipe_conf(struct kl_ca_conf *conf);
/* KL_ERR_INPUT if a value would not read back as it is (kl_ini_writable). Empty
 * members are left out; none is NULL. */
enum kl_rc kl_home_save_conf(const char *dir, const struct kl_ca_conf *conf,
                             struct kl_err *err) KL_MUST_CHECK;

/* The caller frees with X509_free. */
enum kl_rc kl_home_load_root(const char *dir, X509 **out, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_home_save_root(const char *dir, X509 *root, struct kl_err *err) KL_MUST_CHECK;

/* Writes DIR/issued/SERIAL.pem; KL_ERR_EXISTS if that serial was ever issued. */
enum kl_rc kl_home_record(const char *dir, X509 *cert, struct kl_err *err) KL_MUST_CHECK;

/* Calls fn for each issued certificate (borrowed), in the order of serials, until it fails. */
typedef enum kl_rc (*kl_home_fn)(X509 *cert, void *arg, struct kl_err *err);
enum kl_rc kl_home_each(const char *dir, kl_home_fn fn, void *arg,
                        struct kl_err *err) KL_MUST_CHECK;

/* The issued certificate of that serial (hex, any case), or the root for "root". KL_ERR_NOT_FOUND,
 * KL_ERR_INPUT if serial is not hex. The caller frees with X509_free. */
enum kl_rc kl_home_find(const char *dir, const char *serial, X509 **out,
                        struct kl_err *err) KL_MUST_CHECK;

/* A certificate, or a CRL, as a PEM file; path "-" is stdout. overwrite as in kl_file_write. */
enum kl_rc kl_home_write_cert(const char *path, X509 *cert, int overwrite,
                              struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_home_write_crl(const char *path, X509_CRL *crl, int overwrite,
                             struct kl_err *err) KL_MUST_CHECK;

#endif
