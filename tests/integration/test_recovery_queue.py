"""How the recovery queue is read: by its own indexes, however many attempts there ever were."""

import json
from collections.abc import Iterator
from typing import Any

from gateway.drivers.postgres import Postgres
from gateway.ledger import recovery_statements as sql
from tests.integration.ledger_desk import desk_on, new_merchant

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


async def test_what_waits_is_counted_by_the_queues_alone(database: Any) -> None:
    async with desk_on(database, await new_merchant(database)) as desk:
        await desk.opened()
        owner = Postgres(database.owner_url, connections=1)
        await owner.open()
        await owner.write(_LONG_LIFE, desk.merchant.number)
        await owner.close()
        merchants = [row["id"] for row in await desk.postgres.read(sql.MERCHANTS)]
        asked = (merchants, desk.clock.now(), ["simulator"], [64])
        found: list[str] = []
        for statement in (sql.WAITING, sql.WAITING_REFUNDS):
            (row,) = await desk.postgres.read(f"EXPLAIN (FORMAT json) {statement}", *asked)
            (plan,) = json.loads(row[0])
            found += indexes(plan["Plan"])
    assert found == ["attempt_due", "attempt_check", "refund_due"]
