# SPDX-License-Identifier: Apache-2.0
"""Opens a database, writes a request with a header in one transaction, reads a page back in place.

    python3 embedded.py example.db

The module is where `make install` put it: PYTHONPATH=PREFIX/share/reqcast/python.
"""

import sys

import reqcast


def main() -> int:
    path = sys.argv[1] if len(sys.argv) > 1 else "example.db"
    with reqcast.open(path, create=True) as db:
        # Durable, and visible to every process, when the block has ended.
        with db.write() as txn:
            workspace = txn.put("workspaces", name="shop")
            request = txn.put("http", workspace_id=workspace, name="List items", method="GET",
                              url="https://api.example.com/items")
            txn.put("http_header", http_id=request, header_key="Accept",
                    header_value="application/json")
        with db.read() as view:
            for record in view.walk(workspace):  # in place, until the session ends
                print(f"{record['url']} at position {view.position.seq}")
    return 0


try:
    sys.exit(main())
except reqcast.Error as error:
    sys.exit(f"{error.code.name}: {error.text}")
