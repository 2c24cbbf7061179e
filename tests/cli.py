# SPDX-License-Identifier: Apache-2.0
"""The command line, for tests: runs it, holds its answers to its contract, and knows from SQLite
what they should be.

Every answer is checked on the way: with --json, standard output is one JSON object a line; a
failure is one line on standard error that begins with the program's name; neither holds control
characters.
"""

import base64
import contextlib
import functools
import json
import os
import pathlib
import re
import sqlite3
import subprocess
import tempfile

import tap

ROOT = pathlib.Path(os.environ.get("RQC_SOURCE_ROOT") or pathlib.Path(__file__).parents[1])
REQCAST = os.environ.get("REQCAST") or str(ROOT / "build/test/api/cli/reqcast")
DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
POSITION = re.compile(r"^[0-9]+@[0-9A-HJKMNP-TV-Z]{26}:([0-9]+)$")


@functools.lru_cache(maxsize=1 << 16)
def ulid(b: bytes) -> str:
    n = int.from_bytes(b, "big")
    return "".join(DIGITS[n >> 5 * i & 31] for i in range(25, -1, -1))


def unulid(text: str) -> bytes:
    n = 0
    for c in text:
        n = n << 5 | DIGITS.index(c)
    return n.to_bytes(16, "big")


def fake_id(kind: int, n: int, ms: int = 0x199C82CC000) -> bytes:
    """An id that a test can foresee."""
    return ms.to_bytes(6, "big") + bytes([kind]) + n.to_bytes(9, "big")


def entities():
    """{entity: {column: type}} as docs/format.md lists them."""
    text = (ROOT / "docs/format.md").read_text(encoding="utf-8")
    listing = text[text.index("\n1 workspaces\n"):]
    found = {}
    for line in listing[1:listing.index("```")].splitlines():
        if not line.startswith(" "):
            columns = found.setdefault(line.split()[1], {})
            continue
        columns.update(pair.split(":") for pair in line.split())
    return found


ENTITIES = entities()


def as_json(kind: str, v):
    """What a value of SQLite is in an answer, for rows of the declared storage classes."""
    if v is None:
        return None
    if kind == "ID":
        return ulid(v) if isinstance(v, bytes) and len(v) == 16 else None
    if kind == "BOOL":
        return bool(v)
    if kind == "REAL":
        return float(v)
    if isinstance(v, bytes):
        return {"$base64": base64.b64encode(v).decode()}
    return v


class Result:
    def __init__(self, args, status: int, out: bytes, err: bytes):
        self.args, self.status, self.out, self.err = args, status, out, err
        self.text = out.decode("utf-8", "surrogateescape")
        self.errors = err.decode("utf-8", "surrogateescape")
        self.name = " ".join(str(a) for a in args)[:120]

    def explain(self):
        tap.note(f"status {self.status} of: {self.name}")
        tap.note(f"stdout: {self.text[:1000]}")
        tap.note(f"stderr: {self.errors[:3000]}")

    def strict(self):
        """The lines as objects, or None where the output is no JSON Lines."""
        def refuse(text):
            raise ValueError(f"{text} is not JSON")
        try:
            if self.out and not self.out.endswith(b"\n"):
                return None
            lines = self.out.decode("utf-8").split("\n")[:-1]
            objects = [json.loads(line, parse_constant=refuse) for line in lines]
        except ValueError:
            return None
        return objects if all(isinstance(o, dict) for o in objects) else None


class Cli:
    """One database in a folder of its own."""

    def __init__(self, folder, name="t.db"):
        self.folder = pathlib.Path(folder)
        self.db = self.folder / name
        self.view = self.folder / "view"
        self.view.mkdir(exist_ok=True)
        self.env = dict(os.environ, REQCAST_DB=str(self.db), REQCAST_VIEW_DIR=str(self.view))

    def run(self, *args, stdin=b"", env=None) -> Result:
        p = subprocess.run([REQCAST, *[str(a) for a in args]], input=stdin, capture_output=True,
                           cwd=self.folder, env=dict(self.env, **(env or {})), timeout=280)
        return Result(args, p.returncode, p.stdout, p.stderr)

    def start(self, *args, **more) -> subprocess.Popen:
        return subprocess.Popen([REQCAST, *[str(a) for a in args]], cwd=self.folder,
                                env=self.env, **more)

    def json(self, *args, stdin=b"", status=0, quiet=True):
        """Objects of a command that should succeed. Broken contracts are failed checks."""
        r = self.run("--json", *args, stdin=stdin)
        objects = r.strict()
        good = objects is not None and r.status == status and (not quiet or r.err == b"")
        if not tap.ok(good, f"status {status}, JSON Lines, no messages: {r.name}"):
            r.explain()
        return objects or []

    def one(self, *args, **more):
        objects = self.json(*args, **more)
        if not tap.ok(len(objects) == 1, f"one object: {args}"):
            return {}
        return objects[0]

    def text(self, *args, stdin=b"") -> str:
        r = self.run(*args, stdin=stdin)
        good = r.status == 0 and r.err == b"" and not CONTROL.search(r.text)
        if not tap.ok(good, f"status 0, no control characters: {r.name}"):
            r.explain()
        return r.text

    def fails(self, status: int, needles, *args, stdin=b"", shown=False, name=None) -> Result:
        """One line on standard error that holds all needles; nothing on standard output unless
        `shown`. Once as it is and once with --json."""
        if isinstance(needles, str):
            needles = [needles]
        for form in ([], ["--json"]):
            r = self.run(*form, *args, stdin=stdin)
            good = r.status == status and (shown or r.out == b"")
            good = good and self.is_one_line(r) and all(n in r.errors for n in needles)
            good = good and (not form or r.strict() is not None)
            if not tap.ok(good, f"status {status}, one line with {needles}: {name or r.name}"):
                r.explain()
        return r

    @staticmethod
    def is_one_line(r: Result) -> bool:
        return (r.errors.startswith("reqcast: ") and r.errors.count("\n") == 1
                and r.errors.endswith("\n") and not CONTROL.search(r.errors))

    def put(self, records):
        lines = "".join(json.dumps(r) + "\n" for r in records)
        return self.one("put", stdin=lines.encode())

    @contextlib.contextmanager
    def sqlite(self):
        db = sqlite3.connect(self.db)
        db.execute("PRAGMA foreign_keys = ON")
        try:
            yield db
            db.commit()
        finally:
            db.close()

    def sql(self, statement: str, *values):
        with self.sqlite() as db:
            return db.execute(statement, values).fetchall()

    def rows(self, entity: str, where="1", *values, order="id"):
        """Rows as answers have them, without their seq."""
        columns = ENTITIES[entity]
        names = ", ".join(f'"{c}"' for c in columns)
        found = self.sql(f"SELECT {names} FROM {entity} WHERE {where} ORDER BY {order}", *values)
        return [{"entity": entity, **{c: as_json(t, v) for (c, t), v in zip(columns.items(), row)}}
                for row in found]

    def head(self) -> int:
        return self.one("stats")["head"]


def plain(records):
    """Records without what tells when they changed or where a field comes from."""
    return [{k: v for k, v in r.items() if k not in ("seq", "origin", "op")} for r in records]


def position_ok(o) -> bool:
    m = POSITION.match(o.get("position", ""))
    return bool(m) and type(o.get("seq")) is int and int(m[1]) == o["seq"]


def memory_folder():
    """Where files are in memory, if there is plenty of it: for tests of many commands, each of
    which waits for the disk, that are not about the disk."""
    try:
        fs = os.statvfs("/dev/shm")
    except OSError:
        return None
    roomy = fs.f_bavail * fs.f_frsize >= 1 << 28
    return "/dev/shm" if roomy and os.access("/dev/shm", os.W_OK) else None


@contextlib.contextmanager
def database(init=True, parent=None):
    with tempfile.TemporaryDirectory(prefix="reqcast-test-", dir=parent) as folder:
        c = Cli(folder)
        if init:
            c.one("init")
        yield c


def data_folder():
    """Sample files that are not part of the source; None where they are missing."""
    given = os.environ.get("RQC_DATA")
    folder = pathlib.Path(given) if given else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None
