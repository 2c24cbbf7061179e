// SPDX-License-Identifier: Apache-2.0
//
// From a commit to the callback of a subscriber that sleeps, beside messages of the same size by
// nng alone and by Redis; and from a commit to a process that spins on the shared view.
//
// A commit waits for the disk. So it is measured from the moment at which the transaction was
// durable; from the one at which the view showed it, and there was something to send, which is
// where the others begin; and from the call.
#include "bench/streams.h"

#include <nng/nng.h>
#include <nng/protocol/pubsub0/pub.h>
#include <stdlib.h>
#include <string.h>

#ifdef RQC_BENCH_REDIS
#include <hiredis/hiredis.h>
#endif

enum { PAUSE_US = 700, WARM = 20, PATIENCE_US = 1000000 };

enum what { STREAM, DURABLE, CALL, NNG, REDIS, RETURN, SHOWN, WHATS };

static const struct {
    const char *name, *contestant, *label;
} rows[WHATS] = {
    [STREAM] = {"view moved to callback", "reqcast", "reqcast, from the view's move"},
    [DURABLE] = {"durable to callback", "reqcast", "reqcast, from the durable commit"},
    [CALL] = {"call to callback", "reqcast", "reqcast, from the call of rqc_commit"},
    [NNG] = {"call to callback", "nng", "nng PUB/SUB, from nng_sendmsg"},
    [REDIS] = {"call to callback", "Redis", "Redis, from PUBLISH"},
    [RETURN] = {"call to return", "reqcast", "(rqc_commit itself)"},
    [SHOWN] = {"durable to view", "reqcast", "(durable commit to the view's move)"},
};

struct transport {
    const char *name;
    bool tcp;
};

struct sender {
    struct streams *s;
    struct streams_owner owner;
    rqc_txn *txn;
    uint32_t version;
    nng_socket pub;
    size_t bytes; // of a message
    void *redis;
    unsigned peer_reqcast, peer_nng, peer_redis;
    struct bench_samples of[WHATS];
};

static void arm(const struct sender *x, unsigned peer)
{
    atomic_store(&x->s->shared->seen[peer], 0);
}

// Nanoseconds; 0: nothing came.
static int64_t seen(const struct sender *x, unsigned peer)
{
    for (long us = 0; us < PATIENCE_US; us += 100) {
        const int64_t at = atomic_load(&x->s->shared->seen[peer]);
        if (at != 0)
            return at;
        streams_sleep_us(100);
    }
    return 0;
}

static void sample(struct sender *x, enum what what, int64_t from, int64_t to)
{
    if (to != 0)
        bench_sample(&x->of[what], (double)(to - from) * 1e-3);
}

// A row that is there, changed.
static void put(struct sender *x)
{
    struct bench_row row;

    bench_request_row(&x->s->data, 0, 1, ++x->version, &row);
    bench_check(rqc_put(x->txn, row.entity, row.id, row.value), "rqc_put", rqc_txn_error(x->txn));
}

static void by_reqcast(struct sender *x, bool keep)
{
    put(x);
    arm(x, x->peer_reqcast);
    const int64_t call = streams_now();
    bench_check(rqc_commit(x->txn, NULL), "rqc_commit", rqc_txn_error(x->txn));
    const int64_t back = streams_now(), durable = atomic_load(&streams_durable),
                  shown = atomic_load(&streams_shown), at = seen(x, x->peer_reqcast);
    if (!keep)
        return;
    sample(x, STREAM, shown, at);
    sample(x, DURABLE, durable, at);
    sample(x, CALL, call, at);
    sample(x, RETURN, call, back);
    sample(x, SHOWN, durable, shown);
}

static void by_nng(struct sender *x, bool keep)
{
    nng_msg *m;

    arm(x, x->peer_nng);
    const int64_t call = streams_now();
    if (nng_msg_alloc(&m, x->bytes) != 0)
        floor_die("nng", "no memory");
    memset(nng_msg_body(m), 'x', x->bytes);
    if (nng_sendmsg(x->pub, m, NNG_FLAG_NONBLOCK) != 0)
        floor_die("nng", "does not send");
    const int64_t at = seen(x, x->peer_nng);
    if (keep)
        sample(x, NNG, call, at);
}

static void by_redis(struct sender *x, bool keep)
{
#ifdef RQC_BENCH_REDIS
    static char bytes[1 << 16];

    if (x->redis == NULL)
        return;
    arm(x, x->peer_redis);
    const int64_t call = streams_now();
    freeReplyObject(redisCommand(x->redis, "PUBLISH all %b", bytes, x->bytes));
    const int64_t at = seen(x, x->peer_redis);
    if (keep)
        sample(x, REDIS, call, at);
#else
    (void)x;
    (void)keep;
#endif
}

static void connect_redis(struct sender *x, const char *where)
{
#ifdef RQC_BENCH_REDIS
    if (x->s->redis == 0)
        return;
    redisContext *c = *where == '/' ? redisConnectUnix(where)
                                    : redisConnect("127.0.0.1", (int)strtol(where, NULL, 10));
    if (c == NULL || c->err != 0)
        floor_die("Redis", "cannot be reached");
    x->redis = c;
    streams_await(&x->s->shared->ready[x->peer_redis], "Redis");
#else
    (void)x;
    (void)where;
#endif
}

static void listen_nng(struct sender *x, const char *url)
{
    if (nng_pub0_open(&x->pub) != 0 || nng_listen(x->pub, url, NULL, 0) != 0)
        floor_die(url, "no publisher");
}

// Bytes of the frame of such a change.
static size_t frame_bytes(struct sender *x)
{
    const rqci_net_counts before = rqci_net_counts_of(x->owner.net);
    rqci_net_counts after = before;

    by_reqcast(x, false);
    for (int i = 0; i < 1000 && after.sent_messages == before.sent_messages; i++) {
        streams_sleep_us(1000);
        after = rqci_net_counts_of(x->owner.net);
    }
    return (size_t)((after.sent_bytes - before.sent_bytes) /
                    (after.sent_messages - before.sent_messages));
}

static void first_rows(struct sender *x)
{
    struct bench_row row;
    rqc_error err = {RQC_OK, ""};

    bench_check(rqc_txn_new(x->owner.db, &x->txn, &err), "rqc_txn_new", err.text);
    bench_workspace_row(0, &row);
    bench_check(rqc_put(x->txn, row.entity, row.id, row.value), "rqc_put", rqc_txn_error(x->txn));
    bench_request_row(&x->s->data, 0, 0, 0, &row);
    bench_check(rqc_put(x->txn, row.entity, row.id, row.value), "rqc_put", rqc_txn_error(x->txn));
    put(x);
    bench_check(rqc_commit(x->txn, NULL), "rqc_commit", rqc_txn_error(x->txn));
}

static void report(struct sender *x, const char *over)
{
    char name[64];
    const double nng = bench_quantile(&x->of[NNG], 0.5);

    printf("\nus from a commit of one row to the subscriber's callback, over %s; messages of %zu "
           "bytes\n%-40s %8s %8s %8s %10s\n",
           over, x->bytes, "", "p50", "p90", "p99", "x nng");
    for (int i = 0; i < WHATS; i++) {
        struct bench_samples *o = &x->of[i];
        if (o->n == 0)
            continue;
        snprintf(name, sizeof name, "%s, %s", rows[i].name, over);
        bench_emit(&x->s->report, name, rows[i].contestant, "us", bench_quantile(o, 0.5), o);
        printf("%-40s %8.1f %8.1f %8.1f %10.2f\n", rows[i].label, bench_quantile(o, 0.5),
               bench_quantile(o, 0.9), bench_quantile(o, 0.99), bench_quantile(o, 0.5) / nng);
    }
    fflush(stdout);
}

static void measure(struct streams *s, void *arg)
{
    const struct transport *t = arg;
    struct sender *x = floor_alloc(1, sizeof *x);
    char ask[320], url[320], nng_url[320], redis[320], path[320];
    const uint16_t port = t->tcp ? streams_free_port() : 0;

    x->s = s;
    snprintf(path, sizeof path, "%s/%s.db", s->disk, t->name);
    snprintf(ask, sizeof ask, "ipc://%s/%s", s->memory, t->name);
    snprintf(url, sizeof url, "%s", ask);
    snprintf(nng_url, sizeof nng_url, "ipc://%s/%s.nng", s->memory, t->name);
    snprintf(redis, sizeof redis, "%s", s->redis_path);
    if (t->tcp) {
        snprintf(url, sizeof url, "tcp://127.0.0.1:%u", port);
        snprintf(nng_url, sizeof nng_url, "tcp://127.0.0.1:%u", streams_free_port());
        snprintf(redis, sizeof redis, "%u", s->redis_port);
    }
    x->peer_reqcast = streams_peer(s, streams_peer_reqcast, url);
    x->peer_nng = streams_peer(s, streams_peer_nng, nng_url);
    x->peer_redis = s->redis != 0 ? streams_peer(s, streams_peer_redis, redis) : 0;
    streams_owner_start(s, &x->owner, path, ask, port);
    listen_nng(x, nng_url);
    connect_redis(x, redis);
    first_rows(x);
    streams_await(&s->shared->ready[x->peer_reqcast], "a subscriber");
    x->bytes = frame_bytes(x);
    while (atomic_load(&s->shared->count[x->peer_nng]) == 0)
        by_nng(x, false);
    for (uint32_t i = 0; i < WARM + s->samples; i++) {
        by_reqcast(x, i >= WARM);
        streams_sleep_us(PAUSE_US);
        by_nng(x, i >= WARM);
        streams_sleep_us(PAUSE_US);
        by_redis(x, i >= WARM);
        streams_sleep_us(PAUSE_US);
    }
    report(x, t->name);
    streams_peers_end(s);
    rqc_txn_free(x->txn);
    streams_owner_end(&x->owner);
    (void)nng_close(x->pub);
    free(x);
}

void streams_latency(struct streams *s)
{
    static const struct transport transports[] = {{"ipc", false}, {"tcp", true}};

    streams_redis_start(s);
    for (size_t i = 0; i < 2; i++)
        streams_apart(s, measure, (void *)(uintptr_t)&transports[i]);
    streams_redis_end(s);
}

// ---- The shared view ----------------------------------------------------------------------------

static void spin(struct streams *s, void *arg)
{
    static struct bench_samples durable, shown;
    struct sender *x = floor_alloc(1, sizeof *x);
    char path[320];

    (void)arg;
    x->s = s;
    snprintf(path, sizeof path, "%s/spin.db", s->disk);
    streams_owner_start(s, &x->owner, path, NULL, 0);
    first_rows(x);
    const unsigned peer = streams_peer(s, streams_peer_spin, path);
    for (uint32_t i = 0; i < WARM + s->samples; i++) {
        streams_await(&s->shared->ready[peer], "a process that spins");
        put(x);
        atomic_store(&s->shared->ready[peer], false);
        arm(x, peer);
        bench_check(rqc_commit(x->txn, NULL), "rqc_commit", rqc_txn_error(x->txn));
        const int64_t d = atomic_load(&streams_durable), v = atomic_load(&streams_shown),
                      at = seen(x, peer);
        if (i < WARM || at == 0)
            continue;
        bench_sample(&durable, (double)(at - d) * 1e-3);
        bench_sample(&shown, (double)(at - v) * 1e-3);
    }
    printf("\nus until a process that spins on the shared view has seen the commit of one row\n"
           "%-40s %8s %8s %8s\n",
           "", "p50", "p90", "p99");
    printf("%-40s %8.1f %8.1f %8.1f\n", "from the durable commit", bench_quantile(&durable, 0.5),
           bench_quantile(&durable, 0.9), bench_quantile(&durable, 0.99));
    printf("%-40s %8.1f %8.1f %8.1f\n", "from the view's move", bench_quantile(&shown, 0.5),
           bench_quantile(&shown, 0.9), bench_quantile(&shown, 0.99));
    bench_emit(&s->report, "durable to seen in the view", "reqcast", "us",
               bench_quantile(&durable, 0.5), &durable);
    bench_emit(&s->report, "view moved to seen in the view", "reqcast", "us",
               bench_quantile(&shown, 0.5), &shown);
    streams_peers_end(s);
    rqc_txn_free(x->txn);
    streams_owner_end(&x->owner);
    free(x);
}

void streams_view(struct streams *s)
{
    streams_apart(s, spin, NULL);
}
