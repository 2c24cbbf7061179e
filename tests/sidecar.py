# SPDX-License-Identifier: Apache-2.0
"""A reqcastd for scripts: what sidecar.h is for C programs."""

import contextlib
import os
import shutil
import signal
import subprocess

import cli

REQCASTD = os.environ.get("REQCASTD") or str(cli.ROOT / "build/test/api/daemon/reqcastd")

# A sidecar ends with the test, whatever ends that.
MORTAL = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


class Sidecar:
    def __init__(self, c: cli.Cli, *options):
        self.c, self.options = c, options
        self.sockets = c.folder / "s"
        self.sockets.mkdir(exist_ok=True)
        self.process = None

    def start(self, *more):
        read, write = os.pipe()
        with open(self.c.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*MORTAL, REQCASTD, "--create", "--socket-dir", self.sockets, "--ready-fd",
                 str(write), *self.options, *more], env=self.c.env, pass_fds=[write], stderr=log)
        os.close(write)
        with os.fdopen(read) as f:
            self.url = f.readline().strip()
        return self.url

    def stop(self, how=signal.SIGTERM):
        if self.process is None:
            return None
        self.process.send_signal(how)
        status = self.process.wait(30)
        self.process = None
        return status


@contextlib.contextmanager
def sidecar(*options):
    with cli.database() as c:
        s = Sidecar(c, *options)
        s.start()
        try:
            yield c, s
        finally:
            s.stop(signal.SIGKILL)
