/* SPDX-License-Identifier: BSD-2-Clause */
/* The files of a terminal's folder, and making a new one. */
#include "terminal-sim/folder.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/cli.h"
#include "conf/ini.h"
#include "pkcs11/ceremony.h"
#include "proto/message.h"
#include "terminal-sim/terminal.h"

const char *const kl_pinpad_kinds[] = {
    [KL_PINPAD_TOKEN] = "token", [KL_PINPAD_MEMORY] = "memory", NULL};

#define AT(member) offsetof(struct kl_folder_conf, member)
static const struct kl_ini_key table[] = {
    {"terminal", "serial", KL_INI_STRING, AT(serial), 1, KL_SERIAL_MAX, NULL, NULL,
     "the terminal's serial number (SN)"},
    {"pinpad", "serial", KL_INI_STRING, AT(pinpad_serial), 1, KL_SERIAL_MAX, NULL, NULL,
     "the PIN pad's serial number (SNpinpad)"},
    {"pinpad", "kind", KL_INI_CHOICE, AT(kind), 0, 0, NULL, kl_pinpad_kinds,
     "a PKCS#11 token, or memory whose keys end with the process"},
    {"pinpad", "module", KL_INI_STRING, AT(module), 0, PATH_MAX - 1, "", NULL,
     "kind token: the PKCS#11 module"},
    {"pinpad", "init-reserved", KL_INI_STRING, AT(init_reserved), 0, 900, "", NULL,
     "kind token: the module's own initialisation string"},
    {"pinpad", "token", KL_INI_STRING, AT(token), 0, 255, "", NULL,
     "kind token: RFC 7512 URI of the token"},
    {"pinpad", "pin-source", KL_INI_STRING, AT(pin_source), 0, PATH_MAX - 1, "", NULL,
     "kind token: where its PIN is read from"},
};
#define TABLE_COUNT (sizeof(table) / sizeof(table[0]))

enum kl_rc kl_folder_path(const char *dir, const char *name, char out[PATH_MAX], struct kl_err *err)
{
    if (snprintf(out, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "the path of the folder is too long");
    }
    return KL_OK;
}

static enum kl_rc check_serials(const char *serial, const char *pinpad_serial, struct kl_err *err)
{
    enum kl_rc rc = kl_serial_check("serial", serial, err);

    return rc ? rc : kl_serial_check("PIN pad serial", pinpad_serial, err);
}

enum kl_rc kl_folder_load_conf(const char *path, struct kl_folder_conf *out, struct kl_err *err)
{
    struct kl_folder_conf conf = {0};
    enum kl_rc rc = kl_ini_load(path, table, TABLE_COUNT, &conf, err);

    if (rc) {
        return rc;
    }
    if ((rc = check_serials(conf.serial, conf.pinpad_serial, err))) {
        err->rc = KL_ERR_CONFIG;
        rc = kl_err_context(err, "%s", path);
    } else if (conf.kind == KL_PINPAD_TOKEN &&
               (!*conf.module || !*conf.token || !*conf.pin_source)) {
        rc = kl_err_set(err, KL_ERR_CONFIG, "%s: kind token needs module, token and pin-source",
                        path);
    }
    if (rc) {
        kl_folder_wipe_conf(&conf);
    } else {
        *out = conf;
    }
    return rc;
}

void kl_folder_wipe_conf(struct kl_folder_conf *conf)
{
    kl_ini_wipe(table, TABLE_COUNT, conf);
}

/* ---- A new folder ---- */

static enum kl_rc check_setup(const struct kl_terminal_setup *setup, struct kl_err *err)
{
    enum kl_rc rc = check_serials(setup->serial, setup->pinpad_serial, err);

    if (rc) {
        return rc;
    }
    if (setup->kind == KL_PINPAD_TOKEN) {
        rc = kl_ini_writable("module", setup->module, err);
    }
    if (!rc && setup->kind == KL_PINPAD_TOKEN) {
        rc = kl_ini_writable("pin-source", setup->pin_source, err);
    }
    if (!rc && setup->init_reserved) {
        rc = kl_ini_writable("init-reserved", setup->init_reserved, err);
    }
    return rc;
}

static enum kl_rc write_conf(const struct kl_terminal_setup *setup, const char *path,
                             struct kl_err *err)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    enum kl_rc rc;

    if (!file) {
        return kl_err_errno(err, "open_memstream", "%s", path);
    }
    fprintf(file, "[terminal]\nserial = %s\n\n[pinpad]\nserial = %s\nkind = %s\n", setup->serial,
            setup->pinpad_serial, kl_pinpad_kinds[setup->kind]);
    if (setup->kind == KL_PINPAD_TOKEN) {
        fprintf(file, "module = %s\ntoken = pkcs11:token=%s\npin-source = %s\n", setup->module,
                setup->pinpad_serial, setup->pin_source);
        if (setup->init_reserved) {
            fprintf(file, "init-reserved = %s\n", setup->init_reserved);
        }
    }
    if (fclose(file) != 0) {
        rc = kl_err_errno(err, "fclose", "%s", path);
    } else {
        rc = kl_file_write(path, text, size, 0600, 0, err);
    }
    free(text);
    return rc;
}

static enum kl_rc collect_roots(const struct kl_terminal_setup *setup, STACK_OF(X509) * *out,
                                struct kl_err *err)
{
    STACK_OF(X509) *roots = sk_X509_new_null();
    enum kl_rc rc = KL_OK;

    if (!roots) {
        return kl_err_openssl(err, KL_ERR_MEMORY, "sk_X509_new_null", "roots");
    }
    for (size_t i = 0; !rc && i < setup->root_count; i++) {
        rc = kl_folder_add_roots(roots, setup->roots[i], err);
    }
    if (!rc && sk_X509_num(roots) == 0) {
        rc = kl_err_set(err, KL_ERR_INPUT, "a terminal needs an AcquireRCRT");
    }
    if (rc) {
        sk_X509_pop_free(roots, X509_free);
    } else {
        *out = roots;
    }
    return rc;
}

enum kl_rc kl_terminal_init(const struct kl_terminal_setup *setup, struct kl_err *err)
{
    char path[PATH_MAX];
    STACK_OF(X509) *roots = NULL;
    enum kl_rc rc = check_setup(setup, err);

    if (!rc) {
        rc = kl_folder_path(setup->dir, KL_FOLDER_CONF, path, err);
    }
    if (!rc && access(path, F_OK) == 0) {
        rc = kl_err_set(err, KL_ERR_EXISTS, "%s is there already: a terminal is made once", path);
    }
    if (!rc) {
        rc = collect_roots(setup, &roots, err);
    }
    if (!rc && mkdir(setup->dir, 0700) != 0 && errno != EEXIST) {
        rc = kl_err_errno(err, "mkdir", "%s", setup->dir);
    }
    if (!rc) {
        rc = kl_folder_save_roots(setup->dir, roots, err);
    }
    sk_X509_pop_free(roots, X509_free);
    if (!rc && setup->kind == KL_PINPAD_TOKEN && !setup->existing_token) {
        rc = kl_ceremony_init_token(setup->module, setup->init_reserved, setup->pinpad_serial,
                                    setup->so_pin_source, setup->pin_source, err);
    }
    return rc ? rc : write_conf(setup, path, err);
}
