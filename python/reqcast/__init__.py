# SPDX-License-Identifier: Apache-2.0
"""reqcast in Python: the C library through ctypes, and nothing but the standard library.

    import reqcast

    with reqcast.open("shop.db", create=True) as db:        # the owner: reads and writes
        with db.write() as txn:                             # committed when the block ends well
            shop = txn.put("workspaces", name="shop")       # the new record's Id
            txn.put("http", workspace_id=shop, name="Items", method="GET", url="https://a.example/")
        with db.read() as view:                             # one position, until the block ends
            for request in view.walk(shop):
                print(request["method"], request["url"])
    with reqcast.attach("shop.db") as db: ...               # any other process
    with reqcast.subscribe(reqcast.sidecar_url("shop.db")) as changes:  # what a reqcastd streams
        for event in changes:
            print(event.kind, event.place)

A record reads like a dict, in place: each look is one into shared memory. It is valid until its
session ends; then it raises Error with Code.CLOSED. dict(record) keeps it longer. What the calls do
and promise is said in reqcast.h, under the same names.

Values: None is NULL; bool, int, float, str and bytes are what they are; ids are Id, also where they
are written. A value that is too large for the view reads as Large; Session.large fetches its bytes.
Texts that are no UTF-8 have surrogate escapes.

The library is found by its name, or where $REQCAST_LIBRARY says. All objects may be used from any
thread; a session or a transaction by one at a time is quicker. A process that forks must open anew.
Timeouts are in seconds. Functions for log and for commit_async run on threads of the library, which
waits for them: what waits for the library in turn is refused there.
"""

from reqcast._database import Database, attach, open
from reqcast._files import capture_plan, capture_remove, restore, sidecar_url
from reqcast._records import (ORIGINS, Activity, Chain, Change, Changes, Copied, Difference,
                              Integrity, Item, Metrics, Page, Part, Pruned, Raw, Record, Resolved,
                              Result, Verified)
from reqcast._session import Session
from reqcast._subscription import EVENTS, Event, Subscription, subscribe
from reqcast._transaction import Completion, Transaction
from reqcast._values import (ABSENT, ANY_TIME, Code, Error, Id, Large, Position, Type, entities,
                             new_id)
from reqcast._watch import Watch

__all__ = [name for name in dir() if not name.startswith("_")]
