/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * acquire-ca list and show: what this CA has signed, and what became of it.
 */
#include <openssl/x509.h>
#include <stdio.h>

#include "ca/ca.h"
#include "ca/describe.h"
#include "ca/home.h"
#include "conf/options.h"
#include "conf/report.h"

static enum kl_rc parse(int argc, char **argv, const char *operands, const char **dir, int *json,
                        struct kl_err *err)
{
    const struct kl_option options[] = {{"--dir", 1, .text = dir}, {"--json", .flag = json}, {0}};

    return kl_options_parse(argc, argv, options, operands, err);
}

struct listing {
    const char *dir;
    json_t *list;
};

static enum kl_rc append(X509 *cert, void *arg, struct kl_err *err)
{
    const struct listing *listing = arg;
    json_t *report = NULL;
    enum kl_rc rc = kl_ca_describe(listing->dir, cert, &report, err);

    if (rc == KL_OK && json_array_append_new(listing->list, report) != 0) {
        rc = kl_err_set(err, KL_ERR_MEMORY, "list of certificates");
    }
    return rc;
}

static const char *text_of(const json_t *report, const char *key)
{
    return json_string_value(json_object_get(report, key));
}

static enum kl_rc print_table(const json_t *list, struct kl_err *err)
{
    printf("%-32s  %-8s  %-20s  %-20s  %-13s  %s\n", "SERIAL", "KIND", "FROM", "TO", "STATUS",
           "SUBJECT");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *report = json_array_get(list, i);
        printf("%-32s  %-8s  %-20s  %-20s  %-13s  %s\n", text_of(report, "serial"),
               text_of(report, "kind"), text_of(report, "not_before"), text_of(report, "not_after"),
               text_of(report, "status"), text_of(report, "subject"));
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return kl_err_set(err, KL_ERR_IO, "cannot write to standard output");
    }
    return KL_OK;
}

enum kl_rc kl_ca_cmd_list(int argc, char **argv, struct kl_err *err)
{
    const char *dir = NULL;
    int json = 0;
    struct listing listing = {0};
    enum kl_rc rc = parse(argc, argv, "", &dir, &json, err);

    if (rc != KL_OK) {
        return rc;
    }
    listing = (struct listing){dir, json_array()};
    if (!listing.list) {
        return kl_err_set(err, KL_ERR_MEMORY, "list of certificates");
    }
    rc = kl_home_each(dir, append, &listing, err);
    if (rc == KL_OK) {
        rc = json ? kl_report_print(json_incref(listing.list), 1, err)
                  : print_table(listing.list, err);
    }
    json_decref(listing.list);
    return rc;
}

enum kl_rc kl_ca_cmd_show(int argc, char **argv, struct kl_err *err)
{
    const char *dir = NULL;
    int json = 0;
    X509 *cert = NULL;
    json_t *report = NULL;
    enum kl_rc rc = parse(argc, argv, "SERIAL|root", &dir, &json, err);

    if (rc == KL_OK) {
        rc = kl_home_find(dir, argv[optind], &cert, err);
    }
    if (rc == KL_OK) {
        rc = kl_ca_describe(dir, cert, &report, err);
    }
    if (rc == KL_OK) {
        rc = kl_report_print(report, json, err);
    }
    X509_free(cert);
    return rc;
}
