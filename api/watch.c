// SPDX-License-Identifier: Apache-2.0
// Positions without sessions: looking at them, waiting for them, watching them through a
// descriptor.
#include "api/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct rqc_watch {
    rqc_db *db;
    int fd;
    rqc_watch *next;
};

// Of an attached handle whose owner came back with its view elsewhere, the new one.
static rqci_mirror *shown_by(rqc_db *db)
{
    if (!db->owner &&
        rqci_now_ms() >= atomic_load_explicit(&db->next_look_ms, memory_order_relaxed))
        (void)rqci_mirror_find(db, NULL);
    return atomic_load_explicit(&db->shown, memory_order_acquire);
}

// What is shown now. A spare view that was just given up is none, but the shared one is back then.
static rqci_mirror *look(rqc_db *db, rqci_shown *ret_shown)
{
    rqci_mirror *m;
    do {
        m = shown_by(db);
        rqci_mirror_shown(m, ret_shown);
    } while (ret_shown->generation == 0 && m != atomic_load(&db->shown));
    return m;
}

static rqc_position position_of(const rqci_shown *s)
{
    rqc_position p = {.term = 0};
    if (s->generation == 0)
        return p;
    memcpy(p.store_id, s->store_id, 16);
    p.term = s->term;
    p.seq = s->seq;
    return p;
}

rqc_position rqc_position_now(rqc_db *db)
{
    rqci_shown s = {.generation = 0};
    if (!rqci_forked(db))
        (void)look(db, &s);
    return position_of(&s);
}

// ---- Waiting ------------------------------------------------------------------------------------

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

// RQC_OK, RQC_EPOCH_CHANGED, or RQC_TIMEOUT for: not yet. A newer term than the shown one may be
// about to come: its view is being built.
static rqc_err judge(const rqci_shown *s, const rqc_position *want)
{
    if (s->generation == 0)
        return RQC_TIMEOUT;
    if (want->term != 0) {
        if (memcmp(want->store_id, s->store_id, 16) != 0 || want->term < s->term)
            return RQC_EPOCH_CHANGED;
        if (want->term > s->term)
            return RQC_TIMEOUT;
    }
    return s->seq >= want->seq ? RQC_OK : RQC_TIMEOUT;
}

// What to say when the time is up.
static rqc_err late(rqc_db *db, const rqc_position *want, rqci_errbuf *err)
{
    uint32_t term;
    uint64_t head;
    if (!db->owner)
        return rqci_fail(err, RQC_TIMEOUT, "the view does not show position %llu yet",
                         (unsigned long long)want->seq);
    rqci_store_head(db->store, &term, &head);
    if (want->seq > head || want->term > term)
        return rqci_fail(err, RQC_FUTURE, "the database is at position %llu of term %u",
                         (unsigned long long)head, (unsigned)term);
    return rqci_fail(err, RQC_TIMEOUT, "position %llu is durable, but the view lags behind",
                     (unsigned long long)want->seq);
}

rqc_err rqc_wait(rqc_db *db, const rqc_position *position, uint32_t timeout_ms,
                 rqc_position *ret_position, rqc_error *err)
{
    rqci_errbuf detail = {""};
    if (rqci_forked(db))
        return rqci_report(err, RQC_CLOSED, NULL);
    if (!position || timeout_ms > RQC_WAIT_MS_MAX) {
        (void)rqci_fail(&detail, RQC_INVALID, "no position, or more than %u ms", RQC_WAIT_MS_MAX);
        return rqci_report(err, RQC_INVALID, &detail);
    }
    const int64_t until = now_us() + (int64_t)timeout_ms * 1000;
    rqci_shown s;
    rqc_err rc;
    for (;;) {
        rqci_spare_follow(db, timeout_ms > 0);
        rqci_mirror *m = look(db, &s);
        rc = judge(&s, position);
        const int64_t left = until - now_us();
        if (rc != RQC_TIMEOUT || left <= 0)
            break;
        rqci_mirror_sleep(m, s.turn, (left + 999) / 1000);
    }
    if (rc == RQC_TIMEOUT)
        return rqci_report(err, late(db, position, &detail), &detail);
    if (rc != RQC_OK) {
        (void)rqci_fail(&detail, rc, "the position belongs to another history: term %u is shown",
                        (unsigned)s.term);
        return rqci_report(err, rc, &detail);
    }
    if (ret_position)
        *ret_position = position_of(&s);
    return RQC_OK;
}

// ---- Watching -----------------------------------------------------------------------------------

static bool moved(const rqci_shown *a, const rqci_shown *b)
{
    return (a->generation == 0) != (b->generation == 0) || a->seq != b->seq || a->term != b->term ||
           memcmp(a->store_id, b->store_id, 16) != 0;
}

static void tell_all(rqci_watching *g)
{
    pthread_mutex_lock(&g->lock);
    for (const rqc_watch *w = g->first; w; w = w->next)
        (void)eventfd_write(w->fd, 1); // one that is full is readable
    pthread_mutex_unlock(&g->lock);
}

static void *watch(void *arg)
{
    rqc_db *db = arg;
    rqci_watching *g = &db->watching;
    while (!atomic_load(&g->stop)) {
        rqci_shown s;
        rqci_mirror *m = shown_by(db);
        rqci_mirror_shown(m, &s);
        if (moved(&s, &g->seen))
            tell_all(g);
        g->seen = s;
        if (!atomic_load(&g->stop))
            rqci_mirror_sleep(m, s.turn, INT64_MAX);
    }
    atomic_store(&g->ended, true);
    return NULL;
}

// With the lock held. The application's signals are for its own threads.
static rqc_err start(rqc_db *db, rqci_errbuf *err)
{
    rqci_watching *g = &db->watching;
    if (g->runs)
        return RQC_OK;
    rqci_mirror_shown(shown_by(db), &g->seen);
    const int rc = rqci_thread_start(&g->thread, watch, db);
    g->runs = rc == 0;
    return g->runs ? RQC_OK
                   : rqci_fail(err, RQC_NO_MEMORY, "no thread to watch with: %s", strerror(rc));
}

// The thread may be about to sleep when it is woken: then once more.
void rqci_watching_stop(rqc_db *db)
{
    rqci_watching *g = &db->watching;
    if (!g->runs)
        return;
    atomic_store(&g->stop, true);
    while (!atomic_load(&g->ended)) {
        const struct timespec pause = {0, 1000000};
        rqci_mirror_wake(atomic_load(&db->shown));
        nanosleep(&pause, NULL);
    }
    pthread_join(g->thread, NULL);
    g->runs = false;
}

static rqc_err join(rqc_db *db, rqc_watch *w, rqci_errbuf *err)
{
    rqci_watching *g = &db->watching;
    pthread_mutex_lock(&g->lock);
    rqc_err rc = g->n < RQC_WATCH_MAX
                     ? start(db, err)
                     : rqci_fail(err, RQC_TOO_LARGE, "more than %u watches", RQC_WATCH_MAX);
    if (rc == RQC_OK) {
        w->next = g->first;
        g->first = w;
        g->n++;
    }
    pthread_mutex_unlock(&g->lock);
    return rc;
}

rqc_err rqc_watch_new(rqc_db *db, rqc_watch **ret_watch, rqc_error *err)
{
    rqci_errbuf detail = {""};
    if (rqci_forked(db))
        return rqci_report(err, RQC_CLOSED, NULL);
    rqc_watch *w = calloc(1, sizeof *w);
    if (!w)
        return rqci_report(err, RQC_NO_MEMORY, NULL);
    w->db = db;
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rqc_err rc = RQC_OK;
    if (w->fd < 0)
        rc = rqci_fail(&detail, RQC_NO_MEMORY, "no descriptor to watch with: %s", strerror(errno));
    if (rc == RQC_OK)
        rc = join(db, w, &detail);
    if (rc != RQC_OK) {
        if (w->fd >= 0)
            close(w->fd);
        free(w);
        return rqci_report(err, rc, &detail);
    }
    *ret_watch = w;
    return RQC_OK;
}

void rqc_watch_free(rqc_watch *w)
{
    if (!w)
        return;
    if (!rqci_forked(w->db)) {
        rqci_watching *g = &w->db->watching;
        pthread_mutex_lock(&g->lock);
        rqc_watch **link = &g->first;
        while (*link != w)
            link = &(*link)->next;
        *link = w->next;
        g->n--;
        pthread_mutex_unlock(&g->lock);
    }
    close(w->fd);
    free(w);
}

int rqc_watch_fd(const rqc_watch *w)
{
    return w->fd;
}

// Quiet first: a move between the two is seen by the look and told once more.
rqc_position rqc_watch_clear(rqc_watch *w)
{
    eventfd_t n;
    (void)eventfd_read(w->fd, &n);
    return rqc_position_now(w->db);
}
