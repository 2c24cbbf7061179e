// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"

#include <stdio.h>
#include <string.h>

const char *rqci_err_text(rqc_err code)
{
    switch (code) {
#define TEXT(name, number, text, exit_status) \
    case name: return text;
        RQCI_ERRORS(TEXT)
#undef TEXT
    }
    return "unknown error";
}

int rqci_err_exit_status(rqc_err code)
{
    switch (code) {
#define STATUS(name, number, text, exit_status) \
    case name: return exit_status;
        RQCI_ERRORS(STATUS)
#undef STATUS
    }
    return 5;
}

// A cut must not leave half a character behind: the text may end up in JSON.
static void set_text(rqci_errbuf *e, const char *text, size_t len)
{
    if (len >= sizeof e->text) {
        len = sizeof e->text - 1;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--;
    }
    memcpy(e->text, text, len);
    e->text[len] = '\0';
}

rqc_err rqci_fail(rqci_errbuf *e, rqc_err code, const char *fmt, ...)
{
    if (!e)
        return code;
    // Formatted aside, because the arguments may well point into *e.
    char text[2 * sizeof e->text];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    set_text(e, text, n < 0 ? 0 : strlen(text));
    return code;
}

rqc_err rqci_fail_within(rqci_errbuf *e, rqc_err code, const char *fmt, ...)
{
    if (!e)
        return code;
    char text[2 * sizeof e->text + 2];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(text, sizeof e->text, fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : strlen(text);
    const size_t old = strnlen(e->text, sizeof e->text - 1);
    if (old > 0) {
        if (len > 0) {
            memcpy(text + len, ": ", 2);
            len += 2;
        }
        memcpy(text + len, e->text, old);
        len += old;
    }
    set_text(e, text, len);
    return code;
}
