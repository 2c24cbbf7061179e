// SPDX-License-Identifier: Apache-2.0
// What the servers of a HAR file answered.
#include "api/import/har_row.h"
#include "api/import/har_text.h"

#include <string.h>

// The events of a stream whose text the recorder did not keep, as the server sent them.
static rqc_err join_events(json_t *events, rqci_buf *out)
{
    static const char *const names[][2] = {{"eventName", "event: "},
                                           {"eventId", "id: "},
                                           {"data", "data: "}};
    rqci_pieces pieces = {out, RQC_OK};
    for (size_t i = 0; i < json_array_size(events); i++) {
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            json_t *v = json_object_get(json_array_get(events, i), names[k][0]);
            const char *p = json_string_value(v), *end = p ? p + json_string_length(v) : p;
            for (bool more = p && (p < end || k == 2); more;) {
                const char *newline = memchr(p, '\n', (size_t)(end - p));
                rqci_piece_text(&pieces, names[k][1]);
                rqci_piece(&pieces, p, (size_t)((newline ? newline : end) - p));
                rqci_piece_text(&pieces, "\n");
                more = newline != NULL;
                p = more ? newline + 1 : end;
            }
        }
        rqci_piece_text(&pieces, "\n");
    }
    return pieces.err;
}

static rqc_err text_loss(rqci_har *h, json_t *v, const char *what)
{
    return json_string_length(v) > 0 ? rqci_losses_add(&h->losses, "%s", what) : RQC_OK;
}

static rqc_err response_losses(rqci_har *h, json_t *response)
{
    rqc_err rc = text_loss(h, json_object_get(response, "comment"), "comment of the response");
    if (rc == RQC_OK)
        rc = text_loss(h, json_object_get(json_object_get(response, "content"), "comment"),
                       "comment of the content");
    if (rc == RQC_OK)
        rc = text_loss(h, json_object_get(response, "_error"), "error of the browser");
    if (rc == RQC_OK && json_array_size(json_object_get(response, "cookies")) > 0 &&
        !rqci_har_has_header(json_object_get(response, "headers"), "Set-Cookie"))
        rc = rqci_losses_add(&h->losses, "cookies of a response without Set-Cookie");
    return rc;
}

static rqc_err read_body(rqci_har *h, json_t *holder, json_t *content, rqci_buf *body,
                         bool *ret_there)
{
    rqc_err rc = rqci_har_content(h, content, "response", body, ret_there);
    json_t *events = json_object_get(holder, "_eventSourceMessages");
    if (rc != RQC_OK || json_array_size(events) == 0 || body->len > 0)
        return rc;
    *ret_there = true;
    return join_events(events, body);
}

// When it was: as the entry says, else as an own export says beside it, else now.
static rqc_err response_time(rqci_har *h, json_t *holder, json_t *own, char iso[], rqc_value *ret)
{
    json_t *v = json_object_get(own, "time");
    if (!v)
        v = json_object_get(holder, "startedDateTime");
    if (json_is_integer(v) && own && v == json_object_get(own, "time")) {
        *ret = rqc_int(json_integer_value(v));
        return RQC_OK;
    }
    if (json_is_real(v) && own && v == json_object_get(own, "time")) {
        *ret = rqc_real(json_real_value(v));
        return RQC_OK;
    }
    const rqc_err rc = rqci_rows_text(h->rows, v, ret);
    if (rc == RQC_OK && ret->n == 0) {
        rqci_import_time_text(h->rows->now, iso);
        *ret = rqc_text(iso);
    }
    return rc;
}

static rqc_err add_row(rqci_har *h, json_t *holder, json_t *response, json_t *own,
                       const uint8_t id[16], rqci_buf *body)
{
    rqc_value row[RQC_FIELD_MAX];
    rqci_rows_start(h->rows, row);
    json_t *content = json_object_get(response, "content");
    bool there = false;
    char iso[RQCI_IMPORT_TIME_TEXT];
    int64_t ms = rqci_rows_integer(json_object_get(holder, "time"), 0);
    if (ms < 0) {
        rqci_rows_warn(h->rows, "a negative duration: stored as 0");
        ms = 0;
    }
    rqc_err rc = read_body(h, holder, content, body, &there);
    if (rc == RQC_OK)
        rc = rqci_rows_bytes(h->rows, body->data, body->len, &row[RQC_HTTP_RESPONSE_BODY]);
    if (rc == RQC_OK)
        rc = response_time(h, holder, own, iso, &row[RQC_HTTP_RESPONSE_TIME]);
    if (rc != RQC_OK)
        return rc;
    if (!there)
        row[RQC_HTTP_RESPONSE_BODY] = rqc_null();
    const int64_t size = rqci_rows_integer(json_object_get(content, "size"), 0);
    row[RQC_HTTP_RESPONSE_HTTP_ID] = rqc_id(h->request);
    row[RQC_HTTP_RESPONSE_STATUS] =
        rqc_int(rqci_rows_integer(json_object_get(response, "status"), 0));
    row[RQC_HTTP_RESPONSE_DURATION] = rqc_int(ms);
    row[RQC_HTTP_RESPONSE_SIZE] = rqc_int(
        rqci_rows_integer(json_object_get(own, "size"), size > 0 ? size : (int64_t)body->len));
    row[RQC_HTTP_RESPONSE_CREATED_AT] =
        rqc_int(rqci_rows_integer(json_object_get(own, "created_at"), h->seconds));
    rc = rqci_rows_add(h->rows, RQC_HTTP_RESPONSE, id, row);
    h->rows->counts.responses += rc == RQC_OK;
    return rc;
}

// `holder`: an entry, or what an own export has for further responses of a request.
static rqc_err add_response(rqci_har *h, json_t *holder, uint32_t n)
{
    json_t *response = json_object_get(holder, "response");
    json_t *own = json_object_get(rqci_har_own(holder), "response");
    rqci_buf body = {0};
    uint8_t id[16];
    bool given;
    rqci_rows_child_id(h->request, RQC_HTTP_RESPONSE, n, id);
    rqc_err rc = rqci_har_own_id(h, json_object_get(own, "id"), id, &given);
    if (rc == RQC_OK)
        rc = add_row(h, holder, response, own, id, &body);
    rqci_buf_free(&body);
    if (rc == RQC_OK)
        rc = rqci_har_pairs(h, RQC_HTTP_RESPONSE_HEADER, id, json_object_get(response, "headers"),
                            "response headers", NULL);
    return rc == RQC_OK ? response_losses(h, response) : rc;
}

rqc_err rqci_har_responses(rqci_har *h, json_t *entry)
{
    if (json_is_false(json_object_get(h->own, "response")))
        return RQC_OK;
    if (!json_is_object(json_object_get(entry, "response"))) {
        rqci_rows_warn(h->rows, "no response");
        return RQC_OK;
    }
    json_t *more = json_object_get(h->own, "responses");
    rqc_err rc = add_response(h, entry, 0);
    for (size_t i = 0; i < json_array_size(more) && rc == RQC_OK; i++)
        if (json_is_object(json_object_get(json_array_get(more, i), "response")))
            rc = add_response(h, json_array_get(more, i), (uint32_t)i + 1);
    return rc;
}
