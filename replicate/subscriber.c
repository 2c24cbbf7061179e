// SPDX-License-Identifier: Apache-2.0
#include "replicate/subscriber_parts.h"

#include "base/clock.h"
#include "base/id.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define CONNECT_MS 2000
#define ANSWER_MS  10000
#define STALE_MS   3500 // three bookmarks are missing
#define NUDGE_MS   50
#define RETRY_MS   20
#define RETRY_MOST 6 // doublings
#define PAGE_LIMIT 16384u
#define PAGE_BYTES (1u << 20)

// ---- Its parts ----------------------------------------------------------------------------------

static void close_ask(rqci_sub *s)
{
    rqci_sp_close(&s->ask);
    s->armed[0].fd = -1;
    s->asked = false;
}

static void close_stream(rqci_sub *s)
{
    rqci_sp_close(&s->stream);
    s->armed[1].fd = -1;
}

rqci_sub_turn rqci_sub_fail(rqci_sub *s, rqc_err code, rqci_sub_event *ev)
{
    close_ask(s);
    close_stream(s);
    s->random = s->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    const unsigned doubled = s->attempts < RETRY_MOST ? s->attempts : RETRY_MOST;
    const int64_t pause = (int64_t)RETRY_MS << doubled;
    s->attempts++;
    s->phase = RQCI_PHASE_WAIT;
    s->until_ms = rqci_exact_ms() + pause / 2 + (int64_t)((s->random >> 33) % (uint64_t)pause);
    s->tell_live = true;
    if (s->told_down)
        return RQCI_TURN_ON;
    s->told_down = true;
    if (!*s->err.text)
        rqci_fail(&s->err, code, "%s", rqci_err_text(code));
    *ev = (rqci_sub_event){.kind = RQCI_SUB_STATE,
                           .reason = code,
                           .text = s->err.text,
                           .place = s->place,
                           .head = s->head};
    return RQCI_TURN_EVENT;
}

void rqci_sub_catch_up(rqci_sub *s)
{
    s->phase = RQCI_PHASE_CATCHUP;
    s->asked = false;
    s->until_ms = rqci_exact_ms() + ANSWER_MS;
}

void rqci_sub_live(rqci_sub *s)
{
    s->phase = RQCI_PHASE_LIVE;
    s->walking = false;
    s->until_ms = rqci_exact_ms() + STALE_MS;
    s->attempts = 0;
}

rqci_sub_turn rqci_sub_start_over(rqci_sub *s, rqc_err reason, rqci_sub_event *ev)
{
    memset(&s->place, 0, sizeof s->place);
    s->head = 0;
    s->stats.resets++;
    s->walking = s->staged = true;
    s->sweeping = false;
    s->mend = RQCI_MEND_NONE;
    rqci_known_walk(&s->known);
    rqci_sub_catch_up(s);
    if (!*s->err.text)
        rqci_fail(&s->err, reason, "%s", rqci_err_text(reason));
    *ev = (rqci_sub_event){.kind = RQCI_SUB_RESET,
                           .reason = reason,
                           .text = s->err.text,
                           .place = s->place};
    return RQCI_TURN_EVENT;
}

// ---- Questions ----------------------------------------------------------------------------------

// Sends the question in s->message.
static rqc_err ask(rqci_sub *s)
{
    uint8_t id[4];
    s->request = (s->request + 1) | 0x80000000u;
    rqci_put32be(id, s->request);
    const rqc_err rc = rqci_sp_send(&s->ask, id, sizeof id, s->message.data, s->message.len);
    return rc == RQC_OK ? rqci_sp_work(&s->ask, &s->err) : rc;
}

// The answer to the newest question. RQC_TIMEOUT: none yet. Older ones are passed over.
static rqc_err answer(rqci_sub *s, rqci_message *ret_message)
{
    const uint8_t *p;
    size_t n;
    for (;;) {
        rqc_err rc = rqci_sp_work(&s->ask, &s->err);
        if (rc == RQC_OK)
            rc = rqci_sp_recv(&s->ask, &p, &n, &s->err);
        if (rc != RQC_OK)
            return rc;
        if (n >= 4 && rqci_get32be(p) == s->request)
            return rqci_message_decode(p + 4, n - 4, RQCI_ANSWER_MAGIC, ret_message, &s->err);
    }
}

static rqc_err say_hello(rqci_sub *s, uint32_t flags)
{
    rqci_hello h = {.flags = flags | (s->opt.all ? RQCI_HELLO_ALL : 0) |
                             (s->addr.ipc ? 0 : RQCI_HELLO_TCP)};
    memcpy(h.topic, s->opt.workspace, 16);
    const rqc_err rc = rqci_ask_hello(&s->message, &h);
    return rc == RQC_OK ? ask(s) : rc;
}

static rqc_err ask_to_catch_up(rqci_sub *s)
{
    rqci_ask_changes a = {.flags = s->opt.all ? RQCI_FRAME_ALL : 0,
                          .epoch = s->place.epoch,
                          .cursor = *rqci_sub_cursor(s),
                          .limit = PAGE_LIMIT,
                          .bytes = PAGE_BYTES,
                          .some = s->mend == RQCI_MEND_WALK,
                          .buckets = s->buckets};
    memcpy(a.topic, s->opt.workspace, 16);
    rqc_err rc =
        s->mend == RQCI_MEND_DIGESTS ? rqci_sub_mend_ask(s) : rqci_ask_changes_put(&s->message, &a);
    if (rc == RQC_OK && s->ask.fd < 0)
        rc = rqci_sp_open(&s->ask, &s->addr, RQCI_SP_REQ, RQCI_MSG_MAX, &s->err);
    return rc == RQC_OK ? ask(s) : rc;
}

// ---- Phases -------------------------------------------------------------------------------------

static rqci_sub_turn wait_phase(rqci_sub *s, rqci_sub_event *ev)
{
    if (rqci_exact_ms() < s->until_ms)
        return RQCI_TURN_IDLE;
    s->err.text[0] = 0;
    s->phase = RQCI_PHASE_HELLO;
    s->until_ms = rqci_exact_ms() + CONNECT_MS;
    rqc_err rc = rqci_sp_open(&s->ask, &s->addr, RQCI_SP_REQ, RQCI_MSG_MAX, &s->err);
    if (rc == RQC_OK)
        rc = say_hello(s, RQCI_HELLO_STREAM);
    return rc == RQC_OK ? RQCI_TURN_ON : rqci_sub_fail(s, rc, ev);
}

// The stream's address: over tcp the host is the one that was asked.
static rqc_err stream_addr(rqci_sub *s, const char *url, rqci_sp_addr *ret_addr)
{
    if (s->addr.ipc)
        return strncmp(url, "ipc://", 6) == 0
                   ? rqci_sp_resolve(url, ret_addr, &s->err)
                   : rqci_fail(&s->err, RQC_CORRUPT, "the stream is not over ipc");
    unsigned port;
    int end = 0;
    if (sscanf(url, "tcp://*:%5u%n", &port, &end) != 1 || url[end] || port == 0 || port > 65535)
        return rqci_fail(&s->err, RQC_CORRUPT, "the stream is not over tcp");
    *ret_addr = s->addr;
    if (s->addr.addr.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&ret_addr->addr)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)&ret_addr->addr)->sin_port = htons((uint16_t)port);
    return RQC_OK;
}

static rqci_sub_turn hello_phase(rqci_sub *s, rqci_sub_event *ev)
{
    rqci_message m;
    rqci_hello_answer a;
    rqci_sp_addr addr;
    rqc_err rc = answer(s, &m);
    if (rc == RQC_TIMEOUT && rqci_exact_ms() < s->until_ms)
        return RQCI_TURN_IDLE;
    if (rc == RQC_OK)
        rc = rqci_hello_answer_decode(&m, &a, &s->err);
    if (rc == RQC_OK)
        rc = stream_addr(s, a.url, &addr);
    if (rc == RQC_OK)
        rc = rqci_sp_open(&s->stream, &addr, RQCI_SP_SUB, RQCI_FRAME_MAX, &s->err);
    if (rc != RQC_OK)
        return rqci_sub_fail(s, rc, ev);
    if (s->opt.from_now) {
        s->place = (rqci_place){.epoch = a.epoch, .cursor.seq = a.seq};
        s->opt.from_now = false;
    }
    s->head = a.seq;
    s->phase = RQCI_PHASE_ATTACH;
    s->nudge_ms = 0;
    s->first = true;
    s->until_ms = rqci_exact_ms() + CONNECT_MS;
    return RQCI_TURN_ON;
}

// Connected is not yet attached: only a frame proves that later ones will come. So one is asked
// for.
static rqci_sub_turn attach_phase(rqci_sub *s, rqci_sub_event *ev)
{
    const uint8_t *p;
    size_t n;
    rqci_message m;
    rqc_err rc = rqci_sp_work(&s->stream, &s->err);
    if (rc == RQC_OK)
        rc = rqci_sp_recv(&s->stream, &p, &n, &s->err);
    if (rc == RQC_OK) {
        s->stats.connects++;
        return rqci_sub_frame(s, p, n, ev);
    }
    if (rc == RQC_TIMEOUT && s->stream.ready && rqci_exact_ms() >= s->nudge_ms) {
        rc = say_hello(s, RQCI_HELLO_NUDGE);
        s->nudge_ms = rqci_exact_ms() + NUDGE_MS;
        rc = rc == RQC_OK ? RQC_TIMEOUT : rc;
    }
    if (rc == RQC_TIMEOUT)
        rc = answer(s, &m);
    if (rc == RQC_OK)
        return RQCI_TURN_ON;
    if (rc == RQC_TIMEOUT && rqci_exact_ms() < s->until_ms)
        return RQCI_TURN_IDLE;
    return rqci_sub_fail(s, rc, ev);
}

static rqci_sub_turn catchup_phase(rqci_sub *s, rqci_sub_event *ev)
{
    rqci_message m;
    if (s->sweeping)
        return rqci_sub_sweep(s, ev);
    rqc_err rc = RQC_OK;
    if (!s->asked) {
        s->err.text[0] = 0;
        rc = ask_to_catch_up(s);
        s->asked = true;
        s->until_ms = rqci_exact_ms() + ANSWER_MS;
    }
    if (rc == RQC_OK)
        rc = answer(s, &m);
    if (rc == RQC_OK)
        return s->mend == RQCI_MEND_DIGESTS ? rqci_sub_mend_answer(s, &m, ev)
                                            : rqci_sub_page(s, &m, ev);
    if (rc == RQC_TIMEOUT && rqci_exact_ms() < s->until_ms)
        return RQCI_TURN_IDLE;
    s->stats.bad += rc == RQC_CORRUPT;
    return rqci_sub_fail(s, rc, ev);
}

static rqci_sub_turn live_phase(rqci_sub *s, rqci_sub_event *ev)
{
    const uint8_t *p;
    size_t n;
    if (s->tell_live) {
        s->tell_live = s->told_down = false;
        *ev = (rqci_sub_event){.kind = RQCI_SUB_STATE,
                               .text = "",
                               .place = s->place,
                               .head = s->head};
        return RQCI_TURN_EVENT;
    }
    rqc_err rc = rqci_sp_work(&s->stream, &s->err);
    if (rc == RQC_OK)
        rc = rqci_sp_recv(&s->stream, &p, &n, &s->err);
    if (rc == RQC_OK) {
        s->until_ms = rqci_exact_ms() + STALE_MS;
        return rqci_sub_frame(s, p, n, ev);
    }
    // An answer to a nudge, or the end of that connection, of which the next question will hear.
    rqci_message m;
    if (rc == RQC_TIMEOUT && s->ask.fd >= 0) {
        const rqc_err end = answer(s, &m);
        if (end != RQC_OK && end != RQC_TIMEOUT)
            close_ask(s);
    }
    if (rc == RQC_TIMEOUT && rqci_exact_ms() < s->until_ms)
        return RQCI_TURN_IDLE;
    if (rc == RQC_TIMEOUT)
        rqci_fail(&s->err, rc, "nothing came for %d ms", STALE_MS);
    s->stats.bad += rc == RQC_CORRUPT || rc == RQC_TOO_LARGE;
    return rqci_sub_fail(s, rc, ev);
}

static rqci_sub_turn turn(rqci_sub *s, rqci_sub_event *ev)
{
    switch (s->phase) {
    case RQCI_PHASE_WAIT: return wait_phase(s, ev);
    case RQCI_PHASE_HELLO: return hello_phase(s, ev);
    case RQCI_PHASE_ATTACH: return attach_phase(s, ev);
    case RQCI_PHASE_CATCHUP: return catchup_phase(s, ev);
    case RQCI_PHASE_LIVE: break;
    }
    return live_phase(s, ev);
}

// ---- Waiting ------------------------------------------------------------------------------------

static void arm(rqci_sub *s, int which, const rqci_sp *sp, bool in)
{
    if (sp->fd < 0)
        return;
    const uint32_t events =
        (in ? (uint32_t)EPOLLIN : 0) | (rqci_sp_wants_out(sp) ? (uint32_t)EPOLLOUT : 0);
    if (s->armed[which].fd == sp->fd && s->armed[which].events == events)
        return;
    struct epoll_event e = {.events = events};
    const int op = s->armed[which].fd == sp->fd ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(s->epoll, op, sp->fd, &e) != 0)
        return;
    s->armed[which].fd = sp->fd;
    s->armed[which].events = events;
}

static void arm_all(rqci_sub *s)
{
    int64_t at = s->until_ms;
    if (s->phase == RQCI_PHASE_ATTACH && s->stream.ready && s->nudge_ms < at)
        at = s->nudge_ms;
    // While pages are asked for, frames stay where they are.
    arm(s, 0, &s->ask, true);
    arm(s, 1, &s->stream, s->phase != RQCI_PHASE_CATCHUP);
    // An end that moves on with every frame is not set anew for each: the timer rings at the old
    // one, and then for the new one.
    if (at >= s->armed_ms && rqci_exact_ms() < s->armed_ms)
        return;
    const struct itimerspec t = {.it_value = {at / 1000, at % 1000 * 1000000 + 1}};
    uint64_t expired;
    (void)!read(s->timer, &expired, sizeof expired);
    if (timerfd_settime(s->timer, TFD_TIMER_ABSTIME, &t, NULL) == 0)
        s->armed_ms = at;
}

rqc_err rqci_sub_step(rqci_sub *s, rqci_sub_event *ret_event)
{
    for (;;) {
        switch (turn(s, ret_event)) {
        case RQCI_TURN_EVENT: return RQC_OK;
        case RQCI_TURN_ON: break;
        case RQCI_TURN_IDLE: arm_all(s); return RQC_TIMEOUT;
        }
    }
}

int rqci_sub_fd(const rqci_sub *s)
{
    return s->epoll;
}

rqci_sub_stats rqci_sub_stats_of(const rqci_sub *s)
{
    return s->stats;
}

// ---- Its life -----------------------------------------------------------------------------------

static rqc_err open_all(rqci_sub *s, rqci_errbuf *err)
{
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN};
    // At once: the first step is due.
    const struct itimerspec t = {.it_value = {0, 1}};
    if (s->epoll < 0 || s->timer < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->timer, &e) != 0 ||
        timerfd_settime(s->timer, 0, &t, NULL) != 0)
        return rqci_fail(err, RQC_IO, "no descriptor to wait for: %s", strerror(errno));
    if (getrandom(&s->random, sizeof s->random, GRND_NONBLOCK) < 0)
        s->random = (uint64_t)rqci_exact_ms();
    return RQC_OK;
}

rqc_err rqci_sub_new(const char *url, const rqci_sub_options *opt, rqci_sub **ret_sub,
                     rqci_errbuf *err)
{
    if (opt->digest && (opt->from_now || opt->since.cursor.seq != 0 || opt->since.cursor.entity))
        return rqci_fail(err, RQC_INVALID, "a digest is kept from the beginning, not from a place");
    if (opt->since.cursor.entity > RQCI_ENTITY_MAX || opt->since.cursor.seq == UINT64_MAX)
        return rqci_fail(err, RQC_INVALID, "no place to begin at");
    rqci_sp_addr addr;
    rqc_err rc = rqci_sp_resolve(url, &addr, err);
    if (rc != RQC_OK)
        return rc;
    rqci_sub *s = calloc(1, sizeof *s);
    if (!s)
        return RQC_NO_MEMORY;
    s->opt = *opt;
    if (opt->all)
        memset(s->opt.workspace, 0, 16);
    s->addr = addr;
    s->place = opt->since;
    s->epoll = s->timer = s->armed[0].fd = s->armed[1].fd = -1;
    s->tell_live = true;
    s->walking = opt->digest;
    rqci_sp_init(&s->ask);
    rqci_sp_init(&s->stream);
    rc = open_all(s, err);
    if (rc != RQC_OK) {
        rqci_sub_free(s);
        return rc;
    }
    *ret_sub = s;
    return RQC_OK;
}

void rqci_sub_free(rqci_sub *s)
{
    if (!s)
        return;
    rqci_sp_free(&s->ask);
    rqci_sp_free(&s->stream);
    if (s->epoll >= 0)
        close(s->epoll);
    if (s->timer >= 0)
        close(s->timer);
    rqci_buf_free(&s->message);
    rqci_known_free(&s->known);
    free(s->items);
    free(s);
}
