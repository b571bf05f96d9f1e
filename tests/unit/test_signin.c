/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sign-in against the fake loader: working keys of both formats reach the PIN pad and work there;
 * whatever is wrong, or wherever it is cut off, the old pair stays the one in use.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/cli.h"
#include "terminal-sim/cmd.h"
#include "terminal-sim/signin.h"
#include "terminal-sim/working.h"
#include "tests/support/bench.h"
#include "tests/support/hsm.h"
#include "tests/support/suite.h"

static const char message[] = "0200 a message of some length, and no whole block";

struct talk {
    struct kl_signin *machine;
    enum kl_key_format format;
    uint8_t buf[KL_MSG_MAX]; /* what is due next */
    size_t len;
};

/* ---- The walk ---- */

static void begin(struct bench *b, struct talk *talk)
{
    const struct kl_signin_params params = {.serial = FAKE_SERIAL,
                                            .pinpad_serial = PINPAD,
                                            .pad = b->pad,
                                            .tmk = *kl_terminal_active(b->home_open),
                                            .format = talk->format};

    kl_signin_free(talk->machine);
    talk->machine = NULL;
    ok(b, kl_signin_new(&params, &talk->machine, &b->err));
    ok(b, kl_signin_begin(talk->machine, talk->buf, &talk->len, &b->err));
}

/* Takes what is in buf. */
static enum kl_rc step(struct bench *b, struct talk *talk)
{
    uint8_t in[KL_MSG_MAX];
    size_t len = talk->len;

    memcpy(in, talk->buf, len);
    return kl_signin_step(talk->machine, in, len, talk->buf, &talk->len, &b->err);
}

static void to_keys(struct bench *b, struct talk *talk)
{
    uint8_t out[KL_MSG_MAX];
    size_t len;

    begin(b, talk);
    fake_say_keys(&b->loader, talk->buf, talk->len, out, &len);
    memcpy(talk->buf, out, len);
    talk->len = len;
}

/* Up to Loaded, which is checked as the loader would. */
static void to_loaded(struct bench *b, struct talk *talk)
{
    struct kl_msg msg;
    uint8_t mac[16];

    to_keys(b, talk);
    ok(b, step(b, talk));
    ok(b, kl_msg_decode(talk->buf, talk->len, &msg, &b->err));
    ck_assert_int_eq(msg.type, KL_MSG_LOADED);
    ck_assert_mem_eq(msg.u.loaded.kcv, b->loader.kcv, b->loader.kcv_len);
    fake_ack_mac(&b->loader, mac);
    ck_assert_mem_eq(msg.u.loaded.mac, mac, 16);
}

static void whole(struct bench *b, struct talk *talk)
{
    struct kl_msg done;

    to_loaded(b, talk);
    fake_say_done(&b->loader, KL_VERDICT_ACTIVE, &done);
    fake_encode(&done, talk->buf, &talk->len);
    ok(b, step(b, talk));
    ck_assert_uint_eq(talk->len, 0);
    ok(b, kl_terminal_take_keys(b->home_open, b->pad, kl_signin_pair(talk->machine), &b->err));
}

static void load(struct bench *b, int kind, enum kl_alg alg)
{
    bench_init(b, kind);
    b->loader.alg = alg;
    fake_loader_ec(&b->loader, fake_ec_key, fake_ec_work);
    bench_whole_load(b);
}

static void finish(struct bench *b, struct talk *talk)
{
    kl_signin_free(talk->machine);
    bench_end(b);
}

/* ---- What the keys do ---- */

/* The loader's side recomputes a MAC and a PIN block from the keys that it drew. */
static void expect_works(struct bench *b, const struct fake_loader *l)
{
    const struct kl_pinpad_pair *pair = kl_terminal_keys(b->home_open);
    const struct kl_alg_info *info = kl_alg_info(l->keys_alg);
    struct kl_secret *pin = test_secret("1234");
    uint8_t mac[16], want[16], padded[64] = {0}, block[16], clear[16], pan[16];
    size_t len;

    ck_assert_uint_ne(pair->number, 0);
    ck_assert_int_eq(pair->alg, l->keys_alg);
    ok(b, kl_working_mac(b->pad, pair, KL_MAC_PADDING_1, (const uint8_t *)message, sizeof(message),
                         mac, &len, &b->err));
    memcpy(padded, message, sizeof(message));
    if (info->is_aes) {
        fake_cmac(l->mak, info->key_len, padded, sizeof(message), want);
    } else {
        fake_retail_mac(l->mak, info->key_len, padded, (sizeof(message) + 7) / 8 * 8, want);
    }
    ck_assert_uint_eq(len, info->is_aes ? 16 : 8);
    ck_assert_mem_eq(mac, want, len);
    ok(b, kl_working_pin_block(b->pad, pair, info->is_aes ? 4 : 0, pin, "4111111111111111", block,
                               &len, &b->err));
    ck_assert_uint_eq(len, info->is_aes ? 16 : 8);
    fake_block(l->keys_alg, 0, l->pik, block, len, clear);
    if (info->is_aes) {
        kl_pinblock4_pan("4111111111111111", pan);
        for (size_t i = 0; i < 16; i++) {
            clear[i] ^= pan[i];
        }
        fake_block(l->keys_alg, 0, l->pik, clear, 16, clear);
        ck_assert_mem_eq(clear, "\x44\x12\x34\xaa\xaa\xaa\xaa\xaa", 8);
    } else {
        ck_assert_mem_eq(clear, "\x04\x12\x25\xee\xee\xee\xee\xee", 8);
    }
    kl_secret_free(pin);
}

static const struct {
    enum kl_alg alg; /* of the TMK */
    enum kl_key_format format;
} cases[] = {
    {KL_ALG_TDES2, KL_FORMAT_KEYS},    {KL_ALG_TDES3, KL_FORMAT_KEYS},
    {KL_ALG_AES128, KL_FORMAT_KEYS},   {KL_ALG_TDES2, KL_FORMAT_FIELD62},
    {KL_ALG_TDES3, KL_FORMAT_FIELD62},
};
#define CASES ((int)(sizeof(cases) / sizeof(cases[0])))

START_TEST(test_sign_in)
{
    struct talk talk = {.format = cases[_i % CASES].format};
    struct kl_pinpad_pair first_pair;
    struct fake_loader first;
    struct bench b;
    int there;

    load(&b, _i / CASES, cases[_i % CASES].alg);
    whole(&b, &talk);
    expect_works(&b, &b.loader);
    first = b.loader;
    first_pair = *kl_terminal_keys(b.home_open);
    b.loader.kcv_len = 3;
    whole(&b, &talk); /* again: other keys, and the first ones are gone */
    expect_works(&b, &b.loader);
    ck_assert_mem_ne(first.pik, b.loader.pik, 8);
    ok(&b, kl_pinpad_has_pair(b.pad, &first_pair, &there, &b.err));
    ck_assert_int_eq(there, 0);
    if (b.kind == TOKEN) {
        kl_signin_free(talk.machine);
        talk.machine = NULL;
        bench_restart(&b);
        expect_works(&b, &b.loader);
    }
    ok(&b, kl_pinpad_has_pair(b.pad, kl_terminal_keys(b.home_open), &there, &b.err));
    ck_assert_int_eq(there, 1);
    finish(&b, &talk);
}
END_TEST

/* A format that the key's algorithm does not have, in clear words. */
START_TEST(test_pairing)
{
    struct talk talk = {.format = KL_FORMAT_KEYS};
    struct kl_secret *pin = test_secret("1234");
    uint8_t block[16];
    struct bench b;
    size_t len;

    load(&b, MEMORY, _i ? KL_ALG_AES128 : KL_ALG_TDES2);
    whole(&b, &talk);
    ck_assert_int_eq(kl_working_pin_block(b.pad, kl_terminal_keys(b.home_open), _i ? 0 : 4, pin,
                                          "4111111111111111", block, &len, &b.err),
                     KL_ERR_UNSUPPORTED);
    ck_assert_msg(strstr(b.err.text, _i ? "aes128" : "tdes2"), "%s", b.err.text);
    kl_secret_free(pin);
    finish(&b, &talk);
}
END_TEST

/* ---- What may be wrong ---- */

static void session(struct fake_loader *l, struct kl_working_keys *k)
{
    (void)l;
    k->c_session[0] ^= 1;
}
static void pik(struct fake_loader *l, struct kl_working_keys *k)
{
    (void)l;
    *(k->has_field62 ? &k->field62[0] : &k->pik.data[0]) ^= 1;
}
static void mak(struct fake_loader *l, struct kl_working_keys *k)
{
    (void)l;
    *(k->has_field62 ? &k->field62[27] : &k->mak.data[k->mak.len - 1]) ^= 1;
}
static void pik_kcv(struct fake_loader *l, struct kl_working_keys *k)
{
    (void)l;
    *(k->has_field62 ? &k->field62[16] : &k->pik.kcv[0]) ^= 1;
}
static void mak_kcv(struct fake_loader *l, struct kl_working_keys *k)
{
    (void)l;
    *(k->has_field62 ? &k->field62[36] : &k->mak.kcv[0]) ^= 1;
}
static void version(struct fake_loader *l, struct kl_working_keys *k)
{
    (void)l;
    k->tmk_version++;
}
static void mac(struct fake_loader *l, struct kl_working_keys *k)
{
    (void)l;
    k->mac[15] ^= 1;
}
/* Of the other format, where the TMK has one. */
static void format(struct fake_loader *l, struct kl_working_keys *k)
{
    (void)l;
    if (k->has_field62) {
        memset(k->field62, 0, sizeof(k->field62));
        k->has_field62 = 0;
        k->pik.len = k->mak.len = kl_alg_info(k->alg)->is_aes ? 24 : 16;
        k->pik.kcv_len = k->mak.kcv_len = 3;
    } else {
        memset(&k->pik, 0, sizeof(k->pik));
        memset(&k->mak, 0, sizeof(k->mak));
        k->has_field62 = 1;
    }
}

static const struct {
    void (*before)(struct fake_loader *, struct kl_working_keys *); /* the MAC */
    void (*after)(struct fake_loader *, struct kl_working_keys *);
    const char *text; /* NULL: what it says depends on the TMK */
} spoilt[] = {
    {session, NULL, NULL},  {pik, NULL, NULL},      {mak, NULL, NULL},
    {pik_kcv, NULL, "PIK"}, {mak_kcv, NULL, "MAK"}, {version, NULL, "version"},
    {NULL, mac, "MAC"},     {NULL, pik, "MAC"},     {format, NULL, "format"},
};
#define SPOILT ((int)(sizeof(spoilt) / sizeof(spoilt[0])))
static const int spoilt_cases[] = {0, 2, 3}; /* of `cases` */
#define SPOILT_CASES 3

START_TEST(test_spoilt)
{
    int i = _i % SPOILT, c = spoilt_cases[_i / SPOILT % SPOILT_CASES];
    struct talk talk = {.format = cases[c].format};
    struct fake_loader good;
    struct kl_msg msg;
    struct bench b;
    uint32_t number;
    enum kl_rc rc;

    if (spoilt[i].before == format && kl_alg_info(cases[c].alg)->is_aes) {
        return; /* there is only one format */
    }
    load(&b, _i / SPOILT / SPOILT_CASES, cases[c].alg);
    whole(&b, &talk);
    good = b.loader;
    number = kl_terminal_keys(b.home_open)->number;
    b.loader.spoil_keys = spoilt[i].before;
    b.loader.spoil_keys_after = spoilt[i].after;
    to_keys(&b, &talk);
    rc = step(&b, &talk);
    ck_assert_msg(rc == KL_ERR_VERIFY, "%s: %s", kl_rc_name(rc), b.err.text);
    if (spoilt[i].text) {
        ck_assert_msg(strstr(b.err.text, spoilt[i].text), "%s", b.err.text);
    }
    ok(&b, kl_msg_decode(talk.buf, talk.len, &msg, &b.err));
    ck_assert_int_eq(msg.type, KL_MSG_FAILED);
    ck_assert_uint_eq(msg.u.failed.reason, KL_WIRE_REFUSED);
    ck_assert_int_eq(step(&b, &talk), KL_ERR_INTERNAL); /* it is over */
    ok(&b, kl_terminal_drop_keys(b.home_open, b.pad, &b.err));
    ck_assert_uint_eq(kl_terminal_keys(b.home_open)->number, number);
    expect_works(&b, &good);
    finish(&b, &talk);
}
END_TEST

/* WorkingKeys of an earlier sign-in, to a new SignIn. */
START_TEST(test_replayed)
{
    struct talk talk = {.format = cases[_i].format};
    uint8_t old[KL_MSG_MAX];
    struct bench b;
    size_t len;

    load(&b, MEMORY, cases[_i].alg);
    to_keys(&b, &talk);
    memcpy(old, talk.buf, talk.len);
    len = talk.len;
    begin(&b, &talk);
    memcpy(talk.buf, old, len);
    talk.len = len;
    ck_assert_int_eq(step(&b, &talk), KL_ERR_VERIFY);
    ck_assert_msg(strstr(b.err.text, "MAC"), "%s", b.err.text);
    ck_assert_uint_eq(kl_terminal_keys(b.home_open)->number, 0);
    finish(&b, &talk);
}
END_TEST

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

START_TEST(test_done_spoilt)
{
    static void (*const spoil[])(struct kl_msg *) = {done_mac, done_drop, done_version, done_error};
    struct talk talk = {.format = KL_FORMAT_KEYS};
    struct fake_loader good;
    struct kl_msg done;
    struct bench b;
    int there;

    load(&b, _i / 4, KL_ALG_TDES2);
    whole(&b, &talk);
    good = b.loader;
    to_loaded(&b, &talk);
    fake_say_done(&b.loader, KL_VERDICT_ACTIVE, &done);
    spoil[_i % 4](&done);
    fake_encode(&done, talk.buf, &talk.len);
    ck_assert_int_eq(step(&b, &talk), _i % 4 == 3 ? KL_ERR_PEER : KL_ERR_VERIFY);
    ck_assert_uint_eq(talk.len, 0);
    expect_works(&b, &good);
    ok(&b, kl_terminal_drop_keys(b.home_open, b.pad, &b.err));
    ok(&b, kl_pinpad_has_pair(b.pad, kl_signin_pair(talk.machine), &there, &b.err));
    ck_assert_int_eq(there, 0);
    expect_works(&b, &good);
    finish(&b, &talk);
}
END_TEST

START_TEST(test_order)
{
    struct talk talk = {.format = KL_FORMAT_KEYS};
    struct kl_msg msg;
    struct bench b;

    load(&b, MEMORY, KL_ALG_TDES2);
    begin(&b, &talk);
    fake_say_done(&b.loader, KL_VERDICT_ACTIVE, &msg);
    fake_encode(&msg, talk.buf, &talk.len);
    ck_assert_int_eq(step(&b, &talk), KL_ERR_PROTOCOL);
    to_keys(&b, &talk);
    talk.buf[talk.len++] = 0; /* a byte behind the message */
    ck_assert_int_eq(step(&b, &talk), KL_ERR_PROTOCOL);
    begin(&b, &talk);
    done_error(&msg); /* as of one whose TMK is superseded there */
    fake_encode(&msg, talk.buf, &talk.len);
    ck_assert_int_eq(step(&b, &talk), KL_ERR_PEER);
    ck_assert_uint_eq(talk.len, 0);
    finish(&b, &talk);
}
END_TEST

/* Before a load there is nothing to sign in with; field 62 is TDES's. */
START_TEST(test_no_tmk)
{
    struct kl_signin_params params = {.serial = FAKE_SERIAL,
                                      .pinpad_serial = PINPAD,
                                      .format = KL_FORMAT_FIELD62};
    struct kl_signin *machine = NULL;
    struct bench b;

    bench_init(&b, MEMORY);
    params.pad = b.pad;
    params.tmk = *kl_terminal_active(b.home_open);
    ck_assert_int_eq(kl_signin_new(&params, &machine, &b.err), KL_ERR_REFUSED);
    ck_assert_ptr_nonnull(strstr(b.err.text, "load one before"));
    params.tmk = (struct kl_pinpad_tmk){.version = 1, .alg = KL_ALG_AES128, .kcv_len = 3};
    ck_assert_int_eq(kl_signin_new(&params, &machine, &b.err), KL_ERR_UNSUPPORTED);
    bench_end(&b);
}
END_TEST

/* ---- Crashes ---- */

/* Killed at any point before the record names the new pair, the old one is in use and nothing else
 * is left; after it, the new one. */
START_TEST(test_killed)
{
    struct talk talk = {.format = KL_FORMAT_KEYS};
    struct fake_loader old;
    struct kl_pinpad_pair fresh;
    struct kl_msg done;
    struct bench b;
    int there;

    load(&b, TOKEN, _i / 3 ? KL_ALG_AES128 : KL_ALG_TDES2);
    whole(&b, &talk);
    old = b.loader;
    to_loaded(&b, &talk);
    fresh = *kl_signin_pair(talk.machine);
    ok(&b, kl_pinpad_has_pair(b.pad, &fresh, &there, &b.err));
    ck_assert_int_eq(there, 1);
    if (_i % 3 > 0) { /* once Done is there */
        fake_say_done(&b.loader, KL_VERDICT_ACTIVE, &done);
        fake_encode(&done, talk.buf, &talk.len);
        ok(&b, step(&b, &talk));
    }
    if (_i % 3 == 2) { /* once it is on record */
        ok(&b, kl_terminal_take_keys(b.home_open, b.pad, &fresh, &b.err));
    }
    kl_signin_free(talk.machine);
    talk.machine = NULL;
    bench_restart(&b);
    ok(&b, kl_pinpad_has_pair(b.pad, &fresh, &there, &b.err));
    ck_assert_int_eq(there, _i % 3 == 2);
    expect_works(&b, _i % 3 == 2 ? &b.loader : &old);
    finish(&b, &talk);
}
END_TEST

/* The record is what counts: pruning that never came about is made up for at the next start. */
START_TEST(test_killed_before_prune)
{
    struct talk talk = {.format = KL_FORMAT_KEYS};
    struct kl_pinpad_pair old, fresh;
    char path[PATH_MAX + 16];
    char *text = NULL;
    struct bench b;
    size_t len;
    int there;

    load(&b, TOKEN, KL_ALG_TDES2);
    whole(&b, &talk);
    old = *kl_terminal_keys(b.home_open);
    to_loaded(&b, &talk);
    fresh = *kl_signin_pair(talk.machine);
    kl_signin_free(talk.machine);
    talk.machine = NULL;
    bench_close(&b);
    /* The record rewritten, and nothing more. */
    snprintf(path, sizeof(path), "%s/record", b.home);
    ok(&b, kl_file_read(path, KL_RECORD_TEXT_MAX, &text, &len, &b.err));
    {
        struct kl_record record;
        char again[KL_RECORD_TEXT_MAX];

        ok(&b, kl_record_parse(text, &record, &b.err));
        ck_assert_uint_eq(record.keys.number, old.number);
        record.keys = fresh;
        len = kl_record_format(&record, again);
        ok(&b, kl_file_write(path, again, len, 0600, 1, &b.err));
    }
    free(text);
    bench_restart(&b);
    ok(&b, kl_pinpad_has_pair(b.pad, &old, &there, &b.err));
    ck_assert_int_eq(there, 0);
    expect_works(&b, &b.loader);
    finish(&b, &talk);
}
END_TEST

/* Keys belong to one TMK: they go when another becomes active, and not before. */
START_TEST(test_new_tmk)
{
    struct talk talk = {.format = KL_FORMAT_KEYS};
    struct kl_pinpad_pair old;
    struct fake_loader keys;
    struct kl_msg done;
    struct bench b;
    int there;

    load(&b, _i, KL_ALG_AES128);
    whole(&b, &talk);
    keys = b.loader;
    old = *kl_terminal_keys(b.home_open);
    b.loader.version = 2;
    bench_to_loaded(&b);
    expect_works(&b, &keys); /* the candidate is unconfirmed */
    fake_say_done(&b.loader, KL_VERDICT_ACTIVE, &done);
    ok(&b, bench_give(&b, &done));
    bench_settle(&b);
    ck_assert_uint_eq(kl_terminal_keys(b.home_open)->number, 0);
    ok(&b, kl_pinpad_has_pair(b.pad, &old, &there, &b.err));
    ck_assert_int_eq(there, 0);
    whole(&b, &talk);
    expect_works(&b, &b.loader);
    finish(&b, &talk);
}
END_TEST

/* A pair of another TMK than the one in use, or one that the pad lacks, is not taken into use. */
START_TEST(test_not_taken)
{
    struct kl_pinpad_pair pair = {.number = 9, .tmk_version = 2, .alg = KL_ALG_TDES2, .kcv_len = 3};
    const uint8_t any[16] = {1, 2, 3}; /* under TDES-ECB everything is a key */
    const struct kl_bytes wrapped = {any, sizeof(any)};
    struct talk talk = {.format = KL_FORMAT_KEYS};
    struct bench b;
    uint32_t number;

    load(&b, _i, KL_ALG_TDES2);
    whole(&b, &talk);
    number = kl_terminal_keys(b.home_open)->number;
    b.loader.version = 2;
    bench_to_loaded(&b); /* a candidate */
    ck_assert_int_eq(kl_terminal_take_keys(b.home_open, b.pad, &pair, &b.err), KL_ERR_KEY);
    ok(&b, kl_pinpad_keep_pair(b.pad, &pair, &wrapped, &wrapped, &b.err));
    ck_assert_int_eq(kl_terminal_take_keys(b.home_open, b.pad, &pair, &b.err), KL_ERR_VERIFY);
    ck_assert_uint_eq(kl_terminal_keys(b.home_open)->number, number);
    pair.number = 10;
    pair.tmk_version = 7; /* no such TMK */
    ck_assert_int_eq(kl_pinpad_keep_pair(b.pad, &pair, &wrapped, &wrapped, &b.err),
                     KL_ERR_NOT_FOUND);
    finish(&b, &talk);
}
END_TEST

/* ---- By the commands ---- */

/* What a command prints on one line. */
static void run_line(struct bench *b, const char *out_path, char line[128],
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
    struct bench b;
    int status = 0;

    load(&b, TOKEN, KL_ALG_TDES2);
    whole(&b, &talk);
    kl_signin_free(talk.machine);
    bench_close(&b);
    bench_write_file(b.dir, "in", "12345678", in);
    bench_write_file(b.dir, "cardholder", "4321\n", pin);
    bench_write_file(b.dir, "letters", "43a1\n", bad);
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
    bench_end(&b);
}
END_TEST

/* ---- The record ---- */

START_TEST(test_record_lines)
{
    static const char *const bad[] = {
        "keys 1 1 tdes2 A0B0C0 A1B1C1\nend\n",                          /* of no TMK */
        "active 2 tdes2 A0B0C0\nkeys 1 1 tdes2 A0B0C0 A1B1C1\nend\n",   /* of another */
        "active 2 tdes2 A0B0C0\nkeys 0 2 tdes2 A0B0C0 A1B1C1\nend\n",   /* no number */
        "active 2 tdes2 A0B0C0\nkeys 1 2 des A0B0C0 A1B1C1\nend\n",     /* no algorithm */
        "active 2 tdes2 A0B0C0\nkeys 1 2 tdes2 A0B0C0 A1B1C1D1\nend\n", /* two lengths */
        "active 2 tdes2 A0B0C0\nkeys 1 2 tdes2 A0B0 A1B1\nend\n",       /* too short */
        "active 2 tdes2 A0B0C0\nkeys 1 2 tdes2 A0B0C0 A1B1C1\n"
        "keys 2 2 tdes2 A0B0C0 A1B1C1\nend\n", /* twice */
    };
    const char *good = "active 2 tdes2 A0B0C0\nkeys 7 2 tdes2 A0B0C0D0 A1B1C1D1\nend\n";
    struct kl_err err = KL_ERR_INIT;
    struct kl_record record;
    char text[KL_RECORD_TEXT_MAX];

    ck_assert_int_eq(kl_record_parse(good, &record, &err), KL_OK);
    ck_assert_uint_eq(record.keys.number, 7);
    kl_record_format(&record, text);
    ck_assert_str_eq(text, good);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(kl_record_parse(bad[i], &record, &err) == KL_ERR_INPUT, "%s", bad[i]);
    }
}
END_TEST

/* ---- The token's objects ---- */

/* Each can do its one thing, and none comes out. */
START_TEST(test_token_objects)
{
    static const CK_ATTRIBUTE_TYPE uses[] = {CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN,  CKA_VERIFY,
                                             CKA_WRAP,    CKA_UNWRAP,  CKA_DERIVE};
    static const struct {
        const char *prefix;
        CK_ATTRIBUTE_TYPE use[2]; /* with a TDES TMK, an AES one */
    } kinds[] = {{"pik/", {CKA_ENCRYPT, CKA_ENCRYPT}},
                 {"mak/", {CKA_ENCRYPT, CKA_SIGN}},
                 {"chain/", {CKA_ENCRYPT, 0}}};
    struct talk talk = {.format = KL_FORMAT_KEYS};
    struct kl_secret *pin;
    struct kl_module *module;
    struct kl_token *token;
    struct kl_session *p11_session;
    struct kl_uri *uri;
    struct bench b;
    CK_FUNCTION_LIST *f;
    CK_SESSION_HANDLE s;
    CK_OBJECT_HANDLE objects[16];
    CK_ULONG count;
    unsigned seen = 0;

    load(&b, TOKEN, _i ? KL_ALG_AES128 : KL_ALG_TDES2);
    whole(&b, &talk);
    kl_signin_free(talk.machine);
    bench_close(&b);
    pin = test_secret("1234567");
    ok(&b, kl_module_load(test_softhsm_path(), NULL, &module, &b.err));
    ok(&b, kl_uri_parse("pkcs11:token=" PINPAD, &uri, &b.err));
    ok(&b, kl_token_open(module, uri, pin, 0, &token, &b.err));
    ok(&b, kl_session_open(token, &p11_session, &b.err));
    f = kl_session_functions(p11_session);
    s = kl_session_handle(p11_session);
    ck_assert_uint_eq(f->C_FindObjectsInit(s, NULL, 0), CKR_OK);
    ck_assert_uint_eq(f->C_FindObjects(s, objects, 16, &count), CKR_OK);
    f->C_FindObjectsFinal(s);
    ck_assert_uint_eq(count, _i ? 3 : 4);
    for (CK_ULONG o = 0; o < count; o++) {
        char label[64] = "";
        CK_BBOOL value;
        CK_ATTRIBUTE attr = {CKA_LABEL, label, sizeof(label) - 1};

        ck_assert_uint_eq(f->C_GetAttributeValue(s, objects[o], &attr, 1), CKR_OK);
        for (size_t k = 0; k < 3; k++) {
            if (strncmp(label, kinds[k].prefix, strlen(kinds[k].prefix)) != 0) {
                continue;
            }
            seen++;
            for (size_t u = 0; u < sizeof(uses) / sizeof(uses[0]); u++) {
                attr = (CK_ATTRIBUTE){uses[u], &value, sizeof(value)};
                ck_assert_uint_eq(f->C_GetAttributeValue(s, objects[o], &attr, 1), CKR_OK);
                ck_assert_msg((value == CK_TRUE) == (uses[u] == kinds[k].use[_i]),
                              "%s: attribute %#lx", label, uses[u]);
            }
            attr = (CK_ATTRIBUTE){CKA_EXTRACTABLE, &value, sizeof(value)};
            ck_assert_uint_eq(f->C_GetAttributeValue(s, objects[o], &attr, 1), CKR_OK);
            ck_assert_uint_eq(value, CK_FALSE);
            attr = (CK_ATTRIBUTE){CKA_SENSITIVE, &value, sizeof(value)};
            ck_assert_uint_eq(f->C_GetAttributeValue(s, objects[o], &attr, 1), CKR_OK);
            ck_assert_uint_eq(value, CK_TRUE);
        }
    }
    ck_assert_uint_eq(seen, _i ? 2 : 3);
    kl_session_free(p11_session);
    kl_token_free(token);
    kl_uri_free(uri);
    kl_module_free(module);
    kl_secret_free(pin);
    bench_end(&b);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("signin");
    TCase *tc = tcase_create("signin");

    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, fake_make_keys, NULL);
    tcase_add_loop_test(tc, test_sign_in, 0, CASES * PAD_KINDS);
    tcase_add_loop_test(tc, test_pairing, 0, 2);
    tcase_add_loop_test(tc, test_spoilt, 0, SPOILT * SPOILT_CASES * PAD_KINDS);
    tcase_add_loop_test(tc, test_replayed, 0, CASES);
    tcase_add_loop_test(tc, test_done_spoilt, 0, 4 * PAD_KINDS);
    tcase_add_test(tc, test_order);
    tcase_add_test(tc, test_no_tmk);
    tcase_add_loop_test(tc, test_killed, 0, 6);
    tcase_add_test(tc, test_killed_before_prune);
    tcase_add_loop_test(tc, test_new_tmk, 0, PAD_KINDS);
    tcase_add_loop_test(tc, test_not_taken, 0, PAD_KINDS);
    tcase_add_test(tc, test_commands);
    tcase_add_test(tc, test_record_lines);
    tcase_add_loop_test(tc, test_token_objects, 0, 2);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    int status = test_run(suite());

    fake_free_keys();
    return status;
}
