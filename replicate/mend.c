// SPDX-License-Identifier: Apache-2.0
// What a subscriber has is not what the digest of a bookmark says. Only the buckets whose digests
// differ are walked anew:
//   what came of them replaces what it had; what did not come is gone; then changes since the place
// The sidecar may have moved on since the bookmark: buckets that changed meanwhile differ, too, and
// are walked for nothing, but none that has to be is left out.
#include "replicate/subscriber_parts.h"

rqci_sub_turn rqci_sub_mend_begin(rqci_sub *s, rqci_sub_event *ev)
{
    s->mend = RQCI_MEND_DIGESTS;
    s->mended = true;
    s->stats.mends++;
    rqci_sub_catch_up(s);
    s->tell_live = s->told_down = true;
    *ev = (rqci_sub_event){.kind = RQCI_SUB_STATE,
                           .reason = RQC_DIFFERENT,
                           .text = s->err.text,
                           .place = s->place,
                           .head = s->head};
    return RQCI_TURN_EVENT;
}

rqc_err rqci_sub_mend_ask(rqci_sub *s)
{
    rqci_ask_buckets a = {.flags = s->opt.all ? RQCI_FRAME_ALL : 0, .epoch = s->place.epoch};
    memcpy(a.topic, s->opt.workspace, 16);
    return rqci_ask_buckets_put(&s->message, &a);
}

rqci_sub_turn rqci_sub_mend_answer(rqci_sub *s, const rqci_message *m, rqci_sub_event *ev)
{
    rqci_buckets_answer a;
    const rqc_err rc = rqci_buckets_answer_decode(m, &a, &s->err);
    // A sidecar that does not know the question, or whose history is another one.
    if (m->what == RQC_INVALID || m->what == RQC_EPOCH_CHANGED)
        return rqci_sub_start_over(s, m->what == RQC_INVALID ? RQC_DIFFERENT : rc, ev);
    if (rc != RQC_OK) {
        s->stats.bad += m->what == RQC_OK;
        return rqci_sub_fail(s, rc, ev);
    }
    s->asked = false;
    s->stats.buckets += rqci_known_differing(&s->known, a.digests, &s->buckets);
    s->mend = RQCI_MEND_WALK;
    s->mend_cursor = (rqc_cursor){.seq = 0};
    rqci_known_walk(&s->known);
    s->staged = true;
    return RQCI_TURN_ON;
}
