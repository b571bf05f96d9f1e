/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as an archive of audit records: whatever is in it is told, and what is no archive is
 * refused as one.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/audit/audit_archive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static void on_finding(const char *source, uint64_t id, const char *what, void *arg)
{
    (void)id;
    require(*source != '\0' && *what != '\0');
    for (; *what; what++) {
        require(*what >= ' ' && *what <= '~'); /* nothing of the file's own text */
    }
    (*(uint64_t *)arg)++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kl_audit_known known;
    struct kl_audit_check *check = NULL;
    const struct kl_audit_result *result;
    struct kl_err err = KL_ERR_INIT;
    char path[64];
    uint64_t found = 0, lines = 1;
    int fd = memfd_create("archive", MFD_CLOEXEC);
    enum kl_rc rc;

    require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    for (size_t i = 0; i < size; i++) {
        lines += data[i] == '\n';
    }
    require(kl_audit_check_new(&known, on_finding, &found, &check, &err) == KL_OK);
    rc = kl_audit_archive_read(path, check, &err);
    result = kl_audit_check_result(check);
    require(rc == KL_OK || rc == KL_ERR_INPUT);
    require(result->findings == found && result->records + result->checkpoints <= lines);
    require(rc == KL_OK || result->records == 0);
    kl_audit_check_free(check);
    close(fd);
    return 0;
}
