"""Stablecoins on an EVM chain as a channel: an attempt is a deposit address, its money transfers.

A node of the chain is asked; nothing is ever signed or sent to the chain.  An address cannot be
closed: money that comes after we called an attempt closed is late money, and found when it is
looked for.  It cannot be drawn upon by us either, so refunds are made by hand.

Nobody pays an address before it is shown, so its transfers are looked for from about the block that
was final then.  The channel transaction of an attempt tells it: `chain:address@block`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Final

import msgspec
from msgspec import Raw

from gateway.channels.crypto.credential import CryptoCredential
from gateway.channels.crypto.deposits import address_bytes, checksummed, deposit_address, word
from gateway.channels.crypto.rpc import (
    Call,
    Fees,
    Foreign,
    Log,
    Refused,
    answers,
    batch,
    data,
    quantity,
)
from gateway.channels.crypto.transfers import Came, beyond, came, topics_to
from gateway.channels.port import (
    CREDENTIAL_REFUSED,
    Ask,
    BillLine,
    BillRefused,
    Capabilities,
    Notice,
    NoticeRefused,
    Verb,
)
from gateway.domain.limits import CHAIN_NEWS_SECONDS
from gateway.domain.money import EXPONENTS, to_decimal
from gateway.domain.outcome import ANOTHER_NUMBER, Advice, Failure, NextAction, Outcome, Verdict
from gateway.domain.wire import WireAnswer, WireRequest

_HEADERS: Final = {"Content-Type": "application/json"}
_START: Final = re.compile(r".*@([0-9]{1,20})")
# It costs nothing to look a little further back, in case the chain gives up more than was thought.
_BLOCKS_BEFORE: Final = 128
_ID_BITS: Final = 48
_CALLS_MAX: Final = 4
_CALLS: Final = 3
_DECIMALS: Final = "0x313ce567"  # the call `decimals()` (EIP-20)
_BY_OUR_FAULT: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_REVERTED: Final = 3  # the contract that was called will not have it: it is no token

_BY_HAND: Final = Outcome(
    Verdict.FAILED,
    code="refund_by_hand",
    failure=Failure(
        "refund_by_hand",
        "What came over a chain is sent back by hand.",
        Advice.NEVER,
        "refund_by_hand",
    ),
)
_NOT_HELD: Final = Outcome(
    Verdict.FAILED,
    code="not_held",
    failure=Failure(
        "capture_unsupported", "A transfer cannot be held and captured later.", Advice.OTHER_METHOD
    ),
)
_REFUSED: Final = Outcome(
    Verdict.FAILED,
    code=CREDENTIAL_REFUSED,
    failure=Failure("declined", "The node cannot serve this.", Advice.RETRY_LATER),
)
_NEVER_SHOWN: Final = Outcome(Verdict.CLOSED, code="never_shown")

_read_text: Final = msgspec.json.Decoder(str).decode
_read_fees: Final = msgspec.json.Decoder(Fees).decode
_read_logs: Final = msgspec.json.Decoder(tuple[Log, ...]).decode


class CryptoChannel:
    """Speaks for one token on one chain; the newest credential's node is asked."""

    name: Final = "crypto"
    number: Final = 6
    taken: Final = b""

    def __init__(self, credentials: Sequence[CryptoCredential], notify_url: str) -> None:  # noqa: ARG002 - a node sends no notices
        self._credential = credentials[0]
        self._token = address_bytes(self._credential.token)
        self._factory = address_bytes(self._credential.factory)
        self._init_code_hash = bytes.fromhex(self._credential.init_code_hash[2:])
        exponent = EXPONENTS[self._credential.currency]
        self._units = 10 ** (self._credential.token_decimals - exponent)
        self.base_url = self._credential.base_url
        self.capabilities = Capabilities(
            methods=frozenset({"crypto"}),
            currencies=frozenset({self._credential.currency}),
            partial_refund=False,
            close=False,
            notify=False,
            bill=False,
            authorize=False,
            sync_result=False,
        )

    def __repr__(self) -> str:
        return f"CryptoChannel({self._credential.account})"

    def build(self, ask: Ask, now: datetime) -> WireRequest | Outcome:  # noqa: ARG002 - a chain counts blocks
        """Ask the node, always for the chain and its last final block as well; ValueError to hold.

        An outcome where the chain has nothing to say: of refunds, and of an address that nobody has
        ever seen.
        """
        match ask.verb:
            case Verb.CAPTURE:
                raise ValueError("a transfer is taken at once or not at all")
            case Verb.CREATE if not ask.capture:
                return _NOT_HELD
            case Verb.CLOSE if ask.channel_transaction is None:
                return _NEVER_SHOWN
            case Verb.REFUND:
                return _BY_HAND
            case Verb.QUERY_REFUND:
                return Outcome(Verdict.NOT_FOUND, code="refund_by_hand")
        deposit = self._deposit(ask.number)
        last = self._decimals() if _is_new(ask) else self._transfers(ask, deposit)
        calls = (Call("eth_chainId"), self._final_block(), last)
        return WireRequest("POST", "", _HEADERS, batch(calls, _first_id(deposit)))

    def read(self, ask: Ask, answer: WireAnswer) -> Outcome:
        """Say what lies at the address; raises ValueError when this is no answer."""
        deposit = self._deposit(ask.number)
        try:
            chain, tip, last = answers(answer.body, _first_id(deposit), _CALLS)
        except Foreign:
            return ANOTHER_NUMBER
        except Refused as refused:
            ours = answer.status in _BY_OUR_FAULT or refused.code == _REVERTED
            return _refused(ask) if ours else Outcome(code=f"rpc_{refused.code}")
        if quantity(_read_text(chain)) != self._credential.chain_id:
            return _refused(ask)
        final_block = self._read_final(tip)
        if _is_new(ask):
            if data(_read_text(last)) != word(self._credential.token_decimals.to_bytes(1)):
                return _refused(ask)
            return self._shown(ask, deposit, f"{self._name_of(deposit)}@{final_block}")
        there = came(_read_logs(last), self._token, deposit, final_block)
        return self._outcome(ask, deposit, there, has_moved=final_block > _start(ask))

    def read_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:  # noqa: ARG002 - whatever it is
        """Believe nobody: a node sends no notices."""
        raise NoticeRefused("forged")

    def read_bill(self, body: bytes) -> Iterator[BillLine]:  # noqa: ARG002 - as above
        """There is no bill: the chain itself is one."""
        raise BillRefused("a chain sends no bill")

    def _deposit(self, number: str) -> bytes:
        return deposit_address(self._factory, self._init_code_hash, number)

    def _name_of(self, deposit: bytes) -> str:
        return f"{self._credential.chain_id}:{checksummed(deposit)}"

    def _final_block(self) -> Call:
        """Ask up to where the chain will not change.

        The fees of a block are the shortest answer that says which block the tag means just now:
        whole blocks may be longer than an answer may be.
        """
        if self._credential.confirmations is not None:
            return Call("eth_blockNumber")
        return Call("eth_feeHistory", ("0x1", "finalized", ()))

    def _read_final(self, tip: Raw) -> int:
        if self._credential.confirmations is None:
            return quantity(_read_fees(tip).oldest_block)
        return max(0, quantity(_read_text(tip)) + 1 - self._credential.confirmations)

    def _decimals(self) -> Call:
        """Ask the token how it counts: what is configured wrong shows before anybody pays."""
        return Call("eth_call", ({"to": self._credential.token, "data": _DECIMALS}, "latest"))

    def _transfers(self, ask: Ask, deposit: bytes) -> Call:
        wanted = {
            "address": self._credential.token,
            "topics": topics_to(deposit),
            "fromBlock": hex(max(0, _start(ask) - _BLOCKS_BEFORE)),
            "toBlock": "latest",
        }
        return Call("eth_getLogs", (wanted,))

    def _shown(self, ask: Ask, deposit: bytes, transaction: str) -> Outcome:
        """Tell the payer where to send how much, in a QR code (EIP-681) and in words."""
        token, chain_id = checksummed(self._token), str(self._credential.chain_id)
        address, units = checksummed(deposit), str(ask.amount * self._units)
        uri = f"ethereum:{token}@{chain_id}/transfer?address={address}&uint256={units}"
        fields = {
            "chain_id": chain_id,
            "token": token,
            "address": address,
            "units": units,
            "amount": to_decimal(ask.amount, ask.currency),
        }
        return Outcome(
            Verdict.REQUIRES_ACTION,
            channel_transaction=transaction,
            code="waiting",
            next_action=NextAction("transfer", qr=uri, fields=fields),
            news_in_seconds=CHAIN_NEWS_SECONDS,
        )

    def _outcome(self, ask: Ask, deposit: bytes, there: Came, *, has_moved: bool) -> Outcome:
        """Map what is there to the amount: all of it, more, a part, or nothing.

        A part is told once the payment's time is over and nothing more is on its way, so that
        people look at it; what is less than the books can hold is nothing.  Of a chain that stands
        still since the address was shown nothing is believed to be closed.
        """
        transaction = ask.channel_transaction
        seen, final = there.seen_units // self._units, there.final_units // self._units
        if final >= ask.amount:
            return self._paid(ask, there)
        if seen == 0:
            if has_moved and (ask.verb is Verb.CLOSE or ask.is_over):
                return Outcome(Verdict.CLOSED, channel_transaction=transaction, code="nothing_came")
            return self._shown(ask, deposit, transaction or "")
        if there.moving or not ask.is_over:
            word, units = "paid_partly", there.final_units
            if there.moving:
                word, units = "confirming", there.seen_units
            return Outcome(
                Verdict.PENDING,
                channel_transaction=transaction,
                code=self._word(word, units),
                news_in_seconds=CHAIN_NEWS_SECONDS,
            )
        return Outcome(
            channel_transaction=transaction,
            amount=final,
            currency=self._credential.currency,
            code=self._word("paid_partly", there.final_units),
            conflict=True,
        )

    def _paid(self, ask: Ask, there: Came) -> Outcome:
        """Tell the amount, and once that is booked, one by one, what came beyond it.

        What goes beyond is a transaction of its own, named after its transfer.
        """
        transaction, amount = ask.channel_transaction, ask.amount
        over = [
            (f"{self._credential.chain_id}:{each.transaction}:{each.index}", units // self._units)
            for each, units in beyond(there.final, ask.amount * self._units)
        ]
        over = [
            (name, more) for name, more in over if more and name not in ask.further_transactions
        ]
        if ask.captured and over:
            transaction, amount = over.pop(0)
        is_over = there.final_units >= (ask.amount + 1) * self._units
        return Outcome(
            Verdict.SUCCEEDED,
            channel_transaction=transaction,
            amount=amount,
            currency=self._credential.currency,
            code=self._word("paid_over", there.final_units) if is_over else "paid",
            news_in_seconds=CHAIN_NEWS_SECONDS if over or there.moving else None,
            tells_more=True,
        )

    def _word(self, word: str, units: int) -> str:
        """Say for support staff how much is there, in tokens."""
        whole, part = divmod(units, 10**self._credential.token_decimals)
        digits = f"{part:0{self._credential.token_decimals}d}".rstrip("0")
        return f"{word} {whole}.{digits}" if digits else f"{word} {whole}"


def _is_new(ask: Ask) -> bool:
    """Tell whether the address was never shown: then it is now, and nobody can have paid before."""
    return ask.verb is Verb.CREATE or ask.channel_transaction is None


def _start(ask: Ask) -> int:
    """Say from which block on transfers are looked for."""
    found = _START.fullmatch(ask.channel_transaction or "")
    return int(found[1]) if found is not None else 0


def _first_id(deposit: bytes) -> int:
    """Number the questions of an attempt so that an answer to another one's is seen to be that."""
    return int.from_bytes(deposit) % (1 << _ID_BITS) * _CALLS_MAX


def _refused(ask: Ask) -> Outcome:
    """Say that the account is not as its credential says; an address that is not shown is safe."""
    return _REFUSED if ask.verb is Verb.CREATE else Outcome(code=CREDENTIAL_REFUSED)
