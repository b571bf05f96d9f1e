/* SPDX-License-Identifier: BSD-2-Clause */
/* A scenario's sessions, one after the other, with the controls around them; and a run of
 * scenarios. */
#include "terminal-sim/attack/attack.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/clock.h"
#include "terminal-sim/attack/attack_impl.h"

#define VARIANTS_MAX 400 /* of a sweep */

const char *kl_attack_outcome_name(enum kl_attack_outcome outcome)
{
    static const char *const names[] = {"held", "broken", "inconclusive", "not-tried"};

    return names[outcome];
}

void kl_attack_say(struct kl_attack_result *out, enum kl_attack_outcome outcome, const char *fmt,
                   ...)
{
    va_list args;

    out->outcome = outcome;
    va_start(args, fmt);
    vsnprintf(out->detail, sizeof(out->detail), fmt, args);
    va_end(args);
}

void kl_attack_pause(unsigned ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&t, NULL);
}

/* ---- Scenarios ---- */

static enum kl_rc open_runs(struct kl_attack *attack, const struct kl_scenario *scenario,
                            struct kl_runs *runs, struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; !rc && i < scenario->session_count; i++) {
        const struct kl_sc_session *s = &scenario->sessions[i];
        struct kl_run *run = &runs->of[i];

        run->session = s;
        run->all = runs->all;
        runs->all[i] = run;
        runs->kept[i] = run->kept = calloc(1, sizeof(*run->kept));
        run->tampering = (struct kl_tampering){.session = s,
                                               .kept = runs->kept,
                                               .self = i,
                                               .signer = attack->signer};
        if (!run->kept) {
            rc = kl_err_set(err, KL_ERR_MEMORY, "no memory for a session");
        } else if (s->pad != i) {
            run->pad = runs->of[s->pad].pad;
        } else {
            rc = kl_pinpad_memory_lent(attack->signer, &run->pad, err);
        }
    }
    return rc;
}

static void close_runs(const struct kl_scenario *scenario, struct kl_runs *runs)
{
    for (size_t i = 0; i < scenario->session_count; i++) {
        kl_rogue_drop(&runs->of[i].rogue);
        if (scenario->sessions[i].pad == i) {
            kl_pinpad_free(runs->of[i].pad);
        }
        free(runs->kept[i]);
    }
}

static int sweeps(const struct kl_sc_session *s)
{
    for (size_t i = 0; i < s->rule_count; i++) {
        if (s->rules[i].act == KL_SC_SWEEP) {
            return 1;
        }
    }
    return 0;
}

/* The last session again and again, each time on a new PIN pad, unless it is about another's. */
static void run_sweep(struct kl_attack *attack, struct kl_run *run, struct kl_attack_result *out)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_pinpad *pad = run->pad;
    char detail[sizeof(out->detail)];
    const int own = run->session->kind == KL_SC_LOAD;
    size_t variant = 0;

    do {
        run->tampering.variant = variant;
        run->tampering.variants = 0;
        if (own && kl_pinpad_memory_lent(attack->signer, &run->pad, &err)) {
            kl_attack_say(out, KL_ATTACK_INCONCLUSIVE, "%s", err.text);
            break;
        }
        kl_attack_session(attack, run);
        kl_attack_judge(run, out);
        if (own) {
            kl_pinpad_free(run->pad);
        }
        variant++;
    } while (out->outcome == KL_ATTACK_HELD && variant < run->tampering.variants &&
             variant < VARIANTS_MAX);
    run->pad = pad;
    out->variants = (unsigned)variant;
    if (out->outcome == KL_ATTACK_HELD && run->tampering.variants == 0) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE, "the message that was to be swept never came");
    } else if (out->outcome == KL_ATTACK_HELD) {
        kl_attack_say(out, KL_ATTACK_HELD, "each of %zu changed bytes was refused", variant);
    } else {
        strcpy(detail, out->detail);
        kl_attack_say(out, out->outcome, "%s (%s)", run->tampering.changed, detail);
    }
}

static void run_sessions(struct kl_attack *attack, const struct kl_scenario *scenario,
                         struct kl_runs *runs, struct kl_attack_result *out)
{
    char detail[sizeof(out->detail)];

    for (size_t i = 0; i < scenario->session_count; i++) {
        struct kl_run *run = &runs->of[i];

        if (sweeps(run->session)) {
            run_sweep(attack, run, out);
        } else {
            kl_attack_session(attack, run);
            kl_attack_judge(run, out);
        }
        if (out->outcome == KL_ATTACK_INCONCLUSIVE && i + 1 < scenario->session_count) {
            strcpy(detail, out->detail);
            kl_attack_say(out, KL_ATTACK_INCONCLUSIVE, "the attack was not made: %s", detail);
        }
        if (out->outcome != KL_ATTACK_HELD) {
            return;
        }
    }
}

static int can_run(struct kl_attack *attack, const struct kl_scenario *scenario,
                   struct kl_attack_result *out)
{
    struct kl_bytes chain[KL_CHAIN_MAX];

    if (attack->control_failed.rc) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE, "not made: %s", attack->control_failed.text);
        return 0;
    }
    if (!kl_scenario_needs_loader(scenario)) {
        return 1;
    }
    if (!kl_attack_ready(attack, out)) {
        return 0;
    }
    if (scenario->needs_certificate && kl_terminal_chain(attack->home, chain) == 0) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE,
                      "it needs a terminal with a certificate (terminal-sim device-key), and a "
                      "loader that verifies them");
        return 0;
    }
    if (scenario->needs_arm && !attack->target->arm) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE,
                      "it needs --arm, as a load goes through and ends the arming");
        return 0;
    }
    return 1;
}

void kl_attack_begin(struct kl_attack_result *out, const char *name, const char *tries)
{
    memset(out, 0, sizeof(*out));
    snprintf(out->name, sizeof(out->name), "%s", name);
    snprintf(out->tries, sizeof(out->tries), "%s", tries);
    out->variants = 1;
}

void kl_attack_run(struct kl_attack *attack, const struct kl_scenario *scenario,
                   struct kl_attack_result *out)
{
    struct kl_runs *runs = calloc(1, sizeof(*runs));
    struct kl_err err = KL_ERR_INIT;
    int64_t began = kl_clock_ms();

    kl_attack_begin(out, scenario->name, scenario->tries);
    if (!runs || open_runs(attack, scenario, runs, &err)) {
        kl_attack_say(out, KL_ATTACK_INCONCLUSIVE, "not made: %s",
                      runs ? err.text : "no memory for sessions");
    } else if (can_run(attack, scenario, out)) {
        run_sessions(attack, scenario, runs, out);
        if (kl_scenario_needs_loader(scenario)) {
            kl_attack_still_serves(attack, scenario->needs_arm, out);
        } else if (out->outcome == KL_ATTACK_HELD && kl_attack_control(attack, &err)) {
            kl_attack_say(out, KL_ATTACK_BROKEN, "afterwards: %s", err.text);
        }
    }
    if (runs) {
        close_runs(scenario, runs);
    }
    free(runs);
    out->seconds = (double)(kl_clock_ms() - began) / 1000;
}

/* ---- A run of them ---- */

static enum kl_rc open_home(struct kl_attack *attack, struct kl_err *err)
{
    struct kl_bytes chain[KL_CHAIN_MAX];
    enum kl_rc rc =
        attack->target->dir ? kl_terminal_open(attack->target->dir, 0, &attack->home, err) : KL_OK;

    if (!rc && attack->home && kl_terminal_chain(attack->home, chain) > 0) {
        rc = kl_terminal_open_pinpad(attack->home, &attack->signer, err);
    }
    return rc;
}

enum kl_rc kl_attack_new(const struct kl_attack_target *target, struct kl_attack **out,
                         struct kl_err *err)
{
    struct kl_attack *attack = calloc(1, sizeof(*attack));
    enum kl_rc rc;

    if (!attack) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for attacks");
    }
    attack->target = target;
    rc = kl_rogue_pki_make(&attack->pki, err);
    if (!rc) {
        rc = open_home(attack, err);
    }
    if (rc) {
        kl_attack_free(attack);
        return rc;
    }
    if (kl_attack_control(attack, &attack->control_failed) == KL_OK) {
        attack->control_failed.rc = KL_OK;
    }
    *out = attack;
    return KL_OK;
}

void kl_attack_free(struct kl_attack *attack)
{
    if (!attack) {
        return;
    }
    kl_pinpad_free(attack->signer);
    kl_terminal_free(attack->home);
    kl_rogue_pki_wipe(&attack->pki);
    free(attack);
}
