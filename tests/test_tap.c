// SPDX-License-Identifier: Apache-2.0
//
// The harness judges all other tests, so it is judged here: each of its checks runs in a child,
// once with what must pass and once with what must not, and the child's output is compared.
#include "tap.h"

#include <sys/wait.h>
#include <unistd.h>

struct child {
    int status;
    char out[4096];
};

static int run_good(void)
{
    int one = 1;
    char text[] = "a#b";
    const unsigned char bytes[] = {1, 2, 3};
    ok(true, "ok");
    is(one, 1, "int");
    is((size_t)7, 7, "size");
    is(1 == 1, true, "bool");
    is(0.5, 0.5, "double");
    is(text, "a#b", "string");
    is((const char *)NULL, NULL, "no string");
    is((void *)text, text, "pointer");
    is_mem(bytes, "\1\2\3", 3, "bytes");
    is_mem(NULL, NULL, 0, "no bytes");
    pass("pass");
    skip("not here");
    return tap_done();
}

static int run_int(void)
{
    is(-1, 1, "a # in\nthe name");
    return tap_done();
}

static int run_uint(void)
{
    is(UINT64_MAX, 1, "uint");
    return tap_done();
}

static int run_string(void)
{
    is("a", NULL, "string");
    return tap_done();
}

static int run_bytes(void)
{
    is_mem("abc", "abd", 3, "bytes");
    return tap_done();
}

static int run_false(void)
{
    ok(1 > 2, "false");
    return tap_done();
}

static int run_nothing(void)
{
    return tap_done();
}

static int run_skip_all(void)
{
    skip_all("no %s", "room");
}

static int run_bail(void)
{
    bail("no %s", "disk");
}

#define THREADS 4
#define EACH    500

static void *check_often(void *arg)
{
    for (int i = 0; i < EACH; i++)
        is(i, i, "thread %s, check %d", (const char *)arg, i);
    return NULL;
}

// Starts `body` with its output on a pipe and gathers both that and how it ended.
static void run_child(int (*body)(void), struct child *ret_child)
{
    int fds[2];
    if (pipe(fds) != 0)
        bail("pipe");
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        bail("fork");
    if (pid == 0) {
        tap_count_ = tap_failed_ = 0;
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        int status = body();
        fflush(stdout);
        _Exit(status);
    }
    close(fds[1]);
    size_t len = 0;
    ssize_t n;
    while ((n = read(fds[0], ret_child->out + len, sizeof ret_child->out - 1 - len)) > 0)
        len += (size_t)n;
    ret_child->out[len] = '\0';
    close(fds[0]);
    int status = 0;
    waitpid(pid, &status, 0);
    ret_child->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect(const char *name, int (*body)(void), int status, const char *const *parts)
{
    struct child child;
    run_child(body, &child);
    is(child.status, status, "%s: exit status", name);
    for (; *parts; parts++) {
        if (!ok(strstr(child.out, *parts) != NULL, "%s: says \"%s\"", name, *parts))
            tap_note("said: %s", child.out);
    }
}

// Its two thousand lines would drown the log of the real run, so they go nowhere; the exit status
// tells whether all were counted.
static int run_threads(void)
{
    static char names[THREADS][2] = {"a", "b", "c", "d"};
    pthread_t threads[THREADS];
    if (!freopen("/dev/null", "w", stdout))
        return 2;
    for (size_t i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, check_often, names[i]) != 0)
            return 3;
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return tap_count_ == THREADS * EACH ? tap_done() : 4;
}

static void test_scaled(void)
{
    setenv("RQC_TEST_SCALE", "20", 1);
    is(tap_scaled(1000), 200, "scaled to a fifth");
    is(tap_scaled(2), 1, "never to nothing");
    is(tap_scaled(UINT64_MAX) < UINT64_MAX / 4, true, "no overflow");
    setenv("RQC_TEST_SCALE", "junk", 1);
    is(tap_scaled(1000), 1000, "nonsense is ignored");
    unsetenv("RQC_TEST_SCALE");
    is(tap_scaled(1000), 1000, "not scaled");
}

#define PARTS(...) ((const char *const[]){__VA_ARGS__, NULL})

int main(void)
{
    expect("good", run_good, 0,
           PARTS("ok 1 - ok\n", "ok 6 - string\n", "ok 12 # SKIP not here\n", "1..12\n"));
    expect("int", run_int, 1,
           PARTS("not ok 1 - a \\x23 in\\x0athe name\n", "test_tap.c:", "got: -1\n", "want: 1\n",
                 "1..1\n"));
    expect("uint", run_uint, 1, PARTS("got: 18446744073709551615\n"));
    expect("string", run_string, 1, PARTS("got: \"a\"\n", "want: NULL\n"));
    expect("bytes", run_bytes, 1, PARTS("differ at byte 2 of 3", "got: 61 62 63\n"));
    expect("false", run_false, 1, PARTS("not ok 1 - false\n", "false: 1 > 2\n"));
    expect("nothing", run_nothing, 1, PARTS("not ok 1"));
    expect("skip_all", run_skip_all, 0, PARTS("1..0 # SKIP no room\n"));
    expect("bail", run_bail, 1, PARTS("Bail out! ", "no disk\n"));
    expect("threads", run_threads, 0, (const char *const[]){NULL});
    test_scaled();
    return tap_done();
}
