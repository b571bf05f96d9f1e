/* SPDX-License-Identifier: BSD-2-Clause */
/* terminal-sim pinpad show: what the PIN pad holds, and what it should hold. */
#include <jansson.h>

#include "conf/options.h"
#include "conf/report.h"
#include "proto/cert.h"
#include "terminal-sim/cmd/cmd.h"
#include "terminal-sim/terminal.h"

static json_t *describe(const struct kl_terminal_tmk *entry)
{
    const struct kl_pinpad_tmk *tmk = &entry->tmk;
    char kcv[KL_KCV_TEXT];

    kl_kcv_format(tmk->kcv, tmk->kcv_len, kcv);
    return json_pack("{s:s, s:I, s:s, s:s}", "state", kl_terminal_state_name(entry->state),
                     "version", (json_int_t)tmk->version, "algorithm", kl_alg_info(tmk->alg)->name,
                     "kcv", kcv);
}

/* The working keys on record as in use; null if there are none. */
static json_t *describe_keys(const struct kl_terminal_home *terminal, int held)
{
    const struct kl_pinpad_pair *keys = kl_terminal_keys(terminal);
    const char *state = kl_terminal_keys_in_doubt(terminal) ? "in-doubt" : "active";
    char pik[KL_KCV_TEXT], mak[KL_KCV_TEXT];

    if (keys->number == 0) {
        return json_null();
    }
    kl_kcv_format(keys->pik_kcv, keys->kcv_len, pik);
    kl_kcv_format(keys->mak_kcv, keys->kcv_len, mak);
    return json_pack("{s:s, s:I, s:s, s:s, s:s}", "state", held ? state : "missing", "tmk-version",
                     (json_int_t)keys->tmk_version, "algorithm", kl_alg_info(keys->alg)->name,
                     "pik-kcv", pik, "mak-kcv", mak);
}

/* The device key, and whether it has a certificate; null if there is none. */
static enum kl_rc describe_device(const struct kl_terminal_home *terminal, struct kl_pinpad *pad,
                                  json_t **out, struct kl_err *err)
{
    char fingerprint[KL_FINGERPRINT_TEXT], name[KL_KEY_NAME_TEXT];
    struct kl_bytes chain[KL_CHAIN_MAX];
    EVP_PKEY *key = NULL;
    enum kl_key_type type;
    unsigned bits;
    enum kl_rc rc = kl_pinpad_device_public(pad, &key, err);

    if (rc == KL_ERR_NOT_FOUND) {
        *out = json_null();
        return KL_OK;
    }
    if (!rc) {
        rc = kl_pubkey_type(key, &type, &bits, err);
    }
    if (!rc) {
        rc = kl_pubkey_fingerprint(key, fingerprint, err);
    }
    EVP_PKEY_free(key);
    if (rc) {
        return rc;
    }
    kl_key_name(type, bits, name);
    *out = json_pack("{s:s, s:s, s:b}", "key", name, "fingerprint", fingerprint, "certificate",
                     kl_terminal_chain(terminal, chain) > 0);
    return KL_OK;
}

enum kl_rc kl_terminal_cmd_pinpad(int argc, char **argv, int *status, struct kl_err *err)
{
    struct kl_terminal_home *terminal = NULL;
    struct kl_pinpad *pad = NULL;
    struct kl_terminal_tmk tmks[KL_TERMINAL_TMK_MAX];
    const char *dir = NULL;
    json_t *list, *device = NULL;
    int json = 0, keys_held = 0;
    const struct kl_option options[] = {{"--dir", 1, .text = &dir}, {"--json", .flag = &json}, {0}};
    size_t i, count = 0;
    enum kl_rc rc = kl_options_parse(argc, argv, options, "show", err);

    (void)status;
    if (!rc) {
        rc = kl_cmd_open(dir, 0, &terminal, &pad, err);
    }
    if (!rc) {
        rc = kl_terminal_list(terminal, pad, tmks, &count, err);
    }
    if (!rc && kl_terminal_keys(terminal)->number) {
        rc = kl_pinpad_has_pair(pad, kl_terminal_keys(terminal), &keys_held, err);
    }
    if (!rc) {
        rc = describe_device(terminal, pad, &device, err);
    }
    if (!rc) {
        list = json_array();
        for (i = 0; i < count; i++) {
            json_array_append_new(list, describe(&tmks[i]));
        }
        if (json_array_size(list) != count) { /* an append that found no memory */
            json_decref(list);
            list = NULL;
        }
        uint32_t abandoned = kl_terminal_abandoned(terminal);

        rc = kl_report_print(json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:b, s:o}", "terminal",
                                       kl_terminal_serial(terminal), "pinpad",
                                       kl_terminal_pinpad_serial(terminal), "kind",
                                       kl_pinpad_kind(pad), "abandoned",
                                       abandoned ? json_integer(abandoned) : json_null(), "tmks",
                                       list, "working-keys", describe_keys(terminal, keys_held),
                                       "keys-in-doubt", kl_terminal_keys_in_doubt(terminal),
                                       "device-key", device),
                             json, err);
    }
    kl_pinpad_free(pad);
    kl_terminal_free(terminal);
    return rc;
}
