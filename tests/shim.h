// SPDX-License-Identifier: Apache-2.0
//
// For tests of streams: stands between a subscriber and a sidecar (ipc), passes questions on, and
// drops, doubles, swaps, cuts and changes frames.
#ifndef RQC_TESTS_SHIM_H
#define RQC_TESTS_SHIM_H

#include "replicate/message.h"
#include "tests/rows.h"
#include "tests/tap.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct shim {
    char ask_path[108], stream_path[108], real_ask[108];
    pthread_mutex_t lock;
    char real_stream[108]; // guarded by lock
    int ask_fd, stream_fd;
    pthread_t ask_thread, stream_thread;
    _Atomic bool stop;
    _Atomic unsigned pumps;
    _Atomic unsigned mischief; // one frame in so many is harmed; 0: none
    _Atomic uint64_t seed;
    _Atomic uint64_t harmed;
    // Set before anybody connects: what becomes of a question, or of a frame. False: the connection
    // ends. With something in `out` that goes on in its place.
    bool (*question)(struct shim *s, const uint8_t *p, size_t n, rqci_buf *out);
    bool (*frame)(struct shim *s, const uint8_t *p, size_t n, rqci_buf *out);
} shim;

typedef struct shim_pump {
    shim *s;
    int from, to;
    _Atomic int *refs;
    bool frames, answers;
} shim_pump;

static inline int shim_listen(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%.107s", path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 64) != 0)
        bail("shim: %s: %s", path, strerror(errno));
    return fd;
}

static inline int shim_connect(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%.107s", path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static inline bool shim_read(int fd, void *p, size_t n)
{
    for (size_t got = 0; got < n;) {
        const ssize_t k = recv(fd, (char *)p + got, n - got, 0);
        if (k <= 0)
            return false;
        got += (size_t)k;
    }
    return true;
}

static inline bool shim_write(int fd, const void *p, size_t n)
{
    for (size_t put = 0; put < n;) {
        const ssize_t k = send(fd, (const char *)p + put, n - put, MSG_NOSIGNAL);
        if (k <= 0)
            return false;
        put += (size_t)k;
    }
    return true;
}

static inline bool shim_message(int fd, const void *p, size_t n)
{
    uint8_t head[9] = {1};
    rqci_put64be(head + 1, n);
    return shim_write(fd, head, 9) && shim_write(fd, p, n);
}

static inline uint64_t shim_random(shim *s)
{
    uint64_t z = atomic_fetch_add(&s->seed, UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

// Where the stream is, is told as being here.
static inline bool shim_answer(shim *s, int to, const uint8_t *p, size_t n)
{
    rqci_message m;
    rqci_hello_answer a;
    rqci_buf out = {0};
    if (n < 4 || rqci_message_decode(p + 4, n - 4, RQCI_ANSWER_MAGIC, &m, NULL) != RQC_OK ||
        rqci_hello_answer_decode(&m, &a, NULL) != RQC_OK || strncmp(a.url, "ipc://", 6) != 0)
        return shim_message(to, p, n);
    pthread_mutex_lock(&s->lock);
    snprintf(s->real_stream, sizeof s->real_stream, "%.107s", a.url + 6);
    pthread_mutex_unlock(&s->lock);
    snprintf(a.url, sizeof a.url, "ipc://%s", s->stream_path);
    bool good = rqci_answer_hello(&out, &a) == RQC_OK;
    uint8_t *whole = malloc(4 + out.len);
    memcpy(whole, p, 4);
    memcpy(whole + 4, out.data, out.len);
    good = good && shim_message(to, whole, 4 + out.len);
    free(whole);
    rqci_buf_free(&out);
    return good;
}

// One frame, harmed or not. `held` waits to come after the next one.
static inline bool shim_frame(shim *s, int to, uint8_t *p, size_t n, rqci_buf *held)
{
    const unsigned m = atomic_load(&s->mischief);
    const uint64_t r = shim_random(s);
    bool good = true;
    if (m == 0 || r % m != 0) {
        good = shim_message(to, p, n);
        if (good && held->len > 0)
            good = shim_message(to, held->data, held->len);
        held->len = 0;
        return good;
    }
    atomic_fetch_add(&s->harmed, 1);
    switch (r >> 32 & 7) {
    case 0:
    case 1: return true; // lost
    case 2: return shim_message(to, p, n) && shim_message(to, p, n);
    case 3: held->len = 0; return rqci_buf_add(held, p, n) == RQC_OK;
    case 4: return shim_message(to, p, n - 8 * (1 + (r >> 40) % (n / 8)));
    case 5:
    case 6: p[(r >> 40) % n] ^= (uint8_t)(1u << (r >> 36 & 7)); return shim_message(to, p, n);
    default: {
        uint8_t head[9] = {1}; // a half, and the end
        rqci_put64be(head + 1, n);
        (void)(shim_write(to, head, 9) && shim_write(to, p, n / 2));
        return false;
    }
    }
}

static inline bool shim_pass(shim_pump *p, uint8_t *body, size_t n, rqci_buf *held, rqci_buf *other)
{
    shim *s = p->s;
    bool (*const judge)(struct shim *, const uint8_t *, size_t, rqci_buf *) = p->frames ? s->frame
                                                                              : p->answers
                                                                                  ? NULL
                                                                                  : s->question;
    other->len = 0;
    if (judge && !judge(s, body, n, other))
        return false;
    if (other->len > 0)
        return shim_message(p->to, other->data, other->len);
    return p->frames    ? shim_frame(s, p->to, body, n, held)
           : p->answers ? shim_answer(s, p->to, body, n)
                        : shim_message(p->to, body, n);
}

static inline void *shim_pump_main(void *arg)
{
    shim_pump *p = arg;
    uint8_t head[9];
    rqci_buf body = {0}, held = {0}, other = {0};
    bool good = shim_read(p->from, head, 8) && shim_write(p->to, head, 8);
    while (good && shim_read(p->from, head, 9)) {
        const uint64_t n = rqci_get64be(head + 1);
        body.len = 0;
        if (n > RQCI_MSG_MAX || rqci_buf_reserve(&body, (size_t)n + 1) != RQC_OK ||
            !shim_read(p->from, body.data, (size_t)n))
            break;
        good = shim_pass(p, body.data, (size_t)n, &held, &other);
    }
    shutdown(p->from, SHUT_RDWR);
    shutdown(p->to, SHUT_RDWR);
    if (atomic_fetch_sub(p->refs, 1) == 1) {
        close(p->from);
        close(p->to);
        free((void *)(uintptr_t)p->refs);
    }
    rqci_buf_free(&body);
    rqci_buf_free(&held);
    rqci_buf_free(&other);
    atomic_fetch_sub(&p->s->pumps, 1);
    free(p);
    return NULL;
}

static inline void shim_start_pump(shim *s, int from, int to, _Atomic int *refs, bool frames,
                                   bool answers)
{
    shim_pump *p = malloc(sizeof *p);
    pthread_t t;
    *p = (shim_pump){s, from, to, refs, frames, answers};
    atomic_fetch_add(&s->pumps, 1);
    if (pthread_create(&t, NULL, shim_pump_main, p) != 0)
        bail("no thread for the shim");
    pthread_detach(t);
}

static inline void shim_serve(shim *s, int listener, bool stream)
{
    while (!atomic_load(&s->stop)) {
        char real[108];
        const int peer = accept(listener, NULL, NULL);
        if (peer < 0)
            return;
        pthread_mutex_lock(&s->lock);
        snprintf(real, sizeof real, "%s", stream ? s->real_stream : s->real_ask);
        pthread_mutex_unlock(&s->lock);
        const int server = shim_connect(real);
        if (server < 0) {
            close(peer);
            continue;
        }
        _Atomic int *refs = malloc(sizeof *refs);
        atomic_init(refs, 2);
        shim_start_pump(s, server, peer, refs, stream, !stream);
        shim_start_pump(s, peer, server, refs, false, false);
    }
}

static inline void *shim_asks(void *arg)
{
    shim *s = arg;
    shim_serve(s, s->ask_fd, false);
    return NULL;
}

static inline void *shim_streams(void *arg)
{
    shim *s = arg;
    shim_serve(s, s->stream_fd, true);
    return NULL;
}

static inline void shim_begin(shim *s, const char *dir, int number, const char *real_ask,
                              uint64_t seed, unsigned mischief)
{
    memset(s, 0, sizeof *s);
    snprintf(s->ask_path, sizeof s->ask_path, "%.90s/shim%d", dir, number);
    snprintf(s->stream_path, sizeof s->stream_path, "%.90s/shim%d.s", dir, number);
    snprintf(s->real_ask, sizeof s->real_ask, "%.107s", real_ask);
    pthread_mutex_init(&s->lock, NULL);
    atomic_store(&s->seed, seed);
    atomic_store(&s->mischief, mischief);
    s->ask_fd = shim_listen(s->ask_path);
    s->stream_fd = shim_listen(s->stream_path);
    if (pthread_create(&s->ask_thread, NULL, shim_asks, s) != 0 ||
        pthread_create(&s->stream_thread, NULL, shim_streams, s) != 0)
        bail("no thread for the shim");
}

// When its subscriber is gone.
static inline void shim_end(shim *s)
{
    atomic_store(&s->stop, true);
    shutdown(s->ask_fd, SHUT_RDWR);
    shutdown(s->stream_fd, SHUT_RDWR);
    pthread_join(s->ask_thread, NULL);
    pthread_join(s->stream_thread, NULL);
    close(s->ask_fd);
    close(s->stream_fd);
    while (atomic_load(&s->pumps) > 0)
        usleep(1000);
    pthread_mutex_destroy(&s->lock);
}

#endif
