/* SPDX-License-Identifier: BSD-2-Clause */
/* The store's rows as JSON. */
#include "daemon/control/admin_json.h"

#include <string.h>

#include "conf/cli.h"
#include "conf/report.h"
#include "daemon/control/admin_request.h"

/* ---- Terminals ---- */

static const char *terminal_state(const struct kl_terminal *t, int64_t now)
{
    if (t->blocked) {
        return "blocked";
    }
    return t->armed_until >= now && t->attempts_left > 0 ? "armed" : "registered";
}

static json_t *device_key_json(const struct kl_terminal *t)
{
    char text[2 * KL_HASH_LEN + 1];

    kl_hex_format(t->device_key, KL_HASH_LEN, text);
    return t->has_device_key ? json_string(text) : json_null();
}

json_t *kl_admin_terminal_json(const struct kl_terminal *t, int64_t now)
{
    const char *state = terminal_state(t, now);
    int armed = strcmp(state, "armed") == 0;

    return json_pack("{s:s, s:s, s:s, s:s?, s:o, s:i, s:o, s:b, s:o}", "serial", t->serial, "state",
                     state, "algorithm", kl_alg_info(t->alg)->name, "pinpad",
                     t->pinpad_serial[0] ? t->pinpad_serial : NULL, "armed_until",
                     kl_report_time(armed ? t->armed_until : 0), "attempts_left",
                     armed ? (int)t->attempts_left : 0, "created", kl_report_time(t->created),
                     "accept_imported", t->accept_imported, "device_key", device_key_json(t));
}

/* ---- Keys ---- */

json_t *kl_admin_tmk_json(const struct kl_tmk *tmk, int with_serial)
{
    char kcv[KL_KCV_TEXT];

    kl_kcv_format(tmk->kcv, tmk->kcv_len, kcv);
    return json_pack("{s:s*, s:i, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "serial",
                     with_serial ? tmk->serial : NULL, "version", (int)tmk->version, "state",
                     kl_tmk_state_name(tmk->state), "algorithm", kl_alg_info(tmk->alg)->name, "kcv",
                     kcv, "origin", tmk->imported ? "imported" : "generated", "created",
                     kl_report_time(tmk->created), "expires",
                     kl_report_time(tmk->state == KL_TMK_PENDING ? tmk->expires : 0), "activated",
                     kl_report_time(tmk->activated), "superseded", kl_report_time(tmk->superseded));
}

json_t *kl_admin_import_json(const struct kl_import *import, int with_serial)
{
    char kcv[KL_KCV_TEXT];

    kl_kcv_format(import->key.kcv, import->key.kcv_len, kcv);
    return json_pack("{s:s*, s:s, s:s, s:o, s:s}", "serial", with_serial ? import->serial : NULL,
                     "algorithm", kl_alg_info(import->key.alg)->name, "kcv", kcv, "created",
                     kl_report_time(import->created), "origin", import->origin);
}

json_t *kl_admin_working_json(const struct kl_working *working)
{
    char pik[KL_KCV_TEXT], mak[KL_KCV_TEXT];

    kl_kcv_format(working->pik.kcv, working->pik.kcv_len, pik);
    kl_kcv_format(working->mak.kcv, working->mak.kcv_len, mak);
    return json_pack("{s:i, s:s, s:s, s:o}", "tmk_version", (int)working->tmk_version, "pik_kcv",
                     pik, "mak_kcv", mak, "created", kl_report_time(working->created));
}

/* ---- Records and requests ---- */

json_t *kl_admin_audit_json(const struct kl_audit *record)
{
    return json_pack("{s:I, s:o, s:s, s:s, s:s, s:s}", "id", (json_int_t)record->id, "time",
                     kl_report_time(record->time), "actor", record->actor, "event", record->event,
                     "serial", record->serial, "detail", record->detail);
}

json_t *kl_admin_request_json(const struct kl_request *r, int64_t now)
{
    return json_pack("{s:I, s:s, s:s, s:s, s:o, s:o, s:s?, s:o, s:s, s:s}", "id", (json_int_t)r->id,
                     "state", kl_admin_request_state(r, now), "kind", r->kind, "requester",
                     r->requester, "created", kl_report_time(r->created), "expires",
                     kl_report_time(r->expires), "approver", r->approver[0] ? r->approver : NULL,
                     "decided", kl_report_time(r->decided), "params", r->params, "outcome",
                     r->outcome);
}
