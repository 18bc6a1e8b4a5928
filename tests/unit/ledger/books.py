"""A banker's view of journals: balances by account, and tables to hold them against."""

from collections import Counter

from gateway.domain.posting import Journal
from gateway.ledger.chart import account_of


class Books:
    """Balances by the account's name; debits count up, credits down."""

    def __init__(self) -> None:
        self._balances: Counter[str] = Counter()
        self._posted: set[str] = set()

    def post(self, journal: Journal | None) -> None:
        """Post a journal, which PostgreSQL would take only once, too."""
        if journal is None:
            return
        assert journal.uuid not in self._posted, f"{journal.kind.name} is posted twice"
        self._posted.add(journal.uuid)
        for transfer in journal.transfers:
            self._balances[account_of(transfer.debit).id] += transfer.amount
            self._balances[account_of(transfer.credit).id] -= transfer.amount

    def __getitem__(self, account: str) -> int:
        """Give the balance of an account."""
        return self._balances[account]

    def column(self, accounts: list[str]) -> list[int]:
        """Give the balances of these accounts; no other one may have moved."""
        assert {name for name, balance in self._balances.items() if balance} <= set(accounts)
        return [self._balances[account] for account in accounts]


def table(text: str) -> tuple[list[str], list[list[int]]]:
    """Read a table with an account in each row: the accounts, and the columns of balances."""
    rows = [line.split() for line in text.strip().splitlines()[1:]]
    columns = zip(*(map(int, row[1:]) for row in rows), strict=True)
    return [row[0] for row in rows], [list(column) for column in columns]
