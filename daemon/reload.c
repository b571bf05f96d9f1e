/* SPDX-License-Identifier: BSD-2-Clause */
/* Configuration and certificates in force, from one set to the next. */
#include "daemon/reload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "conf/log.h"
#include "daemon/loader/listener.h"
#include "proto/clock.h"

#define DAY_S (24 * 60 * 60)

struct waiters {
    size_t count;
    struct {
        kl_reload_done_fn done;
        void *arg;
    } at[KL_RELOAD_WAIT_MAX];
};

struct kl_reload {
    struct kl_service *service;
    const struct kl_config *next_config; /* both while the workers are rolled */
    struct kl_trust *next;
    struct kl_config_kept kept;
    struct kl_job_ready known; /* the keys that every worker has */
    int known_some;            /* 0 until the first worker has said */
    struct waiters present, following;
    struct event *begin; /* never from inside the pool */
    struct event *daily;
    int up;        /* the first worker is ready */
    int queued;    /* a request that came meanwhile */
    int withdrawn; /* what was in force has been revoked */
};

/* ---- Keys ---- */

static int is_wanted(const struct kl_job_wants *wants, const char *label)
{
    for (uint32_t i = 0; i < wants->count; i++) {
        if (strcmp(wants->want[i].label, label) == 0) {
            return 1;
        }
    }
    return 0;
}

static void want_chains(struct kl_job_wants *wants, const struct kl_trust *trust, int optional)
{
    for (size_t i = 0; i < kl_trust_count(trust) && wants->count < KL_LOADER_KEYS_MAX; i++) {
        const char *label = kl_trust_at(trust, i)->label;
        if (!is_wanted(wants, label)) {
            struct kl_job_want *want = &wants->want[wants->count++];
            snprintf(want->label, sizeof(want->label), "%s", label);
            want->optional = (uint32_t)optional;
        }
    }
}

void kl_reload_wants(const struct kl_trust *next, const struct kl_trust *old,
                     struct kl_job_wants *out)
{
    memset(out, 0, sizeof(*out));
    want_chains(out, next, 0);
    if (old != NULL) {
        want_chains(out, old, 1);
    }
}

enum kl_rc kl_reload_bind(struct kl_trust *trust, const struct kl_config *config,
                          const struct kl_job_ready *ready, struct kl_err *err)
{
    struct kl_loader_key keys[KL_LOADER_KEYS_MAX] = {{0}};
    size_t count = 0;
    enum kl_rc rc = KL_OK;

    for (; count < ready->count && rc == KL_OK; count++) {
        const struct kl_job_key *key = &ready->key[count];
        const unsigned char *der = key->spki;

        keys[count].label = key->label;
        keys[count].suite = (enum kl_suite)key->suite;
        keys[count].oaep_hash = (enum kl_oaep_hash)key->oaep_hash;
        keys[count].public_key = d2i_PUBKEY(NULL, &der, (long)key->spki_len);
        if (keys[count].public_key == NULL) {
            rc = kl_err_openssl(err, KL_ERR_KEY, "d2i_PUBKEY", "public half of \"%s\"", key->label);
        }
    }
    if (rc == KL_OK) {
        rc = kl_trust_bind(trust, config, keys, count, err);
    }
    for (size_t i = 0; i < count; i++) {
        EVP_PKEY_free(keys[i].public_key);
    }
    return rc;
}

static int has_key(const struct kl_job_ready *ready, const struct kl_job_key *key)
{
    for (uint32_t i = 0; i < ready->count; i++) {
        const struct kl_job_key *other = &ready->key[i];
        if (strcmp(other->label, key->label) == 0) {
            return other->suite == key->suite && other->oaep_hash == key->oaep_hash &&
                   other->spki_len == key->spki_len &&
                   memcmp(other->spki, key->spki, key->spki_len) == 0;
        }
    }
    return 0;
}

static void remember(struct kl_reload *reload, const struct kl_job_ready *ready)
{
    struct kl_job_ready *known = &reload->known;
    uint32_t count = 0;

    if (!reload->known_some) {
        *known = *ready;
        reload->known_some = 1;
        return;
    }
    for (uint32_t i = 0; i < known->count; i++) {
        if (has_key(ready, &known->key[i])) {
            known->key[count++] = known->key[i];
        }
    }
    known->count = count;
}

enum kl_rc kl_reload_check(struct kl_reload *reload, const struct kl_job_ready *ready,
                           struct kl_err *err)
{
    const struct kl_service *service = reload->service;
    int rolling = reload->next != NULL;
    enum kl_rc rc = kl_reload_bind(rolling ? reload->next : service->trust,
                                   rolling ? reload->next_config : service->config, ready, err);

    if (rc == KL_OK) {
        remember(reload, ready);
    }
    return rc;
}

/* ---- Who waits ---- */

static void tell(struct waiters *waiters, const struct kl_err *err,
                 const struct kl_config_kept *kept)
{
    struct waiters now = *waiters;

    waiters->count = 0;
    for (size_t i = 0; i < now.count; i++) {
        now.at[i].done(err, kept, now.at[i].arg);
    }
}

static void forget(struct waiters *waiters, const void *arg)
{
    size_t count = 0;

    for (size_t i = 0; i < waiters->count; i++) {
        if (waiters->at[i].arg != arg) {
            waiters->at[count++] = waiters->at[i];
        }
    }
    waiters->count = count;
}

void kl_reload_forget(struct kl_reload *reload, const void *arg)
{
    forget(&reload->present, arg);
    forget(&reload->following, arg);
}

void kl_reload_kept_text(const struct kl_config_kept *kept, char *out, size_t capacity)
{
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < kept->count && used < capacity; i++) {
        used += (size_t)snprintf(out + used, capacity - used, "%s[%s] %s", i > 0 ? ", " : "",
                                 kept->keys[i]->section, kept->keys[i]->key);
    }
}

/* ---- A reload ---- */

static void notify_reloading(void)
{
    char text[64];

    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRId64, kl_clock_ms() * 1000);
    (void)sd_notify(0, text);
}

static void ended(struct kl_reload *reload, const struct kl_err *err)
{
    if (err != NULL) {
        reload->service->metrics.reloads[0]++;
        kl_log(KL_LOG_ERROR, "reload-failed", KL_LOG_ERR(err),
               KL_STR("consequence", reload->withdrawn
                                         ? "no new load is served until one succeeds"
                                         : "configuration and certificates stay as they were"));
        kl_trust_free(reload->next);
        kl_config_unref(reload->next_config);
    }
    reload->next = NULL;
    reload->next_config = NULL;
    (void)sd_notify(0, "READY=1");
    if (reload->queued) {
        event_active(reload->begin, EV_TIMEOUT, 0);
    }
    tell(&reload->present, err, &reload->kept);
}

static void warn_of_policy(const struct kl_config *config)
{
    if (!config->strength_enforce) {
        kl_log(KL_LOG_WARN, "strength-not-enforced",
               KL_STR("detail", "TMKs may travel under weaker keys; this is for test labs"));
    }
    if (config->host_fallback) {
        kl_log(KL_LOG_WARN, "host-fallback",
               KL_STR("detail", "where the token cannot wrap under a TDES TMK, working keys pass "
                                "through a worker's memory"));
    }
}

/* Sessions under way have references of their own to both. */
static void put_in_force(struct kl_reload *reload)
{
    struct kl_service *service = reload->service;
    const struct kl_config *config = reload->next_config;
    char kept[400];

    kl_trust_free(service->trust);
    service->trust = reload->next;
    kl_config_unref(service->config);
    service->config = config;
    reload->withdrawn = 0;
    if (service->listener != NULL) {
        kl_listener_configure(service->listener);
    }
    kl_log_setup("keyloaderd", (enum kl_log_level)config->log_level,
                 (enum kl_log_target)config->log_target);
    service->metrics.reloads[1]++;
    kl_log(KL_LOG_INFO, "reloaded", KL_NUM("chains", kl_trust_count(service->trust)));
    if (reload->kept.count > 0) {
        kl_reload_kept_text(&reload->kept, kept, sizeof(kept));
        kl_log(KL_LOG_WARN, "restart-needed", KL_STR("keys", kept),
               KL_STR("detail", "what the configuration says of these has no effect before"));
    }
    warn_of_policy(config);
    kl_trust_warn(service->trust, time(NULL));
    ended(reload, NULL);
}

/* Have the workers what it takes? If not, and rolling them may help, *roll is 1. */
static enum kl_rc judge_workers(struct kl_reload *reload, int *roll, struct kl_err *err)
{
    const struct kl_config *now = reload->service->config, *next = reload->next_config;
    struct kl_err why = KL_ERR_INIT;
    enum kl_rc rc = kl_reload_bind(reload->next, next, &reload->known, &why);

    if (rc != KL_OK && rc != KL_ERR_KEY && rc != KL_ERR_CERT) {
        *err = why;
        return rc;
    }
    *roll = rc != KL_OK || now->strength_enforce != next->strength_enforce ||
            now->host_fallback != next->host_fallback;
    return KL_OK;
}

static enum kl_rc prepare(struct kl_reload *reload, int *roll, struct kl_err *err)
{
    struct kl_service *service = reload->service;
    enum kl_rc rc = kl_config_again(service->config_path, service->config, &reload->next_config,
                                    &reload->kept, err);

    if (rc == KL_OK) {
        rc = kl_config_servable(reload->next_config, err);
    }
    if (rc == KL_OK) {
        rc = kl_trust_load(reload->next_config, time(NULL), &reload->next, err);
        if (rc == KL_ERR_REVOKED) { /* all of them: better none than those */
            kl_trust_withdraw(service->trust);
            reload->withdrawn = 1;
        }
    }
    return rc == KL_OK ? judge_workers(reload, roll, err) : rc;
}

static void on_begin(evutil_socket_t fd, short what, void *arg)
{
    struct kl_reload *reload = arg;
    struct kl_service *service = reload->service;
    struct kl_job_wants wants;
    struct kl_err err = KL_ERR_INIT;
    int roll = 0;

    (void)fd;
    (void)what;
    if (reload->next != NULL) {
        return; /* what is queued follows */
    }
    reload->queued = 0;
    reload->present = reload->following;
    reload->following.count = 0;
    kl_log(KL_LOG_INFO, "reloading", KL_STR("detail", "configuration, certificates and CRLs"));
    notify_reloading();
    if (prepare(reload, &roll, &err) != KL_OK) {
        ended(reload, &err);
        return;
    }
    kl_reload_wants(reload->next, service->trust, &wants);
    if (roll) {
        reload->known_some = 0;
        kl_pool_roll(service->pool, reload->next_config, &wants);
    } else {
        kl_pool_update(service->pool, reload->next_config, &wants);
        put_in_force(reload);
    }
}

void kl_reload_rolled(struct kl_reload *reload, const struct kl_err *err)
{
    if (err == NULL) {
        put_in_force(reload);
        return;
    }
    reload->known.count = 0; /* some have the one, some the other: the next reload rolls */
    reload->known_some = 1;
    ended(reload, err);
}

void kl_reload_request(struct kl_reload *reload, kl_reload_done_fn done, void *arg)
{
    static const struct kl_config_kept none;
    struct waiters *waiters = &reload->following;
    struct kl_err err = KL_ERR_INIT;

    if (reload->service->draining) {
        (void)kl_err_set(&err, KL_ERR_UNAVAILABLE, "keyloaderd is draining");
    } else if (done != NULL && waiters->count == KL_RELOAD_WAIT_MAX) {
        (void)kl_err_set(&err, KL_ERR_BUSY, "%d wait for a reload already", KL_RELOAD_WAIT_MAX);
    }
    if (err.rc != KL_OK) {
        if (done != NULL) {
            done(&err, &none, arg);
        }
        return;
    }
    if (done != NULL) {
        waiters->at[waiters->count].done = done;
        waiters->at[waiters->count++].arg = arg;
    }
    reload->queued = 1;
    if (reload->up && reload->next == NULL) {
        event_active(reload->begin, EV_TIMEOUT, 0);
    }
}

void kl_reload_up(struct kl_reload *reload)
{
    reload->up = 1;
    if (reload->queued) {
        event_active(reload->begin, EV_TIMEOUT, 0);
    }
}

/* ---- The whole ---- */

static void on_daily(evutil_socket_t fd, short what, void *arg)
{
    const struct kl_reload *reload = arg;

    (void)fd;
    (void)what;
    kl_trust_warn(reload->service->trust, time(NULL));
}

enum kl_rc kl_reload_new(struct kl_service *service, struct kl_reload **out, struct kl_err *err)
{
    struct kl_reload *reload = calloc(1, sizeof(*reload));
    const struct timeval day = {.tv_sec = DAY_S};

    if (reload == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "certificates");
    }
    reload->service = service;
    reload->begin = evtimer_new(service->base, on_begin, reload);
    reload->daily = event_new(service->base, -1, EV_PERSIST, on_daily, reload);
    if (reload->begin == NULL || reload->daily == NULL || event_add(reload->daily, &day) != 0) {
        kl_reload_free(reload);
        return kl_err_set(err, KL_ERR_MEMORY, "certificates");
    }
    warn_of_policy(service->config);
    kl_trust_warn(service->trust, time(NULL));
    *out = reload;
    return KL_OK;
}

void kl_reload_free(struct kl_reload *reload)
{
    if (reload == NULL) {
        return;
    }
    if (reload->begin != NULL) {
        event_free(reload->begin);
    }
    if (reload->daily != NULL) {
        event_free(reload->daily);
    }
    kl_trust_free(reload->next);
    kl_config_unref(reload->next_config);
    free(reload);
}
