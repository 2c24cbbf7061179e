// SPDX-License-Identifier: Apache-2.0
// Stories of what keeps a database in order: the view repaired, the log compacted, runs kept and
// removed, files of other programs read and written.
#ifndef RQC_TESTS_FAULTS_UPKEEP_H
#define RQC_TESTS_FAULTS_UPKEEP_H

#include "api/engine.h"
#include "api/export/har_export.h"
#include "api/import/merge.h"
#include "tests/faults_model.h"

static rqc_err said(world *w, const rqc_read *r, const char *what, rqc_err rc)
{
    return rc == RQC_OK ? RQC_OK : world_failed(w, what, rc, rqc_read_error(r));
}

// What an internal call says, as the public ones do.
static rqc_err told_inside(world *w, const char *what, rqc_err rc, const rqci_errbuf *err)
{
    return rc == RQC_OK ? RQC_OK
                        : world_failed(w, what, rc, *err->text ? err->text : rqc_err_text(rc));
}

static int64_t sql_int(const char *path, const char *text)
{
    sqlite3 *db = work_sql_open(path);
    sqlite3_stmt *q = NULL;
    int64_t n = -1;
    if (sqlite3_prepare_v2(db, text, -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW)
        n = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    sqlite3_close(db);
    return n;
}

// ---- The view is repaired -----------------------------------------------------------------------

static void hide_change(world *w)
{
    wipe_trace(w);
    w->view_differs = true;
}

static rqc_err tell_repair(world *w)
{
    rqc_error err = {.text = ""};
    rqc_verified v;
    const rqc_err rc = rqc_verify(w->db, 1, NULL, NULL, &v, &err);
    if (rc)
        return world_failed(w, "rqc_verify", rc, err.text);
    return v.differences > 0 || !w->view_differs
               ? RQC_OK
               : world_failed(w, "rqc_verify", RQC_INTERNAL, "it finds no difference");
}

static bool repaired(world *w, bool told, check_text *why)
{
    (void)why;
    w->view_differs = !told;
    return true;
}

// ---- The log is compacted -----------------------------------------------------------------------

static check_changes history; // what a cursor at the horizon is told before
static uint64_t history_from;

static void collect_history(world *w)
{
    check_text why = {""};
    rqc_read *r = NULL;
    history_from = rqci_horizon(rqc_position_now(w->db).seq, SHORT_RETAIN);
    if (rqc_read_new(w->db, &r, NULL) != RQC_OK || rqc_read_begin(r) != RQC_OK ||
        check_collect(r, history_from, &history, &why) != RQC_OK)
        die("no history: %s", why.text);
    rqc_read_free(r);
}

// Records that changed several times, and some that are gone: most of the log is behind the
// horizon.
static void write_history(world *w)
{
    rqc_txn *t = NULL;
    if (rqc_txn_new(w->db, &t, NULL) != RQC_OK)
        die("rqc_txn_new");
    for (uint64_t n = 2; n <= 5; n++)
        if (commit(w, t, 2, n, NULL) != RQC_OK)
            die("%s: %s", w->what, w->text);
    rqc_txn_free(t);
    collect_history(w);
}

static bool still_needed(void *ctx, const rqci_change *c)
{
    rqc_db *db = ctx;
    pthread_mutex_lock(&db->apply);
    const uint64_t horizon = rqci_horizon(rqc_position_now(db).seq, SHORT_RETAIN);
    const bool needed = rqci_view_needs(db->view, c, horizon);
    pthread_mutex_unlock(&db->apply);
    return needed;
}

static rqc_err tell_compact(world *w)
{
    rqci_errbuf err = {""};
    bool more = true;
    rqc_err rc = RQC_OK;
    while (rc == RQC_OK && more)
        rc = rqci_store_compact(w->db->store, still_needed, w->db, &more, &err);
    return told_inside(w, "rqci_store_compact", rc, &err);
}

// A cursor at the horizon is told what it was told before.
static bool history_whole(const world *w, const char *when, check_text *why)
{
    check_changes now = {NULL, 0, 0};
    rqc_read *r = NULL;
    bool good = rqc_read_new(w->db, &r, NULL) == RQC_OK && rqc_read_begin(r) == RQC_OK &&
                check_collect(r, history_from, &now, why) == RQC_OK;
    if (good && now.n != history.n)
        good = check_no(why, "%s %zu changes behind the horizon, not %zu", when, now.n, history.n);
    for (size_t i = 0; i < now.n && good; i++)
        if (memcmp(now.items[i].key, history.items[i].key, 17) != 0 ||
            now.items[i].seq != history.items[i].seq || now.items[i].op != history.items[i].op)
            good = check_no(why, "%s another change at %" PRIu64, when, now.items[i].seq);
    rqc_read_free(r);
    free(now.items);
    return good;
}

// Also for a view that is built from what is left.
static bool compacted(world *w, bool told, check_text *why)
{
    const int64_t left = sql_int(w->path, "SELECT count(*) FROM change_log");
    uint64_t seq;
    rqci_errbuf err = {""};
    if (told && left > 300)
        return check_no(why, "%" PRId64 " rows of the log are left", left);
    if (!history_whole(w, "there are", why))
        return false;
    pthread_mutex_lock(&w->db->apply);
    const rqc_err rc = rqci_view_rebuild(w->db->view, &w->db->source, &seq, &err);
    pthread_mutex_unlock(&w->db->apply);
    if (rc != RQC_OK)
        return check_no(why, "rebuild: %.150s", err.text);
    return history_whole(w, "a view that was built anew has", why);
}

// ---- Runs ---------------------------------------------------------------------------------------

#define RUNS       3u   // of each of two requests
#define RUNS_FIRST 110u // of the first: more than one transaction removes

static rqc_err snap(world *w, rqc_txn *t, rqc_read *r, uint64_t n, int64_t at)
{
    rqc_value answer[RQC_HTTP_RESPONSE_NFIELDS] = {{.type = RQC_ABSENT}};
    rqc_value headers[1][RQC_HTTP_RESPONSE_HEADER_NFIELDS] = {{{.type = RQC_ABSENT}}};
    rqc_value asserts[1][RQC_HTTP_RESPONSE_ASSERT_NFIELDS] = {{{.type = RQC_ABSENT}}};
    rqc_run run = RQC_RUN_INIT;
    uint8_t base[16], version[16];
    char name[32];
    snprintf(name, sizeof name, "%" PRIu64 " at %" PRId64, n, at);
    make_id(base, ID_HTTP, n);
    answer[RQC_HTTP_RESPONSE_STATUS] = rqc_int(200);
    answer[RQC_HTTP_RESPONSE_BODY] = rqc_bytes(name, (uint32_t)strlen(name));
    answer[RQC_HTTP_RESPONSE_TIME] = rqc_int(at);
    answer[RQC_HTTP_RESPONSE_DURATION] = rqc_int(1);
    answer[RQC_HTTP_RESPONSE_SIZE] = rqc_int(1);
    headers[0][RQC_HTTP_RESPONSE_HEADER_KEY] = rqc_text("n");
    headers[0][RQC_HTTP_RESPONSE_HEADER_VALUE] = rqc_text(name);
    asserts[0][RQC_HTTP_RESPONSE_ASSERT_VALUE] = rqc_text("status == 200");
    asserts[0][RQC_HTTP_RESPONSE_ASSERT_SUCCESS] = rqc_bool(1);
    run.version_name = name;
    run.at = at;
    run.response = answer;
    run.headers = (const rqc_value(*)[RQC_HTTP_RESPONSE_HEADER_NFIELDS])headers;
    run.nheaders = 1;
    run.asserts = (const rqc_value(*)[RQC_HTTP_RESPONSE_ASSERT_NFIELDS])asserts;
    run.nasserts = 1;
    const rqc_err rc = rqc_snapshot(t, r, base, NULL, &run, version);
    return rc == RQC_OK ? RQC_OK : world_failed(w, "rqc_snapshot", rc, rqc_txn_error(t));
}

// A transaction, and a session that has begun; the caller frees both, also after a failure.
static rqc_err begin_both(world *w, rqc_txn **ret_txn, rqc_read **ret_read)
{
    rqc_error err = {.text = ""};
    rqc_err rc = rqc_txn_new(w->db, ret_txn, &err);
    if (!rc)
        rc = rqc_read_new(w->db, ret_read, &err);
    if (rc)
        return world_failed(w, "rqc_txn_new, rqc_read_new", rc, err.text);
    return said(w, *ret_read, "rqc_read_begin", rqc_read_begin(*ret_read));
}

// So many runs of the first request, and `more` of two others, in one transaction.
static rqc_err run_all(world *w, unsigned of_first, unsigned more)
{
    rqc_read *r = NULL;
    rqc_txn *t = NULL;
    rqc_err rc = begin_both(w, &t, &r);
    for (unsigned i = 1; i <= of_first && !rc; i++)
        rc = snap(w, t, r, 1, i);
    for (unsigned i = 1; i <= more && !rc; i++) {
        rc = snap(w, t, r, BODY_AT, i);
        if (!rc)
            rc = snap(w, t, r, DELTA_AT, i);
    }
    if (!rc && (rc = rqc_commit(t, NULL)) != RQC_OK)
        (void)world_failed(w, "rqc_commit", rc, rqc_txn_error(t));
    rqc_read_free(r);
    rqc_txn_free(t);
    return rc;
}

// Each snapshot has what belongs to it, and nothing belongs to one that is not there.
static bool runs_whole(const world *w, int64_t *ret_n, check_text *why)
{
    static const char *const broken[] = {
        "SELECT count(*) FROM http WHERE is_snapshot AND id NOT IN (SELECT id FROM http_version)",
        "SELECT count(*) FROM http_version WHERE id NOT IN (SELECT id FROM http)",
        "SELECT count(*) FROM http_header WHERE http_id NOT IN (SELECT id FROM http)",
        "SELECT count(*) FROM http_body_raw WHERE http_id NOT IN (SELECT id FROM http)",
        "SELECT count(*) FROM http_response WHERE http_id NOT IN (SELECT id FROM http)",
        "SELECT count(*) FROM http WHERE is_snapshot AND id NOT IN (SELECT http_id FROM"
        " http_response)",
        "SELECT count(*) FROM http WHERE is_snapshot AND id NOT IN (SELECT http_id FROM"
        " http_header)",
        "SELECT count(*) FROM http_response_header WHERE response_id NOT IN (SELECT id FROM"
        " http_response)",
        "SELECT (SELECT count(*) FROM http WHERE is_snapshot) - (SELECT count(*) FROM"
        " http_response_assert)",
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        if (sql_int(w->path, broken[i]) != 0)
            return check_no(why, "a run is there in part: %.120s", broken[i]);
    *ret_n = sql_int(w->path, "SELECT count(*) FROM http WHERE is_snapshot");
    return true;
}

static rqc_err tell_snapshot(world *w)
{
    return run_all(w, 0, 1);
}

static bool snapped(world *w, bool told, check_text *why)
{
    int64_t n;
    return runs_whole(w, &n, why) &&
           (n == (told ? 2 : 0) || check_no(why, "there are %" PRId64 " snapshots", n));
}

static void write_runs(world *w)
{
    if (run_all(w, RUNS_FIRST, RUNS) != RQC_OK)
        die("%s: %s", w->what, w->text);
}

static rqc_err tell_prune(world *w)
{
    rqc_error err = {.text = ""};
    rqc_pruned gone;
    rqc_prune_options options = RQC_PRUNE_OPTIONS_INIT;
    options.keep = 1;
    const rqc_err rc = rqc_prune(w->db, home_id, &options, &gone, &err);
    return rc == RQC_OK ? RQC_OK : world_failed(w, "rqc_prune", rc, err.text);
}

// The newest of each request stay, whatever failed.
static bool pruned(world *w, bool told, check_text *why)
{
    char newest[160];
    int64_t n;
    if (!runs_whole(w, &n, why))
        return false;
    snprintf(newest, sizeof newest,
             "SELECT count(*) FROM http_version WHERE version_name IN ('1 at %u', '%u at %u',"
             " '%u at %u')",
             RUNS_FIRST, BODY_AT, RUNS, DELTA_AT, RUNS);
    if (sql_int(w->path, newest) != 3)
        return check_no(why, "the newest runs are gone");
    return !told || n == 3 || check_no(why, "%" PRId64 " snapshots are left", n);
}

// ---- Files of other programs --------------------------------------------------------------------

#define IMPORTED 3 // requests of the capture

static const char capture[] =
    "{\"log\":{\"version\":\"1.2\",\"creator\":{\"name\":\"test\",\"version\":\"1\"},\"entries\":["
    "{\"startedDateTime\":\"2024-05-01T10:00:00.000Z\",\"time\":5,\"request\":{\"method\":\"GET\","
    "\"url\":\"https://shop.example/items?page=2&q=a%20b\",\"headers\":[{\"name\":\"Accept\","
    "\"value\":\"*/*\"}],\"queryString\":[{\"name\":\"page\",\"value\":\"2\"},{\"name\":\"q\","
    "\"value\":\"a b\"}]},\"response\":{\"status\":200,\"headers\":[{\"name\":\"Server\","
    "\"value\":\"s\"}],\"content\":{\"size\":2,\"mimeType\":\"text/plain\",\"text\":\"ok\"}}},"
    "{\"startedDateTime\":\"2024-05-01T10:00:01.000Z\",\"time\":5,\"request\":{\"method\":"
    "\"POST\",\"url\":\"https://shop.example/login\",\"headers\":[],\"postData\":{\"mimeType\":"
    "\"application/x-www-form-urlencoded\",\"params\":[{\"name\":\"user\",\"value\":\"me\"}],"
    "\"text\":\"user=me\"}},\"response\":{\"status\":302,\"content\":{\"size\":3,\"encoding\":"
    "\"base64\",\"text\":\"AAEC\"}}},"
    "{\"startedDateTime\":\"2024-05-01T10:00:02.000Z\",\"time\":5,\"request\":{\"method\":\"PUT\","
    "\"url\":\"https://shop.example/\\u00e9\",\"headers\":[],\"postData\":{\"mimeType\":"
    "\"application/json\",\"text\":\"{\\\"a\\\":1}\"}},\"response\":{\"status\":204}}]}}";

static const uint8_t import_id[16] = {8};

static rqc_err import_into(world *w, rqc_txn *t, rqc_read *r, rqci_import *m)
{
    rqc_value row[RQC_FIELD_MAX] = {{.type = RQC_ABSENT}};
    rqci_errbuf err = {""};
    rqci_import_counts counts;
    rqci_merge merge = {.txn = t, .read = r, .how = RQCI_EDITED_REPLACE};
    const rqci_import_sink sink = {rqci_merge_add, NULL, NULL, &merge};
    row[RQC_WORKSPACES_NAME] = rqc_text("import");
    rqc_err rc = rqc_add(t, RQC_WORKSPACES, import_id, row);
    if (rc)
        return world_failed(w, "rqc_add", rc, rqc_txn_error(t));
    rc = rqci_import_run(m, import_id, 1, &sink, &counts, &err);
    if (!rc)
        rc = rqci_merge_end(&merge);
    rqci_merge_free(&merge);
    if (rc)
        return world_failed(w, "rqci_import_run", rc,
                            *err.text      ? err.text
                            : *merge.error ? merge.error
                                           : rqc_err_text(rc));
    if (counts.warnings > 0 || counts.requests != IMPORTED)
        return world_failed(w, "rqci_import_run", RQC_INTERNAL, "it warns, or leaves requests out");
    rc = rqc_commit(t, NULL);
    return rc == RQC_OK ? RQC_OK : world_failed(w, "rqc_commit", rc, rqc_txn_error(t));
}

static rqc_err tell_import(world *w)
{
    static char text[sizeof capture]; // importers may change it
    rqci_errbuf detail = {""};
    rqci_import *m = NULL;
    rqc_read *r = NULL;
    rqc_txn *t = NULL;
    memcpy(text, capture, sizeof capture);
    rqc_err rc =
        told_inside(w, "rqci_import_open",
                    rqci_import_open(text, sizeof capture - 1, RQCI_IMPORT_UNKNOWN, &m, &detail),
                    &detail);
    if (rc)
        return rc;
    rc = begin_both(w, &t, &r);
    if (!rc)
        rc = import_into(w, t, r, m);
    rqc_read_free(r);
    rqc_txn_free(t);
    rqci_import_free(m);
    return rc;
}

// All of the file, or nothing of it.
static bool imported(world *w, bool told, check_text *why)
{
    const int64_t requests = sql_int(w->path, "SELECT count(*) FROM http WHERE url LIKE"
                                              " 'https://shop.example/%'"),
                  answers = sql_int(w->path, "SELECT count(*) FROM http_response WHERE http_id IN"
                                             " (SELECT id FROM http WHERE url LIKE"
                                             " 'https://shop.example/%')");
    const int64_t want = told ? IMPORTED : 0;
    return (requests == want && answers == want) ||
           check_no(why, "%" PRId64 " requests and %" PRId64 " responses of the file are there",
                    requests, answers);
}

static rqc_err take_text(void *ctx, const void *p, size_t n)
{
    size_t *all = ctx;
    (void)p;
    *all += n;
    return RQC_OK;
}

static rqc_err tell_export(world *w)
{
    static size_t whole; // what it wrote when nothing failed
    rqci_errbuf detail = {""};
    rqc_error err = {.text = ""};
    rqci_har_counts counts;
    size_t n = 0;
    const rqci_har_sink sink = {take_text, NULL, &n, false};
    rqc_read *r = NULL;
    rqc_err rc = rqc_read_new(w->db, &r, &err);
    if (rc)
        return world_failed(w, "rqc_read_new", rc, err.text);
    rc = said(w, r, "rqc_read_begin", rqc_read_begin(r));
    if (!rc)
        rc = told_inside(w, "rqci_har_export", rqci_har_export(r, home_id, &sink, &counts, &detail),
                         &detail);
    rqc_read_free(r);
    if (rc)
        return rc;
    whole = whole ? whole : n;
    return n == whole ? RQC_OK
                      : world_failed(w, "rqci_har_export", RQC_INTERNAL, "a part is missing");
}

#endif
