// SPDX-License-Identifier: Apache-2.0
// Random transactions on one database, by the library and by other programs, and after each of them
// every read against plain SQL.
//
// A failure tells the seed of its database and the statements. RQC_TEST_SEED=N begins with that
// seed, RQC_TEST_ROUNDS=N does so many rounds (each database has 160), RQC_TEST_STORY=N tells the
// last N transactions as a whole.
#include "tests/property.h"

#include <unistd.h>

#define ROUNDS       160 // per database
#define ROUNDS_QUICK 2400

prop_test g;

static const char *const check_names[C_KINDS] = {
    [C_GET] = "get is what the row holds",
    [C_LARGE] = "large values come from the file",
    [C_WORKSPACES] = "workspaces",
    [C_PAGE] = "pages by every limit, cursor and method",
    [C_UPDATES] = "updates in a window of time",
    [C_COUNT] = "count",
    [C_BATCH] = "batches of requests by id",
    [C_DELTAS] = "deltas of many parents",
    [C_METRICS] = "metrics",
    [C_ACTIVITY] = "activity by day",
    [C_CHILDREN] = "children of all kinds",
    [C_CHAIN] = "chains of deltas",
    [C_RESOLVE] = "resolved requests",
    [C_ORDER] = "changes: each record once, in order, as it is",
    [C_MODEL] = "subscribers have what SQL has",
    [C_CURSOR] = "cursors that are too old or of the future",
    [C_TOUCHED] = "nothing is announced that nobody touched",
    [C_POSITION] = "positions never go back, writes are read",
    [C_OWN] = "own transactions do what SQL would",
    [C_PINNED] = "a session sees one position",
    [C_VERIFY] = "verify finds no difference",
    [C_REBUILD] = "a view built anew says the same from every cursor",
    [C_SPARE] = "a spare view stands in for one without room",
};

// ---- Random ----

uint64_t prop_random(void)
{
    uint64_t z = g.random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint32_t below(uint32_t n)
{
    return (uint32_t)((prop_random() >> 32) % n);
}

int id_number(const uint8_t *id)
{
    for (unsigned i = 0; i < NIDS; i++)
        if (memcmp(id, g.ids[i], 16) == 0)
            return (int)i;
    return NO_ID;
}

const char *id_name(const uint8_t *id)
{
    static char out[8][64];
    static unsigned next;
    char *p = out[next++ % 8];
    size_t at = (size_t)snprintf(p, sizeof out[0], "%d:", id_number(id));
    for (unsigned i = 0; i < 16; i++)
        at += (size_t)snprintf(p + at, sizeof out[0] - at, "%02x", id[i]);
    return p;
}

uint64_t horizon_of(uint64_t head)
{
    const uint64_t step = g.retain / 4;
    return head < g.retain ? 0 : (head - g.retain) / step * step;
}

// ---- Failure ----

_Noreturn void broken(int check, const char *fmt, ...)
{
    char what[1500];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    fail("%s", check_names[check]);
    tap_note("%s", what);
    tap_note("RQC_TEST_SEED=%" PRIu64 ", round %u of its database; retain %" PRIu64 "%s%s%s",
             g.seed, g.round, g.retain, g.hostile ? ", other storage classes" : "",
             g.short_ids ? ", short ids" : "", g.zero_used ? ", the zero id" : "");
    story_tell();
    foreign_close();
    if (getenv("RQC_TEST_KEEP") == NULL)
        remove_database();
    else
        tap_note("left in %s", g.dir);
    const int rc = tap_done();
    fflush(NULL);
    _exit(rc);
}

// ---- One round ----

static void sync_view(void)
{
    rqc_error err;
    const rqc_err rc = rqc_sync(g.db, &err);
    CHECK(C_POSITION, rc == (g.lagging ? RQC_NO_SPACE : RQC_OK), "sync: %d %s", (int)rc, err.text);
}

static void foreign_transaction(void)
{
    text t = {0};
    const bool in_child = chance(30);
    g.cover.statements += sql_transaction(&t);
    story_begin(in_child ? "transaction of a child" : "foreign transaction");
    for (const char *s = t.p; s < t.p + t.len; s += strlen(s) + 1)
        story_add(s);
    foreign_run(t.p, t.len, in_child);
    text_free(&t);
}

static void count_cover(void)
{
    uint64_t live = 0;
    for (unsigned e = 1; e < NENTITIES; e++)
        for (unsigned i = 0; i < NIDS; i++) {
            static const uint8_t zero[16];
            const prop_row *a = &g.before->rows[e][i], *b = &g.now->rows[e][i];
            const bool was = a->live && memcmp(a->home, zero, 16) == 0,
                       is = b->live && memcmp(b->home, zero, 16) == 0;
            live += b->live;
            g.cover.orphans += is && !was && e >= RQC_HTTP_HEADER;
            g.cover.homecomings += was && b->live && !is && e >= RQC_HTTP_HEADER;
            g.cover.moves += a->live && b->live && !was && !is && memcmp(a->home, b->home, 16) != 0;
        }
    g.cover.unmirrored += g.now->total - live;
}

static uint64_t stored_horizon(void)
{
    return (uint64_t)oracle_number("SELECT value FROM reqcast_meta WHERE key = 'horizon'");
}

static void compact(void)
{
    engine_compact(g.db);
    CHECK(C_REBUILD, stored_horizon() == horizon_of(g.now->head),
          "compacted up to %" PRIu64 " at %" PRIu64, stored_horizon(), g.now->head);
}

static void check_position(rqc_read *r)
{
    const rqc_position p = rqc_read_position(r);
    CHECK(C_POSITION,
          p.seq >= g.position.seq &&
              (g.position.seq == 0 ||
               (p.term == g.position.term && memcmp(p.store_id, g.position.store_id, 16) == 0)),
          "position %" PRIu32 ":%" PRIu64 " after %" PRIu32 ":%" PRIu64, p.term, p.seq,
          g.position.term, g.position.seq);
    CHECK(C_POSITION, p.seq == g.now->head, "the view is at %" PRIu64 ", the log at %" PRIu64,
          p.seq, g.now->head);
    if (p.seq != g.position.seq)
        g.horizon = stored_horizon();
    g.position = p;
}

static void begin(rqc_read *r)
{
    if (rqc_read_begin(r) != RQC_OK)
        broken(C_POSITION, "no session: %s", rqc_read_error(r));
}

// The owner's sessions, or the attached ones; those stand still while the shared view does.
static rqc_read *some_session(void)
{
    return g.lagging ? g.read[0] : g.read[below(2)];
}

static void write_something(void)
{
    const uint32_t kind = below(100);
    if (kind < 40) {
        own_transaction();
        return;
    }
    for (uint32_t n = chance(75) ? 1 : 1 + below(4); n > 0; n--)
        foreign_transaction();
    if (kind < 50) // picks up what they did, and adds to it
        own_transaction();
    sync_view();
}

// The state before this round, as a session tells that was begun then.
static void check_pinned(uint64_t position)
{
    CHECK(C_PINNED, rqc_read_position(g.pinned).seq == position,
          "a session moved from %" PRIu64 " to %" PRIu64, position,
          rqc_read_position(g.pinned).seq);
    check_gets(g.pinned, g.before, C_PINNED);
    rqc_read_end(g.pinned);
}

static void rotate(void)
{
    prop_state *const old = g.before;
    g.before = g.now;
    g.now = old;
    oracle_load(g.now);
}

static void look(uint64_t since)
{
    rqc_read *r = some_session();
    begin(r);
    check_position(r);
    check_gets(r, g.now, C_GET);
    check_touched(r, since);
    subscribers_follow(r, false);
    check_cursors(r);
    check_reads(r, 2);
    check_resolve(r);
    if (chance(15))
        check_walks(r);
    rqc_read_end(r);
}

// ---- The same after a rebuild ----

static void tell_difference(void *ctx, const rqc_difference *d)
{
    (void)ctx;
    story_blame(id_number(d->id));
    tap_note("verify: entity %u %s: %s", d->entity, id_name(d->id), d->what);
}

static rqc_verified verify(void)
{
    rqc_verified v = {0};
    rqc_error err = {.text = ""};
    const rqc_err rc =
        rqc_verify(chance(70) ? g.db : g.attached, 0, tell_difference, NULL, &v, &err);
    CHECK(C_VERIFY, rc == RQC_OK && v.differences == 0, "verify: %d, %" PRIu64 " differences: %s",
          (int)rc, v.differences, err.text);
    CHECK(C_VERIFY, v.position.seq == g.position.seq, "verified at %" PRIu64 ", not %" PRIu64,
          v.position.seq, g.position.seq);
    return v;
}

static prop_history *history(void)
{
    rqc_read *r = some_session();
    begin(r);
    prop_history *h = history_take(r, stored_horizon());
    rqc_read_end(r);
    return h;
}

static void check_stats(void)
{
    rqc_stats s = {.size = sizeof s};
    rqc_error err;
    uint64_t live = 0;
    for (unsigned e = 1; e < NENTITIES; e++)
        for (unsigned i = 0; i < NIDS; i++)
            live += g.now->rows[e][i].live;
    CHECK(C_VERIFY, rqc_stats_read(g.db, &s, &err) == RQC_OK, "stats: %s", err.text);
    CHECK(C_VERIFY,
          s.records == live && s.head == g.now->head && s.horizon == stored_horizon() &&
              !s.view_lagging,
          "stats: %" PRIu64 " records, head %" PRIu64 ", horizon %" PRIu64 "; SQL says %" PRIu64
          ", %" PRIu64 ", %" PRIu64,
          s.records, s.head, s.horizon, live, g.now->head, stored_horizon());
}

static void rebuild(void)
{
    static const char *const ways[] = {"built anew in place",
                                       "built anew in place",
                                       "built anew in place",
                                       "opened again",
                                       "opened again without its directory",
                                       "opened again after a crash"};
    const uint32_t way = below(sizeof ways / sizeof *ways);
    check_stats();
    if (chance(60))
        compact();
    const rqc_verified old = verify();
    prop_history *was = history();
    if (way < 3) {
        engine_rebuild(g.db);
    } else {
        close_database();
        if (way == 4)
            lose_views();
        if (way == 5)
            engine_mark_unclean(g.views);
        open_database();
        g.cover.reopened++;
    }
    g.horizon = way == 3 || way == 5 ? g.horizon : stored_horizon();
    prop_history *is = history();
    history_compare(was, is, ways[way]);
    const rqc_verified new = verify();
    CHECK(C_REBUILD, memcmp(old.digest, new.digest, 16) == 0 && old.records == new.records,
          "the digest is another one after it was %s", ways[way]);
    check_stats();
    history_free(was);
    history_free(is);
}

// The shared view has no room for a while. What the owner reads meanwhile is what it would read.
static void no_room(void)
{
    const uint64_t horizon = g.horizon, seq = g.position.seq;
    rqc_stats s = {.size = sizeof s};
    prop_history *was = history();
    engine_lag(g.db, true);
    g.lagging = true;
    prop_history *is = history();
    history_compare(was, is, "read from a spare view");
    history_free(was);
    history_free(is);
    g.horizon = stored_horizon();
    look(g.position.seq);
    for (uint32_t n = below(4); n > 0; n--) {
        const uint64_t since = g.position.seq;
        write_something();
        rotate();
        look(since);
    }
    CHECK(C_SPARE,
          rqc_stats_read(g.db, &s, NULL) == RQC_OK && s.view_lagging && s.spare &&
              s.position.seq == seq && rqc_position_now(g.db).seq == g.position.seq,
          "stats: lagging %d, spare %d, position %" PRIu64 " of %" PRIu64, s.view_lagging, s.spare,
          s.position.seq, s.head);
    engine_lag(g.db, false);
    g.lagging = false;
    g.horizon = g.position.seq == seq ? horizon : stored_horizon();
    look(g.position.seq);
    check_stats();
}

// Others write while nobody has the database open.
static void absence(void)
{
    close_database();
    for (uint32_t n = 1 + below(3); n > 0; n--)
        foreign_transaction();
    const bool lost = chance(30);
    if (lost)
        lose_views();
    open_database();
    g.horizon = lost ? stored_horizon() : g.horizon; // also where nobody wrote anything
    g.cover.reopened++;
}

static void one_round(void)
{
    const uint64_t since = g.position.seq;
    const bool pin = chance(25);
    if (chance(2)) {
        absence();
        rotate();
    } else {
        if (pin)
            begin(g.pinned);
        write_something();
        rotate();
        if (pin)
            check_pinned(since);
    }
    count_cover();
    look(since);
    if (chance(10))
        compact();
    if (below(8) == 0)
        rebuild();
    if (below(24) == 0)
        no_room();
}

static void database(uint64_t seed, unsigned rounds)
{
    start_database(seed);
    sync_view();
    oracle_load(g.now);
    oracle_load(g.before);
    look(0);
    for (g.round = 1; g.round <= rounds; g.round++)
        one_round();
    begin(g.read[0]);
    subscribers_follow(g.read[0], true);
    rqc_read_end(g.read[0]);
    end_database();
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *s = getenv(name);
    return s != NULL ? strtoull(s, NULL, 10) : otherwise;
}

static void show_cover(uint64_t rounds)
{
    const prop_cover *c = &g.cover;
    tap_note("%" PRIu64 " rounds; %" PRIu64 " foreign statements, %" PRIu64
             " refused; own transactions %" PRIu64 " done, %" PRIu64 " refused, %" PRIu64
             " writes invalid",
             rounds, c->statements, c->refused, c->own_ok, c->own_failed, c->invalid);
    tap_note("%" PRIu64 " rows lost their owner, %" PRIu64 " found one, %" PRIu64 " moved; %" PRIu64
             " rows not mirrored; %" PRIu64 " large values; %" PRIu64 " tombstones; %" PRIu64
             " cursors too old; %" PRIu64 " log rows compacted; %" PRIu64
             " times opened again; %" PRIu64 " chains of three; %" PRIu64 " overrides",
             c->orphans, c->homecomings, c->moves, c->unmirrored, c->large, c->tombstones,
             c->too_old, c->compacted, c->reopened, c->deep_chains, c->overrides);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--foreign") == 0)
        return foreign_child_main(argv[2]);
    const uint64_t first = setting("RQC_TEST_SEED", 1),
                   rounds = setting("RQC_TEST_ROUNDS", tap_scaled(ROUNDS_QUICK));
    prop_tables_init();
    for (uint64_t done = 0, seed = first; done < rounds; seed++) {
        const unsigned n = rounds - done < ROUNDS ? (unsigned)(rounds - done) : ROUNDS;
        database(seed, n);
        done += n;
    }
    for (int i = 0; i < C_KINDS; i++)
        ok(g.checks[i] > 0, "%s (%" PRIu64 " checks)", check_names[i], g.checks[i]);
    show_cover(rounds);
    const prop_cover *c = &g.cover;
    if (rounds >= 400)
        ok(c->refused > 0 && c->own_failed > 0 && c->orphans > 0 && c->homecomings > 0 &&
               c->moves > 0 && c->unmirrored > 0 && c->large > 0 && c->too_old > 0 &&
               c->future > 0 && c->tombstones > 0 && c->compacted > 0 && c->reopened > 0 &&
               c->child > 0,
           "everything that should happen did");
    if (rounds >= 2000) // such a delta, under a base of the same workspace, is rare
        ok(c->deep_chains > 0 && c->overrides > 0, "and so did what is rare");
    story_forget();
    return tap_done();
}
