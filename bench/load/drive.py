"""Drives one plan with the lean generator, in a process of its own, and writes what it measured.

    python -m bench.load.drive PLAN.json RUN.json

While it runs it prints a line of JSON twice a second: `Progress`.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import msgspec
import uvloop

from bench.load.lean import Generator
from bench.load.plan import Plan
from bench.load.recorder import Recording, Run, progress_of
from bench.load.requests import on_the_wire
from bench.load.traffic import TRY_AGAIN, Call, Traffic, pause_seconds

_CONNECTIONS = 64
_PROGRESS_SECONDS = 0.5
# A signature is good for 300 seconds.
_AHEAD_SECONDS = 200
_AHEAD_CALLS_MAX = 60_000
_PAYERS_MAX = 64


class Drive:
    """One run of the lean generator."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._host = plan.base_url.removeprefix("http://")
        self._schedule = plan.schedule()
        self._traffic = Traffic(plan)
        self._recording = Recording()
        self._under_way: dict[bytes, tuple[Call, list[int]]] = {}
        self._ahead: dict[int, bytes] = {}
        self._began = 0.0
        self._payers: asyncio.Queue[Call] = asyncio.Queue()

    async def run(self) -> Run:
        """Make every call of the plan."""
        for _, at in self._schedule:
            self._recording.due(at)
        self._ahead = self._signed_ahead()
        is_patient = self._plan.tries_max == 1
        self._generator = Generator(
            self._plan.base_url,
            self._wires(),
            observe=self._heard,
            patience_seconds=0.0 if is_patient else self._plan.patience_seconds,
            missed=self._missed,
        )
        tasks = [asyncio.create_task(self._tell())]
        tasks += [asyncio.create_task(self._play_payer()) for _ in range(_PAYERS_MAX)]
        result = await self._generator.opened(
            self._due(), connections=_CONNECTIONS, connections_max=self._plan.connections_max
        )
        with suppress(TimeoutError):
            await asyncio.wait_for(self._payers.join(), 5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for wire in self._under_way.keys() - set(self._ahead.values()):
            call, statuses = self._under_way.pop(wire)
            self._ended(call, [*statuses, 0], b"", time.perf_counter() - self._began - call.at)
        self._recording.missed = result.missed
        self._recording.late_seconds = result.late_seconds
        self._recording.cpu_seconds = result.cpu_seconds
        return Run(self._plan.run, self._recording, self._traffic.answers)

    def _due(self) -> Iterator[float]:
        """Give the moments of the schedule; the first question for one is the run's beginning."""
        self._began = time.perf_counter()
        yield from (at for _, at in self._schedule)

    def _signed_ahead(self) -> dict[int, bytes]:
        """Sign those requests that depend on no answer, as long as a signature is good."""
        return {
            number: self._wire(number, at)
            for number, at in self._schedule[:_AHEAD_CALLS_MAX]
            if at < _AHEAD_SECONDS and not self._traffic.depends(number)
        }

    def _wires(self) -> Iterator[bytes]:
        for number, at in self._schedule:
            yield self._ahead.pop(number, b"") or self._wire(number, at)

    def _wire(self, number: int, at: float) -> bytes:
        return self._signed(self._traffic.call(number, at), [])

    def _signed(self, call: Call, statuses: list[int]) -> bytes:
        """Sign a call that ended so often already, and remember it by its bytes."""
        signed = self._traffic.headers(call, datetime.now(UTC))
        # The number tells apart what would otherwise be the same bytes: two looks at one list.
        headers = {**signed, "Load-Number": f"{call.number}.{len(statuses)}"}
        wire = on_the_wire(call.request, headers, self._host)
        self._under_way[wire] = call, statuses
        return wire

    def _heard(self, wire: bytes, status: int, body: bytes, _began: float, ended: float) -> None:
        call, statuses = self._under_way.pop(wire, (None, []))
        if call is None:
            return
        statuses.append(status)
        if status in TRY_AGAIN and len(statuses) < self._plan.tries_max:
            self._generator.later(pause_seconds(len(statuses)), self._signed(call, statuses))
        else:
            self._ended(call, statuses, body, ended - self._began - call.at)

    def _missed(self, wire: bytes) -> None:
        """Forget an arrival that could not be started; a call that was tried before has ended."""
        call, statuses = self._under_way.pop(wire)
        if statuses:
            self._ended(call, [*statuses, 0], b"", time.perf_counter() - self._began - call.at)

    def _ended(self, call: Call, statuses: list[int], body: bytes, latency: float) -> None:
        self._recording.ended(call.kind, statuses, at=call.at, latency=max(latency, 0.0))
        if (payer := self._traffic.heard(call, statuses, body)) is not None:
            self._payers.put_nowait(payer)

    async def _play_payer(self) -> None:
        """Pay the QR codes that were shown, at the acquirer."""
        async with aiohttp.ClientSession(self._plan.simulator_url) as session:
            while True:
                call = await self._payers.get()
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with session.post(call.request.path) as answer:
                        await answer.read()
                self._payers.task_done()

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            at = time.perf_counter() - self._began if self._began else 0.0
            sys.stdout.buffer.write(progress_of(self._recording, at))
            sys.stdout.buffer.flush()


def main() -> int:
    """Run it."""
    plan = Plan.read(Path(sys.argv[1]))
    try:
        run = uvloop.run(Drive(plan).run())
    except KeyboardInterrupt:
        return 130  # whoever started it says so
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(run))
    return 0


if __name__ == "__main__":
    sys.exit(main())
