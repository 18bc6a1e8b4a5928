"""Ids: ordered by time, carrying their merchant, each the father of its journals' ids."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import identity
from gateway.domain.posting import JournalKind

MERCHANTS = st.integers(0, identity.MERCHANT_NUMBER_MAX)
MILLISECONDS = st.integers(0, 2**48 - 1)
PREFIXES = st.sampled_from(["pay", "att", "re", "evt", "mer", "key", "we", "ntc", "crd"])
ONE = "pay_019de368f60073d18000000773905a40"


@given(PREFIXES, MERCHANTS, MILLISECONDS)
def test_an_id_carries_merchant_and_time(prefix: str, merchant: int, milliseconds: int) -> None:
    minted = identity.mint(prefix, merchant, milliseconds)
    assert identity.is_id(minted, prefix)
    assert identity.merchant_number(minted) == merchant
    assert identity.milliseconds_of(minted) == milliseconds
    assert identity.public(prefix, identity.uuid_of(minted)) == minted
    assert identity.public(prefix, str(uuid.UUID(identity.uuid_of(minted)))) == minted


@given(MERCHANTS, MILLISECONDS)
def test_an_id_is_a_uuid_of_version_7(merchant: int, milliseconds: int) -> None:
    made = uuid.UUID(identity.uuid_of(identity.mint("pay", merchant, milliseconds)))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    raw = identity.public("evt", identity.mint_uuid(merchant, milliseconds).hex())
    assert identity.is_id(raw, "evt")
    assert identity.merchant_number(raw) == merchant
    assert identity.milliseconds_of(raw) == milliseconds


@given(MERCHANTS, MERCHANTS, st.lists(MILLISECONDS, min_size=2, max_size=2, unique=True))
def test_ids_are_ordered_by_time(one: int, other: int, times: list[int]) -> None:
    earlier, later = sorted(times)
    assert identity.mint("pay", one, earlier) < identity.mint("pay", other, later)


@given(MERCHANTS, MERCHANTS, st.lists(st.integers(0, 2**57), min_size=2, max_size=2, unique=True))
def test_ids_in_order_are_so_by_the_microsecond(one: int, other: int, times: list[int]) -> None:
    earlier, later = (
        identity.mint_in_order(
            "pay", merchant, milliseconds=micros // 1000, microsecond=micros % 1_000_000
        )
        for merchant, micros in zip((one, other), sorted(times), strict=True)
    )
    assert earlier < later
    made = uuid.UUID(identity.uuid_of(earlier))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert identity.milliseconds_of(earlier) == min(times) // 1000


def test_ids_of_one_millisecond_differ() -> None:
    assert len({identity.mint("pay", 7, 0) for _ in range(4096)}) == 4096


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pay_",
        ONE[4:],
        ONE[:-1],
        ONE + "0",
        ONE + "\n",
        ONE.upper(),
        ONE.replace("pay_", "att_"),
        ONE.replace("pay_", "pay-"),
        ONE[:-1] + "g",
        ONE[:-1] + "٣",  # a digit, but of another script
        str(uuid.UUID(ONE[4:])),
    ],
)
def test_what_is_no_payment_id(text: str) -> None:
    assert not identity.is_id(text, "pay")


def test_a_prefix_of_nobody_is_no_id() -> None:
    assert not identity.is_id(ONE.replace("pay_", "xyz_"), "xyz")


@given(MERCHANTS, MILLISECONDS)
def test_a_journal_has_the_id_of_its_cause_with_the_kind_at_its_end(
    merchant: int, milliseconds: int
) -> None:
    cause = identity.mint("att", merchant, milliseconds)
    journals = {identity.journal_uuid(cause, kind) for kind in JournalKind}
    assert len(journals) == len(JournalKind)
    assert identity.uuid_of(cause) not in journals
    assert {journal[:-1] for journal in journals} == {identity.uuid_of(cause)[:-1]}
    assert {identity.merchant_number(journal) for journal in journals} == {merchant}
    assert identity.journal_uuid(identity.uuid_of(cause), 1) == identity.journal_uuid(cause, 1)


@given(MERCHANTS, MILLISECONDS, st.text(), st.text())
def test_what_follows_from_a_cause_and_a_word_has_one_id(
    merchant: int, milliseconds: int, word: str, other: str
) -> None:
    cause = identity.mint("att", merchant, milliseconds)
    made = identity.derived("xtr", cause, word)
    assert made == identity.derived("xtr", cause, word)
    assert identity.merchant_number(made) == merchant
    assert identity.milliseconds_of(made) == milliseconds
    assert made[-1] == "0", "its journals have their kind there"
    assert (made == identity.derived("xtr", cause, other)) == (word == other)
