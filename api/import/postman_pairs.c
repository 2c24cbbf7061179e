// SPDX-License-Identifier: Apache-2.0
// Postman's lists of names and values: headers, parameters, fields.
#include "api/import/postman_row.h"

#include "api/import/har_text.h"

#include <string.h>
#include <strings.h>

static bool same_name(const rqc_value *a, const rqc_value *b)
{
    return b && a->n == b->n && strncasecmp(a->p, b->p, a->n) == 0;
}

// Adds a row whose texts are made; moves the order on.
static rqc_err add(rqci_postman *p, rqc_entity entity, const uint8_t owner[16],
                   rqci_rows_pair *pair, const rqc_value *replaced, uint32_t *order)
{
    pair->seconds = p->rows->now;
    if (!pair->disabled && same_name(&pair->key, replaced)) {
        pair->disabled = true;
        const rqc_err rc = rqci_losses_add(
            &p->losses, "state of %.*s: kept disabled, because the authentication takes its place",
            replaced->n > 60 ? 60 : (int)replaced->n, (const char *)replaced->p);
        if (rc != RQC_OK)
            return rc;
    }
    return rqci_rows_pair_add(p->rows, entity, owner, (*order)++, pair);
}

static rqc_err trimmed(rqci_postman *p, const char *text, size_t len, rqc_value *ret)
{
    while (len > 0 && (*text == ' ' || *text == '\t'))
        text++, len--;
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t' || text[len - 1] == '\r'))
        len--;
    return rqci_rows_textn(p->rows, text, len, ret);
}

static rqc_err add_line(rqci_postman *p, rqc_entity entity, const uint8_t owner[16],
                        const char *line, size_t len, const rqc_value *replaced, uint32_t *order)
{
    rqc_value row[RQC_FIELD_MAX];
    rqci_rows_start(p->rows, row);
    rqci_rows_pair pair = {.disabled = len >= 2 && line[0] == '/' && line[1] == '/'};
    if (pair.disabled)
        line += 2, len -= 2;
    const char *colon = memchr(line, ':', len);
    const size_t name = colon ? (size_t)(colon - line) : len;
    rqc_err rc = trimmed(p, line, name, &pair.key);
    if (rc == RQC_OK)
        rc = trimmed(p, colon ? colon + 1 : "", colon ? len - name - 1 : 0, &pair.value);
    if (rc != RQC_OK || (pair.key.n == 0 && pair.value.n == 0))
        return rc;
    return add(p, entity, owner, &pair, replaced, order);
}

rqc_err rqci_postman_lines(rqci_postman *p, rqc_entity entity, const uint8_t owner[16],
                           const char *text, size_t len, const rqc_value *replaced, uint32_t *order)
{
    rqc_err rc = RQC_OK;
    while (len > 0 && rc == RQC_OK) {
        const char *newline = memchr(text, '\n', len);
        const size_t n = newline ? (size_t)(newline - text) : len;
        rc = add_line(p, entity, owner, text, n, replaced, order);
        text += n + (newline != NULL);
        len -= n + (newline != NULL);
    }
    return rc;
}

rqc_err rqci_postman_query(rqci_postman *p, rqc_entity entity, const char *text, size_t len,
                           const rqc_value *replaced, uint32_t *order)
{
    rqci_har_pair pair;
    rqc_err rc = RQC_OK;
    while (rc == RQC_OK && rqci_har_next_pair(&text, &len, &pair)) {
        rqc_value row[RQC_FIELD_MAX];
        rqci_rows_start(p->rows, row);
        rqci_rows_pair made = {0};
        rc = rqci_rows_textn(p->rows, pair.name, pair.name_len, &made.key);
        if (rc == RQC_OK)
            rc = rqci_rows_textn(p->rows, pair.value, pair.value_len, &made.value);
        if (rc == RQC_OK)
            rc = add(p, entity, p->request, &made, replaced, order);
    }
    return rc;
}

rqc_err rqci_postman_pair(rqci_postman *p, rqc_entity entity, const char *key, size_t key_len,
                          const char *value, size_t len, uint32_t *order)
{
    rqc_value row[RQC_FIELD_MAX];
    rqci_rows_start(p->rows, row);
    rqci_rows_pair pair = {0};
    rqc_err rc = rqci_rows_textn(p->rows, key, key_len, &pair.key);
    if (rc == RQC_OK)
        rc = rqci_rows_textn(p->rows, value, len, &pair.value);
    return rc == RQC_OK ? add(p, entity, p->request, &pair, NULL, order) : rc;
}

// ---- Files of forms -----------------------------------------------------------------------------

// A file's content is not in the collection: its path stands for it, as in HAR files, and the
// description says so.
static rqc_err describe_file(rqci_postman *p, const rqc_value *path, json_t *item,
                             rqc_value *description)
{
    size_t len;
    const char *type = rqci_rows_string(item, "contentType", &len);
    if (description->n > 0)
        return rqci_postman_empty(json_object_get(item, "contentType"))
                   ? RQC_OK
                   : rqci_losses_add(&p->losses, "content type of a file");
    rqci_buf *out = rqci_rows_scratch(p->rows);
    rqci_pieces pieces = {out, RQC_OK};
    rqci_piece_text(&pieces, "file ");
    rqci_piece(&pieces, path->p, path->n);
    if (type && len > 0) {
        rqci_piece_text(&pieces, ", ");
        rqci_piece(&pieces, type, len);
    }
    return pieces.err == RQC_OK
               ? rqci_rows_textn(p->rows, (const char *)out->data, out->len, description)
               : pieces.err;
}

static bool is_file(json_t *item)
{
    const char *type = json_string_value(json_object_get(item, "type"));
    return (type && strcmp(type, "file") == 0) || !rqci_postman_empty(json_object_get(item, "src"));
}

// The paths of a file field: a text, a list of them (one row each), or nothing.
static json_t *path_of(json_t *item, size_t i)
{
    json_t *src = json_object_get(item, "src");
    if (rqci_postman_empty(src))
        return json_object_get(item, rqci_postman_empty(json_object_get(item, "fileName"))
                                         ? "value"
                                         : "fileName");
    return json_is_array(src) ? json_array_get(src, i) : src;
}

static bool disabled(json_t *item)
{
    return json_is_true(json_object_get(item, "disabled")) ||
           json_is_false(json_object_get(item, "enabled"));
}

// One row of an object. `value`: its value, or the path of a file that it sends.
static rqc_err add_object(rqci_postman *p, rqc_entity entity, const uint8_t owner[16], json_t *item,
                          json_t *value, bool file, const rqc_value *replaced, uint32_t *order)
{
    rqc_value row[RQC_FIELD_MAX];
    rqci_rows_start(p->rows, row);
    rqci_rows_pair pair = {.disabled = disabled(item)};
    json_t *key = json_object_get(item, "key");
    json_t *description = json_object_get(item, "description");
    rqc_err rc = rqci_rows_text(p->rows, key ? key : json_object_get(item, "name"), &pair.key);
    if (rc == RQC_OK)
        rc = rqci_rows_text(p->rows, value, &pair.value);
    if (rc == RQC_OK && entity == RQC_HTTP_RESPONSE_HEADER)
        rc = rqci_postman_empty(description)
                 ? RQC_OK
                 : rqci_losses_add(&p->losses, "description of a response header");
    else if (rc == RQC_OK)
        rc = rqci_postman_description(p, description, &pair.description);
    if (rc == RQC_OK && file) {
        rqci_rows_warn(p->rows,
                       "field %.60s sends the file %.200s: its content is not in the collection",
                       json_is_string(key) ? json_string_value(key) : "",
                       json_is_string(value) ? json_string_value(value) : "");
        rc = describe_file(p, &pair.value, item, &pair.description);
    }
    return rc == RQC_OK ? add(p, entity, owner, &pair, replaced, order) : rc;
}

static rqc_err item_losses(rqci_postman *p, json_t *item, const char *what, bool file)
{
    // A file's media type goes into its description, which used[] says by leaving its name in.
    static const char *const used[] = {"contentType", "fileName", "key",  "value",  "disabled",
                                       "enabled",     "name",     "uuid", "equals", "description",
                                       "type",        "src",      "id",   NULL};
    rqc_err rc = rqci_postman_rest(p, item, what, file ? used : used + 2);
    json_t *key = json_object_get(item, "key"), *name = json_object_get(item, "name");
    if (rc == RQC_OK && key && !rqci_postman_empty(name) && !json_equal(name, key))
        rc = rqci_losses_add(&p->losses, "name of a %s beside its key", what);
    return rc;
}

static rqc_err add_item(rqci_postman *p, rqc_entity entity, const uint8_t owner[16], json_t *item,
                        const char *what, const rqc_value *replaced, uint32_t *order)
{
    const bool file = entity == RQC_HTTP_BODY_FORM && is_file(item);
    rqc_err rc = item_losses(p, item, what, file);
    if (!file && rc == RQC_OK)
        return add_object(p, entity, owner, item, json_object_get(item, "value"), false, replaced,
                          order);
    const size_t n = json_array_size(json_object_get(item, "src"));
    for (size_t i = 0; i < (n ? n : 1) && rc == RQC_OK; i++)
        rc = add_object(p, entity, owner, item, path_of(item, i), true, replaced, order);
    return rc;
}

rqc_err rqci_postman_pairs(rqci_postman *p, rqc_entity entity, const uint8_t owner[16],
                           json_t *list, const char *what, const rqc_value *replaced,
                           uint32_t *order)
{
    if (!json_is_array(list))
        return rqci_postman_wrong(p, list, what);
    rqc_err rc = RQC_OK;
    for (size_t i = 0; i < json_array_size(list) && rc == RQC_OK; i++) {
        json_t *item = json_array_get(list, i);
        if (json_is_object(item))
            rc = add_item(p, entity, owner, item, what, replaced, order);
        else if (json_is_string(item))
            rc = rqci_postman_lines(p, entity, owner, json_string_value(item),
                                    json_string_length(item), replaced, order);
        else
            rc = rqci_postman_wrong(p, item, what);
    }
    return rc;
}
