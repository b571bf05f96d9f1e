/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages as values: the bytes they become, what comes back, the bounds that encoding holds, and
 * framing. Hostile input is test_strict.c's.
 */
#include <check.h>
#include <openssl/err.h>
#include <stdio.h>
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

/* Written by hand from the ASN.1 module, byte by byte; the long ones by their heads and tails. */
static const struct {
    unsigned sample;
    size_t len; /* of the whole message */
    const char *hex;
    const char *tail; /* or NULL */
} vectors[] = {
    {KL_MSG_HELLO, 40,
     "a0 26 02 01 01  30 07 02 01 01 02 02 00 c8  30 06 02 01 01 02 01 03"
     "16 08 50 4f 53 2d 30 30 30 31  16 06 50 50 5f 37 2e 32",
     NULL},
    {TEST_HELLO_FULL, 119, "a0 75 02 01 01",
     "f7 f8 f9 fa fb fc fd fe ff  a1 07 30 03 02 01 05 30 00"},
    {TEST_HELLO_CHAIN, 49, "a0 2f 02 01 01", "50 50 5f 37 2e 32  a1 07 30 03 02 01 05 30 00"},
    {KL_MSG_CERTIFICATE, 51, "a1 31 02 01 01  02 01 02  04 20 20 21 22",
     "3f 30 07 30 03 02 01 05 30 00"},
    {TEST_CERTIFICATE_CRL, 59, "a1 39 02 01 01  02 01 02  04 20 20 21 22",
     "3f 30 07 30 03 02 01 05 30 00  a0 06 30 04 02 02 06 07"},
    {KL_MSG_RANDOMS, 328, "a2 82 01 44  04 82 01 00 00 01 02", "8b 8c 8d 8e 8f"},
    {TEST_RANDOMS_SIGNED, 394, "a2 82 01 86  04 82 01 00 00 01 02",
     "8d 8e 8f  83 40 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f 20 21 22 23 24 25 26 27 28 29 "
     "2a 2b 2c 2d 2e 2f 30"
     "31 32 33 34 35 36 37 38 39 3a 3b 3c 3d 3e 3f 40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f "
     "50"},
    {TEST_RANDOMS_CLASSIC, 264, "a2 82 01 04  04 82 01 00 00 01 02", "fd fe ff"},
    {TEST_RANDOMS_EC, 208,
     "a2 81 cd  04 28 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10 11 12 13 14 15 16 17 18"
     "19 1a 1b 1c 1d 1e 1f 20 21 22 23 24 25 26 27  80 61 04 05 06",
     "64 81 0c 50 51 52 53 54 55 56 57 58 59 5a 5b  82 30 60 61 62 63 64 65 66 67 68 69 6a 6b 6c"
     "6d 6e 6f 70 71 72 73 74 75 76 77 78 79 7a 7b 7c 7d 7e 7f 80 81 82 83 84 85 86 87 88 89 8a"
     "8b 8c 8d 8e 8f"},
    {TEST_RANDOMS_EC_SIGNED, 275, "a2 82 01 0f  04 28 00 01 02", "4d 4e 4f 50"},
    {KL_MSG_MASTER_KEY, 388, "a3 82 01 80  30 7a  04 20 10 11 12", NULL},
    {TEST_MASTER_KEY_CLASSIC, 346,
     "a3 82 01 56  30 3e  04 20 10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f 20 21 22 23 24 25"
     "26 27 28 29 2a 2b 2c 2d 2e 2f  16 08 50 4f 53 2d 30 30 30 31  02 01 01  02 01 01  02 01 07"
     "02 01 01  04 04 90 91 92 93  04 82 01 00 00 01",
     "fe ff  80 10 d0 d1 d2 d3 d4 d5 d6 d7 d8 d9 da db dc dd de df"},
    {TEST_MASTER_KEY_EC, 263, "a3 82 01 03  30 7a  04 20 10 11 12", "81 82 83"},
    {KL_MSG_LOADED, 25,
     "a4 17 04 03 a0 a1 a2  04 10 b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 ba bb bc bd be bf", NULL},
    {KL_MSG_FAILED, 5, "a5 03 02 01 04", NULL},
    {KL_MSG_DONE, 27,
     "a6 19 02 01 01  02 02 01 2c  04 10 c0 c1 c2 c3 c4 c5 c6 c7 c8 c9 ca cb cc cd ce cf", NULL},
    {KL_MSG_CONFIRM, 51,
     "a7 31 02 01 01  16 08 50 4f 53 2d 30 30 30 31  16 06 50 50 5f 37 2e 32"
     "02 01 07  30 17 04 03 a0 a1 a2 04 10 b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 ba bb bc bd be bf",
     NULL},
    {KL_MSG_ERROR, 19, "a8 11 02 01 05  02 01 1e  0c 09 74 72 79 20 6c 61 74 65 72", NULL},
    {KL_MSG_SIGN_IN, 63,
     "a9 3d 02 01 01  16 08 50 4f 53 2d 30 30 30 31  16 06 50 50 5f 37 2e 32  02 01 07  02 01 02"
     "04 20 30 31 32 33 34 35 36 37 38 39 3a 3b 3c 3d 3e 3f 40 41 42 43 44 45 46 47 48 49 4a 4b"
     "4c 4d 4e 4f",
     NULL},
    {KL_MSG_WORKING_KEYS, 128,
     "aa 7e 30 6a  02 01 07  02 01 03  04 20 20 21 22 23 24 25 26 27 28 29 2a 2b 2c 2d 2e 2f 30"
     "31 32 33 34 35 36 37 38 39 3a 3b 3c 3d 3e 3f  a0 1f 04 18 40 41 42 43 44 45 46 47 48 49 4a"
     "4b 4c 4d 4e 4f 50 51 52 53 54 55 56 57 04 03 c0 c1 c2  a1 1f 04 18 60 61 62",
     "77 04 03 e0 e1 e2  04 10 f0 f1 f2 f3 f4 f5 f6 f7 f8 f9 fa fb fc fd fe ff"},
    {TEST_KEYS_TDES, 112, "aa 6e 30 5a  02 01 07  02 01 02  04 10 20", NULL},
    {TEST_KEYS_FIELD62, 88,
     "aa 56 30 42  02 01 07  02 01 02  04 10 20 21 22 23 24 25 26 27 28 29 2a 2b 2c 2d 2e 2f"
     "82 28 01 02 03",
     "27 28  04 10 f0 f1 f2 f3 f4 f5 f6 f7 f8 f9 fa fb fc fd fe ff"},
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

    test_sample(vectors[_i].sample, &msg);
    ck_assert_uint_eq(encode(&msg, got), vectors[_i].len);
    ck_assert_mem_eq(got, want, want_len);
    if (vectors[_i].tail) {
        want_len = from_hex(vectors[_i].tail, want, sizeof(want));
        ck_assert_mem_eq(got + vectors[_i].len - want_len, want, want_len);
    }
}
END_TEST

/* Every slice of a message. */
static size_t slices(struct kl_msg *msg, struct kl_bytes *out[KL_CHAIN_MAX + 1])
{
    size_t count = 0;

    if (msg->type == KL_MSG_HELLO) {
        for (size_t i = 0; i < KL_CHAIN_MAX; i++) {
            out[count++] = &msg->u.hello.chain[i];
        }
    } else if (msg->type == KL_MSG_CERTIFICATE) {
        for (size_t i = 0; i < KL_CHAIN_MAX; i++) {
            out[count++] = &msg->u.certificate.chain[i];
        }
        out[count++] = &msg->u.certificate.crl;
    } else if (msg->type == KL_MSG_MASTER_KEY) {
        out[count++] = &msg->u.master_key.tbs_der;
    } else if (msg->type == KL_MSG_WORKING_KEYS) {
        out[count++] = &msg->u.working_keys.body_der;
    }
    return count;
}

/* The whole value comes back and nothing else is in it; slices lie within the message. */
START_TEST(test_round_trip)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t first[KL_MSG_MAX], second[KL_MSG_MAX];
    struct kl_bytes *in[KL_CHAIN_MAX + 1], *out[KL_CHAIN_MAX + 1];
    struct kl_msg msg, back;
    size_t len;

    test_sample((unsigned)_i, &msg);
    len = encode(&msg, first);
    memset(&back, 0xee, sizeof(back));
    ck_assert_msg(kl_msg_decode(first, len, &back, &err) == KL_OK, "%s", err.text);
    ck_assert_int_eq(back.type, msg.type);
    ck_assert_uint_eq(encode(&back, second), len);
    ck_assert_mem_eq(first, second, len);
    slices(&msg, in);
    for (size_t i = 0, count = slices(&back, out); i < count; i++) {
        ck_assert_uint_eq(out[i]->len, in[i]->len);
        if (in[i]->len > 0) {
            ck_assert(out[i]->data > first && out[i]->data + out[i]->len <= first + len);
            ck_assert_mem_eq(out[i]->data, in[i]->data, in[i]->len);
        }
        *out[i] = *in[i];
    }
    ck_assert_mem_eq(&msg.u, &back.u, sizeof(msg.u));
}
END_TEST

/* Into exactly as much room as it takes, and not into less. */
START_TEST(test_encode_into)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t whole[KL_MSG_MAX], out[KL_MSG_MAX];
    size_t len, got = 99;
    struct kl_msg msg;

    test_sample((unsigned)_i, &msg);
    len = encode(&msg, whole);
    memset(out, 0xee, sizeof(out));
    ck_assert_int_eq(kl_msg_encode_into(&msg, out, len - 1, &got, &err), KL_ERR_INTERNAL);
    ck_assert_uint_eq(got, 99);
    ck_assert_uint_eq(out[0], 0xee);
    ck_assert_int_eq(kl_msg_encode_into(&msg, out, len, &got, &err), KL_OK);
    ck_assert_uint_eq(got, len);
    ck_assert_mem_eq(out, whole, len);
    ck_assert_uint_eq(out[len], 0xee);
}
END_TEST

/* What a signature or MAC is checked against is where the message has it. */
START_TEST(test_authenticated_bytes)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t der[KL_MSG_MAX];
    struct kl_msg msg, back;
    size_t len;

    test_sample(KL_MSG_MASTER_KEY, &msg);
    len = encode(&msg, der);
    ck_assert_int_eq(kl_msg_decode(der, len, &back, &err), KL_OK);
    ck_assert_ptr_eq(back.u.master_key.tbs_der.data, der + 4);
    test_sample(KL_MSG_WORKING_KEYS, &msg);
    len = encode(&msg, der);
    ck_assert_int_eq(kl_msg_decode(der, len, &back, &err), KL_OK);
    ck_assert_ptr_eq(back.u.working_keys.body_der.data, der + 2);
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

/* The largest of each OPTIONAL field, and the CRL at every length of its length. */
START_TEST(test_optional_edges)
{
    static const size_t lengths[] = {127, 128, 129, 131, 255, 256, 258, 260, KL_CRL_MAX};
    struct kl_err err = KL_ERR_INIT;
    uint8_t der[KL_MSG_MAX], crl[KL_CRL_MAX] = {0};
    struct kl_msg msg, back;
    size_t len;

    test_sample(TEST_HELLO_FULL, &msg);
    msg.u.hello.anchor_count = KL_ANCHOR_MAX;
    msg.u.hello.chain_count = KL_CHAIN_MAX;
    msg.u.hello.chain[2] = msg.u.hello.chain[3] = msg.u.hello.chain[0];
    len = encode(&msg, der);
    ck_assert_int_eq(kl_msg_decode(der, len, &back, &err), KL_OK);
    ck_assert_uint_eq(back.u.hello.anchor_count, KL_ANCHOR_MAX);
    ck_assert_uint_eq(back.u.hello.chain_count, KL_CHAIN_MAX);
    ck_assert_mem_eq(back.u.hello.chain[3].data, msg.u.hello.chain[3].data, 5);

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        size_t header = lengths[i] <= 129 ? 2 : lengths[i] <= 258 ? 3 : 4;

        crl[0] = 0x30;
        crl[1] = (uint8_t)(header == 2 ? lengths[i] - 2 : 0x7e + header);
        crl[2] = (uint8_t)(header == 4 ? (lengths[i] - 4) >> 8 : lengths[i] - 3);
        crl[3] = (uint8_t)(header == 4 ? lengths[i] - 4 : 0);
        test_sample(TEST_CERTIFICATE_CRL, &msg);
        msg.u.certificate.crl = (struct kl_bytes){crl, lengths[i]};
        len = encode(&msg, der);
        ck_assert_msg(kl_msg_decode(der, len, &back, &err) == KL_OK, "%s", err.text);
        ck_assert_uint_eq(back.u.certificate.crl.len, lengths[i]);
        ck_assert_mem_eq(back.u.certificate.crl.data, crl, lengths[i]);
        ck_assert_mem_eq(back.u.certificate.chain[0].data, msg.u.certificate.chain[0].data, 5);
    }
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
        return "MasterKey: the authenticated bytes are not the encoding of the fields";
    case 9:
        test_sample(KL_MSG_MASTER_KEY, msg);
        msg->u.master_key.tbs_der.len--;
        return "MasterKey: the authenticated bytes are not the encoding of the fields";
    case 10:
        test_sample(KL_MSG_MASTER_KEY, msg);
        msg->u.master_key.tbs_der.data = NULL;
        return "MasterKey: the authenticated bytes are not the encoding of the fields";
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
        return "?: message type 11 is unknown";
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

#define SPOIL_COUNT 22

/* The same for what is not in every message. */
static const char *spoil_optional(int number, struct kl_msg *msg)
{
    static uint8_t big[KL_CRL_MAX + 4] = {0x30, 0x82, 0x20, 0x00};
    static const uint8_t set[] = {0x31, 0x00};

    switch (number) {
    case 0:
        test_sample(TEST_HELLO_FULL, msg);
        msg->u.hello.anchor_count = KL_ANCHOR_MAX + 1;
        return "Hello: number of anchors is 5: must be 0 to 4";
    case 1:
        test_sample(TEST_HELLO_FULL, msg);
        msg->u.hello.chain_count = KL_CHAIN_MAX + 1;
        return "Hello: number of certificates is 5: must be 0 to 4";
    case 2:
        test_sample(TEST_HELLO_FULL, msg);
        msg->u.hello.chain[1] = (struct kl_bytes){set, sizeof(set)};
        return "Hello: certificate 2 of the chain is not a DER SEQUENCE";
    case 3:
        test_sample(TEST_CERTIFICATE_CRL, msg);
        msg->u.certificate.crl = (struct kl_bytes){set, sizeof(set)};
        return "Certificate: crl is not a DER SEQUENCE";
    case 4:
        test_sample(TEST_CERTIFICATE_CRL, msg);
        msg->u.certificate.crl = (struct kl_bytes){big, sizeof(big)};
        return "Certificate: crl has 8196 bytes: must have 1 to 8192";
    case 5:
        test_sample(KL_MSG_RANDOMS, msg);
        msg->u.randoms.suite = (enum kl_suite)0;
        return "Randoms: suite 0 is unknown";
    case 6:
        test_sample(TEST_RANDOMS_EC, msg);
        msg->u.randoms.suite = KL_SUITE_HARDENED_RSA;
        return "Randoms: cRnd1 has 40 bytes: must have 256, 384 or 512";
    case 7:
        test_sample(KL_MSG_RANDOMS, msg);
        msg->u.randoms.point_len = 65;
        return "Randoms: point has 65 bytes: must have 0";
    case 8:
        test_sample(TEST_RANDOMS_CLASSIC, msg);
        msg->u.randoms.point_len = 65;
        return "Randoms: point has 65 bytes: must have 0";
    case 9:
        test_sample(TEST_RANDOMS_CLASSIC, msg);
        msg->u.randoms.iv[11] = 1;
        return "Randoms: iv is not sent here and must be empty";
    case 10:
        test_sample(TEST_RANDOMS_CLASSIC, msg);
        msg->u.randoms.c_rnd2[0] = 1;
        return "Randoms: cRnd2 is not sent here and must be empty";
    case 11:
        test_sample(TEST_RANDOMS_EC, msg);
        msg->u.randoms.point_len = 96;
        return "Randoms: point has 96 bytes: must have 65, 97 or 133";
    case 12:
        test_sample(KL_MSG_RANDOMS, msg);
        msg->u.randoms.sig_len = 63;
        return "Randoms: signature has 63 bytes: must have 64, 96, 132, 256, 384 or 512";
    case 13:
        test_sample(TEST_MASTER_KEY_CLASSIC, msg);
        msg->u.master_key.tbs.rnd2[31] = 1;
        return "MasterKey: rnd2 is not sent here and must be empty";
    case 14:
        test_sample(TEST_MASTER_KEY_CLASSIC, msg);
        msg->u.master_key.sig_len = 64;
        return "MasterKey: signature has 64 bytes: must have 256, 384 or 512";
    case 15:
        test_sample(KL_MSG_SIGN_IN, msg);
        msg->u.sign_in.format = 0;
        return "SignIn: format is 0: must be 1 to 2";
    case 16:
        test_sample(KL_MSG_SIGN_IN, msg);
        msg->u.sign_in.serial[0] = '\0';
        return "SignIn: serial is malformed";
    case 17:
        test_sample(KL_MSG_WORKING_KEYS, msg);
        msg->u.working_keys.tmk_version++;
        return "WorkingKeys: the authenticated bytes are not the encoding of the fields";
    case 18:
        test_sample(KL_MSG_WORKING_KEYS, msg);
        msg->u.working_keys.body_der.data = NULL;
        return "WorkingKeys: the authenticated bytes are not the encoding of the fields";
    case 19:
        test_sample(KL_MSG_WORKING_KEYS, msg);
        msg->u.working_keys.field62[0] = 1;
        return "WorkingKeys: field62 is not sent here and must be empty";
    case 20:
        test_sample(KL_MSG_WORKING_KEYS, msg);
        msg->u.working_keys.has_field62 = 1;
        return "WorkingKeys: field62 cannot hold keys under a TMK of algorithm aes128";
    case 21:
        test_sample(TEST_KEYS_FIELD62, msg);
        msg->u.working_keys.pik.len = 16;
        return "WorkingKeys: pik beside field62 has 16 bytes: must have 0";
    case 22:
        test_sample(TEST_KEYS_FIELD62, msg);
        msg->u.working_keys.mak.len = 16;
        return "WorkingKeys: mak beside field62 has 16 bytes: must have 0";
    case 23:
        test_sample(TEST_KEYS_TDES, msg);
        msg->u.working_keys.pik.len = 16;
        return "WorkingKeys: pik has 16 bytes: must have 24";
    case 24:
        test_sample(KL_MSG_MASTER_KEY, msg);
        msg->u.master_key.tbs.kcv_len = 5;
        return "MasterKey: kcv has 5 bytes: must have 3 to 4";
    case 25:
        test_sample(KL_MSG_CONFIRM, msg);
        msg->u.confirm.loaded.kcv_len = 2;
        return "Confirm: kcv has 2 bytes: must have 3 to 4";
    case 26:
        test_sample(KL_MSG_WORKING_KEYS, msg);
        msg->u.working_keys.mak.kcv_len = 5;
        return "WorkingKeys: mak kcv has 5 bytes: must have 3 to 4";
    case 27:
        test_sample(KL_MSG_MASTER_KEY, msg);
        msg->u.master_key.mac[15] = 1;
        return "MasterKey: mac is not sent here and must be empty";
    default: /* a chain and a CRL, each of which would do alone */
        test_sample(TEST_CERTIFICATE_CRL, msg);
        big[2] = 0x1f, big[3] = 0xfc;
        msg->u.certificate.crl = (struct kl_bytes){big, KL_CRL_MAX};
        msg->u.certificate.chain_count = 3;
        for (size_t i = 0; i < 3; i++) {
            static uint8_t cert[KL_CERT_MAX] = {0x30, 0x82, 0x0f, 0xfc};

            msg->u.certificate.chain[i] = (struct kl_bytes){cert, sizeof(cert)};
        }
        return "Certificate: takes 20532 bytes: at most 16384 may be sent";
    }
}
#define SPOIL_OPTIONAL_COUNT 29

START_TEST(test_encode_refuses)
{
    struct kl_err err = KL_ERR_INIT;
    static uint8_t out[KL_MSG_MAX];
    struct kl_msg msg;
    size_t len = 77;
    const char *text = _i < SPOIL_COUNT ? spoil(_i, &msg) : spoil_optional(_i - SPOIL_COUNT, &msg);

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

START_TEST(test_keys_body_encode_refuses)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t out[KL_KEYS_BODY_MAX] = {0x5a};
    struct kl_msg msg;
    size_t len = 77;

    test_sample(KL_MSG_WORKING_KEYS, &msg);
    msg.u.working_keys.alg = 6;
    ck_assert_int_eq(kl_keys_body_encode(&msg.u.working_keys, out, &len, &err), KL_ERR_INTERNAL);
    ck_assert_str_eq(err.text, "body of WorkingKeys: algorithm is 6: must be 1 to 5");
    ck_assert_uint_eq(len, 77);
    ck_assert_uint_eq(out[0], 0x5a);
}
END_TEST

START_TEST(test_names)
{
    ck_assert_str_eq(kl_msg_name(KL_MSG_HELLO), "Hello");
    ck_assert_str_eq(kl_msg_name(KL_MSG_MASTER_KEY), "MasterKey");
    ck_assert_str_eq(kl_msg_name(KL_MSG_ERROR), "Error");
    ck_assert_str_eq(kl_msg_name(KL_MSG_SIGN_IN), "SignIn");
    ck_assert_str_eq(kl_msg_name(KL_MSG_WORKING_KEYS), "WorkingKeys");
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
    tcase_add_loop_test(tcase, test_round_trip, 0, TEST_SAMPLE_COUNT);
    tcase_add_loop_test(tcase, test_encode_into, 0, TEST_SAMPLE_COUNT);
    tcase_add_test(tcase, test_authenticated_bytes);
    tcase_add_test(tcase, test_error_text);
    tcase_add_test(tcase, test_edges);
    tcase_add_test(tcase, test_optional_edges);
    tcase_add_loop_test(tcase, test_encode_refuses, 0, SPOIL_COUNT + SPOIL_OPTIONAL_COUNT);
    tcase_add_test(tcase, test_tbs_encode_refuses);
    tcase_add_test(tcase, test_keys_body_encode_refuses);
    tcase_add_test(tcase, test_names);
    tcase_add_test(tcase, test_serials);
    tcase_add_loop_test(tcase, test_frame_length, 0, sizeof(headers) / sizeof(headers[0]));
    tcase_add_loop_test(tcase, test_frame_header, 0, 5);
    tcase_add_test(tcase, test_frame_encode);
    tcase_add_loop_test(tcase, test_stale_errors, 0, 2);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
