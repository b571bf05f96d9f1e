/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * acquire-ca: the CA centre (module 301). Founds a certification authority for key loaders,
 * signs their requests, lists what it has signed.
 */
#include <stdio.h>
#include <string.h>

#include "ca/ca.h"
#include "conf/cli.h"
#include "conf/options.h"
#include "proto/secret.h"

#define PROGRAM "acquire-ca"

static const struct kl_ca_command commands[] = {
    {"token-init", kl_ca_cmd_token_init,
     "--module PATH --label L [--so-pin-source SRC] [--pin-source SRC]",
     "    Initialise a PKCS#11 token for the CA's key; PINs are read, never typed as options.\n"},
    {"init", kl_ca_cmd_init, "--dir DIR --subject NAME --days N (--token URI | --pem) [OPTIONS]",
     "    Make AcquireRCRT_Prk and its self-signed certificate AcquireRCRT, DIR/root.pem.\n"
     "    --subject NAME     \"/C=CN/O=Bank/CN=Root\" or \"CN=Root,O=Bank,C=CN\"\n"
     "    --bits N           2048, 3072 (default) or 4096\n"
     "    --token URI        RFC 7512 URI of the token that is to hold the key\n"
     "    --module PATH      PKCS#11 module, unless the URI has a module-path\n"
     "    --init-reserved S  the module's own initialisation string\n"
     "    --key-label L      label of the key in the token (default " KL_CA_KEY_LABEL ")\n"
     "    --pem              an encrypted file DIR/" KL_CA_PEM_FILE " instead of a token\n"
     "    --pin-source SRC   of the PIN or passphrase; is remembered in DIR/ca.conf\n"
     "    --json             print the certificate as JSON\n"},
    {"sign", kl_ca_cmd_sign, "--dir DIR --csr FILE --out FILE --days N [OPTIONS]",
     "    Check a loader's request (PKCS#10, PEM) and sign AcquireWCRT.\n"
     "    --out FILE         where AcquireWCRT goes; - is standard output, and nothing else is\n"
     "                       printed there then\n"
     "    --force            overwrite the --out file\n"
     "    --pin-source SRC   instead of the one in DIR/ca.conf\n"
     "    --json             print the certificate as JSON\n"},
    {"list", kl_ca_cmd_list, "--dir DIR [--json]", "    Every certificate signed so far.\n"},
    {"show", kl_ca_cmd_show, "--dir DIR [--json] SERIAL|root", "    One certificate.\n"},
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static void help(const char *only)
{
    printf("Usage: %s COMMAND [OPTIONS]\n       %s --help | --version\n\n", PROGRAM, PROGRAM);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (!only || strcmp(only, commands[i].name) == 0) {
            printf("%s %s\n%s\n", commands[i].name, commands[i].synopsis, commands[i].help);
        }
    }
    printf("%s"
           "--json, where a command has it, may also come before the command.\n"
           "Exit status: 0, or as in <sysexits.h>.\n",
           KL_OPTIONS_SRC_HELP);
}

static const struct kl_ca_command *find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct kl_err err = KL_ERR_INIT;
    const struct kl_ca_command *command;
    const char *name;

    if (kl_secret_setup(&err) != KL_OK) {
        return kl_cli_fail(PROGRAM, &err);
    }
    if (argc < 2) {
        return kl_cli_usage(PROGRAM, "no command given");
    }
    kl_options_json_first(argc, argv);
    name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        help(NULL);
        return 0;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        kl_cli_version(PROGRAM);
        return 0;
    }
    command = find(name);
    if (!command) {
        return kl_cli_usage(PROGRAM, "unknown command \"%s\"", name);
    }
    if (kl_options_wants_help(argc, argv)) {
        help(name);
        return 0;
    }
    enum kl_rc rc = command->fn(argc - 1, argv + 1, &err);
    if (rc == KL_ERR_USAGE) {
        return kl_cli_usage(PROGRAM, "%s: %s", name, err.text);
    }
    return rc == KL_OK ? 0 : kl_cli_fail(PROGRAM, &err);
}
