// SPDX-License-Identifier: Apache-2.0
// The world in which stories are told: a database whose every row is known, templates of it, and
// what must hold whatever failed.
#ifndef RQC_TESTS_FAULTS_MODEL_H
#define RQC_TESTS_FAULTS_MODEL_H

#include "tests/fault_check.h"
#include "tests/faults.h"

#define WORLD_ROWS 4096u // numbers of requests that a story may use

typedef enum world_state {
    WORLD_NONE,    // was never written
    WORLD_THERE,   // acknowledged
    WORLD_REFUSED, // the commit failed: nothing of it may be there
    WORLD_GONE,    // its delete was acknowledged
    WORLD_EITHER   // there or not, but whole
} world_state;

// Templates, made once; a case begins with a copy of one.
typedef enum world_start {
    START_EMPTY,   // no database
    START_CLEAN,   // closed cleanly, with its view, a backup and rows after the backup
    START_NO_VIEW, // the same, the view's files removed
    START_KILLED,  // as its owner's death leaves it: rows in the -wal, the view not closed
    START_FULL,    // the view's map, of the smallest size, is nearly full
    START_SHORT,   // closed cleanly; little history is kept
    START_COUNT
} world_start;

typedef struct world {
    char root[FAULT_PATH]; // the test's folder in shared memory
    char home[FAULT_PATH]; // of the database and its view; always the same, for a moved database
                           // begins a new term
    char path[FAULT_PATH], copy[FAULT_PATH];
    rqc_options options;
    rqc_db *db;    // NULL: closed
    uint64_t next; // number of the next request
    uint8_t state[WORLD_ROWS];
    uint64_t patched; // number that the first request's url was last set to, 0: never
    // The last commit that was refused would have written `doubt` and deleted `doubt_gone`; 0:
    // none.
    uint64_t doubt, doubt_gone;
    rqc_position start; // of the template
    bool view_differs;  // on purpose, until the story has put it right
    // What failed: set by world_failed.
    const char *what;
    rqc_err code;
    char text[512];
} world;

typedef struct story {
    const char *name;
    world_start start;
    bool opens;                // the owner opens the database before the faults begin
    bool new_epoch;            // it may begin another term or history
    void (*prepare)(world *w); // NULL: nothing else
    rqc_err (*tell)(world *w); // with faults; may be called again after a failure
    bool (*after)(world *w, bool told, check_text *why); // what only this one knows; NULL: nothing
    uint64_t few;          // so few events of a kind are all tried; 0: as few as in any story
    void (*end)(world *w); // gives up what it has beside the database; NULL: nothing
    uint32_t also;         // bits: rqc_err codes that are a clear answer here, whatever failed
} story;

static void world_restore(world *w, world_start start);

#define OLD      20u // requests of a template that its backup has
#define ALL      24u // and all of them
#define URL      400u
#define BODY     40000u // a large value
#define BODY_AT  4u     // each so-many-th request has one
#define DELTA_AT 3u

#define SHORT_RETAIN 16u // positions that START_SHORT keeps

static const uint8_t home_id[16] = {9};

enum { ID_HTTP = 1, ID_HEADER, ID_BODY, ID_RESPONSE, ID_RESPONSE_HEADER, ID_DELTA, ID_OVERRIDE };

static void make_id(uint8_t id[16], uint8_t kind, uint64_t n)
{
    memset(id, 0, 16);
    id[0] = kind;
    for (int i = 0; i < 8; i++)
        id[8 + i] = (uint8_t)(n >> (56 - 8 * i));
}

static rqc_err world_failed(world *w, const char *what, rqc_err code, const char *text)
{
    w->what = what;
    w->code = code;
    snprintf(w->text, sizeof w->text, "%s", text);
    return code;
}

static rqc_err world_open(world *w)
{
    rqc_error err = {.text = ""};
    const rqc_err rc = rqc_open(w->path, &w->options, &w->db, &err);
    return rc == RQC_OK ? RQC_OK : world_failed(w, "rqc_open", rc, err.text);
}

// ---- Writes -------------------------------------------------------------------------------------

static rqc_err put_delta(rqc_txn *t, uint64_t n, const char *name)
{
    rqc_value http[RQC_FIELD_MAX] = {{.type = RQC_ABSENT}},
              header[RQC_FIELD_MAX] = {{.type = RQC_ABSENT}};
    uint8_t id[16], base[16], child[16], parent[16];
    make_id(base, ID_HTTP, n);
    make_id(id, ID_DELTA, n);
    http[RQC_HTTP_WORKSPACE_ID] = rqc_id(home_id);
    http[RQC_HTTP_NAME] = rqc_text(name);
    http[RQC_HTTP_URL] = rqc_text("");
    http[RQC_HTTP_METHOD] = rqc_text("GET");
    http[RQC_HTTP_PARENT_HTTP_ID] = rqc_id(base);
    http[RQC_HTTP_IS_DELTA] = rqc_bool(1);
    http[RQC_HTTP_DELTA_NAME] = rqc_text("delta");
    rqc_err rc = rqc_put(t, RQC_HTTP, id, http);
    make_id(child, ID_OVERRIDE, n);
    make_id(parent, ID_HEADER, n);
    header[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(id);
    header[RQC_HTTP_HEADER_HEADER_KEY] = rqc_text("n");
    header[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_text("");
    header[RQC_HTTP_HEADER_PARENT_HEADER_ID] = rqc_id(parent);
    header[RQC_HTTP_HEADER_IS_DELTA] = rqc_bool(1);
    header[RQC_HTTP_HEADER_DELTA_HEADER_VALUE] = rqc_text("other");
    return rc == RQC_OK ? rqc_put(t, RQC_HTTP_HEADER, child, header) : rc;
}

static rqc_err put_request(rqc_txn *t, uint64_t n)
{
    rqc_value http[RQC_FIELD_MAX] = {{.type = RQC_ABSENT}},
              header[RQC_FIELD_MAX] = {{.type = RQC_ABSENT}},
              raw[RQC_FIELD_MAX] = {{.type = RQC_ABSENT}},
              answer[RQC_FIELD_MAX] = {{.type = RQC_ABSENT}},
              home[RQC_FIELD_MAX] = {{.type = RQC_ABSENT}};
    uint8_t id[16], child[16];
    char name[32];
    snprintf(name, sizeof name, "%" PRIu64, n);
    home[RQC_WORKSPACES_NAME] = rqc_text("home");
    rqc_err rc = rqc_add(t, RQC_WORKSPACES, home_id, home);
    make_id(id, ID_HTTP, n);
    http[RQC_HTTP_WORKSPACE_ID] = rqc_id(home_id);
    http[RQC_HTTP_NAME] = rqc_text(name);
    http[RQC_HTTP_URL] = rqc_textn(work_text(n), URL);
    http[RQC_HTTP_METHOD] = rqc_text("GET");
    http[RQC_HTTP_UPDATED_AT] = rqc_int((int64_t)n);
    if (rc == RQC_OK)
        rc = rqc_put(t, RQC_HTTP, id, http);
    make_id(child, ID_HEADER, n);
    header[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(id);
    header[RQC_HTTP_HEADER_HEADER_KEY] = rqc_text("n");
    header[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_text(name);
    if (rc == RQC_OK)
        rc = rqc_put(t, RQC_HTTP_HEADER, child, header);
    make_id(child, ID_RESPONSE, n);
    answer[RQC_HTTP_RESPONSE_HTTP_ID] = rqc_id(id);
    answer[RQC_HTTP_RESPONSE_STATUS] = rqc_int(200);
    answer[RQC_HTTP_RESPONSE_BODY] = rqc_bytes(name, (uint32_t)strlen(name));
    answer[RQC_HTTP_RESPONSE_TIME] = rqc_int((int64_t)n);
    answer[RQC_HTTP_RESPONSE_DURATION] = rqc_int(1);
    answer[RQC_HTTP_RESPONSE_SIZE] = rqc_int(1);
    if (rc == RQC_OK)
        rc = rqc_put(t, RQC_HTTP_RESPONSE, child, answer);
    if (rc == RQC_OK && n % BODY_AT == 0) {
        make_id(child, ID_BODY, n);
        raw[RQC_HTTP_BODY_RAW_HTTP_ID] = rqc_id(id);
        raw[RQC_HTTP_BODY_RAW_RAW_DATA] = rqc_bytes(work_text(n), BODY);
        rc = rqc_put(t, RQC_HTTP_BODY_RAW, child, raw);
    }
    return rc == RQC_OK && n % DELTA_AT == 0 ? put_delta(t, n, name) : rc;
}

// The url of the first request becomes the text of number n.
static rqc_err patch_first(rqc_txn *t, uint64_t n)
{
    rqc_value http[RQC_FIELD_MAX] = {{.type = RQC_ABSENT}};
    uint8_t id[16];
    make_id(id, ID_HTTP, 1);
    http[RQC_HTTP_URL] = rqc_textn(work_text(n), URL);
    return rqc_patch(t, RQC_HTTP, id, http, 0);
}

static uint64_t take_number(world *w)
{
    if (w->next + 1 >= WORLD_ROWS)
        die("no more numbers");
    return w->next++;
}

// One transaction: `more` new requests; with `gone` that one is deleted, and the first is patched.
static rqc_err commit(world *w, rqc_txn *t, unsigned more, uint64_t gone, const char *key)
{
    const uint64_t from = w->next;
    uint8_t id[16];
    rqc_result res;
    rqc_err rc = RQC_OK;
    for (unsigned i = 0; i < more && rc == RQC_OK; i++)
        rc = put_request(t, take_number(w));
    if (rc == RQC_OK && gone) {
        make_id(id, ID_HTTP, gone);
        rc = rqc_delete(t, RQC_HTTP, id, 0);
    }
    if (rc == RQC_OK && gone)
        rc = patch_first(t, from);
    if (rc == RQC_OK && key)
        rc = rqc_txn_key(t, key, strlen(key));
    if (rc != RQC_OK)
        return world_failed(w, "rqc_put", rc, rqc_txn_error(t));
    rc = rqc_commit(t, &res);
    for (uint64_t n = from; n < w->next; n++)
        w->state[n] = rc == RQC_OK ? WORLD_THERE : WORLD_REFUSED;
    w->doubt = rc == RQC_OK ? 0 : from;
    w->doubt_gone = rc == RQC_OK ? 0 : gone;
    if (rc != RQC_OK)
        return world_failed(w, "rqc_commit", rc, rqc_txn_error(t));
    if (gone) {
        w->state[gone] = WORLD_GONE;
        w->patched = from;
    }
    return RQC_OK;
}

static rqc_err tell_close(world *w)
{
    rqc_close(w->db);
    w->db = NULL;
    return RQC_OK;
}

__attribute__((format(printf, 2, 3))) static void sql(sqlite3 *db, const char *format, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
        die("%s: %s", text, sqlite3_errmsg(db));
}

static void hex_id(char ret[33], uint8_t kind, uint64_t n)
{
    uint8_t id[16];
    make_id(id, kind, n);
    for (int i = 0; i < 16; i++)
        snprintf(ret + 2 * i, 3, "%02x", id[i]);
}

// A program that knows nothing of the library, and waits for no disk.
static void write_foreign(world *w)
{
    sqlite3 *db = work_sql_open(w->path);
    char home[33], id[33], child[33];
    const uint64_t n = take_number(w);
    for (int i = 0; i < 16; i++)
        snprintf(home + 2 * i, 3, "%02x", home_id[i]);
    hex_id(id, ID_HTTP, n);
    hex_id(child, ID_HEADER, n);
    sql(db, "PRAGMA synchronous=OFF");
    sql(db, "PRAGMA wal_autocheckpoint=0");
    sql(db, "PRAGMA foreign_keys=ON");
    sql(db, "BEGIN IMMEDIATE");
    sql(db,
        "INSERT INTO http (id, workspace_id, name, url, method, updated_at)"
        " VALUES (x'%s', x'%s', '%" PRIu64 "', 'http://foreign', 'PUT', %" PRIu64 ")",
        id, home, n, n);
    sql(db,
        "INSERT INTO http_header (id, http_id, header_key, header_value)"
        " VALUES (x'%s', x'%s', 'n', '%" PRIu64 "')",
        child, id, n);
    hex_id(id, ID_HTTP, ALL);
    sql(db, "DELETE FROM http WHERE id = x'%s'", id);
    sql(db, "COMMIT");
    sqlite3_close(db);
    w->state[n] = WORLD_THERE;
    w->state[ALL] = WORLD_GONE;
}

static rqc_err tell_backup(world *w)
{
    rqc_error err = {.text = ""};
    rqc_copied copied;
    const rqc_err rc = rqc_backup(w->db, w->copy, 1, NULL, NULL, &copied, &err);
    return rc == RQC_OK ? RQC_OK : world_failed(w, "rqc_backup", rc, err.text);
}

// ---- What must hold -----------------------------------------------------------------------------

static int64_t sql_count(sqlite3 *db, const char *table, const char *column, uint8_t kind,
                         uint64_t n)
{
    char text[256], id[33];
    sqlite3_stmt *q = NULL;
    int64_t count = -1;
    hex_id(id, kind, n);
    snprintf(text, sizeof text,
             "SELECT count(*) FROM %s WHERE id = x'%s' AND CAST(%s AS TEXT) = '%" PRIu64 "'", table,
             id, column, n);
    if (sqlite3_prepare_v2(db, text, -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW)
        count = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return count;
}

static bool row_whole(const world *w, sqlite3 *db, uint64_t n, check_text *why)
{
    static const char *const expected[] = {"nothing", "written", "refused", "deleted", "either"};
    const int64_t http = sql_count(db, "http", "name", ID_HTTP, n),
                  header = sql_count(db, "http_header", "header_value", ID_HEADER, n);
    const world_state s = (world_state)w->state[n];
    const int64_t want = s == WORLD_THERE ? 1 : s == WORLD_EITHER ? http : 0;
    return (http == want && header == want) || check_no(why,
                                                        "request %" PRIu64 " was %s: %" PRId64
                                                        " rows and %" PRId64 " headers are there",
                                                        n, expected[s], http, header);
}

// What the owner's death would leave now: all that was acknowledged, and of what was refused
// nothing or all.
static bool first_whole(const world *w, sqlite3 *db, check_text *why)
{
    char id[33], text[128];
    sqlite3_stmt *q = NULL;
    hex_id(id, ID_HTTP, 1);
    snprintf(text, sizeof text, "SELECT url FROM http WHERE id = x'%s'", id);
    const char *want = work_text(w->patched ? w->patched : 1);
    const bool good = sqlite3_prepare_v2(db, text, -1, &q, NULL) == SQLITE_OK &&
                      sqlite3_step(q) == SQLITE_ROW && sqlite3_column_bytes(q, 0) == (int)URL &&
                      memcmp(sqlite3_column_blob(q, 0), want, URL) == 0;
    sqlite3_finalize(q);
    return good || check_no(why, "the first request has another url than was acknowledged");
}

static bool world_whole(world *w, check_text *why)
{
    rqc_error err = {.text = ""};
    rqc_stats s = {.size = sizeof s};
    sqlite3 *db = work_sql_open(w->path);
    bool good = true;
    for (uint64_t n = 1; n < w->next && good; n++)
        good = row_whole(w, db, n, why);
    if (good && w->state[1] == WORLD_THERE)
        good = first_whole(w, db, why);
    sqlite3_close(db);
    if (!good || !w->db || w->view_differs)
        return good;
    if (rqc_stats_read(w->db, &s, &err) != RQC_OK)
        return check_no(why, "stats: %.150s", err.text);
    if (s.view_lagging || s.position.seq != s.head)
        return check_no(why, "the view is at %" PRIu64 " of %" PRIu64, s.position.seq, s.head);
    return check_verify(w->db, why) && check_sql(w->db, w->path, why);
}

// ---- Templates ----------------------------------------------------------------------------------

static const char *template_of(const world *w, world_start start, char ret[FAULT_PATH])
{
    return fault_path(ret, "%s/template-%d", w->root, (int)start);
}

static void keep_template(world *w, world_start start)
{
    char to[FAULT_PATH];
    if (!fault_copy_tree(w->home, template_of(w, start, to)))
        die("%s: cannot be copied", w->home);
}

static void fresh_home(world *w)
{
    fault_remove(w->home);
    if (mkdir(w->home, 0700) != 0 || mkdir(fault_path(w->text, "%s/view", w->home), 0700) != 0)
        die("%s: %s", w->home, strerror(errno));
    memset(w->state, 0, sizeof w->state);
    w->next = 1;
    w->patched = w->doubt = w->doubt_gone = 0;
}

static void fill(world *w, unsigned n)
{
    rqc_txn *t = NULL;
    if (rqc_txn_new(w->db, &t, NULL) != RQC_OK || commit(w, t, n, 0, NULL) != RQC_OK)
        die("fill: %s", w->text);
    rqc_txn_free(t);
}

static void must_open(world *w)
{
    if (world_open(w) != RQC_OK)
        die("open: %s", w->text);
}

static void make_clean(world *w)
{
    fresh_home(w);
    must_open(w);
    fill(w, OLD);
    if (tell_backup(w) != RQC_OK)
        die("%s", w->text);
    fill(w, ALL - OLD);
    w->start = rqc_position_now(w->db);
    (void)tell_close(w);
    keep_template(w, START_CLEAN);
    char view[FAULT_PATH];
    fault_remove(fault_path(view, "%s/view", w->home));
    if (mkdir(view, 0700) != 0)
        die("%s: %s", view, strerror(errno));
    keep_template(w, START_NO_VIEW);
}

static void make_killed(world *w)
{
    world_restore(w, START_CLEAN);
    must_open(w);
    // So that the view is behind the database, too, when it is opened.
    write_foreign(w);
    if (w->next != ALL + 2)
        die("another number");
    keep_template(w, START_KILLED);
    (void)tell_close(w);
}

static void make_full(world *w)
{
    rqc_error err = {.text = ""};
    rqc_stats s = {.size = sizeof s};
    fresh_home(w);
    w->options.view_map_bytes = 1 << 20;
    must_open(w);
    fill(w, ALL);
    do {
        fill(w, 20);
        if (rqc_stats_read(w->db, &s, &err) != RQC_OK)
            die("%s", err.text);
    } while (s.view_bytes < 700 << 10);
    if (s.view_map_bytes != 1 << 20)
        die("the map grew to %" PRIu64, s.view_map_bytes);
    (void)tell_close(w);
    keep_template(w, START_FULL);
    w->options.view_map_bytes = 0;
    tap_note("%" PRIu64 " requests nearly fill the smallest map", w->next - 1);
}

static void make_short(world *w)
{
    fresh_home(w);
    w->options.retain = SHORT_RETAIN;
    must_open(w);
    w->options.retain = 0;
    fill(w, ALL);
    (void)tell_close(w);
    keep_template(w, START_SHORT);
}

static uint64_t full_next; // number behind the requests of START_FULL

static void world_begin(world *w, const char *folder)
{
    memset(w, 0, sizeof *w);
    if (!strstr(folder, "/reqcast-test-"))
        bail("'%s' is no folder of a test", folder);
    fault_path(w->root, "%s", folder);
    fault_path(w->home, "%s/home", w->root);
    fault_path(w->path, "%s/t.db", w->home);
    fault_path(w->copy, "%s/copy.db", w->home);
    w->options = (rqc_options)RQC_OPTIONS_INIT;
    w->options.create = 1;
    w->options.log = fault_log;
    static char view[FAULT_PATH];
    w->options.view_dir = fault_path(view, "%s/view", w->home);
    fresh_home(w);
    keep_template(w, START_EMPTY);
    make_clean(w);
    make_killed(w);
    make_full(w);
    full_next = w->next;
    make_short(w);
}

static void world_restore(world *w, world_start start)
{
    char from[FAULT_PATH];
    if (!fault_copy_tree(template_of(w, start, from), w->home))
        die("%s: cannot be copied", from);
    memset(w->state, 0, sizeof w->state);
    w->next = start == START_EMPTY ? 1 : start == START_FULL ? full_next : ALL + 1;
    memset(w->state + 1, WORLD_THERE, (size_t)w->next - 1);
    w->patched = w->doubt = w->doubt_gone = 0;
    w->view_differs = false;
    if (start == START_KILLED) {
        w->state[w->next++] = WORLD_THERE;
        w->state[ALL] = WORLD_GONE;
    }
}

// A change of a request without a trace in the log: nothing tells the view.
static inline void wipe_trace(const world *w)
{
    sqlite3 *db = work_sql_open(w->path);
    char id[33];
    hex_id(id, ID_HTTP, 2);
    sql(db, "PRAGMA synchronous=OFF");
    sql(db,
        "BEGIN; UPDATE http SET description = 'hidden' WHERE id = x'%s';"
        "DELETE FROM change_log WHERE seq = (SELECT max(seq) FROM change_log); COMMIT",
        id);
    sqlite3_close(db);
}

#endif
