// SPDX-License-Identifier: Apache-2.0
//
// reqcast attached from another process: the same program, started anew, that answers what is put
// into memory that both share. The pipes say only when; the clock runs there.
#include "bench/reads.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

const char reads_attached_argument[] = "--attached";

enum { FD_SHARED = 3, FD_IN = 4, FD_OUT = 5 };

struct shared {
    char path[512];
    enum read_op op;
    unsigned warm, n;
    double seconds;
    int64_t allocations;
    read_tally tally;
    struct read_target target[READ_TARGETS];
};

struct reads_attached {
    struct shared *shared;
    pid_t pid;
    int to, from;
};

static struct shared *map(int fd)
{
    void *p = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (p == MAP_FAILED)
        floor_die("mmap", strerror(errno));
    return p;
}

struct reads_attached *reads_attached_start(void)
{
    struct reads_attached *a = floor_alloc(1, sizeof *a);
    char program[] = "/proc/self/exe", argument[16];
    char *argv[] = {program, argument, NULL};
    int to[2], from[2], fd = memfd_create("reqcast-bench", MFD_CLOEXEC);
    posix_spawn_file_actions_t actions;

    snprintf(argument, sizeof argument, "%s", reads_attached_argument);
    if (fd < 0 || ftruncate(fd, sizeof(struct shared)) != 0 || pipe2(to, O_CLOEXEC) != 0 ||
        pipe2(from, O_CLOEXEC) != 0)
        floor_die("pipe", strerror(errno));
    a->shared = map(fd);
    // Above the numbers that they get there, lest one overwrites another.
    int give[] = {fcntl(fd, F_DUPFD_CLOEXEC, 10), fcntl(to[0], F_DUPFD_CLOEXEC, 10),
                  fcntl(from[1], F_DUPFD_CLOEXEC, 10)};
    (void)posix_spawn_file_actions_init(&actions);
    for (int i = 0; i < 3; i++)
        (void)posix_spawn_file_actions_adddup2(&actions, give[i], FD_SHARED + i);
    int rc = posix_spawn(&a->pid, program, &actions, NULL, argv, environ);
    if (rc != 0)
        floor_die("posix_spawn", strerror(rc));
    (void)posix_spawn_file_actions_destroy(&actions);
    for (int i = 0; i < 3; i++)
        (void)close(give[i]);
    (void)close(fd);
    (void)close(to[0]);
    (void)close(from[1]);
    a->to = to[1];
    a->from = from[0];
    return a;
}

// Has it do what the shared memory says.
static void order(const struct reads_attached *a)
{
    char byte = 0;

    if (write(a->to, &byte, 1) != 1 || read(a->from, &byte, 1) != 1)
        floor_die("the attached process", "ended too early");
}

void reads_attached_open(struct reads_attached *a, const char *path)
{
    snprintf(a->shared->path, sizeof a->shared->path, "%s", path);
    order(a);
}

void reads_attached_stop(struct reads_attached *a)
{
    int status;

    (void)close(a->to);
    (void)close(a->from);
    (void)waitpid(a->pid, &status, 0);
    if (status != 0)
        fprintf(stderr, "the attached process ended with status %d\n", status);
    (void)munmap(a->shared, sizeof *a->shared);
    free(a);
}

double reads_attached_measure(const struct contestant *c, enum read_op op,
                              const struct read_target *t, unsigned warm, unsigned n,
                              read_tally *tally)
{
    const struct reads_attached *a = c->self;
    struct shared *s = a->shared;

    s->op = op;
    s->warm = warm;
    s->n = n;
    memcpy(s->target, t, (warm + n) * sizeof *t);
    order(a);
    tally->count += s->tally.count;
    tally->ids += s->tally.ids;
    tally->times += s->tally.times;
    tally->rest += s->tally.rest;
    return s->seconds;
}

int64_t reads_attached_allocations(const struct reads_attached *a)
{
    return a->shared->allocations;
}

int reads_attached_main(void)
{
    struct shared *s = map(FD_SHARED);
    struct contestant me = {.run = reads_session_run};
    struct read_target *t = floor_alloc(READ_TARGETS, sizeof *t);
    rqc_db *db = NULL;
    char byte;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (read(FD_IN, &byte, 1) == 1) {
        if (db == NULL) {
            rqc_error err = {RQC_OK, ""};
            bench_check(rqc_attach(s->path, NULL, &db, &err), "rqc_attach", err.text);
            me.self = reads_session_new(db);
        } else {
            memset(&s->tally, 0, sizeof s->tally);
            // The other processor's caches hold what it wrote: reading that is not measured.
            memcpy(t, s->target, (s->warm + s->n) * sizeof *t);
            int64_t before = bench_allocations();
            s->seconds = read_measure(&me, s->op, t, s->warm, s->n, &s->tally);
            s->allocations = bench_allocations() - before;
        }
        if (write(FD_OUT, &byte, 1) != 1)
            break;
    }
    reads_session_free(me.self);
    rqc_close(db);
    free(t);
    return 0;
}
