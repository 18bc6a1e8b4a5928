"""The pulse of a process: how late its loop is and what waits in its queues, told every second."""

import asyncio
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Final

from gateway.drivers import telemetry

_TICK_SECONDS: Final = 0.05
_TICKS: Final = 20


async def beat(queues: Mapping[str, Callable[[], int]]) -> None:
    """Tell for ever, and once more at the end; each of `queues` says how many items it holds."""
    try:
        while True:
            for name, waiting in queues.items():
                telemetry.QUEUE_ITEMS.labels(name).set(waiting())
            telemetry.hand_over()
            worst = 0.0
            for _ in range(_TICKS):
                asleep = perf_counter()
                await asyncio.sleep(_TICK_SECONDS)
                worst = max(worst, perf_counter() - asleep - _TICK_SECONDS)
            telemetry.LOOP_LAG.set(worst)
    finally:
        telemetry.hand_over()
