// SPDX-License-Identifier: Apache-2.0
//
// memory [--requests N] [--workspaces N] [--dir DIR] [--json FILE]
//
// What the view's bytes are: for each of its databases the entries, what keys and values take, the
// pages, and how full those are; beside the records themselves and the SQLite file.
#include "bench/bench.h"
#include "record/record.h"

#include <dirent.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DBS_MAX = 16, LIST = 5000, NODE = 8, SLOT = 2, PAGE_HEAD = 16 };

struct options {
    uint32_t requests, workspaces;
    const char *dir, *json;
};

struct memory {
    struct bench_data data;
    struct bench_report report;
    char path[320];
    uint64_t payload, records; // packed records, each once
    rqc_stats stats;
};

// What one database takes.
struct part {
    MDB_stat st;
    uint64_t keys, values;  // bytes
    uint64_t inside;        // bytes of nodes in leaves
    uint64_t pages, leaves; // bytes
};

// The packed records as all changes from the beginning give them.
static void sum_payload(struct memory *m, rqc_db *db)
{
    rqc_changes_list list = {0};
    rqc_cursor cursor = {0};
    rqc_error err = {RQC_OK, ""};
    rqc_read *r = NULL;
    int up_to_date = 0;

    bench_check(rqc_read_new(db, &r, &err), "rqc_read_new", err.text);
    while (!up_to_date) {
        bench_check(rqc_read_begin(r), "rqc_read_begin", rqc_read_error(r));
        bench_check(rqc_changes(r, NULL, &cursor, LIST, &list, &up_to_date), "rqc_changes",
                    rqc_read_error(r));
        for (size_t i = 0; i < list.n; i++) {
            if (list.items[i].record == NULL)
                continue;
            m->payload += rqci_rec_size(list.items[i].record);
            m->records++;
        }
        rqc_read_end(r);
    }
    rqc_changes_free(&list);
    rqc_read_free(r);
}

// The folder below `in` that begins with `name`; only one is there.
static void descend(char *path, size_t size, const char *name)
{
    const size_t n = strlen(path);
    DIR *d = opendir(path);
    const struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL) {
        if (strchr(e->d_name, '.') != NULL || strncmp(e->d_name, name, strlen(name)) != 0)
            continue;
        snprintf(path + n, size - n, "/%s", e->d_name);
        break;
    }
    if (d != NULL)
        (void)closedir(d);
    if (path[n] == '\0')
        floor_die(path, "has no view in it");
}

static void measure(MDB_txn *txn, MDB_dbi dbi, struct part *p)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    int rc;

    memset(p, 0, sizeof *p);
    floor_mdb(mdb_stat(txn, dbi, &p->st), "mdb_stat");
    floor_mdb(mdb_cursor_open(txn, dbi, &cursor), "mdb_cursor_open");
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        const size_t in_page =
            value.mv_size > p->st.ms_psize / 2 ? sizeof(uint64_t) : value.mv_size;
        p->keys += key.mv_size;
        p->values += value.mv_size;
        p->inside += (NODE + SLOT + key.mv_size + in_page + 1) & ~UINT64_C(1);
    }
    if (rc != MDB_NOTFOUND)
        floor_mdb(rc, "mdb_cursor_get");
    mdb_cursor_close(cursor);
    p->leaves = (uint64_t)p->st.ms_leaf_pages * (p->st.ms_psize - PAGE_HEAD);
    p->pages = ((uint64_t)p->st.ms_leaf_pages + p->st.ms_branch_pages + p->st.ms_overflow_pages) *
               p->st.ms_psize;
}

static void emit(const struct memory *m, const char *what, const char *of, const char *unit,
                 double value)
{
    char name[96];

    snprintf(name, sizeof name, "%s, %s", what, of);
    bench_emit(&m->report, name, "reqcast", unit, value, NULL);
}

static void print_part(const struct memory *m, const char *name, const struct part *p)
{
    const double n = (double)m->records, fill = (double)p->inside / (double)p->leaves;

    printf("%-10s %10zu %10.1f %10.1f %10.1f %8.1f %% %6u %8zu %8zu\n", name, p->st.ms_entries,
           (double)p->keys / n, (double)p->values / n, (double)p->pages / n, fill * 100,
           p->st.ms_depth, p->st.ms_branch_pages, p->st.ms_overflow_pages);
    emit(m, "view entries", name, "entries", (double)p->st.ms_entries);
    emit(m, "view keys", name, "bytes/record", (double)p->keys / n);
    emit(m, "view values", name, "bytes/record", (double)p->values / n);
    emit(m, "view pages", name, "bytes/record", (double)p->pages / n);
    emit(m, "view fill", name, "of 1", fill);
}

static void print_all(const struct memory *m, MDB_env *env, MDB_txn *txn)
{
    char name[64];
    uint64_t pages = 0;
    MDB_dbi all, dbi;
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    MDB_envinfo info;
    struct part p;

    printf("%-10s %10s %10s %10s %10s %10s %6s %8s %8s\n", "database", "entries", "keys", "values",
           "pages", "fill", "depth", "branches", "overflow");
    floor_mdb(mdb_dbi_open(txn, NULL, 0, &all), "mdb_dbi_open");
    measure(txn, all, &p);
    pages += p.pages;
    print_part(m, "main", &p);
    floor_mdb(mdb_cursor_open(txn, all, &cursor), "mdb_cursor_open");
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        snprintf(name, sizeof name, "%.*s", (int)key.mv_size, (const char *)key.mv_data);
        const int rc = mdb_dbi_open(txn, name, 0, &dbi);
        if (rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE)
            continue; // an entry of the main database that is no database
        floor_mdb(rc, name);
        measure(txn, dbi, &p);
        pages += p.pages;
        if (p.st.ms_entries > 0)
            print_part(m, name, &p);
    }
    mdb_cursor_close(cursor);
    floor_mdb(mdb_env_info(env, &info), "mdb_env_info");
    const double n = (double)m->records, page = (double)p.st.ms_psize;
    const double used = (double)(info.me_last_pgno + 1) * page;
    printf("%-10s %43.1f\n%-10s %43.1f\n\n", "all", (double)pages / n, "free, meta",
           (used - (double)pages) / n);
    emit(m, "view pages", "free and meta", "bytes/record", (used - (double)pages) / n);
}

static void print_view(const struct memory *m, const char *folder)
{
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    char path[512];

    snprintf(path, sizeof path, "%s", folder);
    descend(path, sizeof path, "reqcast-");
    descend(path, sizeof path, "");
    descend(path, sizeof path, "gen-");
    floor_mdb(mdb_env_create(&env), "mdb_env_create");
    floor_mdb(mdb_env_set_maxdbs(env, DBS_MAX), "mdb_env_set_maxdbs");
    floor_mdb(mdb_env_open(env, path, MDB_RDONLY | MDB_NOLOCK, 0), path);
    floor_mdb(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), "mdb_txn_begin");
    print_all(m, env, txn);
    mdb_txn_abort(txn);
    mdb_env_close(env);
}

static void print_sums(const struct memory *m)
{
    const double n = (double)m->records, payload = (double)m->payload;
    const double view = (double)m->stats.view_bytes;
    const double file = (double)(m->stats.db_bytes + m->stats.wal_bytes);

    printf("packed records %8.1f bytes/record\nview           %8.1f   %.2f times the records,"
           " %.2f times the SQLite file\nSQLite file    %8.1f\n",
           payload / n, view / n, view / payload, view / file, file / n);
    bench_emit(&m->report, "packed records", "reqcast", "bytes/record", payload / n, NULL);
    bench_emit(&m->report, "view", "reqcast", "bytes/record", view / n, NULL);
    bench_emit(&m->report, "database", "SQLite", "bytes/record", file / n, NULL);
}

static void bench(void *arg, const char *const *folders)
{
    const struct options *o = arg;
    struct memory m = {.stats = {.size = sizeof m.stats}};
    rqc_error err = {RQC_OK, ""};

    snprintf(m.path, sizeof m.path, "%s/bench.db", folders[0]);
    bench_data_make(&m.data, o->requests, o->workspaces);
    bench_report_open(&m.report, "memory", o->json, &m.data, folders[0]);
    (void)bench_load_sqlite(&m.data, m.path);
    rqc_db *db = bench_open(m.path, folders[1], false);
    sum_payload(&m, db);
    bench_check(rqc_stats_read(db, &m.stats, &err), "rqc_stats_read", err.text);
    rqc_close(db);
    if (m.records != m.data.rows)
        floor_die("rqc_changes", "not all records");
    printf("memory: %u requests, %u workspaces, %u records; bytes a record of all\n\n", o->requests,
           o->workspaces, m.data.rows);
    print_view(&m, folders[1]);
    print_sums(&m);
    bench_report_close(&m.report);
    bench_data_free(&m.data);
}

static void parse(struct options *o, int argc, char **argv)
{
    static const struct option table[] = {
        {"requests", required_argument, NULL, 'r'},
        {"workspaces", required_argument, NULL, 'w'},
        {"dir", required_argument, NULL, 'd'},
        {"json", required_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    int c;

    *o = (struct options){.requests = 1000, .workspaces = 1, .dir = "."};
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (c) {
        case 'r': o->requests = floor_number(optarg, 10000000); break;
        case 'w': o->workspaces = floor_number(optarg, 1000000); break;
        case 'd': o->dir = optarg; break;
        case 'j': o->json = optarg; break;
        default: exit(2);
        }
    }
    if (optind != argc || o->workspaces > o->requests)
        floor_die("usage", "memory [--requests N] [--workspaces N] [--dir DIR] [--json FILE]");
}

int main(int argc, char **argv)
{
    struct options o;

    parse(&o, argc, argv);
    const char *parents[] = {o.dir, "/dev/shm", NULL};
    return floor_in_folders(parents, bench, &o);
}
