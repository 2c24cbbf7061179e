// SPDX-License-Identifier: Apache-2.0
#include "tap.h"

#include "base/bytes.h"
#include "base/id.h"

#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4

static void new_id(uint8_t ret_id[16])
{
    if (rqci_id_new(ret_id) != RQC_OK)
        bail("no id");
}

static uint64_t time_of(const uint8_t id[16])
{
    return rqci_get64be(id) >> 16;
}

static void test_new(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const uint64_t before = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    uint8_t last[16], id[16];
    new_id(last);
    clock_gettime(CLOCK_REALTIME, &now);
    const uint64_t after = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    ok(time_of(last) >= before && time_of(last) <= after, "an id holds the time");
    uint64_t i = 0;
    const uint64_t n = tap_scaled(1000000);
    for (; i < n; i++) {
        new_id(id);
        if (memcmp(id, last, 16) <= 0)
            break;
        memcpy(last, id, 16);
    }
    is(i, n, "each id is greater than the one before");
    // Ten random bytes a millisecond: two of them are never near each other.
    uint8_t other[16];
    do {
        new_id(other);
    } while (time_of(other) == time_of(id));
    do {
        new_id(id);
    } while (time_of(other) == time_of(id));
    ok(memcmp(id + 6, other + 6, 4) != 0, "another millisecond has other random bytes");
}

static void test_rules(void)
{
    static const uint8_t random[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    uint8_t id[16];
    rqci_id_make(0x0123456789ab, random, id);
    is_mem(id, "\x01\x23\x45\x67\x89\xab\1\2\3\4\5\6\7\x8\x9\xa", 16,
           "48 bits of time, 80 at random");
    rqci_id_make(UINT64_MAX, random, id);
    is_mem(id, "\xff\xff\xff\xff\xff\xff\1\2\3\4\5\6\7\x8\x9\xa", 16,
           "a time beyond 48 bits is the last");
    rqci_id_after(id, id);
    is(id[15], 11, "the id behind one is one higher");
    static const uint8_t full[16] = {0,   0,   0,   0,   0,   9,   255, 255,
                                     255, 255, 255, 255, 255, 255, 255, 255};
    rqci_id_after(full, id);
    is_mem(id, "\0\0\0\0\0\xa\0\0\0\0\0\0\0\0\0\0", 16, "a carry goes into the time");
}

struct maker {
    pthread_t thread;
    uint8_t (*ids)[16];
    uint64_t n;
    bool ordered;
};

static void *make(void *arg)
{
    struct maker *m = arg;
    m->ordered = true;
    for (uint64_t i = 0; i < m->n; i++) {
        if (rqci_id_new(m->ids[i]) != RQC_OK)
            return NULL;
        m->ordered = m->ordered && (i == 0 || memcmp(m->ids[i], m->ids[i - 1], 16) > 0);
    }
    return NULL;
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

static bool distinct(uint8_t (*ids)[16], size_t n)
{
    qsort(ids, n, 16, by_bytes);
    for (size_t i = 1; i < n; i++) {
        if (memcmp(ids[i], ids[i - 1], 16) == 0)
            return false;
    }
    return true;
}

static void test_threads(void)
{
    const uint64_t each = tap_scaled(50000);
    uint8_t(*ids)[16] = calloc(THREADS * each, 16);
    if (!ids)
        bail("no memory");
    struct maker makers[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        makers[i] = (struct maker){.ids = ids + i * each, .n = each};
        if (pthread_create(&makers[i].thread, NULL, make, &makers[i]) != 0)
            bail("no thread");
    }
    bool ordered = true;
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(makers[i].thread, NULL);
        ordered = ordered && makers[i].ordered;
    }
    ok(ordered, "in order in each of %d threads", THREADS);
    ok(distinct(ids, THREADS * each), "no id twice among them");
    free(ids);
}

// Ids of a child, read through a pipe.
static void from_child(uint8_t (*ids)[16], size_t n)
{
    int fds[2];
    if (pipe(fds) != 0)
        bail("pipe");
    const pid_t pid = fork();
    if (pid < 0)
        bail("fork");
    if (pid == 0) {
        for (size_t i = 0; i < n; i++) {
            uint8_t id[16];
            if (rqci_id_new(id) != RQC_OK || write(fds[1], id, 16) != 16)
                _exit(1);
        }
        _exit(0);
    }
    close(fds[1]);
    size_t have = 0;
    for (ssize_t got;
         have < n * 16 && (got = read(fds[0], (uint8_t *)ids + have, n * 16 - have)) > 0;)
        have += (size_t)got;
    close(fds[0]);
    int status = 0;
    waitpid(pid, &status, 0);
    if (have != n * 16 || status != 0)
        bail("the child made %zu bytes and ended with %d", have, status);
}

// The state that a child inherits would give it the very ids that its parent makes next.
static void test_fork(void)
{
    enum { ROUNDS = 20, EACH = 200 };
    static uint8_t ids[ROUNDS * 2 * EACH][16];
    bool above = true;
    for (size_t round = 0; round < ROUNDS; round++) {
        uint8_t(*mine)[16] = ids + round * 2 * EACH;
        uint8_t(*theirs)[16] = mine + EACH;
        new_id(mine[0]);
        from_child(theirs, EACH);
        above = above && time_of(theirs[0]) >= time_of(mine[0]);
        for (size_t i = 1; i < EACH; i++)
            new_id(mine[i]);
    }
    ok(above, "a child's clock does not step behind its parent's");
    ok(distinct(ids, sizeof ids / 16), "parents and children make different ids");
}

static bool stop;

static void *make_until_stop(void *arg)
{
    uint8_t id[16];
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        if (rqci_id_new(id) != RQC_OK)
            return arg;
    }
    return NULL;
}

// A lock that another thread holds during fork would stay locked in the child for ever.
static void test_fork_under_load(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, make_until_stop, &stop) != 0)
        bail("no thread");
    static uint8_t ids[50][16];
    for (size_t i = 0; i < 50; i++)
        from_child(ids + i, 1);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    void *result = &stop;
    pthread_join(thread, &result);
    ok(!result && distinct(ids, 50), "children of a busy parent make ids");
}

static void test_text(void)
{
    static const struct {
        const char *bytes, *text;
    } pairs[] = {
        {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "00000000000000000000000000"},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
         "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"},
        {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", "00000000000000000000000001"},
        // The example of the specification's time part: 1469918176385 ms is 01ARYZ6S41.
        {"\x01\x56\x3d\xf3\x64\x81\0\0\0\0\0\0\0\0\0\0", "01ARYZ6S410000000000000000"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char text[RQCI_ID_TEXT + 1];
        uint8_t id[16];
        rqci_id_format((const uint8_t *)pairs[i].bytes, text);
        is(text, pairs[i].text, "format %s", pairs[i].text);
        is(rqci_id_parse(text, 26, id), RQC_OK, "parse %s", pairs[i].text);
        is_mem(id, pairs[i].bytes, 16, "to the same bytes");
    }
    uint8_t id[16], back[16];
    char text[RQCI_ID_TEXT + 1], hex[33];
    bool good = true;
    for (int i = 0; good && i < 20000; i++) {
        uint8_t random[10];
        for (size_t k = 0; k < sizeof random; k++)
            random[k] = (uint8_t)(i * 37 + (int)k * 91 + (i >> 4));
        rqci_id_make((uint64_t)i * 7919 * 104729 & 0xffffffffffff, random, id);
        rqci_id_format(id, text);
        good = rqci_id_parse(text, 26, back) == RQC_OK && rqci_id_equal(id, back);
        for (size_t k = 0; k < 26; k++)
            text[k] = (char)(text[k] >= 'A' ? text[k] | 0x20 : text[k]);
        good = good && rqci_id_parse(text, 26, back) == RQC_OK && rqci_id_equal(id, back);
        for (size_t k = 0; k < 16; k++)
            snprintf(hex + 2 * k, 3, i % 2 ? "%02x" : "%02X", id[k]);
        good = good && rqci_id_parse(hex, 32, back) == RQC_OK && rqci_id_equal(id, back);
    }
    ok(good, "there and back, in either case, and from hex digits");
}

static void test_refusals(void)
{
    static const char *const bad[] = {
        "",
        "0",
        "0000000000000000000000000",
        "000000000000000000000000000",
        "80000000000000000000000000",
        "ZZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "0000000000000000000000000I",
        "0000000000000000000000000l",
        "0000000000000000000000000O",
        "0000000000000000000000000u",
        "0000000000000000000000000 ",
        "0000000000000000000000000-",
        "0000000000000000000000000@",
        "0000000000000000000000000`",
        "0000000000000000000000000{",
        "0000000000000000000000000[",
        "000000000000000000000000\xc3\xa4",
        "0000000000000000000000000000000",
        "000000000000000000000000000000000",
        "0000000000000000000000000000000g",
        "0000000000000000000000000000000G",
        "0x000000000000000000000000000000",
        "00000000-0000-0000-0000-00000000",
    };
    uint8_t id[16] = "untouched------";
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        is(rqci_id_parse(bad[i], strlen(bad[i]), id), RQC_INVALID, "refused: \"%s\"", bad[i]);
    is(rqci_id_parse("00000000000000000000000\0\0\0", 26, id), RQC_INVALID, "refused: zero bytes");
    is_mem(id, "untouched------", 16, "and nothing written");
    static const uint8_t zero[16], one[16] = {[15] = 1};
    ok(rqci_id_zero(zero) && !rqci_id_zero(one) && !rqci_id_equal(zero, one), "the zero id");
}

int main(void)
{
    test_new();
    test_rules();
    test_threads();
    test_fork();
    test_fork_under_load();
    test_text();
    test_refusals();
    return tap_done();
}
