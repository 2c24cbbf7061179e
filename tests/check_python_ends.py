# SPDX-License-Identifier: Apache-2.0
"""The Python module: how things end when the garbage collector ends them, and when an interrupt comes in
between."""

import subprocess
import sys

import cli
import cli_data as d
import python_module
import tap

python_module.load()


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


def main() -> None:
    with cli.database() as c:
        c.put(d.records())
        check_collected(c)
        check_interrupted(c)
        tap.equal(c.one("verify")["differences"], 0, "verify at the end")
    tap.done()


sys.exit(main())
