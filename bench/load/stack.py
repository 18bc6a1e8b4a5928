"""A whole Floodgate on an own data folder for one load run, and what its parts cost meanwhile."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from msgspec import Struct

from gateway.signing import Credentials

_READY_SECONDS = 90
_STOP_SECONDS = 40
# Where another system is, and what it is known by: a shell that has it must not lend it to a stack.
_ELSEWHERE = (
    *("database_url", "redis_url", "simulator_url", "simulator_b_url"),
    *("public_url", "public_names", "master_key", "socket", "metrics_dir"),
)


class Cpu(Struct, frozen=True):
    """CPU seconds: of the code itself, and of the kernel on its behalf."""

    own: float
    kernel: float


class Stack(Struct, frozen=True):
    """A running `floodgate dev`: where it is, whose key to use, its supervisor's process id.

    `beside_url` is its Unix socket, as a generator knows it.
    """

    pid: int
    base_url: str
    beside_url: str
    credentials: Credentials
    database_url: str
    redis_url: str
    simulator_url: str

    @property
    def host(self) -> str:
        """The authority that requests name."""
        return urlsplit(self.base_url).netloc

    def cpu_seconds(self) -> dict[str, float]:
        """Say what each part used so far: gateway, worker, simulator, postgres, redis, launcher."""
        return {part: cpu.own + cpu.kernel for part, cpu in self.cpu_times().items()}

    def cpu_times(self) -> dict[str, Cpu]:
        """Say the same, the kernel's work for each part apart."""
        used: dict[str, Cpu] = {}
        launcher = psutil.Process(self.pid)
        for process in (launcher, *launcher.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                own, kernel = times.user, times.system
                if process.pid != self.pid:
                    own, kernel = own + times.children_user, kernel + times.children_system
                part = _part(process)
                before = used.get(part, Cpu(0.0, 0.0))
                used[part] = Cpu(before.own + own, before.kernel + kernel)
        return used

    def memory_bytes(self) -> dict[str, int]:
        """Say how much memory each part holds that it shares with nobody."""
        held: dict[str, int] = {}
        launcher = psutil.Process(self.pid)
        for process in (launcher, *launcher.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                part = _part(process)
                held[part] = held.get(part, 0) + process.memory_full_info().uss
        return held

    def pids(self, part: str) -> list[int]:
        """Give the processes of one part, for a profiler."""
        found = psutil.Process(self.pid).children(recursive=True)
        return [process.pid for process in found if _part(process) == part]

    def gateway_environment(self) -> dict[str, str]:
        """Give the environment of a gateway worker, with all of its settings."""
        return psutil.Process(self.pids("gateway")[0]).environ()

    @contextlib.contextmanager
    def without_worker(self) -> Iterator[None]:
        """Hold the background worker inside a block: what is open is not asked about."""
        workers = [psutil.Process(pid) for pid in self.pids("worker")]
        for worker in workers:
            worker.suspend()
        try:
            yield
        finally:
            for worker in workers:
                worker.resume()

    def environment(self) -> Mapping[str, str]:
        """Settings that point a command of ours at this stack."""
        return own_environment() | {
            "FLOODGATE_DATABASE_URL": self.database_url,
            "FLOODGATE_REDIS_URL": self.redis_url,
            "FLOODGATE_SIMULATOR_URL": self.simulator_url,
        }

    def proofs(self) -> tuple[bool, str]:
        """Prove the books, the acquirer's beside ours; gives whether all hold, and the table."""
        words = [sys.executable, "-m", "gateway", "proofs"]
        environment = {**os.environ, **self.environment()}
        done = subprocess.run(
            words, env=environment, check=False, text=True, stdout=subprocess.PIPE
        )
        return done.returncode == 0, done.stdout


def own_environment() -> dict[str, str]:
    """Give the settings that make a stack its own, whatever the shell or its TOML file say.

    What says how it works, and not where, stays.
    """
    emptied = {f"FLOODGATE_{name.upper()}": "" for name in _ELSEWHERE}
    return emptied | {"FLOODGATE_HOST": "127.0.0.1", "FLOODGATE_SIMULATOR_TRADES": "true"}


def _part(process: psutil.Process) -> str:
    """Name the part of the house that a process is."""
    name = process.name()
    if "postgres" in name:
        return "postgres"
    if "redis" in name or "valkey" in name:
        return "redis"
    words = process.cmdline()
    names = {"simulator": "simulator", "work": "worker", "serve": "gateway"}
    return next((names[word] for word in words if word in names), "launcher")


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """Give a folder inside a block; what the servers keep lies in it, too, and goes with it.

    The user whom root becomes for them must be able to pass.
    """
    with tempfile.TemporaryDirectory(prefix="floodgate-bench-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@contextlib.contextmanager
def stack(data: Path, *, workers: int = 1) -> Iterator[Stack]:
    """Run everything on this folder and free ports inside a block; it is stopped at last."""
    port = free_port()
    door = data.absolute() / "floodgate.sock"
    words = ["-m", "gateway", "dev", "--port", str(port), "--workers", str(workers)]
    process = subprocess.Popen(
        [sys.executable, *words, "--data", str(data), "--socket", str(door)],
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            **own_environment(),
            "FLOODGATE_SIMULATOR_URL": f"http://127.0.0.1:{free_port()}",
        },
    )
    try:
        _await_ready(process)
        demo = json.loads((data / "demo.json").read_text())
        yield Stack(
            pid=process.pid,
            base_url=demo["base_url"],
            beside_url=f"unix://{door}",
            credentials=Credentials(demo["key_id"], demo["secret"]),
            database_url=demo["database_url"],
            redis_url=demo["redis_url"],
            simulator_url=demo["simulator_url"],
        )
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)


class Beside(Struct, frozen=True):
    """Servers of our own beside the stack: where they are, and their process ids."""

    base_url: str
    pids: list[int]

    def cpu_seconds(self) -> float:
        """Say what they used so far."""
        times = [psutil.Process(pid).cpu_times() for pid in self.pids]
        return sum(each.user + each.system for each in times)


@contextlib.contextmanager
def echo_server() -> Iterator[Beside]:
    """Run the echo server inside a block."""
    port = free_port()
    with _beside(["bench.load.echo", str(port)], port) as echo:
        yield echo


@contextlib.contextmanager
def unasked(running: Stack, *, workers: int) -> Iterator[Beside]:
    """Run gateway workers beside those of the stack for which the acquirer is not asked."""
    port = free_port()
    # The Unix socket is the stack's own, by a number that means nothing here.
    ours = {"FLOODGATE_PORT": str(port), "FLOODGATE_SOCKET": ""}
    environment = running.gateway_environment() | ours
    with _beside(["bench.load.unasked"], port, count=workers, environment=environment) as servers:
        yield servers


@contextlib.contextmanager
def _beside(
    words: list[str],
    port: int,
    *,
    count: int = 1,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Beside]:
    command = [sys.executable, "-m", *words]
    processes = [subprocess.Popen(command, env=environment) for _ in range(count)]
    try:
        await_port(port)
        yield Beside(f"http://127.0.0.1:{port}", [process.pid for process in processes])
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(_STOP_SECONDS)


def _await_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready "):
            return
    raise RuntimeError("the stack did not start")


def await_port(port: int) -> None:
    """Wait until somebody listens there; RuntimeError when nobody does."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nobody listens on {port}")


def free_port() -> int:
    """Find a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
