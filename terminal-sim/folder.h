/* SPDX-License-Identifier: BSD-2-Clause */
/* The files of a terminal's folder: names, configuration table. */
#ifndef KL_TERMINAL_SIM_FOLDER_H
#define KL_TERMINAL_SIM_FOLDER_H

#include <limits.h>
#include <stdint.h>

#include "proto/err.h"

#define KL_FOLDER_CONF "terminal.conf"
#define KL_FOLDER_ROOT "root.pem"
#define KL_FOLDER_RECORD "record"

struct kl_folder_conf {
    char *serial, *pinpad_serial;
    uint64_t kind;                     /* enum kl_pinpad_kind */
    char *module, *token, *pin_source; /* "" for kind memory */
};

/* DIR/NAME. KL_ERR_INPUT if that is too long. */
enum kl_rc kl_folder_path(const char *dir, const char *name, char out[PATH_MAX],
                          struct kl_err *err) KL_MUST_CHECK;

enum kl_rc kl_folder_load_conf(const char *path, struct kl_folder_conf *out,
                               struct kl_err *err) KL_MUST_CHECK;
void kl_folder_wipe_conf(struct kl_folder_conf *conf);

#endif
