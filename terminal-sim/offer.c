/* SPDX-License-Identifier: BSD-2-Clause */
/* See offer.h. */
#include "terminal-sim/offer.h"

#include "proto/alg.h"

unsigned kl_offer_alg(const char *name)
{
    const struct kl_alg_info *info = kl_alg_by_name(name);

    return info ? info->alg : 0;
}
