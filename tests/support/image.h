/* SPDX-License-Identifier: BSD-2-Clause */
/* The memory of another process, whole, at one instant. */
#ifndef KL_TESTS_SUPPORT_IMAGE_H
#define KL_TESTS_SUPPORT_IMAGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define IMAGE_AREAS 4096

struct image_area {
    uint64_t begin; /* address */
    size_t len;
    uint8_t *data; /* malloc'ed; what could not be read is zeros */
    char name[64]; /* of the mapping: "[heap]", a file's last part, "" */
    int writable;
};

struct image {
    size_t count, bytes;
    struct image_area areas[IMAGE_AREAS];
};

/* Stops the process (SIGSTOP), copies every mapping that can be read, lets it go on. 0 if the
 * kernel does not permit it. A mapping of more than 256 MiB (a sanitizer's) fails the test. */
int image_take(struct image *image, pid_t pid);
void image_free(struct image *image);
/* Writes into the process's memory, as a debugger would; 0 if that is not permitted. */
int image_poke(pid_t pid, uint64_t address, const void *data, size_t len);

#endif
