# SPDX-License-Identifier: Apache-2.0
"""tools/embed.py: what it embeds is what the compiled program prints, byte for byte."""

import os
import pathlib
import subprocess
import sys
import tempfile

import tap

MAIN = """
#include "x.h"
#include <stdio.h>
int main(void)
{
    return fwrite(x, 1, x_len, stdout) == x_len && x[x_len] == 0 ? 0 : 1;
}
"""
SAMPLES = {
    "sql": b"CREATE TABLE a (b TEXT DEFAULT '\"\\n?');\n-- end\n",
    "no line end at the end": b"a\nb",
    "empty": b"",
    "trigraphs and digits after an escape": b"??/ ??= \t1\x019\r\n\n\n",
    "other bytes": "é 漢".encode() + b"\xff\x80\x01f",
    "long": b"x" * 70000 + b"\n",
}


def embed(folder: pathlib.Path, data: bytes):
    root = pathlib.Path(os.environ.get("RQC_SOURCE_ROOT") or pathlib.Path(__file__).parents[1])
    (folder / "in").write_bytes(data)
    command = [sys.executable, root / "tools" / "embed.py", "in", "x", "x.c", "x.h"]
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=60)


def main() -> None:
    for name, data in SAMPLES.items():
        with tempfile.TemporaryDirectory() as name_of_folder:
            folder = pathlib.Path(name_of_folder)
            made = embed(folder, data)
            if not tap.equal(made.returncode, 0, f"{name}: embedded"):
                tap.note(made.stderr.decode())
                continue
            (folder / "main.c").write_text(MAIN)
            built = subprocess.run(
                ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-o", "p", "x.c", "main.c"],
                cwd=folder, capture_output=True, text=True, timeout=60,
            )
            if not tap.equal(built.returncode, 0, f"{name}: compiles"):
                tap.note(built.stderr)
                continue
            ran = subprocess.run([folder / "p"], capture_output=True, timeout=60)
            tap.ok(ran.returncode == 0 and ran.stdout == data, f"{name}: the same bytes")
    with tempfile.TemporaryDirectory() as name_of_folder:
        made = embed(pathlib.Path(name_of_folder), b"a\0b")
        tap.equal(made.returncode, 1, "a zero byte is refused")
    tap.done()


sys.exit(main())
