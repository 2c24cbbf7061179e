// SPDX-License-Identifier: Apache-2.0
// The database of a vector, and writing to it: as any program with SQLite does, and with rqc_
// calls.
#include "tests/vectors.h"

#include <sys/stat.h>

static void begin(play *p)
{
    rqc_error err = {RQC_OK, ""};
    if (rqc_read_new(p->db, &p->read, &err) != RQC_OK || rqc_read_begin(p->read) != RQC_OK)
        bail("no session: %s", err.text);
}

static void open_db(play *p, const char *views)
{
    rqc_options o = RQC_OPTIONS_INIT;
    rqc_error err = {RQC_OK, ""};
    o.create = 1;
    o.view_dir = views;
    o.view_map_bytes = 64 << 20;
    mkdir(views, 0750);
    const rqc_err rc = rqc_open(p->path, &o, &p->db, &err);
    if (rc != RQC_OK)
        bail("cannot open %s: %d %s", p->path, (int)rc, err.text);
    begin(p);
}

static void close_db(play *p)
{
    rqc_read_free(p->read);
    rqc_close(p->db);
    p->read = NULL;
    p->db = NULL;
}

// An empty database, made once: half of the time of a vector would be its schema.
static char *empty;
static size_t empty_len;

static void make_empty(play *p)
{
    open_db(p, p->views);
    close_db(p);
    FILE *f = fopen(p->path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0)
        bail("%s: cannot be read", p->path);
    empty_len = (size_t)ftell(f);
    rewind(f);
    empty = malloc(empty_len);
    if (!empty || fread(empty, 1, empty_len, f) != empty_len)
        bail("%s: cannot be read", p->path);
    fclose(f);
}

void play_end(void)
{
    free(empty);
    empty = NULL;
}

void play_open(play *p, const char *folder)
{
    snprintf(p->path, sizeof p->path, "%s/db", folder);
    snprintf(p->views, sizeof p->views, "%s/views", folder);
    if (empty) {
        FILE *f = fopen(p->path, "wb");
        if (!f || fwrite(empty, 1, empty_len, f) != empty_len || fclose(f) != 0)
            bail("%s: cannot be written", p->path);
    } else {
        make_empty(p);
    }
    open_db(p, p->views);
    if (sqlite3_open(p->path, &p->foreign) != SQLITE_OK)
        bail("%s: %s", p->path, sqlite3_errmsg(p->foreign));
    sqlite3_busy_timeout(p->foreign, 10000);
    sqlite3_exec(p->foreign, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
}

void play_reopen(play *p)
{
    char anew[sizeof p->views + 8];
    snprintf(anew, sizeof anew, "%s.anew", p->views);
    close_db(p);
    open_db(p, anew);
}

void play_close(play *p)
{
    sqlite3_close(p->foreign);
    close_db(p);
}

bool play_sync(play *p)
{
    rqc_error err = {RQC_OK, ""};
    const rqc_err rc = rqc_sync(p->db, &err);
    rqc_read_end(p->read);
    if (rc != RQC_OK || rqc_read_begin(p->read) != RQC_OK)
        return wrong(p, "sync: %d %s%s", (int)rc, err.text, rqc_read_error(p->read));
    return true;
}

bool play_verify(play *p)
{
    rqc_verified done;
    rqc_error err = {RQC_OK, ""};
    const rqc_err rc = rqc_verify(p->db, 0, NULL, NULL, &done, &err);
    if (rc != RQC_OK)
        return wrong(p, "verify: %d %s", (int)rc, err.text);
    if (done.differences > 0)
        return wrong(p, "verify: %d rows of the view differ", (int)done.differences);
    return true;
}

uint64_t play_seq(const play *p)
{
    return rqc_read_position(p->read).seq;
}

// ---- Foreign writes ----

static const char *type_of(play *p, const char *table, const char *column)
{
    const char *type = NULL;
    if (sqlite3_table_column_metadata(p->foreign, NULL, table, column, &type, NULL, NULL, NULL,
                                      NULL) != SQLITE_OK)
        return "";
    return type;
}

static void bind(play *p, sqlite3_stmt *st, int at, const char *type, json_t *v)
{
    if (json_is_null(v)) {
        sqlite3_bind_null(st, at);
    } else if (json_is_boolean(v)) {
        sqlite3_bind_int(st, at, json_is_true(v));
    } else if (json_is_integer(v)) {
        sqlite3_bind_int64(st, at, json_integer_value(v));
    } else if (json_is_real(v)) {
        sqlite3_bind_double(st, at, json_real_value(v));
    } else if (json_is_string(v) && strcmp(type, "BLOB") != 0) {
        sqlite3_bind_text(st, at, json_string_value(v), (int)json_string_length(v),
                          SQLITE_TRANSIENT);
    } else {
        const bytes b = bytes_of(v);
        if (!b.p)
            wrong(p, "a value of type %s is no hex digits", type);
        sqlite3_bind_blob(st, at, b.p, (int)b.n, SQLITE_TRANSIENT);
        free(b.p);
    }
}

// Runs a statement whose parameters are the row's values in order, and the id behind them.
static int run(play *p, const char *sql, const char *table, json_t *row, const char *id)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(p->foreign, sql, -1, &st, NULL) != SQLITE_OK) {
        wrong(p, "%s: %s", sql, sqlite3_errmsg(p->foreign));
        return SQLITE_ERROR;
    }
    int at = 1;
    const char *name;
    json_t *v;
    json_object_foreach(row, name, v) bind(p, st, at++, type_of(p, table, name), v);
    if (id) {
        json_t *text = json_string(id);
        bind(p, st, at, "BLOB", text);
        json_decref(text);
    }
    sqlite3_step(st);
    const int rc = sqlite3_finalize(st);
    if (rc != SQLITE_OK && rc != SQLITE_CONSTRAINT)
        wrong(p, "%s: %s", sql, sqlite3_errmsg(p->foreign));
    return rc;
}

int foreign_insert(play *p, const char *table, json_t *row)
{
    sqlite3_str *s = sqlite3_str_new(p->foreign);
    sqlite3_str_appendf(s, "INSERT INTO \"%w\" (", table);
    const char *name, *comma = "";
    json_t *v;
    json_object_foreach(row, name, v)
    {
        sqlite3_str_appendf(s, "%s\"%w\"", comma, name);
        comma = ", ";
    }
    sqlite3_str_appendall(s, ") VALUES (");
    for (size_t i = 0; i < json_object_size(row); i++)
        sqlite3_str_appendall(s, i ? ", ?" : "?");
    sqlite3_str_appendall(s, ")");
    char *sql = sqlite3_str_finish(s);
    const int rc = run(p, sql, table, row, NULL);
    sqlite3_free(sql);
    return rc;
}

bool foreign_update(play *p, const char *table, const char *id, json_t *set)
{
    sqlite3_str *s = sqlite3_str_new(p->foreign);
    sqlite3_str_appendf(s, "UPDATE \"%w\" SET ", table);
    const char *name, *comma = "";
    json_t *v;
    json_object_foreach(set, name, v)
    {
        sqlite3_str_appendf(s, "%s\"%w\" = ?", comma, name);
        comma = ", ";
    }
    sqlite3_str_appendall(s, " WHERE id = ?");
    char *sql = sqlite3_str_finish(s);
    const bool good = run(p, sql, table, set, id) == SQLITE_OK && sqlite3_changes(p->foreign) == 1;
    sqlite3_free(sql);
    return good || wrong(p, "the update of %s %s changed no row", table, id);
}

bool foreign_delete(play *p, const char *table, const char *id)
{
    char *sql = sqlite3_mprintf("DELETE FROM \"%w\" WHERE id = ?", table);
    const bool good = run(p, sql, table, NULL, id) == SQLITE_OK && sqlite3_changes(p->foreign) == 1;
    sqlite3_free(sql);
    return good || wrong(p, "the delete of %s %s found no row", table, id);
}

int64_t foreign_count(play *p, const char *table, const char *id)
{
    char *sql = id ? sqlite3_mprintf("SELECT count(*) FROM \"%w\" WHERE id = x'%q'", table, id)
                   : sqlite3_mprintf("SELECT count(*) FROM \"%w\"", table);
    sqlite3_stmt *st = NULL;
    int64_t n = -1;
    if (sqlite3_prepare_v2(p->foreign, sql, -1, &st, NULL) == SQLITE_OK &&
        sqlite3_step(st) == SQLITE_ROW)
        n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_free(sql);
    return n;
}

static void exec(play *p, const char *sql)
{
    if (sqlite3_exec(p->foreign, sql, NULL, NULL, NULL) != SQLITE_OK)
        wrong(p, "%s: %s", sql, sqlite3_errmsg(p->foreign));
}

bool foreign_fill(play *p)
{
    const char *table;
    json_t *rows, *row;
    size_t i;
    exec(p, json_is_false(json_object_get(p->args, "foreign_keys")) ? "PRAGMA foreign_keys = OFF"
                                                                    : "PRAGMA foreign_keys = ON");
    exec(p, "BEGIN; PRAGMA defer_foreign_keys = ON");
    json_object_foreach(json_object_get(p->v, "tables"), table, rows)
    {
        json_array_foreach(rows, i, row)
        {
            if (foreign_insert(p, table, row) != SQLITE_OK)
                wrong(p, "row %d of %s: %s", (int)i, table, sqlite3_errmsg(p->foreign));
        }
    }
    exec(p, "COMMIT");
    if (p->fault[0] || !play_sync(p))
        return false;
    p->mark = play_seq(p);
    return true;
}

// ---- Own writes ----

// What the value is in a column of this type; its bytes live in *ret_bytes.
static rqc_value own_value(const char *type, json_t *v, bytes *ret_bytes)
{
    uint8_t id[16];
    if (json_is_null(v))
        return rqc_null();
    if (json_is_boolean(v))
        return rqc_bool(json_is_true(v));
    if (json_is_number(v) && strcmp(type, "REAL") == 0)
        return rqc_real(json_number_value(v));
    if (json_is_integer(v))
        return rqc_int(json_integer_value(v));
    if (json_is_string(v) && strcmp(type, "BLOB") != 0)
        return rqc_textn(json_string_value(v), (uint32_t)json_string_length(v));
    *ret_bytes = bytes_of(v);
    if (json_is_string(v) && id_of(v, id))
        return rqc_id(ret_bytes->p);
    return rqc_bytes(ret_bytes->p, (uint32_t)ret_bytes->n);
}

rqc_err own_insert(play *p, int entity, json_t *row)
{
    rqc_value values[RQC_FIELD_MAX] = {{0}};
    bytes kept[RQC_FIELD_MAX] = {{0}};
    uint8_t id[16];
    const char *name, *table = rqc_entity_name((rqc_entity)entity);
    json_t *v;
    json_object_foreach(row, name, v)
    {
        const int field = rqc_field_number((rqc_entity)entity, name);
        if (field < 0)
            wrong(p, "%s has no field %s", table, name);
        else
            values[field] = own_value(type_of(p, table, name), v, &kept[field]);
    }
    rqc_txn *t = NULL;
    rqc_err rc = rqc_txn_new(p->db, &t, NULL);
    if (rc == RQC_OK && id_of(json_object_get(row, "id"), id))
        rc = rqc_put(t, (rqc_entity)entity, id, values);
    if (rc == RQC_OK)
        rc = rqc_commit(t, NULL);
    rqc_txn_free(t);
    for (int i = 0; i < RQC_FIELD_MAX; i++)
        free(kept[i].p);
    return rc;
}

bool own_delete(play *p, int entity, const uint8_t id[16], uint64_t *ret_deleted)
{
    rqc_txn *t = NULL;
    rqc_result done = {.deleted = 0};
    rqc_err rc = rqc_txn_new(p->db, &t, NULL);
    if (rc == RQC_OK)
        rc = rqc_delete(t, (rqc_entity)entity, id, 0);
    if (rc == RQC_OK)
        rc = rqc_commit(t, &done);
    if (rc != RQC_OK)
        wrong(p, "delete: %d %s", (int)rc, t ? rqc_txn_error(t) : "");
    rqc_txn_free(t);
    *ret_deleted = done.deleted;
    return rc == RQC_OK;
}
