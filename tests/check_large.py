# SPDX-License-Identifier: Apache-2.0
"""Fields of 100 MB."""

import sys

import cli
import cli_data as d
import large_field
import tap


def main() -> None:
    with cli.database() as c:
        c.put(d.records())
        large_field.check(c, 100 << 20)
        tap.equal(c.one("verify")["differences"], 0, "verify")
    tap.done()


sys.exit(main())
