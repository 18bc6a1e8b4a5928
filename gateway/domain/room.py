"""How much may be under way at once and whose turn it is: the laws of a room that is shared fairly.

Seconds are those of a monotonic clock.  Everything here runs inside one thread and never waits.
"""

from contextvars import ContextVar
from typing import Final

from gateway.domain import limits

# The seat of the request that is being served; a call that leaves the house lends it to others.
SEAT: Final[ContextVar["Seat | None"]] = ContextVar("seat", default=None)


class AdaptiveLimit:
    """A limit that finds itself: as high as the time that is measured stays good.

    Good is what lasts at most `good_seconds`, or at most `tolerance` times what it lasts in calm
    hours, whichever is longer.  Every tenth of a second the usual time is looked at: above good the
    limit falls in proportion, though to no less than a share of itself at once; below it and in
    full use it grows by its square root (the idea of Netflix's Gradient2).  At `floor`, or while
    half of the room is empty, nothing that is slow is slow because of too many: what is measured
    then is what calm means, and no reason to fall.  `value` is the limit as it stands.
    """

    __slots__ = (
        *("_began", "_calm", "_ceiling", "_exact", "_fall_share_min", "_floor", "_good", "_peak"),
        *("_times", "value"),
    )

    def __init__(
        self,
        *,
        floor: int,
        start: int,
        ceiling: int,
        good_seconds: float,
        fall_share_min: float = limits.LIMIT_FALL_SHARE_MIN,
    ) -> None:
        self._floor, self._ceiling, self._good = floor, ceiling, good_seconds
        self._fall_share_min = fall_share_min
        self._exact = float(start)
        self.value = start
        self._calm: float | None = None
        self._began: float | None = None
        self._peak = 0
        self._times: list[float] = []

    @property
    def good_seconds(self) -> float:
        """Up to where a time is good now."""
        calm = 0.0 if self._calm is None else self._calm
        return max(self._good, limits.CALM_TOLERANCE * calm)

    def measured(self, seconds: float, *, under_way: int, now: float) -> None:
        """Take one time, and how much was under way when it ended; goes by the median of many."""
        if self._began is None:
            self._began = now
        times = self._times
        times.append(seconds)
        if under_way > self._peak:  # noqa: PLR1730 - a comparison costs a fifth of a call
            self._peak = under_way
        age = now - self._began
        if age < limits.LIMIT_STEP_SECONDS:
            return
        if len(times) >= limits.LIMIT_SAMPLES_MIN or age >= limits.LIMIT_STEP_SECONDS_MAX:
            self.step(sorted(times)[len(times) // 2], peak=self._peak)
            self._began, self._peak = now, 0
            times.clear()

    def step(self, usual: float, *, peak: int, learns: bool = True) -> None:
        """Go by what is usual now, in seconds, and by the most that was under way.

        Without `learns` it is a guess, of which nothing is learned about calm hours.
        """
        is_calm = self.value <= self._floor or 2 * peak <= self.value
        if learns:
            self._learn(usual, is_calm=is_calm)
        good = self.good_seconds
        if usual > good and not is_calm:
            self._exact *= max(self._fall_share_min, good / usual)
        elif usual <= good and peak >= limits.LIMIT_USED_SHARE * self.value:
            self._exact += max(1.0, self._exact**0.5)
        self._exact = min(max(self._exact, self._floor), self._ceiling)
        self.value = int(self._exact)

    def _learn(self, usual: float, *, is_calm: bool) -> None:
        if self._calm is None:
            self._calm = usual if is_calm else None
        elif is_calm or usual < self._calm:
            self._calm += (usual - self._calm) * limits.CALM_LEARNED_SHARE


class Hands:
    """How long payments are in our hands, known while they still are: by Little's law.

    The time that all of them spent here within a tenth of a second, over how many of them were
    finished in it, is how long one takes.  Whoever waits for the slow ones to leave hears of a
    flood when it has been in the house for seconds.  What was before counts a little, too, unless
    the limit fell since: a machine that stumbles is not full.
    """

    __slots__ = (*("_area", "_began", "_before", "_count", "_done", "_past", "_peak", "_since"),)

    def __init__(self) -> None:
        self._count = 0
        self._since = 0.0  # the sum of the moments since when those are here who are here now
        self._past = 0.0  # the seconds of those who are not here any more
        self._began: float | None = None
        self._area = 0.0
        self._done = 0
        self._peak = 0
        self._before = (0.0, 0.0)  # seconds spent and payments finished, of earlier looks

    def take(self, now: float, taken: int) -> None:
        """Hold one more; `taken` are the seats that are taken in all."""
        if self._began is None:
            self._begin(now)
        self._count += 1
        self._since += now
        if taken > self._peak:  # noqa: PLR1730 - as above
            self._peak = taken

    def put(self, since: float, now: float) -> None:
        """Hold it no more, for now or for good."""
        self._count -= 1
        self._since = self._since - since if self._count else 0.0
        self._past += now - since

    def finish(self, seconds: float, *, counts: bool) -> None:
        """End one that was held so long; what does not count was never here."""
        if counts:
            self._done += 1
        else:
            self._past -= seconds

    def look(self, limit: AdaptiveLimit, now: float) -> None:
        """Tell the limit how long one takes, when enough is known since the last time.

        Those beyond the limit were let in before it fell; waiting for them says nothing against it.
        """
        if self._began is None or now - self._began < limits.LIMIT_STEP_SECONDS:
            return
        age, few = now - self._began, limits.LIMIT_SAMPLES_MIN
        is_stuck = self._done < few <= self._count
        soon = limits.STALL_SECONDS if is_stuck else limits.LIMIT_STEP_SECONDS_MAX
        if self._done < few and age < soon:
            return
        if self._done or is_stuck:
            before, stood = self._before, limit.value
            spent = max(0.0, self._spent(now) - self._area) + before[0]
            done = self._done + before[1]
            usual = spent / max(1.0, done) * min(1.0, stood / max(1, self._count))
            limit.step(usual, peak=self._peak, learns=not is_stuck)
            kept = limits.LOOKS_KEPT_SHARE if limit.value >= stood else 0.0
            self._before = (kept * spent, kept * done)
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._began, self._area = now, self._spent(now)
        self._done, self._peak = 0, self._count

    def _spent(self, now: float) -> float:
        return self._past + self._count * now - self._since


class _Holder:
    __slots__ = ("seen_at", "taken", "weight")

    def __init__(self) -> None:
        self.weight = 0
        self.taken = 0
        self.seen_at = 0.0


class Room:
    """Who holds how many seats; whoever holds less than its share goes before all others.

    Anybody may have what others leave, but for the seats that are kept.  Whoever is below its share
    enters even when the room is full, because seats that were lent come back whether there is room
    or not; shares add up to less than the limit, so there are never twice as many.  A share is what
    is not kept, times one's weight over the weights of all seen within the last second.
    """

    __slots__ = ("_holders", "_swept_at", "_weights", "taken")

    def __init__(self) -> None:
        self.taken = 0
        self._weights = 0
        self._swept_at = 0.0
        self._holders: dict[int, _Holder] = {}

    def admits(self, merchant: int | None, *, limit: int, coming: int = 0) -> bool:
        """Tell whether one more may enter; nothing is taken.

        `merchant` is None for whoever is not known; `coming` are those who were let in already and
        hold no seat yet.
        """
        free = limit - self.taken - coming
        if free > 1 and free > limit // limits.SEATS_KEPT_PART:  # more than are kept
            return True
        return free > -limit and merchant is not None and self._is_below_share(merchant, limit)

    def enter(self, merchant: int, *, weight: int, now: float, seats: int = 1) -> bool:
        """Take seats, whether there is room or not; tell whether who takes them goes first.

        That is who holds less than a part of its share of all that are taken: beside a flood it
        would wait behind what others sent, and it is none of those who made the house full.
        """
        if now - self._swept_at >= limits.SHARE_SECONDS:
            self._sweep(now)
        holder = self._holders.get(merchant)
        if holder is None:
            holder = self._holders[merchant] = _Holder()
        if weight != holder.weight:
            self._weights += weight - holder.weight
            holder.weight = weight
        holder.seen_at = now
        holder.taken += seats
        self.taken += seats
        return limits.SEATS_FIRST_PART * holder.taken * self._weights < self.taken * weight

    def leave(self, merchant: int, seats: int = 1) -> None:
        """Give seats back."""
        self._holders[merchant].taken -= seats
        self.taken -= seats

    def _is_below_share(self, merchant: int, limit: int) -> bool:
        holder = self._holders.get(merchant)
        if holder is None or holder.taken <= 0:
            return True
        return holder.taken * self._weights < (limit - kept(limit)) * holder.weight

    def _sweep(self, now: float) -> None:
        """Forget who holds nothing and was not seen for a while."""
        for merchant, holder in list(self._holders.items()):
            if holder.taken == 0 and now - holder.seen_at >= limits.SHARE_SECONDS:
                self._weights -= holder.weight
                del self._holders[merchant]
        self._swept_at = now


def kept(limit: int) -> int:
    """Say how many seats are kept for those below their share: one in eight, at least one."""
    return max(1, limit // limits.SEATS_KEPT_PART)


class Seat:
    """One request's seat; it is lent while the request does nothing but wait for a channel.

    So a slow channel holds no room of ours.  A request that carries many payments holds several,
    and says nothing of how long one takes.  `own_seconds` is how long it was really held, and
    `calls` how often it was lent, or might have been; `hands` hear of both.  Who has one that
    `goes_first` does not wait behind the others where results are handed out.
    """

    __slots__ = (
        *("_away", "_hands", "_is_over", "_merchant", "_room", "_seats", "_since", "_weight"),
        *("calls", "goes_first", "own_seconds"),
    )

    def __init__(
        self, room: Room, merchant: int, *, weight: int, now: float, hands: Hands | None = None
    ) -> None:
        self._room, self._merchant, self._weight = room, merchant, weight
        self._hands = hands
        self._seats = 1
        self._away = 0
        self._is_over = False
        self.calls = 0
        self.own_seconds = 0.0
        self._sit(now)

    def lend(self, now: float) -> None:
        """Leave the room for a call; several calls at once lend what there is to lend once."""
        self._away += 1
        self.calls += 1
        if self._away == 1 and not self._is_over:
            self._rise(now)

    def back(self, now: float) -> None:
        """Come back from a call, whether there is room or not: what began is finished."""
        self._away -= 1
        if self._away == 0 and not self._is_over:
            self._sit(now)

    def keep(self) -> None:
        """Keep it where others lend theirs: whatever was begun needs no call."""
        self.calls += 1

    def widen(self, seats: int, now: float) -> None:
        """Hold so many seats from now on."""
        self._rise(now)
        if self._hands is not None:
            self._hands.finish(self.own_seconds, counts=False)
            self._hands = None
        self._seats = seats
        self._sit(now)

    def give_up(self, now: float) -> None:
        """End it; a call that is still away comes back to nothing."""
        if self._away == 0:
            self._rise(now)
        self._is_over = True
        if self._hands is not None:
            self._hands.finish(self.own_seconds, counts=self.calls > 0)

    def _sit(self, now: float) -> None:
        self.goes_first = self._room.enter(
            self._merchant, weight=self._weight, now=now, seats=self._seats
        )
        self._since = now
        if self._hands is not None:
            self._hands.take(now, self._room.taken)

    def _rise(self, now: float) -> None:
        self._room.leave(self._merchant, self._seats)
        self.own_seconds += now - self._since
        if self._hands is not None:
            self._hands.put(self._since, now)
