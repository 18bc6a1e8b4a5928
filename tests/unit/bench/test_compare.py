"""The baseline of the microbenchmarks: what is slower beyond the noise is named, no more."""

import re
from pathlib import Path

import pytest

from bench.compare import baseline_file, baseline_of, main, slower

CALIBRATION = "bench_calibration.py::test_calibration"


def run(claims: float, *, machine: float = 1.0) -> dict[str, float]:
    return {CALIBRATION: 1000 * machine, "claims": claims * machine, "open": 15 * machine}


BASELINE = baseline_of([run(29), run(30), run(33)])


def test_the_noise_is_what_the_runs_showed() -> None:
    assert BASELINE.benchmarks["claims"].ratio == 0.03
    assert round(BASELINE.benchmarks["claims"].noise, 2) == 0.13
    assert BASELINE.benchmarks["open"].noise == 0
    assert CALIBRATION not in BASELINE.benchmarks


def test_a_slower_machine_is_no_slower_code() -> None:
    assert slower(BASELINE, [run(30, machine=3.0), run(31, machine=2.5)]) == []


def test_the_best_run_is_held_against_the_noise() -> None:
    assert slower(BASELINE, [run(60), run(37)]) == []
    (found,) = slower(BASELINE, [run(60), run(39)])
    assert found.startswith("claims: +30% against the baseline")


def test_what_is_gone_is_named() -> None:
    gone = {name: us for name, us in run(30).items() if name != "open"}
    assert slower(BASELINE, [gone]) == ["open: it is not there any more"]


def test_a_step_that_was_slowed_fails_the_check_and_nothing_else_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--baseline", str(tmp_path / "new" / "kind.json")]
    assert main(["check", *place], lambda: run(30)) == 2
    assert "no baseline" in capsys.readouterr().out
    quiet = iter([run(29), run(30), run(31)])
    assert main(["save", *place], lambda: next(quiet)) == 0
    assert main(["check", *place], lambda: run(31, machine=1.4)) == 0
    capsys.readouterr()
    assert main(["check", *place], lambda: run(36)) == 1
    assert capsys.readouterr().out.startswith("claims: +20%")


def test_what_the_baseline_does_not_know_is_told_and_fails_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--baseline", str(tmp_path / "kind.json")]
    assert main(["save", *place], lambda: run(30)) == 0
    capsys.readouterr()
    assert main(["check", *place], lambda: run(30) | {"new": 5.0}) == 0
    assert capsys.readouterr().out.startswith("new: not in the baseline")
    with pytest.raises(SystemExit):
        main(["save", *place, "--runs", "0"], lambda: run(30))


def test_each_kind_of_machine_has_its_own_baseline(tmp_path: Path) -> None:
    name = baseline_file(tmp_path).name
    assert re.fullmatch(r"[a-z0-9.-]+-cores-python-3\.\d+\.json", name)
