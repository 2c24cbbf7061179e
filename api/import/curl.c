// SPDX-License-Identifier: Apache-2.0
#include "api/import/curl.h"

#include "api/import/curl_row.h"
#include "api/import/har_text.h"
#include "base/bytes.h"
#include "base/hash.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct rqci_curl {
    rqci_rows *rows;
    rqci_losses losses;
    rqci_curl_command command;
    rqci_curl_body body;
    uint64_t commands; // of curl, read so far
    uint64_t repeated; // options that were read for another url than the first
    // The request that is made.
    uint8_t request[16];
    rqci_buf url, type, name;
    const char *method;
    uint32_t header; // number of the next header
} rqci_curl;

static const char *text_of(const rqci_buf *b)
{
    return b->len ? (const char *)b->data : "";
}

// ---- Which commands -----------------------------------------------------------------------------

static bool is(const char *p, size_t len, const char *text)
{
    return strlen(text) == len && memcmp(p, text, len) == 0;
}

static bool is_curl(const char *p, size_t len)
{
    for (size_t i = len; i-- > 0;)
        if (p[i] == '/' || p[i] == '\\') {
            p += i + 1;
            len -= i + 1;
            break;
        }
    return is(p, len, "curl") || (len == 8 && strncasecmp(p, "curl.exe", 8) == 0);
}

// What may stand before the program: a prompt, variables, what runs it.
static bool before_program(const char *p, size_t len)
{
    static const char *const words[] = {"$",    "%",    "#",       "!",     "sudo", "env",
                                        "time", "exec", "command", "nohup", "do",   "then",
                                        "if",   "else", "while",   "{"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (is(p, len, words[i]))
            return true;
    const char *equals = memchr(p, '=', len);
    if (!equals || equals == p)
        return false;
    for (const char *c = p; c < equals; c++)
        if (!(*c == '_' || (*c >= '0' && *c <= '9') || ((*c | 32) >= 'a' && (*c | 32) <= 'z')))
            return false;
    return true;
}

bool rqci_curl_likely(const char *text, size_t len)
{
    const char *p = text, *end = text + len;
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        const char *stop = newline ? newline : end;
        while (p < stop) {
            while (p < stop && (*p == ' ' || *p == '\t' || *p == '\r'))
                p++;
            const char *word = p;
            while (p < stop && *p != ' ' && *p != '\t' && *p != '\r')
                p++;
            if (is_curl(word, (size_t)(p - word)))
                return true;
            if (p > word && !before_program(word, (size_t)(p - word)))
                break;
        }
        p = newline ? newline + 1 : end;
    }
    return false;
}

// ---- Headers ------------------------------------------------------------------------------------

static rqc_err add_header(rqci_curl *k, const char *name, size_t name_len, const char *value,
                          size_t len, bool disabled)
{
    rqc_value row[RQC_FIELD_MAX];
    rqci_rows_pair pair = {.disabled = disabled, .seconds = k->rows->now};
    rqci_rows_start(k->rows, row);
    rqc_err rc = rqci_rows_textn(k->rows, name, name_len, &pair.key);
    if (rc == RQC_OK)
        rc = rqci_rows_textn(k->rows, value, len, &pair.value);
    return rc == RQC_OK
               ? rqci_rows_pair_add(k->rows, RQC_HTTP_HEADER, k->request, k->header++, &pair)
               : rc;
}

// "Name: value"; "Name;" is one with an empty value, "Name:" one that curl shall not send.
typedef struct header {
    const char *value;
    size_t name, len;
    bool disabled;
} header;

static bool read_header(const rqci_curl_item *m, header *ret)
{
    const char *end = m->p + m->len;
    const char *mark = memchr(m->p, ':', m->len);
    if (!mark) {
        const size_t n = m->len > 0 && end[-1] == ';' ? m->len - 1 : 0;
        *ret = (header){end, n, 0, false};
        return n > 0;
    }
    const char *p = mark + 1;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (end > p && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r' || end[-1] == '\n'))
        end--;
    *ret = (header){p, (size_t)(mark - m->p), (size_t)(end - p), p == end};
    return mark > m->p;
}

// Does -H say something about this header? Then nothing else does.
static const rqci_curl_item *given_header(const rqci_curl *k, const char *name, header *ret)
{
    for (size_t i = 0; i < k->command.n; i++) {
        const rqci_curl_item *m = &k->command.items[i];
        if (m->action == RQCI_CURL_HEADER && read_header(m, ret) && ret->name == strlen(name) &&
            strncasecmp(m->p, name, ret->name) == 0)
            return m;
    }
    return NULL;
}

static rqc_err given_headers(rqci_curl *k)
{
    rqc_err rc = RQC_OK;
    for (size_t i = 0; i < k->command.n && rc == RQC_OK; i++) {
        const rqci_curl_item *m = &k->command.items[i];
        header h;
        if (m->action != RQCI_CURL_HEADER)
            continue;
        if (m->len > 0 && *m->p == '@')
            rc = rqci_losses_add(&k->losses, "headers of a file");
        else if (read_header(m, &h))
            rc = add_header(k, m->p, h.name, h.value, h.len, h.disabled);
        else
            rc = rqci_losses_add(&k->losses, "header without a colon");
    }
    return rc;
}

// A header that curl makes of another option.
static rqc_err made_header(rqci_curl *k, const char *name, const char *value, size_t len,
                           const char *option)
{
    header h;
    if (!given_header(k, name, &h))
        return add_header(k, name, strlen(name), value, len, false);
    return option ? rqci_losses_add(&k->losses, "option %s beside a header %s", option, name)
                  : RQC_OK;
}

static rqc_err cookies(rqci_curl *k)
{
    rqci_buf all = {0};
    rqci_pieces out = {&all, RQC_OK};
    for (size_t i = 0; i < k->command.n; i++) {
        const rqci_curl_item *m = &k->command.items[i];
        if (m->action != RQCI_CURL_COOKIE || m->len == 0)
            continue;
        if (!memchr(m->p, '=', m->len)) {
            out.err =
                out.err == RQC_OK ? rqci_losses_add(&k->losses, "cookies of a file") : out.err;
            continue;
        }
        rqci_piece_text(&out, all.len > 0 ? ";" : "");
        rqci_piece(&out, m->p, m->len);
    }
    if (out.err == RQC_OK && all.len > 0)
        out.err = made_header(k, "Cookie", text_of(&all), all.len, "--cookie");
    rqci_buf_free(&all);
    return out.err;
}

static rqc_err user(rqci_curl *k, const rqci_curl_item *m)
{
    if (rqci_curl_last(&k->command, RQCI_CURL_OTHER_AUTH))
        return rqci_losses_add(&k->losses, "user and password of another authentication than "
                                           "basic");
    rqci_buf plain = {0}, value = {0};
    rqci_pieces out = {&plain, RQC_OK};
    rqci_piece(&out, m->p, m->len);
    if (!memchr(m->p, ':', m->len)) {
        rqci_rows_warn(k->rows, "a user without a password: kept with an empty one");
        rqci_piece_text(&out, ":");
    }
    const bool variable = k->command.words->variables > 0 && memchr(m->p, '$', m->len);
    rqc_err rc = out.err;
    if (rc == RQC_OK)
        rc = rqci_rows_basic(k->rows, text_of(&plain), plain.len, variable, &value);
    if (rc == RQC_OK)
        rc = made_header(k, "Authorization", text_of(&value), value.len, "--user");
    rqci_buf_free(&plain);
    rqci_buf_free(&value);
    return rc;
}

// A header whose value is a text and the option's value.
static rqc_err simple(rqci_curl *k, rqci_curl_action action, const char *name, const char *before,
                      const char *option)
{
    const rqci_curl_item *m = rqci_curl_last(&k->command, action);
    if (!m)
        return RQC_OK;
    rqci_buf value = {0};
    rqci_pieces out = {&value, RQC_OK};
    rqci_piece_text(&out, before);
    rqci_piece(&out, m->p, m->len);
    if (action == RQCI_CURL_REFERER && value.len >= 5 &&
        memcmp(value.data + value.len - 5, ";auto", 5) == 0)
        value.len -= 5;
    rqc_err rc = out.err;
    if (rc == RQC_OK && value.len > 0)
        rc = made_header(k, name, text_of(&value), value.len, option);
    rqci_buf_free(&value);
    return rc;
}

static rqc_err made_headers(rqci_curl *k)
{
    static const char form[] = "application/x-www-form-urlencoded", json[] = "application/json";
    const rqci_curl_command *c = &k->command;
    const rqci_curl_item *u = rqci_curl_last(c, RQCI_CURL_USER);
    rqc_err rc = simple(k, RQCI_CURL_AGENT, "User-Agent", "", "--user-agent");
    if (rc == RQC_OK)
        rc = simple(k, RQCI_CURL_REFERER, "Referer", "", "--referer");
    if (rc == RQC_OK)
        rc = cookies(k);
    if (rc == RQC_OK)
        rc = simple(k, RQCI_CURL_BEARER, "Authorization", "Bearer ", "--oauth2-bearer");
    if (rc == RQC_OK && u && !rqci_curl_last(c, RQCI_CURL_BEARER))
        rc = user(k, u);
    if (rc == RQC_OK)
        rc = simple(k, RQCI_CURL_RANGE, "Range", "bytes=", "--range");
    if (rc == RQC_OK && rqci_curl_last(c, RQCI_CURL_COMPRESSED))
        rc = made_header(k, "Accept-Encoding", "deflate, gzip, br, zstd", 23, NULL);
    if (rc == RQC_OK && rqci_curl_last(c, RQCI_CURL_JSON)) {
        rc = made_header(k, "Content-Type", json, sizeof json - 1, NULL);
        if (rc == RQC_OK)
            rc = made_header(k, "Accept", json, sizeof json - 1, NULL);
    }
    if (rc == RQC_OK && k->body.typed)
        rc = made_header(k, "Content-Type", form, sizeof form - 1, NULL);
    return rc;
}

// ---- The request --------------------------------------------------------------------------------

static void hash_text(rqci_hasher *hasher, const char *p, size_t n)
{
    uint8_t len[4];
    rqci_put32(len, (uint32_t)n);
    rqci_hasher_add(hasher, len, sizeof len);
    rqci_hasher_add(hasher, p, n);
}

// Of all that the command says: a command that was changed is another request.
static rqc_err request_id(rqci_curl *k)
{
    rqci_hasher hasher;
    rqci_hasher_init(&hasher);
    rqci_hasher_add(&hasher, k->rows->workspace, 16);
    rqci_hasher_add(&hasher, "curl", 4);
    hash_text(&hasher, text_of(&k->url), k->url.len);
    for (size_t i = 0; i < k->command.n; i++) {
        const rqci_curl_item *m = &k->command.items[i];
        const uint8_t action = (uint8_t)m->action;
        if (m->action == RQCI_CURL_URL)
            continue;
        rqci_hasher_add(&hasher, &action, 1);
        hash_text(&hasher, m->p, m->len);
    }
    if (k->command.words->has_input)
        hash_text(&hasher, text_of(&k->command.words->input), k->command.words->input.len);
    const rqci_hash128 equal = rqci_hasher_end128(&hasher);
    uint8_t hash[20];
    rqci_put64be(hash, equal.hi);
    rqci_put64be(hash + 8, equal.lo);
    uint32_t n;
    const rqc_err rc = rqci_rows_ordinal(k->rows, hash, &n);
    if (rc != RQC_OK)
        return rc;
    rqci_put32be(hash + 16, n);
    rqci_xxh128_bytes(hash, sizeof hash, k->request);
    rqci_rows_time_prefix(0, k->request);
    return RQC_OK;
}

static const char *default_method(const rqci_curl *k)
{
    if (rqci_curl_last(&k->command, RQCI_CURL_HEAD))
        return "HEAD";
    if (rqci_curl_last(&k->command, RQCI_CURL_GET))
        return "GET";
    if (rqci_curl_last(&k->command, RQCI_CURL_UPLOAD))
        return "PUT";
    static const rqci_curl_action posts[] = {RQCI_CURL_DATA,       RQCI_CURL_DATA_BINARY,
                                             RQCI_CURL_DATA_RAW,   RQCI_CURL_DATA_URLENCODE,
                                             RQCI_CURL_JSON,       RQCI_CURL_FORM,
                                             RQCI_CURL_FORM_STRING};
    for (size_t i = 0; i < sizeof posts / sizeof *posts; i++)
        if (rqci_curl_last(&k->command, posts[i]))
            return "POST";
    return "GET";
}

// What goes into the url's query stands before its fragment.
static rqc_err add_query(rqci_buf *url, const char *query, size_t len)
{
    if (len == 0)
        return RQC_OK;
    const char *text = text_of(url), *fragment = memchr(text, '#', url->len);
    const size_t at = fragment ? (size_t)(fragment - text) : url->len;
    rqci_buf all = {0};
    rqci_pieces out = {&all, RQC_OK};
    rqci_piece(&out, text, at);
    rqci_piece_text(&out, memchr(text, '?', at) ? "&" : "?");
    rqci_piece(&out, query, len);
    rqci_piece(&out, text + at, url->len - at);
    rqci_buf_free(url);
    *url = all;
    return out.err;
}

static rqc_err read_url(rqci_curl *k, const rqci_curl_item *m)
{
    rqci_buf query = {0};
    k->url.len = 0;
    rqc_err rc = rqci_buf_add(&k->url, m->p, m->len);
    if (rc == RQC_OK)
        rc = rqci_curl_url_query(&k->command, k->rows, &query);
    if (rc == RQC_OK)
        rc = add_query(&k->url, text_of(&query), query.len);
    if (rc == RQC_OK && k->body.query)
        rc = add_query(&k->url, text_of(&k->body.data), k->body.data.len);
    rqci_buf_free(&query);
    return rc;
}

static rqc_err add_http(rqci_curl *k)
{
    rqc_value row[RQC_FIELD_MAX];
    rqci_rows_start(k->rows, row);
    const rqci_curl_item *m = rqci_curl_last(&k->command, RQCI_CURL_METHOD);
    const char *method = m && m->len > 0 ? m->p : default_method(k);
    const size_t len = m && m->len > 0 ? m->len : strlen(method);
    k->name.len = 0;
    rqc_err rc = rqci_har_name(method, len, text_of(&k->url), k->url.len, &k->name);
    if (rc == RQC_OK)
        rc = rqci_rows_textn(k->rows, text_of(&k->name), k->name.len, &row[RQC_HTTP_NAME]);
    if (rc == RQC_OK)
        rc = rqci_rows_textn(k->rows, text_of(&k->url), k->url.len, &row[RQC_HTTP_URL]);
    if (rc == RQC_OK)
        rc = rqci_rows_textn(k->rows, method, len, &row[RQC_HTTP_METHOD]);
    if (rc != RQC_OK)
        return rc;
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(k->rows->workspace);
    row[RQC_HTTP_BODY_KIND] = rqc_int(k->body.kind);
    row[RQC_HTTP_CREATED_AT] = row[RQC_HTTP_UPDATED_AT] = rqc_int(k->rows->now);
    rc = rqci_rows_add(k->rows, RQC_HTTP, k->request, row);
    k->rows->counts.requests += rc == RQC_OK;
    return rc;
}

// Rows of "a=1&b=2", decoded.
static rqc_err add_pairs(rqci_curl *k, rqc_entity entity, const char *text, size_t len)
{
    rqci_har_pair found;
    rqc_err rc = RQC_OK;
    for (uint32_t n = 0; rc == RQC_OK && rqci_har_next_pair(&text, &len, &found); n++) {
        rqc_value row[RQC_FIELD_MAX];
        rqci_rows_pair pair = {.seconds = k->rows->now};
        rqci_rows_start(k->rows, row);
        rqci_buf *name = rqci_rows_scratch(k->rows), *value = rqci_rows_scratch(k->rows);
        rc = rqci_har_unescape(found.name, found.name_len, name);
        if (rc == RQC_OK)
            rc = rqci_har_unescape(found.value, found.value_len, value);
        if (rc == RQC_OK)
            rc = rqci_rows_textn(k->rows, text_of(name), name->len, &pair.key);
        if (rc == RQC_OK)
            rc = rqci_rows_textn(k->rows, text_of(value), value->len, &pair.value);
        if (rc == RQC_OK)
            rc = rqci_rows_pair_add(k->rows, entity, k->request, n, &pair);
    }
    return rc;
}

static rqc_err add_body(rqci_curl *k)
{
    if (k->body.kind == 1)
        return rqci_curl_form_add(&k->command, k->rows, &k->losses, k->request);
    if (k->body.kind == 2)
        return add_pairs(k, RQC_HTTP_BODY_URLENCODED, text_of(&k->body.data), k->body.data.len);
    if (k->body.kind == 3)
        return rqci_rows_raw_add(k->rows, k->request, NULL, &k->body.data, 0, k->rows->now);
    return RQC_OK;
}

static rqc_err add_request(rqci_curl *k, const rqci_curl_item *url)
{
    rqc_err rc = read_url(k, url);
    if (rc == RQC_OK)
        rc = rqci_rows_place(k->rows, "command %llu, %.160s", (unsigned long long)k->commands,
                             url->p);
    if (rc == RQC_OK)
        rc = request_id(k);
    if (rc == RQC_OK)
        rc = add_http(k);
    k->header = 0;
    if (rc == RQC_OK)
        rc = given_headers(k);
    if (rc == RQC_OK)
        rc = made_headers(k);
    const char *query;
    size_t len;
    if (rc == RQC_OK && rqci_har_query(text_of(&k->url), k->url.len, &query, &len))
        rc = add_pairs(k, RQC_HTTP_SEARCH_PARAM, query, len);
    return rc == RQC_OK ? add_body(k) : rc;
}

// ---- Commands -----------------------------------------------------------------------------------

static rqc_err content_type(rqci_curl *k)
{
    header h;
    const rqci_curl_item *m = given_header(k, "Content-Type", &h);
    k->type.len = 0;
    rqc_err rc = m ? rqci_buf_add(&k->type, h.value, h.len) : RQC_OK;
    return rc == RQC_OK ? rqci_buf_add(&k->type, "", 1) : rc;
}

// Every url of a command gives all its rows again: a small file must not become any number of them.
static rqc_err count_repeated(rqci_curl *k)
{
    uint64_t urls = 0;
    for (size_t i = 0; i < k->command.n; i++)
        urls += k->command.items[i].action == RQCI_CURL_URL;
    k->repeated += urls > 1 ? (urls - 1) * (k->command.n - urls + 1) : 0;
    return k->repeated <= RQCI_IMPORT_ITEMS_MAX
               ? RQC_OK
               : rqci_fail(k->rows->err, RQC_TOO_LARGE,
                           "command %llu: too many urls with too many options, more than %u rows",
                           (unsigned long long)k->commands, RQCI_IMPORT_ITEMS_MAX);
}

// The requests of one command up to --next.
static rqc_err add_requests(rqci_curl *k)
{
    k->body = (rqci_curl_body){.data = k->body.data};
    k->body.data.len = 0;
    rqc_err rc = count_repeated(k);
    if (rc == RQC_OK)
        rc = content_type(k);
    if (rc == RQC_OK)
        rc = rqci_curl_body_read(&k->command, (const char *)k->type.data, k->rows, &k->body);
    size_t urls = 0;
    for (size_t i = 0; i < k->command.n && rc == RQC_OK; i++) {
        const rqci_curl_item *m = &k->command.items[i];
        if (m->action != RQCI_CURL_URL || m->len == 0)
            continue;
        urls++;
        rc = add_request(k, m);
    }
    if (rc == RQC_OK && urls == 0)
        rqci_rows_warn(k->rows, "no url: left out");
    return rc == RQC_OK ? rqci_losses_report(&k->losses, k->rows, "not kept") : rc;
}

// There a caret quotes, and ends lines that go on.
static bool for_windows(const rqci_curl_words *w, size_t at)
{
    for (size_t i = at; i < w->n; i++)
        if (rqci_curl_text_of(w, i)[0] == '^' && (i == at || w->words[i].len == 1))
            return true;
    return false;
}

static rqc_err read_command(rqci_curl *k, const rqci_curl_words *w, size_t at)
{
    k->commands++;
    rqc_err rc = rqci_rows_place(k->rows, "command %llu (line %zu)",
                                 (unsigned long long)k->commands, w->line);
    if (rc != RQC_OK)
        return rc;
    if (for_windows(w, at)) {
        rqci_rows_warn(k->rows, "written for the Windows command prompt: copy it as \"cURL "
                                "(bash)\"; left out");
        return RQC_OK;
    }
    if (w->open_quote) {
        rqci_rows_warn(k->rows, "a quote does not end: left out");
        return RQC_OK;
    }
    if (w->variables > 0)
        rqci_rows_warn(k->rows, "%u variables or commands of the shell: kept as they are written",
                       w->variables);
    if (w->redirections > 0)
        rc = rqci_losses_add(&k->losses, "redirection of the shell");
    do {
        if (rc == RQC_OK)
            rc = rqci_curl_command_read(w, &at, &k->command, &k->losses);
        if (rc == RQC_OK)
            rc = add_requests(k);
    } while (rc == RQC_OK && at < w->n);
    return rc;
}

// Where curl stands among the words, behind what may stand before it; false: there is none.
static bool find_curl(const rqci_curl_words *w, size_t *ret_at)
{
    size_t i = 0;
    while (i < w->n && before_program(rqci_curl_text_of(w, i), w->words[i].len))
        i++;
    *ret_at = i;
    return i < w->n && is_curl(rqci_curl_text_of(w, i), w->words[i].len);
}

static rqc_err read_words(rqci_curl *k, const rqci_curl_words *w)
{
    size_t i;
    if (find_curl(w, &i))
        return read_command(k, w, i + 1);
    if (i == w->n)
        return RQC_OK;
    const rqc_err rc = rqci_rows_place(k->rows, "line %zu", w->line);
    if (rc == RQC_OK)
        rqci_rows_warn(k->rows, "%.60s is no curl command: left out", rqci_curl_text_of(w, i));
    return rc;
}

// Counts before anything is given away, so that a file that is none, or beyond the limits, gives
// nothing.
static rqc_err count_commands(rqci_curl *k, rqci_curl_words *w, const char *text, size_t len,
                              uint64_t *ret_n)
{
    rqci_curl_text t = {text, text + len, 1};
    rqc_err rc = RQC_OK;
    *ret_n = 0;
    for (bool more = true; rc == RQC_OK && more;) {
        size_t at;
        rc = rqci_curl_words_next(&t, w, &more);
        *ret_n += rc == RQC_OK && more && find_curl(w, &at);
    }
    if (rc == RQC_OK && *ret_n == 0)
        rc = rqci_fail(k->rows->err, RQC_INVALID, "no curl command in it");
    if (rc == RQC_OK && *ret_n > RQCI_IMPORT_ITEMS_MAX)
        rc = rqci_fail(k->rows->err, RQC_TOO_LARGE, "%llu commands, at most %u are read",
                       (unsigned long long)*ret_n, RQCI_IMPORT_ITEMS_MAX);
    return rc;
}

static rqc_err read_all(rqci_curl *k, rqci_curl_words *w, const char *text, size_t len)
{
    rqci_curl_text t = {text, text + len, 1};
    const rqci_import_sink *sink = k->rows->sink;
    uint64_t total;
    rqc_err rc = count_commands(k, w, text, len, &total);
    for (bool more = true; rc == RQC_OK && more;) {
        rc = rqci_curl_words_next(&t, w, &more);
        if (rc == RQC_OK && more)
            rc = read_words(k, w);
        if (rc == RQC_OK && more && sink->progress)
            sink->progress(sink->ctx, k->commands, total);
    }
    return rc;
}

rqc_err rqci_curl_read(const char *text, size_t len, rqci_rows *r)
{
    rqci_curl k = {.rows = r};
    rqci_curl_words words = {0};
    const rqc_err rc = read_all(&k, &words, text, len);
    rqci_curl_words_free(&words);
    rqci_losses_free(&k.losses);
    rqci_buf_free(&k.body.data);
    rqci_buf_free(&k.url);
    rqci_buf_free(&k.type);
    rqci_buf_free(&k.name);
    free(k.command.items);
    return rc;
}
