/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of a TMK: what a restore does to it, and what is known afterwards. */
#include "daemon/life/life_restore.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "conf/cli.h"
#include "daemon/life/life_impl.h"

/* ---- Terminals with a version each, gathered in one pass and looked up by bisection ---- */

struct entry {
    char serial[KL_SERIAL_MAX + 1];
    uint32_t version;
};

struct entries {
    struct entry *list;
    size_t count, capacity;
};

static enum kl_rc add_entry(struct entries *entries, const char *serial, uint32_t version,
                            struct kl_err *err)
{
    size_t capacity = entries->capacity ? 2 * entries->capacity : 64;
    void *grown;

    if (entries->count == entries->capacity) {
        grown = reallocarray(entries->list, capacity, sizeof(*entries->list));
        if (!grown) {
            return kl_err_set(err, KL_ERR_MEMORY, "the terminals' serials");
        }
        entries->list = grown;
        entries->capacity = capacity;
    }
    memcpy(entries->list[entries->count].serial, serial, strlen(serial) + 1);
    entries->list[entries->count++].version = version;
    return KL_OK;
}

static enum kl_rc gather_terminal(const struct kl_terminal *terminal, void *arg, struct kl_err *err)
{
    return add_entry(arg, terminal->serial, 0, err);
}

static enum kl_rc gather_tmk(const struct kl_tmk *tmk, void *arg, struct kl_err *err)
{
    return add_entry(arg, tmk->serial, tmk->version, err);
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->serial, ((const struct entry *)b)->serial);
}

/* NULL: not among them. The list is in order of serial. */
static const struct entry *find_entry(const struct entries *entries, const char *serial)
{
    struct entry key = {.version = 0};

    memcpy(key.serial, serial, strlen(serial) + 1);
    return entries->count > 0 ? bsearch(&key, entries->list, entries->count, sizeof(key), compare)
                              : NULL;
}

static uint32_t version_of(const struct entries *entries, const char *serial)
{
    const struct entry *entry = find_entry(entries, serial);

    return entry ? entry->version : 0;
}

/* ---- The floor ---- */

/* A number of ours in meta, 0 if there is none. */
static enum kl_rc meta_number(struct kl_store *store, const char *name, uint64_t *out,
                              struct kl_err *err)
{
    char text[KL_META_MAX + 1];
    struct kl_err looked = KL_ERR_INIT;
    enum kl_rc rc = kl_store_meta_get(store, name, text, &looked);

    *out = 0;
    if (rc == KL_ERR_NOT_FOUND) {
        return KL_OK;
    }
    if (rc != KL_OK) {
        *err = looked;
        return rc;
    }
    if (kl_parse_number(text, 0, INT64_MAX, out, &looked) != KL_OK) {
        return kl_err_set(err, KL_ERR_STORE, "the store's \"%s\" is no number", name);
    }
    return KL_OK;
}

static enum kl_rc put_number(struct kl_store *store, const char *name, uint64_t number,
                             struct kl_err *err)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, number);
    return kl_store_meta_put(store, name, text, err);
}

struct highest {
    struct kl_store *store;
    uint64_t version;
};

static enum kl_rc take_highest(const struct kl_terminal *terminal, void *arg, struct kl_err *err)
{
    struct highest *highest = arg;
    uint32_t last = 0;
    enum kl_rc rc = kl_store_tmk_last_version(highest->store, terminal, &last, err);

    if (rc == KL_OK && last > highest->version) {
        highest->version = last;
    }
    return rc;
}

/* The highest version that the store knows to be taken, of whatever terminal. */
static enum kl_rc highest_version(struct kl_store *store, uint64_t *out, struct kl_err *err)
{
    struct highest highest = {store, 0};
    uint64_t floor = 0;
    enum kl_rc rc = kl_store_terminal_each(store, take_highest, &highest, err);

    if (rc == KL_OK) {
        rc = meta_number(store, KL_META_FLOOR, &floor, err);
    }
    if (rc == KL_OK) {
        *out = highest.version > floor ? highest.version : floor;
    }
    return rc;
}

static enum kl_rc last_record(const struct kl_audit *record, void *arg, struct kl_err *err)
{
    (void)err;
    *(int64_t *)arg = record->time;
    return KL_OK;
}

/* One number for all terminals, known or to come: those that were registered after the backup are
 * to be registered again, and their PIN pads remember. A clock that was set back since the backup
 * does not count. */
static enum kl_rc find_floor(struct kl_store *store, struct kl_store *replaced, int64_t now,
                             uint32_t *out, struct kl_err *err)
{
    uint64_t highest = 0, other = 0, by_time = 0;
    int64_t newest = 0;
    enum kl_rc rc = highest_version(store, &highest, err);

    if (rc == KL_OK && replaced) {
        rc = highest_version(replaced, &other, err);
    }
    if (rc == KL_OK) {
        rc = kl_store_audit_each(store, 1, last_record, &newest, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    highest = (other > highest ? other : highest) + KL_RESTORE_LEAP;
    now = newest > now ? newest : now;
    by_time = now > KL_RESTORE_EPOCH ? (uint64_t)(now - KL_RESTORE_EPOCH) / 2 : 0;
    highest = by_time > highest ? by_time : highest;
    if (highest > KL_VERSION_MAX - KL_RESTORE_LEAP) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "TMK versions would go on from %" PRIu64 ", and end at %" PRIu32
                          "; is the clock right?",
                          highest, (uint32_t)KL_VERSION_MAX);
    }
    *out = (uint32_t)highest;
    return KL_OK;
}

/* ---- One terminal ---- */

/* What there is to know before anything is written, in a pass each. */
struct view {
    struct entries terminals, pending, active, replaced_active;
    int replaced; /* 1: that store could be read */
};

static enum kl_rc look(struct kl_store *store, struct kl_store *replaced, struct view *view,
                       struct kl_err *err)
{
    enum kl_rc rc;

    view->replaced = replaced != NULL;
    if ((rc = kl_store_terminal_each(store, gather_terminal, &view->terminals, err)) != KL_OK ||
        (rc = kl_store_tmk_each(store, NULL, KL_TMK_PENDING, gather_tmk, &view->pending, err)) !=
            KL_OK ||
        (rc = kl_store_tmk_each(store, NULL, KL_TMK_ACTIVE, gather_tmk, &view->active, err)) !=
            KL_OK ||
        !replaced) {
        return rc;
    }
    return kl_store_tmk_each(replaced, NULL, KL_TMK_ACTIVE, gather_tmk, &view->replaced_active,
                             err);
}

static void view_wipe(struct view *view)
{
    free(view->terminals.list);
    free(view->pending.list);
    free(view->active.list);
    free(view->replaced_active.list);
}

/* Its pending candidates are of a window that may long have been closed: whoever holds one could
 * make it active now. Destroyed, each is answered with an authentic "drop", so that the terminal
 * that has it is rid of it. */
static enum kl_rc calm(struct kl_store *store, const char *serial, const struct view *view,
                       int64_t now, struct kl_restored *out, struct kl_err *err)
{
    struct kl_terminal terminal;
    struct kl_working working;
    struct kl_err looked = KL_ERR_INIT;
    enum kl_rc rc = kl_store_terminal_get(store, serial, &terminal, err);

    if (rc == KL_OK && find_entry(&view->pending, serial)) {
        rc = kl_life_destroy_pending(store, serial, 0, "restored", now, err);
    }
    if (rc == KL_OK && (terminal.armed_until != 0 || terminal.attempts_left != 0)) {
        terminal.armed_until = 0;
        terminal.attempts_left = 0;
        out->disarmed++;
        rc = kl_store_terminal_update(store, &terminal, err);
    }
    out->terminals++;
    out->working += kl_store_working_get(store, serial, &working, &looked) == KL_OK;
    if (rc != KL_OK || (rc = kl_store_working_remove(store, serial, err)) != KL_OK) {
        return rc;
    }
    return kl_store_terminal_floor(store, serial, out->floor, err);
}

/* Had the replaced store another TMK in use for it? A version is given out once, so that equal ones
 * are equal keys. */
static enum kl_rc note_behind(struct kl_store *store, const char *serial, const struct view *view,
                              int64_t now, struct kl_restored *out, struct kl_err *err)
{
    uint32_t ours = version_of(&view->active, serial),
             theirs = version_of(&view->replaced_active, serial);

    if (!view->replaced || theirs == 0 || ours == theirs) {
        return KL_OK;
    }
    out->behind++;
    return kl_life_audit(store, now, "terminal-behind", serial,
                         KL_LIFE_FIELDS(KL_NUM("has", theirs), KL_NUM("store", ours)), err);
}

/* ---- The whole ---- */

static enum kl_rc head(struct kl_store *store, char out[24 + 2 * KL_HASH_LEN], struct kl_err *err)
{
    uint8_t hash[KL_HASH_LEN];
    uint64_t id = 0;
    char hex[2 * KL_HASH_LEN + 1];
    enum kl_rc rc = kl_store_audit_head(store, &id, hash, err);

    if (rc == KL_OK) {
        kl_hex_format(hash, sizeof(hash), hex);
        snprintf(out, 24 + 2 * KL_HASH_LEN, "%" PRIu64 ":%s", id, hex);
    }
    return rc;
}

/* Where the trail was cut, and from what it was parted. */
static enum kl_rc record(struct kl_store *store, const struct kl_restore_past *past, int64_t now,
                         const struct kl_restored *restored, struct kl_err *err)
{
    char ours[24 + 2 * KL_HASH_LEN], theirs[24 + 2 * KL_HASH_LEN] = "none";
    uint8_t hash[KL_HASH_LEN];
    uint64_t id = 0;
    enum kl_rc rc = head(store, ours, err);

    if (rc == KL_OK && past->replaced) {
        rc = head(past->replaced, theirs, err);
    } else if (past->kept[0]) {
        snprintf(theirs, sizeof(theirs), "unreadable");
    }
    if (rc == KL_OK) {
        rc = kl_life_audit(store, now, "store-restored", "",
                           KL_LIFE_FIELDS(KL_STR("backup", ours), KL_STR("replaced", theirs),
                                          KL_STR("kept", past->kept),
                                          KL_NUM("floor", restored->floor)),
                           err);
    }
    if (rc != KL_OK || (rc = kl_store_audit_head(store, &id, hash, err)) != KL_OK ||
        (rc = put_number(store, KL_META_RESTORED, id, err)) != KL_OK ||
        (rc = put_number(store, KL_META_RESTORED_AT, (uint64_t)now, err)) != KL_OK) {
        return rc;
    }
    return put_number(store, KL_META_FLOOR, restored->floor, err);
}

enum kl_rc kl_life_restored(struct kl_store *store, const struct kl_restore_past *past, int64_t now,
                            struct kl_restored *out, struct kl_err *err)
{
    struct kl_restored restored = {0};
    struct view view = {.replaced = 0};
    enum kl_rc rc = find_floor(store, past->replaced, now, &restored.floor, err);

    if (rc == KL_OK) {
        rc = look(store, past->replaced, &view, err);
    }
    restored.candidates = view.pending.count;
    if (rc == KL_OK) {
        rc = record(store, past, now, &restored, err);
    }
    for (size_t i = 0; i < view.terminals.count && rc == KL_OK; i++) {
        const char *serial = view.terminals.list[i].serial;

        rc = calm(store, serial, &view, now, &restored, err);
        if (rc == KL_OK) {
            rc = note_behind(store, serial, &view, now, &restored, err);
        }
    }
    view_wipe(&view);
    if (rc == KL_OK) {
        *out = restored;
    }
    return rc;
}

enum kl_rc kl_life_floor(struct kl_store *store, const char *serial, struct kl_err *err)
{
    uint64_t floor = 0;
    enum kl_rc rc = meta_number(store, KL_META_FLOOR, &floor, err);

    if (rc != KL_OK || floor == 0) {
        return rc;
    }
    return floor > KL_VERSION_MAX
               ? kl_err_set(err, KL_ERR_STORE, "\"" KL_META_FLOOR "\" is damaged")
               : kl_store_terminal_floor(store, serial, (uint32_t)floor, err);
}

/* ---- Since then ---- */

const char *kl_since_restore_name(enum kl_since_restore since)
{
    static const char *const names[] = {"loaded", "signed-in", "behind", "unheard", "no-tmk"};

    return names[since];
}

struct since {
    struct kl_store *store;
    uint64_t restored, floor;
    struct entries behind, active;
    kl_since_fn fn;
    void *arg;
};

/* Records that say of a terminal that it has another TMK: those of the restore itself, and
 * sign-ins and Confirms under a version that the store lacks, or has destroyed. */
static enum kl_rc take_record(const struct kl_audit *record, void *arg, struct kl_err *err)
{
    struct since *since = arg;
    int says = strcmp(record->event, "terminal-behind") == 0 ||
               (strcmp(record->event, "alarm") == 0 &&
                (strncmp(record->detail, "reason=not-found ", 17) == 0 ||
                 strstr(record->detail, "no longer in use: destroyed") != NULL));

    if (record->id < since->restored || !record->serial[0] || !says) {
        return KL_OK;
    }
    return add_entry(&since->behind, record->serial, 0, err);
}

static enum kl_rc tell(const struct kl_terminal *terminal, void *arg, struct kl_err *err)
{
    const struct since *since = arg;
    enum kl_since_restore how = KL_SINCE_UNHEARD;
    struct kl_working working;
    struct kl_err looked = KL_ERR_INIT;
    uint32_t version = version_of(&since->active, terminal->serial);

    if (version > since->floor) {
        how = KL_SINCE_LOADED;
    } else if (kl_store_working_get(since->store, terminal->serial, &working, &looked) == KL_OK) {
        how = KL_SINCE_SIGNED_IN;
    } else if (find_entry(&since->behind, terminal->serial)) {
        how = KL_SINCE_BEHIND;
    } else if (version == 0) {
        how = KL_SINCE_NO_TMK;
    }
    return since->fn(terminal, how, since->arg, err);
}

enum kl_rc kl_life_since_restore(struct kl_store *store, kl_since_fn fn, void *arg,
                                 struct kl_err *err)
{
    struct since since = {.store = store, .fn = fn, .arg = arg};
    enum kl_rc rc = meta_number(store, KL_META_RESTORED, &since.restored, err);

    if (rc == KL_OK && since.restored == 0) {
        rc = kl_err_set(err, KL_ERR_NOT_FOUND, "this store was never restored from a backup");
    }
    if (rc != KL_OK || (rc = meta_number(store, KL_META_FLOOR, &since.floor, err)) != KL_OK) {
        return rc;
    }
    rc = kl_store_audit_each(store, 0, take_record, &since, err);
    if (rc == KL_OK && since.behind.count > 0) {
        qsort(since.behind.list, since.behind.count, sizeof(*since.behind.list), compare);
    }
    if (rc == KL_OK) {
        rc = kl_store_tmk_each(store, NULL, KL_TMK_ACTIVE, gather_tmk, &since.active, err);
    }
    if (rc == KL_OK) {
        rc = kl_store_terminal_each(store, tell, &since, err);
    }
    free(since.behind.list);
    free(since.active.list);
    return rc;
}
