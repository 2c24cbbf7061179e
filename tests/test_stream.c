// SPDX-License-Identifier: Apache-2.0
//
// Streams under torture: writers, subscribers that are slow, late, restarted, stopped or behind a
// shim that harms frames, and a sidecar that is killed and started again. At the end every
// subscriber has what the database has, record for record; on the way every state was whole.
//
// Those that are stopped (SIGSTOP) and continued are processes of their own: this program again,
// which tells through a socket what it came to have.
//
// RQC_STREAM_SEED, RQC_TEST_SCALE: another run, a longer one.
#include "api/reqcast.h"

#include "tests/shim.h"
#include "tests/sidecar.h"
#include "tests/store_fixture.h"
#include "tests/stream_writers.h"

#include <arpa/inet.h>

#define SUBSCRIBERS 10
#define COMMITS     40 // at least
#define REACH_MS    30000
#define DIGEST_MS   2200 // two bookmarks

static char ask_path[FIX_PATH], tcp_place[32];
static pid_t sidecar;

// ---- The sidecar --------------------------------------------------------------------------------

static bool start_sidecar(void)
{
    char listen[FIX_PATH + 8], log[FIX_PATH];
    snprintf(listen, sizeof listen, "ipc://%s", ask_path);
    snprintf(log, sizeof log, "%.400s/log", fix_dir);
    const char *const words[] = {"--create",   "--db",        db_path,      "--listen", listen,
                                 "--view-dir", view_dir,      "--log-file", log,        "--tcp",
                                 tcp_place,    "--log-level", "debug",      NULL};
    sidecar = sidecar_start(words);
    return sidecar > 0;
}

static int end_sidecar(int signal)
{
    return sidecar_end(&sidecar, signal);
}

static void kill_at_exit(void)
{
    (void)end_sidecar(SIGKILL);
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

// ---- Subscribers --------------------------------------------------------------------------------

typedef struct entry {
    uint8_t entity, id[16];
    uint64_t seq, hash, mark;
} entry;

typedef struct follower {
    const char *name;
    bool all, tcp, shimmed, digest, fd, restarts, process;
    unsigned ws, slow_ms;
    pid_t pid;   // of the process
    int channel; // to it
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

// ---- Processes ----------------------------------------------------------------------------------

// What a process tells of its end; its entries follow.
typedef struct report {
    bool there;
    size_t n;
    uint64_t torn, back, events;
    rqc_sub_stats stats;
} report;

static bool get_there(follower *f, uint64_t seq)
{
    for (int left = REACH_MS; left > 0; left -= 10) {
        if (reached(f, seq))
            return true;
        pause_ms(10);
    }
    return false;
}

// The process: NAME follow SOCKET-OF-QUESTIONS WORKSPACE|all
static int follow_main(char **argv)
{
    static follower f = {.digest = true};
    uint64_t seq;
    snprintf(ask_path, sizeof ask_path, "%s", argv[2]);
    f.all = strcmp(argv[3], "all") == 0;
    f.ws = f.all ? 0 : (unsigned)strtoul(argv[3], NULL, 10);
    for (unsigned i = 0; i < WORKSPACES; i++)
        id_of(0, i, 0, workspaces[i]);
    begin_follower(&f, "process", 0, 0);
    if (!shim_read(STDIN_FILENO, &seq, sizeof seq))
        return 1;
    report r = {.there = get_there(&f, seq)};
    pause_ms(DIGEST_MS);
    end_follower(&f);
    r.n = f.n;
    r.torn = f.torn;
    r.back = f.back;
    r.events = f.events;
    r.stats = f.stats;
    return shim_write(STDIN_FILENO, &r, sizeof r) &&
                   shim_write(STDIN_FILENO, f.state, f.n * sizeof *f.state)
               ? 0
               : 1;
}

static void begin_process(follower *f, const char *name)
{
    int ends[2];
    char ws[16];
    f->name = name;
    snprintf(ws, sizeof ws, "%u", f->ws);
    char *const argv[] = {(char *)(uintptr_t) "test_stream", (char *)(uintptr_t) "follow", ask_path,
                          f->all ? (char *)(uintptr_t) "all" : ws, NULL};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        bail("no socket");
    const pid_t parent = getpid();
    f->pid = fork();
    if (f->pid == 0) {
        sidecar_die_with(parent);
        if (dup2(ends[1], STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
            _exit(126);
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    close(ends[1]);
    f->channel = ends[0];
    const struct timeval patience = {.tv_sec = 4 * REACH_MS / 1000};
    (void)setsockopt(f->channel, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

static void tell_process(const follower *f, int signal)
{
    if (kill(f->pid, signal) != 0)
        bail("%s: %s", f->name, strerror(errno));
}

// Whether it reached the end.
static bool end_process(follower *f)
{
    report r = {.there = false};
    bool good = shim_read(f->channel, &r, sizeof r);
    if (good) {
        f->state = calloc(r.n + 1, sizeof *f->state);
        f->n = r.n;
        good = shim_read(f->channel, f->state, r.n * sizeof *f->state);
    }
    f->torn = r.torn;
    f->back = r.back;
    f->events = r.events;
    f->stats = r.stats;
    close(f->channel);
    (void)sidecar_end(&f->pid, SIGKILL);
    return good && r.there;
}

// ---- The end ------------------------------------------------------------------------------------

// All of them, those in processes of their own at the same time.
static void end_all(follower *all, uint64_t seq, bool ret_there[SUBSCRIBERS])
{
    for (size_t i = 0; i < SUBSCRIBERS; i++)
        if (all[i].process && !shim_write(all[i].channel, &seq, sizeof seq))
            bail("%s: gone", all[i].name);
    for (size_t i = 0; i < SUBSCRIBERS; i++) {
        if (all[i].shimmed)
            atomic_store(&all[i].s.mischief, 0);
        ret_there[i] = !all[i].process && get_there(&all[i], seq);
    }
    pause_ms(DIGEST_MS);
    for (size_t i = 0; i < SUBSCRIBERS; i++) {
        if (all[i].process)
            ret_there[i] = end_process(&all[i]);
        else
            end_follower(&all[i]);
    }
}

static void check_end(follower *all, rqc_db *db)
{
    rqc_read *r;
    rqc_verified v;
    rqc_error e = {RQC_OK, ""};
    if (rqc_read_new(db, &r, &e) != RQC_OK || rqc_read_begin(r) != RQC_OK)
        bail("read: %s", e.text);
    const uint64_t seq = rqc_read_position(r).seq;
    bool there[SUBSCRIBERS];
    end_all(all, seq, there);
    for (size_t i = 0; i < SUBSCRIBERS; i++) {
        follower *f = &all[i];
        ok(there[i], "%s: reached the end, %llu", f->name, (unsigned long long)seq);
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
        // Again and again for a moment; and once for longer than a stream may be silent.
        if (i % 6 == 1 || i % 6 == 4)
            tell_process(&all[8], i % 6 == 1 ? SIGSTOP : SIGCONT);
        if (i == 2)
            tell_process(&all[9], SIGSTOP);
        if (i % 8 == 5) {
            end_sidecar(SIGKILL);
            pause_ms(i % 16 == 5 ? 0 : 300);
            if (!start_sidecar())
                bail("the sidecar does not start again");
        }
    }
    // Where everything is slow, rounds hold few commits.
    for (int i = 0; i < 2000 && atomic_load(&commits) < COMMITS; i++)
        pause_ms(10);
    begin_follower(&all[7], "late", 7, 0);
    pause_ms(200);
    const int status = end_sidecar(SIGTERM);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the sidecar ends cleanly on SIGTERM");
    if (!start_sidecar())
        bail("the sidecar does not start again");
    pause_ms(200);
    tell_process(&all[8], SIGCONT);
    tell_process(&all[9], SIGCONT);
    atomic_store(&stop_writers, true);
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "follow") == 0)
        return follow_main(argv);
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
        {.all = true, .digest = true},
        {.all = true, .fd = true},
        {.ws = 0, .digest = true},
        {.all = true, .shimmed = true, .digest = true},
        {.ws = 1, .shimmed = true},
        {.all = true, .slow_ms = 60},
        {.ws = 0, .restarts = true},
        {.ws = 2, .tcp = true},
        {.all = true, .process = true, .digest = true},
        {.ws = 0, .process = true, .digest = true},
    };
    static const char *const names[] = {"all, digest",      "all, descriptor", "one, digest",
                                        "all, harmed",      "one, harmed",     "all, slow",
                                        "one, restarted",   "late, tcp",       "all, stopped",
                                        "one, stopped long"};
    for (int i = 0; i < SUBSCRIBERS; i++) {
        if (all[i].process)
            begin_process(&all[i], names[i]);
        else if (i != 7)
            begin_follower(&all[i], names[i], i, seed);
    }
    torture(all, tap_scaled(24) < 8 ? 8 : tap_scaled(24));
    tap_note("%llu commits, %llu refused", (unsigned long long)commits,
             (unsigned long long)refused);
    ok(commits >= COMMITS, "there were commits");
    check_end(all, db);
    rqc_close(db);
    const int status = end_sidecar(SIGTERM);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the sidecar ends cleanly");
    return tap_done();
}
