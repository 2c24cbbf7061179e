# SPDX-License-Identifier: Apache-2.0
"""Proves the room rule: what a file of the library may include.

A room includes its own files and those of lower rooms; persist and cache never each other. Each
dependency is included in one place. Tests and benchmarks may include what they like. The rule
itself is judged too, on made-up trees that break it.
"""

import fnmatch
import os
import pathlib
import re
import sys
import tempfile

import tap

# Rooms with the same rank do not see each other.
RANK = {"base": 0, "record": 1, "persist": 2, "cache": 2, "replicate": 3, "api": 4}

# header: the files that may include it, and how many of those may (None: any number).
DEPENDENCIES = {
    "sqlite3.h": [("persist/sqlite_dep.h", 1)],
    "lmdb.h": [("cache/lmdb_dep.h", 1)],
    "nng/*": [("replicate/*", 1)],
    "jansson.h": [("record/*", 1), ("api/*", None)],
    "microhttpd.h": [("api/http/*", 1)],
}

# A header called *_dep.h wraps a dependency for its own room; these rooms may see one too.
WRAPPER_GUESTS = {"record/jansson_dep.h": {"api"}}

INCLUDE = re.compile(
    r'^[ \t]*#[ \t]*(?:include|include_next|import)\b[ \t]*(?:"([^"]+)"|<([^>]+)>|(\S.*))'
)
SUFFIXES = {".c", ".h", ".def", ".inc"}


def without_comments(text: str) -> str:
    """Blanks out comments, keeping line ends, so that line numbers stay true."""
    pattern = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/', re.S)

    def blank(match: re.Match) -> str:
        found = match.group(0)
        if not found.startswith("/"):
            return found
        return " " + "\n" * found.count("\n")

    return pattern.sub(blank, text.replace("\\\n", "  "))


def includes(path: pathlib.Path):
    """(line, quoted, name) of every include; a computed one has quoted None."""
    text = without_comments(path.read_text(encoding="utf-8"))
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        if match.group(1) is not None:
            yield number, True, match.group(1)
        elif match.group(2) is not None:
            yield number, False, match.group(2)
        else:
            yield number, None, match.group(3)


def resolve(root: pathlib.Path, source: str, name: str) -> str:
    """The included file as a path from the top folder, the way the compiler finds it: first beside
    the source. A file that does not exist is made by the build and named from the top."""
    beside = os.path.normpath(os.path.join(os.path.dirname(source), name))
    if (root / beside).exists():
        return beside
    if "/" not in name:
        return beside
    return os.path.normpath(name)


def files_of(root: pathlib.Path):
    for room in RANK:
        for path in sorted((root / room).rglob("*")):
            if path.is_file() and path.suffix in SUFFIXES:
                yield path.relative_to(root).as_posix()


def faults(root: pathlib.Path):
    """Every breach of the rule, as text."""
    found = []
    users = {(header, place): [] for header, places in DEPENDENCIES.items() for place, _ in places}
    for source in files_of(root):
        room = source.split("/")[0]
        for line, quoted, name in includes(root / source):
            where = f"{source}:{line}"
            if quoted is None:
                found.append(f"{where}: include of a macro ({name}) cannot be checked")
                continue
            header = next((h for h in DEPENDENCIES if fnmatch.fnmatch(name, h)), None)
            if header:
                place = next(
                    (p for p, _ in DEPENDENCIES[header] if fnmatch.fnmatch(source, p)), None
                )
                if place is None:
                    allowed = ", ".join(p for p, _ in DEPENDENCIES[header])
                    found.append(f"{where}: {name} may be included from {allowed} only")
                elif source not in users[header, place]:
                    users[header, place].append(source)
                continue
            target = resolve(root, source, name)
            target_room = target.split("/")[0]
            if not quoted:
                if target_room in RANK and "/" in name:
                    found.append(f"{where}: own header {name} in angle brackets")
                continue
            if target_room not in RANK:
                found.append(f"{where}: {name} is in no room")
            elif target_room != room and RANK[target_room] >= RANK[room]:
                found.append(f"{where}: {room} may not include {target}")
            elif (
                target.endswith("_dep.h")
                and target_room != room
                and room not in WRAPPER_GUESTS.get(target, ())
            ):
                found.append(f"{where}: {target} is for {target_room} only")
    for header, places in DEPENDENCIES.items():
        for place, limit in places:
            who = users[header, place]
            if limit is not None and len(who) > limit:
                found.append(f"{header} is included by more than {limit} of {place}: {' '.join(who)}")
    return found


def check_rule() -> None:
    """Each row is a tree of one or two files: the rule must object, or must not."""
    rows = [
        ("lower room", {"record/a.c": '#include "base/b.h"'}, 0),
        ("own room", {"cache/a.c": '#include "a.h"', "cache/a.h": ""}, 0),
        ("made header of the own room", {"persist/a.c": '#include "persist/schema_sql.h"'}, 0),
        ("system header", {"base/a.c": "#include <stdio.h>"}, 0),
        ("in a comment", {"base/a.c": '/*\n#include "api/x.h"\n*/\n// #include "api/x.h"'}, 0),
        ("a string that looks like a comment", {"base/a.c": '"/*"\n#include "api/x.h"\n"*/"'}, 1),
        ("upper room", {"base/a.c": '#include "record/b.h"'}, 1),
        ("upper room in a header", {"record/a.h": '#include "cache/b.h"'}, 1),
        ("upper room by ..", {"base/a.c": '#include "../api/b.h"', "api/b.h": ""}, 1),
        ("upper room with blanks", {"base/a.c": ' #  include  "record/b.h"'}, 1),
        ("upper room from a .def", {"base/a.def": '#include "record/b.h"'}, 1),
        ("upper room in a subfolder", {"cache/sub/a.c": '#include "api/b.h"'}, 1),
        ("cache to persist", {"cache/a.c": '#include "persist/b.h"'}, 1),
        ("persist to cache", {"persist/a.c": '#include "cache/b.h"'}, 1),
        ("own header in angle brackets", {"base/a.c": "#include <base/b.h>"}, 1),
        ("tests from a room", {"base/a.c": '#include "tests/tap.h"'}, 1),
        ("a macro", {"base/a.c": "#include HEADER"}, 1),
        ("sqlite in its place", {"persist/sqlite_dep.h": "#include <sqlite3.h>"}, 0),
        ("sqlite elsewhere", {"persist/a.c": "#include <sqlite3.h>"}, 1),
        ("sqlite in quotes", {"api/a.c": '#include "sqlite3.h"'}, 1),
        ("sqlite's wrapper outside", {"api/a.c": '#include "persist/sqlite_dep.h"'}, 1),
        ("lmdb in its place", {"cache/lmdb_dep.h": "#include <lmdb.h>"}, 0),
        ("lmdb elsewhere", {"cache/a.c": "#include <lmdb.h>"}, 1),
        ("nng once", {"replicate/a.c": "#include <nng/nng.h>\n#include <nng/protocol/x.h>"}, 0),
        ("nng twice", {f"replicate/{n}.c": "#include <nng/nng.h>" for n in "ab"}, 1),
        ("nng elsewhere", {"api/a.c": "#include <nng/nng.h>"}, 1),
        ("jansson once", {"record/a.c": "#include <jansson.h>"}, 0),
        ("jansson above", {f"api/cli/{n}.c": "#include <jansson.h>" for n in "ab"}, 0),
        ("jansson twice", {f"record/{n}.c": "#include <jansson.h>" for n in "ab"}, 1),
        ("jansson elsewhere", {"base/a.c": "#include <jansson.h>"}, 1),
    ]
    for name, tree, want in rows:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for path, text in tree.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text + "\n")
            got = faults(root)
            if not tap.equal(len(got), want, f"the rule: {name}"):
                tap.note("\n".join(got))


def main() -> None:
    root = pathlib.Path(os.environ.get("RQC_SOURCE_ROOT") or pathlib.Path(__file__).parents[1])
    check_rule()
    count = sum(1 for _ in files_of(root))
    tap.ok(count > 0, "there are files to check")
    found = faults(root)
    if not tap.ok(not found, "the files of all rooms keep the rule"):
        tap.note("\n".join(found))
    tap.done()


sys.exit(main())
