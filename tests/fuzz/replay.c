/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fuzz target as a plain program: gives it the empty input, and every file of the folders
 * seeds/NAME and regressions/NAME, or of the files named on the command line, once. It ends well or
 * not at all: what does not hold aborts.
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/input.h"

/* Only some targets have one. */
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

static unsigned inputs;

static void give(const char *path)
{
    static uint8_t data[1 << 20];
    FILE *file = fopen(path, "rb");
    size_t size;
    uint8_t *copy;

    require(file != NULL);
    printf("%s\n", path);
    fflush(stdout);
    size = fread(data, 1, sizeof(data), file);
    fclose(file);
    /* Of its very size, so that a sanitizer sees who reads beyond. */
    copy = malloc(size > 0 ? size : 1);
    require(copy != NULL);
    memcpy(copy, data, size);
    require(LLVMFuzzerTestOneInput(copy, size) == 0);
    free(copy);
    inputs++;
}

static void give_folder(const char *kind, const char *name)
{
    const char *support = getenv("KL_SUPPORT");
    char folder[PATH_MAX], path[PATH_MAX];
    struct dirent **entries;
    int count;

    snprintf(folder, sizeof(folder), "%s/../fuzz/%s/%s", support ? support : "tests/support", kind,
             name);
    count = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.') {
            require(snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name) <
                    (int)sizeof(path));
            give(path);
        }
        free(entries[i]);
    }
    if (count >= 0) {
        free(entries);
    }
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];

    if (LLVMFuzzerInitialize) {
        LLVMFuzzerInitialize(&argc, &argv);
    }
    require(LLVMFuzzerTestOneInput((const uint8_t *)"", 0) == 0);
    for (int i = 1; i < argc; i++) {
        give(argv[i]);
    }
    if (argc == 1) {
        name = strncmp(name, "replay_", 7) == 0 ? name + 7 : name;
        give_folder("seeds", name);
        give_folder("regressions", name);
        require(inputs > 0); /* a target without seeds tests nothing */
    }
    printf("%u inputs\n100%%: Checks: 1, Failures: 0, Errors: 0\n", inputs);
    return 0;
}
