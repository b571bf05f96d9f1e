/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checkpoints and syslog. Every second a unit looks at the store and takes some records along; its
 * report comes after the commit of all that it has seen, so nothing goes out that is not durable.
 * The loop sends the records, has the last one signed if it is time and if it continues what the
 * looks before have seen, and the next look writes down how far syslog has them.
 */
#include "daemon/audit/trail.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "conf/cli.h"
#include "conf/log.h"
#include "conf/syslog.h"
#include "daemon/audit/audit_check.h"
#include "daemon/audit/audit_follow.h"

#define BATCH 64        /* records that one look takes along */
#define FOLLOWED 20000  /* records that one look follows the chain by */
#define RETRY_KEY_S 10  /* between tries without an audit key */
#define RETRY_S 2       /* and after other failures */
#define LINE_BYTES 1600 /* a record as a line; only its detail can be cut */

struct look {
    struct kl_unit unit;
    struct kl_trail *trail; /* not for the store thread */
    uint64_t sent;          /* what syslog has: written down */
    int with_records, begun;
    struct kl_audit_place place; /* if begun; moved on */
    /* What was seen: */
    struct kl_err broken; /* why nothing may be signed; KL_OK */
    uint8_t store_id[KL_STORE_ID_LEN];
    uint64_t last;
    struct kl_checkpoint checkpoint; /* id 0: none */
    uint64_t forwarded;
    size_t count;
    struct kl_audit records[BATCH];
};

struct save {
    struct kl_unit unit;
    struct kl_trail *trail;
    struct kl_checkpoint checkpoint;
};

struct kl_trail {
    struct kl_service *service;
    struct event *tick;
    struct kl_syslog *syslog;
    int stopped, looking, signing; /* signing: until the checkpoint is stored */
    uint64_t sent;                 /* to syslog; the store's cursor follows */
    int begun;                     /* 1: the trail has been seen up to place */
    struct kl_audit_place place;
    int64_t next_try;                    /* to sign, after a failure */
    struct kl_checkpoint pending;        /* what a worker is signing */
    int syslog_told;                     /* its absence has been logged */
    enum kl_rc look_failed, sign_failed; /* as logged */
    struct kl_trail_report report;
    void (*done)(void *arg); /* of kl_trail_finish */
    void *done_arg;
    int64_t finish_by;
};

/* ---- Looking ---- */

static enum kl_rc take_record(const struct kl_audit *record, void *arg, struct kl_err *err)
{
    struct look *look = arg;

    if (look->count == BATCH) {
        return kl_err_set(err, KL_ERR_BUSY, "enough for one look");
    }
    look->records[look->count++] = *record;
    return KL_OK;
}

static enum kl_rc take_damaged(const char *table, uint64_t id, void *arg, struct kl_err *err)
{
    struct kl_audit record = {.id = id, .event = "(damaged)"};

    return strcmp(table, "audit") == 0 ? take_record(&record, arg, err) : KL_OK;
}

static enum kl_rc take_records(struct look *look, struct kl_store *store, struct kl_err *err)
{
    const struct kl_audit_walk walk = {.record = take_record, .damaged = take_damaged, .arg = look};
    enum kl_rc rc = kl_store_audit_walk(store, look->forwarded, &walk, err);

    return rc == KL_ERR_BUSY && look->count == BATCH ? KL_OK : rc;
}

/* The last checkpoint, if there is one. One that cannot be read ends signing, and nothing else. */
static enum kl_rc see_checkpoint(struct look *look, struct kl_store *store, struct kl_err *err)
{
    struct kl_err seen = KL_ERR_INIT;
    enum kl_rc rc = kl_store_checkpoint_last(store, 0, &look->checkpoint, &seen);

    if (rc == KL_ERR_STORE) {
        (void)kl_err_set(&look->broken, KL_ERR_VERIFY,
                         "the last checkpoint of the audit trail is damaged (%.150s): run"
                         " keyloaderctl audit verify",
                         seen.text);
        return KL_OK;
    }
    if (rc == KL_OK || rc == KL_ERR_NOT_FOUND) {
        return KL_OK;
    }
    *err = seen;
    return rc;
}

/* A trail that has been tampered with is still sent on, but not signed. */
static enum kl_rc follow(struct look *look, struct kl_store *store,
                         const struct kl_audit_state *state, struct kl_err *err)
{
    struct kl_err seen = KL_ERR_INIT;
    enum kl_rc rc;

    if (!look->begun) {
        kl_audit_follow_begin(state, &look->checkpoint, &look->place);
    }
    rc = kl_audit_follow(store, state, &look->place, FOLLOWED, &seen);
    if (rc == KL_OK && look->checkpoint.id > look->place.id) {
        /* Only we sign, and never beyond what we have seen. */
        rc = kl_err_set(&seen, KL_ERR_VERIFY,
                        "checkpoint %" PRIu64 " of the audit trail is not ours: run keyloaderctl"
                        " audit verify",
                        look->checkpoint.id);
    }
    *(rc == KL_ERR_VERIFY ? &look->broken : err) = seen;
    return rc == KL_ERR_VERIFY ? KL_OK : rc;
}

static enum kl_rc look_run(struct kl_unit *unit, struct kl_store *store, struct kl_err *err)
{
    struct look *look = (struct look *)unit;
    char id[KL_META_MAX + 1];
    uint8_t hash[KL_HASH_LEN];
    struct kl_audit_state state;
    enum kl_rc rc = KL_OK;

    if (look->sent > 0) {
        rc = kl_store_audit_forwarded(store, look->sent, err);
    }
    if (rc != KL_OK || (rc = kl_store_meta_get(store, KL_META_STORE_ID, id, err)) != KL_OK ||
        (rc = kl_store_audit_head(store, &look->last, hash, err)) != KL_OK ||
        (rc = kl_store_audit_state(store, &state, err)) != KL_OK ||
        (rc = see_checkpoint(look, store, err)) != KL_OK ||
        (look->broken.rc == KL_OK && (rc = follow(look, store, &state, err)) != KL_OK)) {
        return rc;
    }
    if (!kl_hex_parse(id, look->store_id, sizeof(look->store_id))) {
        return kl_err_set(err, KL_ERR_STORE, "the store's id is none");
    }
    look->forwarded = state.forwarded > state.archived_to ? state.forwarded : state.archived_to;
    return look->with_records ? take_records(look, store, err) : KL_OK;
}

/* ---- Syslog ---- */

static void line_of(const struct kl_audit *record, char line[LINE_BYTES])
{
    char hash[2 * KL_HASH_LEN + 1], when[KL_TIME_TEXT];

    kl_hex_format(record->hash, KL_HASH_LEN, hash);
    kl_time_format(record->time, when);
    const struct kl_log_field fields[] = {
        KL_STR("audit", record->event),
        KL_NUM("id", record->id),
        KL_STR("hash", hash),
        KL_STR("time", when),
        KL_STR("actor", record->actor),
        KL_STR("serial", record->serial),
        KL_STR("detail", record->detail),
    };
    (void)kl_log_format(line, LINE_BYTES, fields, sizeof(fields) / sizeof(fields[0]));
}

static enum kl_rc open_syslog(struct kl_trail *trail, struct kl_err *err)
{
    return trail->syslog != NULL
               ? KL_OK
               : kl_syslog_new(trail->service->config->syslog_socket, "keyloaderd",
                               LOG_AUTHPRIV | LOG_NOTICE, &trail->syslog, err);
}

/* 1 if there may be more to send at once. */
static int forward(struct kl_trail *trail, const struct look *look)
{
    char line[LINE_BYTES];
    struct kl_err err = KL_ERR_INIT;
    enum kl_rc rc = open_syslog(trail, &err);
    size_t i = 0;

    for (; i < look->count && rc == KL_OK; i++) {
        line_of(&look->records[i], line);
        rc = kl_syslog_send(trail->syslog, line, &err);
        if (rc == KL_OK) {
            trail->sent = look->records[i].id;
        }
    }
    trail->report.syslog_reached = rc == KL_OK || rc == KL_ERR_BUSY;
    if (!trail->report.syslog_reached && !trail->syslog_told) {
        kl_log(KL_LOG_WARN, "audit-syslog-unreachable", KL_LOG_ERR(&err));
    }
    trail->syslog_told = !trail->report.syslog_reached;
    return rc == KL_OK && look->count == BATCH;
}

/* ---- Checkpoints ---- */

static void sign_failed(struct kl_trail *trail, const struct kl_err *err)
{
    trail->signing = 0;
    trail->next_try = (int64_t)time(NULL) + (err->rc == KL_ERR_KEY ? RETRY_KEY_S : RETRY_S);
    if (trail->sign_failed != err->rc) {
        kl_log(err->rc == KL_ERR_VERIFY ? KL_LOG_ERROR : KL_LOG_WARN, "audit-unsigned",
               KL_LOG_ERR(err));
    }
    trail->sign_failed = err->rc;
    trail->report.is_signed = 0;
    snprintf(trail->report.why, sizeof(trail->report.why), "%s", err->text);
}

static void look_now(struct kl_trail *trail)
{
    if (!trail->stopped) {
        event_active(trail->tick, EV_TIMEOUT, 0);
    }
}

static enum kl_rc save_run(struct kl_unit *unit, struct kl_store *store, struct kl_err *err)
{
    const struct save *save = (struct save *)unit;

    return kl_store_checkpoint_add(store, &save->checkpoint, err);
}

static void save_done(struct kl_unit *unit)
{
    struct save *save = (struct save *)unit;
    struct kl_trail *trail = save->trail;

    if (unit->rc != KL_OK && unit->rc != KL_ERR_EXISTS) {
        sign_failed(trail, &unit->err);
    } else {
        trail->signing = 0;
        trail->next_try = 0;
        trail->report.is_signed = 1;
        trail->report.why[0] = '\0';
        trail->report.checkpoint = save->checkpoint.id;
        trail->report.checkpoint_at = save->checkpoint.time;
        if (trail->sign_failed != KL_OK) {
            kl_log(KL_LOG_INFO, "audit-signed", KL_NUM("record", save->checkpoint.id));
        }
        trail->sign_failed = KL_OK;
    }
    free(save);
    if (trail->done != NULL) {
        look_now(trail);
    }
}

static void on_signed(const struct kl_job_result *result, void *arg)
{
    struct kl_trail *trail = arg;
    const struct kl_job_signature *signature = &result->out.signature;
    struct kl_err err = result->err;
    struct save *save = NULL;

    if (err.rc == KL_OK && trail->service->committer == NULL) {
        (void)kl_err_set(&err, KL_ERR_UNAVAILABLE, "the store is not ours any more");
    } else if (err.rc == KL_OK && (save = calloc(1, sizeof(*save))) == NULL) {
        (void)kl_err_set(&err, KL_ERR_MEMORY, "checkpoint");
    }
    if (err.rc == KL_OK) {
        save->unit.run = save_run;
        save->unit.done = save_done;
        save->trail = trail;
        save->checkpoint = trail->pending;
        memcpy(save->checkpoint.key, signature->key, KL_HASH_LEN);
        memcpy(save->checkpoint.signature, signature->bytes, signature->len);
        save->checkpoint.signature_len = signature->len;
        if (kl_committer_submit(trail->service->committer, &save->unit, &err) == KL_OK) {
            return;
        }
    }
    free(save);
    sign_failed(trail, &err);
    if (trail->done != NULL) {
        look_now(trail);
    }
}

static int is_due(const struct kl_trail *trail, const struct look *look, int64_t now)
{
    const struct kl_config *config = trail->service->config;
    int64_t age = now - look->checkpoint.time;

    if (trail->signing || trail->service->pool == NULL || look->broken.rc != KL_OK ||
        look->place.id <= look->checkpoint.id) {
        return 0;
    }
    if (trail->done != NULL) { /* one more try, the last */
        return trail->sign_failed == KL_OK && look->place.id == look->last;
    }
    /* A clock that was set back makes one too many, not one too few. */
    return now >= trail->next_try &&
           (look->checkpoint.id == 0 || age < 0 || age >= (int64_t)config->checkpoint_interval ||
            look->place.id - look->checkpoint.id >= config->checkpoint_every);
}

static void sign(struct kl_trail *trail, const struct look *look, int64_t now)
{
    struct kl_job *job = calloc(1, sizeof(*job));
    struct kl_ticket *ticket;
    struct kl_err err = KL_ERR_INIT;

    if (job == NULL) {
        return; /* next time */
    }
    trail->pending = (struct kl_checkpoint){.id = look->place.id, .time = now};
    memcpy(trail->pending.hash, look->place.hash, KL_HASH_LEN);
    job->kind = KL_JOB_CHECKPOINT;
    job->u.checkpoint.record = look->place.id;
    job->u.checkpoint.time = now;
    memcpy(job->u.checkpoint.store_id, look->store_id, KL_STORE_ID_LEN);
    memcpy(job->u.checkpoint.hash, look->place.hash, KL_HASH_LEN);
    trail->signing = 1;
    if (kl_pool_submit(trail->service->pool, job, on_signed, trail, &ticket, &err) != KL_OK) {
        sign_failed(trail, &err);
    }
    free(job);
}

/* ---- Once a second ---- */

/* The end waits for the last checkpoint, and for syslog's cursor. */
static void finish_if_done(struct kl_trail *trail, const struct look *look, int more, int64_t now)
{
    void (*done)(void *) = trail->done;
    int complete = look != NULL && !trail->signing && !more &&
                   (look->last <= trail->report.checkpoint || trail->sign_failed != KL_OK) &&
                   (trail->sent <= look->forwarded || trail->syslog_told);

    if (done == NULL) {
        return;
    }
    if (complete || now >= trail->finish_by) {
        trail->done = NULL;
        done(trail->done_arg);
    } else if (look != NULL && !trail->signing) {
        look_now(trail); /* a store that could not be looked at gets its second */
    }
}

static void look_done(struct kl_unit *unit)
{
    struct look *look = (struct look *)unit;
    struct kl_trail *trail = look->trail;
    int64_t now = (int64_t)time(NULL);
    int more = 0, seen = unit->rc == KL_OK;

    trail->looking = 0;
    if (!seen && trail->look_failed != unit->rc) {
        kl_log(KL_LOG_WARN, "audit-trail-unseen", KL_LOG_ERR(&unit->err));
    }
    trail->look_failed = unit->rc;
    if (seen) {
        trail->report.last = look->last;
        trail->report.checkpoint = look->checkpoint.id;
        trail->report.checkpoint_at = look->checkpoint.time;
        trail->report.forwarded = look->forwarded;
        trail->begun = look->begun || look->broken.rc == KL_OK;
        trail->place = look->place;
        if (look->broken.rc != KL_OK && !trail->signing) {
            sign_failed(trail, &look->broken);
        }
    }
    if (!trail->stopped && seen) {
        more = look->count > 0 && forward(trail, look);
        if (is_due(trail, look, now)) {
            sign(trail, look, now);
        }
        if (more) {
            look_now(trail);
        }
    }
    if (!trail->stopped) {
        finish_if_done(trail, seen ? look : NULL, more, now);
    }
    free(look);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct kl_trail *trail = arg;
    struct kl_err err = KL_ERR_INIT;
    struct look *look;

    (void)fd;
    (void)what;
    if (trail->looking || trail->stopped || trail->service->committer == NULL ||
        (look = calloc(1, sizeof(*look))) == NULL) {
        return; /* next time */
    }
    trail->report.syslog = trail->service->config->audit_syslog != 0;
    look->unit.run = look_run;
    look->unit.done = look_done;
    look->trail = trail;
    look->begun = trail->begun;
    look->place = trail->place;
    look->sent = trail->sent > trail->report.forwarded ? trail->sent : 0;
    look->with_records = trail->report.syslog;
    if (kl_committer_submit(trail->service->committer, &look->unit, &err) != KL_OK) {
        free(look);
        return;
    }
    trail->looking = 1;
}

/* ---- The whole ---- */

enum kl_rc kl_trail_new(struct kl_service *service, struct kl_trail **out, struct kl_err *err)
{
    struct kl_trail *trail = calloc(1, sizeof(*trail));
    const struct timeval second = {.tv_sec = 1};

    if (trail == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "audit trail");
    }
    trail->service = service;
    trail->report.is_signed = 1;
    trail->report.syslog_reached = 1;
    trail->tick = event_new(service->base, -1, EV_PERSIST, on_tick, trail);
    if (trail->tick == NULL || event_add(trail->tick, &second) != 0) {
        kl_trail_free(trail);
        return kl_err_set(err, KL_ERR_MEMORY, "audit trail");
    }
    *out = trail;
    return KL_OK;
}

void kl_trail_stop(struct kl_trail *trail)
{
    if (trail != NULL) {
        trail->stopped = 1;
    }
}

void kl_trail_free(struct kl_trail *trail)
{
    if (trail == NULL) {
        return;
    }
    if (trail->tick != NULL) {
        event_free(trail->tick);
    }
    kl_syslog_free(trail->syslog);
    free(trail);
}

void kl_trail_finish(struct kl_trail *trail, void (*done)(void *arg), void *arg)
{
    trail->done = done;
    trail->done_arg = arg;
    trail->finish_by = (int64_t)time(NULL) + KL_TRAIL_FINISH_S;
    trail->sign_failed = KL_OK;
    if (trail->service->committer == NULL) {
        trail->done = NULL;
        done(arg);
        return;
    }
    look_now(trail);
}

void kl_trail_report(const struct kl_trail *trail, struct kl_trail_report *out)
{
    *out = trail->report;
}
