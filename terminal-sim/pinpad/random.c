/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Module 105. Rnd2 is what makes an answer of the loader's fresh, so a generator that has stopped
 * is caught here: no value of ours may repeat within one draw of it.
 */
#include "terminal-sim/pinpad/random.h"

#include <string.h>

#include "proto/secret.h"

enum kl_rc kl_random_rnd2(struct kl_pinpad *pad, uint8_t rnd2[KL_RND2_LEN], struct kl_err *err)
{
    uint8_t twice[2 * KL_RND2_LEN];
    enum kl_rc rc = kl_pinpad_random(pad, twice, sizeof(twice), err);

    if (!rc && memcmp(twice, twice + KL_RND2_LEN, KL_RND2_LEN) == 0) {
        rc = kl_err_set(err, KL_ERR_INTERNAL, "the PIN pad's random generator repeats itself");
    }
    if (!rc) {
        memcpy(rnd2, twice, KL_RND2_LEN);
    }
    kl_wipe(twice, sizeof(twice));
    return rc;
}

enum kl_rc kl_random_iv(struct kl_pinpad *pad, uint8_t iv[KL_GCM_IV_LEN], struct kl_err *err)
{
    return kl_pinpad_random(pad, iv, KL_GCM_IV_LEN, err);
}
