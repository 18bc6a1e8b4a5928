"""The words of the Alipay open platform: methods, answers, and what each code proves."""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from gateway.channels.port import Verb
from gateway.domain.outcome import Advice, Verdict


class Flow(enum.Enum):
    """Where the payer is when he pays; the value is what the merchant says."""

    QR = "qr"
    PAGE = "page"
    WAP = "wap"
    BARCODE = "barcode"


CREATE: Final = MappingProxyType(
    {
        Flow.QR: "alipay.trade.precreate",
        Flow.PAGE: "alipay.trade.page.pay",
        Flow.WAP: "alipay.trade.wap.pay",
        Flow.BARCODE: "alipay.trade.pay",
    }
)
PRODUCT: Final = MappingProxyType({Flow.PAGE: "FAST_INSTANT_TRADE_PAY", Flow.WAP: "QUICK_WAP_WAY"})


class Told(Struct, frozen=True, kw_only=True):
    """The node of any answer; members that a method does not have stay None."""

    code: str
    sub_code: str | None = None
    out_trade_no: str | None = None
    trade_no: str | None = None
    trade_status: str | None = None
    total_amount: str | None = None
    send_pay_date: str | None = None
    gmt_payment: str | None = None
    qr_code: str | None = None
    action: str | None = None
    retry_flag: str | None = None
    fund_change: str | None = None
    out_request_no: str | None = None
    refund_status: str | None = None
    refund_amount: str | None = None


DONE: Final = "10000"
PAYER_MUST_CONFIRM: Final = "10003"
BUSINESS_FAILED: Final = "40004"
# The request itself is wrong, and was carried out by nobody: parameters, permissions, signature.
WRONG_REQUEST: Final = frozenset({"40001", "40002", "40006"})
# Our signature, its app or its permission is not accepted: nothing that a merchant did.
KEY_REFUSED: Final = frozenset(
    {"isv.invalid-signature", "isv.invalid-app-id", "isv.insufficient-isv-permissions"}
)

STATES: Final = MappingProxyType(
    {
        "WAIT_BUYER_PAY": Verdict.PENDING,
        "TRADE_SUCCESS": Verdict.SUCCEEDED,
        "TRADE_FINISHED": Verdict.SUCCEEDED,  # paid, and no longer refundable
        "TRADE_CLOSED": Verdict.CLOSED,
    }
)

# Business refusals that end a request that would have moved money: nothing was made of it.
_WRONG: Final = MappingProxyType(
    dict.fromkeys(
        ("ACQ.INVALID_PARAMETER", "ACQ.ACCESS_FORBIDDEN", "ACQ.PARTNER_ERROR"), Advice.NEVER
    )
)
REFUSED: Final[Mapping[Verb, Mapping[str, Advice]]] = MappingProxyType(
    {
        Verb.CREATE: _WRONG
        | {
            "ACQ.EXIST_FORBIDDEN_WORD": Advice.NEVER,
            "ACQ.TOTAL_FEE_EXCEED": Advice.NEVER,
            "ACQ.PAYMENT_AUTH_CODE_INVALID": Advice.RETRY_LATER,
            "ACQ.BUYER_BALANCE_NOT_ENOUGH": Advice.OTHER_METHOD,
            "ACQ.BUYER_BANKCARD_BALANCE_NOT_ENOUGH": Advice.OTHER_METHOD,
            "ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR": Advice.OTHER_METHOD,
            "ACQ.BUYER_PAYMENT_AMOUNT_MONTH_LIMIT_ERROR": Advice.OTHER_METHOD,
            "ACQ.BUYER_SELLER_EQUAL": Advice.OTHER_METHOD,
            "ACQ.ERROR_BALANCE_PAYMENT_DISABLE": Advice.OTHER_METHOD,
            "ACQ.ERROR_BUYER_CERTIFY_LEVEL_LIMIT": Advice.OTHER_METHOD,
            "ACQ.PAYMENT_FAIL": Advice.RETRY_LATER,
            "ACQ.PULL_MOBILE_CASHIER_FAIL": Advice.RETRY_LATER,
            "ACQ.SELLER_BEEN_BLOCKED": Advice.OTHER_METHOD,
        },
        Verb.REFUND: _WRONG
        | {
            "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL": Advice.NEVER,
            "ACQ.REASON_TRADE_REFUND_FEE_ERR": Advice.NEVER,
            "ACQ.TRADE_HAS_FINISHED": Advice.NEVER,
            "ACQ.TRADE_NOT_ALLOW_REFUND": Advice.NEVER,
            "ACQ.REFUND_FEE_ERROR": Advice.NEVER,
            "ACQ.BUYER_ERROR": Advice.OTHER_METHOD,
        },
    }
)
# What other words prove.  A QR code has no trade until it is scanned, so "does not exist" is no
# failure; money that is missing on the seller's account makes the refund wait under its number.
# ACQ.SYSTEM_ERROR, TRADE_HAS_SUCCESS, CONTEXT_INCONSISTENT and all others prove nothing.
PROVEN: Final[Mapping[tuple[Verb, str], Verdict]] = MappingProxyType(
    {
        (Verb.CREATE, "ACQ.TRADE_HAS_CLOSE"): Verdict.CLOSED,
        (Verb.CLOSE, "ACQ.TRADE_HAS_CLOSE"): Verdict.CLOSED,
        (Verb.CLOSE, "ACQ.TRADE_NOT_EXIST"): Verdict.NOT_FOUND,
        (Verb.QUERY, "ACQ.TRADE_NOT_EXIST"): Verdict.NOT_FOUND,
        (Verb.QUERY_REFUND, "ACQ.TRADE_NOT_EXIST"): Verdict.UNKNOWN,
        (Verb.REFUND, "ACQ.SELLER_BALANCE_NOT_ENOUGH"): Verdict.PENDING,
    }
)
