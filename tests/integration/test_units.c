/* SPDX-License-Identifier: BSD-2-Clause */
/* The systemd units: that systemd understands them, and how much it thinks they leave open. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/lab.h"
#include "tests/support/suite.h"

#define ANALYZE "/usr/bin/systemd-analyze"
#define EXPOSURE_MAX 1.6 /* docs/security.md says why it is not less */

static char dir[PATH_MAX];

static void setup(void)
{
    snprintf(dir, sizeof dir, "%s/kl-units-XXXXXX",
             getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
    file_remove_tree(dir);
}

/* A unit of the tree, as it would be installed for the programs under test. */
static void install(const char *name, char path[PATH_MAX])
{
    static const char mark[] = "@sbindir@";
    char from[PATH_MAX], bin[PATH_MAX], *text, *at;
    FILE *f;

    snprintf(from, sizeof from, "%s/../../conf/systemd/%s", getenv("KL_SUPPORT"), name);
    text = file_read(from, NULL);
    ck_assert_msg(text[0] != '\0', "%s", from);
    f = fopen(file_path(path, dir, name), "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(realpath(lab_built("bin"), bin));
    at = strstr(text, mark);
    if (at != NULL) {
        fprintf(f, "%.*s%s%s", (int)(at - text), text, bin, at + sizeof mark - 1);
    } else {
        fputs(text, f);
    }
    ck_assert_int_eq(fclose(f), 0);
    free(text);
}

START_TEST(understood)
{
    char service[PATH_MAX], lan[PATH_MAX], control[PATH_MAX], *said;
    const char *argv[] = {ANALYZE, "--man=no", "verify", service, lan, control, NULL};
    struct proc proc;

    if (access(ANALYZE, X_OK) != 0) {
        return;
    }
    install("keyloaderd.service", service);
    install("keyloaderd.socket", lan);
    install("keyloaderd-control.socket", control);
    proc_spawn(&proc, dir, NULL, argv);
    int status = proc_wait(&proc, 30);
    said = file_read(proc.err, NULL);
    ck_assert_msg(status == 0 && strstr(said, "keyloaderd") == NULL, "%d: %s", status, said);
    free(said);
}
END_TEST

START_TEST(exposure)
{
    char service[PATH_MAX], *said, *at;
    const char *argv[] = {ANALYZE, "security", "--no-pager", "--offline=true", service, NULL};
    struct proc proc;

    if (access(ANALYZE, X_OK) != 0) {
        return;
    }
    install("keyloaderd.service", service);
    proc_spawn(&proc, dir, NULL, argv);
    ck_assert_int_eq(proc_wait(&proc, 30), 0);
    said = file_read(proc.out, NULL);
    at = strstr(said, "exposure level for keyloaderd.service: ");
    ck_assert_msg(at != NULL, "%s", said);
    ck_assert_msg(strtod(strchr(at, ':') + 2, NULL) <= EXPOSURE_MAX, "%s", at);
    free(said);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("units");
    TCase *tc = tcase_create("units");

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, understood);
    tcase_add_test(tc, exposure);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
