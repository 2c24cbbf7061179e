// SPDX-License-Identifier: Apache-2.0
//
// The rows that the benchmarks store: everything follows from numbers.
#include "bench/bench.h"

#include <string.h>

enum { FAMILIES_PER_THOUSAND = 20, FAMILIES_MIN = 2, DELTA_HEADERS = 3 };

static const char *const methods[] = {"GET", "POST", "PUT", "DELETE"};

void bench_data_make(struct bench_data *d, uint32_t requests, uint32_t workspaces)
{
    *d = (struct bench_data){
        .floor = {.requests = requests, .workspaces = workspaces, .children = BENCH_CHILDREN}};
    d->families = requests / 1000 * FAMILIES_PER_THOUSAND;
    if (d->families < FAMILIES_MIN)
        d->families = FAMILIES_MIN;
    floor_data_make(&d->floor);
    d->rows =
        workspaces + d->floor.records + d->families / 2 * BENCH_DELTAS * (1 + BENCH_DELTA_ROWS);
}

void bench_data_free(struct bench_data *d)
{
    floor_data_free(&d->floor);
}

void bench_workspace_id(uint32_t ws, uint8_t id[16])
{
    memset(id, 0xab, 16);
    floor_put_be32(id, ws);
}

// As floor_data makes them: time, then what looks random.
static void make_id(uint64_t ms, uint64_t number, uint8_t id[16])
{
    uint64_t lo = floor_mix(number * 2), hi = floor_mix(number * 2 + 1);

    floor_put_be64(id, ms << 16 | (hi & 0xffff));
    memcpy(id + 8, &lo, 8);
}

static int64_t request_time(uint64_t req)
{
    return floor_updated_at(0) + (int64_t)req * 60;
}

static void request_id(const struct bench_data *d, uint64_t req, uint32_t k, uint8_t id[16])
{
    uint64_t rec = req * d->floor.per_request + k;

    if (rec < d->floor.records)
        memcpy(id, d->floor.ids[rec], 16);
    else
        make_id((uint64_t)request_time(req) * 1000 + k, rec, id);
}

uint32_t bench_family_base(const struct bench_data *d, uint32_t family)
{
    return (uint32_t)((uint64_t)family * d->floor.requests / d->families);
}

// Row `row` of delta `k`: 0 the delta itself, then its children.
static void delta_row_id(const struct bench_data *d, uint32_t family, uint32_t k, uint32_t row,
                         uint8_t id[16])
{
    uint64_t number = ((uint64_t)family * BENCH_DELTAS + k) * BENCH_DELTA_ROWS + row;
    uint64_t ms = (uint64_t)request_time(bench_family_base(d, family)) * 1000 + 100 +
                  k * BENCH_DELTA_ROWS + row;

    make_id(ms, number + (UINT64_C(1) << 40), id);
}

void bench_delta_id(const struct bench_data *d, uint32_t family, uint32_t k, uint8_t id[16])
{
    delta_row_id(d, family, k, 0, id);
}

// ---- values -------------------------------------------------------------------------------------

// Appends letters to the row's text and returns them as a value.
static rqc_value letters(struct bench_row *row, size_t *at, uint64_t seed, size_t n)
{
    char *p = row->text + *at;

    for (size_t i = 0; i < n; i++)
        p[i] = (char)('a' + (floor_mix(seed + i / 8) >> (i % 8 * 8) & 15));
    *at += n;
    return rqc_textn(p, (uint32_t)n);
}

static void all_null(struct bench_row *row, int fields)
{
    for (int i = 0; i < fields; i++)
        row->value[i] = rqc_null();
}

void bench_workspace_row(uint32_t ws, struct bench_row *row)
{
    size_t at = 0;

    row->entity = RQC_WORKSPACES;
    bench_workspace_id(ws, row->id);
    all_null(row, RQC_WORKSPACES_NFIELDS);
    row->value[RQC_WORKSPACES_ID] = rqc_id(row->id);
    row->value[RQC_WORKSPACES_NAME] = letters(row, &at, ws, 16);
    row->value[RQC_WORKSPACES_UPDATED] = rqc_int(request_time(0));
    row->value[RQC_WORKSPACES_COLLECTION_COUNT] = rqc_int(0);
    row->value[RQC_WORKSPACES_FLOW_COUNT] = rqc_int(0);
    row->value[RQC_WORKSPACES_DISPLAY_ORDER] = rqc_real(ws);
}

// The id is set; the owner becomes the workspace.
static void http_row(const struct bench_data *d, uint64_t req, int64_t time, uint64_t seed,
                     struct bench_row *row)
{
    size_t at = 0, n = 56 + floor_mix(req) % 8 * 8;
    rqc_value *v = row->value;

    row->entity = RQC_HTTP;
    bench_workspace_id((uint32_t)(req % d->floor.workspaces), row->owner);
    all_null(row, RQC_HTTP_NFIELDS);
    v[RQC_HTTP_ID] = rqc_id(row->id);
    v[RQC_HTTP_WORKSPACE_ID] = rqc_id(row->owner);
    v[RQC_HTTP_NAME] = letters(row, &at, seed, 24);
    v[RQC_HTTP_URL] = letters(row, &at, seed + 100, n);
    v[RQC_HTTP_METHOD] = rqc_text(methods[req % 4]);
    v[RQC_HTTP_BODY_KIND] = rqc_int(2);
    v[RQC_HTTP_DESCRIPTION] = rqc_text("");
    v[RQC_HTTP_IS_DELTA] = rqc_bool(0);
    v[RQC_HTTP_IS_SNAPSHOT] = rqc_bool(0);
    v[RQC_HTTP_CREATED_AT] = rqc_int(time);
    v[RQC_HTTP_UPDATED_AT] = rqc_int(time);
}

// Id and owner are set.
static void header_row(uint32_t k, int64_t time, uint64_t seed, struct bench_row *row)
{
    size_t at = 0, n = 16 + floor_mix((uint64_t)time + k) % 8 * 8;
    rqc_value *v = row->value;

    row->entity = RQC_HTTP_HEADER;
    all_null(row, RQC_HTTP_HEADER_NFIELDS);
    v[RQC_HTTP_HEADER_ID] = rqc_id(row->id);
    v[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(row->owner);
    v[RQC_HTTP_HEADER_HEADER_KEY] = letters(row, &at, seed, 12);
    v[RQC_HTTP_HEADER_HEADER_VALUE] = letters(row, &at, seed + 100, n);
    v[RQC_HTTP_HEADER_DESCRIPTION] = rqc_text("");
    v[RQC_HTTP_HEADER_ENABLED] = rqc_bool(1);
    v[RQC_HTTP_HEADER_IS_DELTA] = rqc_bool(0);
    v[RQC_HTTP_HEADER_DISPLAY_ORDER] = rqc_real(k);
    v[RQC_HTTP_HEADER_CREATED_AT] = rqc_int(time);
    v[RQC_HTTP_HEADER_UPDATED_AT] = rqc_int(time);
}

static void param_row(uint32_t k, int64_t time, uint64_t seed, struct bench_row *row)
{
    size_t at = 0, n = 8 + floor_mix((uint64_t)time + k) % 8 * 8;
    rqc_value *v = row->value;

    row->entity = RQC_HTTP_SEARCH_PARAM;
    all_null(row, RQC_HTTP_SEARCH_PARAM_NFIELDS);
    v[RQC_HTTP_SEARCH_PARAM_ID] = rqc_id(row->id);
    v[RQC_HTTP_SEARCH_PARAM_HTTP_ID] = rqc_id(row->owner);
    v[RQC_HTTP_SEARCH_PARAM_KEY] = letters(row, &at, seed, 8);
    v[RQC_HTTP_SEARCH_PARAM_VALUE] = letters(row, &at, seed + 100, n);
    v[RQC_HTTP_SEARCH_PARAM_ENABLED] = rqc_bool(1);
    v[RQC_HTTP_SEARCH_PARAM_DESCRIPTION] = rqc_text("");
    v[RQC_HTTP_SEARCH_PARAM_DISPLAY_ORDER] = rqc_real(k);
    v[RQC_HTTP_SEARCH_PARAM_IS_DELTA] = rqc_bool(0);
    v[RQC_HTTP_SEARCH_PARAM_CREATED_AT] = rqc_int(time);
    v[RQC_HTTP_SEARCH_PARAM_UPDATED_AT] = rqc_int(time);
}

void bench_request_row(const struct bench_data *d, uint64_t req, uint32_t k, uint32_t version,
                       struct bench_row *row)
{
    uint64_t seed = floor_mix(req * d->floor.per_request + k) + version;
    int64_t time = request_time(req);

    request_id(d, req, k, row->id);
    if (k == 0) {
        http_row(d, req, time, seed, row);
        return;
    }
    request_id(d, req, 0, row->owner);
    if (k <= BENCH_CHILDREN)
        header_row(k - 1, time, seed, row);
    else
        param_row(k - 1 - BENCH_CHILDREN, time, seed, row);
}

// ---- deltas -------------------------------------------------------------------------------------

static void delta_row(const struct bench_data *d, uint32_t family, uint32_t k,
                      struct bench_row *row)
{
    uint32_t base = bench_family_base(d, family);

    delta_row_id(d, family, k, 0, row->id);
    http_row(d, base, request_time(base) + 1 + k, floor_mix(base) + k, row);
    if (family % 2 == 1 && k > 0)
        bench_delta_id(d, family, k - 1, row->parent);
    else
        request_id(d, base, 0, row->parent);
    row->value[RQC_HTTP_PARENT_HTTP_ID] = rqc_id(row->parent);
    row->value[RQC_HTTP_IS_DELTA] = rqc_bool(1);
    row->value[k % 2 ? RQC_HTTP_DELTA_URL : RQC_HTTP_DELTA_NAME] = row->value[RQC_HTTP_URL];
}

// Two overrides of the base's headers, a new header, an override of a param.
static void delta_child_row(const struct bench_data *d, uint32_t family, uint32_t k, uint32_t n,
                            struct bench_row *row)
{
    uint32_t base = bench_family_base(d, family);
    int64_t time = request_time(base) + 1 + k;
    bool param = n > DELTA_HEADERS, addition = n == DELTA_HEADERS;

    delta_row_id(d, family, k, n, row->id);
    bench_delta_id(d, family, k, row->owner);
    if (param)
        param_row(n, time, floor_mix(base) + n, row);
    else
        header_row(n, time, floor_mix(base) + n, row);
    if (addition)
        return;
    request_id(d, base, param ? 1 + BENCH_CHILDREN : n, row->parent);
    rqc_value *v = row->value;
    v[param ? RQC_HTTP_SEARCH_PARAM_IS_DELTA : RQC_HTTP_HEADER_IS_DELTA] = rqc_bool(1);
    v[param ? RQC_HTTP_SEARCH_PARAM_PARENT_HTTP_SEARCH_PARAM_ID
            : RQC_HTTP_HEADER_PARENT_HEADER_ID] = rqc_id(row->parent);
    v[param ? RQC_HTTP_SEARCH_PARAM_DELTA_VALUE : RQC_HTTP_HEADER_DELTA_HEADER_VALUE] =
        v[param ? RQC_HTTP_SEARCH_PARAM_VALUE : RQC_HTTP_HEADER_HEADER_VALUE];
}

static void each_of_family(const struct bench_data *d, uint32_t family,
                           void (*fn)(void *ctx, const struct bench_row *row), void *ctx)
{
    struct bench_row row;

    for (uint32_t k = 0; k < BENCH_DELTAS; k++) {
        delta_row(d, family, k, &row);
        fn(ctx, &row);
        for (uint32_t n = 1; n < BENCH_DELTA_ROWS && family % 2 == 0; n++) {
            delta_child_row(d, family, k, n, &row);
            fn(ctx, &row);
        }
    }
}

void bench_each_row(const struct bench_data *d, void (*fn)(void *ctx, const struct bench_row *row),
                    void *ctx)
{
    struct bench_row row;
    uint32_t family = 0;

    for (uint32_t ws = 0; ws < d->floor.workspaces; ws++) {
        bench_workspace_row(ws, &row);
        fn(ctx, &row);
    }
    for (uint32_t req = 0; req < d->floor.requests; req++) {
        for (uint32_t k = 0; k < d->floor.per_request; k++) {
            bench_request_row(d, req, k, 0, &row);
            fn(ctx, &row);
        }
        for (; family < d->families && bench_family_base(d, family) == req; family++)
            each_of_family(d, family, fn, ctx);
    }
}
