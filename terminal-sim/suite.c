/* SPDX-License-Identifier: BSD-2-Clause */
/* Which suites there are, and what two of them share. */
#include "terminal-sim/suite.h"

#include "proto/pubkey.h"
#include "terminal-sim/pinpad/random.h"

const struct kl_terminal_suite *kl_terminal_suite_of(unsigned id)
{
    switch (id) {
    case KL_SUITE_HARDENED_RSA:
        return &kl_terminal_suite_hardened_rsa;
    case KL_SUITE_CLASSIC:
        return &kl_terminal_suite_classic;
    case KL_SUITE_HARDENED_EC:
        return &kl_terminal_suite_hardened_ec;
    default:
        return NULL;
    }
}

enum kl_rc kl_terminal_suite_oaep(const struct kl_certificate *certificate, enum kl_oaep_hash *hash,
                                  struct kl_err *err)
{
    if (certificate->oaep_hash != KL_OAEP_SHA1 && certificate->oaep_hash != KL_OAEP_SHA256) {
        return kl_err_set(err, KL_ERR_UNSUPPORTED, "the loader announced OAEP hash %u, unknown",
                          (unsigned)certificate->oaep_hash);
    }
    *hash = (enum kl_oaep_hash)certificate->oaep_hash;
    return KL_OK;
}

enum kl_rc kl_terminal_suite_seal(struct kl_pinpad *pad, const uint8_t t0[KL_HASH_LEN],
                                  const uint8_t rnd2[KL_RND2_LEN], struct kl_randoms *out,
                                  struct kl_err *err)
{
    enum kl_rc rc = kl_random_iv(pad, out->iv, err);

    return rc ? rc : kl_pinpad_seal(pad, out->iv, t0, rnd2, out->c_rnd2, err);
}

enum kl_rc kl_terminal_suite_verify(const struct kl_auth_work *work, struct kl_master_key *msg,
                                    struct kl_err *err)
{
    enum kl_rc rc = kl_pubkey_check(work->key, msg->sig, msg->sig_len, msg->tbs_der.data,
                                    msg->tbs_der.len, err);

    if (rc) {
        kl_err_context(err, "S8: the signature over C_ctmk_rnd2 is not AcquireWCRT's");
    }
    return rc;
}
