// SPDX-License-Identifier: Apache-2.0
// The tables of the property test, column by column, as its generator and its oracle know them.
#include "tests/property.h"

prop_table prop_tables[NENTITIES] = {
    [RQC_WORKSPACES] = {.name = "workspaces",
                        .spec = "id:i name:t updated:u collection_count:n flow_count:n "
                                "active_env:X global_env:X display_order:r"},
    [RQC_FILES] = {.name = "files",
                   .owner_entity = RQC_WORKSPACES,
                   .spec = "id:i workspace_id:o parent_id:F content_id:X content_kind:k name:t "
                           "display_order:r path_hash:H updated_at:u"},
    [RQC_HTTP] =
        {.name = "http",
         .owner_entity = RQC_WORKSPACES,
         .spec =
             "id:i workspace_id:o folder_id:F name:t url:t method:m body_kind:w description:e "
             "content_hash:T parent_http_id:P is_delta:z is_snapshot:z delta_name:T delta_url:T "
             "delta_method:M delta_body_kind:N delta_description:T last_run_at:N created_at:c "
             "updated_at:u"},
    [RQC_HTTP_HEADER] =
        {.name = "http_header",
         .owner_entity = RQC_HTTP,
         .spec = "id:i http_id:o header_key:t header_value:t description:e enabled:b "
                 "parent_header_id:P is_delta:z delta_header_key:T delta_header_value:T "
                 "delta_description:T "
                 "delta_enabled:B delta_display_order:R display_order:r created_at:c updated_at:u"},
    [RQC_HTTP_SEARCH_PARAM] =
        {.name = "http_search_param",
         .owner_entity = RQC_HTTP,
         .spec =
             "id:i http_id:o key:t value:t enabled:b description:e display_order:r "
             "parent_http_search_param_id:P is_delta:z delta_key:T delta_value:T delta_enabled:B "
             "delta_description:T delta_display_order:R created_at:c updated_at:u"},
    [RQC_HTTP_BODY_FORM] =
        {.name = "http_body_form",
         .owner_entity = RQC_HTTP,
         .spec = "id:i http_id:o key:t value:t enabled:b description:e display_order:r "
                 "parent_http_body_form_id:P is_delta:z delta_key:T delta_value:T delta_enabled:B "
                 "delta_description:T delta_display_order:R created_at:c updated_at:u"},
    [RQC_HTTP_BODY_URLENCODED] =
        {.name = "http_body_urlencoded",
         .owner_entity = RQC_HTTP,
         .spec =
             "id:i http_id:o key:t value:t enabled:b description:e display_order:r "
             "parent_http_body_urlencoded_id:P is_delta:z delta_key:T delta_value:T "
             "delta_enabled:B delta_description:T delta_display_order:R created_at:c updated_at:u"},
    [RQC_HTTP_BODY_RAW] =
        {.name = "http_body_raw",
         .owner_entity = RQC_HTTP,
         .spec = "id:i http_id:o raw_data:d compression_type:n parent_body_raw_id:P is_delta:z "
                 "delta_raw_data:d delta_compression_type:N created_at:c updated_at:u"},
    [RQC_HTTP_ASSERT] =
        {.name = "http_assert",
         .owner_entity = RQC_HTTP,
         .spec =
             "id:i http_id:o value:t enabled:b description:e display_order:r "
             "parent_http_assert_id:P is_delta:z delta_value:T delta_enabled:B delta_description:T "
             "delta_display_order:R created_at:c updated_at:u"},
    [RQC_HTTP_VERSION] = {.name = "http_version",
                          .owner_entity = RQC_HTTP,
                          .spec = "id:i http_id:o version_name:v version_description:e is_active:z "
                                  "created_at:c created_by:V"},
    [RQC_HTTP_RESPONSE] =
        {.name = "http_response",
         .owner_entity = RQC_HTTP,
         .spec = "id:i http_id:o status:q body:d time:a duration:q size:q created_at:c"},
    [RQC_HTTP_RESPONSE_HEADER] = {.name = "http_response_header",
                                  .owner_entity = RQC_HTTP_RESPONSE,
                                  .spec = "id:i response_id:o key:t value:t created_at:c"},
    [RQC_HTTP_RESPONSE_ASSERT] = {.name = "http_response_assert",
                                  .owner_entity = RQC_HTTP_RESPONSE,
                                  .spec = "id:i response_id:o value:t success:s created_at:c"},
};

static char type_of(char kind)
{
    static const char *const types[] = {"UioPFXV", "TteTvHmM", "InqwkNcu", "BzbsB",
                                        "RrR",     "Yd",       "Aa"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strchr(types[i] + 1, kind) != NULL)
            return types[i][0];
    bail("kind %c", kind);
}

int prop_column_of(const prop_table *t, const char *name)
{
    for (int i = 0; i < t->n; i++)
        if (strcmp(t->col[i].name, name) == 0)
            return i;
    bail("%s has no column %s", t->name, name);
}

static int find(const prop_table *t, const char *name)
{
    for (int i = 0; i < t->n; i++)
        if (strcmp(t->col[i].name, name) == 0)
            return i;
    return -1;
}

void prop_tables_init(void)
{
    for (int e = 1; e < (int)NENTITIES; e++) {
        prop_table *t = &prop_tables[e];
        t->entity = e;
        t->owner = t->parent = -1;
        for (const char *p = t->spec; *p != 0; t->n++) {
            prop_column *c = &t->col[t->n];
            const size_t n = strcspn(p, ":");
            memcpy(c->name, p, n);
            c->kind = p[n + 1];
            c->type = type_of(c->kind);
            c->field = rqc_field_number((rqc_entity)e, c->name);
            if (c->field < 0 || strcmp(rqc_field_name((rqc_entity)e, c->field), c->name) != 0)
                bail("the public header has no %s.%s", t->name, c->name);
            t->owner = c->kind == 'o' ? t->n : t->owner;
            t->parent = c->kind == 'P' ? t->n : t->parent;
            p += n + 2 + (p[n + 2] == ' ');
        }
        t->updated = find(t, e == RQC_WORKSPACES ? "updated" : "updated_at");
        t->enabled = find(t, "enabled");
        t->order = find(t, "display_order");
        t->is_delta = find(t, "is_delta");
    }
}
