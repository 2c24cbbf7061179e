// SPDX-License-Identifier: Apache-2.0
// Values, names, ids, positions, lists: what needs no database.
#include "api/reqcast.h"

#include "base/id.h"
#include "record/record.h"
#include "record/resolve.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The public header spells the fields out for its readers; a field that is in one list only, or at
// another place, must not compile.
#define RQCI_ENTITY(code, NAME, table, owner) _Static_assert((int)RQC_##NAME == (code), #NAME);
#define RQCI_FIELD(NAME, COLUMN, column, type, null, def, role, partner) \
    _Static_assert((int)RQC_##NAME##_##COLUMN == (int)RQCI_##NAME##_##COLUMN, #NAME "." #column);
#define RQCI_END(NAME) \
    _Static_assert((int)RQC_##NAME##_NFIELDS == (int)RQCI_##NAME##_NFIELDS, #NAME);
#include "record/entities.def"
#undef RQCI_ENTITY
#undef RQCI_FIELD
#undef RQCI_END
_Static_assert(RQC_FIELD_MAX == RQCI_FIELD_MAX, "RQC_FIELD_MAX");
_Static_assert(RQC_LARGE_BYTES == RQCI_LARGE_BYTES, "RQC_LARGE_BYTES");

const char *rqc_err_text(rqc_err code)
{
    return rqci_err_text(code);
}

rqc_value rqc_null(void)
{
    return (rqc_value){.type = RQC_NULL};
}

rqc_value rqc_int(int64_t i)
{
    return (rqc_value){.type = RQC_INT, .u.i = i};
}

rqc_value rqc_real(double d)
{
    return (rqc_value){.type = RQC_REAL, .u.d = d};
}

rqc_value rqc_bool(int b)
{
    return (rqc_value){.type = RQC_BOOL, .u.i = b != 0};
}

rqc_value rqc_textn(const char *p, uint32_t n)
{
    return (rqc_value){.type = RQC_TEXT, .p = p, .n = n};
}

rqc_value rqc_text(const char *text)
{
    const size_t n = text ? strlen(text) : 0;
    // Longer than a value can be: refused where it is stored, because its length does not fit.
    return n <= UINT32_MAX ? rqc_textn(text, (uint32_t)n)
                           : (rqc_value){.type = RQC_LARGE, .u.length = n};
}

rqc_value rqc_bytes(const void *p, uint32_t n)
{
    return (rqc_value){.type = RQC_BYTES, .p = p, .n = n};
}

rqc_value rqc_id(const uint8_t id[16])
{
    return (rqc_value){.type = RQC_ID, .p = id, .n = 16};
}

// The header has their bodies; these are the symbols for whoever calls them by name.
extern inline rqc_entity rqc_record_entity(const rqc_record *r);
extern inline const uint8_t *rqc_record_id(const rqc_record *r);
extern inline uint64_t rqc_record_seq(const rqc_record *r);
extern inline int64_t rqc_record_updated(const rqc_record *r);

// The record's entity when it has such a field, else NULL.
static inline const rqci_entity *entity_with(const rqc_record *r, int field)
{
    const unsigned entity = rqci_rec_entity(r);
    if (entity > RQCI_ENTITY_MAX)
        return NULL;
    const rqci_entity *e = &rqci_entities[entity];
    return (unsigned)field < e->nfields ? e : NULL;
}

rqc_value rqc_field(const rqc_record *r, int field)
{
    const rqci_entity *e = entity_with(r, field);
    if (!e)
        return (rqc_value){.type = RQC_ABSENT};
    return rqci_rec_value_of(r, e, field);
}

rqc_value rqc_item_field(const rqc_item *m, int field)
{
    rqc_value v = {.type = RQC_ABSENT};
    if (entity_with(m->record, field))
        rqci_item_field(m, field, &v);
    return v;
}

rqc_value rqc_chain_field(const rqc_list *chain, int field)
{
    rqc_value v = {.type = RQC_ABSENT};
    if (chain->n > 0 && entity_with(chain->items[0], field))
        rqci_chain_field(chain->items, chain->n, field, &v);
    return v;
}

const char *rqc_entity_name(rqc_entity e)
{
    const rqci_entity *d = (int)e > 0 ? rqci_entity_of((unsigned)e) : NULL;
    return d ? d->table : NULL;
}

const char *rqc_field_name(rqc_entity e, int field)
{
    const rqci_entity *d = (int)e > 0 ? rqci_entity_of((unsigned)e) : NULL;
    return d && field >= 0 && field < d->nfields ? d->fields[field].name : NULL;
}

int rqc_entity_number(const char *name)
{
    const rqci_entity *d = name ? rqci_entity_named(name, strlen(name)) : NULL;
    return d ? d->code : 0;
}

int rqc_field_number(rqc_entity e, const char *name)
{
    const rqci_entity *d = (int)e > 0 ? rqci_entity_of((unsigned)e) : NULL;
    return d && name ? rqci_field_named(d, name, strlen(name)) : -1;
}

rqc_err rqc_id_new(uint8_t ret_id[16])
{
    return rqci_id_new(ret_id);
}

void rqc_id_format(const uint8_t id[16], char ret_text[27])
{
    rqci_id_format(id, ret_text);
}

rqc_err rqc_id_parse(const char *text, uint8_t ret_id[16])
{
    return text ? rqci_id_parse(text, strlen(text), ret_id) : RQC_INVALID;
}

void rqc_list_free(rqc_list *l)
{
    rqci_list_free(l);
}

void rqc_changes_free(rqc_changes_list *l)
{
    if (!l)
        return;
    free(l->items);
    *l = (rqc_changes_list)RQC_CHANGES_INIT;
}

void rqc_position_format(const rqc_position *p, char ret_text[RQC_POSITION_TEXT])
{
    char store[RQCI_ID_TEXT + 1];
    rqci_id_format(p->store_id, store);
    snprintf(ret_text, RQC_POSITION_TEXT, "%" PRIu32 "@%s:%" PRIu64, p->term, store, p->seq);
}

// Digits up to `stop`, nothing else, within `most`.
static bool number(const char **text, char stop, uint64_t most, uint64_t *ret)
{
    uint64_t n = 0;
    const char *p = *text;
    for (; *p >= '0' && *p <= '9'; p++) {
        const uint64_t digit = (uint64_t)(*p - '0');
        if (n > (most - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    if (p == *text || *p != stop)
        return false;
    *text = p;
    *ret = n;
    return true;
}

rqc_err rqc_position_parse(const char *text, const rqc_position *here, rqc_position *ret_position)
{
    rqc_position p = {.term = 0};
    uint64_t n;
    if (!text)
        return RQC_INVALID;
    if (here && number(&text, 0, UINT64_MAX, &n)) {
        p = *here;
        p.seq = n;
        *ret_position = p;
        return RQC_OK;
    }
    if (!number(&text, '@', UINT32_MAX, &n))
        return RQC_INVALID;
    p.term = (uint32_t)n;
    text++;
    const char *colon = strchr(text, ':');
    if (!colon || rqci_id_parse(text, (size_t)(colon - text), p.store_id) != RQC_OK)
        return RQC_INVALID;
    text = colon + 1;
    if (!number(&text, 0, UINT64_MAX, &p.seq))
        return RQC_INVALID;
    *ret_position = p;
    return RQC_OK;
}
