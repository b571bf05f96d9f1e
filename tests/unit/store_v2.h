/* SPDX-License-Identifier: BSD-2-Clause */
/* A store as version 0.1.0 made it (schema 2), letter by letter, and rows of every kind in it. */
#ifndef KL_TESTS_UNIT_STORE_V2_H
#define KL_TESTS_UNIT_STORE_V2_H

static const char v2_schema[] =
    "CREATE TABLE terminal ("
    " serial TEXT NOT NULL PRIMARY KEY CHECK (length(serial) BETWEEN 1 AND 32),"
    " pinpad TEXT NOT NULL CHECK (length(pinpad) <= 32),"
    " alg INTEGER NOT NULL CHECK (alg BETWEEN 1 AND 5),"
    " blocked INTEGER NOT NULL CHECK (blocked IN (0, 1)),"
    " armed_until INTEGER NOT NULL CHECK (armed_until >= 0),"
    " attempts_left INTEGER NOT NULL CHECK (attempts_left >= 0),"
    " accept_imported INTEGER NOT NULL CHECK (accept_imported IN (0, 1)),"
    " device_key BLOB NOT NULL CHECK (length(device_key) IN (0, 32)),"
    " created INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX terminal_device_key ON terminal (device_key) WHERE device_key != x'';"
    "CREATE TABLE tmk ("
    " serial TEXT NOT NULL REFERENCES terminal (serial),"
    " version INTEGER NOT NULL CHECK (version BETWEEN 1 AND 2147483647),"
    " state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 6),"
    " pinpad TEXT NOT NULL CHECK (length(pinpad) BETWEEN 1 AND 32),"
    " alg INTEGER NOT NULL CHECK (alg BETWEEN 1 AND 5),"
    " kcv BLOB NOT NULL CHECK (length(kcv) BETWEEN 3 AND 4),"
    " cryptogram BLOB NOT NULL CHECK (length(cryptogram) <= 40),"
    " ack_mac BLOB NOT NULL CHECK (length(ack_mac) = 16),"
    " active_mac BLOB NOT NULL CHECK (length(active_mac) = 16),"
    " drop_mac BLOB NOT NULL CHECK (length(drop_mac) = 16),"
    " created INTEGER NOT NULL,"
    " expires INTEGER NOT NULL,"
    " activated INTEGER NOT NULL,"
    " imported INTEGER NOT NULL CHECK (imported IN (0, 1)),"
    " device_key BLOB NOT NULL CHECK (length(device_key) IN (0, 32)),"
    " superseded INTEGER NOT NULL,"
    " binding BLOB NOT NULL CHECK (length(binding) IN (0, 16)),"
    " digest BLOB NOT NULL CHECK (length(digest) = 32)," /* of the cryptogram, for ever */
    " PRIMARY KEY (serial, version),"
    " CHECK ((length(cryptogram) = 0) = (state IN (4, 5, 6))),"
    " CHECK ((length(cryptogram) = 0) = (length(binding) = 0))"
    ") STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX tmk_one_active ON tmk (serial) WHERE state = 2;"
    "CREATE INDEX tmk_pending ON tmk (expires) WHERE state = 1;"
    "CREATE INDEX tmk_superseded ON tmk (superseded) WHERE state = 3;"
    "CREATE INDEX tmk_live ON tmk (cryptogram) WHERE cryptogram != x'';"
    "CREATE INDEX tmk_digest ON tmk (digest);"
    "CREATE TABLE imported ("
    " serial TEXT NOT NULL PRIMARY KEY REFERENCES terminal (serial),"
    " alg INTEGER NOT NULL CHECK (alg BETWEEN 1 AND 5),"
    " kcv BLOB NOT NULL CHECK (length(kcv) BETWEEN 3 AND 4),"
    " cryptogram BLOB NOT NULL UNIQUE CHECK (length(cryptogram) BETWEEN 24 AND 40),"
    " binding BLOB NOT NULL CHECK (length(binding) = 16),"
    " created INTEGER NOT NULL,"
    " origin TEXT NOT NULL CHECK (length(CAST(origin AS BLOB)) <= 96)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE working ("
    " serial TEXT NOT NULL PRIMARY KEY,"
    " tmk_version INTEGER NOT NULL,"
    " pik_alg INTEGER NOT NULL CHECK (pik_alg BETWEEN 1 AND 5),"
    " pik_cryptogram BLOB NOT NULL CHECK (length(pik_cryptogram) BETWEEN 24 AND 40),"
    " pik_kcv BLOB NOT NULL CHECK (length(pik_kcv) BETWEEN 3 AND 4),"
    " pik_binding BLOB NOT NULL CHECK (length(pik_binding) = 16),"
    " mak_alg INTEGER NOT NULL CHECK (mak_alg BETWEEN 1 AND 5),"
    " mak_cryptogram BLOB NOT NULL CHECK (length(mak_cryptogram) BETWEEN 24 AND 40),"
    " mak_kcv BLOB NOT NULL CHECK (length(mak_kcv) BETWEEN 3 AND 4),"
    " mak_binding BLOB NOT NULL CHECK (length(mak_binding) = 16),"
    " created INTEGER NOT NULL,"
    " FOREIGN KEY (serial, tmk_version) REFERENCES tmk (serial, version)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE audit ("
    " id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,"
    " time INTEGER NOT NULL,"
    " event TEXT NOT NULL,"
    " serial TEXT NOT NULL,"
    " detail TEXT NOT NULL"
    ") STRICT;"
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit"
    " BEGIN SELECT RAISE(ABORT, 'audit records are never changed'); END;"
    "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit"
    " BEGIN SELECT RAISE(ABORT, 'audit records are never deleted'); END;"
    "PRAGMA application_id = 0x4b4c4431; PRAGMA user_version = 2;";

#define B16(x) "x'" x x x x x x x x x x x x x x x x "'"
#define B24(x) "x'" x x x x x x x x x x x x x x x x x x x x x x x x "'"
#define B32(x) "x'" x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x "'"
#define TMK(version, state, cryptogram, binding) \
    "INSERT INTO tmk (serial, version, state, pinpad, alg, kcv, cryptogram, ack_mac, active_mac," \
    " drop_mac, created, expires, activated, imported, device_key, superseded, binding, digest)" \
    " VALUES ('T1', " version ", " state ", 'P1', 2, x'a1a2a3', " cryptogram \
    ", " B16("01") ", " B16("02") ", " B16("03") ", 11, 12, 13, " version \
                                                 " % 2, " B32("d1") ", 14, " binding \
                                                                    ", " B32("e" version) ");"

#define TERMINAL \
    "INSERT INTO terminal (serial, pinpad, alg, blocked, armed_until, attempts_left," \
    " accept_imported, device_key, created) VALUES "

/* By the names of their columns, as later versions have more. */
static const char *const key_rows[] = {
    "PRAGMA foreign_keys = ON",
    TERMINAL "('T1', 'P1', 2, 0, 99, 3, 1, " B32("d1") ", 17)",
    TERMINAL "('T2', '', 5, 1, 0, 0, 0, x'', 18)",
    TMK("1", "3", B32("c1"), B16("b1")),
    TMK("2", "2", B32("c2"), B16("b2")),
    TMK("3", "1", B32("c3"), B16("b3")),
    TMK("4", "4", "x''", "x''"),
    TMK("5", "5", "x''", "x''"),
    TMK("6", "6", "x''", "x''"),
    "INSERT INTO imported (serial, alg, kcv, cryptogram, binding, created, origin)"
    " VALUES ('T2', 5, x'010203', " B32("c7") ", " B16("b7") ", 20, 'zmk:Z')",
    "INSERT INTO working (serial, tmk_version, pik_alg, pik_cryptogram, pik_kcv, pik_binding,"
    " mak_alg, mak_cryptogram, mak_kcv, mak_binding, created)"
    " VALUES ('T1', 2, 1, " B24("c8") ", x'0a0b0c', " B16("b8") ", 2, " B32(
        "c9") ", x'0d0e0f10', " B16("b9") ", 21)",
};
static const char *const v2_audit_rows[] = {
    "INSERT INTO audit VALUES (1, 1, 'terminal-registered', 'T1', 'alg=TDES3')",
    "INSERT INTO audit VALUES (2, 2, 'alarm', '', 'reason=x detail=\"a b\"')",
    "INSERT INTO audit VALUES (3, -3, 'tmk-active', 'T1', '')",
    "INSERT INTO audit VALUES (4, 4, 'alarm', 'T2', hex(zeroblob(240)))",
};

#endif
