// SPDX-License-Identifier: Apache-2.0
//
// A subscriber that has not what the digest says: frames are forged on their way so that nothing
// but the digest can tell. It fetches the buckets that differ, and no more; it starts over where
// that does not help.
#include "api/reqcast.h"

#include "replicate/sp.h"
#include "tests/shim.h"
#include "tests/store_sidecar.h"

#define RECORDS 3000
#define FEW     200 // records of some buckets: much less than all

static char through[120];
static shim between;

// What is done to the next frames of changes, and to questions; the shim's threads look.
enum forgery { NOTHING, DROP_LAST, WRONG_DIGEST };
static _Atomic int forgery;
static _Atomic unsigned forged, cuts, unknown;

// ---- Forging ------------------------------------------------------------------------------------

static bool forge_frame(shim *s, const uint8_t *p, size_t n, rqci_buf *out)
{
    rqci_frame f;
    rqc_change c;
    size_t offset = 0;
    const int how = atomic_load(&forgery);
    (void)s;
    if (how == NOTHING || rqci_frame_decode(p, n, &f, NULL) != RQC_OK)
        return true;
    const bool marks = f.flags & RQCI_FRAME_BOOKMARK;
    if (how == WRONG_DIGEST && marks)
        f.digest.lo ^= 1;
    else if (how != DROP_LAST || f.count < 2)
        return true;
    bool good = rqci_frame_begin(out, &f) == RQC_OK;
    uint32_t count = 0;
    for (; good && count + !marks < f.count && rqci_frame_next(&f, &offset, &c); count++)
        good = rqci_frame_add(out, &c) == RQC_OK;
    rqci_frame_end(out, 0, count);
    atomic_fetch_add(&forged, 1);
    if (how == DROP_LAST)
        atomic_store(&forgery, NOTHING);
    return good;
}

// `cuts`: so many questions of a mending end the connection; `unknown`: so many are none that the
// sidecar knows.
static bool judge_question(shim *s, const uint8_t *p, size_t n, rqci_buf *out)
{
    rqci_message m;
    rqci_ask_changes a;
    (void)s;
    if (n < 4 || rqci_message_decode(p + 4, n - 4, RQCI_ASK_MAGIC, &m, NULL) != RQC_OK)
        return true;
    const bool digests = m.what == RQCI_ASK_BUCKETS;
    const bool walk =
        m.what == RQCI_ASK_CHANGES && rqci_ask_changes_decode(&m, &a, NULL) == RQC_OK && a.some;
    if ((digests || walk) && atomic_load(&cuts) > 0) {
        atomic_fetch_sub(&cuts, 1);
        return false;
    }
    if (!digests || atomic_load(&unknown) == 0)
        return true;
    atomic_fetch_sub(&unknown, 1);
    bool good = rqci_buf_add(out, p, n) == RQC_OK;
    rqci_put32(out->data + 4 + 20, 99);
    rqci_put64(out->data + 4 + 8, rqci_xxh64(out->data + 4 + 16, n - 4 - 16));
    return good;
}

// ---- Bookmarks ----------------------------------------------------------------------------------

static _Atomic bool nudging;

// Asks for bookmarks of both topics, much oftener than they come by themselves.
static void *nudge(void *arg)
{
    const uint8_t hand[8] = {0, 'S', 'P', 0, 0, RQCI_SP_REQ, 0, 0};
    uint8_t answer[512];
    const int fd = shim_connect(sdb_ask_path);
    rqci_buf b = {0};
    (void)arg;
    bool good = shim_write(fd, hand, 8) && shim_read(fd, answer, 8);
    for (unsigned i = 0; good && atomic_load(&nudging); i++) {
        rqci_hello h = {.flags = RQCI_HELLO_NUDGE | (i % 2 ? RQCI_HELLO_ALL : 0)};
        uint8_t asked[256] = {0x80};
        if (i % 2 == 0)
            memcpy(h.topic, sdb_workspace, 16);
        good = rqci_ask_hello(&b, &h) == RQC_OK && b.len + 4 <= sizeof asked;
        if (good)
            memcpy(asked + 4, b.data, b.len);
        good = good && shim_message(fd, asked, 4 + b.len) && shim_read(fd, answer, 9) &&
               rqci_get64be(answer + 1) <= sizeof answer &&
               shim_read(fd, answer, (size_t)rqci_get64be(answer + 1));
        sdb_pause_ms(20);
    }
    close(fd);
    rqci_buf_free(&b);
    return (void *)(uintptr_t)good;
}

// ---- The subscriber -----------------------------------------------------------------------------

typedef struct mirror {
    bool there[RECORDS];
    uint64_t seq[RECORDS], staged_events, told, resets, differs, follows, torn;
    rqc_err reason;
    uint64_t last; // position up to which it is whole
} mirror;

static size_t number_of(const uint8_t id[16])
{
    size_t n = 0;
    for (int i = 8; i < 16; i++)
        n = n << 8 | id[i];
    return n;
}

static void take(mirror *m, const rqc_event *e)
{
    switch (e->kind) {
    case RQC_EVENT_RESET:
        m->resets++;
        m->reason = e->reason;
        memset(m->there, 0, sizeof m->there);
        break;
    case RQC_EVENT_STATE:
        m->differs += e->reason == RQC_DIFFERENT;
        m->follows += e->reason == RQC_OK;
        break;
    case RQC_EVENT_CHANGES:
        for (size_t i = 0; i < e->n; i++) {
            const size_t n = number_of(e->items[i].id);
            if (e->items[i].entity != RQC_HTTP || n >= RECORDS)
                continue;
            m->there[n] = e->items[i].op == 1;
            m->seq[n] = e->items[i].seq;
        }
        m->told += e->n;
        m->staged_events += e->more != 0;
        if (e->more)
            break;
        m->last = e->place.cursor.seq;
        break;
    case RQC_EVENT_BOOKMARK: m->last = e->place.cursor.seq; break;
    }
}

static uint64_t agreed(rqc_sub *s)
{
    rqc_sub_stats st = {.size = sizeof st};
    (void)rqc_sub_stats_read(s, &st);
    return st.compared - st.different;
}

// Steps until `more` digests more have agreed.
static bool follow(rqc_sub *s, mirror *m, uint64_t more)
{
    const uint64_t want = agreed(s) + more;
    rqc_event e;
    for (int i = 0; i < 2000 && agreed(s) < want; i++)
        if (rqc_sub_next(s, 10, &e) == RQC_OK)
            take(m, &e);
    return agreed(s) >= want;
}

// The same behind a position: digests that agreed before it say nothing.
static bool follow_past(rqc_sub *s, mirror *m, uint64_t seq)
{
    rqc_event e;
    for (int i = 0; i < 2000 && m->last < seq; i++)
        if (rqc_sub_next(s, 10, &e) == RQC_OK)
            take(m, &e);
    return m->last >= seq && follow(s, m, 1);
}

// Until the digests were seen to differ.
static bool follow_to_difference(rqc_sub *s, mirror *m, uint64_t differences)
{
    rqc_event e;
    for (int i = 0; i < 2000 && m->differs < differences; i++)
        if (rqc_sub_next(s, 10, &e) == RQC_OK)
            take(m, &e);
    return m->differs >= differences;
}

static size_t wrong(const mirror *m, rqc_db *db)
{
    rqc_read *r = sdb_read(db);
    size_t n = 0;
    for (size_t i = 1; i < RECORDS; i++) {
        uint8_t id[16];
        const rqc_record *rec;
        sdb_id(id, 9, i);
        const bool there = rqc_get(r, RQC_HTTP, id, &rec) == RQC_OK;
        n += there != m->there[i] || (there && m->seq[i] != rqc_record_seq(rec));
    }
    rqc_read_free(r);
    return n;
}

// ---- Writes -------------------------------------------------------------------------------------

static void put_from(rqc_db *db, size_t from, size_t to, const char *name)
{
    rqc_txn *t = sdb_txn(db);
    rqc_err rc = sdb_put_workspace(t);
    for (size_t i = from; rc == RQC_OK && i < to; i++) {
        uint8_t id[16];
        sdb_id(id, 9, i);
        rc = sdb_put_http(t, id, name, (int64_t)i);
    }
    if (rc == RQC_OK)
        rc = rqc_commit(t, NULL);
    if (rc != RQC_OK)
        bail("%s", rqc_txn_error(t));
    rqc_txn_free(t);
}

static void delete_from(rqc_db *db, size_t from, size_t to)
{
    rqc_txn *t = sdb_txn(db);
    for (size_t i = from; i < to; i++) {
        uint8_t id[16];
        sdb_id(id, 9, i);
        if (rqc_delete(t, RQC_HTTP, id, 0) != RQC_OK)
            bail("%s", rqc_txn_error(t));
    }
    if (rqc_commit(t, NULL) != RQC_OK)
        bail("%s", rqc_txn_error(t));
    rqc_txn_free(t);
}

// ---- Checks -------------------------------------------------------------------------------------

static void drop_next(void)
{
    atomic_store(&forgery, DROP_LAST);
}

static void check_mended(rqc_sub *s, mirror *m, rqc_db *db, uint64_t mends, const char *what)
{
    rqc_sub_stats st = {.size = sizeof st};
    const uint64_t told = m->told, follows = m->follows;
    ok(follow_to_difference(s, m, mends), "%s: the digests differ", what);
    ok(follow(s, m, 1), "%s: then they agree", what);
    is(wrong(m, db), 0u, "%s: it has what the view has", what);
    is(m->resets, 0u, "%s: without starting over", what);
    is(m->follows, follows + 1, "%s: it says that it follows again", what);
    (void)rqc_sub_stats_read(s, &st);
    is(st.mends, mends, "%s: mended", what);
    ok(m->told - told < FEW, "%s: %llu records were told", what,
       (unsigned long long)(m->told - told));
}

static rqc_sub *subscribe(const uint8_t *workspace)
{
    rqc_sub_options o = RQC_SUB_OPTIONS_INIT;
    rqc_sub *s;
    rqc_error e;
    o.digest = o.bookmarks = 1;
    o.workspace = workspace;
    if (rqc_subscribe(through, &o, &s, &e) != RQC_OK)
        bail("subscribe: %s", e.text);
    return s;
}

static void check_topic(rqc_db *db, const uint8_t *workspace, const char *topic)
{
    static mirror m;
    char what[64];
    memset(&m, 0, sizeof m);
    rqc_sub *s = subscribe(workspace);
    ok(follow(s, &m, 1) && wrong(&m, db) == 0, "%s: it follows", topic);

    drop_next();
    put_from(db, 10, 13, topic);
    snprintf(what, sizeof what, "%s, a change was lost", topic);
    check_mended(s, &m, db, 1, what);

    drop_next();
    delete_from(db, 20, 22);
    snprintf(what, sizeof what, "%s, a delete was lost", topic);
    check_mended(s, &m, db, 2, what);

    drop_next();
    atomic_store(&cuts, 3);
    put_from(db, 30, 32, topic);
    snprintf(what, sizeof what, "%s, cut while it mends", topic);
    check_mended(s, &m, db, 3, what);
    is(atomic_load(&cuts), 0u, "the connection was cut");

    put_from(db, 20, 22, topic);
    ok(follow_past(s, &m, rqc_position_now(db).seq) && wrong(&m, db) == 0, "%s: it goes on", topic);
    rqc_unsubscribe(s);
}

static void check_writes_meanwhile(rqc_db *db)
{
    static mirror m;
    memset(&m, 0, sizeof m);
    rqc_sub *s = subscribe(NULL);
    ok(follow(s, &m, 1), "it follows");
    drop_next();
    put_from(db, 40, 42, "before");
    ok(follow_to_difference(s, &m, 1), "the digests differ");
    // What the bookmark does not know yet: more buckets differ, and it is caught up with.
    put_from(db, 50, 60, "meanwhile");
    delete_from(db, 60, 64);
    ok(follow(s, &m, 2), "written to while it mends: the digests agree");
    is(wrong(&m, db), 0u, "it has what the view has");
    is(m.resets, 0u, "without starting over");
    put_from(db, 60, 64, "again");
    rqc_unsubscribe(s);
}

static void check_start_over(rqc_db *db)
{
    static mirror m;
    memset(&m, 0, sizeof m);
    rqc_sub *s = subscribe(NULL);
    rqc_sub_stats st = {.size = sizeof st};
    ok(follow(s, &m, 1), "it follows");
    drop_next();
    atomic_store(&unknown, 1);
    put_from(db, 70, 72, "unknown");
    ok(follow_to_difference(s, &m, 1) && follow(s, &m, 1), "a sidecar that knows no buckets");
    ok(m.resets == 1 && m.reason == RQC_DIFFERENT, "it starts over, and says why");
    is(wrong(&m, db), 0u, "it has what the view has");

    // Digests that are never right: mended once, then anew.
    atomic_store(&forgery, WRONG_DIGEST);
    rqc_event e;
    for (int i = 0; i < 2000 && m.resets < 2; i++)
        if (rqc_sub_next(s, 10, &e) == RQC_OK)
            take(&m, &e);
    atomic_store(&forgery, NOTHING);
    is(m.resets, 2u, "what cannot be mended is fetched anew");
    (void)rqc_sub_stats_read(s, &st);
    is(st.mends, 2u, "after one attempt");
    ok(follow(s, &m, 1), "the digests agree");
    is(wrong(&m, db), 0u, "it has what the view has");
    rqc_unsubscribe(s);
}

int main(void)
{
    sdb_sidecar_begin("mend");
    sdb_sidecar_start();
    shim_begin(&between, sdb_folder, 0, sdb_ask_path, 1, 0);
    between.frame = forge_frame;
    between.question = judge_question;
    snprintf(through, sizeof through, "ipc://%s", between.ask_path);
    rqc_db *db = sdb_attach();
    put_from(db, 1, RECORDS, "first");
    pthread_t nudger;
    void *nudged = NULL;
    atomic_store(&nudging, true);
    if (pthread_create(&nudger, NULL, nudge, NULL) != 0)
        bail("no thread");
    check_topic(db, NULL, "all");
    check_topic(db, sdb_workspace, "one");
    check_writes_meanwhile(db);
    check_start_over(db);
    ok(atomic_load(&forged) >= 8, "frames were forged");
    atomic_store(&nudging, false);
    pthread_join(nudger, &nudged);
    ok(nudged != NULL, "bookmarks were asked for");
    rqc_close(db);
    shim_end(&between);
    return tap_done();
}
