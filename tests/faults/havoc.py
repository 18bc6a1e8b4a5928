"""The faults themselves: what is killed, frozen, emptied or cut, and between which two steps."""

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import asyncpg
import redis.asyncio as aioredis
from redis.exceptions import RedisError

from gateway.domain import limits
from tests.fakes.proxy import COMMITTED, Proxy
from tests.faults.plan import Fault
from tests.faults.stage import Player, Stage, Wires

# Where the acquirer's answers end: it speaks JSON objects.
_ANSWERED: Final = b"}"
_REACH_SECONDS: Final = 2.0
# Who stands still for so many times a fault's seconds may outlast the silence after which others
# ask about what he was doing.
_STOPPED_TIMES: Final = 8
_CANCEL: Final = """
SELECT pg_cancel_backend(pid) FROM pg_stat_activity
 WHERE usename = 'floodgate_app' AND state = 'active'
"""
_CANCEL_SECONDS: Final = 0.02


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


# A claim is made only where there is none, and an answer is kept for a day.
CLAIM: Final = b"NX\r\n"
FINISH: Final = b"%d" % (limits.ANSWER_KEEP_SECONDS * 1000)
# The words that each write carries: its operation, or the type of its event.
_WRITES: Final = (
    *(b"create_payment", b"payment."),
    *(b"refund_payment", b"refund."),
    *(b"capture_payment", b"cancel_payment"),
)
_CALLS: Final = (b"POST /v1/payments HTTP", b"/refunds HTTP", b"/capture HTTP", b"/close HTTP")
COMMITS: Final = tuple(Step("postgres", word, COMMITTED) for word in _WRITES)
ANSWERS: Final = tuple(Step("acquirer", word, _ANSWERED) for word in _CALLS)
STEPS: Final = (
    Step("redis", CLAIM),
    *(Step("postgres", word) for word in _WRITES),
    *COMMITS,
    *(Step("acquirer", word) for word in _CALLS),
    *ANSWERS,
    Step("redis", FINISH),
)
# What is paid twice goes back by the worker: it is reserved, asked for, answered and posted.
_GIVES_BACK: Final = (b"further-re_", b"further_refund.")
WORKER_STEPS: Final = (
    *(Step("postgres", word) for word in _GIVES_BACK),
    *(Step("postgres", word, COMMITTED) for word in _GIVES_BACK),
    *(Step("acquirer", b"/refunds HTTP", end) for end in (b"", _ANSWERED)),
)


class Havoc:
    """Carries faults out; `done` counts those that met something, by kind."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._standing_still = asyncio.TaskGroup()
        self.done: Counter[str] = Counter()

    async def wreak(self, faults: Sequence[Fault], start: float) -> None:
        """Carry out a schedule of faults, one after another; whoever stands still goes on later."""
        async with self._standing_still:
            for fault in faults:
                await asyncio.sleep(start + fault.at - asyncio.get_running_loop().time())
                if await self._wreak_one(fault):
                    self.done[fault.kind] += 1

    async def _wreak_one(self, fault: Fault) -> bool:
        stage, gateway = self._stage, self._stage.gateways[fault.target]
        victims = {
            "kill gateway": gateway.actor,
            "kill worker": stage.worker.actor,
            "kill acquirer": stage.acquirer,
            "kill postgres": stage.postgres,
            "kill redis": stage.redis,
        }
        stopped = {"stop gateway": gateway, "stop worker": stage.worker}
        places = {
            "kill gateway between steps": (STEPS, gateway),
            "kill worker between steps": (WORKER_STEPS, stage.worker),
            "lose a commit": (COMMITS, gateway),
            "lose an acquirer's answer": (ANSWERS, gateway),
        }
        if fault.kind in places:
            steps, player = places[fault.kind]
            step = steps[fault.step % len(steps)]
            return await _meet(step, player, kill=fault.kind.startswith("kill"))
        if fault.kind in stopped:
            self._stop(stopped[fault.kind], fault.seconds)
            return True
        match fault.kind:
            case "crash a database session":
                return await self._crash_session()
            case "cancel statements":
                return await self._cancel_statements(fault.seconds)
            case "flush redis":
                return await self._flush_redis()
            case "freeze redis":
                stage.redis.send(signal.SIGSTOP)
                await asyncio.sleep(fault.seconds)
                stage.redis.send(signal.SIGCONT)
            case "hang the database":
                gateway.wires.postgres.hang()
                await asyncio.sleep(fault.seconds)
                gateway.wires.postgres.flow()
            case "cut the wires":
                await gateway.wires.cut()
            case "shut the first door":
                await gateway.wires.shut(fault.seconds)
            case kind:
                victims[kind].send(signal.SIGKILL)
        return True

    def _stop(self, player: Player, seconds: float) -> None:
        """Let a process stand still, and then go on as if it had what others have by now."""

        async def go_on() -> None:
            await asyncio.sleep(seconds * _STOPPED_TIMES)
            player.actor.send(signal.SIGCONT)

        player.actor.send(signal.SIGSTOP)
        self._standing_still.create_task(go_on())

    async def _cancel_statements(self, seconds: float) -> bool:
        """Cancel whatever runs, as a statement_timeout does to a database that is too slow."""
        until = asyncio.get_running_loop().time() + seconds
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            owner = await asyncpg.connect(self._stage.owner_url)
            while asyncio.get_running_loop().time() < until:
                await owner.execute(_CANCEL)
                await asyncio.sleep(_CANCEL_SECONDS)
            await owner.close()
            return True
        return False

    async def _crash_session(self) -> bool:
        """Kill one of PostgreSQL's processes: it throws everybody out and recovers by itself."""
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection = await asyncpg.connect(self._stage.settings.database_url)
            os.kill(connection.get_server_pid(), signal.SIGKILL)
            connection.terminate()
            return True
        return False

    async def _flush_redis(self) -> bool:
        with contextlib.suppress(RedisError, OSError):
            async with aioredis.Redis.from_url(self._stage.settings.redis_url) as client:
                return bool(await client.flushall())
        return False


async def _meet(step: Step, player: Player, *, kill: bool) -> bool:
    """Stop a process at a step, kill it there if so wished, and lose what is on the wire."""
    wire = step.of(player.wires)
    stop = wire.stop_at(step.marker, answered_by=step.answered_by)
    try:
        await stop.reached(_REACH_SECONDS)
    except TimeoutError:
        stop.go()  # whoever comes by later passes
        return False
    if kill:
        player.actor.send(signal.SIGKILL)
    await wire.cut()
    return True
