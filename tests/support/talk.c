/* SPDX-License-Identifier: BSD-2-Clause */
/* A sign-in in the stand: see talk.h. */
#include "tests/support/talk.h"

#include <check.h>
#include <string.h>

#include "terminal-sim/pinpad/working.h"
#include "tests/support/hsm.h"

static const char message[] = "0200 a message of some length, and no whole block";

static enum kl_rc doubt(void *arg, struct kl_err *err)
{
    struct stand *b = arg;

    return kl_terminal_doubt_keys(b->home_open, err);
}

static enum kl_rc no_room(void *arg, struct kl_err *err)
{
    (void)arg;
    return kl_err_set(err, KL_ERR_IO, "disk full");
}

void talk_drop(struct talk *talk)
{
    kl_signin_free(talk->machine);
    talk->machine = NULL;
}

void talk_begin(struct stand *b, struct talk *talk)
{
    const struct kl_signin_params params = {.serial = FAKE_SERIAL,
                                            .pinpad_serial = STAND_PINPAD,
                                            .pad = b->pad,
                                            .tmk = *kl_terminal_active(b->home_open),
                                            .format = talk->format,
                                            .doubt = talk->disk_full ? no_room : doubt,
                                            .arg = b};

    talk_drop(talk);
    stand_ok(b, kl_signin_new(&params, &talk->machine, &b->err));
    stand_ok(b, kl_signin_begin(talk->machine, talk->buf, &talk->len, &b->err));
}

/* Takes what is in buf. */
enum kl_rc talk_step(struct stand *b, struct talk *talk)
{
    uint8_t in[KL_MSG_MAX];
    size_t len = talk->len;

    memcpy(in, talk->buf, len);
    return kl_signin_step(talk->machine, in, len, talk->buf, &talk->len, &b->err);
}

void talk_to_keys(struct stand *b, struct talk *talk)
{
    uint8_t out[KL_MSG_MAX];
    size_t len;

    talk_begin(b, talk);
    fake_say_keys(&b->loader, talk->buf, talk->len, out, &len);
    memcpy(talk->buf, out, len);
    talk->len = len;
}

/* Up to Loaded, which is checked as the loader would. */
void talk_to_loaded(struct stand *b, struct talk *talk)
{
    struct kl_msg msg;
    uint8_t mac[16];

    talk_to_keys(b, talk);
    stand_ok(b, talk_step(b, talk));
    stand_ok(b, kl_msg_decode(talk->buf, talk->len, &msg, &b->err));
    ck_assert_int_eq(msg.type, KL_MSG_LOADED);
    ck_assert_mem_eq(msg.u.loaded.kcv, b->loader.kcv, b->loader.kcv_len);
    fake_ack_mac(&b->loader, mac);
    ck_assert_mem_eq(msg.u.loaded.mac, mac, 16);
}

void talk_whole(struct stand *b, struct talk *talk)
{
    struct kl_msg done;

    talk_to_loaded(b, talk);
    fake_say_done(&b->loader, KL_VERDICT_ACTIVE, &done);
    fake_encode(&done, talk->buf, &talk->len);
    stand_ok(b, talk_step(b, talk));
    ck_assert_uint_eq(talk->len, 0);
    stand_ok(b,
             kl_terminal_take_keys(b->home_open, b->pad, kl_signin_pair(talk->machine), &b->err));
}

void talk_load(struct stand *b, int kind, enum kl_alg alg)
{
    stand_init(b, kind);
    b->loader.alg = alg;
    fake_loader_ec(&b->loader, fake_ec_key, fake_ec_work);
    stand_whole_load(b);
}

void talk_finish(struct stand *b, struct talk *talk)
{
    talk_drop(talk);
    stand_end(b);
}

/* ---- What the keys do ---- */

/* The loader's side recomputes a MAC and a PIN block from the keys that it drew. */
void talk_expect_works(struct stand *b, const struct kl_rogue *l)
{
    struct kl_pinpad_pair pair;
    const struct kl_alg_info *info = kl_alg_info(l->keys_alg);
    struct kl_secret *pin = test_secret("1234");
    uint8_t mac[16], want[16], padded[64] = {0}, block[16], clear[16], pan[16];
    size_t len;

    stand_ok(b, kl_terminal_usable_keys(b->home_open, &pair, &b->err));
    ck_assert_uint_ne(pair.number, 0);
    ck_assert_int_eq(pair.alg, l->keys_alg);
    stand_ok(b, kl_working_mac(b->pad, &pair, KL_MAC_PADDING_1, (const uint8_t *)message,
                               sizeof(message), mac, &len, &b->err));
    memcpy(padded, message, sizeof(message));
    if (info->is_aes) {
        fake_cmac(l->mak, info->key_len, padded, sizeof(message), want);
    } else {
        fake_retail_mac(l->mak, info->key_len, padded, (sizeof(message) + 7) / 8 * 8, want);
    }
    ck_assert_uint_eq(len, info->is_aes ? 16 : 8);
    ck_assert_mem_eq(mac, want, len);
    stand_ok(b, kl_working_pin_block(b->pad, &pair, info->is_aes ? 4 : 0, pin, "4111111111111111",
                                     block, &len, &b->err));
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

/* Loaded went out and no Done came: no pair is given out, until a sign-in ends well. */
void talk_expect_doubt(struct stand *b)
{
    struct kl_pinpad_pair pair = {0};

    ck_assert_int_eq(kl_terminal_keys_in_doubt(b->home_open), 1);
    ck_assert_int_eq(kl_terminal_usable_keys(b->home_open, &pair, &b->err), KL_ERR_BUSY);
    ck_assert_uint_eq(pair.number, 0);
    ck_assert_msg(strstr(b->err.text, "sign in again"), "%s", b->err.text);
}
