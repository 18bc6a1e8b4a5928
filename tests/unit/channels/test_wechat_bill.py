"""WeChat Pay's trade bill: names of columns lead, sums prove, and no fen is rounded away."""

import gzip

import pytest

from gateway.channels.port import BillRefused
from gateway.channels.wechat.bill import read
from tests.unit.nouns import bill_lines

HEAD = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,"
    "货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,"
    "商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
PAID = (
    "`2026-05-01 00:00:01,`wx88,`1900007291,`0,`,`4200001,`aaaa,`o1,`NATIVE,`SUCCESS,`CMB,"
    "`CNY,`99.00,`1.00,`0,`0,`0.00,`0.00,`,`,`Two tickets,`,`0.05940,`0.60%,`100.00,`0.00,`"
)
BACK = (
    "`2026-05-01 23:59:59,`wx88,`1900007291,`0,`,`4200001,`aaaa,`o1,`NATIVE,`REFUND,`CMB,"
    "`CNY,`0.00,`0.00,`5000001,`bbbb,`9.99,`0.00,`ORIGINAL,`PROCESSING,`Two tickets,`,"
    "`-0.05994,`0.60%,`0.00,`9.99,`"
)
TOTALS = (
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
)
SUMMARY = "`2,`99.00,`9.99,`0.00,`-0.00054,`100.00,`9.99"
BILL = f"{HEAD}\r\n{PAID}\r\n{BACK}\r\n{TOTALS}\r\n{SUMMARY}\r\n"

LINES = bill_lines(("4200001", 6), ("5000001", -6))


def test_a_bill_is_read_plain_and_packed() -> None:
    assert list(read(BILL.encode())) == LINES
    assert list(read(gzip.compress(b"\xef\xbb\xbf" + BILL.encode()))) == LINES


def test_a_bill_of_payments_only_has_fewer_columns() -> None:
    drop = {14, 15, 16, 17, 18, 19, 25}
    rows = [row.split(",") for row in (HEAD, PAID)]
    short = [",".join(cell for n, cell in enumerate(row) if n not in drop) for row in rows]
    totals = "总交易单数,应结订单总金额,手续费总金额,订单总金额"
    bill = "\n".join([*short, totals, "`1,`99.00,`0.05940,`100.00"])
    assert list(read(bill.encode())) == LINES[:1]


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (SUMMARY, SUMMARY.replace("`2", "`3", 1)),
        (SUMMARY, SUMMARY.replace("100.00", "100.01")),
        (SUMMARY, SUMMARY.replace("-0.00054", "-0.00053")),
        (f"\r\n{TOTALS}\r\n{SUMMARY}", ""),
        (f"{SUMMARY}\r\n", ""),
        ("`100.00,`0.00", "`100.001,`0.00"),
        ("`100.00,`0.00", "`abc,`0.00"),
        (f"{BACK}\r\n", ""),
        ("`2026-05-01 00", "`2026-13-01 00"),
        ("商户订单号", "商户单号"),
        (HEAD, "Not a bill"),
    ],
)
def test_what_is_cut_off_or_altered_is_refused(was: str, becomes: str) -> None:
    assert was in BILL
    with pytest.raises(BillRefused):
        list(read(BILL.replace(was, becomes, 1).encode()))


def test_a_damaged_archive_is_refused() -> None:
    packed = gzip.compress(BILL.encode())
    for damaged in (packed[:-9], packed[:40] + b"\xff\xff" + packed[42:]):
        with pytest.raises(BillRefused):
            list(read(damaged))
