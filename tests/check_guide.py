# SPDX-License-Identifier: Apache-2.0
"""docs/guide.md, block by block, as a reader would follow it.

A block of sh is run, in one shell for all of them; one with a file's name is that file; one of text
is what the block before it prints, where … stands for anything. In place of /usr/local and of the
home folder stand temporary ones, and `make install` takes what is built already.
"""

import contextlib
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

import cli
import python_module
import tap

PAGE = cli.ROOT / "docs/guide.md"
BUILD = os.environ.get("RQC_BUILD_ROOT") or str(cli.ROOT / "build/test")
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.M | re.S)
MARK = "\x1f"
LIMIT = 200


def blocks(text: str):
    """(line, language, file or None, content)."""
    for m in BLOCK.finditer(text):
        yield text.count("\n", 0, m.start()) + 1, m[1], m[2], m[3]


def install(folder: pathlib.Path) -> pathlib.Path:
    """The installed tree, moved to where its pkg-config file says that it is."""
    meson = "/usr/bin/meson" if os.access("/usr/bin/meson", os.X_OK) else shutil.which("meson")
    if not meson or not shutil.which("pkg-config") or not shutil.which("cc"):
        tap.skip_all("THE GUIDE WAS NOT FOLLOWED: meson, pkg-config or cc is missing")
    subprocess.run([meson, "install", "-C", BUILD, "--no-rebuild", "--destdir", str(folder / "x")],
                   check=True, capture_output=True, timeout=240)
    [header] = (folder / "x").rglob("reqcast.h")
    prefix = folder / "prefix"
    header.parents[1].rename(prefix)
    [pc] = prefix.rglob("reqcast.pc")
    pc.write_text(re.sub(r"^prefix=.*$", f"prefix={prefix}", pc.read_text(), flags=re.M))
    return prefix


def environment(prefix: pathlib.Path, home: pathlib.Path):
    [library] = [p.parent for p in prefix.rglob("libreqcast.so.0")]
    home.mkdir()
    gone = ("REQCAST_DB", "REQCAST_VIEW_DIR", "REQCAST_LIBRARY", "PYTHONPATH")
    env = {k: v for k, v in os.environ.items() if k not in gone}
    return {**env, "HOME": str(home), "PATH": f"{prefix / 'bin'}:{os.environ['PATH']}",
            "PKG_CONFIG_PATH": str(library / "pkgconfig"), "LD_LIBRARY_PATH": str(library)}


def script(all_blocks, prefix: pathlib.Path) -> str:
    """One program for the shell that says where it is, so that output belongs to a block."""
    out = ["set -eu", "sudo() { \"$@\"; }",
           "make() { [ \"$*\" = install ] || { echo make: $* >&2; exit 99; } }"]
    for line, language, name, content in all_blocks:
        content = content.replace("/usr/local", str(prefix))
        if name:
            out.append(f"cat >{shlex.quote(name)} <<'{MARK}END'\n{content}{MARK}END")
        elif language == "sh":
            out.append(f"printf '{MARK}%s\\n' {line}\n{content}")
    return "\n".join(out) + f"\nprintf '{MARK}end\\n'\n"


def matches(got: str, want: str) -> bool:
    pattern = "".join(".*" if part == "…" else re.escape(part) for part in re.split("(…)", want))
    return re.fullmatch(pattern, got) is not None


def check_matches() -> None:
    tap.ok(matches("a 5 b\nc\n", "a … b\nc\n"), "… stands for anything in a line")
    for bad in ("a 5 c\nc\n", "a 5 b\n", "a\n5 b\nc\n"):
        tap.ok(not matches(bad, "a … b\nc\n"), "and for nothing else")


def main() -> None:
    check_matches()
    all_blocks = list(blocks(PAGE.read_text(encoding="utf-8")))
    tap.equal(len(all_blocks) * 2, PAGE.read_text().count("\n```"), "every block is found")
    known = {"sh", "text", "c", "python"}
    tap.equal([b for b in all_blocks if b[1] not in known or (b[1] in ("c", "python")) != bool(b[2])],
              [], "each is run, or is a file, or is what a block prints")
    if python_module.SANITIZE != "none":
        tap.skip("THE GUIDE WAS NOT FOLLOWED: a library with a sanitizer cannot be linked")
        tap.done()
    with tempfile.TemporaryDirectory(prefix="reqcast-test-") as made:
        folder = pathlib.Path(made)
        prefix = install(folder)
        env = environment(prefix, folder / "home")
        path = folder / "guide.sh"
        path.write_text(script(all_blocks, prefix), encoding="utf-8")
        p = subprocess.Popen(["sh", str(path)], cwd=cli.ROOT, env=env, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, start_new_session=True)
        try:
            out, err = p.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, 9)
            out, err = p.communicate()
        with contextlib.suppress(OSError, ValueError):  # a guide that broke off left its sidecar
            os.kill(int((folder / "home/tour/reqcastd.pid").read_text()), signal.SIGTERM)
        python_module.forget_views(folder / "home")
    parts = dict(part.split("\n", 1) for part in out.split(MARK)[1:])
    if not tap.ok(p.returncode == 0 and "end" in parts, "all blocks run"):
        tap.note(f"the last one was that of line {list(parts)[-1:]}, status {p.returncode}: {err}")
    unused = set(re.findall(r"^```\w+ (\S+)$", PAGE.read_text(), re.M)) - {
        w for _, language, name, content in all_blocks if language == "sh" for w in content.split()}
    tap.equal(sorted(unused), [], "every file is used")
    last = None
    for line, language, name, content in all_blocks:
        if language == "sh":
            last = str(line)
        if language == "text":
            got = parts.get(last, "")
            if not tap.ok(matches(got, content), f"line {line}: what the block before prints"):
                tap.note(f"got:\n{got}")
    tap.done()


sys.exit(main())
