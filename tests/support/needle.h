/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Values to be looked for where they must not be: each in binary, in hexadecimal of both cases, and
 * in base64 wherever it begins in a group of three bytes.
 */
#ifndef KL_TESTS_SUPPORT_NEEDLE_H
#define KL_TESTS_SUPPORT_NEEDLE_H

#include <stddef.h>
#include <stdint.h>

enum { NEEDLE_BINARY, NEEDLE_LOWER, NEEDLE_UPPER, NEEDLE_BASE64, NEEDLE_FORMS = NEEDLE_BASE64 + 3 };
#define NEEDLE_MAX 64 /* bytes of a value */
#define NEEDLES_MAX 32

struct needle {
    const char *name; /* borrowed */
    uint8_t forms[NEEDLE_FORMS][2 * NEEDLE_MAX + 1];
    size_t lens[NEEDLE_FORMS];
};

struct needles {
    size_t count;
    struct needle all[NEEDLES_MAX];
    uint8_t begins[65536 / 8]; /* by the first two bytes: whether a form begins so */
};

/* 8 to 64 bytes. */
void needles_add(struct needles *needles, const char *name, const uint8_t *data, size_t len);
/* Calls hit for each place where a form of one stands. */
void needles_search(const struct needles *needles, const uint8_t *data, size_t len,
                    void (*hit)(void *arg, const struct needle *needle, int form, size_t at),
                    void *arg);

#endif
