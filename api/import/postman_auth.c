// SPDX-License-Identifier: Apache-2.0
// Postman's authentication settings, as the header or parameter that they send.
#include "api/import/postman_row.h"

#include <string.h>
#include <strings.h>

json_t *rqci_postman_auth_of(json_t *auth, json_t *inherited)
{
    return rqci_postman_empty(auth) ? inherited : auth;
}

static const char *type_of(json_t *auth)
{
    const char *type = json_string_value(json_object_get(auth, "type"));
    return type ? type : "";
}

// A parameter: format 2.1 has a list of {key, value}, 2.0 an object.
static json_t *param(json_t *auth, const char *name)
{
    json_t *params = json_object_get(auth, type_of(auth));
    if (json_is_object(params))
        return json_object_get(params, name);
    for (size_t i = 0; i < json_array_size(params); i++) {
        json_t *item = json_array_get(params, i);
        const char *key = json_string_value(json_object_get(item, "key"));
        if (key && strcmp(key, name) == 0)
            return json_object_get(item, "value");
    }
    return NULL;
}

static bool kept(const char *type)
{
    return strcmp(type, "basic") == 0 || strcmp(type, "bearer") == 0 ||
           strcmp(type, "apikey") == 0 || strcmp(type, "noauth") == 0;
}

// The names of the parameters, never their values: warnings end up in logs.
static void param_names(json_t *auth, rqci_pieces *out)
{
    json_t *params = json_object_get(auth, type_of(auth)), *v;
    const char *key;
    bool first = true;
    for (size_t i = 0; i < json_array_size(params); i++) {
        key = json_string_value(json_object_get(json_array_get(params, i), "key"));
        if (!key || rqci_postman_empty(json_object_get(json_array_get(params, i), "value")))
            continue;
        rqci_piece_text(out, first ? "" : ", ");
        rqci_piece_text(out, key);
        first = false;
    }
    if (!json_is_object(params))
        return;
    json_object_foreach(params, key, v) if (!rqci_postman_empty(v))
    {
        rqci_piece_text(out, first ? "" : ", ");
        rqci_piece_text(out, key);
        first = false;
    }
}

rqc_err rqci_postman_auth_losses(rqci_postman *p, json_t *auth)
{
    if (rqci_postman_empty(auth))
        return RQC_OK;
    if (!json_is_object(auth))
        return rqci_postman_wrong(p, auth, "auth");
    const char *type = type_of(auth);
    if (kept(type))
        return RQC_OK;
    rqci_buf names = {0};
    rqci_pieces pieces = {&names, RQC_OK};
    param_names(auth, &pieces);
    rqci_piece(&pieces, "", 1);
    rqc_err rc = pieces.err;
    if (rc == RQC_OK)
        rc = rqci_losses_add(&p->losses, "authentication %.40s (%.180s)",
                             *type ? type : "without a type", (const char *)names.data);
    rqci_buf_free(&names);
    return rc;
}

// A parameter's text, in a buffer.
static rqc_err param_text(rqci_postman *p, json_t *auth, const char *name, rqci_buf *out)
{
    rqc_value ignored;
    return rqci_rows_keep(p->rows, param(auth, name), out, &ignored);
}

static rqc_err set_key(rqci_postman_auth *a, rqc_entity entity, const char *key)
{
    a->entity = entity;
    a->key.len = 0;
    return rqci_buf_add(&a->key, key, strlen(key));
}

static rqc_err read_basic(rqci_postman *p, json_t *auth, rqci_postman_auth *a)
{
    rqci_buf plain = {0}, part = {0};
    rqc_err rc = param_text(p, auth, "username", &plain);
    const bool named = plain.len > 0;
    if (rc == RQC_OK)
        rc = rqci_buf_add(&plain, ":", 1);
    if (rc == RQC_OK)
        rc = param_text(p, auth, "password", &part);
    if (rc == RQC_OK)
        rc = rqci_buf_add(&plain, part.data, part.len);
    // Postman sends nothing when both are empty.
    if (rc == RQC_OK && (named || part.len > 0)) {
        rc = set_key(a, RQC_HTTP_HEADER, "Authorization");
        if (rc == RQC_OK)
            rc = rqci_rows_basic(p->rows, (const char *)plain.data, plain.len, false, &a->value);
    }
    rqci_buf_free(&plain);
    rqci_buf_free(&part);
    return rc;
}

static rqc_err read_bearer(rqci_postman *p, json_t *auth, rqci_postman_auth *a)
{
    rqci_buf token = {0};
    rqc_err rc = param_text(p, auth, "token", &token);
    if (rc == RQC_OK && token.len > 0) {
        rc = set_key(a, RQC_HTTP_HEADER, "Authorization");
        if (rc == RQC_OK)
            rc = rqci_buf_add(&a->value, "Bearer ", 7);
        if (rc == RQC_OK)
            rc = rqci_buf_add(&a->value, token.data, token.len);
    }
    rqci_buf_free(&token);
    return rc;
}

static rqc_err read_apikey(rqci_postman *p, json_t *auth, rqci_postman_auth *a)
{
    const char *where = json_string_value(param(auth, "in"));
    const bool query = where && strcmp(where, "query") == 0;
    rqc_err rc = param_text(p, auth, "key", &a->key);
    if (rc == RQC_OK)
        rc = param_text(p, auth, "value", &a->value);
    if (rc == RQC_OK && a->key.len > 0)
        a->entity = query ? RQC_HTTP_SEARCH_PARAM : RQC_HTTP_HEADER;
    return rc;
}

rqc_err rqci_postman_auth_read(rqci_postman *p, json_t *auth, rqci_postman_auth *a)
{
    const char *type = type_of(auth);
    if (strcmp(type, "basic") == 0)
        return read_basic(p, auth, a);
    if (strcmp(type, "bearer") == 0)
        return read_bearer(p, auth, a);
    if (strcmp(type, "apikey") == 0)
        return read_apikey(p, auth, a);
    return RQC_OK;
}
