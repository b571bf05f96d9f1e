/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How the store's WAL is kept short while commits go on: by a thread that moves what is in it, and
 * a commit that lets it begin anew.
 */
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/support/proc.h"
#include "tests/unit/store_fixture.h"

#define WAL_SEQUENCE 12 /* offset in its header: how often it has begun anew, 4 bytes */
#define RECORDS 24      /* in a transaction: some pages of the WAL */
#define VERY_MANY 10000 /* records: more pages than the WAL is to have */
#define COMMITS 4000    /* far more than it takes */

static time_t deadline;

static void in_time(const char *what)
{
    ck_assert_msg(time(NULL) < deadline, "%s", what);
}

static void start(void)
{
    deadline = time(NULL) + proc_seconds(30);
    OK(kl_store_wal_aside(store, &err));
}

static void begin(void)
{
    setup();
    start();
}

static void commit(int records)
{
    char text[KL_AUDIT_DETAIL_MAX] = "";

    memset(text, 'x', sizeof(text) - 1);
    OK(kl_store_begin(store, &err));
    for (int i = 0; i < records; i++) {
        OK(kl_store_audit(store, 1, "store-recovered", "", text, &err));
    }
    OK(kl_store_commit(store, &err));
}

static void commit_some(void)
{
    commit(RECORDS);
}

static unsigned wal_sequence(void)
{
    unsigned char at[4] = {0};
    char name[100];
    FILE *file;

    snprintf(name, sizeof(name), "%s-wal", path);
    file = fopen(name, "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, WAL_SEQUENCE, SEEK_SET), 0);
    ck_assert_uint_eq(fread(at, 1, sizeof(at), file), sizeof(at));
    fclose(file);
    return (unsigned)at[0] << 24 | (unsigned)at[1] << 16 | (unsigned)at[2] << 8 | at[3];
}

static long long size_of(const char *suffix)
{
    struct stat st;
    char name[100];

    snprintf(name, sizeof(name), "%s%s", path, suffix);
    ck_assert_int_eq(stat(name, &st), 0);
    return (long long)st.st_size;
}

static void commit_until_anew(unsigned times)
{
    for (unsigned was = wal_sequence(), i = 0; wal_sequence() < was + times; i++) {
        ck_assert_msg(i < COMMITS, "the WAL of %lld bytes does not begin anew", size_of("-wal"));
        commit_some();
    }
}

/* Never stopping to write, which is when a thread alone would always come too late. */
START_TEST(begins_anew_under_commits)
{
    commit_until_anew(3);
}
END_TEST

/* The thread does the most of it by itself: nothing is committed after what sets it going. */
START_TEST(moved_by_the_thread)
{
    ck_assert_int_lt(size_of(""), 1 << 20);
    commit(VERY_MANY);
    while (size_of("") < 4 << 20) {
        in_time("nothing is moved");
        usleep(1000);
    }
}
END_TEST

static void start_reading(struct kl_store **reader)
{
    OK(kl_store_open(path, KL_STORE_READ, reader, &err));
    OK(kl_store_begin(*reader, &err));
    FAILS(get(*reader, "A"), KL_ERR_NOT_FOUND);
}

/* What a reader still sees stays in the WAL, which grows meanwhile, and is short again after it. */
START_TEST(a_reader_keeps_it)
{
    struct kl_store *reader = NULL;
    unsigned sequence;

    commit_until_anew(1);
    start_reading(&reader);
    add_committed("A");
    sequence = wal_sequence();
    for (int i = 0; i < 300; i++) {
        commit_some();
        ck_assert_uint_eq(wal_sequence(), sequence);
    }
    FAILS(get(reader, "A"), KL_ERR_NOT_FOUND);
    kl_store_free(reader);
    commit_until_anew(2);
}
END_TEST

static void limit_files(rlim_t size)
{
    const struct rlimit limit = {size, RLIM_INFINITY};

    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The file may not grow, the WAL can: commits succeed, the log says once what goes wrong, and all
 * is well again when there is room. */
START_TEST(a_file_that_cannot_grow)
{
    char log[100], *text;

    signal(SIGXFSZ, SIG_IGN);
    snprintf(log, sizeof(log), "%s/log", dir);
    ck_assert_ptr_nonnull(freopen(log, "a", stderr)); /* before there is another thread */
    start();
    while (size_of("") < 12 << 20) {
        commit_some();
    }
    limit_files((rlim_t)size_of("") + 4096);
    while ((text = file_read(log, NULL)), strstr(text, "store-wal") == NULL) {
        free(text);
        in_time("nothing is said");
        ck_assert_msg(size_of("-wal") < 12 << 20, "the WAL reached its own limit");
        commit_some();
        usleep(1000);
    }
    ck_assert_ptr_nonnull(strstr(text, "nothing is lost"));
    free(text);
    limit_files(RLIM_INFINITY);
    commit_until_anew(2);
}
END_TEST

/* What was committed is there, whichever of WAL and file it is in. */
START_TEST(all_of_it_is_there)
{
    commit_until_anew(1);
    add_committed("A");
    kl_store_free(store);
    store = NULL;
    ck_assert_int_ne(access(path, R_OK), -1);
    OK(kl_store_open(path, KL_STORE_READ, &store, &err));
    OK(get(store, "A"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_wal");
    TCase *tcase = tcase_create("wal");

    tcase_set_timeout(tcase, proc_seconds(60));
    tcase_add_checked_fixture(tcase, begin, teardown);
    tcase_add_test(tcase, begins_anew_under_commits);
    tcase_add_test(tcase, moved_by_the_thread);
    tcase_add_test(tcase, a_reader_keeps_it);
    tcase_add_test(tcase, all_of_it_is_there);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("full");
    tcase_set_timeout(tcase, proc_seconds(60));
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_file_that_cannot_grow);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
