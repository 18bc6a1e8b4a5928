"""What the table of states does not have is refused with 409 and changes nothing."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from gateway.domain.payment import Status
from tests.e2e.harness import Shop, System
from tests.e2e.life_kit import act, facts, in_seconds, refused, together

pytestmark = pytest.mark.usefixtures("proven")

# How a payment comes to be of a status, and what it then refuses.
TABLE = """
status            order                    refused
processing        tok_forged_notice        capture        refunds
requires_action   qr                       capture        refunds
requires_capture  tok_ok:manual                           refunds
succeeded         tok_ok                   capture cancel
failed            tok_declined             capture cancel refunds
canceled          qr:cancel                capture cancel refunds
expired           qr:ends                  capture cancel refunds
requires_review   tok_wrong_amount_notice  capture cancel refunds
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()[1:]]
CELLS = [(row[0], verb) for row in ROWS for verb in row[2:]]
BODIES: Mapping[str, Any] = {"refunds": {"reference": "back-1", "amount": 1}}
MOVABLE = ("processing", "requires_action", "requires_capture", "succeeded")


class Shelf(NamedTuple):
    """One payment of every status, of one merchant, whose door each test opens anew."""

    shop: Shop
    payments: Mapping[str, str]


async def made(shop: Shop, status: str, order: str) -> str:
    token, _, what = order.partition(":")
    changes: dict[str, Any] = {"capture": "manual"} if what == "manual" else {}
    changes |= {"expires_at": in_seconds(1)} if what == "ends" else {}
    payment = (await shop.pay(token, **changes)).json
    if what == "cancel":
        await act(shop, payment["id"], "cancel")
    await shop.until(payment["id"], status)
    return str(payment["id"])


@pytest.fixture(scope="module")
def shelf(system: System, proven: None) -> Shelf:
    async def make() -> Shelf:
        await system.ready()
        async with system.shop() as shop:
            ids = await together(*(made(shop, row[0], row[1]) for row in ROWS))
            return Shelf(shop, dict(zip([row[0] for row in ROWS], ids, strict=True)))

    return asyncio.run(make())


@pytest.fixture
def seller(shelf: Shelf, shop: Shop) -> Shop:
    """The shelf's merchant with a session of this test."""
    return Shop(shop.base_url, shelf.shop.merchant, shelf.shop.credentials, shop.session)


def test_no_status_is_forgotten() -> None:
    assert [row[0] for row in ROWS] == [
        *("processing", "requires_action", "requires_capture", "succeeded", "failed", "canceled"),
        *("expired", "requires_review"),
    ]
    assert {row[0] for row in ROWS} == {status.value for status in Status}


@pytest.mark.parametrize(("status", "verb"), CELLS)
async def test_what_is_refused_changes_nothing(
    shelf: Shelf, seller: Shop, status: str, verb: str
) -> None:
    payment_id = shelf.payments[status]
    before = await facts(seller, payment_id)
    assert before[0]["status"] == status
    reply = await act(seller, payment_id, verb, BODIES.get(verb))
    refused(reply, 409, "state_conflict")
    assert status in reply.json["detail"]
    assert await facts(seller, payment_id) == before


@pytest.mark.parametrize("status", [row[0] for row in ROWS])
async def test_a_sync_moves_only_what_moved(shelf: Shelf, seller: Shop, status: str) -> None:
    payment_id = shelf.payments[status]
    before = await facts(seller, payment_id)
    reply = await act(seller, payment_id, "sync")
    assert (reply.status, reply.json) == (200, before[0])
    assert await facts(seller, payment_id) == before


@pytest.mark.parametrize("status", MOVABLE)
async def test_what_the_table_has_is_done(shelf: Shelf, seller: Shop, status: str) -> None:
    """Last, because it changes the shelf."""
    verb = "refunds" if status == "succeeded" else "cancel"
    reply = await act(seller, shelf.payments[status], verb, BODIES.get(verb))
    assert reply.status in {200, 201}
    assert reply.json["status"] == ("succeeded" if verb == "refunds" else "canceled")
