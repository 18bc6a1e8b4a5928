"""The chart of accounts: what each account number means and on which side it grows.

An account number is `code | sub | channel | currency` (4, 1, 3 and 3 digits; the currency is ISO
4217's numeric code), so a banker can read 11210001156 as channel receivable, simulator, CNY.  Every
account belongs to one merchant; the platform's figures are sums over merchants.
"""

import enum
import functools
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from gateway.domain import channel as channels
from gateway.domain.money import CURRENCY_OF_NUMERIC, NUMERIC_CODES
from gateway.domain.posting import Journal, JournalKind, Transfer


class Code(enum.IntEnum):
    """The accounts in use so far; the numbers are those of the chart in the documentation."""

    CHANNEL_RECEIVABLE = 1121
    SUSPENSE_SHORT = 1221
    MERCHANT_PENDING = 2201
    MERCHANT_AVAILABLE = 2202
    SUSPENSE_LONG = 2221
    REFUND_IN_TRANSIT = 2222
    COMMISSION_INCOME = 4001
    CHANNEL_FEE_COST = 5001


NAMES: Final = {
    Code.CHANNEL_RECEIVABLE: "channel receivable",
    Code.SUSPENSE_SHORT: "suspense, short",
    Code.MERCHANT_PENDING: "merchant pending",
    Code.MERCHANT_AVAILABLE: "merchant available",
    Code.SUSPENSE_LONG: "suspense, long",
    Code.REFUND_IN_TRANSIT: "refund in transit",
    Code.COMMISSION_INCOME: "commission",
    Code.CHANNEL_FEE_COST: "channel fee cost",
}
# What the platform pays its acquirers is not the merchants' business.
_OURS: Final = frozenset({Code.CHANNEL_FEE_COST})

# The receivable is split in two: what the channel owes gross, and the fee it will keep.
GROSS: Final = 0
FEES: Final = 9


class Account(Struct, frozen=True, gc=False):
    """An account of one merchant, taken apart."""

    code: Code
    currency: str
    channel: str | None = None
    sub: int = GROSS

    @property
    def number(self) -> int:
        """The number under which the account is stored."""
        return account_number(self.code, self.currency, self.channel, self.sub)

    @property
    def id(self) -> str:
        """The name under which the API shows the account, such as `1121.simulator.CNY`."""
        parts = [str(int(self.code)), self.channel, "fees" if self.sub == FEES else None]
        return ".".join([part for part in parts if part] + [self.currency])

    @property
    def name(self) -> str:
        """What the account is called."""
        return NAMES[self.code]

    @property
    def is_shown(self) -> bool:
        """Tell whether the merchant may see the account."""
        return self.code not in _OURS and self.sub != FEES

    @property
    def grows_by(self) -> str:
        """Say which side increases the account: debit for assets and costs, credit otherwise."""
        return "debit" if self.code // 1000 in {1, 5} else "credit"


@functools.lru_cache(maxsize=4096)
def account_number(code: Code, currency: str, channel: str | None = None, sub: int = GROSS) -> int:
    """Put an account's number together; five of them for each capture, and always the same."""
    number = ((code * 10 + sub) * 1000 + (channels.NUMBERS[channel] if channel else 0)) * 1000
    return number + NUMERIC_CODES[currency]


def account_of(number: int) -> Account:
    """Take an account number apart."""
    rest, currency = divmod(number, 1000)
    rest, channel = divmod(rest, 1000)
    code, sub = divmod(rest, 10)
    return Account(Code(code), CURRENCY_OF_NUMERIC[currency], channels.NAMES.get(channel), sub)


def number_of(account_id: str) -> int | None:
    """Read the API's name of an account; None when there is no such account."""
    code, _, rest = account_id.partition(".")
    parts = rest.split(".")
    channel = parts[0] if len(parts) > 1 else None
    sub = FEES if "fees" in parts[1:-1] else GROSS
    try:
        account = Account(Code(int(code)), parts[-1], channel, sub)
        return account.number if account.id == account_id else None
    except (ValueError, KeyError):
        return None


def journal(
    kind: JournalKind, cause: str, currency: str, movements: Sequence[tuple[int, int, int]]
) -> Journal:
    """Write a journal of movements (debit, credit, amount), leaving out those of nothing.

    ValueError for a negative amount: what goes back is debited elsewhere.
    """
    transfers = [Transfer(*movement) for movement in movements if movement[2]]
    return Journal(kind, cause, currency, tuple(transfers))
