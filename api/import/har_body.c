// SPDX-License-Identifier: Apache-2.0
// Lists of names and values, and what requests send: multipart, urlencoded, raw.
#include "api/import/har_row.h"
#include "api/import/har_text.h"
#include "base/utf8.h"

#include <string.h>
#include <strings.h>

// Which fields of an entity hold a name and its value; -1: the entity has no such field.
typedef struct rqci_har_columns {
    rqc_entity entity;
    int owner, key, value, description, order, created, updated;
} rqci_har_columns;

static const rqci_har_columns columns[] = {
    {RQC_HTTP_HEADER, RQC_HTTP_HEADER_HTTP_ID, RQC_HTTP_HEADER_HEADER_KEY,
     RQC_HTTP_HEADER_HEADER_VALUE, RQC_HTTP_HEADER_DESCRIPTION, RQC_HTTP_HEADER_DISPLAY_ORDER,
     RQC_HTTP_HEADER_CREATED_AT, RQC_HTTP_HEADER_UPDATED_AT},
    {RQC_HTTP_SEARCH_PARAM, RQC_HTTP_SEARCH_PARAM_HTTP_ID, RQC_HTTP_SEARCH_PARAM_KEY,
     RQC_HTTP_SEARCH_PARAM_VALUE, RQC_HTTP_SEARCH_PARAM_DESCRIPTION,
     RQC_HTTP_SEARCH_PARAM_DISPLAY_ORDER, RQC_HTTP_SEARCH_PARAM_CREATED_AT,
     RQC_HTTP_SEARCH_PARAM_UPDATED_AT},
    {RQC_HTTP_BODY_FORM, RQC_HTTP_BODY_FORM_HTTP_ID, RQC_HTTP_BODY_FORM_KEY,
     RQC_HTTP_BODY_FORM_VALUE, RQC_HTTP_BODY_FORM_DESCRIPTION, RQC_HTTP_BODY_FORM_DISPLAY_ORDER,
     RQC_HTTP_BODY_FORM_CREATED_AT, RQC_HTTP_BODY_FORM_UPDATED_AT},
    {RQC_HTTP_BODY_URLENCODED, RQC_HTTP_BODY_URLENCODED_HTTP_ID, RQC_HTTP_BODY_URLENCODED_KEY,
     RQC_HTTP_BODY_URLENCODED_VALUE, RQC_HTTP_BODY_URLENCODED_DESCRIPTION,
     RQC_HTTP_BODY_URLENCODED_DISPLAY_ORDER, RQC_HTTP_BODY_URLENCODED_CREATED_AT,
     RQC_HTTP_BODY_URLENCODED_UPDATED_AT},
    {RQC_HTTP_RESPONSE_HEADER, RQC_HTTP_RESPONSE_HEADER_RESPONSE_ID, RQC_HTTP_RESPONSE_HEADER_KEY,
     RQC_HTTP_RESPONSE_HEADER_VALUE, -1, -1, RQC_HTTP_RESPONSE_HEADER_CREATED_AT, -1},
};

static const char *text_of(const rqci_buf *b)
{
    return b->len ? (const char *)b->data : "";
}

static const rqci_har_columns *columns_of(rqc_entity entity)
{
    size_t i = 0;
    while (columns[i].entity != entity)
        i++;
    return &columns[i];
}

// The n-th name and value of an owner. `row` was begun with rqci_har_row and may hold a
// description.
static rqc_err add_pair(rqci_har *h, const rqci_har_columns *c, const uint8_t owner[16], uint32_t n,
                        const rqc_value *key, const rqc_value *value, rqc_value *row)
{
    row[c->owner] = rqc_id(owner);
    row[c->key] = *key;
    row[c->value] = *value;
    if (c->order >= 0)
        row[c->order] = rqc_real(n);
    row[c->created] = rqc_int(h->seconds);
    if (c->updated >= 0)
        row[c->updated] = rqc_int(h->seconds);
    uint8_t id[16];
    rqci_har_child_id(owner, c->entity, n, id);
    return rqci_har_add(h, c->entity, id, row);
}

// What tells about a file that a form sent: its name stands for its content, which HAR files mostly
// lack.
static rqc_err describe_file(rqci_har *h, const char *name, size_t name_len, const char *type,
                             size_t type_len, rqc_value *ret)
{
    rqci_buf *out = rqci_har_scratch(h);
    rqc_err rc = rqci_buf_add(out, "file ", 5);
    if (rc == RQC_OK)
        rc = rqci_buf_add(out, name, name_len);
    if (rc == RQC_OK && type_len > 0)
        rc = rqci_buf_add(out, ", ", 2);
    if (rc == RQC_OK)
        rc = rqci_buf_add(out, type, type_len);
    return rc == RQC_OK ? rqci_har_textn(h, (const char *)out->data, out->len, ret) : rc;
}

static rqc_err add_object(rqci_har *h, const rqci_har_columns *c, const uint8_t owner[16],
                          uint32_t n, const json_t *item)
{
    rqc_value row[RQC_FIELD_MAX], key, value;
    rqci_har_row(h, row);
    size_t file_len = 0, type_len = 0;
    const char *file =
        c->entity == RQC_HTTP_BODY_FORM ? rqci_har_string(item, "fileName", &file_len) : NULL;
    const char *type = rqci_har_string(item, "contentType", &type_len);
    const json_t *given = json_object_get(item, "value");
    rqc_err rc = rqci_har_text(h, json_object_get(item, "name"), &key);
    if (rc == RQC_OK)
        rc = rqci_har_text(h, given, &value);
    if (rc == RQC_OK && file && value.n == 0)
        rc = rqci_har_textn(h, file, file_len, &value);
    if (rc == RQC_OK && file)
        rc = describe_file(h, file, file_len, type ? type : "", type_len, &row[c->description]);
    else if (rc == RQC_OK && c->description >= 0)
        rc = rqci_har_text(h, json_object_get(item, "comment"), &row[c->description]);
    return rc == RQC_OK ? add_pair(h, c, owner, n, &key, &value, row) : rc;
}

rqc_err rqci_har_pairs(rqci_har *h, rqc_entity entity, const uint8_t owner[16], const json_t *array,
                       const char *what)
{
    if (array && !json_is_array(array) && !json_is_null(array))
        rqci_har_warn(h, "the %s are no list: left out", what);
    const rqci_har_columns *c = columns_of(entity);
    uint32_t n = 0;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        if (!json_is_string(json_object_get(item, "name"))) {
            rqci_har_warn(h, "item %zu of the %s has no name: left out", i + 1, what);
            continue;
        }
        const rqc_err rc = add_object(h, c, owner, n++, item);
        if (rc != RQC_OK)
            return rc;
    }
    return RQC_OK;
}

rqc_err rqci_har_urlencoded(rqci_har *h, rqc_entity entity, const char *text, size_t len)
{
    rqci_har_pair pair;
    for (uint32_t n = 0; rqci_har_next_pair(&text, &len, &pair); n++) {
        rqc_value row[RQC_FIELD_MAX], key, value;
        rqci_har_row(h, row);
        rqci_buf *name = rqci_har_scratch(h), *content = rqci_har_scratch(h);
        rqc_err rc = rqci_har_unescape(pair.name, pair.name_len, name);
        if (rc == RQC_OK)
            rc = rqci_har_unescape(pair.value, pair.value_len, content);
        if (rc == RQC_OK)
            rc = rqci_har_textn(h, text_of(name), name->len, &key);
        if (rc == RQC_OK)
            rc = rqci_har_textn(h, text_of(content), content->len, &value);
        if (rc == RQC_OK)
            rc = add_pair(h, columns_of(entity), h->request, n, &key, &value, row);
        if (rc != RQC_OK)
            return rc;
    }
    return RQC_OK;
}

// ---- Multipart ----------------------------------------------------------------------------------

// The next line that is a delimiter: *ret_line is where its dashes begin, the result where the text
// behind the line begins. NULL: none.
static const char *next_delimiter(const char *p, const char *end, const rqci_buf *boundary,
                                  const char **ret_line, bool *ret_last)
{
    for (const char *start = p; p < end; p++) {
        p = memmem(p, (size_t)(end - p), boundary->data, boundary->len);
        if (!p)
            return NULL;
        if (p - start >= 2 && p[-1] == '-' && p[-2] == '-' && (p - start == 2 || p[-3] == '\n')) {
            const char *behind = p + boundary->len;
            *ret_line = p - 2;
            *ret_last = end - behind >= 2 && behind[0] == '-' && behind[1] == '-';
            const char *newline = memchr(behind, '\n', (size_t)(end - behind));
            return newline ? newline + 1 : end;
        }
    }
    return NULL;
}

// A header of a part, up to the end of its line; NULL when it has none.
static const char *part_header(const char *p, const char *end, const char *name, size_t *ret_len)
{
    const size_t n = strlen(name);
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        const char *stop = newline ? newline : end;
        if ((size_t)(stop - p) > n && strncasecmp(p, name, n) == 0 && p[n] == ':') {
            p += n + 1;
            while (p < stop && *p == ' ')
                p++;
            *ret_len = (size_t)(stop - p) - (stop > p && stop[-1] == '\r');
            return p;
        }
        p = newline ? newline + 1 : end;
    }
    return NULL;
}

// Where the headers of a part end and its content begins.
static const char *part_content(const char *p, const char *end, const char **ret_headers_end)
{
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        if (newline == p || (newline == p + 1 && *p == '\r')) {
            *ret_headers_end = p;
            return newline + 1;
        }
        if (!newline)
            break;
        p = newline + 1;
    }
    return NULL;
}

// A part of a multipart text. Without a disposition it is no field of a form.
typedef struct rqci_har_part {
    const char *disposition, *type, *content;
    size_t disposition_len, type_len, len;
} rqci_har_part;

typedef struct rqci_har_parts {
    const char *at, *end; // at: behind a delimiter line; NULL at the end
    const rqci_buf *boundary;
} rqci_har_parts;

static rqci_har_parts first_part(const rqci_buf *text, const rqci_buf *boundary)
{
    const char *p = (const char *)text->data, *end = p + text->len, *line;
    bool last = false;
    p = text->len ? next_delimiter(p, end, boundary, &line, &last) : NULL;
    return (rqci_har_parts){last ? NULL : p, end, boundary};
}

static bool next_part(rqci_har_parts *parts, rqci_har_part *ret)
{
    if (!parts->at)
        return false;
    *ret = (rqci_har_part){0};
    const char *p = parts->at, *line = parts->end, *headers_end;
    bool last = false;
    parts->at = next_delimiter(p, parts->end, parts->boundary, &line, &last);
    const char *end = parts->at ? line : parts->end;
    if (last)
        parts->at = NULL;
    ret->content = part_content(p, end, &headers_end);
    if (!ret->content)
        return true;
    ret->disposition = part_header(p, headers_end, "content-disposition", &ret->disposition_len);
    ret->type = part_header(p, headers_end, "content-type", &ret->type_len);
    ret->len = (size_t)(end - ret->content);
    if (ret->len > 0 && ret->content[ret->len - 1] == '\n')
        ret->len -= ret->len > 1 && ret->content[ret->len - 2] == '\r' ? 2 : 1;
    return true;
}

static rqc_err add_part(rqci_har *h, const rqci_har_part *part, uint32_t n, bool *ret_named)
{
    *ret_named = false;
    rqc_value row[RQC_FIELD_MAX], key, value;
    rqci_har_row(h, row);
    rqci_buf *name = rqci_har_scratch(h), *file = rqci_har_scratch(h);
    if (!part->disposition ||
        !rqci_har_parameter(part->disposition, part->disposition_len, "name", name))
        return RQC_OK;
    *ret_named = true;
    const bool is_file =
        rqci_har_parameter(part->disposition, part->disposition_len, "filename", file);
    const bool text = rqci_utf8_valid(part->content, part->len) &&
                      !(part->len > 0 && memchr(part->content, 0, part->len));
    const bool by_name = is_file && (part->len == 0 || !text);
    if (is_file && !text)
        rqci_har_warn(h, "form field %u holds bytes that are no text: its file name is kept",
                      n + 1);
    rqc_err rc = rqci_har_textn(h, text_of(name), name->len, &key);
    if (rc == RQC_OK)
        rc = by_name ? rqci_har_textn(h, text_of(file), file->len, &value)
                     : rqci_har_textn(h, part->content, part->len, &value);
    if (rc == RQC_OK && is_file)
        rc = describe_file(h, text_of(file), file->len, part->type ? part->type : "",
                           part->type_len, &row[RQC_HTTP_BODY_FORM_DESCRIPTION]);
    return rc == RQC_OK
               ? add_pair(h, columns_of(RQC_HTTP_BODY_FORM), h->request, n, &key, &value, row)
               : rc;
}

static rqc_err add_multipart(rqci_har *h, const rqci_har_body *body)
{
    rqci_har_parts parts = first_part(&body->bytes, &body->boundary);
    rqci_har_part part;
    uint32_t n = 0;
    while (next_part(&parts, &part)) {
        bool named;
        const rqc_err rc = add_part(h, &part, n, &named);
        if (rc != RQC_OK)
            return rc;
        if (named)
            n++;
        else
            rqci_har_warn(h, "a part of the multipart body has no name: left out");
    }
    return RQC_OK;
}

// The boundary that the media type names, else the one that the text begins with. Empty: this is no
// multipart text.
static rqc_err find_boundary(const char *mime, size_t mime_len, rqci_har_body *body)
{
    const char *text = (const char *)body->bytes.data;
    const size_t len = body->bytes.len;
    if (!rqci_har_parameter(mime, mime_len, "boundary", &body->boundary) ||
        body->boundary.len == 0) {
        const char *newline = len > 2 ? memchr(text, '\n', len) : NULL;
        if (!newline || text[0] != '-' || text[1] != '-')
            return RQC_OK;
        const size_t n = (size_t)(newline - text) - 2;
        const rqc_err rc =
            rqci_buf_add(&body->boundary, text + 2, n > 0 && newline[-1] == '\r' ? n - 1 : n);
        if (rc != RQC_OK)
            return rc;
    }
    rqci_har_parts parts = {0};
    if (body->boundary.len > 0)
        parts = first_part(&body->bytes, &body->boundary);
    rqci_har_part part;
    while (next_part(&parts, &part))
        if (part.disposition)
            return RQC_OK;
    body->boundary.len = 0;
    return RQC_OK;
}

// ---- Bodies -------------------------------------------------------------------------------------

// Some recorders write every body as params, JSON too: then the names and values are the text, cut
// at its '=' and '&'.
static rqc_err join_params(rqci_har *h, const json_t *params, rqci_buf *out)
{
    rqci_har_warn(h, "the body has no text: it was put together from its params");
    rqc_err rc = RQC_OK;
    for (size_t i = 0; i < json_array_size(params) && rc == RQC_OK; i++) {
        size_t name_len = 0, value_len = 0;
        const char *name = rqci_har_string(json_array_get(params, i), "name", &name_len);
        const char *value = rqci_har_string(json_array_get(params, i), "value", &value_len);
        if (i > 0)
            rc = rqci_buf_add(out, "&", 1);
        if (rc == RQC_OK)
            rc = rqci_buf_add(out, name, name_len);
        if (rc == RQC_OK && value_len > 0)
            rc = rqci_buf_add(out, "=", 1);
        if (rc == RQC_OK)
            rc = rqci_buf_add(out, value, value_len);
    }
    return rc;
}

static rqc_err body_text(rqci_har *h, const json_t *post, rqci_buf *out)
{
    size_t len = 0, encoding_len = 0;
    const char *text = rqci_har_string(post, "text", &len);
    const char *encoding = rqci_har_string(post, "encoding", &encoding_len);
    if (text && encoding && strcasecmp(encoding, "base64") == 0) {
        const rqc_err rc = rqci_har_base64(text, len, out);
        if (rc != RQC_INVALID)
            return rc;
        rqci_har_warn(h, "the request's base64 is damaged: its text is kept as it is");
    }
    return rqci_buf_add(out, text, len);
}

rqc_err rqci_har_body_read(rqci_har *h, const json_t *post, rqci_har_body *body)
{
    if (!json_is_object(post)) {
        if (post && !json_is_null(post))
            rqci_har_warn(h, "the post data are no object: left out");
        return RQC_OK;
    }
    size_t mime_len = 0;
    const char *mime = rqci_har_string(post, "mimeType", &mime_len);
    char type[64];
    rqci_har_media_type(mime ? mime : "", mime_len, type, sizeof type);
    const json_t *params = json_object_get(post, "params");
    const bool has_params = json_array_size(params) > 0;
    rqc_err rc = body_text(h, post, &body->bytes);
    if (rc != RQC_OK)
        return rc;
    if (strcmp(type, "application/x-www-form-urlencoded") == 0)
        body->kind = 2;
    else if (strcmp(type, "multipart/form-data") == 0)
        body->kind = 1;
    else if (body->bytes.len > 0 || has_params)
        body->kind = 3;
    if (body->kind == 3 && body->bytes.len == 0)
        return join_params(h, params, &body->bytes);
    if (body->kind != 3 && has_params)
        body->params = params;
    if (body->kind == 1 && !has_params && body->bytes.len > 0) {
        rc = find_boundary(mime, mime_len, body);
        if (rc == RQC_OK && body->boundary.len == 0) {
            rqci_har_warn(h, "the multipart body cannot be taken apart: kept as raw bytes");
            body->kind = 3;
        }
    }
    return rc;
}

static rqc_err add_raw(rqci_har *h, const rqci_buf *bytes)
{
    if (bytes->len > UINT32_MAX)
        return rqci_fail(h->err, RQC_TOO_LARGE, "entry %zu: a body of %zu bytes", h->entry,
                         bytes->len);
    rqc_value row[RQC_FIELD_MAX];
    rqci_har_row(h, row);
    row[RQC_HTTP_BODY_RAW_HTTP_ID] = rqc_id(h->request);
    row[RQC_HTTP_BODY_RAW_RAW_DATA] = rqc_bytes(bytes->data, (uint32_t)bytes->len);
    row[RQC_HTTP_BODY_RAW_CREATED_AT] = row[RQC_HTTP_BODY_RAW_UPDATED_AT] = rqc_int(h->seconds);
    uint8_t id[16];
    rqci_har_child_id(h->request, RQC_HTTP_BODY_RAW, 0, id);
    return rqci_har_add(h, RQC_HTTP_BODY_RAW, id, row);
}

rqc_err rqci_har_body_add(rqci_har *h, const rqci_har_body *body)
{
    if (body->kind == 3)
        return add_raw(h, &body->bytes);
    const rqc_entity entity = body->kind == 1 ? RQC_HTTP_BODY_FORM : RQC_HTTP_BODY_URLENCODED;
    if (body->params)
        return rqci_har_pairs(h, entity, h->request, body->params, "body parameters");
    if (body->bytes.len == 0)
        return RQC_OK;
    if (body->kind == 1)
        return add_multipart(h, body);
    return rqci_har_urlencoded(h, entity, (const char *)body->bytes.data, body->bytes.len);
}

void rqci_har_body_free(rqci_har_body *body)
{
    rqci_buf_free(&body->bytes);
    rqci_buf_free(&body->boundary);
}
