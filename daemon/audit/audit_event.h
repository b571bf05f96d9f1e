/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The events of the audit trail: a fixed list. Whoever records something new adds it here, and to
 * the table in docs/operations.md; a test holds both against each other.
 */
#ifndef KL_DAEMON_AUDIT_AUDIT_EVENT_H
#define KL_DAEMON_AUDIT_AUDIT_EVENT_H

/* name (up to KL_AUDIT_EVENT_MAX characters), meaning (one line). In order of name. */
#define KL_AUDIT_EVENTS(X) \
    X("alarm", "a refusal or failed check that may be an attack: reason, detail") \
    X("alarms-suppressed", "more alarms than are recorded in a minute: how many") \
    X("attempt-spent", "a C_rnd1_rnd2 that failed its checks has cost an attempt") \
    X("audit-archived", "records up to that id have gone into an archive and out of the store") \
    X("certificate-installed", "a chain for a work key is there for the daemon to read") \
    X("certificate-removed", "a chain was taken away") \
    X("clock-stepped", "the machine's clock was set: by how many seconds, armings cut short") \
    X("control-refused", "somebody was refused over the control socket: what, why") \
    X("crl-installed", "a CRL is there for the daemon to read") \
    X("csr-made", "a work key has signed a certification request") \
    X("device-key-changed", "another device key than before has loaded a TMK") \
    X("device-key-recorded", "the first device key of a terminal") \
    X("drain-asked", "an operator has had the daemon end") \
    X("hsm-retry-asked", "an operator has had the daemon try an HSM again") \
    X("hsm-weakness-accepted", "an HSM serves though it does not enforce this: by [hsm] accept") \
    X("import-dropped", "an imported TMK waits no longer: why") \
    X("key-deleted", "key delete is about to destroy a key: its role and label") \
    X("key-destroyed", "key generate --replace has destroyed a work key") \
    X("key-exported", "a TMK or working key went out under a host's public key or a zone key") \
    X("key-generated", "a key was made in the HSM: its role and label") \
    X("key-imported", "a work key that was made elsewhere is in the HSM") \
    X("log-level-set", "an operator has changed what is logged") \
    X("reload-asked", "an operator has had the daemon read its configuration again") \
    X("request-approved", "a second operator has approved a request") \
    X("request-done", "a request was carried out, or used up by who carries it out") \
    X("request-expired", "a request was not approved, or not carried out, in time") \
    X("request-failed", "an approved request came to nothing: why") \
    X("request-made", "an operator has requested what takes two") \
    X("request-rejected", "a request was rejected, or taken back") \
    X("storage-key-rotated", "every stored key is under the new storage key: from, to") \
    X("storage-key-rotation", "stored keys begin to go under another storage key: from, to") \
    X("store-backup", "the store was copied: to which file") \
    X("store-left", "a store of an older version takes its place as it is: which, kept file") \
    X("store-migrated", "the store of an older version was brought up to date") \
    X("store-recovered", "the store takes changes again: what was wrong, since when") \
    X("store-restored", "a backup took the store's place: last records of both, kept file, floor") \
    X("terminal-accept-imported", "whether a terminal may have imported TMKs unauthenticated") \
    X("terminal-armed", "a window for loads was opened: until when, how many") \
    X("terminal-behind", "the store before a restore had another TMK in use: versions") \
    X("terminal-blocked", "a terminal gets nothing any more") \
    X("terminal-disarmed", "a window for loads was closed") \
    X("terminal-pinpad", "the PIN pad of a terminal was registered, changed or forgotten") \
    X("terminal-registered", "a terminal was added") \
    X("terminal-unblocked", "a terminal is served again") \
    X("tmk-active", "a terminal has confirmed its TMK") \
    X("tmk-destroyed", "a TMK was destroyed: why") \
    X("tmk-expired", "nobody has confirmed a TMK in time") \
    X("tmk-imported", "an imported TMK waits for its terminal") \
    X("tmk-pending", "a TMK is about to be sent") \
    X("tmk-revoked", "an operator has revoked a TMK: why") \
    X("tmk-superseded", "another TMK took its place") \
    X("token-initialised", "the token was made, or made empty again") \
    X("working-keys", "a terminal has signed in and has new working keys") \
    X("zmk-imported", "a zone key was made from its components")

/* 1 if there is such an event. */
int kl_audit_event_known(const char *name);

#endif
