"""The routing configuration in memory: the newest version, read again every second."""

from typing import ClassVar

from gateway.drivers.reloading import Reloading
from gateway.routing.config import NOTHING, Bin, Config, StoredConfig
from gateway.routing.ports import ConfigStore


class Policy(Reloading):
    """The configuration in force and its table of cards; `version` tells whether it changed."""

    what: ClassVar[str] = "routing configuration"

    def __init__(self, store: ConfigStore) -> None:
        super().__init__()
        self._store = store
        self.stored: StoredConfig = NOTHING
        self.bins: dict[str, Bin] = {}

    @property
    def config(self) -> Config:
        """The document in force."""
        return self.stored.config

    @property
    def version(self) -> int:
        """The version in force; 0 when nobody has put one."""
        return self.stored.version

    async def refresh(self) -> None:
        """Read the newest version, where it is newer than ours."""
        newer = await self._store.newer_config(self.version)
        if newer is not None:
            self.stored, self.bins = newer, bins_of(newer.config)


def bins_of(config: Config) -> dict[str, Bin]:
    """Index the table of cards by prefix."""
    return {entry.prefix: entry for entry in config.bins}
