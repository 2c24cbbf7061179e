// SPDX-License-Identifier: Apache-2.0
// One connection of the SP protocols (what nng and nanomsg speak) from the client's side: a
// non-blocking socket of its own, no thread, nothing that can hang when it is closed.
// docs/protocol.md has the wire format.
#ifndef RQCI_SP_H
#define RQCI_SP_H

#include "base/buf.h"

#include <stdbool.h>
#include <sys/socket.h>

enum { RQCI_SP_PUB = 0x20, RQCI_SP_SUB = 0x21, RQCI_SP_REQ = 0x30, RQCI_SP_REP = 0x31 };

typedef struct rqci_sp_addr {
    struct sockaddr_storage addr;
    socklen_t n;
    bool ipc;
} rqci_sp_addr;

// ipc://PATH, tcp://HOST:PORT (also [::1]:PORT). Names are looked up here and now.
// RQC_INVALID, RQC_NOT_FOUND.
rqc_err rqci_sp_resolve(const char *url, rqci_sp_addr *ret_addr, rqci_errbuf *err);

typedef struct rqci_sp {
    int fd; // -1: closed
    bool ipc, ready;
    uint16_t mine;
    uint64_t max;    // longest message that is taken
    uint8_t head[8]; // of the peer's handshake
    unsigned nhead;
    rqci_buf out; // what is being sent, from `sent` on
    size_t sent;
    rqci_buf in; // what came, from `at` on
    size_t at;
} rqci_sp;

void rqci_sp_init(rqci_sp *sp); // closed, without memory
// Starts to connect; closes what was open. RQC_UNAVAILABLE when nobody listens (now or in
// a later call), RQC_IO.
rqc_err rqci_sp_open(rqci_sp *sp, const rqci_sp_addr *addr, uint16_t mine, uint64_t max,
                     rqci_errbuf *err);
// Goes on with whatever can go on without waiting: connecting, the handshake, sending.
rqc_err rqci_sp_work(rqci_sp *sp, rqci_errbuf *err);
// True while there is something to send, or the connection is not made yet.
bool rqci_sp_wants_out(const rqci_sp *sp);
// Queues one message: its protocol's header (nheader may be 0), and its body. Copied.
rqc_err rqci_sp_send(rqci_sp *sp, const void *header, size_t nheader, const void *p, size_t n);
// The next whole message, valid until the next call. RQC_TIMEOUT: none yet. Errors as in open;
// RQC_CORRUPT and RQC_TOO_LARGE for what is no message: close it then.
rqc_err rqci_sp_recv(rqci_sp *sp, const uint8_t **ret_p, size_t *ret_n, rqci_errbuf *err);
// Closes the socket, keeps the memory; and frees that too. Both: any state. During the handshake on
// an ipc path they wait for its end, at most a tenth of a second.
void rqci_sp_close(rqci_sp *sp);
void rqci_sp_free(rqci_sp *sp);

#endif
