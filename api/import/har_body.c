// SPDX-License-Identifier: Apache-2.0
// Lists of names and values, and what requests send: multipart, urlencoded, raw.
#include "api/import/har_row.h"
#include "api/import/har_text.h"
#include "base/utf8.h"

#include <string.h>
#include <strings.h>

static const char *text_of(const rqci_buf *b)
{
    return b->len ? (const char *)b->data : "";
}

static rqc_err add_pair(rqci_har *h, rqc_entity entity, const uint8_t owner[16], uint32_t n,
                        rqci_rows_pair *pair)
{
    pair->seconds = h->seconds;
    return rqci_rows_pair_add(h->rows, entity, owner, n, pair);
}

// What tells about a file that a form sent: its name stands for its content, which HAR files mostly
// lack.
static rqc_err describe_file(rqci_har *h, const char *name, size_t name_len, const char *type,
                             size_t type_len, rqc_value *ret)
{
    rqci_buf *out = rqci_rows_scratch(h->rows);
    rqci_pieces pieces = {out, RQC_OK};
    rqci_piece_text(&pieces, "file ");
    rqci_piece(&pieces, name, name_len);
    if (type_len > 0) {
        rqci_piece_text(&pieces, ", ");
        rqci_piece(&pieces, type, type_len);
    }
    return pieces.err == RQC_OK ? rqci_rows_textn(h->rows, (const char *)out->data, out->len, ret)
                                : pieces.err;
}

static rqc_err add_object(rqci_har *h, rqc_entity entity, const uint8_t owner[16], uint32_t n,
                          json_t *item)
{
    rqc_value row[RQC_FIELD_MAX];
    rqci_rows_pair pair = {.disabled = json_is_true(json_object_get(item, "_disabled"))};
    rqci_rows_start(h->rows, row);
    size_t file_len = 0, type_len = 0;
    const char *file =
        entity == RQC_HTTP_BODY_FORM ? rqci_rows_string(item, "fileName", &file_len) : NULL;
    const char *type = rqci_rows_string(item, "contentType", &type_len);
    json_t *comment = json_object_get(item, "comment");
    uint8_t id[16];
    bool own_id = false;
    pair.has_order = h->own && rqci_rows_number(json_object_get(item, "_order"), &pair.order);
    rqc_err rc = rqci_har_own_id(h, json_object_get(item, "_id"), id, &own_id);
    pair.id = own_id ? id : NULL;
    if (rc == RQC_OK)
        rc = rqci_rows_text(h->rows, json_object_get(item, "name"), &pair.key);
    if (rc == RQC_OK)
        rc = rqci_rows_text(h->rows, json_object_get(item, "value"), &pair.value);
    if (rc == RQC_OK && file && pair.value.n == 0)
        rc = rqci_rows_textn(h->rows, file, file_len, &pair.value);
    if (rc == RQC_OK && json_is_string(comment) && entity == RQC_HTTP_RESPONSE_HEADER)
        rc = json_string_length(comment) == 0
                 ? RQC_OK
                 : rqci_losses_add(&h->losses, "comment of a response header");
    else if (rc == RQC_OK && json_is_string(comment))
        rc = rqci_rows_text(h->rows, comment, &pair.description);
    else if (rc == RQC_OK && file)
        rc = describe_file(h, file, file_len, type ? type : "", type_len, &pair.description);
    return rc == RQC_OK ? add_pair(h, entity, owner, n, &pair) : rc;
}

// Disabled ones stand apart in an own export, each with its place, because other readers of HAR
// would send them. *ret_all: both, a new reference.
static rqc_err with_disabled(json_t *array, json_t *list, json_t **ret_all)
{
    json_t *all = json_array();
    const size_t n = json_array_size(array), m = json_array_size(list);
    bool good = all != NULL;
    for (size_t i = 0, j = 0; good && (i < n || j < m);) {
        json_t *item = json_array_get(list, j);
        const int64_t at = rqci_rows_integer(json_object_get(item, "_at"), 0);
        if (j < m && (i == n || at <= (int64_t)(i + j))) {
            j++;
            good = !json_is_object(item) ||
                   (json_object_set_new(item, "_disabled", json_true()) == 0 &&
                    json_array_append(all, item) == 0);
        } else {
            good = json_array_append(all, json_array_get(array, i++)) == 0;
        }
    }
    if (good)
        *ret_all = all;
    else
        json_decref(all);
    return good ? RQC_OK : RQC_NO_MEMORY;
}

static rqc_err add_list(rqci_har *h, rqc_entity entity, const uint8_t owner[16], json_t *array,
                        const char *what)
{
    rqc_err rc = RQC_OK;
    uint32_t n = 0;
    for (size_t i = 0; i < json_array_size(array) && rc == RQC_OK; i++) {
        json_t *item = json_array_get(array, i);
        if (json_is_string(json_object_get(item, "name")))
            rc = add_object(h, entity, owner, n++, item);
        else
            rqci_rows_warn(h->rows, "item %zu of the %s has no name: left out", i + 1, what);
    }
    return rc;
}

rqc_err rqci_har_pairs(rqci_har *h, rqc_entity entity, const uint8_t owner[16], json_t *array,
                       const char *what, const char *kind)
{
    if (array && !json_is_array(array) && !json_is_null(array))
        rqci_rows_warn(h->rows, "the %s are no list: left out", what);
    json_t *disabled = kind ? json_object_get(json_object_get(h->own, "disabled"), kind) : NULL;
    if (json_array_size(disabled) == 0)
        return add_list(h, entity, owner, array, what);
    json_t *all = NULL;
    rqc_err rc = with_disabled(array, disabled, &all);
    if (rc == RQC_OK)
        rc = add_list(h, entity, owner, all, what);
    json_decref(all);
    return rc;
}

rqc_err rqci_har_urlencoded(rqci_har *h, rqc_entity entity, const char *text, size_t len)
{
    rqci_har_pair found;
    for (uint32_t n = 0; rqci_har_next_pair(&text, &len, &found); n++) {
        rqc_value row[RQC_FIELD_MAX];
        rqci_rows_pair pair = {0};
        rqci_rows_start(h->rows, row);
        rqci_buf *name = rqci_rows_scratch(h->rows), *content = rqci_rows_scratch(h->rows);
        rqc_err rc = rqci_har_unescape(found.name, found.name_len, name);
        if (rc == RQC_OK)
            rc = rqci_har_unescape(found.value, found.value_len, content);
        if (rc == RQC_OK)
            rc = rqci_rows_textn(h->rows, text_of(name), name->len, &pair.key);
        if (rc == RQC_OK)
            rc = rqci_rows_textn(h->rows, text_of(content), content->len, &pair.value);
        if (rc == RQC_OK)
            rc = add_pair(h, entity, h->request, n, &pair);
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
    rqc_value row[RQC_FIELD_MAX];
    rqci_rows_pair pair = {0};
    rqci_rows_start(h->rows, row);
    rqci_buf *name = rqci_rows_scratch(h->rows), *file = rqci_rows_scratch(h->rows);
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
        rqci_rows_warn(h->rows, "form field %u holds bytes that are no text: its file name is kept",
                       n + 1);
    rqc_err rc = rqci_rows_textn(h->rows, text_of(name), name->len, &pair.key);
    if (rc == RQC_OK)
        rc = by_name ? rqci_rows_textn(h->rows, text_of(file), file->len, &pair.value)
                     : rqci_rows_textn(h->rows, part->content, part->len, &pair.value);
    if (rc == RQC_OK && is_file)
        rc = describe_file(h, text_of(file), file->len, part->type ? part->type : "",
                           part->type_len, &pair.description);
    return rc == RQC_OK ? add_pair(h, RQC_HTTP_BODY_FORM, h->request, n, &pair) : rc;
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
            rqci_rows_warn(h->rows, "a part of the multipart body has no name: left out");
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
static rqc_err join_params(rqci_har *h, json_t *params, rqci_buf *out)
{
    rqci_rows_warn(h->rows, "the body has no text: it was put together from its params");
    rqci_pieces pieces = {out, RQC_OK};
    for (size_t i = 0; i < json_array_size(params); i++) {
        size_t name_len = 0, value_len = 0;
        const char *name = rqci_rows_string(json_array_get(params, i), "name", &name_len);
        const char *value = rqci_rows_string(json_array_get(params, i), "value", &value_len);
        rqci_piece_text(&pieces, i > 0 ? "&" : "");
        rqci_piece(&pieces, name, name_len);
        rqci_piece_text(&pieces, value_len > 0 ? "=" : "");
        rqci_piece(&pieces, value, value_len);
    }
    return pieces.err;
}

rqc_err rqci_har_content(rqci_har *h, json_t *holder, const char *what, rqci_buf *out,
                         bool *ret_there)
{
    size_t len = 0, encoding_len = 0;
    const char *text = rqci_rows_string(holder, "text", &len);
    const char *encoding = rqci_rows_string(holder, "encoding", &encoding_len);
    *ret_there = text != NULL;
    if (text && encoding && strcasecmp(encoding, "base64") == 0) {
        const rqc_err rc = rqci_har_base64(text, len, out);
        if (rc != RQC_INVALID)
            return rc;
        rqci_rows_warn(h->rows, "the %s's base64 is damaged: its text is kept as it is", what);
    } else if (text && encoding_len > 0 && strcasecmp(encoding, "utf-8") != 0 &&
               strcasecmp(encoding, "utf8") != 0) {
        rqci_rows_warn(h->rows, "the %s has the encoding %.40s: its text is kept as it is", what,
                       encoding);
    }
    return rqci_buf_add(out, text, len);
}

// What an own export says about the body: its kind, which the media type need not tell.
static rqc_err own_body(rqci_har *h, json_t *params, rqci_har_body *body)
{
    const int64_t kind = rqci_rows_integer(json_object_get(h->own, "body_kind"), 0);
    body->kind = kind >= 0 && kind <= 127 ? (int)kind : 0;
    if (body->kind == 1 || body->kind == 2)
        body->params = json_is_array(params) ? params : NULL;
    body->has_raw = body->has_raw && body->kind == 3;
    return RQC_OK;
}

static rqc_err guess_body(rqci_har *h, json_t *post, json_t *params, rqci_har_body *body)
{
    size_t mime_len = 0;
    const char *mime = rqci_rows_string(post, "mimeType", &mime_len);
    char type[64];
    rqci_har_media_type(mime ? mime : "", mime_len, type, sizeof type);
    const bool has_params = json_array_size(params) > 0;
    if (strcmp(type, "application/x-www-form-urlencoded") == 0)
        body->kind = 2;
    else if (strcmp(type, "multipart/form-data") == 0)
        body->kind = 1;
    else if (body->bytes.len > 0 || has_params)
        body->kind = 3;
    body->has_raw = body->kind == 3;
    if (body->kind == 3 && body->bytes.len == 0)
        return join_params(h, params, &body->bytes);
    if (body->kind != 3 && has_params)
        body->params = params;
    rqc_err rc = RQC_OK;
    if (body->kind == 1 && !has_params && body->bytes.len > 0) {
        rc = find_boundary(mime, mime_len, body);
        if (rc == RQC_OK && body->boundary.len == 0) {
            rqci_rows_warn(h->rows, "the multipart body cannot be taken apart: kept as raw bytes");
            body->kind = 3;
            body->has_raw = true;
        }
    }
    return rc;
}

rqc_err rqci_har_body_read(rqci_har *h, json_t *post, rqci_har_body *body)
{
    json_t *params = json_object_get(post, "params");
    rqc_err rc = RQC_OK;
    if (json_is_object(post))
        rc = rqci_har_content(h, post, "request", &body->bytes, &body->has_raw);
    else if (post && !json_is_null(post))
        rqci_rows_warn(h->rows, "the post data are no object: left out");
    if (rc == RQC_OK && json_string_length(json_object_get(post, "comment")) > 0)
        rc = rqci_losses_add(&h->losses, "comment of the body");
    if (rc != RQC_OK)
        return rc;
    if (json_is_integer(json_object_get(h->own, "body_kind")))
        return own_body(h, params, body);
    return json_is_object(post) ? guess_body(h, post, params, body) : RQC_OK;
}

rqc_err rqci_har_body_add(rqci_har *h, const rqci_har_body *body)
{
    if (body->has_raw) {
        const int64_t codec = rqci_rows_integer(json_object_get(h->own, "compression"), 0);
        uint8_t id[16];
        bool given;
        const rqc_err rc = rqci_har_own_id(h, json_object_get(h->own, "raw_id"), id, &given);
        return rc == RQC_OK ? rqci_rows_raw_add(h->rows, h->request, given ? id : NULL,
                                                &body->bytes, codec, h->seconds)
                            : rc;
    }
    if (body->kind != 1 && body->kind != 2)
        return RQC_OK;
    const rqc_entity entity = body->kind == 1 ? RQC_HTTP_BODY_FORM : RQC_HTTP_BODY_URLENCODED;
    if (body->params)
        return rqci_har_pairs(h, entity, h->request, body->params, "body parameters", "params");
    if (body->bytes.len == 0)
        return RQC_OK;
    if (body->kind == 1)
        return body->boundary.len > 0 ? add_multipart(h, body) : RQC_OK;
    return rqci_har_urlencoded(h, entity, (const char *)body->bytes.data, body->bytes.len);
}

void rqci_har_body_free(rqci_har_body *body)
{
    rqci_buf_free(&body->bytes);
    rqci_buf_free(&body->boundary);
}
