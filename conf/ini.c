/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Configuration files. inih splits lines, but it also cuts long ones, drops what follows " ;",
 * joins indented ones and stops at NUL, all without a word. So the file is read whole, each line
 * is checked for whatever inih would hide, and inih is fed from the checked text.
 */
#include "conf/ini.h"

#include <ini.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "conf/cli.h"

#define FILE_MAX (1024 * 1024) /* bytes */
#define LINE_LEN_MAX 1000      /* bytes without the line end */

struct parse { /* of the lines */
    const char *path;
    const char *text, *end; /* what inih has not asked for yet */
    unsigned line;          /* of what inih got last */
    kl_ini_line_fn *take;
    void *user;
    struct kl_err *err;
    enum kl_rc rc;
};

struct filling { /* of a configuration struct, by a table */
    const struct kl_ini_key *table;
    size_t count;
    unsigned *seen; /* for each key its line, 0 = not yet */
    void *config;
};

/* ---- Values ---- */

static int is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void *member(const struct kl_ini_key *key, void *config)
{
    return (char *)config + key->offset;
}

static int is_path(const struct kl_ini_key *key)
{
    return key->type == KL_INI_PATH || key->type == KL_INI_FILE;
}

static int is_text(const struct kl_ini_key *key)
{
    return key->type == KL_INI_STRING || is_path(key);
}

static enum kl_rc set_text(const struct kl_ini_key *key, const char *value, void *config,
                           struct kl_err *err)
{
    uint64_t max = is_path(key) ? PATH_MAX - 1 : key->max;
    uint64_t min = key->type == KL_INI_PATH ? 1 : key->min;
    size_t len = strlen(value);
    char *copy;

    if (len < min || len > max) {
        return kl_err_set(err, KL_ERR_CONFIG, "must have %" PRIu64 " to %" PRIu64 " characters",
                          min, max);
    }
    if (is_path(key) && len > 0 && value[0] != '/') {
        return kl_err_set(err, KL_ERR_CONFIG, "'%.100s' must be an absolute path", value);
    }
    if (!(copy = strdup(value))) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory");
    }
    *(char **)member(key, config) = copy;
    return KL_OK;
}

static enum kl_rc find_choice(const char *const *choices, const char *value, uint64_t *out,
                              struct kl_err *err)
{
    char list[160] = "";

    for (uint64_t i = 0; choices[i]; i++) {
        size_t used = strlen(list);

        if (strcmp(choices[i], value) == 0) {
            *out = i;
            return KL_OK;
        }
        snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", choices[i]);
    }
    return kl_err_set(err, KL_ERR_CONFIG, "'%.40s' must be one of %s", value, list);
}

/* "green, red": names between commas, with blanks around them. */
static enum kl_rc set_list(const struct kl_ini_key *key, const char *value, void *config,
                           struct kl_err *err)
{
    struct kl_ini_list list = {0};
    const char *at = value, *stop;
    char name[40];

    do {
        uint64_t item;
        size_t len;

        at += strspn(at, " \t");
        stop = at + strcspn(at, ",");
        for (len = (size_t)(stop - at); len > 0 && is_blank(at[len - 1]);) {
            len--;
        }
        snprintf(name, sizeof(name), "%.*s", len < sizeof(name) ? (int)len : (int)sizeof(name), at);
        if (find_choice(key->choices, name, &item, err) != KL_OK) {
            return err->rc;
        }
        for (size_t i = 0; i < list.count; i++) {
            if (list.items[i] == item) {
                return kl_err_set(err, KL_ERR_CONFIG, "'%s' stands there twice", name);
            }
        }
        list.items[list.count++] = item; /* it fits: there are no more choices than places */
        at = stop + 1;
    } while (*stop == ',');
    *(struct kl_ini_list *)member(key, config) = list;
    return KL_OK;
}

/* A value as it stands in the file, or a fallback, into its member. */
static enum kl_rc set_value(const struct kl_ini_key *key, const char *value, void *config,
                            struct kl_err *err)
{
    static const char *const no_yes[] = {"no", "yes", NULL};
    enum kl_rc rc = KL_ERR_INTERNAL;
    uint64_t number = 0;

    switch (key->type) {
    case KL_INI_STRING:
    case KL_INI_PATH:
    case KL_INI_FILE:
        return set_text(key, value, config, err);
    case KL_INI_NUMBER:
        rc = kl_parse_number(value, key->min, key->max, &number, err);
        break;
    case KL_INI_DURATION:
        rc = kl_parse_duration(value, key->min, key->max, &number, err);
        break;
    case KL_INI_BOOL:
        rc = find_choice(no_yes, value, &number, err);
        break;
    case KL_INI_CHOICE:
        rc = find_choice(key->choices, value, &number, err);
        break;
    case KL_INI_LIST:
        return set_list(key, value, config, err);
    }
    if (rc != KL_OK) {
        return err->rc = KL_ERR_CONFIG;
    }
    *(uint64_t *)member(key, config) = number;
    return KL_OK;
}

/* ---- Lines ---- */

/* What is wrong with a line that inih would take in silence; NULL if nothing. */
static const char *line_fault(const char *line, size_t len)
{
    size_t start = 0, end = len;

    if (len > LINE_LEN_MAX) {
        return "the line is too long (1000 bytes at most)";
    }
    for (size_t i = 0; i < len; i++) {
        if (((unsigned char)line[i] < ' ' && line[i] != '\t') || line[i] == 0x7f) {
            return "the line holds a control character";
        }
    }
    while (start < len && is_blank(line[start])) {
        start++;
    }
    while (end > start && is_blank(line[end - 1])) {
        end--;
    }
    if (start == end || line[start] == ';' || line[start] == '#') {
        return NULL;
    }
    if (start > 0) {
        return "the line is indented: a value cannot be continued on a second line";
    }
    if (line[0] == '[' && line[end - 1] != ']') {
        return "a section must be alone on its line, as [name]";
    }
    for (size_t i = 1; i < end; i++) {
        if (is_blank(line[i - 1]) && (line[i] == ';' || line[i] == '#')) {
            return "a comment must stand on a line of its own";
        }
    }
    return NULL;
}

enum kl_rc kl_ini_writable(const char *key, const char *value, struct kl_err *err)
{
    char line[LINE_LEN_MAX + 2]; /* room for one byte too many, so that it shows */
    const char *fault = "blanks before or after the value would be lost";
    size_t len = strlen(value);
    int line_len = snprintf(line, sizeof(line), "%s = %s", key, value);

    if (len == 0 || (!is_blank(value[0]) && !is_blank(value[len - 1]))) {
        fault =
            line_fault(line, (size_t)line_len < sizeof(line) ? (size_t)line_len : sizeof(line) - 1);
    }
    if (fault) {
        return kl_err_set(err, KL_ERR_INPUT, "%s cannot stand in a configuration file: %s", key,
                          fault);
    }
    return KL_OK;
}

/* Only the first error is kept. */
static void fail_line(struct parse *p, unsigned line, const char *what)
{
    if (p->rc == KL_OK) {
        p->rc = kl_err_set(p->err, KL_ERR_CONFIG, "%s:%u: %s", p->path, line, what);
    }
}

static enum kl_rc check_lines(struct parse *p)
{
    const char *at = p->text, *stop, *fault;
    unsigned line = 1;

    if (p->end - at >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0) {
        fail_line(p, 1, "the file begins with a byte order mark: save it as plain UTF-8");
    }
    for (; at < p->end && p->rc == KL_OK; at = stop + 1, line++) {
        size_t len;

        stop = memchr(at, '\n', (size_t)(p->end - at));
        if (!stop) {
            stop = p->end;
        }
        len = (size_t)(stop - at);
        if (len > 0 && at[len - 1] == '\r') {
            len--;
        }
        if ((fault = line_fault(at, len))) {
            fail_line(p, line, fault);
        }
    }
    return p->rc;
}

/* fgets over the checked text. Lines fit: ini_max_line says so. */
static char *next_line(char *out, int size, void *stream)
{
    struct parse *p = stream;
    const char *stop;
    size_t len;

    if (p->rc != KL_OK || p->text >= p->end) {
        return NULL;
    }
    stop = memchr(p->text, '\n', (size_t)(p->end - p->text));
    len = (size_t)((stop ? stop + 1 : p->end) - p->text);
    if (len >= (size_t)size) {
        fail_line(p, p->line + 1, "the line is too long");
        return NULL;
    }
    memcpy(out, p->text, len);
    out[len] = '\0';
    p->text += len;
    p->line++;
    return out;
}

/* inih's handler; it knows no line numbers, but it is called before the next line is read. */
static int take_line(void *user, const char *section, const char *name, const char *value)
{
    struct parse *p = user;

    if (p->rc == KL_OK) {
        p->rc = p->take(p->user, section, name, value, p->line, p->err);
        if (p->rc != KL_OK) {
            kl_err_context(p->err, "%s:%u", p->path, p->line);
        }
    }
    return p->rc == KL_OK;
}

enum kl_rc kl_ini_parse(const char *name, const char *text, size_t len, kl_ini_line_fn *take,
                        void *user, struct kl_err *err)
{
    struct parse p = {
        .path = name, .text = text, .end = text + len, .take = take, .user = user, .err = err};
    int bad_line;

    if (check_lines(&p) != KL_OK) {
        return p.rc;
    }
    ini_max_line = LINE_LEN_MAX + 3; /* its default is 200: too short for a path and a URI */
    bad_line = ini_parse_stream(next_line, &p, take_line, &p);
    if (bad_line < 0) {
        p.rc = kl_err_set(err, KL_ERR_MEMORY, "%s: out of memory", name);
    } else if (bad_line > 0) {
        fail_line(&p, (unsigned)bad_line, "must be [section], key = value, or a comment");
    }
    return p.rc;
}

/* ---- Whole files ---- */

static const char *closest_fault(const struct filling *f, const char *section)
{
    for (size_t i = 0; i < f->count; i++) {
        if (strcmp(f->table[i].section, section) == 0) {
            return "unknown key";
        }
    }
    return section[0] ? "unknown section" : "key before the first [section]";
}

static enum kl_rc take_value(void *user, const char *section, const char *name, const char *value,
                             unsigned line, struct kl_err *err)
{
    struct filling *f = user;
    const struct kl_ini_key *key = f->table, *end = f->table + f->count;

    while (key < end && (strcmp(key->section, section) != 0 || strcmp(key->key, name) != 0)) {
        key++;
    }
    if (key == end) {
        return kl_err_set(err, KL_ERR_CONFIG, "%s: [%s] %s", closest_fault(f, section), section,
                          name);
    }
    if (f->seen[key - f->table]) {
        return kl_err_set(err, KL_ERR_CONFIG, "[%s] %s is set already, on line %u", section, name,
                          f->seen[key - f->table]);
    }
    f->seen[key - f->table] = line;
    return set_value(key, value, f->config, err) ? kl_err_context(err, "[%s] %s", section, name)
                                                 : KL_OK;
}

static enum kl_rc set_fallbacks(const struct filling *f, const char *path, struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; i < f->count && rc == KL_OK; i++) {
        const struct kl_ini_key *key = &f->table[i];

        if (f->seen[i]) {
            continue;
        }
        if (!key->fallback) {
            rc = kl_err_set(err, KL_ERR_CONFIG, "%s: [%s] %s must be set", path, key->section,
                            key->key);
        } else if ((rc = set_value(key, key->fallback, f->config, err)) != KL_OK) {
            rc = kl_err_context(err, "default of [%s] %s", key->section, key->key);
        }
    }
    return rc;
}

enum kl_rc kl_ini_load(const char *path, const struct kl_ini_key *table, size_t count, void *config,
                       struct kl_err *err)
{
    struct filling f = {.table = table, .count = count, .config = config};
    char *text = NULL;
    size_t len = 0;
    enum kl_rc rc = kl_file_read(path, FILE_MAX, &text, &len, err);

    if (rc != KL_OK) {
        return rc == KL_ERR_INPUT ? (err->rc = KL_ERR_CONFIG) : rc;
    }
    f.seen = calloc(count ? count : 1, sizeof(*f.seen));
    rc = f.seen ? kl_ini_parse(path, text, len, take_value, &f, err)
                : kl_err_set(err, KL_ERR_MEMORY, "%s: out of memory", path);
    if (rc == KL_OK) {
        rc = set_fallbacks(&f, path, err);
    }
    if (rc != KL_OK) {
        kl_ini_wipe(table, count, config);
    }
    free(f.seen);
    free(text);
    return rc;
}

/* ---- Another reading of the same file ---- */

static const void *member_of(const struct kl_ini_key *key, const void *config)
{
    return (const char *)config + key->offset;
}

static int lists_equal(const struct kl_ini_list *a, const struct kl_ini_list *b)
{
    return a->count == b->count && memcmp(a->items, b->items, a->count * sizeof(a->items[0])) == 0;
}

static int values_equal(const struct kl_ini_key *key, const void *a, const void *b)
{
    if (is_text(key)) {
        return strcmp(*(char *const *)a, *(char *const *)b) == 0;
    }
    return key->type == KL_INI_LIST ? lists_equal(a, b)
                                    : *(const uint64_t *)a == *(const uint64_t *)b;
}

static enum kl_rc copy_value(const struct kl_ini_key *key, const void *from, void *to,
                             struct kl_err *err)
{
    char *copy;

    if (!is_text(key)) {
        memcpy(to, from, key->type == KL_INI_LIST ? sizeof(struct kl_ini_list) : sizeof(uint64_t));
        return KL_OK;
    }
    if (!(copy = strdup(*(char *const *)from))) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory");
    }
    free(*(char **)to);
    *(char **)to = copy;
    return KL_OK;
}

enum kl_rc kl_ini_keep(const struct kl_ini_key *table, size_t count, const void *running,
                       void *config, const struct kl_ini_key **kept, size_t *kept_count,
                       struct kl_err *err)
{
    size_t differing = 0;

    for (size_t i = 0; i < count; i++) {
        const void *old = member_of(&table[i], running);

        if (!table[i].restart || values_equal(&table[i], old, member(&table[i], config))) {
            continue;
        }
        if (copy_value(&table[i], old, member(&table[i], config), err) != KL_OK) {
            return err->rc;
        }
        kept[differing++] = &table[i];
    }
    *kept_count = differing;
    return KL_OK;
}

void kl_ini_wipe(const struct kl_ini_key *table, size_t count, void *config)
{
    for (size_t i = 0; i < count; i++) {
        char **text;

        if (!is_text(&table[i])) {
            continue;
        }
        text = member(&table[i], config);
        free(*text);
        *text = NULL;
    }
}

static void print_range(const struct kl_ini_key *key, FILE *out)
{
    switch (key->type) {
    case KL_INI_NUMBER:
        fprintf(out, " (%" PRIu64 " to %" PRIu64 ")", key->min, key->max);
        break;
    case KL_INI_DURATION:
        fprintf(out, " (%" PRIu64 "s to %" PRIu64 "s; units s, m, h, d)", key->min, key->max);
        break;
    case KL_INI_BOOL:
        fputs(" (yes or no)", out);
        break;
    case KL_INI_CHOICE:
    case KL_INI_LIST:
        fputs(key->type == KL_INI_LIST ? " (some of " : " (", out);
        for (size_t i = 0; key->choices[i]; i++) {
            fprintf(out, "%s%s", i ? ", " : "", key->choices[i]);
        }
        fputs(")", out);
        break;
    case KL_INI_FILE:
        fputs(" (absolute path, or empty for none)", out);
        break;
    case KL_INI_PATH:
        fputs(" (absolute path)", out);
        break;
    case KL_INI_STRING:
        break;
    }
}

void kl_ini_print_help(const struct kl_ini_key *table, size_t count, FILE *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct kl_ini_key *key = &table[i];

        if (i == 0 || strcmp(key->section, table[i - 1].section) != 0) {
            fprintf(out, "%s[%s]\n", i ? "\n" : "", key->section);
        }
        fprintf(out, "# %s", key->help);
        print_range(key, out);
        fputs(key->restart ? "; read at a restart" : "", out);
        if (!key->fallback) {
            fprintf(out, "; must be set\n%s =\n", key->key);
        } else {
            fprintf(out, "\n#%s =%s%s\n", key->key, key->fallback[0] ? " " : "", key->fallback);
        }
    }
}
