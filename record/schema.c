// SPDX-License-Identifier: Apache-2.0
#include "record/schema.h"

#include "base/hash.h"

#include <string.h>

enum { NULLABLE_NUL = 1, NULLABLE_NN = 0 };

// The partner "NO" is no field.
#define RQCI_ENTITY(code, NAME, table, owner) enum { RQCI_##NAME##_NO = -1 };
#define RQCI_FIELD(NAME, COLUMN, column, type, null, def, role, partner)
#define RQCI_END(NAME)
#include "record/entities.def"
#undef RQCI_ENTITY
#undef RQCI_FIELD
#undef RQCI_END

#define RQCI_ENTITY(code, NAME, table, owner) static const rqci_field fields_##NAME[] = {
#define RQCI_FIELD(NAME, COLUMN, column, type, null, def, role, partner) \
    {#column, RQCI_T_##type, NULLABLE_##null, RQCI_D_##def, RQCI_R_##role, RQCI_##NAME##_##partner},
#define RQCI_END(NAME) \
    }                  \
    ;
#include "record/entities.def"
#undef RQCI_ENTITY
#undef RQCI_FIELD

// The masks are sums that the compiler makes. Which masks a field is in follows from its type, and
// for ID and INT from its role: the key and the update time stand in the record's header.
#define IN_ID(type, role) \
    ((int)RQCI_T_##type == (int)RQCI_T_ID && (int)RQCI_R_##role != (int)RQCI_R_KEY)
#define IN_BOOL(type, role) ((int)RQCI_T_##type == (int)RQCI_T_BOOL)
#define IN_ZERO(type, role) \
    ((int)RQCI_T_##type != (int)RQCI_T_ID && (int)RQCI_T_##type != (int)RQCI_T_ANY)
#define IN_SLOT(type, role)                                                            \
    ((int)RQCI_T_##type != (int)RQCI_T_ID && (int)RQCI_T_##type != (int)RQCI_T_BOOL && \
     (int)RQCI_R_##role != (int)RQCI_R_UPDATED)

#define RQCI_ENTITY(code, NAME, table, owner) enum { ID_MASK_##NAME = 0
#define RQCI_FIELD(NAME, COLUMN, column, type, null, def, role, partner) \
    | IN_ID(type, role) << RQCI_##NAME##_##COLUMN
#include "record/entities.def"
#undef RQCI_ENTITY
#undef RQCI_FIELD
#define RQCI_ENTITY(code, NAME, table, owner) enum { BOOL_MASK_##NAME = 0
#define RQCI_FIELD(NAME, COLUMN, column, type, null, def, role, partner) \
    | IN_BOOL(type, role) << RQCI_##NAME##_##COLUMN
#include "record/entities.def"
#undef RQCI_ENTITY
#undef RQCI_FIELD
#define RQCI_ENTITY(code, NAME, table, owner) enum { ZERO_MASK_##NAME = 0
#define RQCI_FIELD(NAME, COLUMN, column, type, null, def, role, partner) \
    | IN_ZERO(type, role) << RQCI_##NAME##_##COLUMN
#include "record/entities.def"
#undef RQCI_ENTITY
#undef RQCI_FIELD
#define RQCI_ENTITY(code, NAME, table, owner) enum { DELTA_MASK_##NAME = 0
#define RQCI_FIELD(NAME, COLUMN, column, type, null, def, role, partner) \
    | (RQCI_##NAME##_##partner >= 0) << RQCI_##NAME##_##COLUMN
#include "record/entities.def"
#undef RQCI_ENTITY
#undef RQCI_FIELD
#define RQCI_ENTITY(code, NAME, table, owner) enum { SLOT_MASK_##NAME = 0
#define RQCI_FIELD(NAME, COLUMN, column, type, null, def, role, partner) \
    | IN_SLOT(type, role) << RQCI_##NAME##_##COLUMN
#include "record/entities.def"
#undef RQCI_ENTITY
#undef RQCI_FIELD
#undef RQCI_END

#define RQCI_ENTITY(code, NAME, table, owner)                                   \
    _Static_assert(RQCI_##NAME##_NFIELDS <= RQCI_FIELD_MAX, "too many fields"); \
    _Static_assert(code <= RQCI_ENTITY_MAX, "too many entities");
#define RQCI_FIELD(NAME, COLUMN, column, type, null, def, role, partner)                     \
    _Static_assert(((int)RQCI_R_##role == (int)RQCI_R_KEY) == (RQCI_##NAME##_##COLUMN == 0), \
                   "the key is the first field, and no other");
#define RQCI_END(NAME)
#include "record/entities.def"
#undef RQCI_ENTITY
#undef RQCI_FIELD

// Each field writes its type, and its number where its role has a place, over what the entity's
// line began with.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
#define AT_PLAIN(NAME, COLUMN)
#define AT_KEY(NAME, COLUMN)
#define AT_OWNER(NAME, COLUMN)   [RQCI_##NAME].owner = RQCI_##NAME##_##COLUMN,
#define AT_PARENT(NAME, COLUMN)  [RQCI_##NAME].parent = RQCI_##NAME##_##COLUMN,
#define AT_DELTA(NAME, COLUMN)   [RQCI_##NAME].is_delta = RQCI_##NAME##_##COLUMN,
#define AT_SNAP(NAME, COLUMN)    [RQCI_##NAME].is_snapshot = RQCI_##NAME##_##COLUMN,
#define AT_ENABLED(NAME, COLUMN) [RQCI_##NAME].enabled = RQCI_##NAME##_##COLUMN,
#define AT_ORDER(NAME, COLUMN)   [RQCI_##NAME].order = RQCI_##NAME##_##COLUMN,
#define AT_CREATED(NAME, COLUMN) [RQCI_##NAME].created = RQCI_##NAME##_##COLUMN,
#define AT_UPDATED(NAME, COLUMN) [RQCI_##NAME].updated = RQCI_##NAME##_##COLUMN,
const rqci_entity rqci_entities[RQCI_ENTITY_MAX + 1] = {
#define RQCI_ENTITY(number, NAME, name, owner_number) \
    [number] = {.code = number,                       \
                .owner_code = owner_number,           \
                .nfields = RQCI_##NAME##_NFIELDS,     \
                .table = #name,                       \
                .fields = fields_##NAME,              \
                .owner = -1,                          \
                .parent = -1,                         \
                .is_delta = -1,                       \
                .is_snapshot = -1,                    \
                .enabled = -1,                        \
                .order = -1,                          \
                .created = -1,                        \
                .updated = -1,                        \
                .id_mask = ID_MASK_##NAME,            \
                .slot_mask = SLOT_MASK_##NAME,        \
                .bool_mask = BOOL_MASK_##NAME,        \
                .zero_mask = ZERO_MASK_##NAME,        \
                .delta_mask = DELTA_MASK_##NAME},
#define RQCI_FIELD(NAME, COLUMN, column, type, null, def, role, partner)           \
    [RQCI_##NAME].types[RQCI_##NAME##_##COLUMN] = RQCI_T_##type,                   \
    [RQCI_##NAME].overrides[RQCI_##NAME##_##partner + 1] = RQCI_##NAME##_##COLUMN, \
    AT_##role(NAME, COLUMN)
#include "record/entities.def"
#undef RQCI_ENTITY
#undef RQCI_FIELD
#undef RQCI_END
};
#pragma GCC diagnostic pop

const rqci_alias rqci_aliases[] = {
#define RQCI_ENTITY(code, NAME, table, owner)
#define RQCI_FIELD(NAME, COLUMN, column, type, null, def, role, partner)
#define RQCI_END(NAME)
#define RQCI_ALIAS(NAME, COLUMN, old) {RQCI_##NAME, RQCI_##NAME##_##COLUMN, #old},
#include "record/entities.def"
#undef RQCI_ALIAS
};
_Static_assert(sizeof rqci_aliases / sizeof *rqci_aliases == RQCI_ALIASES, "number of aliases");

static const rqci_alias later[] = {
#define RQCI_LATER(NAME, COLUMN) {RQCI_##NAME, RQCI_##NAME##_##COLUMN, ""},
#include "record/entities.def"
#undef RQCI_LATER
#undef RQCI_ENTITY
#undef RQCI_FIELD
#undef RQCI_END
};

uint32_t rqci_later_mask(unsigned entity)
{
    uint32_t mask = 0;
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        if (later[i].entity == entity)
            mask |= 1u << later[i].field;
    }
    return mask;
}

const rqci_entity *rqci_entity_of(unsigned code)
{
    return code >= 1 && code <= RQCI_ENTITY_MAX ? &rqci_entities[code] : NULL;
}

static bool same_name(const char *name, const char *p, size_t len)
{
    return strlen(name) == len && memcmp(name, p, len) == 0;
}

const rqci_entity *rqci_entity_named(const char *name, size_t len)
{
    for (unsigned code = 1; code <= RQCI_ENTITY_MAX; code++) {
        if (same_name(rqci_entities[code].table, name, len))
            return &rqci_entities[code];
    }
    return NULL;
}

int rqci_field_named(const rqci_entity *e, const char *name, size_t len)
{
    for (int i = 0; i < e->nfields; i++) {
        if (same_name(e->fields[i].name, name, len))
            return i;
    }
    return -1;
}

uint64_t rqci_schema_hash(void)
{
    rqci_hasher h;
    rqci_hasher_init(&h);
    for (unsigned code = 1; code <= RQCI_ENTITY_MAX; code++) {
        const rqci_entity *e = &rqci_entities[code];
        const uint8_t head[2] = {e->code, e->nfields};
        rqci_hasher_add(&h, head, sizeof head);
        rqci_hasher_add(&h, e->table, strlen(e->table) + 1);
        for (int i = 0; i < e->nfields; i++) {
            rqci_hasher_add(&h, &e->types[i], 1);
            rqci_hasher_add(&h, e->fields[i].name, strlen(e->fields[i].name) + 1);
        }
    }
    return rqci_hasher_end64(&h);
}

void rqci_row_defaults(const rqci_entity *e, rqc_value *row, int64_t now)
{
    for (int i = 1; i < e->nfields; i++) {
        const rqci_field *f = &e->fields[i];
        if (row[i].type != RQC_ABSENT)
            continue;
        if (f->def == RQCI_D_NONE) {
            if (f->null)
                row[i] = (rqc_value){.type = RQC_NULL};
            continue;
        }
        const int64_t number = f->def == RQCI_D_NOW   ? now
                               : f->def == RQCI_D_TWO ? 2
                                                      : f->def == RQCI_D_TRUE;
        switch (f->type) {
        case RQCI_T_TEXT: row[i] = (rqc_value){.type = RQC_TEXT, .p = ""}; break;
        case RQCI_T_BYTES: row[i] = (rqc_value){.type = RQC_BYTES, .p = ""}; break;
        case RQCI_T_REAL: row[i] = (rqc_value){.type = RQC_REAL, .u.d = (double)number}; break;
        case RQCI_T_BOOL: row[i] = (rqc_value){.type = RQC_BOOL, .u.i = number}; break;
        case RQCI_T_INT:
        case RQCI_T_ANY:
        case RQCI_T_ID: row[i] = (rqc_value){.type = RQC_INT, .u.i = number}; break;
        }
    }
}

size_t rqci_row_bytes(const rqc_value *row, int nfields)
{
    size_t n = 0;
    for (int i = 0; i < nfields; i++)
        n += rqci_has_bytes(&row[i]) ? row[i].n : 0;
    return n;
}

void rqci_row_copy(rqc_value *to, void *bytes, const rqc_value *row, int nfields)
{
    char *p = bytes;
    memcpy(to, row, (size_t)nfields * sizeof *row);
    for (int i = 0; i < nfields; i++) {
        if (!rqci_has_bytes(&row[i]))
            continue;
        if (row[i].n > 0)
            memcpy(p, row[i].p, row[i].n);
        to[i].p = p;
        p += row[i].n;
    }
}
