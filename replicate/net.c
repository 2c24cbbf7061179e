// SPDX-License-Identifier: Apache-2.0
#include "replicate/net.h"

#include <nng/nng.h>
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/reqrep0/rep.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LISTENERS_MAX 4
#define DEAD_LOOKS    1  // after a handshake without being taken in
#define STUCK_LOOKS   40 // without a handshake
#define SETTLE_LOOKS  4
#define ROUND_LOOKS   16
#define ANSWER_MS     2000 // how long an answer may wait for a peer that does not read
#define LINGER_MS     100

typedef struct listener {
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
} listener;

typedef struct peer {
    uint32_t id;
    bool seen;
    uint64_t messages, bytes; // that the socket had sent when this peer was first seen
} peer;

// What a socket of either kind has; guarded by the net's lock.
typedef struct endpoint {
    rqci_net *net;
    nng_socket s;
    int id;
    bool publishes;
    listener listeners[LISTENERS_MAX];
    unsigned nlisteners;
    peer *peers;
    size_t npeers, peers_cap, hint;
    _Atomic unsigned npipes;
    _Atomic uint64_t messages, bytes;
    struct endpoint *next;
} endpoint;

struct rqci_net {
    rqci_log log;
    pthread_mutex_t lock;
    endpoint *endpoints;
    _Atomic uint64_t reopened, disconnected, messages, bytes;
};

struct rqci_net_pub {
    endpoint e;
};

typedef struct worker {
    struct rqci_net_rep *rep;
    pthread_t thread;
    nng_ctx ctx;
    nng_aio *aio;
    bool runs;
} worker;

struct rqci_net_rep {
    endpoint e;
    rqci_net_service service;
    worker *workers;
    unsigned nworkers;
    _Atomic bool stop;
};

static rqc_err nng_err(int rv, const char *what, rqci_errbuf *err)
{
    rqc_err code = RQC_IO;
    switch (rv) {
    case 0: return RQC_OK;
    case NNG_ENOMEM: code = RQC_NO_MEMORY; break;
    case NNG_EADDRINUSE: code = RQC_BUSY; break;
    case NNG_EADDRINVAL:
    case NNG_EINVAL:
    case NNG_ENOTSUP: code = RQC_INVALID; break;
    case NNG_ECLOSED: code = RQC_CLOSED; break;
    default: break;
    }
    return rqci_fail(err, code, "%s: %s", what, nng_strerror(rv));
}

// ---- All sockets --------------------------------------------------------------------------------

rqc_err rqci_net_new(const rqci_log *log, rqci_net **ret_net, rqci_errbuf *err)
{
    rqci_net *n = calloc(1, sizeof *n);
    if (!n)
        return rqci_fail(err, RQC_NO_MEMORY, "no memory for sockets");
    n->log = *log;
    pthread_mutex_init(&n->lock, NULL);
    *ret_net = n;
    return RQC_OK;
}

void rqci_net_free(rqci_net *n)
{
    if (!n)
        return;
    pthread_mutex_destroy(&n->lock);
    free(n);
}

static void pipe_changed(nng_pipe p, nng_pipe_ev ev, void *arg)
{
    endpoint *e = arg;
    (void)p;
    if (ev == NNG_PIPE_EV_ADD_POST)
        atomic_fetch_add(&e->npipes, 1);
    else if (ev == NNG_PIPE_EV_REM_POST)
        atomic_fetch_sub(&e->npipes, 1);
}

static rqc_err endpoint_open(endpoint *e, rqci_net *n, bool publishes, size_t most,
                             rqci_errbuf *err)
{
    e->net = n;
    e->publishes = publishes;
    int rv = publishes ? nng_pub0_open(&e->s) : nng_rep0_open(&e->s);
    if (rv != 0)
        return nng_err(rv, "socket", err);
    rv = nng_socket_set_size(e->s, NNG_OPT_RECVMAXSZ, most);
    if (rv == 0 && publishes)
        rv = nng_socket_set_int(e->s, NNG_OPT_SENDBUF, RQCI_NET_QUEUE);
    if (rv == 0)
        rv = nng_pipe_notify(e->s, NNG_PIPE_EV_ADD_POST, pipe_changed, e);
    if (rv == 0)
        rv = nng_pipe_notify(e->s, NNG_PIPE_EV_REM_POST, pipe_changed, e);
    if (rv != 0) {
        nng_close(e->s);
        return nng_err(rv, "socket", err);
    }
    e->id = nng_socket_id(e->s);
    pthread_mutex_lock(&n->lock);
    e->next = n->endpoints;
    n->endpoints = e;
    pthread_mutex_unlock(&n->lock);
    return RQC_OK;
}

static void end_probe(listener *l)
{
    if (l->probe >= 0)
        close(l->probe);
    l->probe = -1;
}

static void endpoint_close(endpoint *e)
{
    rqci_net *n = e->net;
    pthread_mutex_lock(&n->lock);
    for (endpoint **at = &n->endpoints; *at; at = &(*at)->next)
        if (*at == e) {
            *at = e->next;
            break;
        }
    pthread_mutex_unlock(&n->lock);
    nng_close(e->s);
    for (unsigned i = 0; i < e->nlisteners; i++) {
        end_probe(&e->listeners[i]);
        if (e->listeners[i].lock >= 0)
            close(e->listeners[i].lock);
        free(e->listeners[i].url);
    }
    free(e->peers);
}

// ---- Listeners ----------------------------------------------------------------------------------

// nng takes the path of a listener that is alive but slow for a stale one. So who listens holds a
// lock beside it.
static rqc_err lock_path(const char *path, int *ret_fd, rqci_errbuf *err)
{
    char name[300];
    snprintf(name, sizeof name, "%s.lock", path);
    const int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return rqci_fail(err, RQC_IO, "%s: %s", name, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return rqci_fail(err, RQC_BUSY, "%s: another process listens there", path);
    }
    *ret_fd = fd;
    return RQC_OK;
}

static int start(endpoint *e, listener *l)
{
    nng_listener made;
    int rv = nng_listener_create(&made, e->s, l->url);
    if (rv != 0)
        return rv;
    if (l->lock >= 0) {
        rv = nng_listener_set_int(made, NNG_OPT_IPC_PERMISSIONS, (int)l->mode);
        (void)unlink(l->url + 6); // ours, by the lock: what a process that died left
    }
    if (rv == 0)
        rv = nng_listener_start(made, 0);
    if (rv != 0) {
        nng_listener_close(made);
        return rv;
    }
    l->l = made;
    l->errors = l->accepted = l->round_accepted = l->round_errors = 0;
    l->settles = l->round = l->round_probes = 0;
    l->wanted = false;
    l->down = false;
    return 0;
}

static rqc_err listen_at(endpoint *e, const char *url, unsigned mode, uint16_t *ret_port,
                         rqci_errbuf *err)
{
    const bool ipc = strncmp(url, "ipc://", 6) == 0;
    if (!ipc && strncmp(url, "tcp://", 6) != 0)
        return rqci_fail(err, RQC_INVALID, "%.64s: ipc://PATH or tcp://HOST:PORT is wanted", url);
    if (ipc && strlen(url + 6) > 100)
        return rqci_fail(err, RQC_INVALID, "%s: a path of at most 100 bytes is wanted", url);
    if (e->nlisteners == LISTENERS_MAX)
        return rqci_fail(err, RQC_TOO_LARGE, "more than %d listeners", LISTENERS_MAX);
    listener l = {.mode = mode, .lock = -1, .probe = -1, .url = strdup(url)};
    rqc_err rc = l.url ? RQC_OK : RQC_NO_MEMORY;
    if (rc == RQC_OK && ipc)
        rc = lock_path(url + 6, &l.lock, err);
    if (rc == RQC_OK)
        rc = nng_err(start(e, &l), url, err);
    int port = 0;
    if (rc == RQC_OK && !ipc)
        rc = nng_err(nng_listener_get_int(l.l, NNG_OPT_TCP_BOUND_PORT, &port), url, err);
    if (rc != RQC_OK) {
        if (l.lock >= 0)
            close(l.lock);
        free(l.url);
        return rc;
    }
    if (ret_port)
        *ret_port = (uint16_t)port;
    pthread_mutex_lock(&e->net->lock);
    e->listeners[e->nlisteners++] = l;
    pthread_mutex_unlock(&e->net->lock);
    return RQC_OK;
}

// ---- The watch ----------------------------------------------------------------------------------

static uint64_t stat_of(nng_stat *s, const char *name)
{
    for (nng_stat *c = nng_stat_child(s); c; c = nng_stat_next(c))
        if (strcmp(nng_stat_name(c), name) == 0)
            return nng_stat_value(c);
    return 0;
}

static endpoint *endpoint_of(rqci_net *n, uint64_t id)
{
    endpoint *e = n->endpoints;
    while (e && (uint64_t)e->id != id)
        e = e->next;
    return e;
}

// A listener that died still shakes hands, and takes nobody in. So one comes that should be.
static void begin_probe(const endpoint *e, listener *l)
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

static void look_at_probe(listener *l)
{
    uint8_t answer[8];
    l->looks++;
    if (l->accepted != l->probed) {
        end_probe(l);
        l->settles = SETTLE_LOOKS;
        return;
    }
    if (l->looks_shaken > 0 || recv(l->probe, answer, sizeof answer, 0) == (ssize_t)sizeof answer)
        l->looks_shaken++;
    if (l->looks_shaken <= DEAD_LOOKS && l->looks <= STUCK_LOOKS)
        return;
    end_probe(l);
    l->down = true;
}

// Its end is counted as an error; but so is the end of a connection, also of a probe.
static void look_at_counts(listener *l, uint64_t accepted, uint64_t errors)
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
    endpoint *e = endpoint_of(n, stat_of(s, "socket"));
    const uint64_t id = stat_of(s, "id");
    for (unsigned i = 0; e && i < e->nlisteners; i++) {
        listener *l = &e->listeners[i];
        if (l->lock < 0 || (uint64_t)nng_listener_id(l->l) != id)
            continue;
        look_at_counts(l, stat_of(s, "accept"), stat_of(s, "other"));
        if (l->probe >= 0)
            look_at_probe(l);
        else if (l->wanted)
            begin_probe(e, l);
    }
}

static peer *peer_of(endpoint *e, uint32_t id)
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
        peer *peers = realloc(e->peers, cap * sizeof *peers);
        if (!peers)
            return NULL;
        e->peers = peers;
        e->peers_cap = cap;
    }
    peer *p = &e->peers[e->npeers++];
    // What was sent before it was seen may have gone to it, too: never too little is counted.
    *p = (peer){.id = id, .messages = atomic_load(&e->messages), .bytes = atomic_load(&e->bytes)};
    return p;
}

// What it was sent and did not take is still in memory, or was dropped already: in both cases it
// does better to come again.
static void look_at_pipe(rqci_net *n, nng_stat *s)
{
    endpoint *e = endpoint_of(n, stat_of(s, "socket"));
    const uint32_t id = (uint32_t)stat_of(s, "id");
    if (!e || !e->publishes)
        return;
    const uint64_t taken_messages = stat_of(s, "tx_msgs"), taken_bytes = stat_of(s, "tx_bytes");
    const size_t before = e->npeers;
    peer *p = peer_of(e, id);
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

static void forget_peers(endpoint *e)
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

static void reopen(rqci_net *n, endpoint *e)
{
    for (unsigned i = 0; i < e->nlisteners; i++) {
        listener *l = &e->listeners[i];
        if (!l->down)
            continue;
        // Its connections end with it; they come again.
        nng_listener_close(l->l);
        const int rv = start(e, l);
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
    for (endpoint *e = n->endpoints; e; e = e->next) {
        forget_peers(e);
        reopen(n, e);
    }
    pthread_mutex_unlock(&n->lock);
    nng_stats_free(all);
}

rqci_net_counts rqci_net_counts_of(rqci_net *n)
{
    rqci_net_counts c = {.reopened = atomic_load(&n->reopened),
                         .disconnected = atomic_load(&n->disconnected),
                         .sent_messages = atomic_load(&n->messages),
                         .sent_bytes = atomic_load(&n->bytes)};
    pthread_mutex_lock(&n->lock);
    for (endpoint *e = n->endpoints; e; e = e->next)
        *(e->publishes ? &c.subscribers : &c.askers) += atomic_load(&e->npipes);
    pthread_mutex_unlock(&n->lock);
    return c;
}

// ---- PUB ----------------------------------------------------------------------------------------

rqc_err rqci_net_pub_open(rqci_net *n, rqci_net_pub **ret_pub, rqci_errbuf *err)
{
    rqci_net_pub *p = calloc(1, sizeof *p);
    if (!p)
        return rqci_fail(err, RQC_NO_MEMORY, "no memory for a socket");
    // Subscribers have nothing to say.
    const rqc_err rc = endpoint_open(&p->e, n, true, 1024, err);
    if (rc != RQC_OK) {
        free(p);
        return rc;
    }
    *ret_pub = p;
    return RQC_OK;
}

rqc_err rqci_net_pub_listen(rqci_net_pub *p, const char *url, unsigned mode, uint16_t *ret_port,
                            rqci_errbuf *err)
{
    return listen_at(&p->e, url, mode, ret_port, err);
}

rqc_err rqci_net_pub_send(rqci_net_pub *p, const void *bytes, size_t n)
{
    nng_msg *m;
    if (nng_msg_alloc(&m, n) != 0)
        return RQC_NO_MEMORY;
    memcpy(nng_msg_body(m), bytes, n);
    atomic_fetch_add(&p->e.messages, 1);
    atomic_fetch_add(&p->e.bytes, n);
    atomic_fetch_add(&p->e.net->messages, 1);
    atomic_fetch_add(&p->e.net->bytes, n);
    const int rv = nng_sendmsg(p->e.s, m, NNG_FLAG_NONBLOCK);
    if (rv != 0)
        nng_msg_free(m);
    return nng_err(rv, "publish", NULL);
}

unsigned rqci_net_pub_peers(rqci_net_pub *p)
{
    return atomic_load(&p->e.npipes);
}

void rqci_net_pub_close(rqci_net_pub *p)
{
    if (!p)
        return;
    endpoint_close(&p->e);
    free(p);
}

// ---- REP ----------------------------------------------------------------------------------------

static void answer_one(worker *w, void *mine, rqci_buf *out)
{
    struct rqci_net_rep *r = w->rep;
    nng_msg *m = nng_aio_get_msg(w->aio);
    const nng_pipe pipe = nng_msg_get_pipe(m);
    out->len = 0;
    r->service.answer(r->service.ctx, mine, nng_msg_body(m), nng_msg_len(m), out);
    nng_msg_clear(m);
    if (out->len == 0 || nng_msg_append(m, out->data, out->len) != 0) {
        nng_msg_free(m);
        nng_pipe_close(pipe);
        return;
    }
    nng_aio_set_msg(w->aio, m);
    nng_aio_set_timeout(w->aio, ANSWER_MS);
    nng_ctx_send(w->ctx, w->aio);
    nng_aio_wait(w->aio);
    if (nng_aio_result(w->aio) != 0) {
        nng_msg_free(nng_aio_get_msg(w->aio));
        nng_pipe_close(pipe);
    }
    // What a large question or answer needed is not kept.
    if (out->cap > (size_t)4 << 20)
        rqci_buf_free(out);
}

static void *work(void *arg)
{
    worker *w = arg;
    struct rqci_net_rep *r = w->rep;
    rqci_buf out = {0};
    void *mine = r->service.begin(r->service.ctx);
    while (!atomic_load(&r->stop)) {
        nng_aio_set_timeout(w->aio, NNG_DURATION_INFINITE);
        nng_ctx_recv(w->ctx, w->aio);
        // A stop that came before the receive began is seen here.
        if (atomic_load(&r->stop))
            nng_aio_cancel(w->aio);
        nng_aio_wait(w->aio);
        if (nng_aio_result(w->aio) == 0)
            answer_one(w, mine, &out);
        else if (nng_aio_result(w->aio) == NNG_ECLOSED)
            break;
    }
    r->service.end(r->service.ctx, mine);
    rqci_buf_free(&out);
    return NULL;
}

rqc_err rqci_net_rep_open(rqci_net *n, const rqci_net_service *service, unsigned threads,
                          size_t question_max, rqci_net_rep **ret_rep, rqci_errbuf *err)
{
    rqci_net_rep *r = calloc(1, sizeof *r);
    if (!r || !(r->workers = calloc(threads, sizeof *r->workers))) {
        free(r);
        return rqci_fail(err, RQC_NO_MEMORY, "no memory for a socket");
    }
    r->service = *service;
    rqc_err rc = endpoint_open(&r->e, n, false, question_max, err);
    if (rc != RQC_OK) {
        free(r->workers);
        free(r);
        return rc;
    }
    for (; rc == RQC_OK && r->nworkers < threads; r->nworkers++) {
        worker *w = &r->workers[r->nworkers];
        w->rep = r;
        int rv = nng_ctx_open(&w->ctx, r->e.s);
        if (rv == 0)
            rv = nng_aio_alloc(&w->aio, NULL, NULL);
        rc = nng_err(rv, "context", err);
        if (rc == RQC_OK && pthread_create(&w->thread, NULL, work, w) != 0)
            rc = rqci_fail(err, RQC_NO_MEMORY, "no thread to answer questions");
        w->runs = rc == RQC_OK;
    }
    if (rc != RQC_OK) {
        rqci_net_rep_close(r);
        return rc;
    }
    *ret_rep = r;
    return RQC_OK;
}

rqc_err rqci_net_rep_listen(rqci_net_rep *r, const char *url, unsigned mode, uint16_t *ret_port,
                            rqci_errbuf *err)
{
    return listen_at(&r->e, url, mode, ret_port, err);
}

void rqci_net_rep_close(rqci_net_rep *r)
{
    if (!r)
        return;
    atomic_store(&r->stop, true);
    for (unsigned i = 0; i < r->nworkers; i++) {
        worker *w = &r->workers[i];
        if (!w->runs)
            continue;
        // A cancel hits whatever the thread waits for; an answer is given its time first.
        nng_aio_cancel(w->aio);
        pthread_join(w->thread, NULL);
    }
    const struct timespec pause = {0, LINGER_MS * 1000000L};
    nanosleep(&pause, NULL);
    endpoint_close(&r->e);
    for (unsigned i = 0; i < r->nworkers; i++)
        if (r->workers[i].aio)
            nng_aio_free(r->workers[i].aio);
    free(r->workers);
    free(r);
}
