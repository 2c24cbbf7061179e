# SPDX-License-Identifier: Apache-2.0
"""What belongs to a database and ends before it does.

The garbage collector may end the database first, and has cleared weak references by then. So the
database holds what frees its handles, and that must not refer to their objects."""

from reqcast._values import Code, Error


class Handle:
    """Leaving a `with` block ends it. A class has _begin: it gives the handle and what frees it."""
    _what = "handle"

    def __init__(self, database):
        self._db = database
        self._lock = database._lock
        with self._lock:
            self._p, free = self._begin(database._use())
            database._handles[self._p] = free

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
            self._db._free(p)

    def __del__(self):
        if getattr(self, "_p", None) is not None:
            self.end()

    def __enter__(self):
        with self._lock:
            self._use()
        return self

    def __exit__(self, *_):
        self.end()
