/* SPDX-License-Identifier: BSD-2-Clause */
/* Listening sockets: bound, or given and then checked. */
#include "daemon/process/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

static const char *const socket_names[KL_SOCKETS_MAX] = {KL_SOCKET_LAN, KL_SOCKET_CONTROL,
                                                         KL_SOCKET_MONITOR};
#define LAN 0 /* its place */

int kl_sockets_place(const char *name)
{
    for (int i = 0; i < KL_SOCKETS_MAX; i++) {
        if (strcmp(socket_names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

/* ---- From the service manager ---- */

static enum kl_rc take_one(struct kl_sockets *sockets, int fd, const char *name, struct kl_err *err)
{
    int place = kl_sockets_place(name);

    if (place < 0 || sockets->fd[place] >= 0) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "the service manager gave a socket named '%.40s'%s: FileDescriptorName= "
                          "must be lan, control or monitor",
                          name, place < 0 ? "" : " twice");
    }
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        return kl_err_errno(err, "fcntl", "the service manager's socket '%s'", name);
    }
    sockets->fd[place] = fd;
    sockets->given[place] = 1;
    return KL_OK;
}

enum kl_rc kl_sockets_from_manager(struct kl_sockets *out, struct kl_err *err)
{
    struct kl_sockets sockets = KL_SOCKETS_NONE;
    char **given = NULL;
    int count = sd_listen_fds_with_names(1, &given);
    enum kl_rc rc = KL_OK;

    if (count < 0) {
        errno = -count;
        return kl_err_errno(err, "sd_listen_fds_with_names", "the service manager's sockets");
    }
    for (int i = 0; i < count; i++) {
        int fd = SD_LISTEN_FDS_START + i;
        if (rc == KL_OK) {
            rc = take_one(&sockets, fd, given[i], err);
        }
        if (rc != KL_OK) {
            close(fd);
        }
        free(given[i]);
    }
    free(given);
    if (rc == KL_OK) {
        *out = sockets;
    }
    return rc;
}

/* ---- The LAN's ---- */

static void set_address(const struct kl_config *config, struct sockaddr_storage *out,
                        socklen_t *len)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)out;

    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, config->address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)config->port);
        *len = sizeof(*v4);
        return;
    }
    (void)inet_pton(AF_INET6, config->address, &v6->sin6_addr); /* the configuration is checked */
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)config->port);
    *len = sizeof(*v6);
}

enum kl_rc kl_sockets_bind(struct kl_sockets *sockets, const struct kl_config *config,
                           struct kl_err *err)
{
    struct sockaddr_storage address;
    socklen_t len;
    int fd, on = 1;

    if (sockets->fd[LAN] >= 0) {
        return KL_OK;
    }
    set_address(config, &address, &len);
    fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return kl_err_errno(err, "socket", "cannot listen on %s", config->address);
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&address, len) != 0) {
        (void)kl_err_errno(err, "bind", "cannot listen on %s port %llu", config->address,
                           (unsigned long long)config->port);
        close(fd);
        return err->rc;
    }
    sockets->fd[LAN] = fd;
    return KL_OK;
}

/* ---- Is it what the configuration says? ---- */

static int listens(int fd, int *family)
{
    int on = 0, type = 0;
    socklen_t len = sizeof(on);

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) != 0 || !on) {
        return 0;
    }
    len = sizeof(type);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_STREAM) {
        return 0;
    }
    len = sizeof(*family);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, family, &len) == 0;
}

static int has_address(int fd, const struct kl_config *config)
{
    struct sockaddr_storage wanted, bound;
    socklen_t wanted_len, len = sizeof(bound);

    set_address(config, &wanted, &wanted_len);
    memset(&bound, 0, sizeof(bound));
    if (getsockname(fd, (struct sockaddr *)&bound, &len) != 0 || len != wanted_len) {
        return 0;
    }
    if (config->port == 0) {
        /* sin_port and sin6_port stand in the same place (RFC 3493, section 3.3) */
        ((struct sockaddr_in *)(void *)&bound)->sin_port = 0;
    }
    return memcmp(&bound, &wanted, len) == 0;
}

enum kl_rc kl_sockets_check(const struct kl_sockets *sockets, const struct kl_config *config,
                            struct kl_err *err)
{
    for (size_t i = 0; i < KL_SOCKETS_MAX; i++) {
        int family = AF_UNSPEC;

        if (sockets->fd[i] < 0) {
            continue;
        }
        if (!listens(sockets->fd[i], &family)) {
            return kl_err_set(err, KL_ERR_CONFIG,
                              "the socket '%s' that was given does not listen for streams",
                              socket_names[i]);
        }
        if (i == LAN &&
            ((family != AF_INET && family != AF_INET6) || !has_address(sockets->fd[i], config))) {
            return kl_err_set(err, KL_ERR_CONFIG,
                              "the socket 'lan' that was given is not [listen] address %s port "
                              "%llu: make ListenStream= and the configuration agree",
                              config->address, (unsigned long long)config->port);
        }
    }
    return KL_OK;
}

int kl_sockets_take(struct kl_sockets *sockets, const char *name, int *given)
{
    int place = kl_sockets_place(name), fd = place < 0 ? -1 : sockets->fd[place];

    if (fd >= 0) {
        *given = sockets->given[place];
        sockets->fd[place] = -1;
    }
    return fd;
}

void kl_sockets_wipe(struct kl_sockets *sockets)
{
    for (size_t i = 0; i < KL_SOCKETS_MAX; i++) {
        if (sockets->fd[i] >= 0) {
            close(sockets->fd[i]);
            sockets->fd[i] = -1;
        }
    }
}
