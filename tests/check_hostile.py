# SPDX-License-Identifier: Apache-2.0
"""Input that means no good: huge fields, links, pipes and folders in place of files, closed streams.
The command line ends, in time, with one line that says what is wrong, and harms nothing."""

import os
import re
import subprocess
import sys

import cli
import cli_data as d
import large_field
import tap

SHOP_HAR = cli.ROOT / "docs/examples/shop.har"
MB = 1 << 20


def refused(c: cli.Cli, status, needles, *args, name=None, **more) -> None:
    """One line that is not too long, nothing on standard output."""
    r = c.run(*args, **more)
    good = r.status == status and r.out == b"" and c.is_one_line(r) and len(r.err) < 3000
    if not tap.ok(good and all(n in r.errors for n in needles), f"{status}: {name or r.name}"):
        r.explain()


# ---- Sizes ---------------------------------------------------------------------------------------


def check_sizes(c: cli.Cli) -> None:
    large_field.check(c, 10 * MB)
    before = c.head()
    big = b"9" * MB
    for name, line, needle in (
            ("an id", b'{"entity":"http","id":"' + big + b'"}', "http.id"),
            ("an entity", b'{"entity":"' + big + b'"}', "unknown entity"),
            ("a column", b'{"entity":"http","' + big + b'":1}', "unknown column"),
            ("digits", b'{"entity":"http","updated_at":' + big + b"}", "JSON"),
            ("digits of a fraction", b'{"entity":"workspaces","name":"x","updated":0.' + big + b"}",
             "workspaces.updated"),
            ("an exponent", b'{"entity":"http","updated_at":1e' + big + b"}", "JSON"),
            ("base64 that ends too early", b'{"entity":"http_body_raw","raw_data":{"$base64":"' + big
             + b'A"}}', "raw_data"),
            ("a string without an end", b'{"entity":"' + big, "JSON"),
            ("blanks before nonsense", b" " * MB + b"x", "JSON"),
            ("brackets", b"[" * MB, "deeper"), ("braces", b'{"a":' * MB, "deeper"),
            ("NULs", b"\0" * MB, "JSON"), ("no UTF-8", b"\xff" * MB, "JSON")):
        refused(c, 3, ["line 1", needle, "nothing was written"], "put", stdin=line,
                name=f"put of 1 MB: {name}")
    refused(c, 3, [f"line {MB + 1}"], "put", stdin=b"\n" * MB + b"x", name="a mistake far below")
    har = b'{"log": {"entries": [{"request": {"method": "GET", "url": "' + big + b'"}}]}}'
    r = c.run("--json", "import", "-w", "big", "-", stdin=har)
    tap.ok(r.status == 0 and len(r.err) < 3000, "a capture with a url of 1 MB")
    for name, text in (("brackets", b"[" * MB), ("NULs", b"\0" * MB), ("noise", big),
                       ("an endless string", b'{"log": "' + big)):
        refused(c, 3, ["nothing was written"], "import", "-w", "big", "-", stdin=text,
                name=f"import of {name}")
    tap.equal(c.sql("SELECT count(*) FROM http WHERE url = 'short'"), [(1,)], "what was there stays")
    tap.ok(c.head() >= before and c.one("verify")["differences"] == 0, "verify")


# ---- Words on the command line -------------------------------------------------------------------


def check_words(c: cli.Cli) -> None:
    long = "x" * 100000
    for args in ([long], ["get", long, d.SHOP], ["get", "http", long], ["count", long],
                 ["page", "shop", "--" + long], ["page", "shop", "--limit", "9" * 100000],
                 ["page", "shop", "--cursor", "1." + long], ["changes", "shop", "--since", long],
                 ["changes", "shop", "--since", "1/" + long + "/" + d.SHOP + "/1"],
                 ["patch", "http", d.BASES[0], long], ["patch", "http", d.BASES[0], long + "=1"],
                 ["patch", "http", d.BASES[0], "body_kind=" + "1" * 100000], ["help", long],
                 ["patch", "http", d.BASES[0], "--if-seq", long], ["import", long], ["--db", long, "init"],
                 ["completion", long]):
        r = c.run(*args)
        good = r.status in (1, 2, 3) and c.is_one_line(r) and len(r.err) < 10000 and r.out == b""
        if not tap.ok(good, f"a word of 100000 characters: {args[0][:20]}"):
            r.explain()
    for bad in ("\x1b]0;x\x07", "\x9b31m", "a\nb", "\u202e", "\udcff", "%s%n%x", "'; DROP TABLE http; --",
                "../../etc/passwd", "\ufeff", "\ud7ff\uffff"):
        for args in (["count", bad], ["get", bad, d.SHOP], ["get", "http", bad], [bad],
                     ["import", bad], ["page", "shop", "--method", bad], ["page", "shop", "--cursor", bad],
                     ["patch", "http", d.BASES[0], "folder_id=" + bad]):
            r = c.run(*args)
            good = not cli.CONTROL.search(r.errors) and not cli.CONTROL.search(r.text)
            good = good and (r.status == 0 or c.is_one_line(r))
            if not tap.ok(good, f"{bad!a} as a word of {args[0]!a}"):
                r.explain()
    ids = [cli.ulid(os.urandom(16)) for _ in range(5000)]
    tap.equal(c.json("batch", *ids), [], "5000 ids that are not there")
    r = c.run("get", "http", *ids)
    tap.ok(r.status == 1 and c.is_one_line(r) and "4999 more" in r.errors, "get of them: one line")


# ---- Files that are none -------------------------------------------------------------------------


def odd_file(path, kind: str) -> None:
    {"fifo": lambda: os.mkfifo(path), "folder": path.mkdir,
     "dangling": lambda: path.symlink_to("nosuch"), "loop": lambda: path.symlink_to(path.name),
     "link to a folder": lambda: path.symlink_to("."),
     "noise": lambda: path.write_bytes(os.urandom(5000)),
     "slashes": lambda: path.write_bytes(b"/" * 200000),
     "link to a file": lambda: path.symlink_to("victim")}[kind]()


KINDS = ("fifo", "folder", "dangling", "loop", "link to a folder", "noise", "slashes",
         "link to a file")


def check_beside(c: cli.Cli) -> None:
    """What may lie where the database's own companions do."""
    victim = c.folder / "victim"
    victim.write_bytes(b"precious")
    for suffix in (".rqc-lock", ".rqc-state", ".rqc-view-path", "-wal", "-shm", "-journal"):
        other = cli.Cli(c.folder, f"beside{suffix}.db")
        other.one("workspaces", "--create", "kept")
        companion = other.db.with_name(other.db.name + suffix)
        for kind in KINDS:
            companion.unlink(missing_ok=True)
            odd_file(companion, kind)
            r = other.run("--json", "workspaces")
            good = r.status == 5 and c.is_one_line(r) and other.db.name in r.errors
            if not tap.ok(good or (r.status == 0 and b'"kept"' in r.out), f"{suffix} is a {kind}"):
                r.explain()
            if companion.is_dir() and not companion.is_symlink():
                companion.rmdir()
        companion.unlink(missing_ok=True)
        r = other.run("--json", "workspaces")
        if not tap.ok(r.status == 0 and b'"kept"' in r.out, f"{suffix}: all is there without it"):
            r.explain()
    tap.equal(victim.read_bytes(), b"precious", "no file behind a link was touched")


def check_databases(c: cli.Cli) -> None:
    (c.folder / "link.db").symlink_to(c.db.name)
    got = c.one("--db", c.folder / "link.db", "count", "shop")
    tap.equal(got, c.one("count", "shop"), "a link to a database is the database")
    for kind in ("dangling", "loop", "fifo", "folder", "link to a folder"):
        path = c.folder / f"db-{kind.replace(' ', '-')}"
        odd_file(path, kind)
        for args in (["stats"], ["init"], ["import", SHOP_HAR]):
            refused(c, 3, [], "--db", path, *args, name=f"a database that is a {kind}: {args[0]}")
    for name, content in (("text", b"hello, world\n"), ("half a head", b"SQLite format 3\0"),
                          ("an empty head", b"SQLite format 3\0" + b"\0" * 84), ("zeros", b"\0" * 4096),
                          ("noise", os.urandom(70000))):
        path = c.folder / "content.db"
        path.write_bytes(content)
        for args in (["stats"], ["init"], ["import", SHOP_HAR]):
            refused(c, 5, ["content.db"], "--db", path, *args, name=f"a database of {name}: {args[0]}")
        tap.equal(path.read_bytes(), content, f"{name}: not written to")
    for kind in ("dangling", "loop", "fifo", "noise"):
        for below in ("", f"reqcast-{os.geteuid()}"):
            folder = c.folder / f"views-{kind}-{below}"
            if below:
                folder.mkdir()
            odd_file(folder / below if below else folder, kind)
            refused(c, 5, [str(folder)], "stats", env={"REQCAST_VIEW_DIR": str(folder)},
                    name=f"the folder of views{' of a user' if below else ''} is a {kind}")


def check_captures(c: cli.Cli) -> None:
    (c.folder / "good.har").symlink_to(SHOP_HAR)
    got = c.one("import", "-w", "linked", c.folder / "good.har")
    tap.equal(got["requests"], 17, "a link to a capture")
    before = c.head()
    for kind in ("dangling", "loop", "folder", "link to a folder", "noise", "slashes"):
        path = c.folder / f"capture-{kind.replace(' ', '-')}.har"
        odd_file(path, kind)
        refused(c, 3, [path.name, "nothing was written"], "import", path, name=f"a capture: {kind}")
    for path in ("/dev/null", "/proc/self/environ", "/proc/self/mem"):
        r = c.run("import", path)
        tap.ok(r.status in (3, 5) and c.is_one_line(r) and path in r.errors, f"import {path}")
    fifo = c.folder / "put.fifo"
    os.mkfifo(fifo)
    p = c.start("--json", "put", stdin=os.open(fifo, os.O_RDONLY | os.O_NONBLOCK),
                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with open(fifo, "wb"):
        pass
    p.communicate(timeout=120)
    tap.ok(p.returncode in (0, 5), "put of a pipe that nobody fills")
    tap.equal(c.head(), before, "nothing was written")


# ---- Closed streams ------------------------------------------------------------------------------


def check_streams(c: cli.Cli) -> None:
    """A stream that is closed must not become the next file that is opened."""
    def shell(line, status, needle=""):
        r = subprocess.run(["sh", "-c", f'"$0" {line}', cli.REQCAST], env=c.env, capture_output=True,
                           text=True, timeout=120, cwd=c.folder)
        good = r.returncode == status and r.stdout == "" and needle in r.stderr
        if not tap.ok(good and r.stderr.count("\n") <= 1, f"{status}: {line}"):
            tap.note(f"status {r.returncode}: {r.stderr}")
    # The lock's text is as long as the number of the process that had it last.
    lock = c.folder / "t.db.rqc-lock"
    files = {p: p.stat().st_size for p in c.folder.glob("t.db.rqc-*") if p != lock}
    shell("put <&-", 5, "standard input")
    shell("--json import -w x - <&-", 5, "standard input")
    for command in ("--json changes shop", "page shop", "help", "--version", "completion bash"):
        shell(f"{command} >&-", 5, "standard output")
        shell(f"{command} >&- 2>&-", 5)
    shell("nope 2>&-", 2)
    shell("count nosuch 2>&-", 1)
    shell("put <&- >&- 2>&-", 5)
    tap.ok(files and {p: p.stat().st_size for p in files} == files,
           "no file of the database took what was meant for a stream")
    tap.ok(re.fullmatch(r"\d+ \(\w+\)\n", lock.read_text()), "nor did the lock")
    got = c.one("verify")
    tap.equal(got["differences"], 0, "verify")


def main() -> None:
    with cli.database() as c:
        c.put(d.records())
        check_words(c)
        check_databases(c)
        check_captures(c)
        check_beside(c)
        check_streams(c)
        check_sizes(c)
    tap.done()


sys.exit(main())
