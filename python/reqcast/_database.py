# SPDX-License-Identifier: Apache-2.0
"""Databases.

One lock per database keeps a handle from being used while another thread frees it. What may wait
for the disk or for other processes (commit, sync, verify …) runs without it, and close waits for it.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import threading
import weakref
from ctypes import byref, c_int, c_uint64, c_void_p
from typing import Optional

from reqcast import _abi, _callbacks
from reqcast._abi import lib
from reqcast._arguments import (c_position, milliseconds_to, optional_position, until_of, within)
from reqcast._records import Copied, Difference, Integrity, Pruned, Verified
from reqcast._session import Session
from reqcast._transaction import Completion, Transaction
from reqcast._values import Code, Error, Id, Position, c_text, check, entity_of, position_of
from reqcast._watch import SLICE_S, Watch

_open = weakref.WeakSet()  # databases


class _Outside:
    """A call without the lock: close waits until it is over; Transaction.end too, where it commits.

    An interrupt may come between any two lines: whoever waits must not wait for ever then. A
    generator would be left only when the interrupt's traceback goes."""

    def __init__(self, db, transaction):
        self._db, self._transaction = db, transaction

    def __enter__(self) -> int:
        try:
            with self._db._lock:
                p = (self._transaction or self._db)._use()
                self._db._outside_calls.add(self)
                if self._transaction is not None:
                    self._transaction._committing = self
            return p
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self._db._outside_calls.discard(self)  # before the wait for the lock, which may be cut short
        if self._transaction is not None and self._transaction._committing is self:
            self._transaction._committing = None
        with self._db._lock:
            self._db._nobody_outside.notify_all()


class Database:
    """Made by open() or attach(). Leaving a `with` block closes it, with all sessions and
    transactions that are left; so does the end of the interpreter."""

    def __init__(self, function, path, options: dict):
        self._lock = threading.RLock()
        self._nobody_outside = threading.Condition(self._lock)
        self._outside_calls = set()
        self._handles = {}  # what frees them (_handle.py)
        self._idle = []  # sessions that are not begun
        self._queued = {}  # transactions in flight without a function, by number
        self._closing = False
        self._p, self._pid = None, os.getpid()
        self._options = _options(**options)  # the library calls its functions until it is closed
        out, error = c_void_p(), _abi.CError()
        check(function(c_text(path, "path"), byref(self._options), byref(out), byref(error)),
              error.text)
        self._p = out.value
        _open.add(self)

    def _forked(self) -> bool:
        return os.getpid() != self._pid

    def _use(self) -> int:
        if self._forked():
            raise Error(Code.CLOSED, "the database was opened before this process was forked")
        if self._p is None:
            raise Error(Code.CLOSED, "the database is closed")
        return self._p

    def _outside(self, transaction=None, waits=True) -> _Outside:
        """For a call with the database's handle, or with a transaction's to be committed. It `waits`
        for the library's threads, or may."""
        if waits:
            _callbacks.refuse("this call")
        return _Outside(self, transaction)

    def _free(self, p) -> None:
        """A handle, with the lock held. Nothing when that is done already."""
        free = self._handles.pop(p, None)
        if free is not None:
            free(p)

    def read(self) -> Session:
        """A session, begun at the newest position."""
        return Session(self)

    def write(self, key=None) -> Transaction:
        """Attached: through the owner, where that is a reqcastd; else Code.READ_ONLY. `key` is that
        of Transaction.key."""
        txn = Transaction(self)
        if key is not None:
            txn.key(key)
        return txn

    def completed(self) -> Optional[Completion]:
        """The oldest completion of a Transaction.commit_async without a function; None when there is
        none now."""
        c = _abi.CCompletion()
        with self._lock:
            code = lib.rqc_completions_next(self._use(), byref(c))
            if code == Code.NOT_FOUND:
                return None
            check(code)
            transaction, _ = self._queued.pop(c.ctx)
            return transaction._landed(c, has_function=False)

    def completions_fd(self) -> int:
        """Readable while completed() has one: for poll, select, epoll and asyncio's add_reader alone.
        The database's, until it is closed."""
        fd, error = c_int(), _abi.CError()
        with self._lock:
            check(lib.rqc_completions_fd(self._use(), byref(fd), byref(error)), error.text)
        return fd.value

    @property
    def position(self) -> Optional[Position]:
        """What the view shows now, without a session: quick, fit for a loop. None where there is no
        view now."""
        with self._lock:
            return optional_position(lib.rqc_position_now(self._use()))

    def wait(self, position, timeout: Optional[float] = None) -> Position:
        """Returns when the view shows `position` or more, and gives what it shows then. A Position
        (or its text) is what a write returned, in any process; a seq counts in whatever history, so
        `db.wait(seq + 1)` waits for the next change. Code.TIMEOUT after `timeout` seconds (0 only
        looks, None: for ever), or Code.FUTURE where the owner knows that the database has not come
        so far either; Code.EPOCH_CHANGED at once."""
        out, error, until = _abi.CPosition(), _abi.CError(), until_of(timeout)
        with self._lock:
            want = c_position(position, lib.rqc_position_now(self._use()))
        while True:  # slices: for signals, and for close
            left_ms = milliseconds_to(until, SLICE_S)
            with self._outside() as p:
                code = lib.rqc_wait(p, byref(want), left_ms, byref(out), byref(error))
            if self._closing:
                raise Error(Code.CLOSED, "the database was closed meanwhile")
            if code not in (Code.TIMEOUT, Code.FUTURE) or milliseconds_to(until, SLICE_S) == 0:
                check(code, error.text)
                return position_of(out)

    def watch(self) -> Watch:
        """Moves of the view from now on, for an event loop. The first one starts a thread that
        sleeps until the view moves."""
        return Watch(self)

    def sync(self) -> None:
        """Picks up what other programs committed in the SQLite file."""
        error = _abi.CError()
        with self._outside() as p:
            check(lib.rqc_sync(p, byref(error)), error.text)

    def stats(self) -> dict:
        s, error = _abi.CStats(), _abi.CError()
        s.size = ctypes.sizeof(s)
        with self._outside(waits=False) as p:
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

    def integrity(self, quick: bool = False) -> Integrity:
        """SQLite's own check of the file, while others read and write. `quick` leaves out whether
        indexes agree with their tables. Code.CORRUPT when the file cannot be read at all."""
        n, error, found = c_uint64(), _abi.CError(), []
        told = _abi.FAULT(lambda _, fault: found.append(fault.decode("utf-8", "replace")))
        with self._outside() as p:
            check(lib.rqc_integrity(p, bool(quick), told, None, byref(n), byref(error)), error.text)
        return Integrity(found, n.value)

    def prune(self, workspace, keep: Optional[int] = None,
              older_than: Optional[int] = None) -> Pruned:
        """Removes old snapshots of runs, with their children, responses and versions. The newest
        `keep` of each request stay; only what is older than `older_than` seconds goes; of both, what
        is beyond both; at least one is needed. In many transactions: what was removed before a
        failure stays removed. Code.READ_ONLY when attached."""
        options = _abi.CPruneOptions(
            ctypes.sizeof(_abi.CPruneOptions),
            -1 if keep is None else within(keep, 0, 2**63 - 1, "keep"),
            -1 if older_than is None else within(older_than, 0, 2**63 - 1, "older_than"))
        out, error = _abi.CPruned(), _abi.CError()
        with self._outside() as p:
            check(lib.rqc_prune(p, Id(workspace), byref(options), byref(out), byref(error)),
                  error.text)
        return Pruned(out.snapshots, out.versions, out.deleted, position_of(out.position))

    def backup(self, path, replace: bool = False, progress=None) -> Copied:
        """Copies the SQLite file, at one position, while everybody reads and writes on. Durable
        under its name when it returns, else there is nothing. A file that is there is replaced only
        with `replace`. progress(what, done, total) is told pages, on this thread."""
        out, error = _abi.CCopied(), _abi.CError()
        told, path = _callbacks.progress_function(progress), c_text(path, "path")
        with self._outside() as p:
            check(lib.rqc_backup(p, path, bool(replace), told, None, byref(out), byref(error)),
                  error.text)
        return copied_of(out)

    def close(self) -> None:
        """Waits for calls of other threads, and until all that was submitted is stored. Calling it
        twice is harmless."""
        if self._forked():
            return
        _callbacks.refuse("close")
        with self._lock:
            self._closing = True
            while self._outside_calls:
                self._nobody_outside.wait()
            p, self._p = self._p, None
            if p is None:
                return
            # The library calls the functions of those that are in flight before it closes.
            awaited = {t._p for t, _ in list(_callbacks.completions.values()) if t._db is self}
            for handle in list(self._handles):
                if handle not in awaited:
                    self._free(handle)
            self._queued.clear()
            while self._idle:
                lib.rqc_read_free(self._idle.pop())
        lib.rqc_close(p)  # without the lock: functions of commit_async may want it

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_p", None) is None:
            return
        if threading.get_ident() not in _callbacks.inside:
            self.close()
        else:  # the library's thread cannot wait for its own end
            with contextlib.suppress(RuntimeError):  # the interpreter ends
                threading.Thread(target=self.close).start()


@atexit.register
def _close_all() -> None:
    """Threads of the library must not call functions of an interpreter that is no more."""
    for db in list(_open):
        db.close()


def _options(create=False, view_dir=None, view_map_bytes=0, retain=0, max_age_ms=0, log=None,
             progress=None):
    o = _abi.COptions(size=ctypes.sizeof(_abi.COptions), create=bool(create),
                      view_dir=c_text(view_dir, "view_dir"), view_map_bytes=view_map_bytes,
                      retain=retain, max_age_ms=max_age_ms)
    if log:
        o.log = _callbacks.log_function(log)
    o.progress = _callbacks.progress_function(progress)
    return o


def copied_of(c: _abi.CCopied) -> Copied:
    return Copied(position_of(c.position), c.bytes, os.fsdecode(c.kept) or None)


def open(path, **options) -> Database:
    """Opens as the owner: reads and writes. Options are those of rqc_options: create, view_dir,
    view_map_bytes, retain, max_age_ms, log(level, text), progress(what, done, total)."""
    return Database(lib.rqc_open, path, options)


def attach(path, **options) -> Database:
    """Opens the view of a database that another process owns. Writes go through that process where
    it is a reqcastd; else there are none."""
    return Database(lib.rqc_attach, path, options)
