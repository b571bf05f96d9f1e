/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * terminal-sim replay: an attacker with a recording. Sends a recorded terminal's messages byte for
 * byte, each after the loader's answer to the one before, and tells how far that got.
 */
#include <stdio.h>

#include "conf/options.h"
#include "terminal-sim/cmd/cmd.h"
#include "terminal-sim/refusal.h"
#include "terminal-sim/transceiver.h"

enum outcome { GOES_ON, REFUSED, ACCEPTED };

static enum kl_rc parse(int argc, char **argv, const char **address, uint64_t *seconds,
                        struct kl_err *err)
{
    const struct kl_option options[] = {
        {"--connect", 1, .text = address},
        {"--timeout", .take = kl_transceiver_take_timeout, .out = seconds},
        {0},
    };

    return kl_options_parse(argc, argv, options, "FILE", err);
}

/* The next message of the terminal's in the recording; *len 0: there is none. */
static enum kl_rc next_sent(FILE *file, uint8_t der[KL_MSG_MAX], size_t *len, struct kl_err *err)
{
    int direction;
    enum kl_rc rc;

    do {
        *len = 0;
        rc = kl_transceiver_read_record(file, &direction, der, len, err);
    } while (!rc && direction == '<');
    return rc;
}

/* What the loader answers. A closed connection is a refusal; silence is neither. */
static enum kl_rc hear(struct kl_transceiver *transceiver, enum outcome *outcome,
                       struct kl_err *err)
{
    uint8_t der[KL_MSG_MAX];
    struct kl_err peer = KL_ERR_INIT;
    struct kl_msg msg;
    size_t len;
    enum kl_rc rc = kl_transceiver_receive(transceiver, der, &len, err);

    if (rc == KL_ERR_CLOSED) {
        printf("< closed\n");
        *outcome = REFUSED;
        return KL_OK;
    }
    if (!rc) {
        rc = kl_msg_decode(der, len, &msg, err);
    }
    if (rc) {
        return rc;
    }
    printf("< %s (%zu bytes)\n", kl_msg_name(msg.type), len);
    if (msg.type == KL_MSG_ERROR) {
        *outcome = REFUSED;
        if (kl_refusal_heard(&msg.u.error, &peer)) {
            printf("%s\n", peer.text);
        }
    } else if (msg.type == KL_MSG_DONE) {
        *outcome = ACCEPTED;
    }
    return KL_OK;
}

static enum kl_rc replay(FILE *file, struct kl_transceiver *transceiver, enum outcome *outcome,
                         struct kl_err *err)
{
    uint8_t der[KL_MSG_MAX];
    size_t len;
    int sent = 0;
    enum kl_rc rc;

    do {
        rc = next_sent(file, der, &len, err);
        if (rc) {
            return rc;
        }
        if (len == 0) {
            return kl_err_set(err, KL_ERR_INPUT,
                              "the recording ends after %d messages without a verdict", sent);
        }
        printf("> message %d (%zu bytes)\n", ++sent, len);
        rc = kl_transceiver_send(transceiver, der, len, err);
        if (rc == KL_ERR_CLOSED) {
            rc = KL_OK; /* hear() says why */
        }
        if (!rc) {
            rc = hear(transceiver, outcome, err);
        }
    } while (!rc && *outcome == GOES_ON);
    return rc;
}

enum kl_rc kl_terminal_cmd_replay(int argc, char **argv, int *status, struct kl_err *err)
{
    struct kl_transceiver *transceiver = NULL;
    const char *address = NULL;
    uint64_t seconds = KL_TRANSCEIVER_SECONDS;
    enum outcome outcome = GOES_ON;
    FILE *file = NULL;
    enum kl_rc rc = parse(argc, argv, &address, &seconds, err);

    if (rc) {
        return rc;
    }
    file = fopen(argv[optind], "rb");
    if (!file) {
        return kl_err_errno(err, "fopen", "%s", argv[optind]);
    }
    rc = kl_transceiver_open(address, seconds, NULL, &transceiver, err);
    if (!rc) {
        rc = replay(file, transceiver, &outcome, err);
    }
    if (!rc) {
        printf("replay %s\n", outcome == REFUSED ? "refused" : "ACCEPTED");
        *status = outcome == REFUSED ? 0 : 1;
    }
    kl_transceiver_free(transceiver);
    fclose(file);
    return rc;
}
