// SPDX-License-Identifier: Apache-2.0
//
// The same changes, read in the shared view and asked of the reqcastd over its socket, in turns:
// the one question of the reads that its network door answers.
#include "bench/streams.h"

#include "base/bytes.h"
#include "replicate/message.h"
#include "replicate/sp.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

enum { WARM = 50, PATIENCE_MS = 5000 };

static const uint32_t limits[] = {1, 100, 1000};

struct door {
    rqc_read *read;
    rqc_changes_list list;
    rqci_sp sp;
    rqci_buf question;
    uint32_t number;
};

struct sum { // both sides must say the same
    uint64_t count, seqs;
};

static void add(struct sum *sum, const rqc_change *c)
{
    sum->count++;
    sum->seqs += c->seq;
}

// A session of its own, as a question of its own would need.
static void attached(struct door *d, uint64_t since, uint32_t limit, struct sum *sum)
{
    rqc_cursor cursor = RQC_CURSOR_INIT(since);
    int up_to_date;

    bench_check(rqc_read_begin(d->read), "rqc_read_begin", rqc_read_error(d->read));
    bench_check(rqc_changes(d->read, NULL, &cursor, limit, &d->list, &up_to_date), "rqc_changes",
                rqc_read_error(d->read));
    for (size_t i = 0; i < d->list.n; i++)
        add(sum, &d->list.items[i]);
    rqc_read_end(d->read);
}

static void await(struct door *d, const uint8_t **ret_p, size_t *ret_n)
{
    rqci_errbuf err = {{0}};
    rqc_err rc;

    while ((rc = rqci_sp_work(&d->sp, &err)) == RQC_OK &&
           (rc = rqci_sp_recv(&d->sp, ret_p, ret_n, &err)) == RQC_TIMEOUT) {
        struct pollfd fd = {.fd = d->sp.fd, .events = POLLIN};
        if (rqci_sp_wants_out(&d->sp))
            fd.events |= POLLOUT;
        if (poll(&fd, 1, PATIENCE_MS) <= 0)
            floor_die("the reqcastd", "does not answer");
    }
    bench_check(rc, "an answer", err.text);
}

static void asked(struct door *d, uint64_t since, uint32_t limit, struct sum *sum)
{
    const rqci_ask_changes ask = {.flags = RQCI_FRAME_ALL,
                                  .cursor = RQC_CURSOR_INIT(since),
                                  .limit = limit,
                                  .bytes = RQCI_FRAME_SEND};
    rqci_changes_answer answer;
    rqci_message m;
    rqci_errbuf err = {{0}};
    const uint8_t *p;
    size_t n, offset = 0;
    uint8_t id[4];
    rqc_change c;

    d->question.len = 0;
    bench_check(rqci_ask_changes_put(&d->question, &ask), "a question", NULL);
    rqci_put32be(id, ++d->number | 0x80000000u);
    bench_check(rqci_sp_send(&d->sp, id, sizeof id, d->question.data, d->question.len), "send",
                NULL);
    await(d, &p, &n);
    if (n < 4 || memcmp(p, id, 4) != 0)
        floor_die("the reqcastd", "answers something else");
    bench_check(rqci_message_decode(p + 4, n - 4, RQCI_ANSWER_MAGIC, &m, &err), "message",
                err.text);
    bench_check(rqci_changes_answer_decode(&m, &answer, &err), "answer", err.text);
    while (rqci_frame_next(&answer.frame, &offset, &c))
        add(sum, &c);
}

static void compare(struct streams *s, struct door *d, uint32_t limit)
{
    static struct bench_samples of[2];
    const uint32_t positions = s->data.rows - limit;
    struct sum sum[2] = {{0, 0}, {0, 0}};
    uint64_t rng = 1;
    char name[64];

    of[0].n = of[1].n = 0;
    for (uint32_t i = 0; i < WARM + s->samples; i++) {
        const uint64_t since = floor_below(&rng, positions);
        for (int side = 0; side < 2; side++) {
            const int64_t start = streams_now();
            (side ? asked : attached)(d, since, limit, &sum[side]);
            if (i >= WARM)
                bench_sample(&of[side], (double)(streams_now() - start) * 1e-3);
        }
    }
    if (sum[0].count == 0 || memcmp(&sum[0], &sum[1], sizeof sum[0]) != 0)
        floor_die("the answers", "differ");
    snprintf(name, sizeof name, "changes, up to %u", limit);
    for (int side = 0; side < 2; side++) {
        const double p50 = bench_quantile(&of[side], 0.5);
        const char *who = side ? "reqcastd, ipc" : "attached";
        printf("%-20s %-16s %8.1f %8.1f %8.1f %8.2f\n", name, who, p50,
               bench_quantile(&of[side], 0.9), bench_quantile(&of[side], 0.99),
               p50 / bench_quantile(&of[0], 0.5));
        bench_emit(&s->report, name, who, "us", p50, &of[side]);
    }
}

static void measure(struct streams *s, void *arg)
{
    static struct door d;
    rqc_options o = RQC_OPTIONS_INIT;
    rqc_error err = {RQC_OK, ""};
    rqci_errbuf why = {{0}};
    rqci_sp_addr addr;
    rqc_db *db;
    char path[320], url[320];

    (void)arg;
    snprintf(path, sizeof path, "%s/door.db", s->disk);
    snprintf(url, sizeof url, "ipc://%s/door", s->memory);
    const pid_t pid = streams_sidecar(s, path, url);
    o.view_dir = s->memory;
    bench_check(rqc_attach(path, &o, &db, &err), "rqc_attach", err.text);
    bench_check(rqc_read_new(db, &d.read, &err), "rqc_read_new", err.text);
    rqci_sp_init(&d.sp);
    bench_check(rqci_sp_resolve(url, &addr, &why), url, why.text);
    bench_check(rqci_sp_open(&d.sp, &addr, RQCI_SP_REQ, RQCI_MSG_MAX, &why), url, why.text);
    printf("\nus of reading changes behind a random position, with a session or a question each\n"
           "%-37s %8s %8s %8s %8s\n",
           "", "p50", "p90", "p99", "x");
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        compare(s, &d, limits[i]);
    rqci_sp_free(&d.sp);
    rqci_buf_free(&d.question);
    rqc_changes_free(&d.list);
    rqc_read_free(d.read);
    rqc_close(db);
    streams_sidecar_end(pid);
}

static void load(struct streams *s, void *arg)
{
    char path[320];

    (void)arg;
    snprintf(path, sizeof path, "%s/door.db", s->disk);
    streams_load(s, path, &s->data);
}

void streams_door(struct streams *s)
{
    streams_apart(s, load, NULL);
    streams_apart(s, measure, NULL);
}
