// SPDX-License-Identifier: Apache-2.0
//
// Streams under torture: writers, subscribers that are slow, late, restarted or behind a shim that
// harms frames, and a sidecar that is killed and started again. At the end every subscriber has
// what the database has, record for record; on the way every state was whole.
//
// RQC_STREAM_SEED, RQC_TEST_SCALE: another run, a longer one.
#include "api/reqcast.h"

#include "tests/shim.h"
#include "tests/store_fixture.h"

#include <arpa/inet.h>
#include <signal.h>
#include <spawn.h>

#define WORKSPACES  3
#define PAIRS       8
#define POOL        60
#define WRITERS     3
#define SUBSCRIBERS 8

extern char **environ;

static char db_path[FIX_PATH], ask_path[FIX_PATH], view_dir[FIX_PATH];
static char tcp_place[32];
static pid_t sidecar;
static _Atomic bool stop_writers;
static _Atomic uint64_t commits, refused;

static uint8_t workspaces[WORKSPACES][16];
static char filler[6000];

static void id_of(uint8_t kind, unsigned a, unsigned b, uint8_t ret[16])
{
    const uint8_t id[16] = {1, 0x99, 0xc8, 0x2c, 0xc0, 0, kind, (uint8_t)a, (uint8_t)b};
    memcpy(ret, id, 16);
}

static void pause_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

// ---- The sidecar --------------------------------------------------------------------------------

static bool start_sidecar(void)
{
    const char *program = getenv("REQCASTD");
    char listen[FIX_PATH + 8], log[FIX_PATH], fd[16], line[512];
    int ends[2];
    if (pipe(ends) != 0)
        bail("pipe");
    snprintf(listen, sizeof listen, "ipc://%s", ask_path);
    snprintf(log, sizeof log, "%.400s/log", fix_dir);
    snprintf(fd, sizeof fd, "%d", ends[1]);
    const char *const words[] = {program,      "--create",   "--db",   db_path,      "--listen",
                                 listen,       "--view-dir", view_dir, "--log-file", log,
                                 "--ready-fd", fd,           "--tcp",  tcp_place,    "--log-level",
                                 "debug",      NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    const int rc =
        posix_spawn(&sidecar, program, &actions, NULL, (char *const *)(uintptr_t)words, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (rc != 0)
        bail("%s: %s", program, strerror(rc));
    const ssize_t n = read(ends[0], line, sizeof line);
    close(ends[0]);
    return n > 0;
}

static int end_sidecar(int signal)
{
    int status = -1;
    kill(sidecar, signal);
    waitpid(sidecar, &status, 0);
    sidecar = 0;
    return status;
}

static void kill_at_exit(void)
{
    if (sidecar > 0)
        end_sidecar(SIGKILL);
}

// Two ports in a row that nobody uses: of questions, and of the stream.
static uint16_t free_port(void)
{
    for (uint16_t port = (uint16_t)(20000 + getpid() % 20000);; port += 2) {
        int fds[2];
        bool good = true;
        for (uint16_t i = 0; i < 2; i++) {
            const struct sockaddr_in a = {.sin_family = AF_INET,
                                          .sin_port = htons((uint16_t)(port + i)),
                                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
            fds[i] = socket(AF_INET, SOCK_STREAM, 0);
            good = bind(fds[i], (const struct sockaddr *)&a, sizeof a) == 0 && good;
        }
        close(fds[0]);
        close(fds[1]);
        if (good)
            return port;
    }
}

// ---- Writers ------------------------------------------------------------------------------------

static rqc_err put_http(rqc_txn *t, const uint8_t id[16], unsigned ws, const char *name)
{
    rqc_value row[RQC_HTTP_NFIELDS] = {0};
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(workspaces[ws]);
    row[RQC_HTTP_NAME] = rqc_text(name);
    row[RQC_HTTP_URL] = rqc_text("https://example.com/");
    row[RQC_HTTP_METHOD] = rqc_text("GET");
    return rqc_put(t, RQC_HTTP, id, row);
}

static rqc_err put_header(rqc_txn *t, const uint8_t id[16], const uint8_t http[16],
                          const char *value, uint32_t n)
{
    rqc_value row[RQC_HTTP_HEADER_NFIELDS] = {0};
    row[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(http);
    row[RQC_HTTP_HEADER_HEADER_KEY] = rqc_text("X");
    row[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_textn(value, n);
    return rqc_put(t, RQC_HTTP_HEADER, id, row);
}

// Two requests that always change together.
static rqc_err write_pair(rqc_txn *t, rows_random *x, const char *name)
{
    uint8_t a[16], b[16];
    const unsigned i = rows_below(x, PAIRS);
    id_of(1, 0, i, a);
    id_of(2, 0, i, b);
    const rqc_err rc = put_http(t, a, 0, name);
    return rc == RQC_OK ? put_http(t, b, 0, name) : rc;
}

static rqc_err write_any(rqc_txn *t, rows_random *x, unsigned writer, const char *name)
{
    uint8_t id[16], child[16];
    const unsigned i = rows_below(x, POOL), what = rows_below(x, 100);
    id_of(3, writer, i, id);
    if (what < 35)
        return put_http(t, id, rows_below(x, WORKSPACES), name); // also moves it
    if (what < 45)
        return rqc_delete(t, RQC_HTTP, id, 0);
    id_of(4, writer, i * 4 + rows_below(x, 4), child);
    if (what < 98)
        return put_header(t, child, id, name, (uint32_t)strlen(name));
    rqc_err rc = put_http(t, id, 1, name);
    for (unsigned k = 0; rc == RQC_OK && k < 240; k++) { // more than a frame holds
        id_of((uint8_t)(5 + writer), i, k, child);
        rc = put_header(t, child, id, filler, sizeof filler);
    }
    return rc;
}

static void *write_on(void *arg)
{
    const unsigned writer = (unsigned)(uintptr_t)arg;
    rows_random *x = calloc(1, sizeof *x);
    rows_seed(x, 100 + writer);
    rqc_options o = RQC_OPTIONS_INIT;
    o.view_dir = view_dir;
    rqc_db *db = NULL;
    rqc_txn *t;
    for (uint64_t n = 0; !atomic_load(&stop_writers); n++) {
        char name[32];
        if (!db && rqc_attach(db_path, &o, &db, NULL) != RQC_OK) {
            pause_ms(10);
            continue;
        }
        if (rqc_txn_new(db, &t, NULL) != RQC_OK) {
            pause_ms(10);
            continue;
        }
        snprintf(name, sizeof name, "%u:%llu", writer, (unsigned long long)n);
        rqc_err rc = RQC_OK;
        if (writer == 0)
            rc = write_pair(t, x, name);
        for (unsigned k = 1 + rows_below(x, 6); rc == RQC_OK && k-- > 0;)
            rc = write_any(t, x, writer, name);
        if (rc == RQC_OK)
            rc = rqc_commit(t, NULL);
        atomic_fetch_add(rc == RQC_OK ? &commits : &refused, 1);
        rqc_txn_free(t);
        pause_ms(rows_below(x, 4));
    }
    rqc_close(db);
    free(x);
    return NULL;
}

// ---- Subscribers --------------------------------------------------------------------------------

typedef struct entry {
    uint8_t entity, id[16];
    uint64_t seq, hash, mark;
} entry;

typedef struct follower {
    const char *name;
    bool all, tcp, shimmed, digest, fd, restarts;
    unsigned ws, slow_ms;
    shim s;
    rqc_sub *sub;
    pthread_mutex_t lock;
    entry *state; // a few hundred, in no order
    size_t n, cap;
    bool staging;
    rqc_place place;
    uint64_t events, back, torn, resets, connects;
    rqc_sub_stats stats;
    pthread_t thread;
    _Atomic bool stop;
} follower;

static void apply_one(follower *f, const rqc_change *c)
{
    size_t i = 0;
    while (i < f->n && (f->state[i].entity != c->entity || memcmp(f->state[i].id, c->id, 16) != 0))
        i++;
    if (c->op == 2) {
        if (i < f->n)
            f->state[i] = f->state[--f->n];
        return;
    }
    if (i == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 256;
        f->state = realloc(f->state, f->cap * sizeof *f->state);
    }
    f->n += i == f->n;
    entry *e = &f->state[i];
    memcpy(e->id, c->id, 16);
    e->entity = c->entity;
    e->seq = c->seq;
    e->hash = rqci_xxh64(c->record, rqci_rec_size(c->record));
    e->mark = 0;
    if (c->entity == RQC_HTTP) {
        const rqc_value v = rqc_field(c->record, RQC_HTTP_NAME);
        e->mark = rqci_xxh64(v.p, v.n);
    }
}

static uint64_t mark_of(const follower *f, const uint8_t id[16])
{
    for (size_t i = 0; i < f->n; i++)
        if (f->state[i].entity == RQC_HTTP && memcmp(f->state[i].id, id, 16) == 0)
            return f->state[i].mark;
    return 0;
}

static void check_whole(follower *f)
{
    if (!f->all && f->ws != 0)
        return;
    for (unsigned i = 0; i < PAIRS; i++) {
        uint8_t a[16], b[16];
        id_of(1, 0, i, a);
        id_of(2, 0, i, b);
        f->torn += mark_of(f, a) != mark_of(f, b);
    }
}

static void on_event(void *ctx, const rqc_event *e)
{
    follower *f = ctx;
    pthread_mutex_lock(&f->lock);
    f->events++;
    if (e->kind == RQC_EVENT_RESET) {
        f->resets++;
        f->n = 0;
        f->staging = true;
        f->place = e->place;
    }
    if (e->kind == RQC_EVENT_STATE && e->reason == RQC_OK)
        f->connects++;
    if (e->kind == RQC_EVENT_CHANGES) {
        for (size_t i = 0; i < e->n; i++)
            apply_one(f, &e->items[i]);
        f->staging = e->more;
        if (!e->more)
            check_whole(f);
    }
    if (e->place.term == f->place.term && e->place.cursor.entity == 0 &&
        e->place.cursor.seq < f->place.cursor.seq)
        f->back++;
    if (e->kind != RQC_EVENT_STATE)
        f->place = e->place;
    pthread_mutex_unlock(&f->lock);
    if (f->slow_ms > 0 && e->kind == RQC_EVENT_CHANGES)
        pause_ms(f->slow_ms);
}

static void subscribe(follower *f)
{
    char url[RQC_URL_TEXT];
    rqc_sub_options o = RQC_SUB_OPTIONS_INIT;
    rqc_error e;
    snprintf(url, sizeof url, "ipc://%.200s", f->shimmed ? f->s.ask_path : ask_path);
    if (f->tcp)
        snprintf(url, sizeof url, "tcp://%s", tcp_place);
    o.workspace = f->all ? NULL : workspaces[f->ws];
    o.bookmarks = 1;
    o.digest = f->digest;
    o.since = f->place;
    o.event = f->fd ? NULL : on_event;
    o.ctx = f;
    if (rqc_subscribe(url, &o, &f->sub, &e) != RQC_OK)
        bail("subscribe: %s", e.text);
}

static void *follow_fd(void *arg)
{
    follower *f = arg;
    while (!atomic_load(&f->stop)) {
        rqc_event e;
        if (rqc_sub_next(f->sub, 50, &e) == RQC_OK)
            on_event(f, &e);
    }
    return NULL;
}

static void begin_follower(follower *f, const char *name, int number, uint64_t seed)
{
    f->name = name;
    pthread_mutex_init(&f->lock, NULL);
    if (f->shimmed)
        shim_begin(&f->s, fix_dir, number, ask_path, seed + (uint64_t)number, 12);
    subscribe(f);
    if (f->fd && pthread_create(&f->thread, NULL, follow_fd, f) != 0)
        bail("no thread");
}

static void end_follower(follower *f)
{
    atomic_store(&f->stop, true);
    if (f->fd)
        pthread_join(f->thread, NULL);
    f->stats.size = sizeof f->stats;
    (void)rqc_sub_stats_read(f->sub, &f->stats);
    rqc_unsubscribe(f->sub);
    if (f->shimmed)
        shim_end(&f->s);
}

// ---- The end ------------------------------------------------------------------------------------

static bool reached(follower *f, uint64_t seq)
{
    pthread_mutex_lock(&f->lock);
    const bool yes = !f->staging && f->place.cursor.entity == 0 && f->place.cursor.seq >= seq;
    pthread_mutex_unlock(&f->lock);
    return yes;
}

// Differences between what it has and what the view has.
static size_t compare(follower *f, rqc_read *r)
{
    rqc_cursor cursor = RQC_CURSOR_INIT(0);
    rqc_changes_list list = RQC_CHANGES_INIT;
    size_t wrong = 0, n = 0;
    int up_to_date = 0;
    while (!up_to_date) {
        if (rqc_changes(r, f->all ? NULL : workspaces[f->ws], &cursor, 1000, &list, &up_to_date))
            bail("changes: %s", rqc_read_error(r));
        for (size_t i = 0; i < list.n; i++) {
            const rqc_change *c = &list.items[i];
            size_t k = 0;
            if (c->op == 2)
                continue;
            n++;
            while (k < f->n &&
                   (f->state[k].entity != c->entity || memcmp(f->state[k].id, c->id, 16) != 0))
                k++;
            wrong += k == f->n || f->state[k].seq != c->seq ||
                     f->state[k].hash != rqci_xxh64(c->record, rqci_rec_size(c->record));
        }
    }
    rqc_changes_free(&list);
    return wrong + (n > f->n ? n - f->n : f->n - n);
}

static void check_end(follower *all, rqc_db *db)
{
    rqc_read *r;
    rqc_verified v;
    rqc_error e = {RQC_OK, ""};
    if (rqc_read_new(db, &r, &e) != RQC_OK || rqc_read_begin(r) != RQC_OK)
        bail("read: %s", e.text);
    const uint64_t seq = rqc_read_position(r).seq;
    for (size_t i = 0; i < SUBSCRIBERS; i++) {
        follower *f = &all[i];
        if (f->shimmed)
            atomic_store(&f->s.mischief, 0);
        bool there = false;
        for (int k = 0; !there && k < 3000; k++) {
            there = reached(f, seq);
            if (!there)
                pause_ms(10);
        }
        ok(there, "%s: reached the end, %llu", f->name, (unsigned long long)seq);
        // Two bookmarks, for the digest.
        if (f->digest)
            pause_ms(2200);
        end_follower(f);
        if (!is(compare(f, r), 0u, "%s: has what the view has, record for record", f->name))
            tap_note("%zu records", f->n);
        is(f->torn, 0u, "%s: every state was whole", f->name);
        is(f->back, 0u, "%s: its position never went back", f->name);
        if (f->digest)
            ok(f->stats.compared > 0 && f->stats.different == 0, "%s: the digests agree", f->name);
        tap_note("%s: %llu events, %llu gaps, %llu damaged, %llu duplicates, %llu connects, "
                 "%llu pages, %llu digests compared, %llu frames harmed",
                 f->name, (unsigned long long)f->events, (unsigned long long)f->stats.gaps,
                 (unsigned long long)f->stats.damaged, (unsigned long long)f->stats.duplicates,
                 (unsigned long long)f->stats.connects, (unsigned long long)f->stats.pages,
                 (unsigned long long)f->stats.compared, (unsigned long long)f->s.harmed);
        free(f->state);
    }
    rqc_read_free(r);
    ok(rqc_verify(db, 0, NULL, NULL, &v, &e) == RQC_OK && v.differences == 0,
       "the view has what SQLite has: %s", e.text);
}

static void first_rows(rqc_db *db)
{
    rqc_txn *t;
    rqc_error e;
    if (rqc_txn_new(db, &t, &e) != RQC_OK)
        bail("%s", e.text);
    for (unsigned i = 0; i < WORKSPACES; i++) {
        rqc_value row[RQC_WORKSPACES_NFIELDS] = {0};
        id_of(0, i, 0, workspaces[i]);
        row[RQC_WORKSPACES_NAME] = rqc_text("w");
        (void)rqc_put(t, RQC_WORKSPACES, workspaces[i], row);
    }
    rqc_result result;
    ok(rqc_commit(t, &result) == RQC_OK && result.written == WORKSPACES && result.visible,
       "an attached process writes through the sidecar: %s", rqc_txn_error(t));
    rqc_txn_free(t);
}

static void restart_follower(follower *f)
{
    pthread_mutex_lock(&f->lock);
    const bool part = f->staging || f->place.cursor.entity != 0;
    pthread_mutex_unlock(&f->lock);
    if (part)
        return;
    rqc_unsubscribe(f->sub);
    // What came in between may have begun a catch-up.
    if (f->staging || f->place.cursor.entity != 0) {
        f->n = 0;
        f->staging = false;
        memset(&f->place, 0, sizeof f->place);
    }
    subscribe(f);
}

static void torture(follower *all, uint64_t rounds)
{
    pthread_t writers[WRITERS];
    for (uintptr_t i = 0; i < WRITERS; i++)
        if (pthread_create(&writers[i], NULL, write_on, (void *)i) != 0)
            bail("no thread");
    for (uint64_t i = 0; i < rounds; i++) {
        pause_ms(250);
        restart_follower(&all[6]);
        if (i % 8 == 5) {
            end_sidecar(SIGKILL);
            pause_ms(i % 16 == 5 ? 0 : 300);
            if (!start_sidecar())
                bail("the sidecar does not start again");
        }
    }
    begin_follower(&all[7], "late", 7, 0);
    pause_ms(200);
    const int status = end_sidecar(SIGTERM);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the sidecar ends cleanly on SIGTERM");
    if (!start_sidecar())
        bail("the sidecar does not start again");
    pause_ms(200);
    atomic_store(&stop_writers, true);
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
}

int main(void)
{
    if (!getenv("REQCASTD"))
        skip_all("REQCASTD is not set: no sidecar to test");
    const char *text = getenv("RQC_STREAM_SEED");
    const uint64_t seed = text ? strtoull(text, NULL, 10) : 1;
    memset(filler, 'x', sizeof filler);
    fix_begin();
    snprintf(db_path, sizeof db_path, "%.400s/t.db", fix_dir);
    snprintf(ask_path, sizeof ask_path, "%.60s/s", fix_dir);
    snprintf(view_dir, sizeof view_dir, "%.400s", fix_dir);
    snprintf(tcp_place, sizeof tcp_place, "127.0.0.1:%u", free_port());
    atexit(kill_at_exit);
    ok(start_sidecar(), "the sidecar is ready");
    rqc_options o = RQC_OPTIONS_INIT;
    rqc_db *db;
    rqc_error e;
    o.view_dir = view_dir;
    o.max_age_ms = 600000;
    if (rqc_attach(db_path, &o, &db, &e) != RQC_OK)
        bail("attach: %s", e.text);
    first_rows(db);
    static follower all[SUBSCRIBERS] = {
        {.all = true, .digest = true}, {.all = true, .fd = true},
        {.ws = 0, .digest = true},     {.all = true, .shimmed = true, .digest = true},
        {.ws = 1, .shimmed = true},    {.all = true, .slow_ms = 60},
        {.ws = 0, .restarts = true},   {.ws = 2, .tcp = true},
    };
    static const char *const names[] = {"all, digest",    "all, descriptor", "one, digest",
                                        "all, harmed",    "one, harmed",     "all, slow",
                                        "one, restarted", "late, tcp"};
    for (int i = 0; i < SUBSCRIBERS - 1; i++)
        begin_follower(&all[i], names[i], i, seed);
    torture(all, tap_scaled(24) < 8 ? 8 : tap_scaled(24));
    tap_note("%llu commits, %llu refused", (unsigned long long)commits,
             (unsigned long long)refused);
    ok(commits > 20, "there were commits");
    check_end(all, db);
    rqc_close(db);
    const int status = end_sidecar(SIGTERM);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the sidecar ends cleanly");
    return tap_done();
}
