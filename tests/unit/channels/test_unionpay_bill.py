"""UnionPay's daily file: fixed widths, the year from its name, nothing read from a cut line."""

import io
import zipfile
from datetime import UTC, datetime

import pytest

from gateway.channels.port import BillLine, BillRefused
from gateway.channels.unionpay.bill import read

WIDTHS = (
    *(3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2, 2, 6, 2, 4, 32, 1, 21),
    *(15, 1, 15, 32, 13, 13, 8, 32, 13, 13, 12, 2, 1, 131),
)
PLACES = {"sent": 4, "amount": 6, "query_id": 9, "order": 11, "fee": 15, "type": 19, "original": 26}
FILE = "INN26010188ZM_777290058110048"


def line(**cells: str) -> str:
    texts = {PLACES[name]: text for name, text in cells.items()}
    return " ".join(f"{texts.get(n, ''):<{width}}" for n, width in enumerate(WIDTHS))


PAID = line(
    sent="1231230001",
    amount="000000010000",
    query_id="q1",
    order="a" * 32,
    fee="D00000000060",
    type="01",
)
BACK = line(
    sent="0101120000",
    amount="000000000999",
    query_id="q2",
    order="b" * 32,
    fee="C00000000006",
    type="04",
    original="q1",
)
OTHER = line(sent="0101120000", amount="000000000999", fee="C00000000000", type="99")


def archive(text: str, name: str = FILE) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("INN26010188ZME_777290058110048", "")
        packed.writestr(name, text.encode("latin-1"))
    return file.getvalue()


def test_a_file_is_read_by_its_widths() -> None:
    assert list(read(archive(f"{PAID}\r\n{BACK}\r\n{OTHER}\r\n"))) == [
        BillLine(
            kind="payment",
            number="a" * 32,
            refund_number=None,
            channel_transaction="q1",
            amount=10_000,
            fee=60,
            currency="CNY",
            booked_at=datetime(2025, 12, 31, 15, 0, 1, tzinfo=UTC),
        ),
        BillLine(
            kind="refund",
            number="q1",
            refund_number="b" * 32,
            channel_transaction="q2",
            amount=-999,
            fee=-6,
            currency="CNY",
            booked_at=datetime(2026, 1, 1, 4, 0, tzinfo=UTC),
        ),
    ]


@pytest.mark.parametrize(
    "text",
    [
        PAID[:200],
        PAID.replace("D00000000060", "00000000060 "),
        PAID.replace("000000010000", "0000000100.0"),
        PAID.replace("1231230001", "1331230001"),
    ],
)
def test_what_is_cut_or_not_understood_is_refused(text: str) -> None:
    with pytest.raises(BillRefused):
        list(read(archive(text)))


def test_a_damaged_archive_and_one_without_details_are_refused() -> None:
    packed = archive(PAID * 3)
    for damaged in (b"", packed[:-30], archive(PAID, "summary")):
        with pytest.raises(BillRefused):
            list(read(damaged))
