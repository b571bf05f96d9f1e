/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A copy of the store has its name when it is whole, and not before: whatever ends it, nothing is
 * left that could be taken for a copy, and what a kill leaves is gone after the next one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/store_fixture.h"

#define VALUES 400 /* of a page and more: the copy is made in several steps */

static char copy[100];

/* Files in the folder whose names have that in them. */
static int files(const char *part)
{
    DIR *d = opendir(dir);
    const struct dirent *entry;
    int count = 0;

    ck_assert_ptr_nonnull(d);
    while ((entry = readdir(d)) != NULL) {
        count += strstr(entry->d_name, part) != NULL;
    }
    closedir(d);
    return count;
}
#define PARTS files("keyloader-copy.part-")
#define COPIES files("copy.db")

static void fill(void)
{
    char name[32], value[KL_META_MAX + 1];

    snprintf(copy, sizeof(copy), "%s/copy.db", dir);
    memset(value, 'v', KL_META_MAX);
    value[KL_META_MAX] = '\0';
    OK(kl_store_begin(store, &err));
    for (int i = 0; i < VALUES; i++) {
        snprintf(name, sizeof(name), "value-%d", i);
        OK(kl_store_meta_put(store, name, value, &err));
    }
    OK(kl_store_commit(store, &err));
}

static void check_copy(void)
{
    char value[KL_META_MAX + 1];
    struct kl_store *it = NULL;
    struct stat st;

    ck_assert_int_eq(COPIES, 1); /* nothing beside it */
    ck_assert_int_eq(PARTS, 0);
    ck_assert_int_eq(stat(copy, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
    ck_assert_uint_eq(st.st_nlink, 1);
    OK(kl_store_open(copy, KL_STORE_READ, &it, &err));
    OK(kl_store_meta_get(it, "value-399", value, &err));
    kl_store_free(it);
}

static void die_at_once(uint64_t done, uint64_t total, void *arg)
{
    (void)arg;
    if (done < total) {
        raise(SIGKILL);
    }
}

static enum kl_rc die(const char *file, void *arg, struct kl_err *e)
{
    (void)file;
    (void)arg;
    (void)e;
    raise(SIGKILL);
    return KL_OK;
}

/* _i 0: in the middle; 1: when it is whole, and has not got its name. */
START_TEST(killed)
{
    const struct kl_store_copying what = {.from = path,
                                          .path = copy,
                                          .tell = _i == 0 ? die_at_once : NULL,
                                          .approve = _i == 1 ? die : NULL};
    char other[100];
    int status;
    pid_t pid;

    fill();
    if ((pid = fork()) == 0) {
        _exit((int)kl_store_copy_file(&what, &err));
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    ck_assert_int_eq(COPIES, 0);
    ck_assert_int_ge(PARTS, 1);
    snprintf(other, sizeof(other), "%s/another.db", dir); /* whatever that is called */
    OK(kl_store_copy(store, other, &err));
    ck_assert_int_eq(PARTS, 0);
    OK(kl_store_copy(store, copy, &err));
    check_copy();
}
END_TEST

/* _i KiB are all that a file may have. */
START_TEST(file_size_limit)
{
    struct rlimit limit = {(rlim_t)_i * 1024, RLIM_INFINITY};
    enum kl_rc rc;

    fill();
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0); /* check's own files as well */
    rc = kl_store_copy(store, copy, &err);
    limit.rlim_cur = RLIM_INFINITY;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_msg(rc == KL_ERR_FULL, "%s: %s", kl_rc_name(rc), err.text);
    SAYS("the disk is full");
    ck_assert_int_eq(COPIES, 0);
    ck_assert_int_eq(PARTS, 0);
    OK(kl_store_copy(store, copy, &err));
    check_copy();
}
END_TEST

static enum kl_rc refuse(const char *file, void *arg, struct kl_err *e)
{
    struct kl_store *it = NULL;

    (void)arg;
    OK(kl_store_open(file, KL_STORE_READ, &it, e)); /* it is whole by now */
    kl_store_free(it);
    return kl_err_set(e, KL_ERR_VERIFY, "it is not liked");
}

START_TEST(refused)
{
    const struct kl_store_copying what = {.from = path,
                                          .path = copy,
                                          .replace = 1,
                                          .approve = refuse};
    struct stat before, after;

    fill();
    FAILS(kl_store_copy_file(&what, &err), KL_ERR_VERIFY);
    ck_assert_int_eq(COPIES, 0);
    ck_assert_int_eq(PARTS, 0);
    OK(kl_store_copy(store, copy, &err));
    ck_assert_int_eq(stat(copy, &before), 0);
    FAILS(kl_store_copy_file(&what, &err), KL_ERR_VERIFY);
    ck_assert_int_eq(stat(copy, &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
    check_copy();
}
END_TEST

START_TEST(never_over_another)
{
    struct kl_store_copying what = {.from = path, .path = copy};
    struct stat st;

    fill();
    ck_assert_int_eq(close(open(copy, O_WRONLY | O_CREAT, 0644)), 0);
    FAILS(kl_store_copy_file(&what, &err), KL_ERR_EXISTS);
    ck_assert_int_eq(stat(copy, &st), 0);
    ck_assert_int_eq(st.st_size, 0);
    ck_assert_int_eq(PARTS, 0);
    what.replace = 1;
    OK(kl_store_copy_file(&what, &err));
    check_copy();
}
END_TEST

/* The copy of another program that is not ready yet is let alone. */
static enum kl_rc copy_meanwhile(const char *file, void *arg, struct kl_err *e)
{
    char other[100];
    int status;
    pid_t pid;

    (void)arg;
    (void)e;
    snprintf(other, sizeof(other), "%s/other.db", dir);
    if ((pid = fork()) == 0) {
        const struct kl_store_copying what = {.from = path, .path = other};

        _exit((int)kl_store_copy_file(&what, &err));
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(access(other, F_OK), 0);
    ck_assert_int_eq(access(file, F_OK), 0);
    return KL_OK;
}

START_TEST(two_at_once)
{
    const struct kl_store_copying what = {.from = path, .path = copy, .approve = copy_meanwhile};

    fill();
    OK(kl_store_copy_file(&what, &err));
    check_copy();
}
END_TEST

/* Somebody makes the file a link to another between its making and SQLite's opening. */
static char victim[100];
static int (*full_pathname)(sqlite3_vfs *, const char *, int, char *);

static int swap_part(sqlite3_vfs *vfs, const char *name, int capacity, char *out)
{
    if (strstr(name, "keyloader-copy.part-")) {
        ck_assert_int_eq(unlink(name), 0);
        ck_assert_int_eq(symlink(victim, name), 0);
    }
    return full_pathname(vfs, name, capacity, out);
}

START_TEST(swapped_for_a_link)
{
    sqlite3_vfs vfs = *sqlite3_vfs_find("unix-none");
    struct stat st;

    fill();
    snprintf(victim, sizeof(victim), "%s/victim", dir);
    OK(kl_file_write(victim, "", 0, 0600, 0, &err));
    full_pathname = vfs.xFullPathname;
    vfs.xFullPathname = swap_part;
    ck_assert_int_eq(sqlite3_vfs_unregister(sqlite3_vfs_find("unix-none")), SQLITE_OK);
    ck_assert_int_eq(sqlite3_vfs_register(&vfs, 0), SQLITE_OK);
    FAILS(kl_store_copy(store, copy, &err), KL_ERR_STORE);
    ck_assert_int_eq(stat(victim, &st), 0);
    ck_assert_int_eq(st.st_size, 0);
    ck_assert_int_eq(PARTS, 0);
    ck_assert_int_eq(COPIES, 0);
}
END_TEST

/* A folder may be named by a link. */
START_TEST(folder_by_a_link)
{
    char other[100], by_link[120];

    fill();
    snprintf(other, sizeof(other), "%s/link", dir);
    snprintf(by_link, sizeof(by_link), "%s/copy.db", other);
    ck_assert_int_eq(symlink(dir, other), 0);
    OK(kl_store_copy(store, by_link, &err));
    check_copy();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store-copy");
    TCase *cases = group(suite, "copies");

    tcase_add_loop_test(cases, killed, 0, 2);
    tcase_add_loop_test(cases, file_size_limit, 0, 1);
    tcase_add_loop_test(cases, file_size_limit, 200, 201);
    tcase_add_test(cases, refused);
    tcase_add_test(cases, never_over_another);
    tcase_add_test(cases, two_at_once);
    tcase_add_test(cases, swapped_for_a_link);
    tcase_add_test(cases, folder_by_a_link);
    return test_run(suite);
}
