# SPDX-License-Identifier: Apache-2.0
"""Transactions: writes, snapshots of runs, commits that are waited for or not."""

from __future__ import annotations

import itertools
from ctypes import byref, c_void_p, cast, sizeof
from threading import get_ident
from typing import NamedTuple, Optional

from reqcast import _abi, _callbacks
from reqcast._abi import ID, lib
from reqcast._arguments import new_of, seq_of, within
from reqcast._handle import Handle
from reqcast._records import Result
from reqcast._values import (Code, Error, Id, c_text, check, encoded, entity_named, fill_row,
                             position_of)

_numbers = itertools.count(1)


def result_of(r: _abi.CResult) -> Result:
    return Result(position_of(r.position), r.written, r.skipped, r.deleted, bool(r.visible),
                  bool(r.replayed))


class Completion(NamedTuple):
    """What became of Transaction.commit_async. With an `error` there is no `result`, and the
    transaction has its writes still."""
    transaction: Transaction
    result: Optional[Result]
    error: Optional[Error]


class Transaction(Handle):
    """All of it is stored, or nothing. Made by Database.write(); `with db.write() as txn:` commits
    when the block ends, and gives it up when the block raises. `result` tells of the last commit."""
    _what = "transaction"
    result: Optional[Result] = None

    def _begin(self, db: int):
        out, error = c_void_p(), _abi.CError()
        self._to_commit = True  # by the end of the block
        self._flight = None  # in flight: under which number it is kept
        self._function_thread = None  # while a function of commit_async has it
        self._left = False  # the block, in flight or while a function had it
        self._committing = None  # the call of commit
        check(lib.rqc_txn_new(db, byref(out), byref(error)), error.text)
        return out.value, lib.rqc_txn_free

    def _use(self) -> int:
        p = super()._use()
        if self._flight is not None:
            raise Error(Code.INVALID, "the transaction is in flight")
        if self._function_has_it():
            raise Error(Code.INVALID, "the function of commit_async has the transaction")
        if self._committing is not None:
            raise Error(Code.INVALID, "another thread commits the transaction")
        return p

    def _function_has_it(self) -> bool:
        """Another thread's function."""
        return self._function_thread not in (None, get_ident())

    def end(self) -> None:
        """Without commit: nothing happened. Waits for another thread's commit. Calling it twice is
        harmless."""
        if self._db._forked():
            return
        with self._lock:
            while self._committing is not None:
                _callbacks.refuse("end")
                self._db._nobody_outside.wait()
            _callbacks.completions.pop(self._flight, None)
            self._db._queued.pop(self._flight, None)
            super().end()

    def __enter__(self):
        with self._lock:
            super().__enter__()
            self._left = False
        return self

    def __exit__(self, kind, *_):
        if self._left_meanwhile():
            return
        try:
            if kind is None and self._p is not None and self._to_commit:
                self.commit()
        finally:
            if not self._left_meanwhile():
                self.end()

    def _left_meanwhile(self) -> bool:
        """Whether the block is left before its completion, or the return of its function."""
        if self._db._forked():
            return False
        with self._lock:
            meanwhile = self._flight is not None or self._function_has_it()
            self._left = self._left or meanwhile
            return meanwhile

    def _call(self, function, *arguments) -> None:
        with self._lock:
            p = self._use()
            code = function(p, *arguments)
            if code != 0:
                check(code, lib.rqc_txn_error(p))
            self._to_commit = True

    def _write(self, function, entity: str, id, columns: dict, *more) -> Id:
        e, id = entity_named(entity), Id(id)
        row = (_abi.CValue * len(e.columns))()
        kept = fill_row(e, row, columns)
        self._call(function, e.code, id, row, *more)
        del kept
        return id

    def put(self, entity: str, id=None, /, **columns) -> Id:
        """Inserts, or replaces every column of the row with this id; a new one without. A column
        that is not given has its default."""
        return self._write(lib.rqc_put, entity, new_of(id), columns)

    def add(self, entity: str, id=None, /, **columns) -> Id:
        """As put, but leaves a row that is there alone."""
        return self._write(lib.rqc_add, entity, new_of(id), columns)

    def patch(self, entity: str, id, /, *, if_seq: int = 0, **columns) -> None:
        """Changes columns: one that is not given (or ABSENT) stays, None makes it NULL (on an
        override: inherit). With if_seq the commit fails with Code.CHANGED when the row changed
        behind it."""
        self._write(lib.rqc_patch, entity, id, columns, seq_of(if_seq))

    def delete(self, entity: str, id, *, if_seq: int = 0) -> None:
        """With all that hangs on it."""
        self._call(lib.rqc_delete, entity_named(entity).code, Id(id), seq_of(if_seq))

    def snapshot(self, view, base, delta=None, *, version_name: Optional[str] = None,
                 description: Optional[str] = None, created_by=None, at: int = 0,
                 response: Optional[dict] = None, headers=(), asserts=()) -> Id:
        """Adds the snapshot of a run: a copy of the request as it resolves in the session `view`
        (of this database), with its children, and a version of that request. The Id is that of the
        version and of the copy. `at` is in UNIX seconds, 0: now. `response`, and each of its
        `headers` and `asserts`, is a dict of columns; those that name their owner are set.
        Code.NOT_FOUND when there is no such base or delta; then the transaction is as it was."""
        run = _abi.CRun(size=sizeof(_abi.CRun), version_name=c_text(version_name, "version_name"),
                        description=c_text(description, "description"),
                        created_by=None if created_by is None else Id(created_by),
                        at=within(at, -(2**63), 2**63 - 1, "at"), nheaders=len(headers),
                        nasserts=len(asserts))
        kept = [_rows("http_response", [] if response is None else [response]),
                _rows("http_response_header", headers), _rows("http_response_assert", asserts)]
        run.response, run.headers, run.asserts = [cast(rows, c_void_p) if rows else None
                                                  for rows, _ in kept]
        out = ID()
        with self._lock:
            if view._db is not self._db:
                raise Error(Code.INVALID, "the session is of another database")
            self._call(lib.rqc_snapshot, view._use(), Id(base),
                       None if delta is None else Id(delta), byref(run), out)
        return Id(bytes(out))

    def key(self, key) -> None:
        """Idempotency: text or bytes, 1 to 255 of them. A commit with a key that was used returns
        what the first one returned (Result.replayed), and writes nothing, where the writes are the
        same; else Code.CONFLICT. So a commit whose answer was lost may be tried again. A key is kept
        for 86,400 seconds, unless 100,000 newer ones were used. A commit that succeeds takes it from
        the transaction; so does None."""
        data = b"" if key is None else encoded(key, "key") if isinstance(key, str) else bytes(key)
        if key is not None and not data:
            raise Error(Code.INVALID, "an empty key")
        with self._lock:
            p = self._use()
            check(lib.rqc_txn_key(p, data, len(data)), lib.rqc_txn_error(p))

    def commit(self) -> Result:
        """Returns when it is durable. The transaction is empty then, and may go on."""
        r = _abi.CResult()
        with self._db._outside(self) as p:
            code = lib.rqc_commit(p, byref(r))
            check(code, lib.rqc_txn_error(p) if code else b"")
            self._to_commit = False
            self.result = result_of(r)
        return self.result

    # ---- Commits that nobody waits for

    def commit_async(self, function=None) -> None:
        """Submits it and returns. Until its completion the transaction is in flight: every call but
        end() is refused with Code.INVALID. In the order of these calls `function` gets one
        Completion each, on a thread of the library for which all commits wait: it must not block,
        and what waits (commit, sync, wait, verify, prune, backup, close …) is refused there with
        Code.INVALID; but it may fill the transaction and submit it again. Without a function
        Database.completed gives the Completion.

        Until the function has returned the transaction is its alone: calls of other threads but
        end() are refused. A block may be left meanwhile: without a function the transaction is kept
        until its completion; with one it ends, and what the function wrote is given up, when that
        has returned and not submitted it again.

        end() lets it go: what was submitted is stored all the same, and there is no completion.
        Closing the database waits until all are stored, and calls the functions; what was not
        fetched then never comes. Code.BUSY: 65,536 are in flight."""
        number = next(_numbers)
        with self._lock:
            p = self._use()
            kept = self._db._queued if function is None else _callbacks.completions
            kept[number] = self, function
            self._flight = number
            code = lib.rqc_commit_async(p, _abi.COMPLETED() if function is None
                                        else _callbacks.completed, number)
            if code == 0:
                self._to_commit = False
                self._function_thread = None
                return
            self._flight = None
            del kept[number]
            check(code, lib.rqc_txn_error(p))

    def _landed(self, c: _abi.CCompletion, has_function: bool) -> Optional[Completion]:
        """None when it was let go at this moment."""
        with self._lock:
            if self._p is None:
                return None
            _callbacks.completions.pop(self._flight, None)
            self._flight = None
            if has_function:
                self._function_thread = get_ident()
            else:
                self._left = False  # whoever fetched it has it now, whatever it went through
            if c.code != 0:
                text = lib.rqc_txn_error(self._p).decode("utf-8", "replace")
                return Completion(self, None, Error(c.code, text))
            self.result = result_of(c.result)
            return Completion(self, self.result, None)

    def _function_returned(self) -> None:
        with self._lock:
            if self._function_thread != get_ident():
                return  # submitted again
            self._function_thread = None
            if self._left or self._db._p is None:
                self.end()


def _rows(entity: str, all_columns):
    """An array of rows, one behind the other, and what must live as long."""
    e = entity_named(entity)
    width = len(e.columns)
    rows = (_abi.CValue * (width * len(all_columns)))()
    kept = []
    for i, columns in enumerate(all_columns):
        row = (_abi.CValue * width).from_buffer(rows, i * width * sizeof(_abi.CValue))
        kept += fill_row(e, row, columns)
    return rows if all_columns else None, kept
