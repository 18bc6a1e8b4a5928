"""A watch belongs to what is served: laps follow each other, and tasks beside it have their own."""

import asyncio
import re

from gateway.drivers import stopwatch
from gateway.drivers.stopwatch import Step, lap, told

FIRST, SECOND = Step("first"), Step("second")


def laps_of(header: str) -> list[tuple[str, float]]:
    found = re.findall(r"(\w+);dur=([0-9.]+)", header)
    assert ", ".join(f"{name};dur={value}" for name, value in found) == header
    return [(name, float(value)) for name, value in found]


async def test_laps_stand_in_order_and_add_up() -> None:
    watch = stopwatch.start(keeps_laps=True)
    await asyncio.sleep(0.002)
    lap(FIRST)
    lap(SECOND)
    (first, took), (second, _), (total, whole) = laps_of(told(watch))
    assert (first, second, total) == ("first", "second", "total")
    assert took >= 2
    assert whole >= took


async def test_what_is_served_beside_it_has_its_own() -> None:
    async def served(step: Step) -> str:
        watch = stopwatch.start(keeps_laps=True)
        await asyncio.sleep(0)
        lap(step)
        return told(watch)

    outer = stopwatch.start(keeps_laps=True)
    both = await asyncio.gather(served(FIRST), served(SECOND))
    assert [laps_of(each)[0][0] for each in both] == ["first", "second"]
    assert [name for name, _ in laps_of(told(outer))] == ["total"]


def test_nobody_asked_so_nothing_is_kept() -> None:
    watch = stopwatch.start()
    lap(FIRST)
    assert laps_of(told(watch))[0][0] == "total"
