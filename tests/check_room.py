# SPDX-License-Identifier: Apache-2.0
"""A sidecar whose view has no room: its streams and answers go on, from a spare view beside the
database, and it says so. The view is in a small tmpfs of the sidecar's own, which is filled."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import cli
import stream
import tap

REQCASTD = os.environ.get("REQCASTD") or str(cli.ROOT / "build/test/api/daemon/reqcastd")
LAGS = 8  # flag of a frame
PATIENCE = 20


@contextlib.contextmanager
def sidecar(c: cli.Cli):
    """Its process and URL. The tmpfs goes with it."""
    read, write = os.pipe()
    sockets = c.folder / "s"
    sockets.mkdir()
    command = 'mount -t tmpfs -o size=8m reqcast-test "$REQCAST_VIEW_DIR" && exec "$0" "$@"'
    try:
        with open(c.folder / "log", "ab") as log:
            p = subprocess.Popen(["unshare", "-m", "sh", "-c", command, REQCASTD, "--socket-dir",
                                  sockets, "--ready-fd", str(write)], env=c.env,
                                 pass_fds=[write], stderr=log)
    except OSError as e:
        os.close(write)
        os.close(read)
        tap.skip_all(f"A VIEW WITHOUT ROOM IS NOT TESTED: {e}")
    os.close(write)
    with os.fdopen(read) as f:
        url = f.readline().strip()
    try:
        if not url:
            tap.note((c.folder / "log").read_text(errors="replace"))
            tap.skip_all("A VIEW WITHOUT ROOM IS NOT TESTED: no mount namespace")
        yield p, url
    finally:
        if p.poll() is None:
            p.send_signal(signal.SIGKILL)
        p.wait()


def keys_of(c):
    return {(code, row[0]) for code, entity in enumerate(cli.ENTITIES, 1)
            for row in c.sql(f"SELECT id FROM {entity}")}


def write(c, first: int, n: int) -> int:
    """Rows of another program; the position behind them."""
    with c.sqlite() as db:
        db.executemany("INSERT INTO http (id, workspace_id, name, url, method)"
                       " VALUES (?, ?, 'n', ?, 'GET')",
                       [(cli.fake_id(3, i), cli.fake_id(1, 1), "u" * 3000)
                        for i in range(first, first + n)])
    return c.sql("SELECT max(seq) FROM change_log")[0][0]


def eventually(condition) -> bool:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return False


def check(c: cli.Cli, pid: int, url: str) -> None:
    fill = f"/proc/{pid}/root{c.view}/fill"
    f, a = stream.Subscriber(url), stream.Asker(url)
    f.attach()
    tap.ok(f.follow(write(c, 0, 50)), "with room it streams")
    try:
        with open(fill, "wb", buffering=0) as full:
            while full.write(b"x" * 4096) == 4096:
                pass
    except OSError:
        pass
    head = write(c, 50, 300)
    tap.ok(f.follow(head), "without it goes on")
    tap.equal(set(f.state), keys_of(c), "with all that SQLite has")
    s = a.stats()
    tap.equal((s["view_lagging"], s["spare"], s["head"], s["streamed"]), (True, True, head, head),
              "statistics tell why")
    tap.ok(s["seq"] < head, "the shared view stands still")
    late = stream.Subscriber(url)
    late.attach()
    tap.equal((set(late.state), late.last), (keys_of(c), head), "who comes now gets all of it")
    marks = []
    late.lose = lambda frame: bool(frame.bookmark and marks.append(frame))
    eventually(lambda: late.step() and marks)
    tap.ok(marks and marks[0].flags & LAGS and marks[0].seq == head,
           "bookmarks say that the view lags")
    tap.ok(any((c.folder / "t.db.rqc-spare").glob("gen-*")), "the spare view is there")
    os.unlink(fill)
    tap.ok(eventually(lambda: not a.stats()["view_lagging"]), "with room again the view follows")
    s = a.stats()
    tap.equal((s["spare"], s["seq"]), (False, head), "and is read again")
    tap.ok(not any((c.folder / "t.db.rqc-spare").glob("gen-*")), "the spare view is gone")
    head = write(c, 350, 20)
    tap.ok(f.follow(head) and late.follow(head), "both streams go on")
    tap.equal((set(f.state), set(late.state)), (keys_of(c), keys_of(c)), "and have it all")
    tap.equal((f.resets, late.resets), (0, 0), "without starting over")
    for x in (f, late, a):
        x.close()


def main() -> None:
    with cli.database() as c, sidecar(c) as (p, url):
        c.sql("INSERT INTO workspaces (id, name) VALUES (?, 'w')", cli.fake_id(1, 1))
        check(c, p.pid, url)
        p.send_signal(signal.SIGTERM)
        tap.equal(p.wait(30), 0, "the sidecar ends well")
        tap.ok(not (c.folder / "t.db.rqc-spare").exists(), "and leaves no spare view")
    tap.done()


sys.exit(main())
