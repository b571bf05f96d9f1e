/* SPDX-License-Identifier: BSD-2-Clause */
/* terminal-sim pin-block and mac: the working keys at work, as in a payment. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/cli.h"
#include "pkcs11/pin.h"
#include "terminal-sim/cmd.h"
#include "terminal-sim/working.h"

#define MESSAGE_MAX (1024 * 1024) /* bytes */
#define MAC_LENGTH_MIN 4

/* The PIN pad and the working keys in use. */
static enum kl_rc open_keys(const char *dir, struct kl_terminal_home **terminal,
                            struct kl_pinpad **pad, struct kl_err *err)
{
    enum kl_rc rc = kl_cmd_open(dir, 0, terminal, pad, err);

    if (!rc && kl_terminal_keys(*terminal)->number == 0) {
        rc = kl_err_set(err, KL_ERR_KEY, "the terminal has no working keys: run 'sign-in' first");
    }
    return rc;
}

static void print_hex(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        printf("%02X", data[i]);
    }
    printf("\n");
}

enum kl_rc kl_terminal_cmd_pin_block(int argc, char **argv, int *status, struct kl_err *err)
{
    const char *dir = NULL, *pan = NULL, *format = NULL, *source = NULL;
    const struct kl_cmd_value values[] = {{"--dir", 1, &dir, NULL},
                                          {"--pan", 1, &pan, NULL},
                                          {"--format", 1, &format, NULL},
                                          {"--pin-source", 0, &source, NULL},
                                          {0}};
    struct kl_terminal_home *terminal = NULL;
    struct kl_pinpad *pad = NULL;
    struct kl_secret *pin = NULL;
    uint8_t block[KL_PINBLOCK4_LEN];
    size_t len = 0;
    enum kl_rc rc = kl_cmd_parse(argc, argv, values, 0, "", err);

    (void)status;
    if (!rc && strcmp(format, "0") != 0 && strcmp(format, "4") != 0) {
        rc = kl_err_set(err, KL_ERR_USAGE, "--format is 0 (TDES) or 4 (AES)");
    }
    if (!rc) {
        rc = kl_pan_check(pan, err);
    }
    if (!rc) {
        rc = open_keys(dir, &terminal, &pad, err);
    }
    if (!rc) {
        rc = kl_pin_read(source, "Cardholder's PIN", &pin, err);
    }
    if (!rc) {
        rc = kl_working_pin_block(pad, kl_terminal_keys(terminal), format[0] == '4' ? 4 : 0, pin,
                                  pan, block, &len, err);
    }
    if (!rc) {
        print_hex(block, len);
    }
    kl_secret_free(pin);
    kl_pinpad_free(pad);
    kl_terminal_free(terminal);
    return rc;
}

/* The whole of a file, or of standard input ("-"); the caller frees. */
static enum kl_rc read_message(const char *path, uint8_t **out, size_t *len, struct kl_err *err)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    uint8_t *data = NULL;
    size_t n = 0;
    enum kl_rc rc = KL_OK;

    if (!file) {
        return kl_err_errno(err, "fopen", "%s", path);
    }
    data = malloc(MESSAGE_MAX + 1);
    if (!data) {
        rc = kl_err_set(err, KL_ERR_MEMORY, "no memory for a message");
    } else {
        n = fread(data, 1, MESSAGE_MAX + 1, file);
    }
    if (!rc && ferror(file)) {
        rc = kl_err_errno(err, "fread", "%s", path);
    } else if (!rc && n > MESSAGE_MAX) {
        rc = kl_err_set(err, KL_ERR_INPUT, "%s is longer than %d bytes", path, MESSAGE_MAX);
    }
    if (file != stdin) {
        fclose(file);
    }
    if (rc) {
        free(data);
    } else {
        *out = data;
        *len = n;
    }
    return rc;
}

static enum kl_rc parse_small(const char *name, const char *text, uint64_t min, uint64_t max,
                              uint64_t *out, struct kl_err *err)
{
    if (text && kl_parse_number(text, min, max, out, err)) {
        return kl_err_set(err, KL_ERR_USAGE, "%s is %d to %d", name, (int)min, (int)max);
    }
    return KL_OK;
}

enum kl_rc kl_terminal_cmd_mac(int argc, char **argv, int *status, struct kl_err *err)
{
    const char *dir = NULL, *in = NULL, *padding_text = NULL, *length_text = NULL;
    const struct kl_cmd_value values[] = {{"--dir", 1, &dir, NULL},
                                          {"--in", 1, &in, NULL},
                                          {"--padding", 0, &padding_text, NULL},
                                          {"--length", 0, &length_text, NULL},
                                          {0}};
    struct kl_terminal_home *terminal = NULL;
    struct kl_pinpad *pad = NULL;
    uint8_t mac[KL_MAC_LEN], *message = NULL;
    uint64_t padding = KL_MAC_PADDING_1, length = 0;
    size_t message_len = 0, len = 0;
    enum kl_rc rc = kl_cmd_parse(argc, argv, values, 0, "", err);

    (void)status;
    if (!rc) {
        rc = parse_small("--padding", padding_text, KL_MAC_PADDING_1, KL_MAC_PADDING_2, &padding,
                         err);
    }
    if (!rc) {
        rc = parse_small("--length", length_text, MAC_LENGTH_MIN, KL_MAC_LEN, &length, err);
    }
    if (!rc) {
        rc = open_keys(dir, &terminal, &pad, err);
    }
    if (!rc) {
        rc = read_message(in, &message, &message_len, err);
    }
    if (!rc) {
        rc = kl_working_mac(pad, kl_terminal_keys(terminal), (enum kl_mac_padding)padding, message,
                            message_len, mac, &len, err);
    }
    if (!rc && length > len) {
        rc = kl_err_set(err, KL_ERR_INPUT, "--length: the MAC has no more than %zu bytes", len);
    }
    if (!rc) {
        print_hex(mac, length ? (size_t)length : len);
    }
    free(message);
    kl_pinpad_free(pad);
    kl_terminal_free(terminal);
    return rc;
}
