"""Webhook endpoints on a real PostgreSQL, which alone remembers keys here: there is no Redis."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec import UNSET
from servers_kit import Database
from webhook_stage import Stage, stage_on

from gateway.domain import limits
from gateway.domain.identity import uuid_of
from gateway.domain.stages import Heard
from gateway.events.webhooks import Endpoint

URL = "https://shop.example/hook"


@pytest.fixture
async def stage(database: Database) -> AsyncIterator[Stage]:
    async with stage_on(database) as stage:
        yield stage


async def test_an_endpoint_shows_its_secret_once(stage: Stage) -> None:
    made = await stage.endpoint(URL, "payment.succeeded")
    assert isinstance(made.secret, str)
    shown = await stage.shown(made)
    assert shown == made.without_secret()
    assert shown.secret is UNSET
    assert (shown.url, list(shown.events), shown.status) == (URL, ["payment.succeeded"], "enabled")
    assert shown.health.status == "untried"


async def test_a_secret_cannot_be_read_in_the_database(stage: Stage) -> None:
    made = await stage.endpoint(URL)
    assert isinstance(made.secret, str)
    rows = await stage.postgres.read(
        "SELECT w::text AS row FROM webhook_endpoint w WHERE merchant_id = $1", stage.merchant
    )
    key = stage.vault.reveal((await _column(stage, "secret_hidden")), uuid_of(made.id).encode())
    assert key.hex() not in rows[0]["row"]
    assert made.secret.removeprefix("whsec_") not in rows[0]["row"]


async def _column(stage: Stage, name: str) -> bytes:
    rows = await stage.postgres.read(
        "SELECT * FROM webhook_endpoint WHERE merchant_id = $1", stage.merchant
    )
    value: bytes = rows[0][name]
    return value


async def test_one_key_makes_one_endpoint_however_often_and_at_once(stage: Stage) -> None:
    claims = [stage.claimed("create_endpoint", "key") for _ in range(8)]
    answers = await asyncio.gather(*(stage.webhooks.create(c, URL, ("*",)) for c in claims))
    made = [answer for answer in answers if isinstance(answer, Endpoint)]
    heard = [answer for answer in answers if isinstance(answer, Heard)]
    assert (len(made), len(heard)) == (1, 7)
    assert {answer.resource for answer in heard} == {uuid_of(made[0].id)}
    assert [e.id for e in await stage.webhooks.all_of(stage.merchant)] == [made[0].id]


async def test_one_key_rotates_once(stage: Stage) -> None:
    endpoint = uuid_of((await stage.endpoint(URL)).id)
    rotating = stage.claimed("rotate_endpoint_secret", "turn")
    first = await stage.webhooks.rotate(rotating, endpoint)
    hidden = await _column(stage, "secret_hidden")
    second = await stage.webhooks.rotate(rotating, endpoint)
    assert isinstance(first, Endpoint)
    assert isinstance(second, Heard)
    assert await _column(stage, "secret_hidden") == hidden


async def test_a_key_of_another_request_is_heard_with_its_fingerprint(stage: Stage) -> None:
    await stage.webhooks.create(stage.claimed("create_endpoint", "key", b"1" * 32), URL, ("*",))
    again = await stage.webhooks.create(
        stage.claimed("create_endpoint", "key", b"2" * 32), URL, ("*",)
    )
    assert isinstance(again, Heard)
    assert again.fingerprint == b"1" * 32


async def test_there_is_a_bound_that_deleting_makes_room_under(stage: Stage) -> None:
    made = [await stage.endpoint(URL) for _ in range(limits.WEBHOOK_ENDPOINTS_MAX)]
    claimed = stage.claimed("create_endpoint", "one more")
    assert await stage.webhooks.create(claimed, URL, ("*",)) is None
    assert await stage.webhooks.delete(stage.merchant, uuid_of(made[0].id))
    assert isinstance(await stage.webhooks.create(claimed, URL, ("*",)), Endpoint)


async def test_a_deleted_endpoint_is_gone_with_its_secrets(stage: Stage) -> None:
    made = await stage.endpoint(URL)
    endpoint = uuid_of(made.id)
    await stage.webhooks.rotate(stage.claimed("rotate_endpoint_secret"), endpoint)
    assert await stage.webhooks.delete(stage.merchant, endpoint)
    assert not await stage.webhooks.delete(stage.merchant, endpoint)
    assert await stage.webhooks.find(stage.merchant, endpoint) is None
    assert await stage.webhooks.all_of(stage.merchant) == []
    rotating = stage.claimed("rotate_endpoint_secret")
    assert await stage.webhooks.rotate(rotating, endpoint) is None
    await stage.webhooks.enable(stage.merchant, endpoint)
    assert await stage.webhooks.find(stage.merchant, endpoint) is None
    assert (await _column(stage, "secret_hidden"), await _column(stage, "previous_hidden")) == (
        b"",
        None,
    )


async def test_another_merchant_sees_and_changes_nothing(stage: Stage) -> None:
    made = await stage.endpoint(URL)
    endpoint, stranger = uuid_of(made.id), stage.merchant + 1
    assert await stage.webhooks.find(stranger, endpoint) is None
    assert await stage.webhooks.all_of(stranger) == []
    assert not await stage.webhooks.delete(stranger, endpoint)
    assert (
        await stage.deliveries.of_endpoint(stranger, endpoint, status=None, below=9, limit=9) == []
    )
    assert (await stage.shown(made)).status == "enabled"
