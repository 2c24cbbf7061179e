# SPDX-License-Identifier: Apache-2.0
"""Databases, sessions, transactions.

One lock per database keeps a handle from being used while another thread frees it. What may wait
for the disk or for other processes (commit, sync, verify) runs without it, and close waits for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import threading
import weakref
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint64, c_void_p
from typing import Optional

from reqcast import _abi
from reqcast._abi import ID, lib
from reqcast._records import (Activity, Chain, Change, Changes, Difference, Metrics, Page, Record,
                              Resolved, ResolvedMemory, Result, Verified)
from reqcast._values import (ANY_TIME, Code, Error, Id, Large, Position, c_text, check, entity_named,
                             entity_of, position_of, read_value, set_value)

LONG_AGO = -(2**63)


class _Handle:
    """What belongs to a database and ends before it does. Leaving a `with` block ends it."""
    _what = "handle"

    def __init__(self, database: Database):
        self._db = database
        self._lock = database._lock
        with self._lock:
            self._p = self._begin(database._use())
            database._handles.add(self)

    def _use(self) -> int:
        """The handle, for a call that is made while the lock is held."""
        self._db._use()
        if self._p is None:
            raise Error(Code.CLOSED, f"the {self._what} has ended")
        return self._p

    def end(self) -> None:
        """Calling it twice is harmless."""
        if self._db._forked():
            return
        with self._lock:
            p, self._p = self._p, None
            if p is not None:
                self._give_up(p)

    def __del__(self):
        if getattr(self, "_p", None) is not None:
            self.end()

    def __enter__(self):
        with self._lock:
            self._use()
        return self


class Session(_Handle):
    """Sees one position. Made by Database.read(), and best used as `with db.read() as view:`.
    All that it gives is valid until its end. Times, limits and errors are as in reqcast.h; an id
    may be an Id, 16 bytes or text."""
    _what = "read session"

    def _begin(self, db: int) -> int:
        self._list, self._changes = _abi.CList(), _abi.CChangesList()
        idle, error = self._db._idle, _abi.CError()
        if idle:
            p = idle.pop()
        else:
            out = c_void_p()
            check(lib.rqc_read_new(db, byref(out), byref(error)), error.text)
            p = out.value
        code = lib.rqc_read_begin(p)
        if code != 0:
            text = lib.rqc_read_error(p)
            idle.append(p)
            check(code, text)
        return p

    def _give_up(self, p: int) -> None:
        lib.rqc_read_end(p)
        self._db._idle.append(p)
        lib.rqc_list_free(byref(self._list))
        lib.rqc_changes_free(byref(self._changes))

    def __exit__(self, *_):
        self.end()

    # What the objects of _records.py call: the session's end must not come in between.

    def _call(self, function, *arguments):
        with self._lock:
            self._use()
            return function(*arguments)

    def _value(self, function, p, field: int):
        with self._lock:
            self._use()
            return read_value(function(p, field))

    def _check(self, code: int) -> None:
        if code != 0:
            check(code, lib.rqc_read_error(self._p))

    def _ask(self, function, *arguments) -> list:
        """A query that fills the list, as records."""
        with self._lock:
            self._check(function(self._use(), *arguments, byref(self._list)))
            items = self._list.items
            return [Record(self, items[i]) for i in range(self._list.n)]

    @property
    def position(self) -> Position:
        with self._lock:
            return position_of(lib.rqc_read_position(self._use()))

    def get(self, entity: str, id) -> Optional[Record]:
        """None when there is no such record."""
        out = c_void_p()
        with self._lock:
            code = lib.rqc_get(self._use(), entity_named(entity).code, Id(id), byref(out))
            if code == Code.NOT_FOUND:
                return None
            self._check(code)
            return Record(self, out.value)

    def workspaces(self) -> list:
        return self._ask(lib.rqc_workspaces)

    def _page(self, function, cursor, workspace, *arguments) -> Page:
        place = _page_cursor(cursor)
        page = Page(self._ask(function, Id(workspace), *arguments, byref(place)))
        if place.state == 1:
            page.next = f"{place.updated_at}.{Id(bytes(place.id))}"
        return page

    def page(self, workspace, until: int = ANY_TIME, method: Optional[str] = None, limit: int = 50,
             cursor: Optional[str] = None) -> Page:
        """Base requests, newest first; behind what gave `cursor` as next."""
        return self._page(lib.rqc_page, cursor, workspace, _time(until), c_text(method, "method"),
                          _limit(limit))

    def walk(self, workspace, until: int = ANY_TIME, method: Optional[str] = None, size: int = 1000):
        """All base requests, one after the other; they are fetched by pages of `size`."""
        page = self.page(workspace, until, method, size)
        yield from page
        while page.next is not None and size > 0:
            page = self.page(workspace, until, method, size, page.next)
            yield from page

    def updates(self, workspace, since: int, until: int = ANY_TIME, method: Optional[str] = None,
                limit: int = 1000, cursor: Optional[str] = None) -> Page:
        """Bases and deltas with since < updated_at <= until, oldest first."""
        return self._page(lib.rqc_updates, cursor, workspace, _time(since), _time(until),
                          c_text(method, "method"), _limit(limit))

    def count(self, workspace, until: int = ANY_TIME) -> int:
        out = c_uint64()
        with self._lock:
            self._check(lib.rqc_count(self._use(), Id(workspace), _time(until), byref(out)))
        return out.value

    def batch(self, ids, until: int = ANY_TIME) -> list:
        """Requests by id, newest first."""
        return self._ask(lib.rqc_batch, *_ids(ids), _time(until))

    def deltas(self, parents, since: int = LONG_AGO, until: int = ANY_TIME) -> list:
        return self._ask(lib.rqc_deltas, *_ids(parents), _time(since), _time(until))

    def children(self, entity: str, owners, until: int = ANY_TIME, all: bool = False) -> list:
        """Headers, parameters and so on of many requests; only enabled ones, unless `all`."""
        return self._ask(lib.rqc_children, entity_named(entity).code, *_ids(owners), _time(until),
                         bool(all))

    def metrics(self, workspace, since: int = LONG_AGO) -> Metrics:
        m = _abi.CMetrics()
        with self._lock:
            self._check(lib.rqc_metrics_read(self._use(), Id(workspace), _time(since), byref(m)))
        return Metrics(m.total, m.base, m.delta, m.recent, m.latest if m.has_times else None,
                       m.earliest if m.has_times else None)

    def activity(self, workspace, since: int = LONG_AGO, max: int = 30) -> list:
        days, n = (_abi.CActivity * max)(), c_size_t()
        with self._lock:
            self._check(lib.rqc_activity_read(self._use(), Id(workspace), _time(since), days, max,
                                              byref(n)))
        return [Activity(d.day, d.changes, d.deltas, d.bases) for d in days[:n.value]]

    def changes(self, workspace=None, since=0, limit: int = 1000) -> Changes:
        """Each record that changed behind `since` (a seq, a Position, or what changes gave as next),
        once, deletes too; of all workspaces unless one is given. Code.TOO_OLD, EPOCH_CHANGED and
        FUTURE say: start over from 0."""
        done = c_int()
        with self._lock:
            cursor = self._cursor(str(since))
            self._check(lib.rqc_changes(self._use(), None if workspace is None else Id(workspace),
                                        byref(cursor), _limit(limit), byref(self._changes),
                                        byref(done)))
            found = Changes(self._change(self._changes.items[i]) for i in range(self._changes.n))
            found.up_to_date = bool(done.value)
            found.next = str(self.position._replace(seq=cursor.seq))
        if cursor.entity:
            entity = entity_of(cursor.entity).name
            found.next += f"/{entity}/{Id(bytes(cursor.id))}/{cursor.started}"
        return found

    def _change(self, c) -> Change:
        return Change("upsert" if c.op == 1 else "delete", entity_of(c.entity).name,
                      Id(ctypes.string_at(c.id, 16)), c.seq, Record(self, c.record) if c.record
                      else None)

    def _cursor(self, text: str):
        """SEQ, TERM@STOREID:SEQ, or one of them and /ENTITY/ID/STARTED."""
        here, p = lib.rqc_read_position(self._use()), _abi.CPosition()
        head, *rest = text.split("/")
        bad = f"{text} is no position, and not what changes gave as next"
        check(lib.rqc_position_parse(c_text(head, "since"), byref(here), byref(p)), bad.encode())
        if p.seq and (p.term, bytes(p.store_id)) != (here.term, bytes(here.store_id)):
            raise Error(Code.EPOCH_CHANGED,
                        f"{text} belongs to another history of the database: start over from 0")
        if not rest:
            return _abi.CCursor(p.seq)
        if len(rest) != 3 or not re.fullmatch("[0-9]{1,19}", rest[2]):
            raise Error(Code.INVALID, bad)
        return _abi.CCursor(p.seq, entity_named(rest[0]).code, ID(*Id(rest[1])), int(rest[2]))

    def resolve(self, base, delta=None) -> Resolved:
        """The base with at most one delta, and all children."""
        memory = ResolvedMemory()
        with self._lock:
            self._check(lib.rqc_resolve(self._use(), Id(base), None if delta is None else Id(delta),
                                        byref(memory.c)))
            return Resolved(self, memory)

    def chain(self, base, until: int = ANY_TIME) -> Optional[Chain]:
        """The base merged with the deepest of its deltas; None when no base has this id."""
        records = self._ask(lib.rqc_chain, Id(base), _time(until))
        return Chain(self, records) if records else None

    def large(self, record: Record, column: str) -> bytes:
        """The bytes of a text or of bytes, also of those that are not in the view. Code.CHANGED when
        the row changed since."""
        out, n = c_void_p(), c_size_t()
        with self._lock:
            if record._session is not self:
                raise Error(Code.INVALID, "the record is of another session")
            self._use()
            field = record._entity.field(column)
            self._check(lib.rqc_large(self._use(), record._p, field, byref(out), byref(n)))
        try:
            return (ctypes.c_char * n.value).from_address(out.value).raw if n.value else b""
        finally:
            _abi.free(out)

    def value(self, record: Record, column: str):
        """record[column], but a Large as its bytes."""
        value = record[column]
        return self.large(record, column) if isinstance(value, Large) else value


class Transaction(_Handle):
    """All of it is stored, or nothing. Made by Database.write(); `with db.write() as txn:` commits
    when the block ends, and gives it up when the block raises. `result` tells of the last commit."""
    _what = "transaction"
    result: Optional[Result] = None

    def _begin(self, db: int) -> int:
        out, error = c_void_p(), _abi.CError()
        self._pending = 0
        check(lib.rqc_txn_new(db, byref(out), byref(error)), error.text)
        return out.value

    def _give_up(self, p: int) -> None:
        lib.rqc_txn_free(p)

    def __exit__(self, kind, *_):
        try:
            if kind is None and self._p is not None and (self._pending or self.result is None):
                self.commit()
        finally:
            self.end()

    def _write(self, function, entity: str, id, fields: dict, *more) -> Id:
        e = entity_named(entity)
        id = Id(id)
        row = (_abi.CValue * len(e.columns))()
        kept = []
        for column, value in fields.items():
            try:
                field = e.field(column)
            except KeyError as error:
                raise Error(Code.INVALID, error.args[0]) from None
            if field == 0:
                raise Error(Code.INVALID, "the id stands before the columns")
            kept.append(set_value(row[field], value, f"{e.name}.{column}"))
        self._call(function, e.code, id, row, *more)
        return id

    def _call(self, function, *arguments) -> None:
        with self._lock:
            p = self._use()
            code = function(p, *arguments)
            if code != 0:
                check(code, lib.rqc_txn_error(p))
            self._pending += 1

    def put(self, entity: str, id=None, /, **columns) -> Id:
        """Inserts, or replaces every column of the row with this id; a new one without. A column
        that is not given has its default."""
        return self._write(lib.rqc_put, entity, _new(id), columns)

    def add(self, entity: str, id=None, /, **columns) -> Id:
        """As put, but leaves a row that is there alone."""
        return self._write(lib.rqc_add, entity, _new(id), columns)

    def patch(self, entity: str, id, /, *, if_seq: int = 0, **columns) -> None:
        """Changes columns: one that is not given (or ABSENT) stays, None makes it NULL (on an
        override: inherit). With if_seq the commit fails with Code.CHANGED when the row changed
        behind it."""
        self._write(lib.rqc_patch, entity, id, columns, _seq(if_seq))

    def delete(self, entity: str, id, *, if_seq: int = 0) -> None:
        """With all that hangs on it."""
        self._call(lib.rqc_delete, entity_named(entity).code, Id(id), _seq(if_seq))

    def commit(self) -> Result:
        """Returns when it is durable. The transaction is empty then, and may go on."""
        r = _abi.CResult()
        with self._db._outside(self) as p:
            code = lib.rqc_commit(p, byref(r))
            check(code, lib.rqc_txn_error(p) if code else b"")
        self._pending = 0
        self.result = Result(position_of(r.position), r.written, r.skipped, r.deleted,
                             bool(r.visible))
        return self.result


class Database:
    """Made by open() or attach(). Leaving a `with` block closes it, with all sessions and
    transactions that are left."""

    def __init__(self, function, path, options: dict):
        self._lock = threading.RLock()
        self._nobody_outside = threading.Condition(self._lock)
        self._outside_calls = 0
        self._handles = weakref.WeakSet()
        self._idle = []  # sessions that are not begun
        self._p, self._pid = None, os.getpid()
        self._options = _options(**options)  # the library calls its functions until it is closed
        out, error = c_void_p(), _abi.CError()
        check(function(c_text(path, "path"), byref(self._options), byref(out), byref(error)),
              error.text)
        self._p = out.value

    def _forked(self) -> bool:
        return os.getpid() != self._pid

    def _use(self) -> int:
        if self._forked():
            raise Error(Code.CLOSED, "the database was opened before this process was forked")
        if self._p is None:
            raise Error(Code.CLOSED, "the database is closed")
        return self._p

    @contextlib.contextmanager
    def _outside(self, handle=None):
        """Gives the database's handle, or another, for a call without the lock."""
        with self._lock:
            p = (handle or self)._use()
            self._outside_calls += 1
        try:
            yield p
        finally:
            with self._lock:
                self._outside_calls -= 1
                self._nobody_outside.notify_all()

    def read(self) -> Session:
        """A session, begun at the newest position."""
        return Session(self)

    def write(self) -> Transaction:
        return Transaction(self)

    def sync(self) -> None:
        """Picks up what other programs committed in the SQLite file."""
        error = _abi.CError()
        with self._outside() as p:
            check(lib.rqc_sync(p, byref(error)), error.text)

    def stats(self) -> dict:
        s, error = _abi.CStats(), _abi.CError()
        s.size = ctypes.sizeof(s)
        with self._outside() as p:
            check(lib.rqc_stats_read(p, byref(s), byref(error)), error.text)
        found = {name: getattr(s, name) for name, _ in s._fields_ if name != "size"}
        return {**found, "position": position_of(s.position), "owner": bool(s.owner),
                "view_lagging": bool(s.view_lagging), "spare": bool(s.spare)}

    def verify(self, repair: bool = False) -> Verified:
        """Compares every row with the view."""
        v, error, found = _abi.CVerified(), _abi.CError(), []

        def told(_, p):
            d = _abi.CDifference.from_address(p)
            found.append(Difference(entity_of(d.entity).name if d.entity else None,
                                    Id(bytes(d.id)), (d.what or b"").decode()))
        with self._outside() as p:
            check(lib.rqc_verify(p, bool(repair), _abi.DIFFERENCE(told), None, byref(v),
                                 byref(error)), error.text)
        return Verified(v.records, found, bytes(v.digest).hex(), position_of(v.position))

    def close(self) -> None:
        """Calling it twice is harmless."""
        if self._forked():
            return
        with self._lock:
            while self._outside_calls:
                self._nobody_outside.wait()
            p, self._p = self._p, None
            if p is None:
                return
            for handle in list(self._handles):
                handle.end()
            while self._idle:
                lib.rqc_read_free(self._idle.pop())
            lib.rqc_close(p)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_p", None) is not None:
            self.close()


def _options(create=False, view_dir=None, view_map_bytes=0, retain=0, max_age_ms=0, log=None,
             progress=None):
    o = _abi.COptions(size=ctypes.sizeof(_abi.COptions), create=bool(create),
                      view_dir=c_text(view_dir, "view_dir"), view_map_bytes=view_map_bytes,
                      retain=retain, max_age_ms=max_age_ms)
    if log:
        o.log = _abi.LOG(lambda _, level, text: log(level, text.decode("utf-8", "replace")))
    if progress:
        o.progress = _abi.PROGRESS(lambda _, what, done, total: progress(what.decode(), done, total))
    return o


def open(path, **options) -> Database:
    """Opens as the owner: reads and writes. Options are those of rqc_options: create, view_dir,
    view_map_bytes, retain, max_age_ms, log(level, text), progress(what, done, total)."""
    return Database(lib.rqc_open, path, options)


def attach(path, **options) -> Database:
    """Opens the view of a database that another process owns: reads only."""
    return Database(lib.rqc_attach, path, options)


# ---- Arguments -----------------------------------------------------------------------------------
# ctypes cuts integers to their size without a word, so they are looked at here.


def _within(n: int, least: int, most: int, what: str) -> int:
    if not isinstance(n, int) or not least <= n <= most:
        raise Error(Code.INVALID, f"{what}: {n!r} is no integer from {least} to {most}")
    return n


def _time(t: int) -> int:
    return _within(t, LONG_AGO, ANY_TIME, "time")


def _limit(n: int) -> int:
    return _within(n, 0, 2**32 - 1, "limit")


def _seq(n: int) -> int:
    return _within(n, 0, 2**64 - 1, "seq")


def _new(id):
    out = ID()
    if id is None:
        check(lib.rqc_id_new(out))
    return bytes(out) if id is None else id


def _ids(ids):
    if isinstance(ids, (str, bytes)):
        raise Error(Code.INVALID, "ids: a list is wanted, not one")
    all_ids = [i if type(i) is Id else Id(i) for i in ids]
    return b"".join(all_ids), len(all_ids)


def _page_cursor(text: Optional[str]):
    if text is None:
        return _abi.CPageCursor()
    found = re.fullmatch(r"(-?[0-9]{1,19})\.([0-9A-Za-z]{26})", str(text))
    if not found:
        raise Error(Code.INVALID, f"{text} is not what a page gave as next")
    return _abi.CPageCursor(_time(int(found[1])), ID(*Id(found[2])), 1)
