"""The locust suite: signed requests in an open model, from one process or from many.

    python -m locust -f bench/load/locustfile.py --headless --demo .floodgate/demo.json \
        --load-shape spike --peak 200 --load-seconds 60          (--processes 2, --worker, …)

Locust's users are a closed model: who waits for an answer sends nothing meanwhile, and so spares
the system when it is slow.  Here one user is a whole process's share of a schedule: at each arrival
a greenlet sends the call, whatever became of those before, and the time that locust reports counts
from the scheduled start.  An arrival that finds no connection is missed, and makes the run invalid.
At the end the run is proved; a run that lost or doubled anything ends with status 1.
"""

import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
import msgspec
from gevent.pool import Group
from locust import FastHttpUser, LoadTestShape, events, task
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner
from msgspec.structs import replace

from bench.load.options import above_zero, run_seconds
from bench.load.plan import Plan, plan_of
from bench.load.recorder import Recording, Run, progress_of
from bench.load.shapes import SHAPES
from bench.load.traffic import TRY_AGAIN, Call, Traffic, pause_seconds

_LEAD_SECONDS = 1.5
_PART = "floodgate-part"
_LAST_ANSWERS_SECONDS = 40
_PROGRESS_SECONDS = 0.5
_IDLE_SECONDS = 3600


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _arguments(parser: Any) -> None:
    group = parser.add_argument_group("Floodgate")
    group.add_argument("--demo", default=".floodgate/demo.json", help="where, and as whom")
    group.add_argument("--load-shape", default="spike", choices=SHAPES)
    group.add_argument(
        "--peak", type=above_zero, default=200.0, help="highest rate of arrivals a second"
    )
    group.add_argument("--load-seconds", type=run_seconds, default=60.0)
    group.add_argument("--load-seed", type=int, default=0)
    group.add_argument("--plan", default="", help="a plan's file, instead of all these")
    group.add_argument("--run-file", default="", help="hand the run on, unproved, to whoever asks")


class Desk:
    """What one process knows of the run: its plan, its beginning; the master gathers the parts."""

    def __init__(self, options: Namespace) -> None:
        self._options = options
        self._parts: list[Run] = []
        self.begun_at = 0.0
        self.recording: Recording | None = None  # of the user that this process has

    def prepare(self, environment: Environment) -> None:
        """Before the first user: fix the plan, the beginning, and who takes which part."""
        options = self._options
        if isinstance(environment.runner, WorkerRunner):
            return
        if options.plan:
            plan = Plan.read(Path(options.plan))
        else:
            demo = msgspec.json.decode(Path(options.demo).read_bytes())
            plan = plan_of(
                options.load_shape,
                peak=options.peak,
                seconds=options.load_seconds,
                seed=options.load_seed,
                demo=demo,
            )
        runner: Any = environment.runner
        is_master = isinstance(runner, MasterRunner)
        names = [node.id for node in runner.clients.ready] if is_master else [runner.client_id]
        self.plan = replace(plan, parts=len(names))
        self.begun_at = time.time() + _LEAD_SECONDS
        # Locust sends its options to the workers.
        options.floodgate_parts = {name: number for number, name in enumerate(names)}
        options.floodgate_plan = msgspec.json.encode(self.plan).decode()
        options.floodgate_begins_at = self.begun_at

    def take_part(self, environment: Environment, msg: Any) -> None:  # noqa: ARG002 - locust's
        """Gather what one process measured."""
        self._parts.append(msgspec.json.decode(msg.data["run"], type=Run))

    @property
    def is_over(self) -> bool:
        """Tell whether every process has handed in its part, or never will."""
        if not self.begun_at:
            return False
        last = self.begun_at + self.plan.lasts_seconds + _LAST_ANSWERS_SECONDS
        return len(self._parts) >= self.plan.parts or time.time() > last

    def whole(self) -> Run:
        """Add the parts up; what a lost process should have sent counts as missed."""
        whole = Run(self.plan.run, Recording(), [])
        for part in self._parts:
            whole.recording.add(part.recording)
            whole.answers += part.answers
        if len(self._parts) < self.plan.parts:
            planned = len(replace(self.plan, parts=1).schedule())
            whole.recording.missed += planned - whole.recording.offered
        return whole

    def tell(self, environment: Environment) -> None:
        """Print a line of progress again and again.

        Of other processes a master hears only by locust's own statistics, which count each try.
        """
        while True:
            gevent.sleep(_PROGRESS_SECONDS)
            if self.begun_at and not isinstance(environment.runner, WorkerRunner):
                so_far = self.recording or _counted_by_locust(environment)
                sys.stdout.buffer.write(progress_of(so_far, time.time() - self.begun_at))
                sys.stdout.buffer.flush()


def _counted_by_locust(environment: Environment) -> Recording:
    total = environment.stats.total
    so_far = Recording()
    so_far.due(0.0)
    so_far.seconds[0].offered = so_far.seconds[0].answered = total.num_requests
    so_far.seconds[0].failed = total.num_failures
    so_far.seconds[0].good = total.num_requests - total.num_failures
    return so_far


@events.init.add_listener  # type: ignore[untyped-decorator]
def _set_up(environment: Environment, runner: Any, **_: Any) -> None:
    options: Any = environment.parsed_options
    desk = Desk(options)
    environment.floodgate = desk  # the shape asks for it here
    if not isinstance(runner, WorkerRunner):
        runner.register_message(_PART, desk.take_part)
        environment.events.quitting.add_listener(_prove)
    if options.run_file:
        gevent.spawn(desk.tell, environment)


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def _begin(environment: Environment, **_: Any) -> None:
    try:
        environment.floodgate.prepare(environment)  # see _set_up
    except Exception:
        # Locust would go on and wait for a run that never begins.
        environment.process_exit_code = 1
        environment.runner.quit()
        raise


class Schedule(LoadTestShape):  # type: ignore[misc]  # locust is not looked into
    """One user a process, until every process has handed in its part."""

    use_common_options = False

    def tick(self) -> tuple[int, float] | None:
        """Say how many users there should be; None ends the run."""
        runner: Any = self.runner
        if runner.environment.floodgate.is_over:
            return None
        parts = runner.worker_count if isinstance(runner, MasterRunner) else 1
        return parts, float(parts)


class Payers(FastHttpUser):  # type: ignore[misc]  # as above
    """Everybody whose arrival falls to this process."""

    def __init__(self, environment: Environment) -> None:
        options: Any = environment.parsed_options
        plan = msgspec.json.decode(options.floodgate_plan, type=Plan)
        runner: Any = environment.runner
        self._plan = replace(plan, part=options.floodgate_parts[runner.client_id])
        # Between the clocks of two machines there is nothing better than the time of day.
        self._begun = time.perf_counter() + options.floodgate_begins_at - time.time()
        self.host = plan.base_url
        self.network_timeout = self.connection_timeout = plan.patience_seconds
        self.concurrency = plan.connections_max
        super().__init__(environment)
        self._traffic = Traffic(self._plan)
        self._recording = Recording()
        environment.floodgate.recording = self._recording
        self._under_way = Group()

    @task  # type: ignore[untyped-decorator]
    def follow_the_schedule(self) -> None:
        """Send each call when it is due, hand in what was measured, and wait for the end."""
        schedule = self._plan.schedule()
        for _, at in schedule:
            self._recording.due(at)
        used = time.process_time()
        for number, at in schedule:
            ahead = self._begun + at - time.perf_counter()
            gevent.sleep(max(ahead, 0))
            late = time.perf_counter() - self._begun - at
            self._recording.late_seconds = max(self._recording.late_seconds, late)
            if len(self._under_way) >= self._plan.connections_max:
                self._recording.missed += 1
            else:
                self._under_way.spawn(self._make, number, at)
        self._under_way.join(_LAST_ANSWERS_SECONDS)
        self._recording.cpu_seconds = time.process_time() - used
        run = Run(self._plan.run, self._recording, self._traffic.answers)
        told = {"run": msgspec.json.encode(run).decode()}
        self.environment.runner.send_message(_PART, told)
        gevent.sleep(_IDLE_SECONDS)  # until the shape ends the run

    def _make(self, number: int, at: float) -> None:
        """Make one call, again and again with the same key where its plan says so."""
        call = self._traffic.call(number, at)
        statuses: list[int] = []
        body = b""
        while len(statuses) < self._plan.tries_max:
            if statuses:
                gevent.sleep(pause_seconds(len(statuses)))
            status, body = self._send(call)
            statuses.append(status)
            if status not in TRY_AGAIN:
                break
        latency = time.perf_counter() - self._begun - at
        self._recording.ended(call.kind, statuses, at=at, latency=latency)
        payer = self._traffic.heard(call, statuses, body)
        if payer is not None:
            self._send(payer)

    def _send(self, call: Call) -> tuple[int, bytes]:
        """Send one request; gives status and body, and tells locust."""
        base = self._plan.simulator_url if call.is_to_acquirer else self._plan.base_url
        body: Any = call.request.body or None  # bytes will do, whatever the annotation says
        with self.client.request(
            call.request.method,
            base + call.request.path,
            name=call.kind,
            data=body,
            headers=dict(self._traffic.headers(call, datetime.now(UTC))),
            catch_response=True,
        ) as reply:
            status = int(reply.status_code or 0)
            if not call.is_to_acquirer:
                since = time.perf_counter() - self._begun - call.at
                reply.request_meta["response_time"] = since * 1000
            if 200 <= status < 300:
                reply.success()
            else:
                reply.failure(f"HTTP {status}" if status else "no answer in time")
            return status, reply.content or b""


def _prove(environment: Environment, **_: Any) -> None:
    """Hand the run on, or prove it here; the exit status says what came out."""
    desk: Desk = environment.floodgate  # see _set_up
    if not desk.begun_at:
        return
    run = msgspec.json.encode(desk.whole())
    options: Any = environment.parsed_options
    if options.run_file:
        Path(options.run_file).write_bytes(run)
        environment.process_exit_code = 0
        return
    with tempfile.TemporaryDirectory(prefix="floodgate-run-") as folder:
        plan_file, run_file = Path(folder) / "plan.json", Path(folder) / "run.json"
        desk.plan.write(plan_file)
        run_file.write_bytes(run)
        # In a process of its own: asyncio and gevent's patches are kept apart.
        words = ["-m", "bench.load.prove", str(plan_file), str(run_file), options.demo]
        environment.process_exit_code = subprocess.run(
            [sys.executable, *words], check=False
        ).returncode
