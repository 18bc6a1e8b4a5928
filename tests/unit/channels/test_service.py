"""What a channel says by itself of a new payment: only where that is all there is to do."""

from datetime import timedelta
from typing import cast

import pytest
from msgspec.structs import replace

from gateway.channels.courier import Courier
from gateway.channels.port import Ask
from gateway.channels.registry import Registry
from gateway.channels.remarks import Remarks
from gateway.channels.service import Channels
from gateway.domain.limits import REQUEST_SECONDS_MAX
from gateway.domain.outcome import Advice, Failure, NextAction, Outcome, Verdict
from gateway.domain.payment import AlipayMethod, Method, Payer, QrMethod
from gateway.domain.stages import Answered, Claimed, Drawn, Opened, Routed
from gateway.domain.wire import WireRequest
from gateway.drivers.clock import Clock
from tests.fakes.teller import CAPABILITIES, TellerChannel, TellerCredential
from tests.unit.channels.test_registry import Noon, Shelf
from tests.unit.nouns import ATTEMPT, MATCHED, NOON, STANDING

SHOWN = Outcome(Verdict.REQUIRES_ACTION, code="drawn", next_action=NextAction("qr", qr="x"))
REFUSED = Outcome(Verdict.FAILED, failure=Failure("unpayable", "No.", Advice.OTHER_METHOD))
REQUEST = WireRequest("POST", "/", {}, b"")


class Drawer(TellerChannel):
    """Draws QR codes, or says whatever else the test wants it to say."""

    name = "simulator"

    def __init__(self, *draws: str) -> None:
        super().__init__([TellerCredential(account="a", secret="s")], "https://us.example")
        self.capabilities = replace(CAPABILITIES, draws=frozenset(draws))
        self.says: Outcome | WireRequest | Exception = SHOWN
        self.heard: list[Ask] = []

    def build(self, ask: Ask, _now: object) -> WireRequest | Outcome:  # type: ignore[override]
        self.heard.append(ask)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


def channels_of(drawer: Drawer) -> Channels:
    registry = Registry([drawer], Shelf(), Clock(), notify_base="https://us.example", kinds={})
    nobody = cast(Courier, None), Noon(), cast(Remarks, None)
    return Channels(registry, *nobody)


def routed(method: Method | None = None, *, open_seconds: float = 60) -> Routed:
    ends = NOON + timedelta(seconds=open_seconds)
    payment = replace(STANDING.payment, method=method or QrMethod(), description="Tea")
    return Routed(
        Claimed(MATCHED, "k", b"f" * 32, None),
        replace(STANDING, payment=payment),
        replace(ATTEMPT, expires_at=ends),
        Payer(ip="192.0.2.1"),
        "https://shop.example/back",
    )


def test_what_a_channel_draws_is_an_answer_to_the_whole_question() -> None:
    drawer, new = Drawer("qr"), routed()
    drawn = channels_of(drawer).draw(new)
    opened = Opened(new.standing, new.attempt, new.payer, new.return_url)
    assert drawn == Drawn(new, Answered(opened, SHOWN, NOON))
    (ask,) = drawer.heard
    assert (ask.number, ask.amount, ask.currency) == (ATTEMPT.id[4:], 10_000, "CNY")
    assert (ask.method, ask.capture, ask.asked_at) == ({"type": "qr"}, True, NOON)
    assert (ask.description, ask.return_url) == ("Tea", "https://shop.example/back")
    assert (ask.payer_ip, ask.expires_at) == ("192.0.2.1", new.attempt.expires_at)


@pytest.mark.parametrize("draws", [(), ("page", "wap"), ("alipay",)])
def test_a_channel_is_not_asked_to_draw_what_it_does_not_declare(draws: tuple[str, ...]) -> None:
    """A flow goes before the type: another flow of the same type may have to be asked about."""
    drawer = Drawer(*draws)
    assert channels_of(drawer).draw(routed(AlipayMethod("qr"))) is None
    assert drawer.heard == []


def test_a_flow_is_drawn_by_its_name() -> None:
    drawer = Drawer("page", "wap")
    assert channels_of(drawer).draw(routed(AlipayMethod("page"))) is not None


@pytest.mark.parametrize(
    "says",
    [REQUEST, REFUSED, Outcome(), replace(SHOWN, channel_transaction="tx_1")],
    ids=["a request", "a refusal", "unknown", "a number of its own"],
)
def test_all_else_is_for_later(says: Outcome | WireRequest) -> None:
    """Another channel may be tried, or a number is another attempt's: both need two commits."""
    drawer = Drawer("qr")
    drawer.says = says
    assert channels_of(drawer).draw(routed()) is None


def test_a_payment_whose_time_may_end_meanwhile_is_not_drawn() -> None:
    """Whether it ended in time is found out between two commits."""
    drawer = Drawer("qr")
    channels = channels_of(drawer)
    assert channels.draw(routed(open_seconds=REQUEST_SECONDS_MAX)) is None
    assert drawer.heard == []
    assert channels.draw(routed(open_seconds=REQUEST_SECONDS_MAX + 1)) is not None


def test_an_account_that_is_gone_draws_nothing() -> None:
    new = routed()
    gone = replace(new, attempt=replace(new.attempt, account="gone"))
    assert channels_of(Drawer("qr")).draw(gone) is None


def test_what_a_channel_trips_over_is_told_before_anything_is_begun() -> None:
    drawer = Drawer("qr")
    drawer.says = ValueError("no words for it")
    with pytest.raises(ValueError, match="no words for it"):
        channels_of(drawer).draw(routed())
