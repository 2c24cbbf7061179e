# SPDX-License-Identifier: Apache-2.0
"""The Python module: how things end when the garbage collector ends them."""

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


def main() -> None:
    with cli.database() as c:
        c.put(d.records())
        check_collected(c)
        tap.equal(c.one("verify")["differences"], 0, "verify at the end")
    tap.done()


sys.exit(main())
