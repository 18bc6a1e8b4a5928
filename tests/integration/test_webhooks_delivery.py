"""Webhooks on a real PostgreSQL: what is delivered, when again, and when never more."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import pairwise

import asyncpg
import msgspec
import pytest
import standardwebhooks
from aiohttp import web
from servers_kit import Database
from webhook_stage import Stage, sequences, stage_on

from gateway.domain import limits
from gateway.domain.identity import uuid_of
from gateway.events.feed import Feed
from gateway.events.outbox import Outbox
from tests.fakes.receiver import Got, Receiver, receiving, says

FAR = limits.WEBHOOK_ENDPOINT_FLIGHTS_MAX


@pytest.fixture
async def stage(database: Database) -> AsyncIterator[Stage]:
    async with stage_on(database) as stage:
        yield stage


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def test_what_is_pushed_is_what_the_feed_shows(stage: Stage, receiver: Receiver) -> None:
    await stage.endpoint(receiver.url)
    for _ in range(3):
        await stage.tell()
    await stage.turn()
    events = {event.id: event for event in await Feed(stage.postgres).after(stage.merchant, 0, 9)}
    assert len(events) == 3
    assert sorted(sequences(receiver)) == [1, 2, 3]
    for got in receiver.got:
        event = events[got.id]
        data = bytes(event.data)
        assert got.sequence == event.sequence
        assert got.body.endswith(b'"data":' + data + b"}")
        assert got.json["type"] == event.type
        assert msgspec.convert(got.json["timestamp"], datetime) == event.created_at
        assert data.endswith(b',"sequence":%d}' % event.sequence)


async def test_an_endpoint_hears_what_happens_from_its_beginning_on(
    stage: Stage, receiver: Receiver
) -> None:
    await stage.tell()
    await stage.endpoint(receiver.url)
    await stage.turn()
    assert receiver.got == []
    await stage.tell()
    await stage.turn()
    assert sequences(receiver) == [2]


async def test_an_endpoint_hears_only_what_it_asked_for(stage: Stage, receiver: Receiver) -> None:
    endpoint = await stage.endpoint(receiver.url, "refund.failed", "payment.failed")
    for type_ in ("payment.succeeded", "refund.failed", "payment.processing", "payment.failed"):
        await stage.tell(type_)
    await stage.turn()
    assert sorted(sequences(receiver)) == [2, 4]
    assert [delivery.sequence for delivery in await stage.listed(endpoint)] == [2, 4]
    assert (await stage.shown(endpoint)).health.events_behind == 0


async def test_every_event_arrives_once_when_all_is_well(stage: Stage, receiver: Receiver) -> None:
    endpoint = await stage.endpoint(receiver.url)
    count = 3 * FAR + 5
    for _ in range(count):
        await stage.tell()
    behind = []
    while (await stage.shown(endpoint)).health.events_behind:
        behind.append((await stage.shown(endpoint)).health.events_behind)
        await stage.turn()
    assert sorted(sequences(receiver)) == list(range(1, count + 1))
    assert behind == [count, count - FAR, count - 2 * FAR, count - 3 * FAR]
    await stage.turn()
    assert len(receiver.got) == count


async def test_two_relays_share_the_work(stage: Stage, receiver: Receiver) -> None:
    await stage.endpoint(receiver.url)
    for _ in range(FAR):
        await stage.tell()
    other = stage.new_relay()
    for _ in range(3):
        await asyncio.gather(stage.turn(), stage.turn(other))
    assert sorted(sequences(receiver)) == list(range(1, FAR + 1))


async def test_the_retry_table_by_a_hand_wound_clock(stage: Stage, receiver: Receiver) -> None:
    receiver.answer = says(500)
    endpoint = await stage.endpoint(receiver.url)
    event_id = await stage.tell()
    await stage.turn()
    waits = limits.WEBHOOK_TRY_WAIT_SECONDS[1:]
    for tries, wait in enumerate(waits, start=1):
        (delivery,) = await stage.listed(endpoint)
        assert (delivery.status, delivery.tries, delivery.last_status) == ("pending", tries, 500)
        assert delivery.next_try_at is not None
        # Whatever the jitter was: not yet after four fifths of the wait, surely after six fifths.
        began = stage.clock.now()
        assert wait * 0.8 <= (delivery.next_try_at - began).total_seconds() <= wait * 1.2
        stage.clock.wind(seconds=wait * 0.8 - 0.001)
        await stage.turn()
        assert len(receiver.got) == tries
        stage.clock.time = delivery.next_try_at
        await stage.turn()
        assert len(receiver.got) == tries + 1
    (dead,) = await stage.listed(endpoint, "dead")
    assert (dead.event, dead.status, dead.tries, dead.next_try_at) == (event_id, "dead", 12, None)
    stage.clock.wind(days=30)
    await stage.turn()
    assert len(receiver.got) == len(limits.WEBHOOK_TRY_WAIT_SECONDS) == 12
    assert {got.id for got in receiver.got} == {event_id}
    assert len({got.body for got in receiver.got}) == 1


async def test_every_try_is_signed_anew(stage: Stage, receiver: Receiver) -> None:
    receiver.answer = says(500)
    endpoint = await stage.endpoint(receiver.url)
    await stage.tell()
    await stage.turn()
    stage.clock.wind(seconds=6)
    await stage.turn()
    first, second = (int(got.headers["webhook-timestamp"]) for got in receiver.got)
    assert second - first == 6
    signatures = {got.headers["webhook-signature"] for got in receiver.got}
    assert len(signatures) == 2
    assert isinstance(endpoint.secret, str)
    webhook = standardwebhooks.Webhook(endpoint.secret)
    for got in receiver.got:
        assert f"v1,{_signed(webhook, got)}" == got.headers["webhook-signature"]


def _signed(webhook: standardwebhooks.Webhook, got: Got) -> str:
    """Sign as the library of others does: its own check of the time knows no wound clock."""
    at = datetime.fromtimestamp(int(got.headers["webhook-timestamp"]), tz=None).astimezone()
    return str(webhook.sign(got.id, at, got.body.decode())).removeprefix("v1,")


async def test_two_secrets_are_live_for_a_day_after_a_rotation(
    stage: Stage, receiver: Receiver
) -> None:
    old = await stage.endpoint(receiver.url)
    new = await stage.webhooks.rotate(stage.claimed("rotate_endpoint_secret"), uuid_of(old.id))
    assert new is not None
    assert new.secret != old.secret
    secrets = [standardwebhooks.Webhook(made.secret) for made in (new, old)]
    for wound, live in ((timedelta(), secrets), (timedelta(hours=24), secrets[:1])):
        stage.clock.time += wound
        await stage.tell()
        await stage.turn()
        got = receiver.got[-1]
        expected = " ".join(f"v1,{_signed(webhook, got)}" for webhook in live)
        assert got.headers["webhook-signature"] == expected


async def test_a_second_rotation_leaves_two_secrets(stage: Stage, receiver: Receiver) -> None:
    made = [await stage.endpoint(receiver.url)]
    for _ in range(2):
        rotated = stage.claimed("rotate_endpoint_secret")
        made.append(await stage.webhooks.rotate(rotated, uuid_of(made[0].id)))
    await stage.tell()
    await stage.turn()
    (got,) = receiver.got
    live = (standardwebhooks.Webhook(endpoint.secret) for endpoint in made[:0:-1])
    expected = " ".join(f"v1,{_signed(webhook, got)}" for webhook in live)
    assert got.headers["webhook-signature"] == expected


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_a_failure(stage: Stage, receiver: Receiver, status: int) -> None:
    receiver.answer = says(status, {"Location": receiver.url + "/elsewhere"})
    endpoint = await stage.endpoint(receiver.url)
    await stage.tell()
    await stage.turn()
    (delivery,) = await stage.listed(endpoint)
    assert (delivery.status, delivery.last_status) == ("pending", status)
    assert [got.path for got in receiver.got] == ["/hook"]


async def test_nobody_there_is_a_failure_with_a_word(stage: Stage, receiver: Receiver) -> None:
    endpoint = await stage.endpoint("http://127.0.0.1:1/hook")
    await stage.tell()
    await stage.turn()
    (delivery,) = await stage.listed(endpoint)
    assert (delivery.last_status, delivery.last_error) == (None, "not_connected")


async def test_an_address_inside_is_a_failure_with_a_word(stage: Stage, database: Database) -> None:
    # The name is fine, so it was accepted; where it leads is seen at connect.
    inside = await stage.endpoint("https://localhost.localdomain:8443/hook")
    endpoint = await stage.endpoint("https://localhost:8443/hook")
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute(
        "UPDATE webhook_endpoint SET url = 'https://10.0.0.1/' WHERE merchant_id = $1 AND id = $2",
        stage.merchant,
        uuid_of(endpoint.id),
    )
    await owner.close()
    await stage.tell()
    await stage.turn()
    (delivery,) = await stage.listed(endpoint)
    assert (delivery.last_status, delivery.last_error) == (None, "address_refused")
    assert len(await stage.listed(inside)) == 1


async def test_gone_disables_the_endpoint_until_it_is_enabled_again(
    stage: Stage, receiver: Receiver
) -> None:
    receiver.answer = says(410)
    endpoint = await stage.endpoint(receiver.url)
    await stage.tell()
    await stage.turn()
    assert (await stage.shown(endpoint)).status == "disabled"
    receiver.answer = says(204)
    await stage.tell()
    stage.clock.wind(days=1)
    await stage.turn()
    assert sequences(receiver) == [1]
    await stage.webhooks.enable(stage.merchant, uuid_of(endpoint.id))
    stage.clock.wind(seconds=1)
    await stage.turn()
    assert sorted(sequences(receiver)) == [1, 1, 2]
    assert {delivery.status for delivery in await stage.listed(endpoint)} == {"delivered"}


@pytest.mark.parametrize("status", [429, 502, 504])
async def test_who_throttles_is_left_alone_for_as_long_as_it_asks(
    stage: Stage, receiver: Receiver, status: int
) -> None:
    receiver.answer = says(status, {"Retry-After": "100"})
    endpoint = await stage.endpoint(receiver.url)
    await stage.tell()
    await stage.turn()
    receiver.answer = says(204)
    await stage.tell()
    health = (await stage.shown(endpoint)).health
    assert (health.status, health.events_behind) == ("paused", 1)
    assert health.paused_until == stage.clock.now() + timedelta(seconds=100)
    stage.clock.wind(seconds=99)
    await stage.turn()
    assert sequences(receiver) == [1]
    stage.clock.wind(seconds=1)
    await stage.turn()
    assert sorted(sequences(receiver)) == [1, 1, 2]
    assert (await stage.shown(endpoint)).health.status == "healthy"


async def test_the_breaker_lets_one_through_and_success_closes_it(
    stage: Stage, receiver: Receiver
) -> None:
    receiver.answer = says(500)
    endpoint = await stage.endpoint(receiver.url)
    for _ in range(10):
        await stage.tell()
    await stage.turn()
    health = (await stage.shown(endpoint)).health
    assert (health.status, health.consecutive_failures) == ("failing", 10)
    stage.clock.wind(seconds=7)
    await stage.turn()
    # Ten were due, but whoever failed so often gets one, and then a pause.
    assert len(receiver.got) == 11
    health = (await stage.shown(endpoint)).health
    assert (health.status, health.consecutive_failures) == ("paused", 11)
    stage.clock.wind(seconds=4)
    await stage.turn()
    assert len(receiver.got) == 11
    receiver.answer = says(200)
    stage.clock.wind(seconds=1)
    await stage.turn()
    assert len(receiver.got) == 12
    health = (await stage.shown(endpoint)).health
    assert (health.status, health.consecutive_failures) == ("healthy", 0)
    assert health.failing_since is None
    stage.clock.wind(minutes=1)
    await stage.turn()
    assert {delivery.status for delivery in await stage.listed(endpoint)} == {"delivered"}


async def test_one_that_does_not_answer_holds_nobody_else_up(
    stage: Stage, receiver: Receiver
) -> None:
    async with receiving() as silent:
        silent.open.clear()
        endpoint = await stage.endpoint(silent.url)
        await stage.endpoint(receiver.url)
        for _ in range(2 * FAR):
            await stage.tell()
        running = asyncio.create_task(stage.relay.run())
        await receiver.arrived(2 * FAR)
        await silent.arrived(FAR)
        assert sorted(sequences(receiver)) == list(range(1, 2 * FAR + 1))
        assert silent.at_once_max == len(silent.got) == FAR
        # A relay that is told to stop waits for what is under way, and keeps what became of it.
        running.cancel()
        silent.open.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        statuses = [delivery.status for delivery in await stage.listed(endpoint, "delivered")]
        assert len(statuses) == FAR


async def test_a_relay_that_dies_leaves_its_lease_to_others(
    stage: Stage, receiver: Receiver
) -> None:
    endpoint = await stage.endpoint(receiver.url)
    await stage.tell()
    merchants, now = [stage.merchant], stage.clock.now()
    outbox = Outbox(stage.postgres)
    assert len(await outbox.take_new(merchants, now, {}, FAR)) == 1  # and then it dies
    await stage.turn()
    assert receiver.got == []
    stage.clock.wind(seconds=limits.WEBHOOK_LEASE_SECONDS)
    await stage.turn()
    assert sequences(receiver) == [1]
    (delivery,) = await stage.listed(endpoint)
    assert (delivery.status, delivery.tries) == ("delivered", 2)


@pytest.mark.parametrize("status", [410, 500])
async def test_a_late_result_does_not_undo_what_came_after(
    stage: Stage, receiver: Receiver, status: int
) -> None:
    """Its relay stood still for longer than its lease, and somebody else delivered meanwhile."""
    endpoint = await stage.endpoint(receiver.url)
    await stage.tell()
    receiver.open.clear()
    await stage.relay.turn()
    await receiver.arrived(1)
    stage.clock.wind(seconds=limits.WEBHOOK_LEASE_SECONDS)
    other = stage.new_relay()
    await other.turn()
    await receiver.arrived(2)
    late = receiver.got[0].headers["webhook-timestamp"]
    receiver.answer = lambda got: web.Response(
        status=status if got.headers["webhook-timestamp"] == late else 204
    )
    receiver.open.set()
    await other.landed()
    await stage.relay.landed()
    (delivery,) = await stage.listed(endpoint)
    assert (delivery.status, delivery.tries) == ("delivered", 2)
    shown = await stage.shown(endpoint)
    assert (shown.status, shown.health.status) == ("enabled", "healthy")


async def test_nothing_is_lost_whatever_the_receiver_does(stage: Stage, receiver: Receiver) -> None:
    chance = random.Random(7)
    delivered: set[int] = set()

    def answer(got: Got) -> web.Response:
        status = chance.choice([204, 204, 500, 429, 302])
        if status == 204:
            delivered.add(got.sequence)
        return web.Response(status=status, headers={"Retry-After": "3"})

    receiver.answer = answer
    endpoint = await stage.endpoint(receiver.url)
    count = 100
    for _ in range(count):
        await stage.tell()
    while len(delivered) < count:
        await stage.turn()
        stage.clock.wind(minutes=7)
        assert await stage.listed(endpoint, "dead") == []
    listed = await stage.listed(endpoint)
    assert [delivery.sequence for delivery in listed] == list(range(1, count + 1))
    assert {delivery.status for delivery in listed} == {"delivered"}
    assert all(a.sequence + 1 == b.sequence for a, b in pairwise(listed))
