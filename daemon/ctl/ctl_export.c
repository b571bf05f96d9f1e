/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl tmk export: a terminal's TMK, or its working keys, for the acquirer's host, under a
 * zone key or the host's certificate. Recorded before it is shown.
 */
#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "conf/certfile.h"
#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/ctl_ceremony.h"
#include "daemon/ctl/ctl_dual.h"
#include "daemon/ctl/ctl_store.h"
#include "daemon/store/store.h"
#include "daemon/store/store_wrap.h"
#include "pkcs11/binding.h"
#include "pkcs11/import.h"
#include "pkcs11/keys.h"
#include "proto/cert.h"

#define HEX_MAX (2 * (size_t)KL_WRAPPED_MAX + 1)

enum which { WHICH_TMK, WHICH_PIK, WHICH_MAK };
static const char *const which_names[] = {"tmk", "pik", "mak"};
static const enum kl_binding_kind which_kinds[] = {KL_BINDING_TMK, KL_BINDING_PIK, KL_BINDING_MAK};

struct wish {
    const char *serial, *zmk, *cert, *fingerprint;
    enum which which;
    uint32_t version; /* 0 = the active one */
    int has_wrap;
    enum kl_wrap wrap;
    struct kl_ctl_dual dual;
};

/* What leaves, and how it is called. */
struct parcel {
    uint32_t version; /* of the TMK itself, or of the one under which the working key went out */
    struct kl_stored_key key;
    char under[KL_KEY_LABEL_MAX + KL_FINGERPRINT_TEXT + 8];
    const char *method; /* "kw", "kwp", "oaep-sha1", "oaep-sha256" */
    char kcv[KL_KCV_TEXT];
    char cryptogram[HEX_MAX];
};

/* ---- From the store ---- */

static enum kl_rc take_tmk(const struct kl_tmk *tmk, void *arg, struct kl_err *err)
{
    struct parcel *parcel = arg;

    if (tmk->state != KL_TMK_ACTIVE && tmk->state != KL_TMK_SUPERSEDED) {
        return kl_err_set(err, KL_ERR_REFUSED, "TMK %u of terminal %s is %s", tmk->version,
                          tmk->serial, kl_tmk_state_name(tmk->state));
    }
    parcel->version = tmk->version;
    parcel->key = kl_tmk_key(tmk);
    return KL_OK;
}

static enum kl_rc find_tmk(struct kl_store *store, const struct wish *wish, struct parcel *parcel,
                           struct kl_err *err)
{
    struct kl_tmk tmk;
    enum kl_rc rc;

    if (wish->version) {
        rc = kl_store_tmk_get(store, wish->serial, wish->version, &tmk, err);
        return rc == KL_OK ? take_tmk(&tmk, parcel, err) : rc;
    }
    rc = kl_store_tmk_each(store, wish->serial, KL_TMK_ACTIVE, take_tmk, parcel, err);
    if (rc == KL_OK && parcel->version == 0) {
        rc = kl_err_set(err, KL_ERR_NOT_FOUND, "terminal %s has no active TMK", wish->serial);
    }
    return rc;
}

static enum kl_rc find_key(const struct kl_config *config, const struct wish *wish,
                           struct parcel *parcel, struct kl_err *err)
{
    struct kl_terminal terminal;
    struct kl_working working;
    struct kl_store *store = NULL;
    enum kl_rc rc = kl_ctl_store_open(config, KL_STORE_READ, &store, err);

    if (rc == KL_OK) {
        rc = kl_store_wrap_check(store, config->storage_key, err);
    }
    if (rc == KL_OK) {
        rc = kl_store_terminal_get(store, wish->serial, &terminal, err);
    }
    if (rc == KL_OK && wish->which == WHICH_TMK) {
        rc = find_tmk(store, wish, parcel, err);
    } else if (rc == KL_OK &&
               (rc = kl_store_working_get(store, wish->serial, &working, err)) == KL_OK) {
        parcel->version = working.tmk_version;
        parcel->key = wish->which == WHICH_PIK ? working.pik : working.mak;
    }
    kl_store_free(store);
    return rc;
}

/* ---- The host's certificate ---- */

/* An RSA key that is the one the operator means, in a certificate that is valid now and made for
 * taking keys. Who issued it, the fingerprint stands for. */
static enum kl_rc check_host(X509 *cert, const char *stated, struct kl_err *err)
{
    char fingerprint[KL_FINGERPRINT_TEXT];
    enum kl_key_type type;
    unsigned bits;
    enum kl_rc rc = kl_cert_key_type(cert, &type, &bits, err);

    if (rc == KL_OK && type != KL_KEY_RSA) {
        rc = kl_err_set(err, KL_ERR_CERT, "the host's key must be RSA");
    }
    if (rc == KL_OK) {
        rc = kl_pubkey_fingerprint(X509_get0_pubkey(cert), fingerprint, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    if (strlen(stated) != strlen(fingerprint) || OPENSSL_strcasecmp(stated, fingerprint) != 0) {
        return kl_err_set(err, KL_ERR_CERT, "its key has SHA-256 %s, not the --fingerprint",
                          fingerprint);
    }
    if (X509_cmp_current_time(X509_get0_notBefore(cert)) >= 0 ||
        X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0) {
        return kl_err_set(err, KL_ERR_CERT, "is not valid now");
    }
    if (!(X509_get_key_usage(cert) & X509v3_KU_KEY_ENCIPHERMENT)) {
        return kl_err_set(err, KL_ERR_CERT, "its keyUsage is without keyEncipherment");
    }
    return KL_OK;
}

static enum kl_rc use_host(struct kl_session *session, const struct wish *wish,
                           struct kl_carrier *carrier, struct parcel *parcel, struct kl_err *err)
{
    X509 *cert = NULL;
    enum kl_rc rc = kl_cert_load_one(wish->cert, &cert, err);

    if (rc != KL_OK) {
        return rc;
    }
    rc = check_host(cert, wish->fingerprint, err);
    if (rc == KL_OK) {
        rc = kl_carrier_host(session, X509_get0_pubkey(cert), carrier, err);
    }
    X509_free(cert);
    if (rc != KL_OK) {
        return kl_err_context(err, "%s", wish->cert);
    }
    snprintf(parcel->under, sizeof(parcel->under), "host:%s", wish->fingerprint);
    parcel->method = carrier->oaep_hash == KL_OAEP_SHA256 ? "oaep-sha256" : "oaep-sha1";
    return KL_OK;
}

static enum kl_rc use_zmk(struct kl_session *session, const struct wish *wish,
                          struct kl_carrier *carrier, struct parcel *parcel, struct kl_err *err)
{
    snprintf(parcel->under, sizeof(parcel->under), "zmk:%.*s", KL_KEY_LABEL_MAX, wish->zmk);
    parcel->method = wish->wrap == KL_WRAP_KWP ? "kwp" : "kw";
    return kl_carrier_zmk(session, KL_ZMK_EXPORT, wish->zmk, wish->wrap, carrier, err);
}

/* ---- Out ---- */

/* Is the key that terminal's, of that version and role? If not, it is an alarm. */
static enum kl_rc check_binding(const struct kl_config *config, struct kl_session *session,
                                const struct wish *wish, const struct parcel *parcel,
                                struct kl_err *err)
{
    const struct kl_binding_of what = {
        .kind = which_kinds[wish->which],
        .serial = wish->serial,
        .version = parcel->version,
        .key = &parcel->key,
    };
    CK_OBJECT_HANDLE binding_key;
    struct kl_err audit_err = KL_ERR_INIT;
    enum kl_rc rc = kl_binding_key_find(session, config->binding_key, &binding_key, err);

    if (rc == KL_OK) {
        rc = kl_binding_verify(session, binding_key, &what, err);
    }
    if (rc == KL_ERR_STORE) {
        const struct kl_log_field fields[] = {KL_STR("reason", kl_rc_name(rc)),
                                              KL_STR("detail", err->text)};

        if (kl_ctl_audit(config, "alarm", wish->serial, fields, sizeof(fields) / sizeof(fields[0]),
                         &audit_err) != KL_OK) {
            fprintf(stderr, "keyloaderctl: warning: the alarm is not recorded: %s\n",
                    audit_err.text);
        }
    }
    return rc;
}

static enum kl_rc wrap(const struct kl_config *config, struct kl_session *session,
                       const struct wish *wish, struct parcel *parcel, struct kl_err *err)
{
    struct kl_carrier carrier = {0};
    CK_OBJECT_HANDLE storage_key;
    struct kl_err finding = KL_ERR_INIT;
    uint8_t wrapped[KL_WRAPPED_MAX];
    size_t len = 0, text_len;
    enum kl_rc rc = kl_storage_key_find(session, config->storage_key, &storage_key, err);

    if (rc != KL_OK || (rc = wish->zmk ? use_zmk(session, wish, &carrier, parcel, err)
                                       : use_host(session, wish, &carrier, parcel, err)) != KL_OK) {
        return rc;
    }
    if (!config->strength_enforce &&
        kl_alg_strength(carrier.type, carrier.bits, parcel->key.alg, &finding) != KL_OK) {
        fprintf(stderr, "keyloaderctl: warning: %s\n", finding.text);
    }
    rc = kl_tmk_export(session, storage_key, &carrier, config->strength_enforce != 0, &parcel->key,
                       wrapped, &len, err);
    kl_carrier_end(session, &carrier);
    if (rc == KL_OK && OPENSSL_buf2hexstr_ex(parcel->cryptogram, sizeof(parcel->cryptogram),
                                             &text_len, wrapped, len, '\0') != 1) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "OPENSSL_buf2hexstr_ex", "cryptogram");
    }
    return rc;
}

static enum kl_rc record(const struct kl_config *config, const struct wish *wish,
                         const struct parcel *parcel, struct kl_err *err)
{
    const struct kl_log_field fields[] = {KL_STR("key", which_names[wish->which]),
                                          KL_NUM("version", parcel->version),
                                          KL_STR("alg", kl_alg_info(parcel->key.alg)->name),
                                          KL_STR("kcv", parcel->kcv),
                                          KL_STR("under", parcel->under),
                                          KL_STR("method", parcel->method)};

    return kl_ctl_audit(config, "key-exported", wish->serial, fields,
                        sizeof(fields) / sizeof(fields[0]), err);
}

static enum kl_rc export_key(struct kl_ctl *ctl, struct wish *wish, struct kl_err *err)
{
    struct parcel parcel = {0};
    struct kl_hsm *hsm = NULL;
    enum kl_rc rc = kl_ctl_dual_begin(ctl, &wish->dual, err);

    if (rc == KL_OK) {
        rc = find_key(&ctl->config, wish, &parcel, err);
    }
    if (rc == KL_OK) {
        rc = kl_ctl_hsm_open(&ctl->config, 0, &hsm, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    kl_kcv_format(parcel.key.kcv, parcel.key.kcv_len, parcel.kcv);
    rc = check_binding(&ctl->config, kl_hsm_session(hsm), wish, &parcel, err);
    if (rc == KL_OK) {
        rc = kl_ctl_dual_use(ctl, &wish->dual, err);
    }
    if (rc == KL_OK) {
        rc = wrap(&ctl->config, kl_hsm_session(hsm), wish, &parcel, err);
    }
    kl_hsm_free(hsm);
    if (rc == KL_OK) {
        rc = record(&ctl->config, wish, &parcel, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    return kl_report_print(json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:s}", "serial",
                                     wish->serial, "key", which_names[wish->which], "version",
                                     (int)parcel.version, "algorithm",
                                     kl_alg_info(parcel.key.alg)->name, "kcv", parcel.kcv, "under",
                                     parcel.under, "method", parcel.method, "cryptogram",
                                     parcel.cryptogram),
                           ctl->json, err);
}

/* ---- The command line ---- */

static enum kl_rc choose(const char *value, const char *const *choices, unsigned count,
                         unsigned *out, struct kl_err *err)
{
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(value, choices[i]) == 0) {
            *out = i;
            return KL_OK;
        }
    }
    return kl_err_set(err, KL_ERR_USAGE, "'%.40s' is not known", value);
}

static enum kl_rc take_key(const char *value, void *out, struct kl_err *err)
{
    struct wish *wish = out;
    unsigned which = 0;
    enum kl_rc rc = choose(value, which_names, 3, &which, err);

    wish->which = (enum which)which;
    return rc;
}

static enum kl_rc take_wrap(const char *value, void *out, struct kl_err *err)
{
    static const char *const wraps[] = {"kw", "kwp"};
    struct wish *wish = out;
    unsigned wrap = 0;
    enum kl_rc rc = choose(value, wraps, 2, &wrap, err);

    wish->has_wrap = 1;
    wish->wrap = wrap ? KL_WRAP_KWP : KL_WRAP_KW;
    return rc;
}

static enum kl_rc check_ways(const struct wish *wish, struct kl_err *err)
{
    if (!wish->zmk == !wish->cert) {
        return kl_err_set(err, KL_ERR_USAGE, "one of --under-zmk and --under-cert must be given");
    }
    if (!wish->cert != !wish->fingerprint) {
        return kl_err_set(err, KL_ERR_USAGE, "--under-cert and --fingerprint go together");
    }
    if (wish->has_wrap && !wish->zmk) {
        return kl_err_set(err, KL_ERR_USAGE, "--wrap goes with --under-zmk");
    }
    if (wish->version && wish->which != WHICH_TMK) {
        return kl_err_set(err, KL_ERR_USAGE, "--version goes with --key tmk");
    }
    return KL_OK;
}

/* What two operators agree on: all of it. */
static json_t *export_params(const struct wish *wish)
{
    char under[KL_KEY_LABEL_MAX + KL_FINGERPRINT_TEXT + 8], *c;

    snprintf(under, sizeof(under), "%s:%.*s", wish->zmk ? "zmk" : "host", KL_FINGERPRINT_TEXT,
             wish->zmk ? wish->zmk : wish->fingerprint);
    for (c = under; !wish->zmk && *c; c++) {
        *c = (char)tolower((unsigned char)*c);
    }
    return json_pack("{s:s, s:s, s:I, s:s, s:s}", "serial", wish->serial, "key",
                     which_names[wish->which], "version", (json_int_t)wish->version, "under", under,
                     "wrap",
                     !wish->zmk                  ? "oaep"
                     : wish->wrap == KL_WRAP_KWP ? "kwp"
                                                 : "kw");
}

static enum kl_rc tmk_export(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct wish wish = {0};
    const struct kl_option options[] = {
        {"--under-zmk", .text = &wish.zmk},
        {"--under-cert", .text = &wish.cert},
        {"--fingerprint", .text = &wish.fingerprint},
        {"--key", .take = take_key, .out = &wish},
        {"--wrap", .take = take_wrap, .out = &wish},
        {"--version", .number = &wish.version, .min = 1, .max = KL_VERSION_MAX},
        {"--request", .number = &wish.dual.request, .min = 1, .max = INT32_MAX},
        {0},
    };
    enum kl_rc rc;

    if ((rc = kl_options_parse(argc, argv, options, "SERIAL", err)) != KL_OK ||
        (rc = check_ways(&wish, err)) != KL_OK) {
        return rc;
    }
    wish.serial = argv[optind];
    wish.dual.kind = "tmk-export";
    wish.dual.params = export_params(&wish);
    rc = export_key(ctl, &wish, err);
    return kl_ctl_dual_end(ctl, &wish.dual, rc, err);
}

const struct kl_ctl_command kl_ctl_export_commands[] = {
    {"tmk", "export", tmk_export,
     "SERIAL (--under-zmk LABEL [--wrap kw|kwp] | --under-cert FILE --fingerprint HEX) "
     "[--version N] [--key tmk|pik|mak] [--request ID]",
     "Gives out a terminal's active TMK (or version N), or one of its working keys, under a zone\n"
     "      key, or under the RSA key of a host's certificate, whose SHA-256 (of the\n"
     "      SubjectPublicKeyInfo) is HEX; it is recorded; takes two operators unless [control]\n"
     "      dual-control says otherwise: ID is their request"},
    {0},
};
