// SPDX-License-Identifier: Apache-2.0
#include "api/import/postman_row.h"

#include "api/import/har_text.h"

#include <string.h>
#include <strings.h>

// ---- The url ------------------------------------------------------------------------------------

// A host or path: a text, or a list of texts or {value}.
static void join(rqci_pieces *out, json_t *v, const char *between)
{
    if (json_is_string(v)) {
        rqci_piece(out, json_string_value(v), json_string_length(v));
        return;
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        json_t *part = json_array_get(v, i);
        if (json_is_object(part))
            part = json_object_get(part, "value");
        rqci_piece_text(out, i > 0 ? between : "");
        if (json_is_string(part))
            rqci_piece(out, json_string_value(part), json_string_length(part));
    }
}

static void put_member(rqci_pieces *out, json_t *url, const char *before, const char *key)
{
    json_t *v = json_object_get(url, key);
    if (!json_is_string(v) || json_string_length(v) == 0)
        return;
    rqci_piece_text(out, before);
    rqci_piece(out, json_string_value(v), json_string_length(v));
}

// The query of an url that is given in parts.
static void put_query(rqci_pieces *out, json_t *query)
{
    const char *before = "?";
    for (size_t i = 0; i < json_array_size(query); i++) {
        json_t *item = json_array_get(query, i);
        if (json_is_true(json_object_get(item, "disabled")))
            continue;
        rqci_piece_text(out, before);
        put_member(out, item, "", "key");
        if (json_is_string(json_object_get(item, "value")))
            rqci_piece_text(out, "=");
        put_member(out, item, "", "value");
        before = "&";
    }
}

// An url that has no text of its own.
static rqc_err put_together(json_t *url, rqci_buf *text)
{
    rqci_pieces out = {text, RQC_OK};
    put_member(&out, url, "", "protocol");
    json_t *protocol = json_object_get(url, "protocol"), *path = json_object_get(url, "path");
    if (json_is_string(protocol) && json_string_length(protocol) > 0)
        rqci_piece_text(&out, "://");
    join(&out, json_object_get(url, "host"), ".");
    put_member(&out, url, ":", "port");
    const char *first = json_string_value(path);
    if (json_array_size(path) > 0 || (first && *first && *first != '/'))
        rqci_piece_text(&out, "/");
    join(&out, path, "/");
    put_query(&out, json_object_get(url, "query"));
    put_member(&out, url, "#", "hash");
    return out.err;
}

// The values of :path variables have no column; their names stay in the url.
static rqc_err path_variables(rqci_postman *p, json_t *list)
{
    if (!json_is_array(list))
        return rqci_postman_wrong(p, list, "path variable");
    rqc_err rc = RQC_OK;
    for (size_t i = 0; i < json_array_size(list) && rc == RQC_OK; i++) {
        json_t *v = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(v, "key"));
        if (!name)
            name = json_string_value(json_object_get(v, "id"));
        if (!rqci_postman_empty(json_object_get(v, "value")) ||
            !rqci_postman_empty(json_object_get(v, "description")))
            rc = rqci_losses_add(&p->losses, "value of the path variable %.60s", name ? name : "");
    }
    return rc;
}

static rqc_err read_url(rqci_postman *p, json_t *url)
{
    static const char *const used[] = {"raw",  "protocol", "host",     "path", "port",
                                       "hash", "query",    "variable", NULL};
    if (!json_is_object(url)) {
        json_t *text = json_is_string(url) ? url : NULL;
        const rqc_err rc = rqci_rows_keep(p->rows, text, &p->url_text, &p->url);
        return rc == RQC_OK && !text ? rqci_postman_wrong(p, url, "url") : rc;
    }
    json_t *raw = json_object_get(url, "raw");
    rqc_err rc;
    if (json_is_string(raw) && json_string_length(raw) > 0) {
        rc = rqci_rows_keep(p->rows, raw, &p->url_text, &p->url);
    } else {
        rqci_buf text = {0};
        rc = put_together(url, &text);
        json_t *made =
            rc == RQC_OK ? json_stringn(text.len ? (const char *)text.data : "", text.len) : NULL;
        if (rc == RQC_OK)
            rc = made ? rqci_rows_keep(p->rows, made, &p->url_text, &p->url) : RQC_NO_MEMORY;
        json_decref(made);
        rqci_buf_free(&text);
    }
    if (rc == RQC_OK)
        rc = path_variables(p, json_object_get(url, "variable"));
    return rc == RQC_OK ? rqci_postman_rest(p, url, "url", used) : rc;
}

static rqc_err add_params(rqci_postman *p, json_t *url, const rqci_postman_auth *auth)
{
    json_t *query = json_object_get(url, "query");
    const rqc_value key = rqc_textn((const char *)auth->key.data, (uint32_t)auth->key.len);
    const rqc_value *replaced = auth->entity == RQC_HTTP_SEARCH_PARAM ? &key : NULL;
    uint32_t order = 0;
    const char *text = json_string_value(query);
    size_t len = json_string_length(query);
    rqc_err rc = RQC_OK;
    if (json_array_size(query) > 0)
        rc = rqci_postman_pairs(p, RQC_HTTP_SEARCH_PARAM, p->request, query, "parameter", replaced,
                                &order);
    else if (text || rqci_har_query(p->url.p, p->url.n, &text, &len))
        rc = rqci_postman_query(p, RQC_HTTP_SEARCH_PARAM, text, len, replaced, &order);
    else
        rc = rqci_postman_wrong(p, query, "query");
    if (rc == RQC_OK && replaced)
        rc = rqci_postman_pair(p, RQC_HTTP_SEARCH_PARAM, key.p, key.n,
                               (const char *)auth->value.data, auth->value.len, &order);
    return rc;
}

// ---- Headers ------------------------------------------------------------------------------------

// Does the list (or text of lines) name this header, enabled?
static bool has_header(json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *item = json_array_get(list, i);
        const char *key = json_string_value(json_object_get(item, "key"));
        if (key && strcasecmp(key, name) == 0 && !json_is_true(json_object_get(item, "disabled")))
            return true;
    }
    return json_is_string(list) && strcasestr(json_string_value(list), name);
}

static rqc_err add_headers(rqci_postman *p, json_t *list, const rqci_postman_auth *auth,
                           const char *type)
{
    const rqc_value key = rqc_textn((const char *)auth->key.data, (uint32_t)auth->key.len);
    const rqc_value *replaced = auth->entity == RQC_HTTP_HEADER ? &key : NULL;
    uint32_t order = 0;
    rqc_err rc;
    if (json_is_string(list))
        rc = rqci_postman_lines(p, RQC_HTTP_HEADER, p->request, json_string_value(list),
                                json_string_length(list), replaced, &order);
    else
        rc = rqci_postman_pairs(p, RQC_HTTP_HEADER, p->request, list, "header", replaced, &order);
    if (rc == RQC_OK && replaced)
        rc = rqci_postman_pair(p, RQC_HTTP_HEADER, key.p, key.n, (const char *)auth->value.data,
                               auth->value.len, &order);
    if (rc == RQC_OK && type && !has_header(list, "Content-Type"))
        rc = rqci_postman_pair(p, RQC_HTTP_HEADER, "Content-Type", 12, type, strlen(type), &order);
    return rc;
}

// ---- The request --------------------------------------------------------------------------------

rqc_err rqci_postman_request_name(rqci_postman *p, json_t *item, rqc_value *ret_name)
{
    json_t *name = json_object_get(item, "name");
    if (!rqci_postman_empty(name))
        return rqci_rows_text(p->rows, name, ret_name);
    rqci_buf *out = rqci_rows_scratch(p->rows);
    const rqc_err rc = rqci_har_name(p->method.p, p->method.n, p->url.p, p->url.n, out);
    return rc == RQC_OK ? rqci_rows_textn(p->rows, (const char *)out->data, out->len, ret_name)
                        : rc;
}

// Item and request may both have one; mostly it is the same.
static rqc_err description(rqci_postman *p, json_t *item, json_t *request, rqc_value *ret)
{
    rqc_value of_item;
    rqc_err rc = rqci_postman_description(p, json_object_get(item, "description"), &of_item);
    if (rc == RQC_OK)
        rc = rqci_postman_description(p, json_object_get(request, "description"), ret);
    if (rc != RQC_OK || of_item.n == 0 ||
        (of_item.n == ret->n && memcmp(of_item.p, ret->p, ret->n) == 0))
        return rc;
    if (ret->n == 0) {
        *ret = of_item;
        return RQC_OK;
    }
    rqci_buf *out = rqci_rows_scratch(p->rows);
    rqci_pieces pieces = {out, RQC_OK};
    rqci_piece(&pieces, of_item.p, of_item.n);
    rqci_piece_text(&pieces, "\n\n");
    rqci_piece(&pieces, ret->p, ret->n);
    return pieces.err == RQC_OK ? rqci_rows_textn(p->rows, (const char *)out->data, out->len, ret)
                                : pieces.err;
}

static rqc_err add_http(rqci_postman *p, json_t *item, json_t *request,
                        const rqci_postman_level *level, int kind)
{
    rqc_value row[RQC_FIELD_MAX];
    rqci_rows_start(p->rows, row);
    rqc_err rc = rqci_postman_request_name(p, item, &row[RQC_HTTP_NAME]);
    if (rc == RQC_OK)
        rc = description(p, item, request, &row[RQC_HTTP_DESCRIPTION]);
    if (rc != RQC_OK)
        return rc;
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(p->rows->workspace);
    if (level->folder)
        row[RQC_HTTP_FOLDER_ID] = rqc_id(level->folder);
    row[RQC_HTTP_URL] = p->url;
    row[RQC_HTTP_METHOD] = p->method;
    row[RQC_HTTP_BODY_KIND] = rqc_int(kind);
    row[RQC_HTTP_CREATED_AT] = row[RQC_HTTP_UPDATED_AT] = rqc_int(p->rows->now);
    rc = rqci_rows_add(p->rows, RQC_HTTP, p->request, row);
    p->rows->counts.requests += rc == RQC_OK;
    return rc;
}

static rqc_err read_method(rqci_postman *p, json_t *method)
{
    rqc_err rc = rqci_rows_keep(p->rows, json_is_string(method) ? method : NULL, &p->method_text,
                                &p->method);
    if (rc == RQC_OK && !json_is_string(method))
        rc = rqci_postman_wrong(p, method, "method");
    if (rc == RQC_OK && p->method.n == 0)
        p->method = rqc_text("GET");
    return rc;
}

static rqc_err add_request(rqci_postman *p, json_t *item, json_t *request,
                           const rqci_postman_level *level, rqci_postman_body *body,
                           rqci_postman_auth *auth)
{
    static const char *const used[] = {"url",  "method",      "header", "body",
                                       "auth", "description", "name",   NULL};
    json_t *url = json_is_string(request) ? request : json_object_get(request, "url");
    json_t *own_auth = json_object_get(request, "auth");
    rqc_err rc = read_url(p, url);
    if (rc == RQC_OK)
        rc = read_method(p, json_object_get(request, "method"));
    if (rc == RQC_OK)
        rc = rqci_postman_auth_losses(p, own_auth);
    if (rc == RQC_OK)
        rc = rqci_postman_auth_read(p, rqci_postman_auth_of(own_auth, level->auth), auth);
    if (rc == RQC_OK)
        rc = rqci_postman_body_read(p, json_object_get(request, "body"), body);
    if (rc == RQC_OK)
        rc = add_http(p, item, request, level, body->kind);
    if (rc == RQC_OK)
        rc = add_headers(p, json_object_get(request, "header"), auth, body->type);
    if (rc == RQC_OK)
        rc = add_params(p, url, auth);
    if (rc == RQC_OK)
        rc = rqci_postman_body_add(p, body);
    return rc == RQC_OK ? rqci_postman_rest(p, request, "request", used) : rc;
}

rqc_err rqci_postman_request(rqci_postman *p, json_t *item, const rqci_postman_level *level)
{
    rqci_postman_body body = {0};
    rqci_postman_auth auth = {0};
    const rqc_err rc = add_request(p, item, json_object_get(item, "request"), level, &body, &auth);
    rqci_buf_free(&body.raw);
    rqci_buf_free(&auth.key);
    rqci_buf_free(&auth.value);
    return rc;
}
