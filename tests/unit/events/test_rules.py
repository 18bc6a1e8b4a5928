"""What is signed, what an answer means, and when it is tried again."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest
import standardwebhooks
import svix
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import limits
from gateway.events.rules import (
    TRIES_MAX,
    Verdict,
    body_of,
    next_try_at,
    pause_until,
    retry_after,
    secret_text,
    signed_headers,
    verdict_of,
    with_sequence,
)

NOW = datetime(2026, 7, 8, 9, 10, 11, 120000, tzinfo=UTC)
OLD, NEW = bytes(range(32)), bytes(range(32, 64))
BODY = body_of("payment.succeeded", NOW, b'{"object":"payment","sequence":7}')
Peer = tuple[Callable[[str], Any], type[Exception]]
PEERS: dict[str, Peer] = {
    "standardwebhooks": (standardwebhooks.Webhook, standardwebhooks.WebhookVerificationError),
    "svix": (svix.Webhook, svix.WebhookVerificationError),
}


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest) -> Peer:
    return PEERS[request.param]


def test_the_sequence_is_the_last_member_and_the_rest_stays_byte_for_byte() -> None:
    assert with_sequence(b'{"a": 1,"b":"}"}', 12) == b'{"a": 1,"b":"}","sequence":12}'


@given(st.dictionaries(st.text(), st.integers() | st.text(), min_size=1), st.integers(1, 2**63 - 1))
def test_the_sequence_is_added_to_any_object(data: dict[str, object], sequence: int) -> None:
    spliced = msgspec.json.decode(with_sequence(msgspec.json.encode(data), sequence))
    assert spliced == data | {"sequence": sequence}


def test_the_body_is_type_timestamp_data() -> None:
    assert BODY == (
        b'{"type":"payment.succeeded","timestamp":"2026-07-08T09:10:11.120000Z",'
        b'"data":{"object":"payment","sequence":7}}'
    )


def test_a_secret_is_32_bytes_behind_its_prefix() -> None:
    text = secret_text(OLD)
    assert text.startswith("whsec_")
    assert base64.b64decode(text.removeprefix("whsec_"), validate=True) == OLD


@pytest.mark.parametrize("key", [OLD, NEW])
def test_while_rotating_either_secret_verifies_with_libraries_of_others(
    peer: Peer, key: bytes
) -> None:
    now = datetime.now(UTC)
    headers = signed_headers("evt_1", BODY, now, [NEW, OLD])
    assert headers["webhook-id"] == "evt_1"
    assert headers["webhook-timestamp"] == str(int(now.timestamp()))
    peer[0](secret_text(key)).verify(BODY, dict(headers))


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "evt_2"},
        {"webhook-timestamp": str(int(datetime.now(UTC).timestamp()) - 60)},
        {"webhook-signature": "v1,AAAA"},
    ],
)
def test_a_changed_header_is_refused(peer: Peer, change: dict[str, str]) -> None:
    headers = signed_headers("evt_1", BODY, datetime.now(UTC), [OLD])
    with pytest.raises(peer[1]):
        peer[0](secret_text(OLD)).verify(BODY, {**headers, **change})


def test_a_changed_body_another_secret_and_an_old_try_are_refused(peer: Peer) -> None:
    webhook, refused = peer
    now = datetime.now(UTC)
    headers = dict(signed_headers("evt_1", BODY, now, [OLD]))
    with pytest.raises(refused):
        webhook(secret_text(OLD)).verify(BODY + b" ", headers)
    with pytest.raises(refused):
        webhook(secret_text(NEW)).verify(BODY, headers)
    stale = dict(signed_headers("evt_1", BODY, now - timedelta(seconds=301), [OLD]))
    with pytest.raises(refused):
        webhook(secret_text(OLD)).verify(BODY, stale)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.ACCEPTED),
        (204, Verdict.ACCEPTED),
        (299, Verdict.ACCEPTED),
        (301, Verdict.FAILED),
        (307, Verdict.FAILED),
        (400, Verdict.FAILED),
        (404, Verdict.FAILED),
        (410, Verdict.GONE),
        (429, Verdict.THROTTLED),
        (500, Verdict.FAILED),
        (502, Verdict.THROTTLED),
        (503, Verdict.FAILED),
        (504, Verdict.THROTTLED),
        (None, Verdict.FAILED),
    ],
)
def test_what_an_answer_means(status: int | None, verdict: Verdict) -> None:
    assert verdict_of(status) is verdict


def test_the_table_of_waits() -> None:
    seconds = [
        round((at - NOW).total_seconds())
        for tries in range(1, TRIES_MAX)
        if (at := next_try_at(NOW, tries, 0)) is not None
    ]
    minute, hour = 60, 3600
    assert seconds == [
        *(5, 30, 2 * minute, 5 * minute, 30 * minute),
        *(2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour),
    ]
    assert timedelta(hours=75, minutes=37) < timedelta(seconds=sum(seconds))
    assert timedelta(seconds=sum(seconds)) < timedelta(hours=75, minutes=38)


def test_the_twelfth_try_is_the_last() -> None:
    assert next_try_at(NOW, 11, 0) is not None
    assert next_try_at(NOW, 12, 0) is None
    assert next_try_at(NOW, 13, 0) is None


@pytest.mark.parametrize(("jitter", "seconds"), [(-1, 96), (0, 120), (1, 144)])
def test_a_wait_varies_by_a_fifth(jitter: float, seconds: int) -> None:
    assert next_try_at(NOW, 3, jitter) == NOW + timedelta(seconds=seconds)


def test_who_asks_for_time_gets_it_and_never_less_than_the_table_says() -> None:
    assert next_try_at(NOW, 1, 0, timedelta(seconds=90)) == NOW + timedelta(seconds=90)
    assert next_try_at(NOW, 6, 0, timedelta(seconds=90)) == NOW + timedelta(hours=2)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("0", 0),
        ("120", 120),
        ("999999999999", limits.WEBHOOK_RETRY_AFTER_SECONDS_MAX),
        ("9" * 65, 0),
        ("-5", 0),
        ("soon", 0),
        ("१२०", 0),
        (format_datetime(NOW + timedelta(minutes=3), usegmt=True), 179.88),
        ("Wed, 08 Jul 2026 09:13:11 -0000", 179.88),
        (format_datetime(NOW - timedelta(minutes=3), usegmt=True), 0),
        (format_datetime(NOW + timedelta(days=3), usegmt=True), 3600),
        ("Wed, 99 Jul 2026 09:13:11 GMT", 0),
        ("Wed, 08 Jul 99999999999999999999 09:13:11 GMT", 0),
        ("Wed, 08 Jul 2026 09:13:11 +9999999999999999", 0),
    ],
)
def test_retry_after(header: str | None, seconds: float) -> None:
    assert retry_after(header, NOW) == timedelta(seconds=seconds)


@given(st.text())
def test_no_retry_after_is_too_strange(header: str) -> None:
    wait = retry_after(header, NOW)
    assert timedelta() <= wait <= timedelta(seconds=limits.WEBHOOK_RETRY_AFTER_SECONDS_MAX)


@pytest.mark.parametrize(
    ("failures", "failing_seconds", "paused_seconds"),
    [(1, 0, None), (4, 3600, None), (5, 0, 5), (5, 400, 100), (9, 7200, 300)],
)
def test_the_breaker_opens_after_five_failures_and_for_longer_and_longer(
    failures: int, failing_seconds: int, paused_seconds: int | None
) -> None:
    until = pause_until(
        Verdict.FAILED,
        NOW,
        failures=failures,
        failing_since=NOW - timedelta(seconds=failing_seconds),
        asked=timedelta(),
    )
    assert until == (None if paused_seconds is None else NOW + timedelta(seconds=paused_seconds))


@pytest.mark.parametrize(("asked", "paused"), [(0, 5), (60, 60)])
def test_who_throttles_is_spared_at_once(asked: int, paused: int) -> None:
    until = pause_until(
        Verdict.THROTTLED, NOW, failures=1, failing_since=NOW, asked=timedelta(seconds=asked)
    )
    assert until == NOW + timedelta(seconds=paused)
