/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hardened-rsa on the terminal's side: RSA-OAEP and AES-256-GCM for C_rnd1_rnd2, RSASSA-PSS for
 * C_ctmk_rnd2, single-use keys derived from Rnd1 for the rest. docs/protocol.md has the bytes.
 */
#include "terminal-sim/suite.h"

static enum kl_rc randoms(struct kl_pinpad *pad, const struct kl_auth_work *work,
                          const struct kl_certificate *certificate, const uint8_t t0[KL_HASH_LEN],
                          const uint8_t rnd2[KL_RND2_LEN], struct kl_randoms *out,
                          struct kl_err *err)
{
    enum kl_oaep_hash hash;
    enum kl_rc rc = kl_terminal_suite_oaep(certificate, &hash, err);

    if (!rc) {
        rc = kl_pinpad_start_rsa(pad, work->key, hash, t0, out->c_rnd1, &out->c_rnd1_len, err);
    }
    return rc ? rc : kl_terminal_suite_seal(pad, t0, rnd2, out, err);
}

const struct kl_terminal_suite kl_terminal_suite_hardened_rsa = {
    .id = KL_SUITE_HARDENED_RSA,
    .randoms = randoms,
    .verify = kl_terminal_suite_verify,
};
