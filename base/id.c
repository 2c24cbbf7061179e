// SPDX-License-Identifier: Apache-2.0
#include "base/id.h"

#include "base/bytes.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>
#include <time.h>

#define TIME_MAX ((UINT64_C(1) << 48) - 1)
#define RANDOM   10

// One last id for the whole process, because ids shall be in order across threads. Under the lock
// there is an addition, and once a millisecond a call for randomness.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint8_t last[16];
static bool fresh; // last was made in this process
static int atfork_error;

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork_parent(void)
{
    pthread_mutex_unlock(&lock);
}

static void after_fork_child(void)
{
    fresh = false;
    pthread_mutex_unlock(&lock);
}

static void register_fork(void)
{
    atfork_error = pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

static rqc_err draw(uint8_t *p, size_t n)
{
    while (n > 0) {
        const ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return RQC_IO;
        p += got;
        n -= (size_t)got;
    }
    return RQC_OK;
}

static uint64_t id_time(const uint8_t id[16])
{
    return rqci_get64be(id) >> 16;
}

void rqci_id_make(uint64_t ms, const uint8_t random[10], uint8_t ret_id[16])
{
    const uint64_t t = (ms < TIME_MAX ? ms : TIME_MAX) << 16;
    rqci_put64be(ret_id, t);
    memcpy(ret_id + 6, random, RANDOM);
}

void rqci_id_after(const uint8_t id[16], uint8_t ret_id[16])
{
    const uint64_t lo = rqci_get64be(id + 8) + 1;
    const uint64_t hi = rqci_get64be(id) + (lo == 0);
    rqci_put64be(ret_id, hi);
    rqci_put64be(ret_id + 8, lo);
}

// With the lock held.
static rqc_err next_id(uint64_t ms, uint8_t ret_id[16])
{
    if (fresh && ms <= id_time(last)) {
        rqci_id_after(last, last);
    } else {
        // A child keeps to its parent's time when the clock stepped back: the parent's ids stay
        // below its own.
        uint8_t random[RANDOM];
        const rqc_err rc = draw(random, sizeof random);
        if (rc != RQC_OK)
            return rc;
        rqci_id_make(ms > id_time(last) ? ms : id_time(last), random, last);
        fresh = true;
    }
    memcpy(ret_id, last, sizeof last);
    return RQC_OK;
}

rqc_err rqci_id_new(uint8_t ret_id[16])
{
    pthread_once(&once, register_fork);
    if (atfork_error != 0)
        return RQC_NO_MEMORY;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return RQC_IO;
    const uint64_t ms =
        now.tv_sec < 0 ? 0 : (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    pthread_mutex_lock(&lock);
    const rqc_err rc = next_id(ms, ret_id);
    pthread_mutex_unlock(&lock);
    return rc;
}

void rqci_id_format(const uint8_t id[16], char ret_text[RQCI_ID_TEXT + 1])
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    uint64_t hi = rqci_get64be(id);
    uint64_t lo = rqci_get64be(id + 8);
    for (int i = RQCI_ID_TEXT - 1; i >= 0; i--) {
        ret_text[i] = digits[lo & 31];
        lo = lo >> 5 | hi << 59;
        hi >>= 5;
    }
    ret_text[RQCI_ID_TEXT] = '\0';
}

// Value of a digit of Crockford's base 32, 255 for others; I, L, O and U are none, so that each id
// has one spelling.
static unsigned base32_value(char c)
{
    static const uint8_t values[26] = {10, 11,  12, 13, 14, 15, 16, 17,  255, 18, 19, 255, 20,
                                       21, 255, 22, 23, 24, 25, 26, 255, 27,  28, 29, 30,  31};
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    const char upper = (char)(c & ~0x20);
    if (upper >= 'A' && upper <= 'Z')
        return values[upper - 'A'];
    return 255;
}

static unsigned hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    const char upper = (char)(c & ~0x20);
    if (upper >= 'A' && upper <= 'F')
        return (unsigned)(upper - 'A') + 10;
    return 255;
}

rqc_err rqci_id_parse(const char *text, size_t len, uint8_t ret_id[16])
{
    if (len != RQCI_ID_TEXT && len != 32)
        return RQC_INVALID;
    const unsigned bits = len == 32 ? 4 : 5;
    if (bits == 5 && base32_value(text[0]) > 7)
        return RQC_INVALID;
    uint64_t hi = 0, lo = 0;
    for (size_t i = 0; i < len; i++) {
        const unsigned v = bits == 4 ? hex_value(text[i]) : base32_value(text[i]);
        if (v > 31)
            return RQC_INVALID;
        hi = hi << bits | lo >> (64 - bits);
        lo = lo << bits | v;
    }
    rqci_put64be(ret_id, hi);
    rqci_put64be(ret_id + 8, lo);
    return RQC_OK;
}
