# SPDX-License-Identifier: Apache-2.0
"""The shared library exports rqc_ names only, and exactly those that reqcast.h marks RQC_API."""

import os
import pathlib
import re
import subprocess
import sys

import tap

# Put there by the linker and by the sanitizers, not by us.
NOT_OURS = re.compile(r"^(_init|_fini|_edata|_end|__bss_start|__(asan|odr_asan|tsan|ubsan|msan)_.*)$")


def exported(library: str):
    out = subprocess.run(
        ["nm", "--dynamic", "--defined-only", "--format=posix", library],
        check=True, capture_output=True, text=True, timeout=60,
    ).stdout
    names = {line.split()[0].split("@")[0] for line in out.splitlines() if line.strip()}
    return {name for name in names if not NOT_OURS.match(name)}


def declared(header: str):
    """The names in declarations that begin with RQC_API."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", " ", header, flags=re.S)
    text = re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", " ", text, flags=re.M)
    names = set()
    for declaration in re.findall(r"\bRQC_API\b([^;{]*)[;{]", text):
        function = re.search(r"\b(rqc_\w+)\s*\(", declaration)
        variable = re.search(r"\b(rqc_\w+)\s*(?:\[[^]]*\])?\s*$", declaration)
        match = function or variable
        names.add(match.group(1) if match else "?" + " ".join(declaration.split()))
    return names


def main() -> None:
    root = pathlib.Path(os.environ.get("RQC_SOURCE_ROOT") or pathlib.Path(__file__).parents[1])
    library = os.environ.get("RQC_LIBRARY")
    if not library or not os.path.exists(library):
        tap.bail(f"no library at RQC_LIBRARY={library}")

    sample = (
        "#define RQC_API x\n/* RQC_API int rqc_no(void); */\nRQC_API int rqc_f(int (*cb)(void *a),\n"
        "  int b);\nRQC_API const char *rqc_g(void) __attribute__((pure));\nRQC_API extern int rqc_v;\n"
    )
    tap.equal(declared(sample), {"rqc_f", "rqc_g", "rqc_v"}, "declarations are found")

    names = exported(library)
    foreign = sorted(name for name in names if not name.startswith("rqc_"))
    tap.equal(foreign, [], "only rqc_ names are exported")

    header = root / "api" / "reqcast.h"
    if header.exists():
        wanted = declared(header.read_text(encoding="utf-8"))
        tap.ok(wanted, "reqcast.h declares something")
        tap.equal(sorted(names - wanted), [], "exported, but not declared in reqcast.h")
        tap.equal(sorted(wanted - names), [], "declared in reqcast.h, but not exported")
    else:
        tap.skip("api/reqcast.h DOES NOT EXIST: exports not compared with it")
    tap.done()


sys.exit(main())
