"""How many payments each channel had this second and this day, against what its contract allows.

A second is counted by each worker for itself, within its share of the contract.  A day is counted
by all together: every second each worker adds what it had to a sum in Redis, so at most a second's
payments go over; without Redis each worker counts what it knows.  A day begins at midnight UTC.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from math import ceil
from typing import Final

from gateway.domain.errors import Unavailable
from gateway.drivers.redis import Redis
from gateway.routing.config import ChannelTerms
from gateway.routing.ports import DayCounts

_DAY: Final = timedelta(days=1)
_KEEP_SECONDS: Final = 2 * 24 * 3600
_ADD: Final = """
local sums = {}
for i, key in ipairs(KEYS) do
    sums[i] = tostring(redis.call('INCRBY', key, ARGV[i]))
    redis.call('EXPIRE', key, ARGV[#KEYS + 1])
end
return sums
"""


class RedisDayCounts:
    """The sums of all workers."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def add(self, day: date, counts: Mapping[str, int]) -> Mapping[str, int]:
        """Add to each channel's count and give the sums; raises `Unavailable`."""
        keys = [f"quota:{{{day.isoformat()}}}:{channel}".encode() for channel in counts]
        sums = await self._redis.call(_ADD, keys, [*counts.values(), _KEEP_SECONDS])
        return {name: int(total or 0) for name, total in zip(counts, sums, strict=True)}


class Quotas:
    """Counts payments per channel; `workers` share a contract's payments per second."""

    def __init__(self, counts: DayCounts, *, workers: int) -> None:
        self._counts = counts
        self._workers = workers
        self._second: tuple[int, Counter[str]] = (0, Counter())
        self._day: date = date.min
        self._summed: Counter[str] = Counter()
        self._fresh: Counter[str] = Counter()

    def wait_seconds(self, channel: str, terms: ChannelTerms, now: datetime) -> int:
        """Say after how many seconds the contract allows one more payment; 0: it does now."""
        if terms.per_day is not None and self._had(channel, now) >= terms.per_day:
            midnight = datetime.combine(now.date() + _DAY, time.min, now.tzinfo)
            return ceil((midnight - now).total_seconds())
        if terms.per_second is None:
            return 0
        second, counted = self._second
        share = max(1, terms.per_second // self._workers)
        return 1 if second == int(now.timestamp()) and counted[channel] >= share else 0

    def _had(self, channel: str, now: datetime) -> int:
        """Say how many payments of this day are known."""
        if self._day != now.date():
            return 0
        return self._summed[channel] + self._fresh[channel]

    def took(self, channel: str, terms: ChannelTerms, now: datetime) -> None:
        """Count one payment of a channel that has a quota; before it had one, nobody counted."""
        if terms.per_second is None and terms.per_day is None:
            return
        second = int(now.timestamp())
        if self._second[0] != second:
            self._second = (second, Counter())
        self._second[1][channel] += 1
        if self._day != now.date():
            self._day, self._summed, self._fresh = now.date(), Counter(), Counter()
        self._fresh[channel] += 1

    async def share(self, channels: Sequence[str], now: datetime) -> None:
        """Add what was counted to the sums of all workers, for channels that have a quota a day."""
        if self._day != now.date():
            self._day, self._summed, self._fresh = now.date(), Counter(), Counter()
        day, added = self._day, {channel: self._fresh[channel] for channel in channels}
        if not added:
            return
        try:
            sums = await self._counts.add(day, added)
        except Unavailable:
            return
        if self._day != day:
            return  # the next one began meanwhile, with counts of its own
        self._fresh.subtract(added)
        self._summed.update({name: total - self._summed[name] for name, total in sums.items()})
