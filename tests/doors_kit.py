"""How many callers may wait at a door, found out at the real one (Linux)."""

import contextlib
import itertools
import socket
import struct
from pathlib import Path

from gateway.drivers.listening import BACKLOG

# What the system grants at most, and as many callers as fill more than the queues of a default.
GRANTED = min(BACKLOG, int(Path("/proc/sys/net/core/somaxconn").read_text()))
CALLERS = min(300, GRANTED)
# Where `struct tcp_info` (linux/tcp.h) has tcpi_sacked: of one who listens, the queue's length.
_QUEUE_AT = 28


def queue_of(port: socket.socket) -> int:
    """Say how many may wait at a port."""
    told = port.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUE_AT + 4)
    (length,) = struct.unpack_from("I", told, _QUEUE_AT)
    return int(length)


def waiting_at(path: str) -> int:
    """Say how many of `CALLERS` find room at a Unix socket where nobody accepts meanwhile."""
    with contextlib.ExitStack() as calling:
        for count in itertools.count():
            if count == CALLERS:
                return count
            caller = calling.enter_context(socket.socket(socket.AF_UNIX))
            caller.settimeout(0)
            try:
                caller.connect(path)
            except BlockingIOError:
                return count
    raise AssertionError("counting has no end")
