/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The metrics by name. Those of the same part of the daemon stand together; each is there from the
 * start, at 0, so that the first increase of a counter is seen.
 */
#include "daemon/monitor/metrics_text.h"

#include <dirent.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "conf/log.h"
#include "daemon/audit/trail.h"
#include "daemon/loader/conn.h"
#include "daemon/monitor/exposition.h"
#include "daemon/monitor/status.h"

#define SECONDS "_duration_seconds"

/* ---- The process ---- */

static double resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long long size, resident = 0;

    if (file != NULL) {
        if (fscanf(file, "%llu %llu", &size, &resident) != 2) {
            resident = 0;
        }
        fclose(file);
    }
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    if (dir == NULL) {
        return 0;
    }
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count - 3.0; /* ".", ".." and this look itself */
}

static double seconds(struct timeval tv)
{
    return (double)tv.tv_sec + (double)tv.tv_usec * 1e-6;
}

static void put_process(FILE *out, const struct kl_metrics *metrics)
{
    struct rusage usage = {0};
    struct rlimit files = {0};
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    getrusage(RUSAGE_SELF, &usage);
    getrlimit(RLIMIT_NOFILE, &files);
    kl_expo_head(out, "keyloader_build_info", "gauge", "The version that runs; always 1.");
    kl_expo_label(out, "keyloader_build_info", "version", KL_VERSION, 1);
    kl_expo_one(out, "keyloader_start_time_seconds", "gauge", "When the daemon started, Unix time.",
                (double)metrics->started);
    kl_expo_one(out, "keyloader_time_seconds", "gauge",
                "The machine's clock, Unix time, when this text was made.",
                (double)now.tv_sec + (double)now.tv_nsec * 1e-9);
    kl_expo_one(out, "keyloader_clock_steps_total", "counter",
                "Times that the machine's clock was set, by two seconds or more.",
                (double)metrics->clock_steps);
    kl_expo_one(out, "keyloader_process_resident_memory_bytes", "gauge",
                "Memory of the network process.", resident_bytes());
    kl_expo_one(out, "keyloader_process_open_fds", "gauge",
                "Open descriptors of the network process.", open_files());
    kl_expo_one(out, "keyloader_process_max_fds", "gauge", "How many it may have.",
                (double)files.rlim_cur);
    kl_expo_one(out, "keyloader_process_cpu_seconds_total", "counter",
                "Processor time of the network process.",
                seconds(usage.ru_utime) + seconds(usage.ru_stime));
    kl_expo_one(out, "keyloader_log_lines_lost_total", "counter",
                "Log lines that the log did not take.", (double)kl_log_lost());
    kl_expo_head(out, "keyloader_reloads_total", "counter",
                 "Reloads of configuration and certificates, by how they ended.");
    kl_expo_label(out, "keyloader_reloads_total", "result", "failed", (double)metrics->reloads[0]);
    kl_expo_label(out, "keyloader_reloads_total", "result", "ok", (double)metrics->reloads[1]);
}

/* ---- Sessions ---- */

static const char *suite_name(unsigned suite)
{
    return suite == 0 ? "none" : kl_suite_name(suite);
}

static void put_loads(FILE *out, const struct kl_metrics *metrics)
{
    static const char name[] = "keyloader_loads_total";
    char labels[64];

    kl_expo_head(out, name, "counter", "Loads, from Hello on, by how they ended and by suite.");
    for (int outcome = 0; outcome < KL_OUTCOMES; outcome++) {
        for (unsigned suite = 0; suite <= KL_SUITE_COUNT; suite++) {
            snprintf(labels, sizeof(labels), "outcome=\"%s\",suite=\"%s\"",
                     kl_outcome_name((enum kl_outcome)outcome), suite_name(suite));
            kl_expo_value(out, name, labels,
                          (double)metrics->sessions[KL_SESSION_LOAD][outcome][suite]);
        }
    }
}

static void put_outcomes(FILE *out, const struct kl_metrics *metrics, enum kl_session_kind kind,
                         const char *name, const char *help)
{
    kl_expo_head(out, name, "counter", help);
    for (int outcome = 0; outcome < KL_OUTCOMES; outcome++) {
        kl_expo_label(out, name, "outcome", kl_outcome_name((enum kl_outcome)outcome),
                      (double)metrics->sessions[kind][outcome][0]);
    }
}

static void put_duration(FILE *out, const char *name, const char *help,
                         const struct kl_histogram *histogram)
{
    kl_expo_head(out, name, "histogram", help);
    kl_expo_histogram(out, name, NULL, histogram, KL_HISTOGRAM_TIME);
}

static void put_states(FILE *out, const struct kl_service *service)
{
    static const char steps[] = "keyloader_step" SECONDS;
    uint64_t counts[KL_METRICS_STATES];
    char labels[48];

    kl_conn_count(service, counts);
    kl_expo_head(out, "keyloader_sessions", "gauge", "Connections of terminals, by state.");
    for (size_t i = 0; kl_conn_state_name(i) != NULL; i++) {
        kl_expo_label(out, "keyloader_sessions", "state", kl_conn_state_name(i), (double)counts[i]);
    }
    kl_expo_one(out, "keyloader_sessions_limit", "gauge", "[limits] connections.",
                (double)service->config->connections);
    kl_expo_head(
        out, steps, "histogram",
        "Time in each state: admitting is Hello to Certificate, hsm the job with its wait, "
        "pending and confirming the store; first, randoms, loaded and keys-sent wait for "
        "the terminal.");
    for (size_t i = 0; kl_conn_state_name(i + 1) != NULL; i++) { /* all but closing */
        snprintf(labels, sizeof(labels), "step=\"%s\"", kl_conn_state_name(i));
        kl_expo_histogram(out, steps, labels, &service->metrics.state_time[i], KL_HISTOGRAM_TIME);
    }
}

static void put_sessions(FILE *out, const struct kl_service *service)
{
    const struct kl_metrics *metrics = &service->metrics;

    put_loads(out, metrics);
    put_outcomes(out, metrics, KL_SESSION_SIGN_IN, "keyloader_sign_ins_total",
                 "Sign-ins, by how they ended.");
    put_outcomes(out, metrics, KL_SESSION_CONFIRM, "keyloader_confirms_total",
                 "Loads of before that came to be confirmed, by how that ended.");
    put_outcomes(out, metrics, KL_SESSION_NONE, "keyloader_empty_sessions_total",
                 "Connections that ended before a valid first message, by how.");
    put_duration(out, "keyloader_load" SECONDS, "Loads that were done, from accept to Done.",
                 &metrics->session_time[KL_SESSION_LOAD]);
    put_duration(out, "keyloader_sign_in" SECONDS, "Sign-ins that were done, from accept to Done.",
                 &metrics->session_time[KL_SESSION_SIGN_IN]);
    put_duration(out, "keyloader_confirm" SECONDS, "Confirms that were done.",
                 &metrics->session_time[KL_SESSION_CONFIRM]);
    put_states(out, service);
}

/* ---- HSMs ---- */

static void put_workers(FILE *out, const struct kl_pool_hsm_report *hsm)
{
    const struct {
        const char *state;
        size_t count;
    } rows[] = {{"idle", hsm->idle},
                {"busy", hsm->busy},
                {"starting", hsm->starting},
                {"leaving", hsm->leaving}};
    char labels[64];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        snprintf(labels, sizeof(labels), "hsm=\"%s\",state=\"%s\"", hsm->name, rows[i].state);
        kl_expo_value(out, "keyloader_hsm_workers", labels, (double)rows[i].count);
    }
}

static void put_hsm_states(FILE *out, const struct kl_pool_report *report)
{
    char labels[64];

    kl_expo_head(out, "keyloader_hsm_state", "gauge", "1 for the state that the HSM is in.");
    for (size_t i = 0; i < report->hsm_count; i++) {
        for (int state = KL_BREAKER_UP; state <= KL_BREAKER_BARRED; state++) {
            snprintf(labels, sizeof(labels), "hsm=\"%s\",state=\"%s\"", report->hsm[i].name,
                     kl_breaker_name((enum kl_breaker_state)state));
            kl_expo_value(out, "keyloader_hsm_state", labels, (int)report->hsm[i].state == state);
        }
    }
    kl_expo_head(out, "keyloader_hsm_workers", "gauge", "Worker processes, by state.");
    for (size_t i = 0; i < report->hsm_count; i++) {
        put_workers(out, &report->hsm[i]);
    }
}

/* The counters of a report, by where they stand in it. */
#define COUNTER(member) offsetof(struct kl_pool_hsm_report, member)
static void put_hsm_counters(FILE *out, const struct kl_pool_report *report)
{
    static const struct {
        const char *name, *help;
        size_t at;
    } counters[] = {
        {"keyloader_hsm_jobs_total", "Jobs answered.", COUNTER(jobs)},
        {"keyloader_hsm_worker_starts_total", "Workers started.", COUNTER(starts)},
        {"keyloader_hsm_worker_start_failures_total", "Workers that did not get as far as ready.",
         COUNTER(start_failures)},
        {"keyloader_hsm_workers_lost_total", "Workers that crashed, hung or had HSM trouble.",
         COUNTER(lost)},
        {"keyloader_hsm_workers_recycled_total", "Workers replaced after their number of jobs.",
         COUNTER(recycled)},
        {"keyloader_hsm_trips_total", "Times that the HSM was left alone since it failed.",
         COUNTER(trips)},
        {"keyloader_hsm_retried_total", "Jobs done again after a lost session.", COUNTER(retried)},
    };

    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        kl_expo_head(out, counters[i].name, "counter", counters[i].help);
        for (size_t hsm = 0; hsm < report->hsm_count; hsm++) {
            uint64_t value;
            memcpy(&value, (const char *)&report->hsm[hsm] + counters[i].at, sizeof(value));
            kl_expo_label(out, counters[i].name, "hsm", report->hsm[hsm].name, (double)value);
        }
    }
}

static void put_hsm_weaknesses(FILE *out, const struct kl_pool_report *report)
{
    char labels[96];

    kl_expo_head(out, "keyloader_hsm_weakness", "gauge",
                 "1 if the module does not enforce this of key policy, and that is accepted.");
    for (size_t i = 0; i < report->hsm_count; i++) {
        for (enum kl_weakness weak = 0; weak < KL_WEAK_COUNT; weak++) {
            snprintf(labels, sizeof(labels), "hsm=\"%s\",weakness=\"%s\"", report->hsm[i].name,
                     kl_weakness_name(weak));
            kl_expo_value(out, "keyloader_hsm_weakness", labels,
                          (report->hsm[i].weak & KL_WEAK_BIT(weak)) != 0);
        }
    }
}

static void put_hsms(FILE *out, const struct kl_service *service)
{
    static const char jobs[] = "keyloader_hsm_job" SECONDS;
    struct kl_pool_report report = {0};
    char labels[64];

    if (service->pool != NULL) {
        kl_pool_report(service->pool, &report);
    }
    put_hsm_states(out, &report);
    put_hsm_counters(out, &report);
    put_hsm_weaknesses(out, &report);
    kl_expo_head(out, jobs, "histogram", "Jobs, from a worker's having it to its answer.");
    for (size_t i = 0; i < report.hsm_count; i++) {
        for (int group = 0; group < KL_JOBS; group++) {
            snprintf(labels, sizeof(labels), "hsm=\"%s\",kind=\"%s\"", report.hsm[i].name,
                     kl_job_group_name((enum kl_job_group)group));
            kl_expo_histogram(out, jobs, labels, &service->metrics.job_time[i][group],
                              KL_HISTOGRAM_TIME);
        }
    }
    kl_expo_one(out, "keyloader_queue_jobs", "gauge", "Jobs that wait for a worker.",
                (double)report.queued);
    kl_expo_one(out, "keyloader_queue_limit", "gauge", "[limits] queue.", (double)report.queue_max);
}

/* ---- What was not served ---- */

static void put_refusals(FILE *out, const struct kl_metrics *metrics)
{
    static const char alarms[] = "keyloader_alarms_total";
    static const char *const kinds[] = {[KL_ALARM_LOAD] = "load", [KL_ALARM_SIGN_IN] = "sign-in"};
    char labels[64];

    kl_expo_head(out, "keyloader_refusals_total", "counter",
                 "Error messages to terminals, by the reason in the log.");
    for (int rc = KL_OK + 1; rc < KL_RC_COUNT; rc++) {
        kl_expo_label(out, "keyloader_refusals_total", "reason", kl_rc_name((enum kl_rc)rc),
                      (double)metrics->refusals[rc]);
    }
    kl_expo_head(out, alarms, "counter",
                 "Alarms, recorded in the audit trail or left out by its budget, by reason.");
    for (int of = KL_ALARM_LOAD; of <= KL_ALARM_SIGN_IN; of++) {
        for (int rc = KL_OK + 1; rc < KL_RC_COUNT; rc++) {
            snprintf(labels, sizeof(labels), "of=\"%s\",reason=\"%s\"", kinds[of],
                     kl_rc_name((enum kl_rc)rc));
            kl_expo_value(out, alarms, labels, (double)metrics->alarms[of][rc]);
        }
    }
    kl_expo_one(out, "keyloader_messages_malformed_total", "counter",
                "Messages of peers that could not be read.", (double)metrics->malformed);
    kl_expo_one(out, "keyloader_connections_accepted_total", "counter", "Connections accepted.",
                (double)metrics->accepted);
    kl_expo_head(out, "keyloader_connections_turned_away_total", "counter",
                 "Connections closed at once, by the limit that they met.");
    for (int why = 0; why < KL_AWAYS; why++) {
        kl_expo_label(out, "keyloader_connections_turned_away_total", "limit",
                      kl_turned_away_name((enum kl_turned_away)why),
                      (double)metrics->turned_away[why]);
    }
}

/* ---- Certificates ---- */

/* The earliest end of each: chains by label, the others by kind; 0 = there is none. */
struct ends {
    size_t count;
    struct {
        char label[KL_KEY_LABEL_MAX + 1];
        time_t until;
    } chain[KL_TRUST_MAX];
    time_t roots, terminal_roots, loader_crls, terminal_crls;
};

static void earlier(time_t *kept, time_t until)
{
    if (*kept == 0 || until < *kept) {
        *kept = until;
    }
}

static void note_end(const struct kl_trust_end *end, void *arg)
{
    struct ends *ends = arg;

    if (end->kind == KL_TRUST_ROOT) {
        earlier(&ends->roots, end->until);
    } else if (end->kind == KL_TRUST_TERMINAL_ROOT) {
        earlier(&ends->terminal_roots, end->until);
    } else if (end->kind == KL_TRUST_CRL) {
        earlier(strcmp(end->name, "loader") == 0 ? &ends->loader_crls : &ends->terminal_crls,
                end->until);
    } else {
        if (ends->count == 0 || strcmp(ends->chain[ends->count - 1].label, end->label) != 0) {
            snprintf(ends->chain[ends->count].label, sizeof(ends->chain[0].label), "%s",
                     end->label);
            ends->chain[ends->count++].until = 0;
        }
        earlier(&ends->chain[ends->count - 1].until, end->until);
    }
}

static void put_end(FILE *out, const char *name, const char *labels, time_t until)
{
    if (until != 0) {
        kl_expo_value(out, name, labels, (double)until);
    }
}

static void put_certificates(FILE *out, const struct kl_trust *trust)
{
    static const char certs[] = "keyloader_certificate_expiry_timestamp_seconds";
    static const char crls[] = "keyloader_crl_expiry_timestamp_seconds";
    struct ends ends = {0};
    char labels[128];

    kl_trust_ends(trust, note_end, &ends);
    kl_expo_head(
        out, certs, "gauge",
        "When a chain ends, by its label, or the first of the roots of a kind; Unix time.");
    for (size_t i = 0; i < ends.count; i++) {
        snprintf(labels, sizeof(labels), "kind=\"work\",label=\"%s\"", ends.chain[i].label);
        put_end(out, certs, labels, ends.chain[i].until);
    }
    put_end(out, certs, "kind=\"root\",label=\"\"", ends.roots);
    put_end(out, certs, "kind=\"terminal-root\",label=\"\"", ends.terminal_roots);
    kl_expo_head(out, crls, "gauge", "When the first CRL of a scope runs out; Unix time.");
    put_end(out, crls, "scope=\"loader\"", ends.loader_crls);
    put_end(out, crls, "scope=\"terminal\"", ends.terminal_crls);
    kl_expo_one(out, "keyloader_work_chains_in_force", "gauge", "Work certificates that serve.",
                (double)kl_trust_in_force(trust, time(NULL)));
}

/* ---- The store ---- */

static void put_store(FILE *out, const struct kl_service *service)
{
    const struct kl_census *census = &service->metrics.census;
    struct kl_store_health health;
    struct kl_store_times times;

    kl_committer_health(service->committer, &health);
    kl_committer_times(service->committer, &times);
    kl_expo_head(out, "keyloader_store_state", "gauge", "1 for the state that the store is in.");
    for (int state = KL_STORE_OK; state <= KL_STORE_FAILING; state++) {
        kl_expo_label(out, "keyloader_store_state", "state",
                      kl_store_state_name((enum kl_store_state)state), (int)health.state == state);
    }
    put_duration(out, "keyloader_store_commit" SECONDS, "Transactions, from begin to durable.",
                 &times.commit);
    put_duration(out, "keyloader_store_unit" SECONDS,
                 "Units of work, from the queue until they are durable.", &times.unit);
    kl_expo_head(out, "keyloader_store_commit_units", "histogram", "Units in one transaction.");
    kl_expo_histogram(out, "keyloader_store_commit_units", NULL, &times.batch, KL_HISTOGRAM_COUNT);
    kl_expo_one(out, "keyloader_store_commits_failed_total", "counter",
                "Transactions that came to nothing.", (double)times.failed);
    kl_expo_one(out, "keyloader_store_waiting_units", "gauge", "Units that wait for the store.",
                (double)times.waiting);
    kl_expo_one(out, "keyloader_store_bytes", "gauge", "Database and write-ahead log.",
                (double)census->store_bytes);
    kl_expo_one(out, "keyloader_store_free_bytes", "gauge",
                "Room on the store's file system for the daemon.", (double)census->free_bytes);
    kl_expo_one(out, "keyloader_store_disk_bytes", "gauge", "The size of that file system.",
                (double)census->disk_bytes);
}

static void put_records(FILE *out, const struct kl_census *census)
{
    const struct kl_store_census *n = &census->rows;

    kl_expo_one(out, "keyloader_census_timestamp_seconds", "gauge",
                "When terminals, TMKs and the store's size were last looked at; Unix time.",
                (double)census->time);
    kl_expo_head(out, "keyloader_terminals", "gauge", "Registered terminals, by state.");
    kl_expo_label(out, "keyloader_terminals", "state", "idle", (double)n->idle);
    kl_expo_label(out, "keyloader_terminals", "state", "armed", (double)n->armed);
    kl_expo_label(out, "keyloader_terminals", "state", "blocked", (double)n->blocked);
    kl_expo_head(out, "keyloader_tmks", "gauge",
                 "TMKs by state; ended: destroyed, expired or revoked.");
    kl_expo_label(out, "keyloader_tmks", "state", "pending", (double)n->pending);
    kl_expo_label(out, "keyloader_tmks", "state", "active", (double)n->active);
    kl_expo_label(out, "keyloader_tmks", "state", "superseded", (double)n->superseded);
    kl_expo_label(out, "keyloader_tmks", "state", "ended", (double)n->ended);
    kl_expo_one(out, "keyloader_tmks_imported", "gauge", "Imported TMKs that wait for their load.",
                (double)n->imported);
    kl_expo_one(out, "keyloader_working_keys", "gauge", "Terminals that have working keys.",
                (double)n->working);
    kl_expo_one(out, "keyloader_requests_pending", "gauge",
                "Operators' requests that wait for a second one.", (double)n->requests);
}

static void put_audit(FILE *out, const struct kl_service *service)
{
    struct kl_trail_report trail = {.is_signed = 1, .syslog_reached = 1};

    kl_expo_one(out, "keyloader_audit_last_record", "gauge",
                "Number of the last record of the audit trail.",
                (double)service->metrics.census.audit_last);
    if (service->trail == NULL) {
        return;
    }
    kl_trail_report(service->trail, &trail);
    kl_expo_one(out, "keyloader_audit_signed_record", "gauge",
                "The last record of the audit trail that a signed checkpoint covers; 0: none.",
                (double)trail.checkpoint);
    kl_expo_one(out, "keyloader_audit_checkpoint_timestamp_seconds", "gauge",
                "When that checkpoint was signed, Unix time; 0: never.",
                (double)trail.checkpoint_at);
    kl_expo_one(out, "keyloader_audit_signing", "gauge",
                "1: the last try to sign a checkpoint succeeded, or there was none yet.",
                trail.is_signed);
    kl_expo_one(out, "keyloader_audit_syslog_reached", "gauge",
                "1: the last try to send records to syslog succeeded, or none is wanted.",
                trail.syslog_reached);
    kl_expo_one(out, "keyloader_audit_forwarded_record", "gauge",
                "The last record that went to syslog; 0 if none is wanted.",
                trail.syslog ? (double)trail.forwarded : 0);
}

/* ---- The whole ---- */

static void put_readiness(FILE *out, const struct kl_service *service)
{
    json_t *readiness = kl_status_ready(service);

    kl_expo_one(out, "keyloader_ready", "gauge", "1: new loads are served; /readyz says why not.",
                json_is_true(json_object_get(readiness, "ready")));
    kl_expo_one(out, "keyloader_draining", "gauge", "1: it is about to end.", service->draining);
    json_decref(readiness);
}

char *kl_metrics_text(const struct kl_service *service, size_t *len)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, len);

    if (out == NULL) {
        return NULL;
    }
    put_readiness(out, service);
    put_process(out, &service->metrics);
    put_sessions(out, service);
    put_hsms(out, service);
    put_refusals(out, &service->metrics);
    put_certificates(out, service->trust);
    put_store(out, service);
    put_records(out, &service->metrics.census);
    put_audit(out, service);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
