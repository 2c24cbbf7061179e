#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a C string of a text file: embed.py INPUT NAME OUTPUT.c OUTPUT.h

The C file defines `const char NAME[]` (terminated by a zero byte) and `const size_t NAME_len`
(without it); the header declares both.
"""

import pathlib
import sys


def c_line(raw: bytes) -> str:
    out = []
    for byte in raw:
        if byte == 0x0A:
            out.append("\\n")
        elif byte in b'"\\?' or not 0x20 <= byte < 0x7F:
            out.append(f"\\{byte:03o}")
        else:
            out.append(chr(byte))
    return '    "' + "".join(out) + '"'


def main() -> int:
    if len(sys.argv) != 5:
        print(__doc__, file=sys.stderr)
        return 2
    source, name, c_file, h_file = sys.argv[1:]
    data = pathlib.Path(source).read_bytes()
    if b"\0" in data:
        print(f"{source}: holds a zero byte, cannot be a C string", file=sys.stderr)
        return 1
    lines = [c_line(line) for line in data.splitlines(keepends=True)] or ['    ""']
    header = pathlib.Path(h_file)
    made = f"// Made from {pathlib.Path(source).name} by tools/embed.py.\n"
    guard = name.upper() + "_H"
    header.write_text(
        f"{made}#ifndef {guard}\n#define {guard}\n\n#include <stddef.h>\n\n"
        f"extern const char {name}[];\nextern const size_t {name}_len;\n\n#endif\n"
    )
    body = "\n".join(lines)
    pathlib.Path(c_file).write_text(
        f'{made}#include "{header.name}"\n\n'
        f"const char {name}[] =\n{body};\n\nconst size_t {name}_len = sizeof {name} - 1;\n"
    )
    return 0


sys.exit(main())
