/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The test vectors of docs/protocol.md: whole loads and sign-ins with everything fixed that is
 * random in life. Both sides are computed (tests/support/vecgen.h) by OpenSSL and proto/ alone, so
 * that neither the loader's nor the terminal's own code is the measure of itself; the suites
 * tests/unit/test_vectors*.c hold them against it.
 */
#include <err.h>
#include <getopt.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "tests/support/vecgen.h"

#define BEGIN_MARK "<!-- vectors:begin -->\n"
#define END_MARK "<!-- vectors:end -->\n"
#define DOCUMENT_MAX (4 << 20)

/* A library context whose generator hands out what it was fed: the seed of OAEP, the salt of PSS.
 * Everything else here is deterministic anyway. */
static OSSL_LIB_CTX *fixed_new(void)
{
    OSSL_LIB_CTX *fixed = OSSL_LIB_CTX_new();

    vg_need(fixed && RAND_set_DRBG_type(fixed, "TEST-RAND", NULL, NULL, NULL),
            "RAND_set_DRBG_type");
    return fixed;
}

static void print_root(const struct vg *vg, const char *name, const char *title)
{
    struct kl_bytes root = vg_read_der(vg, name);

    fprintf(vg->out, "\n### %s\n\n%s.\n\n```text\n", name, title);
    vg_print(vg->out, "root", root.data, root.len);
    vg_print_end(vg->out);
    vg_free_der(&root);
}

/* The section as it stands between the marks; the caller frees it. */
static char *make_section(const char *dir)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    struct vg vg = {.out = out, .dir = dir, .fixed = fixed_new()};

    if (!out) {
        err(EX_OSERR, "open_memstream");
    }
    print_root(&vg, "root", "AcquireRCRT of the loads with RSA work keys; RSA-3072");
    print_root(
        &vg, "root-ec",
        "AcquireRCRT of the loads with EC work keys, and root of the terminal's certificate; "
        "P-384");
    vg_loads(&vg);
    vg_sign_ins(&vg);
    fputc('\n', out);
    if (fclose(out) != 0) {
        err(EX_OSERR, "open_memstream");
    }
    OSSL_LIB_CTX_free(vg.fixed);
    return text;
}

static char *read_document(const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = calloc(1, DOCUMENT_MAX);
    size_t len;

    if (!file) {
        err(EX_NOINPUT, "%s", path);
    }
    if (!text) {
        err(EX_OSERR, "%s", path);
    }
    len = fread(text, 1, DOCUMENT_MAX - 1, file);
    if (ferror(file) || len == DOCUMENT_MAX - 1) {
        errx(EX_IOERR, "%s: cannot be read, or is too long", path);
    }
    fclose(file);
    return text;
}

/* Where the section stands in the document: from after the first mark to the second. */
static char *find_section(char *document, const char *path, char **end)
{
    char *begin = strstr(document, BEGIN_MARK);

    *end = begin ? strstr(begin, END_MARK) : NULL;
    if (!*end) {
        errx(EX_DATAERR, "%s: lacks the lines %.*s and %.*s", path, (int)strlen(BEGIN_MARK) - 1,
             BEGIN_MARK, (int)strlen(END_MARK) - 1, END_MARK);
    }
    return begin + strlen(BEGIN_MARK);
}

static int check_document(const char *path, const char *section)
{
    char *document = read_document(path), *end;
    char *begin = find_section(document, path, &end);
    int same =
        (size_t)(end - begin) == strlen(section) && memcmp(begin, section, strlen(section)) == 0;

    if (!same) {
        warnx("%s: the vectors are not what this program computes; see --update", path);
    }
    free(document);
    return same ? 0 : 1;
}

static void update_document(const char *path, const char *section)
{
    char *document = read_document(path), *end;
    char *begin = find_section(document, path, &end);
    FILE *file = fopen(path, "we");

    if (!file) {
        err(EX_CANTCREAT, "%s", path);
    }
    fprintf(file, "%.*s%s%s", (int)(begin - document), document, section, end);
    if (fclose(file) != 0) {
        err(EX_IOERR, "%s", path);
    }
    free(document);
}

static void usage(FILE *out)
{
    fputs("usage: vectors [--data DIR] [--update FILE | --check FILE]\n"
          "Prints the test vectors of docs/protocol.md, or writes them between the marks in FILE,\n"
          "or ends with status 1 if others stand there. DIR is tests/data unless named.\n",
          out);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"data", required_argument, NULL, 'd'},
                                            {"update", required_argument, NULL, 'u'},
                                            {"check", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *dir = "tests/data", *update = NULL, *check = NULL;
    char *section;
    int status = 0;

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'd') {
            dir = optarg;
        } else if (c == 'u') {
            update = optarg;
        } else if (c == 'c') {
            check = optarg;
        } else {
            usage(c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : EX_USAGE;
        }
    }
    if (optind != argc || (update && check)) {
        usage(stderr);
        return EX_USAGE;
    }
    section = make_section(dir);
    if (update) {
        update_document(update, section);
    } else if (check) {
        status = check_document(check, section);
    } else {
        fputs(section, stdout);
    }
    free(section);
    return status;
}
