/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A terminal's load against the fake loader: each test spoils one thing and expects the terminal to
 * notice, keep its old TMK, and say no more than "refused" to the peer.
 */
#include <check.h>
#include <string.h>

#include "proto/cert.h"
#include "terminal-sim/judge.h"
#include "tests/support/stand.h"
#include "tests/support/suite.h"

/* ---- Good loads ---- */

START_TEST(test_load)
{
    struct stand b;

    stand_init(&b, _i);
    stand_whole_load(&b);
    stand_expect_tmks(&b, 1, 1, KL_TERMINAL_ACTIVE, 0, 0);
    ck_assert_uint_eq(stand_candidates(&b), 0);
    ck_assert_ptr_nonnull(strstr(b.traced, "S4 verified AcquireWCRT subject=\"CN=Loader\""));
    ck_assert_ptr_nonnull(strstr(b.traced, "S5 C_rnd1_rnd2"));
    ck_assert_ptr_nonnull(strstr(b.traced, "S8 C_ctmk_rnd2"));
    ck_assert_ptr_nonnull(strstr(b.traced, "S9 TMK written"));
    b.loader.version = 2;
    b.loader.alg = KL_ALG_TDES3;
    b.loader.kcv_len = 4;
    stand_whole_load(&b);
    stand_expect_tmks(&b, 1, 2, KL_TERMINAL_ACTIVE, 0, 0);
    if (b.kind == STAND_TOKEN) {
        stand_restart(&b);
        stand_expect_tmks(&b, 1, 2, KL_TERMINAL_ACTIVE, 0, 0);
    }
    stand_end(&b);
}
END_TEST

START_TEST(test_randoms_are_fresh)
{
    struct stand b;
    uint8_t rnd1[32], rnd2[32];

    stand_init(&b, _i);
    stand_to_master_key(&b);
    memcpy(rnd1, b.loader.rnd1, 32);
    memcpy(rnd2, b.loader.rnd2, 32);
    stand_to_master_key(&b);
    ck_assert_mem_ne(rnd1, b.loader.rnd1, 32);
    ck_assert_mem_ne(rnd2, b.loader.rnd2, 32);
    stand_end(&b);
}
END_TEST

/* ---- Certificate ---- */

static void bad_suite(struct kl_certificate *c)
{
    c->suite = 2;
}

START_TEST(test_certificate_suite)
{
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    b.loader.spoil_certificate = bad_suite;
    stand_to_certificate(&b);
    stand_expect_refusal(&b, KL_ERR_UNSUPPORTED, KL_WIRE_REFUSED);
    stand_end(&b);
}
END_TEST

/* A value that no encoder of ours would write: patched into the bytes before the nonce. */
START_TEST(test_certificate_oaep_hash)
{
    static const uint8_t before_nonce[] = {0x02, 0x01, KL_OAEP_SHA1, 0x04, 0x20};
    struct stand b;
    uint8_t *at;

    stand_init(&b, STAND_MEMORY);
    stand_to_certificate(&b);
    at = memmem(b.buf, b.len, before_nonce, sizeof(before_nonce));
    ck_assert_ptr_nonnull(at);
    at[2] = 3;
    stand_expect_refusal(&b, KL_ERR_PROTOCOL, KL_WIRE_PROTOCOL);
    stand_end(&b);
}
END_TEST

/* Nonce and chain are bound by T0: a changed one gives the loader other keys. */
START_TEST(test_certificate_nonce_is_bound)
{
    struct stand b;
    uint8_t out[KL_MSG_MAX];
    struct kl_msg msg;
    EVP_CIPHER_CTX *gcm = EVP_CIPHER_CTX_new();
    uint8_t key[32], plain[32];
    size_t len;
    int n;

    stand_init(&b, STAND_MEMORY);
    stand_begin(&b);
    fake_say_certificate(&b.loader, b.buf, b.len, out, &len);
    stand_ok(&b, kl_msg_decode(out, len, &msg, &b.err));
    msg.u.certificate.nonce[0] ^= 1;
    stand_ok(&b, stand_give(&b, &msg));
    stand_ok(&b, kl_msg_decode(b.buf, b.len, &msg, &b.err));
    fake_derive(&b.loader, "nonce", key);
    EVP_DecryptInit(gcm, EVP_aes_256_gcm(), key, msg.u.randoms.iv);
    EVP_DecryptUpdate(gcm, NULL, &n, b.loader.t0, 32);
    EVP_DecryptUpdate(gcm, plain, &n, msg.u.randoms.c_rnd2, 32);
    EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_SET_TAG, 16, msg.u.randoms.c_rnd2 + 32);
    ck_assert_int_le(EVP_DecryptFinal(gcm, plain, &n), 0);
    EVP_CIPHER_CTX_free(gcm);
    stand_end(&b);
}
END_TEST

static const struct kl_rogue_profile bad_profiles[] = {
    {.from_days = -10, .to_days = -1}, /* expired */
    {.from_days = 1, .to_days = 10},   /* not yet valid */
    {.from_days = -1, .eku = "critical," KL_OID_EKU_TERMINAL},
    {.from_days = -1, .eku = KL_OID_EKU_LOADER}, /* not critical */
    {.from_days = -1, .eku = "critical,serverAuth"},
    {.from_days = -1, .eku = "critical," KL_OID_EKU_LOADER ",serverAuth"},
    {.from_days = -1, .key_usage = "critical,digitalSignature"},
};

START_TEST(test_certificate_profile)
{
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    b.loader.work = fake_new_cert("Loader", fake_work_key, root, fake_root_key, &bad_profiles[_i]);
    stand_to_certificate(&b);
    stand_expect_refusal(&b, KL_ERR_CERT, KL_WIRE_REFUSED);
    X509_free(b.loader.work);
    stand_end(&b);
}
END_TEST

START_TEST(test_certificate_wrong_root)
{
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    b.loader.work = fake_new_cert("Loader", fake_work_key, fake_other_root, fake_other_key, NULL);
    stand_to_certificate(&b);
    stand_expect_refusal(&b, KL_ERR_CERT, KL_WIRE_REFUSED);
    X509_free(b.loader.work);
    stand_end(&b);
}
END_TEST

START_TEST(test_certificate_clock)
{
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    b.params.now += 40 * KL_ROGUE_DAY;
    stand_to_certificate(&b);
    stand_expect_refusal(&b, KL_ERR_CERT, KL_WIRE_REFUSED);
    stand_end(&b);
}
END_TEST

/* ---- MasterKey: signed, but wrong ---- */

static void tbs_t1(struct kl_rogue *l, struct kl_tbs *t)
{
    (void)l;
    t->t1[31] ^= 1;
}
static void tbs_rnd2(struct kl_rogue *l, struct kl_tbs *t)
{
    (void)l;
    t->rnd2[31] ^= 1;
}
static void tbs_ctmk(struct kl_rogue *l, struct kl_tbs *t)
{
    (void)l;
    t->ctmk[0] ^= 1;
}
static void tbs_ctmk_long(struct kl_rogue *l, struct kl_tbs *t)
{
    (void)l;
    t->ctmk_len += 8;
}
static void tbs_serial(struct kl_rogue *l, struct kl_tbs *t)
{
    (void)l;
    strcpy(t->serial, "T-0002");
}
static void tbs_alg(struct kl_rogue *l, struct kl_tbs *t)
{
    (void)l;
    t->alg = KL_ALG_AES192; /* not offered */
    t->kcv_method = KL_KCV_AES_CMAC;
    t->ctmk_len = 32;
}
static void tbs_kcv_method(struct kl_rogue *l, struct kl_tbs *t)
{
    (void)l;
    t->kcv_method = KL_KCV_AES_CMAC;
}
static void tbs_kcv(struct kl_rogue *l, struct kl_tbs *t)
{
    (void)l;
    t->kcv[2] ^= 1;
}

static const struct {
    void (*spoil)(struct kl_rogue *, struct kl_tbs *);
    const char *text; /* of our own log */
} bad_tbs[] = {
    {tbs_t1, "T1"},
    {tbs_rnd2, "Rnd2'"},
    {tbs_ctmk, "unwrap"},
    {tbs_ctmk_long, "Ctmk has"},
    {tbs_serial, "T-0002"},
    {tbs_alg, "not offered"},
    {tbs_kcv_method, "KCV method"},
    {tbs_kcv, "KCV is"},
};
#define BAD_TBS ((int)(sizeof(bad_tbs) / sizeof(bad_tbs[0])))

START_TEST(test_master_key_field)
{
    struct stand b;

    stand_init(&b, _i / BAD_TBS);
    stand_whole_load(&b);
    b.loader.version = 2;
    b.loader.spoil_tbs = bad_tbs[_i % BAD_TBS].spoil;
    stand_to_master_key(&b);
    stand_expect_refusal(&b, KL_ERR_VERIFY, KL_WIRE_REFUSED);
    ck_assert_msg(strstr(b.err.text, bad_tbs[_i % BAD_TBS].text), "%s", b.err.text);
    stand_expect_tmks(&b, 1, 1, KL_TERMINAL_ACTIVE, 0, 0);
    ck_assert_uint_eq(stand_candidates(&b), 0);
    stand_end(&b);
}
END_TEST

/* Values that decoding refuses already: the judgement does not rely on it. */
START_TEST(test_judge_unknown)
{
    static const enum kl_alg algs[] = {KL_ALG_TDES2};
    const uint8_t zeros[32] = {0};
    const struct kl_judge judge = {zeros, zeros, FAKE_SERIAL, algs, 1, KL_KEY_RSA, 2048, 0};
    struct kl_tbs tbs = {.serial = FAKE_SERIAL,
                         .usage = KL_USAGE_KEK,
                         .alg = KL_ALG_TDES2,
                         .ctmk_len = 24,
                         .version = 1,
                         .kcv_method = KL_KCV_TDES_ZEROS,
                         .kcv_len = 3};
    struct kl_err err = KL_ERR_INIT;

    ck_assert_int_eq(kl_judge_tbs(&judge, &tbs, &err), KL_OK);
    tbs.usage = 2;
    ck_assert_int_eq(kl_judge_tbs(&judge, &tbs, &err), KL_ERR_VERIFY);
    ck_assert_ptr_nonnull(strstr(err.text, "usage"));
    tbs.usage = KL_USAGE_KEK;
    tbs.alg = 9;
    ck_assert_int_eq(kl_judge_tbs(&judge, &tbs, &err), KL_ERR_VERIFY);
    ck_assert_ptr_nonnull(strstr(err.text, "not offered"));
}
END_TEST

START_TEST(test_master_key_strength)
{
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    b.loader.alg = KL_ALG_AES128; /* offered, but not under RSA-2048 */
    stand_to_master_key(&b);
    stand_expect_refusal(&b, KL_ERR_STRENGTH, KL_WIRE_REFUSED);
    stand_expect_tmks(&b, 0, 0, 0, 0, 0);
    stand_end(&b);
}
END_TEST

START_TEST(test_master_key_rollback)
{
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    b.loader.version = 5;
    stand_whole_load(&b);
    b.loader.version = (uint32_t)_i; /* 4 or 5 */
    stand_to_master_key(&b);
    stand_expect_refusal(&b, KL_ERR_VERIFY, KL_WIRE_REFUSED);
    ck_assert_ptr_nonnull(strstr(b.err.text, "rollback"));
    stand_expect_tmks(&b, 1, 5, KL_TERMINAL_ACTIVE, 0, 0);
    stand_end(&b);
}
END_TEST

/* ---- MasterKey: not signed by AcquireWCRT_Prk over these bytes ---- */

static void sig_bit(struct kl_rogue *l, struct kl_master_key *m)
{
    (void)l;
    m->sig[m->sig_len - 1] ^= 1;
}
static void sig_long(struct kl_rogue *l, struct kl_master_key *m)
{
    (void)l;
    m->sig_len += 128; /* as of a larger key */
}
static void sig_other_key(struct kl_rogue *l, struct kl_master_key *m)
{
    (void)l;
    fake_sign(fake_other_key, m->tbs_der.data, m->tbs_der.len, 32, m);
}
static void sig_salt(struct kl_rogue *l, struct kl_master_key *m)
{
    (void)l;
    fake_sign(fake_work_key, m->tbs_der.data, m->tbs_der.len, 0, m);
}
static void sig_other_tbs(struct kl_rogue *l, struct kl_master_key *m)
{
    (void)l;
    m->tbs.version++; /* encoded anew after signing */
    static uint8_t der[KL_TBS_MAX];
    struct kl_err err = KL_ERR_INIT;
    size_t len;

    ck_assert_int_eq(kl_tbs_encode(&m->tbs, der, &len, &err), KL_OK);
    m->tbs_der = (struct kl_bytes){der, len};
}

START_TEST(test_master_key_signature)
{
    static void (*const spoil[])(struct kl_rogue *,
                                 struct kl_master_key *) = {sig_bit, sig_long, sig_other_key,
                                                            sig_salt, sig_other_tbs};
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    b.loader.spoil_master_key = spoil[_i];
    stand_to_master_key(&b);
    stand_expect_refusal(&b, KL_ERR_VERIFY, KL_WIRE_REFUSED);
    ck_assert_ptr_nonnull(strstr(b.err.text, "signature"));
    stand_expect_tmks(&b, 0, 0, 0, 0, 0);
    stand_end(&b);
}
END_TEST

/* A recorded loader: its Certificate and MasterKey of an earlier load, to a new Hello. */
START_TEST(test_loader_replayed)
{
    struct stand b;
    uint8_t certificate[KL_MSG_MAX], master_key[KL_MSG_MAX];
    size_t certificate_len, master_key_len;

    stand_init(&b, STAND_MEMORY);
    stand_to_certificate(&b);
    certificate_len = b.len;
    memcpy(certificate, b.buf, b.len);
    stand_ok(&b, stand_step(&b));
    fake_say_master_key(&b.loader, b.buf, b.len, master_key, &master_key_len);
    stand_begin(&b);
    memcpy(b.buf, certificate, certificate_len);
    b.len = certificate_len;
    stand_ok(&b, stand_step(&b));
    memcpy(b.buf, master_key, master_key_len);
    b.len = master_key_len;
    stand_expect_refusal(&b, KL_ERR_VERIFY, KL_WIRE_REFUSED);
    stand_expect_tmks(&b, 0, 0, 0, 0, 0);
    stand_end(&b);
}
END_TEST

/* ---- Order and form ---- */

START_TEST(test_out_of_order)
{
    struct stand b;
    struct kl_msg done;

    stand_init(&b, STAND_MEMORY);
    stand_to_certificate(&b);
    fake_say_done(&b.loader, KL_VERDICT_ACTIVE, &done);
    fake_encode(&done, b.buf, &b.len);
    stand_expect_refusal(&b, KL_ERR_PROTOCOL, KL_WIRE_PROTOCOL);
    stand_to_certificate(&b);
    stand_ok(&b, stand_step(&b));
    fake_encode(&done, b.buf, &b.len);
    stand_expect_refusal(&b, KL_ERR_PROTOCOL, KL_WIRE_PROTOCOL);
    stand_end(&b);
}
END_TEST

START_TEST(test_form)
{
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    stand_to_certificate(&b);
    b.buf[b.len++] = 0; /* a byte behind the message */
    stand_expect_refusal(&b, KL_ERR_PROTOCOL, KL_WIRE_PROTOCOL);
    stand_to_master_key(&b);
    b.len--;
    stand_expect_refusal(&b, KL_ERR_PROTOCOL, KL_WIRE_PROTOCOL);
    stand_end(&b);
}
END_TEST

START_TEST(test_error)
{
    static const struct {
        uint32_t wire;
        enum kl_rc rc;
    } cases[] = {{KL_WIRE_BUSY, KL_ERR_BUSY},       {KL_WIRE_INTERNAL, KL_ERR_BUSY},
                 {KL_WIRE_TIMEOUT, KL_ERR_TIMEOUT}, {KL_WIRE_REFUSED, KL_ERR_PEER},
                 {KL_WIRE_PROTOCOL, KL_ERR_PEER},   {77, KL_ERR_PEER}};
    struct kl_msg msg = {.type = KL_MSG_ERROR};
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    msg.u.error.code = cases[_i].wire;
    strcpy(msg.u.error.text, kl_wire_name(cases[_i].wire)); /* says nothing: not repeated */
    stand_begin(&b);
    ck_assert_int_eq(stand_give(&b, &msg), cases[_i].rc);
    ck_assert_msg(!strchr(b.err.text, ':'), "%s", b.err.text);
    ck_assert_int_eq(strstr(b.err.text, "; see the loader's log") != NULL,
                     cases[_i].rc == KL_ERR_PEER);
    stand_begin(&b);
    msg.u.error.retry_after = 7;
    strcpy(msg.u.error.text, "not now");
    ck_assert_int_eq(stand_give(&b, &msg), cases[_i].rc);
    ck_assert_uint_eq(b.len, 0); /* no Failed in answer to an Error */
    ck_assert_ptr_nonnull(strstr(b.err.text, "not now"));
    ck_assert_ptr_nonnull(strstr(b.err.text, "7 s"));
    stand_end(&b);
}
END_TEST

/* ---- Done ---- */

static void done_mac(struct kl_msg *m)
{
    m->u.done.mac[0] ^= 1;
}
static void done_verdict(struct kl_msg *m) /* the MAC is that of ACTIVE */
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

/* Nothing but a good MAC moves a candidate, in the load and in a Confirm alike. */
START_TEST(test_done_spoilt)
{
    static void (*const spoil[])(struct kl_msg *) = {done_mac, done_verdict, done_version,
                                                     done_error};
    const struct kl_candidate *list;
    struct kl_msg done;
    struct stand b;
    int kind = _i / 4;

    stand_init(&b, kind);
    stand_whole_load(&b);
    b.loader.version = 2;
    stand_to_loaded(&b);
    fake_say_done(&b.loader, KL_VERDICT_ACTIVE, &done);
    spoil[_i % 4](&done);
    ck_assert_int_eq(stand_give(&b, &done), _i % 4 == 3 ? KL_ERR_PEER : KL_ERR_VERIFY);
    ck_assert_uint_eq(b.len, 0);
    stand_expect_tmks(&b, 2, 1, KL_TERMINAL_ACTIVE, 2, KL_TERMINAL_UNCONFIRMED);
    if (kind == STAND_TOKEN) {
        stand_restart(&b);
    }
    ck_assert_uint_eq(kl_terminal_candidates(b.home_open, &list), 1);
    kl_terminal_load_free(b.load);
    stand_ok(&b, kl_terminal_load_new(&b.params, &b.load, &b.err));
    stand_ok(&b, kl_terminal_load_confirm(b.load, &list[0], b.buf, &b.len, &b.err));
    ck_assert_int_eq(stand_give(&b, &done), _i % 4 == 3 ? KL_ERR_PEER : KL_ERR_VERIFY);
    ck_assert_uint_eq(b.len, 0);
    stand_expect_tmks(&b, 2, 1, KL_TERMINAL_ACTIVE, 2, KL_TERMINAL_UNCONFIRMED);
    stand_end(&b);
}
END_TEST

START_TEST(test_done_drop)
{
    struct kl_msg done;
    struct stand b;

    stand_init(&b, _i);
    stand_whole_load(&b);
    b.loader.version = 2;
    stand_to_loaded(&b);
    fake_say_done(&b.loader, KL_VERDICT_DROP, &done);
    stand_ok(&b, stand_give(&b, &done));
    ck_assert_int_eq(kl_terminal_load_verdict(b.load), KL_VERDICT_DROP);
    stand_settle(&b);
    stand_expect_tmks(&b, 1, 1, KL_TERMINAL_ACTIVE, 0, 0);
    ck_assert_uint_eq(stand_candidates(&b), 0);
    stand_end(&b);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("terminal");
    TCase *tc = tcase_create("load");

    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, fake_make_keys, fake_free_keys);
    tcase_add_loop_test(tc, test_load, 0, STAND_KINDS);
    tcase_add_loop_test(tc, test_randoms_are_fresh, 0, STAND_KINDS);
    tcase_add_test(tc, test_certificate_suite);
    tcase_add_test(tc, test_certificate_oaep_hash);
    tcase_add_test(tc, test_judge_unknown);
    tcase_add_test(tc, test_certificate_nonce_is_bound);
    tcase_add_loop_test(tc, test_certificate_profile, 0,
                        (int)(sizeof(bad_profiles) / sizeof(bad_profiles[0])));
    tcase_add_test(tc, test_certificate_wrong_root);
    tcase_add_test(tc, test_certificate_clock);
    tcase_add_loop_test(tc, test_master_key_field, 0, BAD_TBS * STAND_KINDS);
    tcase_add_test(tc, test_master_key_strength);
    tcase_add_loop_test(tc, test_master_key_rollback, 4, 6);
    tcase_add_loop_test(tc, test_master_key_signature, 0, 5);
    tcase_add_test(tc, test_loader_replayed);
    tcase_add_test(tc, test_out_of_order);
    tcase_add_test(tc, test_form);
    tcase_add_loop_test(tc, test_error, 0, 6);
    tcase_add_loop_test(tc, test_done_spoilt, 0, 4 * STAND_KINDS);
    tcase_add_loop_test(tc, test_done_drop, 0, STAND_KINDS);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return test_run(suite());
}
