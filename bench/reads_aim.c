// SPDX-License-Identifier: Apache-2.0
//
// What is asked for.
#include "bench/reads.h"

#include <string.h>

static void set_workspace(struct read_target *t, uint32_t ws)
{
    t->ws = ws;
    bench_workspace_id(ws, t->ws_id);
}

static void add_request(const struct bench_data *d, struct read_target *t, uint32_t req)
{
    memcpy(t->id[t->n++], d->floor.ids[(size_t)req * d->floor.per_request], 16);
}

static void aim_one(const struct bench_data *d, uint64_t *rng, struct read_target *t)
{
    t->n = 0;
    add_request(d, t, floor_below(rng, d->floor.requests));
}

static void aim_first_page(const struct bench_data *d, uint64_t *rng, struct read_target *t)
{
    set_workspace(t, floor_below(rng, d->floor.workspaces));
    t->until = RQC_ANY_TIME;
}

static void aim_middle_page(const struct bench_data *d, uint64_t *rng, struct read_target *t)
{
    uint32_t req = d->floor.requests / 4 + floor_below(rng, d->floor.requests / 2);

    set_workspace(t, floor_ws(&d->floor, req));
    t->until = floor_updated_at(req);
}

static void aim_newest(const struct bench_data *d, uint64_t *rng, struct read_target *t)
{
    uint32_t ws = floor_below(rng, d->floor.workspaces), all = d->floor.workspaces;
    int64_t req = d->floor.requests - 1 - (d->floor.requests - 1 - ws) % all;

    for (t->n = 0; t->n < READ_IDS && req >= 0; req -= all)
        add_request(d, t, (uint32_t)req);
}

static void aim_random(const struct bench_data *d, uint64_t *rng, struct read_target *t)
{
    uint32_t n = d->floor.requests < READ_IDS ? d->floor.requests : READ_IDS;
    uint32_t step = d->floor.requests / n, at = floor_below(rng, step);

    // One of each n-th, so that none comes twice; then in no order.
    t->n = 0;
    for (uint32_t i = 0; i < n; i++)
        add_request(d, t, i * step + (at + floor_below(rng, step)) % step);
    for (uint32_t i = n; i > 1; i--) {
        uint8_t keep[16];
        uint32_t j = floor_below(rng, i);
        memcpy(keep, t->id[i - 1], 16);
        memcpy(t->id[i - 1], t->id[j], 16);
        memcpy(t->id[j], keep, 16);
    }
}

// Behind some request of the older half; the position itself is looked up once the view is there.
static void aim_changes(const struct bench_data *d, uint64_t *rng, struct read_target *t)
{
    uint32_t req = floor_below(rng, d->floor.requests / 2);

    set_workspace(t, floor_ws(&d->floor, req));
    t->n = 0;
    add_request(d, t, req);
}

static void aim_resolve(const struct bench_data *d, uint64_t *rng, struct read_target *t)
{
    uint32_t family = floor_below(rng, d->families / 2) * 2;

    t->n = 0;
    add_request(d, t, bench_family_base(d, family));
    bench_delta_id(d, family, floor_below(rng, BENCH_DELTAS), t->id[t->n++]);
}

static void aim_chain(const struct bench_data *d, uint64_t *rng, struct read_target *t)
{
    t->n = 0;
    add_request(d, t, bench_family_base(d, floor_below(rng, d->families / 2) * 2 + 1));
}

// Sixty requests of one workspace.
static void aim_window(const struct bench_data *d, uint64_t *rng, struct read_target *t)
{
    uint32_t req = floor_below(rng, d->floor.requests - d->floor.requests / 10);

    set_workspace(t, floor_ws(&d->floor, req));
    t->since = floor_updated_at(req);
    t->until = t->since + INT64_C(3600) * d->floor.workspaces;
}

static void aim_deltas(const struct bench_data *d, uint64_t *rng, struct read_target *t)
{
    uint32_t base = bench_family_base(d, floor_below(rng, d->families / 2) * 2);

    t->n = 0;
    add_request(d, t, base);
    t->since = floor_updated_at(base);
    t->until = t->since + BENCH_DELTAS;
}

static void aim_metrics(const struct bench_data *d, uint64_t *rng, struct read_target *t)
{
    set_workspace(t, floor_below(rng, d->floor.workspaces));
    t->since = floor_updated_at(d->floor.requests - 1) - INT64_C(3600) * d->floor.workspaces;
}

const struct read_op_info read_ops[OP_COUNT_OF_OPS] = {
    [OP_BEGIN] = {"begin and end", 128, aim_one},
    [OP_GET] = {"get by id", 128, aim_one},
    [OP_PAGE_FIRST] = {"page of 50, first", 32, aim_first_page},
    [OP_PAGE_MIDDLE] = {"page of 50, middle", 32, aim_middle_page},
    [OP_COUNT] = {"count", 128, aim_first_page},
    [OP_HEADERS_NEWEST] = {"headers of newest 100", 4, aim_newest},
    [OP_HEADERS_RANDOM] = {"headers of random 100", 4, aim_random},
    [OP_CHILDREN] = {"headers, params of 1", 64, aim_one},
    [OP_CHANGES] = {"changes 1000", 1, aim_changes},
    [OP_RESOLVE] = {"resolve overlay", 32, aim_resolve},
    [OP_CHAIN] = {"chain of 10", 32, aim_chain},
    [OP_UPDATES] = {"updates, window of 60", 32, aim_window},
    [OP_DELTAS] = {"deltas of a base", 32, aim_deltas},
    [OP_METRICS] = {"metrics", 64, aim_metrics},
};
