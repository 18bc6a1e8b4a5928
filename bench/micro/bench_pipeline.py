"""Times the whole pipeline without sockets of ours: `enter` on real servers, an acquirer in here.

The worker's CPU for one payment from the signed request to the encoded answer, for payments that
come alone and in batches; the acquirer's part, a few microseconds, is in it.
"""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Self

import msgspec
import pytest

from bench.load.requests import orders
from bench.micro.stage import Urls, all_of, count, fresh_database
from gateway import assembly
from gateway.channels.simulator.messages import Order, Report
from gateway.domain import limits
from gateway.domain.stages import Answer, Received
from gateway.domain.wire import WireAnswer, WireRequest
from gateway.drivers import sealing
from gateway.drivers.clock import Clock
from gateway.flow.entry import enter
from gateway.settings import Settings
from gateway.signing import Credentials, Unsigned, sign
from gateway.verify.ports import Terms
from gateway.verify.store import PostgresKeyStore

TOGETHER = 256
_SUCCEEDED = "SELECT count(*) FROM payment WHERE status = 'succeeded'"
_encode = msgspec.json.Encoder().encode


class Acquirer:
    """Takes the place of the client: approves everything at the next turn of the loop."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def begin(
        self, _base_url: str, request: WireRequest, *, seconds: float
    ) -> tuple[asyncio.Future[WireAnswer], Self]:
        assert seconds > 0
        order = msgspec.json.decode(request.body, type=Order)
        report = Report(
            number=order.number,
            status="succeeded",
            amount=order.amount,
            currency=order.currency,
            transaction=f"tx_{order.number}",
            booked_at=datetime.now(UTC),
        )
        loop = asyncio.get_running_loop()
        coming: asyncio.Future[WireAnswer] = loop.create_future()
        loop.call_soon(coming.set_result, WireAnswer(200, {}, _encode(report)))
        return coming, self

    def leave(self, _coming: asyncio.Future[WireAnswer]) -> None:
        pass


class Shop:
    """A merchant of a running house, with requests signed ahead."""

    def __init__(self, home: assembly.House, credentials: Credentials, url: str) -> None:
        self.home, self.url = home, url
        self._credentials = credentials
        self._orders = orders({"type": "card", "token": "tok_ok"})

    def singles(self) -> list[Received]:
        return [
            self._received("/v1/payments", _encode(order), name)
            for name, order in islice(self._orders, TOGETHER)
        ]

    def batch(self) -> list[Received]:
        items = [
            {"idempotency_key": name} | order for name, order in islice(self._orders, TOGETHER)
        ]
        key = str(items[0]["idempotency_key"]) + "-batch"
        return [self._received("/v1/payments/batch", _encode({"payments": items}), key)]

    def _received(self, path: str, body: bytes, key: str) -> Received:
        now = datetime.now(UTC)
        headers = sign(Unsigned("POST", path, body, key), self._credentials, now)
        raw = tuple((name.encode(), value.encode()) for name, value in headers.items())
        return Received("POST", path, raw, body, now, "req_1")

    async def serve(self, requests: list[Received]) -> list[Answer]:
        return await all_of(*(enter(request, self.home.desk) for request in requests))


@pytest.fixture(scope="module")
def shop(urls: Urls, runner: asyncio.Runner) -> Iterator[Shop]:
    patch = pytest.MonkeyPatch()
    patch.setattr(assembly, "Outbound", Acquirer)
    # The room is as large as it gets, whatever else the machine does: nobody is to be refused here.
    for name in ("SEATS_MIN", "SEATS_START"):
        patch.setattr(limits, name, limits.SEATS_MAX)

    async def opened() -> tuple[Any, Shop]:
        owner, app = await fresh_database(urls)
        settings = Settings(
            database_url=app,
            redis_url=urls.redis,
            simulator_url="http://127.0.0.1:9",
            master_key=sealing.new_master_key(),
        )
        house = assembly.house(settings)
        home = await house.__aenter__()
        store = PostgresKeyStore(home.postgres, sealing.Vault(settings.master_key))
        now, secret = Clock().now(), sealing.new_master_key()
        merchant = await store.add_merchant("Pipeline", Terms(), now)
        key_id = await store.add_key(
            merchant,
            algorithm="hmac-sha256",
            secret=msgspec.json.decode(f'"{secret}"', type=bytes),
            public_key=None,
            at=now,
        )
        for held in home.held:
            await held.refresh()
        return house, Shop(home, Credentials(key_id, secret), owner)

    house, shop = runner.run(opened())
    yield shop
    runner.run(house.__aexit__(None, None, None))
    patch.undo()


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("kind", ["singles", "batch"])
def test_pipeline(shop: Shop, runner: asyncio.Runner, benchmark: Any, kind: str) -> None:
    before = runner.run(count(shop.url, _SUCCEEDED))
    served = 0

    def prepare() -> tuple[tuple[list[Received]], dict[str, object]]:
        return (getattr(shop, kind)(),), {}

    def serve(requests: list[Received]) -> None:
        nonlocal served
        for answer in runner.run(shop.serve(requests)):
            assert answer.status in {200, 201}
        served += TOGETHER

    benchmark.extra_info |= {"items": TOGETHER}
    benchmark.extra_info |= {"step": "pipeline"} if kind == "singles" else {}
    benchmark.pedantic(serve, setup=prepare, rounds=10, warmup_rounds=2)
    assert runner.run(count(shop.url, _SUCCEEDED)) - before == served
