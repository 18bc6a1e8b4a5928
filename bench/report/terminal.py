"""What a load run shows in the terminal: its figures, its proofs, and a banner nobody overlooks."""

from collections.abc import Mapping
from itertools import zip_longest

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from bench.load.judge import Verdict
from bench.load.recorder import GOOD_SECONDS, Recording
from bench.report.series import in_words


def show_run(console: Console, recording: Recording) -> None:
    """Print what was asked and how it was answered, in all and by kind of call."""
    total = Table(title="Load run", title_justify="left")
    for column in ("offered", "answered", f"good (≤ {GOOD_SECONDS:g} s)", "shed", "failed"):
        total.add_column(column, justify="right")
    counted = (recording.offered, recording.answered, recording.good)
    total.add_row(*(f"{count:,}" for count in (*counted, recording.shed, recording.failed)))
    console.print(total)
    kinds = Table(title="By kind of call", title_justify="left")
    kinds.add_column("call")
    kinds.add_column("answers")
    for column in ("p50 ms", "p90 ms", "p99 ms", "max ms"):
        kinds.add_column(column, justify="right")
    for kind, result in sorted(recording.kinds.items(), key=lambda item: -item[1].latency.total):
        told = ", ".join(
            f"{count:,}\N{NO-BREAK SPACE}x\N{NO-BREAK SPACE}{status or 'none'}"
            for status, count in sorted(result.statuses.items())
        )
        times = [result.latency.percentile(share) for share in (0.5, 0.9, 0.99)]
        row = (*times, result.latency.highest)
        kinds.add_row(kind, told, *(f"{each / 1000:,.1f}" for each in row))
    console.print(kinds)
    console.print(
        f"The generator used {recording.cpu_seconds:.1f} s of CPU, was behind its schedule by"
        f" {recording.late_seconds * 1000:,.0f} ms at most, and missed {recording.missed:,} starts."
    )


def show_figures(console: Console, figures: Mapping[str, tuple[float, str]]) -> None:
    """Print the figures of a run, each with its unit, in two columns."""
    table = Table(title="Figures", title_justify="left")
    for _ in range(2):
        table.add_column("")
        table.add_column("", justify="right")
    cells = [(name, in_words(*figure)) for name, figure in figures.items()]
    half = (len(cells) + 1) // 2
    for left, right in zip_longest(cells[:half], cells[half:], fillvalue=("", "")):
        table.add_row(*left, *right)
    console.print(table)


def show_verdict(console: Console, verdict: Verdict, recording: Recording) -> None:
    """Print the proofs, whatever stands against the run, and the banner."""
    table = Table(title="Proofs", title_justify="left")
    table.add_column("")
    table.add_column("what is proved", overflow="fold")
    table.add_column("examined", justify="right")
    table.add_column("holds")
    for proof in verdict.proofs:
        holds = "[green]yes[/]" if proof.holds else "[bold red]NO[/]"
        table.add_row(f"({proof.id})", proof.title, f"{proof.examined:,}", holds)
    agrees = "[bold red]NO[/]" if verdict.offences_count else "[green]yes[/]"
    log = (
        "every answer of the generator's log is in the books, once and unaltered"
        f" ({verdict.asked:,} asked through the API, too)"
    )
    table.add_row("log", log, f"{verdict.compared:,}", agrees)
    console.print(table)
    for proof in verdict.proofs:
        for line in proof.counterexamples:
            console.print(f"  ({proof.id}) [red]{line}[/]")
    for line in verdict.offences:
        console.print(f"  [red]{line}[/]")
    if verdict.unanswered:
        console.print(f"  {verdict.unanswered:,} began whose callers heard no good answer: kept")
    words, colour = banner(verdict, recording)
    console.print(Panel(f"[bold]{words}[/]", style=colour, expand=False))


def banner(verdict: Verdict, recording: Recording) -> tuple[str, str]:
    """Say in one line, and in one colour, what a run is worth."""
    if not verdict.holds:
        against = verdict.offences_count + sum(not proof.holds for proof in verdict.proofs)
        return f"RED: {against:,} counts against this run, whatever its speed", "white on red"
    if recording.missed:
        return f"INVALID: {recording.missed:,} starts could not happen on time", "black on yellow"
    if not recording.answered:
        return "INVALID: nothing was answered, so nothing is proved", "black on yellow"
    return "PROVED: nothing lost, nothing doubled, the books balance", "green"
