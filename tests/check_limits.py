# SPDX-License-Identifier: Apache-2.0
"""docs/limits.md: its values are those of the source, and what it marks ✓ is tried here, at the
limit and just beyond it."""

import json
import os
import pathlib
import re
import sys
import time

import cli
import cli_data as d
import python_module
import tap

reqcast = python_module.load()
Code = reqcast.Code
PAGE = cli.ROOT / "docs/limits.md"
CONSTANT = re.compile(r"^`(\w+)` in `([\w./]+)`")
# Values that the source does not name.
OTHERS = {"text or bytes at all"}  # SQLite's own
tried = set()


def rows():
    """(what, value, in the source), ✓ or not, of the tables that name a source."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] != "what" and len(cells) == 4:
            yield cells[0].rstrip(" ✓"), cells[0].endswith("✓"), cells[1], cells[2]


def defined(name: str, path: str):
    """The value of a #define, as a number."""
    text = (cli.ROOT / path).read_text(encoding="utf-8")
    found = re.search(rf"^#define {name}[ \t\\\n]+(.+?)(?://.*)?$", text, re.M)
    if not found:
        return None
    value = re.sub(r"U?INT64_C\((\d+)\)|\((?:size_t|u?int64_t)\)", r"\1", found[1])
    value = re.sub(r"\b(\d+)[uUlL]+\b", r"\1", value).strip()
    return eval(value, {"__builtins__": {}}) if re.fullmatch(r"[\d\s()<>*+-]+", value) else None


def check_values() -> None:
    n = 0
    for what, _, value, source in rows():
        m = CONSTANT.match(source)
        number = re.match(r"[\d,]+", value)
        if m and number:
            n += 1
            tap.equal(int(number[0].replace(",", "")), defined(*m.groups()), f"{what}: {m[1]}")
    tap.ok(n >= 25, f"{n} values were held to the source")
    tap.equal([what for what, tried_here, value, source in rows() if re.search(r"\d", value)
               and not tried_here and not CONSTANT.match(source) and what not in OTHERS], [],
              "each value is a constant of the source, tried here, or somebody else's")
    prose = [line for line in PAGE.read_text(encoding="utf-8").splitlines()
             if not line.startswith("|") and re.search(r"(?<!U\+FFFD)\b\d[\d,.]*\d", line)]
    tap.equal(prose, [], "and there are no figures beside the tables")
    public = re.findall(r"^#define (RQC_\w*(?:MAX|BYTES))\b", (cli.ROOT / "api/reqcast.h")
                        .read_text(), re.M)
    text = PAGE.read_text(encoding="utf-8")
    tap.equal([name for name in public if f"`{name}`" not in text], [], "all of reqcast.h's are there")


def limit(what: str) -> int:
    """The value that the page gives, and that it was tried."""
    tried.add(what)
    [value] = [v for w, _, v, _ in rows() if w == what]
    number = re.match(r"[\d,]+", value)
    return int(number[0].replace(",", "")) if number else 0


def code(function, *args, **more):
    try:
        result = function(*args, **more)
        if isinstance(result, reqcast.Database):
            result.close()
        return Code.OK
    except reqcast.Error as e:
        tap.note(f"{e.code!r} {e.text[:120]}")
        return e.code


def both(what: str, at, beyond, want=Code.INVALID) -> None:
    tap.equal((code(at), code(beyond)), (Code.OK, want), f"{what}: at the limit, and beyond")


# ---- Records and values --------------------------------------------------------------------------


def check_records(c: cli.Cli) -> None:
    most = limit("text or bytes in the view")
    for n, large in ((most, False), (most + 1, True)):
        c.one("put", stdin=json.dumps(d.record("http", d.BASES[0], workspace_id=d.SHOP, method="GET",
                                               url="é" * (n // 2) + "x" * (n % 2), name="n")).encode())
        c.one("put", stdin=json.dumps(d.record("http_body_raw", d.RAW, http_id=d.BASES[0],
                                               raw_data=d.encoded(b"\0" * n))).encode())
        url = c.one("get", "http", d.BASES[0])["url"]
        raw = c.one("get", "http_body_raw", d.RAW)["raw_data"]
        tap.equal((isinstance(url, dict), "$large" in raw), (large, large), f"{n} bytes in the view")
        if large:
            tap.equal((url["$large"]["length"], raw["$large"]["length"]), (n, n), "their lengths")
    limit("a zero byte, or no UTF-8, in a text")
    for name in (r"a\u0000b", "a\udcffb"):
        line = ('{"entity": "workspaces", "name": "' + name + '"}').encode("utf-8", "surrogateescape")
        c.fails(3, ["line 1", "nothing was written"], "put", stdin=line)
    limit("an integer")
    for n, status in ((2**63 - 1, 0), (-2**63, 0), (2**63, 3), (-2**63 - 1, 3)):
        r = c.run("patch", "http", d.BASES[0], f"last_run_at={n}")
        tap.equal(r.status, status, f"an integer of {n}")
    days = limit("days of `reqcast activity`")
    for n in range(days + 1):
        c.sql("INSERT INTO http (id, workspace_id, name, method, url, updated_at)"
              " VALUES (?, ?, 'n', 'GET', 'u', ?)", cli.fake_id(3, 500 + n), cli.unulid(d.TWIN_1),
              d.T0 + n * d.DAY)
        if n in (days - 1, days):
            tap.equal(len(c.json("activity", d.TWIN_1)), days, f"activity of {n + 1} days")
    most = limit("text of an error")
    try:
        reqcast.open("/nosuch/" + "é" * 240 + "/x")
    except reqcast.Error as e:
        tap.ok(400 < len(e.text.encode()) <= most, "the text of an error")


# ---- Reads ---------------------------------------------------------------------------------------


def check_reads(c: cli.Cli) -> None:
    with reqcast.open(c.db, view_dir=c.view, max_age_ms=400) as db:
        with db.read() as view:
            most = limit("limit of a page, of updates, of changes")
            both("a page", lambda: view.page(d.SHOP, limit=most),
                 lambda: view.page(d.SHOP, limit=most + 1))
            both("updates", lambda: view.updates(d.SHOP, 0, limit=most),
                 lambda: view.updates(d.SHOP, 0, limit=most + 1))
            both("changes", lambda: view.changes(limit=most), lambda: view.changes(limit=most + 1))
        with db.read() as view:
            limit("life of a read session")
            time.sleep(0.5)
            tap.equal(code(view.count, d.SHOP), Code.EXPIRED, "a session that is too old")
    with reqcast.open(c.db, view_dir=c.view) as db:
        most = limit("sessions of all processes at a time")
        before = db.stats()["readers"] - 1  # less the session that counts them
        views = [db.read() for _ in range(most - before)]
        tap.equal(code(db.read), Code.BUSY, f"{most} sessions, and one more")
        views.pop().end()
        tap.equal(code(db.read), Code.OK, "when one has ended there is room")
        del views
    with reqcast.open(c.db, view_dir=c.view) as db, db.read() as view:
        most = limit("ids in one call")
        ids = [reqcast.Id(bytes(16))] * (most + 1)
        both("ids", lambda: view.batch(ids[1:]), lambda: view.batch(ids))
        tap.equal([code(view.deltas, ids), code(view.children, "http_header", ids)],
                  [Code.INVALID] * 2, "ids of deltas and children")


def check_history(c: cli.Cli) -> None:
    retain = 16
    with reqcast.open(c.folder / "short.db", view_dir=c.view, create=True, retain=retain) as db:
        def horizon():
            return db.stats()["horizon"]
        deadline = time.monotonic() + 60
        while horizon() < 8 and time.monotonic() < deadline:
            with db.write() as txn:
                txn.put("workspaces", name="x")
            time.sleep(0.02)
        limit("history for cursors")
        for _ in range(50):  # until view and database tell of the same horizon
            with db.write() as txn:
                txn.put("workspaces", name="x")
            at = horizon()
            with db.read() as view:
                seen = {code(view.changes, None, at), code(view.changes, None, at - 1)}
                kept = view.position.seq - at
            if at == horizon() and seen == {Code.OK, Code.TOO_OLD}:
                break
            time.sleep(0.1)
        tap.equal(seen, {Code.OK, Code.TOO_OLD}, "a cursor at the horizon, and one behind it")
        tap.ok(kept >= retain, "as much history is kept as was asked for")
    most = limit("`retain`")
    both("retain", lambda: reqcast.open(c.folder / "r.db", view_dir=c.view, create=True, retain=most),
         lambda: reqcast.open(c.folder / "s.db", view_dir=c.view, create=True, retain=most + 1))
    tap.equal(code(reqcast.open, c.folder / "r.db", view_dir=c.view), Code.OK, "it opens again")
    tap.ok(not (c.folder / "s.db").exists(), "what was refused made no file")


# ---- Files ---------------------------------------------------------------------------------------


def check_files(c: cli.Cli) -> None:
    def create(path):
        return lambda: reqcast.open(path, view_dir=c.view, create=True)
    most = limit("name of its file")
    both("a name", create(c.folder / ("n" * most)), create(c.folder / ("n" * (most + 1))))
    most = limit("path of a database")
    folder = str(c.folder.resolve())
    while len(folder) < most - 150:
        folder += "/" + "d" * 100
        os.mkdir(folder)
    name = "p" * (most - len(folder) - 1)
    both("a path", create(f"{folder}/{name}"), create(f"{folder}/{name}p"))
    tap.equal(code(reqcast.attach, f"{folder}/{name}", view_dir=c.view), Code.OK, "others attach to it")
    c.fails(3, "at most 504", "--db", f"{folder}/{name}p", "init")
    least = limit("smallest map")
    for asked in (1, least):
        with reqcast.open(c.folder / "small.db", view_dir=c.folder / "view", create=True,
                          view_map_bytes=asked) as db:
            with db.write() as txn:
                txn.put("workspaces", name="x" * 20000)
            tap.ok(db.stats()["view_map_bytes"] >= least, f"a map of {asked}")


# ---- Input of the command line -------------------------------------------------------------------


def check_files_read(c: cli.Cli) -> None:
    """What a file to import says beyond what a table holds."""
    def imported(name, entries, **more):
        har = {"log": {"entries": entries, **more}}
        return c.run("--json", "import", "-w", name, "-", stdin=json.dumps(har).encode())

    def entry(at, size):
        return {"startedDateTime": at, "request": {"method": "GET", "url": "https://a.test/"},
                "response": {"status": 200, "content": {"size": size}}}
    most = limit("a number in a file, either way")
    for given in (most - 1, most, 2 * most):
        imported(f"size {given}", [entry("2025-01-01T00:00:00Z", given)])
        [row] = c.rows("http_response", "http_id IN (SELECT id FROM http WHERE workspace_id ="
                       " (SELECT id FROM workspaces WHERE name = ?))", f"size {given}")
        tap.equal(row["size"], min(given, most), f"a size of {given}")
    limit("year of a start time")
    for year, said in (("0000", True), ("0001", False), ("9999", False), ("10000", True)):
        r = imported(f"year {year}", [entry(f"{year}-06-01T00:00:00Z", 1)])
        tap.ok(r.status == 0 and bool(r.errors) == said, f"a start in the year {year}")
    most = limit("folders in folders of a collection")
    for n, status in ((most, 0), (most + 1, 3)):
        item = [{"name": "r", "request": {"method": "GET", "url": "https://a.test/"}}]
        for _ in range(n):
            item = [{"name": "f", "item": item}]
        schema = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
        data = json.dumps({"info": {"name": "deep", "schema": schema}, "item": item})
        r = c.run("import", "-w", "deep", "-", stdin=data.encode())
        tap.equal(r.status, status, f"folders {n} deep")
    most = limit("name of a workspace taken from a file")
    for n in (most, most + 1):
        data = {"info": {"name": "n" * n, "schema": schema}, "item": []}
        (c.folder / "file.json").write_text(json.dumps(data))
        got = c.one("import", c.folder / "file.json", quiet=False)
        tap.equal(got["workspace"], "n" * n if n == most else "file", f"a name of {n} bytes")


def check_input(c: cli.Cli) -> None:
    most = limit("options in one command")
    tap.equal([c.run("count", "shop", *["--until=9"] * n).status for n in (most, most + 1)], [0, 2],
              "options")
    most = limit("objects in objects in a line of `put`")
    for n, needle in ((most, "http.name"), (most + 1, f"deeper than {most}")):
        # The line itself is the first of them.
        deep = b'{"entity": "http", "name": ' + b'{"a":' * (n - 1) + b"1" + b"}" * n
        c.fails(3, ["line 1", needle], "put", stdin=deep, name=f"put: {n} deep")
    most = limit("objects in objects in a capture")
    for n, good in ((most - 2, True), (most + 1, False)):
        deep = b'{"log": {"x": ' + b"[" * (n - 2) + b"]" * (n - 2) + b', "entries": []}}'
        r = c.run("import", "-w", "shop", "-", stdin=deep)
        tap.equal((r.status, "depth" in r.errors), (0 if good else 3, not good), f"import: {n} deep")

    def entry(url):
        return {"startedDateTime": "2025-01-01T00:00:00Z", "request": {"method": "GET", "url": url},
                "response": {"status": 200}}
    most = limit("path in the name of an imported request")
    paths = ["x" * most, "x" * (most + 1), "é" * most]
    har = {"log": {"entries": [entry(f"https://a.test/{path}") for path in paths]}}
    c.json("import", "-w", "names", "-", stdin=json.dumps(har).encode())
    names = [r["name"] for r in c.rows("http", "url LIKE 'https://a.test/%'", order="length(url)")]
    tap.equal(sorted(names), sorted("GET " + p for p in (paths[0], paths[0], "é" * (most // 2))),
              "names of imported requests")
    check_files_read(c)
    most = limit("warnings of a file")
    for n in (most, most + 1):
        har = {"log": {"entries": [{}] * n + [entry("https://a.test/")]}}
        r = c.run("import", "-w", "shop", "-", stdin=json.dumps(har).encode())
        lines = r.errors.splitlines()
        tap.ok(len(lines) == n and ("1 message more" in lines[-1]) == (n > most),
               f"{n} warnings")
        r = c.run("--verbose", "import", "-w", "shop", "-", stdin=json.dumps(har).encode())
        tap.equal(r.errors.count("entry"), n, "--verbose shows all")


def main() -> None:
    check_values()
    with cli.database() as c:
        c.put(d.records())
        check_reads(c)
        check_history(c)
        check_files(c)
        check_input(c)
        check_records(c)
        tap.equal(c.one("verify")["differences"], 0, "verify")
    marked = {what for what, mark, _, _ in rows() if mark}
    tap.equal(marked ^ tried, set(), "what is marked was tried, and what was tried is marked")
    tap.done()


sys.exit(main())
