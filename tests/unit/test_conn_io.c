/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a connection does with a socket that neither takes nor gives everything at once. The rest of
 * it, conn.c and handshake.c, is this file's own, and keeps what it is told.
 */
#include <check.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/loader/conn_impl.h"
#include "proto/frame.h"
#include "tests/support/suite.h"

#define MESSAGES 64
#define LEN 8000 /* more than the socket holds */
#define FRAME (KL_FRAME_HEADER + LEN)

static struct kl_service service;
static struct kl_config config = {.message_size = 8192};
static struct kl_conn conn;
static int peer;
static uint8_t message[MESSAGES][LEN], got[MESSAGES * FRAME];
static size_t have; /* of got */

/* ---- The rest of a connection ---- */

static struct {
    size_t messages, len; /* how many have come; of all that was in them */
    uint8_t bytes[4 * LEN];
    size_t bad; /* this one, counted from 1, breaks the protocol */
    enum kl_rc refused;
    const char *lost;
} told;

int kl_conn_waits_for_peer(enum kl_conn_state state)
{
    return state == KL_CONN_FIRST;
}

enum kl_rc kl_handshake_message(struct kl_conn *c, const uint8_t *der, size_t len,
                                struct kl_err *err)
{
    ck_assert_ptr_eq(c, &conn);
    ck_assert_uint_le(told.len + len, sizeof(told.bytes));
    memcpy(told.bytes + told.len, der, len);
    told.len += len;
    told.messages++;
    return told.messages == told.bad ? kl_err_set(err, KL_ERR_VERIFY, "the bad one") : KL_OK;
}

void kl_conn_refuse(struct kl_conn *c, const struct kl_err *err)
{
    told.refused = err->rc;
    c->state = KL_CONN_CLOSING;
}

void kl_conn_lost(struct kl_conn *c, const char *why)
{
    ck_assert_ptr_eq(c, &conn);
    told.lost = why;
}

/* ---- A connection, and its peer ---- */

static void begin(void)
{
    const int small = 1; /* the least that the system has */
    int fds[2];

    service.base = event_base_new();
    ck_assert_ptr_nonnull(service.base);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    ck_assert_int_eq(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    conn = (struct kl_conn){.service = &service, .config = &config, .fd = fds[0]};
    peer = fds[1];
    have = 0;
    memset(&told, 0, sizeof(told));
    service.metrics.malformed = 0;
    kl_conn_open_io(&conn);
    for (size_t i = 0; i < MESSAGES; i++) {
        memset(message[i], (int)i, LEN);
    }
}

static void end(void)
{
    kl_conn_close_io(&conn);
    event_base_free(service.base);
    if (peer >= 0) {
        close(peer);
    }
}

/* What is there, without the loop's having a turn. */
static void receive_some(void)
{
    ssize_t n;

    while (have < sizeof(got) && (n = recv(peer, got + have, sizeof(got) - have, 0)) > 0) {
        have += (size_t)n;
    }
}

/* With room in the socket for what comes later, now and then. */
static void send_all(void)
{
    struct kl_err err = KL_ERR_INIT;

    for (size_t i = 0; i < MESSAGES; i++) {
        ck_assert_int_eq(kl_conn_send_der(&conn, message[i], LEN, &err), KL_OK);
        if (i % 8 == 7 && peer >= 0) {
            receive_some();
        }
    }
}

/* Everything has come, in order. */
static void receive_all(void)
{
    while (receive_some(), have < sizeof(got)) {
        ck_assert_int_eq(event_base_loop(service.base, EVLOOP_ONCE), 0);
    }
    for (size_t i = 0; i < MESSAGES; i++) {
        const uint8_t *frame = got + i * FRAME;

        ck_assert_uint_eq((size_t)frame[0] << 8 | frame[1], LEN);
        ck_assert_mem_eq(frame + KL_FRAME_HEADER, message[i], LEN);
    }
}

START_TEST(test_rest_is_kept_and_sent)
{
    begin();
    send_all();
    ck_assert_uint_gt(conn.out_len, 0);
    receive_all();
    ck_assert_uint_eq(conn.out_len, 0);
    ck_assert_ptr_null(conn.out);
    end();
}
END_TEST

START_TEST(test_half_close_comes_last)
{
    uint8_t byte;

    begin();
    send_all();
    conn.state = KL_CONN_CLOSING;
    kl_conn_half_close(&conn);
    receive_all();
    while (recv(peer, &byte, 1, 0) != 0) {
        ck_assert_int_eq(event_base_loop(service.base, EVLOOP_ONCE), 0);
    }
    end();
}
END_TEST

/* Nothing is waiting: the loop has nothing to do with it. */
START_TEST(test_short_message_goes_at_once)
{
    struct kl_err err = KL_ERR_INIT;

    begin();
    ck_assert_int_eq(kl_conn_send_der(&conn, (const uint8_t *)"hello", 5, &err), KL_OK);
    receive_some();
    ck_assert_uint_eq(have, KL_FRAME_HEADER + 5);
    ck_assert_mem_eq(got, "\0\5hello", have);
    end();
}
END_TEST

START_TEST(test_gone_peer_takes_everything)
{
    begin();
    close(peer);
    peer = -1;
    send_all();
    ck_assert_uint_eq(conn.out_len, 0);
    end();
}
END_TEST

/* ---- Receiving ---- */

/* The peer sends, and the loop has a turn. */
static void say(const void *bytes, size_t len)
{
    ck_assert_int_eq(send(peer, bytes, len, 0), (ssize_t)len);
    ck_assert_int_eq(event_base_loop(service.base, EVLOOP_ONCE), 0);
}

START_TEST(test_message_in_pieces)
{
    static const uint8_t frame[] = "\0\5hello";

    begin();
    for (size_t i = 0; i < KL_FRAME_HEADER + 5; i++) {
        ck_assert_uint_eq(told.messages, 0);
        ck_assert_uint_eq(conn.in_len, i);
        say(frame + i, 1);
    }
    ck_assert_uint_eq(told.messages, 1);
    ck_assert_uint_eq(told.len, 5);
    ck_assert_mem_eq(told.bytes, "hello", 5);
    ck_assert_uint_eq(conn.in_len, 0);
    ck_assert_ptr_null(conn.in);
    end();
}
END_TEST

START_TEST(test_messages_at_once)
{
    begin();
    say("\0\1a\0\2bb\0\3c", 10); /* two, and some of a third */
    ck_assert_uint_eq(told.messages, 2);
    ck_assert_uint_eq(conn.in_len, 3);
    say("cc\0", 3);
    ck_assert_uint_eq(told.messages, 3);
    ck_assert_uint_eq(told.len, 6);
    ck_assert_mem_eq(told.bytes, "abbccc", 6);
    ck_assert_uint_eq(conn.in_len, 1);
    ck_assert_int_eq(told.refused, KL_OK);
    end();
}
END_TEST

/* As long as a message may be; and one longer, of which no byte but the header is waited for. */
START_TEST(test_longest_message)
{
    static uint8_t frame[KL_FRAME_HEADER + 8192] = {8192 >> 8, 0};

    begin();
    say(frame, sizeof(frame));
    ck_assert_uint_eq(told.messages, 1);
    ck_assert_uint_eq(told.len, 8192);
    say("\x20\x01", 2);
    ck_assert_uint_eq(told.messages, 1);
    ck_assert_int_eq(told.refused, KL_ERR_PROTOCOL);
    ck_assert_uint_eq(service.metrics.malformed, 1);
    ck_assert_ptr_null(conn.in);
    end();
}
END_TEST

/* What follows a message that is refused is not looked at, then or later. */
START_TEST(test_nothing_after_a_refusal)
{
    begin();
    told.bad = 1;
    say("\0\1a\0\1b", 6);
    say("\0\1c", 3);
    ck_assert_uint_eq(told.messages, 1);
    ck_assert_int_eq(told.refused, KL_ERR_VERIFY);
    ck_assert_ptr_null(conn.in);
    end();
}
END_TEST

START_TEST(test_out_of_turn)
{
    begin();
    conn.state = KL_CONN_HSM;
    say("", 1);
    ck_assert_int_eq(told.refused, KL_ERR_PROTOCOL);
    ck_assert_uint_eq(told.messages, 0);
    end();
}
END_TEST

START_TEST(test_end_of_stream)
{
    begin();
    say("\0\5hel", 5); /* half a message */
    ck_assert_ptr_null(told.lost);
    close(peer);
    peer = -1;
    ck_assert_int_eq(event_base_loop(service.base, EVLOOP_ONCE), 0);
    ck_assert_str_eq(told.lost, "end of stream");
    ck_assert_uint_eq(told.messages, 0);
    end();
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("conn_io");
    TCase *tc = tcase_create("conn_io");

    tcase_add_test(tc, test_rest_is_kept_and_sent);
    tcase_add_test(tc, test_half_close_comes_last);
    tcase_add_test(tc, test_short_message_goes_at_once);
    tcase_add_test(tc, test_gone_peer_takes_everything);
    tcase_add_test(tc, test_message_in_pieces);
    tcase_add_test(tc, test_messages_at_once);
    tcase_add_test(tc, test_longest_message);
    tcase_add_test(tc, test_nothing_after_a_refusal);
    tcase_add_test(tc, test_out_of_turn);
    tcase_add_test(tc, test_end_of_stream);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return test_run(suite());
}
