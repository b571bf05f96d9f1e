/* SPDX-License-Identifier: BSD-2-Clause */
/* Command lines: whole names only, and what is said of a wrong one. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "conf/options.h"
#include "tests/support/suite.h"

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

static enum kl_rc take(const char *value, void *out, struct kl_err *error)
{
    char *all = out;

    if (value[0] == '!') {
        return kl_err_set(error, KL_ERR_CERT, "not %s", value);
    }
    strncat(all, value, 20);
    return KL_OK;
}

/* The command line as it was understood: "p=value f | operand operand", or what is wrong. */
static const char *understood(const char *line, int required, const char *operands)
{
    static char out[400];
    const char *source = NULL, *pinpad = NULL;
    char all[100] = "";
    unsigned number = 7;
    int force = 0;
    const struct kl_option options[] = {
        {"--pin-source", .text = &source},
        {"--pinpad", .text = &pinpad},
        {"--force", .flag = &force},
        {"--days", required, .number = &number, .min = 1, .max = 366},
        {"--root", required, .take = take, .out = all},
        {0},
    };

    split(line);
    if (kl_options_parse(argc, argv, options, operands, &err) != KL_OK) {
        ck_assert_int_eq(err.rc, KL_ERR_USAGE);
        return err.text;
    }
    snprintf(out, sizeof(out), "%s%s%s%s%s%s%s%s", source ? "s=" : "", source ? source : "",
             pinpad ? "p=" : "", pinpad ? pinpad : "", pinpad ? " " : "", force ? "f " : "",
             all[0] ? all : "", all[0] ? " " : "");
    if (number != 7) {
        snprintf(out + strlen(out), sizeof(out) - strlen(out), "%u ", number);
    }
    strcat(out, "|");
    for (int i = optind; i < argc; i++) {
        snprintf(out + strlen(out), sizeof(out) - strlen(out), " %s", argv[i]);
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
    {"c --pinpad P --pinpad Q", "p=Q |"},
    {"c --days 366", "366 |"},
    {"c --days 1 --days=2", "2 |"},
    {"c --days 0", "--days: '0' must be a number from 1 to 366"},
    {"c --days 367", "--days: '367' must be a number from 1 to 366"},
    {"c --days 3x", "--days: '3x' must be a number from 1 to 366"},
    {"c --root a x --root b", "ab | x"}, /* is told each */
    {"c --root a --root !b", "--root: not !b"},
};

START_TEST(parse)
{
    static const char *const names[] = {"", "A", "A B", "A B C"};
    const char *operand = strchr(lines[_i].want, '|');
    size_t count = 0;

    while (operand && (operand = strchr(operand + 1, ' ')) != NULL) {
        count++;
    }
    ck_assert_str_eq(understood(lines[_i].line, 0, names[count]), lines[_i].want);
}
END_TEST

static const struct {
    const char *line, *operands, *want;
} demands[] = {
    {"c --days 1 --root r", "", "r 1 |"},
    {"c --root r f --days 1", "FILE", "r 1 | f"},
    {"c --root r --days 1 f g", "FILE OTHER", "r 1 | f g"},
    {"c --root r --days 1 f", "FILE...", "r 1 | f"},
    {"c f --root r g --days 1 h", "FILE...", "r 1 | f g h"},
    {"c f g h --root r --days 1", "FILE OTHER...", "r 1 | f g h"},
    {"c f --root r --days 1 show", "show FILE", "\"f\" is unknown; there is only \"show\""},
    {"c sho", "show", "\"sho\" is unknown; there is only \"show\""},
    {"c shows", "show", "\"shows\" is unknown; there is only \"show\""},
    {"c", "show FILE", "show is missing"},
    {"c show", "show FILE", "FILE is missing"},
    {"c --days 1 show --root r f", "show FILE", "r 1 | show f"},
    {"c --days 1 --root r", "[FILE]", "r 1 |"},
    {"c f --days 1 --root r", "[FILE]", "r 1 | f"},
    {"c f g", "[FILE]", "\"g\" is one operand too many"},
    {"c --root r", "", "--days is missing"},
    {"c --days 1", "", "--root is missing"},
    {"c --days 1 --root r", "FILE", "FILE is missing"},
    {"c", "FILE", "FILE is missing"},
    {"c", "FILE OTHER", "FILE is missing"},
    {"c f", "FILE OTHER", "OTHER is missing"},
    {"c", "FILE...", "FILE is missing"},
    {"c f", "FILE OTHER...", "OTHER is missing"},
    {"c a b", "FILE", "\"b\" is one operand too many"},
    {"c a b c", "FILE OTHER", "\"c\" is one operand too many"},
    {"c a", "", "\"a\" is one operand too many"},
};

START_TEST(demand)
{
    ck_assert_str_eq(understood(demands[_i].line, 1, demands[_i].operands), demands[_i].want);
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

START_TEST(take_out)
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

    tcase_add_loop_test(tcase, parse, 0, (int)(sizeof(lines) / sizeof(lines[0])));
    tcase_add_loop_test(tcase, demand, 0, (int)(sizeof(demands) / sizeof(demands[0])));
    tcase_add_loop_test(tcase, take_out, 0, (int)(sizeof(taken) / sizeof(taken[0])));
    tcase_add_test(tcase, take_flag);
    tcase_add_test(tcase, key_type);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
