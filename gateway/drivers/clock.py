"""The one place that reads the wall clock and mints ids from it."""

from datetime import datetime

from gateway.domain import identity
from native import times


class Clock:
    """Wall-clock time, always aware UTC; tests wind their own by overriding `now`."""

    def now(self) -> datetime:
        """Say what time it is."""
        return times.now()

    def mint(self, prefix: str, merchant: int) -> str:
        """Make a new time-ordered id of this merchant."""
        return identity.mint(prefix, merchant, times.milliseconds(self.now()))

    def milliseconds(self) -> int:
        """Say what time it is, in milliseconds since 1970."""
        return times.milliseconds(self.now())

    def instant(self) -> tuple[datetime, int]:
        """Say what time it is, and the same in milliseconds since 1970, for a name."""
        now = self.now()
        return now, times.milliseconds(now)
