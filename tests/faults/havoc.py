"""The faults themselves: what is killed, frozen, emptied or cut, and between which two steps."""

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import asyncpg
import redis.asyncio as aioredis

from tests.fakes.proxy import COMMITTED, Proxy
from tests.faults.plan import Fault
from tests.faults.stage import Player, Stage, Wires

# Where the acquirer's answers end: it speaks JSON objects.
_ANSWERED: Final = b"}"
_REACH_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Step:
    """A place in the work of a gateway, as seen on one of its wires.

    A process stops there when it has sent `marker`, before that arrives; or, with `answered_by`,
    when it was carried out and the answer has not come back yet.
    """

    wire: Literal["postgres", "redis", "acquirer"]
    marker: bytes
    answered_by: bytes = b""

    def of(self, wires: Wires) -> Proxy:
        """The wire that it is on."""
        proxy: Proxy = getattr(wires, self.wire)
        return proxy


# The words that each write carries: its operation, or the type of its event.
_WRITES: Final = (
    *(b"create_payment", b"payment."),
    *(b"refund_payment", b"refund."),
    *(b"capture_payment", b"cancel_payment"),
)
_CALLS: Final = (b"POST /v1/payments HTTP", b"/refunds HTTP", b"/capture HTTP", b"/close HTTP")
COMMITS: Final = tuple(Step("postgres", word, COMMITTED) for word in _WRITES)
CALLS_ANSWERED: Final = tuple(Step("acquirer", word, _ANSWERED) for word in _CALLS)
STEPS: Final = (
    Step("redis", b"claim"),
    *(Step("postgres", word) for word in _WRITES),
    *COMMITS,
    *(Step("acquirer", word) for word in _CALLS),
    *CALLS_ANSWERED,
    Step("redis", b"finish"),
)


class Havoc:
    """Carries faults out; `done` counts those that met something, by kind."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.done: Counter[str] = Counter()
        self._deeds: Mapping[str, Callable[[Fault], Awaitable[bool]]] = {
            "kill gateway": self._kill_gateway,
            "kill gateway between steps": self._kill_between_steps,
            "kill worker": self._kill_worker,
            "kill acquirer": self._kill_acquirer,
            "kill postgres": self._kill_postgres,
            "crash a database session": self._crash_session,
            "kill redis": self._kill_redis,
            "flush redis": self._flush_redis,
            "freeze redis": self._freeze_redis,
            "lose a commit": self._lose_commit,
            "lose an acquirer's answer": self._lose_answer,
            "cut a wire": self._cut_wire,
            "hang the database": self._hang_database,
        }

    async def wreak(self, faults: tuple[Fault, ...], start: float) -> None:
        """Carry out a schedule of faults."""
        for fault in faults:
            await asyncio.sleep(start + fault.at - asyncio.get_running_loop().time())
            if await self._deeds[fault.kind](fault):
                self.done[fault.kind] += 1

    def _gateway(self, fault: Fault) -> Player:
        return self._stage.gateways[fault.target]

    async def _kill_gateway(self, fault: Fault) -> bool:
        self._gateway(fault).actor.kill()
        return True

    async def _kill_worker(self, fault: Fault) -> bool:
        self._stage.worker.actor.kill()
        return True

    async def _kill_acquirer(self, fault: Fault) -> bool:
        self._stage.acquirer.kill()
        return True

    async def _kill_postgres(self, fault: Fault) -> bool:
        self._stage.postgres.kill()
        return True

    async def _kill_redis(self, fault: Fault) -> bool:
        self._stage.redis.kill()
        return True

    async def _crash_session(self, fault: Fault) -> bool:
        """Kill one backend: PostgreSQL throws everybody out and recovers by itself."""
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection = await asyncpg.connect(self._stage.settings.database_url)
            pid = connection.get_server_pid()
            await asyncio.to_thread(_kill, pid)
            connection.terminate()
            return True
        return False

    async def _flush_redis(self, fault: Fault) -> bool:
        with contextlib.suppress(aioredis.RedisError, OSError):
            async with aioredis.Redis.from_url(self._stage.settings.redis_url) as client:
                return bool(await client.flushall())
        return False

    async def _freeze_redis(self, fault: Fault) -> bool:
        self._stage.redis.send(signal.SIGSTOP)
        await asyncio.sleep(fault.seconds)
        self._stage.redis.send(signal.SIGCONT)
        return True

    async def _hang_database(self, fault: Fault) -> bool:
        wire = self._gateway(fault).wires.postgres
        wire.hang()
        await asyncio.sleep(fault.seconds)
        wire.flow()
        return True

    async def _cut_wire(self, fault: Fault) -> bool:
        wires = self._gateway(fault).wires
        for wire in (wires.postgres, wires.redis, wires.acquirer):
            await wire.cut()
        return True

    async def _lose_commit(self, fault: Fault) -> bool:
        step = COMMITS[fault.step % len(COMMITS)]
        return await self._meet(step, self._gateway(fault), kill=False)

    async def _lose_answer(self, fault: Fault) -> bool:
        step = CALLS_ANSWERED[fault.step % len(CALLS_ANSWERED)]
        return await self._meet(step, self._gateway(fault), kill=False)

    async def _kill_between_steps(self, fault: Fault) -> bool:
        return await self._meet(STEPS[fault.step % len(STEPS)], self._gateway(fault), kill=True)

    async def _meet(self, step: Step, player: Player, *, kill: bool) -> bool:
        """Stop a process at a step, kill it there if so wished, and lose what is on the wire."""
        wire = step.of(player.wires)
        stop = wire.stop_at(step.marker, answered_by=step.answered_by)
        try:
            await stop.reached(_REACH_SECONDS)
        except TimeoutError:
            stop.go()  # whoever comes by later passes
            return False
        if kill:
            player.actor.kill()
        await wire.cut()
        return True


def _kill(pid: int) -> None:
    import os

    os.kill(pid, signal.SIGKILL)
