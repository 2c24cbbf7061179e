// SPDX-License-Identifier: Apache-2.0
// Plays the test vectors of tests/vectors, and those that several implementations share (found in
// $RQC_VECTORS). Each vector is one check.
#include "tests/vectors.h"

#include <errno.h>
#include <ftw.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT "http-mirror-vectors/1"

static char folder[VEC_PATH];

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void remove_all(const char *path)
{
    (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static const struct {
    const char *op;
    play_fn *fn;
} queries[] = {
    {"overlay_resolve", play_overlay},
    {"chain_resolve", play_chain},
    {"snapshot_page", play_page},
    {"snapshot_walk", play_walk},
    {"snapshot_count", play_count},
    {"incremental", play_incremental},
    {"incremental_walk", play_incremental_walk},
    {"deltas_since", play_deltas},
    {"batch", play_batch},
    {"headers_stream", play_headers},
    {"params_stream", play_params},
    {"forms_stream", play_forms},
    {"children", play_children},
    {"metrics", play_metrics},
    {"activity", play_activity},
    {"changes", play_changes},
    {"get", play_get},
};

play_fn *query_named(const char *op)
{
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        if (strcmp(queries[i].op, op) == 0)
            return queries[i].fn;
    }
    return NULL;
}

// ---- What is expected ----

typedef struct tally {
    unsigned vectors, played, defined, elsewhere;
    unsigned by_outcome[DIFFERENT + 1];
} tally;

static json_t *chosen(play *p, json_t *one_of, const char *id)
{
    size_t i;
    json_t *row;
    json_array_foreach(one_of, i, row)
    {
        if (strcmp(text_at(row, "id"), id) == 0)
            return json_pack("{sO}", "row", row);
    }
    wrong(p, "%s is none of the admissible answers", id);
    return NULL;
}

// A new reference; NULL with a fault when nobody decided.
static json_t *expected(play *p, tally *t)
{
    const decision *d = decision_of(text_at(p->v, "id"));
    json_t *expect = json_object_get(p->v, "expect");
    json_t *better = json_object_get(p->v, "expect_recommended");
    if (strcmp(text_at(p->v, "status"), "defined") == 0) {
        t->defined++;
        if (d)
            wrong(p, "is defined, but vectors_decided.c decides it");
        return json_incref(better ? better : expect);
    }
    if (!d) {
        wrong(p, "is %s, and vectors_decided.c does not know it", text_at(p->v, "status"));
        return NULL;
    }
    t->by_outcome[d->outcome]++;
    switch (d->outcome) {
    case AS_EXPECTED:
        if (better)
            wrong(p, "expect_recommended is passed over");
        return json_incref(expect);
    case AS_RECOMMENDED: return json_incref(better);
    case CHOSEN: return chosen(p, json_object_get(expect, "one_of"), d->ours);
    case DIFFERENT:
    default: return json_loads(d->ours, 0, NULL);
    }
}

// ---- Playing ----

static bool act(play *p, const char *op, json_t *expect)
{
    if (strcmp(op, "cascade") == 0)
        return play_cascade(p, expect);
    if (strcmp(op, "insert") == 0)
        return play_insert(p, expect);
    if (strcmp(op, "scenario") == 0)
        return play_scenario(p);
    play_fn *fn = query_named(op);
    if (!fn)
        return wrong(p, "unknown operation \"%s\"", op);
    if (!fn(p, p->args, expect))
        return false;
    // Under sanitizers one in five is asked twice.
    static unsigned n;
    if (n++ % 5 >= tap_scaled(5))
        return true;
    play_reopen(p);
    return fn(p, p->args, expect) || wrong_in(p, "in a view built anew");
}

// One way through a vector: rows in, operation, and the view against the file.
static bool through(play *p, json_t *expect)
{
    char place[VEC_PATH + 8];
    snprintf(place, sizeof place, "%s/play", folder);
    mkdir(place, 0750);
    play_open(p, place);
    if (!json_is_object(json_object_get(p->v, "tables")))
        wrong(p, "there are no tables");
    if (foreign_fill(p) && act(p, text_at(p->v, "op"), expect))
        play_verify(p);
    play_close(p);
    remove_all(place);
    return p->fault[0] == '\0';
}

static void play_vector(json_t *v, tally *t)
{
    static json_t *no_args;
    play p = {.v = v, .args = json_object_get(v, "args")};
    if (!p.args)
        p.args = no_args ? no_args : (no_args = json_object());
    json_t *expect = expected(&p, t);
    // What the library deletes it deletes with all that hangs on it, so that must come out the
    // same.
    const int entity = rqc_entity_number(text_at(json_object_get(p.args, "delete"), "table"));
    if (!p.fault[0] && through(&p, expect) && entity > 0 &&
        !json_is_false(json_object_get(p.args, "foreign_keys"))) {
        p.own = true;
        if (!through(&p, expect))
            wrong_in(&p, "deleted through the library");
    }
    t->played++;
    if (!ok(p.fault[0] == '\0', "%s: %s", text_at(v, "id"), text_at(v, "title")))
        tap_note("  %s", p.fault);
    json_decref(expect);
}

static void play_file(const char *path, tally *t)
{
    json_error_t err;
    json_t *doc = json_load_file(path, JSON_REJECT_DUPLICATES, &err);
    if (!doc || strcmp(text_at(doc, "format"), FORMAT) != 0)
        fail("%s: no vectors: %s", path, doc ? "another format" : err.text);
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(doc, "vectors"), i, v)
    {
        json_t *world = json_object_get(json_object_get(doc, "worlds"), text_at(v, "world"));
        if (world)
            json_object_set(v, "tables", world);
        t->vectors++;
        if (not_here(text_at(v, "op")))
            t->elsewhere++;
        else
            play_vector(v, t);
    }
    json_decref(doc);
}

static tally play_folder(const char *name, const char *path)
{
    char pattern[VEC_PATH * 2];
    glob_t found;
    tally t = {0};
    snprintf(pattern, sizeof pattern, "%s/*.json", path);
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            play_file(found.gl_pathv[i], &t);
        globfree(&found);
    }
    ok(t.played > 0, "there are %s vectors", name);
    tap_note("%s vectors: %u, played %u: %u defined, %u as expected, %u as recommended, %u chosen, "
             "%u different; %u of another layer",
             name, t.vectors, t.played, t.defined, t.by_outcome[AS_EXPECTED],
             t.by_outcome[AS_RECOMMENDED], t.by_outcome[CHOSEN], t.by_outcome[DIFFERENT],
             t.elsewhere);
    return t;
}

static void play_shared(const char *path)
{
    if (access(path, R_OK) != 0) {
        skip("NO SHARED VECTORS: there is no folder %s (RQC_VECTORS names another)", path);
        return;
    }
    const tally t = play_folder("shared", path);
    unsigned decisions = 0;
    while (decision_at(decisions))
        decisions++;
    is(t.played - t.defined, decisions, "every decision met its vector");
}

// ---- Folders ----

static void remove_folder(void)
{
    remove_all(folder);
}

// Hundreds of small databases: in memory where that is possible, because of their fsyncs.
static void make_folder(void)
{
    const char *tmp = getenv("TMPDIR");
    if (!tmp || !tmp[0])
        tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(folder, sizeof folder, "%s/rqc-vectors-XXXXXX", tmp);
    if (!mkdtemp(folder))
        bail("no temporary folder: %s", strerror(errno));
    atexit(remove_folder);
}

int main(void)
{
    const char *root = getenv("RQC_SOURCE_ROOT"), *named = getenv("RQC_VECTORS");
    char ours[VEC_PATH], shared[VEC_PATH];
    if (!root)
        root = ".";
    snprintf(ours, sizeof ours, "%s/tests/vectors", root);
    snprintf(shared, sizeof shared, "%s/../shared/vectors", root);
    if (named && named[0])
        snprintf(shared, sizeof shared, "%s", named);
    make_folder();
    (void)play_folder("own", ours);
    play_shared(shared);
    play_end();
    return tap_done();
}
