/* SPDX-License-Identifier: BSD-2-Clause */
/* The monitor's HTTP side against clients of every kind. */
#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/monitor/histogram.h"
#include "daemon/monitor/monitor_http.h"
#include "daemon/monitor/monitor_where.h"
#include "proto/clock.h"
#include "tests/support/http.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"

#define GOOD "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"

static struct kl_monitor_http *http;
static struct kl_err err;
static uint16_t port;

static struct kl_monitor_view *a_view(const char *metrics, int ready, int64_t age_s)
{
    struct kl_monitor_view *view = calloc(1, sizeof(*view));

    ck_assert_ptr_nonnull(view);
    atomic_init(&view->references, 1);
    view->made_us = kl_clock_us() - age_s * 1000000;
    view->ready = ready;
    view->metrics = strdup(metrics);
    view->metrics_len = strlen(metrics);
    view->status = strdup("{}");
    view->readiness = strdup("{\"ready\": false}");
    return view;
}

static void begin(void)
{
    struct kl_monitor_where where;
    struct sockaddr_in at;
    socklen_t len = sizeof(at);
    int fd;

    ck_assert_int_eq(kl_monitor_parse("127.0.0.1:0", &where, &err), KL_OK);
    ck_assert_int_eq(kl_monitor_bind(&where, &fd, &err), KL_OK);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)(void *)&at, &len), 0);
    port = ntohs(at.sin_port);
    ck_assert_msg(kl_monitor_http_new(fd, 0, a_view("a 1\n", 1, 0), &http, &err) == KL_OK, "%s",
                  err.text);
}

static void end(void)
{
    kl_monitor_http_free(http);
}

/* The status of the answer to a request. */
static int asked(const char *request)
{
    char *answer = http_ask(port, request);
    int status = http_status(answer);

    free(answer);
    return status;
}

static int got(const char *path)
{
    char *answer = http_get(port, path);
    int status = http_status(answer);

    free(answer);
    return status;
}

START_TEST(pages)
{
    static const char *const headers[] = {"Content-Security-Policy: default-src 'none';",
                                          "X-Content-Type-Options: nosniff",
                                          "X-Frame-Options: DENY",
                                          "Cache-Control: no-store",
                                          "Connection: close",
                                          "Content-Type: text/plain; version=0.0.4"};
    char *answer = http_get(port, "/metrics");

    ck_assert_int_eq(http_status(answer), 200);
    ck_assert_str_eq(http_body(answer), "a 1\n");
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        ck_assert_msg(strstr(answer, headers[i]) != NULL, "no %s", headers[i]);
    }
    free(answer);
    ck_assert_int_eq(got("/"), 200);
    ck_assert_int_eq(got("/healthz"), 200);
    ck_assert_int_eq(got("/readyz"), 200);
    ck_assert_int_eq(got("/status.json"), 200);
    ck_assert_int_eq(got("/metrics?x=1"), 200);
    ck_assert_int_eq(got("/metrics/"), 404);
    ck_assert_int_eq(got("/../etc/passwd"), 404);
    ck_assert_int_eq(got("//metrics"), 404);
}
END_TEST

START_TEST(new_views)
{
    char *answer;

    kl_monitor_http_publish(http, a_view("b 2\n", 0, 0));
    answer = http_get(port, "/metrics");
    ck_assert_str_eq(http_body(answer), "b 2\n");
    free(answer);
    answer = http_get(port, "/readyz");
    ck_assert_int_eq(http_status(answer), 503);
    ck_assert_str_eq(http_body(answer), "{\"ready\": false}");
    free(answer);
    ck_assert_int_eq(got("/healthz"), 200); /* not ready is not dead */
}
END_TEST

/* Nothing new from the loop: it hangs. */
START_TEST(a_loop_that_hangs)
{
    kl_monitor_http_publish(http, a_view("c 3\n", 1, KL_MONITOR_STALE_S + 1));
    ck_assert_int_eq(got("/healthz"), 503);
    ck_assert_int_eq(got("/readyz"), 503);
    ck_assert_int_eq(got("/metrics"), 200);
}
END_TEST

START_TEST(bad_requests)
{
    static const struct {
        const char *request;
        int status;
    } rows[] = {
        {GOOD "\r\n", 200},
        {"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", 413},
        {"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501},
        {"PUT /x HTTP/1.1\r\nHost: localhost\r\n\r\n", 501},
        {"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501},
        {"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 501},
        {"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501},
        {"GET /healthz HTTP/1.1\r\n\r\n", 403},
        {"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403},
        {"GET /status.json HTTP/1.1\r\nHost: evil.example:9477\r\n\r\n", 403},
        {"GET /readyz HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403},
        {"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403},
        {"GET /x HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int status = asked(rows[i].request);
        ck_assert_msg(status == rows[i].status, "row %zu: %d", i, status);
    }
}
END_TEST

/* No HTTP at all: an error or an end, and the next client is served. */
START_TEST(noise)
{
    static const char *const rows[] = {"\r\n\r\n",
                                       "\x16\x03\x01\x02",
                                       "GET\r\n\r\n",
                                       "GET / HTTP/9.9\r\n\r\n",
                                       "0000000000\n\n",
                                       "GET / HTTP/1.1\r\nHost localhost\r\n\r\n"};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int fd = http_connect(port);
        ck_assert_int_ge(fd, 0);
        ck_assert(http_send(fd, rows[i]));
        ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
        char *answer = http_rest(fd);
        ck_assert_msg(http_status(answer) != 200, "row %zu", i);
        free(answer);
        ck_assert_int_eq(got("/healthz"), 200);
    }
}
END_TEST

/* More headers than are taken: refused long before they have all come. */
START_TEST(huge_headers)
{
    static char line[1024];
    int fd = http_connect(port), sent = 0;

    memset(line, 'a', sizeof(line) - 3);
    memcpy(line, "X: ", 3);
    memcpy(line + sizeof(line) - 3, "\r\n", 3);
    ck_assert(http_send(fd, GOOD));
    while (sent < 100000 && http_send(fd, line)) {
        sent++;
    }
    ck_assert_int_lt(sent, 100000);
    char *answer = http_rest(fd);
    ck_assert_int_ne(http_status(answer), 200);
    free(answer);
    ck_assert_int_eq(got("/healthz"), 200);
}
END_TEST

/* A client that dribbles has KL_MONITOR_SECONDS, however steadily. */
START_TEST(slow_headers)
{
    time_t began = time(NULL);
    int fd = http_connect(port);
    struct pollfd end = {.fd = fd, .events = POLLIN};

    ck_assert(http_send(fd, GOOD));
    while (time(NULL) - began < proc_seconds(3 * KL_MONITOR_SECONDS) && http_send(fd, "X: y\r\n") &&
           poll(&end, 1, 300) == 0) {
    }
    ck_assert_int_le(time(NULL) - began, proc_seconds(2 * KL_MONITOR_SECONDS));
    ck_assert_int_ge(time(NULL) - began, KL_MONITOR_SECONDS - 1);
    free(http_rest(fd));
    ck_assert_int_eq(got("/metrics"), 200);
}
END_TEST

/* More connections than it has room for: no more than that are held (the rest waits in the
 * backlog), and the others have their turn when those end. */
START_TEST(many_connections)
{
    enum { MANY = KL_MONITOR_CONNECTIONS + 10 };
    unsigned before = proc_descriptors(getpid());
    int fds[MANY];

    for (int i = 0; i < MANY; i++) {
        fds[i] = http_connect(port);
        ck_assert_int_ge(fds[i], 0);
    }
    proc_sleep_ms(500);
    ck_assert_uint_eq(proc_descriptors(getpid()) - before,
                      MANY + KL_MONITOR_CONNECTIONS); /* ours and its */
    for (int i = 0; i < MANY - 1; i++) {
        close(fds[i]);
    }
    ck_assert(http_send(fds[MANY - 1], GOOD "\r\n"));
    char *answer = http_rest(fds[MANY - 1]);
    ck_assert_int_eq(http_status(answer), 200);
    free(answer);
    proc_sleep_ms(500);
    ck_assert_uint_eq(proc_descriptors(getpid()), before);
}
END_TEST

START_TEST(many_requests)
{
    for (int i = 0; i < 10000; i++) {
        ck_assert_int_eq(got("/metrics"), 200);
    }
}
END_TEST

/* One that asks and does not read. */
START_TEST(a_client_that_does_not_read)
{
    static char big[32 * 1024 * 1024];
    int fd;

    memset(big, 'x', sizeof(big) - 1);
    kl_monitor_http_publish(http, a_view(big, 1, 0));
    fd = http_connect(port);
    ck_assert(http_send(fd, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    kl_monitor_http_publish(http, a_view("d 4\n", 1, 0));
    ck_assert_int_eq(got("/healthz"), 200);
    proc_sleep_ms((KL_MONITOR_SECONDS + 2) * 1000);
    char *answer = http_rest(fd);
    ck_assert_uint_lt(strlen(answer), sizeof(big)); /* it was cut off */
    free(answer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("monitor http");
    TCase *tcase = tcase_create("http");

    tcase_add_checked_fixture(tcase, begin, end);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, pages);
    tcase_add_test(tcase, new_views);
    tcase_add_test(tcase, a_loop_that_hangs);
    tcase_add_test(tcase, bad_requests);
    tcase_add_test(tcase, noise);
    tcase_add_test(tcase, huge_headers);
    tcase_add_test(tcase, slow_headers);
    tcase_add_test(tcase, many_connections);
    tcase_add_test(tcase, many_requests);
    tcase_add_test(tcase, a_client_that_does_not_read);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
