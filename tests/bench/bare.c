/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bare loop: processes that make the PKCS#11 calls of one load again and again, each logged in
 * with a session of its own, as a worker of the daemon is.
 *
 *   bare MODULE TOKEN PIN-FILE LABEL ALGORITHM PROCESSES MILLISECONDS [THROUGH]
 *
 * LABEL is a work key, ALGORITHM a TMK's, or "sign": then a load is one signature by CKM_RSA_PKCS,
 * for comparisons with what does no more. Says as JSON how many loads there were, in how many
 * seconds, and what CPU they took. Each process lets the loader of pkcs11/ do one load, records its
 * calls, and makes those (record.h): on the module, or through another one, THROUGH, that has the
 * same token.
 */
#include <check.h>
#include <errno.h>
#include <p11-kit/p11-kit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "pkcs11/module.h"
#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "pkcs11/pin.h"
#include "pkcs11/uri.h"
#include "proto/clock.h"
#include "proto/secret.h"
#include "tests/bench/record.h"
#include "tests/support/host_terminal.h"
#include "tests/support/proc.h"

#define PROCESSES_MAX 64
#define SIGN "sign"
#define TRIES 50
#define WARM_UP 5 /* loads before it counts */

static struct order {
    const char *module, *token, *pin_file, *label, *through;
    const struct kl_alg_info *alg; /* NULL: signatures and no loads */
    unsigned processes;
    int64_t us;
} order;

struct result {
    uint64_t loads, calls; /* calls: of one load */
    uint64_t not_carried;  /* of these: what THROUGH does not do (record_move) */
    int64_t us, cpu_us;    /* wall clock, user and system time */
};

/* ---- One process ---- */

__attribute__((noreturn)) static void die(const char *what, const char *why)
{
    fprintf(stderr, "bare: %s: %s\n", what, why);
    exit(70);
}

static void must(enum kl_rc rc)
{
    if (rc != KL_OK) {
        die("the token", err.text);
    }
}

static int64_t cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

/* As the daemon does, it tries again while the token is not there: SoftHSM does not find it while
 * another process opens it, too. */
static struct kl_token *open_token(CK_FUNCTION_LIST *functions, const struct kl_uri *uri,
                                   struct kl_secret *pin)
{
    struct kl_module *module = NULL;
    struct kl_token *token = NULL;
    enum kl_rc rc = KL_ERR_TOKEN;

    for (int tries = 0; rc == KL_ERR_TOKEN && tries < TRIES; tries++) {
        must(kl_module_wrap(functions, &module, &err));
        rc = kl_token_open(module, uri, pin, 0, &token, &err);
        if (rc != KL_OK) {
            kl_module_free(module);
            proc_sleep_ms(100);
        }
    }
    must(rc);
    return token;
}

/* Records one load of the loader's, which stays open until the process ends. */
static void record_load(struct kl_token *token)
{
    struct kl_loader_config config = {.work_keys = {{.label = order.label}},
                                      .work_key_count = 1,
                                      .storage_key = "tmk-storage",
                                      .binding_key = "tmk-binding",
                                      .strength_enforce = 1};

    must(kl_loader_open(token, &config, &loader, &err));
    term = calloc(1, sizeof(*term));
    if (!term) {
        die("memory", strerror(errno));
    }
    ht_choose(order.label);
    ht_messages(order.alg->alg);
    record_begin();
    must(ht_run());
    record_end();
}

/* Records one signature by CKM_RSA_PKCS: a private operation and no more. */
static void record_signature(struct kl_token *token)
{
    static const uint8_t digest_info[51];
    struct kl_session *session = NULL;
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    uint8_t signature[KL_RSA_MAX];
    size_t count = 0, len = 0;

    must(kl_session_open(token, &session, &err));
    must(kl_object_find(session, CKO_PRIVATE_KEY, order.label, &key, 1, &count, &err));
    if (count != 1) {
        die(order.label, "is not one key");
    }
    record_begin();
    must(kl_op_sign_recover(session, key, digest_info, sizeof(digest_info), signature,
                            sizeof(signature), &len, &err));
    record_end();
}

static CK_FUNCTION_LIST *load_module(const char *path)
{
    CK_FUNCTION_LIST *functions = p11_kit_module_load(path, P11_KIT_MODULE_UNMANAGED);

    if (!functions) {
        die(path, "cannot be loaded");
    }
    return functions;
}

static uint64_t move_through(const char *path, const struct kl_uri *uri, struct kl_secret *pin)
{
    struct kl_session *session = NULL;

    must(kl_session_open(open_token(load_module(path), uri, pin), &session, &err));
    return record_move(kl_session_functions(session), kl_session_handle(session));
}

/* Returns how many calls will not be made as they are. */
static uint64_t prepare(void)
{
    CK_FUNCTION_LIST *functions = load_module(order.module);
    struct kl_secret *pin = NULL;
    struct kl_token *token;
    struct kl_uri *uri = NULL;
    char source[4096];
    uint64_t not_carried;

    snprintf(source, sizeof(source), "file:%s", order.pin_file);
    must(kl_secret_setup(&err));
    must(kl_pin_read(source, NULL, &pin, &err));
    must(kl_uri_parse(order.token, &uri, &err));
    token = open_token(record_in_front_of(functions), uri, pin);
    if (order.alg) {
        record_load(token);
    } else {
        record_signature(token);
    }
    not_carried = order.through ? move_through(order.through, uri, pin) : 0;
    kl_secret_free(pin);
    kl_uri_free(uri);
    return not_carried;
}

static void play(void)
{
    const char *which = "";
    CK_RV rv = record_play(&which);

    if (rv != CKR_OK) {
        char why[32];

        snprintf(why, sizeof(why), "CK_RV 0x%lx", rv);
        die(which, why);
    }
}

static struct result run(int64_t us)
{
    struct result result = {.calls = record_count()};
    int64_t begun, spent;

    for (int i = 0; i < WARM_UP; i++) {
        play();
    }
    begun = kl_clock_us();
    spent = cpu_us();
    while ((result.us = kl_clock_us() - begun) < us) {
        play();
        result.loads++;
    }
    result.cpu_us = cpu_us() - spent;
    return result;
}

/* ---- All of them ---- */

struct child {
    pid_t pid;
    int go, told; /* our ends: written once it may start; what it has to say */
};

static int go_fd, told_fd; /* the child's ends */

/* As a test, since what the terminal's half is made of asserts. */
START_TEST(child_main)
{
    struct result result = {0};
    uint64_t not_carried = prepare();
    char byte;

    if (write(told_fd, &result, sizeof(result)) != sizeof(result) || read(go_fd, &byte, 1) != 1) {
        die("pipe", strerror(errno));
    }
    result = run(order.us);
    result.not_carried = not_carried;
    if (write(told_fd, &result, sizeof(result)) != sizeof(result)) {
        die("pipe", strerror(errno));
    }
    _exit(0);
}
END_TEST

__attribute__((noreturn)) static void run_child(void)
{
    Suite *suite = suite_create("bare");
    TCase *tcase = tcase_create("bare");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, child_main);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_SILENT);
    die("a process", tr_msg(srunner_failures(runner)[0])); /* else it would not come back */
}

static struct result hear(const struct child *child)
{
    struct result result;

    if (read(child->told, &result, sizeof(result)) != sizeof(result)) {
        die("a process", "ended without a result");
    }
    return result;
}

/* Waits until it is ready: several that open one SoftHSM token at once can fail. */
static void start(struct child *child)
{
    int go[2], told[2];

    if (pipe(go) != 0 || pipe(told) != 0 || (child->pid = fork()) < 0) {
        die("cannot start a process", strerror(errno));
    }
    if (child->pid == 0) {
        close(go[1]);
        close(told[0]);
        go_fd = go[0];
        told_fd = told[1];
        run_child();
    }
    close(go[0]);
    close(told[1]);
    child->go = go[1];
    child->told = told[0];
    (void)hear(child);
}

int main(int argc, char **argv)
{
    struct child children[PROCESSES_MAX];
    struct result result, sum = {0};
    double rate = 0;

    int help = argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);

    if (help || argc < 8 || argc > 9 || (strcmp(argv[5], SIGN) != 0 && !kl_alg_by_name(argv[5]))) {
        fputs("usage: bare MODULE TOKEN PIN-FILE LABEL ALGORITHM PROCESSES MILLISECONDS [THROUGH]\n"
              "ALGORITHM is a TMK's, or \"sign\"; THROUGH another module that has the same token\n",
              help ? stdout : stderr);
        return help ? EX_OK : EX_USAGE;
    }
    order = (struct order){.module = argv[1],
                           .token = argv[2],
                           .pin_file = argv[3],
                           .label = argv[4],
                           .alg = kl_alg_by_name(argv[5]),
                           .processes = (unsigned)strtoul(argv[6], NULL, 10),
                           .us = strtol(argv[7], NULL, 10) * 1000,
                           .through = argv[8]};
    if (order.processes == 0 || order.processes > PROCESSES_MAX || order.us <= 0) {
        die("PROCESSES or MILLISECONDS", "out of bounds");
    }
    for (unsigned i = 0; i < order.processes; i++) {
        start(&children[i]);
    }
    for (unsigned i = 0; i < order.processes; i++) {
        if (write(children[i].go, "", 1) != 1) {
            die("pipe", strerror(errno));
        }
    }
    for (unsigned i = 0; i < order.processes; i++) {
        result = hear(&children[i]);
        sum.loads += result.loads;
        sum.cpu_us += result.cpu_us;
        sum.calls = result.calls;
        sum.not_carried = result.not_carried;
        sum.us = result.us > sum.us ? result.us : sum.us;
        rate += (double)result.loads / ((double)result.us / 1e6);
        waitpid(children[i].pid, NULL, 0);
    }
    printf("{\"loads\": %llu, \"seconds\": %.6f, \"loads-per-second\": %.3f, "
           "\"cpu-us-per-load\": %.3f, \"calls-per-load\": %llu, \"calls-not-carried\": %llu}\n",
           (unsigned long long)sum.loads, (double)sum.us / 1e6, rate,
           sum.loads > 0 ? (double)sum.cpu_us / (double)sum.loads : 0,
           (unsigned long long)sum.calls, (unsigned long long)sum.not_carried);
    return 0;
}
