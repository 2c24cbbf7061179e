// SPDX-License-Identifier: Apache-2.0
//
// Who receives: each in a process of its own, asleep until something comes, but for the last.
#include "bench/streams.h"

#include <nng/nng.h>
#include <nng/protocol/pubsub0/sub.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef RQC_BENCH_REDIS
#include <hiredis/hiredis.h>
#endif

struct me {
    struct streams_shared *shared;
    unsigned number;
};

static void arrived(const struct me *me, uint64_t n)
{
    atomic_store(&me->shared->seen[me->number], streams_now());
    atomic_fetch_add(&me->shared->count[me->number], n);
}

static void on_event(void *ctx, const rqc_event *e)
{
    const struct me *me = ctx;

    if (e->kind == RQC_EVENT_CHANGES)
        arrived(me, e->n);
    if (e->kind == RQC_EVENT_STATE && e->reason == RQC_OK)
        atomic_store(&me->shared->ready[me->number], true);
}

static void follow(struct streams *s, unsigned number, const char *url, bool from_now)
{
    struct me me = {s->shared, number};
    rqc_sub_options o = RQC_SUB_OPTIONS_INIT;
    rqc_sub *sub;
    rqc_error err = {RQC_OK, ""};

    o.event = on_event;
    o.ctx = &me;
    o.from_now = from_now;
    bench_check(rqc_subscribe(url, &o, &sub, &err), "rqc_subscribe", err.text);
    for (;;)
        (void)pause();
}

void streams_peer_reqcast(struct streams *s, unsigned number, const char *url)
{
    follow(s, number, url, false);
}

void streams_peer_now(struct streams *s, unsigned number, const char *url)
{
    follow(s, number, url, true);
}

void streams_peer_nng(struct streams *s, unsigned number, const char *url)
{
    const struct me me = {s->shared, number};
    nng_socket sub;
    nng_msg *m;

    if (nng_sub0_open(&sub) != 0 || nng_socket_set(sub, NNG_OPT_SUB_SUBSCRIBE, "", 0) != 0 ||
        nng_socket_set_int(sub, NNG_OPT_RECVBUF, 8192) != 0 ||
        nng_socket_set_ms(sub, NNG_OPT_RECONNMINT, 10) != 0 ||
        nng_dial(sub, url, NULL, NNG_FLAG_NONBLOCK) != 0)
        floor_die("nng", "no subscriber");
    atomic_store(&s->shared->ready[number], true);
    while (nng_recvmsg(sub, &m, 0) == 0) {
        arrived(&me, 1);
        nng_msg_free(m);
    }
}

void streams_peer_redis(struct streams *s, unsigned number, const char *url)
{
#ifdef RQC_BENCH_REDIS
    const struct me me = {s->shared, number};
    redisContext *c =
        *url == '/' ? redisConnectUnix(url) : redisConnect("127.0.0.1", (int)strtol(url, NULL, 10));
    void *reply = NULL;

    if (c == NULL || c->err != 0)
        floor_die("Redis", "no subscriber");
    freeReplyObject(redisCommand(c, "SUBSCRIBE all"));
    atomic_store(&s->shared->ready[number], true);
    while (redisGetReply(c, &reply) == REDIS_OK) {
        arrived(&me, 1);
        freeReplyObject(reply);
    }
#else
    (void)s;
    (void)number;
    (void)url;
#endif
}

void streams_peer_spin(struct streams *s, unsigned number, const char *url)
{
    const struct me me = {s->shared, number};
    rqc_options o = RQC_OPTIONS_INIT;
    rqc_error err = {RQC_OK, ""};
    rqc_db *db;

    o.view_dir = s->memory;
    bench_check(rqc_attach(url, &o, &db, &err), "rqc_attach", err.text);
    for (;;) {
        const uint64_t last = rqc_position_now(db).seq;
        atomic_store(&s->shared->ready[number], true);
        while (rqc_position_now(db).seq == last)
            ;
        arrived(&me, 1);
    }
}
