"""What tests of webhooks play with: a clock wound by hand, events, endpoints, and one relay."""

import itertools
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from gateway.domain.identity import uuid_of
from gateway.domain.stages import Claimed, Matched, Merchant, Received, Verified
from gateway.drivers import sealing
from gateway.drivers.clock import Clock
from gateway.drivers.outbound_guard import Guard, GuardedOutbound
from gateway.drivers.postgres import Postgres
from gateway.events.deliveries import Deliveries, Delivery
from gateway.events.outbox import Outbox
from gateway.events.relay import Relay
from gateway.events.webhooks import Endpoint, Webhooks
from gateway.match.table import OPERATIONS, Nothing
from tests.fakes.receiver import Receiver

GUARD = Guard(loopback=True)
_numbers = itertools.count(1)

# As the ledger does it: number and event in one statement.
_TELL = """
WITH numbered AS (
    INSERT INTO feed AS f (merchant_id, last_sequence) VALUES ($1, 1)
    ON CONFLICT (merchant_id) DO UPDATE SET last_sequence = f.last_sequence + 1
    RETURNING last_sequence
)
INSERT INTO event (merchant_id, sequence, id, type, payment_id, resource_id, version, created_at,
                   data)
SELECT $1, last_sequence, $2, $3, $4, $4, 1, $5, $6 FROM numbered RETURNING sequence
"""


class HandClock(Clock):
    """Stands still until it is wound."""

    def __init__(self) -> None:
        self.time = datetime(2026, 5, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def wind(self, **by: float) -> None:
        self.time += timedelta(**by)


class Stage:
    """One merchant on a real database; each test has a merchant of its own."""

    def __init__(self, postgres: Postgres, outbound: GuardedOutbound) -> None:
        self.merchant = next(_numbers)
        self.postgres = postgres
        self.clock = HandClock()
        self.vault = sealing.Vault(sealing.new_master_key())
        self.webhooks = Webhooks(postgres, self.vault, self.clock, GUARD)
        self.deliveries = Deliveries(postgres)
        self.outbound = outbound
        self.relay = self.new_relay()

    def new_relay(self) -> Relay:
        return Relay(Outbox(self.postgres), self.outbound, self.vault, self.clock)

    async def tell(self, type_: str = "payment.succeeded") -> str:
        """Make an event now; gives its id."""
        event_id = self.clock.mint("evt", self.merchant)
        payment_id = self.clock.mint("pay", self.merchant)
        data = msgspec.json.encode({"object": "payment", "id": payment_id})
        ids = (uuid_of(event_id), type_, uuid_of(payment_id))
        await self.postgres.write(_TELL, self.merchant, *ids, self.clock.now(), data)
        return event_id

    async def endpoint(self, url: str, *events: str) -> Endpoint:
        made = await self.webhooks.create(self.claimed("create_endpoint"), url, events or ("*",))
        assert isinstance(made, Endpoint)
        return made

    def claimed(self, operation: str, key: str | None = None, of: bytes = b"f" * 32) -> Claimed:
        """A claimed request of this merchant, as the idempotency step hands it on."""
        merchant = Merchant(self.merchant, self.clock.mint("mer", self.merchant), 60)
        received = Received("POST", "/", (), b"", self.clock.now(), "req_1")
        named = next(o for o in OPERATIONS if o.name == operation)
        matched = Matched(Verified(received, merchant, "key_1", b"", key), named, (), Nothing())
        return Claimed(matched, key or os.urandom(8).hex(), of, None)

    async def turn(self, relay: Relay | None = None) -> None:
        """One turn of the relay, and everything that it began."""
        relay = relay or self.relay
        await relay.turn()
        await relay.landed()

    async def shown(self, endpoint: Endpoint) -> Endpoint:
        found = await self.webhooks.find(self.merchant, uuid_of(endpoint.id))
        assert found is not None
        return found

    async def listed(self, endpoint: Endpoint, status: str | None = None) -> Sequence[Delivery]:
        """The deliveries to an endpoint, oldest event first."""
        found = await self.deliveries.of_endpoint(
            self.merchant, uuid_of(endpoint.id), status=status, below=2**62, limit=100
        )
        return found[::-1]


def sequences(receiver: Receiver) -> list[int]:
    """What came, in the order in which it came."""
    return [got.sequence for got in receiver.got]


@asynccontextmanager
async def stage_on(database: Any) -> AsyncIterator[Stage]:
    postgres = Postgres(database.app_url, connections=4)
    await postgres.open()
    try:
        async with GuardedOutbound(GUARD) as outbound:
            stage = Stage(postgres, outbound)
            await _add_merchant(database, stage.merchant)
            yield stage
    finally:
        await postgres.close()


async def _add_merchant(database: Any, number: int) -> None:
    owner = Postgres(database.owner_url, connections=1)
    await owner.open()
    # The tests before this one left events and endpoints; their merchants are no longer asked for.
    await owner.write("DELETE FROM merchant")
    await owner.write(
        "INSERT INTO merchant (id, public_id, name, commission_bps, created_at)"
        " VALUES ($1, $2, 'Shop', 60, now())",
        number,
        f"{number:032x}",
    )
    await owner.close()
