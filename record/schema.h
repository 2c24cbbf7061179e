// SPDX-License-Identifier: Apache-2.0
// What a record is: the entities and their fields, as const tables made from record/entities.def.
#ifndef RQCI_SCHEMA_H
#define RQCI_SCHEMA_H

#include "base/err.h"
#include "record/types.h"

#include <stdbool.h>

typedef enum rqci_ftype {
    RQCI_T_ID,
    RQCI_T_TEXT,
    RQCI_T_BYTES,
    RQCI_T_INT,
    RQCI_T_BOOL,
    RQCI_T_REAL,
    RQCI_T_ANY
} rqci_ftype;

typedef enum rqci_default {
    RQCI_D_NONE,
    RQCI_D_NOW,
    RQCI_D_EMPTY,
    RQCI_D_ZERO,
    RQCI_D_TRUE,
    RQCI_D_TWO
} rqci_default;

typedef enum rqci_role {
    RQCI_R_PLAIN,
    RQCI_R_KEY,
    RQCI_R_OWNER,
    RQCI_R_PARENT,
    RQCI_R_DELTA,
    RQCI_R_SNAP,
    RQCI_R_ENABLED,
    RQCI_R_ORDER,
    RQCI_R_CREATED,
    RQCI_R_UPDATED
} rqci_role;

typedef struct rqci_field {
    const char *name; // column name
    rqci_ftype type;
    bool null; // may be NULL
    rqci_default def;
    rqci_role role;
    int8_t partner; // on an override column: index of the field that it overrides, else -1
} rqci_field;

// Field indexes are -1 where the entity has no such field.
typedef struct rqci_entity {
    uint8_t code;       // 1 … RQCI_ENTITY_MAX
    uint8_t owner_code; // entity that owner ids point to, 0 for workspaces
    uint8_t nfields;
    const char *table; // table name, also the entity's name
    const rqci_field *fields;
    int8_t owner, parent, is_delta, is_snapshot, enabled, order, created, updated;
    uint32_t id_mask; // bit i: field i is of type ID and not the key (16-byte slot)
    uint32_t
        slot_mask; // bit i: field i is INT, REAL, TEXT, BYTES or ANY and not UPDATED (8-byte slot)
    uint32_t bool_mask; // bit i: field i is BOOL
    uint32_t zero_mask; // bit i: the zero bit of field i may be set: INT, REAL, BOOL, TEXT or BYTES
    uint8_t types[RQCI_FIELD_MAX]; // fields[i].type again, without the way through the pointer
    uint8_t overrides[RQCI_FIELD_MAX + 1]; // [i + 1]: the override column of field i, 0 where it
                                           // has none ([0] has no meaning)
    uint32_t delta_mask;                   // bit i: field i is an override column
} rqci_entity;

// By code; [0] is empty.
extern const rqci_entity rqci_entities[RQCI_ENTITY_MAX + 1];

// Field numbers: enum { RQCI_HTTP_URL = 4, … } for every field, and RQCI_HTTP_NFIELDS.
#define RQCI_ENTITY(code, NAME, table, owner)                            enum {
#define RQCI_FIELD(NAME, COLUMN, column, type, null, def, role, partner) RQCI_##NAME##_##COLUMN,
#define RQCI_END(NAME)    \
    RQCI_##NAME##_NFIELDS \
    }                     \
    ;
#include "record/entities.def"
#undef RQCI_ENTITY
#undef RQCI_FIELD
#undef RQCI_END

// Entity codes: RQCI_WORKSPACES = 1 …
enum {
#define RQCI_ENTITY(code, NAME, table, owner) RQCI_##NAME = code,
#define RQCI_FIELD(NAME, COLUMN, column, type, null, def, role, partner)
#define RQCI_END(NAME)
#include "record/entities.def"
#undef RQCI_ENTITY
#undef RQCI_FIELD
#undef RQCI_END
};

// Older names of columns, grouped by entity and field, the newest first.
typedef struct rqci_alias {
    uint8_t entity, field;
    const char *name;
} rqci_alias;
#define RQCI_ALIASES 36
extern const rqci_alias rqci_aliases[RQCI_ALIASES];
// Bit i: older tables lack field i, and a write can do without it.
uint32_t rqci_later_mask(unsigned entity);

// The description of a code, NULL when the code is unknown. Static storage.
const rqci_entity *rqci_entity_of(unsigned code);
// By table name, NULL when unknown.
const rqci_entity *rqci_entity_named(const char *name, size_t len);
// The override column of a field, 0 where it has none.
static inline int rqci_override_of(const rqci_entity *e, int field)
{
    return e->overrides[field + 1];
}
// Index of a column, -1 when the entity has none of this name.
int rqci_field_named(const rqci_entity *e, const char *name, size_t len);
// XXH3-64 over codes, names, types and order of all entities and fields: the same value = the same
// records.
uint64_t rqci_schema_hash(void);

// Checks a row of values (nfields entries, indexed by field) as a put or a patch will store it:
// type of each value, NULL where the column may not be, required fields present (put only), the
// rules of the tables (a delta has a parent; not delta and snapshot at once; content_kind 0…7).
// Texts must be valid UTF-8 without NUL; NaN and RQC_LARGE cannot be stored. Converts BOOL given as
// INT 0/1 and INT given for REAL in place. The key's entry is not looked at. RQC_INVALID with the
// field's name in err. A patch is judged by what it gives alone: the database judges the whole row.
rqc_err rqci_row_check(const rqci_entity *e, rqc_value *row, bool patch, rqci_errbuf *err);

// Fills ABSENT fields of a put with the column's default (`now` in UNIX seconds).
void rqci_row_defaults(const rqci_entity *e, rqc_value *row, int64_t now);

// Copies of rows. Texts, bytes and ids point to n bytes that are theirs.
static inline bool rqci_has_bytes(const rqc_value *v)
{
    return v->type == RQC_TEXT || v->type == RQC_BYTES || v->type == RQC_ID;
}
// How many bytes the first so many values of a row point to; and the values with all of these
// bytes, which go one behind the other to `bytes`.
size_t rqci_row_bytes(const rqc_value *row, int nfields);
void rqci_row_copy(rqc_value *to, void *bytes, const rqc_value *row, int nfields);

#endif
