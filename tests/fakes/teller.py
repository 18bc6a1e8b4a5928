"""A channel that only signs: enough to see which credentials speak for an account."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from gateway.channels.credential import Credential, Kind
from gateway.channels.port import Ask, BillLine, Capabilities, Notice, NoticeRefused
from gateway.domain.outcome import Outcome
from gateway.domain.wire import WireAnswer, WireRequest

CAPABILITIES = Capabilities(
    methods=frozenset({"card"}),
    currencies=None,
    partial_refund=True,
    close=True,
    notify=True,
    bill=False,
)


class TellerCredential(Credential, frozen=True, kw_only=True):
    account: str  # type: ignore[assignment]
    secret: str
    base_url: str = "https://teller.example"


class TellerChannel:
    """Signs with the newest secret, and believes a notice that names any of them."""

    name = "teller"
    number = 900
    capabilities = CAPABILITIES
    taken = b""

    def __init__(self, credentials: Sequence[TellerCredential], notify_url: str) -> None:
        if any(one.secret == "no key" for one in credentials):
            raise ValueError("secret is no key")
        if {one.secret for one in credentials} >= {"odd", "even"}:
            raise ValueError("these keys do not fit together")
        self.base_url = credentials[0].base_url
        self.notify_url = notify_url
        self.secrets = [one.secret for one in credentials]

    def build(self, _ask: Ask, _now: datetime) -> WireRequest:
        return WireRequest("POST", "/", {"signature": self.secrets[0]}, b"")

    def read(self, _ask: Ask, _answer: WireAnswer) -> Outcome:
        return Outcome()

    def read_notice(self, _headers: Mapping[str, str], body: bytes, _now: datetime) -> Notice:
        told = json.loads(body)
        if told["secret"] not in self.secrets:
            raise NoticeRefused("forged")
        if "stale" in told:
            raise NoticeRefused("stale")
        return Notice("1", told["number"], None, Outcome())

    def read_bill(self, body: bytes) -> Iterator[BillLine]:
        raise NotImplementedError


KIND = Kind(TellerCredential, TellerChannel)
