/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl: the operators' tool. Key ceremony, work certificate, terminals and their TMKs.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "conf/cli.h"
#include "conf/options.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/ctl_channel.h"
#include "proto/secret.h"

#define PROGRAM "keyloaderctl"

static const struct kl_ctl_command *const tables[] = {
    kl_ctl_token_commands,   kl_ctl_key_commands,    kl_ctl_transport_commands,
    kl_ctl_zmk_commands,     kl_ctl_cert_commands,   kl_ctl_terminal_commands,
    kl_ctl_tmk_commands,     kl_ctl_import_commands, kl_ctl_export_commands,
    kl_ctl_report_commands,  kl_ctl_store_commands,  kl_ctl_audit_commands,
    kl_ctl_control_commands, kl_ctl_backup_commands,
};
#define TABLE_COUNT (sizeof tables / sizeof tables[0])

/* Prints the commands of a group (NULL: of all), or only that one; how many there were. */
static int list_commands(FILE *out, const char *group, const char *name)
{
    int count = 0;

    for (size_t i = 0; i < TABLE_COUNT; i++) {
        for (const struct kl_ctl_command *c = tables[i]; c->group; c++) {
            if ((!group || strcmp(c->group, group) == 0) && (!name || strcmp(c->name, name) == 0)) {
                fprintf(out, "  %s%s%s%s%s\n      %s\n", c->group, *c->name ? " " : "", c->name,
                        *c->synopsis ? " " : "", c->synopsis, c->help);
                count++;
            }
        }
    }
    return count;
}

static void help(const char *group, const char *name)
{
    printf("Usage: %s [OPTIONS] GROUP COMMAND [OPTIONS]\n\n", PROGRAM);
    list_commands(stdout, group, name);
    printf("\nAnywhere on the command line:\n"
           "  -c, --config FILE  configuration (default %s)\n"
           "      --control SOCKET\n"
           "                     ask the daemon that listens there, and read no configuration:\n"
           "                     status, sessions, reload, drain, log-level, hsm and request\n"
           "      --hsm N        work on the HSM of section [hsm-N] instead of [hsm]\n"
           "      --json         print results as JSON\n"
           "  -h, --help         this text; after a group or a command, its own part of it\n"
           "      --help-config  print every configuration key with its default\n"
           "\nWithout a command:\n"
           "  -V, --version      print the version\n"
           "\nA value that begins with '-' is given as --OPTION=VALUE; '--' ends the options.\n"
           "%s"
           "\nExit status:\n"
           "   0  done\n"
           "  64  wrong command line\n"
           "  65  input that is malformed\n"
           "  66  no such file, terminal or certificate\n"
           "  69  the HSM, its token or a key is not there, or failed\n"
           "  70  internal error\n"
           "  71  the operating system failed, or memory is short\n"
           "  73  there already: nothing was changed\n"
           "  74  a file, the output or the store failed\n"
           "  75  busy: try again later\n"
           "  76  a certificate or a check is not good\n"
           "  77  not allowed: by policy, by permissions, or a wrong PIN\n"
           "  78  the configuration is wrong\n",
           KL_CONFIG_PATH, KL_OPTIONS_SRC_HELP);
}

/* name NULL: the group's first. */
static const struct kl_ctl_command *find(const char *group, const char *name)
{
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        for (const struct kl_ctl_command *c = tables[i]; c->group; c++) {
            if (strcmp(c->group, group) == 0 && (!name || strcmp(c->name, name) == 0)) {
                return c;
            }
        }
    }
    return NULL;
}

struct globals {
    const char *config, *hsm, *control;
    int json, help, help_config, version;
};

/* What may stand anywhere: taken out, so that commands do not meet it. */
static enum kl_rc take_globals(int *argc, char **argv, struct globals *out, struct kl_err *err)
{
    const struct {
        const char *name;
        char letter;
        int *given;
    } flags[] = {
        {"json", '\0', &out->json},
        {"help", 'h', &out->help},
        {"help-config", '\0', &out->help_config},
    };
    int given;
    enum kl_rc rc = kl_options_take(argc, argv, "config", 'c', &out->config, &given, err);

    if (rc == KL_OK) {
        rc = kl_options_take(argc, argv, "hsm", '\0', &out->hsm, &given, err);
    }
    if (rc == KL_OK) {
        rc = kl_options_take(argc, argv, "control", '\0', &out->control, &given, err);
    }
    for (size_t i = 0; i < sizeof flags / sizeof flags[0] && rc == KL_OK; i++) {
        rc = kl_options_take(argc, argv, flags[i].name, flags[i].letter, NULL, flags[i].given, err);
    }
    /* Of commands, --version is a TMK's. */
    out->version = *argc > 1 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0);
    return rc;
}

/* No command is named: which there are. */
static int no_command(const char *group)
{
    int known;

    if (!group) {
        return kl_cli_usage(PROGRAM, "no command given (GROUP COMMAND)");
    }
    if (group[0] == '-') {
        return kl_cli_usage(PROGRAM, "unknown option %s", group);
    }
    known = list_commands(stderr, group, NULL) > 0;
    return known ? kl_cli_usage(PROGRAM, "no command given (%s COMMAND)", group)
                 : kl_cli_usage(PROGRAM, "unknown command \"%s\"", group);
}

static enum kl_rc choose_hsm(struct kl_config *config, const char *number, struct kl_err *err)
{
    unsigned hsm = 0;
    enum kl_rc rc = kl_options_number("--hsm", number, 1, KL_HSM_MAX, &hsm, err);

    return rc == KL_OK ? kl_config_choose_hsm(config, hsm, err) : rc;
}

static int only_asks(const struct kl_ctl_command *command)
{
    for (const struct kl_ctl_command *c = kl_ctl_control_commands; c->group; c++) {
        if (c == command) {
            return c->fn != kl_ctl_hsm_check; /* which opens the HSM itself */
        }
    }
    return 0;
}

/* What the command needs of the configuration, which may be nothing. */
static enum kl_rc configure(struct kl_ctl *ctl, const struct kl_ctl_command *command,
                            const struct globals *globals, struct kl_err *err)
{
    enum kl_rc rc;

    if (globals->control && (!only_asks(command) || globals->hsm || !globals->control[0])) {
        return kl_err_set(err, KL_ERR_USAGE,
                          "--control SOCKET goes with what is asked of the daemon alone (status, "
                          "sessions, reload, drain, log-level, hsm, request), without --hsm");
    }
    if (globals->control || command->fn == kl_ctl_audit_verify) {
        return KL_OK;
    }
    rc = kl_config_load(globals->config, &ctl->config, err);
    return rc == KL_OK && globals->hsm ? choose_hsm(&ctl->config, globals->hsm, err) : rc;
}

/* Loads the configuration and runs one command; returns the exit status. */
static int run(const struct kl_ctl_command *command, const struct globals *globals, int argc,
               char **argv)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_ctl ctl = {.json = globals->json,
                         .config_path = globals->config,
                         .control = globals->control};
    enum kl_rc rc = configure(&ctl, command, globals, &err);

    if (rc == KL_OK) {
        rc = command->fn(&ctl, argc, argv, &err);
    }
    kl_ctl_close(&ctl);
    kl_config_wipe(&ctl.config);
    if (rc == KL_ERR_USAGE) {
        return kl_cli_usage(PROGRAM, "%s%s%s: %s", command->group, *command->name ? " " : "",
                            command->name, err.text);
    }
    if (rc == KL_OK && (fflush(stdout) != 0 || ferror(stdout))) {
        rc = kl_err_set(&err, KL_ERR_IO, "cannot write to standard output");
    }
    return rc == KL_OK ? 0 : kl_cli_fail(PROGRAM, &err);
}

int main(int argc, char **argv)
{
    struct globals globals = {.config = KL_CONFIG_PATH};
    const struct kl_ctl_command *command;
    const char *group, *name;
    struct kl_err err = KL_ERR_INIT;
    int skip;

    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is a full disk, no death */
    if (kl_secret_setup(&err) != KL_OK) {
        return kl_cli_fail(PROGRAM, &err);
    }
    if (take_globals(&argc, argv, &globals, &err) != KL_OK) {
        return kl_cli_usage(PROGRAM, "%s", err.text);
    }
    group = argc > 1 ? argv[1] : NULL;
    name = argc > 2 && argv[2][0] != '-' ? argv[2] : NULL;
    command = group ? find(group, "") : NULL; /* the group is the command */
    skip = command ? 1 : 2;
    command = !command && name ? find(group, name) : command;
    if (globals.help && (!group || command || find(group, name))) {
        help(group, command ? command->name : name);
        return 0;
    }
    if (globals.help_config) {
        kl_config_print_help(stdout);
        return 0;
    }
    if (globals.version) {
        kl_cli_version(PROGRAM);
        return 0;
    }
    if (!command && argc > 2 && group[0] != '-') {
        return kl_cli_usage(PROGRAM, name ? "unknown command \"%s %s\"" : "%s: unknown option %s",
                            group, argv[2]);
    }
    return command ? run(command, &globals, argc - skip, argv + skip) : no_command(group);
}
