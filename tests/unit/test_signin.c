/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sign-in against the fake loader: working keys of both formats reach the PIN pad and work there,
 * and whatever is wrong with them, the old pair stays the one in use.
 */
#include <check.h>
#include <string.h>

#include "terminal-sim/pinpad/working.h"
#include "tests/support/hsm.h"
#include "tests/support/suite.h"
#include "tests/support/talk.h"

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
    struct kl_rogue first;
    struct stand b;
    int there;

    talk_load(&b, _i / CASES, cases[_i % CASES].alg);
    talk_whole(&b, &talk);
    talk_expect_works(&b, &b.loader);
    first = b.loader;
    first_pair = *kl_terminal_keys(b.home_open);
    b.loader.kcv_len = 3;
    talk_whole(&b, &talk); /* again: other keys, and the first ones are gone */
    talk_expect_works(&b, &b.loader);
    ck_assert_mem_ne(first.pik, b.loader.pik, 8);
    stand_ok(&b, kl_pinpad_has_pair(b.pad, &first_pair, &there, &b.err));
    ck_assert_int_eq(there, 0);
    if (b.kind == STAND_TOKEN) {
        talk_drop(&talk);
        stand_restart(&b);
        talk_expect_works(&b, &b.loader);
    }
    stand_ok(&b, kl_pinpad_has_pair(b.pad, kl_terminal_keys(b.home_open), &there, &b.err));
    ck_assert_int_eq(there, 1);
    talk_finish(&b, &talk);
}
END_TEST

/* A format that the key's algorithm does not have, in clear words. */
START_TEST(test_pairing)
{
    struct talk talk = {.format = KL_FORMAT_KEYS};
    struct kl_secret *pin = test_secret("1234");
    uint8_t block[16];
    struct stand b;
    size_t len;

    talk_load(&b, STAND_MEMORY, _i ? KL_ALG_AES128 : KL_ALG_TDES2);
    talk_whole(&b, &talk);
    ck_assert_int_eq(kl_working_pin_block(b.pad, kl_terminal_keys(b.home_open), _i ? 0 : 4, pin,
                                          "4111111111111111", block, &len, &b.err),
                     KL_ERR_UNSUPPORTED);
    ck_assert_msg(strstr(b.err.text, _i ? "aes128" : "tdes2"), "%s", b.err.text);
    kl_secret_free(pin);
    talk_finish(&b, &talk);
}
END_TEST

/* ---- What may be wrong ---- */

static void session(struct kl_rogue *l, struct kl_working_keys *k)
{
    (void)l;
    k->c_session[0] ^= 1;
}
static void pik(struct kl_rogue *l, struct kl_working_keys *k)
{
    (void)l;
    *(k->has_field62 ? &k->field62[0] : &k->pik.data[0]) ^= 1;
}
static void mak(struct kl_rogue *l, struct kl_working_keys *k)
{
    (void)l;
    *(k->has_field62 ? &k->field62[27] : &k->mak.data[k->mak.len - 1]) ^= 1;
}
static void pik_kcv(struct kl_rogue *l, struct kl_working_keys *k)
{
    (void)l;
    *(k->has_field62 ? &k->field62[16] : &k->pik.kcv[0]) ^= 1;
}
static void mak_kcv(struct kl_rogue *l, struct kl_working_keys *k)
{
    (void)l;
    *(k->has_field62 ? &k->field62[36] : &k->mak.kcv[0]) ^= 1;
}
static void version(struct kl_rogue *l, struct kl_working_keys *k)
{
    (void)l;
    k->tmk_version++;
}
static void mac(struct kl_rogue *l, struct kl_working_keys *k)
{
    (void)l;
    k->mac[15] ^= 1;
}
/* Of the other format, where the TMK has one. */
static void format(struct kl_rogue *l, struct kl_working_keys *k)
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
    void (*before)(struct kl_rogue *, struct kl_working_keys *); /* the MAC */
    void (*after)(struct kl_rogue *, struct kl_working_keys *);
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
    struct kl_rogue good;
    struct kl_msg msg;
    struct stand b;
    uint32_t number;
    enum kl_rc rc;

    if (spoilt[i].before == format && kl_alg_info(cases[c].alg)->is_aes) {
        return; /* there is only one format */
    }
    talk_load(&b, _i / SPOILT / SPOILT_CASES, cases[c].alg);
    talk_whole(&b, &talk);
    good = b.loader;
    number = kl_terminal_keys(b.home_open)->number;
    b.loader.spoil_keys = spoilt[i].before;
    b.loader.spoil_keys_after = spoilt[i].after;
    talk_to_keys(&b, &talk);
    rc = talk_step(&b, &talk);
    ck_assert_msg(rc == KL_ERR_VERIFY, "%s: %s", kl_rc_name(rc), b.err.text);
    if (spoilt[i].text) {
        ck_assert_msg(strstr(b.err.text, spoilt[i].text), "%s", b.err.text);
    }
    stand_ok(&b, kl_msg_decode(talk.buf, talk.len, &msg, &b.err));
    ck_assert_int_eq(msg.type, KL_MSG_FAILED);
    ck_assert_uint_eq(msg.u.failed.reason, KL_WIRE_REFUSED);
    ck_assert_int_eq(talk_step(&b, &talk), KL_ERR_INTERNAL); /* it is over */
    stand_ok(&b, kl_terminal_drop_keys(b.home_open, b.pad, &b.err));
    ck_assert_uint_eq(kl_terminal_keys(b.home_open)->number, number);
    talk_expect_works(&b, &good);
    talk_finish(&b, &talk);
}
END_TEST

/* WorkingKeys of an earlier sign-in, to a new SignIn. */
START_TEST(test_replayed)
{
    struct talk talk = {.format = cases[_i].format};
    uint8_t old[KL_MSG_MAX];
    struct stand b;
    size_t len;

    talk_load(&b, STAND_MEMORY, cases[_i].alg);
    talk_to_keys(&b, &talk);
    memcpy(old, talk.buf, talk.len);
    len = talk.len;
    talk_begin(&b, &talk);
    memcpy(talk.buf, old, len);
    talk.len = len;
    ck_assert_int_eq(talk_step(&b, &talk), KL_ERR_VERIFY);
    ck_assert_msg(strstr(b.err.text, kl_alg_info(cases[_i].alg)->is_aes
                                         ? "MAC"
                                         : "cSession is not this sign-in's"),
                  "%s", b.err.text);
    ck_assert_uint_eq(kl_terminal_keys(b.home_open)->number, 0);
    talk_finish(&b, &talk);
}
END_TEST

/* ---- Order ---- */

static void refuse(struct kl_msg *m)
{
    memset(m, 0, sizeof(*m));
    m->type = KL_MSG_ERROR;
    m->u.error.code = KL_WIRE_REFUSED;
    strcpy(m->u.error.text, "refused");
}

START_TEST(test_order)
{
    struct talk talk = {.format = KL_FORMAT_KEYS};
    struct kl_msg msg;
    struct stand b;

    talk_load(&b, STAND_MEMORY, KL_ALG_TDES2);
    talk_begin(&b, &talk);
    fake_say_done(&b.loader, KL_VERDICT_ACTIVE, &msg);
    fake_encode(&msg, talk.buf, &talk.len);
    ck_assert_int_eq(talk_step(&b, &talk), KL_ERR_PROTOCOL);
    talk_to_keys(&b, &talk);
    talk.buf[talk.len++] = 0; /* a byte behind the message */
    ck_assert_int_eq(talk_step(&b, &talk), KL_ERR_PROTOCOL);
    talk_begin(&b, &talk);
    refuse(&msg); /* as of one whose TMK is superseded there */
    fake_encode(&msg, talk.buf, &talk.len);
    ck_assert_int_eq(talk_step(&b, &talk), KL_ERR_PEER);
    ck_assert_uint_eq(talk.len, 0);
    talk_finish(&b, &talk);
}
END_TEST

/* Before a load there is nothing to sign in with; field 62 is TDES's. */
START_TEST(test_no_tmk)
{
    struct kl_signin_params params = {.serial = FAKE_SERIAL,
                                      .pinpad_serial = STAND_PINPAD,
                                      .format = KL_FORMAT_FIELD62};
    struct kl_signin *machine = NULL;
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    params.pad = b.pad;
    params.tmk = *kl_terminal_active(b.home_open);
    ck_assert_int_eq(kl_signin_new(&params, &machine, &b.err), KL_ERR_REFUSED);
    ck_assert_ptr_nonnull(strstr(b.err.text, "load one before"));
    params.tmk = (struct kl_pinpad_tmk){.version = 1, .alg = KL_ALG_AES128, .kcv_len = 3};
    ck_assert_int_eq(kl_signin_new(&params, &machine, &b.err), KL_ERR_UNSUPPORTED);
    stand_end(&b);
}
END_TEST

/* A pair of another TMK than the one in use, or one that the pad lacks, is not taken into use. */
START_TEST(test_not_taken)
{
    struct kl_pinpad_pair pair = {.number = 9, .tmk_version = 2, .alg = KL_ALG_TDES2, .kcv_len = 3};
    const uint8_t any[16] = {1, 2, 3}; /* under TDES-ECB everything is a key */
    const struct kl_bytes wrapped = {any, sizeof(any)};
    struct talk talk = {.format = KL_FORMAT_KEYS};
    struct stand b;
    uint32_t number;

    talk_load(&b, _i, KL_ALG_TDES2);
    talk_whole(&b, &talk);
    number = kl_terminal_keys(b.home_open)->number;
    b.loader.version = 2;
    stand_to_loaded(&b); /* a candidate */
    ck_assert_int_eq(kl_terminal_take_keys(b.home_open, b.pad, &pair, &b.err), KL_ERR_KEY);
    stand_ok(&b, kl_pinpad_keep_pair(b.pad, &pair, &wrapped, &wrapped, &b.err));
    ck_assert_int_eq(kl_terminal_take_keys(b.home_open, b.pad, &pair, &b.err), KL_ERR_VERIFY);
    ck_assert_uint_eq(kl_terminal_keys(b.home_open)->number, number);
    pair.number = 10;
    pair.tmk_version = 7; /* no such TMK */
    ck_assert_int_eq(kl_pinpad_keep_pair(b.pad, &pair, &wrapped, &wrapped, &b.err),
                     KL_ERR_NOT_FOUND);
    talk_finish(&b, &talk);
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
    struct stand b;
    CK_FUNCTION_LIST *f;
    CK_SESSION_HANDLE s;
    CK_OBJECT_HANDLE objects[16];
    CK_ULONG count;
    unsigned seen = 0;

    talk_load(&b, STAND_TOKEN, _i ? KL_ALG_AES128 : KL_ALG_TDES2);
    talk_whole(&b, &talk);
    kl_signin_free(talk.machine);
    stand_close(&b);
    pin = test_secret("1234567");
    stand_ok(&b, kl_module_load(test_softhsm_path(), NULL, &module, &b.err));
    stand_ok(&b, kl_uri_parse("pkcs11:token=" STAND_PINPAD, &uri, &b.err));
    stand_ok(&b, kl_token_open(module, uri, pin, 0, &token, &b.err));
    stand_ok(&b, kl_session_open(token, &p11_session, &b.err));
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
    stand_end(&b);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("signin");
    TCase *tc = tcase_create("signin");

    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, fake_make_keys, fake_free_keys);
    tcase_add_loop_test(tc, test_sign_in, 0, CASES * STAND_KINDS);
    tcase_add_loop_test(tc, test_pairing, 0, 2);
    tcase_add_loop_test(tc, test_spoilt, 0, SPOILT * SPOILT_CASES * STAND_KINDS);
    tcase_add_loop_test(tc, test_replayed, 0, CASES);
    tcase_add_test(tc, test_order);
    tcase_add_test(tc, test_no_tmk);
    tcase_add_loop_test(tc, test_not_taken, 0, STAND_KINDS);
    tcase_add_loop_test(tc, test_token_objects, 0, 2);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return test_run(suite());
}
