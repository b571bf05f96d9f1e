/* SPDX-License-Identifier: BSD-2-Clause */
/* Syslog for what must arrive. */
#include "conf/syslog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 2048

struct kl_syslog {
    struct sockaddr_un address;
    const char *program;
    int priority;
    int fd; /* -1 = not connected */
};

enum kl_rc kl_syslog_new(const char *path, const char *program, int priority,
                         struct kl_syslog **out, struct kl_err *err)
{
    struct kl_syslog *log = calloc(1, sizeof(*log));
    size_t len = strlen(path);

    if (!log) {
        return kl_err_set(err, KL_ERR_MEMORY, "syslog");
    }
    if (len >= sizeof(log->address.sun_path)) {
        free(log);
        return kl_err_set(err, KL_ERR_CONFIG, "%.100s...: too long for a socket", path);
    }
    log->address.sun_family = AF_UNIX;
    memcpy(log->address.sun_path, path, len + 1);
    log->program = program;
    log->priority = priority;
    log->fd = -1;
    *out = log;
    return KL_OK;
}

static void hang_up(struct kl_syslog *log)
{
    if (log->fd >= 0) {
        close(log->fd);
        log->fd = -1;
    }
}

void kl_syslog_free(struct kl_syslog *log)
{
    if (log) {
        hang_up(log);
        free(log);
    }
}

static enum kl_rc dial(struct kl_syslog *log, struct kl_err *err)
{
    if (log->fd >= 0) {
        return KL_OK;
    }
    log->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (log->fd < 0) {
        return kl_err_errno(err, "socket", "syslog");
    }
    if (connect(log->fd, (const struct sockaddr *)&log->address, sizeof(log->address)) != 0) {
        int number = errno;
        hang_up(log);
        return kl_err_native(err, KL_ERR_UNAVAILABLE, KL_ERR_SOURCE_ERRNO, (unsigned long)number,
                             "connect", "%s: no syslog there: %s", log->address.sun_path,
                             strerror(number));
    }
    return KL_OK;
}

enum kl_rc kl_syslog_send(struct kl_syslog *log, const char *line, struct kl_err *err)
{
    char text[LINE_BYTES], stamp[32] = "";
    time_t now = time(NULL);
    struct tm tm;
    int len;
    enum kl_rc rc = dial(log, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (localtime_r(&now, &tm)) {
        (void)strftime(stamp, sizeof(stamp), "%h %e %T", &tm);
    }
    len = snprintf(text, sizeof(text), "<%d>%s %s[%ld]: %s", log->priority, stamp, log->program,
                   (long)getpid(), line);
    if (len >= (int)sizeof(text)) {
        len = (int)sizeof(text) - 1;
    }
    if (send(log->fd, text, (size_t)len, MSG_NOSIGNAL) == len) {
        return KL_OK;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == EINTR) {
        return kl_err_set(err, KL_ERR_BUSY, "syslog takes nothing just now");
    }
    /* It was started anew: the socket is another one. */
    rc = kl_err_native(err, KL_ERR_UNAVAILABLE, KL_ERR_SOURCE_ERRNO, (unsigned long)errno, "send",
                       "%s: syslog is gone: %s", log->address.sun_path, strerror(errno));
    hang_up(log);
    return rc;
}
