# SPDX-License-Identifier: Apache-2.0
"""The Python module: backup, restore, SQLite's own check, prune, and what is added to a database of
an application."""

import contextlib
import sqlite3
import sys
import time

import cli
import cli_data as d
import python_module
import tap
from python_module import fails, open_db

reqcast = python_module.load()
Code = reqcast.Code


def check_copies(c: cli.Cli) -> None:
    copy, told = c.folder / "copy.db", []
    with open_db(c) as db, reqcast.attach(c.db, view_dir=c.view) as other:
        made = db.backup(copy, progress=lambda *seen: told.append(seen))
        tap.equal((made.position, made.bytes, made.kept),
                  (db.position, copy.stat().st_size, None), "backup")
        tap.ok(told and told[-1][1] == told[-1][2] > 0 and isinstance(told[0][0], str), "progress")
        fails(Code.INVALID, "backup: a file is there", db.backup, copy, needle="copy.db")
        fails(Code.INVALID, "backup: a zero byte", db.backup, "a\0b")
        with db.write() as txn:
            txn.put("workspaces", name="later")
        tap.equal(other.backup(str(copy), replace=True).position, txn.result.position,
                  "backup, attached, in its place")
        fails(Code.BUSY, "restore: somebody has it open", reqcast.restore, c.db, copy)
        with db.write() as txn:
            lost = txn.put("workspaces", name="after the backup")
    fails(Code.CLOSED, "backup of what is closed", db.backup, c.folder / "x")
    fails(Code.NOT_FOUND, "restore: no backup", reqcast.restore, c.db, c.folder / "nosuch")
    told.clear()
    back = reqcast.restore(c.db, copy, progress=lambda *seen: told.append(seen))
    tap.ok(told and back.kept and back.position.seq + 1 == txn.result.position.seq, "restore")
    with contextlib.closing(sqlite3.connect(back.kept)) as old:
        tap.equal(old.execute("SELECT count(*) FROM workspaces WHERE id = ?", (lost,)).fetchone(),
                  (1,), "the old file is kept")
    with open_db(c) as db:
        with db.read() as view:
            tap.equal(view.get("workspaces", lost), None, "it is as it was")
        fails(Code.EPOCH_CHANGED, "positions of before", db.wait, txn.result.position, 0)


def check_integrity(c: cli.Cli) -> None:
    with open_db(c) as db:
        for quick in (False, True):
            tap.equal(db.integrity(quick), ([], 0), "a sound file")
    with contextlib.closing(sqlite3.connect(c.db)) as other:
        other.execute("PRAGMA writable_schema = ON")
        [(good,)] = other.execute("SELECT sql FROM sqlite_master WHERE name = 'http_method_idx'")
        change = "UPDATE sqlite_master SET sql = ? WHERE name = 'http_method_idx'"
        other.execute(change, ("CREATE INDEX http_method_idx ON http (name)",))
        other.commit()
        with open_db(c) as db:
            found = db.integrity()
            tap.ok(0 < found.count == len(found.faults)
                   and all("http_method_idx" in f for f in found.faults), "an index that is wrong")
            tap.equal(db.integrity(quick=True).count, 0, "which a quick look leaves out")
        other.execute(change, (good,))
        other.commit()
    fails(Code.CLOSED, "integrity of what is closed", db.integrity)


def check_prune(c: cli.Cli) -> None:
    now = int(time.time())
    with open_db(c) as db:
        for days in (40, 30, 20, 0):
            with db.read() as view, db.write() as txn:
                txn.snapshot(view, d.BASES[2], version_name=str(days), at=now - days * d.DAY)
        left = "SELECT version_name FROM http_version WHERE http_id = ? ORDER BY created_at"
        gone = db.prune(d.SHOP, keep=3)
        tap.equal(gone[:3], (1, 1, 3), "prune: the counts")
        tap.equal(gone.position, db.position, "prune: the position")
        tap.equal(c.sql(left, cli.unulid(d.BASES[2])), [("30",), ("20",), ("0",)], "by number")
        db.prune(d.SHOP, keep=1, older_than=25 * d.DAY)
        tap.equal(c.sql(left, cli.unulid(d.BASES[2])), [("20",), ("0",)], "beyond both")
        tap.equal([db.prune(d.SHOP, older_than=25 * d.DAY).snapshots for _ in range(2)], [1, 0],
                  "by age; then nothing more is old")
        for bad in ({}, {"keep": -1}, {"older_than": -1}, {"older_than": 2**40}, {"keep": 1.5}):
            fails(Code.INVALID, f"prune: {bad}", db.prune, d.SHOP, **bad)
        with reqcast.attach(c.db, view_dir=c.view) as other:
            fails(Code.READ_ONLY, "prune, attached", other.prune, d.SHOP, keep=1)


def check_capture(c: cli.Cli) -> None:
    with open_db(c):
        fails(Code.BUSY, "capture_remove: an owner lives", reqcast.capture_remove, c.db)
    there = reqcast.capture_plan(c.db)
    tap.ok(len(there) > 10 and all(p.there for p in there), "all is there")
    tap.equal({p.kind for p in there}, {"table", "trigger", "setting"}, "kinds")
    tap.ok(all((p.table is not None) == (p.kind == "trigger") for p in there), "triggers' tables")
    removed = reqcast.capture_remove(c.db)
    tap.ok({p.name for p in removed if p.there} == {p.name for p in there}, "all is taken out")
    triggers = "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'"
    tap.equal(c.sql(triggers), [(0,)], "out of the file")
    planned = reqcast.capture_plan(c.db)
    tap.ok([p.name for p in planned] == [p.name for p in there]
           and not any(p.there for p in planned), "and would be added again")
    for function in (reqcast.capture_plan, reqcast.capture_remove):
        fails(Code.NOT_FOUND, f"{function.__name__}: no file", function, c.folder / "nosuch")
    fails(Code.UNAVAILABLE, "sidecar_url: there is none", reqcast.sidecar_url, c.db)


def main() -> None:
    with cli.database() as c:
        c.put(d.records())
        check_copies(c)
        check_integrity(c)
        check_prune(c)
        check_capture(c)
    tap.done()


sys.exit(main())
