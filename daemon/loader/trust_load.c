/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The certificates in force, from their files. What is wrong with the files' content is an error,
 * so that a reload with a mistake in it changes nothing; what time or a CRL has done to one of
 * several chains only leaves that one out.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "conf/certfile.h"
#include "conf/cli.h"
#include "conf/log.h"
#include "conf/report.h"
#include "daemon/loader/trust_impl.h"

#define SUFFIX ".pem"
#define CRL_BEGIN "-----BEGIN"
#define CRLS_FILE_MAX (KL_ANCHOR_MAX * KL_CRL_FILE_MAX) /* bytes */
#define MESSAGE_OVERHEAD 256 /* bytes of a Certificate message besides certificates and CRL */

/* ---- Files ---- */

int kl_trust_label_ok(const char *label)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._+";
    size_t len = strlen(label);

    return len > 0 && len <= KL_KEY_LABEL_MAX && strspn(label, good) == len && label[0] != '.';
}

enum kl_rc kl_trust_path(const struct kl_config *config, const char *label, char *out,
                         struct kl_err *err)
{
    if (!kl_trust_label_ok(label)) {
        return kl_err_set(err, KL_ERR_INPUT,
                          "label \"%.70s\" cannot name a file: must be 1 to %d of A-Z a-z 0-9 - . "
                          "_ + without a dot first",
                          label, KL_KEY_LABEL_MAX);
    }
    if (snprintf(out, PATH_MAX, "%s/%s" SUFFIX, config->work, label) >= PATH_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "%.60s...: path is too long", config->work);
    }
    return KL_OK;
}

static int by_label(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* One LABEL.pem of the directory. */
static enum kl_rc take_file(const struct kl_config *config, int dir, const char *name,
                            struct kl_trust_labels *out, struct kl_err *err)
{
    size_t len = strlen(name) - strlen(SUFFIX);
    char label[KL_KEY_LABEL_MAX + 1];
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return kl_err_errno(err, "fstatat", "%s/%s", config->work, name);
    }
    if (!S_ISREG(st.st_mode)) {
        return kl_err_set(err, KL_ERR_CERT, "%s/%s is not a regular file", config->work, name);
    }
    if (len < sizeof(label)) {
        snprintf(label, sizeof(label), "%.*s", (int)len, name);
    }
    if (len >= sizeof(label) || !kl_trust_label_ok(label)) {
        return kl_err_set(err, KL_ERR_CERT, "%s/%s does not have the name of a key", config->work,
                          name);
    }
    if (out->count == KL_TRUST_MAX) {
        return kl_err_set(err, KL_ERR_CERT, "%s holds more than %d chains", config->work,
                          KL_TRUST_MAX);
    }
    memcpy(out->label[out->count++], label, sizeof(label));
    return KL_OK;
}

enum kl_rc kl_trust_labels(const struct kl_config *config, struct kl_trust_labels *out,
                           struct kl_err *err)
{
    struct kl_trust_labels labels = {0};
    DIR *dir = opendir(config->work);
    const struct dirent *entry;
    enum kl_rc rc = KL_OK;

    if (dir == NULL) {
        return kl_err_errno(err, "opendir",
                            "[certificates] work (`keyloaderctl cert install` makes it): %s",
                            config->work);
    }
    while (rc == KL_OK && (entry = readdir(dir)) != NULL) {
        const char *suffix = strrchr(entry->d_name, '.');
        if (suffix != NULL && suffix != entry->d_name && strcmp(suffix, SUFFIX) == 0) {
            rc = take_file(config, dirfd(dir), entry->d_name, &labels, err);
        }
    }
    closedir(dir);
    if (rc == KL_OK) {
        qsort(labels.label, labels.count, sizeof(labels.label[0]), by_label);
        *out = labels;
    }
    return rc;
}

/* Each from its BEGIN line up to the next one's. */
static enum kl_rc parse_crls(const char *text, STACK_OF(X509_CRL) * crls, struct kl_err *err)
{
    const char *at = text + strspn(text, " \t\r\n");

    do {
        const char *next = at[0] == '\0' ? NULL : strstr(at + 1, CRL_BEGIN);
        size_t len = next != NULL ? (size_t)(next - at) : strlen(at);
        X509_CRL *crl = NULL;

        if (sk_X509_CRL_num(crls) == KL_ANCHOR_MAX) {
            return kl_err_set(err, KL_ERR_CERT, "more than %d CRLs", KL_ANCHOR_MAX);
        }
        if (kl_crl_from_pem(at, len, &crl, err) != KL_OK) {
            return err->rc;
        }
        if (sk_X509_CRL_push(crls, crl) <= 0) {
            X509_CRL_free(crl);
            return kl_err_set(err, KL_ERR_MEMORY, "CRL");
        }
        at = next;
    } while (at != NULL);
    return KL_OK;
}

enum kl_rc kl_trust_crls(const char *path, STACK_OF(X509_CRL) * *out, struct kl_err *err)
{
    STACK_OF(X509_CRL) *crls = sk_X509_CRL_new_null();
    char *text = NULL;
    size_t len = 0;
    enum kl_rc rc = KL_OK;

    if (crls == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "CRLs");
    }
    if (path[0] != '\0') {
        rc = kl_file_read(path, CRLS_FILE_MAX, &text, &len, err);
        if (rc == KL_OK && strlen(text) != len) {
            rc = kl_err_set(err, KL_ERR_CERT, "CRL file %s holds a NUL", path);
        } else if (rc == KL_OK && (rc = parse_crls(text, crls, err)) != KL_OK) {
            rc = kl_err_context(err, "CRL file %s", path);
        }
        free(text);
    }
    if (rc != KL_OK) {
        sk_X509_CRL_pop_free(crls, X509_CRL_free);
        return rc;
    }
    *out = crls;
    return KL_OK;
}

/* ---- Who signed what ---- */

static int crl_signed_by(const X509_CRL *crl, const X509 *issuer)
{
    return X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(issuer)) == 0 &&
           X509_CRL_verify((X509_CRL *)(uintptr_t)crl, X509_get0_pubkey(issuer)) == 1;
}

X509_CRL *kl_trust_crl_of(STACK_OF(X509_CRL) * crls, const X509 *issuer)
{
    for (int i = 0; i < sk_X509_CRL_num(crls); i++) {
        if (crl_signed_by(sk_X509_CRL_value(crls, i), issuer)) {
            return sk_X509_CRL_value(crls, i);
        }
    }
    return NULL;
}

X509 *kl_trust_crl_issuer(const X509_CRL *crl, STACK_OF(X509) * roots)
{
    for (int i = 0; i < sk_X509_num(roots); i++) {
        if (crl_signed_by(crl, sk_X509_value(roots, i))) {
            return sk_X509_value(roots, i);
        }
    }
    return NULL;
}

static int signed_by(X509 *cert, const X509 *issuer)
{
    return X509_NAME_cmp(X509_get_issuer_name(cert), X509_get_subject_name(issuer)) == 0 &&
           X509_verify(cert, X509_get0_pubkey(issuer)) == 1;
}

/* With no key of the chain's own: anybody can send one, of whatever size and curve, and it is
 * measured only later. */
X509 *kl_trust_issuer(STACK_OF(X509) * chain, STACK_OF(X509) * roots)
{
    X509 *leaf = sk_X509_value(chain, 0);

    for (int i = 0; sk_X509_num(chain) == 1 && i < sk_X509_num(roots); i++) {
        if (signed_by(leaf, sk_X509_value(roots, i))) {
            return sk_X509_value(roots, i);
        }
    }
    return NULL;
}

/* ---- Chains ---- */

time_t kl_trust_time(const ASN1_TIME *time)
{
    struct kl_err ignored = KL_ERR_INIT;
    int64_t unix_time;

    return kl_asn1_time_unix(time, &unix_time, &ignored) == KL_OK ? (time_t)unix_time : 0;
}

/* Narrows the entry's time in force to [from, until]. */
static void narrow(struct kl_trust_entry *entry, const ASN1_TIME *from, const ASN1_TIME *until)
{
    time_t begin = kl_trust_time(from), end = kl_trust_time(until);

    entry->from = begin > entry->from ? begin : entry->from;
    entry->until = end < entry->until ? end : entry->until;
}

static enum kl_rc encode_crl(const X509_CRL *crl, struct kl_bytes *out, struct kl_err *err)
{
    uint8_t *der = NULL;
    int len = i2d_X509_CRL(crl, &der);

    if (len <= 0) {
        return kl_err_openssl(err, KL_ERR_CERT, "i2d_X509_CRL", "CRL");
    }
    *out = (struct kl_bytes){der, (size_t)len};
    return len <= KL_CRL_MAX
               ? KL_OK
               : kl_err_set(err, KL_ERR_CERT, "the CRL has %d bytes: terminals take at most %d",
                            len, KL_CRL_MAX);
}

/* What goes into Certificate messages, and that it fits into them. */
static enum kl_rc encode_chain(struct kl_trust_entry *entry, const X509_CRL *crl,
                               struct kl_err *err)
{
    size_t total = MESSAGE_OVERHEAD;

    for (int i = 0; i < sk_X509_num(entry->certs); i++) {
        uint8_t *der = NULL;
        int len = i2d_X509(sk_X509_value(entry->certs, i), &der);
        if (len <= 0) {
            return kl_err_openssl(err, KL_ERR_CERT, "i2d_X509", "certificate %d", i + 1);
        }
        entry->chain[entry->chain_count++] = (struct kl_bytes){der, (size_t)len};
        total += (size_t)len;
        if (len > KL_CERT_MAX) {
            return kl_err_set(err, KL_ERR_CERT, "certificate %d has %d bytes: at most %d", i + 1,
                              len, KL_CERT_MAX);
        }
    }
    if (crl != NULL && encode_crl(crl, &entry->crl, err) != KL_OK) {
        return err->rc;
    }
    if (total + entry->crl.len > KL_MSG_MAX) {
        return kl_err_set(err, KL_ERR_CERT, "chain and CRL have %zu bytes: a message holds %d",
                          total + entry->crl.len, KL_MSG_MAX);
    }
    return KL_OK;
}

/* What has become of a chain that was good: it is not in force at `now`. */
static enum kl_rc check_time(const struct kl_trust_entry *entry, time_t now, struct kl_err *err)
{
    char text[KL_TIME_TEXT];

    if (now < entry->from) {
        kl_time_format((int64_t)entry->from, text);
        return kl_err_set(err, KL_ERR_CERT, "chain or CRL is not in force before %s", text);
    }
    if (now > entry->until) {
        kl_time_format((int64_t)entry->until, text);
        return kl_err_set(err, KL_ERR_CERT, "chain or CRL has expired on %s", text);
    }
    return KL_OK;
}

/* Reads one chain and checks it. *left_out: what is wrong with it is time's doing or a CRL's. */
static enum kl_rc load_entry(const struct kl_trust *trust, const char *path, time_t now,
                             struct kl_trust_entry *entry, int *left_out, struct kl_err *err)
{
    X509 *issuer, *anchor = NULL;
    X509_CRL *crl = NULL;
    enum kl_rc rc = kl_cert_load_pem(path, &entry->certs, err);

    if (rc != KL_OK) {
        return rc;
    }
    entry->until = (time_t)INT64_MAX;
    for (int i = 0; i < sk_X509_num(entry->certs); i++) {
        const X509 *cert = sk_X509_value(entry->certs, i);
        narrow(entry, X509_get0_notBefore(cert), X509_get0_notAfter(cert));
    }
    issuer = kl_trust_issuer(entry->certs, trust->roots);
    if (issuer != NULL) {
        narrow(entry, X509_get0_notBefore(issuer), X509_get0_notAfter(issuer));
        crl = kl_trust_crl_of(trust->crls, issuer);
    }
    if (crl != NULL) {
        narrow(entry, X509_CRL_get0_lastUpdate(crl), X509_CRL_get0_nextUpdate(crl));
    }
    rc = check_time(entry, now, err);
    *left_out = rc != KL_OK;
    if (rc == KL_OK) {
        rc = kl_cert_verify_loader(entry->certs, trust->roots, crl, now, &anchor, err);
        *left_out = rc == KL_ERR_REVOKED;
    }
    if (rc == KL_OK) {
        narrow(entry, X509_get0_notBefore(anchor), X509_get0_notAfter(anchor));
        rc = kl_pubkey_hash(X509_get0_pubkey(anchor), entry->anchor, err);
    }
    if (rc == KL_OK) {
        rc = kl_cert_key_type(sk_X509_value(entry->certs, 0), &entry->type, &entry->bits, err);
    }
    if (rc == KL_OK) {
        rc = encode_chain(entry, crl, err);
    }
    return rc;
}

static void entry_wipe(struct kl_trust_entry *entry)
{
    for (size_t i = 0; i < entry->chain_count; i++) {
        OPENSSL_free((void *)(uintptr_t)entry->chain[i].data);
    }
    OPENSSL_free((void *)(uintptr_t)entry->crl.data);
    sk_X509_pop_free(entry->certs, X509_free);
    memset(entry, 0, sizeof(*entry));
}

static enum kl_rc load_chains(const struct kl_config *config, time_t now, struct kl_trust *trust,
                              struct kl_err *err)
{
    struct kl_trust_labels labels;
    struct kl_err why = KL_ERR_INIT;
    char path[PATH_MAX];
    enum kl_rc rc = kl_trust_labels(config, &labels, err);

    for (size_t i = 0; i < labels.count && rc == KL_OK; i++) {
        struct kl_trust_entry *entry = &trust->entries[trust->count];
        int left_out = 0;

        rc = kl_trust_path(config, labels.label[i], path, err);
        if (rc == KL_OK) {
            memcpy(entry->label, labels.label[i], sizeof(entry->label));
            rc = load_entry(trust, path, now, entry, &left_out, err);
        }
        if (rc == KL_OK) {
            trust->count++;
            continue;
        }
        entry_wipe(entry);
        if (rc != KL_ERR_NO_FILE) {
            (void)kl_err_context(err, "%s", path);
        }
        if (left_out) {
            kl_log(KL_LOG_WARN, "certificate-left-out", KL_LOG_ERR(err));
            if (why.rc != KL_ERR_REVOKED) { /* which says most, whatever the order of names */
                why = *err;
            }
            rc = KL_OK;
        }
    }
    if (rc != KL_OK || trust->count > 0) {
        return rc;
    }
    if (why.rc != KL_OK) {
        *err = why;
        return err->rc;
    }
    return kl_err_set(err, KL_ERR_NO_FILE,
                      "%s holds no work certificate yet (`keyloaderctl cert install`)",
                      config->work);
}

/* Each CRL is of a root and good, but perhaps out of date. */
static enum kl_rc check_crls(STACK_OF(X509_CRL) * crls, STACK_OF(X509) * roots, const char *scope,
                             const char *path, struct kl_err *err)
{
    for (int i = 0; i < sk_X509_CRL_num(crls); i++) {
        X509_CRL *crl = sk_X509_CRL_value(crls, i);
        X509 *issuer = kl_trust_crl_issuer(crl, roots);

        if (issuer == NULL || kl_trust_crl_of(crls, issuer) != crl) {
            return kl_err_set(err, KL_ERR_CERT,
                              "%s: CRL %d is of none of the roots, or stands there twice", path,
                              i + 1);
        }
        /* At its own beginning, so that only time's doing is left to find. */
        if (kl_crl_verify(crl, issuer, scope, kl_trust_time(X509_CRL_get0_lastUpdate(crl)), err) !=
            KL_OK) {
            return kl_err_context(err, "%s: CRL %d", path, i + 1);
        }
    }
    return KL_OK;
}

static enum kl_rc load_all(const struct kl_config *config, time_t now, struct kl_trust *trust,
                           struct kl_err *err)
{
    enum kl_rc rc = kl_cert_load_roots(config->root, &trust->roots, err);

    if (rc == KL_OK) {
        rc = kl_trust_crls(config->crl, &trust->crls, err);
        if (rc == KL_ERR_NO_FILE) {
            (void)kl_err_context(err, "no CRL yet (`keyloaderctl crl install`, or set "
                                      "[certificates] crl empty if the CA makes none)");
        }
    }
    if (rc == KL_OK) {
        rc = check_crls(trust->crls, trust->roots, KL_CRL_SCOPE_LOADER, config->crl, err);
    }
    if (rc == KL_OK && config->terminal_root[0] != '\0') {
        rc = kl_cert_load_roots(config->terminal_root, &trust->terminal_roots, err);
    }
    if (rc == KL_OK) {
        rc = kl_trust_crls(config->terminal_crl, &trust->terminal_crls, err);
    }
    if (rc == KL_OK) {
        rc = check_crls(trust->terminal_crls, trust->terminal_roots, KL_CRL_SCOPE_TERMINAL,
                        config->terminal_crl, err);
    }
    return rc == KL_OK ? load_chains(config, now, trust, err) : rc;
}

enum kl_rc kl_trust_load(const struct kl_config *config, time_t now, struct kl_trust **out,
                         struct kl_err *err)
{
    struct kl_trust *trust = calloc(1, sizeof(*trust));

    if (trust == NULL) {
        return kl_err_set(err, KL_ERR_MEMORY, "certificates");
    }
    trust->references = 1;
    if (load_all(config, now, trust, err) != KL_OK) {
        kl_trust_free(trust);
        return err->rc;
    }
    *out = trust;
    return KL_OK;
}

struct kl_trust *kl_trust_ref(struct kl_trust *trust)
{
    trust->references++;
    return trust;
}

void kl_trust_free(struct kl_trust *trust)
{
    if (trust == NULL || --trust->references > 0) {
        return;
    }
    for (size_t i = 0; i < trust->count; i++) {
        entry_wipe(&trust->entries[i]);
    }
    sk_X509_pop_free(trust->roots, X509_free);
    sk_X509_pop_free(trust->terminal_roots, X509_free);
    sk_X509_CRL_pop_free(trust->crls, X509_CRL_free);
    sk_X509_CRL_pop_free(trust->terminal_crls, X509_CRL_free);
    free(trust);
}
