// SPDX-License-Identifier: Apache-2.0
// What the files of the sockets share: net.c opens, listens and publishes, net_rep.c answers
// questions, net_watch.c looks after listeners and slow peers. The one includer of nng.
#ifndef RQCI_NET_PARTS_H
#define RQCI_NET_PARTS_H

#include "replicate/net.h"

#include <nng/nng.h>
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/reqrep0/rep.h>

#include <pthread.h>
#include <stdatomic.h>

#define RQCI_LISTENERS_MAX 4

typedef struct rqci_listener {
    nng_listener l;
    char *url;
    unsigned mode;
    int lock; // on an ipc path, -1
    uint64_t errors, accepted;
    unsigned settles; // looks at which an error more is the end of a probe
    int probe;        // a connection to itself, -1
    uint64_t probed;  // accepted when the probe began
    unsigned looks;   // since then; and since its handshake came
    unsigned looks_shaken;
    bool wanted; // a probe
    unsigned round, round_probes;
    uint64_t round_accepted, round_errors;
    bool down; // to be opened again
} rqci_listener;

typedef struct rqci_peer {
    uint32_t id;
    bool seen;
    uint64_t messages, bytes; // that the socket had sent when this peer was first seen
} rqci_peer;

// What a socket of either kind has; guarded by the net's lock.
typedef struct rqci_endpoint {
    rqci_net *net;
    nng_socket s;
    int id;
    bool publishes;
    rqci_listener listeners[RQCI_LISTENERS_MAX];
    unsigned nlisteners;
    rqci_peer *peers;
    size_t npeers, peers_cap, hint;
    _Atomic unsigned npipes;
    _Atomic uint64_t messages, bytes;
    struct rqci_endpoint *next;
} rqci_endpoint;

struct rqci_net {
    rqci_log log;
    pthread_mutex_t lock;
    rqci_endpoint *endpoints;
    _Atomic uint64_t reopened, disconnected, messages, bytes;
};

// The code of an error of nng, with its text. RQC_OK for 0.
rqc_err rqci_nng_err(int rv, const char *what, rqci_errbuf *err);

// `most`: bytes of the longest message that is taken.
rqc_err rqci_endpoint_open(rqci_endpoint *e, rqci_net *n, bool publishes, size_t most,
                           rqci_errbuf *err);
void rqci_endpoint_close(rqci_endpoint *e);
rqc_err rqci_endpoint_listen(rqci_endpoint *e, const char *url, unsigned mode, uint16_t *ret_port,
                             rqci_errbuf *err);
// Opens a listener at its URL, again too; nng's error.
int rqci_listener_start(rqci_endpoint *e, rqci_listener *l);
// net_watch.c
void rqci_listener_end_probe(rqci_listener *l);

#endif
