"""The box of notices: nobody is turned away, and a flood of strangers holds up no channel."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.channels.notices import KeptNotice, NoticeBox, numbers_in
from gateway.domain import limits
from gateway.domain.identity import PLATFORM, mint, uuid_of
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Row


class SlowDatabase:
    """Writes one batch after another, each when it is let; `batches` are the bodies that came."""

    def __init__(self) -> None:
        self.batches: list[Sequence[bytes]] = []
        self.turn = asyncio.Semaphore(0)

    async def write(self, sql: str, *columns: Any) -> Sequence[Row]:
        if "INSERT INTO notice" in sql:
            self.batches.append(columns[-1])
            await self.turn.acquire()
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
def box(database: SlowDatabase, monkeypatch: pytest.MonkeyPatch) -> NoticeBox:
    monkeypatch.setattr(limits, "STRAYS_PER_SECOND_MAX", 10**9)
    return NoticeBox(database, Clock())  # type: ignore[arg-type]  # a fake


def keeping(box: NoticeBox, body: bytes, *, believed: bool) -> "asyncio.Task[None]":
    notice = box.arrived("simulator", PLATFORM, {}, body)
    return asyncio.create_task(box.keep(notice, believed=believed))


async def test_nobody_is_turned_away(box: NoticeBox, database: SlowDatabase) -> None:
    """More than any queue of ours holds; each waits, and each is kept once."""
    crowd = 3 * limits.NOTICES_WAITING_MAX
    assert crowd < limits.QUEUE_ITEMS_MAX
    waiting = [keeping(box, b"%d" % number, believed=True) for number in range(crowd)]
    database.let(crowd)
    await asyncio.gather(*waiting)
    bodies = [body for batch in database.batches for body in batch]
    assert len(bodies) == len(set(bodies)) == crowd
    assert max(map(len, database.batches)) <= limits.LEDGER_BATCH_ITEMS_MAX


async def test_a_flood_of_strangers_holds_up_no_channel(
    box: NoticeBox, database: SlowDatabase
) -> None:
    flood = [keeping(box, b"stray", believed=False) for _ in range(5000)]
    await asyncio.sleep(0)
    real = keeping(box, b"real", believed=True)
    await asyncio.sleep(0)
    # The database has had its first batch of either, and answers both.
    database.let(2)
    await real
    assert database.kept(b"stray") <= 2 * limits.STRAYS_WAITING_MAX
    for task in flood:
        task.cancel()
    database.let(5000)
    await asyncio.gather(*flood, return_exceptions=True)


async def test_of_strangers_only_a_few_are_on_their_way(
    box: NoticeBox, database: SlowDatabase
) -> None:
    flood = [keeping(box, b"stray", believed=False) for _ in range(500)]
    database.let(500)
    await asyncio.gather(*flood)
    assert database.kept(b"stray") == 500
    assert max(map(len, database.batches)) <= limits.STRAYS_WAITING_MAX


async def test_whoever_gives_up_leaves_his_room_to_the_next(
    box: NoticeBox, database: SlowDatabase
) -> None:
    crowd = [keeping(box, b"gone", believed=False) for _ in range(100)]
    await asyncio.sleep(0)
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    database.let(100)
    await keeping(box, b"next", believed=False)
    assert database.kept(b"next") == 1


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
