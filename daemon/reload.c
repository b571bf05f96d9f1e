/* SPDX-License-Identifier: BSD-2-Clause */
/* The certificates in force, from one set to the next. */
#include "daemon/reload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "conf/log.h"
#include "proto/clock.h"

#define DAY_S (24 * 60 * 60)

struct kl_reload {
    struct kl_service *service;
    struct kl_trust *next; /* while the workers are rolled to it */
    struct event *begin;   /* never from inside the pool */
    struct event *daily;
    int up;        /* the first worker is ready */
    int queued;    /* a SIGHUP that came meanwhile */
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

enum kl_rc kl_reload_check(struct kl_reload *reload, const struct kl_job_ready *ready,
                           struct kl_err *err)
{
    struct kl_trust *trust = reload->next != NULL ? reload->next : reload->service->trust;

    return kl_reload_bind(trust, reload->service->config, ready, err);
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
        kl_log(KL_LOG_ERROR, "reload-failed", KL_LOG_ERR(err),
               KL_STR("consequence", reload->withdrawn
                                         ? "no new load is served until one succeeds"
                                         : "the certificates in force stay in force"));
    }
    (void)sd_notify(0, "READY=1");
    if (reload->queued) {
        event_active(reload->begin, EV_TIMEOUT, 0);
    }
}

static void on_begin(evutil_socket_t fd, short what, void *arg)
{
    struct kl_reload *reload = arg;
    struct kl_service *service = reload->service;
    struct kl_job_wants wants;
    struct kl_err err = KL_ERR_INIT;

    (void)fd;
    (void)what;
    if (reload->next != NULL) {
        return; /* what is queued follows */
    }
    reload->queued = 0;
    kl_log(KL_LOG_INFO, "reloading", KL_STR("detail", "certificates and CRLs"));
    notify_reloading();
    if (kl_trust_load(service->config, time(NULL), &reload->next, &err) != KL_OK) {
        if (err.rc == KL_ERR_REVOKED) { /* all of them: better none than those */
            kl_trust_withdraw(service->trust);
            reload->withdrawn = 1;
        }
        ended(reload, &err);
        return;
    }
    kl_reload_wants(reload->next, service->trust, &wants);
    kl_pool_roll(service->pool, &wants);
}

void kl_reload_rolled(struct kl_reload *reload, const struct kl_err *err)
{
    struct kl_service *service = reload->service;

    if (err != NULL) {
        kl_trust_free(reload->next);
    } else {
        kl_trust_free(service->trust); /* sessions under way have references of their own */
        service->trust = reload->next;
        reload->withdrawn = 0;
        kl_log(KL_LOG_INFO, "reloaded", KL_NUM("chains", kl_trust_count(service->trust)));
        kl_trust_warn(service->trust, time(NULL));
    }
    reload->next = NULL;
    ended(reload, err);
}

void kl_reload_request(struct kl_reload *reload)
{
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
    free(reload);
}
