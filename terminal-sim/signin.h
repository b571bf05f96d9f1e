/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The terminal's side of a sign-in, by which it gets its working keys PIK and MAK under the TMK in
 * use: SignIn out, WorkingKeys in, Loaded out, Done in. A state machine without socket, file or
 * clock, as load.h; it leaves the new pair in the PIN pad beside the old one. Only a Done proven
 * authentic makes it the one in use: kl_terminal_take_keys. From Loaded until then neither pair is
 * to be used, since the loader may have the other as current.
 */
#ifndef KL_TERMINAL_SIM_SIGNIN_H
#define KL_TERMINAL_SIM_SIGNIN_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/message.h"
#include "terminal-sim/pinpad/pinpad.h"

struct kl_signin_params { /* borrowed, with all it points to, until kl_signin_free */
    const char *serial;
    const char *pinpad_serial;
    struct kl_pinpad *pad;
    struct kl_pinpad_tmk tmk;  /* in use; version 0 = none: KL_ERR_REFUSED */
    enum kl_key_format format; /* KL_FORMAT_FIELD62 only under a TDES TMK */
    /* Puts on a record that outlives a crash that the working keys are in doubt, before Loaded is
     * given out. If it fails, the sign-in fails. NULL: nothing. */
    enum kl_rc (*doubt)(void *arg, struct kl_err *err);
    void (*trace)(void *arg, const char *line); /* as in load.h */
    void *arg;                                  /* for both */
};

struct kl_signin;

enum kl_rc kl_signin_new(const struct kl_signin_params *params, struct kl_signin **out,
                         struct kl_err *err) KL_MUST_CHECK;
void kl_signin_free(struct kl_signin *sign_in); /* ends the PIN pad's session; takes NULL */

/* SignIn's DER. Once for each machine. */
enum kl_rc kl_signin_begin(struct kl_signin *sign_in, uint8_t out[KL_MSG_MAX], size_t *out_len,
                           struct kl_err *err) KL_MUST_CHECK;

/* Takes the loader's next message; results as those of kl_terminal_load_step. KL_OK with *out_len
 * 0: the loader has made kl_signin_pair current. After a failure whatever the PIN pad has of it is
 * void (kl_terminal_drop_keys); once Loaded was given out, the keys stay in doubt, whatever the
 * loader answered. */
enum kl_rc kl_signin_step(struct kl_signin *sign_in, const uint8_t *in, size_t in_len,
                          uint8_t out[KL_MSG_MAX], size_t *out_len,
                          struct kl_err *err) KL_MUST_CHECK;

const struct kl_pinpad_pair *kl_signin_pair(const struct kl_signin *sign_in);

#endif
