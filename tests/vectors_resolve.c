// SPDX-License-Identifier: Apache-2.0
// Vectors of overlays and chains.
#include "tests/vectors.h"

static const char *const origins[] = {"base", "override", "addition"};

// ---- Overlay ----

// A field under the name that the files use: header_key is called key there.
static int field_named(rqc_entity entity, const char *name)
{
    char full[64];
    const int field = rqc_field_number(entity, name);
    snprintf(full, sizeof full, "header_%s", name);
    return field >= 0 ? field : rqc_field_number(entity, full);
}

static bool same_item(play *p, const char *what, const rqc_item *m, json_t *want)
{
    const char *name;
    json_t *v;
    bool good = json_is_object(want) || wrong(p, "%s: one too many", what);
    json_object_foreach(want, name, v)
    {
        char where[128];
        snprintf(where, sizeof where, "%s: %s", what, name);
        const int field = field_named(rqc_record_entity(m->record), name);
        if (strcmp(name, "origin") == 0)
            good = same_json(p, where, json_string(origins[m->origin]), v) && good;
        else
            good = same_value(p, where, value_json(p, m->record, field, rqc_item_field(m, field)),
                              v) &&
                   good;
    }
    return good;
}

static bool same_items(play *p, const char *what, const rqc_items *items, json_t *want)
{
    bool good = true;
    for (size_t i = 0; i < items->n; i++) {
        char where[64];
        snprintf(where, sizeof where, "%s[%d]", what, (int)i);
        good = same_item(p, where, &items->items[i], json_array_get(want, i)) && good;
    }
    if (json_array_size(want) > items->n)
        wrong(p, "%s: %d items, expected %d", what, (int)items->n, (int)json_array_size(want));
    return good && json_array_size(want) == items->n;
}

static bool same_raw(play *p, const rqc_resolved *m, json_t *want)
{
    static const char *const keys[] = {"id", "raw_data", "compression_type", "origin", NULL};
    if (!m->raw.present || json_is_null(want))
        return same_json(p, "raw", m->raw.present ? json_object() : json_null(), want);
    if (!only_keys(p, want, keys))
        return false;
    json_t *origin = json_object_get(want, "origin");
    bool good = same_value(p, "raw: raw_data",
                           value_json(p, m->raw.source, m->raw.source_field, m->raw.bytes),
                           json_object_get(want, "raw_data")) &&
                same_json(p, "raw: compression_type", json_integer(m->raw.compression),
                          json_object_get(want, "compression_type")) &&
                same_json(p, "raw: id", m->raw.id ? hex_json(m->raw.id) : json_null(),
                          json_object_get(want, "id"));
    if (origin)
        good = same_json(p, "raw: origin", json_string(origins[m->raw.origin]), origin) && good;
    return good;
}

static bool same_resolved(play *p, const rqc_resolved *m, json_t *expect)
{
    static const char *const keys[] = {"http",       "headers", "params", "form",
                                       "urlencoded", "asserts", "raw",    NULL};
    const struct {
        const char *name;
        const rqc_items *items;
    } lists[] = {{"headers", &m->headers},
                 {"params", &m->params},
                 {"form", &m->form},
                 {"urlencoded", &m->urlencoded},
                 {"asserts", &m->asserts}};
    bool good = only_keys(p, expect, keys);
    json_t *want;
    if ((want = json_object_get(expect, "http")))
        good = same_item(p, "http", &m->http, want) && good;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        if ((want = json_object_get(expect, lists[i].name)))
            good = same_items(p, lists[i].name, lists[i].items, want) && good;
    }
    if ((want = json_object_get(expect, "raw")))
        good = same_raw(p, m, want) && good;
    return good;
}

bool play_overlay(play *p, json_t *args, json_t *expect)
{
    uint8_t base[16], delta[16];
    if (!id_of(json_object_get(args, "base_id"), base))
        return wrong(p, "base_id is no id");
    const bool has_delta = id_of(json_object_get(args, "delta_id"), delta);
    rqc_resolved m = RQC_RESOLVED_INIT;
    const rqc_err rc = rqc_resolve(p->read, base, has_delta ? delta : NULL, &m);
    const bool good = refused(p, rc, expect) ? p->fault[0] == '\0' : same_resolved(p, &m, expect);
    rqc_resolved_free(&m);
    return good;
}

// ---- Chains ----

static bool same_chain(play *p, const rqc_list *chain, json_t *want)
{
    const char *name;
    json_t *v;
    bool good = true;
    if (chain->n == 0 || !json_is_object(want))
        return same_json(p, "row", chain->n > 0 ? json_object() : json_null(), want);
    json_object_foreach(want, name, v)
    {
        const int field = rqc_field_number(RQC_HTTP, name);
        good = same_value(p, name,
                          value_json(p, chain->items[chain->n - 1], field,
                                     rqc_chain_field(chain, field)),
                          v) &&
               good;
    }
    return good;
}

bool play_chain(play *p, json_t *args, json_t *expect)
{
    static const char *const keys[] = {"row", "chain", NULL};
    uint8_t id[16];
    rqc_list chain = RQC_LIST_INIT;
    if (!id_of(json_object_get(args, "http_id"), id))
        return wrong(p, "http_id is no id");
    const rqc_err rc = rqc_chain(p->read, id, arg_time(args, "until"), &chain);
    bool good = !refused(p, rc, expect) && only_keys(p, expect, keys) &&
                same_chain(p, &chain, json_object_get(expect, "row"));
    json_t *want = json_object_get(expect, "chain");
    if (good && want) {
        json_t *ids = json_array();
        for (size_t i = 0; i < chain.n; i++)
            json_array_append_new(ids, hex_json(rqc_record_id(chain.items[i])));
        good = same_json(p, "chain", ids, want);
    }
    rqc_list_free(&chain);
    return good;
}
