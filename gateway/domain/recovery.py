"""When to ask again about an outcome that is not known, for the ledger and the resume flow.

The waits follow the acquirers' own advice: soon at first, then ever more seldom, with jitter so
that a second wave after an outage is spread out.
"""

from datetime import datetime, timedelta

from gateway.domain import limits


def next_query_at(now: datetime, queries_made: int, jitter: float) -> datetime:
    """Say when the next query is due; `jitter` lies between -1 and 1."""
    last = len(limits.QUERY_WAIT_SECONDS) - 1
    wait = limits.QUERY_WAIT_SECONDS[min(queries_made, last)]
    return now + timedelta(seconds=wait * (1 + limits.QUERY_JITTER_SHARE * jitter))


def silence_ends_at(sent_at: datetime) -> datetime:
    """Say when an attempt that nobody answered for is asked about: its worker must be dead."""
    return sent_at + timedelta(seconds=2 * limits.CHANNEL_ANSWER_SECONDS)
