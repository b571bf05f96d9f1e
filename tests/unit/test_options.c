/* SPDX-License-Identifier: BSD-2-Clause */
/* Command lines: whole names only, and what is said of a wrong one. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/options.h"
#include "tests/support/suite.h"

static const struct option options[] = {
    {"pin-source", required_argument, NULL, 's'},
    {"pinpad", required_argument, NULL, 'p'},
    {"force", no_argument, NULL, 'f'},
    {0},
};

static struct kl_err err;
static char copy[200], *argv[16];
static int argc;

static void split(const char *line)
{
    char *at = copy;

    snprintf(copy, sizeof(copy), "%s", line);
    for (argc = 0; (argv[argc] = strsep(&at, " ")) != NULL;) {
        argc++;
    }
}

/* The command line as it was understood: "p=value f | operand operand", or what is wrong. */
static const char *understood(const char *line)
{
    static char out[200];
    size_t used = 0;
    int c;

    split(line);
    out[0] = '\0';
    kl_options_begin();
    while ((c = kl_options_next(argc, argv, options)) != -1) {
        if (c != 's' && c != 'p' && c != 'f') {
            ck_assert_int_eq(kl_options_error(c, argv, &err), KL_ERR_USAGE);
            return err.text;
        }
        used += (size_t)snprintf(out + used, sizeof(out) - used, "%c%s%s ", c, c == 'f' ? "" : "=",
                                 c == 'f' ? "" : optarg);
    }
    used += (size_t)snprintf(out + used, sizeof(out) - used, "|");
    for (int i = optind; i < argc; i++) {
        used += (size_t)snprintf(out + used, sizeof(out) - used, " %s", argv[i]);
    }
    return out;
}

static const struct {
    const char *line, *want;
} lines[] = {
    {"c", "|"},
    {"c a b", "| a b"},
    {"c --pinpad P --force", "p=P f |"},
    {"c a --pinpad=P b --force c", "p=P f | a b c"},
    {"c --pinpad=", "p= |"},
    {"c --pinpad=a=b", "p=a=b |"},
    {"c --pinpad --force", "p=--force |"}, /* as getopt_long has it: a value is a value */
    {"c --force -- --pinpad P", "f | --pinpad P"},
    {"c - --force", "f | -"},
    {"c --pin 1234", "unknown option --pin"},
    {"c --pin=1234", "unknown option --pin"}, /* and the value is not repeated */
    {"c --pinpa P", "unknown option --pinpa"},
    {"c --f", "unknown option --f"},
    {"c --forced", "unknown option --forced"},
    {"c --=x", "unknown option --"},
    {"c a b --nothing", "unknown option --nothing"},
    {"c --force --nothing a", "unknown option --nothing"},
    {"c -x", "unknown option -x"},
    {"c a -fx", "unknown option -f"},
    {"c --force=yes", "option --force takes no value"},
    {"c a --force= b", "option --force takes no value"},
    {"c --pinpad", "option --pinpad needs a value"},
    {"c a --pinpad", "option --pinpad needs a value"},
};

START_TEST(next)
{
    ck_assert_str_eq(understood(lines[_i].line), lines[_i].want);
}
END_TEST

static const struct {
    const char *line, *left, *value; /* of --config; NULL = not given */
    enum kl_rc rc;
} taken[] = {
    {"c a b", "c a b", NULL, KL_OK},
    {"c", "c", NULL, KL_OK},
    {"c -c F a b", "c a b", "F", KL_OK},
    {"c a b --config F", "c a b", "F", KL_OK},
    {"c a --config=F b", "c a b", "F", KL_OK},
    {"c a --config= b", "c a b", "", KL_OK},
    {"c -c F a -c G", "c a", "G", KL_OK},
    {"c a -- -c F", "c a -- -c F", NULL, KL_OK},
    {"c a --conf F", "c a --conf F", NULL, KL_OK},
    {"c a -cF", "c a -cF", NULL, KL_OK},
    {"c a -c", NULL, NULL, KL_ERR_USAGE},
    {"c a --config", NULL, NULL, KL_ERR_USAGE},
};

START_TEST(take)
{
    const char *value = NULL;
    char left[100] = "";
    int given = 7;

    split(taken[_i].line);
    ck_assert_int_eq(kl_options_take(&argc, argv, "config", 'c', &value, &given, &err),
                     taken[_i].rc);
    if (taken[_i].rc != KL_OK) {
        ck_assert_ptr_nonnull(strstr(err.text, "needs a value"));
        return;
    }
    for (int i = 0; i < argc; i++) {
        snprintf(left + strlen(left), sizeof(left) - strlen(left), i ? " %s" : "%s", argv[i]);
    }
    ck_assert_str_eq(left, taken[_i].left);
    ck_assert_ptr_null(argv[argc]);
    ck_assert_int_eq(given, taken[_i].value != NULL);
    ck_assert_pstr_eq(value, taken[_i].value);
}
END_TEST

START_TEST(take_flag)
{
    int given = 7;

    split("c a --json b --json");
    ck_assert_int_eq(kl_options_take(&argc, argv, "json", '\0', NULL, &given, &err), KL_OK);
    ck_assert_int_eq(given, 1);
    ck_assert_int_eq(argc, 3);
    ck_assert_str_eq(argv[2], "b");
    split("c a --json=1");
    ck_assert_int_eq(kl_options_take(&argc, argv, "json", '\0', NULL, &given, &err), KL_ERR_USAGE);
    ck_assert_str_eq(err.text, "option --json takes no value");
}
END_TEST

START_TEST(key_type)
{
    enum kl_key_type type = (enum kl_key_type)99;
    unsigned bits = 7;

    ck_assert_int_eq(kl_options_key_type("--key", "p-384", &type, &bits, &err), KL_OK);
    ck_assert(type == KL_KEY_EC && bits == 384);
    ck_assert_int_eq(kl_options_key_type("--key", "aes-128", &type, &bits, &err), KL_ERR_USAGE);
    ck_assert_int_eq(err.rc, KL_ERR_USAGE);
    ck_assert_ptr_eq(strstr(err.text, "--key: \"aes-128\" is no kind of key"), err.text);
    ck_assert(type == KL_KEY_EC && bits == 384);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *tcase = tcase_create("options");

    tcase_add_loop_test(tcase, next, 0, (int)(sizeof(lines) / sizeof(lines[0])));
    tcase_add_loop_test(tcase, take, 0, (int)(sizeof(taken) / sizeof(taken[0])));
    tcase_add_test(tcase, take_flag);
    tcase_add_test(tcase, key_type);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
