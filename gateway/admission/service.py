"""The admission step: a verified request is given a seat, or told at once that there is none.

Quota first (429: the merchant's own), then room (503: ours).  Either means that nothing was begun.
"""

import collections
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from gateway.admission.rules import Kind, Use, kind_of
from gateway.domain import limits
from gateway.domain.errors import Problem
from gateway.domain.room import SEAT, AdaptiveLimit, Hands, Room, Seat, kept
from gateway.domain.stages import Merchant, Verified
from gateway.drivers import telemetry

_SAID: Final = {
    "full": "The gateway is full just now; nothing was begun.",
    "channels_full": "The channels are full just now; nothing was begun.",
    "channels_away": "No channel answers just now; nothing was begun.",
    "late": "This waited for longer than anybody waits for an answer; nothing was begun.",
}
_HALVES: Final = ("write", "read")


class Refused(NamedTuple):
    """Why there is no room now; `retry_after` is whole seconds."""

    reason: str
    retry_after: int

    @property
    def status(self) -> int:
        """The HTTP status that says whose fault it is."""
        return 429 if self.reason == "quota" else 503


class Admission:
    """The seats of one worker of so many.

    `no_channel` says in one word why no channel has room for one more payment of this merchant.
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        no_channel: Callable[[int | None], str | None] = lambda _: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = workers
        self._no_channel = no_channel
        self._now = now
        self._limit = AdaptiveLimit(
            floor=limits.SEATS_MIN,
            start=limits.SEATS_START,
            ceiling=limits.SEATS_MAX,
            good_seconds=limits.SEAT_SECONDS_GOOD,
            fall_share_min=limits.SEATS_FALL_SHARE_MIN,
        )
        self._hands = Hands()
        self._writes, self._reads = Room(), Room()
        self._uses: dict[tuple[int, str], Use] = {}
        self._coming = 0
        self._told: collections.Counter[tuple[str, str]] = collections.Counter()
        self._under_way: collections.Counter[Kind] = collections.Counter()

    def refusal(
        self, kind: Kind, merchant: Merchant | None, *, is_kept: bool = False
    ) -> Refused | None:
        """Say why one more would be refused now; nothing is charged to anybody.

        So it may be asked about a merchant of whom nothing is proved yet.  Where room is kept since
        that was asked only the quota is looked at: seats that came back meanwhile turn nobody away
        who has cost more than a refusal by now.
        """
        number, now = None, self._now()
        self._hands.look(self._limit, now)
        if merchant is not None:
            number = merchant.number
            use = self._uses.get((number, _half(kind)))
            # A quota that has changed since begins with the next request that is admitted.
            if use is not None and use.quota == merchant.quota:
                wait = use.wait_seconds(now)
                if wait > 0:
                    return Refused("quota", wait)
        if is_kept:
            return None
        room, limit = self._room(kind)
        if not room.admits(number, limit=limit, coming=self._coming):
            return Refused("full", _soon())
        objection = self._no_channel(number) if kind is Kind.CREATE else None
        return None if objection is None else Refused(objection, _soon())

    def let_in(self) -> None:
        """Note that a request was let in and has no seat yet: it takes room all the same."""
        self._coming += 1

    def came(self) -> None:
        """Note that a request that was let in is being served, or will never be."""
        self._coming -= 1

    def count(self, kind: Kind, outcome: str, requests: int = 1) -> None:
        """Count what became of requests at this step."""
        self._told[kind.value, outcome] += requests

    @contextmanager
    def admit(self, verified: Verified) -> Iterator[None]:
        """Hold a seat inside a block; `Problem` 429 or 503 when there is none."""
        kind = kind_of(verified.received.method, verified.received.path)
        merchant, now = verified.merchant, self._now()
        use = self._use_of(merchant, kind, now)
        refused = self._refusal_of(kind, verified)
        if refused is not None:
            self.count(kind, refused.reason)
            raise problem_of(refused)
        self.count(kind, "admitted")
        use.take(now)
        use.under_way += 1
        self._under_way[kind] += 1
        room, _ = self._room(kind)
        hands = self._hands if kind is Kind.CREATE else None
        seat = Seat(room, merchant.number, weight=merchant.quota.weight, now=now, hands=hands)
        token = SEAT.set(seat)
        try:
            yield
        finally:
            SEAT.reset(token)
            self._under_way[kind] -= 1
            use.under_way -= 1
            now = self._now()
            seat.give_up(now)
            self._hands.look(self._limit, now)

    def widen(self, merchant: Merchant, payments: int) -> None:
        """Let a request that has its seat carry so many payments, which use up room and quota.

        It holds at most a part of the room, so that batches do not shut everybody else out.
        """
        now, seat = self._now(), SEAT.get()
        self._use_of(merchant, Kind.CREATE, now).take(now, payments - 1)
        if seat is not None:
            part = max(1, self._limit.value // limits.BATCH_SEATS_PART)
            seat.widen(min(payments, part), now)

    def tell(self) -> None:
        """Write down for the metrics how things stand, and forget merchants that are quiet."""
        for (name, outcome), count in self._told.items():
            telemetry.ADMISSION.labels(name, outcome).inc(count)
        self._told.clear()
        for kind in Kind:
            telemetry.UNDER_WAY.labels(kind.value).set(self._under_way[kind])
        telemetry.LIMIT.labels("writes").set(self._limit.value)
        telemetry.LIMIT.labels("reads").set(limits.READS_MAX)
        telemetry.SEATS.labels("writes").set(self._writes.taken)
        telemetry.SEATS.labels("reads").set(self._reads.taken)
        now = self._now()
        for quiet in [whose for whose, use in self._uses.items() if use.is_quiet(now)]:
            del self._uses[quiet]

    def _refusal_of(self, kind: Kind, verified: Verified) -> Refused | None:
        if verified.received.is_late(self._now()):
            return Refused("late", _soon())
        is_kept = verified.received.kept_for == verified.key_id
        return self.refusal(kind, verified.merchant, is_kept=is_kept)

    def _room(self, kind: Kind) -> tuple[Room, int]:
        if kind is Kind.READ:
            return self._reads, limits.READS_MAX
        limit = self._limit.value
        return self._writes, limit + kept(limit) if kind is Kind.FINISH else limit

    def _use_of(self, merchant: Merchant, kind: Kind, now: float) -> Use:
        name = (merchant.number, _half(kind))
        use = self._uses.get(name)
        if use is None:
            use = self._uses[name] = Use(merchant.quota, workers=self._workers, now=now)
        elif use.quota != merchant.quota:
            use.renew(merchant.quota, now)
        return use


def problem_of(refused: Refused) -> Problem:
    """Say it in public."""
    extra = {"retry_after": refused.retry_after}
    if refused.reason == "quota":
        return Problem("rate_limited", "Your quota is used up; nothing was begun.", extra=extra)
    if refused.reason == "channels_away":
        return Problem("unavailable", _SAID[refused.reason], extra=extra)
    return Problem("overloaded", _SAID[refused.reason], extra=extra)


def _half(kind: Kind) -> str:
    return _HALVES[kind is Kind.READ]


def _soon() -> int:
    """Spread those who come again over the next seconds."""
    return random.randint(1, limits.RETRY_AFTER_SECONDS_MAX)  # noqa: S311 - nothing secret
