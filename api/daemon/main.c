// SPDX-License-Identifier: Apache-2.0
// reqcastd: owns one database, streams its changes, answers questions.
//
//   database ─► publisher ─► sockets (streams)     main thread: signals, and every 30 ms the
//       ▲────── service ───► socket (questions)    sockets' health
#include "api/daemon/daemon.h"

#include "replicate/message.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define BUSY_MS       50
#define BUSY_TRIES    100 // a command may own the database for a moment
#define THREADS       8
#define STREAMS       1000
#define IDLE_MS       60000
#define MAX_AGE_MS    3600000u
#define FAILED_STATUS 3
#define FILES_OWN     128 // descriptors of the database, the view, listeners
#define WORN_LOOKS    32
#define AGAIN         "REQCASTD_AGAIN"

typedef struct daemon_state {
    dm_options o;
    unsigned long mode, threads, streams, retain, ready_fd;
    rqc_db *db;
    rqc_read *read; // the publisher's
    rqci_net *net;
    rqci_publisher *publisher;
    rqci_net_rep *rep;
    dm_service service;
    dm_watch watch;
    rqci_log log;
    char path[RQCI_PATH_MAX]; // of the socket for questions
    char url[RQCI_PATH_MAX + 8];
    char host[256];
    unsigned long port;
    int signals;
    bool pid_written;
} daemon_state;

// ---- The database -------------------------------------------------------------------------------

static rqc_err open_database(daemon_state *d)
{
    rqc_options o = RQC_OPTIONS_INIT;
    rqc_error e = {RQC_OK, ""};
    o.create = d->o.create;
    o.view_dir = d->o.view_dir;
    o.retain = d->retain;
    o.max_age_ms = MAX_AGE_MS;
    o.log = dm_log_library;
    rqc_err rc = rqc_open(d->o.db, &o, &d->db, &e);
    for (int i = 0; rc == RQC_BUSY && i < BUSY_TRIES; i++) {
        const struct timespec pause = {0, BUSY_MS * 1000000L};
        nanosleep(&pause, NULL);
        rc = rqc_open(d->o.db, &o, &d->db, &e);
    }
    if (rc != RQC_OK)
        dm_log(RQCI_ERROR, "open", "db=%s error=%s", dm_quoted(d->o.db), dm_quoted(e.text));
    return rc;
}

static rqc_err pin(void *ctx, rqci_reader **ret_reader)
{
    daemon_state *d = ctx;
    rqc_error e;
    rqc_err rc = RQC_OK;
    if (!d->read)
        rc = rqc_read_new(d->db, &d->read, &e);
    if (rc == RQC_OK)
        rc = rqc_read_begin(d->read);
    if (rc == RQC_OK)
        *ret_reader = d->read->reader;
    return rc;
}

static void unpin(void *ctx)
{
    const daemon_state *d = ctx;
    rqc_read_end(d->read);
}

static bool lags(void *ctx)
{
    const daemon_state *d = ctx;
    return atomic_load(&d->db->lagging);
}

static void applied(void *ctx)
{
    rqci_publisher_moved(ctx);
}

// ---- Sockets ------------------------------------------------------------------------------------

static rqc_err choose_path(daemon_state *d, rqci_errbuf *err)
{
    char dir[RQCI_PATH_MAX];
    if (d->o.listen) {
        if (strncmp(d->o.listen, "ipc://", 6) != 0)
            return rqci_fail(err, RQC_INVALID, "listen: %s is not ipc://PATH", d->o.listen);
        snprintf(d->path, sizeof d->path, "%s", d->o.listen + 6);
    } else {
        const rqc_err rc = rqci_socket_dir(d->o.socket_dir, dir, err);
        if (rc != RQC_OK)
            return rc;
        snprintf(d->path, sizeof d->path, "%.*s/%016llx", RQCI_PATH_MAX - 32, dir,
                 (unsigned long long)rqci_xxh64(d->db->path, strlen(d->db->path)));
    }
    snprintf(d->url, sizeof d->url, "ipc://%s", d->path);
    return RQC_OK;
}

static bool is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
           strcmp(host, "[::1]") == 0;
}

static rqc_err choose_tcp(daemon_state *d, rqci_errbuf *err)
{
    const char *colon = d->o.tcp ? strrchr(d->o.tcp, ':') : NULL;
    if (!d->o.tcp)
        return RQC_OK;
    if (!colon || colon == d->o.tcp || (size_t)(colon - d->o.tcp) >= sizeof d->host ||
        !dm_number("tcp", colon + 1, 10, 0, 65534, &d->port))
        return rqci_fail(err, RQC_INVALID, "tcp: %s is not HOST:PORT", d->o.tcp);
    snprintf(d->host, sizeof d->host, "%.*s", (int)(colon - d->o.tcp), d->o.tcp);
    if (!is_loopback(d->host) && !d->o.allow_remote)
        return rqci_fail(err, RQC_INVALID,
                         "tcp: %s is not loopback; whoever connects may read and write "
                         "everything: say --allow-remote where that is meant",
                         d->host);
    return RQC_OK;
}

static rqc_err start_publisher(daemon_state *d, rqci_errbuf *err)
{
    const rqci_publisher_options o = {.net = d->net,
                                      .path = d->path,
                                      .mode = (unsigned)d->mode,
                                      .host = *d->host ? d->host : NULL,
                                      .port = (uint16_t)(d->port ? d->port + 1 : 0),
                                      .topics_max = (unsigned)d->streams,
                                      .idle_ms = IDLE_MS,
                                      .log = d->log,
                                      .ctx = d,
                                      .pin = pin,
                                      .unpin = unpin,
                                      .lags = lags};
    const rqc_err rc = rqci_publisher_start(&o, &d->publisher, err);
    if (rc == RQC_OK)
        rqci_watch_applied(d->db, applied, d->publisher);
    return rc;
}

static rqc_err listen_tcp(daemon_state *d, rqci_errbuf *err)
{
    char url[300];
    uint16_t port = 0;
    snprintf(url, sizeof url, "tcp://%s:%lu", d->host, d->port);
    const rqc_err rc = rqci_net_rep_listen(d->rep, url, 0, &port, err);
    if (rc == RQC_OK)
        dm_log(RQCI_INFO, "listening", "url=tcp://%s:%u", d->host, port);
    return rc;
}

static rqc_err open_sockets(daemon_state *d, rqci_errbuf *err)
{
    rqci_net_service service;
    rqc_err rc = choose_path(d, err);
    if (rc == RQC_OK)
        rc = choose_tcp(d, err);
    if (rc == RQC_OK)
        rc = rqci_net_new(&d->log, &d->net, err);
    if (rc == RQC_OK)
        rc = start_publisher(d, err);
    if (rc != RQC_OK)
        return rc;
    d->service.db = d->db;
    d->service.publisher = d->publisher;
    d->service.net = d->net;
    dm_service_of(&d->service, &service);
    rc = rqci_net_rep_open(d->net, &service, (unsigned)d->threads, RQCI_MSG_MAX, &d->rep, err);
    if (rc == RQC_OK)
        rc = rqci_net_rep_listen(d->rep, d->url, (unsigned)d->mode, NULL, err);
    if (rc == RQC_OK)
        dm_log(RQCI_INFO, "listening", "url=%s", d->url);
    if (rc == RQC_OK && *d->host)
        rc = listen_tcp(d, err);
    if (rc == RQC_OK)
        rc = rqci_sidecar_note_write(d->db->path, d->url, err);
    return rc;
}

// ---- Its life -----------------------------------------------------------------------------------

static bool numbers(daemon_state *d)
{
    const dm_options *o = &d->o;
    d->mode = 0600;
    d->threads = THREADS;
    d->streams = STREAMS;
    return (!o->socket_mode || dm_number("socket_mode", o->socket_mode, 8, 0, 0777, &d->mode)) &&
           (!o->threads || dm_number("threads", o->threads, 10, 1, 256, &d->threads)) &&
           (!o->streams || dm_number("streams", o->streams, 10, 0, 100000, &d->streams)) &&
           (!o->retain || dm_number("retain", o->retain, 10, 1, 1ul << 32, &d->retain)) &&
           (!o->ready_fd || dm_number("ready_fd", o->ready_fd, 10, 1, 65535, &d->ready_fd));
}

static bool write_pid(const char *path)
{
    FILE *f = fopen(path, "we");
    bool good = f && fprintf(f, "%ld\n", (long)getpid()) > 0;
    if (f && fclose(f) != 0)
        good = false;
    if (!good)
        dm_log(RQCI_ERROR, "pid_file", "path=%s error=%s", dm_quoted(path),
               dm_quoted(strerror(errno)));
    return good;
}

// Signals come by a descriptor; every thread that is made later has them blocked, too.
static bool take_signals(daemon_state *d)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return false;
    d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    return d->signals >= 0;
}

// nng never gives back the descriptors of those who came to a listener that had died. Peers that
// break off their handshakes on purpose could use them all up.
static bool worn_out(daemon_state *d)
{
    struct rlimit files;
    DIR *dir = opendir("/proc/self/fd");
    uint64_t n = 0;
    if (!dir)
        return errno == EMFILE;
    while (readdir(dir))
        n++;
    closedir(dir);
    const rqci_net_counts c = rqci_net_counts_of(d->net);
    const uint64_t used = c.subscribers + c.askers + FILES_OWN;
    return getrlimit(RLIMIT_NOFILE, &files) == 0 && n > used &&
           n - used > (uint64_t)files.rlim_cur / 2;
}

// True when the process is to begin anew, in place.
static bool run(daemon_state *d)
{
    for (unsigned looks = 1;; looks++) {
        struct pollfd fd = {.fd = d->signals, .events = POLLIN};
        struct signalfd_siginfo s;
        (void)poll(&fd, 1, RQCI_NET_TICK_MS);
        if (read(d->signals, &s, sizeof s) == (ssize_t)sizeof s) {
            if (s.ssi_signo != SIGHUP) {
                dm_log(RQCI_INFO, "stopping", "signal=%u", s.ssi_signo);
                return false;
            }
            dm_log_reopen();
        }
        rqci_net_tick(d->net);
        if (looks % WORN_LOOKS == 0 && worn_out(d)) {
            dm_log(RQCI_WARN, "restarting", "reason=\"descriptors of broken connections\"");
            return true;
        }
    }
}

static void stop(daemon_state *d)
{
    if (d->rep)
        (void)rqci_sidecar_note_write(d->db->path, "", NULL);
    dm_watch_stop(&d->watch);
    rqci_net_rep_close(d->rep);
    if (d->db)
        rqci_watch_applied(d->db, NULL, NULL);
    rqci_publisher_stop(d->publisher);
    rqci_net_free(d->net);
    rqc_read_free(d->read);
    rqc_close(d->db);
    if (d->pid_written)
        (void)unlink(d->o.pid_file);
    d->pid_written = false;
}

static int serve(daemon_state *d, bool *ret_again)
{
    rqci_errbuf err = {""};
    rqc_err rc = open_database(d);
    if (rc != RQC_OK)
        return rqci_err_exit_status(rc);
    // Of whoever owns the database: one that may not leaves the owner's alone.
    d->pid_written = d->o.pid_file && write_pid(d->o.pid_file);
    if (d->o.pid_file && !d->pid_written) {
        stop(d);
        return FAILED_STATUS;
    }
    rc = open_sockets(d, &err);
    if (rc != RQC_OK)
        dm_log(RQCI_ERROR, "sockets", "error=%s",
               dm_quoted(*err.text ? err.text : rqci_err_text(rc)));
    if (rc == RQC_OK && !dm_watch_start(&d->watch, d->db))
        rc = RQC_NO_MEMORY;
    if (rc == RQC_OK) {
        dm_log(RQCI_INFO, "ready", "db=%s url=%s pid=%ld", dm_quoted(d->db->path), d->url,
               (long)getpid());
        dm_tell_ready(d->o.ready_fd ? (int)d->ready_fd : -1, d->url);
        *ret_again = run(d);
        if (!*ret_again)
            dm_tell_stopping();
    }
    stop(d);
    if (rc == RQC_OK)
        dm_log(RQCI_INFO, "stopped", "pid=%ld", (long)getpid());
    return rqci_err_exit_status(rc);
}

int main(int argc, char **argv)
{
    static daemon_state d = {.signals = -1, .watch = {.stop = -1, .inotify = -1}};
    const dm_parsed parsed = dm_options_read(&d.o, argc, argv);
    if (parsed != DM_RUN)
        return parsed == DM_DONE ? 0 : 2;
    if (!numbers(&d))
        return 2;
    if (getenv(AGAIN)) {
        d.o.background = false;
        d.o.ready_fd = NULL;
    }
    if (!dm_background(d.o.background) || !dm_log_open(d.o.log_file, d.o.log_level))
        return FAILED_STATUS;
    d.log = (rqci_log){dm_log_library, NULL};
    int status = FAILED_STATUS;
    bool again = false;
    if (take_signals(&d))
        status = serve(&d, &again);
    if (again) {
        // The same process: who waited for it to be ready was told.
        setenv(AGAIN, "1", 1);
        execv("/proc/self/exe", argv);
        dm_log(RQCI_ERROR, "restart", "error=%s", dm_quoted(strerror(errno)));
        status = FAILED_STATUS;
    }
    dm_tell_failed(status);
    free(d.o.file);
    return status;
}
