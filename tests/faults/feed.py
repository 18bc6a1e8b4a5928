"""The reader of the feed: it follows a merchant's events while faults run, and forgets nothing."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from gateway.domain.identity import merchant_number
from tests.e2e.harness import Shop
from tests.faults.merchants import Merchants

_PAGE: Final = "/v1/events?limit=100"
_PAUSE_SECONDS: Final = 0.1
_TABLE: Final = "SELECT sequence, id, type FROM event WHERE merchant_id = $1 ORDER BY sequence"

Event = dict[str, Any]


def objections(
    seen: Sequence[Event], end: Sequence[Event], table: Sequence[Event]
) -> Iterator[str]:
    """Say what is wrong with a feed: as followed, as it is at the end, and as it is stored."""
    for name, events in (("followed", seen), ("at the end", end)):
        sequences = [event["sequence"] for event in events]
        if sequences != list(range(1, len(events) + 1)):
            yield f"the feed {name} is not gap-free and in order: {sequences[:20]}"
    now = {event["sequence"]: event for event in end}
    for event in seen:
        if event["sequence"] not in now:
            yield f"event {event['sequence']} ({event['id']}) was read and is gone"
        elif now[event["sequence"]] != event:
            yield f"event {event['sequence']} was {event}, is {now[event['sequence']]}"
    stored = [(row["sequence"], row["id"], row["type"]) for row in table]
    if [(event["sequence"], event["id"], event["type"]) for event in end] != stored:
        yield f"the feed has {len(end)} events, the table {len(stored)}, and they differ"


@dataclass
class FeedReader:
    """Follows one merchant's feed; `seen` is every event that was ever read, in that order."""

    merchants: Merchants
    shop: Shop
    seen: list[Event] = field(default_factory=list)

    async def follow(self) -> None:
        """Read on for ever."""
        while True:
            if not await self.read_on():
                await asyncio.sleep(_PAUSE_SECONDS)

    async def read_on(self) -> int:
        """Read the next page; says how many events were new."""
        after = self.seen[-1]["sequence"] if self.seen else 0
        page = (await self.merchants.look(self.shop, f"{_PAGE}&after={after}"))["data"]
        self.seen += page
        return len(page)

    async def audit(self, database_url: str) -> list[str]:
        """Read to the end, and hold what was seen beside the whole feed and the table."""
        while await self.read_on():
            pass
        end = await self.merchants.pages(self.shop, _PAGE, "after")
        connection = await asyncpg.connect(database_url)
        rows = await connection.fetch(_TABLE, merchant_number(self.shop.merchant))
        await connection.close()
        table = [dict(row) | {"id": f"evt_{row['id'].hex}"} for row in rows]
        return [f"{self.shop.merchant}: {what}" for what in objections(self.seen, end, table)]
