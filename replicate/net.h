// SPDX-License-Identifier: Apache-2.0
// The sidecar's sockets: nng's PUB and REP. The one includer of nng is net_parts.h.
//
// What nng does not do by itself is done by rqci_net_tick, every 30 ms: an ipc listener that died
// (a peer that closes during the handshake ends it for good) is opened again, and a subscriber that
// does not take what it is sent is disconnected before it costs more than a bounded piece of
// memory. It comes back and asks for what it missed.
//
// Nothing here may be used after fork.
#ifndef RQCI_NET_H
#define RQCI_NET_H

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

#include <stdbool.h>

typedef struct rqci_net rqci_net;
typedef struct rqci_net_pub rqci_net_pub;
typedef struct rqci_net_rep rqci_net_rep;

#define RQCI_NET_TICK_MS       30
#define RQCI_NET_QUEUE         8192                 // messages of one subscriber
#define RQCI_NET_BACKLOG_BYTES ((uint64_t)64 << 20) // and their bytes

rqc_err rqci_net_new(const rqci_log *log, rqci_net **ret_net, rqci_errbuf *err);
void rqci_net_free(rqci_net *n); // when all its sockets were closed
// One thread.
void rqci_net_tick(rqci_net *n);

typedef struct rqci_net_counts {
    uint64_t subscribers, askers;       // connections now
    uint64_t reopened;                  // listeners
    uint64_t disconnected;              // subscribers that took nothing
    uint64_t sent_messages, sent_bytes; // of all topics, each once
} rqci_net_counts;
rqci_net_counts rqci_net_counts_of(rqci_net *n);

// ---- PUB ----
rqc_err rqci_net_pub_open(rqci_net *n, rqci_net_pub **ret_pub, rqci_errbuf *err);
// Listens at ipc://PATH (with these permissions) or tcp://HOST:PORT (port 0: any). *ret_port: the
// port; may be NULL. RQC_BUSY: somebody listens there.
rqc_err rqci_net_pub_listen(rqci_net_pub *p, const char *url, unsigned mode, uint16_t *ret_port,
                            rqci_errbuf *err);
// Never waits: whoever is too slow loses its oldest message.
rqc_err rqci_net_pub_send(rqci_net_pub *p, const void *bytes, size_t n);
unsigned rqci_net_pub_peers(rqci_net_pub *p);
void rqci_net_pub_close(rqci_net_pub *p); // NULL-safe

// ---- REP ----
// `threads` threads answer questions: fn reads the question and writes the answer into out; an
// empty one means: no answer. `mine` is what `begin` gave for the thread (NULL: it could
// not; it is asked again at the next question).
typedef struct rqci_net_service {
    void *ctx;
    void *(*begin)(void *ctx);
    void (*answer)(void *ctx, void *mine, const uint8_t *question, size_t n, rqci_buf *out);
    void (*end)(void *ctx, void *mine);
} rqci_net_service;
rqc_err rqci_net_rep_open(rqci_net *n, const rqci_net_service *service, unsigned threads,
                          size_t question_max, rqci_net_rep **ret_rep, rqci_errbuf *err);
rqc_err rqci_net_rep_listen(rqci_net_rep *r, const char *url, unsigned mode, uint16_t *ret_port,
                            rqci_errbuf *err);
// Lets the questions that are being answered end, and their answers go. NULL-safe.
void rqci_net_rep_close(rqci_net_rep *r);

#endif
