/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Configuration files from one table (inih does the lines). The table is the whole truth: what a
 * key is called, its type, bounds, default and help; an unknown section or key, a second value
 * for the same key, or a bad value is an error with file and line.
 */
#ifndef KL_CONF_INI_H
#define KL_CONF_INI_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/err.h"

enum kl_ini_type {
    KL_INI_STRING,   /* char *, malloc'ed; min and max are lengths in bytes */
    KL_INI_PATH,     /* char *, malloc'ed; must be absolute */
    KL_INI_FILE,     /* the same, or "" for none */
    KL_INI_NUMBER,   /* uint64_t; min to max */
    KL_INI_DURATION, /* uint64_t, seconds; min to max */
    KL_INI_BOOL,     /* uint64_t 0 or 1; "yes" or "no" */
    KL_INI_CHOICE,   /* uint64_t: index of the value in choices */
    KL_INI_LIST,     /* struct kl_ini_list: some of choices, parted by commas, none twice */
};

#define KL_INI_LIST_MAX 8
struct kl_ini_list {
    uint64_t count;                  /* from 1 */
    uint64_t items[KL_INI_LIST_MAX]; /* indices in choices, in the order given */
};

struct kl_ini_key {
    const char *section;
    const char *key;
    enum kl_ini_type type;
    size_t offset; /* of the member in the configuration struct */
    uint64_t min, max;
    const char *fallback;       /* as it would stand in the file; NULL = the key must be set */
    const char *const *choices; /* NULL-terminated, for KL_INI_CHOICE; for KL_INI_LIST
                                   at most KL_INI_LIST_MAX */
    const char *help;           /* one line */
    int restart;                /* 1: while a program runs, a new value has no effect */
};

/* Fills `config` (zeroed by the caller) from path by the table of `count` keys. On failure
 * everything allocated is freed again. KL_ERR_CONFIG "FILE:LINE: ..." or KL_ERR_NO_FILE. */
enum kl_rc kl_ini_load(const char *path, const struct kl_ini_key *table, size_t count, void *config,
                       struct kl_err *err) KL_MUST_CHECK;

/* Told of each "key = value" line of a text, in order. What it returns but KL_OK ends the parse;
 * its error gets "NAME:LINE: " put before it. section and key have at most 49 characters: longer
 * ones come cut. */
typedef enum kl_rc kl_ini_line_fn(void *user, const char *section, const char *key,
                                  const char *value, unsigned line, struct kl_err *err);

/* Parses a text of that file's syntax that no table describes: keys may come again, their order
 * counts. name: what errors call it, usually its path. KL_ERR_CONFIG, or what take returned. */
enum kl_rc kl_ini_parse(const char *name, const char *text, size_t len, kl_ini_line_fn *take,
                        void *user, struct kl_err *err) KL_MUST_CHECK;

/* For who writes such a file: whether the line "KEY = VALUE" reads back as it was written. If not,
 * KL_ERR_INPUT "KEY: ..." says why. */
enum kl_rc kl_ini_writable(const char *key, const char *value, struct kl_err *err) KL_MUST_CHECK;

/* For who has read its file again: gives every key of `config` that needs a restart the value that
 * it has in `running`, and names those that differed in `kept` (room for count). On failure
 * (KL_ERR_MEMORY) config is still to be wiped. */
enum kl_rc kl_ini_keep(const struct kl_ini_key *table, size_t count, const void *running,
                       void *config, const struct kl_ini_key **kept, size_t *kept_count,
                       struct kl_err *err) KL_MUST_CHECK;

/* Frees the strings that kl_ini_load allocated and zeroes them. */
void kl_ini_wipe(const struct kl_ini_key *table, size_t count, void *config);

/* Prints the table as a commented sample file: what `--help-config` shows. */
void kl_ini_print_help(const struct kl_ini_key *table, size_t count, FILE *out);

#endif
