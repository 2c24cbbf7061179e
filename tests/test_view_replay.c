// SPDX-License-Identifier: Apache-2.0
// A view that follows change by change and one that is built anew must be equal: every `changes`
// from every cursor, every digest, every list. Random histories from a store in memory, with moves,
// orphans, changed keys, a moving horizon and compaction.
#include "cache/view.h"
#include "tests/fake_store.h"
#include "tests/tap.h"

#include <ftw.h>
#include <unistd.h>

static char top[] = "/tmp/reqcast-view-XXXXXX";

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

typedef struct seen {
    rqci_buf text; // everything that readers see, as bytes
} seen;

static void note(seen *s, const void *p, size_t n)
{
    if (rqci_buf_add(&s->text, p, n) != RQC_OK)
        bail("no memory");
}

static void note_record(seen *s, const rqc_record *r)
{
    rqci_errbuf err = {""};
    if (rqci_rec_verify(r, rqci_rec_size(r), true, &err) != RQC_OK)
        bail("damaged record: %s", err.text);
    note(s, r, rqci_rec_size(r));
}

// All changes behind `since` of one workspace (NULL: all), by pages of `limit`.
static void note_changes(seen *s, rqci_reader *r, const uint8_t *ws, uint64_t since, uint32_t limit)
{
    rqc_changes_list l = {NULL, 0, 0};
    rqc_cursor cursor = {.seq = since};
    bool done = false;
    while (!done) {
        const rqc_err rc = rqci_changes(r, ws, &cursor, limit, &l, &done);
        if (rc != RQC_OK)
            bail("changes since %" PRIu64 ": %d", since, (int)rc);
        for (size_t i = 0; i < l.n; i++) {
            note(s, &l.items[i].op, 1);
            note(s, &l.items[i].seq, 8);
            note(s, &l.items[i].entity, 1);
            note(s, l.items[i].id, 16);
            if (l.items[i].record != NULL)
                note_record(s, l.items[i].record);
        }
    }
    note(s, "|", 1);
    free(l.items);
}

static rqc_err note_ws(void *ctx, const rqci_ws_state *w)
{
    note(ctx, w->id, 16);
    note(ctx, &w->digest, sizeof w->digest);
    note(ctx, w->records, sizeof w->records);
    note(ctx, w->http, sizeof w->http);
    return RQC_OK;
}

// Workspaces that are empty and hold nothing but pruned history may be known to one view only; they
// are left out.
static rqc_err note_live_ws(void *ctx, const rqci_ws_state *w)
{
    return w->records[0] == 0 ? RQC_OK : note_ws(ctx, w);
}

// ---- Reads by time against the rows themselves ----

typedef struct wanted {
    uint8_t number;
    const fake_row *row;
} wanted;

static int older(const void *a, const void *b)
{
    const wanted *x = a, *y = b;
    return x->row->updated != y->row->updated ? (x->row->updated < y->row->updated ? -1 : 1)
                                              : x->number - y->number;
}

// Requests of workspace w (255: any) with since < updated ≤ until for which (flags & mask) == want,
// oldest first.
static size_t select_rows(const fake_store *store, uint8_t w, int64_t since, int64_t until,
                          uint8_t mask, uint8_t want, wanted ret[FAKE_IDS])
{
    size_t n = 0;
    for (uint8_t i = 0; i < FAKE_IDS; i++) {
        const fake_row *r = &store->rows[RQCI_HTTP][i];
        if (r->alive && (w == 255 || r->owner == w) && r->updated > since && r->updated <= until &&
            (r->flags & mask) == want)
            ret[n++] = (wanted){i, r};
    }
    qsort(ret, n, sizeof *ret, older);
    return n;
}

static void same_rows(const char *what, const rqci_list *got, const wanted *want, size_t n)
{
    bool same = got->n == n;
    for (size_t i = 0; same && i < n; i++)
        same = rqci_rec_id(got->items[i])[15] == want[i].number + 1;
    if (!same)
        bail("%s: %zu rows or their order are not the %zu wanted ones", what, got->n, n);
}

static void look_by_time(rqci_reader *r, const fake_store *store, uint8_t w)
{
    uint8_t id[16];
    wanted want[FAKE_IDS];
    rqci_list l = {NULL, 0, 0};
    fake_id(RQCI_WORKSPACES, w, id);
    for (int64_t since = 998; since <= 1006; since++) {
        const int64_t until = 1003;
        rqci_list all = {NULL, 0, 0};
        rqc_page_cursor cursor = {0};
        while (cursor.state != 2) {
            if (rqci_updates(r, id, since, until, NULL, 1 + (uint32_t)(since % 3), &cursor, &l) !=
                RQC_OK)
                bail("updates");
            for (size_t i = 0; i < l.n; i++)
                if (rqci_list_add(&all, l.items[i]) != RQC_OK)
                    bail("no memory");
        }
        same_rows("updates", &all, want, select_rows(store, w, since, until, 2, 0, want));
        rqci_list_free(&all);
        rqc_metrics m;
        if (rqci_metrics(r, id, since, &m) != RQC_OK)
            bail("metrics");
        const size_t total = select_rows(store, w, INT64_MIN, INT64_MAX, 0, 0, want);
        if (m.total != total ||
            (total > 0 &&
             (m.earliest != want[0].row->updated || m.latest != want[total - 1].row->updated)) ||
            m.delta != select_rows(store, w, INT64_MIN, INT64_MAX, 1, 1, want) ||
            m.recent != select_rows(store, w, since, INT64_MAX, 0, 0, want))
            bail("metrics of workspace %d since %d", w, (int)since);
        rqc_activity day = {0};
        size_t days = 0;
        if (rqci_activity(r, id, since, &day, 1, &days) != RQC_OK ||
            day.changes != select_rows(store, w, since - 1, INT64_MAX, 0, 0, want))
            bail("activity of workspace %d since %d", w, (int)since);
    }
    rqci_list_free(&l);
}

// Deltas of every request, in one call.
static void look_at_deltas(rqci_reader *r, const fake_store *store)
{
    uint8_t ids[FAKE_IDS][16];
    rqci_list l = {NULL, 0, 0};
    wanted all[FAKE_IDS], want[FAKE_IDS];
    size_t n = 0;
    const size_t deltas = select_rows(store, 255, 1000, 1004, 1, 1, all);
    for (uint8_t p = 0; p < FAKE_IDS; p++) {
        fake_id(RQCI_HTTP, (uint8_t)(FAKE_IDS - 1 - p), ids[p]);
        for (size_t i = 0; i < deltas; i++)
            if (all[i].row->parent == p)
                want[n++] = all[i];
    }
    if (rqci_deltas(r, (const uint8_t(*)[16])ids, FAKE_IDS, 1000, 1004, &l) != RQC_OK)
        bail("deltas");
    same_rows("deltas", &l, want, n);
    n = select_rows(store, 255, INT64_MIN, 1003, 0, 0, all);
    if (rqci_batch(r, (const uint8_t(*)[16])ids, FAKE_IDS, 1003, &l) != RQC_OK || l.n != n)
        bail("batch");
    rqci_list_free(&l);
}

static void look(seen *s, const char *dir, const fake_store *store, uint32_t limit)
{
    rqci_errbuf err = {""};
    rqci_mirror *m;
    rqci_reader *r;
    s->text.len = 0;
    if (rqci_mirror_open(dir, NULL, &m, &err) != RQC_OK || rqci_reader_new(m, &r, &err) != RQC_OK ||
        rqci_reader_begin(r, 0, &err) != RQC_OK)
        bail("cannot read %s: %s", dir, err.text);
    if (rqci_reader_check(r, &err) != RQC_OK)
        bail("check of %s at %" PRIu64 ": %s", dir, store->head, err.text);
    rqci_list l = {NULL, 0, 0};
    for (uint8_t w = 0; w < 4; w++) {
        uint8_t id[16] = {0};
        if (w < 3)
            fake_id(RQCI_WORKSPACES, w, id);
        const uint64_t from = fake_horizon(store);
        for (uint64_t since = from; since <= store->head; since++)
            note_changes(s, r, id, since, limit);
        note_changes(s, r, id, 0, limit);
        rqc_page_cursor cursor = {0};
        while (cursor.state != 2) {
            if (rqci_page(r, id, 1003, NULL, limit, &cursor, &l) != RQC_OK)
                bail("page");
            for (size_t i = 0; i < l.n; i++)
                note_record(s, l.items[i]);
        }
        if (w < 3)
            look_by_time(r, store, w);
        uint64_t count = 0;
        if (rqci_count(r, id, 1003, &count) != RQC_OK)
            bail("count");
        note(s, &count, sizeof count);
    }
    for (uint64_t since = fake_horizon(store); since <= store->head; since++)
        note_changes(s, r, NULL, since, limit);
    note_changes(s, r, NULL, 0, limit);
    for (size_t e = 0; e < sizeof fake_entities; e++)
        for (uint8_t n = 0; n < FAKE_IDS; n++) {
            uint8_t id[16], home[16];
            fake_id(fake_entities[e], n, id);
            const rqc_record *rec = NULL;
            const rqc_err rc = rqci_get(r, fake_entities[e], id, &rec);
            if ((rc == RQC_OK) != store->rows[fake_entities[e]][n].alive ||
                (rc != RQC_OK && rc != RQC_NOT_FOUND))
                bail("entity %d number %d: get says %d at %" PRIu64, fake_entities[e], n, (int)rc,
                     store->head);
            if (rc != RQC_OK)
                continue;
            rqci_buf want = {0};
            if (fake_pack(store, fake_entities[e], n, 1, &want) != RQC_OK ||
                !rqci_rec_same(rec, (const rqc_record *)(void *)want.data))
                bail("entity %d number %d differs at %" PRIu64, fake_entities[e], n, store->head);
            rqci_buf_free(&want);
            note_record(s, rec);
            if (rqci_home(r, fake_entities[e], id, home) != RQC_OK)
                bail("home");
            note(s, home, 16);
        }
    look_at_deltas(r, store);
    if (rqci_ws_each(r, note_live_ws, s) != RQC_OK)
        bail("workspaces");
    free(l.items);
    rqci_reader_end(r);
    rqci_reader_free(r);
    rqci_mirror_close(m);
}

static rqci_view *open_view(const char *dir, fake_store *store)
{
    rqci_source_state state;
    rqci_errbuf err = {""};
    rqci_view *v = NULL;
    rqci_view_options opt = {.dir = dir, .map_bytes = 1 << 20};
    fake_begin(store, &state, NULL);
    if (rqci_view_open(&opt, &state, &v, &err) != RQC_OK)
        bail("open %s: %s", dir, err.text);
    return v;
}

static void apply(rqci_view *v, fake_store *store, bool anew)
{
    rqci_source src = fake_source(store);
    rqci_errbuf err = {""};
    uint64_t seq = 0;
    const rqc_err rc =
        anew ? rqci_view_rebuild(v, &src, &seq, &err) : rqci_view_apply(v, &src, &seq, &err);
    if (rc != RQC_OK || seq != store->head)
        bail("apply: %d %s at %" PRIu64, (int)rc, err.text, store->head);
}

static void compact(rqci_view *v, fake_store *store)
{
    size_t kept = 0;
    const uint64_t horizon = fake_horizon(store);
    for (size_t i = 0; i < store->nlog; i++)
        if (store->log[i].seq > horizon || store->log[i].seq == store->head ||
            rqci_view_needs(v, &store->log[i], horizon))
            store->log[kept++] = store->log[i];
    store->nlog = kept;
}

static bool history(uint64_t seed, unsigned rounds)
{
    char dir[3][64];
    fake_store *store = calloc(1, sizeof *store);
    rqci_view *v[3];
    seen got[3] = {{{0}}, {{0}}, {{0}}};
    bool equal = true;
    store->random = seed;
    store->head = 1;
    store->term = 1;
    store->retain = 40;
    for (unsigned i = 0; i < 30; i++) // rows that were there before capture
        fake_step(store);
    store->nlog = 0;
    store->head = 1;
    for (int i = 0; i < 3; i++) {
        snprintf(dir[i], sizeof dir[i], "%s/%" PRIu64 "-%d", top, seed, i);
        v[i] = open_view(dir[i], store);
        apply(v[i], store, false);
    }
    for (unsigned round = 0; round < rounds && equal; round++) {
        for (uint32_t steps = 1 + fake_rand(store, 6); steps > 0; steps--) {
            fake_step(store);
            if (fake_rand(store, 3) == 0)
                apply(v[0], store, false); // the first follows closely
        }
        apply(v[0], store, false);
        apply(v[1], store, false); // the second in larger batches
        if (fake_rand(store, 4) != 0)
            continue;
        if (fake_rand(store, 2) == 0)
            compact(v[0], store);
        apply(v[2], store, true); // the third from the tables and the log
        for (int i = 0; i < 3; i++)
            look(&got[i], dir[i], store, i == 1 ? 3 : 1000);
        for (int i = 1; i < 3 && equal; i++) {
            equal = got[0].text.len == got[i].text.len &&
                    memcmp(got[0].text.data, got[i].text.data, got[0].text.len) == 0;
            if (!equal)
                tap_note("seed %" PRIu64 " round %u head %" PRIu64
                         ": view %d differs (%zu and %zu bytes)",
                         seed, round, store->head, i, got[0].text.len, got[i].text.len);
        }
    }
    for (int i = 0; i < 3; i++) {
        rqci_view_close(v[i]);
        rqci_buf_free(&got[i].text);
    }
    free(store);
    return equal;
}

int main(void)
{
    if (mkdtemp(top) == NULL)
        bail("mkdtemp");
    const char *one = getenv("RQC_TEST_SEED");
    const unsigned histories = one != NULL ? 1 : (unsigned)tap_scaled(40);
    bool equal = true;
    for (unsigned i = 0; i < histories && equal; i++)
        equal = history(one != NULL ? strtoull(one, NULL, 10) : i + 1, 120);
    ok(equal, "%u random histories: followed, batched and rebuilt views are equal at every cursor",
       histories);
    nftw(top, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return tap_done();
}
