// SPDX-License-Identifier: Apache-2.0
// What the files of reqcastd share.
#ifndef RQCI_DAEMON_H
#define RQCI_DAEMON_H

#include "api/engine.h"

#include "replicate/net.h"
#include "replicate/publisher.h"

// ---- Options (options.c) ----

// From the command line, the environment and a file, in this order of weight.
typedef struct dm_options {
    const char *config, *db, *view_dir, *listen, *socket_dir, *tcp, *log_file, *log_level,
        *pid_file;
    const char *socket_mode, *threads, *streams, *retain, *ready_fd;
    bool create, allow_remote, background;
    char *file; // the configuration's text, which the others may point into
} dm_options;

typedef enum dm_parsed { DM_RUN, DM_DONE, DM_USAGE } dm_parsed;
dm_parsed dm_options_read(dm_options *o, int argc, char **argv);
// A number in a range; complains on standard error.
bool dm_number(const char *name, const char *text, int base, unsigned long least,
               unsigned long most, unsigned long *ret);

// ---- Log (log.c): one line a message, key=value ----

bool dm_log_open(const char *path, const char *level);
void dm_log_reopen(void);
// `fmt` gives the keys and values behind time, level and event; values come from dm_quoted where
// they may hold anything.
void dm_log(rqci_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
// The library's callback.
void dm_log_library(void *ctx, int level, const char *text);
// "text" with its quotes, in one of a few buffers of this thread.
const char *dm_quoted(const char *text);

// ---- Who waits for it to be ready (notify.c) ----

// With `background` the caller goes on as the child; the parent ends with the child's verdict.
bool dm_background(bool background);
// Tells the service manager, the parent and the descriptor. status 0: ready.
void dm_tell_ready(int ready_fd, const char *url);
void dm_tell_stopping(void);
void dm_tell_failed(int status);

// ---- Questions (service.c) ----

typedef struct dm_service {
    rqc_db *db;
    rqci_publisher *publisher;
    rqci_net *net;
    _Atomic uint64_t questions, failures;
} dm_service;
void dm_service_of(dm_service *s, rqci_net_service *ret_service);

// ---- Commits of other programs (watch.c) ----

typedef struct dm_watch {
    rqc_db *db;
    pthread_t thread;
    int stop, inotify;
    bool runs;
} dm_watch;
bool dm_watch_start(dm_watch *w, rqc_db *db);
void dm_watch_stop(dm_watch *w);

#endif
