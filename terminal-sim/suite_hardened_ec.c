/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hardened-ec on the terminal's side: as hardened-rsa, with ECIES for Rnd1 (the ephemeral key is
 * born and dies in the PIN pad) and ECDSA for C_ctmk_rnd2. docs/protocol.md has the bytes.
 */
#include "terminal-sim/suite.h"

static enum kl_rc randoms(struct kl_pinpad *pad, const struct kl_auth_work *work,
                          const struct kl_certificate *certificate, const uint8_t t0[KL_HASH_LEN],
                          const uint8_t rnd2[KL_RND2_LEN], struct kl_randoms *out,
                          struct kl_err *err)
{
    enum kl_rc rc =
        kl_pinpad_start_ec(pad, work->key, t0, out->point, &out->point_len, out->c_rnd1, err);

    (void)certificate; /* its OAEP hash means nothing here */
    out->c_rnd1_len = KL_C_RND1_EC_LEN;
    return rc ? rc : kl_terminal_suite_seal(pad, t0, rnd2, out, err);
}

const struct kl_terminal_suite kl_terminal_suite_hardened_ec = {
    .id = KL_SUITE_HARDENED_EC,
    .randoms = randoms,
    .verify = kl_terminal_suite_verify,
};
