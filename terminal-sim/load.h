/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The terminal's side of the protocol as a state machine over messages: one message in, one out.
 * No socket, no file, no clock; whoever drives it (terminal-sim over a blocking socket, a fleet
 * over an event loop, a test over nothing) does the I/O. One machine is one connection: a load
 * (S4, S5, S8, S9) or a Confirm. One thread; a PIN pad serves one machine at a time.
 */
#ifndef KL_TERMINAL_SIM_LOAD_H
#define KL_TERMINAL_SIM_LOAD_H

#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "proto/alg.h"
#include "proto/cert.h"
#include "proto/err.h"
#include "proto/message.h"
#include "terminal-sim/auth.h"
#include "terminal-sim/candidate.h"
#include "terminal-sim/pinpad/pinpad.h"

struct kl_terminal_load_params { /* borrowed, with all it points to, until kl_terminal_load_free */
    const char *serial;
    const char *pinpad_serial;
    STACK_OF(X509) * roots;    /* AcquireRCRT, 1 to KL_ANCHOR_MAX */
    struct kl_auth_memo *memo; /* one of those roots, shared with other terminals; NULL: none */
    struct kl_pinpad *pad;
    uint8_t suites[KL_OFFER_MAX]; /* enum kl_suite, offered, preferred first */
    size_t suite_count;
    enum kl_alg algs[KL_OFFER_MAX]; /* offered, preferred first */
    size_t alg_count;
    time_t now; /* at which AcquireWCRT must be valid */
    /* The terminal's own certificate and what is above it, as it goes into Hello; its key is the
     * PIN pad's device key. 0 = it has none. */
    struct kl_bytes chain[KL_CHAIN_MAX];
    size_t chain_count;

    /* Puts a candidate on a record that outlives a crash: before the PIN pad writes it (whole 0),
     * and again once it is written (whole 1), before Loaded is given out. If it fails, the load
     * fails. NULL: nothing. */
    enum kl_rc (*record)(void *arg, const struct kl_candidate *candidate, struct kl_err *err);
    /* Undoes that when the load fails in between: destroys what the pad holds of it, then takes it
     * off the record. If it fails, the next start does it. Not NULL if record is not. */
    enum kl_rc (*forget)(void *arg, uint32_t version, struct kl_err *err);
    /* One line on each step of the method: names, sizes, KCV; never a secret. NULL: nothing. */
    void (*trace)(void *arg, const char *line);
    void *arg; /* for all three */
};

struct kl_terminal_load;

enum kl_rc kl_terminal_load_new(const struct kl_terminal_load_params *params,
                                struct kl_terminal_load **out, struct kl_err *err) KL_MUST_CHECK;
void kl_terminal_load_free(struct kl_terminal_load *load); /* ends the PIN pad's load; takes NULL */

/* Begins a load or a Confirm: the first message's DER. Once for each machine. A candidate that the
 * PIN pad does not hold is never confirmed: KL_ERR_KEY. */
enum kl_rc kl_terminal_load_hello(struct kl_terminal_load *load, uint8_t out[KL_MSG_MAX],
                                  size_t *out_len, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_terminal_load_confirm(struct kl_terminal_load *load,
                                    const struct kl_candidate *candidate, uint8_t out[KL_MSG_MAX],
                                    size_t *out_len, struct kl_err *err) KL_MUST_CHECK;

/* Takes the loader's next message. *out_len is always written:
 *   KL_OK, *out_len > 0   send out, then wait for the next message;
 *   KL_OK, *out_len == 0  over: kl_terminal_load_verdict is proven; carry it out
 *                         (kl_terminal_settle);
 *   else, *out_len > 0    over: send out (Failed), close;
 *   else                  over: close.
 * The codes: KL_ERR_PEER, KL_ERR_BUSY or KL_ERR_TIMEOUT if the loader answered Error; the rest as
 * the failed check has it. A machine that is over answers KL_ERR_INTERNAL. After Loaded or Confirm
 * went out no failure touches the candidate. */
enum kl_rc kl_terminal_load_step(struct kl_terminal_load *load, const uint8_t *in, size_t in_len,
                                 uint8_t out[KL_MSG_MAX], size_t *out_len,
                                 struct kl_err *err) KL_MUST_CHECK;

/* 1 if the machine has given out Loaded or Confirm, so that a candidate awaits its Done. */
int kl_terminal_load_has_candidate(const struct kl_terminal_load *load);
const struct kl_candidate *kl_terminal_load_candidate(const struct kl_terminal_load *load);
enum kl_verdict kl_terminal_load_verdict(const struct kl_terminal_load *load);

struct kl_terminal_load_facts { /* of S4, for people; zero before */
    unsigned suite;
    char subject[KL_NAME_MAX]; /* of AcquireWCRT */
    char anchor[KL_NAME_MAX];  /* of the AcquireRCRT above it */
    int has_crl;
};
const struct kl_terminal_load_facts *kl_terminal_load_facts(const struct kl_terminal_load *load);

#endif
