"""The gate: however requests are cut, each has its answer, in order, and the refused leave none."""

import asyncio
import itertools
import re
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admission.service import Refused
from gateway.domain.errors import Problem
from gateway.faces.api.gate import Gate, Plain, Refusals, read_plain
from gateway.faces.api.lane import Asked
from gateway.faces.api.reply import Reply

KEY = f"key_{'0' * 32}"
SIGNED = f'Signature-Input: s=("@method" "content-length");created=1;keyid="{KEY}"'
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno"
EVIL = b"\r\n\r\nGET /v1/evil HTTP/1.1\r\nHost: x\r\n\r\n"


def request_of(path: str, body: bytes = b"", *headers: str) -> bytes:
    method = "POST" if body else "GET"
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers]
    lines += [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join((*lines, "", "")).encode() + body


def test_a_plain_request_is_read() -> None:
    wire = request_of("/v1/payments?a=1", b"{}", SIGNED)
    assert read_plain(wire) == Plain("POST", "/v1/payments", KEY, len(wire))
    assert read_plain(wire[:-1]) == read_plain(wire)
    assert read_plain(request_of("/v1/payments")) == Plain("GET", "/v1/payments", None, 38)
    kept = request_of("/v1/payments", b"{}", "Connection: keep-alive")
    assert read_plain(kept) == Plain("POST", "/v1/payments", None, len(kept))


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        request_of("/v1/payments")[:-1],
        request_of("/healthz"),
        request_of("/notices/simulator", b"{}"),
        request_of("/v1/payments").replace(b"GET", b"BREW"),
        request_of("/v1/payments").replace(b"HTTP/1.1", b"HTTP/1.0"),
        request_of("/v1/payments").replace(b"Host", b"Host\n"),
        request_of("/v1/payments", b"", " folded: x"),
        request_of("/v1/payments", b"", "Transfer-Encoding: chunked"),
        request_of("/v1/payments", b"{}", "transfer-encoding : chunked"),
        request_of("/v1/payments", b"{}", "Content-Length: 2"),
        request_of("/v1/payments", b"", "Content-Length: -2"),
        request_of("/v1/payments", b"", "Content-Length : 2"),
        request_of("/v1/payments", b"", "Content-Length: 2, 2"),
        request_of("/v1/payments", b"{}", "Expect: 100-continue"),
        request_of("/v1/payments", b"{}", "Connection: close"),
        request_of("/v1/payments", b"{}", "Connection: keep-alive", "Connection: close"),
        request_of("/v1/payments", b"{}", "Upgrade: websocket"),
    ],
)
def test_what_is_not_plain_goes_the_ordinary_way(wire: bytes) -> None:
    assert read_plain(wire) is None


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def writelines(self, pieces: Any) -> None:
        self.written += b"".join(pieces)

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...


class Doorman:
    """Refuses as the test says; counts those who were let in and did not come yet."""

    def __init__(self, refusals: list[bool]) -> None:
        self.refusals = iter(refusals)
        self.coming = 0
        self.refused: list[str] = []
        self.short: list[str] = []
        self.kept_for: list[str | None] = []

    def refuse(self, plain: Plain) -> bytes | None:
        if not next(self.refusals):
            return None
        self.refused.append(plain.path)
        return REFUSED

    def let_in(self) -> None:
        self.coming += 1

    def came(self) -> None:
        self.coming -= 1

    def serve(self, asked: Asked, gate: Gate) -> None:
        self.short.append(asked.target)
        self.kept_for.append(asked.kept_for)
        asyncio.get_running_loop().create_task(self._answer(asked, gate))

    async def _answer(self, asked: Asked, gate: Gate) -> None:
        gate.taken_over()
        for _ in range(len(asked.body) % 4):
            await asyncio.sleep(0)
        reply = Reply(200, {}, asked.target.encode() + b" " + asked.body)
        gate.answer(reply.on_the_wire(closes=False), closes=False)


async def answers(chunks: list[bytes], doorman: Doorman, pauses: list[bool]) -> bytes:
    """Send these chunks through a gate; gives everything that is written back."""

    async def serve(request: web.BaseRequest) -> web.Response:
        gate = request.protocol
        assert isinstance(gate, Gate)
        gate.taken_over()
        body = await request.read()
        return web.Response(body=request.raw_path.encode() + b" " + body)

    server = web.Server(serve)
    gate = Gate(server, loop=asyncio.get_running_loop(), access_log=None)  # type: ignore[arg-type]
    gate.doorman, wire = doorman, Wire()
    gate.connection_made(wire)
    for chunk, pause in zip(chunks, pauses, strict=False):
        gate.data_received(chunk)
        for _ in range(12 if pause else 0):
            await asyncio.sleep(0)
    for _ in range(300):
        await asyncio.sleep(0)
    assert doorman.coming == 0
    gate.connection_lost(None)
    await server.shutdown(0)
    return wire.written


def told(written: bytes) -> list[bytes]:
    """Split what was written into answers: `no` for a refusal, else path and body."""
    found = []
    while written:
        head, _, rest = written.partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length is not None
        found.append(rest[: int(length[1])])
        written = rest[int(length[1]) :]
    return found


bodies = st.sampled_from([b"", b"{}", EVIL, b"x" * 300])


@settings(max_examples=150, deadline=None)
@given(
    asked=st.lists(st.tuples(bodies, st.booleans()), min_size=1, max_size=6),
    cuts=st.lists(st.integers(1, 250), max_size=8),
    pauses=st.lists(st.booleans(), min_size=40, max_size=40),
    by_request=st.booleans(),
)
def test_however_it_is_cut_every_request_has_its_answer(
    asked: list[tuple[bytes, bool]], cuts: list[int], pauses: list[bool], *, by_request: bool
) -> None:
    wires = [request_of(f"/v1/{n}", body) for n, (body, _) in enumerate(asked)]
    stream, chunks = b"".join(wires), list(wires)
    if not by_request:
        places = [0, *itertools.accumulate(cuts), len(stream)]
        chunks = [stream[a:b] for a, b in itertools.pairwise(places) if stream[a:b]]
    doorman = Doorman([refuse for _, refuse in asked])
    found = told(asyncio.run(answers(chunks, doorman, pauses)))
    assert len(found) == len(asked)
    for number, ((body, _), answer) in enumerate(zip(asked, found, strict=True)):
        path = f"/v1/{number}"
        assert answer == (b"no" if path in doorman.refused else path.encode() + b" " + body)


async def test_whole_requests_one_after_the_other_are_refused_as_the_doorman_says() -> None:
    wires = [request_of(f"/v1/{n}", b"{}") for n in range(6)]
    doorman = Doorman([False, True, True, False, True, False])
    found = told(await answers(wires, doorman, [True] * 6))
    assert found == [b"/v1/0 {}", b"no", b"no", b"/v1/3 {}", b"no", b"/v1/5 {}"]
    assert doorman.short == ["/v1/0", "/v1/3", "/v1/5"]


async def test_what_comes_before_an_answer_waits_for_it() -> None:
    wires = [request_of(f"/v1/{n}", b"x" * 3) for n in range(4)]
    pieces = [wires[0], wires[1][:9], wires[1][9:], wires[2], wires[3]]
    doorman = Doorman([False] * 4)
    found = told(await answers(pieces, doorman, [False, False, True, True, True]))
    assert found == [b"/v1/0 xxx", b"/v1/1 xxx", b"/v1/2 xxx", b"/v1/3 xxx"]
    assert doorman.short == ["/v1/0", "/v1/1", "/v1/2", "/v1/3"]


async def test_room_is_kept_for_the_key_that_was_asked_about() -> None:
    wires = [request_of("/v1/0", b"{}", SIGNED), request_of("/v1/1", b"{}")]
    doorman = Doorman([False, False])
    assert told(await answers(wires, doorman, [True] * 2)) == [b"/v1/0 {}", b"/v1/1 {}"]
    assert doorman.kept_for == [KEY, None]


async def test_a_body_that_follows_its_refusal_is_read_past() -> None:
    wire = request_of("/v1/0", EVIL)
    head = len(wire) - len(EVIL)
    chunks = [wire[:head], wire[head : head + 3], wire[head + 3 :], request_of("/v1/1")]
    doorman = Doorman([True, False])
    assert told(await answers(chunks, doorman, [True] * 4)) == [b"no", b"/v1/1 "]


async def test_whoever_is_let_in_and_goes_away_makes_room_again() -> None:
    async def never(_request: web.BaseRequest) -> web.Response:
        raise AssertionError("it is gone before it is served")

    doorman = Doorman([False])
    gate = Gate(web.Server(never), loop=asyncio.get_running_loop())
    gate.doorman = doorman
    gate.connection_made(Wire())
    gate.data_received(request_of("/v1/0"))
    assert doorman.coming == 1
    gate.connection_lost(None)
    assert doorman.coming == 0
    await asyncio.sleep(0)


def test_a_refusal_is_written_as_the_ordinary_way_would_write_it() -> None:
    made: list[str] = []

    def make(problem: Problem, request_id: str) -> Reply:
        made.append(problem.code)
        headers = {"Request-Id": request_id, "Retry-After": str(problem.extra["retry_after"])}
        return Reply(problem.kind.status, headers, request_id.encode())

    refusals = Refusals(make)
    for name in ("req_" + "1" * 24, "req_" + "2" * 24):
        written = refusals.written(Refused("quota", 2), name)
        head, _, body = written.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        assert lines[0] == "HTTP/1.1 429 Too Many Requests"
        assert {f"Request-Id: {name}", "Retry-After: 2", "Content-Length: 28"} <= set(lines)
        assert re.fullmatch(r"Date: \w{3}, \d\d \w{3} 20\d\d [\d:]{8} GMT", lines[-1])
        assert body == name.encode()
    assert set(made) == {"rate_limited"}
    assert len(made) <= 2, "once a second"
