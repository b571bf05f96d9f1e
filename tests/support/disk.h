/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A folder of a lab whose files are watched by tests/tools/disk_preload.h in the processes that are
 * started meanwhile: they die at the n-th operation, and the folder can be put back to what a disk
 * would hold then.
 */
#ifndef KL_TESTS_SUPPORT_DISK_H
#define KL_TESTS_SUPPORT_DISK_H

#include "tests/support/lab.h"
#include "tests/tools/disk_preload.h"

struct disk {
    struct lab *lab;
    char own[PATH_MAX], watched[PATH_MAX];
    char preload[PATH_MAX + 16], watch_env[PATH_MAX + 24], own_env[PATH_MAX + 16], asan[256];
    struct disk_control *control; /* shared with the processes */
};

/* Watches that folder, for this test (lab_begin is over). */
void disk_begin(struct disk *disk, struct lab *lab, const char *watched);
void disk_end(struct disk *disk);
/* From here on programs of the lab are started under it; and no more. */
void disk_on(struct disk *disk);
void disk_off(struct disk *disk);
/* What is in the folder now is durable; no process is under it. */
void disk_fresh(struct disk *disk);
/* Counting begins anew, by that plan; NULL: nobody dies. */
void disk_plan(struct disk *disk, const struct disk_control *plan);
/* 1 if the plan's operation was reached. */
int disk_stopped(const struct disk *disk);
/* The folder's files become those of the disk after the cut, and are durable. */
void disk_restore(struct disk *disk);

#endif
