"""What waits at accounts for which nobody can speak any more: told to operators, who can mend it.

Nothing of it ends by itself: only the channel could say what became of it.
"""

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Final

from msgspec import Struct

from gateway.channels.kinds import KINDS
from gateway.channels.registry import Registry
from gateway.domain import identity
from gateway.domain.channel import NUMBERS
from gateway.drivers import telemetry
from gateway.drivers.postgres import Postgres, Row
from gateway.drivers.reloading import Watching

_Account = tuple[str, str | None]

# Channels that the settings configure have no accounts.
_OF_SETTINGS: Final = NUMBERS.keys() - KINDS.keys()
# Every account that ever had a credential, by its newest one.
_ACCOUNTS: Final = """
SELECT DISTINCT ON (channel, account) channel, account, id, revoked_at IS NULL AS is_live
  FROM channel_credential
 ORDER BY channel, account, (revoked_at IS NULL) DESC, id DESC
"""
_MERCHANTS: Final = "SELECT id FROM merchant"
# Of the channels concerned what is due is read once, whatever the accounts.  A capture that was
# asked for is counted as such; what has ended and is only looked at is not.
_WAITING: Final = """
SELECT w.channel, w.account, count(*) FILTER (WHERE kind = 'attempt') AS attempts,
       count(*) FILTER (WHERE kind = 'capture') AS captures,
       count(*) FILTER (WHERE kind = 'refund') AS refunds
  FROM unnest($2::text[], $3::text[]) AS w (channel, account)
  JOIN (SELECT channel, account,
               CASE WHEN capture_amount IS NULL THEN 'attempt' ELSE 'capture' END AS kind
          FROM attempt
         WHERE merchant_id = ANY($1::bigint[]) AND channel = ANY($2::text[])
           AND due_at IS NOT NULL AND NOT is_check
        UNION ALL
        SELECT r.channel, a.account, 'refund'
          FROM refund r JOIN attempt a ON a.merchant_id = r.merchant_id AND a.id = r.attempt_id
         WHERE r.merchant_id = ANY($1::bigint[]) AND r.channel = ANY($2::text[])
           AND r.due_at IS NOT NULL) AS due
    ON due.channel = w.channel AND due.account IS NOT DISTINCT FROM w.account
 GROUP BY w.channel, w.account
"""


class Stranded(Struct, frozen=True, kw_only=True):
    """How much waits at one account, named by its newest credential; None: of the settings."""

    channel: str
    credential: str | None
    attempts: int
    captures: int
    refunds: int


class StrandedWatch(Watching):
    """Looks for accounts without any credential that is of use, and counts what waits there."""

    what: ClassVar[str] = "what waits at accounts without credentials"

    def __init__(self, postgres: Postgres, registry: Registry) -> None:
        super().__init__()
        self._postgres = postgres
        self._registry = registry
        self._found: tuple[Stranded, ...] = ()
        self._counted: set[tuple[str, str]] = set()

    def found(self) -> tuple[Stranded, ...]:
        """Give what was found at the last look."""
        return self._found

    async def look(self) -> None:
        """Look again, and tell Prometheus."""
        newest: dict[_Account, Row | None] = {(name, None): None for name in _OF_SETTINGS}
        rows = await self._postgres.read(_ACCOUNTS)
        newest |= {(row["channel"], row["account"]): row for row in rows}
        silent = [key for key, row in newest.items() if self._is_silent(key, row)]
        self._found = tuple(
            Stranded(
                channel=row["channel"],
                credential=_named(newest[row["channel"], row["account"]]),
                attempts=row["attempts"],
                captures=row["captures"],
                refunds=row["refunds"],
            )
            for row in (await self._waiting(silent) if silent else ())
        )
        self._tell()

    def _is_silent(self, account: _Account, newest: Row | None) -> bool:
        revoked = newest is not None and not newest["is_live"]
        return revoked or self._registry.account(*account) is None

    async def _waiting(self, silent: Sequence[_Account]) -> Sequence[Row]:
        merchants = [row["id"] for row in await self._postgres.read(_MERCHANTS)]
        return await self._postgres.read(_WAITING, merchants, *map(list, zip(*silent, strict=True)))

    def _tell(self) -> None:
        counts: Counter[tuple[str, str]] = Counter()
        for one in self._found:
            counts[one.channel, "attempt"] += one.attempts
            counts[one.channel, "capture"] += one.captures
            counts[one.channel, "refund"] += one.refunds
        for name in self._counted | counts.keys():
            telemetry.STRANDED.labels(*name).set(counts[name])
        self._counted = set(counts)


def _named(newest: Row | None) -> str | None:
    return identity.public("crd", newest["id"].hex) if newest is not None else None
