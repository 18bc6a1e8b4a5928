"""How the recovery queue is read: by its own indexes, however many attempts there ever were."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from gateway.domain import limits
from gateway.domain.recovery import pace_of
from gateway.drivers.postgres import Postgres, Row
from gateway.ledger import recovery_statements as sql
from gateway.ledger.recovery import Due, RecoveryQueue
from tests.e2e.harness import until
from tests.integration.ledger_desk import desk_on, new_merchant

PACES = {"simulator": pace_of(100)}

_LONG_LIFE = """
INSERT INTO attempt (merchant_id, id, payment_id, channel, amount, currency, status, sent_at,
                     expires_at, due_at)
SELECT merchant_id, gen_random_uuid(), payment_id, channel, amount, currency, status, sent_at,
       expires_at, sent_at
  FROM attempt, generate_series(1, 20000) WHERE merchant_id = $1 LIMIT 20000
"""


def indexes(plan: dict[str, Any]) -> Iterator[str]:
    """Every index by which a plan looks."""
    if "Index Name" in plan:
        yield plan["Index Name"]
    for inner in plan.get("Plans", ()):
        yield from indexes(inner)


async def as_owner(database: Any, statement: str, *arguments: Any) -> None:
    owner = Postgres(database.owner_url, connections=1)
    await owner.open()
    await owner.write(statement, *arguments)
    await owner.close()


async def test_what_waits_is_counted_by_the_queues_alone(database: Any) -> None:
    async with desk_on(database, await new_merchant(database)) as desk:
        await desk.opened()
        await as_owner(database, _LONG_LIFE, desk.merchant.number)
        merchants = [row["id"] for row in await desk.postgres.read(sql.MERCHANTS)]
        asked = (merchants, desk.clock.now(), ["simulator"], [64])
        found: list[str] = []
        for statement in (sql.WAITING, sql.WAITING_REFUNDS):
            (row,) = await desk.postgres.read(f"EXPLAIN (FORMAT json) {statement}", *asked)
            (plan,) = json.loads(row[0])
            found += indexes(plan["Plan"])
    assert found == ["attempt_due", "attempt_check", "refund_due"]


class Listening(Postgres):
    """Remembers what was read."""

    def __init__(self, url: str) -> None:
        super().__init__(url, connections=1)
        self.heard: list[str] = []

    async def read(self, sql: str, *arguments: Any, **limits: float) -> Sequence[Row]:
        self.heard.append(sql)
        return await super().read(sql, *arguments, **limits)


async def test_merchants_are_not_read_again_for_each_look(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RELOAD_SECONDS", 60.0)
    async with desk_on(database, await new_merchant(database)) as desk:
        postgres = Listening(database.app_url)
        await postgres.open()
        queue, now = RecoveryQueue(postgres, lambda: PACES), desk.clock.now()
        for _ in range(2):
            await queue.take(now, {})
            await queue.take_refunds(now, {})
            await queue.take_further(now)
        await postgres.close()
    assert postgres.heard.count(sql.MERCHANTS) == 1
    assert postgres.heard.count(sql.WAITING) == 2


async def test_a_merchant_who_comes_later_is_served_too(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RELOAD_SECONDS", 0.05)
    await as_owner(database, "DELETE FROM attempt")  # nobody waits before
    async with desk_on(database, await new_merchant(database)) as early:
        queue = RecoveryQueue(early.postgres, lambda: PACES)
        await queue.take(early.clock.now(), {})
        async with desk_on(database, await new_merchant(database)) as late:
            opened = await late.opened()
            in_time = late.clock.now() + timedelta(hours=1)

            async def is_due() -> list[Due]:
                found = await queue.take(in_time, {})
                return [each for each in found if each.attempt_id == opened.attempt.id]

            (due,) = await until(is_due)
    assert due.merchant == late.merchant.number
