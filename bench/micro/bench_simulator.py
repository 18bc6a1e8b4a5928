"""Times an order at the simulated acquirer without sockets: read, verified, booked, answered."""

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from gateway.channels.port import Ask, Verb
from gateway.channels.simulator.acquirer import Acquirer
from gateway.channels.simulator.books import Books
from gateway.channels.simulator.channel import SimulatorChannel
from gateway.channels.simulator.journal import Journal
from gateway.channels.simulator.messages import Report
from gateway.channels.simulator.notices import Notifier
from gateway.channels.simulator.server import Door, SimulatorConfig
from gateway.channels.simulator.wire import Connection
from gateway.drivers import interpreter
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound
from native import exchange

SECRET = b"between us and the acquirer"
CHANNEL = SimulatorChannel("http://127.0.0.1:8090", SECRET, notify_base="http://127.0.0.1:8080")
TURNS, CALLERS = 8, 32


class Socket:
    """Stands for a caller's socket: keeps what was answered."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.told.append(data)


def order(now: datetime) -> bytes:
    ask = Ask(
        *(Verb.CREATE, uuid.uuid4().hex, 1999, "CNY"),
        method={"type": "card", "token": "tok_ok"},
        expires_at=now + timedelta(minutes=30),
    )
    request = CHANNEL.build(ask, now)
    wire = exchange.write(
        *(request.method, request.path),
        host="127.0.0.1:8090",
        fields=request.headers,
        body=request.body,
    )
    assert wire is not None
    return wire


def door_of(journal: Journal) -> Door:
    clock, books = Clock(), Books(0, journal)
    notifier = Notifier(Outbound(), clock, secret=SECRET, seed=0, delay_ms=0)
    acquirer = Acquirer(books, notifier, clock=clock, delay_ms=0, notify_anywhere=False)
    return Door(acquirer, books, clock=clock, config=SimulatorConfig(secret=SECRET))


@pytest.mark.benchmark(timer=time.process_time)
def test_an_order_at_the_acquirer(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    interpreter.settle()
    in_the_end: list[Callable[[], None]] = []
    with closing(Journal(tmp_path, in_the_end.append)) as journal:
        door = door_of(journal)
        callers = [(Connection(door.answer, set()), Socket()) for _ in range(CALLERS)]
        for caller, socket in callers:
            caller.connection_made(cast(asyncio.Transport, socket))

        def prepare() -> tuple[tuple[list[list[bytes]]], dict[str, Any]]:
            now = datetime.now(UTC)
            return ([[order(now) for _ in callers] for _ in range(TURNS)],), {}

        def serve(turns: list[list[bytes]]) -> None:
            for turn in turns:
                for (caller, _), wire in zip(callers, turn, strict=True):
                    caller.data_received(wire)
                in_the_end.pop()()

        benchmark.extra_info["items"] = TURNS * CALLERS
        timed: Any = benchmark.pedantic  # it has no types
        timed(serve, setup=prepare, rounds=40, warmup_rounds=2)
    told = [each for _, socket in callers for each in socket.told]
    reports = [msgspec.json.decode(each.partition(b"\r\n\r\n")[2], type=Report) for each in told]
    assert {report.status for report in reports} == {"succeeded"}
    assert len({report.number for report in reports}) == len(told) >= TURNS * CALLERS
