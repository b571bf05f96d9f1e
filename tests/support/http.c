/* SPDX-License-Identifier: BSD-2-Clause */
/* A client of HTTP over loopback. */
#include "tests/support/http.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int http_connect(uint16_t port)
{
    const struct timeval limit = {.tv_sec = HTTP_SECONDS};
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons(port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, (const struct sockaddr *)(const void *)&to, sizeof(to)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int http_send(int fd, const char *text)
{
    size_t len = strlen(text);

    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return 0;
        }
        text += n;
        len -= (size_t)n;
    }
    return 1;
}

char *http_rest(int fd)
{
    char *text = NULL, piece[4096];
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    ssize_t n;

    ck_assert_ptr_nonnull(out);
    while ((n = recv(fd, piece, sizeof(piece), 0)) > 0) {
        fwrite(piece, 1, (size_t)n, out);
    }
    close(fd);
    ck_assert_int_eq(fclose(out), 0);
    return text;
}

char *http_ask(uint16_t port, const char *request)
{
    int fd = http_connect(port);

    ck_assert_int_ge(fd, 0);
    (void)http_send(fd, request);
    return http_rest(fd);
}

char *http_get(uint16_t port, const char *path)
{
    char request[256];

    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", path, port);
    return http_ask(port, request);
}

int http_status(const char *answer)
{
    int status = 0;

    return sscanf(answer, "HTTP/1.%*1[01] %d", &status) == 1 ? status : 0;
}

const char *http_body(const char *answer)
{
    const char *gap = strstr(answer, "\r\n\r\n");

    return gap != NULL ? gap + 4 : "";
}
