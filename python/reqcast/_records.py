# SPDX-License-Identifier: Apache-2.0
"""What reads give."""

import ctypes
from collections.abc import Mapping
from ctypes import byref, c_void_p
from typing import NamedTuple, Optional

from reqcast._abi import CChange, CItem, CList, CResolved, lib
from reqcast._values import Entity, Error, Id, Position, entity_of, read_value

ORIGINS = ("base", "override", "addition")  # rqc_origin


class _Fields(Mapping):
    """Columns by name, read while the session lasts."""
    __slots__ = ("_session", "_entity_read", "__weakref__")

    def __init__(self, session):
        self._session, self._entity_read = session, None

    @property
    def _entity(self) -> Entity:
        if self._entity_read is None:
            self._entity_read = entity_of(self._session._call(lib.rqc_record_entity, self._at()))
        return self._entity_read

    def __getitem__(self, column):
        return self._session._value(self._function, self._pointer(), self._entity.field(column))

    def __iter__(self):
        return iter(self._entity.columns)

    def __len__(self):
        return len(self._entity.columns)

    @property
    def entity(self) -> str:
        return self._entity.name

    def __repr__(self):
        try:
            return f"<{type(self).__name__} of {self.entity} {self['id']}>"
        except Error as e:
            return f"<{type(self).__name__}: {e.text}>"


class Record(_Fields):
    """A record in place."""
    __slots__ = ("_p",)
    _function = lib.rqc_field

    def __init__(self, session, p: int):
        super().__init__(session)
        self._p = p

    def _at(self):
        return self._p

    _pointer = _at

    @property
    def id(self) -> Id:
        return self["id"]

    @property
    def seq(self) -> int:
        """Position of its last change."""
        return self._session._call(lib.rqc_record_seq, self._p)

    @property
    def updated(self) -> int:
        """Its update time as the row has it, 0 without one."""
        return self._session._call(lib.rqc_record_updated, self._p)


class Item(_Fields):
    """A record of a resolved request: with the fields that override it."""
    __slots__ = ("_c", "_memory", "origin", "record")
    _function = lib.rqc_item_field

    def __init__(self, session, c: CItem, memory):
        super().__init__(session)
        self._c, self._memory = c, memory
        self.origin, self.record = ORIGINS[c.origin], Record(session, c.record)

    def _at(self):
        return self.record._p

    def _pointer(self):
        return byref(self._c)


class Chain(_Fields):
    """A base merged with the deltas below it. `records` runs from the base to the deepest."""
    __slots__ = ("records", "_list")
    _function = lib.rqc_chain_field

    def __init__(self, session, records):
        super().__init__(session)
        self.records = records
        self._list = CList((c_void_p * len(records))(*[r._p for r in records]), len(records), 0)

    def _at(self):
        return self.records[0]._p

    def _pointer(self):
        return byref(self._list)


class Raw(NamedTuple):
    """The raw body of a resolved request; `source` and `column` are where the bytes come from."""
    id: Optional[Id]
    bytes: object
    compression: int
    origin: str
    source: Optional[Record]
    column: Optional[str]


class ResolvedMemory:
    """What items point into; it lives as long as one of them does."""

    def __init__(self):
        self.c = CResolved()

    def __del__(self):
        lib.rqc_resolved_free(byref(self.c))


class Resolved:
    """The effective request: `http`; `headers`, `params`, `form`, `urlencoded`, `asserts` in
    effective order; `raw`, None without a raw body."""

    def __init__(self, session, memory: ResolvedMemory):
        c = memory.c
        self.http = Item(session, c.http, memory)
        for name in ("headers", "params", "form", "urlencoded", "asserts"):
            items = getattr(c, name)
            setattr(self, name, [Item(session, items.items[i], memory) for i in range(items.n)])
        self.raw = None
        if c.raw.present:
            source = Record(session, c.raw.source) if c.raw.source else None
            column = list(source)[c.raw.source_field] if source is not None else None
            self.raw = Raw(Id(ctypes.string_at(c.raw.id, 16)) if c.raw.id else None,
                           read_value(c.raw.bytes), c.raw.compression, ORIGINS[c.raw.origin],
                           source, column)


class Page(list):
    """Records, and the cursor that goes on behind them; None at the end. It may be stored, and is
    what the command line calls next."""
    next: Optional[str] = None


class Change(NamedTuple):
    op: str  # upsert or delete
    entity: str
    id: Id
    seq: int
    record: Optional[Record]  # None for a delete


def change_of(session, c: CChange) -> Change:
    return Change("upsert" if c.op == 1 else "delete", entity_of(c.entity).name,
                  Id(ctypes.string_at(c.id, 16)), c.seq,
                  Record(session, c.record) if c.record else None)


class Changes(list):
    """Changes; `next` is where to go on, and may be stored. `up_to_date`: nothing is behind it."""
    next: str = ""
    up_to_date: bool = False


class Metrics(NamedTuple):
    total: int
    base: int
    delta: int
    recent: int
    latest: Optional[int]
    earliest: Optional[int]


class Activity(NamedTuple):
    day: int  # since 1970-01-01
    changes: int
    deltas: int
    bases: int


class Result(NamedTuple):
    position: Position
    written: int
    skipped: int
    deleted: int
    visible: bool
    replayed: bool  # the rest is what a commit with the same key returned before


class Difference(NamedTuple):
    entity: Optional[str]
    id: Id
    what: str


class Verified(NamedTuple):
    records: int
    differences: list
    digest: str
    position: Position


class Integrity(NamedTuple):
    faults: list  # what SQLite says of each, at most 100
    count: int


class Pruned(NamedTuple):
    snapshots: int  # of runs that were removed
    versions: int  # that named them
    deleted: int  # rows in all: these, children, responses
    position: Position


class Copied(NamedTuple):
    position: Position
    bytes: int
    kept: Optional[str]  # restore: where the file that was replaced is now


class Part(NamedTuple):
    """Something that open() adds to a database that an application made."""
    kind: str  # table, trigger or setting
    name: str
    table: Optional[str]  # of a trigger
    there: bool  # it is there already
