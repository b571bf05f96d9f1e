/* SPDX-License-Identifier: BSD-2-Clause */
/* What our reports in HTML begin and end with: one page, no script, nothing from elsewhere. */
#ifndef KL_CONF_PAGE_H
#define KL_CONF_PAGE_H

#include <stdio.h>

/* Head and style, up to where the body's first element goes. Errors are the stream's (ferror).
 * Classes: td.n and th.n numbers, .as-expected and .failed verdicts; of plots .grid, .c0 to .c2. */
void kl_page_begin(const char *title, FILE *out);
void kl_page_end(FILE *out);

#endif
