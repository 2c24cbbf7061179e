# SPDX-License-Identifier: Apache-2.0
"""A small database that has one of everything, for the tests of the command line."""

import base64

import cli

T0 = 1760000000
DAY = 86400

SHOP, OTHER, TWIN_1, TWIN_2 = (cli.ulid(cli.fake_id(1, n)) for n in range(4))
BASES = [cli.ulid(cli.fake_id(3, n)) for n in range(23)]
DELTA, DELTA_2, DEEP, SNAPSHOT = (cli.ulid(cli.fake_id(3, 100 + n)) for n in range(4))
FOLDER = cli.ulid(cli.fake_id(2, 0))
HEADERS = [cli.ulid(cli.fake_id(4, n)) for n in range(6)]
PARAMS = [cli.ulid(cli.fake_id(5, n)) for n in range(3)]
FORM, URLENCODED, RAW, RAW_DELTA = (cli.ulid(cli.fake_id(6, n)) for n in range(4))
ASSERT, VERSION, RESPONSE = (cli.ulid(cli.fake_id(9, n)) for n in range(3))
RESPONSE_HEADERS = [cli.ulid(cli.fake_id(12, n)) for n in range(2)]
RESPONSE_ASSERT = cli.ulid(cli.fake_id(13, 0))

# Bytes that are no text, and text with all that JSON and terminals treat specially.
BYTES = bytes(range(256))
ODD = "tab\t quote\" back\\ nl\n bell\x07 del\x7f esc\x1b[31m é 漢 😀 \u202e\u2028"


def record(entity: str, record_id: str, **fields):
    return {"entity": entity, "id": record_id, **fields}


def request(n: int, record_id: str, workspace=SHOP, **fields):
    # Every third shares its time with its neighbour, so that pages must break ties.
    at = T0 - (n - n % 3) * DAY // 2
    return record("http", record_id, workspace_id=workspace, name=f"Request {n}",
                  url=f"https://shop.test/{n}?q=1", method="POST" if n % 4 == 0 else "GET",
                  created_at=at, updated_at=at, **fields)


def delta(n: int, record_id: str, parent: str, **fields):
    return request(n, record_id, is_delta=True, parent_http_id=parent, **fields)


def encoded(b: bytes):
    return {"$base64": base64.b64encode(b).decode()}


def header(n: int, owner: str, key: str, value: str, **fields):
    return record("http_header", HEADERS[n], http_id=owner, header_key=key, header_value=value,
                  display_order=n, created_at=T0, updated_at=T0 + n, **fields)


def records():
    yield from (record("workspaces", i, name=name, updated=T0) for i, name in (
        (SHOP, "shop"), (OTHER, "other"), (TWIN_1, "twin"), (TWIN_2, "twin")))
    yield record("files", FOLDER, workspace_id=SHOP, name="Folder", content_kind=1)
    yield from (request(n, i, folder_id=FOLDER if n == 1 else None)
                for n, i in enumerate(BASES[:20]))
    yield from (request(n, i, workspace=OTHER) for n, i in enumerate(BASES[20:]))
    yield delta(1, DELTA, BASES[0], delta_url="https://staging.test/", delta_name="Staging")
    yield delta(4, DELTA_2, BASES[0], delta_method="PUT")
    yield delta(0, DEEP, DELTA, delta_description=ODD)
    yield request(0, SNAPSHOT, is_snapshot=True)
    yield header(0, BASES[0], "Accept", "text/html")
    yield header(1, BASES[0], "Accept", "text/plain")
    yield header(2, BASES[0], "X-Off", ODD, enabled=False)
    yield header(3, BASES[1], "Authorization", "")
    yield header(4, DELTA, "", "", is_delta=True, parent_header_id=HEADERS[0],
                 delta_header_value="application/json")
    yield header(5, DELTA, "X-New", "added")
    yield from (record("http_search_param", i, http_id=BASES[n], key="q", value=str(n),
                       created_at=T0, updated_at=T0 - n) for n, i in enumerate(PARAMS))
    yield record("http_body_form", FORM, http_id=BASES[0], key="f", value="v")
    yield record("http_body_urlencoded", URLENCODED, http_id=BASES[0], key="u", value="v w")
    yield record("http_body_raw", RAW, http_id=BASES[0], raw_data=encoded(BYTES))
    yield record("http_body_raw", RAW_DELTA, http_id=DELTA, is_delta=True, parent_body_raw_id=RAW,
                 delta_raw_data=encoded(b""))
    yield record("http_assert", ASSERT, http_id=BASES[0], value="response.status == 200")
    yield record("http_version", VERSION, http_id=BASES[0], version_name="v1", is_active=True)
    yield record("http_response", RESPONSE, http_id=BASES[0], status=200, body=encoded(BYTES),
                 time="2025-10-09T08:53:20Z", duration=12, size=256)
    yield from (record("http_response_header", i, response_id=RESPONSE, key="Set-Cookie",
                       value=f"n={n}", created_at=T0) for n, i in enumerate(RESPONSE_HEADERS))
    yield record("http_response_assert", RESPONSE_ASSERT, response_id=RESPONSE, value="x",
                 success=True)
