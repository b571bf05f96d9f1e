/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A peer of the control socket (daemon/control/control_peer.c, params.c, admin*.c): what it sends,
 * as lines, over a real store. The first byte says who it is. One response for each request,
 * bounded; an auditor changes nothing, and what takes two operators is not done by one.
 */
#include <event2/event.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "conf/log.h"
#include "daemon/control/control_impl.h"
#include "daemon/control/params.h"
#include "daemon/run.h"
#include "tests/fuzz/fake_committer.h"
#include "tests/fuzz/input.h"

static struct kl_service service;
static struct kl_control control;
static struct kl_config config;
static enum kl_role role;

/* ---- What the daemon would do: its parts beside the socket ---- */

enum kl_rc kl_control_role(struct kl_control *of, const struct kl_peer_id *id, enum kl_role *out,
                           struct kl_err *err)
{
    (void)of;
    (void)id;
    (void)err;
    *out = role;
    return KL_OK;
}

void kl_control_alarm(struct kl_control *of, const char *actor, const char *what,
                      const struct kl_err *err)
{
    (void)of;
    require(actor[0] != '\0' && what[0] != '\0' && strlen(what) <= 64);
    fuzz_failed_well(err->rc, err);
}

enum kl_rc kl_control_work_begin(struct kl_control *of, uint64_t id, struct kl_err *err)
{
    (void)of;
    (void)id;
    (void)err;
    require(role == KL_ROLE_OPERATOR);
    return KL_OK;
}

enum kl_rc kl_control_do(struct kl_control_peer *peer, const char *name, const json_t *params,
                         int *known, struct kl_err *err)
{
    (void)peer;
    (void)err;
    require(strlen(name) <= 64 && json_is_object(params));
    *known = 0;
    return KL_OK;
}

void kl_run_drain(struct kl_service *of, const char *why)
{
    (void)of;
    (void)why;
    require(0);
}

void kl_reload_forget(struct kl_reload *reload, const void *arg)
{
    (void)reload;
    (void)arg;
    require(0);
}

/* ---- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    kl_log_setup("fuzz", KL_LOG_ERROR, KL_LOG_STDERR);
    json_object_seed(1); /* so that an input does the same again */
    for (size_t i = 0; i < KL_DUAL_COUNT; i++) {
        config.control_dual.items[config.control_dual.count++] = i + 1;
    }
    config.request_lifetime = 3600;
    service.config = &config;
    service.base = event_base_new();
    require(service.base != NULL);
    control.service = &service;
    TAILQ_INIT(&control.peers);
    TAILQ_INIT(&control.units);
    return 0;
}

/* A terminal that waits, so that what is asked finds something. */
static void stock(struct kl_store *store)
{
    struct kl_terminal known = {.alg = KL_ALG_TDES2, .serial = "T-1", .pinpad_serial = "P-1"};
    struct kl_err err = KL_ERR_INIT;

    require(kl_life_register(store, &known, (int64_t)time(NULL), &err) == KL_OK);
}

static uint64_t head(struct kl_store *store)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t hash[KL_HASH_LEN];
    uint64_t id = 0;

    require(kl_store_audit_head(store, &id, hash, &err) == KL_OK);
    return id;
}

/* Whole lines of JSON, each one response. */
static unsigned responses(int fd)
{
    static char in[KL_CONTROL_RESULT_MAX + 2];
    unsigned count = 0;
    size_t have = 0;
    ssize_t n;
    char *end;

    while ((n = recv(fd, in + have, sizeof(in) - have, MSG_DONTWAIT)) > 0) {
        have += (size_t)n;
        require(have < sizeof(in));
        while ((end = memchr(in, '\n', have)) != NULL) {
            json_t *json = json_loadb(in, (size_t)(end - in), 0, NULL);
            const char *text = json_string_value(json_object_get(json, "text"));

            require(json_is_boolean(json_object_get(json, "ok")));
            require(json_is_true(json_object_get(json, "ok")) || (text && text[0] != '\0'));
            json_decref(json);
            count++;
            have -= (size_t)(end + 1 - in);
            memmove(in, end + 1, have);
        }
    }
    require(have == 0);
    return count;
}

static unsigned lines_of(const uint8_t *data, size_t size)
{
    unsigned lines = 0;

    for (size_t i = 0; i < size; i++) {
        lines += data[i] == '\n';
    }
    return lines;
}

/* Equal params have one text, which says the same again. */
static void canonical(const char *text, size_t len)
{
    struct kl_err err = KL_ERR_INIT;
    json_t *first = NULL, *second = NULL;
    char *once, *twice;

    if (kl_params_parse(text, len, &first, &err) != KL_OK) {
        fuzz_failed_well(err.rc, &err);
        return;
    }
    once = kl_params_text(first);
    require(once != NULL);
    if (kl_params_parse(once, strlen(once), &second, &err) == KL_OK) {
        twice = kl_params_text(second);
        require(twice != NULL && strcmp(once, twice) == 0 && json_equal(first, second));
        free(twice);
    }
    free(once);
    json_decref(first);
    json_decref(second);
}

/* Sends it all, and has all done; the number of responses. */
static unsigned serve(int fd, const uint8_t *data, size_t size)
{
    unsigned answers = 0;
    size_t sent = 0;

    for (int idle = 0; idle < 4;) {
        ssize_t n =
            sent < size ? send(fd, data + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        unsigned more, done;

        sent += n > 0 ? (size_t)n : 0;
        event_base_loop(service.base, EVLOOP_NONBLOCK);
        done = (unsigned)fake_committer_do(1);
        event_base_loop(service.base, EVLOOP_NONBLOCK);
        more = responses(fd);
        answers += more;
        idle = more + done > 0 || n > 0 ? 0 : idle + 1;
    }
    return answers;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum kl_role roles[] = {KL_ROLE_OPERATOR, KL_ROLE_AUDITOR, KL_ROLE_NONE};
    struct kl_peer_id id = {.uid = 1000, .actor = "uid:1000"};
    struct kl_store *store;
    uint64_t before;
    int fds[2];

    if (size < 2 || size > 2 * KL_CONTROL_LINE_MAX) {
        return 0;
    }
    role = roles[data[0] % 3];
    canonical((const char *)data + 1, size - 1);
    store = fake_store_begin();
    stock(store);
    before = head(store);
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    kl_control_peer_new(&control, fds[1], &id, role);
    require(serve(fds[0], data + 1, size - 1) <= lines_of(data + 1, size - 1) + 1);
    close(fds[0]);
    for (int i = 0; i < 3; i++) {
        event_base_loop(service.base, EVLOOP_NONBLOCK);
    }
    if (!TAILQ_EMPTY(&control.peers)) {
        kl_control_peer_free(TAILQ_FIRST(&control.peers));
    }
    while (fake_committer_do(1)) {
    }
    require(TAILQ_EMPTY(&control.units) && control.peer_count == 0);
    require(role == KL_ROLE_OPERATOR || head(store) == before);
    fake_store_end();
    return 0;
}
