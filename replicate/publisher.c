// SPDX-License-Identifier: Apache-2.0
#include "replicate/publisher_parts.h"

#include "base/clock.h"
#include "base/id.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define BOOKMARK_MS 1000
#define PAGE        4096u
#define LINGER_MS   50

// What is sent without waking the thread: that alone takes longer than to send so little.
#define LIGHT_TOPICS  4u
#define LIGHT_PEERS   4u
#define LIGHT_CHANGES 64u

// ---- Frames -------------------------------------------------------------------------------------

static rqci_frame header_of(const rqci_publisher *p, const rqci_topic *t, const rqci_view_state *v,
                            uint32_t kind)
{
    rqci_frame f = {.epoch = t->epoch, .prev_seq = t->head, .seq = v->seq, .horizon = v->horizon};
    f.flags = kind | (t->all ? RQCI_FRAME_ALL : 0) |
              (p->opt.lags(p->opt.ctx) ? (uint32_t)RQCI_FRAME_LAGS : 0);
    memcpy(f.topic, t->id, 16);
    return f;
}

static void send(rqci_publisher *p, rqci_topic *t)
{
    (void)rqci_net_pub_send(t->pub, p->frame.data, p->frame.len);
}

static rqc_err send_empty(rqci_publisher *p, rqci_topic *t, const rqci_frame *header)
{
    p->frame.len = 0;
    const rqc_err rc = rqci_frame_begin(&p->frame, header);
    if (rc != RQC_OK)
        return rc;
    rqci_frame_end(&p->frame, 0, 0);
    send(p, t);
    return RQC_OK;
}

// Everything that changed behind t->seq into p->frame. RQC_TOO_LARGE when it is more than a frame
// may hold.
static rqc_err fill(rqci_publisher *p, const rqci_topic *t, rqci_reader *r,
                    const rqci_frame *header, uint32_t *ret_count)
{
    rqc_cursor cursor = {.seq = t->seq};
    bool up_to_date = false;
    uint32_t count = 0;
    p->frame.len = 0;
    rqc_err rc = rqci_frame_begin(&p->frame, header);
    while (rc == RQC_OK && !up_to_date) {
        rc = rqci_changes(r, t->all ? NULL : t->id, &cursor, PAGE, &p->list, &up_to_date);
        for (size_t i = 0; rc == RQC_OK && i < p->list.n; i++) {
            const rqc_change *c = &p->list.items[i];
            if (p->frame.len + rqci_frame_entry_size(c) > RQCI_FRAME_SEND)
                return RQC_TOO_LARGE;
            rc = rqci_frame_add(&p->frame, c);
            count++;
        }
    }
    *ret_count = count;
    return rc;
}

static rqc_err publish(rqci_publisher *p, rqci_topic *t, rqci_reader *r, const rqci_view_state *v)
{
    uint32_t count = 0;
    rqci_frame header = header_of(p, t, v, 0);
    rqc_err rc = fill(p, t, r, &header, &count);
    if (rc == RQC_TOO_LARGE || rc == RQC_TOO_OLD) {
        header.flags |= RQCI_FRAME_GAP;
        rc = send_empty(p, t, &header);
        p->stats.gap_frames++;
    } else if (rc == RQC_OK && count > 0) {
        rqci_frame_end(&p->frame, 0, count);
        send(p, t);
        p->stats.frames++;
        p->stats.changes += count;
    } else if (rc == RQC_OK) {
        t->seq = v->seq;
        return RQC_OK;
    }
    if (rc == RQC_OK)
        t->head = t->seq = v->seq;
    return rc;
}

// ---- Bookmarks ----------------------------------------------------------------------------------

static rqc_err add_ws(void *ctx, const rqci_ws_state *s)
{
    rqci_topic *t = ctx;
    t->records += s->records[0];
    rqci_digest_add(&t->digest, s->digest);
    return RQC_OK;
}

static rqc_err sum_up(rqci_topic *t, rqci_reader *r, const rqci_view_state *v)
{
    rqci_ws_state ws;
    rqc_err rc;
    if (t->summed_seq == v->seq && t->summed_generation == v->generation)
        return RQC_OK;
    t->records = 0;
    t->digest = (rqci_digest){0, 0};
    if (t->all) {
        rc = rqci_ws_each(r, add_ws, t);
    } else {
        rc = rqci_ws(r, t->id, &ws);
        if (rc == RQC_OK)
            (void)add_ws(t, &ws);
    }
    t->summed_seq = rc == RQC_OK ? v->seq : UINT64_MAX;
    t->summed_generation = v->generation;
    return rc;
}

static rqc_err bookmark(rqci_publisher *p, rqci_topic *t, rqci_reader *r, const rqci_view_state *v)
{
    const rqc_err rc = sum_up(t, r, v);
    if (rc != RQC_OK)
        return rc;
    rqci_frame header = header_of(p, t, v, RQCI_FRAME_BOOKMARK);
    header.records = t->records;
    header.digest = t->digest;
    p->stats.bookmarks++;
    return send_empty(p, t, &header);
}

// ---- Rounds -------------------------------------------------------------------------------------

// Whether the topic has something new; *ret_newest: its newest seq.
static rqc_err newest_of(const rqci_topic *t, rqci_reader *r, const rqci_view_state *v,
                         uint64_t *ret_newest)
{
    rqci_ws_state ws;
    if (t->all) {
        *ret_newest = v->seq;
        return RQC_OK;
    }
    const rqc_err rc = rqci_ws(r, t->id, &ws);
    *ret_newest = ws.seq;
    return rc;
}

static rqc_err serve(rqci_publisher *p, rqci_topic *t, rqci_reader *r, const rqci_view_state *v,
                     bool tick)
{
    rqci_epoch epoch = {.term = v->term};
    uint64_t newest = 0;
    memcpy(epoch.store_id, v->store_id, 16);
    rqc_err rc = newest_of(t, r, v, &newest);
    if (rc != RQC_OK)
        return rc;
    if (t->fresh || !rqci_epoch_equal(&t->epoch, &epoch) || v->seq < t->seq) {
        t->fresh = false;
        t->epoch = epoch;
        t->head = newest;
        t->seq = v->seq;
        t->summed_seq = UINT64_MAX;
        t->nudged = true;
    } else if (newest > t->seq) {
        rc = publish(p, t, r, v);
    } else {
        t->seq = v->seq;
    }
    if (rc == RQC_OK && (tick || t->nudged)) {
        rc = bookmark(p, t, r, v);
        t->nudged = false;
    }
    return rc;
}

// With the lock held. False: more than `most` positions are new, and nothing was done.
static bool round_of(rqci_publisher *p, bool tick, uint64_t most)
{
    rqci_reader *r;
    if (p->opt.pin(p->opt.ctx, &r) == RQC_OK) {
        const rqci_view_state v = *rqci_reader_state(r);
        if (v.seq > p->topics[0]->seq && v.seq - p->topics[0]->seq > most) {
            p->opt.unpin(p->opt.ctx);
            return false;
        }
        for (unsigned i = 0; v.term != 0 && i < p->ntopics; i++) {
            const rqc_err rc = serve(p, p->topics[i], r, &v, tick);
            if (rc != RQC_OK)
                rqci_logf(&p->opt.log, RQCI_WARN, "a topic could not be published: %s",
                          rqci_err_text(rc));
        }
        p->opt.unpin(p->opt.ctx);
    }
    p->stats.topics = p->ntopics;
    p->stats.seq = p->topics[0]->seq;
    if (tick)
        rqci_topics_close_idle(p, rqci_exact_ms());
    return true;
}

static void whole_round(rqci_publisher *p, bool tick)
{
    pthread_mutex_lock(&p->lock);
    (void)round_of(p, tick, UINT64_MAX);
    pthread_mutex_unlock(&p->lock);
}

// Whether it may be sent by whoever changed the view: a writer, who does not want to wait.
static bool is_light(const rqci_publisher *p)
{
    unsigned peers = 0;
    for (unsigned i = 0; i < p->ntopics && i < LIGHT_TOPICS; i++)
        peers += rqci_net_pub_peers(p->topics[i]->pub);
    return p->ntopics <= LIGHT_TOPICS && peers <= LIGHT_PEERS;
}

void rqci_publisher_moved(rqci_publisher *p)
{
    bool done = false;
    if (pthread_mutex_trylock(&p->lock) == 0) {
        done = is_light(p) && round_of(p, false, LIGHT_CHANGES);
        pthread_mutex_unlock(&p->lock);
    }
    if (!done)
        rqci_publisher_poke(p);
}

static void *publish_all(void *arg)
{
    rqci_publisher *p = arg;
    int64_t next = rqci_exact_ms() + BOOKMARK_MS;
    while (!atomic_load(&p->stop)) {
        struct pollfd fd = {.fd = p->event, .events = POLLIN};
        int64_t wait = next - rqci_exact_ms();
        wait = wait < 0 ? 0 : wait;
        if (poll(&fd, 1, (int)wait) > 0) {
            eventfd_t n;
            (void)eventfd_read(p->event, &n);
        }
        const int64_t now = rqci_exact_ms();
        const bool tick = now >= next;
        if (tick)
            next = now + BOOKMARK_MS;
        whole_round(p, tick);
    }
    whole_round(p, true);
    return NULL;
}

// ---- Its life -----------------------------------------------------------------------------------

static void free_all(rqci_publisher *p)
{
    for (unsigned i = 0; i < p->ntopics; i++)
        rqci_topic_close(p->topics[i]);
    if (p->event >= 0)
        close(p->event);
    pthread_mutex_destroy(&p->lock);
    rqci_buf_free(&p->frame);
    free(p->list.items);
    free(p->topics);
    free(p->path);
    free(p->host);
    free(p);
}

rqc_err rqci_publisher_start(const rqci_publisher_options *opt, rqci_publisher **ret_publisher,
                             rqci_errbuf *err)
{
    if (strlen(opt->path) > RQCI_PUBLISHER_PATH_MAX)
        return rqci_fail(err, RQC_INVALID, "%s: a path of at most %u bytes is wanted", opt->path,
                         RQCI_PUBLISHER_PATH_MAX);
    rqci_publisher *p = calloc(1, sizeof *p);
    if (!p)
        return RQC_NO_MEMORY;
    p->opt = *opt;
    pthread_mutex_init(&p->lock, NULL);
    p->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->topics = calloc((size_t)opt->topics_max + 2, sizeof(rqci_topic *));
    p->path = strdup(opt->path);
    p->host = opt->host ? strdup(opt->host) : NULL;
    rqci_topic *all;
    rqc_err rc = RQC_OK;
    if (p->event < 0 || !p->topics || !p->path || (opt->host && !p->host))
        rc = rqci_fail(err, RQC_NO_MEMORY, "no memory for the publisher");
    if (rc == RQC_OK)
        rc = rqci_topic_open(p, NULL, &all, err);
    if (rc == RQC_OK && pthread_create(&p->thread, NULL, publish_all, p) != 0)
        rc = rqci_fail(err, RQC_NO_MEMORY, "no thread for the publisher");
    if (rc != RQC_OK) {
        free_all(p);
        return rc;
    }
    rqci_publisher_poke(p);
    *ret_publisher = p;
    return RQC_OK;
}

void rqci_publisher_stop(rqci_publisher *p)
{
    if (!p)
        return;
    atomic_store(&p->stop, true);
    rqci_publisher_poke(p);
    pthread_join(p->thread, NULL);
    const struct timespec pause = {0, LINGER_MS * 1000000L};
    nanosleep(&pause, NULL);
    free_all(p);
}

rqci_publisher_stats rqci_publisher_stats_of(rqci_publisher *p)
{
    pthread_mutex_lock(&p->lock);
    const rqci_publisher_stats s = p->stats;
    pthread_mutex_unlock(&p->lock);
    return s;
}
