/* SPDX-License-Identifier: BSD-2-Clause */
/* A fleet terminal's record and PIN pad. */
#include "terminal-sim/fleet/fleet_terminal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kl_rc kl_fleet_terminal_prepare(struct kl_fleet_terminal *terminal, struct kl_err *err)
{
    return terminal->pad ? KL_OK : kl_pinpad_memory_new(&terminal->pad, err);
}

void kl_fleet_terminal_wipe(struct kl_fleet_terminal *terminal)
{
    kl_pinpad_free(terminal->pad);
    free(terminal->candidate);
    memset(terminal, 0, sizeof(*terminal));
}

enum kl_rc kl_fleet_terminal_record(void *arg, const struct kl_candidate *candidate,
                                    struct kl_err *err)
{
    struct kl_fleet_terminal *terminal = arg;

    if (terminal->candidate && terminal->candidate->version != candidate->version) {
        return kl_err_set(err, KL_ERR_INTERNAL, "TMK version %" PRIu32 " awaits its Done already",
                          terminal->candidate->version);
    }
    if (!terminal->candidate) {
        terminal->candidate = malloc(sizeof(*terminal->candidate));
    }
    if (!terminal->candidate) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for a candidate");
    }
    *terminal->candidate = *candidate;
    return KL_OK;
}

static void drop_candidate(struct kl_fleet_terminal *terminal)
{
    free(terminal->candidate);
    terminal->candidate = NULL;
}

enum kl_rc kl_fleet_terminal_forget(void *arg, uint32_t version, struct kl_err *err)
{
    struct kl_fleet_terminal *terminal = arg;
    enum kl_rc rc = kl_pinpad_destroy(terminal->pad, version, err);

    if (rc && rc != KL_ERR_NOT_FOUND) {
        return rc;
    }
    drop_candidate(terminal);
    return KL_OK;
}

static enum kl_rc destroy_others(struct kl_pinpad *pad, uint32_t version, struct kl_err *err)
{
    struct kl_pinpad_tmk tmks[KL_PINPAD_TMK_MAX];
    size_t count = 0;
    enum kl_rc rc = kl_pinpad_list(pad, tmks, &count, err);

    for (size_t i = 0; !rc && i < count; i++) {
        if (tmks[i].version != version) {
            rc = kl_pinpad_destroy(pad, tmks[i].version, err);
        }
    }
    return rc ? rc : kl_pinpad_prune(pad, 0, err);
}

enum kl_rc kl_fleet_terminal_settle(struct kl_fleet_terminal *terminal, enum kl_verdict verdict,
                                    struct kl_err *err)
{
    const struct kl_candidate *candidate = terminal->candidate;

    if (!candidate) {
        return kl_err_set(err, KL_ERR_INTERNAL, "there is no candidate to settle");
    }
    if (verdict != KL_VERDICT_ACTIVE) {
        return kl_fleet_terminal_forget(terminal, candidate->version, err);
    }
    terminal->active = (struct kl_pinpad_tmk){.version = candidate->version,
                                              .alg = candidate->alg,
                                              .kcv_len = candidate->loaded.kcv_len};
    memcpy(terminal->active.kcv, candidate->loaded.kcv, candidate->loaded.kcv_len);
    terminal->pair = 0;
    drop_candidate(terminal);
    return destroy_others(terminal->pad, terminal->active.version, err);
}

enum kl_rc kl_fleet_terminal_keys(struct kl_fleet_terminal *terminal,
                                  const struct kl_pinpad_pair *pair, struct kl_err *err)
{
    if (pair) {
        terminal->pair = pair->number;
    }
    return kl_pinpad_prune(terminal->pad, terminal->pair, err);
}

void kl_fleet_serial(const char *prefix, uint64_t number, char serial[KL_SERIAL_MAX + 1],
                     char pinpad_serial[KL_SERIAL_MAX + 1])
{
    snprintf(serial, KL_SERIAL_MAX + 1, "%.*s%06" PRIu64, KL_FLEET_PREFIX_MAX, prefix,
             number % 1000000000);
    snprintf(pinpad_serial, KL_SERIAL_MAX + 1, "P%.*s%06" PRIu64, KL_FLEET_PREFIX_MAX, prefix,
             number % 1000000000);
}
