/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of modules in docs/modules.md, out of what `keyloaderctl --json hsm check` says:
 *
 *   modules --update FILE NAME=JSON...   puts these columns in; others stay
 *   modules --check FILE NAME=JSON...    status 1 if FILE says otherwise (figures aside)
 *
 * NAME is a module and, behind a blank, the version that gave the answers; a module has one column,
 * whatever its version. The table stands between two marks in FILE; its first column says what the
 * rows are of.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEGIN "<!-- modules: begin -->\n"
#define END "<!-- modules: end -->\n"
#define ROWS 64
#define COLUMNS 8

struct table {
    size_t columns, rows; /* with the heading and the first column */
    char *cell[ROWS][COLUMNS];
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "modules: %s: %s\n", what, why);
    exit(1);
}

static char *read_whole(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t size = 0;

    if (!file || (getdelim(&text, &size, '\0', file) < 0 && ferror(file))) {
        die(path, "cannot be read");
    }
    fclose(file);
    return text ? text : strdup("");
}

/* A cell's text begins and ends without blanks. */
static char *trimmed(const char *text, size_t len)
{
    while (len > 0 && *text == ' ') {
        text++;
        len--;
    }
    while (len > 0 && text[len - 1] == ' ') {
        len--;
    }
    return strndup(text, len);
}

/* "| a | b |" lines; the second, of dashes, is left out. */
static void parse(char *text, struct table *table)
{
    char *save = NULL;
    size_t lines = 0;

    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        size_t column = 0;
        if (lines++ == 1 || line[0] != '|' || table->rows == ROWS) {
            continue;
        }
        for (char *at = line + 1, *stop; (stop = strchr(at, '|')) && column < COLUMNS;
             at = stop + 1) {
            table->cell[table->rows][column++] = trimmed(at, (size_t)(stop - at));
        }
        table->rows++;
        table->columns = column > table->columns ? column : table->columns;
    }
}

static size_t find_row(struct table *table, const char *what)
{
    for (size_t i = 1; i < table->rows; i++) {
        if (strcmp(table->cell[i][0], what) == 0) {
            return i;
        }
    }
    if (table->rows == ROWS) {
        die(what, "too many rows");
    }
    table->cell[table->rows][0] = strdup(what);
    return table->rows++;
}

static int same_module(const char *a, const char *b)
{
    size_t len = strcspn(a, " ");

    return len == strcspn(b, " ") && strncmp(a, b, len) == 0;
}

static size_t find_column(struct table *table, const char *name)
{
    if (table->rows == 0) {
        table->cell[table->rows++][0] = strdup("");
        table->columns = 1;
    }
    for (size_t i = 1; i < table->columns; i++) {
        if (same_module(table->cell[0][i], name)) {
            return i;
        }
    }
    if (table->columns == COLUMNS) {
        die(name, "too many columns");
    }
    table->cell[0][table->columns] = strdup(name);
    return table->columns++;
}

/* One module's answers: into its column, or compared with it. Returns how many differ. */
static int take(struct table *table, const char *name, const char *path, int check)
{
    json_error_t why;
    json_t *rows = json_load_file(path, 0, &why), *row;
    size_t column = find_column(table, name), i;
    int differ = 0;

    if (!json_is_array(rows) || json_array_size(rows) == 0) {
        die(path, rows ? "no rows" : why.text);
    }
    if (strcmp(table->cell[0][column], name) != 0) {
        fprintf(stderr, "%s: the table is of %s\n", name, table->cell[0][column]);
        free(table->cell[0][column]);
        table->cell[0][column] = strdup(name);
    }
    json_array_foreach(rows, i, row)
    {
        const char *what = json_string_value(json_object_get(row, "what"));
        const char *answer = json_string_value(json_object_get(row, "answer"));
        if (!what || !answer) {
            die(path, "a row without text");
        }
        char **cell = &table->cell[find_row(table, what)][column];
        if (check && strncmp(what, "ms ", 3) != 0 && (!*cell || strcmp(*cell, answer) != 0)) {
            fprintf(stderr, "%s, %s: the table says \"%s\", the module \"%s\"\n", name, what,
                    *cell ? *cell : "", answer);
            differ++;
        }
        free(*cell);
        *cell = strdup(answer);
    }
    json_decref(rows);
    return differ;
}

static void write_table(const char *path, const char *before, const struct table *table,
                        const char *after)
{
    FILE *file = fopen(path, "w");

    if (!file) {
        die(path, "cannot be written");
    }
    fprintf(file, "%s" BEGIN, before);
    for (size_t i = 0; i < table->rows; i++) {
        for (size_t k = 0; k < table->columns; k++) {
            fprintf(file, "| %s ", table->cell[i][k] ? table->cell[i][k] : "");
        }
        fputs("|\n", file);
        for (size_t k = 0; i == 0 && k < table->columns; k++) {
            fputs(k + 1 < table->columns ? "|---" : "|---|\n", file);
        }
    }
    fprintf(file, END "%s", after);
    if (fclose(file) != 0) {
        die(path, "cannot be written");
    }
}

int main(int argc, char **argv)
{
    static struct table table;
    int check, differ = 0;
    char *text, *begin, *end;

    if (argc < 4 || (strcmp(argv[1], "--update") != 0 && strcmp(argv[1], "--check") != 0)) {
        die("usage", "modules --update|--check FILE NAME=JSON...");
    }
    check = strcmp(argv[1], "--check") == 0;
    text = read_whole(argv[2]);
    begin = strstr(text, BEGIN);
    end = begin ? strstr(begin, END) : NULL;
    if (!end) {
        die(argv[2], "has no place for the table");
    }
    *begin = *end = '\0';
    parse(begin + strlen(BEGIN), &table);
    for (int i = 3; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        if (!equals) {
            die(argv[i], "must be NAME=JSON");
        }
        *equals = '\0';
        differ += take(&table, argv[i], equals + 1, check);
    }
    if (!check) {
        write_table(argv[2], text, &table, end + strlen(END));
    }
    for (size_t i = 0; i < table.rows; i++) {
        for (size_t k = 0; k < table.columns; k++) {
            free(table.cell[i][k]);
        }
    }
    free(text);
    return differ > 0;
}
