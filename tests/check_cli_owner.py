# SPDX-License-Identifier: Apache-2.0
"""Commands beside another process that has the database: an owner, a reqcastd, or a program that
holds SQLite's lock. Each ends, and says whom it met and what to do."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import sqlite3
import subprocess
import sys

import cli
import cli_data as d
import tap

REQCASTD = os.environ.get("REQCASTD", "")
BUSY_MS = int(re.search(r"^#define RQCI_BUSY_MS_DEFAULT (\d+)",
                        (cli.ROOT / "persist/store.h").read_text(encoding="utf-8"), re.M)[1])


@contextlib.contextmanager
def locked(c: cli.Cli):
    """Another program is in a transaction that writes: this one."""
    db = sqlite3.connect(c.db, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        yield db
    finally:
        db.close()


@contextlib.contextmanager
def sidecar(c: cli.Cli):
    sockets = c.folder / "s"
    sockets.mkdir(exist_ok=True)
    read, write = os.pipe()
    p = subprocess.Popen([REQCASTD, "--socket-dir", sockets, "--ready-fd", str(write)], env=c.env,
                         pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as f:
        p.url = f.readline().strip()
    try:
        yield p
    finally:
        if p.poll() is None:
            p.terminate()
        p.wait(30)


def check_pid_file(c: cli.Cli) -> None:
    """It is of the reqcastd that owns the database; one that cannot leaves it alone."""
    path = c.folder / "pid"
    for db in (c.folder / "nosuch.db", c.folder):
        p = subprocess.run([REQCASTD, "--db", db, "--pid-file", path], env=c.env, capture_output=True,
                           timeout=60)
        tap.ok(p.returncode != 0 and not path.exists(), "a reqcastd that does not start: no pid file")
    p = subprocess.run([REQCASTD, "--pid-file", c.folder / "no" / "pid"], env=c.env, capture_output=True,
                       timeout=60)
    tap.ok(p.returncode == 3 and b"pid_file" in p.stderr, "a pid file that cannot be written")
    path.symlink_to(c.folder / "no" / "pid")
    p = subprocess.run([REQCASTD, "--pid-file", path], env=c.env, capture_output=True, timeout=60)
    tap.ok(p.returncode == 3 and path.is_symlink(), "what it could not write it does not remove")
    path.unlink()
    with sidecar(c):
        path.write_text("1\n")
        p = subprocess.run([REQCASTD, "--pid-file", path], env=c.env, capture_output=True, timeout=60)
        tap.equal((p.returncode, path.read_text()), (4, "1\n"), "a second one leaves the first one's")
    path.unlink()


def check_lock(c: cli.Cli) -> None:
    """One wait, as long as docs/limits.md says, not one wait for each of many tries."""
    with locked(c) as db:
        try:
            p = c.start("--json", "put", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE)
            out, err = p.communicate(timeout=4 * BUSY_MS / 1000)
        except subprocess.TimeoutExpired:
            p.kill()
            p.communicate()
            tap.ok(False, "put ends while another program holds the lock")
            return
        lines = err.decode().splitlines()
        good = p.returncode == 4 and out == b"" and all(x.startswith("reqcast: ") for x in lines)
        if not tap.ok(good and "nothing was written" in lines[-1], "put beside a lock: status 4"):
            tap.note(f"status {p.returncode}: {err}")
        seen = any(str(os.getpid()) in line
                   for line in pathlib.Path("/proc/locks").read_text().splitlines())
        if seen:
            tap.equal(len(lines), 2, "a line while it waits, and one when it gives up")
            tap.ok(all(str(os.getpid()) in x for x in lines), "both name the process")
        else:
            tap.skip("the kernel does not show locks here")
        db.execute("ROLLBACK")
        tap.equal(c.one("put")["written"], 0, "and put works as soon as the lock is gone")


def check_view(c: cli.Cli) -> None:
    """An owner whose view is gone: that is what is told, not only who it is."""
    rows = [{"entity": "http_header", "http_id": d.BASES[0], "header_key": "k",
             "header_value": "v" * 1000} for _ in range(300)]
    c.put(rows)
    holder = c.start("--json", "children", "http_header", d.BASES[0], stdout=subprocess.PIPE)
    note = pathlib.Path(f"{c.db}.rqc-view-path")
    aside = pathlib.Path(f"{c.db}.aside")
    try:
        holder.stdout.read(1)
        note.rename(aside)
        c.fails(4, [str(holder.pid), "view", note.name], "stats")
    finally:
        aside.rename(note)
        holder.stdout.read()
        holder.wait(timeout=60)


def check_sidecar(c: cli.Cli) -> None:
    with sidecar(c) as s:
        for args in (["prune", "shop", "--keep", "0"], ["verify", "--repair"]):
            r = c.fails(4, [f"process {s.pid} (reqcastd", "stop it first", "nothing was written"],
                        *args)
            tap.ok("read-only" not in r.errors and "stays removed" not in r.errors,
                   "and nothing that is not so")
        tap.equal(c.one("verify")["differences"], 0, "verify alone reads its view")
    c.one("prune", "shop", "--keep", "0")


def check_watch(c: cli.Cli) -> None:
    """Nobody is there to watch: it ends and says so, instead of trying for ever."""
    def watch(needles, *args):
        p = c.start("watch", *args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = p.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            p.kill()
            out, err = p.communicate()
        r = cli.Result(["watch", *args], p.returncode, out, err)
        good = r.status == 4 and out == b"" and c.is_one_line(r)
        if not tap.ok(good and all(n in r.errors for n in needles), f"4: watch {args}"):
            r.explain()

    missing = f"ipc://{c.folder}/s/nobody"
    watch([missing, "--url"], "--all", "--url", missing)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{s.getsockname()[1]}"
        watch([url, "--url"], "--all", "--url", url)
    watch(["no reqcastd", f"reqcastd --db {c.db}"], "--all")
    with sidecar(c) as s:
        url = s.url
        watched = c.start("--verbose", "watch", "shop", stderr=subprocess.PIPE)
        try:
            tap.ok(any(b"follows" in line for line in watched.stderr), "watch follows a reqcastd")
            s.send_signal(signal.SIGKILL)
            s.wait(30)
            tap.ok(b"interrupted" in watched.stderr.readline(), "and tells when that is gone")
            tap.ok(watched.poll() is None, "and waits for the next one")
        finally:
            watched.kill()
            watched.communicate()
    note = pathlib.Path(f"{c.db}.rqc-sidecar")
    tap.ok(note.exists(), "a reqcastd that was killed leaves its note")
    watch([url, f"reqcastd --db {c.db}"], "--all")
    watch([url, f"reqcastd --db {c.db}"], "shop")


def main() -> None:
    with cli.database() as c:
        c.put(d.records())
        check_lock(c)
        check_view(c)
        check_sidecar(c)
        if REQCASTD:
            check_pid_file(c)
        check_watch(c)
    tap.done()


sys.exit(main())
