"""Webhooks on a real PostgreSQL: what is sent once more on demand, and what the lists show."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from books_kit import Stammering, connected
from servers_kit import Database
from webhook_stage import GUARD, Stage, sequences, stage_on

from gateway.domain import limits
from gateway.domain.identity import uuid_of
from gateway.drivers import sealing, telemetry
from gateway.drivers.postgres import Postgres
from gateway.events.deliveries import list_of
from gateway.events.outbox import Outbox, Result
from gateway.events.rules import signed_headers
from gateway.events.secret_watch import SecretWatch
from gateway.events.webhooks import _ROTATE, Endpoint, Webhooks
from tests.fakes.receiver import Receiver, receiving, says

_ROOM = limits.WEBHOOK_ENDPOINT_FLIGHTS_MAX
# What an endpoint got in a long life, and a few that wait for a secret or are dead for want of one.
_LONG_LIFE = """
INSERT INTO webhook_delivery (merchant_id, endpoint_id, sequence, status, tries, due_at, last_error)
SELECT $1, $2, n, CASE n % 2000 WHEN 1 THEN 'dead' WHEN 2 THEN 'pending' ELSE 'delivered' END, 1,
       CASE WHEN n % 2000 = 2 THEN $3::timestamptz END,
       CASE WHEN n % 2000 IN (1, 2) THEN 'secret_unreadable' END
  FROM generate_series(1, 20000) AS n
"""
_EVENTS = """
INSERT INTO event (merchant_id, sequence, id, type, payment_id, resource_id, version, created_at,
                   data)
SELECT $1, n, gen_random_uuid(), 'payment.failed', gen_random_uuid(), gen_random_uuid(), 1, $2, '{}'
  FROM generate_series(1, 20000) AS n
"""


def _rows_looked_at(plan: dict[str, Any]) -> int:
    """Count what a plan read of deliveries, also where it then passed it over."""
    below = sum(_rows_looked_at(each) for each in plan.get("Plans", ()))
    if plan.get("Relation Name") != "webhook_delivery":
        return below
    found = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    return below + round(found * plan["Actual Loops"])


@pytest.fixture
async def stage(database: Database) -> AsyncIterator[Stage]:
    async with stage_on(database) as stage:
        yield stage


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def test_one_event_is_sent_again_on_demand(stage: Stage, receiver: Receiver) -> None:
    endpoint = await stage.endpoint(receiver.url)
    for _ in range(3):
        await stage.tell()
        stage.clock.wind(minutes=10)
    await stage.turn()
    event_id = next(got.id for got in receiver.got if got.sequence == 2)
    again = await stage.deliveries.again(stage.merchant, event_id, stage.clock.now())
    assert again is not None
    assert again.queued == 1
    await stage.turn()
    assert sequences(receiver)[3:] == [2]
    assert {delivery.status for delivery in await stage.listed(endpoint)} == {"delivered"}


async def test_an_event_of_another_merchant_or_none_is_not_sent_again(stage: Stage) -> None:
    event_id = await stage.tell()
    now = stage.clock.now()
    assert await stage.deliveries.again(stage.merchant + 1, event_id, now) is None
    for nobodys in (stage.clock.mint("evt", stage.merchant), f"evt_{0:032x}", "evt_" + "f" * 32):
        assert await stage.deliveries.again(stage.merchant, nobodys, now) is None


async def test_a_dead_letter_lives_again_on_demand(stage: Stage, receiver: Receiver) -> None:
    receiver.answer = says(500)
    endpoint = await stage.endpoint(receiver.url)
    event_id = await stage.tell()
    while not await stage.listed(endpoint, "dead"):
        await stage.turn()
        stage.clock.wind(days=2)
    receiver.answer = says(204)
    again = await stage.deliveries.again(stage.merchant, event_id, stage.clock.now())
    assert again is not None
    await stage.turn()
    (delivery,) = await stage.listed(endpoint)
    assert (delivery.status, delivery.tries) == ("delivered", 1)
    assert len(receiver.got) == 13


async def test_a_span_of_time_is_sent_again(
    stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = stage.clock.now()
    for _ in range(6):
        await stage.tell()
        stage.clock.wind(minutes=1)
    endpoint = await stage.endpoint(receiver.url)
    span = {"after": began + timedelta(minutes=1), "before": began + timedelta(minutes=5)}
    monkeypatch.setattr(limits, "WEBHOOK_REDELIVERY_ITEMS_MAX", 3)
    now = stage.clock.now()
    first = await stage.deliveries.again_between(
        stage.merchant, uuid_of(endpoint.id), **span, now=now
    )
    assert (first.queued, first.resume_after) == (3, began + timedelta(minutes=3))
    await stage.turn()
    assert sorted(sequences(receiver)) == [2, 3, 4]
    rest = await stage.deliveries.again_between(
        stage.merchant,
        uuid_of(endpoint.id),
        after=first.resume_after or now,
        before=span["before"],
        now=now,
    )
    assert (rest.queued, rest.resume_after) == (2, None)
    await stage.turn()
    assert sorted(sequences(receiver)) == [2, 3, 4, 4, 5]


async def test_deliveries_are_listed_newest_first_and_by_page(
    stage: Stage, receiver: Receiver
) -> None:
    receiver.answer = lambda got: web.Response(status=500 if got.sequence == 2 else 204)
    endpoint = await stage.endpoint(receiver.url)
    for _ in range(5):
        await stage.tell()
    await stage.turn()
    pages = [
        await stage.deliveries.of_endpoint(
            stage.merchant, uuid_of(endpoint.id), status=None, below=below, limit=3
        )
        for below in (100, 3)
    ]
    assert [[d.sequence for d in page] for page in pages] == [[5, 4, 3], [2, 1]]
    assert [d.sequence for d in await stage.listed(endpoint, "pending")] == [2]
    assert [d.sequence for d in await stage.listed(endpoint, "delivered")] == [1, 3, 4, 5]


async def test_what_could_not_be_signed_backs_off_and_is_sent_when_there_is_a_new_secret(
    stage: Stage, receiver: Receiver
) -> None:
    """The key under which the secret was hidden is lost, and with it the secret."""
    endpoint = await stage.endpoint(receiver.url)
    stage.vault = sealing.Vault(sealing.new_master_key())
    stage.relay = stage.new_relay()
    stage.webhooks = Webhooks(stage.postgres, stage.vault, stage.clock, GUARD)
    assert (await stage.shown(endpoint)).health.trouble == "secret_unreadable"
    first, waits = await stage.tell(), []
    while not await stage.listed(endpoint, "dead"):
        await stage.turn()
        (delivery,) = await stage.listed(endpoint)
        assert (delivery.last_error, delivery.last_status) == ("secret_unreadable", None)
        waits.append(delivery.next_try_at)
        stage.clock.wind(days=2)
    assert len(waits) == len(limits.WEBHOOK_TRY_WAIT_SECONDS)
    second = await stage.tell()
    await stage.turn()
    shown = await stage.shown(endpoint)
    assert (shown.health.status, receiver.got) == ("paused", [])
    watch = SecretWatch(stage.postgres, stage.vault)
    await watch.look()
    assert telemetry.SECRETS_UNREADABLE._value.get() == 1
    rotating = stage.claimed("rotate_endpoint_secret")
    rotated = await stage.webhooks.rotate(rotating, uuid_of(endpoint.id))
    assert isinstance(rotated, Endpoint)
    assert (rotated.health.status, rotated.health.trouble) == ("untried", None)
    await watch.look()
    assert telemetry.SECRETS_UNREADABLE._value.get() == 0
    await stage.turn()
    assert {got.id for got in receiver.got} == {first, second}
    assert isinstance(rotated.secret, str)
    key = base64.b64decode(rotated.secret.removeprefix("whsec_"))
    for got in receiver.got:
        signed = signed_headers(got.id, got.body, stage.clock.now(), [key])
        assert got.headers["webhook-signature"] == signed["webhook-signature"]
    assert (await stage.shown(endpoint)).health.status == "healthy"


async def test_a_new_secret_gives_nothing_else_a_new_beginning(
    stage: Stage, receiver: Receiver
) -> None:
    receiver.answer = says(500)
    endpoint = await stage.endpoint(receiver.url)
    await stage.tell()
    await stage.turn()
    before = await stage.listed(endpoint)
    rotating = stage.claimed("rotate_endpoint_secret")
    rotated = await stage.webhooks.rotate(rotating, uuid_of(endpoint.id))
    assert isinstance(rotated, Endpoint)
    assert (rotated.health.status, await stage.listed(endpoint)) == ("failing", before)


async def test_a_new_secret_looks_at_nothing_that_was_delivered(
    stage: Stage, database: Database
) -> None:
    endpoint = uuid_of((await stage.endpoint("https://shop.example/hooks")).id)
    now = stage.clock.now()
    owner = Postgres(database.owner_url, connections=1)
    await owner.open()
    await owner.write(_LONG_LIFE, stage.merchant, endpoint, now)
    await owner.write("ANALYZE webhook_delivery")
    explain = f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) {_ROTATE}"
    key = (stage.merchant, "k", b"f" * 32, "rotate_endpoint_secret", endpoint, now)
    most = limits.WEBHOOK_REDELIVERY_ITEMS_MAX
    (row,) = await owner.write(explain, *key, b"hidden", now, "secret_unreadable", most)
    await owner.close()
    (plan,) = json.loads(row[0])
    assert _rows_looked_at(plan["Plan"]) < 200
    pending = "SELECT FROM webhook_delivery WHERE merchant_id = $1 AND due_at IS NOT NULL"
    assert len(await stage.postgres.read(pending, stage.merchant)) == 20


async def test_a_list_of_what_is_rare_looks_at_nothing_that_was_delivered(
    stage: Stage, database: Database
) -> None:
    endpoint = uuid_of((await stage.endpoint("https://shop.example/hooks")).id)
    owner = Postgres(database.owner_url, connections=1)
    await owner.open()
    await owner.write(_LONG_LIFE, stage.merchant, endpoint, stage.clock.now())
    await owner.write(_EVENTS, stage.merchant, stage.clock.now())
    await owner.write("ANALYZE webhook_delivery, event")
    for status in ("pending", "dead"):
        explain = f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) {list_of(status)}"
        (row,) = await owner.write(explain, stage.merchant, endpoint, 30_000, 21)
        (plan,) = json.loads(row[0])
        assert _rows_looked_at(plan["Plan"]) == 10
    await owner.close()


async def test_a_failure_that_is_written_twice_is_one(
    stage: Stage, database: Database, receiver: Receiver
) -> None:
    """As when its commit was not answered: the breaker counts what the receiver did."""
    endpoint, now = await stage.endpoint(receiver.url), stage.clock.now()
    await stage.tell()
    (due,) = await Outbox(stage.postgres).take_new([stage.merchant], now, {}, _ROOM)
    failed = Result(
        merchant=due.merchant,
        endpoint=due.endpoint,
        sequence=due.sequence,
        tries=due.tries,
        status="pending",
        due_at=now,
        at=now,
        http_status=500,
        error=None,
        gone=False,
        paused_until=None,
    )
    async with connected(database, Stammering) as stammering:
        await Outbox(stammering).saw([failed])
    health = (await stage.shown(endpoint)).health
    assert health.consecutive_failures == 1
