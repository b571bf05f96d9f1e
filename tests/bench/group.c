/* SPDX-License-Identifier: BSD-2-Clause */
/* What groups share: see bench.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/bench.h"

void bench_progress(const char *fmt, ...)
{
    va_list args;

    if (!isatty(STDERR_FILENO)) {
        return;
    }
    va_start(args, fmt);
    fputs("\r\033[K", stderr);
    vfprintf(stderr, fmt, args);
    fflush(stderr);
    va_end(args);
}

struct figure *bench_figure(struct bench *b, const char *prefix, const char *name, const char *unit,
                            enum figure_rule rule, double target)
{
    char whole[FIGURE_NAME_MAX];

    proc_text(whole, sizeof(whole), "%s_%s", prefix, name);
    return figure_of(b->figures, whole, unit, rule, target);
}

int bench_wants(const char *variable, const char *name)
{
    const char *wanted = getenv(variable);
    char copy[512], *rest = copy, *word;

    if (!wanted || !*wanted) {
        return 1;
    }
    snprintf(copy, sizeof(copy), "%s", wanted);
    while ((word = strsep(&rest, " ,")) != NULL) {
        if (strcmp(word, name) == 0) {
            return 1;
        }
    }
    return 0;
}
