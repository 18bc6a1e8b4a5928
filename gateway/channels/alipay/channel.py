"""The Alipay open platform as a channel: QR code, web page, mobile page and barcode.

Followed: the provider's documents of `alipay.trade.precreate`, `.page.pay`, `.wap.pay`, `.pay`,
`.query`, `.close`, `.cancel`, `.refund`, `.fastpay.refund.query` and of asynchronous notices.
Amounts there are decimal yuan, times Beijing's.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from gateway.channels.alipay import bill
from gateway.channels.alipay.credential import AlipayCredential
from gateway.channels.alipay.messages import CREATE, DONE, PRODUCT, Flow, Told
from gateway.channels.alipay.outcomes import flow_of, instant, outcome_of, trade
from gateway.channels.alipay.signing import is_notice_signed, signed, signed_node
from gateway.channels.mainland import BEIJING, KeyedAccount
from gateway.channels.pem import public_rsa_key
from gateway.channels.port import Ask, BillLine, Capabilities, Notice, NoticeRefused, Verb
from gateway.domain.money import to_decimal
from gateway.domain.outcome import NextAction, Outcome, Verdict
from gateway.domain.wire import WireAnswer, WireRequest

_CLOCK: Final = "%Y-%m-%d %H:%M:%S"
_PATH: Final = "/gateway.do"
_SUBJECT_CHARS_MAX: Final = 256
# The last repetition of a notice comes after 25 hours; that an old one is repeated does no harm.
_NOTICE_AGE: Final = timedelta(hours=26)
_CLOCKS_APART: Final = timedelta(minutes=5)
_METHODS: Final = {
    Verb.QUERY: "alipay.trade.query",
    Verb.REFUND: "alipay.trade.refund",
    Verb.QUERY_REFUND: "alipay.trade.fastpay.refund.query",
}

_encode: Final = msgspec.json.Encoder().encode
_read_told: Final = msgspec.json.Decoder(Told).decode


class AlipayChannel(KeyedAccount[AlipayCredential]):
    """Speaks for one app; it is notified at `notify_url`.

    The first credential signs; all of them verify, so that keys can be rotated.  Raises ValueError
    for keys that cannot be read.
    """

    name: Final = "alipay"
    number: Final = 4
    capabilities: Final = Capabilities(
        methods=frozenset({"alipay"}),
        currencies=frozenset({"CNY"}),
        partial_refund=True,
        close=True,
        notify=True,
        bill=True,
        authorize=False,
        sync_result=True,
        draws=frozenset(flow.value for flow in PRODUCT),
    )
    taken: Final = b"success"

    def __init__(self, credentials: Sequence[AlipayCredential], notify_url: str) -> None:
        super().__init__(credentials, notify_url)
        self._keys = [
            public_rsa_key(pem)
            for credential in credentials
            for pem in credential.alipay_public_keys
        ]

    def build(self, ask: Ask, now: datetime) -> WireRequest | Outcome:
        """Put a question into Alipay's words, signed; a page is an address that we only sign.

        ValueError for what it has no words for.
        """
        method = self._method(ask)
        parameters = {
            "app_id": self._credential.app_id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": now.astimezone(BEIJING).strftime(_CLOCK),
            "version": "1.0",
            "biz_content": _encode(self._content(ask)).decode(),
        }
        if ask.verb is not Verb.CREATE:
            return self._post(parameters)
        parameters["notify_url"] = self._notify_url
        if flow_of(ask) not in PRODUCT:
            return self._post(parameters)
        parameters["return_url"] = ask.return_url or ""
        said = {name: value for name, value in parameters.items() if value}
        url = f"{self.base_url}{_PATH}?{urlencode(signed(self._key, said))}"
        return Outcome(
            Verdict.REQUIRES_ACTION, code="signed", next_action=NextAction("redirect", url=url)
        )

    def _method(self, ask: Ask) -> str:
        match ask.verb:
            case Verb.CREATE:
                return CREATE[flow_of(ask)]
            case Verb.CLOSE:
                # Only a barcode's trade may be at work without us knowing; the others wait for
                # the payer, and are closed only while he has not paid.
                barcode = flow_of(ask) is Flow.BARCODE
                return "alipay.trade.cancel" if barcode else "alipay.trade.close"
            case Verb.CAPTURE:
                raise ValueError("Alipay takes money at once or not at all")
        return _METHODS[ask.verb]

    def _content(self, ask: Ask) -> dict[str, Any]:
        content: dict[str, Any] = {"out_trade_no": ask.number}
        if ask.verb is Verb.CREATE:
            flow = flow_of(ask)
            content["total_amount"] = to_decimal(ask.amount, ask.currency)
            content["subject"] = (ask.description or f"Order {ask.number}")[:_SUBJECT_CHARS_MAX]
            content["seller_id"] = self._credential.seller_id
            if ask.expires_at is not None:
                content["time_expire"] = ask.expires_at.astimezone(BEIJING).strftime(_CLOCK)
            if flow in PRODUCT:
                content["product_code"] = PRODUCT[flow]
            if flow is Flow.BARCODE:
                content |= {"scene": "bar_code", "auth_code": ask.method["auth_code"]}
        elif ask.verb in {Verb.REFUND, Verb.QUERY_REFUND}:
            if ask.refund_number is None:
                raise ValueError("a refund needs its number")
            content["out_request_no"] = ask.refund_number
            if ask.is_further and ask.channel_transaction is not None:
                content["trade_no"] = ask.channel_transaction  # goes before our number
            if ask.verb is Verb.REFUND:
                content["refund_amount"] = to_decimal(ask.amount, ask.currency)
        return content

    def _post(self, parameters: Mapping[str, str]) -> WireRequest:
        body = urlencode(signed(self._key, parameters)).encode()
        kind = "application/x-www-form-urlencoded;charset=utf-8"
        return WireRequest("POST", f"{_PATH}?charset=utf-8", {"Content-Type": kind}, body)

    def read(self, ask: Ask, answer: WireAnswer) -> Outcome:
        """Put the answer into our words; raises msgspec's DecodeError when it is not one.

        What does not carry Alipay's signature proves nothing.
        """
        name = self._method(ask).replace(".", "_") + "_response"
        node = signed_node(self._keys, answer.body, name)
        if node is None:
            return Outcome(code="unsigned")
        return outcome_of(ask, _read_told(node))

    def read_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:  # noqa: ARG002 - Alipay's signature stands in the form
        """Verify and read a notice; raises `NoticeRefused` (stale, forged, foreign, unreadable)."""
        try:
            said = dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True))
        except ValueError as error:
            raise NoticeRefused("unreadable") from error
        if not is_notice_signed(self._keys, said):
            raise NoticeRefused("forged")
        ours = (self._credential.app_id, self._credential.seller_id)
        if (said.get("app_id"), said.get("seller_id")) != ours:
            raise NoticeRefused("foreign")
        try:
            age = now - instant(said["notify_time"])
            if not -_CLOCKS_APART <= age <= _NOTICE_AGE:
                raise NoticeRefused("stale")
            number, notice_id = said["out_trade_no"], said["notify_id"]
            refund_number = said.get("out_biz_no") or None
            if refund_number is not None:
                # It tells the sum of all refunds; how this one stands has to be asked.
                outcome = Outcome(Verdict.PENDING, code="refund_noticed")
            else:
                outcome = trade(Told(code=DONE, **_members(said)))
        except (KeyError, ValueError) as error:
            raise NoticeRefused("unreadable") from error
        return Notice(notice_id, number, refund_number, outcome)

    def read_bill(self, body: bytes) -> Iterator[BillLine]:
        """Read a business bill (业务账单); raises `BillRefused`, for wrong sums at the end."""
        return bill.read(body)


def _members(said: Mapping[str, str]) -> dict[str, str]:
    """Give those members of a notice that answers have as well."""
    names = ("out_trade_no", "trade_no", "trade_status", "total_amount", "gmt_payment")
    return {name: said[name] for name in names if name in said}
