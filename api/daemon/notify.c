// SPDX-License-Identifier: Apache-2.0
// Readiness: the datagram of sd_notify(3), a descriptor, the exit status of --background.
#include "api/daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int parent = -1;

// The parent waits for one byte: the status it ends with.
static void be_parent(int from, pid_t child)
{
    uint8_t status = 5;
    if (read(from, &status, 1) != 1) {
        int how;
        if (waitpid(child, &how, 0) == child && WIFEXITED(how))
            status = (uint8_t)WEXITSTATUS(how);
    }
    if (status == 0)
        printf("%ld\n", (long)child);
    fflush(stdout);
    _exit(status);
}

bool dm_background(bool background)
{
    int ends[2];
    if (!background)
        return true;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    const pid_t child = fork();
    if (child < 0)
        return false;
    if (child > 0) {
        close(ends[1]);
        be_parent(ends[0], child);
    }
    close(ends[0]);
    parent = ends[1];
    (void)setsid();
    return true;
}

// Standard error stays until here: what fails before is told there.
static void let_go(void)
{
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return;
    for (int i = 0; i < 3; i++)
        (void)dup2(null, i);
    if (null > 2)
        close(null);
}

static void notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (!path || (*path != '/' && *path != '@') || strlen(path) >= sizeof a.sun_path)
        return;
    const size_t n = strlen(path);
    memcpy(a.sun_path, path, n);
    if (*path == '@')
        a.sun_path[0] = 0; // an abstract name
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&a,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
        dm_log(RQCI_WARN, "notify", "error=%s", dm_quoted(strerror(errno)));
    close(fd);
}

static void tell_parent(uint8_t status)
{
    if (parent < 0)
        return;
    (void)!write(parent, &status, 1);
    close(parent);
    parent = -1;
}

void dm_tell_ready(int ready_fd, const char *url)
{
    char text[512];
    snprintf(text, sizeof text, "READY=1\nMAINPID=%ld\nSTATUS=answers at %s", (long)getpid(), url);
    notify(text);
    if (parent >= 0) {
        tell_parent(0);
        let_go();
    }
    if (ready_fd >= 0) {
        (void)!write(ready_fd, url, strlen(url));
        (void)!write(ready_fd, "\n", 1);
        close(ready_fd);
    }
}

void dm_tell_stopping(void)
{
    notify("STOPPING=1");
}

void dm_tell_failed(int status)
{
    tell_parent((uint8_t)status);
}
