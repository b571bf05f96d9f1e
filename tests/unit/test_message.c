/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages as values: the bytes they become, what comes back, the bounds that encoding holds, and
 * framing. Hostile input is test_strict.c's.
 */
#include <check.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "proto/message.h"
#include "tests/support/messages.h"
#include "tests/support/suite.h"

static size_t encode(const struct kl_msg *msg, uint8_t out[KL_MSG_MAX])
{
    struct kl_err err = KL_ERR_INIT;
    size_t len = 0;

    ck_assert_msg(kl_msg_encode(msg, out, &len, &err) == KL_OK, "%s", err.text);
    return len;
}

/* Written by hand from the ASN.1 module, byte by byte; the long ones by their heads. */
static const struct {
    enum kl_msg_type type;
    size_t len; /* of the whole message */
    const char *hex;
} vectors[] = {
    {KL_MSG_HELLO, 40,
     "a0 26 02 01 01  30 07 02 01 01 02 02 00 c8  30 06 02 01 01 02 01 03"
     "16 08 50 4f 53 2d 30 30 30 31  16 06 50 50 5f 37 2e 32"},
    {KL_MSG_CERTIFICATE, 51, "a1 31 02 01 01  02 01 02  04 20 20 21 22"},
    {KL_MSG_RANDOMS, 328, "a2 82 01 44  04 82 01 00 00 01 02"},
    {KL_MSG_MASTER_KEY, 388, "a3 82 01 80  30 7a  04 20 10 11 12"},
    {KL_MSG_LOADED, 25,
     "a4 17 04 03 a0 a1 a2  04 10 b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 ba bb bc bd be bf"},
    {KL_MSG_FAILED, 5, "a5 03 02 01 04"},
    {KL_MSG_DONE, 27,
     "a6 19 02 01 01  02 02 01 2c  04 10 c0 c1 c2 c3 c4 c5 c6 c7 c8 c9 ca cb cc cd ce cf"},
    {KL_MSG_CONFIRM, 51,
     "a7 31 02 01 01  16 08 50 4f 53 2d 30 30 30 31  16 06 50 50 5f 37 2e 32"
     "02 01 07  30 17 04 03 a0 a1 a2 04 10 b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 ba bb bc bd be bf"},
    {KL_MSG_ERROR, 19, "a8 11 02 01 05  02 01 1e  0c 09 74 72 79 20 6c 61 74 65 72"},
};

static size_t from_hex(const char *hex, uint8_t *out, size_t capacity)
{
    size_t len = 0;

    for (const char *p = hex; *p;) {
        unsigned byte;

        if (*p == ' ') {
            p++;
            continue;
        }
        ck_assert_int_eq(sscanf(p, "%2x", &byte), 1);
        ck_assert_uint_lt(len, capacity);
        out[len++] = (uint8_t)byte;
        p += 2;
    }
    return len;
}

START_TEST(test_vectors)
{
    uint8_t want[256], got[KL_MSG_MAX];
    size_t want_len = from_hex(vectors[_i].hex, want, sizeof(want));
    struct kl_msg msg;

    test_sample(vectors[_i].type, &msg);
    ck_assert_uint_eq(encode(&msg, got), vectors[_i].len);
    ck_assert_mem_eq(got, want, want_len);
}
END_TEST

START_TEST(test_round_trip)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t first[KL_MSG_MAX], second[KL_MSG_MAX];
    struct kl_msg msg, back;
    size_t len;

    test_sample((enum kl_msg_type)_i, &msg);
    len = encode(&msg, first);
    memset(&back, 0xee, sizeof(back));
    ck_assert_msg(kl_msg_decode(first, len, &back, &err) == KL_OK, "%s", err.text);
    ck_assert_int_eq(back.type, msg.type);
    ck_assert_uint_eq(encode(&back, second), len);
    ck_assert_mem_eq(first, second, len);
    /* Without slices, the whole value comes back, and nothing else is in it. */
    if (msg.type != KL_MSG_CERTIFICATE && msg.type != KL_MSG_MASTER_KEY) {
        ck_assert_mem_eq(&msg.u, &back.u, sizeof(msg.u));
    }
}
END_TEST

START_TEST(test_slices)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t der[KL_MSG_MAX];
    struct kl_msg msg, back;
    size_t len;

    test_sample(KL_MSG_CERTIFICATE, &msg);
    len = encode(&msg, der);
    ck_assert_int_eq(kl_msg_decode(der, len, &back, &err), KL_OK);
    ck_assert_uint_eq(back.u.certificate.chain_count, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct kl_bytes *slice = &back.u.certificate.chain[i];

        ck_assert_uint_eq(slice->len, msg.u.certificate.chain[i].len);
        ck_assert_mem_eq(slice->data, msg.u.certificate.chain[i].data, slice->len);
        ck_assert(slice->data > der && slice->data + slice->len <= der + len);
    }
    test_sample(KL_MSG_MASTER_KEY, &msg);
    len = encode(&msg, der);
    ck_assert_int_eq(kl_msg_decode(der, len, &back, &err), KL_OK);
    ck_assert_uint_eq(back.u.master_key.tbs_der.len, msg.u.master_key.tbs_der.len);
    ck_assert_ptr_eq(back.u.master_key.tbs_der.data, der + 4);
    ck_assert_mem_eq(back.u.master_key.tbs_der.data, msg.u.master_key.tbs_der.data,
                     back.u.master_key.tbs_der.len);
    ck_assert_mem_eq(&back.u.master_key.tbs, &msg.u.master_key.tbs, sizeof(struct kl_tbs));
}
END_TEST

/* Control characters and what is not ASCII, of one, two and three bytes: one '?' each. */
START_TEST(test_error_text)
{
    static const uint8_t der[] = {0xa8, 0x16, 0x02, 0x01, 0x05, 0x02, 0x01, 0x00,
                                  0x0c, 0x0e, 'a',  0x0a, 0x1b, 0x00, 0x7f, 0xc3,
                                  0xa9, 0xe2, 0x82, 0xac, ' ',  '~',  'b',  'c'};
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg;

    ck_assert_msg(kl_msg_decode(der, sizeof(der), &msg, &err) == KL_OK, "%s", err.text);
    ck_assert_str_eq(msg.u.error.text, "a?????? ~bc");
}
END_TEST

START_TEST(test_edges)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t der[KL_MSG_MAX], cert[KL_CERT_MAX] = {0x30, 0x82, 0x0f, 0xfc};
    struct kl_msg msg, back;
    size_t len;

    test_sample(KL_MSG_HELLO, &msg);
    msg.u.hello.version = 0x7fffffff;
    msg.u.hello.suite_count = KL_OFFER_MAX;
    msg.u.hello.suites[7] = 255;
    memset(msg.u.hello.serial, 'z', KL_SERIAL_MAX);
    len = encode(&msg, der);
    ck_assert_int_eq(kl_msg_decode(der, len, &back, &err), KL_OK);
    ck_assert_mem_eq(&back.u.hello, &msg.u.hello, sizeof(struct kl_hello));
    msg.u.hello.version = 0;
    len = encode(&msg, der);
    ck_assert_int_eq(kl_msg_decode(der, len, &back, &err), KL_OK);
    ck_assert_uint_eq(back.u.hello.version, 0);

    test_sample(KL_MSG_ERROR, &msg);
    msg.u.error.retry_after = KL_RETRY_AFTER_MAX;
    memset(msg.u.error.text, 'x', KL_ERROR_TEXT_MAX);
    len = encode(&msg, der);
    ck_assert_int_eq(kl_msg_decode(der, len, &back, &err), KL_OK);
    ck_assert_uint_eq(strlen(back.u.error.text), KL_ERROR_TEXT_MAX);
    msg.u.error.text[0] = '\0';
    len = encode(&msg, der);
    ck_assert_int_eq(kl_msg_decode(der, len, &back, &err), KL_OK);
    ck_assert_str_eq(back.u.error.text, "");

    test_sample(KL_MSG_CERTIFICATE, &msg);
    msg.u.certificate.chain_count = 3;
    for (size_t i = 0; i < 3; i++) {
        msg.u.certificate.chain[i] = (struct kl_bytes){cert, sizeof(cert)};
    }
    len = encode(&msg, der);
    ck_assert_int_eq(kl_msg_decode(der, len, &back, &err), KL_OK);
    ck_assert_uint_eq(back.u.certificate.chain[2].len, KL_CERT_MAX);
}
END_TEST

/* What a caller may get wrong, one thing at a time. */
static const char *spoil(int number, struct kl_msg *msg)
{
    static uint8_t big[KL_CERT_MAX + 1] = {0x30, 0x82, 0x0f, 0xfd};
    static const uint8_t set[] = {0x31, 0x00}, indefinite[] = {0x30, 0x80, 0, 0},
                         long_form[] = {0x30, 0x81, 0x00}, tail[] = {0x30, 0x00, 0x00};
    static const struct kl_bytes bad[] = {
        {big, sizeof(big)},
        {big, 0},
        {set, sizeof(set)},
        {indefinite, sizeof(indefinite)},
        {long_form, sizeof(long_form)},
        {tail, sizeof(tail)},
    };

    switch (number) {
    case 0:
        test_sample(KL_MSG_HELLO, msg);
        msg->u.hello.serial[0] = '\0';
        return "Hello: serial is malformed";
    case 1:
        test_sample(KL_MSG_HELLO, msg);
        memset(msg->u.hello.pinpad_serial, 'x', KL_SERIAL_MAX + 1); /* not terminated */
        return "Hello: pinpadSerial is malformed";
    case 2:
        test_sample(KL_MSG_HELLO, msg);
        msg->u.hello.suite_count = KL_OFFER_MAX + 1;
        return "Hello: number of suites is 9: must be 1 to 8";
    case 3:
        test_sample(KL_MSG_HELLO, msg);
        msg->u.hello.alg_count = 0;
        return "Hello: number of algorithms is 0: must be 1 to 8";
    case 4:
        test_sample(KL_MSG_CERTIFICATE, msg);
        msg->u.certificate.chain_count = 5;
        return "Certificate: number of certificates is 5: must be 1 to 4";
    case 5:
        test_sample(KL_MSG_CERTIFICATE, msg);
        msg->u.certificate.oaep_hash = 3;
        return "Certificate: oaepHash is 3: must be 1 to 2";
    case 6:
        test_sample(KL_MSG_RANDOMS, msg);
        msg->u.randoms.c_rnd1_len = 513;
        return "Randoms: cRnd1 has 513 bytes";
    case 7:
        test_sample(KL_MSG_MASTER_KEY, msg);
        msg->u.master_key.tbs.ctmk_len = 41;
        return "MasterKey: ctmk has 41 bytes";
    case 8:
        test_sample(KL_MSG_MASTER_KEY, msg);
        msg->u.master_key.tbs.version++;
        return "MasterKey: the signed bytes are not the encoding of the fields";
    case 9:
        test_sample(KL_MSG_MASTER_KEY, msg);
        msg->u.master_key.tbs_der.len--;
        return "MasterKey: the signed bytes are not the encoding of the fields";
    case 10:
        test_sample(KL_MSG_MASTER_KEY, msg);
        msg->u.master_key.tbs_der.data = NULL;
        return "MasterKey: the signed bytes are not the encoding of the fields";
    case 11:
        test_sample(KL_MSG_LOADED, msg);
        msg->u.loaded.kcv_len = 5;
        return "Loaded: kcv has 5 bytes: must have 3 to 4";
    case 12:
        test_sample(KL_MSG_ERROR, msg);
        memset(msg->u.error.text, 'x', sizeof(msg->u.error.text)); /* not terminated */
        return "Error: text has 129 bytes";
    case 13:
        test_sample(KL_MSG_ERROR, msg);
        msg->u.error.text[3] = '\n';
        return "Error: text is not printable ASCII at byte 4";
    case 14:
        test_sample(KL_MSG_DONE, msg);
        msg->type = (enum kl_msg_type)KL_MSG_TYPE_COUNT;
        return "?: message type 9 is unknown";
    case 15: /* each certificate is small enough, all together are not */
        test_sample(KL_MSG_CERTIFICATE, msg);
        big[3] = 0xfc;
        msg->u.certificate.chain_count = 4;
        for (size_t i = 0; i < 4; i++) {
            msg->u.certificate.chain[i] = (struct kl_bytes){big, KL_CERT_MAX};
        }
        return "Certificate: takes 16432 bytes";
    default:
        test_sample(KL_MSG_CERTIFICATE, msg);
        msg->u.certificate.chain[1] = bad[number - 16];
        return number < 18 ? "a certificate of the chain has"
                           : "certificate 2 of the chain is not a DER SEQUENCE";
    }
}

START_TEST(test_encode_refuses)
{
    struct kl_err err = KL_ERR_INIT;
    static uint8_t out[KL_MSG_MAX];
    struct kl_msg msg;
    size_t len = 77;
    const char *text = spoil(_i, &msg);

    memset(out, 0x5a, sizeof(out));
    ck_assert_int_eq(kl_msg_encode(&msg, out, &len, &err), KL_ERR_INTERNAL);
    ck_assert_msg(strstr(err.text, text), "\"%s\" lacks \"%s\"", err.text, text);
    ck_assert_uint_eq(len, 77);
    for (size_t i = 0; i < sizeof(out); i++) {
        ck_assert_uint_eq(out[i], 0x5a);
    }
}
END_TEST

START_TEST(test_tbs_encode_refuses)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t out[KL_TBS_MAX] = {0x5a};
    struct kl_msg msg;
    size_t len = 77;

    test_sample(KL_MSG_MASTER_KEY, &msg);
    msg.u.master_key.tbs.version = 0;
    ck_assert_int_eq(kl_tbs_encode(&msg.u.master_key.tbs, out, &len, &err), KL_ERR_INTERNAL);
    ck_assert_str_eq(err.text, "signed part of MasterKey: TMK version is 0: must be 1 to "
                               "2147483647");
    ck_assert_uint_eq(len, 77);
    ck_assert_uint_eq(out[0], 0x5a);
}
END_TEST

START_TEST(test_names)
{
    ck_assert_str_eq(kl_msg_name(KL_MSG_HELLO), "Hello");
    ck_assert_str_eq(kl_msg_name(KL_MSG_MASTER_KEY), "MasterKey");
    ck_assert_str_eq(kl_msg_name(KL_MSG_ERROR), "Error");
    ck_assert_str_eq(kl_msg_name(KL_MSG_TYPE_COUNT), "?");
    ck_assert_str_eq(kl_msg_name((unsigned)-1), "?");
}
END_TEST

START_TEST(test_serials)
{
    static const char *const good[] = {"A", "a.b-c_9", "01234567890123456789012345678901"};
    static const char *const bad[] = {"",    "012345678901234567890123456789012",
                                      "a b", "a/b",
                                      "a\n", "caf\xc3\xa9",
                                      "a,b", "a\"b"};
    struct kl_err err = KL_ERR_INIT;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(kl_serial_ok(good[i]) == 1, "%s", good[i]);
        ck_assert_int_eq(kl_serial_check("serial", good[i], &err), KL_OK);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(kl_serial_ok(bad[i]) == 0, "%s", bad[i]);
        ck_assert_int_eq(kl_serial_check("serial", bad[i], &err), KL_ERR_INPUT);
    }
    ck_assert_int_eq(kl_serial_check("PIN pad serial", "a b", &err), KL_ERR_INPUT);
    ck_assert_str_eq(err.text, "'a b' is no PIN pad serial: 1 to 32 of A-Z a-z 0-9 - . _");
}
END_TEST

static const struct {
    uint8_t header[KL_FRAME_HEADER];
    size_t max;
    size_t len; /* 0 = refused */
} headers[] = {
    {{0x00, 0x01}, KL_MSG_MAX, 1},     {{0x01, 0x02}, KL_MSG_MAX, 258},
    {{0x40, 0x00}, KL_MSG_MAX, 16384}, {{0x40, 0x01}, KL_MSG_MAX, 0},
    {{0xff, 0xff}, 1 << 20, 0},        {{0x00, 0x00}, KL_MSG_MAX, 0},
    {{0x01, 0x00}, 256, 256},          {{0x01, 0x01}, 256, 0},
};

START_TEST(test_frame_length)
{
    struct kl_err err = KL_ERR_INIT;
    size_t len = 77;
    enum kl_rc rc = kl_frame_length(headers[_i].header, headers[_i].max, &len, &err);

    ck_assert_int_eq(rc, headers[_i].len ? KL_OK : KL_ERR_PROTOCOL);
    ck_assert_uint_eq(len, headers[_i].len ? headers[_i].len : 77);
}
END_TEST

START_TEST(test_frame_header)
{
    static const size_t lengths[] = {1, 255, 256, 0x1234, KL_MSG_MAX};
    struct kl_err err = KL_ERR_INIT;
    uint8_t header[KL_FRAME_HEADER];
    size_t len = 0;

    kl_frame_header(lengths[_i], header);
    ck_assert_uint_eq(header[0], lengths[_i] / 256);
    ck_assert_uint_eq(header[1], lengths[_i] % 256);
    ck_assert_int_eq(kl_frame_length(header, KL_MSG_MAX, &len, &err), KL_OK);
    ck_assert_uint_eq(len, lengths[_i]);
}
END_TEST

START_TEST(test_frame_encode)
{
    static const uint8_t want[] = {0x00, 0x05, 0xa5, 0x03, 0x02, 0x01, 0x04};
    struct kl_err err = KL_ERR_INIT;
    uint8_t out[KL_FRAME_MAX], long_head[2];
    struct kl_msg msg;
    size_t len = 0;

    test_sample(KL_MSG_FAILED, &msg);
    ck_assert_int_eq(kl_frame_encode(&msg, out, &len, &err), KL_OK);
    ck_assert_uint_eq(len, sizeof(want));
    ck_assert_mem_eq(out, want, sizeof(want));

    test_sample(KL_MSG_RANDOMS, &msg);
    ck_assert_int_eq(kl_frame_encode(&msg, out, &len, &err), KL_OK);
    long_head[0] = (uint8_t)((len - 2) >> 8);
    long_head[1] = (uint8_t)(len - 2);
    ck_assert_uint_gt(len, 258);
    ck_assert_mem_eq(out, long_head, 2);

    test_sample(KL_MSG_FAILED, &msg);
    msg.u.failed.reason = 0x80000000;
    memset(out, 0x5a, sizeof(out));
    len = 77;
    ck_assert_int_eq(kl_frame_encode(&msg, out, &len, &err), KL_ERR_INTERNAL);
    ck_assert_uint_eq(len, 77);
    ck_assert_uint_eq(out[0], 0x5a);
}
END_TEST

/* A malformed message is told by its own cause, not by what some library left behind. */
START_TEST(test_stale_errors)
{
    static const uint8_t malformed[][5] = {
        {0xa5, 0x03, 0x05, 0x01, 0x04}, /* Failed, but no INTEGER inside */
        {0xa5, 0x7f, 0x02, 0x01, 0x04}, /* cut short */
    };
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg;

    ERR_raise_data(ERR_LIB_CRYPTO, ERR_R_INTERNAL_ERROR, "stale");
    ck_assert_int_eq(kl_msg_decode(malformed[_i], 5, &msg, &err), KL_ERR_PROTOCOL);
    ck_assert_int_eq(err.source, KL_ERR_SOURCE_OPENSSL);
    ck_assert_msg(!strstr(err.text, "stale"), "%s", err.text);
    ck_assert_msg(strstr(err.text, _i == 0 ? "wrong tag" : "too long"), "%s", err.text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("message");
    TCase *tcase = tcase_create("message");

    tcase_add_loop_test(tcase, test_vectors, 0, sizeof(vectors) / sizeof(vectors[0]));
    tcase_add_loop_test(tcase, test_round_trip, 0, KL_MSG_TYPE_COUNT);
    tcase_add_test(tcase, test_slices);
    tcase_add_test(tcase, test_error_text);
    tcase_add_test(tcase, test_edges);
    tcase_add_loop_test(tcase, test_encode_refuses, 0, 22);
    tcase_add_test(tcase, test_tbs_encode_refuses);
    tcase_add_test(tcase, test_names);
    tcase_add_test(tcase, test_serials);
    tcase_add_loop_test(tcase, test_frame_length, 0, sizeof(headers) / sizeof(headers[0]));
    tcase_add_loop_test(tcase, test_frame_header, 0, 5);
    tcase_add_test(tcase, test_frame_encode);
    tcase_add_loop_test(tcase, test_stale_errors, 0, 2);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
