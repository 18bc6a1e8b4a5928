"""Every script of the simulated acquirer (section 6 of the contract), from the order to its end."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from gateway.channels.simulator import scripts
from tests.e2e.harness import Shop, System
from tests.e2e.life_kit import events, in_seconds, scan, timeline, together

pytestmark = pytest.mark.usefixtures("proven")

OPEN_SECONDS = 3

# What the merchant hears at once, how it ends, and the events; `ends` and `pays` are ours to do.
TABLE = """
tok_ok                  succeeded/              succeeded       succeeded
tok_declined            failed/                 failed          failed
tok_insufficient_funds  failed/                 failed          failed
tok_expired_card        failed/                 failed          failed
tok_timeout_booked      processing/unknown      succeeded       processing succeeded
tok_timeout_lost:ends   processing/unknown      expired         processing expired
tok_error_booked        processing/unknown      succeeded       processing succeeded
tok_pending             processing/pending      succeeded       processing succeeded
tok_pending_lost_notice processing/pending      succeeded       processing succeeded
tok_duplicate_notice    succeeded/              succeeded       succeeded
tok_wrong_amount_notice processing/pending      requires_review processing requires_review
tok_forged_notice:ends  processing/pending      expired         processing expired
tok_late_success:ends   processing/pending      requires_review processing expired late_success
tok_refund_unknown      succeeded/              succeeded       succeeded
tok_refund_fails        succeeded/              succeeded       succeeded
tok_latency_300         succeeded/              succeeded       succeeded
tok_no_such_card        failed/                 failed          failed
qr:pays                 requires_action/        succeeded       requires_action succeeded
qr:ends                 requires_action/        expired         requires_action expired
"""
# What goes on after the end of its payment has its own tests; what a close crosses, the faults.
PLAYED_ELSEWHERE = {
    "tok_close_returns",
    *("tok_late_lost_notice", "tok_late_thrice"),
    *("tok_paid_twice", "tok_twice_refund_unknown", "tok_twice_refund_fails"),
}
SCRIPTS = {
    name: (first, last, [f"payment.{event}" for event in told])
    for name, first, last, *told in map(str.split, TABLE.strip().splitlines())
}
TAKEN = {"succeeded": 1999, "requires_review": 1999}
FAILURES = {
    "tok_declined": ("card_declined", "other_method"),
    "tok_insufficient_funds": ("insufficient_funds", "retry_later"),
    "tok_expired_card": ("expired_card", "other_method"),
    "tok_no_such_card": ("unknown_token", "never"),
}


class Story(NamedTuple):
    """What one script came to: the first answer, the payment at last, and what was told."""

    first: Any
    last: Any
    events: list[str]
    timeline: list[Any]


async def played(system: System, shop: Shop, name: str, last: str) -> Story:
    token, _, what = name.partition(":")
    changes = {"expires_at": in_seconds(OPEN_SECONDS)} if what == "ends" else {}
    first = (await shop.pay(token, **changes)).json
    if what == "pays":
        assert await scan(system, shop, first) == 200
    payment = await shop.until(first["id"], last)
    told = await events(shop, first["id"])
    return Story(first, payment, told, await timeline(shop, first["id"]))


async def all_played(system: System) -> dict[str, Story]:
    await system.ready()
    async with system.shop() as shop:
        calls = [played(system, shop, name, last) for name, (_, last, _) in SCRIPTS.items()]
        return dict(zip(SCRIPTS, await together(*calls), strict=True))


@pytest.fixture(scope="module")
def stories(system: System, proven: None) -> Mapping[str, Story]:
    """All scripts, played at the same time."""
    return asyncio.run(all_played(system))


def test_no_script_is_forgotten() -> None:
    tokens = {name.partition(":")[0] for name in SCRIPTS}
    assert set(scripts._CARDS) < tokens | PLAYED_ELSEWHERE
    assert tokens - set(scripts._CARDS) == {"qr", "tok_latency_300", "tok_no_such_card"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script(stories: Mapping[str, Story], name: str) -> None:
    first, last, told = SCRIPTS[name]
    story = stories[name]
    status, certainty = story.first["status"], story.first["certainty"]
    assert f"{status}/{certainty or ''}" == first
    assert (story.last["status"], story.last["certainty"]) == (last, None)
    assert story.events == told


@pytest.mark.parametrize("name", SCRIPTS)
def test_its_money(stories: Mapping[str, Story], name: str) -> None:
    payment = stories[name].last
    wrong = name == "tok_wrong_amount_notice"
    taken = 0 if wrong else TAKEN.get(payment["status"], 0)
    assert (payment["amount_captured"], payment["amount_authorized"]) == (taken, taken)
    assert payment["amount_refunded"] == 0
    assert payment["fee"] == (12 if payment["status"] == "succeeded" else 0)
    journals = [moment for moment in stories[name].timeline if moment["kind"] == "journal"]
    assert bool(journals) == bool(taken)


@pytest.mark.parametrize("name", SCRIPTS)
def test_its_failure(stories: Mapping[str, Story], name: str) -> None:
    failure = stories[name].last["failure"]
    told = (failure["code"], failure["advice"]) if failure else None
    assert told == FAILURES.get(name)
    assert (stories[name].last["next_action"] is None) == (
        stories[name].last["status"] != "requires_action"
    )


def test_what_the_payer_has_to_do(stories: Mapping[str, Story]) -> None:
    for name in ("qr:pays", "qr:ends"):
        action = stories[name].first["next_action"]
        assert (action["type"], action["qr"].startswith("qr_")) == ("qr", True)


def test_nothing_expires_before_its_time(stories: Mapping[str, Story]) -> None:
    expired = [story.last for story in stories.values() if story.last["status"] == "expired"]
    assert len(expired) == 3
    for payment in expired:
        assert payment["updated_at"] >= payment["expires_at"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_support_can_read_the_history(stories: Mapping[str, Story], name: str) -> None:
    story = stories[name]
    moments = story.timeline
    kinds = [moment["kind"] for moment in moments]
    assert kinds[:2] == ["request", "attempt"]
    assert moments == sorted(moments, key=lambda moment: moment["at"])
    assert moments[0]["summary"] == f"19.99 CNY asked for order {story.last['reference']}"
    assert kinds.count("event") == kinds.count("state") == len(story.events)
    states = [moment["summary"] for moment in moments if moment["kind"] == "state"]
    words = {"payment.late_success": "money came late"}
    assert states == [words.get(event, event.replace(".", " is ")) for event in story.events]


def test_the_history_of_late_money(stories: Mapping[str, Story]) -> None:
    """Pending; asked at the deadline; closed; and then the money came all the same."""
    moments = stories["tok_late_success:ends"].timeline
    told = [(moment["kind"], moment["summary"]) for moment in moments]
    order = [
        ("answer", "asked to close: closed"),
        ("state", "payment is expired"),
        ("notice", "told: succeeded"),
        ("journal", "late_success: 19.99 CNY from channel receivable to suspense, long"),
    ]
    assert [entry for entry in told if entry in order] == order


def test_a_forged_notice_is_told_as_one(stories: Mapping[str, Story]) -> None:
    moments = stories["tok_forged_notice:ends"].timeline
    kinds = [moment["kind"] for moment in moments]
    assert "notice" not in kinds
    assert "refusal" in kinds
