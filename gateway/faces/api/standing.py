"""Refusals that stand: what the front's thread refuses by itself, until there is room again.

While more comes than there is room for, the loop is busy with those who are served, and whoever is
to be refused would wait for it.  So the thread refuses what asks for the same as one who was just
refused.  It is told every few milliseconds how many seats are free: so many go to the loop all the
same, hence whoever waits for the loop finds room there.  What no longer turns anybody away ends.
"""

import time
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from gateway.admission.service import Refused
from gateway.domain import limits
from gateway.faces.api.asked import Asks
from gateway.faces.api.refusals import Forms
from gateway.match.table import OPERATIONS
from native.front import Front

_STANDING_MAX: Final = 8  # so many places the thread has
_LOOK_SECONDS: Final = 0.1
# How many may find out at once whether a channel has room, which is not known beforehand.
_PROBES_MAX: Final = 8
# Targets that many ask for alike; others name a payment.
_COMMON: Final = frozenset(
    (operation.method, operation.path) for operation in OPERATIONS if "{" not in operation.path
)


class House(Protocol):
    """Who knows what there is room for."""

    def refusal(self, asks: Asks) -> Refused | None:
        """Say why there is no room for such a request; None when there is."""
        ...

    def spare(self, asks: Asks) -> int:
        """Say for how many such requests there is room."""
        ...

    def turned_away(self, asks: Asks, refused: Refused, count: int) -> None:
        """Count requests that are refused."""
        ...

    def forms(self, refused: Refused) -> Forms:
        """Write a refusal, but for the letters of its id."""
        ...


class _Stand(NamedTuple):
    place: int
    why: Refused


class Standing:
    """What stands in one front; whoever lets something stand tends it until nothing does."""

    def __init__(
        self, front: Front, house: House, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._front = front
        self._house = house
        self._now = now
        self._stands: dict[Asks, _Stand] = {}
        self._places = list(range(_STANDING_MAX))
        self._counted: list[tuple[Asks, Refused]] = []
        self._counts: dict[tuple[str, str, str], int] = {}
        self._look_at = 0.0

    def __bool__(self) -> bool:
        """Tell whether anything stands."""
        return bool(self._stands)

    def refuse(self, asks: Asks, why: Refused, forms: Forms, count: int) -> None:
        """Let a refusal stand that so many have just heard.

        A single one makes no flood, and whoever names ever other keys does not fill the table.
        """
        stand = self._stands.get(asks)
        may_begin = count > 1 and self._places and asks[:2] in _COMMON
        if stand is None and not may_begin:
            return
        if not self._stands:
            self._look_at = self._now() + _LOOK_SECONDS
        self._stand(asks, why, forms, self._places.pop() if stand is None else stand.place)

    def tend(self) -> bool:
        """Let as many through as there is room for, and look now and then; tells if it goes on.

        It does while anything stands, and until what that refused at last is counted.
        """
        now = self._now()
        if now >= self._look_at:
            self._look(now)
        self.grant()
        return now < self._look_at

    def grant(self) -> None:
        """Let as many through as there is room for; who stand for the same room share it."""
        alike = len(self._stands)
        for asks, (place, why) in self._stands.items():
            spare = -(-self._house.spare(asks) // alike)
            if why.reason.startswith("channels"):
                spare = min(spare, _PROBES_MAX)
            self._front.grant(place, spare)

    def count(self) -> None:
        """Count what the thread has refused."""
        for counted, count in self._front.refused() if self._counted else ():
            self._house.turned_away(*self._counted[counted], count)

    def _look(self, now: float) -> None:
        """End what turned nobody away since the last look, and give the others a word of now."""
        self.count()
        if self._stands:
            self._look_at = now + _LOOK_SECONDS
        for asks, (place, before) in list(self._stands.items()):
            why = self._house.refusal(asks) or before
            forms = self._house.forms(why)
            if self._front.was_needed(place):
                self._stand(asks, why, forms, place)
            else:
                self._tell(asks, why, forms, (place, 0.0))
                self._front.grant(place, limits.CONNECTIONS_MAX)  # until the thread has heard it
                del self._stands[asks]
                self._places.append(place)

    def _stand(self, asks: Asks, why: Refused, forms: Forms, place: int) -> None:
        self._front.grant(place, 0)  # until it is known how many
        until = self._now() + limits.REFUSAL_STANDS_SECONDS
        if self._tell(asks, why, forms, (place, until)):
            self._stands[asks] = _Stand(place, why)
        else:
            self._stands.pop(asks, None)
            self._places.append(place)

    def _tell(self, asks: Asks, why: Refused, forms: Forms, terms: tuple[int, float]) -> bool:
        method, path, _ = asks
        place, until = terms
        counted = self._counts.get((method, path, why.reason))
        if counted is None:
            counted = self._counts[method, path, why.reason] = len(self._counted)
            self._counted.append(((method, path, None), why))
        return self._front.stand(asks, forms, (place, until, counted))
