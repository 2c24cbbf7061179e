// SPDX-License-Identifier: Apache-2.0
// The scan that runs ahead in a thread: every record, once, in order, whoever is faster; and what
// fails on either side.
#include "api/reqcast.h"
#include "cache/internal.h"
#include "tests/faults.h"
#include "tests/rows.h"
#include "tests/tap.h"

#include <errno.h>
#include <time.h>

// Records of the source: sizes differ, every 1,000th is larger than a batch.
#define RECORDS 30000u

typedef struct fake {
    uint64_t n, fail_at; // fail_at 0: never
    uint64_t given;
    bool slow;
} fake;

typedef struct taker {
    uint64_t n, wrong, stop_at; // stop_at 0: never
    bool slow;
} taker;

static void pause_us(long us)
{
    const struct timespec t = {0, us * 1000};
    nanosleep(&t, NULL);
}

static const int texts[] = {RQC_HTTP_NAME,        RQC_HTTP_URL,        RQC_HTTP_METHOD,
                            RQC_HTTP_DESCRIPTION, RQC_HTTP_DELTA_NAME, RQC_HTTP_DELTA_URL};

// Of each text of record i.
static uint32_t text_size(uint64_t i)
{
    return i % 1000 == 999 ? 30000 : (uint32_t)(i % 61);
}

static rqc_err scan(void *ctx, uint8_t entity, rqc_err (*fn)(void *arg, rqc_record *r), void *arg,
                    rqci_errbuf *err)
{
    static char text[30000];
    fake *f = ctx;
    rqci_buf buf = {0};
    rqc_value row[RQC_HTTP_NFIELDS] = {{0}};
    rqc_err rc = RQC_OK;
    memset(text, 'x', sizeof text);
    for (uint64_t i = 0; rc == RQC_OK && i < f->n; i++) {
        uint8_t id[16] = {0};
        if (f->fail_at == i + 1) {
            rc = rqci_fail(err, RQC_IO, "record %d cannot be read", (int)i);
            break;
        }
        memcpy(id, &i, sizeof i);
        row[0] = rqc_id(id);
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
            row[texts[k]] = (rqc_value){.type = RQC_TEXT, .p = text, .n = text_size(i)};
        buf.len = 0;
        rc = rqci_rec_pack(rqci_entity_of(entity), row, 0, 0, &buf, err);
        if (f->slow && i % 500 == 0)
            pause_us(200);
        if (rc == RQC_OK)
            rc = fn(arg, (rqc_record *)(void *)buf.data);
        f->given += rc == RQC_OK;
    }
    rqci_buf_free(&buf);
    return rc;
}

static rqc_err take(void *arg, rqc_record *r)
{
    taker *t = arg;
    uint64_t i;
    memcpy(&i, rqci_rec_id(r), sizeof i);
    t->wrong += i != t->n;
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        const rqc_value v = rqc_field(r, texts[k]);
        t->wrong += v.type != RQC_TEXT || v.n != text_size(i);
    }
    rqci_rec_set_seq(r, i + 1); // it is the taker's
    if (t->slow && i % 500 == 0)
        pause_us(200);
    t->n++;
    return t->stop_at == t->n ? RQC_DIFFERENT : RQC_OK;
}

static rqc_err run(fake *f, taker *t, rqci_errbuf *err)
{
    const rqci_source src = {.ctx = f, .scan = scan};
    return rqci_scan_ahead(&src, RQCI_HTTP, take, t, err);
}

static void test_order(bool slow_source, bool slow_taker)
{
    fake f = {.n = RECORDS, .slow = slow_source};
    taker t = {.slow = slow_taker};
    ok(run(&f, &t, NULL) == RQC_OK && t.n == RECORDS && t.wrong == 0, "every record in order, %s",
       slow_source  ? "the source is slow"
       : slow_taker ? "the taker is slow"
                    : "both are fast");
}

static void test_ends(void)
{
    fake none = {.n = 0}, one = {.n = 1};
    taker t = {.n = 0};
    ok(run(&none, &t, NULL) == RQC_OK && t.n == 0, "no record at all");
    ok(run(&one, &t, NULL) == RQC_OK && t.n == 1 && t.wrong == 0, "one record");
}

static void test_failures(void)
{
    rqci_errbuf err = {{0}};
    fake f = {.n = RECORDS, .fail_at = 20001};
    taker t = {.n = 0};
    is(run(&f, &t, &err), RQC_IO, "a source that fails");
    ok(strcmp(err.text, "record 20000 cannot be read") == 0, "says why: %s", err.text);
    ok(t.n <= 20000 && t.wrong == 0, "what was taken before is right");
    f = (fake){.n = RECORDS, .fail_at = 1};
    t = (taker){.n = 0};
    ok(run(&f, &t, NULL) == RQC_IO && t.n == 0, "at once");
    for (uint64_t at = 1; at <= RECORDS; at = at * 7 + 1) {
        f = (fake){.n = RECORDS};
        t = (taker){.stop_at = at};
        ok(run(&f, &t, NULL) == RQC_DIFFERENT && t.n == at, "a taker that stops after %d", (int)at);
        ok(f.given < at + 10000, "and the source with it");
    }
}

static void test_no_thread(void)
{
    fake f = {.n = RECORDS};
    taker t = {.n = 0};
    faults_arm(FAULTS_THREAD, 1, false, EAGAIN);
    const rqc_err rc = run(&f, &t, NULL);
    is(faults_disarm(), 1u, "when no thread can be had");
    ok(rc == RQC_OK && t.n == RECORDS && t.wrong == 0, "the caller reads by itself");
}

int main(void)
{
    test_order(false, false);
    test_order(true, false);
    test_order(false, true);
    test_ends();
    test_failures();
    test_no_thread();
    return tap_done();
}
