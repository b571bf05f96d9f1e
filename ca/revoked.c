/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Revocations: one file each.
 */
#include "ca/revoked.h"

#include <errno.h>
#include <limits.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ca/home.h"
#include "conf/cli.h"

static const struct {
    const char *name;
    int code;
} reasons[] = {
    {"keyCompromise", CRL_REASON_KEY_COMPROMISE},
    {"superseded", CRL_REASON_SUPERSEDED},
    {"cessationOfOperation", CRL_REASON_CESSATION_OF_OPERATION},
    {"unspecified", CRL_REASON_UNSPECIFIED},
};
#define REASON_COUNT (sizeof reasons / sizeof reasons[0])

int kl_reason_code(const char *name)
{
    for (size_t i = 0; i < REASON_COUNT; i++) {
        if (strcmp(reasons[i].name, name) == 0) {
            return reasons[i].code;
        }
    }
    return -1;
}

static enum kl_rc damaged(const char *serial, struct kl_err *err)
{
    return kl_err_set(err, KL_ERR_INPUT,
                      KL_HOME_REVOKED "/%s is damaged; restore it before anything else is done",
                      serial);
}

/* "TIME REASON\n", exactly. Cuts text up. */
static enum kl_rc parse(const char *serial, char *text, struct kl_revocation *out,
                        struct kl_err *err)
{
    char *reason = strchr(text, ' '), *end = strchr(text, '\n');
    int64_t when = 0;

    if (reason && end && reason < end && end[1] == '\0') {
        *reason++ = *end = '\0';
        for (size_t i = 0; i < REASON_COUNT; i++) {
            if (strcmp(reasons[i].name, reason) == 0 && kl_time_parse(text, &when, err) == KL_OK) {
                *out = (struct kl_revocation){when, reasons[i].name};
                return KL_OK;
            }
        }
    }
    return damaged(serial, err);
}

enum kl_rc kl_revoked_add(const char *dir, const char *serial, const struct kl_revocation *wanted,
                          struct kl_revocation *standing, int *already, struct kl_err *err)
{
    char text[KL_HOME_TEXT_MAX], when[KL_TIME_TEXT], *found = NULL;
    struct kl_revocation revocation = *wanted;
    enum kl_rc rc;

    kl_time_format(wanted->time, when);
    snprintf(text, sizeof text, "%s %s\n", when, wanted->reason);
    rc = kl_home_write_once(dir, KL_HOME_REVOKED, serial, text, &found, err);
    if (rc == KL_OK && found) {
        rc = parse(serial, found, &revocation, err);
    }
    if (rc == KL_OK) {
        *already = found != NULL;
        *standing = revocation;
    }
    free(found);
    return rc;
}

/* That a file is not there means something only where there is a folder. */
static enum kl_rc check_folder(const char *dir, struct kl_err *err)
{
    char path[PATH_MAX];
    enum kl_rc rc = kl_home_path(dir, KL_HOME_REVOKED, path, err);

    if (rc == KL_OK && access(path, F_OK) != 0) {
        rc = kl_err_errno(err, "access", "%s; is this a CA's directory?", path);
    }
    return rc;
}

enum kl_rc kl_revoked_find(const char *dir, const char *serial, struct kl_revocation *out,
                           int *found, struct kl_err *err)
{
    char path[PATH_MAX], *text = NULL;
    size_t len;
    enum kl_rc rc = kl_home_path_in(dir, KL_HOME_REVOKED, serial, "", path, err);

    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_file_read(path, KL_HOME_TEXT_MAX, &text, &len, err);
    if (rc == KL_ERR_NO_FILE && err->native == ENOENT) {
        *found = 0;
        return check_folder(dir, err);
    }
    if (rc == KL_OK) {
        rc = parse(serial, text, out, err);
    }
    if (rc == KL_OK) {
        *found = 1;
    }
    free(text);
    return rc;
}

/* Anything else is what a crash left of a file in the making. */
static int is_serial(const struct dirent *entry)
{
    return entry->d_name[strspn(entry->d_name, "0123456789ABCDEF")] == '\0';
}

struct each {
    const char *dir;
    kl_revoked_fn fn;
    void *arg;
};

static enum kl_rc load_and_call(const char *serial, void *arg, struct kl_err *err)
{
    const struct each *each = arg;
    struct kl_revocation revocation = {0};
    int found = 0;
    enum kl_rc rc = kl_revoked_find(each->dir, serial, &revocation, &found, err);

    if (rc != KL_OK) {
        return rc;
    }
    return found ? each->fn(serial, &revocation, each->arg, err) : damaged(serial, err);
}

enum kl_rc kl_revoked_each(const char *dir, kl_revoked_fn fn, void *arg, struct kl_err *err)
{
    struct each each = {dir, fn, arg};

    return kl_home_names(dir, KL_HOME_REVOKED, is_serial, load_and_call, &each, err);
}
