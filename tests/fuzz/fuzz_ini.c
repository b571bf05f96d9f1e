/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as a configuration file: loaded or refused with a message. What was loaded must keep
 * the table's bounds.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf/ini.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct conf {
    char *name, *path;
    uint64_t number, wait, flag, pick;
};
static const char *const picks[] = {"red", "green", NULL};
static const struct kl_ini_key table[] = {
    {"a", "name", KL_INI_STRING, offsetof(struct conf, name), 0, 8, "", NULL, ""},
    {"a", "path", KL_INI_PATH, offsetof(struct conf, path), 0, 0, "/", NULL, ""},
    {"b", "number", KL_INI_NUMBER, offsetof(struct conf, number), 1, 100, "7", NULL, ""},
    {"b", "wait", KL_INI_DURATION, offsetof(struct conf, wait), 10, 86400, "2m", NULL, ""},
    {"b", "flag", KL_INI_BOOL, offsetof(struct conf, flag), 0, 0, "no", NULL, ""},
    {"b", "pick", KL_INI_CHOICE, offsetof(struct conf, pick), 0, 0, "red", picks, ""},
};
#define COUNT (sizeof(table) / sizeof(table[0]))

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf conf = {0};
    struct kl_err err = KL_ERR_INIT;
    char path[40];
    int fd = memfd_create("conf", MFD_CLOEXEC);

    require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (kl_ini_load(path, table, COUNT, &conf, &err) == KL_OK) {
        require(strlen(conf.name) <= 8 && conf.path[0] == '/');
        require(conf.number >= 1 && conf.number <= 100);
        require(conf.wait >= 10 && conf.wait <= 86400 && conf.flag <= 1 && conf.pick <= 1);
        kl_ini_wipe(table, COUNT, &conf);
    } else {
        require(err.rc == KL_ERR_CONFIG && strncmp(err.text, path, strlen(path)) == 0);
    }
    require(!conf.name && !conf.path);
    close(fd);
    return 0;
}
