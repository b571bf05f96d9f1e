/* SPDX-License-Identifier: BSD-2-Clause */
/* The stand: making a terminal, killing it, and walking it through a load to any point. */
#include "tests/support/stand.h"

#include <check.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "conf/cli.h"
#include "tests/support/hsm.h"

#define PIN "1234567"

/* ---- The terminal under test ---- */

static enum kl_rc record(void *arg, const struct kl_candidate *candidate, struct kl_err *err)
{
    struct stand *b = arg;
    enum kl_rc rc;

    if (b->fault == (candidate->whole ? STAND_FAULT_COMPLETE : STAND_FAULT_BEGIN)) {
        return kl_err_set(err, KL_ERR_IO, "disk full");
    }
    if (b->fault == STAND_DEATH_WRITTEN && candidate->whole) {
        return kl_err_set(err, KL_ERR_IO, "killed");
    }
    rc = kl_terminal_record(b->home_open, candidate, err);
    if (!rc && b->fault == (candidate->whole ? STAND_DEATH_COMPLETED : STAND_DEATH_BEGUN)) {
        rc = kl_err_set(err, KL_ERR_IO, "killed");
    }
    return rc;
}

static enum kl_rc forget(void *arg, uint32_t version, struct kl_err *err)
{
    struct stand *b = arg;

    if (b->fault >= STAND_DEATH_BEGUN) {
        return kl_err_set(err, KL_ERR_IO, "the dead forget nothing");
    }
    return kl_terminal_settle(b->home_open, b->pad, version, KL_VERDICT_DROP, err);
}

static void trace(void *arg, const char *line)
{
    struct stand *b = arg;

    size_t used = strlen(b->traced);

    snprintf(b->traced + used, sizeof(b->traced) - used, "%s\n", line);
}

void stand_write_file(const char *dir, const char *name, const char *text, char path[PATH_MAX])
{
    struct kl_err err = KL_ERR_INIT;

    ck_assert_int_lt(snprintf(path, PATH_MAX, "%s/%s", dir, name), PATH_MAX);
    ck_assert_int_eq(kl_file_write(path, text, strlen(text), 0600, 1, &err), KL_OK);
}

static void stand_open(struct stand *b)
{
    stand_ok(b, kl_terminal_open(b->home, 1, &b->home_open, &b->err));
    stand_ok(b, kl_terminal_open_pinpad(b->home_open, &b->pad, &b->err));
    b->params.serial = kl_terminal_serial(b->home_open);
    b->params.pinpad_serial = kl_terminal_pinpad_serial(b->home_open);
    b->params.roots = kl_terminal_roots(b->home_open);
    b->params.chain_count = kl_terminal_chain(b->home_open, b->params.chain);
    b->params.pad = b->pad;
}

void stand_close(struct stand *b)
{
    kl_terminal_load_free(b->load);
    kl_pinpad_free(b->pad);
    kl_terminal_free(b->home_open);
    b->load = NULL;
    b->pad = NULL;
    b->home_open = NULL;
}

/* The process dies and starts again. */
void stand_restart(struct stand *b)
{
    stand_close(b);
    stand_open(b);
    stand_ok(b, kl_terminal_recover(b->home_open, b->pad, &b->err));
}

void stand_init(struct stand *b, int kind)
{
    char root_path[PATH_MAX], pin_path[PATH_MAX], so_path[PATH_MAX];
    struct kl_terminal_setup setup = {.dir = b->home,
                                      .serial = FAKE_SERIAL,
                                      .pinpad_serial = STAND_PINPAD};
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    long pem_len;

    memset(b, 0, sizeof(*b));
    b->kind = kind;
    test_softhsm_dir(b->dir, NULL, NULL);
    snprintf(b->home, sizeof(b->home), "%s/term", b->dir);
    PEM_write_bio_X509(bio, root);
    BIO_write(bio, "", 1);
    pem_len = BIO_get_mem_data(bio, &pem);
    ck_assert_int_gt(pem_len, 1);
    stand_write_file(b->dir, "root.pem", pem, root_path);
    BIO_free(bio);
    stand_write_file(b->dir, "pin", PIN "\n", pin_path);
    stand_write_file(b->dir, "so", TEST_SO_PIN "\n", so_path);
    setup.roots[0] = root_path;
    setup.root_count = 1;
    setup.kind = kind == STAND_TOKEN ? KL_PINPAD_TOKEN : KL_PINPAD_MEMORY;
    if (kind == STAND_TOKEN) {
        setup.module = test_softhsm_path();
        setup.pin_source = pin_path;
        setup.so_pin_source = so_path;
    }
    stand_ok(b, kl_terminal_init(&setup, &b->err));
    ck_assert_int_eq(kl_terminal_init(&setup, &b->err), KL_ERR_EXISTS);
    stand_open(b);
    b->params.algs[0] = KL_ALG_TDES2;
    b->params.algs[1] = KL_ALG_TDES3;
    b->params.algs[2] = KL_ALG_AES128;
    b->params.alg_count = 3;
    b->params.suites[0] = KL_SUITE_HARDENED_EC;
    b->params.suites[1] = KL_SUITE_HARDENED_RSA;
    b->params.suite_count = 2;
    b->params.now = time(NULL);
    b->params.record = record;
    b->params.forget = forget;
    b->params.trace = trace;
    b->params.arg = b;
    fake_loader_init(&b->loader);
}

void stand_end(struct stand *b)
{
    stand_close(b);
    test_rm_rf(b->dir);
}

/* The PIN pad holds, or lacks, exactly these; versions ascend. */
void stand_expect_tmks(struct stand *b, size_t count, uint32_t version0,
                       enum kl_terminal_state state0, uint32_t version1,
                       enum kl_terminal_state state1)
{
    struct kl_terminal_tmk tmks[KL_TERMINAL_TMK_MAX];
    size_t n;

    stand_ok(b, kl_terminal_list(b->home_open, b->pad, tmks, &n, &b->err));
    ck_assert_uint_eq(n, count);
    if (n > 0) {
        ck_assert_uint_eq(tmks[0].tmk.version, version0);
        ck_assert_int_eq(tmks[0].state, state0);
    }
    if (n > 1) {
        ck_assert_uint_eq(tmks[1].tmk.version, version1);
        ck_assert_int_eq(tmks[1].state, state1);
    }
}

size_t stand_candidates(struct stand *b)
{
    const struct kl_candidate *list;

    return kl_terminal_candidates(b->home_open, &list);
}

enum kl_rc stand_step(struct stand *b)
{
    uint8_t in[KL_MSG_MAX];
    size_t len = b->len;

    memcpy(in, b->buf, len);
    return kl_terminal_load_step(b->load, in, len, b->buf, &b->len, &b->err);
}

void stand_begin(struct stand *b)
{
    kl_terminal_load_free(b->load);
    b->load = NULL;
    b->loader.told_len = 0;
    b->loader.session_len = 0;
    b->traced[0] = '\0';
    stand_ok(b, kl_terminal_load_new(&b->params, &b->load, &b->err));
    stand_ok(b, kl_terminal_load_hello(b->load, b->buf, &b->len, &b->err));
}

void stand_to_certificate(struct stand *b)
{
    uint8_t out[KL_MSG_MAX];
    size_t len;

    stand_begin(b);
    fake_say_certificate(&b->loader, b->buf, b->len, out, &len);
    memcpy(b->buf, out, len);
    b->len = len;
}

void stand_to_master_key(struct stand *b)
{
    uint8_t out[KL_MSG_MAX];
    size_t len;

    stand_to_certificate(b);
    stand_ok(b, stand_step(b));
    fake_say_master_key(&b->loader, b->buf, b->len, out, &len);
    memcpy(b->buf, out, len);
    b->len = len;
}

/* Up to Loaded, which is checked as a loader would. */
void stand_to_loaded(struct stand *b)
{
    struct kl_msg msg;
    uint8_t mac[16];

    stand_to_master_key(b);
    stand_ok(b, stand_step(b));
    stand_ok(b, kl_msg_decode(b->buf, b->len, &msg, &b->err));
    ck_assert_int_eq(msg.type, KL_MSG_LOADED);
    ck_assert_uint_eq(msg.u.loaded.kcv_len, b->loader.kcv_len);
    ck_assert_mem_eq(msg.u.loaded.kcv, b->loader.kcv, b->loader.kcv_len);
    fake_ack_mac(&b->loader, mac);
    ck_assert_mem_eq(msg.u.loaded.mac, mac, 16);
}

enum kl_rc stand_give(struct stand *b, const struct kl_msg *msg)
{
    fake_encode(msg, b->buf, &b->len);
    return stand_step(b);
}

void stand_settle(struct stand *b)
{
    stand_ok(b,
             kl_terminal_settle(b->home_open, b->pad, kl_terminal_load_candidate(b->load)->version,
                                kl_terminal_load_verdict(b->load), &b->err));
}

void stand_whole_load(struct stand *b)
{
    struct kl_msg done;

    stand_to_loaded(b);
    fake_say_done(&b->loader, KL_VERDICT_ACTIVE, &done);
    stand_ok(b, stand_give(b, &done));
    ck_assert_uint_eq(b->len, 0);
    stand_settle(b);
}

/* Redelivers the only candidate, checks Confirm as a loader would, answers with `verdict`. */
void stand_confirm(struct stand *b, enum kl_verdict verdict)
{
    const struct kl_candidate *list;
    struct kl_msg msg;
    uint8_t mac[16];

    ck_assert_uint_eq(kl_terminal_candidates(b->home_open, &list), 1);
    kl_terminal_load_free(b->load);
    b->load = NULL;
    stand_ok(b, kl_terminal_load_new(&b->params, &b->load, &b->err));
    stand_ok(b, kl_terminal_load_confirm(b->load, &list[0], b->buf, &b->len, &b->err));
    stand_ok(b, kl_msg_decode(b->buf, b->len, &msg, &b->err));
    ck_assert_int_eq(msg.type, KL_MSG_CONFIRM);
    ck_assert_str_eq(msg.u.confirm.serial, FAKE_SERIAL);
    ck_assert_str_eq(msg.u.confirm.pinpad_serial, STAND_PINPAD);
    ck_assert_uint_eq(msg.u.confirm.tmk_version, b->loader.version);
    fake_ack_mac(&b->loader, mac);
    ck_assert_mem_eq(msg.u.confirm.loaded.mac, mac, 16);
    fake_say_done(&b->loader, verdict, &msg);
    stand_ok(b, stand_give(b, &msg));
    ck_assert_uint_eq(b->len, 0);
}

/* The step that was just due fails so, tells the peer no more than `reason`, and is the last. */
void stand_expect_refusal(struct stand *b, enum kl_rc want, uint32_t reason)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg;
    size_t len;
    enum kl_rc rc = stand_step(b);

    ck_assert_msg(rc == want, "%s: %s", kl_rc_name(rc), b->err.text);
    ck_assert_uint_gt(b->len, 0);
    ck_assert_int_eq(kl_msg_decode(b->buf, b->len, &msg, &err), KL_OK);
    ck_assert_int_eq(msg.type, KL_MSG_FAILED);
    ck_assert_uint_eq(msg.u.failed.reason, reason);
    ck_assert_int_eq(kl_terminal_load_step(b->load, b->buf, b->len, b->buf, &len, &err),
                     KL_ERR_INTERNAL);
    ck_assert_uint_eq(len, 0);
    ck_assert_int_eq(kl_terminal_load_has_candidate(b->load), 0);
}
