"""A notice is durable before anybody reads it, and whoever is not believed waits for his answer."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.channels.port import NoticeRefused
from gateway.domain.errors import InDoubt, Overloaded, Problem
from gateway.flow.desk import Desk
from gateway.flow.notice import take_notice


class FakeSteps:
    """The box of notices and the channels of a desk; `told` is what was asked of them, in order."""

    def __init__(self, *, lost: Exception | None = None, odd: Exception | None = None) -> None:
        self.told: list[str] = []
        self._lost = lost
        self._odd = odd or NoticeRefused("forged")

    def has(self, channel: str, _owner: int) -> bool:
        return channel == "simulator"

    def arrived(self, *_came: Any) -> Any:
        return SimpleNamespace(id="ntc_1")

    async def keep(self, _notice: Any, peer: str) -> None:
        self.told.append(f"keep for {peer}")
        if self._lost is not None:
            raise self._lost

    def read_notice(self, _notice: Any) -> Any:
        self.told.append("read")
        raise self._odd

    async def done(self, _notice: Any, result: str) -> None:
        self.told.append(result)

    async def hold_up(self) -> None:
        self.told.append("held up")


async def taken(steps: FakeSteps, address: str = "simulator") -> None:
    desk = cast("Desk", SimpleNamespace(notices=steps, channels=steps))
    await take_notice(address, {}, b"?", peer="192.0.2.1", desk=desk)


async def test_it_is_kept_then_read_then_filed_and_a_stray_is_answered_last() -> None:
    steps = FakeSteps()
    with pytest.raises(Problem, match="notice_refused"):
        await taken(steps)
    assert steps.told == ["keep for 192.0.2.1", "read", "refused: forged", "held up"]


@pytest.mark.parametrize("lost", [InDoubt("?"), Overloaded("full")])
async def test_what_is_not_kept_is_not_read(lost: Exception) -> None:
    steps = FakeSteps(lost=lost)
    with pytest.raises(Problem, match="unavailable"):
        await taken(steps)
    assert steps.told == ["keep for 192.0.2.1"]


async def test_what_nobody_foresaw_is_no_quicker_way_to_flood_us() -> None:
    steps = FakeSteps(odd=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await taken(steps)
    assert steps.told == ["keep for 192.0.2.1", "read", "held up"]


@pytest.mark.parametrize("address", ["", "nobody", "simulator/", "simulator/mer_1"])
async def test_a_channel_that_is_not_there_keeps_nothing(address: str) -> None:
    steps = FakeSteps()
    with pytest.raises(Problem, match="not_found"):
        await taken(steps, address)
    assert steps.told == []
