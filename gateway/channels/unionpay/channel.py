"""UnionPay's online platform (ACP 5.1.0) as a channel: front page and app, void and refund.

A payment is known there by merchant, order number and time; the time is that of our number.
Nobody can close it before its `payTimeout`; from then on what a query says is final.  The whole
amount goes back on its own clearing day (which ends at 23:00) by a void, otherwise by a refund.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl, urlencode

from msgspec.structs import replace

from gateway.channels.mainland import BEIJING, KeyedAccount
from gateway.channels.port import Ask, BillLine, Capabilities, Notice, NoticeRefused, Verb
from gateway.channels.unionpay import bill
from gateway.channels.unionpay.credential import UnionpayCredential
from gateway.channels.unionpay.messages import (
    APP,
    BACK,
    CHANNEL_TYPE,
    CNY,
    CONSUME,
    DONE,
    FRONT,
    NO_SUCH_TRANSACTION,
    QUERY,
    REFUND,
    UNDECIDED,
    VOID,
    Flow,
    pairs_of,
)
from gateway.channels.unionpay.signing import Trust, certificate, signed
from gateway.domain.identity import milliseconds_of
from gateway.domain.money import NUMERIC_CODES
from gateway.domain.outcome import ANOTHER_NUMBER, Advice, Failure, NextAction, Outcome, Verdict
from gateway.domain.wire import WireAnswer, WireRequest

_CLOCK: Final = "%Y%m%d%H%M%S"
_DAY_ENDS_EARLY: Final = timedelta(hours=1)
_CURRENCIES: Final = {f"{number:03d}": code for code, number in NUMERIC_CODES.items()}
_OF_REFUNDS: Final = frozenset({Verb.REFUND, Verb.QUERY_REFUND})


class UnionpayChannel(KeyedAccount[UnionpayCredential]):
    """Speaks for one merchant; it is notified at `notify_url`.

    The first credential signs; the authorities of all of them are trusted.  Raises ValueError for
    keys that cannot be read.
    """

    name: Final = "unionpay"
    number: Final = 5
    capabilities: Final = Capabilities(
        methods=frozenset({"unionpay"}),
        currencies=frozenset({"CNY"}),
        partial_refund=True,
        close=False,
        notify=True,
        bill=True,
        authorize=False,
        sync_result=False,
        draws=frozenset({Flow.FRONT.value}),
    )
    taken: Final = b"ok"

    def __init__(self, credentials: Sequence[UnionpayCredential], notify_url: str) -> None:
        super().__init__(credentials, notify_url)
        authorities = [
            certificate(pem)
            for credential in credentials
            for pem in credential.trusted_certificates
        ]
        self._trust = Trust(authorities, self._credential.common_name)

    def build(self, ask: Ask, now: datetime) -> WireRequest | Outcome:  # noqa: ARG002 - the number carries the time
        """Put a question into UnionPay's words, signed; a front payment is a form that we sign.

        ValueError for what it has no words for.
        """
        path, words = self._worded(ask)
        parameters = {
            "version": "5.1.0",
            "encoding": "utf-8",
            "signMethod": "01",
            "certId": self._credential.cert_id,
            "accessType": "0",
            "merId": self._credential.mer_id,
            "channelType": "07",
            **words,
        }
        said = signed(self._key, parameters)
        if path == FRONT:
            action = NextAction("form", url=self.base_url + FRONT, fields=said)
            return Outcome(Verdict.REQUIRES_ACTION, code="signed", next_action=action)
        kind = "application/x-www-form-urlencoded;charset=utf-8"
        return WireRequest("POST", path, {"Content-Type": kind}, urlencode(said).encode())

    def _worded(self, ask: Ask) -> tuple[str, dict[str, str]]:
        match ask.verb:
            case Verb.CREATE:
                return self._order(ask, Flow(ask.method["flow"]))
            case Verb.CAPTURE:
                raise ValueError("this takes money at once or not at all")
            case Verb.QUERY | Verb.CLOSE:
                return QUERY, _query(ask.number)
        if ask.refund_number is None or ask.captured is None or ask.channel_transaction is None:
            raise ValueError("a refund needs its number, what was paid, and the query id of that")
        if ask.verb is Verb.QUERY_REFUND:
            return QUERY, _query(ask.refund_number)
        return BACK, {
            **_named(ask.refund_number),
            "txnType": _way_back(ask),
            "txnSubType": "00",
            "bizType": "000201",
            "txnAmt": str(ask.amount),
            "origQryId": ask.channel_transaction,
            "backUrl": self._notify_url,
            "reqReserved": ask.number,
        }

    def _order(self, ask: Ask, flow: Flow) -> tuple[str, dict[str, str]]:
        words = {
            **_named(ask.number),
            "txnType": CONSUME,
            "txnSubType": "01",
            "bizType": "000201",
            "channelType": CHANNEL_TYPE[flow],
            "currencyCode": CNY,
            "txnAmt": str(ask.amount),
            "backUrl": self._notify_url,
        }
        if ask.expires_at is not None:
            words["payTimeout"] = ask.expires_at.astimezone(BEIJING).strftime(_CLOCK)
        if flow is Flow.FRONT and ask.return_url is not None:
            words["frontUrl"] = ask.return_url
        return (FRONT if flow is Flow.FRONT else APP), words

    def read(self, ask: Ask, answer: WireAnswer) -> Outcome:
        """Put the answer into our words; raises ValueError when it is not one.

        What does not carry UnionPay's signature proves nothing.
        """
        said = pairs_of(answer.body)
        if not self._trust.believes(said, ask.asked_at or ask.asked_first_at):
            return Outcome(code="unsigned")
        asked = ask.refund_number if ask.verb in _OF_REFUNDS else ask.number
        if said.get("merId") != self._credential.mer_id or said.get("orderId") != asked:
            return ANOTHER_NUMBER
        word = said.get("respCode", "")
        match ask.verb:
            case Verb.CREATE:
                return _shown(word, said)
            case Verb.REFUND:
                # "Done" only says that it was taken; the query tells what became of it.
                return _of_a_refund(Verdict.PENDING if word in DONE else None, word)
        return _queried(ask, word, said)

    def read_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:  # noqa: ARG002 - the signature stands in the form
        """Verify and read a notice; raises `NoticeRefused` (forged, foreign, unreadable).

        It says when it was made only to the second of a year, so an old one is not told from a new
        one; that it comes again does no harm.
        """
        try:
            said = dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True))
        except ValueError as error:
            raise NoticeRefused("unreadable") from error
        if not self._trust.believes(said, now):
            raise NoticeRefused("forged")
        if said.get("merId") != self._credential.mer_id:
            raise NoticeRefused("foreign")
        number, word = said.get("orderId", ""), said.get("respCode", "")
        if said.get("txnType") in {REFUND, VOID}:
            outcome = _of_a_refund(Verdict.SUCCEEDED if word in DONE else None, word)
            outcome = replace(outcome, channel_transaction=said.get("queryId"))
            return Notice(said.get("queryId", ""), said.get("reqReserved", ""), number, outcome)
        # Only a success is noticed; anything else has to be asked for.
        outcome = _paid(said, word) if word in DONE else Outcome(code=word)
        return Notice(said.get("queryId", ""), number, None, outcome)

    def read_bill(self, body: bytes) -> Iterator[BillLine]:
        """Read a day's file of details (ZM); raises `BillRefused`, at the latest at the end."""
        return bill.read(body)


def _named(number: str) -> dict[str, str]:
    """Name a transaction: its order number, and the time that is part of its identity there."""
    return {"orderId": number, "txnTime": _born(number).strftime(_CLOCK)}


def _query(number: str) -> dict[str, str]:
    return {**_named(number), "txnType": "00", "txnSubType": "00", "bizType": "000000"}


def _born(number: str) -> datetime:
    """When a number was made, by Beijing's clock: the time is part of its identity there."""
    return datetime.fromtimestamp(milliseconds_of(number) // 1000, UTC).astimezone(BEIJING)


def _way_back(ask: Ask) -> str:
    """Void the whole amount on its own clearing day; anything else is refunded."""
    assert ask.refund_number is not None
    days = {(_born(n) + _DAY_ENDS_EARLY).date() for n in (ask.number, ask.refund_number)}
    return VOID if ask.amount == ask.captured and len(days) == 1 else REFUND


def _shown(word: str, said: Mapping[str, str]) -> Outcome:
    if word in DONE and "tn" in said:
        action = NextAction("invoke", fields={"tn": said["tn"]})
        return Outcome(Verdict.REQUIRES_ACTION, code=word, next_action=action)
    if word in DONE | UNDECIDED | {NO_SUCH_TRANSACTION, ""}:
        return Outcome(code=word)
    failure = Failure("declined", "UnionPay refused the order.", Advice.OTHER_METHOD, word)
    return Outcome(Verdict.FAILED, code=word, failure=failure)


def _queried(ask: Ask, word: str, said: Mapping[str, str]) -> Outcome:
    """Say how the transaction stands that was asked about.

    Before its time is over, a front payment that failed or is not there may yet be paid.
    """
    final = ask.is_over and ask.verb is Verb.CLOSE
    if word == NO_SUCH_TRANSACTION:
        return Outcome(Verdict.CLOSED if final else Verdict.NOT_FOUND, code=word)
    became = said.get("origRespCode", "")
    if word not in DONE or not became:
        return Outcome(code=word)
    if became in DONE:
        return _paid(said, became)
    undecided = became in UNDECIDED | {NO_SUCH_TRANSACTION}
    if ask.verb is Verb.QUERY_REFUND:
        return _of_a_refund(Verdict.PENDING if undecided else None, became)
    if undecided or not final:
        return Outcome(Verdict.PENDING, code=became)
    return Outcome(Verdict.CLOSED, code=became)


def _paid(said: Mapping[str, str], word: str) -> Outcome:
    amount, query_id = said.get("txnAmt", ""), said.get("queryId")
    currency = _CURRENCIES.get(said.get("currencyCode", ""))
    if not amount.isdecimal() or query_id is None or currency is None:
        return Outcome(code="incomplete")
    return Outcome(Verdict.SUCCEEDED, query_id, int(amount), currency, code=word)


def _of_a_refund(verdict: Verdict | None, word: str) -> Outcome:
    """Give the verdict; None: what the word itself proves of a refund or a void."""
    if verdict is not None:
        return Outcome(verdict, code=word)
    if word in UNDECIDED | {NO_SUCH_TRANSACTION, ""}:
        return Outcome(code=word)
    failure = Failure("refused", "UnionPay refused the refund.", Advice.RETRY_LATER, word)
    return Outcome(Verdict.FAILED, code=word, failure=failure)
