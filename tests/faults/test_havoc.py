"""Faults between steps are sought where a gateway really passes on its wires."""

from collections.abc import Sequence
from typing import Any, cast

import hiredis

from gateway.domain.stages import Answer
from gateway.drivers.redis import Redis
from gateway.drivers.redis_line import Command
from gateway.idempotency.fast import FastClaims
from tests.faults.havoc import CLAIM, FINISH, STEPS

PRINT = b"p" * 32


class Wire:
    """A Redis that has nothing; `sent` is what stood on the wire."""

    is_away = False

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def ask(self, commands: Sequence[Command]) -> list[None]:
        pack: Any = hiredis.pack_command
        self.sent.append(b"".join(map(pack, commands)))
        return [None] * len(commands)


async def test_a_claim_and_its_end_pass_the_steps_on_the_wire_of_redis() -> None:
    wire = Wire()
    claims = FastClaims(cast("Redis", wire))
    await claims.claim(7, "k", PRINT)
    await claims.finish(7, "k", PRINT, Answer(201, b"{}"))
    assert [step.marker for step in STEPS if step.wire == "redis"] == [CLAIM, FINISH]
    assert [(CLAIM in sent, FINISH in sent) for sent in wire.sent] == [(True, False), (False, True)]
