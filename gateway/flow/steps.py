"""The steps of a request by the names under which their time is told."""

from typing import Final

from gateway.drivers.stopwatch import Step

VERIFY: Final = Step("verify")
ADMIT: Final = Step("admit")
MATCH: Final = Step("match")
CLAIM: Final = Step("claim")
ROUTE: Final = Step("route")
OPEN: Final = Step("open")
ASK: Final = Step("ask")
POST: Final = Step("post")
SETTLE: Final = Step("settle")
# All payments of a batch together; each of them has its own steps besides.
ITEMS: Final = Step("items")
