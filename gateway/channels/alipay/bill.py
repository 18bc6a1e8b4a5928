"""Alipay's daily business bill (业务账单): a ZIP of GBK tables, proved by the sums at their feet.

Values end with a tab, lines that begin with `#` are comments; those at the end count and add up
the payments and the refunds.  The archive also holds a summary by shop, which is not read.
"""

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from gateway.channels.port import BillLine, BillRefused
from gateway.domain.money import from_decimal

_CURRENCY: Final = "CNY"
_BILL_BYTES_MAX: Final = 1 << 30
_NUMBER: Final = "支付宝交易号"
_RECEIVED: Final = "商家实收（元）"
_FOOT: Final = re.compile(r"#(交易|退款)合计：(\d+)笔，商家实收(?:退款)?共(-?[\d.]+)元")
_KINDS: Final[Mapping[str, str]] = {"交易": "payment", "退款": "refund"}


def read(body: bytes) -> Iterator[BillLine]:
    """Read the archive as downloaded; raises `BillRefused`, for wrong sums after the last line."""
    try:
        names: list[str] = []
        found = dict.fromkeys(_KINDS.values(), (0, 0))
        claimed: dict[str, tuple[int, int]] = {}
        for text in _details(body).splitlines():
            foot = _FOOT.match(text)
            if foot is not None:
                total = abs(from_decimal(foot[3], _CURRENCY))
                claimed[_KINDS[foot[1]]] = (int(foot[2]), total)
            if not text.strip() or text.startswith("#"):
                continue
            row = [cell.strip() for cell in next(csv.reader([text], strict=True))]
            if not names:
                names = row
                continue
            cells = dict(zip(names, row, strict=True))
            line = _line(cells)
            count, received = found[line.kind]
            received += abs(from_decimal(cells[_RECEIVED], _CURRENCY))
            found[line.kind] = (count + 1, received)
            yield line
    except (ValueError, KeyError, csv.Error, zipfile.BadZipFile, zlib.error, OSError) as error:
        raise BillRefused(type(error).__name__) from error
    if claimed != found:
        raise BillRefused("the sums do not fit the lines")


def _details(body: bytes) -> str:
    """Find the table of single transactions in the archive."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        for entry in archive.infolist():
            if entry.file_size > _BILL_BYTES_MAX:
                raise BillRefused("the bill is too large")
            text = archive.read(entry).decode("gbk")
            if any(line.startswith(_NUMBER) for line in text.splitlines()):
                return text
    raise BillRefused("the bill has no details")


def _line(cells: Mapping[str, str]) -> BillLine:
    kind = _KINDS[cells["业务类型"]]
    amount = abs(from_decimal(cells["订单金额（元）"], _CURRENCY))
    refund_number = cells["退款批次号/请求号"] if kind == "refund" else None
    transaction = cells[_NUMBER]
    return BillLine(
        kind=kind,
        number=cells["商户订单号"],
        refund_number=refund_number,
        channel_transaction=transaction if kind == "payment" else f"{transaction}/{refund_number}",
        amount=amount if kind == "payment" else -amount,
        fee=-from_decimal(cells["服务费（元）"], _CURRENCY),
        currency=_CURRENCY,
        booked_at=datetime.fromisoformat(f"{cells['完成时间']}+08:00").astimezone(UTC),
    )
