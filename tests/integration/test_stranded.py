"""What waits where nobody can ask any more is counted, and what has ended is not."""

from typing import Any

from gateway.channels.registry import Registry
from gateway.channels.simulator.channel import SimulatorChannel
from gateway.channels.store import PostgresCredentials
from gateway.channels.stranded import Stranded, StrandedWatch
from gateway.domain.outcome import Verdict
from gateway.drivers import telemetry
from gateway.ledger.rules import begin_capture
from tests.integration.ledger_desk import Desk, desk_on, new_merchant


def watch_of(desk: Desk, *channels: SimulatorChannel) -> StrandedWatch:
    store = PostgresCredentials(desk.postgres, vault=None)
    registry = Registry(channels, store, desk.clock, notify_base="https://us.example")
    return StrandedWatch(desk.postgres, registry)


def gauges() -> list[float]:
    kinds = ("attempt", "capture", "refund")
    return [telemetry.STRANDED.labels("simulator", kind)._value.get() for kind in kinds]


async def test_what_waits_at_a_channel_that_is_configured_no_more(database: Any) -> None:
    async with desk_on(database, await new_merchant(database)) as desk:
        pending, held, ended = [await desk.opened() for _ in range(3)]
        await desk.said(pending, Verdict.PENDING)
        await desk.said(ended, Verdict.CLOSED)
        posted = await desk.said(held, Verdict.AUTHORIZED)
        begun = begin_capture(posted.standing, held.attempt, 1999, desk.clock.now())
        assert begun is not None
        await desk.books.post_batch([begun])
        await desk.reserve(await desk.paid(), 500)
        there = SimulatorChannel("http://127.0.0.1:1", b"key", notify_base="https://us.example")
        gone, back = watch_of(desk), watch_of(desk, there)
        await gone.look()
        waits = Stranded(channel="simulator", credential=None, attempts=1, captures=1, refunds=1)
        assert (gone.found(), gauges()) == ((waits,), [1, 1, 1])
        await back.look()
        assert back.found() == ()
