# SPDX-License-Identifier: Apache-2.0
"""The installed header compiles alone, as strict C11 and as C++17, with every compiler here.

"Alone" means: copied to an empty folder, with no include path to the rest of the project.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import tap

STRICT = ["-pedantic-errors", "-Werror", "-Wall", "-Wextra", "-Wundef", "-Wconversion"]
MODES = [
    ("C11", "use.c", ["gcc", "clang"], ["-std=c11", "-Wstrict-prototypes"]),
    ("C++17", "use.cc", ["g++", "clang++"], ["-std=c++17", "-Wold-style-cast"]),
]
# Twice, for the include guard; in a function, so that the unit is not empty.
USE = "#include <reqcast.h>\n#include <reqcast.h>\n\nint main(void);\nint main(void) { return 0; }\n"


def compiles(compiler: str, flags, header: str, source: str):
    with tempfile.TemporaryDirectory() as folder:
        include = pathlib.Path(folder) / "include"
        include.mkdir()
        (include / "reqcast.h").write_text(header)
        unit = pathlib.Path(folder) / source
        unit.write_text(USE)
        # -I and not -isystem: warnings in the header shall count.
        command = [compiler, *flags, *STRICT, "-fsyntax-only", f"-I{include}", str(unit)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)


def main() -> None:
    root = pathlib.Path(os.environ.get("RQC_SOURCE_ROOT") or pathlib.Path(__file__).parents[1])
    header = root / "api" / "reqcast.h"
    for mode, source, compilers, flags in MODES:
        for compiler in compilers:
            name = f"{mode} with {compiler}"
            if not shutil.which(compiler):
                tap.skip(f"{name}: no such compiler")
                continue
            # What must not compile: C++ keywords, GNU extensions, files that are not installed.
            bad = "int rqc_bad(int class);\n" if mode == "C++17" else "int rqc_bad(void) { return ({ 0; }); }\n"
            result = compiles(compiler, flags, bad, source)
            tap.ok(result.returncode != 0, f"{name}: objects to what {mode} does not know")
            result = compiles(compiler, flags, '#include "base/err.h"\n', source)
            tap.ok(result.returncode != 0, f"{name}: objects to a header that is not installed")
            if not header.exists():
                tap.skip(f"{name}: api/reqcast.h DOES NOT EXIST")
                continue
            result = compiles(compiler, flags, header.read_text(encoding="utf-8"), source)
            if not tap.ok(result.returncode == 0, f"{name}: reqcast.h compiles alone"):
                tap.note(result.stderr)
    tap.done()


sys.exit(main())
