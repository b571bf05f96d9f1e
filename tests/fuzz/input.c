/* SPDX-License-Identifier: BSD-2-Clause */
/* Scripts, files and invariants of the fuzz targets: see input.h. */
#include "tests/fuzz/input.h"

#include <check.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/secret.h"
#include "tests/support/hsm.h"

void fuzz_broken(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

void fuzz_failed_well(enum kl_rc rc, const struct kl_err *err)
{
    require(rc != KL_OK && err->rc == rc && err->text[0] != '\0');
    require(strlen(err->text) < sizeof(err->text));
}

void fuzz_secrets(void)
{
    struct kl_err err = KL_ERR_INIT;
    unsigned char byte;

    require(RAND_bytes(&byte, 1) == 1 && RAND_priv_bytes(&byte, 1) == 1);
    require(kl_secret_setup(&err) == KL_OK);
}

uint8_t script_byte(struct script *script)
{
    if (script->left == 0) {
        return 0;
    }
    script->left--;
    return *script->at++;
}

unsigned script_below(struct script *script, unsigned n)
{
    return script_byte(script) % n;
}

size_t script_bytes(struct script *script, uint8_t *out, size_t max)
{
    size_t len = script_byte(script);

    len = len < max ? len : max;
    len = len < script->left ? len : script->left;
    if (len > 0) {
        memcpy(out, script->at, len);
        script->at += len;
        script->left -= len;
    }
    return len;
}

static size_t script_place(struct script *script, size_t len)
{
    size_t high = script_byte(script);

    return len == 0 ? 0 : (high << 8 | script_byte(script)) % len;
}

static size_t insert(struct script *script, uint8_t *message, size_t len, size_t at, size_t max)
{
    uint8_t more[256];
    size_t n = script_bytes(script, more, max - len < sizeof(more) ? max - len : sizeof(more));

    memmove(message + at + n, message + at, len - at);
    memcpy(message + at, more, n);
    return len + n;
}

size_t script_edit(struct script *script, uint8_t *message, size_t len, size_t max)
{
    enum { KEEP, FLIP, SET, CUT, INSERT, REMOVE, REPLACE, OVERWRITE, HOWS };
    unsigned how = script_below(script, HOWS);
    size_t at = how == KEEP ? 0 : script_place(script, len), n;

    switch (how) {
    case FLIP:
        message[at] ^= (uint8_t)(1U << script_below(script, 8));
        return len;
    case SET:
        message[at] = script_byte(script);
        return len;
    case CUT:
        return at;
    case INSERT:
        return insert(script, message, len, at, max);
    case REMOVE:
        n = 1 + script_below(script, 64);
        n = n < len - at ? n : len - at;
        memmove(message + at, message + at + n, len - at - n);
        return len - n;
    case REPLACE:
        return script_bytes(script, message, max);
    case OVERWRITE:
        script_bytes(script, message + at, len - at);
        return len;
    default:
        return len;
    }
}

const char *fuzz_file(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[40];

    if (fd >= 0) {
        close(fd);
    }
    fd = memfd_create("input", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return path;
}

static char folder[PATH_MAX];

static void remove_folder(void)
{
    test_rm_rf(folder);
}

const char *fuzz_folder(void)
{
    if (folder[0] == '\0') {
        const char *tmp = getenv("TMPDIR");

        require(snprintf(folder, sizeof(folder), "%s/kl-fuzz-XXXXXX", tmp ? tmp : "/tmp") <
                (int)sizeof(folder));
        require(mkdtemp(folder) != NULL && atexit(remove_folder) == 0);
    }
    return folder;
}

/* ---- In the place of libcheck, which reports to a runner that there is none of here ---- */

void _mark_point(const char *file, int line)
{
    (void)file;
    (void)line;
}

void _ck_assert_failed(const char *file, int line, const char *expr, const char *msg, ...)
{
    va_list args;

    va_start(args, msg);
    if (msg) {
        vfprintf(stderr, msg, args);
    }
    va_end(args);
    fuzz_broken(file, line, expr);
}
