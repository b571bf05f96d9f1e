/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command lines, over getopt_long: exact names, and what is wrong with one.
 */
#include "conf/options.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "conf/cli.h"

static void begin(void)
{
    optind = 0; /* glibc: initialise everything again */
    opterr = 0;
}

void kl_options_json_first(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "--json") == 0) {
        char *json = argv[1];

        argv[1] = argv[2];
        argv[2] = json;
    }
}

int kl_options_wants_help(int argc, char *const *argv)
{
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return 1;
        }
    }
    return 0;
}

#define NO_VALUE '=' /* beside getopt's own ':' and '?' */
#define FIRST_OPTION \
    256 /* of the numbers that stand for an option of a table: beyond any letter \
         */

static size_t name_length(const char *option)
{
    return strcspn(option, "=");
}

/* The long option that arg ("--name" or "--name=value") is, by its whole name; NULL if none. */
static const struct option *find(const struct option *options, const char *arg)
{
    const char *name = arg + 2;

    for (; options->name; options++) {
        if (strlen(options->name) == name_length(name) &&
            strncmp(options->name, name, name_length(name)) == 0) {
            return options;
        }
    }
    return NULL;
}

/* The next option: what `options` says of it, or -1 when only operands are left, from optind on.
 * There are long ones alone, and optarg is the value. Anything unknown to the caller is for
 * describe. */
static int next(int argc, char *const *argv, const struct option *options)
{
    int at = optind > 0 ? optind : 1;

    /* getopt_long passes over operands, and takes abbreviations: so it only gets to see whole
     * names. */
    while (at < argc && (argv[at][0] != '-' || argv[at][1] == '\0')) {
        at++;
    }
    if (at < argc && strncmp(argv[at], "--", 2) == 0 && argv[at][2] != '\0') {
        const struct option *option = find(options, argv[at]);

        if (!option || (option->has_arg == no_argument && strchr(argv[at], '='))) {
            optind = at + 1;
            optopt = 0;
            return option ? NO_VALUE : '?';
        }
    }
    return getopt_long(argc, argv, ":", options, NULL);
}

/* What is wrong with that one. */
static enum kl_rc describe(int got, char *const *argv, struct kl_err *err)
{
    const char *option = argv[optind - 1];

    if (got == ':') {
        return kl_err_set(err, KL_ERR_USAGE, "option %.60s needs a value", option);
    }
    if (got == NO_VALUE) {
        return kl_err_set(err, KL_ERR_USAGE, "option %.*s takes no value", (int)name_length(option),
                          option);
    }
    if (optopt > ' ' && optopt < 0x7f) { /* a letter, perhaps one of several */
        return kl_err_set(err, KL_ERR_USAGE, "unknown option -%c", optopt);
    }
    return kl_err_set(err, KL_ERR_USAGE, "unknown option %.*s", (int)name_length(option), option);
}

static void take_out(int *argc, char **argv, int at)
{
    memmove(argv + at, argv + at + 1, (size_t)(*argc - at) * sizeof(*argv)); /* and the NULL */
    (*argc)--;
}

enum kl_rc kl_options_take(int *argc, char **argv, const char *name, char letter,
                           const char **value, int *given, struct kl_err *err)
{
    const struct option wanted[] = {{name, 0, NULL, 0}, {0}};

    *given = 0;
    for (int i = 1; i < *argc && strcmp(argv[i], "--") != 0;) {
        char *arg = argv[i], *equals = strchr(arg, '=');
        int is_long = strncmp(arg, "--", 2) == 0 && find(wanted, arg) != NULL;

        if (!is_long && (letter == '\0' || arg[0] != '-' || arg[1] != letter || arg[2] != '\0')) {
            i++;
            continue;
        }
        take_out(argc, argv, i);
        *given = 1;
        if (is_long && equals && !value) {
            return kl_err_set(err, KL_ERR_USAGE, "option --%s takes no value", name);
        }
        if (is_long && equals) {
            *value = equals + 1;
        } else if (value && i == *argc) {
            return kl_err_set(err, KL_ERR_USAGE, "option %s needs a value", arg);
        } else if (value) {
            *value = argv[i];
            take_out(argc, argv, i);
        }
    }
    return KL_OK;
}

enum kl_rc kl_options_number(const char *name, const char *text, unsigned min, unsigned max,
                             unsigned *out, struct kl_err *err)
{
    uint64_t number;

    if (kl_parse_number(text, min, max, &number, err) != KL_OK) {
        err->rc = KL_ERR_USAGE; /* a file with such a value would be bad input; this is not */
        return kl_err_context(err, "%s", name);
    }
    *out = (unsigned)number;
    return KL_OK;
}

enum kl_rc kl_options_key_type(const char *name, const char *text, enum kl_key_type *type,
                               unsigned *bits, struct kl_err *err)
{
    if (kl_key_parse(text, type, bits, err) != KL_OK) {
        err->rc = KL_ERR_USAGE; /* as above */
        return kl_err_context(err, "%s", name);
    }
    return KL_OK;
}

/* What the option's value, NULL if it has none, comes to. */
static enum kl_rc apply(const struct kl_option *option, const char *value, struct kl_err *err)
{
    if (option->flag) {
        *option->flag = 1;
    } else if (option->text) {
        *option->text = value;
    } else if (option->number) {
        return kl_options_number(option->name, value, option->min, option->max, option->number,
                                 err);
    } else if (option->take(value, option->out, err) != KL_OK) {
        err->rc = KL_ERR_USAGE;
        return kl_err_context(err, "%s", option->name);
    }
    return KL_OK;
}

/* Whether the operands are what names says: see kl_options_parse. */
static enum kl_rc check_operands(int count, char *const *operand, const char *names,
                                 struct kl_err *err)
{
    for (size_t len; (len = strcspn(names, " ")) > 0; names += len + strspn(names + len, " ")) {
        const size_t stem = strcspn(names, " .");

        if (count == 0 && *names == '[') {
            return KL_OK;
        }
        if (count == 0) {
            return kl_err_set(err, KL_ERR_USAGE, "%.*s is missing", (int)stem, names);
        }
        if (islower((unsigned char)*names) &&
            (strlen(*operand) != len || strncmp(*operand, names, len) != 0)) {
            return kl_err_set(err, KL_ERR_USAGE, "\"%.40s\" is unknown; there is only \"%.*s\"",
                              *operand, (int)len, names);
        }
        if (stem < len) { /* "..." */
            return KL_OK;
        }
        operand++;
        count--;
    }
    return count == 0 ? KL_OK
                      : kl_err_set(err, KL_ERR_USAGE, "\"%s\" is one operand too many", *operand);
}

enum kl_rc kl_options_parse(int argc, char **argv, const struct kl_option *table,
                            const char *operands, struct kl_err *err)
{
    struct option known[KL_OPTIONS_MAX + 1] = {{0}};
    int got, given[KL_OPTIONS_MAX] = {0};
    enum kl_rc rc = KL_OK;
    size_t count = 0;

    for (; table && table[count].name; count++) {
        if (count == KL_OPTIONS_MAX) {
            abort(); /* a table that we wrote */
        }
        known[count] = (struct option){table[count].name + 2,
                                       table[count].flag ? no_argument : required_argument, NULL,
                                       FIRST_OPTION + (int)count};
    }
    begin();
    while (rc == KL_OK && (got = next(argc, argv, known)) != -1) {
        if (got < FIRST_OPTION) {
            return describe(got, argv, err);
        }
        given[got - FIRST_OPTION] = 1;
        rc = apply(&table[got - FIRST_OPTION], optarg, err);
    }
    if (rc == KL_OK) {
        rc = check_operands(argc - optind, argv + optind, operands, err);
    }
    for (size_t i = 0; rc == KL_OK && i < count; i++) {
        if (table[i].required && !given[i]) {
            rc = kl_err_set(err, KL_ERR_USAGE, "%s is missing", table[i].name);
        }
    }
    return rc;
}
