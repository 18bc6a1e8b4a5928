"""The box of notices: nobody is turned away, and a flood of strangers holds up no channel."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.channels.notices import KeptNotice, NoticeBox, numbers_in
from gateway.domain import limits
from gateway.domain.errors import InDoubt, Unavailable
from gateway.domain.identity import PLATFORM, mint, uuid_of
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Row


class SlowDatabase:
    """Writes one batch after another, each when it is let; `batches` are the bodies that came."""

    def __init__(self) -> None:
        self.batches: list[Sequence[bytes]] = []
        self.turn = asyncio.Semaphore(0)
        self.is_away = False

    async def write(self, sql: str, *columns: Any, seconds: float) -> Sequence[Row]:
        assert "INSERT INTO notice" in sql
        assert seconds == limits.NOTICE_KEEP_SECONDS
        self.batches.append(columns[-1])
        await self.turn.acquire()
        if self.is_away:
            raise InDoubt("a write was not answered")
        return []

    def let(self, batches: int) -> None:
        for _ in range(batches):
            self.turn.release()

    def kept(self, body: bytes) -> int:
        return sum(list(batch).count(body) for batch in self.batches)


@pytest.fixture
def database() -> SlowDatabase:
    return SlowDatabase()


@pytest.fixture
def box(database: SlowDatabase) -> NoticeBox:
    return NoticeBox(database, Clock())  # type: ignore[arg-type]  # a fake


def keeping(box: NoticeBox, body: bytes, peer: str) -> "asyncio.Task[None]":
    notice = box.arrived("simulator", PLATFORM, {}, body)
    return asyncio.create_task(box.keep(notice, peer))


async def test_nobody_is_turned_away(box: NoticeBox, database: SlowDatabase) -> None:
    """Whatever comes at once; each waits, and each is kept once."""
    crowd = 12_000
    waiting = [keeping(box, b"%d" % number, str(number % 50)) for number in range(crowd)]
    database.let(crowd)
    await asyncio.gather(*waiting)
    bodies = [body for batch in database.batches for body in batch]
    assert len(bodies) == len(set(bodies)) == crowd
    assert max(map(len, database.batches)) <= limits.NOTICES_BATCH_ITEMS_MAX


async def test_whoever_floods_us_waits_for_himself(box: NoticeBox, database: SlowDatabase) -> None:
    flood = [keeping(box, b"stray", "192.0.2.1") for _ in range(5000)]
    await asyncio.sleep(0)
    real = keeping(box, b"real", "192.0.2.2")
    await asyncio.sleep(0)
    # What is under way, what the flood had in line before us, and ours.
    database.let(3)
    await real
    assert database.kept(b"stray") <= 3 * limits.NOTICES_BATCH_ITEMS_MAX
    database.let(5000)
    await asyncio.gather(*flood)
    assert database.kept(b"stray") == 5000


async def test_whoever_gives_up_leaves_his_room_to_the_next(
    box: NoticeBox, database: SlowDatabase
) -> None:
    crowd = [keeping(box, b"gone", "192.0.2.1") for _ in range(1000)]
    await asyncio.sleep(0)
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    database.let(1000)
    await keeping(box, b"next", "192.0.2.1")
    assert database.kept(b"next") == 1


async def test_nobody_waits_twice_for_a_database_that_is_away(
    box: NoticeBox, database: SlowDatabase
) -> None:
    """One flush finds out that it is away; the line hears so at once, and later ones try again."""
    database.is_away = True
    crowd = [keeping(box, b"early", "192.0.2.1") for _ in range(1000)]
    await asyncio.sleep(0)
    database.let(1)
    told = await asyncio.gather(*crowd, return_exceptions=True)
    assert {type(error) for error in told} == {InDoubt, Unavailable}
    assert len(database.batches) == 1
    database.is_away = False
    database.let(1)
    await keeping(box, b"late", "192.0.2.1")
    assert database.kept(b"late") == 1


async def test_strays_are_answered_at_a_pace_and_nobody_waits_for_ever(
    box: NoticeBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("gateway.channels.notices.asyncio.sleep", sleep)
    still = SimpleNamespace(time=lambda: 1000.0)  # each turn is counted from the same moment
    monkeypatch.setattr("gateway.channels.notices.asyncio.get_running_loop", lambda: still)
    most, burst = limits.STRAY_SECONDS_MAX, limits.STRAYS_PER_SECOND_MAX
    for _ in range(burst // 2):
        await box.hold_up()
    assert max(waits) <= 0, "a few wait for nothing"
    for _ in range(int(burst * (most + 2))):
        await box.hold_up()
    assert most - 0.1 < waits[-1] <= most
    assert sorted(waits[burst : 2 * burst]) == waits[burst : 2 * burst], "each after the other"


OURS = "019de368f6007af780000007e3c59e70"
OTHER = "019de368f600712f8000000738687d60"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"", []),
        (b'{"number":"%s"}' % OURS.encode(), [OURS]),
        (b"out_trade_no=%s&x=%s" % (OURS.encode(), OURS.encode()), [OURS]),
        (b"%s %s" % (OTHER.encode(), OURS.encode()), [OTHER, OURS]),
        (OURS.upper().encode(), []),
        (b"a" + OURS.encode(), []),
        (OURS.encode()[:-1], []),
        (b"f" * 32, []),
        (b"\xff\x00" + OURS.encode() + b"\xff", [OURS]),
    ],
)
def test_a_number_is_found_wherever_it_stands(body: bytes, found: list[str]) -> None:
    assert numbers_in(body) == found


def test_only_a_few_numbers_of_a_notice_are_looked_up() -> None:
    numbers = [uuid_of(mint("att", 7, 1)) for _ in range(50)]
    assert numbers_in(" ".join(numbers).encode()) == numbers[: limits.NOTICE_NUMBERS_MAX]


def test_headers_that_are_no_text_are_spelt_out(box: NoticeBox) -> None:
    notice = box.arrived("simulator", PLATFORM, {"x": "\udcff"}, b"")
    assert isinstance(notice, KeptNotice)
    assert notice.headers == {"x": "\\udcff"}
