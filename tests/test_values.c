// SPDX-License-Identifier: Apache-2.0
// Values without a database: positions as texts, names of entities and fields, texts of codes.
#include "api/reqcast.h"

#include "tests/tap.h"

static void test_values(void)
{
    const rqc_position p = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
                            7,
                            123456789012345};
    rqc_position back = {{0}, 0, 0};
    char text[RQC_POSITION_TEXT];
    rqc_position_format(&p, text);
    is(rqc_position_parse(text, NULL, &back), RQC_OK, "a position reads back: %s", text);
    ok(back.term == p.term && back.seq == p.seq && memcmp(back.store_id, p.store_id, 16) == 0,
       "as it was");
    is(rqc_position_parse("42", &p, &back), RQC_OK, "a bare seq");
    ok(back.seq == 42 && back.term == 7, "takes its history from here");
    static const char *const wrong[] = {"",
                                        "x",
                                        "1@",
                                        "1@2",
                                        "1@00000000000000000000000000",
                                        "1@00000000000000000000000000:",
                                        "-1",
                                        "1 ",
                                        "99999999999999999999",
                                        "4294967296@00000000000000000000000000:1",
                                        "18446744073709551616",
                                        "1@00000000000000000000000000:1x"};
    size_t refused = 0;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        refused += rqc_position_parse(wrong[i], &p, &back) == RQC_INVALID;
    is(refused, sizeof wrong / sizeof *wrong, "what is no position is refused");
    is(rqc_position_parse("42", NULL, &back), RQC_INVALID, "a bare seq needs a history");
    const rqc_position most = {{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
                                255, 255, 255},
                               UINT32_MAX,
                               UINT64_MAX};
    rqc_position_format(&most, text);
    is(rqc_position_parse(text, NULL, &back), RQC_OK, "the greatest position fits: %s", text);
    is(rqc_entity_number("http_header"), RQC_HTTP_HEADER, "entities by name");
    is(rqc_entity_number("nothing"), 0, "unknown ones are 0");
    is(rqc_entity_name(RQC_FILES), "files", "and back");
    ok(rqc_entity_name((rqc_entity)99) == NULL && rqc_entity_name((rqc_entity)-1) == NULL,
       "NULL for unknown codes");
    is(rqc_field_number(RQC_HTTP, "delta_url"), RQC_HTTP_DELTA_URL, "fields by name");
    is(rqc_field_number(RQC_HTTP, "nothing"), -1, "unknown ones are -1");
    is(rqc_field_name(RQC_HTTP, RQC_HTTP_METHOD), "method", "and back");
    ok(rqc_field_name(RQC_HTTP, 99) == NULL && rqc_field_name(RQC_HTTP, -1) == NULL,
       "NULL for unknown numbers");
    is(rqc_err_text(RQC_OK), "ok", "texts of codes");
    ok(rqc_err_text((rqc_err)999) != NULL, "of unknown ones too");
}

int main(void)
{
    test_values();
    return tap_done();
}
