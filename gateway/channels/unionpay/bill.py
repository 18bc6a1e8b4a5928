"""UnionPay's daily file of details (ZM) in its ZIP: lines of fixed width, one transaction each.

The widths are those of the file interface's specification, part 3, section 6.1; between two fields
stands one blank.  There is no summary: the archive's own checksum proves that nothing is missing.
"""

import io
import itertools
import re
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Final

from gateway.channels.port import BillLine, BillRefused
from gateway.channels.unionpay.messages import CONSUME, REFUND, VOID

_BILL_BYTES_MAX: Final = 1 << 30
_FILE: Final = re.compile(r"(?:.*/)?INN(\d\d)(\d\d)(\d\d)88ZM_\w+")
# Names and widths of the fields up to the last one that is used; a line is longer than these.
_FIELDS: Final = (
    *(("code", 3), ("agent", 11), ("sender", 11), ("trace", 6), ("sent", 10), ("account", 19)),
    *(("amount", 12), ("category", 4), ("terminal", 2), ("query_id", 21), ("old_way", 2)),
    *(("order", 32), ("card", 2), ("original_trace", 6), ("original_sent", 10), ("fee", 13)),
    *(("settled", 13), ("way", 4), ("group", 15), ("type", 2), ("subtype", 2), ("business", 6)),
    *(("account_type", 2), ("bill_type", 4), ("bill_number", 32), ("interaction", 1)),
    *(("original_query_id", 21), ("merchant", 15)),
)
_ENDS: Final = tuple(itertools.accumulate(width + 1 for _, width in _FIELDS))
_PLACES: Final = {
    name: slice(end - width - 1, end - 1) for (name, width), end in zip(_FIELDS, _ENDS, strict=True)
}
_LINE_CHARS_MIN: Final = _ENDS[-1] - 1
_KINDS: Final = {CONSUME: "payment", REFUND: "refund", VOID: "refund"}


def read(body: bytes) -> Iterator[BillLine]:
    """Read the archive as downloaded; raises `BillRefused` for what is damaged or not understood.

    A line that tells neither of a payment nor of a refund or void is left out.
    """
    try:
        day, text = _details(body)
        for line in text.splitlines():
            if not line.strip():
                continue
            if len(line) < _LINE_CHARS_MIN:
                raise BillRefused("a line is cut short")
            cells = {name: line[place].strip() for name, place in _PLACES.items()}
            if cells["type"] in _KINDS:
                yield _line(cells, day)
    except (ValueError, KeyError, zipfile.BadZipFile, zlib.error, OSError) as error:
        raise BillRefused(type(error).__name__) from error


def _details(body: bytes) -> tuple[date, str]:
    """Find the file of details in the archive; its name tells the day that is settled."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        for entry in archive.infolist():
            found = _FILE.fullmatch(entry.filename)
            if found is None:
                continue
            if entry.file_size > _BILL_BYTES_MAX:
                raise BillRefused("the bill is too large")
            day = date(2000 + int(found[1]), int(found[2]), int(found[3]))
            return day, archive.read(entry).decode("latin-1")
    raise BillRefused("the bill has no details")


def _line(cells: dict[str, str], day: date) -> BillLine:
    kind = _KINDS[cells["type"]]
    amount = int(cells["amount"])
    is_refund = kind == "refund"
    return BillLine(
        kind=kind,
        # A refund is known there by its own number; the query id of what it gives back leads on.
        number=cells["original_query_id"] if is_refund else cells["order"],
        refund_number=cells["order"] if is_refund else None,
        channel_transaction=cells["query_id"],
        amount=-amount if is_refund else amount,
        fee=_fee(cells["fee"]),
        currency="CNY",
        booked_at=_booked_at(cells["sent"], day),
    )


def _fee(text: str) -> int:
    """Read a fee: D is what we owe, C what comes back to us."""
    if text[:1] not in {"C", "D"}:
        raise ValueError("a fee without its side")
    fee = int(text[1:])
    return fee if text.startswith("D") else -fee


def _booked_at(text: str, day: date) -> datetime:
    """Read a time without its year (MMDDhhmmss, Beijing): it lies near the day that is settled."""
    year = day.year - 1 if int(text[:2]) > day.month else day.year
    moment = f"{year}-{text[:2]}-{text[2:4]}T{text[4:6]}:{text[6:8]}:{text[8:]}+08:00"
    return datetime.fromisoformat(moment).astimezone(UTC)
