// SPDX-License-Identifier: Apache-2.0
// Vectors of lists and numbers: pages, walks, counts, updates, deltas, batches, children, metrics.
#include "tests/vectors.h"

#include <time.h>

#define UNLIMITED 100000

static bool call_failed(play *p, rqc_err rc)
{
    if (rc != RQC_OK)
        wrong(p, "%d %s", (int)rc, rqc_read_error(p->read));
    return rc != RQC_OK;
}

static const uint8_t *workspace_of(play *p, json_t *args, uint8_t id[16])
{
    if (!id_of(json_object_get(args, "workspace_id"), id))
        wrong(p, "workspace_id is no id");
    return id;
}

static json_t *ids_json(const rqc_list *l)
{
    json_t *ids = json_array();
    for (size_t i = 0; i < l->n; i++)
        json_array_append_new(ids, hex_json(rqc_record_id(l->items[i])));
    return ids;
}

// ---- Pages and updates ----

typedef struct window {
    uint8_t workspace[16];
    int64_t since, until;
    const char *method;
    uint32_t limit;
    bool updates;
} window;

static window window_of(play *p, json_t *args, bool updates)
{
    json_t *limit = json_object_get(args, "limit");
    window w = {.since = arg_time(args, "since"),
                .until = arg_time(args, "until"),
                .method = json_string_value(json_object_get(args, "method")),
                .limit = limit ? (uint32_t)json_integer_value(limit) : UNLIMITED,
                .updates = updates};
    workspace_of(p, args, w.workspace);
    return w;
}

static rqc_err ask(play *p, const window *w, rqc_page_cursor *cursor, rqc_list *l)
{
    return w->updates ? rqc_updates(p->read, w->workspace, w->since, w->until, w->method, w->limit,
                                    cursor, l)
                      : rqc_page(p->read, w->workspace, w->until, w->method, w->limit, cursor, l);
}

static bool one_page(play *p, json_t *args, json_t *expect, bool updates)
{
    static const char *const keys[] = {"ids", NULL};
    const window w = window_of(p, args, updates);
    rqc_list l = RQC_LIST_INIT;
    bool good = only_keys(p, expect, keys) && !call_failed(p, ask(p, &w, NULL, &l)) &&
                same_json(p, "ids", ids_json(&l), json_object_get(expect, "ids"));
    rqc_list_free(&l);
    return good;
}

// All pages of a walk with a cursor, NULL when it does not end.
static json_t *walk(play *p, const window *w)
{
    rqc_page_cursor cursor = RQC_PAGE_CURSOR_INIT;
    rqc_list l = RQC_LIST_INIT;
    json_t *pages = json_array();
    for (int i = 0; cursor.state != 2; i++) {
        if (i == 100 || call_failed(p, ask(p, w, &cursor, &l))) {
            wrong(p, "the walk does not end");
            break;
        }
        if (l.n > 0)
            json_array_append_new(pages, ids_json(&l));
    }
    rqc_list_free(&l);
    return pages;
}

// A walk must give every record once: nothing twice, nothing missed, no standstill.
static bool any_walk(play *p, json_t *args, json_t *expect, bool updates)
{
    static const char *const keys[] = {"pages",  "complete_walk", "duplicates",
                                       "missed", "stuck",         NULL};
    const window w = window_of(p, args, updates);
    json_t *pages = walk(p, &w), *all = json_array(), *none = json_array(), *page, *want;
    size_t i;
    json_array_foreach(pages, i, page) json_array_extend(all, page);
    bool good = only_keys(p, expect, keys);
    if ((want = json_object_get(expect, "pages")))
        good = same_json(p, "pages", json_incref(pages), want) && good;
    if ((want = json_object_get(expect, "complete_walk")))
        good = same_json(p, "the walk", json_incref(all), want) && good;
    if ((want = json_object_get(expect, "duplicates")))
        good = same_json(p, "duplicates", json_incref(none), want) && good;
    if ((want = json_object_get(expect, "missed")))
        good = same_json(p, "missed", json_incref(none), want) && good;
    if ((want = json_object_get(expect, "stuck")))
        good = same_json(p, "stuck", json_false(), want) && good;
    json_decref(pages);
    json_decref(all);
    json_decref(none);
    return good;
}

bool play_page(play *p, json_t *args, json_t *expect)
{
    return one_page(p, args, expect, false);
}

bool play_incremental(play *p, json_t *args, json_t *expect)
{
    return one_page(p, args, expect, true);
}

bool play_walk(play *p, json_t *args, json_t *expect)
{
    return any_walk(p, args, expect, false);
}

bool play_incremental_walk(play *p, json_t *args, json_t *expect)
{
    return any_walk(p, args, expect, true);
}

bool play_count(play *p, json_t *args, json_t *expect)
{
    static const char *const keys[] = {"count", NULL};
    uint8_t id[16];
    uint64_t n = 0;
    const rqc_err rc = rqc_count(p->read, workspace_of(p, args, id), arg_time(args, "until"), &n);
    return !call_failed(p, rc) && only_keys(p, expect, keys) &&
           same_json(p, "count", json_integer((int64_t)n), json_object_get(expect, "count"));
}

// ---- Groups ----

static json_t *owner_json(play *p, const rqc_record *r, const char *column)
{
    const int field = rqc_field_number(rqc_record_entity(r), column);
    return value_json(p, r, field, rqc_field(r, field));
}

// Records that follow each other with the same owner and time, as one group. column NULL: by time
// alone.
static json_t *groups_json(play *p, const rqc_list *l, const char *column, const char *key)
{
    json_t *groups = json_array(), *last = NULL;
    for (size_t i = 0; i < l->n; i++) {
        const rqc_record *r = l->items[i];
        json_t *head = json_pack("{sI}", "updated_at", (json_int_t)rqc_record_updated(r));
        if (column)
            json_object_set_new(head, key, owner_json(p, r, column));
        json_t *before = last ? json_copy(last) : NULL;
        json_object_del(before, "ids");
        if (!before || !json_equal(before, head)) {
            last = json_copy(head);
            json_object_set_new(last, "ids", json_array());
            json_array_append_new(groups, last);
        }
        json_array_append_new(json_object_get(last, "ids"), hex_json(rqc_record_id(r)));
        json_decref(head);
        json_decref(before);
    }
    return groups;
}

// The files leave the order inside a group open; here it is the order of the ids.
static bool same_groups(play *p, json_t *got, json_t *expect)
{
    static const char *const keys[] = {"groups", NULL};
    json_t *want = json_deep_copy(json_object_get(expect, "groups")), *group;
    size_t i;
    json_array_foreach(want, i, group)
        json_object_set_new(group, "ids", sorted(json_object_get(group, "ids")));
    const bool good = same_json(p, "groups", got, want) && only_keys(p, expect, keys);
    json_decref(want);
    return good;
}

typedef struct id_list {
    uint8_t (*ids)[16];
    size_t n;
} id_list;

static id_list ids_of(play *p, json_t *list)
{
    id_list l = {calloc(json_array_size(list) + 1, 16), json_array_size(list)};
    if (!l.ids)
        bail("no memory");
    for (size_t i = 0; i < l.n; i++) {
        if (!id_of(json_array_get(list, i), l.ids[i]))
            wrong(p, "id %d of the arguments is none", (int)i);
    }
    return l;
}

#define IDS(l) ((const uint8_t(*)[16])(l).ids)

bool play_deltas(play *p, json_t *args, json_t *expect)
{
    const id_list parents = ids_of(p, json_object_get(args, "parent_ids"));
    rqc_list l = RQC_LIST_INIT;
    const rqc_err rc = rqc_deltas(p->read, IDS(parents), parents.n, arg_time(args, "since"),
                                  arg_time(args, "until"), &l);
    const bool good =
        !call_failed(p, rc) &&
        same_groups(p, groups_json(p, &l, "parent_http_id", "parent_http_id"), expect);
    rqc_list_free(&l);
    free(parents.ids);
    return good;
}

bool play_batch(play *p, json_t *args, json_t *expect)
{
    const id_list ids = ids_of(p, json_object_get(args, "http_ids"));
    rqc_list l = RQC_LIST_INIT;
    const rqc_err rc = rqc_batch(p->read, IDS(ids), ids.n, arg_time(args, "until"), &l);
    const bool good = !call_failed(p, rc) && same_groups(p, groups_json(p, &l, NULL, NULL), expect);
    rqc_list_free(&l);
    free(ids.ids);
    return good;
}

static bool children(play *p, int entity, json_t *ids_arg, const char *key, json_t *args,
                     json_t *expect)
{
    const bool of_response = entity >= RQC_HTTP_RESPONSE_HEADER;
    const id_list ids = ids_of(p, ids_arg);
    rqc_list l = RQC_LIST_INIT;
    const rqc_err rc =
        rqc_children(p->read, (rqc_entity)entity, IDS(ids), ids.n, arg_time(args, "until"),
                     json_is_true(json_object_get(args, "all")), &l);
    const bool good =
        !call_failed(p, rc) &&
        same_groups(p, groups_json(p, &l, of_response ? "response_id" : "http_id", key), expect);
    rqc_list_free(&l);
    free(ids.ids);
    return good;
}

bool play_headers(play *p, json_t *args, json_t *expect)
{
    return children(p, RQC_HTTP_HEADER, json_object_get(args, "http_ids"), "http_id", args, expect);
}

bool play_params(play *p, json_t *args, json_t *expect)
{
    return children(p, RQC_HTTP_SEARCH_PARAM, json_object_get(args, "http_ids"), "http_id", args,
                    expect);
}

bool play_forms(play *p, json_t *args, json_t *expect)
{
    return children(p, RQC_HTTP_BODY_FORM, json_object_get(args, "http_ids"), "http_id", args,
                    expect);
}

bool play_children(play *p, json_t *args, json_t *expect)
{
    return children(p, rqc_entity_number(text_at(args, "table")),
                    json_object_get(args, "owner_ids"), "owner_id", args, expect);
}

// ---- Numbers ----

bool play_metrics(play *p, json_t *args, json_t *expect)
{
    static const char *const keys[] = {"total",    "base",   "delta", "latest",
                                       "earliest", "recent", NULL};
    uint8_t id[16];
    rqc_metrics m;
    const rqc_err rc =
        rqc_metrics_read(p->read, workspace_of(p, args, id), arg_time(args, "since"), &m);
    if (call_failed(p, rc) || !only_keys(p, expect, keys))
        return false;
    json_t *got =
        json_pack("{sI sI sI sI}", "total", (json_int_t)m.total, "base", (json_int_t)m.base,
                  "delta", (json_int_t)m.delta, "recent", (json_int_t)m.recent);
    json_object_set_new(got, "latest", m.has_times ? json_integer(m.latest) : json_null());
    json_object_set_new(got, "earliest", m.has_times ? json_integer(m.earliest) : json_null());
    return same_json(p, "metrics", got, expect);
}

bool play_activity(play *p, json_t *args, json_t *expect)
{
    uint8_t id[16];
    rqc_activity days[30];
    size_t n = 0;
    const rqc_err rc = rqc_activity_read(p->read, workspace_of(p, args, id),
                                         arg_time(args, "since"), days, 30, &n);
    if (call_failed(p, rc))
        return false;
    json_t *got = json_array();
    for (size_t i = 0; i < n; i++) {
        const time_t at = (time_t)(days[i].day * 86400);
        struct tm tm;
        char date[32];
        strftime(date, sizeof date, "%Y-%m-%d", gmtime_r(&at, &tm));
        json_array_append_new(got, json_pack("{ss sI sI sI}", "date", date, "changes",
                                             (json_int_t)days[i].changes, "deltas",
                                             (json_int_t)days[i].deltas, "bases",
                                             (json_int_t)days[i].bases));
    }
    return same_json(p, "days", got, expect);
}
