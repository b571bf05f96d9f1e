/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Decoding of hostile bytes: cut short, with a bit flipped, something after it, BER that is not
 * DER, a field or a count out of bounds. Messages are taken apart into a tree, changed in one
 * place, and put together again by this file's own few lines of DER.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/message.h"
#include "tests/support/messages.h"
#include "tests/support/suite.h"

#define CHILDREN_MAX 16
#define OUT_MAX 70000 /* room for what is far too large */

enum form {
    FORM_DER,
    FORM_LONG,       /* one length byte more than needed */
    FORM_INDEFINITE, /* constructed only */
    FORM_PIECES,     /* a string as a constructed one of one piece */
};

struct node {
    uint8_t tag;
    enum form form;
    size_t children;
    struct node *child[CHILDREN_MAX];
    size_t len; /* of data, when there are no children */
    uint8_t *data;
};

static struct node *node_new(uint8_t tag, const uint8_t *data, size_t len)
{
    struct node *node = calloc(1, sizeof(*node));

    ck_assert_ptr_nonnull(node);
    node->tag = tag;
    node->data = calloc(1, len + 1);
    ck_assert_ptr_nonnull(node->data);
    if (len > 0) {
        memcpy(node->data, data, len);
    }
    node->len = len;
    return node;
}

static void node_free(struct node *node)
{
    for (size_t i = 0; i < node->children; i++) {
        node_free(node->child[i]);
    }
    free(node->data);
    free(node);
}

/* One value of well-formed DER. Constructed ones are opened down to the given depth; below it
 * (inside certificates) they are just bytes. */
static struct node *take_apart(const uint8_t **p, int depth)
{
    const uint8_t *q = *p;
    uint8_t tag = *q++;
    size_t len = *q++, bytes;
    struct node *node;

    if (len & 0x80) {
        for (bytes = len & 0x7f, len = 0; bytes > 0; bytes--) {
            len = len << 8 | *q++;
        }
    }
    *p = q + len;
    if (!(tag & 0x20) || depth == 0 || len == 0) {
        return node_new(tag, q, len);
    }
    node = node_new(tag, NULL, 0);
    while (q < *p) {
        node->child[node->children++] = take_apart(&q, depth - 1);
    }
    return node;
}

static size_t put_header(uint8_t *out, uint8_t tag, size_t len, int extra)
{
    int bytes = len < 0x80 ? 0 : len < 0x100 ? 1 : len < 0x10000 ? 2 : 3;
    size_t at = 0;

    bytes += extra;
    out[at++] = tag;
    out[at++] = (uint8_t)(bytes == 0 ? len : 0x80 | (unsigned)bytes);
    while (bytes-- > 0) {
        out[at++] = (uint8_t)(len >> 8 * bytes);
    }
    return at;
}

static size_t put_together(const struct node *node, uint8_t *out)
{
    uint8_t *content = malloc(OUT_MAX), *pieces = malloc(OUT_MAX);
    size_t len = 0, at;
    uint8_t tag = node->tag;

    ck_assert(content && pieces);
    for (size_t i = 0; i < node->children; i++) {
        len += put_together(node->child[i], content + len);
    }
    if (node->children == 0) {
        memcpy(content, node->data, node->len);
        len = node->len;
    }
    if (node->form == FORM_PIECES) {
        at = put_header(pieces, tag, len, 0);
        memcpy(pieces + at, content, len);
        memcpy(content, pieces, at + len);
        len += at;
        tag |= 0x20;
    }
    if (node->form == FORM_INDEFINITE) {
        at = 0;
        out[at++] = tag;
        out[at++] = 0x80;
        memset(content + len, 0, 2);
        len += 2;
    } else {
        at = put_header(out, tag, len, node->form == FORM_LONG);
    }
    memcpy(out + at, content, len);
    free(content);
    free(pieces);
    return at + len;
}

/* The sample of a type as bytes and as a tree. */
static struct node *open_sample(enum kl_msg_type type, uint8_t *der, size_t *len)
{
    struct kl_err err = KL_ERR_INIT;
    const uint8_t *p = der;
    struct kl_msg msg;
    struct node *root;
    uint8_t *again = malloc(OUT_MAX);

    ck_assert_ptr_nonnull(again);
    test_sample(type, &msg);
    ck_assert_msg(kl_msg_encode(&msg, der, len, &err) == KL_OK, "%s", err.text);
    root = take_apart(&p, 2);
    ck_assert_uint_eq(put_together(root, again), *len); /* the tree itself adds nothing */
    ck_assert_mem_eq(again, der, *len);
    free(again);
    return root;
}

static void assert_refused(const uint8_t *der, size_t len, const char *text)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg, before;

    memset(&msg, 0x5a, sizeof(msg));
    before = msg;
    ck_assert_msg(kl_msg_decode(der, len, &msg, &err) == KL_ERR_PROTOCOL, "accepted: %s", text);
    ck_assert_mem_eq(&msg, &before, sizeof(msg));
    ck_assert_msg(strstr(err.text, text), "\"%s\" lacks \"%s\"", err.text, text);
}

/* Refused, or a message that encodes to the very same bytes. Error.text alone is not kept as it
 * came; there, what was decoded must survive another round. */
static void assert_refused_or_exact(const uint8_t *der, size_t len)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t again[KL_MSG_MAX];
    struct kl_msg msg, back;
    size_t again_len;

    if (kl_msg_decode(der, len, &msg, &err) != KL_OK) {
        ck_assert_int_eq(err.rc, KL_ERR_PROTOCOL);
        ck_assert_uint_gt(strlen(err.text), 0);
        return;
    }
    ck_assert_msg(kl_msg_encode(&msg, again, &again_len, &err) == KL_OK, "%s", err.text);
    if (msg.type == KL_MSG_ERROR) {
        ck_assert_int_eq(kl_msg_decode(again, again_len, &back, &err), KL_OK);
        ck_assert_mem_eq(&back.u.error, &msg.u.error, sizeof(msg.u.error));
    } else {
        ck_assert_uint_eq(again_len, len);
        ck_assert_mem_eq(again, der, len);
    }
}

START_TEST(test_truncated)
{
    uint8_t der[KL_MSG_MAX];
    size_t len;

    node_free(open_sample((enum kl_msg_type)_i, der, &len));
    assert_refused(der, 0, "message has 0 bytes");
    for (size_t cut = 1; cut < len; cut++) {
        uint8_t *exact = malloc(cut); /* so that a sanitizer sees a read past the end */

        ck_assert_ptr_nonnull(exact);
        memcpy(exact, der, cut);
        assert_refused(exact, cut, "cut short");
        free(exact);
    }
}
END_TEST

START_TEST(test_bit_flips)
{
    uint8_t der[KL_MSG_MAX];
    size_t len;

    node_free(open_sample((enum kl_msg_type)_i, der, &len));
    for (size_t bit = 0; bit < len * 8; bit++) {
        der[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_refused_or_exact(der, len);
        der[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}
END_TEST

START_TEST(test_trailing)
{
    uint8_t der[KL_MSG_MAX + 8];
    char text[64];
    size_t len;

    node_free(open_sample((enum kl_msg_type)_i, der, &len));
    for (size_t extra = 1; extra <= 2; extra++) {
        memset(der + len, 0, extra);
        snprintf(text, sizeof(text), "%zu bytes follow the message", extra);
        assert_refused(der, len + extra, text);
    }
    memcpy(der + len, der, 3); /* the beginning of a second message */
    assert_refused(der, len + 3, "3 bytes follow the message");
}
END_TEST

/* Every form at every node of the tree that can have it. */
static void try_forms(struct node *root, struct node *node, uint8_t *out)
{
    static const enum form forms[] = {FORM_LONG, FORM_INDEFINITE, FORM_PIECES};
    int constructed = node->tag & 0x20;

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (forms[i] == FORM_INDEFINITE ? !constructed : forms[i] == FORM_PIECES && constructed) {
            continue;
        }
        node->form = forms[i];
        assert_refused(out, put_together(root, out), "");
        node->form = FORM_DER;
    }
    for (size_t i = 0; i < node->children; i++) {
        try_forms(root, node->child[i], out);
    }
}

START_TEST(test_ber)
{
    uint8_t der[KL_MSG_MAX], *out = malloc(OUT_MAX);
    struct node *root;
    size_t len;

    ck_assert_ptr_nonnull(out);
    root = open_sample((enum kl_msg_type)_i, der, &len);
    try_forms(root, root, out);
    root->form = FORM_INDEFINITE;
    assert_refused(out, put_together(root, out), "indefinite length is not DER");
    root->form = FORM_LONG;
    assert_refused(out, put_together(root, out), "encoding is not DER");
    node_free(root);
    free(out);
}
END_TEST

/* One member more, at the end of every SEQUENCE, or one less: the lists too, since a NULL is none
 * of what they hold. A list that is merely shorter is still a list. */
static void try_members(struct node *root, struct node *node, int is_list, uint8_t *out)
{
    struct node *last;

    if (node->children == 0) {
        return;
    }
    node->child[node->children++] = node_new(0x05, NULL, 0);
    assert_refused(out, put_together(root, out), "");
    node_free(node->child[--node->children]);
    last = node->child[--node->children];
    if (!is_list) {
        assert_refused(out, put_together(root, out), node->children == 0 ? "" : "malformed");
    }
    node->child[node->children++] = last;
    for (size_t i = 0; i < node->children; i++) {
        try_members(root, node->child[i], node == root && root->tag <= 0xa1, out);
    }
}

START_TEST(test_members)
{
    uint8_t der[KL_MSG_MAX], *out = malloc(OUT_MAX);
    struct node *root;
    size_t len;

    ck_assert_ptr_nonnull(out);
    root = open_sample((enum kl_msg_type)_i, der, &len);
    try_members(root, root, 0, out);
    node_free(root);
    free(out);
}
END_TEST

START_TEST(test_unknown_tags)
{
    uint8_t der[KL_MSG_MAX];
    size_t len;

    node_free(open_sample(KL_MSG_FAILED, der, &len));
    for (unsigned tag = 0; tag < 256; tag++) {
        der[0] = (uint8_t)tag;
        if ((tag & 0x1f) == 0x1f) { /* high tag numbers are several bytes long */
            assert_refused(der, len, "");
        } else if (tag < 0xa0 || tag > 0xa8) {
            assert_refused(der, len, "tag is unknown");
        } else if (tag == 0xa0 + KL_MSG_FAILED) {
            assert_refused_or_exact(der, len);
        } else {
            assert_refused(der, len, "malformed");
        }
    }
}
END_TEST

START_TEST(test_size)
{
    uint8_t *big = calloc(1, KL_MSG_MAX + 1);

    ck_assert_ptr_nonnull(big);
    put_header(big, 0xa1, KL_MSG_MAX + 1 - 4, 0);
    assert_refused(big, KL_MSG_MAX + 1, "message has 16385 bytes: must have 1 to 16384");
    free(big);
}
END_TEST

/* What is done to one node: its content or its number of children changes. */
enum change {
    LEN,   /* content becomes this many times 'A' */
    INT,   /* content becomes that INTEGER */
    TAG,   /* tag becomes that */
    COUNT, /* the first child that many times */
    RAW,   /* content becomes these bytes */
};

static const struct bound {
    enum kl_msg_type type;
    int a, b; /* child of the message, then child of that, or -1 */
    enum change change;
    int64_t value;
    const char *raw;
    const char *text; /* that the refusal must hold; NULL = must be accepted */
} bounds[] = {
    {KL_MSG_HELLO, 0, -1, INT, 0, NULL, NULL},
    {KL_MSG_HELLO, 0, -1, INT, 0x7fffffff, NULL, NULL},
    {KL_MSG_HELLO, 0, -1, INT, 0x80000000, NULL, "Hello: version is 2147483648"},
    {KL_MSG_HELLO, 0, -1, INT, 0x100000000, NULL, "Hello: malformed"},
    {KL_MSG_HELLO, 0, -1, RAW, 1, "\xff", "Hello: malformed"},
    {KL_MSG_HELLO, 0, -1, RAW, 2, "\0\1", "Hello: malformed"},
    {KL_MSG_HELLO, 0, -1, RAW, 0, "", "Hello: "},
    {KL_MSG_HELLO, 0, -1, TAG, 0x0a, NULL, "Field=version"},
    {KL_MSG_HELLO, 1, -1, COUNT, 0, NULL, "Hello: suites holds 0 values: must hold 1 to 8"},
    {KL_MSG_HELLO, 1, -1, COUNT, 8, NULL, NULL},
    {KL_MSG_HELLO, 1, -1, COUNT, 9, NULL, "Hello: suites holds 9 values"},
    {KL_MSG_HELLO, 1, 0, INT, 255, NULL, NULL},
    {KL_MSG_HELLO, 1, 0, INT, 256, NULL, "Hello: value 1 of suites is not within 0 to 255"},
    {KL_MSG_HELLO, 1, 1, RAW, 1, "\xff", "Hello: value 2 of suites is not within 0 to 255"},
    {KL_MSG_HELLO, 1, 0, RAW, 9, "\1\0\0\0\0\0\0\0\1", "Hello: value 1 of suites"},
    {KL_MSG_HELLO, 1, 0, RAW, 2, "\0\1", "Hello: malformed"},
    {KL_MSG_HELLO, 2, -1, COUNT, 0, NULL, "Hello: algorithms holds 0 values"},
    {KL_MSG_HELLO, 2, -1, COUNT, 9, NULL, "Hello: algorithms holds 9 values"},
    {KL_MSG_HELLO, 2, 0, INT, 256, NULL, "Hello: value 1 of algorithms"},
    {KL_MSG_HELLO, 3, -1, LEN, 0, NULL, "Hello: serial has 0 bytes: must have 1 to 32"},
    {KL_MSG_HELLO, 3, -1, LEN, 32, NULL, NULL},
    {KL_MSG_HELLO, 3, -1, LEN, 33, NULL, "Hello: serial has 33 bytes"},
    {KL_MSG_HELLO, 3, -1, RAW, 3, "A B", "Hello: serial is malformed"},
    {KL_MSG_HELLO, 3, -1, RAW, 3, "A\nB", "Hello: serial is malformed"},
    {KL_MSG_HELLO, 3, -1, RAW, 2, "\xc3\xa9", "Hello: serial is malformed"},
    {KL_MSG_HELLO, 3, -1, RAW, 3, "A\0B", "Hello: serial holds a NUL"},
    {KL_MSG_HELLO, 3, -1, TAG, 0x0c, NULL, "Field=serial"},
    {KL_MSG_HELLO, 4, -1, LEN, 0, NULL, "Hello: pinpadSerial has 0 bytes"},
    {KL_MSG_HELLO, 4, -1, LEN, 33, NULL, "Hello: pinpadSerial has 33 bytes"},
    {KL_MSG_HELLO, 4, -1, RAW, 3, "A\"B", "Hello: pinpadSerial is malformed"},

    {KL_MSG_CERTIFICATE, 0, -1, INT, 0, NULL, NULL},
    {KL_MSG_CERTIFICATE, 0, -1, INT, 255, NULL, NULL},
    {KL_MSG_CERTIFICATE, 0, -1, INT, 256, NULL, "Certificate: suite is 256: must be 0 to 255"},
    {KL_MSG_CERTIFICATE, 1, -1, INT, 0, NULL, "Certificate: oaepHash is 0: must be 1 to 2"},
    {KL_MSG_CERTIFICATE, 1, -1, INT, 3, NULL, "Certificate: oaepHash is 3"},
    {KL_MSG_CERTIFICATE, 1, -1, INT, 257, NULL, "Certificate: oaepHash is 257"},
    {KL_MSG_CERTIFICATE, 2, -1, LEN, 31, NULL, "Certificate: nonce has 31 bytes: must have 32"},
    {KL_MSG_CERTIFICATE, 2, -1, LEN, 33, NULL, "Certificate: nonce has 33 bytes"},
    {KL_MSG_CERTIFICATE, 3, -1, COUNT, 0, NULL, "Certificate: chain holds 0 certificates"},
    {KL_MSG_CERTIFICATE, 3, -1, COUNT, 4, NULL, NULL},
    {KL_MSG_CERTIFICATE, 3, -1, COUNT, 5, NULL, "Certificate: chain holds 5 certificates"},
    {KL_MSG_CERTIFICATE, 3, 0, LEN, 4092, NULL, NULL},
    {KL_MSG_CERTIFICATE, 3, 0, LEN, 4093, NULL, "a certificate of the chain has 4097 bytes"},
    {KL_MSG_CERTIFICATE, 3, 1, TAG, 0x31, NULL, "certificate 2 of the chain is not a SEQUENCE"},
    {KL_MSG_CERTIFICATE, 3, 0, TAG, 0x04, NULL, "certificate 1 of the chain is not a SEQUENCE"},
    {KL_MSG_CERTIFICATE, 3, 0, TAG, 0xa0, NULL, "certificate 1 of the chain is not a SEQUENCE"},

    {KL_MSG_RANDOMS, 0, -1, LEN, 0, NULL, "Randoms: cRnd1 has 0 bytes"},
    {KL_MSG_RANDOMS, 0, -1, LEN, 255, NULL, "Randoms: cRnd1 has 255 bytes: must have 256, 384"},
    {KL_MSG_RANDOMS, 0, -1, LEN, 384, NULL, NULL},
    {KL_MSG_RANDOMS, 0, -1, LEN, 512, NULL, NULL},
    {KL_MSG_RANDOMS, 0, -1, LEN, 513, NULL, "Randoms: cRnd1 has 513 bytes"},
    {KL_MSG_RANDOMS, 1, -1, LEN, 11, NULL, "Randoms: iv has 11 bytes: must have 12"},
    {KL_MSG_RANDOMS, 1, -1, LEN, 13, NULL, "Randoms: iv has 13 bytes"},
    {KL_MSG_RANDOMS, 2, -1, LEN, 47, NULL, "Randoms: cRnd2 has 47 bytes: must have 48"},
    {KL_MSG_RANDOMS, 2, -1, LEN, 49, NULL, "Randoms: cRnd2 has 49 bytes"},

    {KL_MSG_MASTER_KEY, 0, 0, LEN, 31, NULL, "MasterKey: t1 has 31 bytes"},
    {KL_MSG_MASTER_KEY, 0, 0, LEN, 33, NULL, "MasterKey: t1 has 33 bytes"},
    {KL_MSG_MASTER_KEY, 0, 1, LEN, 31, NULL, "MasterKey: rnd2 has 31 bytes"},
    {KL_MSG_MASTER_KEY, 0, 1, LEN, 33, NULL, "MasterKey: rnd2 has 33 bytes"},
    {KL_MSG_MASTER_KEY, 0, 2, LEN, 16, NULL, "MasterKey: ctmk has 16 bytes: must have 24, 32"},
    {KL_MSG_MASTER_KEY, 0, 2, LEN, 32, NULL, NULL},
    {KL_MSG_MASTER_KEY, 0, 2, LEN, 39, NULL, "MasterKey: ctmk has 39 bytes"},
    {KL_MSG_MASTER_KEY, 0, 2, LEN, 40, NULL, NULL},
    {KL_MSG_MASTER_KEY, 0, 2, LEN, 41, NULL, "MasterKey: ctmk has 41 bytes"},
    {KL_MSG_MASTER_KEY, 0, 3, LEN, 33, NULL, "MasterKey: serial has 33 bytes"},
    {KL_MSG_MASTER_KEY, 0, 3, RAW, 2, "A/", "MasterKey: serial is malformed"},
    {KL_MSG_MASTER_KEY, 0, 4, INT, 0, NULL, "MasterKey: usage is 0: must be 1 to 1"},
    {KL_MSG_MASTER_KEY, 0, 4, INT, 2, NULL, "MasterKey: usage is 2"},
    {KL_MSG_MASTER_KEY, 0, 4, INT, 257, NULL, "MasterKey: usage is 257"},
    {KL_MSG_MASTER_KEY, 0, 5, INT, 0, NULL, "MasterKey: algorithm is 0: must be 1 to 5"},
    {KL_MSG_MASTER_KEY, 0, 5, INT, 6, NULL, "MasterKey: algorithm is 6"},
    {KL_MSG_MASTER_KEY, 0, 5, INT, 258, NULL, "MasterKey: algorithm is 258"},
    {KL_MSG_MASTER_KEY, 0, 6, INT, 0, NULL, "MasterKey: TMK version is 0"},
    {KL_MSG_MASTER_KEY, 0, 6, INT, 0x7fffffff, NULL, NULL},
    {KL_MSG_MASTER_KEY, 0, 6, INT, 0x80000000, NULL, "MasterKey: TMK version is 2147483648"},
    {KL_MSG_MASTER_KEY, 0, 7, INT, 0, NULL, "MasterKey: kcvMethod is 0: must be 1 to 2"},
    {KL_MSG_MASTER_KEY, 0, 7, INT, 3, NULL, "MasterKey: kcvMethod is 3"},
    {KL_MSG_MASTER_KEY, 0, 7, INT, 257, NULL, "MasterKey: kcvMethod is 257"},
    {KL_MSG_MASTER_KEY, 0, 8, LEN, 2, NULL, "MasterKey: kcv has 2 bytes: must have 3 to 4"},
    {KL_MSG_MASTER_KEY, 0, 8, LEN, 3, NULL, NULL},
    {KL_MSG_MASTER_KEY, 0, 8, LEN, 5, NULL, "MasterKey: kcv has 5 bytes"},
    {KL_MSG_MASTER_KEY, 1, -1, LEN, 0, NULL, "MasterKey: signature has 0 bytes"},
    {KL_MSG_MASTER_KEY, 1, -1, LEN, 257, NULL, "MasterKey: signature has 257 bytes: must have"},
    {KL_MSG_MASTER_KEY, 1, -1, LEN, 384, NULL, NULL},
    {KL_MSG_MASTER_KEY, 1, -1, LEN, 512, NULL, NULL},
    {KL_MSG_MASTER_KEY, 1, -1, LEN, 513, NULL, "MasterKey: signature has 513 bytes"},

    {KL_MSG_LOADED, 0, -1, LEN, 2, NULL, "Loaded: kcv has 2 bytes"},
    {KL_MSG_LOADED, 0, -1, LEN, 4, NULL, NULL},
    {KL_MSG_LOADED, 0, -1, LEN, 5, NULL, "Loaded: kcv has 5 bytes"},
    {KL_MSG_LOADED, 1, -1, LEN, 15, NULL, "Loaded: mac has 15 bytes: must have 16"},
    {KL_MSG_LOADED, 1, -1, LEN, 17, NULL, "Loaded: mac has 17 bytes"},

    {KL_MSG_FAILED, 0, -1, INT, 0, NULL, NULL},
    {KL_MSG_FAILED, 0, -1, INT, 0x80000000, NULL, "Failed: reason is 2147483648"},

    {KL_MSG_DONE, 0, -1, INT, 0, NULL, "Done: verdict is 0: must be 1 to 2"},
    {KL_MSG_DONE, 0, -1, INT, 2, NULL, NULL},
    {KL_MSG_DONE, 0, -1, INT, 3, NULL, "Done: verdict is 3"},
    {KL_MSG_DONE, 0, -1, INT, 257, NULL, "Done: verdict is 257"},
    {KL_MSG_DONE, 1, -1, INT, 0, NULL, "Done: TMK version is 0"},
    {KL_MSG_DONE, 1, -1, INT, 0x80000000, NULL, "Done: TMK version is 2147483648"},
    {KL_MSG_DONE, 2, -1, LEN, 15, NULL, "Done: mac has 15 bytes"},
    {KL_MSG_DONE, 2, -1, LEN, 17, NULL, "Done: mac has 17 bytes"},

    {KL_MSG_CONFIRM, 0, -1, INT, 0, NULL, NULL},
    {KL_MSG_CONFIRM, 0, -1, INT, 0x80000000, NULL, "Confirm: version is 2147483648"},
    {KL_MSG_CONFIRM, 1, -1, LEN, 0, NULL, "Confirm: serial has 0 bytes"},
    {KL_MSG_CONFIRM, 1, -1, RAW, 1, "*", "Confirm: serial is malformed"},
    {KL_MSG_CONFIRM, 2, -1, LEN, 33, NULL, "Confirm: pinpadSerial has 33 bytes"},
    {KL_MSG_CONFIRM, 2, -1, RAW, 1, "*", "Confirm: pinpadSerial is malformed"},
    {KL_MSG_CONFIRM, 3, -1, INT, 0, NULL, "Confirm: TMK version is 0"},
    {KL_MSG_CONFIRM, 3, -1, INT, 0x80000000, NULL, "Confirm: TMK version is 2147483648"},
    {KL_MSG_CONFIRM, 4, 0, LEN, 2, NULL, "Confirm: kcv has 2 bytes"},
    {KL_MSG_CONFIRM, 4, 1, LEN, 15, NULL, "Confirm: mac has 15 bytes"},

    {KL_MSG_ERROR, 0, -1, INT, 0, NULL, NULL},
    {KL_MSG_ERROR, 0, -1, INT, 0x80000000, NULL, "Error: code is 2147483648"},
    {KL_MSG_ERROR, 1, -1, INT, 86400, NULL, NULL},
    {KL_MSG_ERROR, 1, -1, INT, 86401, NULL, "Error: retryAfter is 86401: must be 0 to 86400"},
    {KL_MSG_ERROR, 2, -1, LEN, 128, NULL, NULL},
    {KL_MSG_ERROR, 2, -1, LEN, 129, NULL, "Error: text has 129 bytes: must have at most 128"},
    {KL_MSG_ERROR, 2, -1, RAW, 2, "\xc3\xa9", NULL},
    {KL_MSG_ERROR, 2, -1, RAW, 1, "\xff", "Error: text is not UTF-8"},
    {KL_MSG_ERROR, 2, -1, RAW, 2, "\xc0\x80", "Error: text is not UTF-8"},
    {KL_MSG_ERROR, 2, -1, RAW, 2, "\xe2\x82", "Error: text is not UTF-8"},
    {KL_MSG_ERROR, 2, -1, RAW, 3, "\xed\xa0\x80", "Error: text is not UTF-8"},
};

static void set_content(struct node *node, const void *data, size_t len)
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

static void set_integer(struct node *node, int64_t value)
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

static void set_count(struct node *node, size_t count)
{
    struct node *model = node->child[0];

    for (size_t i = 1; i < node->children; i++) {
        node_free(node->child[i]);
    }
    node->children = count;
    for (size_t i = 1; i < count; i++) {
        node->child[i] = node_new(model->tag, model->data, model->len);
    }
    if (count == 0) {
        node_free(model);
    }
}

static void apply(struct node *node, const struct bound *bound)
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

START_TEST(test_bounds)
{
    const struct bound *bound = &bounds[_i];
    uint8_t der[KL_MSG_MAX], *out = malloc(OUT_MAX);
    struct kl_err err = KL_ERR_INIT;
    struct node *root, *node;
    struct kl_msg msg;
    size_t len;

    ck_assert_ptr_nonnull(out);
    root = open_sample(bound->type, der, &len);
    node = root->child[bound->a];
    apply(bound->b < 0 ? node : node->child[bound->b], bound);
    len = put_together(root, out);
    if (bound->text) {
        assert_refused(out, len, bound->text);
    } else {
        ck_assert_msg(kl_msg_decode(out, len, &msg, &err) == KL_OK, "bound %d: %s", _i, err.text);
        assert_refused_or_exact(out, len);
    }
    node_free(root);
    free(out);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("strict");
    TCase *tcase = tcase_create("strict");

    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, test_truncated, 0, KL_MSG_TYPE_COUNT);
    tcase_add_loop_test(tcase, test_bit_flips, 0, KL_MSG_TYPE_COUNT);
    tcase_add_loop_test(tcase, test_trailing, 0, KL_MSG_TYPE_COUNT);
    tcase_add_loop_test(tcase, test_ber, 0, KL_MSG_TYPE_COUNT);
    tcase_add_loop_test(tcase, test_members, 0, KL_MSG_TYPE_COUNT);
    tcase_add_test(tcase, test_unknown_tags);
    tcase_add_test(tcase, test_size);
    tcase_add_loop_test(tcase, test_bounds, 0, sizeof(bounds) / sizeof(bounds[0]));
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
