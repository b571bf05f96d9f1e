/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * terminal-sim attack against a whole centre: every attack is held, and said to be so by each form
 * of output; and what "held" is worth: loaders that fail to defend are found out, a loader that is
 * not there has held nothing.
 */
#include <arpa/inet.h>
#include <check.h>
#include <jansson.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "conf/certfile.h"
#include "terminal-sim/attack/rogue_pki.h"
#include "terminal-sim/load.h"
#include "terminal-sim/transceiver.h"
#include "tests/support/lab_trust.h"
#include "tests/support/suite.h"

static struct lab lab;
static char arm[PATH_MAX];

static void found(void)
{
    lab_found_trust(&lab, "rsa-2048", "hardened-rsa", "rsa-2048");
}

static void abandon(void)
{
    lab_abandon(&lab);
}

/* A loader that wants certificates, with short deadlines; a terminal T1 that has one; and a program
 * that arms. */
static void begin(const char *name)
{
    FILE *f;

    lab_begin(&lab, name);
    lab_set(&lab, "limits", "idle-timeout", "1s");
    lab_set(&lab, "limits", "handshake-timeout", "2s");
    lab_set(&lab, "limits", "connections-per-address", "100");
    lab_terminal(&lab, "T1", "tdes2");
    lab_device_certificate(&lab, "T1", "ca");
    lab_start(&lab);
    ck_assert_int_lt(snprintf(arm, sizeof arm, "%s/arm", lab.run), (int)sizeof arm);
    f = fopen(arm, "we");
    ck_assert_ptr_nonnull(f);
    fprintf(f, "#!/bin/sh\nexec %s -c %s terminal arm \"$1\" --attempts 100 --for 1h\n",
            lab_built("bin/keyloaderctl"), lab.conf);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_eq(chmod(arm, 0700), 0);
}

/* terminal-sim ARGS..., where T1's PIN pad is: its exit status; what it printed is in *out. */
static int sim(const char *const *args, char **out)
{
    const char *argv[PROC_ARGS] = {lab_built("bin/terminal-sim")};
    struct proc proc;
    size_t n = 1;
    int status;

    for (; *args != NULL; args++) {
        ck_assert_uint_lt(n + 1, PROC_ARGS);
        argv[n++] = *args;
    }
    lab_terminal_spawn(&lab, "T1", &proc, argv);
    status = proc_wait(&proc, 200);
    *out = file_read(proc.out, NULL);
    return status;
}

static const char *address(uint16_t port)
{
    static char text[32];

    snprintf(text, sizeof text, "127.0.0.1:%u", (unsigned)port);
    return text;
}

static json_t *parse(char *text)
{
    json_t *json = json_loads(text, 0, NULL);

    ck_assert_msg(json != NULL, "%s", text);
    free(text);
    return json;
}

static const json_t *result_of(const json_t *json, const char *name)
{
    const json_t *row;
    size_t i;

    json_array_foreach(json_object_get(json, "attacks"), i, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "name")), name) == 0) {
            return row;
        }
    }
    ck_abort_msg("no result of %s", name);
    return NULL;
}

static void expect(const json_t *json, const char *name, const char *outcome, const char *words)
{
    const json_t *row = result_of(json, name);
    const char *detail = json_string_value(json_object_get(row, "detail"));

    ck_assert_msg(strcmp(json_string_value(json_object_get(row, "outcome")), outcome) == 0 &&
                      strstr(detail, words) != NULL,
                  "%s: %s, %s", name, json_string_value(json_object_get(row, "outcome")), detail);
}

static json_int_t number(const json_t *json, const char *key)
{
    return json_integer_value(json_object_get(json, key));
}

static void end(void)
{
    lab_end(&lab);
}

/* ---- A daemon ---- */

/* Every attack that there is, with nothing left out. */
START_TEST(all_held)
{
    char dir[PATH_MAX], junit[PATH_MAX], *out;
    const char *args[] = {"attack", "--all",    "--loader", NULL,      "--terminal", dir, "--arm",
                          arm,      "--strict", "--json",   "--junit", junit,        NULL};
    json_t *json;
    const json_t *row;
    size_t i;
    int status;

    begin("all");
    args[3] = address(lab.port);
    lab_terminal_file(&lab, "T1", ".", dir);
    file_path(junit, lab.run, "junit.xml");
    status = sim(args, &out);
    json = parse(out);
    json_array_foreach(json_object_get(json, "attacks"), i, row)
    {
        expect(json, json_string_value(json_object_get(row, "name")), "held", "");
    }
    ck_assert_int_eq(status, 0);
    ck_assert_int_gt(number(json, "held"), 100);
    ck_assert_int_gt(number(result_of(json, "edit-hello"), "variants"), 40);
    json_decref(json);
    out = file_read(junit, NULL);
    ck_assert_ptr_nonnull(strstr(out, "failures=\"0\" errors=\"0\" skipped=\"0\""));
    ck_assert_ptr_nonnull(strstr(out, "name=\"control-load\""));
    free(out);
    lab_agree(&lab, "T1");
    end();
}
END_TEST

/* Not armed, or not there at all: nothing is held, and nobody is told that it were. */
START_TEST(nothing_is_held_by_who_does_not_serve)
{
    char dir[PATH_MAX], *out;
    const char *args[] = {"attack", "--loader",     NULL,         "--terminal",       dir,
                          "--json", "replay-hello", "edit-hello", "connection-flood", NULL};
    json_t *json;
    uint16_t port;

    begin("unserved");
    port = lab.port;
    args[2] = address(port);
    lab_terminal_file(&lab, "T1", ".", dir);
    ck_assert_int_eq(sim(args, &out), 2);
    json = parse(out);
    ck_assert_int_eq(number(json, "inconclusive"), 4); /* with the load in the end */
    expect(json, "replay-hello", "inconclusive", "does not serve terminal T1");
    json_decref(json);
    end();
    ck_assert_int_eq(sim(args, &out), 2);
    json = parse(out);
    ck_assert_int_eq(number(json, "inconclusive"), 4);
    expect(json, "edit-hello", "inconclusive", "no key loader at");
    json_decref(json);
}
END_TEST

/* QA's own: a recording of terminal-sim load is played against the daemon. */
START_TEST(scenario_of_ones_own)
{
    char dir[PATH_MAX], record[PATH_MAX], file[PATH_MAX], text[3 * PATH_MAX], *out;
    const char *args[] = {"scenario", "run",   file, "--loader", NULL, "--terminal",
                          dir,        "--arm", arm,  "--tap",    NULL};
    const char *check[] = {"scenario", "check", file, NULL};
    const char *const extra[] = {"--record", record, NULL};
    struct proc proc;

    begin("own");
    lab_terminal_file(&lab, "T1", ".", dir);
    file_path(record, lab.run, "load.rec");
    file_path(file, lab.run, "own.ini");
    snprintf(text, sizeof text,
             "[scenario]\ntries = a recording\ncheats = loader\n[session replay]\n"
             "Hello = replace file:%s#1\nRandoms = replace file:%s#3\n"
             "breaks = MasterKey\nexpect = error refused\n",
             record, record);
    file_write(file, text, strlen(text), 0600);
    ck_assert_int_eq(sim(check, &out), EX_NOINPUT); /* there is no recording yet */
    free(out);
    lab_arm(&lab, "T1", 1);
    lab_load_start(&lab, "T1", lab.port, extra, &proc);
    ck_assert_int_eq(proc_wait(&proc, LAB_LOAD_SECONDS), 0);
    ck_assert_int_eq(sim(check, &out), 0);
    free(out);
    args[4] = address(lab.port);
    ck_assert_int_eq(sim(args, &out), 0);
    ck_assert_msg(strncmp(out, "TAP version 13\n1..2\nok 1 - own\n", 31) == 0, "%s", out);
    ck_assert_msg(strstr(out, "\nok 2 - control-load\n") != NULL, "%s", out);
    free(out);
    lab_agree(&lab, "T1");
    end();
}
END_TEST

/* ---- Loaders and terminals that do not defend ---- */

/* A loader on a socket, of the rogue's own keys, that leaves out two checks: that Loaded is
 * authentic, and that a nonce is fresh. And it goes down at the first frame that is too long. */
struct careless {
    int listener;
    uint16_t port;
    pthread_t thread;
    struct kl_rogue_pki pki;
    struct kl_rogue rogue; /* as it is at the beginning of each connection */
    char root[PATH_MAX];
};

static void same_nonce(struct kl_certificate *certificate)
{
    memset(certificate->nonce, 7, sizeof certificate->nonce);
}

static enum kl_rc careless_answer(struct kl_rogue *rogue, const uint8_t *in, size_t in_len,
                                  uint8_t *out, size_t *out_len, struct kl_err *err)
{
    struct kl_msg msg, done;
    enum kl_rc rc = kl_msg_decode(in, in_len, &msg, err);

    if (rc != KL_OK) {
        return rc;
    }
    switch (msg.type) {
    case KL_MSG_HELLO:
        return kl_rogue_certificate(rogue, in, in_len, out, out_len, err);
    case KL_MSG_RANDOMS:
        return kl_rogue_master_key(rogue, in, in_len, out, out_len, err);
    case KL_MSG_LOADED:
        rc = kl_rogue_done(rogue, KL_VERDICT_ACTIVE, &done, err);
        return rc != KL_OK ? rc : kl_msg_encode(&done, out, out_len, err);
    default:
        return kl_err_set(err, KL_ERR_REFUSED, "not this one");
    }
}

static void *careless_serve(void *arg)
{
    struct careless *loader = arg;
    struct kl_rogue rogue;
    uint8_t in[KL_MSG_MAX], out[KL_MSG_MAX];
    struct kl_err err = KL_ERR_INIT;
    size_t in_len, out_len;
    int fd, up = 1;

    while (up && (fd = accept4(loader->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct kl_transceiver *t = NULL;

        if (kl_transceiver_adopt(fd, 20, &t, &err) != KL_OK) {
            continue;
        }
        rogue = loader->rogue;
        err.rc = KL_OK;
        while (kl_transceiver_receive(t, in, &in_len, &err) == KL_OK &&
               careless_answer(&rogue, in, in_len, out, &out_len, &err) == KL_OK &&
               kl_transceiver_send(t, out, out_len, &err) == KL_OK) {
            ;
        }
        up = err.rc != KL_ERR_PROTOCOL;
        kl_transceiver_free(t);
    }
    shutdown(loader->listener, SHUT_RDWR);
    return NULL;
}

static int listen_anywhere(uint16_t *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(fd, 16), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

START_TEST(careless_loader_is_found_out)
{
    struct careless loader = {0};
    struct kl_err err = KL_ERR_INIT;
    char *out;
    const char *args[] = {"attack",       "--loader",        NULL,     "--serial",
                          "S-1",          "--pinpad-serial", "PS-1",   "--root",
                          loader.root,    "--no-load",       "--json", "ack-forged",
                          "replay-hello", "replay-session",  NULL};
    json_t *json;

    lab_begin(&lab, "careless");
    ck_assert_msg(kl_rogue_pki_make(&loader.pki, &err) == KL_OK, "%s", err.text);
    lab_write_cert(file_path(loader.root, lab.run, "careless.pem"), loader.pki.root);
    ck_assert_msg(kl_rogue_pki_loader(&loader.pki, KL_SUITE_HARDENED_RSA, KL_SC_CERT_GOOD,
                                      &loader.rogue, &err) == KL_OK,
                  "%s", err.text);
    loader.rogue.spoil_certificate = same_nonce;
    loader.listener = listen_anywhere(&loader.port);
    ck_assert_int_eq(pthread_create(&loader.thread, NULL, careless_serve, &loader), 0);
    args[2] = address(loader.port);
    ck_assert_int_eq(sim(args, &out), 1);
    json = parse(out);
    expect(json, "ack-forged", "broken", "got as far as Done");
    expect(json, "replay-hello", "broken", "nonce of Certificate is what it was");
    expect(json, "replay-session", "broken", "got as far as MasterKey");
    json_decref(json);
    args[11] = "peer-oversized";
    args[12] = NULL;
    ck_assert_int_eq(sim(args, &out), 1);
    json = parse(out);
    expect(json, "peer-oversized", "broken", "served before, and not afterwards");
    json_decref(json);
    shutdown(loader.listener, SHUT_RDWR);
    pthread_join(loader.thread, NULL);
    close(loader.listener);
    kl_rogue_drop(&loader.rogue);
    kl_rogue_pki_wipe(&loader.pki);
}
END_TEST

/* A port that nobody has at the moment. */
static uint16_t free_port(void)
{
    uint16_t port;

    close(listen_anywhere(&port));
    return port;
}

static void await_listening(struct proc *proc)
{
    for (int i = 0; i < 10 * proc_seconds(20); i++) {
        char *said = file_read(proc->err, NULL);
        int listens = strstr(said, "listening on") != NULL;

        free(said);
        if (listens) {
            return;
        }
        proc_sleep_ms(100);
    }
    ck_abort_msg("terminal-sim attack --serve does not listen");
}

static void serve_start(const char *name, const char *at, const char *root, struct proc *proc)
{
    const char *argv[] = {lab_built("bin/terminal-sim"),
                          "attack",
                          "--serve",
                          at,
                          "--root-out",
                          root,
                          "--timeout",
                          "60",
                          name,
                          NULL};

    lab_terminal_spawn(&lab, "T1", proc, argv);
    await_listening(proc);
}

/* A terminal of its own, which trusts the rogue loader's root, is pointed at it. */
START_TEST(terminal_at_the_rogue_loader)
{
    const char *names[] = {"rnd2-wrong", "rogue-expired", "splice-certificate"};
    const int statuses[] = {0, 0, 2}; /* the last one cannot be served */
    char at[32], root[PATH_MAX], dir[PATH_MAX];
    struct proc serves, load;

    lab_begin(&lab, "serve");
    for (size_t i = 0; i < 3; i++) {
        const char *init[] = {lab_built("bin/terminal-sim"),
                              "init",
                              "--dir",
                              dir,
                              "--serial",
                              "S-1",
                              "--pinpad-serial",
                              "PS-1",
                              "--root",
                              root,
                              "--pinpad",
                              "memory",
                              NULL};
        const char *argv[] = {
            lab_built("bin/terminal-sim"), "load", "--dir", dir, "--connect", at, NULL};

        snprintf(at, sizeof at, "127.0.0.1:%u", (unsigned)free_port());
        file_path(root, lab.run, names[i]);
        snprintf(dir, sizeof dir, "%.4000s.term", root);
        serve_start(names[i], at, root, &serves);
        if (statuses[i] == 0) {
            lab_terminal_spawn(&lab, "S-1", &load, init);
            ck_assert_int_eq(proc_wait(&load, 20), 0);
            lab_terminal_spawn(&lab, "S-1", &load, argv);
            ck_assert_int_eq(proc_wait(&load, 30), 76);
        }
        ck_assert_int_eq(proc_wait(&serves, 90), statuses[i]);
    }
}
END_TEST

/* The man in the middle between a real terminal and the daemon. */
START_TEST(terminal_behind_the_man_in_the_middle)
{
    char at[32], to[32], *text;
    const char *argv[] = {NULL,        "attack", "--serve",       at,  "--loader", to,
                          "--timeout", "60",     "nonce-swapped", NULL};
    struct proc serves;

    begin("middle");
    lab_arm(&lab, "T1", 5);
    snprintf(at, sizeof at, "127.0.0.1:%u", (unsigned)free_port());
    snprintf(to, sizeof to, "127.0.0.1:%u", (unsigned)lab.port);
    argv[0] = lab_built("bin/terminal-sim");
    lab_terminal_spawn(&lab, "T1", &serves, argv);
    await_listening(&serves);
    ck_assert_int_eq(lab_load(&lab, "T1", (uint16_t)atoi(strchr(at, ':') + 1)), 76);
    ck_assert_int_eq(proc_wait(&serves, 90), 0);
    text = file_read(serves.out, NULL);
    ck_assert_msg(strstr(text, "the loader answered Error refused") != NULL, "%s", text);
    free(text);
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_agree(&lab, "T1");
    end();
}
END_TEST

/* A terminal that answers MasterKey with Loaded, whatever is in it. */
START_TEST(careless_terminal_is_found_out)
{
    struct kl_transceiver *t;
    struct kl_terminal_load *load;
    struct kl_pinpad *pad;
    STACK_OF(X509) * roots;
    struct kl_terminal_load_params params = {.serial = "S-1",
                                             .pinpad_serial = "PS-1",
                                             .suites = {KL_SUITE_HARDENED_RSA},
                                             .suite_count = 1,
                                             .algs = {KL_ALG_TDES2},
                                             .alg_count = 1,
                                             .now = time(NULL)};
    struct kl_msg loaded = {.type = KL_MSG_LOADED, .u.loaded.kcv_len = 3};
    uint8_t in[KL_MSG_MAX], out[KL_MSG_MAX];
    size_t in_len, out_len;
    char at[32], root[PATH_MAX], *said;
    struct kl_err err = KL_ERR_INIT;
    struct proc serves;

    lab_begin(&lab, "blind");
    snprintf(at, sizeof at, "127.0.0.1:%u", (unsigned)free_port());
    serve_start("rnd2-wrong", at, file_path(root, lab.run, "root.pem"), &serves);
    ck_assert_int_eq(kl_cert_load_roots(root, &roots, &err), KL_OK);
    ck_assert_int_eq(kl_pinpad_memory_new(&pad, &err), KL_OK);
    params.roots = roots;
    params.pad = pad;
    ck_assert_int_eq(kl_terminal_load_new(&params, &load, &err), KL_OK);
    ck_assert_int_eq(kl_terminal_load_hello(load, out, &out_len, &err), KL_OK);
    ck_assert_msg(kl_transceiver_open(at, 60, NULL, &t, &err) == KL_OK, "%s", err.text);
    ck_assert_int_eq(kl_transceiver_send(t, out, out_len, &err), KL_OK);
    ck_assert_int_eq(kl_transceiver_receive(t, in, &in_len, &err), KL_OK);
    ck_assert_int_eq(kl_terminal_load_step(load, in, in_len, out, &out_len, &err), KL_OK);
    ck_assert_int_eq(kl_transceiver_send(t, out, out_len, &err), KL_OK);
    ck_assert_int_eq(kl_transceiver_receive(t, in, &in_len, &err), KL_OK);
    ck_assert_int_eq(kl_msg_encode(&loaded, out, &out_len, &err), KL_OK);
    ck_assert_int_eq(kl_transceiver_send(t, out, out_len, &err), KL_OK);
    ck_assert_int_eq(proc_wait(&serves, 90), 1);
    said = file_read(serves.out, NULL);
    ck_assert_msg(strstr(said, "got as far as Loaded") != NULL, "%s", said);
    free(said);
    kl_transceiver_free(t);
    kl_terminal_load_free(load);
    kl_pinpad_free(pad);
    sk_X509_pop_free(roots, X509_free);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("attack");
    TCase *tc = tcase_create("attack");

    tcase_set_timeout(tc, 220);
    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_add_test(tc, all_held);
    tcase_add_test(tc, nothing_is_held_by_who_does_not_serve);
    tcase_add_test(tc, scenario_of_ones_own);
    tcase_add_test(tc, careless_loader_is_found_out);
    tcase_add_test(tc, terminal_at_the_rogue_loader);
    tcase_add_test(tc, terminal_behind_the_man_in_the_middle);
    tcase_add_test(tc, careless_terminal_is_found_out);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
