# SPDX-License-Identifier: Apache-2.0
"""What the Python module knows of reqcast.h is what a compiler knows of it: sizes and offsets of
structs, values of enums, functions and their arguments."""

import ctypes
import enum
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import cli
import python_module
import tap

reqcast = python_module.load()
from reqcast import _abi  # noqa: E402  the module is found now

# The module writes an rqc_value itself (ctypes cannot pass a union by value), and numbers columns as
# rqc_field_name gives them.
NOT_CALLED = {"rqc_null", "rqc_int", "rqc_real", "rqc_bool", "rqc_text", "rqc_textn", "rqc_bytes",
              "rqc_id", "rqc_field_number"}
HEADER = (cli.ROOT / "api/reqcast.h").read_text(encoding="utf-8")
NO_COMMENTS = re.sub(r"//[^\n]*|/\*.*?\*/", " ", HEADER, flags=re.S)


def structs():
    return {s._c_: s for s in vars(_abi).values()
            if isinstance(s, type) and issubclass(s, ctypes.Structure) and hasattr(s, "_c_")}


def places(c: str, struct, inside=""):
    """(what, its offset, its size) of a struct and of its fields, structs in it too."""
    if not inside:
        yield f"sizeof({c})", ctypes.sizeof(struct)
    for name, kind in struct._fields_:
        field, path = getattr(struct, name), inside + name
        yield f"sizeof((({c} *)0)->{path})", field.size
        if not inside:
            yield f"offsetof({c}, {path})", field.offset
        if issubclass(kind, ctypes.Structure) and not hasattr(kind, "_c_"):
            base = getattr(struct, name).offset
            for inner, _ in kind._fields_:
                yield f"offsetof({c}, {path}.{inner})", base + getattr(kind, inner).offset
            yield from places(c, kind, path + ".")


def compiled(expressions, folder: str):
    """What a C program says that they are."""
    source = pathlib.Path(folder) / "values.c"
    lines = "".join(f'    printf("%lld\\n", (long long)({e}));\n' for e in expressions)
    source.write_text('#include "reqcast.h"\n#include <stddef.h>\n#include <stdio.h>\n'
                      f"int main(void)\n{{\n{lines}    return 0;\n}}\n")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    program = str(source.with_suffix(""))
    subprocess.run([compiler, f"-I{cli.ROOT / 'api'}", str(source), "-o", program], check=True,
                   timeout=120)
    out = subprocess.run([program], check=True, capture_output=True, text=True, timeout=60).stdout
    return [int(n) for n in out.split()]


def fields(c: str):
    """Names of a struct's fields, in order, as the header spells them."""
    body = re.search(rf"typedef struct {c} \{{(.*?)\n\}} {c};", NO_COMMENTS, re.S)[1]
    body = re.sub(r"\b(struct|union)\s*\{[^{}]*\}", "int", body)
    names = []
    for declaration in filter(str.strip, body.split(";")):
        pointer = re.search(r"\(\*(\w+)\)", declaration)
        if pointer:
            names.append(pointer[1])
            continue
        names += re.findall(r"(\w+)\s*(?:\[[^]]*\])?\s*(?:,|$)", declaration.strip())
    return names


def check_structs(folder: str) -> None:
    want = [p for c, s in structs().items() for p in places(c, s)]
    # Structs that carry their size may be longer in a newer header.
    sized = {c for c, s in structs().items() if s._fields_[0][0] == "size"}
    tap.ok(len(structs()) > 15 and len(want) > 150, "the module has structs")
    wrong = []
    for (what, mine), theirs in zip(want, compiled([w for w, _ in want], folder)):
        longer = what in {f"sizeof({c})" for c in sized}
        if not (mine <= theirs if longer else mine == theirs):
            wrong.append((what, mine, theirs))
    tap.equal(wrong, [], f"{len(want)} sizes and offsets")
    for c, s in structs().items():
        mine, theirs = [name for name, _ in s._fields_], fields(c)
        tap.equal(mine, theirs[:len(mine)] if c in sized else theirs, f"{c}: its fields")
    declared = set(re.findall(r"typedef struct (rqc_\w+) \{", NO_COMMENTS))
    tap.equal(sorted(declared - set(structs())), [], "every struct is known")


def check_enums(folder: str) -> None:
    enums = {"rqc_err": reqcast.Code, "rqc_type": reqcast.Type,
             "rqc_origin": enum.IntEnum("Origin", [("ORIGIN_" + o.upper(), i)
                                                   for i, o in enumerate(reqcast.ORIGINS)]),
             "rqc_event_kind": enum.IntEnum("Kind", [("EVENT_" + e.upper(), i)
                                                     for i, e in enumerate(reqcast.EVENTS, 1)])}
    for c, mine in enums.items():
        body = re.search(rf"typedef enum {c} \{{(.*?)\}}", NO_COMMENTS, re.S)[1]
        names = re.findall(r"\bRQC_(\w+)", body)
        tap.equal([m.name for m in mine], names, f"{c}: its names")
        tap.equal([int(m) for m in mine], compiled([f"RQC_{n}" for n in names], folder),
                  f"{c}: their values")
    tap.equal(compiled(["RQC_ANY_TIME"], folder), [reqcast.ANY_TIME], "ANY_TIME")
    for code in reqcast.Code:
        text = reqcast.Error(code).text
        tap.ok(text and not text.startswith("unknown"), f"{code.name} has a text: {text}")
    wanted = [f"RQC_{e}_{column}".upper() for e, columns in reqcast.entities().items()
              for column in columns]
    numbers = [n for columns in reqcast.entities().values() for n in range(len(columns))]
    tap.equal(numbers, compiled(wanted, folder), "columns are numbered as in the header")


def check_functions() -> None:
    text = re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", " ", NO_COMMENTS, flags=re.M)
    declared = {}
    for declaration in re.findall(r"\bRQC_API\b([^;{]*);", text):
        name, arguments = re.search(r"\b(rqc_\w+)\s*\((.*)\)\s*$", declaration.strip(), re.S).groups()
        while re.search(r"\([^()]*\)", arguments):
            arguments = re.sub(r"\([^()]*\)", "", arguments)
        declared[name] = [] if arguments.strip() == "void" else arguments.split(",")
    tap.ok(len(declared) > 50, "the header declares functions")
    for name, (_, *arguments) in _abi.FUNCTIONS.items():
        tap.equal(len(arguments), len(declared.get(name, "?")), f"{name}: number of its arguments")
    tap.equal(set(declared) - set(_abi.FUNCTIONS), NOT_CALLED, "every function is called")
    source = "".join(p.read_text(encoding="utf-8")
                     for p in (cli.ROOT / "python/reqcast").glob("*.py") if p.name != "_abi.py")
    unused = [name for name in _abi.FUNCTIONS if not re.search(rf"\blib\.{name}\b", source)]
    tap.equal(unused, [], "by something in the module")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="reqcast-test-") as folder:
        check_structs(folder)
        check_enums(folder)
    check_functions()
    tap.done()


sys.exit(main())
