# SPDX-License-Identifier: Apache-2.0
"""The installed tree, as a stranger uses it: the programs in docs/examples with the flags of its
pkg-config file, as C11 and as C++17, run against its library."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import tap
from python_module import forget_views

ROOT = pathlib.Path(os.environ.get("RQC_SOURCE_ROOT") or pathlib.Path(__file__).parents[1])
BUILD = pathlib.Path(os.environ.get("RQC_BUILD_ROOT") or ROOT / "build/test")
EXAMPLES = ROOT / "docs/examples"
FOLLOWERS = ("spin", "wake")  # attached, while embedded.c writes
SANITIZE = os.environ.get("RQC_SANITIZE", "none")
STRICT = ["-pedantic-errors", "-Werror", "-Wall", "-Wextra"]
# C++ knows neither designated initialisers out of order nor implicit void * conversions; the
# example uses neither.
MODES = [("gcc", ["-std=c11"], []), ("clang", ["-std=c11"], []),
         ("g++", ["-std=c++17"], ["-x", "c++"])]


def run(command, **more):
    return subprocess.run([str(a) for a in command], capture_output=True, text=True, timeout=240,
                          **more)


def meson():
    """Debian's own where there is one, as in the Makefile."""
    return "/usr/bin/meson" if os.access("/usr/bin/meson", os.X_OK) else shutil.which("meson")


def install(folder: pathlib.Path):
    r = run([meson(), "install", "-C", BUILD, "--no-rebuild", "--destdir", folder])
    if not tap.equal(r.returncode, 0, "meson install"):
        tap.note(r.stdout + r.stderr)
        return None
    headers = list(folder.rglob("reqcast.h"))
    tap.equal(len(headers), 1, "the header is installed, once")
    prefix = headers[0].parents[1]
    tap.equal(headers[0].read_bytes(), (ROOT / "api/reqcast.h").read_bytes(), "as it is here")
    tap.equal([p.name for p in folder.rglob("*.h")], ["reqcast.h"], "no other header is")
    return prefix


def check_tree(folder: pathlib.Path, prefix: pathlib.Path):
    """The folder of the library."""
    found = {p.name: p for p in folder.rglob("*") if not p.is_dir()}
    for name in ("libreqcast.so", "libreqcast.so.0", "reqcast.pc", "reqcast", "reqcast.1"):
        tap.ok(name in found, f"{name} is installed")
    library = found["libreqcast.so"].parent
    real = found["libreqcast.so"].resolve()
    tap.ok(found["libreqcast.so"].is_symlink() and found["libreqcast.so.0"].is_symlink()
           and found["libreqcast.so.0"].resolve() == real and not real.is_symlink(),
           "the links lead to one library")
    tap.ok(real.name.startswith("libreqcast.so.0."), "which is named after its version")
    r = run(["readelf", "-d", real]) if shutil.which("readelf") else None
    if r:
        tap.ok("soname: [libreqcast.so.0]" in r.stdout, "its soname is that of the link")
    else:
        tap.skip("readelf is not here: soname not looked at")
    tap.equal(found["reqcast"].parent, prefix / "bin", "the program is in bin")
    tap.equal(found["reqcast.1"].parent, prefix / "share/man/man1", "the man page is in man1")
    for name, place in (("reqcast.bash", "bash-completion/completions"),
                        ("_reqcast", "zsh/site-functions"),
                        ("reqcast.fish", "fish/vendor_completions.d")):
        tap.ok(b"reqcast" in (prefix / "share" / place / name).read_bytes(), f"{name} is installed")
    text = found["reqcast.pc"].read_text()
    tap.ok(str(ROOT) not in text and str(BUILD) not in text, "reqcast.pc names no build folder")
    return library, found["reqcast.pc"].parent


def package(pkgconfig: pathlib.Path, folder: pathlib.Path, *wanted):
    # The .pc file names the prefix that the tree has without the folder.
    env = dict(os.environ, PKG_CONFIG_PATH=str(pkgconfig), PKG_CONFIG_SYSROOT_DIR=str(folder))
    r = run(["pkg-config", *wanted, "reqcast"], env=env)
    if not tap.equal(r.returncode, 0, f"pkg-config {' '.join(wanted)}"):
        tap.note(r.stderr)
    return r.stdout.split()


def check_run(program: pathlib.Path, library: pathlib.Path, name: str) -> None:
    folder = program.parent
    env = dict(os.environ, LD_LIBRARY_PATH=str(library))
    db = folder / "example.db"
    for page in (1, 2):
        r = run([program, db], cwd=folder, env=env)
        # Three records behind the marker that a database begins with; each run adds a workspace.
        want = f"https://api.example.com/items at position {1 + 3 * page}\n"
        if not tap.equal((r.returncode, r.stdout, r.stderr), (0, want, ""), f"{name}: run {page}"):
            return
    r = run([program, folder / "nosuch" / "x.db"], cwd=folder, env=env)
    tap.ok(r.returncode == 1 and r.stderr.startswith("open: ") and "nosuch" in r.stderr,
           f"{name}: a failure is told")


def check_followers(folder: pathlib.Path, library: pathlib.Path, name: str) -> None:
    """Programs that attach, and are told what another process writes then."""
    env = dict(os.environ, LD_LIBRARY_PATH=str(library))
    db = folder / "example.db"
    followers = [subprocess.Popen([folder / f, db, "3"], stdout=subprocess.PIPE, text=True, env=env)
                 for f in FOLLOWERS]
    try:
        ready = [p.stdout.readline() for p in followers]
        tap.equal(ready, ["ready at 7\n"] * len(followers), f"{name}: attached, at the newest position")
        tap.equal(run([folder / "embedded", db], cwd=folder, env=env).returncode, 0,
                  f"{name}: another process writes")
        for f, p in zip(FOLLOWERS, followers):
            out, _ = p.communicate(timeout=60)
            tap.equal((p.returncode, out), (0, "3 changed, now at 10\n"), f"{name}: {f} is told")
    finally:
        for p in followers:
            p.kill()
            p.wait()
    r = run([folder / FOLLOWERS[0], folder / "no.db"], env=env)
    tap.ok(r.returncode == 1 and r.stderr.startswith("attach: "), f"{name}: a failure is told")


def check_compile(compiler: str, std, language, cflags, libs, library: pathlib.Path) -> None:
    name = f"{compiler} {' '.join(std)}"
    if not shutil.which(compiler):
        tap.skip(f"{name}: no such compiler")
        return
    with tempfile.TemporaryDirectory(prefix="reqcast-test-") as made:
        folder = pathlib.Path(made)
        # A library with a sanitizer can only be linked with it.
        link = ["-c"] if SANITIZE != "none" else libs
        for program in ("embedded", *FOLLOWERS):
            r = run([compiler, *std, *STRICT, *cflags, *language, EXAMPLES / (program + ".c"), "-x",
                     "none", "-o", folder / program, *link])
            if not tap.equal((r.returncode, r.stderr), (0, ""),
                             f"{name}: {program}.c compiles, no warnings"):
                return
        if SANITIZE != "none":
            tap.skip(f"{name}: not linked, because of the sanitizer")
            return
        check_run(folder / "embedded", library, name)
        check_followers(folder, library, name)
        forget_views(folder)


def check_installed(program: pathlib.Path) -> None:
    r = run([program, "--version"], env={k: v for k, v in os.environ.items()
                                         if k != "LD_LIBRARY_PATH"})
    tap.ok(r.returncode == 0 and r.stdout.startswith("reqcast "), "the program runs by itself")


def check_shared(prefix: pathlib.Path, library: pathlib.Path) -> None:
    folder = prefix / "share/reqcast/python"
    schema = prefix / "share/reqcast/cli.schema.json"
    tap.ok(schema.exists() and schema.read_bytes() == (ROOT / "docs/cli.schema.json").read_bytes(),
           "the schema of answers is installed")
    for path in (ROOT / "python/reqcast").glob("*.py"):
        there = folder / "reqcast" / path.name
        tap.ok(there.exists() and there.read_bytes() == path.read_bytes(),
               f"python/reqcast/{path.name} is installed")
    if SANITIZE != "none":
        tap.skip("the installed module is not run, because of the sanitizer")
        return
    env = dict(os.environ, LD_LIBRARY_PATH=str(library), PYTHONPATH=str(folder))
    env.pop("REQCAST_LIBRARY", None)
    with tempfile.TemporaryDirectory(prefix="reqcast-test-") as made:
        r = run([sys.executable, ROOT / "docs/examples/embedded.py", made + "/example.db"], env=env)
        tap.equal((r.returncode, r.stdout, r.stderr),
                  (0, "https://api.example.com/items at position 4\n", ""),
                  "the installed module finds the installed library by its name")
        forget_views(pathlib.Path(made))


def main() -> None:
    for name in ("embedded", *FOLLOWERS):
        text = (EXAMPLES / (name + ".c")).read_text(encoding="utf-8")
        tap.ok(len(text.splitlines()) <= 60, f"{name}.c has at most 60 lines")
    if not meson():
        tap.skip("meson is not here: nothing can be installed")
        tap.done()
    with tempfile.TemporaryDirectory(prefix="reqcast-test-") as made:
        folder = pathlib.Path(made)
        prefix = install(folder)
        if prefix is None:
            tap.done()
        library, pkgconfig = check_tree(folder, prefix)
        check_installed(prefix / "bin" / "reqcast")
        check_shared(prefix, library)
        if not shutil.which("pkg-config"):
            tap.skip("pkg-config is not here: THE EXAMPLE WAS NOT COMPILED")
            tap.done()
        [version] = package(pkgconfig, folder, "--modversion") or ["none"]
        tap.ok(f"version: '{version}'" in (ROOT / "meson.build").read_text(), "its version")
        cflags = package(pkgconfig, folder, "--cflags")
        libs = package(pkgconfig, folder, "--libs")
        tap.ok("-lreqcast" in libs and not {"-lsqlite3", "-llmdb"} & set(libs),
               "linking needs the library and nothing of what it uses")
        for compiler, std, language in MODES:
            check_compile(compiler, std, language, cflags, libs, library)
    tap.done()


sys.exit(main())
