// SPDX-License-Identifier: Apache-2.0
// Questions and their answers: threads that take one after the other.
#include "replicate/net_parts.h"

#include <stdlib.h>
#include <time.h>

#define ANSWER_MS 2000 // how long an answer may wait for a peer that does not read
#define LINGER_MS 100

typedef struct worker {
    struct rqci_net_rep *rep;
    pthread_t thread;
    nng_ctx ctx;
    nng_aio *aio;
    bool runs;
} worker;

struct rqci_net_rep {
    rqci_endpoint e;
    rqci_net_service service;
    worker *workers;
    unsigned nworkers;
    _Atomic bool stop;
};

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
        if (nng_aio_result(w->aio) == 0) {
            if (!mine)
                mine = r->service.begin(r->service.ctx);
            answer_one(w, mine, &out);
        } else if (nng_aio_result(w->aio) == NNG_ECLOSED)
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
    rqc_err rc = rqci_endpoint_open(&r->e, n, false, question_max, err);
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
        rc = rqci_nng_err(rv, "context", err);
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
    return rqci_endpoint_listen(&r->e, url, mode, ret_port, err);
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
    rqci_endpoint_close(&r->e);
    for (unsigned i = 0; i < r->nworkers; i++)
        if (r->workers[i].aio)
            nng_aio_free(r->workers[i].aio);
    free(r->workers);
    free(r);
}
