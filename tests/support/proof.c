/* SPDX-License-Identifier: BSD-2-Clause */
/* The books of a crash test: see proof.h. */
#include "tests/support/proof.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/relay.h"

void proof_begin(struct proof *proof, const char *serial)
{
    memset(proof, 0, sizeof *proof);
    snprintf(proof->serial, sizeof proof->serial, "%s", serial);
}

static void add_sent(struct proof *proof, const struct kl_tbs *tbs)
{
    struct proof_key key = {.version = tbs->version, .ctmk_len = tbs->ctmk_len};

    ck_assert_str_eq(tbs->serial, proof->serial);
    kl_kcv_format(tbs->kcv, tbs->kcv_len, key.kcv);
    memcpy(key.ctmk, tbs->ctmk, tbs->ctmk_len);
    for (size_t i = 0; i < proof->count; i++) {
        const struct proof_key *old = &proof->keys[i];
        ck_assert_msg(old->version != key.version && strcmp(old->kcv, key.kcv) != 0 &&
                          (old->ctmk_len != key.ctmk_len ||
                           memcmp(old->ctmk, key.ctmk, key.ctmk_len) != 0),
                      "%s: version %u (KCV %s) was sent before, as version %u (KCV %s)",
                      proof->serial, key.version, key.kcv, old->version, old->kcv);
    }
    ck_assert_uint_lt(proof->count, PROOF_KEYS);
    proof->keys[proof->count++] = key;
}

static void take_sent(struct proof *proof, const char *record)
{
    size_t size, at = 0, len;
    const uint8_t *der;
    uint8_t *data = (uint8_t *)file_read(record, &size);

    while (relay_next_frame(data, size, &at, &der, &len)) {
        struct kl_msg msg;
        struct kl_err err = KL_ERR_INIT;
        ck_assert_msg(kl_msg_decode(der, len, &msg, &err) == KL_OK, "%s: %s", record, err.text);
        if (msg.type == KL_MSG_MASTER_KEY) {
            add_sent(proof, &msg.u.master_key.tbs);
        }
    }
    free(data);
}

static void take_done(struct proof *proof, uint32_t version)
{
    for (size_t i = 0; i < proof->count; i++) {
        if (proof->keys[i].version == version) {
            proof->keys[i].done = 1;
            return;
        }
    }
    ck_abort_msg("%s: version %u is done, and was never on the wire", proof->serial, version);
}

/* The version that terminal-sim load --json says it has now. */
static uint32_t loaded_version(const struct proc *terminal)
{
    char *report = file_read(terminal->out, NULL);
    const char *at = strstr(report, "\"version\":");
    uint32_t version = at != NULL ? (uint32_t)strtoul(at + 10, NULL, 10) : 0;

    ck_assert_msg(version != 0, "no version in: %s", report);
    free(report);
    return version;
}

void proof_load_start(const struct proof *proof, struct lab *lab, const struct relay_plan *plan,
                      struct proof_load *load)
{
    struct relay_plan recorded = plan != NULL ? *plan : (struct relay_plan){.act = RELAY_PASS};
    char name[KL_SERIAL_MAX + 16];

    snprintf(name, sizeof name, "wire-%s.rec", proof->serial);
    recorded.record = file_path(load->record, lab->run, name);
    load->relay = relay_start(0, lab->port, &recorded);
    ck_assert_ptr_nonnull(load->relay);
    lab_load_start(lab, proof->serial, relay_port(load->relay),
                   (const char *const[]){"--json", NULL}, &load->terminal);
}

void proof_load_end(struct proof *proof, struct proof_load *load, int status)
{
    relay_stop(load->relay);
    take_sent(proof, load->record);
    if (status == 0) {
        take_done(proof, loaded_version(&load->terminal));
    }
}

/* ---- The audit ---- */

static const struct lab_tmk *find(const struct lab_tmk *list, size_t count, unsigned version,
                                  const char *kcv)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i].version == version && strcmp(list[i].kcv, kcv) == 0) {
            return &list[i];
        }
    }
    return NULL;
}

static int check_pad(const struct lab_tmk *pad, size_t held, const struct lab_tmk *store,
                     size_t stored, char why[PROOF_TEXT])
{
    for (size_t i = 0; i < held; i++) {
        if (strcmp(pad[i].state, "missing") == 0 || strcmp(pad[i].state, "lost") == 0) {
            snprintf(why, PROOF_TEXT, "the PIN pad's version %u is %s", pad[i].version,
                     pad[i].state);
            return 0;
        }
        if (find(store, stored, pad[i].version, pad[i].kcv) == NULL) {
            snprintf(why, PROOF_TEXT, "the PIN pad's version %u (%s, KCV %s) is not in the store",
                     pad[i].version, pad[i].state, pad[i].kcv);
            return 0;
        }
    }
    return 1;
}

static int check_key(const struct proof_key *key, const struct lab_tmk *store, size_t stored,
                     const struct lab_tmk *held, char why[PROOF_TEXT])
{
    const struct lab_tmk *row = find(store, stored, key->version, key->kcv);

    if (row == NULL) {
        snprintf(why, PROOF_TEXT, "version %u (KCV %s) was sent and is not in the store",
                 key->version, key->kcv);
    } else if (key->done && strcmp(row->state, "active") != 0 &&
               strcmp(row->state, "superseded") != 0) {
        snprintf(why, PROOF_TEXT, "version %u is done, and the store has it as %s", key->version,
                 row->state);
    } else if (key->done && (held == NULL || held->version < key->version)) {
        snprintf(why, PROOF_TEXT, "version %u is done, and the PIN pad's active one is %u",
                 key->version, held != NULL ? held->version : 0);
    } else {
        return 1;
    }
    return 0;
}

int proof_holds(const struct proof *proof, struct lab *lab, int settled, char why[PROOF_TEXT])
{
    static struct lab_tmk store[LAB_TMK_MAX], pad[LAB_TMK_MAX];
    size_t stored = lab_store(lab, proof->serial, store);
    size_t held = lab_pinpad(lab, proof->serial, pad);
    const struct lab_tmk *ours = lab_active(store, stored), *theirs = lab_active(pad, held);

    if (!check_pad(pad, held, store, stored, why)) {
        return 0;
    }
    for (size_t i = 0; i < proof->count; i++) {
        if (!check_key(&proof->keys[i], store, stored, theirs, why)) {
            return 0;
        }
    }
    if (settled && (ours != NULL ? ours->version : 0) != (theirs != NULL ? theirs->version : 0)) {
        snprintf(why, PROOF_TEXT, "active in the store: version %u, in the PIN pad: %u",
                 ours != NULL ? ours->version : 0, theirs != NULL ? theirs->version : 0);
        return 0;
    }
    return 1;
}

void proof_check(const struct proof *proof, struct lab *lab, int settled)
{
    char why[PROOF_TEXT];

    if (!proof_holds(proof, lab, settled, why)) {
        ck_abort_msg("%s: %s (%s)", proof->serial, why, lab->run);
    }
}

void proof_store(struct lab *lab)
{
    free(lab_ctl(lab, "audit", "verify", NULL));
    free(lab_ctl(lab, "report", "unique", NULL));
    free(lab_ctl(lab, "store", "verify", NULL));
}
