// SPDX-License-Identifier: Apache-2.0
// What nng does not do by itself: listeners that died are opened again, subscribers that take
// nothing are disconnected.
#include "replicate/net_parts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DEAD_LOOKS   1  // after a handshake without being taken in
#define STUCK_LOOKS  40 // without a handshake
#define SETTLE_LOOKS 4
#define ROUND_LOOKS  16

// ---- Listeners ----------------------------------------------------------------------------------

void rqci_listener_end_probe(rqci_listener *l)
{
    if (l->probe >= 0)
        close(l->probe);
    l->probe = -1;
}

static uint64_t stat_of(nng_stat *s, const char *name)
{
    for (nng_stat *c = nng_stat_child(s); c; c = nng_stat_next(c))
        if (strcmp(nng_stat_name(c), name) == 0)
            return nng_stat_value(c);
    return 0;
}

static rqci_endpoint *endpoint_of(rqci_net *n, uint64_t id)
{
    rqci_endpoint *e = n->endpoints;
    while (e && (uint64_t)e->id != id)
        e = e->next;
    return e;
}

// A listener that died still shakes hands, and takes nobody in. So one comes that should be.
static void begin_probe(const rqci_endpoint *e, rqci_listener *l)
{
    const uint8_t hello[8] = {0, 'S', 'P', 0, 0, e->publishes ? 0x21 : 0x30, 0, 0};
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    memcpy(a.sun_path, l->url + 6, strlen(l->url + 6));
    if (connect(fd, (const struct sockaddr *)&a, sizeof a) != 0 ||
        send(fd, hello, sizeof hello, MSG_NOSIGNAL) != (ssize_t)sizeof hello) {
        close(fd); // busy: tried again at the next look
        return;
    }
    l->probe = fd;
    l->wanted = false;
    l->round_probes++;
    l->probed = l->accepted;
    l->looks = l->looks_shaken = 0;
}

static void look_at_probe(rqci_listener *l)
{
    uint8_t answer[8];
    l->looks++;
    if (l->accepted != l->probed) {
        rqci_listener_end_probe(l);
        l->settles = SETTLE_LOOKS;
        return;
    }
    if (l->looks_shaken > 0 || recv(l->probe, answer, sizeof answer, 0) == (ssize_t)sizeof answer)
        l->looks_shaken++;
    if (l->looks_shaken <= DEAD_LOOKS && l->looks <= STUCK_LOOKS)
        return;
    rqci_listener_end_probe(l);
    l->down = true;
}

// Its end is counted as an error; but so is the end of a connection, also of a probe.
static void look_at_counts(rqci_listener *l, uint64_t accepted, uint64_t errors)
{
    uint64_t more = errors - l->errors;
    l->errors = errors;
    l->accepted = accepted;
    if (l->settles > 0 && more > 0) {
        more--;
        l->settles = 0;
    }
    l->settles -= l->settles > 0;
    l->wanted = l->wanted || more > 0;
    if (++l->round < ROUND_LOOKS)
        return;
    // Whoever came or went in this round, but for probes, may have hidden its end.
    l->wanted = l->wanted || accepted != l->round_accepted + l->round_probes ||
                errors != l->round_errors + l->round_probes;
    l->round = l->round_probes = 0;
    l->round_accepted = accepted;
    l->round_errors = errors;
}

static void look_at_listener(rqci_net *n, nng_stat *s)
{
    rqci_endpoint *e = endpoint_of(n, stat_of(s, "socket"));
    const uint64_t id = stat_of(s, "id");
    for (unsigned i = 0; e && i < e->nlisteners; i++) {
        rqci_listener *l = &e->listeners[i];
        if (l->lock < 0 || (uint64_t)nng_listener_id(l->l) != id)
            continue;
        look_at_counts(l, stat_of(s, "accept"), stat_of(s, "other"));
        if (l->probe >= 0)
            look_at_probe(l);
        else if (l->wanted)
            begin_probe(e, l);
    }
}

static rqci_peer *peer_of(rqci_endpoint *e, uint32_t id)
{
    // Statistics come in the same order again and again.
    for (size_t i = 0; i < e->npeers; i++) {
        const size_t at = (e->hint + i) % e->npeers;
        if (e->peers[at].id == id) {
            e->hint = at + 1;
            return &e->peers[at];
        }
    }
    if (e->npeers == e->peers_cap) {
        const size_t cap = e->peers_cap ? 2 * e->peers_cap : 16;
        rqci_peer *peers = realloc(e->peers, cap * sizeof *peers);
        if (!peers)
            return NULL;
        e->peers = peers;
        e->peers_cap = cap;
    }
    rqci_peer *p = &e->peers[e->npeers++];
    // What was sent before it was seen may have gone to it, too: never too little is counted.
    *p = (rqci_peer){.id = id,
                     .messages = atomic_load(&e->messages),
                     .bytes = atomic_load(&e->bytes)};
    return p;
}

// What it was sent and did not take is still in memory, or was dropped already: in both cases it
// does better to come again.
static void look_at_pipe(rqci_net *n, nng_stat *s)
{
    rqci_endpoint *e = endpoint_of(n, stat_of(s, "socket"));
    const uint32_t id = (uint32_t)stat_of(s, "id");
    if (!e || !e->publishes)
        return;
    const uint64_t taken_messages = stat_of(s, "tx_msgs"), taken_bytes = stat_of(s, "tx_bytes");
    const size_t before = e->npeers;
    rqci_peer *p = peer_of(e, id);
    if (!p)
        return;
    p->seen = true;
    if (e->npeers > before) {
        p->messages -= taken_messages < p->messages ? taken_messages : p->messages;
        p->bytes -= taken_bytes < p->bytes ? taken_bytes : p->bytes;
        return;
    }
    const uint64_t sent = atomic_load(&e->messages) - p->messages,
                   bytes = atomic_load(&e->bytes) - p->bytes;
    const bool slow =
        sent > taken_messages + RQCI_NET_QUEUE || bytes > taken_bytes + RQCI_NET_BACKLOG_BYTES;
    if (!slow)
        return;
    atomic_fetch_add(&n->disconnected, 1);
    nng_pipe_close((nng_pipe){id});
}

static void walk(rqci_net *n, nng_stat *s)
{
    for (; s; s = nng_stat_next(s)) {
        const char *name = nng_stat_name(s);
        if (strncmp(name, "listener", 8) == 0 && nng_stat_child(s))
            look_at_listener(n, s);
        else if (strncmp(name, "pipe", 4) == 0 && nng_stat_child(s))
            look_at_pipe(n, s);
        else
            walk(n, nng_stat_child(s));
    }
}

static void forget_peers(rqci_endpoint *e)
{
    size_t n = 0;
    for (size_t i = 0; i < e->npeers; i++) {
        if (!e->peers[i].seen)
            continue;
        e->peers[n] = e->peers[i];
        e->peers[n++].seen = false;
    }
    e->npeers = n;
}

static void reopen(rqci_net *n, rqci_endpoint *e)
{
    for (unsigned i = 0; i < e->nlisteners; i++) {
        rqci_listener *l = &e->listeners[i];
        if (!l->down)
            continue;
        // Its connections end with it; they come again.
        nng_listener_close(l->l);
        const int rv = rqci_listener_start(e, l);
        atomic_fetch_add(&n->reopened, 1);
        if (rv != 0)
            rqci_logf(&n->log, RQCI_WARN, "%s cannot be opened again: %s", l->url,
                      nng_strerror(rv));
    }
}

void rqci_net_tick(rqci_net *n)
{
    nng_stat *all = NULL;
    if (nng_stats_get(&all) != 0)
        return;
    pthread_mutex_lock(&n->lock);
    walk(n, nng_stat_child(all));
    for (rqci_endpoint *e = n->endpoints; e; e = e->next) {
        forget_peers(e);
        reopen(n, e);
    }
    pthread_mutex_unlock(&n->lock);
    nng_stats_free(all);
}
