/* SPDX-License-Identifier: BSD-2-Clause */
/* The terminal's device key and certificate: a request for one, and whether one is its own. */
#ifndef KL_TERMINAL_SIM_PINPAD_DEVICE_H
#define KL_TERMINAL_SIM_PINPAD_DEVICE_H

#include <openssl/x509.h>

#include "proto/err.h"
#include "terminal-sim/pinpad/pinpad.h"

/* A request for the device key's certificate, signed by it: subject CN = serialNumber = serial. The
 * caller frees with X509_REQ_free. */
enum kl_rc kl_device_request(struct kl_pinpad *pad, const char *serial, X509_REQ **out,
                             struct kl_err *err) KL_MUST_CHECK;

/* KL_ERR_CERT unless leaf is of the PIN pad's device key and names that serial. */
enum kl_rc kl_device_check(struct kl_pinpad *pad, const char *serial, const X509 *leaf,
                           struct kl_err *err) KL_MUST_CHECK;

#endif
