"""Reading the books: lists of payments, balances, entries and the history of one payment.

Every list is a page by key (never by offset, never counted), within one merchant.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from gateway.domain import identity, limits
from gateway.domain.identity import uuid_of
from gateway.domain.payment import Payment, Standing, Status
from gateway.domain.posting import JournalKind
from gateway.drivers.postgres import Postgres, Row
from gateway.ledger.chart import Account, account_of
from gateway.ledger.codec import read_standing

# The merchant's public id is joined in, because a payment shows it; merchants are a small table
# that every node of a distributed engine holds.
_PAYMENT: Final = """
SELECT p.*, m.public_id AS merchant_public_id
  FROM payment p JOIN merchant m ON m.id = p.merchant_id
 WHERE p.merchant_id = $1 AND p.id = $2
"""
_PAYMENT_OF: Final = """
SELECT payment_id FROM attempt WHERE merchant_id = $1 AND id = $2
UNION ALL
SELECT payment_id FROM refund WHERE merchant_id = $1 AND id = $2
UNION ALL
SELECT payment_id FROM further_transaction WHERE merchant_id = $1 AND id = $2
"""
_BALANCES: Final = """
SELECT account, debits_posted, credits_posted FROM account WHERE merchant_id = $1 ORDER BY account
"""
# Accounts of class 5 are the platform's own costs, which merchants are not shown.
_ENTRIES: Final = """
SELECT * FROM transfer
 WHERE merchant_id = $1 AND debit_account < 50000000000 AND credit_account < 50000000000"""
_CAUSES: Final = """
SELECT id FROM attempt WHERE merchant_id = $1 AND payment_id = $2
UNION ALL
SELECT id FROM refund WHERE merchant_id = $1 AND payment_id = $2
UNION ALL
SELECT id FROM further_transaction WHERE merchant_id = $1 AND payment_id = $2
"""
_ATTEMPTS: Final = "SELECT * FROM attempt WHERE merchant_id = $1 AND payment_id = $2 ORDER BY id"
_SIGHTINGS: Final = """
SELECT * FROM sighting WHERE merchant_id = $1 AND attempt_id = ANY($2::uuid[]) ORDER BY seen_at
"""


_LATE_SUCCESS: Final = "SELECT late_success FROM merchant WHERE id = $1"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR: Final = re.compile(r"([0-9a-f]{32})\.([0-9]{1,2})\.([01])")


class Balance(Struct, frozen=True):
    """One account with what was posted on each side, in minor units."""

    account: Account
    debits: int
    credits: int


class EntryKey(Struct, frozen=True, order=True):
    """Where an entry stands in its merchant's books; later ones are greater."""

    journal: str
    leg: int
    side: int

    @property
    def cursor(self) -> str:
        """The key as a cursor of the API."""
        return f"{self.journal}.{self.leg}.{self.side}"


class Entry(Struct, frozen=True):
    """One side of one transfer."""

    key: EntryKey
    account: Account
    counter_account: Account
    direction: str
    amount: int
    currency: str
    payment_id: str
    kind: JournalKind
    created_at: datetime


def entry_key(cursor: str) -> EntryKey | None:
    """Read a cursor back; None when it is none of ours."""
    key = _CURSOR.fullmatch(cursor)
    return EntryKey(key[1], int(key[2]), int(key[3])) if key is not None else None


class PaymentFilter(Struct, frozen=True):
    """Which payments of a merchant are wanted; `below` is the id before which the page begins."""

    merchant: int
    reference: str | None = None
    status: Status | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    below: str | None = None


class PaymentPage(Struct, frozen=True):
    """Payments, newest first, and the id from which the next page goes on; None on the last one.

    A page before the last one may be short, or empty, where few payments have the status.
    """

    payments: Sequence[Payment]
    next_id: str | None


class Reader:
    """Reads of one merchant's books."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def payment(self, merchant: int, payment_id: str) -> Standing | None:
        """Read one payment as it now stands, with what only we know of it."""
        rows = await self._postgres.read(_PAYMENT, merchant, uuid_of(payment_id))
        return read_standing(rows[0]) if rows else None

    async def payment_of(self, merchant: int, part_id: str) -> str | None:
        """Name the payment of an attempt, a refund or what was paid beside it."""
        rows = await self._postgres.read(_PAYMENT_OF, merchant, uuid_of(part_id))
        return identity.public("pay", rows[0]["payment_id"].hex) if rows else None

    async def payments(self, wanted: PaymentFilter, limit: int) -> PaymentPage:
        """Give one page of up to `limit` payments.

        Time is a range of ids, which carry it.  Status has no index, because it changes: one page
        looks through a bounded number of payments and says where the next one goes on.
        """
        chosen, arguments = _choice(wanted)
        walk = limits.PAGE_WALK_ITEMS_MAX if wanted.status is not None else limit + 1
        status = wanted.status.value if wanted.status is not None else None
        found = await self._postgres.read(
            f"""
            SELECT p.*, m.public_id AS merchant_public_id
              FROM (SELECT * FROM payment WHERE {chosen} ORDER BY id DESC LIMIT {walk}) AS p
              JOIN merchant m ON m.id = p.merchant_id
             WHERE p.status = ${len(arguments) + 1} OR ${len(arguments) + 1} IS NULL
             ORDER BY p.id DESC LIMIT {limit + 1}
            """,  # noqa: S608 - numbers of ours, and conditions without values
            *(*arguments, status),
        )
        shown = [read_standing(row).payment for row in found[:limit]]
        if len(found) > limit:
            return PaymentPage(shown, shown[-1].id)
        if status is None:
            return PaymentPage(shown, None)
        last = await self._postgres.read(
            f"SELECT id FROM payment WHERE {chosen} ORDER BY id DESC OFFSET {walk - 1} LIMIT 1",  # noqa: S608 - as above
            *arguments,
        )
        return PaymentPage(shown, identity.public("pay", last[0]["id"].hex) if last else None)

    async def late_success_policy(self, merchant: int) -> str:
        """Say what this merchant wants done with money that comes late: review, adopt, refund."""
        rows = await self._postgres.read(_LATE_SUCCESS, merchant)
        policy: str = rows[0]["late_success"]
        return policy

    async def balances(self, merchant: int) -> list[Balance]:
        """Give the accounts that the merchant may see."""
        rows = await self._postgres.read(_BALANCES, merchant)
        balances = [
            Balance(account_of(row["account"]), row["debits_posted"], row["credits_posted"])
            for row in rows
        ]
        return [balance for balance in balances if balance.account.is_shown]

    async def entries(
        self,
        merchant: int,
        *,
        account: int | None,
        payment_id: str | None,
        below: EntryKey | None,
        limit: int,
    ) -> list[Entry]:
        """Give up to `limit` entries, newest cause first."""
        sql = _ENTRIES
        arguments: list[Any] = [merchant, limit]
        if account is not None:
            arguments.append(account)
            sql += f" AND ${len(arguments)} IN (debit_account, credit_account)"
        if payment_id is not None:
            arguments.append(await self._journals_of(merchant, payment_id))
            sql += f" AND journal_id = ANY(${len(arguments)}::uuid[])"
        if below is not None:
            arguments += (below.journal, below.leg)
            last = len(arguments)
            sql += f" AND (journal_id, leg) <= (${last - 1}::uuid, ${last}::smallint)"
        sql += " ORDER BY journal_id DESC, leg DESC LIMIT $2 + 1"
        entries = [
            entry
            for row in await self._postgres.read(sql, *arguments)
            for entry in _both_sides(row)
            if below is None or entry.key < below
            if account is None or entry.account.number == account
        ]
        return entries[:limit]

    async def _journals_of(self, merchant: int, payment_id: str) -> list[str]:
        causes = await self._postgres.read(_CAUSES, merchant, uuid_of(payment_id))
        return [
            identity.journal_uuid(cause["id"].hex, kind) for cause in causes for kind in JournalKind
        ]

    async def history(self, merchant: int, payment_id: str) -> tuple[Sequence[Row], Sequence[Row]]:
        """Give the attempts of a payment and what channels said of them later."""
        attempts = await self._postgres.read(_ATTEMPTS, merchant, uuid_of(payment_id))
        ids = [row["id"].hex for row in attempts]
        return attempts, await self._postgres.read(_SIGHTINGS, merchant, ids)


def _choice(wanted: PaymentFilter) -> tuple[str, list[Any]]:
    """Write a filter, all but its status, as conditions on `payment` with their arguments."""
    slack = limits.MINTED_WITHIN_SECONDS * 1000
    after, before = _milliseconds(wanted.created_after), _milliseconds(wanted.created_before)
    conditions: list[tuple[str, Any]] = [
        ("merchant_id =", wanted.merchant),
        ("reference =", wanted.reference),
        ("created_at >", wanted.created_after),
        ("created_at <", wanted.created_before),
        ("id >=", identity.uuid_floor(after - slack) if after is not None else None),
        ("id <", identity.uuid_floor(before + slack) if before is not None else None),
        ("id <", wanted.below),
    ]
    given = [(condition, value) for condition, value in conditions if value is not None]
    said = [f"{condition} ${number}" for number, (condition, _) in enumerate(given, start=1)]
    return " AND ".join(said), [value for _, value in given]


def _milliseconds(at: datetime | None) -> int | None:
    return (at - _EPOCH) // timedelta(milliseconds=1) if at is not None else None


def _both_sides(row: Row) -> tuple[Entry, Entry]:
    debit, credit = account_of(row["debit_account"]), account_of(row["credit_account"])

    def entry(side: int, direction: str, account: Account, counter: Account) -> Entry:
        return Entry(
            key=EntryKey(row["journal_id"].hex, row["leg"], side),
            account=account,
            counter_account=counter,
            direction=direction,
            amount=row["amount"],
            currency=row["currency"],
            payment_id=identity.public("pay", row["payment_id"].hex),
            kind=JournalKind(row["kind"]),
            created_at=row["created_at"],
        )

    return entry(1, "credit", credit, debit), entry(0, "debit", debit, credit)
