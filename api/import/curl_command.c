// SPDX-License-Identifier: Apache-2.0
// The options of one curl command line.
#include "api/import/curl_row.h"

#include <stdlib.h>
#include <string.h>

static rqc_err add(rqci_curl_command *c, rqci_curl_action action, const char *p, size_t len)
{
    if (c->n == c->cap) {
        const size_t cap = c->cap ? c->cap * 2 : 32;
        rqci_curl_item *items = realloc(c->items, cap * sizeof *items);
        if (!items)
            return RQC_NO_MEMORY;
        c->items = items;
        c->cap = cap;
    }
    c->items[c->n++] = (rqci_curl_item){action, p, len};
    return RQC_OK;
}

// An option is named as it is written; its value, which may be a secret, never.
static rqc_err take(rqci_curl_command *c, const rqci_curl_option *o, const char *p, size_t len,
                    rqci_losses *losses)
{
    if (o->action == RQCI_CURL_LOST)
        return rqci_losses_add(losses, "option --%s", o->name);
    return o->action == RQCI_CURL_QUIET ? RQC_OK : add(c, o->action, p, len);
}

// The value that an option takes out of the next word. *ret_p NULL: there is none.
static void next_word(const rqci_curl_words *w, size_t *at, const char **ret_p, size_t *ret_len)
{
    *ret_p = *at < w->n ? rqci_curl_text_of(w, *at) : NULL;
    *ret_len = *at < w->n ? w->words[*at].len : 0;
    *at += *at < w->n;
}

static rqc_err no_value(const rqci_curl_option *o, rqci_losses *losses)
{
    return rqci_losses_add(losses, "option --%s without its value", o->name);
}

// Is the word behind an unknown option rather its value than an url?
static bool looks_like_value(const rqci_curl_command *c, const rqci_curl_words *w, size_t at)
{
    if (at >= w->n)
        return false;
    const char *p = rqci_curl_text_of(w, at);
    return *p != '-' && !strstr(p, "://") &&
           (at + 1 < w->n || rqci_curl_last(c, RQCI_CURL_URL) != NULL);
}

static rqc_err long_option(rqci_curl_command *c, const rqci_curl_words *w, size_t *at,
                           const char *p, size_t len, bool *ret_next, rqci_losses *losses)
{
    bool no = false;
    const rqci_curl_option *o = rqci_curl_option_name(p, len);
    if (!o && len > 7 && memcmp(p, "expand-", 7) == 0)
        o = rqci_curl_option_name(p + 7, len - 7);
    if (!o && len > 3 && memcmp(p, "no-", 3) == 0) {
        o = rqci_curl_option_name(p + 3, len - 3);
        no = true;
    }
    if (!o || (no && o->value)) {
        *at += looks_like_value(c, w, *at);
        return rqci_losses_add(losses, "unknown option --%.60s", p);
    }
    const char *value = NULL;
    size_t n = 0;
    if (o->value) {
        next_word(w, at, &value, &n);
        if (!value)
            return no_value(o, losses);
    }
    // --no-… takes back what is not there by default.
    if (no)
        return RQC_OK;
    *ret_next = o->action == RQCI_CURL_NEXT;
    return take(c, o, value, n, losses);
}

// -sXPOST: letters, and the value of the last.
static rqc_err letters(rqci_curl_command *c, const rqci_curl_words *w, size_t *at, const char *p,
                       size_t len, bool *ret_next, rqci_losses *losses)
{
    rqc_err rc = RQC_OK;
    for (size_t i = 0; i < len && rc == RQC_OK; i++) {
        const rqci_curl_option *o = rqci_curl_option_letter(p[i]);
        if (!o) {
            rc = rqci_losses_add(losses, "unknown option -%c", p[i]);
            continue;
        }
        const char *value = p + i + 1;
        size_t n = len - i - 1;
        if (!o->value) {
            *ret_next = *ret_next || o->action == RQCI_CURL_NEXT;
            rc = take(c, o, NULL, 0, losses);
            continue;
        }
        if (n == 0)
            next_word(w, at, &value, &n);
        return value ? take(c, o, value, n, losses) : no_value(o, losses);
    }
    return rc;
}

rqc_err rqci_curl_command_read(const rqci_curl_words *w, size_t *at, rqci_curl_command *c,
                               rqci_losses *losses)
{
    bool next = false, urls_only = false;
    rqc_err rc = RQC_OK;
    c->n = 0;
    c->words = w;
    while (*at < w->n && rc == RQC_OK && !next) {
        const char *p = rqci_curl_text_of(w, *at);
        const size_t len = w->words[(*at)++].len;
        if (urls_only || len < 2 || p[0] != '-')
            rc = add(c, RQCI_CURL_URL, p, len);
        else if (len == 2 && p[1] == '-')
            urls_only = true;
        else if (p[1] == '-')
            rc = long_option(c, w, at, p + 2, len - 2, &next, losses);
        else
            rc = letters(c, w, at, p + 1, len - 1, &next, losses);
    }
    return rc;
}

const rqci_curl_item *rqci_curl_last(const rqci_curl_command *c, rqci_curl_action action)
{
    for (size_t i = c->n; i-- > 0;)
        if (c->items[i].action == action)
            return &c->items[i];
    return NULL;
}
