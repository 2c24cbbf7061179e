# SPDX-License-Identifier: Apache-2.0
"""Values that are too large for the view, through --large and get --field: whole, from an owner, beside
one, and beside a reqcastd."""

import contextlib
import os
import subprocess
import sys

import cli
import cli_data as d
import tap

LARGE = 32768
REQCASTD = os.environ.get("REQCASTD", "")
URL = "https://shop.test/" + "é\n" * LARGE
STAGING = "https://staging.test/" + "s" * LARGE
BYTES = bytes(range(256)) * (LARGE // 128)
TEXT = "[" + "1,\n" * LARGE + "1]"
WHOLE = [
    d.record("http", d.BASES[0], workspace_id=d.SHOP, name="Request 0", url=URL, method="POST",
             updated_at=d.T0, created_at=d.T0),
    d.record("http", d.DELTA, workspace_id=d.SHOP, name="", url="", method="", is_delta=True,
             parent_http_id=d.BASES[0], delta_url=STAGING, updated_at=d.T0, created_at=d.T0),
    d.record("http_header", d.HEADERS[0], http_id=d.BASES[0], header_key="Accept",
             header_value="h" * (LARGE + 1)),
    d.record("http_header", d.HEADERS[4], http_id=d.DELTA, header_key="", header_value="",
             is_delta=True, parent_header_id=d.HEADERS[0], delta_header_value="o" * (LARGE + 2)),
    d.record("http_body_raw", d.RAW, http_id=d.BASES[0], raw_data=d.encoded(BYTES)),
    d.record("http_response", d.RESPONSE, http_id=d.BASES[0], status=200, time="t" * (LARGE + 3),
             duration=12, size=0, body=d.encoded(TEXT.encode()))]


def is_large(v) -> bool:
    return isinstance(v, dict) and "$large" in v


def columns(records, *names):
    return [[r[n] for n in names] for r in records]


def check_records(c: cli.Cli) -> None:
    """Each answer that holds records, without --large and with it."""
    for command, column in ((["get", "http", d.BASES[0]], "url"), (["batch", d.BASES[0]], "url"),
                            (["page", "shop", "--method", "POST", "--limit", 1], "url"),
                            (["updates", "shop", "--since", d.T0 - 1, "--method", "POST"], "url"),
                            (["deltas", d.BASES[0], "--since", d.T0 - 1], "delta_url"),
                            (["children", "http_body_raw", d.BASES[0]], "raw_data"),
                            (["get", "http_response", d.RESPONSE], "body"),
                            (["get", "http_response", d.RESPONSE], "time"),
                            (["chain", d.BASES[0], "--until", d.T0], "url")):
        first, whole = c.json(*command)[0], c.json(*command, "--large")[0]
        want = {r["id"]: r for r in WHOLE}.get(first["id"])
        value = STAGING if command[0] == "chain" else want[column]
        name = f"{command[0]}: {column}"
        tap.ok(is_large(first[column]), f"{name} is not in the view")
        tap.ok(whole[column] == value, f"{name} is whole with --large")
        tap.equal([k for k in first if not is_large(first[k]) and first[k] != whole[k]], [],
                  f"{name}: the rest is the same")
        tap.ok(not any(map(is_large, whole.values())), f"{name}: nothing large is left")
        text = c.text(*command, "--large")
        tap.ok("not in the view" not in text and len(text) < 10000, f"{name}: its beginning for people")
    lines = {o["id"]: o for o in c.json("changes", "shop", "--large") if "id" in o}
    tap.ok(lines[d.RAW]["raw_data"] == d.encoded(BYTES), "changes")
    got = c.one("resolve", d.BASES[0], "--delta", d.DELTA, "--large")
    headers = {h["id"]: h["header_value"] for h in got["headers"]}
    tap.ok(got["http"]["url"] == STAGING, "resolve: an override")
    tap.ok(headers[d.HEADERS[0]] == "o" * (LARGE + 2), "resolve: a header's override")
    tap.ok(got["raw"]["raw_data"] == d.encoded(BYTES), "resolve: the body")
    tap.ok("not in the view" not in c.text("resolve", d.BASES[0], "--large"), "resolve for people")


def check_copy(c: cli.Cli) -> None:
    """What changes gives with --large is all that another database needs."""
    lines = c.run("--json", "changes", "shop", "--large").out
    copy = cli.Cli(c.folder, "copy.db")
    copy.one("put", stdin=lines)
    for entity in cli.ENTITIES:
        where = {"workspaces": "id = ?", "http": "workspace_id = ?"}.get(entity)
        rows = c.rows(entity, where, cli.unulid(d.SHOP)) if where else c.rows(entity)
        tap.ok(copy.rows(entity) == rows, f"a copy has the same {entity}")


def check_field(c: cli.Cli) -> None:
    for entity, i, field, want in (
            ("http", d.BASES[0], "url", URL.encode()), ("http_body_raw", d.RAW, "raw_data", BYTES),
            ("http_response", d.RESPONSE, "body", TEXT.encode()),
            ("http_response", d.RESPONSE, "status", b"200"), ("http", d.BASES[1], "name", b"Request 1"),
            ("http", d.BASES[1], "is_delta", b"false"), ("http", d.BASES[1], "id", d.BASES[1].encode()),
            ("http", d.BASES[1], "workspace_id", d.SHOP.encode()),
            ("http", d.BASES[1], "description", b""), ("http_header", d.HEADERS[1], "display_order", b"1.0")):
        r = c.run("get", entity, i, "--field", field)
        tap.ok((r.status, r.out, r.err) == (0, want, b""), f"get --field {field}: the value itself")
    c.fails(2, ["--field", "nosuch", "http_response", "body"], "get", "http_response", d.RESPONSE,
            "--field", "nosuch")
    c.fails(2, "--field", "get", "http", d.BASES[0], "--field", "")
    c.fails(2, ["--field", "one ID"], "get", "http", d.BASES[0], d.BASES[1], "--field", "url")
    r = c.run("--json", "get", "http", d.BASES[0], "--field", "url")
    tap.ok(r.status == 2 and r.out == b"" and c.is_one_line(r), "get --field gives no JSON")
    for needles, record_id in ((["description", "NULL"], d.SNAPSHOT), ("no http", d.RAW)):
        r = c.run("get", "http", record_id, "--field", "delta_description")
        tap.ok(r.status == 1 and r.out == b"" and c.is_one_line(r), f"get --field: {needles}")


def check_changed(c: cli.Cli) -> None:
    """A row that another program changed, and the view does not show yet, is not given half."""
    holder = c.start("--json", "changes", "shop", "--large", stdout=subprocess.PIPE,
                     stderr=subprocess.DEVNULL)
    try:
        holder.stdout.read(1)
        c.sql("UPDATE http_body_raw SET raw_data = ? WHERE id = ?", b"x" * (LARGE + 5),
              cli.unulid(d.RAW))
        r = c.run("--json", "get", "http_body_raw", d.RAW, "--large")
        good = r.status == 1 and r.out == b"" and c.is_one_line(r)
        if not tap.ok(good and d.RAW in r.errors and "raw_data" in r.errors, "a row that changed"):
            r.explain()
        r = c.run("get", "http_body_raw", d.RAW, "--field", "raw_data")
        tap.ok(r.status == 1 and r.out == b"" and c.is_one_line(r), "the same with --field")
    finally:
        holder.communicate()
    tap.equal(c.one("get", "http_body_raw", d.RAW, "--large")["raw_data"],
              d.encoded(b"x" * (LARGE + 5)), "and the next owner shows it")


@contextlib.contextmanager
def sidecar(c: cli.Cli):
    sockets = c.folder / "s"
    sockets.mkdir()
    read, write = os.pipe()
    p = subprocess.Popen([REQCASTD, "--socket-dir", sockets, "--ready-fd", str(write)], env=c.env,
                         pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as f:
        f.readline()
    try:
        yield
    finally:
        p.terminate()
        p.wait(60)


def main() -> None:
    with cli.database(parent=cli.memory_folder()) as c:
        c.put(d.records())
        c.put(WHOLE)
        check_records(c)
        check_field(c)
        if REQCASTD:
            with sidecar(c):
                check_records(c)
                check_field(c)
        else:
            tap.skip("no reqcastd was built")
        check_copy(c)
        check_changed(c)
        tap.equal(c.one("verify")["differences"], 0, "verify")
    tap.done()


sys.exit(main())
