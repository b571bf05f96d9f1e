/* SPDX-License-Identifier: BSD-2-Clause */
/* The connection flood. */
#include "proto/clock.h"
#include "terminal-sim/attack/attack_impl.h"

/* How many of them the loader has ended. */
static unsigned count_shed(struct kl_transceiver *const *list, unsigned count)
{
    unsigned shed = 0;

    for (unsigned i = 0; i < count; i++) {
        shed += list[i] && kl_transceiver_has_ended(list[i]);
    }
    return shed;
}

void kl_attack_flood(struct kl_attack *attack, struct kl_attack_result *out)
{
    struct kl_transceiver *list[KL_FLOOD_CONNECTIONS] = {NULL};
    struct kl_err err = KL_ERR_INIT;
    unsigned open = 0, refused = 0, shed;
    int64_t began = kl_clock_ms();
    int served;

    kl_attack_begin(out, KL_FLOOD_NAME, KL_FLOOD_TRIES);
    if (kl_attack_ready(attack, out)) {
        for (unsigned i = 0; i < KL_FLOOD_CONNECTIONS; i++) {
            if (kl_transceiver_open(attack->target->loader, attack->target->seconds, NULL, &list[i],
                                    &err)) {
                refused++;
            } else {
                open++;
            }
        }
        served = kl_attack_probe(attack, &err) == KL_OK;
        shed = count_shed(list, KL_FLOOD_CONNECTIONS);
        for (unsigned i = 0; i < KL_FLOOD_CONNECTIONS; i++) {
            kl_transceiver_free(list[i]);
        }
        kl_attack_say(out, served || shed || refused ? KL_ATTACK_HELD : KL_ATTACK_BROKEN,
                      "of %u connections %u were refused or shed; the terminal was %sserved "
                      "meanwhile",
                      open + refused, shed + refused, served ? "" : "not ");
        kl_attack_still_serves(attack, 0, out);
    }
    out->seconds = (double)(kl_clock_ms() - began) / 1000;
}
