"""What the tests of a payment's life need: its verbs, its payer, and its acquirer's letters."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from gateway.channels.simulator.books import Books
from gateway.channels.simulator.messages import SIGNATURE, TIMESTAMP, Message, Report, sign
from tests.conftest import Database
from tests.e2e.harness import Reply, Shop, System, until
from tests.e2e.idempotency_kit import Witness

SECONDS = 20.0


def in_seconds(seconds: float) -> str:
    """A time from now, as the API reads it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def act(
    shop: Shop, payment_id: str, verb: str, body: Any = None, *, key: str | None = None
) -> Reply:
    """Ask for one verb on a payment."""
    return await shop.call("POST", f"/v1/payments/{payment_id}/{verb}", body or {}, key=key)


async def give_back(
    shop: Shop, payment_id: str, amount: int | None = None, *, reference: str = "", key: str = ""
) -> Reply:
    """Ask for a refund, of all that is left without an amount."""
    body: dict[str, Any] = {"reference": reference or uuid.uuid4().hex}
    body |= {} if amount is None else {"amount": amount}
    return await act(shop, payment_id, "refunds", body, key=key or None)


async def authorized(shop: Shop, **changes: Any) -> Any:
    """A payment whose money is held and waits for its capture."""
    payment = (await shop.pay(capture="manual", **changes)).json
    assert payment["status"] == "requires_capture", payment
    return payment


async def refund_until(shop: Shop, refund_id: str, status: str) -> Any:
    """Wait until a refund has this status, and give it."""

    async def reached() -> Any:
        refund = (await shop.call("GET", f"/v1/refunds/{refund_id}")).json
        return refund if refund["status"] == status else None

    return await until(reached, SECONDS)


async def timeline(shop: Shop, payment_id: str) -> list[Any]:
    """Everything that happened to a payment."""
    page = (await shop.call("GET", f"/v1/payments/{payment_id}/timeline")).json
    return list(page["data"])


async def number_of(shop: Shop, payment_id: str) -> str:
    """The number under which the acquirer knows the payment's attempt."""
    moments = await timeline(shop, payment_id)
    (attempt,) = [moment["details"]["attempt"] for moment in moments if moment["kind"] == "attempt"]
    return str(attempt.removeprefix("att_"))


async def events(shop: Shop, payment_id: str) -> list[str]:
    """The types of a payment's events and of its refunds', in order."""
    moments = await timeline(shop, payment_id)
    return [moment["summary"] for moment in moments if moment["kind"] == "event"]


async def further(shop: Shop, payment_id: str) -> list[Any]:
    """What was paid beside a payment."""
    path = f"/v1/payments/{payment_id}/further_transactions"
    return list((await shop.call("GET", path)).json["data"])


async def facts(shop: Shop, payment_id: str) -> tuple[Any, ...]:
    """All that may change with a payment: itself, its refunds, its entries, the feed."""
    paths = (
        f"/v1/payments/{payment_id}",
        f"/v1/payments/{payment_id}/refunds",
        f"/v1/ledger/entries?payment={payment_id}&limit=100",
        "/v1/events?limit=100",
    )
    return tuple([(await shop.call("GET", path)).json for path in paths])


async def balances(shop: Shop) -> dict[str, int]:
    """The merchant's accounts by name, without those that hold nothing."""
    accounts = (await shop.call("GET", "/v1/ledger/accounts")).json["data"]
    return {account["name"]: account["balance"] for account in accounts if account["balance"]}


async def scan(system: System, shop: Shop, payment: Any, how: str = "") -> int:
    """Play the payer who scans the payment's QR code; gives the acquirer's HTTP status.

    `how` says whether he pays again, and whether the notice of it is lost: `again=1&silently=1`.
    """
    url = f"{system.settings.simulator_url}/pay/{payment['next_action']['qr']}?{how}"
    async with shop.session.post(url) as answer:
        return answer.status


def report(number: str, status: str = "succeeded", **changes: Any) -> Report:
    """What the acquirer says of a payment of 19.99 yuan, under the number that it gives it."""
    transaction = Books(seed=0).identify(number)
    told = Report(number, status, amount=1999, currency="CNY", transaction=transaction)
    return msgspec.structs.replace(told, **changes)


async def notify(
    system: System,
    shop: Shop,
    told: Report | bytes,
    *,
    channel: str = "simulator",
    secret: str | None = None,
    age_seconds: int = 0,
) -> Reply:
    """Send a notice as the acquirer does, to the worker that the shop calls."""
    body = told if isinstance(told, bytes) else msgspec.json.encode(Message(uuid.uuid4().hex, told))
    timestamp = str(int(datetime.now(UTC).timestamp()) - age_seconds)
    key = (secret or system.settings.simulator_secret).encode()
    headers = {
        "content-type": "application/json",
        TIMESTAMP: timestamp,
        SIGNATURE: sign(key, "NOTICE", timestamp=timestamp, body=body),
    }
    return await shop.send("POST", f"/notices/{channel}", body, headers)


async def as_owner(database: Database, sql: str, *arguments: Any) -> None:
    """Change what the application itself may not touch."""
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute(sql, *arguments)
    await owner.close()


async def its_time_comes(witness: Witness, shop: Shop, payment_id: str) -> None:
    """Let whatever waits for its time with a payment be due now, as time would."""
    number = await number_of(shop, payment_id)
    due = "due_at = now() WHERE due_at IS NOT NULL AND"
    for change in (
        f"UPDATE attempt SET leased_until = NULL, {due} id = $1",
        f"UPDATE refund SET {due} attempt_id = $1",
        f"UPDATE further_transaction SET {due} attempt_id = $1",
    ):
        await witness.database.execute(change, number)


def refused(reply: Reply, status: int, code: str, *, detail: str = "") -> None:
    """Assert a refusal, and that it says this."""
    assert (reply.status, reply.json.get("code")) == (status, code), reply
    assert detail in reply.json["detail"]


async def together(*calls: Any) -> list[Any]:
    """Send calls at the same time."""
    return list(await asyncio.gather(*calls))
