"""Times the bytes of one call to an acquirer: its request written, its plain answer read."""

from collections.abc import Callable
from typing import Any

import httptools
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from native import _exchange_c, _exchange_py

FIELDS = {
    "content-type": "application/json",
    "simulator-timestamp": "1764100000",
    "simulator-signature": "5e" * 32,
}
ASKED = b'{"number":"%b"}' % (b"0" * 220)
WIRE = (
    "POST /v1/payments HTTP/1.1\r\nHost: 127.0.0.1:8090\r\n"
    + "".join(f"{name}: {value}\r\n" for name, value in FIELDS.items())
    + f"Content-Length: {len(ASKED)}\r\n\r\n"
).encode() + ASKED
TOLD = b'{"number":"%b"}' % (b"0" * 170)
HEAD = {"content-type": "application/json", "content-length": str(len(TOLD))}
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(TOLD),
    TOLD,
)


class Llhttp:
    """Reads answers by llhttp, which tells each part in a call."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._fields: dict[str, str] = {}
        self._body: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields[name.decode().lower()] = value.decode()

    def on_body(self, part: bytes) -> None:
        self._body.append(part)

    def read(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        self._fields, self._body = {}, []
        self._parser.feed_data(data)
        return self._parser.get_status_code(), self._fields, b"".join(self._body)


READERS: dict[str, Callable[[bytes], Any]] = {
    "compiled": _exchange_c.read,
    "plain Python": _exchange_py.read,
    "llhttp": Llhttp().read,
}
WRITERS: dict[str, Callable[..., bytes | None]] = {
    "compiled": _exchange_c.write,
    "plain Python": _exchange_py.write,
}


@pytest.mark.parametrize("rival", READERS)
def test_reading(benchmark: BenchmarkFixture, rival: str) -> None:
    benchmark.group = "read an acquirer's answer"
    assert READERS[rival](ANSWER) == (200, HEAD, TOLD)
    benchmark(READERS[rival], ANSWER)


@pytest.mark.parametrize("rival", WRITERS)
def test_writing(benchmark: BenchmarkFixture, rival: str) -> None:
    benchmark.group = "write a request to an acquirer"
    write = WRITERS[rival]
    given = {"host": "127.0.0.1:8090", "fields": FIELDS, "body": ASKED}
    assert write("POST", "/v1/payments", **given) == WIRE
    benchmark(write, "POST", "/v1/payments", **given)
