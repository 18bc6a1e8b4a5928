"""Every channel of this installation by name; assembly fills it once."""

from collections.abc import Iterable, Iterator

from gateway.channels.port import Channel


class Registry:
    """The channels there are; two with the same name or number are a ValueError."""

    def __init__(self, channels: Iterable[Channel]) -> None:
        everyone = tuple(channels)
        self._named = {channel.name: channel for channel in everyone}
        numbers = {channel.number for channel in everyone}
        if not len(self._named) == len(numbers) == len(everyone):
            raise ValueError("two channels share a name or a number")

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._named.values())

    def named(self, name: str) -> Channel:
        """The channel of this name; KeyError when there is none."""
        return self._named[name]
