/* SPDX-License-Identifier: BSD-2-Clause */
/* However many peers come, those who are there get their turn between them. */
#include "daemon/loader/listener.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/suite.h"

#define PEERS 100
#define MOST 32 /* in one turn of the loop */

static struct kl_service service;
static struct kl_config config; /* room for nobody: all are turned away */
static char none[1];

static uint64_t turned_away(void)
{
    return service.metrics.turned_away[KL_AWAY_CONNECTIONS];
}

START_TEST(a_crowd_comes_in_turns)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    struct kl_err err = KL_ERR_INIT;
    struct kl_listener *listener;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), peers[PEERS];

    for (size_t i = 0; i < KL_HSM_MAX; i++) {
        config.hsm[i].token = none;
    }
    config.address = none;
    service.base = event_base_new();
    service.config = &config;
    TAILQ_INIT(&service.conns);
    ck_assert_ptr_nonnull(service.base);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    ck_assert_int_eq(kl_listener_new(&service, fd, 0, &listener, &err), KL_OK);
    for (int i = 0; i < PEERS; i++) {
        peers[i] = socket(AF_INET, SOCK_STREAM, 0);
        ck_assert_int_eq(connect(peers[i], (struct sockaddr *)&address, len), 0);
    }
    for (uint64_t before = 0; turned_away() < PEERS; before = turned_away()) {
        ck_assert_int_eq(event_base_loop(service.base, EVLOOP_ONCE), 0);
        ck_assert_uint_le(turned_away() - before, MOST);
    }
    for (int i = 0; i < PEERS; i++) {
        close(peers[i]);
    }
    kl_listener_free(listener);
    event_base_free(service.base);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("listener");
    TCase *tc = tcase_create("listener");

    tcase_add_test(tc, a_crowd_comes_in_turns);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
