// SPDX-License-Identifier: Apache-2.0
// Vectors that write: cascades, constraints, scenarios. What a write did is seen in the records and
// in the stream of changes.
#include "tests/vectors.h"

// ---- Changes ----

static json_t *change_json(const rqc_change *c)
{
    json_t *id = hex_json(c->id);
    json_t *v = json_sprintf("%s %s %s", c->op == 2 ? "delete" : "upsert",
                             rqc_entity_name((rqc_entity)c->entity), json_string_value(id));
    json_decref(id);
    return v;
}

// What changed behind `since`, in order: "upsert TABLE ID", "delete TABLE ID".
static json_t *changes_since(play *p, uint64_t since, const uint8_t *workspace)
{
    rqc_cursor cursor = RQC_CURSOR_INIT(since);
    rqc_changes_list l = RQC_CHANGES_INIT;
    json_t *all = json_array();
    for (int up_to_date = 0; !up_to_date;) {
        const rqc_err rc = rqc_changes(p->read, workspace, &cursor, 3, &l, &up_to_date);
        if (rc != RQC_OK) {
            wrong(p, "changes: %d %s", (int)rc, rqc_read_error(p->read));
            break;
        }
        for (size_t i = 0; i < l.n; i++) {
            if ((l.items[i].op == 1) != (l.items[i].record != NULL))
                wrong(p, "a change of kind %d has %s record", l.items[i].op,
                      l.items[i].record ? "a" : "no");
            json_array_append_new(all, change_json(&l.items[i]));
        }
    }
    rqc_changes_free(&l);
    return all;
}

bool play_changes(play *p, json_t *args, json_t *expect)
{
    static const char *const keys[] = {"changes", NULL};
    uint8_t id[16];
    const bool one = id_of(json_object_get(args, "workspace_id"), id);
    json_t *got = changes_since(p, p->mark, one ? id : NULL);
    p->mark = play_seq(p);
    return same_json(p, "changes", got, json_object_get(expect, "changes")) &&
           only_keys(p, expect, keys);
}

// ---- One record ----

// The record holds the row's values.
static bool same_record(play *p, const rqc_record *r, json_t *row)
{
    const char *name;
    json_t *v;
    bool good = true;
    json_object_foreach(row, name, v)
    {
        const int field = rqc_field_number(rqc_record_entity(r), name);
        good = same_value(p, name, value_json(p, r, field, rqc_field(r, field)), v) && good;
    }
    return good;
}

static const rqc_record *record_of(play *p, const char *table, json_t *id)
{
    uint8_t key[16];
    const rqc_record *r = NULL;
    if (!id_of(id, key))
        return NULL;
    const rqc_err rc = rqc_get(p->read, (rqc_entity)rqc_entity_number(table), key, &r);
    if (rc != RQC_OK && rc != RQC_NOT_FOUND)
        wrong(p, "%s: %d %s", table, (int)rc, rqc_read_error(p->read));
    return r;
}

bool play_get(play *p, json_t *args, json_t *expect)
{
    static const char *const keys[] = {"row", NULL};
    const rqc_record *r = record_of(p, text_at(args, "table"), json_object_get(args, "id"));
    json_t *want = json_object_get(expect, "row");
    if (!only_keys(p, expect, keys))
        return false;
    if (!r || json_is_null(want))
        return same_json(p, "row", r ? json_object() : json_null(), want);
    return same_record(p, r, want);
}

// ---- Cascades ----

static bool contains(json_t *strings, const char *text)
{
    size_t i;
    json_t *s;
    json_array_foreach(strings, i, s)
    {
        if (strcmp(json_string_value(s), text) == 0)
            return true;
    }
    return false;
}

// Of the rows that were there before exactly those of `removed` are gone: from the file, and from
// the view where the table is mirrored.
static bool gone_and_left(play *p, json_t *removed)
{
    const char *table;
    json_t *rows, *row;
    size_t i;
    json_object_foreach(json_object_get(p->v, "tables"), table, rows)
    {
        json_t *ids = json_object_get(removed, table);
        size_t found = 0;
        json_array_foreach(rows, i, row)
        {
            const char *id = text_at(row, "id");
            const bool gone = contains(ids, id);
            found += gone;
            if (foreign_count(p, table, id) != !gone)
                wrong(p, "%s %s is %s in the file", table, id, gone ? "still" : "not");
            if (rqc_entity_number(table) &&
                !record_of(p, table, json_object_get(row, "id")) != gone)
                wrong(p, "%s %s is %s in the view", table, id, gone ? "still" : "not");
        }
        if (found != json_array_size(ids))
            wrong(p, "%s: of %d ids %d are rows", table, (int)json_array_size(ids), (int)found);
    }
    return p->fault[0] == '\0';
}

// The column and table that a row's owner is named by, NULL where a missing owner changes nothing:
// requests and files live in the workspace that they name, whether or not it has a row.
static const char *owner_column(const char *table, const char **ret_owner)
{
    const int entity = rqc_entity_number(table);
    if (entity < RQC_HTTP_HEADER)
        return NULL;
    *ret_owner = entity > RQC_HTTP_RESPONSE ? "http_response" : "http";
    return entity > RQC_HTTP_RESPONSE ? "response_id" : "http_id";
}

static void add_once(json_t *strings, const char *what, const char *table, const char *id)
{
    json_t *s = json_sprintf("%s %s %s", what, table, id);
    if (!contains(strings, json_string_value(s)))
        json_array_append(strings, s);
    json_decref(s);
}

// Without foreign keys rows are left without an owner. They move, and what they own moves with
// them; the stream of changes tells so. `stream` has the deletes already.
static void add_orphans(play *p, json_t *stream)
{
    const char *table, *owner;
    json_t *rows, *row;
    size_t i;
    json_object_foreach(json_object_get(p->v, "tables"), table, rows)
    {
        const char *column = owner_column(table, &owner);
        for (i = 0; column && (row = json_array_get(rows, i)); i++) {
            char gone[128], moved[128], self[128];
            const char *owner_id = text_at(row, column);
            snprintf(gone, sizeof gone, "delete %s %s", owner, owner_id);
            snprintf(moved, sizeof moved, "upsert %s %s", owner, owner_id);
            snprintf(self, sizeof self, "delete %s %s", table, text_at(row, "id"));
            if (!contains(stream, self) && (contains(stream, gone) || contains(stream, moved)))
                add_once(stream, "upsert", table, text_at(row, "id"));
        }
    }
}

// The stream of changes that `removed` and `changed` stand for, sorted.
static json_t *stream_of(play *p, json_t *removed, json_t *changed)
{
    json_t *all = json_array(), *ids, *id, *cell;
    const char *table;
    size_t i;
    json_object_foreach(removed, table, ids)
    {
        json_array_foreach(ids, i, id)
        {
            if (rqc_entity_number(table))
                add_once(all, "delete", table, json_string_value(id));
        }
    }
    json_array_foreach(changed, i, cell)
        add_once(all, "upsert", text_at(cell, "table"), text_at(cell, "id"));
    // Requests own responses, and these their headers: three rounds reach all.
    for (int round = 0; round < 3 && json_is_false(json_object_get(p->args, "foreign_keys"));
         round++)
        add_orphans(p, all);
    json_t *list = sorted(all);
    json_decref(all);
    return list;
}

static bool cells_changed(play *p, json_t *changed)
{
    json_t *cell;
    size_t i;
    bool good = true;
    json_array_foreach(changed, i, cell)
    {
        const char *table = text_at(cell, "table");
        const rqc_record *r = record_of(p, table, json_object_get(cell, "id"));
        json_t *row = json_pack("{sO}", text_at(cell, "column"), json_object_get(cell, "value"));
        good = (r ? same_record(p, r, row) : wrong(p, "%s has no changed row", table)) && good;
        json_decref(row);
    }
    return good;
}

bool play_cascade(play *p, json_t *expect)
{
    static const char *const keys[] = {"removed", "changed", NULL};
    json_t *del = json_object_get(p->args, "delete"), *removed = json_object_get(expect, "removed");
    json_t *changed = json_object_get(expect, "changed");
    json_t *stream = stream_of(p, removed, changed);
    const char *table = text_at(del, "table");
    uint8_t id[16];
    uint64_t deleted = 0, mirrored = 0;
    size_t i;
    json_t *s;
    json_array_foreach(stream, i, s) mirrored += strncmp(json_string_value(s), "delete", 6) == 0;
    if (!p->own)
        foreign_delete(p, table, text_at(del, "id"));
    else if (id_of(json_object_get(del, "id"), id) &&
             own_delete(p, rqc_entity_number(table), id, &deleted) && deleted != mirrored)
        wrong(p, "%d rows deleted, expected %d", (int)deleted, (int)mirrored);
    if (play_sync(p) && only_keys(p, expect, keys)) {
        gone_and_left(p, removed);
        cells_changed(p, changed);
        json_t *got = changes_since(p, p->mark, NULL);
        same_json(p, "changes", sorted(got), stream);
        json_decref(got);
    }
    json_decref(stream);
    return p->fault[0] == '\0';
}

// ---- Constraints ----

static uint64_t unmirrored(play *p)
{
    rqc_stats stats = {.size = sizeof stats};
    const rqc_err rc = rqc_stats_read(p->db, &stats, NULL);
    if (rc != RQC_OK)
        wrong(p, "stats: %d", (int)rc);
    return stats.unmirrored;
}

// A row that was accepted is seen as it is, or counted where its id is none; a refused one left no
// trace.
static bool seen(play *p, const char *table, json_t *row, bool accepted, uint64_t unmirrored_before)
{
    uint8_t id[16];
    const bool mirrored = rqc_entity_number(table) > 0;
    const bool has_id = id_of(json_object_get(row, "id"), id);
    json_t *want = json_array();
    if (accepted && mirrored && has_id)
        json_array_append_new(want, json_sprintf("upsert %s %s", table, text_at(row, "id")));
    bool good = same_json(p, "changes", changes_since(p, p->mark, NULL), want);
    json_decref(want);
    if (unmirrored(p) - unmirrored_before != (accepted && mirrored && !has_id))
        good = wrong(p, "%d rows more that are not mirrored",
                     (int)(unmirrored(p) - unmirrored_before));
    if (accepted && mirrored && has_id) {
        const rqc_record *r = record_of(p, table, json_object_get(row, "id"));
        good = (r ? same_record(p, r, row) : wrong(p, "the row is not in the view")) && good;
    }
    return good;
}

// The same row with rqc_put: the library must refuse what SQLite refuses, and nothing else.
static bool put_likewise(play *p, const char *table, json_t *row, bool accept)
{
    uint8_t id[16];
    const int entity = rqc_entity_number(table);
    if (entity == 0 || !id_of(json_object_get(row, "id"), id))
        return true;
    if (accept)
        foreign_delete(p, table, text_at(row, "id"));
    if (!play_sync(p))
        return false;
    p->mark = play_seq(p);
    const uint64_t before = unmirrored(p);
    const rqc_err rc = own_insert(p, entity, row);
    // What it can see without the database is invalid, the rest is a constraint.
    if (accept ? rc != RQC_OK : rc != RQC_INVALID && rc != RQC_CONSTRAINT)
        return wrong(p, "put: %d %s", (int)rc, rqc_err_text(rc));
    return play_sync(p) && seen(p, table, row, accept, before);
}

bool play_insert(play *p, json_t *expect)
{
    static const char *const keys[] = {"result", NULL};
    json_t *insert = json_object_get(p->v, "insert"), *row = json_object_get(insert, "row");
    const char *table = text_at(insert, "table"), *want = text_at(expect, "result");
    const bool accept = strcmp(want, "accept") == 0;
    if (!only_keys(p, expect, keys) || (!accept && strcmp(want, "reject") != 0))
        return wrong(p, "result is \"%s\"", want);
    const uint64_t before = unmirrored(p);
    const int rc = foreign_insert(p, table, row);
    if (rc != (accept ? SQLITE_OK : SQLITE_CONSTRAINT))
        return wrong(p, "SQLite says %d, expected is %s", rc, want);
    return play_sync(p) && seen(p, table, row, accept, before) &&
           put_likewise(p, table, row, accept);
}

// ---- Scenarios ----

// The row that a step writes is in the stream of changes, whatever its times say.
static bool write_step(play *p, const char *what, json_t *step)
{
    const char *table = text_at(step, "table");
    json_t *row = json_object_get(step, "row");
    const char *id = row ? text_at(row, "id") : text_at(step, "id");
    const uint64_t before = play_seq(p);
    if (strcmp(what, "insert") == 0) {
        if (foreign_insert(p, table, row) != SQLITE_OK)
            wrong(p, "insert: %s", sqlite3_errmsg(p->foreign));
    } else if (strcmp(what, "update") == 0) {
        foreign_update(p, table, id, json_object_get(step, "set"));
    } else if (strcmp(what, "delete") == 0) {
        foreign_delete(p, table, id);
    } else {
        wrong(p, "a step does \"%s\"", what);
    }
    if (p->fault[0] || !play_sync(p))
        return false;
    char text[128];
    snprintf(text, sizeof text, "%s %s %s", strcmp(what, "delete") == 0 ? "delete" : "upsert",
             table, id);
    json_t *changes = changes_since(p, before, NULL);
    if (rqc_entity_number(table) && strlen(id) == 32 && !contains(changes, text))
        wrong(p, "no change says \"%s\"", text);
    json_decref(changes);
    return p->fault[0] == '\0';
}

bool play_scenario(play *p)
{
    json_t *steps = json_object_get(p->v, "steps"), *step;
    size_t i, queries = 0;
    json_array_foreach(steps, i, step)
    {
        const char *what = text_at(step, "do");
        bool good;
        if (strcmp(what, "query") == 0) {
            play_fn *fn = query_named(text_at(step, "op"));
            good = fn ? fn(p, json_object_get(step, "args"), json_object_get(step, "expect"))
                      : wrong(p, "unknown query \"%s\"", text_at(step, "op"));
            queries++;
        } else {
            good = write_step(p, what, step);
        }
        if (!good)
            return wrong_in(p, "step %d", (int)i + 1);
    }
    return queries > 0 || wrong(p, "no step asks anything");
}
