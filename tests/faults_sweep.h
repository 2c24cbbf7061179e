// SPDX-License-Identifier: Apache-2.0
// Sweeps: a story is told again and again, each time with the next fault, until the fault is no
// longer reached. After each: the call that failed said why, nothing is lost or left behind, and
// the next call works.
#ifndef RQC_TESTS_FAULTS_SWEEP_H
#define RQC_TESTS_FAULTS_SWEEP_H

#include "tests/entries.h"
#include "tests/faults_model.h"

#include <sys/socket.h>
#include <sys/un.h>

// How a kind fails, and which errors are a clear answer.
typedef struct fault_way {
    fault_kind kind;
    const char *name;
    int code;         // for faults_arm
    uint32_t answers; // bits: rqc_err codes
    bool once_only;   // lasting makes no sense, or waits
} fault_way;

#define CASE_SECONDS 150u // a case that takes longer hangs
#define LATER_MS     10000
#define NOTES        3   // of one story and way
#define FEW          4   // so few events are all tried
#define SINGLES      300 // where places are tried: so few events are tried one by one, too
#define TRIES        3   // of a place that is not reached again: other threads come and go
#define PROGRESS     500 // cases between two notes
#define NOTES_EVERY  50  // of one story, way and mode, where places are tried

typedef enum sweep_how {
    SWEEP_SOME,
    SWEEP_ALL,  // each story with each way, and more cases of each
    SWEEP_EVERY // the same, at each place that the story reaches
} sweep_how;

// What fails: the n-th event, or the n-th one at a place.
typedef struct fault_at {
    uint64_t n, place; // place 0: any
    uint32_t down;     // of faults_place
} fault_at;

static uint64_t singles = SINGLES;

extern int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

// ---- What a case leaves behind ------------------------------------------------------------------

// Open descriptors, but for sockets that others connected to: nng keeps some of those for good.
static unsigned descriptors(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    for (const struct dirent *e; d && (e = readdir(d));) {
        struct sockaddr_un a = {.sun_family = AF_UNSPEC};
        socklen_t size = sizeof a;
        const int fd = atoi(e->d_name);
        const bool named = getsockname(fd, (struct sockaddr *)&a, &size) == 0 &&
                           a.sun_family == AF_UNIX && size > sizeof a.sun_family;
        n += !named;
    }
    if (d)
        closedir(d);
    return n;
}

// Maps of files in the test's folder.
static unsigned maps(const world *w)
{
    char line[1024];
    unsigned n = 0;
    FILE *f = fopen("/proc/self/maps", "re");
    while (f && fgets(line, sizeof line, f))
        n += strstr(line, w->root) != NULL;
    if (f)
        fclose(f);
    return n;
}

// A thread that was joined, or a socket that was closed, may be seen for a moment.
static bool threads_ended(unsigned want)
{
    for (int i = 0; i < 2000; i++) {
        if (entries("/proc/self/task") <= want)
            return true;
        fault_sleep_us(500);
    }
    return false;
}

static unsigned descriptors_left(unsigned want)
{
    for (int i = 0; i < 2000 && descriptors() > want; i++)
        fault_sleep_us(500);
    return descriptors();
}

typedef struct house {
    unsigned fds, maps, threads;
} house;

static house look_around(const world *w)
{
    return (house){descriptors(), maps(w), entries("/proc/self/task")};
}

// The story was not told before: what is done once in a process is done under the fault, and some
// of it (nng's threads) stays.
static bool cold;

static bool tidy(const world *w, const house *before, check_text *why)
{
    if (!cold && !threads_ended(before->threads))
        return check_no(why, "a thread runs on");
    house now = look_around(w);
    now.fds = cold ? before->fds : descriptors_left(before->fds);
    if (now.fds != before->fds)
        return check_no(why, "%u descriptors are open, %u were", now.fds, before->fds);
    if (now.maps != before->maps)
        return check_no(why, "%u files are mapped, %u were", now.maps, before->maps);
    if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check() != 0)
        return check_no(why, "memory was lost");
    return true;
}

// ---- One case -----------------------------------------------------------------------------------

static char label[256]; // what runs now, for whoever finds it dead

static void on_death(int signal_number)
{
    static const char dead[] = "\n# died or hung: ";
    ssize_t n = write(2, dead, sizeof dead - 1);
    n += write(2, label, strlen(label));
    const char *where = faults_where();
    n += write(2, where, strlen(where));
    n += write(2, "\n", 1);
    (void)n;
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void on_hang(int signal_number)
{
    (void)signal_number;
    abort();
}

// The view may follow a little later, but it must.
static bool follows(world *w, check_text *why)
{
    rqc_error err = {.text = ""};
    rqc_err rc = RQC_OK;
    rqc_stats s = {.size = sizeof s};
    for (int i = 0; i < LATER_MS / 2; i++) {
        rc = rqc_sync(w->db, &err);
        // Sessions return from a spare view when nobody is at it.
        if (rc == RQC_OK && (rqc_stats_read(w->db, &s, &err) != RQC_OK || !s.view_lagging))
            return true;
        fault_sleep_us(2000);
    }
    return check_no(why, "sync does not recover: %s: %.120s", rqc_err_text(rc), err.text);
}

static bool clear_answer(const world *w, const story *s, const fault_way *way, check_text *why)
{
    if (!*w->text)
        return check_no(why, "%s failed without a word: %s", w->what, rqc_err_text(w->code));
    if (w->code < RQC_NOT_FOUND || w->code > RQC_INTERNAL ||
        !((way->answers | s->also) >> w->code & 1u))
        return check_no(why, "%s: the answer is: %s: %.100s", w->what, rqc_err_text(w->code),
                        w->text);
    return true;
}

// After the fault: the handle, where there is one, is whole, and what failed works now.
static bool goes_on(world *w, const story *s, bool told, check_text *why)
{
    if (s->after && !s->after(w, told, why))
        return false;
    if (w->db && (!follows(w, why) || !world_whole(w, why)))
        return false;
    if (told)
        return true;
    if (s->tell(w) != RQC_OK)
        return check_no(why, "again: %s: %s: %.120s", w->what, rqc_err_text(w->code), w->text);
    return (!w->db || world_whole(w, why)) && (!s->after || s->after(w, true, why));
}

// And so does the next owner's start.
static bool opens_again(world *w, const story *s, check_text *why)
{
    rqc_close(w->db);
    w->db = NULL;
    if (world_open(w) != RQC_OK)
        return check_no(why, "the next start: %s: %.120s", rqc_err_text(w->code), w->text);
    const rqc_position now = rqc_position_now(w->db);
    if (!s->new_epoch && w->start.term != 0 && now.term != w->start.term)
        return check_no(why, "the next start begins term %u", now.term);
    const bool whole = world_whole(w, why);
    rqc_close(w->db);
    w->db = NULL;
    return whole;
}

static void prepare(world *w, const story *s)
{
    world_restore(w, s->start);
    if (s->opens && world_open(w) != RQC_OK)
        die("%s: open: %s", s->name, w->text);
    if (s->prepare)
        s->prepare(w);
}

static void set_label(const story *s, const fault_way *way, bool lasting, fault_at at)
{
    const char *mode = lasting ? "lasting" : "once";
    if (at.place)
        snprintf(label, sizeof label, "%s:%s:%s:@%016" PRIx64 ".%" PRIu64 " ", s->name, way->name,
                 mode, at.place, at.n);
    else
        snprintf(label, sizeof label, "%s:%s:%s:%" PRIu64 " ", s->name, way->name, mode, at.n);
}

// *ret_failed: how many events did. True when all is well after it.
static bool one_case(world *w, const story *s, const fault_way *way, bool lasting, fault_at at,
                     uint64_t *ret_failed, check_text *why)
{
    set_label(s, way, lasting, at);
    alarm(CASE_SECONDS);
    const house before = look_around(w);
    prepare(w, s);
    if (at.place)
        faults_arm_at(way->kind, at.place, at.down, at.n, lasting, way->code);
    else
        faults_arm(way->kind, at.n, lasting, way->code);
    const rqc_err rc = s->tell(w);
    *ret_failed = faults_disarm();
    if (getenv("RQC_FAULTS_SHOW") && *ret_failed > 0)
        tap_note("%s%s: %s: %s", label, rc ? w->what : "told", rqc_err_text(rc), rc ? w->text : "");
    bool good = rc == RQC_OK || clear_answer(w, s, way, why);
    if (!goes_on(w, s, rc == RQC_OK, good ? why : &(check_text){""}))
        good = false;
    if (s->end)
        s->end(w);
    if (good && !opens_again(w, s, why))
        good = false;
    rqc_close(w->db);
    w->db = NULL;
    good = good && tidy(w, &before, why);
    alarm(0);
    return good;
}

// ---- A sweep ------------------------------------------------------------------------------------

// How many events of each kind a story has.
static void count(world *w, const story *s, uint64_t ret[FAULTS_KINDS])
{
    snprintf(label, sizeof label, "%s ", s->name);
    alarm(CASE_SECONDS);
    prepare(w, s);
    faults_arm(FAULTS_ALLOC, 0, false, 0);
    const rqc_err rc = s->tell(w);
    faults_disarm();
    for (int i = 0; i < FAULTS_KINDS; i++)
        ret[i] = faults_counted((fault_kind)i);
    if (rc != RQC_OK)
        die("%s without a fault: %s: %s", s->name, w->what, w->text);
    if (s->end)
        s->end(w);
    rqc_close(w->db);
    w->db = NULL;
    alarm(0);
}

// The first ones one by one, those behind them in steps of which one is left to chance, so that
// another run tries others.
static uint64_t step_after(uint64_t n, uint64_t events, uint64_t budget)
{
    const uint64_t first = budget / 2;
    if (n < first || events <= budget)
        return 1;
    const uint64_t step = (events - first + budget - first - 1) / (budget - first);
    return n == first ? 1 + fault_rand(step) : step;
}

static uint64_t sweep_one(world *w, const story *s, const fault_way *way, bool lasting,
                          uint64_t events, uint64_t budget)
{
    uint64_t all = 0, cases = 0, wrong = 0, failed = 1;
    const uint64_t few = s->few ? s->few : FEW;
    budget = events <= few ? few : budget;
    // All of them are all that are reached, however many the count found.
    const uint64_t last = events <= budget ? UINT64_MAX : events;
    for (uint64_t n = 1; failed > 0 && n <= last; n += step_after(n, events, budget)) {
        check_text why = {""};
        if (!one_case(w, s, way, lasting, (fault_at){.n = n}, &failed, &why) && wrong++ < NOTES)
            tap_note("%s%s [%s]", label, why.text, faults_where());
        all += failed;
        cases += failed > 0;
    }
    ok(wrong == 0, "%s: %s, %s: %" PRIu64 " of %" PRIu64 " injected, %" PRIu64 " wrong", s->name,
       way->name, lasting ? "lasting" : "once", cases, events, wrong);
    return all;
}

// ---- Every place --------------------------------------------------------------------------------

typedef struct tally {
    uint64_t all, cases, wrong;
} tally;

// True when the fault was reached.
static bool try_case(world *w, const story *s, const fault_way *way, bool lasting, fault_at at,
                     tally *t)
{
    check_text why = {""};
    uint64_t failed;
    if (!one_case(w, s, way, lasting, at, &failed, &why) && t->wrong++ < NOTES_EVERY)
        tap_note("%s%s [%s]", label, why.text, faults_where());
    t->all += failed;
    t->cases += failed > 0;
    if (failed > 0 && t->cases % PROGRESS == 0) {
        tap_note("%sis case %" PRIu64, label, t->cases);
        fflush(stdout);
    }
    return failed > 0;
}

// The first event there, and a later one that is left to chance. False when it was not reached.
static bool try_place(world *w, const story *s, const fault_way *way, bool lasting,
                      const faults_place *p, tally *t)
{
    bool reached = false;
    for (int i = 0; i < TRIES && !reached; i++)
        reached =
            try_case(w, s, way, lasting, (fault_at){1, p->name, i + 1 < TRIES ? p->down : 0}, t);
    if (p->most > 1)
        (void)try_case(w, s, way, lasting,
                       (fault_at){2 + fault_rand(p->most - 1), p->name, p->down}, t);
    return reached;
}

// One by one where there are few, then each place that did not fail by that.
static uint64_t sweep_every(world *w, const story *s, const fault_way *way, bool lasting,
                            uint64_t events)
{
    tally t = {0, 0, 0};
    faults_place p;
    uint64_t known = 0, missed = 0;
    const int64_t since = fault_now_us();
    faults_places_anew();
    if (events <= singles)
        for (uint64_t n = 1; try_case(w, s, way, lasting, (fault_at){.n = n}, &t);)
            n++;
    for (size_t i = 0; faults_place_get(i, &p); i++) {
        known += p.kind == way->kind;
        if (p.kind != way->kind || p.failed || try_place(w, s, way, lasting, &p, &t))
            continue;
        if (missed++ < NOTES_EVERY) {
            set_label(s, way, lasting, (fault_at){.n = 1, .place = p.name});
            tap_note("%swas not reached again", label);
        }
    }
    ok(t.wrong == 0 && !faults_places_full(),
       "%s: %s, %s: %" PRIu64 " places of %" PRIu64 " events, %" PRIu64
       " not reached again, %" PRIu64 " cases in %" PRId64 " s, %" PRIu64 " wrong",
       s->name, way->name, lasting ? "lasting" : "once", known, events, missed, t.cases,
       (fault_now_us() - since) / 1000000, t.wrong);
    return t.all;
}

// ---- What is asked for --------------------------------------------------------------------------

// The test's arguments: none, `all`, or `every` and how few events are tried one by one.
static sweep_how sweep_asked(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    if (argc > 2)
        singles = strtoull(argv[2], NULL, 10);
    return strcmp(how, "every") == 0 ? SWEEP_EVERY
           : strcmp(how, "all") == 0 ? SWEEP_ALL
                                     : SWEEP_SOME;
}

// RQC_FAULTS=STORY:WAY:once|lasting:N runs one case, as a note names it (N or @PLACE.N); parts from
// the right may be left out.
static bool chosen(const char *story_name, const char *way, const char *mode, fault_at *ret_at)
{
    const char *given = getenv("RQC_FAULTS");
    char want[128], *end;
    *ret_at = (fault_at){.n = 0};
    if (!given)
        return true;
    const int full = snprintf(want, sizeof want, "%s:%s:%s", story_name, way, mode);
    const char *third = strchr(given, ':');
    third = third ? strchr(third + 1, ':') : NULL;
    const char *fourth = third ? strchr(third + 1, ':') : NULL;
    if (!fourth)
        return strncmp(want, given, strlen(given)) == 0;
    if (fourth[1] == '@') {
        ret_at->place = strtoull(fourth + 2, &end, 16);
        ret_at->n = *end == '.' ? strtoull(end + 1, NULL, 10) : 1;
    } else {
        ret_at->n = strtoull(fourth + 1, NULL, 10);
    }
    return fourth - given == full && strncmp(want, given, (size_t)full) == 0;
}

static bool place_named(void)
{
    const char *given = getenv("RQC_FAULTS");
    return given && strstr(given, ":@") != NULL;
}

static void sweep_way(world *w, const story *s, const fault_way *way, bool lasting, uint64_t events,
                      sweep_how how, uint64_t budget, uint64_t *sum)
{
    uint64_t failed;
    fault_at at;
    if (!chosen(s->name, way->name, lasting ? "lasting" : "once", &at) ||
        (at.n == 0 && events == 0))
        return;
    if (at.n == 0) {
        *sum += how == SWEEP_EVERY ? sweep_every(w, s, way, lasting, events)
                                   : sweep_one(w, s, way, lasting, events, budget);
        return;
    }
    check_text why = {""};
    cold = at.place != 0;
    bool good = one_case(w, s, way, lasting, at, &failed, &why);
    cold = false;
    if (good && at.place) {
        uint64_t again;
        good = one_case(w, s, way, lasting, at, &again, &why);
        failed += again;
    }
    ok(good, "%s%s [%s]", label, failed > 0 ? why.text : "was not reached", faults_where());
    *sum += failed;
}

// One check for each story and way, and their sums. `budget`: cases of each, at least 2; all where
// there are no more. SWEEP_SOME: about half of the stories and ways (with RQC_TEST_SCALE=20 a
// tenth), left to chance, and once and lasting by turns.
static void sweep(world *w, const story *told, size_t ntold, const fault_way *ways, unsigned n,
                  uint64_t budget, sweep_how how)
{
    uint64_t sum[64] = {0};
    budget = budget < 2 ? 2 : budget;
    signal(SIGALRM, on_hang);
    signal(SIGABRT, on_death);
    if (!__lsan_do_recoverable_leak_check)
        signal(SIGSEGV, on_death);
    signal(SIGBUS, on_death);
    for (size_t i = 0; i < ntold; i++) {
        uint64_t events[FAULTS_KINDS] = {0};
        const char *given = getenv("RQC_FAULTS");
        const size_t len = strlen(told[i].name);
        if (given && strncmp(given, told[i].name, len) != 0)
            continue;
        if (how == SWEEP_EVERY)
            faults_places_begin();
        if (!place_named())
            count(w, &told[i], events);
        for (unsigned k = 0; k < n; k++) {
            const bool turn = how != SWEEP_SOME || getenv("RQC_FAULTS"), even = (i + k) % 2 == 0;
            if (!turn && sum[k] > 0 && fault_rand(200) >= tap_scaled(100))
                continue;
            if (turn || even || ways[k].once_only)
                sweep_way(w, &told[i], &ways[k], false, events[ways[k].kind], how, budget, &sum[k]);
            if (!ways[k].once_only && (turn || !even))
                sweep_way(w, &told[i], &ways[k], true, events[ways[k].kind], how, budget, &sum[k]);
        }
    }
    for (unsigned k = 0; k < n; k++)
        if (!getenv("RQC_FAULTS"))
            ok(sum[k] > 0, "%s: %" PRIu64 " faults", ways[k].name, sum[k]);
}

#endif
