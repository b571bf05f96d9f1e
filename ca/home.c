/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files of the CA centre.
 */
#include "ca/home.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/pem.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/certfile.h"
#include "conf/cli.h"
#include "conf/ini.h"
#include "conf/report.h"

#define CONF_FILE "ca.conf"
#define ROOT_FILE "root.pem"
#define VALUE_MAX 1024

#define STRING(key, member, help) \
    { \
        "ca", key, KL_INI_STRING, offsetof(struct kl_ca_conf, member), 0, VALUE_MAX, "", NULL, \
            help \
    }

static const struct kl_ini_key table[] = {
    STRING("module", module, "path of the PKCS#11 module; empty: module-path of the token URI"),
    STRING("init-reserved", init_reserved, "the module's own initialisation string"),
    STRING("token", token, "RFC 7512 URI of the token that holds AcquireRCRT_Prk"),
    STRING("key-label", key_label, "label of AcquireRCRT_Prk in the token"),
    STRING("pem", pem, "encrypted PKCS#8 file in this directory, instead of a token"),
    STRING("pin-source", pin_source, "file:PATH, credential:NAME or prompt"),
};
#define TABLE_COUNT (sizeof table / sizeof table[0])

enum kl_rc kl_home_path(const char *dir, const char *name, char out[PATH_MAX], struct kl_err *err)
{
    int len = snprintf(out, PATH_MAX, "%s/%s", dir, name);

    if (len < 0 || len >= PATH_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "path of %s is too long", name);
    }
    return KL_OK;
}

enum kl_rc kl_home_path_in(const char *dir, const char *folder, const char *name,
                           const char *suffix, char out[PATH_MAX], struct kl_err *err)
{
    int len = snprintf(out, PATH_MAX, "%s/%s/%s%s", dir, folder, name, suffix);

    if (len < 0 || len >= PATH_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "path of %s is too long", name);
    }
    return KL_OK;
}

static enum kl_rc make_dir(const char *path, struct kl_err *err)
{
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        return kl_err_errno(err, "mkdir", "cannot create the directory %s", path);
    }
    return KL_OK;
}

enum kl_rc kl_home_prepare(const char *dir, struct kl_err *err)
{
    static const char *const folders[] = {KL_HOME_ISSUED, KL_HOME_KEYS, KL_HOME_REVOKED,
                                          KL_HOME_CRLS};
    char path[PATH_MAX];
    enum kl_rc rc = kl_home_path(dir, ROOT_FILE, path, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (access(path, F_OK) == 0) {
        return kl_err_set(err, KL_ERR_EXISTS,
                          "%s exists: there is a CA in this directory; choose another", path);
    }
    if (errno != ENOENT) {
        return kl_err_errno(err, "access", "cannot look for %s", path);
    }
    rc = make_dir(dir, err);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0] && rc == KL_OK; i++) {
        rc = kl_home_path(dir, folders[i], path, err);
        if (rc == KL_OK) {
            rc = make_dir(path, err);
        }
    }
    return rc;
}

/* ---- Files that stand for ever ---- */

int kl_home_is_pem(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name), suffix = strlen(KL_HOME_PEM);

    return entry->d_name[0] != '.' && len > suffix &&
           strcmp(entry->d_name + len - suffix, KL_HOME_PEM) == 0;
}

enum kl_rc kl_home_names(const char *dir, const char *folder,
                         int (*filter)(const struct dirent *entry), kl_home_name_fn fn, void *arg,
                         struct kl_err *err)
{
    char path[PATH_MAX];
    struct dirent **entries = NULL;
    enum kl_rc rc = kl_home_path(dir, folder, path, err);

    if (rc != KL_OK) {
        return rc;
    }
    int count = scandir(path, &entries, filter, alphasort);
    if (count < 0) {
        return kl_err_errno(err, "scandir", "cannot read %s; is this a CA's directory?", path);
    }
    for (int i = 0; i < count; i++) {
        if (rc == KL_OK) {
            rc = fn(entries[i]->d_name, arg, err);
        }
        free(entries[i]);
    }
    free(entries);
    return rc;
}

enum kl_rc kl_home_write_once(const char *dir, const char *folder, const char *name,
                              const char *text, char **standing, struct kl_err *err)
{
    char path[PATH_MAX], *found = NULL;
    size_t len = 0;
    enum kl_rc rc = kl_home_path_in(dir, folder, name, "", path, err);

    if (rc == KL_OK) {
        rc = kl_file_write(path, text, strlen(text), 0644, 0, err);
    }
    if (rc == KL_ERR_EXISTS) {
        rc = kl_file_read(path, KL_HOME_TEXT_MAX, &found, &len, err);
        if (rc == KL_OK) { /* again, as the first one may have failed to reach the disk */
            rc = kl_file_write(path, found, len, 0644, 1, err);
        }
    }
    if (rc == KL_OK && standing) {
        *standing = found;
        found = NULL;
    }
    free(found);
    return rc;
}

/* ---- ca.conf ---- */

enum kl_rc kl_home_load_conf(const char *dir, struct kl_ca_conf *out, struct kl_err *err)
{
    char path[PATH_MAX];
    struct kl_ca_conf conf = {0};
    enum kl_rc rc = kl_home_path(dir, CONF_FILE, path, err);

    if (rc == KL_OK) {
        rc = kl_ini_load(path, table, TABLE_COUNT, &conf, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    if ((*conf.token == '\0') == (*conf.pem == '\0')) {
        rc = kl_err_set(err, KL_ERR_CONFIG, "%s: exactly one of token and pem must be set", path);
    } else if (strchr(conf.pem, '/')) {
        rc = kl_err_set(err, KL_ERR_CONFIG, "%s: pem is a file name in %s, not a path", path, dir);
    } else {
        *out = conf;
        memset(&conf, 0, sizeof conf);
    }
    kl_home_wipe_conf(&conf);
    return rc;
}

void kl_home_wipe_conf(struct kl_ca_conf *conf)
{
    kl_ini_wipe(table, TABLE_COUNT, conf);
}

enum kl_rc kl_home_save_conf(const char *dir, const struct kl_ca_conf *conf, struct kl_err *err)
{
    char path[PATH_MAX];
    char *text = NULL;
    size_t len = 0;
    FILE *out = NULL;
    enum kl_rc rc = kl_home_path(dir, CONF_FILE, path, err);

    if (rc != KL_OK) {
        return rc;
    }
    out = open_memstream(&text, &len);
    if (!out) {
        return kl_err_errno(err, "open_memstream", "%s", path);
    }
    fprintf(out, "# Where this CA's key is. Never a PIN.\n[ca]\n");
    for (size_t i = 0; i < TABLE_COUNT && rc == KL_OK; i++) {
        const char *value = *(char *const *)((const char *)conf + table[i].offset);
        if (*value == '\0') {
            continue;
        }
        rc = kl_ini_writable(table[i].key, value, err);
        fprintf(out, "%s = %s\n", table[i].key, value);
    }
    if (fclose(out) != 0 && rc == KL_OK) {
        rc = kl_err_errno(err, "fclose", "%s", path);
    }
    if (rc == KL_OK) { /* one that is there without root.pem is left from an init that failed */
        rc = kl_file_write(path, text, len, 0644, 1, err);
    }
    free(text);
    return rc;
}

/* ---- Certificates ---- */

static enum kl_rc print(const char *text, size_t len, struct kl_err *err)
{
    if (fwrite(text, 1, len, stdout) != len || fflush(stdout) != 0) {
        return kl_err_errno(err, "fwrite", "standard output");
    }
    return KL_OK;
}

/* Hands over what bio has collected, if the encoder was content. Frees bio. */
static enum kl_rc write_pem(const char *path, BIO *bio, int encoded, int overwrite,
                            struct kl_err *err)
{
    char *pem;
    enum kl_rc rc;

    if (encoded != 1) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "PEM_write_bio", "%s", path);
    } else {
        size_t len = (size_t)BIO_get_mem_data(bio, &pem);
        rc = strcmp(path, "-") == 0 ? print(pem, len, err)
                                    : kl_file_write(path, pem, len, 0644, overwrite, err);
    }
    BIO_free(bio);
    return rc;
}

enum kl_rc kl_home_write_cert(const char *path, X509 *cert, int overwrite, struct kl_err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());

    return write_pem(path, bio, bio ? PEM_write_bio_X509(bio, cert) : 0, overwrite, err);
}

enum kl_rc kl_home_write_crl(const char *path, X509_CRL *crl, int overwrite, struct kl_err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());

    return write_pem(path, bio, bio ? PEM_write_bio_X509_CRL(bio, crl) : 0, overwrite, err);
}

enum kl_rc kl_home_load_root(const char *dir, X509 **out, struct kl_err *err)
{
    char path[PATH_MAX];
    enum kl_rc rc = kl_home_path(dir, ROOT_FILE, path, err);

    return rc == KL_OK ? kl_cert_load_one(path, out, err) : rc;
}

enum kl_rc kl_home_save_root(const char *dir, X509 *root, struct kl_err *err)
{
    char path[PATH_MAX];
    enum kl_rc rc = kl_home_path(dir, ROOT_FILE, path, err);

    return rc == KL_OK ? kl_home_write_cert(path, root, 0, err) : rc;
}

enum kl_rc kl_home_record(const char *dir, X509 *cert, struct kl_err *err)
{
    char path[PATH_MAX], serial[KL_SERIAL_HEX];
    enum kl_rc rc = kl_cert_serial_hex(cert, serial, err);

    if (rc == KL_OK) {
        rc = kl_home_path_in(dir, KL_HOME_ISSUED, serial, KL_HOME_PEM, path, err);
    }
    return rc == KL_OK ? kl_home_write_cert(path, cert, 0, err) : rc;
}

struct each {
    const char *dir;
    kl_home_fn fn;
    void *arg;
};

static enum kl_rc load_and_call(const char *name, void *arg, struct kl_err *err)
{
    const struct each *each = arg;
    char path[PATH_MAX];
    X509 *cert = NULL;
    enum kl_rc rc = kl_home_path_in(each->dir, KL_HOME_ISSUED, name, "", path, err);

    if (rc == KL_OK) {
        rc = kl_cert_load_one(path, &cert, err);
    }
    if (rc == KL_OK) {
        rc = each->fn(cert, each->arg, err);
    }
    X509_free(cert);
    return rc;
}

enum kl_rc kl_home_each(const char *dir, kl_home_fn fn, void *arg, struct kl_err *err)
{
    struct each each = {dir, fn, arg};

    return kl_home_names(dir, KL_HOME_ISSUED, kl_home_is_pem, load_and_call, &each, err);
}

enum kl_rc kl_home_find(const char *dir, const char *serial, X509 **out, struct kl_err *err)
{
    char path[PATH_MAX], upper[KL_SERIAL_HEX];
    size_t len = strlen(serial);
    enum kl_rc rc;

    if (strcmp(serial, "root") == 0) {
        return kl_home_load_root(dir, out, err);
    }
    if (len == 0 || len >= sizeof upper || strspn(serial, "0123456789abcdefABCDEF") != len) {
        return kl_err_set(err, KL_ERR_INPUT,
                          "\"%s\" is neither a serial number in hex nor \"root\"", serial);
    }
    for (size_t i = 0; i <= len; i++) {
        upper[i] = (char)toupper((unsigned char)serial[i]);
    }
    rc = kl_home_path_in(dir, KL_HOME_ISSUED, upper, KL_HOME_PEM, path, err);
    if (rc == KL_OK && access(path, F_OK) != 0 && errno == ENOENT) {
        rc = kl_err_set(err, KL_ERR_NOT_FOUND, "no certificate of serial %s was issued from %s",
                        upper, dir);
    }
    return rc == KL_OK ? kl_cert_load_one(path, out, err) : rc;
}
