/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The terminal's folder, its "first storage": terminal.conf, root.pem (AcquireRCRT) and the file
 * `candidate`, and the rules by which folder and PIN pad agree again after a crash at any point.
 */
#ifndef KL_TERMINAL_SIM_TERMINAL_H
#define KL_TERMINAL_SIM_TERMINAL_H

#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "terminal-sim/candidate.h"
#include "terminal-sim/pinpad.h"

enum kl_pinpad_kind { KL_PINPAD_TOKEN, KL_PINPAD_MEMORY };
extern const char *const kl_pinpad_kinds[]; /* by enum kl_pinpad_kind; ends with NULL */

struct kl_terminal_setup { /* what `init` was told; borrowed */
    const char *dir;
    const char *serial, *pinpad_serial;
    const char *root; /* PEM file with AcquireRCRT */
    enum kl_pinpad_kind kind;
    const char *module, *pin_source, *so_pin_source; /* kind token only */
};

/* Makes the folder (mode 0700) and, for kind token, initialises the PIN pad's token, labelled with
 * its serial. terminal.conf comes last: with it the terminal exists. KL_ERR_EXISTS if it does. */
enum kl_rc kl_terminal_init(const struct kl_terminal_setup *setup,
                            struct kl_err *err) KL_MUST_CHECK;

struct kl_terminal_home;

/* Reads the folder. exclusive 1: nobody else may work in it until it is freed (KL_ERR_BUSY). */
enum kl_rc kl_terminal_open(const char *dir, int exclusive, struct kl_terminal_home **out,
                            struct kl_err *err) KL_MUST_CHECK;
void kl_terminal_free(struct kl_terminal_home *terminal); /* takes NULL */

const char *kl_terminal_serial(const struct kl_terminal_home *);        /* borrowed */
const char *kl_terminal_pinpad_serial(const struct kl_terminal_home *); /* borrowed */
enum kl_pinpad_kind kl_terminal_pinpad_kind(const struct kl_terminal_home *);
X509 *kl_terminal_root(const struct kl_terminal_home *); /* AcquireRCRT; borrowed */

/* The folder's PIN pad; the caller frees it. */
enum kl_rc kl_terminal_open_pinpad(const struct kl_terminal_home *terminal, struct kl_pinpad **out,
                                   struct kl_err *err) KL_MUST_CHECK;

/* First thing after a start, before any Confirm. A record whose TMK the pad does not hold is
 * dropped: confirmed, it would be the active TMK of a terminal that has none. What is left on
 * record is made durable. An unconfirmed TMK without its record is destroyed: its Loaded was never
 * sent. A record whose TMK is active is a settlement that was cut off: it is completed. */
enum kl_rc kl_terminal_recover(struct kl_terminal_home *terminal, struct kl_pinpad *pad,
                               struct kl_err *err) KL_MUST_CHECK;

/* Candidates on record, oldest first; borrowed until the next call below. */
size_t kl_terminal_candidates(const struct kl_terminal_home *terminal,
                              const struct kl_candidate **out);

/* Puts a candidate on record, durably; see kl_terminal_params.keep. A failure that may have left it
 * in the file puts the old list back. */
enum kl_rc kl_terminal_keep(struct kl_terminal_home *terminal, const struct kl_candidate *candidate,
                            int *left, struct kl_err *err) KL_MUST_CHECK;

/* kl_candidate_settle in the PIN pad, then off the record (ACTIVE: older ones too). KL_ERR_KEY: the
 * loader confirmed a TMK that the pad lost; it is off the record nevertheless. */
enum kl_rc kl_terminal_settle(struct kl_terminal_home *terminal, struct kl_pinpad *pad,
                              uint32_t version, enum kl_verdict verdict,
                              struct kl_err *err) KL_MUST_CHECK;

#endif
