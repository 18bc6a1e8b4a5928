"""What operators decided, kept in memory as the stores keep it in PostgreSQL and Redis."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from gateway.routing.config import NOTHING, Config, StoredConfig
from gateway.routing.plans import StoredPlan


class Operators:
    """Configurations from the first to the one in force, no fee plans, and counts of one worker."""

    def __init__(self, *documents: dict[str, Any]) -> None:
        configs = [msgspec.convert(document, Config) for document in documents]
        self.stored = [StoredConfig(number, config) for number, config in enumerate(configs, 1)]

    async def newer_config(self, version: int) -> StoredConfig | None:
        newest = [NOTHING, *self.stored][-1]
        return newest if newest.version > version else None

    async def plans(self) -> Sequence[StoredPlan]:
        return []

    async def volumes(self, _: date) -> Mapping[tuple[str, str], int]:
        return {}

    async def add(self, _: date, counts: Mapping[str, int]) -> Mapping[str, int]:
        return counts
