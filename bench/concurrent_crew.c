// SPDX-License-Identifier: Apache-2.0
//
// Readers: each thread has its session or connection, made before the clock starts; all begin at
// the same time.
#include "bench/concurrent.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

const char crew_attached_argument[] = "--attached";

enum {
    FD_SHARED = 3,
    COPY_FROM = 16 << 20, // bytes that CREW_MEMCPY copies from, more than a core's own caches hold
    COPY_RECORD = 256,    // bytes of a packed request
    COPY_WINDOW = 60,     // requests of OP_UPDATES
};

struct crew;

struct reader {
    struct crew *crew;
    pthread_t thread;
    uint64_t rng, done;
    double seconds;
    read_tally tally;
    struct bench_samples us;
    uint8_t to[COPY_WINDOW * COPY_RECORD];
};

struct crew {
    const struct crew_order *order;
    rqc_db *db;
    struct bench_data data; // no more than what aiming needs
    const uint8_t *from;
    pthread_barrier_t begin;
    struct reader reader[CREW_READERS_MAX];
};

static void copy(struct reader *me, const struct read_target *t)
{
    const size_t n =
        me->crew->order->op == OP_UPDATES ? sizeof me->to : (size_t)CREW_PAGE * COPY_RECORD;

    (void)t;
    memcpy(me->to, me->crew->from + floor_below(&me->rng, COPY_FROM - (uint32_t)n), n);
    __asm__ volatile("" ::"r"(me->to) : "memory");
    me->tally.count += n / COPY_RECORD;
}

static void loop(struct reader *me, struct reads_session *session, struct reads_sqlite *sqlite)
{
    const struct crew_order *o = me->crew->order;
    struct read_target t;

    (void)pthread_barrier_wait(&me->crew->begin);
    const double start = floor_now();
    double now = start;
    while (now - start < o->seconds) {
        read_ops[o->op].aim(&me->crew->data, &me->rng, &t);
        const double before = floor_now();
        switch (o->kind) {
        case CREW_SESSION: reads_session_run(session, o->op, &t, &me->tally); break;
        case CREW_SQLITE: reads_sqlite_run(sqlite, o->op, &t, &me->tally); break;
        case CREW_MEMCPY: copy(me, &t); break;
        }
        now = floor_now();
        bench_sample(&me->us, (now - before) * 1e6);
        me->done++;
    }
    me->seconds = now - start;
}

static void *reader_main(void *arg)
{
    struct reader *me = arg;
    const struct crew_order *o = me->crew->order;
    struct reads_session *session = NULL;
    struct reads_sqlite *sqlite = NULL;

    if (o->kind == CREW_SESSION) {
        session = reads_session_new(me->crew->db);
        reads_session_limit(session, CREW_PAGE);
    } else if (o->kind == CREW_SQLITE) {
        sqlite = reads_sqlite_open(&me->crew->data, o->path, false);
        reads_sqlite_limit(sqlite, CREW_PAGE);
    }
    loop(me, session, sqlite);
    reads_session_free(session);
    reads_sqlite_close(sqlite);
    return NULL;
}

static void add_up(const struct crew *c, struct crew_result *ret)
{
    memset(ret, 0, sizeof *ret);
    for (unsigned i = 0; i < c->order->readers; i++) {
        const struct reader *r = &c->reader[i];
        for (unsigned k = i; k < r->us.n; k += c->order->readers)
            bench_sample(&ret->us, r->us.v[k]);
        ret->us.max = r->us.max > ret->us.max ? r->us.max : ret->us.max;
        ret->per_second += (double)r->done / r->seconds;
        ret->records += r->tally.count;
    }
    if (ret->records == 0)
        floor_die(read_ops[c->order->op].name, "no records");
}

void crew_run(const struct crew_order *o, rqc_db *db, struct crew_result *ret)
{
    struct crew *c = floor_alloc(1, sizeof *c);
    uint8_t *from = NULL;

    c->order = o;
    c->db = db;
    c->data.floor.requests = o->requests;
    c->data.floor.workspaces = o->workspaces;
    if (o->kind == CREW_MEMCPY) {
        from = floor_alloc(COPY_FROM, 1);
        memset(from, 1, COPY_FROM);
        c->from = from;
    }
    if (pthread_barrier_init(&c->begin, NULL, o->readers) != 0)
        floor_die("pthread_barrier_init", "no barrier");
    for (unsigned i = 0; i < o->readers; i++) {
        c->reader[i].crew = c;
        c->reader[i].rng = i + 1;
        if (pthread_create(&c->reader[i].thread, NULL, reader_main, &c->reader[i]) != 0)
            floor_die("pthread_create", "no thread");
    }
    for (unsigned i = 0; i < o->readers; i++)
        (void)pthread_join(c->reader[i].thread, NULL);
    (void)pthread_barrier_destroy(&c->begin);
    add_up(c, ret);
    free(from);
    free(c);
}

// ---- in another process -------------------------------------------------------------------------

struct shared {
    struct crew_order order;
    struct crew_result result;
};

static struct shared *map(int fd)
{
    void *p = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (p == MAP_FAILED)
        floor_die("mmap", strerror(errno));
    return p;
}

void crew_run_attached(const struct crew_order *o, struct crew_result *ret)
{
    char program[] = "/proc/self/exe", argument[16];
    char *argv[] = {program, argument, NULL};
    posix_spawn_file_actions_t actions;
    int status = 0, fd = memfd_create("reqcast-bench", MFD_CLOEXEC);
    pid_t pid;

    snprintf(argument, sizeof argument, "%s", crew_attached_argument);
    if (fd < 0 || ftruncate(fd, sizeof(struct shared)) != 0)
        floor_die("memfd_create", strerror(errno));
    struct shared *s = map(fd);
    s->order = *o;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, fd, FD_SHARED);
    int rc = posix_spawn(&pid, program, &actions, NULL, argv, environ);
    if (rc != 0)
        floor_die("posix_spawn", strerror(rc));
    (void)posix_spawn_file_actions_destroy(&actions);
    if (waitpid(pid, &status, 0) != pid || status != 0)
        floor_die("the attached process", "failed");
    *ret = s->result;
    (void)munmap(s, sizeof *s);
    (void)close(fd);
}

int crew_attached_main(void)
{
    struct shared *s = map(FD_SHARED);
    rqc_error err = {RQC_OK, ""};
    rqc_db *db = NULL;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    bench_check(rqc_attach(s->order.path, NULL, &db, &err), "rqc_attach", err.text);
    crew_run(&s->order, db, &s->result);
    rqc_close(db);
    return 0;
}
