"""Every channel of this installation by name and by number; assembly fills it once."""

from collections.abc import Iterable, Iterator

from gateway.channels.port import Channel


class Registry:
    """The channels there are; two with the same name or number are a ValueError."""

    def __init__(self, channels: Iterable[Channel]) -> None:
        everyone = tuple(channels)
        self._named = {channel.name: channel for channel in everyone}
        self._numbered = {channel.number: channel for channel in everyone}
        if not len(self._named) == len(self._numbered) == len(everyone):
            raise ValueError("two channels share a name or a number")

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._named.values())

    def named(self, name: str) -> Channel:
        """The channel of this name; KeyError when there is none."""
        return self._named[name]

    def numbered(self, number: int) -> Channel:
        """The channel of this number (1-999, as in account numbers); KeyError when none is."""
        return self._numbered[number]
