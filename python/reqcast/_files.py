# SPDX-License-Identifier: Apache-2.0
"""Calls that need no open database, only a file's path."""

import ctypes
from ctypes import byref

from reqcast import _abi, _callbacks
from reqcast._abi import lib
from reqcast._database import copied_of
from reqcast._records import Copied, Part
from reqcast._values import c_text, check


def restore(path, backup, progress=None) -> Copied:
    """Puts a backup in the place of a database that no process has open. It is checked first; the
    old file is kept beside the new one (Copied.kept). The next open() begins a new term there:
    positions of before get Code.EPOCH_CHANGED. Code.BUSY while a process has it open, Code.INVALID,
    CORRUPT or VERSION for what is no good backup: the database is as it was. progress(what, done,
    total) is told pages, on this thread."""
    out, error = _abi.CCopied(), _abi.CError()
    check(lib.rqc_restore(c_text(path, "path"), c_text(backup, "backup"),
                          _callbacks.progress_function(progress), None, byref(out), byref(error)),
          error.text)
    return copied_of(out)


def _parts(function, path) -> list:
    found, error = [], _abi.CError()

    def told(_, p):
        part = _abi.CPart.from_address(p)
        found.append(Part(part.kind.decode(), part.name.decode("utf-8", "replace"),
                          part.table and part.table.decode("utf-8", "replace"), bool(part.there)))
    check(function(c_text(path, "path"), _abi.PART(told), None, byref(error)), error.text)
    return found


def capture_plan(path) -> list:
    """What open() would add to a database that an application made, as Parts; adds nothing."""
    return _parts(lib.rqc_capture_plan, path)


def capture_remove(path) -> list:
    """Takes all of it out again; gives what was there. Code.BUSY while an owner lives."""
    return _parts(lib.rqc_capture_remove, path)


def sidecar_url(path) -> str:
    """Where the reqcastd that owns the database answers, for subscribe(). Code.UNAVAILABLE: there is
    none."""
    out, error = ctypes.create_string_buffer(256), _abi.CError()
    check(lib.rqc_sidecar_url(c_text(path, "path"), out, byref(error)), error.text)
    return out.value.decode()
