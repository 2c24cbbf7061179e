// SPDX-License-Identifier: Apache-2.0
#include "api/import/import.h"

#include "api/import/curl.h"
#include "api/import/har.h"
#include "api/import/postman.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct rqci_import {
    rqci_import_format format;
    const char *text; // curl
    size_t len;
    json_t *root, *collection; // HAR, Postman
    uint64_t mended;
};

// ---- Formats ------------------------------------------------------------------------------------

static const char *const format_names[] = {
    [RQCI_IMPORT_UNKNOWN] = "unknown",
    [RQCI_IMPORT_HAR] = "har",
    [RQCI_IMPORT_POSTMAN] = "postman",
    [RQCI_IMPORT_CURL] = "curl",
};

const char *rqci_import_format_name(rqci_import_format format)
{
    return format_names[format];
}

rqci_import_format rqci_import_format_named(const char *name)
{
    for (int i = RQCI_IMPORT_HAR; i <= RQCI_IMPORT_CURL; i++)
        if (strcmp(name, format_names[i]) == 0)
            return (rqci_import_format)i;
    return RQCI_IMPORT_UNKNOWN;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

// Behind a JSON string that begins at p; NULL when it does not end.
static const char *string_end(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        p += *p == '\\' && end - p > 1;
    return p < end ? p + 1 : NULL;
}

// What a key at the top of a JSON object tells.
static rqci_import_format format_of_key(const char *key, size_t len)
{
    static const char *const postman[] = {"info",     "item",        "collection",
                                          "requests", "collections", "_postman_variable_scope"};
    if (len == 3 && memcmp(key, "log", 3) == 0)
        return RQCI_IMPORT_HAR;
    for (size_t i = 0; i < sizeof postman / sizeof *postman; i++)
        if (strlen(postman[i]) == len && memcmp(key, postman[i], len) == 0)
            return RQCI_IMPORT_POSTMAN;
    return RQCI_IMPORT_UNKNOWN;
}

// The first key at the top that tells something. The text need not be valid further on.
static rqci_import_format json_format(const char *p, const char *end)
{
    size_t depth = 0;
    bool key = true;
    while (p < end) {
        const char c = *p;
        if (c == '"') {
            const char *behind = string_end(p, end);
            if (!behind)
                return RQCI_IMPORT_UNKNOWN;
            const rqci_import_format f = depth == 1 && key
                                             ? format_of_key(p + 1, (size_t)(behind - p) - 2)
                                             : RQCI_IMPORT_UNKNOWN;
            if (f != RQCI_IMPORT_UNKNOWN)
                return f;
            p = behind;
            continue;
        }
        depth += c == '{' || c == '[';
        depth -= (c == '}' || c == ']') && depth > 0;
        key = c == ':' ? false : c == ',' || c == '{' ? true : key;
        p++;
    }
    return RQCI_IMPORT_UNKNOWN;
}

static rqc_err refuse_encoding(const char *text, size_t len, rqci_errbuf *err)
{
    if (len >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
        return rqci_fail(err, RQC_INVALID, "not JSON: the file is UTF-16; convert it to UTF-8");
    if (len >= 2 && memcmp(text, "\x1f\x8b", 2) == 0)
        return rqci_fail(err, RQC_INVALID,
                         "not JSON: the file is compressed; unpack it with gzip -d");
    return RQC_OK;
}

static void skip_mark(const char **text, size_t *len)
{
    if (*len >= 3 && memcmp(*text, "\xef\xbb\xbf", 3) == 0)
        *text += 3, *len -= 3;
}

rqci_import_format rqci_import_detect(const char *text, size_t len, rqci_errbuf *err)
{
    if (refuse_encoding(text, len, err) != RQC_OK)
        return RQCI_IMPORT_UNKNOWN;
    skip_mark(&text, &len);
    const char *p = text, *end = text + len;
    while (p < end && blank(*p))
        p++;
    if (p == end) {
        rqci_fail(err, RQC_INVALID, "empty: neither JSON nor a curl command");
        return RQCI_IMPORT_UNKNOWN;
    }
    if (*p != '{' && rqci_curl_likely(text, len))
        return RQCI_IMPORT_CURL;
    if (*p != '{' && *p != '[' && *p != '"') {
        rqci_fail(err, RQC_INVALID,
                  "neither JSON (HAR, Postman) nor a curl command: line 1 begins with \"%.*s\"",
                  (int)(end - p > 20 ? 20 : end - p), p);
        return RQCI_IMPORT_UNKNOWN;
    }
    const rqci_import_format f = *p == '{' ? json_format(p, end) : RQCI_IMPORT_UNKNOWN;
    if (f == RQCI_IMPORT_UNKNOWN)
        rqci_fail(err, RQC_INVALID,
                  "JSON, but neither a HAR file (\"log\" at its top) nor a Postman collection "
                  "(\"info\" and \"item\")");
    return f;
}

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
        if (text->len > RQCI_IMPORT_BYTES_MAX)
            return rqci_fail(err, RQC_TOO_LARGE, "%s: larger than %zu MiB: split it", path,
                             RQCI_IMPORT_BYTES_MAX >> 20);
    }
}

rqc_err rqci_import_load(const char *path, rqci_buf *ret_text, rqci_errbuf *err)
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
        (size_t)st.st_size <= RQCI_IMPORT_BYTES_MAX)
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

// ---- Reading ------------------------------------------------------------------------------------

static rqc_err open_json(rqci_import *m, char *text, size_t len, rqci_errbuf *err)
{
    rqc_err rc = rqci_rows_parse(text, len, &m->root, &m->mended, err);
    if (rc == RQC_OK && m->format == RQCI_IMPORT_HAR)
        rc = rqci_har_check(m->root, err);
    else if (rc == RQC_OK)
        rc = rqci_postman_check(m->root, &m->collection, err);
    return rc;
}

rqc_err rqci_import_open(char *text, size_t len, rqci_import_format format,
                         rqci_import **ret_import, rqci_errbuf *err)
{
    rqc_err rc = refuse_encoding(text, len, err);
    if (rc == RQC_OK && format == RQCI_IMPORT_UNKNOWN) {
        format = rqci_import_detect(text, len, err);
        rc = format == RQCI_IMPORT_UNKNOWN ? RQC_INVALID : RQC_OK;
    }
    if (rc != RQC_OK)
        return rc;
    rqci_import *m = calloc(1, sizeof *m);
    if (!m)
        return RQC_NO_MEMORY;
    m->format = format;
    m->text = text;
    m->len = len;
    skip_mark(&m->text, &m->len);
    if (format != RQCI_IMPORT_CURL)
        rc = open_json(m, text, len, err);
    if (rc == RQC_OK)
        *ret_import = m;
    else
        rqci_import_free(m);
    return rc;
}

void rqci_import_free(rqci_import *m)
{
    if (!m)
        return;
    json_decref(m->root);
    free(m);
}

rqci_import_format rqci_import_format_of(const rqci_import *m)
{
    return m->format;
}

static bool ends_with(const char *text, size_t n, const char *end)
{
    return n > strlen(end) && strcasecmp(text + n - strlen(end), end) == 0;
}

static void name_of_path(const char *path, char *ret_name, size_t size)
{
    static const char *const ends[] = {".har", ".postman_collection.json", ".json", ".curl", ".sh",
                                       ".txt"};
    const char *slash = strrchr(path, '/');
    snprintf(ret_name, size, "%s", slash && slash[1] ? slash + 1 : path);
    const size_t n = strlen(ret_name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with(ret_name, n, ends[i])) {
            ret_name[n - strlen(ends[i])] = 0;
            break;
        }
    if (strcmp(ret_name, "-") == 0)
        snprintf(ret_name, size, "standard input");
}

static json_t *own_workspace(const rqci_import *m)
{
    if (m->format != RQCI_IMPORT_HAR)
        return NULL;
    return json_object_get(rqci_har_own(json_object_get(m->root, "log")), "workspace");
}

void rqci_import_name(const rqci_import *m, const char *path, char *ret_name, size_t size)
{
    json_t *own = json_object_get(own_workspace(m), "name");
    const char *name = m->format == RQCI_IMPORT_POSTMAN ? rqci_postman_name(m->collection)
                                                        : json_string_value(own);
    if (name && *name && strlen(name) < size)
        snprintf(ret_name, size, "%s", name);
    else
        name_of_path(path, ret_name, size);
}

bool rqci_import_workspace_id(const rqci_import *m, uint8_t ret_id[16])
{
    const char *id = json_string_value(json_object_get(own_workspace(m), "id"));
    return id && rqc_id_parse(id, ret_id) == RQC_OK;
}

rqc_err rqci_import_run(rqci_import *m, const uint8_t workspace[16], int64_t now,
                        const rqci_import_sink *sink, rqci_import_counts *ret_counts,
                        rqci_errbuf *err)
{
    rqci_rows rows;
    rqci_rows_init(&rows, workspace, now, sink, err);
    if (m->mended > 0)
        rqci_rows_warn(&rows, "%llu characters that are not valid Unicode were replaced",
                       (unsigned long long)m->mended);
    rqc_err rc;
    if (m->format == RQCI_IMPORT_HAR)
        rc = rqci_har_read(m->root, &rows);
    else if (m->format == RQCI_IMPORT_POSTMAN)
        rc = rqci_postman_read(m->collection, &rows);
    else
        rc = rqci_curl_read(m->text, m->len, &rows);
    if (rc == RQC_OK)
        *ret_counts = rows.counts;
    rqci_rows_free(&rows);
    return rc;
}

void rqci_import_time_text(int64_t now, char ret_text[RQCI_IMPORT_TIME_TEXT])
{
    struct tm tm;
    const time_t t = (time_t)now;
    if (!gmtime_r(&t, &tm) ||
        strftime(ret_text, RQCI_IMPORT_TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(ret_text, RQCI_IMPORT_TIME_TEXT, "1970-01-01T00:00:00Z");
}
