// SPDX-License-Identifier: Apache-2.0
// Lines of JSON, and records as people read them.
#include "api/cli/cli.h"

#include "base/number.h"
#include "record/json.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// ---- JSON ---------------------------------------------------------------------------------------

// Memory for a line of output is not worth an error path in every command: the end of the output
// tells what could not be made.
static void note(cli *c, rqc_err rc)
{
    c->lost = c->lost || rc != RQC_OK;
}

void cli_json_made(cli *c, rqc_err rc)
{
    if (c->unread == CLI_OK)
        note(c, rc);
}

static void put(cli *c, const char *p, size_t n)
{
    note(c, rqci_buf_add(&c->line, p, n));
}

void cli_json_begin(cli *c)
{
    c->line.len = 0;
    put(c, "{", 1);
}

void cli_json_key(cli *c, const char *key)
{
    if (c->line.len > 1)
        put(c, ",", 1);
    note(c, rqci_json_text(&c->line, key, strlen(key)));
    put(c, ":", 1);
}

void cli_json_text(cli *c, const char *key, const char *text)
{
    cli_json_key(c, key);
    note(c, rqci_json_text(&c->line, text, strlen(text)));
}

void cli_json_int(cli *c, const char *key, int64_t n)
{
    char text[24];
    cli_json_key(c, key);
    put(c, text, (size_t)snprintf(text, sizeof text, "%" PRId64, n));
}

void cli_json_uint(cli *c, const char *key, uint64_t n)
{
    char text[24];
    cli_json_key(c, key);
    put(c, text, (size_t)snprintf(text, sizeof text, "%" PRIu64, n));
}

void cli_json_bool(cli *c, const char *key, bool b)
{
    cli_json_key(c, key);
    put(c, b ? "true" : "false", b ? 4 : 5);
}

void cli_json_null(cli *c, const char *key)
{
    cli_json_key(c, key);
    put(c, "null", 4);
}

void cli_json_id(cli *c, const char *key, const uint8_t id[16])
{
    char text[27];
    rqc_id_format(id, text);
    cli_json_text(c, key, text);
}

void cli_json_position(cli *c, const rqc_position *p)
{
    char text[RQC_POSITION_TEXT];
    rqc_position_format(p, text);
    cli_json_uint(c, "seq", p->seq);
    cli_json_text(c, "position", text);
}

void cli_json_end(cli *c)
{
    put(c, "}\n", 2);
    if (c->line.len > 0 && c->unread == CLI_OK)
        fwrite(c->line.data, 1, c->line.len, stdout);
    c->line.len = 0;
}

void cli_record_json(cli *c, const rqc_record *r)
{
    c->line.len = 0;
    cli_json_made(c, rqci_json_record(&c->line, r, cli_json_whole(c)));
    put(c, "\n", 1);
    if (c->unread == CLI_OK)
        fwrite(c->line.data, 1, c->line.len, stdout);
    c->line.len = 0;
}

// Whoever read standard output has enough, as head does: that is no fault of anybody's.
static bool reader_left(void)
{
    struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLERR) != 0;
}

int cli_finish(cli *c)
{
    if (c->unread != CLI_OK)
        return c->unread;
    // close() tells what write() did not: some file systems find out late that they are full.
    if (c->lost)
        return cli_fail(c, RQC_NO_MEMORY, "out of memory; the output is not complete");
    const bool failed = fflush(stdout) != 0 || ferror(stdout);
    const int error = errno;
    const int copy = failed ? -1 : dup(STDOUT_FILENO);
    const bool lost = copy >= 0 && close(copy) != 0;
    if (!failed && !lost)
        return CLI_OK;
    if (error == EPIPE || reader_left())
        return CLI_PIPE;
    return cli_fail(c, error == ENOSPC ? RQC_NO_SPACE : RQC_IO,
                    "standard output: %s; the output is not complete",
                    error ? strerror(error) : "write error");
}

// ---- For people ---------------------------------------------------------------------------------

const char *cli_shown(const char *text)
{
    return *text ? text : "''";
}

const char *cli_plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

void cli_time_text(int64_t t, char ret_text[32])
{
    // Databases hold seconds and milliseconds in the same columns.
    const int64_t seconds = t > 100000000000 || t < -100000000000 ? t / 1000 : t;
    struct tm tm;
    const time_t when = (time_t)seconds;
    if (t == 0)
        snprintf(ret_text, 32, "-");
    else if (!gmtime_r(&when, &tm) || strftime(ret_text, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        snprintf(ret_text, 32, "%" PRId64, t);
}

static void add_text(rqci_buf *out, const char *text)
{
    (void)rqci_buf_add(out, text, strlen(text));
}

static bool looks_like_text(const char *p, size_t n)
{
    size_t odd = 0;
    for (size_t i = 0; i < n; i++)
        odd += (unsigned char)p[i] < 0x20 && p[i] != '\n' && p[i] != '\r' && p[i] != '\t';
    return odd == 0;
}

// At most `most` bytes of the value are shown.
static void add_bytes(rqci_buf *out, const char *p, size_t n, bool text, size_t most)
{
    char size[48];
    size_t shown = n < most ? n : most;
    while (shown > 0 && shown < n && ((unsigned char)p[shown] & 0xc0) == 0x80)
        shown--;
    if (text || looks_like_text(p, shown))
        cli_visible(out, p, shown);
    else
        shown = 0;
    if (shown == n)
        return;
    snprintf(size, sizeof size, "%s(%zu bytes)", shown > 0 ? (cli_utf8() ? "… " : "... ") : "", n);
    add_text(out, size);
}

void cli_value_text(rqci_buf *out, const rqc_value *v, size_t most)
{
    char text[RQCI_REAL_TEXT + 64];
    switch (v->type) {
    case RQC_ABSENT:
    case RQC_NULL: add_text(out, "-"); return;
    case RQC_BOOL: add_text(out, v->u.i ? "true" : "false"); return;
    case RQC_TEXT: add_bytes(out, v->p, v->n, true, most); return;
    case RQC_BYTES: add_bytes(out, v->p, v->n, false, most); return;
    case RQC_INT: snprintf(text, sizeof text, "%" PRId64, v->u.i); break;
    case RQC_REAL: snprintf(text, sizeof text, "%.15g", v->u.d); break;
    case RQC_ID: rqc_id_format(v->p, text); break;
    case RQC_LARGE:
        snprintf(text, sizeof text, "(%" PRIu64 " bytes, not in the view)", v->u.length);
        break;
    default: snprintf(text, sizeof text, "?"); break;
    }
    add_text(out, text);
}

void cli_record_text(cli *c, const rqc_record *r)
{
    static const cli_column columns[] = {{"FIELD", false, false},
                                         {"VALUE", false, true},
                                         {NULL, false, false}};
    const rqc_entity e = rqc_record_entity(r);
    char id[27];
    rqc_id_format(rqc_record_id(r), id);
    printf("%s %s (seq %" PRIu64 ")\n", rqc_entity_name(e), id, rqc_record_seq(r));
    cli_table t;
    cli_table_init(&t, columns);
    for (int f = 1; rqc_field_name(e, f); f++) {
        const rqc_value v = cli_whole(c, r, f);
        if (v.type == RQC_NULL || v.type == RQC_ABSENT)
            continue;
        rqci_buf text = {0};
        add_text(&text, "  ");
        add_text(&text, rqc_field_name(e, f));
        cli_cell(&t, (const char *)text.data, text.len);
        text.len = 0;
        cli_value_text(&text, &v, 4096);
        cli_cell(&t, (const char *)text.data, text.len);
        rqci_buf_free(&text);
    }
    cli_table_print(&t, false);
}

void cli_records(cli *c, const rqc_record *const *items, size_t n)
{
    for (size_t i = 0; i < n && !ferror(stdout) && c->unread == CLI_OK; i++) {
        if (c->json)
            cli_record_json(c, items[i]);
        else
            cli_record_text(c, items[i]);
    }
}
