// SPDX-License-Identifier: Apache-2.0
//
// The parts of reqcastd in this process, so that the clock can be read inside: the database, the
// publisher, the answers to questions, the look at the sockets every 30 ms.
#include "bench/streams.h"
#include "bench/streams_durable.h"

#include "replicate/message.h"

#include <string.h>

_Atomic int64_t streams_durable, streams_shown;

static void durable(void)
{
    atomic_store(&streams_durable, streams_now());
}

static rqc_err pin(void *ctx, rqci_reader **ret_reader)
{
    struct streams_owner *o = ctx;
    const rqc_err rc = rqc_read_begin(o->read);

    if (rc == RQC_OK)
        *ret_reader = o->read->reader;
    return rc;
}

static void unpin(void *ctx)
{
    const struct streams_owner *o = ctx;

    rqc_read_end(o->read);
}

static bool lags(void *ctx)
{
    const struct streams_owner *o = ctx;

    return atomic_load(&o->db->lagging);
}

static void applied(void *ctx)
{
    const struct streams_owner *o = ctx;

    atomic_store(&streams_shown, streams_now());
    if (o->publisher != NULL)
        rqci_publisher_moved(o->publisher);
}

static void *tick(void *arg)
{
    struct streams_owner *o = arg;

    while (!atomic_load(&o->stop)) {
        streams_sleep_us(RQCI_NET_TICK_MS * 1000);
        rqci_net_tick(o->net);
    }
    return NULL;
}

static void start_sockets(struct streams_owner *o, const char *url, uint16_t port)
{
    rqci_errbuf err = {""};
    rqci_net_service service;
    char tcp[64];
    const rqci_log log = {NULL, NULL};
    const rqci_publisher_options p = {.path = url + strlen("ipc://"),
                                      .mode = 0600,
                                      .host = port != 0 ? "127.0.0.1" : NULL,
                                      .port = (uint16_t)(port + 1),
                                      .topics_max = 10,
                                      .idle_ms = 60000,
                                      .log = log,
                                      .ctx = o,
                                      .pin = pin,
                                      .unpin = unpin,
                                      .lags = lags};
    rqci_publisher_options opt = p;

    bench_check(rqci_net_new(&log, &o->net, &err), "sockets", err.text);
    opt.net = o->net;
    bench_check(rqci_publisher_start(&opt, &o->publisher, &err), "publisher", err.text);
    o->service.db = o->db;
    o->service.publisher = o->publisher;
    o->service.net = o->net;
    dm_service_of(&o->service, &service);
    bench_check(rqci_net_rep_open(o->net, &service, 8, RQCI_MSG_MAX, &o->rep, &err), "answers",
                err.text);
    bench_check(rqci_net_rep_listen(o->rep, url, 0600, NULL, &err), url, err.text);
    if (port != 0) {
        snprintf(tcp, sizeof tcp, "tcp://127.0.0.1:%u", port);
        bench_check(rqci_net_rep_listen(o->rep, tcp, 0, NULL, &err), tcp, err.text);
    }
    if (pthread_create(&o->tick, NULL, tick, o) != 0)
        floor_die("pthread_create", "no thread");
}

void streams_owner_start(struct streams *s, struct streams_owner *o, const char *path,
                         const char *url, uint16_t port)
{
    rqc_error err = {RQC_OK, ""};

    memset(o, 0, sizeof *o);
    o->db = bench_open(path, s->memory, true);
    bench_check(rqc_read_new(o->db, &o->read, &err), "rqc_read_new", err.text);
    if (url != NULL)
        start_sockets(o, url, port);
    streams_watch_commits(o->db->store, durable);
    rqci_watch_applied(o->db, applied, o);
}

void streams_owner_end(struct streams_owner *o)
{
    rqci_watch_applied(o->db, NULL, NULL);
    if (o->net != NULL) {
        atomic_store(&o->stop, true);
        (void)pthread_join(o->tick, NULL);
        rqci_net_rep_close(o->rep);
        rqci_publisher_stop(o->publisher);
        rqci_net_free(o->net);
    }
    rqc_read_free(o->read);
    rqc_close(o->db);
}
