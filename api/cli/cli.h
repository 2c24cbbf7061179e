// SPDX-License-Identifier: Apache-2.0
// What the files of the command line share.
#ifndef RQCI_CLI_H
#define RQCI_CLI_H

#include "api/reqcast.h"

#include "base/buf.h"
#include "base/err.h"
#include "record/json.h"

#include <stdbool.h>
#include <stdio.h>

#define CLI_OK    0
#define CLI_NO    1
#define CLI_USAGE 2
#define CLI_PIPE  141 // as a shell shows the end by SIGPIPE

// ---- Arguments (args.c) ----

typedef struct cli_option {
    const char *name;  // without dashes; NULL ends a list
    char letter;       // 0: none
    const char *value; // what its value is called; NULL: it takes none
} cli_option;

#define CLI_GIVEN_MAX 256 // options in one command line

typedef struct cli_args {
    const char **words; // what is no option, in order
    size_t n;
    struct {
        int option;
        const char *value;
    } given[CLI_GIVEN_MAX];
    size_t ngiven;
} cli_args;

// The last value given for option `option` (its place in the command's list), NULL when it was not
// given.
const char *cli_value(const cli_args *a, int option);
bool cli_has(const cli_args *a, int option);

// ---- One run of the program (main.c) ----

typedef struct cli {
    const char *db_path;
    bool json;
    bool verbose;
    rqc_db *db;
    bool attached;
    rqc_read *read;
    rqci_buf line; // of JSON that is made
    bool lost;     // there was no memory for some output
    bool large;    // large values are wanted whole
    int unread;    // the exit status where one could not be had; that was told, and output ends
    void *whole;   // the one that was fetched last
    rqci_json_whole fetcher;
    bool bar; // a progress bar stands on the terminal
    int64_t bar_ms;
} cli;

typedef struct cli_command {
    const char *name;
    const char *usage; // its arguments
    const char *help;  // one line; more lines follow for --help
    const cli_option *options;
    size_t least, most; // words behind the name
    int (*run)(cli *c, const cli_args *a);
} cli_command;

// Groups of commands, each ended by a row without a name.
extern const cli_command cli_store_commands[];
extern const cli_command cli_backup_commands[];
extern const cli_command cli_attach_commands[];
extern const cli_command cli_import_commands[];
extern const cli_command cli_export_commands[];
extern const cli_command cli_workspace_commands[];
extern const cli_command cli_read_commands[];
extern const cli_command cli_time_commands[];
extern const cli_command cli_resolve_commands[];
extern const cli_command cli_write_commands[];
extern const cli_command cli_watch_commands[];
extern const cli_command cli_prune_commands[];
extern const cli_command cli_completion_commands[];

// All commands of the program, in order (main.c); NULL behind the last. And the options that each
// of them takes.
const cli_command *cli_command_at(size_t place);
extern const cli_option cli_common[];

// One line on standard error; control characters are made visible. Returns the exit status that
// belongs to the code.
int cli_fail(cli *c, rqc_err code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
// The same for a mistake in the command line: 2.
int cli_usage(cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// A line on standard error that is no failure.
void cli_note(cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// A bar on standard error, when that is a terminal. done == total takes it away.
void cli_progress(cli *c, const char *what, uint64_t done, uint64_t total);

// ---- The lock of another program (lock_note.c) ----

// Between the two calls a line on standard error tells, after a second, whose lock is waited for.
// NULL where that cannot be: only the line is missing then. Nothing else may write messages
// meanwhile but what the wait itself calls.
typedef struct cli_lock_note cli_lock_note;
cli_lock_note *cli_lock_note_begin(cli *c);
void cli_lock_note_end(cli_lock_note *n);
// The process that holds SQLite's lock on a database against writers; 0: none that can be seen.
long cli_lock_holder(const char *db_path);

// ---- The database (database.c) ----

enum { CLI_READ, CLI_WRITE, CLI_CREATE, CLI_OWN };
// Opens it as the owner. Where another process owns it: for CLI_READ its view, for CLI_WRITE and
// CLI_CREATE its view and its reqcastd, for CLI_OWN not at all. CLI_CREATE makes what is missing. 0
// or an exit status.
int cli_open(cli *c, int how);
// What helps against a failure's text, to stand behind it; "" where nothing is known.
const char *cli_remedy(const char *text);
// Opens for reading and begins the session c->read.
int cli_begin(cli *c);
// Begins the session anew, at the newest position.
int cli_refresh(cli *c);
// The failure of a read.
int cli_read_failed(cli *c, rqc_err rc, const char *what);
void cli_close(cli *c);

// An id or a unique name. *ret_name_free: no workspace is meant, and the text may name a new one;
// only looked at when not NULL.
int cli_find_workspace(cli *c, const char *text, uint8_t ret_id[16], bool *ret_name_free);
// `what` names the option, NULL for a word. Mistakes in what is parsed are mistakes of usage.
int cli_parse_id(cli *c, const char *what, const char *text, uint8_t ret_id[16]);
int cli_parse_ids(cli *c, const cli_args *a, size_t from, uint8_t (**ret_ids)[16], size_t *ret_n);
int cli_parse_entity(cli *c, const char *text, rqc_entity *ret_entity);
int cli_parse_field(cli *c, const char *what, rqc_entity entity, const char *text, int *ret_field);
// A whole number in a range.
int cli_parse_int(cli *c, const char *what, const char *text, int64_t least, int64_t most,
                  int64_t *ret_number);
// What --method asks for; NULL: any.
int cli_parse_method(cli *c, const cli_args *a, int option, const char **ret_method);
// The name of a file.
int cli_parse_file(cli *c, const char *what, const char *text);

// ---- Large values (whole.c) ----

#define CLI_LARGE_HELP "--large brings values that are too large for the view whole."

// A field of a record; a large value is fetched where c->large says so, and is valid until the next
// call. Where it cannot be had c->unread is set.
rqc_value cli_whole(cli *c, const rqc_record *r, int field);
// The same for JSON: NULL where large values are not wanted.
const rqci_json_whole *cli_json_whole(cli *c);
// Writes a field's value to standard output, and nothing else: 0 or an exit status.
int cli_write_field(cli *c, const rqc_record *r, int field);

// ---- Output (output.c, table.c) ----

// A line of JSON is made in c->line, which cli_json_end writes. Values follow keys; commas come by
// themselves.
void cli_json_begin(cli *c);
void cli_json_key(cli *c, const char *key);
void cli_json_text(cli *c, const char *key, const char *text);
void cli_json_int(cli *c, const char *key, int64_t n);
void cli_json_uint(cli *c, const char *key, uint64_t n);
void cli_json_bool(cli *c, const char *key, bool b);
void cli_json_null(cli *c, const char *key);
void cli_json_id(cli *c, const char *key, const uint8_t id[16]);
void cli_json_position(cli *c, const rqc_position *p); // "seq": n, "position": "…"
void cli_json_end(cli *c);
// What the library made of a line: the line ends here where it could not.
void cli_json_made(cli *c, rqc_err rc);

// Records in the form that was asked for.
void cli_records(cli *c, const rqc_record *const *items, size_t n);
// A change in the form that was asked for (cmd_read.c).
void cli_change(cli *c, const rqc_change *change);
// Requests as a table (cmd_read.c).
void cli_requests_table(cli *c, const rqc_list *list);
void cli_record_json(cli *c, const rqc_record *r);
void cli_record_text(cli *c, const rqc_record *r);
// An argument in a message: '' where it is empty.
const char *cli_shown(const char *text);
// A time as people read it, UTC; "-" for 0.
void cli_time_text(int64_t t, char ret_text[32]);
// A value as people read it; appended to out.
void cli_value_text(rqci_buf *out, const rqc_value *v, size_t most);

// Makes control characters, direction marks and what is no UTF-8 visible; appended to out.
void cli_visible(rqci_buf *out, const char *p, size_t n);
// "s" behind a noun that is counted, "" for 1.
const char *cli_plural(uint64_t n);
// Columns that n bytes of UTF-8 take on a terminal.
size_t cli_columns(const char *p, size_t n);
// Width of the terminal that standard output is, 0 when it is none.
size_t cli_terminal_width(void);
bool cli_utf8(void);

// A table: cells come row by row. Cells of shrinkable columns are cut when the rows are wider than
// the terminal.
typedef struct cli_column {
    const char *title; // NULL ends a list
    bool right;
    bool shrink;
} cli_column;
typedef struct cli_table {
    const cli_column *columns;
    size_t ncolumns;
    rqci_buf text;  // cells, each ended by NUL
    rqci_buf sizes; // of each cell: its columns on the terminal
    size_t ncells;
} cli_table;
void cli_table_init(cli_table *t, const cli_column *columns);
void cli_cell(cli_table *t, const char *p, size_t n);
void cli_cell_text(cli_table *t, const char *text);
void cli_cell_value(cli_table *t, const rqc_value *v);
void cli_table_print(cli_table *t, bool titles); // frees it

// Ends the output: 0, or an exit status when standard output could not take all of it.
int cli_finish(cli *c);

#endif
