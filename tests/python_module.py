# SPDX-License-Identifier: Apache-2.0
"""The Python module of the source, with the library of the build, for tests.

A library with a sanitizer cannot be loaded by a Python without: the runtime is loaded before it.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import cli
import tap

FOLDER = cli.ROOT / "python"
LIBRARY = os.environ.get("RQC_LIBRARY") or str(cli.ROOT / "build/test/libreqcast.so")
SANITIZE = os.environ.get("RQC_SANITIZE", "none")
RUNTIMES = {"address,undefined": "asan", "thread": "tsan"}


def environment(**more):
    """For programs that import the module."""
    runtime = os.environ.get("RQC_PYTHON_RUNTIME")
    return {**os.environ, "PYTHONPATH": str(FOLDER), "REQCAST_LIBRARY": LIBRARY,
            "PYTHONDONTWRITEBYTECODE": "1", **({"LD_PRELOAD": runtime} if runtime else {}), **more}


def forget_views(folder) -> None:
    """Programs that name no folder leave the views of their databases in shared memory."""
    for note in pathlib.Path(folder).rglob("*.rqc-view-path"):
        view = note.read_text().strip()
        if view.startswith("/dev/shm/"):
            shutil.rmtree(view, ignore_errors=True)
            pathlib.Path(view + ".database").unlink(missing_ok=True)


def with_runtime():
    """The environment with the sanitizer's runtime; None where there is none, or it does not
    work."""
    clang = shutil.which("clang")
    if not clang or SANITIZE not in RUNTIMES:
        return None
    name = f"libclang_rt.{RUNTIMES[SANITIZE]}-{os.uname().machine}.so"
    path = subprocess.run([clang, f"-print-file-name={name}"], capture_output=True, text=True,
                          timeout=60).stdout.strip()
    # Python itself leaks.
    env = environment(LD_PRELOAD=path, RQC_PYTHON_RUNTIME=path,
                      ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
    if not os.path.exists(path):
        return None
    probe = subprocess.run([sys.executable, "-c", "import reqcast; reqcast.new_id()"], env=env,
                           capture_output=True, timeout=120)
    return env if probe.returncode == 0 else None


def load():
    """The module. Starts the script anew where a runtime has to be loaded first."""
    if SANITIZE != "none" and "RQC_PYTHON_RUNTIME" not in os.environ:
        env = with_runtime()
        if env is None:
            tap.skip_all(f"PYTHON CANNOT LOAD A LIBRARY WITH THE SANITIZER {SANITIZE}")
        os.execve(sys.executable, [sys.executable, *sys.argv], env)
    # The programs that a test starts have a runtime of their own.
    os.environ.pop("LD_PRELOAD", None)
    os.environ["REQCAST_LIBRARY"] = LIBRARY
    sys.path.insert(0, str(FOLDER))
    import reqcast
    return reqcast


def open_db(c: cli.Cli, **options):
    return sys.modules["reqcast"].open(c.db, view_dir=c.view, **options)


def fails(code, name: str, function, /, *args, needle="", **more) -> None:
    """The call raises Error with this code, and a text that holds the needle."""
    try:
        function(*args, **more)
        tap.ok(False, f"{name}: {code.name}")
    except sys.modules["reqcast"].Error as e:
        good = e.code == code and e.text and needle in e.text and code.name in str(e)
        if not tap.ok(good, f"{name}: {code.name}"):
            tap.note(f"{e.code!r} {e.text}")
