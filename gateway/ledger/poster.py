"""Posting a batch of changes with one statement: what payments and refunds have in common."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gateway.domain.identity import mint, uuid_of
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
            first.setdefault(change.resource.id, index)
        now = self._clock.milliseconds()
        told = {
            index: (mint("evt", batch[index].merchant, now), encode(batch[index].resource))
            for index in first.values()
        }
        rows = await self._postgres.write_batch(
            statement,
            *columns(row_of(batch[index], event, body) for index, (event, body) in told.items()),
            sorted({batch[index].merchant for index in told}),
        )
        bodies = {index: body for index, (_, body) in told.items()}
        if len(rows) < len(told):
            moved = {row["resource_id"].hex for row in rows}
            left = [index for name, index in first.items() if uuid_of(name) not in moved]
            for index in await self._late(batch, {n: uuid_of(told[n][0]) for n in left}):
                del bodies[index]
        return [bodies.get(index) for index in range(len(batch))]

    async def _late(self, batch: Sequence[Some], events: dict[int, str]) -> list[int]:
        """Find the changes that came too late; a first, unanswered run had committed the others."""
        rows = await self._postgres.learn(
            statements.ALREADY_POSTED,
            *columns(
                (batch[index].merchant, uuid_of(batch[index].payment_id), event)
                for index, event in events.items()
            ),
        )
        found = {row["event_id"].hex for row in rows}
        return [index for index, event in events.items() if event not in found]
