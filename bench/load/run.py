"""One load run from nothing to its report: own stack, load, proofs, pictures.

    python -m bench.load.run --shape spike [--seconds 30] [--peak 900] [--generator lean|locust]

Without `--peak` a short closed run measures the capacity first, and the peak is `--times` that.
The report goes into a folder of its own under `--reports`.  The exit status is the run's worth:
0 valid and proved, 1 something lost, doubled or altered, or no run at all, 2 the generator missed
starts or nothing was answered.
"""

import argparse
import asyncio
import contextlib
import json
import math
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import uvloop
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bench.load import requests
from bench.load.capacity import closed_run
from bench.load.judge import judge
from bench.load.options import above_zero, one_or_more, run_seconds
from bench.load.plan import Plan, plan_of
from bench.load.prove import exit_status
from bench.load.recorder import Progress as SoFar
from bench.load.recorder import Run
from bench.load.sampler import Sampler
from bench.load.shapes import SHAPES
from bench.load.stack import Stack, stack
from bench.report.facts import facts_of, settings_of
from bench.report.files import write
from bench.report.record import Record, title_of
from bench.report.series import figures
from bench.report.terminal import show_figures, show_run, show_verdict

_CAPACITY_SECONDS = 4.0
_CAPACITY_CONNECTIONS = 64
_CREATED = 201
_STOPPED = 130
_GENERATOR_SECONDS = 120
_FLAME_SECONDS = 10
_HERE = Path(__file__).parent


async def measured_capacity(running: Stack) -> float:
    """Say how many payments a second a closed run reaches, once everything is warm."""
    rate = 0.0
    for seconds in (_CAPACITY_SECONDS / 2, _CAPACITY_SECONDS):
        wires = requests.payments(running.credentials, running.host)
        result = await closed_run(
            running.base_url, wires, connections=_CAPACITY_CONNECTIONS, seconds=seconds
        )
        rate = result.per_second(_CREATED)
    return rate


def words_of(plan: Plan, plan_file: Path, run_file: Path, given: argparse.Namespace) -> list[str]:
    """Give the generator's command line."""
    if given.generator == "lean":
        return ["-m", "bench.load.drive", str(plan_file), str(run_file)]
    words = ["-m", "locust", "-f", str(_HERE / "locustfile.py"), "--headless", "--only-summary"]
    words += ["--host", plan.base_url, "--plan", str(plan_file), "--run-file", str(run_file)]
    words += ["--loglevel", "WARNING"]
    return [*words, "--processes", str(given.processes)] if given.processes > 1 else words


class Driver:
    """Runs the generator's process, and shows how far it is."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console = console
        self._plan = plan
        self.pid = 0
        self.begun = time.perf_counter()

    async def drive(self, words: list[str]) -> None:
        """Run it to its end; RuntimeError when it fails."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdout=asyncio.subprocess.PIPE, env={**os.environ}
        )
        self.pid = process.pid
        assert process.stdout is not None
        try:
            async with asyncio.timeout(self._plan.lasts_seconds + _GENERATOR_SECONDS):
                with self._progress() as progress:
                    task = progress.add_task("load", total=self._plan.lasts_seconds, told="")
                    async for line in process.stdout:
                        if line.startswith(b'{"at"'):
                            so_far = msgspec.json.decode(line, type=SoFar)
                            self.begun = time.perf_counter() - so_far.at
                            progress.update(task, completed=so_far.at, told=_told(so_far))
                    progress.update(task, completed=self._plan.lasts_seconds)
                if await process.wait():
                    raise RuntimeError(f"the generator failed ({process.returncode})")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(40),
            TextColumn("{task.completed:.0f}/{task.total:.0f} s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[told]}"),
            console=self._console,
        )


def _told(so_far: SoFar) -> str:
    shed = f", [yellow]{so_far.shed:,} shed[/]" if so_far.shed else ""
    failed = f", [red]{so_far.failed:,} failed[/]" if so_far.failed else ""
    return f"{so_far.answered:,} answered, {so_far.good:,} good{shed}{failed}"


@contextlib.asynccontextmanager
async def flame_graph(
    console: Console, running: Stack, path: Path, *, seconds: float
) -> AsyncIterator[None]:
    """Let py-spy look at one gateway worker for so long, while a block runs; 0 for not at all.

    Where it cannot, the run goes on without, and it is said why.
    """
    if not seconds:
        yield
        return
    (pid, *_) = running.pids("gateway")
    words = ["record", "--pid", str(pid), "--output", str(path), "--nonblocking", "--gil"]
    words += ["--rate", "200", "--duration", str(math.ceil(seconds))]
    program = str(Path(sys.executable).with_name("py-spy"))
    try:
        process = await asyncio.create_subprocess_exec(
            *(program, *words),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        console.print(f"[yellow]no flame graph: py-spy cannot be run ({error.strerror})[/]")
        yield
        return
    said = asyncio.create_task(process.communicate())
    try:
        yield
    finally:
        await asyncio.wait([said], timeout=_FLAME_SECONDS)
        if process.returncode is None:
            process.kill()
        complaint = (await said)[1].decode().strip()
        if process.returncode:
            console.print(f"[yellow]no flame graph: {escape(complaint or 'py-spy was ended')}[/]")


def titled(flame: str) -> str:
    """Put in the place of py-spy's command line what the graph shows."""
    return re.sub(r">[^<>]*--output[^<>]*</text>", ">a gateway worker</text>", flame)


async def load(
    console: Console, running: Stack, folder: Path, given: argparse.Namespace
) -> tuple[Record, int]:
    """Drive the load, prove it; gives what was recorded, and the exit status."""
    capacity = 0.0
    if given.peak is None:
        console.print("measuring the capacity …")
        capacity = await measured_capacity(running)
        console.print(f"  {capacity:,.0f} payments a second in a closed run")
        if not capacity:
            raise RuntimeError("no payment was made")
    demo = json.loads((folder / "data" / "demo.json").read_text())
    plan = plan_of(
        given.shape,
        peak=given.peak or capacity * given.times,
        seconds=given.seconds,
        seed=given.seed,
        demo=demo,
    )
    plan_file, run_file, flame_file = (folder / name for name in ("plan.json", "run.json", "f.svg"))
    plan.write(plan_file)
    facts = await facts_of(running.database_url)
    settings = settings_of(running.gateway_environment())
    console.print(f"{title_of(plan)}: peak {plan.peak:,.0f}/s, {plan.lasts_seconds:.0f} s")
    driver = Driver(console, plan)
    sampler = Sampler(running, lambda: driver.pid)
    watched = plan.lasts_seconds if given.flame else 0
    flame = flame_graph(console, running, flame_file, seconds=watched)
    async with flame, sampler.looking():
        await driver.drive(words_of(plan, plan_file, run_file, given))
    sampler.begun(driver.begun)
    console.print("proving …")
    run = msgspec.json.decode(run_file.read_bytes(), type=Run)
    verdict = await judge(plan, run.answers, running.environment())
    record = Record(
        title=title_of(plan),
        taken_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        shape=plan.shape,
        peak=plan.peak,
        seconds=plan.seconds,
        generator=given.generator,
        capacity=capacity,
        recording=run.recording,
        samples=sampler.samples,
        verdict=verdict,
        facts={**facts, "gateway workers": str(given.workers), "seed": str(plan.seed)},
        settings=settings,
        flame=titled(flame_file.read_text()) if flame_file.exists() else "",
    )
    return record, exit_status(verdict, run.recording)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="spike")
    parser.add_argument("--seconds", type=run_seconds, default=30.0, help="how long arrivals come")
    parser.add_argument("--peak", type=above_zero, help="highest rate of arrivals a second")
    parser.add_argument("--times", type=above_zero, default=1.0, help="… or times the capacity")
    parser.add_argument("--generator", choices=("lean", "locust"), default="lean")
    parser.add_argument("--processes", type=one_or_more, default=1, help="of locust")
    parser.add_argument("--workers", type=one_or_more, default=1, help="of the gateway")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--flame", action="store_true", help="a flame graph of the gateway, too")
    parser.add_argument("--reports", type=Path, default=Path("reports"))
    return parser.parse_args()


def main() -> int:
    """Run it."""
    given = parsed()
    console = Console(highlight=False)
    try:
        is_ready_for(given.reports)
        return run(console, given)
    except KeyboardInterrupt:
        console.print("stopped: nothing is proved, and there is no report")
        return _STOPPED
    except (OSError, RuntimeError) as error:
        console.print(f"[red]the run was given up: {escape(str(error))}[/]")
        return 1


def is_ready_for(reports: Path) -> None:
    """Make the folder of the reports; OSError where nothing can be written, before it matters."""
    reports.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=reports):
        pass


def run(console: Console, given: argparse.Namespace) -> int:
    """Run, prove and report what was asked for; gives the exit status."""
    console.print("starting PostgreSQL, Redis, acquirer and gateway …")
    folder = Path(tempfile.mkdtemp(prefix="floodgate-load-"))
    folder.chmod(0o711)  # root's PostgreSQL runs as another user, who must pass here
    try:
        with stack(folder / "data", workers=given.workers) as running:
            record, status = uvloop.run(load(console, running, folder, given))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show_run(console, record.recording)
    show_figures(console, figures(record))
    try:
        told = f"report: {write(record, given.reports)}"
    except OSError as error:  # a disk that became full
        told, status = f"[red]no report: {escape(str(error))}[/]", status or 1
    show_verdict(console, record.verdict, record.recording)
    console.print(told)
    return status


if __name__ == "__main__":
    sys.exit(main())
