/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Decoding of messages with one field or count out of bounds, and with members left out, out of
 * order or there twice.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "proto/message.h"
#include "tests/support/der.h"
#include "tests/support/messages.h"
#include "tests/support/suite.h"

/* What is done to one node: its content or its number of children changes. */
enum change {
    LEN,   /* content becomes this many times 'A' */
    INT,   /* content becomes that INTEGER */
    TAG,   /* tag becomes that */
    COUNT, /* the first child that many times */
    RAW,   /* content becomes these bytes */
};

static const struct bound {
    unsigned sample;
    const char *path; /* digits: child of the message, then child of that, and so on */
    enum change change;
    int64_t value;
    const char *raw;
    const char *text; /* that the refusal must hold; NULL = must be accepted */
} bounds[] = {
    {KL_MSG_HELLO, "0", INT, 0, NULL, NULL},
    {KL_MSG_HELLO, "0", INT, 0x7fffffff, NULL, NULL},
    {KL_MSG_HELLO, "0", INT, 0x80000000, NULL, "Hello: version is 2147483648"},
    {KL_MSG_HELLO, "0", INT, 0x100000000, NULL, "Hello: malformed"},
    {KL_MSG_HELLO, "0", RAW, 1, "\xff", "Hello: malformed"},
    {KL_MSG_HELLO, "0", RAW, 2, "\0\1", "Hello: malformed"},
    {KL_MSG_HELLO, "0", RAW, 0, "", "Hello: "},
    {KL_MSG_HELLO, "0", TAG, 0x0a, NULL, "Field=version"},
    {KL_MSG_HELLO, "1", COUNT, 0, NULL, "Hello: suites holds 0 values: must hold 1 to 8"},
    {KL_MSG_HELLO, "1", COUNT, 8, NULL, NULL},
    {KL_MSG_HELLO, "1", COUNT, 9, NULL, "Hello: suites holds 9 values"},
    {KL_MSG_HELLO, "10", INT, 255, NULL, NULL},
    {KL_MSG_HELLO, "10", INT, 256, NULL, "Hello: value 1 of suites is not within 0 to 255"},
    {KL_MSG_HELLO, "11", RAW, 1, "\xff", "Hello: value 2 of suites is not within 0 to 255"},
    {KL_MSG_HELLO, "10", RAW, 9, "\1\0\0\0\0\0\0\0\1", "Hello: value 1 of suites"},
    {KL_MSG_HELLO, "10", RAW, 2, "\0\1", "Hello: malformed"},
    {KL_MSG_HELLO, "2", COUNT, 0, NULL, "Hello: algorithms holds 0 values"},
    {KL_MSG_HELLO, "2", COUNT, 9, NULL, "Hello: algorithms holds 9 values"},
    {KL_MSG_HELLO, "20", INT, 256, NULL, "Hello: value 1 of algorithms"},
    {KL_MSG_HELLO, "3", LEN, 0, NULL, "Hello: serial has 0 bytes: must have 1 to 32"},
    {KL_MSG_HELLO, "3", LEN, 32, NULL, NULL},
    {KL_MSG_HELLO, "3", LEN, 33, NULL, "Hello: serial has 33 bytes"},
    {KL_MSG_HELLO, "3", RAW, 3, "A B", "Hello: serial is malformed"},
    {KL_MSG_HELLO, "3", RAW, 3, "A\nB", "Hello: serial is malformed"},
    {KL_MSG_HELLO, "3", RAW, 2, "\xc3\xa9", "Hello: serial is malformed"},
    {KL_MSG_HELLO, "3", RAW, 3, "A\0B", "Hello: serial holds a NUL"},
    {KL_MSG_HELLO, "3", TAG, 0x0c, NULL, "Field=serial"},
    {KL_MSG_HELLO, "4", LEN, 0, NULL, "Hello: pinpadSerial has 0 bytes"},
    {KL_MSG_HELLO, "4", LEN, 33, NULL, "Hello: pinpadSerial has 33 bytes"},
    {KL_MSG_HELLO, "4", RAW, 3, "A\"B", "Hello: pinpadSerial is malformed"},

    {TEST_HELLO_FULL, "5", COUNT, 0, NULL, "Hello: anchors holds 0 values: must hold 1 to 4"},
    {TEST_HELLO_FULL, "5", COUNT, 4, NULL, NULL},
    {TEST_HELLO_FULL, "5", COUNT, 5, NULL, "Hello: anchors holds 5 values"},
    {TEST_HELLO_FULL, "50", LEN, 31, NULL, "Hello: an anchor has 31 bytes: must have 32"},
    {TEST_HELLO_FULL, "51", LEN, 33, NULL, "Hello: an anchor has 33 bytes"},
    {TEST_HELLO_FULL, "51", LEN, 0, NULL, "Hello: an anchor has 0 bytes"},
    {TEST_HELLO_FULL, "50", TAG, 0x0c, NULL, "Field=anchors"},
    {TEST_HELLO_FULL, "5", TAG, 0xa2, NULL, "Hello: malformed"},
    {TEST_HELLO_FULL, "5", TAG, 0xa1, NULL, "Hello: malformed"},
    {TEST_HELLO_FULL, "6", COUNT, 0, NULL, "Hello: chain holds 0 certificates: must hold 1 to 4"},
    {TEST_HELLO_FULL, "6", COUNT, 4, NULL, NULL},
    {TEST_HELLO_FULL, "6", COUNT, 5, NULL, "Hello: chain holds 5 certificates"},
    {TEST_HELLO_FULL, "60", LEN, 4092, NULL, NULL},
    {TEST_HELLO_FULL, "60", LEN, 4093, NULL, "Hello: a certificate of the chain has 4097 bytes"},
    {TEST_HELLO_FULL, "61", TAG, 0x31, NULL, "certificate 2 of the chain is not a SEQUENCE"},
    {TEST_HELLO_FULL, "60", TAG, 0xa0, NULL, "certificate 1 of the chain is not a SEQUENCE"},
    {TEST_HELLO_FULL, "6", TAG, 0xa2, NULL, "Hello: malformed"},
    {TEST_HELLO_FULL, "6", TAG, 0x30, NULL, "Hello: malformed"},

    {KL_MSG_CERTIFICATE, "0", INT, 0, NULL, NULL},
    {KL_MSG_CERTIFICATE, "0", INT, 255, NULL, NULL},
    {KL_MSG_CERTIFICATE, "0", INT, 256, NULL, "Certificate: suite is 256: must be 0 to 255"},
    {KL_MSG_CERTIFICATE, "1", INT, 0, NULL, "Certificate: oaepHash is 0: must be 1 to 2"},
    {KL_MSG_CERTIFICATE, "1", INT, 3, NULL, "Certificate: oaepHash is 3"},
    {KL_MSG_CERTIFICATE, "1", INT, 257, NULL, "Certificate: oaepHash is 257"},
    {KL_MSG_CERTIFICATE, "2", LEN, 31, NULL, "Certificate: nonce has 31 bytes: must have 32"},
    {KL_MSG_CERTIFICATE, "2", LEN, 33, NULL, "Certificate: nonce has 33 bytes"},
    {KL_MSG_CERTIFICATE, "3", COUNT, 0, NULL, "Certificate: chain holds 0 certificates"},
    {KL_MSG_CERTIFICATE, "3", COUNT, 4, NULL, NULL},
    {KL_MSG_CERTIFICATE, "3", COUNT, 5, NULL, "Certificate: chain holds 5 certificates"},
    {KL_MSG_CERTIFICATE, "30", LEN, 4092, NULL, NULL},
    {KL_MSG_CERTIFICATE, "30", LEN, 4093, NULL, "a certificate of the chain has 4097 bytes"},
    {KL_MSG_CERTIFICATE, "31", TAG, 0x31, NULL, "certificate 2 of the chain is not a SEQUENCE"},
    {KL_MSG_CERTIFICATE, "30", TAG, 0x04, NULL, "certificate 1 of the chain is not a SEQUENCE"},
    {KL_MSG_CERTIFICATE, "30", TAG, 0xa0, NULL, "certificate 1 of the chain is not a SEQUENCE"},

    {TEST_CERTIFICATE_CRL, "40", LEN, 8188, NULL, NULL},
    {TEST_CERTIFICATE_CRL, "40", LEN, 8189, NULL, "crl has 8193 bytes: must have 1 to 8192"},
    {TEST_CERTIFICATE_CRL, "40", LEN, 0, NULL, NULL},
    {TEST_CERTIFICATE_CRL, "40", TAG, 0x31, NULL, "Certificate: crl is not a SEQUENCE"},
    {TEST_CERTIFICATE_CRL, "40", TAG, 0x04, NULL, "Certificate: crl is not a SEQUENCE"},
    {TEST_CERTIFICATE_CRL, "4", COUNT, 0, NULL, "Certificate: "},
    {TEST_CERTIFICATE_CRL, "4", COUNT, 2, NULL, "Certificate: malformed"},
    {TEST_CERTIFICATE_CRL, "4", TAG, 0xa1, NULL, "Certificate: malformed"},
    {TEST_CERTIFICATE_CRL, "4", TAG, 0x30, NULL, "Certificate: malformed"},
    {TEST_CERTIFICATE_CRL, "3", COUNT, 0, NULL, "Certificate: chain holds 0 certificates"},
    {TEST_CERTIFICATE_CRL, "3", COUNT, 4, NULL, NULL},

    {KL_MSG_RANDOMS, "0", LEN, 0, NULL, "Randoms: cRnd1 has 0 bytes"},
    {KL_MSG_RANDOMS, "0", LEN, 255, NULL, "Randoms: cRnd1 has 255 bytes: must have 256, 384"},
    {KL_MSG_RANDOMS, "0", LEN, 384, NULL, NULL},
    {KL_MSG_RANDOMS, "0", LEN, 512, NULL, NULL},
    {KL_MSG_RANDOMS, "0", LEN, 513, NULL, "Randoms: cRnd1 has 513 bytes"},
    {KL_MSG_RANDOMS, "1", LEN, 11, NULL, "Randoms: iv has 11 bytes: must have 12"},
    {KL_MSG_RANDOMS, "1", LEN, 13, NULL, "Randoms: iv has 13 bytes"},
    {KL_MSG_RANDOMS, "2", LEN, 47, NULL, "Randoms: cRnd2 has 47 bytes: must have 48"},
    {KL_MSG_RANDOMS, "2", LEN, 49, NULL, "Randoms: cRnd2 has 49 bytes"},

    {KL_MSG_RANDOMS, "0", LEN, 40, NULL, "Randoms: cRnd1 has 40 bytes: must have 256, 384"},
    {KL_MSG_RANDOMS, "1", LEN, 0, NULL, "Randoms: iv has 0 bytes"},
    {KL_MSG_RANDOMS, "2", LEN, 0, NULL, "Randoms: cRnd2 has 0 bytes"},
    {KL_MSG_RANDOMS, "1", TAG, 0x04, NULL, "Randoms: malformed"},
    {KL_MSG_RANDOMS, "1", TAG, 0x80, NULL, "Randoms: point, iv and cRnd2 are of no suite"},
    {KL_MSG_RANDOMS, "2", TAG, 0x83, NULL, "Randoms: point, iv and cRnd2 are of no suite"},
    {KL_MSG_RANDOMS, "2", TAG, 0x84, NULL, "Randoms: malformed"},
    {TEST_RANDOMS_SIGNED, "3", LEN, 0, NULL, "Randoms: signature has 0 bytes"},
    {TEST_RANDOMS_SIGNED, "3", LEN, 63, NULL, "Randoms: signature has 63 bytes: must have 64, 96"},
    {TEST_RANDOMS_SIGNED, "3", LEN, 65, NULL, "Randoms: signature has 65 bytes"},
    {TEST_RANDOMS_SIGNED, "3", LEN, 96, NULL, NULL},
    {TEST_RANDOMS_SIGNED, "3", LEN, 132, NULL, NULL},
    {TEST_RANDOMS_SIGNED, "3", LEN, 256, NULL, NULL},
    {TEST_RANDOMS_SIGNED, "3", LEN, 384, NULL, NULL},
    {TEST_RANDOMS_SIGNED, "3", LEN, 512, NULL, NULL},
    {TEST_RANDOMS_SIGNED, "3", LEN, 513, NULL, "Randoms: signature has 513 bytes"},
    {TEST_RANDOMS_CLASSIC, "0", LEN, 0, NULL, "Randoms: cRnd1 has 0 bytes"},
    {TEST_RANDOMS_CLASSIC, "0", LEN, 40, NULL, "Randoms: cRnd1 has 40 bytes: must have 256, 384"},
    {TEST_RANDOMS_CLASSIC, "0", LEN, 384, NULL, NULL},
    {TEST_RANDOMS_CLASSIC, "0", LEN, 512, NULL, NULL},
    {TEST_RANDOMS_EC, "0", LEN, 39, NULL, "Randoms: cRnd1 has 39 bytes: must have 40 with a point"},
    {TEST_RANDOMS_EC, "0", LEN, 41, NULL, "Randoms: cRnd1 has 41 bytes"},
    {TEST_RANDOMS_EC, "0", LEN, 256, NULL, "Randoms: cRnd1 has 256 bytes: must have 40"},
    {TEST_RANDOMS_EC, "1", LEN, 0, NULL, "Randoms: point has 0 bytes"},
    {TEST_RANDOMS_EC, "1", LEN, 33, NULL, "Randoms: point has 33 bytes: must have 65, 97 or 133"},
    {TEST_RANDOMS_EC, "1", LEN, 64, NULL, "Randoms: point has 64 bytes"},
    {TEST_RANDOMS_EC, "1", LEN, 65, NULL, NULL},
    {TEST_RANDOMS_EC, "1", LEN, 133, NULL, NULL},
    {TEST_RANDOMS_EC, "1", LEN, 134, NULL, "Randoms: point has 134 bytes: must have 1 to 133"},
    {TEST_RANDOMS_EC, "2", LEN, 11, NULL, "Randoms: iv has 11 bytes: must have 12"},
    {TEST_RANDOMS_EC, "3", LEN, 49, NULL, "Randoms: cRnd2 has 49 bytes: must have 48"},

    {KL_MSG_MASTER_KEY, "00", LEN, 31, NULL, "MasterKey: t1 has 31 bytes"},
    {KL_MSG_MASTER_KEY, "00", LEN, 33, NULL, "MasterKey: t1 has 33 bytes"},
    {KL_MSG_MASTER_KEY, "01", LEN, 31, NULL, "MasterKey: rnd2 has 31 bytes"},
    {KL_MSG_MASTER_KEY, "01", LEN, 33, NULL, "MasterKey: rnd2 has 33 bytes"},
    {KL_MSG_MASTER_KEY, "02", LEN, 16, NULL, "MasterKey: ctmk has 16 bytes: must have 24, 32"},
    {KL_MSG_MASTER_KEY, "02", LEN, 32, NULL, NULL},
    {KL_MSG_MASTER_KEY, "02", LEN, 39, NULL, "MasterKey: ctmk has 39 bytes"},
    {KL_MSG_MASTER_KEY, "02", LEN, 40, NULL, NULL},
    {KL_MSG_MASTER_KEY, "02", LEN, 41, NULL, "MasterKey: ctmk has 41 bytes"},
    {KL_MSG_MASTER_KEY, "03", LEN, 33, NULL, "MasterKey: serial has 33 bytes"},
    {KL_MSG_MASTER_KEY, "03", RAW, 2, "A/", "MasterKey: serial is malformed"},
    {KL_MSG_MASTER_KEY, "04", INT, 0, NULL, "MasterKey: usage is 0: must be 1 to 1"},
    {KL_MSG_MASTER_KEY, "04", INT, 2, NULL, "MasterKey: usage is 2"},
    {KL_MSG_MASTER_KEY, "04", INT, 257, NULL, "MasterKey: usage is 257"},
    {KL_MSG_MASTER_KEY, "05", INT, 0, NULL, "MasterKey: algorithm is 0: must be 1 to 5"},
    {KL_MSG_MASTER_KEY, "05", INT, 6, NULL, "MasterKey: algorithm is 6"},
    {KL_MSG_MASTER_KEY, "05", INT, 258, NULL, "MasterKey: algorithm is 258"},
    {KL_MSG_MASTER_KEY, "06", INT, 0, NULL, "MasterKey: TMK version is 0"},
    {KL_MSG_MASTER_KEY, "06", INT, 0x7fffffff, NULL, NULL},
    {KL_MSG_MASTER_KEY, "06", INT, 0x80000000, NULL, "MasterKey: TMK version is 2147483648"},
    {KL_MSG_MASTER_KEY, "07", INT, 0, NULL, "MasterKey: kcvMethod is 0: must be 1 to 2"},
    {KL_MSG_MASTER_KEY, "07", INT, 3, NULL, "MasterKey: kcvMethod is 3"},
    {KL_MSG_MASTER_KEY, "07", INT, 257, NULL, "MasterKey: kcvMethod is 257"},
    {KL_MSG_MASTER_KEY, "08", LEN, 2, NULL, "MasterKey: kcv has 2 bytes: must have 3 to 4"},
    {KL_MSG_MASTER_KEY, "08", LEN, 3, NULL, NULL},
    {KL_MSG_MASTER_KEY, "08", LEN, 5, NULL, "MasterKey: kcv has 5 bytes"},
    {KL_MSG_MASTER_KEY, "1", LEN, 0, NULL, "MasterKey: signature has 0 bytes"},
    {KL_MSG_MASTER_KEY, "1", LEN, 257, NULL, "MasterKey: signature has 257 bytes: must have"},
    {KL_MSG_MASTER_KEY, "1", LEN, 384, NULL, NULL},
    {KL_MSG_MASTER_KEY, "1", LEN, 512, NULL, NULL},
    {KL_MSG_MASTER_KEY, "1", LEN, 513, NULL, "MasterKey: signature has 513 bytes"},

    {KL_MSG_MASTER_KEY, "1", LEN, 64, NULL, NULL},
    {KL_MSG_MASTER_KEY, "1", LEN, 65, NULL, "MasterKey: signature has 65 bytes: must have"},
    {KL_MSG_MASTER_KEY, "1", LEN, 96, NULL, NULL},
    {KL_MSG_MASTER_KEY, "1", LEN, 132, NULL, NULL},
    {KL_MSG_MASTER_KEY, "1", LEN, 133, NULL, "MasterKey: signature has 133 bytes: must have"},
    {KL_MSG_MASTER_KEY, "01", LEN, 0, NULL, "MasterKey: rnd2 has 0 bytes"},
    {KL_MSG_MASTER_KEY, "02", LEN, 0, NULL, "MasterKey: ctmk has 0 bytes"},
    {KL_MSG_MASTER_KEY, "01", TAG, 0x04, NULL, "MasterKey: malformed"},
    {KL_MSG_MASTER_KEY, "02", TAG, 0x82, NULL, "MasterKey: malformed"},
    {TEST_MASTER_KEY_CLASSIC, "1", LEN, 64, NULL, "signature has 64 bytes: must have 256, 384"},
    {TEST_MASTER_KEY_CLASSIC, "1", LEN, 132, NULL, "signature has 132 bytes: must have 256, 384"},
    {TEST_MASTER_KEY_CLASSIC, "1", LEN, 384, NULL, NULL},
    {TEST_MASTER_KEY_CLASSIC, "2", LEN, 0, NULL, "MasterKey: mac has 0 bytes: must have 16"},
    {TEST_MASTER_KEY_CLASSIC, "2", LEN, 15, NULL, "MasterKey: mac has 15 bytes: must have 16"},
    {TEST_MASTER_KEY_CLASSIC, "2", LEN, 17, NULL, "MasterKey: mac has 17 bytes: must have 16"},
    {TEST_MASTER_KEY_CLASSIC, "2", TAG, 0x04, NULL, "MasterKey: malformed"},
    {TEST_MASTER_KEY_CLASSIC, "2", TAG, 0x81, NULL, "MasterKey: malformed"},

    {KL_MSG_LOADED, "0", LEN, 2, NULL, "Loaded: kcv has 2 bytes"},
    {KL_MSG_LOADED, "0", LEN, 4, NULL, NULL},
    {KL_MSG_LOADED, "0", LEN, 5, NULL, "Loaded: kcv has 5 bytes"},
    {KL_MSG_LOADED, "1", LEN, 15, NULL, "Loaded: mac has 15 bytes: must have 16"},
    {KL_MSG_LOADED, "1", LEN, 17, NULL, "Loaded: mac has 17 bytes"},

    {KL_MSG_FAILED, "0", INT, 0, NULL, NULL},
    {KL_MSG_FAILED, "0", INT, 0x80000000, NULL, "Failed: reason is 2147483648"},

    {KL_MSG_DONE, "0", INT, 0, NULL, "Done: verdict is 0: must be 1 to 2"},
    {KL_MSG_DONE, "0", INT, 2, NULL, NULL},
    {KL_MSG_DONE, "0", INT, 3, NULL, "Done: verdict is 3"},
    {KL_MSG_DONE, "0", INT, 257, NULL, "Done: verdict is 257"},
    {KL_MSG_DONE, "1", INT, 0, NULL, "Done: TMK version is 0"},
    {KL_MSG_DONE, "1", INT, 0x80000000, NULL, "Done: TMK version is 2147483648"},
    {KL_MSG_DONE, "2", LEN, 15, NULL, "Done: mac has 15 bytes"},
    {KL_MSG_DONE, "2", LEN, 17, NULL, "Done: mac has 17 bytes"},

    {KL_MSG_CONFIRM, "0", INT, 0, NULL, NULL},
    {KL_MSG_CONFIRM, "0", INT, 0x80000000, NULL, "Confirm: version is 2147483648"},
    {KL_MSG_CONFIRM, "1", LEN, 0, NULL, "Confirm: serial has 0 bytes"},
    {KL_MSG_CONFIRM, "1", RAW, 1, "*", "Confirm: serial is malformed"},
    {KL_MSG_CONFIRM, "2", LEN, 33, NULL, "Confirm: pinpadSerial has 33 bytes"},
    {KL_MSG_CONFIRM, "2", RAW, 1, "*", "Confirm: pinpadSerial is malformed"},
    {KL_MSG_CONFIRM, "3", INT, 0, NULL, "Confirm: TMK version is 0"},
    {KL_MSG_CONFIRM, "3", INT, 0x80000000, NULL, "Confirm: TMK version is 2147483648"},
    {KL_MSG_CONFIRM, "40", LEN, 2, NULL, "Confirm: kcv has 2 bytes"},
    {KL_MSG_CONFIRM, "41", LEN, 15, NULL, "Confirm: mac has 15 bytes"},

    {KL_MSG_ERROR, "0", INT, 0, NULL, NULL},
    {KL_MSG_ERROR, "0", INT, 0x80000000, NULL, "Error: code is 2147483648"},
    {KL_MSG_ERROR, "1", INT, 86400, NULL, NULL},
    {KL_MSG_ERROR, "1", INT, 86401, NULL, "Error: retryAfter is 86401: must be 0 to 86400"},
    {KL_MSG_ERROR, "2", LEN, 128, NULL, NULL},
    {KL_MSG_ERROR, "2", LEN, 129, NULL, "Error: text has 129 bytes: must have at most 128"},
    {KL_MSG_ERROR, "2", RAW, 2, "\xc3\xa9", NULL},
    {KL_MSG_ERROR, "2", RAW, 1, "\xff", "Error: text is not UTF-8"},
    {KL_MSG_ERROR, "2", RAW, 2, "\xc0\x80", "Error: text is not UTF-8"},
    {KL_MSG_ERROR, "2", RAW, 2, "\xe2\x82", "Error: text is not UTF-8"},
    {KL_MSG_ERROR, "2", RAW, 3, "\xed\xa0\x80", "Error: text is not UTF-8"},

    {KL_MSG_SIGN_IN, "0", INT, 0, NULL, NULL},
    {KL_MSG_SIGN_IN, "0", INT, 0x80000000, NULL, "SignIn: version is 2147483648"},
    {KL_MSG_SIGN_IN, "1", LEN, 0, NULL, "SignIn: serial has 0 bytes: must have 1 to 32"},
    {KL_MSG_SIGN_IN, "1", LEN, 32, NULL, NULL},
    {KL_MSG_SIGN_IN, "1", LEN, 33, NULL, "SignIn: serial has 33 bytes"},
    {KL_MSG_SIGN_IN, "1", RAW, 3, "A\0B", "SignIn: serial holds a NUL"},
    {KL_MSG_SIGN_IN, "1", RAW, 1, "*", "SignIn: serial is malformed"},
    {KL_MSG_SIGN_IN, "2", LEN, 33, NULL, "SignIn: pinpadSerial has 33 bytes"},
    {KL_MSG_SIGN_IN, "2", RAW, 1, "*", "SignIn: pinpadSerial is malformed"},
    {KL_MSG_SIGN_IN, "3", INT, 0, NULL, "SignIn: TMK version is 0"},
    {KL_MSG_SIGN_IN, "3", INT, 0x7fffffff, NULL, NULL},
    {KL_MSG_SIGN_IN, "3", INT, 0x80000000, NULL, "SignIn: TMK version is 2147483648"},
    {KL_MSG_SIGN_IN, "4", INT, 0, NULL, "SignIn: format is 0: must be 1 to 2"},
    {KL_MSG_SIGN_IN, "4", INT, 1, NULL, NULL},
    {KL_MSG_SIGN_IN, "4", INT, 3, NULL, "SignIn: format is 3"},
    {KL_MSG_SIGN_IN, "4", INT, 257, NULL, "SignIn: format is 257"},
    {KL_MSG_SIGN_IN, "5", LEN, 31, NULL, "SignIn: nonce has 31 bytes: must have 32"},
    {KL_MSG_SIGN_IN, "5", LEN, 33, NULL, "SignIn: nonce has 33 bytes"},

    {KL_MSG_WORKING_KEYS, "00", INT, 0, NULL, "WorkingKeys: TMK version is 0"},
    {KL_MSG_WORKING_KEYS, "00", INT, 0x80000000, NULL, "WorkingKeys: TMK version is 2147483648"},
    {KL_MSG_WORKING_KEYS, "01", INT, 0, NULL, "WorkingKeys: algorithm is 0: must be 1 to 5"},
    {KL_MSG_WORKING_KEYS, "01", INT, 6, NULL, "WorkingKeys: algorithm is 6"},
    {KL_MSG_WORKING_KEYS, "01", INT, 259, NULL, "WorkingKeys: algorithm is 259"},
    {KL_MSG_WORKING_KEYS, "01", INT, 2, NULL, "WorkingKeys: cSession has 32 bytes: must have 16"},
    {KL_MSG_WORKING_KEYS, "01", INT, 4, NULL, "WorkingKeys: cSession has 32 bytes: must have 24"},
    {KL_MSG_WORKING_KEYS, "01", INT, 5, NULL, "WorkingKeys: cSession has 32 bytes: must have 24"},
    {KL_MSG_WORKING_KEYS, "02", LEN, 0, NULL, "WorkingKeys: cSession has 0 bytes"},
    {KL_MSG_WORKING_KEYS, "02", LEN, 24, NULL, "WorkingKeys: cSession has 24 bytes: must have 32"},
    {KL_MSG_WORKING_KEYS, "02", LEN, 41, NULL, "WorkingKeys: cSession has 41 bytes"},
    {KL_MSG_WORKING_KEYS, "030", LEN, 0, NULL, "WorkingKeys: pik has 0 bytes"},
    {KL_MSG_WORKING_KEYS, "030", LEN, 16, NULL, "WorkingKeys: pik has 16 bytes: must have 24"},
    {KL_MSG_WORKING_KEYS, "030", LEN, 41, NULL, "WorkingKeys: pik has 41 bytes"},
    {KL_MSG_WORKING_KEYS, "031", LEN, 2, NULL, "WorkingKeys: pik kcv has 2 bytes: must have 3"},
    {KL_MSG_WORKING_KEYS, "031", LEN, 4, NULL, NULL},
    {KL_MSG_WORKING_KEYS, "031", LEN, 5, NULL, "WorkingKeys: pik kcv has 5 bytes"},
    {KL_MSG_WORKING_KEYS, "040", LEN, 16, NULL, "WorkingKeys: mak has 16 bytes: must have 24"},
    {KL_MSG_WORKING_KEYS, "041", LEN, 2, NULL, "WorkingKeys: mak kcv has 2 bytes"},
    {KL_MSG_WORKING_KEYS, "041", LEN, 5, NULL, "WorkingKeys: mak kcv has 5 bytes"},
    {KL_MSG_WORKING_KEYS, "03", TAG, 0x30, NULL, "WorkingKeys: malformed"},
    {KL_MSG_WORKING_KEYS, "04", TAG, 0xa2, NULL, "WorkingKeys: encoding is not DER"},
    {KL_MSG_WORKING_KEYS, "1", LEN, 15, NULL, "WorkingKeys: mac has 15 bytes: must have 16"},
    {KL_MSG_WORKING_KEYS, "1", LEN, 17, NULL, "WorkingKeys: mac has 17 bytes"},
    {TEST_KEYS_TDES, "01", INT, 1, NULL, "WorkingKeys: pik has 24 bytes: must have 16"},
    {TEST_KEYS_TDES, "01", INT, 3, NULL, "WorkingKeys: cSession has 16 bytes: must have 32"},
    {TEST_KEYS_TDES, "02", LEN, 24, NULL, "WorkingKeys: cSession has 24 bytes: must have 16"},
    {TEST_KEYS_TDES, "040", LEN, 32, NULL, "WorkingKeys: mak has 32 bytes: must have 24"},
    {TEST_KEYS_FIELD62, "01", INT, 1, NULL, NULL},
    {TEST_KEYS_FIELD62, "01", INT, 3, NULL, "WorkingKeys: cSession has 16 bytes"},
    {TEST_KEYS_FIELD62, "03", LEN, 0, NULL, "WorkingKeys: field62 has 0 bytes: must have 40"},
    {TEST_KEYS_FIELD62, "03", LEN, 39, NULL, "WorkingKeys: field62 has 39 bytes"},
    {TEST_KEYS_FIELD62, "03", LEN, 41, NULL, "WorkingKeys: field62 has 41 bytes"},
    {TEST_KEYS_FIELD62, "03", TAG, 0x83, NULL, "WorkingKeys: malformed"},
};

static void set_content(struct der_node *node, const void *data, size_t len)
{
    free(node->data);
    node->data = calloc(1, len + 1);
    ck_assert_ptr_nonnull(node->data);
    if (data) {
        memcpy(node->data, data, len);
    } else {
        memset(node->data, 'A', len);
    }
    node->len = len;
}

static void set_integer(struct der_node *node, int64_t value)
{
    uint8_t bytes[8];
    size_t first = 0;

    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(value >> 8 * (7 - i));
    }
    while (first < 7 && bytes[first] == 0 && !(bytes[first + 1] & 0x80)) {
        first++;
    }
    set_content(node, bytes + first, 8 - first);
}

static void set_count(struct der_node *node, size_t count)
{
    struct der_node *model = node->child[0];

    for (size_t i = 1; i < node->children; i++) {
        der_free(node->child[i]);
    }
    node->children = count;
    for (size_t i = 1; i < count; i++) {
        node->child[i] = der_new(model->tag, model->data, model->len);
    }
    if (count == 0) {
        der_free(model);
    }
}

static void apply(struct der_node *node, const struct bound *bound)
{
    switch (bound->change) {
    case LEN:
        set_content(node, NULL, (size_t)bound->value);
        break;
    case INT:
        set_integer(node, bound->value);
        break;
    case TAG:
        node->tag = (uint8_t)bound->value;
        break;
    case COUNT:
        set_count(node, (size_t)bound->value);
        break;
    case RAW:
        set_content(node, bound->raw, (size_t)bound->value);
        break;
    }
}

/* The node at a path. */
static struct der_node *find(struct der_node *root, const char *path)
{
    for (; *path; path++) {
        ck_assert_uint_lt((size_t)(*path - '0'), root->children);
        root = root->child[*path - '0'];
    }
    return root;
}

static void assert_verdict(const uint8_t *der, size_t len, const char *text)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg;

    if (text) {
        der_assert_refused(der, len, text);
    } else {
        ck_assert_msg(kl_msg_decode(der, len, &msg, &err) == KL_OK, "%s", err.text);
        der_assert_refused_or_exact(der, len);
    }
}

START_TEST(test_bounds)
{
    uint8_t der[KL_MSG_MAX], *out = malloc(DER_OUT_MAX);
    struct der_node *root;
    size_t len;

    ck_assert_ptr_nonnull(out);
    root = der_open_sample(bounds[_i].sample, der, &len);
    apply(find(root, bounds[_i].path), &bounds[_i]);
    assert_verdict(out, der_put(root, out), bounds[_i].text);
    der_free(root);
    free(out);
}
END_TEST

/* Members left out, out of order or there twice: what is OPTIONAL only as a suite or format has
 * it. */
static const struct {
    unsigned sample;
    const char *path; /* of the SEQUENCE */
    const char *keep; /* its children, in that order */
    const char *text; /* as in bounds */
} combinations[] = {
    {TEST_HELLO_FULL, "", "0123456", NULL},
    {TEST_HELLO_FULL, "", "012345", NULL},
    {TEST_HELLO_FULL, "", "012346", NULL},
    {TEST_HELLO_FULL, "", "01234", NULL},
    {TEST_HELLO_FULL, "", "012356", "Hello: malformed"},
    {TEST_HELLO_FULL, "", "0123465", "Hello: malformed"},
    {TEST_HELLO_FULL, "", "0123455", "Hello: malformed"},
    {TEST_HELLO_FULL, "", "01234566", "Hello: malformed"},

    {TEST_CERTIFICATE_CRL, "", "0123", NULL},
    {TEST_CERTIFICATE_CRL, "", "0124", "Certificate: malformed"},
    {TEST_CERTIFICATE_CRL, "", "01243", "Certificate: malformed"},
    {TEST_CERTIFICATE_CRL, "", "012344", "Certificate: malformed"},

    {TEST_RANDOMS_SIGNED, "", "0123", NULL},
    {TEST_RANDOMS_SIGNED, "", "012", NULL},
    {TEST_RANDOMS_SIGNED, "", "03", NULL}, /* classic */
    {TEST_RANDOMS_SIGNED, "", "0", NULL},
    {TEST_RANDOMS_SIGNED, "", "01", "Randoms: point, iv and cRnd2 are of no suite together"},
    {TEST_RANDOMS_SIGNED, "", "02", "Randoms: point, iv and cRnd2 are of no suite together"},
    {TEST_RANDOMS_SIGNED, "", "013", "Randoms: point, iv and cRnd2 are of no suite together"},
    {TEST_RANDOMS_SIGNED, "", "123", "Randoms: malformed"},
    {TEST_RANDOMS_SIGNED, "", "0213", "Randoms: malformed"},
    {TEST_RANDOMS_SIGNED, "", "0132", "Randoms: malformed"},
    {TEST_RANDOMS_SIGNED, "", "01233", "Randoms: malformed"},
    {TEST_RANDOMS_EC_SIGNED, "", "01234", NULL},
    {TEST_RANDOMS_EC_SIGNED, "", "0123", NULL},
    {TEST_RANDOMS_EC_SIGNED, "", "01", "Randoms: point, iv and cRnd2 are of no suite together"},
    {TEST_RANDOMS_EC_SIGNED, "", "014", "Randoms: point, iv and cRnd2 are of no suite together"},
    {TEST_RANDOMS_EC_SIGNED, "", "0124", "Randoms: point, iv and cRnd2 are of no suite together"},
    {TEST_RANDOMS_EC_SIGNED, "", "0134", "Randoms: point, iv and cRnd2 are of no suite together"},
    {TEST_RANDOMS_EC_SIGNED, "", "0234", "Randoms: cRnd1 has 40 bytes: must have 256, 384 or 512"},
    {TEST_RANDOMS_EC_SIGNED, "", "04", "Randoms: cRnd1 has 40 bytes: must have 256, 384 or 512"},
    {TEST_RANDOMS_EC_SIGNED, "", "02134", "Randoms: malformed"},

    {KL_MSG_MASTER_KEY, "0", "0345678", "MasterKey: mac must be there where ctmk is not"},
    {TEST_MASTER_KEY_EC, "0", "0345678", "MasterKey: mac must be there where ctmk is not"},
    {TEST_MASTER_KEY_CLASSIC, "", "012", NULL},
    {TEST_MASTER_KEY_CLASSIC, "", "01", "MasterKey: mac must be there where ctmk is not"},
    {TEST_MASTER_KEY_CLASSIC, "", "021", "MasterKey: malformed"},
    {TEST_MASTER_KEY_CLASSIC, "", "02", "MasterKey: malformed"},
    {TEST_MASTER_KEY_CLASSIC, "", "0122", "MasterKey: malformed"},
    {KL_MSG_MASTER_KEY, "0", "01345678", "MasterKey: rnd2 and ctmk must both be there, or neither"},
    {KL_MSG_MASTER_KEY, "0", "02345678", "MasterKey: rnd2 and ctmk must both be there, or neither"},
    {KL_MSG_MASTER_KEY, "0", "021345678", "MasterKey: malformed"},

    {KL_MSG_WORKING_KEYS, "0", "012", "WorkingKeys: either pik and mak must be there, or field62"},
    {KL_MSG_WORKING_KEYS, "0", "0123", "WorkingKeys: either pik and mak must be there"},
    {KL_MSG_WORKING_KEYS, "0", "0124", "WorkingKeys: either pik and mak must be there"},
    {KL_MSG_WORKING_KEYS, "0", "01243", "WorkingKeys: malformed"},
    {KL_MSG_WORKING_KEYS, "0", "012334", "WorkingKeys: malformed"},
    {TEST_KEYS_FIELD62, "0", "012", "WorkingKeys: either pik and mak must be there, or field62"},
    {TEST_KEYS_FIELD62, "0", "01233", "WorkingKeys: malformed"},
};

START_TEST(test_combinations)
{
    const char *keep = combinations[_i].keep;
    uint8_t der[KL_MSG_MAX], *out = malloc(DER_OUT_MAX);
    struct der_node *root, *node, before;
    size_t len;

    ck_assert_ptr_nonnull(out);
    root = der_open_sample(combinations[_i].sample, der, &len);
    node = find(root, combinations[_i].path);
    before = *node;
    for (node->children = 0; keep[node->children]; node->children++) {
        node->child[node->children] = before.child[keep[node->children] - '0'];
    }
    assert_verdict(out, der_put(root, out), combinations[_i].text);
    *node = before;
    der_free(root);
    free(out);
}
END_TEST

/* Keys in both formats at once, whole or half. */
START_TEST(test_both_formats)
{
    static const char *const keep[] = {"01234", "0123", "0124"};
    uint8_t der[KL_MSG_MAX], *out = malloc(DER_OUT_MAX);
    struct der_node *root, *body, before;
    size_t len;

    ck_assert_ptr_nonnull(out);
    root = der_open_sample(TEST_KEYS_TDES, der, &len);
    body = root->child[0];
    before = *body;
    for (body->children = 0; keep[_i][body->children]; body->children++) {
        body->child[body->children] = before.child[keep[_i][body->children] - '0'];
    }
    body->child[body->children++] = der_new(0x82, der, KL_FIELD62_LEN);
    der_assert_refused(out, der_put(root, out), "either pik and mak must be there, or field62");
    der_free(body->child[body->children - 1]);
    *body = before;
    der_free(root);
    free(out);
}
END_TEST

/* A hardened MasterKey is signed whole and has no MAC. */
START_TEST(test_mac_of_hardened)
{
    static const unsigned samples[] = {KL_MSG_MASTER_KEY, TEST_MASTER_KEY_EC};
    uint8_t der[KL_MSG_MAX], *out = malloc(DER_OUT_MAX);
    struct der_node *root;
    size_t len;

    ck_assert_ptr_nonnull(out);
    root = der_open_sample(samples[_i], der, &len);
    root->child[root->children++] = der_new(0x80, der, KL_MAC_LEN);
    der_assert_refused(out, der_put(root, out), "mac must be there where ctmk is not, and only");
    der_free(root);
    free(out);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bounds");
    TCase *tcase = tcase_create("bounds");

    tcase_add_loop_test(tcase, test_bounds, 0, sizeof(bounds) / sizeof(bounds[0]));
    tcase_add_loop_test(tcase, test_combinations, 0,
                        sizeof(combinations) / sizeof(combinations[0]));
    tcase_add_loop_test(tcase, test_both_formats, 0, 3);
    tcase_add_loop_test(tcase, test_mac_of_hardened, 0, 2);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
