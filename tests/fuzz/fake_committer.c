/* SPDX-License-Identifier: BSD-2-Clause */
/* The store thread's part, done when a script says so: see fake_committer.h. */
#include "tests/fuzz/fake_committer.h"

#include <stdio.h>

#include "tests/fuzz/input.h"

static TAILQ_HEAD(, kl_unit) units = TAILQ_HEAD_INITIALIZER(units);
static struct kl_store *store;
static size_t waiting;
static int is_full;

struct kl_store *fake_store_begin(void)
{
    struct kl_err err = KL_ERR_INIT;
    char path[80];

    if (store == NULL) {
        snprintf(path, sizeof(path), "%s/store.db", fuzz_folder());
        require(kl_store_open(path, KL_STORE_CREATE, &store, &err) == KL_OK);
    }
    require(kl_store_begin(store, &err) == KL_OK);
    is_full = 0;
    return store;
}

void fake_store_end(void)
{
    require(waiting == 0);
    kl_store_rollback(store);
}

int fake_committer_do(int disk)
{
    struct kl_unit *unit = TAILQ_FIRST(&units);

    if (unit == NULL) {
        return 0;
    }
    TAILQ_REMOVE(&units, unit, link);
    waiting--;
    unit->err = (struct kl_err)KL_ERR_INIT;
    if (disk) {
        struct kl_err err = KL_ERR_INIT;

        require(kl_store_savepoint(store, &err) == KL_OK);
        unit->rc = unit->run(unit, store, &unit->err);
        require((unit->rc == KL_OK ? kl_store_release : kl_store_undo)(store, &err) == KL_OK);
    } else {
        unit->rc = kl_err_set(&unit->err, KL_ERR_IO, "the disk fails");
    }
    if (unit->rc != KL_OK) {
        fuzz_failed_well(unit->rc, &unit->err);
    }
    unit->done(unit);
    return 1;
}

void fake_committer_full(int full)
{
    is_full = full;
}

enum kl_rc kl_committer_submit(struct kl_committer *committer, struct kl_unit *unit,
                               struct kl_err *err)
{
    (void)committer;
    (void)err;
    TAILQ_INSERT_TAIL(&units, unit, link);
    waiting++;
    return KL_OK;
}

enum kl_rc kl_committer_ready(struct kl_committer *committer, struct kl_err *err)
{
    (void)committer;
    return is_full ? kl_err_set(err, KL_ERR_FULL, "the disk has no room") : KL_OK;
}
