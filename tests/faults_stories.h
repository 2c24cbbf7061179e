// SPDX-License-Identifier: Apache-2.0
// Stories: what an application does while calls fail.
#ifndef RQC_TESTS_FAULTS_STORY_H
#define RQC_TESTS_FAULTS_STORY_H

#include "tests/faults_upkeep.h"

// ---- Writes -------------------------------------------------------------------------------------

static rqc_err commit_later(world *w, rqc_txn *t)
{
    const uint64_t n = take_number(w);
    rqc_completion c;
    rqc_err rc = put_request(t, n);
    if (rc == RQC_OK)
        rc = rqc_commit_async(t, NULL, NULL);
    if (rc != RQC_OK)
        return world_failed(w, "rqc_commit_async", rc, rqc_txn_error(t));
    while (rqc_completions_next(w->db, &c) != RQC_OK)
        fault_sleep_us(50);
    w->state[n] = c.code == RQC_OK ? WORLD_THERE : WORLD_REFUSED;
    w->doubt = w->doubt_gone = 0;
    return c.code == RQC_OK ? RQC_OK
                            : world_failed(w, "rqc_completions_next", c.code, rqc_txn_error(t));
}

static rqc_err tell_write(world *w)
{
    rqc_error err = {.text = ""};
    rqc_txn *t = NULL;
    char key[32];
    const uint64_t mine = w->next;
    snprintf(key, sizeof key, "key %" PRIu64, mine);
    rqc_err rc = rqc_txn_new(w->db, &t, &err);
    if (rc != RQC_OK)
        return world_failed(w, "rqc_txn_new", rc, err.text);
    rc = commit(w, t, 2, 0, NULL);
    if (rc == RQC_OK)
        rc = commit(w, t, 1, mine, key);
    if (rc == RQC_OK)
        rc = commit_later(w, t);
    rqc_txn_free(t);
    return rc;
}

static rqc_err tell_many(world *w)
{
    rqc_error err = {.text = ""};
    rqc_txn *t = NULL;
    rqc_err rc = rqc_txn_new(w->db, &t, &err);
    if (rc != RQC_OK)
        return world_failed(w, "rqc_txn_new", rc, err.text);
    rc = commit(w, t, 300, 0, NULL);
    rqc_txn_free(t);
    return rc;
}

// Rows that each could be written alone, behind a change.
#define MORE 6u

static rqc_err tell_children(world *w)
{
    rqc_error err = {.text = ""};
    rqc_txn *t = NULL;
    const uint64_t mine = take_number(w);
    rqc_err rc = rqc_txn_new(w->db, &t, &err);
    if (rc != RQC_OK)
        return world_failed(w, "rqc_txn_new", rc, err.text);
    rc = patch_first(t, mine);
    for (uint64_t n = 1; n <= MORE && rc == RQC_OK; n++) {
        rqc_value header[RQC_FIELD_MAX] = {{.type = RQC_ABSENT}};
        uint8_t id[16], child[16];
        make_id(id, ID_HTTP, n);
        make_id(child, ID_HEADER, WORLD_ROWS + n);
        header[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(id);
        header[RQC_HTTP_HEADER_HEADER_KEY] = rqc_text("more");
        header[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_text("");
        rc = rqc_put(t, RQC_HTTP_HEADER, child, header);
    }
    if (rc != RQC_OK)
        (void)world_failed(w, "rqc_put", rc, rqc_txn_error(t));
    else if ((rc = rqc_commit(t, NULL)) != RQC_OK)
        (void)world_failed(w, "rqc_commit", rc, rqc_txn_error(t));
    else
        w->patched = mine;
    rqc_txn_free(t);
    return rc;
}

// All of them or none.
static bool children_whole(world *w, bool told, check_text *why)
{
    const int64_t n = sql_int(w->path, "SELECT count(*) FROM http_header WHERE"
                                       " header_key = 'more'");
    return n == (told ? (int64_t)MORE : 0) ||
           check_no(why, "%" PRId64 " of %u headers are there", n, MORE);
}

static bool left_whole(world *w, bool told, check_text *why)
{
    char from[FAULT_PATH], to[FAULT_PATH];
    static uint8_t kept[WORLD_ROWS];
    (void)told;
    for (int i = 0; i < 2; i++) {
        const char *suffix = i == 0 ? "" : "-wal";
        fault_path(to, "%s/left.db%s", w->root, suffix);
        (void)unlink(to);
        if (access(fault_path(from, "%s%s", w->path, suffix), F_OK) == 0 && !fault_copy(from, to))
            die("%s: cannot be copied", from);
    }
    memcpy(kept, w->state, sizeof kept);
    for (uint64_t n = 1; n < w->next; n++)
        if (kept[n] == WORLD_REFUSED || n == w->doubt_gone)
            w->state[n] = WORLD_EITHER;
    sqlite3 *db = work_sql_open(fault_path(to, "%s/left.db", w->root));
    bool good = true;
    for (uint64_t n = 1; n < w->next && good; n++)
        good = row_whole(w, db, n, why);
    if (good && w->doubt_gone &&
        sql_count(db, "http", "name", ID_HTTP, w->doubt) ==
            sql_count(db, "http", "name", ID_HTTP, w->doubt_gone))
        good = check_no(why, "a refused transaction is there in part");
    sqlite3_close(db);
    memcpy(w->state, kept, sizeof kept);
    return good;
}

// ---- Reads --------------------------------------------------------------------------------------

typedef struct answers {
    rqc_list list;
    rqc_changes_list changes;
    rqc_resolved resolved;
} answers;

static rqc_err read_lists(world *w, rqc_read *r, answers *a)
{
    static const uint8_t ids[3][16] = {
        {ID_HTTP, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6},
        {ID_HTTP, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4},
        {ID_HTTP, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5},
    };
    rqc_cursor cursor = RQC_CURSOR_INIT(0);
    rqc_metrics metrics;
    rqc_activity days[4];
    uint64_t n;
    size_t got;
    int done = 0;
    rqc_err rc = said(w, r, "rqc_workspaces", rqc_workspaces(r, &a->list));
    if (!rc)
        rc = said(w, r, "rqc_page", rqc_page(r, home_id, RQC_ANY_TIME, NULL, 50, NULL, &a->list));
    if (!rc)
        rc = said(w, r, "rqc_page (GET)",
                  rqc_page(r, home_id, RQC_ANY_TIME, "GET", 50, NULL, &a->list));
    if (!rc)
        rc = said(w, r, "rqc_updates",
                  rqc_updates(r, home_id, 0, RQC_ANY_TIME, NULL, 50, NULL, &a->list));
    if (!rc)
        rc = said(w, r, "rqc_batch", rqc_batch(r, ids, 3, RQC_ANY_TIME, &a->list));
    if (!rc)
        rc = said(w, r, "rqc_children",
                  rqc_children(r, RQC_HTTP_HEADER, ids, 3, RQC_ANY_TIME, 1, &a->list));
    if (!rc)
        rc = said(w, r, "rqc_deltas", rqc_deltas(r, ids, 3, 0, RQC_ANY_TIME, &a->list));
    if (!rc)
        rc = said(w, r, "rqc_chain", rqc_chain(r, ids[0], RQC_ANY_TIME, &a->list));
    while (!rc && !done)
        rc = said(w, r, "rqc_changes", rqc_changes(r, NULL, &cursor, 40, &a->changes, &done));
    if (!rc)
        rc = said(w, r, "rqc_metrics_read", rqc_metrics_read(r, home_id, 0, &metrics));
    if (!rc)
        rc = said(w, r, "rqc_activity_read", rqc_activity_read(r, home_id, 0, days, 4, &got));
    if (!rc)
        rc = said(w, r, "rqc_count", rqc_count(r, home_id, RQC_ANY_TIME, &n));
    return rc;
}

static rqc_err read_one(world *w, rqc_read *r, answers *a)
{
    const rqc_record *rec = NULL;
    uint8_t id[16], delta[16];
    void *bytes = NULL;
    size_t n = 0;
    make_id(id, ID_BODY, BODY_AT);
    rqc_err rc = said(w, r, "rqc_get", rqc_get(r, RQC_HTTP_BODY_RAW, id, &rec));
    if (!rc)
        rc = said(w, r, "rqc_large", rqc_large(r, rec, RQC_HTTP_BODY_RAW_RAW_DATA, &bytes, &n));
    if (!rc && (n != BODY || memcmp(bytes, work_text(BODY_AT), n) != 0))
        rc = world_failed(w, "rqc_large", RQC_INTERNAL, "other bytes");
    free(bytes);
    make_id(id, ID_HTTP, DELTA_AT);
    make_id(delta, ID_DELTA, DELTA_AT);
    if (!rc)
        rc = said(w, r, "rqc_resolve", rqc_resolve(r, id, delta, &a->resolved));
    return rc;
}

static rqc_err read_all(world *w, rqc_db *db)
{
    rqc_error err = {.text = ""};
    answers a = {RQC_LIST_INIT, RQC_CHANGES_INIT, RQC_RESOLVED_INIT};
    rqc_read *r = NULL;
    rqc_err rc = rqc_read_new(db, &r, &err);
    if (rc != RQC_OK)
        return world_failed(w, "rqc_read_new", rc, err.text);
    rc = said(w, r, "rqc_read_begin", rqc_read_begin(r));
    if (!rc)
        rc = read_lists(w, r, &a);
    if (!rc)
        rc = read_one(w, r, &a);
    rqc_list_free(&a.list);
    rqc_changes_free(&a.changes);
    rqc_resolved_free(&a.resolved);
    rqc_read_free(r);
    return rc;
}

static rqc_err tell_read(world *w)
{
    return read_all(w, w->db);
}

// Another handle, as another process has it. No owner lives.
static rqc_err tell_attach(world *w)
{
    rqc_error err = {.text = ""};
    rqc_stats stats = {.size = sizeof stats};
    rqc_db *db = NULL;
    rqc_err rc = rqc_attach(w->path, &w->options, &db, &err);
    if (rc != RQC_OK)
        return world_failed(w, "rqc_attach", rc, err.text);
    rc = read_all(w, db);
    if (!rc) {
        rc = rqc_stats_read(db, &stats, &err);
        if (rc)
            (void)world_failed(w, "rqc_stats_read", rc, err.text);
    }
    rqc_close(db);
    return rc;
}

static rqc_err tell_watch(world *w)
{
    rqc_error err = {.text = ""};
    rqc_watch *watch = NULL;
    int fd;
    rqc_err rc = rqc_watch_new(w->db, &watch, &err);
    if (rc)
        return world_failed(w, "rqc_watch_new", rc, err.text);
    rc = rqc_completions_fd(w->db, &fd, &err);
    if (rc)
        (void)world_failed(w, "rqc_completions_fd", rc, err.text);
    const rqc_position now = rqc_position_now(w->db);
    if (!rc && (rc = rqc_wait(w->db, &now, 0, NULL, &err)) != RQC_OK)
        (void)world_failed(w, "rqc_wait", rc, err.text);
    rqc_watch_free(watch);
    return rc;
}

// ---- The owner's life ---------------------------------------------------------------------------

static rqc_err tell_open(world *w)
{
    if (!w->db) {
        const rqc_err rc = world_open(w);
        if (rc)
            return rc;
    }
    return RQC_OK;
}

static bool opened(world *w, bool told, check_text *why)
{
    return told == (w->db != NULL) || check_no(why, "a handle: %d, told: %d", w->db != NULL, told);
}

static void write_some(world *w)
{
    if (tell_write(w) != RQC_OK)
        die("%s: %s", w->what, w->text);
}

static rqc_err tell_sync(world *w)
{
    rqc_error err = {.text = ""};
    const rqc_err rc = rqc_sync(w->db, &err);
    return rc == RQC_OK ? RQC_OK : world_failed(w, "rqc_sync", rc, err.text);
}

static rqc_err tell_verify(world *w)
{
    rqc_error err = {.text = ""};
    rqc_verified v;
    rqc_stats stats = {.size = sizeof stats};
    uint64_t faults = 0;
    rqc_err rc = rqc_verify(w->db, 0, NULL, NULL, &v, &err);
    if (rc)
        return world_failed(w, "rqc_verify", rc, err.text);
    if (v.differences > 0)
        return world_failed(w, "rqc_verify", RQC_INTERNAL, "it finds differences");
    rc = rqc_stats_read(w->db, &stats, &err);
    if (rc)
        return world_failed(w, "rqc_stats_read", rc, err.text);
    rc = rqc_integrity(w->db, 0, NULL, NULL, &faults, &err);
    if (rc)
        return world_failed(w, "rqc_integrity", rc, err.text);
    return faults == 0 ? RQC_OK : world_failed(w, "rqc_integrity", RQC_INTERNAL, "it finds faults");
}

// ---- Copies, what is ours -----------------------------------------------------------------------

// The file that was there before, or the new one: whole in either case.
static bool backed_up(world *w, bool told, check_text *why)
{
    static const char requests[] = "SELECT count(*) FROM http WHERE is_delta = 0";
    const int64_t there = sql_int(w->copy, requests), all = sql_int(w->path, requests);
    if (!(there == all || (!told && there == (int64_t)OLD)))
        return check_no(why, "the copy has %" PRId64 " of %" PRId64 " requests", there, all);
    return sql_int(w->copy, "SELECT count(*) FROM pragma_integrity_check WHERE"
                            " integrity_check = 'ok'") == 1 ||
           check_no(why, "the copy is damaged");
}

static rqc_err tell_restore(world *w)
{
    rqc_error err = {.text = ""};
    rqc_copied copied;
    const rqc_err rc = rqc_restore(w->path, w->copy, NULL, NULL, &copied, &err);
    return rc == RQC_OK ? RQC_OK : world_failed(w, "rqc_restore", rc, err.text);
}

static bool restored(world *w, bool told, check_text *why)
{
    static const char requests[] = "SELECT count(*) FROM http WHERE is_delta = 0";
    const int64_t there = sql_int(w->path, requests);
    if (!(there == (int64_t)OLD || (!told && there == (int64_t)ALL)))
        return check_no(why, "the database has %" PRId64 " requests", there);
    for (uint64_t n = OLD + 1; n <= ALL; n++)
        w->state[n] = there == (int64_t)OLD ? WORLD_REFUSED : WORLD_THERE;
    return true;
}

static void note_part(void *ctx, const rqc_part *p)
{
    (void)ctx;
    (void)p;
}

static rqc_err tell_plan(world *w)
{
    rqc_error err = {.text = ""};
    const rqc_err rc = rqc_capture_plan(w->path, note_part, NULL, &err);
    return rc == RQC_OK ? RQC_OK : world_failed(w, "rqc_capture_plan", rc, err.text);
}

static rqc_err tell_remove(world *w)
{
    rqc_error err = {.text = ""};
    const rqc_err rc = rqc_capture_remove(w->path, note_part, NULL, &err);
    return rc == RQC_OK ? RQC_OK : world_failed(w, "rqc_capture_remove", rc, err.text);
}

// All of ours is gone, or all of it is still there.
static bool removed(world *w, bool told, check_text *why)
{
    const int64_t parts =
        sql_int(w->path, "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' OR"
                         " tbl_name IN ('change_log', 'reqcast_meta')");
    return parts == 0 || (!told && parts > 10) ||
           check_no(why, "%" PRId64 " parts of the capture are left", parts);
}

// ---- All of them --------------------------------------------------------------------------------

static const story stories[] = {
    {.name = "create", .start = START_EMPTY, .tell = tell_open, .after = opened},
    {.name = "open", .start = START_CLEAN, .tell = tell_open, .after = opened},
    {.name = "build", .start = START_NO_VIEW, .tell = tell_open, .after = opened},
    {.name = "recover", .start = START_KILLED, .tell = tell_open, .after = opened},
    {.name = "write", .start = START_CLEAN, .opens = true, .tell = tell_write, .after = left_whole},
    {.name = "children",
     .start = START_CLEAN,
     .opens = true,
     .tell = tell_children,
     .after = children_whole},
    {.name = "grow", .start = START_FULL, .opens = true, .tell = tell_many, .after = left_whole},
    {.name = "foreign",
     .start = START_CLEAN,
     .opens = true,
     .prepare = write_foreign,
     .tell = tell_sync},
    {.name = "read", .start = START_CLEAN, .opens = true, .tell = tell_read},
    {.name = "attach", .start = START_CLEAN, .tell = tell_attach},
    {.name = "watch", .start = START_CLEAN, .opens = true, .tell = tell_watch},
    // SQLite's check says of a page that it could not be had, not why.
    {.name = "verify",
     .start = START_CLEAN,
     .opens = true,
     .tell = tell_verify,
     .also = 1u << RQC_IO},
    {.name = "repair",
     .start = START_CLEAN,
     .opens = true,
     .prepare = hide_change,
     .tell = tell_repair,
     .after = repaired},
    {.name = "compact",
     .start = START_SHORT,
     .opens = true,
     .prepare = write_history,
     .tell = tell_compact,
     .after = compacted},
    {.name = "snapshot",
     .start = START_CLEAN,
     .opens = true,
     .tell = tell_snapshot,
     .after = snapped},
    {.name = "prune",
     .start = START_CLEAN,
     .opens = true,
     .prepare = write_runs,
     .tell = tell_prune,
     .after = pruned},
    {.name = "import", .start = START_CLEAN, .opens = true, .tell = tell_import, .after = imported},
    {.name = "export", .start = START_CLEAN, .opens = true, .tell = tell_export, .few = 24},
    {.name = "close",
     .start = START_CLEAN,
     .opens = true,
     .prepare = write_some,
     .tell = tell_close},
    {.name = "backup",
     .start = START_CLEAN,
     .opens = true,
     .tell = tell_backup,
     .after = backed_up},
    {.name = "restore",
     .start = START_CLEAN,
     .new_epoch = true,
     .tell = tell_restore,
     .after = restored,
     .also = 1u << RQC_IO},
    {.name = "plan", .start = START_CLEAN, .tell = tell_plan},
    {.name = "remove",
     .start = START_CLEAN,
     .new_epoch = true,
     .tell = tell_remove,
     .after = removed},
};
#define STORIES (sizeof stories / sizeof *stories)

#endif
