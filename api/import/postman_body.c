// SPDX-License-Identifier: Apache-2.0
// What Postman's requests send.
#include "api/import/postman_row.h"

#include "record/json_load.h"

#include <stdlib.h>
#include <string.h>

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

// The mode that a body without one seems to have.
static const char *mode_of(json_t *body)
{
    static const char *const modes[] = {"raw", "urlencoded", "formdata", "graphql", "file"};
    const char *mode = json_string_value(json_object_get(body, "mode"));
    if (mode && *mode)
        return mode;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (!rqci_postman_empty(json_object_get(body, modes[i])))
            return modes[i];
    return "";
}

static rqc_err add_json(rqci_buf *out, json_t *v)
{
    char *dump = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!dump)
        return RQC_NO_MEMORY;
    const rqc_err rc = rqci_buf_add(out, dump, strlen(dump));
    free(dump);
    return rc;
}

// A text of JSON that is to stand within JSON as it is: valid, or not yet because templates stand
// in it. Others become a JSON string.
static rqc_err add_json_text(json_t *v, rqci_buf *out)
{
    const char *text = json_string_value(v);
    const size_t len = json_string_length(v);
    json_error_t error;
    json_t *parsed = NULL;
    const rqc_err rc = rqci_json_load(text, len, JSON_DECODE_ANY, &parsed, &error);
    json_decref(parsed);
    if (rc == RQC_NO_MEMORY)
        return rc;
    if (rc == RQC_OK || memmem(text, len, "{{", 2))
        return rqci_buf_add(out, text, len);
    return add_json(out, v);
}

// What Postman sends for a GraphQL body.
static rqc_err graphql(rqci_postman *p, json_t *body, rqci_buf *out)
{
    static const char *const used[] = {"query", "variables", "operationName", NULL};
    json_t *query = json_object_get(body, "query"), *variables = json_object_get(body, "variables");
    json_t *operation = json_object_get(body, "operationName");
    if (!json_is_object(body))
        return rqci_postman_wrong(p, body, "graphql body");
    rqci_pieces pieces = {out, RQC_OK};
    rqci_piece_text(&pieces, "{\"query\":");
    if (pieces.err == RQC_OK)
        pieces.err = json_is_string(query) ? add_json(out, query) : rqci_buf_add(out, "\"\"", 2);
    if (!rqci_postman_empty(operation)) {
        rqci_piece_text(&pieces, ",\"operationName\":");
        if (pieces.err == RQC_OK)
            pieces.err = add_json(out, operation);
    }
    const char *text = json_string_value(variables);
    if (text ? strspn(text, " \t\r\n") < strlen(text) : !rqci_postman_empty(variables)) {
        rqci_piece_text(&pieces, ",\"variables\":");
        if (pieces.err == RQC_OK)
            pieces.err = text ? add_json_text(variables, out) : add_json(out, variables);
    }
    rqci_piece_text(&pieces, "}");
    return pieces.err == RQC_OK ? rqci_postman_rest(p, body, "graphql body", used) : pieces.err;
}

static rqc_err file(rqci_postman *p, json_t *body, rqci_buf *out)
{
    static const char *const used[] = {"src", "content", NULL};
    json_t *content = json_object_get(body, "content"), *src = json_object_get(body, "src");
    if (json_is_string(body))
        src = body;
    else if (!json_is_object(body))
        return rqci_postman_wrong(p, body, "file body");
    rqc_value ignored;
    if (!rqci_postman_empty(content)) {
        const rqc_err rc = rqci_rows_keep(p->rows, content, out, &ignored);
        return rc == RQC_OK && !rqci_postman_empty(src)
                   ? rqci_losses_add(&p->losses, "path of the file body")
                   : rc;
    }
    if (rqci_postman_empty(src))
        return json_is_object(body) ? rqci_postman_rest(p, body, "file body", used) : RQC_OK;
    rqci_buf path = {0};
    rqc_err rc = rqci_rows_keep(p->rows, src, &path, &ignored);
    if (rc == RQC_OK)
        rc = rqci_buf_add(out, "@", 1);
    if (rc == RQC_OK)
        rc = rqci_buf_add(out, path.data, path.len);
    if (rc == RQC_OK)
        rqci_rows_warn(p->rows,
                       "the body is the file %.*s, whose content is not in the collection: kept as "
                       "@ and its path",
                       path.len > 200 ? 200 : (int)path.len, (const char *)path.data);
    rqci_buf_free(&path);
    return rc == RQC_OK ? rqci_postman_rest(p, body, "file body", used) : rc;
}

// The media type that Postman adds by itself.
static const char *language_type(json_t *body)
{
    static const char *const types[][2] = {{"json", "application/json"},
                                           {"xml", "application/xml"},
                                           {"html", "text/html"},
                                           {"javascript", "application/javascript"},
                                           {"text", "text/plain"}};
    const char *language = json_string_value(
        json_object_get(json_object_get(json_object_get(body, "options"), "raw"), "language"));
    for (size_t i = 0; language && i < sizeof types / sizeof *types; i++)
        if (is(language, types[i][0]))
            return types[i][1];
    return NULL;
}

static rqc_err option_losses(rqci_postman *p, json_t *body, bool raw)
{
    static const char *const used[] = {"raw", NULL}, *const used_raw[] = {"language", NULL};
    json_t *options = json_object_get(body, "options");
    if (!json_is_object(options))
        return rqci_postman_wrong(p, options, "body options");
    rqc_err rc = rqci_postman_rest(p, options, "body option", raw ? used : used + 1);
    json_t *language = json_object_get(json_object_get(options, "raw"), "language");
    if (rc == RQC_OK && raw)
        rc = rqci_postman_rest(p, json_object_get(options, "raw"), "body option", used_raw);
    if (rc == RQC_OK && raw && !rqci_postman_empty(language) && !language_type(body))
        rc = rqci_losses_add(&p->losses, "body language %.40s",
                             json_is_string(language) ? json_string_value(language)
                                                      : "of a wrong type");
    return rc;
}

// The one text that the table for raw bodies can hold; what stands beside it in the collection is
// unused there, too.
static rqc_err raw_text(rqci_postman *p, json_t *body, const char *mode, rqci_postman_body *ret)
{
    const bool ql = is(mode, "graphql"), path = is(mode, "file");
    json_t *raw = json_object_get(body, "raw");
    rqc_value ignored;
    rqc_err rc;
    if (ql)
        rc = graphql(p, json_object_get(body, "graphql"), &ret->raw);
    else if (path)
        rc = file(p, json_object_get(body, "file"), &ret->raw);
    else
        rc = rqci_rows_keep(p->rows, raw, &ret->raw, &ignored);
    if (rc == RQC_OK && !ql && !rqci_postman_empty(json_object_get(body, "graphql")))
        rc = rqci_losses_add(&p->losses, "unused graphql body");
    if (rc == RQC_OK && !path && !rqci_postman_empty(json_object_get(body, "file")))
        rc = rqci_losses_add(&p->losses, "unused file body");
    if (rc == RQC_OK && (ql || path) && !rqci_postman_empty(raw))
        rc = rqci_losses_add(&p->losses, "unused raw body");
    ret->has_raw = ret->raw.len > 0;
    if (ret->has_raw && ql)
        ret->type = "application/json";
    else if (ret->has_raw && is(mode, "raw"))
        ret->type = language_type(body);
    return rc;
}

rqc_err rqci_postman_body_read(rqci_postman *p, json_t *body, rqci_postman_body *ret)
{
    static const char *const used[] = {"mode", "raw",     "urlencoded", "formdata", "graphql",
                                       "file", "options", "disabled",   NULL};
    rqc_value ignored;
    if (json_is_string(body)) {
        ret->has_raw = json_string_length(body) > 0;
        ret->kind = ret->has_raw ? 3 : 0;
        return rqci_rows_keep(p->rows, body, &ret->raw, &ignored);
    }
    if (!json_is_object(body))
        return rqci_postman_wrong(p, body, "body");
    const char *mode = mode_of(body);
    ret->urlencoded = json_object_get(body, "urlencoded");
    ret->form = json_object_get(body, "formdata");
    rqc_err rc = raw_text(p, body, mode, ret);
    const bool raw = is(mode, "raw") || is(mode, "graphql") || is(mode, "file");
    if (is(mode, "urlencoded"))
        ret->kind = rqci_postman_empty(ret->urlencoded) ? 0 : 2;
    else if (is(mode, "formdata"))
        ret->kind = rqci_postman_empty(ret->form) ? 0 : 1;
    else if (raw)
        ret->kind = ret->has_raw ? 3 : 0;
    else if (rc == RQC_OK && *mode)
        rc = rqci_losses_add(&p->losses, "body mode %.40s", mode);
    if (rc == RQC_OK)
        rc = option_losses(p, body, is(mode, "raw"));
    if (rc == RQC_OK)
        rc = rqci_postman_rest(p, body, "body", used);
    if (rc == RQC_OK && json_is_true(json_object_get(body, "disabled")) && ret->kind != 0) {
        rqci_rows_warn(p->rows,
                       "the body is disabled: kept, and the request's body kind is \"none\"");
        ret->kind = 0;
        ret->type = NULL;
    }
    return rc;
}

static rqc_err add_list(rqci_postman *p, rqc_entity entity, json_t *list, const char *what)
{
    uint32_t order = 0;
    if (json_is_string(list))
        return rqci_postman_query(p, entity, json_string_value(list), json_string_length(list),
                                  NULL, &order);
    return rqci_postman_pairs(p, entity, p->request, list, what, NULL, &order);
}

rqc_err rqci_postman_body_add(rqci_postman *p, const rqci_postman_body *body)
{
    rqc_err rc = add_list(p, RQC_HTTP_BODY_FORM, body->form, "form field");
    if (rc == RQC_OK)
        rc = add_list(p, RQC_HTTP_BODY_URLENCODED, body->urlencoded, "urlencoded field");
    if (rc == RQC_OK && body->has_raw)
        rc = rqci_rows_raw_add(p->rows, p->request, NULL, &body->raw, 0, p->rows->now);
    return rc;
}
