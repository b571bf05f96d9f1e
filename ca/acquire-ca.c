/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * acquire-ca: the CA centre (module 301). Founds a certification authority for key loaders and
 * terminals, signs their requests, lists and revokes what it has signed.
 */
#include <stdio.h>
#include <string.h>

#include "ca/ca.h"
#include "conf/cli.h"
#include "conf/options.h"
#include "proto/secret.h"

#define PROGRAM "acquire-ca"

#define SIGN_OPTIONS \
    "    --no-crl           a certificate that may be used without a CRL; any other is refused\n" \
    "                       where there is no current one of its kind\n" \
    "    --out FILE         where the certificate goes; - is standard output, and nothing else " \
    "is\n" \
    "                       printed there then\n" \
    "    --force            overwrite the --out file\n" \
    "    --pin-source SRC   instead of the one in DIR/ca.conf\n" \
    "    --json             print the certificate as JSON\n"

static const struct kl_ca_command commands[] = {
    {"token-init", kl_ca_cmd_token_init,
     "--module PATH --label L [--so-pin-source SRC] [--pin-source SRC]",
     "    Initialise a PKCS#11 token for the CA's key; PINs are read, never typed as options.\n"},
    {"init", kl_ca_cmd_init, "--dir DIR --subject NAME --days N (--token URI | --pem) [OPTIONS]",
     "    Make AcquireRCRT_Prk and its self-signed certificate AcquireRCRT, DIR/root.pem.\n"
     "    --subject NAME     \"/C=CN/O=Bank/CN=Root\" or \"CN=Root,O=Bank,C=CN\"\n"
     "    --key KIND         rsa-2048, rsa-3072 (default), rsa-4096, p-256, p-384 or p-521\n"
     "    --token URI        RFC 7512 URI of the token that is to hold the key\n"
     "    --module PATH      PKCS#11 module, unless the URI has a module-path\n"
     "    --init-reserved S  the module's own initialisation string\n"
     "    --key-label L      label of the key in the token (default " KL_CA_KEY_LABEL ")\n"
     "    --pem              an encrypted file DIR/" KL_CA_PEM_FILE " instead of a token\n"
     "    --pin-source SRC   of the PIN or passphrase; is remembered in DIR/ca.conf\n"
     "    --json             print the certificate as JSON\n"},
    {"sign", kl_ca_cmd_sign, "--dir DIR --csr FILE --out FILE --days N [OPTIONS]",
     "    Check a loader's request (PKCS#10, PEM, RSA or EC) and sign AcquireWCRT.\n" SIGN_OPTIONS},
    {"terminal", kl_ca_cmd_terminal,
     "sign --dir DIR --serial SN --out FILE [--days N] [OPTIONS] REQUEST",
     "    Check a terminal's request and sign its device certificate. A key that was certified "
     "for\n"
     "    another terminal, or for a loader, is refused, as a terminal's key is by \"sign\".\n"
     "    --serial SN        the terminal's serial, to be confirmed: the request's subject must\n"
     "                       have it as its one serialNumber\n"
     "    --days N           5 years, or as long as the root lasts, unless given\n" SIGN_OPTIONS},
    {"revoke", kl_ca_cmd_revoke, "--dir DIR [--reason REASON] [--json] SERIAL",
     "    Revoke a certificate, for ever. Again is no error; the first time and reason stand.\n"
     "    --reason REASON    keyCompromise (whose key is never certified again), superseded,\n"
     "                       cessationOfOperation or unspecified (default)\n"},
    {"crl", kl_ca_cmd_crl, "--dir DIR --scope loader|terminal --out FILE [OPTIONS]",
     "    Sign a new certificate revocation list: for terminals to check loaders by (loader), or\n"
     "    for loaders to check terminals by (terminal).\n"
     "    --days N           until the next one must be there (default 90, at most 366)\n"
     "    --out FILE         where the CRL goes; - is standard output\n"
     "    --force            overwrite the --out file\n"
     "    --pin-source SRC   instead of the one in DIR/ca.conf\n"
     "    --json             print what it is as JSON\n"},
    {"list", kl_ca_cmd_list, "--dir DIR [--json]",
     "    Every certificate signed so far: loader or terminal; valid, expired or revoked.\n"},
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
    if (!only) {
        printf("Every DIR is a CA of its own. To roll over to a new root, init a second one, give\n"
               "its root.pem to loaders and terminals beside the old one, then sign anew with it;\n"
               "the old DIR goes on making CRLs until the last of its certificates has expired.\n"
               "\n");
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
