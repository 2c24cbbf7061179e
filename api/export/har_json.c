// SPDX-License-Identifier: Apache-2.0
// JSON, piece by piece.
#include "api/export/har_row.h"

#include "base/base64.h"
#include "base/number.h"
#include "base/utf8.h"
#include "record/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void note(rqci_export *x, rqc_err rc)
{
    if (x->failed == RQC_OK)
        x->failed = rc;
}

static void put(rqci_export *x, const char *p, size_t n)
{
    if (x->failed == RQC_OK)
        note(x, rqci_buf_add(&x->out, p, n));
}

static void separate(rqci_export *x)
{
    if (x->comma)
        put(x, ",", 1);
    x->comma = true;
}

void rqci_put_key(rqci_export *x, const char *key)
{
    separate(x);
    put(x, "\"", 1);
    put(x, key, strlen(key));
    put(x, "\":", 2);
    x->comma = false;
}

void rqci_put_open(rqci_export *x, char bracket)
{
    separate(x);
    put(x, &bracket, 1);
    x->comma = false;
}

void rqci_put_close(rqci_export *x, char bracket)
{
    put(x, &bracket, 1);
    x->comma = true;
}

// Rows of other programs may hold what no JSON text can.
static bool mend(rqci_export *x, const char *p, size_t n)
{
    x->clean.len = 0;
    rqc_err rc = RQC_OK;
    for (size_t at = 0; at < n && rc == RQC_OK; at++) {
        const size_t good = rqci_utf8_span(p + at, n - at);
        rc = rqci_buf_add(&x->clean, p + at, good);
        at += good;
        if (rc == RQC_OK && at < n)
            rc = rqci_buf_add(&x->clean, "\xef\xbf\xbd", 3);
    }
    note(x, rc);
    return rc == RQC_OK;
}

void rqci_put_text(rqci_export *x, const char *p, size_t n)
{
    separate(x);
    if (!rqci_utf8_valid(p, n)) {
        if (!mend(x, p, n))
            return;
        x->counts.mended++;
        p = (const char *)x->clean.data;
        n = x->clean.len;
    }
    if (x->failed == RQC_OK)
        note(x, rqci_json_text(&x->out, p, n));
}

void rqci_put_int(rqci_export *x, int64_t n)
{
    char text[24];
    separate(x);
    put(x, text, (size_t)snprintf(text, sizeof text, "%" PRId64, n));
}

void rqci_put_real(rqci_export *x, double d)
{
    char text[RQCI_REAL_TEXT];
    separate(x);
    // JSON has no infinities.
    put(x, text, rqci_real_format(isfinite(d) ? d : 0.0, 0, text));
}

void rqci_put_bool(rqci_export *x, bool b)
{
    separate(x);
    put(x, b ? "true" : "false", b ? 4 : 5);
}

void rqci_put_base64(rqci_export *x, const void *p, size_t n)
{
    separate(x);
    put(x, "\"", 1);
    if (x->failed == RQC_OK)
        note(x, rqci_base64_encode(&x->out, p, n));
    put(x, "\"", 1);
}

void rqci_put_id(rqci_export *x, const uint8_t id[16])
{
    char text[27];
    rqc_id_format(id, text);
    rqci_put_text(x, text, 26);
}

// ---- Records ------------------------------------------------------------------------------------

rqc_value rqci_whole(rqci_export *x, const rqc_record *r, int field, void **ret_owned)
{
    rqc_value v = rqc_field(r, field);
    *ret_owned = NULL;
    if (v.type != RQC_LARGE)
        return v;
    size_t n = 0;
    const rqc_err rc = rqc_large(x->read, r, field, ret_owned, &n);
    if (rc != RQC_OK) {
        rqci_fail(x->err, rc, "%s", rqc_read_error(x->read));
        note(x, rc);
        return rqc_null();
    }
    return rqc_bytes(*ret_owned, (uint32_t)n);
}

void rqci_put_field(rqci_export *x, const rqc_record *r, int field)
{
    void *owned;
    const rqc_value v = rqci_whole(x, r, field, &owned);
    const bool text = v.type == RQC_TEXT || v.type == RQC_BYTES;
    rqci_put_text(x, text && v.n ? v.p : "", text ? v.n : 0);
    free(owned);
}

int64_t rqci_int_of(const rqc_record *r, int field, int64_t otherwise)
{
    const rqc_value v = rqc_field(r, field);
    return v.type == RQC_INT || v.type == RQC_BOOL ? v.u.i : otherwise;
}
