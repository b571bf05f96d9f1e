/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Decoding of hostile bytes: cut short, with a bit flipped, something after it, BER that is not
 * DER, a member more or less. Fields out of bounds are test_bounds.c's.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/message.h"
#include "tests/support/der.h"
#include "tests/support/messages.h"
#include "tests/support/suite.h"

START_TEST(test_truncated)
{
    uint8_t der[KL_MSG_MAX];
    size_t len;

    der_free(der_open_sample((unsigned)_i, der, &len));
    der_assert_refused(der, 0, "message has 0 bytes");
    for (size_t cut = 1; cut < len; cut++) {
        uint8_t *exact = malloc(cut); /* so that a sanitizer sees a read past the end */

        ck_assert_ptr_nonnull(exact);
        memcpy(exact, der, cut);
        der_assert_refused(exact, cut, "cut short");
        free(exact);
    }
}
END_TEST

START_TEST(test_bit_flips)
{
    uint8_t der[KL_MSG_MAX];
    size_t len;

    der_free(der_open_sample((unsigned)_i, der, &len));
    for (size_t bit = 0; bit < len * 8; bit++) {
        der[bit / 8] ^= (uint8_t)(1u << bit % 8);
        der_assert_refused_or_exact(der, len);
        der[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}
END_TEST

START_TEST(test_trailing)
{
    uint8_t der[KL_MSG_MAX + 8];
    char text[64];
    size_t len;

    der_free(der_open_sample((unsigned)_i, der, &len));
    for (size_t extra = 1; extra <= 2; extra++) {
        memset(der + len, 0, extra);
        snprintf(text, sizeof(text), "%zu bytes follow the message", extra);
        der_assert_refused(der, len + extra, text);
    }
    memcpy(der + len, der, 3); /* the beginning of a second message */
    der_assert_refused(der, len + 3, "3 bytes follow the message");
}
END_TEST

/* Every form at every node of the tree that can have it. */
static void try_forms(struct der_node *root, struct der_node *node, uint8_t *out)
{
    static const enum der_form forms[] = {DER_FORM_LONG, DER_FORM_INDEFINITE, DER_FORM_PIECES};
    int constructed = node->tag & 0x20;

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (forms[i] == DER_FORM_INDEFINITE ? !constructed
                                            : forms[i] == DER_FORM_PIECES && constructed) {
            continue;
        }
        node->form = forms[i];
        der_assert_refused(out, der_put(root, out), "");
        node->form = DER_FORM_PLAIN;
    }
    for (size_t i = 0; i < node->children; i++) {
        try_forms(root, node->child[i], out);
    }
}

START_TEST(test_ber)
{
    uint8_t der[KL_MSG_MAX], *out = malloc(DER_OUT_MAX);
    struct der_node *root;
    size_t len;

    ck_assert_ptr_nonnull(out);
    root = der_open_sample((unsigned)_i, der, &len);
    try_forms(root, root, out);
    root->form = DER_FORM_INDEFINITE;
    der_assert_refused(out, der_put(root, out), "indefinite length is not DER");
    root->form = DER_FORM_LONG;
    der_assert_refused(out, der_put(root, out), "encoding is not DER");
    der_free(root);
    free(out);
}
END_TEST

/* The lists of Hello and Certificate, each directly within the message. */
static int is_list(const struct der_node *parent, const struct der_node *node)
{
    return parent->tag == 0xa0 || (parent->tag == 0xa1 && node->tag == 0x30);
}

/* One member more, at the end of every SEQUENCE, or one less: the lists too, since a NULL is none
 * of what they hold. A list that is merely shorter is still a list, and what has a tag may be
 * OPTIONAL: see test_combinations. */
static void try_members(struct der_node *root, struct der_node *node, int list, uint8_t *out)
{
    struct der_node *last;

    if (node->children == 0) {
        return;
    }
    node->child[node->children++] = der_new(0x05, NULL, 0);
    der_assert_refused(out, der_put(root, out), "");
    der_free(node->child[--node->children]);
    last = node->child[--node->children];
    if (last->tag & 0x80) {
        der_assert_refused_or_exact(out, der_put(root, out));
    } else if (!list) {
        der_assert_refused(out, der_put(root, out), node->children == 0 ? "" : "malformed");
    }
    node->child[node->children++] = last;
    for (size_t i = 0; i < node->children; i++) {
        try_members(root, node->child[i], node == root && is_list(root, node->child[i]), out);
    }
}

START_TEST(test_members)
{
    uint8_t der[KL_MSG_MAX], *out = malloc(DER_OUT_MAX);
    struct der_node *root;
    size_t len;

    ck_assert_ptr_nonnull(out);
    root = der_open_sample((unsigned)_i, der, &len);
    try_members(root, root, 0, out);
    der_free(root);
    free(out);
}
END_TEST

START_TEST(test_unknown_tags)
{
    uint8_t der[KL_MSG_MAX];
    size_t len;

    der_free(der_open_sample(KL_MSG_FAILED, der, &len));
    for (unsigned tag = 0; tag < 256; tag++) {
        der[0] = (uint8_t)tag;
        if ((tag & 0x1f) == 0x1f) { /* high tag numbers are several bytes long */
            der_assert_refused(der, len, "");
        } else if (tag < 0xa0 || tag >= 0xa0 + KL_MSG_TYPE_COUNT) {
            der_assert_refused(der, len, "tag is unknown");
        } else if (tag == 0xa0 + KL_MSG_FAILED) {
            der_assert_refused_or_exact(der, len);
        } else {
            der_assert_refused(der, len, "malformed");
        }
    }
}
END_TEST

START_TEST(test_size)
{
    uint8_t *big = calloc(1, KL_MSG_MAX + 1);

    ck_assert_ptr_nonnull(big);
    der_put_header(big, 0xa1, KL_MSG_MAX + 1 - 4, 0);
    der_assert_refused(big, KL_MSG_MAX + 1, "message has 16385 bytes: must have 1 to 16384");
    free(big);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("strict");
    TCase *tcase = tcase_create("strict");

    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, test_truncated, 0, TEST_SAMPLE_COUNT);
    tcase_add_loop_test(tcase, test_bit_flips, 0, TEST_SAMPLE_COUNT);
    tcase_add_loop_test(tcase, test_trailing, 0, TEST_SAMPLE_COUNT);
    tcase_add_loop_test(tcase, test_ber, 0, TEST_SAMPLE_COUNT);
    tcase_add_loop_test(tcase, test_members, 0, TEST_SAMPLE_COUNT);
    tcase_add_test(tcase, test_unknown_tags);
    tcase_add_test(tcase, test_size);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
