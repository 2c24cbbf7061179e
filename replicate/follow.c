// SPDX-License-Identifier: Apache-2.0
// What a subscriber makes of frames and pages. `last` is the seq up to which it has everything:
//   seq ≤ last                the frame holds nothing new
//   prev_seq ≤ last < seq     it is what comes next
//   prev_seq > last           something is missing: changes since last are asked for
#include "replicate/subscriber_parts.h"

#include "base/id.h"

#include <stdlib.h>

static rqc_err take_items(rqci_sub *s, const rqci_frame *f, uint64_t after, size_t *ret_n)
{
    if (f->count > s->items_cap) {
        rqc_change *items = realloc(s->items, f->count * sizeof *items);
        if (!items)
            return RQC_NO_MEMORY;
        s->items = items;
        s->items_cap = f->count;
    }
    size_t offset = 0, n = 0;
    rqc_err rc = RQC_OK;
    for (rqc_change c; rc == RQC_OK && rqci_frame_next(f, &offset, &c);) {
        if (c.seq <= after)
            continue;
        s->items[n++] = c;
        if (!s->opt.digest)
            continue;
        if (c.op == 1)
            rc = rqci_known_put(&s->known, c.record);
        else
            rqci_known_del(&s->known, c.entity, c.id);
    }
    *ret_n = n;
    return rc;
}

static bool of_topic(const rqci_sub *s, const rqci_frame *f)
{
    return ((f->flags & RQCI_FRAME_ALL) != 0) == s->opt.all &&
           (s->opt.all || rqci_id_equal(f->topic, s->opt.workspace));
}

static rqci_sub_turn tell(rqci_sub *s, rqci_sub_event *ev, rqci_sub_kind kind)
{
    *ev = (rqci_sub_event){.kind = kind, .place = s->place, .head = s->head, .text = ""};
    return RQCI_TURN_EVENT;
}

static rqci_sub_turn catch_up(rqci_sub *s)
{
    rqci_sub_catch_up(s);
    return RQCI_TURN_ON;
}

static rqci_sub_turn bookmark(rqci_sub *s, const rqci_frame *f, rqci_sub_event *ev)
{
    s->place.cursor = (rqc_cursor){.seq = f->seq};
    s->stats.bookmarks++;
    if (s->opt.digest) {
        s->stats.compared++;
        if (s->known.n != f->records || s->known.sum.lo != f->digest.lo ||
            s->known.sum.hi != f->digest.hi) {
            s->stats.different++;
            rqci_fail(&s->err, RQC_DIFFERENT, "the digests differ at %llu: %zu records, not %llu",
                      (unsigned long long)f->seq, s->known.n, (unsigned long long)f->records);
            return s->mended ? rqci_sub_start_over(s, RQC_DIFFERENT, ev)
                             : rqci_sub_mend_begin(s, ev);
        }
        s->mended = false;
    }
    if (!s->opt.bookmarks)
        return RQCI_TURN_ON;
    (void)tell(s, ev, RQCI_SUB_BOOKMARK);
    ev->records = f->records;
    ev->digest = f->digest;
    return RQCI_TURN_EVENT;
}

static rqci_sub_turn data(rqci_sub *s, const rqci_frame *f, rqci_sub_event *ev)
{
    size_t n;
    const rqc_err rc = take_items(s, f, s->place.cursor.seq, &n);
    if (rc != RQC_OK)
        return rqci_sub_fail(s, rc, ev);
    s->place.cursor = (rqc_cursor){.seq = f->seq};
    s->stats.frames++;
    s->stats.changes += n;
    if (n == 0)
        return RQCI_TURN_ON;
    (void)tell(s, ev, RQCI_SUB_CHANGES);
    ev->items = s->items;
    ev->n = n;
    return RQCI_TURN_EVENT;
}

rqci_sub_turn rqci_sub_frame(rqci_sub *s, const uint8_t *p, size_t n, rqci_sub_event *ev)
{
    rqci_frame f;
    const bool first = s->first;
    const rqc_err rc = rqci_frame_decode(p, n, &f, &s->err);
    s->first = false;
    if (rc == RQC_VERSION)
        return rqci_sub_fail(s, rc, ev);
    if (rc != RQC_OK || !of_topic(s, &f)) {
        // What it was is not known: ask.
        s->stats.bad++;
        return catch_up(s);
    }
    const bool marks = f.flags & RQCI_FRAME_BOOKMARK;
    rqci_place *at = &s->place;
    if (at->epoch.term == 0)
        at->epoch = f.epoch;
    // Whether this history is over, and what to do then, is for the answer to say.
    if (!rqci_epoch_equal(&at->epoch, &f.epoch) || at->cursor.entity != 0 ||
        at->cursor.started != 0 || s->staged || s->mend != RQCI_MEND_NONE)
        return catch_up(s);
    s->head = f.seq > s->head ? f.seq : s->head;
    const uint64_t last = at->cursor.seq;
    if (f.seq < last && (first || marks))
        return catch_up(s);
    if (first)
        rqci_sub_live(s);
    if (f.seq < last || (f.seq == last && !marks)) {
        s->stats.duplicates++;
        return RQCI_TURN_ON;
    }
    if (f.prev_seq > last || (f.flags & RQCI_FRAME_GAP)) {
        s->stats.gaps += !first;
        return catch_up(s);
    }
    return marks ? bookmark(s, &f, ev) : data(s, &f, ev);
}

// ---- Pages --------------------------------------------------------------------------------------

// Records that a walk over everything did not see, as deletes: they come last, and with the last of
// them the state is whole.
rqci_sub_turn rqci_sub_sweep(rqci_sub *s, rqci_sub_event *ev)
{
    if (s->items_cap < RQCI_SUB_GONE_MOST) {
        rqc_change *items = realloc(s->items, RQCI_SUB_GONE_MOST * sizeof *items);
        if (!items)
            return rqci_sub_fail(s, RQC_NO_MEMORY, ev);
        s->items = items;
        s->items_cap = RQCI_SUB_GONE_MOST;
    }
    const bool mends = s->mend != RQCI_MEND_NONE;
    size_t n = 0;
    uint8_t entity;
    while (n < RQCI_SUB_GONE_MOST && rqci_known_unseen(&s->known, mends ? &s->buckets : NULL,
                                                       &s->sweep, &entity, s->gone[n])) {
        s->items[n] =
            (rqc_change){.op = 2, .entity = entity, .seq = s->swept.seq, .id = s->gone[n]};
        n++;
    }
    const bool last = n < RQCI_SUB_GONE_MOST;
    if (last && mends) {
        // Whole with what has changed since the place, in every bucket.
        s->sweeping = false;
        s->mend = RQCI_MEND_NONE;
    } else if (last) {
        s->place.cursor = s->swept;
        s->sweeping = s->staged = false;
        rqci_sub_live(s);
    }
    if (mends && n == 0)
        return RQCI_TURN_ON;
    (void)tell(s, ev, RQCI_SUB_CHANGES);
    ev->more = !last || mends;
    ev->items = s->items;
    ev->n = n;
    return RQCI_TURN_EVENT;
}

static rqci_sub_turn page_event(rqci_sub *s, const rqci_changes_answer *a, size_t n,
                                rqci_sub_event *ev)
{
    const bool mends = s->mend != RQCI_MEND_NONE;
    const bool sweeps = a->up_to_date && (mends || (s->walking && s->opt.digest));
    const bool whole = a->up_to_date && !sweeps;
    const bool tells = n > 0 || (s->staged && whole);
    s->staged = !whole && (s->staged || n > 0 || sweeps);
    if (sweeps) {
        s->sweeping = true;
        s->sweep = 0;
        s->swept = a->next;
    } else {
        *rqci_sub_cursor(s) = a->next;
    }
    if (whole)
        rqci_sub_live(s);
    if (!tells)
        return RQCI_TURN_ON;
    (void)tell(s, ev, RQCI_SUB_CHANGES);
    ev->more = !whole;
    ev->items = s->items;
    ev->n = n;
    return RQCI_TURN_EVENT;
}

rqci_sub_turn rqci_sub_page(rqci_sub *s, const rqci_message *m, rqci_sub_event *ev)
{
    rqci_changes_answer a;
    size_t n;
    rqc_err rc = rqci_changes_answer_decode(m, &a, &s->err);
    if (m->what != RQC_OK && (rc == RQC_TOO_OLD || rc == RQC_EPOCH_CHANGED || rc == RQC_FUTURE))
        return rqci_sub_start_over(s, rc, ev);
    if (m->what != RQC_OK && rc != RQC_CORRUPT)
        return rqci_sub_fail(s, rc, ev);
    if (rc == RQC_OK && (!of_topic(s, &a.frame) || a.frame.prev_seq != rqci_sub_cursor(s)->seq))
        rc = rqci_fail(&s->err, RQC_CORRUPT, "a page that was not asked for");
    if (rc != RQC_OK) {
        s->stats.bad++;
        return rqci_sub_fail(s, rc, ev);
    }
    if (s->place.epoch.term == 0)
        s->place.epoch = a.frame.epoch;
    if (!rqci_epoch_equal(&s->place.epoch, &a.frame.epoch))
        return rqci_sub_start_over(s, RQC_EPOCH_CHANGED, ev);
    rc = take_items(s, &a.frame, 0, &n);
    if (rc != RQC_OK)
        return rqci_sub_fail(s, rc, ev);
    s->head = a.frame.seq > s->head ? a.frame.seq : s->head;
    s->stats.pages++;
    s->stats.changes += n;
    s->asked = false;
    return page_event(s, &a, n, ev);
}
