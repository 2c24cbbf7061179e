// SPDX-License-Identifier: Apache-2.0
//
// Frames and messages from anywhere: whatever passes the checks must be safe to read. With the
// option `fuzz` this is a target of libFuzzer; without it a test that reads the corpus, and each of
// its files with bytes changed.
//
// The check values are made right first: else nothing but they would be tried. The first byte says
// what the others are.
#include "replicate/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t sink;

static void read_value(rqc_value v)
{
    if (v.type == RQC_TEXT || v.type == RQC_BYTES || v.type == RQC_ID)
        for (uint32_t i = 0; i < v.n; i++)
            sink += ((const uint8_t *)v.p)[i];
    else
        sink += v.u.length;
}

static void read_frame(const rqci_frame *f)
{
    size_t offset = 0;
    for (rqc_change c; rqci_frame_next(f, &offset, &c);) {
        rqci_digest d;
        if (!c.record)
            continue;
        for (int i = 0; i < rqci_entity_of(c.entity)->nfields; i++)
            read_value(rqci_rec_value(c.record, i));
        rqci_rec_digest(c.record, &d);
        sink += d.lo;
    }
}

static void seal(uint8_t *p, size_t n)
{
    if (n >= 20)
        rqci_put32(p + 16, (uint32_t)n);
    if (n >= 16)
        rqci_put64(p + 8, rqci_xxh64(p + 16, n - 16));
}

// Of each record, too.
static void seal_records(uint8_t *p, size_t n)
{
    for (size_t at = RQCI_FRAME_HEADER; at + RQCI_FRAME_ENTRY <= n;) {
        const uint32_t size = rqci_get32(p + at + 4);
        uint8_t *r = p + at + RQCI_FRAME_ENTRY;
        if (size > n - at - RQCI_FRAME_ENTRY)
            return;
        if (size >= RQCI_REC_HEADER)
            rqci_put32(r + 4, (uint32_t)rqci_xxh64(r + 8, size - 8));
        at += RQCI_FRAME_ENTRY + size;
    }
}

static void read_question(uint8_t *p, size_t n)
{
    rqci_message m;
    rqci_hello h;
    rqci_ask_changes a;
    rqci_ask_large l;
    rqci_ask_buckets b;
    rqci_asked_write w;
    seal(p, n);
    if (rqci_message_decode(p, n, RQCI_ASK_MAGIC, &m, NULL) != RQC_OK)
        return;
    sink += (uint64_t)rqci_hello_decode(&m, &h, NULL);
    sink += (uint64_t)rqci_ask_changes_decode(&m, &a, NULL);
    sink += (uint64_t)rqci_ask_buckets_decode(&m, &b, NULL);
    sink += (uint64_t)rqci_ask_large_decode(&m, &l, NULL);
    const uint8_t *key;
    size_t key_len;
    if (rqci_ask_write_key(&m, &key, &key_len, NULL) == RQC_OK)
        read_value((rqc_value){.type = RQC_BYTES, .n = (uint32_t)key_len, .p = key});
    for (size_t offset = 0; rqci_ask_write_next(&m, &offset, &w, NULL) == RQC_OK;)
        for (int i = 0; i < RQCI_FIELD_MAX; i++)
            read_value(w.row[i]);
}

static void read_answer(uint8_t *p, size_t n)
{
    const size_t head = RQCI_MSG_HEADER + 40;
    rqci_message m;
    rqci_hello_answer h;
    rqci_changes_answer c;
    rqci_write_answer w;
    static rqci_buckets_answer b;
    uint64_t total;
    const uint8_t *bytes;
    size_t nbytes;
    if (n > head) {
        seal_records(p + head, n - head);
        seal(p + head, n - head);
    }
    seal(p, n);
    if (rqci_message_decode(p, n, RQCI_ANSWER_MAGIC, &m, NULL) != RQC_OK)
        return;
    sink += (uint64_t)rqci_hello_answer_decode(&m, &h, NULL);
    sink += (uint64_t)rqci_buckets_answer_decode(&m, &b, NULL);
    sink += (uint64_t)rqci_write_answer_decode(&m, &w, NULL);
    if (rqci_bytes_answer_decode(&m, &total, &bytes, &nbytes, NULL) == RQC_OK)
        read_value((rqc_value){.type = RQC_BYTES, .n = (uint32_t)nbytes, .p = bytes});
    if (rqci_changes_answer_decode(&m, &c, NULL) == RQC_OK)
        read_frame(&c.frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rqci_frame f;
    if (size < 2)
        return 0;
    // A copy of exactly this size, so that a sanitizer sees a byte too far.
    const size_t n = size - 1;
    uint8_t *p = malloc(n);
    if (!p)
        return 0;
    memcpy(p, data + 1, n);
    switch (data[0] % 3) {
    case 0:
        seal_records(p, n);
        seal(p, n);
        if (rqci_frame_decode(p, n, &f, NULL) == RQC_OK)
            read_frame(&f);
        break;
    case 1: read_question(p, n); break;
    default: read_answer(p, n); break;
    }
    free(p);
    return 0;
}

#ifndef RQC_FUZZ
#include "tests/rows.h"
#include "tests/tap.h"

#include <dirent.h>

static size_t read_file(const char *path, uint8_t *ret, size_t max)
{
    FILE *f = fopen(path, "rb");
    const size_t n = f ? fread(ret, 1, max, f) : 0;
    if (f)
        fclose(f);
    return n;
}

int main(void)
{
    static rows_random x;
    static uint8_t bytes[65536], changed[65536];
    char folder[1024], path[1400];
    const char *root = getenv("RQC_SOURCE_ROOT");
    size_t files = 0;
    rows_seed(&x, 11);
    snprintf(folder, sizeof folder, "%s/tests/corpus/frame", root ? root : ".");
    DIR *d = opendir(folder);
    if (!d)
        bail("no corpus at %s", folder);
    for (const struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        const size_t n = read_file(path, bytes, sizeof bytes);
        (void)LLVMFuzzerTestOneInput(bytes, n);
        files++;
        for (uint64_t i = 0; n > 0 && i < tap_scaled(2000); i++) {
            memcpy(changed, bytes, n);
            for (uint32_t k = rows_below(&x, 4); k < 4; k++)
                changed[rows_below(&x, (uint32_t)n)] = (uint8_t)rows_next(&x);
            (void)LLVMFuzzerTestOneInput(changed, n - rows_below(&x, 2) * rows_below(&x, 64) % n);
        }
    }
    closedir(d);
    ok(files >= 4, "%zu files of the corpus, and changed ones, do no harm", files);
    return tap_done();
}
#endif
