# SPDX-License-Identifier: Apache-2.0
"""Databases that reqcast did not make: empty ones, other programs', and those of which a put is fed
what changes answered."""

import contextlib
import hashlib
import json
import os
import sqlite3
import sys

import cli
import tap


def trace(c: cli.Cli):
    """Every file beside the database, with what it holds."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest()
            for p in c.folder.iterdir() if p.is_file()}


def check_empty() -> None:
    with cli.database(init=False) as c:
        c.db.touch()
        before = trace(c)
        c.fails(1, "reqcast init", "stats")
        tap.equal(trace(c), before, "an empty file stays as it is")
        c.one("init")
        c.one("import", "-w", "shop", cli.ROOT / "docs/examples/shop.har")
        tap.ok(c.one("count", "shop")["count"] > 0, "init fills an empty file")

    # What an earlier version left: capture without a table.
    with cli.database() as c:
        with c.sqlite() as db:
            db.execute("PRAGMA foreign_keys = OFF")
            for [name] in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name "
                                     "NOT LIKE 'reqcast%' AND name <> 'change_log'").fetchall():
                db.execute(f"DROP TABLE {name}")
        c.one("stats", quiet=False)
        c.json("init", quiet=False)
        c.one("import", "-w", "shop", cli.ROOT / "docs/examples/shop.har")
        tap.equal(c.json("verify")[-1]["differences"], 0, "init makes tables that are missing")


def check_other_program() -> None:
    with cli.database(init=False) as c:
        with c.sqlite() as db:
            db.execute("CREATE TABLE cookies (host TEXT)")
            db.execute("INSERT INTO cookies VALUES ('a')")
        before = trace(c)
        for command in (["init"], ["stats"], ["verify"], ["workspaces", "--create", "w"],
                        ["import", cli.ROOT / "docs/examples/shop.har"]):
            c.fails(3, "another program's", *command)
        tap.equal(trace(c), before, "another program's database stays as it is, byte for byte")

    # An application's: none of its tables is made or altered, not even those that are missing.
    with cli.database(init=False) as c:
        with c.sqlite() as db:
            db.execute("CREATE TABLE workspaces (id BLOB PRIMARY KEY, name TEXT)")
        c.one("init")
        names = {n for [n] in c.sql("SELECT name FROM sqlite_master WHERE type = 'table'")}
        tap.ok("http" not in names and "workspaces" in names,
               "an application's tables are not added to")

    with cli.database(init=False) as c:
        c.db.write_bytes(b"no database at all, but long enough to be taken for one" * 40)
        before = trace(c)
        c.fails(5, "not a database", "stats")
        tap.equal({k: v for k, v in trace(c).items() if not k.endswith(".rqc-lock")}, before,
                  "a file that is no database stays as it is")


def check_put_back() -> None:
    """What changes answers can be put back, whatever came last."""
    with cli.database() as c, cli.database() as d:
        c.one("import", "-w", "shop", cli.ROOT / "docs/examples/shop.har")
        [shop] = c.json("workspaces")
        page = c.json("page", "shop")
        c.one("patch", "workspaces", shop["id"], "name=renamed")
        for r in page[:-1]:
            c.one("patch", "http", r["id"], "description=touched")
        changes = c.json("changes", "renamed")
        records = [{k: v for k, v in r.items() if k not in ("op", "seq")} for r in changes[:-1]]
        tap.ok(records[0]["entity"] != "workspaces", "children come before their parents")
        lines = "".join(json.dumps(r) + "\n" for r in records).encode()
        tap.equal(d.one("put", stdin=lines)["written"], len(records), "all of it is put back")
        for entity in ("workspaces", "http", "http_header", "http_response"):
            tap.equal(d.rows(entity), c.rows(entity), f"{entity}: the same rows")
        orphan = [r for r in records if r["entity"] == "http_header"][:1]
        with cli.database() as e:
            e.fails(3, ["http_header", "http_id"], "put",
                    stdin=(json.dumps(orphan[0]) + "\n").encode())


def check_integrity() -> None:
    with cli.database() as c:
        c.one("import", "-w", "shop", cli.ROOT / "docs/examples/shop.har")
        good = c.one("verify", "--integrity")
        tap.equal((good["faults"], good["differences"]), (0, 0), "a sound file")
        tap.ok("sound" in c.text("verify", "--integrity"), "as text")
        with contextlib.closing(sqlite3.connect(c.db)) as db:
            db.execute("PRAGMA writable_schema = ON")
            db.execute("UPDATE sqlite_master SET sql = 'CREATE INDEX http_method_idx ON http (name)'"
                       " WHERE name = 'http_method_idx'")
            db.commit()
        *faults, last = c.json("verify", "--integrity", status=1)
        tap.ok(0 < len(faults) == last["faults"] == last["differences"]
               and all("http_method_idx" in f["what"] for f in faults), "an index that is wrong")
        tap.equal(c.json("verify")[-1]["differences"], 0, "is not the view's fault")
        r = c.run("verify", "--integrity")
        tap.ok(r.status == 1 and "SQLite file" in r.text and "restore" in r.text, "as text")


def main() -> None:
    tap.note(f"SQLite {sqlite3.sqlite_version}, process {os.getpid()}")
    check_empty()
    check_other_program()
    check_put_back()
    check_integrity()
    tap.done()


sys.exit(main())
