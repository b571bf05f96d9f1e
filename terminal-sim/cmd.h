/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The commands of terminal-sim. Each gets its own argv (argv[0] is its name) and returns KL_OK,
 * KL_ERR_USAGE for a wrong command line, or what went wrong. *status, 0 before, is the exit status
 * that goes with KL_OK.
 */
#ifndef KL_TERMINAL_SIM_CMD_H
#define KL_TERMINAL_SIM_CMD_H

#include "proto/err.h"

enum kl_rc kl_terminal_cmd_init(int argc, char **argv, int *status, struct kl_err *err);
enum kl_rc kl_terminal_cmd_load(int argc, char **argv, int *status, struct kl_err *err);
enum kl_rc kl_terminal_cmd_confirm(int argc, char **argv, int *status, struct kl_err *err);
enum kl_rc kl_terminal_cmd_pinpad(int argc, char **argv, int *status, struct kl_err *err);
/* *status 1: the loader accepted the replay. */
enum kl_rc kl_terminal_cmd_replay(int argc, char **argv, int *status, struct kl_err *err);

#define KL_TERMINAL_TIMEOUT_DEFAULT 15 /* seconds */
#define KL_TERMINAL_TIMEOUT_MAX 3600

#endif
