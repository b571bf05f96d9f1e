/* SPDX-License-Identifier: BSD-2-Clause */
/* Accepted weaknesses into the audit trail: see hsm_trail.h. */
#include "daemon/audit/hsm_trail.h"

#include <stdlib.h>
#include <time.h>

#include "conf/log.h"
#include "daemon/store/committer.h"

struct record {
    struct kl_unit unit;
    struct kl_hsm_trail *trail; /* not for the store thread */
    size_t index;
    const char *hsm; /* static */
    unsigned weak;
};

static enum kl_rc run(struct kl_unit *unit, struct kl_store *store, struct kl_err *err)
{
    const struct record *record = (struct record *)unit;
    char detail[KL_AUDIT_DETAIL_MAX + 1], names[KL_WEAK_NAMES_MAX];

    kl_weakness_names(record->weak, names);
    kl_log_format(detail, sizeof(detail),
                  (const struct kl_log_field[]){KL_STR("hsm", record->hsm),
                                                KL_STR("weaknesses", names)},
                  2);
    return kl_store_audit(store, (int64_t)time(NULL), "hsm-weakness-accepted", "", detail, err);
}

static void done(struct kl_unit *unit)
{
    struct record *record = (struct record *)unit;

    record->trail->queued[record->index] = 0;
    if (unit->rc == KL_OK) {
        record->trail->recorded[record->index] = record->weak;
    } else {
        kl_log(KL_LOG_ERROR, "audit-failed", KL_LOG_ERR(&unit->err));
    }
    free(record);
}

void kl_hsm_trail_look(struct kl_hsm_trail *trail, const struct kl_service *service)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_pool_report report;

    kl_pool_report(service->pool, &report);
    for (size_t i = 0; i < report.hsm_count; i++) {
        struct record *record;

        if (trail->queued[i] || report.hsm[i].weak == trail->recorded[i] ||
            !(record = calloc(1, sizeof(*record)))) {
            continue;
        }
        *record = (struct record){.unit = {.run = run, .done = done},
                                  .trail = trail,
                                  .index = i,
                                  .hsm = report.hsm[i].name,
                                  .weak = report.hsm[i].weak};
        if (kl_committer_submit(service->committer, &record->unit, &err) == KL_OK) {
            trail->queued[i] = 1;
        } else {
            free(record);
        }
    }
}
