/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations over the control socket, or on the store itself. */
#include "daemon/ctl/ctl_channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "conf/report.h"
#include "daemon/control/actor.h"
#include "daemon/control/admin.h"
#include "daemon/control/control.h"
#include "daemon/ctl/ctl_list.h"
#include "daemon/ctl/ctl_store.h"
#include "daemon/ctl/ctl_terminal.h"

#define ANSWER_S 600 /* a report on a large store, or a reload, takes its time */

/* ---- The socket ---- */

static const char *socket_path(const struct kl_ctl *ctl)
{
    const char *path = ctl->control ? ctl->control : ctl->config.control_socket;

    return path ? path : "";
}

/* *out: connected, or -1: nobody listens there. */
static enum kl_rc dial(const char *path, int *out, struct kl_err *err)
{
    const struct timeval limit = {.tv_sec = ANSWER_S};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    *out = -1;
    if (strlen(path) >= sizeof(address.sun_path)) {
        return kl_err_set(err, KL_ERR_CONFIG, "control socket %s: the path is too long", path);
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0) {
        return kl_err_errno(err, "socket", "%s", path);
    }
    if (connect(fd, (const struct sockaddr *)(const void *)&address, sizeof(address)) == 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        *out = fd;
        return KL_OK;
    }
    if (errno != ENOENT && errno != ECONNREFUSED) {
        kl_err_errno(err, "connect", "%s: the daemon's control socket", path);
        close(fd);
        return err->rc;
    }
    close(fd);
    return KL_OK;
}

static enum kl_rc send_all(int fd, const char *text, size_t len, struct kl_err *err)
{
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        /* Who has been turned away has an answer to read. */
        if (n < 0 && errno == EPIPE) {
            return KL_OK;
        }
        if (n < 0) {
            return kl_err_errno(err, "send", "the daemon's control socket");
        }
        text += n;
        len -= (size_t)n;
    }
    return KL_OK;
}

/* One line into buf, which holds KL_CONTROL_RESULT_MAX + 64 bytes. */
static enum kl_rc receive_line(int fd, char *buf, size_t *len, struct kl_err *err)
{
    size_t used = 0;

    for (;;) {
        ssize_t n = recv(fd, buf + used, KL_CONTROL_RESULT_MAX + 64 - used, 0);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN ? kl_err_set(err, KL_ERR_TIMEOUT, "the daemon does not answer")
                                   : kl_err_errno(err, "recv", "the daemon's control socket");
        }
        if (n == 0) {
            return kl_err_set(err, KL_ERR_CLOSED,
                              "the daemon has closed its control socket; "
                              "whether it has done it, its log and the audit "
                              "trail tell");
        }
        used += (size_t)n;
        if (buf[used - 1] == '\n') {
            *len = used - 1;
            return KL_OK;
        }
        if (used == KL_CONTROL_RESULT_MAX + 64) {
            return kl_err_set(err, KL_ERR_PROTOCOL, "the daemon's answer is too long");
        }
    }
}

static enum kl_rc rc_by_name(const char *name)
{
    for (int rc = KL_ERR_USAGE; name && rc <= KL_ERR_HSM_LACKS; rc++) {
        if (strcmp(kl_rc_name((enum kl_rc)rc), name) == 0) {
            return (enum kl_rc)rc;
        }
    }
    return KL_ERR_INTERNAL;
}

static enum kl_rc read_answer(const char *text, size_t len, json_t **out, struct kl_err *err)
{
    json_error_t why;
    json_t *answer = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why), *result;
    const char *said;

    if (json_is_true(json_object_get(answer, "ok")) &&
        (result = json_object_get(answer, "result")) != NULL) {
        *out = json_incref(result);
    } else if ((said = json_string_value(json_object_get(answer, "text"))) != NULL) {
        kl_err_set(err, rc_by_name(json_string_value(json_object_get(answer, "rc"))), "%s", said);
    } else {
        kl_err_set(err, KL_ERR_PROTOCOL, "the daemon's answer cannot be read");
    }
    json_decref(answer);
    return err->rc;
}

static enum kl_rc ask_daemon(struct kl_ctl *ctl, const char *op, json_t *params, json_t **out,
                             struct kl_err *err)
{
    json_t *request = json_pack("{s:s, s:O}", "do", op, "params", params);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    char *answer = malloc(KL_CONTROL_RESULT_MAX + 64);
    size_t len = text ? strlen(text) : 0;
    enum kl_rc rc = KL_OK;

    json_decref(request);
    *err = (struct kl_err)KL_ERR_INIT;
    if (!text || !answer) {
        rc = kl_err_set(err, KL_ERR_MEMORY, "request");
    } else if (len > KL_CONTROL_LINE_MAX) {
        rc = kl_err_set(err, KL_ERR_INPUT, "too much for one request: %zu bytes, not %d", len,
                        KL_CONTROL_LINE_MAX);
    } else {
        text[len] = '\n'; /* in place of its NUL */
        if ((rc = send_all(ctl->fd - 1, text, len + 1, err)) == KL_OK &&
            (rc = receive_line(ctl->fd - 1, answer, &len, err)) == KL_OK) {
            rc = read_answer(answer, len, out, err);
        }
    }
    free(text);
    free(answer);
    return rc;
}

/* ---- Which way ---- */

static enum kl_rc no_daemon(const struct kl_ctl *ctl, struct kl_err *err)
{
    return kl_err_set(err, KL_ERR_UNAVAILABLE, "no daemon listens at %s", socket_path(ctl));
}

/* ctl->fd: descriptor + 1, so that 0 is none. */
static enum kl_rc choose(struct kl_ctl *ctl, struct kl_err *err)
{
    int fd = -1, serving = 0;
    enum kl_rc rc = KL_OK;

    if (ctl->chosen || !socket_path(ctl)[0]) {
        ctl->chosen = 1;
        return KL_OK;
    }
    if ((rc = dial(socket_path(ctl), &fd, err)) != KL_OK) {
        return rc;
    }
    if (fd < 0 && ctl->control) {
        return no_daemon(ctl, err);
    }
    if (fd < 0 && (rc = kl_store_claimed(ctl->config.store, &serving, err)) == KL_OK && serving) {
        rc = kl_err_set(err, KL_ERR_UNAVAILABLE,
                        "a daemon serves %s and does not listen at %s; it may be starting",
                        ctl->config.store, socket_path(ctl));
    }
    ctl->fd = fd + 1;
    ctl->chosen = rc == KL_OK;
    return rc;
}

enum kl_rc kl_ctl_has_daemon(struct kl_ctl *ctl, int *out, struct kl_err *err)
{
    enum kl_rc rc = choose(ctl, err);

    *out = ctl->fd > 0;
    return rc;
}

/* ---- The store itself ---- */

static enum kl_rc open_store(struct kl_ctl *ctl, const struct kl_admin_op *op, struct kl_err *err)
{
    enum kl_store_mode mode = op->kind == KL_ADMIN_READ       ? KL_STORE_READ
                              : op->kind == KL_ADMIN_REGISTER ? KL_STORE_CREATE
                                                              : KL_STORE_WRITE;

    if (ctl->store && (ctl->writable || mode == KL_STORE_READ)) {
        return KL_OK;
    }
    kl_store_free(ctl->store);
    ctl->store = NULL;
    ctl->writable = mode != KL_STORE_READ;
    return kl_store_open(ctl->config.store, mode, &ctl->store, err);
}

enum kl_rc kl_ctl_finish(struct kl_store *store, enum kl_rc rc, struct kl_err *err)
{
    if (rc == KL_OK) {
        return kl_store_commit(store, err);
    }
    kl_store_rollback(store);
    return rc;
}

/* In a part of its own, so that a failed call among several has changed nothing. */
static enum kl_rc run_within(struct kl_ctl *ctl, const struct kl_admin_op *op,
                             const struct kl_admin_ask *ask, json_t **out, struct kl_err *err)
{
    struct kl_err undo = KL_ERR_INIT;
    enum kl_rc rc = kl_store_savepoint(ctl->store, err);

    if (rc != KL_OK) {
        return rc;
    }
    if ((rc = kl_admin_run(op, ctl->store, ask, out, err)) == KL_OK) {
        return kl_store_release(ctl->store, err);
    }
    return kl_store_undo(ctl->store, &undo) == KL_OK ? rc : kl_err_context(err, "%s", undo.text);
}

static enum kl_rc run_here(struct kl_ctl *ctl, const char *name, json_t *params, json_t **out,
                           struct kl_err *err)
{
    const struct kl_admin_op *op = kl_admin_find(name);
    struct kl_admin_ask ask = {.params = params,
                               .now = (int64_t)time(NULL),
                               .uid = getuid(),
                               .role = KL_ROLE_OPERATOR};
    char actor[KL_AUDIT_ACTOR_MAX + 1];
    enum kl_rc rc;

    if (!op) {
        return kl_err_set(err, KL_ERR_INTERNAL, "no operation %s", name);
    }
    kl_actor_self(actor);
    ask.actor = actor;
    kl_admin_policy(&ctl->config, &ask);
    if ((rc = open_store(ctl, op, err)) != KL_OK) {
        return rc;
    }
    if (ctl->within) {
        return run_within(ctl, op, &ask, out, err);
    }
    if ((rc = kl_store_begin(ctl->store, err)) != KL_OK) {
        return rc;
    }
    return kl_ctl_finish(ctl->store, kl_admin_run(op, ctl->store, &ask, out, err), err);
}

enum kl_rc kl_ctl_begin(struct kl_ctl *ctl, struct kl_err *err)
{
    static const struct kl_admin_op any = {.name = "", .kind = KL_ADMIN_REGISTER};
    int daemon = 0;
    enum kl_rc rc = kl_ctl_has_daemon(ctl, &daemon, err);

    if (rc == KL_OK && !daemon && (rc = open_store(ctl, &any, err)) == KL_OK &&
        (rc = kl_store_begin(ctl->store, err)) == KL_OK) {
        ctl->within = 1;
    }
    return rc;
}

enum kl_rc kl_ctl_end(struct kl_ctl *ctl, enum kl_rc rc, struct kl_err *err)
{
    if (ctl->within) {
        ctl->within = 0;
        return kl_ctl_finish(ctl->store, rc, err);
    }
    return rc;
}

void kl_ctl_close(struct kl_ctl *ctl)
{
    kl_store_free(ctl->store);
    ctl->store = NULL;
    if (ctl->fd > 0) {
        close(ctl->fd - 1);
    }
    ctl->fd = 0;
    ctl->chosen = 0;
}

/* ---- Calls ---- */

enum kl_rc kl_ctl_call(struct kl_ctl *ctl, const char *op, json_t *params, json_t **out,
                       struct kl_err *err)
{
    enum kl_rc rc;

    *out = NULL;
    if (!params) {
        return kl_err_set(err, KL_ERR_MEMORY, "parameters");
    }
    if ((rc = choose(ctl, err)) == KL_OK) {
        rc = ctl->fd > 0 ? ask_daemon(ctl, op, params, out, err)
                         : run_here(ctl, op, params, out, err);
    }
    json_decref(params);
    if (rc != KL_OK) {
        json_decref(*out);
        *out = NULL;
    }
    return rc;
}

enum kl_rc kl_ctl_call_daemon(struct kl_ctl *ctl, const char *op, json_t *params, json_t **out,
                              struct kl_err *err)
{
    int daemon = 0;
    enum kl_rc rc = kl_ctl_has_daemon(ctl, &daemon, err);

    if (rc == KL_OK && !daemon) {
        rc = socket_path(ctl)[0]
                 ? no_daemon(ctl, err)
                 : kl_err_set(err, KL_ERR_UNAVAILABLE,
                              "needs a daemon, and the configuration has no [control] socket");
    }
    if (rc != KL_OK) {
        json_decref(params);
        *out = NULL;
        return rc;
    }
    return kl_ctl_call(ctl, op, params, out, err);
}

/* ---- Lists ---- */

void kl_ctl_next_serial(json_t *params, const json_t *last)
{
    (void)json_object_set(params, "after", json_object_get(last, "serial"));
}

void kl_ctl_next_id(json_t *params, const json_t *last)
{
    (void)json_object_set(params, "after", json_object_get(last, "id"));
}

static enum kl_rc give_rows(const json_t *rows, kl_ctl_row_fn fn, void *arg, struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; i < json_array_size(rows) && rc == KL_OK; i++) {
        rc = fn(json_incref(json_array_get(rows, i)), arg, err);
    }
    return rc;
}

enum kl_rc kl_ctl_each(struct kl_ctl *ctl, const char *op, json_t *params, const char *rows,
                       kl_ctl_next_fn next, kl_ctl_row_fn fn, void *arg, struct kl_err *err)
{
    json_t *page = NULL, *list;
    int more = params != NULL;
    enum kl_rc rc = params ? KL_OK : kl_err_set(err, KL_ERR_MEMORY, "parameters");

    while (rc == KL_OK && more) {
        if ((rc = kl_ctl_call(ctl, op, json_incref(params), &page, err)) != KL_OK) {
            break;
        }
        list = json_object_get(page, rows);
        rc = give_rows(list, fn, arg, err);
        more = json_is_true(json_object_get(page, "more")) && json_array_size(list) > 0;
        if (more) {
            next(params, json_array_get(list, json_array_size(list) - 1));
        }
        json_decref(page);
    }
    json_decref(params);
    return rc;
}

static enum kl_rc print_row(json_t *row, void *arg, struct kl_err *err)
{
    return kl_ctl_list_row(arg, row, err);
}

enum kl_rc kl_ctl_print_each(struct kl_ctl *ctl, const char *op, json_t *params, const char *rows,
                             kl_ctl_next_fn next, const int *widths, struct kl_err *err)
{
    struct kl_ctl_list list = {ctl->json, widths, 0};
    enum kl_rc rc = kl_ctl_each(ctl, op, params, rows, next, print_row, &list, err);

    return rc == KL_OK ? kl_ctl_list_end(&list, err) : rc;
}

enum kl_rc kl_ctl_print_result(struct kl_ctl *ctl, json_t *result, struct kl_err *err)
{
    json_t *request = json_object_get(result, "request");
    long long id = json_integer_value(json_object_get(request, "id"));
    enum kl_rc rc = kl_report_print(result, ctl->json, err);

    if (rc == KL_OK && id) {
        rc = kl_err_set(err, KL_ERR_BUSY,
                        "nothing is done yet: request %lld waits for a second operator "
                        "(keyloaderctl request approve %lld)",
                        id, id);
    }
    return rc;
}
