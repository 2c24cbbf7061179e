// SPDX-License-Identifier: Apache-2.0
//
// Shared by bench/streams*.c. Every side is a process, as it would be for users: peers (who
// receive) are forked before the publishing process uses nng, which does not survive a fork.
#ifndef RQC_BENCH_STREAMS_H
#define RQC_BENCH_STREAMS_H

#include "api/daemon/daemon.h"
#include "bench/bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

enum { STREAMS_PEERS = 64, STREAMS_WAIT_S = 60 };

// What all processes see. Times are CLOCK_MONOTONIC in nanoseconds.
struct streams_shared {
    _Atomic int64_t seen[STREAMS_PEERS];   // when the newest arrived; 0: not since it was cleared
    _Atomic uint64_t count[STREAMS_PEERS]; // changes (reqcast) or messages that arrived
    _Atomic bool ready[STREAMS_PEERS];     // it follows
    _Atomic double result[16];             // of a part's process, for who started it
};

struct streams {
    struct bench_data data;
    struct bench_report report;
    const char *disk, *memory; // folders
    const char *program;       // reqcastd
    uint32_t samples, seconds, full;
    struct streams_shared *shared;
    char path[320]; // of a database with the data
    char redis_path[320];
    uint16_t redis_port;
    pid_t redis; // 0: not here
    pid_t peers[STREAMS_PEERS];
    unsigned npeers;
};

int64_t streams_now(void);
void streams_sleep_us(long us);

// ---- processes (streams_process.c) --------------------------------------------------------------

// Does the work in a process of its own, and waits for its end.
void streams_apart(struct streams *s, void (*work)(struct streams *s, void *arg), void *arg);
// A peer: forks; `work` does not return. Its number is its place in streams_shared.
typedef void streams_peer_fn(struct streams *s, unsigned number, const char *url);
unsigned streams_peer(struct streams *s, streams_peer_fn *work, const char *url);
void streams_peers_end(struct streams *s);
// Waits until a flag or a count is reached; ends the program when it takes too long.
void streams_await(const _Atomic bool *flag, const char *what);
void streams_await_count(const _Atomic uint64_t *count, uint64_t want, const char *what);
uint16_t streams_free_port(void); // and the next one is free too

pid_t streams_sidecar(struct streams *s, const char *db_path, const char *url);
void streams_sidecar_end(pid_t pid);
// Makes a database whose records have positions of their own (streams_rate.c).
void streams_load(struct streams *s, const char *path, const struct bench_data *d);
uint64_t streams_rss(pid_t pid); // bytes
void streams_redis_start(struct streams *s);
void streams_redis_end(struct streams *s);

// ---- peers (streams_peers.c) --------------------------------------------------------------------

streams_peer_fn streams_peer_reqcast; // rqc_subscribe with a callback, from the beginning
streams_peer_fn streams_peer_now;     // the same, from the newest position on
streams_peer_fn streams_peer_nng;     // nng_recvmsg
streams_peer_fn streams_peer_redis;   // redisGetReply; url: a path, or a port of 127.0.0.1
streams_peer_fn streams_peer_spin;    // attached; url: the database's path

// ---- an owner with its publisher, as in reqcastd (streams_owner.c) ------------------------------

struct streams_owner {
    rqc_db *db;
    rqc_read *read;
    rqci_net *net;
    rqci_publisher *publisher;
    rqci_net_rep *rep;
    dm_service service;
    pthread_t tick;
    atomic_bool stop;
};
// Clock readings of the newest commit: when SQLite's transaction had become durable (the view
// begins to follow), and when the view had moved.
extern _Atomic int64_t streams_durable, streams_shown;

// url: of questions, ipc://PATH; port: tcp of questions, the next one of the stream; 0: none.
void streams_owner_start(struct streams *s, struct streams_owner *o, const char *path,
                         const char *url, uint16_t port);
void streams_owner_end(struct streams_owner *o);

// ---- parts --------------------------------------------------------------------------------------

void streams_latency(struct streams *s);  // streams_latency.c
void streams_view(struct streams *s);     // streams_latency.c
void streams_rate(struct streams *s);     // streams_rate.c
void streams_sidecars(struct streams *s); // streams_sidecar.c
void streams_door(struct streams *s);     // streams_door.c
void streams_catch_up(struct streams *s); // streams_catchup.c
void streams_deaf(struct streams *s);     // streams_catchup.c

#endif
