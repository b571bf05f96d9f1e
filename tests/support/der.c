/* SPDX-License-Identifier: BSD-2-Clause */
/* Taking messages apart: see der.h. */
#include "tests/support/der.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/messages.h"

struct der_node *der_new(uint8_t tag, const uint8_t *data, size_t len)
{
    struct der_node *node = calloc(1, sizeof(*node));

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

void der_free(struct der_node *node)
{
    for (size_t i = 0; i < node->children; i++) {
        der_free(node->child[i]);
    }
    free(node->data);
    free(node);
}

/* One value of well-formed DER. Constructed ones are opened down to the given depth; below it
 * (inside certificates) they are just bytes. */
static struct der_node *take_apart(const uint8_t **p, int depth)
{
    const uint8_t *q = *p;
    uint8_t tag = *q++;
    size_t len = *q++, bytes;
    struct der_node *node;

    if (len & 0x80) {
        for (bytes = len & 0x7f, len = 0; bytes > 0; bytes--) {
            len = len << 8 | *q++;
        }
    }
    *p = q + len;
    if (!(tag & 0x20) || depth == 0 || len == 0) {
        return der_new(tag, q, len);
    }
    node = der_new(tag, NULL, 0);
    while (q < *p) {
        node->child[node->children++] = take_apart(&q, depth - 1);
    }
    return node;
}

size_t der_put_header(uint8_t *out, uint8_t tag, size_t len, int extra)
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

size_t der_put(const struct der_node *node, uint8_t *out)
{
    uint8_t *content = malloc(DER_OUT_MAX), *pieces = malloc(DER_OUT_MAX);
    size_t len = 0, at;
    uint8_t tag = node->tag;

    ck_assert(content && pieces);
    for (size_t i = 0; i < node->children; i++) {
        len += der_put(node->child[i], content + len);
    }
    if (node->children == 0) {
        memcpy(content, node->data, node->len);
        len = node->len;
    }
    if (node->form == DER_FORM_PIECES) {
        at = der_put_header(pieces, tag & 0xc0 ? 0x04 : tag, len, 0); /* tagged: OCTET STRING */
        memcpy(pieces + at, content, len);
        memcpy(content, pieces, at + len);
        len += at;
        tag |= 0x20;
    }
    if (node->form == DER_FORM_INDEFINITE) {
        at = 0;
        out[at++] = tag;
        out[at++] = 0x80;
        memset(content + len, 0, 2);
        len += 2;
    } else {
        at = der_put_header(out, tag, len, node->form == DER_FORM_LONG);
    }
    memcpy(out + at, content, len);
    free(content);
    free(pieces);
    return at + len;
}

struct der_node *der_open_sample(unsigned sample, uint8_t *der, size_t *len)
{
    struct kl_err err = KL_ERR_INIT;
    const uint8_t *p = der;
    struct kl_msg msg;
    struct der_node *root;
    uint8_t *again = malloc(DER_OUT_MAX);

    ck_assert_ptr_nonnull(again);
    test_sample(sample, &msg);
    ck_assert_msg(kl_msg_encode(&msg, der, len, &err) == KL_OK, "%s", err.text);
    root = take_apart(&p, msg.type == KL_MSG_WORKING_KEYS ? 3 : 2);
    ck_assert_uint_eq(der_put(root, again), *len); /* the tree itself adds nothing */
    ck_assert_mem_eq(again, der, *len);
    free(again);
    return root;
}

void der_assert_refused(const uint8_t *der, size_t len, const char *text)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg, before;

    memset(&msg, 0x5a, sizeof(msg));
    before = msg;
    ck_assert_msg(kl_msg_decode(der, len, &msg, &err) == KL_ERR_PROTOCOL, "accepted: %s", text);
    ck_assert_mem_eq(&msg, &before, sizeof(msg));
    ck_assert_msg(strstr(err.text, text), "\"%s\" lacks \"%s\"", err.text, text);
}

void der_assert_refused_or_exact(const uint8_t *der, size_t len)
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
