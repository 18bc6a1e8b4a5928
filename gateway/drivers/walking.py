"""Throwing away what is old: a walk along a table's key, which deletes a little with each step.

No index is kept for it, so a payment pays nothing: a step looks at the next rows of the primary
key, deletes those that are old, and says where the next one begins.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from gateway.drivers.postgres import Postgres

_LOWEST: Final = {
    "bigint": -(1 << 63),
    "uuid": "0" * 32,
    "text": "",
    "timestamptz": datetime.min.replace(tzinfo=UTC),
}


class Walk(Struct, frozen=True):
    """The SQL of one step, the types of the key's columns, and how long a row is kept."""

    table: str
    sql: str
    key: Sequence[str]
    keep: timedelta

    @property
    def start(self) -> tuple[Any, ...]:
        """Where a walk begins: before every key."""
        return tuple(_LOWEST[kind] for kind in self.key)


class Step(Struct, frozen=True):
    """How far a step came (None at the table's end), and how many rows it deleted."""

    reached: tuple[Any, ...] | None
    deleted: int


def walk_of(table: str, key: Sequence[tuple[str, str]], old: str, *, keep_days: int) -> Walk:
    """Make the walk along a table; its key is given with types and begins with the merchant.

    `old` is a condition on the row `t`, in which `$3` is the time before which a row is old.
    """
    columns = ", ".join(name for name, _ in key)
    after = ", ".join(f"${number}::{kind}" for number, (_, kind) in enumerate(key, start=4))
    same = " AND ".join(f"t.{name} = w.{name}" for name, _ in key)
    backwards = ", ".join(f"{name} DESC" for name, _ in key)
    sql = f"""
WITH walked AS MATERIALIZED (
    SELECT {columns} FROM {table}
     WHERE merchant_id = ANY($1::bigint[]) AND ({columns}) > ({after})
     ORDER BY {columns} LIMIT $2
), gone AS (
    DELETE FROM {table} t USING walked w
     WHERE {same} AND t.merchant_id = ANY($1::bigint[]) AND {old}
    RETURNING t.merchant_id
)
SELECT {columns}, (SELECT count(*) FROM walked) AS walked, (SELECT count(*) FROM gone) AS deleted
  FROM walked ORDER BY {backwards} LIMIT 1
"""  # noqa: S608 - it puts together nothing but what our own modules say
    return Walk(table, sql, [kind for _, kind in key], timedelta(days=keep_days))


class Walker:
    """Walks for many merchants, a batch of rows at a time."""

    def __init__(self, postgres: Postgres, items_max: int) -> None:
        self._postgres = postgres
        self._items_max = items_max

    async def step(
        self, walk: Walk, merchants: Sequence[int], after: tuple[Any, ...], now: datetime
    ) -> Step:
        """Look at the next rows after this key, and delete those that are too old now."""
        rows = await self._postgres.write(
            walk.sql, merchants, self._items_max, now - walk.keep, *after
        )
        if not rows:
            return Step(None, 0)
        row = rows[0]
        is_end = row["walked"] < self._items_max
        return Step(None if is_end else tuple(row)[: len(walk.key)], row["deleted"])
