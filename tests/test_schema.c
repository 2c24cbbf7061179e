// SPDX-License-Identifier: Apache-2.0
//
// The table of entities, what is derived from it, defaults, and what may be stored.
#include "tap.h"

#include "rows.h"
#include "value_literals.h"

static const char *const type_names[] = {"ID", "TEXT", "BYTES", "INT", "BOOL", "REAL", "ANY"};

// The documentation's list, made again from the table.
static char *list_of_fields(void)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        bail("no memory");
    for (unsigned code = 1; code <= RQCI_ENTITY_MAX; code++) {
        const rqci_entity *e = rqci_entity_of(code);
        fprintf(f, " %u %s", code, e->table);
        for (int i = 0; i < e->nfields; i++)
            fprintf(f, " %s:%s", e->fields[i].name, type_names[e->fields[i].type]);
    }
    fclose(f);
    return text;
}

static void test_docs(void)
{
    char *want = list_of_fields();
    char *docs = rows_from_docs("format.md", "entities");
    // Blanks and line ends are layout.
    char *flat = calloc(1, docs ? strlen(docs) + 2 : 2);
    if (!flat)
        bail("no memory");
    size_t n = 0;
    for (char *word = docs ? strtok(docs, " \n") : NULL; word; word = strtok(NULL, " \n"))
        n += (size_t)sprintf(flat + n, "%s%s", n ? " " : "", word);
    ok(strcmp(flat, want + 1) == 0, "docs: the list of entities and fields is the table");
    free(flat);
    free(docs);
    free(want);
}

static bool masks_are_right(const rqci_entity *e)
{
    uint32_t id = 0, slot = 0, boolean = 0, zero = 0, delta = 0;
    for (int i = 0; i < e->nfields; i++) {
        const rqci_field *f = &e->fields[i];
        const uint32_t bit = 1u << i;
        if (f->type == RQCI_T_ID && i > 0)
            id |= bit;
        else if (f->type == RQCI_T_BOOL)
            boolean |= bit;
        else if (f->type != RQCI_T_ID && f->role != RQCI_R_UPDATED)
            slot |= bit;
        if (f->type != RQCI_T_ID && f->type != RQCI_T_ANY)
            zero |= bit;
        if (f->partner >= 0)
            delta |= bit;
        if (e->types[i] != f->type)
            return false;
    }
    return id == e->id_mask && slot == e->slot_mask && boolean == e->bool_mask &&
           zero == e->zero_mask && delta == e->delta_mask;
}

static bool roles_are_right(const rqci_entity *e)
{
    const struct {
        rqci_role role;
        int8_t field;
    } roles[] = {{RQCI_R_OWNER, e->owner},     {RQCI_R_PARENT, e->parent},
                 {RQCI_R_DELTA, e->is_delta},  {RQCI_R_SNAP, e->is_snapshot},
                 {RQCI_R_ENABLED, e->enabled}, {RQCI_R_ORDER, e->order},
                 {RQCI_R_CREATED, e->created}, {RQCI_R_UPDATED, e->updated}};
    for (size_t k = 0; k < sizeof roles / sizeof *roles; k++) {
        int found = -1, times = 0;
        for (int i = 0; i < e->nfields; i++) {
            if (e->fields[i].role == roles[k].role) {
                found = i;
                times++;
            }
        }
        if (found != roles[k].field || times > 1)
            return false;
    }
    return e->fields[0].role == RQCI_R_KEY && e->fields[0].type == RQCI_T_ID && !e->fields[0].null;
}

static bool partners_are_right(const rqci_entity *e)
{
    for (int i = 0; i < e->nfields; i++) {
        const rqci_field *f = &e->fields[i];
        const bool named = strncmp(f->name, "delta_", 6) == 0;
        if (named != (f->partner >= 0))
            return false;
        if (named && (strcmp(f->name + 6, e->fields[f->partner].name) != 0 ||
                      f->type != e->fields[f->partner].type || !f->null))
            return false;
        if (named && rqci_override_of(e, f->partner) != i)
            return false;
        const int override = rqci_override_of(e, i);
        if (override != 0 && e->fields[override].partner != i)
            return false;
    }
    return true;
}

static void test_tables(void)
{
    int fields = 0;
    for (unsigned code = 1; code <= RQCI_ENTITY_MAX; code++) {
        const rqci_entity *e = rqci_entity_of(code);
        is(e->code, code, "%s: code", e->table);
        ok(masks_are_right(e), "%s: masks", e->table);
        ok(roles_are_right(e), "%s: roles", e->table);
        ok(partners_are_right(e), "%s: override columns", e->table);
        ok((e->owner_code != 0) == (e->owner >= 0) && e->owner_code < e->code, "%s: owner",
           e->table);
        bool found = rqci_entity_named(e->table, strlen(e->table)) == e;
        for (int i = 0; i < e->nfields; i++)
            found = found && rqci_field_named(e, e->fields[i].name, strlen(e->fields[i].name)) == i;
        ok(found, "%s: names", e->table);
        fields += e->nfields;
    }
    is(fields, 150, "fields of all entities");
    ok(!rqci_entity_of(0) && !rqci_entity_of(14) && !rqci_entity_of(UINT32_MAX), "unknown codes");
    ok(!rqci_entity_named("htt", 3) && !rqci_entity_named("https", 5) && !rqci_entity_named("", 0),
       "unknown tables");
    ok(rqci_entity_named("http_header", 4) == rqci_entity_of(RQCI_HTTP),
       "a name is as long as it is said to be");
    is(rqci_field_named(rqci_entity_of(RQCI_HTTP), "URL", 3), -1, "unknown columns");
    is(rqci_schema_hash(), UINT64_C(0xf7262f42b841dc02),
       "hash of the schema: another one is another format");
}

static void test_defaults(void)
{
    const rqci_entity *e = rqci_entity_of(RQCI_HTTP);
    rqc_value row[RQCI_FIELD_MAX] = {0};
    row[RQCI_HTTP_URL] = rows_text("u");
    row[RQCI_HTTP_DELTA_NAME] = rows_text("");
    row[RQCI_HTTP_DESCRIPTION] = rows_null();
    rqci_row_defaults(e, row, 1234);
    const struct {
        int field;
        rqc_value want;
    } wants[] = {
        {RQCI_HTTP_URL, rows_text("u")},        {RQCI_HTTP_NAME, {.type = RQC_ABSENT}},
        {RQCI_HTTP_BODY_KIND, rows_int(2)},     {RQCI_HTTP_IS_DELTA, rows_bool(false)},
        {RQCI_HTTP_CREATED_AT, rows_int(1234)}, {RQCI_HTTP_UPDATED_AT, rows_int(1234)},
        {RQCI_HTTP_LAST_RUN_AT, rows_null()},   {RQCI_HTTP_DELTA_NAME, rows_text("")},
        {RQCI_HTTP_DELTA_URL, rows_null()},     {RQCI_HTTP_DESCRIPTION, rows_null()},
        {RQCI_HTTP_ID, {.type = RQC_ABSENT}},
    };
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++)
        ok(rows_equal(&row[wants[i].field], &wants[i].want), "default of http.%s",
           e->fields[wants[i].field].name);
    rqc_value header[RQCI_FIELD_MAX] = {0};
    rqci_row_defaults(rqci_entity_of(RQCI_HTTP_HEADER), header, 1);
    const rqc_value yes = rows_bool(true), zero = rows_real(0.0), empty = rows_text("");
    ok(rows_equal(&header[RQCI_HTTP_HEADER_ENABLED], &yes), "default of enabled");
    ok(rows_equal(&header[RQCI_HTTP_HEADER_DISPLAY_ORDER], &zero), "default of display_order");
    ok(rows_equal(&header[RQCI_HTTP_HEADER_DESCRIPTION], &empty), "default of description");
}

// ---- What may be stored ----

static const char some_id[] = "0123456789abcdef";

#define ID_                                   \
    {                                         \
        .type = RQC_ID, .n = 16, .p = some_id \
    }
#define NOT                \
    {                      \
        .type = RQC_ABSENT \
    }

static void complete(const rqci_entity *e, rqc_value *row)
{
    memset(row, 0, sizeof *row * RQCI_FIELD_MAX);
    for (int i = 1; i < e->nfields; i++) {
        const rqci_field *f = &e->fields[i];
        if (f->null || f->def != RQCI_D_NONE)
            continue;
        row[i] = f->type == RQCI_T_ID     ? rows_id(some_id)
                 : f->type == RQCI_T_INT  ? rows_int(1)
                 : f->type == RQCI_T_BOOL ? rows_bool(true)
                                          : rows_text("x");
    }
}

static const struct {
    const char *what;
    unsigned code;
    int field;
    rqc_value value;
    bool put, patch; // accepted
} checks[] = {
    {"a required field", RQCI_HTTP, RQCI_HTTP_URL, NOT, false, true},
    {"NULL in a required field", RQCI_HTTP, RQCI_HTTP_URL, NUL, false, false},
    {"an optional field", RQCI_HTTP, RQCI_HTTP_FOLDER_ID, NOT, true, true},
    {"NULL in an optional field", RQCI_HTTP, RQCI_HTTP_DELTA_NAME, NUL, true, true},
    {"a field with a default", RQCI_HTTP, RQCI_HTTP_BODY_KIND, NOT, true, true},
    {"NULL in a field with a default", RQCI_HTTP, RQCI_HTTP_BODY_KIND, NUL, false, false},
    {"a text", RQCI_HTTP, RQCI_HTTP_URL, T("\xc3\xa4"), true, true},
    {"an empty text", RQCI_HTTP, RQCI_HTTP_URL, T(""), true, true},
    {"a text with a zero byte", RQCI_HTTP, RQCI_HTTP_URL, T("a\0b"), false, false},
    {"a text that is not UTF-8", RQCI_HTTP, RQCI_HTTP_URL, T("abc\xff"), false, false},
    {"bytes as text", RQCI_HTTP, RQCI_HTTP_URL, BY("a"), false, false},
    {"an integer as text", RQCI_HTTP, RQCI_HTTP_URL, I(1), false, false},
    {"a length without bytes", RQCI_HTTP, RQCI_HTTP_URL, {.type = RQC_TEXT, .n = 5}, false, false},
    {"an integer", RQCI_HTTP, RQCI_HTTP_BODY_KIND, I(-9), true, true},
    {"a real as integer", RQCI_HTTP, RQCI_HTTP_BODY_KIND, R(1.0), false, false},
    {"a boolean as integer", RQCI_HTTP, RQCI_HTTP_BODY_KIND, BO(1), false, false},
    {"a boolean", RQCI_HTTP, RQCI_HTTP_IS_SNAPSHOT, BO(1), true, true},
    {"1 as boolean", RQCI_HTTP, RQCI_HTTP_IS_SNAPSHOT, I(1), true, true},
    {"2 as boolean", RQCI_HTTP, RQCI_HTTP_IS_SNAPSHOT, I(2), false, false},
    {"a boolean of 2", RQCI_HTTP, RQCI_HTTP_IS_SNAPSHOT, BO(2), false, false},
    {"text as boolean", RQCI_HTTP, RQCI_HTTP_IS_SNAPSHOT, T("true"), false, false},
    {"a real", RQCI_HTTP_HEADER, RQCI_HTTP_HEADER_DISPLAY_ORDER, R(0.5), true, true},
    {"an infinite real", RQCI_HTTP_HEADER, RQCI_HTTP_HEADER_DISPLAY_ORDER, R((double)INFINITY),
     true, true},
    {"an integer as real", RQCI_HTTP_HEADER, RQCI_HTTP_HEADER_DISPLAY_ORDER, I(3), true, true},
    {"a NaN", RQCI_HTTP_HEADER, RQCI_HTTP_HEADER_DISPLAY_ORDER, R((double)NAN), false, false},
    {"an id", RQCI_HTTP, RQCI_HTTP_WORKSPACE_ID, ID_, true, true},
    {"16 bytes as id", RQCI_HTTP, RQCI_HTTP_WORKSPACE_ID, BY("0123456789abcdef"), false, false},
    {"an id of 15 bytes",
     RQCI_HTTP,
     RQCI_HTTP_WORKSPACE_ID,
     {.type = RQC_ID, .n = 15, .p = some_id},
     false,
     false},
    {"an id without bytes",
     RQCI_HTTP,
     RQCI_HTTP_WORKSPACE_ID,
     {.type = RQC_ID, .n = 16},
     false,
     false},
    {"bytes", RQCI_HTTP_BODY_RAW, RQCI_HTTP_BODY_RAW_RAW_DATA, BY("\0\xff"), true, true},
    {"text as bytes", RQCI_HTTP_BODY_RAW, RQCI_HTTP_BODY_RAW_RAW_DATA, T("a"), false, false},
    {"a hash as bytes",
     RQCI_HTTP_BODY_RAW,
     RQCI_HTTP_BODY_RAW_RAW_DATA,
     {.type = RQC_LARGE, .n = 16, .p = some_id, .u.length = 99999},
     false,
     false},
    {"any: text", RQCI_HTTP_RESPONSE, RQCI_HTTP_RESPONSE_TIME, T("x"), true, true},
    {"any: bad text", RQCI_HTTP_RESPONSE, RQCI_HTTP_RESPONSE_TIME, T("\xff"), false, false},
    {"any: bytes", RQCI_HTTP_RESPONSE, RQCI_HTTP_RESPONSE_TIME, BY("\xff"), true, true},
    {"any: integer", RQCI_HTTP_RESPONSE, RQCI_HTTP_RESPONSE_TIME, I(1), true, true},
    {"any: boolean", RQCI_HTTP_RESPONSE, RQCI_HTTP_RESPONSE_TIME, BO(1), false, false},
    {"a delta without a parent", RQCI_HTTP, RQCI_HTTP_IS_DELTA, BO(1), false, true},
    {"a header delta without a parent", RQCI_HTTP_HEADER, RQCI_HTTP_HEADER_IS_DELTA, BO(1), false,
     true},
    {"a body delta without a parent", RQCI_HTTP_BODY_RAW, RQCI_HTTP_BODY_RAW_IS_DELTA, I(1), false,
     true},
    {"an assert delta without a parent", RQCI_HTTP_ASSERT, RQCI_HTTP_ASSERT_IS_DELTA, BO(1), false,
     true},
    {"a urlencoded delta without a parent", RQCI_HTTP_BODY_URLENCODED,
     RQCI_HTTP_BODY_URLENCODED_IS_DELTA, BO(1), false, true},
    {"a parameter delta without a parent", RQCI_HTTP_SEARCH_PARAM, RQCI_HTTP_SEARCH_PARAM_IS_DELTA,
     BO(1), true, true},
    {"a form delta without a parent", RQCI_HTTP_BODY_FORM, RQCI_HTTP_BODY_FORM_IS_DELTA, BO(1),
     true, true},
    {"content_kind 7", RQCI_FILES, RQCI_FILES_CONTENT_KIND, I(7), true, true},
    {"content_kind 8", RQCI_FILES, RQCI_FILES_CONTENT_KIND, I(8), false, false},
    {"content_kind -1", RQCI_FILES, RQCI_FILES_CONTENT_KIND, I(-1), false, false},
};

static void test_checks(void)
{
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        const rqci_entity *e = rqci_entity_of(checks[i].code);
        rqc_value row[RQCI_FIELD_MAX];
        complete(e, row);
        row[checks[i].field] = checks[i].value;
        rqci_errbuf err = {""};
        const rqc_err put = rqci_row_check(e, row, false, &err);
        memset(row, 0, sizeof row);
        row[checks[i].field] = checks[i].value;
        const rqc_err patch = rqci_row_check(e, row, true, checks[i].put ? NULL : &err);
        ok((put == RQC_OK) == checks[i].put && (patch == RQC_OK) == checks[i].patch,
           "put %d, patch %d: %s", checks[i].put, checks[i].patch, checks[i].what);
        if (!checks[i].put)
            ok(put == RQC_INVALID && strncmp(err.text, e->table, strlen(e->table)) == 0 &&
                   strchr(err.text, ':'),
               "it says: %s", err.text);
    }
    bool good = true;
    for (unsigned code = 1; code <= RQCI_ENTITY_MAX; code++) {
        rqc_value row[RQCI_FIELD_MAX];
        complete(rqci_entity_of(code), row);
        good = good && rqci_row_check(rqci_entity_of(code), row, false, NULL) == RQC_OK;
    }
    ok(good, "the required fields are enough");
}

static void test_pairs(void)
{
    const rqci_entity *e = rqci_entity_of(RQCI_HTTP);
    rqc_value row[RQCI_FIELD_MAX];
    complete(e, row);
    row[RQCI_HTTP_IS_DELTA] = rows_int(1);
    row[RQCI_HTTP_PARENT_HTTP_ID] = rows_id(some_id);
    is(rqci_row_check(e, row, false, NULL), RQC_OK, "a delta with a parent");
    is(row[RQCI_HTTP_IS_DELTA].type, RQC_BOOL, "1 becomes true");
    row[RQCI_HTTP_IS_SNAPSHOT] = rows_bool(true);
    is(rqci_row_check(e, row, false, NULL), RQC_INVALID, "a delta is no snapshot");
    is(rqci_row_check(e, row, true, NULL), RQC_INVALID, "nor by a patch");
    row[RQCI_HTTP_IS_SNAPSHOT] = rows_bool(false);
    row[RQCI_HTTP_PARENT_HTTP_ID] = rows_null();
    is(rqci_row_check(e, row, true, NULL), RQC_INVALID, "a patch that takes the parent away");
    rqc_value header[RQCI_FIELD_MAX];
    complete(rqci_entity_of(RQCI_HTTP_HEADER), header);
    header[RQCI_HTTP_HEADER_DISPLAY_ORDER] = rows_int(-3);
    is(rqci_row_check(rqci_entity_of(RQCI_HTTP_HEADER), header, false, NULL), RQC_OK,
       "an integer order");
    const rqc_value want = rows_real(-3.0);
    ok(rows_equal(&header[RQCI_HTTP_HEADER_DISPLAY_ORDER], &want), "becomes a real");
}

int main(void)
{
    test_docs();
    test_tables();
    test_defaults();
    test_checks();
    test_pairs();
    return tap_done();
}
