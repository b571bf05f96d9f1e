/* SPDX-License-Identifier: BSD-2-Clause */
/* terminal-sim root: which AcquireRCRTs a terminal trusts, so that one can follow another. */
#include <getopt.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "conf/options.h"
#include "conf/report.h"
#include "terminal-sim/cmd/cmd.h"
#include "terminal-sim/folder.h"

#define PREFIX_MIN 8 /* hexadecimal digits of a fingerprint that name a root */

static enum kl_rc list(const char *dir, int json, struct kl_err *err)
{
    struct kl_terminal_home *terminal = NULL;
    json_t *roots = NULL, *one;
    enum kl_rc rc = kl_terminal_open(dir, 0, &terminal, err);

    if (rc) {
        return rc;
    }
    roots = json_array();
    for (int i = 0; !rc && i < sk_X509_num(kl_terminal_roots(terminal)); i++) {
        rc = kl_report_cert(sk_X509_value(kl_terminal_roots(terminal), i), &one, err);
        if (!rc && json_array_append_new(roots, one)) {
            rc = kl_err_set(err, KL_ERR_MEMORY, "list of roots");
        }
    }
    if (rc) {
        json_decref(roots);
    } else {
        rc = kl_report_print(json_pack("{s:s, s:o}", "terminal", kl_terminal_serial(terminal),
                                       "roots", roots),
                             json, err);
    }
    kl_terminal_free(terminal);
    return rc;
}

static enum kl_rc add(const char *dir, const char *file, struct kl_err *err)
{
    struct kl_terminal_home *terminal = NULL;
    enum kl_rc rc = kl_terminal_open(dir, 1, &terminal, err); /* the lock */

    if (!rc) {
        rc = kl_folder_add_roots(kl_terminal_roots(terminal), file, err);
    }
    if (!rc) {
        rc = kl_folder_save_roots(dir, kl_terminal_roots(terminal), err);
    }
    kl_terminal_free(terminal);
    return rc;
}

/* Where the one root is whose fingerprint begins so. */
static enum kl_rc find(STACK_OF(X509) * roots, const char *prefix, int *at, struct kl_err *err)
{
    char fingerprint[KL_FINGERPRINT_TEXT];
    size_t len = strlen(prefix);
    int found = 0;
    enum kl_rc rc = KL_OK;

    if (len < PREFIX_MIN) {
        return kl_err_set(err, KL_ERR_INPUT,
                          "give at least %d digits of the fingerprint that 'root list' shows",
                          PREFIX_MIN);
    }
    for (int i = 0; !rc && i < sk_X509_num(roots); i++) {
        rc = kl_pubkey_fingerprint(X509_get0_pubkey(sk_X509_value(roots, i)), fingerprint, err);
        if (!rc && strncasecmp(fingerprint, prefix, len) == 0) {
            *at = i;
            found++;
        }
    }
    if (!rc && found != 1) {
        rc = kl_err_set(err, KL_ERR_NOT_FOUND, "%s of the roots %s a key fingerprint %s...",
                        found ? "more than one" : "none", found ? "have" : "has", prefix);
    }
    return rc;
}

static enum kl_rc take_off(const char *dir, const char *prefix, struct kl_err *err)
{
    struct kl_terminal_home *terminal = NULL;
    STACK_OF(X509) * roots;
    int at = 0;
    enum kl_rc rc = kl_terminal_open(dir, 1, &terminal, err);

    if (rc) {
        return rc;
    }
    roots = kl_terminal_roots(terminal);
    rc = find(roots, prefix, &at, err);
    if (!rc && sk_X509_num(roots) == 1) {
        rc = kl_err_set(err, KL_ERR_REFUSED,
                        "it is the terminal's only root: add the one that follows it first");
    }
    if (!rc) {
        X509_free(sk_X509_delete(roots, at));
        rc = kl_folder_save_roots(dir, roots, err);
    }
    kl_terminal_free(terminal);
    return rc;
}

enum kl_rc kl_terminal_cmd_root(int argc, char **argv, int *status, struct kl_err *err)
{
    const char *dir = NULL, *verb;
    const struct kl_option options[] = {{"--dir", 1, .text = &dir}, {0}};
    int json = 0, lists, adds;
    enum kl_rc rc = kl_options_take(&argc, argv, "json", '\0', NULL, &json, err);

    (void)status;
    if (rc) {
        return rc;
    }
    verb = argc > 1 ? argv[1] : "";
    lists = strcmp(verb, "list") == 0;
    adds = strcmp(verb, "add") == 0;
    if (!lists && !adds && strcmp(verb, "remove") != 0) {
        return kl_err_set(err, KL_ERR_USAGE, "add, list or remove?");
    }
    if (json && !lists) {
        return kl_err_set(err, KL_ERR_USAGE, "%s takes no --json", verb);
    }
    rc = kl_options_parse(argc - 1, argv + 1, options,
                          lists  ? ""
                          : adds ? "FILE"
                                 : "FINGERPRINT",
                          err);
    if (rc) {
        return rc;
    }
    if (lists) {
        return list(dir, json, err);
    }
    return adds ? add(dir, argv[1 + optind], err) : take_off(dir, argv[1 + optind], err);
}
