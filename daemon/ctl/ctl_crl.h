/* SPDX-License-Identifier: BSD-2-Clause */
/* keyloaderctl crl install and crl show, as struct kl_ctl_command has them. */
#ifndef KL_DAEMON_CTL_CTL_CRL_H
#define KL_DAEMON_CTL_CTL_CRL_H

#include "daemon/ctl/ctl.h"

enum kl_rc kl_ctl_crl_install(struct kl_ctl *ctl, int argc, char **argv,
                              struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_ctl_crl_show(struct kl_ctl *ctl, int argc, char **argv,
                           struct kl_err *err) KL_MUST_CHECK;

#endif
