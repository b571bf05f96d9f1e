/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Archives of audit records. Reading is as strict as with anything that comes from elsewhere: a
 * line has exactly its members, a text its form and bounds.
 */
#include "daemon/audit/audit_archive.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "conf/cli.h"

#define FORMAT 1
#define LINE_BYTES 8192 /* with newline and NUL; the longest record has about 4,000 */

/* ---- Writing ---- */

struct writer {
    FILE *file;
    const char *path;
    uint64_t to, records;
    uint8_t last[KL_HASH_LEN];
};

/* Text is UTF-8, or else its bytes in hex: what is hashed must come back byte for byte. */
static json_t *put_text(const char *text)
{
    char hex[2 * KL_AUDIT_DETAIL_MAX + 1];
    json_t *value = json_string(text);

    if (!value && strlen(text) <= KL_AUDIT_DETAIL_MAX) {
        kl_hex_format((const uint8_t *)text, strlen(text), hex);
        value = json_pack("{s:s}", "hex", hex);
    }
    return value;
}

static enum kl_rc put_line(struct writer *w, json_t *line, struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    if (!line) {
        return kl_err_set(err, KL_ERR_MEMORY, "%s: a line of the archive", w->path);
    }
    if (json_dumpf(line, w->file, JSON_COMPACT) != 0 || putc('\n', w->file) == EOF) {
        rc = kl_err_errno(err, "write", "%s: the archive cannot be written", w->path);
    }
    json_decref(line);
    return rc;
}

static enum kl_rc put_record(const struct kl_audit *record, void *arg, struct kl_err *err)
{
    struct writer *w = arg;
    char hash[2 * KL_HASH_LEN + 1];

    if (record->id > w->to) {
        return KL_OK;
    }
    kl_hex_format(record->hash, KL_HASH_LEN, hash);
    w->records++;
    memcpy(w->last, record->hash, KL_HASH_LEN);
    return put_line(w,
                    json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:s}", "id", (json_int_t)record->id,
                              "time", (json_int_t)record->time, "event", put_text(record->event),
                              "serial", put_text(record->serial), "detail",
                              put_text(record->detail), "actor", put_text(record->actor), "hash",
                              hash),
                    err);
}

static enum kl_rc put_checkpoint(const struct kl_checkpoint *checkpoint, void *arg,
                                 struct kl_err *err)
{
    struct writer *w = arg;
    char hash[2 * KL_HASH_LEN + 1], key[2 * KL_HASH_LEN + 1];
    char signature[2 * KL_AUDIT_SIGNATURE_MAX + 1];

    if (checkpoint->id > w->to) {
        return KL_OK;
    }
    kl_hex_format(checkpoint->hash, KL_HASH_LEN, hash);
    kl_hex_format(checkpoint->key, KL_HASH_LEN, key);
    kl_hex_format(checkpoint->signature, checkpoint->signature_len, signature);
    return put_line(w,
                    json_pack("{s:I, s:I, s:s, s:s, s:s}", "checkpoint", (json_int_t)checkpoint->id,
                              "time", (json_int_t)checkpoint->time, "hash", hash, "key", key,
                              "signature", signature),
                    err);
}

static enum kl_rc put_damaged(const char *table, uint64_t id, void *arg, struct kl_err *err)
{
    const struct writer *w = arg;

    return id > w->to ? KL_OK
                      : kl_err_set(err, KL_ERR_VERIFY,
                                   "%s %" PRIu64 " is damaged: see audit verify", table, id);
}

static enum kl_rc put_all(struct writer *w, struct kl_store *store, struct kl_err *err)
{
    const struct kl_audit_walk walk = {put_record, put_checkpoint, put_damaged, w};
    char id[KL_META_MAX + 1], hash[2 * KL_HASH_LEN + 1];
    struct kl_audit_state state;
    enum kl_rc rc;

    if ((rc = kl_store_meta_get(store, KL_META_STORE_ID, id, err)) != KL_OK ||
        (rc = kl_store_audit_state(store, &state, err)) != KL_OK) {
        return rc;
    }
    kl_hex_format(state.archived_hash, KL_HASH_LEN, hash);
    if ((rc = put_line(w,
                       json_pack("{s:i, s:s, s:I, s:s}", "keyloader_audit", FORMAT, "store_id", id,
                                 "from", (json_int_t)state.archived_to + 1, "before", hash),
                       err)) != KL_OK ||
        (rc = kl_store_audit_walk(store, state.archived_to, &walk, err)) != KL_OK) {
        return rc;
    }
    kl_hex_format(w->last, KL_HASH_LEN, hash);
    return put_line(w,
                    json_pack("{s:I, s:I, s:s}", "end", (json_int_t)w->to, "records",
                              (json_int_t)w->records, "hash", hash),
                    err);
}

enum kl_rc kl_audit_archive_write(struct kl_store *store, const struct kl_checkpoint *to,
                                  const char *path, struct kl_err *err)
{
    struct writer w = {.path = path, .to = to->id};
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    enum kl_rc rc;

    if (fd < 0) {
        return kl_err_errno(err, "open", "%s: the archive cannot be made", path);
    }
    if (!(w.file = fdopen(fd, "w"))) {
        rc = kl_err_errno(err, "fdopen", "%s: the archive cannot be made", path);
        close(fd);
        goto out;
    }
    rc = put_all(&w, store, err);
    if (rc == KL_OK && (fflush(w.file) != 0 || fsync(fd) != 0)) {
        rc = kl_err_errno(err, "fsync", "%s: the archive cannot be written", path);
    }
    if (fclose(w.file) != 0 && rc == KL_OK) {
        rc = kl_err_errno(err, "fclose", "%s: the archive cannot be written", path);
    }
    if (rc == KL_OK) {
        rc = kl_file_sync_dir(path, err);
    }
out:
    if (rc != KL_OK) {
        (void)unlink(path);
    }
    return rc;
}

/* ---- Reading: 1 if the line is what it must be, else 0 ---- */

static int get_number(const json_t *line, const char *name, int64_t min, int64_t *out)
{
    const json_t *value = json_object_get(line, name);

    *out = json_integer_value(value);
    return json_is_integer(value) && *out >= min;
}

static int get_hex(const json_t *line, const char *name, uint8_t *out, size_t len)
{
    const char *text = json_string_value(json_object_get(line, name));

    return text && kl_hex_parse(text, out, len);
}

static int get_text(const json_t *line, const char *name, char *out, size_t max)
{
    const json_t *value = json_object_get(line, name);
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);

    if (text) {
        if (len > max || strlen(text) != len) {
            return 0;
        }
        memcpy(out, text, len + 1);
        return 1;
    }
    text = json_string_value(json_object_get(value, "hex"));
    len = text ? strlen(text) / 2 : 0;
    if (!text || json_object_size(value) != 1 || len > max ||
        !kl_hex_parse(text, (uint8_t *)out, len)) {
        return 0;
    }
    out[len] = '\0';
    return strlen(out) == len;
}

static int get_record(const json_t *line, struct kl_audit *out)
{
    int64_t id;

    if (json_object_size(line) != 7 || !get_number(line, "id", 1, &id) ||
        !get_number(line, "time", INT64_MIN, &out->time) ||
        !get_text(line, "event", out->event, KL_AUDIT_EVENT_MAX) ||
        !get_text(line, "serial", out->serial, KL_SERIAL_MAX) ||
        !get_text(line, "detail", out->detail, KL_AUDIT_DETAIL_MAX) ||
        !get_text(line, "actor", out->actor, KL_AUDIT_ACTOR_MAX) ||
        !get_hex(line, "hash", out->hash, KL_HASH_LEN)) {
        return 0;
    }
    out->id = (uint64_t)id;
    return 1;
}

static int get_checkpoint(const json_t *line, struct kl_checkpoint *out)
{
    const char *signature = json_string_value(json_object_get(line, "signature"));
    int64_t id;

    out->signature_len = signature ? strlen(signature) / 2 : 0;
    if (json_object_size(line) != 5 || !get_number(line, "checkpoint", 1, &id) ||
        !get_number(line, "time", INT64_MIN, &out->time) ||
        !get_hex(line, "hash", out->hash, KL_HASH_LEN) ||
        !get_hex(line, "key", out->key, KL_HASH_LEN) || out->signature_len == 0 ||
        out->signature_len > KL_AUDIT_SIGNATURE_MAX ||
        !kl_hex_parse(signature, out->signature, out->signature_len)) {
        return 0;
    }
    out->id = (uint64_t)id;
    return 1;
}

struct header {
    uint8_t store_id[KL_STORE_ID_LEN], before[KL_HASH_LEN];
    int64_t from;
};

static int get_header(const json_t *line, struct header *out)
{
    int64_t format;

    return json_object_size(line) == 4 && get_number(line, "keyloader_audit", FORMAT, &format) &&
           format == FORMAT && get_hex(line, "store_id", out->store_id, KL_STORE_ID_LEN) &&
           get_number(line, "from", 1, &out->from) &&
           get_hex(line, "before", out->before, KL_HASH_LEN);
}

/* ---- Reading a file ---- */

struct reader {
    struct kl_audit_check *check;
    const char *path;
    uint64_t line, before; /* before: records that the verification had before this file */
    int header, end;
};

static void bad_line(const struct reader *r, const char *what)
{
    kl_audit_check_finding(r->check, 0, "line %" PRIu64 " %s", r->line, what);
}

static void take_end(struct reader *r, const json_t *line)
{
    const struct kl_audit_result *result = kl_audit_check_result(r->check);
    uint8_t hash[KL_HASH_LEN];
    int64_t id, records;

    r->end = 1;
    if (json_object_size(line) != 3 || !get_number(line, "end", 1, &id) ||
        !get_number(line, "records", 0, &records) || !get_hex(line, "hash", hash, KL_HASH_LEN)) {
        bad_line(r, "is damaged");
    } else if ((uint64_t)id != result->last || (uint64_t)records != result->records - r->before ||
               memcmp(hash, result->hash, KL_HASH_LEN) != 0) {
        bad_line(r, "says that the archive ends with another record than it does");
    }
}

static enum kl_rc take_header(struct reader *r, const json_t *line, struct kl_err *err)
{
    struct header header;

    if (!get_header(line, &header)) {
        return kl_err_set(err, KL_ERR_INPUT, "%s: is not an archive of audit records", r->path);
    }
    r->header = 1;
    return kl_audit_check_source(r->check, r->path, header.store_id, (uint64_t)header.from,
                                 header.before, err);
}

static enum kl_rc take_line(struct reader *r, const json_t *line, struct kl_err *err)
{
    struct kl_audit record = {0};
    struct kl_checkpoint checkpoint = {0};

    if (!r->header) {
        return take_header(r, line, err);
    }
    if (r->end) {
        bad_line(r, "is behind the archive's end");
    } else if (json_object_get(line, "end")) {
        take_end(r, line);
    } else if (json_object_get(line, "checkpoint") && get_checkpoint(line, &checkpoint)) {
        return kl_audit_check_checkpoint(r->check, &checkpoint, err);
    } else if (json_object_get(line, "id") && get_record(line, &record)) {
        return kl_audit_check_record(r->check, &record, err);
    } else {
        bad_line(r, "is damaged: neither a record nor a checkpoint");
    }
    return KL_OK;
}

static enum kl_rc take_text(struct reader *r, const char *text, size_t len, struct kl_err *err)
{
    json_error_t ignored;
    json_t *line = json_loadb(text, len, JSON_REJECT_DUPLICATES, &ignored);
    enum kl_rc rc;

    if (!json_is_object(line) && r->header) {
        bad_line(r, "is damaged: it is not a JSON object");
        rc = KL_OK;
    } else {
        rc = take_line(r, line, err);
    }
    json_decref(line);
    return rc;
}

static enum kl_rc read_lines(struct reader *r, FILE *file, struct kl_err *err)
{
    char text[LINE_BYTES];
    enum kl_rc rc = KL_OK;

    while (rc == KL_OK && fgets(text, sizeof(text), file)) {
        size_t len = strlen(text);
        r->line++;
        if (len > 0 && text[len - 1] == '\n') {
            rc = take_text(r, text, len - 1, err);
            continue;
        }
        if (!r->header) {
            return kl_err_set(err, KL_ERR_INPUT, "%s: is not an archive of audit records", r->path);
        }
        bad_line(r, feof(file) ? "is cut off" : "is damaged: too long, or with a NUL in it");
        if (!feof(file)) {
            return KL_OK; /* what follows is no line */
        }
    }
    if (rc == KL_OK && ferror(file)) {
        rc = kl_err_errno(err, "read", "%s: cannot be read", r->path);
    }
    return rc;
}

enum kl_rc kl_audit_archive_read(const char *path, struct kl_audit_check *check, struct kl_err *err)
{
    struct reader r = {.check = check,
                       .path = path,
                       .before = kl_audit_check_result(check)->records};
    FILE *file = fopen(path, "re");
    enum kl_rc rc;

    if (!file) {
        return kl_err_errno(err, "open", "%s: the archive cannot be opened", path);
    }
    rc = read_lines(&r, file, err);
    (void)fclose(file);
    if (rc == KL_OK && !r.header) {
        rc = kl_err_set(err, KL_ERR_INPUT, "%s: is not an archive of audit records", path);
    }
    if (rc == KL_OK && !r.end) {
        kl_audit_check_finding(check, 0, "is cut off after record %" PRIu64,
                               kl_audit_check_result(check)->last);
    }
    return rc;
}
