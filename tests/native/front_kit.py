"""A front on a free port, whose loop is the test itself."""

import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from native.front import Bounds, Front, Request

BOUNDS = Bounds(
    connections_max=64,
    body_bytes_max=2000,
    batch=b"/v1/payments/batch",
    batch_bytes_max=200_000,
    idle_seconds=60.0,
    piece_seconds=60.0,
    linger_seconds=1.0,
)
WAIT_SECONDS = 10.0
KEY = f"key_{'0' * 32}"
_TIMEOUT, _SECOND = 4, 1000
SIGNED = f'Signature-Input: s=("@method" "content-length");created=1;keyid="{KEY}"'


def request_of(target: str, body: bytes = b"", *headers: str) -> bytes:
    method = "POST" if body else "GET"
    lines = [f"{method} {target} HTTP/1.1", "Host: x", *headers]
    lines += [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join((*lines, "", "")).encode() + body


def written(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def told(request: Request) -> bytes:
    """What an echo says to a request."""
    return request.target.encode() + b" " + request.body


def is_readable(seconds: float, *files: socket.socket | int) -> bool:
    """Wait until one of these can be read, for so long at most; any number will do."""
    poll = select.poll()
    for file in files:
        poll.register(file, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class Lobby:
    """What came and was not looked at yet: `requests`, and `handed` connections with their bytes.

    Where `echoes` is set every request is answered as soon as it is taken.
    """

    def __init__(self, bounds: Bounds, door: str = "") -> None:
        listening = [socket.socket()]
        listening[0].bind(("127.0.0.1", 0))
        if door:
            listening.append(socket.socket(socket.AF_UNIX))
            listening[1].bind(door)
        for each in listening:
            each.listen(128)
            each.settimeout(0)
        self.port: int = listening[0].getsockname()[1]
        self.doors = tuple(each.detach() for each in listening)
        self.front = Front(self.doors, bounds)
        self.requests: list[Request] = []
        self.handed: list[tuple[socket.socket, bytes]] = []
        self.echoes = False
        self._clients: list[socket.socket] = []
        self._thread = threading.Thread(target=self.front.run, daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), WAIT_SECONDS)
        self._clients.append(client)
        return client

    def look(self) -> None:
        requests, handed = self.front.take()
        self.handed += [(socket.socket(fileno=file), read) for file, read in handed]
        if not self.echoes:
            self.requests += requests
            return
        for request in requests:
            self.answer(request, told(request), closes=request.closes)

    def answer(self, request: Request, body: bytes, *, closes: bool = False) -> None:
        self.send(request, written(body), closes=closes)

    def send(self, request: Request, wire: bytes, *, closes: bool = False) -> None:
        self.front.answer(request, wire, closes)
        self.front.wake()

    def until(self, holds: Callable[[], Any], *others: socket.socket) -> None:
        """Look whenever the bell rings, or one of these can be read, until this holds."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not holds():
            assert time.monotonic() < deadline, "this never came to hold"
            is_readable(0.02, self.front.bell, *others)
            self.look()

    def next(self) -> Request:
        """Wait for a request."""
        self.until(lambda: self.requests)
        return self.requests.pop(0)

    def read(self, client: socket.socket, size: int) -> bytes:
        """Read so many bytes of a client, or less where the connection ends before."""
        found = b""

        def is_all() -> bool:
            nonlocal found
            if not is_readable(0, client):
                return False
            part = client.recv(size - len(found))
            found += part
            return not part or len(found) == size

        if size:
            self.until(is_all, client)
        return found

    def is_over(self, client: socket.socket) -> bool:
        """Wait for the end of a connection, before which nothing more comes."""
        try:
            return self.read(client, 1) == b""
        except ConnectionResetError:
            return True

    def sleeps(self) -> bool:
        """Tell whether the thread waits for something to happen: it looks at nothing for a second.

        The kernel shows the call in which a thread waits, whose fourth word here is for how many
        milliseconds, -1 for ever; of one that does not wait it only says that it is running.
        """
        called = Path(f"/proc/self/task/{self._thread.native_id}/syscall").read_text().split()
        return len(called) > _TIMEOUT and int(called[_TIMEOUT], 16) & 0xFFFFFFFF >= _SECOND

    def forget(self) -> None:
        """Close every client, and what was handed over."""
        for client in (*self._clients, *(connection for connection, _ in self.handed)):
            client.close()
        self._clients.clear()
        self.handed.clear()

    def stop(self) -> None:
        self.front.stop()
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive(), "the front stops"

    def end(self) -> None:
        self.stop()
        self.forget()


@contextmanager
def lobby_of(*, begins: bool = True, door: str = "", **changes: Any) -> Iterator[Lobby]:
    """A lobby whose thread runs from the start, or from when the test lets it begin."""
    lobby = Lobby(BOUNDS._replace(**changes), door)
    if begins:
        lobby.begin()
    try:
        yield lobby
    finally:
        lobby.end()


def reset(client: socket.socket) -> None:
    """Close at once, with all that is under way."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def files_open() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
