// SPDX-License-Identifier: Apache-2.0
// A request with what it sends and what answered, as an entry. What HAR has no member for stands in
// "_reqcast", which its readers pass over and an import of ours takes back.
#include "api/export/har_row.h"
#include "api/import/har_text.h"
#include "api/import/import.h"
#include "api/import/rows.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct pair_fields {
    int key, value, description; // -1: none
} pair_fields;

static pair_fields fields_of(rqc_entity entity)
{
    if (entity == RQC_HTTP_HEADER)
        return (pair_fields){RQC_HTTP_HEADER_HEADER_KEY, RQC_HTTP_HEADER_HEADER_VALUE,
                             RQC_HTTP_HEADER_DESCRIPTION};
    if (entity == RQC_HTTP_SEARCH_PARAM)
        return (pair_fields){RQC_HTTP_SEARCH_PARAM_KEY, RQC_HTTP_SEARCH_PARAM_VALUE,
                             RQC_HTTP_SEARCH_PARAM_DESCRIPTION};
    if (entity == RQC_HTTP_BODY_FORM)
        return (pair_fields){RQC_HTTP_BODY_FORM_KEY, RQC_HTTP_BODY_FORM_VALUE,
                             RQC_HTTP_BODY_FORM_DESCRIPTION};
    if (entity == RQC_HTTP_BODY_URLENCODED)
        return (pair_fields){RQC_HTTP_BODY_URLENCODED_KEY, RQC_HTTP_BODY_URLENCODED_VALUE,
                             RQC_HTTP_BODY_URLENCODED_DESCRIPTION};
    return (pair_fields){RQC_HTTP_RESPONSE_HEADER_KEY, RQC_HTTP_RESPONSE_HEADER_VALUE, -1};
}

// ---- Names and values ---------------------------------------------------------------------------

static bool is_on(const rqc_record *r)
{
    const rqci_entity *e = &rqci_entities[rqc_record_entity(r)];
    return e->enabled < 0 || rqci_int_of(r, e->enabled, 1) != 0;
}

static bool has_text(const rqc_record *r, int field)
{
    const rqc_value v = rqc_field(r, field);
    return v.type == RQC_LARGE || (v.type == RQC_TEXT && v.n > 0);
}

static void put_pair(rqci_export *x, const rqc_record *r, const uint8_t owner[16], uint32_t n)
{
    const rqc_entity entity = rqc_record_entity(r);
    const rqci_entity *e = &rqci_entities[entity];
    const pair_fields f = fields_of(entity);
    uint8_t id[16];
    rqci_put_open(x, '{');
    rqci_put_key(x, "name");
    rqci_put_field(x, r, f.key);
    rqci_put_key(x, "value");
    rqci_put_field(x, r, f.value);
    if (f.description >= 0 && has_text(r, f.description)) {
        rqci_put_key(x, "comment");
        rqci_put_field(x, r, f.description);
    }
    // What the import would make by itself is not said.
    rqci_rows_child_id(owner, entity, n, id);
    if (memcmp(id, rqc_record_id(r), 16) != 0) {
        rqci_put_key(x, "_id");
        rqci_put_id(x, rqc_record_id(r));
    }
    const rqc_value order = e->order >= 0 ? rqc_field(r, e->order) : rqc_null();
    if (order.type == RQC_REAL && (order.u.d < n || order.u.d > n)) {
        rqci_put_key(x, "_order");
        rqci_put_real(x, order.u.d);
    }
    if (!is_on(r)) {
        rqci_put_key(x, "_at");
        rqci_put_int(x, n);
    }
    rqci_put_close(x, '}');
}

// The rows that are enabled, or those that are not.
static void put_list(rqci_export *x, const rqci_export_kids *kids, const uint8_t owner[16], bool on)
{
    const rqc_record *const *first;
    const size_t n = rqci_kids_of(kids, owner, &first);
    rqci_put_open(x, '[');
    for (size_t i = 0; i < n; i++)
        if (is_on(first[i]) == on)
            put_pair(x, first[i], owner, (uint32_t)i);
    rqci_put_close(x, ']');
}

static bool any_off(const rqci_export_kids *kids, const uint8_t owner[16])
{
    const rqc_record *const *first;
    const size_t n = rqci_kids_of(kids, owner, &first);
    for (size_t i = 0; i < n; i++)
        if (!is_on(first[i]))
            return true;
    return false;
}

// The media type that the owner's headers tell, as the row has it; NULL: none.
static const rqc_record *content_type(const rqci_export_kids *kids, const uint8_t owner[16])
{
    const rqc_record *const *first;
    const size_t n = rqci_kids_of(kids, owner, &first);
    for (size_t i = 0; i < n; i++) {
        const rqc_value v = rqc_field(first[i], fields_of(kids->entity).key);
        if (is_on(first[i]) && v.type == RQC_TEXT && v.n == 12 &&
            strncasecmp(v.p, "Content-Type", 12) == 0)
            return first[i];
    }
    return NULL;
}

static void put_type(rqci_export *x, const rqci_export_kids *kids, const uint8_t owner[16],
                     const char *otherwise)
{
    const rqc_record *r = content_type(kids, owner);
    rqci_put_key(x, "mimeType");
    if (r)
        rqci_put_field(x, r, fields_of(kids->entity).value);
    else
        rqci_put_literal(x, otherwise);
}

// "text", and "encoding" where the bytes are no text.
static void put_content(rqci_export *x, const rqc_value *v)
{
    rqci_put_key(x, "text");
    if (rqci_utf8_valid(v->p, v->n)) {
        rqci_put_text(x, v->n ? v->p : "", v->n);
        return;
    }
    rqci_put_base64(x, v->p, v->n);
    rqci_put_key(x, "encoding");
    rqci_put_literal(x, "base64");
}

// ---- Bodies -------------------------------------------------------------------------------------

static void put_post_data(rqci_export *x, const rqc_record *http, int64_t kind)
{
    static const char *const types[] = {"", "multipart/form-data",
                                        "application/x-www-form-urlencoded", ""};
    const uint8_t *id = rqc_record_id(http);
    const rqc_record *const *raw;
    rqci_put_key(x, "postData");
    rqci_put_open(x, '{');
    put_type(x, &x->headers, id, types[kind]);
    if (kind == 1 || kind == 2) {
        rqci_put_key(x, "params");
        put_list(x, kind == 1 ? &x->form : &x->urlencoded, id, true);
    } else if (rqci_kids_of(&x->raw, id, &raw) > 0) {
        void *owned;
        const rqc_value v = rqci_whole(x, raw[0], RQC_HTTP_BODY_RAW_RAW_DATA, &owned);
        if (v.type == RQC_BYTES)
            put_content(x, &v);
        free(owned);
    }
    rqci_put_close(x, '}');
}

static void count_bodies(rqci_export *x, const uint8_t id[16], int64_t kind)
{
    const rqc_record *const *first;
    x->counts.bodies += kind != 1 && rqci_kids_of(&x->form, id, &first) > 0;
    x->counts.bodies += kind != 2 && rqci_kids_of(&x->urlencoded, id, &first) > 0;
    x->counts.bodies += kind != 3 && rqci_kids_of(&x->raw, id, &first) > 0;
}

static void put_request(rqci_export *x, const rqc_record *http, int64_t kind)
{
    const uint8_t *id = rqc_record_id(http);
    rqci_put_key(x, "request");
    rqci_put_open(x, '{');
    rqci_put_key(x, "method");
    rqci_put_field(x, http, RQC_HTTP_METHOD);
    rqci_put_key(x, "url");
    rqci_put_field(x, http, RQC_HTTP_URL);
    rqci_put_key(x, "httpVersion");
    rqci_put_literal(x, "");
    rqci_put_key(x, "cookies");
    rqci_put_open(x, '[');
    rqci_put_close(x, ']');
    rqci_put_key(x, "headers");
    put_list(x, &x->headers, id, true);
    rqci_put_key(x, "queryString");
    put_list(x, &x->params, id, true);
    rqci_put_key(x, "headersSize");
    rqci_put_int(x, -1);
    rqci_put_key(x, "bodySize");
    rqci_put_int(x, -1);
    if (kind >= 1 && kind <= 3)
        put_post_data(x, http, kind);
    rqci_put_close(x, '}');
    count_bodies(x, id, kind);
}

// ---- Responses ----------------------------------------------------------------------------------

// When a response's row says that it was, where that is a time as HAR writes it.
static bool har_time(const rqc_record *response, int64_t *ret_ms)
{
    const rqc_value v = response ? rqc_field(response, RQC_HTTP_RESPONSE_TIME) : rqc_null();
    return v.type == RQC_TEXT && rqci_utf8_valid(v.p, v.n) && rqci_har_time(v.p, v.n, ret_ms);
}

static void put_start(rqci_export *x, const rqc_record *http, const rqc_record *response,
                      int64_t *ret_seconds)
{
    int64_t ms, at = rqc_record_updated(http);
    rqci_put_key(x, "startedDateTime");
    if (har_time(response, &ms)) {
        *ret_seconds = ms / 1000;
        rqci_put_field(x, response, RQC_HTTP_RESPONSE_TIME);
        return;
    }
    char iso[RQCI_IMPORT_TIME_TEXT];
    // Rows of other programs may be stamped in milliseconds.
    at = at > 100000000000 ? at / 1000 : at;
    at = at < 0 || at > 253402300799 ? 0 : at;
    rqci_import_time_text(at, iso);
    *ret_seconds = at;
    rqci_put_literal(x, iso);
}

static void put_duration(rqci_export *x, const rqc_record *response)
{
    const int64_t ms = response ? rqci_int_of(response, RQC_HTTP_RESPONSE_DURATION, 0) : 0;
    rqci_put_key(x, "time");
    rqci_put_int(x, ms > 0 ? ms : 0);
}

static int64_t body_length(const rqc_value *v)
{
    return v->type == RQC_LARGE ? (int64_t)v->u.length : v->type == RQC_BYTES ? v->n : 0;
}

static void put_response(rqci_export *x, const rqc_record *response)
{
    static const uint8_t none[16];
    const uint8_t *id = response ? rqc_record_id(response) : none;
    const int64_t size = response ? rqci_int_of(response, RQC_HTTP_RESPONSE_SIZE, 0) : 0;
    rqci_put_key(x, "response");
    rqci_put_open(x, '{');
    rqci_put_key(x, "status");
    rqci_put_int(x, response ? rqci_int_of(response, RQC_HTTP_RESPONSE_STATUS, 0) : 0);
    rqci_put_key(x, "statusText");
    rqci_put_literal(x, "");
    rqci_put_key(x, "httpVersion");
    rqci_put_literal(x, "");
    rqci_put_key(x, "cookies");
    rqci_put_open(x, '[');
    rqci_put_close(x, ']');
    rqci_put_key(x, "headers");
    put_list(x, &x->response_headers, id, true);
    rqci_put_key(x, "content");
    rqci_put_open(x, '{');
    rqci_put_key(x, "size");
    rqci_put_int(x, size > 0 ? size : 0);
    put_type(x, &x->response_headers, id, "");
    if (response) {
        void *owned;
        const rqc_value v = rqci_whole(x, response, RQC_HTTP_RESPONSE_BODY, &owned);
        if (v.type == RQC_BYTES)
            put_content(x, &v);
        free(owned);
    }
    rqci_put_close(x, '}');
    rqci_put_key(x, "redirectURL");
    rqci_put_literal(x, "");
    rqci_put_key(x, "headersSize");
    rqci_put_int(x, -1);
    rqci_put_key(x, "bodySize");
    rqci_put_int(x, -1);
    rqci_put_close(x, '}');
    x->counts.responses += response != NULL;
}

static void put_own_time(rqci_export *x, const rqc_record *response)
{
    const rqc_value v = rqc_field(response, RQC_HTTP_RESPONSE_TIME);
    int64_t ms;
    if (har_time(response, &ms) || v.type == RQC_NULL || v.type == RQC_LARGE)
        return;
    rqci_put_key(x, "time");
    if (v.type == RQC_INT)
        rqci_put_int(x, v.u.i);
    else if (v.type == RQC_REAL)
        rqci_put_real(x, v.u.d);
    else
        rqci_put_field(x, response, RQC_HTTP_RESPONSE_TIME);
}

// What HAR does not say about the n-th response of a request.
static void put_own_response(rqci_export *x, const rqc_record *response, const uint8_t http[16],
                             uint32_t n, int64_t seconds)
{
    uint8_t id[16];
    rqci_put_key(x, "response");
    if (!response) {
        rqci_put_bool(x, false);
        return;
    }
    const rqc_value body = rqc_field(response, RQC_HTTP_RESPONSE_BODY);
    const int64_t size = rqci_int_of(response, RQC_HTTP_RESPONSE_SIZE, 0);
    const int64_t created = rqci_int_of(response, RQC_HTTP_RESPONSE_CREATED_AT, 0);
    rqci_put_open(x, '{');
    rqci_rows_child_id(http, RQC_HTTP_RESPONSE, n, id);
    if (memcmp(id, rqc_record_id(response), 16) != 0) {
        rqci_put_key(x, "id");
        rqci_put_id(x, rqc_record_id(response));
    }
    put_own_time(x, response);
    if (size < 0 || (size == 0 && body_length(&body) > 0)) {
        rqci_put_key(x, "size");
        rqci_put_int(x, size);
    }
    if (created != seconds) {
        rqci_put_key(x, "created_at");
        rqci_put_int(x, created);
    }
    rqci_put_close(x, '}');
}

static void put_more_responses(rqci_export *x, const rqc_record *http,
                               const rqc_record *const *responses, size_t n)
{
    const uint8_t *id = rqc_record_id(http);
    rqci_put_key(x, "responses");
    rqci_put_open(x, '[');
    for (size_t i = 1; i < n; i++) {
        const rqc_record *r = responses[i];
        int64_t ignored;
        rqci_put_open(x, '{');
        put_start(x, http, r, &ignored);
        put_duration(x, r);
        put_response(x, r);
        rqci_put_key(x, "_reqcast");
        rqci_put_open(x, '{');
        put_own_response(x, r, id, (uint32_t)i, rqc_record_updated(http));
        rqci_put_close(x, '}');
        rqci_put_close(x, '}');
    }
    rqci_put_close(x, ']');
}

// ---- Entries ------------------------------------------------------------------------------------

static void put_disabled(rqci_export *x, const uint8_t id[16], int64_t kind)
{
    const rqci_export_kids *body = kind == 1 ? &x->form : kind == 2 ? &x->urlencoded : NULL;
    if (!any_off(&x->headers, id) && !any_off(&x->params, id) && !(body && any_off(body, id)))
        return;
    rqci_put_key(x, "disabled");
    rqci_put_open(x, '{');
    rqci_put_key(x, "headers");
    put_list(x, &x->headers, id, false);
    rqci_put_key(x, "queryString");
    put_list(x, &x->params, id, false);
    if (body) {
        rqci_put_key(x, "params");
        put_list(x, body, id, false);
    }
    rqci_put_close(x, '}');
}

static void put_own_raw(rqci_export *x, const uint8_t http[16])
{
    const rqc_record *const *raw;
    uint8_t id[16];
    if (rqci_kids_of(&x->raw, http, &raw) == 0)
        return;
    const int64_t codec = rqci_int_of(raw[0], RQC_HTTP_BODY_RAW_COMPRESSION_TYPE, 0);
    rqci_rows_child_id(http, RQC_HTTP_BODY_RAW, 0, id);
    if (memcmp(id, rqc_record_id(raw[0]), 16) != 0) {
        rqci_put_key(x, "raw_id");
        rqci_put_id(x, rqc_record_id(raw[0]));
    }
    if (codec != 0) {
        rqci_put_key(x, "compression");
        rqci_put_int(x, codec);
    }
}

static void put_own(rqci_export *x, const rqc_record *http, int64_t kind, int64_t seconds,
                    const rqc_record *const *responses, size_t n)
{
    const uint8_t *id = rqc_record_id(http);
    const int64_t updated = rqc_record_updated(http);
    const int64_t created = rqci_int_of(http, RQC_HTTP_CREATED_AT, 0);
    rqci_put_key(x, "_reqcast");
    rqci_put_open(x, '{');
    rqci_put_key(x, "id");
    rqci_put_id(x, id);
    rqci_put_key(x, "name");
    rqci_put_field(x, http, RQC_HTTP_NAME);
    rqci_put_key(x, "body_kind");
    rqci_put_int(x, kind);
    if (updated != seconds) {
        rqci_put_key(x, "updated_at");
        rqci_put_int(x, updated);
    }
    if (created != updated) {
        rqci_put_key(x, "created_at");
        rqci_put_int(x, created);
    }
    if (kind == 3)
        put_own_raw(x, id);
    put_disabled(x, id, kind);
    put_own_response(x, n > 0 ? responses[0] : NULL, id, 0, updated);
    if (n > 1)
        put_more_responses(x, http, responses, n);
    rqci_put_close(x, '}');
}

void rqci_put_entry(rqci_export *x, const rqc_record *http)
{
    const rqc_record *const *responses;
    const size_t n = rqci_kids_of(&x->responses, rqc_record_id(http), &responses);
    const rqc_record *first = n > 0 ? responses[0] : NULL;
    const int64_t kind = rqci_int_of(http, RQC_HTTP_BODY_KIND, 0);
    int64_t seconds;
    rqci_put_open(x, '{');
    put_start(x, http, first, &seconds);
    put_duration(x, first);
    put_request(x, http, kind);
    put_response(x, first);
    rqci_put_key(x, "cache");
    rqci_put_open(x, '{');
    rqci_put_close(x, '}');
    rqci_put_key(x, "timings");
    rqci_put_open(x, '{');
    rqci_put_key(x, "send");
    rqci_put_int(x, 0);
    rqci_put_key(x, "wait");
    const int64_t ms = first ? rqci_int_of(first, RQC_HTTP_RESPONSE_DURATION, 0) : 0;
    rqci_put_int(x, ms > 0 ? ms : 0);
    rqci_put_key(x, "receive");
    rqci_put_int(x, 0);
    rqci_put_close(x, '}');
    if (has_text(http, RQC_HTTP_DESCRIPTION)) {
        rqci_put_key(x, "comment");
        rqci_put_field(x, http, RQC_HTTP_DESCRIPTION);
    }
    put_own(x, http, kind, seconds, responses, n);
    rqci_put_close(x, '}');
    x->counts.requests++;
    x->counts.folders += rqc_field(http, RQC_HTTP_FOLDER_ID).type == RQC_ID;
}
