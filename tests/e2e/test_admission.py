"""Overload end to end: quotas and a channel that is away; a refusal begins nothing."""

import asyncio
import json
import os
import sys
import uuid
from typing import Any

import pytest

from tests.e2e.harness import Reply, Shop, System, order, until
from tests.e2e.idempotency_kit import replayed

pytestmark = pytest.mark.usefixtures("proven")


async def limited(shop: Shop, system: System, *words: str) -> tuple[int, bytes]:
    """Run `floodgate merchant limit`; gives its exit code and what it prints."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FLOODGATE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "merchant", "limit", shop.merchant, *words),
        env=environment | system.settings.environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaint = await process.communicate()
    return process.returncode or 0, printed or complaint


def refused(reply: Reply, status: int, code: str) -> None:
    problem = reply.json
    assert (reply.status, problem["code"]) == (status, code), problem
    assert "nothing was begun" in problem["detail"]
    assert problem["retry"] == "later"
    assert problem["request_id"] == reply.headers["Request-Id"]
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert int(reply.headers["Retry-After"]) == problem["retry_after"] >= 1


async def references(shop: Shop) -> set[str]:
    listed = (await shop.call("GET", "/v1/payments?limit=100")).json["data"]
    return {payment["reference"] for payment in listed}


def keyed(count: int) -> dict[str, Any]:
    """A batch of so many payments."""
    items = [order() | {"idempotency_key": uuid.uuid4().hex} for _ in range(count)]
    return {"payments": items}


async def test_a_merchant_over_its_quota_waits_and_nobody_else_does(
    system: System, shop: Shop
) -> None:
    code, printed = await limited(shop, system, "--per-second", "1")
    quota = {"per_second": 1, "in_flight": None, "weight": 1}
    assert (code, json.loads(printed)) == (0, {"merchant": shop.merchant, "quota": quota})
    body, key = order(), uuid.uuid4().hex
    # The quota comes with the keys within seconds: from then on a batch owes what it is over it.
    await until(lambda: over_quota(shop))
    for _ in range(2):
        refused(await shop.call("POST", "/v1/payments", body, key=key), 429, "rate_limited")
    assert body["reference"] not in await references(shop)  # reads are counted apart
    async with system.shop("Other") as other:
        assert (await other.pay()).status == 201
    assert (await limited(shop, system))[0] == 0
    served = await until(lambda: unless_refused(shop, body, key))
    assert (served.status, served.json["status"]) == (201, "succeeded")
    assert not replayed(served)
    await until(lambda: told(shop, 'floodgate_admission_total{kind="create",outcome="quota"}'))
    await until(lambda: told(shop, 'floodgate_limit{room="writes"}'))


@pytest.mark.parametrize(
    "words", [("--weight", "1001"), ("--per-second", "0"), ("--in-flight", "x")]
)
async def test_a_quota_that_makes_no_sense_is_refused(
    system: System, shop: Shop, words: tuple[str, ...]
) -> None:
    code, complaint = await limited(shop, system, *words)
    assert code in {1, 2}
    assert b"Traceback" not in complaint


async def told(shop: Shop, line: str) -> bool:
    """Tell whether the metrics show a line that begins so."""
    return line in (await shop.send("GET", "/metrics", b"", {})).body.decode()


async def over_quota(shop: Shop) -> bool:
    return (await shop.call("POST", "/v1/payments/batch", keyed(30))).status == 429


async def unless_refused(shop: Shop, body: dict[str, Any], key: str) -> Reply | None:
    reply = await shop.call("POST", "/v1/payments", body, key=key)
    return reply if reply.status != 429 else None


async def test_a_channel_that_is_away_is_left_alone_until_it_serves_again(
    system: System, shop: Shop
) -> None:
    system.kill("simulator")
    body, key = order(), uuid.uuid4().hex
    refusal = await until(lambda: channel_refusal(shop))
    refused(refusal, 503, "unavailable")
    await until(lambda: told(shop, 'floodgate_breaker{channel="simulator",lane="create"}'))
    system.start_simulator()
    await system.ready()
    # It is probed, and found to serve; what was refused had begun nothing and is served now.
    served = await until(lambda: unless_away(shop, body, key), seconds=40)
    assert served.json["status"] == "succeeded"
    assert not replayed(served)


async def channel_refusal(shop: Shop) -> Reply | None:
    replies = await asyncio.gather(*(shop.pay() for _ in range(10)))
    return next((reply for reply in replies if reply.status == 503), None)


async def unless_away(shop: Shop, body: dict[str, Any], key: str) -> Reply | None:
    reply = await shop.call("POST", "/v1/payments", body, key=key)
    return reply if reply.status != 503 else None
