/* SPDX-License-Identifier: BSD-2-Clause */
/* The honest sessions around an attack: without them nothing is held. */
#include <stdlib.h>

#include "terminal-sim/attack/attack_impl.h"

static const struct kl_sc_session honest_rogue = {.name = "control",
                                                  .loader = KL_SC_ROGUE,
                                                  .breaks = -1,
                                                  .expect = KL_SC_EXPECT_DONE};

enum kl_rc kl_attack_control(struct kl_attack *attack, struct kl_err *err)
{
    struct kl_kept *kept = calloc(1, sizeof(*kept));
    struct kl_run run = {.session = &honest_rogue, .kept = kept}, *all[] = {&run};
    struct kl_attack_result result;
    enum kl_rc rc = kept ? KL_OK : kl_err_set(err, KL_ERR_MEMORY, "no memory for a session");

    run.all = all;
    run.tampering = (struct kl_tampering){.session = &honest_rogue, .kept = &run.kept};
    if (!rc) {
        rc = kl_pinpad_memory_new(&run.pad, err);
    }
    if (!rc) {
        kl_attack_session(attack, &run);
        kl_attack_judge(&run, &result);
        rc = result.outcome == KL_ATTACK_HELD
                 ? KL_OK
                 : kl_err_set(err, KL_ERR_VERIFY, "an honest load by our own terminal: %.200s",
                              result.detail);
    }
    kl_rogue_drop(&run.rogue);
    kl_pinpad_free(run.pad);
    free(kept);
    return rc;
}

/* Hello, and a Certificate that the terminal verifies: the loader is there, serves this terminal,
 * and is the one that it trusts. It costs no attempt. */
static enum kl_rc probe_once(struct kl_attack *attack, struct kl_err *err)
{
    static const struct kl_sc_session honest = {.name = "probe", .breaks = -1};
    struct kl_terminal_load_params params;
    struct kl_terminal_load *load = NULL;
    struct kl_transceiver *transceiver = NULL;
    struct kl_pinpad *pad = NULL;
    uint8_t out[KL_MSG_MAX], in[KL_MSG_MAX];
    size_t out_len, in_len;
    enum kl_rc rc = kl_pinpad_memory_lent(attack->signer, &pad, err);

    if (!rc) {
        kl_attack_params(attack, &honest, pad, &params);
        rc = kl_terminal_load_new(&params, &load, err);
    }
    if (!rc) {
        rc = kl_terminal_load_hello(load, out, &out_len, err);
    }
    if (!rc) {
        rc = kl_transceiver_open(attack->target->loader, attack->target->seconds, NULL,
                                 &transceiver, err);
    }
    if (!rc) {
        rc = kl_transceiver_send(transceiver, out, out_len, err);
    }
    if (!rc || rc == KL_ERR_CLOSED) {
        rc = kl_transceiver_receive(transceiver, in, &in_len, err);
    }
    if (!rc) {
        rc = kl_terminal_load_step(load, in, in_len, out, &out_len, err);
    }
    kl_transceiver_free(transceiver);
    kl_terminal_load_free(load);
    kl_pinpad_free(pad);
    return rc;
}

enum kl_rc kl_attack_probe(struct kl_attack *attack, struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    for (int i = 0; i < KL_ATTACK_BUSY_TRIES; i++) {
        rc = probe_once(attack, err);
        if (rc != KL_ERR_BUSY && rc != KL_ERR_CLOSED) {
            return rc;
        }
        kl_attack_pause(KL_ATTACK_BUSY_WAIT_MS);
    }
    return rc;
}

/* Before: 1 if the attack can be made; else *out says why not. */
int kl_attack_ready(struct kl_attack *attack, struct kl_attack_result *out)
{
    struct kl_err err = KL_ERR_INIT;

    if (!attack->target->loader || !attack->home) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE,
                      "it needs a loader (--loader) and a terminal of it (--terminal)");
        return 0;
    }
    if (kl_attack_arm(attack, &err)) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE, "not made, as the terminal was not armed: %s",
                      err.text);
        return 0;
    }
    if (kl_attack_probe(attack, &err)) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE,
                      "not made, as the loader does not serve terminal %s: %s",
                      kl_terminal_serial(attack->home), err.text);
        return 0;
    }
    return 1;
}

/* After: a loader that served before and does not now has been broken by it; one that refuses this
 * terminal alone, perhaps only disarmed it. */
void kl_attack_still_serves(struct kl_attack *attack, int rearm, struct kl_attack_result *out)
{
    struct kl_err err = KL_ERR_INIT;
    enum kl_rc rc = rearm ? kl_attack_arm(attack, &err) : KL_OK;

    if (out->outcome != KL_ATTACK_HELD) {
        return;
    }
    if (rc) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE, "afterwards: %s", err.text);
        return;
    }
    rc = kl_attack_probe(attack, &err);
    if (rc == KL_ERR_PEER) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE,
                      "the loader refused it, and afterwards the terminal itself: its attempts may "
                      "be used up; arm it for more, or give --arm");
    } else if (rc) {
        kl_attack_say(out, KL_ATTACK_BROKEN, "the loader served before, and not afterwards: %s",
                      err.text);
    }
}
