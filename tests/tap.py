# SPDX-License-Identifier: Apache-2.0
"""The Test Anything Protocol for scripts: what tap.h is for C programs.

    import tap
    tap.ok(condition, "name")
    tap.equal(got, want, "name")
    tap.skip("why")              one check that could not be made
    tap.skip_all("why")          leaves the script, status 0
    tap.bail("why")              leaves the script, status 1
    tap.note("text")
    tap.done()                   last line: prints the plan and leaves the script

A script that ends without done() has no plan and counts as failed.
"""

import os
import sys
import threading

_lock = threading.RLock()
_count = 0
_failed = 0


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(text))


def _name(text: str) -> str:
    return _line(str(text).replace("\\", "\\\\")).replace("#", "\\x23")


def ok(condition, name: str) -> bool:
    global _count, _failed
    with _lock:
        _count += 1
        if not condition:
            _failed += 1
        print(f"{'ok' if condition else 'not ok'} {_count} - {_name(name)}", flush=True)
        if not condition:
            frame = sys._getframe(1)
            while frame.f_back and frame.f_code.co_filename == __file__:
                frame = frame.f_back
            note(f"  at {frame.f_code.co_filename}:{frame.f_lineno}")
    return bool(condition)


def equal(got, want, name: str) -> bool:
    with _lock:
        good = ok(got == want, name)
        if not good:
            note(f"   got: {got!r}")
            note(f"  want: {want!r}")
    return good


def note(text: str) -> None:
    with _lock:
        for line in str(text).splitlines() or [""]:
            print(f"# {_line(line)}", flush=True)


def skip(why: str) -> None:
    global _count
    with _lock:
        _count += 1
        print(f"ok {_count} # SKIP {_name(why)}", flush=True)


def skip_all(why: str) -> None:
    print(f"1..0 # SKIP {_name(why)}", flush=True)
    sys.exit(0)


def bail(why: str) -> None:
    print(f"Bail out! {_name(why)}", flush=True)
    sys.exit(1)


def scaled(n: int) -> int:
    """n shortened by RQC_TEST_SCALE (a percentage), at least 1."""
    try:
        percent = int(os.environ.get("RQC_TEST_SCALE", "100"))
    except ValueError:
        percent = 100
    if not 0 < percent <= 100000:
        percent = 100
    return max(1, n * percent // 100)


def done() -> None:
    with _lock:
        if _count == 0:
            ok(False, "the script checked nothing")
        print(f"1..{_count}", flush=True)
        sys.exit(1 if _failed else 0)
