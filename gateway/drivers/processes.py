"""Child processes, for the launchers: started in order, kept alive, and never outliving us.

A child dies with its supervisor even when that is killed with -9: on Linux the kernel signals it
(prctl(2), PR_SET_PDEATHSIG), elsewhere a watchdog does, which sees the end of a pipe.
"""

import contextlib
import ctypes
import functools
import itertools
import logging
import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn, Self

import msgspec

from gateway.domain.errors import FloodgateError

logger: Final = logging.getLogger(__name__)

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
DEATHS_SECONDS: Final = 60.0
PAUSE_SECONDS_MAX: Final = 5.0

_LOOK_SECONDS: Final = 0.02
_FIRST_PAUSE_SECONDS: Final = 0.1
_LAST_WORDS_CHARS: Final = 2000
_STDERR: Final = 2
_BACK_NICE: Final = 8
_PR_SET_PDEATHSIG: Final = 1

# Loaded here because nothing may be loaded between fork and exec.
_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None
# Lives as long as the pipe: a byte lets the process be, the end of the pipe signals it.
_WATCHDOG: Final = (
    "import os, sys; sys.stdin.read(1) or os.kill(int(sys.argv[1]), int(sys.argv[2]))"
)


class LaunchError(FloodgateError):
    """A process cannot be started or kept running; the sentence is meant for the operator."""


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """One program to run.

    `ready` is asked with the process id until it says yes.  `environment` comes on top of ours, or
    stands alone when the child is `bare`, which also starts in `/`.  `user` is whom root becomes.
    Output goes to the file `log`, or to our stderr.  `keep_fds` stay open in the child.  One that
    `stands_back` lets the others go before it where all cores are wanted: what it does for them
    comes in batches, so little is lost when it waits, and they have somebody to answer.
    """

    name: str
    argv: Sequence[str]
    ready: Callable[[int], bool] = lambda _pid: True
    ready_seconds: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    restart: bool = True
    environment: Mapping[str, str] = {}
    bare: bool = False
    user: str | None = None
    log: Path | None = None
    keep_fds: Sequence[int] = ()
    stands_back: bool = False

    def last_words(self) -> str:
        """The end of the child's log, to be shown when it failed."""
        if self.log is None:
            return "see its output above"
        return (
            f"{self.log} ends with:\n" + self.log.read_text(errors="replace")[-_LAST_WORDS_CHARS:]
        )


def listens(host: str, port: int) -> Callable[[int], bool]:
    """Make a readiness check: somebody accepts connections on this address."""

    def ready(_pid: int) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            return True
        return False

    return ready


@contextlib.contextmanager
def stops_on_signals() -> Iterator[None]:
    """Turn the first SIGTERM or SIGINT into a SystemExit with status 0; ignore those after it.

    Ctrl-C under `make` and a signal to the process group arrive twice: the second one must not
    break into the orderly stop that the first one began.
    """

    def leave(_number: int, _frame: FrameType | None) -> NoReturn:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise SystemExit(0)

    before = {number: signal.signal(number, leave) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def spawn(child: Child, *, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start a child in its own session, where the terminal's Ctrl-C does not reach it first."""
    # The kernel ties a child to the thread that forked it, and only the main thread lives as long
    # as we do.
    assert threading.current_thread() is threading.main_thread(), "spawn from the main thread"
    with contextlib.ExitStack() as files:
        output = files.enter_context(child.log.open("ab")) if child.log else _STDERR
        try:
            return subprocess.Popen(  # noqa: S603 - programs that we name ourselves, no shell
                child.argv,
                stdin=stdin,
                stdout=output,
                stderr=output,
                env=dict(child.environment) if child.bare else None,
                cwd="/" if child.bare else None,
                pass_fds=child.keep_fds,
                start_new_session=True,
                user=child.user,
                group=pwd.getpwnam(child.user).pw_gid if child.user else None,
                extra_groups=[] if child.user else None,
                # PLW1509: nothing here takes a lock or allocates much, and we have one thread.
                preexec_fn=functools.partial(_before_exec, child, os.getpid()),  # noqa: PLW1509
            )
        except OSError as error:
            raise LaunchError(f"{child.name} cannot be started: {error}") from error


def run_once(child: Child, *, text: bytes = b"") -> None:
    """Run a program that ends by itself, with `text` as its input; LaunchError when it fails."""
    process = spawn(child, stdin=subprocess.PIPE)
    process.communicate(text)
    if process.returncode != 0:
        raise LaunchError(f"{child.name} failed ({process.returncode}); {child.last_words()}")


def _before_exec(child: Child, parent: int) -> None:
    """Between fork and exec, after the change of user, which would undo the death signal."""
    for name, value in child.environment.items():
        os.putenv(name, value)
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(child.stop_signal), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # we died before the kernel was asked to tell


def _let_others_go_before(pid: int) -> None:
    """Give a process and its children a sixth of the weight of others, wherever weight is counted.

    On Linux it is mostly that of its session (sched(7), "The autogroup feature").
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, _BACK_NICE)
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(_BACK_NICE))


def _watchdog(pid: int, number: signal.Signals) -> subprocess.Popen[bytes]:
    """Where the kernel has no death signal: a process that sends it when our pipe ends."""
    return subprocess.Popen(  # noqa: S603 - our own words and two numbers, no shell
        [sys.executable, "-I", "-S", "-c", _WATCHDOG, str(pid), str(int(number))],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


class _Run:
    """A child as it lives now, and when it died of late."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self._deaths: list[float] = []
        self._begin()

    def _begin(self) -> None:
        self._again_at: float | None = None
        self.process = spawn(self.child)
        if self.child.stands_back:
            _let_others_go_before(self.process.pid)
        self._watchdog = (
            _watchdog(self.process.pid, self.child.stop_signal) if _LIBC is None else None
        )

    def _ended(self) -> int | None:
        """The exit status, negative for a signal, or None while the child runs."""
        code = self.process.poll()
        if code is not None and self._watchdog is not None:
            self._watchdog.communicate(b".")
            self._watchdog = None
        return code

    def is_ready(self) -> bool:
        """Ask the readiness check once; LaunchError when the child is dead already."""
        code = self._ended()
        if code is not None:
            raise LaunchError(
                f"{self.child.name} did not start ({code}); {self.child.last_words()}"
            )
        return self.child.ready(self.process.pid)

    def tend(self) -> None:
        """Start the child again if it is dead, the later the more often it died of late.

        We never give up: whoever it was that killed it, the others go on.  LaunchError only for a
        child that may not be started again.
        """
        code = self._ended()
        if code is None:
            return
        now = time.monotonic()
        if self._again_at is None:
            if not self.child.restart:
                raise LaunchError(f"{self.child.name} ended ({code}); {self.child.last_words()}")
            self._deaths = [at for at in self._deaths if now - at < DEATHS_SECONDS] + [now]
            # A killed PostgreSQL leaves servers behind for a moment, which refuse a new one.
            pause = min(_FIRST_PAUSE_SECONDS * 2 ** (len(self._deaths) - 1), PAUSE_SECONDS_MAX)
            self._again_at = now + pause
            logger.warning("%s ended (%s); again in %.1f s", self.child.name, code, pause)
        if now >= self._again_at:
            self._begin()

    def ask_to_stop(self) -> None:
        """Send the stop signal."""
        self.process.send_signal(self.child.stop_signal)

    def end(self, deadline: float) -> None:
        """Wait for the end until this monotonic time, then kill the child and its session."""
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.warning("%s did not stop in time and is killed", self.child.name)
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._ended()


class Supervisor:
    """Children in groups: a group starts when the one before is ready, and stops before it does.

    A context manager; when it is left, in whatever way, every child is stopped::

        with stops_on_signals(), Supervisor() as supervisor:
            supervisor.start(database, cache)
            supervisor.start(*workers)
            supervisor.watch()
    """

    def __init__(self) -> None:
        self._groups: list[list[_Run]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, *children: Child) -> None:
        """Start these together and wait until all are ready; LaunchError when one is not."""
        started = time.monotonic()
        earlier = list(self._runs())
        group: list[_Run] = []
        self._groups.append(group)
        for child in children:
            group.append(_Run(child))  # noqa: PERF401 - an interruption must not lose those before
        waiting = list(group)
        while waiting := [run for run in waiting if not run.is_ready()]:
            for run in earlier:
                run.tend()
            for run in waiting:
                if time.monotonic() - started > run.child.ready_seconds:
                    raise LaunchError(
                        f"{run.child.name} is not ready after {run.child.ready_seconds:g} s; "
                        + run.child.last_words()
                    )
            time.sleep(_LOOK_SECONDS)

    def watch(self) -> NoReturn:
        """Keep every child alive until a signal ends this; LaunchError when one cannot be kept."""
        while True:
            for run in self._runs():
                run.tend()
            time.sleep(_LOOK_SECONDS)

    def stop(self) -> None:
        """Stop the groups, last first; who does not stop in time is killed."""
        while self._groups:
            group = self._groups[-1]
            for run in group:
                run.ask_to_stop()
            asked = time.monotonic()
            for run in group:
                run.end(asked + run.child.stop_seconds)
            self._groups.pop()

    def _runs(self) -> Iterator[_Run]:
        return itertools.chain.from_iterable(self._groups)
