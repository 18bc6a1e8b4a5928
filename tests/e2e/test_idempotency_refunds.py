"""Keys across operations, and refunds that race: one key is one request, whatever it asks for."""

import asyncio
import uuid
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest

from tests.e2e.harness import Reply, Shop, order
from tests.e2e.idempotency_kit import Witness, replayed

KEY = "order-4711"
PATH = "/v1/payments"


async def ask(shop: Shop, operation: str, payment: Any, key: str) -> Reply:
    """Ask for this operation, on this payment unless it makes one of its own."""
    bodies = {"refunds": {"reference": uuid.uuid4().hex, "amount": 1}, "create": order()}
    path = PATH if operation == "create" else f"{PATH}/{payment['id']}/{operation}"
    return await shop.call("POST", path, bodies.get(operation, {}), key=key)


OPERATIONS = ("create", "refunds", "capture", "cancel", "sync")


async def is_refused(
    shop: Shop, witness: Witness, operations: tuple[str, str], *, redis_remembers: bool
) -> None:
    first, second = operations
    made = (await shop.pay(capture="automatic" if first == "refunds" else "manual")).json
    assert (await ask(shop, first, made, KEY)).status in {200, 201}
    if not redis_remembers:
        await witness.claim_ends(shop, KEY)
    refused = await ask(shop, second, made, KEY)
    assert (refused.status, refused.json["code"]) == (422, "idempotency_key_reused")
    captured = first in {"create", "refunds", "capture"}
    await witness.proves(shop, payments=1 + (first == "create"), captures=captured)


@pytest.mark.parametrize("operations", [*permutations(OPERATIONS, 2)], ids="-then-".join)
async def test_a_key_of_one_operation_is_refused_by_every_other(
    shop: Shop, witness: Witness, operations: tuple[str, str]
) -> None:
    await is_refused(shop, witness, operations, redis_remembers=True)


@pytest.mark.parametrize("operations", [*permutations(OPERATIONS, 2)], ids="-then-".join)
async def test_and_is_still_refused_when_redis_forgot(
    shop: Shop, witness: Witness, operations: tuple[str, str]
) -> None:
    await is_refused(shop, witness, operations, redis_remembers=False)


async def test_a_sync_is_answered_once_though_it_moves_nothing(
    shop: Shop, witness: Witness
) -> None:
    """Where Redis forgot its key, it is told how the payment stands by now."""
    made = (await shop.pay(capture="manual")).json
    assert not replayed(await ask(shop, "sync", made, KEY))
    await ask(shop, "capture", made, "capture-1")
    await witness.claim_ends(shop, KEY)
    again = await ask(shop, "sync", made, KEY)
    assert (again.status, replayed(again), again.json["status"]) == (200, True, "succeeded")
    await witness.proves(shop)


async def test_concurrent_refunds_never_exceed_what_was_captured(
    shop: Shop, witness: Witness
) -> None:
    """Of 1999 a part of 300 fits six times; which six is anybody's guess, a seventh never is."""
    made = (await shop.pay(amount=1999)).json
    path = f"{PATH}/{made['id']}/refunds"
    bodies = [{"amount": 300, "reference": f"refund-{number}"} for number in range(20)]

    async def ask_twice(body: dict[str, Any]) -> Sequence[Reply]:
        first = await shop.call("POST", path, body, key=str(body["reference"]))
        return first, await shop.call("POST", path, body, key=str(body["reference"]))

    asked = await asyncio.gather(*map(ask_twice, bodies))
    given = [first for first, _ in asked if first.status == 201]
    refused = {(first.status, first.json["code"]) for first, _ in asked if first.status != 201}
    assert [reply.json["status"] for reply in given] == ["succeeded"] * 6
    assert refused == {(409, "refund_exceeds_captured")}
    assert all(again.body == first.body and replayed(again) for first, again in asked)
    assert (await shop.payment(made["id"]))["amount_refunded"] == 1800
    given_back = [
        line["amount"] for line in await witness.bookings(shop) if line["kind"] == "refund"
    ]
    assert given_back == [300] * 6
    await witness.proves(shop)
