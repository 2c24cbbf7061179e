# SPDX-License-Identifier: Apache-2.0
"""Commands that write: put, patch, delete, workspaces --create. All or nothing, and the line at
fault by its number."""

import json
import sys

import cli
import cli_data as d
import tap

WORKSPACE = json.dumps({"entity": "workspaces", "id": d.SHOP, "name": "shop"})
REQUEST = {"entity": "http", "id": d.BASES[0], "workspace_id": d.SHOP, "name": "n", "url": "u",
           "method": "GET"}
REQUEST_LINE = json.dumps(REQUEST)


def with_field(**fields) -> bytes:
    return json.dumps({**REQUEST, **fields}).encode()


# What stands in line 3, and what the message must hold besides the line's number.
BAD_LINES = {
    "no JSON": (b"{nope}", "JSON"),
    "half a line": (b'{"entity": "http"', "JSON"),
    "two objects": (b"{} {}", "JSON"),
    "an array": (b"[1]", "object"),
    "a number": (b"17", "JSON"),
    "no entity": (b'{"id": null}', "entity"),
    "an entity that is a number": (b'{"entity": 4}', "entity"),
    "an unknown entity": (b'{"entity": "users"}', "users"),
    "an unknown column": (with_field(nope=1), "nope"),
    "a NUL byte": (REQUEST_LINE.encode().replace(b'"n"', b'"a\0b"'), "JSON"),
    "a NUL byte between values": (b'{"entity": "http"\0}', "JSON"),
    "invalid UTF-8": (REQUEST_LINE.encode().replace(b'"n"', b'"\xe9\xff"'), "column"),
    "half a surrogate pair": (REQUEST_LINE.encode().replace(b'"n"', b'"\\ud800"'), "JSON"),
    "an overlong character": (REQUEST_LINE.encode().replace(b'"n"', b'"\xc0\x80"'), "column"),
    "an id of the wrong length": (with_field(id="0123"), "http.id"),
    "an id that is null": (with_field(id=None), "http.id"),
    "an id beyond 128 bits": (with_field(id="Z" * 26), "http.id"),
    "an id that is a number": (with_field(id=5), "http.id"),
    "a text that is a number": (with_field(name=5), "http.name"),
    "a boolean that is a text": (with_field(is_delta="yes"), "http.is_delta"),
    "an integer that is a text": (with_field(updated_at="now"), "http.updated_at"),
    "an integer with a fraction": (with_field(updated_at=1.5), "http.updated_at"),
    "an integer beyond 64 bits": (with_field(updated_at=2**63), "JSON"),
    "a number beyond a double": (REQUEST_LINE[:-1].encode() + b', "updated_at": 1e999}', "JSON"),
    "a number of 10000 digits": (REQUEST_LINE[:-1].encode() + b', "updated_at": '
                                 + b"9" * 10000 + b"}", "JSON"),
    "NULL where none may be": (with_field(url=None), "http.url"),
    "a key twice": (REQUEST_LINE[:-1].encode() + b', "name": "m"}', "duplicate"),
    "damaged base64": (json.dumps({"entity": "http_body_raw", "http_id": d.BASES[0],
                                   "raw_data": {"$base64": "@@@"}}).encode(), "raw_data"),
    "a hash for a large value": (json.dumps({
        "entity": "http_body_raw", "http_id": d.BASES[0],
        "raw_data": {"$large": {"length": 1, "xxh3": "00"}}}).encode(), "large"),
    "deep JSON": (b'{"entity": "http", "name": ' + b"[" * 100000 + b"]" * 100000 + b"}", "deeper"),
    "deep JSON without end": (b'{"a":' * 100000, "deeper"),
    "an owner that is not there": (with_field(id="01" * 16, workspace_id=d.OTHER),
                                   "http.workspace_id"),
    "a delta without a parent": (with_field(is_delta=True), ""),
    "a column that must be given": (b'{"entity": "http", "workspace_id": "' + d.SHOP.encode()
                                    + b'"}', "http."),
}


def check_put(c: cli.Cli) -> None:
    c.one("put", stdin=f"{WORKSPACE}\n".encode())
    before = c.head()
    for name, (line, needle) in BAD_LINES.items():
        text = f"{REQUEST_LINE}\n\n".encode() + line + b"\n" + REQUEST_LINE.encode() + b"\n"
        c.fails(3, ["standard input, line 3: ", needle, "nothing was written"], "put",
                stdin=text, name=f"put of {name}")
    tap.equal((c.head(), c.rows("http")), (before, []), "put of bad lines wrote nothing")

    got = c.one("put", stdin=b"\xef\xbb\xbf\r\n  \n" + REQUEST_LINE.encode() + b"\r\n\t\n")
    tap.equal(got["written"], 1, "put: byte order mark, blank lines and CRLF are no records")
    got = c.one("put", stdin=b"\xef\xbb\xbf" + REQUEST_LINE.encode())
    tap.equal(got["written"], 1, "put: a byte order mark before a record, no line end behind it")
    before = c.head()
    tap.equal(c.one("put", stdin=b"")["written"], 0, "put of nothing")
    tap.equal(c.head(), before, "put of nothing changes nothing")
    for bad in (b"\xff\xfe{\0}\0", b"\0" * 10000, b"\x1f\x8b\x08\0" * 100):
        c.fails(3, "line 1", "put", stdin=bad, name=f"put of {bad[:4]!r}")

    tap.equal(c.one("put", stdin=with_field(url="v", last_run_at=7))["written"], 1, "put again")
    tap.equal(c.one("put", stdin=with_field(url="w"))["written"], 1, "put again, fewer columns")
    row = c.one("get", "http", d.BASES[0])
    tap.equal((row["url"], row["last_run_at"]), ("w", None), "put replaces the whole record")
    record = {"entity": "http_header", "http_id": d.BASES[0], "header_key": "k",
              "header_value": "v"}
    got = c.put([record, record])
    tap.equal((got["written"], len(c.rows("http_header"))), (2, 2), "put without ids")
    lines = b"".join(json.dumps(r).encode() + b"\n" for r in c.json("get", "http", d.BASES[0]))
    before = c.one("get", "http", d.BASES[0])
    c.one("put", stdin=lines)
    tap.equal(cli.plain([c.one("get", "http", d.BASES[0])]), cli.plain([before]),
              "what get shows, put takes")
    seq = c.one("delete", "http_header", c.rows("http_header")[0]["id"])["seq"]
    before = [c.rows(e) for e in cli.ENTITIES]
    changes = c.run("--json", "changes", "shop")
    tap.ok(b'"op":"delete"' in changes.out and b'"next"' in changes.out, "changes of all kinds")
    r = c.run("--json", "put", stdin=changes.out)
    [got] = r.strict() or [{}]
    if not tap.ok(r.status == 0 and got.get("written") == 3 and "1 deletion was" in r.errors,
                  "what changes shows, put takes, but for deletions"):
        r.explain()
    tap.equal([c.rows(e) for e in cli.ENTITIES], before, "which changes nothing")
    tap.ok(c.head() >= seq, "in the same history")
    page = c.run("--json", "page", "shop").out
    tap.equal(c.one("put", stdin=page)["written"], 1, "what page shows, put takes")
    items = [json.loads(page.splitlines()[0]) | {"origin": "base"}]
    tap.equal(c.put(items)["written"], 1, "and an item of a resolved request")
    large = json.dumps({**REQUEST, "description": "x" * 3000000}).encode()
    tap.equal(c.one("put", stdin=large)["written"], 1, "a line of 3 MB")
    [[length]] = c.sql("SELECT length(description) FROM http")
    tap.equal(length, 3000000, "a long text is stored whole")


def check_patch(c: cli.Cli) -> None:
    c.one("put", stdin=REQUEST_LINE.encode())
    got = c.one("patch", "http", d.BASES[0], "url=https://x.test/?a=b=c", "name=", "body_kind=0")
    tap.equal((got["entity"], got["id"], got["url"], got["name"], got["body_kind"]),
              ("http", d.BASES[0], "https://x.test/?a=b=c", "", 0), "patch shows the record")
    tap.equal(cli.plain([got]), c.rows("http"), "patch: as SQLite has it")
    seq = got["seq"]
    position = c.one("stats")["position"]
    got = c.one("patch", "http", d.BASES[0], "last_run_at=-5", "--if-seq", seq)
    tap.ok(got["last_run_at"] == -5 and got["seq"] > seq, "patch --if-seq of what did not change")
    r = c.fails(1, [d.BASES[0], str(seq)], "patch", "http", d.BASES[0], "name=late",
                "--if-seq", seq, shown=True)
    tap.equal([(o["id"], o["name"], o["seq"]) for o in r.strict()],
              [(d.BASES[0], "", got["seq"])], "a refused patch shows the record as it is")
    c.fails(1, d.BASES[0], "patch", "http", d.BASES[0], "name=late", "--if-seq", position,
            shown=True)
    head, _, tail = position.partition("@")
    c.fails(4, "history", "patch", "http", d.BASES[0], "name=l", "--if-seq",
            f"{int(head) + 7}@{tail}")
    got = c.one("patch", "http", d.BASES[0], "--unset", "last_run_at", "--unset=content_hash")
    tap.equal(got["last_run_at"], None, "patch --unset")
    got = c.one("patch", "http", d.BASES[0], "updated_at=77")
    tap.equal(got["updated_at"], 77, "patch: a time that is given counts")
    before = c.head()
    for status, needle, *args in (
            (2, "name", "http", d.BASES[0], "name=A", "url=u", "name=B"),
            (2, "name", "http", d.BASES[0], "name=A", "--unset", "name"),
            (2, "nope", "http", d.BASES[0], "nope=1"), (2, "id", "http", d.BASES[0], "id=1"),
            (2, "FIELD", "http", d.BASES[0], "name"), (2, "FIELD", "http", d.BASES[0], "=1"),
            (2, "nothing to change", "http", d.BASES[0]), (1, d.OTHER, "http", d.OTHER, "name=x"),
            (3, "http.body_kind", "http", d.BASES[0], "body_kind=x"),
            (3, "http.body_kind", "http", d.BASES[0], "body_kind=99999999999999999999"),
            (3, "http.is_delta", "http", d.BASES[0], "is_delta=maybe"),
            (3, "folder_id", "http", d.BASES[0], "folder_id=17"),
            (3, "", "http", d.BASES[0], "is_delta=true"),
            (3, "", "http", d.BASES[0], "workspace_id=" + d.OTHER),
            (3, "name", "http", d.BASES[0], "--unset", "name"),
            (3, "", "http", d.BASES[0], b"name=\xff\xfe"),
            (2, "requests", "requests", d.BASES[0], "name=x"), (2, "abc", "http", "abc", "name=x"),
            (2, "--if-seq", "http", d.BASES[0], "name=x", "--if-seq", "0"),
            (2, "--if-seq", "http", d.BASES[0], "name=x", "--if-seq", "soon")):
        args = [a.decode("utf-8", "surrogateescape") if isinstance(a, bytes) else a for a in args]
        c.fails(status, needle, "patch", *args)
    tap.equal(c.head(), before, "refused patches wrote nothing")


def check_delete(c: cli.Cli) -> None:
    with c.sqlite() as db:
        db.execute("DELETE FROM workspaces")
    c.put(d.records())
    before = {e: len(c.rows(e)) for e in cli.ENTITIES}
    seq = c.head()
    c.fails(1, [d.OTHER, "nothing was deleted"], "delete", "http", d.BASES[1], d.OTHER)
    c.fails(2, "no-id", "delete", "http", d.BASES[1], "no-id")
    c.fails(2, "headers", "delete", "headers", d.BASES[1])
    tap.equal(c.head(), seq, "refused deletes wrote nothing")
    got = c.one("delete", "http", d.BASES[0], d.BASES[5])
    gone = sum(before[e] - len(c.rows(e)) for e in cli.ENTITIES)
    tap.ok(gone > 15, "what hangs on a request goes with it")
    tap.equal(got["deleted"], gone, "delete counts what went with it")
    tap.ok(set(got) == {"deleted", "seq", "position"} and cli.position_ok(got), "delete: keys")
    *lines, _ = c.json("changes", "shop", "--since", seq)
    tap.equal(sum(o["op"] == "delete" for o in lines), gone, "changes show each as a delete")
    c.fails(1, d.BASES[0], "delete", "http", d.BASES[0])
    got = c.one("delete", "workspaces", d.SHOP)
    left = sum(len(c.rows(e)) for e in cli.ENTITIES)
    tap.equal((got["deleted"], left), (sum(before.values()) - gone - left, 6),
              "a workspace goes with all that is in it")
    tap.equal(c.one("verify")["differences"], 0, "verify after deletes")


def check_create(c: cli.Cli) -> None:
    got = c.one("workspaces", "--create", "Ünï \" code")
    tap.equal(cli.plain([got]), c.rows("workspaces", "name = ?", "Ünï \" code"), "--create")
    c.fails(3, [got["id"]], "workspaces", "--create", "Ünï \" code")
    c.fails(2, "''", "workspaces", "--create", "")
    c.fails(3, "nothing was written", "workspaces", "--create=\udcff")
    c.fails(3, ["2 workspaces", d.TWIN_1, d.TWIN_2], "count", "twin")
    c.fails(3, ["2 workspaces", d.TWIN_1, d.TWIN_2], "workspaces", "--create", "twin")
    tap.equal(c.one("count", d.TWIN_1.lower())["count"], 0, "a workspace by its id, in lower case")
    # A name that looks like an id is a name all the same.
    c.put([{"entity": "workspaces", "name": d.BASES[3]}])
    tap.equal(c.one("count", d.BASES[3]), {"count": 0}, "a name in the shape of an id")


def main() -> None:
    with cli.database() as c:
        check_put(c)
        check_patch(c)
        check_delete(c)
        check_create(c)
    tap.done()


sys.exit(main())
