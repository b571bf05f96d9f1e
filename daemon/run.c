/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The network process: puts certificates, store thread, worker pool and listener together, in
 * that order, and takes them apart in reverse. Terminals are accepted only once the first HSM
 * worker has passed its self-test and holds the key of the installed certificate.
 */
#include "daemon/run.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "conf/certfile.h"
#include "conf/log.h"
#include "daemon/committer.h"
#include "daemon/listener.h"
#include "daemon/service.h"
#include "daemon/worker.h"
#include "proto/cert.h"

#define EXPIRE_PERIOD_S 30
#define EXPIRY_WARN_DAYS 30
#define SIGNALS 3

struct daemon {
    struct kl_service service;
    X509 *work; /* AcquireWCRT */
    struct kl_listener *listener;
    struct event *signals[SIGNALS]; /* SIGTERM, SIGINT, SIGHUP */
    struct event *expire;
    struct event *drain_timer;
    int draining;
    struct kl_err err; /* why the loop ended, KL_OK for a drain */
};

/* ---- Certificates ---- */

static enum kl_rc load_chain(const struct kl_config *config, STACK_OF(X509) * *out,
                             struct kl_err *err)
{
    X509 *root = NULL;
    STACK_OF(X509) *chain = NULL;
    enum kl_rc rc = kl_cert_load_one(config->root, &root, err);

    if (rc == KL_OK) {
        rc = kl_cert_load_pem(config->work, &chain, err);
        if (rc == KL_ERR_NO_FILE) {
            (void)kl_err_context(err, "no work certificate yet (`keyloaderctl cert install`)");
        }
    }
    if (rc == KL_OK) {
        rc = kl_cert_verify_loader(chain, root, time(NULL), err);
        if (rc != KL_OK) {
            (void)kl_err_context(err, "%s", config->work);
        }
    }
    X509_free(root);
    if (rc != KL_OK) {
        sk_X509_pop_free(chain, X509_free);
        return rc;
    }
    *out = chain;
    return KL_OK;
}

static void warn_of_expiry(const X509 *cert)
{
    int days = 0, seconds = 0;
    char subject[KL_NAME_MAX];

    kl_cert_subject(cert, subject);
    if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert)) == 1 &&
        days < EXPIRY_WARN_DAYS) {
        kl_log(KL_LOG_WARN, "certificate-expires", KL_STR("subject", subject),
               KL_NUM("days", days));
    }
}

/* Takes chain. */
static enum kl_rc use_chain(struct daemon *daemon, STACK_OF(X509) * chain, struct kl_err *err)
{
    struct kl_service *service = &daemon->service;
    enum kl_rc rc = KL_OK;

    warn_of_expiry(sk_X509_value(chain, 0));
    for (int i = 0; i < sk_X509_num(chain) && rc == KL_OK; i++) {
        uint8_t *der = NULL;
        int len = i2d_X509(sk_X509_value(chain, i), &der);
        if (len <= 0) {
            rc = kl_err_openssl(err, KL_ERR_CERT, "i2d_X509", "work certificate");
        } else {
            service->chain[i] = (struct kl_bytes){der, (size_t)len};
            service->chain_count = (size_t)i + 1;
        }
    }
    daemon->work = sk_X509_shift(chain);
    if (rc == KL_OK) {
        rc = kl_cert_key_type(daemon->work, &service->key_type, &service->key_bits, err);
    }
    sk_X509_pop_free(chain, X509_free);
    return rc;
}

/* ---- Start and stop ---- */

static void stop(struct daemon *daemon, const struct kl_err *err)
{
    if (err != NULL) {
        daemon->err = *err;
    }
    event_base_loopbreak(daemon->service.base);
}

static enum kl_rc check_work_key(const struct kl_config *config, const X509 *work,
                                 const EVP_PKEY *key, struct kl_err *err)
{
    if (key == NULL || EVP_PKEY_eq(key, X509_get0_pubkey(work)) != 1) {
        return kl_err_set(err, KL_ERR_CERT,
                          "%s is not the certificate of the HSM's work key \"%s\": make a request "
                          "with `keyloaderctl key csr`, have it signed, `keyloaderctl cert "
                          "install` it",
                          config->work, config->work_key);
    }
    return KL_OK;
}

static enum kl_rc check_ready(const struct daemon *daemon, const struct kl_job_ready *ready,
                              struct kl_err *err)
{
    const unsigned char *der = ready->spki;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &der, (long)ready->spki_len);
    enum kl_rc rc = check_work_key(daemon->service.config, daemon->work, key, err);

    EVP_PKEY_free(key);
    return rc;
}

static void on_pool_start(const struct kl_job_ready *ready, const struct kl_err *pool_err,
                          void *arg)
{
    struct daemon *daemon = arg;
    struct kl_err err = KL_ERR_INIT;

    if (pool_err != NULL) {
        stop(daemon, pool_err);
        return;
    }
    if (check_ready(daemon, ready, &err) != KL_OK) {
        stop(daemon, &err);
        return;
    }
    daemon->service.oaep_hash = (enum kl_oaep_hash)ready->oaep_hash;
    if (!daemon->draining && kl_listener_new(&daemon->service, &daemon->listener, &err) != KL_OK) {
        stop(daemon, &err);
        return;
    }
    (void)sd_notify(0, "READY=1");
}

static void on_drained(void *arg)
{
    stop(arg, NULL);
}

static void on_drain_timeout(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    kl_log(KL_LOG_WARN, "drain-timeout", KL_STR("detail", "loads under way are cut off"));
    stop(arg, NULL);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct daemon *daemon = arg;
    const struct timeval limit = {.tv_sec = (time_t)daemon->service.config->drain_timeout};

    (void)what;
    if (daemon->draining) {
        stop(daemon, NULL); /* asked twice: now */
        return;
    }
    kl_log(KL_LOG_INFO, "draining", KL_NUM("signal", fd));
    (void)sd_notify(0, "STOPPING=1");
    daemon->draining = 1;
    if (daemon->listener == NULL) {
        stop(daemon, NULL);
        return;
    }
    evtimer_add(daemon->drain_timer, &limit);
    kl_listener_drain(daemon->listener, on_drained, daemon);
}

/* Whoever sends this expects new certificates or settings to be read: say that they are not. */
static void on_hangup(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    kl_log(KL_LOG_WARN, "hangup-ignored",
           KL_STR("detail", "restart keyloaderd to read configuration, keys or certificates"));
}

/* ---- Candidates that nobody confirmed ---- */

struct expire_unit {
    struct kl_unit unit;
    size_t count;
};

static enum kl_rc expire_run(struct kl_unit *unit, struct kl_store *store, struct kl_err *err)
{
    return kl_life_expire(store, (int64_t)time(NULL), &((struct expire_unit *)unit)->count, err);
}

static void expire_done(struct kl_unit *unit)
{
    struct expire_unit *expire = (struct expire_unit *)unit;

    if (unit->rc != KL_OK) {
        kl_log(KL_LOG_ERROR, "expire-failed", KL_LOG_ERR(&unit->err));
    } else if (expire->count > 0) {
        kl_log(KL_LOG_INFO, "tmk-expired", KL_NUM("count", expire->count));
    }
    free(expire);
}

static void on_expire(evutil_socket_t fd, short what, void *arg)
{
    struct daemon *daemon = arg;
    struct expire_unit *expire = calloc(1, sizeof(*expire));
    struct kl_err err = KL_ERR_INIT;

    (void)fd;
    (void)what;
    if (expire == NULL) {
        return; /* next time */
    }
    expire->unit.run = expire_run;
    expire->unit.done = expire_done;
    if (kl_committer_submit(daemon->service.committer, &expire->unit, &err) != KL_OK) {
        free(expire);
    }
}

/* ---- The whole ---- */

static enum kl_rc make_events(struct daemon *daemon, struct kl_err *err)
{
    struct event_base *base = event_base_new();
    const struct timeval period = {.tv_sec = EXPIRE_PERIOD_S};

    daemon->service.base = base;
    if (base == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "event loop");
    }
    daemon->signals[0] = evsignal_new(base, SIGTERM, on_signal, daemon);
    daemon->signals[1] = evsignal_new(base, SIGINT, on_signal, daemon);
    daemon->signals[2] = evsignal_new(base, SIGHUP, on_hangup, daemon);
    daemon->drain_timer = evtimer_new(base, on_drain_timeout, daemon);
    daemon->expire = event_new(base, -1, EV_PERSIST, on_expire, daemon);
    for (size_t i = 0; i < SIGNALS; i++) {
        if (daemon->signals[i] == NULL || evsignal_add(daemon->signals[i], NULL) != 0) {
            return kl_err_set(err, KL_ERR_MEMORY, "event loop");
        }
    }
    if (daemon->drain_timer == NULL || daemon->expire == NULL ||
        event_add(daemon->expire, &period) != 0) {
        return kl_err_set(err, KL_ERR_MEMORY, "event loop");
    }
    return KL_OK;
}

static enum kl_rc start_store(struct daemon *daemon, struct kl_err *err)
{
    struct kl_service *service = &daemon->service;
    struct kl_store *store = NULL;
    enum kl_rc rc = kl_store_open(service->config->store, KL_STORE_CREATE, &store, err);

    if (rc == KL_OK) {
        rc = kl_store_claim(store, err);
    }
    if (rc == KL_OK) {
        rc = kl_committer_new(service->base, store, &service->committer, err);
    }
    if (rc != KL_OK) {
        kl_store_free(store);
    }
    return rc;
}

static void event_release(struct event *event)
{
    if (event != NULL) {
        event_free(event);
    }
}

static void daemon_wipe(struct daemon *daemon)
{
    struct kl_service *service = &daemon->service;

    kl_listener_free(daemon->listener);
    kl_pool_free(service->pool);
    kl_committer_free(service->committer);
    for (size_t i = 0; i < SIGNALS; i++) {
        event_release(daemon->signals[i]);
    }
    event_release(daemon->expire);
    event_release(daemon->drain_timer);
    if (service->base != NULL) {
        event_base_free(service->base);
    }
    for (size_t i = 0; i < service->chain_count; i++) {
        OPENSSL_free((void *)(uintptr_t)service->chain[i].data);
    }
    X509_free(daemon->work);
}

enum kl_rc kl_run_check(const struct kl_config *config, struct kl_err *err)
{
    STACK_OF(X509) *chain = NULL;
    struct kl_store *store = NULL;
    EVP_PKEY *key = NULL;
    enum kl_rc rc = load_chain(config, &chain, err);

    if (rc == KL_OK) {
        rc = kl_store_open(config->store, KL_STORE_READ, &store, err);
    }
    if (rc == KL_OK) {
        rc = kl_worker_check(config, &key, err);
    }
    if (rc == KL_OK) {
        rc = check_work_key(config, sk_X509_value(chain, 0), key, err);
    }
    EVP_PKEY_free(key);
    kl_store_free(store);
    sk_X509_pop_free(chain, X509_free);
    return rc;
}

/* Workers have no terminal to ask on, and are started again whenever one is lost. */
static enum kl_rc check_pin_source(const struct kl_config *config, struct kl_err *err)
{
    const struct kl_hsm_where where = kl_config_hsm(config);

    if (kl_hsm_prompts(&where)) {
        return kl_err_set(
            err, KL_ERR_CONFIG,
            "[hsm] pin-source: keyloaderd cannot ask for the PIN; set file:PATH (mode "
            "0600) or credential:NAME");
    }
    return KL_OK;
}

enum kl_rc kl_run(const struct kl_config *config, struct kl_err *err)
{
    struct daemon daemon = {.err = KL_ERR_INIT};
    STACK_OF(X509) *chain = NULL;
    enum kl_rc rc;

    daemon.service.config = config;
    daemon.service.policy.candidate_lifetime = config->candidate_lifetime;
    TAILQ_INIT(&daemon.service.conns);
    if (!config->strength_enforce) {
        kl_log(KL_LOG_WARN, "strength-not-enforced",
               KL_STR("detail", "TMKs may travel under weaker keys; this is for test labs"));
    }
    rc = check_pin_source(config, err);
    if (rc == KL_OK) {
        rc = load_chain(config, &chain, err);
    }
    if (rc == KL_OK) {
        rc = use_chain(&daemon, chain, err);
    }
    if (rc == KL_OK) {
        rc = make_events(&daemon, err);
    }
    if (rc == KL_OK) {
        rc = start_store(&daemon, err);
    }
    if (rc == KL_OK) {
        rc = kl_pool_new(daemon.service.base, config, on_pool_start, &daemon, &daemon.service.pool,
                         err);
    }
    if (rc != KL_OK) {
        goto out;
    }
    if (event_base_dispatch(daemon.service.base) < 0) {
        rc = kl_err_set(err, KL_ERR_INTERNAL, "the event loop failed");
        goto out;
    }
    rc = daemon.err.rc;
    if (rc != KL_OK) {
        *err = daemon.err;
    }
out:
    daemon_wipe(&daemon);
    kl_log(rc == KL_OK ? KL_LOG_INFO : KL_LOG_ERROR, "stopped", KL_STR("rc", kl_rc_name(rc)));
    return rc;
}
