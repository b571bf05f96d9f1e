/* SPDX-License-Identifier: BSD-2-Clause */
/* Single private operations by our workers: see signer.h. */
#include "tests/bench/signer.h"

#include <check.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/log.h"
#include "pkcs11/hsm.h"
#include "pkcs11/keys.h"
#include "proto/clock.h"
#include "proto/secret.h"

#define AUDIT_KEY "bench-rsa2048"
#define START_SECONDS 60

static struct kl_err err;

/* The key, by a process of its own: nothing here may fork with a module loaded. */
__attribute__((noreturn)) static void make_key(const struct lab *lab)
{
    char pin[PATH_MAX + 32];
    const struct kl_hsm_where where = {.module = lab->module,
                                       .token = "pkcs11:token=loader",
                                       .pin_source = pin};
    struct kl_hsm *hsm = NULL;
    EVP_PKEY *public_key = NULL;

    snprintf(pin, sizeof(pin), "file:%s/loader.pin", lab->dir);
    if (kl_secret_setup(&err) != KL_OK || kl_hsm_open(&where, 1, &hsm, &err) != KL_OK ||
        kl_pair_generate(kl_hsm_session(hsm), KL_PAIR_AUDIT, AUDIT_KEY, KL_KEY_RSA, 2048,
                         &public_key, &err) != KL_OK) {
        fprintf(stderr, "bench: an audit key: %s\n", err.text);
        _exit(1);
    }
    EVP_PKEY_free(public_key);
    kl_hsm_free(hsm);
    _exit(0);
}

static void no_hsm(const struct kl_err *why, void *arg)
{
    (void)arg;
    ck_abort_msg("no worker: %.500s", why->text);
}

static enum kl_rc any_keys(const struct kl_job_ready *ready, void *arg, struct kl_err *out)
{
    (void)ready, (void)arg, (void)out;
    return KL_OK;
}

static void up(void *arg)
{
    (void)arg;
}

static void wait_for_all(const struct signer *signer, unsigned workers)
{
    int64_t until = kl_clock_us() + (int64_t)START_SECONDS * 1000000;
    struct kl_pool_report report;

    do {
        ck_assert_msg(kl_clock_us() < until, "not all of %u workers have started", workers);
        ck_assert_int_ge(event_base_loop(signer->base, EVLOOP_NONBLOCK), 0);
        proc_sleep_ms(10);
        kl_pool_report(signer->pool, &report);
    } while (report.hsm[0].idle < workers);
}

void signer_begin(struct signer *signer, struct rig *rig)
{
    const struct kl_pool_events events = {.check = any_keys, .up = up, .down = no_hsm};
    struct kl_job_wants wants = {.count = 1};
    char conf[PATH_MAX];
    int status;
    pid_t pid;

    proc_text(conf, sizeof(conf), "%s/hsm/softhsm2.conf", rig->lab.dir);
    ck_assert_int_eq(setenv("SOFTHSM2_CONF", conf, 1), 0);
    pid = fork();
    if (pid == 0) {
        make_key(&rig->lab);
    }
    ck_assert(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
    lab_set(&rig->lab, "hsm", "audit-key", AUDIT_KEY);
    lab_set(&rig->lab, "log", "level", "error"); /* to our stderr */
    *signer = (struct signer){.base = event_base_new()};
    ck_assert_ptr_nonnull(signer->base);
    proc_text(wants.want[0].label, sizeof(wants.want[0].label), "%s", rig->kind->name);
    kl_log_set_level(KL_LOG_ERROR);
    ck_assert_msg(kl_config_new(rig->lab.conf, &signer->config, &err) == KL_OK &&
                      kl_pool_new(signer->base, signer->config, &wants, &events, &signer->pool,
                                  &err) == KL_OK,
                  "%.500s", err.text);
    wait_for_all(signer, rig->workers);
}

static void submit(struct signer *signer);

static void done(const struct kl_job_result *result, void *arg)
{
    struct signer *signer = arg;

    ck_assert_msg(result->err.rc == KL_OK, "%.500s", result->err.text);
    ck_assert_uint_eq(result->out.signature.len, 2048 / 8);
    signer->waiting--;
    signer->done++;
    if (kl_clock_us() < signer->until) {
        submit(signer);
    }
}

static void submit(struct signer *signer)
{
    static struct kl_job job = {.kind = KL_JOB_CHECKPOINT}; /* it is large */
    struct kl_ticket *ticket = NULL;

    job.u.checkpoint.record = 1;
    job.u.checkpoint.time = 1;
    ck_assert_msg(kl_pool_submit(signer->pool, &job, done, signer, &ticket, &err) == KL_OK,
                  "%.500s", err.text);
    signer->waiting++;
}

double signer_rate(struct signer *signer, const struct rig *rig, double seconds)
{
    int64_t begun = kl_clock_us();

    signer->until = begun + (int64_t)(seconds * 1e6);
    signer->done = 0;
    for (unsigned i = 0; i < RIG_IN_FLIGHT * rig->workers; i++) {
        submit(signer);
    }
    while (signer->waiting > 0) {
        ck_assert_int_eq(event_base_loop(signer->base, EVLOOP_ONCE), 0);
    }
    return signer->done / ((double)(kl_clock_us() - begun) / 1e6);
}

void signer_end(struct signer *signer)
{
    kl_pool_free(signer->pool);
    kl_config_unref(signer->config);
    event_base_free(signer->base);
}
