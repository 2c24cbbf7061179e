# SPDX-License-Identifier: Apache-2.0
"""Sessions: reads at one position."""

from __future__ import annotations

import ctypes
import functools
from ctypes import byref, c_int, c_size_t, c_uint64, c_void_p
from typing import Optional

from reqcast import _abi
from reqcast._abi import lib
from reqcast._arguments import (LONG_AGO, ids_of, limit_of, page_cursor, place_of, place_text,
                                time_of)
from reqcast._handle import Handle
from reqcast._records import (Activity, Chain, Changes, Metrics, Page, Record, Resolved,
                              ResolvedMemory, change_of)
from reqcast._values import (ANY_TIME, Code, Error, Id, Large, Position, c_text, check, entity_named,
                             position_of, read_value)


class Session(Handle):
    """Sees one position. Made by Database.read(), and best used as `with db.read() as view:`.
    All that it gives is valid until its end. Times, limits and errors are as in reqcast.h; an id
    may be an Id, 16 bytes or text."""
    _what = "read session"

    def _begin(self, db: int):
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
        return p, functools.partial(_finish, idle, self._list, self._changes)

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
        place = page_cursor(cursor)
        page = Page(self._ask(function, Id(workspace), *arguments, byref(place)))
        if place.state == 1:
            page.next = f"{place.updated_at}.{Id(bytes(place.id))}"
        return page

    def page(self, workspace, until: int = ANY_TIME, method: Optional[str] = None, limit: int = 50,
             cursor: Optional[str] = None) -> Page:
        """Base requests, newest first; behind what gave `cursor` as next."""
        return self._page(lib.rqc_page, cursor, workspace, time_of(until), c_text(method, "method"),
                          limit_of(limit))

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
        return self._page(lib.rqc_updates, cursor, workspace, time_of(since), time_of(until),
                          c_text(method, "method"), limit_of(limit))

    def count(self, workspace, until: int = ANY_TIME) -> int:
        out = c_uint64()
        with self._lock:
            self._check(lib.rqc_count(self._use(), Id(workspace), time_of(until), byref(out)))
        return out.value

    def batch(self, ids, until: int = ANY_TIME) -> list:
        """Requests by id, newest first."""
        return self._ask(lib.rqc_batch, *ids_of(ids), time_of(until))

    def deltas(self, parents, since: int = LONG_AGO, until: int = ANY_TIME) -> list:
        return self._ask(lib.rqc_deltas, *ids_of(parents), time_of(since), time_of(until))

    def children(self, entity: str, owners, until: int = ANY_TIME, all: bool = False) -> list:
        """Headers, parameters and so on of many requests; only enabled ones, unless `all`."""
        return self._ask(lib.rqc_children, entity_named(entity).code, *ids_of(owners), time_of(until),
                         bool(all))

    def metrics(self, workspace, since: int = LONG_AGO) -> Metrics:
        m = _abi.CMetrics()
        with self._lock:
            self._check(lib.rqc_metrics_read(self._use(), Id(workspace), time_of(since), byref(m)))
        return Metrics(m.total, m.base, m.delta, m.recent, m.latest if m.has_times else None,
                       m.earliest if m.has_times else None)

    def activity(self, workspace, since: int = LONG_AGO, max: int = 30) -> list:
        days, n = (_abi.CActivity * max)(), c_size_t()
        with self._lock:
            self._check(lib.rqc_activity_read(self._use(), Id(workspace), time_of(since), days, max,
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
                                        byref(cursor), limit_of(limit), byref(self._changes),
                                        byref(done)))
            found = Changes(change_of(self, self._changes.items[i]) for i in range(self._changes.n))
            found.up_to_date = bool(done.value)
            found.next = place_text(self.position, cursor)
        return found

    def _cursor(self, text: str):
        here = lib.rqc_read_position(self._use())
        p, cursor = place_of(text, here)
        if p.seq and (p.term, bytes(p.store_id)) != (here.term, bytes(here.store_id)):
            raise Error(Code.EPOCH_CHANGED,
                        f"{text} belongs to another history of the database: start over from 0")
        return cursor

    def resolve(self, base, delta=None) -> Resolved:
        """The base with at most one delta, and all children."""
        memory = ResolvedMemory()
        with self._lock:
            self._check(lib.rqc_resolve(self._use(), Id(base), None if delta is None else Id(delta),
                                        byref(memory.c)))
            return Resolved(self, memory)

    def chain(self, base, until: int = ANY_TIME) -> Optional[Chain]:
        """The base merged with the deepest of its deltas; None when no base has this id."""
        records = self._ask(lib.rqc_chain, Id(base), time_of(until))
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


def _finish(idle: list, found: _abi.CList, changes: _abi.CChangesList, p: int) -> None:
    lib.rqc_read_end(p)
    idle.append(p)
    lib.rqc_list_free(byref(found))
    lib.rqc_changes_free(byref(changes))
