"""What the generators ask, what they note of the answers, and how the parts of a run add up."""

import json
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from bench.load.plan import Plan
from bench.load.recorder import GOOD_SECONDS, Recording
from bench.load.traffic import KINDS, MIXES, Answer, Traffic, is_refused

PLAN = Plan(
    run="r1",
    base_url="http://127.0.0.1:1",
    simulator_url="http://127.0.0.1:2",
    key_id="key_1",
    secret="c2VjcmV0",
    shape="spike",
    peak=10,
    seconds=10,
)
NOW = datetime(2026, 5, 1, tzinfo=UTC)


def body(**shown: object) -> bytes:
    return json.dumps({"object": "payment", "amount": 500, "status": "succeeded"} | shown).encode()


@pytest.mark.parametrize("mix", MIXES)
def test_a_mix_names_known_kinds_and_adds_up(mix: str) -> None:
    assert MIXES[mix].keys() <= KINDS.keys()
    assert sum(MIXES[mix].values()) == 1000


def test_a_number_decides_what_is_asked() -> None:
    calls = [Traffic(PLAN).call(number, 0.0) for number in range(300)]
    assert [call.kind for call in calls] == [
        Traffic(replace(PLAN, run="r2")).call(number, 0.0).kind for number in range(300)
    ]
    assert {call.kind for call in calls} >= {"pay", "declined", "QR code", "list"}
    keys = [call.request.idempotency_key for call in calls if call.request.method == "POST"]
    assert len(set(keys)) == len(keys)


def test_refunds_and_reads_are_of_payments_that_were_answered() -> None:
    traffic = Traffic(PLAN)
    wanted = [number for number in range(3000) if traffic.depends(number)]
    assert not any("/refunds" in traffic.call(number, 0.0).request.path for number in wanted)
    first = next(number for number in range(3000) if not traffic.depends(number))
    traffic.heard(traffic.call(first, 0.0), [201], body(id="pay_7"))
    asked = [traffic.call(number, 0.0).request for number in wanted]
    assert [r.path for r in asked].count("/v1/payments/pay_7/refunds") == 1
    assert any((r.method, r.path) == ("GET", "/v1/payments/pay_7") for r in asked)


def test_a_qr_code_finds_its_payer_who_signs_nothing() -> None:
    traffic = Traffic(PLAN)
    call = next(c for n in range(300) if (c := traffic.call(n, 1.0)).kind == "QR code")
    shown = body(id="pay_1", status="requires_action", next_action={"type": "qr", "qr": "abc"})
    payer = traffic.heard(call, [201], shown)
    assert payer is not None
    assert (payer.request.path, payer.is_to_acquirer) == ("/pay/abc", True)
    assert traffic.headers(payer, NOW) == {}
    assert "Signature" in traffic.headers(call, NOW)
    assert traffic.heard(payer, [200], b"{}") is None
    assert [(a.id, a.state, a.amount) for a in traffic.answers] == [
        ("pay_1", "requires_action", 500)
    ]


def test_a_refusal_is_one_only_when_every_try_was_turned_away() -> None:
    assert is_refused(Answer(1, "pay", (503, 429)))
    assert not is_refused(Answer(1, "pay", (0, 503)))


def test_a_plan_hides_its_secret() -> None:
    assert PLAN.secret not in repr(PLAN)


def test_a_recording_counts_arrivals_when_due_and_answers_when_they_come() -> None:
    recording = Recording()
    recording.due(0.9)
    recording.ended("pay", [201], at=0.9, latency=0.3)
    recording.due(0.95)
    recording.ended("pay", [0, 503], at=0.95, latency=0.01)
    recording.due(1.0)
    recording.ended("pay", [500], at=1.0, latency=0.01)
    first, second = recording.seconds
    assert (first.offered, first.answered, first.shed, first.latency.total) == (2, 1, 1, 1)
    assert (second.offered, second.answered, second.good, second.failed) == (1, 2, 1, 1)
    assert recording.retries == 1
    assert recording.refusals.total == 1


def test_what_comes_too_late_does_nobody_good_unless_its_script_is_slow() -> None:
    recording = Recording()
    recording.ended("pay", [201], at=0.0, latency=GOOD_SECONDS + 0.5)
    assert (recording.answered, recording.good) == (1, 0)
    recording.ended("timeout, booked", [201], at=0.0, latency=3.0)
    assert recording.good == 1
    assert recording.latency().total == 1, "scripted silence stays out of the latencies"


def test_parts_of_a_run_add_up() -> None:
    whole, parts = Recording(), [Recording() for _ in range(3)]
    for number in range(90):
        for recording in (whole, parts[number % 3]):
            recording.due(number / 10)
            recording.ended("pay", [201], at=number / 10, latency=number / 100)
    parts[1].missed = 2
    added = Recording().add(parts[0]).add(parts[1]).add(parts[2])
    assert added.missed == 2
    assert replace(added, missed=0) == whole
