// SPDX-License-Identifier: Apache-2.0
#include "replicate/sp.h"

#include "base/bytes.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define HANDSHAKE  8u
#define READ_BYTES ((size_t)256 << 10)
#define LEAVE_MS   100
#define KEEP_BYTES ((size_t)4 << 20) // a buffer that grew beyond this is given back

// ---- Addresses ----------------------------------------------------------------------------------

static rqc_err resolve_ipc(const char *path, rqci_sp_addr *a, rqci_errbuf *err)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&a->addr;
    const size_t n = strlen(path);
    if (n == 0 || n >= sizeof un->sun_path)
        return rqci_fail(err, RQC_INVALID, "ipc://%.64s: a path of 1 to %zu bytes is wanted", path,
                         sizeof un->sun_path - 1);
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, n + 1);
    a->n = sizeof *un;
    a->ipc = true;
    return RQC_OK;
}

static rqc_err resolve_tcp(const char *place, rqci_sp_addr *a, rqci_errbuf *err)
{
    char host[256];
    const char *colon = strrchr(place, ':');
    const bool brackets = *place == '[' && colon && colon > place + 1 && colon[-1] == ']';
    const char *from = brackets ? place + 1 : place;
    const size_t n = colon ? (size_t)(colon - from) - (brackets ? 1 : 0) : 0;
    if (n == 0 || n >= sizeof host || !colon[1])
        return rqci_fail(err, RQC_INVALID, "tcp://%.64s: HOST:PORT is wanted", place);
    memcpy(host, from, n);
    host[n] = 0;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    const int rc = getaddrinfo(host, colon + 1, &hints, &found);
    if (rc != 0)
        return rqci_fail(err, rc == EAI_SERVICE ? RQC_INVALID : RQC_NOT_FOUND, "tcp://%.64s: %s",
                         place, gai_strerror(rc));
    memcpy(&a->addr, found->ai_addr, found->ai_addrlen);
    a->n = found->ai_addrlen;
    a->ipc = false;
    freeaddrinfo(found);
    return RQC_OK;
}

rqc_err rqci_sp_resolve(const char *url, rqci_sp_addr *ret_addr, rqci_errbuf *err)
{
    memset(ret_addr, 0, sizeof *ret_addr);
    if (url && strncmp(url, "ipc://", 6) == 0)
        return resolve_ipc(url + 6, ret_addr, err);
    if (url && strncmp(url, "tcp://", 6) == 0)
        return resolve_tcp(url + 6, ret_addr, err);
    return rqci_fail(err, RQC_INVALID, "%.64s: ipc://PATH or tcp://HOST:PORT is wanted",
                     url ? url : "no URL");
}

// ---- Connections --------------------------------------------------------------------------------

static rqc_err broken(rqci_errbuf *err, int error, const char *what)
{
    const rqc_err code = error == EACCES || error == EPERM || error == EMFILE || error == ENFILE
                             ? RQC_IO
                             : RQC_UNAVAILABLE;
    return rqci_fail(err, code, "%s: %s", what, error ? strerror(error) : "the peer closed it");
}

void rqci_sp_init(rqci_sp *sp)
{
    memset(sp, 0, sizeof *sp);
    sp->fd = -1;
}

rqc_err rqci_sp_open(rqci_sp *sp, const rqci_sp_addr *addr, uint16_t mine, uint64_t max,
                     rqci_errbuf *err)
{
    rqci_sp_close(sp);
    sp->ipc = addr->ipc;
    sp->mine = mine;
    sp->max = max;
    // First, so that no connection is without it.
    const uint8_t hello[HANDSHAKE] = {0, 'S', 'P', 0, (uint8_t)(mine >> 8), (uint8_t)mine, 0, 0};
    const rqc_err rc = rqci_buf_add(&sp->out, hello, sizeof hello);
    if (rc != RQC_OK)
        return rc;
    const int fd = socket(addr->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return broken(err, errno, "socket");
    const int on = 1;
    if (!addr->ipc)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)&addr->addr, addr->n) != 0 && errno != EINPROGRESS) {
        const int error = errno;
        close(fd);
        return broken(err, error, "connect");
    }
    sp->fd = fd;
    return RQC_OK;
}

static rqc_err flush(rqci_sp *sp, rqci_errbuf *err)
{
    while (sp->sent < sp->out.len) {
        const ssize_t n =
            send(sp->fd, sp->out.data + sp->sent, sp->out.len - sp->sent, MSG_NOSIGNAL);
        if (n >= 0)
            sp->sent += (size_t)n;
        else if (errno == EAGAIN || errno == ENOTCONN)
            return RQC_OK;
        else if (errno != EINTR)
            return broken(err, errno, "send");
    }
    sp->out.len = sp->sent = 0;
    if (sp->out.cap > KEEP_BYTES)
        rqci_buf_free(&sp->out);
    return RQC_OK;
}

static rqc_err shake_hands(rqci_sp *sp, rqci_errbuf *err)
{
    while (sp->nhead < HANDSHAKE) {
        const ssize_t n = recv(sp->fd, sp->head + sp->nhead, HANDSHAKE - sp->nhead, 0);
        if (n > 0)
            sp->nhead += (unsigned)n;
        else if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
            return RQC_OK;
        else if (n == 0 || errno != EINTR)
            return broken(err, n == 0 ? 0 : errno, "handshake");
    }
    // The peer's protocol is the one that belongs to ours.
    const uint8_t want[HANDSHAKE] = {0, 'S', 'P', 0, 0, (uint8_t)(sp->mine ^ 1), 0, 0};
    if (memcmp(sp->head, want, sizeof want) != 0)
        return rqci_fail(err, RQC_VERSION, "the peer does not speak this protocol");
    sp->ready = true;
    return RQC_OK;
}

rqc_err rqci_sp_work(rqci_sp *sp, rqci_errbuf *err)
{
    if (sp->fd < 0)
        return rqci_fail(err, RQC_UNAVAILABLE, "not connected");
    rqc_err rc = flush(sp, err);
    if (rc == RQC_OK && !sp->ready)
        rc = shake_hands(sp, err);
    return rc;
}

bool rqci_sp_wants_out(const rqci_sp *sp)
{
    return sp->fd >= 0 && sp->out.len > sp->sent;
}

rqc_err rqci_sp_send(rqci_sp *sp, const void *header, size_t nheader, const void *p, size_t n)
{
    uint8_t head[9] = {1};
    rqci_put64be(head + 1, nheader + n);
    const size_t before = sp->out.len;
    rqc_err rc = rqci_buf_add(&sp->out, sp->ipc ? head : head + 1, sp->ipc ? 9 : 8);
    if (rc == RQC_OK)
        rc = rqci_buf_add(&sp->out, header, nheader);
    if (rc == RQC_OK)
        rc = rqci_buf_add(&sp->out, p, n);
    if (rc != RQC_OK)
        sp->out.len = before;
    return rc;
}

// Bytes in front of a message, 0 while they are not all here; and its length.
static size_t message_head(const rqci_sp *sp, uint64_t *ret_n)
{
    const size_t head = sp->ipc ? 9 : 8;
    if (sp->in.len - sp->at < head)
        return 0;
    *ret_n = rqci_get64be(sp->in.data + sp->at + head - 8);
    return head;
}

// Room behind what is here: for a large message all that it needs, else a good piece.
static rqc_err make_room(rqci_sp *sp, size_t need)
{
    if (sp->at > 0) {
        memmove(sp->in.data, sp->in.data + sp->at, sp->in.len - sp->at);
        sp->in.len -= sp->at;
        sp->at = 0;
    }
    if (sp->in.len == 0 && sp->in.cap > KEEP_BYTES && need < KEEP_BYTES)
        rqci_buf_free(&sp->in);
    const size_t want = need > sp->in.len ? need - sp->in.len : 0;
    return rqci_buf_reserve(&sp->in, want > READ_BYTES ? want : READ_BYTES);
}

rqc_err rqci_sp_recv(rqci_sp *sp, const uint8_t **ret_p, size_t *ret_n, rqci_errbuf *err)
{
    if (sp->fd < 0 || !sp->ready)
        return sp->fd < 0 ? rqci_fail(err, RQC_UNAVAILABLE, "not connected") : RQC_TIMEOUT;
    for (;;) {
        uint64_t n = 0;
        const size_t head = message_head(sp, &n);
        if (head > 0 && sp->ipc && sp->in.data[sp->at] != 1)
            return rqci_fail(err, RQC_CORRUPT, "what came is no message");
        if (head > 0 && n > sp->max)
            return rqci_fail(err, RQC_TOO_LARGE, "a message of %llu bytes came",
                             (unsigned long long)n);
        if (head > 0 && sp->in.len - sp->at >= head + n) {
            *ret_p = sp->in.data + sp->at + head;
            *ret_n = (size_t)n;
            sp->at += head + (size_t)n;
            return RQC_OK;
        }
        const rqc_err rc = make_room(sp, head + (size_t)n);
        if (rc != RQC_OK)
            return rc;
        const ssize_t got = recv(sp->fd, sp->in.data + sp->in.len, sp->in.cap - sp->in.len, 0);
        if (got > 0)
            sp->in.len += (size_t)got;
        else if (got < 0 && errno == EAGAIN)
            return RQC_TIMEOUT;
        else if (got == 0 || errno != EINTR)
            return broken(err, got == 0 ? 0 : errno, "receive");
    }
}

// nng's listener on an ipc path takes nobody in any more once a peer left during the handshake, and
// to open it again ends all of its connections. So the handshake is brought to its end first.
static void end_handshake(rqci_sp *sp)
{
    struct pollfd p = {.fd = sp->fd, .events = POLLIN};
    for (int ms = 0; ms < LEAVE_MS; ms++) {
        if (rqci_sp_work(sp, NULL) != RQC_OK || (sp->ready && !rqci_sp_wants_out(sp)))
            return;
        (void)poll(&p, 1, 1);
    }
}

void rqci_sp_close(rqci_sp *sp)
{
    if (sp->fd >= 0 && sp->ipc && !sp->ready)
        end_handshake(sp);
    if (sp->fd >= 0)
        close(sp->fd);
    sp->fd = -1;
    sp->ready = false;
    sp->nhead = 0;
    sp->out.len = sp->sent = 0;
    sp->in.len = sp->at = 0;
}

void rqci_sp_free(rqci_sp *sp)
{
    rqci_sp_close(sp);
    rqci_buf_free(&sp->out);
    rqci_buf_free(&sp->in);
}
