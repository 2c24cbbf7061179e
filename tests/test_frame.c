// SPDX-License-Identifier: Apache-2.0
//
// Frames and messages: the examples of docs/protocol.md, round trips, and that nothing which was
// changed, cut or made up passes.
#include "replicate/message.h"
#include "tests/rows.h"
#include "tests/tap.h"

static rows_random random_;

static rqci_epoch example_epoch(void)
{
    rqci_epoch e = {.term = 3};
    for (uint8_t i = 0; i < 16; i++)
        e.store_id[i] = i;
    return e;
}

static size_t example(const char *page, const char *name, uint8_t *ret, size_t max)
{
    char *text = rows_from_docs(page, name);
    size_t n = 0;
    if (!text)
        bail("docs/%s has no ```%s", page, name);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        n += rows_hex(line, ret + n, max - n);
    free(text);
    return n;
}

static void show(const char *name, const rqci_buf *b)
{
    char line[64];
    tap_note("%s:", name);
    for (size_t i = 0; i < b->len; i += 16) {
        int n = 0;
        for (size_t k = i; k < i + 16 && k < b->len; k++)
            n +=
                snprintf(line + n, sizeof line - (size_t)n, "%s%02x", k > i ? " " : "", b->data[k]);
        tap_note("%s", line);
    }
}

static void compare(const char *name, const rqci_buf *made)
{
    uint8_t want[1024];
    const size_t n = example("protocol.md", name, want, sizeof want);
    if (!is(made->len, n, "%s: as long as the example", name) ||
        !is_mem(made->data, want, n, "%s: the bytes of docs/protocol.md", name))
        show(name, made);
}

static void make_changes(rqci_buf *out, const rqc_record *record, uint32_t flags)
{
    static const uint8_t http[16] = {0x01, 0x99, 0xc8, 0x2c, 0xbc, 0x18, 0xa1, 0xa2,
                                     0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa};
    const rqci_frame f = {.flags = RQCI_FRAME_ALL | flags,
                          .epoch = example_epoch(),
                          .prev_seq = 6,
                          .seq = 9,
                          .horizon = 5};
    const rqc_change put = {1, RQCI_HTTP_HEADER, 7, rqci_rec_id(record), record};
    const rqc_change del = {2, RQCI_HTTP, 8, http, NULL};
    const size_t at = out->len;
    ok(rqci_frame_begin(out, &f) == RQC_OK && rqci_frame_add(out, &put) == RQC_OK &&
           rqci_frame_add(out, &del) == RQC_OK,
       "a frame is made");
    rqci_frame_end(out, at, 2);
}

static void check_examples(void)
{
    _Alignas(8) uint8_t record[256];
    uint8_t digest[16];
    rqci_buf b = {0};
    rqci_frame f = {.flags = RQCI_FRAME_ALL | RQCI_FRAME_BOOKMARK,
                    .epoch = example_epoch(),
                    .prev_seq = 7,
                    .seq = 9,
                    .horizon = 5,
                    .records = 1};
    is(example("format.md", "record", record, sizeof record), 112u, "the example record");
    rqci_rec_digest((const rqc_record *)record, &f.digest);
    rqci_put64be(digest, f.digest.hi);
    rqci_put64be(digest + 8, f.digest.lo);
    is(digest[0], 0x34, "its digest");
    ok(rqci_frame_begin(&b, &f) == RQC_OK, "a bookmark is made");
    rqci_frame_end(&b, 0, 0);
    compare("bookmark", &b);
    b.len = 0;
    make_changes(&b, (const rqc_record *)record, 0);
    compare("changes", &b);

    rqci_ask_changes q = {.flags = RQCI_FRAME_ALL,
                          .epoch = example_epoch(),
                          .cursor = {.seq = 6},
                          .limit = 100,
                          .bytes = 65536};
    ok(rqci_ask_changes_put(&b, &q) == RQC_OK, "a question is made");
    compare("question", &b);
    const rqc_cursor next = {.seq = 9};
    ok(rqci_answer_changes_begin(&b, &next, true) == RQC_OK, "an answer is made");
    make_changes(&b, (const rqc_record *)record, RQCI_FRAME_PAGE);
    rqci_answer_end(&b);
    compare("answer", &b);

    rqci_message m;
    rqci_changes_answer a;
    rqci_errbuf err = {""};
    ok(rqci_message_decode(b.data, b.len, RQCI_ANSWER_MAGIC, &m, &err) == RQC_OK &&
           rqci_changes_answer_decode(&m, &a, &err) == RQC_OK,
       "and read: %s", err.text);
    ok(a.up_to_date && a.next.seq == 9 && a.frame.count == 2, "with what it says");
    rqci_buf_free(&b);
}

// A frame of records at random; as many entries as fit into `most` bytes.
static void random_frame(rqci_buf *out, rqci_buf *records, size_t most)
{
    rqci_frame f = {.flags = rows_below(&random_, 2), .prev_seq = rows_below(&random_, 1000)};
    f.epoch = example_epoch();
    uint64_t seq = f.prev_seq;
    uint32_t n = 0;
    f.seq = seq + 1000;
    if (!(f.flags & RQCI_FRAME_ALL))
        memset(f.topic, 7, 16);
    out->len = 0;
    (void)rqci_frame_begin(out, &f);
    while (n == 0 || (out->len < most && rows_below(&random_, 8))) {
        const rqci_entity *e = rqci_entity_of(1 + rows_below(&random_, RQCI_ENTITY_MAX));
        rqc_value row[RQCI_FIELD_MAX];
        rows_random_row(&random_, e, row);
        records->len = 0;
        seq += 1 + rows_below(&random_, 3);
        if (rqci_rec_pack(e, row, seq, 0, records, NULL) != RQC_OK)
            continue;
        const rqc_record *r = (const rqc_record *)records->data;
        rqc_change c = {1, e->code, seq, rqci_rec_id(r), r};
        if (rows_below(&random_, 4) == 0) {
            c.op = 2;
            c.record = NULL;
        }
        (void)rqci_frame_add(out, &c);
        n++;
    }
    rqci_frame_end(out, 0, n);
}

static void check_frames(void)
{
    rqci_buf b = {0}, records = {0}, copy = {0};
    size_t wrong = 0, passed = 0, checked = 0;
    const size_t rounds = tap_scaled(300);
    for (size_t i = 0; i < rounds; i++) {
        rqci_frame f;
        random_frame(&b, &records, 4096);
        // At any alignment.
        const size_t shift = rows_below(&random_, 8);
        (void)rqci_buf_reserve(&copy, b.len + 8);
        memcpy(copy.data + shift, b.data, b.len);
        if (rqci_frame_decode(copy.data + shift, b.len, &f, NULL) != RQC_OK) {
            wrong++;
            continue;
        }
        size_t offset = 0, n = 0;
        for (rqc_change c; rqci_frame_next(&f, &offset, &c); n++)
            if (c.record && rqci_rec_seq(c.record) != c.seq)
                wrong++;
        if (n != f.count)
            wrong++;
        for (int k = 0; k < 20; k++, checked++) {
            const size_t at = shift + rows_below(&random_, (uint32_t)b.len);
            const uint8_t was = copy.data[at];
            copy.data[at] ^= (uint8_t)(1u << rows_below(&random_, 8));
            passed += rqci_frame_decode(copy.data + shift, b.len, &f, NULL) == RQC_OK;
            // With a check value that fits: it must be read, or refused, without harm.
            rqci_put64(copy.data + shift + 8, rqci_xxh64(copy.data + shift + 16, b.len - 16));
            if (rqci_frame_decode(copy.data + shift, b.len, &f, NULL) == RQC_OK)
                for (offset = 0; rqci_frame_next(&f, &offset, &(rqc_change){0});)
                    ;
            copy.data[at] = was;
            memcpy(copy.data + shift, b.data, 16);
        }
        const size_t cut = rows_below(&random_, (uint32_t)b.len);
        passed += rqci_frame_decode(b.data, cut, &f, NULL) == RQC_OK;
    }
    is(wrong, 0u, "%zu frames are read as they were made", rounds);
    is(passed, 0u, "%zu changed bits and cuts are noticed", checked);
    rqci_buf_free(&b);
    rqci_buf_free(&copy);
    rqci_buf_free(&records);
}

// ---- Rules that a check value does not keep -----------------------------------------------------

typedef struct broken {
    const char *name;
    size_t at;
    uint64_t value;
    unsigned bytes;
} broken;

static void check_rules(void)
{
    static const broken rows[] = {
        {"another version", 4, 2, 4},
        {"another magic", 0, 1, 4},
        {"a size that is not its own", 16, 240, 4},
        {"unknown flags", 20, 33, 4},
        {"bookmark and gap", 20, 7, 4},
        {"a bookmark with entries", 20, 3, 4},
        {"too few entries", 44, 1, 4},
        {"too many entries", 44, 3, 4},
        {"a topic of all with an id", 48, 1, 1},
        {"prev_seq behind seq", 64, 10, 8},
        {"an entry not behind prev_seq", 64, 7, 8},
        {"an entry behind seq", 72, 7, 8},
        {"a horizon behind seq", 80, 10, 8},
        {"no entity", 112, 14, 1},
        {"no operation", 113, 3, 1},
        {"bytes that are not zero", 114, 1, 2},
        {"a delete with a record", 113, 2, 1},
        {"a record that is cut", 116, 104, 4},
        {"a record that is too long", 116, 0x1000, 4},
        {"another seq than the record's", 120, 9, 8},
        {"another id than the record's", 128, 2, 1},
        {"an order that is none", 264, 7, 8},
    };
    _Alignas(8) uint8_t record[256];
    rqci_buf b = {0};
    rqci_frame f;
    (void)example("format.md", "record", record, sizeof record);
    make_changes(&b, (const rqc_record *)record, 0);
    is(rqci_frame_decode(b.data, b.len, &f, NULL), RQC_OK, "the frame is good");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t copy[512];
        memcpy(copy, b.data, b.len);
        for (unsigned k = 0; k < rows[i].bytes; k++)
            copy[rows[i].at + k] = (uint8_t)(rows[i].value >> 8 * k);
        rqci_put64(copy + 8, rqci_xxh64(copy + 16, b.len - 16));
        const rqc_err rc = rqci_frame_decode(copy, b.len, &f, NULL);
        is(rc, rows[i].at == 4 ? RQC_VERSION : RQC_CORRUPT, "refused: %s", rows[i].name);
    }
    rqci_buf_free(&b);
}

// ---- Messages -----------------------------------------------------------------------------------

static void check_write(void)
{
    rqci_buf b = {0};
    rqci_message m;
    rqci_errbuf err = {""};
    size_t wrong = 0, offset = 0;
    rqci_asked_write w[40], got;
    ok(rqci_ask_write_begin(&b, NULL, 0) == RQC_OK, "a transaction begins");
    for (size_t i = 0; i < 40; i++) {
        const rqci_entity *e = rqci_entity_of(1 + (unsigned)i % RQCI_ENTITY_MAX);
        memset(&w[i], 0, sizeof w[i]);
        w[i].kind = (uint8_t)(1 + i % 4);
        w[i].entity = e->code;
        w[i].if_seq = i;
        memset(w[i].id, (int)i, 16);
        for (int k = 1; k < e->nfields && w[i].kind != RQCI_KIND_DELETE; k++)
            if (rows_below(&random_, 3))
                w[i].row[k] = rows_random_value(&random_, e, k);
        wrong += rqci_ask_write_add(&b, &w[i]) != RQC_OK;
    }
    rqci_ask_write_end(&b, 40);
    ok(rqci_message_decode(b.data, b.len, RQCI_ASK_MAGIC, &m, &err) == RQC_OK, "it is read");
    for (size_t i = 0; i < 40; i++) {
        if (rqci_ask_write_next(&m, &offset, &got, &err) != RQC_OK) {
            wrong++;
            break;
        }
        wrong += got.kind != w[i].kind || got.entity != w[i].entity || got.if_seq != i ||
                 memcmp(got.id, w[i].id, 16) != 0;
        for (int k = 0; k < RQCI_FIELD_MAX; k++)
            wrong += !rows_equal(&got.row[k], &w[i].row[k]);
    }
    is(rqci_ask_write_next(&m, &offset, &got, &err), RQC_NOT_FOUND, "and ends");
    is(wrong, 0u, "every write as it was");

    size_t harmless = 0;
    const size_t rounds = tap_scaled(3000);
    for (size_t i = 0; i < rounds; i++) {
        const size_t at = 24 + rows_below(&random_, (uint32_t)b.len - 24);
        const uint8_t was = b.data[at];
        b.data[at] = (uint8_t)rows_next(&random_);
        rqc_err rc = RQC_OK;
        for (offset = 0; rc == RQC_OK;)
            rc = rqci_ask_write_next(&m, &offset, &got, NULL);
        harmless += rc == RQC_NOT_FOUND || rc == RQC_CORRUPT;
        b.data[at] = was;
    }
    is(harmless, rounds, "changed bytes do no harm");
    rqci_buf_free(&b);
}

static void check_key(void)
{
    rqci_buf b = {0};
    rqci_message m;
    rqci_asked_write w = {.kind = RQCI_KIND_DELETE, .entity = 3}, got;
    uint8_t key[RQCI_MSG_KEY + 1];
    const uint8_t *found;
    size_t n, wrong = 0;
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)(i + 1);
    for (size_t len = 0; len <= RQCI_MSG_KEY; len++) {
        size_t offset = 0;
        wrong += rqci_ask_write_begin(&b, key, len) != RQC_OK;
        wrong += rqci_ask_write_add(&b, &w) != RQC_OK;
        rqci_ask_write_end(&b, 1);
        wrong += rqci_message_decode(b.data, b.len, RQCI_ASK_MAGIC, &m, NULL) != RQC_OK;
        if (rqci_ask_write_key(&m, &found, &n, NULL) != RQC_OK || n != len ||
            memcmp(found, key, n) != 0)
            wrong++;
        wrong += rqci_ask_write_next(&m, &offset, &got, NULL) != RQC_OK || got.entity != 3;
        wrong += rqci_ask_write_next(&m, &offset, &got, NULL) != RQC_NOT_FOUND;
    }
    is(wrong, 0u, "a key of any length, and the write behind it");
    is(rqci_ask_write_begin(&b, key, sizeof key), RQC_TOO_LARGE, "one that is too long");
    (void)(rqci_ask_write_begin(&b, key, 5) == RQC_OK && rqci_ask_write_add(&b, &w) == RQC_OK);
    rqci_ask_write_end(&b, 1);
    uint8_t *const body = b.data + RQCI_MSG_HEADER;
    m = (rqci_message){RQCI_ASK_WRITE, body, b.len - RQCI_MSG_HEADER};
    body[RQCI_WRITES_HEADER + 5] = 1;
    is(rqci_ask_write_key(&m, &found, &n, NULL), RQC_CORRUPT, "bytes behind it");
    body[RQCI_WRITES_HEADER + 5] = 0;
    is(rqci_ask_write_key(&m, &found, &n, NULL), RQC_OK, "none");
    static const uint32_t lengths[] = {RQCI_MSG_KEY + 1, 0x7fffffff, 0xffffffff, 200};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        rqci_put32(body + 4, lengths[i]);
        is(rqci_ask_write_key(&m, &found, &n, NULL), RQC_CORRUPT, "%u bytes", lengths[i]);
    }
    rqci_buf_free(&b);
}

static void check_answers(void)
{
    rqci_buf b = {0};
    rqci_message m;
    rqci_errbuf err = {""};
    uint64_t failed = 0;
    rqci_answer_failure(&b, RQC_CHANGED, 12, "it changed");
    ok(rqci_message_decode(b.data, b.len, RQCI_ANSWER_MAGIC, &m, &err) == RQC_OK, "a failure");
    is(rqci_answer_check(&m, &failed, &err), RQC_CHANGED, "its code");
    is(err.text, "it changed", "its text");
    is(failed, 12u, "the write that failed");
    rqci_hello_answer h = {.epoch = example_epoch(), .seq = 5, .horizon = 2, .url = "ipc:///x"}, g;
    ok(rqci_answer_hello(&b, &h) == RQC_OK &&
           rqci_message_decode(b.data, b.len, RQCI_ANSWER_MAGIC, &m, &err) == RQC_OK &&
           rqci_hello_answer_decode(&m, &g, &err) == RQC_OK,
       "an answer to hello");
    ok(strcmp(g.url, "ipc:///x") == 0 && g.seq == 5 && g.horizon == 2, "with what it says");
    uint64_t total = 0;
    const uint8_t *p = NULL;
    size_t n = 0;
    ok(rqci_answer_bytes(&b, 100, "abcde", 5) == RQC_OK &&
           rqci_message_decode(b.data, b.len, RQCI_ANSWER_MAGIC, &m, &err) == RQC_OK &&
           rqci_bytes_answer_decode(&m, &total, &p, &n, &err) == RQC_OK,
       "bytes");
    ok(total == 100 && n == 5 && memcmp(p, "abcde", 5) == 0, "as they were");
    is(rqci_message_decode(b.data, b.len, RQCI_ASK_MAGIC, &m, &err), RQC_CORRUPT,
       "an answer is no question");
    rqci_put32(b.data + 4, 2);
    is(rqci_message_decode(b.data, b.len, RQCI_ANSWER_MAGIC, &m, &err), RQC_VERSION,
       "another version is told");
    rqci_buf_free(&b);
}

int main(void)
{
    rows_seed(&random_, 20251009);
    check_examples();
    check_frames();
    check_rules();
    check_write();
    check_key();
    check_answers();
    return tap_done();
}
