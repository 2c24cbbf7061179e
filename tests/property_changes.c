// SPDX-License-Identifier: Apache-2.0
// The stream of changes: subscribers with different lag whose models must always become the SQL
// state, cursors of every kind, and the whole history from every cursor, which must be the same
// after a rebuild.
#include "tests/property.h"

#define PACES 4
#define ALL   (NTOPICS - 1u) // the last topic is that of all workspaces

typedef struct entry {
    bool live;
    XXH128_hash_t hash;
} entry;

// Follows one topic. Its model is what it was told.
typedef struct subscriber {
    unsigned topic;
    unsigned pace; // 0 at every look; 1, 2 seldom; 3 at every look, but one page only
    rqc_cursor cursor;
    entry model[NENTITIES][NIDS];
} subscriber;

static subscriber subscribers[NTOPICS][PACES];

static const uint8_t *topic_id(unsigned topic)
{
    return topic == ALL ? NULL : g.topics[topic];
}

static const char *topic_name(unsigned topic)
{
    return topic == ALL ? "all" : id_name(g.topics[topic]);
}

static bool in_topic(const prop_row *r, unsigned topic)
{
    return r->live && (topic == ALL || memcmp(r->home, g.topics[topic], 16) == 0);
}

void subscribers_init(void)
{
    memset(subscribers, 0, sizeof subscribers);
    for (unsigned t = 0; t < NTOPICS; t++)
        for (unsigned p = 0; p < PACES; p++) {
            subscribers[t][p].topic = t;
            subscribers[t][p].pace = p;
        }
}

// What a cursor deserves, by the rules of the header: `started` counts for walks from 0. One that
// stands between the records of a seq has not seen all of that seq.
static rqc_err verdict(const rqc_cursor *c, uint64_t position)
{
    const uint64_t needs = c->started != 0 ? c->started : c->seq - (c->entity != 0);
    if (c->seq > position || c->started > position)
        return RQC_FUTURE;
    return c->seq + c->started != 0 && needs < g.horizon ? RQC_TOO_OLD : RQC_OK;
}

static int order(uint64_t seq, uint8_t entity, const uint8_t *id, const rqc_cursor *c)
{
    if (seq != c->seq)
        return seq < c->seq ? -1 : 1;
    if (c->entity == 0)
        return -1; // everything at this seq was seen
    if (entity != c->entity)
        return entity < c->entity ? -1 : 1;
    return memcmp(id, c->id, 16);
}

// One record of a page: behind the cursor, in order, and what it says is true now.
static void check_change(rqc_read *r, unsigned topic, rqc_cursor *last, const rqc_change *c)
{
    static text form;
    const int id = id_number(c->id);
    const uint64_t position = rqc_read_position(r).seq;
    story_blame(id);
    CHECK(C_ORDER,
          id != NO_ID && c->entity > 0 && c->entity < NENTITIES &&
              (c->op == 1) == (c->record != NULL) && (c->op == 1 || c->op == 2),
          "changes give a record that cannot be");
    CHECK(C_ORDER, c->seq <= position && order(c->seq, c->entity, c->id, last) > 0,
          "changes of %s: seq %" PRIu64 " entity %u id %s does not stand behind seq %" PRIu64
          " entity %u id %s",
          topic_name(topic), c->seq, c->entity, id_name(c->id), last->seq, last->entity,
          id_name(last->id));
    *last = (rqc_cursor){.seq = c->seq, .entity = c->entity};
    memcpy(last->id, c->id, 16);
    const prop_row *row = &g.now->rows[c->entity][id];
    CHECK(C_ORDER, (c->op == 1) == in_topic(row, topic),
          "changes of %s at %" PRIu64 ": %s %s is %s, SQL disagrees", topic_name(topic), c->seq,
          prop_tables[c->entity].name, id_name(c->id), c->op == 1 ? "there" : "deleted");
    g.cover.tombstones += c->op == 2;
    if (c->op == 2)
        return;
    CHECK(C_ORDER, rqc_record_seq(c->record) == c->seq,
          "a record of seq %" PRIu64 " is announced at %" PRIu64, rqc_record_seq(c->record),
          c->seq);
    form.len = 0;
    form_record(&form, c->record);
    CHECK(C_ORDER, XXH128_isEqual(XXH3_128bits(form.p, form.len), row->hash), "changes: %s",
          form_difference(&prop_tables[c->entity], (const uint8_t *)form.p, form.len,
                          g.now->bytes + row->at, row->len));
    story_blame(NO_ID);
}

static uint32_t some_limit(void)
{
    static const uint32_t limits[] = {1, 2, 3, 7, 20, 1000, RQC_PAGE_MAX};
    return limits[below(sizeof limits / sizeof *limits)];
}

// One page. Returns true at up to date. The list is valid until the session ends.
static bool page(rqc_read *r, unsigned topic, rqc_cursor *cursor, uint32_t limit,
                 rqc_changes_list *list)
{
    const rqc_cursor before = *cursor;
    rqc_cursor last = before;
    const uint64_t position = rqc_read_position(r).seq;
    int done = -1;
    const rqc_err rc = rqc_changes(r, topic_id(topic), cursor, limit, list, &done);
    CHECK(C_ORDER, rc == RQC_OK && (done == 0 || done == 1) && list->n <= limit,
          "changes of %s since %" PRIu64 ": %d, %zu records", topic_name(topic), before.seq,
          (int)rc, list->n);
    for (size_t i = 0; i < list->n; i++)
        check_change(r, topic, &last, &list->items[i]);
    if (done == 1) {
        CHECK(C_ORDER, cursor->seq == position && cursor->entity == 0 && cursor->started == 0,
              "up to date with the cursor at %" PRIu64 ", position %" PRIu64, cursor->seq,
              position);
        return true;
    }
    CHECK(C_ORDER,
          list->n == limit && cursor->seq == last.seq && cursor->entity == last.entity &&
              memcmp(cursor->id, last.id, 16) == 0,
          "a page of %zu ended at another place than its last record", list->n);
    return false;
}

// ---- Subscribers ----

static void note(subscriber *s, const rqc_changes_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        const rqc_change *c = &list->items[i];
        entry *e = &s->model[c->entity][id_number(c->id)];
        e->live = c->op == 1;
        e->hash = e->live ? g.now->rows[c->entity][id_number(c->id)].hash
                          : (XXH128_hash_t){0, 0}; // check_change compared them
    }
}

static void compare_model(const subscriber *s)
{
    for (unsigned e = 1; e < NENTITIES; e++)
        for (unsigned i = 0; i < NIDS; i++) {
            const prop_row *row = &g.now->rows[e][i];
            const bool want = in_topic(row, s->topic);
            const entry *m = &s->model[e][i];
            story_blame((int)i);
            CHECK(C_MODEL, m->live == want,
                  "a subscriber of %s (pace %u) %s %s %s, SQL says it is %s", topic_name(s->topic),
                  s->pace, m->live ? "has" : "has not", prop_tables[e].name, id_name(g.ids[i]),
                  want ? "there" : "not there");
            CHECK(C_MODEL, !want || XXH128_isEqual(m->hash, row->hash),
                  "a subscriber of %s (pace %u) has an older %s %s", topic_name(s->topic), s->pace,
                  prop_tables[e].name, id_name(g.ids[i]));
        }
    story_blame(NO_ID);
}

static void follow(rqc_read *r, subscriber *s)
{
    rqc_changes_list list = RQC_CHANGES_INIT;
    const rqc_err want = verdict(&s->cursor, rqc_read_position(r).seq);
    if (want != RQC_OK) {
        rqc_cursor c = s->cursor;
        int done;
        const rqc_err rc = rqc_changes(r, topic_id(s->topic), &c, 5, &list, &done);
        CHECK(C_CURSOR, rc == want, "a subscriber of %s at %" PRIu64 " gets %d, not %d",
              topic_name(s->topic), s->cursor.seq, (int)rc, (int)want);
        g.cover.too_old += rc == RQC_TOO_OLD;
        s->cursor = (rqc_cursor)RQC_CURSOR_INIT(0);
        memset(s->model, 0, sizeof s->model);
    }
    bool done = false;
    const uint32_t limit = s->pace == 3 ? 1 + below(12) : some_limit();
    do {
        done = page(r, s->topic, &s->cursor, limit, &list);
        note(s, &list);
    } while (!done && s->pace != 3);
    if (done)
        compare_model(s);
    rqc_changes_free(&list);
}

void subscribers_follow(rqc_read *r, bool all)
{
    static const uint32_t seldom[PACES] = {1, 6, 60, 1};
    for (unsigned t = 0; t < NTOPICS; t++)
        for (unsigned p = 0; p < PACES; p++)
            if (all || below(seldom[p]) == 0)
                follow(r, &subscribers[t][p]);
}

// ---- Cursors ----

void check_cursors(rqc_read *r)
{
    rqc_changes_list list = RQC_CHANGES_INIT;
    const uint64_t position = rqc_read_position(r).seq, horizon = g.horizon;
    const uint64_t some[] = {0,
                             1,
                             horizon - (horizon > 0),
                             horizon,
                             horizon + 1,
                             position,
                             position + 1,
                             below((uint32_t)position + 3)};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        const unsigned topic = below(NTOPICS);
        rqc_cursor c = RQC_CURSOR_INIT(some[i]);
        const rqc_err want = verdict(&c, position);
        int done = 7;
        const rqc_cursor before = c;
        const rqc_err rc = rqc_changes(r, topic_id(topic), &c, some_limit(), &list, &done);
        CHECK(C_CURSOR, rc == want,
              "a cursor at %" PRIu64 " gets %d, not %d (position %" PRIu64 ", horizon %" PRIu64 ")",
              some[i], (int)rc, (int)want, position, horizon);
        CHECK(C_CURSOR, rc == RQC_OK || (c.seq == before.seq && c.entity == 0 && done == 7),
              "a refused cursor was changed");
        g.cover.too_old += rc == RQC_TOO_OLD;
        g.cover.future += rc == RQC_FUTURE;
    }
    int done = 7;
    rqc_cursor c = RQC_CURSOR_INIT(0);
    CHECK(C_CURSOR,
          rqc_changes(r, NULL, &c, 0, &list, &done) == RQC_INVALID &&
              rqc_changes(r, NULL, &c, RQC_PAGE_MAX + 1, &list, &done) == RQC_INVALID &&
              rqc_changes(r, NULL, NULL, 5, &list, &done) == RQC_INVALID,
          "changes with a wrong limit or no cursor");
    c.entity = NENTITIES;
    CHECK(C_CURSOR, rqc_changes(r, NULL, &c, 5, &list, &done) == RQC_INVALID,
          "changes with an unknown entity in the cursor");
    rqc_changes_free(&list);
}

// A walk from 0 finds every live record of the topic, each once.
static void check_walk(rqc_read *r, unsigned topic)
{
    unsigned seen[NENTITIES][NIDS] = {{0}};
    rqc_changes_list list = RQC_CHANGES_INIT;
    rqc_cursor c = RQC_CURSOR_INIT(0);
    const uint32_t limit = some_limit();
    bool done = false;
    while (!done) {
        done = page(r, topic, &c, limit, &list);
        for (size_t i = 0; i < list.n; i++)
            seen[list.items[i].entity][id_number(list.items[i].id)] +=
                list.items[i].op == 1 ? 1 : 0x100;
    }
    rqc_changes_free(&list);
    for (unsigned e = 1; e < NENTITIES; e++)
        for (unsigned i = 0; i < NIDS; i++) {
            const bool want = in_topic(&g.now->rows[e][i], topic);
            story_blame((int)i);
            CHECK(C_ORDER, seen[e][i] == (want ? 1u : 0u) || (!want && seen[e][i] == 0x100),
                  "a walk of %s gives %s %s %u times and deleted %u times", topic_name(topic),
                  prop_tables[e].name, id_name(g.ids[i]), seen[e][i] & 0xff, seen[e][i] >> 8);
        }
    story_blame(NO_ID);
}

void check_walks(rqc_read *r)
{
    check_walk(r, ALL);
    check_walk(r, below(ALL));
}

// ---- Nothing is announced that nobody touched ----

// What the log names behind `since`, and what belongs to it.
static void touched_since(uint64_t since, bool touched[NENTITIES][NIDS])
{
    sqlite3_stmt *s = oracle_sql("SELECT DISTINCT entity, id FROM change_log WHERE seq > ?1");
    sqlite3_bind_int64(s, 1, (int64_t)since);
    while (sqlite3_step(s) == SQLITE_ROW) {
        const int e = sqlite3_column_int(s, 0), id = sqlite3_column_bytes(s, 1) == 16
                                                         ? id_number(sqlite3_column_blob(s, 1))
                                                         : NO_ID;
        if (e > 0 && e < (int)NENTITIES && id != NO_ID)
            touched[e][id] = true;
    }
    sqlite3_reset(s);
    const prop_state *const states[] = {g.before, g.now};
    for (unsigned pass = 0; pass < 2; pass++) // responses first, then what they own
        for (unsigned e = RQC_HTTP_HEADER; e < NENTITIES; e++)
            for (unsigned i = 0; i < NIDS; i++)
                for (unsigned k = 0; k < 2; k++) {
                    const prop_row *row = &states[k]->rows[e][i];
                    if (row->live && row->owner != NO_ID &&
                        touched[prop_tables[e].owner_entity][row->owner])
                        touched[e][i] = true;
                }
}

void check_touched(rqc_read *r, uint64_t since)
{
    bool touched[NENTITIES][NIDS] = {{false}};
    rqc_changes_list list = RQC_CHANGES_INIT;
    rqc_cursor c = RQC_CURSOR_INIT(since);
    if (since == 0 || verdict(&c, rqc_read_position(r).seq) != RQC_OK)
        return;
    touched_since(since, touched);
    bool done = false;
    while (!done) {
        done = page(r, ALL, &c, RQC_PAGE_MAX, &list);
        for (size_t i = 0; i < list.n; i++) {
            const int id = id_number(list.items[i].id);
            story_blame(id);
            CHECK(C_TOUCHED, touched[list.items[i].entity][id],
                  "%s %s is announced at %" PRIu64 ", nobody touched it or its owner",
                  prop_tables[list.items[i].entity].name, id_name(list.items[i].id),
                  list.items[i].seq);
        }
    }
    story_blame(NO_ID);
    rqc_changes_free(&list);
}

// ---- The whole history ----

typedef struct item {
    uint64_t seq;
    uint32_t list; // number of the list it belongs to
    uint8_t op, entity;
    uint8_t id[16];
    XXH128_hash_t bytes; // of the record as it lies in the view
} item;

struct prop_history {
    uint64_t position, horizon;
    item *items;
    size_t n, cap;
};

static void history_add(prop_history *h, uint32_t number, const rqc_change *c)
{
    if (h->n == h->cap) {
        h->cap = h->cap == 0 ? 4096 : 2 * h->cap;
        h->items = realloc(h->items, h->cap * sizeof *h->items);
        if (h->items == NULL)
            bail("no memory");
    }
    item *i = &h->items[h->n++];
    memset(i, 0, sizeof *i);
    i->seq = c->seq;
    i->list = number;
    i->op = c->op;
    i->entity = c->entity;
    memcpy(i->id, c->id, 16);
    if (c->record != NULL)
        i->bytes = XXH3_128bits(c->record, engine_record_size(c->record));
}

// List `number` is that of one topic and one cursor: since = horizon - 1 + number / NTOPICS, and 0
// in place of horizon - 1. Tombstones behind the horizon may be there still, or not: nobody needs
// them.
prop_history *history_take(rqc_read *r, uint64_t horizon)
{
    prop_history *h = calloc(1, sizeof *h);
    if (h == NULL)
        bail("no memory");
    h->position = rqc_read_position(r).seq;
    h->horizon = horizon;
    rqc_changes_list list = RQC_CHANGES_INIT;
    for (uint64_t at = h->horizon; at <= h->position + 1; at++)
        for (unsigned topic = 0; topic < NTOPICS; topic++) {
            rqc_cursor c = RQC_CURSOR_INIT(at == h->horizon ? 0 : at - 1);
            const uint32_t number = (uint32_t)(at - h->horizon) * NTOPICS + topic;
            int done = 0;
            while (done == 0) {
                if (rqc_changes(r, topic_id(topic), &c, 1000, &list, &done) != RQC_OK)
                    broken(C_REBUILD,
                           "changes since %" PRIu64 " (position %" PRIu64 ", horizon %" PRIu64
                           "): %s",
                           at, h->position, h->horizon, rqc_read_error(r));
                for (size_t i = 0; i < list.n; i++)
                    if (list.items[i].op == 1 || list.items[i].seq > horizon)
                        history_add(h, number, &list.items[i]);
            }
        }
    rqc_changes_free(&list);
    return h;
}

static const char *item_text(const prop_history *h, size_t at)
{
    static char out[2][200];
    static unsigned next;
    char *p = out[next++ % 2];
    if (at >= h->n)
        return "nothing";
    const item *i = &h->items[at];
    const uint64_t since = i->list < NTOPICS ? 0 : h->horizon + i->list / NTOPICS - 1;
    snprintf(p, sizeof out[0], "(%s since %" PRIu64 ") %" PRIu64 " %s %s %s %016" PRIx64,
             topic_name(i->list % NTOPICS), since, i->seq, i->op == 1 ? "put" : "delete",
             prop_tables[i->entity].name, id_name(i->id), i->bytes.low64);
    return p;
}

void history_compare(const prop_history *a, const prop_history *b, const char *what)
{
    CHECK(C_REBUILD, a->position == b->position && a->horizon == b->horizon,
          "%s: position %" PRIu64 " became %" PRIu64, what, a->position, b->position);
    for (size_t i = 0; i < a->n || i < b->n; i++) {
        const bool same =
            i < a->n && i < b->n && memcmp(&a->items[i], &b->items[i], sizeof(item)) == 0;
        if (!same)
            story_blame(id_number(i < a->n ? a->items[i].id : b->items[i].id));
        CHECK(C_REBUILD, same, "%s, position %" PRIu64 ", horizon %" PRIu64 ": %s became %s", what,
              a->position, a->horizon, item_text(a, i), item_text(b, i));
    }
}

void history_free(prop_history *h)
{
    if (h != NULL)
        free(h->items);
    free(h);
}
