// SPDX-License-Identifier: Apache-2.0
//
// Errors, log lines, buffers, base 64, UTF-8: the small things that everything rests on.
#include "tap.h"

#include "base/base64.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/utf8.h"

static void test_codes(void)
{
    static const struct {
        rqc_err code;
        const char *name;
        int number;
    } codes[] = {
#define ROW(name, number, text, exit_status) {name, #name, number},
        RQCI_ERRORS(ROW)
#undef ROW
    };
    const size_t n = sizeof codes / sizeof *codes;
    bool numbered = true, told = true, ranged = true;
    for (size_t i = 0; i < n; i++) {
        numbered = numbered && (int)codes[i].code == codes[i].number && codes[i].number == (int)i;
        const char *text = rqci_err_text(codes[i].code);
        told = told && text[0] && strcmp(text, "unknown error") != 0;
        for (size_t k = 0; k < i; k++)
            told = told && strcmp(text, rqci_err_text(codes[k].code)) != 0;
        const int status = rqci_err_exit_status(codes[i].code);
        ranged = ranged && (i == 0 ? status == 0 : status >= 1 && status <= 5);
    }
    is(n, 23, "there are 23 codes");
    ok(numbered, "numbered without holes");
    ok(told, "each has a text of its own");
    ok(ranged, "and an exit status");
    is(rqci_err_text((rqc_err)99), "unknown error", "text of a code that is none");
    is(rqci_err_text((rqc_err)-1), "unknown error", "text of a negative code");
    is(rqci_err_exit_status((rqc_err)99), 5, "exit status of a code that is none");
    is(rqci_err_exit_status(RQC_NOT_FOUND), 1, "not found is a negative answer");
    is(rqci_err_exit_status(RQC_INVALID), 3, "invalid is bad input");
    is(rqci_err_exit_status(RQC_BUSY), 4, "busy is not available");
    is(rqci_err_exit_status(RQC_IO), 5, "I/O is a storage fault");
}

static void test_details(void)
{
    rqci_errbuf e = {""};
    is(rqci_fail(&e, RQC_IO, "%s: %d", "file", 5), RQC_IO, "fail returns its code");
    is(e.text, "file: 5", "and writes the detail");
    is(rqci_fail_within(&e, RQC_CORRUPT, "page %d", 7), RQC_CORRUPT, "within returns its code");
    is(e.text, "page 7: file: 5", "and writes before the detail");
    rqci_fail(&e, RQC_IO, "again: %s", e.text);
    is(e.text, "again: page 7: file: 5", "a detail may be made from itself");
    rqci_fail_within(&e, RQC_IO, "%s", e.text);
    is(e.text, "again: page 7: file: 5: again: page 7: file: 5", "also within");
    rqci_errbuf empty = {""};
    rqci_fail_within(&empty, RQC_IO, "alone");
    is(empty.text, "alone", "within, without a detail");
    is(rqci_fail(NULL, RQC_BUSY, "x"), RQC_BUSY, "nobody wants the detail");
    is(rqci_fail_within(NULL, RQC_BUSY, "x"), RQC_BUSY, "nor what it was within");
}

static void test_cut(void)
{
    rqci_errbuf e = {""};
    char text[2000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    rqci_fail(&e, RQC_IO, "%s", text);
    is(strlen(e.text), sizeof e.text - 1, "a long detail is cut");
    rqci_fail_within(&e, RQC_IO, "%s", "before");
    is(strlen(e.text), sizeof e.text - 1, "and cut again");
    is(strncmp(e.text, "before: aaa", 11), 0, "behind what it was within");
    // A character of three bytes over the end.
    memcpy(text + 510, "\xe2\x82\xac", 3);
    rqci_fail(&e, RQC_IO, "%s", text);
    is(strlen(e.text), 510, "no half character is left");
    memcpy(text + 508, "\xe2\x82\xac\xe2\x82\xac", 6);
    rqci_fail(&e, RQC_IO, "%s", text);
    is(strlen(e.text), 511, "a whole one stays");
}

struct heard {
    int level, times;
    char text[1100];
};

static void hear(void *ctx, int level, const char *text)
{
    struct heard *h = ctx;
    h->level = level;
    h->times++;
    snprintf(h->text, sizeof h->text, "%s", text);
}

static void test_log(void)
{
    struct heard h = {0};
    const rqci_log log = {hear, &h};
    rqci_logf(&log, RQCI_WARN, "%s %d", "line", 3);
    is(h.text, "line 3", "the callback gets the line");
    is(h.level, 2, "and its level");
    char text[2000];
    memset(text, 'b', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    rqci_logf(&log, RQCI_ERROR, "%s", text);
    is(strlen(h.text), 1023, "a long line is cut");
    const rqci_log deaf = {NULL, &h};
    rqci_logf(&deaf, RQCI_ERROR, "x");
    rqci_logf(NULL, RQCI_ERROR, "x");
    is(h.times, 2, "without a callback nothing happens");
}

static void test_buf(void)
{
    rqci_buf b = {0};
    is(rqci_buf_add(&b, NULL, 0), RQC_OK, "nothing is added to an empty buffer");
    is((void *)b.data, NULL, "which stays without memory");
    bool good = true;
    for (int i = 0; i < 10000; i++) {
        const uint8_t c = (uint8_t)i;
        good = good && rqci_buf_add(&b, &c, 1) == RQC_OK;
    }
    for (size_t i = 0; good && i < b.len; i++)
        good = b.data[i] == (uint8_t)i;
    ok(good && b.len == 10000 && b.cap >= b.len, "ten thousand bytes, one by one");
    is((uintptr_t)b.data % _Alignof(max_align_t), 0, "aligned for any type");
    is(rqci_buf_reserve(&b, SIZE_MAX), RQC_TOO_LARGE, "more than there is");
    is(rqci_buf_reserve(&b, SIZE_MAX / 2), RQC_TOO_LARGE, "together more than half");
    is(b.len, 10000, "a refusal changes nothing");
    is(rqci_buf_reserve(&b, 100000), RQC_OK, "room");
    ok(b.cap - b.len >= 100000, "is there");
    rqci_buf_free(&b);
    ok(!b.data && b.len == 0 && b.cap == 0, "free leaves an empty buffer");
    rqci_buf_free(&b);
    rqci_buf_free(NULL);
}

static void test_base64(void)
{
    // RFC 4648, section 10.
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    rqci_buf b = {0};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        b.len = 0;
        const char *plain = pairs[i][0], *text = pairs[i][1];
        bool good = rqci_base64_encode(&b, plain, strlen(plain)) == RQC_OK &&
                    b.len == strlen(text) && (b.len == 0 || memcmp(b.data, text, b.len) == 0);
        b.len = 0;
        good = good && rqci_base64_decode(&b, text, strlen(text)) == RQC_OK &&
               b.len == strlen(plain) && (b.len == 0 || memcmp(b.data, plain, b.len) == 0);
        ok(good, "base 64: \"%s\"", plain);
    }
    uint8_t all[256];
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)i;
    rqci_buf back = {0};
    b.len = 0;
    ok(rqci_base64_encode(&b, all, sizeof all) == RQC_OK &&
           rqci_base64_decode(&back, (const char *)b.data, b.len) == RQC_OK &&
           back.len == sizeof all && memcmp(back.data, all, sizeof all) == 0,
       "all bytes go there and back");
    static const char *const bad[] = {"Z",    "Zg",       "Zg=",        "Zh==",
                                      "Zm9=", "Zg==Zg==", "====",       "=m9v",
                                      "Z===", "Zm 9v",    "Zm9v\n",     "Zm9_",
                                      "Zm9-", "Zm=v",     "\xc3\xa4==", "Zg==\n\n\n\n"};
    back.len = 3;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        is(rqci_base64_decode(&back, bad[i], strlen(bad[i])), RQC_INVALID, "base 64 refuses \"%s\"",
           bad[i]);
    is(back.len, 3, "and appends nothing");
    rqci_buf_free(&b);
    rqci_buf_free(&back);
}

// A decoder that knows nothing of tricks: value of the character at p, -1 when it is none.
static long utf8_by_hand(const uint8_t *p, size_t n, size_t *ret_len)
{
    static const uint32_t lowest[] = {0, 0x80, 0x800, 0x10000};
    const size_t more = p[0] < 0x80             ? 0
                        : (p[0] & 0xe0) == 0xc0 ? 1
                        : (p[0] & 0xf0) == 0xe0 ? 2
                        : (p[0] & 0xf8) == 0xf0 ? 3
                                                : 9;
    if (more >= n)
        return -1;
    uint32_t c = more == 0 ? p[0] : p[0] & (0x3fu >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return -1;
        c = c << 6 | (p[i] & 0x3f);
    }
    *ret_len = more + 1;
    return c < lowest[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? -1 : (long)c;
}

static size_t span_by_hand(const uint8_t *p, size_t n)
{
    size_t i = 0, len = 0;
    while (i < n && utf8_by_hand(p + i, n - i, &len) >= 0)
        i += len;
    return i;
}

static void test_utf8(void)
{
    is(rqci_utf8_span(NULL, 0), 0, "UTF-8: nothing");
    is(rqci_utf8_span("abcdefghijkl\xff", 13), 12, "UTF-8: a bad byte behind eight good ones");
    is(rqci_utf8_span("\0\0", 2), 2, "UTF-8: zero bytes are characters");
    // All sequences of up to three bytes, and of four where the first two can begin one.
    bool good = true;
    for (uint32_t v = 0; v < 1u << 24; v++) {
        const uint8_t p[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        if (p[0] < 0x80 && v % 251)
            continue;
        good = good && rqci_utf8_span(p, 3) == span_by_hand(p, 3);
    }
    ok(good, "UTF-8: three bytes, as a plain decoder says");
    good = true;
    for (uint32_t v = 0; v < 1u << 22; v++) {
        const uint8_t p[4] = {(uint8_t)(0xf0 | v >> 19), (uint8_t)(v >> 11 & 0xff),
                              (uint8_t)(0x7e + (v >> 9 & 3)), (uint8_t)(v >> 1 & 0xff)};
        good = good && rqci_utf8_span(p, 4) == span_by_hand(p, 4);
    }
    ok(good, "UTF-8: four bytes, as a plain decoder says");
}

static void test_hash(void)
{
    // From xxHash's own library: "" and "reqcast".
    is(rqci_xxh64(NULL, 0), UINT64_C(0x2d06800538d394c2), "XXH3-64 of nothing");
    uint8_t bytes[3000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    rqci_hasher h;
    bool good = true;
    for (size_t n = 0; n <= sizeof bytes; n += 37) {
        rqci_hasher_init(&h);
        for (size_t i = 0; i < n; i += 100)
            rqci_hasher_add(&h, bytes + i, n - i < 100 ? n - i : 100);
        const rqci_hash128 a = rqci_hasher_end128(&h), b = rqci_xxh128(bytes, n);
        good =
            good && a.lo == b.lo && a.hi == b.hi && rqci_hasher_end64(&h) == rqci_xxh64(bytes, n);
    }
    ok(good, "in pieces or at once: the same hash");
}

int main(void)
{
    test_codes();
    test_details();
    test_cut();
    test_log();
    test_buf();
    test_base64();
    test_utf8();
    test_hash();
    return tap_done();
}
