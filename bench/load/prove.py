"""Proves a run that is over, shows what came out, and says it by the exit status.

    python -m bench.load.prove PLAN.json RUN.json DEMO.json

0: valid and proved; 1: something was lost, doubled or altered; 2: the generator missed starts, or
nothing was answered.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from bench.load.judge import Verdict, judge
from bench.load.plan import Plan
from bench.load.recorder import Recording, Run
from bench.report.terminal import show_run, show_verdict

PROVED, RED, INVALID = 0, 1, 2


def exit_status(verdict: Verdict, recording: Recording) -> int:
    """Say in one number what a run is worth; a red one is red whatever else it is."""
    if not verdict.holds:
        return RED
    return PROVED if recording.answered and not recording.missed else INVALID


def main(words: Sequence[str]) -> int:
    """Prove it."""
    plan = Plan.read(Path(words[0]))
    run = msgspec.json.decode(Path(words[1]).read_bytes(), type=Run)
    demo: Mapping[str, str] = msgspec.json.decode(Path(words[2]).read_bytes())
    names = ("database_url", "redis_url", "simulator_url")
    urls = {f"FLOODGATE_{name.upper()}": demo[name] for name in names}
    verdict = asyncio.run(judge(plan, run.answers, urls))
    console = Console(highlight=False)
    show_run(console, run.recording)
    show_verdict(console, verdict, run.recording)
    return exit_status(verdict, run.recording)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
