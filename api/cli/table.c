// SPDX-License-Identifier: Apache-2.0
// Aligned columns on a terminal, where a character is not a byte and may be two columns wide.
#include "api/cli/cli.h"

#include "base/utf8.h"

#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define GAP        2
#define NARROWEST  8
#define CELL_BYTES 1024 // more of a cell is never shown

// ---- Characters ---------------------------------------------------------------------------------

typedef struct range {
    uint32_t from, to;
} range;

// Combining marks and other characters without a width of their own.
static const range zero_width[] = {
    {0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},     {0x64b, 0x65f},
    {0x6d6, 0x6dc},   {0x93c, 0x93c},   {0x941, 0x948},   {0x94d, 0x94d},     {0xe31, 0xe31},
    {0xe34, 0xe3a},   {0xe47, 0xe4e},   {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff},   {0x200b, 0x200d},
    {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0x1f3fb, 0x1f3ff}, {0xe0100, 0xe01ef},
};
// East Asian wide and full-width ones, and emoji.
static const range double_width[] = {
    {0x1100, 0x115f},   {0x231a, 0x231b},   {0x23e9, 0x23ec},   {0x25fd, 0x25fe},
    {0x2614, 0x2615},   {0x2648, 0x2653},   {0x26a1, 0x26a1},   {0x26bd, 0x26be},
    {0x2705, 0x2705},   {0x270a, 0x270b},   {0x2728, 0x2728},   {0x274c, 0x274c},
    {0x2e80, 0x303e},   {0x3041, 0x33ff},   {0x3400, 0x4dbf},   {0x4e00, 0x9fff},
    {0xa000, 0xa4cf},   {0xa960, 0xa97f},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},
    {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},   {0x1f004, 0x1f004},
    {0x1f18e, 0x1f18e}, {0x1f191, 0x1f19a}, {0x1f200, 0x1f320}, {0x1f32d, 0x1f393},
    {0x1f3a0, 0x1f3f0}, {0x1f400, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f7e0, 0x1f7eb},
    {0x1f900, 0x1f9ff}, {0x1fa70, 0x1faff}, {0x20000, 0x3fffd},
};
// Characters that turn the direction of what follows, and so can make a line say something else.
static const range direction[] = {
    {0x61c, 0x61c}, {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069}, {0xfeff, 0xfeff}};

static bool within(uint32_t ch, const range *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ch >= list[i].from && ch <= list[i].to)
            return true;
    return false;
}
#define WITHIN(ch, list) within(ch, list, sizeof(list) / sizeof *(list))

// The character at p, which is the beginning of valid UTF-8; its length in *ret_n.
static uint32_t character(const char *text, size_t *ret_n)
{
    const unsigned char *p = (const unsigned char *)text;
    if (p[0] < 0x80) {
        *ret_n = 1;
        return p[0];
    }
    if (p[0] < 0xe0) {
        *ret_n = 2;
        return (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
    }
    if (p[0] < 0xf0) {
        *ret_n = 3;
        return (uint32_t)(p[0] & 0xf) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    }
    *ret_n = 4;
    return (uint32_t)(p[0] & 7) << 18 | (uint32_t)(p[1] & 0x3f) << 12 |
           (uint32_t)(p[2] & 0x3f) << 6 | (p[3] & 0x3f);
}

static size_t width_of(uint32_t ch)
{
    if (ch < 0x300)
        return 1;
    return WITHIN(ch, zero_width) ? 0 : WITHIN(ch, double_width) ? 2 : 1;
}

size_t cli_columns(const char *p, size_t n)
{
    size_t columns = 0, len;
    for (size_t i = 0; i < n; i += len)
        columns += width_of(character(p + i, &len));
    return columns;
}

static void escape(rqci_buf *out, uint32_t ch)
{
    char text[16];
    const char *form = ch == '\n'   ? "\\n"
                       : ch == '\t' ? "\\t"
                       : ch == '\r' ? "\\r"
                       : ch > 0xff  ? "\\u%04x"
                                    : "\\x%02x";
    const int n = form[1] == 'x'   ? snprintf(text, sizeof text, "\\x%02x", ch)
                  : form[1] == 'u' ? snprintf(text, sizeof text, "\\u%04x", ch)
                                   : snprintf(text, sizeof text, "%s", form);
    (void)rqci_buf_add(out, text, (size_t)n);
}

void cli_visible(rqci_buf *out, const char *p, size_t n)
{
    while (n > 0) {
        const size_t good = rqci_utf8_span(p, n);
        for (size_t i = 0, len; i < good; i += len) {
            const uint32_t ch = character(p + i, &len);
            if (ch < 0x20 || (ch >= 0x7f && ch < 0xa0) || WITHIN(ch, direction))
                escape(out, ch);
            else
                (void)rqci_buf_add(out, p + i, len);
        }
        p += good;
        n -= good;
        if (n > 0) {
            escape(out, (unsigned char)*p);
            p++;
            n--;
        }
    }
}

bool cli_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

size_t cli_terminal_width(void)
{
    struct winsize w;
    if (!isatty(STDOUT_FILENO))
        return 0;
    const char *columns = getenv("COLUMNS");
    const unsigned long given = columns ? strtoul(columns, NULL, 10) : 0;
    if (given >= 20 && given < 10000)
        return given;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 20 ? w.ws_col : 80;
}

// ---- Tables -------------------------------------------------------------------------------------

void cli_table_init(cli_table *t, const cli_column *columns)
{
    memset(t, 0, sizeof *t);
    t->columns = columns;
    while (columns[t->ncolumns].title)
        t->ncolumns++;
}

// Adds text that is visible already.
static void cell(cli_table *t, const char *p, size_t n)
{
    if (n > CELL_BYTES)
        for (n = CELL_BYTES; n > 0 && ((unsigned char)p[n] & 0xc0) == 0x80; n--)
            ;
    const size_t columns = cli_columns(p, n);
    (void)rqci_buf_add(&t->sizes, &columns, sizeof columns);
    (void)rqci_buf_add(&t->text, p, n);
    (void)rqci_buf_add(&t->text, "", 1);
    t->ncells++;
}

void cli_cell(cli_table *t, const char *p, size_t n)
{
    rqci_buf out = {0};
    cli_visible(&out, p, n < 2 * CELL_BYTES ? n : 2 * CELL_BYTES);
    cell(t, out.len ? (const char *)out.data : "", out.len);
    rqci_buf_free(&out);
}

void cli_cell_text(cli_table *t, const char *text)
{
    cli_cell(t, text, strlen(text));
}

void cli_cell_value(cli_table *t, const rqc_value *v)
{
    rqci_buf out = {0};
    cli_value_text(&out, v, CELL_BYTES);
    cell(t, out.len ? (const char *)out.data : "", out.len);
    rqci_buf_free(&out);
}

// Takes room from the widest shrinkable column until the table fits.
static void fit(const cli_table *t, size_t *widths, size_t terminal)
{
    size_t total = 0;
    for (size_t i = 0; i < t->ncolumns; i++)
        total += widths[i] + (i > 0 ? GAP : 0);
    while (total > terminal) {
        size_t widest = t->ncolumns;
        for (size_t i = 0; i < t->ncolumns; i++)
            if (t->columns[i].shrink && widths[i] > NARROWEST &&
                (widest == t->ncolumns || widths[i] > widths[widest]))
                widest = i;
        if (widest == t->ncolumns)
            return;
        widths[widest]--;
        total--;
    }
}

static void print_blanks(size_t n)
{
    printf("%*s", (int)n, "");
}

// Prints a cell in `width` columns, cut when it is longer. Blanks behind the last cell of a row are
// left out.
static void print_cell(const char *text, size_t columns, size_t width, bool right, bool last)
{
    if (columns <= width) {
        if (right)
            print_blanks(width - columns);
        fputs(text, stdout);
        if (!right && !last)
            print_blanks(width - columns);
        return;
    }
    const char *dots = cli_utf8() ? "…" : "...";
    const size_t dots_width = cli_utf8() ? 1 : 3,
                 room = width > dots_width ? width - dots_width : 0;
    size_t used = 0, i = 0, len;
    for (; text[i]; i += len) {
        const size_t w = width_of(character(text + i, &len));
        if (used + w > room)
            break;
        used += w;
    }
    printf("%.*s%s", (int)i, text, dots);
    if (!last)
        print_blanks(width - used - dots_width);
}

static void print_titles(const cli_table *t, const size_t *widths, bool terminal)
{
    const char *term = getenv("TERM");
    const bool bold = terminal && !getenv("NO_COLOR") && term && strcmp(term, "dumb") != 0;
    if (bold)
        fputs("\033[1m", stdout);
    for (size_t i = 0; i < t->ncolumns; i++) {
        if (i > 0)
            print_blanks(GAP);
        print_cell(t->columns[i].title, strlen(t->columns[i].title), widths[i], t->columns[i].right,
                   i + 1 == t->ncolumns);
    }
    fputs(bold ? "\033[0m\n" : "\n", stdout);
}

// Returns where the next row's cells begin. A row ends with its last cell that is not empty.
static const char *print_row(const cli_table *t, const char *text, const size_t *sizes,
                             const size_t *widths)
{
    size_t last = t->ncolumns - 1;
    while (last > 0 && sizes[last] == 0)
        last--;
    for (size_t i = 0; i < t->ncolumns; i++) {
        if (i > 0 && i <= last)
            print_blanks(GAP);
        if (i <= last)
            print_cell(text, sizes[i], widths[i], t->columns[i].right, i == last);
        text += strlen(text) + 1;
    }
    putchar('\n');
    return text;
}

void cli_table_print(cli_table *t, bool titles)
{
    size_t widths[16] = {0};
    const size_t *sizes = (const size_t *)(const void *)t->sizes.data;
    const size_t terminal = cli_terminal_width();
    for (size_t i = 0; i < t->ncolumns && titles; i++)
        widths[i] = strlen(t->columns[i].title);
    for (size_t i = 0; i < t->ncells; i++) {
        size_t *w = &widths[i % t->ncolumns];
        *w = sizes[i] > *w ? sizes[i] : *w;
    }
    if (terminal > 0)
        fit(t, widths, terminal);
    if (titles)
        print_titles(t, widths, terminal > 0);
    const char *text = (const char *)t->text.data;
    for (size_t row = 0; row + t->ncolumns <= t->ncells && !ferror(stdout); row += t->ncolumns)
        text = print_row(t, text, sizes + row, widths);
    rqci_buf_free(&t->text);
    rqci_buf_free(&t->sizes);
}
