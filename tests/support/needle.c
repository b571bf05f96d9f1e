/* SPDX-License-Identifier: BSD-2-Clause */
/* Looking for values: see needle.h. One pass, however many there are. */
#include "tests/support/needle.h"

#include <check.h>
#include <openssl/evp.h>
#include <string.h>

static unsigned prefix(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

void needles_add(struct needles *needles, const char *name, const uint8_t *data, size_t len)
{
    static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
    ck_assert_uint_lt(needles->count, NEEDLES_MAX);
    ck_assert(len >= 8 && len <= NEEDLE_MAX);
    struct needle *needle = &needles->all[needles->count++];
    needle->name = name;
    memcpy(needle->forms[NEEDLE_BINARY], data, len);
    needle->lens[NEEDLE_BINARY] = len;
    for (size_t i = 0; i < len; i++) {
        needle->forms[NEEDLE_LOWER][2 * i] = (uint8_t)lower[data[i] >> 4];
        needle->forms[NEEDLE_LOWER][2 * i + 1] = (uint8_t)lower[data[i] & 15];
        needle->forms[NEEDLE_UPPER][2 * i] = (uint8_t)upper[data[i] >> 4];
        needle->forms[NEEDLE_UPPER][2 * i + 1] = (uint8_t)upper[data[i] & 15];
    }
    needle->lens[NEEDLE_LOWER] = needle->lens[NEEDLE_UPPER] = 2 * len;
    /* Base64 depends on where in a group of three bytes the value begins: whole groups only, after
     * leaving out as many bytes as complete the group before. */
    for (size_t skip = 0; skip < 3; skip++) {
        size_t whole = (len - skip) - (len - skip) % 3;
        needle->lens[NEEDLE_BASE64 + skip] =
            (size_t)EVP_EncodeBlock(needle->forms[NEEDLE_BASE64 + skip], data + skip, (int)whole);
    }
    for (int form = 0; form < NEEDLE_FORMS; form++) {
        unsigned begin = prefix(needle->forms[form]);
        needles->begins[begin / 8] |= (uint8_t)(1u << begin % 8);
    }
}

void needles_search(const struct needles *needles, const uint8_t *data, size_t len,
                    void (*hit)(void *arg, const struct needle *needle, int form, size_t at),
                    void *arg)
{
    for (size_t at = 0; at + 1 < len; at++) {
        unsigned begin = prefix(data + at);
        if ((needles->begins[begin / 8] >> begin % 8 & 1) == 0) {
            continue;
        }
        for (size_t i = 0; i < needles->count; i++) {
            const struct needle *needle = &needles->all[i];
            for (int form = 0; form < NEEDLE_FORMS; form++) {
                if (needle->lens[form] <= len - at &&
                    memcmp(data + at, needle->forms[form], needle->lens[form]) == 0) {
                    hit(arg, needle, form, at);
                }
            }
        }
    }
}
