/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where PINs come from: the terminal, a file that only we or root can read, or a credential that
 * systemd hands over. From the first byte on they stand in locked memory only.
 */
#include "pkcs11/pin.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIN_MIN 4
#define PIN_MAX 255
#define PIN_FILE_MAX (PIN_MAX + 2) /* and a line end, CR LF at worst */

/* Cuts the line end and checks the length; source is for the message. */
static enum kl_rc finish(struct kl_secret *pin, size_t len, const char *source, struct kl_err *err)
{
    const uint8_t *data = kl_secret_data(pin);

    if (len > 0 && data[len - 1] == '\n') {
        len--;
    }
    if (len > 0 && data[len - 1] == '\r') {
        len--;
    }
    if (len < PIN_MIN || len > PIN_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "PIN from %s: must have %d to %d bytes", source,
                          PIN_MIN, PIN_MAX);
    }
    if (memchr(data, '\0', len) || memchr(data, '\n', len)) {
        return kl_err_set(err, KL_ERR_INPUT, "PIN from %s: must be one line of text", source);
    }
    kl_secret_set_len(pin, len);
    return KL_OK;
}

/* Permissions that a PIN file must not give. systemd lets a service's user read a credential by an
 * access list, which shows as group permission; the directory around it keeps others out. */
#define FORBIDDEN_FILE 077u
#define FORBIDDEN_CREDENTIAL 037u

static enum kl_rc check_file(int fd, const char *path, unsigned forbidden, struct kl_err *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0) {
        return kl_err_errno(err, "fstat", "PIN file %s", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return kl_err_set(err, KL_ERR_PERMISSION, "PIN file %s: not a regular file", path);
    }
    if (st.st_uid != 0 && st.st_uid != geteuid()) {
        return kl_err_set(err, KL_ERR_PERMISSION,
                          "PIN file %s: owned by user %lu; must be owned by root or by us", path,
                          (unsigned long)st.st_uid);
    }
    if (st.st_mode & forbidden) {
        return kl_err_set(err, KL_ERR_PERMISSION,
                          "PIN file %s: mode %04o lets others at it; chmod 0400 it", path,
                          (unsigned)st.st_mode & 07777u);
    }
    if (st.st_size > PIN_FILE_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "PIN file %s: too long for a PIN", path);
    }
    return KL_OK;
}

static enum kl_rc read_file(const char *path, unsigned forbidden, struct kl_secret *pin,
                            struct kl_err *err)
{
    enum kl_rc rc;
    size_t len = 0;
    ssize_t got;
    /* O_NONBLOCK: opening a FIFO must not hang before check_file() refuses it. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);

    if (fd < 0 && errno == ELOOP) {
        return kl_err_set(err, KL_ERR_PERMISSION, "PIN file %s: is a symbolic link", path);
    }
    if (fd < 0) {
        return kl_err_errno(err, "open", "PIN file %s", path);
    }
    if ((rc = check_file(fd, path, forbidden, err)) != KL_OK) {
        goto out;
    }
    do {
        got = read(fd, kl_secret_data(pin) + len, kl_secret_capacity(pin) - len);
        if (got > 0) {
            len += (size_t)got;
        }
    } while (got > 0 || (got < 0 && errno == EINTR));
    if (got < 0) {
        rc = kl_err_errno(err, "read", "PIN file %s", path);
    } else {
        rc = finish(pin, len, path, err);
    }
out:
    close(fd);
    return rc;
}

static enum kl_rc read_credential(const char *name, struct kl_secret *pin, struct kl_err *err)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    char path[4096];
    int len;

    if (!dir || dir[0] != '/') {
        return kl_err_set(
            err, KL_ERR_CONFIG,
            "PIN credential \"%s\": no $CREDENTIALS_DIRECTORY; run under systemd with "
            "LoadCredential=%s:/PATH",
            name, name);
    }
    if (name[0] == '\0' || name[0] == '.' || strchr(name, '/')) {
        return kl_err_set(err, KL_ERR_CONFIG, "PIN credential \"%s\": not a credential name", name);
    }
    len = snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (len < 0 || (size_t)len >= sizeof(path)) {
        return kl_err_set(err, KL_ERR_CONFIG, "PIN credential \"%s\": path too long", name);
    }
    return read_file(path, FORBIDDEN_CREDENTIAL, pin, err);
}

static enum kl_rc read_prompt(const char *prompt, struct kl_secret *pin, struct kl_err *err)
{
    char line[128];
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

    /* Without a terminal OpenSSL would fall back to standard input and echo. */
    if (fd < 0) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "%s: there is no terminal to ask on; name a PIN file instead", prompt);
    }
    close(fd);
    (void)snprintf(line, sizeof(line), "%s: ", prompt);
    if (EVP_read_pw_string_min((char *)kl_secret_data(pin), PIN_MIN, PIN_MAX, line, 0) != 0) {
        ERR_clear_error();
        return kl_err_set(err, KL_ERR_INPUT, "%s: no PIN of %d to %d bytes was typed", prompt,
                          PIN_MIN, PIN_MAX);
    }
    return finish(pin, strlen((char *)kl_secret_data(pin)), "the terminal", err);
}

int kl_pin_is_prompt(const char *source)
{
    return !source || strcmp(source, "prompt") == 0;
}

enum kl_rc kl_pin_read(const char *source, const char *prompt, struct kl_secret **out,
                       struct kl_err *err)
{
    struct kl_secret *pin = NULL;
    enum kl_rc rc = kl_secret_new(PIN_FILE_MAX + 1, &pin, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (kl_pin_is_prompt(source)) {
        rc = read_prompt(prompt, pin, err);
    } else if (strncmp(source, "credential:", 11) == 0) {
        rc = read_credential(source + 11, pin, err);
    } else if (strncmp(source, "file:/", 6) == 0) {
        rc = read_file(source + 5, FORBIDDEN_FILE, pin, err);
    } else if (source[0] == '/') {
        rc = read_file(source, FORBIDDEN_FILE, pin, err);
    } else {
        rc = kl_err_set(err, KL_ERR_CONFIG,
                        "PIN source: must be \"prompt\", an absolute path, \"file:/PATH\" or "
                        "\"credential:NAME\"");
    }
    if (rc != KL_OK) {
        kl_secret_free(pin);
        return rc;
    }
    *out = pin;
    return KL_OK;
}
