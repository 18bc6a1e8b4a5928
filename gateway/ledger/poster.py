"""Posting a batch of changes with one statement: what payments and refunds have in common."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gateway.domain.identity import uuid_of
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
        row_of: Callable[[Some, str, bytes], tuple[Any, ...]],
    ) -> list[bytes | None]:
        """Give each change's resource as JSON once it is durable, None where it came too late.

        At most one change of a resource goes into a batch: a second one was weighed on what the
        first one changes.
        """
        first: dict[str, int] = {}
        for index, change in enumerate(batch):
            first.setdefault(uuid_of(change.resource.id), index)
        told = {
            index: (self._clock.mint("evt", batch[index].merchant), encode(batch[index].resource))
            for index in first.values()
        }
        rows = await self._postgres.write_batch(
            statement,
            *columns(row_of(batch[index], event, body) for index, (event, body) in told.items()),
            sorted({batch[index].merchant for index in told}),
        )
        posted = {first[row["resource_id"].hex] for row in rows}
        lost = [index for index in told if index not in posted]
        if lost:
            events = {index: uuid_of(told[index][0]) for index in lost}
            posted |= await self._already_posted(batch, events)
        return [told[index][1] if index in posted else None for index in range(len(batch))]

    async def _already_posted(self, batch: Sequence[Some], events: dict[int, str]) -> set[int]:
        """Find the changes that a first, unanswered run of the same statement had committed."""
        rows = await self._postgres.learn(
            statements.ALREADY_POSTED,
            *columns(
                (batch[index].merchant, uuid_of(batch[index].payment_id), event)
                for index, event in events.items()
            ),
        )
        found = {row["event_id"].hex for row in rows}
        return {index for index, event in events.items() if event in found}
