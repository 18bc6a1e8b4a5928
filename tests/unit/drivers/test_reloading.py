"""What is looked at for people: seldom, and at once when something has changed."""

from typing import ClassVar

import pytest

from gateway.drivers.reloading import Watching


class Looks(Watching):
    what: ClassVar[str] = "a number of looks"

    def __init__(self) -> None:
        super().__init__()
        self.count, self.fails = 0, False

    async def look(self) -> None:
        self.count += 1
        if self.fails:
            raise ValueError("away")


async def test_a_look_is_not_repeated_soon_unless_something_changed() -> None:
    looks = Looks()
    for _ in range(3):
        await looks.refresh()
    assert looks.count == 1
    looks.wake()
    await looks.refresh()
    assert looks.count == 2


async def test_a_look_that_fails_is_made_again() -> None:
    looks = Looks()
    looks.fails = True
    with pytest.raises(ValueError, match="away"):
        await looks.refresh()
    looks.fails = False
    await looks.refresh()
    assert looks.count == 2
