"""The admission step: a verified request is given a seat, or told at once that there is none.

Quota first (429: the merchant's own), then room (503: ours).  Either means that nothing was begun.
"""

import collections
import random
import time
from collections.abc import Callable
from contextvars import Token
from types import TracebackType
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


class Refused(NamedTuple):
    """Why there is no room now; `retry_after` is whole seconds."""

    reason: str
    retry_after: int

    @property
    def status(self) -> int:
        """The HTTP status that says whose fault it is."""
        return 429 if self.reason == "quota" else 503


class _Half:
    """One half of the API, reads or writes: its room, and by number what merchants use of it."""

    __slots__ = ("room", "uses")

    def __init__(self) -> None:
        self.room = Room()
        self.uses: dict[int, Use] = {}


class Admitted:
    """A seat inside a block, and all that goes with it; `Problem` 429 or 503 when there is none."""

    __slots__ = ("_admission", "_kind", "_seat", "_token", "_use", "_verified")

    _use: Use
    _seat: Seat
    _token: Token[Seat | None]

    def __init__(self, admission: "Admission", kind: Kind, verified: Verified) -> None:
        self._admission, self._kind, self._verified = admission, kind, verified

    def __enter__(self) -> None:
        self._use, self._seat = self._admission.enter(self._kind, self._verified)
        self._token = SEAT.set(self._seat)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        SEAT.reset(self._token)
        self._admission.leave(self._kind, self._use, self._seat)


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
        self._writes, self._reads = writes, reads = _Half(), _Half()
        self._halves: Final = {Kind.READ: reads, Kind.CREATE: writes, Kind.FINISH: writes}
        self._coming = 0
        self._told: collections.Counter[tuple[Kind, str]] = collections.Counter()
        self._admitted, self._under_way = dict.fromkeys(Kind, 0), dict.fromkeys(Kind, 0)

    def refusal(self, kind: Kind, merchant: Merchant | None) -> Refused | None:
        """Say why one more would be refused now; nothing is charged to anybody.

        So it may be asked about a merchant of whom nothing is proved yet.
        """
        now = self._now()
        self._hands.look(self._limit, now)
        if merchant is None:
            return self._lack(kind, None)
        use = self._halves[kind].uses.get(merchant.number)
        # A quota that has changed since begins with the next request that is admitted.
        if use is not None and use.quota == merchant.quota:
            wait = use.wait_seconds(now)
            if wait:
                return Refused("quota", wait)
        return self._lack(kind, merchant.number)

    def spare(self, kind: Kind, merchant: Merchant | None) -> int:
        """Say how many more would be let in now: one at least where one would."""
        if self.refusal(kind, merchant) is not None:
            return 0
        half, limit = self._halves[kind], self._limit_of(kind)
        spare = limit - kept(limit) - half.room.taken - self._coming
        use = half.uses.get(merchant.number) if merchant is not None else None
        return max(1, spare if use is None else int(min(spare, use.spare(self._now()))))

    def let_in(self) -> None:
        """Note that a request was let in and has no seat yet: it takes room all the same."""
        self._coming += 1

    def came(self) -> None:
        """Note that a request that was let in is being served, or will never be."""
        self._coming -= 1

    def count(self, kind: Kind, outcome: str, requests: int = 1) -> None:
        """Count what became of requests at this step."""
        self._told[kind, outcome] += requests

    def admit(self, verified: Verified) -> Admitted:
        """Hold a seat inside a block; `Problem` 429 or 503 when there is none."""
        received = verified.received
        return Admitted(self, kind_of(received.method, received.path), verified)

    def enter(self, kind: Kind, verified: Verified) -> tuple[Use, Seat]:
        """Take a seat, which has to be left; `Problem` 429 or 503 when there is none."""
        merchant, now = verified.merchant, self._now()
        use = self._use_of(merchant, kind, now)
        refused = self._objection(kind, verified, use, now)
        if refused is not None:
            self.count(kind, refused.reason)
            raise problem_of(refused)
        self._admitted[kind] += 1
        self._under_way[kind] += 1
        use.under_way += 1
        use.take(now)
        return use, Seat(
            self._halves[kind].room,
            merchant.number,
            weight=merchant.quota.weight,
            now=now,
            hands=self._hands if kind is Kind.CREATE else None,
        )

    def leave(self, kind: Kind, use: Use, seat: Seat) -> None:
        """Give a seat back."""
        now = self._now()
        self._under_way[kind] -= 1
        use.under_way -= 1
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

    def made(self) -> None:
        """Let the time of a payment count for which no channel is called: it is finished, too."""
        seat = SEAT.get()
        if seat is not None:
            seat.keep()

    def tell(self) -> None:
        """Write down for the metrics how things stand, and forget merchants that are quiet."""
        for (kind, outcome), count in self._told.items():
            telemetry.ADMISSION.labels(kind.value, outcome).inc(count)
        self._told.clear()
        for kind, admitted in self._admitted.items():
            telemetry.ADMISSION.labels(kind.value, "admitted").inc(admitted)
            self._admitted[kind] = 0
            telemetry.UNDER_WAY.labels(kind.value).set(self._under_way[kind])
        telemetry.LIMIT.labels("writes").set(self._limit.value)
        telemetry.LIMIT.labels("reads").set(limits.READS_MAX)
        telemetry.SEATS.labels("writes").set(self._writes.room.taken)
        telemetry.SEATS.labels("reads").set(self._reads.room.taken)
        now = self._now()
        for half in (self._writes, self._reads):
            for quiet in [whose for whose, use in half.uses.items() if use.is_quiet(now)]:
                del half.uses[quiet]

    def _objection(self, kind: Kind, verified: Verified, use: Use, now: float) -> Refused | None:
        """Say why a verified request is refused.

        Where room is kept since it was asked for from outside only the quota is looked at: seats
        that came back meanwhile turn nobody away who has cost more than a refusal by now.
        """
        received = verified.received
        if received.is_late(now):
            return Refused("late", _soon())
        wait = use.wait_seconds(now)
        if wait:
            return Refused("quota", wait)
        if received.kept_for == verified.key_id:
            return None
        self._hands.look(self._limit, now)
        return self._lack(kind, verified.merchant.number)

    def _lack(self, kind: Kind, merchant: int | None) -> Refused | None:
        """Say what of the room or the channels is lacking for one more."""
        limit = self._limit_of(kind)
        if not self._halves[kind].room.admits(merchant, limit=limit, coming=self._coming):
            return Refused("full", _soon())
        objection = self._no_channel(merchant) if kind is Kind.CREATE else None
        return None if objection is None else Refused(objection, _soon())

    def _limit_of(self, kind: Kind) -> int:
        if kind is Kind.READ:
            return limits.READS_MAX
        limit = self._limit.value
        return limit + kept(limit) if kind is Kind.FINISH else limit

    def _use_of(self, merchant: Merchant, kind: Kind, now: float) -> Use:
        uses = self._halves[kind].uses
        use = uses.get(merchant.number)
        if use is None:
            use = uses[merchant.number] = Use(merchant.quota, workers=self._workers, now=now)
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


def _soon() -> int:
    """Spread those who come again over the next seconds."""
    return random.randint(1, limits.RETRY_AFTER_SECONDS_MAX)  # noqa: S311 - nothing secret
