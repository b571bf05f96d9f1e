/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store in SQLite: how what was committed gets from the WAL into the file. SQLite would do that
 * within a commit, every thousand pages, and all that waits for the commit waits for it too. Here a
 * thread with a connection of its own does most of it while commits go on. As a WAL that is
 * written to is never empty, the committing thread then does the little that has come since, and
 * the next commit begins the WAL anew. Who commits now and then needs no thread.
 */
#include <pthread.h>
#include <stdlib.h>

#include "conf/log.h"
#include "daemon/process/thread.h"
#include "daemon/store/store_sqlite.h"

#define PAGES 1000 /* of the WAL that are too many, as by SQLite's default */

enum pass {
    PASS_NONE,
    PASS_WANTED,
    PASS_MADE, /* what has come since is to be done */
};

struct kl_wal {
    int pages, begin_at;    /* the committing thread's: of the WAL; how many are too many */
    struct kl_store *aside; /* the other thread's */
    int failing;            /* its alone: said once */
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows; never held while a pass is made */
    pthread_cond_t work;
    enum pass pass;
    int stopping;
};

/* So that the WAL cannot begin anew while a pass looks how much of it is in the file: SQLite before
 * 3.51.3 then takes for moved what is committed next, and loses it (sqlite.org/wal.html, "The
 * WAL-Reset Bug"). While somebody reads from the WAL, nobody begins it anew; if all of it was in
 * the file already, then the reader reads from there, and nobody writes to the file. */
static enum kl_rc hold(struct kl_store *store, struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    if (store->holder == NULL) {
        rc = kl_store_open(store->path, KL_STORE_READ, &store->holder, err);
    }
    return rc == KL_OK ? kl_sql_exec(store->holder, "BEGIN; SELECT count(*) FROM sqlite_schema",
                                     "BEGIN", err)
                       : rc;
}

/* PASSIVE waits for nobody: it does what no reader needs any more. */
static enum kl_rc make_pass(struct kl_store *store, struct kl_err *err)
{
    enum kl_rc rc = hold(store, err);

    if (rc == KL_OK && sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL,
                                                 NULL) != SQLITE_OK) {
        rc = kl_sql_err(store, "sqlite3_wal_checkpoint_v2", err);
    }
    if (store->holder != NULL) {
        kl_store_rollback(store->holder);
    }
    return rc;
}

/* The thread's pass. */
static void make_most(struct kl_wal *wal)
{
    struct kl_err err = KL_ERR_INIT;
    enum kl_rc rc = make_pass(wal->aside, &err);
    int failing = rc != KL_OK && rc != KL_ERR_BUSY;

    if (failing && !wal->failing) {
        kl_log(KL_LOG_WARN, "store-wal", KL_STR("means", "the store's WAL grows; nothing is lost"),
               KL_LOG_ERR(&err));
    }
    wal->failing = failing;
}

static void *thread_main(void *arg)
{
    struct kl_wal *wal = arg;

    pthread_mutex_lock(&wal->lock);
    while (!wal->stopping) {
        if (wal->pass != PASS_WANTED) {
            pthread_cond_wait(&wal->work, &wal->lock);
            continue;
        }
        pthread_mutex_unlock(&wal->lock);
        make_most(wal);
        pthread_mutex_lock(&wal->lock);
        wal->pass = PASS_MADE;
    }
    pthread_mutex_unlock(&wal->lock);
    return NULL;
}

/* If a reader keeps the WAL from beginning anew, it is tried again after as many more pages. */
static enum pass next_pass(struct kl_wal *wal, int pages)
{
    enum pass pass;

    if (pages < wal->pages) {
        wal->begin_at = PAGES;
    }
    wal->pages = pages;
    pthread_mutex_lock(&wal->lock);
    pass = wal->pass;
    if (pass == PASS_MADE) {
        wal->pass = PASS_NONE;
    } else if (pass == PASS_NONE && pages >= wal->begin_at) {
        wal->pass = PASS_WANTED;
        wal->begin_at = pages + PAGES;
        pthread_cond_signal(&wal->work);
    }
    pthread_mutex_unlock(&wal->lock);
    return pass;
}

/* SQLite's, after each commit, with the number of pages that are in the WAL. */
static int on_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct kl_store *store = arg;
    struct kl_err err = KL_ERR_INIT;

    (void)db;
    (void)name;
    if (store->wal != NULL ? next_pass(store->wal, pages) == PASS_MADE : pages >= PAGES) {
        (void)make_pass(store, &err); /* what fails here fails in the thread's pass, too */
    }
    return SQLITE_OK;
}

void kl_sql_wal_begin(struct kl_store *store)
{
    sqlite3_wal_hook(store->db, on_commit, store);
}

/* Once its thread is no more. */
static void discard(struct kl_wal *wal)
{
    pthread_cond_destroy(&wal->work);
    pthread_mutex_destroy(&wal->lock);
    kl_store_free(wal->aside);
    free(wal);
}

enum kl_rc kl_store_wal_aside(struct kl_store *store, struct kl_err *err)
{
    struct kl_wal *wal = calloc(1, sizeof(*wal));
    enum kl_rc rc;

    if (wal == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "%s: out of memory", store->path);
    }
    wal->begin_at = PAGES;
    rc = kl_store_open(store->path, KL_STORE_WRITE, &wal->aside, err);
    if (rc != KL_OK) {
        free(wal);
        return rc;
    }
    pthread_mutex_init(&wal->lock, NULL);
    pthread_cond_init(&wal->work, NULL);
    rc = kl_thread_start(&wal->thread, thread_main, wal, "thread of the store's WAL", err);
    if (rc != KL_OK) {
        discard(wal);
        return rc;
    }
    store->wal = wal;
    return KL_OK;
}

void kl_sql_wal_end(struct kl_store *store)
{
    struct kl_wal *wal = store->wal;

    if (wal == NULL) {
        return;
    }
    pthread_mutex_lock(&wal->lock);
    wal->stopping = 1;
    pthread_cond_signal(&wal->work);
    pthread_mutex_unlock(&wal->lock);
    pthread_join(wal->thread, NULL);
    discard(wal);
    store->wal = NULL;
}
