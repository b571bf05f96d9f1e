/* SPDX-License-Identifier: BSD-2-Clause */
/* Distinguished names as operators type them on a command line. */
#ifndef KL_PROTO_NAME_H
#define KL_PROTO_NAME_H

#include <openssl/x509.h>

#include "proto/err.h"

/* Parses "/C=CN/O=Bank/CN=Loader 1" (in order of encoding) or RFC 4514 "CN=Loader 1,O=Bank,C=CN"
 * (the reverse). A backslash quotes the next character or, as two hex digits, one byte. UTF-8, at
 * most KL_NAME_MAX - 1 bytes, no control characters, no empty values, no multi-valued RDNs (an
 * unquoted '+' in the RFC form), and a common name there must be. A serialNumber may hold '_', as
 * the serial of a terminal may. KL_ERR_INPUT says what is wrong.
 * The caller frees with X509_NAME_free. */
enum kl_rc kl_name_parse(const char *text, X509_NAME **out, struct kl_err *err) KL_MUST_CHECK;

#endif
