"""The embedded default for `dev` and the tests: our own PostgreSQL and Redis on a data folder.

The servers listen on unix sockets in a folder that only they and we may pass, hence they trust who
comes.  They have no TLS, no password and no backup: production gives URLs instead.
"""

import contextlib
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from msgspec.structs import replace

from gateway.drivers import embedded_folder
from gateway.drivers.embedded_binaries import find_postgres, find_redis
from gateway.drivers.processes import Child, run_once

OWNER: Final = "floodgate"
APP: Final = "floodgate_app"
DATABASE: Final = "floodgate"
REDIS_DATABASES_COUNT: Final = 64

# PG*, LC_* and LANG of the user would change the servers, so they begin with these alone.
_ENVIRONMENT: Final = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
# The wheel's server allocates with the C library, whose lists of freed memory are searched ever
# longer while values come and go.  With room in its quick lists glibc seldom looks there.
_REDIS_ENVIRONMENT: Final = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=2000"}
_PORT: Final = 5432
_STATE_LINE: Final = 7
# After kill -9 the log of changes is read again, at most `max_wal_size` of it.
_RECOVERY_SECONDS: Final = 120.0
_DURABLE: Final = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
}
_FORGETFUL: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
}
_ALWAYS: Final = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "jit": "off",
}
# The cluster is renamed to its final name after this, so it is complete or it is not there.
_FIRST_WORDS: Final = f"CREATE ROLE {APP} LOGIN\nCREATE DATABASE {DATABASE}\n".encode()


class Servers:
    """PostgreSQL and Redis on one data folder, which is claimed while the context is open.

    Gives the children to be started by a supervisor, and their URLs.  `durable` keeps what was
    acknowledged through a crash of the machine; the tests do without.  The programs are searched
    unless they are given: `pg_bin` is a folder, `redis_bin` a file.
    """

    def __init__(
        self,
        data: Path,
        *,
        durable: bool = True,
        pg_bin: Path | None = None,
        redis_bin: Path | None = None,
    ) -> None:
        self._data = data
        self._durable = durable
        self._pg_bin = pg_bin
        self._redis_bin = redis_bin
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            self.folder = opening.enter_context(embedded_folder.claimed(self._data))
            self._sockets = opening.enter_context(embedded_folder.sockets(self.folder))
            self._held = opening.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held.__exit__(kind, error, traceback)

    @property
    def owner_url(self) -> str:
        """The database as its superuser: for migrations."""
        return self._postgres_url(OWNER)

    @property
    def app_url(self) -> str:
        """The database as the application, which may do what the migrations granted."""
        return self._postgres_url(APP)

    @property
    def redis_url(self) -> str:
        """The Redis; `?db=N` chooses one of its 64 databases."""
        return f"unix://{quote(str(self._redis_socket))}"

    def postgres(self) -> Child:
        """The database server; its cluster is made first if there is none."""
        programs = find_postgres(self._pg_bin)
        cluster = self._cluster(programs)
        pid_file = cluster / "postmaster.pid"
        # The inherited lock proves that no server runs on this cluster.  The file would say so by
        # a process id, which may be somebody else's by now.
        pid_file.unlink(missing_ok=True)
        settings = _ALWAYS | (_DURABLE if self._durable else _FORGETFUL)
        child = self._child("postgres", programs / "postgres", "-D", cluster, "-k", self._sockets)
        return replace(
            child,
            argv=[*child.argv, *(f"--{name}={value}" for name, value in settings.items())],
            ready=lambda pid: _postgres_is_ready(pid_file, pid),
            ready_seconds=_RECOVERY_SECONDS,
            # The fast shutdown; SIGTERM would wait until every client has left.
            stop_signal=signal.SIGINT,
            # Redis does not: a claim waits for it 50 ms and no longer.
            stands_back=True,
        )

    def redis(self) -> Child:
        """The Redis server; durable means that a crash loses at most its last second."""
        child = self._child("redis", find_redis(self._redis_bin), "--dir", self.folder.own("redis"))
        settings = {
            "port": "0",
            "unixsocket": str(self._redis_socket),
            "unixsocketperm": "700",
            "databases": str(REDIS_DATABASES_COUNT),
            "appendonly": "yes" if self._durable else "no",
            "save": "",
            # Nearly all that was written is still held, so a rewrite saves next to nothing; in a
            # flood it would double what Redis costs, every few seconds at first.
            "auto-aof-rewrite-min-size": "512mb",
        }
        return replace(
            child,
            argv=[*child.argv, *(word for k, v in settings.items() for word in (f"--{k}", v))],
            environment={**child.environment, **_REDIS_ENVIRONMENT},
            ready=lambda _pid: _redis_is_ready(self._redis_socket),
            ready_seconds=_RECOVERY_SECONDS,
        )

    def _cluster(self, programs: Path) -> Path:
        """The cluster of this major version: another one could not read it."""
        postgres = programs / "postgres"
        said = subprocess.check_output([postgres, "--version"], text=True)  # noqa: S603 - as spawn
        major = said.split()[2].partition(".")[0]
        cluster = self.folder.home / f"pg{major}"
        if not cluster.exists():
            shutil.rmtree(cluster.with_suffix(".new"), ignore_errors=True)
            new = self.folder.own(cluster.with_suffix(".new").name)
            unsynced = [] if self._durable else ["--no-sync"]
            words = ["-U", OWNER, "-A", "trust", "-E", "UTF8", "--locale=C", *unsynced]
            run_once(self._child("initdb", programs / "initdb", "-D", new, *words))
            words = ["--single", "-D", str(new), "-c", "exit_on_error=true", "postgres"]
            run_once(self._child("initdb", postgres, *words), text=_FIRST_WORDS)
            new.rename(cluster)
        return cluster

    def _child(self, name: str, program: Path, *words: str | Path) -> Child:
        return Child(
            name=name,
            argv=[str(program), *map(str, words)],
            environment=_ENVIRONMENT,
            bare=True,
            user=self.folder.user,
            log=self.folder.data / f"{name}.log",
            keep_fds=[self.folder.lock],
        )

    def _postgres_url(self, role: str) -> str:
        host = quote(str(self._sockets), safe="/")
        return f"postgresql://{role}@/{DATABASE}?host={host}&port={_PORT}"

    @property
    def _redis_socket(self) -> Path:
        return self._sockets / "redis.sock"


def _postgres_is_ready(pid_file: Path, pid: int) -> bool:
    """Read PostgreSQL's own word (its miscadmin.h): line 1 is its process, line 8 its state."""
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    return (
        len(lines) > _STATE_LINE and lines[0] == str(pid) and lines[_STATE_LINE].strip() == "ready"
    )


def _redis_is_ready(path: Path) -> bool:
    """Ask it: it refuses other answers while it still reads its file."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        connection.connect(str(path))
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")
    return False
