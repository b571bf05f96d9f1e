/* SPDX-License-Identifier: BSD-2-Clause */
/* See knob.h. */
#include "tests/support/knob.h"

#include <check.h>
#include <stdlib.h>
#include <sys/random.h>

unsigned long knob(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);
    char *end;

    if (text == NULL || *text == '\0') {
        return otherwise;
    }
    unsigned long value = strtoul(text, &end, 10);
    if (*end !=
        '\0') { /* a main() asks too, where check takes no assertion, not even one that holds */
        ck_abort_msg("%s=%s is no number", name, text);
    }
    return value;
}

unsigned knob_seed(const char *name)
{
    unsigned drawn;

    ck_assert_int_eq(getrandom(&drawn, sizeof drawn, 0), sizeof drawn);
    return (unsigned)knob(name, drawn);
}
