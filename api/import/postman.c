// SPDX-License-Identifier: Apache-2.0
#include "api/import/postman.h"

#include "api/import/postman_row.h"
#include "base/bytes.h"
#include "base/hash.h"

#include <stdio.h>
#include <string.h>

// ---- What every object has ----------------------------------------------------------------------

bool rqci_postman_empty(json_t *v)
{
    return !v || json_is_null(v) || json_is_false(v) ||
           (json_is_string(v) && json_string_length(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

static bool one_of(const char *key, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(key, *list) == 0)
            return true;
    return false;
}

// What Postman writes for itself: which program wrote the file, how it shows things.
static bool for_postman_only(const char *key)
{
    static const char *const keys[] = {"_postman_isSubFolder",
                                       "_postman_previewlanguage",
                                       "_postman_previewtype",
                                       "_postman_exported_at",
                                       "_postman_exported_using",
                                       "_postman_variable_scope",
                                       "_exporter_id",
                                       "_collection_link",
                                       "uid",
                                       "owner",
                                       NULL};
    return one_of(key, keys);
}

rqc_err rqci_postman_rest(rqci_postman *p, json_t *object, const char *what,
                          const char *const *used)
{
    const char *key;
    json_t *v;
    rqc_err rc = RQC_OK;
    json_object_foreach(object, key, v) if (rc == RQC_OK && !rqci_postman_empty(v) &&
                                            !one_of(key, used) && !for_postman_only(key)) rc =
        rqci_losses_add(&p->losses, "%s %.60s", what, key);
    return rc;
}

rqc_err rqci_postman_wrong(rqci_postman *p, json_t *v, const char *what)
{
    if (rqci_postman_empty(v))
        return RQC_OK;
    static const char *const kinds[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list",  [JSON_STRING] = "a text",
        [JSON_INTEGER] = "a number", [JSON_REAL] = "a number", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",      [JSON_NULL] = "null",
    };
    return rqci_losses_add(&p->losses, "%s that is %s", what, kinds[json_typeof(v)]);
}

rqc_err rqci_postman_description(rqci_postman *p, json_t *v, rqc_value *ret_value)
{
    static const char *const used[] = {"content", "type", NULL};
    if (!json_is_object(v))
        return rqci_rows_text(p->rows, v, ret_value);
    size_t len;
    const char *type = rqci_rows_string(v, "type", &len);
    rqc_err rc = rqci_postman_rest(p, v, "description", used);
    if (rc == RQC_OK && type && strcmp(type, "text/markdown") != 0 &&
        strcmp(type, "text/plain") != 0)
        rc = rqci_losses_add(&p->losses, "type %.40s of a description", type);
    return rc == RQC_OK ? rqci_rows_text(p->rows, json_object_get(v, "content"), ret_value) : rc;
}

// ---- Ids ----------------------------------------------------------------------------------------

static void hash_text(rqci_hasher *hasher, const char *text, size_t n)
{
    uint8_t len[4];
    rqci_put32(len, (uint32_t)n);
    rqci_hasher_add(hasher, len, sizeof len);
    rqci_hasher_add(hasher, text, n);
}

static void hash_bytes(const rqci_hasher *hasher, uint8_t ret_hash[16])
{
    const rqci_hash128 hash = rqci_hasher_end128(hasher);
    rqci_put64be(ret_hash, hash.hi);
    rqci_put64be(ret_hash + 8, hash.lo);
}

// What Postman calls a thing; NULL: nothing.
static const char *own_id(json_t *object, size_t *ret_len)
{
    const char *id = rqci_rows_string(object, "_postman_id", ret_len);
    if (!id || *ret_len == 0)
        id = rqci_rows_string(object, "id", ret_len);
    return id && *ret_len > 0 ? id : NULL;
}

rqc_err rqci_postman_id(rqci_postman *p, char kind, json_t *object, const uint8_t parent[16],
                        uint8_t ret_id[16])
{
    size_t len = 0;
    const char *own = own_id(object, &len);
    rqci_hasher hasher;
    rqci_hasher_init(&hasher);
    rqci_hasher_add(&hasher, p->rows->workspace, 16);
    rqci_hasher_add(&hasher, p->collection, 16);
    rqci_hasher_add(&hasher, &kind, 1);
    if (own) {
        hash_text(&hasher, own, len);
    } else {
        const char *name = rqci_rows_string(object, "name", &len);
        static const uint8_t none[16];
        rqci_hasher_add(&hasher, parent ? parent : none, 16);
        hash_text(&hasher, name ? name : "", len);
    }
    uint8_t hash[20];
    hash_bytes(&hasher, hash);
    uint32_t n;
    const rqc_err rc = rqci_rows_ordinal(p->rows, hash, &n);
    if (rc != RQC_OK)
        return rc;
    rqci_put32be(hash + 16, n);
    rqci_xxh128_bytes(hash, sizeof hash, ret_id);
    rqci_rows_time_prefix(0, ret_id);
    return RQC_OK;
}

// Collections may hold things with the same ids; what the collection is called keeps them apart.
static void collection_key(rqci_postman *p, json_t *collection)
{
    json_t *info = json_object_get(collection, "info");
    size_t len = 0;
    const char *own = own_id(info, &len);
    if (!own)
        own = rqci_rows_string(info, "name", &len);
    rqci_hasher hasher;
    rqci_hasher_init(&hasher);
    hash_text(&hasher, own ? own : "", len);
    hash_bytes(&hasher, p->collection);
}

// ---- What has no table --------------------------------------------------------------------------

static bool script_empty(json_t *script)
{
    json_t *exec = json_is_object(script) ? json_object_get(script, "exec") : script;
    for (size_t i = 0; i < json_array_size(exec); i++)
        if (!rqci_postman_empty(json_array_get(exec, i)))
            return false;
    return (json_is_array(exec) || rqci_postman_empty(exec)) &&
           rqci_postman_empty(json_object_get(script, "src"));
}

static rqc_err script_losses(rqci_postman *p, json_t *events)
{
    if (!json_is_array(events))
        return rqci_postman_wrong(p, events, "event");
    rqc_err rc = RQC_OK;
    for (size_t i = 0; i < json_array_size(events) && rc == RQC_OK; i++) {
        json_t *event = json_array_get(events, i);
        size_t len;
        const char *listen = rqci_rows_string(event, "listen", &len);
        if (!script_empty(json_object_get(event, "script")))
            rc = rqci_losses_add(&p->losses, "%.40s script", listen ? listen : "unnamed");
    }
    return rc;
}

static const char *variable_name(json_t *variable)
{
    static const char *const keys[] = {"key", "id", "name"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *name = json_string_value(json_object_get(variable, keys[i]));
        if (name && *name)
            return name;
    }
    return "unnamed";
}

static rqc_err variable_losses(rqci_postman *p, json_t *variables)
{
    rqc_err rc = RQC_OK;
    const char *key;
    json_t *v;
    if (json_is_object(variables)) {
        json_object_foreach(variables, key, v) if (rc == RQC_OK) rc =
            rqci_losses_add(&p->losses, "variable %.60s", key);
        return rc;
    }
    if (!json_is_array(variables))
        return rqci_postman_wrong(p, variables, "variable");
    for (size_t i = 0; i < json_array_size(variables) && rc == RQC_OK; i++)
        rc = rqci_losses_add(&p->losses, "variable %.60s",
                             variable_name(json_array_get(variables, i)));
    return rc;
}

// What a collection, folder or request has beside its own: scripts, variables, authentication.
static rqc_err common_losses(rqci_postman *p, json_t *object)
{
    rqc_err rc = script_losses(p, json_object_get(object, "event"));
    if (rc == RQC_OK)
        rc = variable_losses(p, json_object_get(object, "variable"));
    if (rc == RQC_OK)
        rc = variable_losses(p, json_object_get(object, "variables"));
    return rc == RQC_OK ? rqci_postman_auth_losses(p, json_object_get(object, "auth")) : rc;
}

// ---- The tree -----------------------------------------------------------------------------------

// Where the reading is: the names from the root down to `name`.
static rqc_err place(rqci_postman *p, const rqci_postman_level *level, const char *name)
{
    const char *names[RQCI_IMPORT_DEPTH_MAX + 2];
    size_t n = 0;
    names[n++] = name;
    for (; level && level->folder; level = level->parent)
        names[n++] = level->name;
    char text[400];
    size_t used = 0;
    text[0] = 0;
    while (n > 0 && used < sizeof text - 1) {
        n--;
        const int more =
            snprintf(text + used, sizeof text - used, "%.80s%s", names[n], n ? "/" : "");
        used += more > 0 ? (size_t)more : 0;
    }
    return rqci_rows_place(p->rows, "%s", text);
}

static rqc_err read_items(rqci_postman *p, json_t *list, const rqci_postman_level *level);

// The row of a folder, or of the file that stands for a request.
static rqc_err add_file(rqci_postman *p, const uint8_t id[16], const rqci_postman_level *level,
                        const uint8_t *content, const rqc_value *name, uint32_t order)
{
    rqc_value row[RQC_FIELD_MAX] = {0};
    row[RQC_FILES_WORKSPACE_ID] = rqc_id(p->rows->workspace);
    if (level->folder)
        row[RQC_FILES_PARENT_ID] = rqc_id(level->folder);
    if (content)
        row[RQC_FILES_CONTENT_ID] = rqc_id(content);
    row[RQC_FILES_CONTENT_KIND] = rqc_int(content ? 1 : 0);
    row[RQC_FILES_NAME] = *name;
    row[RQC_FILES_DISPLAY_ORDER] = rqc_real(order);
    row[RQC_FILES_UPDATED_AT] = rqc_int(p->rows->now);
    return rqci_rows_add(p->rows, RQC_FILES, id, row);
}

static rqc_err read_folder(rqci_postman *p, json_t *item, const rqci_postman_level *level,
                           uint32_t order)
{
    static const char *const used[] = {"id",       "_postman_id", "name", "item", "event",
                                       "variable", "variables",   "auth", NULL};
    size_t len;
    const char *name = rqci_rows_string(item, "name", &len);
    uint8_t id[16];
    rqc_err rc = rqci_postman_id(p, 'F', item, level->folder, id);
    if (rc != RQC_OK)
        return rc;
    rqc_value row[RQC_FIELD_MAX], text;
    rqci_rows_start(p->rows, row);
    rc = rqci_rows_text(p->rows, json_object_get(item, "name"), &text);
    if (rc == RQC_OK)
        rc = add_file(p, id, level, NULL, &text, order);
    if (rc == RQC_OK)
        rc = common_losses(p, item);
    if (rc == RQC_OK)
        rc = rqci_postman_rest(p, item, "folder", used);
    if (rc == RQC_OK)
        rc = rqci_losses_report(&p->losses, p->rows, "not kept");
    const rqci_postman_level inside = {
        .folder = id,
        .parent = level,
        .name = name ? name : "",
        .auth = rqci_postman_auth_of(json_object_get(item, "auth"), level->auth),
        .depth = level->depth + 1,
    };
    return rc == RQC_OK ? read_items(p, json_object_get(item, "item"), &inside) : rc;
}

static rqc_err read_file(rqci_postman *p, json_t *item, const rqci_postman_level *level,
                         uint32_t order)
{
    static const char *const used[] = {"id",          "_postman_id", "name",     "request",
                                       "response",    "event",       "variable", "variables",
                                       "description", NULL};
    uint8_t id[16];
    rqc_err rc = rqci_postman_id(p, 'R', item, level->folder, p->request);
    if (rc == RQC_OK)
        rc = rqci_postman_request(p, item, level);
    if (rc != RQC_OK)
        return rc;
    rqci_rows_child_id(p->request, RQC_FILES, 0, id);
    rqc_value row[RQC_FIELD_MAX], name;
    rqci_rows_start(p->rows, row);
    rc = rqci_postman_request_name(p, item, &name);
    if (rc == RQC_OK)
        rc = add_file(p, id, level, p->request, &name, order);
    if (rc == RQC_OK)
        rc = rqci_postman_responses(p, json_object_get(item, "response"),
                                    json_object_get(item, "request"));
    if (rc == RQC_OK)
        rc = common_losses(p, item);
    if (rc == RQC_OK)
        rc = rqci_postman_rest(p, item, "request", used);
    return rc == RQC_OK ? rqci_losses_report(&p->losses, p->rows, "not kept") : rc;
}

static rqc_err read_item(rqci_postman *p, json_t *item, const rqci_postman_level *level,
                         uint32_t order)
{
    size_t len;
    const char *name = rqci_rows_string(item, "name", &len);
    rqc_err rc = place(p, level, name && len ? name : "(without a name)");
    if (rc != RQC_OK)
        return rc;
    if (json_is_array(json_object_get(item, "item")))
        return read_folder(p, item, level, order);
    json_t *request = json_object_get(item, "request");
    if (json_is_object(request) || json_is_string(request))
        return read_file(p, item, level, order);
    rqci_rows_warn(p->rows, "neither a request nor a folder: left out");
    return RQC_OK;
}

static rqc_err read_items(rqci_postman *p, json_t *list, const rqci_postman_level *level)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const rqc_err rc = read_item(p, json_array_get(list, i), level, (uint32_t)i);
        if (rc != RQC_OK)
            return rc;
        p->items++;
        if (p->rows->sink->progress)
            p->rows->sink->progress(p->rows->sink->ctx, p->items, p->total);
    }
    return RQC_OK;
}

// Counts before anything is given away, so that a file beyond the limits gives nothing.
static rqc_err count_items(rqci_postman *p, json_t *list, unsigned depth)
{
    if (depth > RQCI_IMPORT_DEPTH_MAX)
        return rqci_fail(p->rows->err, RQC_TOO_LARGE, "folders in folders more than %u deep",
                         RQCI_IMPORT_DEPTH_MAX);
    p->total += json_array_size(list);
    if (p->total > RQCI_IMPORT_ITEMS_MAX)
        return rqci_fail(p->rows->err, RQC_TOO_LARGE, "more than %u requests and folders",
                         RQCI_IMPORT_ITEMS_MAX);
    rqc_err rc = RQC_OK;
    for (size_t i = 0; i < json_array_size(list) && rc == RQC_OK; i++) {
        json_t *inner = json_object_get(json_array_get(list, i), "item");
        if (json_is_array(inner))
            rc = count_items(p, inner, depth + 1);
    }
    return rc;
}

// ---- The collection -----------------------------------------------------------------------------

rqc_err rqci_postman_check(json_t *root, json_t **ret_collection, rqci_errbuf *err)
{
    json_t *inner = json_object_get(root, "collection");
    json_t *collection = json_is_object(inner) && !json_object_get(root, "item") ? inner : root;
    if (json_is_array(json_object_get(collection, "item"))) {
        *ret_collection = collection;
        return RQC_OK;
    }
    if (json_object_get(collection, "requests") && json_object_get(collection, "order"))
        return rqci_fail(
            err, RQC_INVALID,
            "a Postman collection of format 1: export it from Postman as \"Collection v2.1\"");
    if (json_object_get(root, "_postman_variable_scope") ||
        json_is_array(json_object_get(root, "values")))
        return rqci_fail(err, RQC_INVALID,
                         "a Postman environment, which holds variables only: nothing to import");
    if (json_is_array(json_object_get(root, "collections")))
        return rqci_fail(err, RQC_INVALID,
                         "a Postman data dump: export its collections one by one");
    return rqci_fail(err, RQC_INVALID, "not a Postman collection: no list \"item\" at its top");
}

const char *rqci_postman_name(json_t *collection)
{
    size_t len;
    const char *name = rqci_rows_string(json_object_get(collection, "info"), "name", &len);
    return name && *name ? name : NULL;
}

static rqc_err read_collection(rqci_postman *p, json_t *collection)
{
    static const char *const used[] = {"info",      "item", "event", "variable",
                                       "variables", "auth", NULL};
    static const char *const used_info[] = {"_postman_id", "id", "name", "schema", NULL};
    collection_key(p, collection);
    rqc_err rc = count_items(p, json_object_get(collection, "item"), 0);
    if (rc == RQC_OK)
        rc = common_losses(p, collection);
    if (rc == RQC_OK)
        rc = rqci_postman_rest(p, json_object_get(collection, "info"), "collection", used_info);
    if (rc == RQC_OK)
        rc = rqci_postman_rest(p, collection, "collection", used);
    if (rc == RQC_OK)
        rc = rqci_losses_report(&p->losses, p->rows, "not kept");
    const rqci_postman_level level = {
        .name = "", .auth = rqci_postman_auth_of(json_object_get(collection, "auth"), NULL)};
    return rc == RQC_OK ? read_items(p, json_object_get(collection, "item"), &level) : rc;
}

rqc_err rqci_postman_read(json_t *collection, rqci_rows *r)
{
    rqci_postman p = {.rows = r};
    const rqc_err rc = read_collection(&p, collection);
    rqci_losses_free(&p.losses);
    rqci_buf_free(&p.url_text);
    rqci_buf_free(&p.method_text);
    return rc;
}
