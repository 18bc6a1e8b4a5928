"""Posting a batch of changes with one statement: what payments and refunds have in common."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gateway.domain.identity import mint_uuid, uuid_of
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres
from gateway.ledger import statements
from gateway.ledger.codec import columns, encode
from gateway.ledger.ports import Posting

Some = TypeVar("Some", bound=Posting)


class Poster:
    """Runs a posting statement over whole batches."""

    def __init__(self, postgres: Postgres, clock: Clock) -> None:
        self._postgres = postgres
        self._clock = clock

    async def post(
        self,
        statement: str,
        batch: Sequence[Some],
        row_of: Callable[[Some, bytes, bytes], tuple[Any, ...]],
    ) -> list[bytes | None]:
        """Give each change's resource as JSON once it is durable, None where it came too late.

        At most one change of a resource goes into a batch: a second one was weighed on what the
        first one changes.
        """
        first: dict[str, int] = {}
        events: list[bytes] = []
        bodies: list[bytes | None] = []
        rows: list[tuple[Any, ...]] = []
        now = self._clock.milliseconds()
        for index, change in enumerate(batch):
            resource = change.resource
            event, body = mint_uuid(change.merchant, now), None
            if first.setdefault(resource.id, index) == index:
                body = encode(resource)
                rows.append(row_of(change, event, body))
            events.append(event)
            bodies.append(body)
        moved = await self._postgres.write_batch(
            statement, *columns(rows), sorted({change.merchant for change in batch})
        )
        if len(moved) < len(rows):
            there = {row["resource_id"].hex for row in moved}
            left = [index for name, index in first.items() if uuid_of(name) not in there]
            for index in await self._late(batch, {n: events[n] for n in left}):
                bodies[index] = None
        return bodies

    async def _late(self, batch: Sequence[Some], events: dict[int, bytes]) -> list[int]:
        """Find the changes that came too late; a first, unanswered run had committed the others."""
        rows = await self._postgres.learn(
            statements.ALREADY_POSTED,
            *columns(
                (batch[index].merchant, uuid_of(batch[index].payment_id), event)
                for index, event in events.items()
            ),
        )
        found = {row["event_id"].bytes for row in rows}
        return [index for index, event in events.items() if event not in found]
