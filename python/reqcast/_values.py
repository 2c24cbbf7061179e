# SPDX-License-Identifier: Apache-2.0
"""Errors, ids, positions, values, and the names of columns."""

import ctypes
import enum
import functools
import os
import struct
from ctypes import byref, c_char_p, c_int64, c_void_p
from typing import NamedTuple, Optional

from reqcast._abi import ID, CPosition, CValue, lib

ANY_TIME = 2**63 - 1  # `until` without a limit


class Code(enum.IntEnum):
    """rqc_err."""
    OK = 0
    NOT_FOUND = 1
    CHANGED = 2
    DIFFERENT = 3
    INVALID = 4
    CONSTRAINT = 5
    TOO_LARGE = 6
    CONFLICT = 7
    BUSY = 8
    TIMEOUT = 9
    UNAVAILABLE = 10
    TOO_OLD = 11
    EPOCH_CHANGED = 12
    FUTURE = 13
    EXPIRED = 14
    READ_ONLY = 15
    NO_MEMORY = 16
    NO_SPACE = 17
    IO = 18
    CORRUPT = 19
    VERSION = 20
    CLOSED = 21
    INTERNAL = 22


class Type(enum.IntEnum):
    """rqc_type."""
    ABSENT = 0
    NULL = 1
    INT = 2
    REAL = 3
    BOOL = 4
    TEXT = 5
    BYTES = 6
    ID = 7
    LARGE = 8


ABSENT = Type.ABSENT  # a value that is not given: a put's default, a patch leaves the field


class Error(Exception):
    """A call that failed: its `code`, and a `text` that says where and why."""

    def __init__(self, code: int, text: str = ""):
        self.code = Code(code) if code in Code._value2member_map_ else code
        self.text = text or lib.rqc_err_text(code).decode()
        super().__init__(self.code, self.text)

    def __str__(self):
        return f"{self.text} ({self.code.name if isinstance(self.code, Code) else self.code})"


def check(code: int, text=b"") -> None:
    if code != 0:
        raise Error(code, (text or b"").decode("utf-8", "replace"))


def encoded(text: str, what: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as e:
        raise Error(Code.INVALID, f"{what}: {e.reason}") from None


def c_text(text, what: str) -> Optional[bytes]:
    """For the library, whose texts end at a zero byte; None stays None. Also takes a path."""
    if text is None:
        return None
    data = encoded(text, what) if isinstance(text, str) else os.fsencode(text)
    if b"\0" in data:
        raise Error(Code.INVALID, f"{what}: a zero byte")
    return data


class Id(bytes):
    """16 bytes. Made from them, from 26 characters (a ULID), or from 32 hex digits; str() gives the
    26 characters. Ids compare as their bytes do."""

    def __new__(cls, value):
        if isinstance(value, Id):
            return value
        if isinstance(value, str):
            out = ID()
            check(lib.rqc_id_parse(c_text(value, "id"), out), f"{value!r} is no id".encode())
            value = bytes(out)
        if not isinstance(value, (bytes, bytearray, memoryview)) or len(value) != 16:
            raise Error(Code.INVALID, f"{value!r} is no id")
        return super().__new__(cls, value)

    def __str__(self):
        out = ctypes.create_string_buffer(27)
        lib.rqc_id_format(self, out)
        return out.value.decode()

    def __repr__(self):
        return f"Id('{self}')"


def new_id() -> Id:
    out = ID()
    check(lib.rqc_id_new(out))
    return Id(bytes(out))


class Position(NamedTuple):
    """Where in which history; str() gives TERM@STOREID:SEQ."""
    store_id: Id
    term: int
    seq: int

    def __str__(self):
        out = ctypes.create_string_buffer(64)
        lib.rqc_position_format(byref(CPosition(ID(*self.store_id), self.term, self.seq)), out)
        return out.value.decode()


def position_of(p: CPosition) -> Position:
    return Position(Id(bytes(p.store_id)), p.term, p.seq)


class Large(NamedTuple):
    """In place of a value that is too large for the view."""
    length: int
    xxh3: str


def read_value(v: CValue):
    """A copy of what a value of the library holds."""
    if v.type == Type.TEXT:
        return ctypes.string_at(v.p, v.n).decode("utf-8", "surrogateescape") if v.n else ""
    if v.type == Type.BYTES:
        return ctypes.string_at(v.p, v.n) if v.n else b""
    if v.type == Type.ID:
        return Id(ctypes.string_at(v.p, 16))
    if v.type == Type.BOOL:
        return v.u != 0
    if v.type == Type.INT:
        return c_int64(v.u).value
    if v.type == Type.REAL:
        return struct.unpack("=d", struct.pack("=Q", v.u))[0]
    if v.type == Type.LARGE:
        return Large(v.u, ctypes.string_at(v.p, 16).hex())
    return None


def set_value(slot: CValue, value, what: str) -> Optional[bytes]:
    """Fills a slot; gives the bytes that it points to, which must live as long."""
    data = None
    if value is ABSENT:
        slot.type = Type.ABSENT
    elif value is None:
        slot.type = Type.NULL
    elif isinstance(value, bool):
        slot.type, slot.u = Type.BOOL, value
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise Error(Code.INVALID, f"{what}: {value} is beyond 64 bits")
        slot.type, slot.u = Type.INT, value & (2**64 - 1)
    elif isinstance(value, float):
        slot.type, slot.u = Type.REAL, struct.unpack("=Q", struct.pack("=d", value))[0]
    elif isinstance(value, str):
        slot.type, data = Type.TEXT, encoded(value, what)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        slot.type, data = Type.ID if isinstance(value, Id) else Type.BYTES, bytes(value)
    else:
        raise Error(Code.INVALID, f"{what}: {type(value).__name__} is no value of a column")
    if data is not None:
        if len(data) >= 2**32:
            raise Error(Code.TOO_LARGE, f"{what}: {len(data)} bytes")
        slot.p, slot.n = ctypes.cast(c_char_p(data), c_void_p), len(data)
    return data


class Entity:
    """Its columns, as the library names them."""

    def __init__(self, code: int):
        self.code, self.name = code, lib.rqc_entity_name(code).decode()
        self.columns = {}
        while name := lib.rqc_field_name(code, len(self.columns)):
            self.columns[name.decode()] = len(self.columns)

    def field(self, column) -> int:
        if column not in self.columns:
            raise KeyError(f"{self.name} has no column {column}")
        return self.columns[column]


def fill_row(e: Entity, row, columns: dict) -> list:
    """Sets columns of a row; gives what must live as long as it."""
    kept = []
    for column, value in columns.items():
        try:
            field = e.field(column)
        except KeyError as error:
            raise Error(Code.INVALID, error.args[0]) from None
        if field == 0:
            raise Error(Code.INVALID, f"{e.name}: the id is no column to be set")
        kept.append(set_value(row[field], value, f"{e.name}.{column}"))
    return kept


entity_of = functools.lru_cache(maxsize=None)(Entity)


@functools.lru_cache(maxsize=256)
def entity_named(name) -> Entity:
    code = lib.rqc_entity_number(c_text(name, "entity")) if isinstance(name, str) else 0
    if code == 0:
        raise Error(Code.INVALID, f"no entity {name!r}")
    return entity_of(code)


def entities() -> dict:
    """{entity: its columns in order}, as the library has them."""
    found = {}
    while lib.rqc_entity_name(len(found) + 1):
        e = entity_of(len(found) + 1)
        found[e.name] = list(e.columns)
    return found
