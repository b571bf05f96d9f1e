/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Another party that makes keys for the lab's loader, with OpenSSL and its program: it shares zone
 * keys with the loader, has its transport key, and knows the value of every TMK that it sends.
 */
#ifndef KL_TESTS_SUPPORT_PARTY_H
#define KL_TESTS_SUPPORT_PARTY_H

#include <stddef.h>
#include <stdint.h>

#include "proto/alg.h"
#include "proto/message.h"
#include "tests/support/lab_keys.h"

#define PARTY_PASSPHRASE "a passphrase of the other party"

extern struct party {
    struct lab lab;
    uint8_t zone[32];       /* AES-256: the loader's "zin" (import) and "zout" (export) */
    uint8_t short_zone[16]; /* AES-128: its "zin128" and "zout128" */
    char oaep[32];          /* of "t": the hash that the loader says, as openssl wants it told */
} party;

/* An unchecked fixture. The lab of a work key of RSA-2048 and one of P-521, those zone keys, and
 * the transport key "t" (RSA-2048; public half in DIR/t.pem). Terminals' certificates of "ca" are
 * known, but not asked for. */
void party_found(void);
void party_abandon(void);

/* A file in the lab's directory: its path; or, written with that text, its SRC. Each result is good
 * for the next three calls. */
const char *party_at(const char *name);
const char *party_source(const char *name, const char *text);

/* Runs openssl, which must end well. */
void party_run(const char *const *argv);
#define PARTY_OPENSSL(...) party_run((const char *const[]){"/usr/bin/openssl", __VA_ARGS__, NULL})

struct party_tmk {
    const char *serial; /* borrowed */
    const struct kl_alg_info *info;
    uint8_t value[KL_TMK_LEN_MAX];
    char kcv[KL_KCV_TEXT], cryptogram[2 * KL_RSA_MAX + 1]; /* hex */
};
/* Draws one; then puts its cryptogram there: by AES key wrap, or by OAEP under "t". */
void party_draw(const char *serial, const char *name, struct party_tmk *out);
void party_under_zmk(struct party_tmk *key, const uint8_t *kek, size_t kek_len, int padded);
void party_under_transport(struct party_tmk *key);

/* keyloaderctl tmk import of it, with those options; see lab_ctl_ends. */
#define PARTY_IMPORT(status, words, key, ...) \
    lab_ctl_ends(&party.lab, status, words, "tmk", "import", (key)->serial, "--algorithm", \
                 (key)->info->name, "--cryptogram", (key)->cryptogram, "--kcv", (key)->kcv, \
                 __VA_ARGS__, NULL)
size_t party_waiting(void); /* how many TMKs wait for their load */

#endif
