"""Refusals as prepared bytes are those that the ordinary way would write."""

import re

import pytest

from gateway.admission.service import Refused
from gateway.domain.errors import Problem
from gateway.faces.api.refusals import Refusals
from gateway.faces.api.reply import PROBLEM, Reply


@pytest.mark.parametrize("closes", [False, True])
def test_a_refusal_is_written_as_the_ordinary_way_would_write_it(
    monkeypatch: pytest.MonkeyPatch, *, closes: bool
) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("gateway.faces.api.refusals.time.time", lambda: now)
    made: list[str] = []

    def make(problem: Problem, request_id: str) -> Reply:
        made.append(problem.code)
        more = (("Retry-After", str(problem.extra["retry_after"])),)
        return Reply(problem.kind.status, PROBLEM, request_id, request_id.encode(), more)

    refusals = Refusals(make)
    for name in ("req_" + "1" * 24, "req_" + "2" * 24):
        pieces = refusals.forms(Refused("quota", 2))[closes]
        written = name.removeprefix("req_").encode().join(pieces)
        head, _, body = written.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        assert lines[0] == "HTTP/1.1 429 Too Many Requests"
        assert {f"Request-Id: {name}", "Retry-After: 2", "Content-Length: 28"} <= set(lines)
        date = next(line for line in lines if line.startswith("Date: "))
        assert re.fullmatch(r"Date: \w{3}, \d\d \w{3} 20\d\d [\d:]{8} GMT", date)
        assert ("Connection: close" in lines) == closes
        assert body == name.encode()
    assert made == ["rate_limited"]
    now += 1
    refusals.forms(Refused("quota", 2))
    assert len(made) == 2, "it is made once a second"
