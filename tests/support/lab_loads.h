/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Terminals of a lab that load again and again, while something is done to the daemon. Every load
 * must go well: one that does not fails the test.
 */
#ifndef KL_TESTS_SUPPORT_LAB_LOADS_H
#define KL_TESTS_SUPPORT_LAB_LOADS_H

#include "tests/support/lab.h"

#define LAB_LOADS 3

struct lab_loads {
    struct lab *lab;
    struct {
        char serial[16];
        struct proc proc;
        unsigned loads; /* that are over */
    } terminals[LAB_LOADS];
};

/* Makes and registers the terminals, which trust the roots in that file (NULL: the lab's). */
void lab_loads_make(struct lab_loads *loads, struct lab *lab, const char *roots);
void lab_loads_begin(struct lab_loads *loads);
/* Looks at them: whichever is over must have gone well and, if again, is followed by the next. How
 * many are under way. */
int lab_loads_go_on(struct lab_loads *loads, int again);
/* Waits for those under way; each terminal must have had `least` loads or more, and store and PIN
 * pad agree. */
void lab_loads_end(struct lab_loads *loads, unsigned least);

#endif
