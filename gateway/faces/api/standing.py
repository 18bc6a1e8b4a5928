"""Refusals that stand: what the front's thread refuses by itself, until the loop has looked again.

While more comes than there is room for, the loop is busy with those who are served, and whoever is
to be refused would wait for it.  So the thread refuses what asks for the same as one who was just
refused.  A few go to the loop all the same, as many as found room lately, so seats that came back
are taken at once; and nothing stands for longer than an instant without the loop's word.
"""

import time
from collections.abc import Callable
from typing import Final

from gateway.admission.service import Refused
from gateway.domain import limits
from gateway.faces.api.asked import Asks
from gateway.faces.api.refusals import Forms
from gateway.match.table import OPERATIONS
from native.front import Front

_STANDING_MAX: Final = 8  # of which the thread keeps so many
_PASSES_MAX: Final = 64
# Targets that many ask for alike; others name a payment.
_COMMON: Final = frozenset(
    (operation.method, operation.path) for operation in OPERATIONS if "{" not in operation.path
)


class Standing:
    """What stands in one front; `count` hears of what was asked, why it was refused, how often."""

    def __init__(
        self,
        front: Front,
        count: Callable[[Asks, Refused, int], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._front = front
        self._count = count
        self._now = now
        self._stands: dict[Asks, tuple[Refused, float]] = {}
        self._counted: list[tuple[Asks, Refused]] = []
        self._places: dict[tuple[str, str, str], int] = {}
        self._is_flooded = False

    def __contains__(self, asks: Asks) -> bool:
        return asks in self._stands

    def look(self) -> bool:
        """Count what the thread has refused, and forget what stands no more; tells if any does."""
        told = self._front.refused() if self._counted else ()
        for place, count in told:
            self._count(*self._counted[place], count)
        self._is_flooded = bool(told)
        now = self._now()
        for asks in [asks for asks, (_, until) in self._stands.items() if until <= now]:
            del self._stands[asks]
        return bool(self._stands)

    def refuse(self, asks: Asks, why: Refused, forms: Forms, counts: tuple[int, int]) -> None:
        """Let a refusal stand; `counts` are how many were refused now, and how many had room.

        A single one makes no flood, and whoever names ever other keys does not fill the table.
        """
        refused, entered = counts
        may_begin = refused > 1 and len(self._stands) < _STANDING_MAX and asks[:2] in _COMMON
        if asks in self._stands or may_begin:
            self._stand(asks, why, forms, max(1, entered))

    def pass_more(self, asks: Asks, make: Callable[[Refused], Forms], entered: int) -> None:
        """Hear that so many found room and none was refused; more may come while it floods."""
        why, _ = self._stands[asks]
        if self._is_flooded:
            self._stand(asks, why, make(why), min(2 * entered, _PASSES_MAX))

    def _stand(self, asks: Asks, why: Refused, forms: Forms, passes: int) -> None:
        until = self._now() + limits.REFUSAL_STANDS_SECONDS
        method, path, _ = asks
        place = self._places.get((method, path, why.reason))
        if place is None:
            place = self._places[method, path, why.reason] = len(self._counted)
            self._counted.append(((method, path, None), why))
        if self._front.stand(asks, forms, (passes, until, place)):
            self._stands[asks] = why, until
