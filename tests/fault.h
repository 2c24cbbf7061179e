// SPDX-License-Identifier: Apache-2.0
// For tests that kill: folders of their own, randomness that can be repeated, and children. A child
// is this program again, executed anew so that it inherits no lock and no thread, with a role as
// its first argument. It tells what it did in messages through a pipe, which survive its sudden
// end.
//
// A child dies with its parent. Whatever ends a test must first end its children and remove its
// folders: `die` does, in place of tap's `bail`.
#ifndef RQC_TESTS_FAULT_H
#define RQC_TESTS_FAULT_H

#include "api/reqcast.h"
#include "tests/tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define die(...)           \
    do {                   \
        fault_end();       \
        bail(__VA_ARGS__); \
    } while (0)

#define FAULT_PATH        512
#define FAULT_CHILDREN    64
#define FAULT_PATIENCE_MS 60000 // what takes longer than this hangs
#define FAULT_TELL        3     // the child's end of the pipes
#define FAULT_ASK         4

extern char **environ;

static char fault_disk[FAULT_PATH],
    fault_memory[FAULT_PATH]; // the test's folders: on a disk, in shared memory
static pid_t fault_parent;
static void (*fault_before_removal)(void); // unmounts what is in the folders

// ---- Time and chance ----------------------------------------------------------------------------

static inline int64_t fault_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static inline void fault_sleep_us(int64_t us)
{
    if (us <= 0)
        return;
    struct timespec t = {us / 1000000, us % 1000000 * 1000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

static inline uint64_t fault_mix(uint64_t a, uint64_t b)
{
    uint64_t x = a * UINT64_C(0x9e3779b97f4a7c15) + b + UINT64_C(0x632be59bd9b4e019);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

// 0 … n - 1; one thread only.
static inline uint64_t fault_rand(uint64_t n)
{
    static uint64_t seed, count;
    if (count == 0) {
        const char *given = getenv("RQC_TEST_SEED");
        seed = given ? strtoull(given, NULL, 10) : (uint64_t)fault_now_us();
        if (fault_parent == getpid())
            tap_note("RQC_TEST_SEED=%" PRIu64, seed);
    }
    return fault_mix(seed, ++count) % n;
}

// ---- Folders ------------------------------------------------------------------------------------

static inline int fault_remove_entry(const char *path, const struct stat *st, int type,
                                     struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    return type == FTW_DP ? rmdir(path) : unlink(path);
}

// Only below a folder of the tests, or a view: a path that was put together wrongly is some other
// folder of this machine.
static inline void fault_remove(const char *path)
{
    if (!strstr(path, "/reqcast-"))
        bail("%s is no folder of a test", path);
    (void)nftw(path, fault_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

__attribute__((format(printf, 2, 3))) static inline const char *fault_path(char ret[FAULT_PATH],
                                                                           const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    const int n = vsnprintf(ret, FAULT_PATH, format, ap);
    va_end(ap);
    if (n < 0 || n >= FAULT_PATH)
        bail("a path is too long");
    return ret;
}

// Copies one file's bytes over another's (made when missing). False on any error.
static inline bool fault_copy(const char *from, const char *to)
{
    static char bytes[1 << 16];
    struct stat st;
    const int in = open(from, O_RDONLY | O_CLOEXEC),
              out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    bool good = in >= 0 && out >= 0 && fstat(in, &st) == 0 && fchmod(out, st.st_mode & 07777) == 0;
    ssize_t n = 0;
    while (good && (n = read(in, bytes, sizeof bytes)) > 0)
        good = write(out, bytes, (size_t)n) == n;
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return good && n == 0;
}

// Copies a folder of files and folders; what the target had goes.
static inline bool fault_copy_tree(const char *from, const char *to)
{
    struct stat st;
    fault_remove(to);
    if (stat(from, &st) != 0 || mkdir(to, st.st_mode & 07777) != 0)
        return false;
    DIR *d = opendir(from);
    bool good = d != NULL;
    for (const struct dirent *e; good && (e = readdir(d));) {
        char a[FAULT_PATH], b[FAULT_PATH];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        fault_path(a, "%s/%s", from, e->d_name);
        fault_path(b, "%s/%s", to, e->d_name);
        good =
            lstat(a, &st) == 0 && (S_ISDIR(st.st_mode) ? fault_copy_tree(a, b) : fault_copy(a, b));
    }
    if (d)
        closedir(d);
    return good;
}

// ---- Messages -----------------------------------------------------------------------------------

enum {
    FAULT_READY = 1, // the child has opened what it needs
    FAULT_START,     // a writer found its last number in the database
    FAULT_ACK,       // transaction n of writer `who` was acknowledged
    FAULT_SEEN,      // a reader saw transaction n of writer `who`
    FAULT_REFUSED,   // it failed as it was meant to: nothing of it may be there
    FAULT_TOLD,      // anything else that a role has to tell
    FAULT_BAD        // something that must not happen; `text` says what
};

typedef struct fault_msg { // smaller than PIPE_BUF, so that each is written whole or not at all
    uint32_t kind, who;
    uint64_t n;
    rqc_position position;
    uint64_t value;
    int32_t code;
    char text[180];
} fault_msg;

static inline void fault_send(const fault_msg *m)
{
    if (write(FAULT_TELL, m, sizeof *m) != (ssize_t)sizeof *m)
        _exit(0); // the parent has gone
}

static inline void fault_tell(uint32_t kind, uint64_t value)
{
    fault_send(&(fault_msg){.kind = kind, .value = value});
}

// A child's last words: the parent's test fails with them.
__attribute__((format(printf, 1, 2))) _Noreturn static inline void fault_bad(const char *format,
                                                                             ...)
{
    fault_msg m = {.kind = FAULT_BAD};
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(m.text, sizeof m.text, format, ap);
    va_end(ap);
    fault_send(&m);
    _exit(1);
}

// True until the parent has closed its end or asked to stop; waits at most so long.
static inline bool fault_go_on(int wait_ms)
{
    struct pollfd p = {.fd = FAULT_ASK, .events = POLLIN};
    return poll(&p, 1, wait_ms) == 0;
}

// Waits for one byte of the parent; false when there will be none.
static inline bool fault_asked(char *ret)
{
    ssize_t n;
    while ((n = read(FAULT_ASK, ret, 1)) < 0 && errno == EINTR)
        ;
    return n == 1;
}

// ---- Children -----------------------------------------------------------------------------------

typedef struct fault_child {
    pid_t pid; // 0: none
    int from, to;
    const char *role;
} fault_child;

static pid_t fault_pids[FAULT_CHILDREN];

static inline void fault_remember(pid_t old, pid_t new)
{
    for (size_t i = 0; i < FAULT_CHILDREN; i++)
        if (fault_pids[i] == old) {
            fault_pids[i] = new;
            return;
        }
}

static inline void fault_end(void)
{
    if (getpid() != fault_parent)
        return;
    for (size_t i = 0; i < FAULT_CHILDREN; i++)
        if (fault_pids[i] > 0) {
            kill(fault_pids[i], SIGKILL);
            (void)waitpid(fault_pids[i], NULL, 0);
            fault_pids[i] = 0;
        }
    if (fault_before_removal)
        fault_before_removal();
    if (*fault_disk)
        fault_remove(fault_disk);
    if (*fault_memory)
        fault_remove(fault_memory);
    *fault_disk = *fault_memory = 0;
}

static inline void fault_make_folder(char ret[FAULT_PATH], const char *parent)
{
    fault_path(ret, "%s/reqcast-test-XXXXXX", parent);
    if (!mkdtemp(ret))
        bail("%s: %s", ret, strerror(errno));
}

// First in main: of the test, not of its children.
static inline void fault_begin(void)
{
    const char *tmp = getenv("TMPDIR");
    fault_parent = getpid();
    signal(SIGPIPE, SIG_IGN);
    fault_make_folder(fault_disk, tmp && *tmp == '/' ? tmp : "/tmp");
    fault_make_folder(fault_memory, access("/dev/shm", W_OK) == 0 ? "/dev/shm" : fault_disk);
    atexit(fault_end);
}

// First in the main of a child: whoever killed the test has killed it, too.
static inline void fault_child_begin(void)
{
    signal(SIGPIPE, SIG_IGN);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || fcntl(FAULT_TELL, F_GETFD) < 0 ||
        fcntl(FAULT_ASK, F_GETFD) < 0)
        _exit(2);
}

// Executes this program in a role, with up to three arguments (NULL ends them). From the main
// thread only: children die with the thread that made them.
static inline fault_child fault_spawn(const char *role, const char *a, const char *b, const char *c)
{
    int tell[2], ask[2];
    pid_t pid = 0;
    posix_spawn_file_actions_t acts;
    char *argv[] = {(char *)(uintptr_t) "child", (char *)(uintptr_t)role, (char *)(uintptr_t)a,
                    (char *)(uintptr_t)b,        (char *)(uintptr_t)c,    NULL};
    if (pipe2(tell, O_CLOEXEC) != 0 || pipe2(ask, O_CLOEXEC) != 0)
        die("pipe: %s", strerror(errno));
    (void)fcntl(tell[0], F_SETPIPE_SZ, 1 << 20);
    // Numbers above those that the child will use: dup2 of a number to itself would leave it to be
    // closed.
    const int tell_end = fcntl(tell[1], F_DUPFD_CLOEXEC, 10),
              ask_end = fcntl(ask[0], F_DUPFD_CLOEXEC, 10);
    posix_spawn_file_actions_init(&acts);
    posix_spawn_file_actions_addopen(&acts, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&acts, 2, 1); // the checks in stdout are the parent's
    posix_spawn_file_actions_adddup2(&acts, tell_end, FAULT_TELL);
    posix_spawn_file_actions_adddup2(&acts, ask_end, FAULT_ASK);
    const int rc = tell_end < 0 || ask_end < 0
                       ? EMFILE
                       : posix_spawn(&pid, "/proc/self/exe", &acts, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&acts);
    close(tell[1]);
    close(ask[0]);
    close(tell_end);
    close(ask_end);
    if (rc != 0)
        die("cannot start a child: %s", strerror(rc));
    fault_remember(0, pid);
    return (fault_child){pid, tell[0], ask[1], role};
}

// The next message: 1; none within so many milliseconds: 0; the child has closed its end: -1. A
// child's FAULT_BAD ends the test.
static inline int fault_next(const fault_child *c, int wait_ms, fault_msg *ret)
{
    struct pollfd p = {.fd = c->from, .events = POLLIN};
    int ready;
    while ((ready = poll(&p, 1, wait_ms)) < 0 && errno == EINTR)
        ;
    if (ready == 0)
        return 0;
    size_t got = 0;
    while (got < sizeof *ret) {
        const ssize_t n = read(c->from, (char *)ret + got, sizeof *ret - got);
        if (n == 0)
            return -1;
        if (n < 0 && errno != EINTR)
            die("read: %s", strerror(errno));
        got += n > 0 ? (size_t)n : 0;
    }
    ret->text[sizeof ret->text - 1] = 0;
    if (ret->kind == FAULT_BAD)
        die("%s: %s", c->role, ret->text);
    return 1;
}

// Waits for a message of this kind and drops those before it.
static inline void fault_expect(const fault_child *c, uint32_t kind, fault_msg *ret)
{
    fault_msg m = {.kind = 0};
    while (m.kind != kind) {
        const int got = fault_next(c, FAULT_PATIENCE_MS, &m);
        if (got <= 0)
            die("%s %s before it told %u", c->role, got == 0 ? "hung" : "ended", kind);
    }
    if (ret)
        *ret = m;
}

static inline void fault_forget(fault_child *c)
{
    fault_remember(c->pid, 0);
    close(c->from);
    if (c->to >= 0)
        close(c->to);
    *c = (fault_child){0, -1, -1, NULL};
}

// Waits for its end; messages that are still in the pipe can be read before, not after. Returns the
// status as waitpid gives it.
static inline int fault_reap(fault_child *c)
{
    int status = 0;
    const int64_t until = fault_now_us() + FAULT_PATIENCE_MS * 1000;
    pid_t got;
    while ((got = waitpid(c->pid, &status, WNOHANG)) == 0 || (got < 0 && errno == EINTR)) {
        if (fault_now_us() > until) {
            kill(c->pid, SIGKILL);
            (void)waitpid(c->pid, NULL, 0);
            fault_remember(c->pid, 0);
            die("%s hung", c->role);
        }
        fault_sleep_us(200);
    }
    fault_forget(c);
    return status;
}

// kill -9. Its messages can still be read until fault_reap. False when it had ended before by
// itself, or in another way.
static inline void fault_kill(const fault_child *c)
{
    kill(c->pid, SIGKILL);
}

// Asks a child to end by closing the pipe to it; true when it ended well. Reads and drops what it
// still tells.
static inline bool fault_stop(fault_child *c)
{
    fault_msg m;
    close(c->to);
    c->to = -1;
    int got;
    while ((got = fault_next(c, FAULT_PATIENCE_MS, &m)) == 1)
        ;
    if (got == 0)
        die("%s does not stop", c->role);
    return fault_reap(c) == 0;
}

static inline void fault_ask(const fault_child *c, char what)
{
    if (write(c->to, &what, 1) != 1)
        die("%s: %s", c->role, strerror(errno));
}

// ---- Databases of a test
// --------------------------------------------------------------------------

static inline void fault_log(void *ctx, int level, const char *text)
{
    (void)ctx;
    if (level > 0 && getenv("RQC_TEST_LOG"))
        fprintf(stderr, "# %d: %s\n", (int)getpid(), text);
}

// The view's directory as the note beside the database tells it; false when there is none.
static inline bool fault_view_of(const char *db, char ret[FAULT_PATH])
{
    char note[FAULT_PATH];
    const int fd = open(fault_path(note, "%s.rqc-view-path", db), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t n = read(fd, ret, FAULT_PATH - 1);
    close(fd);
    if (n < 2)
        return false;
    ret[n - 1] = 0;
    return true;
}

// The newest generation in a view's directory, 0 without one.
static inline uint64_t fault_generation(const char *view, char ret_data[FAULT_PATH])
{
    uint64_t newest = 0;
    DIR *d = opendir(view);
    for (const struct dirent *e; d && (e = readdir(d));) {
        unsigned long long number;
        if (sscanf(e->d_name, "gen-%llu", &number) == 1 && number > newest)
            newest = number;
    }
    if (d)
        closedir(d);
    if (ret_data && newest > 0)
        fault_path(ret_data, "%s/gen-%" PRIu64 "/data.mdb", view, newest);
    return newest;
}

#endif
