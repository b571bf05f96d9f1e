/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tests/support/relay.h from a command line, for scripts: prints "port N" once it listens, and
 * runs until it is told to end.
 */
#include <err.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "tests/support/relay.h"

static void usage(FILE *out)
{
    fputs("usage: relay [--listen PORT] --connect PORT [--record FILE] [ACTION]\n"
          "A man in the middle on 127.0.0.1. Messages count from 0: Hello, Certificate, Randoms,\n"
          "MasterKey, Loaded, Done. ACTION is one of\n"
          "  --flip MESSAGE:BYTE:BIT   flips one bit (bytes 0 and 1 are the frame's length)\n"
          "  --replace MESSAGE:FILE    sends FILE in its place\n"
          "  --drop MESSAGE            swallows it and all that follow\n"
          "  --cut MESSAGE             closes both sides in its place\n"
          "  --drip MESSAGE            passes it on at one byte a second\n",
          out);
}

static unsigned long number(const char *text, char end, char **rest, unsigned long max)
{
    char *after;
    unsigned long value = strtoul(text, &after, 10);
    if (after == text || *after != end || value > max) {
        errx(EX_USAGE, "'%s' is not of the form that --help shows", text);
    }
    *rest = after + (end != '\0');
    return value;
}

/* The file, as far as a frame goes; static storage. */
static uint8_t *slurp(const char *path, size_t *len)
{
    static uint8_t data[2 + 65535];
    FILE *f = fopen(path, "rbe");
    if (f == NULL) {
        err(EX_NOINPUT, "%s", path);
    }
    *len = fread(data, 1, sizeof data, f);
    fclose(f);
    return data;
}

static void parse_action(struct relay_plan *plan, enum relay_act act, const char *arg)
{
    char *rest;
    int more = act == RELAY_FLIP || act == RELAY_REPLACE;
    if (plan->act != RELAY_PASS) {
        errx(EX_USAGE, "only one action at a time");
    }
    plan->act = act;
    plan->message = (unsigned)number(arg, more ? ':' : '\0', &rest, 64);
    if (act == RELAY_FLIP) {
        plan->byte = number(rest, ':', &rest, 65536);
        plan->bit = (unsigned)number(rest, '\0', &rest, 7);
    } else if (act == RELAY_REPLACE) {
        plan->data = slurp(rest, &plan->len);
    }
}

int main(int argc, char **argv)
{
    enum { LISTEN = 256, CONNECT, RECORD, HELP };
    static const struct option options[] = {{"listen", required_argument, NULL, LISTEN},
                                            {"connect", required_argument, NULL, CONNECT},
                                            {"record", required_argument, NULL, RECORD},
                                            {"flip", required_argument, NULL, RELAY_FLIP},
                                            {"replace", required_argument, NULL, RELAY_REPLACE},
                                            {"drop", required_argument, NULL, RELAY_DROP},
                                            {"cut", required_argument, NULL, RELAY_CUT},
                                            {"drip", required_argument, NULL, RELAY_DRIP},
                                            {"help", no_argument, NULL, HELP},
                                            {NULL, 0, NULL, 0}};
    struct relay_plan plan = {.act = RELAY_PASS};
    unsigned long from = 0, to = 0;
    char *rest;
    int opt, signal_number;
    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (opt) {
        case LISTEN:
            from = number(optarg, '\0', &rest, 65535);
            break;
        case CONNECT:
            to = number(optarg, '\0', &rest, 65535);
            break;
        case RECORD:
            plan.record = optarg;
            break;
        case HELP:
            usage(stdout);
            return 0;
        case '?':
            usage(stderr);
            return EX_USAGE;
        default:
            parse_action(&plan, (enum relay_act)opt, optarg);
        }
    }
    if (to == 0 || optind != argc) {
        usage(stderr);
        return EX_USAGE;
    }
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    struct relay *relay = relay_start((uint16_t)from, (uint16_t)to, &plan);
    if (relay == NULL) {
        err(EX_OSERR, "cannot listen on 127.0.0.1:%lu", from);
    }
    printf("port %u\n", relay_port(relay));
    fflush(stdout);
    sigwait(&ends, &signal_number);
    relay_stop(relay);
    return 0;
}
