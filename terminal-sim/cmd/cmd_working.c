/* SPDX-License-Identifier: BSD-2-Clause */
/* terminal-sim pin-block and mac: the working keys at work, as in a payment. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/options.h"
#include "pkcs11/pin.h"
#include "terminal-sim/cmd/cmd.h"
#include "terminal-sim/pinpad/working.h"

#define MESSAGE_MAX (1024 * 1024) /* bytes */
#define MAC_LENGTH_MIN 4

/* The PIN pad, which must have working keys to use; what is opened is the caller's, even on
 * failure. */
static enum kl_rc open_keys(const char *dir, struct kl_terminal_home **terminal,
                            struct kl_pinpad **pad, struct kl_err *err)
{
    struct kl_pinpad_pair keys;
    enum kl_rc rc = kl_cmd_open(dir, 0, terminal, pad, err);

    return rc ? rc : kl_terminal_usable_keys(*terminal, &keys, err);
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
    const struct kl_option options[] = {{"--dir", 1, .text = &dir},
                                        {"--pan", 1, .text = &pan},
                                        {"--format", 1, .text = &format},
                                        {"--pin-source", .text = &source},
                                        {0}};
    struct kl_terminal_home *terminal = NULL;
    struct kl_pinpad *pad = NULL;
    struct kl_pinpad_pair keys;
    struct kl_secret *pin = NULL;
    uint8_t block[KL_PINBLOCK4_LEN];
    size_t len = 0;
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

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
    if (!rc) { /* a sign-in may have come meanwhile */
        rc = kl_terminal_usable_keys(terminal, &keys, err);
    }
    if (!rc) {
        rc = kl_working_pin_block(pad, &keys, format[0] == '4' ? 4 : 0, pin, pan, block, &len, err);
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

enum kl_rc kl_terminal_cmd_mac(int argc, char **argv, int *status, struct kl_err *err)
{
    const char *dir = NULL, *in = NULL;
    unsigned padding = KL_MAC_PADDING_1, length = 0;
    const struct kl_option options[] = {{"--dir", 1, .text = &dir},
                                        {"--in", 1, .text = &in},
                                        {"--padding", .number = &padding, .min = KL_MAC_PADDING_1,
                                         .max = KL_MAC_PADDING_2},
                                        {"--length", .number = &length, .min = MAC_LENGTH_MIN,
                                         .max = KL_MAC_LEN},
                                        {0}};
    struct kl_terminal_home *terminal = NULL;
    struct kl_pinpad *pad = NULL;
    struct kl_pinpad_pair keys;
    uint8_t mac[KL_MAC_LEN], *message = NULL;
    size_t message_len = 0, len = 0;
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    (void)status;
    if (!rc) {
        rc = open_keys(dir, &terminal, &pad, err);
    }
    if (!rc) {
        rc = read_message(in, &message, &message_len, err);
    }
    if (!rc) { /* a sign-in may have come meanwhile */
        rc = kl_terminal_usable_keys(terminal, &keys, err);
    }
    if (!rc) {
        rc = kl_working_mac(pad, &keys, (enum kl_mac_padding)padding, message, message_len, mac,
                            &len, err);
    }
    if (!rc && length > len) {
        rc = kl_err_set(err, KL_ERR_INPUT, "--length: the MAC has no more than %zu bytes", len);
    }
    if (!rc) {
        print_hex(mac, length ? length : len);
    }
    free(message);
    kl_pinpad_free(pad);
    kl_terminal_free(terminal);
    return rc;
}
