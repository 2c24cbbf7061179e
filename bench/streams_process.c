// SPDX-License-Identifier: Apache-2.0
//
// Processes of the stream benchmarks: each ends with the one that started it.
#include "bench/streams.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int64_t streams_now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void streams_sleep_us(long us)
{
    const struct timespec t = {us / 1000000, us % 1000000 * 1000};

    (void)nanosleep(&t, NULL);
}

// In the child: 0.
static pid_t fork_mortal(void)
{
    fflush(NULL);
    const pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        floor_die("fork", strerror(errno));
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
    }
    return pid;
}

void streams_apart(struct streams *s, void (*work)(struct streams *s, void *arg), void *arg)
{
    int status = 0;
    const pid_t pid = fork_mortal();

    if (pid == 0) {
        s->npeers = 0;
        work(s, arg);
        fflush(NULL);
        _exit(0);
    }
    (void)waitpid(pid, &status, 0);
    if (status != 0)
        floor_die("a part", "did not end well");
}

unsigned streams_peer(struct streams *s, streams_peer_fn *work, const char *url)
{
    const unsigned number = s->npeers;

    if (number == STREAMS_PEERS)
        floor_die("peers", "too many");
    atomic_store(&s->shared->seen[number], 0);
    atomic_store(&s->shared->count[number], 0);
    atomic_store(&s->shared->ready[number], false);
    const pid_t pid = fork_mortal();
    if (pid == 0) {
        work(s, number, url);
        _exit(0);
    }
    s->peers[s->npeers++] = pid;
    return number;
}

void streams_peers_end(struct streams *s)
{
    for (unsigned i = 0; i < s->npeers; i++)
        (void)kill(s->peers[i], SIGKILL);
    for (unsigned i = 0; i < s->npeers; i++)
        (void)waitpid(s->peers[i], NULL, 0);
    s->npeers = 0;
}

void streams_await(const _Atomic bool *flag, const char *what)
{
    const int64_t until = streams_now() + STREAMS_WAIT_S * INT64_C(1000000000);

    while (!atomic_load(flag)) {
        if (streams_now() > until)
            floor_die(what, "took too long");
        streams_sleep_us(200);
    }
}

void streams_await_count(const _Atomic uint64_t *count, uint64_t want, const char *what)
{
    const int64_t until = streams_now() + STREAMS_WAIT_S * INT64_C(1000000000);

    while (atomic_load(count) < want) {
        if (streams_now() > until)
            floor_die(what, "took too long");
        streams_sleep_us(200);
    }
}

static bool is_free(uint16_t port)
{
    const struct sockaddr_in a = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool good = fd >= 0 && bind(fd, (const struct sockaddr *)&a, sizeof a) == 0;

    if (fd >= 0)
        (void)close(fd);
    return good;
}

uint16_t streams_free_port(void)
{
    static uint16_t next;

    if (next == 0)
        next = (uint16_t)(20000 + getpid() % 20000);
    while (!is_free(next) || !is_free((uint16_t)(next + 1)))
        next = (uint16_t)(next + 2);
    next = (uint16_t)(next + 2);
    return (uint16_t)(next - 2);
}

// ---- programs -----------------------------------------------------------------------------------

static pid_t start(const char *const *argv, int keep)
{
    const pid_t pid = fork_mortal();

    if (pid != 0)
        return pid;
    for (int fd = 3; fd < 256; fd++)
        if (fd != keep)
            (void)close(fd);
    (void)execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

pid_t streams_sidecar(struct streams *s, const char *db_path, const char *url)
{
    char fd[16], log[320], line[512];
    int ends[2];

    if (pipe(ends) != 0)
        floor_die("pipe", strerror(errno));
    snprintf(fd, sizeof fd, "%d", ends[1]);
    snprintf(log, sizeof log, "%s/log", s->disk);
    const char *const argv[] = {s->program,   "--create",   "--db",    db_path,      "--listen",
                                url,          "--view-dir", s->memory, "--log-file", log,
                                "--ready-fd", fd,           NULL};
    const pid_t pid = start(argv, ends[1]);
    (void)close(ends[1]);
    if (read(ends[0], line, sizeof line) <= 0)
        floor_die(s->program, "does not start");
    (void)close(ends[0]);
    return pid;
}

void streams_sidecar_end(pid_t pid)
{
    (void)kill(pid, SIGTERM);
    (void)waitpid(pid, NULL, 0);
}

uint64_t streams_rss(pid_t pid)
{
    char path[64];
    unsigned long long all = 0, resident = 0;

    snprintf(path, sizeof path, "/proc/%ld/statm", (long)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL || fscanf(f, "%llu %llu", &all, &resident) != 2)
        floor_die(path, "cannot be read");
    (void)fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

void streams_redis_start(struct streams *s)
{
#ifdef RQC_BENCH_REDIS
    char port[16];

    s->redis_port = streams_free_port();
    snprintf(port, sizeof port, "%u", s->redis_port);
    snprintf(s->redis_path, sizeof s->redis_path, "%s/redis", s->memory);
    const char *const argv[] = {"redis-server",
                                "--port",
                                port,
                                "--bind",
                                "127.0.0.1",
                                "--unixsocket",
                                s->redis_path,
                                "--save",
                                "",
                                "--appendonly",
                                "no",
                                "--daemonize",
                                "no",
                                "--logfile",
                                "/dev/null",
                                NULL};
    s->redis = start(argv, -1);
    for (int i = 0; i < 500 && access(s->redis_path, F_OK) != 0; i++)
        streams_sleep_us(10000);
    if (access(s->redis_path, F_OK) == 0)
        return;
    streams_redis_end(s);
    printf("Redis SKIPPED: redis-server does not start\n");
#else
    s->redis = 0;
    printf("Redis SKIPPED: built without hiredis\n");
#endif
}

void streams_redis_end(struct streams *s)
{
    if (s->redis == 0)
        return;
    (void)kill(s->redis, SIGTERM);
    (void)waitpid(s->redis, NULL, 0);
    s->redis = 0;
}
