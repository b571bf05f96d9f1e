/* SPDX-License-Identifier: BSD-2-Clause */
/* Configuration files: every fault is an error with its line, nothing is cut or joined silently. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/cli.h"
#include "conf/ini.h"
#include "tests/support/hsm.h"
#include "tests/support/suite.h"

struct conf {
    char *name, *path, *must, *file;
    uint64_t number, wait, flag, pick;
    struct kl_ini_list list;
};
static const char *const picks[] = {"red", "green", NULL};
static const struct kl_ini_key table[] = {
    {"a", "name", KL_INI_STRING, offsetof(struct conf, name), 0, 900, "", NULL, "a name"},
    {"a", "path", KL_INI_PATH, offsetof(struct conf, path), 0, 0, "/dev/null", NULL, "a path"},
    {"a", "must", KL_INI_STRING, offsetof(struct conf, must), 1, 8, NULL, NULL, "needed"},
    {"b", "number", KL_INI_NUMBER, offsetof(struct conf, number), 1, 100, "7", NULL, "a number"},
    {"b", "wait", KL_INI_DURATION, offsetof(struct conf, wait), 10, 86400, "2m", NULL, "a time"},
    {"b", "flag", KL_INI_BOOL, offsetof(struct conf, flag), 0, 0, "no", NULL, "a flag"},
    {"b", "pick", KL_INI_CHOICE, offsetof(struct conf, pick), 0, 0, "red", picks, "a choice"},
    {"b", "file", KL_INI_FILE, offsetof(struct conf, file), 0, 0, "", NULL, "a file"},
    {"b", "list", KL_INI_LIST, offsetof(struct conf, list), 0, 0, "green, red", picks, "some"},
};
#define COUNT (sizeof(table) / sizeof(table[0]))

static char dir[64], path[80];
static struct conf conf;
static struct kl_err err;

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/kl-ini-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/c", dir);
}

static void teardown(void)
{
    kl_ini_wipe(table, COUNT, &conf);
    test_rm_rf(dir);
}

static enum kl_rc load_bytes(const char *text, size_t len)
{
    ck_assert_int_eq(kl_file_write(path, text, len, 0600, 1, &err), KL_OK);
    return kl_ini_load(path, table, COUNT, &conf, &err);
}

START_TEST(values)
{
    static const char text[] =
        "# comment\n  ; indented comment\n\n[a]\nname = x;y#z = \"q\"\n"
        "path=/tmp/caf\xc3\xa9\nmust: m\n[b]\r\nnumber\t=\t100\r\n"
        "wait = 1h\nflag = yes\npick = green   \nfile = /x\nlist = red\t,green";

    ck_assert_msg(load_bytes(text, sizeof(text) - 1) == KL_OK, "%s", err.text);
    ck_assert_str_eq(conf.name, "x;y#z = \"q\"");
    ck_assert_str_eq(conf.path, "/tmp/caf\xc3\xa9");
    ck_assert_str_eq(conf.must, "m");
    ck_assert_uint_eq(conf.number, 100);
    ck_assert_uint_eq(conf.wait, 3600);
    ck_assert_uint_eq(conf.flag, 1);
    ck_assert_uint_eq(conf.pick, 1);
    ck_assert_str_eq(conf.file, "/x");
    ck_assert_uint_eq(conf.list.count, 2);
    ck_assert_uint_eq(conf.list.items[0], 0);
    ck_assert_uint_eq(conf.list.items[1], 1);
    kl_ini_wipe(table, COUNT, &conf);
    ck_assert_ptr_null(conf.name);
}
END_TEST

/* What a program that runs does with a file that it reads again. */
START_TEST(keep)
{
    static const struct kl_ini_key rows[] = {
        {"a", "name", KL_INI_STRING, offsetof(struct conf, name), 0, 900, "", NULL, "a name",
         .restart = 1},
        {"a", "must", KL_INI_STRING, offsetof(struct conf, must), 1, 8, NULL, NULL, "needed"},
        {"b", "number", KL_INI_NUMBER, offsetof(struct conf, number), 1, 100, "7", NULL, "a number",
         .restart = 1},
        {"b", "wait", KL_INI_DURATION, offsetof(struct conf, wait), 10, 86400, "2m", NULL, "a time",
         .restart = 1},
        {"b", "list", KL_INI_LIST, offsetof(struct conf, list), 0, 0, "green, red", picks, "some",
         .restart = 1},
    };
    static const char *const texts[] = {
        "[a]\nname = one\nmust = m\n[b]\nlist = red\n",
        "[a]\nname = two\nmust = n\n[b]\nnumber = 8\nlist = red, green\n",
    };
    const struct kl_ini_key *kept[5];
    struct conf running = {0}, next = {0};
    size_t count = 99;

    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(kl_file_write(path, texts[i], strlen(texts[i]), 0600, 1, &err), KL_OK);
        ck_assert_int_eq(kl_ini_load(path, rows, 5, i ? &next : &running, &err), KL_OK);
    }
    ck_assert_int_eq(kl_ini_keep(rows, 5, &running, &next, kept, &count, &err), KL_OK);
    ck_assert_uint_eq(count, 3); /* `wait` is as it was, `must` needs no restart */
    ck_assert_str_eq(kept[0]->key, "name");
    ck_assert_str_eq(kept[1]->key, "number");
    ck_assert_str_eq(kept[2]->key, "list");
    ck_assert_str_eq(next.name, "one");
    ck_assert_ptr_ne(next.name, running.name);
    ck_assert_uint_eq(next.number, 7);
    ck_assert_uint_eq(next.list.count, 1);
    ck_assert_str_eq(next.must, "n");
    kl_ini_wipe(rows, 5, &running);
    kl_ini_wipe(rows, 5, &next);
}
END_TEST

START_TEST(defaults)
{
    ck_assert_msg(load_bytes("[a]\nmust = m\n", 13) == KL_OK, "%s", err.text);
    ck_assert_str_eq(conf.name, "");
    ck_assert_str_eq(conf.path, "/dev/null");
    ck_assert_uint_eq(conf.number, 7);
    ck_assert_uint_eq(conf.wait, 120);
    ck_assert_uint_eq(conf.flag, 0);
    ck_assert_uint_eq(conf.pick, 0);
    ck_assert_str_eq(conf.file, "");
    ck_assert_uint_eq(conf.list.count, 2);
    ck_assert_uint_eq(conf.list.items[0], 1);
    ck_assert_uint_eq(conf.list.items[1], 0);
}
END_TEST

#define BYTES(text) text, sizeof(text) - 1
static const struct {
    const char *text;
    size_t len;
    const char *where; /* after the file's name */
    const char *what;
} faults[] = {
    {BYTES(""), ": ", "[a] must must be set"},
    {BYTES("[a]\nname = x\n"), ": ", "[a] must must be set"},
    {BYTES("name = x\n"), ":1: ", "before the first"},
    {BYTES("[c]\nname = x\n"), ":2: ", "unknown section"},
    {BYTES("[a]\nnmae = x\n"), ":2: ", "unknown key: [a] nmae"},
    {BYTES("[b]\nname = x\n"), ":2: ", "unknown key: [b] name"},
    {BYTES("[a]\nname = x\n[b]\n[a]\nname = x\n"), ":5: ", "set already, on line 2"},
    {BYTES("[a]\nname = x\n  y\n"), ":3: ", "indented"},
    {BYTES("[a]\n\tname = x\n"), ":2: ", "indented"},
    {BYTES("[a]\nname = x ; why\n"), ":2: ", "comment"},
    {BYTES("[a]\nname = x # why\n"), ":2: ", "comment"},
    {BYTES("[a]\nname = ;why\n"), ":2: ", "comment"},
    {BYTES("[a] name = x\n"), ":1: ", "alone"},
    {BYTES("[a\nname = x\n"), ":1: ", "alone"},
    {BYTES("[a]\nname\n"), ":2: ", "key = value"},
    {BYTES("\xef\xbb\xbf[a]\nname = x\n"), ":1: ", "byte order mark"},
    {BYTES("[a]\nname = x\0y\n"), ":2: ", "control"},
    {BYTES("[a]\nname = x\x1by\n"), ":2: ", "control"},
    {BYTES("[a]\nname = x\ry\n"), ":2: ", "control"},
    {BYTES("[a]\npath = etc/x\n"), ":2: [a] path: ", "absolute"},
    {BYTES("[a]\npath =\n"), ":2: [a] path: ", "characters"},
    {BYTES("[a]\nmust = 123456789\n"), ":2: [a] must: ", "1 to 8"},
    {BYTES("[b]\nnumber = 0\n"), ":2: [b] number: ", "1 to 100"},
    {BYTES("[b]\nnumber = 101\n"), ":2: [b] number: ", "1 to 100"},
    {BYTES("[b]\nnumber = +5\n"), ":2: [b] number: ", "1 to 100"},
    {BYTES("[b]\nnumber = 99999999999999999999999\n"), ":2: [b] number: ", "1 to 100"},
    {BYTES("[b]\nwait = 9\n"), ":2: [b] wait: ", "10s to 1d"},
    {BYTES("[b]\nwait = 1w\n"), ":2: [b] wait: ", "10s to 1d"},
    {BYTES("[b]\nflag = true\n"), ":2: [b] flag: ", "no, yes"},
    {BYTES("[b]\npick = blue\n"), ":2: [b] pick: ", "red, green"},
    {BYTES("[b]\nfile = etc/x\n"), ":2: [b] file: ", "absolute"},
    {BYTES("[b]\nlist =\n"), ":2: [b] list: ", "red, green"},
    {BYTES("[b]\nlist = red, blue\n"), ":2: [b] list: ", "'blue'"},
    {BYTES("[b]\nlist = red,\n"), ":2: [b] list: ", "red, green"},
    {BYTES("[b]\nlist = red, , green\n"), ":2: [b] list: ", "red, green"},
    {BYTES("[b]\nlist = red red\n"), ":2: [b] list: ", "'red red'"},
    {BYTES("[b]\nlist = red, green, red\n"), ":2: [b] list: ", "twice"},
    {BYTES("[b]\nlist = redxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"),
     ":2: [b] list: ", "must be one of"},
    {BYTES("[b]\npick = red\nnumber = x\nflag = x\n"), ":3: ", "number"}, /* the first one */
};

START_TEST(fault)
{
    char want[120];
    struct conf zero = {0};

    ck_assert_int_eq(load_bytes(faults[_i].text, faults[_i].len), KL_ERR_CONFIG);
    snprintf(want, sizeof(want), "%s%s", path, faults[_i].where);
    ck_assert_msg(strncmp(err.text, want, strlen(want)) == 0, "%s", err.text);
    ck_assert_msg(strstr(err.text, faults[_i].what) != NULL, "%s", err.text);
    ck_assert_ptr_eq(conf.name, zero.name);
    ck_assert_ptr_eq(conf.path, zero.path);
}
END_TEST

/* inih would cut it at 200 bytes and take the rest for another line. */
START_TEST(long_lines)
{
    char text[2100];
    int n = snprintf(text, sizeof(text), "[a]\nmust = m\nname = ");

    memset(text + n, 'x', 893);
    text[n + 893] = '\n';
    ck_assert_msg(load_bytes(text, (size_t)n + 894) == KL_OK, "%s", err.text);
    ck_assert_uint_eq(strlen(conf.name), 893);
    kl_ini_wipe(table, COUNT, &conf);
    memset(text + n, 'x', sizeof(text) - (size_t)n);
    text[n + 994] = '\n'; /* 7 + 994 = 1001 bytes */
    ck_assert_int_eq(load_bytes(text, (size_t)n + 995), KL_ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.text, ":3: the line is too long"));
    text[n + 994] = 'x';
    ck_assert_int_eq(load_bytes(text, sizeof(text)), KL_ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.text, ":3: the line is too long"));
}
END_TEST

/* What is writable reads back as it was; what is not would be another value, or no file at all. */
static const struct {
    const char *value;
    int writable;
} values_written[] = {
    {"x", 1},
    {"", 1},
    {"a;b#c = \"q\" [s]", 1},
    {"a\tb", 1},
    {"caf\xc3\xa9", 1},
    {"file:/x/a#b/pin", 1},
    {"=", 1},
    {"file:/x/a #b/pin", 0},
    {"a ;b", 0},
    {"a\t#b", 0},
    {"#b", 0},
    {";b", 0},
    {" a", 0},
    {"a ", 0},
    {"\ta", 0},
    {" ", 0},
    {"a\nmust = y", 0},
    {"a\rb", 0},
    {"a\x7f", 0},
};

static void write_value(const char *value, int writable)
{
    char text[4096];
    enum kl_rc rc = kl_ini_writable("name", value, &err);
    int n = snprintf(text, sizeof(text), "[a]\nmust = m\nname = %s\n", value);

    ck_assert_msg(rc == (writable ? KL_OK : KL_ERR_INPUT), "\"%s\"", value);
    if (writable) {
        ck_assert_msg(load_bytes(text, (size_t)n) == KL_OK, "%s", err.text);
        ck_assert_str_eq(conf.name, value);
    } else {
        ck_assert_msg(strncmp(err.text, "name cannot stand", 17) == 0, "%s", err.text);
        ck_assert(load_bytes(text, (size_t)n) != KL_OK || strcmp(conf.name, value) != 0);
    }
    kl_ini_wipe(table, COUNT, &conf);
}

START_TEST(written)
{
    write_value(values_written[_i].value, values_written[_i].writable);
}
END_TEST

START_TEST(written_long)
{
    char value[1100];

    memset(value, 'x', sizeof(value));
    value[893] = '\0';
    write_value(value, 1);
    value[893] = 'x';
    value[993] = '\0'; /* "name = " and it: 1000 bytes */
    ck_assert_int_eq(kl_ini_writable("name", value, &err), KL_OK);
    value[993] = 'x';
    value[994] = '\0';
    write_value(value, 0);
    value[994] = 'x';
    value[1003] = '\0';
    write_value(value, 0);
}
END_TEST

START_TEST(no_file)
{
    ck_assert_int_eq(kl_ini_load(path, table, COUNT, &conf, &err), KL_ERR_NO_FILE);
    ck_assert_ptr_nonnull(strstr(err.text, path));
    ck_assert_int_eq(kl_ini_load(dir, table, COUNT, &conf, &err), KL_ERR_NO_FILE);
}
END_TEST

START_TEST(huge_file)
{
    char *text = malloc(2 << 20);

    ck_assert_ptr_nonnull(text);
    memset(text, '\n', 2 << 20);
    ck_assert_int_eq(load_bytes(text, 2 << 20), KL_ERR_CONFIG);
    free(text);
}
END_TEST

START_TEST(help)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    kl_ini_print_help(table, COUNT, out);
    fclose(out);
    ck_assert_ptr_nonnull(strstr(text, "[a]\n# a name\n#name =\n"));
    ck_assert_ptr_nonnull(strstr(text, "# needed; must be set\nmust =\n\n[b]\n"));
    ck_assert_ptr_nonnull(strstr(text, "# a choice (red, green)\n#pick = red\n"));
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ini");
    TCase *tcase = tcase_create("ini");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, values);
    tcase_add_test(tcase, keep);
    tcase_add_test(tcase, defaults);
    tcase_add_loop_test(tcase, fault, 0, (int)(sizeof(faults) / sizeof(faults[0])));
    tcase_add_test(tcase, long_lines);
    tcase_add_loop_test(tcase, written, 0,
                        (int)(sizeof(values_written) / sizeof(values_written[0])));
    tcase_add_test(tcase, written_long);
    tcase_add_test(tcase, no_file);
    tcase_add_test(tcase, huge_file);
    tcase_add_test(tcase, help);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
