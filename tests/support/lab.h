/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A whole key loading centre in a scratch directory, out of the real programs: CA, loader with its
 * SoftHSM token, terminals with a PIN pad token each. Failures are the test's own (ck_abort_msg).
 *
 *   DIR/ca/             the CA's softhsm2.conf, token and directory
 *   DIR/hsm/            the loader's softhsm2.conf and token
 *   DIR/work/           the loader's chains
 *   DIR/root.pem crl.pem *.pin
 *   DIR/N/              one test's own: keyloaderd.conf, store/, term-SERIAL/, log/
 *
 * The ceremony costs seconds, so it is done once for a test case (lab_found, in an unchecked
 * fixture), and each test gets its own store and terminals under it (lab_begin).
 */
#ifndef KL_TESTS_SUPPORT_LAB_H
#define KL_TESTS_SUPPORT_LAB_H

#include <limits.h>
#include <stdint.h>

#include "proto/alg.h"
#include "tests/support/proc.h"
#include "tests/support/relay.h"

#define LAB_WORK_KEY "acquire-work" /* label of the first work key */
#define LAB_SETTINGS 32
#define LAB_TMK_MAX 1024

struct lab_setting {
    char section[32], key[48], value[PATH_MAX];
};

struct lab {
    char dir[PATH_MAX]; /* of the ceremony */
    char run[PATH_MAX]; /* of this test */
    char conf[PATH_MAX], store[PATH_MAX], logs[PATH_MAX];
    char module[PATH_MAX]; /* what every program loads as its PKCS#11 module */
    int nss;               /* 1: module is NSS softokn (lab_hsm.h) */
    const char *env[8];    /* NULL-terminated; added for every program */
    struct proc daemon;
    const char *const *daemon_prefix; /* NULL, or a command that runs keyloaderd (setpriv ...) */
    const char *const *daemon_args;   /* NULL, or more options of keyloaderd, NULL-terminated */
    uint16_t port;
    size_t setting_count;
    struct lab_setting settings[LAB_SETTINGS];
};

/* "BUILD/name" of the build that is under test (KL_BUILD, else "build"); static storage. */
const char *lab_built(const char *name);

/* S1 and S2 with an RSA key of `bits`: CA "ca" in a token, its CRL, work key, work certificate. */
void lab_found(struct lab *lab, unsigned bits);
/* The parts of it, for more of the same: the directory, PINs and the loader's token; another CA, in
 * DIR/NAME, whose root is added to DIR/root.pem; that CA's next CRL of a scope, installed; another
 * work key of that label, suite and kind, with a certificate of that CA, installed; or only that
 * certificate, for a work key that is there. */
void lab_lay_out(struct lab *lab);
void lab_found_ca(struct lab *lab, const char *name);
void lab_publish_crl(struct lab *lab, const char *ca, const char *scope);
void lab_certify(struct lab *lab, const char *label, const char *suite, const char *key,
                 const char *ca);
/* lab_certify without making the key, which is there. */
void lab_certify_key(struct lab *lab, const char *label, const char *ca_name);
void lab_abandon(struct lab *lab); /* removes everything */

/* A store and configuration of this test's own; the name is a directory name. */
void lab_begin(struct lab *lab, const char *name);
/* Sets a configuration value for the next start or SIGHUP; "" in value is allowed. */
void lab_set(struct lab *lab, const char *section, const char *key, const char *value);
/* Stops what runs. Fails the test if the daemon does not end well. */
void lab_end(struct lab *lab);

void lab_spawn(struct lab *lab);                            /* keyloaderd, and no more */
void lab_spawn_another(struct lab *lab, struct proc *proc); /* as lab_spawn, beside lab->daemon */
void lab_start(struct lab *lab);                            /* waits until it listens */
int lab_start_fails(struct lab *lab); /* waits until it ends by itself: its status */
void lab_stop(struct lab *lab);       /* SIGTERM; must end with status 0 */
void lab_kill(struct lab *lab);       /* SIGKILL */
/* Waits until the daemon has logged `text`; 0 if it has not within `seconds`. */
int lab_logged(struct lab *lab, const char *text, int seconds);
unsigned lab_log_count(struct lab *lab, const char *text); /* how often it has */
/* The port that [monitor] listen = 127.0.0.1:0 has come to, once it listens. */
uint16_t lab_monitor_port(struct lab *lab);

/* Runs `keyloaderctl -c CONF ARGS...` (NULL-terminated); which must end with status 0. Returns its
 * stdout, malloc'ed. */
char *lab_ctl(struct lab *lab, ...) __attribute__((sentinel));
/* The same, and whatever its status. */
int lab_ctl_status(struct lab *lab, ...) __attribute__((sentinel));
/* Only starts it. */
void lab_ctl_start(struct lab *lab, struct proc *proc, ...) __attribute__((sentinel));

/* Registers SERIAL (PIN pad "P" + SERIAL) and makes the terminal with our root. */
void lab_terminal(struct lab *lab, const char *serial, const char *alg);
void lab_register(struct lab *lab, const char *serial, const char *alg);
void lab_make_terminal(struct lab *lab, const char *serial, const char *root);
/* The parts of it: the SoftHSM of its PIN pad, and terminal-sim init, whatever its status. */
void lab_make_pinpad(struct lab *lab, const char *serial);
int lab_init_terminal(struct lab *lab, const char *serial, const char *root);
void lab_arm(struct lab *lab, const char *serial, unsigned attempts);

/* terminal-sim load, over 127.0.0.1:port. extra: NULL-terminated options or NULL. */
void lab_load_start(struct lab *lab, const char *serial, uint16_t port, const char *const *extra,
                    struct proc *proc);
int lab_load(struct lab *lab, const char *serial, uint16_t port); /* its exit status */
#define LAB_LOAD_SECONDS 30
/* Starts argv (NULL-terminated) where that terminal's PIN pad is to be found. */
void lab_terminal_spawn(struct lab *lab, const char *serial, struct proc *proc,
                        const char *const *argv);
/* Runs `terminal-sim ARGS... --dir DIR` (NULL-terminated) of that terminal: its exit status. */
int lab_terminal_sim(struct lab *lab, const char *serial, ...) __attribute__((sentinel));
/* Gives the terminal a device key and a certificate of that CA. */
void lab_device_certificate(struct lab *lab, const char *serial, const char *ca);

struct lab_tmk {
    unsigned version;
    char state[16], kcv[KL_KCV_TEXT], alg[8];
};
/* What the store, and the PIN pad, hold for a terminal: how many, lowest version first. */
size_t lab_store(struct lab *lab, const char *serial, struct lab_tmk out[LAB_TMK_MAX]);
size_t lab_pinpad(struct lab *lab, const char *serial, struct lab_tmk out[LAB_TMK_MAX]);
/* The active one of a list, NULL if none; fails the test if there are two. */
const struct lab_tmk *lab_active(const struct lab_tmk *list, size_t count);
/* Fails the test unless store and PIN pad have the same active TMK (or neither has one), and the
 * PIN pad holds nothing that the store does not know. */
void lab_agree(struct lab *lab, const char *serial);
/* As lab_agree, and the active one is of that version, nothing unconfirmed is left. */
void lab_settled(struct lab *lab, const char *serial, unsigned version);

#endif
