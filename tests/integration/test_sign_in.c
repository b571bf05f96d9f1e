/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sign-in between the real programs: working keys under an active TMK and under no other, current
 * once they are confirmed; and what a peer without the TMK gets.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/message.h"
#include "tests/support/lab.h"
#include "tests/support/peer.h"
#include "tests/support/suite.h"

static struct lab lab;

static void found(void)
{
    lab_found(&lab, 3072);
}

static void abandon(void)
{
    lab_abandon(&lab);
}

static void end(void)
{
    lab_end(&lab);
}

static int sign_in(const char *serial, const char *format)
{
    char to[32];

    snprintf(to, sizeof to, "127.0.0.1:%u", lab.port);
    return lab_terminal_sim(&lab, serial, "sign-in", "--connect", to, "--format", format, NULL);
}

static void load(const char *serial)
{
    lab_arm(&lab, serial, 1);
    ck_assert_int_eq(lab_load(&lab, serial, lab.port), 0);
}

START_TEST(signs_in)
{
    static const struct {
        const char *alg, *format, *fallback;
        int status;
    } rows[] = {
        {"aes128", "keys", "no", 0}, {"aes128", "field62", "no", 76},
        {"tdes2", "keys", "yes", 0}, {"tdes3", "field62", "yes", 0},
        {"tdes2", "keys", "no", 76}, /* SoftHSM does not wrap by TDES */
    };
    char name[16];

    snprintf(name, sizeof name, "sign-in-%d", _i);
    lab_begin(&lab, name);
    lab_set(&lab, "policy", "host-fallback", rows[_i].fallback);
    lab_start(&lab);
    lab_terminal(&lab, "T", rows[_i].alg);
    ck_assert_int_ne(sign_in("T", rows[_i].format), 0); /* before a load */
    load("T");
    for (int i = 0; i < 2; i++) {
        int status = sign_in("T", rows[_i].format);
        ck_assert_msg((status == 0) == (rows[_i].status == 0), "status %d: %s", status,
                      file_read(lab.daemon.err, NULL));
    }
    if (rows[_i].status == 0) {
        ck_assert(lab_logged(&lab, "event=signed-in", 1));
    }
    lab_agree(&lab, "T");
    load("T"); /* and another TMK after that */
    ck_assert_int_eq(sign_in("T", rows[_i].format) == 0, rows[_i].status == 0);
    lab_settled(&lab, "T", 2);
}
END_TEST

/* A blocked terminal, and one whose TMK was revoked, get none. */
START_TEST(is_refused)
{
    lab_begin(&lab, "refused");
    lab_start(&lab);
    lab_terminal(&lab, "B", "aes128");
    load("B");
    ck_assert_int_eq(sign_in("B", "keys"), 0);
    free(lab_ctl(&lab, "terminal", "block", "B", NULL));
    ck_assert_int_ne(sign_in("B", "keys"), 0);
    ck_assert(lab_logged(&lab, "rc=blocked", 5));
    free(lab_ctl(&lab, "terminal", "unblock", "B", NULL));
    ck_assert_int_eq(sign_in("B", "keys"), 0);
    free(lab_ctl(&lab, "tmk", "revoke", "B", "--reason", "test", NULL));
    ck_assert_int_ne(sign_in("B", "keys"), 0);
}
END_TEST

/* ---- Peers without the TMK ---- */

static struct kl_msg sign_in_of(const char *serial, unsigned version)
{
    struct kl_msg msg = {.type = KL_MSG_SIGN_IN};

    msg.u.sign_in.version = KL_PROTOCOL_VERSION;
    snprintf(msg.u.sign_in.serial, sizeof msg.u.sign_in.serial, "%s", serial);
    snprintf(msg.u.sign_in.pinpad_serial, sizeof msg.u.sign_in.pinpad_serial, "P%s", serial);
    msg.u.sign_in.tmk_version = version;
    msg.u.sign_in.format = KL_FORMAT_KEYS;
    memset(msg.u.sign_in.nonce, 0x77, sizeof msg.u.sign_in.nonce);
    return msg;
}

static int alarmed(const char *says)
{
    for (int ms = 0; ms < proc_seconds(5) * 1000; ms += 100) {
        char *audit = lab_ctl(&lab, "--json", "audit", "list", NULL);
        int found = strstr(audit, says) != NULL;
        free(audit);
        if (found) {
            return 1;
        }
        proc_sleep_ms(100);
    }
    return 0;
}

/* Somebody else's SignIn gets what only the TMK opens, and cannot make it current. */
START_TEST(impostor)
{
    struct kl_msg first, msg, sign_in_msg = sign_in_of("I", 1);
    int fd;

    lab_begin(&lab, "impostor");
    lab_start(&lab);
    lab_terminal(&lab, "I", "aes128");
    load("I");

    peer_say_msg(fd = peer_dial(lab.port), &sign_in_msg);
    ck_assert_int_eq(peer_hear(fd, &first), KL_MSG_WORKING_KEYS);
    msg = (struct kl_msg){.type = KL_MSG_LOADED};
    msg.u.loaded.kcv_len = first.u.working_keys.pik.kcv_len;
    peer_say_msg(fd, &msg); /* KCV and MAC of zeros */
    peer_expect_error(fd, KL_WIRE_REFUSED);
    ck_assert(alarmed("KCV of the PIK"));

    peer_say_msg(fd = peer_dial(lab.port), &sign_in_msg);
    ck_assert_int_eq(peer_hear(fd, &first), KL_MSG_WORKING_KEYS);
    memcpy(msg.u.loaded.kcv, first.u.working_keys.pik.kcv, sizeof msg.u.loaded.kcv);
    peer_say_msg(fd, &msg); /* which is in the clear; the MAC is not */
    peer_expect_error(fd, KL_WIRE_REFUSED);
    ck_assert(lab_logged(&lab, "MAC of the sign-in", 5)); /* one alarm of a kind a minute */

    peer_say_msg(fd = peer_dial(lab.port), &sign_in_msg);
    ck_assert_int_eq(peer_hear(fd, &first), KL_MSG_WORKING_KEYS);
    peer_say_msg(fd, &sign_in_msg); /* out of order */
    peer_expect_error(fd, KL_WIRE_PROTOCOL);

    ck_assert(!lab_logged(&lab, "event=signed-in", 0));
    ck_assert_int_eq(sign_in("I", "keys"), 0);
}
END_TEST

/* What the rules refuse before the HSM is asked. */
START_TEST(not_admitted)
{
    struct kl_msg msgs[] = {
        sign_in_of("N", 2),      /* no such TMK */
        sign_in_of("NOBODY", 1), /* not registered */
        sign_in_of("FRESH", 1),  /* not loaded */
        sign_in_of("N", 1),      /* by another PIN pad */
    };

    lab_begin(&lab, "not-admitted");
    lab_start(&lab);
    lab_terminal(&lab, "N", "aes128");
    lab_register(&lab, "FRESH", "aes128");
    load("N");
    strcpy(msgs[3].u.sign_in.pinpad_serial, "PX");
    for (size_t i = 0; i < sizeof msgs / sizeof msgs[0]; i++) {
        int fd = peer_dial(lab.port);
        peer_say_msg(fd, &msgs[i]);
        peer_expect_error(fd, KL_WIRE_REFUSED);
    }
    msgs[0].u.sign_in.version = 2;
    int fd = peer_dial(lab.port);
    peer_say_msg(fd, &msgs[0]);
    peer_expect_error(fd, KL_WIRE_UNSUPPORTED);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sign-in");
    TCase *tc = tcase_create("sign-in");

    tcase_set_timeout(tc, 120);
    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_add_checked_fixture(tc, NULL, end);
    tcase_add_loop_test(tc, signs_in, 0, 5);
    tcase_add_test(tc, is_refused);
    tcase_add_test(tc, impostor);
    tcase_add_test(tc, not_admitted);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
