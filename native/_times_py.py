"""Tells the time and its distance from 1970, in plain Python: the specification of `_times_c`."""

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)


def now() -> datetime:
    """Say what time it is, in UTC."""
    return datetime.now(UTC)


def milliseconds(at: datetime) -> int:
    """Say how many whole milliseconds since 1970 that is; TypeError for a time without a zone."""
    return (at - EPOCH) // MILLISECOND
