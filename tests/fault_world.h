// SPDX-License-Identifier: Apache-2.0
// What a test knows of a database from what its children told, and the check that all of it holds.
#ifndef RQC_TESTS_FAULT_WORLD_H
#define RQC_TESTS_FAULT_WORLD_H

#include "tests/fault_check.h"

#define ACKS 8192 // remembered

// The view's place and the history that is kept come from the environment: parents and children
// agree.
static inline rqc_options world_options(void)
{
    rqc_options o = RQC_OPTIONS_INIT;
    const char *retain = getenv("RQC_TEST_RETAIN");
    o.create = 1;
    o.view_dir = getenv("RQC_TEST_VIEW");
    o.retain = retain ? strtoull(retain, NULL, 10) : 0;
    o.log = fault_log;
    return o;
}

typedef struct ack {
    uint32_t who;
    uint64_t n, seq;
} ack;

typedef struct world {
    char path[FAULT_PATH];
    const char *retain;
    uint64_t n[WORK_WRITERS]; // last attempt that was told; UINT64_MAX: none
    bool cut[WORK_WRITERS];   // was killed: the next one may have been committed
    bool loses[WORK_WRITERS]; // this one may lose what it was told, but not what anybody saw
    uint64_t seen[WORK_WRITERS];
    rqc_position top; // highest that was told
    ack *acks;        // ring
    uint64_t nacks;
    uint64_t foreign_since,
        foreign_first; // a position before the running foreign program began, and its number then
    unsigned kills, checks;
    uint64_t acked, horizon;
} world;

static inline world *world_new(const char *name, const char *retain)
{
    world *w = calloc(1, sizeof *w);
    if (!w || !(w->acks = calloc(ACKS, sizeof *w->acks)))
        die("no memory");
    fault_path(w->path, "%s/%s.db", fault_disk, name);
    w->retain = retain;
    memset(w->n, 0xff, sizeof w->n);
    w->foreign_first = UINT64_MAX;
    return w;
}

static inline void world_free(world *w)
{
    static const char *const suffix[] = {"",          "-wal",       "-shm",
                                         ".rqc-lock", ".rqc-state", ".rqc-view-path"};
    char path[FAULT_PATH];
    if (fault_view_of(w->path, path))
        fault_remove(path);
    for (size_t i = 0; i < sizeof suffix / sizeof *suffix; i++)
        (void)unlink(fault_path(path, "%s%s", w->path, suffix[i]));
    free(w->acks);
    free(w);
}

static inline void see_position(world *w, const rqc_position *p, const char *where)
{
    if (w->top.term == 0)
        w->top = *p;
    if (p->term != w->top.term || memcmp(p->store_id, w->top.store_id, 16) != 0)
        die("%s: the term is %u, it was %u", where, p->term, w->top.term);
    if (p->seq > w->top.seq)
        w->top.seq = p->seq;
}

// A position that a new session or a new owner has.
static inline void see_newest(world *w, const rqc_position *p, const char *where)
{
    const uint64_t top = w->top.seq;
    see_position(w, p, where);
    if (p->seq < top)
        die("%s: the position went back from %" PRIu64 " to %" PRIu64, where, top, p->seq);
}

// Writer `who` says, or the database shows, that n was its last commit.
static inline void see_number(world *w, unsigned who, uint64_t n, const char *where)
{
    const uint64_t told = w->n[who];
    bool good;
    if (told == UINT64_MAX)
        good = n == 0 || n == UINT64_MAX || w->cut[who];
    else
        good = n == work_done(who, told) || (w->cut[who] && n == told + 1);
    if (w->loses[who] && w->cut[who])
        good = n == UINT64_MAX ? w->seen[who] == 0
                               : n >= w->seen[who] && (told == UINT64_MAX || n <= told + 1);
    if (!good)
        die("%s: %" PRIu64 " of writer %u was told, %" PRIu64 " seen, %" PRIu64 " is there", where,
            told, who, w->seen[who], n);
    w->n[who] = n;
    w->cut[who] = false;
}

static inline void see(world *w, const fault_msg *m)
{
    if (m->kind == FAULT_READY) {
        see_newest(w, &m->position, "opened");
    } else if (m->kind == FAULT_START) {
        // What others saw of its work was perhaps told before its start was.
        const uint64_t seen = w->seen[m->who];
        w->seen[m->who] = 0;
        see_number(w, m->who, m->n, "started");
        w->seen[m->who] = seen;
        if (m->who == WORK_FOREIGN)
            w->foreign_first = m->n;
    } else if (m->kind == FAULT_ACK || m->kind == FAULT_REFUSED) {
        if (m->n != w->n[m->who] + 1)
            die("writer %u: %" PRIu64 " after %" PRIu64, m->who, m->n, w->n[m->who]);
        w->n[m->who] = m->n;
        if (m->kind == FAULT_ACK && m->who != WORK_FOREIGN) {
            see_position(w, &m->position, "acknowledged");
            w->acks[w->nacks++ % ACKS] = (ack){m->who, m->n, m->position.seq};
        }
        w->acked += m->kind == FAULT_ACK;
    } else if (m->kind == FAULT_SEEN) {
        see_position(w, &m->position, "seen");
        if (m->n > w->seen[m->who])
            w->seen[m->who] = m->n;
    }
}

// Reads what the child tells until so many microseconds from now. False when it has ended.
static inline bool hear(world *w, const fault_child *c, int64_t us)
{
    const int64_t until = fault_now_us() + us;
    for (;;) {
        const int64_t left = until - fault_now_us();
        fault_msg m;
        const int got = fault_next(c, left > 0 ? (int)(left / 1000) : 0, &m);
        if (got < 0)
            return false;
        if (got > 0)
            see(w, &m);
        else if (left < 1000) {
            fault_sleep_us(left);
            return true;
        }
    }
}

static inline void finish_off(world *w, fault_child *c)
{
    fault_msg m;
    fault_kill(c);
    int got;
    while ((got = fault_next(c, FAULT_PATIENCE_MS, &m)) == 1)
        see(w, &m);
    const int status = fault_reap(c);
    if (got == 0 || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        die("a child ended by itself with status %d", status);
    w->kills++;
    for (unsigned who = 0; who < WORK_WRITERS; who++)
        w->cut[who] = true;
}

// `changes` since a position that was told must tell every transaction that was told later, and
// agree with the list of everything.
static inline void check_since(world *w, rqc_read *r, uint64_t since, uint64_t horizon)
{
    check_text why = {""};
    check_changes l = {NULL, 0, 0}, all = {NULL, 0, 0};
    size_t newer = 0;
    const rqc_err rc = check_collect(r, since, &l, &why);
    if (rc == RQC_TOO_OLD && since < horizon) {
        free(l.items);
        return;
    }
    if (rc != RQC_OK || check_collect(r, 0, &all, &why) != RQC_OK)
        die("%s (horizon %" PRIu64 ")", why.text, horizon);
    for (size_t i = 0; i < all.n; i++) {
        check_change *c = &all.items[i];
        newer += c->op == 1 && c->seq > since;
        if (c->op == 1 && c->seq > since && !check_find(&l, (rqc_entity)c->key[0], c->key + 1))
            die("changes since %" PRIu64 " lack a record of seq %" PRIu64, since, c->seq);
    }
    for (size_t i = 0; i < l.n; i++)
        newer -= l.items[i].op == 1;
    if (newer != 0)
        die("changes since %" PRIu64 " tell other records than changes since 0", since);
    for (uint64_t i = w->nacks > ACKS ? w->nacks - ACKS : 0; i < w->nacks; i++) {
        const ack *a = &w->acks[i % ACKS];
        // Later transactions of this writer may have been in the commit that was cut off: they only
        // bring a record further up.
        if (a->seq > since && !check_told(&l, a->who, a->n, &why))
            die("since %" PRIu64 ": %s", since, why.text);
    }
    for (uint64_t n = w->foreign_first + 1;
         since <= w->foreign_since && w->foreign_first != UINT64_MAX && n <= w->n[WORK_FOREIGN];
         n++)
        if (!check_told(&l, WORK_FOREIGN, n, &why))
            die("since %" PRIu64 ": %s", since, why.text);
    free(l.items);
    free(all.items);
}

static inline void check_open(world *w, rqc_db *db)
{
    rqc_stats stats = {.size = sizeof stats};
    rqc_error err = {.text = ""};
    check_text why = {""};
    rqc_read *r;
    uint64_t number[WORK_WRITERS];
    if (rqc_stats_read(db, &stats, &err) != RQC_OK || rqc_read_new(db, &r, &err) != RQC_OK)
        die("%s", err.text);
    if (rqc_read_begin(r) != RQC_OK)
        die("begin: %s", rqc_read_error(r));
    const rqc_position p = rqc_read_position(r);
    see_newest(w, &p, "after a kill");
    if (stats.view_lagging || stats.head != p.seq)
        die("the view is at %" PRIu64 ", the database at %" PRIu64, p.seq, stats.head);
    for (unsigned who = 0; who < WORK_WRITERS; who++) {
        const rqc_err rc = work_number(r, who, &number[who]);
        if (rc == RQC_NOT_FOUND)
            number[who] = UINT64_MAX;
        else if (rc != RQC_OK)
            die("marker of writer %u: %s", who, rqc_err_text(rc));
        if (number[who] != UINT64_MAX || w->n[who] != UINT64_MAX)
            see_number(w, who, number[who], "after a kill");
    }
    if (!check_model(r, number, &why))
        die("%s", why.text);
    if (w->nacks > 0) {
        const uint64_t back = fault_rand(w->nacks < ACKS ? w->nacks : ACKS);
        check_since(w, r, w->acks[(w->nacks - 1 - back) % ACKS].seq, stats.horizon);
        check_since(w, r, w->acks[(w->nacks - 1) % ACKS].seq, stats.horizon);
    }
    if (w->foreign_first != UINT64_MAX)
        check_since(w, r, w->foreign_since, stats.horizon);
    rqc_read_free(r);
    if (!check_verify(db, &why) || !check_sql(db, w->path, &why))
        die("%s", why.text);
    w->checks++;
    w->horizon = stats.horizon;
}

static inline rqc_db *open_world(world *w)
{
    rqc_error err = {.text = ""};
    rqc_db *db;
    if (w->retain)
        setenv("RQC_TEST_RETAIN", w->retain, 1);
    else
        unsetenv("RQC_TEST_RETAIN");
    const rqc_options o = world_options();
    if (rqc_open(w->path, &o, &db, &err) != RQC_OK)
        die("open after a kill: %s", err.text);
    return db;
}

static inline void check_world(world *w)
{
    rqc_db *db = open_world(w);
    check_open(w, db);
    rqc_close(db);
}

#endif
