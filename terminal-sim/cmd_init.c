/* SPDX-License-Identifier: BSD-2-Clause */
/* terminal-sim init: a terminal's folder and its PIN pad. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "conf/certfile.h"
#include "conf/options.h"
#include "terminal-sim/cmd.h"
#include "terminal-sim/terminal.h"

static const struct option options[] = {
    {"dir", required_argument, NULL, 'd'},
    {"serial", required_argument, NULL, 's'},
    {"pinpad-serial", required_argument, NULL, 'S'},
    {"root", required_argument, NULL, 'r'},
    {"pinpad", required_argument, NULL, 'k'},
    {"module", required_argument, NULL, 'm'},
    {"pin-source", required_argument, NULL, 'p'},
    {"so-pin-source", required_argument, NULL, 'o'},
    {0},
};

static enum kl_rc take_option(int c, char *const *argv, struct kl_terminal_setup *setup,
                              const char **kind, struct kl_err *err)
{
    const char **const place[128] = {
        ['d'] = &setup->dir,           ['s'] = &setup->serial,
        ['S'] = &setup->pinpad_serial, ['k'] = kind,
        ['m'] = &setup->module,        ['p'] = &setup->pin_source,
        ['o'] = &setup->so_pin_source,
    };

    if (c == 'r') {
        if (setup->root_count == KL_ANCHOR_MAX) {
            return kl_err_set(err, KL_ERR_USAGE, "--root at most %d times", KL_ANCHOR_MAX);
        }
        setup->roots[setup->root_count++] = optarg;
        return KL_OK;
    }
    if (c < 0 || c > 127 || !place[c]) {
        return kl_options_error(c, argv, err);
    }
    *place[c] = optarg;
    return KL_OK;
}

static enum kl_rc parse(int argc, char **argv, struct kl_terminal_setup *setup, struct kl_err *err)
{
    const char *kind = NULL;
    enum kl_rc rc = KL_OK;
    int c;

    kl_options_begin();
    while (!rc && (c = kl_options_next(argc, argv, options)) != -1) {
        rc = take_option(c, argv, setup, &kind, err);
    }
    if (!rc) {
        rc = kl_options_operands(argc, argv, 0, "", err);
    }
    if (!rc) {
        rc = kl_options_require("--dir", setup->dir, err);
    }
    if (!rc) {
        rc = kl_options_require("--serial", setup->serial, err);
    }
    if (!rc) {
        rc = kl_options_require("--pinpad-serial", setup->pinpad_serial, err);
    }
    if (!rc) {
        rc = kl_options_require("--root", setup->roots[0], err);
    }
    if (!rc) {
        rc = kl_options_require("--pinpad", kind, err);
    }
    if (rc) {
        return rc;
    }
    if (strcmp(kind, kl_pinpad_kinds[KL_PINPAD_MEMORY]) == 0) {
        setup->kind = KL_PINPAD_MEMORY;
        if (setup->module || setup->pin_source || setup->so_pin_source) {
            return kl_err_set(err, KL_ERR_USAGE,
                              "--pinpad memory takes no --module, --pin-source, --so-pin-source");
        }
        return KL_OK;
    }
    if (strcmp(kind, kl_pinpad_kinds[KL_PINPAD_TOKEN]) != 0) {
        return kl_err_set(err, KL_ERR_USAGE, "--pinpad is token or memory");
    }
    setup->kind = KL_PINPAD_TOKEN;
    rc = kl_options_require("--module", setup->module, err);
    if (!rc) {
        rc = kl_options_require("--pin-source", setup->pin_source, err);
    }
    if (!rc) {
        rc = kl_options_require("--so-pin-source", setup->so_pin_source, err);
    }
    return rc;
}

/* Whoever makes a terminal with such roots learns it here, not at the first load. */
static void warn_of_time(const char *path)
{
    struct kl_err ignored = KL_ERR_INIT;
    STACK_OF(X509) *roots = NULL;

    if (kl_cert_load_pem(path, &roots, &ignored) != KL_OK) {
        return;
    }
    for (int i = 0; i < sk_X509_num(roots); i++) {
        const X509 *root = sk_X509_value(roots, i);

        if (X509_cmp_current_time(X509_get0_notBefore(root)) > 0) {
            fprintf(stderr, "terminal-sim: warning: %s is not yet valid; is the clock right?\n",
                    path);
        } else if (X509_cmp_current_time(X509_get0_notAfter(root)) < 0) {
            fprintf(stderr, "terminal-sim: warning: %s has expired: no load will succeed\n", path);
        }
    }
    sk_X509_pop_free(roots, X509_free);
}

enum kl_rc kl_terminal_cmd_init(int argc, char **argv, int *status, struct kl_err *err)
{
    struct kl_terminal_setup setup = {0};
    enum kl_rc rc = parse(argc, argv, &setup, err);

    (void)status;
    if (!rc) {
        rc = kl_terminal_init(&setup, err);
    }
    if (!rc) {
        for (size_t i = 0; i < setup.root_count; i++) {
            warn_of_time(setup.roots[i]);
        }
        printf("terminal %s, PIN pad %s (%s): %s\n", setup.serial, setup.pinpad_serial,
               kl_pinpad_kinds[setup.kind], setup.dir);
    }
    return rc;
}
