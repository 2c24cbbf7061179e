# SPDX-License-Identifier: Apache-2.0
"""The Python module: commits that nobody waits for, idempotency keys, snapshots of runs; positions,
waiting for them, and watches. Whatever may wait is bounded in time."""

import contextlib
import gc
import select
import signal
import subprocess
import sys
import threading
import time
import weakref

import cli
import cli_data as d
import python_module
import tap
from python_module import fails, open_db

reqcast = python_module.load()
Code = reqcast.Code
LIMIT_S = 60


def readable(fd: int, timeout: float) -> bool:
    return bool(select.select([fd], [], [], timeout)[0])


def later(seconds: float, function) -> threading.Timer:
    timer = threading.Timer(seconds, function)
    timer.start()
    return timer


# ---- Positions -----------------------------------------------------------------------------------


def rename(db, name: str):
    with db.write() as txn:
        txn.patch("http", d.BASES[0], name=name)
    return txn.result.position


def check_wait(c: cli.Cli) -> None:
    with open_db(c) as db, reqcast.attach(c.db, view_dir=c.view) as other:
        first = rename(db, "a")
        tap.equal((db.position, other.position), (first, first), "the position, without a session")
        for form in (first, str(first), first.seq):
            tap.equal(other.wait(form, 0), first, f"what is shown already: {type(form).__name__}")
        fails(Code.FUTURE, "the owner knows better", db.wait, first.seq + 1, 0)
        fails(Code.TIMEOUT, "attached", other.wait, first.seq + 1, 0.01)
        fails(Code.EPOCH_CHANGED, "another history", db.wait,
              first._replace(store_id=reqcast.new_id()), 0)
        for bad in ("x", -1, 2**64, None, "5@x:1", "\udcff", first._replace(term=-1)):
            fails(Code.INVALID, f"no position: {bad!r}", db.wait, bad, 0)
        for bad in ("x", float("nan")):
            fails(Code.INVALID, f"no timeout: {bad!r}", db.wait, first, bad)
        timer = later(0.3, lambda: rename(db, "b"))
        begun = time.monotonic()
        now = other.wait(first.seq + 1, LIMIT_S)
        tap.ok(now.seq > first.seq and time.monotonic() - begun < LIMIT_S / 2, "the next change")
        timer.join()

        def interrupt(*_):
            raise InterruptedError
        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        begun = time.monotonic()
        try:
            other.wait(now.seq + 100, LIMIT_S)
            tap.ok(False, "a signal ends it")
        except InterruptedError:
            tap.ok(time.monotonic() - begun < LIMIT_S / 2, "a signal ends it")
        signal.signal(signal.SIGALRM, before)
        timer = later(0.3, other.close)
        fails(Code.CLOSED, "close does not wait for who waits", other.wait, now.seq + 100, LIMIT_S)
        timer.join()
        fails(Code.CLOSED, "the position of what is closed", lambda: other.position)


def check_watch(c: cli.Cli) -> None:
    with open_db(c) as db:
        with db.watch() as watch, db.watch() as second:
            tap.ok(not readable(watch.fileno(), 0), "a new watch is quiet")
            at = rename(db, "c")
            tap.ok(readable(watch.fileno(), LIMIT_S) and readable(second.fileno(), LIMIT_S),
                   "a commit makes them readable")
            tap.equal(watch.clear(), at, "the position when it is cleared")
            tap.ok(not readable(watch.fileno(), 0) and readable(second.fileno(), 0),
                   "then it is quiet, and the other is not")
            fails(Code.TIMEOUT, "nothing moves", watch.wait, 0.05)
            timer = later(0.2, lambda: rename(db, "d"))
            tap.ok(watch.wait(LIMIT_S).seq > at.seq, "wait")
            timer.join()
            timer = later(0.2, second.end)
            second.clear()
            fails(Code.CLOSED, "end under the hands of who waits", second.wait, LIMIT_S)
            timer.join()
        fails(Code.CLOSED, "an ended watch", watch.fileno)
        left = db.watch()
    fails(Code.CLOSED, "a watch of a closed database", left.clear)
    fails(Code.CLOSED, "watch a closed database", db.watch)


# ---- Idempotency keys ----------------------------------------------------------------------------


def check_keys(db) -> None:
    new = reqcast.new_id()
    results = []
    for name in ("k", "k"):
        with db.write(key="first") as txn:
            txn.put("workspaces", new, name=name)
        results.append(txn.result)
    tap.equal([r.replayed for r in results], [False, True], "the same again is replayed")
    tap.equal(results[1]._replace(replayed=False), results[0], "with the result of the first")

    def other():
        with db.write() as txn:
            txn.put("workspaces", new, name="other")
            txn.key(b"first")
    fails(Code.CONFLICT, "another request", other)
    with db.write(key=b"\0" * 255) as txn:
        txn.put("workspaces", new, name="zeros")
        for bad in ("", b"", "x" * 256, "\ud800"):
            fails(Code.INVALID, f"no key: {len(bad)} long", txn.key, bad)
    with db.write(key=b"\0" * 255) as txn:
        txn.put("workspaces", new, name="zeros")
    tap.ok(txn.result.replayed, "a key of zero bytes, not overwritten by what was refused")
    with db.write(key=b"\0" * 255) as txn:
        txn.put("workspaces", new, name="again")
        txn.key(None)
    tap.ok(not txn.result.replayed, "None takes it away")
    txn = db.write()
    txn.end()
    fails(Code.CLOSED, "the key of what has ended", txn.key, "x")


# ---- Commits that nobody waits for ---------------------------------------------------------------


def check_functions(c: cli.Cli, db) -> None:
    told, done = [], threading.Event()

    def refused():
        codes = []
        for use in (db.sync, db.verify, db.close, lambda: db.wait(1), db.write().commit):
            try:
                use()
            except reqcast.Error as e:
                codes.append(e.code)
        return codes

    def function(completion):
        told.append((completion.transaction, completion.result, completion.error,
                     refused() if len(told) == 0 else None, db.stats()["owner"]))
        if len(told) == 3:
            done.set()
    txns = []
    for i in range(3):
        txn = db.write()
        txn.put("workspaces", name=f"async {i}") if i != 1 else txn.delete("http", reqcast.new_id())
        txn.commit_async(function)
        txns.append(txn)
    tap.ok(done.wait(LIMIT_S), "functions are called")
    tap.equal([t[0] for t in told], txns, "in the order of the calls")
    tap.equal([t[1] and t[1].written for t in told], [1, None, 1], "results")
    tap.equal([t[2] and t[2].code for t in told], [None, Code.NOT_FOUND, None], "errors")
    tap.ok("write 1 (http" in told[1][2].text, "an error's detail")
    tap.equal((txns[0].result, txns[1].result), (told[0][1], None), "the transaction's result")
    tap.equal(told[0][3], [Code.INVALID] * 5, "what waits is refused in a function")
    tap.ok(all(t[4] for t in told), "what does not wait is not")
    fails(Code.NOT_FOUND, "it has its writes still", txns[1].commit)

    tries, done = [], threading.Event()

    def again(completion):
        tries.append(completion.error)
        if len(tries) < 3:
            completion.transaction.patch("workspaces", d.OTHER, name=f"{len(tries)}")
            completion.transaction.commit_async(again)
        else:
            done.set()
            raise ZeroDivisionError
    raised, hook = [], threading.excepthook
    threading.excepthook = lambda args: raised.append(args.exc_type)
    with db.write() as txn:
        txn.patch("workspaces", d.OTHER, name="0")
        txn.commit_async(again)
    tap.ok(done.wait(LIMIT_S), "a block may be left meanwhile; the function submits it again")
    db.write().commit()  # behind the function's return
    threading.excepthook = hook
    tap.equal(raised, [ZeroDivisionError], "what a function raises is told")
    tap.equal(c.sql("SELECT name FROM workspaces WHERE id = ?", cli.unulid(d.OTHER)), [("2",)],
              "all of them are stored")


def check_in_flight(c: cli.Cli, db) -> None:
    """While another program holds the file's lock nothing completes."""
    with c.sqlite() as other:
        other.execute("BEGIN IMMEDIATE")
        txn, gone = db.write(), db.write()
        for i, t in enumerate((txn, gone)):
            t.patch("http", d.BASES[i], name="flies")
            t.commit_async()
        for name, use in (("put", lambda: txn.put("workspaces", name="x")), ("commit", txn.commit),
                          ("key", lambda: txn.key("k")), ("submit", txn.commit_async)):
            fails(Code.INVALID, f"in flight: {name}", use, needle="in flight")
        tap.equal(db.completed(), None, "nothing has completed")
        fd = db.completions_fd()
        tap.ok(not readable(fd, 0), "the descriptor says so")
        gone.end()
        other.rollback()
        tap.ok(readable(fd, LIMIT_S), "it becomes readable")
        completion = db.completed()
        tap.ok(completion.transaction is txn and completion.error is None
               and completion.result.written == 1, "its completion")
    rename(db, "behind")
    tap.equal((db.completed(), readable(fd, 0)), (None, False), "what was let go has none")
    with db.read() as view:
        tap.equal(view.get("http", d.BASES[1])["name"], "flies", "but was stored")
    txn.patch("http", d.BASES[0], name="x", if_seq=1)
    txn.commit_async()
    tap.ok(readable(fd, LIMIT_S), "again")
    tap.equal(db.completed().error.code, Code.CHANGED, "one that fails")


def check_end_waits(c: cli.Cli, db) -> None:
    """end() must not free what another thread is committing."""
    codes, txn = [], db.write()
    txn.patch("http", d.BASES[0], name="held")

    def commit():
        codes.append(txn.commit().written)
    with c.sqlite() as other:
        other.execute("BEGIN IMMEDIATE")
        committer, ender = threading.Thread(target=commit), threading.Thread(target=txn.end)
        committer.start()
        time.sleep(0.3)
        fails(Code.INVALID, "write to what another thread commits", txn.delete, "http", d.BASES[0])
        ender.start()
        ender.join(0.3)
        tap.ok(ender.is_alive(), "end waits for another thread's commit")
        other.rollback()
    committer.join()
    ender.join(LIMIT_S)
    tap.equal(codes, [1], "which is made")
    fails(Code.CLOSED, "then it has ended", txn.commit)


def check_last_references(c: cli.Cli) -> None:
    """The last of them goes on the library's thread: it cannot wait for itself."""
    codes, done = [], threading.Event()

    def submit():
        db = open_db(c)
        txn = db.write()
        txn.patch("http", d.BASES[0], name="nobody's")
        txn.commit_async(lambda completion: (codes.append(completion.error), done.set()))
        return weakref.ref(db)
    held = submit()
    tap.ok(done.wait(LIMIT_S) and codes == [None], "what nobody holds is completed")
    until = time.monotonic() + LIMIT_S
    while held() is not None and time.monotonic() < until:
        gc.collect()
        time.sleep(0.01)
    tap.ok(held() is None, "and its database goes")
    while time.monotonic() < until:
        with contextlib.suppress(reqcast.Error):
            open_db(c).close()
            break
    tap.ok(time.monotonic() < until, "which is closed")


def check_closed(c: cli.Cli) -> None:
    told, db = [], open_db(c)

    def function(completion):
        told.append(completion.error)
        for use in (lambda: completion.transaction.put("workspaces", name="x"), db.read):
            try:
                use()
            except reqcast.Error as e:
                told.append(e.code)
    kept = []
    with c.sqlite() as other:
        other.execute("BEGIN IMMEDIATE")
        for on_completion in (function, None):
            txn = db.write()
            txn.patch("http", d.BASES[0], name="at the end")
            txn.commit_async(on_completion)
            kept.append(txn)
        closer = threading.Thread(target=db.close)
        closer.start()
        time.sleep(0.2)
        tap.ok(closer.is_alive(), "close waits until all are stored")
        other.rollback()
    closer.join(LIMIT_S)
    tap.equal((closer.is_alive(), told), (False, [None, Code.CLOSED, Code.CLOSED]),
              "it calls functions; the database is closed for them")
    for txn in kept:
        txn.end()
    fails(Code.CLOSED, "completed of what is closed", db.completed)
    fails(Code.CLOSED, "its descriptor", db.completions_fd)
    script = ("import sys, reqcast\n"
              "db = reqcast.open(sys.argv[1], view_dir=sys.argv[2], log=lambda *_: None)\n"
              "for i in range(50):\n"
              "    txn = db.write()\n"
              "    txn.put('workspaces', name='exit')\n"
              "    txn.commit_async(lambda c: print(c.error, flush=True))\n")
    r = subprocess.run([sys.executable, "-c", script, str(c.db), str(c.view)], text=True,
                       capture_output=True, env=python_module.environment(), timeout=120)
    tap.equal((r.returncode, r.stdout, r.stderr), (0, "None\n" * 50, ""),
              "the interpreter's end waits for them")


# ---- Runs ----------------------------------------------------------------------------------------


def check_snapshot(db) -> None:
    with db.write() as txn, db.read() as view:
        version = txn.snapshot(
            view, d.BASES[0], d.DELTA, version_name="run", description="told", at=d.T0,
            response={"status": 201, "body": b"x" * 50000, "duration": 7,
                      "size": 50000, "time": "2025-10-09T08:53:20Z"},
            headers=[{"key": "A", "value": "1"}, {"key": "B", "value": "2"}],
            asserts=[{"value": "response.status == 201", "success": True}])
        plain = txn.snapshot(view, d.BASES[1])
        for name, code, args, more in (
                ("no such base", Code.NOT_FOUND, (d.OTHER,), {}),
                ("a foreign delta", Code.INVALID, (d.BASES[1], d.DELTA), {}),
                ("a bad column", Code.INVALID, (d.BASES[1],), {"response": {"nope": 1}}),
                ("an id among the columns", Code.INVALID, (d.BASES[1],),
                 {"response": {"id": d.OTHER}}),
                ("headers of no response", Code.INVALID, (d.BASES[1],), {"headers": [{"key": "A"}]}),
                ("a time beyond 64 bits", Code.INVALID, (d.BASES[1],), {"at": 2**63})):
            fails(code, f"snapshot: {name}", txn.snapshot, view, *args, **more)
    fails(Code.CLOSED, "snapshot: an ended session", db.write().snapshot, view, d.BASES[1])
    with db.read() as view:
        v, copy = view.get("http_version", version), view.get("http", version)
        tap.equal((v["version_name"], v["version_description"], str(v["http_id"]), v["created_at"]),
                  ("run", "told", d.DELTA, d.T0), "the version")
        tap.equal((copy["url"], copy["is_snapshot"], copy["created_at"]),
                  ("https://staging.test/", True, d.T0), "the copy is as it resolved")
        headers = [(h["header_key"], h["header_value"], h["enabled"])
                   for h in view.resolve(version).headers]
        tap.equal(headers, [(h["header_key"], h["header_value"], h["enabled"])
                            for h in view.resolve(d.BASES[0], d.DELTA).headers], "its headers")
        [r] = view.children("http_response", [version])
        tap.equal((r["status"], view.value(r, "body"), r["duration"], r["created_at"]),
                  (201, b"x" * 50000, 7, d.T0), "the response")
        tap.equal(sorted((h["key"], h["value"])
                         for h in view.children("http_response_header", [r.id])),
                  [("A", "1"), ("B", "2")], "its headers")
        [a] = view.children("http_response_assert", [r.id])
        tap.equal((a["value"], a["success"]), ("response.status == 201", True), "what asserts gave")
        tap.equal((view.children("http_response", [plain]), str(view.get("http_version",
                   plain)["http_id"])), ([], d.BASES[1]), "a run of which nothing is known")
        tap.equal(view.get("http_version", plain)["version_name"][0], "v", "it has a name")


def check_other_session(c: cli.Cli, db) -> None:
    with cli.database() as c2, open_db(c2) as db2, db2.read() as view:
        fails(Code.INVALID, "snapshot: the session of another database", db.write().snapshot, view,
              d.BASES[0])


def main() -> None:
    with cli.database() as c:
        c.put(d.records())
        check_wait(c)
        check_watch(c)
        with open_db(c) as db:
            check_keys(db)
            check_functions(c, db)
            check_in_flight(c, db)
            check_end_waits(c, db)
            check_snapshot(db)
            check_other_session(c, db)
        check_last_references(c)
        check_closed(c)
        tap.equal(c.one("verify")["differences"], 0, "verify at the end")
    tap.done()


sys.exit(main())
