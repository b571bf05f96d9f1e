/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the monitor listens. */
#include "daemon/monitor/monitor_where.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 16

/* ---- The text ---- */

static enum kl_rc parse_unix(const char *path, struct kl_monitor_where *out, struct kl_err *err)
{
    struct sockaddr_un *to = &out->address.unix_socket;
    size_t len = strlen(path);

    if (path[0] != '/') {
        return kl_err_set(err, KL_ERR_CONFIG, "the path after unix: must be absolute");
    }
    if (len >= sizeof(to->sun_path)) {
        return kl_err_set(err, KL_ERR_CONFIG, "a socket's path has at most %zu bytes",
                          sizeof(to->sun_path) - 1);
    }
    out->family = AF_UNIX;
    out->len = sizeof(*to);
    to->sun_family = AF_UNIX;
    memcpy(to->sun_path, path, len + 1);
    return KL_OK;
}

/* Digits only, 0 to 65535. */
static int parse_port(const char *text, in_port_t *out)
{
    unsigned long port = 0;
    size_t len = strspn(text, "0123456789");

    if (len == 0 || len > 5 || text[len] != '\0') {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        port = port * 10 + (unsigned long)(text[i] - '0');
    }
    *out = htons((uint16_t)port);
    return port <= 65535;
}

static int parse_v4(const char *host, struct kl_monitor_where *out, in_port_t port)
{
    struct sockaddr_in *to = (struct sockaddr_in *)(void *)&out->address.room;

    if (inet_pton(AF_INET, host, &to->sin_addr) != 1 ||
        ntohl(to->sin_addr.s_addr) >> 24 != IN_LOOPBACKNET) {
        return 0;
    }
    to->sin_family = AF_INET;
    to->sin_port = port;
    out->family = AF_INET;
    out->len = sizeof(*to);
    return 1;
}

static int parse_v6(const char *host, struct kl_monitor_where *out, in_port_t port)
{
    struct sockaddr_in6 *to = (struct sockaddr_in6 *)(void *)&out->address.room;
    size_t len = strlen(host);
    char bare[INET6_ADDRSTRLEN];

    if (len < 3 || host[0] != '[' || host[len - 1] != ']' || len - 2 >= sizeof(bare)) {
        return 0;
    }
    memcpy(bare, host + 1, len - 2);
    bare[len - 2] = '\0';
    if (inet_pton(AF_INET6, bare, &to->sin6_addr) != 1 || !IN6_IS_ADDR_LOOPBACK(&to->sin6_addr)) {
        return 0;
    }
    to->sin6_family = AF_INET6;
    to->sin6_port = port;
    out->family = AF_INET6;
    out->len = sizeof(*to);
    return 1;
}

enum kl_rc kl_monitor_parse(const char *text, struct kl_monitor_where *out, struct kl_err *err)
{
    struct kl_monitor_where where = {0};
    const char *colon = strrchr(text, ':');
    char host[64];
    in_port_t port;

    if (text[0] == '\0') {
        *out = where;
        return KL_OK;
    }
    if (strncmp(text, "unix:", 5) == 0) {
        if (parse_unix(text + 5, &where, err) != KL_OK) {
            return err->rc;
        }
        *out = where;
        return KL_OK;
    }
    if (colon == NULL || !parse_port(colon + 1, &port) || (size_t)(colon - text) >= sizeof(host)) {
        return kl_err_set(err, KL_ERR_CONFIG, "'%.100s' is neither ADDRESS:PORT nor unix:/PATH",
                          text);
    }
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    if (!parse_v4(host, &where, port) && !parse_v6(host, &where, port)) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "'%.60s' is no loopback address (127.0.0.1 or [::1]): the monitor asks "
                          "nobody for a password; let an agent on this machine fetch from it",
                          host);
    }
    *out = where;
    return KL_OK;
}

/* ---- The socket ---- */

/* A socket that a daemon of before has left. */
static enum kl_rc make_way(const struct sockaddr_un *at, struct kl_err *err)
{
    struct stat st;
    int probe, alive;

    if (lstat(at->sun_path, &st) != 0) {
        return errno == ENOENT ? KL_OK : kl_err_errno(err, "lstat", "%s", at->sun_path);
    }
    if (!S_ISSOCK(st.st_mode) || st.st_uid != geteuid()) {
        return kl_err_set(err, KL_ERR_EXISTS, "%s is there, and no socket of ours", at->sun_path);
    }
    probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0) {
        return kl_err_errno(err, "socket", "%s", at->sun_path);
    }
    alive = connect(probe, (const struct sockaddr *)at, sizeof(*at)) == 0 || errno != ECONNREFUSED;
    close(probe);
    if (alive) {
        return kl_err_set(err, KL_ERR_BUSY, "somebody listens at %s already", at->sun_path);
    }
    return unlink(at->sun_path) == 0 ? KL_OK : kl_err_errno(err, "unlink", "%s", at->sun_path);
}

enum kl_rc kl_monitor_bind(const struct kl_monitor_where *where, int *fd, struct kl_err *err)
{
    const struct sockaddr_un *at = &where->address.unix_socket;
    int on = 1, made;

    if (where->family == AF_UNIX && make_way(at, err) != KL_OK) {
        return err->rc;
    }
    made = socket(where->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made < 0) {
        return kl_err_errno(err, "socket", "the monitor's socket");
    }
    if (where->family != AF_UNIX) {
        (void)setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    }
    /* Until chmod, a umask leaves others no right to write, which connecting takes. */
    if (bind(made, &where->address.any, where->len) != 0 ||
        (where->family == AF_UNIX && chmod(at->sun_path, 0660) != 0) ||
        listen(made, BACKLOG) != 0) {
        (void)kl_err_errno(err, "bind", "cannot listen where [monitor] listen says");
        close(made);
        return err->rc;
    }
    *fd = made;
    return KL_OK;
}
