// SPDX-License-Identifier: Apache-2.0
#include "api/cli/cursor.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cli_page_cursor_format(const rqc_page_cursor *cursor, char ret_text[CLI_PAGE_CURSOR_TEXT])
{
    char id[27];
    rqc_id_format(cursor->id, id);
    snprintf(ret_text, CLI_PAGE_CURSOR_TEXT, "%" PRId64 ".%s", cursor->updated_at, id);
}

rqc_err cli_page_cursor_parse(const char *text, rqc_page_cursor *ret_cursor)
{
    char *end, written[32];
    const long long updated = strtoll(text, &end, 10);
    rqc_page_cursor cursor = {.updated_at = updated, .state = 1};
    // strtoll takes blanks, signs and numbers that are too large: a walk would go on elsewhere.
    snprintf(written, sizeof written, "%lld.", updated);
    if (strncmp(text, written, strlen(written)) != 0 || rqc_id_parse(end + 1, cursor.id) != RQC_OK)
        return RQC_INVALID;
    *ret_cursor = cursor;
    return RQC_OK;
}

void cli_changes_cursor_format(const rqc_position *here, const rqc_cursor *cursor,
                               char ret_text[CLI_CHANGES_CURSOR_TEXT])
{
    rqc_position p = *here;
    char position[RQC_POSITION_TEXT], id[27];
    p.seq = cursor->seq;
    rqc_position_format(&p, position);
    rqc_id_format(cursor->id, id);
    if (cursor->entity)
        snprintf(ret_text, CLI_CHANGES_CURSOR_TEXT, "%s/%s/%s/%" PRIu64, position,
                 rqc_entity_name((rqc_entity)cursor->entity), id, cursor->started);
    else
        snprintf(ret_text, CLI_CHANGES_CURSOR_TEXT, "%s", position);
}

// /ENTITY/ID/STARTED
static bool parse_place(const char *text, const rqc_position *here, rqc_cursor *ret_cursor)
{
    char entity[64], id[40], number[24];
    int used = 0;
    rqc_position started;
    if (sscanf(text, "/%63[a-z_]/%39[0-9A-Za-z]/%23[0-9]%n", entity, id, number, &used) != 3 ||
        text[used] || rqc_position_parse(number, here, &started) != RQC_OK ||
        rqc_entity_number(entity) == 0 || rqc_id_parse(id, ret_cursor->id) != RQC_OK)
        return false;
    ret_cursor->entity = (uint8_t)rqc_entity_number(entity);
    ret_cursor->started = started.seq;
    return true;
}

rqc_err cli_changes_cursor_parse(const char *text, const rqc_position *here, rqc_cursor *ret_cursor)
{
    rqc_position p;
    rqc_cursor cursor = RQC_CURSOR_INIT(0);
    char head[RQC_POSITION_TEXT];
    const size_t n = strcspn(text, "/");
    snprintf(head, sizeof head, "%.*s", (int)(n < sizeof head ? n : sizeof head - 1), text);
    if (n >= sizeof head || rqc_position_parse(head, here, &p) != RQC_OK)
        return RQC_INVALID;
    if (p.seq != 0 && (p.term != here->term || memcmp(p.store_id, here->store_id, 16) != 0))
        return RQC_EPOCH_CHANGED;
    cursor.seq = p.seq;
    if (text[n] && !parse_place(text + n, here, &cursor))
        return RQC_INVALID;
    *ret_cursor = cursor;
    return RQC_OK;
}
