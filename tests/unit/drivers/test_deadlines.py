"""Deadlines on one wheel: each rings once, not early, and whoever took it down hears nothing."""

import asyncio

import pytest

from gateway.drivers.deadlines import Wheel, is_over, wheel, within


class Bell:
    def __init__(self) -> None:
        self.rung: list[float] = []
        self.heard = asyncio.Event()

    def ring(self) -> None:
        self.rung.append(asyncio.get_running_loop().time())
        self.heard.set()


async def test_bells_ring_in_order_and_never_early() -> None:
    loop, bells = asyncio.get_running_loop(), [Bell() for _ in range(4)]
    now = loop.time()
    whens = [now + seconds for seconds in (0.35, 0.15, 0.15, 0.0)]
    for bell, when in zip(bells, whens, strict=True):
        wheel().put(bell, when)
    async with asyncio.timeout(20):
        for bell in bells:
            await bell.heard.wait()
    assert [len(bell.rung) for bell in bells] == [1] * 4
    assert all(bell.rung[0] >= when for bell, when in zip(bells, whens, strict=True))
    last, *same, first = (bell.rung[0] for bell in bells)
    assert first <= min(same) <= max(same) <= last, "those of one tick in any order"


async def test_what_was_taken_down_does_not_ring() -> None:
    loop, taken, left = asyncio.get_running_loop(), Bell(), Bell()
    tick = wheel().put(taken, loop.time() + 0.05)
    wheel().put(left, loop.time() + 0.05)
    wheel().take(taken, tick)
    async with asyncio.timeout(20):
        await left.heard.wait()
    assert taken.rung == []
    wheel().take(left, tick)


async def test_a_block_that_takes_too_long_is_a_timeout_and_the_task_lives_on() -> None:
    with pytest.raises(TimeoutError), within(0.01):
        await asyncio.Event().wait()
    with within(10):
        await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_who_knows_what_to_answer_all_the_same_may_do_so() -> None:
    told = []
    with within(0.01):
        told.append(is_over())
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append(is_over())
        await asyncio.sleep(0)
    told.append(is_over())
    task = asyncio.current_task()
    assert task is not None
    assert (told, task.cancelling()) == ([False, True, False], 0)


async def test_its_own_errors_pass_through() -> None:
    with pytest.raises(KeyError), within(10):
        raise KeyError


async def test_the_innermost_block_whose_time_is_over_ends() -> None:
    outer = within(20)
    with outer:
        with pytest.raises(TimeoutError), within(0.01):
            await asyncio.Event().wait()
        await asyncio.sleep(0)


async def test_who_is_cancelled_stays_cancelled() -> None:
    async def wait() -> None:
        with within(20):
            await asyncio.Event().wait()

    for turns in (0, 1, 2):
        task = asyncio.ensure_future(wait())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_who_is_cancelled_and_late_at_once_stays_cancelled() -> None:
    block, told = within(20), []

    async def wait() -> None:
        with block:
            try:
                await asyncio.Event().wait()
            finally:
                told.append(is_over())

    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    task.cancel()
    block.ring()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == [False]


async def test_a_loop_has_its_own_wheel_whether_it_runs_beside_another_or_after_it() -> None:
    async def own() -> tuple[Wheel, asyncio.AbstractEventLoop]:
        assert wheel() is wheel()
        return wheel(), asyncio.get_running_loop()

    for _ in range(2):
        for turning, loop in (await own(), await asyncio.to_thread(asyncio.run, own())):
            assert turning.loop is loop
    assert not loop.is_running()
