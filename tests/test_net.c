// SPDX-License-Identifier: Apache-2.0
//
// Listeners and those who come for a moment. nng stops taking connections in when a peer leaves
// during the handshake; to open the listener again ends all that it has. So clients of ours do not
// leave then, and the listener comes back after others who do.
#include "store_db.h"
#include "tap.h"

#include "replicate/net.h"
#include "replicate/sp.h"

#include "tests/entries.h"
#include "tests/faults.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { WAIT_MS = 10000, LONGEST_STAY_US = 300, NO_MEMORY = 50 };

static struct {
    rqci_net *net;
    rqci_net_pub *pub;
    rqci_sp_addr addr;
    char path[120];
    pthread_t ticks;
    atomic_bool stop;
} house;

static void *tick(void *unused)
{
    (void)unused;
    while (!atomic_load(&house.stop)) {
        rqci_net_tick(house.net);
        usleep(RQCI_NET_TICK_MS * 1000);
    }
    return NULL;
}

static void open_house(void)
{
    char url[130];
    const rqci_log quiet = {0};
    snprintf(house.path, sizeof house.path, "%s/pub", sdb_folder);
    snprintf(url, sizeof url, "ipc://%s", house.path);
    if (rqci_net_new(&quiet, &house.net, NULL) || rqci_net_pub_open(house.net, &house.pub, NULL) ||
        rqci_net_pub_listen(house.pub, url, 0600, NULL, NULL) ||
        rqci_sp_resolve(url, &house.addr, NULL) ||
        pthread_create(&house.ticks, NULL, tick, NULL) != 0)
        bail("no listener at %s", url);
}

static void close_house(void)
{
    atomic_store(&house.stop, true);
    pthread_join(house.ticks, NULL);
    rqci_net_pub_close(house.pub);
    rqci_net_free(house.net);
}

// True when a client is taken in: the listener's count of connections rises.
static bool comes_in(void)
{
    rqci_sp sp;
    rqci_sp_init(&sp);
    bool in = false;
    for (int ms = 0; ms < WAIT_MS && !in; ms++) {
        if (ms % 100 == 0 && rqci_sp_open(&sp, &house.addr, RQCI_SP_SUB, 1024, NULL) != RQC_OK)
            break;
        (void)rqci_sp_work(&sp, NULL);
        usleep(1000);
        in = rqci_net_counts_of(house.net).subscribers > 0;
    }
    rqci_sp_free(&sp);
    return in;
}

// Descriptors of this process, once nng has given up those of visits before: when their number has
// been the same for half a second.
static unsigned settled(void)
{
    unsigned n = 0, same = 0;
    for (int ms = 0; ms < WAIT_MS && same < 50; ms += 10) {
        const unsigned now = entries("/proc/self/fd");
        same = now == n ? same + 1 : 0;
        n = now;
        usleep(10000);
    }
    return n;
}

static void test_short_visits(void)
{
    const uint64_t n = tap_scaled(1500), before = rqci_net_counts_of(house.net).reopened;
    uint64_t came = 0, seed = 1;
    rqci_sp sp;
    rqci_sp_init(&sp);
    for (uint64_t i = 0; i < n; i++) {
        came += rqci_sp_open(&sp, &house.addr, RQCI_SP_SUB, 1024, NULL) == RQC_OK;
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        if (i % 2 == 0)
            (void)rqci_sp_work(&sp, NULL);
        if (i % 4 != 0)
            usleep((useconds_t)(seed >> 33) % LONGEST_STAY_US);
        rqci_sp_close(&sp);
    }
    rqci_sp_free(&sp);
    is(came, n, "clients come and leave at once");
    ok(comes_in(), "the next one is taken in");
    is(rqci_net_counts_of(house.net).reopened, before, "and the listener was not opened again");
}

// Without its first bytes no connection is begun: it could only be broken off.
static void test_no_memory(void)
{
    const uint64_t before = rqci_net_counts_of(house.net).reopened;
    uint64_t failed = 0, told = 0, left = 0;
    const unsigned fds = settled();
    for (uint64_t i = 0; i < NO_MEMORY; i++) {
        rqci_sp sp;
        rqci_sp_init(&sp);
        faults_arm(FAULTS_ALLOC, 1, true, ENOMEM);
        const rqc_err rc = rqci_sp_open(&sp, &house.addr, RQCI_SP_SUB, 1024, NULL);
        failed += faults_disarm() > 0;
        told += rc == RQC_NO_MEMORY;
        left += sp.fd < 0 && rqci_sp_work(&sp, NULL) == RQC_UNAVAILABLE;
        rqci_sp_free(&sp);
    }
    is(failed, NO_MEMORY, "memory runs out where the handshake begins");
    is(told, NO_MEMORY, "each client is told that");
    is(left, NO_MEMORY, "and has no connection");
    is(settled(), fds, "nor a descriptor");
    ok(comes_in(), "the next one is taken in");
    is(rqci_net_counts_of(house.net).reopened, before, "by the listener that there was");
}

static void test_rude_visits(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, house.path, strlen(house.path));
    const uint64_t before = rqci_net_counts_of(house.net).reopened;
    uint64_t visits = 0;
    while (visits < 5000 && rqci_net_counts_of(house.net).reopened == before) {
        const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (const struct sockaddr *)&a, sizeof a) != 0)
            usleep(1000); // the listener is away for a moment
        close(fd);
        visits++;
        if (visits % 50 == 0)
            usleep(RQCI_NET_TICK_MS * 1000);
    }
    tap_note("%" PRIu64 " visits, opened again %" PRIu64 " times", visits,
             rqci_net_counts_of(house.net).reopened - before);
    ok(rqci_net_counts_of(house.net).reopened > before,
       "a peer that leaves during the handshake costs the listener, which is opened again");
    ok(comes_in(), "then clients are taken in");
}

int main(void)
{
    sdb_begin("net");
    faults_spare("/libnng.so");
    open_house();
    ok(comes_in(), "a client is taken in");
    test_short_visits();
    test_no_memory();
    test_rude_visits();
    close_house();
    sdb_end();
    return tap_done();
}
