/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages taken apart into a tree, to be changed in one place and put together again by a few
 * lines of DER of our own, and what decoding must make of the result.
 */
#ifndef KL_TESTS_SUPPORT_DER_H
#define KL_TESTS_SUPPORT_DER_H

#include "proto/message.h"

#define DER_CHILDREN_MAX 16
#define DER_OUT_MAX 70000 /* room for what is far too large */

/* How a value is written. */
enum der_form {
    DER_FORM_PLAIN,      /* as DER has it */
    DER_FORM_LONG,       /* one length byte more than needed */
    DER_FORM_INDEFINITE, /* constructed only */
    DER_FORM_PIECES,     /* a string as a constructed one of one piece */
};

struct der_node {
    uint8_t tag;
    enum der_form form;
    size_t children;
    struct der_node *child[DER_CHILDREN_MAX];
    size_t len; /* of data, when there are no children */
    uint8_t *data;
};

struct der_node *der_new(uint8_t tag, const uint8_t *data, size_t len); /* copies */
void der_free(struct der_node *node);                                   /* children too */

/* A sample of messages.h as bytes (der holds KL_MSG_MAX) and as a tree, opened down to the members
 * of its members; certificates stay whole. */
struct der_node *der_open_sample(unsigned sample, uint8_t *der, size_t *len);

/* A header with `extra` length bytes more than needed, and a whole tree, which may take
 * DER_OUT_MAX. Both return the length. */
size_t der_put_header(uint8_t *out, uint8_t tag, size_t len, int extra);
size_t der_put(const struct der_node *node, uint8_t *out);

/* Decoding must refuse that as KL_ERR_PROTOCOL with a message that holds text, and write nothing.
 */
void der_assert_refused(const uint8_t *der, size_t len, const char *text);

/* Refused, or a message that encodes to the very same bytes. Error.text alone is not kept as it
 * came; there, what was decoded must survive another round. */
void der_assert_refused_or_exact(const uint8_t *der, size_t len);

#endif
