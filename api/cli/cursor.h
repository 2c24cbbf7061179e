// SPDX-License-Identifier: Apache-2.0
// Cursors as the command line writes and reads them: text that is good for going on, nothing else.
#ifndef RQC_CLI_CURSOR_H
#define RQC_CLI_CURSOR_H

#include "api/reqcast.h"

// Of a page: UPDATED.ID of its last record. Reads exactly what is written, no other spelling.
// RQC_INVALID.
#define CLI_PAGE_CURSOR_TEXT 64
void cli_page_cursor_format(const rqc_page_cursor *cursor, char ret_text[CLI_PAGE_CURSOR_TEXT]);
rqc_err cli_page_cursor_parse(const char *text, rqc_page_cursor *ret_cursor);

// Of changes: a position, or POSITION/ENTITY/ID/STARTED: a place inside of one. `here` is where the
// database stands; a position may be a bare SEQ. RQC_INVALID, RQC_EPOCH_CHANGED (of another
// history).
#define CLI_CHANGES_CURSOR_TEXT 192
void cli_changes_cursor_format(const rqc_position *here, const rqc_cursor *cursor,
                               char ret_text[CLI_CHANGES_CURSOR_TEXT]);
rqc_err cli_changes_cursor_parse(const char *text, const rqc_position *here,
                                 rqc_cursor *ret_cursor);

#endif
