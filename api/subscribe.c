// SPDX-License-Identifier: Apache-2.0
// Subscribers as the application sees them: with a thread and a callback, or with a descriptor.
#include "api/engine.h"

#include "replicate/subscriber.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct rqc_sub {
    rqci_sub *sub;
    void (*event)(void *ctx, const rqc_event *e);
    void *ctx;
    pthread_t thread;
    bool runs;
    pid_t pid; // the process whose it is
    int stop;  // readable: the thread ends; -1
    _Atomic bool stopped;
    pthread_mutex_t lock; // guards stats
    rqci_sub_stats stats;
};

// ---- Events -------------------------------------------------------------------------------------

static void digest_bytes(rqci_digest d, uint8_t ret[16])
{
    rqci_put64be(ret, d.hi);
    rqci_put64be(ret + 8, d.lo);
}

static void convert(const rqci_sub_event *in, rqc_event *out)
{
    memset(out, 0, sizeof *out);
    out->kind = (rqc_event_kind)in->kind;
    out->more = in->more;
    out->reason = in->reason;
    out->text = in->text ? in->text : "";
    memcpy(out->place.store_id, in->place.epoch.store_id, 16);
    out->place.term = in->place.epoch.term;
    out->place.cursor = in->place.cursor;
    out->head = in->head;
    out->items = in->items;
    out->n = in->n;
    out->records = in->records;
    digest_bytes(in->digest, out->digest);
}

static rqc_err step(rqc_sub *s, rqc_event *ret_event)
{
    rqci_sub_event e;
    const rqc_err rc = rqci_sub_step(s->sub, &e);
    pthread_mutex_lock(&s->lock);
    s->stats = rqci_sub_stats_of(s->sub);
    pthread_mutex_unlock(&s->lock);
    if (rc == RQC_OK)
        convert(&e, ret_event);
    return rc;
}

static void *follow(void *arg)
{
    rqc_sub *s = arg;
    struct pollfd fds[2] = {{.fd = rqci_sub_fd(s->sub), .events = POLLIN},
                            {.fd = s->stop, .events = POLLIN}};
    while (!atomic_load(&s->stopped)) {
        rqc_event e;
        const rqc_err rc = step(s, &e);
        if (rc == RQC_OK)
            s->event(s->ctx, &e);
        else
            (void)poll(fds, 2, -1);
    }
    return NULL;
}

// ---- Calls --------------------------------------------------------------------------------------

static rqc_err options_of(const rqc_sub_options *given, rqc_sub_options *ret,
                          rqci_sub_options *ret_inner, rqci_errbuf *err)
{
    *ret = (rqc_sub_options)RQC_SUB_OPTIONS_INIT;
    if (given && (given->size < offsetof(rqc_sub_options, since) || given->size > 4096))
        return rqci_fail(err, RQC_INVALID,
                         "rqc_sub_options.size is %zu: start with RQC_SUB_OPTIONS_INIT",
                         given->size);
    if (given)
        memcpy(ret, given, given->size < sizeof *ret ? given->size : sizeof *ret);
    memset(ret_inner, 0, sizeof *ret_inner);
    ret_inner->all = !ret->workspace;
    if (ret->workspace)
        memcpy(ret_inner->workspace, ret->workspace, 16);
    memcpy(ret_inner->since.epoch.store_id, ret->since.store_id, 16);
    ret_inner->since.epoch.term = ret->since.term;
    ret_inner->since.cursor = ret->since.cursor;
    ret_inner->from_now = ret->from_now != 0;
    ret_inner->bookmarks = ret->bookmarks != 0;
    ret_inner->digest = ret->digest != 0;
    return RQC_OK;
}

// The application's signals are for its own threads.
static rqc_err start_thread(rqc_sub *s, rqci_errbuf *err)
{
    s->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->stop < 0)
        return rqci_fail(err, RQC_IO, "no descriptor for a subscriber: %s", strerror(errno));
    const int rc = rqci_thread_start(&s->thread, follow, s);
    if (rc != 0)
        return rqci_fail(err, RQC_NO_MEMORY, "no thread for a subscriber: %s", strerror(rc));
    s->runs = true;
    return RQC_OK;
}

rqc_err rqc_subscribe(const char *url, const rqc_sub_options *opt, rqc_sub **ret_sub,
                      rqc_error *err)
{
    rqci_errbuf detail = {""};
    rqc_sub_options o;
    rqci_sub_options inner;
    rqc_err rc = options_of(opt, &o, &inner, &detail);
    if (rc != RQC_OK)
        return rqci_report(err, rc, &detail);
    rqc_sub *s = calloc(1, sizeof *s);
    if (!s)
        return rqci_report(err, RQC_NO_MEMORY, NULL);
    s->stop = -1;
    s->pid = getpid();
    s->event = o.event;
    s->ctx = o.ctx;
    pthread_mutex_init(&s->lock, NULL);
    rc = rqci_sub_new(url, &inner, &s->sub, &detail);
    if (rc == RQC_OK && o.event)
        rc = start_thread(s, &detail);
    if (rc != RQC_OK) {
        rqc_unsubscribe(s);
        return rqci_report(err, rc, &detail);
    }
    *ret_sub = s;
    return RQC_OK;
}

void rqc_unsubscribe(rqc_sub *s)
{
    // Its connections and its thread are the parent's: a child leaves everything as it is.
    if (!s || s->pid != getpid())
        return;
    if (s->runs) {
        atomic_store(&s->stopped, true);
        (void)eventfd_write(s->stop, 1);
        pthread_join(s->thread, NULL);
    }
    if (s->stop >= 0)
        close(s->stop);
    rqci_sub_free(s->sub);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

rqc_err rqc_sub_next(rqc_sub *s, int timeout_ms, rqc_event *ret_event)
{
    const int64_t until = rqci_now_ms() + timeout_ms;
    if (s->event)
        return RQC_INVALID;
    if (s->pid != getpid())
        return RQC_CLOSED;
    for (;;) {
        const rqc_err rc = step(s, ret_event);
        const int64_t left = timeout_ms < 0 ? -1 : until - rqci_now_ms();
        if (rc != RQC_TIMEOUT || timeout_ms == 0 || (timeout_ms > 0 && left <= 0))
            return rc;
        struct pollfd fd = {.fd = rqci_sub_fd(s->sub), .events = POLLIN};
        (void)poll(&fd, 1, (int)left);
    }
}

int rqc_sub_fd(const rqc_sub *s)
{
    return s->event ? -1 : rqci_sub_fd(s->sub);
}

rqc_err rqc_sub_stats_read(rqc_sub *s, rqc_sub_stats *ret_stats)
{
    const size_t size = ret_stats->size;
    if (size < sizeof size || size > 4096)
        return RQC_INVALID;
    if (s->pid != getpid())
        return RQC_CLOSED;
    pthread_mutex_lock(&s->lock);
    const rqci_sub_stats in = s->stats;
    pthread_mutex_unlock(&s->lock);
    const rqc_sub_stats out = {.size = size,
                               .frames = in.frames,
                               .changes = in.changes,
                               .bookmarks = in.bookmarks,
                               .gaps = in.gaps,
                               .duplicates = in.duplicates,
                               .damaged = in.bad,
                               .pages = in.pages,
                               .connects = in.connects,
                               .resets = in.resets,
                               .compared = in.compared,
                               .different = in.different,
                               .mends = in.mends,
                               .buckets = in.buckets};
    memcpy(ret_stats, &out, size < sizeof out ? size : sizeof out);
    return RQC_OK;
}

rqc_err rqc_sidecar_url(const char *path, char ret_url[RQC_URL_TEXT], rqc_error *err)
{
    rqci_errbuf detail = {""};
    char real[RQCI_PATH_MAX], url[RQCI_PATH_MAX];
    rqc_err rc = rqci_path_of(path, real, &detail);
    if (rc == RQC_OK)
        rc = rqci_sidecar_note_read(real, url, &detail);
    if (rc == RQC_OK && strlen(url) >= RQC_URL_TEXT)
        rc = rqci_fail(&detail, RQC_INVALID, "%s: the URL is too long", real);
    if (rc != RQC_OK)
        return rqci_report(err, rc, &detail);
    memcpy(ret_url, url, strlen(url) + 1);
    return RQC_OK;
}
