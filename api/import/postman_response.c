// SPDX-License-Identifier: Apache-2.0
// Postman's example responses.
#include "api/import/postman_row.h"

#include "api/import/har_text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

// ---- When it was recorded -----------------------------------------------------------------------

// "Tue, 26 Jul 2016 08:16:50 GMT", as the header Date has it, as ISO 8601.
static bool http_date(const char *text, char ret_iso[RQCI_IMPORT_TIME_TEXT])
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char month[4];
    unsigned day, year, hour, minute, second;
    int used = 0;
    if (strlen(text) != 29 ||
        sscanf(text + 5, "%2u %3s %4u %2u:%2u:%2u GMT%n", &day, month, &year, &hour, &minute,
               &second, &used) != 6 ||
        used != 24)
        return false;
    const char *at = strstr(months, month);
    if (!at || (at - months) % 3 != 0)
        return false;
    snprintf(ret_iso, RQCI_IMPORT_TIME_TEXT, "%04u-%02u-%02uT%02u:%02u:%02uZ", year % 10000,
             (unsigned)(at - months) / 3 + 1, day % 100, hour % 100, minute % 100, second % 100);
    int64_t ms;
    return rqci_har_time(ret_iso, strlen(ret_iso), &ms);
}

// Where the example says when it was recorded; else the time of the import.
static void time_text(rqci_postman *p, json_t *response, char ret_iso[RQCI_IMPORT_TIME_TEXT])
{
    json_t *header = json_object_get(response, "header");
    for (size_t i = 0; i < json_array_size(header); i++) {
        json_t *item = json_array_get(header, i);
        const char *key = json_string_value(json_object_get(item, "key"));
        const char *value = json_string_value(json_object_get(item, "value"));
        if (key && value && strcasecmp(key, "Date") == 0 && http_date(value, ret_iso))
            return;
    }
    rqci_import_time_text(p->rows->now, ret_iso);
}

// ---- The rows -----------------------------------------------------------------------------------

// What the example's own request has that the item's has not.
static rqc_err original_losses(rqci_postman *p, json_t *original, json_t *request)
{
    static const char *const keys[] = {"url", "method", "header", "body"};
    if (rqci_postman_empty(original))
        return RQC_OK;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        json_t *own = json_object_get(original, keys[i]),
               *of_item = json_object_get(request, keys[i]);
        if (!rqci_postman_empty(own) && !(of_item && json_equal(own, of_item)))
            return rqci_losses_add(&p->losses,
                                   "request of an example that differs from the request");
    }
    return RQC_OK;
}

static rqc_err losses(rqci_postman *p, json_t *response, json_t *request)
{
    static const char *const used[] = {"id",      "_postman_id",  "name",
                                       "code",    "status",       "header",
                                       "body",    "cookie",       "originalRequest",
                                       "timings", "responseTime", "responseSize",
                                       NULL};
    rqc_err rc = original_losses(p, json_object_get(response, "originalRequest"), request);
    if (rc == RQC_OK && !rqci_postman_empty(json_object_get(response, "name")))
        rc = rqci_losses_add(&p->losses, "name of an example");
    if (rc == RQC_OK && !rqci_postman_empty(json_object_get(response, "cookie")))
        rc = rqci_losses_add(&p->losses, "cookies of an example");
    if (rc == RQC_OK && !rqci_postman_empty(json_object_get(response, "timings")))
        rc = rqci_losses_add(&p->losses, "timings of an example");
    return rc == RQC_OK ? rqci_postman_rest(p, response, "example", used) : rc;
}

static rqc_err add_row(rqci_postman *p, json_t *response, const uint8_t id[16])
{
    char iso[RQCI_IMPORT_TIME_TEXT];
    rqc_value row[RQC_FIELD_MAX], body;
    rqci_rows_start(p->rows, row);
    json_t *content = json_object_get(response, "body");
    rqc_err rc = RQC_OK;
    // The bytes of a body stay as they are, a NUL too.
    if (json_is_string(content))
        body = rqc_textn(json_string_value(content), (uint32_t)json_string_length(content));
    else
        rc = rqci_rows_text(p->rows, content, &body);
    if (rc == RQC_OK)
        rc = rqci_rows_bytes(p->rows, body.p,
                             json_is_string(content) ? json_string_length(content) : body.n,
                             &row[RQC_HTTP_RESPONSE_BODY]);
    if (rc != RQC_OK)
        return rc;
    if (!content || json_is_null(content))
        row[RQC_HTTP_RESPONSE_BODY] = rqc_null();
    time_text(p, response, iso);
    const int64_t ms = rqci_rows_integer(json_object_get(response, "responseTime"), 0);
    row[RQC_HTTP_RESPONSE_HTTP_ID] = rqc_id(p->request);
    row[RQC_HTTP_RESPONSE_STATUS] =
        rqc_int(rqci_rows_integer(json_object_get(response, "code"), 0));
    row[RQC_HTTP_RESPONSE_TIME] = rqc_text(iso);
    row[RQC_HTTP_RESPONSE_DURATION] = rqc_int(ms > 0 ? ms : 0);
    row[RQC_HTTP_RESPONSE_SIZE] = rqc_int(row[RQC_HTTP_RESPONSE_BODY].n);
    row[RQC_HTTP_RESPONSE_CREATED_AT] = rqc_int(p->rows->now);
    rc = rqci_rows_add(p->rows, RQC_HTTP_RESPONSE, id, row);
    p->rows->counts.responses += rc == RQC_OK;
    return rc;
}

static rqc_err add_response(rqci_postman *p, json_t *response, json_t *request)
{
    uint8_t id[16];
    json_t *header = json_object_get(response, "header");
    uint32_t order = 0;
    rqc_err rc = rqci_postman_id(p, 'E', response, p->request, id);
    if (rc == RQC_OK)
        rc = add_row(p, response, id);
    if (rc == RQC_OK && json_is_string(header))
        rc = rqci_postman_lines(p, RQC_HTTP_RESPONSE_HEADER, id, json_string_value(header),
                                json_string_length(header), NULL, &order);
    else if (rc == RQC_OK)
        rc = rqci_postman_pairs(p, RQC_HTTP_RESPONSE_HEADER, id, header, "response header", NULL,
                                &order);
    return rc == RQC_OK ? losses(p, response, request) : rc;
}

rqc_err rqci_postman_responses(rqci_postman *p, json_t *list, json_t *request)
{
    if (!json_is_array(list))
        return rqci_postman_wrong(p, list, "response");
    rqc_err rc = RQC_OK;
    for (size_t i = 0; i < json_array_size(list) && rc == RQC_OK; i++) {
        json_t *response = json_array_get(list, i);
        rc = json_is_object(response) ? add_response(p, response, request)
                                      : rqci_postman_wrong(p, response, "response");
    }
    return rc;
}
