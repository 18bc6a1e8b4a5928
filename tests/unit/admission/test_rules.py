"""Kinds of requests, and quotas on a clock that tests wind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission.rules import Kind, TokenBucket, Use, kind_of
from gateway.domain.stages import Quota


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/v1/payments", Kind.CREATE),
        ("POST", "/v1/payments/batch", Kind.CREATE),
        ("POST", "/v1/payments/pay_1/refunds", Kind.FINISH),
        ("POST", "/v1/payments/pay_1/capture", Kind.FINISH),
        ("GET", "/v1/payments", Kind.READ),
        ("DELETE", "/v1/webhook_endpoints/we_1", Kind.READ),
    ],
)
def test_kinds(method: str, path: str, kind: Kind) -> None:
    assert kind_of(method, path) is kind


def test_a_bucket_gives_a_seconds_worth_at_once_and_then_at_its_pace() -> None:
    bucket = TokenBucket(4, 0.0)
    for _ in range(4):
        assert bucket.wait_seconds(0.0) == 0
        bucket.take(0.0)
    assert bucket.wait_seconds(0.0) == 0.25
    assert bucket.wait_seconds(0.25) == 0
    assert not bucket.is_full(0.5)
    assert bucket.is_full(1.0)


def test_less_than_one_a_second_is_one_now_and_then() -> None:
    bucket = TokenBucket(0.5, 0.0)
    bucket.take(0.0)
    assert bucket.wait_seconds(0.0) == 2.0


@given(
    st.integers(1, 1000),
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 5)), max_size=200),
)
def test_a_bucket_never_gives_more_than_its_pace_and_one_burst(
    per_second: int, asked: list[tuple[float, int]]
) -> None:
    bucket, now, given_out = TokenBucket(per_second, 0.0), 0.0, 0
    for pause, count in asked:
        now += pause
        for _ in range(count):
            if bucket.wait_seconds(now) == 0:
                bucket.take(now)
                given_out += 1
            else:
                assert bucket.wait_seconds(now + bucket.wait_seconds(now) + 1e-6) == 0
    assert given_out <= per_second + per_second * now + 1e-6


def test_a_batch_may_owe_what_the_next_ones_wait_for() -> None:
    use = Use(Quota(per_second=10), workers=1, now=0.0)
    use.take(0.0, 500)
    assert use.wait_seconds(0.0) == 50
    assert not use.is_quiet(40.0)
    assert use.wait_seconds(49.2) == 0


def test_a_worker_grants_its_part_of_the_pace() -> None:
    use = Use(Quota(per_second=10), workers=5, now=0.0)
    use.take(0.0)
    use.take(0.0)
    assert use.wait_seconds(0.0) == 1


def test_only_so_many_at_once() -> None:
    use = Use(Quota(in_flight=2), workers=1, now=0.0)
    use.under_way = 1
    assert use.wait_seconds(0.0) == 0
    use.under_way = 2
    assert use.wait_seconds(0.0) == 1
    assert not use.is_quiet(9.0)


def test_without_a_quota_there_is_no_bound() -> None:
    use = Use(Quota(), workers=1, now=0.0)
    use.take(0.0, 10**6)
    use.under_way = 10**6
    assert use.wait_seconds(0.0) == 0


def test_a_new_quota_begins_at_once() -> None:
    use = Use(Quota(per_second=1), workers=1, now=0.0)
    use.take(0.0, 100)
    use.renew(Quota(per_second=2), 0.0)
    assert use.wait_seconds(0.0) == 0
