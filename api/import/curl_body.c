// SPDX-License-Identifier: Apache-2.0
// What curl commands send.
#include "api/import/curl_row.h"

#include "api/import/har_text.h"

#include <string.h>

// ---- Data ---------------------------------------------------------------------------------------

static void encode(rqci_pieces *out, const char *p, size_t len)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)p[i];
        const char escaped[] = {'%', hex[c >> 4], hex[c & 15]};
        // A blank as a form writes it.
        if (c == ' ') {
            rqci_piece_text(out, "+");
            continue;
        }
        const bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
                           c == '-' || c == '.' || c == '_' || c == '~';
        rqci_piece(out, plain ? p + i : escaped, plain ? 1 : 3);
    }
}

// -d takes line ends out of what it reads.
static void put_input(const rqci_buf *input, bool lines, rqci_pieces *out)
{
    const char *p = (const char *)input->data;
    for (size_t i = 0; i < input->len; i++)
        if (lines || (p[i] != '\n' && p[i] != '\r' && p[i] != 0))
            rqci_piece(out, p + i, 1);
}

static bool is_input(const char *path, size_t len)
{
    return (len == 1 && *path == '-') || (len == 10 && memcmp(path, "/dev/stdin", 10) == 0);
}

// "@path": the shell's own input, where the text has it, else the path as it stands.
static void put_file(const rqci_curl_command *c, rqci_rows *r, const char *path, size_t len,
                     bool lines, rqci_pieces *out, bool *ret_of_files)
{
    const rqci_curl_words *w = c->words;
    if (w->has_input && is_input(path, len)) {
        put_input(&w->input, lines, out);
        return;
    }
    rqci_rows_warn(r, "the data come from the file %.*s, which is not read: kept as @ and its path",
                   len > 200 ? 200 : (int)len, path);
    rqci_piece_text(out, "@");
    rqci_piece(out, path, len);
    *ret_of_files = true;
}

// "content", "=content", "name=content", "@path", "name@path".
static void put_encoded(const rqci_curl_command *c, rqci_rows *r, const rqci_curl_item *m,
                        rqci_pieces *out, bool *ret_of_files)
{
    const char *mark = memchr(m->p, '=', m->len);
    if (!mark)
        mark = memchr(m->p, '@', m->len);
    if (!mark) {
        encode(out, m->p, m->len);
        return;
    }
    const size_t name = (size_t)(mark - m->p), len = m->len - name - 1;
    rqci_piece(out, m->p, name);
    rqci_piece_text(out, name > 0 ? "=" : "");
    if (*mark == '=')
        encode(out, mark + 1, len);
    else if (c->words->has_input && is_input(mark + 1, len))
        encode(out, (const char *)c->words->input.data, c->words->input.len);
    else
        put_file(c, r, mark + 1, len, true, out, ret_of_files);
}

static bool is_data(rqci_curl_action a)
{
    return a == RQCI_CURL_DATA || a == RQCI_CURL_DATA_BINARY || a == RQCI_CURL_DATA_RAW ||
           a == RQCI_CURL_DATA_URLENCODE || a == RQCI_CURL_JSON;
}

// All data options in order, as curl joins them. *ret_any: there is one.
static rqc_err join_data(const rqci_curl_command *c, rqci_rows *r, rqci_curl_body *body,
                         bool *ret_any)
{
    rqci_pieces out = {&body->data, RQC_OK};
    *ret_any = false;
    for (size_t i = 0; i < c->n; i++) {
        const rqci_curl_item *m = &c->items[i];
        if (!is_data(m->action))
            continue;
        if (*ret_any && m->action != RQCI_CURL_JSON)
            rqci_piece_text(&out, "&");
        *ret_any = true;
        if (m->action == RQCI_CURL_DATA_URLENCODE)
            put_encoded(c, r, m, &out, &body->of_files);
        else if (m->action != RQCI_CURL_DATA_RAW && m->len > 0 && *m->p == '@')
            put_file(c, r, m->p + 1, m->len - 1, m->action != RQCI_CURL_DATA, &out,
                     &body->of_files);
        else
            rqci_piece(&out, m->p, m->len);
    }
    return out.err;
}

// Does it begin like JSON, XML …? Then it is kept as it is, whatever content type curl sends.
static bool structured(const rqci_buf *data)
{
    size_t i = 0;
    while (i < data->len && strchr(" \t\r\n", data->data[i]) && data->data[i])
        i++;
    return i < data->len && data->data[i] && strchr("{[\"<", data->data[i]);
}

static rqc_err upload(const rqci_curl_item *m, const rqci_curl_command *c, rqci_rows *r,
                      rqci_curl_body *body)
{
    rqci_pieces out = {&body->data, RQC_OK};
    put_file(c, r, m->p, m->len, true, &out, &body->of_files);
    body->kind = 3;
    return out.err;
}

rqc_err rqci_curl_body_read(const rqci_curl_command *c, const char *type, rqci_rows *r,
                            rqci_curl_body *body)
{
    const rqci_curl_item *file = rqci_curl_last(c, RQCI_CURL_UPLOAD);
    bool any;
    const rqc_err rc = join_data(c, r, body, &any);
    if (rc != RQC_OK)
        return rc;
    if (any && rqci_curl_last(c, RQCI_CURL_GET)) {
        body->query = true;
        return RQC_OK;
    }
    if (!any && (rqci_curl_last(c, RQCI_CURL_FORM) || rqci_curl_last(c, RQCI_CURL_FORM_STRING))) {
        body->kind = 1;
        return RQC_OK;
    }
    if (!any)
        return file ? upload(file, c, r, body) : RQC_OK;
    if (body->data.len == 0)
        return RQC_OK;
    char media[64];
    rqci_har_media_type(type, strlen(type), media, sizeof media);
    const bool json = rqci_curl_last(c, RQCI_CURL_JSON) != NULL;
    const bool urlencoded = strcmp(media, "application/x-www-form-urlencoded") == 0;
    body->kind =
        urlencoded || (!*media && !json && !structured(&body->data) && !body->of_files) ? 2 : 3;
    if (body->of_files)
        body->kind = 3;
    body->typed = body->kind == 3 && !*media && !json;
    return RQC_OK;
}

rqc_err rqci_curl_url_query(const rqci_curl_command *c, rqci_rows *r, rqci_buf *out)
{
    rqci_pieces pieces = {out, RQC_OK};
    bool of_files = false;
    for (size_t i = 0; i < c->n; i++) {
        const rqci_curl_item *m = &c->items[i];
        if (m->action != RQCI_CURL_URL_QUERY)
            continue;
        rqci_piece_text(&pieces, out->len > 0 ? "&" : "");
        if (m->len > 0 && *m->p == '+')
            rqci_piece(&pieces, m->p + 1, m->len - 1);
        else
            put_encoded(c, r, m, &pieces, &of_files);
    }
    return pieces.err;
}

// ---- Forms --------------------------------------------------------------------------------------

typedef struct form_part {
    rqci_buf content, type, filename; // owned
    const char *p, *end;              // what is not read yet
} form_part;

static void part_free(form_part *f)
{
    rqci_buf_free(&f->content);
    rqci_buf_free(&f->type);
    rqci_buf_free(&f->filename);
}

// A word up to ';': in double quotes, or as it stands.
static rqc_err part_word(form_part *f, rqci_buf *out)
{
    rqci_pieces pieces = {out, RQC_OK};
    const char *p = f->p, *end = f->end;
    out->len = 0;
    if (p < end && *p == '"') {
        for (p++; p < end && *p != '"'; p++) {
            p += *p == '\\' && end - p > 1 && (p[1] == '\\' || p[1] == '"');
            rqci_piece(&pieces, p, 1);
        }
        const char *semicolon = p < end ? memchr(p, ';', (size_t)(end - p)) : NULL;
        f->p = semicolon ? semicolon : end;
        return pieces.err;
    }
    const char *semicolon = memchr(p, ';', (size_t)(end - p));
    f->p = semicolon ? semicolon : end;
    rqci_piece(&pieces, p, (size_t)(f->p - p));
    return pieces.err;
}

static bool begins(form_part *f, const char *with)
{
    const size_t n = strlen(with);
    if ((size_t)(f->end - f->p) < n || memcmp(f->p, with, n) != 0)
        return false;
    f->p += n;
    return true;
}

// ";type=…;filename=…" behind the content. A media type may have parameters of its own.
static rqc_err part_attributes(form_part *f, rqci_losses *losses)
{
    rqci_buf other = {0};
    rqc_err rc = RQC_OK;
    while (rc == RQC_OK && f->p < f->end) {
        f->p++;
        while (f->p < f->end && *f->p == ' ')
            f->p++;
        if (begins(f, "type="))
            rc = part_word(f, &f->type);
        else if (begins(f, "filename="))
            rc = part_word(f, &f->filename);
        else if (f->type.len > 0 && begins(f, "charset="))
            rc = part_word(f, &other);
        else if (f->p < f->end) {
            const size_t n = strcspn(f->p, "=;");
            rc = rqci_losses_add(losses, "%.*s of a form field", n > 40 ? 40 : (int)n, f->p);
            if (rc == RQC_OK)
                rc = part_word(f, &other);
        }
    }
    rqci_buf_free(&other);
    return rc;
}

static const char *text_of(const rqci_buf *b)
{
    return b->len ? (const char *)b->data : "";
}

// A file's content is not there: its path stands for it, and the description says so.
static rqc_err describe_file(rqci_rows *r, const form_part *f, rqc_value *ret)
{
    const rqci_buf *name = f->filename.len > 0 ? &f->filename : &f->content;
    rqci_buf *out = rqci_rows_scratch(r);
    rqci_pieces pieces = {out, RQC_OK};
    rqci_piece_text(&pieces, "file ");
    rqci_piece(&pieces, text_of(name), name->len);
    rqci_piece_text(&pieces, f->type.len > 0 ? ", " : "");
    rqci_piece(&pieces, text_of(&f->type), f->type.len);
    return pieces.err == RQC_OK ? rqci_rows_textn(r, text_of(out), out->len, ret) : pieces.err;
}

static rqc_err read_part(const rqci_curl_item *m, size_t name, form_part *f, bool *ret_file,
                         rqci_losses *losses)
{
    const char *value = m->p + name + 1;
    f->p = value;
    f->end = m->p + m->len;
    *ret_file = false;
    if (m->action == RQCI_CURL_FORM_STRING)
        return rqci_buf_add(&f->content, value, (size_t)(f->end - value));
    *ret_file = f->p < f->end && (*f->p == '@' || *f->p == '<');
    f->p += *ret_file;
    rqc_err rc = part_word(f, &f->content);
    if (rc == RQC_OK)
        rc = part_attributes(f, losses);
    if (rc == RQC_OK && !*ret_file && f->type.len > 0)
        rc = rqci_losses_add(losses, "content type of a form field");
    if (rc == RQC_OK && !*ret_file && f->filename.len > 0)
        rc = rqci_losses_add(losses, "file name of a form field");
    return rc;
}

static rqc_err add_part(const rqci_curl_item *m, size_t name, form_part *f, rqci_rows *r,
                        rqci_losses *losses, const uint8_t request[16], uint32_t n)
{
    rqc_value row[RQC_FIELD_MAX];
    rqci_rows_pair pair = {.seconds = r->now};
    bool file;
    rqci_rows_start(r, row);
    rqc_err rc = read_part(m, name, f, &file, losses);
    if (rc == RQC_OK)
        rc = rqci_rows_textn(r, m->p, name, &pair.key);
    if (rc == RQC_OK)
        rc = rqci_rows_textn(r, text_of(&f->content), f->content.len, &pair.value);
    if (rc == RQC_OK && file) {
        rqci_rows_warn(r, "field %.*s sends the file %.*s, which is not read",
                       name > 60 ? 60 : (int)name, m->p,
                       f->content.len > 200 ? 200 : (int)f->content.len, text_of(&f->content));
        rc = describe_file(r, f, &pair.description);
    }
    return rc == RQC_OK ? rqci_rows_pair_add(r, RQC_HTTP_BODY_FORM, request, n, &pair) : rc;
}

rqc_err rqci_curl_form_add(const rqci_curl_command *c, rqci_rows *r, rqci_losses *losses,
                           const uint8_t request[16])
{
    uint32_t n = 0;
    rqc_err rc = RQC_OK;
    for (size_t i = 0; i < c->n && rc == RQC_OK; i++) {
        const rqci_curl_item *m = &c->items[i];
        if (m->action != RQCI_CURL_FORM && m->action != RQCI_CURL_FORM_STRING)
            continue;
        const char *equals = memchr(m->p, '=', m->len);
        if (!equals) {
            rc = rqci_losses_add(losses, "form field without =");
            continue;
        }
        form_part f = {0};
        rc = add_part(m, (size_t)(equals - m->p), &f, r, losses, request, n++);
        part_free(&f);
    }
    return rc;
}
