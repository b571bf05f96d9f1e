/* SPDX-License-Identifier: BSD-2-Clause */
/* terminal-sim: a POS terminal and its PIN pad, honest ("load") and otherwise ("replay"). */
#include <stdio.h>
#include <string.h>

#include "conf/cli.h"
#include "conf/options.h"
#include "proto/secret.h"
#include "terminal-sim/cmd/cmd.h"

#define PROGRAM "terminal-sim"

static const struct command {
    const char *name;
    enum kl_rc (*run)(int argc, char **argv, int *status, struct kl_err *err);
    const char *synopsis, *help;
} commands[] = {
    {"init", kl_terminal_cmd_init,
     "--dir DIR --serial SN --pinpad-serial SNP --root FILE --pinpad KIND [OPTIONS]",
     "    Make a terminal: its folder DIR and its PIN pad.\n"
     "    --root FILE          AcquireRCRT (PEM); all that it will trust. May be given again\n"
     "    --pinpad token       a PKCS#11 token of its own, labelled SNP; with\n"
     "      --module PATH        the PKCS#11 module. SoftHSM finds its tokens through\n"
     "                           SOFTHSM2_CONF, which is the caller's to set, here and later\n"
     "      --pin-source SRC     of the token's new PIN; remembered in DIR/terminal.conf\n"
     "      --so-pin-source SRC  of its new SO PIN; not remembered\n"
     "      --init-reserved S    the module's own initialisation string; remembered\n"
     "      --existing-token     the token is there, with that label and PIN: make none\n"
     "    --pinpad memory      keys live only as long as the process\n"},
    {"load", kl_terminal_cmd_load, "--dir DIR --connect HOST:PORT [OPTIONS]",
     "    Load a TMK. A candidate of an earlier, interrupted load is put to the loader first\n"
     "    (as by 'confirm'); if that makes it the active TMK, the command is done.\n"
     "    --algorithms LIST    offered, preferred first: tdes2,tdes3,aes128,aes192,aes256\n"
     "    --suites LIST        offered, preferred first (default hardened-ec,hardened-rsa; also\n"
     "                         classic)\n"
     "    --timeout T          for each connection (default 15s)\n"
     "    --fresh              go on with a load even if a candidate became active, or the PIN\n"
     "                         pad lacks one that the loader may count as active\n"
     "    --abandon-candidate  go on with a load even if the loader settles nothing; the\n"
     "                         candidate stays until a later Done proves it superseded, but\n"
     "                         where there is no room the oldest one is destroyed\n"
     "    --abandon-all        the same, and every candidate that the loader has not settled is\n"
     "                         destroyed: where one keeps loads out by too high a version\n"
     "    --record FILE        write every message of the load to FILE, for 'replay'\n"
     "    --verbose            a line for each step of the method\n"
     "    --json               the result as JSON; --verbose goes to stderr then\n"},
    {"confirm", kl_terminal_cmd_confirm,
     "--dir DIR --connect HOST:PORT [--timeout T] [--verbose] [--json]",
     "    Ask the loader what became of the candidates, and settle them.\n"},
    {"pinpad", kl_terminal_cmd_pinpad, "show --dir DIR [--json]",
     "    What the PIN pad holds: version, algorithm, KCV and state of each TMK: active,\n"
     "    unconfirmed (not yet settled with the loader), stray (never used), missing or lost\n"
     "    (an active TMK or a candidate that it should hold); the working keys: active, in-doubt\n"
     "    (after a sign-in that got no answer) or missing; the device key. No command can read a\n"
     "    key.\n"},
    {"root", kl_terminal_cmd_root,
     "add --dir DIR FILE | list --dir DIR [--json] | remove --dir DIR FINGERPRINT",
     "    Which AcquireRCRTs the terminal trusts, at most 4, so that the next one is there before\n"
     "    the last one goes. FINGERPRINT: of the key, as 'list' shows it, or its first 8 "
     "digits.\n"},
    {"device-key", kl_terminal_cmd_device_key,
     "generate --dir DIR [--key KEY] [--replace] [--json] | csr --dir DIR --out FILE |\n"
     "           install --dir DIR FILE",
     "    The terminal's own key, in its PIN pad's token, and the certificate that names its\n"
     "    serial; with it a load proves who the terminal is.\n"
     "    --key KEY            p-256 (default), p-384, p-521, rsa-2048, rsa-3072, rsa-4096\n"
     "    --replace            destroy the one that is there, and its certificate\n"
     "    csr                  a request, for 'acquire-ca terminal sign'\n"
     "    install FILE         the certificate (PEM), and what is above it but the root\n"},
    {"sign-in", kl_terminal_cmd_sign_in, "--dir DIR --connect HOST:PORT [OPTIONS]",
     "    Get fresh working keys, PIK and MAK, under the TMK in use; the old ones go once the\n"
     "    loader has said that the new ones count. Where its word does not come, neither are used\n"
     "    until a sign-in ends well: pin-block and mac end with status 75.\n"
     "    --format keys        of the TMK's algorithm (default)\n"
     "    --format field62     TDES: the 40 bytes of field 62, with a MAK of single length\n"
     "    --timeout T, --verbose, --json   as for 'load'\n"},
    {"pin-block", kl_terminal_cmd_pin_block, "--dir DIR --pan PAN --format 0|4 [--pin-source SRC]",
     "    An ISO 9564-1 PIN block under the PIK, in hexadecimal: format 0 with a TDES key, format\n"
     "    4 with an AES one. The PIN, 4 to 12 digits, is asked for unless SRC is given.\n"},
    {"mac", kl_terminal_cmd_mac, "--dir DIR --in FILE [--padding 1|2] [--length N]",
     "    The MAC of a message (FILE, or - for standard input) under the MAK, in hexadecimal:\n"
     "    ISO 9797-1 algorithm 3 with a TDES key, AES-CMAC with an AES one.\n"
     "    --padding 1|2        ISO 9797-1 padding method (TDES; default 1)\n"
     "    --length N           its first N bytes, 4 or more (default: all, 8 or 16)\n"},
    {"replay", kl_terminal_cmd_replay, "--connect HOST:PORT [--timeout T] FILE",
     "    Send a recorded terminal's messages again. Exit status 0: the loader refused; 1: it\n"
     "    accepted the replay.\n"},
    {"fleet", kl_terminal_cmd_fleet,
     "--connect HOST:PORT --root FILE LOAD [OPTIONS] | --write-csv FILE [OPTIONS]",
     "    Very many terminals at once, in one process, whose PIN pads are in memory. LOAD is one "
     "of\n"
     "    --concurrency N      closed loop: N at once; who is done begins again after a pause\n"
     "      --think T            mean of the pause (default 0s)\n"
     "      --think-time KIND    fixed, uniform or exponential (default)\n"
     "    --rate R             open loop: R begin each second, whatever becomes of those before\n"
     "      --arrivals KIND      constant or poisson (default)\n"
     "    --storm              every terminal at once, as after a power cut\n"
     "      --spread T           evenly within T\n"
     "    --idle N             only, or besides: N connections on which nothing is said\n"
     "    Which terminals, and what they do:\n"
     "    --terminals N        how many there are (default 1000, at most 1000000)\n"
     "    --serial-prefix TEXT of serials (default F); PIN pads' begin with P and that\n"
     "    --first N            number in the first one's serial (default 1)\n"
     "    --suite MIX          each offers one, e.g. hardened-ec=3,hardened-rsa=1\n"
     "                         (default hardened-ec)\n"
     "    --algorithm MIX      each has one, e.g. aes128=9,tdes2 (default aes128)\n"
     "    --write-csv FILE     write them for 'keyloaderctl terminal import', and do no more\n"
     "    --root FILE          AcquireRCRT (PEM). May be given again\n"
     "    --rounds N           loads of each terminal (default 1; 0 no limit)\n"
     "    --sign-in PERCENT    so many are sign-ins instead, of terminals that have a TMK\n"
     "    --retry N            try again after busy, timeout, connect or reset, N times, when the\n"
     "                         loader says (default 0)\n"
     "    How long, and how:\n"
     "    --duration T         begin none after T (a number and us, ms, s, m or h; without: "
     "seconds;\n"
     "                         default: no limit)\n"
     "    --count N            begin N, loads and sign-ins (default: no limit)\n"
     "    --connections N      at once, at most, beside idle ones, with --rate and --storm "
     "(default as\n"
     "                         many as descriptors allow, up to 20000)\n"
     "    --source NET         connect from addresses of it, one for each terminal, e.g.\n"
     "                         127.0.0.0/8\n"
     "    --timeout T          for each connection (default 15s)\n"
     "    --seed N             the same arrivals and pauses as in a run with that seed\n"
     "    What is told:\n"
     "    --allow KINDS        failures that are as expected: busy,refused,timeout,connect,reset,\n"
     "                         protocol,check,voided,unstarted,in-doubt,cut-off,own\n"
     "    --max-errors N       so many others are, too (default 0)\n"
     "    --kcv-out FILE       CSV of the TMKs that the PIN pads hold at the end\n"
     "    --html FILE          the report as a page with plots\n"
     "    --json               the report as JSON\n"
     "    Exit status 0: as expected; 1: loads failed that were not to. SIGINT ends arrivals, "
     "then\n"
     "    reports; a second one cuts off what is under way.\n"},
    {"attack", kl_terminal_cmd_attack, "--list | --all | NAME... [--loader HOST:PORT] [OPTIONS]",
     "    Try to cheat the loader, and our own terminal, in every way that --list names. Each\n"
     "    attack is held (refused as it should be, and an honest session went well before and\n"
     "    after), broken, or inconclusive (it could not be made; it says why).\n"
     "    --list               the attacks: what each tries, cheats, needs; with --json as JSON\n"
     "    --all                all of them\n"
     "    --loader HOST:PORT   the loader under test; without it only terminals are cheated\n"
     "    --terminal DIR       a test terminal that this loader knows and that is armed. Attacks\n"
     "                         cost attempts, and candidates: use --arm, or arm it for 100\n"
     "    --serial SN, --pinpad-serial SNP, --root FILE   such a terminal without a folder\n"
     "    --arm PROGRAM        run as 'PROGRAM SN' before each attack, to arm the terminal anew\n"
     "    --no-load            leave out the honest load at the end, which ends the arming\n"
     "    --timeout T          for each session (default 15s)\n"
     "    --strict             what is inconclusive counts as failed\n"
     "    --tap, --json        results as TAP or JSON; --junit FILE: besides, as JUnit XML\n"
     "    --serve HOST:PORT    make one attack with the terminal that connects there: as rogue\n"
     "                         loader, or between it and --loader. NAME may be a file\n"
     "      --root-out FILE      the root that its good certificates are under\n"
     "    Exit status 0: held; 1: one is broken; 2: none is, but none held, or --strict and one "
     "is\n"
     "    inconclusive.\n"},
    {"scenario", kl_terminal_cmd_scenario,
     "run FILE... [--loader HOST:PORT] [OPTIONS] | check FILE... |\n"
     "           list [--json] | show NAME",
     "    Attacks of your own, from files; what is built in is such a file, too, and 'show' "
     "prints\n"
     "    it. check: is it a scenario, and are the recordings there that it names?\n"
     "    --loader, --terminal, --serial, --pinpad-serial, --root, --arm, --no-load, --timeout,\n"
     "    --strict, --tap, --json, --junit, and exit status, as for 'attack'\n"},
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void help(const struct command *only)
{
    size_t i;

    printf("Usage: %s COMMAND [OPTIONS]\n       %s --help | --version\n\n", PROGRAM, PROGRAM);
    for (i = 0; i < COMMAND_COUNT; i++) {
        if (!only || only == &commands[i]) {
            printf("%s %s\n%s\n", commands[i].name, commands[i].synopsis, commands[i].help);
        }
    }
    printf("%s"
           "--json, where a command has it, may also come before the command.\n"
           "Exit status: 0, or as in <sysexits.h>: 75 try again, 76 the loader refused or a check\n"
           "failed, 69 no loader or no token.\n",
           KL_OPTIONS_SRC_HELP);
}

static const struct command *find(const char *name)
{
    size_t i;

    for (i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct kl_err err = KL_ERR_INIT;
    const struct command *command;
    int status = 0;
    enum kl_rc rc;

    if (argc < 2) {
        return kl_cli_usage(PROGRAM, "no command given");
    }
    kl_options_json_first(argc, argv);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        help(NULL);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        kl_cli_version(PROGRAM);
        return 0;
    }
    command = find(argv[1]);
    if (!command) {
        return kl_cli_usage(PROGRAM, "unknown command \"%s\"", argv[1]);
    }
    if (kl_options_wants_help(argc, argv)) {
        help(command);
        return 0;
    }
    rc = kl_secret_setup(&err);
    if (!rc) {
        rc = command->run(argc - 1, argv + 1, &status, &err);
    }
    if (rc == KL_ERR_USAGE) {
        return kl_cli_usage(PROGRAM, "%s: %s", argv[1], err.text);
    }
    return rc ? kl_cli_fail(PROGRAM, &err) : status;
}
