"""A load run proves itself on a running system, and a tampered book makes it red."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest

from bench.load.drive import Drive
from bench.load.judge import Verdict, judge, prove
from bench.load.plan import Plan, plan_of
from bench.load.traffic import Answer
from tests.e2e.harness import Shop, System

# What tampers with the books, what puts them right again, and what then stands against the run.
TAMPERINGS = (
    (
        "UPDATE payment SET amount = amount + 1 WHERE id = $1",
        "UPDATE payment SET amount = amount - 1 WHERE id = $1",
        "answered with",
    ),
    (
        "UPDATE payment SET reference = 'moved ' || reference WHERE id = $1",
        "UPDATE payment SET reference = substr(reference, 7) WHERE id = $1",
        "is lost",
    ),
    (
        "UPDATE payment SET amount_captured = amount - 1 WHERE id = $1",
        "UPDATE payment SET amount_captured = amount WHERE id = $1",
        "(d)",
    ),
)


class Load:
    """A short run with the lean generator against the module's system."""

    def __init__(self, system: System, shop: Shop) -> None:
        settings = system.settings
        self.urls = {
            "FLOODGATE_DATABASE_URL": settings.database_url,
            "FLOODGATE_REDIS_URL": settings.redis_url,
            "FLOODGATE_SIMULATOR_URL": settings.simulator_url,
        }
        demo = {
            "base_url": shop.base_url,
            "simulator_url": settings.simulator_url,
            "key_id": shop.credentials.key_id,
            "secret": shop.credentials.secret,
        }
        self.plan: Plan = plan_of("spike", peak=80, seconds=1.5, seed=3, demo=demo)

    async def judged(self, answers: Sequence[Answer]) -> Verdict:
        return await judge(self.plan, answers, self.urls)


@pytest.fixture
async def owner(database: Any) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.owner_url)
    yield connection
    await connection.close()


async def test_a_run_is_proved_and_every_tampering_makes_it_red(
    system: System, shop: Shop, owner: asyncpg.Connection
) -> None:
    load = Load(system, shop)
    run = await Drive(load.plan).run()
    recording = run.recording
    assert recording.offered == recording.answered > 50
    assert (recording.missed, recording.failed, recording.shed) == (0, 0, 0)
    assert run.run == load.plan.run
    verdict = await load.judged(run.answers)
    assert verdict.holds, verdict
    assert verdict.compared == verdict.asked > 50
    paid = next(a for a in run.answers if a.kind == "pay" and a.state == "succeeded")
    for tamper, restore, words in TAMPERINGS:
        await owner.execute(tamper, paid.id.removeprefix("pay_"))
        red = await load.judged(run.answers)
        assert not red.holds
        failed = [f"({proof.id})" for proof in red.proofs if not proof.holds]
        assert words in " ".join([*failed, *red.offences])
        await owner.execute(restore, paid.id.removeprefix("pay_"))


async def test_where_nothing_can_be_proved_nothing_is_green() -> None:
    nowhere = {"FLOODGATE_DATABASE_URL": "postgresql://floodgate_app@127.0.0.1:1/none"}
    (proof,) = await prove(nowhere)
    assert not proof.holds
