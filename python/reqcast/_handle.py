# SPDX-License-Identifier: Apache-2.0
"""What belongs to a database and ends before it does."""

from reqcast._values import Code, Error


class Handle:
    """Leaving a `with` block ends it."""
    _what = "handle"

    def __init__(self, database):
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

    def _end_with_database(self) -> None:
        self.end()

    def __del__(self):
        if getattr(self, "_p", None) is not None:
            self.end()

    def __enter__(self):
        with self._lock:
            self._use()
        return self

    def __exit__(self, *_):
        self.end()
