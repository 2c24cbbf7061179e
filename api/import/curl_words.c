// SPDX-License-Identifier: Apache-2.0
// The words of command lines, as a shell splits and unquotes them.
#include "api/import/curl_row.h"

#include <stdlib.h>
#include <string.h>

typedef struct lexer {
    rqci_curl_text *t;
    rqci_curl_words *w;
    rqci_pieces out; // the word that is read
    // A here-document that begins on the next line.
    rqci_buf mark;
    bool has_mark, tabs;
} lexer;

static bool at_end(const lexer *x)
{
    return x->t->p >= x->t->end;
}

static char peek(const lexer *x, size_t ahead)
{
    return (size_t)(x->t->end - x->t->p) > ahead ? x->t->p[ahead] : 0;
}

// The character here; moves on.
static char take(lexer *x)
{
    const char c = *x->t->p++;
    x->t->line += c == '\n';
    return c;
}

static void put(lexer *x, char c)
{
    rqci_piece(&x->out, &c, 1);
}

// Length of a backslash and line end here, 0: there is none.
static size_t continuation(const lexer *x)
{
    if (peek(x, 0) != '\\')
        return 0;
    return peek(x, 1) == '\n' ? 2 : peek(x, 1) == '\r' && peek(x, 2) == '\n' ? 3 : 0;
}

static void skip(lexer *x, size_t n)
{
    while (n-- > 0)
        take(x);
}

// ---- Quotes -------------------------------------------------------------------------------------

static void single_quoted(lexer *x)
{
    while (!at_end(x) && peek(x, 0) != '\'')
        put(x, take(x));
    x->w->open_quote = x->w->open_quote || at_end(x);
    if (!at_end(x))
        take(x);
}

static int digit(char c, int base)
{
    const int d = c >= '0' && c <= '9'   ? c - '0'
                  : c >= 'a' && c <= 'f' ? c - 'a' + 10
                  : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                         : 16;
    return d < base ? d : -1;
}

static uint32_t digits(lexer *x, int base, int most)
{
    uint32_t n = 0;
    for (int i = 0; i < most && digit(peek(x, 0), base) >= 0 && !at_end(x); i++)
        n = n * (uint32_t)base + (uint32_t)digit(take(x), base);
    return n;
}

static void put_character(lexer *x, uint32_t c)
{
    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        c = 0xfffd;
    if (c < 0x80) {
        put(x, (char)c);
        return;
    }
    const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char first[] = {0, 0xc0, 0xe0, 0xf0};
    put(x, (char)(first[more] | c >> (6 * more)));
    for (int i = more - 1; i >= 0; i--)
        put(x, (char)(0x80 | (c >> (6 * i) & 0x3f)));
}

// \uD83D\uDE00 is one character: what copies as curl writes UTF-16.
static void put_unit(lexer *x, uint32_t c)
{
    if (c >= 0xd800 && c <= 0xdbff && peek(x, 0) == '\\' && peek(x, 1) == 'u') {
        const char *p = x->t->p;
        skip(x, 2);
        const uint32_t low = digits(x, 16, 4);
        if (low >= 0xdc00 && low <= 0xdfff)
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        else
            x->t->p = p;
    }
    put_character(x, c);
}

static void ansi_escape(lexer *x)
{
    static const char names[] = "abefnrtv", values[] = "\a\b\033\f\n\r\t\v";
    const char c = peek(x, 0);
    const char *name = c ? strchr(names, c) : NULL;
    if (digit(c, 8) >= 0) {
        put(x, (char)digits(x, 8, 3));
        return;
    }
    take(x);
    if (name)
        put(x, values[name - names]);
    else if (c == 'E')
        put(x, '\033');
    else if (c == 'x' && digit(peek(x, 0), 16) >= 0)
        put(x, (char)digits(x, 16, 2));
    else if ((c == 'u' || c == 'U') && digit(peek(x, 0), 16) >= 0)
        put_unit(x, digits(x, 16, c == 'u' ? 4 : 8));
    else if (c == 'c' && !at_end(x))
        put(x, (char)(take(x) & 0x1f));
    else if (strchr("\\'\"?", c) && c)
        put(x, c);
    else
        put(x, '\\'), put(x, c);
}

static void ansi_quoted(lexer *x)
{
    while (!at_end(x) && peek(x, 0) != '\'') {
        const char c = take(x);
        if (c == '\\' && !at_end(x))
            ansi_escape(x);
        else
            put(x, c);
    }
    x->w->open_quote = x->w->open_quote || at_end(x);
    if (!at_end(x))
        take(x);
}

// Up to the end of $(…), ${…} or `…`: kept as it is written.
static void keep_substitution(lexer *x, char open, char close)
{
    unsigned depth = 0;
    while (!at_end(x)) {
        const char c = take(x);
        put(x, c);
        if (c == '\\' && !at_end(x))
            put(x, take(x));
        else if (c == close && (open == close ? depth++ > 0 : --depth == 0))
            return;
        else if (c == open && open != close)
            depth++;
    }
    x->w->open_quote = true;
}

// A dollar sign or a backquote: nothing is expanded.
static void dollar(lexer *x)
{
    const char c = peek(x, 0), next = peek(x, 1);
    if (c == '`') {
        x->w->variables++;
        keep_substitution(x, '`', '`');
        return;
    }
    put(x, take(x));
    if (next == '(' || next == '{') {
        x->w->variables++;
        keep_substitution(x, next, next == '(' ? ')' : '}');
    } else if (next == '_' || (next >= 'a' && next <= 'z') || (next >= 'A' && next <= 'Z') ||
               (next >= '0' && next <= '9')) {
        x->w->variables++;
    }
}

static void double_quoted(lexer *x)
{
    while (!at_end(x) && peek(x, 0) != '"') {
        const char c = peek(x, 0), next = peek(x, 1);
        if (continuation(x)) {
            skip(x, continuation(x));
        } else if (c == '\\' && next && strchr("$`\"\\", next)) {
            take(x);
            put(x, take(x));
        } else if (c == '$' || c == '`') {
            dollar(x);
        } else {
            put(x, take(x));
        }
    }
    x->w->open_quote = x->w->open_quote || at_end(x);
    if (!at_end(x))
        take(x);
}

// ---- Words --------------------------------------------------------------------------------------

static bool ends_word(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ';' || c == '&' || c == '|' ||
           c == '<' || c == '>' || c == '(' || c == ')';
}

// Reads a word into x->out.
static void word(lexer *x)
{
    while (!at_end(x) && x->out.err == RQC_OK) {
        const char c = peek(x, 0), next = peek(x, 1);
        if (continuation(x)) {
            skip(x, continuation(x));
        } else if (ends_word(c)) {
            return;
        } else if (c == '\\') {
            take(x);
            put(x, at_end(x) ? '\\' : take(x));
        } else if (c == '\'') {
            take(x);
            single_quoted(x);
        } else if (c == '"' || (c == '$' && next == '"')) {
            skip(x, c == '$' ? 2 : 1);
            double_quoted(x);
        } else if (c == '$' && next == '\'') {
            skip(x, 2);
            ansi_quoted(x);
        } else if (c == '$' || c == '`') {
            dollar(x);
        } else {
            put(x, take(x));
        }
    }
}

static rqc_err add_word(lexer *x)
{
    rqci_curl_words *w = x->w;
    if (w->n == w->cap) {
        const size_t cap = w->cap ? w->cap * 2 : 64;
        rqci_curl_word *words = realloc(w->words, cap * sizeof *words);
        if (!words)
            return RQC_NO_MEMORY;
        w->words = words;
        w->cap = cap;
    }
    const size_t at = w->text.len;
    word(x);
    const size_t len = w->text.len - at;
    rqci_piece(&x->out, "", 1);
    w->words[w->n++] = (rqci_curl_word){at, len};
    return x->out.err;
}

static void blanks(lexer *x)
{
    for (;;) {
        if (continuation(x))
            skip(x, continuation(x));
        else if (peek(x, 0) == ' ' || peek(x, 0) == '\t' || peek(x, 0) == '\r')
            take(x);
        else
            return;
    }
}

// ---- Redirections -------------------------------------------------------------------------------

// Length of a redirection's operator here (digits before it too), 0: there is none.
static size_t operator_length(const lexer *x)
{
    size_t n = 0;
    while (peek(x, n) >= '0' && peek(x, n) <= '9' && n < 4)
        n++;
    if (n == 0 && peek(x, 0) == '&' && peek(x, 1) == '>')
        n = 1;
    const char c = peek(x, n);
    if (c != '<' && c != '>')
        return 0;
    while (peek(x, n) == c && n < 8)
        n++;
    return n + (peek(x, n) == '&' || peek(x, n) == '|' || peek(x, n) == '-');
}

static rqc_err redirection(lexer *x)
{
    const size_t n = operator_length(x);
    const char *op = x->t->p;
    const bool document = n >= 2 && memcmp(op, "<<", 2) == 0, string = n == 3 && op[2] == '<';
    x->tabs = document && op[n - 1] == '-';
    skip(x, n);
    blanks(x);
    rqci_buf *into = string ? &x->w->input : &x->mark;
    into->len = 0;
    x->out.out = into;
    word(x);
    x->out.out = &x->w->text;
    if (string) {
        x->w->has_input = true;
        return rqci_buf_add(into, "\n", 1);
    }
    x->has_mark = x->has_mark || document;
    x->w->redirections += !document;
    return x->out.err;
}

// The lines up to the one that is the mark.
static rqc_err here_document(lexer *x)
{
    rqci_buf *in = &x->w->input;
    in->len = 0;
    x->w->has_input = true;
    x->has_mark = false;
    while (!at_end(x)) {
        const char *line = x->t->p;
        const char *newline = memchr(line, '\n', (size_t)(x->t->end - line));
        const char *end = newline ? newline : x->t->end;
        x->t->p = newline ? newline + 1 : end;
        x->t->line += newline != NULL;
        while (x->tabs && line < end && *line == '\t')
            line++;
        const size_t len = (size_t)(end - line) - (end > line && end[-1] == '\r');
        if (len == x->mark.len && (len == 0 || memcmp(line, x->mark.data, len) == 0))
            return RQC_OK;
        const rqc_err rc = rqci_buf_add(in, line, (size_t)(x->t->p - line));
        if (rc != RQC_OK)
            return rc;
    }
    return RQC_OK;
}

// ---- Commands -----------------------------------------------------------------------------------

static void to_line_end(lexer *x)
{
    while (!at_end(x) && peek(x, 0) != '\n')
        take(x);
}

static rqc_err command(lexer *x, bool *ret_more)
{
    rqci_curl_words *w = x->w;
    rqc_err rc = RQC_OK;
    while (rc == RQC_OK) {
        blanks(x);
        if (at_end(x))
            break;
        const char c = peek(x, 0);
        if (operator_length(x) > 0) {
            rc = redirection(x);
        } else if (c == '#') {
            to_line_end(x);
        } else if (c == '\n' && x->has_mark) {
            take(x);
            rc = here_document(x);
            if (w->n > 0)
                break;
        } else if (ends_word(c) && x->has_mark) {
            // The document of this command comes first; what the line goes on with is left out.
            w->redirections++;
            to_line_end(x);
        } else if (ends_word(c)) {
            if (w->n > 0)
                break;
            take(x);
        } else {
            if (w->n == 0)
                w->line = x->t->line;
            rc = add_word(x);
        }
    }
    *ret_more = w->n > 0;
    return rc;
}

rqc_err rqci_curl_words_next(rqci_curl_text *t, rqci_curl_words *w, bool *ret_more)
{
    w->text.len = w->input.len = w->n = 0;
    w->has_input = w->open_quote = false;
    w->variables = w->redirections = 0;
    lexer x = {.t = t, .w = w, .out = {&w->text, RQC_OK}};
    rqc_err rc = command(&x, ret_more);
    if (rc == RQC_OK)
        rc = x.out.err;
    rqci_buf_free(&x.mark);
    return rc;
}

void rqci_curl_words_free(rqci_curl_words *w)
{
    rqci_buf_free(&w->text);
    rqci_buf_free(&w->input);
    free(w->words);
    w->words = NULL;
    w->n = w->cap = 0;
}
