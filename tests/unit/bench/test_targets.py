"""Targets stand beside their figures, and a measurement that fails is told as failed."""

from pathlib import Path

import pytest

from bench import aims
from bench.aims import Aim, at_least, at_most
from bench.load.soak import Look, trend_of
from bench.targets import Outcome, Part, document, measure


@pytest.mark.parametrize(
    ("aim", "row"),
    [
        (at_least("a", 0.349, 0.35), ("≥ 0.35", "0.35", False)),
        (at_least("a", 127_001, 127_000), ("≥ 127,000", "127,001", True)),
        (at_most("a", 12.34, 10, " ms"), ("≤ 10 ms", "12.3 ms", False)),
        (at_most("a", 0, 0), ("≤ 0", "0", True)),
        (at_most("a", 0.0034, 0.2), ("≤ 0.2", "0.003", True)),
    ],
)
def test_a_figure_is_held_against_its_target(aim: Aim, row: tuple[str, str, bool]) -> None:
    assert (aim.target, aim.measured, aim.met) == row


def test_aims_are_a_table_and_survive_their_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [at_least("speed", 7, 6), Aim("CPU", "", "8 µs")]
    aims.tell(both, tmp_path / "aims.json")
    assert aims.read(tmp_path / "aims.json") == both
    head, line, speed, cpu = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in speed.split("|")[1:5]] == ["speed", "≥ 6", "7", "yes"]
    assert [cell.strip() for cell in cpu.split("|")[1:5]] == ["CPU", "", "8 µs", ""]
    assert len({len(row) for row in (head, line, speed, cpu)}) == 1


def test_a_document_has_one_table_of_all_and_says_what_failed() -> None:
    good = Outcome("peers", worked=True, seconds=61.2, aims=[at_least("x", 7, 6)], told="round 1\n")
    bad = Outcome("ledger", worked=False, seconds=3, aims=[], told="Traceback\n")
    text = document([good, bad], {"cores": "2"})
    assert text.index("| x ") < text.index("- cores: 2") < text.index("## peers: 61 s, all proofs")
    assert "## ledger: 3 s, **failed" in text
    assert "```\nTraceback\n```" in text


def test_a_measurement_that_ends_badly_has_not_worked() -> None:
    outcome = measure("none", Part("bench.report", (), (), 60), ("no such command",))
    assert not outcome.worked
    assert outcome.aims == []
    assert "usage:" in outcome.told


def test_memory_is_flat_when_it_rises_only_while_it_warms_up() -> None:
    def looks(held: list[int]) -> list[Look]:
        return [Look(10.0 * number, {"gateway": each}) for number, each in enumerate(held)]

    flat = trend_of("gateway", looks([10, 40, 80, 100, 99, 101, 100, 99, 101]))
    assert flat.mean == 100
    assert abs(flat.percent) < 1
    rising = trend_of("gateway", looks([0, 0, 0, 100, 102, 104, 106, 108, 110]))
    assert rising.slope == pytest.approx(0.2)
    assert rising.rise == pytest.approx(10)
    assert rising.percent == pytest.approx(1000 / 105)
