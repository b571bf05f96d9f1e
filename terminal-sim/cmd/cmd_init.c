/* SPDX-License-Identifier: BSD-2-Clause */
/* terminal-sim init: a terminal's folder and its PIN pad. */
#include <stdio.h>
#include <string.h>

#include "conf/certfile.h"
#include "conf/options.h"
#include "terminal-sim/cmd/cmd.h"
#include "terminal-sim/terminal.h"

static enum kl_rc take_root(const char *value, void *out, struct kl_err *err)
{
    struct kl_terminal_setup *setup = out;

    if (setup->root_count == KL_ANCHOR_MAX) {
        return kl_err_set(err, KL_ERR_USAGE, "at most %d times", KL_ANCHOR_MAX);
    }
    setup->roots[setup->root_count++] = value;
    return KL_OK;
}

static enum kl_rc take_kind(const char *value, void *out, struct kl_err *err)
{
    enum kl_pinpad_kind *kind = out;

    if (strcmp(value, kl_pinpad_kinds[KL_PINPAD_MEMORY]) == 0) {
        *kind = KL_PINPAD_MEMORY;
    } else if (strcmp(value, kl_pinpad_kinds[KL_PINPAD_TOKEN]) == 0) {
        *kind = KL_PINPAD_TOKEN;
    } else {
        return kl_err_set(err, KL_ERR_USAGE, "must be token or memory");
    }
    return KL_OK;
}

static enum kl_rc parse(int argc, char **argv, struct kl_terminal_setup *setup, struct kl_err *err)
{
    const struct kl_option options[] = {
        {"--dir", 1, .text = &setup->dir},
        {"--serial", 1, .text = &setup->serial},
        {"--pinpad-serial", 1, .text = &setup->pinpad_serial},
        {"--root", 1, .take = take_root, .out = setup},
        {"--pinpad", 1, .take = take_kind, .out = &setup->kind},
        {"--module", .text = &setup->module},
        {"--init-reserved", .text = &setup->init_reserved},
        {"--existing-token", .flag = &setup->existing_token},
        {"--pin-source", .text = &setup->pin_source},
        {"--so-pin-source", .text = &setup->so_pin_source},
        {0},
    };
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    if (rc) {
        return rc;
    }
    if (setup->kind == KL_PINPAD_MEMORY) {
        return setup->module || setup->init_reserved || setup->existing_token ||
                       setup->pin_source || setup->so_pin_source
                   ? kl_err_set(err, KL_ERR_USAGE,
                                "--pinpad memory takes no --module, --init-reserved, "
                                "--existing-token, --pin-source, --so-pin-source")
                   : KL_OK;
    }
    rc = kl_options_require("--module", setup->module, err);
    if (!rc) {
        rc = kl_options_require("--pin-source", setup->pin_source, err);
    }
    if (!rc && !setup->existing_token) {
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
