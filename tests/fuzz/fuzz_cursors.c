// SPDX-License-Identifier: Apache-2.0
// Cursors from anywhere, against a small database: as structures of the public header with any
// bytes in them, as texts of the command line, as questions of the stream. What is accepted must go
// on exactly where it says: behind that place of the whole list, which is read once.
//
// The first byte says what the others are.
#include "tests/fuzz/fuzz.h"

#include "api/cli/cursor.h"
#include "api/engine.h"
#include "replicate/message.h"

#include <errno.h>
#include <ftw.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REQUESTS   48u
#define WORKSPACES 3u
#define RETAIN     32u // so that the history has a horizon inside
#define FAR        100000u

enum {
    AS_PAGE,
    AS_UPDATES,
    AS_CHANGES,
    AS_PAGE_TEXT,
    AS_CHANGES_TEXT,
    AS_QUESTION,
    AS_POSITION_TEXT,
    AS_ALL
};

// ---- The database -------------------------------------------------------------------------------

static struct {
    char folder[64];
    rqc_db *db;
    rqc_read *read;
    rqc_position position;
    uint64_t horizon;
    rqc_list list; // of the question that is tried
    rqc_changes_list changes;
} g = {.folder = ""};

static void must(rqc_err rc, const char *what)
{
    if (rc != RQC_OK)
        fuzz_broken(what, rqc_err_text(rc));
}

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(name);
}

static void clean_up(void)
{
    rqc_read_free(g.read);
    rqc_close(g.db);
    rqc_list_free(&g.list);
    rqc_changes_free(&g.changes);
    (void)nftw(g.folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_id(uint8_t id[16], uint8_t kind, uint8_t n)
{
    memset(id, 0, 16);
    id[0] = kind;
    id[15] = n;
}

static void workspace_id(uint8_t id[16], unsigned n)
{
    make_id(id, 1, (uint8_t)(n % (WORKSPACES + 1))); // one that is not there, too
}

// Times that meet, and the ends of the range.
static int64_t time_of(unsigned n)
{
    static const int64_t times[] = {0, INT64_MIN, INT64_MAX, -1, 5, 5, 5, 1760000000};
    return n % 3 == 0 ? times[n / 3 % 8] : (int64_t)(n / 4);
}

static void put_request(rqc_txn *t, unsigned n, unsigned workspace)
{
    rqc_value row[RQC_HTTP_NFIELDS] = {{0}};
    uint8_t id[16], ws[16], parent[16];
    make_id(id, 2, (uint8_t)(n * 37));
    workspace_id(ws, workspace);
    make_id(parent, 2, 0);
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(ws);
    row[RQC_HTTP_NAME] = rqc_text("n");
    row[RQC_HTTP_URL] = rqc_text("u");
    row[RQC_HTTP_METHOD] = rqc_text(n % 2 ? "GET" : "POST");
    row[RQC_HTTP_UPDATED_AT] = rqc_int(time_of(n));
    if (n > 0 && n % 5 == 0) {
        row[RQC_HTTP_IS_DELTA] = rqc_bool(1);
        row[RQC_HTTP_PARENT_HTTP_ID] = rqc_id(parent);
    }
    must(rqc_put(t, RQC_HTTP, id, row), "put");
    if (n % 4 == 0) {
        rqc_value header[RQC_HTTP_HEADER_NFIELDS] = {{0}};
        header[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(id);
        header[RQC_HTTP_HEADER_HEADER_KEY] = rqc_text("k");
        header[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_text("v");
        must(rqc_put(t, RQC_HTTP_HEADER, id, header), "put");
    }
}

static void commit(rqc_txn *t)
{
    rqc_result r;
    must(rqc_commit(t, &r), "commit");
    g.position = r.position;
}

// History ends somewhere, at the same place in every run.
static void compact(void)
{
    rqci_errbuf err = {""};
    for (bool more = true; more;)
        must(rqci_store_compact(g.db->store, rqci_keeper_needs, g.db, &more, &err), "compaction");
}

static void fill(void)
{
    rqc_txn *t;
    uint8_t id[16];
    must(rqc_txn_new(g.db, &t, NULL), "transaction");
    for (unsigned i = 1; i <= WORKSPACES; i++) {
        rqc_value row[RQC_WORKSPACES_NFIELDS] = {{0}};
        workspace_id(id, i);
        row[RQC_WORKSPACES_NAME] = rqc_text("w");
        must(rqc_put(t, RQC_WORKSPACES, id, row), "put");
    }
    for (unsigned i = 0; i < REQUESTS; i++)
        put_request(t, i, 1 + i % WORKSPACES);
    commit(t);
    for (unsigned i = 1; i < REQUESTS; i += 3) { // some go, some move, some change
        make_id(id, 2, (uint8_t)(i * 37));
        if (i % 2)
            must(rqc_delete(t, RQC_HTTP, id, 0), "delete");
        else
            put_request(t, i, 1 + (i + i / 4) % WORKSPACES);
        commit(t);
    }
    compact();
    put_request(t, 1, 1); // the view learns of the horizon
    commit(t);
    rqc_txn_free(t);
}

static void begin(void)
{
    rqc_options o = RQC_OPTIONS_INIT;
    char path[128];
    rqc_error e = {RQC_OK, ""};
    rqc_stats stats = {.size = sizeof stats};
    snprintf(g.folder, sizeof g.folder, "/tmp/rqc-fuzz-XXXXXX");
    if (!mkdtemp(g.folder))
        fuzz_broken("mkdtemp", strerror(errno));
    snprintf(path, sizeof path, "%s/test.db", g.folder);
    o.create = 1;
    o.view_dir = g.folder;
    o.retain = RETAIN;
    must(rqc_open(path, &o, &g.db, &e), e.text);
    rqci_keeper_stop(g.db); // no housekeeping at times of its own
    fill();
    must(rqc_stats_read(g.db, &stats, NULL), "stats");
    must(rqc_read_new(g.db, &g.read, NULL), "session");
    g.horizon = stats.horizon;
    if (g.horizon < 8 || g.horizon + 8 > g.position.seq || g.position.seq > UINT8_MAX)
        fuzz_broken("the history has no horizon inside", "");
    (void)atexit(clean_up);
}

// ---- Bytes --------------------------------------------------------------------------------------

typedef struct source {
    const uint8_t *p;
    size_t n;
} source;

static void take_bytes(source *s, void *ret, size_t n)
{
    const size_t have = n < s->n ? n : s->n;
    memset(ret, 0, n);
    if (have > 0)
        memcpy(ret, s->p, have);
    s->p += have;
    s->n -= have;
}

static uint8_t take8(source *s)
{
    uint8_t v;
    take_bytes(s, &v, 1);
    return v;
}

static uint64_t take64(source *s)
{
    uint64_t v;
    take_bytes(s, &v, 8);
    return v;
}

// ---- Pages and updates --------------------------------------------------------------------------

static bool is_method(const rqc_record *r, const char *method)
{
    const rqc_value v = rqc_field(r, RQC_HTTP_METHOD);
    return !method || (v.n == strlen(method) && memcmp(v.p, method, v.n) == 0);
}

typedef struct listing { // a question that pages answer
    bool updates;
    uint8_t workspace[16];
    int64_t since, until;
    const char *method;
} listing;

static rqc_err ask(const listing *q, uint32_t limit, rqc_page_cursor *c, rqc_list *ret)
{
    return q->updates
               ? rqc_updates(g.read, q->workspace, q->since, q->until, q->method, limit, c, ret)
               : rqc_page(g.read, q->workspace, q->until, q->method, limit, c, ret);
}

// True when the record comes behind the cursor's place.
static bool behind(const listing *q, const rqc_record *r, const rqc_page_cursor *c)
{
    const int64_t updated = rqc_record_updated(r);
    if (updated != c->updated_at)
        return q->updates ? updated > c->updated_at : updated < c->updated_at;
    return memcmp(rqc_record_id(r), c->id, 16) > 0;
}

// What is found from here must be the whole list from the cursor's place on.
static void try_listing(const listing *q, uint32_t limit, rqc_page_cursor c)
{
    rqc_list whole = RQC_LIST_INIT;
    listing all = *q;
    all.method = NULL;
    all.since = INT64_MIN;
    all.until = RQC_ANY_TIME;
    must(ask(&all, RQC_PAGE_MAX, NULL, &whole), "the whole list");
    size_t at = 0;
    for (unsigned step = 0; step < 4 && c.state < 2; step++) {
        const rqc_page_cursor from = c;
        must(ask(q, limit, &c, &g.list), "a page");
        if (g.list.n > limit || c.state > 2 || (limit > 0 && c.state == 0))
            fuzz_broken("a page beyond its limit, or without an end", "");
        size_t n = 0;
        for (; at < whole.n && n < g.list.n; at++) {
            const rqc_record *r = whole.items[at];
            if ((from.state == 1 && !behind(q, r, &from)) || rqc_record_updated(r) > q->until ||
                (q->updates && rqc_record_updated(r) <= q->since) || !is_method(r, q->method))
                continue;
            if (r != g.list.items[n++])
                fuzz_broken("a page has another record", "");
        }
        if (n < g.list.n || (c.state == 1 && limit > 0 && n < limit))
            fuzz_broken("a page has too many records, or too few", "");
        for (size_t i = at; c.state == 2 && i < whole.n; i++) {
            const rqc_record *r = whole.items[i];
            if ((from.state != 1 || behind(q, r, &from)) && rqc_record_updated(r) <= q->until &&
                !(q->updates && rqc_record_updated(r) <= q->since) && is_method(r, q->method))
                fuzz_broken("a walk ended too early", "");
        }
        if (limit == 0)
            break;
    }
    rqc_list_free(&whole);
}

static void take_listing(source *s, bool updates, listing *ret, uint32_t *ret_limit)
{
    static const char *const methods[] = {NULL, "GET", "POST", ""};
    const uint8_t how = take8(s);
    *ret = (listing){.updates = updates, .since = INT64_MIN, .until = RQC_ANY_TIME};
    workspace_id(ret->workspace, how);
    ret->method = methods[how >> 2 & 3];
    if (how & 0x10)
        ret->since = (int64_t)take64(s);
    if (how & 0x20)
        ret->until = (int64_t)take64(s);
    *ret_limit = how & 0x40 ? FAR : take8(s);
}

static void try_page(source *s, bool updates)
{
    listing q;
    uint32_t limit;
    rqc_page_cursor c;
    take_listing(s, updates, &q, &limit);
    c.updated_at = (int64_t)take64(s);
    take_bytes(s, c.id, 16);
    c.state = take8(s);
    rqc_page_cursor copy = c;
    if (c.state > 2) {
        if (ask(&q, limit, &copy, &g.list) != RQC_INVALID || memcmp(&copy, &c, sizeof c) != 0)
            fuzz_broken("a cursor that none gave", "");
    } else if (c.state == 2) {
        must(ask(&q, limit, &copy, &g.list), "behind the end");
        if (g.list.n != 0)
            fuzz_broken("records behind the end", "");
    } else {
        try_listing(&q, limit, c);
    }
}

static void try_page_text(const char *text)
{
    rqc_page_cursor c, again;
    char written[CLI_PAGE_CURSOR_TEXT];
    const rqc_err rc = cli_page_cursor_parse(text, &c);
    if (rc != RQC_OK && rc != RQC_INVALID)
        fuzz_broken("an error of another kind", rqc_err_text(rc));
    if (rc != RQC_OK)
        return;
    cli_page_cursor_format(&c, written);
    const size_t number = strcspn(written, ".");
    if (cli_page_cursor_parse(written, &again) != RQC_OK || again.updated_at != c.updated_at ||
        again.state != 1 || memcmp(again.id, c.id, 16) != 0)
        fuzz_broken("a cursor that reads as another", text);
    if (strncmp(written, text, number + 1) != 0)
        fuzz_broken("a cursor of another time than it says", text);
    listing q = {.updates = false, .since = INT64_MIN, .until = RQC_ANY_TIME};
    workspace_id(q.workspace, 1);
    try_listing(&q, 5, c);
}

// ---- Changes ------------------------------------------------------------------------------------

static int compare_change(const rqc_change *a, const rqc_cursor *c)
{
    if (a->seq != c->seq)
        return a->seq < c->seq ? -1 : 1;
    if (c->entity == 0) // everything at seq was seen
        return 0;
    if (a->entity != c->entity)
        return a->entity < c->entity ? -1 : 1;
    return memcmp(a->id, c->id, 16);
}

static void try_changes(const uint8_t *workspace, uint32_t limit, rqc_cursor c)
{
    rqc_changes_list whole = RQC_CHANGES_INIT;
    rqc_cursor zero = RQC_CURSOR_INIT(0);
    int end = 0;
    must(rqc_changes(g.read, workspace, &zero, RQC_PAGE_MAX, &whole, &end), "all changes");
    if (!end || zero.seq != g.position.seq)
        fuzz_broken("all changes are not all", "");
    end = 0;
    for (unsigned step = 0; step < 4 && !end; step++) {
        const rqc_cursor from = c;
        const rqc_err rc = rqc_changes(g.read, workspace, &c, limit, &g.changes, &end);
        const bool future = from.seq > g.position.seq || from.started > g.position.seq;
        const uint64_t needs = from.started ? from.started : from.seq;
        const bool none = limit == 0 || from.entity > RQC_HTTP_RESPONSE_ASSERT;
        if (rc != RQC_OK) {
            const rqc_err why = none ? RQC_INVALID : future ? RQC_FUTURE : RQC_TOO_OLD;
            if (from.seq != c.seq || from.entity != c.entity || from.started != c.started ||
                memcmp(from.id, c.id, 16) != 0)
                fuzz_broken("a refused cursor was moved", rqc_err_text(rc));
            if (rc != why || (rc == RQC_TOO_OLD && needs > g.horizon))
                fuzz_broken("a cursor is refused", rqc_err_text(rc));
            break;
        }
        if (none || future || (needs != 0 && needs < g.horizon) || g.changes.n > limit)
            fuzz_broken("a cursor of the future or the past, or a page beyond its limit", "");
        size_t at = 0;
        while (at < whole.n && compare_change(&whole.items[at], &from) <= 0)
            at++;
        for (size_t i = 0; i < g.changes.n; i++, at++)
            if (at == whole.n || whole.items[at].seq != g.changes.items[i].seq ||
                whole.items[at].entity != g.changes.items[i].entity ||
                whole.items[at].op != g.changes.items[i].op ||
                memcmp(whole.items[at].id, g.changes.items[i].id, 16) != 0)
                fuzz_broken("changes have another record", "");
        if (end ? at != whole.n || c.seq != g.position.seq || c.entity != 0 : at == whole.n)
            fuzz_broken("changes end at the wrong place", "");
        if (!end && g.changes.n != limit)
            fuzz_broken("a page of changes is not full", "");
    }
    rqc_changes_free(&whole);
}

static void try_changes_bytes(source *s)
{
    uint8_t workspace[16];
    const uint8_t how = take8(s);
    const uint32_t limit = how & 0x40 ? FAR : take8(s);
    rqc_cursor c;
    workspace_id(workspace, how);
    memset(&c, 0, sizeof c);
    // Near the head, or anywhere.
    c.seq = how & 8 ? take64(s) : take8(s);
    c.started = how & 16 ? take64(s) : how & 4 ? take8(s) : 0;
    c.entity = take8(s);
    take_bytes(s, c.id, 16);
    try_changes(how & 0x20 ? NULL : workspace, limit, c);
}

static void try_changes_text(const char *text)
{
    const rqc_position here = {"0123456789abcde", 3, g.position.seq}; // the same in every run
    rqc_cursor c, again;
    char written[CLI_CHANGES_CURSOR_TEXT];
    const rqc_err rc = cli_changes_cursor_parse(text, &here, &c);
    if (rc != RQC_OK && rc != RQC_INVALID && rc != RQC_EPOCH_CHANGED)
        fuzz_broken("an error of another kind", rqc_err_text(rc));
    if (rc != RQC_OK)
        return;
    cli_changes_cursor_format(&here, &c, written);
    if (strlen(written) + 1 == sizeof written ||
        cli_changes_cursor_parse(written, &here, &again) != RQC_OK || again.seq != c.seq ||
        again.entity != c.entity || again.started != c.started || memcmp(again.id, c.id, 16) != 0)
        fuzz_broken("a cursor that reads as another", text);
    const char *last = strrchr(text, '/');
    if (last && last[1 + strspn(last + 1, "0123456789")])
        fuzz_broken("a cursor with a number that is none", text);
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)c.started);
    if (last && strcmp(last + 1 + strspn(last + 1, "0") - (c.started == 0), number) != 0)
        fuzz_broken("a cursor with another number than it says", text);
    uint8_t workspace[16];
    workspace_id(workspace, 1);
    try_changes(workspace, 3, c);
}

static void try_question(source *s)
{
    rqci_ask_changes a;
    rqci_message m;
    uint8_t *p = malloc(s->n > 0 ? s->n : 1);
    if (!p)
        return;
    if (s->n > 0)
        memcpy(p, s->p, s->n);
    if (s->n >= 20) { // else nothing but size and check value would be tried
        rqci_put32(p + 16, (uint32_t)s->n);
        rqci_put64(p + 8, rqci_xxh64(p + 16, s->n - 16));
    }
    if (rqci_message_decode(p, s->n, RQCI_ASK_MAGIC, &m, NULL) == RQC_OK &&
        rqci_ask_changes_decode(&m, &a, NULL) == RQC_OK)
        try_changes(a.flags & RQCI_FRAME_ALL ? NULL : a.topic,
                    a.limit < RQC_PAGE_MAX ? a.limit : RQC_PAGE_MAX, a.cursor);
    free(p);
}

static void try_position_text(const char *text)
{
    rqc_position p, again;
    char written[RQC_POSITION_TEXT];
    for (unsigned i = 0; i < 2; i++) {
        if (rqc_position_parse(text, i ? &g.position : NULL, &p) != RQC_OK)
            continue;
        rqc_position_format(&p, written);
        if (rqc_position_parse(written, NULL, &again) != RQC_OK || again.seq != p.seq ||
            again.term != p.term || memcmp(again.store_id, p.store_id, 16) != 0)
            fuzz_broken("a position that reads as another", text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!g.db)
        begin();
    if (size < 1 || size > 4096)
        return 0;
    source s = {data + 1, size - 1};
    char *text = malloc(s.n + 1);
    if (!text)
        return 0;
    if (s.n > 0)
        memcpy(text, s.p, s.n);
    text[s.n] = 0;
    must(rqc_read_begin(g.read), "session");
    switch (data[0] % AS_ALL) {
    case AS_PAGE: try_page(&s, false); break;
    case AS_UPDATES: try_page(&s, true); break;
    case AS_CHANGES: try_changes_bytes(&s); break;
    case AS_PAGE_TEXT: try_page_text(text); break;
    case AS_CHANGES_TEXT: try_changes_text(text); break;
    case AS_QUESTION: try_question(&s); break;
    default: try_position_text(text); break;
    }
    rqc_read_end(g.read);
    free(text);
    return 0;
}
