// SPDX-License-Identifier: Apache-2.0
#include "api/import/har.h"

#include "api/import/har_row.h"
#include "api/import/har_text.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// ---- The file -----------------------------------------------------------------------------------

static rqc_err read_all(int fd, const char *path, rqci_buf *text, rqci_errbuf *err)
{
    for (;;) {
        const rqc_err rc = rqci_buf_reserve(text, (size_t)1 << 16);
        if (rc != RQC_OK)
            return rqci_fail(err, rc, "%s: no memory to read it", path);
        const ssize_t n = read(fd, text->data + text->len, text->cap - text->len);
        if (n == 0)
            return RQC_OK;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return rqci_fail(err, errno == EISDIR ? RQC_INVALID : RQC_IO, "%s: %s", path,
                             strerror(errno));
        text->len += (size_t)n;
        if (text->len > RQCI_HAR_BYTES_MAX)
            return rqci_fail(err, RQC_TOO_LARGE, "%s: larger than %zu MiB: split it", path,
                             RQCI_HAR_BYTES_MAX >> 20);
    }
}

rqc_err rqci_har_load(const char *path, rqci_buf *ret_text, rqci_errbuf *err)
{
    const bool standard = strcmp(path, "-") == 0;
    const int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return rqci_fail(err, errno == ENOENT ? RQC_NOT_FOUND : RQC_INVALID, "%s: %s", path,
                         strerror(errno));
    rqci_buf text = {0};
    struct stat st;
    rqc_err rc = RQC_OK;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
        (size_t)st.st_size <= RQCI_HAR_BYTES_MAX)
        rc = rqci_buf_reserve(&text, (size_t)st.st_size + 1);
    if (rc == RQC_OK)
        rc = read_all(fd, standard ? "standard input" : path, &text, err);
    if (!standard)
        close(fd);
    if (rc == RQC_OK)
        *ret_text = text;
    else
        rqci_buf_free(&text);
    return rc;
}

void rqci_har_workspace_name(const char *path, char *ret_name, size_t size)
{
    const char *slash = strrchr(path, '/');
    snprintf(ret_name, size, "%s", slash && slash[1] ? slash + 1 : path);
    const size_t n = strlen(ret_name);
    if (n > 4 && strcasecmp(ret_name + n - 4, ".har") == 0)
        ret_name[n - 4] = 0;
    if (strcmp(ret_name, "-") == 0)
        snprintf(ret_name, size, "standard input");
}

// ---- Rows ---------------------------------------------------------------------------------------

void rqci_har_warn(rqci_har *h, const char *fmt, ...)
{
    h->counts.warnings++;
    if (!h->sink->warn)
        return;
    char text[1024];
    int n = 0;
    if (h->entry > 0)
        n = snprintf(text, sizeof text, "entry %zu%s%.200s: ", h->entry, *h->label ? ", " : "",
                     h->label);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text + n, sizeof text - (size_t)n, fmt, ap);
    va_end(ap);
    h->sink->warn(h->sink->ctx, text);
}

void rqci_har_row(rqci_har *h, rqc_value *ret_row)
{
    h->used = 0;
    memset(ret_row, 0, RQC_FIELD_MAX * sizeof *ret_row);
}

rqc_err rqci_har_add(rqci_har *h, rqc_entity entity, const uint8_t id[16], const rqc_value *row)
{
    h->counts.records++;
    return h->sink->add(h->sink->ctx, entity, id, row);
}

rqci_buf *rqci_har_scratch(rqci_har *h)
{
    rqci_buf *b = &h->texts[h->used++];
    b->len = 0;
    return b;
}

rqc_err rqci_har_textn(rqci_har *h, const char *text, size_t len, rqc_value *ret_value)
{
    if (len > UINT32_MAX)
        return rqci_fail(h->err, RQC_TOO_LARGE, "entry %zu: a text of %zu bytes", h->entry, len);
    if (len == 0 || (rqci_utf8_valid(text, len) && !memchr(text, 0, len))) {
        *ret_value = rqc_textn(text, (uint32_t)len);
        return RQC_OK;
    }
    rqci_buf *out = rqci_har_scratch(h);
    rqc_err rc = RQC_OK;
    for (size_t at = 0; at < len && rc == RQC_OK;) {
        size_t good = rqci_utf8_span(text + at, len - at);
        const char *nul = good ? memchr(text + at, 0, good) : NULL;
        good = nul ? (size_t)(nul - text) - at : good;
        rc = rqci_buf_add(out, text + at, good);
        at += good;
        if (at < len && rc == RQC_OK)
            rc = rqci_buf_add(out, "\xef\xbf\xbd", 3);
        at++;
    }
    if (rc != RQC_OK)
        return rc;
    rqci_har_warn(h, "a text holds bytes that no text can hold: replaced by U+FFFD");
    *ret_value = rqc_textn((const char *)out->data, (uint32_t)out->len);
    return RQC_OK;
}

rqc_err rqci_har_text(rqci_har *h, const json_t *v, rqc_value *ret_value)
{
    if (json_is_string(v))
        return rqci_har_textn(h, json_string_value(v), json_string_length(v), ret_value);
    char number[40] = "";
    if (json_is_number(v)) {
        const double d = json_number_value(v);
        snprintf(number, sizeof number,
                 d > -1e15 && d < 1e15 && d == (double)(int64_t)d ? "%.0f" : "%.17g", d);
    } else if (json_is_boolean(v)) {
        snprintf(number, sizeof number, json_is_true(v) ? "true" : "false");
    }
    rqci_buf *out = rqci_har_scratch(h);
    const rqc_err rc = rqci_buf_add(out, number, strlen(number));
    if (rc == RQC_OK)
        *ret_value = rqc_textn((const char *)out->data, (uint32_t)out->len);
    return rc;
}

bool rqci_har_number(const json_t *v, double *ret_number)
{
    double d = 0;
    if (json_is_number(v)) {
        d = json_number_value(v);
    } else if (json_is_string(v) && json_string_length(v) > 0) {
        char *end;
        d = strtod(json_string_value(v), &end);
        if (*end != 0)
            return false;
    } else {
        return false;
    }
    if (!isfinite(d))
        return false;
    *ret_number = d;
    return true;
}

const char *rqci_har_string(const json_t *object, const char *key, size_t *ret_len)
{
    const json_t *v = json_object_get(object, key);
    if (!json_is_string(v))
        return NULL;
    *ret_len = json_string_length(v);
    return json_string_value(v);
}

// The nearest integer that a JSON number can hold exactly.
static int64_t nearest(double d)
{
    const double most = 9007199254740991.0;
    if (d >= most || d <= -most)
        return (int64_t)(d < 0 ? -most : most);
    return (int64_t)(d < 0 ? d - 0.5 : d + 0.5);
}

static int64_t integer(const json_t *v, int64_t otherwise)
{
    double d;
    return rqci_har_number(v, &d) ? nearest(d) : otherwise;
}

// ---- Ids ----------------------------------------------------------------------------------------

// Two entries of one file may be equal in all that makes the id; they are told apart by counting.
typedef struct rqci_har_seen {
    uint8_t hash[16];
    uint32_t count; // 0: the slot is free
} rqci_har_seen;

static rqci_har_seen *seen_slot(rqci_har_seen *table, size_t cap, const uint8_t hash[16])
{
    size_t i = rqci_get64(hash) & (cap - 1);
    while (table[i].count && memcmp(table[i].hash, hash, 16) != 0)
        i = (i + 1) & (cap - 1);
    return &table[i];
}

static rqc_err ordinal(rqci_har *h, const uint8_t hash[16], uint32_t *ret_ordinal)
{
    if (h->nseen * 2 >= h->seen_cap) {
        const size_t cap = h->seen_cap ? h->seen_cap * 2 : 1024;
        rqci_har_seen *table = calloc(cap, sizeof *table);
        if (!table)
            return RQC_NO_MEMORY;
        for (size_t i = 0; i < h->seen_cap; i++)
            if (h->seen[i].count)
                *seen_slot(table, cap, h->seen[i].hash) = h->seen[i];
        free(h->seen);
        h->seen = table;
        h->seen_cap = cap;
    }
    rqci_har_seen *s = seen_slot(h->seen, h->seen_cap, hash);
    if (!s->count) {
        memcpy(s->hash, hash, 16);
        h->nseen++;
    }
    *ret_ordinal = s->count++;
    return RQC_OK;
}

static void hash_text(rqci_hasher *hasher, const char *p, size_t n)
{
    uint8_t len[4];
    rqci_put32(len, (uint32_t)n);
    rqci_hasher_add(hasher, len, sizeof len);
    rqci_hasher_add(hasher, p, n);
}

// 48 bits of milliseconds in front of hash bits: the shape of a ULID, so that ids sort by time.
static void time_prefix(int64_t ms, uint8_t id[16])
{
    const uint64_t t = ms < 0                         ? 0
                       : ms > INT64_C(0xffffffffffff) ? UINT64_C(0xffffffffffff)
                                                      : (uint64_t)ms;
    for (int i = 0; i < 6; i++)
        id[i] = (uint8_t)(t >> (40 - 8 * i));
}

static rqc_err request_id(rqci_har *h, const rqc_value *start, const rqc_value *method,
                          const rqc_value *url, int64_t ms)
{
    rqci_hasher hasher;
    rqci_hasher_init(&hasher);
    rqci_hasher_add(&hasher, h->workspace, 16);
    hash_text(&hasher, start->p, start->n);
    hash_text(&hasher, method->p, method->n);
    hash_text(&hasher, url->p, url->n);
    const rqci_hash128 equal = rqci_hasher_end128(&hasher);
    uint8_t hash[20];
    rqci_put64be(hash, equal.hi);
    rqci_put64be(hash + 8, equal.lo);
    uint32_t n;
    const rqc_err rc = ordinal(h, hash, &n);
    if (rc != RQC_OK)
        return rc;
    rqci_put32be(hash + 16, n);
    uint8_t full[16];
    rqci_xxh128_bytes(hash, sizeof hash, full);
    memcpy(h->request, full, 16);
    time_prefix(ms, h->request);
    return RQC_OK;
}

void rqci_har_child_id(const uint8_t owner[16], rqc_entity entity, uint32_t n, uint8_t ret_id[16])
{
    uint8_t in[17], hash[16];
    memcpy(in, owner, 16);
    in[16] = (uint8_t)entity;
    rqci_xxh128_bytes(in, sizeof in, hash);
    memcpy(ret_id, owner, 6);
    memcpy(ret_id + 6, hash, 7);
    ret_id[13] = (uint8_t)(n >> 16);
    ret_id[14] = (uint8_t)(n >> 8);
    ret_id[15] = (uint8_t)n;
}

// ---- Entries ------------------------------------------------------------------------------------

typedef struct rqci_har_start {
    rqc_value text;
    bool known;
    int64_t ms;
} rqci_har_start;

static rqc_err start_of(rqci_har *h, const json_t *entry, rqci_har_start *ret)
{
    const json_t *v = json_object_get(entry, "startedDateTime");
    const rqc_err rc = rqci_har_text(h, v, &ret->text);
    if (rc != RQC_OK)
        return rc;
    double number;
    ret->known = true;
    if (json_is_string(v) && rqci_har_time(ret->text.p, ret->text.n, &ret->ms))
        return RQC_OK;
    if (json_is_number(v) && rqci_har_number(v, &number) && number > 0 && number < 1e14) {
        ret->ms = (int64_t)(number > 1e11 ? number
                                          : number * 1000); // seconds and milliseconds both occur
        return RQC_OK;
    }
    rqci_har_warn(h, "no start time that can be read: the time of the import stands in for it");
    ret->known = false;
    ret->ms = 0;
    return RQC_OK;
}

static rqc_err add_response(rqci_har *h, const json_t *entry, const rqci_har_start *start)
{
    const json_t *response = json_object_get(entry, "response");
    if (!json_is_object(response)) {
        rqci_har_warn(h, "no response");
        return RQC_OK;
    }
    rqc_value row[RQC_FIELD_MAX];
    rqci_har_row(h, row);
    double ms = 0;
    if (rqci_har_number(json_object_get(entry, "time"), &ms) && ms < 0) {
        rqci_har_warn(h, "a negative duration: stored as 0");
        ms = 0;
    }
    row[RQC_HTTP_RESPONSE_HTTP_ID] = rqc_id(h->request);
    row[RQC_HTTP_RESPONSE_STATUS] = rqc_int(integer(json_object_get(response, "status"), 0));
    row[RQC_HTTP_RESPONSE_DURATION] = rqc_int(nearest(ms));
    row[RQC_HTTP_RESPONSE_CREATED_AT] = rqc_int(h->seconds);
    const json_t *content = json_object_get(response, "content");
    size_t len = 0, encoding_len;
    const char *text = rqci_har_string(content, "text", &len);
    const char *encoding = rqci_har_string(content, "encoding", &encoding_len);
    rqci_buf *decoded = rqci_har_scratch(h);
    if (text && encoding && strcasecmp(encoding, "base64") == 0) {
        const rqc_err rc = rqci_har_base64(text, len, decoded);
        if (rc == RQC_INVALID)
            rqci_har_warn(h, "the response's base64 is damaged: its text is kept as it is");
        else if (rc != RQC_OK)
            return rc;
        else
            text = decoded->len ? (const char *)decoded->data : "", len = decoded->len;
    }
    if (len > UINT32_MAX)
        return rqci_fail(h->err, RQC_TOO_LARGE, "entry %zu: a body of %zu bytes", h->entry, len);
    row[RQC_HTTP_RESPONSE_BODY] = text ? rqc_bytes(text, (uint32_t)len) : rqc_null();
    const int64_t size = integer(json_object_get(content, "size"), 0);
    row[RQC_HTTP_RESPONSE_SIZE] = rqc_int(size > 0 ? size : (int64_t)len);
    char iso[40];
    if (start->text.n > 0) {
        row[RQC_HTTP_RESPONSE_TIME] = start->text;
    } else {
        struct tm tm;
        const time_t now = (time_t)h->now;
        strftime(iso, sizeof iso, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
        row[RQC_HTTP_RESPONSE_TIME] = rqc_text(iso);
    }
    uint8_t id[16];
    rqci_har_child_id(h->request, RQC_HTTP_RESPONSE, 0, id);
    const rqc_err rc = rqci_har_add(h, RQC_HTTP_RESPONSE, id, row);
    h->counts.responses += rc == RQC_OK;
    if (rc != RQC_OK)
        return rc;
    return rqci_har_pairs(h, RQC_HTTP_RESPONSE_HEADER, id, json_object_get(response, "headers"),
                          "response headers");
}

static rqc_err add_params(rqci_har *h, const json_t *request, const rqc_value *url)
{
    const json_t *array = json_object_get(request, "queryString");
    const rqc_err rc = rqci_har_pairs(h, RQC_HTTP_SEARCH_PARAM, h->request, array, "query string");
    if (rc != RQC_OK || json_array_size(array) > 0)
        return rc;
    const char *query;
    size_t len;
    if (!rqci_har_query(url->p, url->n, &query, &len))
        return RQC_OK;
    return rqci_har_urlencoded(h, RQC_HTTP_SEARCH_PARAM, query, len);
}

// The request's own row. Its texts live in the document, or in buffers until the next row.
static rqc_err add_http(rqci_har *h, const json_t *entry, const rqc_value *url,
                        const rqc_value *method, int body_kind)
{
    rqc_value row[RQC_FIELD_MAX];
    rqci_har_row(h, row);
    const json_t *comment = json_object_get(entry, "comment");
    rqc_err rc = rqci_har_text(h, comment, &row[RQC_HTTP_DESCRIPTION]);
    if (rc != RQC_OK)
        return rc;
    rqci_buf *name = rqci_har_scratch(h);
    rc = rqci_har_name(method->p, method->n, url->p, url->n, name);
    if (rc != RQC_OK)
        return rc;
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(h->workspace);
    row[RQC_HTTP_NAME] = rqc_textn((const char *)name->data, (uint32_t)name->len);
    row[RQC_HTTP_URL] = *url;
    row[RQC_HTTP_METHOD] = *method;
    row[RQC_HTTP_BODY_KIND] = rqc_int(body_kind);
    row[RQC_HTTP_CREATED_AT] = row[RQC_HTTP_UPDATED_AT] = rqc_int(h->seconds);
    rc = rqci_har_add(h, RQC_HTTP, h->request, row);
    h->counts.requests += rc == RQC_OK;
    return rc;
}

// Method and url outlive the rows of the entry, so they are kept outside the row's buffers.
static rqc_err keep(const rqc_value *v, rqci_buf *store, rqc_value *ret)
{
    store->len = 0;
    const rqc_err rc = rqci_buf_add(store, v->n ? v->p : "", v->n);
    if (rc == RQC_OK)
        *ret = rqc_textn(store->data ? (const char *)store->data : "", v->n);
    return rc;
}

typedef struct rqci_har_request {
    rqci_buf url_text, method_text, start_text;
    rqc_value url, method;
    rqci_har_start start;
} rqci_har_request;

static rqc_err read_request(rqci_har *h, const json_t *entry, const json_t *request,
                            rqci_har_request *q)
{
    rqc_value row[RQC_FIELD_MAX], v;
    rqci_har_row(h, row);
    rqc_err rc = rqci_har_text(h, json_object_get(request, "url"), &v);
    if (rc == RQC_OK)
        rc = keep(&v, &q->url_text, &q->url);
    const json_t *method = json_object_get(request, "method");
    if (rc == RQC_OK && (!json_is_string(method) || json_string_length(method) == 0)) {
        rqci_har_warn(h, "no method: GET is assumed");
        v = rqc_text("GET");
    } else if (rc == RQC_OK) {
        rc = rqci_har_text(h, method, &v);
    }
    if (rc == RQC_OK)
        rc = keep(&v, &q->method_text, &q->method);
    if (rc != RQC_OK)
        return rc;
    h->label_text.len = 0;
    rc = rqci_buf_add(&h->label_text, q->method.p, q->method.n);
    if (rc == RQC_OK)
        rc = rqci_buf_add(&h->label_text, " ", 1);
    if (rc == RQC_OK)
        rc = rqci_buf_add(&h->label_text, q->url.p, q->url.n);
    if (rc == RQC_OK)
        rc = rqci_buf_add(&h->label_text, "", 1);
    if (rc != RQC_OK)
        return rc;
    h->label = (const char *)h->label_text.data;
    rc = start_of(h, entry, &q->start);
    if (rc == RQC_OK)
        rc = keep(&q->start.text, &q->start_text, &q->start.text);
    return rc;
}

static rqc_err add_entry(rqci_har *h, const json_t *entry, rqci_har_request *q)
{
    h->label = "";
    const json_t *request = json_object_get(entry, "request");
    if (!json_is_object(request)) {
        rqci_har_warn(h, "no request: left out");
        return RQC_OK;
    }
    if (!json_is_string(json_object_get(request, "url")) ||
        json_string_length(json_object_get(request, "url")) == 0) {
        rqci_har_warn(h, "no url: left out");
        return RQC_OK;
    }
    rqc_err rc = read_request(h, entry, request, q);
    if (rc != RQC_OK)
        return rc;
    h->seconds = q->start.known ? q->start.ms / 1000 : h->now;
    rc = request_id(h, &q->start.text, &q->method, &q->url, q->start.ms);
    if (rc != RQC_OK)
        return rc;
    rqci_har_body body = {0};
    rc = rqci_har_body_read(h, json_object_get(request, "postData"), &body);
    if (rc == RQC_OK)
        rc = add_http(h, entry, &q->url, &q->method, body.kind);
    if (rc == RQC_OK)
        rc = rqci_har_pairs(h, RQC_HTTP_HEADER, h->request, json_object_get(request, "headers"),
                            "request headers");
    if (rc == RQC_OK)
        rc = add_params(h, request, &q->url);
    if (rc == RQC_OK)
        rc = rqci_har_body_add(h, &body);
    rqci_har_body_free(&body);
    if (rc == RQC_OK)
        rc = add_response(h, entry, &q->start);
    return rc;
}

static rqc_err add_entries(rqci_har *h, json_t *entries)
{
    rqci_har_request q = {0};
    const size_t n = json_array_size(entries);
    rqc_err rc = RQC_OK;
    for (size_t i = 0; i < n && rc == RQC_OK; i++) {
        h->entry = i + 1;
        rc = add_entry(h, json_array_get(entries, i), &q);
        json_array_set_new(entries, i,
                           json_null()); // the memory of what was read is given back early
        if (h->sink->progress)
            h->sink->progress(h->sink->ctx, i + 1, n);
    }
    rqci_buf_free(&q.url_text);
    rqci_buf_free(&q.method_text);
    rqci_buf_free(&q.start_text);
    return rc;
}

// ---- The document -------------------------------------------------------------------------------

static rqc_err parse(char *text, size_t len, rqci_har *h, json_t **ret_root)
{
    if (len >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
        return rqci_fail(h->err, RQC_INVALID, "not JSON: the file is UTF-16; convert it to UTF-8");
    if (len >= 2 && memcmp(text, "\x1f\x8b", 2) == 0)
        return rqci_fail(h->err, RQC_INVALID,
                         "not JSON: the file is compressed; unpack it with gzip -d");
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3, len -= 3;
    const uint64_t mended = rqci_har_mend(text, len);
    json_error_t error;
    // Integers as reals: a number beyond 64 bits would make the whole file unreadable.
    json_t *root = json_loadb(text, len, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &error);
    if (!root && json_error_code(&error) == json_error_out_of_memory)
        return rqci_fail(h->err, RQC_NO_MEMORY, "no memory for %zu bytes of JSON", len);
    if (!root)
        return rqci_fail(h->err, RQC_INVALID, "not JSON: line %d, column %d: %s", error.line,
                         error.column, error.text);
    if (mended > 0)
        rqci_har_warn(h, "%llu characters that are not valid Unicode were replaced",
                      (unsigned long long)mended);
    *ret_root = root;
    return RQC_OK;
}

rqc_err rqci_har_read(char *text, size_t len, const uint8_t workspace[16], int64_t now,
                      const rqci_har_sink *sink, rqci_har_counts *ret_counts, rqci_errbuf *err)
{
    rqci_har h = {.sink = sink, .now = now, .err = err, .label = ""};
    memcpy(h.workspace, workspace, 16);
    json_t *root = NULL;
    rqc_err rc = parse(text, len, &h, &root);
    if (rc != RQC_OK)
        return rc;
    json_t *log = json_object_get(root, "log");
    json_t *entries = json_object_get(log, "entries");
    if (!json_is_object(log))
        rc = rqci_fail(err, RQC_INVALID, "not a HAR file: no object \"log\" at its top");
    else if (!json_is_array(entries))
        rc = rqci_fail(err, RQC_INVALID, "not a HAR file: no array \"entries\" in its \"log\"");
    else if (json_array_size(entries) > RQCI_HAR_ENTRIES_MAX)
        rc = rqci_fail(err, RQC_TOO_LARGE, "%zu entries, at most %u are read",
                       json_array_size(entries), RQCI_HAR_ENTRIES_MAX);
    else
        rc = add_entries(&h, entries);
    if (rc == RQC_OK)
        *ret_counts = h.counts;
    json_decref(root);
    for (size_t i = 0; i < RQCI_HAR_TEXTS; i++)
        rqci_buf_free(&h.texts[i]);
    rqci_buf_free(&h.label_text);
    free(h.seen);
    return rc;
}
