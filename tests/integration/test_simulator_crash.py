"""The simulated acquirer's memory: in a process that `kill -9` ends, and beside a full disk."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from simulator_merchant import QR, SECRET, Merchant, card, eventually, fresh, is_up, listening

from gateway.channels.port import Verb
from gateway.channels.simulator.server import SimulatorConfig, running
from gateway.domain.outcome import Outcome, Verdict
from tests.fakes.disk import full_disk

PROGRAM = """
import asyncio, sys
from pathlib import Path
from gateway.channels.simulator.server import SimulatorConfig, serve
port, secret, data, delay_ms = sys.argv[1:]
asyncio.run(serve(SimulatorConfig(
    port=int(port), secret=bytes.fromhex(secret), data=Path(data), delay_ms=int(delay_ms))))
"""


class Process:
    """A simulator in a process of its own, on one port for all its lives."""

    def __init__(self, merchant: Merchant, data: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.merchant, self.data = merchant, data
        merchant.at(f"http://127.0.0.1:{self.port}")

    async def start(self, *, delay_ms: int) -> None:
        arguments = (str(self.port), SECRET.hex(), str(self.data), str(delay_ms))
        self.child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, *arguments, cwd=Path(__file__).parents[2]
        )
        await eventually(lambda: is_up(self.merchant))

    async def kill(self) -> None:
        os.kill(self.child.pid, signal.SIGKILL)
        await self.child.wait()


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    async with listening() as merchant:
        process = Process(merchant, tmp_path / "acquirer")
        yield process
        if process.child.returncode is None:
            await process.kill()


async def test_a_kill_loses_nothing_and_doubles_nothing(process: Process) -> None:
    merchant = process.merchant
    await process.start(delay_ms=60_000)
    paid, waiting, lost, shown = (fresh() for _ in range(4))
    first = await merchant.create(card("tok_ok"), paid)
    name = fresh()
    await merchant.ask(Verb.REFUND, paid, 10, refund_number=name)
    await merchant.create(card("tok_pending"), waiting)
    await merchant.create(QR, shown)
    await merchant.ask(Verb.CLOSE, lost)
    before = await merchant.books()

    await process.kill()
    await process.start(delay_ms=20)
    assert await merchant.books() == before
    assert await merchant.create(card("tok_ok"), paid) == first
    refund = await merchant.ask(Verb.QUERY_REFUND, paid, 10, refund_number=name)
    assert refund.verdict is Verdict.SUCCEEDED
    assert (await merchant.ask(Verb.QUERY, waiting)).verdict is Verdict.PENDING
    assert (await merchant.create(card("tok_ok"), lost)).verdict is Verdict.CLOSED
    assert (await merchant.call("POST", f"/pay/qr_{shown}")).status == 200
    assert await merchant.books(str(len(before))) == (await merchant.books())[-1:]


async def test_a_script_goes_on_after_a_kill(process: Process) -> None:
    merchant = process.merchant
    await process.start(delay_ms=1000)
    number = fresh()
    assert (await merchant.create(card("tok_pending"), number)).verdict is Verdict.PENDING
    await process.kill()
    await process.start(delay_ms=1000)
    notice = await merchant.next_notice()
    assert (notice.number, notice.outcome.verdict) == (number, Verdict.SUCCEEDED)
    assert [line["number"] for line in await merchant.books()] == [number]


async def test_a_kill_in_the_middle_of_many_payments_leaves_whole_books(process: Process) -> None:
    merchant = process.merchant
    await process.start(delay_ms=20)
    numbers = [fresh() for _ in range(300)]
    asked = [asyncio.create_task(merchant.create(card("tok_ok"), number)) for number in numbers]
    await eventually(lambda: have_some_ended(asked))
    await process.kill()
    outcomes = await asyncio.gather(*asked)
    await process.start(delay_ms=20)

    told = {n for n, o in zip(numbers, outcomes, strict=True) if o.verdict is Verdict.SUCCEEDED}
    unknown = {n for n, o in zip(numbers, outcomes, strict=True) if o.verdict is Verdict.UNKNOWN}
    booked = [line["number"] for line in await merchant.books()]
    assert told | unknown == set(numbers)
    assert len(booked) == len(set(booked))
    assert told <= set(booked)
    for number in unknown:
        found = (await merchant.ask(Verb.QUERY, number)).verdict
        assert found is (Verdict.SUCCEEDED if number in booked else Verdict.NOT_FOUND)


async def have_some_ended(tasks: list[asyncio.Task[Outcome]]) -> bool:
    return sum(task.done() for task in tasks) >= 20


async def test_nobody_hears_of_a_payment_that_cannot_be_written_down(tmp_path: Path) -> None:
    config = SimulatorConfig(port=0, secret=SECRET, data=tmp_path)
    is_full, number = asyncio.Event(), fresh()
    asyncio.get_running_loop().set_exception_handler(lambda *_: is_full.set())
    async with listening() as merchant, running(config) as base_url:
        merchant.at(base_url)
        with full_disk(tmp_path / "simulator.jsonl"):
            asked = asyncio.create_task(merchant.create(card("tok_duplicate_notice"), number))
            async with asyncio.timeout(20):
                await is_full.wait()
            assert (asked.done(), merchant.notices.empty()) == (False, True)
        assert await merchant.is_booked(number)
        assert (await asked).verdict is Verdict.SUCCEEDED
        assert (await merchant.next_notice()).number == number
