"""When to ask again about an outcome that is not known, for the ledger and the resume flow.

The waits follow the acquirers' own advice: soon at first, then ever more seldom, with jitter so
that a second wave after an outage is spread out.
"""

import math
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from gateway.domain import limits

_SILENCE: Final = timedelta(seconds=limits.SILENCE_SECONDS)


class Pace(Struct, frozen=True):
    """How fast a channel may be asked: microseconds between two askings, and how many saved up."""

    slot_us: int
    burst_us: int


def pace_of(queries_per_second: int) -> Pace:
    """Work out the pace of a channel from the queries that it allows, at least ten a second.

    Every asking counts as if it took two queries, so that in no second more are made than allowed.
    """
    if queries_per_second < limits.QUERIES_PER_SECOND_MIN:
        raise ValueError(f"a channel is asked {limits.QUERIES_PER_SECOND_MIN} times a second")
    askings = queries_per_second * limits.PACE_SHARE
    return Pace(math.ceil(1_000_000 / askings), round(1_000_000 * limits.PACE_BURST_SECONDS))


def next_query_at(now: datetime, queries_made: int, jitter: float) -> datetime:
    """Say when the next query is due; `jitter` lies between -1 and 1."""
    last = len(limits.QUERY_WAIT_SECONDS) - 1
    wait = limits.QUERY_WAIT_SECONDS[min(queries_made, last)]
    return now + timedelta(seconds=wait * (1 + limits.QUERY_JITTER_SHARE * jitter))


def check_at(ended_at: datetime, now: datetime) -> datetime | None:
    """Say when to look next whether money came after all; None when every look was made."""
    looks = (ended_at + timedelta(seconds=wait) for wait in limits.CHECK_WAIT_SECONDS)
    return next((look for look in looks if look > now), None)


def silence_ends_at(sent_at: datetime) -> datetime:
    """Say when an attempt that nobody answered for is asked about: its worker must be dead."""
    return sent_at + _SILENCE
