/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Others who offer a token's RSA-2048 private operations to programs that do not load its module:
 * p11-kit's server with its client module, and `openssl s_server` whose key is in the token, by
 * engine pkcs11 (TLS 1.2, one private operation a handshake, as s_time counts them). Against
 * p11-kit, like is held against like: single operations by our workers against single ones of its,
 * and whole loads against the calls of a load. Beside that, what each makes of the HSM whatever
 * else it does: we do two private operations in a load, along with all else that a load is.
 */
#include <check.h>
#include <ctype.h>
#include <math.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/clock.h"
#include "tests/bench/bench.h"
#include "tests/bench/signer.h"
#include "tests/support/http.h"

#define P11_KIT "/usr/bin/p11-kit"
#define P11_KIT_CLIENT "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"
#define OPENSSL "/usr/bin/openssl"
#define ENGINE "/usr/lib/x86_64-linux-gnu/engines-3/pkcs11.so"
#define PORT 47710 /* and one more for each server */
#define UP_SECONDS 30
#define OPS_OF_A_LOAD 2
#define RATE_MAX 2500
#define SERVERS_MAX 16

struct peers {
    struct bench *bench;
    struct rig rig;
    struct signer signer;
    int p11_kit, tls; /* 1: they are there */
    struct proc server, tls_server[SERVERS_MAX];
    unsigned tls_servers;
    char socket[PATH_MAX], address[PATH_MAX + 64], conf[PATH_MAX + 64];
};

static void start_p11_kit(struct peers *peers)
{
    struct lab *lab = &peers->rig.lab;
    const char *env[] = {peers->conf, NULL};

    file_path(peers->socket, lab->run, "p11-kit");
    snprintf(peers->address, sizeof(peers->address), "P11_KIT_SERVER_ADDRESS=unix:path=%s",
             peers->socket);
    proc_spawn(&peers->server, lab->logs, env,
               (const char *const[]){P11_KIT, "server", "--foreground", "--name", peers->socket,
                                     "--provider", lab->module, "pkcs11:token=loader", NULL});
    for (int tries = 0; access(peers->socket, F_OK) != 0; tries++) {
        ck_assert_msg(tries < UP_SECONDS * 20, "p11-kit server does not listen: %.500s",
                      file_read(peers->server.err, NULL));
        proc_sleep_ms(50);
    }
}

static void wait_for_port(uint16_t port, const struct proc *server)
{
    int fd;

    for (int tries = 0; (fd = http_connect(port)) < 0; tries++) {
        ck_assert_msg(tries < UP_SECONDS * 20, "s_server does not listen: %.500s",
                      file_read(server->err, NULL));
        proc_sleep_ms(50);
    }
    close(fd);
}

/* One handshake at a time is all that s_server does: so one for each worker of ours. */
static void start_tls(struct peers *peers)
{
    struct lab *lab = &peers->rig.lab;
    char module[PATH_MAX + 32], key[2 * PATH_MAX], cert[PATH_MAX], pin[PATH_MAX], port[32], *text;
    const char *env[] = {peers->conf, module, NULL};
    size_t len;

    peers->tls_servers = peers->rig.workers < SERVERS_MAX ? peers->rig.workers : SERVERS_MAX;
    snprintf(module, sizeof(module), "PKCS11_MODULE_PATH=%s", lab->module);
    /* The engine takes a newline for a part of the PIN. */
    text = file_read(file_path(pin, lab->dir, "loader.pin"), &len);
    file_write(file_path(pin, lab->dir, "engine.pin"), text, strcspn(text, "\n"), 0600);
    OPENSSL_cleanse(text, len);
    free(text);
    proc_text(key, sizeof(key), "pkcs11:token=loader;object=%s;type=private;pin-source=file:%s",
              peers->rig.kind->name, pin);
    proc_text(cert, sizeof(cert), "%s/work-%s/%s.pem", lab->dir, peers->rig.kind->name,
              peers->rig.kind->name);
    for (unsigned i = 0; i < peers->tls_servers; i++) {
        snprintf(port, sizeof(port), "127.0.0.1:%u", PORT + i);
        proc_spawn(&peers->tls_server[i], lab->logs, env,
                   (const char *const[]){OPENSSL, "s_server", "-accept", port, "-engine", "pkcs11",
                                         "-keyform", "engine", "-key", key, "-cert", cert,
                                         "-tls1_2", "-sigalgs", "RSA+SHA256", "-www", "-quiet",
                                         NULL});
        wait_for_port((uint16_t)(PORT + i), &peers->tls_server[i]);
    }
}

/* How many connections one s_time made; it tells its time in whole seconds only. */
static double connections(const struct peers *peers, unsigned i, const struct proc *client)
{
    char *text = file_read(client->out, NULL), *at = strstr(text, " connections in ");
    double count;

    while (at != NULL && at > text && isdigit((unsigned char)at[-1])) {
        at--;
    }
    count = at ? strtod(at, NULL) : 0;
    ck_assert_msg(count > 0, "s_time: %.300s; s_server: %.300s", file_read(client->err, NULL),
                  file_read(peers->tls_server[i].err, NULL));
    free(text);
    return count;
}

/* Handshakes a second, of one s_time for each server. */
static double handshakes(struct peers *peers)
{
    struct lab *lab = &peers->rig.lab;
    struct proc client[SERVERS_MAX];
    int64_t begun[SERVERS_MAX];
    char seconds[16], port[32];
    double sum = 0;

    snprintf(seconds, sizeof(seconds), "%.0f", ceil(peers->bench->seconds) + 1);
    for (unsigned i = 0; i < peers->tls_servers; i++) {
        snprintf(port, sizeof(port), "127.0.0.1:%u", PORT + i);
        begun[i] = kl_clock_us();
        proc_spawn(&client[i], lab->logs, NULL,
                   (const char *const[]){OPENSSL, "s_time", "-connect", port, "-new", "-tls1_2",
                                         "-time", seconds, NULL});
    }
    for (unsigned i = 0; i < peers->tls_servers; i++) {
        (void)proc_wait(&client[i], UP_SECONDS + (int)peers->bench->seconds);
        sum += connections(peers, i, &client[i]) / ((double)(kl_clock_us() - begun[i]) / 1e6);
    }
    return sum;
}

static void against(struct bench *bench, const char *name, double ours, double theirs)
{
    figure_add(bench_figure(bench, "ops", name, "ops/s", FIGURE_NO_TARGET, 0), theirs);
    figure_add(bench_figure(bench, "ours_vs", name, "ratio", FIGURE_AT_LEAST, 1), ours / theirs);
}

/* Whole loads of ours, with network and store, over no more than their calls through p11-kit. */
static void loads_by_p11_kit(struct peers *peers, double ours)
{
    struct bench *bench = peers->bench;
    struct rig *rig = &peers->rig;
    struct bare theirs =
        rig_bare_through(rig, P11_KIT_CLIENT, peers->address, rig->workers, bench->seconds);

    figure_add(figure_of(bench->figures, "peer_loads_p11_kit", "loads/s", FIGURE_NO_TARGET, 0),
               theirs.rate);
    figure_add(figure_of(bench->figures, "peer_calls_p11_kit", "calls", FIGURE_NO_TARGET, 0),
               theirs.calls);
    figure_add(figure_of(bench->figures, "peer_calls_replaced_p11_kit", "calls", FIGURE_NO_TARGET,
                         0),
               theirs.not_carried);
    figure_add(figure_of(bench->figures, "ours_vs_p11_kit_loads", "ratio", FIGURE_AT_LEAST, 1),
               ours / theirs.rate);
}

/* Signatures, and nothing else, on both sides; and whole loads against signatures alone. */
static void ops_by_p11_kit(struct peers *peers, double ours)
{
    struct bench *bench = peers->bench;
    struct rig *rig = &peers->rig;
    double workers = signer_rate(&peers->signer, rig, bench->seconds);
    double theirs =
        rig_sign(rig, P11_KIT_CLIENT, peers->address, rig->workers, bench->seconds).rate;

    figure_add(figure_of(bench->figures, "ops_workers", "ops/s", FIGURE_NO_TARGET, 0), workers);
    figure_add(figure_of(bench->figures, "ours_vs_p11_kit_ops", "ratio", FIGURE_AT_LEAST, 1),
               workers / theirs);
    against(bench, "p11_kit", ours, theirs);
}

static void once(struct peers *peers)
{
    struct bench *bench = peers->bench;
    struct rig *rig = &peers->rig;
    double loads = rig_rate(rig, bench->seconds), ours = OPS_OF_A_LOAD * loads;

    figure_add(figure_of(bench->figures, "ops_ours", "ops/s", FIGURE_NO_TARGET, 0), ours);
    figure_add(figure_of(bench->figures, "ops_module", "ops/s", FIGURE_NO_TARGET, 0),
               rig_sign(rig, rig->lab.module, NULL, rig->workers, bench->seconds).rate);
    if (peers->p11_kit) {
        ops_by_p11_kit(peers, ours);
        loads_by_p11_kit(peers, loads);
    }
    if (peers->tls) {
        against(bench, "s_server", ours, handshakes(peers));
    }
}

void group_peers(struct bench *bench)
{
    struct peers peers = {.bench = bench,
                          .p11_kit =
                              access(P11_KIT_CLIENT, R_OK) == 0 && access(P11_KIT, X_OK) == 0,
                          .tls = access(ENGINE, R_OK) == 0 && access(OPENSSL, X_OK) == 0};

    rig_begin(&peers.rig, NULL, &bench->lab, "peers", &kinds[KIND_CLASSIC], bench->workers,
              (unsigned)(bench->seconds * RATE_MAX));
    rig_register(&peers.rig);
    rig_start(&peers.rig);
    snprintf(peers.conf, sizeof(peers.conf), "SOFTHSM2_CONF=%s/hsm/softhsm2.conf",
             peers.rig.lab.dir);
    if (peers.p11_kit) {
        signer_begin(&peers.signer, &peers.rig);
        start_p11_kit(&peers);
    }
    if (peers.tls) {
        start_tls(&peers);
    }
    for (unsigned repeat = 0; repeat < bench->repeats; repeat++) {
        bench_progress("peers: %u of %u", repeat + 1, bench->repeats);
        once(&peers);
    }
    if (peers.p11_kit) {
        proc_kill(&peers.server);
        signer_end(&peers.signer);
    }
    for (unsigned i = 0; i < peers.tls_servers; i++) {
        proc_kill(&peers.tls_server[i]);
    }
    rig_end(&peers.rig);
}
