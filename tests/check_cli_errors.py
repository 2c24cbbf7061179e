# SPDX-License-Identifier: Apache-2.0
"""Failures of the command line: exit statuses, and one line that says what, where, what to do."""

import json
import os
import shutil
import subprocess
import sys

import cli
import cli_data as d
import tap

SHOP_HAR = cli.ROOT / "docs/examples/shop.har"


def check_usage(c: cli.Cli) -> None:
    for needle, *args in (
            ("reqcast help",), ("no command nope", "nope"), ("no command -", "-"),
            ("did you mean init?", "inti"), ("did you mean page?", "pages", "shop"),
            ("did you mean workspaces?", "workspace"), ("did you mean page?", "help", "pgae"),
            ("before the command", "--limit", "5", "page", "shop"),
            ("no option --nope", "--nope"), ("no option -x", "-x"), ("no option -x", "-x", "stats"),
            ("reqcast page --help", "page", "shop", "--nope"), ("no option --", "page", "--=1"),
            ("too few", "page"), ("too many", "page", "shop", "more"), ("too many", "stats", "x"),
            ("too few", "get", "http"), ("too few", "children", "http_header"),
            ("too few", "resolve"), ("too few", "delete", "http"), ("too few", "import"),
            ("too few", "patch", "http"), ("too many", "put", "file"), ("too few", "batch"),
            ("--limit needs a value", "page", "shop", "--limit"),
            ("--db needs a value", "stats", "--db"),
            ("--json=1 takes no value", "--json=1", "stats"),
            ("--all=x takes no value", "children", "http_header", d.BASES[0], "--all=x"),
            ("no command nope", "help", "nope"),
            ("needs --since", "updates", "shop"),
            ("no entity headers", "get", "headers", d.BASES[0]),
            ("http_response_assert", "get", "x", d.BASES[0]),
            ("http_header", "children", "http", d.BASES[0]),
            ("http_header", "children", "workspaces", d.BASES[0])):
        c.fails(2, needle, *args)
    for option, command in (("--limit", "page"), ("--until", "page"), ("--until", "count"),
                            ("--limit", "changes"), ("--since", "metrics"),
                            ("--since", "activity"), ("--since", "updates")):
        for bad in ("", "x", "1x", " 1", "1e3", "0x10", "99999999999999999999"):
            c.fails(2, f"{option}: {bad}", command, "shop", f"{option}={bad}")
    for bad in ("-1", "0", "100001"):
        c.fails(2, bad, "page", "shop", "--limit", bad)
    c.fails(2, "0", "changes", "shop", "--limit", "0")
    r = c.run("page", "shop", *["--limit=1"] * 300)
    tap.ok(r.status == 2 and c.is_one_line(r), "too many options")


def check_names(c: cli.Cli) -> None:
    r = c.run("import", "-")
    tap.ok(r.status == 3 and r.errors.startswith("reqcast: standard input: "), "import of nothing")
    r = c.run("x" * 9)
    tap.ok(r.status == 2 and "mean" not in r.errors, "what is like no command is not guessed")
    tap.equal(c.text("help", "help"), c.text("help"), "help help")


def check_values(c: cli.Cli) -> None:
    """Values that cannot be: 2, whatever the option, before a database is looked for."""
    head = c.head()
    number, position = ("x", "1.5", "1e3", " 1", "9" * 20), ("x", "-1", "1@2:3", "9" * 20)
    for bads, *command in (
            (number, "page", "shop", "--until"), (number, "count", "shop", "--until"),
            (number + ("0", "100001"), "page", "shop", "--limit"), (("x", "5"), "page", "shop", "--cursor"),
            (number + ("0", "-5"), "changes", "shop", "--limit"), (position, "changes", "shop", "--since"),
            (number, "updates", "shop", "--since"), (number, "updates", "shop", "--since=0", "--until"),
            (number, "batch", d.BASES[0], "--until"), (number, "deltas", d.BASES[0], "--since"),
            (number, "children", "http_header", d.BASES[0], "--until"),
            (number, "chain", d.BASES[0], "--until"), (("x", "0" * 31), "resolve", d.BASES[0], "--delta"),
            (number, "metrics", "shop", "--since"), (number, "activity", "shop", "--since"),
            (number + ("-1",), "prune", "shop", "--keep"), (number + ("46297",), "prune", "shop", "--older"),
            (position + ("0",), "patch", "http", d.BASES[0], "name=x", "--if-seq"),
            (("x", "nosuch"), "patch", "http", d.BASES[0], "--unset"),
            (("x",), "get", "http", d.BASES[0], "--field"),
            (position, "watch", "shop", "--since"), (number + ("0",), "watch", "--all", "--count"),
            (("x", "http://h:1", "ipc://", "tcp://h"), "watch", "--all", "--url"),
            (("x", "HAR"), "import", SHOP_HAR, "--format"), (("x",), "import", SHOP_HAR, "--edited")):
        for bad in ("", *bads):
            r = c.run("--json", "--db", "nosuch.db", *command, bad)
            option = command[-1]
            good = r.status == 2 and c.is_one_line(r) and r.out == b"" and option in r.errors
            if not tap.ok(good and (bad or "''") in r.errors, f"{command[0]} {option} {bad}: status 2"):
                r.explain()
    for option, *command in (("--method", "page", "shop", "--method="), ("-w", "import", "-w", ""),
                             ("--method", "updates", "shop", "--since=0", "--method="),
                             ("--create", "workspaces", "--create="), ("--db", "--db", "", "stats"),
                             ("FILE", "backup", ""), ("FILE", "restore", ""), ("FILE", "import", "")):
        c.fails(2, option, *command, *([SHOP_HAR] if "-w" in command else []))
    c.fails(2, ["nosuch", "http", "url"], "patch", "http", d.BASES[0], "nosuch=1")
    c.fails(2, "the id", "patch", "http", d.BASES[0], f"id={d.BASES[1]}")
    c.fails(2, "not an id", "watch", "shop", "--url", "tcp://127.0.0.1:1")
    tap.ok(c.head() == head and not (c.folder / "nosuch.db").exists(), "and nothing was written")


def check_input(c: cli.Cli) -> None:
    for bad in ("x", "", d.SHOP[:25], d.SHOP + "0", "Z" * 26, "U" * 26, "é" * 13, "0" * 31):
        for args in (["get", "http"], ["resolve"], ["chain"], ["batch"], ["deltas"],
                     ["children", "http_header"], ["delete", "http"]):
            r = c.run("--json", *args, bad)
            good = r.status == 2 and c.is_one_line(r) and r.out == b"" and "not an id" in r.errors
            if not tap.ok(good, f"{args} of an id that is none: {bad}"):
                r.explain()
    for bad in ("5", "x.y", "5." + d.SHOP[:25], "." + d.SHOP, "", "5." + d.SHOP + "x",
                " 5." + d.SHOP, "+5." + d.SHOP, f"{2 ** 63}." + d.SHOP, f"{-2 ** 63 - 1}." + d.SHOP):
        c.fails(2, ["--cursor", bad or "''"], "page", "shop", "--cursor", bad)
    c.fails(1, "nosuch", "page", "nosuch")
    for command in ("count", "changes", "metrics", "activity"):
        c.fails(1, ["nosuch", "reqcast workspaces"], command, "nosuch")
    c.fails(1, "nosuch", "updates", "nosuch", "--since", "0")
    c.fails(1, "\\x1b[31m\\n\\u202e", "count", "\x1b[31m\n\u202e")
    c.fails(1, "\\xff", "count", "\udcff")
    c.fails(1, [d.SHOP, "no request"], "resolve", d.BASES[0], "--delta", d.SHOP)
    c.fails(3, d.BASES[1], "resolve", d.BASES[0], "--delta", d.BASES[1])
    c.fails(1, [d.SHOP, "no request"], "resolve", d.SHOP, "--delta", d.DELTA)
    c.fails(4, ["--since", "999999999", "start over with --since 0"], "changes", "shop", "--since",
            "999999999")
    c.fails(1, d.BASES[1], "count", d.BASES[1])
    c.fails(1, "x" * 100, "count", "x" * 100000)


def check_files(c: cli.Cli) -> None:
    before = c.head()
    fifo, folder = c.folder / "fifo", c.folder / "folder"
    os.mkfifo(fifo)
    folder.mkdir()
    missing = c.folder / "nosuch.har"
    c.fails(3, [str(missing), "nothing was written"], "import", missing)
    c.fails(3, [str(folder), "directory", "nothing was written"], "import", folder)
    c.fails(3, ["nosuch.har", "nothing was written"], "import", SHOP_HAR, missing)
    if os.geteuid() != 0:  # check_permissions is somebody else for root
        missing.write_bytes(b"{}")
        missing.chmod(0)
        c.fails(3, [str(missing), "denied"], "import", missing)
    tap.equal(c.head(), before, "a file that cannot be read: nothing was written")

    p = c.start("--json", "import", "-w", "shop", fifo, stdout=subprocess.PIPE)
    with open(fifo, "wb") as f:
        f.write(SHOP_HAR.read_bytes())
    out, _ = p.communicate(timeout=120)
    tap.ok(p.returncode == 0 and b'"requests":17,' in out, "import from a FIFO")
    for path in (fifo, folder, "/dev/null"):
        c.fails(3, ["not a regular file"], "--db", path, "stats")
    c.fails(3, "nosuch.har", "--db", "nosuch.db", "import", SHOP_HAR, missing)
    c.fails(1, ["nosuch.db", "reqcast init", "--db"], "--db", "nosuch.db", "stats")
    for command in (["init"], ["import", SHOP_HAR], ["workspaces", "--create", "x"]):
        r = c.fails(3, ["nosuch/x.db", "folder"], "--db", "nosuch/x.db", *command)
        tap.ok("reqcast init" not in r.errors, "init is no help where there is no folder")
    tap.equal(sorted(p.name for p in c.folder.iterdir() if "nosuch" in p.name and p != missing),
              [], "failures left no files")
    stdin = os.open(folder, os.O_RDONLY)
    p = c.start("put", stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.close(stdin)
    out, err = p.communicate(timeout=120)
    r = cli.Result(["put"], p.returncode, out, err)
    if not tap.ok(p.returncode == 3 and c.is_one_line(r), "put of a folder as standard input"):
        r.explain()


def check_output(c: cli.Cli) -> None:
    """What cannot be written is told, wherever the output is noticed to be lost."""
    for args in (["help"], ["--json", "stats"], ["--json", "changes", "shop"], ["page", "shop"]):
        with open("/dev/full", "wb") as full:
            p = c.start(*args, stdout=full, stderr=subprocess.PIPE)
            _, err = p.communicate(timeout=120)
        r = cli.Result(args, p.returncode, b"", err)
        good = p.returncode == 5 and c.is_one_line(r) and "not complete" in r.errors
        if not tap.ok(good, f"a full disk: {args}"):
            r.explain()
    out, other_end = os.pipe()
    os.close(out)
    p = c.start("--json", "changes", "shop", stdout=other_end, stderr=subprocess.PIPE)
    os.close(other_end)
    _, err = p.communicate(timeout=120)
    tap.equal((p.returncode, err), (141, b""), "a reader that went away: no signal, no message")


def check_busy(c: cli.Cli) -> None:
    """A command whose output nobody takes holds the database: others read, and cannot write."""
    lines = [{"entity": "http_header", "http_id": d.BASES[0], "header_key": "k",
              "header_value": "v" * 1000} for _ in range(300)]
    c.put(lines)
    before = c.head()
    holder = c.start("--json", "children", "http_header", d.BASES[0], stdout=subprocess.PIPE)
    try:
        holder.stdout.read(1)
        for args, stdin in ((["put"], b""), (["workspaces", "--create", "x"], b""),
                            (["patch", "http", d.BASES[0], "name=x"], b""),
                            (["delete", "http", d.BASES[0]], b""), (["init"], b""),
                            (["import", SHOP_HAR], b""), (["verify", "--repair"], b"")):
            r = c.run("--json", *args, stdin=stdin)
            good = r.status == 4 and c.is_one_line(r) and r.out == b""
            good = good and str(holder.pid) in r.errors and "nothing was written" in r.errors
            if not tap.ok(good, f"a second owner is refused: {args[0]}, with the holder's pid"):
                r.explain()
        got = c.one("stats")
        tap.equal((got["owner"], got["head"]), (False, before), "reads attach to the view")
        tap.equal(c.one("count", "shop")["count"], 37, "count, attached")
        tap.equal(c.one("verify")["differences"], 0, "verify, attached")
    finally:
        rest = holder.stdout.read()
        holder.wait(timeout=120)
    tap.ok(holder.returncode == 0 and rest.count(b"\n") == 302, "the holder finishes its answer")
    # A writer whose input comes from a reader of the same database waits for its end, not for its
    # lock.
    reader = c.start("--json", "children", "http_header", d.BASES[0], stdout=subprocess.PIPE)
    writer = c.start("--json", "put", stdin=reader.stdout, stdout=subprocess.PIPE)
    reader.stdout.close()
    out, _ = writer.communicate(timeout=120)
    tap.equal((reader.wait(timeout=120), writer.returncode), (0, 0), "a pipe from reader to put")
    tap.ok(b'"written":302,' in out, "all that the reader gave is written")


def damaged(c: cli.Cli, name: str, change) -> cli.Cli:
    shutil.copy(c.db, c.folder / name)
    other = cli.Cli(c.folder, name)
    with open(other.db, "r+b") as f:
        change(f)
    return other


def overwrite(at: int, data: bytes):
    def change(f):
        f.seek(at)
        f.write(data)
    return change


def check_storage(c: cli.Cli) -> None:
    with c.sqlite() as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'http'").fetchone()[0]
        size = db.execute("PRAGMA page_size").fetchone()[0]
    for name, change in (
            ("noise.db", overwrite(0, os.urandom(8192))),
            ("table.db", overwrite((root - 1) * size, b"\xff" * size)),
            ("schema.db", overwrite(100, b"\xff" * 500))):
        other = damaged(c, name, change)
        for command in (["stats"], ["init"], ["--json", "changes", "shop"], ["verify"]):
            r = other.run(*command)
            # That a copied file begins a new term is told before.
            last = r.errors.splitlines()[-1]
            good = r.status == 5 and last.startswith("reqcast: ") and name in last
            good = good and not cli.CONTROL.search(r.errors)
            if not tap.ok(good and r.out == b"", f"{name}, {command[-1]}: status 5"):
                r.explain()
        tap.ok(other.db.stat().st_size > 0, f"{name}: the file is still there")
    missing = c.folder / "nosuch" / "view"
    r = c.run("stats", env={"REQCAST_VIEW_DIR": str(missing)})
    good = r.status == 5 and c.is_one_line(r) and str(missing) in r.errors
    if not tap.ok(good, "a folder for the view that is not there"):
        r.explain()


NOBODY = 65534


def as_nobody(c: cli.Cli, *args, **env) -> cli.Result:
    command = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", c.program,
               *map(str, args)]
    p = subprocess.run(command, cwd=c.folder, env=dict(c.env, **env), capture_output=True, timeout=120)
    return cli.Result(args, p.returncode, p.stdout, p.stderr)


def seen(folder):
    return sorted((str(p.relative_to(folder)), p.stat().st_mode, p.stat().st_size)
                  for p in folder.rglob("*"))


def check_permissions() -> None:
    """What may not be read or written: status 5, the path, what to do; and nothing is changed."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        tap.skip("permissions need root and setpriv, to be another user")
        return
    with cli.database() as c:
        har = c.folder / "shop.har"  # the sources may be in a folder that only we may enter
        shutil.copy(SHOP_HAR, har)
        har.chmod(0o644)
        c.one("import", har)
        with c.sqlite() as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        c.folder.chmod(0o755)
        c.program = c.folder / "reqcast"
        shutil.copy(cli.REQCAST, c.program)
        open_folder, closed, view = (c.folder / n for n in ("open", "closed", "v"))
        for folder, mode in ((open_folder, 0o777), (closed, 0o755), (view, 0o777)):
            folder.mkdir()
            shutil.copy(c.db, folder / "a.db")
            (folder / "a.db").chmod(0o666)
            folder.chmod(mode)
        mine = view / "a.db"
        good = as_nobody(c, "--db", mine, "stats", REQCAST_VIEW_DIR=str(view))
        if not tap.ok(good.status == 0, "nobody can use what nobody may write"):
            good.explain()
        secret = c.folder / "secret.har"
        secret.write_bytes(har.read_bytes())
        secret.chmod(0)
        def head() -> int:
            r = as_nobody(c, "--db", mine, "--json", "stats", REQCAST_VIEW_DIR=str(view))
            return json.loads(r.out)["head"]
        before = head()
        r = as_nobody(c, "--db", mine, "import", secret, REQCAST_VIEW_DIR=str(view))
        good = r.status == 3 and c.is_one_line(r) and str(secret) in r.errors and "denied" in r.errors
        if not tap.ok(good and "nothing was written" in r.errors, "a capture that nobody may read"):
            r.explain()
        tap.equal(head(), before, "nothing was written")
        writes = (["init"], ["import", har], ["workspaces", "--create", "x"], ["attach"], ["detach"],
                  ["restore", mine])
        reads = (["stats"], ["page", "shop"], ["verify"], ["backup", open_folder / "copy"])
        for folder, mode, commands in ((open_folder, 0o444, (*writes, *reads)),
                                       (open_folder, 0o000, (*writes, *reads, ["attach", "--dry-run"])),
                                       (closed, 0o666, (*writes, *reads)),
                                       (closed, 0o000, (*writes, *reads, ["attach", "--dry-run"]))):
            (folder / "a.db").chmod(mode)
            for command in commands:
                before = seen(folder)
                r = as_nobody(c, "--db", folder / "a.db", *command, REQCAST_VIEW_DIR=str(view))
                good = r.status == 5 and c.is_one_line(r) and r.out == b"" and seen(folder) == before
                good = good and str(folder / "a.db") in r.errors and "read and write" in r.errors
                if not tap.ok(good, f"{folder.name}, mode {mode:o}: {command[0]}"):
                    r.explain()
        # An application's, with a journal: looking leaves nothing beside it.
        app = closed / "app.db"
        with c.sqlite() as db:
            db.execute(f"VACUUM INTO '{app}'")
        app.chmod(0o644)
        before = seen(closed)
        r = as_nobody(c, "--db", app, "attach", "--dry-run", REQCAST_VIEW_DIR=str(view))
        if not tap.ok(r.status == 0 and r.out, "what may only be read can be looked at"):
            r.explain()
        tap.equal(seen(closed), before, "and nothing is made beside it")
        app.unlink()
        (open_folder / "a.db").chmod(0o666)
        r = as_nobody(c, "--db", open_folder / "a.db", "stats", REQCAST_VIEW_DIR=str(view))
        tap.ok(r.status == 0, "what was refused works once it is allowed")
        for command in (["stats"], ["init"], ["import", har]):
            r = as_nobody(c, "--db", open_folder / "a.db", *command, REQCAST_VIEW_DIR=str(closed))
            good = r.status == 5 and c.is_one_line(r) and str(closed) in r.errors
            if not tap.ok(good and "REQCAST_VIEW_DIR" in r.errors, f"no room for a view: {command[0]}"):
                r.explain()
        before = seen(closed)
        for command in (["backup", closed / "x.db"], ["--db", closed / "new.db", "init"]):
            r = as_nobody(c, "--db", mine, *command, REQCAST_VIEW_DIR=str(view))
            good = r.status == 5 and c.is_one_line(r) and str(closed) in r.errors
            if not tap.ok(good and "write" in r.errors, f"a file in a folder of others: {command}"):
                r.explain()
        (closed / "a.db").chmod(0)
        r = as_nobody(c, "--db", mine, "restore", closed / "a.db", REQCAST_VIEW_DIR=str(view))
        if not tap.ok(r.status == 5 and "denied" in r.errors and "as it was" in r.errors, "restore"):
            r.explain()
        tap.equal(len(seen(closed)), len(before), "and nothing was made")
        r = as_nobody(c, "--db", mine, "count", "shop", REQCAST_VIEW_DIR=str(view))
        tap.ok(r.status == 0 and r.text == "17\n", "what nobody may use is whole")


def check_verify(c: cli.Cli) -> None:
    """A view that was changed behind everybody's back: verify finds it, and can mend it."""
    stored = c.one("verify")
    files = [p for p in c.view.rglob("*") if p.is_file()]
    changed = 0
    for path in files:
        data = path.read_bytes()
        at = data.find(b"https://shop.test/11?q=1")
        while at >= 0:
            with open(path, "r+b") as f:
                f.seek(at + 8)
                f.write(b"S")
            changed += 1
            at = data.find(b"https://shop.test/11?q=1", at + 1)
    if not tap.ok(changed > 0, "the view's file holds a request's url"):
        return
    r = c.run("--json", "verify")
    *found, end = r.strict() or [{}]
    good = r.status == 1 and end.get("differences", 0) == len(found) > 0
    if not tap.ok(good, "verify finds what was changed: status 1"):
        r.explain()
    tap.ok(all(set(f) == {"entity", "id", "what"} for f in found), "keys of a difference")
    tap.ok(any(f["id"] == d.BASES[11] for f in found), "the record is named")
    r = c.run("verify")
    tap.ok(r.status == 1 and d.BASES[11] in r.text and "--repair" in r.text,
           "verify for people says what helps")
    *_, end = c.json("verify", "--repair", quiet=False)
    tap.equal((end["repaired"], end["digest"]), (True, stored["digest"]), "verify --repair")
    tap.equal(c.one("verify")["differences"], 0, "verify after the repair")


def main() -> None:
    with cli.database() as c:
        c.put(d.records())
        check_usage(c)
        check_values(c)
        check_names(c)
        check_input(c)
        check_files(c)
        check_output(c)
        check_busy(c)
        check_storage(c)
        check_verify(c)
    check_permissions()
    tap.done()


sys.exit(main())
