"""Everything that is said of the speed, measured anew in turn, each target beside its figure.

    python -m bench.targets [--quick] [--only capacity overload …] [--reports reports]

Each measurement is a process of its own, on a stack of its own, and ends with its own proofs.  What
they print is shown as it comes and kept; at last all targets stand in one table, which is written
to `targets.md` in a folder of its own.  The exit status says whether all that was measured may be
believed in: 1 when a measurement failed or a proof does not hold.  A target that is missed is no
failure of the measurement: it stands in the table.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from msgspec import Struct

from bench import aims
from bench.aims import Aim
from bench.report.facts import machine_facts


class Part(Struct, frozen=True):
    """One measurement: its module, its words, those of a quick look, and how long it may take."""

    module: str
    words: tuple[str, ...]
    quick: tuple[str, ...]
    seconds_max: int


PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "capacity": Part("bench.load.capacity", (), ("--seconds", "4", "--rounds", "1"), 300),
        "overload": Part("bench.load.overload", (), ("--seconds", "10"), 300),
        "peers": Part(
            "bench.peers.compare",
            ("--rounds", "2", "--seconds", "4"),
            ("--rounds", "1", "--seconds", "3"),
            240,
        ),
        "batches": Part("bench.load.batches", (), ("--seconds", "3", "--rounds", "1"), 180),
        "ledger": Part(
            "bench.ledger",
            ("--batches", "500", "2000", "8000"),
            ("--batches", "2000", "--transfers", "50000", "--rounds", "1"),
            180,
        ),
        "growth": Part(
            "bench.load.growth",
            ("--rounds", "3"),
            ("--stored", "10000", "100000", "--seconds", "3", "--rounds", "1"),
            300,
        ),
        "soak": Part(
            "bench.load.soak",
            ("--at-capacity", "--seconds", "90"),
            ("--at-capacity", "--seconds", "15"),
            240,
        ),
    }
)


class Outcome(Struct, frozen=True):
    """What became of one measurement; `worked` is whether it ended well and its proofs hold."""

    name: str
    worked: bool
    seconds: float
    aims: list[Aim]
    told: str


def measure(name: str, part: Part, words: Sequence[str]) -> Outcome:
    """Run one measurement to its end, showing what it prints."""
    print(f"\n== {name}: python -m {' '.join([part.module, *words])}", flush=True)
    began = time.monotonic()
    told: list[str] = []
    with tempfile.TemporaryDirectory(prefix="floodgate-targets-") as folder:
        written = Path(folder) / "aims.json"
        command = [sys.executable, "-u", "-m", part.module, *words, "--aims", str(written)]
        bounded = ["timeout", "--signal=INT", "--kill-after=60", str(part.seconds_max), *command]
        with subprocess.Popen(
            bounded, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", flush=True)
                told.append(line)
        found = aims.read(written) if written.exists() else []
    lasted = time.monotonic() - began
    return Outcome(name, process.returncode == 0 and bool(found), lasted, found, "".join(told))


def document(outcomes: Sequence[Outcome], facts: Mapping[str, str]) -> str:
    """Write the table of all targets, the machine, and everything that was printed."""
    found = [aim for outcome in outcomes for aim in outcome.aims]
    text = ["# Targets", "", *aims.lines(found), ""]
    text += [f"- {name}: {value}" for name, value in facts.items()]
    for outcome in outcomes:
        proofs = "all proofs hold" if outcome.worked else "**failed, or a proof does not hold**"
        text += ["", f"## {outcome.name}: {outcome.seconds:.0f} s, {proofs}", ""]
        text += ["```", outcome.told.rstrip(), "```"]
    return "\n".join([*text, ""])


def main() -> int:
    """Run them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="look whether everything works")
    parser.add_argument("--reports", type=Path, default=Path("reports"))
    given = parser.parse_args()
    folder = given.reports / f"{datetime.now(UTC):%Y-%m-%d-%H-%M-%S-utc}-targets"
    folder.mkdir(parents=True)
    written = folder / "targets.md"
    outcomes: list[Outcome] = []
    facts = machine_facts()
    for name in given.only:
        part = PARTS[name]
        outcomes.append(measure(name, part, part.quick if given.quick else part.words))
        written.write_text(document(outcomes, facts), encoding="utf-8")
    print("\n" + "\n".join(aims.lines(aim for outcome in outcomes for aim in outcome.aims)))
    failed = [outcome.name for outcome in outcomes if not outcome.worked]
    print(
        f"failed: {', '.join(failed)}"
        if failed
        else "every measurement ended well, all proofs hold"
    )
    print(f"written: {written}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
