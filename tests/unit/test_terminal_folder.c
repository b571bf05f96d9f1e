/* SPDX-License-Identifier: BSD-2-Clause */
/* A terminal's folder: what it is made of, who may be at it, and what a kill leaves half written.
 */
#include <check.h>
#include <glob.h>
#include <openssl/pem.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/cli.h"
#include "tests/support/stand.h"
#include "tests/support/suite.h"

static int killed_at_sync; /* of a file */

/* In place of libc's: the program's own definition comes first. */
int fsync(int fd)
{
    struct stat st;

    if (killed_at_sync && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        raise(SIGKILL);
    }
    return (int)syscall(SYS_fsync, fd);
}

/* ---- Made, and opened ---- */

/* Refused before anything is made: what terminal.conf could not give back, and what is no root. */
START_TEST(test_init_refused)
{
    struct kl_terminal_setup setup = {.serial = FAKE_SERIAL,
                                      .pinpad_serial = STAND_PINPAD,
                                      .kind = KL_PINPAD_TOKEN,
                                      .module = "/usr/lib/m.so",
                                      .pin_source = "file:/x/pin",
                                      .so_pin_source = "file:/x/so"};
    char dir[PATH_MAX + 16], root_path[PATH_MAX + 16], leaf[PATH_MAX + 16], text[1100];
    struct stand b;
    FILE *file;

    stand_init(&b, STAND_MEMORY);
    snprintf(dir, sizeof(dir), "%s/other", b.dir);
    snprintf(root_path, sizeof(root_path), "%s/root.pem", b.dir);
    snprintf(leaf, sizeof(leaf), "%s/leaf.pem", b.dir);
    file = fopen(leaf, "w");
    ck_assert_int_eq(PEM_write_X509(file, work), 1);
    fclose(file);
    memset(text, 'x', sizeof(text));
    text[1003] = '\0';
    setup.dir = dir;
    setup.roots[0] = root_path;
    setup.root_count = 1;
    switch (_i) {
    case 0:
        setup.pin_source = "file:/x/a #b/pin";
        break;
    case 1:
        setup.module = text;
        break;
    case 2:
        setup.module = "/usr/lib/m.so ";
        break;
    default:
        setup.roots[0] = leaf;
        break;
    }
    ck_assert_int_eq(kl_terminal_init(&setup, &b.err), _i < 3 ? KL_ERR_INPUT : KL_ERR_CERT);
    ck_assert_ptr_nonnull(strstr(b.err.text, _i < 3 ? "cannot stand in" : "not a CA's"));
    ck_assert_int_ne(access(dir, F_OK), 0);
    stand_end(&b);
}
END_TEST

START_TEST(test_one_at_a_time)
{
    struct kl_terminal_home *second;
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    ck_assert_int_eq(kl_terminal_open(b.home, 1, &second, &b.err), KL_ERR_BUSY);
    stand_ok(&b, kl_terminal_open(b.home, 0, &second, &b.err)); /* `pinpad show` may look */
    kl_terminal_free(second);
    stand_end(&b);
}
END_TEST

/* ---- What a kill leaves half written ---- */

static void write_killed(const char *path)
{
    struct kl_err err = KL_ERR_INIT;
    int status;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        killed_at_sync = 1;
        _exit(kl_file_write(path, "half", 4, 0600, 1, &err));
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static size_t files_like(const char *pattern)
{
    glob_t found;
    size_t count = glob(pattern, 0, NULL, &found) == 0 ? found.gl_pathc : 0;

    globfree(&found);
    return count;
}

/* It goes as soon as somebody works in the folder alone, and nothing else goes. */
START_TEST(test_unfinished_swept)
{
    static const char *const files[] = {"record", "root.pem", "device.pem"};
    static const char *const others[] = {"record.backup", "record.new-abcde", "record.new-abcde_",
                                         "record.new-abcdefg", "notes.new-abcdef"};
    const size_t count = sizeof(files) / sizeof(files[0]);
    char path[PATH_MAX + 32], pattern[PATH_MAX + 32];
    struct kl_terminal_home *second;
    struct stand b;

    stand_init(&b, STAND_MEMORY);
    snprintf(pattern, sizeof(pattern), "%s/*.new-*", b.home);
    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "%s/%s", b.home, files[i]);
        write_killed(path);
    }
    ck_assert_uint_eq(files_like(pattern), count);
    stand_ok(&b, kl_terminal_open(b.home, 0, &second, &b.err)); /* a look is no work */
    kl_terminal_free(second);
    ck_assert_int_eq(kl_terminal_open(b.home, 1, &second, &b.err), KL_ERR_BUSY);
    ck_assert_uint_eq(files_like(pattern), count);
    stand_restart(&b);
    ck_assert_uint_eq(files_like(pattern), 0);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        stand_write_file(b.home, others[i], "mine", path);
    }
    stand_restart(&b);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", b.home, others[i]);
        ck_assert_msg(access(path, F_OK) == 0, "%s", path);
    }
    stand_end(&b);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("terminal-folder");
    TCase *tc = tcase_create("folder");

    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, fake_make_keys, fake_free_keys);
    tcase_add_loop_test(tc, test_init_refused, 0, 4);
    tcase_add_test(tc, test_one_at_a_time);
    tcase_add_test(tc, test_unfinished_swept);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
