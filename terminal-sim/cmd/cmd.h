/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The commands of terminal-sim. Each gets its own argv (argv[0] is its name) and returns KL_OK,
 * KL_ERR_USAGE for a wrong command line, or what went wrong. *status, 0 before, is the exit status
 * that goes with KL_OK.
 */
#ifndef KL_TERMINAL_SIM_CMD_CMD_H
#define KL_TERMINAL_SIM_CMD_CMD_H

#include "proto/err.h"
#include "terminal-sim/pinpad/pinpad.h"
#include "terminal-sim/terminal.h"

enum kl_rc kl_terminal_cmd_init(int argc, char **argv, int *status, struct kl_err *err);
enum kl_rc kl_terminal_cmd_load(int argc, char **argv, int *status, struct kl_err *err);
enum kl_rc kl_terminal_cmd_confirm(int argc, char **argv, int *status, struct kl_err *err);
enum kl_rc kl_terminal_cmd_pinpad(int argc, char **argv, int *status, struct kl_err *err);
/* *status 1: the loader accepted the replay. */
enum kl_rc kl_terminal_cmd_replay(int argc, char **argv, int *status, struct kl_err *err);

/* *status: enum of results.h. */
enum kl_rc kl_terminal_cmd_attack(int argc, char **argv, int *status, struct kl_err *err);
enum kl_rc kl_terminal_cmd_scenario(int argc, char **argv, int *status, struct kl_err *err);

enum kl_rc kl_terminal_cmd_root(int argc, char **argv, int *status, struct kl_err *err);
enum kl_rc kl_terminal_cmd_device_key(int argc, char **argv, int *status, struct kl_err *err);
enum kl_rc kl_terminal_cmd_sign_in(int argc, char **argv, int *status, struct kl_err *err);
enum kl_rc kl_terminal_cmd_pin_block(int argc, char **argv, int *status, struct kl_err *err);
enum kl_rc kl_terminal_cmd_mac(int argc, char **argv, int *status, struct kl_err *err);
/* *status 1: loads failed that were not to. */
enum kl_rc kl_terminal_cmd_fleet(int argc, char **argv, int *status, struct kl_err *err);

/* A folder and its PIN pad, both or neither; the caller frees both. */
enum kl_rc kl_cmd_open(const char *dir, int exclusive, struct kl_terminal_home **terminal,
                       struct kl_pinpad **pad, struct kl_err *err) KL_MUST_CHECK;

#endif
