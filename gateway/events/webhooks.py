"""The merchants' webhook endpoints: who wants to hear of what, where, and how that goes.

A secret leaves this room once, with the answer that made it.  No other answer and no memory of an
answer has it, so whoever lost it rotates it.
"""

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from gateway.domain import identity, limits
from gateway.domain.identity import uuid_of
from gateway.domain.stages import Claimed, Heard
from gateway.drivers.clock import Clock
from gateway.drivers.outbound_guard import Guard
from gateway.drivers.postgres import Postgres, Row
from gateway.events.ports import Secrets
from gateway.events.rules import SECRET_UNREADABLE, secret_text

# The key and what it stands for become durable together, as for payments.
_CREATE: Final = """
WITH claimed AS (
    INSERT INTO idempotency_key (merchant_id, key, fingerprint, operation, resource_id, created_at)
    SELECT $1, $2, $3, $4, $5, $6
     WHERE $10 > (SELECT count(*) FROM webhook_endpoint
                   WHERE merchant_id = $1 AND status <> 'deleted')
    ON CONFLICT (merchant_id, key) DO NOTHING
    RETURNING merchant_id, resource_id
)
INSERT INTO webhook_endpoint (merchant_id, id, url, events, status, secret_hidden, next_sequence,
                              created_at)
SELECT c.merchant_id, c.resource_id, $8, $9::text[], 'enabled', $7,
       coalesce(f.last_sequence, 0) + 1, $6
  FROM claimed c LEFT JOIN feed f ON f.merchant_id = c.merchant_id
 WHERE c.merchant_id = $1
"""
# What could not be signed before is due again, and the endpoint has a new beginning.  It is looked
# for among what is dead and what is due, each by its own index: what was delivered may be millions.
_ROTATE: Final = """
WITH claimed AS (
    INSERT INTO idempotency_key (merchant_id, key, fingerprint, operation, resource_id, created_at)
    SELECT merchant_id, $2, $3, $4, id, $6
      FROM webhook_endpoint WHERE merchant_id = $1 AND id = $5 AND status <> 'deleted'
    ON CONFLICT (merchant_id, key) DO NOTHING
    RETURNING merchant_id, resource_id
), waiting AS (
    SELECT s.merchant_id, s.endpoint_id, s.sequence
      FROM claimed c CROSS JOIN LATERAL (
           (SELECT d.merchant_id, d.endpoint_id, d.sequence
              FROM webhook_delivery d
             WHERE d.merchant_id = $1 AND d.endpoint_id = c.resource_id
               AND d.status = 'dead' AND d.last_error = $9
             ORDER BY d.sequence LIMIT $10)
           UNION ALL
           (SELECT d.merchant_id, d.endpoint_id, d.sequence
              FROM webhook_delivery d
             WHERE d.merchant_id = $1 AND d.endpoint_id = c.resource_id
               AND d.due_at IS NOT NULL AND d.last_error = $9
             ORDER BY d.due_at LIMIT $10)) s
     LIMIT $10
), again AS (
    UPDATE webhook_delivery d SET status = 'pending', tries = 0, due_at = $6
      FROM waiting s
     WHERE d.merchant_id = s.merchant_id AND d.endpoint_id = s.endpoint_id
       AND d.sequence = s.sequence AND d.merchant_id = $1
    RETURNING d.merchant_id
)
UPDATE webhook_endpoint w
   SET previous_hidden = w.secret_hidden, previous_secret_until = $8, secret_hidden = $7,
       failures = CASE WHEN EXISTS (SELECT FROM again) THEN 0 ELSE w.failures END,
       failing_since = CASE WHEN NOT EXISTS (SELECT FROM again) THEN w.failing_since END,
       paused_until = CASE WHEN NOT EXISTS (SELECT FROM again) THEN w.paused_until END
  FROM claimed c
 WHERE w.merchant_id = c.merchant_id AND w.id = c.resource_id AND w.merchant_id = $1
"""
_HEARD: Final = """
SELECT k.fingerprint, k.operation, k.resource_id, w.secret_hidden
  FROM idempotency_key k
  LEFT JOIN webhook_endpoint w ON w.merchant_id = k.merchant_id AND w.id = k.resource_id
 WHERE k.merchant_id = $1 AND k.key = $2
"""
_SHOW: Final = """
SELECT w.*, greatest(0, coalesce(f.last_sequence, 0) + 1 - w.next_sequence) AS events_behind
  FROM webhook_endpoint w LEFT JOIN feed f ON f.merchant_id = w.merchant_id
 WHERE w.merchant_id = $1 AND w.status <> 'deleted'"""
_ENABLE: Final = """
UPDATE webhook_endpoint
   SET status = 'enabled', failures = 0, failing_since = NULL, paused_until = NULL
 WHERE merchant_id = $1 AND id = $2 AND status <> 'deleted'
"""
_DELETE: Final = """
UPDATE webhook_endpoint
   SET status = 'deleted', secret_hidden = '', previous_hidden = NULL, previous_secret_until = NULL
 WHERE merchant_id = $1 AND id = $2 AND status <> 'deleted'
RETURNING id
"""


class Health(Struct, frozen=True):
    """How deliveries to an endpoint go; `events_behind` counts the events not yet looked at.

    With the trouble `secret_unreadable` we cannot sign for it any more and send nothing: a new
    secret mends it.
    """

    status: Literal["untried", "healthy", "failing", "paused"]
    consecutive_failures: int
    failing_since: datetime | None
    paused_until: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    events_behind: int
    trouble: Literal["secret_unreadable"] | None = None


class Endpoint(Struct, frozen=True, kw_only=True):
    """An endpoint as the API shows it; `secret` (`whsec_…`) is there only when it was just made.

    Until `previous_secret_until` every webhook is signed with the secret before, too.
    """

    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    id: str
    url: str
    events: Sequence[str]
    status: Literal["enabled", "disabled"]
    secret: str | UnsetType = UNSET
    previous_secret_until: datetime | None
    health: Health
    created_at: datetime

    def without_secret(self) -> "Endpoint":
        """The same, as it may be shown and kept for ever."""
        return msgspec.structs.replace(self, secret=UNSET)


class Webhooks:
    """Keeps the endpoints of all merchants, their signing keys unreadable without the vault."""

    def __init__(self, postgres: Postgres, secrets: Secrets, clock: Clock, guard: Guard) -> None:
        self._postgres = postgres
        self._guard = guard
        self._secrets = secrets
        self._clock = clock

    def refusal(self, url: str) -> str | None:
        """Say why nothing would ever be sent to this URL; None when something might."""
        return self._guard.refusal(url)

    async def create(
        self, claimed: Claimed, url: str, events: Sequence[str]
    ) -> Endpoint | Heard | None:
        """Add an endpoint for every event from now on.

        `Heard` when the idempotency key was used before, None when there are too many already.
        """
        number = claimed.merchant.number
        endpoint = uuid_of(self._clock.mint("we", number))
        key, hidden = self._new_key(endpoint)
        most = limits.WEBHOOK_ENDPOINTS_MAX
        arguments = (*_key_row(claimed, endpoint), hidden, url, list(events), most)
        await self._postgres.write(_CREATE, *arguments)
        return await self._made(claimed, key, hidden)

    async def rotate(self, claimed: Claimed, endpoint: str) -> Endpoint | Heard | None:
        """Give an endpoint a new secret beside the one it has; None when there is no endpoint.

        What could not be signed with the one it had is due again.
        """
        key, hidden = self._new_key(endpoint)
        until = claimed.at + timedelta(seconds=limits.WEBHOOK_ROTATION_SECONDS)
        unsent = (SECRET_UNREADABLE, limits.WEBHOOK_REDELIVERY_ITEMS_MAX)
        arguments = (*_key_row(claimed, endpoint), hidden, until, *unsent)
        await self._postgres.write(_ROTATE, *arguments)
        return await self._made(claimed, key, hidden)

    def _new_key(self, endpoint: str) -> tuple[bytes, bytes]:
        key = os.urandom(limits.WEBHOOK_SECRET_BYTES)
        return key, self._secrets.hide(key, endpoint.encode())

    async def _made(self, claimed: Claimed, key: bytes, hidden: bytes) -> Endpoint | Heard | None:
        """Say whose secret stands there now: ours, or that of whoever used the key before."""
        merchant = claimed.merchant.number
        rows = await self._postgres.learn(_HEARD, merchant, claimed.key)
        if not rows:
            return None
        resource = rows[0]["resource_id"].hex
        if rows[0]["secret_hidden"] != hidden:
            return Heard(bytes(rows[0]["fingerprint"]), rows[0]["operation"], resource)
        endpoint = await self.find(merchant, resource)
        return endpoint and msgspec.structs.replace(endpoint, secret=secret_text(key))

    async def find(self, merchant: int, endpoint: str) -> Endpoint | None:
        """Show one endpoint, named by its 32 hex digits."""
        rows = await self._postgres.read(f"{_SHOW} AND w.id = $2", merchant, endpoint)
        return self._shown(rows[0]) if rows else None

    async def all_of(self, merchant: int) -> list[Endpoint]:
        """Show every endpoint of a merchant, oldest first."""
        rows = await self._postgres.read(f"{_SHOW} ORDER BY w.id", merchant)
        return [self._shown(row) for row in rows]

    def _shown(self, row: Row) -> Endpoint:
        hidden, context = row["secret_hidden"], row["id"].hex.encode()
        is_readable = self._secrets.reveal(hidden, context) is not None
        return _endpoint(row, self._clock.now(), is_readable=is_readable)

    async def enable(self, merchant: int, endpoint: str) -> None:
        """Serve an endpoint again that was disabled or is being spared, from where it stood."""
        await self._postgres.write(_ENABLE, merchant, endpoint)

    async def delete(self, merchant: int, endpoint: str) -> bool:
        """Forget an endpoint and its secrets; False when there is none such."""
        return bool(await self._postgres.write(_DELETE, merchant, endpoint))


def _key_row(claimed: Claimed, resource: str) -> tuple[object, ...]:
    operation = claimed.matched.operation.name
    number = claimed.merchant.number
    return (number, claimed.key, claimed.fingerprint, operation, resource, claimed.at)


def _endpoint(row: Row, now: datetime, *, is_readable: bool) -> Endpoint:
    return Endpoint(
        id=identity.public("we", row["id"].hex),
        url=row["url"],
        events=row["events"],
        status=row["status"],
        previous_secret_until=row["previous_secret_until"],
        health=_health(row, now, is_readable=is_readable),
        created_at=row["created_at"],
    )


def _health(row: Row, now: datetime, *, is_readable: bool) -> Health:
    paused = row["paused_until"] is not None and now < row["paused_until"]
    status: Literal["untried", "healthy", "failing", "paused"] = "untried"
    if paused:
        status = "paused"
    elif row["failures"]:
        status = "failing"
    elif row["last_success_at"] is not None:
        status = "healthy"
    return Health(
        status=status,
        consecutive_failures=row["failures"],
        failing_since=row["failing_since"],
        paused_until=row["paused_until"] if paused else None,
        last_success_at=row["last_success_at"],
        last_failure_at=row["last_failure_at"],
        events_behind=row["events_behind"],
        trouble=None if is_readable else SECRET_UNREADABLE,
    )
