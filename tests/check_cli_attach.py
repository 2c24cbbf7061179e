# SPDX-License-Identifier: Apache-2.0
"""attach adds our tables and triggers to an application's database and nothing else; detach takes
every trace of them out."""

import contextlib
import hashlib
import os
import sqlite3
import sys

import cli
import tap


def application(c: cli.Cli, journal="delete") -> None:
    """A database as an application has it, with things in it that are not ours to touch."""
    with contextlib.closing(sqlite3.connect(c.db)) as db:
        db.execute(f"PRAGMA journal_mode = {journal}")
        db.executescript((cli.ROOT / "persist/schema.sql").read_text())
        db.executescript("""
            CREATE TABLE flow (id BLOB PRIMARY KEY, name TEXT);
            CREATE VIEW urls AS SELECT url FROM http;
            CREATE TRIGGER flow_guard BEFORE DELETE ON flow BEGIN SELECT 1; END;
            INSERT INTO flow VALUES (x'01', 'f');""")
        w, h = cli.fake_id(1, 1), cli.fake_id(3, 1)
        db.execute("INSERT INTO workspaces (id, name) VALUES (?, 'shop')", (w,))
        db.execute("INSERT INTO http (id, workspace_id, name, url, method) VALUES "
                   "(?, ?, 'n', 'u', 'GET')", (h, w))
        db.commit()


def content(c: cli.Cli):
    """Schema, rows and journal mode."""
    with contextlib.closing(sqlite3.connect(c.db)) as db:
        schema = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master "
                            "ORDER BY type, name").fetchall()
        rows = {n: db.execute(f'SELECT * FROM "{n}" ORDER BY 1').fetchall()
                for t, n, *_ in schema if t == "table"}
        return schema, rows, db.execute("PRAGMA journal_mode").fetchone()[0]


def files(c: cli.Cli):
    return sorted(str(p.relative_to(c.folder)) for p in c.folder.rglob("*"))


def check_round(journal: str) -> None:
    with cli.database(init=False) as c:
        application(c, journal)
        before, beside = content(c), files(c)
        digest = hashlib.sha256(c.db.read_bytes()).hexdigest()
        *planned, last = c.json("attach", "--dry-run")
        tap.equal((last["dry_run"], last["added"]), (True, len(planned)), "dry run: its answer")
        tap.equal(set(last), {"db", "dry_run", "added"}, "dry run: keys")
        tap.equal((hashlib.sha256(c.db.read_bytes()).hexdigest(), files(c)), (digest, beside),
                  f"{journal}: a dry run leaves no trace")
        *added, last = c.json("attach")
        tap.equal(added, planned, "what is added is what the dry run said")
        tap.ok(cli.position_ok(last) and not last["dry_run"], "attach: its answer")
        schema, rows, mode = content(c)
        new = [s for s in schema if s not in before[0]]
        tap.equal({(k, n) for k, n, *_ in new if not n.startswith("sqlite_")},
                  {(p["kind"], p["name"]) for p in planned if p["kind"] != "setting"},
                  "exactly that is new")
        tap.ok(all(n.startswith("reqcast_") or n == "change_log" for _, n, *_ in new
                   if not n.startswith("sqlite_")), "and has our names")
        tap.equal({n: r for n, r in rows.items() if n in before[1]}, before[1],
                  "the application's rows are as they were")
        tap.equal(mode, "wal", "journal mode")
        tap.equal(("setting" in {p["kind"] for p in planned}), journal != "wal",
                  "which the dry run told")
        tap.equal(c.one("attach")["added"], 0, "a second time there is nothing to add")
        tap.ok("nothing to add" in c.text("attach", "--dry-run"), "as text")
        tap.equal(c.one("count", "shop")["count"], 1, "the application's records are there")
        *removed, last = c.json("detach")
        tap.equal(last["removed"], len(removed), "detach: its answer")
        tap.equal({p["name"] for p in removed}, {p["name"] for p in planned}, "all of it goes")
        tap.equal(content(c), before, f"{journal}: schema, rows and journal mode are as before")
        left = [f for f in files(c) if f not in beside and not f.endswith(f"reqcast-{os.getuid()}")]
        tap.equal(left, [], "no file is left, and no view")
        tap.equal(c.one("detach")["removed"], 0, "a second time there is nothing to take out")
        tap.equal(content(c), before, "and nothing changes")
        tap.ok(c.json("attach")[-1]["added"] > 0, "it can be attached again")
        tap.equal(c.json("verify")[-1]["differences"], 0, "and works")


def check_in_use() -> None:
    with cli.database(init=False) as c:
        application(c)
        before = content(c)
        c.json("attach")
        other = sqlite3.connect(c.db)
        other.execute("SELECT count(*) FROM http").fetchone()
        c.json("detach")
        tap.equal(content(c)[:2], before[:2], "beside another program everything goes")
        tap.equal(other.execute("SELECT count(*) FROM http").fetchone(), (1,), "which works on")
        other.execute("UPDATE http SET url = 'v'")
        other.commit()
        other.close()
        tap.equal(content(c)[1]["http"][0][4], "v", "and writes")


def check_refused() -> None:
    with cli.database(init=False) as c:
        c.fails(1, "no database", "attach")
        c.fails(1, "no such file", "detach")
        c.db.touch()
        c.fails(1, "no database", "attach")
        c.fails(1, "no database", "attach", "--dry-run")
        tap.equal(files(c), ["t.db", "view"], "nothing is made")
    with cli.database(init=False) as c:
        with c.sqlite() as db:
            db.execute("CREATE TABLE cookies (host)")
        before = content(c), files(c)
        c.fails(3, "another program's", "attach")
        c.fails(3, "another program's", "attach", "--dry-run")
        tap.equal((content(c), files(c)), before, "another program's database stays as it is")
        tap.equal(c.one("detach")["removed"], 0, "detach finds nothing there")
        tap.equal((content(c), files(c)), before, "and changes nothing")
    with cli.database(init=False) as c:
        application(c)
        with c.sqlite() as db:
            db.execute("CREATE TABLE change_log (what TEXT)")
            db.execute("INSERT INTO change_log VALUES ('mine')")
        before = content(c)
        c.fails(3, "change_log", "attach")
        tap.equal(content(c)[:2], before[:2], "a table change_log of the application is not used")
        c.json("detach")
        tap.equal(content(c)[:2], before[:2], "nor dropped")
    with cli.database() as c:
        with c.sqlite() as db:
            db.execute("UPDATE reqcast_meta SET value = 99 WHERE key = 'format'")
        c.fails(5, "version", "attach")
        c.fails(5, "version", "detach")
        tap.ok(c.sql("SELECT count(*) FROM reqcast_meta")[0][0] > 5, "a newer version's is left alone")


def main() -> None:
    check_round("delete")
    check_round("wal")
    check_round("persist")
    check_in_use()
    check_refused()
    tap.done()


sys.exit(main())
