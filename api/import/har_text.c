// SPDX-License-Identifier: Apache-2.0
#include "api/import/har_text.h"

#include "base/base64.h"
#include "base/utf8.h"

#include <string.h>
#include <strings.h>

#define NAME_MAX_BYTES 120u

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// The code unit of an escape \uXXXX, -1 when there is none here.
static int32_t escape(const char *p, size_t left)
{
    if (left < 6 || p[0] != '\\' || p[1] != 'u')
        return -1;
    int32_t unit = 0;
    for (int i = 2; i < 6; i++) {
        const int d = hex(p[i]);
        if (d < 0)
            return -1;
        unit = unit * 16 + d;
    }
    return unit;
}

// Browsers write strings of JavaScript, which may hold half of a surrogate pair.
static uint64_t mend_surrogates(char *text, size_t len)
{
    uint64_t mended = 0;
    char *p = text;
    const char *end = text + len;
    while ((p = memchr(p, '\\', (size_t)(end - p)))) {
        const int32_t unit = escape(p, (size_t)(end - p));
        if (unit < 0) {
            p += end - p >= 2
                     ? 2
                     : 1; // an escaped backslash must not be read as the start of an escape
            continue;
        }
        size_t step = 6;
        if (unit >= 0xd800 && unit <= 0xdbff) {
            const int32_t low = escape(p + 6, (size_t)(end - p) - 6);
            if (low >= 0xdc00 && low <= 0xdfff)
                step = 12;
        }
        if (unit >= 0xd800 && unit <= 0xdfff && step == 6) {
            memcpy(p + 2, "fffd", 4);
            mended++;
        }
        p += step;
    }
    return mended;
}

uint64_t rqci_har_mend(char *text, size_t len)
{
    uint64_t mended = 0;
    for (size_t at = rqci_utf8_span(text, len); at < len;
         at += 1 + rqci_utf8_span(text + at + 1, len - at - 1)) {
        text[at] = '?';
        mended++;
    }
    return mended + mend_surrogates(text, len);
}

// `digits` digits at *p; moves it. -1 when they are not there.
static int64_t number(const char **p, const char *end, int digits)
{
    if (end - *p < digits)
        return -1;
    int64_t n = 0;
    for (int i = 0; i < digits; i++) {
        const char c = (*p)[i];
        if (c < '0' || c > '9')
            return -1;
        n = n * 10 + (c - '0');
    }
    *p += digits;
    return n;
}

static bool skip(const char **p, const char *end, const char *any)
{
    if (*p >= end || !strchr(any, **p) || **p == 0)
        return false;
    (*p)++;
    return true;
}

// Days since 1970 in the proleptic Gregorian calendar, which repeats every 400 years: years begin
// in March, so that the leap day is the last.
static int64_t days(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    const int64_t era = year / 400, of_era = year % 400; // years are not negative here
    const int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool zone(const char **p, const char *end, int64_t *ret_minutes)
{
    *ret_minutes = 0;
    if (*p == end || skip(p, end, "Zz"))
        return true;
    const bool west = **p == '-';
    if (!skip(p, end, "+-"))
        return false;
    const int64_t hours = number(p, end, 2);
    skip(p, end, ":");
    const int64_t minutes = *p == end ? 0 : number(p, end, 2);
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
        return false;
    *ret_minutes = (hours * 60 + minutes) * (west ? -1 : 1);
    return true;
}

bool rqci_har_time(const char *text, size_t len, int64_t *ret_ms)
{
    const char *p = text, *end = text + len;
    const int64_t year = number(&p, end, 4);
    if (year < 1 || !skip(&p, end, "-"))
        return false;
    const int64_t month = number(&p, end, 2);
    if (month < 1 || month > 12 || !skip(&p, end, "-"))
        return false;
    const int64_t day = number(&p, end, 2);
    if (day < 1 || day > 31 || !skip(&p, end, "Tt "))
        return false;
    const int64_t hour = number(&p, end, 2);
    if (hour < 0 || hour > 23 || !skip(&p, end, ":"))
        return false;
    const int64_t minute = number(&p, end, 2);
    if (minute < 0 || minute > 59)
        return false;
    int64_t second = 0, ms = 0;
    if (skip(&p, end, ":")) {
        second = number(&p, end, 2);
        if (second < 0 || second > 60)
            return false;
        if (skip(&p, end, ".,")) {
            int64_t unit = 100;
            const char *from = p;
            for (; p < end && *p >= '0' && *p <= '9'; p++, unit /= 10)
                ms += (*p - '0') * unit;
            if (p == from)
                return false;
        }
    }
    int64_t offset = 0;
    if (!zone(&p, end, &offset) || p != end)
        return false;
    *ret_ms =
        ((days(year, month, day) * 24 + hour) * 60 + minute - offset) * 60000 + second * 1000 + ms;
    return true;
}

static rqc_err unescape(const char *text, size_t len, bool plus, rqci_buf *out)
{
    const size_t before = out->len;
    const rqc_err rc = rqci_buf_reserve(out, len);
    if (rc != RQC_OK)
        return rc;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (plus && c == '+') {
            c = ' ';
        } else if (c == '%' && len - i > 2 && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
            c = (char)(hex(text[i + 1]) * 16 + hex(text[i + 2]));
            i += 2;
        }
        out->data[out->len++] = (uint8_t)c;
    }
    const size_t n = out->len - before;
    if (n == 0)
        return RQC_OK;
    if (rqci_utf8_valid(out->data + before, n) && !memchr(out->data + before, 0, n))
        return RQC_OK;
    out->len = before;
    return rqci_buf_add(out, text, len);
}

rqc_err rqci_har_unescape(const char *text, size_t len, rqci_buf *out)
{
    return unescape(text, len, true, out);
}

rqc_err rqci_har_base64(const char *text, size_t len, rqci_buf *out)
{
    rqci_buf plain = {0};
    rqc_err rc = rqci_buf_reserve(&plain, len + 3);
    if (rc != RQC_OK)
        return rc;
    for (size_t i = 0; i < len; i++) {
        const char c = text[i];
        if (c != '\r' && c != '\n' && c != ' ' && c != '\t')
            plain.data[plain.len++] = (uint8_t)(c == '-' ? '+' : c == '_' ? '/' : c);
    }
    while (plain.len % 4 != 0 && plain.len % 4 != 1)
        plain.data[plain.len++] = '=';
    rc = rqci_base64_decode(out, (const char *)plain.data, plain.len);
    rqci_buf_free(&plain);
    return rc;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

void rqci_har_media_type(const char *text, size_t len, char *ret_type, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < len && text[i] != ';' && n + 1 < size; i++)
        if (text[i] != ' ' && text[i] != '\t')
            ret_type[n++] = lower(text[i]);
    ret_type[n] = 0;
}

// The value at p: quoted (with \" and \\ inside) or up to the next ';'. Appends it and returns
// where it ended.
static const char *parameter_value(const char *p, const char *end, rqci_buf *out, bool *ret_ok)
{
    const bool quoted = p < end && *p == '"';
    const size_t before = out->len;
    *ret_ok = true;
    for (p += quoted; p < end && (quoted ? *p != '"' : *p != ';'); p++) {
        if (quoted && *p == '\\' && end - p > 1 && (p[1] == '"' || p[1] == '\\'))
            p++;
        *ret_ok = *ret_ok && rqci_buf_add(out, p, 1) == RQC_OK;
    }
    while (!quoted && out->len > before &&
           (out->data[out->len - 1] == ' ' || out->data[out->len - 1] == '\t'))
        out->len--;
    return p;
}

bool rqci_har_parameter(const char *text, size_t len, const char *name, rqci_buf *out)
{
    const char *p = memchr(text, ';', len), *end = text + len;
    const size_t name_len = strlen(name), before = out->len;
    while (p && p < end) {
        p++;
        while (p < end && (*p == ' ' || *p == '\t'))
            p++;
        const bool here = (size_t)(end - p) > name_len && strncasecmp(p, name, name_len) == 0 &&
                          p[name_len] == '=';
        while (p < end && *p != '=' && *p != ';')
            p++;
        if (p == end || *p == ';')
            continue;
        bool ok = false;
        p = parameter_value(p + 1, end, out, &ok);
        if (here)
            return ok;
        out->len = before;
        p = p < end ? memchr(p, ';', (size_t)(end - p)) : NULL;
    }
    return false;
}

bool rqci_har_query(const char *url, size_t len, const char **ret_query, size_t *ret_len)
{
    const char *fragment = memchr(url, '#', len);
    if (fragment)
        len = (size_t)(fragment - url);
    const char *mark = memchr(url, '?', len);
    if (!mark)
        return false;
    *ret_query = mark + 1;
    *ret_len = len - (size_t)(mark + 1 - url);
    return true;
}

// Long runs of digits and hex digits say nothing without the name of what they number.
static bool is_number(const char *p, size_t n)
{
    size_t digits = 0, dashes = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '-')
            dashes++;
        else if (hex(p[i]) < 0)
            return false;
        else if (p[i] >= '0' && p[i] <= '9')
            digits++;
    }
    return digits > 0 && (digits + dashes == n || n >= 16);
}

// The part of an url's path that names it: the last one, with the one before it where the last is a
// number; the host when there is no path.
static void naming_part(const char *url, size_t len, const char **ret_part, size_t *ret_len)
{
    size_t end = 0, host = 0;
    while (end < len && url[end] != '?' && url[end] != '#')
        end++;
    const char *comma = memchr(url, ',', end);
    if (comma && len > 5 && memcmp(url, "data:", 5) == 0)
        end = (size_t)(comma - url);
    for (size_t i = 0; i + 2 < end; i++)
        if (memcmp(url + i, "://", 3) == 0) {
            host = i + 3;
            break;
        }
    while (end > host && url[end - 1] == '/')
        end--;
    size_t part = end;
    while (part > host && url[part - 1] != '/')
        part--;
    if (part > host && is_number(url + part, end - part)) {
        size_t previous = part - 1;
        while (previous > host && url[previous - 1] != '/')
            previous--;
        part = previous > host ? previous : part;
    }
    *ret_part = url + part;
    *ret_len = end - part;
}

rqc_err rqci_har_name(const char *method, size_t method_len, const char *url, size_t len,
                      rqci_buf *out)
{
    const char *part;
    size_t n;
    naming_part(url, len, &part, &n);
    if (n > NAME_MAX_BYTES)
        for (n = NAME_MAX_BYTES; n > 0 && ((unsigned char)part[n] & 0xc0) == 0x80; n--)
            ;
    rqc_err rc = rqci_buf_add(out, method, method_len);
    if (rc == RQC_OK)
        rc = rqci_buf_add(out, " ", 1);
    if (rc == RQC_OK)
        rc = n > 0 ? unescape(part, n, false, out) : rqci_buf_add(out, "/", 1);
    return rc;
}

bool rqci_har_next_pair(const char **text, size_t *len, rqci_har_pair *ret_pair)
{
    while (*len > 0 && **text == '&') {
        (*text)++;
        (*len)--;
    }
    if (*len == 0)
        return false;
    const char *end = memchr(*text, '&', *len);
    const size_t n = end ? (size_t)(end - *text) : *len;
    const char *equals = memchr(*text, '=', n);
    ret_pair->name = *text;
    ret_pair->name_len = equals ? (size_t)(equals - *text) : n;
    ret_pair->value = equals ? equals + 1 : *text + n;
    ret_pair->value_len = equals ? n - ret_pair->name_len - 1 : 0;
    *text += n;
    *len -= n;
    return true;
}
