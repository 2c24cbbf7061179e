// SPDX-License-Identifier: Apache-2.0
// A scan of the truth by a thread of its own, some batches ahead of whoever puts the records into
// the view: reading and packing rows takes about as long as that.
#include "base/buf.h"
#include "base/thread.h"
#include "cache/internal.h"

#define BATCHES     4u
#define BATCH_BYTES (128u << 10) // or one record that is larger

typedef struct ahead {
    const rqci_source *src;
    uint8_t entity;
    rqci_errbuf why; // of the thread

    pthread_mutex_t lock; // guards what follows
    pthread_cond_t moved;
    rqci_buf batches[BATCHES]; // records, one after the other; those from `taken` to `filled` are
                               // the taker's, the others the thread's
    unsigned filled, taken;    // how many, ever
    bool ended, stop;
    rqc_err result; // of the scan, once it ended
} ahead;

// Hands the current batch over and waits for a free one. False: no more is wanted.
static bool next_free(ahead *a)
{
    pthread_mutex_lock(&a->lock);
    a->filled++;
    pthread_cond_signal(&a->moved);
    while (a->filled - a->taken == BATCHES && !a->stop)
        pthread_cond_wait(&a->moved, &a->lock);
    const bool go_on = !a->stop;
    pthread_mutex_unlock(&a->lock);
    a->batches[a->filled % BATCHES].len = 0;
    return go_on;
}

static rqc_err keep(void *arg, rqc_record *r)
{
    ahead *a = arg;
    rqci_buf *b = &a->batches[a->filled % BATCHES];
    const size_t size = rqci_rec_size(r); // a multiple of 8
    if (b->len > 0 && b->len + size > BATCH_BYTES) {
        if (!next_free(a))
            return RQC_CLOSED;
        b = &a->batches[a->filled % BATCHES];
    }
    return rqci_buf_add(b, r, size);
}

static void *scan_all(void *arg)
{
    ahead *a = arg;
    const rqc_err rc = a->src->scan(a->src->ctx, a->entity, keep, a, &a->why);
    pthread_mutex_lock(&a->lock);
    if (rc == RQC_OK)
        a->filled++; // the last one, which may be empty
    a->result = rc;
    a->ended = true;
    pthread_cond_signal(&a->moved);
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

static rqc_err each(const rqci_buf *b, rqc_err (*fn)(void *arg, rqc_record *r), void *arg)
{
    rqc_err rc = RQC_OK;
    for (size_t at = 0; rc == RQC_OK && at < b->len;) {
        rqc_record *r = (rqc_record *)(void *)(b->data + at);
        at += rqci_rec_size(r);
        rc = fn(arg, r);
    }
    return rc;
}

// Until the scan ended and everything was taken, or fn wants no more.
static rqc_err take_all(ahead *a, rqc_err (*fn)(void *arg, rqc_record *r), void *arg)
{
    rqc_err rc = RQC_OK;
    pthread_mutex_lock(&a->lock);
    for (;;) {
        while (a->filled == a->taken && !a->ended)
            pthread_cond_wait(&a->moved, &a->lock);
        if (a->filled == a->taken)
            break;
        pthread_mutex_unlock(&a->lock);
        rc = each(&a->batches[a->taken % BATCHES], fn, arg);
        pthread_mutex_lock(&a->lock);
        a->taken++;
        a->stop = rc != RQC_OK;
        pthread_cond_signal(&a->moved);
        if (a->stop)
            break;
    }
    pthread_mutex_unlock(&a->lock);
    return rc;
}

rqc_err rqci_scan_ahead(const rqci_source *src, uint8_t entity,
                        rqc_err (*fn)(void *arg, rqc_record *r), void *arg, rqci_errbuf *err)
{
    ahead a = {.src = src, .entity = entity};
    pthread_t thread;
    int cancel;
    pthread_mutex_init(&a.lock, NULL);
    pthread_cond_init(&a.moved, NULL);
    // The thread uses what stands here.
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    rqc_err rc;
    if (rqci_thread_start(&thread, scan_all, &a) == 0) {
        rc = take_all(&a, fn, arg);
        pthread_join(thread, NULL);
        if (rc == RQC_OK && a.result != RQC_OK) {
            rc = a.result;
            if (err != NULL)
                *err = a.why;
        }
    } else {
        rc = src->scan(src->ctx, entity, fn, arg, err);
    }
    pthread_setcancelstate(cancel, &cancel);
    pthread_cond_destroy(&a.moved);
    pthread_mutex_destroy(&a.lock);
    for (unsigned i = 0; i < BATCHES; i++)
        rqci_buf_free(&a.batches[i]);
    return rc;
}
