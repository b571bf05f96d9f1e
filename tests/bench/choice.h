/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The groups of figures, the names of all figures, and which of them BENCH and BENCH_KINDS ask for.
 */
#ifndef KL_TESTS_BENCH_CHOICE_H
#define KL_TESTS_BENCH_CHOICE_H

#include <stdio.h>

#include "tests/bench/rig.h"

struct bench;

/* What is measured together: the figures, and about how long it takes. */
struct bench_group {
    const char *name, *about;
    const char *figures; /* words; one with KIND in it is one for each kind of key */
    unsigned set_up;     /* seconds, whatever is asked for */
    unsigned measured;   /* measurements for a repeat, of BENCH_SECONDS each */
    unsigned between;    /* seconds for a repeat, beside these */
    void (*run)(struct bench *bench);
};

#define BENCH_GROUPS 9
extern const struct bench_group bench_groups[BENCH_GROUPS];

#define BENCH_FULL "_full" /* ends what is measured with as many workers as there are CPUs */
/* 1 for the kinds that figures are made of which take one RSA and one EC key: _full, ec_vs_rsa. */
int choice_both(enum kind_id kind);

struct choice {
    int group[BENCH_GROUPS]; /* 1: it is to be measured */
    int kind[KIND_COUNT];    /* of load_vs_bare */
};

/* Words are separated by spaces or commas; NULL or none: all. A word of `words` is a group, a
 * figure, or what a figure's name begins with before a '_': then the figure's group is measured,
 * and of load_vs_bare only the kinds of work key that it is about. `kinds` names some of them, too.
 * Returns 1; 0 if there is no such name, which is then in unknown. */
int choice_make(const char *words, const char *kinds, struct choice *out, char unknown[64]);

/* 1 if a group has a figure of that whole name. */
int choice_has(const char *figure);

/* What there is to choose from. */
void choice_print(FILE *out);

/* Seconds that it takes to measure group i, about. */
double choice_seconds(const struct choice *choice, size_t i, double seconds, unsigned repeats);

#endif
