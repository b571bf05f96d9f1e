/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a sign-in ends: by a Done that puts the new pair to use, or not. Once Loaded is out no pair
 * is used until a Done says which, by no command and after no crash; and the record's lines on it.
 */
#include <check.h>
#include <fcntl.h>
#include <jansson.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/cli.h"
#include "terminal-sim/cmd/cmd.h"
#include "terminal-sim/pinpad/working.h"
#include "tests/support/hsm.h"
#include "tests/support/suite.h"
#include "tests/support/talk.h"

/* ---- Done ---- */

static void done_mac(struct kl_msg *m)
{
    m->u.done.mac[0] ^= 1;
}
static void done_drop(struct kl_msg *m)
{
    m->u.done.verdict = KL_VERDICT_DROP;
}
static void done_version(struct kl_msg *m)
{
    m->u.done.tmk_version++;
}
static void done_error(struct kl_msg *m)
{
    memset(m, 0, sizeof(*m));
    m->type = KL_MSG_ERROR;
    m->u.error.code = KL_WIRE_REFUSED;
    strcpy(m->u.error.text, "refused");
}

static void wrong_mac(struct kl_rogue *l, struct kl_working_keys *k)
{
    (void)l;
    k->mac[15] ^= 1;
}

START_TEST(test_done_spoilt)
{
    static void (*const spoil[])(struct kl_msg *) = {done_mac, done_drop, done_version, done_error};
    struct talk talk = {.format = KL_FORMAT_KEYS};
    struct kl_msg done;
    struct stand b;
    int there;

    talk_load(&b, _i / 4, KL_ALG_TDES2);
    talk_whole(&b, &talk);
    talk_to_loaded(&b, &talk);
    fake_say_done(&b.loader, KL_VERDICT_ACTIVE, &done);
    spoil[_i % 4](&done);
    fake_encode(&done, talk.buf, &talk.len);
    ck_assert_int_eq(talk_step(&b, &talk), _i % 4 == 3 ? KL_ERR_PEER : KL_ERR_VERIFY);
    ck_assert_uint_eq(talk.len, 0);
    talk_expect_doubt(&b);
    stand_ok(&b, kl_terminal_drop_keys(b.home_open, b.pad, &b.err));
    stand_ok(&b, kl_pinpad_has_pair(b.pad, kl_signin_pair(talk.machine), &there, &b.err));
    ck_assert_int_eq(there, 0);
    talk_expect_doubt(&b);
    b.loader.spoil_keys_after = wrong_mac; /* one that does not get as far settles nothing */
    talk_to_keys(&b, &talk);
    ck_assert_int_eq(talk_step(&b, &talk), KL_ERR_VERIFY);
    stand_ok(&b, kl_terminal_drop_keys(b.home_open, b.pad, &b.err));
    talk_expect_doubt(&b);
    b.loader.spoil_keys_after = NULL;
    talk_whole(&b, &talk);
    talk_expect_works(&b, &b.loader);
    talk_finish(&b, &talk);
}
END_TEST

/* No Loaded without the doubt on record; and without Loaded the old pair is as good as ever. */
START_TEST(test_doubt_not_recorded)
{
    struct talk talk = {.format = KL_FORMAT_KEYS};
    struct kl_rogue good;
    struct kl_msg msg;
    struct stand b;

    talk_load(&b, _i, KL_ALG_TDES2);
    talk_whole(&b, &talk);
    good = b.loader;
    talk.disk_full = 1;
    talk_to_keys(&b, &talk);
    ck_assert_int_eq(talk_step(&b, &talk), KL_ERR_IO);
    stand_ok(&b, kl_msg_decode(talk.buf, talk.len, &msg, &b.err));
    ck_assert_int_eq(msg.type, KL_MSG_FAILED);
    stand_ok(&b, kl_terminal_drop_keys(b.home_open, b.pad, &b.err));
    talk_expect_works(&b, &good);
    talk.disk_full = 0;
    talk_whole(&b, &talk);
    talk_expect_works(&b, &b.loader);
    talk_finish(&b, &talk);
}
END_TEST

/* The first sign-in of a TMK: there is no pair yet, and the doubt outlives the process. */
START_TEST(test_first_in_doubt)
{
    struct talk talk = {.format = KL_FORMAT_KEYS};
    struct kl_pinpad_pair pair;
    struct stand b;

    talk_load(&b, STAND_TOKEN, KL_ALG_AES128);
    ck_assert_int_eq(kl_terminal_usable_keys(b.home_open, &pair, &b.err), KL_ERR_KEY);
    talk_to_loaded(&b, &talk);
    talk_drop(&talk);
    stand_restart(&b);
    ck_assert_uint_eq(kl_terminal_keys(b.home_open)->number, 0);
    talk_expect_doubt(&b);
    talk_whole(&b, &talk);
    talk_drop(&talk);
    stand_restart(&b);
    talk_expect_works(&b, &b.loader);
    talk_finish(&b, &talk);
}
END_TEST

/* ---- Crashes ---- */

/* Killed once Loaded is given out and before the record names the new pair, the old one is all that
 * is left, and in doubt; after it, the new one is in use. */
START_TEST(test_killed)
{
    struct talk talk = {.format = KL_FORMAT_KEYS};
    struct kl_pinpad_pair old, fresh;
    struct kl_msg done;
    struct stand b;
    int there;

    talk_load(&b, STAND_TOKEN, _i / 3 ? KL_ALG_AES128 : KL_ALG_TDES2);
    talk_whole(&b, &talk);
    old = *kl_terminal_keys(b.home_open);
    talk_to_loaded(&b, &talk);
    fresh = *kl_signin_pair(talk.machine);
    stand_ok(&b, kl_pinpad_has_pair(b.pad, &fresh, &there, &b.err));
    ck_assert_int_eq(there, 1);
    if (_i % 3 > 0) { /* once Done is there */
        fake_say_done(&b.loader, KL_VERDICT_ACTIVE, &done);
        fake_encode(&done, talk.buf, &talk.len);
        stand_ok(&b, talk_step(&b, &talk));
    }
    if (_i % 3 == 2) { /* once it is on record */
        stand_ok(&b, kl_terminal_take_keys(b.home_open, b.pad, &fresh, &b.err));
    }
    talk_drop(&talk);
    stand_restart(&b);
    stand_ok(&b, kl_pinpad_has_pair(b.pad, &fresh, &there, &b.err));
    ck_assert_int_eq(there, _i % 3 == 2);
    if (_i % 3 < 2) {
        ck_assert_uint_eq(kl_terminal_keys(b.home_open)->number, old.number);
        stand_ok(&b, kl_pinpad_has_pair(b.pad, &old, &there, &b.err));
        ck_assert_int_eq(there, 1);
        talk_expect_doubt(&b);
        talk_whole(&b, &talk);
    }
    talk_expect_works(&b, &b.loader);
    talk_finish(&b, &talk);
}
END_TEST

/* The record is what counts: pruning that never came about is made up for at the next start. */
START_TEST(test_killed_before_prune)
{
    struct talk talk = {.format = KL_FORMAT_KEYS};
    struct kl_pinpad_pair old, fresh;
    char path[PATH_MAX + 16];
    char *text = NULL;
    struct stand b;
    size_t len;
    int there;

    talk_load(&b, STAND_TOKEN, KL_ALG_TDES2);
    talk_whole(&b, &talk);
    old = *kl_terminal_keys(b.home_open);
    talk_to_loaded(&b, &talk);
    fresh = *kl_signin_pair(talk.machine);
    talk_drop(&talk);
    stand_close(&b);
    /* The record rewritten, and nothing more. */
    snprintf(path, sizeof(path), "%s/record", b.home);
    stand_ok(&b, kl_file_read(path, KL_RECORD_TEXT_MAX, &text, &len, &b.err));
    {
        struct kl_record record;
        char again[KL_RECORD_TEXT_MAX];

        stand_ok(&b, kl_record_parse(text, &record, &b.err));
        ck_assert_uint_eq(record.keys.number, old.number);
        ck_assert_int_eq(record.keys_in_doubt, 1);
        record.keys = fresh;
        record.keys_in_doubt = 0;
        len = kl_record_format(&record, again);
        stand_ok(&b, kl_file_write(path, again, len, 0600, 1, &b.err));
    }
    free(text);
    stand_restart(&b);
    stand_ok(&b, kl_pinpad_has_pair(b.pad, &old, &there, &b.err));
    ck_assert_int_eq(there, 0);
    talk_expect_works(&b, &b.loader);
    talk_finish(&b, &talk);
}
END_TEST

/* Keys belong to one TMK: they go, and all doubt of them, when another becomes active, and not
 * before. */
START_TEST(test_new_tmk)
{
    const int in_doubt = _i / STAND_KINDS;
    struct talk talk = {.format = KL_FORMAT_KEYS};
    struct kl_pinpad_pair old;
    struct kl_rogue keys;
    struct kl_msg done;
    struct stand b;
    int there;

    talk_load(&b, _i % STAND_KINDS, KL_ALG_AES128);
    talk_whole(&b, &talk);
    keys = b.loader;
    old = *kl_terminal_keys(b.home_open);
    if (in_doubt) {
        talk_to_loaded(&b, &talk);
        talk_drop(&talk);
        stand_ok(&b, kl_terminal_drop_keys(b.home_open, b.pad, &b.err));
    }
    b.loader.version = 2;
    stand_to_loaded(&b);
    if (in_doubt) { /* the candidate is unconfirmed */
        talk_expect_doubt(&b);
    } else {
        talk_expect_works(&b, &keys);
    }
    fake_say_done(&b.loader, KL_VERDICT_ACTIVE, &done);
    stand_ok(&b, stand_give(&b, &done));
    stand_settle(&b);
    ck_assert_uint_eq(kl_terminal_keys(b.home_open)->number, 0);
    ck_assert_int_eq(kl_terminal_keys_in_doubt(b.home_open), 0);
    stand_ok(&b, kl_pinpad_has_pair(b.pad, &old, &there, &b.err));
    ck_assert_int_eq(there, 0);
    talk_whole(&b, &talk);
    talk_expect_works(&b, &b.loader);
    talk_finish(&b, &talk);
}
END_TEST

/* ---- By the commands ---- */

/* What a command prints on one line. */
static void run_line(struct stand *b, const char *out_path, char line[128],
                     enum kl_rc (*command)(int, char **, int *, struct kl_err *), int argc,
                     char **argv)
{
    int status = 0, saved = dup(STDOUT_FILENO);
    FILE *file;
    enum kl_rc rc;

    fflush(stdout);
    ck_assert_ptr_nonnull(freopen(out_path, "w", stdout));
    rc = command(argc, argv, &status, &b->err);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    ck_assert_msg(rc == KL_OK, "%s", b->err.text);
    file = fopen(out_path, "r");
    ck_assert_ptr_nonnull(fgets(line, 128, file));
    fclose(file);
}

/* A PIN from a file, a message from a file; from the start of a process to its end. */
START_TEST(test_commands)
{
    struct talk talk = {.format = KL_FORMAT_KEYS};
    char in[PATH_MAX], pin[PATH_MAX], bad[PATH_MAX], out[PATH_MAX + 16], line[128], want[33];
    uint8_t mac[8], padded[16] = "12345678\x80", block[8];
    struct kl_secret *secret = test_secret("4321");
    struct stand b;
    int status = 0;

    talk_load(&b, STAND_TOKEN, KL_ALG_TDES2);
    talk_whole(&b, &talk);
    kl_signin_free(talk.machine);
    stand_close(&b);
    stand_write_file(b.dir, "in", "12345678", in);
    stand_write_file(b.dir, "cardholder", "4321\n", pin);
    stand_write_file(b.dir, "letters", "43a1\n", bad);
    snprintf(out, sizeof(out), "%s/out", b.dir);
    {
        const char *argv[] = {"mac",       "--dir", b.home,     "--in", in,
                              "--padding", "2",     "--length", "4",    NULL};

        run_line(&b, out, line, kl_terminal_cmd_mac, 9, (char **)argv);
        fake_retail_mac(b.loader.mak, 16, padded, 16, mac);
        snprintf(want, sizeof(want), "%02X%02X%02X%02X\n", mac[0], mac[1], mac[2], mac[3]);
        ck_assert_str_eq(line, want);
    }
    {
        const char *argv[] = {"pin-block", "--dir", b.home,         "--pan", "43219876543210987",
                              "--format",  "0",     "--pin-source", pin,     NULL};

        run_line(&b, out, line, kl_terminal_cmd_pin_block, 9, (char **)argv);
        kl_pinblock0(secret, "43219876543210987", block);
        fake_block(KL_ALG_TDES2, 1, b.loader.pik, block, 8, block);
        for (size_t i = 0; i < 8; i++) {
            snprintf(want + 2 * i, 3, "%02X", block[i]);
        }
        ck_assert_uint_eq(strlen(line), 17);
        ck_assert_int_eq(strncmp(line, want, 16), 0);
        argv[8] = bad;
        ck_assert_int_eq(kl_terminal_cmd_pin_block(9, (char **)argv, &status, &b.err),
                         KL_ERR_INPUT);
        ck_assert_ptr_null(strstr(b.err.text, "43a1"));
        argv[8] = pin;
        argv[6] = "4";
        ck_assert_int_eq(kl_terminal_cmd_pin_block(9, (char **)argv, &status, &b.err),
                         KL_ERR_UNSUPPORTED);
    }
    {
        const char *argv[] = {"mac", "--dir", b.home, "--in", in, "--length", "9", NULL};

        ck_assert_int_eq(kl_terminal_cmd_mac(7, (char **)argv, &status, &b.err), KL_ERR_INPUT);
    }
    kl_secret_free(secret);
    stand_end(&b);
}
END_TEST

/* What pinpad show says of the working keys: their state ("" if there are none), and whether they
 * are in doubt. */
static void expect_shown(struct stand *b, const char *out, const char *state, int in_doubt)
{
    const char *argv[] = {"pinpad", "show", "--dir", b->home, "--json", NULL};
    char line[128]; /* the first */
    json_t *report, *keys;

    run_line(b, out, line, kl_terminal_cmd_pinpad, 5, (char **)argv);
    report = json_load_file(out, 0, NULL);
    ck_assert_ptr_nonnull(report);
    ck_assert_int_eq(json_is_true(json_object_get(report, "keys-in-doubt")), in_doubt);
    keys = json_object_get(report, "working-keys");
    ck_assert_int_eq(json_is_null(keys), state[0] == '\0');
    ck_assert(json_is_null(keys) ||
              strcmp(json_string_value(json_object_get(keys, "state")), state) == 0);
    json_decref(report);
}

/* Loaded is out, and the process dies: the next ones refuse to use the pair, and it is shown. */
START_TEST(test_commands_in_doubt)
{
    struct talk talk = {.format = KL_FORMAT_KEYS};
    char in[PATH_MAX], pin[PATH_MAX], out[PATH_MAX + 16];
    struct stand b;
    int status = 0;

    talk_load(&b, STAND_TOKEN, KL_ALG_AES128);
    stand_write_file(b.dir, "in", "12345678", in);
    stand_write_file(b.dir, "cardholder", "4321\n", pin);
    snprintf(out, sizeof(out), "%s/out", b.dir);
    stand_close(&b);
    expect_shown(&b, out, "", 0);
    stand_restart(&b);
    for (int pass = 0; pass < 2; pass++) { /* without a pair, with one */
        const char *mac_argv[] = {"mac", "--dir", b.home, "--in", in, NULL};
        const char *pin_argv[] = {
            "pin-block", "--dir", b.home,         "--pan", "43219876543210987",
            "--format",  "4",     "--pin-source", pin,     NULL};

        talk_to_loaded(&b, &talk);
        talk_drop(&talk);
        stand_close(&b);
        ck_assert_int_eq(kl_terminal_cmd_mac(5, (char **)mac_argv, &status, &b.err), KL_ERR_BUSY);
        ck_assert_int_eq(kl_rc_exit_status(KL_ERR_BUSY), 75);
        ck_assert_msg(strstr(b.err.text, "sign in again"), "%s", b.err.text);
        b.err = (struct kl_err)KL_ERR_INIT;
        ck_assert_int_eq(kl_terminal_cmd_pin_block(9, (char **)pin_argv, &status, &b.err),
                         KL_ERR_BUSY);
        ck_assert_msg(strstr(b.err.text, "sign in again"), "%s", b.err.text);
        expect_shown(&b, out, pass == 0 ? "" : "in-doubt", 1);
        stand_restart(&b);
        talk_whole(&b, &talk);
        talk_drop(&talk);
        stand_close(&b);
        expect_shown(&b, out, "active", 0);
        stand_restart(&b);
    }
    talk_finish(&b, &talk);
}
END_TEST

/* A sign-in that comes while a command waits for its input: what it read before counts no more. */
START_TEST(test_doubt_meanwhile)
{
    struct talk talk = {.format = KL_FORMAT_KEYS};
    char fifo[PATH_MAX + 16];
    struct stand b;
    int status, end = -1;
    char shown;
    pid_t child;

    talk_load(&b, STAND_TOKEN, KL_ALG_AES128);
    talk_whole(&b, &talk);
    talk_drop(&talk);
    stand_close(&b);
    snprintf(fifo, sizeof(fifo), "%s/fifo", b.dir);
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    child = _i == 0 ? fork() : forkpty(&end, NULL, NULL, NULL);
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        const char *mac[] = {"mac", "--dir", b.home, "--in", fifo, NULL};
        const char *pin[] = {"pin-block",         "--dir",    b.home, "--pan",
                             "43219876543210987", "--format", "4",    NULL};

        _exit(_i == 0 ? (int)kl_terminal_cmd_mac(5, (char **)mac, &status, &b.err)
                      : (int)kl_terminal_cmd_pin_block(7, (char **)pin, &status, &b.err));
    }
    /* Once it has looked, and wants its input: */
    if (_i == 0) {
        end = open(fifo, O_WRONLY);
    }
    ck_assert(end >= 0 && (_i == 0 || read(end, &shown, 1) == 1));
    stand_ok(&b, kl_terminal_open(b.home, 1, &b.home_open, &b.err));
    stand_ok(&b, kl_terminal_doubt_keys(b.home_open, &b.err));
    ck_assert_int_eq(write(end, "1234\n", 5), 5);
    if (_i == 0) {
        close(end);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), KL_ERR_BUSY);
    if (_i == 1) {
        close(end);
    }
    stand_end(&b);
}
END_TEST

/* ---- The record ---- */

#define ACTIVE "active 2 tdes2 A0B0C0\n"

START_TEST(test_record_lines)
{
    static const char *const bad[] = {
        "keys 1 1 tdes2 A0B0C0 A1B1C1\nend\n",          /* of no TMK */
        ACTIVE "keys 1 1 tdes2 A0B0C0 A1B1C1\nend\n",   /* of another */
        ACTIVE "keys 0 2 tdes2 A0B0C0 A1B1C1\nend\n",   /* no number */
        ACTIVE "keys 1 2 des A0B0C0 A1B1C1\nend\n",     /* no algorithm */
        ACTIVE "keys 1 2 tdes2 A0B0C0 A1B1C1D1\nend\n", /* two lengths */
        ACTIVE "keys 1 2 tdes2 A0B0 A1B1\nend\n",       /* too short */
        ACTIVE "keys 1 2 tdes2 A0B0C0 A1B1C1\nkeys 2 2 tdes2 A0B0C0 A1B1C1\nend\n", /* twice */
        "keys-in-doubt\nend\n",                                                     /* of no TMK */
        ACTIVE "keys-in-doubt 1\nend\n",                             /* more than the word */
        ACTIVE "keys-in-doubt\nkeys-in-doubt\nend\n",                /* twice */
        ACTIVE "abandoned 3\nkeys-in-doubt\nend\n",                  /* too late */
        ACTIVE "keys-in-doubt\nkeys 7 2 tdes2 A0B0C0 A1B1C1\nend\n", /* too early */
    };
    static const char *const good[] = {
        ACTIVE "keys 7 2 tdes2 A0B0C0D0 A1B1C1D1\nend\n",
        ACTIVE "keys 7 2 tdes2 A0B0C0D0 A1B1C1D1\nkeys-in-doubt\nend\n",
        ACTIVE "keys 7 2 tdes2 A0B0C0D0 A1B1C1D1\nkeys-in-doubt\nabandoned 3\nend\n",
    };
    struct kl_err err = KL_ERR_INIT;
    struct kl_record record;
    char text[KL_RECORD_TEXT_MAX];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(kl_record_parse(good[i], &record, &err) == KL_OK, "%s", good[i]);
        ck_assert_uint_eq(record.keys.number, 7);
        ck_assert_int_eq(record.keys_in_doubt, i > 0);
        kl_record_format(&record, text);
        ck_assert_str_eq(text, good[i]);
    }
    ck_assert_int_eq(kl_record_parse("active 2 tdes2 A0B0C0\nkeys-in-doubt\nend\n", &record, &err),
                     KL_OK);
    ck_assert_int_eq(record.keys_in_doubt, 1); /* before the first pair */
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(kl_record_parse(bad[i], &record, &err) == KL_ERR_INPUT, "%s", bad[i]);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("signin-doubt");
    TCase *tc = tcase_create("signin-doubt");

    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, fake_make_keys, fake_free_keys);
    tcase_add_loop_test(tc, test_done_spoilt, 0, 4 * STAND_KINDS);
    tcase_add_loop_test(tc, test_doubt_not_recorded, 0, STAND_KINDS);
    tcase_add_test(tc, test_first_in_doubt);
    tcase_add_loop_test(tc, test_killed, 0, 6);
    tcase_add_test(tc, test_killed_before_prune);
    tcase_add_loop_test(tc, test_new_tmk, 0, 2 * STAND_KINDS);
    tcase_add_test(tc, test_commands);
    tcase_add_test(tc, test_commands_in_doubt);
    tcase_add_loop_test(tc, test_doubt_meanwhile, 0, 2);
    tcase_add_test(tc, test_record_lines);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return test_run(suite());
}
