/* SPDX-License-Identifier: BSD-2-Clause */
/* A peer of the daemon over a raw socket. */
#include "tests/support/peer.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/proc.h"

int peer_dial(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = proc_seconds(10)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

void peer_say(int fd, const void *data, size_t len)
{
    (void)!send(fd, data, len, MSG_NOSIGNAL); /* the daemon may have closed already */
}

size_t peer_frame_of(const struct kl_msg *msg, uint8_t out[KL_FRAME_MAX])
{
    struct kl_err err = KL_ERR_INIT;
    size_t len;
    ck_assert_msg(kl_frame_encode(msg, out, &len, &err) == KL_OK, "%s", err.text);
    return len;
}

void peer_say_msg(int fd, const struct kl_msg *msg)
{
    uint8_t frame[KL_FRAME_MAX];
    peer_say(fd, frame, peer_frame_of(msg, frame));
}

int peer_hear_bytes(int fd, uint8_t *out, size_t len)
{
    for (size_t have = 0; have < len;) {
        ssize_t n = recv(fd, out + have, len - have, 0);
        if (n <= 0) {
            return 0;
        }
        have += (size_t)n;
    }
    return 1;
}

int peer_hear(int fd, struct kl_msg *out)
{
    static uint8_t der[KL_MSG_MAX];
    uint8_t header[KL_FRAME_HEADER];
    struct kl_err err = KL_ERR_INIT;
    size_t len;
    if (!peer_hear_bytes(fd, header, sizeof header)) {
        return PEER_CLOSED;
    }
    ck_assert_int_eq(kl_frame_length(header, KL_MSG_MAX, &len, &err), KL_OK);
    if (!peer_hear_bytes(fd, der, len)) {
        return PEER_CLOSED;
    }
    ck_assert_msg(kl_msg_decode(der, len, out, &err) == KL_OK, "%s", err.text);
    return (int)out->type;
}

void peer_expect_error(int fd, unsigned code)
{
    struct kl_msg msg;
    uint8_t more;
    ck_assert_int_eq(peer_hear(fd, &msg), KL_MSG_ERROR);
    ck_assert_uint_eq(msg.u.error.code, code);
    ck_assert_int_eq(recv(fd, &more, 1, 0), 0);
    close(fd);
}
