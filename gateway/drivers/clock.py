"""The one place that reads the wall clock and mints ids from it."""

from datetime import UTC, datetime

from gateway.domain import identity


class Clock:
    """Wall-clock time, always aware UTC; tests wind their own by overriding `now`."""

    def now(self) -> datetime:
        """Say what time it is."""
        return datetime.now(UTC)

    def mint(self, prefix: str, merchant: int) -> str:
        """Make a new time-ordered id of this merchant."""
        return identity.mint(prefix, merchant, self.milliseconds())

    def milliseconds(self) -> int:
        """Say what time it is, in milliseconds since 1970."""
        return int(self.now().timestamp() * 1000)
