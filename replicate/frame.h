// SPDX-License-Identifier: Apache-2.0
// Frames: what the stream carries, and what a page of changes looks like. docs/protocol.md is the
// specification.
//
//   0  u32  magic, the bytes "rqcf"          48  u8[16] topic: workspace, zeros for all
//   4  u32  version, 1                       64  u64  prev_seq
//   8  u64  check: XXH3-64 from byte 16      72  u64  seq
//  16  u32  size of the frame                80  u64  horizon: oldest usable cursor
//  20  u32  flags                            88  u64  records of the topic   (bookmarks)
//  24  u8[16] store id                       96  u8[16] digest, low half first (bookmarks)
//  40  u32  term                            112  entries
//  44  u32  number of entries
//
// An entry: u8 entity, u8 op, u16 0, u32 bytes of the record (0 for a delete), u64 seq, u8[16] id,
// the packed record. Sizes are multiples of 8.
#ifndef RQCI_FRAME_H
#define RQCI_FRAME_H

#include "base/buf.h"
#include "record/record.h"

#define RQCI_FRAME_MAGIC   0x66637172u // "rqcf"
#define RQCI_FRAME_VERSION 1u
#define RQCI_FRAME_HEADER  112u
#define RQCI_FRAME_ENTRY   32u
#define RQCI_FRAME_MAX     (16u << 20) // no frame is larger: more than the largest record
#define RQCI_FRAME_SEND    (1u << 20)  // a batch beyond it goes out as a gap frame

enum {
    RQCI_FRAME_ALL = 1,      // the topic of all workspaces
    RQCI_FRAME_BOOKMARK = 2, // no entries; prev_seq is the topic's head, seq the position
    RQCI_FRAME_GAP = 4,      // no entries: what they were is asked for
    RQCI_FRAME_LAGS = 8,     // the view cannot follow the database now
    RQCI_FRAME_PAGE = 16,    // an answer, not a frame of a stream
    RQCI_FRAME_FLAGS = 31
};

typedef struct rqci_epoch {
    uint8_t store_id[16];
    uint32_t term;
} rqci_epoch;

static inline bool rqci_epoch_equal(const rqci_epoch *a, const rqci_epoch *b)
{
    return a->term == b->term && memcmp(a->store_id, b->store_id, 16) == 0;
}

typedef struct rqci_frame {
    uint32_t flags;
    uint32_t count;
    rqci_epoch epoch;
    uint8_t topic[16];
    uint64_t prev_seq, seq, horizon, records;
    rqci_digest digest;
    const uint8_t *entries; // decoded: inside the bytes that were given
    size_t entry_bytes;
} rqci_frame;

// Appends a frame in three steps: header, entries, end. `count`, `entries` and `entry_bytes` of the
// header are not looked at. RQC_NO_MEMORY; RQC_TOO_LARGE past RQCI_FRAME_MAX.
rqc_err rqci_frame_begin(rqci_buf *out, const rqci_frame *header);
rqc_err rqci_frame_add(rqci_buf *out, const rqc_change *c);
// `at`: where the frame began in out.
void rqci_frame_end(rqci_buf *out, size_t at, uint32_t count);
// Bytes that an entry takes.
size_t rqci_frame_entry_size(const rqc_change *c);

// Proves that the n bytes are one frame, with every record well-formed and in order: whatever it
// lets pass is safe to read. p may have any alignment. RQC_VERSION (another version), RQC_CORRUPT.
rqc_err rqci_frame_decode(const void *p, size_t n, rqci_frame *ret_frame, rqci_errbuf *err);

// The next entry of a frame that was decoded; *offset begins at 0. False at the end. What it gives
// points into the frame.
bool rqci_frame_next(const rqci_frame *f, size_t *offset, rqc_change *ret_change);

#endif
