// SPDX-License-Identifier: Apache-2.0
// A text of many records, line by line.
#include "record/json.h"

#include <string.h>

static bool blank(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && (p[i] == ' ' || p[i] == '\t' || p[i] == '\r'))
        i++;
    return i == n;
}

void rqci_json_lines_init(rqci_json_lines *l, const char *text, size_t n)
{
    *l = (rqci_json_lines){.p = text, .end = n > 0 ? text + n : text};
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        l->p += 3;
}

bool rqci_json_lines_next(rqci_json_lines *l, const char **ret_text, size_t *ret_n)
{
    while (l->p < l->end) {
        const char *line = l->p;
        const char *newline = memchr(line, '\n', (size_t)(l->end - line));
        const size_t n = (size_t)((newline ? newline : l->end) - line);
        l->p = newline ? newline + 1 : l->end;
        l->number++;
        if (blank(line, n))
            continue;
        *ret_text = line;
        *ret_n = n;
        return true;
    }
    return false;
}
