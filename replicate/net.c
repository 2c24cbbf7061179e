// SPDX-License-Identifier: Apache-2.0
#include "replicate/net_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct rqci_net_pub {
    rqci_endpoint e;
};

rqc_err rqci_nng_err(int rv, const char *what, rqci_errbuf *err)
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
    rqci_endpoint *e = arg;
    (void)p;
    if (ev == NNG_PIPE_EV_ADD_POST)
        atomic_fetch_add(&e->npipes, 1);
    else if (ev == NNG_PIPE_EV_REM_POST)
        atomic_fetch_sub(&e->npipes, 1);
}

rqc_err rqci_endpoint_open(rqci_endpoint *e, rqci_net *n, bool publishes, size_t most,
                           rqci_errbuf *err)
{
    e->net = n;
    e->publishes = publishes;
    int rv = publishes ? nng_pub0_open(&e->s) : nng_rep0_open(&e->s);
    if (rv != 0)
        return rqci_nng_err(rv, "socket", err);
    rv = nng_socket_set_size(e->s, NNG_OPT_RECVMAXSZ, most);
    if (rv == 0 && publishes)
        rv = nng_socket_set_int(e->s, NNG_OPT_SENDBUF, RQCI_NET_QUEUE);
    if (rv == 0)
        rv = nng_pipe_notify(e->s, NNG_PIPE_EV_ADD_POST, pipe_changed, e);
    if (rv == 0)
        rv = nng_pipe_notify(e->s, NNG_PIPE_EV_REM_POST, pipe_changed, e);
    if (rv != 0) {
        nng_close(e->s);
        return rqci_nng_err(rv, "socket", err);
    }
    e->id = nng_socket_id(e->s);
    pthread_mutex_lock(&n->lock);
    e->next = n->endpoints;
    n->endpoints = e;
    pthread_mutex_unlock(&n->lock);
    return RQC_OK;
}

void rqci_endpoint_close(rqci_endpoint *e)
{
    rqci_net *n = e->net;
    pthread_mutex_lock(&n->lock);
    for (rqci_endpoint **at = &n->endpoints; *at; at = &(*at)->next)
        if (*at == e) {
            *at = e->next;
            break;
        }
    pthread_mutex_unlock(&n->lock);
    nng_close(e->s);
    for (unsigned i = 0; i < e->nlisteners; i++) {
        rqci_listener_end_probe(&e->listeners[i]);
        if (e->listeners[i].lock >= 0)
            close(e->listeners[i].lock);
        free(e->listeners[i].url);
    }
    free(e->peers);
}

rqci_net_counts rqci_net_counts_of(rqci_net *n)
{
    rqci_net_counts c = {.reopened = atomic_load(&n->reopened),
                         .disconnected = atomic_load(&n->disconnected),
                         .sent_messages = atomic_load(&n->messages),
                         .sent_bytes = atomic_load(&n->bytes)};
    pthread_mutex_lock(&n->lock);
    for (rqci_endpoint *e = n->endpoints; e; e = e->next)
        *(e->publishes ? &c.subscribers : &c.askers) += atomic_load(&e->npipes);
    pthread_mutex_unlock(&n->lock);
    return c;
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

int rqci_listener_start(rqci_endpoint *e, rqci_listener *l)
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

rqc_err rqci_endpoint_listen(rqci_endpoint *e, const char *url, unsigned mode, uint16_t *ret_port,
                             rqci_errbuf *err)
{
    const bool ipc = strncmp(url, "ipc://", 6) == 0;
    if (!ipc && strncmp(url, "tcp://", 6) != 0)
        return rqci_fail(err, RQC_INVALID, "%.64s: ipc://PATH or tcp://HOST:PORT is wanted", url);
    if (ipc && strlen(url + 6) > 100)
        return rqci_fail(err, RQC_INVALID, "%s: a path of at most 100 bytes is wanted", url);
    if (e->nlisteners == RQCI_LISTENERS_MAX)
        return rqci_fail(err, RQC_TOO_LARGE, "more than %d listeners", RQCI_LISTENERS_MAX);
    rqci_listener l = {.mode = mode, .lock = -1, .probe = -1, .url = strdup(url)};
    rqc_err rc = l.url ? RQC_OK : RQC_NO_MEMORY;
    if (rc == RQC_OK && ipc)
        rc = lock_path(url + 6, &l.lock, err);
    if (rc == RQC_OK)
        rc = rqci_nng_err(rqci_listener_start(e, &l), url, err);
    int port = 0;
    if (rc == RQC_OK && !ipc)
        rc = rqci_nng_err(nng_listener_get_int(l.l, NNG_OPT_TCP_BOUND_PORT, &port), url, err);
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

// ---- PUB ----------------------------------------------------------------------------------------

rqc_err rqci_net_pub_open(rqci_net *n, rqci_net_pub **ret_pub, rqci_errbuf *err)
{
    rqci_net_pub *p = calloc(1, sizeof *p);
    if (!p)
        return rqci_fail(err, RQC_NO_MEMORY, "no memory for a socket");
    // Subscribers have nothing to say.
    const rqc_err rc = rqci_endpoint_open(&p->e, n, true, 1024, err);
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
    return rqci_endpoint_listen(&p->e, url, mode, ret_port, err);
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
    return rqci_nng_err(rv, "publish", NULL);
}

unsigned rqci_net_pub_peers(rqci_net_pub *p)
{
    return atomic_load(&p->e.npipes);
}

void rqci_net_pub_close(rqci_net_pub *p)
{
    if (!p)
        return;
    rqci_endpoint_close(&p->e);
    free(p);
}
