# SPDX-License-Identifier: Apache-2.0
"""Arguments. ctypes cuts integers to their size without a word, so they are looked at here."""

import math
import re
import time
from ctypes import byref
from typing import Optional

from reqcast import _abi
from reqcast._abi import ID, lib
from reqcast._values import (ANY_TIME, Code, Error, Id, Position, c_text, check, entity_named,
                             entity_of, position_of)

LONG_AGO = -(2**63)


def within(n: int, least: int, most: int, what: str) -> int:
    if not isinstance(n, int) or not least <= n <= most:
        raise Error(Code.INVALID, f"{what}: {n!r} is no integer from {least} to {most}")
    return n


def time_of(t: int) -> int:
    return within(t, LONG_AGO, ANY_TIME, "time")


def limit_of(n: int) -> int:
    return within(n, 0, 2**32 - 1, "limit")


def seq_of(n: int) -> int:
    return within(n, 0, 2**64 - 1, "seq")


def new_of(id):
    out = ID()
    if id is None:
        check(lib.rqc_id_new(out))
    return bytes(out) if id is None else id


def ids_of(ids):
    if isinstance(ids, (str, bytes)):
        raise Error(Code.INVALID, "ids: a list is wanted, not one")
    all_ids = [i if type(i) is Id else Id(i) for i in ids]
    return b"".join(all_ids), len(all_ids)


def page_cursor(text: Optional[str]):
    if text is None:
        return _abi.CPageCursor()
    found = re.fullmatch(r"(-?[0-9]{1,19})\.([0-9A-Za-z]{26})", str(text))
    if not found:
        raise Error(Code.INVALID, f"{text} is not what a page gave as next")
    return _abi.CPageCursor(time_of(int(found[1])), ID(*Id(found[2])), 1)


def until_of(timeout) -> float:
    """When seconds from now are over; None: never."""
    if timeout is None:
        return math.inf
    if not isinstance(timeout, (int, float)) or math.isnan(timeout):
        raise Error(Code.INVALID, f"timeout: {timeout!r} is no number of seconds")
    return time.monotonic() + timeout


def milliseconds_to(until: float, most_s: float) -> int:
    """At least 1 for what is more than nothing."""
    return math.ceil(max(0, min(until - time.monotonic(), most_s)) * 1000)


# ---- Positions and places ------------------------------------------------------------------------


def place_of(text: str, here: _abi.CPosition):
    """(position, cursor) of SEQ, TERM@STOREID:SEQ, or one of them and /ENTITY/ID/STARTED. A bare SEQ
    takes its history from `here`."""
    p = _abi.CPosition()
    head, *rest = text.split("/")
    bad = f"{text!r} is no position, and not what changes gave as next"
    check(lib.rqc_position_parse(c_text(head, "since"), byref(here), byref(p)),
          bad.encode())
    if not rest:
        return p, _abi.CCursor(p.seq)
    if len(rest) != 3 or not re.fullmatch("[0-9]{1,19}", rest[2]):
        raise Error(Code.INVALID, bad)
    return p, _abi.CCursor(p.seq, entity_named(rest[0]).code, ID(*Id(rest[1])), int(rest[2]))


def place_text(position: Position, cursor: _abi.CCursor) -> str:
    text = str(position._replace(seq=cursor.seq))
    if cursor.entity:
        entity = entity_of(cursor.entity).name
        text += f"/{entity}/{Id(bytes(cursor.id))}/{cursor.started}"
    return text


def c_position(position, here: _abi.CPosition) -> _abi.CPosition:
    """Of a Position, of its text, or of a seq in whatever history."""
    if isinstance(position, Position):
        return _abi.CPosition(ID(*Id(position.store_id)), within(position.term, 0, 2**32 - 1, "term"),
                              seq_of(position.seq))
    if isinstance(position, str):
        p = _abi.CPosition()
        check(lib.rqc_position_parse(c_text(position, "position"), byref(here), byref(p)),
              f"{position!r} is no position".encode())
        return p
    return _abi.CPosition(ID(), 0, seq_of(position))


def optional_position(p: _abi.CPosition):
    """None for none."""
    return position_of(p) if p.term else None
