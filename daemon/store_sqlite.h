/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the two files of the SQLite store share: the connection and how its errors are told.
 * store_sqlite.c opens, locks and commits; store_rows.c reads and writes rows.
 */
#ifndef KL_DAEMON_STORE_SQLITE_H
#define KL_DAEMON_STORE_SQLITE_H

#include <sqlite3.h>

#include "daemon/store.h"
#include "proto/err.h"

/* Statements that are prepared once and kept; their text is in store_rows.c. */
enum kl_sql {
    KL_SQL_TERMINAL_ADD,
    KL_SQL_TERMINAL_GET,
    KL_SQL_TERMINAL_UPDATE,
    KL_SQL_TMK_ADD,
    KL_SQL_TMK_GET,
    KL_SQL_TMK_SET_STATE,
    KL_SQL_TMK_LAST_VERSION,
    KL_SQL_TMK_EXPIRED,
    KL_SQL_AUDIT_ADD,
    KL_SQL_COUNT,
};

struct kl_store {
    sqlite3 *db;
    sqlite3_stmt *kept[KL_SQL_COUNT];
    char *path;
    int lock_fd; /* -1 = not claimed */
    int writable;
};

/* What an extended SQLite code means to us; *hint says it to people. */
enum kl_rc kl_sql_rc(int code, const char **hint);

/* Fills err from the connection's last failure: path, hint and SQLite's own words. */
enum kl_rc kl_sql_err(struct kl_store *store, const char *op, struct kl_err *err);

#endif
