/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store in SQLite: how what was committed gets from the WAL into the file. SQLite would do that
 * within a commit, every thousand pages, and all that waits for the commit waits for it too. Here a
 * thread with a connection of its own does most of it while commits go on. As a WAL that is
 * written to is never empty, the committing thread then does the little that has come since, and
 * the next commit begins the WAL anew.
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
    struct kl_store *store; /* the committing thread's */
    int pages, begin_at;    /* its alone: of the WAL; how many are too many */
    struct kl_store *aside; /* the other thread's */
    int failing;            /* its alone: said once */
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows; never held while a pass is made */
    pthread_cond_t work;
    enum pass pass;
    int stopping;
};

/* PASSIVE waits for nobody: it does what no reader needs any more. */
static int make_pass(struct kl_store *store)
{
    return sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

static void tell(struct kl_wal *wal, int code)
{
    struct kl_err err = KL_ERR_INIT;

    if (code == SQLITE_OK || code == SQLITE_BUSY) {
        wal->failing = 0;
        return;
    }
    if (!wal->failing) {
        (void)kl_sql_err(wal->aside, "sqlite3_wal_checkpoint_v2", &err);
        kl_log(KL_LOG_WARN, "store-wal", KL_STR("means", "the store's WAL grows; nothing is lost"),
               KL_LOG_ERR(&err));
    }
    wal->failing = 1;
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
        tell(wal, make_pass(wal->aside));
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
    struct kl_wal *wal = arg;

    (void)db;
    (void)name;
    if (next_pass(wal, pages) == PASS_MADE) {
        (void)make_pass(wal->store); /* what fails here fails in the next pass, too, and is told */
    }
    return SQLITE_OK;
}

enum kl_rc kl_store_wal_aside(struct kl_store *store, struct kl_err *err)
{
    struct kl_wal *wal = calloc(1, sizeof(*wal));
    enum kl_rc rc;

    if (wal == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "%s: out of memory", store->path);
    }
    wal->store = store;
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
        pthread_cond_destroy(&wal->work);
        pthread_mutex_destroy(&wal->lock);
        kl_store_free(wal->aside);
        free(wal);
        return rc;
    }
    store->wal = wal;
    sqlite3_wal_hook(store->db, on_commit, wal);
    return KL_OK;
}

void kl_sql_wal_end(struct kl_store *store)
{
    struct kl_wal *wal = store->wal;

    if (wal == NULL) {
        return;
    }
    sqlite3_wal_hook(store->db, NULL, NULL);
    pthread_mutex_lock(&wal->lock);
    wal->stopping = 1;
    pthread_cond_signal(&wal->work);
    pthread_mutex_unlock(&wal->lock);
    pthread_join(wal->thread, NULL);
    pthread_cond_destroy(&wal->work);
    pthread_mutex_destroy(&wal->lock);
    kl_store_free(wal->aside);
    free(wal);
    store->wal = NULL;
}
