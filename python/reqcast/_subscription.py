# SPDX-License-Identifier: Apache-2.0
"""Subscriptions: the changes that a reqcastd streams."""

from __future__ import annotations

import ctypes
import os
import select
import threading
from ctypes import byref, c_void_p
from typing import NamedTuple, Optional

from reqcast import _abi
from reqcast._abi import lib
from reqcast._arguments import milliseconds_to, place_of, place_text, until_of
from reqcast._records import change_of
from reqcast._values import Code, Error, Id, Position, c_text, check, read_value

EVENTS = ("changes", "bookmark", "reset", "state")  # rqc_event_kind, from 1 on


class Event(NamedTuple):
    """What a subscriber is told.

    kind "changes": `changes`, each record at most once. With `more` they are a part of a catch-up:
    keep them apart, the state is whole only when an event without `more` was applied, too.
    "bookmark": nothing changed up to `place`; `records` and `digest` are those of all there is.
    "reset": everything that was told is void; all there is follows. `reason` is TOO_OLD,
    EPOCH_CHANGED, FUTURE or DIFFERENT.
    "state": `reason` OK: it follows; else why it does not now. It goes on by itself.

    `place` is where the application stands when it has applied this: text to be stored, and given to
    subscribe(since=…). Records are in place, until the next event, or the function's return."""
    kind: str
    changes: list
    more: bool
    reason: Code
    text: str  # of the reason
    place: str
    head: int  # newest seq that is known
    records: Optional[int]
    digest: Optional[str]


class _Span:
    """Stands where records have their session: the time for which an event's are valid."""

    def __init__(self, lock):
        self._lock, self._lasts = lock, True

    def _call(self, function, *arguments):
        with self._lock:
            if not self._lasts:
                raise Error(Code.CLOSED, "the event has ended")
            return function(*arguments)

    def _value(self, function, p, field: int):
        return self._call(lambda: read_value(function(p, field)))


class Subscription:
    """Made by subscribe(). Leaving a `with` block ends it. Without a function its events are had from
    next(), or `for event in subscription:`; one thread at a time."""

    def __init__(self, url: str, options: _abi.CSubOptions, function):
        self._lock = threading.RLock()
        self._nobody_waits = threading.Condition(self._lock)
        self._waiting = 0
        self._ending = False
        self._span = None
        self._thread = self._wake = self._p = None
        self._pid = os.getpid()
        out, error = c_void_p(), _abi.CError()
        check(lib.rqc_subscribe(c_text(url, "url"), byref(options), byref(out), byref(error)),
              error.text)
        self._p = out.value
        try:
            self._wake = os.pipe()
            if function is not None:  # it keeps the subscription, until that is ended
                self._thread = threading.Thread(target=self._follow, args=(function,), daemon=True,
                                                name="reqcast subscription")
                self._thread.start()
        except (OSError, RuntimeError) as e:
            self._thread = None
            self._free()
            raise Error(Code.NO_MEMORY, f"no descriptor or no thread: {e}") from None

    def _use(self) -> int:
        if os.getpid() != self._pid:
            raise Error(Code.CLOSED, "the subscription was made before this process was forked")
        if self._p is None or self._ending:
            raise Error(Code.CLOSED, "the subscription has ended")
        return self._p

    # ---- Events

    def next(self, timeout: Optional[float] = None) -> Optional[Event]:
        """The next event; None when there was none for `timeout` seconds (0 only looks; None waits
        for ever). What the event before it gave ends with this call."""
        if self._thread is not None:
            raise Error(Code.INVALID, "the subscription calls a function")
        return self._next(until_of(timeout))

    def _next(self, until: float) -> Optional[Event]:
        while True:
            with self._lock:
                event = self._step(self._use())
            left_ms = milliseconds_to(until, 3600)
            if event is not None or left_ms == 0:
                return event
            self._pause(left_ms)

    def _step(self, p: int) -> Optional[Event]:
        self._end_span()
        e = _abi.CEvent()
        code = lib.rqc_sub_next(p, 0, byref(e))
        if code == Code.TIMEOUT:
            return None
        check(code)
        self._span = _Span(self._lock)
        kind = EVENTS[e.kind - 1]
        at = Position(Id(bytes(e.place.store_id)), e.place.term, 0)
        told = kind == "bookmark"
        return Event(kind, [change_of(self._span, e.items[i]) for i in range(e.n)], bool(e.more),
                     Code(e.reason), e.text.decode("utf-8", "replace"),
                     place_text(at, e.place.cursor), e.head, e.records if told else None,
                     bytes(e.digest).hex() if told else None)

    def _end_span(self) -> None:
        if self._span is not None:
            self._span._lasts = False
            self._span = None

    def _pause(self, left_ms: int) -> None:
        """Until there is something to do, or it ends: end() waits for it."""
        with self._lock:
            fds = (lib.rqc_sub_fd(self._use()), self._wake[0])
            self._waiting += 1
        try:
            poll = select.poll()
            for fd in fds:
                poll.register(fd, select.POLLIN)
            poll.poll(left_ms)
        finally:
            with self._lock:
                self._waiting -= 1
                self._nobody_waits.notify_all()

    def __iter__(self):
        """Events, until the subscription is ended."""
        while True:
            try:
                event = self.next()
            except Error as e:
                if e.code == Code.CLOSED:
                    return
                raise
            yield event

    def _follow(self, function) -> None:
        try:
            while not self._ending:
                try:
                    function(self._next(float("inf")))
                except Error as e:
                    if not (self._ending and e.code == Code.CLOSED):
                        raise
        finally:
            self._free()

    # ---- The rest

    def fileno(self) -> int:
        """Without a function: readable when next() has something to do, for poll, select, epoll and
        asyncio's add_reader. Call next(0) then until it gives None. It must be neither read nor
        closed."""
        with self._lock:
            if self._thread is not None:
                raise Error(Code.INVALID, "the subscription calls a function")
            return lib.rqc_sub_fd(self._use())

    def stats(self) -> dict:
        """Numbers since subscribe(), named as in rqc_sub_stats: frames, changes, gaps …"""
        s = _abi.CSubStats(size=ctypes.sizeof(_abi.CSubStats))
        with self._lock:
            check(lib.rqc_sub_stats_read(self._use(), byref(s)))
        return {name: getattr(s, name) for name, _ in s._fields_ if name != "size"}

    def end(self) -> None:
        """Calling it twice is harmless. Waits for the function's return, unless the function calls
        it: whoever ends a subscription must hold no lock that the function wants."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._ending = True
            if self._p is None:
                return
            os.write(self._wake[1], b"x")
        if self._thread is None:
            self._free()
        elif self._thread is not threading.current_thread():
            self._thread.join()

    def _free(self) -> None:
        with self._lock:
            self._ending = True
            while self._waiting:
                self._nobody_waits.wait()
            p, self._p = self._p, None
            self._end_span()
            lib.rqc_unsubscribe(p)
            for fd in self._wake or ():
                os.close(fd)
            self._wake = None

    def __enter__(self):
        with self._lock:
            self._use()
        return self

    def __exit__(self, *_):
        self.end()

    def __del__(self):
        if getattr(self, "_p", None) is not None:
            self.end()


def subscribe(url: str, *, workspace=None, since=0, from_now: bool = False, bookmarks: bool = False,
              digest: bool = False, function=None) -> Subscription:
    """Follows the changes of a workspace, or of all, that the reqcastd at `url` streams (ipc://PATH,
    tcp://HOST:PORT, or what sidecar_url gives): in order, whole transactions, none left out. It
    connects by itself, again after every interruption, notices what it missed and asks for it.

    since: where to go on: Event.place, what changes gave as next, a Position, or a seq of whatever
    history; 0 is the beginning. from_now: from the newest position on instead.
    bookmarks: tells them, once a second, so that a stored place never gets too old.
    digest: keeps 48 to 192 bytes a record, proves at each bookmark that what was told is all there
    is, and tells after a reset what is gone as deletes. Only from the beginning.
    function(event): called on a thread of the subscription's own; it may take its time, and end the
    subscription. It lives until then, also when nobody holds it. An exception ends it.

    Code.INVALID, NOT_FOUND (the host). That nobody answers is told as an event."""
    workspace = None if workspace is None else Id(workspace)
    p, cursor = place_of(str(since), _abi.CPosition())
    options = _abi.CSubOptions(ctypes.sizeof(_abi.CSubOptions), workspace,
                               _abi.CPlace(p.store_id, p.term, cursor), bool(from_now),
                               bool(bookmarks), bool(digest))
    return Subscription(url, options, function)
