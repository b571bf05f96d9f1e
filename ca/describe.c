/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A certificate's kind and status.
 */
#include "ca/describe.h"

#include <openssl/x509v3.h>
#include <time.h>

#include "ca/profile.h"
#include "ca/revoked.h"
#include "conf/cli.h"
#include "conf/report.h"

static const char *kind_of(X509 *cert)
{
    const struct kl_leaf *leaf = kl_leaf_of(cert);

    return leaf ? leaf->name : X509_check_ca(cert) == 1 ? "root" : "unknown";
}

static int put(json_t *report, const char *key, const char *value)
{
    return json_object_set_new(report, key, json_string(value)) == 0;
}

static int put_revocation(json_t *report, const struct kl_revocation *revocation)
{
    char when[KL_TIME_TEXT];

    kl_time_format(revocation->time, when);
    return put(report, "revoked_at", when) && put(report, "reason", revocation->reason);
}

enum kl_rc kl_ca_describe(const char *dir, X509 *cert, json_t **out, struct kl_err *err)
{
    int64_t from = 0, to = 0, now = (int64_t)time(NULL);
    struct kl_revocation revocation = {0};
    char serial[KL_SERIAL_HEX];
    json_t *report = NULL;
    int revoked = 0;
    enum kl_rc rc;

    if ((rc = kl_cert_serial_hex(cert, serial, err)) != KL_OK ||
        (rc = kl_asn1_time_unix(X509_get0_notBefore(cert), &from, err)) != KL_OK ||
        (rc = kl_asn1_time_unix(X509_get0_notAfter(cert), &to, err)) != KL_OK ||
        (rc = kl_revoked_find(dir, serial, &revocation, &revoked, err)) != KL_OK ||
        (rc = kl_report_cert(cert, &report, err)) != KL_OK) {
        return rc;
    }
    const char *status = revoked      ? "revoked"
                         : now < from ? "not-yet-valid"
                         : now > to   ? "expired"
                                      : "valid";
    if (!put(report, "kind", kind_of(cert)) || !put(report, "status", status) ||
        (revoked && !put_revocation(report, &revocation))) {
        json_decref(report);
        return kl_err_set(err, KL_ERR_MEMORY, "report of a certificate");
    }
    *out = report;
    return KL_OK;
}
