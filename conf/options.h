/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command lines, the same way in every program: options by their whole names (no abbreviations:
 * a mistyped one must not become another), and the same answers to what is wrong.
 */
#ifndef KL_CONF_OPTIONS_H
#define KL_CONF_OPTIONS_H

#include <getopt.h>
#include <stdint.h>

#include "proto/alg.h"
#include "proto/err.h"

/* One option that a command knows, in a table ended by {0}. One of text, flag, number and take says
 * what becomes of it; of an option that is given again the last value counts, but to take. */
struct kl_option {
    const char *name;  /* "--dir" */
    int required;      /* KL_ERR_USAGE if it is not given */
    const char **text; /* where the value goes, as it is (borrowed from argv) */
    int *flag;         /* what becomes 1; the option has no value */
    unsigned *number;  /* where the value goes, decimal and within [min, max] */
    unsigned min, max;
    /* Is told each value, and leaves what it means in out; any error is the command line's, and
     * this puts the option's name before it. */
    enum kl_rc (*take)(const char *value, void *out, struct kl_err *err);
    void *out;
};
#define KL_OPTIONS_MAX 40 /* in a table */

/* Parses a command line by a table (NULL: there are no options): argv[0] is the command's name,
 * then come options and operands in any order; "--" ends the options. `operands` says which must be
 * there, as a synopsis does: "" none, "FILE" one, "[FILE]" one or none, "SERIAL..." one or more,
 * "show" that very word. They begin at argv[optind] then, and end with NULL. KL_ERR_USAGE says what
 * is wrong. */
enum kl_rc kl_options_parse(int argc, char **argv, const struct kl_option *table,
                            const char *operands, struct kl_err *err) KL_MUST_CHECK;

/* Takes an option out of argv wherever it stands before "--": --name, and -letter unless that is
 * 0; the last one counts. With value it needs one, else it takes none. Returns KL_ERR_USAGE, or
 * KL_OK: *given says whether it was there. argv stays NULL-terminated. */
enum kl_rc kl_options_take(int *argc, char **argv, const char *name, char letter,
                           const char **value, int *given, struct kl_err *err) KL_MUST_CHECK;

/* 1 if --help or -h stands after the command, argv[1], and before "--". */
int kl_options_wants_help(int argc, char *const *argv);

/* For --help: what SRC, the value of the PIN options, may be. */
#define KL_OPTIONS_SRC_HELP \
    "SRC is file:PATH (mode 0600), credential:NAME (systemd's LoadCredential=) or prompt.\n"

/* "PROGRAM --json COMMAND ..." becomes "PROGRAM COMMAND --json ...": for a program whose commands
 * have the option themselves. */
void kl_options_json_first(int argc, char **argv);

/* KL_ERR_USAGE if value is NULL: a required option was not given. Inline, so that compilers and
 * analyzers see that nobody goes on with NULL. */
static inline enum kl_rc kl_options_require(const char *name, const char *value, struct kl_err *err)
{
    if (value) {
        return KL_OK;
    }
    kl_err_set(err, KL_ERR_USAGE, "%s is missing", name);
    return KL_ERR_USAGE;
}

/* An option's decimal value within [min, max]; KL_ERR_USAGE names the option. */
enum kl_rc kl_options_number(const char *name, const char *text, unsigned min, unsigned max,
                             unsigned *out, struct kl_err *err) KL_MUST_CHECK;

/* An option's kind of key pair, as kl_key_parse reads it ("rsa-3072", "p-256"); KL_ERR_USAGE names
 * the option. */
enum kl_rc kl_options_key_type(const char *name, const char *text, enum kl_key_type *type,
                               unsigned *bits, struct kl_err *err) KL_MUST_CHECK;

#endif
