/* SPDX-License-Identifier: BSD-2-Clause */
/* How the daemon is: gathered from its parts, as one JSON object. */
#include "daemon/monitor/status.h"

#include <time.h>
#include <unistd.h>

#include "conf/log.h"
#include "conf/report.h"
#include "daemon/audit/trail.h"
#include "daemon/loader/conn.h"
#include "proto/clock.h"

static json_int_t number(uint64_t value)
{
    return (json_int_t)value;
}

/* ---- What it serves ---- */

static json_t *sessions(const struct kl_service *service)
{
    uint64_t counts[KL_METRICS_STATES], open = 0;
    json_t *states = json_object(), *out;

    kl_conn_count(service, counts);
    for (size_t i = 0; kl_conn_state_name(i) != NULL; i++) {
        json_object_set_new(states, kl_conn_state_name(i), json_integer(number(counts[i])));
        open += counts[i];
    }
    out = json_pack("{s:I, s:I, s:o, s:I}", "open", number(open), "limit",
                    number(service->config->connections), "states", states, "accepted",
                    number(service->metrics.accepted));
    return out;
}

/* How many there were of that kind, and how long those took that are done. */
static json_t *outcomes(const struct kl_metrics *metrics, enum kl_session_kind kind)
{
    const struct kl_histogram *time = &metrics->session_time[kind];
    json_t *out = json_object();

    for (int outcome = 0; outcome < KL_OUTCOMES; outcome++) {
        uint64_t sum = 0;
        for (int suite = 0; suite <= KL_SUITE_COUNT; suite++) {
            sum += metrics->sessions[kind][outcome][suite];
        }
        json_object_set_new(out, kl_outcome_name(outcome), json_integer(number(sum)));
    }
    json_object_set_new(out, "p50_ms",
                        json_real(kl_histogram_quantile(time, KL_HISTOGRAM_TIME, 0.5) / 1000));
    json_object_set_new(out, "p99_ms",
                        json_real(kl_histogram_quantile(time, KL_HISTOGRAM_TIME, 0.99) / 1000));
    return out;
}

static json_t *refusals(const struct kl_metrics *metrics)
{
    json_t *out = json_array();
    const struct kl_refusal *refusal;

    for (size_t i = 0; (refusal = kl_metrics_refusal(metrics, i)) != NULL; i++) {
        json_array_append_new(out,
                              json_pack("{s:o, s:s, s:s, s:s, s:s}", "time",
                                        kl_report_time(refusal->time), "reason",
                                        kl_rc_name(refusal->rc), "text", kl_rc_text(refusal->rc),
                                        "serial", refusal->serial, "address", refusal->address));
    }
    return out;
}

/* ---- What it needs ---- */

static const char *const trust_kinds[] = {
    [KL_TRUST_WORK] = "work",
    [KL_TRUST_ROOT] = "root",
    [KL_TRUST_TERMINAL_ROOT] = "terminal-root",
    [KL_TRUST_CRL] = "crl",
};

static void add_end(const struct kl_trust_end *end, void *arg)
{
    json_array_append_new(arg,
                          json_pack("{s:s, s:s, s:s, s:o, s:I}", "kind", trust_kinds[end->kind],
                                    "label", end->label, "name", end->name, "until",
                                    kl_report_time((int64_t)end->until), "seconds_left",
                                    (json_int_t)end->until - (json_int_t)time(NULL)));
}

static json_t *certificates(const struct kl_trust *trust)
{
    json_t *out = json_array();

    kl_trust_ends(trust, add_end, out);
    return out;
}

/* Of all kinds of jobs. */
static struct kl_histogram all_jobs(const struct kl_histogram times[KL_JOBS])
{
    struct kl_histogram all = {0};

    for (int group = 0; group < KL_JOBS; group++) {
        all.count += times[group].count;
        all.sum += times[group].sum;
        for (size_t i = 0; i <= KL_HISTOGRAM_BOUNDS; i++) {
            all.bucket[i] += times[group].bucket[i];
        }
    }
    return all;
}

static json_t *hsm(const struct kl_pool_hsm_report *report,
                   const struct kl_histogram times[KL_JOBS])
{
    const struct kl_histogram jobs = all_jobs(times);
    char weak[KL_WEAK_NAMES_MAX];

    kl_weakness_names(report->weak, weak);
    return json_pack("{s:s, s:s, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f,"
                     " s:s, s:o}",
                     "name", report->name, "state", kl_breaker_name(report->state), "since",
                     kl_report_time(report->since), "accepted", weak, "workers",
                     number(report->workers), "idle", number(report->idle), "busy",
                     number(report->busy), "starting", number(report->starting), "jobs",
                     number(report->jobs), "start_failures", number(report->start_failures), "lost",
                     number(report->lost), "recycled", number(report->recycled), "trips",
                     number(report->trips), "job_p50_ms",
                     kl_histogram_quantile(&jobs, KL_HISTOGRAM_TIME, 0.5) / 1000, "job_p99_ms",
                     kl_histogram_quantile(&jobs, KL_HISTOGRAM_TIME, 0.99) / 1000, "trouble",
                     report->last.text, "trouble_at", kl_report_time(report->last_at));
}

/* There is no pool before the store is open. */
static void look_at_pool(const struct kl_service *service, struct kl_pool_report *report)
{
    memset(report, 0, sizeof(*report));
    if (service->pool != NULL) {
        kl_pool_report(service->pool, report);
    }
}

json_t *kl_status_hsms(const struct kl_service *service)
{
    struct kl_pool_report report;
    json_t *hsms = json_array();

    look_at_pool(service, &report);
    for (size_t i = 0; i < report.hsm_count; i++) {
        json_array_append_new(hsms, hsm(&report.hsm[i], service->metrics.job_time[i]));
    }
    return hsms;
}

static void add_pool(const struct kl_service *service, json_t *out)
{
    struct kl_pool_report report;

    look_at_pool(service, &report);
    json_object_set_new(out, "queue",
                        json_pack("{s:I, s:I}", "waiting", number(report.queued), "limit",
                                  number(report.queue_max)));
    json_object_set_new(out, "hsms", kl_status_hsms(service));
}

static json_t *store(const struct kl_service *service)
{
    const struct kl_census *census = &service->metrics.census;
    struct kl_store_health health;
    struct kl_store_times times;

    kl_committer_health(service->committer, &health);
    kl_committer_times(service->committer, &times);
    return json_pack("{s:s, s:o, s:s, s:I, s:I, s:I, s:I, s:f, s:f}", "state",
                     kl_store_state_name(health.state), "since", kl_report_time(health.since),
                     "trouble", health.last.text, "waiting", number(times.waiting), "bytes",
                     number(census->store_bytes), "free_bytes", number(census->free_bytes),
                     "disk_bytes", number(census->disk_bytes), "commit_p50_ms",
                     kl_histogram_quantile(&times.commit, KL_HISTOGRAM_TIME, 0.5) / 1000,
                     "commit_p99_ms",
                     kl_histogram_quantile(&times.commit, KL_HISTOGRAM_TIME, 0.99) / 1000);
}

static json_t *rows(const struct kl_census *census)
{
    const struct kl_store_census *n = &census->rows;

    return json_pack("{s:o, s:{s:I, s:I, s:I}, s:{s:I, s:I, s:I, s:I}, s:I, s:I, s:I}", "counted",
                     kl_report_time(census->time), "terminals", "idle", number(n->idle), "armed",
                     number(n->armed), "blocked", number(n->blocked), "tmks", "pending",
                     number(n->pending), "active", number(n->active), "superseded",
                     number(n->superseded), "ended", number(n->ended), "imported",
                     number(n->imported), "working_keys", number(n->working), "requests",
                     number(n->requests));
}

static json_t *audit(const struct kl_service *service)
{
    struct kl_trail_report trail = {.is_signed = 1, .syslog_reached = 1};

    if (service->trail != NULL) {
        kl_trail_report(service->trail, &trail);
    }
    return json_pack("{s:I, s:I, s:o, s:b, s:s, s:o, s:b}", "last",
                     number(service->metrics.census.audit_last), "checkpoint",
                     number(trail.checkpoint), "checkpoint_at", kl_report_time(trail.checkpoint_at),
                     "signed", trail.is_signed, "trouble", trail.why, "forwarded",
                     trail.syslog ? json_integer(number(trail.forwarded)) : json_null(),
                     "syslog_reached", trail.syslog_reached);
}

/* ---- Ready? ---- */

static void unless(int fine, json_t *reasons, const char *reason)
{
    if (!fine) {
        json_array_append_new(reasons, json_string(reason));
    }
}

json_t *kl_status_ready(const struct kl_service *service)
{
    json_t *reasons = json_array();
    struct kl_store_health health;
    struct kl_pool_report pool;

    kl_committer_health(service->committer, &health);
    look_at_pool(service, &pool);
    unless(!service->draining, reasons, "draining");
    unless(service->draining || service->accepting, reasons, "not accepting terminals yet");
    unless(pool.serving, reasons, "no HSM serves, or its queue is full");
    unless(health.state == KL_STORE_OK, reasons, "the store takes nothing");
    unless(kl_trust_in_force(service->trust, time(NULL)) > 0, reasons,
           "no work certificate is in force");
    return json_pack("{s:b, s:o}", "ready", json_array_size(reasons) == 0, "reasons", reasons);
}

/* ---- The whole ---- */

json_t *kl_status_json(const struct kl_service *service)
{
    const struct kl_metrics *metrics = &service->metrics;
    int64_t up = (kl_clock_us() - metrics->started_us) / 1000000;

    json_t *out = json_pack(
        "{s:s, s:i, s:o, s:o, s:I, s:b, s:o,"
        " s:o, s:o, s:o, s:o,"
        " s:o, s:o, s:o, s:o, s:I, s:I, s:o}",
        "version", KL_VERSION, "pid", (int)getpid(), "time", kl_report_time((int64_t)time(NULL)),
        "started", kl_report_time(metrics->started), "uptime_seconds", (json_int_t)up, "draining",
        service->draining, "readiness", kl_status_ready(service), "sessions", sessions(service),
        "loads", outcomes(metrics, KL_SESSION_LOAD), "sign_ins",
        outcomes(metrics, KL_SESSION_SIGN_IN), "confirms", outcomes(metrics, KL_SESSION_CONFIRM),
        "certificates", certificates(service->trust), "store", store(service), "records",
        rows(&metrics->census), "audit", audit(service), "log_lines_lost", number(kl_log_lost()),
        "malformed", number(metrics->malformed), "refusals", refusals(metrics));

    if (out != NULL) {
        add_pool(service, out);
    }
    return out;
}
