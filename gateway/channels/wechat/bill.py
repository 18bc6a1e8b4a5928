"""WeChat Pay's daily trade bill (交易账单): details, then a summary that proves them.

Amounts are decimal yuan, the fee has five decimals, and every value stands behind a backtick.  The
columns are found by their names: SUCCESS and REFUND bills have fewer or more of them.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Final

from gateway.channels.port import BillLine, BillRefused
from gateway.domain.money import from_decimal

_BEIJING: Final = "+08:00"
_GZIP: Final = b"\x1f\x8b"
_BILL_BYTES_MAX: Final = 1 << 30
_TIME: Final = "交易时间"
_COUNT: Final = "总交易单数"
# What the summary adds up, and the column of the details that it is the sum of.
_SUMS: Final[Mapping[str, str]] = {
    "订单总金额": "订单金额",
    "申请退款总金额": "申请退款金额",
    "手续费总金额": "手续费",
}
_PAID: Final = frozenset({"SUCCESS"})


def read(body: bytes) -> Iterator[BillLine]:
    """Read a bill as downloaded, gzipped or plain; raises `BillRefused`, at the end at the latest.

    A line's fee is rounded half up to fen; the summary is compared with the exact sums.
    """
    try:
        rows = csv.reader(io.StringIO(_unpacked(body).decode("utf-8-sig")), strict=True)
        names = [_bare(cell) for cell in next(rows, [])]
        if _TIME not in names:
            raise BillRefused("the bill has no details")
        lines, sums = 0, dict.fromkeys(_SUMS, Decimal(0))
        for row in rows:
            if row and _bare(row[0]) == _COUNT:
                break
            cells = dict(zip(names, map(_bare, row), strict=True))
            lines += 1
            for total, column in _SUMS.items():
                sums[total] += Decimal(cells.get(column, "0"))
            yield _line(cells)
        else:
            raise BillRefused("the bill has no summary")
        _compare(row, next(rows, []), lines, sums)
    except (ValueError, KeyError, InvalidOperation, csv.Error, EOFError, OSError) as error:
        raise BillRefused(type(error).__name__) from error


def _unpacked(body: bytes) -> bytes:
    if not body.startswith(_GZIP):
        return body
    try:
        with gzip.open(io.BytesIO(body)) as file:
            plain = file.read(_BILL_BYTES_MAX + 1)
    except zlib.error as error:
        raise BillRefused("the archive is damaged") from error
    if len(plain) > _BILL_BYTES_MAX:
        raise BillRefused("the bill is too large")
    return plain


def _bare(cell: str) -> str:
    return cell.strip().removeprefix("`")


def _compare(
    names: Sequence[str], values: Sequence[str], lines: int, sums: Mapping[str, Decimal]
) -> None:
    claimed = dict(zip(map(_bare, names), map(_bare, values), strict=True))
    if int(claimed[_COUNT]) != lines:
        raise BillRefused("the summary counts other lines")
    for total, found in sums.items():
        if total in claimed and Decimal(claimed[total]) != found:
            raise BillRefused("the summary does not fit the lines")


def _line(cells: Mapping[str, str]) -> BillLine:
    refund_number = cells.get("商户退款单号", "")
    is_refund = refund_number not in {"", "0"} and cells["交易状态"] not in _PAID
    booked_at = datetime.fromisoformat(f"{cells[_TIME]}{_BEIJING}")
    currency = cells["货币种类"]
    column = "申请退款金额" if is_refund else "订单金额"
    amount = from_decimal(cells[column], currency)
    return BillLine(
        kind="refund" if is_refund else "payment",
        number=cells["商户订单号"],
        refund_number=refund_number if is_refund else None,
        channel_transaction=cells["微信退款单号"] if is_refund else cells["微信订单号"],
        amount=-amount if is_refund else amount,
        fee=int((Decimal(cells["手续费"]) * 100).to_integral_value(ROUND_HALF_UP)),
        currency=currency,
        booked_at=booked_at.astimezone(UTC),
    )
