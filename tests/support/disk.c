/* SPDX-License-Identifier: BSD-2-Clause */
/* The folder of which a disk keeps only what was synced: see disk.h. */
#include "tests/support/disk.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void empty_folder(const char *folder)
{
    char path[PATH_MAX];
    const struct dirent *entry;
    DIR *dir = opendir(folder);

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_type != DT_DIR) {
            unlink(file_path(path, folder, entry->d_name));
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
}

void disk_begin(struct disk *disk, struct lab *lab, const char *watched)
{
    static const struct disk_control none;
    const char *asan = getenv("ASAN_OPTIONS");
    char path[PATH_MAX];

    memset(disk, 0, sizeof *disk);
    disk->lab = lab;
    ck_assert_ptr_nonnull(realpath(watched, disk->watched));
    file_path(disk->own, lab->run, "disk");
    file_mkdir(disk->own);
    file_mkdir(file_path(path, disk->own, "shadow"));
    file_mkdir(file_path(path, disk->own, "image"));
    file_write(file_path(path, disk->own, "control"), &none, sizeof none, 0600);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    disk->control = mmap(NULL, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(disk->control, MAP_FAILED);
    close(fd);
    ck_assert_ptr_nonnull(realpath(lab_built("tests/tools/disk_preload.so"), path));
    snprintf(disk->preload, sizeof disk->preload, "LD_PRELOAD=%s", path);
    snprintf(disk->watch_env, sizeof disk->watch_env, "KL_DISK_WATCH=%s", disk->watched);
    snprintf(disk->own_env, sizeof disk->own_env, "KL_DISK=%s", disk->own);
    snprintf(disk->asan, sizeof disk->asan, "ASAN_OPTIONS=verify_asan_link_order=0:%s",
             asan != NULL ? asan : "");
}

void disk_end(struct disk *disk)
{
    disk_off(disk);
    ck_assert_int_eq(munmap(disk->control, sizeof *disk->control), 0);
}

void disk_on(struct disk *disk)
{
    disk->lab->env[0] = disk->preload;
    disk->lab->env[1] = disk->watch_env;
    disk->lab->env[2] = disk->own_env;
    disk->lab->env[3] = disk->asan;
    disk->lab->env[4] = NULL;
}

void disk_off(struct disk *disk)
{
    disk->lab->env[0] = NULL;
}

void disk_fresh(struct disk *disk)
{
    char path[PATH_MAX];

    empty_folder(file_path(path, disk->own, "shadow"));
}

void disk_plan(struct disk *disk, const struct disk_control *plan)
{
    static const struct disk_control none;
    char path[PATH_MAX];

    empty_folder(file_path(path, disk->own, "image"));
    *disk->control = plan != NULL ? *plan : none;
}

int disk_stopped(const struct disk *disk)
{
    return disk->control->stopped[0] != '\0';
}

void disk_restore(struct disk *disk)
{
    char image[PATH_MAX], path[PATH_MAX], to[PATH_MAX];
    const struct dirent *entry;

    empty_folder(disk->watched);
    DIR *dir = opendir(file_path(image, disk->own, "image"));
    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_type == DT_REG) {
            size_t len;
            char *data = file_read(file_path(path, image, entry->d_name), &len);
            file_write(file_path(to, disk->watched, entry->d_name), data, len, 0600);
            free(data);
        }
    }
    closedir(dir);
    disk_fresh(disk);
}
