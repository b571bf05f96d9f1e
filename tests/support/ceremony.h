/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * S1 and S2 by the real programs, acquire-ca and keyloaderctl, on SoftHSM tokens: what the suites
 * about them stand on. Failures are the test's own (ck_abort_msg).
 *
 * Two acquirers: A keeps its key in an encrypted file, so that the test can sign with it what
 * acquire-ca never would; B keeps it in a token. The loader of most tests belongs to A.
 */
#ifndef KL_TESTS_SUPPORT_CEREMONY_H
#define KL_TESTS_SUPPORT_CEREMONY_H

#include <limits.h>
#include <openssl/x509.h>

#define CEREMONY_SECONDS 60 /* that a program may take */
#define PIN "739251860"
#define WRONG_PIN "184029375"
#define PASSPHRASE "correct-horse-battery-staple"

struct ceremony {
    char top[PATH_MAX], logs[PATH_MAX];
    char a_home[PATH_MAX], b_home[PATH_MAX], a_root[PATH_MAX], b_root[PATH_MAX];
    char a_crl[PATH_MAX], b_crl[PATH_MAX];                 /* of scope loader */
    char loader_env[PATH_MAX + 32], ca_env[PATH_MAX + 32]; /* SOFTHSM2_CONF=... */
    char pin_source[PATH_MAX + 8], so_source[PATH_MAX + 8], pass_source[PATH_MAX + 8];
    char csr[PATH_MAX];                            /* of the loader's work key */
    char good[PATH_MAX], other_acquirer[PATH_MAX]; /* that request, signed by A and by B */
    char *last_out, *last_err;                     /* of the last run */
};
extern struct ceremony ceremony;

/* An unchecked fixture: two CAs, a loader's token with its keys, its request and A's and B's
 * certificates for it; and all of it removed. */
void ceremony_found(void);
void ceremony_abandon(void);
/* Its beginning, for who needs no CA: empty SoftHSMs, and the secrets' files. */
void ceremony_ground(void);

/* Where acquire-ca or keyloaderctl is; static storage. */
const char *ceremony_program(const char *name);
/* The program must end with that status and say `words` (unless NULL) on stderr. */
void ceremony_must_end(int status, const char *words, const char *env, const char *const *argv);
#define CA(status, words, ...) \
    ceremony_must_end(status, words, ceremony.ca_env, \
                      (const char *const[]){ceremony_program("acquire-ca"), __VA_ARGS__, NULL})
#define CTL_ALONE(status, words, ...) \
    ceremony_must_end(status, words, ceremony.loader_env, \
                      (const char *const[]){ceremony_program("keyloaderctl"), __VA_ARGS__, NULL})
#define CTL(status, words, conf, ...) CTL_ALONE(status, words, "-c", conf, __VA_ARGS__)

/* Nothing that the programs have printed, and nothing in the CAs' directories, holds a secret. */
void ceremony_no_secret(void);

/* top/NAME; returns out. */
char *ceremony_path(char out[PATH_MAX], const char *name);
/* A SoftHSM without tokens in top/NAME; env: what makes a program use it. */
void ceremony_softhsm(const char *name, char env[PATH_MAX + 32]);
/* A file top/NAME; source (PATH_MAX + 8): what names it to a program. */
void ceremony_secret_file(const char *name, const char *text, unsigned mode, char source[]);
/* A loader's configuration in top/NAME.conf, its work certificates being in top/NAME/, its store
 * top/NAME.db; returns out. Plain: of A's loader with its token. */
char *ceremony_config(char out[PATH_MAX], const char *name, const char *module, const char *token,
                      const char *pin, const char *root);
char *ceremony_plain_config(char out[PATH_MAX], const char *name);

X509 *ceremony_read_cert(const char *path); /* the caller frees it */

#endif
