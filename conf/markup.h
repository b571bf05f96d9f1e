/* SPDX-License-Identifier: BSD-2-Clause */
/* Text in XML and HTML, of elements and attributes. */
#ifndef KL_CONF_MARKUP_H
#define KL_CONF_MARKUP_H

#include <stdio.h>

/* Writes the text so that it is nothing but text there; '?' for control characters but tab and
 * newline, which XML does not have, and for what is not ASCII, which need not be UTF-8. Errors are
 * the stream's (ferror). */
void kl_markup_text(FILE *out, const char *text);

#endif
