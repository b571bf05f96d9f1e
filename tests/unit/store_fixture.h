/* SPDX-License-Identifier: BSD-2-Clause */
/* One scratch store for each test, and the rows that both store suites put into it. */
#ifndef KL_TESTS_UNIT_STORE_FIXTURE_H
#define KL_TESTS_UNIT_STORE_FIXTURE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/cli.h"
#include "daemon/store/store_sqlite.h"
#include "tests/support/hsm.h"
#include "tests/support/suite.h"

static char dir[64], path[80];
static struct kl_store *store;
static struct kl_err err;

#define OK(call) ck_assert_msg((call) == KL_OK, "%s: %s", #call, err.text)
#define FAILS(call, want) \
    do { \
        enum kl_rc rc_ = (call); \
        ck_assert_msg(rc_ == (want), "%s: %s (%s)", #call, kl_rc_name(rc_), err.text); \
    } while (0)
#define SAYS(text_) ck_assert_msg(strstr(err.text, (text_)) != NULL, "says: %s", err.text)

static inline void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/kl-store-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/store.db", dir);
    OK(kl_store_open(path, KL_STORE_CREATE, &store, &err));
}

static inline void teardown(void)
{
    kl_store_free(store);
    test_rm_rf(dir);
}

static inline struct kl_terminal a_terminal(const char *serial)
{
    struct kl_terminal t = {
        .alg = KL_ALG_TDES3, .created = 17, .armed_until = 5, .attempts_left = 4, .blocked = 1};

    snprintf(t.serial, sizeof(t.serial), "%s", serial);
    snprintf(t.pinpad_serial, sizeof(t.pinpad_serial), "P-%.20s", serial);
    return t;
}

static inline struct kl_tmk a_tmk(const char *serial, uint32_t version)
{
    struct kl_tmk t = {.version = version,
                       .state = KL_TMK_PENDING,
                       .alg = KL_ALG_TDES3,
                       .kcv_len = 4,
                       .cryptogram_len = 32,
                       .created = 1,
                       .expires = 2};

    snprintf(t.serial, sizeof(t.serial), "%s", serial);
    snprintf(t.pinpad_serial, sizeof(t.pinpad_serial), "Q-%.20s", serial);
    memset(t.kcv, 0xa1, 4);
    memset(t.cryptogram, 0xc7, 32);
    memset(t.binding, 0xb1, KL_MAC_LEN);
    memset(t.ack_mac, 0xa2, KL_MAC_LEN);
    memset(t.active_mac, 0xa3, KL_MAC_LEN);
    memset(t.drop_mac, 0xa4, KL_MAC_LEN);
    return t;
}

static inline enum kl_rc add_terminal(struct kl_store *s, const char *serial)
{
    struct kl_terminal t = a_terminal(serial);

    return kl_store_terminal_add(s, &t, &err);
}

static inline void add_committed(const char *serial)
{
    OK(kl_store_begin(store, &err));
    OK(add_terminal(store, serial));
    OK(kl_store_commit(store, &err));
}

static inline enum kl_rc get(struct kl_store *s, const char *serial)
{
    struct kl_terminal t;

    return kl_store_terminal_get(s, serial, &t, &err);
}

static inline enum kl_rc last_version(const char *serial, uint32_t *out)
{
    struct kl_terminal t;
    enum kl_rc rc = kl_store_terminal_get(store, serial, &t, &err);

    return rc == KL_OK ? kl_store_tmk_last_version(store, &t, out, &err) : rc;
}

static inline void reopen(enum kl_store_mode mode)
{
    kl_store_free(store);
    store = NULL;
    OK(kl_store_open(path, mode, &store, &err));
}

static inline void raw(const char *sql)
{
    char *text = NULL;

    sqlite3_exec(store->db, sql, NULL, NULL, &text);
    ck_assert_msg(text == NULL, "%s: %s", sql, text);
}

static inline TCase *group(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 30);
    suite_add_tcase(suite, tcase);
    return tcase;
}

#endif
