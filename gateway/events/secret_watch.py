"""Which endpoints get nothing because their secret cannot be opened: told to operators.

Merchants see it in their endpoint's health, and a new secret mends it.
"""

from typing import ClassVar, Final

from gateway.domain import limits
from gateway.drivers import telemetry
from gateway.drivers.postgres import Postgres
from gateway.drivers.reloading import Watching
from gateway.events.ports import Secrets

_MERCHANTS: Final = "SELECT id FROM merchant"
# One that cannot be signed for fails from its first event on.
_FAILING: Final = """
SELECT id, secret_hidden FROM webhook_endpoint
 WHERE merchant_id = ANY($1::bigint[]) AND status = 'enabled' AND failures > 0
 LIMIT $2
"""


class SecretWatch(Watching):
    """Counts endpoints whose secret was hidden under a key that is lost."""

    what: ClassVar[str] = "secrets of endpoints"

    def __init__(self, postgres: Postgres, secrets: Secrets) -> None:
        super().__init__()
        self._postgres = postgres
        self._secrets = secrets

    async def look(self) -> None:
        """Look again, and tell Prometheus."""
        merchants = [row["id"] for row in await self._postgres.read(_MERCHANTS)]
        rows = await self._postgres.read(_FAILING, merchants, limits.WATCH_ENDPOINTS_MAX)
        opened = (self._secrets.reveal(r["secret_hidden"], r["id"].hex.encode()) for r in rows)
        telemetry.SECRETS_UNREADABLE.set(sum(key is None for key in opened))
