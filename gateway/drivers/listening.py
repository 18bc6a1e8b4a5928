"""Where callers come in: a port that workers share, and a Unix socket for a proxy beside us."""

import contextlib
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.domain.errors import FloodgateError

_BACKLOG: Final = 4096
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
        if path.startswith(_GIVEN):
            file = int(path.removeprefix(_GIVEN))
            doors.append(held.enter_context(socket.socket(fileno=file)))
        elif path:
            doors.append(held.enter_context(unix(path)))
        yield doors


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
            listening.listen(_BACKLOG)
        except OSError as error:
            raise PlaceTaken(f"cannot listen on {path}: {error.strerror or error}") from None
        ours = place.stat().st_ino
        try:
            yield listening
        finally:
            with contextlib.suppress(OSError):
                if place.stat().st_ino == ours:
                    place.unlink()


def _put_aside(place: Path) -> None:
    """Take away what somebody left who is gone."""
    try:
        if not stat.S_ISSOCK(place.stat().st_mode):
            raise PlaceTaken(f"cannot listen on {place}: there is a file that is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(place))
        except ConnectionRefusedError:
            place.unlink()
        else:
            raise PlaceTaken(f"cannot listen on {place}: somebody listens there")


@contextlib.contextmanager
def _port(host: str, port: int) -> Iterator[socket.socket]:
    with _bound(host, port, shared=True) as listening:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listening.listen(_BACKLOG)
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
