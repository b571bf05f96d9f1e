/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A scenario: one way to cheat a loader or a terminal, as a file says it. Sessions one after the
 * other, each a terminal and a loader with us in between, and in each session what we do to the
 * messages that pass, and how it must end. docs/simulator.md is the reference of the format.
 */
#ifndef KL_TERMINAL_SIM_ATTACK_SCENARIO_H
#define KL_TERMINAL_SIM_ATTACK_SCENARIO_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/message.h"

#define KL_SC_NAME_MAX 40       /* bytes of a name, with NUL */
#define KL_SC_TEXT_MAX 160      /* bytes of a line of text, with NUL */
#define KL_SC_PATH_MAX 256      /* bytes of a path, with NUL */
#define KL_SC_FIELD_MAX 40      /* bytes of a field's name, with NUL */
#define KL_SC_VALUE_MAX 512     /* bytes of a value that a file spells out */
#define KL_SC_RULES_MAX 16      /* in a session */
#define KL_SC_SESSIONS_MAX 6    /* in a scenario */
#define KL_SC_FILE_MAX 65536    /* bytes */
#define KL_SC_WAIT_MAX_MS 60000 /* of one delay */
#define KL_SC_SECONDS_MAX 120   /* of one session */

enum kl_sc_act {
    KL_SC_FLIP,     /* field, part or number, mask */
    KL_SC_SET,      /* field, value */
    KL_SC_REMOVE,   /* field */
    KL_SC_COPY,     /* field, ref */
    KL_SC_REPLACE,  /* ref */
    KL_SC_THEN,     /* ref: one more message behind this one */
    KL_SC_REPEAT,   /* the same, itself */
    KL_SC_REFLECT,  /* goes back to who sent it */
    KL_SC_DROP,     /* is swallowed; the connection stays open */
    KL_SC_CLOSE,    /* both connections end in its place */
    KL_SC_TRUNCATE, /* number: bytes of the message that are left */
    KL_SC_PAD,      /* number: zeros behind it, within the frame */
    KL_SC_CLAIM,    /* number: what the frame's header says */
    KL_SC_CUT,      /* number: bytes of the frame that are sent, and no more */
    KL_SC_DRIP,     /* number: milliseconds before each byte */
    KL_SC_DELAY,    /* number: milliseconds before it */
    KL_SC_RND1,     /* value: Randoms is made anew with this Rnd1 */
    KL_SC_SWEEP, /* the session is run again and again, each time with another byte changed, but in
                     `field` */
};

enum kl_sc_part { /* of a TLV */
                  KL_SC_PART_TAG,
                  KL_SC_PART_LENGTH,
                  KL_SC_PART_FIRST,
                  KL_SC_PART_MIDDLE,
                  KL_SC_PART_LAST,
                  KL_SC_PART_NUMBER, /* byte `number` of the value */
};

enum kl_sc_from { KL_SC_FROM_SESSION, KL_SC_FROM_FILE, KL_SC_FROM_ERROR };
struct kl_sc_ref { /* a message from elsewhere */
    enum kl_sc_from from;
    size_t session;            /* FROM_SESSION: index; an earlier one, or this one */
    enum kl_msg_type message;  /* FROM_SESSION: as it was said, before any rule */
    char path[KL_SC_PATH_MAX]; /* FROM_FILE: of terminal-sim load --record */
    unsigned number;           /* FROM_FILE: which message, from 1; FROM_ERROR: enum kl_wire */
};

enum kl_sc_fill { KL_SC_SPELLED, KL_SC_RANDOM };
struct kl_sc_value {
    enum kl_sc_fill fill;
    size_t len;
    uint8_t data[KL_SC_VALUE_MAX]; /* SPELLED */
};

struct kl_sc_rule {
    unsigned line; /* in the file */
    enum kl_msg_type at;
    enum kl_sc_act act;
    int before_signing; /* 1: to tbs, before the rogue loader signs it */
    char field[KL_SC_FIELD_MAX];
    enum kl_sc_part part;
    uint8_t mask;
    size_t number;
    struct kl_sc_value value;
    struct kl_sc_ref ref;
};

enum kl_sc_kind { KL_SC_LOAD, KL_SC_CONFIRM, KL_SC_SIGN_IN };
enum kl_sc_loader { KL_SC_REAL, KL_SC_ROGUE };

/* What the rogue loader shows as AcquireWCRT. */
#define KL_SC_CERTS(X) \
    X(GOOD, "good") \
    X(EXPIRED, "expired") \
    X(EARLY, "not-yet-valid") \
    X(FOREIGN, "foreign") /* another root of the same name */ \
    X(SELF_SIGNED, "self-signed") \
    X(TERMINAL, "terminal")   /* a terminal's usage */ \
    X(NO_USAGE, "server")     /* a TLS server's usage */ \
    X(SIGN_ONLY, "sign-only") /* keyUsage that does not encrypt */ \
    X(OTHER_KEY, "other-key") /* good, but signs with another key than this one's */ \
    X(NO_CRL, "crl-missing") \
    X(REVOKED, "revoked") \
    X(OLD_CRL, "crl-expired") \
    X(OTHER_SCOPE, "crl-of-terminals") \
    X(OTHER_CRL, "crl-foreign")
enum kl_sc_cert {
#define KL_SC_CERT_ENUM(id, name) KL_SC_CERT_##id,
    KL_SC_CERTS(KL_SC_CERT_ENUM)
#undef KL_SC_CERT_ENUM
};

enum kl_sc_expect {
    KL_SC_EXPECT_DONE,     /* verdict active: the session goes through */
    KL_SC_EXPECT_DROP,     /* Done, drop */
    KL_SC_EXPECT_ERROR,    /* the loader answers Error of one of codes, and closes */
    KL_SC_EXPECT_CLOSED,   /* the loader closes, or that Error */
    KL_SC_EXPECT_TERMINAL, /* the terminal refuses, and text is in what it says */
    KL_SC_EXPECT_REFUSED,  /* one of them refuses: Error, not busy; closed; or the terminal */
    KL_SC_EXPECT_STOPPED,  /* we have ended it (close), as it was meant */
    KL_SC_EXPECT_SILENCE,  /* nobody says anything until `seconds` are over */
};

struct kl_sc_session {
    char name[KL_SC_NAME_MAX];
    unsigned line;
    enum kl_sc_kind kind;
    size_t of;  /* CONFIRM, SIGN_IN: the session whose candidate or TMK it is about */
    size_t pad; /* whose PIN pad it uses; its own index = a new one */
    enum kl_sc_loader loader;
    enum kl_sc_cert cert;                  /* ROGUE */
    char serial[KL_SERIAL_MAX + 1];        /* "" = the terminal's own */
    char pinpad_serial[KL_SERIAL_MAX + 1]; /* likewise */
    size_t suite_count;                    /* 0 = as the terminal offers */
    uint8_t suites[KL_OFFER_MAX];
    unsigned seconds; /* for the whole session; 0 = the command's */
    enum kl_sc_expect expect;
    unsigned codes; /* bit 1 << enum kl_wire; 0 = any but busy and internal */
    char text[KL_SC_TEXT_MAX];
    int breaks; /* enum kl_msg_type whose coming from the one who is cheated means that it worked;
                   -1 = only Done */
    int otherwise_broken; /* any other end than the expected one means so */
    int differs;          /* 1: differs_field of differs_message is not what it was in differs_of */
    size_t differs_of;
    enum kl_msg_type differs_message;
    char differs_field[KL_SC_FIELD_MAX];
    size_t rule_count;
    struct kl_sc_rule rules[KL_SC_RULES_MAX];
};

struct kl_scenario {
    char name[KL_SC_NAME_MAX]; /* the file's, without folder and .ini */
    char tries[KL_SC_TEXT_MAX];
    int cheats_terminal;   /* 0: the loader */
    int needs_certificate; /* that the terminal has one */
    int needs_arm;         /* a load goes through, so the terminal is to be armed again */
    size_t session_count;
    struct kl_sc_session sessions[KL_SC_SESSIONS_MAX];
};

/* 1 if a session of it is with the loader under test. */
int kl_scenario_needs_loader(const struct kl_scenario *scenario);
/* How it must end, in words, for --list: of the last session. out holds KL_SC_TEXT_MAX bytes. */
void kl_scenario_expects(const struct kl_scenario *scenario, char *out);

/* Parses a text; path is what errors call it, and gives the name. KL_ERR_CONFIG "PATH:LINE: ..."
 * says what is wrong and what to do; *out is written on success only. */
enum kl_rc kl_scenario_parse(const char *path, const char *text, size_t len,
                             struct kl_scenario *out, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_scenario_read(const char *path, struct kl_scenario *out,
                            struct kl_err *err) KL_MUST_CHECK;

/* For the parser: one rule, "ACTION ARGUMENTS" behind a message's name, in the session that is last
 * in scenario. */
enum kl_rc kl_scenario_rule(const struct kl_scenario *scenario, enum kl_msg_type at,
                            const char *text, struct kl_sc_rule *out,
                            struct kl_err *err) KL_MUST_CHECK;
/* An earlier session of that name, or the last one itself. */
enum kl_rc kl_scenario_session(const struct kl_scenario *scenario, const char *name, size_t *out,
                               struct kl_err *err) KL_MUST_CHECK;
/* enum kl_msg_type by its name; -1. */
int kl_scenario_message(const char *name);

/* The scenarios that are built in, as conf/scenarios/ has them. */
struct kl_scenario_text {
    const char *name, *text;
};
extern const struct kl_scenario_text kl_scenarios[];
extern const size_t kl_scenario_count;
/* The index of the one of that name; kl_scenario_count: none is. */
size_t kl_scenario_find(const char *name);
/* kl_scenario_parse of the i-th. */
enum kl_rc kl_scenario_built_in(size_t i, struct kl_scenario *out,
                                struct kl_err *err) KL_MUST_CHECK;

#endif
