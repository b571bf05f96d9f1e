/* SPDX-License-Identifier: BSD-2-Clause */
/* Parameters of operations. */
#include "daemon/control/params.h"

#include <inttypes.h>
#include <string.h>

#include "proto/message.h"

/* ---- Text to JSON ---- */

/* jansson bounds its recursion far above what anybody needs. */
static int is_too_deep(const char *text, size_t len)
{
    int depth = 0, quoted = 0;

    for (size_t i = 0; i < len; i++) {
        if (quoted) {
            if (text[i] == '\\') {
                i++; /* what is escaped ends nothing */
            } else if (text[i] == '"') {
                quoted = 0;
            }
        } else if (text[i] == '"') {
            quoted = 1;
        } else if (text[i] == '{' || text[i] == '[') {
            depth++;
        } else if (text[i] == '}' || text[i] == ']') {
            depth--;
        }
        if (depth > KL_PARAMS_DEPTH) {
            return 1;
        }
    }
    return 0;
}

enum kl_rc kl_params_parse(const char *text, size_t len, json_t **out, struct kl_err *err)
{
    json_error_t why;
    json_t *json;

    if (is_too_deep(text, len)) {
        return kl_err_set(err, KL_ERR_INPUT, "JSON: more than %d levels deep", KL_PARAMS_DEPTH);
    }
    json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    if (!json) {
        return kl_err_set(err, KL_ERR_INPUT, "JSON: %.100s (at byte %d)", why.text, why.position);
    }
    *out = json;
    return KL_OK;
}

char *kl_params_text(const json_t *params)
{
    return json_dumps(params, JSON_SORT_KEYS | JSON_COMPACT);
}

/* ---- JSON to values ---- */

static enum kl_rc wrong(const struct kl_param *param, const char *must, struct kl_err *err)
{
    return kl_err_set(err, KL_ERR_INPUT, "\"%s\" must be %s", param->name, must);
}

static enum kl_rc take_text(const struct kl_param *param, const json_t *value, struct kl_err *err)
{
    const char *text = json_string_value(value);

    if (!text) {
        return wrong(param, "a text", err);
    }
    if (json_string_length(value) > (size_t)param->max ||
        strlen(text) != json_string_length(value)) {
        return kl_err_set(err, KL_ERR_INPUT, "\"%s\" is longer than %" PRId64 " bytes", param->name,
                          param->max);
    }
    *(const char **)param->out = text;
    return KL_OK;
}

static enum kl_rc take_serial(const struct kl_param *param, const json_t *value, struct kl_err *err)
{
    const char *text = json_string_value(value);
    enum kl_rc rc;

    if (!text) {
        return wrong(param, "a serial number", err);
    }
    if ((rc = kl_serial_check(param->name, text, err)) == KL_OK) {
        *(const char **)param->out = text;
    }
    return rc;
}

static enum kl_rc take_number(const struct kl_param *param, const json_t *value, struct kl_err *err)
{
    json_int_t number = json_integer_value(value);

    if (!json_is_integer(value) || number < param->min || number > param->max) {
        return kl_err_set(err, KL_ERR_INPUT, "\"%s\" must be a number from %" PRId64 " to %" PRId64,
                          param->name, param->min, param->max);
    }
    *(int64_t *)param->out = number;
    return KL_OK;
}

static enum kl_rc take_array(const struct kl_param *param, json_t *value, struct kl_err *err)
{
    size_t count = json_array_size(value);

    if (!json_is_array(value) || count < 1 || count > (size_t)param->max) {
        return kl_err_set(err, KL_ERR_INPUT, "\"%s\" must be a list of 1 to %" PRId64, param->name,
                          param->max);
    }
    for (size_t i = 0; param->type == KL_PARAM_SERIALS && i < count; i++) {
        const char *serial = json_string_value(json_array_get(value, i));

        if (!serial) {
            return wrong(param, "a list of serial numbers", err);
        }
        if (kl_serial_check("serial", serial, err) != KL_OK) {
            return err->rc;
        }
    }
    *(json_t **)param->out = value;
    return KL_OK;
}

static enum kl_rc take(const struct kl_param *param, json_t *value, struct kl_err *err)
{
    switch (param->type) {
    case KL_PARAM_TEXT:
        return take_text(param, value, err);
    case KL_PARAM_SERIAL:
        return take_serial(param, value, err);
    case KL_PARAM_NUMBER:
        return take_number(param, value, err);
    case KL_PARAM_BOOL:
        if (!json_is_boolean(value)) {
            return wrong(param, "true or false", err);
        }
        *(int *)param->out = json_is_true(value);
        return KL_OK;
    case KL_PARAM_SERIALS:
    case KL_PARAM_ARRAY:
        return take_array(param, value, err);
    case KL_PARAM_OBJECT:
        if (!json_is_object(value)) {
            return wrong(param, "an object", err);
        }
        *(json_t **)param->out = value;
        return KL_OK;
    }
    return kl_err_set(err, KL_ERR_INTERNAL, "\"%s\" has no type", param->name);
}

static const struct kl_param *find(const struct kl_param *table, const char *name)
{
    for (; table && table->name; table++) {
        if (strcmp(table->name, name) == 0) {
            return table;
        }
    }
    return NULL;
}

enum kl_rc kl_params_read(const json_t *params, const struct kl_param *table, struct kl_err *err)
{
    const struct kl_param *param;
    const char *name;
    json_t *value;

    if (!json_is_object(params)) {
        return kl_err_set(err, KL_ERR_INPUT, "parameters must be an object");
    }
    /* jansson's iteration takes no const object, and changes none. */
    json_object_foreach((json_t *)params, name, value)
    {
        if (!(param = find(table, name))) {
            return kl_err_set(err, KL_ERR_INPUT, "\"%.40s\" is unknown", name);
        }
        if (take(param, value, err) != KL_OK) {
            return err->rc;
        }
    }
    for (param = table; param && param->name; param++) {
        if (param->required && !json_object_get(params, param->name)) {
            return kl_err_set(err, KL_ERR_INPUT, "\"%s\" is missing", param->name);
        }
    }
    return KL_OK;
}
