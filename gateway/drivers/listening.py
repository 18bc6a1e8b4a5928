"""Where callers come in: a port that workers share, and a Unix socket for a proxy beside us."""

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.domain.errors import FloodgateError

BACKLOG: Final = 4096  # callers who were not accepted yet
_GIVEN: Final = "fd://"


class PlaceTaken(FloodgateError):
    """Nobody can listen there; the sentence says where and why."""


def given(file: int) -> str:
    """Name a socket that listens already, as `opened` finds it again in a child."""
    return f"{_GIVEN}{file}"


@contextlib.contextmanager
def opened(host: str, port: int, path: str = "") -> Iterator[list[socket.socket]]:
    """Listen on a port that others may share, and on a Unix socket where one is named.

    Raises `PlaceTaken`.
    """
    with contextlib.ExitStack() as held:
        doors = [held.enter_context(_port(host, port))]
        if (file := given_file(path)) is not None:
            doors.append(held.enter_context(socket.socket(fileno=file)))
        elif path:
            doors.append(held.enter_context(unix(path)))
        yield doors


def given_file(path: str) -> int | None:
    """Say which file `given` names, None where it is a path; `PlaceTaken` where nobody listens."""
    if not path.startswith(_GIVEN):
        return None
    try:
        file = int(path.removeprefix(_GIVEN))
        with socket.socket(fileno=os.dup(file)) as door:
            listens = door.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except (ValueError, OSError):
        listens = 0
    if not listens:
        raise PlaceTaken(f"cannot listen on {path}: nobody opened it for us")
    return file


def refuse_taken(host: str, port: int) -> None:
    """Refuse a port where somebody listens: our workers share theirs, so nobody else would."""
    with _bound(host, port, shared=False):
        pass


@contextlib.contextmanager
def unix(path: str) -> Iterator[socket.socket]:
    """Listen on a Unix socket inside a block; who may reach it is decided by its folder.

    A file that nobody listens on any more is put aside; one that is no socket is left alone.
    Raises `PlaceTaken`.
    """
    place = Path(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        try:
            _put_aside(place)
            listening.bind(path)
            place.chmod(0o666)
            listening.listen(BACKLOG)
            ours = _which(place)
        except OSError as error:
            raise PlaceTaken(f"cannot listen on {path}: {error.strerror or error}") from None
        try:
            yield listening
        finally:
            with contextlib.suppress(OSError):
                if _which(place) == ours:
                    place.unlink()


def _which(place: Path) -> tuple[int, int, int]:
    """Tell one file from another that came to the same place, and to the same number."""
    found = place.stat()
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _put_aside(place: Path) -> None:
    """Take away what somebody left who is gone."""
    try:
        if not stat.S_ISSOCK(place.stat().st_mode):
            raise PlaceTaken(f"cannot listen on {place}: there is a file that is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        try:
            probe.connect(str(place))
        except ConnectionRefusedError:
            place.unlink()
            return
        except BlockingIOError:  # his queue is full
            pass
        raise PlaceTaken(f"cannot listen on {place}: somebody listens there")


@contextlib.contextmanager
def _port(host: str, port: int) -> Iterator[socket.socket]:
    with _bound(host, port, shared=True) as listening:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listening.listen(BACKLOG)
        yield listening


@contextlib.contextmanager
def _bound(host: str, port: int, *, shared: bool) -> Iterator[socket.socket]:
    """Take a port, with others where it is shared."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            taken.bind((host.strip("[]"), port))
        except OSError as error:
            raise PlaceTaken(f"cannot listen on {host}:{port}: {error.strerror}") from None
        yield taken
