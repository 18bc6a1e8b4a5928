"""The bulkheads of the channels: a slow or failing one fills its own lanes, and no other's.

A lane holds the calls of one channel that are alike: new payments, what finishes them, queries,
refunds.  New payments ask for a place before anything is begun, so that they are told 503 and not
left with a payment of which nobody asked the channel; of the others one too many is "never sent".
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Final, Literal, NamedTuple

from gateway.channels.port import Verb
from gateway.channels.rules import LANE_OF, Breaker, Lane, State
from gateway.domain import limits
from gateway.domain.errors import Problem
from gateway.domain.identity import PLATFORM, merchant_number, uuid_of
from gateway.domain.room import SEAT, AdaptiveLimit, Room
from gateway.domain.stages import Routed
from gateway.drivers import telemetry

_STATES: Final = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}


class LaneHealth(NamedTuple):
    """How one lane of a channel stands in this process.

    `under_way` are the calls in it, `limit` is how many at once the channel serves well.
    """

    breaker: State
    under_way: int
    limit: int


class _Way:
    """One lane of one channel: who is in it, up to where it is well used, and its breaker.

    `reserved` names the attempts that have a place already, and whether they will be probes.
    """

    __slots__ = ("breaker", "calls_max", "limit", "reserved", "room")

    def __init__(self, calls_max: int) -> None:
        self.calls_max = calls_max
        self.room = Room()
        self.breaker = Breaker()
        self.reserved: dict[str, bool] = {}
        self.limit = AdaptiveLimit(
            floor=min(limits.LANE_CALLS_MIN, calls_max),
            start=min(limits.LANE_CALLS_START, calls_max),
            ceiling=calls_max,
            good_seconds=limits.LANE_SECONDS_GOOD,
        )

    def admits(self, merchant: int | None, now: float) -> bool:
        """Tell whether one more new payment would be well served."""
        return self.room.admits(merchant, limit=self.limit.value) and self.breaker.admits(now)


class Call:
    """One call under way; say how it went before it is over."""

    __slots__ = ("_began", "_is_probe", "_is_well", "_merchant", "_now", "_seat", "_way")

    def __init__(
        self, way: _Way, merchant: int | None, *, is_probe: bool, now: Callable[[], float]
    ) -> None:
        self._way, self._merchant, self._is_probe = way, merchant, is_probe
        self._now = now
        self._is_well: bool | None = None
        self._began = began = now()
        self._seat = seat = SEAT.get()
        if seat is not None:
            seat.lend(began)

    def went(self, *, well: bool) -> None:
        """Say whether the channel served it; not saying so means that no call was made."""
        self._is_well = well

    def over(self) -> None:
        """Leave the lane."""
        now = self._now()
        way = self._way
        if self._seat is not None:
            self._seat.back(now)
        way.breaker.end(is_probe=self._is_probe, is_well=self._is_well, now=now)
        if self._is_well:
            way.limit.measured(now - self._began, under_way=way.room.taken, now=now)
        if self._merchant is not None:
            way.room.leave(self._merchant)


class Place:
    """A place for a new payment inside a block; whoever begins its call in it takes it over."""

    __slots__ = ("_merchant", "_now", "_number", "_way")

    def __init__(self, now: Callable[[], float], way: _Way, routed: Routed) -> None:
        self._now, self._way = now, way
        self._merchant = routed.claimed.merchant
        self._number = uuid_of(routed.attempt.id)

    def __enter__(self) -> None:
        way, merchant, now = self._way, self._merchant, self._now()
        if not way.breaker.admits(now):
            wait = max(1, math.ceil(way.breaker.wait_seconds(now)))
            raise Problem(
                "unavailable",
                "The channel does not answer just now; nothing was begun.",
                extra={"retry_after": wait},
            )
        if not way.room.admits(merchant.number, limit=way.calls_max):
            raise Problem("overloaded", "The channel is full just now; nothing was begun.")
        way.reserved[self._number] = way.breaker.begin()
        way.room.enter(merchant.number, weight=merchant.quota.weight, now=now)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        way = self._way
        way.room.leave(self._merchant.number)
        if way.reserved.pop(self._number, False):
            way.breaker.end(is_probe=True, is_well=None, now=self._now())


class Lanes:
    """The lanes of one process, made when they are first used; `calls_max` says how wide each is.

    `offers` names the channels that may serve a merchant.
    """

    def __init__(
        self,
        offers: Callable[[int], Iterable[str]],
        *,
        calls_max: Mapping[str, int] = limits.LANE_CALLS_MAX,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.now = now
        self._offers = offers
        self._calls_max = calls_max
        self._ways: dict[tuple[str, Lane], _Way] = {}
        self._creating: dict[str, _Way] = {}  # of these the ones that every new payment asks about

    def objection(self, merchant: int | None) -> str | None:
        """Say in one word why no channel would serve one more new payment well; None: one would.

        Nothing is taken.
        """
        now, word = self.now(), None
        for channel in self._offers(PLATFORM if merchant is None else merchant):
            way = self._creating.get(channel)
            if way is None or way.admits(merchant, now):
                return None
            is_full = way.breaker.admits(now) or word == "channels_full"
            word = "channels_full" if is_full else "channels_away"
        return word

    def shut(self, channel: str, merchant: int) -> Literal["breaker", "lane"] | None:
        """Say what would keep one more new payment of a merchant from a channel; None: nothing.

        A half open breaker lets its probes through, so it shuts nobody out who may be one.
        """
        way = self._creating.get(channel)
        if way is None:
            return None
        if not way.breaker.is_closed and not way.breaker.admits(self.now()):
            return "breaker"
        return None if way.room.admits(merchant, limit=way.limit.value) else "lane"

    def place(self, routed: Routed) -> Place:
        """Keep a place for a new payment inside a block; `Problem` 503 when there is none."""
        channel = routed.attempt.channel
        way = self._creating.get(channel)
        if way is None:
            way = self._way(channel, Lane.CREATE)
        return Place(self.now, way, routed)

    def begin(self, channel: str, verb: Verb, number: str) -> Call | str:
        """Begin a call about the attempt of this number, or say in one word why it is not made."""
        way = self._way(channel, LANE_OF[verb])
        if verb is Verb.CREATE:
            is_probe = way.reserved.pop(number, None)
            if is_probe is not None:
                return Call(way, None, is_probe=is_probe, now=self.now)
        now = self.now()
        if not way.breaker.admits(now):
            return "breaker_open"
        merchant = merchant_number(number)
        if not way.room.admits(merchant, limit=way.calls_max):
            return "lane_full"
        way.room.enter(merchant, weight=1, now=now)
        return Call(way, merchant, is_probe=way.breaker.begin(), now=self.now)

    def health(self) -> dict[tuple[str, str], LaneHealth]:
        """Say how every lane that was used stands, by channel and lane."""
        now = self.now()
        return {
            (channel, lane.value): LaneHealth(
                way.breaker.state(now), way.room.taken, way.limit.value
            )
            for (channel, lane), way in self._ways.items()
        }

    def tell(self) -> None:
        """Write down for the metrics how the lanes stand."""
        for name, health in self.health().items():
            telemetry.LANE_CALLS.labels(*name).set(health.under_way)
            telemetry.LANE_LIMIT.labels(*name).set(health.limit)
            telemetry.BREAKER.labels(*name).set(_STATES[health.breaker])

    def _way(self, channel: str, lane: Lane) -> _Way:
        way = self._ways.get((channel, lane))
        if way is None:
            way = self._ways[channel, lane] = _Way(self._calls_max[lane.value])
            if lane is Lane.CREATE:
                self._creating[channel] = way
        return way
