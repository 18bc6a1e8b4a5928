"""What the routing step needs from outside: where operators' decisions are stored."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Protocol

from gateway.routing.config import StoredConfig
from gateway.routing.health import Bucket
from gateway.routing.plans import StoredPlan


class PlanStore(Protocol):
    """Gives every fee plan, oldest first, and each channel's volume of a month by currency."""

    async def plans(self) -> Sequence[StoredPlan]: ...

    async def volumes(self, month: date) -> Mapping[tuple[str, str], int]: ...


class ConfigStore(Protocol):
    """Gives the newest configuration; None when none is newer than this version."""

    async def newer_config(self, version: int) -> StoredConfig | None: ...


class DayCounts(Protocol):
    """Adds to the channels' counts of a day and gives them, summed over all workers."""

    async def add(self, day: date, counts: Mapping[str, int]) -> Mapping[str, int]: ...


class Tallies(Protocol):
    """Adds to what all workers heard of the channels and gives the sums of these buckets."""

    async def add(
        self, counted: Mapping[Bucket, Sequence[int]], places: Sequence[int]
    ) -> Mapping[Bucket, Sequence[int]]: ...
