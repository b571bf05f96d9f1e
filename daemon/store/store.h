/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store: the registry of terminals, every TMK's cryptogram and state, imported TMKs that wait
 * for their load, the working keys in use, and the audit trail.
 * This interface knows nothing of the database behind it, and no rules: those are in life.h.
 * Times are Unix seconds. Not thread-safe: one struct kl_store for each thread.
 */
#ifndef KL_DAEMON_STORE_STORE_H
#define KL_DAEMON_STORE_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/audit/audit_chain.h"
#include "pkcs11/loader.h"
#include "proto/alg.h"
#include "proto/err.h"
#include "proto/message.h"
#include "proto/suite.h"

struct kl_store;

enum kl_store_mode {
    KL_STORE_READ,   /* must exist */
    KL_STORE_WRITE,  /* must exist */
    KL_STORE_CREATE, /* made (mode 0600) if it does not exist */
};

#define KL_STORE_VERSION 4 /* of its schema */
/* Opens the store at path and checks its schema version. One of an older version is brought up to
 * date by who opens it to write, in one transaction, with a copy kept beside it; who opens it to
 * read is told so. KL_ERR_NO_FILE, KL_ERR_PERMISSION or KL_ERR_STORE, with path and cause;
 * KL_ERR_BUSY: it is old, and a daemon serves it; KL_ERR_VERIFY: it is old, and its audit trail is
 * not whole. */
enum kl_rc kl_store_open(const char *path, enum kl_store_mode mode, struct kl_store **out,
                         struct kl_err *err) KL_MUST_CHECK;
void kl_store_free(struct kl_store *store); /* rolls back what is open; takes NULL */

/* Takes the lock that says "a daemon serves this store" (held until kl_store_free, and by the
 * kernel's doing after any death): KL_ERR_BUSY if another daemon has it. */
enum kl_rc kl_store_claim(struct kl_store *store, struct kl_err *err) KL_MUST_CHECK;
/* *claimed: 1 if a daemon serves the store at path just now; there may be none yet. */
enum kl_rc kl_store_claimed(const char *path, int *claimed, struct kl_err *err) KL_MUST_CHECK;

/* For who commits all the time: from now on, until kl_store_free, a thread of its own moves what is
 * committed from the WAL into the file, so that no commit waits while thousands of pages are
 * written. Where that fails nothing is lost, the WAL grows, and the log says so. */
enum kl_rc kl_store_wal_aside(struct kl_store *store, struct kl_err *err) KL_MUST_CHECK;

/* Copies the state that was committed last to a new file (mode 0600), durably; any thread of any
 * program may be at the store meanwhile. KL_ERR_EXISTS. */
enum kl_rc kl_store_copy(const struct kl_store *store, const char *path,
                         struct kl_err *err) KL_MUST_CHECK;
/* The same of a store by name, whatever its schema. Until the copy is whole, durable and approved
 * of it is a file keyloader-copy.part-* in the same folder: a failure leaves nothing, and what a
 * kill leaves is removed by the next copy into that folder. All is borrowed. */
typedef void (*kl_copy_fn)(uint64_t done, uint64_t total, void *arg);
struct kl_store_copying {
    const char *from, *path;
    int replace;     /* 1: a file that is called so already, instead of KL_ERR_EXISTS */
    kl_copy_fn tell; /* may be NULL: hears how many pages are done */
    /* May be NULL: looks at the copy, and may refuse it. */
    enum kl_rc (*approve)(const char *file, void *arg, struct kl_err *err);
    void *arg; /* for both */
};
enum kl_rc kl_store_copy_file(const struct kl_store_copying *what,
                              struct kl_err *err) KL_MUST_CHECK;
/* Puts the contents of the store at `from` in the place of those of the store at `path`, in one
 * transaction of that: whoever uses it waits, and then sees the new ones; a crash leaves either.
 * KL_ERR_STORE and the like if the file there is so damaged that it cannot be written to. */
enum kl_rc kl_store_replace(const char *from, const char *path, struct kl_err *err) KL_MUST_CHECK;

/* One transaction at a time; everything below that writes needs one (KL_ERR_STORE outside of it, or
 * when a full disk or the like has already undone it). Commit is durable (fsync) when it returns
 * KL_OK; when it fails, everything since begin is undone. */
enum kl_rc kl_store_begin(struct kl_store *store, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_store_commit(struct kl_store *store, struct kl_err *err) KL_MUST_CHECK;
void kl_store_rollback(struct kl_store *store);

/* Inside a transaction: a part that can be undone alone (group commit). */
enum kl_rc kl_store_savepoint(struct kl_store *store, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_store_release(struct kl_store *store, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_store_undo(struct kl_store *store, struct kl_err *err) KL_MUST_CHECK;

/* ---- Terminals ---- */

struct kl_terminal {
    char serial[KL_SERIAL_MAX + 1];
    char pinpad_serial[KL_SERIAL_MAX + 1]; /* "" = not known yet, any PIN pad */
    enum kl_alg alg;                       /* of its TMK */
    int blocked;
    int accept_imported; /* 1: the operator lets it have imported TMKs unauthenticated */
    int has_device_key;
    uint8_t device_key[KL_HASH_LEN]; /* SHA-256 of its SubjectPublicKeyInfo; one terminal's only */
    int64_t armed_until;             /* 0 = not armed */
    uint32_t attempts_left;          /* candidates that this arming may still make */
    int64_t created;
    uint32_t version_floor; /* versions up to it are taken, whatever TMKs there are */
};

enum kl_rc kl_store_terminal_add(struct kl_store *store, const struct kl_terminal *terminal,
                                 struct kl_err *err) KL_MUST_CHECK; /* KL_ERR_EXISTS */
enum kl_rc kl_store_terminal_get(struct kl_store *store, const char *serial,
                                 struct kl_terminal *out,
                                 struct kl_err *err) KL_MUST_CHECK; /* KL_ERR_NOT_FOUND */
/* Writes all fields but serial, created and version_floor. */
enum kl_rc kl_store_terminal_update(struct kl_store *store, const struct kl_terminal *terminal,
                                    struct kl_err *err) KL_MUST_CHECK;
/* Takes `by` seconds off every arming that lasts until `since` or longer; *count: how many. */
enum kl_rc kl_store_armings_shorten(struct kl_store *store, int64_t since, int64_t by,
                                    size_t *count, struct kl_err *err) KL_MUST_CHECK;
/* Raises version_floor to that; it never sinks. For who knows that the store has forgotten TMKs. */
enum kl_rc kl_store_terminal_floor(struct kl_store *store, const char *serial, uint32_t version,
                                   struct kl_err *err) KL_MUST_CHECK;
/* Calls fn for each terminal in order of serial until it returns other than KL_OK. */
typedef enum kl_rc (*kl_terminal_fn)(const struct kl_terminal *terminal, void *arg,
                                     struct kl_err *err);
enum kl_rc kl_store_terminal_each(struct kl_store *store, kl_terminal_fn fn, void *arg,
                                  struct kl_err *err) KL_MUST_CHECK;
/* The same of those whose serials come after that one. */
enum kl_rc kl_store_terminal_from(struct kl_store *store, const char *after, kl_terminal_fn fn,
                                  void *arg, struct kl_err *err) KL_MUST_CHECK;
/* Which terminal has that device key recorded; KL_ERR_NOT_FOUND if none. */
enum kl_rc kl_store_device_key_owner(struct kl_store *store, const uint8_t device_key[KL_HASH_LEN],
                                     char serial[KL_SERIAL_MAX + 1],
                                     struct kl_err *err) KL_MUST_CHECK;

/* ---- TMKs ---- */

/* pending -> active -> superseded -> destroyed (its time is over); pending -> destroyed (another
 * candidate won, or the operator) or expired; and any of the first three -> revoked. A destroyed,
 * expired or revoked one keeps its row and MACs, so that Confirm can be answered, but its
 * cryptogram is overwritten. The first three are called live. */
enum kl_tmk_state {
    KL_TMK_PENDING = 1,
    KL_TMK_ACTIVE = 2,
    KL_TMK_SUPERSEDED = 3,
    KL_TMK_DESTROYED = 4,
    KL_TMK_EXPIRED = 5,
    KL_TMK_REVOKED = 6,
};
const char *kl_tmk_state_name(enum kl_tmk_state state);

struct kl_tmk {
    char serial[KL_SERIAL_MAX + 1];
    char pinpad_serial[KL_SERIAL_MAX + 1]; /* of the PIN pad that asked for it */
    uint32_t version;                      /* 1, 2, ... within a terminal; never used twice */
    enum kl_tmk_state state;
    int imported; /* 0: generated */
    int has_device_key;
    uint8_t device_key[KL_HASH_LEN]; /* that proved itself when it asked */
    enum kl_alg alg;
    size_t kcv_len;
    uint8_t kcv[KL_KCV_LEN_MAX];
    size_t cryptogram_len; /* 0 once destroyed, expired or revoked */
    uint8_t cryptogram[KL_CTMK_LEN_MAX];
    uint8_t binding[KL_MAC_LEN]; /* pkcs11/binding.h; zero without cryptogram */
    uint8_t ack_mac[KL_MAC_LEN], active_mac[KL_MAC_LEN], drop_mac[KL_MAC_LEN];
    int64_t created;
    int64_t expires;    /* of a pending one */
    int64_t activated;  /* 0 = never */
    int64_t superseded; /* 0 = never */
};

/* Its key with what belongs to it. */
struct kl_stored_key kl_tmk_key(const struct kl_tmk *tmk);

enum kl_rc kl_store_tmk_add(struct kl_store *store, const struct kl_tmk *tmk,
                            struct kl_err *err) KL_MUST_CHECK; /* KL_ERR_EXISTS */
enum kl_rc kl_store_tmk_get(struct kl_store *store, const char *serial, uint32_t version,
                            struct kl_tmk *out, struct kl_err *err) KL_MUST_CHECK;
/* Writes state and both times and, for DESTROYED, EXPIRED and REVOKED, wipes cryptogram and
 * binding. */
enum kl_rc kl_store_tmk_set_state(struct kl_store *store, const char *serial, uint32_t version,
                                  enum kl_tmk_state state, int64_t activated, int64_t superseded,
                                  struct kl_err *err) KL_MUST_CHECK;
/* The highest version ever given to the terminal, and its version_floor at least; 0 if none. */
enum kl_rc kl_store_tmk_last_version(struct kl_store *store, const struct kl_terminal *terminal,
                                     uint32_t *out, struct kl_err *err) KL_MUST_CHECK;
/* Calls fn for each TMK in order of serial and version; serial NULL = of all terminals;
 * state 0 = any. fn must not write to the store. */
typedef enum kl_rc (*kl_tmk_fn)(const struct kl_tmk *tmk, void *arg, struct kl_err *err);
enum kl_rc kl_store_tmk_each(struct kl_store *store, const char *serial, enum kl_tmk_state state,
                             kl_tmk_fn fn, void *arg, struct kl_err *err) KL_MUST_CHECK;
/* The same of one terminal, but for that version. */
enum kl_rc kl_store_tmk_others(struct kl_store *store, const char *serial, uint32_t but,
                               enum kl_tmk_state state, kl_tmk_fn fn, void *arg,
                               struct kl_err *err) KL_MUST_CHECK;
/* The same of those that come after that one; of one serial, only its version counts. */
struct kl_holder;
enum kl_rc kl_store_tmk_from(struct kl_store *store, const char *serial, enum kl_tmk_state state,
                             const struct kl_holder *after, kl_tmk_fn fn, void *arg,
                             struct kl_err *err) KL_MUST_CHECK;
/* Up to max pending TMKs whose expires <= now; *count is how many. */
enum kl_rc kl_store_tmk_expired(struct kl_store *store, int64_t now, struct kl_tmk *out, size_t max,
                                size_t *count, struct kl_err *err) KL_MUST_CHECK;

/* Up to max superseded TMKs that have been so since `since` or longer; *count is how many. */
enum kl_rc kl_store_tmk_superseded(struct kl_store *store, int64_t since, struct kl_tmk *out,
                                   size_t max, size_t *count, struct kl_err *err) KL_MUST_CHECK;

/* ---- Imported TMKs that wait for their load, one a terminal at most ---- */

#define KL_ORIGIN_MAX 96 /* bytes */
#define KL_RETIRED_MAX 8 /* earlier storage keys that are looked at, the latest */
struct kl_import {
    char serial[KL_SERIAL_MAX + 1];
    struct kl_stored_key key; /* the TMK under the storage key, bound as waiting */
    int64_t created;
    char origin[KL_ORIGIN_MAX + 1]; /* for people: "transport:LABEL", "zmk:LABEL", "components" */
    /* For kl_life_import alone, and not stored: digests of the same key's cryptograms under earlier
     * storage keys of this store, by which destroyed keys of then are known. */
    size_t known_count;
    uint8_t known[KL_RETIRED_MAX][KL_HASH_LEN];
};

/* Puts it in place of one that waits already. KL_ERR_NOT_FOUND: no such terminal. */
enum kl_rc kl_store_import_put(struct kl_store *store, const struct kl_import *import,
                               struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_store_import_get(struct kl_store *store, const char *serial, struct kl_import *out,
                               struct kl_err *err) KL_MUST_CHECK; /* KL_ERR_NOT_FOUND */
enum kl_rc kl_store_import_remove(struct kl_store *store, const char *serial,
                                  struct kl_err *err) KL_MUST_CHECK; /* KL_ERR_NOT_FOUND */
/* Calls fn for each in order of serial until it returns other than KL_OK. */
typedef enum kl_rc (*kl_import_fn)(const struct kl_import *import, void *arg, struct kl_err *err);
enum kl_rc kl_store_import_each(struct kl_store *store, kl_import_fn fn, void *arg,
                                struct kl_err *err) KL_MUST_CHECK;
/* The same of those whose serials come after that one. */
enum kl_rc kl_store_import_from(struct kl_store *store, const char *after, kl_import_fn fn,
                                void *arg, struct kl_err *err) KL_MUST_CHECK;

/* ---- Working keys, one set a terminal at most ---- */

struct kl_working {
    char serial[KL_SERIAL_MAX + 1];
    uint32_t tmk_version; /* of the TMK under which they went out */
    struct kl_stored_key pik, mak;
    int64_t created;
};

/* Puts them in place of those that are there. KL_ERR_NOT_FOUND: no such TMK. */
enum kl_rc kl_store_working_put(struct kl_store *store, const struct kl_working *working,
                                struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_store_working_get(struct kl_store *store, const char *serial, struct kl_working *out,
                                struct kl_err *err) KL_MUST_CHECK; /* KL_ERR_NOT_FOUND */
/* None there is KL_OK. */
enum kl_rc kl_store_working_remove(struct kl_store *store, const char *serial,
                                   struct kl_err *err) KL_MUST_CHECK;

/* ---- Who has which key (PCI PIN v3.1, 20-1) ---- */

/* A terminal's TMK, or (version 0) the imported one that waits for it. AES key wrap is
 * deterministic (RFC 3394): under one storage key, equal cryptograms are equal keys. A digest of
 * the cryptogram stays in the row when that is wiped. */
struct kl_holder {
    char serial[KL_SERIAL_MAX + 1];
    uint32_t version;
};
/* Who has that cryptogram. others 1: one of the terminals other than `serial` ("" = of all),
 * whatever they have or ever had: a key that went out may still be in the PIN pad. 0: `serial`
 * itself, waiting or live; the waiting one before any version, and the first of these.
 * KL_ERR_NOT_FOUND if none. */
enum kl_rc kl_store_key_holder(struct kl_store *store, const char *serial, int others,
                               const uint8_t *cryptogram, size_t cryptogram_len,
                               struct kl_holder *out, struct kl_err *err) KL_MUST_CHECK;

/* The same of others, by such a digest. */
enum kl_rc kl_store_digest_holder(struct kl_store *store, const char *serial,
                                  const uint8_t digest[KL_HASH_LEN], struct kl_holder *out,
                                  struct kl_err *err) KL_MUST_CHECK;
/* By which a key is known when its cryptogram is gone: SHA-256 of that. */
enum kl_rc kl_store_key_digest(const struct kl_stored_key *key, uint8_t out[KL_HASH_LEN],
                               struct kl_err *err) KL_MUST_CHECK;

enum kl_share {
    KL_SHARE_TMK = 1,        /* the same live TMK */
    KL_SHARE_DEVICE_KEY = 2, /* the same device key; versions are 0 */
    KL_SHARE_KCV = 3,        /* different cryptograms of the same KCV and cipher: chance, most
                                likely (1 in 2^24 for each pair), or the same key wrapped twice; or
                                of TDES, with other parity bits or the first part as a third */
};
/* Calls fn for what terminals share: each terminal with the first (by serial) of those that have
 * the same, in order of kind and serial, until it returns other than KL_OK. fn must not write. */
typedef enum kl_rc (*kl_share_fn)(enum kl_share share, const struct kl_holder *one,
                                  const struct kl_holder *other, void *arg, struct kl_err *err);
enum kl_rc kl_store_share_each(struct kl_store *store, kl_share_fn fn, void *arg,
                               struct kl_err *err) KL_MUST_CHECK;

/* ---- How many there are ---- */

/* One look at the tables, for monitoring: no row is read but those of terminals. */
struct kl_store_census {
    uint64_t blocked, armed, idle; /* terminals: blocked; else armed now; else the rest */
    uint64_t pending, active, superseded, ended; /* TMKs; ended: destroyed, expired, revoked */
    uint64_t imported;                           /* TMKs that wait for their load */
    uint64_t working;                            /* sets of working keys */
    uint64_t requests;                           /* that wait for a second operator */
};
enum kl_rc kl_store_census(struct kl_store *store, int64_t now, struct kl_store_census *out,
                           struct kl_err *err) KL_MUST_CHECK;
/* Bytes of database and write-ahead log, and of their file system: free for the daemon, in all. */
enum kl_rc kl_store_space(const struct kl_store *store, uint64_t *bytes, uint64_t *free_bytes,
                          uint64_t *disk_bytes, struct kl_err *err) KL_MUST_CHECK;

/* ---- Audit (daemon/audit/audit_chain.h) ---- */

/* Who does what is recorded from now on, "" = the daemon itself; copied. */
void kl_store_set_actor(struct kl_store *store, const char *actor);

/* Appends one record to the chain, in the same transaction as what it tells of. event is one of
 * daemon/audit/audit_event.h, else KL_ERR_INTERNAL. detail is logfmt, no secret. What is longer
 * than its field is cut. */
enum kl_rc kl_store_audit(struct kl_store *store, int64_t now, const char *event,
                          const char *serial, const char *detail, struct kl_err *err) KL_MUST_CHECK;

/* Calls fn for the last `last` records (0 = all), oldest first, until it returns other than
 * KL_OK. */
typedef enum kl_rc (*kl_audit_fn)(const struct kl_audit *record, void *arg, struct kl_err *err);
enum kl_rc kl_store_audit_each(struct kl_store *store, uint64_t last, kl_audit_fn fn, void *arg,
                               struct kl_err *err) KL_MUST_CHECK;

/* The same of those with an id above `after`. */
enum kl_rc kl_store_audit_from(struct kl_store *store, uint64_t after, kl_audit_fn fn, void *arg,
                               struct kl_err *err) KL_MUST_CHECK;

/* The last record's id and hash, archived or not; of none: 0 and what stands before the first. */
enum kl_rc kl_store_audit_head(struct kl_store *store, uint64_t *id, uint8_t hash[KL_HASH_LEN],
                               struct kl_err *err) KL_MUST_CHECK;

/* How far it goes. */
struct kl_audit_state {
    uint64_t archived_to; /* records up to it are in archives */
    uint8_t archived_hash[KL_HASH_LEN];
    uint64_t forwarded; /* to syslog, up to it */
    uint64_t given;     /* the highest id that a record was ever given */
};
enum kl_rc kl_store_audit_state(struct kl_store *store, struct kl_audit_state *out,
                                struct kl_err *err) KL_MUST_CHECK;

/* Records in order of id, from the first after `after`, each followed by its checkpoint; a
 * checkpoint without record comes in its place. A row that is no record (a file can be damaged, or
 * forged) is told as `damaged`. Ends at the first call that returns other than KL_OK. checkpoint
 * may be NULL. */
struct kl_audit_walk {
    enum kl_rc (*record)(const struct kl_audit *record, void *arg, struct kl_err *err);
    enum kl_rc (*checkpoint)(const struct kl_checkpoint *checkpoint, void *arg, struct kl_err *err);
    enum kl_rc (*damaged)(const char *table, uint64_t id, void *arg, struct kl_err *err);
    void *arg;
};
enum kl_rc kl_store_audit_walk(struct kl_store *store, uint64_t after,
                               const struct kl_audit_walk *walk, struct kl_err *err) KL_MUST_CHECK;

/* KL_ERR_VERIFY names a table or trigger of the audit trail that is not as this program makes it:
 * somebody has tampered with it. */
enum kl_rc kl_store_audit_rules(struct kl_store *store, struct kl_err *err) KL_MUST_CHECK;

enum kl_rc kl_store_checkpoint_add(struct kl_store *store, const struct kl_checkpoint *checkpoint,
                                   struct kl_err *err) KL_MUST_CHECK; /* KL_ERR_EXISTS */
/* The last one; with up_to other than 0 the last that is not after that id. KL_ERR_NOT_FOUND. */
enum kl_rc kl_store_checkpoint_last(struct kl_store *store, uint64_t up_to,
                                    struct kl_checkpoint *out, struct kl_err *err) KL_MUST_CHECK;

/* Takes the records up to that checkpoint, which must be in the store with its record, out of it;
 * the checkpoint stays. *count: how many records. */
enum kl_rc kl_store_audit_archived(struct kl_store *store, const struct kl_checkpoint *checkpoint,
                                   uint64_t *count, struct kl_err *err) KL_MUST_CHECK;
/* Moves the syslog's cursor; it never goes back. */
enum kl_rc kl_store_audit_forwarded(struct kl_store *store, uint64_t id,
                                    struct kl_err *err) KL_MUST_CHECK;

/* ---- What the store knows of itself: texts by name ---- */

#define KL_META_MAX 4096            /* bytes of a value */
#define KL_META_STORE_ID "store-id" /* KL_STORE_ID_LEN bytes in hex; never changes */

enum kl_rc kl_store_meta_get(struct kl_store *store, const char *name, char out[KL_META_MAX + 1],
                             struct kl_err *err) KL_MUST_CHECK; /* KL_ERR_NOT_FOUND */
enum kl_rc kl_store_meta_put(struct kl_store *store, const char *name, const char *value,
                             struct kl_err *err) KL_MUST_CHECK;

/* ---- Requests that wait for a second operator ---- */

enum kl_request_state {
    KL_REQUEST_PENDING = 1,
    KL_REQUEST_APPROVED = 2, /* and not carried out yet */
    KL_REQUEST_REJECTED = 3,
    KL_REQUEST_DONE = 4,
    KL_REQUEST_EXPIRED = 5,
    KL_REQUEST_FAILED = 6,
};
const char *kl_request_state_name(enum kl_request_state state);

#define KL_REQUEST_KIND_MAX 32     /* characters, at least 1 */
#define KL_REQUEST_PARAMS_MAX 4096 /* bytes */
#define KL_REQUEST_OUTCOME_MAX 512 /* bytes */
struct kl_request {
    uint64_t id;                            /* 1, 2, ... without reuse */
    char kind[KL_REQUEST_KIND_MAX + 1];     /* of operation, such as "tmk-export" */
    char params[KL_REQUEST_PARAMS_MAX + 1]; /* canonical JSON */
    int64_t requester_uid;
    char requester[KL_AUDIT_ACTOR_MAX + 1];
    int64_t created, expires;
    enum kl_request_state state;
    int64_t approver_uid; /* -1 = nobody has decided */
    char approver[KL_AUDIT_ACTOR_MAX + 1];
    int64_t decided; /* 0 = not yet */
    char outcome[KL_REQUEST_OUTCOME_MAX + 1];
};
/* Of request, kind, params, requester and both times are read; it is pending. *id: which it got. */
enum kl_rc kl_store_request_add(struct kl_store *store, const struct kl_request *request,
                                uint64_t *id, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_store_request_get(struct kl_store *store, uint64_t id, struct kl_request *out,
                                struct kl_err *err) KL_MUST_CHECK; /* KL_ERR_NOT_FOUND */
/* Writes state, approver, decided and outcome of one that is `from` now; KL_ERR_NOT_FOUND. */
enum kl_rc kl_store_request_update(struct kl_store *store, const struct kl_request *request,
                                   enum kl_request_state from, struct kl_err *err) KL_MUST_CHECK;
/* Calls fn for each with an id above `after` in order of id until it returns other than KL_OK;
 * state 0 = any. */
typedef enum kl_rc (*kl_request_fn)(const struct kl_request *request, void *arg,
                                    struct kl_err *err);
enum kl_rc kl_store_request_each(struct kl_store *store, enum kl_request_state state,
                                 uint64_t after, kl_request_fn fn, void *arg,
                                 struct kl_err *err) KL_MUST_CHECK;

#endif
