# SPDX-License-Identifier: Apache-2.0
"""The Python module: its reads are what SQLite says they should be, its writes arrive, and whatever
is used after its end raises."""

import contextlib
import gc
import os
import subprocess
import sys
import tempfile
import threading

import cli
import cli_data as d
import python_module
import tap
from python_module import fails, open_db

reqcast = python_module.load()
Code = reqcast.Code


def plain(record):
    """A record as an answer of the command line has it, without its seq."""
    out = {"entity": record.entity}
    for column, value in record.items():
        value = str(value) if isinstance(value, reqcast.Id) else value
        out[column] = d.encoded(value) if isinstance(value, bytes) else value
    return out


# ---- Reads, compared with SQLite -----------------------------------------------------------------


def check_lists(c: cli.Cli, view) -> None:
    base = "workspace_id = ? AND is_delta = 0 AND is_snapshot = 0"
    whole = c.rows("http", base, cli.unulid(d.SHOP), order="updated_at DESC, id")
    for size in (1, 3, 1000):
        tap.equal([plain(r) for r in view.walk(d.SHOP, size=size)], whole, f"walk by {size}")
    tap.equal(view.count(d.SHOP), len(whole), "count")
    posts = [r for r in whole if r["method"] == "POST"]
    tap.equal([plain(r) for r in view.walk(d.SHOP, method="POST")], posts, "walk: one method")
    until = d.T0 - 4 * d.DAY
    tap.equal([plain(r) for r in view.walk(d.SHOP, until, size=2)],
              [r for r in whole if r["updated_at"] <= until], "walk: until")
    page = view.page(d.SHOP, limit=7)
    *shown, end = c.json("page", "shop", "--limit", 7)
    tap.equal((len(page), page.next), (len(shown), end["next"]), "a page's cursor is the program's")
    tap.equal(plain(view.page(d.SHOP, limit=1, cursor=page.next)[0]), whole[7], "goes on behind it")
    tap.equal(view.page(d.SHOP).next, None, "the last page has none")
    since = d.T0 - 6 * d.DAY
    window = "workspace_id = ? AND is_snapshot = 0 AND updated_at > ?"
    want = c.rows("http", window, cli.unulid(d.SHOP), since, order="updated_at, id")
    page = view.updates(d.SHOP, since, limit=2)
    got = list(page)
    while page.next:
        page = view.updates(d.SHOP, since, limit=2, cursor=page.next)
        got += page
    tap.equal([plain(r) for r in got], want, "updates")
    got = view.batch([d.BASES[3], bytes(16), d.BASES[0], d.BASES[3]])
    tap.equal([str(r.id) for r in got], [d.BASES[0], d.BASES[3]], "batch")
    got = view.deltas([d.DELTA, d.BASES[0]])
    tap.equal({str(r.id) for r in got}, {d.DELTA, d.DELTA_2, d.DEEP}, "deltas")
    tap.equal(len(view.deltas([d.BASES[0]], until=0)), 0, "deltas: until")
    got = view.children("http_header", [d.BASES[0], d.DELTA])
    tap.equal(len(got), 4, "children: enabled ones")
    tap.equal(len(view.children("http_header", [d.BASES[0], d.DELTA], all=True)), 5, "all of them")
    tap.equal([plain(r) for r in view.workspaces()], c.rows("workspaces"), "workspaces")


def check_single(c: cli.Cli, view) -> None:
    for entity in cli.ENTITIES:
        for row in c.rows(entity):
            got = view.get(entity, row["id"])
            if plain(got) != row:
                tap.equal(plain(got), row, f"get {entity}")
                return
        tap.equal((plain(got), list(got), len(got)), (row, list(row)[1:], len(row) - 1),
                  f"get {entity}: every record")
    tap.equal({e: list(columns) for e, columns in cli.ENTITIES.items()}, reqcast.entities(),
              "entities and columns are those of docs/format.md")
    shown = c.one("get", "http", d.BASES[0])
    got = view.get("http", d.BASES[0])
    tap.equal((got.seq, got.updated, got.entity, str(got.id)),
              (shown["seq"], shown["updated_at"], "http", d.BASES[0]), "seq, updated, entity, id")
    tap.equal(view.get("http", cli.unulid(d.OTHER)), None, "get of none")
    m, shown = view.metrics(d.SHOP), c.one("metrics", "shop")
    tap.equal(m._asdict(), {k: shown[k] for k in m._fields}, "metrics")
    m = view.metrics(d.TWIN_1)
    tap.equal((m.total, m.latest, m.earliest), (0, None, None), "metrics of nothing")
    got = [(a.changes, a.deltas, a.bases) for a in view.activity(d.SHOP)]
    shown = c.json("activity", "shop")
    tap.equal(got, [(o["changes"], o["deltas"], o["bases"]) for o in shown], "activity")
    tap.equal(len(view.activity(d.SHOP, max=1)), 1, "activity: at most")


def check_resolved(c: cli.Cli, view) -> None:
    for delta in (None, d.DELTA, d.DELTA_2):
        got = view.resolve(d.BASES[0], delta)
        shown = c.one("resolve", d.BASES[0], *(["--delta", delta] if delta else []))
        for key in ("headers", "params", "form", "urlencoded", "asserts"):
            tap.equal([{**plain(i), "origin": i.origin} for i in getattr(got, key)],
                      [{k: v for k, v in o.items() if k != "seq"} for o in shown[key]],
                      f"resolve with {delta}: {key}")
        tap.equal({**plain(got.http), "origin": got.http.origin},
                  {k: v for k, v in shown["http"].items() if k != "seq"}, "resolve: the request")
        tap.equal((str(got.raw.id), d.encoded(got.raw.bytes), got.raw.origin, got.raw.compression),
                  tuple(shown["raw"][k] for k in ("id", "raw_data", "origin", "compression_type")),
                  "resolve: the body")
        tap.equal(view.large(got.raw.source, got.raw.column), d.BYTES, "where it comes from")
    tap.equal(view.resolve(d.BASES[5]).raw, None, "resolve: no body")
    got = view.chain(d.BASES[0])
    shown = c.one("chain", d.BASES[0])
    tap.equal(plain(got), {k: v for k, v in shown.items() if k != "seq"}, "chain")
    tap.equal([str(r.id) for r in got.records], [d.BASES[0], d.DELTA, d.DEEP], "chain: records")
    tap.equal(view.chain(d.DELTA), None, "chain of a delta")
    fails(Code.INVALID, "resolve: a foreign delta", view.resolve, d.BASES[1], d.DELTA)
    fails(Code.NOT_FOUND, "resolve: none", view.resolve, d.OTHER)


def check_changes(c: cli.Cli, db) -> None:
    with db.read() as view:
        for workspace in (d.SHOP, None):
            found, since = [], 0
            for _ in range(100):
                changes = view.changes(workspace, since, limit=5)
                found += [(x.op, x.entity, str(x.id), x.seq, x.record["id"]) for x in changes]
                since = changes.next
                if changes.up_to_date:
                    break
            if workspace:
                *shown, end = c.json("changes", "shop")
                tap.equal(found, [(o["op"], o["entity"], o["id"], o["seq"],
                                   cli.unulid(o["id"])) for o in shown], "changes, by 5")
            else:
                tap.equal(len(found), len(list(d.records())), "changes of all workspaces")
        tap.equal(since, str(view.position), "the last cursor is the position")
        middle = view.changes(d.SHOP, 0, limit=5).next
        *rest, _ = c.json("changes", "shop", "--since", middle)
        tap.equal(len(view.changes(d.SHOP, middle)), len(rest), "the program takes its cursor")
        position = view.position
        fails(Code.FUTURE, "changes", view.changes, None, position.seq + 1)
        fails(Code.EPOCH_CHANGED, "changes", view.changes, None, position._replace(term=9))
        for bad in ("x", "1/http", "1/http/x/3", "1/nope/" + d.SHOP + "/3", "-1", "", "1/http/"
                    + d.SHOP + "/x", None):
            fails(Code.INVALID, f"changes since {bad}", view.changes, None, bad)
    with db.write() as txn:
        txn.delete("http_header", d.HEADERS[3])
    with db.read() as view:
        changes = view.changes(d.SHOP, since)
        tap.equal([x[:3] + (x.record,) for x in changes],
                  [("delete", "http_header", reqcast.Id(d.HEADERS[3]), None)], "a delete")


# ---- Values --------------------------------------------------------------------------------------


def check_values(c: cli.Cli, db) -> None:
    with db.write() as txn:
        shop = txn.put("workspaces", name="Ünï 漢 😀 \x01", display_order=-0.5)
        request = txn.put("http", workspace_id=shop, name="n", method="GET", url="u",
                          last_run_at=-2**63, is_delta=False)
        body = txn.put("http_body_raw", http_id=request, raw_data=bytes(range(256)) * 2)
        large = txn.put("http_body_raw", http_id=reqcast.Id(d.BASES[5]),
                        raw_data=memoryview(b"\0\xff" * 20000))
        fails(Code.INVALID, "a text with a zero byte", txn.put, "http", None, workspace_id=shop,
              name="a\0b", method="GET", url="u", needle="http.name")
        fails(Code.INVALID, "a lone surrogate", txn.patch, "http", request, name="\ud800")
        fails(Code.INVALID, "no UTF-8", txn.patch, "http", request, name="\udcff", needle="UTF-8")
        fails(Code.INVALID, "an integer beyond 64 bits", txn.patch, "http", request,
              last_run_at=2**63, needle="64")
        fails(Code.INVALID, "no value", txn.patch, "http", request, name=[], needle="list")
        fails(Code.INVALID, "a type", txn.patch, "http", request, name=5, needle="http.name")
        fails(Code.INVALID, "NaN", txn.put, "workspaces", name="x", display_order=float("nan"))
        fails(Code.INVALID, "a text for an id", txn.patch, "http", request, folder_id=d.FOLDER)
        fails(Code.INVALID, "no such column", txn.patch, "http", request, nope=1, needle="nope")
        fails(Code.INVALID, "no such entity", txn.put, "https", needle="https")
        fails(Code.INVALID, "the key", txn.patch, "http", request, id=request)
        fails(Code.INVALID, "a negative seq", txn.patch, "http", request, name="x", if_seq=-1)
    tap.equal(txn.result.written, 4, "what was refused left the transaction as it was")
    with db.read() as view:
        w, r, b = view.get("workspaces", shop), view.get("http", request), view.get("http_body_raw",
                                                                                    body)
        tap.equal((w["name"], w["display_order"]), ("Ünï 漢 😀 \x01", -0.5), "text, real")
        tap.equal((r["last_run_at"], r["is_delta"], r["folder_id"]), (-2**63, False, None),
                  "integer, boolean, NULL")
        tap.ok(isinstance(r["is_delta"], bool) and isinstance(r["workspace_id"], reqcast.Id)
               and r["workspace_id"] == shop, "booleans are bool, ids Id")
        tap.equal(b["raw_data"], bytes(range(256)) * 2, "bytes with zeros")
        record = view.get("http_body_raw", large)
        tap.ok(isinstance(record["raw_data"], reqcast.Large)
               and record["raw_data"].length == 40000, "a large value")
        tap.equal(view.large(record, "raw_data"), b"\0\xff" * 20000, "its bytes")
        tap.equal(view.value(record, "raw_data"), b"\0\xff" * 20000, "value gives them, too")
        tap.equal(view.value(r, "name"), "n", "and what is not large")
        fails(Code.INVALID, "large of an integer", view.large, record, "created_at")
        for name, function in (("a column that is not there", lambda: r["nope"]),
                               ("large of one", lambda: view.large(r, "nope"))):
            try:
                function()
                tap.ok(False, f"{name}: KeyError")
            except KeyError as e:
                tap.ok("nope" in str(e), f"{name}: KeyError")
        tap.equal(r.get("nope", 7), 7, "get with a default")
        before = view.get("http_body_raw", large)
        with db.write() as txn:
            txn.patch("http_body_raw", large, raw_data=b"x")
        fails(Code.CHANGED, "large of what changed", view.large, before, "raw_data")
    c.sql("UPDATE http SET name = CAST(x'61ff' AS TEXT) WHERE id = ?", bytes(request))
    db.sync()
    with db.read() as view:
        tap.equal(view.get("http", request)["name"], "a\udcff", "text that is no UTF-8")
    tap.equal(len({reqcast.new_id() for _ in range(100)}), 100, "new ids differ")
    new = reqcast.new_id()
    for form in (str(new), str(new).lower(), new.hex(), bytes(new), bytearray(new), new):
        tap.equal(reqcast.Id(form), new, f"an id from {type(form).__name__} {form}")
    for bad in ("", "x", str(new) + "0", str(new)[:25] + "\0", b"x" * 15, 5, None, "é" * 26):
        fails(Code.INVALID, f"no id: {bad!r}", reqcast.Id, bad)


def check_writes(db) -> None:
    with db.write() as txn:
        w = txn.put("workspaces", name="w")
        base = txn.put("http", workspace_id=w, name="n", method="GET", url="u")
        delta = txn.put("http", workspace_id=w, name="", method="", url="", is_delta=True,
                        parent_http_id=base, delta_url="v", delta_name="m")
    tap.ok(txn.result.written == 3 and txn.result.visible, "put")
    with db.write() as txn:
        txn.add("workspaces", w, name="other")
        txn.patch("http", delta, delta_url=None, delta_name=reqcast.ABSENT, delta_method="PUT")
    tap.equal((txn.result.skipped, txn.result.written), (1, 1), "add leaves what is there alone")
    with db.read() as view:
        r = view.get("http", delta)
        seq = r.seq
        tap.equal((r["delta_url"], r["delta_name"], r["delta_method"]), (None, "m", "PUT"),
                  "patch: NULL, absent and a value")
        tap.equal(view.get("workspaces", w)["name"], "w", "add")
    with db.write() as txn:
        txn.patch("http", delta, delta_name="x", if_seq=seq)
    txn = db.write()
    txn.patch("http", delta, delta_name="y", if_seq=seq)
    fails(Code.CHANGED, "patch of what changed since", txn.commit, needle=str(delta))
    txn.end()
    fails(Code.CLOSED, "an ended transaction", txn.put, "workspaces", name="x")
    txn = db.write()
    txn.delete("http", reqcast.new_id())
    fails(Code.NOT_FOUND, "delete of none", txn.commit)
    del txn
    with contextlib.suppress(ZeroDivisionError), db.write() as txn:
        txn.delete("workspaces", w)
        raise ZeroDivisionError
    tap.equal(txn.result, None, "a block that raises commits nothing")
    with db.read() as view:
        tap.ok(view.get("workspaces", w) is not None, "and what was there stays")
    with db.write() as txn:
        txn.patch("http", base, name="1")
        first = txn.commit()
        txn.patch("http", base, name="2")
    tap.ok(txn.result.position.seq > first.position.seq > 0, "commit within the block goes on")

    def constraint():
        with db.write() as txn:
            txn.put("http", workspace_id=reqcast.new_id(), name="n", method="GET", url="u")
    fails(Code.CONSTRAINT, "a workspace that is not there", constraint)
    with db.write() as txn:
        txn.delete("workspaces", w)
    tap.equal(txn.result.deleted, 3, "delete counts what hangs on it")


# ---- Ends ----------------------------------------------------------------------------------------


def check_ended(c: cli.Cli) -> None:
    db = open_db(c)
    with db.read() as view:
        record, chain, resolved = view.get("http", d.BASES[0]), view.chain(d.BASES[0]), \
            view.resolve(d.BASES[0], d.DELTA)
        changes, walk = view.changes(d.SHOP), view.walk(d.SHOP, size=2)
        kept = dict(record)
        next(walk)
    uses = {"a field": lambda: record["url"], "its seq": lambda: record.seq,
            "dict": lambda: dict(record), "a chain": lambda: chain["url"],
            "a resolved request": lambda: resolved.http["url"],
            "a resolved header": lambda: resolved.headers[0]["header_key"],
            "an override's record": lambda: resolved.headers[0].record["id"],
            "a body's source": lambda: resolved.raw.source["id"],
            "a change's record": lambda: changes[0].record["id"],
            "a walk": lambda: list(walk), "get": lambda: view.get("http", d.BASES[0]),
            "large": lambda: view.large(record, "url"), "position": lambda: view.position,
            "page": lambda: view.page(d.SHOP), "changes": lambda: view.changes(),
            "resolve": lambda: view.resolve(d.BASES[0]), "enter": view.__enter__}
    for name, use in uses.items():
        fails(Code.CLOSED, f"after the session's end: {name}", use)
    tap.ok("ended" in repr(record) and "ended" in repr(chain), "repr tells, and raises nothing")
    tap.ok(kept["url"] and changes[0].entity and str(changes[0].id), "copies stay")
    view.end()
    with db.read() as other:
        fails(Code.INVALID, "large of another session's record", other.large, record,
              "url")
    left, txn = db.read(), db.write()
    record = left.get("http", d.BASES[0])
    txn.delete("http", d.BASES[0])
    db.close()
    db.close()
    for name, use in {"a record": lambda: record["url"], "a session": lambda: left.position,
                      "read": db.read, "write": db.write, "commit": txn.commit, "sync": db.sync,
                      "stats": db.stats, "verify": db.verify}.items():
        fails(Code.CLOSED, f"after the database was closed: {name}", use)
    left.end()
    txn.end()
    del left, txn, record, db
    with open_db(c, max_age_ms=300) as db, db.read() as view:
        record = view.get("http", d.BASES[0])
        threading.Event().wait(0.5)
        fails(Code.EXPIRED, "a session that is too old", view.get, "http", d.BASES[0])
        tap.ok(record["url"], "what it gave can be read until its end")
    with open_db(c) as db:  # what nobody holds ends by itself
        for _ in range(2000):
            db.read().get("http", d.BASES[0])
            db.write().put("workspaces", name="never")
        gc.collect()
        tap.ok(len(db._idle) == 1 and db.stats()["readers"] <= 2, "sessions are used again")


def check_forked(c: cli.Cli) -> None:
    with open_db(c) as db, db.read() as view:
        record = view.get("http", d.BASES[1])
        child = os.fork()
        if child == 0:
            codes = []
            for use in (lambda: record["url"], db.read, db.stats, lambda: view.page(d.SHOP)):
                try:
                    use()
                except reqcast.Error as e:
                    codes.append(e.code)
            view.end()
            db.close()
            os._exit(0 if codes == [Code.CLOSED] * 4 else 1)
        tap.equal(os.waitpid(child, 0)[1], 0, "a forked child is refused everything")
        tap.ok(record["url"], "the parent's session goes on")


def check_processes(c: cli.Cli) -> None:
    with open_db(c) as db, reqcast.attach(c.db, view_dir=c.view) as other:
        fails(Code.BUSY, "a second owner", open_db, c, needle=str(os.getpid()))
        fails(Code.READ_ONLY, "write, attached", other.write)
        fails(Code.READ_ONLY, "sync, attached", other.sync)
        with db.write() as txn:
            shop = txn.put("workspaces", name="new")
        with other.read() as view:
            tap.equal(view.get("workspaces", shop)["name"], "new", "what the owner wrote is seen")
        tap.equal((db.stats()["owner"], other.stats()["owner"]), (True, False), "stats")
        script = ("import sys, reqcast\nwith reqcast.attach(sys.argv[1]) as db, db.read() as view:\n"
                  "    print(view.get('workspaces', sys.argv[2])['name'])\n")
        r = subprocess.run([sys.executable, "-c", script, str(c.db), str(shop)], text=True,
                           capture_output=True, env=python_module.environment(), timeout=120)
        tap.equal((r.stdout, r.returncode), ("new\n", 0), "another process reads it")
        v = other.verify()
        tap.ok(v.differences == [] and v.records > 50 and len(v.digest) == 32, "verify")
    fails(Code.NOT_FOUND, "no database", reqcast.open, c.folder / "nosuch.db", needle="nosuch.db")
    fails(Code.INVALID, "a path with a zero byte", reqcast.open, "a\0b")
    said = []
    with tempfile.TemporaryDirectory() as folder:
        with reqcast.open(folder + "/x.db", create=True, view_dir=folder,
                          log=lambda level, text: said.append((level, text)),
                          progress=lambda what, done, total: said.append((done, what))) as db:
            db.sync()
    tap.ok(said and all(isinstance(text, str) for _, text in said), "log and progress are called")
    r = subprocess.run([sys.executable, "-c", "import reqcast"], capture_output=True, text=True,
                       env=python_module.environment(REQCAST_LIBRARY="/nosuch/lib.so"), timeout=120)
    tap.ok("ImportError" in r.stderr and "REQCAST_LIBRARY" in r.stderr, "no library: ImportError")


def check_arguments(db) -> None:
    with db.read() as view:
        for name, function, *args in (
                ("a limit that is too large", view.page, d.SHOP, reqcast.ANY_TIME, None, 100001),
                ("a negative limit", view.page, d.SHOP, reqcast.ANY_TIME, None, -1),
                ("a limit of 33 bits", view.page, d.SHOP, reqcast.ANY_TIME, None, 2**32),
                ("a time of 65 bits", view.count, d.SHOP, 2**63), ("no time", view.count, d.SHOP, "x"),
                ("no entity", view.get, "nope", d.SHOP), ("entity 4", view.get, 4, d.SHOP),
                ("children of files", view.children, "files", [d.SHOP]),
                ("one id for a list", view.batch, d.SHOP), ("a bad id in a list", view.batch, ["x"]),
                ("a method with a zero byte", view.page, d.SHOP, 0, "G\0T"),
                ("changes of none", view.changes, None, 0, 0)):
            fails(Code.INVALID, name, function, *args)
        for bad in ("5", "x.y", "5." + d.SHOP[:25], "", "--5." + d.SHOP, "9" * 19 + "." + d.SHOP):
            fails(Code.INVALID, f"a cursor {bad}", view.page, d.SHOP, cursor=bad)
        tap.equal((view.batch([]), view.page(d.SHOP, limit=0)), ([], []), "of nothing")


def check_threads(c: cli.Cli) -> None:
    """Readers and writers on one database, and one that ends sessions under another's hands."""
    failed, done = [], threading.Event()
    rounds = tap.scaled(40)

    def worker(function):
        try:
            function()
        except Exception as e:  # pylint: disable=broad-except
            failed.append(repr(e))

    def write(n):
        for i in range(rounds):
            with db.write() as txn:
                txn.patch("http", d.BASES[n], name=f"{n}-{i}")

    def read():
        while not done.is_set():
            with db.read() as view:
                at = view.position.seq
                records = list(view.walk(d.SHOP, size=3))
                if len(records) != 20 or any(r.seq > at or not r["url"] for r in records):
                    failed.append("a torn read")

    def pull_away():
        while not done.is_set():
            view = db.read()
            record = view.get("http", d.BASES[2])
            ender = threading.Thread(target=view.end)
            ender.start()
            try:
                for _ in range(50):
                    if not record["name"]:
                        failed.append("no name")
            except reqcast.Error as e:
                if e.code != Code.CLOSED:
                    failed.append(str(e))
            ender.join()

    with open_db(c) as db:
        writers = [threading.Thread(target=worker, args=(lambda n=n: write(n),)) for n in (2, 3, 4)]
        readers = [threading.Thread(target=worker, args=(f,)) for f in (read, read, pull_away)]
        for t in writers + readers:
            t.start()
        for t in writers:
            t.join()
        done.set()
        for t in readers:
            t.join()
        tap.equal(failed, [], "threads read and write")
        with db.read() as view:
            tap.equal([view.get("http", d.BASES[n])["name"] for n in (2, 3, 4)],
                      [f"{n}-{rounds - 1}" for n in (2, 3, 4)], "the last write of each")
    db = open_db(c)
    codes = set()

    def until_closed():
        try:
            while True:
                with db.write() as txn:
                    txn.patch("http", d.BASES[2], name="x")
                with db.read() as view:
                    view.page(d.SHOP)
        except reqcast.Error as e:
            codes.add(e.code)
    workers = [threading.Thread(target=until_closed) for _ in range(3)]
    for t in workers:
        t.start()
    threading.Event().wait(0.1)
    db.close()
    for t in workers:
        t.join()
    tap.equal(codes, {Code.CLOSED}, "close under the hands of threads: each is told")


def check_example() -> None:
    with tempfile.TemporaryDirectory(prefix="reqcast-test-") as folder:
        command = [sys.executable, str(cli.ROOT / "docs/examples/embedded.py")]
        for page in (1, 2):
            r = subprocess.run([*command, folder + "/x.db"], capture_output=True, text=True,
                               env=python_module.environment(), timeout=120)
            want = f"https://api.example.com/items at position {1 + 3 * page}\n"
            tap.equal((r.returncode, r.stdout, r.stderr), (0, want, ""), f"the example: run {page}")
        r = subprocess.run([*command, folder + "/nosuch/x.db"], capture_output=True, text=True,
                           env=python_module.environment(), timeout=120)
        tap.ok(r.returncode == 1 and "nosuch" in r.stderr and "Traceback" not in r.stderr,
               "the example tells of a failure")
        python_module.forget_views(folder)


def main() -> None:
    with cli.database() as c:
        c.put(d.records())
        with open_db(c) as db:
            with db.read() as view:
                check_lists(c, view)
                check_single(c, view)
                check_resolved(c, view)
            check_changes(c, db)
            check_arguments(db)
            check_values(c, db)
            check_writes(db)
        check_ended(c)
        check_processes(c)
        check_threads(c)
        check_forked(c)
        tap.equal(c.one("verify")["differences"], 0, "verify at the end")
    check_example()
    tap.done()


sys.exit(main())
