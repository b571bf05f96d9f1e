/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A library to be preloaded (LD_PRELOAD): counts what a process does to the files of one folder,
 * and ends it with SIGKILL at the n-th of these operations. On request it also leaves what a disk
 * would hold if the power had been cut there: of each file what its last fsync or fdatasync made
 * durable, under the names that the last fsync of the folder did.
 *
 *   KL_DISK_WATCH=DIR  the folder; its own files only
 *   KL_DISK=DIR        the library's own folder, with
 *                      control   struct disk_control, there before the process starts
 *                      shadow/   the durable state as the process goes; empty at first: all that
 *                                is in the watched folder then counts as durable
 *                      image/    gets the files of the disk after a power cut
 *
 * What it models, and what not: a disk that keeps whole 512-byte sectors, and may have written any
 * of those that nobody synced (`spread`), in their newest contents; and may have made any change of
 * a name durable, each by itself. Of a sector that was written twice since, the older contents are
 * not tried. Files written through a mapping are not seen (SQLite's -shm, which is rebuilt, is left
 * out of the image). A file's fsync does not make its name durable, which ext4 does.
 */
#ifndef KL_TESTS_TOOLS_DISK_PRELOAD_H
#define KL_TESTS_TOOLS_DISK_PRELOAD_H

#include <stdint.h>

enum {
    DISK_SYNC = 1,  /* fsync, fdatasync: of a file or of the folder */
    DISK_NAME = 2,  /* rename, link, unlink */
    DISK_WRITE = 4, /* write, pwrite, ftruncate */
};

struct disk_control {
    _Atomic uint32_t count; /* operations so far of those kinds */
    uint32_t kinds;         /* DISK_...; 0 = none is counted */
    uint32_t stop;          /* at which the process dies; 0 = at none */
    uint32_t after;         /* once it is done, else before */
    uint32_t cut;           /* the power is cut: image/ is made */
    uint32_t spread;        /* seed by which some of what was not synced is there too; 0: nothing */
    uint32_t swallow;       /* syncs say that they are done, and do nothing */
    uint32_t fresh;    /* at the next operation: what is there counts as durable, as others, who
                          are not under the library, have synced it; 0 then */
    char stopped[120]; /* the operation that it died at */
};

#endif
