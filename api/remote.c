// SPDX-License-Identifier: Apache-2.0
// Questions of this process to the sidecar that owns a database. A commit leaves its connection to
// the next one of the handle; commits at the same time have one each.
#include "api/engine.h"

#include "replicate/message.h"
#include "replicate/sp.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define HELLO_MS  5000
#define RETRY_MS  50
#define COMMIT_MS 120000

bool rqci_remote_there(const rqc_db *db)
{
    char url[RQCI_PATH_MAX];
    return rqci_sidecar_note_read(db->path, url, NULL) == RQC_OK;
}

typedef struct call {
    rqci_sp sp;
    rqci_buf question;
    rqci_sp_addr addr;
    bool sent; // the peer may have got it
} call;

static rqc_err wait_for(call *c, int64_t until, rqci_errbuf *err)
{
    const int64_t left = until - rqci_now_ms();
    struct pollfd fd = {.fd = c->sp.fd, .events = POLLIN};
    if (rqci_sp_wants_out(&c->sp))
        fd.events |= POLLOUT;
    if (left <= 0 || poll(&fd, 1, (int)left) == 0)
        return rqci_fail(err, RQC_TIMEOUT, "the reqcastd did not answer in time");
    return RQC_OK;
}

// Sends the question and waits for its answer, which is valid until the next call.
static rqc_err exchange(call *c, int64_t patience, rqci_message *ret_message, rqci_errbuf *err)
{
    uint8_t id[4];
    uint32_t number = 0;
    const int64_t until = rqci_now_ms() + patience;
    (void)!getrandom(&number, sizeof number, GRND_NONBLOCK);
    number |= 0x80000000u;
    rqci_put32be(id, number);
    rqc_err rc = RQC_OK;
    if (c->sp.fd < 0)
        rc = rqci_sp_open(&c->sp, &c->addr, RQCI_SP_REQ, RQCI_MSG_MAX, err);
    if (rc == RQC_OK)
        rc = rqci_sp_send(&c->sp, id, sizeof id, c->question.data, c->question.len);
    while (rc == RQC_OK) {
        const uint8_t *p;
        size_t n;
        rc = rqci_sp_work(&c->sp, err);
        c->sent = c->sent || c->sp.ready;
        if (rc == RQC_OK)
            rc = rqci_sp_recv(&c->sp, &p, &n, err);
        if (rc == RQC_TIMEOUT)
            rc = wait_for(c, until, err);
        else if (rc == RQC_OK && n >= 4 && rqci_get32be(p) == number)
            return rqci_message_decode(p + 4, n - 4, RQCI_ANSWER_MAGIC, ret_message, err);
    }
    return rc;
}

static rqc_err begin(call *c, const char *url, rqci_errbuf *err)
{
    memset(c, 0, sizeof *c);
    rqci_sp_init(&c->sp);
    return rqci_sp_resolve(url, &c->addr, err);
}

static void end(call *c)
{
    rqci_sp_free(&c->sp);
    rqci_buf_free(&c->question);
}

// ---- The connection that is kept ----------------------------------------------------------------

static void drop(rqci_line *l)
{
    rqci_sp_free(&l->sp);
    rqci_sp_init(&l->sp);
    free(l->url);
    l->url = NULL;
}

void rqci_remote_hang_up(rqc_db *db)
{
    drop(&db->line);
}

static void take_line(rqc_db *db, call *c, const char *url)
{
    rqci_line *l = &db->line;
    pthread_mutex_lock(&l->lock);
    if (l->url && strcmp(l->url, url) == 0) {
        c->sp = l->sp;
        rqci_sp_init(&l->sp);
    }
    drop(l);
    pthread_mutex_unlock(&l->lock);
}

static void keep_line(rqc_db *db, call *c, const char *url)
{
    rqci_line *l = &db->line;
    pthread_mutex_lock(&l->lock);
    if (!l->url && c->sp.fd >= 0 && (l->url = strdup(url))) {
        l->sp = c->sp;
        rqci_sp_init(&c->sp);
    }
    pthread_mutex_unlock(&l->lock);
}

// ---- Hello --------------------------------------------------------------------------------------

static rqc_err hello_end(call *c, const rqci_message *m, rqci_hello_answer *ret_answer,
                         rqci_errbuf *err)
{
    c->sent = false;
    return rqci_hello_answer_decode(m, ret_answer, err);
}

// Who answers, and how long a question may be. Nothing is lost by asking again: a sidecar that has
// just started, or opens its socket again, needs a moment.
static rqc_err hello(call *c, rqci_hello_answer *ret_answer, rqci_errbuf *err)
{
    static const int64_t patience[] = {300, 300, 1000, HELLO_MS};
    rqci_message m;
    const rqci_hello h = {.flags = RQCI_HELLO_ALL};
    rqc_err rc = rqci_ask_hello(&c->question, &h);
    if (rc != RQC_OK)
        return rc;
    if (c->sp.fd >= 0) {
        // One that was kept: its sidecar may be gone, and another one there.
        rc = exchange(c, patience[0], &m, err);
        if (rc == RQC_OK)
            return hello_end(c, &m, ret_answer, err);
        rqci_sp_close(&c->sp);
    }
    for (size_t i = 0; i < sizeof patience / sizeof *patience; i++) {
        rc = exchange(c, patience[i], &m, err);
        if (rc != RQC_UNAVAILABLE && rc != RQC_TIMEOUT)
            break;
        rqci_sp_close(&c->sp);
        const struct timespec pause = {0, RETRY_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
    if (rc == RQC_OK)
        return hello_end(c, &m, ret_answer, err);
    c->sent = false;
    return rc;
}

static rqc_err put_writes(call *c, const rqci_job *job)
{
    rqci_asked_write w;
    rqc_err rc = rqci_ask_write_begin(&c->question, job->key, job->key_len);
    for (size_t i = 0; rc == RQC_OK && i < job->nwrites; i++) {
        const rqci_write *from = &job->writes[i];
        const rqci_entity *e = rqci_entity_of(from->entity);
        memset(&w, 0, sizeof w);
        w.kind = from->kind;
        w.entity = from->entity;
        w.if_seq = from->if_seq ? from->seq : 0;
        memcpy(w.id, from->id, 16);
        if (from->row && e)
            memcpy(w.row, from->row, e->nfields * sizeof *w.row);
        rc = rqci_ask_write_add(&c->question, &w);
    }
    if (rc == RQC_OK)
        rqci_ask_write_end(&c->question, (uint32_t)job->nwrites);
    return rc;
}

// Asks once. c->sent with a failure that is none of the answer's: it may have been written.
static rqc_err ask_to_write(call *c, rqci_job *job, rqci_message *ret_message)
{
    rqci_hello_answer who;
    rqci_errbuf *err = &job->detail;
    rqc_err rc = hello(c, &who, err);
    if (rc != RQC_OK)
        return rc;
    rc = put_writes(c, job);
    if (rc == RQC_TOO_LARGE || (rc == RQC_OK && c->question.len > who.message_max))
        return rqci_fail(
            err, RQC_TOO_LARGE,
            "the transaction is larger than the %u MiB that the reqcastd takes at once",
            who.message_max >> 20);
    return rc == RQC_OK ? exchange(c, COMMIT_MS, ret_message, err) : rc;
}

static rqc_err commit(call *c, rqci_job *job, rqci_write_answer *ret_answer)
{
    rqci_message m;
    uint64_t failed = UINT64_MAX;
    rqci_errbuf *err = &job->detail;
    rqc_err rc = ask_to_write(c, job, &m);
    const bool sent = c->sent;
    if ((rc == RQC_UNAVAILABLE || rc == RQC_IO) && sent && job->key_len > 0) {
        // The key makes it one transaction, however often it is asked for.
        rqci_sp_close(&c->sp);
        rc = ask_to_write(c, job, &m);
    }
    if (rc != RQC_OK && (sent || c->sent))
        return rqci_fail_within(err, rc, "whether it was written is not known");
    if (rc == RQC_OK)
        rc = rqci_answer_check(&m, &failed, err);
    job->failed = failed < job->nwrites ? (size_t)failed : SIZE_MAX;
    return rc == RQC_OK ? rqci_write_answer_decode(&m, ret_answer, err) : rc;
}

static rqc_err run(rqc_db *db, rqci_job *job)
{
    char url[RQCI_PATH_MAX];
    rqci_write_answer a;
    call c;
    job->failed = SIZE_MAX;
    job->err = rqci_sidecar_note_read(db->path, url, &job->detail);
    if (job->err != RQC_OK)
        return job->err;
    job->err = begin(&c, url, &job->detail);
    if (job->err == RQC_OK) {
        take_line(db, &c, url);
        job->err = commit(&c, job, &a);
    }
    // What the sidecar has answered leaves nothing behind on the connection.
    if (job->err == RQC_OK)
        keep_line(db, &c, url);
    end(&c);
    if (job->err != RQC_OK)
        return job->err;
    memcpy(job->store_id, a.epoch.store_id, 16);
    job->term = a.epoch.term;
    job->seq = a.seq;
    job->written = a.written;
    job->skipped = a.skipped;
    job->deleted = a.deleted;
    job->visible = a.visible;
    job->replayed = a.replayed;
    return RQC_OK;
}

// A thread that is cancelled in here would leave its connection and its memory behind.
rqc_err rqci_remote_run(rqc_db *db, rqci_job *job)
{
    int cancel;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    const rqc_err rc = run(db, job);
    pthread_setcancelstate(cancel, &cancel);
    return rc;
}

rqc_err rqci_remote_stats(const char *url, rqci_buf *out, rqci_errbuf *err)
{
    call c;
    rqci_message m;
    uint64_t total;
    const uint8_t *p;
    size_t n;
    rqc_err rc = begin(&c, url, err);
    if (rc == RQC_OK)
        rc = rqci_ask_stats(&c.question);
    if (rc == RQC_OK)
        rc = exchange(&c, HELLO_MS, &m, err);
    if (rc == RQC_OK)
        rc = rqci_bytes_answer_decode(&m, &total, &p, &n, err);
    if (rc == RQC_OK)
        rc = rqci_buf_add(out, p, n);
    end(&c);
    return rc;
}
