"""Times what a refusal costs the loop, which takes it from the front and gives the answer back."""

import asyncio
import json
import socket
import time
from types import SimpleNamespace
from typing import Any

import pytest

from bench.load import requests
from gateway.admission.service import Admission
from gateway.domain import limits
from gateway.faces.api.front import FrontDoor
from gateway.faces.api.server import ApiServer
from gateway.signing import Credentials

TOGETHER = 32  # come in one turn of the loop, when ten thousand come in a second
STRANGER = Credentials(f"key_{'0' * 32}", "c2VjcmV0")


@pytest.mark.benchmark(timer=time.thread_time)
def test_refuse(runner: asyncio.Runner, benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REFUSAL_STANDS_SECONDS", 0.05)
    admission = Admission()
    for _ in range(2 * limits.SEATS_MAX):
        admission.let_in()
    desk: Any = SimpleNamespace(admission=admission, verify=SimpleNamespace(named=lambda _: None))
    wires = [next(requests.payments(STRANGER, "127.0.0.1:8080")) for _ in range(TOGETHER)]
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(TOGETHER)
    address = listening.getsockname()

    async def opened() -> FrontDoor:
        api = ApiServer(desk, SimpleNamespace())  # type: ignore[arg-type]
        return FrontDoor(api, [listening], connections_max=2 * TOGETHER)

    door = runner.run(opened())
    clients = [socket.create_connection(address, 10) for _ in wires]

    def send() -> None:
        """Ask once nothing stands any more, and wait until the thread has read everything."""
        time.sleep(limits.REFUSAL_STANDS_SECONDS + 0.01)
        for client, wire in zip(clients, wires, strict=True):
            client.sendall(wire)
        time.sleep(0.02)

    def hear() -> bytes:
        return [client.recv(4096) for client in clients][-1]

    def refuse() -> None:
        door._look()

    send()
    refuse()
    head, _, body = hear().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert json.loads(body)["code"] == "overloaded"
    benchmark.extra_info |= {"items": TOGETHER}
    benchmark.pedantic(refuse, setup=send, teardown=hear, rounds=100, warmup_rounds=2)
    for client in clients:
        client.close()
    runner.run(door.close())
    runner.run(door.finish(1))
