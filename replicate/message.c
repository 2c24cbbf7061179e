// SPDX-License-Identifier: Apache-2.0
#include "replicate/message_parts.h"

#include "base/id.h"

#define HELLO_BYTES        24u
#define HELLO_ANSWER_BYTES 48u
#define CHANGES_BYTES      88u
#define SET_BYTES          32u // behind these: some buckets
#define BUCKETS_BYTES      40u
#define BUCKETS_ANSWER     (8u + 256u * 16u)
#define CURSOR_BYTES       40u
#define LARGE_BYTES        56u
#define FAILURE_BYTES      16u

#define CHANGES_SOME 2u // flag of a question for changes, beside RQCI_FRAME_ALL

// ---- Writing ------------------------------------------------------------------------------------

rqc_err rqci_message_extend(rqci_buf *out, size_t n, uint8_t **ret)
{
    if (n > RQCI_MSG_MAX || out->len + n > RQCI_MSG_MAX)
        return RQC_TOO_LARGE;
    const rqc_err rc = rqci_buf_reserve(out, n);
    if (rc != RQC_OK)
        return rc;
    *ret = out->data + out->len;
    memset(*ret, 0, n);
    out->len += n;
    return RQC_OK;
}

rqc_err rqci_message_begin(rqci_buf *out, uint32_t magic, uint32_t what, size_t n,
                           uint8_t **ret_body)
{
    uint8_t *p;
    out->len = 0;
    const rqc_err rc = rqci_message_extend(out, RQCI_MSG_HEADER + n, &p);
    if (rc != RQC_OK)
        return rc;
    rqci_put32(p, magic);
    rqci_put32(p + 4, RQCI_FRAME_VERSION);
    rqci_put32(p + 20, what);
    *ret_body = p + RQCI_MSG_HEADER;
    return RQC_OK;
}

void rqci_message_end(rqci_buf *out)
{
    rqci_put32(out->data + 16, (uint32_t)out->len);
    rqci_put64(out->data + 8, rqci_xxh64(out->data + 16, out->len - 16));
}

rqc_err rqci_ask_hello(rqci_buf *out, const rqci_hello *h)
{
    uint8_t *p;
    const rqc_err rc = rqci_message_begin(out, RQCI_ASK_MAGIC, RQCI_ASK_HELLO, HELLO_BYTES, &p);
    if (rc != RQC_OK)
        return rc;
    memcpy(p, h->topic, 16);
    rqci_put32(p + 16, h->flags);
    rqci_message_end(out);
    return RQC_OK;
}

static void put_cursor(uint8_t *p, const rqc_cursor *c)
{
    rqci_put64(p, c->seq);
    rqci_put64(p + 8, c->started);
    p[16] = c->entity;
    memcpy(p + 24, c->id, 16);
}

rqc_err rqci_ask_changes_put(rqci_buf *out, const rqci_ask_changes *a)
{
    uint8_t *p;
    const rqc_err rc = rqci_message_begin(out, RQCI_ASK_MAGIC, RQCI_ASK_CHANGES,
                                          CHANGES_BYTES + (a->some ? SET_BYTES : 0), &p);
    if (rc != RQC_OK)
        return rc;
    memcpy(p, a->topic, 16);
    memcpy(p + 16, a->epoch.store_id, 16);
    rqci_put32(p + 32, a->epoch.term);
    rqci_put32(p + 36, a->flags | (a->some ? CHANGES_SOME : 0));
    if (a->some)
        memcpy(p + CHANGES_BYTES, a->buckets.bits, SET_BYTES);
    put_cursor(p + 40, &a->cursor);
    rqci_put32(p + 80, a->limit);
    rqci_put32(p + 84, a->bytes);
    rqci_message_end(out);
    return RQC_OK;
}

rqc_err rqci_ask_large_put(rqci_buf *out, const rqci_ask_large *a)
{
    uint8_t *p;
    const rqc_err rc = rqci_message_begin(out, RQCI_ASK_MAGIC, RQCI_ASK_LARGE, LARGE_BYTES, &p);
    if (rc != RQC_OK)
        return rc;
    p[0] = a->entity;
    p[1] = a->field;
    memcpy(p + 8, a->id, 16);
    memcpy(p + 24, a->hash, 16);
    rqci_put64(p + 40, a->offset);
    rqci_put64(p + 48, a->most);
    rqci_message_end(out);
    return RQC_OK;
}

rqc_err rqci_ask_buckets_put(rqci_buf *out, const rqci_ask_buckets *a)
{
    uint8_t *p;
    const rqc_err rc = rqci_message_begin(out, RQCI_ASK_MAGIC, RQCI_ASK_BUCKETS, BUCKETS_BYTES, &p);
    if (rc != RQC_OK)
        return rc;
    memcpy(p, a->topic, 16);
    memcpy(p + 16, a->epoch.store_id, 16);
    rqci_put32(p + 32, a->epoch.term);
    rqci_put32(p + 36, a->flags);
    rqci_message_end(out);
    return RQC_OK;
}

rqc_err rqci_ask_stats(rqci_buf *out)
{
    uint8_t *p;
    const rqc_err rc = rqci_message_begin(out, RQCI_ASK_MAGIC, RQCI_ASK_STATS, 0, &p);
    if (rc == RQC_OK)
        rqci_message_end(out);
    return rc;
}

rqc_err rqci_answer_begin(rqci_buf *out, rqc_err code)
{
    uint8_t *p;
    return rqci_message_begin(out, RQCI_ANSWER_MAGIC, (uint32_t)code, 0, &p);
}

void rqci_answer_end(rqci_buf *out)
{
    rqci_message_end(out);
}

void rqci_answer_failure(rqci_buf *out, rqc_err code, uint64_t failed, const char *text)
{
    uint8_t *p;
    size_t n = strlen(text);
    n = n < RQCI_MSG_TEXT ? n : RQCI_MSG_TEXT;
    if (rqci_message_begin(out, RQCI_ANSWER_MAGIC, (uint32_t)code, FAILURE_BYTES + rqci_padded(n),
                           &p) != RQC_OK) {
        out->len = 0;
        return;
    }
    rqci_put64(p, failed);
    rqci_put32(p + 8, (uint32_t)n);
    memcpy(p + FAILURE_BYTES, text, n);
    rqci_message_end(out);
}

rqc_err rqci_answer_hello(rqci_buf *out, const rqci_hello_answer *a)
{
    uint8_t *p;
    const size_t n = strlen(a->url);
    const rqc_err rc =
        rqci_message_begin(out, RQCI_ANSWER_MAGIC, RQC_OK, HELLO_ANSWER_BYTES + rqci_padded(n), &p);
    if (rc != RQC_OK)
        return rc;
    memcpy(p, a->epoch.store_id, 16);
    rqci_put32(p + 16, a->epoch.term);
    rqci_put32(p + 20, a->message_max);
    rqci_put64(p + 24, a->seq);
    rqci_put64(p + 32, a->horizon);
    rqci_put32(p + 40, (uint32_t)n);
    memcpy(p + HELLO_ANSWER_BYTES, a->url, n);
    rqci_message_end(out);
    return RQC_OK;
}

rqc_err rqci_answer_bytes(rqci_buf *out, uint64_t total, const void *bytes, size_t n)
{
    uint8_t *p;
    const rqc_err rc = rqci_message_begin(out, RQCI_ANSWER_MAGIC, RQC_OK, 16 + rqci_padded(n), &p);
    if (rc != RQC_OK)
        return rc;
    rqci_put64(p, total);
    rqci_put64(p + 8, n);
    if (n > 0)
        memcpy(p + 16, bytes, n);
    rqci_message_end(out);
    return RQC_OK;
}

rqc_err rqci_answer_buckets(rqci_buf *out, const rqci_buckets_answer *a)
{
    uint8_t *p;
    const rqc_err rc = rqci_message_begin(out, RQCI_ANSWER_MAGIC, RQC_OK, BUCKETS_ANSWER, &p);
    if (rc != RQC_OK)
        return rc;
    rqci_put64(p, a->seq);
    for (size_t i = 0; i < 256; i++) {
        rqci_put64(p + 8 + 16 * i, a->digests[i].lo);
        rqci_put64(p + 16 + 16 * i, a->digests[i].hi);
    }
    rqci_message_end(out);
    return RQC_OK;
}

rqc_err rqci_answer_changes_begin(rqci_buf *out, const rqc_cursor *next, bool up_to_date)
{
    uint8_t *p;
    const rqc_err rc = rqci_message_begin(out, RQCI_ANSWER_MAGIC, RQC_OK, CURSOR_BYTES, &p);
    if (rc != RQC_OK)
        return rc;
    put_cursor(p, next);
    p[17] = up_to_date;
    return RQC_OK;
}

// ---- Reading ------------------------------------------------------------------------------------

rqc_err rqci_message_decode(const void *bytes, size_t n, uint32_t magic, rqci_message *ret_message,
                            rqci_errbuf *err)
{
    const uint8_t *p = bytes;
    if (n < RQCI_MSG_HEADER || n > RQCI_MSG_MAX || n % 8 != 0)
        return rqci_message_bad(err, "its size is none that a message has");
    if (rqci_get32(p) != magic)
        return rqci_message_bad(err, "it does not begin like one");
    if (rqci_get32(p + 4) != RQCI_FRAME_VERSION)
        return rqci_fail(err, RQC_VERSION, "message: version %u, not %u", rqci_get32(p + 4),
                         RQCI_FRAME_VERSION);
    if (rqci_get32(p + 16) != n)
        return rqci_message_bad(err, "it has another size than it says");
    if (rqci_get64(p + 8) != rqci_xxh64(p + 16, n - 16))
        return rqci_message_bad(err, "its check value is wrong");
    *ret_message = (rqci_message){rqci_get32(p + 20), p + RQCI_MSG_HEADER, n - RQCI_MSG_HEADER};
    return RQC_OK;
}

rqc_err rqci_hello_decode(const rqci_message *m, rqci_hello *ret, rqci_errbuf *err)
{
    if (m->n != HELLO_BYTES || !rqci_zeros(m->body + 20, 4))
        return rqci_message_bad(err, "no question of this kind");
    rqci_hello h = {.flags = rqci_get32(m->body + 16)};
    memcpy(h.topic, m->body, 16);
    if ((h.flags & ~(uint32_t)RQCI_HELLO_FLAGS) ||
        ((h.flags & RQCI_HELLO_ALL) && !rqci_id_zero(h.topic)))
        return rqci_message_bad(err, "flags that do not go together");
    *ret = h;
    return RQC_OK;
}

static bool get_cursor(const uint8_t *p, rqc_cursor *ret)
{
    rqc_cursor c = {.seq = rqci_get64(p), .started = rqci_get64(p + 8), .entity = p[16]};
    memcpy(c.id, p + 24, 16);
    *ret = c;
    return rqci_zeros(p + 18, 6) && c.entity <= RQCI_ENTITY_MAX && c.seq < UINT64_MAX &&
           (c.entity != 0 || rqci_id_zero(c.id));
}

rqc_err rqci_ask_changes_decode(const rqci_message *m, rqci_ask_changes *ret, rqci_errbuf *err)
{
    const uint8_t *p = m->body;
    const bool some = m->n == CHANGES_BYTES + SET_BYTES;
    if ((m->n != CHANGES_BYTES && !some) || some != ((rqci_get32(p + 36) & CHANGES_SOME) != 0))
        return rqci_message_bad(err, "no question of this kind");
    rqci_ask_changes a = {.epoch.term = rqci_get32(p + 32),
                          .flags = rqci_get32(p + 36) & ~CHANGES_SOME,
                          .some = some,
                          .limit = rqci_get32(p + 80),
                          .bytes = rqci_get32(p + 84)};
    memcpy(a.topic, p, 16);
    memcpy(a.epoch.store_id, p + 16, 16);
    if (some)
        memcpy(a.buckets.bits, p + CHANGES_BYTES, SET_BYTES);
    if (!get_cursor(p + 40, &a.cursor) || p[57] || a.limit == 0)
        return rqci_message_bad(err, "no cursor, or no limit");
    if ((a.flags & ~(uint32_t)RQCI_FRAME_ALL) || (a.flags && !rqci_id_zero(a.topic)))
        return rqci_message_bad(err, "flags that do not go together");
    *ret = a;
    return RQC_OK;
}

rqc_err rqci_ask_buckets_decode(const rqci_message *m, rqci_ask_buckets *ret, rqci_errbuf *err)
{
    const uint8_t *p = m->body;
    if (m->n != BUCKETS_BYTES)
        return rqci_message_bad(err, "no question of this kind");
    rqci_ask_buckets a = {.epoch.term = rqci_get32(p + 32), .flags = rqci_get32(p + 36)};
    memcpy(a.topic, p, 16);
    memcpy(a.epoch.store_id, p + 16, 16);
    if ((a.flags & ~(uint32_t)RQCI_FRAME_ALL) || (a.flags && !rqci_id_zero(a.topic)))
        return rqci_message_bad(err, "flags that do not go together");
    *ret = a;
    return RQC_OK;
}

rqc_err rqci_ask_large_decode(const rqci_message *m, rqci_ask_large *ret, rqci_errbuf *err)
{
    const uint8_t *p = m->body;
    if (m->n != LARGE_BYTES || !rqci_zeros(p + 2, 6))
        return rqci_message_bad(err, "no question of this kind");
    rqci_ask_large a = {.entity = p[0],
                        .field = p[1],
                        .offset = rqci_get64(p + 40),
                        .most = rqci_get64(p + 48)};
    memcpy(a.id, p + 8, 16);
    memcpy(a.hash, p + 24, 16);
    const rqci_entity *e = rqci_entity_of(a.entity);
    if (!e || a.field == 0 || a.field >= e->nfields)
        return rqci_message_bad(err, "no such field");
    *ret = a;
    return RQC_OK;
}

rqc_err rqci_answer_check(const rqci_message *m, uint64_t *ret_failed, rqci_errbuf *err)
{
    if (m->what == RQC_OK)
        return RQC_OK;
    const uint32_t n = m->n < FAILURE_BYTES ? UINT32_MAX : rqci_get32(m->body + 8);
    if (m->what > RQC_INTERNAL || n > RQCI_MSG_TEXT || m->n != FAILURE_BYTES + rqci_padded(n))
        return rqci_message_bad(err, "no answer");
    if (ret_failed)
        *ret_failed = rqci_get64(m->body);
    return rqci_fail(err, (rqc_err)m->what, "%.*s", (int)n, (const char *)m->body + FAILURE_BYTES);
}

rqc_err rqci_hello_answer_decode(const rqci_message *m, rqci_hello_answer *ret, rqci_errbuf *err)
{
    const rqc_err rc = rqci_answer_check(m, NULL, err);
    const uint8_t *p = m->body;
    if (rc != RQC_OK)
        return rc;
    const uint32_t n = m->n < HELLO_ANSWER_BYTES ? UINT32_MAX : rqci_get32(p + 40);
    if (n >= RQCI_URL_MAX || m->n != HELLO_ANSWER_BYTES + rqci_padded(n))
        return rqci_message_bad(err, "no answer to hello");
    rqci_hello_answer a = {.epoch.term = rqci_get32(p + 16),
                           .message_max = rqci_get32(p + 20),
                           .seq = rqci_get64(p + 24),
                           .horizon = rqci_get64(p + 32)};
    memcpy(a.epoch.store_id, p, 16);
    memcpy(a.url, p + HELLO_ANSWER_BYTES, n);
    if (memchr(a.url, 0, n))
        return rqci_message_bad(err, "no answer to hello");
    *ret = a;
    return RQC_OK;
}

rqc_err rqci_changes_answer_decode(const rqci_message *m, rqci_changes_answer *ret,
                                   rqci_errbuf *err)
{
    rqc_err rc = rqci_answer_check(m, NULL, err);
    if (rc != RQC_OK)
        return rc;
    if (m->n < CURSOR_BYTES || m->body[17] > 1 || !get_cursor(m->body, &ret->next))
        return rqci_message_bad(err, "no answer to changes");
    ret->up_to_date = m->body[17];
    rc = rqci_frame_decode(m->body + CURSOR_BYTES, m->n - CURSOR_BYTES, &ret->frame, err);
    if (rc == RQC_OK && !(ret->frame.flags & RQCI_FRAME_PAGE))
        return rqci_message_bad(err, "a frame that is no page");
    if (rc == RQC_OK && ret->next.seq > ret->frame.seq)
        return rqci_message_bad(err, "a cursor of the future");
    return rc;
}

rqc_err rqci_buckets_answer_decode(const rqci_message *m, rqci_buckets_answer *ret,
                                   rqci_errbuf *err)
{
    const rqc_err rc = rqci_answer_check(m, NULL, err);
    const uint8_t *p = m->body;
    if (rc != RQC_OK)
        return rc;
    if (m->n != BUCKETS_ANSWER)
        return rqci_message_bad(err, "no digests");
    ret->seq = rqci_get64(p);
    for (size_t i = 0; i < 256; i++)
        ret->digests[i] = (rqci_digest){rqci_get64(p + 8 + 16 * i), rqci_get64(p + 16 + 16 * i)};
    return RQC_OK;
}

rqc_err rqci_bytes_answer_decode(const rqci_message *m, uint64_t *ret_total, const uint8_t **ret_p,
                                 size_t *ret_n, rqci_errbuf *err)
{
    const rqc_err rc = rqci_answer_check(m, NULL, err);
    if (rc != RQC_OK)
        return rc;
    const uint64_t n = m->n < 16 ? UINT64_MAX : rqci_get64(m->body + 8);
    if (n > m->n || m->n != 16 + rqci_padded((size_t)n))
        return rqci_message_bad(err, "no bytes");
    *ret_total = rqci_get64(m->body);
    *ret_p = m->body + 16;
    *ret_n = (size_t)n;
    return RQC_OK;
}
