"""The chart of accounts: a number says what it is, and every name leads back to its number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import channel as channels
from gateway.domain.money import NUMERIC_CODES
from gateway.ledger.chart import FEES, GROSS, NAMES, Account, Code, account_of, number_of

CODES = st.sampled_from(Code)
CURRENCIES = st.sampled_from(sorted(NUMERIC_CODES))
CHANNELS = st.sampled_from(sorted(channels.NUMBERS))
# Only what is owed by a channel is split into gross and fees.
ACCOUNTS = st.builds(Account, CODES, CURRENCIES, st.none() | CHANNELS) | st.builds(
    Account, CODES, CURRENCIES, CHANNELS, st.sampled_from([GROSS, FEES])
)


@pytest.mark.parametrize(
    ("account", "number", "name"),
    [
        (Account(Code.CHANNEL_RECEIVABLE, "CNY", "simulator"), 11210001156, "1121.simulator.CNY"),
        (
            Account(Code.CHANNEL_RECEIVABLE, "CNY", "simulator", FEES),
            11219001156,
            "1121.simulator.fees.CNY",
        ),
        (Account(Code.MERCHANT_PENDING, "CNY"), 22010000156, "2201.CNY"),
        (Account(Code.COMMISSION_INCOME, "ALL"), 40010000008, "4001.ALL"),
        (Account(Code.CHANNEL_FEE_COST, "USD", "crypto"), 50010006840, "5001.crypto.USD"),
    ],
)
def test_a_banker_reads_the_number(account: Account, number: int, name: str) -> None:
    assert (account.number, account.id) == (number, name)


@given(ACCOUNTS)
def test_numbers_and_names_lead_back(account: Account) -> None:
    assert account_of(account.number) == account
    assert number_of(account.id) == account.number


@given(ACCOUNTS, ACCOUNTS)
def test_two_accounts_share_neither_number_nor_name(one: Account, other: Account) -> None:
    assert (one == other) == (one.number == other.number) == (one.id == other.id)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "1121",
        "1121.",
        "2201..CNY",
        "9999.CNY",
        "2201.XXX",
        "2201.cny",
        "2201.CNY.",
        " 2201.CNY",
        "02201.CNY",
        "+2201.CNY",
        "２２０１.CNY",  # noqa: RUF001 - digits, but wide ones
        "1121.nobody.CNY",
        "1121.fees.CNY",
        "1121.fees.simulator.CNY",
        "1121.simulator.fees.fees.CNY",
        "1121.simulator.other.CNY",
        "9" * 5000 + ".CNY",
    ],
    ids=lambda name: name[:24],
)
def test_what_names_no_account(name: str) -> None:
    assert number_of(name) is None


@given(st.text(st.sampled_from("0129.aefsCNYimulator"), max_size=30))
def test_no_name_is_understood_in_two_ways(name: str) -> None:
    number = number_of(name)
    assert number is None or account_of(number).id == name


@pytest.mark.parametrize(
    ("code", "side"),
    [
        (Code.CHANNEL_RECEIVABLE, "debit"),
        (Code.SUSPENSE_SHORT, "debit"),
        (Code.MERCHANT_PENDING, "credit"),
        (Code.MERCHANT_AVAILABLE, "credit"),
        (Code.SUSPENSE_LONG, "credit"),
        (Code.REFUND_IN_TRANSIT, "credit"),
        (Code.COMMISSION_INCOME, "credit"),
        (Code.CHANNEL_FEE_COST, "debit"),
    ],
)
def test_assets_and_costs_grow_by_debit(code: Code, side: str) -> None:
    assert Account(code, "CNY").grows_by == side


def test_merchants_are_not_shown_our_costs() -> None:
    hidden = {code for code in Code if not Account(code, "CNY").is_shown}
    assert hidden == {Code.CHANNEL_FEE_COST}
    assert not Account(Code.CHANNEL_RECEIVABLE, "CNY", "simulator", FEES).is_shown


def test_every_account_has_a_name_and_every_channel_a_number() -> None:
    assert NAMES.keys() == set(Code)
    assert len(set(NAMES.values())) == len(NAMES)
    assert len(channels.NAMES) == len(channels.NUMBERS)
    assert all(0 < number < 1000 for number in channels.NAMES)
