"""The words of WeChat Pay APIv3: what is sent, what comes back, and what each word proves."""

import enum
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from gateway.channels.port import Verb
from gateway.channels.wechat.signing import Sealed
from gateway.domain.outcome import Advice, Verdict


class Money(Struct, frozen=True, omit_defaults=True):
    """An amount in fen as we send it; a refund also names the whole payment."""

    total: int
    currency: str
    refund: int | None = None


class Payer(Struct, frozen=True):
    """Who pays, as the app of JSAPI knows him."""

    openid: str


class H5Info(Struct, frozen=True):
    """The kind of page that opens the wallet."""

    type: str = "Wap"


class Scene(Struct, frozen=True):
    """Where the payer is, which H5 demands."""

    payer_client_ip: str
    h5_info: H5Info = H5Info()


class Order(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of `POST /v3/pay/transactions/{flow}`."""

    appid: str
    mchid: str
    description: str
    out_trade_no: str
    time_expire: str | None = None
    notify_url: str
    amount: Money
    payer: Payer | None = None
    scene_info: Scene | None = None


class RefundOrder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of `POST /v3/refund/domestic/refunds`; it names the payment in one of two ways."""

    out_trade_no: str | None = None
    transaction_id: str | None = None
    out_refund_no: str
    notify_url: str
    amount: Money


class Shown(Struct, frozen=True):
    """The answer to a create: what the payer needs, by flow."""

    code_url: str | None = None
    prepay_id: str | None = None
    h5_url: str | None = None


class Amount(Struct, frozen=True):
    """An amount as WeChat Pay tells it, in fen; notices of refunds name no currency."""

    total: int
    refund: int | None = None
    currency: str | None = None


class Transaction(Struct, frozen=True, kw_only=True):
    """A payment as a query or a notice tells it; an unpaid one has no amount."""

    appid: str
    mchid: str
    out_trade_no: str
    trade_state: str
    transaction_id: str | None = None
    success_time: datetime | None = None
    amount: Amount | None = None


class RefundTold(Struct, frozen=True, kw_only=True):
    """A refund: `status` in answers, `refund_status` in notices, where `mchid` stands as well."""

    out_trade_no: str
    out_refund_no: str
    refund_id: str
    amount: Amount
    status: str | None = None
    refund_status: str | None = None
    success_time: datetime | None = None
    mchid: str | None = None


class Refusal(Struct, frozen=True):
    """The body of every error."""

    code: str


class Message(Struct, frozen=True, kw_only=True):
    """A notice before its resource is opened."""

    id: str
    event_type: str
    resource: Sealed


class Flow(enum.Enum):
    """Where the payer is when he pays."""

    NATIVE = "native"
    JSAPI = "jsapi"
    H5 = "h5"


STATES: Final = MappingProxyType(
    {
        "SUCCESS": Verdict.SUCCEEDED,
        "REFUND": Verdict.SUCCEEDED,  # paid, and some of it went back since
        "NOTPAY": Verdict.PENDING,
        "USERPAYING": Verdict.PENDING,
        "CLOSED": Verdict.CLOSED,
        "REVOKED": Verdict.CLOSED,
        "PAYERROR": Verdict.FAILED,
    }
)
# ABNORMAL: the payer's card is dead and people must send the money another way; it is no failure.
REFUND_STATES: Final = MappingProxyType(
    {
        "SUCCESS": Verdict.SUCCEEDED,
        "PROCESSING": Verdict.PENDING,
        "ABNORMAL": Verdict.PENDING,
        "CLOSED": Verdict.CLOSED,
    }
)

# Our signature or its certificate is not accepted: nothing that a merchant did.
KEY_REFUSED: Final = "SIGN_ERROR"

# Refusals that end a request that would have moved money: nothing was made of it.
_WRONG: Final = MappingProxyType(
    dict.fromkeys(("PARAM_ERROR", "INVALID_REQUEST", "MCH_NOT_EXISTS", "NO_AUTH"), Advice.NEVER)
)
REFUSED: Final[Mapping[Verb, Mapping[str, Advice]]] = MappingProxyType(
    {
        Verb.CREATE: _WRONG
        | {
            "APPID_MCHID_NOT_MATCH": Advice.NEVER,
            KEY_REFUSED: Advice.OTHER_METHOD,
            "ACCOUNT_ERROR": Advice.OTHER_METHOD,
        },
        Verb.REFUND: _WRONG | {"USER_ACCOUNT_ABNORMAL": Advice.OTHER_METHOD},
    }
)
# What other words prove.  NOT_ENOUGH: the refund is asked for again, under the same number, once
# there is money on the account.  A word that stands nowhere here (SYSTEM_ERROR, RULE_LIMIT,
# OUT_TRADE_NO_USED, ORDERPAID, …) proves nothing.
PROVEN: Final[Mapping[tuple[Verb, str], Verdict]] = MappingProxyType(
    {
        (Verb.CREATE, "ORDER_CLOSED"): Verdict.CLOSED,
        (Verb.CLOSE, "ORDER_CLOSED"): Verdict.CLOSED,
        (Verb.CLOSE, "ORDER_NOT_EXIST"): Verdict.NOT_FOUND,
        (Verb.QUERY, "ORDER_NOT_EXIST"): Verdict.NOT_FOUND,
        (Verb.QUERY_REFUND, "RESOURCE_NOT_EXISTS"): Verdict.NOT_FOUND,
        (Verb.REFUND, "NOT_ENOUGH"): Verdict.PENDING,
    }
)
