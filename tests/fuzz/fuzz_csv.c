/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as CSV. What was read must survive being written out, quoted, and read again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ctl/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static size_t write_quoted(const struct kl_csv *csv, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < csv->count; i++) {
        if (i) {
            out[n++] = ',';
        }
        out[n++] = '"';
        for (const char *c = csv->field[i]; *c; c++) {
            if (*c == '"') {
                out[n++] = '"';
            }
            out[n++] = *c;
        }
        out[n++] = '"';
    }
    out[n++] = '\n';
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kl_csv csv, again;
    static char text[2 * KL_CSV_RECORD_MAX + 4 * KL_CSV_FIELD_MAX];
    struct kl_err err = KL_ERR_INIT;
    unsigned long line = 0;
    int more = 1;

    kl_csv_init(&csv, (const char *)data, size);
    while (kl_csv_next(&csv, &more, &err) == KL_OK && more) {
        size_t len = write_quoted(&csv, text);

        require(csv.line > line && csv.count >= 1 && csv.count <= KL_CSV_FIELD_MAX);
        line = csv.line;
        if (len > KL_CSV_RECORD_MAX) {
            continue; /* the quotes have made it too long */
        }
        kl_csv_init(&again, text, len);
        require(kl_csv_next(&again, &more, &err) == KL_OK && more && again.count == csv.count);
        for (size_t i = 0; i < csv.count; i++) {
            require(strcmp(again.field[i], csv.field[i]) == 0);
        }
    }
    require(err.rc == KL_OK || err.rc == KL_ERR_INPUT);
    return 0;
}
