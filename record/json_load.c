// SPDX-License-Identifier: Apache-2.0
// When memory is short, jansson calls correct text wrong, or leaves bytes of it out without a word.
// So its allocations are watched, through the function that it calls for them: whoever gave it
// another one has that called as before.
#include "record/json_load.h"

#include <pthread.h>
#include <stdbool.h>

static json_malloc_t malloc_before;
static _Thread_local bool failed;

static void *watched_malloc(size_t n)
{
    void *p = malloc_before(n);
    failed = failed || !p;
    return p;
}

static void watch(void)
{
    json_free_t free_before;
    json_get_alloc_funcs(&malloc_before, &free_before);
    json_set_alloc_funcs(watched_malloc, free_before);
}

rqc_err rqci_json_load(const char *text, size_t len, size_t flags, json_t **ret_root,
                       json_error_t *ret_error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, watch);
    failed = false;
    json_t *root = json_loadb(text, len, flags, ret_error);
    if (failed) {
        json_decref(root);
        return RQC_NO_MEMORY;
    }
    if (!root)
        return RQC_INVALID;
    *ret_root = root;
    return RQC_OK;
}
