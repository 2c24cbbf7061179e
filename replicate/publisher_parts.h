// SPDX-License-Identifier: Apache-2.0
// What the files of the publisher share: topics.c knows the topics, publisher.c fills them.
#ifndef RQCI_PUBLISHER_PARTS_H
#define RQCI_PUBLISHER_PARTS_H

#include "replicate/message.h"
#include "replicate/publisher.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct rqci_topic {
    bool all;
    uint8_t id[16];
    rqci_net_pub *pub;
    char url[RQCI_URL_MAX];
    uint16_t port; // 0: not over tcp
    bool fresh;    // nothing is known of it yet
    rqci_epoch epoch;
    uint64_t head; // seq of its last frame that was no bookmark
    uint64_t seq;  // position up to which it was looked at
    bool nudged;
    int64_t used_ms;
    uint64_t records; // at summed_seq
    rqci_digest digest;
    uint64_t summed_seq;        // UINT64_MAX: not yet
    uint64_t summed_generation; // a view that was repaired has another one, at the same seq
} rqci_topic;

struct rqci_publisher {
    rqci_publisher_options opt;
    char *path, *host;
    pthread_t thread;
    int event; // poked, nudged, stopped
    _Atomic bool stop;
    pthread_mutex_t lock; // guards what follows; held while frames are made
    rqci_topic **topics;  // the first one is that of all
    unsigned ntopics;
    rqci_buf frame;
    rqc_changes_list list;
    rqci_publisher_stats stats;
};

rqc_err rqci_topic_open(rqci_publisher *p, const uint8_t *id, rqci_topic **ret_topic,
                        rqci_errbuf *err);
void rqci_topic_close(rqci_topic *t); // NULL-safe
void rqci_topics_close_idle(rqci_publisher *p, int64_t now_ms);

#endif
