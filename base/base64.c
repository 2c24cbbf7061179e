// SPDX-License-Identifier: Apache-2.0
#include "base/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

rqc_err rqci_base64_encode(rqci_buf *out, const void *p, size_t n)
{
    if (n == 0)
        return RQC_OK;
    if (n > SIZE_MAX / 4)
        return RQC_TOO_LARGE;
    const rqc_err rc = rqci_buf_reserve(out, (n + 2) / 3 * 4);
    if (rc != RQC_OK)
        return rc;
    const uint8_t *s = p;
    uint8_t *t = out->data + out->len;
    size_t i = 0;
    for (; n - i >= 3; i += 3) {
        const uint32_t v = (uint32_t)s[i] << 16 | (uint32_t)s[i + 1] << 8 | s[i + 2];
        *t++ = (uint8_t)digits[v >> 18];
        *t++ = (uint8_t)digits[v >> 12 & 63];
        *t++ = (uint8_t)digits[v >> 6 & 63];
        *t++ = (uint8_t)digits[v & 63];
    }
    if (i < n) {
        const uint32_t v = (uint32_t)s[i] << 16 | (n - i == 2 ? (uint32_t)s[i + 1] << 8 : 0);
        *t++ = (uint8_t)digits[v >> 18];
        *t++ = (uint8_t)digits[v >> 12 & 63];
        *t++ = n - i == 2 ? (uint8_t)digits[v >> 6 & 63] : '=';
        *t++ = '=';
    }
    out->len += (n + 2) / 3 * 4;
    return RQC_OK;
}

static uint32_t value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (uint32_t)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (uint32_t)(c - 'a') + 26;
    if (c >= '0' && c <= '9')
        return (uint32_t)(c - '0') + 52;
    return c == '+' ? 62 : c == '/' ? 63 : 255;
}

rqc_err rqci_base64_decode(rqci_buf *out, const char *text, size_t len)
{
    if (len % 4 != 0)
        return RQC_INVALID;
    if (len == 0)
        return RQC_OK;
    const size_t pad = text[len - 1] != '=' ? 0 : text[len - 2] != '=' ? 1 : 2;
    const rqc_err rc = rqci_buf_reserve(out, len / 4 * 3);
    if (rc != RQC_OK)
        return rc;
    uint8_t *t = out->data + out->len;
    for (size_t i = 0; i < len; i += 4) {
        const size_t short_by = i + 4 == len ? pad : 0;
        uint32_t v = 0;
        for (size_t k = 0; k < 4; k++) {
            const uint32_t d = k < 4 - short_by ? value_of(text[i + k]) : 0;
            if (d > 63)
                return RQC_INVALID;
            v = v << 6 | d;
        }
        if (short_by > 0 && (v & ((1u << 8 * short_by) - 1)) != 0)
            return RQC_INVALID;
        *t++ = (uint8_t)(v >> 16);
        if (short_by < 2)
            *t++ = (uint8_t)(v >> 8);
        if (short_by < 1)
            *t++ = (uint8_t)v;
    }
    out->len = (size_t)(t - out->data);
    return RQC_OK;
}
