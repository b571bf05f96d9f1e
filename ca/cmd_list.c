/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * acquire-ca list and show: what this CA has signed.
 */
#include <getopt.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <time.h>

#include "ca/ca.h"
#include "ca/home.h"
#include "conf/options.h"
#include "conf/report.h"

static enum kl_rc parse(int argc, char **argv, int operands, const char **dir, int *json,
                        struct kl_err *err)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},
        {"json", no_argument, NULL, 'j'},
        {0},
    };
    int c;
    enum kl_rc rc;

    kl_options_begin();
    while ((c = kl_options_next(argc, argv, options)) != -1) {
        switch (c) {
        case 'd':
            *dir = optarg;
            break;
        case 'j':
            *json = 1;
            break;
        default:
            return kl_options_error(c, argv, err);
        }
    }
    rc = kl_options_operands(argc, argv, operands, "SERIAL (or \"root\")", err);
    return rc == KL_OK ? kl_options_require("--dir", *dir, err) : rc;
}

/* The certificate, and whether its time has come or gone. */
static enum kl_rc describe(X509 *cert, json_t **out, struct kl_err *err)
{
    int64_t from = 0, to = 0, now = (int64_t)time(NULL);
    json_t *report = NULL;
    enum kl_rc rc = kl_asn1_time_unix(X509_get0_notBefore(cert), &from, err);

    if (rc == KL_OK) {
        rc = kl_asn1_time_unix(X509_get0_notAfter(cert), &to, err);
    }
    if (rc == KL_OK) {
        rc = kl_report_cert(cert, &report, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    const char *status = now < from ? "not-yet-valid" : now > to ? "expired" : "valid";
    if (json_object_set_new(report, "status", json_string(status)) != 0) {
        json_decref(report);
        return kl_err_set(err, KL_ERR_MEMORY, "report of a certificate");
    }
    *out = report;
    return KL_OK;
}

static enum kl_rc append(X509 *cert, void *arg, struct kl_err *err)
{
    json_t *list = arg, *report = NULL;
    enum kl_rc rc = describe(cert, &report, err);

    if (rc == KL_OK && json_array_append_new(list, report) != 0) {
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
    printf("%-32s  %-20s  %-20s  %-13s  %s\n", "SERIAL", "FROM", "TO", "STATUS", "SUBJECT");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *report = json_array_get(list, i);
        printf("%-32s  %-20s  %-20s  %-13s  %s\n", text_of(report, "serial"),
               text_of(report, "not_before"), text_of(report, "not_after"),
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
    json_t *list = NULL;
    enum kl_rc rc = parse(argc, argv, 0, &dir, &json, err);

    if (rc != KL_OK) {
        return rc;
    }
    list = json_array();
    if (!list) {
        return kl_err_set(err, KL_ERR_MEMORY, "list of certificates");
    }
    rc = kl_home_each(dir, append, list, err);
    if (rc == KL_OK) {
        rc = json ? kl_report_print(json_incref(list), 1, err) : print_table(list, err);
    }
    json_decref(list);
    return rc;
}

enum kl_rc kl_ca_cmd_show(int argc, char **argv, struct kl_err *err)
{
    const char *dir = NULL;
    int json = 0;
    X509 *cert = NULL;
    json_t *report = NULL;
    enum kl_rc rc = parse(argc, argv, 1, &dir, &json, err);

    if (rc == KL_OK) {
        rc = kl_home_find(dir, argv[optind], &cert, err);
    }
    if (rc == KL_OK) {
        rc = describe(cert, &report, err);
    }
    if (rc == KL_OK) {
        rc = kl_report_print(report, json, err);
    }
    X509_free(cert);
    return rc;
}
