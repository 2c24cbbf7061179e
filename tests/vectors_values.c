// SPDX-License-Identifier: Apache-2.0
// Values of vectors: from JSON, to JSON, and compared.
#include "tests/vectors.h"

bool wrong(play *p, const char *format, ...)
{
    if (p->fault[0])
        return false;
    va_list ap;
    va_start(ap, format);
    vsnprintf(p->fault, sizeof p->fault, format, ap);
    va_end(ap);
    return false;
}

bool wrong_in(play *p, const char *format, ...)
{
    char where[64], fault[sizeof p->fault];
    va_list ap;
    va_start(ap, format);
    vsnprintf(where, sizeof where, format, ap);
    va_end(ap);
    memcpy(fault, p->fault, sizeof fault);
    snprintf(p->fault, sizeof p->fault, "%s: %.600s", where, fault);
    return false;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bytes bytes_of(json_t *v)
{
    json_t *hex = json_is_object(v) ? json_object_get(v, "$hex") : v;
    json_t *times = json_is_object(v) ? json_object_get(v, "times") : NULL;
    if (!json_is_string(hex) || json_string_length(hex) % 2 != 0)
        return (bytes){NULL, 0};
    const char *s = json_string_value(hex);
    const size_t one = json_string_length(hex) / 2;
    const size_t n = one * (times ? (size_t)json_integer_value(times) : 1);
    uint8_t *p = malloc(n + 1); // never NULL, or SQLite would store NULL
    if (!p)
        bail("no memory");
    for (size_t i = 0; i < n; i++) {
        const int high = digit(s[i % one * 2]), low = digit(s[i % one * 2 + 1]);
        if (high < 0 || low < 0) {
            free(p);
            return (bytes){NULL, 0};
        }
        p[i] = (uint8_t)(high * 16 + low);
    }
    return (bytes){p, n};
}

bool id_of(json_t *v, uint8_t ret_id[16])
{
    const bytes b = bytes_of(v);
    if (b.n == 16)
        memcpy(ret_id, b.p, 16);
    free(b.p);
    return b.n == 16;
}

static json_t *hex(const uint8_t *p, size_t n)
{
    char *s = malloc(2 * n + 1);
    if (!s)
        bail("no memory");
    for (size_t i = 0; i < n; i++)
        snprintf(s + 2 * i, 3, "%02x", p[i]);
    json_t *v = json_stringn(s, 2 * n);
    free(s);
    return v;
}

json_t *hex_json(const uint8_t id[16])
{
    return hex(id, 16);
}

json_t *value_json(play *p, const rqc_record *r, int field, rqc_value v)
{
    switch (v.type) {
    case RQC_NULL: return json_null();
    case RQC_INT: return json_integer(v.u.i);
    case RQC_REAL: return json_real(v.u.d);
    case RQC_BOOL: return json_boolean(v.u.i);
    case RQC_TEXT: return json_stringn(v.p, v.n);
    case RQC_ID: return hex(v.p, 16);
    case RQC_BYTES: return json_pack("{so}", "$hex", hex(v.p, v.n));
    case RQC_LARGE:
    case RQC_ABSENT:
    default: break;
    }
    void *data = NULL;
    size_t n = 0;
    const rqc_err rc = v.type == RQC_LARGE ? rqc_large(p->read, r, field, &data, &n) : RQC_INVALID;
    if (rc != RQC_OK || n != v.u.length)
        wrong(p, "field %d: type %d, %d %s", field, (int)v.type, (int)rc, rqc_read_error(p->read));
    json_t *large = json_pack("{so}", "$hex", hex(data, n));
    free(data);
    return large;
}

bool same_json(play *p, const char *what, json_t *got, json_t *want)
{
    const bool same = got && want && json_equal(got, want);
    if (!same) {
        char *g = got ? json_dumps(got, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
        char *w = want ? json_dumps(want, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
        wrong(p, "%s is %.280s, expected %.280s", what, g ? g : "missing", w ? w : "missing");
        free(g);
        free(w);
    }
    json_decref(got);
    return same;
}

// 1 and 1.0 are the same number in a file of vectors; bytes may be written short.
bool same_value(play *p, const char *what, json_t *got, json_t *want)
{
    if (json_is_number(got) && json_is_number(want) &&
        json_number_value(got) == json_number_value(want) &&
        (!json_is_integer(got) || !json_is_integer(want) ||
         json_integer_value(got) == json_integer_value(want))) {
        json_decref(got);
        return true;
    }
    if (json_is_object(got) && json_is_object(want)) {
        const bytes b = bytes_of(want);
        json_t *full = b.p ? json_pack("{so}", "$hex", hex(b.p, b.n)) : json_object();
        free(b.p);
        const bool same = same_json(p, what, got, full);
        json_decref(full);
        return same;
    }
    return same_json(p, what, got, want);
}

bool only_keys(play *p, json_t *object, const char *const *keys)
{
    const char *key;
    json_t *v;
    if (!json_is_object(object) || json_object_size(object) == 0)
        return wrong(p, "nothing is expected");
    json_object_foreach(object, key, v)
    {
        int i = 0;
        while (keys[i] && strcmp(keys[i], key) != 0)
            i++;
        if (!keys[i])
            return wrong(p, "nobody looks at %s", key);
    }
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(json_string_value(*(json_t *const *)a), json_string_value(*(json_t *const *)b));
}

json_t *sorted(json_t *strings)
{
    const size_t n = json_array_size(strings);
    json_t **list = calloc(n + 1, sizeof *list), *out = json_array();
    if (!list)
        bail("no memory");
    for (size_t i = 0; i < n; i++)
        list[i] = json_array_get(strings, i);
    qsort(list, n, sizeof *list, by_text);
    for (size_t i = 0; i < n; i++)
        json_array_append(out, list[i]);
    free(list);
    return out;
}

int64_t arg_time(json_t *args, const char *key)
{
    json_t *v = json_object_get(args, key);
    return json_is_integer(v) ? json_integer_value(v) : RQC_ANY_TIME;
}

const char *text_at(json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

bool refused(play *p, rqc_err rc, json_t *expect)
{
    const char *want = text_at(expect, "error");
    const char *got = rc == RQC_OK          ? ""
                      : rc == RQC_INVALID   ? "invalid"
                      : rc == RQC_NOT_FOUND ? "not found"
                                            : "another";
    if (strcmp(got, want) != 0)
        wrong(p, "error \"%s\" (%d %s), expected \"%s\"", got, (int)rc, rqc_read_error(p->read),
              want);
    return rc != RQC_OK;
}
