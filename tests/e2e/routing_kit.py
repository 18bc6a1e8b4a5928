"""What the tests of the router need: a second acquirer, decisions, and what became of attempts."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from msgspec.structs import replace

from gateway import policies
from tests.e2e.harness import Shop, System, free_port, order, system_of, until
from tests.e2e.life_kit import act, timeline

A, B = "simulator", "simulator_b"
_ports: dict[int, int] = {}


def with_two_acquirers(database_url: str, redis_url: str, folder: Path) -> System:
    """A system that can choose, with one worker and all that belongs to it."""
    url_b = f"http://127.0.0.1:{free_port()}"
    running = system_of(database_url, redis_url, folder, simulator_b_url=url_b)
    running.start_simulator()
    start_b(running)
    running.start_worker()
    running.start("work", "work")
    return running


def start_b(system: System) -> None:
    port = system.settings.simulator_b_url.rpartition(":")[2]
    system.start(B, "simulator", "--port", port, "--data", str(system.folder / B))


async def b_answers(system: System, session: aiohttp.ClientSession) -> bool:
    """Tell whether the second acquirer is up."""
    with contextlib.suppress(aiohttp.ClientError):
        async with session.get(f"{system.settings.simulator_b_url}/healthz") as answer:
            return answer.status == 200
    return False


@contextlib.asynccontextmanager
async def shop_of_both(system: System) -> AsyncIterator[Shop]:
    """A merchant of its own, once both acquirers answer."""
    await system.ready()
    async with system.shop() as shop:
        await until(lambda: b_answers(system, shop.session))
        yield shop


def second(system: System) -> Any:
    port = _ports.setdefault(system.settings.port, free_port())
    return replace(system.settings, port=port)


async def batch(shop: Shop, *orders: Any) -> list[Any]:
    """Send payments in one batch, their references for keys; what became of each."""
    items = [{"idempotency_key": one["reference"]} | one for one in orders]
    reply = await shop.call("POST", "/v1/payments/batch", {"payments": items})
    assert reply.status == 200, reply
    results: list[Any] = reply.json["results"]
    return results


async def routed(shop: Shop, **changes: Any) -> Any:
    """What the router would decide now."""
    reply = await shop.call("POST", "/v1/routing/simulate", order(**changes))
    assert reply.status == 200, reply
    return reply.json


async def in_force(shop: Shop, version: int) -> None:
    """Wait until this worker decides by this version; the contract gives it five seconds."""

    async def decides() -> bool:
        return bool((await routed(shop))["version"] == version)

    await until(decides, 5)


async def up_to_date(system: System, shop: Shop) -> Shop:
    """Give this worker once it decides by the newest rules: an earlier test has left other ones."""
    newest = await asyncio.to_thread(policies.routing, system.settings, None)
    await in_force(shop, newest["version"])
    return shop


async def attempts(shop: Shop, payment: Any) -> list[tuple[str, str, str | None]]:
    """Channel, what it said and its code, of each attempt of a payment."""
    moments = await timeline(shop, payment["id"])
    sent = [each["details"] for each in moments if each["kind"] == "attempt"]
    said = [each for each in moments if each["kind"] == "answer"]
    assert [each["routing"]["channel"] for each in sent] == [each["channel"] for each in sent]
    return [
        (one["channel"], answer["summary"].partition(": ")[2], answer["details"]["code"])
        for one, answer in zip(sent, said, strict=True)
    ]


async def decisions(shop: Shop, payment: Any) -> list[Any]:
    """Why each attempt of a payment went through its channel."""
    moments = await timeline(shop, payment["id"])
    return [each["details"]["routing"] for each in moments if each["kind"] == "attempt"]


async def replayed(system: System, payment: Any) -> list[Any]:
    """Every decision of a payment, decided again."""
    return await asyncio.to_thread(policies.replay_payment, system.settings, payment["id"])


async def gauge(shop: Shop, line: str) -> int | None:
    """One value of /metrics."""
    page = (await shop.send("GET", "/metrics", b"", {})).body.decode()
    found = [each for each in page.splitlines() if each.startswith(line)]
    return round(float(found[0].rpartition(" ")[2])) if found else None


async def until_told(shop: Shop, line: str) -> None:
    """Wait until a gauge is not 0: the page is written again twice a second."""

    async def is_told() -> bool:
        return (await gauge(shop, line) or 0) > 0

    await until(is_told)


async def pay_until(shop: Shop, line: str, value: int) -> None:
    """Make payments, each of which succeeds, until a gauge has this value."""

    async def holds() -> bool:
        assert (await shop.pay()).json["status"] == "succeeded"
        return await gauge(shop, line) == value

    await until(holds)


async def settled(shop: Shop, payment: Any) -> Any:
    """The payment once it is settled: the channel knows of it, or it is canceled."""
    now = await shop.payment(payment["id"])
    if now["status"] != "processing":
        return now
    await act(shop, payment["id"], "cancel")
    return None


async def books_of(system: System) -> list[Any]:
    """The lines of the second acquirer's books."""
    async with aiohttp.ClientSession() as session:
        url = f"{system.settings.simulator_b_url}/books"
        async with session.get(url) as answer:
            return [json.loads(line) for line in (await answer.read()).splitlines()]
