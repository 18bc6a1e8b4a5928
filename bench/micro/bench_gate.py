"""Times one refusal at the gate: a request's bytes in, the answer's bytes out, without a socket."""

import asyncio
import json
import time
from types import SimpleNamespace
from typing import Any

import pytest

from bench.load import requests
from gateway.admission.service import Admission
from gateway.domain import limits
from gateway.faces.api.server import ApiServer
from gateway.signing import Credentials

TOGETHER = 1000
STRANGER = Credentials(f"key_{'0' * 32}", "c2VjcmV0")


class Wire(asyncio.Transport):
    """A transport that keeps the last of what is written."""

    written = b""

    def write(self, data: Any) -> None:
        self.written = data

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...


@pytest.mark.benchmark(timer=time.process_time)
def test_refuse(runner: asyncio.Runner, benchmark: Any) -> None:
    admission = Admission()
    for _ in range(2 * limits.SEATS_MAX):
        admission.let_in()
    desk: Any = SimpleNamespace(admission=admission, verify=SimpleNamespace(named=lambda _: None))
    wires = [next(requests.payments(STRANGER, "127.0.0.1:8080")) for _ in range(TOGETHER)]

    async def connected() -> tuple[Any, Wire]:
        gate, wire = ApiServer(desk, SimpleNamespace())(), Wire()  # type: ignore[arg-type]
        gate.connection_made(wire)
        return gate, wire

    gate, wire = runner.run(connected())

    def refuse() -> None:
        for request in wires:
            gate.data_received(request)

    refuse()
    head, _, body = wire.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert json.loads(body)["code"] == "overloaded"
    benchmark.extra_info |= {"items": TOGETHER}
    benchmark.pedantic(refuse, rounds=20, warmup_rounds=2)
    gate.connection_lost(None)
