// SPDX-License-Identifier: Apache-2.0
//
// How many changes a second reach 1, 8 and 64 subscribers, when the disk is no limit: the changes
// of a view are walked in batches, framed and sent as the publisher does it for a batch, as fast as
// the slowest subscriber takes them. Beside it nng alone, with messages of the same size, which
// looks into none of them.
#include "bench/streams.h"

#include "replicate/message.h"

#include <nng/nng.h>
#include <nng/protocol/pubsub0/pub.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 5, AHEAD = 32, BATCH = 1000 };

struct round {
    unsigned peers;
    double bytes;   // of a message, mean: reqcast tells, nng takes
    double changes; // of a message
};

struct pump {
    struct streams *s;
    const struct round *round;
    rqci_net_pub *pub;
    char stream[320];
    rqci_epoch epoch;
    _Atomic uint64_t at; // seq of what was sent
    uint64_t messages, changes, bytes;
};

// Changes or messages that the slowest peer has.
static uint64_t slowest(const struct streams *s, unsigned n)
{
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < n; i++) {
        const uint64_t c = atomic_load(&s->shared->count[i]);
        least = c < least ? c : least;
    }
    return least;
}

static void wait_for(const struct streams *s, unsigned n, uint64_t want)
{
    const int64_t until = streams_now() + STREAMS_WAIT_S * INT64_C(1000000000);

    while (slowest(s, n) < want) {
        if (streams_now() > until)
            floor_die("a subscriber", "took too long");
        streams_sleep_us(50);
    }
}

// ---- reqcast ------------------------------------------------------------------------------------

static void send_bookmark(struct pump *p)
{
    const uint64_t at = atomic_load(&p->at);
    const rqci_frame f = {.flags = RQCI_FRAME_ALL | RQCI_FRAME_BOOKMARK,
                          .epoch = p->epoch,
                          .prev_seq = at,
                          .seq = at};
    rqci_buf b = {0};

    bench_check(rqci_frame_begin(&b, &f), "a bookmark", NULL);
    rqci_frame_end(&b, 0, 0);
    (void)rqci_net_pub_send(p->pub, b.data, b.len);
    rqci_buf_free(&b);
}

static void *begin(void *ctx)
{
    return ctx;
}

static void end(void *ctx, void *mine)
{
    (void)ctx;
    (void)mine;
}

// HELLO, and nothing else: there are no gaps here.
static void answer(void *ctx, void *mine, const uint8_t *question, size_t n, rqci_buf *out)
{
    struct pump *p = ctx;
    rqci_message m;
    rqci_hello h;
    rqci_hello_answer a = {.epoch = p->epoch, .message_max = RQCI_MSG_MAX, .seq = p->at};

    (void)mine;
    if (rqci_message_decode(question, n, RQCI_ASK_MAGIC, &m, NULL) != RQC_OK ||
        rqci_hello_decode(&m, &h, NULL) != RQC_OK) {
        fprintf(stderr, "streams: a subscriber missed something\n");
        return;
    }
    snprintf(a.url, sizeof a.url, "%.255s", p->stream);
    (void)rqci_answer_hello(out, &a);
    if (h.flags & RQCI_HELLO_NUDGE)
        send_bookmark(p);
}

static void send_batch(struct pump *p, const rqc_changes_list *list, uint64_t before, rqci_buf *b)
{
    const rqci_frame f = {.flags = RQCI_FRAME_ALL,
                          .epoch = p->epoch,
                          .prev_seq = before,
                          .seq = list->items[list->n - 1].seq};

    b->len = 0;
    bench_check(rqci_frame_begin(b, &f), "a frame", NULL);
    for (size_t i = 0; i < list->n; i++)
        bench_check(rqci_frame_add(b, &list->items[i]), "a frame", NULL);
    rqci_frame_end(b, 0, (uint32_t)list->n);
    atomic_store(&p->at, f.seq);
    if (rqci_net_pub_send(p->pub, b->data, b->len) != RQC_OK)
        floor_die("a frame", "is not sent");
    p->messages++;
    p->changes += list->n;
    p->bytes += b->len;
}

static void walk(struct pump *p, rqc_db *db)
{
    rqc_cursor cursor = RQC_CURSOR_INIT(0);
    rqc_changes_list list = RQC_CHANGES_INIT;
    rqc_read *r;
    rqc_error err = {RQC_OK, ""};
    rqci_buf b = {0};
    int up_to_date = 0;

    bench_check(rqc_read_new(db, &r, &err), "rqc_read_new", err.text);
    bench_check(rqc_read_begin(r), "rqc_read_begin", NULL);
    while (!up_to_date) {
        const uint64_t before = cursor.seq;
        bench_check(rqc_changes(r, NULL, &cursor, BATCH, &list, &up_to_date), "rqc_changes",
                    rqc_read_error(r));
        if (list.n > 0)
            send_batch(p, &list, before, &b);
        const uint64_t ahead = (uint64_t)AHEAD * BATCH;
        wait_for(p->s, p->round->peers, p->changes > ahead ? p->changes - ahead : 0);
    }
    rqci_buf_free(&b);
    rqc_changes_free(&list);
    rqc_read_free(r);
}

static void open_pump(struct pump *p, rqci_net **ret_net, rqci_net_rep **ret_rep, const char *ask)
{
    const rqci_log log = {NULL, NULL};
    const rqci_net_service service = {p, begin, answer, end};
    rqci_errbuf err = {""};

    bench_check(rqci_net_new(&log, ret_net, &err), "sockets", err.text);
    bench_check(rqci_net_pub_open(*ret_net, &p->pub, &err), "publisher", err.text);
    bench_check(rqci_net_pub_listen(p->pub, p->stream, 0600, NULL, &err), p->stream, err.text);
    bench_check(rqci_net_rep_open(*ret_net, &service, 2, RQCI_MSG_MAX, ret_rep, &err), "answers",
                err.text);
    bench_check(rqci_net_rep_listen(*ret_rep, ask, 0600, NULL, &err), ask, err.text);
}

static void by_reqcast(struct streams *s, void *arg)
{
    struct pump p = {.s = s, .round = arg};
    char ask[320];
    rqci_net *net;
    rqci_net_rep *rep;

    snprintf(ask, sizeof ask, "ipc://%s/rate", s->memory);
    snprintf(p.stream, sizeof p.stream, "ipc://%s/rate.all", s->memory);
    for (unsigned i = 0; i < p.round->peers; i++)
        (void)streams_peer(s, streams_peer_now, ask);
    rqc_db *db = bench_open(s->path, s->memory, false);
    const rqc_position here = rqc_position_now(db);
    p.epoch.term = here.term;
    memcpy(p.epoch.store_id, here.store_id, 16);
    open_pump(&p, &net, &rep, ask);
    for (unsigned i = 0; i < p.round->peers; i++)
        streams_await(&s->shared->ready[i], "a subscriber");
    const int64_t start = streams_now();
    walk(&p, db);
    wait_for(s, p.round->peers, p.changes);
    s->shared->result[0] = (double)p.changes / ((double)(streams_now() - start) * 1e-9);
    s->shared->result[1] = (double)p.bytes / (double)p.messages;
    s->shared->result[2] = (double)p.changes / (double)p.messages;
    s->shared->result[3] = (double)p.messages;
    streams_peers_end(s);
    rqci_net_rep_close(rep);
    rqci_net_pub_close(p.pub);
    rqci_net_free(net);
    rqc_close(db);
}

// ---- nng ----------------------------------------------------------------------------------------

static void send_one(nng_socket pub, size_t n)
{
    nng_msg *m;

    if (nng_msg_alloc(&m, n) != 0)
        floor_die("nng", "no memory");
    memset(nng_msg_body(m), 'x', n);
    if (nng_sendmsg(pub, m, NNG_FLAG_NONBLOCK) != 0)
        floor_die("nng", "does not send");
}

static void by_nng(struct streams *s, void *arg)
{
    const struct round *r = arg;
    const uint64_t n = (uint64_t)s->shared->result[3];
    nng_socket pub;
    char url[320];
    uint64_t warm = 0;

    snprintf(url, sizeof url, "ipc://%s/rate.nng", s->memory);
    for (unsigned i = 0; i < r->peers; i++)
        (void)streams_peer(s, streams_peer_nng, url);
    if (nng_pub0_open(&pub) != 0 || nng_socket_set_int(pub, NNG_OPT_SENDBUF, 8192) != 0 ||
        nng_listen(pub, url, NULL, 0) != 0)
        floor_die(url, "no publisher");
    for (; slowest(s, r->peers) == 0; warm++) {
        send_one(pub, 8);
        streams_sleep_us(20000);
    }
    streams_sleep_us(100000);
    uint64_t before[STREAMS_PEERS];
    for (unsigned i = 0; i < r->peers; i++) {
        before[i] = atomic_load(&s->shared->count[i]);
        atomic_fetch_sub(&s->shared->count[i], before[i]);
    }
    const int64_t start = streams_now();
    for (uint64_t i = 0; i < n; i++) {
        send_one(pub, (size_t)r->bytes);
        wait_for(s, r->peers, i > AHEAD ? i - AHEAD : 0);
    }
    wait_for(s, r->peers, n);
    s->shared->result[0] = (double)n * r->changes / ((double)(streams_now() - start) * 1e-9);
    streams_peers_end(s);
    (void)nng_close(pub);
}

// ---- Both ---------------------------------------------------------------------------------------

static void compare(struct streams *s, unsigned peers)
{
    static struct bench_samples of[2];
    struct round r = {.peers = peers};
    char name[64];

    of[0].n = of[1].n = 0;
    for (int i = 0; i < ROUNDS; i++) {
        streams_apart(s, by_reqcast, &r);
        bench_sample(&of[0], s->shared->result[0]);
        r.bytes = s->shared->result[1];
        r.changes = s->shared->result[2];
        streams_apart(s, by_nng, &r);
        bench_sample(&of[1], s->shared->result[0]);
    }
    const double mine = bench_quantile(&of[0], 0.5), nng = bench_quantile(&of[1], 0.5);
    snprintf(name, sizeof name, "changes in batches, subscribers: %u", peers);
    bench_emit(&s->report, name, "reqcast", "changes/s", mine, &of[0]);
    bench_emit(&s->report, name, "nng", "changes/s", nng, &of[1]);
    printf("%-12u %14.0f %14.0f %14.0f %10.2f\n", peers, mine, mine * peers, nng, mine / nng);
    fflush(stdout);
}

// A database whose records all have positions of their own.
void streams_load(struct streams *s, const char *path, const struct bench_data *d)
{
    rqc_db *db = bench_open(path, s->memory, true);

    (void)bench_load_add(d, db);
    rqc_close(db);
}

static void load(struct streams *s, void *arg)
{
    (void)arg;
    streams_load(s, s->path, &s->data);
}

void streams_rate(struct streams *s)
{
    static const unsigned peers[] = {1, 8, 64};

    streams_apart(s, load, NULL);
    printf("\nchanges a second to each subscriber, in batches of %d, without the disk\n"
           "%-12s %14s %14s %14s %10s\n",
           BATCH, "subscribers", "to each", "to all", "nng alone", "ratio");
    for (size_t i = 0; i < sizeof peers / sizeof *peers; i++)
        compare(s, peers[i]);
}
