# SPDX-License-Identifier: Apache-2.0
"""The Python module: how things end when the garbage collector ends them, when an interrupt comes in
between, and when a block is left while a function of commit_async has its transaction."""

import select
import subprocess
import sys
import threading
import time

import cli
import cli_data as d
import python_module
import tap
from python_module import fails, open_db

reqcast = python_module.load()
Code = reqcast.Code
LIMIT_S = 60


def run(c: cli.Cli, script: str, *arguments):
    """What must not end this program when it goes wrong."""
    return subprocess.run([sys.executable, "-c", script, str(c.db), str(c.view), *arguments],
                          capture_output=True, text=True, env=python_module.environment(),
                          timeout=120)


# ---- The garbage collector -----------------------------------------------------------------------

# It ends what was made first first: the database. Whoever finds it out too late uses what is freed,
# which only a sanitizer notices for certain: so the calls are told.
COLLECTED = """
import gc, select, sys
import reqcast
from reqcast._abi import lib

calls = []
for name in ("rqc_close", "rqc_read_end", "rqc_read_free", "rqc_txn_free", "rqc_watch_free"):
    def call(p, name=name, function=getattr(lib, name)):
        calls.append(name)
        function(p)
    setattr(lib, name, call)


class Application:
    def __init__(self):
        self.me = self
        self.db = reqcast.open(sys.argv[1], view_dir=sys.argv[2])


def queued(fetchable):
    db = reqcast.open(sys.argv[1], view_dir=sys.argv[2])
    txn = db.write()
    txn.put("workspaces", name="x")
    txn.commit_async()
    if fetchable:
        select.select([db.completions_fd()], [], [])


def session():
    a = Application()
    a.view = a.db.read()
    a.found = a.view.workspaces()


def several():
    a = Application()
    a.handles = [a.db.watch(), a.db.write(), a.db.watch()]


def watch():
    a = Application()
    a.watch = a.db.watch()


gc.disable()
{"in flight": lambda: queued(False), "completed": lambda: queued(True), "session": session,
 "watch": watch, "several": several}[sys.argv[3]]()
assert calls == [], calls
gc.collect()
print(*calls)
"""


def check_collected(c: cli.Cli) -> None:
    for story, want in (("in flight", "rqc_txn_free"), ("completed", "rqc_txn_free"),
                        ("session", "rqc_read_end rqc_read_free"), ("watch", "rqc_watch_free"),
                        ("several", "rqc_watch_free rqc_txn_free rqc_watch_free")):
        r = run(c, COLLECTED, story)
        tap.equal((r.returncode, r.stdout, r.stderr), (0, want + " rqc_close\n", ""),
                  f"the garbage collector ends a database: {story}")


# ---- Interrupts ----------------------------------------------------------------------------------

# One at each line on the way to the library, one after the other. Its traceback stays.
INTERRUPTED = """
import os, sys, threading
import reqcast
from reqcast._abi import lib

commit = lib.rqc_commit


def rqc_commit(*arguments):
    sys.settrace(None)
    return commit(*arguments)


def interrupt_at(line):
    seen = set()  # the second time is the end of a `with`: none comes before that has left its lock

    def trace(frame, event, _):
        before = len(seen)
        if event == "line":
            seen.add((frame, frame.f_lineno))
        if before < len(seen) == line:
            raise KeyboardInterrupt
        return trace
    return trace


def returns(function, line):
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(20)
    if thread.is_alive():
        print(function.__name__, "waits for ever: interrupt", line, flush=True)
        os._exit(1)


lib.rqc_commit = rqc_commit
db = reqcast.open(sys.argv[1], view_dir=sys.argv[2])
line, interrupt = 0, True
while interrupt is not None:
    line, interrupt = line + 1, None
    txn = db.write()
    sys.settrace(interrupt_at(line))
    try:
        txn.commit()
    except KeyboardInterrupt as e:
        interrupt = e
    finally:
        sys.settrace(None)
    returns(txn.end, line)
returns(db.close, line)
print(line)
"""


def check_interrupted(c: cli.Cli) -> None:
    r = run(c, INTERRUPTED)
    good = r.returncode == 0 and r.stderr == "" and r.stdout.strip().isdigit()
    if not tap.ok(good and int(r.stdout) > 10, "after an interrupt end and close do not wait"):
        tap.note(f"{r.returncode} {r.stdout} {r.stderr}")


# ---- Blocks that are left meanwhile --------------------------------------------------------------


class Block:
    """`inside` runs in a block when the function of its transaction has begun. The function runs
    `before`, waits until the block is left, and runs `after`; it tells what they raise."""

    def __init__(self, db, before, after, inside=lambda txn: None):
        begun, self.left, self.codes = threading.Event(), threading.Event(), []
        self.waited = None

        def function(completion):
            self._try(before, completion.transaction)
            begun.set()
            self.waited = self.left.wait(5)
            self._try(after, completion.transaction)
        try:
            with db.write() as self.txn:
                self.txn.put("workspaces", name="first")
                self.txn.commit_async(function)
                tap.ok(begun.wait(LIMIT_S), "a function begins")
                inside(self.txn)
        except ZeroDivisionError:
            pass
        self.left.set()
        db.write().commit()  # behind the function's return
        tap.ok(self.waited, "the block is left at once")

    def _try(self, function, txn):
        try:
            function(txn)
            self.codes.append(None)
        except reqcast.Error as e:
            self.codes.append(e.code)


def putter(name: str):
    return lambda txn: txn.put("workspaces", name=name)


def names(c: cli.Cli, like: str) -> list:
    return [name for name, in c.sql("SELECT name FROM workspaces WHERE name LIKE ? ORDER BY name",
                                    like)]


def check_left(c: cli.Cli, db) -> None:
    def raises(txn):
        raise ZeroDivisionError
    for story, inside in (("ends", lambda txn: None), ("raises", raises)):
        done, errors = threading.Event(), []

        def stored(completion):
            errors.append(completion.error)
            done.set()

        def submit(txn):
            putter(f"{story} 2")(txn)
            txn.commit_async(stored)
        block = Block(db, putter(f"{story} 1"), submit, inside)
        tap.ok(done.wait(LIMIT_S), f"a block that {story} meanwhile: submitted again")
        db.write().commit()
        tap.equal((block.codes, errors, names(c, f"{story} _")),
                  ([None, None], [None], [f"{story} 1", f"{story} 2"]), "and all of it is stored")
        fails(Code.CLOSED, "then it has ended", block.txn.put, "workspaces", name="x")

    block = Block(db, putter("never 1"), putter("never 2"))
    tap.equal((block.codes, names(c, "never%")), ([None, None], []),
              "what is not submitted again is not stored")
    fails(Code.CLOSED, "it ends with the function", block.txn.commit)

    def refused(txn):
        for name, use in (("put", lambda: putter("other")(txn)), ("commit", txn.commit),
                          ("submit", txn.commit_async), ("key", lambda: txn.key("k")),
                          ("a block", txn.__enter__)):
            fails(Code.INVALID, f"while a function has it: {name}", use, needle="function")
    Block(db, putter("refused 1"), putter("refused 2"), refused)
    block = Block(db, putter("ended 1"), putter("ended 2"), lambda txn: txn.end())
    tap.equal((block.codes, names(c, "ended%")), ([None, Code.CLOSED], []), "but it can be ended")


def check_not_left(c: cli.Cli, db) -> None:
    """Who comes to the end of a block after the function, or has the transaction by then, keeps it."""
    done = threading.Event()

    def function(completion):
        putter("kept")(completion.transaction)
        done.set()
    with db.write() as txn:
        txn.commit_async(function)
        tap.ok(done.wait(LIMIT_S), "the function comes before the end of the block")
        db.write().commit()
        txn.put("workspaces", name="kept, too")
    tap.equal(names(c, "kept%"), ["kept", "kept, too"], "which commits what it wrote")
    with db.write() as txn:
        txn.commit_async()
    select.select([db.completions_fd()], [], [], LIMIT_S)
    tap.ok(db.completed().transaction is txn, "a block left without a function: it is fetched")
    done.clear()
    txn.commit_async(function)
    tap.ok(done.wait(LIMIT_S), "and submitted with one")
    db.write().commit()
    txn.commit()
    tap.equal(names(c, "kept"), ["kept"] * 2, "it is still whose it was")
    with db.write() as txn:
        txn.commit_async()
    select.select([db.completions_fd()], [], [], LIMIT_S)
    db.completed()
    done.clear()
    with txn:
        txn.commit_async(function)
        tap.ok(done.wait(LIMIT_S), "also in a new block")
        db.write().commit()
        txn.put("workspaces", name="kept in a new block")
    tap.equal(len(names(c, "kept%")), 5, "which commits")


def check_closed(c: cli.Cli) -> None:
    """Close, while a function has a transaction."""
    begun, codes, db = threading.Event(), [], open_db(c)

    def function(completion):
        putter("closed")(completion.transaction)
        begun.set()
        try:
            while db.position:
                time.sleep(0.01)
        except reqcast.Error:
            pass
        for use in (lambda: putter("closed")(completion.transaction),
                    lambda: completion.transaction.commit_async(function)):
            try:
                use()
            except reqcast.Error as e:
                codes.append(e.code)
    txn = db.write()
    txn.patch("http", d.BASES[0], name="submitted")
    txn.commit_async(function)
    tap.ok(begun.wait(LIMIT_S), "a function runs")
    db.close()
    txn.end()
    tap.equal((codes, names(c, "closed")), ([Code.CLOSED] * 2, []),
              "close under its hands: it is told, and nothing of it is stored")

    def lost():
        with open_db(c) as closed, closed.write() as left:
            putter("lost")(left)
            closed.close()
    fails(Code.CLOSED, "a block that outlasts its database cannot commit", lost)


def main() -> None:
    with cli.database() as c:
        c.put(d.records())
        check_collected(c)
        check_interrupted(c)
        with open_db(c) as db:
            check_left(c, db)
            check_not_left(c, db)
        check_closed(c)
        tap.equal(c.one("verify")["differences"], 0, "verify at the end")
    tap.done()


sys.exit(main())
