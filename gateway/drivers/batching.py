"""The one primitive by which everything leaves the process: submit one item, await its own result.

Whatever has gathered while the previous flush was under way is the next batch, so a lone item goes
at once and a flood shares its round trips.  A queue may also rest after a flush that many shared:
where a flush costs the same whatever it carries, a flood that waits a moment longer is served
sooner.  Many that come together have gathered already: they end the rest.  Results are handed out a
few at a time: whoever is answered goes on at once, and a thousand of them in one turn of the loop
would keep all others waiting, also those who are only told no.  Who has a seat that goes first did
not make the queue long: he leaves with the next flush, is handed his result before the others, and
beside him fewer are handed theirs at a time.
"""

import asyncio
import collections
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from gateway.domain import limits
from gateway.domain.errors import FloodgateError, Overloaded
from gateway.domain.room import SEAT

Item = TypeVar("Item")
Result = TypeVar("Result")

Flush = Callable[[Sequence[Item]], Awaitable[Sequence[Result | BaseException]]]


class Rest(NamedTuple):
    """How long a queue rests after a flush: so long for each item of it, but not longer."""

    item_seconds: float
    seconds_max: float


class _Party(Generic[Result]):
    """Items that came together: what each became, and one future for all of it."""

    __slots__ = ("_left", "_results", "future")

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self._left = count
        self._results: list[Result | BaseException] = []
        self.future: asyncio.Future[list[Result | BaseException]] = loop.create_future()

    def told(self, result: Result | BaseException) -> list[Result | BaseException] | None:
        """Take the next one's result; all of them when it was the last."""
        self._results.append(result)
        self._left -= 1
        return None if self._left else self._results

    def cancel(self) -> None:
        """Let nobody wait for it any more."""
        self.future.cancel()


class Batcher(Generic[Item, Result]):
    """Gathers items and hands them to `flush`, one batch at a time.

    `flush` gives one result per item, in order; an exception in a result's place belongs to that
    item alone.  When `flush` itself raises one of our own errors (a part is away) it is every
    item's answer; when it raises anything else the batch is halved and tried again, so that one
    poisoned item never fails its neighbours.  The queue is bounded: `Overloaded` when it is full.
    With a `rest` it lets more gather after a flush that many shared.
    """

    def __init__(
        self,
        flush: Flush[Item, Result],
        *,
        items_max: int,
        queue_items_max: int,
        observe: Callable[[int], None] | None = None,
        rest: Rest | None = None,
    ) -> None:
        self._flush = flush
        self._items_max = items_max
        self._queue_items_max = queue_items_max
        self._observe = observe
        self._rest = rest
        self._items: list[Item] = []
        # Who waits for these items, in the same order; a party stands there for each of its own.
        self._futures: list[asyncio.Future[Result] | _Party[Result]] = []
        self._ahead = 0  # so many of them, at the head, go first
        self._flight: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop
        self._resting: asyncio.Future[None] | None = None
        self._has_gathered = False
        self._answered: collections.deque[tuple[asyncio.Future[Any], Any]] = collections.deque()
        self._handed_out_max = limits.HANDED_OUT_ITEMS_MAX

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Queue one item; the future resolves to its own result."""
        if len(self._items) >= self._queue_items_max:
            raise Overloaded("a queue is full")
        if self._flight is None:
            # It stays the loop for as long as the flight: to ask for it costs as much as the rest.
            self._loop = asyncio.get_running_loop()
            self._flight = self._loop.create_task(self._fly())
        future: asyncio.Future[Result] = self._loop.create_future()
        seat = SEAT.get()
        if seat is None or not seat.goes_first:
            self._items.append(item)
            self._futures.append(future)
            return future
        self._items.insert(self._ahead, item)
        self._futures.insert(self._ahead, future)
        self._ahead += 1
        _end(self._resting)
        return future

    def submit_all(self, items: Sequence[Item]) -> asyncio.Future[list[Result | BaseException]]:
        """Queue items that come together; the future resolves to their results, in order.

        An exception stands in the place of the result that it is: `Overloaded`, too.
        """
        assert items, "who has nothing to submit waits for nothing"
        if self._flight is None:
            self._loop = asyncio.get_running_loop()
            self._flight = self._loop.create_task(self._fly())
        party: _Party[Result] = _Party(len(items), self._loop)
        if len(self._items) + len(items) > self._queue_items_max:
            party.future.set_result([Overloaded("a queue is full")] * len(items))
            return party.future
        self._items += items
        self._futures += [party] * len(items)
        if len(items) >= limits.PARTY_ITEMS_MIN:
            self._has_gathered = True
            _end(self._resting)
        return party.future

    def waiting(self) -> int:
        """Say how many items are in no flush yet."""
        return len(self._items)

    async def drain(self) -> None:
        """Wait until nothing is queued or under way, and everybody has his result."""
        while self._flight or self._answered:
            if self._flight:
                await asyncio.wait({self._flight})
            else:
                await asyncio.sleep(0)

    async def _fly(self) -> None:
        try:
            while self._items:
                items, futures = self._items[: self._items_max], self._futures[: self._items_max]
                del self._items[: self._items_max], self._futures[: self._items_max]
                ahead = min(self._ahead, len(items))
                self._ahead -= ahead
                self._has_gathered = self._ahead > 0 or len(self._items) >= limits.PARTY_ITEMS_MIN
                if self._observe is not None:
                    self._observe(len(items))
                await self._deliver(items, futures, ahead)
                if self._rest is not None and len(items) >= limits.REST_ITEMS_MIN:
                    await self._rested(
                        min(len(items) * self._rest.item_seconds, self._rest.seconds_max)
                    )
        finally:
            # At once and not in a callback: whoever was just answered may submit before that runs,
            # and would rely on a flight that has ended.
            self._flight = None

    async def _rested(self, seconds: float) -> None:
        """Rest for so long, but only until many come together, who may be there already."""
        if self._has_gathered:
            return
        self._resting = resting = self._loop.create_future()
        alarm = self._loop.call_later(seconds, _end, resting)
        try:
            await resting
        finally:
            alarm.cancel()
            self._resting = None

    async def _deliver(
        self,
        items: list[Item],
        futures: list[asyncio.Future[Result] | _Party[Result]],
        ahead: int,
    ) -> None:
        results: Sequence[Result | BaseException]
        try:
            results = await self._flush(items)
            assert len(results) == len(items), "each item has its own result"
        except asyncio.CancelledError:
            for future in futures:
                future.cancel()
            raise
        except FloodgateError as error:
            results = [error] * len(items)
        except Exception as error:  # noqa: BLE001 - whatever it was, it is answered to somebody
            if len(items) > 1:
                middle = len(items) // 2
                await self._deliver(items[:middle], futures[:middle], min(ahead, middle))
                await self._deliver(items[middle:], futures[middle:], max(0, ahead - middle))
                return
            results = [error]
        is_handing_out = bool(self._answered)
        self._handed_out_max = (
            limits.HANDED_OUT_BESIDE_FIRST_MAX if ahead else limits.HANDED_OUT_ITEMS_MAX
        )
        told = _told(futures, results)
        self._answered.extendleft(reversed(told[:ahead]))
        self._answered.extend(told[ahead:])
        if not is_handing_out:
            self._hand_out()

    def _hand_out(self) -> None:
        """Give the next few their results, and the rest in the next turns of the loop."""
        for _ in range(min(len(self._answered), self._handed_out_max)):
            future, result = self._answered.popleft()
            if future.done():  # the waiter was cancelled; its item was carried out all the same
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
        if self._answered:
            self._loop.call_soon(self._hand_out)


def _told(
    futures: Sequence[asyncio.Future[Result] | _Party[Result]],
    results: Sequence[Result | BaseException],
) -> list[tuple[asyncio.Future[Any], Any]]:
    """Pair everybody who has all of his results now with what he is told, in their order."""
    told: list[tuple[asyncio.Future[Any], Any]] = []
    for future, result in zip(futures, results, strict=True):
        if not isinstance(future, _Party):
            told.append((future, result))
        elif (whole := future.told(result)) is not None:
            told.append((future.future, whole))
    return told


def _end(resting: asyncio.Future[None] | None) -> None:
    """End a rest that goes on."""
    if resting is not None and not resting.done():
        resting.set_result(None)
