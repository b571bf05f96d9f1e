/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl tmk import: S7's "or imports". A TMK that was made elsewhere, wrapped under a key of
 * ours or in components, waits in the store for its terminal's next load.
 */
#include "daemon/ctl/ctl_import.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "conf/options.h"
#include "conf/report.h"
#include "daemon/control/admin_json.h"
#include "daemon/ctl/ctl_ceremony.h"
#include "daemon/ctl/ctl_components.h"
#include "daemon/ctl/ctl_store.h"
#include "daemon/ctl/ctl_terminal.h"
#include "daemon/life/life.h"
#include "daemon/store/store_wrap.h"
#include "pkcs11/binding.h"
#include "pkcs11/ops.h"
#include "pkcs11/stored.h"
#include "proto/message.h"

/* ---- Shared ---- */

void kl_ctl_importer_close(struct kl_ctl_importer *importer)
{
    kl_hsm_free(importer->hsm);
    importer->hsm = NULL;
}

static enum kl_rc find_carrier(struct kl_ctl_importer *importer, const struct kl_ctl_under *under,
                               struct kl_err *err)
{
    struct kl_session *session = kl_hsm_session(importer->hsm);

    if (under->transport) {
        snprintf(importer->origin, sizeof(importer->origin), "transport:%s", under->transport);
        return kl_carrier_transport(session, under->transport, &importer->carrier, err);
    }
    snprintf(importer->origin, sizeof(importer->origin), "zmk:%s", under->zmk);
    return kl_carrier_zmk(session, KL_ZMK_IMPORT, under->zmk, under->wrap, &importer->carrier, err);
}

/* Earlier storage keys that are still in the HSM. Without one, keys that were destroyed when it was
 * in use cannot be told any more from others. */
static enum kl_rc find_retired(struct kl_ctl_importer *importer, struct kl_store *store,
                               struct kl_err *err)
{
    uint32_t generations[KL_RETIRED_MAX];
    char label[KL_KEY_LABEL_MAX + 1];
    struct kl_err missing = KL_ERR_INIT;
    size_t count = 0;
    enum kl_rc rc = kl_store_wrap_retired(store, generations, KL_RETIRED_MAX, &count, err);

    for (size_t i = 0; i < count && rc == KL_OK; i++) {
        CK_OBJECT_HANDLE *handle = &importer->retired[importer->retired_count];

        if ((rc = kl_store_wrap_label(store, generations[i], label, err)) == KL_OK &&
            kl_storage_key_find(kl_hsm_session(importer->hsm), label, handle, &missing) == KL_OK) {
            importer->retired_count++;
        } else if (rc == KL_OK) {
            fprintf(stderr,
                    "keyloaderctl: warning: %s: keys that were destroyed when it was the storage "
                    "key are not recognised\n",
                    missing.text);
        }
    }
    return rc;
}

/* Before anything comes in: may it go into this store? */
static enum kl_rc look_at_store(struct kl_ctl_importer *importer, struct kl_err *err)
{
    struct kl_store *store = NULL;
    enum kl_rc rc = kl_ctl_store_open(importer->config, KL_STORE_READ, &store, err);

    if (rc == KL_OK) {
        rc = kl_store_wrap_check(store, importer->config->storage_key, err);
    }
    if (rc == KL_OK) {
        rc = find_retired(importer, store, err);
    }
    kl_store_free(store);
    return rc;
}

enum kl_rc kl_ctl_importer_open(const struct kl_config *config, const struct kl_ctl_under *under,
                                struct kl_ctl_importer *out, struct kl_err *err)
{
    struct kl_ctl_importer importer = {.config = config, .origin = "components"};
    enum kl_rc rc = kl_ctl_hsm_open(config, 0, &importer.hsm, err);

    if (rc == KL_OK) {
        rc = kl_storage_key_find(kl_hsm_session(importer.hsm), config->storage_key,
                                 &importer.storage_key, err);
    }
    if (rc == KL_OK) {
        rc = kl_binding_key_find(kl_hsm_session(importer.hsm), config->binding_key,
                                 &importer.binding_key, err);
    }
    if (rc == KL_OK) {
        rc = look_at_store(&importer, err);
    }
    if (rc == KL_OK && under) {
        rc = find_carrier(&importer, under, err);
    }
    if (rc != KL_OK) {
        kl_ctl_importer_close(&importer);
        return rc;
    }
    *out = importer;
    return KL_OK;
}

enum kl_rc kl_ctl_import_alg(const char *name, const struct kl_alg_info **out, struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_by_name(name);

    if (!info) {
        return kl_err_set(err, KL_ERR_INPUT,
                          "algorithm: '%.40s' must be tdes2, tdes3, aes128, aes192 or aes256",
                          name);
    }
    *out = info;
    return KL_OK;
}

/* With strength-policy = warn a key may travel under a weaker one; it is said once. */
static void warn_strength(struct kl_ctl_importer *importer, enum kl_alg alg)
{
    struct kl_err finding = KL_ERR_INIT;

    if (!importer->config->strength_enforce && !(importer->warned & 1 << alg) &&
        kl_alg_strength(importer->carrier.type, importer->carrier.bits, alg, &finding) != KL_OK) {
        fprintf(stderr, "keyloaderctl: warning: %s\n", finding.text);
        importer->warned |= 1 << alg;
    }
}

static enum kl_rc from_hex(const char *text, uint8_t out[KL_WRAPPED_MAX], size_t *len,
                           struct kl_err *err)
{
    int ok = strlen(text) <= 2 * (size_t)KL_WRAPPED_MAX && *text != '\0' &&
             OPENSSL_hexstr2buf_ex(out, KL_WRAPPED_MAX, len, text, '\0') == 1;

    kl_err_openssl_clear();
    return ok ? KL_OK
              : kl_err_set(err, KL_ERR_INPUT, "cryptogram: must be hex digits, two for each byte");
}

/* What it was known by under earlier storage keys. */
static enum kl_rc find_known(const struct kl_ctl_importer *importer, struct kl_import *import,
                             struct kl_err *err)
{
    struct kl_session *session = kl_hsm_session(importer->hsm);
    struct kl_stored_key other;
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; i < importer->retired_count && rc == KL_OK; i++) {
        rc = kl_stored_key_under(session, importer->storage_key, importer->retired[i], &import->key,
                                 &other, err);
        if (rc == KL_OK) {
            rc = kl_store_key_digest(&other, import->known[import->known_count++], err);
        }
    }
    return rc;
}

/* It waits for that terminal and for no other. */
static enum kl_rc bind(const struct kl_ctl_importer *importer, const char *serial,
                       struct kl_import *import, struct kl_import *out, struct kl_err *err)
{
    const struct kl_binding_of what = {.kind = KL_BINDING_IMPORT,
                                       .serial = serial,
                                       .key = &import->key};
    enum kl_rc rc = kl_binding_compute(kl_hsm_session(importer->hsm), importer->binding_key, &what,
                                       import->key.binding, err);

    if (rc == KL_OK) {
        rc = find_known(importer, import, err);
    }
    if (rc == KL_OK) {
        snprintf(import->serial, sizeof(import->serial), "%s", serial);
        memcpy(import->origin, importer->origin, sizeof(import->origin));
        *out = *import;
    }
    return rc;
}

enum kl_rc kl_ctl_import_wrapped(struct kl_ctl_importer *importer, const char *serial,
                                 const struct kl_alg_info *info, const char *cryptogram,
                                 const char *kcv, struct kl_import *out, struct kl_err *err)
{
    struct kl_session *session = kl_hsm_session(importer->hsm);
    struct kl_import import = {0};
    CK_OBJECT_HANDLE tmk = CK_INVALID_HANDLE;
    uint8_t wrapped[KL_WRAPPED_MAX], said[KL_KCV_LEN_MAX];
    size_t len = 0, said_len = 0;
    enum kl_rc rc = kl_serial_check("serial", serial, err);

    if (rc != KL_OK || (rc = from_hex(cryptogram, wrapped, &len, err)) != KL_OK ||
        (rc = kl_kcv_parse(kcv, said, &said_len, err)) != KL_OK) {
        return rc;
    }
    rc = kl_tmk_unwrap(session, &importer->carrier, importer->config->strength_enforce != 0,
                       info->alg, wrapped, len, &tmk, err);
    if (rc == KL_OK) {
        warn_strength(importer, info->alg);
        rc = kl_tmk_take(session, importer->storage_key, tmk, info->alg, said, said_len,
                         (size_t)importer->config->kcv_length, &import.key, err);
    }
    kl_op_destroy(session, &tmk);
    return rc == KL_OK ? bind(importer, serial, &import, out, err) : rc;
}

/* ---- tmk import SERIAL ---- */

struct wish {
    const char *serial, *algorithm, *kcv, *cryptogram;
    const struct kl_alg_info *info;
    int has_wrap;
    struct kl_ctl_under under;
    struct kl_ctl_csv csv;
    struct kl_ctl_components components;
};

/* The value that custodians bring, and no other check than theirs: nothing carries it. */
static enum kl_rc from_components(struct kl_ctl_importer *importer, const struct wish *wish,
                                  const struct kl_components_wish *components,
                                  struct kl_import *out, struct kl_err *err)
{
    struct kl_session *session = kl_hsm_session(importer->hsm);
    struct kl_import import = {0};
    struct kl_secret *value = NULL;
    uint8_t kcv[KL_KCV_LEN_MAX];
    size_t kcv_len = 0;
    enum kl_rc rc = kl_ceremony_components(session, components, &value, kcv, &kcv_len, err);

    if (rc == KL_OK) {
        rc = kl_tmk_take_value(session, importer->storage_key, wish->info->alg, value, kcv, kcv_len,
                               (size_t)importer->config->kcv_length, &import.key, err);
    }
    kl_secret_free(value);
    return rc == KL_OK ? bind(importer, wish->serial, &import, out, err) : rc;
}

/* Before anybody types a component for nothing. */
static enum kl_rc check_terminal(const struct kl_config *config, const struct wish *wish,
                                 struct kl_err *err)
{
    struct kl_terminal terminal;
    struct kl_store *store = NULL;
    enum kl_rc rc = kl_ctl_store_open(config, KL_STORE_READ, &store, err);

    if (rc == KL_OK) {
        rc = kl_store_terminal_get(store, wish->serial, &terminal, err);
    }
    if (rc == KL_OK && terminal.alg != wish->info->alg) {
        rc = kl_err_set(err, KL_ERR_INPUT, "terminal %s is registered with %s, not %s",
                        wish->serial, kl_alg_info(terminal.alg)->name, wish->info->name);
    }
    kl_store_free(store);
    return rc;
}

enum kl_rc kl_ctl_import_put(const struct kl_config *config, struct kl_store *store,
                             const struct kl_import *import, int replace, int64_t now,
                             size_t *gated, struct kl_err *err)
{
    struct kl_terminal terminal;
    enum kl_rc rc = kl_store_wrap_adopt(store, config->storage_key, err);

    if (rc == KL_OK) {
        rc = kl_life_import(store, import, replace, now, err);
    }
    if (rc == KL_OK && config->terminal_auth != KL_TERMINAL_CERTIFICATE &&
        (rc = kl_store_terminal_get(store, import->serial, &terminal, err)) == KL_OK) {
        *gated += !terminal.accept_imported;
    }
    return rc;
}

void kl_ctl_import_note(size_t gated)
{
    if (gated > 0) {
        fprintf(stderr,
                "keyloaderctl: note: %zu of what waits is for terminals that do not prove who they "
                "are; it goes out only after `keyloaderctl terminal accept-imported SERIAL`, or "
                "with terminal-auth = certificate\n",
                gated);
    }
}

static enum kl_rc put(const struct kl_config *config, const struct kl_import *import, int replace,
                      struct kl_err *err)
{
    struct kl_store *store = NULL;
    size_t gated = 0;
    enum kl_rc rc = kl_ctl_store_open(config, KL_STORE_WRITE, &store, err);

    if (rc == KL_OK && (rc = kl_store_begin(store, err)) == KL_OK) {
        rc = kl_ctl_import_put(config, store, import, replace, (int64_t)time(NULL), &gated, err);
        rc = kl_ctl_finish(store, rc, err);
    }
    if (rc == KL_OK) {
        kl_ctl_import_note(gated);
    }
    kl_store_free(store);
    return rc == KL_ERR_EXISTS && !replace ? kl_err_context(err, "--replace is not given") : rc;
}

static enum kl_rc import_one(const struct kl_ctl *ctl, const struct wish *wish, struct kl_err *err)
{
    int typed = wish->components.count > 0;
    struct kl_components_wish components;
    struct kl_ctl_importer importer = {0};
    struct kl_import import;
    enum kl_rc rc = check_terminal(&ctl->config, wish, err);

    if (rc == KL_OK && typed) {
        rc = kl_ctl_components_wish(&wish->components, wish->info, wish->kcv, &components, err);
    }
    if (rc == KL_OK) {
        rc = kl_ctl_importer_open(&ctl->config, typed ? NULL : &wish->under, &importer, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    rc = typed ? from_components(&importer, wish, &components, &import, err)
               : kl_ctl_import_wrapped(&importer, wish->serial, wish->info, wish->cryptogram,
                                       wish->kcv, &import, err);
    if (rc == KL_OK) {
        rc = put(&ctl->config, &import, wish->csv.replace, err);
    }
    kl_ctl_importer_close(&importer);
    if (rc == KL_OK) {
        import.created = (int64_t)time(NULL);
        rc = kl_report_print(kl_admin_import_json(&import, 1), ctl->json, err);
    }
    return rc;
}

/* ---- The command line ---- */

static enum kl_rc take_wrap(const char *value, void *out, struct kl_err *err)
{
    struct wish *wish = out;

    wish->has_wrap = 1;
    wish->under.wrap = strcmp(value, "kwp") == 0 ? KL_WRAP_KWP : KL_WRAP_KW;
    if (strcmp(value, "kw") != 0 && strcmp(value, "kwp") != 0) {
        return kl_err_set(err, KL_ERR_USAGE, "'%.40s' must be kw or kwp", value);
    }
    return KL_OK;
}

static enum kl_rc parse(int argc, char **argv, struct wish *wish, struct kl_err *err)
{
    const struct kl_option options[] = {
        {"--algorithm", .text = &wish->algorithm},
        {"--kcv", .text = &wish->kcv},
        {"--cryptogram", .text = &wish->cryptogram},
        {"--under-transport", .text = &wish->under.transport},
        {"--under-zmk", .text = &wish->under.zmk},
        {"--wrap", .take = take_wrap, .out = wish},
        {"--csv", .text = &wish->csv.path},
        {"--keep-going", .flag = &wish->csv.keep_going},
        {"--replace", .flag = &wish->csv.replace},
        KL_CTL_COMPONENTS_OPTIONS(&wish->components),
        {0},
    };
    enum kl_rc rc = kl_options_parse(argc, argv, options, "[SERIAL]", err);

    wish->serial = rc == KL_OK ? argv[optind] : NULL; /* argv ends with NULL */
    if (rc == KL_OK && wish->algorithm) {
        rc = kl_ctl_import_alg(wish->algorithm, &wish->info, err);
    }
    return rc;
}

static enum kl_rc usage(struct kl_err *err, const char *text)
{
    return kl_err_set(err, KL_ERR_USAGE, "%s", text);
}

/* The three ways in exclude each other. */
static enum kl_rc check_ways(const struct wish *wish, struct kl_err *err)
{
    const struct kl_ctl_components *components = &wish->components;
    int typed = components->count || components->source_count || components->kcv_count;
    int wrapped = wish->under.transport || wish->under.zmk;

    if (wish->under.transport && wish->under.zmk) {
        return usage(err, "--under-transport and --under-zmk exclude each other");
    }
    if (wish->has_wrap && !wish->under.zmk) {
        return usage(err, "--wrap goes with --under-zmk");
    }
    if (typed && (wrapped || wish->csv.path || wish->cryptogram)) {
        return usage(err, "--components exclude --under-..., --cryptogram and --csv");
    }
    if (typed && !components->count) {
        return usage(err, "--components is missing");
    }
    if (!typed && !wrapped) {
        return usage(err, "--under-transport, --under-zmk or --components is missing");
    }
    if (!typed && components->parity == KL_PARITY_IGNORE) {
        return usage(err,
                     "--parity goes with --components: that of a wrapped key nobody here sees");
    }
    if (wish->csv.path && (wish->algorithm || wish->kcv || wish->cryptogram)) {
        return usage(err, "--csv has algorithms, cryptograms and KCVs in the file");
    }
    if (!wish->csv.path && wish->csv.keep_going) {
        return usage(err, "--keep-going goes with --csv");
    }
    return KL_OK;
}

static enum kl_rc tmk_import(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    struct wish wish = {0};
    enum kl_rc rc = parse(argc, argv, &wish, err);

    if (rc != KL_OK || (rc = check_ways(&wish, err)) != KL_OK) {
        return rc;
    }
    if (wish.csv.path) {
        return wish.serial ? usage(err, "--csv has the serials in the file")
                           : kl_ctl_import_csv(ctl, &wish.under, &wish.csv, err);
    }
    if ((rc = kl_options_require("SERIAL", wish.serial, err)) != KL_OK ||
        (rc = kl_options_require("--algorithm", wish.algorithm, err)) != KL_OK) {
        return rc;
    }
    if (!wish.components.count &&
        ((rc = kl_options_require("--cryptogram", wish.cryptogram, err)) != KL_OK ||
         (rc = kl_options_require("--kcv", wish.kcv, err)) != KL_OK)) {
        return rc;
    }
    if ((rc = kl_serial_check("serial", wish.serial, err)) != KL_OK) {
        return rc;
    }
    return import_one(ctl, &wish, err);
}

const struct kl_ctl_command kl_ctl_import_commands[] = {
    {"tmk", "import", tmk_import,
     "SERIAL --algorithm ALG (--under-transport LABEL | --under-zmk LABEL [--wrap kw|kwp]) "
     "--cryptogram HEX --kcv HEX [--replace]\n"
     "  tmk import SERIAL --algorithm ALG " KL_CTL_COMPONENTS_SYNOPSIS
     " [--kcv HEX] [--parity odd|ignore] [--replace]\n"
     "  tmk import --csv FILE (--under-transport LABEL | --under-zmk LABEL [--wrap kw|kwp]) "
     "[--keep-going] [--replace]",
     "Takes a TMK that was made elsewhere; the terminal's next load sends it. In components: "
     "typed\n"
     "      one by one (or from SRC), each with its KCV; the TMK's KCV is to be confirmed, or is "
     "HEX.\n"
     "      FILE has the header serial,algorithm,cryptogram,kcv; one bad row stops it all, unless\n"
     "      --keep-going. --replace: instead of another one that waits"},
    {0},
};
