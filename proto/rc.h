/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Result codes. One list gives every code its name (for logs), its text (for people), the code
 * the peer sees on the wire (Error.code) and the exit status of a program that ends with it.
 */
#ifndef KL_PROTO_RC_H
#define KL_PROTO_RC_H

/*
 * What the peer is told. Values are those of ErrorCode in docs/protocol.md. Everything that would
 * help an attacker tell one failed check from another is folded into KL_WIRE_REFUSED.
 */
enum kl_wire {
    KL_WIRE_INTERNAL = 1,    /* the loader's own trouble; try again later */
    KL_WIRE_PROTOCOL = 2,    /* message malformed, too large or out of order */
    KL_WIRE_UNSUPPORTED = 3, /* no common version, suite or algorithm */
    KL_WIRE_REFUSED = 4,     /* not registered, not armed, blocked, or a check failed */
    KL_WIRE_BUSY = 5,        /* queue or limits full; retry-after is set */
    KL_WIRE_TIMEOUT = 6,     /* the peer was too slow */
};

/* X(code, log name, text, wire code, exit status as in <sysexits.h>) */
#define KL_RC_LIST(X) \
    X(KL_OK, "ok", "success", KL_WIRE_INTERNAL, 0) \
    X(KL_ERR_USAGE, "usage", "wrong command line", KL_WIRE_INTERNAL, 64) \
    X(KL_ERR_INPUT, "bad-input", "input is malformed", KL_WIRE_PROTOCOL, 65) \
    X(KL_ERR_NO_FILE, "no-file", "file is missing or unreadable", KL_WIRE_INTERNAL, 66) \
    X(KL_ERR_NOT_FOUND, "not-found", "no such thing", KL_WIRE_REFUSED, 66) \
    X(KL_ERR_EXISTS, "exists", "already exists", KL_WIRE_INTERNAL, 73) \
    X(KL_ERR_UNAVAILABLE, "unavailable", "service is not available", KL_WIRE_BUSY, 69) \
    X(KL_ERR_INTERNAL, "internal", "internal error", KL_WIRE_INTERNAL, 70) \
    X(KL_ERR_MEMORY, "memory", "out of memory", KL_WIRE_INTERNAL, 71) \
    X(KL_ERR_SYSTEM, "system", "operating system error", KL_WIRE_INTERNAL, 71) \
    X(KL_ERR_IO, "io", "input or output failed", KL_WIRE_INTERNAL, 74) \
    X(KL_ERR_STORE, "store", "the store failed", KL_WIRE_INTERNAL, 74) \
    X(KL_ERR_FULL, "full", "there is no room on the disk", KL_WIRE_BUSY, 74) \
    X(KL_ERR_BUSY, "busy", "too much work at once", KL_WIRE_BUSY, 75) \
    X(KL_ERR_TIMEOUT, "timeout", "time ran out", KL_WIRE_TIMEOUT, 75) \
    X(KL_ERR_CLOSED, "closed", "the peer closed the connection", KL_WIRE_PROTOCOL, 75) \
    X(KL_ERR_PROTOCOL, "protocol", "the peer broke the protocol", KL_WIRE_PROTOCOL, 76) \
    X(KL_ERR_UNSUPPORTED, "unsupported", "nothing in common with the peer", KL_WIRE_UNSUPPORTED, \
      76) \
    X(KL_ERR_PEER, "peer-refused", "the peer refused", KL_WIRE_REFUSED, 76) \
    X(KL_ERR_VERIFY, "verify", "a cryptographic check failed", KL_WIRE_REFUSED, 76) \
    X(KL_ERR_CERT, "certificate", "the certificate is not acceptable", KL_WIRE_REFUSED, 76) \
    X(KL_ERR_REVOKED, "revoked", "the certificate is revoked", KL_WIRE_REFUSED, 76) \
    X(KL_ERR_REFUSED, "refused", "refused by policy", KL_WIRE_REFUSED, 77) \
    X(KL_ERR_UNKNOWN_TERMINAL, "unknown-terminal", "terminal is not registered", KL_WIRE_REFUSED, \
      77) \
    X(KL_ERR_BLOCKED, "blocked", "terminal is blocked", KL_WIRE_REFUSED, 77) \
    X(KL_ERR_UNARMED, "unarmed", "terminal is not armed", KL_WIRE_REFUSED, 77) \
    X(KL_ERR_STRENGTH, "strength", "wrapping key is weaker than the key", KL_WIRE_REFUSED, 77) \
    X(KL_ERR_PERMISSION, "permission", "permission denied", KL_WIRE_INTERNAL, 77) \
    X(KL_ERR_CONFIG, "config", "configuration is wrong", KL_WIRE_INTERNAL, 78) \
    X(KL_ERR_MODULE, "module", "PKCS#11 module cannot be used", KL_WIRE_INTERNAL, 69) \
    X(KL_ERR_TOKEN, "token", "token is not there", KL_WIRE_BUSY, 69) \
    X(KL_ERR_PIN, "pin", "the token refused the PIN", KL_WIRE_INTERNAL, 77) \
    X(KL_ERR_KEY, "key", "key is missing or not as it must be", KL_WIRE_INTERNAL, 69) \
    X(KL_ERR_HSM, "hsm", "the HSM failed", KL_WIRE_INTERNAL, 69) \
    X(KL_ERR_HSM_LACKS, "hsm-lacks", "the HSM lacks an operation", KL_WIRE_INTERNAL, 69)

enum kl_rc {
#define KL_RC_ENUM(code, name, text, wire, status) code,
    KL_RC_LIST(KL_RC_ENUM)
#undef KL_RC_ENUM
};
#define KL_RC_COUNT (KL_ERR_HSM_LACKS + 1)

/* Every function below accepts any int value; unknown ones read as KL_ERR_INTERNAL. */
const char *kl_rc_name(enum kl_rc rc);  /* log name, e.g. "unarmed"; static storage */
const char *kl_rc_text(enum kl_rc rc);  /* text for people; static storage */
enum kl_wire kl_rc_wire(enum kl_rc rc); /* what the peer may be told */
int kl_rc_exit_status(enum kl_rc rc);   /* exit status, 0 for KL_OK */

const char *kl_wire_name(unsigned wire); /* "refused", ...; "unknown" for other values */

#define KL_MUST_CHECK __attribute__((warn_unused_result))

#endif
