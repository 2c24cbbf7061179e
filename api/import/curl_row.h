// SPDX-License-Identifier: Apache-2.0
// What the files of the curl import share.
#ifndef RQCI_CURL_ROW_H
#define RQCI_CURL_ROW_H

#include "api/import/curl.h"

// ---- Words, as a shell reads them (curl_words.c) ----

typedef struct rqci_curl_word {
    size_t at, len; // in text
} rqci_curl_word;

// One command of the text. Nothing is expanded or run: variables and commands in it stay as they
// are written. Free with rqci_curl_words_free.
typedef struct rqci_curl_words {
    rqci_buf text;
    rqci_curl_word *words;
    size_t n, cap;
    rqci_buf input; // what a here-document or here-string gives it
    bool has_input;
    unsigned variables;    // of the shell, and commands in it
    unsigned redirections; // to and from files
    bool open_quote;       // it ends within a quote
    size_t line;           // it begins on, counted from 1
} rqci_curl_words;

typedef struct rqci_curl_text {
    const char *p, *end;
    size_t line;
} rqci_curl_text;

// The next command with at least one word; moves *t behind it. *ret_more false: there is none.
rqc_err rqci_curl_words_next(rqci_curl_text *t, rqci_curl_words *w, bool *ret_more);
void rqci_curl_words_free(rqci_curl_words *w);
static inline const char *rqci_curl_text_of(const rqci_curl_words *w, size_t i)
{
    return (const char *)w->text.data + w->words[i].at;
}

// ---- Options (curl_options.c) ----

typedef enum rqci_curl_action {
    RQCI_CURL_QUIET, // says nothing about the request
    RQCI_CURL_LOST,  // has no table
    RQCI_CURL_URL,
    RQCI_CURL_METHOD,
    RQCI_CURL_HEADER,
    RQCI_CURL_DATA,
    RQCI_CURL_DATA_BINARY,
    RQCI_CURL_DATA_RAW,
    RQCI_CURL_DATA_URLENCODE,
    RQCI_CURL_JSON,
    RQCI_CURL_FORM,
    RQCI_CURL_FORM_STRING,
    RQCI_CURL_USER,
    RQCI_CURL_BEARER,
    RQCI_CURL_OTHER_AUTH, // -u is not sent as Basic
    RQCI_CURL_COOKIE,
    RQCI_CURL_AGENT,
    RQCI_CURL_REFERER,
    RQCI_CURL_RANGE,
    RQCI_CURL_GET,
    RQCI_CURL_HEAD,
    RQCI_CURL_UPLOAD,
    RQCI_CURL_COMPRESSED,
    RQCI_CURL_URL_QUERY,
    RQCI_CURL_NEXT
} rqci_curl_action;

typedef struct rqci_curl_option {
    char letter;      // 0: none
    const char *name; // without dashes
    bool value;
    rqci_curl_action action;
} rqci_curl_option;

// By letter, or by name (its beginning, where no other option begins so); NULL: unknown.
const rqci_curl_option *rqci_curl_option_letter(char letter);
const rqci_curl_option *rqci_curl_option_name(const char *name, size_t len);

// ---- Commands (curl_command.c) ----

typedef struct rqci_curl_item {
    rqci_curl_action action;
    const char *p; // into the words
    size_t len;
} rqci_curl_item;

// What the options of one request are: a part of a command, up to --next.
typedef struct rqci_curl_command {
    rqci_curl_item *items;
    size_t n, cap;
    const rqci_curl_words *words;
} rqci_curl_command;

// Reads the words from *at up to --next or the end; moves *at behind it. What has no table is
// added to losses.
rqc_err rqci_curl_command_read(const rqci_curl_words *w, size_t *at, rqci_curl_command *c,
                               rqci_losses *losses);
// The last item of an action; NULL: none.
const rqci_curl_item *rqci_curl_last(const rqci_curl_command *c, rqci_curl_action action);

// ---- What it sends (curl_body.c) ----

typedef struct rqci_curl_body {
    int kind;
    bool query;    // the data belong into the url
    bool of_files; // a part of it is named, not there
    bool typed;    // curl adds its own content type, which the kind does not tell
    rqci_buf data; // owned
} rqci_curl_body;
// `type`: the content type that the command gives, "" for none.
rqc_err rqci_curl_body_read(const rqci_curl_command *c, const char *type, rqci_rows *r,
                            rqci_curl_body *ret_body);
rqc_err rqci_curl_form_add(const rqci_curl_command *c, rqci_rows *r, rqci_losses *losses,
                           const uint8_t request[16]);
// What --url-query adds to an url: "a=1&b=2", encoded; appended to out.
rqc_err rqci_curl_url_query(const rqci_curl_command *c, rqci_rows *r, rqci_buf *out);

#endif
