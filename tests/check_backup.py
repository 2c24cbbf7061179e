# SPDX-License-Identifier: Apache-2.0
"""backup and restore: answers, a living owner, kill -9 at any moment, full disks."""

import contextlib
import os
import pty
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import cli
import tap

OWNER = """
import ctypes, os, sys
lib = ctypes.CDLL(os.environ["RQC_LIBRARY"])
db = ctypes.c_void_p()
status = lib.rqc_open(os.environ["REQCAST_DB"].encode(), None, ctypes.byref(db), None)
print(status, flush=True)
sys.stdin.read()
lib.rqc_close(db)
"""


@contextlib.contextmanager
def owner(c: cli.Cli):
    """A process that owns the database. Under a sanitizer a script cannot load the library."""
    if os.environ.get("RQC_SANITIZE", "none") != "none":
        yield None
        return
    p = subprocess.Popen([sys.executable, "-c", OWNER], env=c.env, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True)
    try:
        tap.equal(p.stdout.readline().strip(), "0", "an owner")
        yield p
    finally:
        p.communicate(timeout=60)


def fill(c: cli.Cli, bodies: int) -> None:
    c.one("import", "-w", "shop", cli.ROOT / "docs/examples/shop.har")
    with c.sqlite() as db:
        [workspace] = db.execute("SELECT id FROM workspaces").fetchone()
        for n in range(bodies):
            i = cli.fake_id(3, n)
            db.execute("INSERT INTO http (id, workspace_id, name, url, method) VALUES "
                       "(?, ?, 'n', 'u', 'GET')", (i, workspace))
            db.execute("INSERT INTO http_body_raw (id, http_id, raw_data) VALUES (?, ?, ?)",
                       (cli.fake_id(8, n), i, os.urandom(30000)))


def state(path):
    """What a database holds, and that it is sound."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        sound = db.execute("PRAGMA quick_check").fetchone()[0]
        return sound, [db.execute(f"SELECT count(*), coalesce(sum(length({b})), 0) FROM {t}")
                       .fetchone() for t, b in (("http", "url"), ("http_body_raw", "raw_data"),
                                                ("workspaces", "name"))]


def check_answers() -> None:
    with cli.database() as c:
        fill(c, 0)
        old = c.one("stats")
        made = c.one("backup", "b.db")
        tap.equal(set(made), {"file", "bytes", "seq", "position"}, "backup: its answer")
        tap.ok(cli.position_ok(made) and made["position"] == old["position"], "of the position")
        tap.equal(made["bytes"], (c.folder / "b.db").stat().st_size, "and its size")
        c.fails(3, ["b.db", "there already"], "backup", "b.db")
        tap.ok("position" in c.text("backup", "--force", "b.db"), "backup --force")
        c.fails(3, "missing", "backup", "missing/b.db")
        c.fails(3, "database itself", "backup", "--force", c.db)

        c.one("workspaces", "--create", "later")
        newer = c.one("stats")
        r = c.one("restore", "b.db", quiet=False)
        tap.equal(set(r), {"db", "from", "kept", "forked_at", "seq", "position"},
                  "restore: its answer")
        tap.ok(r["kept"].endswith(".before-restore"), "the old file has another name")
        tap.equal(r["forked_at"], made["seq"], "where the new term begins")
        term = int(old["position"].split("@")[0])
        tap.equal(int(r["position"].split("@")[0]), term + 1, "a new term")
        tap.equal([w["name"] for w in c.json("workspaces")], ["shop"], "the backup's content")
        tap.equal(c.json("verify")[-1]["differences"], 0, "the view is right")
        c.fails(4, "", "changes", "shop", "--since", newer["position"])
        c.fails(4, "", "changes", "shop", "--since", old["position"])
        tap.ok(len(c.json("changes", "shop", "--since", r["position"])) == 1, "the new term's goes")
        names = {p.name for p in c.folder.iterdir()}
        tap.equal({n for n in names if n.startswith("b.db")}, {"b.db"}, "the backup stays alone")
        tap.ok(not any(n.endswith("-tmp") for n in names), "no temporary file stays")
        (c.folder / "text").write_text("no backup")
        c.fails(5, ["text", "as it was"], "restore", "text")
        c.fails(1, "nowhere.db", "restore", "nowhere.db")

    # Into a place where nothing is.
    with cli.database(init=False) as d, cli.database() as c:
        fill(c, 0)
        c.one("backup", d.folder / "b.db")
        r = d.one("restore", "b.db", quiet=False)
        tap.equal(r["kept"], None, "nothing to keep")
        tap.equal(d.rows("http"), c.rows("http"), "the rows are there")


def check_owner() -> None:
    with cli.database() as c:
        fill(c, 5)
        c.one("stats")
        with owner(c) as p:
            if not p:
                tap.skip("a script cannot load the library of a sanitizer")
                return
            made = c.one("backup", "b.db")
            tap.equal(state(c.folder / "b.db"), state(c.db), "backup beside a living owner")
            tap.equal(made["seq"], c.head(), "at its position")
            before = state(c.db)
            c.fails(4, "in use", "restore", "b.db")
            tap.equal(state(c.db), before, "no restore beside a living owner")
        c.one("restore", "b.db", quiet=False)


NOBODY = 65534


def become_nobody():
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def check_read_only() -> None:
    """A backup on a medium that cannot be written, where SQLite finds no place for its lock."""
    with cli.database() as c, cli.database(init=False) as d:
        fill(c, 0)
        medium = c.folder / "a medium? 100%#"
        medium.mkdir()
        c.one("backup", medium / "b.db")
        (medium / "b.db").chmod(0o444)
        medium.chmod(0o555)
        for folder in (c.folder, d.folder, d.view):
            folder.chmod(0o755)
        if os.getuid() == 0:
            os.chown(d.folder, NOBODY, NOBODY)
            os.chown(d.view, NOBODY, NOBODY)
        program = d.folder / "reqcast"  # the build may be in a folder that only we may enter
        shutil.copy(cli.REQCAST, program)
        try:
            p = subprocess.run([program, "--json", "restore", str(medium / "b.db")], env=d.env,
                               cwd=d.folder, capture_output=True, preexec_fn=become_nobody, timeout=60)
        finally:
            medium.chmod(0o755)
        if not tap.equal(p.returncode, 0, "restored from a medium that cannot be written"):
            tap.note(p.stderr.decode())
        tap.equal(d.rows("http"), c.rows("http"), "the rows are there")
        tap.equal([f.name for f in medium.iterdir()], ["b.db"], "nothing was put there")


def check_read_only_log() -> None:
    """A database that may only be read while another program writes it: what is only in its log counts."""
    with cli.database() as c, cli.database(init=False) as d:
        fill(c, 0)
        writer = sqlite3.connect(c.db, isolation_level=None)
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("UPDATE http SET name = 'in the log'")
        for folder in (c.folder, d.folder, d.view):
            folder.chmod(0o755)
        files = [f for f in c.folder.glob("*.db*") if f.is_file()]
        for f in files:
            f.chmod(0o644)
        program = d.folder / "reqcast"
        shutil.copy(cli.REQCAST, program)
        if os.getuid() == 0:
            os.chown(d.folder, NOBODY, NOBODY)
            os.chown(d.view, NOBODY, NOBODY)

        def content():
            return sorted((f.name, f.read_bytes()) for f in c.folder.glob("*.db*")
                          if f.is_file() and not f.name.endswith("-shm"))
        before = content()
        tap.ok(any(name.endswith("-wal") and data for name, data in before), "a log that is in use")
        p = subprocess.run([program, "--json", "restore", str(c.db)], env=d.env, cwd=d.folder,
                           capture_output=True, preexec_fn=become_nobody, timeout=60)
        if not tap.equal(p.returncode, 0, "restored from what may only be read, and is in use"):
            tap.note(p.stderr.decode())
            return
        tap.equal(content(), before, "which is as it was")
        writer.close()
        names = d.sql("SELECT DISTINCT name FROM http")
        tap.equal([n for n, in names], ["in the log"], "with what its log has")

        # And onto one that may only be read: not by that name, and nothing is left.
        d.db.chmod(0o444)
        before = d.db.read_bytes(), sorted(f.name for f in d.folder.iterdir())
        p = subprocess.run([program, "--json", "restore", str(c.db)], env=d.env, cwd=d.folder,
                           capture_output=True, preexec_fn=become_nobody, timeout=60)
        good = p.returncode == 5 and d.db.name in p.stderr.decode()
        if not tap.ok(good, "no restore onto what may only be read: status 5"):
            tap.note(p.stderr.decode())
        tap.equal((d.db.read_bytes(), sorted(f.name for f in d.folder.iterdir())), before,
                  "it is as it was")


def run_killed(c: cli.Cli, after: float, *args) -> bool:
    p = c.start(*args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after)
    p.send_signal(signal.SIGKILL)
    return p.wait(timeout=60) == -signal.SIGKILL


def measure(c: cli.Cli, *args) -> float:
    start = time.monotonic()
    c.run(*args)
    return time.monotonic() - start


def check_kills() -> None:
    n = tap.scaled(12)
    with cli.database() as c:
        fill(c, 500)
        c.one("stats")
        whole = state(c.db)
        long = measure(c, "backup", "first.db")
        killed = 0
        for _ in range(n):
            killed += run_killed(c, random.uniform(0, long), "backup", "b.db")
            if (c.folder / "b.db").exists():
                tap.equal(state(c.folder / "b.db"), whole, "a backup that is there is whole")
                (c.folder / "b.db").unlink()
        tap.note(f"{killed} of {n} backups were killed")
        c.one("backup", "b.db")
        tap.equal(state(c.folder / "b.db"), whole, "after all the kills a backup goes through")
        tap.equal([p.name for p in c.folder.glob("*.rqc-tmp*")], [], "and takes what they left")
        tap.equal(c.json("verify", quiet=False)[-1]["differences"], 0, "the database is sound")

        c.one("workspaces", "--create", "later")
        newer = state(c.db)
        long = measure(c, "restore", "b.db")
        old = new = 0
        for _ in range(n):
            # Back to what the backup does not have.
            if state(c.db) == whole:
                c.json("workspaces", "--create", "later", quiet=False)
            run_killed(c, random.uniform(0, long), "restore", "b.db")
            now = state(c.db)
            old += now == newer
            new += now == whole
            kept = [state(p) for p in c.folder.glob("*.before-restore*")
                    if not p.name.endswith(("-wal", "-shm"))]
            if not all(k in (newer, whole) for k in kept):
                tap.ok(False, f"a file that was put aside is whole: {kept}")
            for p in c.folder.glob("*.before-restore*"):
                p.unlink()
        tap.equal(old + new, n, "after a kill it is the old database or the new one")
        tap.note(f"{old} times the old one, {new} times the new one")
        c.json("restore", "b.db", quiet=False)
        tap.equal(state(c.db), whole, "after all the kills a restore goes through")
        tap.equal(c.json("verify")[-1]["differences"], 0, "and the view is right")
        tap.equal([p.name for p in c.folder.glob("*.rqc-tmp*")], [], "no temporary file stays")


def check_small(c: cli.Cli, run, place, what: str) -> None:
    """A copy that does not fit leaves nothing, and the database goes on."""
    before = state(c.db)
    r = run("backup", place / "b.db")
    if not tap.ok(r.status == 5 and c.is_one_line(r), f"{what}: backup, status 5, one line"):
        r.explain()
    tap.equal([p.name for p in place.iterdir() if p.name.startswith("b.db")], [],
              f"{what}: nothing is left of it")
    tap.equal(state(c.db), before, f"{what}: the database is as it was")


def check_full() -> None:
    with cli.database() as c:
        fill(c, 100)
        c.one("stats")
        c.one("backup", "good.db")

        def limited(*args):
            def limit():
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
            p = subprocess.run([cli.REQCAST, *map(str, args)], capture_output=True, cwd=c.folder,
                               env=c.env, preexec_fn=limit, timeout=60)
            return cli.Result(args, p.returncode, p.stdout, p.stderr)
        check_small(c, limited, c.folder, "file size limit")
        before = state(c.db)
        r = limited("restore", "good.db")
        tap.ok(r.status == 5 and c.is_one_line(r), "file size limit: restore, status 5")
        tap.equal(state(c.db), before, "file size limit: the database is as it was")
        tap.equal([p.name for p in c.folder.glob("*-tmp")], [], "file size limit: no rest")

        small = c.folder / "small"
        small.mkdir()
        if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs",
                                               str(small)], capture_output=True).returncode != 0:
            tap.skip("a small tmpfs cannot be mounted here: full disk")
            return
        try:
            check_small(c, c.run, small, "full disk")
            d = cli.Cli(small)
            shutil.rmtree(d.view)
            d.env["REQCAST_VIEW_DIR"] = str(c.view)
            d.one("init")
            before = state(d.db)
            r = d.run("restore", c.folder / "good.db")
            tap.ok(r.status == 5 and c.is_one_line(r), "full disk: restore, status 5, one line")
            tap.equal(state(d.db), before, "full disk: the database is as it was")
        finally:
            subprocess.run(["umount", str(small)], check=False)


def check_bar() -> None:
    with cli.database() as c:
        fill(c, 600)
        c.one("stats")
        parent, child = pty.openpty()
        p = c.start("backup", "b.db", stdout=subprocess.DEVNULL, stderr=child)
        os.close(child)
        seen = b""
        with contextlib.suppress(OSError):
            while piece := os.read(parent, 4096):
                seen += piece
        os.close(parent)
        tap.equal(p.wait(timeout=60), 0, "backup on a terminal")
        tap.ok(not seen or (b"copying [" in seen and seen.endswith(b"\x1b[K")),
               "a bar, taken away at the end")


def main() -> None:
    check_answers()
    check_owner()
    check_read_only()
    check_read_only_log()
    check_kills()
    check_full()
    check_bar()
    tap.done()


sys.exit(main())
