/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Holders of keys: one file a key.
 */
#include "ca/claims.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ca/home.h"
#include "conf/report.h"
#include "proto/message.h"

#define COMPROMISED ".compromised"

static enum kl_rc check_compromised(const char *dir, const char *print, struct kl_err *err)
{
    char path[PATH_MAX];
    enum kl_rc rc = kl_home_path_in(dir, KL_HOME_KEYS, print, COMPROMISED, path, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (access(path, F_OK) == 0) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "this key was revoked as compromised; have a new one made");
    }
    return errno == ENOENT ? KL_OK : kl_err_errno(err, "access", "cannot look for %s", path);
}

enum kl_rc kl_claim_key(const char *dir, const EVP_PKEY *key, const char *serial,
                        struct kl_err *err)
{
    char print[KL_FINGERPRINT_TEXT], holder[sizeof "terminal \n" + KL_SERIAL_MAX];
    char *standing = NULL;
    enum kl_rc rc = kl_pubkey_fingerprint(key, print, err);

    if (rc == KL_OK) {
        rc = check_compromised(dir, print, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    if (serial) {
        snprintf(holder, sizeof holder, "terminal %s\n", serial);
    } else {
        snprintf(holder, sizeof holder, "loader\n");
    }
    rc = kl_home_write_once(dir, KL_HOME_KEYS, print, holder, &standing, err);
    if (rc == KL_OK && standing && strcmp(standing, holder) != 0) {
        rc = kl_err_set(err, KL_ERR_REFUSED,
                        "this key belongs to another holder already (%.*s); no two may share a key "
                        "(PCI PIN 20-1)",
                        (int)strcspn(standing, "\n"), standing);
    }
    free(standing);
    return rc;
}

enum kl_rc kl_claim_compromised(const char *dir, const EVP_PKEY *key, struct kl_err *err)
{
    char name[KL_FINGERPRINT_TEXT + sizeof COMPROMISED];
    enum kl_rc rc = kl_pubkey_fingerprint(key, name, err);

    if (rc != KL_OK) {
        return rc;
    }
    strcat(name, COMPROMISED);
    return kl_home_write_once(dir, KL_HOME_KEYS, name, "compromised\n", NULL, err);
}
