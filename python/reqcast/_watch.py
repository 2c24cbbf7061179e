# SPDX-License-Identifier: Apache-2.0
"""Watches: a descriptor for event loops."""

import select
from ctypes import byref, c_void_p
from typing import Optional

from reqcast import _abi
from reqcast._abi import lib
from reqcast._arguments import milliseconds_to, optional_position, until_of
from reqcast._handle import Handle
from reqcast._values import Code, Error, Position, check

SLICE_S = 0.1  # how long a wait goes without a look at what else happened


class Watch(Handle):
    """Readable when the view's position moves, when its history changes, and when a view goes or
    comes: for selectors, asyncio's add_reader, or wait(). Moves that come close together are one; it
    may be readable without a move. Made by Database.watch(); at most 1,024 of one database. One
    thread at a time. Take it out of an event loop before its end."""
    _what = "watch"

    def _begin(self, db: int):
        out, error = c_void_p(), _abi.CError()
        check(lib.rqc_watch_new(db, byref(out), byref(error)), error.text)
        return out.value, lib.rqc_watch_free

    def fileno(self) -> int:
        """For poll, select and epoll alone: it must be neither read nor closed. Valid until the
        end."""
        with self._lock:
            return lib.rqc_watch_fd(self._use())

    def clear(self) -> Optional[Position]:
        """Makes it quiet until the next move; gives the position after that, None without a view."""
        with self._lock:
            return optional_position(lib.rqc_watch_clear(self._use()))

    def wait(self, timeout: Optional[float] = None) -> Optional[Position]:
        """Waits until it is readable, clears it, and gives the position. Code.TIMEOUT after `timeout`
        seconds; None: for ever. Ends with Code.CLOSED when another thread ends the watch."""
        until = until_of(timeout)
        while True:
            with self._lock:  # nobody ends it meanwhile
                fd = self.fileno()
                if readable(fd, 0):
                    return self.clear()
            left_ms = milliseconds_to(until, SLICE_S)
            if left_ms == 0:
                raise Error(Code.TIMEOUT, "the view did not move")
            # Should it end meanwhile, the number may be another file's: a look at it does no harm.
            readable(fd, left_ms)


def readable(fd: int, timeout_ms: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout_ms))
