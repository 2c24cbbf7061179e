// SPDX-License-Identifier: Apache-2.0
// Answers to questions. Each thread has a read session of its own; no question is believed.
#include "api/daemon/daemon.h"

#include "base/id.h"
#include "replicate/message.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_LIMIT 16384u
#define PAGE_BYTES (8u << 20)

typedef struct answerer {
    dm_service *service;
    rqc_read *read;
    rqc_changes_list list;
    rqci_buf bytes; // frames
    rqci_errbuf err;
} answerer;

static void *begin(void *ctx)
{
    answerer *a = calloc(1, sizeof *a);
    if (a)
        a->service = ctx;
    return a;
}

static void end(void *ctx, void *mine)
{
    answerer *a = mine;
    (void)ctx;
    if (!a)
        return;
    rqc_read_free(a->read);
    rqc_changes_free(&a->list);
    rqci_buf_free(&a->bytes);
    free(a);
}

// Pins the newest position.
static rqc_err pin(answerer *a)
{
    rqc_error e;
    rqc_err rc = RQC_OK;
    if (!a->read)
        rc = rqc_read_new(a->service->db, &a->read, &e);
    if (rc != RQC_OK)
        return rqci_fail(&a->err, rc, "%s", e.text);
    rc = rqc_read_begin(a->read);
    return rc == RQC_OK ? rc : rqci_fail(&a->err, rc, "%s", rqc_read_error(a->read));
}

static rqci_epoch epoch_of(const rqc_position *p)
{
    rqci_epoch e = {.term = p->term};
    memcpy(e.store_id, p->store_id, 16);
    return e;
}

// Fails when the asker follows another history than the one of this position.
static rqc_err same_history(answerer *a, const rqci_epoch *asked, const rqc_position *here)
{
    const rqci_epoch epoch = epoch_of(here);
    return rqci_epoch_equal(asked, &epoch)
               ? RQC_OK
               : rqci_fail(&a->err, RQC_EPOCH_CHANGED, "%s", rqci_err_text(RQC_EPOCH_CHANGED));
}

// ---- Hello --------------------------------------------------------------------------------------

static rqc_err hello(answerer *a, const rqci_message *m, rqci_buf *out)
{
    rqci_hello h;
    rqci_hello_answer r = {.message_max = RQCI_MSG_MAX};
    rqc_err rc = rqci_hello_decode(m, &h, &a->err);
    const uint8_t *topic = h.flags & RQCI_HELLO_ALL ? NULL : h.topic;
    if (rc == RQC_OK && (h.flags & RQCI_HELLO_STREAM))
        rc = rqci_publisher_topic(a->service->publisher, topic, h.flags & RQCI_HELLO_TCP, r.url,
                                  sizeof r.url, &a->err);
    if (rc == RQC_OK)
        rc = pin(a);
    if (rc != RQC_OK)
        return rc;
    const rqc_position here = rqc_read_position(a->read);
    r.epoch = epoch_of(&here);
    r.seq = here.seq;
    r.horizon = rqci_reader_state(a->read->reader)->horizon;
    rqc_read_end(a->read);
    if (h.flags & RQCI_HELLO_NUDGE)
        rqci_publisher_nudge(a->service->publisher, topic);
    return rqci_answer_hello(out, &r);
}

// ---- Changes ------------------------------------------------------------------------------------

// As many of the changes as fit. *next is moved back to the last that did.
static rqc_err page_of(answerer *a, const rqci_ask_changes *q, const rqc_position *here,
                       rqc_cursor *next, bool *up_to_date)
{
    const size_t most = q->bytes < PAGE_BYTES ? q->bytes : PAGE_BYTES;
    rqci_frame f = {.flags = RQCI_FRAME_PAGE | q->flags,
                    .epoch = epoch_of(here),
                    .prev_seq = q->cursor.seq,
                    .seq = here->seq,
                    .horizon = rqci_reader_state(a->read->reader)->horizon};
    memcpy(f.topic, q->topic, 16);
    a->bytes.len = 0;
    rqc_err rc = rqci_frame_begin(&a->bytes, &f);
    uint32_t n = 0;
    for (; rc == RQC_OK && n < a->list.n; n++) {
        const rqc_change *c = &a->list.items[n];
        if (n > 0 && a->bytes.len + rqci_frame_entry_size(c) > most)
            break;
        rc = rqci_frame_add(&a->bytes, c);
    }
    if (rc == RQC_OK && n < a->list.n) {
        const rqc_change *last = &a->list.items[n - 1];
        if (q->cursor.seq == 0 && q->cursor.entity == 0 && q->cursor.started == 0)
            next->started = here->seq;
        else
            next->started = q->cursor.started;
        next->seq = last->seq;
        next->entity = last->entity;
        memcpy(next->id, last->id, 16);
        *up_to_date = false;
    }
    if (rc == RQC_OK)
        rqci_frame_end(&a->bytes, 0, n);
    return rc;
}

// Leaves those of some buckets. The walk goes on behind all of them.
static void sift(rqc_changes_list *list, const rqci_bucket_set *buckets)
{
    size_t n = 0;
    for (size_t i = 0; i < list->n; i++)
        if (rqci_bucket_in(buckets, rqci_id_bucket(list->items[i].id)))
            list->items[n++] = list->items[i];
    list->n = n;
}

static rqc_err changes(answerer *a, const rqci_message *m, rqci_buf *out)
{
    rqci_ask_changes q;
    int up_to_date = 0;
    rqc_err rc = rqci_ask_changes_decode(m, &q, &a->err);
    if (rc == RQC_OK)
        rc = pin(a);
    if (rc != RQC_OK)
        return rc;
    const rqc_position here = rqc_read_position(a->read);
    rqc_cursor next = q.cursor;
    if (q.epoch.term != 0)
        rc = same_history(a, &q.epoch, &here);
    if (rc == RQC_OK) {
        rc = rqc_changes(a->read, q.flags & RQCI_FRAME_ALL ? NULL : q.topic, &next,
                         q.limit < PAGE_LIMIT ? q.limit : PAGE_LIMIT, &a->list, &up_to_date);
        if (rc != RQC_OK)
            rqci_fail(&a->err, rc, "%s", rqc_read_error(a->read));
    }
    bool whole = up_to_date;
    if (rc == RQC_OK && q.some)
        sift(&a->list, &q.buckets);
    if (rc == RQC_OK)
        rc = page_of(a, &q, &here, &next, &whole);
    rqc_read_end(a->read);
    if (rc == RQC_OK)
        rc = rqci_answer_changes_begin(out, &next, whole);
    if (rc == RQC_OK)
        rc = rqci_buf_add(out, a->bytes.data, a->bytes.len);
    if (rc == RQC_OK)
        rqci_answer_end(out);
    return rc;
}

// ---- Digests ------------------------------------------------------------------------------------

typedef struct bucket_sum {
    rqci_reader *reader;
    rqci_digest *sum;
} bucket_sum;

static rqc_err add_buckets(void *ctx, const rqci_ws_state *s)
{
    const bucket_sum *b = ctx;
    rqci_digest one[256];
    const rqc_err rc = rqci_ws_buckets(b->reader, s->id, one);
    for (size_t i = 0; rc == RQC_OK && i < 256; i++)
        rqci_digest_add(&b->sum[i], one[i]);
    return rc;
}

static rqc_err buckets(answerer *a, const rqci_message *m, rqci_buf *out)
{
    rqci_ask_buckets q;
    rqci_buckets_answer r = {.seq = 0};
    rqc_err rc = rqci_ask_buckets_decode(m, &q, &a->err);
    if (rc == RQC_OK)
        rc = pin(a);
    if (rc != RQC_OK)
        return rc;
    const rqc_position here = rqc_read_position(a->read);
    bucket_sum b = {a->read->reader, r.digests};
    r.seq = here.seq;
    rc = same_history(a, &q.epoch, &here);
    if (rc == RQC_OK)
        rc = q.flags & RQCI_FRAME_ALL ? rqci_ws_each(b.reader, add_buckets, &b)
                                      : rqci_ws_buckets(b.reader, q.topic, r.digests);
    rqc_read_end(a->read);
    return rc == RQC_OK ? rqci_answer_buckets(out, &r) : rc;
}

// ---- Writes -------------------------------------------------------------------------------------

static rqc_err add_write(rqc_txn *t, const rqci_asked_write *w)
{
    const rqc_entity e = (rqc_entity)w->entity;
    switch (w->kind) {
    case RQCI_KIND_PUT: return rqc_put(t, e, w->id, w->row);
    case RQCI_KIND_ADD: return rqc_add(t, e, w->id, w->row);
    case RQCI_KIND_PATCH: return rqc_patch(t, e, w->id, w->row, w->if_seq);
    default: return rqc_delete(t, e, w->id, w->if_seq);
    }
}

static rqc_err write_all(answerer *a, rqc_txn *t, const rqci_message *m, uint64_t *ret_failed)
{
    rqci_asked_write w;
    const uint8_t *key;
    size_t key_len, offset = 0;
    uint64_t n = 0;
    rqc_err rc = rqci_ask_write_key(m, &key, &key_len, &a->err);
    if (rc == RQC_OK)
        rc = rqc_txn_key(t, key, key_len);
    if (rc != RQC_OK)
        return rc;
    while ((rc = rqci_ask_write_next(m, &offset, &w, &a->err)) == RQC_OK) {
        rc = add_write(t, &w);
        if (rc != RQC_OK) {
            *ret_failed = n;
            return rqci_fail(&a->err, rc, "%s", rqc_txn_error(t));
        }
        n++;
    }
    if (rc != RQC_NOT_FOUND)
        return rc;
    return n == rqci_get32(m->body)
               ? RQC_OK
               : rqci_fail(&a->err, RQC_CORRUPT, "there are other writes than it says");
}

static rqc_err write_txn(answerer *a, const rqci_message *m, rqci_buf *out, uint64_t *ret_failed)
{
    rqc_txn *t;
    rqc_error e;
    rqc_result r;
    rqc_err rc = rqc_txn_new(a->service->db, &t, &e);
    if (rc != RQC_OK)
        return rqci_fail(&a->err, rc, "%s", e.text);
    rc = write_all(a, t, m, ret_failed);
    if (rc == RQC_OK) {
        rc = rqc_commit(t, &r);
        if (rc != RQC_OK) {
            *ret_failed = rqci_txn_failed(t) == SIZE_MAX ? UINT64_MAX : rqci_txn_failed(t);
            rqci_fail(&a->err, rc, "%s", rqc_txn_error(t));
        }
    }
    rqc_txn_free(t);
    if (rc != RQC_OK)
        return rc;
    const rqci_write_answer w = {.epoch = epoch_of(&r.position),
                                 .seq = r.position.seq,
                                 .written = r.written,
                                 .skipped = r.skipped,
                                 .deleted = r.deleted,
                                 .visible = r.visible != 0,
                                 .replayed = r.replayed != 0};
    return rqci_answer_write(out, &w);
}

// ---- Large values, statistics -------------------------------------------------------------------

static rqc_err large(answerer *a, const rqci_message *m, rqci_buf *out)
{
    rqci_ask_large q;
    const rqc_record *record;
    void *bytes = NULL;
    size_t n = 0;
    rqc_err rc = rqci_ask_large_decode(m, &q, &a->err);
    if (rc == RQC_OK)
        rc = pin(a);
    if (rc != RQC_OK)
        return rc;
    rc = rqc_get(a->read, (rqc_entity)q.entity, q.id, &record);
    const rqc_value v = rc == RQC_OK ? rqc_field(record, q.field) : (rqc_value){.type = RQC_ABSENT};
    if (rc == RQC_OK && v.type != RQC_LARGE)
        rc = rqci_fail(&a->err, RQC_CHANGED, "the field holds no large value now");
    if (rc == RQC_OK && memcmp(v.p, q.hash, 16) != 0)
        rc = rqci_fail(&a->err, RQC_CHANGED, "the value is another one now");
    if (rc == RQC_OK) {
        rc = rqc_large(a->read, record, q.field, &bytes, &n);
        if (rc != RQC_OK)
            rqci_fail(&a->err, rc, "%s", rqc_read_error(a->read));
    }
    rqc_read_end(a->read);
    if (rc != RQC_OK)
        return rc;
    const size_t from = q.offset < n ? (size_t)q.offset : n;
    size_t piece = n - from < RQCI_LARGE_PIECE ? n - from : RQCI_LARGE_PIECE;
    piece = q.most < piece ? (size_t)q.most : piece;
    rc = rqci_answer_bytes(out, n, (const uint8_t *)bytes + from, piece);
    free(bytes);
    return rc;
}

// Does nothing once one of them failed.
__attribute__((format(printf, 3, 4))) static void add(rqci_buf *b, rqc_err *rc, const char *fmt,
                                                      ...)
{
    char text[256];
    if (*rc != RQC_OK)
        return;
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    *rc = rqci_buf_add(b, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1);
}

static rqc_err stats(answerer *a, const rqci_message *m, rqci_buf *out)
{
    dm_service *s = a->service;
    rqc_stats db = {.size = sizeof db};
    rqc_error e;
    char position[RQC_POSITION_TEXT];
    if (m->n != 0)
        return rqci_fail(&a->err, RQC_CORRUPT, "message: bytes behind the question");
    rqc_err rc = rqc_stats_read(s->db, &db, &e);
    if (rc != RQC_OK)
        return rqci_fail(&a->err, rc, "%s", e.text);
    const rqci_publisher_stats p = rqci_publisher_stats_of(s->publisher);
    const rqci_net_counts n = rqci_net_counts_of(s->net);
    rqc_position_format(&db.position, position);
    a->bytes.len = 0;
    add(&a->bytes, &rc, "{\"seq\":%" PRIu64 ",\"position\":\"%s\",\"head\":%" PRIu64,
        db.position.seq, position, db.head);
    add(&a->bytes, &rc, ",\"records\":%" PRIu64 ",\"readers\":%u", db.records, db.readers);
    add(&a->bytes, &rc, ",\"view_lagging\":%s,\"spare\":%s", db.view_lagging ? "true" : "false",
        db.spare ? "true" : "false");
    add(&a->bytes, &rc, ",\"streamed\":%" PRIu64 ",\"streams\":%u,\"subscribers\":%" PRIu64, p.seq,
        p.topics, n.subscribers);
    add(&a->bytes, &rc, ",\"frames\":%" PRIu64 ",\"gap_frames\":%" PRIu64 ",\"bookmarks\":%" PRIu64,
        p.frames, p.gap_frames, p.bookmarks);
    add(&a->bytes, &rc, ",\"changes\":%" PRIu64 ",\"sent_bytes\":%" PRIu64, p.changes,
        n.sent_bytes);
    add(&a->bytes, &rc, ",\"disconnected\":%" PRIu64 ",\"reopened\":%" PRIu64, n.disconnected,
        n.reopened);
    add(&a->bytes, &rc,
        ",\"askers\":%" PRIu64 ",\"questions\":%" PRIu64 ",\"failures\":%" PRIu64 "}", n.askers,
        atomic_load(&s->questions), atomic_load(&s->failures));
    return rc == RQC_OK ? rqci_answer_bytes(out, a->bytes.len, a->bytes.data, a->bytes.len) : rc;
}

// ---- All ----------------------------------------------------------------------------------------

static rqc_err dispatch(answerer *a, const rqci_message *m, rqci_buf *out, uint64_t *ret_failed)
{
    switch (m->what) {
    case RQCI_ASK_HELLO: return hello(a, m, out);
    case RQCI_ASK_CHANGES: return changes(a, m, out);
    case RQCI_ASK_WRITE: return write_txn(a, m, out, ret_failed);
    case RQCI_ASK_LARGE: return large(a, m, out);
    case RQCI_ASK_STATS: return stats(a, m, out);
    case RQCI_ASK_BUCKETS: return buckets(a, m, out);
    default:
        return rqci_fail(&a->err, RQC_INVALID, "there is no operation %u in this version", m->what);
    }
}

static void answer(void *ctx, void *mine, const uint8_t *question, size_t n, rqci_buf *out)
{
    dm_service *s = ctx;
    answerer *a = mine;
    rqci_message m;
    uint64_t failed = UINT64_MAX;
    atomic_fetch_add(&s->questions, 1);
    if (!a) {
        rqci_answer_failure(out, RQC_NO_MEMORY, failed, rqci_err_text(RQC_NO_MEMORY));
        return;
    }
    a->err.text[0] = 0;
    rqc_err rc = rqci_message_decode(question, n, RQCI_ASK_MAGIC, &m, &a->err);
    if (rc == RQC_OK)
        rc = dispatch(a, &m, out, &failed);
    if (rc == RQC_OK)
        return;
    // What cannot be understood is the asker's fault.
    rc = rc == RQC_CORRUPT && strncmp(a->err.text, "message:", 8) == 0 ? RQC_INVALID : rc;
    atomic_fetch_add(&s->failures, 1);
    rqci_answer_failure(out, rc, failed, *a->err.text ? a->err.text : rqci_err_text(rc));
}

void dm_service_of(dm_service *s, rqci_net_service *ret_service)
{
    *ret_service = (rqci_net_service){s, begin, answer, end};
}
