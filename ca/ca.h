/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * acquire-ca's commands. Each parses its own options with kl_options_parse (argv[0] is the
 * command's own name), prints its result to stdout and returns an rc; main() prints err once.
 */
#ifndef KL_CA_CA_H
#define KL_CA_CA_H

#include "proto/err.h"

#define KL_CA_KEY_LABEL "AcquireRCRT_Prk"
#define KL_CA_PEM_FILE "root-key.pem"

struct kl_ca_command {
    const char *name;
    enum kl_rc (*fn)(int argc, char **argv, struct kl_err *err);
    const char *synopsis;
    const char *help; /* lines of help, indented by four spaces */
};

enum kl_rc kl_ca_cmd_init(int argc, char **argv, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_ca_cmd_token_init(int argc, char **argv, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_ca_cmd_sign(int argc, char **argv, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_ca_cmd_terminal(int argc, char **argv, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_ca_cmd_revoke(int argc, char **argv, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_ca_cmd_crl(int argc, char **argv, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_ca_cmd_list(int argc, char **argv, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_ca_cmd_show(int argc, char **argv, struct kl_err *err) KL_MUST_CHECK;

#endif
