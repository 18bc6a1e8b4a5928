"""Holds the microbenchmarks against a saved baseline: `save` writes it, `check` fails beyond noise.

    python -m bench.compare save|check [--runs 3] [--baseline FILE.json]

Each kind of machine (processor, cores, Python) has a baseline of its own in `bench/baselines`.

Machines differ, so a benchmark counts as its median for one item divided by that of the calibration
loop in the same run.  The baseline holds the median of several runs, and how far they lay apart:
that is the noise.  `check` runs the suite anew and fails when a benchmark's best run is slower than
the baseline by more than twice its noise, and by no less than a tenth.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.load.options import one_or_more
from bench.report.facts import processor

_BASELINES = Path(__file__).parent / "baselines"
_CALIBRATION = "bench_calibration.py::test_calibration"
_NOISE_MIN = 0.05
_TIMES_NOISE = 2.0


class Measure(Struct, frozen=True):
    """A benchmark in calibration loops, and how far its runs lay apart as a share of that."""

    ratio: float
    noise: float


class Baseline(Struct, frozen=True):
    """What was measured where; `calibration_us` is informative only."""

    machine: str
    calibration_us: float
    benchmarks: dict[str, Measure]


def baseline_file(folder: Path = _BASELINES) -> Path:
    """Name the baseline of machines like this one."""
    minor = ".".join(platform.python_version_tuple()[:2])
    kind = f"{processor()} {os.cpu_count()} cores python {minor}".lower()
    return folder / f"{re.sub('[^a-z0-9.]+', '-', kind)}.json"


def run_once() -> dict[str, float]:
    """Run the suite; gives microseconds for one item by benchmark."""
    with tempfile.TemporaryDirectory(prefix="floodgate-bench-") as folder:
        told = Path(folder) / "told.json"
        words = ["-q", "bench/micro", "--benchmark-only", "--benchmark-disable-gc"]
        words += ["--benchmark-max-time=0.3", f"--benchmark-json={told}"]
        command = [sys.executable, "-m", "pytest", *words]
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"{done.stdout}\na benchmark failed: nothing is compared, nothing saved")
        measured = json.loads(told.read_bytes())["benchmarks"]
    return {
        bench["fullname"].removeprefix("bench/micro/"): bench["stats"]["median"]
        * 1e6
        / bench["extra_info"].get("items", 1)
        for bench in measured
    }


def baseline_of(runs: Sequence[dict[str, float]]) -> Baseline:
    """Put several runs together."""
    ratios = [_ratios(run) for run in runs]
    return Baseline(
        machine=f"{platform.machine()} {platform.system()} Python {platform.python_version()}",
        calibration_us=statistics.median(run[_CALIBRATION] for run in runs),
        benchmarks={name: _measure([run[name] for run in ratios]) for name in sorted(ratios[0])},
    )


def slower(baseline: Baseline, runs: Sequence[dict[str, float]]) -> list[str]:
    """Name what is slower than the baseline allows, and what is missing."""
    ratios = [_ratios(run) for run in runs]
    found = []
    for name, measure in baseline.benchmarks.items():
        best = min((run[name] for run in ratios if name in run), default=None)
        if best is None:
            found.append(f"{name}: it is not there any more")
            continue
        allowed = _TIMES_NOISE * max(measure.noise, _NOISE_MIN)
        if best > measure.ratio * (1 + allowed):
            found.append(
                f"{name}: {best / measure.ratio - 1:+.0%} against the baseline,"
                f" {allowed:.0%} are noise"
            )
    return found


def _ratios(run: dict[str, float]) -> dict[str, float]:
    return {name: us / run[_CALIBRATION] for name, us in run.items() if name != _CALIBRATION}


def _measure(ratios: Sequence[float]) -> Measure:
    middle = statistics.median(ratios)
    return Measure(middle, round((max(ratios) - min(ratios)) / middle, 3))


def main(words: Sequence[str], run: Callable[[], dict[str, float]] = run_once) -> int:
    """Run it; 1 when something became slower, 2 when there is no baseline for such a machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["save", "check"])
    parser.add_argument("--runs", type=one_or_more, default=3)
    parser.add_argument("--baseline", type=Path, default=baseline_file())
    given = parser.parse_args(words)
    if given.what == "check" and not given.baseline.exists():
        print(
            f"no baseline for this kind of machine yet: `make bench-save` writes {given.baseline}"
        )
        return 2
    runs = [run() for _ in range(given.runs)]
    if given.what == "save":
        given.baseline.parent.mkdir(parents=True, exist_ok=True)
        written = msgspec.json.format(msgspec.json.encode(baseline_of(runs)))
        given.baseline.write_bytes(written + b"\n")
        print(f"saved {given.baseline}")
        return 0
    baseline = msgspec.json.decode(given.baseline.read_bytes(), type=Baseline)
    found = slower(baseline, runs)
    for name in sorted(_ratios(runs[0]).keys() - baseline.benchmarks):
        print(f"{name}: not in the baseline, so held against nothing; `make bench-save` keeps it")
    print("\n".join(found) or "nothing is slower than the baseline beyond the noise")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
