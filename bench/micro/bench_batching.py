"""Times the batching primitive alone: its queue, its futures and its flights for one item."""

import asyncio
from collections.abc import Sequence

from bench.micro.conftest import Timed
from bench.micro.stage import all_of
from gateway.drivers.batching import Batcher

ITEMS = 1000


def test_one_item_of_a_batch(runner: asyncio.Runner, per_item: Timed) -> None:
    async def flush(items: Sequence[int]) -> list[int]:
        return [-item for item in items]

    batcher: Batcher[int, int] = Batcher(flush, items_max=256, queue_items_max=ITEMS)

    def serve() -> list[int]:
        return runner.run(all_of(*map(submit, range(ITEMS))))

    async def submit(item: int) -> int:
        return await batcher.submit(item)

    assert serve() == [-item for item in range(ITEMS)]
    per_item(serve, items=ITEMS)
