/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl: the operators' tool. Key ceremony, work certificate, terminals and their TMKs.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "conf/cli.h"
#include "conf/options.h"
#include "daemon/ctl.h"
#include "proto/secret.h"

#define PROGRAM "keyloaderctl"

static const struct kl_ctl_command *const tables[] = {
    kl_ctl_key_commands,
    kl_ctl_cert_commands,
    kl_ctl_terminal_commands,
    kl_ctl_tmk_commands,
};
#define TABLE_COUNT (sizeof tables / sizeof tables[0])

/* Prints one command, or all of them. */
static void help(const struct kl_ctl_command *only)
{
    printf("Usage: %s [-c FILE] [--json] GROUP COMMAND [OPTIONS]\n\n", PROGRAM);
    for (size_t i = 0; i < TABLE_COUNT; i++)
        for (const struct kl_ctl_command *c = tables[i]; c->group; c++)
            if (!only || only == c)
                printf("  %s %s %s\n      %s\n", c->group, c->name, c->synopsis, c->help);
    printf("\n  -c, --config FILE  configuration (default %s)\n"
           "      --json         print results as JSON\n"
           "      --help-config  print every configuration key with its default\n"
           "      --help         this text; after a command, its own part of it\n"
           "      --version      print the version\n\n"
           "SRC is file:PATH (mode 0600), credential:NAME (systemd's LoadCredential=) or prompt.\n"
           "Exit status: 0, or as in <sysexits.h>.\n",
           KL_CONFIG_PATH);
}

static const struct kl_ctl_command *find(const char *group, const char *name)
{
    for (size_t i = 0; i < TABLE_COUNT; i++)
        for (const struct kl_ctl_command *c = tables[i]; c->group; c++)
            if (strcmp(c->group, group) == 0 && strcmp(c->name, name) == 0)
                return c;
    return NULL;
}

static int wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0)
            return 1;
    return 0;
}

/* Loads the configuration and runs one command; returns the exit status. */
static int run(const struct kl_ctl_command *command, const char *config, int json, int argc,
               char **argv)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_ctl ctl = {.json = json};
    enum kl_rc rc = kl_config_load(config, &ctl.config, &err);

    if (rc != KL_OK)
        return kl_cli_fail(PROGRAM, &err);
    rc = command->fn(&ctl, argc, argv, &err);
    kl_config_wipe(&ctl.config);
    if (rc == KL_ERR_USAGE)
        return kl_cli_usage(PROGRAM, "%s %s: %s", command->group, command->name, err.text);
    if (rc == KL_OK && (fflush(stdout) != 0 || ferror(stdout)))
        rc = kl_err_set(&err, KL_ERR_IO, "cannot write to standard output");
    return rc == KL_OK ? 0 : kl_cli_fail(PROGRAM, &err);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},         {"help-config", no_argument, NULL, 'H'},
        {"version", no_argument, NULL, 'V'},      {0},
    };
    const struct kl_ctl_command *command;
    const char *config = KL_CONFIG_PATH;
    struct kl_err err = KL_ERR_INIT;
    int c, json = 0;

    if (kl_secret_setup(&err) != KL_OK)
        return kl_cli_fail(PROGRAM, &err);
    kl_options_begin();
    while ((c = getopt_long(argc, argv, "+:c:hV", options, NULL)) != -1) {
        switch (c) {
        case 'c':
            config = optarg;
            break;
        case 'j':
            json = 1;
            break;
        case 'h':
            help(NULL);
            return 0;
        case 'H':
            kl_config_print_help(stdout);
            return 0;
        case 'V':
            kl_cli_version(PROGRAM);
            return 0;
        default:
            kl_options_error(c, argv, &err);
            return kl_cli_usage(PROGRAM, "%s", err.text);
        }
    }
    if (argc - optind < 2)
        return kl_cli_usage(PROGRAM, "no command given (GROUP COMMAND)");
    command = find(argv[optind], argv[optind + 1]);
    if (!command)
        return kl_cli_usage(PROGRAM, "unknown command \"%s %s\"", argv[optind], argv[optind + 1]);
    if (wants_help(argc - optind - 2, argv + optind + 2)) {
        help(command);
        return 0;
    }
    return run(command, config, json, argc - optind - 1, argv + optind + 1);
}
