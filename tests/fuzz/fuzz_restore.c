/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A damaged backup that is to be restored: the input is a script that changes bytes of a good one
 * (a first byte of 255: it is the whole file). Either what is in place afterwards is a whole store,
 * or the store of before is there, byte for byte, and nothing beside it.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/life/life.h"
#include "daemon/store/store_restore.h"
#include "tests/fuzz/input.h"

static void on_finding(enum kl_rc kind, const char *text, void *arg)
{
    require((kind == KL_ERR_STORE || kind == KL_ERR_VERIFY) && text[0] != '\0');
    (*(unsigned *)arg)++;
}

static void path_of(char out[128], const char *name)
{
    snprintf(out, 128, "%s/%s", fuzz_folder(), name);
}

static void write_file(const char *path, const uint8_t *data, size_t size)
{
    FILE *file = fopen(path, "wb");

    require(file != NULL && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

static unsigned files(void)
{
    DIR *dir = opendir(fuzz_folder());
    unsigned count = 0;

    require(dir != NULL);
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    return count;
}

static void remove_all(void)
{
    DIR *dir = opendir(fuzz_folder());
    struct dirent *entry;

    require(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        char path[512];

        snprintf(path, sizeof(path), "%s/%s", fuzz_folder(), entry->d_name);
        (void)unlink(path);
    }
    closedir(dir);
}

static uint8_t good[1 << 20], bad[sizeof(good)];
static size_t good_size;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct kl_terminal terminal = {.alg = KL_ALG_TDES2, .serial = "T-1", .pinpad_serial = "P-1"};
    struct kl_err err = KL_ERR_INIT;
    struct kl_store *store = NULL;
    char first[128], copy[128];
    FILE *file;

    (void)argc;
    (void)argv;
    path_of(first, "first.db");
    path_of(copy, "copy.db");
    require(kl_store_open(first, KL_STORE_CREATE, &store, &err) == KL_OK);
    require(kl_store_begin(store, &err) == KL_OK);
    require(kl_life_register(store, &terminal, 1700000000, &err) == KL_OK);
    require(kl_life_arm(store, "T-1", 1700009000, 3, 1700000000, &err) == KL_OK);
    require(kl_store_commit(store, &err) == KL_OK && kl_store_copy(store, copy, &err) == KL_OK);
    kl_store_free(store);
    file = fopen(copy, "rb");
    require(file != NULL);
    good_size = fread(good, 1, sizeof(good), file);
    fclose(file);
    require(good_size > 0 && good_size < sizeof(good));
    return 0;
}

/* The backup that the input stands for; *same: it is the good one. */
static size_t make_backup(const uint8_t *data, size_t size, int *same)
{
    struct script script = {data, size};

    *same = 0;
    if (size > 0 && data[0] == 255) {
        memcpy(bad, data + 1, size - 1);
        return size - 1;
    }
    memcpy(bad, good, good_size);
    for (int i = 0; i < 8 && script.left > 0; i++) {
        size_t at = (size_t)script_byte(&script) << 16;

        at |= (size_t)script_byte(&script) << 8;
        at |= script_byte(&script);
        if (at % good_size != at) { /* cut off there */
            return at % good_size;
        }
        bad[at] ^= script_byte(&script);
    }
    *same = memcmp(bad, good, good_size) == 0;
    return good_size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char not_ours[] = "what was there before";
    char backup[128], store[128], now[sizeof(not_ours)] = "";
    struct kl_restore restore = {.backup = backup,
                                 .path = store,
                                 .actor = "fuzz",
                                 .now = 1800000000};
    struct kl_err err = KL_ERR_INIT;
    unsigned told = 0;
    enum kl_rc rc;
    size_t backup_size;
    FILE *file;
    int same;

    if (size > sizeof(bad)) {
        return 0;
    }
    backup_size = make_backup(data, size, &same);
    remove_all();
    path_of(backup, "backup.db");
    path_of(store, "store.db");
    write_file(backup, bad, backup_size);
    write_file(store, (const uint8_t *)not_ours, sizeof(not_ours));
    restore.check.tell = on_finding;
    restore.check.arg = &told;
    rc = kl_store_restore(&restore, &err);
    require(!same || rc == KL_OK);
    if (rc == KL_OK) {
        struct kl_store *opened = NULL;

        require(restore.check.findings == 0 && restore.kept[0] != '\0');
        require(kl_store_open(store, KL_STORE_WRITE, &opened, &err) == KL_OK);
        kl_store_free(opened);
        return 0;
    }
    fuzz_failed_well(rc, &err);
    require(told <= KL_CHECK_FINDINGS_MAX && told <= restore.check.findings + 1);
    file = fopen(store, "rb");
    require(file != NULL && fread(now, 1, sizeof(now), file) == sizeof(now));
    fclose(file);
    require(memcmp(now, not_ours, sizeof(now)) == 0);
    require(files() <= 2 + 2 + 1); /* . and .., the two; a copy that the next restore removes */
    return 0;
}
