"""A load run of any shape proves itself on a running system, and a tampered book makes it red."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from bench.load.drive import Drive
from bench.load.judge import Verdict, judge, kept_by_api, prove
from bench.load.plan import Plan, plan_of
from bench.load.sampler import Sampler
from bench.load.stack import Stack
from bench.load.traffic import Answer
from gateway import merchants
from gateway.domain.stages import Quota
from tests.e2e.harness import Shop, System, free_port, until

# With this one nobody meets the script that keeps the acquirer silent for seconds.
STORM_SEED = 3
LOCUST_SECONDS = 60
CUT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
 WHERE query LIKE '%xact_commit FROM pg_stat_database%' AND pid <> pg_backend_pid()
"""

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
        self.demo = {
            "base_url": shop.base_url,
            "simulator_url": settings.simulator_url,
            "key_id": shop.credentials.key_id,
            "secret": shop.credentials.secret,
            "database_url": settings.database_url,
            "redis_url": settings.redis_url,
        }
        self.plan: Plan = plan_of("spike", peak=80, seconds=1.5, seed=3, demo=self.demo)

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


async def test_whoever_proves_a_run_waits_for_the_merchants_quota(
    system: System, shop: Shop
) -> None:
    async with system.shop("Frugal") as frugal:
        paid = [(await frugal.pay()).json["id"] for _ in range(8)]
        quota = Quota(per_second=3)
        await asyncio.to_thread(
            merchants.limit, system.settings, merchant=frugal.merchant, quota=quota
        )

        async def is_limited() -> bool:
            looks = [frugal.call("GET", f"/v1/payments/{id_}") for id_ in paid]
            return 429 in {reply.status for reply in await asyncio.gather(*looks)}

        await until(is_limited)
        plan = plan_of("soak", peak=1, seconds=1, seed=1, demo=Load(system, frugal).demo)
        answers = [Answer(number, "pay", (201,), id_) for number, id_ in enumerate(paid)]
        look = await kept_by_api(plan, answers)
    assert {kept.id for kept in look.kept.values()} == set(paid)
    assert len(look.asked) == len(paid)


async def test_a_system_that_died_makes_its_run_red(system: System, shop: Shop) -> None:
    load = Load(system, shop)
    answers = [Answer(1, "pay", (201,), (await shop.pay()).json["id"], "succeeded", 1999)]
    load.plan = plan_of(
        "soak",
        peak=1,
        seconds=1,
        seed=1,
        demo=load.demo | {"base_url": f"http://127.0.0.1:{free_port()}"},
    )
    assert "the API cannot be asked" in " ".join((await load.judged(answers)).offences)
    load.urls["FLOODGATE_DATABASE_URL"] = "postgresql://floodgate_app@127.0.0.1:1/none"
    verdict = await load.judged(answers)
    assert not verdict.holds
    assert "the books cannot be read" in " ".join(verdict.offences)


async def test_where_nothing_can_be_proved_nothing_is_green() -> None:
    nowhere = {"FLOODGATE_DATABASE_URL": "postgresql://floodgate_app@127.0.0.1:1/none"}
    (proof,) = await prove(nowhere)
    assert not proof.holds


async def test_the_other_shapes_run_too_and_who_loses_patience_asks_again(
    system: System, shop: Shop
) -> None:
    load = Load(system, shop)
    plans = [
        plan_of(shape, peak=60, seconds=1.2, seed=STORM_SEED, demo=load.demo)
        for shape in ("steps", "soak", "retry_storm")
    ]
    runs = [await Drive(plan).run() for plan in plans]
    for run in runs:
        assert run.recording.offered == run.recording.answered > 30
        assert (run.recording.missed, run.recording.failed) == (0, 0)
    assert [run.recording.retries > 0 for run in runs] == [False, False, True]
    load.plan = plans[-1]
    again = [answer for answer in runs[-1].answers if len(answer.statuses) > 1]
    assert 0 in {answer.statuses[0] for answer in again}
    assert all(answer.statuses[-1] == 201 for answer in again)
    verdict = await load.judged(runs[-1].answers)
    assert verdict.holds, verdict


async def test_whoever_looks_at_a_run_looks_on_when_its_connection_was_cut(
    system: System, shop: Shop, owner: asyncpg.Connection
) -> None:
    stack = Stack(
        pid=os.getpid(),
        base_url=system.base_url,
        beside_url="",
        credentials=shop.credentials,
        database_url=system.settings.database_url,
        redis_url=system.settings.redis_url,
        simulator_url=system.settings.simulator_url,
    )
    sampler = Sampler(stack, os.getpid)

    async def looked() -> bool:
        return len(sampler.samples) > before

    async with sampler.looking():
        before = 0
        await until(looked)
        assert await owner.fetchval(CUT) == 1
        before = len(sampler.samples)
        await until(looked)
    assert sampler.samples[-1].memory, "the last look sees everything"


async def locust(*words: str) -> tuple[int | None, str]:
    """Run locust with our file, beside others; gives its exit status and what it said."""
    program = ("-m", "locust", "-f", "bench/load/locustfile.py", "--headless", *words)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *program),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(LOCUST_SECONDS):
            told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, told.decode()


async def test_locust_on_three_machines_shares_one_schedule_and_proves_it(
    system: System, shop: Shop, tmp_path: Path
) -> None:
    demo = tmp_path / "demo.json"
    demo.write_bytes(msgspec.json.encode(Load(system, shop).demo))
    port = str(free_port())
    master = ["--master", "--expect-workers", "2", "--master-bind-host", "127.0.0.1"]
    master += ["--master-bind-port", port, "--demo", str(demo), "--load-shape", "retry_storm"]
    master += ["--peak", "40", "--load-seconds", "1.5", "--load-seed", str(STORM_SEED)]
    worker = ["--worker", "--master-host", "127.0.0.1", "--master-port", port]
    (status, told), *workers = await asyncio.gather(
        locust(*master), locust(*worker), locust(*worker)
    )
    assert status == 0, told
    assert "PROVED" in told
    assert [status for status, _ in workers] == [0, 0], workers
