"""The data folder of the embedded servers: claimed by one launcher, and private to the servers.

Two locks guard it.  The launcher holds the first, so a second launcher knows at once that it is
not alone.  The second is inherited by every server process, so a new launcher waits until the last
server of one that was killed has really gone.
"""

import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from gateway.drivers.embedded_binaries import SERVER_USER, is_passable, root_place
from gateway.drivers.processes import LaunchError

_SERVERS_GONE_SECONDS: Final = 30.0
# The path of a unix socket fits in 108 bytes on Linux and in 104 on macOS.
_SOCKET_PATH_BYTES_MAX: Final = 100
_LONGEST_SOCKET_NAME: Final = ".s.PGSQL.5432"
_LOCK_NAME: Final = "servers.lock"
_ELSEWHERE_NAME: Final = "servers-data-is-in.txt"


class Folder(msgspec.Struct, frozen=True):
    """A claimed folder: logs lie in `data`, the servers' own folders in `home`.

    `user` is whom root becomes for the servers; `lock` is the descriptor that they inherit.
    """

    data: Path
    home: Path
    user: str | None
    lock: int

    def own(self, name: str) -> Path:
        """Make the folder `home/name` for the servers alone, or refuse one that is not theirs."""
        path = self.home / name
        path.mkdir(mode=0o700, exist_ok=True)
        self.hand_over(path)
        return path

    def hand_over(self, path: Path) -> None:
        """Give a folder of ours to the servers' user; LaunchError when it is somebody else's."""
        owner = os.geteuid()
        if self.user is not None:
            account = pwd.getpwnam(self.user)
            owner = account.pw_uid
            if path.stat().st_uid == os.geteuid():
                os.chown(path, account.pw_uid, account.pw_gid)
        if path.stat().st_uid != owner:
            raise LaunchError(f"{path} belongs to another user; use another data folder")


@contextlib.contextmanager
def claimed(data: Path) -> Iterator[Folder]:
    """Claim a data folder until the context ends; LaunchError when another launcher has it."""
    data = data.resolve()
    with contextlib.ExitStack() as held:
        try:
            user = SERVER_USER if os.geteuid() == 0 else None
            if not data.exists():
                data.mkdir(mode=0o700, parents=True)
                data.chmod(0o711 if user else 0o700)
            _claim(data, held)
            home = _home(data) if user else data
            yield Folder(data, home, user, _lock_of_servers(data, home, held))
        except PermissionError as error:
            raise LaunchError(f"{data} cannot be used: {error}") from error


@contextlib.contextmanager
def sockets(folder: Folder) -> Iterator[Path]:
    """Make the private folder of the unix sockets; it goes when the context ends."""
    near = folder.home / "run"
    shutil.rmtree(near, ignore_errors=True)  # what killed servers left would refuse new ones
    if len(os.fsencode(near / _LONGEST_SOCKET_NAME)) <= _SOCKET_PATH_BYTES_MAX:
        place = folder.own("run")
    else:
        # Never a name that can be guessed: another user could have made it before us.
        place = Path(tempfile.mkdtemp(prefix="floodgate-"))
        folder.hand_over(place)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _home(data: Path) -> Path:
    """Where the servers of root work: in the data folder if their user may pass there."""
    if (
        is_passable(data)
        and data.stat().st_uid == os.geteuid()
        and not (data / _ELSEWHERE_NAME).exists()
    ):
        return data
    home = root_place() / hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    if not home.exists():
        home.mkdir()
        home.chmod(0o711)
    return home


def _claim(data: Path, held: contextlib.ExitStack) -> None:
    lock = _open(data / "lock", held)
    if not _is_locked(lock):
        pid = os.pread(lock, 20, 0).decode()
        raise LaunchError(f"process {pid} already runs on {data}; stop it or give another --data")
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)


def _lock_of_servers(data: Path, home: Path, held: contextlib.ExitStack) -> int:
    lock = _open(home / _LOCK_NAME, held)
    deadline = time.monotonic() + _SERVERS_GONE_SECONDS
    while not _is_locked(lock):
        if time.monotonic() > deadline:
            raise LaunchError(f"servers of an earlier run still work in {home}")
        time.sleep(0.02)
    if home != data and not (data / _ELSEWHERE_NAME).exists():
        # What lies there belonged to a data folder that was deleted: begin afresh, as it did.
        for left in home.iterdir():
            if left.name != _LOCK_NAME:
                shutil.rmtree(left)
        (data / _ELSEWHERE_NAME).write_text(f"{home}\n")
    return lock


def _open(path: Path, held: contextlib.ExitStack) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    held.callback(os.close, descriptor)
    return descriptor


def _is_locked(descriptor: int) -> bool:
    """Try to take the lock; False when another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
