// SPDX-License-Identifier: Apache-2.0
// For tests: a reqcastd of their own. It ends with the test, whatever ends that: a sanitizer, a
// time limit, SIGKILL.
#ifndef RQC_TESTS_SIDECAR_H
#define RQC_TESTS_SIDECAR_H

#include "tests/tap.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIDECAR_WORDS 32

// In a child, between fork and exec: dies with `parent`, which may be dead already.
static inline void sidecar_die_with(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(126);
}

// Starts REQCASTD with these options (NULL ends them) and waits until it is ready: its process id,
// 0 when it was not. From the main thread only: it dies with the thread that made it.
static inline pid_t sidecar_start(const char *const *options)
{
    const char *words[SIDECAR_WORDS] = {getenv("REQCASTD")}, *const program = words[0];
    char fd[16], line[512];
    int ends[2];
    size_t n = 1;
    if (!program || pipe(ends) != 0)
        bail("no sidecar, or no pipe");
    snprintf(fd, sizeof fd, "%d", ends[1]);
    while (*options && n < SIDECAR_WORDS - 3)
        words[n++] = *options++;
    words[n++] = "--ready-fd";
    words[n] = fd;
    const pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        sidecar_die_with(parent);
        close(ends[0]);
        execv(program, (char *const *)(uintptr_t)words);
        _exit(127);
    }
    close(ends[1]);
    if (pid < 0)
        bail("%s: %s", program, strerror(errno));
    ssize_t got;
    while ((got = read(ends[0], line, sizeof line)) < 0 && errno == EINTR)
        ;
    close(ends[0]);
    if (got > 0)
        return pid;
    waitpid(pid, NULL, 0);
    return 0;
}

// Sends the signal and waits for its end: the status of waitpid.
static inline int sidecar_end(pid_t *pid, int signal)
{
    int status = -1;
    if (*pid <= 0)
        return status;
    kill(*pid, signal);
    waitpid(*pid, &status, 0);
    *pid = 0;
    return status;
}

#endif
