"""What the commands show to people: proofs, and a payment's timeline and journal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from gateway.domain.money import in_words
from gateway.ledger.proofs import Proof


def show_proofs(proofs: Sequence[Proof]) -> None:
    """Print each proof with what was examined, and every counterexample that was found."""
    console = Console(highlight=False)
    table = Table(title="Proofs", title_justify="left")
    table.add_column("")
    table.add_column("what is proved", overflow="fold")
    table.add_column("examined", justify="right")
    table.add_column("holds")
    for proof in proofs:
        holds = "[green]yes[/]" if proof.holds else "[bold red]NO[/]"
        table.add_row(f"({proof.id})", proof.title, f"{proof.examined:,}", holds)
    console.print(table)
    for proof in proofs:
        for line in proof.counterexamples:
            console.print(f"  ({proof.id}) [red]{line}[/]")
        for line in proof.notes:
            console.print(f"  ({proof.id}) [yellow]{line}[/]")


def show_payment(
    payment: Mapping[str, Any],
    timeline: Sequence[Mapping[str, Any]],
    entries: Sequence[Mapping[str, Any]],
) -> None:
    """Print a payment's story: what happened in order, then its journal in debits and credits."""
    console = Console(highlight=False)
    amount = in_words(payment["amount"], payment["currency"])
    console.print(f"\n[bold]{payment['id']}[/]  {amount}  [green]{payment['status']}[/]")
    story = Table(title="Timeline", title_justify="left")
    for column in ("time (UTC)", "step", "what happened"):
        story.add_column(column, overflow="fold")
    days = {moment["at"][:10] for moment in timeline}
    for moment in timeline:
        at = moment["at"][11:23] if len(days) == 1 else moment["at"][:19].replace("T", " ")
        summary, code = moment["summary"], moment["details"].get("code")
        said = summary if not code or summary.endswith(code) else f"{summary} ({code})"
        story.add_row(at, moment["kind"], said)
    console.print(story)
    journal = Table(title="Journal", title_justify="left")
    journal.add_column("account")
    journal.add_column("")
    journal.add_column("debit", justify="right")
    journal.add_column("credit", justify="right")
    for entry in reversed(entries):
        words = in_words(entry["amount"], entry["currency"])
        debit = entry["direction"] == "debit"
        journal.add_row(
            entry["account"],
            entry["account_name"],
            words if debit else "",
            "" if debit else words,
        )
    console.print(journal)


def show_beside(refunds: Sequence[Mapping[str, Any]], further: Sequence[Mapping[str, Any]]) -> None:
    """Print the refunds of a payment, and what was paid beside it with those of that."""
    console = Console(highlight=False)
    table = Table(title="Refunds, and what was paid beside", title_justify="left")
    for column in ("id", "", "status"):
        table.add_column(column, overflow="fold")
    table.add_column("amount", justify="right")

    def add(each: Mapping[str, Any], kind: str) -> None:
        failure = each.get("failure") or {}
        status = " ".join(filter(None, (each.get("status"), failure.get("code"))))
        table.add_row(each["id"], kind, status, in_words(each["amount"], each["currency"]))

    for refund in refunds:
        add(refund, "refund")
    for one in further:
        add(one, "paid beside")
        for refund in one["refunds"]:
            add(refund, "its refund")
    if table.row_count:
        console.print(table)
