"""WeChat Pay APIv3 as a channel: native QR, JSAPI and H5, pure as every channel is.

Followed: the provider's APIv3 documents of "Native/JSAPI/H5 下单", "查询订单", "关闭订单", "退款",
and "支付通知".  A payment is never final in the answer to its creation; a notice or a query tells.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import msgspec

from gateway.channels.mainland import BEIJING, KeyedAccount
from gateway.channels.pem import public_rsa_key
from gateway.channels.port import (
    CREDENTIAL_REFUSED,
    Ask,
    BillLine,
    Capabilities,
    KeysRefused,
    Notice,
    NoticeRefused,
    Verb,
)
from gateway.channels.wechat import bill, certificates
from gateway.channels.wechat.credential import WechatCredential
from gateway.channels.wechat.messages import (
    KEY_REFUSED,
    PROVEN,
    REFUND_STATES,
    REFUSED,
    STATES,
    Flow,
    Message,
    Money,
    Order,
    Payer,
    RefundOrder,
    RefundTold,
    Refusal,
    Scene,
    Shown,
    Transaction,
)
from gateway.channels.wechat.signing import (
    SCHEME,
    TIMESTAMP,
    is_fresh,
    is_signed,
    opened,
    said_at,
    signed,
)
from gateway.domain.outcome import ANOTHER_NUMBER, Advice, Failure, NextAction, Outcome, Verdict
from gateway.domain.wire import WireAnswer, WireRequest

_DESCRIPTION_CHARS_MAX: Final = 127
_CLOCKS_APART_SECONDS: Final = 300

_encode: Final = msgspec.json.Encoder().encode
_read_shown: Final = msgspec.json.Decoder(Shown).decode
_read_transaction: Final = msgspec.json.Decoder(Transaction).decode
_read_refund: Final = msgspec.json.Decoder(RefundTold).decode
_read_refusal: Final = msgspec.json.Decoder(Refusal).decode
_read_message: Final = msgspec.json.Decoder(Message).decode


class WechatChannel(KeyedAccount[WechatCredential]):
    """Speaks for one merchant account; it is notified at `notify_url`.

    The first credential signs; all of them verify and open, so that keys can be rotated.  Raises
    ValueError for keys that cannot be read.
    """

    name: Final = "wechat"
    number: Final = 3
    capabilities: Final = Capabilities(
        methods=frozenset({"wechat"}),
        currencies=frozenset({"CNY"}),
        partial_refund=True,
        close=True,
        notify=True,
        bill=True,
        authorize=False,
        sync_result=False,
    )
    taken: Final = b'{"code":"SUCCESS"}'

    def __init__(self, credentials: Sequence[WechatCredential], notify_url: str) -> None:
        super().__init__(credentials, notify_url)
        self._platform = {
            name: public_rsa_key(pem)
            for credential in reversed(credentials)
            for name, pem in credential.platform_keys.items()
        }
        agreed = [name for name in self._platform if name.startswith(certificates.BY_PUBLIC_KEY)]
        self._agreed_key = agreed[-1] if agreed else None
        self._apiv3_keys = [credential.apiv3_key.encode() for credential in credentials]

    def build(self, ask: Ask, now: datetime) -> WireRequest | Outcome:
        """Put a question into APIv3's words, signed; ValueError for what it has no words for."""
        method, path, order = self._worded(ask)
        body = _encode(order) if order is not None else b""
        return self._request(method, path, body, now=now)

    def _request(self, method: str, path: str, body: bytes, *, now: datetime) -> WireRequest:
        timestamp = str(int(now.timestamp()))
        # Not a secret, only never the same twice: the same question at another time is another one.
        seed = f"{method} {path} {now.isoformat()} ".encode() + body
        nonce = hashlib.sha256(seed).hexdigest()[:32].upper()
        signature = signed(self._key, method, path, timestamp, nonce, body.decode())
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": "Floodgate",
            "Authorization": (
                f'{SCHEME} mchid="{self._credential.mchid}",nonce_str="{nonce}",'
                f'timestamp="{timestamp}",serial_no="{self._credential.serial_no}",'
                f'signature="{signature}"'
            ),
        }
        if self._agreed_key is not None:
            # Asks WeChat Pay to sign its answer with this key.
            headers["Wechatpay-Serial"] = self._agreed_key
        return WireRequest(method, path, headers, body)

    def ask_for_keys(self, now: datetime) -> WireRequest | None:
        """Ask for WeChat Pay's certificates; an account with its public key has no use for them."""
        if self._agreed_key is not None:
            return None
        return self._request("GET", certificates.PATH, b"", now=now)

    def read_keys(self, answer: WireAnswer, now: datetime) -> Mapping[str, str]:
        """Open WeChat Pay's certificates; one of them, or a key that we know, signs the answer."""
        if answer.status != HTTPStatus.OK:
            raise KeysRefused(f"status {answer.status}")
        if not is_fresh(answer.headers, now):
            raise KeysRefused("stale")
        told = certificates.read(answer.body, self._apiv3_keys, now)
        keys = {name: public_rsa_key(pem) for name, pem in told.items()} | self._platform
        if not is_signed(keys, answer.headers, answer.body):
            raise KeysRefused("forged")
        return told

    def _worded(self, ask: Ask) -> tuple[str, str, msgspec.Struct | dict[str, str] | None]:
        mchid = self._credential.mchid
        order = f"/v3/pay/transactions/out-trade-no/{ask.number}"
        match ask.verb:
            case Verb.CREATE:
                flow = Flow(ask.method["flow"])
                return "POST", f"/v3/pay/transactions/{flow.value}", self._order(ask, flow)
            case Verb.QUERY:
                return "GET", f"{order}?mchid={mchid}", None
            case Verb.CLOSE:
                return "POST", f"{order}/close", {"mchid": mchid}
            case Verb.CAPTURE:
                raise ValueError("WeChat Pay takes money at once or not at all")
        if ask.refund_number is None:
            raise ValueError("a refund needs its number")
        refunds = "/v3/refund/domestic/refunds"
        if ask.verb is Verb.QUERY_REFUND:
            return "GET", f"{refunds}/{ask.refund_number}", None
        if ask.captured is None:
            raise ValueError("a refund needs the amount that was paid")
        transaction = ask.channel_transaction if ask.is_further else None
        return (
            "POST",
            refunds,
            RefundOrder(
                out_trade_no=ask.number if transaction is None else None,
                transaction_id=transaction,
                out_refund_no=ask.refund_number,
                notify_url=self._notify_url,
                amount=Money(ask.captured, ask.currency, ask.amount),
            ),
        )

    def _order(self, ask: Ask, flow: Flow) -> Order:
        ends_at = ask.expires_at.astimezone(BEIJING) if ask.expires_at is not None else None
        return Order(
            appid=self._credential.appid,
            mchid=self._credential.mchid,
            description=(ask.description or f"Order {ask.number}")[:_DESCRIPTION_CHARS_MAX],
            out_trade_no=ask.number,
            time_expire=ends_at.isoformat(timespec="seconds") if ends_at is not None else None,
            notify_url=self._notify_url,
            amount=Money(ask.amount, ask.currency),
            payer=Payer(ask.method["openid"]) if flow is Flow.JSAPI else None,
            scene_info=Scene(ask.payer_ip or "") if flow is Flow.H5 else None,
        )

    def read(self, ask: Ask, answer: WireAnswer) -> Outcome:
        """Put the answer into our words; raises msgspec's DecodeError when it is not one.

        What does not carry WeChat Pay's signature, or carries one from before the question, proves
        nothing.
        """
        at = said_at(answer.headers)
        if at is None or not is_signed(self._platform, answer.headers, answer.body):
            return Outcome(code="unsigned")
        if at < ask.asked_first_at.timestamp() - _CLOCKS_APART_SECONDS:
            return Outcome(code="stale")
        if answer.status not in {HTTPStatus.OK, HTTPStatus.NO_CONTENT}:
            return _refused(ask, _read_refusal(answer.body).code, at)
        return self._told(ask, answer)

    def _told(self, ask: Ask, answer: WireAnswer) -> Outcome:
        match ask.verb:
            case Verb.CREATE:
                return self._shown(ask, answer)
            case Verb.CLOSE:
                closed = answer.status == HTTPStatus.NO_CONTENT
                return Outcome(Verdict.CLOSED if closed else Verdict.UNKNOWN, code="close")
            case Verb.QUERY:
                told = _read_transaction(answer.body)
                fits = told.out_trade_no == ask.number
                return self._outcome(told) if fits else ANOTHER_NUMBER
        refund = _read_refund(answer.body)
        if (refund.out_trade_no, refund.out_refund_no) != (ask.number, ask.refund_number):
            return ANOTHER_NUMBER
        return _refund_outcome(refund, ask.currency)

    def _shown(self, ask: Ask, answer: WireAnswer) -> Outcome:
        shown = _read_shown(answer.body)
        action = None
        match Flow(ask.method["flow"]):
            case Flow.NATIVE if shown.code_url:
                action = NextAction("qr", qr=shown.code_url)
            case Flow.H5 if shown.h5_url:
                back = f"&redirect_url={quote(ask.return_url, safe='')}" if ask.return_url else ""
                action = NextAction("redirect", url=shown.h5_url + back)
            case Flow.JSAPI if shown.prepay_id:
                fields = self._invocation(shown.prepay_id, answer.headers[TIMESTAMP])
                action = NextAction("invoke", fields=fields)
        if action is None:
            return Outcome(code="incomplete")
        return Outcome(Verdict.REQUIRES_ACTION, code="shown", next_action=action)

    def _invocation(self, prepay_id: str, timestamp: str) -> dict[str, str]:
        """Sign what the page hands to `WeixinJSBridge` ("JSAPI 调起支付")."""
        appid, package = self._credential.appid, f"prepay_id={prepay_id}"
        nonce = hashlib.sha256(f"{package} {timestamp}".encode()).hexdigest()[:32]
        return {
            "appId": appid,
            "timeStamp": timestamp,
            "nonceStr": nonce,
            "package": package,
            "signType": "RSA",
            "paySign": signed(self._key, appid, timestamp, nonce, package),
        }

    def _outcome(self, told: Transaction) -> Outcome:
        if (told.mchid, told.appid) != (self._credential.mchid, self._credential.appid):
            return Outcome(code="account_mismatch")
        verdict = STATES.get(told.trade_state, Verdict.UNKNOWN)
        amount = told.amount
        if verdict is Verdict.SUCCEEDED and (amount is None or told.transaction_id is None):
            return Outcome(code="incomplete")
        failure = None
        if verdict is Verdict.FAILED:
            failure = _failure(told.trade_state)
        return Outcome(
            verdict=verdict,
            channel_transaction=told.transaction_id or None,
            amount=amount.total if amount is not None else None,
            currency=(amount.currency or "CNY") if amount is not None else None,
            code=told.trade_state,
            failure=failure,
            paid_at=told.success_time,
        )

    def read_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:
        """Verify, open and read a notice; raises `NoticeRefused` (stale, forged, unreadable)."""
        if not is_fresh(headers, now):
            raise NoticeRefused("stale")
        if not is_signed(self._platform, headers, body):
            raise NoticeRefused("forged")
        try:
            message = _read_message(body)
            plain = opened(self._apiv3_keys, message.resource)
            if message.event_type.startswith("TRANSACTION."):
                told = _read_transaction(plain)
                return Notice(message.id, told.out_trade_no, None, self._outcome(told))
            if message.event_type.startswith("REFUND."):
                refund = _read_refund(plain)
                known = refund.mchid == self._credential.mchid
                outcome = _refund_outcome(refund, "CNY") if known else Outcome(code="foreign")
                return Notice(message.id, refund.out_trade_no, refund.out_refund_no, outcome)
        except (msgspec.DecodeError, ValueError) as error:
            raise NoticeRefused("unreadable") from error
        raise NoticeRefused("unknown_event")

    def read_bill(self, body: bytes) -> Iterator[BillLine]:
        """Read a trade bill (交易账单); raises `BillRefused`, for a wrong summary at the end."""
        return bill.read(body)


def _refused(ask: Ask, word: str, at: int) -> Outcome:
    """Say what a refusal proves; `at` is WeChat Pay's own clock, in seconds since 1970."""
    refused = REFUSED.get(ask.verb, {})
    if word in refused:
        code = CREDENTIAL_REFUSED if word == KEY_REFUSED else word
        return Outcome(Verdict.FAILED, code=code, failure=_failure(word))
    if word == KEY_REFUSED:
        return Outcome(code=CREDENTIAL_REFUSED)
    verdict = PROVEN.get((ask.verb, word), Verdict.UNKNOWN)
    over = ask.expires_at is not None and at > ask.expires_at.timestamp()
    if ask.verb is Verb.CLOSE and verdict is Verdict.NOT_FOUND and over:
        # Its time_expire has passed there: a create that is still on its way would be refused.
        verdict = Verdict.CLOSED
    return Outcome(verdict, code=word)


def _refund_outcome(told: RefundTold, currency: str) -> Outcome:
    state = told.status or told.refund_status or ""
    verdict = REFUND_STATES.get(state, Verdict.UNKNOWN)
    return Outcome(
        verdict=verdict,
        channel_transaction=told.refund_id,
        amount=told.amount.refund,
        currency=told.amount.currency or currency,
        code=state,
        failure=_failure(state) if verdict is Verdict.CLOSED else None,
        paid_at=told.success_time,
    )


def _failure(word: str) -> Failure:
    for refused in REFUSED.values():
        if word in refused:
            return Failure("refused", "WeChat Pay refused the request.", refused[word], word)
    return Failure("declined", "WeChat Pay declined.", Advice.OTHER_METHOD, word)
