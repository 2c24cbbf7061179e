// SPDX-License-Identifier: Apache-2.0
//
// Samples, and results as JSON Lines: each line says by itself what was measured, on what.
#include "base/version.h"
#include "bench/bench.h"

#include <errno.h>
#include <jansson.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

void bench_sample(struct bench_samples *s, double v)
{
    s->seen++;
    s->max = v > s->max ? v : s->max;
    if (s->n < BENCH_SAMPLES_MAX) {
        s->v[s->n++] = v;
        return;
    }
    const uint64_t at = floor_mix(s->seen) % s->seen;
    if (at < BENCH_SAMPLES_MAX)
        s->v[at] = v;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_quantile(struct bench_samples *s, double q)
{
    if (s->n == 0)
        return 0;
    qsort(s->v, s->n, sizeof s->v[0], compare);
    return s->v[(size_t)((double)(s->n - 1) * q + 0.5)];
}

static void processor(char *text, size_t size)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "re");

    snprintf(text, size, "unknown");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon != NULL) {
            snprintf(text, size, "%s", colon + 2);
            text[strcspn(text, "\n")] = '\0';
            break;
        }
    }
    if (f != NULL)
        (void)fclose(f);
}

static const char *file_system(const char *dir)
{
    static char number[32];
    struct statfs st;

    if (statfs(dir, &st) != 0)
        return "unknown";
    switch ((unsigned long)st.f_type) {
    case TMPFS_MAGIC: return "tmpfs";
    case EXT4_SUPER_MAGIC: return "ext4";
    case XFS_SUPER_MAGIC: return "xfs";
    case BTRFS_SUPER_MAGIC: return "btrfs";
    case OVERLAYFS_SUPER_MAGIC: return "overlay";
    default: snprintf(number, sizeof number, "%lx", (unsigned long)st.f_type); return number;
    }
}

double bench_seconds(const char *text)
{
    char *end;
    double s = strtod(text, &end);

    if (end == text || *end != '\0' || !(s >= 0.01 && s <= 3600))
        floor_die(text, "is not a number of seconds in range");
    return s;
}

void bench_need_disk(const char *dir)
{
    if (strcmp(file_system(dir), "tmpfs") == 0)
        floor_die(dir, "is in memory; --dir names a folder on a disk");
}

void bench_report_open(struct bench_report *r, const char *program, const char *json,
                       const struct bench_data *data, const char *dir)
{
    *r = (struct bench_report){.program = program, .data = data, .dir = dir};
    if (json != NULL && (r->json = fopen(json, "ae")) == NULL)
        floor_die(json, strerror(errno));
    if (r->json != NULL)
        (void)setvbuf(r->json, NULL, _IOLBF, BUFSIZ); // whole lines, whatever becomes of us
}

static json_t *machine(const struct bench_report *r)
{
    char cpu[128];
    struct utsname u;

    processor(cpu, sizeof cpu);
    (void)uname(&u);
    return json_pack("{s:s, s:I, s:I, s:s, s:s}", "cpu", cpu, "cores",
                     (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "memory_bytes",
                     (json_int_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE), "kernel",
                     u.release, "file_system", file_system(r->dir));
}

void bench_emit(const struct bench_report *r, const char *name, const char *contestant,
                const char *unit, double value, struct bench_samples *s)
{
    if (r->json == NULL)
        return;
    json_t *line = json_pack("{s:s, s:s, s:s, s:f, s:s}", "bench", r->program, "name", name,
                             "contestant", contestant, "value", value, "unit", unit);
    if (s != NULL) {
        json_object_set_new(line, "samples", json_integer((json_int_t)s->seen));
        json_object_set_new(line, "p10", json_real(bench_quantile(s, 0.1)));
        json_object_set_new(line, "p90", json_real(bench_quantile(s, 0.9)));
        json_object_set_new(line, "p50", json_real(bench_quantile(s, 0.5)));
        json_object_set_new(line, "p99", json_real(bench_quantile(s, 0.99)));
        json_object_set_new(line, "max", json_real(s->max));
    }
    json_object_set_new(line, "sizes",
                        json_pack("{s:I, s:I, s:I}", "requests",
                                  (json_int_t)r->data->floor.requests, "workspaces",
                                  (json_int_t)r->data->floor.workspaces, "records",
                                  (json_int_t)r->data->rows));
    json_object_set_new(line, "machine", machine(r));
    json_object_set_new(line, "versions",
                        json_pack("{s:s, s:s, s:s, s:s, s:s}", "reqcast", rqci_version(), "sqlite",
                                  sqlite3_libversion(), "lmdb", mdb_version(NULL, NULL, NULL),
                                  "redis", *r->redis != '\0' ? r->redis : "none", "compiler",
                                  __VERSION__));
    (void)json_dumpf(line, r->json, JSON_COMPACT | JSON_REAL_PRECISION(6));
    (void)fputc('\n', r->json);
    json_decref(line);
}

void bench_report_close(struct bench_report *r)
{
    if (r->json != NULL && fclose(r->json) != 0)
        floor_die("results", "cannot be written");
}
