// SPDX-License-Identifier: Apache-2.0
// Questions of this process to the sidecar that owns a database: one connection per question.
#include "api/engine.h"

#include "replicate/message.h"
#include "replicate/sp.h"

#include <errno.h>
#include <poll.h>
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
    for (size_t i = 0; i < sizeof patience / sizeof *patience; i++) {
        rc = exchange(c, patience[i], &m, err);
        if (rc != RQC_UNAVAILABLE && rc != RQC_TIMEOUT)
            break;
        rqci_sp_close(&c->sp);
        const struct timespec pause = {0, RETRY_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
    if (rc == RQC_OK)
        rc = rqci_hello_answer_decode(&m, ret_answer, err);
    c->sent = false;
    return rc;
}

static rqc_err put_writes(call *c, const rqci_write *writes, size_t n)
{
    rqci_asked_write w;
    rqc_err rc = rqci_ask_write_begin(&c->question);
    for (size_t i = 0; rc == RQC_OK && i < n; i++) {
        const rqci_entity *e = rqci_entity_of(writes[i].entity);
        memset(&w, 0, sizeof w);
        w.kind = writes[i].kind;
        w.entity = writes[i].entity;
        w.if_seq = writes[i].if_seq ? writes[i].seq : 0;
        memcpy(w.id, writes[i].id, 16);
        if (writes[i].row && e)
            memcpy(w.row, writes[i].row, e->nfields * sizeof *w.row);
        rc = rqci_ask_write_add(&c->question, &w);
    }
    if (rc == RQC_OK)
        rqci_ask_write_end(&c->question, (uint32_t)n);
    return rc;
}

static rqc_err commit(call *c, const rqci_write *writes, size_t n, rqci_write_answer *ret_answer,
                      size_t *ret_failed, rqci_errbuf *err)
{
    rqci_hello_answer who;
    rqci_message m;
    uint64_t failed = UINT64_MAX;
    rqc_err rc = hello(c, &who, err);
    if (rc != RQC_OK)
        return rc;
    rc = put_writes(c, writes, n);
    if (rc == RQC_TOO_LARGE || (rc == RQC_OK && c->question.len > who.message_max))
        return rqci_fail(
            err, RQC_TOO_LARGE,
            "the transaction is larger than the %u MiB that the reqcastd takes at once",
            who.message_max >> 20);
    if (rc == RQC_OK)
        rc = exchange(c, COMMIT_MS, &m, err);
    if (rc != RQC_OK && c->sent)
        return rqci_fail_within(err, rc, "whether it was written is not known");
    if (rc == RQC_OK)
        rc = rqci_answer_check(&m, &failed, err);
    *ret_failed = failed < n ? (size_t)failed : SIZE_MAX;
    return rc == RQC_OK ? rqci_write_answer_decode(&m, ret_answer, err) : rc;
}

rqc_err rqci_remote_commit(rqc_db *db, const rqci_write *writes, size_t n, rqc_result *ret_result,
                           size_t *ret_failed, rqci_errbuf *err)
{
    char url[RQCI_PATH_MAX];
    rqci_write_answer a;
    call c;
    *ret_failed = SIZE_MAX;
    rqc_err rc = rqci_sidecar_note_read(db->path, url, err);
    if (rc != RQC_OK)
        return rc;
    rc = begin(&c, url, err);
    if (rc == RQC_OK)
        rc = commit(&c, writes, n, &a, ret_failed, err);
    end(&c);
    if (rc != RQC_OK)
        return rc;
    *ret_result = (rqc_result){.written = a.written,
                               .skipped = a.skipped,
                               .deleted = a.deleted,
                               .visible = a.visible,
                               .position = {.term = a.epoch.term, .seq = a.seq}};
    memcpy(ret_result->position.store_id, a.epoch.store_id, 16);
    return RQC_OK;
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
