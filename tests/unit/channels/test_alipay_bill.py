"""Alipay's business bill: found in its archive, read by its columns' names, proved below."""

import io
import zipfile

import pytest

from gateway.channels.alipay.bill import read
from gateway.channels.port import BillRefused
from tests.unit.nouns import bill_lines

NAMES = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,"
    "订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,"
    "券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)
PAID = (
    "20260501001\t,aaaa\t,交易\t,Two tickets\t,2026-05-01 00:00:00\t,2026-05-01 00:00:01\t,,,,,"
    "b***@x,100.00,99.00,0.00,0.00,1.00,0.00,0.00,,0.00,0.00,,-0.60,0.00,"
)
BACK = (
    "20260501001\t,aaaa\t,退款\t,Two tickets\t,2026-05-01 23:59:58\t,2026-05-01 23:59:59\t,,,,,"
    "b***@x,-9.99,-9.99,0.00,0.00,0.00,0.00,0.00,,0.00,0.00,bbbb\t,0.05,0.00,"
)
FEET = (
    "#交易合计：1笔，商家实收共99.00元，商家优惠共0.00元\n"
    "#退款合计：1笔，商家实收退款共-9.99元，商家优惠退款共0.00元\n"
)
TEXT = f"#支付宝业务明细查询\n#---业务明细列表---\n{NAMES}\n{PAID}\n{BACK}\n#---结束---\n{FEET}"
LINES = bill_lines(("20260501001", 60), ("20260501001/bbbb", -5))


def archive(details: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("summary.csv", "#汇总\n门店编号,门店名称\n".encode("gbk"))
        packed.writestr("details.csv", details.encode("gbk"))
    return file.getvalue()


def test_a_bill_is_found_and_read() -> None:
    assert list(read(archive(TEXT))) == LINES


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("1笔，商家实收共", "2笔，商家实收共"),
        ("共99.00元", "共99.01元"),
        (FEET, ""),
        (f"{BACK}\n", ""),
        ("100.00,99.00", "100.001,99.00"),
        ("100.00,99.00", "x,99.00"),
        ("业务类型", "类型"),
        ("交易\t", "转账\t"),
        ("支付宝交易号", "交易号"),
    ],
)
def test_what_is_cut_off_or_altered_is_refused(was: str, becomes: str) -> None:
    assert was in TEXT
    with pytest.raises(BillRefused):
        list(read(archive(TEXT.replace(was, becomes, 1))))


def test_a_damaged_archive_is_refused() -> None:
    packed = archive(TEXT)
    for damaged in (b"", packed[:-30], packed[:60] + b"\xff\xff\xff" + packed[63:]):
        with pytest.raises(BillRefused):
            list(read(damaged))
