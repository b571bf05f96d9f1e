/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checks of --out.
 */
#include "ca/output.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int kl_ca_output_is_stdout(const struct kl_ca_output *output)
{
    return strcmp(output->path, "-") == 0;
}

enum kl_rc kl_ca_output_check(const struct kl_ca_output *output, struct kl_err *err)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(output->path, '/');
    struct stat st;

    if (kl_ca_output_is_stdout(output)) {
        return output->json
                   ? kl_err_set(err, KL_ERR_USAGE, "--json and --out - both want standard output")
                   : KL_OK;
    }
    if (stat(output->path, &st) == 0 && S_ISDIR(st.st_mode)) {
        return kl_err_set(err, KL_ERR_INPUT, "--out %s is a directory; name a file in it",
                          output->path);
    }
    if (!output->force && access(output->path, F_OK) == 0) {
        return kl_err_set(err, KL_ERR_EXISTS, "%s exists; --force overwrites it", output->path);
    }
    if (!slash) {
        strcpy(dir, ".");
    } else if (snprintf(dir, sizeof dir, "%.*s",
                        slash == output->path ? 1 : (int)(slash - output->path),
                        output->path) >= (int)sizeof dir) {
        return kl_err_set(err, KL_ERR_INPUT, "--out: path is too long");
    }
    if (access(dir, W_OK | X_OK) != 0) {
        return kl_err_errno(err, "access", "--out %s: no file can be made in %s", output->path,
                            dir);
    }
    return KL_OK;
}
