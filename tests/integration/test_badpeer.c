/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Peers that break the protocol, by mistake or on purpose, over raw sockets. Each is refused as
 * docs/protocol.md says, learns nothing by it, and the daemon serves the next one.
 */
#include <check.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "conf/certfile.h"
#include "daemon/store/store.h"
#include "proto/cert.h"
#include "proto/frame.h"
#include "proto/message.h"
#include "terminal-sim/load.h"
#include "tests/support/lab.h"
#include "tests/support/peer.h"
#include "tests/support/suite.h"

static struct lab lab;

static void found(void)
{
    lab_found(&lab, 2048);
}

static void abandon(void)
{
    lab_abandon(&lab);
}

/* A daemon with short deadlines, and terminals: T1 armed, BLOCKED, UNARMED. */
static void begin(const char *name)
{
    lab_begin(&lab, name);
    lab_set(&lab, "limits", "idle-timeout", "1s");
    lab_set(&lab, "limits", "handshake-timeout", "2s");
    lab_set(&lab, "limits", "connections", "8");
    lab_set(&lab, "limits", "connections-per-address", "4");
    lab_terminal(&lab, "T1", "tdes2");
    lab_register(&lab, "BLOCKED", "tdes2");
    lab_register(&lab, "UNARMED", "tdes2");
    free(lab_ctl(&lab, "terminal", "block", "BLOCKED", NULL));
    lab_arm(&lab, "T1", 50);
    lab_start(&lab);
}

/* It still serves, and all that went before has left no mark on the real terminal. */
static void end(void)
{
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_agree(&lab, "T1");
    lab_end(&lab);
}

/* ---- A peer of our own ---- */

static int dial(void)
{
    return peer_dial(lab.port);
}

static struct kl_msg hello_of(const char *serial)
{
    struct kl_msg msg = {.type = KL_MSG_HELLO};
    struct kl_hello *hello = &msg.u.hello;
    hello->version = KL_PROTOCOL_VERSION;
    hello->suite_count = 1;
    hello->suites[0] = KL_SUITE_HARDENED_RSA;
    hello->alg_count = 2;
    hello->algs[0] = KL_ALG_TDES2;
    hello->algs[1] = KL_ALG_AES128;
    snprintf(hello->serial, sizeof hello->serial, "%s", serial);
    snprintf(hello->pinpad_serial, sizeof hello->pinpad_serial, "P%s", serial);
    return msg;
}

static struct kl_msg randoms_of(size_t c_rnd1_len)
{
    struct kl_msg msg = {.type = KL_MSG_RANDOMS};
    msg.u.randoms.suite = KL_SUITE_HARDENED_RSA;
    msg.u.randoms.c_rnd1_len = c_rnd1_len;
    memset(msg.u.randoms.c_rnd1, 0x5a, c_rnd1_len);
    memset(msg.u.randoms.iv, 0x11, sizeof msg.u.randoms.iv);
    memset(msg.u.randoms.c_rnd2, 0x22, sizeof msg.u.randoms.c_rnd2);
    return msg;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- Malformed ---- */

START_TEST(test_bad_bytes)
{
    static const uint8_t zero_length[] = {0, 0}, too_long[] = {0x3f, 0xff},
                         not_der[] = {0, 5, 'G', 'E', 'T', ' ', '/'},
                         endless[] = {0, 6, 0xa0, 0x80, 2, 1, 1, 0};
    struct kl_msg hello = hello_of("T1");
    uint8_t frame[KL_FRAME_MAX];
    int fd;
    begin("bytes");
    size_t len = peer_frame_of(&hello, frame);

    peer_say(fd = dial(), zero_length, sizeof zero_length);
    peer_expect_error(fd, KL_WIRE_PROTOCOL);
    peer_say(fd = dial(), too_long, sizeof too_long); /* above [limits] message-size: at once */
    peer_expect_error(fd, KL_WIRE_PROTOCOL);
    peer_say(fd = dial(), not_der, sizeof not_der);
    peer_expect_error(fd, KL_WIRE_PROTOCOL);
    peer_say(fd = dial(), endless, sizeof endless);
    peer_expect_error(fd, KL_WIRE_PROTOCOL);

    frame[1]++; /* a byte after the one DER value */
    frame[len] = 0;
    peer_say(fd = dial(), frame, len + 1);
    peer_expect_error(fd, KL_WIRE_PROTOCOL);
    frame[1] -= 2; /* the value is cut off */
    peer_say(fd = dial(), frame, len - 1);
    peer_expect_error(fd, KL_WIRE_PROTOCOL);
    frame[1]++;
    for (size_t cut = 1; cut < len; cut += 7) { /* the peer goes away in the middle */
        peer_say(fd = dial(), frame, cut);
        close(fd);
    }
    end();
}
END_TEST

START_TEST(test_wrong_order)
{
    static const enum kl_msg_type first[] = {KL_MSG_RANDOMS, KL_MSG_LOADED, KL_MSG_FAILED,
                                             KL_MSG_DONE};
    struct kl_msg msg, hello = hello_of("T1"), randoms = randoms_of(256);
    uint8_t two[2 * KL_FRAME_MAX];
    int fd;
    begin("order");
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++) {
        msg = (struct kl_msg){.type = first[i]};
        if (first[i] == KL_MSG_RANDOMS) {
            msg = randoms;
        }
        if (first[i] == KL_MSG_LOADED) {
            msg.u.loaded.kcv_len = 3;
        }
        if (first[i] == KL_MSG_FAILED) {
            msg.u.failed.reason = KL_WIRE_REFUSED;
        }
        if (first[i] == KL_MSG_DONE) {
            msg.u.done = (struct kl_done){.verdict = KL_VERDICT_ACTIVE, .tmk_version = 1};
        }
        peer_say_msg(fd = dial(), &msg);
        peer_expect_error(fd, KL_WIRE_PROTOCOL);
    }
    peer_say_msg(fd = dial(), &hello);
    ck_assert_int_eq(peer_hear(fd, &msg), KL_MSG_CERTIFICATE);
    peer_say_msg(fd, &hello);
    peer_expect_error(fd, KL_WIRE_PROTOCOL);
    /* Speaking out of turn: Randoms before Certificate has come. */
    size_t len = peer_frame_of(&hello, two);
    len += peer_frame_of(&randoms, two + len);
    peer_say(fd = dial(), two, len);
    while (peer_hear(fd, &msg) == KL_MSG_CERTIFICATE) {
        ;
    }
    ck_assert_int_eq(msg.type, KL_MSG_ERROR);
    close(fd);
    end();
}
END_TEST

START_TEST(test_nothing_in_common)
{
    struct kl_msg msg;
    int fd;
    begin("common");
    msg = hello_of("T1");
    msg.u.hello.version = 2;
    peer_say_msg(fd = dial(), &msg);
    peer_expect_error(fd, KL_WIRE_UNSUPPORTED);
    msg = hello_of("T1");
    msg.u.hello.suites[0] = 200;
    peer_say_msg(fd = dial(), &msg);
    peer_expect_error(fd, KL_WIRE_UNSUPPORTED);
    msg = hello_of("T1"); /* registered for tdes2 */
    msg.u.hello.alg_count = 1;
    msg.u.hello.algs[0] = KL_ALG_AES256;
    peer_say_msg(fd = dial(), &msg);
    peer_expect_error(fd, KL_WIRE_UNSUPPORTED);
    end();
}
END_TEST

/* ---- Refused, and all in the same words ---- */

static void expect_refused(int fd, char *text)
{
    struct kl_msg msg;
    ck_assert_int_eq(peer_hear(fd, &msg), KL_MSG_ERROR);
    ck_assert_uint_eq(msg.u.error.code, KL_WIRE_REFUSED);
    ck_assert_uint_eq(msg.u.error.retry_after, 0);
    if (text[0] == '\0') {
        strcpy(text, msg.u.error.text);
    }
    ck_assert_str_eq(text, msg.u.error.text);
    close(fd);
}

START_TEST(test_refusals_are_alike)
{
    static const char *const serials[] = {"NOBODY", "BLOCKED", "UNARMED"};
    char text[KL_ERROR_TEXT_MAX + 1] = "";
    struct kl_msg msg, randoms;
    struct lab_tmk store[LAB_TMK_MAX];
    int fd;
    begin("alike");
    for (size_t i = 0; i < sizeof serials / sizeof serials[0]; i++) {
        msg = hello_of(serials[i]);
        peer_say_msg(fd = dial(), &msg);
        expect_refused(fd, text);
    }
    /* C_rnd1_rnd2 that is no ciphertext of this work key, and one of another key's length. */
    for (size_t len = 256; len <= 384; len += 128) {
        msg = hello_of("T1");
        peer_say_msg(fd = dial(), &msg);
        ck_assert_int_eq(peer_hear(fd, &msg), KL_MSG_CERTIFICATE);
        randoms = randoms_of(len);
        peer_say_msg(fd, &randoms);
        expect_refused(fd, text);
    }
    /* Confirm of what never was. */
    msg = (struct kl_msg){.type = KL_MSG_CONFIRM};
    msg.u.confirm = (struct kl_confirm){.version = KL_PROTOCOL_VERSION,
                                        .serial = "T1",
                                        .pinpad_serial = "PT1",
                                        .tmk_version = 7,
                                        .loaded = {.kcv_len = 3}};
    peer_say_msg(fd = dial(), &msg);
    expect_refused(fd, text);
    snprintf(msg.u.confirm.serial, sizeof msg.u.confirm.serial, "NOBODY");
    peer_say_msg(fd = dial(), &msg);
    expect_refused(fd, text);
    ck_assert_uint_eq(lab_store(&lab, "T1", store), 0);
    end();
}
END_TEST

/* Once a PIN pad has been seen, the serial with another one is refused. */
START_TEST(test_other_pinpad)
{
    char text[KL_ERROR_TEXT_MAX + 1] = "";
    struct kl_msg msg = hello_of("T1");
    int fd;
    begin("pinpad");
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_arm(&lab, "T1", 5);
    snprintf(msg.u.hello.pinpad_serial, sizeof msg.u.hello.pinpad_serial, "PX");
    peer_say_msg(fd = dial(), &msg);
    expect_refused(fd, text);
    end();
}
END_TEST

/* A MAC that is wrong in Loaded or Confirm makes nothing active. */
START_TEST(test_forged_confirm)
{
    const struct relay_plan plan = {.act = RELAY_CUT, .message = KL_MSG_LOADED};
    char text[KL_ERROR_TEXT_MAX + 1] = "";
    struct lab_tmk store[LAB_TMK_MAX];
    struct kl_msg msg = {.type = KL_MSG_CONFIRM};
    unsigned kcv[3];
    int fd;
    begin("forged");
    struct relay *relay = relay_start(0, lab.port, &plan);
    ck_assert_ptr_nonnull(relay);
    ck_assert_int_ne(lab_load(&lab, "T1", relay_port(relay)), 0);
    relay_stop(relay);
    ck_assert_uint_eq(lab_store(&lab, "T1", store), 1);
    ck_assert_int_eq(sscanf(store[0].kcv, "%2x%2x%2x", &kcv[0], &kcv[1], &kcv[2]), 3);
    msg.u.confirm = (struct kl_confirm){.version = KL_PROTOCOL_VERSION,
                                        .serial = "T1",
                                        .pinpad_serial = "PT1",
                                        .tmk_version = 1,
                                        .loaded = {.kcv_len = 3}};
    for (int i = 0; i < 3; i++) { /* the right KCV, which is no secret; MAC all zeros */
        msg.u.confirm.loaded.kcv[i] = (uint8_t)kcv[i];
    }
    peer_say_msg(fd = dial(), &msg);
    expect_refused(fd, text);
    ck_assert_uint_eq(lab_store(&lab, "T1", store), 1);
    ck_assert_str_eq(store[0].state, "pending");
    end();
}
END_TEST

/* ---- Out of turn, with a real terminal's messages ---- */

/* A terminal T1 in this process, so that the test has every byte of its in hand. */
struct own {
    struct kl_terminal_load_params params;
    struct kl_pinpad *pad;
    STACK_OF(X509) * roots;
    struct kl_terminal_load *load;
    int fd;
    uint8_t der[KL_MSG_MAX]; /* its next message */
    size_t len;
};

static void own_init(struct own *own)
{
    char path[PATH_MAX];
    struct kl_err err = KL_ERR_INIT;

    *own = (struct own){.fd = -1};
    ck_assert_int_eq(kl_pinpad_memory_new(&own->pad, &err), KL_OK);
    ck_assert_int_eq(kl_cert_load_pem(file_path(path, lab.dir, "root.pem"), &own->roots, &err),
                     KL_OK);
    own->params = (struct kl_terminal_load_params){.serial = "T1",
                                                   .pinpad_serial = "PT1",
                                                   .roots = own->roots,
                                                   .pad = own->pad,
                                                   .suites = {KL_SUITE_HARDENED_RSA},
                                                   .suite_count = 1,
                                                   .algs = {KL_ALG_TDES2},
                                                   .alg_count = 1,
                                                   .now = time(NULL)};
}

static void own_free(struct own *own)
{
    kl_terminal_load_free(own->load);
    kl_pinpad_free(own->pad);
    sk_X509_pop_free(own->roots, X509_free);
    close(own->fd);
}

/* A new connection; Hello is ready. */
static void own_begin(struct own *own)
{
    struct kl_err err = KL_ERR_INIT;

    kl_terminal_load_free(own->load);
    own->load = NULL;
    ck_assert_int_eq(kl_terminal_load_new(&own->params, &own->load, &err), KL_OK);
    ck_assert_int_eq(kl_terminal_load_hello(own->load, own->der, &own->len, &err), KL_OK);
    own->fd = dial();
}

/* Says what is ready, and `early` bytes more that nobody has asked for. */
static void own_say(struct own *own, size_t early)
{
    uint8_t frame[KL_FRAME_HEADER + KL_MSG_MAX + 8] = {(uint8_t)(own->len >> 8), (uint8_t)own->len};

    memcpy(frame + KL_FRAME_HEADER, own->der, own->len);
    peer_say(own->fd, frame, KL_FRAME_HEADER + own->len + early);
}

/* Takes the daemon's answer, whose type it must be, and makes what is to be said next. */
static void own_step(struct own *own, int type)
{
    uint8_t header[KL_FRAME_HEADER], in[KL_MSG_MAX];
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg;
    size_t len;

    ck_assert(peer_hear_bytes(own->fd, header, sizeof header));
    ck_assert_int_eq(kl_frame_length(header, KL_MSG_MAX, &len, &err), KL_OK);
    ck_assert(peer_hear_bytes(own->fd, in, len));
    ck_assert_int_eq(kl_msg_decode(in, len, &msg, &err), KL_OK);
    ck_assert_int_eq(msg.type, type);
    ck_assert_msg(kl_terminal_load_step(own->load, in, len, own->der, &own->len, &err) == KL_OK,
                  "%s", err.text);
}

/* Up to Randoms, which are ready. */
static void own_to_randoms(struct own *own)
{
    own_begin(own);
    own_say(own, 0);
    own_step(own, KL_MSG_CERTIFICATE);
}

static int attempts_left(void)
{
    char *text = lab_ctl(&lab, "terminal", "show", "T1", "--json", NULL);
    json_t *json = json_loads(text, 0, NULL);
    int left = (int)json_integer_value(json_object_get(json, "attempts_left"));

    json_decref(json);
    free(text);
    return left;
}

/* The daemon answers before the store has it; so it is waited for. */
static void expect_attempts(int want)
{
    for (int ms = 0; ms < proc_seconds(5) * 1000 && attempts_left() != want; ms += 50) {
        proc_sleep_ms(50);
    }
    ck_assert_int_eq(attempts_left(), want);
}

/* A byte too early, while the load waits for the store (after Hello) or is in the HSM (after
 * Randoms that are good): the load is over, and what the HSM makes of it goes nowhere. It costs an
 * attempt only if the HSM had begun. */
START_TEST(test_early_byte)
{
    struct lab_tmk store[LAB_TMK_MAX];
    struct own own;

    begin("early");
    own_init(&own);
    for (int round = 0; round < 10; round++) {
        own_begin(&own);
        own_say(&own, 1);
        peer_expect_error(own.fd, KL_WIRE_PROTOCOL);
        own_to_randoms(&own);
        own_say(&own, 1);
        peer_expect_error(own.fd, KL_WIRE_PROTOCOL);
    }
    own.fd = -1;
    own_free(&own);
    ck_assert(lab_logged(&lab, "before its turn", 5));
    ck_assert_int_ge(attempts_left(), 40);
    /* One HSM worker and one store thread: after this load all that was under way is over. */
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_settled(&lab, "T1", 1);
    ck_assert_uint_eq(lab_store(&lab, "T1", store), 1);
    lab_end(&lab);
}
END_TEST

/* The same while the candidate waits for the store, which somebody holds up: it may still become
 * pending, since the store thread has it, but MasterKey is never sent. */
START_TEST(test_early_byte_while_pending)
{
    struct lab_tmk tmks[LAB_TMK_MAX];
    struct kl_err err = KL_ERR_INIT;
    struct kl_store *store = NULL;
    struct own own;
    size_t pending;

    begin("early-pending");
    lab_stop(&lab);
    lab_set(&lab, "limits", "handshake-timeout", "20s");
    lab_set(&lab, "limits", "idle-timeout", "20s");
    lab_start(&lab);
    own_init(&own);
    own_to_randoms(&own);
    ck_assert_int_eq(kl_store_open(lab.store, KL_STORE_WRITE, &store, &err), KL_OK);
    ck_assert_int_eq(kl_store_begin(store, &err), KL_OK);
    own_say(&own, 0);
    proc_sleep_ms(1000); /* for the HSM */
    peer_say(own.fd, "", 1);
    peer_expect_error(own.fd, KL_WIRE_PROTOCOL);
    kl_store_free(store);
    own.fd = -1;
    own_free(&own);
    proc_sleep_ms(500);
    pending = lab_store(&lab, "T1", tmks);
    ck_assert_uint_le(pending, 1);
    ck_assert_int_eq(attempts_left(), 50 - (int)pending);
    end();
}
END_TEST

/* While the HSM works on a load of a serial it works on no other; a second connection does not
 * disturb the first, neither before nor after. */
START_TEST(test_second_connection)
{
    struct kl_msg hello = hello_of("T1"), garbage = randoms_of(256), msg;
    pid_t workers[8];
    struct own own;
    size_t count;
    int fd;

    begin("second");
    own_init(&own);
    own_to_randoms(&own);
    peer_say_msg(fd = dial(), &hello);
    ck_assert_int_eq(peer_hear(fd, &msg), KL_MSG_CERTIFICATE);
    count = proc_children(lab.daemon.pid, workers, 8);
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(kill(workers[i], SIGSTOP), 0);
    }
    own_say(&own, 0);
    proc_sleep_ms(200);
    peer_say_msg(fd, &garbage);
    peer_expect_error(fd, KL_WIRE_BUSY);
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(kill(workers[i], SIGCONT), 0);
    }
    own_step(&own, KL_MSG_MASTER_KEY);
    peer_say_msg(fd = dial(), &hello);
    ck_assert_int_eq(peer_hear(fd, &msg), KL_MSG_CERTIFICATE);
    close(fd);
    own_say(&own, 0);
    own_step(&own, KL_MSG_DONE);
    ck_assert_uint_eq(own.len, 0);
    ck_assert_int_eq(kl_terminal_load_verdict(own.load), KL_VERDICT_ACTIVE);
    own_free(&own);
    lab_arm(&lab, "T1", 5);
    end();
}
END_TEST

/* Every C_rnd1_rnd2 that the HSM had to look at in vain costs an attempt; with the last one the
 * terminal is armed no more. */
START_TEST(test_bad_randoms_spend)
{
    char text[KL_ERROR_TEXT_MAX + 1] = "";
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg, hello = hello_of("T1"), garbage = randoms_of(256);
    struct lab_tmk store[LAB_TMK_MAX];
    uint8_t frame[KL_FRAME_MAX];
    struct own own;
    int fd;

    begin("spend");
    lab_arm(&lab, "T1", 3);
    for (int left = 2; left >= 1; left--) { /* no ciphertext of this key */
        peer_say_msg(fd = dial(), &hello);
        ck_assert_int_eq(peer_hear(fd, &msg), KL_MSG_CERTIFICATE);
        peer_say_msg(fd, &garbage);
        expect_refused(fd, text);
        expect_attempts(left);
    }
    own_init(&own);
    own_to_randoms(&own); /* a good Rnd1, but Rnd2 is not sealed under it */
    ck_assert_int_eq(kl_msg_decode(own.der, own.len, &msg, &err), KL_OK);
    msg.u.randoms.c_rnd2[0] ^= 1;
    peer_say(own.fd, frame, peer_frame_of(&msg, frame));
    expect_refused(own.fd, text);
    own.fd = -1;
    own_free(&own);
    expect_attempts(0);
    peer_say_msg(fd = dial(), &hello);
    expect_refused(fd, text);
    ck_assert(lab_logged(&lab, "its attempts are used up", 5));
    ck_assert_uint_eq(lab_store(&lab, "T1", store), 0);
    lab_arm(&lab, "T1", 5);
    end();
}
END_TEST

/* Connections that were admitted while there was an attempt left do not each have one: once it is
 * spent the HSM works for none of them. */
START_TEST(test_one_attempt_for_many)
{
    enum { MANY = 3 };
    char text[KL_ERROR_TEXT_MAX + 1] = "";
    struct kl_msg msg, hello = hello_of("T1"), garbage = randoms_of(256);
    int fds[MANY];

    begin("many-admitted");
    lab_arm(&lab, "T1", 1);
    for (int i = 0; i < MANY; i++) {
        peer_say_msg(fds[i] = dial(), &hello);
        ck_assert_int_eq(peer_hear(fds[i], &msg), KL_MSG_CERTIFICATE);
    }
    peer_say_msg(fds[0], &garbage);
    expect_refused(fds[0], text);
    for (int i = 1; i < MANY; i++) {
        peer_expect_error(fds[i], KL_WIRE_BUSY);
    }
    peer_say_msg(fds[0] = dial(), &hello);
    expect_refused(fds[0], text);
    ck_assert_int_eq(attempts_left(), 0);
    lab_arm(&lab, "T1", 5);
    end();
}
END_TEST

/* ---- Slow, and many ---- */

START_TEST(test_silent_peer)
{
    double from;
    int fd;
    begin("silent");
    fd = dial();
    from = now();
    peer_expect_error(fd, KL_WIRE_TIMEOUT);
    ck_assert_double_ge(now() - from, 0.8); /* idle-timeout is 1 s */
    ck_assert_double_le(now() - from, 1.0 + proc_seconds(2));
    end();
}
END_TEST

/* Bytes of one message do not count as messages: the deadlines run on. */
START_TEST(test_dripping_peer)
{
    struct kl_msg hello = hello_of("T1"), msg;
    uint8_t frame[KL_FRAME_MAX], byte;
    double from;
    int fd, open = 1;
    size_t sent = 0;
    begin("drip");
    ck_assert_uint_gt(peer_frame_of(&hello, frame), 20);
    fd = dial();
    for (from = now(); open && now() - from < proc_seconds(8);) {
        peer_say(fd, frame + sent++, 1);
        proc_sleep_ms(300);
        open = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
    }
    ck_assert_msg(!open, "still open after %.1f s and %zu bytes", now() - from, sent);
    ck_assert_double_le(now() - from, 2.0 + proc_seconds(1));
    ck_assert_int_eq(peer_hear(fd, &msg), KL_MSG_ERROR);
    ck_assert_uint_eq(msg.u.error.code, KL_WIRE_TIMEOUT);
    close(fd);
    end();
}
END_TEST

/* The whole load has a deadline too, however busy the peer keeps it. */
START_TEST(test_slow_load)
{
    const struct relay_plan plan = {.act = RELAY_DRIP, .message = KL_MSG_RANDOMS};
    double from = now();
    begin("slow");
    struct relay *relay = relay_start(0, lab.port, &plan);
    ck_assert_ptr_nonnull(relay);
    ck_assert_int_ne(lab_load(&lab, "T1", relay_port(relay)), 0);
    relay_stop(relay);
    ck_assert_double_le(now() - from, 2.0 + proc_seconds(8));
    ck_assert(lab_logged(&lab, "rc=timeout", 5));
    end();
}
END_TEST

START_TEST(test_too_many)
{
    int held[4], fd;
    begin("many");
    for (int i = 0; i < 4; i++) {
        held[i] = dial();
    }
    fd = dial();
    peer_expect_error(fd, KL_WIRE_BUSY);
    for (int i = 0; i < 4; i++) {
        close(held[i]);
    }
    proc_sleep_ms(200);
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("badpeer");
    TCase *tcase = tcase_create("peers");
    tcase_add_unchecked_fixture(tcase, found, abandon);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_bad_bytes);
    tcase_add_test(tcase, test_wrong_order);
    tcase_add_test(tcase, test_nothing_in_common);
    tcase_add_test(tcase, test_refusals_are_alike);
    tcase_add_test(tcase, test_other_pinpad);
    tcase_add_test(tcase, test_forged_confirm);
    tcase_add_test(tcase, test_early_byte);
    tcase_add_test(tcase, test_early_byte_while_pending);
    tcase_add_test(tcase, test_second_connection);
    tcase_add_test(tcase, test_bad_randoms_spend);
    tcase_add_test(tcase, test_one_attempt_for_many);
    tcase_add_test(tcase, test_silent_peer);
    tcase_add_test(tcase, test_dripping_peer);
    tcase_add_test(tcase, test_slow_load);
    tcase_add_test(tcase, test_too_many);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
