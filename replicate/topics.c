// SPDX-License-Identifier: Apache-2.0
#include "replicate/publisher_parts.h"

#include "base/clock.h"
#include "base/id.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static rqci_topic *find(const rqci_publisher *p, const uint8_t *id)
{
    if (!id)
        return p->ntopics > 0 ? p->topics[0] : NULL;
    for (unsigned i = 1; i < p->ntopics; i++)
        if (rqci_id_equal(p->topics[i]->id, id))
            return p->topics[i];
    return NULL;
}

static rqc_err listen_tcp(rqci_publisher *p, rqci_topic *t, rqci_errbuf *err)
{
    char url[RQCI_URL_MAX];
    if (!p->host)
        return rqci_fail(err, RQC_INVALID, "streams over tcp are not served here");
    if (t->port != 0)
        return RQC_OK;
    snprintf(url, sizeof url, "tcp://%s:%u", p->host, t->all ? p->opt.port : 0u);
    return rqci_net_pub_listen(t->pub, url, 0, &t->port, err);
}

rqc_err rqci_topic_open(rqci_publisher *p, const uint8_t *id, rqci_topic **ret_topic,
                        rqci_errbuf *err)
{
    if (p->ntopics > p->opt.topics_max)
        return rqci_fail(err, RQC_TOO_LARGE, "there are %u streams of workspaces already",
                         p->ntopics - 1);
    rqci_topic *t = calloc(1, sizeof *t);
    if (!t)
        return RQC_NO_MEMORY;
    t->all = !id;
    t->fresh = true;
    t->summed_seq = UINT64_MAX;
    t->used_ms = rqci_exact_ms();
    if (id) {
        memcpy(t->id, id, 16);
        snprintf(t->url, sizeof t->url, "ipc://%s.%016llx", p->path,
                 (unsigned long long)rqci_xxh64(id, 16));
    } else {
        snprintf(t->url, sizeof t->url, "ipc://%s.all", p->path);
    }
    rqc_err rc = rqci_net_pub_open(p->opt.net, &t->pub, err);
    if (rc == RQC_OK)
        rc = rqci_net_pub_listen(t->pub, t->url, p->opt.mode, NULL, err);
    if (rc == RQC_OK && t->all && p->host)
        rc = listen_tcp(p, t, err);
    if (rc != RQC_OK) {
        rqci_topic_close(t);
        return rc;
    }
    p->topics[p->ntopics++] = t;
    *ret_topic = t;
    return RQC_OK;
}

void rqci_topic_close(rqci_topic *t)
{
    if (!t)
        return;
    rqci_net_pub_close(t->pub);
    free(t);
}

void rqci_topics_close_idle(rqci_publisher *p, int64_t now_ms)
{
    unsigned n = 1;
    for (unsigned i = 1; i < p->ntopics; i++) {
        rqci_topic *t = p->topics[i];
        if (rqci_net_pub_peers(t->pub) > 0)
            t->used_ms = now_ms;
        if (now_ms - t->used_ms > (int64_t)p->opt.idle_ms)
            rqci_topic_close(t);
        else
            p->topics[n++] = t;
    }
    p->ntopics = n;
}

rqc_err rqci_publisher_topic(rqci_publisher *p, const uint8_t *id, bool tcp, char *ret_url,
                             size_t size, rqci_errbuf *err)
{
    pthread_mutex_lock(&p->lock);
    rqc_err rc = RQC_OK;
    rqci_topic *t = find(p, id);
    if (!t)
        rc = rqci_topic_open(p, id, &t, err);
    if (rc == RQC_OK && tcp)
        rc = listen_tcp(p, t, err);
    if (rc == RQC_OK) {
        t->used_ms = rqci_exact_ms();
        if (tcp)
            snprintf(ret_url, size, "tcp://*:%u", t->port);
        else
            snprintf(ret_url, size, "%s", t->url);
    }
    pthread_mutex_unlock(&p->lock);
    return rc;
}

void rqci_publisher_nudge(rqci_publisher *p, const uint8_t *id)
{
    pthread_mutex_lock(&p->lock);
    rqci_topic *t = find(p, id);
    if (t)
        t->nudged = true;
    pthread_mutex_unlock(&p->lock);
    if (t)
        rqci_publisher_poke(p);
}

void rqci_publisher_poke(rqci_publisher *p)
{
    (void)eventfd_write(p->event, 1);
}
