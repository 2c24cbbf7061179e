// SPDX-License-Identifier: Apache-2.0
// The databases of the property test: one for each seed, its ids and its settings; opened, closed,
// opened again.
#include "tests/property.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

// Ids that are close to each other in every order, and those at the ends.
static void make_ids(void)
{
    for (unsigned i = 0; i < NIDS; i++) {
        memset(g.ids[i], 0x5a, 16);
        if (i < 4) {
            g.ids[i][15] = (uint8_t)(0x7e + i);
        } else if (i < 7) {
            g.ids[i][0] = (uint8_t)(0x7e + i - 4);
        } else if (i > 8) {
            for (unsigned k = 0; k < 16; k++)
                g.ids[i][k] = (uint8_t)prop_random();
            g.ids[i][1] = (uint8_t)i;
        }
    }
    memset(g.ids[7], 0xff, 16);
    memset(g.ids[8], 0, 16);
    g.ids[8][15] = g.zero_used ? 0 : 1;
    for (unsigned i = 0; i < NWS; i++)
        g.ws[i] = (uint8_t)(i < 2 ? i : i == 2 ? 7 : i == 3 && chance(50) ? 8 : 9 + i);
    for (unsigned i = 0; i < NWS; i++)
        memcpy(g.topics[i], g.ids[g.ws[i]], 16);
    memset(g.topics[NWS], 0, 16);        // the zero workspace
    memset(g.topics[NWS + 1], 0xee, 16); // an unknown one
}

// ---- Files ----

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_views(void)
{
    if (mkdir(g.views, 0750) != 0)
        bail("mkdir %s", g.views);
}

void remove_database(void)
{
    remove_tree(g.dir);
}

void lose_views(void)
{
    remove_tree(g.views);
    make_views();
}

// ---- Open, close ----

static void note_log(void *ctx, int level, const char *what)
{
    (void)ctx;
    if (level >= 2)
        story_add(what);
}

void open_database(void)
{
    rqc_options opt = RQC_OPTIONS_INIT;
    rqc_error err;
    opt.create = 1;
    opt.retain = g.retain;
    opt.view_dir = g.views;
    opt.view_map_bytes = chance(30) ? 1u << 20 : 64u << 20;
    opt.log = note_log;
    if (rqc_open(g.path, &opt, &g.db, &err) != RQC_OK)
        broken(C_VERIFY, "open: %s", err.text);
    engine_hush(g.db);
    if (rqc_attach(g.path, &opt, &g.attached, &err) != RQC_OK)
        broken(C_VERIFY, "attach: %s", err.text);
    if (rqc_read_new(g.db, &g.read[0], &err) != RQC_OK ||
        rqc_read_new(g.attached, &g.read[1], &err) != RQC_OK ||
        rqc_read_new(chance(50) ? g.db : g.attached, &g.pinned, &err) != RQC_OK)
        broken(C_VERIFY, "session: %s", err.text);
}

void close_database(void)
{
    rqc_read_free(g.read[0]);
    rqc_read_free(g.read[1]);
    rqc_read_free(g.pinned);
    rqc_close(g.attached);
    rqc_close(g.db);
    g.db = g.attached = NULL;
}

static void create_tables(void)
{
    sqlite3 *db;
    if (sqlite3_open(g.path, &db) != SQLITE_OK ||
        sqlite3_exec(db, engine_schema(), NULL, NULL, NULL) != SQLITE_OK)
        bail("tables: %s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

void start_database(uint64_t seed)
{
    static const uint64_t retains[] = {8, 16, 40, 40, 80, 200};
    const prop_cover cover = g.cover;
    uint64_t checks[C_KINDS];
    memcpy(checks, g.checks, sizeof checks);
    memset(&g, 0, sizeof g);
    g.cover = cover;
    memcpy(g.checks, checks, sizeof checks);
    g.seed = g.random = seed;
    g.retain = retains[below(sizeof retains / sizeof *retains)];
    g.hostile = chance(60);
    g.short_ids = chance(40);
    g.dangling = chance(60);
    g.zero_used = chance(30);
    make_ids();
    g.now = &g.state[0];
    g.before = &g.state[1];
    g.spare = &g.state[2];
    snprintf(g.dir, sizeof g.dir, "%s/reqcast-property-XXXXXX",
             getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    if (mkdtemp(g.dir) == NULL)
        bail("mkdtemp");
    snprintf(g.path, sizeof g.path, "%s/store.db", g.dir);
    snprintf(g.views, sizeof g.views, "%s/views", g.dir);
    make_views();
    story_forget();
    if (chance(50)) { // the tables were there before us, with rows
        create_tables();
        foreign_open();
        sql_setup();
        open_database();
    } else {
        open_database();
        foreign_open();
        sql_setup();
    }
    oracle_open();
    subscribers_init();
}

void end_database(void)
{
    oracle_close();
    foreign_close();
    close_database();
    for (unsigned i = 0; i < 3; i++)
        state_free(&g.state[i]);
    remove_database();
}
