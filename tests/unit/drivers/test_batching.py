"""The batcher: each gets its own answer, floods share a flush, and poison harms nobody else."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import TypeVar

import pytest

from gateway.domain import limits
from gateway.domain.errors import Overloaded, Unavailable
from gateway.domain.room import SEAT, Room, Seat
from gateway.drivers.batching import Batcher, Rest

Item = TypeVar("Item")

POISON = "poison"


class Office:
    """Flushes by writing in capitals; every flush waits at the door while it is closed."""

    def __init__(self, *, opened: bool = True) -> None:
        self.batches: list[list[str]] = []
        self.inside = 0
        self.inside_max = 0
        self.door = asyncio.Event()
        if opened:
            self.door.set()

    async def flush(self, items: Sequence[str]) -> Sequence[str | BaseException]:
        self.batches.append(list(items))
        self.inside += 1
        self.inside_max = max(self.inside_max, self.inside)
        await self.door.wait()
        self.inside -= 1
        if POISON in items:
            raise ValueError("somebody in here is poison")
        return [item.upper() for item in items]


def submit_first(batcher: Batcher[Item, Item], item: Item) -> asyncio.Future[Item]:
    """Submit as somebody does whose merchant holds nearly nothing of a full house."""
    room = Room()
    for _ in range(10):
        room.enter(1, weight=1, now=0.0)
    token = SEAT.set(Seat(room, 2, weight=1, now=0.0))
    try:
        return batcher.submit(item)
    finally:
        SEAT.reset(token)


async def turn() -> None:
    """Let every task that can run do so once."""
    await asyncio.sleep(0)


async def test_everyone_gets_their_own_result_in_order() -> None:
    office = Office()
    batcher = Batcher(office.flush, items_max=10, queue_items_max=10)
    assert await asyncio.gather(*(batcher.submit(item) for item in "abc")) == ["A", "B", "C"]
    assert office.batches == [["a", "b", "c"]]


async def test_what_gathers_during_a_flush_is_the_next_batch() -> None:
    office = Office(opened=False)
    batcher = Batcher(office.flush, items_max=10, queue_items_max=10)
    first = batcher.submit("a")
    await turn()
    later = [batcher.submit(item) for item in "bcd"]
    await turn()
    assert office.batches == [["a"]]
    office.door.set()
    assert await asyncio.gather(first, *later) == ["A", "B", "C", "D"]
    assert office.batches == [["a"], ["b", "c", "d"]]


async def test_a_batch_holds_at_most_so_many() -> None:
    office = Office()
    sizes: list[int] = []
    batcher = Batcher(office.flush, items_max=2, queue_items_max=10, observe=sizes.append)
    assert await asyncio.gather(*(batcher.submit(item) for item in "abcde")) == list("ABCDE")
    assert office.batches == [["a", "b"], ["c", "d"], ["e"]]
    assert sizes == [2, 2, 1]


async def test_one_batch_is_under_way_at_a_time() -> None:
    office = Office(opened=False)
    batcher = Batcher(office.flush, items_max=1, queue_items_max=10)
    submitted = [batcher.submit(item) for item in "abcde"]
    await turn()
    office.door.set()
    assert await asyncio.gather(*submitted) == list("ABCDE")
    assert office.inside_max == 1


async def test_more_gather_after_a_flush_that_many_shared() -> None:
    office, many = Office(), limits.REST_ITEMS_MIN
    batcher = Batcher(office.flush, items_max=many, queue_items_max=100, rest=Rest(1.0, 0.01))
    submitted = [batcher.submit(f"{number}") for number in range(many + 1)]
    await asyncio.gather(*submitted[:many])
    assert len(office.batches) == 1
    await asyncio.gather(submitted[-1], batcher.submit("late"))
    assert office.batches[1:] == [[f"{many}", "late"]]


@pytest.mark.parametrize("resting", [True, False], ids=["in the rest", "during the flush"])
async def test_many_that_come_together_end_the_rest(*, resting: bool) -> None:
    office, many = Office(opened=resting), limits.REST_ITEMS_MIN
    together = limits.PARTY_ITEMS_MIN
    batcher = Batcher(office.flush, items_max=100, queue_items_max=200, rest=Rest(3600, 3600))
    first = asyncio.gather(*(batcher.submit(f"{number}") for number in range(many)))
    await (first if resting else turn())
    lone = batcher.submit("lone")
    party = batcher.submit_all(["together"] * together)
    office.door.set()
    assert await party == ["TOGETHER"] * together
    assert (await lone, len(await first)) == ("LONE", many)
    assert [len(batch) for batch in office.batches] == [many, 1 + together]


async def test_those_who_come_together_are_told_together_and_in_order() -> None:
    office = Office(opened=False)
    batcher = Batcher(office.flush, items_max=3, queue_items_max=20)
    alone = batcher.submit("a")
    party = batcher.submit_all(["b", POISON, "d", "e", "f"])
    other = batcher.submit_all(["g"])
    last = batcher.submit("h")
    left = batcher.submit_all(["i", "j"])
    left.cancel()
    office.door.set()
    b, poisoned, *others = await party
    assert [b, *others] == ["B", "D", "E", "F"]
    assert isinstance(poisoned, ValueError)
    assert [await alone, await other, await last] == ["A", ["G"], "H"]
    await batcher.drain()
    assert left.cancelled()
    assert office.batches[-2:] == [["g", "h", "i"], ["j"]], "who stops waiting is served, too"


async def test_those_who_find_no_room_together_have_begun_nothing() -> None:
    office = Office()
    batcher = Batcher(office.flush, items_max=5, queue_items_max=2)
    waiting = batcher.submit("a")
    refused = await batcher.submit_all(["b", "c"])
    assert [type(each) for each in refused] == [Overloaded] * 2
    assert (await waiting, office.batches) == ("A", [["a"]])


async def test_after_a_few_nobody_waits_for_more() -> None:
    few = limits.REST_ITEMS_MIN - 1
    batcher = Batcher(Office().flush, items_max=few, queue_items_max=100, rest=Rest(3600, 3600))
    await asyncio.gather(*(batcher.submit(f"{number}") for number in range(3 * few)))
    await batcher.drain()


async def test_a_poisoned_item_fails_alone() -> None:
    office = Office()
    batcher = Batcher(office.flush, items_max=10, queue_items_max=10)
    items = ["a", "b", POISON, "d", "e"]
    results = await asyncio.gather(
        *(batcher.submit(item) for item in items), return_exceptions=True
    )
    assert isinstance(results.pop(2), ValueError)
    assert results == ["A", "B", "D", "E"]
    assert office.batches[-1] != items, "the batch was halved"


async def test_who_was_just_answered_may_submit_at_once() -> None:
    office = Office()
    batcher = Batcher(office.flush, items_max=10, queue_items_max=10)
    assert [await batcher.submit(item) for item in "abc"] == ["A", "B", "C"]
    assert office.batches == [["a"], ["b"], ["c"]]


async def test_the_batcher_lives_on_after_poison() -> None:
    office = Office()
    batcher = Batcher(office.flush, items_max=10, queue_items_max=10)
    with pytest.raises(ValueError, match="poison"):
        await batcher.submit(POISON)
    assert await batcher.submit("a") == "A"


async def test_an_error_in_the_place_of_a_result_is_that_items_alone() -> None:
    refusal = KeyError("b")

    async def flush(items: Sequence[str]) -> Sequence[str | BaseException]:
        return [refusal if item == "b" else item for item in items]

    batcher = Batcher(flush, items_max=10, queue_items_max=10)
    results = await asyncio.gather(
        *(batcher.submit(item) for item in "abc"), return_exceptions=True
    )
    assert results == ["a", refusal, "c"]


async def test_an_error_of_ours_is_everyones_answer_and_is_not_tried_again() -> None:
    away = Unavailable("PostgreSQL is away")
    asked: list[Sequence[str]] = []

    async def flush(items: Sequence[str]) -> Sequence[str | BaseException]:
        asked.append(items)
        raise away

    batcher = Batcher(flush, items_max=10, queue_items_max=10)
    results = await asyncio.gather(
        *(batcher.submit(item) for item in "abc"), return_exceptions=True
    )
    assert results == [away] * 3
    assert asked == [["a", "b", "c"]]


async def test_a_full_queue_refuses_and_has_begun_nothing() -> None:
    office = Office(opened=False)
    batcher = Batcher(office.flush, items_max=1, queue_items_max=2)
    first = batcher.submit("a")
    await turn()
    waiting = [batcher.submit(item) for item in "bc"]
    with pytest.raises(Overloaded):
        batcher.submit("d")
    office.door.set()
    assert await asyncio.gather(first, *waiting) == ["A", "B", "C"]
    assert office.batches == [["a"], ["b"], ["c"]]
    assert await batcher.submit("e") == "E"


@pytest.mark.parametrize("under_way", [True, False], ids=["under way", "queued"])
async def test_who_stops_waiting_is_served_all_the_same(*, under_way: bool) -> None:
    office = Office(opened=False)
    batcher = Batcher(office.flush, items_max=10, queue_items_max=10)
    impatient = batcher.submit("a")
    patient = batcher.submit("b")
    if under_way:
        await turn()
    impatient.cancel()
    office.door.set()
    assert await patient == "B"
    assert impatient.cancelled()
    assert office.batches == [["a", "b"]]


async def test_drain_waits_for_all_that_was_submitted() -> None:
    office = Office(opened=False)
    batcher = Batcher(office.flush, items_max=1, queue_items_max=10)
    submitted = [batcher.submit(item) for item in "abc"]
    draining = asyncio.ensure_future(batcher.drain())
    await turn()
    assert not draining.done()
    office.door.set()
    await draining
    assert [future.result() for future in submitted] == ["A", "B", "C"]


@pytest.mark.parametrize("one_goes_first", [False, True])
async def test_results_are_handed_out_a_few_in_each_turn_of_the_loop(
    *, one_goes_first: bool
) -> None:
    few, flown = limits.HANDED_OUT_ITEMS_MAX, asyncio.Event()

    async def flush(items: Sequence[int]) -> Sequence[int]:
        flown.set()
        return items

    batcher = Batcher(flush, items_max=10 * few, queue_items_max=10 * few)
    submitted = [batcher.submit(number) for number in range(3 * few)]
    if one_goes_first:
        submit_first(batcher, -1)
        few = limits.HANDED_OUT_BESIDE_FIRST_MAX
    await flown.wait()
    answered = []
    while not submitted[-1].done():
        answered.append(sum(future.done() for future in submitted))
        await turn()
    # In order, and the last of them only when the loop has turned for the others.
    assert max(b - a for a, b in itertools.pairwise([*answered, len(submitted)])) <= few
    assert await asyncio.gather(*submitted) == list(range(len(submitted)))


async def test_what_flies_meanwhile_is_answered_after_those_before_it() -> None:
    few = limits.HANDED_OUT_ITEMS_MAX
    batcher = Batcher(Office().flush, items_max=3 * few, queue_items_max=10 * few)
    heard: list[int] = []
    submitted = [batcher.submit(f"{number}") for number in range(7 * few)]
    for number, future in enumerate(submitted):
        future.add_done_callback(lambda _, number=number: heard.append(number))
    await batcher.drain()
    await turn()
    assert heard == list(range(7 * few))


async def test_who_goes_first_is_answered_before_all_others() -> None:
    few, office = limits.HANDED_OUT_ITEMS_MAX, Office(opened=False)
    batcher = Batcher(office.flush, items_max=10 * few, queue_items_max=10 * few)
    crowd = [batcher.submit(f"{number}") for number in range(2 * few)]
    modest = [submit_first(batcher, item) for item in "abc"]
    heard: list[str] = []
    for future in (*crowd, *modest):
        future.add_done_callback(lambda done: heard.append(done.result()))
    office.door.set()
    await batcher.drain()
    await turn()
    assert heard == [*"ABC", *(f"{number}" for number in range(2 * few))]


async def test_who_goes_first_leaves_with_the_next_flush() -> None:
    office = Office(opened=False)
    batcher = Batcher(office.flush, items_max=3, queue_items_max=100)
    batcher.submit("alone")
    await turn()
    for item in "abcde":
        batcher.submit(item)
    for item in "1234":
        submit_first(batcher, item)
    office.door.set()
    await batcher.drain()
    assert office.batches == [["alone"], [*"123"], [*"4ab"], [*"cde"]]


async def test_who_goes_first_ends_a_rest() -> None:
    office, many = Office(), limits.REST_ITEMS_MIN
    batcher = Batcher(office.flush, items_max=many, queue_items_max=100, rest=Rest(3600, 3600))
    await asyncio.gather(*(batcher.submit(f"{number}") for number in range(many)))
    waits = batcher.submit("waits")
    assert await submit_first(batcher, "first") == "FIRST"
    assert await waits == "WAITS"
    assert office.batches[1] == ["first", "waits"]


async def test_a_queue_does_not_rest_while_many_wait_that_found_no_place() -> None:
    many = limits.PARTY_ITEMS_MIN
    batcher = Batcher(Office().flush, items_max=many, queue_items_max=100, rest=Rest(3600, 3600))
    submitted = [batcher.submit(f"{number}") for number in range(2 * many)]
    assert len(await asyncio.gather(*submitted)) == 2 * many


@pytest.mark.parametrize("poisoned", range(5))
async def test_who_goes_first_and_is_poison_harms_nobody_else(poisoned: int) -> None:
    batcher = Batcher(Office(opened=True).flush, items_max=10, queue_items_max=10)
    items = [POISON if number == poisoned else f"x{number}" for number in range(5)]
    submitted = [
        submit_first(batcher, item) if number < 2 else batcher.submit(item)
        for number, item in enumerate(items)
    ]
    results = await asyncio.gather(*submitted, return_exceptions=True)
    assert isinstance(results.pop(poisoned), ValueError)
    assert results == [item.upper() for item in items if item != POISON]


async def test_drain_of_an_idle_batcher_returns() -> None:
    await Batcher(Office().flush, items_max=1, queue_items_max=1).drain()
