"""The daily bill of the simulated acquirer as CSV: how it is written there and read here.

Details under their header names (minor units, what goes back is negative), then a second
header and one summary row per currency, which proves that nothing was cut off or altered.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from gateway.channels.port import BillLine, BillRefused

_DETAILS: Final = (
    "booked_at",
    "kind",
    "number",
    "refund_number",
    "transaction",
    "amount",
    "fee",
    "currency",
)
_SUMMARY: Final = ("summary", "lines", "total_amount", "total_fee")


class _Totals:
    """What the summary says of each currency: number of lines, sum of amounts, sum of fees."""

    def __init__(self) -> None:
        self.by_currency: dict[str, tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))

    def add(self, line: BillLine) -> None:
        lines, amount, fee = self.by_currency[line.currency]
        self.by_currency[line.currency] = (lines + 1, amount + line.amount, fee + line.fee)


def write(lines: Iterable[BillLine]) -> bytes:
    """Write one day's bill."""
    file = io.StringIO()
    sheet = csv.writer(file)
    totals = _Totals()
    sheet.writerow(_DETAILS)
    for line in lines:
        totals.add(line)
        sheet.writerow(
            (
                line.booked_at.isoformat(),
                line.kind,
                line.number,
                line.refund_number or "",
                line.channel_transaction,
                line.amount,
                line.fee,
                line.currency,
            )
        )
    sheet.writerow(_SUMMARY)
    sheet.writerows((currency, *total) for currency, total in sorted(totals.by_currency.items()))
    return file.getvalue().encode()


def read(body: bytes) -> Iterator[BillLine]:
    """Read one day's bill; raises `BillRefused`, for a wrong summary only after the last line."""
    try:
        rows = csv.reader(io.StringIO(body.decode()), strict=True)
        names, totals = next(rows, []), _Totals()
        for row in rows:
            if row[:1] == ["summary"]:
                break
            line = _line(dict(zip(names, row, strict=True)))
            totals.add(line)
            yield line
        else:
            raise BillRefused("the bill has no summary")
        claimed = {currency: (int(a), int(b), int(c)) for currency, a, b, c in rows}
    except (ValueError, KeyError, csv.Error) as error:
        raise BillRefused(type(error).__name__) from error
    if claimed != totals.by_currency:
        raise BillRefused("the summary does not fit the lines")


def _line(cells: dict[str, str]) -> BillLine:
    booked_at = datetime.fromisoformat(cells["booked_at"])
    if booked_at.tzinfo is None:
        raise ValueError("a time without its zone")
    return BillLine(
        kind=cells["kind"],
        number=cells["number"],
        refund_number=cells["refund_number"] or None,
        channel_transaction=cells["transaction"],
        amount=int(cells["amount"]),
        fee=int(cells["fee"]),
        currency=cells["currency"],
        booked_at=booked_at,
    )
