// SPDX-License-Identifier: Apache-2.0
//
// The packed record: what goes in comes out, at any alignment; what is not one is refused; digests.
#include "tap.h"

#include "rows.h"

static rows_random rnd;

// A copy with nothing behind it, so that the sanitizer sees one byte too far.
static uint8_t *exact(const void *p, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    if (!copy)
        bail("no memory");
    memcpy(copy, p, n);
    return copy;
}

static const rqc_record *packed(const rqci_entity *e, const rqc_value *row, uint64_t seq,
                                rqci_buf *buf)
{
    buf->len = 0;
    rqci_errbuf err = {""};
    if (rqci_rec_pack(e, row, seq, 0, buf, &err) != RQC_OK)
        bail("pack: %s", err.text);
    return (const rqc_record *)buf->data;
}

// What a value becomes in a record: long ones their hash.
static rqc_value stored(const rqc_value *v, uint8_t hash[16])
{
    if ((v->type != RQC_TEXT && v->type != RQC_BYTES) || v->n <= 32768)
        return *v;
    const rqci_hash128 h = rqci_xxh128(v->p, v->n);
    rqci_put64be(hash, h.hi);
    rqci_put64be(hash + 8, h.lo);
    return (rqc_value){.type = RQC_LARGE, .n = 16, .p = hash, .u.length = v->n};
}

// Every accessor of one field against the row it was made from.
static bool field_is(const rqc_record *r, const rqci_entity *e, const rqc_value *row, int i)
{
    uint8_t hash[16];
    const rqc_value want = stored(&row[i], hash);
    rqc_value got;
    rqci_rec_field(r, i, &got);
    if (!rows_equal(&got, &want) || (rqci_rec_present(r) >> i & 1) != (want.type != RQC_NULL))
        return false;
    if ((got.type == RQC_TEXT || got.type == RQC_BYTES) && !got.p)
        return false;
    if (e->types[i] == RQCI_T_BOOL && rqci_rec_bool(r, i) != (want.type == RQC_BOOL && want.u.i))
        return false;
    if (e->types[i] == RQCI_T_ID) {
        const uint8_t *id = rqci_rec_id_field(r, i);
        if (want.type == RQC_NULL ? id != NULL : !id || memcmp(id, want.p, 16) != 0)
            return false;
    }
    return i != e->updated || rqci_rec_updated(r) == (want.type == RQC_INT ? want.u.i : 0);
}

// Index of the first wrong field, -1 when all are right.
static int wrong_field(const rqc_record *r, const rqci_entity *e, const rqc_value *row)
{
    for (int i = 0; i < e->nfields; i++) {
        if (!field_is(r, e, row, i))
            return i;
    }
    return -1;
}

static bool header_is(const rqc_record *r, const rqci_entity *e, const rqc_value *row, uint64_t seq,
                      size_t size)
{
    return rqci_rec_size(r) == size && rqci_rec_seq(r) == seq && rqci_rec_entity(r) == e->code &&
           memcmp(rqci_rec_id(r), row[0].p, 16) == 0 && rqci_rec_flags(r) == 0 && size % 8 == 0 &&
           size <= RQCI_REC_MAX;
}

static bool round_trip(const rqci_entity *e, const rqc_value *row, uint64_t seq, rqci_buf *buf)
{
    buf->len = 0;
    // Behind something else, as in a batch.
    if (rqci_buf_add(buf, "8 bytes.", 8) != RQC_OK ||
        rqci_rec_pack(e, row, seq, 0, buf, NULL) != RQC_OK)
        bail("pack");
    const size_t size = buf->len - 8;
    uint8_t *moved = malloc(size + 8);
    if (!moved)
        bail("no memory");
    bool good = memcmp(buf->data, "8 bytes.", 8) == 0;
    for (size_t shift = 0; good && shift < 8; shift++) {
        memcpy(moved + shift, buf->data + 8, size);
        const rqc_record *r = (const rqc_record *)(moved + shift);
        rqci_errbuf err = {""};
        const rqc_err rc = rqci_rec_verify(r, size, true, &err);
        const int wrong = wrong_field(r, e, row);
        good = rc == RQC_OK && wrong < 0 && header_is(r, e, row, seq, size);
        if (!good)
            tap_note("%s, shift %zu: field %d, verify %d %s", e->table, shift, wrong, rc, err.text);
    }
    free(moved);
    return good;
}

static void test_round_trip(void)
{
    rqci_buf buf = {0};
    for (unsigned code = 1; code <= RQCI_ENTITY_MAX; code++) {
        const rqci_entity *e = rqci_entity_of(code);
        const uint64_t n = tap_scaled(2000);
        uint64_t done = 0;
        for (; done < n; done++) {
            rqc_value row[RQCI_FIELD_MAX];
            rows_random_row(&rnd, e, row);
            if (!round_trip(e, row, rows_next(&rnd), &buf))
                break;
        }
        is(done, n, "%s: rows at random come out as they went in", e->table);
    }
    rqci_buf_free(&buf);
}

static void test_slots(void)
{
    uint32_t a = 0, b = 0;
    uint64_t i = 0;
    const uint64_t n = tap_scaled(200000);
    for (; i < n; i++) {
        a = (uint32_t)rows_next(&rnd) & 0xffffff;
        b = (uint32_t)rows_next(&rnd) & 0xffffff;
        uint32_t want = 0;
        for (int k = 0; k < 24; k++)
            want += 2 * (a >> k & 1) + (b >> k & 1);
        if (rqci_rec_slots(a, b) != want)
            break;
    }
    is(i, n, "slots are counted (%06x, %06x)", a, b);
    is(rqci_rec_slots(0xffffff, 0xffffff), 72, "as many as there can be");
    is(rqci_rec_slots(0, 0), 0, "none");
}

// ---- Refusals ----

static void test_truncations(void)
{
    rqci_buf buf = {0};
    bool good = true;
    for (unsigned code = 1; good && code <= RQCI_ENTITY_MAX; code++) {
        const rqci_entity *e = rqci_entity_of(code);
        rqc_value row[RQCI_FIELD_MAX];
        for (int i = 0; i < e->nfields; i++) {
            do {
                row[i] = rows_random_value(&rnd, e, i);
            } while (row[i].n > 100 || row[i].type == RQC_NULL);
        }
        packed(e, row, 5, &buf);
        for (size_t n = 0; good && n < buf.len; n++) {
            uint8_t *cut = exact(buf.data, n);
            good = rqci_rec_verify(cut, n, false, NULL) == RQC_CORRUPT;
            // The same with a size that fits what is left.
            if (good && n >= 4) {
                rqci_put32(cut, (uint32_t)n);
                good = rqci_rec_verify(cut, n, false, NULL) == RQC_CORRUPT;
            }
            if (!good)
                tap_note("%s cut to %zu of %zu bytes", e->table, n, buf.len);
            free(cut);
        }
    }
    ok(good, "every beginning of a record is refused");
    rqci_buf_free(&buf);
}

// Reads all of it; under the sanitizers this is the check.
static uint64_t touch(const rqc_record *r)
{
    rqc_value row[RQCI_FIELD_MAX];
    rqci_rec_unpack(r, row);
    uint64_t sum = 0;
    for (int i = 0; i < rqci_entity_of(rqci_rec_entity(r))->nfields; i++) {
        for (uint32_t k = 0; k < row[i].n; k++)
            sum += ((const uint8_t *)row[i].p)[k];
    }
    rqci_digest d;
    rqci_rec_digest(r, &d);
    return sum + d.lo;
}

static void test_single_bytes(void)
{
    rqci_buf buf = {0};
    uint64_t missed = 0, tried = 0;
    for (unsigned code = 1; code <= RQCI_ENTITY_MAX; code++) {
        const rqci_entity *e = rqci_entity_of(code);
        rqc_value row[RQCI_FIELD_MAX];
        rows_random_row(&rnd, e, row);
        packed(e, row, 5, &buf);
        uint8_t *copy = exact(buf.data, buf.len);
        for (size_t i = 0; i < buf.len && i < 4000; i++) {
            const uint8_t old = copy[i];
            copy[i] ^= (uint8_t)(1 + rows_below(&rnd, 255));
            tried++;
            missed += rqci_rec_verify(copy, buf.len, true, NULL) == RQC_OK;
            copy[i] = old;
        }
        free(copy);
    }
    ok(missed == 0 && tried > 1000,
       "a wrong byte is found wherever it is (%" PRIu64 " tried, %" PRIu64 " missed)", tried,
       missed);
    rqci_buf_free(&buf);
}

// Changes a few places with the values that hurt most.
static void mutate(uint8_t *p, size_t n)
{
    static const uint8_t nasty[] = {0, 1, 7, 8, 0x18, 0x7f, 0x80, 0xff};
    for (uint32_t k = 1 + rows_below(&rnd, 4); k > 0; k--) {
        // Mostly the header and the slots, where the offsets are.
        const size_t reach = rows_below(&rnd, 4) && n > 160 ? 160 : n;
        const size_t at = rows_below(&rnd, (uint32_t)reach);
        p[at] =
            rows_below(&rnd, 2) ? nasty[rows_below(&rnd, sizeof nasty)] : (uint8_t)rows_next(&rnd);
    }
}

static void test_mutations(void)
{
    rqci_buf buf = {0};
    uint64_t passed = 0, sum = 0;
    const uint64_t n = tap_scaled(200000);
    for (uint64_t i = 0; i < n; i++) {
        const rqci_entity *e = rqci_entity_of(1 + rows_below(&rnd, RQCI_ENTITY_MAX));
        rqc_value row[RQCI_FIELD_MAX];
        for (int k = 0; k < e->nfields; k++) {
            do {
                row[k] = rows_random_value(&rnd, e, k);
            } while (row[k].n > 64 && row[k].n <= RQCI_LARGE_BYTES && rows_below(&rnd, 100));
        }
        packed(e, row, i, &buf);
        uint8_t *copy = exact(buf.data, buf.len);
        mutate(copy, buf.len);
        if (rqci_rec_verify(copy, buf.len, false, NULL) == RQC_OK) {
            passed++;
            sum += touch((const rqc_record *)copy);
        }
        free(copy);
    }
    ok(passed > n / 100 && passed < n,
       "damaged records are refused or harmless (%" PRIu64 " of %" PRIu64 " passed, sum %" PRIx64
       ")",
       passed, n, sum);
    rqci_buf_free(&buf);
}

static void test_noise(void)
{
    const uint64_t n = tap_scaled(100000);
    uint64_t passed = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint8_t *p = exact(rows_random_bytes(&rnd, 200), 200);
        rqci_put32(p, 48 + 8 * rows_below(&rnd, 20));
        p[43] = (uint8_t)rows_below(&rnd, 15);
        p[47] = 0;
        const size_t avail = 200 - rows_below(&rnd, 2) * rows_below(&rnd, 200);
        if (rqci_rec_verify(p, avail, false, NULL) == RQC_OK) {
            passed++;
            touch((const rqc_record *)p);
        }
        free(p);
    }
    ok(passed < n, "noise is refused (%" PRIu64 " of %" PRIu64 " passed)", passed, n);
}

// ---- The example of the documentation, and breaches of single rules ----

static const char example_id[] = "\x01\x99\xc8\x2c\xc0\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a";
static const char example_owner[] =
    "\x01\x99\xc8\x2c\xbc\x18\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa";

static void example_row(rqc_value row[RQCI_HTTP_HEADER_NFIELDS])
{
    for (int i = 0; i < RQCI_HTTP_HEADER_NFIELDS; i++)
        row[i] = rows_null();
    row[RQCI_HTTP_HEADER_ID] = rows_id(example_id);
    row[RQCI_HTTP_HEADER_HTTP_ID] = rows_id(example_owner);
    row[RQCI_HTTP_HEADER_HEADER_KEY] = rows_text("Accept");
    row[RQCI_HTTP_HEADER_HEADER_VALUE] = rows_text("text/csv");
    row[RQCI_HTTP_HEADER_DESCRIPTION] = rows_text("");
    row[RQCI_HTTP_HEADER_ENABLED] = rows_bool(true);
    row[RQCI_HTTP_HEADER_IS_DELTA] = rows_bool(false);
    row[RQCI_HTTP_HEADER_DISPLAY_ORDER] = rows_real(1.5);
    row[RQCI_HTTP_HEADER_CREATED_AT] = rows_int(1760000000);
    row[RQCI_HTTP_HEADER_UPDATED_AT] = rows_int(1760000001);
}

static void test_docs(void)
{
    rqci_buf buf = {0};
    rqc_value row[RQCI_HTTP_HEADER_NFIELDS];
    example_row(row);
    const rqc_record *r = packed(rqci_entity_of(RQCI_HTTP_HEADER), row, 7, &buf);
    uint8_t bytes[256];
    char *text = rows_from_docs("format.md", "record");
    size_t n = text ? rows_hex(text, bytes, sizeof bytes) : 0;
    is(n, buf.len, "docs: size of the example");
    is_mem(buf.data, bytes, n, "docs: bytes of the example");
    free(text);
    text = rows_from_docs("format.md", "canonical");
    n = text ? rows_hex(text, bytes, sizeof bytes) : 0;
    rqci_digest d;
    rqci_rec_digest(r, &d);
    const rqci_hash128 want = rqci_xxh128(bytes, n);
    ok(n > 0 && d.hi == want.hi && d.lo == want.lo, "docs: the canonical form gives the digest");
    free(text);
    text = rows_from_docs("format.md", "digest");
    char hex[40];
    snprintf(hex, sizeof hex, "%016" PRIx64 "%016" PRIx64 "\n", d.hi, d.lo);
    is(hex, text, "docs: the digest");
    free(text);
    is(rqci_id_bucket(rqci_rec_id(r)), 252, "docs: the bucket");
    rqci_buf_free(&buf);
}

static void test_rules(void)
{
    // Each row is one change of the example (112 bytes) that breaks one rule.
    static const struct {
        const char *what;
        uint32_t at, n;
        uint64_t value;
    } rules[] = {
        {"size not a multiple of 8", 0, 4, 111},
        {"size beyond what is there", 0, 4, 120},
        {"size below the header", 0, 4, 40},
        {"entity 0", 43, 1, 0},
        {"entity 14", 43, 1, 14},
        {"no key", 40, 1, 0xbe},
        {"more fields than the entity has", 42, 1, 1},
        {"zero without present", 44, 1, 0xd0},
        {"zero of an ID", 44, 1, 0x92},
        {"zero of the update time, which is not 0", 45, 1, 0x80},
        {"no update time, but its value", 41, 1, 0x60},
        {"update time 0 without its zero bit", 32, 8, 0},
        {"an unknown flag", 47, 1, 4},
        {"an offset too low", 64, 4, 88},
        {"an offset too high", 64, 4, 97},
        {"an offset outside", 64, 4, 0xfffffff0},
        {"an empty text with a slot", 68, 4, 0},
        {"a text over its end", 76, 4, 100},
        {"a text of 2 GiB", 76, 4, 0x7fffffff},
        {"a large value without room", 76, 4, RQCI_REC_LARGE},
        {"a length with other high bits", 76, 4, 0x80000008},
        {"two texts at one place", 72, 4, 96},
        {"a hole between texts", 72, 4, 103},
        {"REAL 0.0 with a slot", 80, 8, 0},
        {"a NaN", 80, 8, 0x7ff8000000000000},
        {"a signalling NaN", 80, 8, 0xfff0000000000001},
        {"INT 0 with a slot", 88, 8, 0},
        {"padding", 111, 1, 1},
        {"8 bytes of padding too many", 76, 4, 1},
    };
    rqci_buf buf = {0};
    rqc_value row[RQCI_HTTP_HEADER_NFIELDS];
    example_row(row);
    packed(rqci_entity_of(RQCI_HTTP_HEADER), row, 7, &buf);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        uint8_t *copy = exact(buf.data, buf.len);
        uint8_t value[8];
        rqci_put64(value, rules[i].value);
        memcpy(copy + rules[i].at, value, rules[i].n);
        rqci_errbuf err = {""};
        is(rqci_rec_verify(copy, buf.len, false, &err), RQC_CORRUPT, "rule: %s", rules[i].what);
        free(copy);
    }
    uint8_t *copy = exact(buf.data, buf.len);
    rqci_rec_set_seq((rqc_record *)copy, 8);
    is(rqci_rec_verify(copy, buf.len, true, NULL), RQC_OK, "another seq with its check value");
    is(rqci_rec_seq((rqc_record *)copy), 8, "the seq is set");
    copy[8]++;
    is(rqci_rec_verify(copy, buf.len, false, NULL), RQC_OK, "another seq, not deep");
    is(rqci_rec_verify(copy, buf.len, true, NULL), RQC_CORRUPT, "another seq, deep");
    free(copy);
    rqci_buf_free(&buf);
}

static void test_any_rules(void)
{
    // The slot of `time` is at 72: INT 5 is 16 bytes at 88 behind status, duration, size,
    // created_at.
    static const struct {
        const char *what;
        uint32_t at, n;
        uint64_t value;
        rqc_err want;
    } rules[] = {
        {"as it is", 0, 0, 0, RQC_OK},
        {"another integer", 96, 8, 77, RQC_OK},
        {"ANY may be INT 0", 96, 8, 0, RQC_OK},
        {"unknown type", 88, 1, 4, RQC_CORRUPT},
        {"type byte 0", 88, 1, 0, RQC_CORRUPT},
        {"bytes behind the type", 95, 1, 1, RQC_CORRUPT},
        {"length below 8", 76, 4, 4, RQC_CORRUPT},
        {"an integer of 15 bytes", 76, 4, 15, RQC_CORRUPT},
        {"not aligned", 72, 4, 89, RQC_CORRUPT},
        {"a text of 8 bytes", 88, 1, RQC_TEXT, RQC_OK},
        {"a real", 88, 1, RQC_REAL, RQC_OK},
    };
    const rqci_entity *e = rqci_entity_of(RQCI_HTTP_RESPONSE);
    rqc_value row[RQCI_HTTP_RESPONSE_NFIELDS];
    for (int i = 0; i < e->nfields; i++)
        row[i] = rows_null();
    row[RQCI_HTTP_RESPONSE_ID] = rows_id(example_id);
    row[RQCI_HTTP_RESPONSE_HTTP_ID] = rows_id(example_owner);
    row[RQCI_HTTP_RESPONSE_STATUS] = rows_int(200);
    row[RQCI_HTTP_RESPONSE_TIME] = rows_int(5);
    row[RQCI_HTTP_RESPONSE_DURATION] = rows_int(3);
    rqci_buf buf = {0};
    packed(e, row, 7, &buf);
    is(buf.len, 104, "an ANY of type INT takes 8 + 16 bytes");
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        uint8_t *copy = exact(buf.data, buf.len);
        uint8_t value[8];
        rqci_put64(value, rules[i].value);
        memcpy(copy + rules[i].at, value, rules[i].n);
        is(rqci_rec_verify(copy, buf.len, false, NULL), rules[i].want, "ANY: %s", rules[i].what);
        free(copy);
    }
    rqci_buf_free(&buf);
}

// ---- Digest ----

// The canonical form, written from the documentation alone.
static rqci_hash128 digest_by_hand(const rqci_entity *e, const rqc_value *row)
{
    static uint8_t form[RQCI_FIELD_MAX * 33000];
    size_t n = 0;
    form[n++] = e->code;
    memcpy(form + n, row[0].p, 16);
    n += 16;
    for (int i = 1; i < e->nfields; i++) {
        uint8_t hash[16];
        const rqc_value v = stored(&row[i], hash);
        if (v.type == RQC_NULL)
            continue;
        form[n++] = (uint8_t)i;
        form[n++] = (uint8_t)v.type;
        uint64_t bits = v.type == RQC_LARGE ? v.u.length : (uint64_t)v.u.i;
        if (v.type == RQC_REAL)
            memcpy(&bits, &v.u.d, 8);
        if (v.type == RQC_INT || v.type == RQC_REAL || v.type == RQC_LARGE) {
            rqci_put64(form + n, bits);
            n += 8;
        } else if (v.type == RQC_BOOL) {
            form[n++] = (uint8_t)v.u.i;
        } else if (v.type != RQC_ID) {
            rqci_put32(form + n, v.n);
            n += 4;
        }
        if (v.n > 0)
            memcpy(form + n, v.p, v.n);
        n += v.n;
    }
    return rqci_xxh128(form, n);
}

static bool same_digest(rqci_digest a, rqci_digest b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

static void test_digest_random(void)
{
    rqci_buf a = {0}, b = {0};
    const uint64_t n = tap_scaled(20000);
    uint64_t i = 0;
    for (; i < n; i++) {
        const rqci_entity *e = rqci_entity_of(1 + rows_below(&rnd, RQCI_ENTITY_MAX));
        rqc_value row[RQCI_FIELD_MAX];
        rows_random_row(&rnd, e, row);
        const rqc_record *r = packed(e, row, 1, &a);
        b.len = 0;
        if (rqci_rec_pack(e, row, 99, RQCI_REC_COERCED, &b, NULL) != RQC_OK)
            bail("pack");
        const rqc_record *s = (const rqc_record *)b.data;
        rqci_digest d1, d2, d3;
        rqci_rec_digest(r, &d1);
        rqci_rec_digest(s, &d2);
        if (!same_digest(d1, digest_by_hand(e, row)) || !same_digest(d1, d2) ||
            !rqci_rec_same(r, s))
            break;
        // Another value of one field is another record.
        const int field = (int)rows_below(&rnd, e->nfields);
        const rqc_value old = row[field];
        row[field] = rows_random_value(&rnd, e, field);
        const bool same = rows_equal(&old, &row[field]);
        s = packed(e, row, 1, &b);
        rqci_rec_digest(s, &d3);
        if (same_digest(d1, d3) != same || rqci_rec_same(r, s) != same)
            break;
    }
    is(i, n, "digests depend on the fields, all of them, and on nothing else");
    rqci_buf_free(&a);
    rqci_buf_free(&b);
}

static void test_digest_sum(void)
{
    rqci_digest sum = {5, 6};
    const rqci_digest a = {UINT64_MAX, 1}, b = {3, UINT64_MAX};
    rqci_digest_add(&sum, a);
    is(sum.lo, 4, "carry: low half");
    is(sum.hi, 8, "carry: high half");
    rqci_digest_add(&sum, b);
    rqci_digest_sub(&sum, a);
    rqci_digest_sub(&sum, b);
    ok(sum.lo == 5 && sum.hi == 6, "what was added is taken away");
    uint64_t seen[4] = {0};
    for (int i = 0; i < 20000; i++) {
        const unsigned bucket = rqci_id_bucket(rows_random_bytes(&rnd, 16));
        if (bucket < 256)
            seen[bucket / 64] |= UINT64_C(1) << bucket % 64;
    }
    ok((seen[0] & seen[1] & seen[2] & seen[3]) == UINT64_MAX, "all 256 buckets are used");
}

int main(void)
{
    rows_seed(&rnd, 1);
    test_round_trip();
    test_slots();
    test_truncations();
    test_single_bytes();
    test_mutations();
    test_noise();
    test_docs();
    test_rules();
    test_any_rules();
    test_digest_random();
    test_digest_sum();
    return tap_done();
}
