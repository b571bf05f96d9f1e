/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl's commands. Each parses its own options with kl_options_parse (argv[0] is the
 * command's own name, e.g. "add"; --config, --json and --help have been taken out), prints its
 * result to stdout (JSON when ctl->json), and returns an rc; main() prints err once and turns the
 * rc into the exit status.
 */
#ifndef KL_DAEMON_CTL_CTL_H
#define KL_DAEMON_CTL_CTL_H

#include "daemon/config.h"
#include "proto/err.h"

struct kl_store;
struct kl_ctl {
    struct kl_config config; /* zero for kl_ctl_audit_verify, which loads it if it needs it, and
                                with --control */
    const char *config_path;
    const char *control; /* --control: the daemon's socket, and no configuration; NULL: not given */
    int json;
    /* How operations are run: ctl_channel.c's */
    struct kl_store *store;
    int writable, within, chosen, fd;
};

typedef enum kl_rc (*kl_ctl_fn)(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err);

struct kl_ctl_command {
    const char *group; /* "terminal" */
    const char *name;  /* "add"; "": the group is the command */
    kl_ctl_fn fn;
    const char *synopsis; /* "SERIAL --algorithm ALG" */
    const char *help;     /* one line */
};

/* Tables, each ended by a NULL group; main() looks commands up in all of them. */
extern const struct kl_ctl_command kl_ctl_token_commands[];     /* ctl_token.c */
extern const struct kl_ctl_command kl_ctl_key_commands[];       /* ctl_key.c */
extern const struct kl_ctl_command kl_ctl_transport_commands[]; /* ctl_transport.c */
extern const struct kl_ctl_command kl_ctl_zmk_commands[];       /* ctl_zmk.c */
extern const struct kl_ctl_command kl_ctl_import_commands[];    /* ctl_import.c: tmk import */
extern const struct kl_ctl_command kl_ctl_export_commands[];    /* ctl_export.c: tmk export */
extern const struct kl_ctl_command kl_ctl_cert_commands[];      /* ctl_cert.c: cert install, show */
extern const struct kl_ctl_command kl_ctl_terminal_commands[];  /* ctl_terminal.c */
extern const struct kl_ctl_command kl_ctl_tmk_commands[];       /* ctl_tmk.c */
extern const struct kl_ctl_command kl_ctl_report_commands[];    /* ctl_report.c */
extern const struct kl_ctl_command kl_ctl_audit_commands[];     /* ctl_audit.c */
extern const struct kl_ctl_command kl_ctl_backup_commands[];    /* ctl_backup.c */
extern const struct kl_ctl_command kl_ctl_store_commands[];     /* ctl_store.c */
extern const struct kl_ctl_command kl_ctl_control_commands[];   /* ctl_control.c; use nothing of
                                                                   the configuration but where
                                                                   the socket is */

/* ctl_check.c: hsm check, which asks no daemon. */
enum kl_rc kl_ctl_hsm_check(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err);

/* Works without a configuration where its files are named. */
enum kl_rc kl_ctl_audit_verify(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err);

#endif
