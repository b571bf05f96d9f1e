/* SPDX-License-Identifier: BSD-2-Clause */
/* keyloaderctl terminal, tmk and audit: operands, policy, and imports that are all or nothing. */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "conf/cli.h"
#include "conf/options.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/ctl_channel.h"
#include "daemon/life/life.h"
#include "tests/support/hsm.h"
#include "tests/support/suite.h"
#include "tests/support/vectors.h"

static char dir[64], store_path[80], csv_path[80], out_path[80], err_path[80], work_path[80];
static struct kl_ctl ctl;
static struct kl_err err;

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/kl-ctl-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(store_path, sizeof(store_path), "%s/store.db", dir);
    snprintf(csv_path, sizeof(csv_path), "%s/in.csv", dir);
    snprintf(out_path, sizeof(out_path), "%s/out", dir);
    snprintf(err_path, sizeof(err_path), "%s/err", dir);
    snprintf(work_path, sizeof(work_path), "%s/work", dir);
    ck_assert_int_eq(mkdir(work_path, 0700), 0);
    ctl.config.store = store_path;
    ctl.config.work = work_path; /* empty until a test puts a chain there */
    ctl.config.strength_enforce = 1;
}

static void teardown(void)
{
    test_rm_rf(dir);
}

/* Runs "GROUP NAME ARG..." with stdout and stderr in files. */
static enum kl_rc run(const char *line)
{
    const struct kl_ctl_command *tables[] = {kl_ctl_terminal_commands, kl_ctl_tmk_commands,
                                             kl_ctl_report_commands, kl_ctl_audit_commands};
    char copy[300], *argv[16] = {NULL}, *at = copy;
    int argc = 0, json;

    snprintf(copy, sizeof(copy), "%s", line);
    while ((argv[argc] = strsep(&at, " ")) != NULL) {
        argc++;
    }
    ck_assert_ptr_nonnull(freopen(out_path, "w", stdout));
    ck_assert_ptr_nonnull(freopen(err_path, "w", stderr));
    ck_assert_int_eq(kl_options_take(&argc, argv, "json", '\0', NULL, &json, &err), KL_OK);
    ctl.json |= json;
    for (int t = 0; t < 4; t++) {
        for (const struct kl_ctl_command *c = tables[t]; c->group; c++) {
            if (strcmp(c->group, argv[0]) == 0 && strcmp(c->name, argv[1]) == 0) {
                enum kl_rc rc = c->fn(&ctl, argc - 1, argv + 1, &err);

                kl_ctl_close(&ctl);
                return rc;
            }
        }
    }
    ck_abort_msg("no command %s", line);
    return KL_ERR_INTERNAL;
}

#define RUN(line, want) \
    do { \
        enum kl_rc rc_ = run(line); \
        ck_assert_msg(rc_ == (want), "%s: %s (%s)", (line), kl_rc_name(rc_), err.text); \
    } while (0)

static json_t *output(void)
{
    json_error_t why;
    json_t *json;

    fflush(stdout);
    json = json_load_file(out_path, 0, &why);
    ck_assert_msg(json != NULL, "%s", why.text);
    return json;
}

static size_t listed(const char *line)
{
    json_t *json;
    size_t n;

    RUN(line, KL_OK);
    json = output();
    ck_assert(json_is_array(json));
    n = json_array_size(json);
    json_decref(json);
    return n;
}

START_TEST(add_and_show)
{
    json_t *json;

    RUN("terminal add T1 --algorithm tdes3 --pinpad P1", KL_OK);
    RUN("terminal add T1", KL_ERR_EXISTS);
    RUN("terminal show T1 --json", KL_OK);
    json = output();
    ck_assert_str_eq(json_string_value(json_object_get(json, "algorithm")), "tdes3");
    ck_assert_str_eq(json_string_value(json_object_get(json, "pinpad")), "P1");
    ck_assert_str_eq(json_string_value(json_object_get(json, "state")), "registered");
    ck_assert_uint_eq(json_array_size(json_object_get(json, "tmks")), 0);
    json_decref(json);
}
END_TEST

/* stderr of the last command. */
static int complained(const char *text)
{
    char *got = NULL;
    size_t len;
    int found;

    fflush(stderr);
    ck_assert_int_eq(kl_file_read(err_path, 10000, &got, &len, &err), KL_OK);
    found = text[0] == '\0' ? len > 0 : strstr(got, text) != NULL;
    free(got);
    return found;
}

static const struct {
    const char *line;
    enum kl_rc rc;
} refusals[] = {
    {"terminal add", KL_ERR_USAGE},
    {"terminal add T2 T3", KL_ERR_USAGE},
    {"terminal add T2 --what", KL_ERR_USAGE},
    {"terminal add T/2", KL_ERR_INPUT},
    {"terminal add 123456789012345678901234567890123", KL_ERR_INPUT},
    {"terminal add T2 --pinpad a/b", KL_ERR_INPUT},
    {"terminal add T2 --algorithm des", KL_ERR_INPUT},
    {"terminal arm", KL_ERR_USAGE},
    {"terminal add T2 --pin P2", KL_ERR_USAGE}, /* no abbreviations */
    {"terminal add T2 --pinpad", KL_ERR_USAGE},
    {"terminal arm T9", KL_ERR_NOT_FOUND},
    {"terminal arm T1 T9", KL_ERR_NOT_FOUND},
    {"terminal arm T1 --at 5", KL_ERR_USAGE},
    {"terminal disarm", KL_ERR_USAGE},
    {"terminal disarm T1 --for 1h", KL_ERR_USAGE},
    {"terminal disarm T1 T9", KL_ERR_NOT_FOUND},
    {"terminal pinpad T1", KL_ERR_USAGE},
    {"terminal pinpad --any", KL_ERR_USAGE},
    {"terminal pinpad T1 T2 --any", KL_ERR_USAGE},
    {"terminal pinpad T1 --any --set P2", KL_ERR_USAGE},
    {"terminal pinpad T1 --any=P2", KL_ERR_USAGE},
    {"terminal pinpad T1 --set=", KL_ERR_USAGE},
    {"terminal pinpad T1 --set a/b", KL_ERR_INPUT},
    {"terminal pinpad T9 --set P2", KL_ERR_NOT_FOUND},
    {"terminal arm T1 --for 59s", KL_ERR_USAGE},
    {"terminal arm T1 --for 31d", KL_ERR_USAGE},
    {"terminal arm T1 --until tomorrow", KL_ERR_USAGE},
    {"terminal arm T1 --until 2001-01-01T00:00:00Z", KL_ERR_USAGE},
    {"terminal arm T1 --until 2999-01-01T00:00:00Z", KL_ERR_USAGE},
    {"terminal arm T1 --for 1h --until 2999-01-01T00:00:00Z", KL_ERR_USAGE},
    {"terminal arm T1 --attempts 0", KL_ERR_USAGE},
    {"terminal arm T1 --attempts 101", KL_ERR_USAGE},
    {"terminal block", KL_ERR_USAGE},
    {"terminal block T9", KL_ERR_NOT_FOUND},
    {"terminal unblock T9", KL_ERR_NOT_FOUND},
    {"terminal show T9", KL_ERR_NOT_FOUND},
    {"terminal list T1", KL_ERR_USAGE},
    {"tmk list --serial T9", KL_ERR_NOT_FOUND},
    {"tmk list --state gone", KL_ERR_USAGE},
    {"terminal accept-imported", KL_ERR_USAGE},
    {"terminal accept-imported T1 --yes", KL_ERR_USAGE},
    {"terminal accept-imported T1 T9", KL_ERR_NOT_FOUND},
    {"tmk waiting T1", KL_ERR_USAGE},
    {"tmk cancel", KL_ERR_USAGE},
    {"tmk cancel T1 T1", KL_ERR_USAGE},
    {"tmk cancel T1", KL_ERR_NOT_FOUND},
    {"tmk cancel T9", KL_ERR_NOT_FOUND},
    {"tmk revoke T1", KL_ERR_USAGE},
    {"tmk revoke --reason x", KL_ERR_USAGE},
    {"tmk revoke T1 --reason", KL_ERR_USAGE},
    {"tmk revoke T1 --reason=", KL_ERR_INPUT},
    {"tmk revoke T1 --reason x --version 0", KL_ERR_USAGE},
    {"tmk revoke T1 --reason x --version 2147483648", KL_ERR_USAGE},
    {"tmk revoke T1 --reason x --version 1", KL_ERR_NOT_FOUND},
    {"tmk revoke T1 --reason x", KL_ERR_NOT_FOUND},
    {"tmk revoke T9 --reason x", KL_ERR_NOT_FOUND},
    {"report unique T1", KL_ERR_USAGE},
    {"report unique --all", KL_ERR_USAGE},
    {"audit list --last 0", KL_ERR_USAGE},
};

START_TEST(refused)
{
    RUN("terminal add T1", KL_OK);
    RUN(refusals[_i].line, refusals[_i].rc);
    ck_assert_uint_eq(listed("terminal list --json"), 1);
    ck_assert_uint_eq(listed("audit list --json"), 1); /* the registration, nothing else */
}
END_TEST

static void put_certificate(const char *name)
{
    char *pem = NULL, path[160];
    size_t len;

    snprintf(path, sizeof(path), "%s/vector-work-%s.pem", vec_in_tree("tests/data"), name);
    ck_assert_msg(kl_file_read(path, 10000, &pem, &len, &err) == KL_OK, "%s", err.text);
    snprintf(path, sizeof(path), "%s/%s.pem", work_path, name);
    ck_assert_int_eq(kl_file_write(path, pem, len, 0600, 1, &err), KL_OK);
    free(pem);
}

/* The best of the certificates that are installed decides, not the best that there could be. */
START_TEST(strength_of_the_certificates)
{
    RUN("terminal add A1 --algorithm aes256", KL_OK);
    ck_assert(!complained("")); /* with none installed, there is nothing to say yet */
    put_certificate("2048");
    RUN("terminal add A2 --algorithm aes128", KL_OK);
    ck_assert(complained("RSA-2048"));
    RUN("terminal add A3 --algorithm tdes3", KL_OK);
    ck_assert(!complained(""));
    put_certificate("3072");
    RUN("terminal add A4 --algorithm aes128", KL_OK);
    ck_assert(!complained(""));
    RUN("terminal add A5 --algorithm aes256", KL_OK);
    ck_assert(complained("no installed work key may carry it"));
    put_certificate("p521");
    RUN("terminal add A6 --algorithm aes256", KL_OK);
    ck_assert(!complained(""));
}
END_TEST

START_TEST(arming)
{
    json_t *json, *row;

    RUN("terminal add T1", KL_OK);
    RUN("terminal add T2", KL_OK);
    RUN("terminal arm T1 T2 --attempts 7 --json", KL_OK);
    json = output();
    ck_assert_uint_eq(json_array_size(json_object_get(json, "terminals")), 2);
    json_decref(json);
    RUN("terminal block T2", KL_OK);
    RUN("terminal list --json", KL_OK);
    json = output();
    row = json_array_get(json, 0);
    ck_assert_str_eq(json_string_value(json_object_get(row, "state")), "armed");
    ck_assert_int_eq(json_integer_value(json_object_get(row, "attempts_left")), 7);
    row = json_array_get(json, 1);
    ck_assert_str_eq(json_string_value(json_object_get(row, "state")), "blocked");
    json_decref(json);
    RUN("terminal arm T1 T2", KL_ERR_BLOCKED);
    RUN("terminal unblock T2", KL_OK);
    RUN("terminal arm T1 T2", KL_OK);
}
END_TEST

/* What a command that changes terminals answers is an array, of one terminal too. */
static json_t *changed(const char *line, size_t count)
{
    json_t *json, *list, *first;

    ctl.json = 1;
    RUN(line, KL_OK);
    json = output();
    list = json_object_get(json, "terminals");
    ck_assert_uint_eq(json_object_size(json), 1);
    ck_assert_uint_eq(json_array_size(list), count);
    first = json_incref(json_array_get(list, 0));
    json_decref(json);
    return first;
}

static void expect_changed(const char *line, const char *key, const char *value)
{
    json_t *first = changed(line, 1);
    const char *got = json_string_value(json_object_get(first, key));

    ck_assert_msg(value ? got && strcmp(got, value) == 0 : !got, "%s: %s is %s", line, key,
                  got ? got : "nothing");
    json_decref(first);
}

START_TEST(each_change)
{
    json_t *json;

    RUN("terminal add T1 --pinpad P1", KL_OK);
    RUN("terminal add T2", KL_OK);
    expect_changed("terminal arm T1", "state", "armed");
    expect_changed("terminal disarm T1", "state", "registered");
    expect_changed("terminal block T1", "state", "blocked");
    expect_changed("terminal unblock T1", "state", "registered");
    expect_changed("terminal pinpad T1 --set P2", "pinpad", "P2");
    expect_changed("terminal pinpad T1 --any", "pinpad", NULL);
    json = changed("terminal accept-imported T1", 1);
    ck_assert(json_is_true(json_object_get(json, "accept_imported")));
    json_decref(json);
    json = changed("terminal accept-imported --no T1", 1);
    ck_assert(json_is_false(json_object_get(json, "accept_imported")));
    json_decref(json);
    json_decref(changed("terminal disarm T1 T2", 2));
}
END_TEST

START_TEST(nothing_there_yet)
{
    static const char *const lines[] = {"terminal list", "terminal arm T1",
                                        "tmk list",      "audit list",
                                        "tmk waiting",   "tmk cancel T1",
                                        "report unique", "tmk revoke T1 --reason x"};

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        RUN(lines[i], KL_ERR_NO_FILE);
    }
    ck_assert_int_ne(access(store_path, F_OK), 0);
}
END_TEST

static enum kl_rc import(const char *text)
{
    char line[120];

    ck_assert_int_eq(kl_file_write(csv_path, text, strlen(text), 0600, 1, &err), KL_OK);
    snprintf(line, sizeof(line), "terminal import %s", csv_path);
    return run(line);
}

#define HEAD "serial,algorithm,pinpad\n"

START_TEST(import_twice)
{
    json_t *json;

    ctl.json = 1;
    for (int i = 0; i < 2; i++) {
        ck_assert_msg(import(HEAD "T1,tdes2,\r\n\"T2\",aes128,P2\n") == KL_OK, "%s", err.text);
        json = output();
        ck_assert_int_eq(json_integer_value(json_object_get(json, "registered")), i ? 0 : 2);
        ck_assert_int_eq(json_integer_value(json_object_get(json, "registered_already")),
                         i ? 2 : 0);
        json_decref(json);
    }
    ck_assert_uint_eq(listed("terminal list"), 2);
}
END_TEST

static const struct {
    const char *text;
    enum kl_rc rc;
    const char *says;
} imports[] = {
    {"", KL_ERR_INPUT, "line 1: the header line must be 'serial,algorithm,pinpad'"},
    {"serial,algorithm\nN,tdes2\n", KL_ERR_INPUT, "line 1"},
    {"N,tdes2,\n", KL_ERR_INPUT, "line 1"},
    {HEAD "N,tdes2,\nM,tdes2\n", KL_ERR_INPUT, "line 3: has 2 fields"},
    {HEAD "N,tdes2,\n\nM,tdes2,\n", KL_ERR_INPUT, "line 3: has 1 fields"},
    {HEAD "N,tdes2,\nM,tdes2,,\n", KL_ERR_INPUT, "line 3: has 4 fields"},
    {HEAD "N,tdes2,\nM/M,tdes2,\n", KL_ERR_INPUT, "line 3: 'M/M' is no serial"},
    {HEAD "N,tdes2,\nM,tdes2,a b\n", KL_ERR_INPUT, "line 3: 'a b' is no PIN pad"},
    {HEAD "N,tdes2,\nM,TDES2,\n", KL_ERR_INPUT, "line 3: algorithm: 'TDES2'"},
    {HEAD "N,tdes2,\nM,aes257,\n", KL_ERR_INPUT, "line 3"},
    {HEAD "N,tdes2,\nN,tdes3,\n", KL_ERR_EXISTS, "line 3"},
    {HEAD "N,tdes2,\nT1,tdes3,P1\n", KL_ERR_EXISTS, "line 3"},
    {HEAD "N,tdes2,\nT1,tdes2,P2\n", KL_ERR_EXISTS, "line 3"},
    {HEAD "N,tdes2,\nM,\"tdes2,\n", KL_ERR_INPUT, "line 3"},
};

START_TEST(import_refused)
{
    RUN("terminal add T1 --pinpad P1", KL_OK);
    ck_assert_int_eq(import(imports[_i].text), imports[_i].rc);
    ck_assert_msg(strstr(err.text, imports[_i].says) != NULL, "%s", err.text);
    ck_assert_msg(strstr(err.text, csv_path) != NULL, "%s", err.text);
    ck_assert_uint_eq(listed("terminal list --json"), 1); /* all or nothing */
}
END_TEST

/* A line that is longer than any may be, in a file far larger than memory need be. */
START_TEST(import_huge)
{
    char line[120];
    FILE *file = fopen(csv_path, "w");

    fputs(HEAD "N,tdes2,", file);
    for (int i = 0; i < 10000; i++) {
        fputc('x', file);
    }
    ck_assert_int_eq(fflush(file), 0);
    ck_assert_int_eq(ftruncate(fileno(file), 60 << 20), 0);
    fclose(file);
    snprintf(line, sizeof(line), "terminal import %s", csv_path);
    RUN(line, KL_ERR_INPUT);
    ck_assert_msg(strstr(err.text, "line 2: the line is too long") != NULL, "%s", err.text);
    ck_assert_uint_eq(listed("terminal list --json"), 0);
}
END_TEST

/* ---- Keys ---- */

static struct kl_store *open_store(void)
{
    struct kl_store *store = NULL;

    ck_assert_int_eq(kl_store_open(store_path, KL_STORE_WRITE, &store, &err), KL_OK);
    ck_assert_int_eq(kl_store_begin(store, &err), KL_OK);
    return store;
}

static void close_store(struct kl_store *store)
{
    ck_assert_msg(kl_store_commit(store, &err) == KL_OK, "%s", err.text);
    kl_store_free(store);
}

static struct kl_tmk a_tmk(const char *serial, uint8_t n)
{
    struct kl_tmk tmk = {.pinpad_serial = "P1",
                         .version = 1,
                         .state = KL_TMK_PENDING,
                         .alg = KL_ALG_TDES2,
                         .kcv_len = 3,
                         .kcv = {0x8d, 0x0a, 0x74},
                         .cryptogram_len = 24};

    snprintf(tmk.serial, sizeof(tmk.serial), "%s", serial);
    memset(tmk.cryptogram, n, sizeof(tmk.cryptogram));
    return tmk;
}

static void let_wait(const char *serial, uint8_t n)
{
    struct kl_tmk tmk = a_tmk(serial, n);
    struct kl_import import = {.key = {.alg = tmk.alg, .cryptogram_len = 24, .kcv_len = 3},
                               .origin = "zmk:Z1"};
    struct kl_store *store = open_store();

    memcpy(import.serial, tmk.serial, sizeof(import.serial));
    memcpy(import.key.cryptogram, tmk.cryptogram, 24);
    memcpy(import.key.kcv, tmk.kcv, 3);
    ck_assert_msg(kl_life_import(store, &import, 0, 1000, &err) == KL_OK, "%s", err.text);
    close_store(store);
}

static const char *text_of(json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* What is shown of a TMK, and what never is. */
START_TEST(tmks)
{
    const struct kl_life_policy policy = {1000};
    const struct kl_claim claim = {"T1", "P1", 0, NULL};
    struct kl_tmk tmk = a_tmk("T1", 1);
    struct kl_store *store;
    json_t *json, *row;

    RUN("terminal add T1", KL_OK);
    RUN("terminal arm T1", KL_OK);
    store = open_store();
    ck_assert_int_eq(kl_life_pend(store, &policy, &claim, &tmk, (int64_t)time(NULL), &err), KL_OK);
    close_store(store);
    RUN("tmk list --json --serial T1 --state pending", KL_OK);
    json = output();
    row = json_array_get(json, 0);
    ck_assert_str_eq(text_of(row, "kcv"), "8D0A74");
    ck_assert_str_eq(text_of(row, "state"), "pending");
    ck_assert_str_eq(text_of(row, "serial"), "T1");
    ck_assert_str_eq(text_of(row, "origin"), "generated");
    ck_assert_int_eq(json_integer_value(json_object_get(row, "version")), 1);
    ck_assert(json_is_null(json_object_get(row, "activated")));
    ck_assert(json_is_null(json_object_get(row, "superseded")));
    ck_assert_uint_eq(json_object_size(row), 10); /* no cryptogram, no MAC */
    json_decref(json);
    ctl.json = 0;
    RUN("terminal list", KL_OK);
    RUN("tmk list", KL_OK);
    ctl.json = 1;
    ck_assert_uint_eq(listed("tmk list --json --state active"), 0);
    ck_assert_uint_eq(listed("audit list --json --last 2"), 2);
    RUN("terminal disarm T1", KL_OK);
    ck_assert_uint_eq(listed("tmk list --state destroyed"), 1);
}
END_TEST

START_TEST(waiting)
{
    json_t *json, *row;

    RUN("terminal add T1", KL_OK);
    RUN("terminal add T2", KL_OK);
    ck_assert_uint_eq(listed("tmk waiting --json"), 0);
    let_wait("T1", 7);
    RUN("tmk waiting --json", KL_OK);
    json = output();
    row = json_array_get(json, 0);
    ck_assert_str_eq(text_of(row, "serial"), "T1");
    ck_assert_str_eq(text_of(row, "kcv"), "8D0A74");
    ck_assert_str_eq(text_of(row, "algorithm"), "tdes2");
    ck_assert_str_eq(text_of(row, "origin"), "zmk:Z1");
    ck_assert_str_eq(text_of(row, "created"), "1970-01-01T00:16:40Z");
    ck_assert_uint_eq(json_object_size(row), 5);
    json_decref(json);
    RUN("terminal show T1 --json", KL_OK);
    json = output();
    ck_assert_str_eq(text_of(json_object_get(json, "waiting"), "origin"), "zmk:Z1");
    ck_assert(json_is_null(json_object_get(json, "working_keys")));
    ck_assert(json_is_null(json_object_get(json, "device_key")));
    ck_assert(json_is_false(json_object_get(json, "accept_imported")));
    json_decref(json);
    RUN("tmk cancel T1 --json", KL_OK);
    json = output();
    ck_assert(json_is_null(json_object_get(json, "waiting")));
    json_decref(json);
    ck_assert_uint_eq(listed("tmk waiting --json"), 0);
}
END_TEST

START_TEST(revoked)
{
    struct kl_working working = {.serial = "T1",
                                 .tmk_version = 1,
                                 .pik = {.alg = KL_ALG_TDES2, .cryptogram_len = 24, .kcv_len = 4},
                                 .mak = {.alg = KL_ALG_TDES2, .cryptogram_len = 24, .kcv_len = 4}};
    struct kl_tmk tmk = a_tmk("T1", 1);
    struct kl_store *store;
    json_t *json, *keys;

    RUN("terminal add T1", KL_OK);
    tmk.state = KL_TMK_ACTIVE;
    store = open_store();
    ck_assert_int_eq(kl_store_tmk_add(store, &tmk, &err), KL_OK);
    ck_assert_int_eq(kl_life_signed_in(store, &working, 2000, &err), KL_OK);
    close_store(store);
    RUN("terminal show T1 --json", KL_OK);
    json = output();
    keys = json_object_get(json, "working_keys");
    ck_assert_str_eq(text_of(keys, "pik_kcv"), "00000000");
    ck_assert_str_eq(text_of(keys, "mak_kcv"), "00000000");
    ck_assert_int_eq(json_integer_value(json_object_get(keys, "tmk_version")), 1);
    ck_assert_uint_eq(json_object_size(keys), 4);
    json_decref(json);
    RUN("tmk revoke T1 --version 1 --reason stolen --json", KL_OK);
    json = output();
    ck_assert_str_eq(text_of(json_array_get(json_object_get(json, "tmks"), 0), "state"), "revoked");
    ck_assert(json_is_null(json_object_get(json, "working_keys")));
    json_decref(json);
    RUN("tmk revoke T1 --version 1 --reason again", KL_ERR_REFUSED);
    ck_assert_uint_eq(listed("tmk list --state revoked"), 1);
}
END_TEST

static json_int_t number_of(json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

START_TEST(unique)
{
    struct kl_tmk tmk = a_tmk("T1", 1);
    struct kl_store *store;
    json_t *json, *row;

    RUN("terminal add T1", KL_OK);
    RUN("terminal add T2", KL_OK);
    RUN("terminal add T3", KL_OK);
    store = open_store();
    ck_assert_int_eq(kl_store_tmk_add(store, &tmk, &err), KL_OK);
    close_store(store);
    let_wait("T2", 7);
    RUN("report unique --json", KL_OK); /* the same KCV only */
    json = output();
    ck_assert_int_eq(number_of(json, "terminals"), 3);
    ck_assert_int_eq(number_of(json, "live_tmks"), 1);
    ck_assert_int_eq(number_of(json, "waiting"), 1);
    ck_assert_int_eq(number_of(json, "device_keys"), 0);
    ck_assert_int_eq(number_of(json, "shared"), 0);
    ck_assert_int_eq(number_of(json, "possible"), 1);
    row = json_array_get(json_object_get(json, "findings"), 0);
    ck_assert_str_eq(text_of(row, "finding"), "possible");
    ck_assert_str_eq(text_of(row, "what"), "kcv");
    json_decref(json);
    store = open_store();
    tmk = a_tmk("T3", 1); /* by no rule of ours */
    ck_assert_int_eq(kl_store_tmk_add(store, &tmk, &err), KL_OK);
    close_store(store);
    RUN("report unique --json", KL_ERR_REFUSED);
    ck_assert_ptr_nonnull(strstr(err.text, "1 time"));
    json = output();
    ck_assert_int_eq(number_of(json, "shared"), 1);
    ck_assert_int_eq(number_of(json, "live_tmks"), 2);
    row = json_array_get(json_object_get(json, "findings"), 0);
    ck_assert_str_eq(text_of(row, "finding"), "shared");
    ck_assert_str_eq(text_of(row, "what"), "tmk");
    ck_assert_str_eq(text_of(row, "serial"), "T1");
    ck_assert_str_eq(text_of(row, "other_serial"), "T3");
    ck_assert_int_eq(number_of(row, "other_version"), 1);
    json_decref(json);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ctl");
    TCase *tcase = tcase_create("ctl");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, add_and_show);
    tcase_add_loop_test(tcase, refused, 0, (int)(sizeof(refusals) / sizeof(refusals[0])));
    tcase_add_test(tcase, strength_of_the_certificates);
    tcase_add_test(tcase, arming);
    tcase_add_test(tcase, each_change);
    tcase_add_test(tcase, nothing_there_yet);
    tcase_add_test(tcase, import_twice);
    tcase_add_loop_test(tcase, import_refused, 0, (int)(sizeof(imports) / sizeof(imports[0])));
    tcase_add_test(tcase, import_huge);
    tcase_add_test(tcase, tmks);
    tcase_add_test(tcase, waiting);
    tcase_add_test(tcase, revoked);
    tcase_add_test(tcase, unique);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
