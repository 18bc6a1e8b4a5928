"""The admission step: who gets a seat, who is told to come again, and that no seat is lost."""

from contextlib import ExitStack

import pytest
from msgspec.structs import replace
from prometheus_client import REGISTRY

from gateway.admission.rules import Kind
from gateway.admission.service import Admission, Refused
from gateway.domain import limits
from gateway.domain.errors import Problem
from gateway.domain.room import SEAT, kept
from gateway.domain.stages import Merchant, Quota, Verified
from tests.unit.nouns import MERCHANT, VERIFIED

SMALL = replace(MERCHANT, number=8)


class Watch:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def of(merchant: Merchant, path: str = "/v1/payments", method: str = "POST") -> Verified:
    received = replace(VERIFIED.received, target=path, method=method)
    return replace(VERIFIED, merchant=merchant, received=received)


def flooded(admission: Admission, merchant: Merchant, held: ExitStack) -> int:
    """Let a merchant hold every seat that it gets; gives how many those are."""
    count = 0
    while admission.refusal(Kind.CREATE, merchant) is None:
        held.enter_context(admission.admit(of(merchant)))
        count += 1
    return count


def refused(admission: Admission, verified: Verified) -> Problem:
    with pytest.raises(Problem) as refusal, admission.admit(verified):
        pass
    return refusal.value


def test_a_flood_leaves_the_kept_seats_to_the_others() -> None:
    admission, start = Admission(now=Watch()), limits.SEATS_START
    with ExitStack() as held:
        assert flooded(admission, MERCHANT, held) == start - kept(start)
        problem = refused(admission, of(MERCHANT))
        assert (problem.code, problem.kind.status) == ("overloaded", 503)
        assert 1 <= int(problem.extra["retry_after"]) <= limits.RETRY_AFTER_SECONDS_MAX
        with admission.admit(of(SMALL)):
            pass
    assert admission.refusal(Kind.CREATE, MERCHANT) is None


def test_as_many_are_spared_as_would_be_let_in() -> None:
    watch = Watch()
    admission, free = Admission(now=watch), limits.SEATS_START - kept(limits.SEATS_START)
    quota = replace(SMALL, quota=Quota(per_second=10, in_flight=4))
    with ExitStack() as held:
        for merchant in (None, MERCHANT, quota):
            assert admission.spare(Kind.CREATE, merchant) == free
        admission.let_in()
        held.enter_context(admission.admit(of(MERCHANT)))
        assert admission.spare(Kind.CREATE, MERCHANT) == free - 2
        admission.came()
        held.enter_context(admission.admit(of(quota)))
        assert admission.spare(Kind.CREATE, quota) == 3
        for _ in range(6):
            with admission.admit(of(quota)):
                pass
        assert admission.spare(Kind.CREATE, quota) == 3
        with admission.admit(of(quota)):
            pass
        assert admission.spare(Kind.CREATE, quota) == 2
        flooded(admission, MERCHANT, held)
        assert admission.spare(Kind.CREATE, MERCHANT) == 0
        assert admission.spare(Kind.CREATE, quota) == 1, "who is below its share has one at least"
    assert admission.spare(Kind.CREATE, MERCHANT) == free


def test_what_finishes_a_payment_goes_before_new_ones_and_reads_have_their_own_room() -> None:
    admission = Admission(now=Watch())
    with ExitStack() as held:
        flooded(admission, MERCHANT, held)
        with admission.admit(of(MERCHANT, "/v1/payments/pay_1/capture")):
            pass
        with admission.admit(of(MERCHANT, method="GET")):
            pass


def test_a_quota_is_the_merchants_own_and_is_told_apart() -> None:
    watch = Watch()
    admission = Admission(now=watch)
    bounded = replace(MERCHANT, quota=Quota(per_second=2))
    for _ in range(2):
        with admission.admit(of(bounded)):
            pass
    problem = refused(admission, of(bounded))
    assert (problem.code, problem.extra) == ("rate_limited", {"retry_after": 1})
    with admission.admit(of(SMALL)), admission.admit(of(bounded, method="GET")):
        pass
    watch.now += 0.5
    with admission.admit(of(bounded)):
        pass


def test_a_quota_that_changes_is_granted_with_the_next_request() -> None:
    admission = Admission(now=Watch())
    bounded = replace(MERCHANT, quota=Quota(in_flight=1))
    with admission.admit(of(bounded)):
        assert refused(admission, of(bounded)).code == "rate_limited"
        wider = replace(MERCHANT, quota=Quota(in_flight=2))
        assert admission.refusal(Kind.CREATE, wider) is None
        with admission.admit(of(wider)):
            pass


def test_what_nobody_waits_for_any_more_is_not_begun() -> None:
    watch = Watch()
    admission, verified = Admission(now=watch), of(MERCHANT)
    late = replace(verified, received=replace(verified.received, answer_by=watch.now - 1))
    assert refused(admission, late).code == "overloaded"


def test_new_payments_stand_back_when_no_channel_has_room() -> None:
    words = {MERCHANT.number: "channels_full", 9: "channels_away"}
    admission = Admission(now=Watch(), no_channel=words.get)
    assert refused(admission, of(MERCHANT)).code == "overloaded"
    assert refused(admission, of(replace(MERCHANT, number=9))).code == "unavailable"
    with admission.admit(of(SMALL)), admission.admit(of(MERCHANT, "/v1/payments/p/refunds")):
        pass


def test_the_gate_charges_nobody() -> None:
    admission = Admission(now=Watch())
    bounded = replace(MERCHANT, quota=Quota(per_second=1))
    for _ in range(100):
        assert admission.refusal(Kind.CREATE, bounded) is None
        assert admission.refusal(Kind.CREATE, None) is None
    with admission.admit(of(bounded)):
        pass
    refusal = admission.refusal(Kind.CREATE, bounded)
    assert refusal == Refused("quota", 1)
    assert refusal.status == 429


def test_who_was_let_in_takes_room_until_it_came() -> None:
    admission = Admission(now=Watch())
    for _ in range(2 * limits.SEATS_START):
        admission.let_in()
    assert admission.refusal(Kind.CREATE, MERCHANT) is not None
    admission.came()
    assert admission.refusal(Kind.CREATE, MERCHANT) is None
    assert admission.refusal(Kind.CREATE, None) is not None


def test_who_was_let_in_is_seated_although_seats_came_back_meanwhile() -> None:
    admission = Admission(now=Watch())
    coming = of(MERCHANT)
    mine = replace(coming, received=replace(coming.received, kept_for=coming.key_id))
    not_mine = replace(coming, received=replace(coming.received, kept_for="key_of_somebody_else"))
    with ExitStack() as held:
        seated = flooded(admission, MERCHANT, held)
        with admission.admit(mine):
            assert admission._writes.room.taken == seated + 1
        for other in (not_mine, coming):
            assert refused(admission, other).code == "overloaded"
        bounded = replace(MERCHANT, quota=Quota(in_flight=1))
        assert refused(admission, replace(mine, merchant=bounded)).code == "rate_limited"


def test_a_request_that_fails_gives_its_seat_back() -> None:
    admission = Admission(now=Watch())
    for _ in range(3 * limits.SEATS_START):
        with pytest.raises(ZeroDivisionError), admission.admit(of(MERCHANT)):
            raise ZeroDivisionError
    assert SEAT.get() is None


@pytest.mark.parametrize("is_told", [True, False])
def test_payments_without_a_call_are_no_standstill_where_that_is_told(*, is_told: bool) -> None:
    """Each is here for 40 ms, and as many leave as come."""
    watch = Watch()
    admission = Admission(now=watch)
    inside: list[ExitStack] = []
    for _ in range(60):
        with ExitStack() as coming:
            for _ in range(80):
                if admission.refusal(Kind.CREATE, MERCHANT) is None:
                    coming.enter_context(admission.admit(of(MERCHANT)))
                    if is_told:
                        admission.made()
            inside.append(coming.pop_all())
        watch.now += 0.02
        if len(inside) == 2:
            inside.pop(0).close()
    assert (admission._limit.value >= limits.SEATS_START) == is_told
    inside.pop().close()


def test_a_house_that_stands_still_takes_less_before_anybody_has_left() -> None:
    watch = Watch()
    admission = Admission(now=watch)
    with ExitStack() as held:
        seated = flooded(admission, MERCHANT, held)
        for _ in range(5):
            watch.now += limits.STALL_SECONDS
            assert admission.refusal(Kind.CREATE, MERCHANT) is not None
    with ExitStack() as held:
        assert flooded(admission, MERCHANT, held) <= seated // 4


def test_a_batch_uses_up_room_and_quota_for_what_it_carries() -> None:
    admission = Admission(now=Watch())
    bounded = replace(MERCHANT, quota=Quota(per_second=10))
    with ExitStack() as held:
        held.enter_context(admission.admit(of(bounded, "/v1/payments/batch")))
        admission.widen(bounded, 500)
        assert refused(admission, of(bounded)).extra == {"retry_after": 50}
        part = limits.SEATS_START // limits.BATCH_SEATS_PART
        left = limits.SEATS_START - kept(limits.SEATS_START) - part
        assert flooded(admission, SMALL, held) == left


def test_merchants_that_are_quiet_are_forgotten() -> None:
    watch = Watch()
    admission = Admission(now=watch)
    for number in range(100):
        with admission.admit(of(replace(MERCHANT, number=number, quota=Quota(per_second=1)))):
            pass
    watch.now += 2
    admission.tell()
    assert admission._writes.uses == {}


def test_what_became_of_requests_is_told_once() -> None:
    def told(outcome: str) -> float:
        labels = {"kind": "create", "outcome": outcome}
        return REGISTRY.get_sample_value("floodgate_admission_total", labels) or 0.0

    admission = Admission(now=Watch())
    admission.tell()
    admitted, over_quota = told("admitted"), told("quota")
    bounded = replace(MERCHANT, quota=Quota(per_second=2))
    for _ in range(2):
        with admission.admit(of(bounded)):
            pass
    refused(admission, of(bounded))
    for _ in range(2):
        admission.tell()
        assert (told("admitted") - admitted, told("quota") - over_quota) == (2, 1)
