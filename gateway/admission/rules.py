"""What a request is to the house while it is full, and how a merchant's quota is used up."""

import math
from typing import Final

from gateway.domain.stages import Quota
from gateway.domain.words import Word

_CREATES: Final = frozenset({"/v1/payments", "/v1/payments/batch"})


class Kind(Word):
    """What is asked, in the order in which it has to stand back when there is too much of it.

    Reads have a room of their own.  What finishes a payment that was taken (capture, cancel,
    refund) goes before new payments.  Notices of channels are no kind: they are never refused.
    """

    READ = "read"
    CREATE = "create"
    FINISH = "finish"


def kind_of(method: str, path: str) -> Kind:
    """Tell the kind of a request by its method and its path without query."""
    if method != "POST":
        return Kind.READ
    return Kind.CREATE if path in _CREATES else Kind.FINISH


class TokenBucket:
    """So many a second, of which a second's worth may come at once; at least one.

    `per_second` need not be whole.  Seconds are those of a monotonic clock that never goes back.
    """

    __slots__ = ("_at", "_burst", "_per_second", "_tokens")

    def __init__(self, per_second: float, now: float) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second)
        self._tokens = self._burst
        self._at = now

    def wait_seconds(self, now: float) -> float:
        """Say how long it takes until there is one; nothing is taken."""
        missing = 1.0 - self._filled(now)
        return 0.0 if missing <= 0 else missing / self._per_second

    def whole(self, now: float) -> int:
        """Say how many there are that may be taken at once."""
        return int(self._filled(now))

    def is_full(self, now: float) -> bool:
        """Tell whether it holds all it can."""
        return self._filled(now) >= self._burst

    def take(self, now: float, count: int = 1) -> None:
        """Take some; what is not there is owed, and waited for before the next."""
        self._tokens = self._filled(now) - count
        self._at = now

    def _filled(self, now: float) -> float:
        return min(self._burst, self._tokens + (now - self._at) * self._per_second)


class Use:
    """What a merchant uses of its quota for one half of the API: reads or writes.

    A worker is one of `workers`, so it grants its part of the requests per second; what is under
    way at once is counted worker by worker.  `quota` is what is granted.
    """

    __slots__ = ("_bucket", "_workers", "quota", "under_way")

    def __init__(self, quota: Quota, *, workers: int, now: float) -> None:
        self.under_way = 0
        self._workers = workers
        self.renew(quota, now)

    def renew(self, quota: Quota, now: float) -> None:
        """Go by another quota from now on."""
        self.quota = quota
        rate = quota.per_second
        self._bucket = TokenBucket(rate / self._workers, now) if rate is not None else None

    def is_quiet(self, now: float) -> bool:
        """Tell whether nothing is lost when it is forgotten."""
        bucket = self._bucket
        return self.under_way == 0 and (bucket is None or bucket.is_full(now))

    def wait_seconds(self, now: float) -> int:
        """Say after how many seconds (whole, up) one more may come; 0 when it may now."""
        in_flight = self.quota.in_flight
        if in_flight is not None and self.under_way * self._workers >= in_flight:
            return 1
        return math.ceil(self._bucket.wait_seconds(now)) if self._bucket is not None else 0

    def spare(self, now: float) -> float:
        """Say how many more may come at once; without a quota there is no end of them."""
        in_flight = self.quota.in_flight
        left = math.inf if in_flight is None else in_flight / self._workers - self.under_way
        return left if self._bucket is None else min(left, self._bucket.whole(now))

    def take(self, now: float, count: int = 1) -> None:
        """Use up some of the requests per second."""
        if self._bucket is not None:
            self._bucket.take(now, count)
