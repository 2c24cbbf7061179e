// SPDX-License-Identifier: Apache-2.0
#include "api/import/har.h"

#include "api/import/har_row.h"
#include "api/import/har_text.h"
#include "base/bytes.h"
#include "base/hash.h"

#include <string.h>
#include <strings.h>

json_t *rqci_har_own(json_t *holder)
{
    json_t *own = json_object_get(holder, "_reqcast");
    return json_is_object(own) ? own : NULL;
}

bool rqci_har_has_header(json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *key = json_string_value(json_object_get(json_array_get(list, i), "name"));
        if (key && strcasecmp(key, name) == 0)
            return true;
    }
    return false;
}

// ---- Ids ----------------------------------------------------------------------------------------

static void hash_text(rqci_hasher *hasher, const rqc_value *text)
{
    uint8_t len[4];
    rqci_put32(len, text->n);
    rqci_hasher_add(hasher, len, sizeof len);
    rqci_hasher_add(hasher, text->p, text->n);
}

// No two records of a file may have one id, whatever it says.
static rqc_err first_of_id(rqci_har *h, const uint8_t id[16], bool *ret_first)
{
    uint8_t hash[16];
    uint32_t n;
    rqci_xxh128_bytes(id, 16, hash);
    const rqc_err rc = rqci_rows_ordinal(h->rows, hash, &n);
    *ret_first = rc == RQC_OK && n == 0;
    return rc;
}

rqc_err rqci_har_own_id(rqci_har *h, json_t *v, uint8_t ret_id[16], bool *ret_given)
{
    const char *text = json_string_value(v);
    uint8_t id[16];
    *ret_given = false;
    if (!h->own || !h->same_workspace || !text || rqc_id_parse(text, id) != RQC_OK)
        return RQC_OK;
    const rqc_err rc = first_of_id(h, id, ret_given);
    if (*ret_given)
        memcpy(ret_id, id, 16);
    return rc;
}

// An own export's id in another workspace: another one, but always the same.
static rqc_err id_elsewhere(rqci_har *h, uint8_t ret_id[16], bool *ret_given)
{
    const char *text = json_string_value(json_object_get(h->own, "id"));
    uint8_t in[32], id[16];
    *ret_given = false;
    if (!text || rqc_id_parse(text, in + 16) != RQC_OK)
        return RQC_OK;
    memcpy(in, h->rows->workspace, 16);
    rqci_xxh128_bytes(in, sizeof in, id);
    memcpy(id, in + 16, 6);
    const rqc_err rc = first_of_id(h, id, ret_given);
    if (*ret_given)
        memcpy(ret_id, id, 16);
    return rc;
}

static rqc_err request_id(rqci_har *h)
{
    bool given;
    rqc_err rc = rqci_har_own_id(h, json_object_get(h->own, "id"), h->request, &given);
    if (rc == RQC_OK && !given && !h->same_workspace)
        rc = id_elsewhere(h, h->request, &given);
    if (rc != RQC_OK || given)
        return rc;
    rqci_hasher hasher;
    rqci_hasher_init(&hasher);
    rqci_hasher_add(&hasher, h->rows->workspace, 16);
    hash_text(&hasher, &h->start);
    hash_text(&hasher, &h->method);
    hash_text(&hasher, &h->url);
    const rqci_hash128 equal = rqci_hasher_end128(&hasher);
    uint8_t hash[20];
    rqci_put64be(hash, equal.hi);
    rqci_put64be(hash + 8, equal.lo);
    uint32_t n;
    rc = rqci_rows_ordinal(h->rows, hash, &n);
    if (rc != RQC_OK)
        return rc;
    rqci_put32be(hash + 16, n);
    rqci_xxh128_bytes(hash, sizeof hash, h->request);
    rqci_rows_time_prefix(h->start_ms, h->request);
    return RQC_OK;
}

// ---- Entries ------------------------------------------------------------------------------------

static rqc_err read_start(rqci_har *h, json_t *entry)
{
    json_t *v = json_object_get(entry, "startedDateTime");
    const rqc_err rc = rqci_rows_keep(h->rows, v, &h->start_text, &h->start);
    if (rc != RQC_OK)
        return rc;
    double number;
    h->start_known = true;
    if (json_is_string(v) && rqci_har_time(h->start.p, h->start.n, &h->start_ms))
        return RQC_OK;
    if (json_is_number(v) && rqci_rows_number(v, &number) && number > 0 && number < 1e14) {
        // Seconds and milliseconds both occur.
        h->start_ms = (int64_t)(number > 1e11 ? number : number * 1000);
        return RQC_OK;
    }
    rqci_rows_warn(h->rows,
                   "no start time that can be read: the time of the import stands in for it");
    h->start_known = false;
    h->start_ms = 0;
    return RQC_OK;
}

static rqc_err read_request(rqci_har *h, json_t *entry, json_t *request, size_t number)
{
    rqc_err rc = rqci_rows_keep(h->rows, json_object_get(request, "url"), &h->url_text, &h->url);
    json_t *method = json_object_get(request, "method");
    if (rc == RQC_OK)
        rc = rqci_rows_keep(h->rows, json_is_string(method) ? method : NULL, &h->method_text,
                            &h->method);
    if (rc != RQC_OK)
        return rc;
    if (h->method.n == 0) {
        rqci_rows_warn(h->rows, "no method: GET is assumed");
        h->method = rqc_text("GET");
    }
    rc = rqci_rows_place(h->rows, "entry %zu, %.*s %.*s", number,
                         h->method.n > 40 ? 40 : (int)h->method.n, (const char *)h->method.p,
                         h->url.n > 160 ? 160 : (int)h->url.n, (const char *)h->url.p);
    if (rc == RQC_OK)
        rc = read_start(h, entry);
    h->seconds = h->start_known ? h->start_ms / 1000 : h->rows->now;
    h->seconds = rqci_rows_integer(json_object_get(h->own, "updated_at"), h->seconds);
    return rc == RQC_OK ? request_id(h) : rc;
}

static rqc_err add_params(rqci_har *h, json_t *request)
{
    json_t *array = json_object_get(request, "queryString");
    const rqc_err rc =
        rqci_har_pairs(h, RQC_HTTP_SEARCH_PARAM, h->request, array, "query string", "queryString");
    if (rc != RQC_OK || json_array_size(array) > 0 || h->own)
        return rc;
    const char *query;
    size_t len;
    if (!rqci_har_query(h->url.p, h->url.n, &query, &len))
        return RQC_OK;
    return rqci_har_urlencoded(h, RQC_HTTP_SEARCH_PARAM, query, len);
}

// The request's own row. Its texts live in the document, or in buffers until the next row.
static rqc_err add_http(rqci_har *h, json_t *entry, int body_kind)
{
    rqc_value row[RQC_FIELD_MAX];
    rqci_rows_start(h->rows, row);
    json_t *comment = json_object_get(entry, "comment"), *given = json_object_get(h->own, "name");
    rqc_err rc = RQC_OK;
    if (json_is_string(comment))
        rc = rqci_rows_text(h->rows, comment, &row[RQC_HTTP_DESCRIPTION]);
    if (rc == RQC_OK && json_is_string(given)) {
        rc = rqci_rows_text(h->rows, given, &row[RQC_HTTP_NAME]);
    } else if (rc == RQC_OK) {
        rqci_buf *name = rqci_rows_scratch(h->rows);
        rc = rqci_har_name(h->method.p, h->method.n, h->url.p, h->url.n, name);
        row[RQC_HTTP_NAME] = rqc_textn((const char *)name->data, (uint32_t)name->len);
    }
    if (rc != RQC_OK)
        return rc;
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(h->rows->workspace);
    row[RQC_HTTP_URL] = h->url;
    row[RQC_HTTP_METHOD] = h->method;
    row[RQC_HTTP_BODY_KIND] = rqc_int(body_kind);
    row[RQC_HTTP_UPDATED_AT] = rqc_int(h->seconds);
    row[RQC_HTTP_CREATED_AT] =
        rqc_int(rqci_rows_integer(json_object_get(h->own, "created_at"), h->seconds));
    rc = rqci_rows_add(h->rows, RQC_HTTP, h->request, row);
    h->rows->counts.requests += rc == RQC_OK;
    return rc;
}

static rqc_err count_losses(rqci_har *h, const char *what, json_t *list)
{
    const size_t n = json_array_size(list);
    return n > 0 ? rqci_losses_add(&h->losses, "%zu %s", n, what) : RQC_OK;
}

// What carries content and has no table. Measurements (timings, sizes, connections, caches) are
// left without a word: docs/semantics.md names them.
static rqc_err entry_losses(rqci_har *h, json_t *entry, json_t *request)
{
    rqc_err rc =
        count_losses(h, "WebSocket messages", json_object_get(entry, "_webSocketMessages"));
    json_t *events = json_object_get(entry, "_eventSourceMessages");
    json_t *content = json_object_get(json_object_get(entry, "response"), "content");
    if (rc == RQC_OK && json_string_length(json_object_get(content, "text")) > 0)
        rc = count_losses(h, "events beside the text of their stream", events);
    if (rc == RQC_OK && json_string_length(json_object_get(request, "comment")) > 0)
        rc = rqci_losses_add(&h->losses, "comment of the request");
    if (rc == RQC_OK && !rqci_har_has_header(json_object_get(request, "headers"), "Cookie"))
        rc = count_losses(h, "cookies of a request without a header Cookie",
                          json_object_get(request, "cookies"));
    return rc == RQC_OK ? rqci_losses_report(&h->losses, h->rows, "not kept") : rc;
}

static rqc_err add_request(rqci_har *h, json_t *entry, json_t *request, rqci_har_body *body)
{
    rqc_err rc = rqci_har_body_read(h, json_object_get(request, "postData"), body);
    if (rc == RQC_OK)
        rc = add_http(h, entry, body->kind);
    if (rc == RQC_OK)
        rc = rqci_har_pairs(h, RQC_HTTP_HEADER, h->request, json_object_get(request, "headers"),
                            "request headers", "headers");
    if (rc == RQC_OK)
        rc = add_params(h, request);
    return rc == RQC_OK ? rqci_har_body_add(h, body) : rc;
}

static rqc_err add_entry(rqci_har *h, json_t *entry, size_t number)
{
    rqc_err rc = rqci_rows_place(h->rows, "entry %zu", number);
    if (rc != RQC_OK)
        return rc;
    json_t *request = json_object_get(entry, "request");
    if (!json_is_object(request)) {
        rqci_rows_warn(h->rows, "no request: left out");
        return RQC_OK;
    }
    if (json_string_length(json_object_get(request, "url")) == 0) {
        rqci_rows_warn(h->rows, "no url: left out");
        return RQC_OK;
    }
    h->own = rqci_har_own(entry);
    rc = read_request(h, entry, request, number);
    rqci_har_body body = {0};
    if (rc == RQC_OK)
        rc = add_request(h, entry, request, &body);
    rqci_har_body_free(&body);
    if (rc == RQC_OK)
        rc = rqci_har_responses(h, entry);
    return rc == RQC_OK ? entry_losses(h, entry, request) : rc;
}

// ---- The document -------------------------------------------------------------------------------

rqc_err rqci_har_check(json_t *root, rqci_errbuf *err)
{
    json_t *log = json_object_get(root, "log"), *entries = json_object_get(log, "entries");
    if (!json_is_object(log))
        return rqci_fail(err, RQC_INVALID, "not a HAR file: no object \"log\" at its top");
    if (!json_is_array(entries))
        return rqci_fail(err, RQC_INVALID, "not a HAR file: no array \"entries\" in its \"log\"");
    if (json_array_size(entries) > RQCI_IMPORT_ITEMS_MAX)
        return rqci_fail(err, RQC_TOO_LARGE, "%zu entries, at most %u are read",
                         json_array_size(entries), RQCI_IMPORT_ITEMS_MAX);
    return RQC_OK;
}

rqc_err rqci_har_read(json_t *root, rqci_rows *r)
{
    rqci_har h = {.rows = r};
    json_t *entries = json_object_get(json_object_get(root, "log"), "entries");
    const size_t n = json_array_size(entries);
    rqc_err rc = RQC_OK;
    uint8_t id[16];
    json_t *own = json_object_get(rqci_har_own(json_object_get(root, "log")), "workspace");
    const char *text = json_string_value(json_object_get(own, "id"));
    h.same_workspace =
        text && rqc_id_parse(text, id) == RQC_OK && memcmp(id, r->workspace, 16) == 0;
    for (size_t i = 0; i < n && rc == RQC_OK; i++) {
        rc = add_entry(&h, json_array_get(entries, i), i + 1);
        // The memory of what was read is given back early.
        json_array_set_new(entries, i, json_null());
        if (r->sink->progress)
            r->sink->progress(r->sink->ctx, i + 1, n);
    }
    rqci_losses_free(&h.losses);
    rqci_buf_free(&h.url_text);
    rqci_buf_free(&h.method_text);
    rqci_buf_free(&h.start_text);
    return rc;
}
