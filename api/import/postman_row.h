// SPDX-License-Identifier: Apache-2.0
// What the files of the Postman import share: one reading of one collection.
#ifndef RQCI_POSTMAN_ROW_H
#define RQCI_POSTMAN_ROW_H

#include "api/import/postman.h"

typedef struct rqci_postman {
    rqci_rows *rows;
    uint8_t collection[16]; // what tells this collection from others
    uint64_t items;         // read so far
    uint64_t total;
    rqci_losses losses; // of the item that is read
    // The request that is read.
    uint8_t request[16]; // its id
    rqci_buf url_text, method_text;
    rqc_value url, method;
} rqci_postman;

// A level of the tree.
typedef struct rqci_postman_level {
    const uint8_t *folder;                   // id of its row, NULL: the collection itself
    const struct rqci_postman_level *parent; // NULL: none
    const char *name;
    json_t *auth; // in force here, NULL: none
    unsigned depth;
} rqci_postman_level;

// The members of an object that are not in `used` (ended by NULL), as losses. Members that say
// nothing (null, false, "",
// [], {}) are none. `what` names the object.
rqc_err rqci_postman_rest(rqci_postman *p, json_t *object, const char *what,
                          const char *const *used);
// A member that is no object, list … where it should be one, as a loss.
rqc_err rqci_postman_wrong(rqci_postman *p, json_t *v, const char *what);
// Does it hold nothing?
bool rqci_postman_empty(json_t *v);

// An id: of what Postman calls it, else of its place (`parent`) and name. `kind` keeps the id
// spaces apart.
rqc_err rqci_postman_id(rqci_postman *p, char kind, json_t *object, const uint8_t parent[16],
                        uint8_t ret_id[16]);
// A description: a text or {content, type}.
rqc_err rqci_postman_description(rqci_postman *p, json_t *v, rqc_value *ret_value);

// ---- Lists of names and values (postman_pairs.c) ----

// The rows of a list of {key, value, disabled, description}. `order`: number of the first row,
// moved on. `replaced`: a row of this name (in any case) is kept disabled because something else
// takes its place; NULL: none.
rqc_err rqci_postman_pairs(rqci_postman *p, rqc_entity entity, const uint8_t owner[16],
                           json_t *list, const char *what, const rqc_value *replaced,
                           uint32_t *order);
// The same of a text of lines "Name: value", lines that begin with // are disabled.
rqc_err rqci_postman_lines(rqci_postman *p, rqc_entity entity, const uint8_t owner[16],
                           const char *text, size_t len, const rqc_value *replaced,
                           uint32_t *order);
// The same of "a=1&b=2". Nothing is decoded: Postman shows it so, too.
rqc_err rqci_postman_query(rqci_postman *p, rqc_entity entity, const char *text, size_t len,
                           const rqc_value *replaced, uint32_t *order);
// One row of texts of our own.
rqc_err rqci_postman_pair(rqci_postman *p, rqc_entity entity, const char *key, size_t key_len,
                          const char *value, size_t len, uint32_t *order);

// ---- Bodies (postman_body.c) ----

typedef struct rqci_postman_body {
    int kind; // http.body_kind
    bool has_raw;
    rqci_buf raw;     // owned
    const char *type; // the media type that Postman would add by itself, NULL: none
    json_t *urlencoded, *form;
} rqci_postman_body;
rqc_err rqci_postman_body_read(rqci_postman *p, json_t *body, rqci_postman_body *ret_body);
rqc_err rqci_postman_body_add(rqci_postman *p, const rqci_postman_body *body);

// ---- Authentication (postman_auth.c) ----

// The header or parameter that an auth setting becomes.
typedef struct rqci_postman_auth {
    rqc_entity entity;   // 0: none
    rqci_buf key, value; // owned
} rqci_postman_auth;
// Which setting is in force: `auth` (of a request or folder) or, where that is NULL or null, the
// inherited one.
json_t *rqci_postman_auth_of(json_t *auth, json_t *inherited);
// What an own setting that cannot be kept loses. Called once, where the setting stands.
rqc_err rqci_postman_auth_losses(rqci_postman *p, json_t *auth);
rqc_err rqci_postman_auth_read(rqci_postman *p, json_t *auth, rqci_postman_auth *ret_auth);

// ---- Requests (postman_request.c), examples (postman_response.c) ----

// The request's row and everything that it sends.
rqc_err rqci_postman_request(rqci_postman *p, json_t *item, const rqci_postman_level *level);
// Its name: the item's, else one made of method and url.
rqc_err rqci_postman_request_name(rqci_postman *p, json_t *item, rqc_value *ret_name);
// `request`: what the examples' own requests are compared with.
rqc_err rqci_postman_responses(rqci_postman *p, json_t *list, json_t *request);

#endif
