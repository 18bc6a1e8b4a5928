"""Times the bookkeeping around one payment: door, seat, lane, laps and deadline."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from bench.micro.conftest import Timed
from gateway.admission.rules import Kind
from gateway.admission.service import Admission
from gateway.channels.lanes import Call, Lanes
from gateway.channels.port import Verb
from gateway.domain import limits
from gateway.domain.identity import uuid_of
from gateway.drivers import telemetry
from gateway.drivers.deadlines import within
from gateway.drivers.stopwatch import lap, start
from gateway.flow import steps
from tests.unit.nouns import ATTEMPT, MERCHANT, VERIFIED

PAYMENTS = 1000


class House:
    """All that a payment passes but the steps themselves."""

    def __init__(self) -> None:
        self.lanes = Lanes(lambda _: ("simulator",))
        self.admission = Admission(no_channel=self.lanes.objection)
        kept = replace(VERIFIED.received, kept_for=VERIFIED.key_id)
        self._verified = replace(VERIFIED, received=kept)
        claimed = SimpleNamespace(merchant=MERCHANT)
        self._routed: Any = SimpleNamespace(claimed=claimed, attempt=ATTEMPT)

    def take(self) -> None:
        """Take one payment: what is asked, noted and counted about it, without an await."""
        assert self.admission.refusal(Kind.CREATE, MERCHANT) is None
        self.admission.let_in()
        self.admission.came()
        watch = start()
        lap(steps.VERIFY)
        with self.admission.admit(self._verified):
            for step in (steps.ADMIT, steps.MATCH, steps.CLAIM):
                lap(step)
            with within(limits.REQUEST_SECONDS_MAX):
                lap(steps.ROUTE)
                with self.lanes.place(self._routed):
                    lap(steps.OPEN)
                    call = self.lanes.begin("simulator", Verb.CREATE, uuid_of(ATTEMPT.id))
                    assert isinstance(call, Call)
                    call.went(well=True)
                    call.over()
                    lap(steps.ASK)
                lap(steps.POST)
                lap(steps.SETTLE)
        telemetry.count_request("POST payments", 201, watch.seconds())

    async def take_many(self) -> None:
        for _ in range(PAYMENTS):
            self.take()


@pytest.mark.benchmark(timer=time.process_time)
def test_bookkeeping(runner: asyncio.Runner, per_item: Timed) -> None:
    house = House()
    per_item(lambda: runner.run(house.take_many()), items=PAYMENTS)
    health = house.lanes.health()["simulator", "create"]
    assert health.under_way == 0
    assert house.admission.refusal(Kind.CREATE, None) is None
