/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a lab's keys are: see lab_hsm.h. */
#include "tests/support/lab_hsm.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/hsm.h"

static const char *const nss_paths[] = {
    "/usr/lib/x86_64-linux-gnu/libsoftokn3.so",
    "/usr/lib/aarch64-linux-gnu/libsoftokn3.so",
    "/usr/lib64/libsoftokn3.so",
    NULL,
};
#define CERTUTIL "/usr/bin/certutil"
#define CERTUTIL_SECONDS 30

static const char *first_there(const char *const *paths)
{
    while (*paths != NULL && access(*paths, R_OK) != 0) {
        paths++;
    }
    return *paths;
}

int lab_nss_installed(void)
{
    return first_there(nss_paths) != NULL && access(CERTUTIL, X_OK) == 0;
}

void lab_find_modules(struct lab *lab)
{
    const char *wanted = getenv("KL_TEST_MODULE"), *path;
    lab->nss = wanted != NULL && strcmp(wanted, "nss") == 0;
    ck_assert_msg(lab->nss || wanted == NULL || strcmp(wanted, "softhsm") == 0,
                  "KL_TEST_MODULE=%s: must be softhsm or nss", wanted);
    path = lab->nss ? first_there(nss_paths) : test_softhsm_path();
    ck_assert_msg(path != NULL && (!lab->nss || lab_nss_installed()), "%s is not installed",
                  lab->nss ? "NSS softokn or certutil" : "SoftHSM");
    proc_text(lab->module, sizeof lab->module, "%s", path);
    /* NSS hardens its PIN by so many rounds for each use of a token key. */
    ck_assert_int_eq(setenv("NSS_MAX_MP_PBE_ITERATION_COUNT", "100", 1), 0);
}

/* A SoftHSM of its own under dir. */
static void make_softhsm(const char *dir)
{
    char path[PATH_MAX], conf[PATH_MAX + 128];
    file_mkdir(dir);
    file_mkdir(file_path(path, dir, "tokens"));
    proc_text(conf, sizeof conf,
              "directories.tokendir = %s\nobjectstore.backend = file\n"
              "log.level = ERROR\nslots.removable = false\n",
              path);
    file_write(file_path(path, dir, "softhsm2.conf"), conf, strlen(conf), 0600);
}

void lab_make_hsm(const struct lab *lab, const char *role, const char *pin)
{
    char db[PATH_MAX], where[PATH_MAX];
    struct proc proc;
    if (!lab->nss) {
        make_softhsm(role);
        return;
    }
    file_mkdir(role);
    file_mkdir(file_path(db, role, "nss"));
    proc_text(where, sizeof where, "sql:%s", db);
    proc_spawn(&proc, lab->logs, NULL,
               (const char *const[]){CERTUTIL, "-N", "-d", where, "-f", pin, NULL});
    int status = proc_wait(&proc, CERTUTIL_SECONDS);
    ck_assert_msg(status == 0, "certutil -N: status %d: %s", status, file_read(proc.err, NULL));
}

char *lab_init_reserved(const struct lab *lab, const char *role, const char *label,
                        char out[PATH_MAX])
{
    out[0] = '\0';
    if (lab->nss) {
        proc_text(out, PATH_MAX,
                  "configdir='sql:%s/nss' certPrefix='' keyPrefix='' secmod='secmod.db' "
                  "dbTokenDescription='%s' flags=",
                  role, label);
    }
    return out;
}
