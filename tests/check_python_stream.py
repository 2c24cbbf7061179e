# SPDX-License-Identifier: Apache-2.0
"""The Python module: subscriptions to a real reqcastd, and writes through it. All is bounded in
time."""

import contextlib
import gc
import os
import select
import signal
import sys
import threading
import time
import weakref

import cli
import cli_data as d
import python_module
import sidecar
import tap
from python_module import fails

reqcast = python_module.load()
Code = reqcast.Code
LIMIT_S = 60


class Copy:
    """What an application keeps: {(entity, id): name}, as it was told."""

    def __init__(self):
        self.rows, self.coming, self.seen, self.place, self.head = {}, {}, [], "0", 0

    def apply(self, event) -> None:
        self.seen.append(event.kind)
        if event.kind == "reset":
            self.rows, self.coming = {}, {}
        for x in event.changes:
            self.coming[x.entity, str(x.id)] = x.record and dict(x.record)
        if event.kind == "changes" and not event.more:
            for key, row in self.coming.items():
                self.rows.pop(key, None)
                if row is not None:
                    self.rows[key] = row
            self.coming = {}
        self.place = event.place

    def at(self) -> int:
        return int(self.place.split("/")[0].rpartition(":")[2])

    def follow(self, subscription, seq: int) -> bool:
        until = time.monotonic() + LIMIT_S
        while (self.coming or self.at() < seq) and time.monotonic() < until:
            event = subscription.next(1)
            if event is not None:
                self.apply(event)
        return self.at() >= seq


def names_of(c: cli.Cli):
    return {(entity, cli.ulid(row[0])) for entity in cli.ENTITIES
            for row in c.sql(f"SELECT id FROM {entity}")}


def write(db):
    """A sidecar that opens its socket again, because a peer went while it came, ends connections:
    with a key the library tries a commit again."""
    return db.write(key=reqcast.new_id())


def rename(db, name: str) -> int:
    with write(db) as txn:
        txn.patch("http", d.BASES[0], name=name)
    return txn.result.position.seq


def until(subscription, kind: str):
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        event = subscription.next(1)
        if event is not None and event.kind == kind:
            return event
    return None


def check_follow(c: cli.Cli, url: str, db) -> None:
    copy = Copy()
    with reqcast.subscribe(url, digest=True, bookmarks=True) as sub:
        seq = rename(db, "first")
        tap.ok(copy.follow(sub, seq), "it follows")
        tap.equal(set(copy.rows), names_of(c), "a catch-up gives all there is")
        tap.equal(copy.rows["http", d.BASES[0]]["name"], "first", "as it is")
        with write(db) as txn:
            txn.delete("http_header", d.HEADERS[3])
            txn.patch("http", d.BASES[1], name="both")
        event = until(sub, "changes")
        tap.equal([(x.op, x.entity, str(x.id)) for x in event.changes],
                  [("delete", "http_header", d.HEADERS[3]), ("upsert", "http", d.BASES[1])],
                  "a transaction is one event")
        record = event.changes[1].record
        tap.equal((record["name"], record.seq, record.entity, event.changes[0].record),
                  ("both", event.changes[1].seq, "http", None), "its records are read in place")
        tap.equal((event.more, event.records, event.reason), (False, None, Code.OK), "and no more")
        copy.apply(event)
        tap.equal(event.place, str(txn.result.position), "the place is the transaction's position")
        mark = until(sub, "bookmark")
        stats = db.stats()
        tap.equal((mark.records, mark.head), (stats["records"], stats["head"]), "a bookmark")
        tap.equal(mark.digest, db.verify().digest, "its digest is that of the database")
        fails(Code.CLOSED, "a record of an event that is past", lambda: record["name"])
        numbers = sub.stats()
        tap.ok(numbers["connects"] == 1 and numbers["changes"] >= 2 and numbers["different"] == 0
               and numbers["compared"] >= 1, "stats")
    for name, use in (("next", sub.next), ("fileno", sub.fileno), ("stats", sub.stats)):
        fails(Code.CLOSED, f"an ended subscription: {name}", use)
    sub.end()
    tap.equal(list(sub), [], "no events of what has ended")


def check_places(url: str, db) -> None:
    seq = rename(db, "x")
    with db.read() as view:
        since = view.changes(None, 0, limit=3)
        whole = [x.id for x in view.changes(None, since.next, limit=10000)]
    for name, place in (("what changes gave", since.next), ("a seq", seq - 1),
                        ("a Position", db.position._replace(seq=seq - 1))):
        with reqcast.subscribe(url, since=place) as sub:
            ids, at = [], 0
            end = time.monotonic() + LIMIT_S
            while at < seq and time.monotonic() < end:
                event = sub.next(1)
                if event is not None and event.kind == "changes":
                    ids += [x.id for x in event.changes]
                    at = max(x.seq for x in event.changes)
            tap.equal(ids, whole if name == "what changes gave" else [reqcast.Id(d.BASES[0])],
                      f"goes on from {name}")
    with reqcast.subscribe(url, since=db.position._replace(seq=seq + 1000)) as sub:
        event = until(sub, "reset")
        tap.equal(event.reason, Code.FUTURE, "a place that is beyond the head: reset")
    with reqcast.subscribe(url, workspace=d.OTHER, from_now=True) as sub:
        tap.equal(until(sub, "state").reason, Code.OK, "state: it follows")
        rename(db, "not told")
        with write(db) as txn:
            txn.patch("workspaces", d.OTHER, name="told")
        tap.equal([str(x.id) for x in until(sub, "changes").changes], [d.OTHER],
                  "one workspace, from now on")
        with write(db) as txn:  # more than one step of the walk
            for i in range(300):
                txn.put("http", workspace_id=reqcast.Id(d.OTHER), name="n", method="GET", url="u" * 20000)
    with reqcast.subscribe(url) as sub:
        event = until(sub, "changes")
        tap.ok(event.more and event.place.count("/") == 3, "inside of a catch-up")
        seen = {x.id for x in event.changes}
        place = event.place
    with reqcast.subscribe(url, since=place) as sub:
        rest = until(sub, "changes")
        ids = {x.id for x in rest.changes}
        tap.ok(ids and not ids & seen, "its place goes on there")
    for name, more in (("no place", {"since": "x"}), ("no workspace", {"workspace": "x"}),
                       ("a digest from a place", {"digest": True, "since": seq}),
                       ("half a place", {"since": since.next + "/http"})):
        fails(Code.INVALID, f"subscribe: {name}", reqcast.subscribe, url, **more)
    for bad in ("x", "http://a", "ipc://" + "x" * 200, "a\0b"):
        fails(Code.INVALID, f"subscribe: {bad[:12]!r}", reqcast.subscribe, bad)
    fails(Code.NOT_FOUND, "subscribe: no such host", reqcast.subscribe, "tcp://nosuch.invalid:1")


def check_descriptor(url: str, db) -> None:
    with reqcast.subscribe(url, from_now=True) as sub:
        until(sub, "state")
        while sub.next(0) is not None:
            pass
        seq, seen = rename(db, "by poll"), []
        end = time.monotonic() + LIMIT_S
        while seq not in seen and time.monotonic() < end:
            if select.select([sub], [], [], 1)[0]:
                while (event := sub.next(0)) is not None:
                    seen += [x.seq for x in event.changes]
        tap.ok(seq in seen, "the descriptor tells of it")
        begun = time.monotonic()
        tap.ok(sub.next(0.05) is None and time.monotonic() - begun < LIMIT_S / 2, "nothing comes")
    with reqcast.subscribe(url, from_now=True) as sub:
        until(sub, "state")
        child = os.fork()
        if child == 0:
            code = None
            try:
                sub.next(0)
            except reqcast.Error as e:
                code = e.code
            sub.end()
            os._exit(0 if code == Code.CLOSED else 1)
        tap.equal(os.waitpid(child, 0)[1], 0, "a forked child is refused")
        seq = rename(db, "parent")
        tap.equal(until(sub, "changes").changes[0].seq, seq, "the parent goes on")


def check_ended_by_another(s) -> None:
    """While the sidecar stands still nothing else wakes who waits, for 2.5 seconds at least."""
    best = LIMIT_S
    for _ in range(3):
        with reqcast.subscribe(s.url, from_now=True) as sub:
            until(sub, "state")
            os.kill(s.process.pid, signal.SIGSTOP)
            while sub.next(0.1) is not None:
                pass
            ender = threading.Timer(0.2, sub.end)
            ender.start()
            begun = time.monotonic()
            left = list(sub)
            best = min(best, time.monotonic() - begun)
            os.kill(s.process.pid, signal.SIGCONT)
            ender.join()
            tap.equal(left, [], "end under the hands of who waits")
    tap.ok(best < 1.5, "at once")


def check_function(url: str, db) -> None:
    events, got, records = [], threading.Semaphore(0), []

    def function(event):
        events.append(event)
        records.extend(x.record for x in event.changes if x.record is not None)
        if event.kind == "changes":
            seen = records[-1]["name"]
            events.append(seen)
            got.release()
    with reqcast.subscribe(url, from_now=True, function=function) as sub:
        end = time.monotonic() + LIMIT_S
        while not events and time.monotonic() < end:
            time.sleep(0.01)
        rename(db, "called")
        tap.ok(got.acquire(timeout=LIMIT_S) and events[-1] == "called", "a function is called")
        fails(Code.INVALID, "next beside a function", sub.next, 0)
        fails(Code.INVALID, "fileno beside a function", sub.fileno)
        tap.ok(sub.stats()["changes"] >= 1, "stats, meanwhile")
        rename(db, "again")
        tap.ok(got.acquire(timeout=LIMIT_S), "and again")
        fails(Code.CLOSED, "a record is over with the function", lambda: records[0]["name"])
    n = len(events)
    rename(db, "untold")
    tap.equal(len(events), n, "after its end it is not called")

    # It is in the function when it is ended, and in no hurry.
    slow, entered, names = threading.Event(), threading.Event(), []

    def lingers(event):
        if event.kind == "changes":
            entered.set()
            slow.wait(LIMIT_S)
            names.append(event.changes[0].record["name"])
    sub = reqcast.subscribe(url, from_now=True, function=lingers)
    while sub.stats()["connects"] == 0:
        time.sleep(0.01)
    end = time.monotonic() + LIMIT_S
    while not entered.is_set() and time.monotonic() < end:
        rename(db, "slow")
        entered.wait(0.2)
    ender = threading.Thread(target=sub.end)
    ender.start()
    ender.join(0.2)
    tap.ok(ender.is_alive(), "end waits for the function's return")
    slow.set()
    ender.join(LIMIT_S)
    tap.equal((ender.is_alive(), names), (False, ["slow"]), "whose record is valid until then")

    # It ends itself, holding the last reference.
    done, held = threading.Event(), []

    def once(_):
        held.pop().end()
        done.set()
    sub = reqcast.subscribe(url, function=lambda event: held and once(event))
    gone = weakref.ref(sub)
    held.append(sub)
    del sub
    tap.ok(done.wait(LIMIT_S), "a function may end its subscription")
    end = time.monotonic() + LIMIT_S
    while gone() is not None and time.monotonic() < end:
        gc.collect()
        time.sleep(0.01)
    tap.ok(gone() is None, "which is gone then")

    raised, hook = threading.Event(), threading.excepthook
    threading.excepthook = lambda args: raised.set() if args.exc_type is ZeroDivisionError else 0
    sub = reqcast.subscribe(url, function=lambda _: 1 // 0)
    tap.ok(raised.wait(LIMIT_S), "what a function raises is told")
    sub.end()
    threading.excepthook = hook
    fails(Code.CLOSED, "and ends it", sub.stats)


def check_dropped(url: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        reqcast.subscribe(url).next(0)
        with contextlib.suppress(reqcast.Error):
            reqcast.subscribe(url, digest=True, since=5)
    gc.collect()
    tap.equal(len(os.listdir("/proc/self/fd")), before, "no descriptor is left")


def check_attached(c: cli.Cli, db) -> None:
    done, told = threading.Event(), []
    with db.write(key="once") as txn:
        new = txn.put("workspaces", name="through the sidecar")
    with db.write(key="once") as again:
        again.put("workspaces", new, name="through the sidecar")
    tap.equal((txn.result.written, again.result.replayed), (1, True), "attached: a key")
    txn = write(db)
    txn.patch("workspaces", new, name="later")
    txn.commit_async(lambda completion: (told.append(completion.result), done.set()))
    tap.ok(done.wait(LIMIT_S) and told[0].written == 1, "attached: commit_async")
    tap.ok(db.wait(told[0].position, LIMIT_S).seq >= told[0].position.seq, "attached: wait for it")
    with write(db) as txn, db.read() as view:
        version = txn.snapshot(view, d.BASES[0])
    with db.read() as view:
        tap.ok(view.get("http", version)["is_snapshot"], "attached: snapshot")


def check_restart(c: cli.Cli, s, db) -> None:
    copy = Copy()
    with reqcast.subscribe(s.url, digest=True) as sub:
        tap.ok(copy.follow(sub, rename(db, "before")), "it follows")
        s.stop(signal.SIGKILL)
        while (event := until(sub, "state")).reason == Code.OK:
            pass
        tap.ok(event.text, f"state: nobody answers, {event.reason.name}")
        s.start()
        with write(db) as txn:
            txn.patch("http", d.BASES[0], name="after")
            txn.delete("http", d.BASES[5])
        tap.ok(copy.follow(sub, txn.result.position.seq), "it goes on by itself")
        tap.equal(set(copy.rows), names_of(c), "with all there is")
        tap.equal(copy.rows["http", d.BASES[0]]["name"], "after", "as it is")
        tap.ok(sub.stats()["connects"] >= 2, "it connected again")


def main() -> None:
    with sidecar.sidecar() as (c, s):
        c.put(d.records())
        url = reqcast.sidecar_url(c.db)
        tap.equal(url, s.url, "sidecar_url")
        with reqcast.attach(c.db, view_dir=c.view) as db:
            check_follow(c, url, db)
            check_places(url, db)
            check_descriptor(url, db)
            check_ended_by_another(s)
            check_function(url, db)
            check_attached(c, db)
            check_restart(c, s, db)
            check_dropped(s.url)
    tap.done()


sys.exit(main())
