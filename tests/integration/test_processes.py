"""The supervisor: order of start and stop, restarts, and that nothing outlives it."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace
from process_kit import is_running, launched, until, until_gone

from gateway.drivers import processes
from gateway.drivers.processes import Child, LaunchError, Supervisor, listens, run_once, spawn

# Writes "NAME PID" when it runs and "NAME ended" when it is told to end.
PROGRAM = """
import os, signal, sys
name, signal_name, path = sys.argv[1:]
def say(words):
    with open(path, "a") as diary:
        diary.write(f"{name} {words}\\n")
def end(*_):
    say("ended")
    sys.exit()
signal.signal(getattr(signal, signal_name), end)
say(os.getpid())
while True:
    signal.pause()
"""

LAUNCHER = """
import sys
from pathlib import Path
from gateway.drivers import processes
from test_processes import child_of
diary = Path(sys.argv[1])
if sys.argv[2] == "watchdog":
    processes._LIBC = None
with processes.stops_on_signals(), processes.Supervisor() as supervisor:
    supervisor.start(child_of(diary, "database", signal_name="SIGINT"))
    supervisor.start(child_of(diary, "worker"), child_of(diary, "gateway"))
    print("ready", flush=True)
    supervisor.watch()
"""


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    path = tmp_path / "diary"
    path.touch()
    return path


def lines_of(diary: Path, name: str) -> list[str]:
    return [line.split()[1] for line in diary.read_text().splitlines() if line.startswith(name)]


def child_of(diary: Path, name: str, *, signal_name: str = "SIGTERM") -> Child:
    return Child(
        name=name,
        argv=[sys.executable, "-c", PROGRAM, name, signal_name, str(diary)],
        ready=lambda pid: str(pid) in lines_of(diary, name),
        stop_signal=signal.Signals[signal_name],
    )


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def dying_after(diary: Path, *, status: int) -> list[str]:
    """A program that waits until something stands in the diary, adds an x and ends."""
    return python(f"""
import time
with open({str(diary)!r}, "r+") as diary:
    while not diary.read():
        time.sleep(0.01)
    diary.write("x")
raise SystemExit({status})
""")


def test_a_group_starts_when_the_one_before_is_ready_and_stops_before_it_does(diary: Path) -> None:
    with Supervisor() as supervisor:
        supervisor.start(child_of(diary, "database", signal_name="SIGINT"))
        supervisor.start(child_of(diary, "worker"))
        supervisor.start(child_of(diary, "gateway"))
        pids = [int(lines_of(diary, name)[0]) for name in ("database", "worker", "gateway")]
    words = [line.split() for line in diary.read_text().splitlines()]
    assert [name for name, _ in words[:3]] == ["database", "worker", "gateway"]
    assert words[3:] == [["gateway", "ended"], ["worker", "ended"], ["database", "ended"]]
    assert not any(map(is_running, pids))


def test_a_child_that_dies_at_once_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    child = Child(
        name="child",
        argv=python("import sys; sys.exit('no such table')"),
        ready=lambda _pid: False,
        log=tmp_path / "child.log",
    )
    with Supervisor() as supervisor, pytest.raises(LaunchError, match="no such table"):
        supervisor.start(child)


def test_a_program_that_is_not_there_is_an_error() -> None:
    with Supervisor() as supervisor, pytest.raises(LaunchError, match="cannot be started"):
        supervisor.start(Child(name="child", argv=["/nowhere/program"]))


def test_a_child_that_is_never_ready_is_an_error_and_is_stopped(diary: Path) -> None:
    seen: list[int] = []
    child = Child(
        name="child",
        argv=python("import time; time.sleep(600)"),
        ready=lambda pid: bool(seen.append(pid)),
        ready_seconds=0.1,
    )
    with Supervisor() as supervisor, pytest.raises(LaunchError, match="not ready after"):
        supervisor.start(child)
    assert not is_running(seen[0])


def test_a_child_that_does_not_stop_in_time_is_killed_with_its_session(diary: Path) -> None:
    deaf = f"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(diary)!r}, "w").write(f"{{os.getpid()}} {{below.pid}} .")
time.sleep(600)
"""
    child = Child(
        name="child",
        argv=python(deaf),
        ready=lambda _pid: diary.read_text().endswith("."),
        stop_seconds=0.1,
    )
    with Supervisor() as supervisor:
        supervisor.start(child)
    until_gone(*map(int, diary.read_text().split()[:2]))


def test_a_dead_child_is_started_again(diary: Path) -> None:
    with launched(LAUNCHER, diary, "kernel") as launcher:
        assert launcher.stdout.readline() == "ready\n"
        (first,) = lines_of(diary, "worker")
        os.kill(int(first), signal.SIGKILL)
        until(lambda: len(lines_of(diary, "worker")) == 2, what="the worker is back")
        assert is_running(int(lines_of(diary, "worker")[1]))
        assert len(lines_of(diary, "gateway")) == 1


def test_a_child_that_dies_again_and_again_is_never_given_up(
    monkeypatch: pytest.MonkeyPatch, diary: Path
) -> None:
    monkeypatch.setattr(processes, "_FIRST_PAUSE_SECONDS", 0.0)
    counter = f"""
import pathlib, time
while pathlib.Path({str(diary)!r}).read_text().count("x") < 8:
    time.sleep(0.01)
"""
    with Supervisor() as supervisor:
        supervisor.start(
            Child(name="child", argv=dying_after(diary, status=3)),
            Child(name="counter", argv=[sys.executable, "-c", counter], restart=False),
        )
        diary.write_text("you may die ")
        with pytest.raises(LaunchError, match="counter ended"):
            supervisor.watch()
    assert diary.read_text().count("x") >= 8


def test_a_child_that_may_not_be_restarted_ends_the_watch(diary: Path) -> None:
    with Supervisor() as supervisor:
        supervisor.start(Child(name="child", argv=dying_after(diary, status=0), restart=False))
        diary.write_text("you may die")
        with pytest.raises(LaunchError, match=r"child ended \(0\)"):
            supervisor.watch()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything_in_order_even_when_it_comes_twice(
    diary: Path, number: signal.Signals
) -> None:
    with launched(LAUNCHER, diary, "kernel") as launcher:
        assert launcher.stdout.readline() == "ready\n"
        launcher.send_signal(number)
        launcher.send_signal(signal.SIGTERM)
        assert launcher.wait() == 0
    words = diary.read_text().splitlines()[3:]
    assert sorted(words[:2]) == ["gateway ended", "worker ended"]
    assert words[2:] == ["database ended"]


@pytest.mark.parametrize("guard", ["kernel", "watchdog"])
def test_no_child_survives_a_killed_supervisor(diary: Path, guard: str) -> None:
    with launched(LAUNCHER, diary, guard) as launcher:
        assert launcher.stdout.readline() == "ready\n"
        launcher.kill()
        launcher.wait()
        names = ("database", "worker", "gateway")
        until_gone(*(int(lines_of(diary, name)[0]) for name in names))


def test_the_watchdog_lets_an_orderly_stop_be(monkeypatch: pytest.MonkeyPatch, diary: Path) -> None:
    monkeypatch.setattr(processes, "_LIBC", None)
    with Supervisor() as supervisor:
        supervisor.start(child_of(diary, "worker"))
    assert lines_of(diary, "worker")[1:] == ["ended"]


def test_who_stands_back_does_so_with_its_session_and_the_others_do_not(diary: Path) -> None:
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    children = child_of(diary, "first"), replace(child_of(diary, "back"), stands_back=True)
    with Supervisor() as supervisor:
        supervisor.start(*children)
        first, back = (int(lines_of(diary, child.name)[0]) for child in children)
        assert os.getpriority(os.PRIO_PROCESS, first) == ours
        assert os.getpriority(os.PRIO_PROCESS, back) == processes._BACK_NICE
        group = Path(f"/proc/{back}/autogroup")
        if group.exists():
            assert group.read_text().endswith(f"nice {processes._BACK_NICE}\n")
            assert Path(f"/proc/{first}/autogroup").read_text().endswith("nice 0\n")


@pytest.mark.parametrize(("bare", "home"), [(True, "None"), (False, "somewhere")])
def test_the_environment_comes_on_top_of_ours_or_stands_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, bare: bool, home: str
) -> None:
    monkeypatch.setenv("HOME", "somewhere")
    child = Child(
        name="child",
        argv=python("import os; print(os.getenv('HOME'), os.getenv('FLOODGATE_PORT'))"),
        environment={"FLOODGATE_PORT": "8081"},
        bare=bare,
        log=tmp_path / "log",
    )
    run_once(child)
    assert child.last_words().endswith(f"\n{home} 8081\n")


def test_a_program_that_runs_once_reads_its_input(tmp_path: Path) -> None:
    echo = Child(name="echo", argv=python("print(input())"), log=tmp_path / "log")
    run_once(echo, text=b"hello\n")
    assert echo.last_words().endswith("\nhello\n")


def test_a_program_that_runs_once_reports_its_failure() -> None:
    with pytest.raises(LaunchError, match=r"child failed \(1\)"):
        run_once(Child(name="child", argv=python("raise SystemExit(1)")))


def test_readiness_by_port(diary: Path) -> None:
    serving = f"""
import socket, time
server = socket.create_server(("127.0.0.1", 0))
open({str(diary)!r}, "w").write(f"{{server.getsockname()[1]}} .")
time.sleep(600)
"""
    written = Child(
        name="server", argv=python(serving), ready=lambda _pid: diary.read_text().endswith(".")
    )
    with Supervisor() as supervisor:
        supervisor.start(written)
        ready = listens("127.0.0.1", int(diary.read_text().split()[0]))
        assert ready(0)
    assert not ready(0)


def test_a_child_cannot_be_tied_to_a_thread_that_ends() -> None:
    with ThreadPoolExecutor() as threads:
        spawning = threads.submit(spawn, Child(name="child", argv=python("")))
    with pytest.raises(AssertionError, match="main thread"):
        spawning.result()


def test_ctrl_c_of_the_terminal_does_not_reach_a_child_first(diary: Path) -> None:
    with Supervisor() as supervisor:
        supervisor.start(child_of(diary, "worker"))
        pid = int(lines_of(diary, "worker")[0])
        assert os.getsid(pid) == pid
