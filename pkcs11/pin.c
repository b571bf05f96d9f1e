/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where PINs, passphrases and key components come from: the terminal, a file that only we or root
 * can read, or a credential that systemd hands over. From the first byte on they stand in locked
 * memory only.
 */
#include "pkcs11/pin.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_END_MAX 2 /* bytes: CR LF */

static const struct kind {
    const char *name;
    size_t min, max; /* bytes */
} kinds[] = {
    [KL_TYPED_PIN] = {"PIN", 4, 255},
    [KL_TYPED_PASSPHRASE] = {"passphrase", 4, 1000},
    [KL_TYPED_COMPONENT] = {"key component", 4, 255},
};

/* Cuts the line end and checks the length; source is for the message. */
static enum kl_rc finish(const struct kind *kind, struct kl_secret *secret, size_t len,
                         const char *source, struct kl_err *err)
{
    const uint8_t *data = kl_secret_data(secret);

    if (len > 0 && data[len - 1] == '\n') {
        len--;
    }
    if (len > 0 && data[len - 1] == '\r') {
        len--;
    }
    if (len < kind->min || len > kind->max) {
        return kl_err_set(err, KL_ERR_INPUT, "%s from %s: must have %zu to %zu bytes", kind->name,
                          source, kind->min, kind->max);
    }
    if (memchr(data, '\0', len) || memchr(data, '\n', len)) {
        return kl_err_set(err, KL_ERR_INPUT, "%s from %s: must be one line of text", kind->name,
                          source);
    }
    kl_secret_set_len(secret, len);
    return KL_OK;
}

/* Permissions that a PIN file must not give. systemd lets a service's user read a credential by an
 * access list, which shows as group permission; the directory around it keeps others out. */
#define FORBIDDEN_FILE 077u
#define FORBIDDEN_CREDENTIAL 037u

static enum kl_rc check_file(const struct kind *kind, int fd, const char *path, unsigned forbidden,
                             struct kl_err *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0) {
        return kl_err_errno(err, "fstat", "%s file %s", kind->name, path);
    }
    if (!S_ISREG(st.st_mode)) {
        return kl_err_set(err, KL_ERR_PERMISSION, "%s file %s: not a regular file", kind->name,
                          path);
    }
    if (st.st_uid != 0 && st.st_uid != geteuid()) {
        return kl_err_set(err, KL_ERR_PERMISSION,
                          "%s file %s: owned by user %lu; must be owned by root or by us",
                          kind->name, path, (unsigned long)st.st_uid);
    }
    if (st.st_mode & forbidden) {
        return kl_err_set(err, KL_ERR_PERMISSION,
                          "%s file %s: mode %04o lets others at it; chmod 0400 it", kind->name,
                          path, (unsigned)st.st_mode & 07777u);
    }
    if (st.st_size > (off_t)(kind->max + LINE_END_MAX)) {
        return kl_err_set(err, KL_ERR_INPUT, "%s file %s: too long for one", kind->name, path);
    }
    return KL_OK;
}

static enum kl_rc read_file(const struct kind *kind, const char *path, unsigned forbidden,
                            struct kl_secret *secret, struct kl_err *err)
{
    enum kl_rc rc;
    size_t len = 0;
    ssize_t got;
    /* O_NONBLOCK: opening a FIFO must not hang before check_file() refuses it. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);

    if (fd < 0 && errno == ELOOP) {
        return kl_err_set(err, KL_ERR_PERMISSION, "%s file %s: is a symbolic link", kind->name,
                          path);
    }
    if (fd < 0) {
        return kl_err_errno(err, "open", "%s file %s", kind->name, path);
    }
    if ((rc = check_file(kind, fd, path, forbidden, err)) != KL_OK) {
        goto out;
    }
    do {
        got = read(fd, kl_secret_data(secret) + len, kl_secret_capacity(secret) - len);
        if (got > 0) {
            len += (size_t)got;
        }
    } while (got > 0 || (got < 0 && errno == EINTR));
    if (got < 0) {
        rc = kl_err_errno(err, "read", "%s file %s", kind->name, path);
    } else {
        rc = finish(kind, secret, len, path, err);
    }
out:
    close(fd);
    return rc;
}

static enum kl_rc read_credential(const struct kind *kind, const char *name,
                                  struct kl_secret *secret, struct kl_err *err)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    char path[4096];
    int len;

    if (!dir || dir[0] != '/') {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "%s credential \"%s\": no $CREDENTIALS_DIRECTORY; run under systemd with "
                          "LoadCredential=%s:/PATH",
                          kind->name, name, name);
    }
    if (name[0] == '\0' || name[0] == '.' || strchr(name, '/')) {
        return kl_err_set(err, KL_ERR_CONFIG, "%s credential \"%s\": not a credential name",
                          kind->name, name);
    }
    len = snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (len < 0 || (size_t)len >= sizeof(path)) {
        return kl_err_set(err, KL_ERR_CONFIG, "%s credential \"%s\": path too long", kind->name,
                          name);
    }
    return read_file(kind, path, FORBIDDEN_CREDENTIAL, secret, err);
}

/* UI_process's answer to Ctrl-C, which OpenSSL takes for itself while it asks. */
#define PROMPT_INTERRUPTED (-2)

static enum kl_rc read_prompt(const struct kind *kind, const char *prompt, struct kl_secret *secret,
                              struct kl_err *err)
{
    char line[128];
    int failed, fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

    /* Without a terminal OpenSSL would fall back to standard input and echo. */
    if (fd < 0) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "%s: there is no terminal to ask on; name a %s file instead", prompt,
                          kind->name);
    }
    close(fd);
    (void)snprintf(line, sizeof(line), "%s: ", prompt);
    failed = EVP_read_pw_string_min((char *)kl_secret_data(secret), (int)kind->min, (int)kind->max,
                                    line, 0);
    if (failed) {
        kl_err_openssl_clear();
    }
    if (failed == PROMPT_INTERRUPTED) {
        return kl_err_set(err, KL_ERR_REFUSED, "%s: interrupted; nothing was done", prompt);
    }
    if (failed) {
        return kl_err_set(err, KL_ERR_INPUT, "%s: no %s of %zu to %zu bytes was typed", prompt,
                          kind->name, kind->min, kind->max);
    }
    return finish(kind, secret, strlen((char *)kl_secret_data(secret)), "the terminal", err);
}

int kl_pin_is_prompt(const char *source)
{
    return !source || strcmp(source, "prompt") == 0;
}

enum kl_rc kl_typed_read(enum kl_typed what, const char *source, const char *prompt,
                         struct kl_secret **out, struct kl_err *err)
{
    const struct kind *kind = &kinds[what];
    struct kl_secret *secret = NULL;
    enum kl_rc rc = kl_secret_new(kind->max + LINE_END_MAX + 1, &secret, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (kl_pin_is_prompt(source)) {
        rc = read_prompt(kind, prompt, secret, err);
    } else if (strncmp(source, "credential:", 11) == 0) {
        rc = read_credential(kind, source + 11, secret, err);
    } else if (strncmp(source, "file:/", 6) == 0) {
        rc = read_file(kind, source + 5, FORBIDDEN_FILE, secret, err);
    } else if (source[0] == '/') {
        rc = read_file(kind, source, FORBIDDEN_FILE, secret, err);
    } else {
        rc = kl_err_set(err, KL_ERR_CONFIG,
                        "%s source: must be \"prompt\", an absolute path, \"file:/PATH\" or "
                        "\"credential:NAME\"",
                        kind->name);
    }
    if (rc != KL_OK) {
        kl_secret_free(secret);
        return rc;
    }
    *out = secret;
    return KL_OK;
}

enum kl_rc kl_pin_read(const char *source, const char *prompt, struct kl_secret **out,
                       struct kl_err *err)
{
    return kl_typed_read(KL_TYPED_PIN, source, prompt, out, err);
}
