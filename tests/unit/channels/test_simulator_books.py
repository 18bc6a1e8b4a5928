"""The simulator's books, journal, bill and scripts, without its server."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.port import BillRefused
from gateway.channels.simulator import bill, scripts
from gateway.channels.simulator.books import Books
from gateway.channels.simulator.entries import Booking, Entry, Payment, Status
from gateway.channels.simulator.journal import Journal
from tests.fakes.disk import full_disk

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def payment(number: str, amount: int = 10_000, currency: str = "CNY") -> Payment:
    return Payment(
        number=number,
        amount=amount,
        currency=currency,
        script="tok_ok",
        capture=True,
        notify_url="http://127.0.0.1:1/",
        status=Status.PENDING,
    )


def paid(books: Books, number: str, amount: int = 10_000, currency: str = "CNY") -> Payment:
    asked = payment(number, amount, currency)
    return books.record(asked.approved(books.identify(number), NOON))


class Turn:
    """A turn of a loop: what is to be called in its end."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def soon(self, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def end(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@contextmanager
def kept(folder: Path, turn: Turn | None = None) -> Iterator[Books]:
    with closing(Journal(folder, (turn or Turn()).soon)) as journal:
        yield Books(7, journal)


def lines_of(folder: Path) -> list[bytes]:
    return (folder / "simulator.jsonl").read_bytes().splitlines()


def all_of(books: Books) -> list[Booking]:
    return list(books.since(0))


def test_an_open_payment_is_in_no_book() -> None:
    books = Books(0)
    books.record(payment("one"))
    assert all_of(books) == []


def test_money_is_booked_once_with_its_fee() -> None:
    books = Books(0)
    taken = paid(books, "one", 10_000)
    books.record(taken)
    (line,) = all_of(books)
    assert (line.sequence, line.kind, line.amount, line.fee) == (1, "payment", 10_000, 30)
    assert line.booked_at == NOON


@pytest.mark.parametrize(
    ("amount", "fee"), [(1, 0), (166, 0), (167, 1), (499, 1), (500, 2), (1999, 6)]
)
def test_the_fee_is_thirty_basis_points_rounded_half_up(amount: int, fee: int) -> None:
    books = Books(0)
    assert paid(books, "one", amount).fee == fee


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=20))
def test_refunds_in_any_parts_give_back_the_whole_fee(parts: list[int]) -> None:
    books = Books(0)
    taken = paid(books, "one", sum(parts))
    for position, part in enumerate(parts):
        known = books.payment("one")
        books.give_back(known, f"refund {position}", amount=part, now=NOON)
    lines = all_of(books)
    assert sum(line.amount for line in lines if line.kind == "refund") == taken.booked
    assert sum(line.fee for line in lines if line.kind == "refund") == taken.fee
    assert all(line.fee >= 0 for line in lines)
    assert [line.sequence for line in lines] == list(range(1, len(parts) + 2))


def test_the_same_seed_gives_the_same_transactions() -> None:
    assert Books(1).identify("a") == Books(1).identify("a")
    names = {Books(1).identify("a"), Books(2).identify("a"), Books(1).identify("a", "b")}
    assert len(names) == 3
    assert Books(7).identify("one") == "sim_5750cc76519c6024e6a34ab9"  # as in older journals


def test_everything_comes_back_from_the_journal(tmp_path: Path) -> None:
    with kept(tmp_path) as books:
        taken = paid(books, "one")
        refund = books.give_back(taken, "r1", amount=10, now=NOON)
        refused = books.refuse_refund(taken, "r2", amount=10, code="refund_rejected")
        books.close_number("never")

    with kept(tmp_path) as again:
        assert again.payment("one") == books.payment("one")
        assert again.refund("one", "r1") == refund
        assert again.refund("one", "r2") == refused
        assert again.is_closed("never")
        assert all_of(again) == all_of(books)
        paid(again, "two")
        assert [line.sequence for line in again.since(2)] == [3]


def test_nothing_is_told_before_it_is_written_and_a_turn_is_written_once(tmp_path: Path) -> None:
    turn, told = Turn(), list[object]()
    with kept(tmp_path, turn) as books:
        for number in ("one", "two"):
            books.when_kept(lambda what: told.append((what, len(lines_of(tmp_path)))), number)
            paid(books, number)
        assert (told, lines_of(tmp_path), len(turn.calls)) == ([], [], 1)
        turn.end()
        assert told == [("one", 2), ("two", 2)]
        books.when_kept(told.append, "nothing new")
        turn.end()
        assert told[2:] == ["nothing new"]


def test_what_is_told_may_have_more_come_that_waits_for_its_own_turn(tmp_path: Path) -> None:
    turn, told = Turn(), list[object]()
    with kept(tmp_path, turn) as books:
        books.when_kept(lambda number: books.when_kept(told.append, paid(books, number)), "one")
        turn.end()
        assert (told, lines_of(tmp_path)) == ([], [])
        turn.end()
        assert (len(told), len(lines_of(tmp_path))) == (1, 1)


def test_while_the_disk_is_full_nobody_hears_of_anything(tmp_path: Path) -> None:
    turn, told = Turn(), list[object]()
    with kept(tmp_path, turn) as books:
        paid(books, "one")
        turn.end()
        paid(books, "two")
        books.when_kept(told.append, "two")
        with (
            full_disk(tmp_path / "simulator.jsonl", left=10),
            pytest.raises(OSError, match="File too large"),
        ):
            turn.end()
        assert told == []
        books.when_kept(told.append, "who asks next")
        turn.end()
        assert told == ["two", "who asks next"]
    with kept(tmp_path) as again:
        assert [line.number for line in all_of(again)] == ["one", "two"]


def test_who_cannot_be_told_holds_up_nobody(tmp_path: Path) -> None:
    turn, told = Turn(), list[object]()
    with kept(tmp_path, turn) as books:
        paid(books, "one")
        books.when_kept(int, "no number")
        books.when_kept(told.append, "one")
        with pytest.raises(ValueError, match="no number"):
            turn.end()
        turn.end()
        assert told == ["one"]


def test_a_journal_that_tells_of_each_booking_is_read_alike(tmp_path: Path) -> None:
    books = Books(7)
    taken = paid(books, "one")
    entry = Entry(payment=taken, booking=taken.booking(1))
    (tmp_path / "simulator.jsonl").write_bytes(msgspec.json.encode(entry) + b"\n")
    with kept(tmp_path) as again:
        assert all_of(again) == all_of(books)
        again.record(taken)
        assert all_of(again) == all_of(books)


@given(cut=st.integers(1, 200))
def test_a_line_cut_short_never_was(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("journal")
    with kept(folder) as books:
        paid(books, "one")
        paid(books, "two")
    file = folder / "simulator.jsonl"
    file.write_bytes(file.read_bytes()[:-cut])

    with kept(folder) as again:
        assert [line.number for line in all_of(again)] == ["one"]
        assert again.payment("two") is None
        paid(again, "three")
    with kept(folder) as after:
        assert [line.number for line in all_of(after)] == ["one", "three"]


def test_books_since_a_sequence_or_a_time() -> None:
    books = Books(0)
    for number in ("one", "two"):
        paid(books, number)
    books.give_back(books.payment("one"), "r", amount=1, now=NOON + timedelta(seconds=1))
    assert [line.sequence for line in books.since(1)] == [2, 3]
    assert [line.sequence for line in books.since(10**30)] == []
    assert [line.sequence for line in books.since(NOON)] == [3]


def test_a_bill_is_read_as_it_was_written() -> None:
    books = Books(0)
    paid(books, "one", 1000)
    paid(books, "two", 2000, "USD")
    books.give_back(books.payment("one"), "r", amount=400, now=NOON + timedelta(days=1))
    first, second = (list(books.bill(NOON.date() + timedelta(days=day))) for day in (0, 1))
    assert [(line.kind, line.amount, line.fee) for line in first] == [
        ("payment", 1000, 3),
        ("payment", 2000, 6),
    ]
    assert [(line.kind, line.amount, line.fee) for line in second] == [("refund", -400, -1)]
    assert list(bill.read(bill.write(first))) == first
    assert list(bill.read(bill.write(second))) == second
    assert list(bill.read(bill.write([]))) == []
    assert bill.write(first).splitlines()[-3:] == [
        b"summary,lines,total_amount,total_fee",
        b"CNY,1,1000,3",
        b"USD,1,2000,6",
    ]


def sample_bill() -> bytes:
    books = Books(0)
    paid(books, "one", 1000)
    paid(books, "two", 2000)
    return bill.write(books.bill(date(2026, 5, 1)))


def test_a_bill_in_another_order_of_columns_reads_alike() -> None:
    rows = [row.split(b",") for row in sample_bill().splitlines()]
    turned = [row[::-1] if len(row) == 8 else row for row in rows]
    assert list(bill.read(b"\r\n".join(map(b",".join, turned)))) == list(bill.read(sample_bill()))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b",1000,", b",1001,", id="an altered amount"),
        pytest.param(b",3,", b",4,", id="an altered fee"),
        pytest.param(b",3000,", b",2000,", id="an altered sum"),
        pytest.param(b"CNY\r\nsummary", b"USD\r\nsummary", id="another currency"),
        pytest.param(b"\r\nCNY,2,3000,9", b"", id="no sum"),
        pytest.param(b"\r\nsummary,", b"\r\nstray,", id="no summary"),
        pytest.param(b",amount,", b",amounts,", id="another header"),
        pytest.param(b"+00:00", b"", id="a time without its zone"),
        pytest.param(b",1000,", b",10.00,", id="no integer"),
        pytest.param(b",CNY\r\n", b",CNY,x\r\n", id="one cell too many"),
        pytest.param(b"payment", b"\xff", id="no UTF-8"),
    ],
)
def test_a_bill_that_does_not_add_up_is_refused(old: bytes, new: bytes) -> None:
    whole = sample_bill()
    assert old in whole
    with pytest.raises(BillRefused):
        list(bill.read(whole.replace(old, new, 1)))


@given(st.integers(0, 400))
def test_a_bill_cut_short_is_refused(cut: int) -> None:
    whole = sample_bill().rstrip()
    with pytest.raises(BillRefused):
        list(bill.read(whole[: min(cut, len(whole) - 1)]))


@pytest.mark.parametrize(
    ("token", "delay_ms"),
    [("tok_latency_0", 0), ("tok_latency_250", 250), ("tok_latency_99999", 60_000)],
)
def test_a_latency_is_bounded(token: str, delay_ms: int) -> None:
    assert scripts.named(token).delay_ms == delay_ms


@pytest.mark.parametrize("token", ["", "tok_latency_", "tok_latency_-1", "tok_latency_1x", "tok_"])
def test_an_unknown_token_is_declined(token: str) -> None:
    assert scripts.named(token).decline == "unknown_token"


def test_a_close_that_returns_gives_back_what_refunds_have_left() -> None:
    books = Books(0)
    paid(books, "one", 10_000)
    books.give_back(known(books, "one"), "back", amount=4_000, now=NOON)
    closed = books.take_back(known(books, "one"), NOON)
    assert (closed.status, closed.code) == (Status.CLOSED, "returned")
    told = [(line.kind, line.amount, line.fee) for line in books.since(0)]
    assert told == [("payment", 10_000, 30), ("refund", 4_000, 12), ("reversal", 6_000, 18)]
    assert [line.amount for line in books.bill(NOON.date())] == [10_000, -4_000, -6_000]
    paid(books, "two", 10_000)
    books.give_back(known(books, "two"), "all", amount=10_000, now=NOON)
    books.take_back(known(books, "two"), NOON)
    assert [line.kind for line in books.since(3)] == ["payment", "refund"]


def known(books: Books, number: str) -> Payment:
    found = books.payment(number)
    assert found is not None
    return found
