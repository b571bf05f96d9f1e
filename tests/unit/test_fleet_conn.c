/* SPDX-License-Identifier: BSD-2-Clause */
/* A fleet's connection: messages come whole and in order, however the peer cuts them up. */
#include "terminal-sim/fleet/fleet_conn.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "proto/frame.h"
#include "proto/message.h"
#include "tests/support/suite.h"

#define PATIENCE_S 60

static struct event_base *base;
static struct kl_fleet_conn *conn;
static int peer;                              /* the loader's end */
static int opened, messages, wanted, free_at; /* free_at: the message that ends the connection */
static char text[64];                         /* first bytes of the messages, in order */
static size_t last_len;
static struct kl_err ended;
static int answers; /* to the first message: with so much that the system does not take it */

static void on_opened(void *arg)
{
    (void)arg;
    opened = 1;
    event_base_loopbreak(base);
}

static void on_message(void *arg, const uint8_t *der, size_t len)
{
    (void)arg;
    text[messages++] = (char)der[0];
    last_len = len;
    if (answers && messages == 1) {
        static const uint8_t answer[KL_MSG_MAX];
        struct kl_err err = KL_ERR_INIT;

        while (kl_fleet_conn_send(conn, answer, sizeof(answer), &err) == KL_OK) {
        }
    }
    if (messages == free_at) {
        kl_fleet_conn_free(conn);
        conn = NULL;
    }
    if (messages == wanted) {
        event_base_loopbreak(base);
    }
}

static void on_ended(void *arg, const struct kl_err *err)
{
    (void)arg;
    ended = *err;
    event_base_loopbreak(base);
}

static void begin(void)
{
    static const struct timeval patience = {.tv_sec = PATIENCE_S};
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct kl_err err = KL_ERR_INIT;
    struct kl_fleet_dial dial = {.to = (struct sockaddr *)&address,
                                 .to_len = sizeof(address),
                                 .deadline = &patience,
                                 .opened = on_opened,
                                 .message = on_message,
                                 .ended = on_ended};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    dial.base = base = event_base_new();
    ck_assert_int_eq(kl_fleet_conn_open(&dial, &conn, &err), KL_OK);
    event_base_dispatch(base);
    ck_assert_int_eq(opened, 1);
    peer = accept(listener, NULL, NULL);
    ck_assert_int_ge(peer, 0);
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    close(listener);
}

static void end(void)
{
    kl_fleet_conn_free(conn);
    close(peer);
    event_base_free(base);
}

static void say(const void *data, size_t len)
{
    ck_assert_int_eq(write(peer, data, len), (ssize_t)len);
}

/* Until there are so many messages in all. */
static void await(int count)
{
    wanted = count;
    event_base_dispatch(base);
    ck_assert_int_eq(messages, count);
}

/* What has come is looked at; nothing else happens. */
static void look(void)
{
    event_base_loop(base, EVLOOP_NONBLOCK);
}

START_TEST(test_byte_by_byte)
{
    static const char frame[] = "\0\3abc";

    begin();
    for (size_t i = 0; i + 1 < sizeof(frame) - 1; i++) {
        say(frame + i, 1);
        look();
        ck_assert_int_eq(messages, 0);
    }
    say(frame + sizeof(frame) - 2, 1);
    await(1);
    ck_assert_uint_eq(last_len, 3);
    end();
}
END_TEST

START_TEST(test_several_at_once)
{
    begin();
    say("\0\1a\0\2bb\0\1c\0\4d", 13);
    await(3);
    ck_assert_uint_eq(last_len, 1);
    look();
    ck_assert_int_eq(messages, 3);
    say("ddd\0\1e", 6);
    await(5);
    ck_assert_str_eq(text, "abcde");
    end();
}
END_TEST

START_TEST(test_longest)
{
    static uint8_t frame[KL_FRAME_MAX];

    begin();
    memset(frame, 'x', sizeof(frame));
    kl_frame_header(KL_MSG_MAX, frame);
    say(frame, sizeof(frame));
    say(frame, sizeof(frame));
    await(2);
    ck_assert_uint_eq(last_len, KL_MSG_MAX);
    end();
}
END_TEST

static void read_all(evutil_socket_t fd, short what, void *arg)
{
    static uint8_t gone[1 << 16];

    (void)what;
    (void)arg;
    while (recv(fd, gone, sizeof(gone), MSG_DONTWAIT) > 0) {
    }
}

/* What is behind a message is not forgotten over an answer that must wait. */
START_TEST(test_answered_at_length)
{
    struct event *reading;

    begin();
    answers = 1;
    reading = event_new(base, peer, EV_READ | EV_PERSIST, read_all, NULL);
    say("\0\1a\0\1b\0\1c", 9);
    await(1);
    event_add(reading, NULL);
    await(3);
    ck_assert_str_eq(text, "abc");
    event_free(reading);
    end();
}
END_TEST

/* Whoever gets a message may free the connection, whatever is behind it. */
START_TEST(test_freed_by_the_first)
{
    begin();
    free_at = 1;
    say("\0\1a\0\1b", 6);
    await(1);
    look();
    ck_assert_int_eq(messages, 1);
    ck_assert_ptr_null(conn);
    end();
}
END_TEST

START_TEST(test_no_frame)
{
    static const char *const frames[] = {"\0\1a\0\0", "\0\1a\xff\xff"};

    begin();
    say(frames[_i], 5);
    await(1);
    event_base_dispatch(base);
    ck_assert_int_eq(ended.rc, KL_ERR_PROTOCOL);
    end();
}
END_TEST

START_TEST(test_last_words)
{
    begin();
    say("\0\1a\0\5b", 6);
    shutdown(peer, SHUT_WR);
    await(1);
    event_base_dispatch(base);
    ck_assert_int_eq(ended.rc, KL_ERR_CLOSED);
    ck_assert_int_eq(messages, 1);
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fleet_conn");
    TCase *tcase = tcase_create("fleet_conn");

    tcase_set_timeout(tcase, 2 * PATIENCE_S);
    tcase_add_test(tcase, test_byte_by_byte);
    tcase_add_test(tcase, test_several_at_once);
    tcase_add_test(tcase, test_longest);
    tcase_add_test(tcase, test_answered_at_length);
    tcase_add_test(tcase, test_freed_by_the_first);
    tcase_add_loop_test(tcase, test_no_frame, 0, 2);
    tcase_add_test(tcase, test_last_words);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
