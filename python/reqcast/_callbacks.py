# SPDX-License-Identifier: Apache-2.0
"""Python that threads of the library run.

The library waits for what it calls, so such a function must not wait for the library in turn. While
it runs its thread stands in `inside`. That is asked before a call that may wait (refuse), and by
what the garbage collector ends: it may happen to run there. Nothing is allocated before a thread
stands there, because that may start the collector.
"""

import sys
import threading
from threading import get_ident

from reqcast import _abi
from reqcast._values import Code, Error

inside = set()
completions = {}  # transactions in flight with a function: (it, the function), by number


def refuse(what: str) -> None:
    if get_ident() in inside:
        raise Error(Code.INVALID, f"{what} waits for the thread that called this function")


def log_function(log):
    def call(_, level, text):
        me = get_ident()
        outer = me in inside
        inside.add(me)
        try:
            log(level, text.decode("utf-8", "replace"))
        finally:
            if not outer:
                inside.discard(me)
    return _abi.LOG(call)


def progress_function(progress):
    """Called on the thread that asked for it. The library keeps no copy."""
    if progress is None:
        return _abi.PROGRESS()
    return _abi.PROGRESS(lambda _, what, done, total: progress(what.decode(), done, total))


def _complete(p: int) -> None:
    c = _abi.CCompletion.from_address(p)
    transaction, function = completions.get(c.ctx, (None, None))
    if transaction is None:
        return
    try:
        try:
            found = transaction._landed(c, has_function=True)
            if found is not None:
                function(found)
        finally:
            transaction._function_returned()
    except BaseException:
        # Told here: what the traceback holds must be gone before the thread leaves `inside`.
        threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), None)))


@_abi.COMPLETED
def completed(p):
    me = get_ident()
    inside.add(me)
    _complete(p)
    inside.discard(me)
