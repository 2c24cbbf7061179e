// SPDX-License-Identifier: Apache-2.0
//
// What all benchmarks need: a clock, an end with a message, folders that go away.
#include "bench/floor.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

double floor_now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void floor_die(const char *what, const char *why)
{
    fflush(stdout);
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
    exit(1);
}

void floor_mdb(int rc, const char *what)
{
    if (rc != 0)
        floor_die(what, mdb_strerror(rc));
}

void *floor_alloc(size_t n, size_t size)
{
    void *p = calloc(n, size);

    if (p == NULL)
        floor_die("calloc", "out of memory");
    return p;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void floor_remove_tree(const char *dir)
{
    if (nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS) != 0)
        fprintf(stderr, "%s: %s: cannot be removed\n", program_invocation_short_name, dir);
}

// Takes memory and gives it back: the first use of a page may have to wait for the host of a
// virtual machine, and that is no cost of a layout.
void floor_settle_memory(const char *root, uint64_t bytes)
{
    char path[256];

    snprintf(path, sizeof path, "%s/settle", root);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && posix_fallocate(fd, 0, (off_t)bytes) != 0)
        fprintf(stderr, "%s: %s: too little room to settle\n", program_invocation_short_name, root);
    if (fd >= 0)
        (void)close(fd);
    (void)unlink(path);
}

uint32_t floor_number(const char *text, uint32_t max)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);

    if (errno != 0 || *end != '\0' || *text == '-' || n < 1 || n > max)
        floor_die(text, "is not a number in range");
    return (uint32_t)n;
}

void floor_program(char *ret_path, size_t size, const char *place)
{
    ssize_t n = readlink("/proc/self/exe", ret_path, size - 1);

    ret_path[n > 0 ? n : 0] = '\0';
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(ret_path, '/');
        if (slash != NULL)
            *slash = '\0';
    }
    strncat(ret_path, place, size - strlen(ret_path) - 1);
}

static volatile pid_t child;

static void stop_child(int sig)
{
    if (child > 0)
        (void)kill(child, sig);
}

// The work is done in a child process, so that the folders go away however that one ends.
int floor_in_folders(const char *const *parents,
                     void (*work)(void *arg, const char *const *folders), void *arg)
{
    static char made[FLOOR_FOLDERS][256];
    const char *folders[FLOOR_FOLDERS + 1] = {NULL};
    int status = 0, n = 0;

    for (; n < FLOOR_FOLDERS && parents[n] != NULL; n++) {
        snprintf(made[n], sizeof made[n], "%s/reqcast-bench-XXXXXX", parents[n]);
        if (mkdtemp(made[n]) == NULL)
            floor_die(made[n], strerror(errno));
        folders[n] = made[n];
    }
    (void)signal(SIGINT, stop_child);
    (void)signal(SIGTERM, stop_child);
    pid_t parent = getpid(), pid = child = fork();
    if (pid == 0) {
        (void)signal(SIGINT, SIG_DFL);
        (void)signal(SIGTERM, SIG_DFL);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent)
            work(arg, folders);
        exit(0);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFSIGNALED(status))
        fprintf(stderr, "%s: %s\n", program_invocation_short_name, strsignal(WTERMSIG(status)));
    while (n-- > 0)
        floor_remove_tree(folders[n]);
    return pid > 0 && status == 0 ? 0 : 1;
}
