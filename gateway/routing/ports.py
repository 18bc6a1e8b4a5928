"""What the routing step needs from outside: where operators' decisions are stored."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Protocol

from gateway.routing.plans import StoredPlan


class PlanStore(Protocol):
    """Gives every fee plan, oldest first, and each channel's volume of a month by currency."""

    async def plans(self) -> Sequence[StoredPlan]: ...

    async def volumes(self, month: date) -> Mapping[tuple[str, str], int]: ...
