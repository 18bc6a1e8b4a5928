"""A stablecoin from the command that adds its account to the books, over a real chain."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.channels.crypto.deposits import keccak
from gateway.domain.identity import merchant_number
from tests.conftest import Database
from tests.e2e.account_kit import run
from tests.e2e.harness import Shop, System, until
from tests.e2e.idempotency_kit import Witness
from tests.e2e.life_kit import (
    act,
    as_owner,
    balances,
    events,
    further,
    give_back,
    its_time_comes,
    number_of,
    timeline,
)
from tests.fakes.evm_node import FINALITY_BLOCKS, Node, standing

pytestmark = pytest.mark.usefixtures("proven")

UNITS = 10_000  # in a cent, of a token with six decimals


@pytest.fixture
async def node(system: System, shop: Shop, tmp_path: Path) -> AsyncIterator[Node]:
    """A node, and the shop's account on its chain: the code that collects for it is its own."""
    async with standing() as node:
        file = tmp_path / "usd.json"
        own = {"currency": "USD", "init_code_hash": "0x" + keccak(shop.merchant.encode()).hex()}
        file.write_text(json.dumps(node.words() | own))
        made = await run(system, "add", "crypto", "--file", str(file), "--merchant", shop.merchant)
        assert made[0] == 0, made[2]
        yield node
        told = json.loads(made[1])
        assert (await run(system, "revoke", told["credential"]))[0] == 0


async def shown(shop: Shop, **changes: Any) -> Any:
    """A payment with the address that its payer is shown, once the account is known."""

    async def made() -> Any:
        told = await shop.pay(method={"type": "crypto"}, currency="USD", **changes)
        return told.json if told.status == 201 else None

    payment = await until(made, seconds=5)
    assert (payment["status"], payment["channel"]) == ("requires_action", "crypto")
    return payment


async def synced(shop: Shop, payment_id: str, status: str) -> Any:
    """Ask until the payment has this status: whoever asks already may have asked too early."""

    async def reached() -> Any:
        payment = (await act(shop, payment_id, "sync")).json
        return payment if payment["status"] == status else None

    return await until(reached)


async def heard(shop: Shop, payment_id: str, code: str) -> None:
    """Ask until the chain was heard to say this."""

    async def told() -> bool:
        await act(shop, payment_id, "sync")
        moments = await timeline(shop, payment_id)
        return code in {moment["details"].get("code") for moment in moments}

    await until(told)


def transfer(node: Node, payment: Any, cents: int) -> None:
    """Send so much and let it become final."""
    node.send(payment["next_action"]["fields"]["address"], cents * UNITS)
    node.mine(FINALITY_BLOCKS)


async def test_a_payment_succeeds_when_its_transfer_is_final(shop: Shop, node: Node) -> None:
    payment = await shown(shop)
    action = payment["next_action"]
    assert (action["type"], action["fields"]["units"]) == ("transfer", str(1999 * UNITS))
    node.send(action["fields"]["address"], 1999 * UNITS)
    await heard(shop, payment["id"], "confirming 19.99")
    assert (await shop.payment(payment["id"]))["status"] == "requires_action"
    node.mine(FINALITY_BLOCKS)
    paid = await synced(shop, payment["id"], "succeeded")
    assert (paid["amount_captured"], paid["fee"]) == (1999, 12)
    assert (await balances(shop))["merchant pending"] == 1999 - 12
    back = (await give_back(shop, payment["id"])).json
    assert (back["status"], back["failure"]["code"]) == ("failed", "refund_by_hand")
    assert (await shop.payment(payment["id"]))["amount_refunded"] == 0


async def test_what_is_sent_beyond_the_amount_waits_in_suspense(
    shop: Shop, node: Node, witness: Witness
) -> None:
    """Where it should go back as well: no address can be drawn upon, so people send it back."""
    wants_it_back = "UPDATE merchant SET late_success = 'refund' WHERE id = $1"
    await witness.database.execute(wants_it_back, merchant_number(shop.merchant))
    payment = await shown(shop)
    node.send(payment["next_action"]["fields"]["address"], 1000 * UNITS)
    node.send(payment["next_action"]["fields"]["address"], 1500 * UNITS)
    transfer(node, payment, 700)
    await synced(shop, payment["id"], "succeeded")
    for suspense in (501, 501 + 700):

        async def booked(amount: int = suspense) -> bool:
            await its_time_comes(witness, shop, payment["id"])
            return (await balances(shop)).get("suspense, long", 0) >= amount

        await until(booked)
    paid = await shop.payment(payment["id"])
    assert (paid["status"], paid["amount_captured"]) == ("succeeded", 1999)

    async def refused() -> bool:
        refunds = [each["refunds"] for each in await further(shop, payment["id"])]
        codes = [(each["failure"] or {}).get("code") for (each,) in filter(None, refunds)]
        return bool(refunds) and codes == ["refund_by_hand"] * len(refunds)

    await until(refused)
    books = await balances(shop)
    assert (books["channel receivable"], books["suspense, long"]) == (3200, 1201)
    for _ in range(2):
        await act(shop, payment["id"], "sync")
    assert await balances(shop) == books


async def test_a_part_waits_for_people_and_the_rest_makes_it_whole(
    database: Database, shop: Shop, node: Node, witness: Witness
) -> None:
    payment = await shown(shop)
    transfer(node, payment, 500)
    await heard(shop, payment["id"], "paid_partly 5")
    assert (await shop.payment(payment["id"]))["status"] == "requires_action"
    number = await number_of(shop, payment["id"])
    earlier = "SET expires_at = expires_at - interval '1 hour' WHERE"
    await as_owner(database, f"UPDATE attempt {earlier} id = $1", number)
    await as_owner(database, f"UPDATE payment {earlier} id = $1", payment["id"][4:])
    await its_time_comes(witness, shop, payment["id"])
    frozen = await shop.until(payment["id"], "requires_review")
    assert (frozen["amount_captured"], await balances(shop)) == (0, {})

    async def given_back() -> bool:
        leased = "SELECT leased_until FROM attempt WHERE id = $1"
        return await witness.database.fetchval(leased, number) is None

    # A close that was refused gives the lease back, so that the merchant may ask at once.
    await until(given_back, seconds=10)
    transfer(node, payment, 1499)
    await synced(shop, payment["id"], "succeeded")
    assert (await balances(shop))["channel receivable"] == 1999


async def test_money_after_a_cancel_is_late_money_and_so_is_what_is_too_much(
    shop: Shop, node: Node, witness: Witness
) -> None:
    payment = await shown(shop)
    node.mine(FINALITY_BLOCKS + 1)
    assert (await act(shop, payment["id"], "cancel")).json["status"] == "canceled"
    transfer(node, payment, 2500)
    await its_time_comes(witness, shop, payment["id"])
    late = await shop.until(payment["id"], "requires_review")
    assert late["amount_captured"] == 1999
    assert (await events(shop, payment["id"]))[-1] == "payment.late_success"
    await heard(shop, payment["id"], "paid_over 25")

    async def booked() -> bool:
        await its_time_comes(witness, shop, payment["id"])
        books = await balances(shop)
        return books == {"channel receivable": 2500, "suspense, long": 2500}

    await until(booked)
    assert (await shop.payment(payment["id"]))["status"] == "requires_review"


async def test_an_address_that_could_not_be_shown_is_shown_once_the_node_answers(
    shop: Shop, node: Node
) -> None:
    await shown(shop)
    node.refusal = 200, -32005
    waits = (await shop.pay(method={"type": "crypto"}, currency="USD")).json
    assert (waits["status"], waits["next_action"]) == ("processing", None)
    node.refusal = None
    payment = await synced(shop, waits["id"], "requires_action")
    transfer(node, payment, 1999)
    await synced(shop, payment["id"], "succeeded")
