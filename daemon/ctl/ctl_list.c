/* SPDX-License-Identifier: BSD-2-Clause */
/* Lists, row by row. */
#include "daemon/ctl/ctl_list.h"

#include <stdio.h>

#include "conf/cli.h"

static void print_cell(const char *text, int width, int last)
{
    printf("%-*s%s", last ? 0 : width, text, last ? "\n" : "  ");
}

static void print_header(const struct kl_ctl_list *list, json_t *row)
{
    size_t column = 0, columns = json_object_size(row);
    const char *key;
    json_t *value;

    json_object_foreach(row, key, value)
    {
        print_cell(key, list->widths[column], column + 1 == columns);
        column++;
    }
}

static void print_columns(const struct kl_ctl_list *list, json_t *row)
{
    size_t column = 0, columns = json_object_size(row);
    const char *key;
    json_t *value;

    json_object_foreach(row, key, value)
    {
        char number[24] = "-";

        if (json_is_integer(value)) {
            snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        }
        if (json_is_boolean(value)) {
            snprintf(number, sizeof(number), "%s", json_is_true(value) ? "yes" : "no");
        }
        print_cell(json_is_string(value) ? json_string_value(value) : number, list->widths[column],
                   column + 1 == columns);
        column++;
    }
}

enum kl_rc kl_ctl_list_row(struct kl_ctl_list *list, json_t *row, struct kl_err *err)
{
    int bad = 0;

    if (!row) {
        return kl_err_set(err, KL_ERR_MEMORY, "building a row of the list");
    }
    if (list->json) {
        fputs(list->count ? ",\n  " : "[\n  ", stdout);
        bad = json_dumpf(row, stdout, 0) != 0;
    } else {
        if (list->count == 0) {
            print_header(list, row);
        }
        print_columns(list, row);
    }
    list->count++;
    json_decref(row);
    if (bad || ferror(stdout)) {
        return kl_err_set(err, KL_ERR_IO, "cannot write to standard output");
    }
    return KL_OK;
}

enum kl_rc kl_ctl_list_end(struct kl_ctl_list *list, struct kl_err *err)
{
    if (list->json) {
        fputs(list->count ? "\n]\n" : "[]\n", stdout);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return kl_err_set(err, KL_ERR_IO, "cannot write to standard output");
    }
    return KL_OK;
}
