// SPDX-License-Identifier: Apache-2.0
// Stories of streams: the sidecar's parts and a subscriber, all in this process. The subscriber's
// application is told every change once and in order, and has in the end what the database has,
// whatever failed on the way.
#ifndef RQC_TESTS_FAULTS_STREAM_H
#define RQC_TESTS_FAULTS_STREAM_H

#include "api/daemon/daemon.h"
#include "tests/faults_model.h"

#include "base/id.h"
#include "record/record.h"
#include "replicate/message.h"

#define SOON_MS  150   // while faults are made: what takes longer is told again without them
#define LONG_MS  20000 // then: longer than any patience of the subscriber
#define NUDGE_MS 20
#define APP_ROWS 4096u

// ---- The sidecar --------------------------------------------------------------------------------

typedef struct sidecar {
    rqci_net *net;
    rqci_publisher *publisher;
    rqci_net_rep *rep;
    dm_service service;
    rqc_read *read; // the publisher's
    rqc_db *db;
    char path[FAULT_PATH], url[FAULT_PATH + 8];
    pthread_mutex_t lock; // guards net against the ticking thread
    pthread_t ticks;
    _Atomic bool stop;
} sidecar;

static sidecar side = {.lock = PTHREAD_MUTEX_INITIALIZER};

// As the sidecar's main thread does.
static void *tick(void *arg)
{
    (void)arg;
    while (!atomic_load(&side.stop)) {
        pthread_mutex_lock(&side.lock);
        if (side.net)
            rqci_net_tick(side.net);
        pthread_mutex_unlock(&side.lock);
        fault_sleep_us(RQCI_NET_TICK_MS * 1000);
    }
    return NULL;
}

static rqc_err side_pin(void *ctx, rqci_reader **ret_reader)
{
    sidecar *s = ctx;
    rqc_err rc = RQC_OK;
    if (!s->read)
        rc = rqc_read_new(s->db, &s->read, NULL);
    if (rc == RQC_OK)
        rc = rqc_read_begin(s->read);
    if (rc == RQC_OK)
        *ret_reader = s->read->reader;
    return rc;
}

static void side_unpin(void *ctx)
{
    rqc_read_end(((sidecar *)ctx)->read);
}

static bool side_lags(void *ctx)
{
    return atomic_load(&((sidecar *)ctx)->db->lagging);
}

static void side_applied(void *ctx)
{
    rqci_publisher_moved(ctx);
}

static void stop_sidecar(void)
{
    rqci_net_rep_close(side.rep);
    if (side.publisher)
        rqci_watch_applied(side.db, NULL, NULL);
    rqci_publisher_stop(side.publisher);
    pthread_mutex_lock(&side.lock);
    rqci_net_free(side.net);
    side.net = NULL;
    pthread_mutex_unlock(&side.lock);
    rqc_read_free(side.read);
    side.rep = NULL;
    side.publisher = NULL;
    side.read = NULL;
}

static rqc_err open_parts(rqci_errbuf *err)
{
    const rqci_log log = {NULL, NULL};
    const rqci_publisher_options o = {.path = side.path,
                                      .mode = 0600,
                                      .topics_max = 4,
                                      .idle_ms = 60000,
                                      .log = log,
                                      .ctx = &side,
                                      .pin = side_pin,
                                      .unpin = side_unpin,
                                      .lags = side_lags};
    rqci_publisher_options opt = o;
    rqci_net_service service;
    rqc_err rc = rqci_net_new(&log, &opt.net, err);
    pthread_mutex_lock(&side.lock);
    side.net = opt.net;
    pthread_mutex_unlock(&side.lock);
    if (rc == RQC_OK)
        rc = rqci_publisher_start(&opt, &side.publisher, err);
    if (rc != RQC_OK)
        return rc;
    rqci_watch_applied(side.db, side_applied, side.publisher);
    side.service.db = side.db;
    side.service.publisher = side.publisher;
    side.service.net = side.net;
    dm_service_of(&side.service, &service);
    rc = rqci_net_rep_open(side.net, &service, 2, RQCI_MSG_MAX, &side.rep, err);
    return rc == RQC_OK ? rqci_net_rep_listen(side.rep, side.url, 0600, NULL, err) : rc;
}

static rqc_err start_sidecar(world *w)
{
    rqci_errbuf err = {""};
    fault_path(side.path, "%s/s", w->root);
    snprintf(side.url, sizeof side.url, "ipc://%s", side.path);
    side.db = w->db;
    const rqc_err rc = open_parts(&err);
    if (rc == RQC_OK)
        return RQC_OK;
    stop_sidecar();
    return world_failed(w, "the sidecar", rc, *err.text ? err.text : rqc_err_text(rc));
}

// ---- The application of a subscriber ------------------------------------------------------------

typedef struct app_row {
    uint8_t key[17]; // entity, id
    bool stale;      // void since a reset, unless it comes again
    uint64_t seq;
    rqci_digest digest;
} app_row;

typedef struct application {
    rqc_sub *sub;
    bool calls; // by a callback
    pthread_mutex_t lock;
    app_row rows[APP_ROWS];
    size_t n;
    rqc_place place;
    bool anew; // since a reset, or a difference: what comes may have been told before
    uint64_t marks;
    rqc_err reason; // why it does not follow
    char text[200];
    check_text broken; // what it must not be told
} application;

static application app = {.lock = PTHREAD_MUTEX_INITIALIZER};
static int patience_ms;

static app_row *row_of(const uint8_t key[17])
{
    for (size_t i = 0; i < app.n; i++)
        if (memcmp(app.rows[i].key, key, 17) == 0)
            return &app.rows[i];
    return NULL;
}

static void drop_row(app_row *row)
{
    *row = app.rows[--app.n];
}

static void take_change(const rqc_change *c)
{
    uint8_t key[17] = {c->entity};
    memcpy(key + 1, c->id, 16);
    app_row *row = row_of(key);
    if (c->op == 2) {
        if (row)
            drop_row(row);
        return;
    }
    if (!row && app.n == APP_ROWS) {
        check_no(&app.broken, "too many records");
        return;
    }
    row = row ? row : &app.rows[app.n++];
    memcpy(row->key, key, 17);
    row->stale = false;
    row->seq = c->seq;
    rqci_rec_digest(c->record, &row->digest);
}

// Behind what was told, and behind the one before it in the event.
static void check_place(const rqc_change *c, const rqc_change *before)
{
    const rqc_cursor *at = &app.place.cursor;
    uint8_t told[17] = {at->entity}, key[17] = {c->entity}, last[17] = {0};
    memcpy(told + 1, at->id, 16);
    memcpy(key + 1, c->id, 16);
    if (c->seq < at->seq || (c->seq == at->seq && (at->entity == 0 || memcmp(key, told, 17) <= 0)))
        check_no(&app.broken, "a change at %" PRIu64 " is told again, behind %" PRIu64, c->seq,
                 at->seq);
    if (!before)
        return;
    last[0] = before->entity;
    memcpy(last + 1, before->id, 16);
    if (c->seq < before->seq || (c->seq == before->seq && memcmp(key, last, 17) <= 0))
        check_no(&app.broken, "changes are not in order at %" PRIu64, c->seq);
}

static void take_changes(const rqc_event *e)
{
    for (size_t i = 0; i < e->n; i++) {
        if (!app.anew)
            check_place(&e->items[i], i > 0 ? &e->items[i - 1] : NULL);
        take_change(&e->items[i]);
    }
    app.place = e->place;
    if (e->more)
        return;
    for (size_t i = 0; i < app.n;)
        if (app.rows[i].stale)
            drop_row(&app.rows[i]);
        else
            i++;
    app.anew = false;
}

// The bookmark's digest is that of what was told.
static void take_bookmark(const rqc_event *e)
{
    rqci_digest sum = {0, 0};
    uint8_t bytes[16];
    for (size_t i = 0; i < app.n; i++)
        rqci_digest_add(&sum, app.rows[i].digest);
    rqci_put64be(bytes, sum.hi);
    rqci_put64be(bytes + 8, sum.lo);
    app.place = e->place;
    app.marks++;
    if (e->records != app.n || memcmp(bytes, e->digest, 16) != 0)
        check_no(&app.broken, "it was told %zu records, other than the %" PRIu64 " that there are",
                 app.n, e->records);
}

static void take_event(void *ctx, const rqc_event *e)
{
    (void)ctx;
    pthread_mutex_lock(&app.lock);
    switch (e->kind) {
    case RQC_EVENT_CHANGES: take_changes(e); break;
    case RQC_EVENT_BOOKMARK: take_bookmark(e); break;
    case RQC_EVENT_RESET:
        for (size_t i = 0; i < app.n; i++)
            app.rows[i].stale = true;
        app.anew = true;
        app.place = e->place;
        break;
    case RQC_EVENT_STATE:
        app.anew = app.anew || e->reason == RQC_DIFFERENT;
        app.reason = e->reason;
        snprintf(app.text, sizeof app.text, "%s", e->text);
        break;
    }
    pthread_mutex_unlock(&app.lock);
}

static rqc_err subscribe(world *w, const uint8_t *workspace, bool calls)
{
    rqc_error err = {.text = ""};
    rqc_sub_options o = RQC_SUB_OPTIONS_INIT;
    if (app.sub)
        return RQC_OK;
    o.workspace = workspace;
    o.bookmarks = o.digest = 1;
    o.event = calls ? take_event : NULL;
    app.calls = calls;
    app.n = app.marks = 0;
    app.anew = false;
    memset(&app.place, 0, sizeof app.place);
    app.reason = RQC_OK;
    app.broken.text[0] = app.text[0] = 0;
    const rqc_err rc = rqc_subscribe(side.url, &o, &app.sub, &err);
    return rc == RQC_OK ? RQC_OK : world_failed(w, "rqc_subscribe", rc, err.text);
}

// ---- Following ----------------------------------------------------------------------------------

// A bookmark came at the head, later than those that were counted before.
static bool is_there(const world *w, uint64_t marks)
{
    pthread_mutex_lock(&app.lock);
    const bool there = app.marks > marks && app.place.cursor.entity == 0 &&
                       app.place.cursor.seq >= rqc_position_now(w->db).seq;
    pthread_mutex_unlock(&app.lock);
    return there;
}

static rqc_err follow(world *w)
{
    const int64_t until = fault_now_us() + patience_ms * 1000;
    const uint64_t marks = app.marks;
    int64_t nudge = 0;
    rqc_event e;
    while (fault_now_us() < until && !*app.broken.text) {
        if (is_there(w, marks))
            return RQC_OK;
        if (fault_now_us() >= nudge) {
            nudge = fault_now_us() + NUDGE_MS * 1000;
            rqci_publisher_nudge(side.publisher, NULL);
            rqci_publisher_nudge(side.publisher, home_id);
        }
        if (app.calls)
            fault_sleep_us(2000);
        else if (rqc_sub_next(app.sub, 5, &e) == RQC_OK)
            take_event(NULL, &e);
    }
    if (*app.broken.text)
        return world_failed(w, "the subscriber", RQC_INTERNAL, app.broken.text);
    if (app.reason != RQC_OK)
        return world_failed(w, "the subscriber", app.reason, app.text);
    return world_failed(w, "the subscriber", RQC_TIMEOUT, "it does not follow");
}

// What the application has is what the view has: the same records at the same positions.
static bool followed(world *w, bool told, check_text *why)
{
    check_changes l = {NULL, 0, 0};
    rqc_read *r = NULL;
    size_t live = 0;
    patience_ms = LONG_MS;
    if (*app.broken.text)
        return check_no(why, "%s", app.broken.text);
    if (!told || !app.sub)
        return true;
    bool good = rqc_read_new(w->db, &r, NULL) == RQC_OK && rqc_read_begin(r) == RQC_OK &&
                check_collect(r, 0, &l, why) == RQC_OK;
    for (size_t i = 0; i < l.n && good; i++) {
        const app_row *row = row_of(l.items[i].key);
        live += l.items[i].op == 1;
        if (l.items[i].op == 1 && (!row || row->seq != l.items[i].seq))
            good = check_no(why, "the change at %" PRIu64 " was not told", l.items[i].seq);
    }
    if (good && live != app.n)
        good = check_no(why, "%zu records were told, %zu are there", app.n, live);
    rqc_read_free(r);
    free(l.items);
    return good;
}

static void end_stream(world *w)
{
    (void)w;
    rqc_unsubscribe(app.sub);
    app.sub = NULL;
    stop_sidecar();
}

// ---- Stories ------------------------------------------------------------------------------------

static void must(const world *w, rqc_err rc)
{
    if (rc != RQC_OK)
        die("%s: %s", w->what, w->text);
}

static void serve(world *w)
{
    must(w, start_sidecar(w));
    patience_ms = SOON_MS;
}

static void serve_and_follow(world *w)
{
    serve(w);
    patience_ms = LONG_MS;
    must(w, subscribe(w, NULL, false));
    must(w, follow(w));
    patience_ms = SOON_MS;
}

static rqc_err write_more(world *w)
{
    rqc_error err = {.text = ""};
    rqc_txn *t = NULL;
    const uint64_t mine = w->next;
    rqc_err rc = rqc_txn_new(w->db, &t, &err);
    if (rc != RQC_OK)
        return world_failed(w, "rqc_txn_new", rc, err.text);
    rc = commit(w, t, 2, 0, NULL);
    if (rc == RQC_OK)
        rc = commit(w, t, 1, mine, NULL);
    rqc_txn_free(t);
    return rc;
}

static rqc_err tell_serve(world *w)
{
    const rqc_err rc = side.net ? RQC_OK : start_sidecar(w);
    fault_sleep_us(3000); // its threads begin
    return rc;
}

static rqc_err ask_stats(world *w)
{
    rqci_errbuf err = {""};
    rqci_buf text = {0};
    rqc_err rc = rqci_remote_stats(side.url, &text, &err);
    if (rc != RQC_OK)
        (void)world_failed(w, "rqci_remote_stats", rc, *err.text ? err.text : rqc_err_text(rc));
    else if (text.len < 2 || text.data[0] != '{' || text.data[text.len - 1] != '}')
        rc = world_failed(w, "rqci_remote_stats", RQC_INTERNAL, "a part is missing");
    rqci_buf_free(&text);
    return rc;
}

// Each thread that answers has what it needs, also when it began without memory.
static bool served(world *w, bool told, check_text *why)
{
    patience_ms = LONG_MS;
    for (int i = 0; told && i < 4; i++)
        if (ask_stats(w) == RQC_NO_MEMORY)
            return check_no(why, "a question is still answered: %s", w->text);
    return true;
}

static rqc_err tell_subscribe(world *w)
{
    const rqc_err rc = subscribe(w, NULL, false);
    return rc == RQC_OK ? follow(w) : rc;
}

static rqc_err tell_one_workspace(world *w)
{
    const rqc_err rc = subscribe(w, home_id, true);
    return rc == RQC_OK ? follow(w) : rc;
}

static rqc_err tell_follow(world *w)
{
    rqc_err rc = write_more(w);
    if (rc == RQC_OK)
        rc = follow(w);
    return rc;
}

// The sidecar went, and what was written meanwhile came by no stream.
static void go_away(world *w)
{
    serve_and_follow(w);
    stop_sidecar();
    must(w, write_more(w));
}

static rqc_err tell_come_back(world *w)
{
    const rqc_err rc = tell_serve(w);
    return rc == RQC_OK ? follow(w) : rc;
}

// The view is another one, at the same position: only the digest tells.
static void differ(world *w)
{
    rqc_error err = {.text = ""};
    serve_and_follow(w);
    wipe_trace(w);
    if (rqc_verify(w->db, 1, NULL, NULL, NULL, &err) != RQC_OK)
        die("rqc_verify: %s", err.text);
}

static bool mended(world *w, bool told, check_text *why)
{
    rqc_sub_stats s = {.size = sizeof s};
    if (!followed(w, told, why))
        return false;
    if (!told)
        return true;
    (void)rqc_sub_stats_read(app.sub, &s);
    return s.mends + s.resets > 0 || check_no(why, "no difference was noticed");
}

// A peer that breaks off its handshake ends nng's listener: others are refused for some ticks.
static rqc_err soon(world *w, rqc_err (*tell)(world *w))
{
    const int64_t until = fault_now_us() + patience_ms * 1000;
    rqc_err rc;
    while ((rc = tell(w)) != RQC_OK && patience_ms == LONG_MS && fault_now_us() < until)
        fault_sleep_us(RQCI_NET_TICK_MS * 1000);
    return rc;
}

static rqc_err tell_stats(world *w)
{
    return soon(w, ask_stats);
}

static void serve_others(world *w)
{
    rqci_errbuf err = {""};
    serve(w);
    if (rqci_sidecar_note_write(w->path, side.url, &err) != RQC_OK)
        die("%s", err.text);
}

// Whether a transaction went is not known when its answer did not come.
static rqc_err write_remote(world *w)
{
    rqc_error err = {.text = ""};
    rqc_txn *t = NULL;
    rqc_db *db = NULL;
    char key[32];
    const uint64_t mine = w->next;
    snprintf(key, sizeof key, "key %" PRIu64, mine);
    rqc_err rc = rqc_attach(w->path, &w->options, &db, &err);
    if (rc == RQC_OK)
        rc = rqc_txn_new(db, &t, &err);
    if (rc != RQC_OK)
        (void)world_failed(w, "rqc_attach, rqc_txn_new", rc, err.text);
    else
        rc = commit(w, t, 2, 0, key);
    for (uint64_t n = mine; rc != RQC_OK && n < w->next; n++)
        if (w->state[n] == WORLD_REFUSED)
            w->state[n] = WORLD_EITHER;
    rqc_txn_free(t);
    rqc_close(db);
    return rc;
}

static rqc_err tell_write_remote(world *w)
{
    return soon(w, write_remote);
}

static const story stories[] = {
    {.name = "serve",
     .start = START_CLEAN,
     .opens = true,
     .tell = tell_serve,
     .after = served,
     .end = end_stream},
    {.name = "subscribe",
     .start = START_CLEAN,
     .opens = true,
     .prepare = serve,
     .tell = tell_subscribe,
     .after = followed,
     .end = end_stream},
    {.name = "one-workspace",
     .start = START_CLEAN,
     .opens = true,
     .prepare = serve,
     .tell = tell_one_workspace,
     .after = followed,
     .end = end_stream},
    {.name = "follow",
     .start = START_CLEAN,
     .opens = true,
     .prepare = serve_and_follow,
     .tell = tell_follow,
     .after = followed,
     .end = end_stream},
    {.name = "come-back",
     .start = START_CLEAN,
     .opens = true,
     .prepare = go_away,
     .tell = tell_come_back,
     .after = followed,
     .end = end_stream},
    {.name = "mend",
     .start = START_CLEAN,
     .opens = true,
     .prepare = differ,
     .tell = follow,
     .after = mended,
     .end = end_stream},
    {.name = "stats",
     .start = START_CLEAN,
     .opens = true,
     .prepare = serve,
     .tell = tell_stats,
     .after = followed,
     .end = end_stream},
    {.name = "write-remote",
     .start = START_CLEAN,
     .opens = true,
     .prepare = serve_others,
     .tell = tell_write_remote,
     .after = followed,
     .end = end_stream},
};
#define STORIES (sizeof stories / sizeof *stories)

#endif
